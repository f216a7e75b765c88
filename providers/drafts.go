package providers

import (
	"fmt"

	"cambio/providers/gcp"
	"cambio/providers/github"
	"cambio/providers/internal/draft"
	"cambio/providers/kubernetes"
	"cambio/providers/oidc"
)

// Draft is a trust document to be written, for people to review.
type Draft = draft.Document

// DraftName makes a document's name of any text.
func DraftName(s string) string { return draft.Name(s) }

// ShellWord quotes a text as one word for sh, where it needs that.
func ShellWord(s string) string { return draft.ShellWord(s) }

// Drafts drafts a trust for one workload of a platform, named as people name it,
// by the claims of one of its tokens. Nobody has to have signed them: what comes
// out is for review. Without claims (nil) only what needs none can be drafted.
func Drafts(platform, workload string, claims []byte) (Draft, error) {
	var known map[string]any
	if claims != nil {
		var err error
		if known, err = oidc.ReadObject(claims); err != nil {
			return Draft{}, err
		}
	}
	switch platform {
	case "github-actions":
		return github.Draft(workload, known)
	case "kubernetes":
		return kubernetes.Draft(workload, known)
	case "gcp":
		return gcp.Draft(workload, known)
	}
	p, ok := Platform(platform)
	if !ok || p.Generic || len(p.Anchors) == 0 {
		return Draft{}, fmt.Errorf("no trust is drafted for the type %q: which claims are immutable, only the configuration says", platform)
	}
	return plainDraft(p, workload, known)
}

// LookUp is the command that finds out at a desk what a draft for this workload
// needs, or "" where it needs nothing; the error says that the platform has no
// such names.
func LookUp(platform, workload string) (string, error) {
	switch platform {
	case "github-actions":
		return github.LookUp(workload), github.CheckRepository(workload)
	case "kubernetes":
		return "", kubernetes.CheckAccount(workload)
	case "gcp":
		return gcp.LookUp(workload), gcp.CheckAccount(workload)
	}
	return "cambio whoami -o json > claims.json, in a job of it", nil
}

// Workloads are the ids of all workloads of an identity provider whose claims are
// pinned so, see [oidc.Workloads].
func Workloads(trustDomain string, p oidc.Provider, pins map[string][]any) ([]string, error) {
	platform, _ := Platform(p.Type)
	return oidc.Workloads(trustDomain, p, platform, pins)
}

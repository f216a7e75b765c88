package providers

import (
	"slices"
	"strings"

	"cambio/providers/aws"
	"cambio/providers/gcp"
	"cambio/providers/github"
	"cambio/providers/internal/draft"
	"cambio/providers/kubernetes"
	"cambio/providers/oidc"
	"cambio/trust/strictyaml"
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
	default:
		return gcp.Draft(workload, known)
	}
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
	default:
		return gcp.LookUp(workload), gcp.CheckAccount(workload)
	}
}

// Imported is a draft made of what another system trusts.
type Imported struct {
	Draft
	Issuer string // of the identity provider that it is from
	Where  string // for findings
}

// ImportWorld is what whoever imports knows of identity providers.
type ImportWorld struct {
	Platform func(issuer string) string             // type of the issuer's tokens
	Declares func(issuer string, claim string) bool // it has a claim of this name that is a text
}

// ImportAWS turns a role's trust policy, or what `aws iam get-role` printed, into
// drafts. world says what is known of an issuer's tokens; known are claims that
// hold the ids of repositories. There are drafts only where nothing that narrows
// had to be left out, or a finding says what and why; role is the ARN, where the
// file has it.
func ImportAWS(file string, policy []byte, world ImportWorld, known [][]byte) (drafts []Imported, role string, findings strictyaml.Findings) {
	notes := &draft.Notes{File: file}
	claims := make([]map[string]any, 0, len(known))
	for _, k := range known {
		object, err := oidc.ReadObject(k)
		if err != nil {
			notes.Error("", "import-ids-missing", "the claims are not one JSON object", "give what cambio whoami -o json prints")
			continue
		}
		claims = append(claims, object)
	}
	trusted, role := aws.ReadTrustPolicy(policy, notes)
	if len(trusted) == 0 && !notes.Findings.HasErrors() {
		notes.Error("", "import-nothing", "no statement lets in web identities: there is nothing to import", "name the trust policy of a role that workloads assume")
	}
	for _, f := range trusted {
		var found []draft.Document
		switch world.Platform(f.Issuer) {
		case "github-actions":
			found = github.Import(f, claims, notes)
		case "kubernetes":
			found = kubernetes.Import(f, notes)
		case "gcp":
			found = gcp.Import(f, notes)
		default:
			found = importGeneric(f, world.Declares(f.Issuer, "azp"), notes)
		}
		for _, d := range found {
			drafts = append(drafts, Imported{Draft: d, Issuer: f.Issuer, Where: f.Where})
		}
	}
	if notes.Findings.HasErrors() {
		drafts = nil
	}
	return drafts, role, notes.Findings
}

// importGeneric carries the claims as they are; whether they pin anything that
// cannot be taken over is the configuration's to say.
//
// What AWS compares with aud is azp, where a token has one: the client, of many
// that an issuer such as Keycloak serves. Left out, every client of it would be
// let in.
func importGeneric(f draft.Foreign, azp bool, notes *draft.Notes) []draft.Document {
	aud := f.Take("aud")
	if aud != nil && azp {
		if slices.ContainsFunc(f.Claims, func(l draft.Line) bool { return l.Claim == "azp" }) {
			notes.Error(f.Where, "import-condition", "aud and azp both name the client", "keep one of the two")
			return nil
		}
		notes.Info(f.Where, "import-audience", "aud is compared with azp, as AWS does where a token has one", "where tokens have no azp, take the line out: their audience is the identity provider's in the configuration")
		f.Claims = append(f.Claims, draft.Line{Claim: "azp", Values: aud})
	}
	lines, ok := notes.CarryRest(f, func(string) bool { return true })
	switch {
	case len(lines) == 0:
		notes.Error(f.Where, "import-no-anchor", "no condition but the audience: any workload of the issuer is let in", "this is a hole today; write a document for the one that is meant")
		return nil
	case !ok:
		return nil
	}
	if aud != nil && !azp {
		shown := make([]string, len(aud))
		for i, v := range aud {
			shown[i] = draft.Show(v.Text)
		}
		notes.Warn(f.Where, "import-audience", "aud "+strings.Join(shown, ", ")+" is not carried over: where a token has azp, AWS compares that, and the document lets in every client of the issuer",
			"declare azp under the identity provider's claims and import again; nothing, where its tokens have no azp")
	}
	host := strings.TrimPrefix(f.Issuer, "https://")
	return []draft.Document{{Name: draft.Name(host), Purpose: "Workloads of " + host, Match: lines}}
}

// PlatformOf guesses the type of an issuer that no configuration names.
func PlatformOf(issuer string) string {
	host, _, _ := strings.Cut(strings.TrimPrefix(issuer, "https://"), "/")
	switch {
	case host == "token.actions.githubusercontent.com":
		return "github-actions"
	case issuer == "https://accounts.google.com":
		return "gcp"
	case strings.HasPrefix(host, "oidc.eks.") || strings.HasPrefix(host, "oidc-eks.") || host == "container.googleapis.com":
		return "kubernetes"
	}
	return "oidc"
}

// Workloads are the ids of all workloads of an identity provider whose claims are
// pinned so, see [oidc.Workloads].
func Workloads(trustDomain string, p oidc.Provider, pins map[string][]any) ([]string, error) {
	return oidc.Workloads(trustDomain, p, Platforms()[p.Type], pins)
}

// Package circleci describes the OpenID Connect tokens of CircleCI jobs.
package circleci

import (
	"errors"
	"regexp"
	"strings"
	"time"

	"cambio/providers/oidc"
	"cambio/trust"
)

// The claims as tokens have them. Their names hold dots and a slash, so each has
// a flat alias for documents; both may be written.
const (
	prefix     = "oidc.circleci.com/"
	projectID  = prefix + "project-id"
	contextIDs = prefix + "context-ids"
	vcsOrigin  = prefix + "vcs-origin"
	vcsRef     = prefix + "vcs-ref"
	sshRerun   = prefix + "ssh-rerun"
)

// Platform is configuration type circleci. Every organisation has an issuer of
// its own, https://oidc.circleci.com/org/ID, and ids of organisations and
// projects are UUIDs, so that no two owners ever share an identity.
//
// Where a project passes secrets to builds of forked pull requests, a fork's
// build has the project's id as well, and only vcs_origin tells: a trust without
// it draws a warning.
func Platform() oidc.Platform {
	text := trust.Claim{Type: trust.StringClaim}
	claims := oidc.StandardClaims()
	for name, c := range map[string]trust.Claim{
		contextIDs:                        {Type: trust.ListClaim}, // for conditions: "ID" in claims.context_ids
		prefix + "job-id":                 text,
		prefix + "pipeline-definition-id": text,
		prefix + "pipeline-id":            text,
		projectID:                         {Type: trust.StringClaim, Always: true},
		sshRerun:                          {Type: trust.BoolClaim},
		vcsOrigin:                         text,                                    // not for pipelines that a custom webhook starts
		vcsRef:                            {Type: trust.StringClaim, Chosen: true}, // by whoever may push
		prefix + "workflow-id":            text,
	} {
		claims[name] = c
	}
	aliases := map[string]string{}
	for name := range claims {
		if short, ok := strings.CutPrefix(name, prefix); ok {
			aliases[strings.ReplaceAll(short, "-", "_")] = "/" + strings.ReplaceAll(name, "/", "~1")
		}
	}
	return oidc.Platform{
		Platform: trust.Platform{
			Name:    "circleci",
			Claims:  claims,
			Aliases: aliases,
			Anchors: []string{"project_id"},
			Advised: []string{"vcs_origin"},
			// Somebody has a shell in the job, and its token with it.
			Implied: map[string]string{"ssh_rerun": "!claims.?ssh_rerun.orValue(false)"},
			// A restricted context is the one thing that says who may run the job.
			Gates:   []string{"context_ids", "vcs_ref"},
			Journal: append([]string{"iss", "iat", "exp"}, journal()...),
			Sample:  sample(),
		},
		Algs: []string{"RS256"},
		// `circleci run oidc get` fetches a fresh one for each exchange.
		TokenUse: trust.Once,
		MaxAge:   time.Hour,
		Typ:      []string{"jwt"},
		Workload: []oidc.Segment{{Claim: "/oidc.circleci.com~1project-id"}},
		// Sent as a boolean by what is documented, as a text by what others met.
		BothWays: []string{sshRerun, "ssh_rerun"},
		Check:    check,
		// The organization's id, for all who trust CircleCI alike.
		SharedAudience: func(issuer, audience string) bool { return strings.HasSuffix(issuer, "/org/"+audience) },
		IssuerForm:     regexp.MustCompile(`^https://oidc\.circleci\.com/org/[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$`),
		Facts: oidc.Facts{
			Title:    "CircleCI",
			Evidence: oidc.FromDocs,
			Source:   "https://circleci.com/docs/guides/permissions-authentication/openid-connect-tokens/",
			Obtain:   "`circleci run oidc get` in the job, with the audience; else `CIRCLE_OIDC_TOKEN_V2`",
			Page:     "circleci.md",
			Risks: []string{
				"The tokens that every job has in its environment are for the organization's id, which all who trust CircleCI take; fetch one for an audience of the gateway's own.",
				"Where secrets are passed to forked pull requests, only `vcs_origin` tells a fork's build.",
				"A job that was rerun with SSH is refused unless `match` names `ssh_rerun`.",
				"There is no jti: a token is known by its content.",
			},
		},
	}
}

func journal() []string {
	return []string{
		"project_id", "vcs_origin", "vcs_ref", "ssh_rerun", "context_ids",
		"pipeline_id", "pipeline_definition_id", "workflow_id", "job_id",
	}
}

func sample() map[string]any {
	const (
		org     = "0b3c6f1e-5f42-4b7a-9d3e-6a1f2c8d7e90"
		project = "5a0e9d1c-7b6f-4c2d-8e3a-1f4b5c6d7e8f"
	)
	claims := map[string]any{
		"iss": "https://oidc.circleci.com/org/" + org,
		"aud": "https://id.acme.example",
		"sub": "org/" + org + "/project/" + project + "/user/9c8b7a6d-5e4f-4321-8abc-def012345678" +
			"/vcs-origin/github.com/acme/payments/vcs-ref/refs/heads/main",
		"iat": int64(1795320000),
		"exp": int64(1795323600),
	}
	for name, v := range map[string]any{
		"context-ids":            []any{"2e7d451e-a745-4f9b-8009-5c082ad2729e"},
		"job-id":                 "f1e2d3c4-b5a6-4798-8899-aabbccddeeff",
		"pipeline-definition-id": "d4c3b2a1-0f9e-4d8c-9b7a-665544332211",
		"pipeline-id":            "c1d2e3f4-a5b6-4c7d-8e9f-001122334455",
		"project-id":             project,
		"ssh-rerun":              false,
		"vcs-origin":             "github.com/acme/payments",
		"vcs-ref":                "refs/heads/main",
		"workflow-id":            "e5d4c3b2-a190-4e8f-8d7c-554433221100",
	} {
		claims[prefix+name] = v
		claims[strings.ReplaceAll(name, "-", "_")] = v
	}
	return claims
}

var (
	errSub       = errors.New("sub is of no form that CircleCI sends")
	errSubOrg    = errors.New("sub and iss name different organizations")
	errSubClaims = errors.New("sub and the claims that it is made of differ")
)

// check compares sub with what it repeats: the organisation with the issuer, the
// project with its claim, and in its second form the repository and the ref with
// theirs. Values may hold slashes, so that it is composed again and not split.
func check(claims map[string]any) error {
	text := func(name string) string {
		s, _ := claims[name].(string)
		return s
	}
	rest, ok := strings.CutPrefix(text("sub"), "org/")
	if !ok {
		return errSub
	}
	org, rest, _ := strings.Cut(rest, "/")
	if _, of, has := strings.Cut(text("iss"), "/org/"); has && of != org {
		return errSubOrg
	}
	if rest, ok = strings.CutPrefix(rest, "project/"+text(projectID)+"/user/"); !ok {
		return errSubClaims
	}
	_, source, has := strings.Cut(rest, "/")
	if has && source != "vcs-origin/"+text(vcsOrigin)+"/vcs-ref/"+text(vcsRef) {
		return errSubClaims
	}
	return nil
}

// Package codefresh describes the tokens of Codefresh pipelines.
package codefresh

import (
	"errors"
	"regexp"
	"strings"
	"time"

	"cambio/providers/oidc"
	"cambio/trust"
)

// Platform is configuration type codefresh. One issuer speaks for all accounts;
// account_id and pipeline_id are ids that Codefresh gives and never gives again.
//
// A build may ask for any audience. Without one a token's audience is Codefresh's own,
// which every relying party shares.
func Platform() oidc.Platform {
	text := trust.Claim{Type: trust.StringClaim}
	always := trust.Claim{Type: trust.StringClaim, Always: true}
	chosen := trust.Claim{Type: trust.StringClaim, Chosen: true}
	claims := oidc.StandardClaims()
	for name, c := range map[string]trust.Claim{
		"account_id":    always,
		"account_name":  {Type: trust.StringClaim, PinnedBy: "account_id"},
		"pipeline_id":   {Type: trust.StringClaim, Always: true, OwnedBy: "account_id"},
		"pipeline_name": {Type: trust.StringClaim, PinnedBy: "pipeline_id"},
		"workflow_id":   text,
		"initiator":     chosen, // who ran it by hand
		"scm_repo_url":  text,
		"scm_user_name": chosen,
		"scm_ref":       chosen, // without refs/: a branch and a tag look alike
		pullRequest:     chosen, // only for pull requests
	} {
		claims[name] = c
	}
	return oidc.Platform{
		Platform: trust.Platform{
			Name:    "codefresh",
			Claims:  claims,
			Anchors: []string{"pipeline_id", "account_id"},
			Gates:   []string{"scm_ref"},
			// A pull request's build is its author's code under the same ids. The claim is
			// there or not, and has no value that could be guarded.
			Implied: map[string]string{pullRequest: `!("` + pullRequest + `" in claims)`},
			Journal: []string{
				"iss", "iat", "exp", "account_id", "account_name", "pipeline_id", "pipeline_name", "workflow_id",
				"scm_repo_url", "scm_ref", pullRequest,
			},
			Sample: map[string]any{
				"iss":           "https://oidc.codefresh.io",
				"aud":           "https://id.acme.example",
				"sub":           "account:5f30ebd30312313ae7f17948:pipeline:64f0c40800aafd14555663aa:scm_repo_url:https://github.com/acme/payments:scm_user_name:octocat:scm_ref:main",
				"iat":           int64(1795320000),
				"exp":           int64(1795320300),
				"account_id":    "5f30ebd30312313ae7f17948",
				"account_name":  "acme",
				"pipeline_id":   "64f0c40800aafd14555663aa",
				"pipeline_name": "payments/deploy",
				"workflow_id":   "64f447c02199f90300012345",
				"scm_repo_url":  "https://github.com/acme/payments",
				"scm_user_name": "octocat",
				"scm_ref":       "main",
			},
		},
		Issuer:   "https://oidc.codefresh.io",
		Algs:     []string{"RS256"},
		TokenUse: trust.Once, // a build asks for a fresh one as often as it likes
		// They live five minutes; an older one was kept for another use.
		MaxAge:     10 * time.Minute,
		Typ:        []string{"jwt"},
		Workload:   []oidc.Segment{{Claim: "account_id"}, {Claim: "pipeline_id"}},
		Check:      check,
		IssuerForm: regexp.MustCompile(`^https://oidc\.codefresh\.io$`),
		Facts: oidc.Facts{
			Title:    "Codefresh",
			Evidence: oidc.FromDocs,
			Source:   "https://github.com/codefresh-io/docs.codefresh.io/blob/007f61c028b49e21f6442e7c0d660d4f7f4bd455/_docs/integrations/oidc-pipelines.md; how it is asked: https://github.com/codefresh-io/steps/blob/220dd4489dc09084bf3e86b1ae9908d30a8c36ec/incubating/obtain-oidc-id-token/step.yaml",
			Obtain:   "from `CF_OIDC_REQUEST_URL` with `CF_OIDC_REQUEST_TOKEN`, which each build has, for each exchange",
			Page:     "codefresh.md",
			Risks: []string{
				"The default audience (https://g.codefresh.io) is the same for every relying party: take tokens of your own audience only.",
				"A build of a pull request has the same ids, and scm_ref is the branch that its author named: it is refused unless `match` names scm_pull_request_target_branch.",
				"scm_ref has no refs/ before it, so that a branch and a tag look alike.",
			},
		},
	}
}

// pullRequest is the claim that only builds of pull requests have.
const pullRequest = "scm_pull_request_target_branch"

// check compares sub with the ids that it repeats. What follows them holds URLs
// and names with colons, and is not taken apart.
func check(claims map[string]any) error {
	sub, _ := claims["sub"].(string)
	account, _ := claims["account_id"].(string)
	pipeline, _ := claims["pipeline_id"].(string)
	rest, ok := strings.CutPrefix(sub, "account:"+account+":pipeline:"+pipeline)
	if !ok || rest != "" && rest[0] != ':' {
		return errors.New("sub and the id claims name different pipelines")
	}
	return nil
}

// Package semaphore describes the tokens of Semaphore jobs.
package semaphore

import (
	"errors"
	"regexp"
	"strings"
	"time"

	"cambio/providers/oidc"
	"cambio/trust"
)

// Platform is configuration type semaphore: semaphoreci.com, where each
// organization has an issuer of its own, https://ORG.semaphoreci.com, and
// installations of one's own.
//
// The name in the issuer can be given up, so trusts pin prj_id or org_id, which
// Semaphore gives and never gives again.
//
// Where a claim has nothing to say it is "" and not absent: pr and tag on a
// branch. An organization may also take claims out of its tokens.
func Platform() oidc.Platform {
	text := trust.Claim{Type: trust.StringClaim}
	chosen := trust.Claim{Type: trust.StringClaim, Chosen: true}
	claims := oidc.StandardClaims()
	for name, c := range map[string]trust.Claim{
		"org_id":    {Type: trust.StringClaim, Always: true}, // without one of these two there is no workload id
		"prj_id":    {Type: trust.StringClaim, Always: true, OwnedBy: "org_id"},
		"org":       {Type: trust.StringClaim, PinnedBy: "org_id"},
		"prj":       {Type: trust.StringClaim, PinnedBy: "prj_id"},
		"repo":      {Type: trust.StringClaim, PinnedBy: "prj_id"},
		"repo_slug": {Type: trust.StringClaim, PinnedBy: "prj_id"},
		"actor":     chosen, // who promoted the pipeline
		// Of a pull request this is the branch that it wants to be merged into.
		"branch":                      chosen,
		"pr":                          chosen,
		"pr_branch":                   chosen,
		"ref":                         chosen, // by whoever may push
		"ref_type":                    {Type: trust.StringClaim, Values: []string{"branch", "tag", pullRequest}},
		"tag":                         chosen,
		"job_id":                      text,
		"job_type":                    {Type: trust.StringClaim, Values: []string{"pipeline_job", "debug_job", "project_debug_job"}},
		"ppl_id":                      text,
		"wf_id":                       text,
		"trg":                         text,
		"sub127":                      text,
		"https://aws.amazon.com/tags": {Type: trust.MapClaim},
	} {
		claims[name] = c
	}
	return oidc.Platform{
		Platform: trust.Platform{
			Name:    "semaphore",
			Claims:  claims,
			Anchors: []string{"prj_id", "org_id"},
			Advised: []string{"ref", "ref_type"},
			Guarded: map[string][]string{
				// The code of a pull request is its author's, and branch is then its target.
				"ref_type": {pullRequest},
				// A person has a shell in these.
				"job_type": {"debug_job", "project_debug_job"},
			},
			// An organization that takes these two out of its tokens takes away what tells
			// a stranger's code and a person's shell from the rest.
			Implied: map[string]string{
				"ref_type": `claims.?ref_type.orValue("") in ["branch", "tag"]`,
				"job_type": `claims.?job_type.orValue("") == "pipeline_job"`,
			},
			Outsiders: map[string][]string{"ref_type": {pullRequest}},
			Gates:     []string{"ref"},
			Lint:      lint,
			Journal: []string{
				"iss", "iat", "exp", "org_id", "org", "prj_id", "prj", "repo_slug", "ref", "ref_type", "pr", "tag",
				"job_type", "job_id", "ppl_id", "wf_id", "trg",
			},
			Sample: map[string]any{
				"iss":       "https://acme.semaphoreci.com",
				"aud":       "https://id.acme.example",
				"sub":       "org:acme:project:936a5312-a3b8-4921-8b3f-2cec8baac574:repo:payments:ref_type:branch:ref:refs/heads/main",
				"sub127":    "acme:936a5312-a3b8-4921-8b3f-2cec8baac574:payments:br:heads/main",
				"jti":       "2s557dchalv2mv76kk000el1",
				"iat":       int64(1795320000),
				"nbf":       int64(1795320000),
				"exp":       int64(1795406400),
				"branch":    "main",
				"job_id":    "c117e453-1189-4eaf-b03a-dd6538eb49b2",
				"job_type":  "pipeline_job",
				"org":       "acme",
				"org_id":    "d7dd33ad-9317-498c-9cc6-51c250749be7",
				"ppl_id":    "1e1fcfb5-09c0-487e-b051-2d0b5514c42a",
				"pr":        "",
				"pr_branch": "",
				"prj":       "payments",
				"prj_id":    "936a5312-a3b8-4921-8b3f-2cec8baac574",
				"ref":       "refs/heads/main",
				"ref_type":  "branch",
				"repo":      "payments",
				"repo_slug": "acme/payments",
				"tag":       "",
				"trg":       "h:f-i:f",
				"wf_id":     "1be81412-6ab8-4fc0-9d0d-7af33335a6ec",
			},
		},
		Algs: []string{"RS256"},
		// A job gets its tokens when it starts, and no others.
		TokenUse: trust.OncePerGrant,
		MaxAge:   24 * time.Hour, // they live so long, as a job may
		Typ:      []string{"jwt"},
		Workload: []oidc.Segment{{Claim: "org_id"}, {Claim: "prj_id"}},
		Check:    check,
		// Its key set is at /.well-known/jwts, which discovery says: the same origin.
		IssuerForm: regexp.MustCompile(`^https://[a-z0-9-]+\.semaphoreci\.com$`),
		Facts: oidc.Facts{
			Title:    "Semaphore",
			Evidence: oidc.FromSource,
			Source:   "https://github.com/semaphoreio/semaphore (zebra, job_request_factory/open_id_connect.ex; secrethub, open_id_connect/jwt.ex; docs/docs/reference/openid.md)",
			Obtain:   "from `CAMBIO_TOKEN`, an entry of the job's `oidc_tokens`, else from `SEMAPHORE_OIDC_TOKEN`",
			Page:     "semaphore.md",
			Risks: []string{
				"Of a pull request, branch is the branch that it wants to be merged into: match ref or ref_type.",
				"An organization may take claims out of its tokens: one without ref_type or job_type is refused.",
				"debug_job and project_debug_job are a person's shell, with the tokens of the job.",
				"Tokens live for 24 hours, also after the job.",
				"SEMAPHORE_OIDC_TOKEN has the organization's URL as its audience, which every relying party that takes it shares.",
			},
		},
	}
}

// pullRequest is the ref_type of a job that a pull request started.
const pullRequest = "pull-request"

// check compares sub with the claims that it repeats. Names may hold colons, so
// sub is not taken apart: it is put together from the claims. Claims that the
// organization took out of its tokens are not compared.
func check(claims map[string]any) error {
	parts := []struct{ word, claim string }{
		{"org:", "org"}, {":project:", "prj_id"}, {":repo:", "repo"}, {":ref_type:", "ref_type"}, {":ref:", "ref"},
	}
	sub, _ := claims["sub"].(string)
	var b strings.Builder
	for _, p := range parts {
		v, ok := claims[p.claim].(string)
		if !ok {
			if id, ok := claims["prj_id"].(string); ok && !strings.Contains(sub, ":project:"+id+":") {
				return errSub
			}
			return nil
		}
		b.WriteString(p.word + v)
	}
	if b.String() != sub {
		return errSub
	}
	return nil
}

var errSub = errors.New("sub and the claims that it repeats differ")

// lint finds trusts that take a branch by the claim that lies about pull requests.
func lint(t trust.Trust) []trust.Remark {
	var remarks []trust.Remark
	for _, l := range t.Match {
		if l.Claim.ID() == "/branch" {
			remarks = append(remarks, trust.Remark{
				ID: "chosen-claim", At: l.At, Field: "match." + l.Name,
				Message: "of a pull request, branch is the branch that it wants to be merged into",
				Fix:     "match ref, such as refs/heads/main",
			})
		}
	}
	return remarks
}

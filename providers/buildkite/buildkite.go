// Package buildkite describes the OpenID Connect tokens of Buildkite jobs.
package buildkite

import (
	"errors"
	"regexp"
	"strings"
	"time"

	"cambio/providers/oidc"
	"cambio/trust"
)

// Platform is configuration type buildkite. One issuer speaks for all
// organisations. By default a token holds names alone, which can be given up and
// taken; the ids of the organisation and of the pipeline are UUIDs, and in the
// token when the job asks for them: `--claim organization_id,pipeline_id`. They
// are the anchors and the workload id, so a token without them is refused.
//
// The job may have sub replaced by one of its ids, so that it is not what a trust
// should rest on. Tags of the agent (agent_tag:NAME) are named by each
// organisation; a provider declares those it uses.
func Platform() oidc.Platform {
	text := trust.Claim{Type: trust.StringClaim}
	always := trust.Claim{Type: trust.StringClaim, Always: true}
	claims := oidc.StandardClaims()
	for name, c := range map[string]trust.Claim{
		"agent_id":           always,
		"agent_tag:queue":    text,
		"build_branch":       {Type: trust.StringClaim, Always: true, Chosen: true}, // by whoever starts the build: the API takes any branch with any commit
		"build_commit":       {Type: trust.StringClaim, Always: true, Chosen: true},
		"build_id":           text,
		"build_number":       {Type: trust.IntClaim, Always: true},
		"build_source":       {Type: trust.StringClaim, Values: []string{"ui", "api", "webhook", "trigger_job", "schedule"}},
		"build_tag":          {Type: trust.StringClaim, Chosen: true}, // only when there is one
		"cluster_id":         text,
		"cluster_name":       {Type: trust.StringClaim, PinnedBy: "cluster_id"},
		"job_id":             always,
		"nbf":                {Type: trust.IntClaim, Always: true},
		"organization_id":    text,
		"organization_slug":  {Type: trust.StringClaim, Always: true, PinnedBy: "organization_id"}, // can be changed, and taken by someone else
		"pipeline_id":        {Type: trust.StringClaim, OwnedBy: "organization_id"},
		"pipeline_slug":      {Type: trust.StringClaim, Always: true, PinnedBy: "pipeline_id"},
		"queue_id":           text,
		"queue_key":          {Type: trust.StringClaim, PinnedBy: "queue_id"},
		"runner_environment": {Type: trust.StringClaim, Values: []string{hosted, "self-hosted"}},
		"step_key":           {Type: trust.StringClaim, Chosen: true}, // null where the step has none
	} {
		claims[name] = c
	}
	return oidc.Platform{
		Platform: trust.Platform{
			Name:    "buildkite",
			Claims:  claims,
			Anchors: []string{"pipeline_id", "organization_id"},
			// The branch counts only for builds that a push started; nothing in the
			// token says who may start the others.
			Gates:  []string{"build_branch", "build_tag"},
			Hosted: map[string]string{"runner_environment": hosted},
			Journal: []string{
				"iss", "iat", "exp",
				"organization_id", "organization_slug", "pipeline_id", "pipeline_slug",
				"build_branch", "build_tag", "build_commit", "build_source", "build_number", "build_id",
				"step_key", "job_id", "agent_id", "cluster_id", "cluster_name", "queue_id", "queue_key", "runner_environment",
			},
			Sample: sample(),
		},
		Issuer: "https://agent.buildkite.com",
		Algs:   []string{"RS256"},
		// The agent fetches a fresh one for each exchange.
		TokenUse: trust.Once,
		MaxAge:   time.Hour,
		Typ:      []string{"jwt"},
		Workload: []oidc.Segment{{Claim: "organization_id"}, {Claim: "pipeline_id"}},
		Check:    check,
		SharedAudience: func(_, audience string) bool {
			return strings.HasPrefix(audience, "https://buildkite.com/")
		},
		IssuerForm: regexp.MustCompile(`^https://agent\.buildkite\.com$`),
		Facts: oidc.Facts{
			Title:    "Buildkite",
			Evidence: oidc.FromDocs,
			Source:   "https://buildkite.com/docs/agent/cli/reference/oidc",
			Obtain:   "`buildkite-agent oidc request-token`, with the audience and `--claim organization_id,pipeline_id`",
			Page:     "buildkite.md",
			Risks: []string{
				"A token has no ids unless the job asks for them; one without is refused.",
				"`build_branch` is what whoever started the build wrote. It says something where `build_source` is `webhook`, and builds of forks are off.",
				"`sub` may be replaced by an id of the job's choice.",
				"There is no jti: a token is known by its content.",
			},
		},
	}
}

// hosted is the runner_environment of Buildkite's own machines.
const hosted = "buildkite-hosted"

func sample() map[string]any {
	const commit = "9f3182061f1e2cca4702c368cbc039b7dc9d4485"
	return map[string]any{
		"iss":                "https://agent.buildkite.com",
		"aud":                "https://id.acme.example",
		"sub":                "organization:acme:pipeline:payments-deploy:ref:refs/heads/main:commit:" + commit + ":step:deploy",
		"iat":                int64(1795320000),
		"nbf":                int64(1795320000),
		"exp":                int64(1795320300),
		"agent_id":           "0184990a-4782-42b5-afc1-16715b10b8ff",
		"build_branch":       "main",
		"build_commit":       commit,
		"build_number":       int64(1042),
		"build_source":       "webhook",
		"job_id":             "0184990a-477b-4fa8-9968-496074483cee",
		"organization_id":    "f892efa9-103e-4d28-97a1-3b8616a0994d",
		"organization_slug":  "acme",
		"pipeline_id":        "0184990a-4782-42b5-afc1-16715b10b1f0",
		"pipeline_slug":      "payments-deploy",
		"runner_environment": hosted,
		"step_key":           "deploy",
	}
}

var errSub = errors.New("sub and the names of organization and pipeline differ")

// check compares sub with the names that it repeats, where it is the default one:
// organization:NAME:pipeline:NAME:ref:... A sub that the job replaced is one id,
// and not parsed. Names hold no colon.
func check(claims map[string]any) error {
	sub, _ := claims["sub"].(string)
	if !strings.HasPrefix(sub, "organization:") {
		return nil
	}
	org, _ := claims["organization_slug"].(string)
	pipeline, _ := claims["pipeline_slug"].(string)
	if org == "" || pipeline == "" || !strings.HasPrefix(sub, "organization:"+org+":pipeline:"+pipeline+":ref:") {
		return errSub
	}
	return nil
}

// Package harness describes the tokens of Harness pipelines.
package harness

import (
	"errors"
	"regexp"
	"strings"
	"time"

	"cambio/providers/oidc"
	"cambio/trust"
)

// Platform is configuration type harness. Each account has an issuer of its own,
// which holds the account's id; it differs by cluster, so that there is none by
// default.
//
// Below the account there are no numbers: organizations, projects and pipelines
// have identifiers that people choose, that cannot be changed, and that can be
// used again after a deletion. None of them says anything without the ones above
// it, so the account is the anchor, and match must pin organization and project
// beside it. Who may delete and create in a project may act for it in any case;
// this is how Kubernetes's namespaces are too.
//
// A claim is null where the stage has nothing to say (a CI stage has no
// environment); null matches nothing. A token without a pipeline, as one of a
// connector that somebody tests has none, has no workload id and is refused.
func Platform() oidc.Platform {
	text := trust.Claim{Type: trust.StringClaim}
	always := trust.Claim{Type: trust.StringClaim, Always: true}
	chosen := trust.Claim{Type: trust.StringClaim, Chosen: true}
	claims := oidc.StandardClaims()
	for name, c := range map[string]trust.Claim{
		"account_id":         always, // without one of these four there is no workload id
		"organization_id":    always,
		"project_id":         always,
		"pipeline_id":        always,
		"connector_id":       text,
		"connector_name":     {Type: trust.StringClaim, PinnedBy: "connector_id"},
		"context":            {Type: trust.StringClaim, Values: []string{execution, "CONNECTOR_VALIDATION", "PIPELINE_CONFIGURATION", "PERPETUAL_TASK"}},
		"environment_id":     text,
		"environment_type":   text,
		"service_id":         text,
		"service_name":       {Type: trust.StringClaim, PinnedBy: "service_id"},
		"stage_type":         text,
		"step_type":          text,
		"triggered_by_email": chosen, // whoever pushed the button: says nothing about what runs
		"triggered_by_name":  chosen,
	} {
		claims[name] = c
	}
	return oidc.Platform{
		Platform: trust.Platform{
			Name:    "harness",
			Claims:  claims,
			Anchors: []string{"account_id"},
			Pinned:  []string{"organization_id", "project_id"},
			Advised: []string{"pipeline_id", "environment_id"},
			// Somebody sets up a connector or a pipeline: nothing runs that was reviewed.
			Guarded: map[string][]string{"context": {"CONNECTOR_VALIDATION", "PIPELINE_CONFIGURATION", "PERPETUAL_TASK"}},
			Gates:   []string{"environment_id", "environment_type"},
			Journal: []string{
				"iss", "iat", "exp", "account_id", "organization_id", "project_id", "pipeline_id", "connector_id",
				"context", "environment_id", "environment_type", "service_id", "stage_type", "step_type",
			},
			Sample: map[string]any{
				"iss":              "https://app.harness.io/ng/api/oidc/account/px7xd_BFRCi-pfWPYXVjvw",
				"aud":              "https://id.acme.example",
				"sub":              "account/px7xd_BFRCi-pfWPYXVjvw:org/default:project/payments:pipeline/deploy",
				"iat":              int64(1795320000),
				"exp":              int64(1795323600),
				"account_id":       "px7xd_BFRCi-pfWPYXVjvw",
				"organization_id":  "default",
				"project_id":       "payments",
				"pipeline_id":      "deploy",
				"connector_id":     "cambio",
				"connector_name":   "cambio",
				"context":          execution,
				"environment_id":   "production",
				"environment_type": "Production",
				"service_id":       "api",
				"service_name":     "api",
				"stage_type":       "Deployment",
				"step_type":        "Run",
			},
		},
		Algs: []string{"RS256"},
		// A step holds one token for all that it does.
		TokenUse: trust.OncePerGrant,
		MaxAge:   time.Hour,
		Typ:      []string{"jwt"},
		Workload: []oidc.Segment{
			{Claim: "account_id"}, {Claim: "organization_id"}, {Claim: "project_id"}, {Claim: "pipeline_id"},
		},
		Check:      check,
		IssuerForm: regexp.MustCompile(`^https://([a-z0-9-]+\.)+harness\.io/([a-z0-9-]+/)?ng/api/oidc/account/[A-Za-z0-9_-]+$`),
		Facts: oidc.Facts{
			Title:    "Harness",
			Evidence: oidc.FromDocs,
			Source:   "https://developer.harness.io/harness-platform/use-harness-platform/pipelines/workload-identity/token-claims-reference",
			Obtain:   "from `CAMBIO_TOKEN`, where the step puts the token that Harness gave it",
			Page:     "harness.md",
			Risks: []string{
				"Identifiers of organizations, projects and pipelines are chosen by people, and can be used again after a deletion.",
				"A claim is null where the stage lacks what it names, and null matches nothing.",
				"Tokens have no jti: two that were made in the same second for the same step are one to the replay store.",
			},
		},
	}
}

// execution is the context of a pipeline that runs.
const execution = "PIPELINE_EXECUTION"

// check compares sub with the claims that it repeats. How much it repeats hangs on
// settings of the account, so each part that is there must agree, in whatever
// number they come.
func check(claims map[string]any) error {
	sub, _ := claims["sub"].(string)
	if !strings.HasPrefix(sub, "account/") {
		return nil // of an older form, which repeats nothing that we know
	}
	parts := map[string]string{"account": "account_id", "org": "organization_id", "project": "project_id", "pipeline": "pipeline_id"}
	for part := range strings.SplitSeq(sub, ":") {
		name, value, _ := strings.Cut(part, "/")
		claim, ok := parts[name]
		if !ok {
			return errors.New("sub holds a part that Harness does not send, or one twice")
		}
		if claims[claim] != value {
			return errors.New("sub and the id claims name different workloads")
		}
		delete(parts, name)
	}
	return nil
}

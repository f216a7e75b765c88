package bitbucket_test

import (
	"testing"

	"github.com/google/go-cmp/cmp"

	"cambio/providers/bitbucket"
	"cambio/providers/providertest"
	"cambio/trust"
)

const (
	repository  = "{a1b2c3d4-5e6f-4a7b-8c9d-0e1f2a3b4c5d}"
	step        = "{e5f6a7b8-9c0d-4e1f-8a2b-3c4d5e6f7a8b}"
	environment = "{d00dfeed-1a2b-4c3d-8e4f-5a6b7c8d9e0f}"
	ids         = `workspaceUuid: "{5f9b7a0e-3c2d-4b1a-9f8e-7d6c5b4a3928}", repositoryUuid: "` + repository + `"`
)

// TestDecide: ids decide, and what repeats them agrees.
func TestDecide(t *testing.T) {
	const match = "match: {" + ids + "}"
	const deploys = "match: {" + ids + `, branchName: main, deploymentEnvironmentUuid: "` + environment + `"}`
	own := func(id string) []any { return []any{"ari:cloud:bitbucket::workspace/" + id} }
	for name, c := range map[string]struct {
		match  string
		claims map[string]any
		want   trust.Reason
	}{
		"by ids":               {match, nil, ""},
		"a deployment":         {deploys, nil, ""},
		"sub without it":       {match, map[string]any{"sub": repository + ":" + step}, ""},
		"no environment":       {deploys, map[string]any{"sub": repository + ":" + step, "deploymentEnvironmentUuid": nil}, trust.ReasonConditionFalse},
		"a tag":                {deploys, map[string]any{"branchName": nil}, trust.ReasonConditionFalse},
		"another environment":  {deploys, map[string]any{"deploymentEnvironmentUuid": "{1}"}, trust.ReasonConditionFalse},
		"without braces":       {match, map[string]any{"repositoryUuid": "a1b2c3d4-5e6f-4a7b-8c9d-0e1f2a3b4c5d"}, trust.ReasonClaimInvalid},
		"another repository":   {match, map[string]any{"repositoryUuid": "{1}", "sub": "{1}:" + step}, trust.ReasonConditionFalse},
		"sub of another":       {match, map[string]any{"sub": "{1}:" + step}, trust.ReasonClaimInvalid},
		"a longer one":         {match, map[string]any{"sub": repository + "x:" + step}, trust.ReasonClaimInvalid},
		"no repository":        {match, map[string]any{"repositoryUuid": nil}, trust.ReasonClaimInvalid},
		"no workspace":         {match, map[string]any{"workspaceUuid": nil}, trust.ReasonWorkloadClaim},
		"own audience":         {match, map[string]any{"aud": own("5f9b7a0e-3c2d-4b1a-9f8e-7d6c5b4a3928")}, ""},
		"own audience, braces": {match, map[string]any{"aud": own("{5f9b7a0e-3c2d-4b1a-9f8e-7d6c5b4a3928}")}, ""},
		"another's audience":   {match, map[string]any{"aud": own("ffffffff-3c2d-4b1a-9f8e-7d6c5b4a3928")}, trust.ReasonClaimInvalid},
		"another's, as a text": {match, map[string]any{"aud": own("ffffffff-3c2d-4b1a-9f8e-7d6c5b4a3928")[0]}, trust.ReasonClaimInvalid},
	} {
		t.Run(name, func(t *testing.T) {
			d := providertest.Documents{Platform: bitbucket.Platform()}
			if got := d.Decide(t, c.match, c.claims); got != c.want {
				t.Errorf("got %q, want %q", got, c.want)
			}
		})
	}
}

// TestDocuments: what loading and the linter say of trusts.
func TestDocuments(t *testing.T) {
	for name, c := range map[string]struct {
		match string
		want  []string
	}{
		"ids":            {"match: {" + ids + "}", nil},
		"workspace":      {`match: {workspaceUuid: "{5f9b7a0e-3c2d-4b1a-9f8e-7d6c5b4a3928}"}`, []string{"shared-identity"}},
		"repository":     {`match: {repositoryUuid: "` + repository + `"}`, []string{"transferable-anchor"}},
		"branch":         {"match: {branchName: main}", []string{"trust-too-broad"}},
		"sub":            {`match: {sub: "` + repository + ":" + step + `"}`, []string{"trust-too-broad"}},
		"production":     {"match: {" + ids + "}\ngrants: [{to: prod, ttl: 5m}]", []string{"production-without-gate"}},
		"an environment": {"match: {" + ids + `, deploymentEnvironmentUuid: "` + environment + `"}` + "\ngrants: [{to: prod, ttl: 5m}]", nil},
	} {
		t.Run(name, func(t *testing.T) {
			got := providertest.Documents{Platform: bitbucket.Platform()}.Findings(c.match)
			if diff := cmp.Diff(c.want, got); diff != "" {
				t.Error(diff)
			}
		})
	}
}

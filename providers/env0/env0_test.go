package env0_test

import (
	"testing"

	"github.com/google/go-cmp/cmp"

	"cambio/providers/env0"
	"cambio/providers/providertest"
	"cambio/trust"
)

const (
	prefix = "https://env0.com/"
	ids    = `organizationId: 66a38abf-69bc-4cb7-ad73-7f61e389079f, environmentId: 9c3ca3cf-870d-4db4-9c60-5adf37faab45`
)

// TestDecide: ids decide, tokens of people and of API keys are refused, and a
// claim says the same under both of its names.
func TestDecide(t *testing.T) {
	const match = "match: {" + ids + "}"
	for name, c := range map[string]struct {
		match  string
		claims map[string]any
		want   trust.Reason
	}{
		"by ids":             {match, nil, ""},
		"newer names alone":  {match, map[string]any{prefix + "apiKeyType": nil, prefix + "organizationId": nil, prefix + "organization": nil, prefix + "projectId": nil, prefix + "environmentId": nil}, ""},
		"an older name":      {match[:len(match)-1] + `, "https://env0.com/projectId": 5b44fa6d-ecfd-40ab-8e69-14d6fe7c638c}`, nil, ""},
		"an older name, not": {match[:len(match)-1] + `, "https://env0.com/projectId": ffffffff-ecfd-40ab-8e69-14d6fe7c638c}`, nil, trust.ReasonConditionFalse},
		"older name in when": {match + "\nwhen: ['claims[\"https://env0.com/apiKeyType\"] == \"oidc\"']", nil, ""},
		"a pull request":     {match, map[string]any{"deploymentType": "prPlan"}, trust.ReasonEventNotNamed},
		"of no kind":         {match, map[string]any{"deploymentType": nil}, trust.ReasonConditionFalse},
		"of an empty kind":   {match, map[string]any{"deploymentType": ""}, trust.ReasonConditionFalse},
		"of kind 1":          {match, map[string]any{"deploymentType": int64(1)}, trust.ReasonCELError},
		"a destruction":      {match[:len(match)-1] + ", deploymentType: deploy}", map[string]any{"deploymentType": "destroy"}, trust.ReasonConditionFalse},

		"a person":             {match, map[string]any{"apiKeyType": nil, prefix + "apiKeyType": nil}, trust.ReasonClaimInvalid},
		"an API key":           {match, map[string]any{"apiKeyType": "personal", prefix + "apiKeyType": "personal"}, trust.ReasonClaimInvalid},
		"an API key, by one":   {match, map[string]any{"apiKeyType": "personal"}, trust.ReasonClaimInvalid},
		"two environments":     {match, map[string]any{prefix + "environmentId": "ffffffff-870d-4db4-9c60-5adf37faab45"}, trust.ReasonClaimInvalid},
		"two organizations":    {match, map[string]any{"organization": "ffffffff-69bc-4cb7-ad73-7f61e389079f"}, trust.ReasonClaimInvalid},
		"another environment":  {match, map[string]any{"environmentId": "1", prefix + "environmentId": "1"}, trust.ReasonConditionFalse},
		"no environment":       {match, map[string]any{"environmentId": nil}, trust.ReasonWorkloadClaim},
		"another organization": {match, map[string]any{"organization": "1", "organizationId": "1", prefix + "organization": "1", prefix + "organizationId": "1"}, trust.ReasonConditionFalse},
	} {
		t.Run(name, func(t *testing.T) {
			d := providertest.Documents{Platform: env0.Platform()}
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
		"ids":          {"match: {" + ids + "}", nil},
		"sub":          {"match: {sub: \"auth0|63021f2ce98a11d0678ed6fe\"}", []string{"trust-too-broad"}},
		"a kind":       {"match: {apiKeyType: oidc}", []string{"trust-too-broad"}},
		"organization": {"match: {organizationId: 66a38abf-69bc-4cb7-ad73-7f61e389079f}", []string{"shared-identity"}},
		"a tag":        {"match: {" + ids + ", env0Tag: production}", []string{"chosen-claim"}},
		"a name":       {"match: {" + ids + ", projectName: Payments}", []string{"mutable-claim"}},
	} {
		t.Run(name, func(t *testing.T) {
			got := providertest.Documents{Platform: env0.Platform()}.Findings(c.match)
			if diff := cmp.Diff(c.want, got); diff != "" {
				t.Error(diff)
			}
		})
	}
}

package buildkite_test

import (
	"testing"

	"github.com/google/go-cmp/cmp"

	"cambio/providers/buildkite"
	"cambio/providers/providertest"
	"cambio/trust"
)

const ids = `organization_id: "f892efa9-103e-4d28-97a1-3b8616a0994d", pipeline_id: "0184990a-4782-42b5-afc1-16715b10b1f0"`

// TestDecide: ids decide, and names that sub and claims repeat agree.
func TestDecide(t *testing.T) {
	const match = "match: {" + ids + "}"
	for name, c := range map[string]struct {
		match  string
		claims map[string]any
		want   trust.Reason
	}{
		"by ids":                {match, nil, ""},
		"sub is an id":          {match, map[string]any{"sub": "0184990a-4782-42b5-afc1-16715b10b1f0"}, ""},
		"a step without a key":  {match, map[string]any{"step_key": nil}, ""},
		"a tag":                 {match, map[string]any{"build_tag": "v1.0.0"}, ""},
		"names alone":           {match, map[string]any{"organization_id": nil, "pipeline_id": nil}, trust.ReasonWorkloadClaim},
		"no pipeline":           {"match: {organization_id: \"f892efa9-103e-4d28-97a1-3b8616a0994d\"}", map[string]any{"pipeline_id": nil}, trust.ReasonWorkloadClaim},
		"other organization":    {match, map[string]any{"organization_id": "0184990a-0000-4000-8000-000000000000"}, trust.ReasonConditionFalse},
		"other pipeline":        {match, map[string]any{"pipeline_id": "0184990a-0000-4000-8000-000000000000"}, trust.ReasonConditionFalse},
		"names differ":          {match, map[string]any{"pipeline_slug": "payments"}, trust.ReasonClaimInvalid},
		"organizations differ":  {match, map[string]any{"organization_slug": "acm"}, trust.ReasonClaimInvalid},
		"no name":               {match, map[string]any{"organization_slug": nil}, trust.ReasonClaimInvalid},
		"a branch":              {match[:len(match)-1] + ", build_branch: main, build_source: webhook}", nil, ""},
		"a branch by the API":   {match[:len(match)-1] + ", build_branch: main, build_source: webhook}", map[string]any{"build_source": "api"}, trust.ReasonConditionFalse},
		"a colon in a name":     {match[:len(match)-1] + `, "agent_tag:queue": deploy}`, map[string]any{"agent_tag:queue": "deploy"}, ""},
		"a colon, other value":  {match[:len(match)-1] + `, "agent_tag:queue": deploy}`, map[string]any{"agent_tag:queue": "test"}, trust.ReasonConditionFalse},
		"a colon in a pointer":  {match[:len(match)-1] + `, "/agent_tag:queue": deploy}`, map[string]any{"agent_tag:queue": "deploy"}, ""},
		"a colon, in when":      {match + "\nwhen: ['claims[\"agent_tag:queue\"] == \"deploy\"']", map[string]any{"agent_tag:queue": "deploy"}, ""},
		"a colon, no such":      {match + "\nwhen: ['claims[\"agent_tag:queue\"] == \"deploy\"']", nil, trust.ReasonCELError},
		"null is not the empty": {match[:len(match)-1] + ", step_key: deploy}", map[string]any{"step_key": ""}, trust.ReasonConditionFalse},
	} {
		t.Run(name, func(t *testing.T) {
			d := providertest.Documents{Platform: buildkite.Platform()}
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
		"ids":           {"match: {" + ids + "}", nil},
		"slugs":         {"match: {organization_slug: acme, pipeline_slug: payments-deploy}", []string{"trust-too-broad"}},
		"organization":  {"match: {organization_id: \"f892efa9-103e-4d28-97a1-3b8616a0994d\"}", []string{"shared-identity"}},
		"a name beside": {"match: {" + ids + ", pipeline_slug: payments-deploy}", nil},
		"a commit":      {"match: {" + ids + ", build_commit: 9f3182061f1e2cca4702c368cbc039b7dc9d4485}", []string{"chosen-claim"}},
		"a source":      {"match: {" + ids + ", build_source: push}", []string{"unknown-value"}},
		"queue's name":  {"match: {" + ids + ", queue_key: deploy}", []string{"mutable-claim"}},
		"production":    {"match: {" + ids + "}\ngrants: [{to: prod, ttl: 5m}]", []string{"production-without-gate", "self-hosted-runner"}},
	} {
		t.Run(name, func(t *testing.T) {
			got := providertest.Documents{Platform: buildkite.Platform()}.Findings(c.match)
			if diff := cmp.Diff(c.want, got); diff != "" {
				t.Error(diff)
			}
		})
	}
}

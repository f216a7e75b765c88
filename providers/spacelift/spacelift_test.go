package spacelift_test

import (
	"testing"

	"github.com/google/go-cmp/cmp"

	"cambio/providers/providertest"
	"cambio/providers/spacelift"
	"cambio/trust"
)

const ids = "callerType: stack, callerId: payments-infra"

// TestDecide: the stack decides, proposals are refused unless they are meant, and
// sub agrees with what it is made of.
func TestDecide(t *testing.T) {
	const match = "match: {" + ids + "}"
	run := func(kind, scope string) map[string]any {
		return map[string]any{"runType": kind, "scope": scope, "sub": "space:production-01HV3Q:stack:payments-infra:run_type:" + kind + ":scope:" + scope}
	}
	for name, c := range map[string]struct {
		match  string
		claims map[string]any
		want   trust.Reason
	}{
		"tracked":             {match, nil, ""},
		"destroy":             {match, run("DESTROY", "write"), ""},
		"proposed":            {match, run("PROPOSED", "read"), trust.ReasonEventNotNamed},
		"testing":             {match, run("TESTING", "write"), trust.ReasonEventNotNamed},
		"proposed, named":     {match[:len(match)-1] + ", runType: PROPOSED}", run("PROPOSED", "read"), ""},
		"planning":            {match[:len(match)-1] + ", scope: write}", run("TRACKED", "read"), trust.ReasonConditionFalse},
		"applying":            {match[:len(match)-1] + ", scope: write}", nil, ""},
		"a module, same id":   {match, map[string]any{"callerType": "module", "sub": "space:production-01HV3Q:module:payments-infra:run_type:TRACKED:scope:write"}, trust.ReasonConditionFalse},
		"sub of another":      {match, map[string]any{"sub": "space:production-01HV3Q:stack:payments:run_type:TRACKED:scope:write"}, trust.ReasonClaimInvalid},
		"another scope":       {match, map[string]any{"scope": "read"}, trust.ReasonClaimInvalid},
		"more behind it":      {match, map[string]any{"sub": spacelift.Platform().Sample["sub"].(string) + ":x"}, trust.ReasonClaimInvalid},
		"a number":            {match, map[string]any{"spaceId": int64(1)}, trust.ReasonClaimInvalid},
		"an id with a colon":  {match, map[string]any{"callerId": "payments-infra:run_type", "sub": "space:production-01HV3Q:stack:payments-infra:run_type:run_type:TRACKED:scope:write"}, trust.ReasonConditionFalse},
		"no caller, same sub": {match, map[string]any{"callerId": nil}, trust.ReasonClaimInvalid},
	} {
		t.Run(name, func(t *testing.T) {
			d := providertest.Documents{Platform: spacelift.Platform()}
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
		"ids":               {"match: {" + ids + "}", nil},
		"the id alone":      {"match: {callerId: payments-infra}", []string{"trust-too-broad"}},
		"the space":         {"match: {spaceId: production-01HV3Q}", []string{"trust-too-broad"}},
		"sub":               {"match: {sub: \"space:production-01HV3Q:stack:payments-infra:run_type:TRACKED:scope:write\"}", []string{"trust-too-broad"}},
		"another word":      {"match: {" + ids + ", runType: tracked}", []string{"unknown-value"}},
		"production":        {"match: {" + ids + "}\ngrants: [{to: prod, ttl: 5m}]", []string{"production-without-gate"}},
		"production, write": {"match: {" + ids + ", scope: write}\ngrants: [{to: prod, ttl: 5m}]", nil},
		"proposals":         {"match: {" + ids + ", runType: [TRACKED, PROPOSED]}\ngrants: [{to: prod, ttl: 5m}]", []string{"outsider-code"}},
	} {
		t.Run(name, func(t *testing.T) {
			got := providertest.Documents{Platform: spacelift.Platform()}.Findings(c.match)
			if diff := cmp.Diff(c.want, got); diff != "" {
				t.Error(diff)
			}
		})
	}
}

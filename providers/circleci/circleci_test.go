package circleci_test

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"cambio/providers/circleci"
	"cambio/providers/providertest"
	"cambio/trust"
)

const prefix = "oidc.circleci.com/"

// TestCheck: sub must agree with the issuer and with the claims that it repeats.
func TestCheck(t *testing.T) {
	platform := circleci.Platform()
	sub, _ := platform.Sample["sub"].(string)
	first, _, _ := strings.Cut(sub, "/vcs-origin/")
	for name, c := range map[string]struct {
		change map[string]any // nil takes a claim away
		ok     bool
	}{
		"second form":           {nil, true},
		"first form":            {map[string]any{"sub": first}, true},
		"webhook":               {map[string]any{"sub": first, prefix + "vcs-origin": nil, prefix + "vcs-ref": nil}, true},
		"a server's own issuer": {map[string]any{"iss": "https://circleci.acme.example"}, true},

		"other organization": {map[string]any{"iss": "https://oidc.circleci.com/org/ffffffff-5f42-4b7a-9d3e-6a1f2c8d7e90"}, false},
		"other project":      {map[string]any{prefix + "project-id": "ffffffff-7b6f-4c2d-8e3a-1f4b5c6d7e8f"}, false},
		"no project":         {map[string]any{prefix + "project-id": nil}, false},
		"other repository":   {map[string]any{prefix + "vcs-origin": "github.com/mallory/payments"}, false},
		"longer ref":         {map[string]any{prefix + "vcs-ref": "refs/heads/main-evil"}, false},
		"no ref":             {map[string]any{prefix + "vcs-ref": nil}, false},
		"more behind it":     {map[string]any{"sub": sub + "/x"}, false},
		"composed":           {map[string]any{"sub": first + "/vcs-origin/github.com/acme/payments"}, false},
		"another form":       {map[string]any{"sub": "project/x"}, false},
	} {
		t.Run(name, func(t *testing.T) {
			claims := providertest.Changed(platform.Sample, c.change)
			if err := platform.Check(claims); (err == nil) != c.ok {
				t.Errorf("got %v", err)
			}
		})
	}
}

// TestNames: names that hold dots and a slash, their pointers and their aliases
// mean the same in match and in when.
func TestNames(t *testing.T) {
	const (
		id     = `"5a0e9d1c-7b6f-4c2d-8e3a-1f4b5c6d7e8f"`
		origin = "vcs_origin: github.com/acme/payments"
	)
	other := map[string]any{prefix + "vcs-ref": "refs/heads/x", "sub": circleci.Platform().Sample["sub"].(string)[:strings.Index(circleci.Platform().Sample["sub"].(string), "/vcs-origin/")]}
	for name, c := range map[string]struct {
		match  string
		claims map[string]any
		want   trust.Reason
	}{
		"aliases":                  {"match: {project_id: " + id + ", " + origin + ", vcs_ref: refs/heads/main}", nil, ""},
		"aliases, another ref":     {"match: {project_id: " + id + ", " + origin + ", vcs_ref: refs/heads/main}", other, trust.ReasonConditionFalse},
		"names":                    {`match: {"oidc.circleci.com/project-id": ` + id + `, "oidc.circleci.com/vcs-origin": github.com/acme/payments, "oidc.circleci.com/vcs-ref": refs/heads/main}`, nil, ""},
		"names, another ref":       {`match: {"oidc.circleci.com/project-id": ` + id + `, "oidc.circleci.com/vcs-ref": refs/heads/main}`, other, trust.ReasonConditionFalse},
		"pointers":                 {`match: {"/oidc.circleci.com~1project-id": ` + id + `, "/oidc.circleci.com~1vcs-ref": refs/heads/main}`, nil, ""},
		"pointers, another ref":    {`match: {"/oidc.circleci.com~1project-id": ` + id + `, "/oidc.circleci.com~1vcs-ref": refs/heads/main}`, other, trust.ReasonConditionFalse},
		"when by alias":            {"match: {project_id: " + id + "}\nwhen: ['claims.vcs_ref == \"refs/heads/main\"']", other, trust.ReasonConditionFalse},
		"when by name":             {"match: {project_id: " + id + "}\nwhen: ['claims[\"oidc.circleci.com/vcs-ref\"] == \"refs/heads/main\"']", other, trust.ReasonConditionFalse},
		"when by name, held":       {"match: {project_id: " + id + "}\nwhen: ['claims[\"oidc.circleci.com/vcs-ref\"] == \"refs/heads/main\"', 'claims.?vcs_origin.orValue(\"\") == \"github.com/acme/payments\"']", nil, ""},
		"context":                  {"match: {project_id: " + id + "}\nwhen: ['\"2e7d451e-a745-4f9b-8009-5c082ad2729e\" in claims.context_ids']", nil, ""},
		"another context":          {"match: {project_id: " + id + "}\nwhen: ['\"another\" in claims.context_ids']", nil, trust.ReasonConditionFalse},
		"an alias of the token":    {"match: {project_id: " + id + ", vcs_ref: refs/heads/x}", map[string]any{"vcs_ref": "refs/heads/x"}, trust.ReasonConditionFalse},
		"SSH":                      {"match: {project_id: " + id + "}", map[string]any{prefix + "ssh-rerun": true}, trust.ReasonConditionFalse},
		"SSH that is meant":        {"match: {project_id: " + id + ", ssh_rerun: [true, false]}", map[string]any{prefix + "ssh-rerun": true}, ""},
		"nobody says SSH":          {"match: {project_id: " + id + "}", map[string]any{prefix + "ssh-rerun": nil}, ""},
		"SSH as a number":          {"match: {project_id: " + id + "}", map[string]any{prefix + "ssh-rerun": int64(1)}, trust.ReasonCELError},
		"a fork, with the project": {"match: {project_id: " + id + ", " + origin + "}", map[string]any{prefix + "vcs-origin": "github.com/mallory/payments", "sub": other["sub"]}, trust.ReasonConditionFalse},
		"a webhook's pipeline":     {"match: {project_id: " + id + ", " + origin + "}", map[string]any{prefix + "vcs-origin": nil, prefix + "vcs-ref": nil, "sub": other["sub"]}, trust.ReasonConditionFalse},
	} {
		t.Run(name, func(t *testing.T) {
			d := providertest.Documents{Platform: circleci.Platform()}
			if got := d.Decide(t, c.match, c.claims); got != c.want {
				t.Errorf("got %q, want %q", got, c.want)
			}
		})
	}
}

// TestDocuments: what loading and the linter say of trusts.
func TestDocuments(t *testing.T) {
	const id = `project_id: "5a0e9d1c-7b6f-4c2d-8e3a-1f4b5c6d7e8f"`
	for name, c := range map[string]struct {
		match string
		want  []string
	}{
		"whole":              {"match: {" + id + ", vcs_origin: github.com/acme/payments, vcs_ref: refs/heads/main}", nil},
		"no origin":          {"match: {" + id + "}", []string{"shared-identity"}},
		"no project":         {"match: {vcs_origin: github.com/acme/payments}", []string{"trust-too-broad"}},
		"sub":                {"match: {sub: {glob: \"org/*/project/*/user/*\"}}", []string{"trust-too-broad"}},
		"SSH as a text":      {"match: {" + id + ", vcs_origin: github.com/acme/payments, ssh_rerun: \"false\"}", []string{"type-mismatch"}},
		"a list in match":    {"match: {" + id + ", vcs_origin: github.com/acme/payments, context_ids: a}", []string{"list-claim"}},
		"production, no ref": {"match: {" + id + ", vcs_origin: github.com/acme/payments}\ngrants: [{to: prod, ttl: 5m}]", []string{"production-without-gate"}},
	} {
		t.Run(name, func(t *testing.T) {
			got := providertest.Documents{Platform: circleci.Platform()}.Findings(c.match)
			if diff := cmp.Diff(c.want, got); diff != "" {
				t.Error(diff)
			}
		})
	}
}

package providers_test

import (
	"maps"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"cambio/providers"
	"cambio/trust"
	"cambio/trust/check"
)

// TestReviewed writes a trust for a platform and says what its review finds, and
// whether the sample, changed, is let in.
func TestReviewed(t *testing.T) {
	now := time.Unix(1795320010, 0)
	for name, c := range map[string]struct {
		match  string
		when   string
		change map[string]any
		finds  []string
		allow  bool
	}{
		"harness":                       {"account_id: px7xd_BFRCi-pfWPYXVjvw, organization_id: default, project_id: payments, pipeline_id: deploy", "", nil, nil, true},
		"harness, account alone":        {"account_id: px7xd_BFRCi-pfWPYXVjvw", "", nil, []string{"trust-too-broad"}, false},
		"harness, project alone":        {"organization_id: default, project_id: payments", "", nil, []string{"trust-too-broad"}, false},
		"harness, somebody tests":       {"account_id: px7xd_BFRCi-pfWPYXVjvw, organization_id: default, project_id: payments, pipeline_id: deploy", "", map[string]any{"context": "CONNECTOR_VALIDATION"}, nil, false},
		"harness, null":                 {"account_id: px7xd_BFRCi-pfWPYXVjvw, organization_id: default, project_id: payments, environment_id: production", "", map[string]any{"environment_id": nil}, nil, false},
		"codefresh":                     {"account_id: 5f30ebd30312313ae7f17948, pipeline_id: 64f0c40800aafd14555663aa, scm_ref: main", "", nil, nil, true},
		"codefresh, pull request":       {"account_id: 5f30ebd30312313ae7f17948, pipeline_id: 64f0c40800aafd14555663aa, scm_ref: main", "", map[string]any{"scm_pull_request_target_branch": "main"}, nil, false},
		"codefresh, pull request meant": {"account_id: 5f30ebd30312313ae7f17948, pipeline_id: 64f0c40800aafd14555663aa, scm_pull_request_target_branch: main", "", map[string]any{"scm_pull_request_target_branch": "main"}, []string{"chosen-claim"}, true},
		"codefresh, names alone":        {"account_name: acme, pipeline_name: payments/deploy", "", nil, []string{"trust-too-broad"}, false},
		"semaphore":                     {"prj_id: 936a5312-a3b8-4921-8b3f-2cec8baac574, org_id: d7dd33ad-9317-498c-9cc6-51c250749be7, ref: refs/heads/main", "", nil, nil, true},
		"semaphore, pull request":       {"prj_id: 936a5312-a3b8-4921-8b3f-2cec8baac574, org_id: d7dd33ad-9317-498c-9cc6-51c250749be7, branch: main", "", map[string]any{"ref_type": "pull-request"}, []string{"chosen-claim", "shared-identity"}, false},
		"semaphore, a shell":            {"prj_id: 936a5312-a3b8-4921-8b3f-2cec8baac574, org_id: d7dd33ad-9317-498c-9cc6-51c250749be7, ref: refs/heads/main", "", map[string]any{"job_type": "debug_job"}, nil, false},
		"semaphore, of no type":         {"prj_id: 936a5312-a3b8-4921-8b3f-2cec8baac574, org_id: d7dd33ad-9317-498c-9cc6-51c250749be7, ref: refs/heads/main", "", map[string]any{"ref_type": nil}, nil, false},
		"semaphore, another spelling":   {"prj_id: 936a5312-a3b8-4921-8b3f-2cec8baac574, org_id: d7dd33ad-9317-498c-9cc6-51c250749be7, ref: refs/heads/main", "", map[string]any{"ref_type": "pull_request"}, nil, false},
		"semaphore, of no job":          {"prj_id: 936a5312-a3b8-4921-8b3f-2cec8baac574, org_id: d7dd33ad-9317-498c-9cc6-51c250749be7, ref: refs/heads/main", "", map[string]any{"job_type": nil}, nil, false},
		"semaphore, a tag, by its type": {"prj_id: 936a5312-a3b8-4921-8b3f-2cec8baac574, org_id: d7dd33ad-9317-498c-9cc6-51c250749be7, ref_type: tag", "", map[string]any{"ref_type": "tag"}, nil, true},
		"semaphore, requests are meant": {"prj_id: 936a5312-a3b8-4921-8b3f-2cec8baac574, org_id: d7dd33ad-9317-498c-9cc6-51c250749be7, ref_type: pull-request", "", map[string]any{"ref_type": "pull-request"}, []string{"outsider-code"}, true},
		"semaphore, names alone":        {"org: acme, prj: payments, ref: refs/heads/main", "", nil, []string{"trust-too-broad"}, false},
		"vercel":                        {"owner_id: team_7Gw5ZMzpQA8h90F832KGp7nw, project_id: prj_Rej9WaMNRbffVgfnKQpBxYxc, environment: production", "", nil, nil, true},
		"vercel, any environment":       {"owner_id: team_7Gw5ZMzpQA8h90F832KGp7nw, project_id: prj_Rej9WaMNRbffVgfnKQpBxYxc", "", map[string]any{"environment": "preview"}, []string{"shared-identity"}, false},
		"vercel, development":           {"owner_id: team_7Gw5ZMzpQA8h90F832KGp7nw, project_id: prj_Rej9WaMNRbffVgfnKQpBxYxc", "", map[string]any{"environment": "development"}, []string{"shared-identity"}, false},
		"vercel, the project alone":     {"project_id: prj_Rej9WaMNRbffVgfnKQpBxYxc, environment: production", "", nil, []string{"trust-too-broad"}, false},
		"vercel, the team alone":        {"owner_id: team_7Gw5ZMzpQA8h90F832KGp7nw, environment: production", "", nil, []string{"trust-too-broad"}, false},
		"fly-io":                        {`org_id: "29873298", app_id: "3671581"`, "", nil, nil, true},
		"fly-io, another app":           {`org_id: "29873298", app_id: "3671581"`, "", map[string]any{"app_id": "2"}, nil, false},
		"fly-io, names alone":           {"org_name: acme, app_name: payments", "", nil, []string{"trust-too-broad"}, false},
		"jenkins":                       {"sub: https://jenkins.acme.example/job/payments/job/deploy/", "", nil, nil, true},
		"jenkins, another job":          {"sub: https://jenkins.acme.example/job/payments/job/deploy/", "", map[string]any{"sub": "https://jenkins.acme.example/job/payments/job/deploy-evil/"}, nil, false},
		"jenkins, any job":              {`sub: {glob: "https://jenkins.acme.example/job/payments/job/*/"}`, "", nil, []string{"trust-too-broad"}, false},
		"pulumi":                        {"org_id: 7f1d7a44-7d0c-4bb5-8f3a-1c6a3e1f9b20, current_env_id: 0b6f5c1e-5a0d-4d55-9a55-2f3c9b0f6d11", "", nil, nil, true},
		"pulumi, by the claim's name":   {`"https://pulumi.com/current_env_id": 0b6f5c1e-5a0d-4d55-9a55-2f3c9b0f6d11, org_id: 7f1d7a44-7d0c-4bb5-8f3a-1c6a3e1f9b20`, "", nil, nil, true},
		"pulumi, opened through other":  {"org_id: 7f1d7a44-7d0c-4bb5-8f3a-1c6a3e1f9b20, current_env_id: 0b6f5c1e-5a0d-4d55-9a55-2f3c9b0f6d11, root_env_id: 0b6f5c1e-5a0d-4d55-9a55-2f3c9b0f6d11", "", map[string]any{"root_env_id": "other"}, nil, false},
		"pulumi, names alone":           {`"https://pulumi.com/current_env": payments/production`, "", nil, []string{"trust-too-broad"}, false},
	} {
		t.Run(name, func(t *testing.T) {
			typ, _, _ := strings.Cut(name, ",")
			platform, ok := providers.Platform(typ)
			if !ok {
				t.Fatal("no such platform")
			}
			doc := "name: t\nowner: team@acme.example\npurpose: A test\nfrom: p\nmatch: {" + c.match + "}\n"
			if c.when != "" {
				doc += "when: ['" + c.when + "']\n"
			}
			doc += "grants:\n  - {to: api, scopes: [\"orders:write\"], ttl: 5m}\n"
			world := trust.World{
				Providers: map[string]trust.Provider{"p": {Platform: platform.Platform, TokenUse: platform.TokenUse}},
				Targets:   map[string]trust.Target{"api": {Type: providers.TargetTypes()["jwt"], MaxTTL: time.Hour}},
			}
			policy, findings := trust.Compile(world, []trust.Source{{Name: "t.yaml", Data: []byte(doc)}}, now)
			if !findings.HasErrors() {
				findings = append(findings, check.Run(policy, check.Options{Now: now})...)
			}
			var got []string
			for _, f := range findings {
				got = append(got, f.ID)
			}
			slices.Sort(got)
			if diff := cmp.Diff(c.finds, slices.Compact(got)); diff != "" {
				t.Errorf("%s\n%v", diff, findings)
			}
			if findings.HasErrors() {
				return
			}
			claims := maps.Clone(platform.Sample)
			maps.Copy(claims, c.change)
			for alias, claim := range platform.Aliases { // as the verifier does
				if v, has := c.change[alias]; has {
					claims[claim] = v
				}
			}
			id := trust.Identity{Provider: "p", Workload: "spiffe://x/p/1", Claims: claims, IssuedAt: now, ExpiresAt: now.Add(time.Hour)}
			d := policy.Decide(id, trust.Request{Target: "api"}, trust.StopSet{}, now)
			if d.Allow != c.allow {
				t.Errorf("allowed is %v: %s", d.Allow, d.Reason)
			}
		})
	}
}

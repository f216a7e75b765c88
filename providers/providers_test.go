package providers_test

import (
	"context"
	"errors"
	"log/slog"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/spiffe/go-spiffe/v2/spiffeid"

	"cambio/exchange"
	"cambio/providers"
	"cambio/providers/oidc"
	"cambio/trust"
)

// TestCatalogue holds every platform to what a platform must be.
func TestCatalogue(t *testing.T) {
	for name, p := range providers.Platforms() {
		t.Run(name, func(t *testing.T) {
			if token := p.Proof == exchange.SubjectJWT; p.Name != name || token && (len(p.Algs) == 0 || p.MaxAge <= 0 || len(p.Typ) == 0) || len(p.Workload) == 0 {
				t.Error("incomplete")
			}
			if !slices.Contains([]trust.TokenUse{trust.Once, trust.OncePerGrant, trust.UntilExpiry}, p.TokenUse) {
				t.Errorf("token use %q", p.TokenUse)
			}
			if len(p.Anchors) == 0 && !p.Generic {
				t.Error("no anchor: a trust could be for everyone")
			}
			named := func(what, claim string) {
				if tabled(p.Claims, claim) {
					return
				}
				if _, ok := p.Aliases[claim]; !ok {
					t.Errorf("%s %s is not in the table", what, claim)
				}
			}
			for _, a := range p.Anchors {
				named("anchor", a)
			}
			for _, a := range p.Advised {
				named("advised", a)
			}
			for a := range p.Guarded {
				named("guarded", a)
			}
			for a := range p.Implied {
				named("implied", a)
			}
			for _, a := range p.BothWays {
				named("both ways", a)
			}
			for _, s := range p.Workload {
				if (s.Literal == "") == (s.Claim == "") {
					t.Errorf("segment %v", s)
				}
				if s.Claim != "" {
					named("segment", s.Claim)
				}
			}
			for alias, pointer := range p.Aliases {
				if !tabled(p.Claims, pointer) {
					t.Errorf("alias %s of nothing", alias)
				}
			}
			for claim, c := range p.Claims {
				v, ok := at(p.Sample, claim)
				if c.Always && !ok {
					t.Errorf("the sample lacks %s", claim)
				}
				if ok && !typed(v, c.Type) {
					t.Errorf("%s of the sample is no %s", claim, c.Type)
				}
				if s, isText := v.(string); isText && c.Values != nil && !slices.Contains(c.Values, s) {
					t.Errorf("%s of the sample is not in its closed set", claim)
				}
			}
			for claim, v := range p.Sample {
				if _, ok := p.Aliases[claim]; !ok && p.Claims[claim].Type == "" {
					t.Errorf("the sample's %s is not in the table", claim)
				} else if ok {
					if w, _ := at(p.Sample, p.Aliases[claim]); !cmp.Equal(w, v) {
						t.Errorf("the sample's alias %s differs", claim)
					}
				}
			}
			if p.Check != nil {
				if err := p.Check(p.Sample); err != nil {
					t.Errorf("the sample: %v", err)
				}
			}
		})
	}
}

// tabled reports whether the table has a claim, of which a pointer to the top of
// the token is another name.
func tabled(table map[string]trust.Claim, claim string) bool {
	_, ok := table[claim]
	if name, pointer := strings.CutPrefix(claim, "/"); !ok && pointer && !strings.Contains(name, "/") {
		_, ok = table[strings.NewReplacer("~1", "/", "~0", "~").Replace(name)]
	}
	return ok
}

func at(claims map[string]any, path string) (any, bool) {
	if !strings.HasPrefix(path, "/") {
		v, ok := claims[path]
		return v, ok
	}
	var v any = claims
	for _, step := range strings.Split(path[1:], "/") {
		m, _ := v.(map[string]any)
		var ok bool
		if v, ok = m[strings.NewReplacer("~1", "/", "~0", "~").Replace(step)]; !ok {
			return nil, false
		}
	}
	return v, true
}

func typed(v any, c trust.ClaimType) bool {
	switch v.(type) {
	case string:
		return c == trust.StringClaim
	case bool:
		return c == trust.BoolClaim
	case int64:
		return c == trust.IntClaim
	case float64:
		return c == trust.DoubleClaim
	case []any:
		return c == trust.ListClaim
	case map[string]any:
		return c == trust.MapClaim
	}
	return false
}

func TestTargetTypes(t *testing.T) {
	for name, typ := range providers.TargetTypes() {
		if typ.Name != name || typ.MaxTTL <= 0 {
			t.Errorf("%s is incomplete", name)
		}
	}
	reserved := providers.TargetTypes()["jwt"].Fields["claims"].Reserved
	for _, claim := range []string{"iss", "sub", "aud", "exp", "nbf", "iat", "jti", "scope", "client_id", "act", "may_act", "cnf"} {
		if !slices.Contains(reserved, claim) {
			t.Errorf("%s is not reserved", claim)
		}
	}
}

// azureDevOps is the workload id of Azure DevOps' sample.
const azureDevOps = "spiffe://gw.test/p-1/_2feid1_2fc_2fpub_2ft_2fOnwfXSSOb0uaDSw-T1prfA_2fa_2fbDtA7z5frECGhSju0pIq1Q" +
	"_2fsc_2f7b1c2d3e-4f50-4a6b-8c7d-9e0f1a2b3c4d_2f0d9e8f7a-6b5c-4d3e-9f2a-1b0c9d8e7f6a"

// TestPlatforms verifies one token of each platform and breaks one claim.
func TestPlatforms(t *testing.T) {
	now := time.Unix(1795320010, 0)
	key := newSigner()
	for name, c := range map[string]struct {
		workload string
		use      func(claims map[string]any)
		want     trust.Reason
	}{
		"github-actions": {"spiffe://gw.test/p-1/9919/41881900", nil, ""},
		"github-actions sub": {"spiffe://gw.test/p-1/9919/41881900", func(c map[string]any) {
			c["repository_owner"] = "evil"
		}, trust.ReasonClaimInvalid},
		"github-actions no id":   {"", func(c map[string]any) { c["sub"] = "x"; delete(c, "repository_id") }, trust.ReasonWorkloadClaim},
		"github-actions number":  {"", func(c map[string]any) { c["sub"] = "x"; c["repository_id"] = 41881900 }, trust.ReasonWorkloadClaim},
		"github-actions old":     {"spiffe://gw.test/p-1/9919/41881900", func(c map[string]any) { c["iat"] = now.Unix() - 3631 }, trust.ReasonTooOld},
		"kubernetes":             {"spiffe://gw.test/p-1/ns/payments/sa/api", nil, ""},
		"kubernetes old":         {"spiffe://gw.test/p-1/ns/payments/sa/api", func(c map[string]any) { c["iat"] = now.Unix() - 82800 }, ""},
		"kubernetes too old":     {"spiffe://gw.test/p-1/ns/payments/sa/api", func(c map[string]any) { c["iat"] = now.Unix() - 86431 }, trust.ReasonTooOld},
		"kubernetes no exp":      {"spiffe://gw.test/p-1/ns/payments/sa/api", func(c map[string]any) { delete(c, "exp") }, trust.ReasonExpMissing},
		"kubernetes other sub":   {"spiffe://gw.test/p-1/ns/payments/sa/api", func(c map[string]any) { c["sub"] = "system:serviceaccount:payments:evil" }, trust.ReasonClaimInvalid},
		"kubernetes user":        {"", func(c map[string]any) { delete(c, "kubernetes.io"); c["sub"] = "system:node:a" }, trust.ReasonWorkloadClaim},
		"kubernetes alias faked": {"", func(c map[string]any) { delete(c, "kubernetes.io"); c["namespace"] = "payments" }, trust.ReasonWorkloadClaim},
		"gcp":                    {"spiffe://gw.test/p-1/113000000000000000001", nil, ""},
		"gcp access token":       {"spiffe://gw.test/p-1/113000000000000000001", func(c map[string]any) { c["aud"] = "113" }, trust.ReasonAudMismatch},
		"gitlab-ci":              {"spiffe://gw.test/p-1/9919/41881900", nil, ""},
		"gitlab-ci sub":          {"spiffe://gw.test/p-1/9919/41881900", func(c map[string]any) { c["sub"] = "project_path:acme/evil:ref_type:branch:ref:main" }, trust.ReasonClaimInvalid},
		"gitlab-ci fork": {"spiffe://gw.test/p-1/6/66", func(c map[string]any) {
			c["project_id"], c["project_path"], c["namespace_id"], c["namespace_path"] = "66", "mallory/payments", "6", "mallory"
			c["sub"] = "project_path:mallory/payments:ref_type:branch:ref:main"
		}, ""},
		"gitlab-ci number":  {"", func(c map[string]any) { c["project_id"] = 41881900 }, trust.ReasonWorkloadClaim},
		"gitlab-ci old":     {"spiffe://gw.test/p-1/9919/41881900", func(c map[string]any) { c["iat"] = now.Unix() - 82800 }, ""},
		"gitlab-ci too old": {"spiffe://gw.test/p-1/9919/41881900", func(c map[string]any) { c["iat"] = now.Unix() - 86431 }, trust.ReasonTooOld},
		"circleci":          {"spiffe://gw.test/p-1/5a0e9d1c-7b6f-4c2d-8e3a-1f4b5c6d7e8f", nil, ""},
		"circleci project":  {"spiffe://gw.test/p-1/1", func(c map[string]any) { c["oidc.circleci.com/project-id"] = "1" }, trust.ReasonClaimInvalid},
		"circleci alias": {"", func(c map[string]any) {
			delete(c, "oidc.circleci.com/project-id")
			c["project_id"] = "5a0e9d1c-7b6f-4c2d-8e3a-1f4b5c6d7e8f"
		}, trust.ReasonClaimInvalid},
		"buildkite":               {"spiffe://gw.test/p-1/f892efa9-103e-4d28-97a1-3b8616a0994d/0184990a-4782-42b5-afc1-16715b10b1f0", nil, ""},
		"buildkite no ids":        {"", func(c map[string]any) { delete(c, "pipeline_id") }, trust.ReasonWorkloadClaim},
		"buildkite names":         {"spiffe://gw.test/p-1/f892efa9-103e-4d28-97a1-3b8616a0994d/0184990a-4782-42b5-afc1-16715b10b1f0", func(c map[string]any) { c["pipeline_slug"] = "evil" }, trust.ReasonClaimInvalid},
		"bitbucket-pipelines":     {"spiffe://gw.test/p-1/_7b5f9b7a0e-3c2d-4b1a-9f8e-7d6c5b4a3928_7d/_7ba1b2c3d4-5e6f-4a7b-8c9d-0e1f2a3b4c5d_7d", nil, ""},
		"bitbucket-pipelines sub": {"spiffe://gw.test/p-1/_7b5f9b7a0e-3c2d-4b1a-9f8e-7d6c5b4a3928_7d/_7b1_7d", func(c map[string]any) { c["repositoryUuid"] = "{1}" }, trust.ReasonClaimInvalid},
		"azure-devops":            {azureDevOps, nil, ""},
		"azure-devops tenant":     {azureDevOps, func(c map[string]any) { c["tid"] = "ffffffff-8e24-4b6f-9a0d-2c3e4f5a6b7c" }, trust.ReasonClaimInvalid},
		"azure-devops pipeline":   {"spiffe://gw.test/p-1/p_3a_2f_2facme_2fpayments_2fdeploy", func(c map[string]any) { c["sub"] = "p://acme/payments/deploy" }, trust.ReasonClaimInvalid},
		"hcp-terraform":           {"spiffe://gw.test/p-1/org-GRNbCjYNpBB6NEH9/ws-mbsd5E3Ktt5Rg2Xm", nil, ""},
		"hcp-terraform sub":       {"spiffe://gw.test/p-1/org-GRNbCjYNpBB6NEH9/ws-mbsd5E3Ktt5Rg2Xm", func(c map[string]any) { c["terraform_run_phase"] = "plan" }, trust.ReasonClaimInvalid},
		"hcp-terraform module": {"", func(c map[string]any) {
			delete(c, "terraform_workspace_id")
			c["sub"] = "organization:acme:module:vpc:operation:test_run"
		}, trust.ReasonWorkloadClaim},
		"hcp-terraform old":        {"spiffe://gw.test/p-1/org-GRNbCjYNpBB6NEH9/ws-mbsd5E3Ktt5Rg2Xm", func(c map[string]any) { c["iat"] = now.Unix() - 79200 }, ""},
		"google-cloud-build":       {"spiffe://gw.test/p-1/114000000000000000002", nil, ""},
		"google-cloud-build other": {"spiffe://gw.test/p-1/114000000000000000002", func(c map[string]any) { c["aud"] = "114" }, trust.ReasonAudMismatch},
		"spacelift":                {"spiffe://gw.test/p-1/stack/payments-infra", nil, ""},
		"spacelift sub":            {"spiffe://gw.test/p-1/module/payments-infra", func(c map[string]any) { c["callerType"] = "module" }, trust.ReasonClaimInvalid},
		"env0":                     {"spiffe://gw.test/p-1/66a38abf-69bc-4cb7-ad73-7f61e389079f/9c3ca3cf-870d-4db4-9c60-5adf37faab45", nil, ""},
		"env0 person": {"spiffe://gw.test/p-1/66a38abf-69bc-4cb7-ad73-7f61e389079f/9c3ca3cf-870d-4db4-9c60-5adf37faab45", func(c map[string]any) {
			c["apiKeyType"], c["https://env0.com/apiKeyType"] = "personal", "personal"
		}, trust.ReasonClaimInvalid},
		"harness":               {"spiffe://gw.test/p-1/px7xd_5fBFRCi-pfWPYXVjvw/default/payments/deploy", nil, ""},
		"harness shorter sub":   {"spiffe://gw.test/p-1/px7xd_5fBFRCi-pfWPYXVjvw/default/payments/deploy", func(c map[string]any) { c["sub"] = "account/px7xd_BFRCi-pfWPYXVjvw" }, ""},
		"harness older sub":     {"spiffe://gw.test/p-1/px7xd_5fBFRCi-pfWPYXVjvw/default/payments/deploy", func(c map[string]any) { c["sub"] = "deploy" }, ""},
		"harness null":          {"", func(c map[string]any) { c["sub"] = "x"; c["pipeline_id"] = nil }, trust.ReasonWorkloadClaim},
		"harness null and sub":  {"", func(c map[string]any) { c["pipeline_id"] = nil }, trust.ReasonClaimInvalid},
		"harness empty":         {"", func(c map[string]any) { c["sub"] = "x"; c["project_id"] = "" }, trust.ReasonWorkloadClaim},
		"harness number":        {"", func(c map[string]any) { c["sub"] = "x"; c["organization_id"] = 7 }, trust.ReasonWorkloadClaim},
		"harness other project": {"spiffe://gw.test/p-1/px7xd_5fBFRCi-pfWPYXVjvw/default/web/deploy", func(c map[string]any) { c["project_id"] = "web" }, trust.ReasonClaimInvalid},
		"harness other account": {"spiffe://gw.test/p-1/other/default/payments/deploy", func(c map[string]any) { c["account_id"] = "other" }, trust.ReasonClaimInvalid},
		"harness sub twice":     {"spiffe://gw.test/p-1/px7xd_5fBFRCi-pfWPYXVjvw/default/payments/deploy", func(c map[string]any) { c["sub"] = c["sub"].(string) + ":pipeline/deploy" }, trust.ReasonClaimInvalid},
		"harness sub with more": {"spiffe://gw.test/p-1/px7xd_5fBFRCi-pfWPYXVjvw/default/payments/deploy", func(c map[string]any) { c["sub"] = c["sub"].(string) + ":stage/x" }, trust.ReasonClaimInvalid},
		"codefresh":             {"spiffe://gw.test/p-1/5f30ebd30312313ae7f17948/64f0c40800aafd14555663aa", nil, ""},
		"codefresh cron": {"spiffe://gw.test/p-1/5f30ebd30312313ae7f17948/64f0c40800aafd14555663aa", func(c map[string]any) {
			c["sub"] = "account:5f30ebd30312313ae7f17948:pipeline:64f0c40800aafd14555663aa"
		}, ""},
		"codefresh longer id": {"spiffe://gw.test/p-1/5f30ebd30312313ae7f17948/64f0c40800aafd14555663a", func(c map[string]any) { c["pipeline_id"] = "64f0c40800aafd14555663a" }, trust.ReasonClaimInvalid},
		"codefresh pipeline":  {"spiffe://gw.test/p-1/5f30ebd30312313ae7f17948/1", func(c map[string]any) { c["pipeline_id"] = "1" }, trust.ReasonClaimInvalid},
		"codefresh account":   {"spiffe://gw.test/p-1/1/64f0c40800aafd14555663aa", func(c map[string]any) { c["account_id"] = "1" }, trust.ReasonClaimInvalid},
		"codefresh null":      {"", func(c map[string]any) { c["account_id"] = nil }, trust.ReasonClaimInvalid},
		"codefresh no ids": {"", func(c map[string]any) {
			delete(c, "account_id")
			delete(c, "pipeline_id")
			c["sub"] = "account::pipeline:"
		}, trust.ReasonWorkloadClaim},
		"codefresh old": {"spiffe://gw.test/p-1/5f30ebd30312313ae7f17948/64f0c40800aafd14555663aa", func(c map[string]any) { c["iat"] = now.Unix() - 631 }, trust.ReasonTooOld},
		"semaphore":     {"spiffe://gw.test/p-1/d7dd33ad-9317-498c-9cc6-51c250749be7/936a5312-a3b8-4921-8b3f-2cec8baac574", nil, ""},
		"semaphore pull request": {"spiffe://gw.test/p-1/d7dd33ad-9317-498c-9cc6-51c250749be7/936a5312-a3b8-4921-8b3f-2cec8baac574", func(c map[string]any) {
			c["sub"] = "org:acme:project:936a5312-a3b8-4921-8b3f-2cec8baac574:repo:payments:ref_type:pull-request:ref:refs/pull/7/merge"
			c["ref_type"], c["ref"], c["pr"], c["pr_branch"] = "pull-request", "refs/pull/7/merge", "7", "feature"
		}, ""},
		"semaphore filtered":        {"spiffe://gw.test/p-1/d7dd33ad-9317-498c-9cc6-51c250749be7/936a5312-a3b8-4921-8b3f-2cec8baac574", func(c map[string]any) { delete(c, "repo") }, ""},
		"semaphore filtered, other": {"spiffe://gw.test/p-1/d7dd33ad-9317-498c-9cc6-51c250749be7/1", func(c map[string]any) { delete(c, "repo"); c["prj_id"] = "1" }, trust.ReasonClaimInvalid},
		"semaphore other project":   {"spiffe://gw.test/p-1/d7dd33ad-9317-498c-9cc6-51c250749be7/1", func(c map[string]any) { c["prj_id"] = "1" }, trust.ReasonClaimInvalid},
		"semaphore other ref":       {"spiffe://gw.test/p-1/d7dd33ad-9317-498c-9cc6-51c250749be7/936a5312-a3b8-4921-8b3f-2cec8baac574", func(c map[string]any) { c["ref"] = "refs/heads/x" }, trust.ReasonClaimInvalid},
		"semaphore other org":       {"spiffe://gw.test/p-1/d7dd33ad-9317-498c-9cc6-51c250749be7/936a5312-a3b8-4921-8b3f-2cec8baac574", func(c map[string]any) { c["org"] = "evil" }, trust.ReasonClaimInvalid},
		"semaphore no id":           {"", func(c map[string]any) { c["org_id"] = "" }, trust.ReasonWorkloadClaim},
		"semaphore at a day's end":  {"spiffe://gw.test/p-1/d7dd33ad-9317-498c-9cc6-51c250749be7/936a5312-a3b8-4921-8b3f-2cec8baac574", func(c map[string]any) { c["iat"], c["exp"] = now.Unix()-86300, now.Unix()+100 }, ""},
		"vercel":                    {"spiffe://gw.test/p-1/team_5f7Gw5ZMzpQA8h90F832KGp7nw/prj_5fRej9WaMNRbffVgfnKQpBxYxc", nil, ""},
		"vercel other owner":        {"spiffe://gw.test/p-1/team_5f7Gw5ZMzpQA8h90F832KGp7nw/prj_5fRej9WaMNRbffVgfnKQpBxYxc", func(c map[string]any) { c["owner"] = "evil" }, trust.ReasonClaimInvalid},
		"vercel other project":      {"spiffe://gw.test/p-1/team_5f7Gw5ZMzpQA8h90F832KGp7nw/prj_5fRej9WaMNRbffVgfnKQpBxYxc", func(c map[string]any) { c["project"] = "other" }, trust.ReasonClaimInvalid},
		"vercel preview poses":      {"spiffe://gw.test/p-1/team_5f7Gw5ZMzpQA8h90F832KGp7nw/prj_5fRej9WaMNRbffVgfnKQpBxYxc", func(c map[string]any) { c["sub"] = "owner:acme:project:website:environment:preview" }, trust.ReasonClaimInvalid},
		"vercel no name":            {"spiffe://gw.test/p-1/team_5f7Gw5ZMzpQA8h90F832KGp7nw/prj_5fRej9WaMNRbffVgfnKQpBxYxc", func(c map[string]any) { delete(c, "owner") }, trust.ReasonClaimInvalid},
		"vercel null":               {"", func(c map[string]any) { c["owner_id"] = nil }, trust.ReasonWorkloadClaim},
		"fly-io":                    {"spiffe://gw.test/p-1/29873298/3671581", nil, ""},
		"fly-io number":             {"", func(c map[string]any) { c["app_id"] = 3671581 }, trust.ReasonWorkloadClaim},
		"fly-io other app":          {"spiffe://gw.test/p-1/29873298/3671581", func(c map[string]any) { c["app_name"] = "web" }, trust.ReasonClaimInvalid},
		"fly-io other organization": {"spiffe://gw.test/p-1/29873298/3671581", func(c map[string]any) { c["org_name"] = "evil" }, trust.ReasonClaimInvalid},
		"fly-io other machine":      {"spiffe://gw.test/p-1/29873298/3671581", func(c map[string]any) { c["machine_name"] = "m" }, trust.ReasonClaimInvalid},
		"fly-io no name":            {"spiffe://gw.test/p-1/29873298/3671581", func(c map[string]any) { delete(c, "machine_name") }, trust.ReasonClaimInvalid},
		"jenkins":                   {"spiffe://gw.test/p-1/https_3a_2f_2fjenkins.acme.example_2fjob_2fpayments_2fjob_2fdeploy_2f", nil, ""},
		"jenkins no build":          {"spiffe://gw.test/p-1/https_3a_2f_2fjenkins.acme.example_2fjob_2fpayments_2fjob_2fdeploy_2f", func(c map[string]any) { delete(c, "build_number") }, ""},
		"jenkins empty":             {"", func(c map[string]any) { c["sub"] = "" }, trust.ReasonSubInvalid},
		"pulumi":                    {"spiffe://gw.test/p-1/7f1d7a44-7d0c-4bb5-8f3a-1c6a3e1f9b20/0b6f5c1e-5a0d-4d55-9a55-2f3c9b0f6d11", nil, ""},
		"pulumi other environment":  {"spiffe://gw.test/p-1/7f1d7a44-7d0c-4bb5-8f3a-1c6a3e1f9b20/e", func(c map[string]any) { c["https://pulumi.com/current_env_id"] = "e" }, trust.ReasonClaimInvalid},
		"pulumi other organization": {"spiffe://gw.test/p-1/o/0b6f5c1e-5a0d-4d55-9a55-2f3c9b0f6d11", func(c map[string]any) { c["https://pulumi.com/org_id"] = "o" }, trust.ReasonClaimInvalid},
		"pulumi an alias is no claim": {"", func(c map[string]any) {
			delete(c, "https://pulumi.com/org_id")
			c["org_id"], c["sub"] = "7f1d7a44-7d0c-4bb5-8f3a-1c6a3e1f9b20", "pulumi:org::env:0b6f5c1e-5a0d-4d55-9a55-2f3c9b0f6d11"
		}, trust.ReasonWorkloadClaim},
		"oidc": {"spiffe://gw.test/p-1/workload", nil, ""},
	} {
		t.Run(name, func(t *testing.T) {
			typ, _, _ := strings.Cut(name, " ")
			platform := providers.Platforms()[typ]
			claims := map[string]any{}
			for k, v := range platform.Sample {
				if _, alias := platform.Aliases[k]; !alias {
					claims[k] = v
				}
			}
			if c.use != nil {
				c.use(claims)
			}
			s, err := providers.New(oidc.Config{
				TrustDomain: "gw.test", Now: func() time.Time { return now }, Log: slog.New(slog.DiscardHandler),
				Providers: []oidc.Provider{{
					Name: "p-1", Type: typ, Issuer: platform.Sample["iss"].(string), Audiences: []string{audienceOf(platform)}, JWKSFile: key.set("k"),
				}},
			})
			if err != nil {
				t.Fatal(err)
			}
			proof, err := s.Verify(context.Background(), exchange.Subject{Token: key.sign(`{"alg":"RS256","kid":"k"}`, claims)})
			if reason(err) != c.want || proof.Workload != c.workload {
				t.Fatalf("got %v and %s", err, proof.Workload)
			}
			if proof.Workload != "" {
				if _, err := spiffeid.FromString(proof.Workload); err != nil {
					t.Error(err)
				}
			}
			if c.use == nil {
				// The verifier finds what the sample for tests of trusts says.
				if diff := cmp.Diff(platform.Sample, proof.Claims); diff != "" {
					t.Error(diff)
				}
			}
			if _, has := proof.Claims["namespace"]; has && name == "kubernetes alias faked" {
				t.Error("a claim poses as an alias")
			}
			if typ != "oidc" {
				refusesTyp(t, s, key, claims)
			}
		})
	}
}

// audienceOf is the audience of the platform's sample: not everywhere is it the
// workload's to choose.
func audienceOf(p oidc.Platform) string {
	if list, ok := p.Sample["aud"].([]any); ok {
		return list[0].(string)
	}
	return p.Sample["aud"].(string)
}

// refusesTyp: only the generic platform takes access tokens.
func refusesTyp(t *testing.T, s *providers.Set, key *signer, claims map[string]any) {
	t.Helper()
	_, err := s.Verify(context.Background(), exchange.Subject{Token: key.sign(`{"alg":"RS256","kid":"k","typ":"at+jwt"}`, claims)})
	if reason(err) != trust.ReasonTypNotAllowed {
		t.Errorf("at+jwt: %v", err)
	}
}

func reason(err error) trust.Reason {
	var e *exchange.Error
	if errors.As(err, &e) {
		return e.Reason
	}
	if err != nil {
		return "not an exchange.Error"
	}
	return ""
}

func TestCheck(t *testing.T) {
	dial, err := oidc.ParseDialRule("kubernetes.default.svc:443 10.0.0.0/8")
	if err != nil {
		t.Fatal(err)
	}
	for name, c := range map[string]struct {
		p    oidc.Provider
		want []string // finding and field
	}{
		"github":            {oidc.Provider{Type: "github-actions", Audiences: []string{"a"}}, nil},
		"no issuer":         {oidc.Provider{Type: "oidc", Audiences: []string{"a"}}, []string{"issuer-url-invalid issuer"}},
		"address":           {oidc.Provider{Type: "oidc", Issuer: "https://10.0.0.1", Audiences: []string{"a"}}, []string{"issuer-address-forbidden issuer"}},
		"address of keys":   {oidc.Provider{Type: "gcp", JWKSURL: "https://127.1/x", Audiences: []string{"a"}}, []string{"issuer-address-forbidden jwks_url"}},
		"all at once":       {oidc.Provider{Type: "oidc", Issuer: "https://*", DiscoveryURL: "https://[::1]/x"}, []string{"issuer-url-invalid issuer", "issuer-address-forbidden discovery_url", "provider-setting audience"}},
		"API server":        {oidc.Provider{Type: "kubernetes", Issuer: "https://k8s.acme.example", Audiences: []string{"https://kubernetes.default.svc"}}, []string{"audience-reserved audience"}},
		"its own issuer":    {oidc.Provider{Type: "kubernetes", Issuer: "https://k8s.acme.example", Audiences: []string{"a", "https://k8s.acme.example"}}, []string{"audience-reserved audience"}},
		"in a cluster":      {oidc.Provider{Type: "kubernetes", Issuer: "https://kubernetes.default.svc", Audiences: []string{"a"}}, []string{"keys-unreachable jwks_file"}},
		"in a cluster, ok":  {oidc.Provider{Type: "kubernetes", Issuer: "https://kubernetes.default.svc", Audiences: []string{"a"}, Dial: []oidc.DialRule{dial}}, nil},
		"in a cluster, pin": {oidc.Provider{Type: "kubernetes", Issuer: "https://kubernetes.default.svc.cluster.local", Audiences: []string{"a"}, JWKSFile: newSigner().set("k")}, nil},
		"generic anchor":    {oidc.Provider{Type: "oidc", Issuer: "https://kubernetes.default.svc", Audiences: []string{"a"}}, nil},
		"bad file":          {oidc.Provider{Type: "github-actions", Audiences: []string{"a"}, JWKSFile: []byte("{}")}, []string{"keys-unreachable jwks_file"}},
	} {
		t.Run(name, func(t *testing.T) {
			var got []string
			platform, _ := providers.Platform(c.p.Type)
			for _, p := range oidc.Check(c.p.WithDefaults(platform), platform) {
				got = append(got, p.Finding+" "+p.Field)
				if p.Text == "" {
					t.Error("nothing said")
				}
			}
			if diff := cmp.Diff(c.want, got); diff != "" {
				t.Error(diff)
			}
		})
	}
}

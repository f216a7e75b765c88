package terraform_test

import (
	"testing"

	"github.com/google/go-cmp/cmp"

	"cambio/providers/providertest"
	"cambio/providers/terraform"
	"cambio/trust"
)

// TestCheck: sub must be what it is made of, whatever stands in a name.
func TestCheck(t *testing.T) {
	platform := terraform.Platform()
	const full = "organization:acme:project:Default Project:workspace:payments-prod"
	for name, c := range map[string]struct {
		change map[string]any // nil takes a claim away
		ok     bool
	}{
		"apply":              {nil, true},
		"plan":               {map[string]any{"terraform_run_phase": "plan", "sub": full + ":run_phase:plan"}, true},
		"no full workspace":  {map[string]any{"terraform_full_workspace": nil}, true},
		"no projects":        {map[string]any{"terraform_project_name": nil, "terraform_full_workspace": "organization:acme:workspace:payments-prod", "sub": "organization:acme:workspace:payments-prod:run_phase:apply"}, true},
		"a module's test":    {map[string]any{"terraform_workspace_id": nil, "sub": "organization:acme:module:x:operation:test_run"}, true},
		"a colon in a name":  {map[string]any{"terraform_project_name": "a:workspace:b", "terraform_full_workspace": nil, "sub": "organization:acme:project:a:workspace:b:workspace:payments-prod:run_phase:apply"}, true},
		"other phase":        {map[string]any{"sub": full + ":run_phase:plan"}, false},
		"other organization": {map[string]any{"terraform_organization_name": "acme-evil"}, false},
		"other workspace":    {map[string]any{"terraform_workspace_name": "payments"}, false},
		"other full name":    {map[string]any{"terraform_full_workspace": full + "x"}, false},
		"more behind it":     {map[string]any{"sub": full + ":run_phase:apply:x"}, false},
		"no phase":           {map[string]any{"terraform_run_phase": nil}, false},
		"another form":       {map[string]any{"sub": "payments-prod"}, false},
		"full is a number":   {map[string]any{"terraform_full_workspace": int64(1)}, false},
	} {
		t.Run(name, func(t *testing.T) {
			claims := providertest.Changed(platform.Sample, c.change)
			if err := platform.Check(claims); (err == nil) != c.ok {
				t.Errorf("got %v", err)
			}
		})
	}
}

const ids = `terraform_organization_id: "org-GRNbCjYNpBB6NEH9", terraform_workspace_id: "ws-mbsd5E3Ktt5Rg2Xm"`

// TestDocuments: what loading and the linter say of trusts, those of attack GLT-03
// among them.
func TestDocuments(t *testing.T) {
	for name, c := range map[string]struct {
		match string
		want  []string
	}{
		"a glob of sub":         {`match: {sub: {glob: "organization:acme:*"}}`, []string{"trust-too-broad"}},
		"the workspace alone":   {`match: {terraform_workspace_id: "ws-mbsd5E3Ktt5Rg2Xm"}`, []string{"trust-too-broad"}},
		"the organization":      {`match: {terraform_organization_id: "org-GRNbCjYNpBB6NEH9"}`, []string{"trust-too-broad"}},
		"a glob of one":         {`match: {terraform_organization_id: {glob: "org-*"}, terraform_workspace_id: "ws-mbsd5E3Ktt5Rg2Xm"}`, []string{"trust-too-broad"}},
		"names":                 {`match: {terraform_organization_name: acme, terraform_workspace_name: payments-prod}`, []string{"trust-too-broad"}},
		"any phase":             {"match: {" + ids + "}", []string{"run-phase-unpinned"}},
		"apply":                 {"match: {" + ids + ", terraform_run_phase: apply}", nil},
		"apply by a condition":  {"match: {" + ids + "}\nwhen: ['claims.terraform_run_phase == \"apply\"']", nil},
		"plan, for production":  {"match: {" + ids + ", terraform_run_phase: plan}\ngrants: [{to: prod, ttl: 5m}]", []string{"outsider-code"}},
		"a name beside its id":  {"match: {" + ids + ", terraform_run_phase: apply, terraform_workspace_name: payments-prod}", nil},
		"a name without its id": {"match: {" + ids + ", terraform_run_phase: apply, terraform_project_name: Payments}", []string{"mutable-claim"}},
	} {
		t.Run(name, func(t *testing.T) {
			got := providertest.Documents{Platform: terraform.Platform()}.Findings(c.match)
			if diff := cmp.Diff(c.want, got); diff != "" {
				t.Error(diff)
			}
		})
	}
}

// TestDecide: attack GLT-03, at the decision.
func TestDecide(t *testing.T) {
	const apply = "match: {" + ids + ", terraform_run_phase: apply}"
	for name, c := range map[string]struct {
		match  string
		claims map[string]any
		want   trust.Reason
	}{
		"apply": {apply, nil, ""},
		"plan": {apply, map[string]any{
			"terraform_run_phase": "plan", "sub": "organization:acme:project:Default Project:workspace:payments-prod:run_phase:plan",
		}, trust.ReasonConditionFalse},
		"acme-evil": {apply, map[string]any{
			"terraform_organization_id": "org-evil", "terraform_organization_name": "acme-evil",
			"terraform_full_workspace": "organization:acme-evil:project:Default Project:workspace:payments-prod",
			"sub":                      "organization:acme-evil:project:Default Project:workspace:payments-prod:run_phase:apply",
		}, trust.ReasonConditionFalse},
		"moved to another project": {apply, map[string]any{
			"terraform_project_id": "prj-other", "terraform_project_name": "Other",
			"terraform_full_workspace": "organization:acme:project:Other:workspace:payments-prod",
			"sub":                      "organization:acme:project:Other:workspace:payments-prod:run_phase:apply",
		}, ""},
		"moved, and the project pinned": {apply[:len(apply)-1] + `, terraform_project_id: "prj-vegSA59s1XPwMr2t"}`, map[string]any{
			"terraform_project_id": "prj-other", "terraform_project_name": "Other",
			"terraform_full_workspace": "organization:acme:project:Other:workspace:payments-prod",
			"sub":                      "organization:acme:project:Other:workspace:payments-prod:run_phase:apply",
		}, trust.ReasonConditionFalse},
		"a module's test": {apply, map[string]any{
			"terraform_workspace_id": nil, "sub": "organization:acme:module:vpc:operation:test_run", "terraform_run_phase": "plan",
		}, trust.ReasonWorkloadClaim},
		"a sub of another's": {apply, map[string]any{"sub": "organization:acme-evil:project:Default Project:workspace:payments-prod:run_phase:apply"}, trust.ReasonClaimInvalid},
	} {
		t.Run(name, func(t *testing.T) {
			d := providertest.Documents{Platform: terraform.Platform()}
			if got := d.Decide(t, c.match, c.claims); got != c.want {
				t.Errorf("got %q, want %q", got, c.want)
			}
		})
	}
}

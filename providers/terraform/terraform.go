// Package terraform describes the workload identity tokens of HCP Terraform and
// Terraform Enterprise.
package terraform

import (
	"errors"
	"time"

	"cambio/providers/oidc"
	"cambio/trust"
)

// Platform is configuration type hcp-terraform: app.terraform.io, and Terraform
// Enterprise with its URL as the issuer. One issuer speaks for all organisations.
// Names can be changed, and taken by someone else; ids cannot. A trust pins the
// workspace and its organisation.
//
// Runs that test a module have no workspace, and so no identity here: they would
// be one for all modules of an organisation.
func Platform() oidc.Platform {
	always := trust.Claim{Type: trust.StringClaim, Always: true}
	claims := oidc.StandardClaims()
	for name, c := range map[string]trust.Claim{
		"jti":                         always,
		"nbf":                         {Type: trust.IntClaim, Always: true},
		"terraform_full_workspace":    {Type: trust.StringClaim, PinnedBy: "terraform_workspace_id"},
		"terraform_organization_id":   always,
		"terraform_organization_name": {Type: trust.StringClaim, Always: true, PinnedBy: "terraform_organization_id"},
		"terraform_project_id":        {Type: trust.StringClaim}, // a workspace can move to another one
		"terraform_project_name":      {Type: trust.StringClaim, PinnedBy: "terraform_project_id"},
		"terraform_run_id":            always,
		"terraform_run_phase":         always, // plan or apply, for example
		"terraform_workspace_id":      {Type: trust.StringClaim, OwnedBy: "terraform_organization_id"},
		"terraform_workspace_name":    {Type: trust.StringClaim, PinnedBy: "terraform_workspace_id"},
	} {
		claims[name] = c
	}
	return oidc.Platform{
		Platform: trust.Platform{
			Name:    "hcp-terraform",
			Claims:  claims,
			Anchors: []string{"terraform_workspace_id"},
			Pinned:  []string{"terraform_organization_id"},
			// A plan runs code and providers that nobody approved, also for a pull
			// request. A trust that leaves the phase open draws run-phase-unpinned.
			Outsiders: map[string][]string{"terraform_run_phase": {"plan"}},
			Gates:     []string{"terraform_run_phase"},
			Journal: []string{
				"iss", "iat", "exp",
				"terraform_organization_id", "terraform_organization_name", "terraform_project_id", "terraform_project_name",
				"terraform_workspace_id", "terraform_workspace_name", "terraform_run_id", "terraform_run_phase",
			},
			Sample: map[string]any{
				"iss":                         "https://app.terraform.io",
				"aud":                         "https://id.acme.example",
				"sub":                         "organization:acme:project:Default Project:workspace:payments-prod:run_phase:apply",
				"jti":                         "1192426d-b525-4fde-9d42-f238be437bbd",
				"iat":                         int64(1795320000),
				"nbf":                         int64(1795319995),
				"exp":                         int64(1795327200),
				"terraform_full_workspace":    "organization:acme:project:Default Project:workspace:payments-prod",
				"terraform_organization_id":   "org-GRNbCjYNpBB6NEH9",
				"terraform_organization_name": "acme",
				"terraform_project_id":        "prj-vegSA59s1XPwMr2t",
				"terraform_project_name":      "Default Project",
				"terraform_run_id":            "run-X3n1AUXNGWbfECsJ",
				"terraform_run_phase":         "apply",
				"terraform_workspace_id":      "ws-mbsd5E3Ktt5Rg2Xm",
				"terraform_workspace_name":    "payments-prod",
			},
		},
		Issuer: "https://app.terraform.io",
		Algs:   []string{"RS256"},
		// A plan or apply holds one token from its start, and its time-out is how
		// long the token lives.
		TokenUse: trust.OncePerGrant,
		MaxAge:   24 * time.Hour,
		Typ:      []string{"jwt"},
		Workload: []oidc.Segment{{Claim: "terraform_organization_id"}, {Claim: "terraform_workspace_id"}},
		Check:    check,
		Facts: oidc.Facts{
			Title:    "HCP Terraform and Terraform Enterprise",
			Evidence: oidc.FromDocs,
			Source:   "https://developer.hashicorp.com/terraform/cloud-docs/dynamic-provider-credentials/workload-identity-tokens",
			Obtain:   "from `TFC_WORKLOAD_IDENTITY_TOKEN_CAMBIO`, in workspaces with `TFC_WORKLOAD_IDENTITY_AUDIENCE_CAMBIO`, else from those without `_CAMBIO`",
			Page:     "hcp-terraform.md",
			Risks: []string{
				"A plan runs code that nobody has approved, also of a pull request: pin `terraform_run_phase` to apply, and give plans a trust that reads.",
				"Runs that test a module have no workspace, and are refused.",
				"A token lives as long as its phase may take, which can be hours; it is taken once for each grant.",
			},
		},
	}
}

var errSub = errors.New("sub and the names that it is made of differ")

// check composes sub again from the names that it repeats. It is never split: a
// project's name may hold spaces, and nobody promises that no name holds a colon.
func check(claims map[string]any) error {
	text := func(name string) string {
		s, _ := claims[name].(string)
		return s
	}
	if text("terraform_workspace_id") == "" {
		return nil // no workspace's run; the workload id needs one, and refuses
	}
	full := "organization:" + text("terraform_organization_name")
	if project := text("terraform_project_name"); project != "" { // older installations have no projects
		full += ":project:" + project
	}
	full += ":workspace:" + text("terraform_workspace_name")
	if whole, has := claims["terraform_full_workspace"]; has && whole != full {
		return errSub
	}
	if claims["sub"] != full+":run_phase:"+text("terraform_run_phase") {
		return errSub
	}
	return nil
}

package gcp

import (
	"fmt"
	"strings"

	"cambio/providers/internal/draft"
)

// head is what every form says first.
func (c *Connection) head() []string {
	return []string{
		"Made by: cambio connect " + c.Target,
		"So that Google Cloud trusts the assertions of " + c.Issuer + ". Review it before you apply it:",
		"- Each sub is compared for equality, by the provider's condition and by each binding. Nobody else of this issuer gets in.",
		"- What a service account may do is not here.",
		"- Google must reach " + c.Issuer + "/.well-known/openid-configuration and the keys that it names, from the Internet.",
	}
}

// Text is the connection for people.
func (c *Connection) Text() string {
	var b strings.Builder
	for _, l := range c.head() {
		b.WriteString(l + "\n")
	}
	fmt.Fprintf(&b, "\nWorkload identity pool %s of project %s, provider %s\n  issuer     %s\n  audience   %s\n  mapping    google.subject = assertion.sub\n  condition  %s\n",
		c.pool, c.project, c.id, c.Issuer, c.AllowedAudiences[0], c.Condition)
	account := ""
	for _, bind := range c.Bindings {
		if bind.Account != account {
			account = bind.Account
			fmt.Fprintf(&b, "\nService account %s\n", account)
		}
		fmt.Fprintf(&b, "  role       %s\n  member     %s (%s)\n", bind.Role, bind.Member, bind.from())
	}
	if len(c.Direct) > 0 {
		b.WriteString("\nWithout a service account: grant roles to\n")
	}
	for _, p := range c.Direct {
		fmt.Fprintf(&b, "  member     %s (%s)\n", p.Member, p.from())
	}
	if len(c.Notes) > 0 {
		b.WriteString("\nBeside this\n")
	}
	for _, n := range c.Notes {
		fmt.Fprintf(&b, "  %s\n", n)
	}
	return b.String()
}

// Terraform is the connection in HCL, for hashicorp/google 5 or newer. It makes no
// service account.
func (c *Connection) Terraform() string {
	var b strings.Builder
	for _, l := range c.head() {
		b.WriteString("# " + l + "\n")
	}
	for _, n := range c.Notes {
		b.WriteString("# - " + n + "\n")
	}
	b.WriteString("\n# If the pool exists already, import it, or take this block out and write its id below.\n")
	fmt.Fprintf(&b, "resource \"google_iam_workload_identity_pool\" \"cambio\" {\n  project                   = %s\n  workload_identity_pool_id = %s\n}\n", draft.HCL(c.project), draft.HCL(c.pool))
	fmt.Fprintf(&b, "\nresource \"google_iam_workload_identity_pool_provider\" \"cambio\" {\n  project                            = %s\n  workload_identity_pool_id          = google_iam_workload_identity_pool.cambio.workload_identity_pool_id\n  workload_identity_pool_provider_id = %s\n",
		draft.HCL(c.project), draft.HCL(c.id))
	fmt.Fprintf(&b, "  attribute_mapping = {\n    \"google.subject\" = \"assertion.sub\"\n  }\n  attribute_condition = %s\n  oidc {\n    issuer_uri        = %s\n    allowed_audiences = [%s]\n  }\n}\n",
		draft.HCL(c.Condition), draft.HCL(c.Issuer), draft.HCL(c.AllowedAudiences[0]))
	labels := map[string]bool{}
	for _, bind := range c.Bindings {
		name, _, _ := strings.Cut(bind.Account, "@")
		label := draft.UniqueName(labels, "cambio_"+draft.Identifier(name))
		fmt.Fprintf(&b, "\n# %s\nresource \"google_service_account_iam_member\" %s {\n  service_account_id = %s\n  role               = %s\n  member             = %s\n}\n",
			bind.from(), draft.HCL(label), draft.HCL("projects/"+projectOf(bind.Account)+"/serviceAccounts/"+bind.Account), draft.HCL(bind.Role), draft.HCL(bind.Member))
	}
	if len(c.Direct) > 0 {
		b.WriteString("\n# Without a service account: grant roles to these members.\nlocals {\n  cambio_direct = [\n")
		for _, p := range c.Direct {
			fmt.Fprintf(&b, "    %s, # %s\n", draft.HCL(p.Member), p.from())
		}
		b.WriteString("  ]\n}\n")
	}
	return b.String()
}

// projectOf is the project that an account's address names, or - where it names
// none: an address is one service account in all of Google Cloud.
func projectOf(account string) string {
	_, domain, _ := strings.Cut(account, "@")
	name, ok := strings.CutSuffix(domain, ".iam.gserviceaccount.com")
	if !ok {
		return "-"
	}
	if project, owner, ofDomain := strings.Cut(name, "."); ofDomain {
		return owner + ":" + project
	}
	return name
}

// CLI is the connection as a shell script of gcloud commands. It makes what does not
// exist, and adds members to service accounts. A provider that exists it leaves as
// it is, and says what to run: whoever uses it today would else be locked out.
func (c *Connection) CLI() string {
	var b strings.Builder
	b.WriteString("#!/bin/sh\n")
	for _, l := range append(c.head(), c.Notes...) {
		b.WriteString("# " + l + "\n")
	}
	b.WriteString("set -eu\n")
	at := "--project=" + draft.ShellWord(c.project) + " --location=global"
	pools := "gcloud iam workload-identity-pools"
	fmt.Fprintf(&b, "\nif ! %s describe %s %s >/dev/null 2>&1; then\n  %s create %s %s\nfi\n", pools, draft.ShellWord(c.pool), at, pools, draft.ShellWord(c.pool), at)
	in := " " + draft.ShellWord(c.id) + " " + at + " --workload-identity-pool=" + draft.ShellWord(c.pool)
	settings := " --issuer-uri=" + draft.ShellWord(c.Issuer) + " --allowed-audiences=" + draft.ShellWord(c.AllowedAudiences[0]) +
		" --attribute-mapping=google.subject=assertion.sub --attribute-condition=" + draft.ShellWord(c.Condition)
	before := draft.ShellWord("./" + c.id + ".before.json")
	fmt.Fprintf(&b, "if %s providers describe%s --format=json >%s 2>/dev/null; then\n", pools, in, before)
	fmt.Fprintf(&b, "  echo %s >&2\n", draft.ShellWord("the provider "+c.id+" exists; what it lets in today is in ./"+c.id+".before.json. If it is to be as here, run:"))
	fmt.Fprintf(&b, "  echo %s >&2\nelse\n  rm -f %s\n  %s providers create-oidc%s%s\nfi\n", draft.ShellWord("  "+pools+" providers update-oidc"+in+settings), before, pools, in, settings)
	for _, bind := range c.Bindings {
		fmt.Fprintf(&b, "\n# %s\n", bind.from())
		project := ""
		if p := projectOf(bind.Account); p != "-" {
			project = " --project=" + draft.ShellWord(p)
		}
		fmt.Fprintf(&b, "gcloud iam service-accounts add-iam-policy-binding %s%s --role=%s --member=%s --condition=None --format=none\n",
			draft.ShellWord(bind.Account), project, draft.ShellWord(bind.Role), draft.ShellWord(bind.Member))
	}
	if len(c.Direct) > 0 {
		b.WriteString("\n# Without a service account: grant roles to these members.\n")
	}
	for _, p := range c.Direct {
		fmt.Fprintf(&b, "# %s (%s)\n", p.Member, p.from())
	}
	return b.String()
}

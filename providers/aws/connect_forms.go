package aws

import (
	"fmt"
	"strings"

	"cambio/providers/internal/draft"
)

// Terraform is the connection in HCL, for hashicorp/aws 5.81 or newer (thumbprints
// became optional there). It makes no role: a role of yours takes the policy.
func (c *Connection) Terraform() string {
	var b strings.Builder
	for _, l := range c.head() {
		b.WriteString("# " + l + "\n")
	}
	b.WriteString("# - hashicorp/aws 5.81 or newer: a public certificate needs no thumbprint, and older ones want one.\n")
	accounts := c.accounts()
	labels := map[string]bool{}
	for _, roles := range accounts {
		account, label, alias := roles[0].role.account, "cambio", ""
		if len(accounts) > 1 {
			label += "_" + account
			alias = "  provider       = aws.account_" + account + "\n"
		}
		fmt.Fprintf(&b, "\n# Account %s. If it has a provider for this URL already, import it, and keep its other audiences in the list.\n", account)
		fmt.Fprintf(&b, "resource \"aws_iam_openid_connect_provider\" %s {\n%s  url            = %s\n  client_id_list = [%s]\n}\n", draft.HCL(label), alias, draft.HCL(c.Issuer), draft.HCL(c.Audience))
		for _, r := range roles {
			c.terraformRole(&b, r, label, draft.UniqueName(labels, "cambio_"+draft.Identifier(r.role.name)))
		}
	}
	return b.String()
}

func (c *Connection) terraformRole(b *strings.Builder, r Role, provider, label string) {
	fmt.Fprintf(b, "\n# %s\n# In the role: assume_role_policy = data.aws_iam_policy_document.%s.json\n# To keep what it trusts today beside this: source_policy_documents = [...] in a document of both.\n", r.ARN, label)
	fmt.Fprintf(b, "data \"aws_iam_policy_document\" %s {\n  statement {\n    sid     = \"Cambio\"\n    effect  = \"Allow\"\n    actions = [%s]\n", draft.HCL(label), draft.HCLList(r.actions()))
	fmt.Fprintf(b, "    principals {\n      type        = \"Federated\"\n      identifiers = [aws_iam_openid_connect_provider.%s.arn]\n    }\n", provider)
	fmt.Fprintf(b, "    condition {\n      test     = \"StringEquals\"\n      variable = %s\n      values   = [%s]\n    }\n", draft.HCL(c.name()+":aud"), draft.HCL(c.Audience))
	fmt.Fprintf(b, "    condition {\n      test     = \"StringEquals\"\n      variable = %s\n      values = [\n", draft.HCL(c.name()+":sub"))
	for _, s := range r.Subjects {
		fmt.Fprintf(b, "        %s, # %s\n", draft.HCL(s), r.from(s))
	}
	b.WriteString("      ]\n    }\n  }\n}\n")
}

// CLI is the connection as a shell script of AWS CLI commands. It makes what does
// not exist, adds our audience to an identity provider that does, and changes no
// role that does: the trust policy of one would be replaced, and whoever uses it
// today locked out.
func (c *Connection) CLI() string {
	var b strings.Builder
	b.WriteString("#!/bin/sh\n")
	for _, l := range c.head() {
		b.WriteString("# " + l + "\n")
	}
	b.WriteString("# - AWS CLI 2.18 or newer: older ones ask for a thumbprint, which a public certificate does not need.\nset -eu\n")
	b.WriteString("\ncase \"$(aws sts get-caller-identity --query Account --output text)\" in\n")
	names := map[string]bool{}
	for _, roles := range c.accounts() {
		fmt.Fprintf(&b, "%s)\n", roles[0].role.account)
		// One that somebody else made may lack our audience, and AWS refuses then. To add
		// one that is there changes nothing.
		arn := draft.ShellWord(roles[0].Provider)
		fmt.Fprintf(&b, "if aws iam get-open-id-connect-provider --open-id-connect-provider-arn=%s >/dev/null 2>&1; then\n", arn)
		fmt.Fprintf(&b, "  aws iam add-client-id-to-open-id-connect-provider --open-id-connect-provider-arn=%s --client-id=%s\n", arn, draft.ShellWord(c.Audience))
		fmt.Fprintf(&b, "else\n  aws iam create-open-id-connect-provider --url=%s --client-id-list=%s\nfi\n", draft.ShellWord(c.Issuer), draft.ShellWord(c.Audience))
		for _, r := range roles {
			cliRole(&b, r, draft.UniqueName(names, r.role.name))
		}
		b.WriteString(";;\n")
	}
	b.WriteString("*) echo 'these credentials are of another account' >&2; exit 1 ;;\nesac\n")
	return b.String()
}

func cliRole(b *strings.Builder, r Role, file string) {
	name, path := r.role.name, r.role.path
	policy, before := "./"+file+".trust.json", "./"+file+".before.json"
	var shadows strings.Builder // JSON has no comments, so they stand above
	for _, s := range r.ShadowSubjects {
		fmt.Fprintf(&shadows, "# %q: %s\n", s, shadowOnly)
	}
	fmt.Fprintf(b, "\n# %s, for: %s\n%scat >%s <<'CAMBIO'\n%s\nCAMBIO\n", r.ARN, strings.Join(r.Trusts, ", "), shadows.String(), draft.ShellWord(policy), pretty(r.Policy))
	fmt.Fprintf(b, "if aws iam get-role --role-name=%s --query=Role.AssumeRolePolicyDocument --output=json >%s 2>/dev/null; then\n", draft.ShellWord(name), draft.ShellWord(before))
	update := "aws iam update-assume-role-policy --role-name=" + draft.ShellWord(name) + " --policy-document=" + draft.ShellWord("file://"+policy)
	fmt.Fprintf(b, "  echo %s >&2\n", draft.ShellWord("the role "+name+" exists; what it trusts today is in "+before+". Add its statements to "+policy+" if they are to stay, then run:"))
	fmt.Fprintf(b, "  echo %s >&2\nelse\n  rm -f %s\n", draft.ShellWord("  "+update), draft.ShellWord(before))
	fmt.Fprintf(b, "  aws iam create-role --role-name=%s --path=%s --assume-role-policy-document=%s\nfi\n", draft.ShellWord(name), draft.ShellWord(path), draft.ShellWord("file://"+policy))
}

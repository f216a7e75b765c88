package azure

import (
	"cmp"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"net/url"
	"slices"
	"strings"

	"cambio/providers/internal/draft"
)

// The limits of federated identity credentials, as Microsoft's page of considerations
// and the Graph reference give them.
const (
	maxCredentialText = 600 // characters of issuer and of subject
	maxCredentialName = 120
)

// Connection is what an operator sets up in Entra so that applications and managed
// identities trust our issuer: a federated identity credential for each subject.
type Connection struct {
	Target       string        `json:"target"`
	Tenant       string        `json:"tenant"`
	Issuer       string        `json:"issuer"`
	Audience     string        `json:"audience"`
	Applications []Application `json:"applications"` // by client id
}

// Application is an application or a managed identity, with whom it lets in.
type Application struct {
	ClientID    string       `json:"client_id"`
	Trusts      []string     `json:"trusts"` // that grant it
	Scopes      []string     `json:"scopes"` // that they give: what it needs permissions for
	Credentials []Credential `json:"credentials"`
}

// Credential is one federated identity credential.
type Credential struct {
	Name        string   `json:"name"`
	Issuer      string   `json:"issuer"`
	Subject     string   `json:"subject"`
	Audiences   []string `json:"audiences"` // Entra takes one
	Description string   `json:"description"`
	// Shadow says that only trusts in mode shadow bring it: Entra would take the
	// assertion, and none is issued yet.
	Shadow bool `json:"shadow,omitempty"`
}

// Grant tells a connection of a grant of an application to subjects.
func (c *Connection) Grant(trust, resource string, scopes, subjects []string, shadow bool) {
	m := resourceForm.FindStringSubmatch(resource)
	if m == nil {
		return // such a grant does not load
	}
	i := slices.IndexFunc(c.Applications, func(a Application) bool { return a.ClientID == m[1] })
	if i < 0 {
		c.Applications = append(c.Applications, Application{ClientID: m[1]})
		i = len(c.Applications) - 1
	}
	a := &c.Applications[i]
	a.Trusts = append(a.Trusts, trust)
	a.Scopes = append(a.Scopes, scopes...)
	for _, s := range subjects {
		j := slices.IndexFunc(a.Credentials, func(have Credential) bool { return have.Subject == s })
		if j < 0 {
			a.Credentials = append(a.Credentials, Credential{
				Name: credentialName(s), Issuer: c.Issuer, Subject: s, Audiences: []string{c.Audience}, Description: "Cambio: " + trust, Shadow: shadow,
			})
			continue
		}
		have := &a.Credentials[j]
		have.Description += ", " + trust
		have.Shadow = have.Shadow && shadow
	}
}

// credentialName is a name that Entra takes: letters, digits, - and _, the first one a
// letter or digit, at most 120. A name cannot be changed, and the end of it tells
// subjects apart that differ by what names do not hold.
func credentialName(subject string) string {
	_, path, _ := strings.Cut(strings.TrimPrefix(subject, "spiffe://"), "/")
	plain := strings.Map(func(r rune) rune {
		if r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z' || r >= '0' && r <= '9' || r == '-' || r == '_' {
			return r
		}
		return '-'
	}, path)
	sum := sha256.Sum256([]byte(subject))
	end := "-" + hex.EncodeToString(sum[:4])
	name := "cambio-" + plain
	return name[:min(len(name), maxCredentialName-len(end))] + end
}

// Problem is why an application, or the whole where ClientID is "", cannot be
// connected.
type Problem struct {
	ID       string // of the finding
	ClientID string
	Text     string
	Fix      string
}

// Finish sorts the whole, and says what is wrong: nothing of it may be used then. It
// must be called once, before anything is printed.
func (c *Connection) Finish() []Problem {
	var problems []Problem
	slices.SortFunc(c.Applications, func(a, b Application) int { return cmp.Compare(a.ClientID, b.ClientID) })
	for i := range c.Applications {
		a := &c.Applications[i]
		slices.Sort(a.Trusts)
		slices.Sort(a.Scopes)
		a.Trusts, a.Scopes = slices.Compact(a.Trusts), slices.Compact(a.Scopes)
		slices.SortFunc(a.Credentials, func(x, y Credential) int { return cmp.Compare(x.Subject, y.Subject) })
		if n := len(a.Credentials); n > maxSubjects {
			problems = append(problems, Problem{
				ID: "connect-too-many-subjects", ClientID: a.ClientID, Text: fmt.Sprintf("would have %d federated credentials; Entra takes %d", n, maxSubjects),
				Fix: "set subject: trust for the target (one subject a trust), or grant several applications",
			})
		}
		for _, credential := range a.Credentials {
			if len(credential.Subject) > maxCredentialText || len(c.Issuer) > maxCredentialText {
				problems = append(problems, Problem{
					ID: "connect-subject-too-long", ClientID: a.ClientID, Text: fmt.Sprintf("its subject or issuer is above %d characters", maxCredentialText),
					Fix: "set subject: trust for the target",
				})
			}
		}
	}
	return problems
}

// Warnings say what Entra would not take.
func (c *Connection) Warnings() []Problem {
	u, err := url.Parse(c.Issuer)
	if err != nil || u.Scheme != "https" {
		return []Problem{{ID: "connect-issuer", Text: "Entra takes an issuer with https only, and fetches its keys from the Internet", Fix: "configure the public issuer"}}
	}
	return nil
}

func (c *Connection) head() []string {
	return []string{
		"Made by: cambio connect " + c.Target,
		"So that the applications and managed identities below trust the assertions of " + c.Issuer + ". Review it before you apply it:",
		"- Each subject is compared for equality, case by case. Whoever is listed gets tokens of the application; nobody else of this issuer can.",
		"- What an application may do is not here: give it roles and permissions for the scopes that it is granted, and no more.",
		"- Entra must reach " + c.Issuer + "/.well-known/openid-configuration and the keys that it names, from the Internet.",
		"- A new credential takes some minutes to work. Make them one after the other: Entra refuses some that are made at once.",
	}
}

const shadowOnly = "in mode shadow only: nothing is issued to it yet"

// Text is the connection for people.
func (c *Connection) Text() string {
	var b strings.Builder
	for _, l := range c.head() {
		b.WriteString(l + "\n")
	}
	for _, a := range c.Applications {
		fmt.Fprintf(&b, "\nApplication or managed identity %s\n  tenant    %s\n  trusts    %s\n  scopes    %s\n  used      %d of %d federated credentials\n",
			a.ClientID, c.Tenant, strings.Join(a.Trusts, ", "), strings.Join(a.Scopes, ", "), len(a.Credentials), maxSubjects)
		for _, f := range a.Credentials {
			fmt.Fprintf(&b, "\n  name      %s\n  issuer    %s\n  subject   %s\n  audience  %s\n", f.Name, f.Issuer, f.Subject, strings.Join(f.Audiences, ", "))
			if f.Shadow {
				b.WriteString("  note      " + shadowOnly + "\n")
			}
		}
	}
	return b.String()
}

// JSON is the connection for programs. A credential is what Graph takes.
func (c *Connection) JSON() string { return draft.JSON(c) }

// Terraform is the connection in HCL, for hashicorp/azuread 3, and in comments for a
// managed identity's hashicorp/azurerm 4.
func (c *Connection) Terraform() string {
	var b strings.Builder
	for _, l := range c.head() {
		b.WriteString("# " + l + "\n")
	}
	b.WriteString("# - This is for applications (hashicorp/azuread 3). For a managed identity take the block in comments instead (hashicorp/azurerm 4).\n")
	names := map[string]bool{}
	for _, a := range c.Applications {
		label := "cambio_" + draft.Identifier(a.ClientID)
		fmt.Fprintf(&b, "\n# Trusts: %s. Scopes: %s\ndata \"azuread_application\" %q {\n  client_id = %s\n}\n", strings.Join(a.Trusts, ", "), strings.Join(a.Scopes, ", "), label, draft.HCL(a.ClientID))
		for _, f := range a.Credentials {
			name := draft.UniqueName(names, draft.Identifier(f.Name)+"_"+draft.Identifier(a.ClientID[:8]))
			if f.Shadow {
				b.WriteString("\n# " + shadowOnly)
			}
			fmt.Fprintf(&b, "\nresource \"azuread_application_federated_identity_credential\" %q {\n  application_id = data.azuread_application.%s.id\n  display_name   = %s\n  description    = %s\n  audiences      = [%s]\n  issuer         = %s\n  subject        = %s\n}\n",
				name, label, draft.HCL(f.Name), draft.HCL(f.Description), draft.HCL(c.Audience), draft.HCL(f.Issuer), draft.HCL(f.Subject))
			fmt.Fprintf(&b, "# resource \"azurerm_federated_identity_credential\" %q {\n#   name                = %s\n#   resource_group_name = \"...\"\n#   parent_id           = \"...\" # id of the azurerm_user_assigned_identity\n#   audience            = [%s]\n#   issuer              = %s\n#   subject             = %s\n# }\n",
				name, draft.HCL(f.Name), draft.HCL(c.Audience), draft.HCL(f.Issuer), draft.HCL(f.Subject))
		}
	}
	return b.String()
}

// CLI is the connection as a shell script of Azure CLI commands. It finds out whether
// an id is an application's or a managed identity's, and makes the credentials that
// are missing; one that exists stays as it is.
func (c *Connection) CLI() string {
	var b strings.Builder
	b.WriteString("#!/bin/sh\n")
	for _, l := range c.head() {
		b.WriteString("# " + l + "\n")
	}
	fmt.Fprintf(&b, "set -eu\n\nif [ \"$(az account show --query tenantId --output tsv)\" != %s ]; then\n  echo 'you are signed in to another tenant' >&2; exit 1\nfi\n", draft.ShellWord(c.Tenant))
	for _, a := range c.Applications {
		id := draft.ShellWord(a.ClientID)
		fmt.Fprintf(&b, "\n# %s, for: %s\nif az ad app show --id %s >/dev/null 2>&1; then\n", a.ClientID, strings.Join(a.Trusts, ", "), id)
		for _, f := range a.Credentials {
			parameters, err := json.Marshal(map[string]any{"name": f.Name, "issuer": f.Issuer, "subject": f.Subject, "audiences": f.Audiences, "description": f.Description})
			if err != nil {
				return ""
			}
			if f.Shadow {
				fmt.Fprintf(&b, "  # %s\n", shadowOnly)
			}
			fmt.Fprintf(&b, "  az ad app federated-credential show --id %s --federated-credential-id %s >/dev/null 2>&1 ||\n    az ad app federated-credential create --id %s --parameters %s\n",
				id, draft.ShellWord(f.Name), id, draft.ShellWord(string(parameters)))
		}
		fmt.Fprintf(&b, "else\n  name=$(az identity list --query \"[?clientId=='%s'].name\" --output tsv)\n  group=$(az identity list --query \"[?clientId=='%s'].resourceGroup\" --output tsv)\n", a.ClientID, a.ClientID)
		b.WriteString("  [ -n \"$name\" ] || { echo 'neither an application of this tenant nor a managed identity of this subscription' >&2; exit 1; }\n")
		for _, f := range a.Credentials {
			fmt.Fprintf(&b, "  az identity federated-credential show --identity-name \"$name\" --resource-group \"$group\" --name %s >/dev/null 2>&1 ||\n", draft.ShellWord(f.Name))
			fmt.Fprintf(&b, "    az identity federated-credential create --identity-name \"$name\" --resource-group \"$group\" --name %s --issuer %s --subject %s --audiences %s\n",
				draft.ShellWord(f.Name), draft.ShellWord(f.Issuer), draft.ShellWord(f.Subject), draft.ShellWord(c.Audience))
		}
		b.WriteString("fi\n")
	}
	return b.String()
}

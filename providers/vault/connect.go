package vault

import (
	"cmp"
	"fmt"
	"slices"
	"strings"
	"time"

	"cambio/providers/internal/draft"
	"cambio/trust"
)

// Connection is what an operator sets up in Vault so that roles trust our issuer: a
// JWT auth method, and the roles.
type Connection struct {
	Target    string `json:"target"`
	Server    string `json:"server"`
	Namespace string `json:"namespace,omitempty"`
	Mount     string `json:"mount"`
	Issuer    string `json:"issuer"`
	Audience  string `json:"audience"`
	Roles     []Role `json:"roles"` // by name
}

// Role is one role, with the subjects that may log in to it.
type Role struct {
	Name   string   `json:"name"`
	Trusts []string `json:"trusts"` // that grant it
	// ShadowSubjects are those of bound_claims that only trusts in mode shadow bring:
	// Vault would take their assertions, and none is issued to them yet.
	ShadowSubjects []string `json:"shadow_subjects"`
	// Parameters are the body of POST /auth/MOUNT/role/NAME.
	Parameters Parameters `json:"parameters"`

	policies [][]string // of each grant
	enforced map[string]bool
	ttl      time.Duration
}

// Parameters are a role in the words of Vault's API. Durations are in seconds.
type Parameters struct {
	RoleType             string              `json:"role_type"`
	UserClaim            string              `json:"user_claim"`
	BoundAudiences       []string            `json:"bound_audiences"`
	BoundClaimsType      string              `json:"bound_claims_type"`
	BoundClaims          map[string][]string `json:"bound_claims"`
	TokenType            string              `json:"token_type"`
	TokenPolicies        []string            `json:"token_policies"`
	TokenNoDefaultPolicy bool                `json:"token_no_default_policy"`
	TokenTTL             int64               `json:"token_ttl"`
	TokenMaxTTL          int64               `json:"token_max_ttl"`
	TokenExplicitMaxTTL  int64               `json:"token_explicit_max_ttl"`
}

// Grant tells a connection of a grant of a role to subjects.
func (c *Connection) Grant(of string, g trust.Grant, subjects []string, shadow bool) {
	want, _, problem := readGrant(g)
	if problem != "" {
		return // such a grant does not load
	}
	i := slices.IndexFunc(c.Roles, func(r Role) bool { return r.Name == want.role })
	if i < 0 {
		c.Roles = append(c.Roles, Role{Name: want.role, ttl: g.TTL, enforced: map[string]bool{}})
		i = len(c.Roles) - 1
	}
	r := &c.Roles[i]
	r.Trusts = append(r.Trusts, of)
	r.ttl = min(r.ttl, g.TTL)
	sorted := slices.Clone(want.policies)
	slices.Sort(sorted)
	r.policies = append(r.policies, sorted)
	for _, s := range subjects {
		r.enforced[s] = r.enforced[s] || !shadow
	}
}

// Problem is why a role cannot be connected.
type Problem struct {
	ID   string // of the finding
	Role string
	Text string
	Fix  string
}

// Finish sorts the whole, and says what is wrong: nothing of it may be used then. It
// must be called once, before anything is printed.
func (c *Connection) Finish() []Problem {
	var problems []Problem
	slices.SortFunc(c.Roles, func(a, b Role) int { return cmp.Compare(a.Name, b.Name) })
	for i := range c.Roles {
		r := &c.Roles[i]
		slices.Sort(r.Trusts)
		r.Trusts = slices.Compact(r.Trusts)
		for _, other := range r.policies[1:] {
			if !slices.Equal(other, r.policies[0]) {
				problems = append(problems, Problem{
					ID: "connect-role", Role: r.Name, Text: "is granted with one list of policies and with another: a role has one",
					Fix: "write the same policies in each grant, or grant several roles",
				})
				break
			}
		}
		subjects := make([]string, 0, len(r.enforced))
		r.ShadowSubjects = []string{}
		for s, enforced := range r.enforced {
			subjects = append(subjects, s)
			if !enforced {
				r.ShadowSubjects = append(r.ShadowSubjects, s)
			}
		}
		slices.Sort(subjects)
		slices.Sort(r.ShadowSubjects)
		seconds := int64(r.ttl / time.Second)
		r.Parameters = Parameters{
			RoleType: "jwt", UserClaim: "sub", BoundAudiences: []string{c.Audience}, BoundClaimsType: "string",
			BoundClaims: map[string][]string{"sub": subjects}, TokenType: "service",
			// default comes by itself unless it is told not to.
			TokenPolicies:        slices.DeleteFunc(slices.Clone(r.policies[0]), func(p string) bool { return p == "default" }),
			TokenNoDefaultPolicy: !slices.Contains(r.policies[0], "default"),
			TokenTTL:             seconds, TokenMaxTTL: seconds, TokenExplicitMaxTTL: seconds,
		}
	}
	return problems
}

func (c *Connection) head() []string {
	lines := []string{
		"Made by: cambio connect " + c.Target,
		"So that the roles below trust the assertions of " + c.Issuer + ". Review it before you apply it:",
		"- Each sub is compared for equality. Whoever is listed can log in to the role; nobody else of this issuer can.",
		"- A token lives as long as the shortest grant of its role says, and cannot be renewed beyond (token_explicit_max_ttl).",
		"- The policies themselves are not here.",
		"- Vault must reach " + c.Issuer + "/.well-known/openid-configuration and the keys that it names.",
	}
	if c.Namespace != "" {
		lines = append(lines, "- Everything is in the namespace "+c.Namespace+".")
	}
	return lines
}

const shadowOnly = "in mode shadow only: nothing is issued to it yet"

// Text is the connection for people.
func (c *Connection) Text() string {
	var b strings.Builder
	for _, l := range c.head() {
		b.WriteString(l + "\n")
	}
	fmt.Fprintf(&b, "\nAuth method auth/%s of %s\n  type      jwt\n  issuer    %s\n", c.Mount, c.Server, c.Issuer)
	for _, r := range c.Roles {
		fmt.Fprintf(&b, "\nRole %s\n  trusts    %s\n  audience  %s\n", r.Name, strings.Join(r.Trusts, ", "), c.Audience)
		for _, s := range r.Parameters.BoundClaims["sub"] {
			of := ""
			if slices.Contains(r.ShadowSubjects, s) {
				of = " (" + shadowOnly + ")"
			}
			fmt.Fprintf(&b, "  sub       %s%s\n", s, of)
		}
		fmt.Fprintf(&b, "  policies  %s\n  lives     %s\n", strings.Join(r.policies[0], ", "), r.ttl)
	}
	return b.String()
}

// JSON is the connection for programs.
func (c *Connection) JSON() string { return draft.JSON(c) }

// Terraform is the connection in HCL, for hashicorp/vault 4 or newer.
func (c *Connection) Terraform() string {
	var b strings.Builder
	for _, l := range c.head() {
		b.WriteString("# " + l + "\n")
	}
	namespace := ""
	if c.Namespace != "" {
		namespace = "  namespace          = " + draft.HCL(c.Namespace) + "\n"
	}
	b.WriteString("\n# If the method exists already, import it; it takes the tokens of this one issuer.\n")
	fmt.Fprintf(&b, "resource \"vault_jwt_auth_backend\" \"cambio\" {\n%s  path               = %s\n  type               = \"jwt\"\n  oidc_discovery_url = %s\n  bound_issuer       = %s\n  jwt_supported_algs = [\"RS256\"]\n}\n",
		namespace, draft.HCL(c.Mount), draft.HCL(c.Issuer), draft.HCL(c.Issuer))
	names := map[string]bool{}
	for _, r := range c.Roles {
		p := r.Parameters
		fmt.Fprintf(&b, "\n# For: %s\n", strings.Join(r.Trusts, ", "))
		for _, s := range r.ShadowSubjects {
			fmt.Fprintf(&b, "# %s: %s\n", s, shadowOnly)
		}
		fmt.Fprintf(&b, "resource \"vault_jwt_auth_backend_role\" %q {\n", draft.UniqueName(names, "cambio_"+draft.Identifier(r.Name)))
		if c.Namespace != "" {
			fmt.Fprintf(&b, "  namespace               = %s\n", draft.HCL(c.Namespace))
		}
		policies := make([]string, len(p.TokenPolicies))
		for i, policy := range p.TokenPolicies {
			policies[i] = draft.HCL(policy)
		}
		// The provider takes the values of one claim as a text with commas.
		fmt.Fprintf(&b, "  backend                 = vault_jwt_auth_backend.cambio.path\n  role_name               = %s\n  role_type               = \"jwt\"\n  user_claim              = \"sub\"\n  bound_audiences         = [%s]\n  bound_claims_type       = \"string\"\n  bound_claims            = { sub = %s }\n",
			draft.HCL(r.Name), draft.HCL(c.Audience), draft.HCL(strings.Join(p.BoundClaims["sub"], ",")))
		fmt.Fprintf(&b, "  token_type              = \"service\"\n  token_policies          = [%s]\n  token_no_default_policy = %t\n  token_ttl               = %d\n  token_max_ttl           = %d\n  token_explicit_max_ttl  = %d\n}\n",
			strings.Join(policies, ", "), p.TokenNoDefaultPolicy, p.TokenTTL, p.TokenMaxTTL, p.TokenExplicitMaxTTL)
	}
	return b.String()
}

// CLI is the connection as a shell script of vault commands; bao takes the same. It
// makes what does not exist, and changes nothing that does: whoever uses a role today
// would be locked out.
func (c *Connection) CLI() string {
	var b strings.Builder
	b.WriteString("#!/bin/sh\n")
	for _, l := range c.head() {
		b.WriteString("# " + l + "\n")
	}
	fmt.Fprintf(&b, "set -eu\nexport VAULT_ADDR=%s\n", draft.ShellWord(c.Server))
	if c.Namespace != "" {
		fmt.Fprintf(&b, "export VAULT_NAMESPACE=%s\n", draft.ShellWord(c.Namespace))
	}
	config := draft.ShellWord("auth/" + c.Mount + "/config")
	fmt.Fprintf(&b, "\nif issuer=$(vault read -field=bound_issuer %s 2>/dev/null); then\n  [ \"$issuer\" = %s ] || { echo %s >&2; exit 1; }\nelse\n", config, draft.ShellWord(c.Issuer),
		draft.ShellWord("the method auth/"+c.Mount+" trusts another issuer: choose another mount"))
	fmt.Fprintf(&b, "  vault auth enable -path=%s jwt\n  vault write %s oidc_discovery_url=%s bound_issuer=%s jwt_supported_algs=RS256\nfi\n",
		draft.ShellWord(c.Mount), config, draft.ShellWord(c.Issuer), draft.ShellWord(c.Issuer))
	for _, r := range c.Roles {
		path, file := draft.ShellWord("auth/"+c.Mount+"/role/"+r.Name), draft.ShellWord("./"+r.Name+".role.json")
		fmt.Fprintf(&b, "\n# %s, for: %s\n", r.Name, strings.Join(r.Trusts, ", "))
		for _, s := range r.ShadowSubjects {
			fmt.Fprintf(&b, "# %s: %s\n", s, shadowOnly)
		}
		fmt.Fprintf(&b, "cat >%s <<'CAMBIO'\n%sCAMBIO\nif vault read %s >/dev/null 2>&1; then\n", file, draft.JSON(r.Parameters), path)
		fmt.Fprintf(&b, "  echo %s >&2\nelse\n  vault write %s @%s\nfi\n", draft.ShellWord("the role "+r.Name+" exists; compare it with ./"+r.Name+".role.json, then run: vault write auth/"+c.Mount+"/role/"+r.Name+" @./"+r.Name+".role.json"), path, file)
	}
	return b.String()
}

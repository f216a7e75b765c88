package kubernetes

import (
	"bytes"
	"cmp"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"slices"
	"strings"

	"cambio/providers/internal/draft"
)

// prefix stands before each user and group that comes from us: none of them can be
// one of the cluster's own, or of another issuer's.
const prefix = "cambio:"

// Connection is what an operator sets up in a cluster so that it trusts our
// issuer: an AuthenticationConfiguration, and where its API server makes tokens the
// roles that let our assertions order them.
type Connection struct {
	Target   string `json:"target"`
	Issuer   string `json:"issuer"`
	Audience string `json:"audience"`
	// Server is the API server that is asked for tokens; "" where our JWTs are shown
	// to the cluster as they are.
	Server   string    `json:"server,omitempty"`
	Users    []User    `json:"users"`              // by subject
	Accounts []Account `json:"accounts,omitempty"` // by namespace and name
}

// User is one subject, and who it is in the cluster.
type User struct {
	Subject  string   `json:"subject"`  // exact sub of our JWT
	Username string   `json:"username"` // as RBAC names it
	Groups   []string `json:"groups"`   // the same
	Trusts   []string `json:"trusts"`   // that bring it
	// Shadow says that only trusts in mode shadow bring it: the cluster would take its
	// JWT, and none is issued yet.
	Shadow bool `json:"shadow"`
}

// Account is one service account that tokens are ordered of.
type Account struct {
	Namespace string   `json:"namespace"`
	Name      string   `json:"name"`
	Users     []string `json:"users"` // usernames that may order one
}

// Grant tells a connection of a grant to subjects.
func (c *Connection) Grant(trust, resource string, subjects, groups []string, shadow bool) {
	for _, s := range subjects {
		i := slices.IndexFunc(c.Users, func(u User) bool { return u.Subject == s })
		if i < 0 {
			c.Users = append(c.Users, User{Subject: s, Username: prefix + s, Groups: []string{}, Shadow: true})
			i = len(c.Users) - 1
		}
		u := &c.Users[i]
		u.Trusts = append(u.Trusts, trust)
		u.Shadow = u.Shadow && shadow
		for _, g := range groups {
			u.Groups = append(u.Groups, prefix+g)
		}
	}
	namespace, name, ok := account(resource)
	if !ok {
		return
	}
	i := slices.IndexFunc(c.Accounts, func(a Account) bool { return a.Namespace == namespace && a.Name == name })
	if i < 0 {
		c.Accounts = append(c.Accounts, Account{Namespace: namespace, Name: name})
		i = len(c.Accounts) - 1
	}
	for _, s := range subjects {
		c.Accounts[i].Users = append(c.Accounts[i].Users, prefix+s)
	}
}

// Finish sorts the whole, so that the same trusts always print the same. It must be
// called before anything is printed.
func (c *Connection) Finish() {
	slices.SortFunc(c.Users, func(a, b User) int { return cmp.Compare(a.Subject, b.Subject) })
	for i := range c.Users {
		u := &c.Users[i]
		u.Groups, u.Trusts = unique(u.Groups), unique(u.Trusts)
	}
	slices.SortFunc(c.Accounts, func(a, b Account) int {
		return cmp.Or(cmp.Compare(a.Namespace, b.Namespace), cmp.Compare(a.Name, b.Name))
	})
	for i := range c.Accounts {
		c.Accounts[i].Users = unique(c.Accounts[i].Users)
	}
}

func unique(list []string) []string {
	slices.Sort(list)
	return slices.Compact(list)
}

// Public reports whether API servers take the issuer: they want https.
func (c *Connection) Public() bool { return strings.HasPrefix(c.Issuer, "https://") }

func (c *Connection) head() []string {
	lines := []string{
		"Made by: cambio connect " + c.Target,
		"So that a cluster trusts " + c.Issuer + ". Review it before you apply it:",
		"- Each sub is compared for equality. Whoever is listed is a user of the cluster; nobody else of this issuer is.",
		"- Every user and group has the prefix " + prefix + ", so that none is one of the cluster's own.",
		"- The API server must reach " + c.Issuer + "/.well-known/openid-configuration and the keys that it names.",
		"- An AuthenticationConfiguration holds each issuer once. Where this one is in yours already, merge the two: both audiences in the list, and the rules of both.",
	}
	if c.Server == "" {
		return append(lines, "- What they may do is yours to say: bind roles to these users and groups.")
	}
	return append(lines, "- All that they may do is to order tokens of the service accounts below. What those may do is in the cluster.")
}

// Text is the connection for people.
func (c *Connection) Text() string {
	var b strings.Builder
	for _, l := range c.head() {
		b.WriteString(l + "\n")
	}
	fmt.Fprintf(&b, "\nIssuer      %s\nAudience    %s\n", c.Issuer, c.Audience)
	if c.Server != "" {
		fmt.Fprintf(&b, "API server  %s\n", c.Server)
	}
	for _, u := range c.Users {
		fmt.Fprintf(&b, "\nUser %s\n  sub       %s\n  trusts    %s\n", u.Username, u.Subject, strings.Join(u.Trusts, ", "))
		if len(u.Groups) > 0 {
			fmt.Fprintf(&b, "  groups    %s\n", strings.Join(u.Groups, ", "))
		}
		if u.Shadow {
			b.WriteString("  in mode shadow only: nothing is issued to it yet\n")
		}
	}
	for _, a := range c.Accounts {
		fmt.Fprintf(&b, "\nService account %s/%s\n", a.Namespace, a.Name)
		for _, u := range a.Users {
			fmt.Fprintf(&b, "  ordered by  %s\n", u)
		}
	}
	return b.String()
}

// JSON is the connection for programs.
func (c *Connection) JSON() string { return draft.JSON(c) }

// YAML is the AuthenticationConfiguration, for the file that the API server's
// --authentication-config names, and behind it the roles, for kubectl.
func (c *Connection) YAML() string {
	var b strings.Builder
	for _, l := range c.head() {
		b.WriteString("# " + l + "\n")
	}
	b.WriteString("\n# For the file that kube-apiserver --authentication-config names (Kubernetes 1.34 or newer; v1beta1 since 1.30).\n")
	fmt.Fprintf(&b, `apiVersion: apiserver.config.k8s.io/v1
kind: AuthenticationConfiguration
jwt:
  - issuer:
      url: %s
      audiences:
        - %s
      audienceMatchPolicy: MatchAny
    claimValidationRules:
      - expression: |
          claims.sub in [
`, scalar(c.Issuer), scalar(c.Audience))
	for i, u := range c.Users {
		fmt.Fprintf(&b, "            %s%s\n", draft.CEL(u.Subject), comma(i, len(c.Users)))
	}
	b.WriteString("          ]\n        message: no workload that may use this cluster\n")
	c.groups(&b)
	b.WriteString("    claimMappings:\n      username:\n        claim: sub\n        prefix: " + scalar(prefix) + "\n")
	if c.grouped() {
		b.WriteString("      groups:\n        claim: groups\n        prefix: " + scalar(prefix) + "\n")
	}
	b.WriteString(`    userValidationRules:
      - expression: '!user.username.startsWith("system:")'
        message: a user of the cluster's own
      - expression: 'user.groups.all(g, !g.startsWith("system:"))'
        message: a group of the cluster's own
`)
	if len(c.Accounts) > 0 {
		b.WriteString("---\n# For kubectl apply -f: each role lets its users order tokens of one service account, and nothing else.\n")
	}
	for i, a := range c.Accounts {
		if i > 0 {
			b.WriteString("---\n")
		}
		a.yaml(&b)
	}
	return b.String()
}

func (c *Connection) grouped() bool {
	return slices.ContainsFunc(c.Users, func(u User) bool { return len(u.Groups) > 0 })
}

// groups is the rule that holds each subject to its groups. A subject that the map
// lacks has none: the lookup fails, and with it the rule.
func (c *Connection) groups(b *strings.Builder) {
	if !c.grouped() {
		b.WriteString("      - expression: '!has(claims.groups)'\n        message: no groups are given\n")
		return
	}
	var lines []string
	for _, u := range c.Users {
		if len(u.Groups) == 0 {
			continue
		}
		var groups []string
		for _, g := range u.Groups {
			groups = append(groups, draft.CEL(strings.TrimPrefix(g, prefix)))
		}
		lines = append(lines, draft.CEL(u.Subject)+": ["+strings.Join(groups, ", ")+"]")
	}
	b.WriteString("      - expression: |\n          !has(claims.groups) || dyn(claims.groups).all(g, g in {\n")
	for i, l := range lines {
		fmt.Fprintf(b, "            %s%s\n", l, comma(i, len(lines)))
	}
	b.WriteString("          }[claims.sub])\n        message: groups that are not this workload's\n")
}

func comma(i, n int) string {
	if i+1 < n {
		return ","
	}
	return ""
}

// maxObject is the longest name of an object.
const maxObject = 253

func (a Account) yaml(b *strings.Builder) {
	name := "cambio-token-" + a.Name
	if len(name) > maxObject {
		sum := sha256.Sum256([]byte(a.Name))
		name = "cambio-token-" + hex.EncodeToString(sum[:8])
	}
	fmt.Fprintf(b, `apiVersion: rbac.authorization.k8s.io/v1
kind: Role
metadata: {name: %[1]s, namespace: %[2]s}
rules:
  - {apiGroups: [""], resources: [serviceaccounts/token], resourceNames: [%[3]s], verbs: [create]}
---
apiVersion: rbac.authorization.k8s.io/v1
kind: RoleBinding
metadata: {name: %[1]s, namespace: %[2]s}
roleRef: {apiGroup: rbac.authorization.k8s.io, kind: Role, name: %[1]s}
subjects:
`, scalar(name), scalar(a.Namespace), scalar(a.Name))
	for _, u := range a.Users {
		fmt.Fprintf(b, "  - {apiGroup: rbac.authorization.k8s.io, kind: User, name: %s}\n", scalar(u))
	}
}

// scalar writes a text as a JSON string, which is one in YAML too, whatever it
// holds.
func scalar(s string) string {
	var b bytes.Buffer
	enc := json.NewEncoder(&b)
	enc.SetEscapeHTML(false)
	if enc.Encode(s) != nil { //nolint:errchkjson // a text, which always encodes
		return `""`
	}
	return strings.TrimSpace(b.String())
}

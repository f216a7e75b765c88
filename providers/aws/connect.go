package aws

import (
	"bytes"
	"cmp"
	"encoding/json"
	"fmt"
	"net/url"
	"slices"
	"strings"

	"cambio/providers/internal/draft"
)

// Connection is what an operator sets up in AWS so that roles trust our issuer:
// an OIDC identity provider in each account, and a trust policy for each role.
type Connection struct {
	Target   string `json:"target"`
	Issuer   string `json:"issuer"`
	Audience string `json:"audience"`
	Roles    []Role `json:"roles"` // by ARN
	// Store says that the target is not AWS but speaks STS.
	Store bool `json:"store,omitempty"`
}

// Role is one role, with the subjects that may assume it.
type Role struct {
	ARN      string   `json:"arn"`
	Trusts   []string `json:"trusts"`   // that grant it
	Subjects []string `json:"subjects"` // exact values of sub in our assertions
	// ShadowSubjects are those of them that only trusts in mode shadow bring: AWS
	// would take their assertions, and none is issued to them yet.
	ShadowSubjects []string `json:"shadow_subjects"`
	// Tags and SourceIdentity say that some grant of the role sends them.
	Tags           bool `json:"tags"`
	SourceIdentity bool `json:"source_identity"`
	// Provider and Policy are for whoever reads JSON; [Connection.Finish] sets
	// them.
	Provider string          `json:"provider"`
	Policy   json.RawMessage `json:"policy"`

	role role
	by   map[string][]string // subject to the trusts that it comes from

	enforced map[string]bool // subjects that a trust in force brings
}

// Grant tells a connection of a grant of a role, by ARN, to subjects. fields are
// the grant's own fields that it names; shadow is the mode of the trust.
func (c *Connection) Grant(trust, arn string, subjects, fields []string, shadow bool) {
	i := slices.IndexFunc(c.Roles, func(r Role) bool { return r.ARN == arn })
	if i < 0 {
		c.Roles = append(c.Roles, Role{ARN: arn})
		i = len(c.Roles) - 1
	}
	r := &c.Roles[i]
	r.Trusts = append(r.Trusts, trust)
	r.Subjects = append(r.Subjects, subjects...)
	if r.by == nil {
		r.by, r.enforced = map[string][]string{}, map[string]bool{}
	}
	for _, s := range subjects {
		r.by[s] = append(r.by[s], trust)
		r.enforced[s] = r.enforced[s] || !shadow
	}
	r.Tags = r.Tags || slices.Contains(fields, fieldTags)
	r.SourceIdentity = r.SourceIdentity || slices.Contains(fields, fieldSourceID)
}

// Problem is why a role, or the whole where Role is "", cannot be connected.
type Problem struct {
	ID   string // of the finding
	Role string
	Text string
	Fix  string
}

// maxTrustPolicyText is AWS's limit for a role's trust policy, in characters
// without white space ("IAM and STS quotas"). It can be raised on request; who
// needs that has a policy that nobody reviews.
const maxTrustPolicyText = 2048

// Finish sorts the whole, writes the policies, and says what is wrong: nothing of
// it may be used then. It must be called once, before anything is printed.
func (c *Connection) Finish() []Problem {
	var problems []Problem
	slices.SortFunc(c.Roles, func(a, b Role) int { return cmp.Compare(a.ARN, b.ARN) })
	for i := range c.Roles {
		r := &c.Roles[i]
		slices.Sort(r.Trusts)
		slices.Sort(r.Subjects)
		r.Trusts, r.Subjects = slices.Compact(r.Trusts), slices.Compact(r.Subjects)
		r.ShadowSubjects = []string{}
		for _, s := range r.Subjects {
			if !r.enforced[s] {
				r.ShadowSubjects = append(r.ShadowSubjects, s)
			}
		}
		var ok bool
		if r.role, ok = parseRole(anyRole, r.ARN); !ok || len(r.Subjects) == 0 {
			fix := "grant a role by its ARN"
			if c.Store {
				fix = "set the issuer, the audience and the role up as the store has it"
			}
			problems = append(problems, Problem{ID: "connect-role", Role: r.ARN, Text: "is no role of AWS that a subject may assume", Fix: fix})
			continue
		}
		r.Provider = c.provider(r.role)
		r.Policy = c.policy(*r)
		if n := len(r.Policy); n > maxTrustPolicyText {
			problems = append(problems, Problem{
				ID: "connect-policy-too-large", Role: r.ARN,
				Text: fmt.Sprintf("its trust policy has %d characters for %d subjects; AWS takes %d", n, len(r.Subjects), maxTrustPolicyText),
				Fix:  "set subject: trust for the target (one subject a trust), or grant several roles",
			})
		}
	}
	return problems
}

// Warnings say what AWS would not take, or what is to be known.
func (c *Connection) Warnings() []Problem {
	u, err := url.Parse(c.Issuer)
	if err != nil || u.Scheme != "https" || u.Port() != "" {
		return []Problem{{ID: "connect-issuer", Text: "AWS takes an issuer with https and without a port only, and fetches its keys from the Internet", Fix: "configure the public issuer"}}
	}
	return nil
}

// from names the trusts that a subject comes from, and says when none of them is
// in force, for whoever reviews it.
func (r Role) from(subject string) string {
	names := slices.Sorted(slices.Values(r.by[subject]))
	from := strings.Join(slices.Compact(names), ", ")
	if !r.enforced[subject] {
		from += "; " + shadowOnly
	}
	return from
}

// shadowOnly is what is said of a subject that no trust in force brings.
const shadowOnly = "in mode shadow only: nothing is issued to it yet"

// name is the issuer as IAM names it, in ARNs and condition keys.
func (c *Connection) name() string {
	_, name, _ := strings.Cut(c.Issuer, "://")
	return name
}

func (c *Connection) provider(r role) string {
	return "arn:" + r.partition + ":iam::" + r.account + ":oidc-provider/" + c.name()
}

// actions are those that some grant of the role needs, and no others: a session
// tag that nobody granted could open what an attribute-based policy guards.
func (r Role) actions() []string {
	actions := []string{"sts:AssumeRoleWithWebIdentity"}
	if r.SourceIdentity {
		actions = append(actions, "sts:SetSourceIdentity")
	}
	if r.Tags {
		actions = append(actions, "sts:TagSession")
	}
	return actions
}

// policy is the trust policy, as compact JSON. Both keys are compared for
// equality: a pattern would let in workloads that do not exist yet, and with
// ForAllValues a token without the key passes.
func (c *Connection) policy(r Role) []byte {
	type statement struct {
		Sid       string
		Effect    string
		Principal map[string]string
		Action    []string
		Condition map[string]map[string]any
	}
	return compact(struct {
		Version   string
		Statement []statement
	}{"2012-10-17", []statement{{
		Sid: "Cambio", Effect: "Allow", Principal: map[string]string{"Federated": r.Provider}, Action: r.actions(),
		Condition: map[string]map[string]any{"StringEquals": {c.name() + ":aud": c.Audience, c.name() + ":sub": r.Subjects}},
	}}})
}

func compact(v any) []byte {
	var b bytes.Buffer
	enc := json.NewEncoder(&b)
	enc.SetEscapeHTML(false)
	if enc.Encode(v) != nil { //nolint:errchkjson // texts and lists of texts, which always encode
		return nil
	}
	return bytes.TrimSpace(b.Bytes())
}

func pretty(compact []byte) string {
	var b bytes.Buffer
	if json.Indent(&b, compact, "", "  ") != nil {
		return ""
	}
	return b.String()
}

// accounts are the roles by account, in order.
func (c *Connection) accounts() [][]Role {
	var out [][]Role
	for _, r := range c.Roles {
		i := slices.IndexFunc(out, func(other []Role) bool { return other[0].role.account == r.role.account })
		if i < 0 {
			out = append(out, nil)
			i = len(out) - 1
		}
		out[i] = append(out[i], r)
	}
	return out
}

// head is what every form says first.
func (c *Connection) head() []string {
	lines := []string{
		"Made by: cambio connect " + c.Target,
		"So that the roles below trust the assertions of " + c.Issuer + ". Review it before you apply it:",
		"- Each sub is one " + c.subjectWord() + ", compared for equality. Whoever is listed can assume the role; nobody else of this issuer can.",
		"- A role's own permissions are not here. Cambio only ever narrows them.",
		"- AWS must reach " + c.Issuer + "/.well-known/openid-configuration and the keys that it names, from the Internet.",
	}
	if c.Store {
		lines = append(lines, "- The target has an endpoint of its own. This is the form that AWS takes; another store may want another.")
	}
	return lines
}

func (c *Connection) subjectWord() string {
	for _, r := range c.Roles {
		for _, s := range r.Subjects {
			if rest, ok := strings.CutPrefix(s, "spiffe://"); ok {
				if _, path, _ := strings.Cut(rest, "/"); strings.HasPrefix(path, "trust/") {
					return "trust"
				}
			}
		}
	}
	return "workload"
}

// Text is the connection for people.
func (c *Connection) Text() string {
	var b strings.Builder
	for _, l := range c.head() {
		b.WriteString(l + "\n")
	}
	for _, roles := range c.accounts() {
		fmt.Fprintf(&b, "\nIdentity provider of account %s\n  arn       %s\n  url       %s\n  audience  %s\n", roles[0].role.account, roles[0].Provider, c.Issuer, c.Audience)
		for _, r := range roles {
			fmt.Fprintf(&b, "\nRole %s\n  trusts    %s\n", r.ARN, strings.Join(r.Trusts, ", "))
			for _, s := range r.Subjects {
				of := ""
				if len(r.Trusts) > 1 || !r.enforced[s] {
					of = " (" + r.from(s) + ")"
				}
				fmt.Fprintf(&b, "  sub       %s%s\n", s, of)
			}
			fmt.Fprintf(&b, "  actions   %s\n  policy    %d of %d characters\n", strings.Join(r.actions(), ", "), len(r.Policy), maxTrustPolicyText)
		}
	}
	return b.String()
}

// JSON is the connection for programs.
func (c *Connection) JSON() string { return draft.JSON(c) }

// Session is the ARN of the session that an exchange has, by its decision's id.
// The gateway checked that AWS answered it; for another store, which makes up its
// own, it is "".
func (c *Connection) Session(arn, decision string) string {
	r, ok := parseRole(anyRole, arn)
	if !ok || c.Store {
		return ""
	}
	return r.session(decision)
}

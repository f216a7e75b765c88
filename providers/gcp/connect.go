package gcp

import (
	"cmp"
	"fmt"
	"net/url"
	"regexp"
	"slices"
	"strings"

	"cambio/providers/internal/draft"
	"cambio/trust"
)

// The roles by which one identity acts as a service account.
const (
	roleUser = actAs
	// roleCreator is what a chain of service accounts needs: roleUser lacks the right
	// to delegate on.
	roleCreator = "roles/iam.serviceAccountTokenCreator"
	roleLogin   = "roles/cloudsql.instanceUser"
)

// Connection is what an operator sets up in Google Cloud so that our issuer is
// trusted: a provider of a workload identity pool, and who may act as which service
// account.
type Connection struct {
	Target string `json:"target"`
	Issuer string `json:"issuer"`
	// Provider is the full resource name of the pool's provider.
	Provider string `json:"provider"`
	// The rest is for whoever reads JSON; [Connection.Finish] sets it.
	AllowedAudiences []string          `json:"allowed_audiences"`
	AttributeMapping map[string]string `json:"attribute_mapping"`
	Condition        string            `json:"attribute_condition"`
	Bindings         []Binding         `json:"bindings"`
	// Direct are the principals that have no service account: roles are granted to
	// them.
	Direct []Binding `json:"direct"`
	Notes  []string  `json:"notes"`

	project, pool, id string
	wishes            []wish
}

// Binding lets a member act as a service account. The member is a principal of the
// pool, or the service account before it in a chain.
type Binding struct {
	Account string   `json:"account,omitempty"` // "": the principal has roles of its own
	Role    string   `json:"role,omitempty"`
	Member  string   `json:"member"`
	Trusts  []string `json:"trusts"` // that it comes from
	// Shadow says that they are all in mode shadow: nothing is issued by them yet.
	Shadow bool `json:"shadow"`
}

// Problem is why it cannot be connected, or what is to be known.
type Problem struct {
	ID    string // of the finding
	Trust string // or "" for the whole
	Text  string
	Fix   string
}

// wish is one grant, and who may have it.
type wish struct {
	trust    string
	shadow   bool
	wanted   wanted
	subjects []string
}

// Grant tells a connection of a grant to subjects. shadow is the mode of the trust.
func (c *Connection) Grant(name string, g trust.Grant, subjects []string, shadow bool) {
	w, _, _ := read(g) // a policy that loaded holds none that does not fit
	c.wishes = append(c.wishes, wish{name, shadow, w, subjects})
}

// maxCondition is Google's limit for an attribute condition, in characters.
const maxCondition = 4096

// subjectForm is a text that means nothing to CEL inside quotes, and nothing to an
// IAM member.
var subjectForm = regexp.MustCompile(`^[A-Za-z0-9._:/-]+$`)

// Finish works out the whole, and says what is wrong: nothing of it may be used
// then. It must be called once, before anything is printed.
func (c *Connection) Finish() []Problem {
	m := providerForm.FindStringSubmatch(c.Provider)
	if m == nil {
		return []Problem{{ID: "gcp-audience", Text: "the audience is no provider of a workload identity pool", Fix: "write its full resource name"}}
	}
	c.project, c.pool, c.id = m[2], m[3], m[4]
	c.AllowedAudiences = []string{assertionAudience(c.Provider)}
	c.AttributeMapping = map[string]string{"google.subject": "assertion.sub"}
	c.Bindings, c.Direct, c.Notes = []Binding{}, []Binding{}, []string{}
	var problems []Problem
	for _, w := range c.wishes {
		for _, s := range w.subjects {
			if len(s) > maxSubject || !subjectForm.MatchString(s) {
				problems = append(problems, Problem{
					ID: "connect-subject", Trust: w.trust,
					Text: fmt.Sprintf("sub would be %s, of %d bytes; google.subject takes %d", s, len(s), maxSubject),
					Fix:  "set subject: trust for the target",
				})
				continue
			}
			c.bind(w, s)
		}
		c.note(w)
	}
	for _, list := range [][]Binding{c.Bindings, c.Direct} {
		slices.SortFunc(list, func(a, b Binding) int {
			return cmp.Or(cmp.Compare(a.Account, b.Account), cmp.Compare(a.Role, b.Role), cmp.Compare(a.Member, b.Member))
		})
	}
	slices.Sort(c.Notes)
	c.Notes = slices.Compact(c.Notes)
	c.Condition = c.condition()
	if n := len(c.Condition); n > maxCondition {
		problems = append(problems, Problem{
			ID:   "connect-policy-too-large",
			Text: fmt.Sprintf("the attribute condition has %d characters for %d subjects; Google takes %d", n, len(c.subjects()), maxCondition),
			Fix:  "set subject: trust for the target (one subject a trust), or use several providers",
		})
	}
	return problems
}

// bind writes down whom one subject acts as.
func (c *Connection) bind(w wish, subject string) {
	member := c.principal(subject)
	account := w.wanted.account
	switch {
	case account == "":
		c.Direct = w.add(c.Direct, Binding{Member: member})
		return
	case len(w.wanted.delegates) == 0:
		c.Bindings = w.add(c.Bindings, Binding{Account: account, Role: roleUser, Member: member})
		return
	}
	for _, next := range append(slices.Clone(w.wanted.delegates), account) {
		c.Bindings = w.add(c.Bindings, Binding{Account: next, Role: roleCreator, Member: member})
		member = "serviceAccount:" + next
	}
}

// add puts a binding on the list, or tells the one that is there of its trust.
func (w wish) add(list []Binding, b Binding) []Binding {
	i := slices.IndexFunc(list, func(o Binding) bool { return o.Account == b.Account && o.Role == b.Role && o.Member == b.Member })
	if i < 0 {
		b.Trusts, b.Shadow = []string{w.trust}, w.shadow
		return append(list, b)
	}
	if !slices.Contains(list[i].Trusts, w.trust) {
		list[i].Trusts = append(list[i].Trusts, w.trust)
		slices.Sort(list[i].Trusts)
	}
	list[i].Shadow = list[i].Shadow && w.shadow
	return list
}

// note says what a grant needs beyond this.
func (c *Connection) note(w wish) {
	switch {
	case w.wanted.database != nil:
		d := w.wanted.database
		c.Notes = append(c.Notes, fmt.Sprintf("%s logs in to the %s at %s as %s: it needs %s, the instance needs IAM authentication on, and the database that user.", w.wanted.account, d.Engine, d.Host, d.User, roleLogin))
	case w.wanted.boundary != "":
		c.Notes = append(c.Notes, "A boundary narrows what "+w.wanted.account+" may do in Cloud Storage, in buckets with uniform access; it gives nothing.")
	}
}

// principal is how IAM policies name one subject of the pool.
func (c *Connection) principal(subject string) string {
	return "principal://iam.googleapis.com/projects/" + c.project + "/locations/global/workloadIdentityPools/" + c.pool + "/subject/" + subject
}

// condition lets in the listed subjects, compared for equality: a pattern would let
// in workloads that do not exist yet.
func (c *Connection) condition() string {
	var quoted []string
	for _, s := range c.subjects() {
		quoted = append(quoted, "'"+s+"'")
	}
	return "assertion.sub in [" + strings.Join(quoted, ", ") + "]"
}

func (c *Connection) subjects() []string {
	var out []string
	for _, w := range c.wishes {
		out = append(out, w.subjects...)
	}
	slices.Sort(out)
	return slices.Compact(out)
}

// from names the trusts that a binding comes from, and says when none of them is in
// force.
func (b Binding) from() string {
	from := strings.Join(b.Trusts, ", ")
	if b.Shadow {
		from += "; in mode shadow only: nothing is issued by it yet"
	}
	return from
}

// Warnings say what Google would not take.
func (c *Connection) Warnings() []Problem {
	u, err := url.Parse(c.Issuer)
	if err != nil || u.Scheme != "https" {
		return []Problem{{ID: "connect-issuer", Text: "Google takes an issuer with https only, and fetches its keys from the Internet", Fix: "configure the public issuer"}}
	}
	return nil
}

// JSON is the connection for programs.
func (c *Connection) JSON() string { return draft.JSON(c) }

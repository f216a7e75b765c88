package trust

import (
	"fmt"
	"regexp"
	"slices"
	"strings"
	"time"

	"cambio/trust/strictyaml"
)

// The bounds of a document. Each is far above what a reviewer can read; they
// keep one file from making every request slow.
const (
	maxLines      = 64   // of match
	maxItems      = 1000 // of one line of match, and of networks
	maxConditions = 32   // of when: each has a cost limit of its own
	maxGrants     = 64
	maxScopes     = 64
	maxExtra      = 32 // extra claims of a grant
	maxTemplates  = 64 // names of one field of a target type
	maxTests      = 100
	maxFileTests  = 1000
	maxText       = 1024 // of owner, purpose and names of tests
	maxResource   = 2048
)

var namePattern = regexp.MustCompile(`^[a-z0-9-]{1,63}$`)

// rule is one compiled trust.
type rule struct {
	name      string
	owner     string
	purpose   string
	file      string
	sha       [32]byte
	provider  *providerPolicy
	shadow    bool
	expires   time.Time // the first instant after its end; zero: never
	match     []matchLine
	named     []bool // by guard of the provider: match names the guarded value
	when      []*condition
	whenAt    []Place // of each of when
	written   int     // how many of when the document has; the others are the platform's
	access    *access // nil: no restriction
	accessAt  Place
	expiresAt Place
	silent    bool // hints: false, the caller is not told which claim failed
	tokenUse  TokenUse
	nonce     bool // a token without a nonce of ours is refused
	grants    []grantRule
	tests     []testCase
	perGrant  bool // a condition reads request or grant
	nameAt    Place
	anchorKey *matchLine // the most selective anchor that match pins
}

// grantRule is one grant of a trust.
type grantRule struct {
	target   string
	resource string
	scopes   []string
	ttl      time.Duration
	minTTL   time.Duration
	at       Place
	ttlAt    Place // of a written ttl; else zero
	claims   []claimTemplate
	extras   []extraField                 // sorted by name
	misfit   func(Grant) (string, string) // the target type's; nil: anything fits
}

// Place is where a document says something, both from 1; zero: nowhere. A node
// would keep the whole tree of each document until the last one is read.
type Place struct {
	Line   int `json:"line"`
	Column int `json:"column"`
}

func placeOf(n *strictyaml.Node) Place {
	if n == nil {
		return Place{}
	}
	return Place{n.Line, n.Column}
}

// reader reads one document.
type reader struct {
	strictyaml.Reporter
	c *compiler
}

// allow reports each name of a map that is not among names.
func (r *reader) allow(n *strictyaml.Node, names ...string) {
	for _, key := range n.Keys() {
		if !slices.Contains(names, key.Text) {
			r.UnknownField(n, key, names)
		}
	}
}

// isMap reports whether n is a map, and says so where it is not.
func (r *reader) isMap(n *strictyaml.Node) bool {
	if n.Kind != strictyaml.Map {
		r.WrongType(n, "a map")
	}
	return n.Kind == strictyaml.Map
}

// list returns the items of a list that must hold one to limit of them.
func (r *reader) list(n *strictyaml.Node, limit int) []*strictyaml.Node {
	switch {
	case n.Kind != strictyaml.List:
		r.WrongType(n, "a list")
		return nil
	case len(n.Items()) == 0:
		r.Error(n, FindingEmptyList, "the list is empty", "write its items, or leave the line out")
		return nil
	case len(n.Items()) > limit:
		r.Error(n, FindingTooMany, fmt.Sprintf("the list has %d items; at most %d are allowed", len(n.Items()), limit), "split the document")
		return nil
	}
	return n.Items()
}

// text returns the text of a node that must hold some, or "".
func (r *reader) text(n *strictyaml.Node, limit int) string {
	switch {
	case n.Kind != strictyaml.String:
		r.WrongType(n, "text")
	case strings.TrimSpace(n.Text) == "":
		r.Error(n, FindingInvalid, "is empty", "write a value")
	case len(n.Text) > limit:
		r.Error(n, FindingInvalid, fmt.Sprintf("is longer than %d bytes", limit), "write a shorter one")
	default:
		return n.Text
	}
	return ""
}

// oneOf returns the text of a node that must be one of these.
func (r *reader) oneOf(n *strictyaml.Node, allowed ...string) string {
	if n.Kind != strictyaml.String {
		r.WrongType(n, "text")
		return ""
	}
	if !slices.Contains(allowed, n.Text) {
		r.Error(n, FindingInvalid, n.Show()+" is not possible here", strictyaml.DidYouMean(n.Text, allowed))
		return ""
	}
	return n.Text
}

// name reads a document's name.
func (r *reader) name(root *strictyaml.Node, field string) string {
	n := root.Get(field)
	if n == nil {
		r.Missing(root, field, "write "+field+": and a name of a-z, 0-9 and -")
		return ""
	}
	s := r.text(n, maxText)
	if s != "" && !namePattern.MatchString(s) {
		r.Error(n, FindingInvalid, n.Show()+" is no name", "write 1 to 63 of a-z, 0-9 and -")
		return ""
	}
	return s
}

// owned reads what every document says about itself: its owner and its purpose.
func (r *reader) owned(root *strictyaml.Node) (owner, purpose string) {
	n := root.Get("owner")
	switch {
	case n != nil && n.Kind == strictyaml.String && strings.TrimSpace(n.Text) != "" || n != nil && n.Kind != strictyaml.Null && n.Kind != strictyaml.String:
		owner = r.text(n, maxText)
	case !r.Meant(root, "owner"):
		// Offboarding needs somebody to ask (NHI1).
		r.Error(root.Find("owner"), FindingOwnerMissing, "the document has no owner", "write owner: and who answers for it")
	}
	if n := root.Get("purpose"); n != nil {
		purpose = r.text(n, maxText)
	} else {
		r.Missing(root, "purpose", "write purpose: and what this is for")
	}
	return owner, purpose
}

// trust reads a trust document. What it returns is for use only when there is
// no error among the findings.
func (r *reader) trust(root *strictyaml.Node) *rule {
	r.allow(root, Fields(TrustPart)...)
	t := &rule{name: r.name(root, "name"), nameAt: placeOf(root.Find("name"))}
	t.owner, t.purpose = r.owned(root)
	t.expires, t.expiresAt = r.expires(root.Get("expires")), placeOf(root.Get("expires"))
	if n := root.Get("mode"); n != nil {
		t.shadow = r.oneOf(n, "enforce", "shadow") == "shadow"
	}
	if n := root.Get("from"); n == nil {
		r.Missing(root, "from", "write from: and the name of an identity provider")
	} else if name := r.text(n, maxText); name != "" {
		t.provider = r.c.providers[name]
		if t.provider == nil {
			r.Error(n, FindingUnknownProvider, "no identity provider is named "+n.Show(), strictyaml.DidYouMean(name, r.c.providerNames))
		}
	}
	r.match(t, root)
	if n := root.Get("when"); n != nil {
		for _, item := range r.list(n, maxConditions) {
			env := r.c.anyClaims
			if t.provider != nil {
				env = t.provider.env
			}
			if c := r.condition(item, env); c != nil {
				t.when, t.whenAt = append(t.when, c), append(t.whenAt, placeOf(item))
				t.perGrant = t.perGrant || c.perGrant
			}
		}
	}
	t.imply(placeOf(root.Find("match")))
	if n := root.Get("access"); n != nil {
		t.access, t.accessAt = r.access(n), placeOf(n)
	}
	r.use(t, root)
	if n := root.Get("hints"); n != nil {
		if n.Kind != strictyaml.Bool {
			r.WrongType(n, "a boolean")
		}
		t.silent = !n.Bool()
	}
	if n := root.Get("grants"); n == nil {
		r.Missing(root, "grants", "write grants: and a list of what is granted")
	} else {
		r.grants(t, n)
	}
	if n := root.Get("tests"); n != nil {
		for _, item := range r.list(n, maxTests) {
			if test, ok := r.test(item, t.provider); ok {
				t.tests = append(t.tests, test)
			}
		}
	}
	return t
}

// soon is how long before its end a document is worth a warning.
const soon = 30 * 24 * time.Hour

// mistake is an error about a text. What follows a semicolon in it says what to
// write, and stands in for the general fix.
func (r *reader) mistake(n *strictyaml.Node, id string, err error, fix string) {
	message, better, ok := strings.Cut(err.Error(), "; ")
	if ok {
		fix = better
	}
	r.Error(n, id, message, fix)
}

func (r *reader) expires(n *strictyaml.Node) time.Time {
	if n == nil {
		return time.Time{}
	}
	var day strictyaml.Date
	r.Decode(n, &day)
	if day.IsZero() {
		return time.Time{}
	}
	end := day.AddDate(0, 0, 1) // 24:00 UTC of that day
	switch {
	case !r.c.now.Before(end):
		r.Warn(n, FindingExpired, "the document has expired", "remove it, or have its owner prolong it")
	case r.c.now.Add(soon).After(end):
		r.Warn(n, FindingExpiresSoon, "the document expires within 30 days", "have its owner prolong it")
	}
	return end
}

// use reads how often a token may be used. A trust may only tighten: a looser
// one would reopen replay for all that its provider closes it for.
func (r *reader) use(t *rule, root *strictyaml.Node) {
	if n := root.Get("token_use"); n != nil {
		t.tokenUse = TokenUse(r.oneOf(n, string(Once), string(OncePerGrant), string(UntilExpiry)))
		if t.provider != nil && t.tokenUse != "" && t.provider.tokenUse.Tighter(t.tokenUse) {
			r.Error(n, FindingTokenUseLooser, fmt.Sprintf("%s is looser than %s, which the identity provider has", t.tokenUse, t.provider.tokenUse),
				"leave it out, or write a tighter one")
		}
	}
	if n := root.Get("require_nonce"); n != nil {
		switch {
		case n.Kind != strictyaml.Bool:
			r.WrongType(n, "a boolean")
		default:
			t.nonce = n.Bool()
		}
	}
}

func (r *reader) access(n *strictyaml.Node) *access {
	if !r.isMap(n) {
		return nil
	}
	r.allow(n, Fields(AccessPart)...)
	a := &access{}
	networks, windows := n.Get("networks"), n.Get("hours")
	if networks == nil && windows == nil {
		r.Error(n, FindingInvalid, "access restricts nothing", "write networks or hours, or leave it out")
	}
	if networks != nil {
		for _, item := range r.list(networks, maxItems) {
			if s := r.text(item, maxText); s != "" {
				p, err := parseNetwork(s)
				if err != nil {
					r.mistake(item, FindingNetwork, err, "write one such as 10.0.0.0/8")
				}
				a.networks = append(a.networks, p)
			}
		}
	}
	if windows != nil {
		items := []*strictyaml.Node{windows}
		if windows.Kind == strictyaml.List {
			items = r.list(windows, maxItems)
		}
		for _, item := range items {
			if s := r.text(item, maxText); s != "" {
				h, err := parseHours(s)
				if err != nil {
					r.mistake(item, FindingHours, err, "write one such as Mon-Fri 07:00-19:00 Europe/Zurich")
				}
				a.hours = append(a.hours, h)
			}
		}
	}
	return a
}

// condition compiles one line of CEL and reports where in the file it is wrong.
func (r *reader) condition(n *strictyaml.Node, env *celEnv) *condition {
	if n.Kind != strictyaml.String {
		r.WrongType(n, "text")
		return nil
	}
	if strings.TrimSpace(n.Text) == "" {
		r.Error(n, FindingCELSyntax, "the condition is empty", "write one, or leave the line out")
		return nil
	}
	c, problems := r.c.condition(env, n.Text)
	for _, p := range problems {
		r.ErrorIn(n, p.line, p.column-1, p.id, p.message, p.fix)
	}
	return c
}

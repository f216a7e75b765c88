package trust

import (
	"encoding/hex"
	"fmt"
	"maps"
	"net/netip"
	"slices"
	"strings"
	"time"

	"cel.dev/cel-go/cel"
)

// Trust is one compiled trust as those read it who reason about documents. It
// decides nothing, and is not to be changed: its lists are the policy's own.
type Trust struct {
	Name, Owner, Purpose string
	File                 string
	SHA256               string // hex, of the document's bytes
	At                   Place  // of its name
	Provider             string // the identity provider's name in the configuration
	Shadow               bool   // judged and recorded, never allowed
	Expires              time.Time
	ExpiresAt            Place
	Match                []MatchLine
	// Unnamed are the guarded values that match does not name: a token with one of
	// them is refused, whatever else holds.
	Unnamed  []Guarded
	When     []Condition
	Access   Access
	TokenUse TokenUse // the effective one
	Nonce    bool     // a token without a nonce of ours is refused
	Hints    bool     // the caller may be told which claim failed
	Grants   []WrittenGrant
	Tests    int // inside the document
}

// MatchLine is one line of match: the claim has one of these values.
type MatchLine struct {
	Claim ClaimRef
	Name  string // as the document writes it
	Want  []Wanted
	At    Place
}

// Wanted is a value to be equal to (string, int64 or bool), or a glob.
type Wanted struct {
	Value any
	Glob  bool
}

// Pins reports that the line is an equality of text that nobody else can have by
// chance: no item is a glob, and none is empty.
func (l MatchLine) Pins() bool {
	return len(l.Want) > 0 && !slices.ContainsFunc(l.Want, func(w Wanted) bool { return w.Glob || w.Value == "" })
}

// Guarded is a value of a claim that match must name for a token to be taken.
type Guarded struct {
	Claim ClaimRef
	Value string
}

// Access is from where and when; nil lists restrict nothing.
type Access struct {
	Networks []netip.Prefix
	Hours    []Hours
	At       Place
}

// Hours is one weekly window on the local wall clock of a zone.
type Hours struct {
	Text  string // as the document writes it
	Zone  *time.Location
	Days  [7]bool // by time.Weekday
	Start int     // minute of the day, inclusive
	End   int     // minute of the day, exclusive; 1440 is 24:00
}

// Contains reports whether the window contains an instant, as a decision would.
func (h Hours) Contains(at time.Time) bool {
	w := hours{days: h.Days, start: h.Start, end: h.End, zone: h.Zone}
	return w.contains(at)
}

// WrittenGrant is one grant as its document has it.
type WrittenGrant struct {
	Target   string
	Resource string // "" where it names none
	Scopes   []string
	TTL      time.Duration // the longest that is issued
	MinTTL   time.Duration // the shortest, whatever is asked
	At       Place
	TTLAt    Place // zero where the document writes none
	// Claims are the extra claims, and Fields the target type's own fields, as they
	// are written: ${claims.x} stands for a claim. In the order of their names.
	Claims, Fields []GrantValue
}

// GrantValue is a value that a grant hands on.
type GrantValue struct {
	Name  string // such as tags.repository
	Value string // as it is written, other values than text as JSON would have them
	Needs []ClaimRef
}

// ClaimRef is one claim that documents may name.
type ClaimRef struct{ v *claimVar }

// Name is what the platform's table calls it.
func (c ClaimRef) Name() string { return c.v.name }

// Shown is its name in the journal and to callers: the platform's alias where
// there is one, else Name.
func (c ClaimRef) Shown() string { return c.v.shown }

// ID is its canonical JSON pointer (RFC 6901), which all its names share.
func (c ClaimRef) ID() string { return c.v.id }

// Claim is its line in the table.
func (c ClaimRef) Claim() Claim { return c.v.table }

// Get returns its value. The boolean is false where the token lacks it, or has
// one of another type: no line and no condition holds then.
func (c ClaimRef) Get(claims map[string]any) (any, bool) {
	x, ok := c.v.find(claims)
	if !ok {
		return nil, false
	}
	return c.v.typed(x)
}

// Set writes a value to where the claim lies; nil takes it away.
func (c ClaimRef) Set(claims map[string]any, value any) { c.v.set(claims, value) }

// Condition is one condition in CEL.
type Condition struct {
	Source string
	At     Place // of its text in the document
	// PerGrant says that it reads request or grant.
	PerGrant bool
	// Implied says that it is the platform's and not of the document.
	Implied bool
	env     *celEnv
}

// Syntax is the checked syntax tree. Where the source reads a declared claim, the
// tree has an identifier that [ClaimOf] understands; patterns of matches() are
// wrapped to match whole strings. It is built at each call: a policy does not
// keep its trees.
func (c Condition) Syntax() (*cel.Ast, error) {
	checked, _, problems := c.env.check(c.Source)
	if len(problems) > 0 {
		return nil, fmt.Errorf("%s: %s", problems[0].id, problems[0].message)
	}
	return checked, nil
}

// ClaimOf takes an identifier of a tree for a claim: its canonical JSON pointer,
// and whether it is the optional that .? makes.
func ClaimOf(identifier string) (id string, optional, ok bool) {
	if id, ok = strings.CutPrefix(identifier, optionalPrefix); ok {
		return id, true, true
	}
	id, ok = strings.CutPrefix(identifier, claimPrefix)
	return id, false, ok && strings.HasPrefix(id, "/")
}

// Rule is a guardrail, which forbids where its condition is true or cannot be
// evaluated, or an invariant.
type Rule struct {
	Name, Owner, Purpose string
	File                 string
	At                   Place    // of its name
	From                 []string // sorted; the identity providers that it is for, never empty
	Condition            Condition
	Never                bool // of an invariant: the condition must never be true; else it must always be
}

// World is the configuration that the documents were compiled against. It is not
// to be changed.
func (p *Policy) World() World { return p.world }

// All are the trusts, sorted by name, those in mode shadow and expired ones
// included.
func (p *Policy) All() []Trust {
	out := make([]Trust, len(p.rules))
	for i, t := range p.rules {
		out[i] = t.view()
	}
	return out
}

// Trust is the trust of this name.
func (p *Policy) Trust(name string) (Trust, bool) {
	t := p.byName[name]
	if t == nil {
		return Trust{}, false
	}
	return t.view(), true
}

// AllGuardrails are the guardrails, sorted by name.
func (p *Policy) AllGuardrails() []Rule {
	out := make([]Rule, len(p.guardrails))
	for i, g := range p.guardrails {
		out[i] = g.view(p)
	}
	return out
}

// Invariants are the invariants, sorted by name.
func (p *Policy) Invariants() []Rule {
	out := make([]Rule, len(p.invariants))
	for i, v := range p.invariants {
		out[i] = v.view(p)
		out[i].Never = v.never
	}
	return out
}

// Claims are the claims that tokens of an identity provider may have, sorted by
// their pointers.
func (p *Policy) Claims(provider string) []ClaimRef {
	known := p.providers[provider]
	if known == nil {
		return nil
	}
	out := make([]ClaimRef, 0, len(known.schema.byID))
	for _, id := range slices.Sorted(maps.Keys(known.schema.byID)) {
		out = append(out, ClaimRef{known.schema.byID[id]})
	}
	return out
}

// Claim finds a claim by its name, alias or JSON pointer.
func (p *Policy) Claim(provider, name string) (ClaimRef, bool) {
	known := p.providers[provider]
	if known == nil {
		return ClaimRef{}, false
	}
	v := known.schema.lookup(name)
	return ClaimRef{v}, v != nil
}

// Anchors are the immutable claims of an identity provider, the most selective
// first.
func (p *Policy) Anchors(provider string) []ClaimRef {
	known := p.providers[provider]
	if known == nil {
		return nil
	}
	out := make([]ClaimRef, len(known.anchors))
	for i, a := range known.anchors {
		out[i] = ClaimRef{a}
	}
	return out
}

func (t *rule) view() Trust {
	v := Trust{
		Name: t.name, Owner: t.owner, Purpose: t.purpose, File: t.file, SHA256: hex.EncodeToString(t.sha[:]), At: t.nameAt,
		Provider: t.provider.name, Shadow: t.shadow, Expires: t.expires, ExpiresAt: t.expiresAt,
		TokenUse: t.provider.tokenUse, Nonce: t.nonce, Hints: !t.silent, Tests: len(t.tests),
	}
	if t.tokenUse != "" && t.tokenUse.Tighter(v.TokenUse) {
		v.TokenUse = t.tokenUse
	}
	v.Match = make([]MatchLine, len(t.match))
	for i := range t.match {
		l := &t.match[i]
		v.Match[i] = MatchLine{Claim: ClaimRef{l.claim}, Name: l.name, At: l.at, Want: make([]Wanted, len(l.want))}
		for k, w := range l.want {
			v.Match[i].Want[k] = Wanted{Value: w.value, Glob: w.glob}
		}
	}
	for i, g := range t.provider.guards {
		if t.named == nil || !t.named[i] {
			v.Unnamed = append(v.Unnamed, Guarded{Claim: ClaimRef{g.claim}, Value: g.value})
		}
	}
	for i, c := range t.when {
		v.When = append(v.When, Condition{Source: c.source, At: t.whenAt[i], PerGrant: c.perGrant, Implied: c.implied != "", env: t.provider.env})
	}
	if t.access != nil {
		v.Access = Access{Networks: t.access.networks, At: t.accessAt}
		for _, h := range t.access.hours {
			v.Access.Hours = append(v.Access.Hours, Hours{Text: h.text, Zone: h.zone, Days: h.days, Start: h.start, End: h.end})
		}
	}
	for i := range t.grants {
		v.Grants = append(v.Grants, t.grants[i].view())
	}
	return v
}

func (g *grantRule) view() WrittenGrant {
	v := WrittenGrant{
		Target: g.target, Resource: g.resource, Scopes: g.scopes, TTL: g.ttl, MinTTL: g.minTTL, At: g.at, TTLAt: g.ttlAt,
	}
	for i := range g.claims {
		v.Claims = append(v.Claims, g.claims[i].view())
	}
	for i := range g.extras {
		v.Fields = append(v.Fields, g.extras[i].view()...)
	}
	return v
}

func (c *claimTemplate) view() GrantValue {
	v := GrantValue{Name: c.name, Value: fmt.Sprint(c.value)}
	if c.parts == nil {
		return v
	}
	v.Value, v.Needs = written(c.parts)
	return v
}

// written is a template as a document writes it, and the claims that it names.
func written(parts []templatePart) (string, []ClaimRef) {
	var b strings.Builder
	var needs []ClaimRef
	for _, part := range parts {
		if part.claim == nil {
			b.WriteString(part.text)
			continue
		}
		b.WriteString("${claims." + part.claim.name + "}")
		needs = append(needs, ClaimRef{part.claim})
	}
	return b.String(), needs
}

func (g *guardrail) view(p *Policy) Rule {
	r := Rule{Name: g.name, Owner: g.owner, Purpose: g.purpose, File: g.file, At: g.nameAt, From: g.from}
	if r.From == nil {
		r.From = slices.Sorted(maps.Keys(p.providers))
	}
	r.Condition = Condition{Source: g.forbid.source, At: g.at, PerGrant: g.forbid.perGrant, env: g.env}
	return r
}

func (f *extraField) view() []GrantValue {
	if f.constant != nil {
		return []GrantValue{{Name: f.name, Value: fmt.Sprint(f.constant)}}
	}
	out := make([]GrantValue, len(f.templates))
	for i := range f.templates {
		out[i] = f.templates[i].view()
		out[i].Name = f.part(f.templates[i].name)
	}
	return out
}

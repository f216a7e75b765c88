// Package diff says what a change of trust documents does: what becomes allowed,
// what is lost, and what only looks different. It speaks of access, never of
// lines of text.
package diff

import (
	"cmp"
	"context"
	"slices"
	"time"

	"cambio/trust"
)

// Effect is what a change does to access.
type Effect string

// The effects. What cannot be decided may grow access, and is not to be taken for
// less.
const (
	None      Effect = "none"
	Grows     Effect = "grows"
	Shrinks   Effect = "shrinks"
	Both      Effect = "both" // some access is gained, other is lost
	Undecided Effect = "undecided"
)

// and is the effect of two changes together.
func (e Effect) and(o Effect) Effect {
	switch {
	case e == o || o == None:
		return e
	case e == None:
		return o
	case e == Undecided || o == Undecided:
		return Undecided
	}
	return Both
}

// MayGrow reports whether access may be larger than before.
func (e Effect) MayGrow() bool { return e == Grows || e == Both || e == Undecided }

// Kind is what an item is about.
type Kind string

// The kinds of item.
const (
	KindTrust     Kind = "trust"
	KindGuardrail Kind = "guardrail"
	KindInvariant Kind = "invariant"
	KindProvider  Kind = "identity provider"
	KindTarget    Kind = "target"
)

// Sign is how a line begins.
type Sign string

// The signs.
const (
	Plus  Sign = "+" // may from now on
	Minus Sign = "-" // may no longer
	Tilde Sign = "~" // may otherwise than before
	Equal Sign = "=" // no change of access
)

// Line is one thing that changed, in words.
type Line struct {
	Sign   Sign   `json:"sign"`
	Text   string `json:"text"`
	Effect Effect `json:"effect"`

	handling bool // not of who gets it, but of what becomes of a token or a credential
}

func plus(text string) Line            { return Line{Sign: Plus, Text: text, Effect: Grows} }
func minus(text string) Line           { return Line{Sign: Minus, Text: text, Effect: Shrinks} }
func tilde(text string, e Effect) Line { return Line{Sign: Tilde, Text: text, Effect: e} }
func equal(text string) Line           { return Line{Sign: Equal, Text: text, Effect: None} }

// handled is a line about what becomes of a token or a credential.
func handled(text string, e Effect) Line {
	return Line{Sign: Tilde, Text: text, Effect: e, handling: true}
}

// Example is a request that one of the two policies allows and the other does
// not.
type Example struct {
	Provider string         `json:"provider"`
	Claims   map[string]any `json:"claims"`
	Trust    string         `json:"trust"` // by which it is allowed
	Target   string         `json:"target"`
	Resource string         `json:"resource,omitempty"`
	Scopes   []string       `json:"scopes,omitempty"`
	Address  string         `json:"from_address,omitempty"` // "" unknown
	At       time.Time      `json:"at"`
}

// Item is one thing of a policy that changed.
type Item struct {
	Kind   Kind   `json:"kind"`
	Name   string `json:"name"`
	File   string `json:"file,omitempty"`
	Owner  string `json:"owner,omitempty"`
	Effect Effect `json:"effect"`
	Lines  []Line `json:"changes"`
	// Gained and Lost are examples of what it does, where it does any.
	Gained *Example `json:"gained,omitempty"`
	Lost   *Example `json:"lost,omitempty"`
	// Why says why the effect is not decided.
	Why string `json:"why,omitempty"`
}

// Report is all that changed.
type Report struct {
	Old    string `json:"old_policy_sha256"`
	New    string `json:"new_policy_sha256"`
	Effect Effect `json:"effect"`
	Items  []Item `json:"items"`
}

// Options are what a comparison needs beside the policies.
type Options struct {
	// Now decides which trusts have expired.
	Now time.Time
	// Settings are those of the configurations that differ and that documents do
	// not see.
	Settings []Setting
}

// Compare says what changes when the new policy takes the old one's place. Both
// may be large: what did not change is passed over.
func Compare(ctx context.Context, before, after *trust.Policy, o Options) Report {
	d := newDiffer(ctx, before, after, o)
	r := Report{Old: before.SHA256(), New: after.SHA256(), Effect: None, Items: []Item{}}
	r.Items = append(r.Items, d.trusts()...)
	r.Items = append(r.Items, d.guardrails()...)
	r.Items = append(r.Items, d.invariants()...)
	r.Items = append(r.Items, d.world()...)
	for i := range r.Items {
		r.Effect = r.Effect.and(r.Items[i].Effect)
	}
	slices.SortStableFunc(r.Items, func(a, b Item) int {
		return cmp.Or(cmp.Compare(weight(a.Effect), weight(b.Effect)), cmp.Compare(a.Kind.weight(), b.Kind.weight()), cmp.Compare(a.Name, b.Name))
	})
	return r
}

// weight brings what must be looked at to the top.
func weight(e Effect) int {
	return slices.Index([]Effect{Grows, Both, Undecided, Shrinks, None}, e)
}

func (k Kind) weight() int {
	return slices.Index([]Kind{KindTrust, KindGuardrail, KindInvariant, KindProvider, KindTarget}, k)
}

// differ compares one policy with another.
type differ struct {
	ctx           context.Context //nolint:containedctx // of one call of Compare
	before, after *side
	now           time.Time
	settings      []Setting
}

// side is one of the two policies.
type side struct {
	policy *trust.Policy
	trusts []trust.Trust
	byName map[string]*trust.Trust
}

func newSide(p *trust.Policy) *side {
	s := &side{policy: p, trusts: p.All()}
	s.byName = make(map[string]*trust.Trust, len(s.trusts))
	for i := range s.trusts {
		s.byName[s.trusts[i].Name] = &s.trusts[i]
	}
	return s
}

func newDiffer(ctx context.Context, before, after *trust.Policy, o Options) *differ {
	return &differ{ctx: ctx, before: newSide(before), after: newSide(after), now: o.Now, settings: o.Settings}
}

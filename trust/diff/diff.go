// Package diff says what a change of trust documents does: what becomes allowed,
// what is lost, and what only looks different. It speaks of access, never of
// lines of text.
package diff

import (
	"cmp"
	"context"
	"slices"
	"sync"
	"time"

	"cambio/trust"
	"cambio/trust/prove"
	"cambio/trust/words"
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
	// about is the trust with no more than the line speaks of, where that can be
	// proven by itself, and still is what to say where the proof tells otherwise.
	about *trust.Trust
	still string
}

// plus says that the workloads of a trust may get its grants; more is said behind.
func plus(t trust.Trust, more string) Line {
	who, what := words.Workloads(t), words.Grants(t.Grants)
	return Line{Sign: Plus, Text: who + " may get " + what + more, Effect: Grows, about: &t, still: who + " may get " + what + ", as before"}
}

// minus says that they no longer may.
func minus(t trust.Trust, more string) Line {
	who, what := words.Workloads(t), words.Grants(t.Grants)
	return Line{Sign: Minus, Text: who + " may no longer get " + what + more, Effect: Shrinks, about: &t, still: who + " still may get " + what}
}

func tilde(text string, e Effect) Line { return Line{Sign: Tilde, Text: text, Effect: e} }
func equal(text string) Line           { return Line{Sign: Equal, Text: text, Effect: None} }

// handled is a line about what becomes of a token or a credential.
func handled(text string, e Effect) Line {
	return Line{Sign: Tilde, Text: text, Effect: e, handling: true}
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
	Gained *prove.Example `json:"gained,omitempty"`
	Lost   *prove.Example `json:"lost,omitempty"`
	// Why says why the effect is not decided.
	Why string `json:"why,omitempty"`
}

// Report is all that changed.
type Report struct {
	Old    string `json:"old_policy_sha256"`
	New    string `json:"new_policy_sha256"`
	Effect Effect `json:"effect"`
	Items  []Item `json:"items"`

	now time.Time
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
// may be large: what did not change is passed over. A cancelled context leaves
// undecided what is not answered yet.
func Compare(ctx context.Context, before, after *trust.Policy, o Options) (Report, error) {
	d := &differ{ctx: ctx, now: o.Now, settings: o.Settings, guarded: map[string]bool{}}
	var err error
	if d.before, err = newSide(before, o.Now); err != nil {
		return Report{}, err
	}
	if d.after, err = newSide(after, o.Now); err != nil {
		return Report{}, err
	}
	d.guardrailPairs = rulePairs(before.AllGuardrails(), after.AllGuardrails())
	for _, p := range d.guardrailPairs {
		p.changes(d.guarded)
	}
	r := Report{Old: before.SHA256(), New: after.SHA256(), Effect: None, Items: []Item{}, now: o.Now}
	for _, items := range [][]Item{d.compareTrusts(), d.guardrails(), d.invariants(), d.world()} {
		r.Items = append(r.Items, items...)
	}
	for i := range r.Items {
		r.Effect = r.Effect.and(r.Items[i].Effect)
	}
	slices.SortStableFunc(r.Items, func(a, b Item) int {
		return cmp.Or(cmp.Compare(weight(a.Effect), weight(b.Effect)), cmp.Compare(a.Kind.weight(), b.Kind.weight()), cmp.Compare(a.Name, b.Name))
	})
	return r, nil
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

	guardrailPairs []rulePair
	changed        map[string]bool // names of the trusts of after that changed
	guarded        map[string]bool // identity providers of which a guardrail changed
}

// side is one of the two policies.
type side struct {
	policy  *trust.Policy
	prover  *prove.Prover
	trusts  []trust.Trust
	byName  map[string]*trust.Trust
	leading map[access][]int
	near    func() *neighbours
}

func newSide(p *trust.Policy, now time.Time) (*side, error) {
	prover, err := prove.New(p, now)
	if err != nil {
		return nil, err
	}
	s := &side{policy: p, prover: prover, trusts: p.All()}
	s.leading, s.byName = leads(s.trusts), make(map[string]*trust.Trust, len(s.trusts))
	s.near = sync.OnceValue(func() *neighbours { return newNeighbours(s.trusts) })
	for i := range s.trusts {
		s.byName[s.trusts[i].Name] = &s.trusts[i]
	}
	return s, nil
}

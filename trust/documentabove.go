package trust

import (
	"slices"

	"cambio/trust/strictyaml"
)

// guardrail is one compiled guardrail, or the frame of an invariant.
type guardrail struct {
	name    string
	owner   string
	purpose string
	file    string
	sha     [32]byte
	from    []string // sorted; nil: all
	forbid  *condition
	env     *celEnv
	nameAt  Place
	at      Place // of its condition
}

// invariant says what must hold of every exchange that the whole policy allows.
// It takes part in no decision: only a proof asks for it.
type invariant struct {
	guardrail
	never bool // the condition must never be true; else it must always be
}

// invariant reads an invariant.
func (r *reader) invariant(root *strictyaml.Node) *invariant {
	r.allow(root, Fields(InvariantPart)...)
	v := &invariant{guardrail: guardrail{name: r.name(root, "invariant"), nameAt: placeOf(root.Find("invariant"))}}
	v.owner, v.purpose = r.owned(root)
	known := r.from(&v.guardrail, root)
	never, always := root.Get("never"), root.Get("always")
	n := never
	switch {
	case never == nil && always == nil:
		r.Missing(root, "never", "write never: or always:, and a condition")
		return v
	case never != nil && always != nil:
		r.Error(always, FindingInvalid, "never stands here too", "write one of them, and a second invariant for the other")
		return v
	case never == nil:
		n = always
	}
	v.never, v.at = never != nil, placeOf(n)
	v.forbid = r.above(&v.guardrail, n, known)
	return v
}

// guardrail reads a guardrail.
func (r *reader) guardrail(root *strictyaml.Node) *guardrail {
	r.allow(root, Fields(GuardrailPart)...)
	g := &guardrail{name: r.name(root, "guardrail"), nameAt: placeOf(root.Find("guardrail"))}
	g.owner, g.purpose = r.owned(root)
	known := r.from(g, root)
	n := root.Get("forbid")
	if n == nil {
		r.Missing(root, "forbid", "write forbid: and a condition")
		return g
	}
	g.at = placeOf(n)
	g.forbid = r.above(g, n, known)
	return g
}

// above compiles the condition of a document that stands above all trusts.
func (r *reader) above(g *guardrail, n *strictyaml.Node, known bool) *condition {
	if !known {
		return r.condition(n, r.c.anyClaims)
	}
	env, err := r.c.guardEnv(g.from)
	if err != nil {
		r.Error(n, FindingInternal, err.Error(), "")
		return nil
	}
	g.env = env
	return r.condition(n, env)
}

// from reads the identity providers that a document above the trusts is for.
// It reports whether all of them are known.
func (r *reader) from(g *guardrail, root *strictyaml.Node) bool {
	known := true
	if n := root.Get("from"); n != nil {
		for _, item := range r.list(n, maxItems) {
			name := r.text(item, maxText)
			switch {
			case name == "":
				known = false
			case r.c.providers[name] == nil:
				r.Error(item, FindingUnknownProvider, "no identity provider is named "+item.Show(), strictyaml.DidYouMean(name, r.c.providerNames))
				known = false
			case slices.Contains(g.from, name):
				r.Error(item, FindingInvalid, item.Show()+" is named twice", "name it once")
			default:
				g.from = append(g.from, name)
			}
		}
		known = known && len(g.from) > 0
		slices.Sort(g.from)
	}
	return known
}

package diff

import (
	"cambio/trust"
	"cambio/trust/prove"
)

// neighbours finds the trusts that may share a token with one, without looking at
// all pairs: those that pin the same value of a claim, or none of it.
type neighbours struct {
	trusts []trust.Trust
	places map[place]*pinned
}

// place is a target, as the trusts of one identity provider see it.
type place struct{ provider, target string }

type pinned struct {
	all []int
	by  map[string]map[any][]int // claim id, value
	pin map[string]int           // how many trusts pin the claim
}

func newNeighbours(trusts []trust.Trust) *neighbours {
	n := &neighbours{trusts: trusts, places: map[place]*pinned{}}
	for i, t := range trusts {
		for _, name := range targets(t) {
			at := n.places[place{t.Provider, name}]
			if at == nil {
				at = &pinned{by: map[string]map[any][]int{}, pin: map[string]int{}}
				n.places[place{t.Provider, name}] = at
			}
			at.all = append(at.all, i)
			for _, l := range t.Match {
				if !l.Pins() {
					continue
				}
				at.pin[l.Claim.ID()]++
				if at.by[l.Claim.ID()] == nil {
					at.by[l.Claim.ID()] = map[any][]int{}
				}
				for _, w := range l.Want {
					at.by[l.Claim.ID()][w.Value] = append(at.by[l.Claim.ID()][w.Value], i)
				}
			}
		}
	}
	return n
}

// of are the trusts that t may share a token with at a target, by their place in
// the list.
func (n *neighbours) of(t trust.Trust, target string) []int {
	at := n.places[place{t.Provider, target}]
	if at == nil {
		return nil
	}
	best := at.all
	for _, l := range t.Match {
		id := l.Claim.ID()
		if !l.Pins() || at.pin[id] < len(at.all) {
			continue // some leave the claim open, and fit whatever it is
		}
		var same []int
		for _, w := range l.Want {
			same = append(same, at.by[id][w.Value]...)
		}
		if len(same) < len(best) {
			best = same
		}
	}
	return best
}

// maxClashes bounds what one item says of others.
const maxClashes = 5

// clashes says with which other trusts a trust that changed newly shares requests:
// those that name neither are refused.
func (d *differ) clashes(p pair) []Line {
	if p.after == nil || !d.active(*p.after) {
		return nil
	}
	var lines []Line
	t := *p.after
	for _, target := range targets(t) {
		seen := map[int]bool{}
		for _, i := range d.after.near().of(t, target) {
			other := d.after.trusts[i]
			if other.Name == t.Name || seen[i] || !d.active(other) || d.changed[other.Name] && other.Name < t.Name || len(lines) == maxClashes {
				continue // of two that changed, the first by name tells it
			}
			seen[i] = true
			o := d.after.prover.Overlap(t, other, target)
			if o.Answer == prove.No || d.clashed(p, other.Name, target) {
				continue
			}
			lines = append(lines, d.clash(o, other.Name, target))
		}
	}
	return lines
}

// clashed reports whether both shared requests before.
func (d *differ) clashed(p pair, name, target string) bool {
	other := d.before.byName[name]
	return p.before != nil && other != nil && d.before.prover.Overlap(*p.before, *other, target).Answer != prove.No
}

func (d *differ) clash(o prove.Overlap, name, target string) Line {
	what := "requests for " + target + " that name no trust"
	if !o.SameResource {
		what = "requests for " + target + " that name neither resource nor trust"
	}
	if o.Answer == prove.Unsure {
		return tilde(what+" may fit trust "+name+" too, and be refused as ambiguous: not decided", None)
	}
	effect := None
	if d.before.policy.Decide(o.Example.Identity, o.Example.Request, trust.StopSet{}, o.Example.At).Allow {
		effect = Shrinks
	}
	return tilde(what+" can fit trust "+name+" too, and are then refused as ambiguous", effect)
}

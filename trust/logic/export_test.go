package logic

import (
	"net/netip"
	"slices"
	"time"
)

// Holds evaluates f: a variable that the model lacks makes each of its atoms
// neither true nor false.
func (f Formula) Holds(m Model) bool { return f.truth(m) == 1 }

// Search decides f as Solve does when there are too many cases to split.
func Search(f Formula) (Model, Status, string) {
	s := newSolver(Limits{})
	if !s.assume(f) || !s.reduce() {
		return s.answer(nil, no())
	}
	return s.answer(s.search())
}

// Words are up to k words that all of ls have, found by their automata alone.
func Words(k int, ls ...Language) (found []string, complete bool) {
	var cs []constraint
	for _, l := range ls {
		if l.isNone() {
			return nil, true
		}
		cs = append(cs, constraint{l.e, true})
	}
	cs, possible := flatten(cs)
	if !possible {
		return nil, true
	}
	return newProduct(cs, k).search(k, &effort{states: defaultStates, left: maxEffort})
}

// truth is 1, -1, or 0 for neither.
func (f Formula) truth(m Model) int {
	if f.n == nil {
		if f.neg {
			return 1
		}
		return -1
	}
	out := 1
	if f.n.atom != nil {
		out = f.n.atom.truth(m)
	} else {
		for _, a := range f.n.args {
			out = min(out, a.truth(m))
		}
	}
	if f.neg {
		return -out
	}
	return out
}

func (a *atom) truth(m Model) int {
	x, ok := m[a.x]
	y, both := m[a.y]
	if !ok || a.binary && !both {
		return 0
	}
	var holds bool
	switch a.relation {
	case isTrue:
		holds = x.(bool)
	case inLanguage:
		holds = a.lang.Contains(x.(string))
	case same:
		holds = x.(string) == y.(string)
	case difference:
		d := widen(x.(int64))
		if a.binary {
			d = d.add(widen(y.(int64)).neg())
		}
		holds = !widen(a.n).less(d)
	case clock:
		holds = a.clock.holds(time.Unix(0, x.(int64)).UTC())
	case below:
		holds = x.(float64) < a.f || a.orEqual && x.(float64) == a.f
	case inNetworks:
		holds = slices.ContainsFunc(a.networks, func(p netip.Prefix) bool { return p.Contains(x.(netip.Addr)) })
	case known:
		holds = x.(netip.Addr).IsValid()
	case addressIs:
		holds = x.(netip.Addr) == a.address
	case someItem:
		holds = slices.ContainsFunc(x.([]string), a.lang.Contains)
	case sizeAtMost:
		holds = int64(len(x.([]string))) <= a.n
	case isValue:
		holds = x == a.value
	}
	if holds {
		return 1
	}
	return -1
}

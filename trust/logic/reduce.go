package logic

import (
	"net/netip"
	"slices"
)

// assume records that f must hold; false says that it cannot.
func (s *solver) assume(f Formula) bool {
	switch {
	case f.n == nil:
		return f.neg
	case f.n.atom == nil && f.neg:
		s.open = append(s.open, f)
		return true
	case f.n.atom == nil:
		for _, part := range f.n.args {
			if !s.assume(part) {
				return false
			}
		}
		return true
	}
	id := s.intern(f.n)
	sign := int8(1)
	if f.neg {
		sign = -1
	}
	if s.value[id] != 0 {
		return s.value[id] == sign
	}
	s.value[id] = sign
	a := s.atoms[id]
	s.units = append(s.units, literal{atom: a, id: id, want: !f.neg})
	if value, ok := s.evaluate(a); ok {
		return value != f.neg
	}
	if f.neg {
		return true
	}
	switch a.relation { //nolint:exhaustive // no other atom leaves its variable one value
	case inLanguage:
		if text, ok := a.lang.only(); ok {
			s.pins[a.x] = text
		}
	case addressIs:
		s.pins[a.x] = a.address
	case isValue:
		s.pins[a.x] = a.value
	}
	return true
}

// evaluate says what an atom is when its variables can have one value only.
func (s *solver) evaluate(a *atom) (value, ok bool) {
	pin, ok := s.pins[a.x]
	if !ok || s.mixed != "" {
		return false, false
	}
	switch a.relation { //nolint:exhaustive // no other atom leaves its variable one value
	case inLanguage:
		text, ok := pin.(string)
		return ok && a.lang.e.contains(text), ok
	case same:
		other, ok := s.pins[a.y]
		return ok && pin == other, ok
	case isValue:
		return pin == a.value, true
	case inNetworks, addressIs, known:
		address, ok := pin.(netip.Addr)
		return ok && a.holdsFor(address), ok
	}
	return false, false
}

// reduce puts in what is known until nothing new follows; false says that
// nothing makes the formula true.
func (s *solver) reduce() bool {
	for {
		if !s.spread() {
			return false
		}
		known, pinned := len(s.units), len(s.pins)
		memo := map[*node]Formula{}
		before := s.open
		s.open = nil
		for _, f := range before {
			if !s.assume(s.simplify(f, memo)) {
				return false
			}
		}
		if len(s.units) == known && len(s.pins) == pinned {
			return true
		}
	}
}

// spread gives to equal strings the same value, and looks again at what must
// hold: what came first was seen when less was known.
func (s *solver) spread() bool {
	for changed := true; changed; {
		changed = false
		for _, u := range s.units {
			if u.relation != same || !u.want {
				continue
			}
			x, isX := s.pins[u.x]
			y, isY := s.pins[u.y]
			switch {
			case isX && !isY:
				s.pins[u.y] = x
				changed = true
			case isY && !isX:
				s.pins[u.x] = y
				changed = true
			}
		}
	}
	return !slices.ContainsFunc(s.units, func(u literal) bool {
		value, ok := s.evaluate(u.atom)
		return ok && value != u.want
	})
}

// simplify puts what is known into f.
func (s *solver) simplify(f Formula, memo map[*node]Formula) Formula {
	if f.n == nil {
		return f
	}
	g, ok := memo[f.n]
	if !ok {
		g = s.simplifyNode(f.n, memo)
		memo[f.n] = g
	}
	if f.neg {
		return Not(g)
	}
	return g
}

func (s *solver) simplifyNode(n *node, memo map[*node]Formula) Formula {
	if n.atom != nil {
		id := s.intern(n)
		if v := s.value[id]; v != 0 {
			return Formula{neg: v > 0}
		}
		if value, ok := s.evaluate(s.atoms[id]); ok {
			return Formula{neg: value}
		}
		return Formula{n: n}
	}
	args := make([]Formula, 0, len(n.args))
	changed := false
	for _, a := range n.args {
		b := s.simplify(a, memo)
		if b == False() {
			return b
		}
		changed = changed || a != b
		args = append(args, b)
	}
	if !changed {
		return Formula{n: n}
	}
	return And(args...)
}

package logic

import "slices"

// fewCases is how many cases are looked at one by one. Beyond that a SAT solver
// is asked, which learns from what it has seen but takes longer to set up than
// most questions to answer.
const fewCases = 64

// split decides what is assumed case by case: one arm of the shortest
// disjunction after the other, with all that follows from it. done is false when
// there are more cases than that.
func (s *solver) split(cases *int) (m Model, v verdict, done bool) {
	if !s.reduce() {
		return nil, no(), true
	}
	m, v = s.check(s.units)
	if v.status == Unsatisfiable || len(s.open) == 0 {
		return m, v, true
	}
	shortest := 0
	for i, f := range s.open {
		if len(f.n.args) < len(s.open[shortest].n.args) {
			shortest = i
		}
	}
	arms := s.open[shortest].n.args
	if *cases -= len(arms); *cases < 0 {
		return nil, verdict{}, false
	}
	s.open = slices.Delete(slices.Clone(s.open), shortest, shortest+1)
	before, out := s.state, no()
	for _, arm := range arms {
		s.restore(before)
		if !s.assume(Not(arm)) {
			continue
		}
		m, v, done = s.split(cases)
		switch {
		case !done || v.status == Satisfiable:
			return m, v, done
		case v.status == Unknown:
			out = v
		}
	}
	return nil, out, true
}

// restore assumes no more than before did. Atoms that were met since are open.
func (s *solver) restore(before state) {
	s.state = before.clone()
	s.value = append(s.value, make([]int8, len(s.atoms)-len(s.value))...)
}

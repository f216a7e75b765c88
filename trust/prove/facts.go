package prove

import (
	"strconv"

	"cambio/trust"
	"cambio/trust/logic"
)

// Answer is the answer to a question that may be outside the fragment. The zero
// value says nothing.
type Answer string

// The answers.
const (
	Unsure Answer = ""
	Yes    Answer = "yes"
	No     Answer = "no"
)

// Fact is what is true of one line of match or one condition of a trust.
type Fact struct {
	// Never is whether no token and request at all makes it true.
	Never Answer
	// Always is whether every token and request makes it true, so that it can be
	// left out. An access to a claim that may be missing is an error, and so not
	// true.
	Always Answer
	// Implied is whether it is true wherever the rest of the trust holds.
	Implied Answer
	// Against is whether it is never true where the rest of the trust holds.
	Against Answer
}

// Facts are those of one trust. Expiry is left out: a document that ends is no
// contradiction.
type Facts struct {
	Match []Fact // as Trust.Match
	When  []Fact // as Trust.When
	// Never is whether no token, request and instant meets all lines at once.
	Never Answer
}

// Facts decides what can be said of each line of a trust. A condition that reads
// the grant counts as true when it is so for one of the grants, and as always
// true when it is so for all.
func (pr *Prover) Facts(t trust.Trust) Facts {
	var out Facts
	free := pr.newState(t.Provider)
	for _, line := range t.Match {
		f := free.line(line)
		out.Match = append(out.Match, Fact{Never: free.never(f), Always: free.never(logic.Not(f))})
	}
	for i, c := range t.When {
		f := Fact{Never: Yes, Always: Yes}
		for _, x := range free.every(t) {
			v := x.truth(c, t.File)
			f.Never = both(f.Never, free.never(v.yes))
			f.Always = both(f.Always, free.never(logic.Not(v.yes)))
			if !c.PerGrant {
				break
			}
		}
		out.When = append(out.When, f)
		pr.among(t, i, &out.When[i])
	}
	for i := range t.Match {
		pr.amongLines(t, i, &out.Match[i])
	}
	s := pr.of(t)
	out.Never = Yes
	standing := s.standing(withoutEnd(t))
	for _, x := range s.every(t) {
		out.Never = both(out.Never, s.never(logic.And(standing, x.fits(t))))
	}
	return out
}

// among fills in what the rest of the trust says about a condition.
func (pr *Prover) among(t trust.Trust, i int, f *Fact) {
	rest := withoutEnd(t)
	rest.When = append(append([]trust.Condition(nil), t.When[:i]...), t.When[i+1:]...)
	s := pr.of(t)
	standing := s.standing(rest)
	f.Implied, f.Against = Yes, Yes
	for _, x := range s.every(t) {
		holds, v := logic.And(standing, x.fits(rest)), x.truth(t.When[i], t.File)
		f.Implied = both(f.Implied, s.never(logic.And(holds, logic.Not(v.yes))))
		f.Against = both(f.Against, s.never(logic.And(holds, v.yes)))
	}
	if s.never(standing) == Yes {
		f.Implied, f.Against = Unsure, Unsure // the rest says everything of itself
	}
}

func (pr *Prover) amongLines(t trust.Trust, i int, f *Fact) {
	rest := withoutEnd(t)
	rest.Match = append(append([]trust.MatchLine(nil), t.Match[:i]...), t.Match[i+1:]...)
	s := pr.of(rest)
	standing, line := s.standing(rest), s.line(t.Match[i])
	f.Implied, f.Against = Yes, Yes
	for _, x := range s.every(t) {
		holds := logic.And(standing, x.fits(rest))
		f.Implied = both(f.Implied, s.never(logic.And(holds, logic.Not(line))))
		f.Against = both(f.Against, s.never(logic.And(holds, line)))
	}
	if s.never(standing) == Yes {
		f.Implied, f.Against = Unsure, Unsure
	}
}

// every is an exchange for each of the grants, with any lifetime.
func (s *state) every(t trust.Trust) []*exchange {
	out := make([]*exchange, len(t.Grants))
	for i, g := range t.Grants {
		out[i] = s.exchange(strconv.Itoa(i), g, 0)
	}
	return out
}

// never is whether nothing makes f true. What is outside the fragment may be
// anything, so that an example that rests on it proves nothing.
func (s *state) never(f logic.Formula) Answer {
	model, status, _ := s.solve(f)
	switch {
	case status == logic.Unsatisfiable:
		return Yes
	case status == logic.Satisfiable && len(s.blame(model)) == 0:
		return No
	}
	return Unsure
}

// both is yes where both are, and no where one is.
func both(a, b Answer) Answer {
	switch {
	case a == No || b == No:
		return No
	case a == Yes && b == Yes:
		return Yes
	}
	return Unsure
}

func withoutEnd(t trust.Trust) trust.Trust {
	t.Expires = trust.Trust{}.Expires
	return t
}

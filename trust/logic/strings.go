package logic

import (
	"slices"
)

// stringClass is a set of string variables that are equal.
type stringClass struct {
	constraints []constraint
	others      []int // the classes that it must differ from
	words       []string
	cut         bool // there may be more words
}

// colourings is how many ways to choose different words are tried.
const colourings = 100_000

// strings decides words, equality and difference of string variables.
func (s *solver) strings(g []literal, m Model) verdict {
	of, n := merge(g)
	classes := make([]stringClass, n)
	for _, l := range g {
		i := of[l.x]
		switch {
		case l.relation == inLanguage:
			classes[i].constraints = append(classes[i].constraints, constraint{l.lang.e, l.want})
		case !l.want:
			j := of[l.y]
			if i == j {
				return no()
			}
			if !slices.Contains(classes[i].others, j) {
				classes[i].others = append(classes[i].others, j)
				classes[j].others = append(classes[j].others, i)
			}
		}
	}
	cut := false
	for i := range classes {
		c := &classes[i]
		var ok bool
		// With one word more than it has neighbours, a class always finds one.
		c.words, ok = words(c.constraints, len(c.others)+1, s.effort)
		c.cut = !ok
		cut = cut || c.cut
		if len(c.words) == 0 {
			if c.cut {
				return undecided("a string's automaton has too many states")
			}
			return no()
		}
	}
	chosen, tries := choose(classes)
	switch {
	case chosen == nil && tries >= colourings:
		return undecided("too many strings have to differ")
	case chosen == nil && cut:
		return undecided("a string's automaton has too many states")
	case chosen == nil:
		return no()
	}
	for x, i := range of {
		m[x] = chosen[i]
	}
	return yes()
}

// merge numbers the classes of variables that are equal.
func merge(g []literal) (of map[Var]int, n int) {
	parent := map[Var]Var{}
	var root func(Var) Var
	root = func(x Var) Var {
		if parent[x] != x {
			parent[x] = root(parent[x])
		}
		return parent[x]
	}
	for _, l := range g {
		for _, x := range []Var{l.x, l.y} {
			if _, ok := parent[x]; !ok && (x == l.x || l.binary) {
				parent[x] = x
			}
		}
		if l.binary && l.want {
			parent[root(l.x)] = root(l.y)
		}
	}
	of = make(map[Var]int, len(parent))
	number := map[Var]int{}
	for _, l := range g {
		for _, x := range []Var{l.x, l.y} {
			if _, ok := parent[x]; !ok {
				continue
			}
			r := root(x)
			if _, ok := number[r]; !ok {
				number[r] = len(number)
			}
			of[x] = number[r]
		}
	}
	return of, len(number)
}

// choose gives each class a word that its neighbours do not have, or nil. The
// classes with the fewest words are first.
func choose(classes []stringClass) (chosen []string, tries int) {
	order := make([]int, len(classes))
	for i := range order {
		order[i] = i
	}
	spare := func(i int) int { return len(classes[i].words) - len(classes[i].others) }
	slices.SortStableFunc(order, func(i, j int) int { return spare(i) - spare(j) })
	chosen = make([]string, len(classes))
	done := make([]bool, len(classes))
	var place func(int) bool
	place = func(at int) bool {
		if at == len(order) {
			return true
		}
		i := order[at]
		for _, w := range classes[i].words {
			if tries++; tries >= colourings {
				return false
			}
			if slices.ContainsFunc(classes[i].others, func(j int) bool { return done[j] && chosen[j] == w }) {
				continue
			}
			chosen[i], done[i] = w, true
			if place(at + 1) {
				return true
			}
			done[i] = false
		}
		return false
	}
	if !place(0) {
		return nil, tries
	}
	return chosen, tries
}

package logic

import (
	"slices"

	"github.com/go-air/gini"
	"github.com/go-air/gini/z"
)

// search looks for an assignment of the atoms that makes the open formulas true
// and that the theories accept: a SAT solver proposes, the theories refuse with
// a reason that is never proposed again.
type search struct {
	*solver
	sat  *gini.Gini
	vars []z.Lit         // by atom; 0: not in the clauses
	lits map[*node]z.Lit // true implies the conjunction
	nots map[*node]z.Lit // true implies its negation
	told map[int]bool    // the atoms that pinLemmas has spoken of
}

func (s *solver) search() (Model, verdict) {
	q := &search{solver: s, sat: gini.New(), lits: map[*node]z.Lit{}, nots: map[*node]z.Lit{}, told: map[int]bool{}}
	for _, f := range s.open {
		q.clause(q.encode(f))
	}
	if s.mixed != "" {
		return nil, undecided("")
	}
	q.oneOfLemmas()
	q.orderLemmas()
	var doubt string
	for range s.limits.Rounds {
		if q.sat.Solve() != 1 {
			if doubt != "" {
				return nil, undecided(doubt)
			}
			return nil, no()
		}
		if q.effort.spent() {
			return nil, undecided(tooMuch)
		}
		chosen := q.implicant()
		refused := false
		for _, g := range groups(chosen) {
			switch r := q.decide(g); r.status { //nolint:exhaustive // what is satisfiable is kept
			case Unsatisfiable:
				q.forbid(q.core(g))
				refused = true
			case Unknown:
				doubt = r.why
				q.forbid(g)
				refused = true
			}
		}
		if !refused {
			return q.check(chosen)
		}
	}
	return nil, undecided("too many assignments to look at")
}

func (q *search) clause(ls ...z.Lit) {
	for _, l := range ls {
		q.sat.Add(l)
	}
	q.sat.Add(z.LitNull)
}

// lit is the SAT variable of an atom; what must hold of the atom, does.
func (q *search) lit(id int) z.Lit {
	for id >= len(q.vars) {
		q.vars = append(q.vars, z.LitNull)
	}
	if q.vars[id] == z.LitNull {
		q.vars[id] = q.sat.Lit()
		switch q.value[id] {
		case 1:
			q.clause(q.vars[id])
		case -1:
			q.clause(q.vars[id].Not())
		}
	}
	return q.vars[id]
}

func (q *search) of(l literal) z.Lit {
	if l.want {
		return q.lit(l.id)
	}
	return q.lit(l.id).Not()
}

// encode returns a literal that implies f. One direction is enough: f stands in
// conjunctions and disjunctions of itself and atoms only.
func (q *search) encode(f Formula) z.Lit {
	if f.n.atom != nil {
		l := q.lit(q.intern(f.n))
		if f.neg {
			return l.Not()
		}
		return l
	}
	memo := q.lits
	if f.neg {
		memo = q.nots
	}
	if l, ok := memo[f.n]; ok {
		return l
	}
	l := q.sat.Lit()
	memo[f.n] = l
	parts := make([]z.Lit, len(f.n.args), len(f.n.args)+1)
	for i, a := range f.n.args {
		if f.neg {
			a = Not(a)
		}
		parts[i] = q.encode(a)
	}
	if f.neg {
		q.clause(append(parts, l.Not())...)
		return l
	}
	for _, p := range parts {
		q.clause(l.Not(), p)
	}
	return l
}

// implicant returns the literals that make the formula true in the solver's
// assignment: what holds by another one's merit need not be asked about.
func (q *search) implicant() []literal {
	out := slices.Clone(q.units)
	added := make([]int8, len(q.atoms))
	for _, u := range out {
		added[u.id] = 1
	}
	truth := map[*node]bool{}
	done := map[*node]bool{}
	var holds func(Formula) bool
	holds = func(f Formula) bool {
		if f.n.atom != nil {
			return q.sat.Value(q.lit(q.ids[f.n])) != f.neg
		}
		value, ok := truth[f.n]
		if !ok {
			value = !slices.ContainsFunc(f.n.args, func(a Formula) bool { return !holds(a) })
			truth[f.n] = value
		}
		return value != f.neg
	}
	var take func(Formula)
	take = func(f Formula) {
		switch {
		case f.n.atom != nil:
			id := q.ids[f.n]
			if added[id] == 0 {
				added[id] = 1
				out = append(out, literal{atom: q.atoms[id], id: id, want: !f.neg})
			}
		case done[f.n]:
		case f.neg:
			done[f.n] = true
			i := slices.IndexFunc(f.n.args, func(a Formula) bool { return !holds(a) })
			take(Not(f.n.args[i]))
		default:
			done[f.n] = true
			for _, a := range f.n.args {
				take(a)
			}
		}
	}
	for _, f := range q.open {
		take(f)
	}
	return out
}

// forbid excludes literals that cannot hold together.
func (q *search) forbid(g []literal) {
	c := make([]z.Lit, len(g))
	for i, l := range g {
		c[i] = q.of(l).Not()
	}
	q.clause(c...)
	for _, l := range g {
		q.pinLemmas(l)
	}
}

// pinLemmas tells the solver whether a string is in a language for each one
// value that it may have, rather than for one after the other.
func (q *search) pinLemmas(l literal) {
	if l.relation != inLanguage || l.pins() || q.told[l.id] {
		return
	}
	q.told[l.id] = true
	for id, a := range q.atoms {
		if a.x != l.x || a.relation != inLanguage {
			continue
		}
		if text, ok := a.lang.only(); ok {
			q.clause(q.lit(id).Not(), q.of(literal{l.atom, l.id, l.lang.e.contains(text)}))
		}
	}
}

// pins reports that the atom leaves its variable one value, and that no atom of
// another key leaves it the same one.
func (a *atom) pins() bool {
	switch a.relation { //nolint:exhaustive // no other atom leaves its variable one value
	case inLanguage:
		_, ok := a.lang.only()
		return ok
	case addressIs, isValue:
		return true
	}
	return false
}

// oneOfLemmas tells the solver that a variable has one value: of atoms that say
// which, one holds at most. A ladder says so in as many clauses as there are
// atoms; a thousand comparisons of one variable have half a million pairs.
func (q *search) oneOfLemmas() {
	rung := map[Var]z.Lit{} // true if an atom up to here holds
	for id, a := range q.atoms {
		if !a.pins() {
			continue
		}
		l, up := q.lit(id), q.sat.Lit()
		q.clause(l.Not(), up)
		if below, ok := rung[a.x]; ok {
			q.clause(below.Not(), up)
			q.clause(below.Not(), l.Not())
		}
		rung[a.x] = up
	}
}

// orderLemmas tells the solver that what is at most one number is at most the
// next one too.
func (q *search) orderLemmas() {
	byVars := map[[2]Var][]int{}
	var pairs [][2]Var // in a fixed order, so that the answer is always the same
	for id, a := range q.atoms {
		if a.relation == difference {
			pair := [2]Var{a.x, a.y}
			if byVars[pair] == nil {
				pairs = append(pairs, pair)
			}
			byVars[pair] = append(byVars[pair], id)
		}
	}
	for _, pair := range pairs {
		ids := byVars[pair]
		slices.SortFunc(ids, func(i, j int) int {
			if q.atoms[i].n < q.atoms[j].n {
				return -1
			}
			return b2i(q.atoms[i].n > q.atoms[j].n)
		})
		for i := 1; i < len(ids); i++ {
			q.clause(q.lit(ids[i-1]).Not(), q.lit(ids[i]))
		}
	}
}

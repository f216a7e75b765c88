package logic

import (
	"maps"
	"slices"
)

// Model gives values to the variables that a formula's truth hangs on; every
// other variable may have any value. By kind: bool, string, int64 (instants in
// nanoseconds since 1970 too), float64, netip.Addr (the zero one is an unknown
// address), []string, and for single values string, int64, bool or float64.
type Model map[Var]any

// Status is the answer to a question.
type Status int

// The answers. The zero value claims nothing.
const (
	Unknown       Status = iota // not decided, for the reason given
	Unsatisfiable               // no values make the formula true
	Satisfiable                 // the model makes it true
)

// Limits bound the work of one question; past them the answer is Unknown. A
// zero limit is its default.
type Limits struct {
	Rounds int    // assignments of the atoms that are looked at; default 10,000
	States int    // states of one product of automata; default 20,000
	Cache  *Cache // what several questions share; nil shares nothing
}

const (
	defaultRounds = 10_000
	defaultStates = 20_000
	// maxEffort is how many steps of automata and days of clocks one question may
	// take, at about 100 ns each: assignments and states that are within their own
	// bounds multiply to hours.
	maxEffort = 4_000_000
)

// effort is what one question may still take.
type effort struct{ states, left int }

func (e *effort) spent() bool { return e.left < 0 }

const tooMuch = "the question takes too long"

// Solve decides f. With Satisfiable comes a model; the text says why the status
// is Unknown. The same question has the same answer, whatever was asked before.
func Solve(f Formula, limits Limits) (Model, Status, string) {
	if value, ok := f.Const(); ok {
		if value {
			return Model{}, Satisfiable, ""
		}
		return nil, Unsatisfiable, ""
	}
	return newSolver(limits).solve(f)
}

func newSolver(limits Limits) *solver {
	if limits.Rounds <= 0 {
		limits.Rounds = defaultRounds
	}
	if limits.States <= 0 {
		limits.States = defaultStates
	}
	if limits.Cache == nil {
		limits.Cache = &Cache{}
	}
	return &solver{
		limits: limits,
		effort: &effort{states: limits.States, left: maxEffort},
		ids:    map[*node]int{},
		byKey:  map[string]int{},
		kinds:  map[Var]kind{},
		memo:   map[string]*result{},
		state:  state{pins: map[Var]any{}},
	}
}

// solver answers one question.
type solver struct {
	state
	limits Limits
	effort *effort
	ids    map[*node]int // of atoms
	byKey  map[string]int
	atoms  []*atom
	kinds  map[Var]kind
	memo   map[string]*result
	mixed  Var // a variable of two kinds
}

// state is what is assumed.
type state struct {
	value []int8      // by atom: 1 must hold, -1 must not, 0 open
	pins  map[Var]any // the one value that a variable can have
	units []literal   // what must hold
	open  []Formula   // the disjunctions of which each must hold
}

func (s state) clone() state {
	return state{slices.Clone(s.value), maps.Clone(s.pins), slices.Clone(s.units), slices.Clone(s.open)}
}

// literal is an atom that holds, or does not.
type literal struct {
	*atom
	id   int
	want bool
}

func (s *solver) solve(f Formula) (Model, Status, string) {
	if !s.assume(f) || !s.reduce() {
		return s.answer(nil, no())
	}
	if cases := fewCases; len(s.open) <= fewCases/4 {
		before := s.state.clone()
		if m, v, done := s.split(&cases); done {
			return s.answer(m, v)
		}
		s.restore(before)
	}
	return s.answer(s.search())
}

func (s *solver) answer(m Model, v verdict) (Model, Status, string) {
	switch {
	case s.mixed != "":
		return nil, Unknown, "the variable " + string(s.mixed) + " has values of two kinds"
	case v.status != Satisfiable:
		m = nil
	}
	return m, v.status, v.why
}

// intern numbers an atom; equal ones have one number.
func (s *solver) intern(n *node) int {
	if id, ok := s.ids[n]; ok {
		return id
	}
	id, ok := s.byKey[n.atom.key]
	if !ok {
		id = len(s.atoms)
		s.byKey[n.atom.key] = id
		s.atoms = append(s.atoms, n.atom)
		s.value = append(s.value, 0)
		s.declare(n.atom.x, n.atom.relation.kind())
		if n.atom.binary {
			s.declare(n.atom.y, n.atom.relation.kind())
		}
	}
	s.ids[n] = id
	return id
}

func (s *solver) declare(x Var, k kind) {
	if before, ok := s.kinds[x]; ok && before != k {
		s.mixed = x
	}
	s.kinds[x] = k
}

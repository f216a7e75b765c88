package logic

import (
	"encoding/binary"
	"maps"
	"slices"
)

// verdict is what a theory says of some literals.
type verdict struct {
	status Status
	why    string // of Unknown
}

func undecided(why string) verdict { return verdict{Unknown, why} }

func yes() verdict { return verdict{status: Satisfiable} }

func no() verdict { return verdict{status: Unsatisfiable} }

// result is a verdict on a group of literals that share variables.
type result struct {
	verdict
	model Model
}

// check decides a conjunction of literals.
func (s *solver) check(ls []literal) (Model, verdict) {
	m := Model{}
	out := yes()
	for _, g := range groups(ls) {
		r := s.decide(g)
		switch r.status { //nolint:exhaustive // what is satisfiable is kept
		case Unsatisfiable:
			return nil, no()
		case Unknown:
			out = r.verdict
		default:
			maps.Copy(m, r.model)
		}
	}
	if out.status != Satisfiable {
		return nil, out
	}
	return m, yes()
}

// groups splits literals into those that have no variable in common, in the
// order of their first.
func groups(ls []literal) [][]literal {
	parent := make(map[Var]Var, len(ls))
	var root func(Var) Var
	root = func(x Var) Var {
		p, ok := parent[x]
		if !ok || p == x {
			return x
		}
		p = root(p)
		parent[x] = p
		return p
	}
	for _, l := range ls {
		if l.binary {
			parent[root(l.x)] = root(l.y)
		}
	}
	at := make(map[Var]int, len(ls))
	var out [][]literal
	for _, l := range ls {
		r := root(l.x)
		i, ok := at[r]
		if !ok {
			i = len(out)
			at[r] = i
			out = append(out, nil)
		}
		out[i] = append(out[i], l)
	}
	return out
}

// decide asks the theory of a group, once.
func (s *solver) decide(g []literal) *result {
	key := groupKey(g)
	if r, ok := s.memo[key]; ok {
		return r
	}
	if s.effort.spent() {
		return &result{verdict: undecided(tooMuch)}
	}
	r := &result{model: Model{}}
	switch g[0].relation.kind() {
	case boolKind:
		r.verdict = booleans(g, r.model)
	case stringKind:
		r.verdict = s.strings(g, r.model)
	case intKind:
		r.verdict = s.integers(g, r.model)
	case realKind:
		r.verdict = reals(g, r.model)
	case addressKind:
		r.verdict = addresses(g, r.model)
	case listKind:
		r.verdict = s.lists(g, r.model)
	case dynKind:
		r.verdict = values(g, r.model)
	}
	s.memo[key] = r
	return r
}

func groupKey(g []literal) string {
	key := make([]byte, 0, 4*len(g))
	for _, l := range g {
		key = binary.AppendUvarint(key, l.code())
	}
	return string(key)
}

func (l literal) code() uint64 {
	return uint64(l.id)<<1 | uint64(b2i(l.want)) //nolint:gosec // an index
}

// core takes from an unsatisfiable group what it does not need to be so: large
// parts first, then one by one.
func (s *solver) core(g []literal) []literal {
	if small := pinned(g); small != nil {
		return small
	}
	for size := max(len(g)/2, 1); ; size /= 2 {
		for i := 0; i < len(g); {
			less := slices.Concat(g[:i], g[min(i+size, len(g)):])
			if s.refuted(less) {
				g = less
			} else {
				i += size
			}
		}
		if size == 1 {
			return g
		}
	}
}

// refuted reports that some group of ls is unsatisfiable.
func (s *solver) refuted(ls []literal) bool {
	return slices.ContainsFunc(groups(ls), func(g []literal) bool { return s.decide(g).status == Unsatisfiable })
}

// pinned finds the usual contradiction: a string has one value, which another
// literal does not allow.
func pinned(g []literal) []literal {
	for _, l := range g {
		if l.relation != inLanguage || !l.want {
			continue
		}
		text, ok := l.lang.only()
		if !ok {
			continue
		}
		for _, other := range g {
			if other.relation == inLanguage && other.x == l.x && other.lang.e.contains(text) != other.want {
				return []literal{l, other}
			}
		}
	}
	return nil
}

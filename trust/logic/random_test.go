package logic_test

import (
	"encoding/binary"
	"fmt"
	"maps"
	"net/netip"
	"reflect"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"
	"unicode/utf8"

	"cambio/trust/logic"
)

// claim is a formula beside what it means, in a language that shares nothing
// with the solver: a Go function of the values.
type claim struct {
	f     formula
	holds func(model) bool
}

func bare(f formula, holds func(model) bool) claim { return claim{f, holds} }

// wordset is a language beside what it means.
type wordset struct {
	l   logic.Language
	has func(string) bool
}

// world is some variables and all values that they may have here.
type world struct {
	rng    *dice
	names  []logic.Var
	values map[logic.Var][]any
	bounds []formula // that say so
}

// letters are those that the words of the world are made of.
const letters = "aB/"

func allWords(n int) []any {
	words := []any{""}
	for from := 0; n > 0; n-- {
		to := len(words)
		for _, w := range words[from:to] {
			for _, c := range letters {
				words = append(words, w.(string)+string(c))
			}
		}
		from = to
	}
	return words
}

// dice give the same numbers for the same seed (SplitMix64).
type dice struct{ state uint64 }

func (d *dice) IntN(n int) int {
	d.state += 0x9e3779b97f4a7c15
	z := d.state
	z = (z ^ z>>30) * 0xbf58476d1ce4e5b9
	z = (z ^ z>>27) * 0x94d049bb133111eb
	return int((z ^ z>>31) % uint64(n))
}

func pick[T any](r *dice, xs ...T) T { return xs[r.IntN(len(xs))] }

// add brings a variable into the world.
func (w *world) add(t *testing.T, x logic.Var) {
	t.Helper()
	if w.values[x] != nil {
		return
	}
	var values []any
	var bound formula
	switch x[0] {
	case 'b':
		values, bound = []any{true, false}, logic.True()
	case 's':
		values, bound = allWords(2), in(x, regexpOf(t, "[aB/]{0,2}"))
	case 'i':
		for i := int64(-2); i <= 2; i++ {
			values = append(values, i)
		}
		bound = and(logic.AtMost(x, 2), not(logic.AtMost(x, -3)))
	case 't':
		for h := range int64(30) {
			values = append(values, h*int64(time.Hour))
		}
		bound = and(not(logic.AtMost(x, -1)), logic.AtMost(x, 30*int64(time.Hour)-1))
	case 'r':
		values, bound = []any{-1.0, 0.0, 0.5, 1.0, 1.5, 2.0, 3.0}, logic.True()
	case 'p':
		values, bound = []any{netip.Addr{}, netip.MustParseAddr("2001:db8::1"), netip.MustParseAddr("192.0.2.1")}, logic.True()
		for a := netip.MustParseAddr("10.0.0.0"); len(values) < 12; a = a.Next() {
			values = append(values, a)
		}
	case 'l':
		values = []any{[]string{}}
		items := []string{"a", "B", "ab"}
		for from, n := 0, 0; n < 3; n++ {
			to := len(values)
			for _, v := range values[from:to] {
				for _, i := range items {
					values = append(values, append(slices.Clone(v.([]string)), i))
				}
			}
			from = to
		}
		bound = and(not(logic.Some(x, logic.Complement(logic.Texts(items...)))), logic.SizeAtMost(x, 3))
	case 'd':
		values, bound = []any{"a", "b", int64(1), 1.0, true, false, "other"}, logic.True()
	}
	w.names = append(w.names, x)
	w.values[x] = values
	w.bounds = append(w.bounds, bound)
}

func (w *world) language(t *testing.T, depth int) wordset {
	t.Helper()
	r := w.rng
	word := func() string { return pick(r, allWords(2)...).(string) }
	a, b := word(), word()
	if depth > 0 && r.IntN(3) == 0 {
		x, y := w.language(t, depth-1), w.language(t, depth-1)
		switch r.IntN(5) {
		case 0:
			return wordset{logic.Union(x.l, y.l), func(s string) bool { return x.has(s) || y.has(s) }}
		case 1:
			return wordset{logic.Intersect(x.l, y.l), func(s string) bool { return x.has(s) && y.has(s) }}
		case 2:
			return wordset{logic.Complement(x.l), func(s string) bool { return !x.has(s) }}
		case 3:
			return wordset{logic.MapASCII(x.l, true), func(s string) bool { return x.has(mapASCII(s, true)) }}
		case 4:
			return wordset{logic.MapASCII(x.l, false), func(s string) bool { return x.has(mapASCII(s, false)) }}
		}
	}
	switch r.IntN(8) {
	case 0:
		return wordset{logic.Text(a), func(s string) bool { return s == a }}
	case 1:
		return wordset{logic.Texts(a, b), func(s string) bool { return s == a || s == b }}
	case 2:
		return wordset{logic.Prefix(a), func(s string) bool { return strings.HasPrefix(s, a) }}
	case 3:
		return wordset{logic.Suffix(a), func(s string) bool { return strings.HasSuffix(s, a) }}
	case 4:
		return wordset{logic.Containing(a), func(s string) bool { return strings.Contains(s, a) }}
	case 5:
		g := a + "*" + b
		return wordset{logic.Glob(g), func(s string) bool { return globs(g, s) }}
	case 6:
		p := pick(r, `a|B`, `[^a]*`, `(?i)b.?`, `a?/?`, `(aB)*`, `.*\b.*`, `a+|/+`, `(?i)ab*`)
		re := regexp.MustCompile(`^(?:` + p + `)$`)
		return wordset{regexpOf(t, p), re.MatchString}
	}
	lo, hi := r.IntN(3), r.IntN(4)
	return wordset{logic.Lengths(lo, hi), func(s string) bool { n := utf8.RuneCountInString(s); return lo <= n && n <= hi }}
}

// atom is a random one, over variables of the given kinds.
func (w *world) atom(t *testing.T, kinds string) claim {
	t.Helper()
	r := w.rng
	name := func(kind byte) logic.Var {
		x := logic.Var(fmt.Sprintf("%c%d", kind, r.IntN(2)))
		w.add(t, x)
		return x
	}
	kind := kinds[r.IntN(len(kinds))]
	x, y := name(kind), logic.Var("")
	switch kind {
	case 'b':
		return bare(logic.Bool(x), func(m model) bool { return m[x].(bool) })
	case 's':
		if r.IntN(4) == 0 {
			y = name(kind)
			return bare(logic.Same(x, y), func(m model) bool { return m[x] == m[y] })
		}
		l := w.language(t, 2)
		return bare(in(x, l.l), func(m model) bool { return l.has(m[x].(string)) })
	case 'i':
		c := int64(r.IntN(7) - 3)
		switch r.IntN(3) {
		case 0:
			y = name(kind)
			return bare(logic.Difference(x, y, c), func(m model) bool { return m[x].(int64)-m[y].(int64) <= c })
		case 1:
			return bare(logic.Equals(x, c), func(m model) bool { return m[x].(int64) == c })
		}
		return bare(logic.AtMost(x, c), func(m model) bool { return m[x].(int64) <= c })
	case 't':
		h := int64(r.IntN(32))
		if r.IntN(2) == 0 {
			return bare(logic.AtMost(x, h*int64(time.Hour)-1), func(m model) bool { return m[x].(int64) < h*int64(time.Hour) })
		}
		a := int(h % 24)
		holds := func(at time.Time) bool { return at.Hour() >= a && at.Hour() < a+6 }
		return bare(logic.Clock(x, fmt.Sprint(a), holds, logic.Step{Every: time.Hour}),
			func(m model) bool { return holds(time.Unix(0, m[x].(int64)).UTC()) })
	case 'r':
		c := float64(r.IntN(3))
		switch r.IntN(3) {
		case 0:
			return bare(logic.EqualsReal(x, c), func(m model) bool { return m[x].(float64) == c })
		case 1:
			return bare(logic.Below(x, c, true), func(m model) bool { return m[x].(float64) <= c })
		}
		return bare(logic.Below(x, c, false), func(m model) bool { return m[x].(float64) < c })
	case 'p':
		switch r.IntN(4) {
		case 0:
			return bare(logic.AddressKnown(x), func(m model) bool { return m[x].(netip.Addr).IsValid() })
		case 1:
			a := netip.AddrFrom4([4]byte{10, 0, 0, byte(r.IntN(9))})
			return bare(logic.AddressIs(x, a), func(m model) bool { return m[x].(netip.Addr) == a })
		}
		ps := []netip.Prefix{netip.PrefixFrom(netip.AddrFrom4([4]byte{10, 0, 0, byte(r.IntN(8))}), 29+r.IntN(4)), pick(r, prefixes("2001:db8::/32", "192.0.2.0/24", "10.0.0.4/31")...)}
		return bare(logic.InNetworks(x, ps), func(m model) bool {
			return slices.ContainsFunc(ps, func(p netip.Prefix) bool { return p.Contains(m[x].(netip.Addr)) })
		})
	case 'l':
		if r.IntN(3) == 0 {
			n := int64(r.IntN(5) - 1)
			return bare(logic.SizeAtMost(x, n), func(m model) bool { return int64(len(m[x].([]string))) <= n })
		}
		l := w.language(t, 1)
		return bare(logic.Some(x, l.l), func(m model) bool { return slices.ContainsFunc(m[x].([]string), l.has) })
	}
	v := pick[any](r, "a", "b", int64(1), 1.0, true, false)
	return bare(logic.Is(x, v), func(m model) bool { return m[x] == v })
}

func (w *world) claim(t *testing.T, kinds string, depth int) claim {
	t.Helper()
	r := w.rng
	if depth == 0 || r.IntN(6) == 0 {
		return w.atom(t, kinds)
	}
	a, b := w.claim(t, kinds, depth-1), w.claim(t, kinds, depth-1)
	switch r.IntN(7) {
	case 0, 1:
		return bare(or(a.f, b.f), func(m model) bool { return a.holds(m) || b.holds(m) })
	case 2, 3:
		return bare(and(a.f, b.f), func(m model) bool { return a.holds(m) && b.holds(m) })
	case 4:
		return bare(logic.Implies(a.f, b.f), func(m model) bool { return !a.holds(m) || b.holds(m) })
	case 5:
		return bare(and(logic.Implies(a.f, b.f), logic.Implies(b.f, a.f)), func(m model) bool { return a.holds(m) == b.holds(m) })
	}
	c := w.atom(t, kinds)
	return bare(logic.If(c.f, a.f, not(b.f)), func(m model) bool {
		if c.holds(m) {
			return a.holds(m)
		}
		return !b.holds(m)
	})
}

// all calls see with every assignment of values until it has seen enough.
func (w *world) all(m model, at int, see func(model) bool) bool {
	if at == len(w.names) {
		return see(m)
	}
	for _, v := range w.values[w.names[at]] {
		m[w.names[at]] = v
		if w.all(m, at+1, see) {
			return true
		}
	}
	return false
}

// themes are kinds of variables that stand together in one formula, few enough
// that all values can be tried.
func themes() []string {
	return []string{"s", "i", "t", "p", "l", "r", "d", "sb", "ib", "bdr", "pb", "bl", "sr", "id"}
}

// decide compares both ways to decide a random formula with trying everything.
func decide(t *testing.T, seed uint64) logic.Status {
	t.Helper()
	w := &world{rng: &dice{seed}, values: map[logic.Var][]any{}}
	kinds := pick(w.rng, themes()...)
	depth := 1 + w.rng.IntN(4)
	c := w.claim(t, kinds, depth)
	for range w.rng.IntN(4) { // more conditions, so that about half are contradictions
		a, b := c, w.claim(t, kinds, 1)
		c = bare(and(a.f, b.f), func(m model) bool { return a.holds(m) && b.holds(m) })
	}
	want := logic.Unsatisfiable
	if w.all(model{}, 0, c.holds) {
		want = logic.Satisfiable
	}
	f := and(c.f, and(w.bounds...))
	for name, decide := range map[string]func(formula) (model, logic.Status, string){
		"Solve":  func(f formula) (model, logic.Status, string) { return logic.Solve(f, logic.Limits{}) },
		"search": logic.Search,
	} {
		m, status, why := decide(f)
		if status != want {
			t.Errorf("seed %d, %s: status %d %s with %v, want %d", seed, name, status, why, m, want)
			continue
		}
		if again, _, _ := decide(f); !reflect.DeepEqual(m, again) {
			t.Errorf("seed %d, %s: once %v, once %v", seed, name, m, again)
		}
		if status != logic.Satisfiable {
			continue
		}
		if !and(w.bounds...).Holds(m) {
			t.Errorf("seed %d, %s: the model %v is not of this world", seed, name, m)
		}
		// What the model lacks may be anything.
		for range 4 {
			whole := maps.Clone(m)
			for _, x := range w.names {
				if _, ok := m[x]; !ok {
					whole[x] = pick(w.rng, w.values[x]...)
				}
			}
			if !c.holds(whole) {
				t.Errorf("seed %d, %s: %v does not hold", seed, name, whole)
			}
		}
	}
	return want
}

func TestRandom(t *testing.T) {
	const cases = 1200
	count := map[logic.Status]int{}
	for seed := range uint64(cases) {
		count[decide(t, seed)]++
	}
	for _, s := range []logic.Status{logic.Satisfiable, logic.Unsatisfiable} {
		if count[s] < cases/5 {
			t.Errorf("only %d of %d cases have status %d", count[s], cases, s)
		}
	}
}

func FuzzSolve(f *testing.F) {
	f.Add([]byte("seed"))
	f.Fuzz(func(t *testing.T, b []byte) {
		decide(t, binary.LittleEndian.Uint64(append(b, make([]byte, 8)...)))
	})
}

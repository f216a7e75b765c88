package logic

import (
	"encoding/binary"
	"slices"
)

// product is the automaton of a conjunction of constraints.
type product struct {
	machines []machine
	byKey    map[string]int
	all      []check
	classes  [][]rune
}

// check is a constraint over the machines.
type check struct {
	kind    languageKind // unionOf, intersectionOf, or 0: the machine
	want    bool
	machine int
	parts   []check
}

func newProduct(cs []constraint, k int) *product {
	p := &product{byKey: map[string]int{}}
	letters := alphabet{single: map[rune]bool{}}
	for _, c := range cs {
		p.all = append(p.all, p.check(c.lang, c.want, &letters))
	}
	p.classes = letters.classes(k)
	return p
}

func (p *product) check(l *language, want bool, letters *alphabet) check {
	switch l.kind { //nolint:exhaustive // the rest is what follows
	case complementOf:
		return p.check(l.parts[0], !want, letters)
	case unionOf, intersectionOf:
		c := check{kind: l.kind, want: want}
		for _, part := range l.parts {
			c.parts = append(c.parts, p.check(part, true, letters))
		}
		return c
	}
	i, ok := p.byKey[l.key]
	if !ok {
		i = len(p.machines)
		p.byKey[l.key] = i
		p.machines = append(p.machines, newMachine(l))
		letters.add(l)
	}
	return check{want: want, machine: i}
}

// judge says whether the word that ends in state is accepted, and whether what
// follows can change that.
func (p *product) judge(c check, state []int32) standing {
	var s standing
	switch c.kind { //nolint:exhaustive // the rest is what follows
	case unionOf, intersectionOf:
		// The whole is settled at a part that settles it, or when all are.
		decisive := c.kind == unionOf
		s = standing{accepts: !decisive, settled: true}
		for _, part := range c.parts {
			one := p.judge(part, state)
			if one.accepts == decisive {
				if one.settled {
					return standing{accepts: decisive == c.want, settled: true}
				}
				s.accepts = decisive
			}
			s.settled = s.settled && one.settled
		}
	default:
		s = p.machines[c.machine].at(state[c.machine])
	}
	s.accepts = s.accepts == c.want
	return s
}

// visit is a word: that of the visit it came from, and a character.
type visit struct {
	state []int32
	from  int
	char  rune
	depth int
}

// search walks all words by length. k ways into one state are enough: whatever
// goes on from there goes on k times.
func (p *product) search(k int, e *effort) (found []string, ok bool) {
	start := make([]int32, len(p.machines))
	queue := []visit{{state: start, from: -1}}
	entered := map[string]int{}
	next := make([]int32, len(p.machines))
	var key []byte
	for i := 0; i < len(queue); i++ {
		e.left -= len(p.classes) * (len(p.machines) + len(p.all))
		if len(queue) > e.states || e.spent() {
			return found, false
		}
		v := queue[i]
		for _, class := range p.classes {
			for j, m := range p.machines {
				next[j] = m.step(v.state[j], class[0])
			}
			accepts, hopeless := true, false
			for _, c := range p.all {
				s := p.judge(c, next)
				accepts = accepts && s.accepts
				hopeless = hopeless || s.settled && !s.accepts
			}
			if hopeless {
				continue
			}
			key = stateKey(key[:0], next)
			n := entered[string(key)]
			for _, r := range class {
				if n == k {
					break
				}
				n++
				if accepts {
					found = append(found, spell(queue, visit{from: i, char: r, depth: v.depth + 1}))
					if len(found) == k {
						return found, true
					}
				}
				queue = append(queue, visit{state: slices.Clone(next), from: i, char: r, depth: v.depth + 1})
			}
			entered[string(key)] = n
		}
	}
	return found, true
}

func stateKey(key []byte, state []int32) []byte {
	for _, s := range state {
		key = binary.AppendUvarint(key, uint64(s)) //nolint:gosec // never negative
	}
	return key
}

func spell(queue []visit, v visit) string {
	runes := make([]rune, v.depth)
	for v.depth > 0 {
		runes[v.depth-1] = v.char
		v = queue[v.from]
	}
	return string(runes)
}

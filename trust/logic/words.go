package logic

import (
	"encoding/binary"
	"slices"
	"strings"
)

// constraint says of a string that it is a word of a language, or is not.
type constraint struct {
	lang *language
	want bool
}

func (c constraint) holds(s string) bool { return c.lang.contains(s) == c.want }

// flatten takes conjunctions apart and drops what says nothing; ok is false if
// nothing can satisfy it.
func flatten(cs []constraint) (out []constraint, ok bool) {
	for _, c := range cs {
		for c.lang != nil && c.lang.kind == complementOf {
			c = constraint{c.lang.parts[0], !c.want}
		}
		switch {
		case c.lang == nil:
			if c.want {
				return nil, false
			}
		case c.lang.kind == anyText:
			if !c.want {
				return nil, false
			}
		case c.lang.kind == intersectionOf && c.want, c.lang.kind == unionOf && !c.want:
			parts := make([]constraint, len(c.lang.parts))
			for i, p := range c.lang.parts {
				parts[i] = constraint{p, c.want}
			}
			inner, ok := flatten(parts)
			if !ok {
				return nil, false
			}
			out = append(out, inner...)
		default:
			out = append(out, c)
		}
	}
	return out, true
}

// words returns up to k strings that satisfy all of cs: readable and short ones,
// and the empty one last. Fewer than k are all there are. ok is false when that
// needs more states than the limit.
func words(cs []constraint, k, states int) (found []string, ok bool) {
	cs, possible := flatten(cs)
	if !possible {
		return nil, true
	}
	satisfied := func(s string) bool {
		return !slices.ContainsFunc(cs, func(c constraint) bool { return !c.holds(s) })
	}
	if texts := shortList(cs); texts != nil {
		for _, t := range texts {
			if len(found) < k && t != "" && satisfied(t) {
				found = append(found, t)
			}
		}
		if len(found) < k && slices.Contains(texts, "") && satisfied("") {
			found = append(found, "")
		}
		return found, true
	}
	if !fitEnds(cs) {
		return nil, true
	}
	if k == 1 { // most questions have an easy answer
		for _, s := range guesses(cs) {
			if s != "" && satisfied(s) {
				return []string{s}, true
			}
		}
	}
	p := newProduct(cs, k)
	found, ok = p.search(k, states)
	if len(found) < k && satisfied("") {
		found = append(found, "")
	}
	return found, ok || len(found) == k
}

// shortList returns the shortest list of texts that has to hold the string.
func shortList(cs []constraint) []string {
	var texts []string
	for _, c := range cs {
		if c.want && c.lang.kind == oneOf && c.lang.fold == asIs && (texts == nil || len(c.lang.texts) < len(texts)) {
			texts = c.lang.texts
		}
	}
	return texts
}

// fitEnds reports that what words must begin and end with does not contradict
// itself, nor what they must not: most contradictions need no automaton.
func fitEnds(cs []constraint) bool {
	var prefix, suffix string
	for _, c := range cs {
		if !c.want {
			continue
		}
		p, s := c.lang.ends()
		if !strings.HasPrefix(p, prefix) && !strings.HasPrefix(prefix, p) || !strings.HasSuffix(s, suffix) && !strings.HasSuffix(suffix, s) {
			return false
		}
		if len(p) > len(prefix) {
			prefix = p
		}
		if len(s) > len(suffix) {
			suffix = s
		}
	}
	for _, c := range cs {
		if c.want || c.lang.fold != asIs {
			continue
		}
		switch t := c.lang.text; c.lang.kind {
		case prefixed:
			if strings.HasPrefix(prefix, t) {
				return false
			}
		case suffixed:
			if strings.HasSuffix(suffix, t) {
				return false
			}
		case containing:
			if strings.Contains(prefix, t) || strings.Contains(suffix, t) {
				return false
			}
		}
	}
	return true
}

// ends are a text that every word of l begins with, and one that it ends with.
func (l *language) ends() (prefix, suffix string) {
	if l.fold != asIs {
		return "", ""
	}
	switch l.kind {
	case prefixed:
		return l.text, ""
	case suffixed:
		return "", l.text
	case globbed:
		return l.text[:strings.IndexByte(l.text, '*')], l.text[strings.LastIndexByte(l.text, '*')+1:]
	case matching:
		prefix, _ = l.program.compiled().Prefix()
	}
	return prefix, ""
}

// guesses are strings that are likely to do.
func guesses(cs []constraint) []string {
	var out []string
	var prefix, suffix, middle string
	for _, c := range cs {
		if !c.want {
			continue
		}
		switch c.lang.kind {
		case prefixed:
			if len(c.lang.text) > len(prefix) {
				prefix = c.lang.text
			}
		case suffixed:
			if len(c.lang.text) > len(suffix) {
				suffix = c.lang.text
			}
		case containing:
			middle += c.lang.text
		default:
			out = append(out, samples(c.lang)...)
		}
	}
	return append(out, prefix+"x"+middle+suffix, prefix+middle+suffix, "x", "y", "other")
}

// samples are some words of l, or what looks like them.
func samples(l *language) []string {
	switch l.kind {
	case oneOf:
		return l.texts[:min(len(l.texts), 4)]
	case prefixed:
		return []string{l.text + "x", l.text}
	case suffixed:
		return []string{"x" + l.text, l.text}
	case containing:
		return []string{"x" + l.text}
	case globbed:
		return []string{strings.ReplaceAll(l.text, "*", "x"), strings.ReplaceAll(l.text, "*", "")}
	case sized:
		return []string{strings.Repeat("x", min(max(l.least, 1), 1<<12))}
	case matching:
		if prefix, _ := l.ends(); prefix != "" {
			return []string{prefix, prefix + "x"}
		}
	case unionOf, intersectionOf:
		var out []string
		for _, p := range l.parts[:min(len(l.parts), 4)] {
			out = append(out, samples(p)...)
		}
		return out
	}
	return nil
}

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
	switch l.kind {
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
	switch c.kind {
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
func (p *product) search(k, states int) (found []string, ok bool) {
	start := make([]int32, len(p.machines))
	queue := []visit{{state: start, from: -1}}
	entered := map[string]int{}
	next := make([]int32, len(p.machines))
	var key []byte
	for i := 0; i < len(queue); i++ {
		if len(queue) > states {
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

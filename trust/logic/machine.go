package logic

import (
	"encoding/binary"
	"regexp/syntax"
	"slices"
	"sort"
	"strings"
	"sync"
	"unicode/utf8"
)

// machine walks the deterministic automaton of a language that is no
// combination. Its states come to be as they are reached; the first is 0. It is
// used by one goroutine.
type machine interface {
	step(state int32, r rune) int32
	at(state int32) standing
}

// standing is what is known of the words that go on from a state.
type standing struct {
	accepts bool // the word that ends here is one
	settled bool // and whatever follows, that stays so
}

func newMachine(l *language) machine {
	var m machine
	switch l.kind { //nolint:exhaustive // the rest is what follows
	case oneOf:
		m = &textMachine{texts: l.texts, states: []textState{{hi: len(l.texts)}}, index: map[textState]int32{}}
	case sized:
		m = sizeMachine{l}
	default:
		m = newProgramMachine(l.program.compiled())
	}
	if l.fold != asIs {
		return foldMachine{m, l.fold}
	}
	return m
}

// foldMachine maps each letter before the machine sees it.
type foldMachine struct {
	machine
	fold fold
}

func (m foldMachine) step(state int32, r rune) int32 { return m.machine.step(state, m.fold.rune(r)) }

// sizeMachine counts; one past the largest number that matters it stays.
type sizeMachine struct{ l *language }

func (m sizeMachine) step(state int32, _ rune) int32 {
	return min(state+1, int32(max(m.l.least, m.l.most+1))) //nolint:gosec // see Lengths
}

func (m sizeMachine) at(state int32) standing {
	n := int(state)
	switch {
	case m.l.most >= 0 && n > m.l.most:
		return standing{settled: true}
	case n < m.l.least:
		return standing{}
	}
	return standing{accepts: true, settled: m.l.most < 0}
}

// textMachine walks a sorted list of texts: a state is those of them that
// begin alike.
type textMachine struct {
	texts  []string
	states []textState
	index  map[textState]int32
}

type textState struct{ lo, hi, depth int }

func (m *textMachine) step(state int32, r rune) int32 {
	s := m.states[state]
	var b [utf8.UTFMax]byte
	next := string(b[:utf8.EncodeRune(b[:], r)])
	among := m.texts[s.lo:s.hi]
	lo := sort.Search(len(among), func(i int) bool { return among[i][s.depth:] >= next })
	n := sort.Search(len(among)-lo, func(i int) bool { return !strings.HasPrefix(among[lo+i][s.depth:], next) })
	to := textState{s.lo + lo, s.lo + lo + n, s.depth + len(next)}
	if n == 0 {
		to = textState{}
	}
	i, ok := m.index[to]
	if !ok {
		i = int32(len(m.states)) //nolint:gosec // bounded by the texts
		m.states = append(m.states, to)
		m.index[to] = i
	}
	return i
}

func (m *textMachine) at(state int32) standing {
	s := m.states[state]
	return standing{accepts: s.lo < s.hi && len(m.texts[s.lo]) == s.depth, settled: s.lo == s.hi}
}

// program is a pattern, compiled when it is needed.
type program struct {
	pattern string
	once    sync.Once
	prog    *syntax.Prog
}

func (p *program) compiled() *syntax.Prog {
	p.once.Do(func() {
		re, err := syntax.Parse(p.pattern, syntax.Perl)
		if err == nil {
			p.prog, err = syntax.Compile(re.Simplify())
		}
		if err != nil { // Regexp has read it, or it was made from quoted text
			p.prog = &syntax.Prog{Inst: []syntax.Inst{{Op: syntax.InstFail}}}
		}
	})
	return p.prog
}

// programMachine determinises a regular expression's program. A state is a set
// of instructions and, when the program looks around itself, what kind of
// character came before.
type programMachine struct {
	prog   *syntax.Prog
	looks  bool   // it has assertions such as \b
	loops  []bool // instructions from which everything is accepted
	states []programState
	index  map[string]int32
	steps  map[int64]int32

	round int   // of closure
	seen  []int // by instruction: the round that last saw it
	stack []uint32
}

type programState struct {
	pcs    []uint32
	closed []uint32 // the closure, if nothing looks
	prev   rune     // the kind of the last character, -1 at the start; 0 if nothing looks
	standing
}

func newProgramMachine(prog *syntax.Prog) *programMachine {
	m := &programMachine{
		prog: prog, loops: make([]bool, len(prog.Inst)), seen: make([]int, len(prog.Inst)),
		index: map[string]int32{}, steps: map[int64]int32{},
	}
	for pc := range prog.Inst {
		switch in := &prog.Inst[pc]; in.Op { //nolint:exhaustive // the rest is what follows
		case syntax.InstEmptyWidth:
			m.looks = true
		case syntax.InstAlt, syntax.InstAltMatch:
			m.loops[pc] = m.repeats(in.Out, pc) && m.ends(in.Arg) || m.repeats(in.Arg, pc) && m.ends(in.Out)
		}
	}
	prev := rune(0)
	if m.looks {
		prev = -1
	}
	m.add([]uint32{uint32(prog.Start)}, prev) //nolint:gosec // an index
	return m
}

// repeats reports that pc reads any character and comes back to loop.
func (m *programMachine) repeats(pc uint32, loop int) bool {
	in := &m.prog.Inst[pc]
	return in.Op == syntax.InstRuneAny && int(in.Out) == loop
}

func (m *programMachine) ends(pc uint32) bool {
	for m.prog.Inst[pc].Op == syntax.InstNop || m.prog.Inst[pc].Op == syntax.InstCapture {
		pc = m.prog.Inst[pc].Out
	}
	return m.prog.Inst[pc].Op == syntax.InstMatch
}

// kindOf is a character that assertions take for r.
func kindOf(r rune) rune {
	switch {
	case r < 0, r == '\n':
		return r
	case syntax.IsWordChar(r):
		return 'a'
	}
	return ' '
}

// closure follows all that reads nothing, between prev and next.
func (m *programMachine) closure(pcs []uint32, prev, next rune) []uint32 {
	flags := syntax.EmptyOp(0)
	if m.looks {
		flags = syntax.EmptyOpContext(prev, next)
	}
	m.round++
	var out []uint32
	stack := append(m.stack[:0], pcs...)
	for len(stack) > 0 {
		pc := stack[len(stack)-1]
		stack = stack[:len(stack)-1]
		if m.seen[pc] == m.round {
			continue
		}
		m.seen[pc] = m.round
		switch in := &m.prog.Inst[pc]; in.Op { //nolint:exhaustive // the rest is what follows
		case syntax.InstAlt, syntax.InstAltMatch:
			stack = append(stack, in.Out, in.Arg)
			if m.loops[pc] {
				out = append(out, pc)
			}
		case syntax.InstCapture, syntax.InstNop:
			stack = append(stack, in.Out)
		case syntax.InstEmptyWidth:
			if syntax.EmptyOp(in.Arg)&^flags == 0 { //nolint:gosec // the instruction's argument is one
				stack = append(stack, in.Out)
			}
		case syntax.InstFail:
		default:
			out = append(out, pc)
		}
	}
	m.stack = stack
	return out
}

func (m *programMachine) add(pcs []uint32, prev rune) int32 {
	slices.Sort(pcs)
	pcs = slices.Compact(pcs)
	key := binary.AppendVarint(nil, int64(prev))
	for _, pc := range pcs {
		key = binary.AppendUvarint(key, uint64(pc))
	}
	if i, ok := m.index[string(key)]; ok {
		return i
	}
	s := programState{pcs: pcs, prev: prev, standing: standing{settled: len(pcs) == 0}}
	closed := m.closure(pcs, prev, -1)
	if !m.looks {
		s.closed = closed
	}
	for _, pc := range closed {
		s.accepts = s.accepts || m.prog.Inst[pc].Op == syntax.InstMatch
		s.settled = s.settled || m.loops[pc] && !m.looks
	}
	i := int32(len(m.states)) //nolint:gosec // far below: one for each step
	m.states = append(m.states, s)
	m.index[string(key)] = i
	return i
}

func (m *programMachine) step(state int32, r rune) int32 {
	key := int64(state)<<32 | int64(r)
	if to, ok := m.steps[key]; ok {
		return to
	}
	s := m.states[state]
	closed := s.closed
	if m.looks {
		closed = m.closure(s.pcs, s.prev, r)
	}
	var out []uint32
	for _, pc := range closed {
		in := &m.prog.Inst[pc]
		var reads bool
		switch in.Op { //nolint:exhaustive // the rest is what follows
		case syntax.InstRune, syntax.InstRune1:
			reads = in.MatchRune(r)
		case syntax.InstRuneAny:
			reads = true
		case syntax.InstRuneAnyNotNL:
			reads = r != '\n'
		}
		if reads {
			out = append(out, in.Out)
		}
	}
	prev := rune(0)
	if m.looks {
		prev = kindOf(r)
	}
	to := m.add(out, prev)
	m.steps[key] = to
	return to
}

func (m *programMachine) at(state int32) standing { return m.states[state].standing }

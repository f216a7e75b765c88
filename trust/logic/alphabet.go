package logic

import (
	"math"
	"regexp/syntax"
	"slices"
	"strings"
	"unicode"
	"unicode/utf8"
)

// alphabet collects what some languages tell apart, and sorts all code points
// into classes that none of them can look into.
type alphabet struct {
	single map[rune]bool // each a class of its own
	sets   [][]rune      // pairs of first and last, sorted
}

// add takes in what l, which is no combination, tells apart.
func (a *alphabet) add(l *language) {
	switch l.kind { //nolint:exhaustive // the rest are programs
	case oneOf:
		for _, t := range l.texts {
			for _, r := range t {
				a.one(r, l.fold)
			}
		}
	case sized, anyText:
	default:
		a.program(l.program.compiled(), l.fold)
	}
}

func (a *alphabet) one(r rune, f fold) {
	a.single[r] = true
	if f != asIs && isLetter(r) {
		a.single[unicode.ToLower(r)] = true
		a.single[unicode.ToUpper(r)] = true
	}
}

func (a *alphabet) program(prog *syntax.Prog, f fold) {
	for i := range prog.Inst {
		switch in := &prog.Inst[i]; in.Op { //nolint:exhaustive // the others tell nothing apart
		case syntax.InstRune1:
			a.one(in.Rune[0], f)
		case syntax.InstRune:
			if len(in.Rune) == 1 {
				a.one(in.Rune[0], f)
				if syntax.Flags(in.Arg)&syntax.FoldCase != 0 { //nolint:gosec // the instruction's argument is flags
					for r := unicode.SimpleFold(in.Rune[0]); r != in.Rune[0]; r = unicode.SimpleFold(r) {
						a.one(r, f)
					}
				}
				continue
			}
			a.set(in.Rune, f)
		case syntax.InstRuneAnyNotNL:
			a.one('\n', f)
		case syntax.InstEmptyWidth:
			a.one('\n', f)
			a.set([]rune{'0', '9', 'A', 'Z', '_', '_', 'a', 'z'}, f)
		}
	}
}

func (a *alphabet) set(pairs []rune, f fold) {
	if f != asIs { // beyond the letters, mapping changes nothing
		for r := 'a'; r <= 'z'; r++ {
			a.one(r, f)
		}
	}
	if !slices.ContainsFunc(a.sets, func(s []rune) bool { return slices.Equal(s, pairs) }) {
		a.sets = append(a.sets, pairs)
	}
}

// readable are the characters that a witness is made of, the best first.
const readable = "xabcdefghijklmnopqrstuvwyz0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZ-_./:@+=,;~^!$%&'()*#?[]{}|<>\"`\\ "

func rank(r rune) int {
	if i := strings.IndexRune(readable, r); i >= 0 {
		return i
	}
	if unicode.IsPrint(r) {
		return int(r)
	}
	return math.MaxInt32 + int(r)
}

// classes returns for each class up to k of its characters, the most readable
// first, as the classes are themselves.
func (a *alphabet) classes(k int) [][]rune {
	cuts := []rune{0, utf8.MaxRune + 1, 0xD800, 0xE000}
	for _, s := range a.sets {
		for i := 0; i < len(s); i += 2 {
			cuts = append(cuts, s[i], s[i+1]+1)
		}
	}
	slices.Sort(cuts)
	cuts = slices.Compact(cuts)
	bySignature := map[string]*class{}
	of := make([]*class, len(cuts)-1)
	signature := make([]byte, len(a.sets))
	for i, lo := range cuts[:len(cuts)-1] {
		if lo == 0xD800 {
			continue // no character is a surrogate
		}
		for j, s := range a.sets {
			signature[j] = '0'
			if inPairs(s, lo) {
				signature[j] = '1'
			}
		}
		c := bySignature[string(signature)]
		if c == nil {
			c = &class{}
			bySignature[string(signature)] = c
		}
		c.spans = append(c.spans, [2]rune{lo, cuts[i+1] - 1})
		of[i] = c
	}
	for _, r := range readable {
		if a.single[r] {
			continue
		}
		i, found := slices.BinarySearch(cuts, r)
		if !found {
			i--
		}
		if c := of[i]; len(c.runes) < k {
			c.runes = append(c.runes, r)
		}
	}
	var out [][]rune
	for _, c := range bySignature {
		c.fill(k, a.single)
		if len(c.runes) > 0 {
			out = append(out, c.runes)
		}
	}
	for r := range a.single {
		if r < 0xD800 || r > 0xDFFF {
			out = append(out, []rune{r})
		}
	}
	slices.SortFunc(out, func(x, y []rune) int { return rank(x[0]) - rank(y[0]) })
	return out
}

type class struct {
	spans [][2]rune
	runes []rune
}

// fill takes up to k characters of the class, those that can be printed first.
func (c *class) fill(k int, but map[rune]bool) {
	for _, printable := range []bool{true, false} {
		for _, s := range c.spans {
			// A span is not searched to its end for what it may not have; the
			// second time takes what the first one left.
			most := 512 + k
			for r := s[0]; r <= s[1] && len(c.runes) < k && most > 0; r++ {
				if but[r] {
					continue
				}
				most--
				if unicode.IsPrint(r) == printable && !slices.Contains(c.runes, r) {
					c.runes = append(c.runes, r)
				}
			}
		}
	}
}

func b2i(b bool) int {
	if b {
		return 1
	}
	return 0
}

func inPairs(pairs []rune, r rune) bool {
	lo, hi := 0, len(pairs)/2
	for lo < hi {
		mid := (lo + hi) / 2
		switch {
		case r < pairs[2*mid]:
			hi = mid
		case r > pairs[2*mid+1]:
			lo = mid + 1
		default:
			return true
		}
	}
	return false
}

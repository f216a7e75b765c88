package prove

import (
	"strings"
	"unicode/utf8"

	"cel.dev/cel-go/common/types"

	"cambio/trust/logic"
)

type testKind string

// The tests of a text, by the names of CEL's functions where there is one.
const (
	equals     testKind = "equals"
	startsWith testKind = "startsWith"
	endsWith   testKind = "endsWith"
	contains   testKind = "contains"
	matches    testKind = "matches"
	sized      testKind = "sized" // of at most max code points
)

// textTest is what one asks of a text.
type textTest struct {
	kind testKind
	arg  string
	max  int
}

// language are the texts that pass.
func (q textTest) language() (logic.Language, bool) {
	switch q.kind {
	case equals:
		return logic.Text(q.arg), true
	case startsWith:
		return logic.Prefix(q.arg), true
	case endsWith:
		return logic.Suffix(q.arg), true
	case contains:
		return logic.Containing(q.arg), true
	case matches:
		l, err := logic.Regexp(q.arg)
		return l, err == nil
	case sized:
		if q.max < 0 {
			return logic.None(), true
		}
		return logic.Lengths(0, q.max), true
	}
	return logic.None(), false
}

// holds says where a term passes a test of texts; a term of another type never
// does. The boolean is false for what the fragment lacks.
func holds(t term, q textTest) (truth, bool) {
	switch x := t.(type) {
	case types.String:
		l, ok := q.language()
		return always(l.Contains(string(x))), ok
	case text:
		f, ok := x.holds(q)
		return exactly(f), ok
	case segment:
		f, ok := x.holds(q)
		return exactly(f), ok
	case cut:
		f, ok := x.holds(q)
		return exactly(f), ok
	case address:
		f, ok := x.holds(q)
		return exactly(f), ok
	case opaque:
		return truth{}, false
	case other:
		return failed(), x.path != ""
	case number, real, types.Bool, types.Int, types.Double:
		return failed(), true
	}
	return truth{}, false
}

func (p piece) in(l logic.Language) logic.Formula {
	switch p.fold {
	case lowered:
		l = logic.MapASCII(l, true)
	case uppered:
		l = logic.MapASCII(l, false)
	case asIs:
	}
	return logic.In(p.x, l)
}

// maxWays bounds the ways to part one text between pieces: six claims in a row
// can share 200 characters in billions.
const maxWays = 4096

// holds takes literal pieces off what is asked for.
func (x text) holds(q textTest) (logic.Formula, bool) {
	if len(x) == 1 && x[0].x != "" {
		l, ok := q.language()
		return x[0].in(l), ok
	}
	if len(q.arg) > 256 {
		return logic.False(), false
	}
	ways := maxWays
	switch q.kind {
	case equals:
		f := x.is(q.arg, &ways)
		return f, ways >= 0
	case startsWith:
		f := x.begins(q.arg, &ways)
		return f, ways >= 0
	case endsWith:
		f := x.ends(q.arg, &ways)
		return f, ways >= 0
	case sized:
		rest, left := q.max, text{}
		for _, p := range x {
			if p.x == "" {
				rest -= utf8.RuneCountInString(p.literal)
			} else {
				left = append(left, p)
			}
		}
		switch {
		case rest < 0:
			return logic.False(), true
		case len(left) == 0:
			return logic.True(), true
		case len(left) == 1:
			return left[0].in(logic.Lengths(0, rest)), true
		}
	case contains, matches:
	}
	return logic.False(), false
}

// is tries every way to part s between the pieces, as long as ways are left; so
// do begins and ends.
func (x text) is(s string, ways *int) logic.Formula {
	switch {
	case len(x) == 0:
		if s == "" {
			return logic.True()
		}
		return logic.False()
	case x[0].x == "":
		rest, ok := strings.CutPrefix(s, x[0].literal)
		if !ok {
			return logic.False()
		}
		return x[1:].is(rest, ways)
	case len(x) == 1:
		return x[0].in(logic.Text(s))
	}
	var any []logic.Formula
	for i := range cuts(s) {
		if *ways--; *ways < 0 {
			break
		}
		any = append(any, logic.And(x[0].in(logic.Text(s[:i])), x[1:].is(s[i:], ways)))
	}
	return logic.Or(any...)
}

// cuts yields the places where a text can be parted.
func cuts(s string) func(func(int) bool) {
	return func(yield func(int) bool) {
		for i := range s {
			if !yield(i) {
				return
			}
		}
		yield(len(s))
	}
}

func (x text) begins(s string, ways *int) logic.Formula {
	switch {
	case s == "":
		return logic.True()
	case len(x) == 0:
		return logic.False()
	case x[0].x == "":
		switch lit := x[0].literal; {
		case strings.HasPrefix(lit, s):
			return logic.True()
		case strings.HasPrefix(s, lit):
			return x[1:].begins(s[len(lit):], ways)
		}
		return logic.False()
	}
	any := []logic.Formula{x[0].in(logic.Prefix(s))}
	for i := range cuts(s) {
		if *ways--; *ways < 0 {
			break
		}
		if i < len(s) {
			any = append(any, logic.And(x[0].in(logic.Text(s[:i])), x[1:].begins(s[i:], ways)))
		}
	}
	return logic.Or(any...)
}

func (x text) ends(s string, ways *int) logic.Formula {
	last := len(x) - 1
	switch {
	case s == "":
		return logic.True()
	case last < 0:
		return logic.False()
	case x[last].x == "":
		switch lit := x[last].literal; {
		case strings.HasSuffix(lit, s):
			return logic.True()
		case strings.HasSuffix(s, lit):
			return x[:last].ends(s[:len(s)-len(lit)], ways)
		}
		return logic.False()
	}
	any := []logic.Formula{x[last].in(logic.Suffix(s))}
	for i := range cuts(s) {
		if *ways--; *ways < 0 {
			break
		}
		if i > 0 {
			any = append(any, logic.And(x[last].in(logic.Text(s[i:])), x[:last].ends(s[:i], ways)))
		}
	}
	return logic.Or(any...)
}

// plain is the variable that a text is.
func plain(t term) (logic.Var, bool) {
	x, ok := t.(text)
	if !ok || len(x) != 1 || x[0].x == "" || x[0].fold != asIs {
		return "", false
	}
	return x[0].x, true
}

func foldText(t term, f fold) value {
	x, ok := t.(text)
	if !ok {
		return failedOrOpaque("lowerAscii", []term{t})
	}
	out := make(text, len(x))
	for i, p := range x {
		switch {
		case p.x == "" && f == lowered:
			p.literal = strings.Map(func(r rune) rune {
				if r >= 'A' && r <= 'Z' {
					r += 'a' - 'A'
				}
				return r
			}, p.literal)
		case p.x == "":
			p.literal = strings.Map(func(r rune) rune {
				if r >= 'a' && r <= 'z' {
					r -= 'a' - 'A'
				}
				return r
			}, p.literal)
		default:
			p.fold = f // the last one decides
		}
		out[i] = p
	}
	return only(out)
}

// asText is a text with constants as pieces.
func asText(t term) (text, bool) {
	switch x := t.(type) {
	case types.String:
		if x == "" {
			return text{}, true
		}
		return text{{literal: string(x)}}, true
	case text:
		return x, true
	}
	return nil, false
}

// concat is the one text behind the other.
func concat(a, b value) value {
	var out value
	for _, x := range a {
		for _, y := range b {
			when := logic.And(x.when, y.when)
			left, ok := asText(x.term)
			right, ok2 := asText(y.term)
			if !ok || !ok2 {
				out = out.add(when, opaque{})
				continue
			}
			out = out.add(when, joined(left, right))
		}
	}
	return out
}

// joined merges neighbouring literals; a text without variables is a constant.
func joined(a, b text) term {
	out := make(text, 0, len(a)+len(b))
	for _, p := range [][]piece{a, b} {
		for _, q := range p {
			if n := len(out); n > 0 && q.x == "" && out[n-1].x == "" {
				out[n-1].literal += q.literal
				continue
			}
			out = append(out, q)
		}
	}
	switch {
	case len(out) == 0:
		return types.String("")
	case len(out) == 1 && out[0].x == "":
		return types.String(out[0].literal)
	}
	return out
}

// textsEqual compares two texts of which one at least is no constant.
func textsEqual(a, b term) (truth, bool) {
	if s, ok := b.(types.String); ok {
		return holds(a, textTest{kind: equals, arg: string(s)})
	}
	if x, ok := a.(address); ok {
		y, same := b.(address)
		return always(true), same && x == y
	}
	x, ok := asText(a)
	y, ok2 := asText(b)
	switch {
	case !ok:
		return truth{}, false
	case !ok2:
		switch b.(type) {
		case types.Int, types.Bool, types.Double, number, real, other:
			return always(false), true
		}
		return truth{}, false
	}
	for len(x) > 0 && len(y) > 0 && x[0] == y[0] {
		x, y = x[1:], y[1:]
	}
	for len(x) > 0 && len(y) > 0 && x[len(x)-1] == y[len(y)-1] {
		x, y = x[:len(x)-1], y[:len(y)-1]
	}
	if len(x) == 0 && len(y) == 0 {
		return always(true), true
	}
	if left, ok := joined(x, nil).(types.String); ok {
		f, ok := y.holds(textTest{kind: equals, arg: string(left)})
		return exactly(f), ok
	}
	if right, ok := joined(y, nil).(types.String); ok {
		f, ok := x.holds(textTest{kind: equals, arg: string(right)})
		return exactly(f), ok
	}
	if len(x) == 1 && len(y) == 1 && x[0].fold == asIs && y[0].fold == asIs {
		return exactly(logic.Same(x[0].x, y[0].x)), true
	}
	return truth{}, false
}

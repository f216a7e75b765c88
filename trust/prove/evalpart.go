package prove

import (
	"regexp"
	"strconv"
	"strings"
	"unicode/utf8"

	"cambio/trust/logic"
)

// there says where the text has so many parts.
func (x segment) there() logic.Formula {
	if x.at == 0 {
		return logic.True()
	}
	f, _ := x.in(`(?s:.*)`, "") // short enough for any separator
	return f
}

// in wants the segments before it, then piece, and then the rest; false is a
// pattern that is too long.
func (x segment) in(piece, after string) (logic.Formula, bool) {
	sep := regexp.QuoteMeta(x.sep)
	l, err := logic.Regexp(`(?s)(?:(?:[^` + class(x.sep) + `]*` + sep + `){` + strconv.Itoa(x.at) + `}` + piece + after + `)`)
	return logic.In(x.x, l), err == nil
}

// class writes one character for use in brackets.
func class(s string) string {
	return strings.NewReplacer(`\`, `\\`, `]`, `\]`, `^`, `\^`, `-`, `\-`, `[`, `\[`).Replace(s)
}

func (x segment) holds(q textTest) (logic.Formula, bool) {
	any, end := `[^`+class(x.sep)+`]*`, `(?:`+regexp.QuoteMeta(x.sep)+`.*)?`
	lit := regexp.QuoteMeta(q.arg)
	if q.kind != matches && strings.Contains(q.arg, x.sep) {
		return logic.False(), true
	}
	switch q.kind {
	case equals:
		return x.in(lit, end)
	case startsWith:
		return x.in(lit+any, end)
	case endsWith:
		return x.in(any+lit, end)
	case contains:
		return x.in(any+lit+any, end)
	case matches, sized:
	}
	return logic.False(), false
}

func (x cut) holds(q textTest) (logic.Formula, bool) {
	runes := utf8.RuneCountInString(q.arg)
	switch {
	case q.kind == equals && runes != x.n:
		return logic.False(), true
	case (q.kind == equals || q.kind == startsWith) && runes <= x.n:
		return logic.In(x.x, logic.Prefix(q.arg)), true
	case q.kind == startsWith:
		return logic.False(), true
	}
	return logic.False(), false
}

// beginning is the first n code points of a text; an error where it has fewer.
func beginning(t term, n int) value {
	x, ok := plain(t)
	if !ok {
		return only(opaque{})
	}
	return value(nil).add(logic.In(x, logic.Lengths(n, -1)), cut{x, n})
}

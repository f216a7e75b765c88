package check

import (
	"regexp/syntax"
	"slices"
	"strings"
	"unicode"
	"unicode/utf8"
)

// unwrapped is a pattern as the document writes it: conditions match whole texts,
// and carry the wrapping that makes them.
func unwrapped(pattern string) string {
	if inner, ok := strings.CutPrefix(pattern, "^(?:"); ok {
		if inner, ok = strings.CutSuffix(inner, ")$"); ok {
			return inner
		}
	}
	return pattern
}

// bareDot reports a dot that stands for any one character: whoever writes
// acme.io most likely means the dot itself.
func bareDot(pattern string) bool {
	re, err := syntax.Parse(pattern, syntax.Perl)
	return err == nil && hasBareDot(re)
}

func hasBareDot(re *syntax.Regexp) bool {
	if anyOne(re) {
		return true
	}
	repeated := re.Op == syntax.OpStar || re.Op == syntax.OpPlus || re.Op == syntax.OpQuest || re.Op == syntax.OpRepeat
	if repeated && anyOne(re.Sub[0]) {
		return false // .* is meant
	}
	return slices.ContainsFunc(re.Sub, hasBareDot)
}

func anyOne(re *syntax.Regexp) bool {
	return re.Op == syntax.OpAnyChar || re.Op == syntax.OpAnyCharNotNL
}

// ends are what a pattern says about the beginning and the end of a text: whether
// anything may stand there, and the fixed text that stands beside it.
func ends(pattern string) (anyBefore, anyAfter bool, first, last string) {
	re, err := syntax.Parse(pattern, syntax.Perl)
	if err != nil {
		return false, false, "", ""
	}
	for re.Op == syntax.OpCapture {
		re = re.Sub[0]
	}
	parts := []*syntax.Regexp{re}
	if re.Op == syntax.OpConcat {
		parts = slices.Clone(re.Sub)
	}
	parts = slices.DeleteFunc(parts, func(p *syntax.Regexp) bool { // anchors say nothing: all of it must match
		return p.Op == syntax.OpBeginText || p.Op == syntax.OpEndText || p.Op == syntax.OpBeginLine || p.Op == syntax.OpEndLine || p.Op == syntax.OpEmptyMatch
	})
	if len(parts) < 2 {
		return false, false, "", ""
	}
	anyBefore, anyAfter = anything(parts[0]), anything(parts[len(parts)-1])
	if p := parts[1]; anyBefore && p.Op == syntax.OpLiteral {
		first = string(p.Rune)
	}
	if p := parts[len(parts)-2]; anyAfter && p.Op == syntax.OpLiteral {
		last = string(p.Rune)
	}
	return anyBefore, anyAfter, first, last
}

// anything reports `.*` and `.+`.
func anything(re *syntax.Regexp) bool {
	if re.Op != syntax.OpStar && re.Op != syntax.OpPlus {
		return false
	}
	return anyOne(re.Sub[0])
}

// gluedAfter reports a text that ends inside a name, so that what follows may
// continue it: acme also begins acme-evil. A lone v before a version does not
// count, as in refs/tags/v1.2.
func gluedAfter(text string) bool {
	last, size := utf8.DecodeLastRuneInString(text)
	if size == 0 || !partOfName(last) {
		return false
	}
	rest := text[:len(text)-size]
	before, size := utf8.DecodeLastRuneInString(rest)
	return last != 'v' || size > 0 && partOfName(before)
}

// gluedBefore reports a text that begins inside a name.
func gluedBefore(text string) bool {
	first, size := utf8.DecodeRuneInString(text)
	return size > 0 && partOfName(first)
}

func partOfName(c rune) bool { return unicode.IsLetter(c) || unicode.IsDigit(c) }

package logic

import (
	"slices"
	"strings"
	"unicode/utf8"
)

// Contains reports whether s is a word of l.
func (l Language) Contains(s string) bool {
	return l.e != nil && utf8.ValidString(s) && l.e.contains(s)
}

func (l *language) contains(s string) bool {
	s = l.fold.apply(s)
	switch l.kind {
	case anyText:
		return true
	case oneOf:
		_, ok := slices.BinarySearch(l.texts, s)
		return ok
	case prefixed:
		return strings.HasPrefix(s, l.text)
	case suffixed:
		return strings.HasSuffix(s, l.text)
	case containing:
		return strings.Contains(s, l.text)
	case globbed:
		return globMatch(l.text, s)
	case matching:
		return l.pattern.MatchString(s)
	case sized:
		n := utf8.RuneCountInString(s)
		return n >= l.least && (l.most < 0 || n <= l.most)
	case unionOf:
		return slices.ContainsFunc(l.parts, func(p *language) bool { return p.contains(s) })
	case intersectionOf:
		return !slices.ContainsFunc(l.parts, func(p *language) bool { return !p.contains(s) })
	case complementOf:
		return !l.parts[0].contains(s)
	}
	return false
}

// globMatch walks both texts once: only the last star is ever gone back to,
// because a star that stops at a slash leaves what stands before it one place.
func globMatch(g, s string) bool {
	i, j := 0, 0
	star, mark := -1, 0
	for j < len(s) {
		switch {
		case i < len(g) && g[i] == '*':
			star, mark = i, j
			i++
		case i < len(g) && g[i] == s[j]:
			i++
			j++
		case star >= 0 && !strings.ContainsRune(stopsStar, rune(s[mark])):
			mark++
			i, j = star+1, mark
		default:
			return false
		}
	}
	return strings.Trim(g[i:], "*") == ""
}

// stopsStar are the characters that `*` does not stand for.
const stopsStar = "/\x00\r\n"

package logic

import (
	"crypto/sha256"
	"errors"
	"fmt"
	"regexp"
	"regexp/syntax"
	"slices"
	"strconv"
	"strings"
	"unicode/utf8"
)

// Language is an immutable regular set of strings over Unicode code points; a
// text that is not UTF-8 is in none. Copying one is free, and its automaton is
// built only when a question needs it. The zero value is None.
//
// It is safe for concurrent use.
type Language struct{ e *language }

type languageKind uint8

const (
	anyText languageKind = iota + 1
	oneOf                // of texts, sorted, at least one
	prefixed
	suffixed
	containing
	globbed
	matching
	sized
	unionOf
	intersectionOf
	complementOf
)

// fold is what is done to a string before it is looked at.
type fold uint8

const (
	asIs fold = iota
	lowered
	uppered
)

type language struct {
	kind        languageKind
	fold        fold // of what is no combination
	text        string
	texts       []string
	pattern     *regexp.Regexp // matching: the whole string
	program     *program       // of text, where that is no list
	least, most int            // sized
	parts       []*language    // of a combination
	key         string
}

// longKey is from when on a key is replaced by its digest, so that keys of
// combinations of combinations stay small.
const longKey = 128

func newLanguage(l language) Language {
	var b strings.Builder
	b.WriteByte('a' + byte(l.kind))
	b.WriteByte('0' + byte(l.fold))
	switch l.kind { //nolint:exhaustive // the rest is what follows
	case anyText:
	case oneOf:
		for _, t := range l.texts {
			b.WriteString(strconv.Itoa(len(t)))
			b.WriteByte(':')
			b.WriteString(t)
		}
	case sized:
		fmt.Fprintf(&b, "%d-%d", l.least, l.most)
	case unionOf, intersectionOf, complementOf:
		for _, p := range l.parts {
			b.WriteString(strconv.Itoa(len(p.key)))
			b.WriteByte(':')
			b.WriteString(p.key)
		}
	default:
		b.WriteString(l.text)
		if l.program == nil {
			l.program = &program{pattern: l.source()}
		}
	}
	l.key = b.String()
	if len(l.key) > longKey {
		sum := sha256.Sum256([]byte(l.key))
		l.key = "#" + string(sum[:])
	}
	return Language{&l}
}

// source is a pattern for a language that is made of one text.
func (l *language) source() string {
	const anything = `(?s:.*)`
	switch l.kind { //nolint:exhaustive // the rest is what follows
	case prefixed:
		return regexp.QuoteMeta(l.text) + anything
	case suffixed:
		return anything + regexp.QuoteMeta(l.text)
	case containing:
		return anything + regexp.QuoteMeta(l.text) + anything
	case globbed:
		parts := strings.Split(l.text, "*")
		for i, p := range parts {
			parts[i] = regexp.QuoteMeta(p)
		}
		return strings.Join(parts, `[^/\x00\r\n]*`)
	}
	return l.text
}

// Any is the language of all strings.
func Any() Language { return newLanguage(language{kind: anyText}) }

// None is the language without a word.
func None() Language { return Language{} }

func (l Language) isNone() bool { return l.e == nil }

func (l Language) isAny() bool { return l.e != nil && l.e.kind == anyText }

// Text is the language of s alone.
func Text(s string) Language {
	if !utf8.ValidString(s) {
		return None()
	}
	return newLanguage(language{kind: oneOf, texts: []string{s}})
}

// Texts is the language of ss.
func Texts(ss ...string) Language {
	texts := slices.DeleteFunc(slices.Clone(ss), func(s string) bool { return !utf8.ValidString(s) })
	slices.Sort(texts)
	texts = slices.Compact(texts)
	if len(texts) == 0 {
		return None()
	}
	return newLanguage(language{kind: oneOf, texts: texts})
}

// only reports whether l has one word, and which.
func (l Language) only() (string, bool) {
	if l.e == nil || l.e.kind != oneOf || len(l.e.texts) != 1 || l.e.fold != asIs {
		return "", false
	}
	return l.e.texts[0], true
}

func around(kind languageKind, s string) Language {
	switch {
	case !utf8.ValidString(s):
		return None()
	case s == "":
		return Any()
	}
	return newLanguage(language{kind: kind, text: s})
}

// Prefix is the language of all strings that begin with s.
func Prefix(s string) Language { return around(prefixed, s) }

// Suffix is the language of all strings that end with s.
func Suffix(s string) Language { return around(suffixed, s) }

// Containing is the language of all strings that s is a part of.
func Containing(s string) Language { return around(containing, s) }

// Glob is the language of g, in which `*` stands for any number of characters
// but slash, NUL, CR and LF, and all else for itself.
func Glob(g string) Language {
	switch {
	case !utf8.ValidString(g):
		return None()
	case !strings.Contains(g, "*"):
		return Text(g)
	}
	return newLanguage(language{kind: globbed, text: g})
}

// maxPattern is the longest pattern in bytes: its program grows with it.
const maxPattern = 4 << 10

var errLongPattern = errors.New("the pattern is too long")

// Regexp is the language of the strings that the RE2 pattern p matches as a
// whole. The error is that of a pattern that cannot be read, or is longer than
// 4 KiB.
func Regexp(p string) (Language, error) {
	if len(p) > maxPattern {
		return None(), errLongPattern
	}
	if _, err := syntax.Parse(p, syntax.Perl); err != nil {
		return None(), fmt.Errorf("read the pattern: %w", err)
	}
	// Only what can be read by itself is put in brackets: "a)|(b" cannot.
	whole, err := regexp.Compile(`\A(?:` + p + `)\z`)
	if err != nil {
		return None(), fmt.Errorf("read the pattern: %w", err)
	}
	return newLanguage(language{kind: matching, text: p, pattern: whole}), nil
}

// Lengths is the language of all strings of least to most code points; a
// negative most is no bound.
func Lengths(least, most int) Language {
	least = max(least, 0)
	switch {
	case most >= 0 && most < least:
		return None()
	case most == 0:
		return Text("")
	case least == 0 && most < 0:
		return Any()
	}
	return newLanguage(language{kind: sized, least: least, most: max(most, -1)})
}

// Union is the language of all words of ls.
func Union(ls ...Language) Language {
	parts := make([]*language, 0, len(ls))
	var texts []string
	for _, l := range ls {
		switch {
		case l.isNone():
		case l.isAny():
			return l
		case l.e.kind == unionOf:
			parts = append(parts, l.e.parts...)
		case l.e.kind == oneOf && l.e.fold == asIs:
			texts = append(texts, l.e.texts...)
		default:
			parts = append(parts, l.e)
		}
	}
	if t := Texts(texts...); !t.isNone() {
		parts = append(parts, t.e)
	}
	switch len(parts) {
	case 0:
		return None()
	case 1:
		return Language{parts[0]}
	}
	return newLanguage(language{kind: unionOf, parts: parts})
}

// Intersect is the language of the words that all of ls have; with none it is
// Any.
func Intersect(ls ...Language) Language {
	parts := make([]*language, 0, len(ls))
	for _, l := range ls {
		switch {
		case l.isNone():
			return l
		case l.isAny():
		case l.e.kind == intersectionOf:
			parts = append(parts, l.e.parts...)
		default:
			parts = append(parts, l.e)
		}
	}
	for i, p := range parts {
		if p.kind != oneOf || p.fold != asIs {
			continue
		}
		return Texts(slices.DeleteFunc(slices.Clone(p.texts), func(s string) bool {
			return slices.ContainsFunc(slices.Concat(parts[:i], parts[i+1:]), func(o *language) bool { return !o.contains(s) })
		})...)
	}
	switch len(parts) {
	case 0:
		return Any()
	case 1:
		return Language{parts[0]}
	}
	return newLanguage(language{kind: intersectionOf, parts: parts})
}

// Complement is the language of all strings that l lacks.
func Complement(l Language) Language {
	switch {
	case l.isNone():
		return Any()
	case l.isAny():
		return None()
	case l.e.kind == complementOf:
		return Language{l.e.parts[0]}
	}
	return newLanguage(language{kind: complementOf, parts: []*language{l.e}})
}

// MapASCII is the language of all strings that are words of l once their ASCII
// letters are made lower case, or upper case if lower is false.
func MapASCII(l Language, lower bool) Language {
	if l.isNone() || l.isAny() {
		return l
	}
	switch l.e.kind { //nolint:exhaustive // the rest is what follows
	case unionOf, intersectionOf, complementOf:
		parts := make([]Language, len(l.e.parts))
		for i, p := range l.e.parts {
			parts[i] = MapASCII(Language{p}, lower)
		}
		switch l.e.kind { //nolint:exhaustive // the rest is what follows
		case unionOf:
			return Union(parts...)
		case intersectionOf:
			return Intersect(parts...)
		}
		return Complement(parts[0])
	}
	// What is mapped again is mapped as l has it: the last one decides the case.
	if l.e.fold != asIs || l.e.kind == sized {
		return l
	}
	folded := *l.e
	folded.fold = uppered
	if lower {
		folded.fold = lowered
	}
	if folded.kind == oneOf { // what is not in that case is never reached
		folded.texts = slices.DeleteFunc(slices.Clone(folded.texts), func(s string) bool { return folded.fold.apply(s) != s })
		if len(folded.texts) == 0 {
			return None()
		}
		if !slices.ContainsFunc(folded.texts, func(s string) bool { return strings.ContainsFunc(s, isLetter) }) {
			folded.fold = asIs
		}
	}
	return newLanguage(folded)
}

func isLetter(r rune) bool { return 'a' <= r && r <= 'z' || 'A' <= r && r <= 'Z' }

func (f fold) rune(r rune) rune {
	switch {
	case f == lowered && 'A' <= r && r <= 'Z':
		return r + 'a' - 'A'
	case f == uppered && 'a' <= r && r <= 'z':
		return r - 'a' + 'A'
	}
	return r
}

func (f fold) apply(s string) string {
	if f == asIs {
		return s
	}
	return strings.Map(f.rune, s)
}

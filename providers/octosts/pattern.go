package octosts

import (
	"errors"
	"regexp"
	"regexp/syntax"
	"slices"
	"strings"

	"cambio/providers/internal/draft"
)

const (
	// maxPattern is the longest regular expression that is read: the condition
	// that it becomes is no longer than a value that a reviewer reads.
	maxPattern = 1024
	// maxAlternatives is how many values one pattern may be: each alternative
	// multiplies with the others.
	maxAlternatives = 64
)

var errPattern = errors.New("it is no regular expression, or longer than 1024 bytes")

// pattern is a regular expression (RE2) that the whole of a value matches.
type pattern struct {
	whole *regexp.Regexp
	tree  *syntax.Regexp
}

// compile reads a pattern by itself before it is put into parentheses: one
// such as `a)|(b` is none, and would else end them.
func compile(text string) (pattern, error) {
	if len(text) > maxPattern {
		return pattern{}, errPattern
	}
	tree, err := syntax.Parse(text, syntax.Perl)
	if err != nil {
		return pattern{}, errPattern
	}
	whole, err := regexp.Compile("^(?:" + text + ")$")
	if err != nil {
		return pattern{}, errPattern
	}
	return pattern{whole: whole, tree: tree}, nil
}

func (p pattern) matches(text string) bool { return p.whole.MatchString(text) }

// literals are the texts that the pattern is, where it is a list of some.
func (p pattern) literals() ([]string, bool) {
	w := &walk{exact: true}
	pieces := w.pieces(p.tree, true, true)
	if w.failed || !w.exact || slices.ContainsFunc(pieces, func(s piece) bool { return s.star || s.text == "" }) {
		return nil, false
	}
	out := make([]string, len(pieces))
	for i, s := range pieces {
		out[i] = s.text
	}
	return out, true
}

// globs are patterns, where * is any text, that together let in all that the
// pattern does; exact says that they let in nothing else. They are nil where
// there are too many.
func (p pattern) globs() (values []draft.Value, exact bool) {
	w := &walk{exact: true}
	pieces := w.pieces(p.tree, true, true)
	if w.failed {
		return nil, false
	}
	for _, s := range pieces {
		values = append(values, draft.Value{Text: s.text, Glob: s.star})
	}
	return values, w.exact
}

// piece is one alternative; with star it is a pattern.
type piece struct {
	text string
	star bool
}

// walk turns the tree of an expression into alternatives. What is neither a text
// nor .* becomes a star, and is then not exact.
type walk struct{ exact, failed bool }

func (w *walk) pieces(re *syntax.Regexp, first, last bool) []piece {
	if w.failed {
		return nil
	}
	switch re.Op {
	case syntax.OpEmptyMatch:
		return []piece{{}}
	case syntax.OpLiteral:
		text := string(re.Rune)
		if re.Flags&syntax.FoldCase != 0 {
			return w.any()
		}
		// A star or question mark as itself is none in a pattern.
		w.failed = w.failed || strings.ContainsAny(text, "*?")
		return []piece{{text: text}}
	case syntax.OpCharClass:
		return w.class(re.Rune)
	case syntax.OpStar:
		if re.Sub[0].Op == syntax.OpAnyCharNotNL || re.Sub[0].Op == syntax.OpAnyChar {
			return []piece{{text: "*", star: true}}
		}
		return w.any()
	case syntax.OpCapture:
		return w.pieces(re.Sub[0], first, last)
	case syntax.OpQuest:
		return w.bounded(append(w.pieces(re.Sub[0], first, last), piece{}))
	case syntax.OpAlternate:
		var out []piece
		for _, sub := range re.Sub {
			out = w.bounded(append(out, w.pieces(sub, first, last)...))
		}
		return out
	case syntax.OpConcat:
		out := []piece{{}}
		for i, sub := range re.Sub {
			out = w.product(out, w.pieces(sub, first && i == 0, last && i == len(re.Sub)-1))
		}
		return out
	case syntax.OpBeginText:
		if first {
			return []piece{{}}
		}
	case syntax.OpEndText:
		if last {
			return []piece{{}}
		}
	case syntax.OpNoMatch, syntax.OpAnyCharNotNL, syntax.OpAnyChar, syntax.OpBeginLine, syntax.OpEndLine,
		syntax.OpWordBoundary, syntax.OpNoWordBoundary, syntax.OpPlus, syntax.OpRepeat:
	}
	return w.any()
}

// any is a star for what no pattern says.
func (w *walk) any() []piece {
	w.exact = false
	return []piece{{text: "*", star: true}}
}

// class is a small set of characters as alternatives.
func (w *walk) class(ranges []rune) []piece {
	var out []piece
	for i := 0; i+1 < len(ranges); i += 2 {
		if ranges[i+1]-ranges[i] >= maxAlternatives || len(out) > maxAlternatives/4 {
			return w.any()
		}
		for r := ranges[i]; r <= ranges[i+1]; r++ {
			if r == '*' || r == '?' {
				return w.any()
			}
			out = append(out, piece{text: string(r)})
		}
	}
	if len(out) > maxAlternatives/4 || len(out) == 0 {
		return w.any()
	}
	return out
}

func (w *walk) bounded(pieces []piece) []piece {
	if len(pieces) > maxAlternatives {
		w.failed = true
		return nil
	}
	return pieces
}

func (w *walk) product(left, right []piece) []piece {
	if len(left)*len(right) > maxAlternatives {
		w.failed = true
		return nil
	}
	var out []piece
	for _, a := range left {
		for _, b := range right {
			out = append(out, piece{text: a.text + b.text, star: a.star || b.star})
		}
	}
	return out
}

// divided reports whether a | stands outside of parentheses and classes.
func divided(text string) bool {
	depth, class := 0, false
	for i := 0; i < len(text); i++ {
		switch c := text[i]; {
		case c == '\\':
			i++
		case class:
			class = c != ']'
		case c == '[':
			class = true
			// A bracket that comes first is one of the class.
			for i+1 < len(text) && (text[i+1] == '^' || text[i+1] == ']') {
				i++
			}
		case c == '(':
			depth++
		case c == ')':
			depth--
		case c == '|' && depth == 0:
			return true
		}
	}
	return false
}

package format

import (
	"bytes"
	"slices"
	"strings"
	"unicode/utf8"

	"cambio/trust/strictyaml"
)

// source is a document's text with Unix line ends.
type source struct {
	text  string
	lines []int // offset of each line's first byte
	ascii bool  // one byte a character
}

func newSource(src []byte) *source {
	src = bytes.ReplaceAll(bytes.TrimPrefix(src, []byte("\ufeff")), []byte("\r\n"), []byte("\n"))
	s := &source{text: string(src), lines: []int{0}}
	if !strings.HasSuffix(s.text, "\n") {
		s.text += "\n"
	}
	s.ascii = utf8.RuneCountInString(s.text) == len(s.text)
	for i := range len(s.text) - 1 {
		if s.text[i] == '\n' {
			s.lines = append(s.lines, i+1)
		}
	}
	return s
}

// offset is where a node begins, in bytes.
func (s *source) offset(n *strictyaml.Node) int {
	if n.Line < 1 || n.Line > len(s.lines) {
		return len(s.text)
	}
	at := s.lines[n.Line-1]
	if s.ascii {
		return min(at+max(n.Column, 1)-1, len(s.text))
	}
	for column := 1; column < n.Column && at < len(s.text); column++ {
		_, size := utf8.DecodeRuneInString(s.text[at:])
		at += size
	}
	return at
}

// line is the number of an offset's line, from 0.
func (s *source) line(at int) int {
	i, found := slices.BinarySearch(s.lines, at)
	if !found {
		i--
	}
	return i
}

// lineText is a line without its end.
func (s *source) lineText(i int) string {
	end := len(s.text)
	if i+1 < len(s.lines) {
		end = s.lines[i+1]
	}
	return strings.TrimSuffix(s.text[s.lines[i]:end], "\n")
}

// indent is the number of spaces that a line begins with.
func indent(line string) int { return len(line) - len(strings.TrimLeft(line, " ")) }

func blank(line string) bool { return strings.TrimSpace(line) == "" }

// blankBefore reports whether the line before this one is empty.
func (s *source) blankBefore(line int) bool { return line > 0 && blank(s.lineText(line-1)) }

// comment is one comment, from its #.
type comment struct {
	at     int
	line   int
	column int // from 0
	own    bool
	text   string
}

// reading is what the text holds beside the values.
type reading struct {
	comments []comment
	flows    map[int]int // where each list or map in brackets begins, and ends
}

// read finds comments and brackets: everything of the text that is no scalar.
func (s *source) read(root *strictyaml.Node) reading {
	var scalars []*strictyaml.Node
	collect(root, &scalars)
	r := reading{flows: map[int]int{}}
	var open []int
	for at := 0; at < len(s.text); {
		if len(scalars) > 0 && at >= s.offset(scalars[0]) {
			if n := scalars[0]; n.Style == strictyaml.Literal || n.Style == strictyaml.Folded {
				if text := s.block(n).comment; text != "" {
					r.comments = append(r.comments, comment{at: at, line: n.Line - 1, text: text})
				}
			}
			at = max(at, s.end(scalars[0]))
			scalars = scalars[1:]
			continue
		}
		switch c := s.text[at]; {
		case c == '#' && (at == 0 || strings.IndexByte(" \t\n", s.text[at-1]) >= 0):
			n := strings.IndexByte(s.text[at:], '\n')
			line := s.line(at)
			r.comments = append(r.comments, comment{
				at: at, line: line, column: at - s.lines[line], own: blank(s.text[s.lines[line]:at]), text: strings.TrimRight(s.text[at:at+n], " \t"),
			})
			at += n
			continue
		case c == '{' || c == '[':
			open = append(open, at)
		case (c == '}' || c == ']') && len(open) > 0:
			r.flows[open[len(open)-1]] = at
			open = open[:len(open)-1]
		}
		at++
	}
	return r
}

// collect lists the scalars that take room in the text, in its order.
func collect(n *strictyaml.Node, into *[]*strictyaml.Node) {
	for i, item := range n.Items() {
		if n.Kind == strictyaml.Map {
			collect(n.Keys()[i], into)
		}
		collect(item, into)
	}
	if n.IsScalar() && (n.Text != "" || n.Style != strictyaml.Plain) {
		*into = append(*into, n)
	}
}

// end is the offset behind a scalar. Of a block it is the start of the line behind.
func (s *source) end(n *strictyaml.Node) int {
	at := s.offset(n)
	switch n.Style {
	case strictyaml.SingleQuoted:
		for at++; at < len(s.text); at++ {
			if s.text[at] != '\'' {
				continue
			}
			if at+1 < len(s.text) && s.text[at+1] == '\'' {
				at++
				continue
			}
			return at + 1
		}
	case strictyaml.DoubleQuoted:
		for at++; at < len(s.text); at++ {
			switch s.text[at] {
			case '\\':
				at++
			case '"':
				return at + 1
			}
		}
	case strictyaml.Plain:
		// White space of either is one gap: that is what folding comes to.
		for i := 0; i < len(n.Text) && at < len(s.text); {
			if space(n.Text[i]) {
				for i < len(n.Text) && space(n.Text[i]) {
					i++
				}
				for at < len(s.text) && space(s.text[at]) {
					at++
				}
				continue
			}
			i++
			at++
		}
	case strictyaml.Literal, strictyaml.Folded:
		if last := s.block(n).last; last+1 < len(s.lines) {
			return s.lines[last+1]
		}
		return len(s.text)
	}
	return at
}

func space(c byte) bool { return c == ' ' || c == '\t' || c == '\n' }

// blockText is a block scalar as it is written.
type blockText struct {
	keep    bool   // every line end behind it is part of the text
	comment string // of the first line; "" for none
	last    int    // the last line
	lines   []string
}

// block reads a block scalar. Its lines are those below that are empty or stand as
// far in as the first that is not (YAML 1.2.2 section 8.1); how far that is, spaces
// of the text itself apart, the text tells.
func (s *source) block(n *strictyaml.Node) blockText {
	first := n.Line - 1
	header := s.text[s.offset(n) : s.lines[first]+len(s.lineText(first))]
	b := blockText{last: first}
	if at := strings.IndexByte(header, '#'); at >= 0 {
		b.comment = strings.TrimRight(header[at:], " \t")
		header = header[:at]
	}
	b.keep = strings.Contains(header, "+")
	in, found := leading(n.Text)
	depth := -1
	for i := first + 1; i < len(s.lines) && found; i++ {
		line := s.lineText(i)
		if strings.Trim(line, " ") == "" {
			if depth >= 0 && len(line) > depth {
				b.last = i // spaces of the text itself
			}
			continue // an empty line is its own only if something of it follows
		}
		if depth < 0 {
			depth = max(0, indent(line)-in)
		}
		if indent(line) < depth {
			break
		}
		b.last = i
	}
	for b.keep && found && b.last+1 < len(s.lines) && strings.Trim(s.lineText(b.last+1), " ") == "" {
		b.last++
	}
	for i := first + 1; i <= b.last; i++ {
		line := s.lineText(i)
		b.lines = append(b.lines, line[min(max(depth, 0), len(line)):])
	}
	return b
}

// leading is how many spaces the first line of a text begins with that is not
// empty. It is false where there is none.
func leading(text string) (int, bool) {
	for line := range strings.SplitSeq(text, "\n") {
		if strings.Trim(line, " ") != "" {
			return indent(line), true
		}
	}
	return 0, false
}

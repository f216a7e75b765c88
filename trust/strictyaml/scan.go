package strictyaml

import (
	"bytes"
	"fmt"
	"strings"
	"unicode"
	"unicode/utf8"
)

// scan looks at the raw lines for what the YAML library would take, or would
// stop at: it reports all of it, and returns the source up to a second document.
func scan(doc *document, r *Reporter) []byte {
	s := scanner{doc: doc, r: r}
	for i := range doc.lines {
		if !s.line(i) {
			return doc.src[:doc.lines[i]]
		}
	}
	return doc.src
}

type scanner struct {
	doc     *document
	r       *Reporter
	started bool // a `---` or content was seen
	ended   bool // a `...` was seen
}

func (s *scanner) report(line, column int, id, message, fix string) {
	s.r.Add(Finding{
		ID: id, Severity: Error, File: s.doc.file, Line: line, Column: column, Message: message, Fix: fix,
	})
}

// line looks at one line and reports whether the document goes on.
func (s *scanner) line(i int) bool {
	text := s.doc.src[s.doc.lines[i]:]
	if i+1 < len(s.doc.lines) {
		text = s.doc.src[s.doc.lines[i]:s.doc.lines[i+1]]
	}
	text = bytes.TrimSuffix(bytes.TrimSuffix(text, []byte("\n")), []byte("\r"))
	s.characters(i+1, string(text))

	body := bytes.TrimLeft(text, " \t")
	if tab := bytes.IndexByte(text[:len(text)-len(body)], '\t'); tab >= 0 && len(body) > 0 {
		s.report(i+1, tab+1, "yaml-tab", "a tab indents this line", "write spaces")
	}
	if len(body) == 0 || body[0] == '#' {
		return true
	}
	switch {
	case s.ended, marker(text, "---") && s.started:
		s.report(i+1, 1, "yaml-second-document", "a second document begins here", "write one document a file")
		return false
	case marker(text, "---"):
		s.started = true
	case marker(text, "..."):
		s.ended = true
	case text[0] == '%' && !s.started:
		s.report(i+1, 1, "yaml-directive", "a directive changes how the document is read", "leave the line out")
	default:
		s.started = true
	}
	return true
}

// marker reports whether a line is this document marker (YAML 1.2.2 section
// 9.1.2): at the very start, with white space or nothing behind it.
func marker(line []byte, m string) bool {
	rest, ok := bytes.CutPrefix(line, []byte(m))
	return ok && (len(rest) == 0 || rest[0] == ' ' || rest[0] == '\t')
}

// characters reports what a reviewer cannot see but the machine would read: it
// looks at comments too, because text that runs from right to left can make
// either look like the other.
func (s *scanner) characters(line int, text string) {
	column := 0
	for i, c := range text {
		column++
		switch {
		case c == utf8.RuneError && strings.HasPrefix(text[i:], string(utf8.RuneError)):
			s.report(line, column, "yaml-invisible", "U+FFFD stands where another character was lost", "write the character that was meant")
		case c == utf8.RuneError:
			s.report(line, column, "yaml-not-utf8", fmt.Sprintf("byte 0x%02X is not UTF-8", text[i]), "save the file as UTF-8")
		case c != '\t' && invisible(c):
			s.report(line, column, "yaml-invisible", fmt.Sprintf("an invisible character, %U", c), "remove it, or retype the line")
		}
	}
}

// invisible reports whether a character shows nothing, looks like an ordinary
// space, or turns the direction of what is around it.
func invisible(c rune) bool {
	switch {
	case c == ' ' || c >= 0x21 && c <= 0x7e:
		return false
	case unicode.In(c, unicode.Cc, unicode.Cf, unicode.Cs, unicode.Co, unicode.Zl, unicode.Zp, unicode.Zs, unicode.Noncharacter_Code_Point):
		return true
	case unicode.Is(unicode.Variation_Selector, c), unicode.Is(unicode.Other_Default_Ignorable_Code_Point, c):
		return true
	}
	return c == 0x2800 // a braille cell without dots
}

// mixedScripts is the first word of s whose letters are of alphabets that look
// alike, or "": "pаypal" with a Cyrillic letter is another name than it seems.
func mixedScripts(s string) string {
	ascii := true
	for i := 0; i < len(s) && ascii; i++ {
		ascii = s[i] < utf8.RuneSelf
	}
	if ascii {
		return ""
	}
	for word := range strings.FieldsSeq(s) {
		var seen *unicode.RangeTable
		for _, c := range word {
			script := alphabet(c)
			if script != nil && seen != nil && script != seen {
				return word
			}
			if script != nil {
				seen = script
			}
		}
	}
	return ""
}

// alphabet is the script of a letter among those with look-alikes, or nil.
func alphabet(c rune) *unicode.RangeTable {
	for _, t := range []*unicode.RangeTable{unicode.Latin, unicode.Cyrillic, unicode.Greek, unicode.Armenian, unicode.Cherokee, unicode.Coptic, unicode.Lisu} {
		if unicode.Is(t, c) {
			return t
		}
	}
	return nil
}

// weigh is at least the number of values that the source can make, by the
// characters that make them, comments included. It reads no grammar, so that no
// trick of the grammar makes it count too few.
func weigh(src []byte) int {
	w := 0
	for i, c := range src {
		switch c {
		case ',', '[', '{':
			w += 2 // in {a,b} each comma makes a name and a null
		case ':', '?':
			w += 2
		case '-':
			if i+1 == len(src) || src[i+1] == ' ' || src[i+1] == '\n' || src[i+1] == '\r' || src[i+1] == '\t' {
				w++
			}
		case '#', '&', '*', '!':
			w++
		}
	}
	return w
}

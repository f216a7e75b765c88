// Package draft writes trust documents for people to review: from the claims of
// a token, or from what another system trusts.
package draft

import (
	"errors"
	"fmt"
	"regexp"
	"slices"
	"strings"
	"unicode/utf8"

	"cambio/trust/strictyaml"
)

// Document is a trust document to be written. The texts of comments are ours;
// every value may be hostile, and is quoted.
type Document struct {
	Head    []string // comment lines above everything
	Name    string
	Owner   string
	Purpose string
	Shadow  bool
	From    string
	Match   []Line
	When    []Condition
	// Networks are the prefixes that callers come from; none: from anywhere.
	Networks []string
	To       string
	// Resource and TTL are of the grant; "" where it has none.
	Resource, TTL string
	// Scopes, Repositories and Policies are of the grant too; none where it has none.
	Scopes, Repositories, Policies []string
	// GrantHints are comment lines below the grant.
	GrantHints []string
	Tests      []Test
}

// Line is one line of match.
type Line struct {
	Claim   string
	Values  []Value // at least one
	Comment string
}

// Value is equal to a text, or matches a glob.
type Value struct {
	Text string
	Glob bool
}

// Condition is one line of when. Its text must be free of foreign values, or hold
// them quoted by [CEL].
type Condition struct {
	CEL     string
	Comment string
}

// Test is one inline test.
type Test struct {
	Name   string
	Claims []Claim // what differs from match
	Allow  bool
}

// Claim is one claim of a test; Absent takes it away.
type Claim struct {
	Name, Value string
	Absent      bool
}

// maxValue is the longest value written: no claim that a trust pins is longer,
// and a reviewer reads it.
const maxValue = 1024

var errValue = errors.New("it is blank, longer than 1024 bytes, or holds characters other than printable ASCII")

// Check refuses a value that a reviewer could not read as it is: a claim may hold
// line ends, characters that are not seen, or letters that look like others.
func Check(s string) error {
	if strings.TrimSpace(s) == "" || len(s) > maxValue {
		return errValue
	}
	for i := range len(s) {
		if s[i] < ' ' || s[i] > '~' {
			return errValue
		}
	}
	return nil
}

// quote writes a text as a YAML double-quoted scalar (YAML 1.2.2 section 7.3.1),
// whatever it holds: it cannot end the scalar, the line, or begin a comment.
func quote(s string) string {
	var b strings.Builder
	b.WriteByte('"')
	for _, r := range s {
		switch {
		case r == '"' || r == '\\':
			b.WriteByte('\\')
			b.WriteRune(r)
		case r >= ' ' && r <= '~':
			b.WriteRune(r)
		case r > 0xffff:
			fmt.Fprintf(&b, `\U%08x`, r)
		default:
			fmt.Fprintf(&b, `\u%04x`, r)
		}
	}
	b.WriteByte('"')
	return b.String()
}

// CEL writes a text as a CEL string literal: like JSON, and never more than one
// literal.
func CEL(s string) string { return quote(s) }

// YAML is the document. Everything that is not ours was checked, or is an error:
// a draft with a value left out would allow more than what was shown.
func (d Document) YAML() ([]byte, error) {
	w := &writer{}
	w.comments("", d.Head)
	w.value("name", d.Name)
	w.value("owner", d.Owner)
	w.value("purpose", d.Purpose)
	if d.Shadow {
		w.line("mode: shadow   # judged and recorded, allows nothing; enforce it when the journal shows what you expect")
	}
	w.value("from", d.From)
	w.line("match:")
	for _, l := range d.Match {
		w.match(l)
	}
	if len(d.When) > 0 {
		w.line("when:")
	}
	for _, c := range d.When {
		w.comments("  ", comment(c.Comment))
		w.line("  - %s", w.quoted("when", c.CEL))
	}
	if len(d.Networks) > 0 {
		w.networks(d.Networks)
	}
	w.line("grants:")
	w.line("  - to: %s", w.quoted("to", d.To))
	if d.Resource != "" {
		w.line("    resource: %s", w.quoted("resource", d.Resource))
	}
	w.list("repositories", d.Repositories)
	w.list("scopes", d.Scopes)
	w.list("policies", d.Policies)
	if d.TTL != "" {
		w.line("    ttl: %s", w.quoted("ttl", d.TTL))
	}
	w.comments("    ", d.GrantHints)
	if len(d.Tests) > 0 {
		w.line("tests:")
	}
	for _, t := range d.Tests {
		w.test(t, d)
	}
	if w.err != nil {
		return nil, w.err
	}
	return []byte(w.b.String()), nil
}

type writer struct {
	b   strings.Builder
	err error
}

func (w *writer) line(format string, args ...any) { fmt.Fprintf(&w.b, format+"\n", args...) }

// comments writes comment lines. A text that could end its line is quoted, so
// that no value of a token ever becomes a line of the document.
func (w *writer) comments(indent string, lines []string) {
	for _, l := range lines {
		if Check(l) != nil {
			l = quote(l)
		}
		w.line("%s# %s", indent, l)
	}
}

func comment(s string) []string {
	if s == "" {
		return nil
	}
	return []string{s}
}

// quoted writes a value that was checked, with quotes where YAML needs them.
func (w *writer) quoted(field, s string) string {
	if err := Check(s); err != nil && w.err == nil {
		w.err = fmt.Errorf("%s: the value cannot be written: %w", field, err)
	}
	switch {
	case plain.MatchString(s) && !reserved.MatchString(s) && !strictyaml.OldBoolean(s):
		return s
	case strings.ContainsAny(s, `"\\`) && !strings.Contains(s, "'") && Check(s) == nil:
		return "'" + s + "'" // no character has another meaning there
	}
	return quote(s)
}

// A plain scalar begins with a letter and holds nothing that means something to
// YAML, in a list or map on one line either; and it is none of the words that
// some reader takes for a boolean or nothing.
var (
	plain    = regexp.MustCompile(`^[A-Za-z](?:[A-Za-z0-9./@_ -]*[A-Za-z0-9./@_-])?$`)
	reserved = regexp.MustCompile(`^(?i:null|true|false)$`)
)

func (w *writer) value(field, s string) { w.line("%s: %s", field, w.quoted(field, s)) }

func (w *writer) match(l Line) {
	values := make([]string, len(l.Values))
	for i, v := range l.Values {
		values[i] = w.quoted(l.Claim, v.Text)
		if v.Glob {
			values[i] = "{glob: " + values[i] + "}"
		}
	}
	text := strings.Join(values, ", ")
	if len(values) != 1 {
		text = "[" + text + "]"
	}
	if len(values) == 0 && w.err == nil {
		w.err = fmt.Errorf("%s: no value", l.Claim)
	}
	w.comments("  ", comment(l.Comment))
	w.line("  %s: %s", w.quoted("match", l.Claim), text)
}

// list writes a list of the grant, or nothing.
func (w *writer) list(field string, values []string) {
	if len(values) == 0 {
		return
	}
	quoted := make([]string, len(values))
	for i, v := range values {
		quoted[i] = w.quoted(field, v)
	}
	w.line("    %s: [%s]", field, strings.Join(quoted, ", "))
}

func (w *writer) networks(prefixes []string) {
	quoted := make([]string, len(prefixes))
	for i, p := range prefixes {
		quoted[i] = w.quoted("networks", p)
	}
	w.line("access: {networks: [%s]}", strings.Join(quoted, ", "))
}

// test writes one test. One that expects a denial asks for this trust by name: to
// grant the same to somebody else elsewhere is no fault of this document.
func (w *writer) test(t Test, d Document) {
	claims := make([]string, len(t.Claims))
	for i, c := range t.Claims {
		value := "null"
		if !c.Absent {
			value = w.quoted(c.Name, c.Value)
		}
		claims[i] = w.quoted("claims", c.Name) + ": " + value
	}
	ask := "to: " + w.quoted("to", d.To)
	if d.Resource != "" {
		ask += ", resource: " + w.quoted("resource", d.Resource)
	}
	expect := "allow"
	if !t.Allow {
		expect = "deny"
		ask += ", trust: " + w.quoted("name", d.Name)
	}
	w.line("  - {name: %s, claims: {%s}, ask: {%s}, expect: %s}", w.quoted("tests", t.Name), strings.Join(claims, ", "), ask, expect)
}

// Name makes a document's name of a text: a-z, 0-9 and -, at most 63.
func Name(s string) string {
	var b strings.Builder
	for i := range len(s) {
		c := s[i]
		switch {
		case c >= 'A' && c <= 'Z':
			c += 'a' - 'A'
		case c >= 'a' && c <= 'z' || c >= '0' && c <= '9':
		default:
			c = '-'
		}
		b.WriteByte(c)
	}
	const longest = 63
	name := b.String()
	name = strings.Trim(name[:min(len(name), longest)], "-")
	if name == "" {
		return "workload"
	}
	return name
}

// Notes collects what is found wrong with a file, which has no lines worth
// pointing at: the field says where.
type Notes struct {
	File     string
	Findings strictyaml.Findings
}

// Error notes what could not be taken over.
func (n *Notes) Error(field, id, message, fix string) {
	n.add(strictyaml.Error, field, id, message, fix)
}

// Warn notes what was taken over and deserves a look.
func (n *Notes) Warn(field, id, message, fix string) {
	n.add(strictyaml.Warning, field, id, message, fix)
}

// Info notes what is different now, and may be.
func (n *Notes) Info(field, id, message, fix string) { n.add(strictyaml.Info, field, id, message, fix) }

// maxNotes bounds what a hostile file can make us say.
const maxNotes = 200

func (n *Notes) add(severity strictyaml.Severity, field, id, message, fix string) {
	f := strictyaml.Finding{ID: id, Severity: severity, File: n.File, Field: shown(field), Message: shown(message), Fix: shown(fix)}
	if len(n.Findings) == maxNotes || slices.Contains(n.Findings, f) {
		return
	}
	n.Findings = append(n.Findings, f)
}

// shown takes out what could move a terminal's cursor: messages repeat foreign
// texts.
func shown(s string) string {
	const longest = 400
	if len(s) > longest {
		s = strings.ToValidUTF8(s[:longest], "") + "..."
	}
	return strings.Map(func(r rune) rune {
		if r == utf8.RuneError || r < ' ' || r > '~' {
			return '?'
		}
		return r
	}, s)
}

// Show is a foreign text inside a message.
func Show(s string) string { return "'" + shown(s) + "'" }

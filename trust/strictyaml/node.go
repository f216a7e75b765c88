package strictyaml

import (
	"strconv"
	"strings"
	"unicode"
	"unicode/utf8"
)

// Kind is what a node holds.
type Kind int

// The kinds. Invalid marks a node that already has an error: whoever meets one
// says nothing more about it and uses nothing of it.
const (
	Invalid Kind = iota
	Null
	Bool
	Int
	Float
	String
	// Ambiguous is a plain scalar that YAML readers disagree about: 0755, 0x1F,
	// 1_000, 1:30, .inf, 2027-03-31, an integer beyond 64 bits. It has no
	// value; only a reader of one fixed form, such as a date, may take its text.
	Ambiguous
	List
	Map
)

// String names the kind as a person would.
func (k Kind) String() string {
	switch k {
	case Invalid:
		return "an invalid value"
	case Null:
		return "nothing"
	case Bool:
		return "a boolean"
	case Int:
		return "a number"
	case Float:
		return "a fraction"
	case String:
		return "text"
	case Ambiguous:
		return "an ambiguous value"
	case List:
		return "a list"
	case Map:
		return "a map"
	}
	return "an unknown value"
}

// Style is how a scalar was written.
type Style int

// The styles of a scalar.
const (
	Plain Style = iota
	SingleQuoted
	DoubleQuoted
	Literal // a block, |
	Folded  // a block, >
)

// Node is a value of the document with its place. Its tree is not changed after
// it was read, but for [Node.Replace].
type Node struct {
	Kind   Kind
	Line   int // from 1
	Column int // from 1, in characters
	Style  Style
	// Text of a scalar: the value of a String, and the source of every other.
	Text string

	origin   string // what to show in place of Text, see Replace
	doc      *document
	parent   *Node
	key      *Node // in a Map: the name's node
	index    int   // in a List
	number   float64
	integer  int64
	names    []*Node // of a Map, in order
	children []*Node
}

// document is the source that the nodes of one tree share.
type document struct {
	file  string
	src   []byte // valid UTF-8, without a BOM
	lines []int  // offset of each line's first byte
}

// File is the name that the document was read under.
func (n *Node) File() string {
	if n == nil || n.doc == nil {
		return ""
	}
	return n.doc.file
}

// Path is where the node stands, such as grants[0].ttl; "" for the root.
func (n *Node) Path() string {
	if n == nil || n.parent == nil {
		return ""
	}
	if n.key != nil {
		return joinPath(n.parent.Path(), n.key.Text)
	}
	return n.parent.Path() + "[" + strconv.Itoa(n.index) + "]"
}

func joinPath(parent, name string) string {
	if !plainName(name) {
		return parent + "[" + strconv.Quote(clip(name)) + "]"
	}
	if parent == "" {
		return name
	}
	return parent + "." + name
}

func plainName(s string) bool {
	for _, c := range s {
		if c != '-' && c != '_' && (c < '0' || c > '9') && (c < 'a' || c > 'z') && (c < 'A' || c > 'Z') {
			return false
		}
	}
	return s != "" && len(s) <= maxShown
}

// Get is the value under a name of a map, or nil. A nil node has none.
func (n *Node) Get(name string) *Node {
	if n == nil || n.Kind == Invalid {
		return nil
	}
	for i, k := range n.names {
		if k.Text == name {
			return n.children[i]
		}
	}
	return nil
}

// Find follows names from here, and stops at the last that exists: the nearest
// place to report something about.
func (n *Node) Find(names ...string) *Node {
	for _, name := range names {
		next := n.Get(name)
		if next == nil {
			return n
		}
		n = next
	}
	return n
}

// Keys are the nodes of a map's names in the document's order; Items[i] is the
// value of Keys[i]. An [Invalid] node has none.
func (n *Node) Keys() []*Node {
	if n == nil || n.Kind == Invalid {
		return nil
	}
	return n.names
}

// Items are the values of a list or map in the document's order.
func (n *Node) Items() []*Node {
	if n == nil || n.Kind == Invalid {
		return nil
	}
	return n.children
}

// Key is the node of the name that a map's value stands under, or nil.
func (n *Node) Key() *Node {
	if n == nil {
		return nil
	}
	return n.key
}

// Bool is the value of a Bool.
func (n *Node) Bool() bool { return n.Kind == Bool && n.integer == 1 }

// Int is the value of an Int.
func (n *Node) Int() int64 {
	if n.Kind != Int {
		return 0
	}
	return n.integer
}

// Float is the value of an Int or a Float.
func (n *Node) Float() float64 {
	switch n.Kind { //nolint:exhaustive // the rest is what follows
	case Int:
		return float64(n.integer)
	case Float:
		return n.number
	}
	return 0
}

// IsScalar reports whether the node is neither a list nor a map.
func (n *Node) IsScalar() bool { return n.Kind != List && n.Kind != Map && n.Kind != Invalid }

// Value is the node as string, bool, int64, float64, nil, []any or
// map[string]any. It reports false, and no value, where anything in it is
// ambiguous or invalid.
func (n *Node) Value() (any, bool) {
	switch n.Kind { //nolint:exhaustive // the rest is what follows
	case Null:
		return nil, true
	case Bool:
		return n.Bool(), true
	case Int:
		return n.integer, true
	case Float:
		return n.number, true
	case String:
		return n.Text, true
	case List:
		out := make([]any, len(n.children))
		for i, c := range n.children {
			v, ok := c.Value()
			if !ok {
				return nil, false
			}
			out[i] = v
		}
		return out, true
	case Map:
		out := make(map[string]any, len(n.children))
		for i, c := range n.children {
			v, ok := c.Value()
			if !ok {
				return nil, false
			}
			out[n.names[i].Text] = v
		}
		return out, true
	}
	return nil, false
}

// Replace gives a scalar another text from outside the document, such as a
// variable's value. The node becomes a String, and messages show origin and
// never the text, which may be a secret.
func (n *Node) Replace(text, origin string) {
	n.Kind, n.Text, n.origin = String, text, origin
}

// Replaced reports whether the text came from outside the document, so that
// nothing about it may be shown.
func (n *Node) Replaced() bool { return n != nil && n.origin != "" }

// Refuse marks the node as one that already has its error.
func (n *Node) Refuse() { n.Kind = Invalid }

// maxShown is how much of a value a message shows: enough to recognise it.
const maxShown = 64

func clip(s string) string {
	if utf8.RuneCountInString(s) <= maxShown {
		return s
	}
	r := []rune(s)
	return string(r[:maxShown-3]) + "..."
}

// Show is the value for a message: quoted, cut, and never the text of a
// variable.
func (n *Node) Show() string {
	switch {
	case n == nil:
		return "nothing"
	case n.origin != "":
		return "the value of " + n.origin
	case n.Kind == List || n.Kind == Map || n.Kind == Null || n.Kind == Invalid:
		return n.Kind.String()
	case n.Kind == String:
		return strconv.Quote(clip(n.Text))
	}
	return clip(n.Text)
}

func (n *Node) finding(s Severity, id, message, fix string) Finding {
	f := Finding{ID: id, Severity: s, Message: message, Fix: fix}
	if n != nil {
		f.File, f.Line, f.Column, f.Field = n.File(), n.Line, n.Column, n.Path()
	}
	return f
}

// TextPosition turns a position inside the node's text (line from 1, column
// from 0 in characters) into one in the file (both from 1). It follows quotes,
// folding and the indentation of blocks; where it cannot, after an escape other
// than \" and \\, it answers the node's own place.
func (n *Node) TextPosition(line, column int) (int, int) {
	if n == nil {
		return 0, 0
	}
	if n.doc == nil || n.origin != "" || !n.IsScalar() {
		return n.Line, n.Column
	}
	at, ok := n.follow(textOffset(n.Text, line, column))
	if !ok {
		return n.Line, n.Column
	}
	return n.doc.position(at)
}

// textOffset is the byte offset of a line and column of s, at most its end.
func textOffset(s string, line, column int) int {
	at := 0
	for ; line > 1; line-- {
		i := strings.IndexByte(s[at:], '\n')
		if i < 0 {
			return len(s)
		}
		at += i + 1
	}
	for ; column > 0 && at < len(s) && s[at] != '\n'; column-- {
		_, size := utf8.DecodeRuneInString(s[at:])
		at += size
	}
	return at
}

// follow walks the source beside the text up to the text's offset. White space
// of either counts as one gap, which is what folding and indentation come to.
func (n *Node) follow(offset int) (int, bool) {
	src, j := n.doc.src, n.doc.offset(n.Line, n.Column)
	switch n.Style { //nolint:exhaustive // the rest is what follows
	case SingleQuoted, DoubleQuoted:
		j++
	case Literal, Folded:
		if n.Line >= len(n.doc.lines) {
			return 0, false
		}
		j = n.doc.lines[n.Line]
	}
	for i := 0; ; {
		if i >= offset && (i >= len(n.Text) || !unicode.IsSpace(rune(n.Text[i]))) {
			if n.Style == Literal || n.Style == Folded {
				j = skipSpace(src, j)
			}
			return min(j, len(src)), true
		}
		if unicode.IsSpace(rune(n.Text[i])) {
			for i < len(n.Text) && unicode.IsSpace(rune(n.Text[i])) {
				i++
			}
			j = skipSpace(src, j)
			continue
		}
		if i == 0 {
			j = skipSpace(src, j)
		}
		if j < len(src) && (n.Style == DoubleQuoted && src[j] == '\\' || n.Style == SingleQuoted && src[j] == '\'') {
			j++
		}
		if j >= len(src) || src[j] != n.Text[i] {
			return 0, false
		}
		i++
		j++
	}
}

func skipSpace(src []byte, j int) int {
	for j < len(src) && (src[j] == ' ' || src[j] == '\t' || src[j] == '\n' || src[j] == '\r') {
		j++
	}
	return j
}

// offset is the byte of a line and column, both from 1.
func (d *document) offset(line, column int) int {
	if line < 1 || line > len(d.lines) {
		return len(d.src)
	}
	at := d.lines[line-1]
	for ; column > 1 && at < len(d.src); column-- {
		_, size := utf8.DecodeRune(d.src[at:])
		at += size
	}
	return at
}

// position is the line and column, both from 1, of a byte.
func (d *document) position(at int) (int, int) {
	line := 1
	for line < len(d.lines) && d.lines[line] <= at {
		line++
	}
	return line, utf8.RuneCount(d.src[d.lines[line-1]:at]) + 1
}

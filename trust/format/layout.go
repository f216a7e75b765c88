package format

import (
	"slices"
	"strings"

	"cambio/trust/strictyaml"
)

// entry is a name with its value, or an item of a list.
type entry struct {
	key   *strictyaml.Node // nil for an item
	value *strictyaml.Node
	child *block   // where the value is written on lines of its own
	head  []string // comments above; "" is an empty line
	line  string   // the comment behind
	gap   bool     // an empty line stands right above
	role  role     // of the value
	id    bool     // the value, or each of its items, is an id

	in         *block
	at         int // where it begins
	begin, end int // the lines that a comment behind it can be on
}

// block is a map or list that is written on lines of its own.
type block struct {
	list    bool
	ids     bool // its items are ids
	flow    bool // it was written in brackets, over several lines
	column  int  // from 0
	parent  *entry
	entries []*entry
	tail    []string // comments below the last entry
}

// layout is a document as blocks with their comments.
type layout struct {
	src     *source
	found   reading
	root    *block
	header  []string
	server  string // the line for the language server
	order   []*entry
	inFlows map[int]*block // by where the brackets begin
}

func (l *layout) build(root *strictyaml.Node, found reading) {
	l.found, l.inFlows = found, map[int]*block{}
	l.root = l.block(root, nil)
	for _, c := range found.comments {
		l.attach(c)
	}
	l.top()
}

// inline reports whether a list or map stays in brackets: it was written so, in
// one line.
func (l *layout) inline(n *strictyaml.Node) bool {
	if len(n.Items()) == 0 {
		return true
	}
	at := l.src.offset(n)
	end, ok := l.found.flows[at]
	return ok && l.src.line(at) == l.src.line(end)
}

func (l *layout) block(n *strictyaml.Node, parent *entry) *block {
	at := l.src.offset(n)
	_, flow := l.found.flows[at]
	b := &block{list: n.Kind == strictyaml.List, flow: flow, column: n.Column - 1, parent: parent}
	if flow {
		l.inFlows[at] = b
	}
	for i, item := range n.Items() {
		e := &entry{value: item, in: b}
		begin := item
		if n.Kind == strictyaml.Map {
			e.key = n.Keys()[i]
			begin = e.key
		}
		e.at = l.src.offset(begin)
		if len(l.order) > 0 {
			e.at = max(e.at, l.order[len(l.order)-1].at) // a value that is nothing has no place of its own
		}
		e.begin = l.src.line(min(e.at, len(l.src.text)-1))
		e.end = e.begin
		e.gap = l.src.blankBefore(e.begin)
		b.entries = append(b.entries, e)
		l.order = append(l.order, e)
		switch {
		case !item.IsScalar() && !l.inline(item):
			e.child = l.block(item, e)
		case !item.IsScalar():
			if end, ok := l.found.flows[l.src.offset(item)]; ok {
				e.end = l.src.line(end)
			}
		case item.Style == strictyaml.Literal || item.Style == strictyaml.Folded:
			e.end = item.Line - 1
		case item.Text != "" || item.Style != strictyaml.Plain:
			e.end = l.src.line(l.src.end(item) - 1)
		}
	}
	return b
}

// attach gives a comment to what it is about: the value that it stands behind, else
// what follows, else the block that it stands in.
func (l *layout) attach(c comment) {
	i, _ := slices.BinarySearchFunc(l.order, c.at, func(e *entry, at int) int {
		if e.at <= at {
			return -1
		}
		return 1
	})
	var before, next *entry
	if i > 0 {
		before = l.order[i-1]
	}
	if i < len(l.order) {
		next = l.order[i]
	}
	if !c.own && before != nil && before.line == "" && (c.line == before.begin || c.line == before.end) {
		before.line = c.text
		return
	}
	if owner := l.closed(c); owner != nil && owner.line == "" {
		owner.line = c.text
		return
	}
	lines := []string{c.text}
	if c.own && l.src.blankBefore(c.line) {
		lines = []string{"", c.text}
	}
	switch b := l.within(c, before, next); {
	case before == nil:
		l.header = append(l.header, lines...)
	case b != nil:
		b.tail = append(b.tail, lines...)
	case next != nil:
		next.head = append(next.head, lines...)
	default:
		l.root.tail = append(l.root.tail, lines...)
	}
}

// closed is whose brackets end before a comment in its line.
func (l *layout) closed(c comment) *entry {
	for at, b := range l.inFlows {
		if end := l.found.flows[at]; end < c.at && l.src.line(end) == c.line && b.parent != nil && !b.parent.in.flow {
			return b.parent
		}
	}
	return nil
}

// within is the block that a comment stands at the end of, or nil for one that is
// about what follows.
func (l *layout) within(c comment, before, next *entry) *block {
	var inside *block // the innermost brackets
	opened := -1
	for at, b := range l.inFlows {
		if at < c.at && c.at < l.found.flows[at] && at > opened {
			inside, opened = b, at
		}
	}
	switch {
	case inside != nil && next != nil && next.at < l.found.flows[opened]:
		return nil
	case inside != nil:
		return inside
	case before == nil || next != nil && c.column <= next.in.column:
		return nil
	}
	for b := before.in; b != nil; {
		// A list may stand as far in as the name that holds it: the comment there is
		// not the list's.
		below := b.parent == nil || b.column > b.parent.in.column
		if !b.flow && below && b.column <= c.column && (next == nil || b.column > next.in.column) {
			return b
		}
		if b.parent == nil {
			return nil
		}
		b = b.parent.in
	}
	return nil
}

// top takes the line for the language server out of what stands above everything.
func (l *layout) top() {
	for i, line := range l.header {
		if strings.HasPrefix(line, headerPrefix) {
			l.server = line
			l.header = slices.Delete(l.header, i, i+1)
			break
		}
	}
	if l.server == "" {
		l.header = trimGap(l.header)
	}
	if len(l.root.entries) > 0 && l.root.entries[0].gap && len(l.header) > 0 {
		l.header = append(l.header, "")
	}
	if len(l.root.entries) > 0 {
		l.root.entries[0].gap = false
	}
}

// trimGap takes empty lines off the front.
func trimGap(lines []string) []string {
	for len(lines) > 0 && lines[0] == "" {
		lines = lines[1:]
	}
	return lines
}

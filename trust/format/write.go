package format

import (
	"regexp"
	"slices"
	"strings"

	"cambio/trust/strictyaml"
)

type writer struct {
	b    strings.Builder
	src  *source
	kept bool // a block scalar that keeps its line ends is the last thing written
}

func (w *writer) document(l *layout, header string) {
	w.src = l.src
	switch {
	case l.server != "":
		w.put(0, l.server)
	case header != "":
		w.put(0, header)
	}
	w.comments(0, l.header)
	w.block(l.root, 0, "")
	w.comments(0, l.root.tail)
}

// put writes one line.
func (w *writer) put(in int, text string) {
	w.kept = false
	w.b.WriteString(strings.Repeat(" ", in) + text + "\n")
}

// gap writes an empty line, but where it would become part of a text.
func (w *writer) gap() {
	if !w.kept && w.b.Len() > 0 && !strings.HasSuffix(w.b.String(), "\n\n") {
		w.b.WriteString("\n")
	}
}

func (w *writer) comments(in int, lines []string) {
	for _, line := range lines {
		if line == "" {
			w.gap()
			continue
		}
		w.put(in, line)
	}
}

// block writes the entries so far in. lead is what the first of them stands behind
// in its line: the dashes of lists.
func (w *writer) block(b *block, in int, lead string) {
	for i, e := range b.entries {
		before := strings.Repeat(" ", in)
		if i == 0 && lead != "" {
			before = lead
		} else {
			w.comments(in, e.head)
			if e.gap {
				w.gap()
			}
		}
		if e.key == nil {
			w.item(e, in, before)
		} else {
			w.name(e, in, before)
		}
		if e.child != nil {
			w.comments(in+step, e.child.tail)
		}
	}
}

// step is how far what a name holds stands behind it.
const step = 2

func (w *writer) item(e *entry, in int, before string) {
	if e.child != nil {
		w.block(e.child, in+step, before+"- ")
		return
	}
	w.scalar(e, in, before+"- ")
}

func (w *writer) name(e *entry, in int, before string) {
	before += w.text(e.key, !e.in.flow) + ":"
	if e.child != nil {
		w.put(0, behind(before, e.line))
		w.block(e.child, in+step, "")
		return
	}
	w.scalar(e, in, before+" ")
}

// scalar ends a line with a value that needs no other, or is a block scalar.
func (w *writer) scalar(e *entry, in int, before string) {
	n := e.value
	if n.Style == strictyaml.Literal || n.Style == strictyaml.Folded {
		if _, found := leading(n.Text); found {
			w.blockScalar(e, in, before)
			return
		}
	}
	value := w.inline(n, e.role, e.id, !e.in.flow)
	if value == "" && e.key == nil {
		value = "null"
	}
	w.put(0, behind(strings.TrimRight(before+value, " "), e.line))
}

func behind(line, comment string) string {
	if comment == "" {
		return line
	}
	return line + " " + comment
}

// blockScalar writes the lines as they are, at their new place.
func (w *writer) blockScalar(e *entry, in int, before string) {
	n := e.value
	b := w.src.block(n)
	header := "|"
	if n.Style == strictyaml.Folded {
		header = ">"
	}
	for _, line := range b.lines {
		if strings.HasPrefix(line, " ") {
			header += "2" // spaces of the text itself would be taken for ours
			break
		}
		if line != "" {
			break
		}
	}
	switch {
	case !strings.HasSuffix(n.Text, "\n"):
		header += "-"
	case b.keep:
		header += "+"
	}
	w.put(0, behind(before+header, e.line))
	for _, line := range b.lines {
		if line == "" {
			w.b.WriteString("\n")
			continue
		}
		w.put(in+step, line)
	}
	w.kept = b.keep
}

// inline is a value in one line. asWritten says that a plain text of one line can
// stay what it is: it stands where it stood.
func (w *writer) inline(n *strictyaml.Node, r role, id, asWritten bool) string {
	switch n.Kind { //nolint:exhaustive // the rest is what follows
	case strictyaml.List:
		items := make([]string, len(n.Items()))
		for i, item := range n.Items() {
			items[i] = w.element(item, r.below(""), id)
		}
		return "[" + strings.Join(items, ", ") + "]"
	case strictyaml.Map:
		return w.pairs(n, r)
	case strictyaml.Null:
		return n.Text
	case strictyaml.String:
		if id && n.Style == strictyaml.Plain {
			return quoted(n.Text)
		}
	}
	return w.text(n, asWritten)
}

func (w *writer) pairs(n *strictyaml.Node, r role) string {
	order := make([]int, len(n.Keys()))
	for i := range order {
		order[i] = i
	}
	names := r.names()
	slices.SortStableFunc(order, func(a, b int) int { return rank(names, n.Keys()[a].Text) - rank(names, n.Keys()[b].Text) })
	pairs := make([]string, len(order))
	for k, i := range order {
		key := n.Keys()[i]
		pairs[k] = w.text(key, true) + ": " + w.element(n.Items()[i], r.below(key.Text), r == claims && isID(key.Text))
	}
	return "{" + strings.Join(pairs, ", ") + "}"
}

// element is a value inside of brackets.
func (w *writer) element(n *strictyaml.Node, r role, id bool) string {
	if s := w.inline(n, r, id, true); s != "" {
		return s
	}
	return "null"
}

// text is a scalar without line ends: plain where it was, else in quotes.
func (w *writer) text(n *strictyaml.Node, asWritten bool) string {
	if n.Style == strictyaml.Plain && n.Kind != strictyaml.String {
		return n.Text
	}
	oneLine := func() bool { return w.src.line(w.src.offset(n)) == w.src.line(max(w.src.offset(n), w.src.end(n)-1)) }
	if n.Style == strictyaml.Plain && !strictyaml.OldBoolean(n.Text) && (asWritten && oneLine() || plain.MatchString(n.Text)) {
		return n.Text
	}
	return quoted(n.Text)
}

// A text that is plain wherever it stands: no number, no date, nothing that
// means something to YAML.
var plain = regexp.MustCompile(`^[A-Za-z](?:[A-Za-z0-9./@_ -]*[A-Za-z0-9./@_-])?$`)

// quoted writes a text in quotes (YAML 1.2.2 section 7.3): double ones, but where
// much would have to be escaped. What was read holds no invisible character but
// line ends and tabs.
func quoted(s string) string {
	if strings.ContainsAny(s, `"\`) && !strings.ContainsAny(s, "\n\t\r") {
		return "'" + strings.ReplaceAll(s, "'", "''") + "'"
	}
	return `"` + strings.NewReplacer(`\`, `\\`, `"`, `\"`, "\n", `\n`, "\t", `\t`, "\r", `\r`).Replace(s) + `"`
}

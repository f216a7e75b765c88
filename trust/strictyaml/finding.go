package strictyaml

import (
	"cmp"
	"fmt"
	"slices"
	"strings"
)

// Severity says how much a finding matters.
type Severity string

// The severities. Only an error stops a document from being used.
const (
	Error   Severity = "error"
	Warning Severity = "warning"
	Info    Severity = "info"
)

// Finding is one thing to say about a document.
type Finding struct {
	ID       string   `json:"id"` // a stable kebab slug
	Severity Severity `json:"severity"`
	File     string   `json:"file"`
	Line     int      `json:"line"`            // from 1; 0 where the finding is about the whole file
	Column   int      `json:"column"`          // from 1, in characters
	Field    string   `json:"field,omitempty"` // such as grants[0].ttl
	Message  string   `json:"message"`
	Fix      string   `json:"fix,omitempty"` // what to write instead
}

// String is the finding on one line, in the form that editors jump to:
// file:line:column: severity: field: message; fix [id].
func (f Finding) String() string {
	var b strings.Builder
	b.WriteString(f.File)
	if f.Line > 0 {
		fmt.Fprintf(&b, ":%d:%d", f.Line, f.Column)
	}
	fmt.Fprintf(&b, ": %s: ", f.Severity)
	if f.Field != "" {
		b.WriteString(f.Field + ": ")
	}
	b.WriteString(f.Message)
	if f.Fix != "" {
		b.WriteString("; " + f.Fix)
	}
	return b.String() + " [" + f.ID + "]"
}

// Findings is a list of findings. It is an error so that it can be returned as
// one, but a list without errors is not a failure: ask [Findings.HasErrors].
type Findings []Finding //nolint:errname // findings with warnings alone are no error

// Error is one finding a line.
func (fs Findings) Error() string {
	lines := make([]string, len(fs))
	for i, f := range fs {
		lines[i] = f.String()
	}
	return strings.Join(lines, "\n")
}

// HasErrors reports whether any finding is an error.
func (fs Findings) HasErrors() bool {
	return slices.ContainsFunc(fs, func(f Finding) bool { return f.Severity == Error })
}

// Sorted is a copy in the order of file, line and column.
func (fs Findings) Sorted() Findings {
	out := slices.Clone(fs)
	slices.SortStableFunc(out, func(a, b Finding) int {
		return cmp.Or(cmp.Compare(a.File, b.File), cmp.Compare(a.Line, b.Line), cmp.Compare(a.Column, b.Column))
	})
	return out
}

// maxFindings is the most that one document is told at once. Nobody reads
// more, and a hostile file must not turn each of its bytes into a message.
const maxFindings = 200

// Reporter collects findings about the nodes of a document. The zero value is
// ready.
type Reporter struct {
	findings Findings
	dropped  int
	meant    []misspelt
}

// misspelt is a field that a map most likely has under another name.
type misspelt struct {
	in   *Node
	name string
}

// Findings are those collected, sorted. At most 200 are kept, errors and
// warnings alike; the last then says how many there were beyond.
func (r *Reporter) Findings() Findings {
	fs := r.findings.Sorted()
	if r.dropped > 0 {
		last := fs[len(fs)-1]
		fs = append(fs, Finding{
			ID: "too-many-findings", Severity: Error, File: last.File, Line: last.Line, Column: last.Column,
			Message: fmt.Sprintf("%d more findings are not shown", r.dropped), Fix: "repair the ones above first",
		})
	}
	return fs
}

// Add takes findings as they are.
func (r *Reporter) Add(fs ...Finding) {
	for _, f := range fs {
		if len(r.findings) >= maxFindings {
			r.dropped++
			continue
		}
		f.Message, f.Fix = printable(f.Message), printable(f.Fix)
		r.findings = append(r.findings, f)
	}
}

// printable takes out what could move the cursor or turn the text of a terminal:
// messages repeat words of the document.
func printable(s string) string {
	return strings.Map(func(c rune) rune {
		if invisible(c) {
			return '?'
		}
		return c
	}, s)
}

// Error reports an error at a node. fix is an order such as `write 15m`, or "".
func (r *Reporter) Error(n *Node, id, message, fix string) {
	r.Add(n.finding(Error, id, message, fix))
}

// Warn reports a warning at a node.
func (r *Reporter) Warn(n *Node, id, message, fix string) {
	r.Add(n.finding(Warning, id, message, fix))
}

// Info reports something worth knowing at a node.
func (r *Reporter) Info(n *Node, id, message, fix string) {
	r.Add(n.finding(Info, id, message, fix))
}

// ErrorIn reports an error inside a node's text: line (from 1) and column (from
// 0, in characters) count within the value, as CEL counts them.
func (r *Reporter) ErrorIn(n *Node, line, column int, id, message, fix string) {
	f := n.finding(Error, id, message, fix)
	f.Line, f.Column = n.TextPosition(line, column)
	r.Add(f)
}

// Meant reports whether an unknown field of the map was taken for this name, so
// that its absence is said already.
func (r *Reporter) Meant(m *Node, name string) bool {
	return slices.Contains(r.meant, misspelt{m, name})
}

// Missing reports a field that a map must have and has not, unless it is there
// misspelt, see [Reporter.Meant].
func (r *Reporter) Missing(m *Node, name, fix string) {
	if r.Meant(m, name) {
		return
	}
	f := m.finding(Error, "required", "is required", fix)
	f.Field = joinPath(m.Path(), name)
	r.Add(f)
}

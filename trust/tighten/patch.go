package tighten

import (
	"fmt"
	"strings"
)

// context is how many unchanged lines stand around a change.
const context = 3

// unified is a patch from one text to another, as patch and git apply read it;
// "" where they are alike.
func unified(name string, before, after []byte) string {
	a, b := strings.SplitAfter(string(before), "\n"), strings.SplitAfter(string(after), "\n")
	ops := script(a, b)
	var out strings.Builder
	for i := 0; i < len(ops); {
		if ops[i].kind == ' ' {
			i++
			continue
		}
		from := max(0, i-context)
		to, quiet := i, 0
		for ; to < len(ops) && quiet <= 2*context; to++ {
			if quiet++; ops[to].kind != ' ' {
				quiet = 0
			}
		}
		to -= max(0, quiet-context)
		if out.Len() == 0 {
			fmt.Fprintf(&out, "--- a/%s\n+++ b/%s\n", name, name)
		}
		hunk(&out, ops[from:to])
		i = to
	}
	return out.String()
}

func hunk(out *strings.Builder, ops []op) {
	removed, added := 0, 0
	for _, o := range ops {
		if o.kind != '+' {
			removed++
		}
		if o.kind != '-' {
			added++
		}
	}
	fmt.Fprintf(out, "@@ -%d,%d +%d,%d @@\n", ops[0].a+1, removed, ops[0].b+1, added)
	for _, o := range ops {
		out.WriteByte(o.kind)
		out.WriteString(o.text)
		if !strings.HasSuffix(o.text, "\n") {
			out.WriteString("\n\\ No newline at end of file\n")
		}
	}
}

// op is one line of a patch, and where it stands in both texts.
type op struct {
	kind byte // ' ', '-' or '+'
	text string
	a, b int
}

// script is the shortest way from a to b, by the longest lines in common. What is
// alike at both ends is not compared: a document has few changes.
func script(a, b []string) []op {
	if n := len(a); n > 0 && a[n-1] == "" {
		a = a[:n-1]
	}
	if n := len(b); n > 0 && b[n-1] == "" {
		b = b[:n-1]
	}
	head := 0
	for head < len(a) && head < len(b) && a[head] == b[head] {
		head++
	}
	tail := 0
	for tail < len(a)-head && tail < len(b)-head && a[len(a)-1-tail] == b[len(b)-1-tail] {
		tail++
	}
	x, y := a[head:len(a)-tail], b[head:len(b)-tail]
	common := inCommon(x, y)
	var ops []op
	i, j := 0, 0
	add := func(kind byte, text string) {
		ops = append(ops, op{kind, text, i, j})
		if kind != '+' {
			i++
		}
		if kind != '-' {
			j++
		}
	}
	for i < head {
		add(' ', a[i])
	}
	for i < head+len(x) || j < head+len(y) {
		p, q := i-head, j-head
		switch {
		case common != nil && p < len(x) && q < len(y) && x[p] == y[q]:
			add(' ', x[p])
		case p < len(x) && (q == len(y) || common == nil || common[p+1][q] >= common[p][q+1]):
			add('-', x[p])
		default:
			add('+', y[q])
		}
	}
	for i < len(a) {
		add(' ', a[i])
	}
	return ops
}

// maxCompared bounds the table of a comparison. Beyond it all lines between the
// first and the last change are shown as changed.
const maxCompared = 1 << 22

// inCommon is, for each pair of places, how many lines the rests have in common.
func inCommon(x, y []string) [][]int {
	if len(x)*len(y) > maxCompared {
		return nil
	}
	common := make([][]int, len(x)+1)
	for i := range common {
		common[i] = make([]int, len(y)+1)
	}
	for i := len(x) - 1; i >= 0; i-- {
		for j := len(y) - 1; j >= 0; j-- {
			if x[i] == y[j] {
				common[i][j] = common[i+1][j+1] + 1
			} else {
				common[i][j] = max(common[i+1][j], common[i][j+1])
			}
		}
	}
	return common
}

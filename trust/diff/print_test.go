package diff_test

import (
	"encoding/json"
	"fmt"
	"strings"
	"testing"

	"cambio/trust"
	"cambio/trust/diff"
)

// outside are the lines of Markdown that do not stand in a fenced block, and
// whether all blocks are closed.
func outside(text string) (lines []string, closed bool) {
	fence := ""
	for line := range strings.Lines(text) {
		line = strings.TrimSuffix(line, "\n")
		ticks := line[:len(line)-len(strings.TrimLeft(line, "`"))]
		switch {
		case fence == "" && len(ticks) >= 3:
			fence = ticks
		case fence != "" && len(ticks) >= len(fence) && ticks == line:
			fence = ""
		case fence == "":
			lines = append(lines, line)
		}
	}
	return lines, fence == ""
}

// ours are the words of a report that stand outside the blocks.
func ours(line string) bool {
	for _, title := range []string{"### Access grows", "### Not decided", "### Access shrinks", "### No change of access", ""} {
		if line == title {
			return true
		}
	}
	return strings.HasPrefix(line, "**") && strings.HasSuffix(line, ".**") && !strings.ContainsAny(line, "<>@`[]|") ||
		strings.HasPrefix(line, "and ") && strings.HasSuffix(line, " that do not fit here: run `cambio trust diff`.")
}

func markdown(tb testing.TB, r diff.Report) {
	tb.Helper()
	lines, closed := outside(r.Markdown())
	if !closed {
		tb.Errorf("a block stays open:\n%s", r.Markdown())
	}
	for _, line := range lines {
		if !ours(line) {
			tb.Errorf("%q stands outside the blocks:\n%s", line, r.Markdown())
		}
	}
	if n := len(r.Markdown()); n > 65_536 {
		tb.Errorf("%d bytes are more than a comment may have", n)
	}
}

// TestMarkdownHoldsDocuments: what a document says stays within the blocks.
func TestMarkdownHoldsDocuments(t *testing.T) {
	t.Parallel()
	for _, evil := range []string{"```` <b>@acme/owners</b>", "| a | b |", "[x](https://evil.test)", "<!-- -->", "![](https://evil.test/x.png)", "~~~", "# x", "closes #1"} {
		after := edit(t, `"2"`, fmt.Sprintf("%q", evil), "owner: team@acme.test", fmt.Sprintf("owner: %q", evil), "resource: r/1", fmt.Sprintf("resource: %q", "urn:"+evil))
		r := compare(t, base, after)
		markdown(t, r)
		if !strings.Contains(r.Markdown(), strings.Trim(fmt.Sprintf("%q", evil), `"`)) {
			t.Errorf("%q is not told of:\n%s", evil, r.Markdown())
		}
	}
}

// TestMarkdownFits: a thousand changes still are one comment.
func TestMarkdownFits(t *testing.T) {
	t.Parallel()
	var r diff.Report
	for i := range 1000 {
		r.Items = append(r.Items, diff.Item{Kind: diff.KindTrust, Name: fmt.Sprint("t", i), Effect: diff.Grows, Lines: []diff.Line{{Sign: diff.Plus, Text: strings.Repeat("x", 200), Effect: diff.Grows}}})
	}
	markdown(t, r)
	if !strings.Contains(r.Markdown(), "changes that do not fit here") || !strings.Contains(r.Markdown(), "**1000 changes: access grows in 1000.**") {
		t.Error(r.Markdown()[:200])
	}
}

// TestJSON: programs read effects, signs and examples.
func TestJSON(t *testing.T) {
	t.Parallel()
	data, err := json.Marshal(compare(t, base, edit(t, "ttl: 15m", "ttl: 1h")))
	if err != nil {
		t.Fatal(err)
	}
	var r struct {
		Effect string
		Items  []struct {
			Kind, Name, File, Owner, Effect string
			Changes                         []struct{ Sign, Text, Effect string }
			Gained                          struct {
				Claims map[string]any
				To     string
			}
		}
	}
	if err := json.Unmarshal(data, &r); err != nil {
		t.Fatal(err)
	}
	if r.Effect != "grows" || len(r.Items) != 1 || r.Items[0].Name != "main" || r.Items[0].Changes[0].Sign != "~" || r.Items[0].Gained.To != "a" || r.Items[0].Gained.Claims["repository_id"] != "2" {
		t.Errorf("%s", data)
	}
}

func FuzzMarkdown(f *testing.F) {
	for _, s := range []string{"main", "```", "`````\n# x", "a\r\n```\nb", "@all", "\u2028```"} {
		f.Add(s, s)
	}
	f.Fuzz(func(t *testing.T, value, owner string) {
		quoted := func(s string) string {
			data, err := json.Marshal(s)
			if err != nil {
				t.Fatal(err)
			}
			return string(data)
		}
		var sources []trust.Source
		for i, doc := range strings.Split(edit(t, `"2"`, quoted(value), "owner: team@acme.test", "owner: "+quoted(owner)), "---\n") {
			sources = append(sources, trust.Source{Name: fmt.Sprint(i, value), Data: []byte(doc)})
		}
		p, _ := trust.Compile(world(), sources, now())
		if p == nil {
			return
		}
		r, err := diff.Compare(t.Context(), policy(t, base), p, diff.Options{Now: now()})
		if err != nil {
			t.Fatal(err)
		}
		markdown(t, r)
	})
}

package diff

import (
	"fmt"
	"strings"
	"time"

	"cambio/trust/words"
)

// nothing is the report on a change without effect and without words.
const nothing = "No change of access."

// Summary is one line: what the change does, in numbers.
func (r Report) Summary() string {
	if len(r.Items) == 0 {
		return nothing
	}
	counts := map[Effect]int{}
	for _, i := range r.Items {
		counts[i.Effect]++
	}
	if counts[None] == len(r.Items) {
		return fmt.Sprintf("No change of access; %s otherwise.", changes(len(r.Items)))
	}
	var parts []string
	add := func(n int, text string) {
		if n > 0 {
			parts = append(parts, fmt.Sprintf("%d %s", n, text))
		}
	}
	add(counts[Grows], "gain access")
	add(counts[Both], "gain and lose access")
	add(counts[Undecided], "may gain access, which could not be decided")
	add(counts[Shrinks], "lose access")
	add(counts[None], "without a change of access")
	return fmt.Sprintf("%s: %s.", changes(len(r.Items)), strings.Join(parts, ", "))
}

func changes(n int) string {
	if n == 1 {
		return "1 change"
	}
	return fmt.Sprintf("%d changes", n)
}

// Text is the report for people: the summary, then for each item a line that
// begins with its kind, and lines that begin with two spaces and a sign.
func (r Report) Text() string {
	var b strings.Builder
	b.WriteString(r.Summary() + "\n")
	for _, i := range r.Items {
		b.WriteString("\n" + i.title() + "\n")
		for _, l := range i.lines() {
			b.WriteString("  " + l + "\n")
		}
	}
	return strings.TrimSuffix(b.String(), "\n")
}

func (i Item) title() string {
	s := string(i.Kind) + " " + words.One(i.Name)
	if i.File != "" {
		s += ", " + words.Plain(i.File, " ")
	}
	return s
}

// lines are those of an item, each with its sign.
func (i Item) lines() []string {
	var out []string
	for _, l := range i.Lines {
		out = append(out, string(l.Sign)+" "+l.Text)
	}
	switch {
	case i.Effect == None && len(i.Lines) > 0 && i.Lines[0].Sign != Equal:
		out = append(out, "= no change of access: "+i.Why)
	case i.Effect == Undecided:
		out = append(out, "? "+i.Why)
	}
	if i.Gained != nil {
		out = append(out, "  newly allowed, for example: "+i.Gained.String())
	}
	if i.Lost != nil {
		out = append(out, "  no longer allowed, for example: "+i.Lost.String())
	}
	return out
}

// String says the example in words.
func (e Example) String() string {
	s := e.Provider + " with " + words.Token(e.Claims) + " asks for " + words.One(e.Target)
	if e.Resource != "" {
		s += " " + words.Plain(e.Resource, "")
	}
	if len(e.Scopes) > 0 {
		s += " (" + words.Scopes(e.Scopes) + ")"
	}
	if e.Address != "" {
		s += " from " + words.One(e.Address)
	}
	return s + " at " + e.At.UTC().Format(time.RFC3339)
}

// maxMarkdown stays below what a forge takes for one comment, 65,536 characters.
const maxMarkdown = 60_000

// Markdown is the report for a pull request. All that a document says stands in
// one fenced block for each kind of effect, where a forge reads no markup, no
// mention and no link: whoever may write a document must not thereby write in the
// name of whoever posts the report.
func (r Report) Markdown() string {
	var b strings.Builder
	if len(r.Items) == 0 {
		return nothing + "\n"
	}
	b.WriteString("**" + r.Summary() + "**\n")
	left := maxMarkdown
	for _, section := range []struct {
		title   string
		effects []Effect
	}{
		{"Access grows", []Effect{Grows, Both}}, {"Not decided", []Effect{Undecided}},
		{"Access shrinks", []Effect{Shrinks}}, {"No change of access", []Effect{None}},
	} {
		var lines []string
		dropped := 0
		for _, effect := range section.effects {
			for _, i := range r.Items {
				if i.Effect != effect {
					continue
				}
				text := i.title() + "\n" + strings.Join(i.lines(), "\n") + "\n"
				if left -= len(text); left < 0 {
					dropped++
					continue
				}
				lines = append(lines, text)
			}
		}
		if len(lines) == 0 && dropped == 0 {
			continue
		}
		text := strings.Join(lines, "\n")
		fence := fenceFor(text)
		fmt.Fprintf(&b, "\n### %s\n\n%sdiff\n%s%s\n", section.title, fence, text, fence)
		if dropped > 0 {
			fmt.Fprintf(&b, "\nand %s that do not fit here: run `cambio trust diff`.\n", changes(dropped))
		}
	}
	return b.String()
}

// fenceFor is longer than any run of backticks in the text, so that nothing in it
// ends the block.
func fenceFor(text string) string {
	longest, run := 0, 0
	for _, r := range text {
		run++
		if r != '`' {
			run = 0
		}
		longest = max(longest, run)
	}
	return strings.Repeat("`", max(3, longest+1))
}

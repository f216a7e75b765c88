package diff

import (
	"fmt"
	"strings"
	"time"

	"cambio/trust"
	"cambio/trust/prove"
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
	for _, c := range []struct {
		effect Effect
		verb   string
	}{{Grows, "grows"}, {Both, "grows and shrinks"}, {Undecided, "may grow, which is not decided,"}, {Shrinks, "shrinks"}, {None, "stays the same"}} {
		if n := counts[c.effect]; n > 0 {
			parts = append(parts, fmt.Sprintf("%s in %d", c.verb, n))
		}
	}
	return fmt.Sprintf("%s: access %s.", changes(len(r.Items)), strings.Join(parts, ", "))
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
		for _, l := range i.lines(r.now) {
			b.WriteString("  " + l + "\n")
		}
	}
	return strings.TrimSuffix(b.String(), "\n")
}

func (i Item) title() string {
	s := string(i.Kind) + " " + words.One(i.Name)
	if i.File != "" {
		s += ", " + words.Plain(i.File, " ~^")
	}
	return s
}

// lines are those of an item, each with its sign.
func (i Item) lines(now time.Time) []string {
	var out []string
	for _, l := range i.Lines {
		out = append(out, string(l.Sign)+" "+l.Text)
	}
	switch {
	case i.Effect == None && i.Why != "":
		out = append(out, "= no change of access: "+i.Why)
	case i.Effect == Undecided:
		out = append(out, "? "+i.Why)
	}
	if i.Gained != nil {
		out = append(out, "  newly allowed, for example: "+inWords(*i.Gained, now))
	}
	if i.Lost != nil {
		out = append(out, "  no longer allowed, for example: "+inWords(*i.Lost, now))
	}
	return out
}

// inWords says an example: who gets what, from where and when. The next whole minute
// is now: an example of what does not hang on the time says none.
func inWords(e prove.Example, now time.Time) string {
	got := trust.WrittenGrant{Target: e.Grant.Target, Resource: e.Grant.Resource, Scopes: e.Grant.Scopes, TTL: e.Grant.TTL.Round(time.Second)}
	s := e.Provider + " with " + words.Token(e.Claims) + " gets " + words.Grant(got)
	if e.Request.Trust != "" {
		s += " by trust " + words.One(e.Request.Trust)
	}
	if e.Request.Address.IsValid() {
		s += " from " + e.Request.Address.String()
	}
	if e.At.Sub(now) > time.Minute {
		s += " at " + e.At.UTC().Format(time.RFC3339)
	}
	return s
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
		{"Access grows", []Effect{Grows, Both}},
		{"Not decided", []Effect{Undecided}},
		{"Access shrinks", []Effect{Shrinks}},
		{"No change of access", []Effect{None}},
	} {
		var lines []string
		dropped := 0
		for _, effect := range section.effects {
			for _, i := range r.Items {
				if i.Effect != effect {
					continue
				}
				text := i.title() + "\n" + strings.Join(i.lines(r.now), "\n") + "\n"
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

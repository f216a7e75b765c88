package backtest

import (
	"fmt"
	"strconv"
	"strings"
	"time"
	"unicode"
)

// Text is the report for people. What a journal says of others is quoted where
// it could move a cursor.
func (r Report) Text() string {
	var b strings.Builder
	r.totals(&b)
	for _, part := range []struct {
		kind  Kind
		title string
	}{
		{Lost, "Allowed then, denied now"},
		{Ambiguous, "Denied now unless the caller names the trust (the journal does not say whether it did)"},
		{Gained, "Denied then, allowed now"},
		{Narrowed, "Allowed, for less"},
		{Undecided, "Cannot be judged again, for want of a claim that the journal does not keep"},
	} {
		r.groups(&b, part.kind, part.title)
	}
	r.shadows(&b)
	r.unused(&b)
	b.WriteString("\nLeft out, as no policy decides them: stops, and the one use of a token.\n")
	return b.String()
}

func (r Report) totals(b *strings.Builder) {
	if r.From.IsZero() {
		b.WriteString("No decision was recorded in that time.\n")
		return
	}
	what := "decisions"
	if r.Judged == 1 {
		what = "decision"
	}
	fmt.Fprintf(b, "%d %s judged again, from %s to %s; policy %s\n", r.Judged, what, stamp(r.From), stamp(r.To), r.Policy)
	line := func(name string, n int64, more string) {
		if n > 0 || more == "" {
			fmt.Fprintf(b, "  %-22s %d%s\n", name, n, more)
		}
	}
	line("allow to deny", r.Lost, "")
	line("deny to allow", r.Gained, "")
	line("ambiguous", r.Ambiguous, " (denied now, unless the caller names the trust)")
	line("narrowed", r.Narrowed, " (allowed for a shorter time, or with fewer scopes)")
	line("allowed as then", r.Kept, "")
	line("denied as then", r.Denied, "")
	line("by another trust", r.Moved, " (of those that stay allowed)")
	line("dry runs", r.DryRuns, " (of all)")
	line("cannot be judged again", r.Undecided, ": "+list(r.Hinges)+" not recorded")
	line("refused tokens", r.Unproven, " (refused before the policy was asked, or recorded without claims)")
	line("only counted", r.Summarised, " (refusals that the journal holds as a number)")
	if len(r.Elsewhere) > 0 {
		fmt.Fprintf(b, "  %-22s %s\n", "not the policy's", list(r.Elsewhere))
	}
}

func list(counts []Count) string {
	out := make([]string, len(counts))
	for i, c := range counts {
		out[i] = plain(c.Name) + " " + strconv.FormatInt(c.Count, 10)
	}
	return strings.Join(out, ", ")
}

func (r Report) groups(b *strings.Builder, kind Kind, title string) {
	begun := false
	for _, g := range r.Groups {
		if g.Kind != kind {
			continue
		}
		if !begun {
			begun = true
			b.WriteString("\n" + title + "\n")
		}
		head := plain(g.Trust)
		if g.Trust == "" {
			head = "no trust"
		}
		if g.Line != "" {
			head += ": " + plain(g.Line)
		}
		fmt.Fprintf(b, "  %s: %d\n", head, g.Count)
		for _, e := range g.Examples {
			b.WriteString("    " + e.text(kind) + "\n")
		}
		if left := g.Count - int64(len(g.Examples)); left > 0 && len(g.Examples) > 0 {
			fmt.Fprintf(b, "    and %d more\n", left)
		}
	}
}

func (e Example) text(kind Kind) string {
	parts := []string{plain(e.Decision), stamp(e.Time), plain(e.Workload), "to " + plain(e.Target) + beside(e.Resource)}
	switch kind {
	case Lost:
		parts = append(parts, string(e.Reason))
		if e.Why != "" {
			parts = append(parts, e.Why)
		}
	case Gained:
		parts = append(parts, "was "+string(e.WasReason))
	case Narrowed:
		if e.TTL > 0 {
			parts = append(parts, fmt.Sprintf("%ds, was %ds", e.TTL, e.WasTTL))
		}
		if len(e.Dropped) > 0 {
			parts = append(parts, "without scope "+strings.Join(e.Dropped, " ")+"; whoever asks for it by name is refused")
		}
	case Ambiguous, Undecided, Kept, Denied, Unproven, Elsewhere, OnTrial:
	}
	if e.DryRun {
		parts = append(parts, "dry run")
	}
	for i := range parts {
		parts[i] = plain(parts[i])
	}
	return strings.Join(parts, "  ")
}

func (r Report) shadows(b *strings.Builder) {
	for i, t := range r.Shadow {
		if i == 0 {
			b.WriteString("\nTrusts in mode shadow\n")
		}
		fmt.Fprintf(b, "  %s: would have allowed %d, %d of them refused then; the gateway noted it %d times\n", plain(t.Trust), t.Would, t.Would-t.AlsoAllowed, t.Recorded)
		if t.AlsoAllowed > 0 {
			fmt.Fprintf(b, "    %d were allowed by another trust: enforced, both fit, and the request is refused as ambiguous\n", t.AlsoAllowed)
		}
		for _, e := range t.Examples {
			b.WriteString("    " + e.text(Gained) + "\n")
		}
	}
}

func (r Report) unused(b *strings.Builder) {
	begun := false
	for _, part := range []struct {
		title string
		names []string
	}{
		{"trusts that allowed nothing", r.Unused.Trusts},
		{"grants that gave nothing", r.Unused.Grants},
		{"conditions that refused nothing", r.Unused.Conditions},
		{"guardrails that forbade nothing", r.Unused.Guardrails},
	} {
		if len(part.names) == 0 {
			continue
		}
		if !begun {
			begun = true
			b.WriteString("\nNo recorded decision rested on\n")
		}
		const most = 20 // lines of each; JSON has all
		fmt.Fprintf(b, "  %s: %d\n", part.title, len(part.names))
		for _, name := range part.names[:min(len(part.names), most)] {
			b.WriteString("    " + plain(name) + "\n")
		}
		if left := len(part.names) - most; left > 0 {
			fmt.Fprintf(b, "    and %d more\n", left)
		}
	}
}

func stamp(t time.Time) string { return t.UTC().Format(time.DateTime) + "Z" }

// plain shows words of others: quoted where they could move a cursor.
func plain(s string) string {
	if s == "" {
		return "-"
	}
	if strings.ContainsFunc(s, func(c rune) bool { return !unicode.IsPrint(c) }) {
		return strconv.QuoteToASCII(s)
	}
	return s
}

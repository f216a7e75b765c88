package check

import (
	"fmt"
	"strings"

	"cambio/trust"
	"cambio/trust/strictyaml"
)

// matchLines looks at each line of match by itself.
func (l *linter) matchLines(r *report, f *facts) {
	for _, line := range f.Match {
		for _, w := range line.Want {
			if text, ok := w.Value.(string); ok && w.Glob {
				l.glob(r, f, line, text)
			}
		}
		if owner := line.Claim.Claim().OwnedBy; owner != "" && line.Pins() && !l.pins(f, owner) {
			// Whoever takes the thing over takes the trust with it.
			r.say("transferable-anchor", line.At, "match."+line.Name,
				line.Name+" stays the same when what it names is handed over to another owner", "match "+owner+" too")
		}
	}
}

// glob finds stars that let in more than the name that stands beside them.
func (l *linter) glob(r *report, f *facts, line trust.MatchLine, glob string) {
	field := "match." + line.Name
	say := func(message, fix string) { r.say("glob-crosses-meaning", line.At, field, message, fix) }
	before, rest, _ := strings.Cut(glob, "*")
	after := rest[strings.LastIndex(rest, "*")+1:]
	switch {
	case line.Claim.ID() == subjectID:
		// A star stops at a slash and at nothing else: it swallows the separators of
		// a composed subject, and so the parts that were meant to be fixed.
		say("sub is made of several parts, and a star takes their separators too", "match the claims that it is made of")
	case strings.Trim(glob, "*/") == "":
		say("the glob says nothing but how many slashes there are", "write what is meant, or leave the line out")
	case gluedAfter(before):
		say(fmt.Sprintf("%q also begins longer names, such as %q", before, before+"-evil"), fmt.Sprintf("end it with a delimiter, such as %q, or list the names", before+delimiter(before)+"*"))
	case gluedBefore(after):
		say(fmt.Sprintf("%q also ends longer names, such as %q", after, "evil-"+after), "write the whole value, or a delimiter before it")
	case line.Claim.Claim().Chosen && openSegment(glob) && !l.producesUngated(f):
		r.as(strictyaml.Info, "chosen-claim", line.At, field, "whoever may start the workload chooses what the star stands for", "name the values, if they matter")
	}
}

// delimiter is the one that a text uses last.
func delimiter(text string) string {
	if i := strings.LastIndexAny(text, "/:.@"); i >= 0 {
		return text[i : i+1]
	}
	return "/"
}

// openSegment reports a star that stands for a whole name.
func openSegment(glob string) bool {
	return glob == "*" || strings.HasSuffix(glob, "/*")
}

// conditionsOf looks at each line of when.
func (l *linter) conditionsOf(r *report, f *facts) {
	for i, c := range f.when {
		if f.When[i].Implied {
			continue // nobody wrote it
		}
		at := f.When[i].At
		c.texts(r, at, "when", false)
		switch c.value {
		case always:
			r.say("tautology", at, "when", "the condition holds for every token", "say what is meant, or leave it out")
		case never:
			r.say("never-matching", at, "when", "the condition holds for no token", "correct it; until then the trust allows nothing")
		case open:
			l.contradiction(r, f, i)
		}
	}
}

// contradiction finds values that the claim never has, or that match rules out.
func (l *linter) contradiction(r *report, f *facts, i int) {
	for id, values := range f.when[i].equal {
		claim, ok := l.claim(f, id)
		if !ok {
			continue
		}
		possible := intersectClosed(claim.Claim().Values, values)
		line := f.line(id)
		switch {
		case len(possible) == 0:
			r.say("never-matching", f.When[i].At, "when", claim.Name()+" never has this value", "write one of "+strings.Join(claim.Claim().Values, ", "))
		case line != nil && !anyWanted(*line, possible), len(f.pinned[id]) == 0:
			r.say("never-matching", f.When[i].At, "when", "match or another condition wants another value of "+claim.Name(), "make them agree; until then the trust allows nothing")
		}
	}
}

// intersectClosed are the values that a claim of a closed set can have.
func intersectClosed(closed []string, values []any) []any {
	if len(closed) == 0 {
		return values
	}
	out := []any{}
	for _, v := range values {
		for _, c := range closed {
			if v == any(c) {
				out = append(out, v)
			}
		}
	}
	return out
}

// anyWanted reports whether a line takes one of the values.
func anyWanted(line trust.MatchLine, values []any) bool {
	for _, v := range values {
		for _, w := range line.Want {
			if accepts(w, v) {
				return true
			}
		}
	}
	return false
}

func accepts(w trust.Wanted, v any) bool {
	text, isText := v.(string)
	glob, _ := w.Value.(string)
	if w.Glob {
		return isText && globsMeet(glob, text, false)
	}
	return w.Value == v
}

// texts says what is wrong with looks at parts of texts. A guardrail turns them
// round: it forbids what its condition holds for, so that there a test under a not
// is the one that lets pass.
func (c *condition) texts(r *report, at trust.Place, field string, guardrail bool) {
	for _, t := range c.tests {
		if t.function == "matches" && bareDot(t.text) {
			r.say("regex-dot", at, field, fmt.Sprintf("a dot in %q stands for any character", t.text), "write [.] for a dot, or compare with ==")
		}
		if t.positive == guardrail || t.text == "" {
			continue
		}
		anyBefore, anyAfter, first, last := t.function == "endsWith", t.function == "startsWith", t.text, t.text
		if t.function == "matches" {
			anyBefore, anyAfter, first, last = ends(t.text)
		}
		switch {
		case t.function == "contains" || t.function == "matches" && anyBefore && anyAfter:
			r.say("substring-match", at, field, fmt.Sprintf("%q may stand anywhere, also inside a name that somebody else chose", t.text), "compare the whole value with ==, or match the claim that holds this part")
		case anyAfter && gluedAfter(last):
			r.say("prefix-without-delimiter", at, field, fmt.Sprintf("%q also begins longer names, such as %q", last, last+"-evil"), fmt.Sprintf("end it with the delimiter that follows, such as %q, or compare with ==", last+delimiter(last)))
		case anyBefore && gluedBefore(first):
			r.say("prefix-without-delimiter", at, field, fmt.Sprintf("%q also ends longer names, such as %q", first, "evil-"+first), "begin it with the delimiter before it, or compare with ==")
		}
	}
}

// guardrails looks at the conditions that forbid.
func (l *linter) guardrails() strictyaml.Findings {
	var all strictyaml.Findings
	for _, g := range l.policy.AllGuardrails() {
		r := &report{file: g.File, severity: l.severity}
		c := l.condition("guardrail "+strings.Join(g.From, " "), g.Condition)
		c.texts(r, g.Condition.At, "forbid", true)
		switch c.value {
		case always:
			r.say("tautology", g.Condition.At, "forbid", "the guardrail forbids everything", "say what it is to forbid")
		case never:
			r.say("never-matching", g.Condition.At, "forbid", "the guardrail forbids nothing", "correct it")
		case open:
		}
		all = append(all, r.findings...)
	}
	return all
}

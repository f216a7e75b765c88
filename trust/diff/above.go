package diff

import (
	"slices"
	"strings"

	"cambio/trust"
	"cambio/trust/words"
)

// rulePair is a guardrail or an invariant on both sides; one may be missing.
type rulePair struct {
	name          string
	before, after *trust.Rule
}

// rulePairs puts rules of one name together, sorted by it.
func rulePairs(before, after []trust.Rule) []rulePair {
	byName := map[string]*rulePair{}
	var names []string
	at := func(name string) *rulePair {
		if byName[name] == nil {
			byName[name] = &rulePair{name: name}
			names = append(names, name)
		}
		return byName[name]
	}
	for i := range before {
		at(before[i].Name).before = &before[i]
	}
	for i := range after {
		at(after[i].Name).after = &after[i]
	}
	slices.Sort(names)
	out := make([]rulePair, len(names))
	for i, name := range names {
		out[i] = *byName[name]
	}
	return out
}

func (p rulePair) item(kind Kind) Item {
	r := p.after
	if r == nil {
		r = p.before
	}
	return Item{Kind: kind, Name: r.Name, File: r.File, Owner: r.Owner, Effect: None}
}

// same reports whether both rules ask for the same of the same.
func (p rulePair) same() bool {
	return p.before != nil && p.after != nil && p.before.Condition.Source == p.after.Condition.Source &&
		p.before.Never == p.after.Never && slices.Equal(p.before.From, p.after.From)
}

// changes marks the identity providers that a change is for.
func (p rulePair) changes(providers map[string]bool) {
	if p.same() {
		return
	}
	for _, r := range []*trust.Rule{p.before, p.after} {
		if r != nil {
			for _, name := range r.From {
				providers[name] = true
			}
		}
	}
}

// guardrails compares what is forbidden whatever the trusts say.
func (d *differ) guardrails() []Item {
	var items []Item
	for _, p := range d.guardrailPairs {
		item := p.item(KindGuardrail)
		switch {
		case p.same():
		case p.before == nil:
			item.Lines = []Line{{Sign: Minus, Text: "forbids " + ofProviders(*p.after) + words.Condition(p.after.Condition.Source), Effect: Shrinks}}
		case p.after == nil:
			item.Lines = []Line{{Sign: Plus, Text: "no longer forbids " + ofProviders(*p.before) + words.Condition(p.before.Condition.Source), Effect: Grows}}
		default:
			item.Lines = guardrail(*p.before, *p.after)
		}
		for _, l := range item.Lines {
			item.Effect = item.Effect.and(l.Effect)
		}
		if item.Effect != None {
			d.weighGuardrail(&item, p)
		}
		if item.Lines = append(item.Lines, about(p)...); len(item.Lines) > 0 {
			items = append(items, item)
		}
	}
	return items
}

func guardrail(before, after trust.Rule) []Line {
	var lines []Line
	if old, now := before.Condition.Source, after.Condition.Source; old != now {
		lines = append(lines, tilde("forbids "+words.Condition(now)+" instead of "+words.Condition(old), Both))
	}
	for _, name := range after.From {
		if !slices.Contains(before.From, name) {
			lines = append(lines, tilde("now is for "+name+" too", Shrinks))
		}
	}
	for _, name := range before.From {
		if !slices.Contains(after.From, name) {
			lines = append(lines, tilde("no longer is for "+name, Grows))
		}
	}
	return lines
}

func ofProviders(r trust.Rule) string { return "to " + strings.Join(r.From, ", ") + ": " }

// about names what changed beside the condition.
func about(p rulePair) []Line {
	var lines []Line
	if p.before == nil || p.after == nil {
		return nil
	}
	if p.before.Owner != p.after.Owner {
		lines = append(lines, equal("the owner is "+words.One(p.after.Owner)+" instead of "+words.One(p.before.Owner)))
	}
	if p.before.Purpose != p.after.Purpose {
		lines = append(lines, equal("the purpose is written anew"))
	}
	return lines
}

// invariants names those that changed: they take part in no decision, but one that
// is gone is no longer proven.
func (d *differ) invariants() []Item {
	var items []Item
	for _, p := range rulePairs(d.before.policy.Invariants(), d.after.policy.Invariants()) {
		item := p.item(KindInvariant)
		switch {
		case p.same():
		case p.before == nil:
			item.Lines = []Line{equal("now must hold: " + invariant(*p.after))}
		case p.after == nil:
			item.Lines = []Line{equal("need no longer hold: " + invariant(*p.before))}
		default:
			item.Lines = []Line{equal("now must hold: " + invariant(*p.after) + "; before, " + invariant(*p.before))}
		}
		if item.Lines = append(item.Lines, about(p)...); len(item.Lines) > 0 {
			items = append(items, item)
		}
	}
	return items
}

func invariant(r trust.Rule) string {
	word := "always "
	if r.Never {
		word = "never "
	}
	return "of " + strings.Join(r.From, ", ") + " " + word + words.Condition(r.Condition.Source)
}

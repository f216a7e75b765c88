package check

import (
	"fmt"
	"slices"
	"strings"

	"cambio/trust"
	"cambio/trust/strictyaml"
)

// names looks at claims that somebody can take over or choose.
func (l *linter) names(r *report, f *facts) {
	for _, line := range f.Match {
		c := line.Claim.Claim()
		field := "match." + line.Name
		switch {
		case c.Chosen && !l.gate(f, line.Claim.ID()):
			r.say("chosen-claim", line.At, field, chosenBy(line.Name), chosenFix)
		case c.PinnedBy != "" && !l.pins(f, c.PinnedBy):
			r.say("mutable-claim", line.At, field, mutable(line.Name), "match "+c.PinnedBy+" too, or in its place")
		}
	}
	said := map[string]bool{}
	for i, when := range f.when {
		if f.When[i].Implied {
			continue
		}
		at := f.When[i].At
		for _, id := range when.reads {
			ref, ok := l.claim(f, id)
			if !ok || said[id] {
				continue
			}
			c := ref.Claim()
			switch {
			case c.Chosen && !l.gate(f, id):
				said[id] = true
				r.say("chosen-claim", at, "when", chosenBy(ref.Name()), chosenFix)
			case c.PinnedBy != "" && (!l.pins(f, c.PinnedBy) || when.looksInto(id)):
				said[id] = true
				r.say("mutable-claim", at, "when", mutable(ref.Name()), "match "+c.PinnedBy+" with its value")
			}
		}
	}
}

const chosenFix = "rest on what the platform sets: ids, a protected ref, an environment"

func chosenBy(name string) string {
	return "whoever starts the workload chooses " + name
}

func mutable(name string) string {
	return name + " is a name: it can be given up, and taken by somebody else"
}

// looksInto reports whether the condition can hold by a part of the claim's text.
func (c *condition) looksInto(id string) bool {
	return slices.ContainsFunc(c.tests, func(t textTest) bool { return t.claim == id && t.positive })
}

// gate reports whether a claim is one that somebody's approval or a protected
// place stands behind.
func (l *linter) gate(f *facts, id string) bool {
	return slices.ContainsFunc(f.provider.Platform.Gates, func(name string) bool {
		c, ok := l.claim(f, name)
		return ok && c.ID() == id
	})
}

// identity finds trusts that several workloads share, so that nobody can say
// afterwards which of them acted.
func (l *linter) identity(r *report, f *facts) {
	if l.advised(f) {
		return // the compilation said so
	}
	owned := map[string]bool{} // follows from what is pinned: a thing has one owner
	for id := range f.pinned {
		if c, ok := l.claim(f, id); ok && c.Claim().OwnedBy != "" {
			if owner, ok := l.claim(f, c.Claim().OwnedBy); ok {
				owned[owner.ID()] = true
			}
		}
	}
	var left []string
	for _, c := range l.identities[f.Provider] {
		_, pinned := f.pinned[c.ID()]
		if !pinned && !owned[c.ID()] && (c.Claim().PinnedBy == "" || !l.pins(f, c.Claim().PinnedBy)) {
			left = append(left, c.Name())
		}
	}
	if len(left) > 0 {
		at := f.At
		if len(f.Match) > 0 {
			at = f.Match[0].At
		}
		r.say("shared-identity", at, "match", "several workloads can hold this identity", "name "+strings.Join(left, " and ")+" too")
	}
}

// advised reports whether the platform's advised claims are all left open.
func (l *linter) advised(f *facts) bool {
	names := f.provider.Platform.Advised
	return len(names) > 0 && !slices.ContainsFunc(names, func(name string) bool {
		c, ok := l.claim(f, name)
		return ok && f.line(c.ID()) != nil
	})
}

// outsiders finds trusts that take workloads whose code anyone may have written.
func (l *linter) outsiders(r *report, f *facts) {
	for name, values := range f.provider.Platform.Outsiders {
		c, ok := l.claim(f, name)
		if !ok {
			continue
		}
		at, field, found := f.names(c.ID(), values)
		if found == "" {
			continue
		}
		severity := strictyaml.Info
		if slices.ContainsFunc(f.Grants, func(g trust.WrittenGrant) bool { return !harmless(g) }) {
			severity = strictyaml.Warning
		}
		r.as(severity, "outsider-code", at, field, found+" runs code that its author did not have reviewed", "grant it nothing that writes, and nothing of production; or take "+found+" out")
	}
}

// names says where a trust takes one of these values by name, and which.
func (f *facts) names(id string, values []string) (at trust.Place, field, value string) {
	if line := f.line(id); line != nil {
		for _, v := range values {
			if slices.ContainsFunc(line.Want, func(w trust.Wanted) bool { return accepts(w, v) }) {
				return line.At, "match." + line.Name, v
			}
		}
	}
	for i, c := range f.when {
		for _, v := range values {
			if slices.Contains(c.equal[id], any(v)) && f.one(id, c.equal[id]...) && slices.Contains(f.pinned[id], any(v)) {
				return f.When[i].At, "when", v
			}
		}
	}
	return trust.Place{}, "", ""
}

// runPhase finds trusts of staged runs that do not say which stage: a plan runs
// code that nobody approved, and must not have what applying needs. It goes by the
// claim's name, so that a generic provider that declares one is looked at too.
func (l *linter) runPhase(r *report, f *facts) {
	for _, c := range l.policy.Claims(f.Provider) {
		if name := c.Name(); name != "run_phase" && !strings.HasSuffix(name, "_run_phase") || f.constrained(c.ID()) {
			continue
		}
		at := f.At
		if len(f.Match) > 0 {
			at = f.Match[0].At
		}
		r.say("run-phase-unpinned", at, "match", fmt.Sprintf("any value of %s is taken: planning runs code before it is reviewed", c.Name()),
			fmt.Sprintf("match %s: apply; planning gets a trust of its own, which reads", c.Name()))
	}
}

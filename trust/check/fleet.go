package check

import (
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"cambio/trust"
	"cambio/trust/strictyaml"
)

// offer is one grant of one trust that is in force.
type offer struct {
	f     *facts
	index int
	grant trust.WrittenGrant
}

// fleet looks at trusts together. What it cannot say of two of them is for a proof.
func (l *linter) fleet() (strictyaml.Findings, []meeting) {
	type place struct{ provider, target, resource string }
	groups := map[place][]offer{}
	for _, f := range l.facts {
		if f.Shadow || !f.Expires.IsZero() && !l.options.Now.Before(f.Expires) {
			continue // it makes no request ambiguous
		}
		for i, g := range f.Grants {
			at := place{f.Provider, g.Target, g.Resource}
			groups[at] = append(groups[at], offer{f, i, g})
		}
	}
	keys := slices.SortedFunc(maps.Keys(groups), func(a, b place) int {
		return strings.Compare(a.provider+"\x00"+a.target+"\x00"+a.resource, b.provider+"\x00"+b.target+"\x00"+b.resource)
	})
	each, open := make([]strictyaml.Findings, len(keys)), make([][]meeting, len(keys))
	parallel(len(keys), func(i int) {
		offers := groups[keys[i]]
		m := meetings{linter: l, offers: offers, shadowed: make([]string, len(offers)), met: make([][]string, len(offers)), asked: make([]int, len(offers))}
		m.compare()
		each[i], open[i] = m.findings(), m.undecided
	})
	return append(slices.Concat(each...), l.crowded()...), slices.Concat(open...)
}

// crowded finds resources that would have to trust more subjects than they can.
func (l *linter) crowded() strictyaml.Findings {
	type place struct{ target, resource string }
	subjects := map[place]map[string]bool{}
	first := map[place]offer{}
	for _, f := range l.facts {
		for i, g := range f.Grants {
			target := l.world.Targets[g.Target]
			if target.Type.MaxSubjects == 0 {
				continue
			}
			at := place{g.Target, g.Resource}
			if subjects[at] == nil {
				subjects[at] = map[string]bool{}
			}
			for _, s := range l.subjects(f, target) {
				subjects[at][s] = true
			}
			if len(subjects[at]) > target.Type.MaxSubjects {
				if _, ok := first[at]; !ok {
					first[at] = offer{f, i, g}
				}
			}
		}
	}
	var all strictyaml.Findings
	for at, o := range first {
		r := &report{file: o.f.File, severity: l.severity}
		r.say("subjects-too-many", o.grant.At, fmt.Sprintf("grants[%d]", o.index),
			fmt.Sprintf("with this one, %s has %d subjects to trust; the target takes %d for one resource", cmpName(at.resource, at.target), len(subjects[at]), l.world.Targets[at.target].Type.MaxSubjects),
			"set subject: trust for the target, or share the work among several resources")
		all = append(all, r.findings...)
	}
	return all
}

func cmpName(resource, target string) string {
	if resource != "" {
		return resource
	}
	return target
}

// unusedAfter is how long a trust may rest: a quarter, so that what runs once a
// quarter is not called forgotten.
const unusedAfter = 90 * 24 * time.Hour

// unused finds what nobody has used, or can: what is not there cannot be stolen.
func (l *linter) unused() strictyaml.Findings {
	var all strictyaml.Findings
	providers, targets := map[string]bool{}, map[string]bool{}
	before := l.options.Now.Add(-unusedAfter)
	for _, f := range l.facts {
		providers[f.Provider] = true
		for _, g := range f.Grants {
			targets[g.Target] = true
		}
		if l.options.LastUsed == nil || f.Shadow || !f.Expires.IsZero() && !l.options.Now.Before(f.Expires) {
			continue
		}
		r := &report{file: f.File, severity: l.severity}
		switch last, used := l.options.LastUsed[f.Name]; {
		case used && last.Before(before):
			r.say("unused", f.At, "name", "last allowed an exchange on "+last.UTC().Format(time.DateOnly)+", more than 90 days ago", "remove it, or have its owner say why it stays")
		case !used && !l.options.Since.IsZero() && l.options.Since.Before(before):
			r.say("unused", f.At, "name", "allowed no exchange in the journal, which begins on "+l.options.Since.UTC().Format(time.DateOnly), "remove it, or have its owner say why it stays")
		}
		all = append(all, r.findings...)
	}
	if l.options.Config == "" {
		return all
	}
	r := &report{file: l.options.Config, severity: l.severity}
	for _, name := range slices.Sorted(maps.Keys(l.world.Providers)) {
		if !providers[name] {
			r.say("unused-provider", trust.Place{}, "identity_providers."+name, "no trust is from this identity provider, and its tokens are verified all the same", "remove it, or write a trust")
		}
	}
	for _, name := range slices.Sorted(maps.Keys(l.world.Targets)) {
		if !targets[name] {
			r.say("unused-target", trust.Place{}, "targets."+name, "no trust grants this target", "remove it, or write a trust")
		}
	}
	return append(all, r.findings...)
}

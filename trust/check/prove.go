package check

import (
	"cmp"
	"slices"
	"strings"

	"cambio/trust"
	"cambio/trust/prove"
	"cambio/trust/strictyaml"
)

// The bounds of proving. A question costs about a millisecond, and a fleet is told
// apart by ids, so that few are left to ask; beyond, the linter keeps silent.
const (
	maxProvenConditions = 2000
	maxProvenTrusts     = 1000
	maxProvenPairs      = 400
)

type said struct {
	report *report
	at     trust.Place
	field  string
	alone  [2]string // what is said of one that always, or never, holds
}

// proven is what only a proof finds: conditions that hold always or never though
// no part of them does, trusts whose lines rule each other out, trusts that meet.
func (l *linter) proven(undecided []meeting) strictyaml.Findings {
	pr, err := prove.New(l.policy, l.options.Now)
	if err != nil {
		return strictyaml.Findings{{ID: trust.FindingInternal, Severity: strictyaml.Warning, Message: "nothing can be proved of the conditions: " + err.Error(), Fix: "report it"}}
	}
	var reports []*report
	loners := l.loners(&reports)
	parallel(len(loners), func(i int) { loners[i].facts = pr.Facts(loners[i].trust()) })
	for _, c := range loners {
		c.say()
	}
	reports = append(reports, l.contradictions(pr)...)
	reports = append(reports, l.meet(pr, undecided)...)
	var all strictyaml.Findings
	for _, r := range reports {
		all = append(all, r.findings...)
	}
	return all
}

// loner is a condition that is to be proved by itself: one of a trust, or of a
// guardrail.
type loner struct {
	condition trust.Condition
	provider  string
	grants    []trust.WrittenGrant
	said      []said // where it stands
	facts     prove.Facts
}

// loners are the distinct conditions whose value is open, each with all places
// where it stands.
func (l *linter) loners(reports *[]*report) []*loner {
	byKey := map[string]*loner{}
	var order []*loner
	add := func(key string, c loner, at said) {
		known := byKey[key]
		if known == nil {
			if len(order) >= maxProvenConditions {
				return
			}
			known = &c
			byKey[key], order = known, append(order, known)
		}
		known.said = append(known.said, at)
	}
	for _, f := range l.facts {
		for i, c := range f.when {
			if c.value != open || c.simple() || f.When[i].PerGrant || f.When[i].Implied {
				continue
			}
			r := &report{file: f.File, severity: l.severity}
			*reports = append(*reports, r)
			add(f.Provider+"\x00"+f.When[i].Source, loner{condition: f.When[i], provider: f.Provider, grants: f.Grants[:1]}, said{
				report: r, at: f.When[i].At, field: "when",
				alone: [2]string{"the condition holds for every token", "the condition holds for no token"},
			})
		}
	}
	for _, g := range l.policy.AllGuardrails() {
		c := l.condition("guardrail "+strings.Join(g.From, " "), g.Condition)
		if c.value != open || c.simple() || g.Condition.PerGrant || len(g.From) == 0 {
			continue
		}
		r := &report{file: g.File, severity: l.severity}
		*reports = append(*reports, r)
		add("guardrail "+g.Name, loner{condition: g.Condition, provider: g.From[0], grants: []trust.WrittenGrant{{}}}, said{
			report: r, at: g.Condition.At, field: "forbid",
			alone: [2]string{"the guardrail forbids everything", "the guardrail forbids nothing"},
		})
	}
	return order
}

// trust is one that asks for nothing but the condition.
func (c *loner) trust() trust.Trust {
	return trust.Trust{Name: "lone", Provider: c.provider, When: []trust.Condition{c.condition}, Grants: c.grants}
}

func (c *loner) say() {
	if len(c.facts.When) != 1 {
		return
	}
	for _, s := range c.said {
		switch {
		case c.facts.When[0].Always == prove.Yes:
			s.report.say("tautology", s.at, s.field, s.alone[0], "say what is meant, or leave it out")
		case c.facts.When[0].Never == prove.Yes:
			s.report.say("never-matching", s.at, s.field, s.alone[1], "correct it")
		}
	}
}

// simple reports a condition of equalities alone, or of one look at one claim:
// such a one holds sometimes, and its contradictions are found without a proof.
func (c *condition) simple() bool {
	return c.whole || c.single
}

// contradictions finds trusts with a condition that the rest of them rules out.
// Only those are asked about that name one claim twice.
func (l *linter) contradictions(pr *prove.Prover) []*report {
	var crossed []*facts
	for _, f := range l.facts {
		if len(crossed) < maxProvenTrusts && f.crosses() {
			crossed = append(crossed, f)
		}
	}
	reports := make([]*report, len(crossed))
	parallel(len(crossed), func(i int) {
		f := crossed[i]
		r := &report{file: f.File, severity: l.severity}
		reports[i] = r
		facts := pr.Facts(f.Trust)
		for k, c := range facts.When {
			if c.Against == prove.Yes && c.Never != prove.Yes {
				r.say("never-matching", f.When[k].At, "when", "the rest of the trust rules it out", "make them agree; until then the trust allows nothing")
			}
		}
	})
	return reports
}

// crosses reports that a condition that is not all equalities reads a claim that
// match or another condition speaks of too.
func (f *facts) crosses() bool {
	for i, c := range f.when {
		if c.whole || c.value != open {
			continue
		}
		for _, id := range c.reads {
			if f.line(id) != nil {
				return true
			}
			for k, other := range f.when {
				if k != i && slices.Contains(other.reads, id) {
					return true
				}
			}
		}
	}
	return false
}

// meeting is two offers of which equalities and globs do not say whether a token
// fits both.
type meeting struct{ a, b offer }

// meet proves which offers meet, and which of them others cover.
func (l *linter) meet(pr *prove.Prover, undecided []meeting) []*report {
	slices.SortFunc(undecided, func(x, y meeting) int {
		return cmp.Or(cmp.Compare(x.a.f.Name, y.a.f.Name), cmp.Compare(x.b.f.Name, y.b.f.Name), cmp.Compare(x.a.index, y.a.index), cmp.Compare(x.b.index, y.b.index))
	})
	undecided = undecided[:min(len(undecided), maxProvenPairs)]
	reports := make([]*report, 2*len(undecided))
	parallel(len(undecided), func(i int) {
		m := undecided[i]
		if found := pr.Overlap(m.a.f.Trust, m.b.f.Trust, m.a.grant.Target); found.Answer == prove.Yes {
			reports[2*i], reports[2*i+1] = l.both(pr, m.a, m.b)
		}
	})
	return slices.DeleteFunc(reports, func(r *report) bool { return r == nil })
}

// both says what is wrong with two offers that meet: one of them is too many where
// the other allows all that it allows.
func (l *linter) both(pr *prove.Prover, a, b offer) (one, two *report) {
	one, two = &report{file: a.f.File, severity: l.severity}, &report{file: b.f.File, severity: l.severity}
	implied := func(f *facts, _ *condition, c trust.Condition) bool {
		t := f.Trust
		t.When = append(slices.Clone(t.When), c)
		return !c.PerGrant && pr.Facts(t).When[len(f.When)].Implied == prove.Yes
	}
	switch {
	case covers(a, b, implied):
		two.shadowed(b, a.f.Name)
	case covers(b, a, implied):
		one.shadowed(a, b.f.Name)
	default:
		one.overlap(a, []string{b.f.Name})
		two.overlap(b, []string{a.f.Name})
	}
	return one, two
}

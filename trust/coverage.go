package trust

import (
	"strconv"
	"strings"
)

// Coverage says what tests show of a policy: of each trust that it allows what it
// is for, and of each of its conditions that it denies without help. A condition
// that no test makes fail can be lost in an edit, and no test says so.
type Coverage struct {
	Covered  int               `json:"covered"`
	Total    int               `json:"total"`
	Subjects []SubjectCoverage `json:"subjects"`
}

// SubjectCoverage is that of one trust or guardrail.
type SubjectCoverage struct {
	Trust     string      `json:"trust,omitempty"`
	Guardrail string      `json:"guardrail,omitempty"`
	File      string      `json:"file"`
	Covered   int         `json:"covered"`
	Total     int         `json:"total"`
	Uncovered []Uncovered `json:"uncovered"`
}

// Uncovered is one thing that no test shows.
type Uncovered struct {
	Field  string `json:"field"` // as in an explanation; grants[0].resource, grants[0].scopes; allow
	Line   int    `json:"line"`
	Column int    `json:"column"`
	// Together says that tests make it fail, but only where something else of the
	// trust fails too: they would pass without it.
	Together bool `json:"together"`
}

// Percent is how much of everything is covered, rounded down; of nothing, all.
func (c Coverage) Percent() int {
	if c.Total == 0 {
		return 100
	}
	return 100 * c.Covered / c.Total
}

// allowed is the one thing to cover that is no condition.
const allowed = "allow"

// Coverage says what these results of [Policy.Test] show. Only tests that passed
// count. A condition is covered by a test that is denied where of the whole trust
// this condition alone does not hold. Tests of a trust count for that trust; those
// of an identity provider for the one that comes nearest to allowing.
func (p *Policy) Coverage(results []TestResult) Coverage {
	trusts := make(map[*rule]*checklist, len(p.rules))
	guardrails := make(map[string]*checklist, len(p.guardrails))
	for _, t := range p.rules {
		trusts[t] = t.checklist()
	}
	for _, g := range p.guardrails {
		guardrails["guardrail "+g.name] = &checklist{things: []thing{{key: "forbid", field: "forbid", at: g.at}}}
	}
	for i := range results {
		r := &results[i]
		switch {
		case !r.OK:
		case r.Decision.Allow:
			trusts[p.byName[r.By]].failed(allowed)
		default:
			p.denied(r, trusts, guardrails)
		}
	}
	var c Coverage
	for _, t := range p.rules {
		c = c.with(SubjectCoverage{Trust: t.name, File: t.file}, trusts[t])
	}
	for _, g := range p.guardrails {
		c = c.with(SubjectCoverage{Guardrail: g.name, File: g.file}, guardrails["guardrail "+g.name])
	}
	return c
}

// with is the coverage with one more subject.
func (c Coverage) with(s SubjectCoverage, of *checklist) Coverage {
	s.Total, s.Uncovered = len(of.things), []Uncovered{}
	for _, t := range of.things {
		if t.alone {
			s.Covered++
			continue
		}
		s.Uncovered = append(s.Uncovered, Uncovered{Field: t.field, Line: t.at.Line, Column: t.at.Column, Together: t.together})
	}
	c.Covered += s.Covered
	c.Total += s.Total
	c.Subjects = append(c.Subjects, s)
	return c
}

// denied looks again at a test that was denied, and notes what failed.
func (p *Policy) denied(r *TestResult, trusts map[*rule]*checklist, guardrails map[string]*checklist) {
	judged := *p
	judged.enforced = r.run.rule
	id, ask, at := p.situation(r.run)
	t := r.run.rule
	if t == nil || r.Reason == ReasonGuardrail {
		e := judged.Explain(id, ask, StopSet{}, at)
		var forbid []string
		for _, l := range e.Guardrails {
			if !l.OK {
				forbid = append(forbid, l.Field)
			}
		}
		for _, g := range forbid {
			guardrails[g].fail("forbid", len(forbid) == 1)
		}
		if t == nil {
			t = p.byName[e.Trust]
		}
	}
	if t == nil || ask.Trust != "" && ask.Trust != t.name {
		return // the denial says nothing of its conditions
	}
	j := newJudging(t.provider, &id, &ask, at)
	j.enforced = t
	tr := &trace{}
	o := j.judge(t, tr)
	tr.grants(t, j, o)
	failed := map[string]bool{}
	for _, l := range tr.lines {
		if !l.OK {
			failed[t.keyOf(l.Field)] = true
		}
	}
	alone := len(failed) == 1
	for key := range failed {
		if key == grantsKey {
			t.misfits(j, o, func(key string) { trusts[t].fail(key, alone) })
			continue
		}
		trusts[t].fail(key, alone)
	}
}

// checklist is what there is to cover of one trust or guardrail.
type checklist struct{ things []thing }

// thing is one of them. Two lines of a trace about one claim are one thing: to
// name a guarded event is to write a line of match.
type thing struct {
	key             string
	field           string
	at              Place
	alone, together bool
}

func (s *checklist) failed(key string) { s.fail(key, true) }

func (s *checklist) fail(key string, alone bool) {
	for i := range s.things {
		if s.things[i].key == key {
			s.things[i].alone = s.things[i].alone || alone
			s.things[i].together = true
		}
	}
}

const grantsKey = "grants"

// checklist lists what there is to cover of a trust.
func (t *rule) checklist() *checklist {
	s := &checklist{things: []thing{{key: allowed, field: allowed, at: t.nameAt}}}
	add := func(key, field string, at Place) {
		for _, known := range s.things {
			if known.key == key {
				return
			}
		}
		s.things = append(s.things, thing{key: key, field: field, at: at})
	}
	for i := range t.match {
		add(t.match[i].claim.id, "match."+t.match[i].name, t.match[i].at)
	}
	for i, g := range t.provider.guards {
		if !t.named[i] {
			add(g.claim.id, "match."+g.claim.name, t.nameAt)
		}
	}
	for i, at := range t.whenAt[:t.written] {
		field := "when[" + strconv.Itoa(i) + "]"
		add(field, field, at)
	}
	if t.access != nil && t.access.networks != nil {
		add("access.networks", "access.networks", t.accessAt)
	}
	if t.access != nil && t.access.hours != nil {
		add("access.hours", "access.hours", t.accessAt)
	}
	if !t.expires.IsZero() {
		add("expires", "expires", t.expiresAt)
	}
	for i := range t.grants {
		g := &t.grants[i]
		if g.resource != "" {
			add(grantKey(i, "resource"), grantKey(i, "resource"), g.at)
		}
		if len(g.scopes) > 0 {
			add(grantKey(i, "scopes"), grantKey(i, "scopes"), g.at)
		}
	}
	return s
}

func grantKey(i int, field string) string {
	return "grants[" + strconv.Itoa(i) + "]." + field
}

// keyOf turns a field of a trace into the key of what it is about.
func (t *rule) keyOf(field string) string {
	if name, ok := strings.CutPrefix(field, "match."); ok {
		if claim := t.provider.schema.lookup(name); claim != nil {
			return claim.id
		}
	}
	return field
}

// misfits tells which fields of which grants refused what was asked for.
func (t *rule) misfits(j *judging, o outcome, tell func(key string)) {
	for i := range t.grants {
		if j.closeness(&t.grants[i]) != o.close {
			continue
		}
		switch o.close {
		case otherResource:
			tell(grantKey(i, "resource"))
		case otherScope:
			tell(grantKey(i, "scopes"))
		case otherTarget, fits:
		}
	}
}

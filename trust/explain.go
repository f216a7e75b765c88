package trust

import (
	"fmt"
	"strings"
	"time"
)

// Line is one thing that had to hold.
type Line struct {
	Field    string `json:"field"` // match.ref, access.hours, when[0], expires, grants
	OK       bool   `json:"ok"`
	Expected string `json:"expected"`
	Actual   string `json:"actual"`
	Reason   Reason `json:"reason,omitempty"` // why not
	// NotRecorded says that nobody knows whether it held: it reads a claim that the
	// record does not tell of. OK is false then, and means nothing.
	NotRecorded bool `json:"not_recorded,omitempty"`
}

// Explanation says why a request is allowed or denied. It holds claims of the
// token, and is for the trust's owner, never for the caller.
type Explanation struct {
	Allow      bool     `json:"allow"`
	Reason     Reason   `json:"reason,omitempty"`
	Detail     string   `json:"detail,omitempty"`
	Trust      string   `json:"trust,omitempty"` // the deciding one, or the nearest miss
	Owner      string   `json:"owner,omitempty"`
	File       string   `json:"file,omitempty"`
	Shadow     []string `json:"shadow,omitempty"`
	Candidates int      `json:"candidates"`
	Lines      []Line   `json:"lines,omitempty"` // of Trust
	Guardrails []Line   `json:"guardrails,omitempty"`
	Near       []Near   `json:"near,omitempty"` // Trust, and others, the nearest first; see ExplainNear
	Policy     string   `json:"policy_sha256"`
	Decision   Decision `json:"-"`
	holds      bool
}

// Explain decides, and says line by line what the deciding trust asked for, or
// what the nearest miss did. The verdict is that of [Policy.Decide], and the lines
// come from the same code.
func (p *Policy) Explain(id Identity, req Request, stops StopSet, now time.Time) Explanation {
	d, j := p.decide(&id, &req, stops, now)
	return p.explain(d, j)
}

// ExplainNear is [Policy.Explain], and tells for a denial which trusts were near
// and what edit of each would allow it. It is for one question of a person: it
// judges with each trust of the identity provider.
func (p *Policy) ExplainNear(id Identity, req Request, stops StopSet, now time.Time) Explanation {
	d, j := p.decide(&id, &req, stops, now)
	e := p.explain(d, j)
	e.Near = p.near(e, j, stops)
	return e
}

// ExplainPartly is [Policy.ExplainNear], without stops, for an identity of which a record tells, as
// far as it does: see [Policy.DecidePartly], whose verdict it has. A line that
// reads what is not known says so. Without names the verdict stands.
func (p *Policy) ExplainPartly(id Identity, req Request, known Partly, now time.Time) (Explanation, []string) {
	d, hinges := p.DecidePartly(id, req, known, now)
	_, j := p.decide(&id, &req, StopSet{}, now)
	if j != nil {
		j.vars.unknown = &unknowns{known: known}
	}
	e := p.explain(d, j)
	e.Near = p.near(e, j, StopSet{})
	return e, hinges
}

func (p *Policy) explain(d Decision, j *judging) Explanation {
	e := Explanation{
		Allow: d.Allow, Reason: d.Reason, Detail: d.Detail, Trust: d.Trust, Shadow: d.Shadow, Policy: d.PolicySHA256, Decision: d,
	}
	if j == nil {
		return e
	}
	e.Candidates = j.candidates
	var t *rule
	switch {
	case d.Allow:
		t = p.byName[d.Trust]
	case j.candidates > 0:
		t = j.chosen
	case j.held != nil:
		t = j.held
	case d.Reason == ReasonShadowOnly:
		t = p.byName[d.Trust]
	default:
		t = j.closest(p)
	}
	if t == nil {
		return e
	}
	tr := &trace{}
	o := j.judge(t, tr)
	tr.grants(t, j, o)
	e.Trust, e.Owner, e.File, e.Lines, e.holds = t.name, t.owner, t.file, tr.lines, o.holds
	if j.candidates == 1 && j.chosen == t {
		j.bind(t, j.chosenAt, fits)
		for _, g := range j.provider.guardrails {
			forbids, reason := j.forbidden(g)
			line := Line{Field: "guardrail " + g.name, OK: !forbids, Expected: "not (" + g.forbid.source + ")", Actual: "not forbidden"}
			switch {
			case reason == notRecorded:
				line.NotRecorded, line.Actual = true, "not recorded"
			case forbids && reason != "":
				line.Reason, line.Actual = ReasonGuardrail, "not evaluated: "+string(reason)
			case forbids:
				line.Reason, line.Actual = ReasonGuardrail, "forbidden"
			}
			e.Guardrails = append(e.Guardrails, line)
		}
	}
	return e
}

// String is the explanation as text; its first line is `allow TRUST` or
// `deny REASON`.
func (e Explanation) String() string {
	var b strings.Builder
	if e.Allow {
		fmt.Fprintf(&b, "allow %s\n", e.Trust)
	} else {
		fmt.Fprintf(&b, "deny %s\n", e.Reason)
	}
	if e.Trust != "" {
		what := "trust"
		if !e.Allow && e.Candidates == 0 && !e.holds {
			what = "nearest trust"
		}
		fmt.Fprintf(&b, "%s %s (%s, owner %s)\n", what, e.Trust, e.File, e.Owner)
	}
	writeLines(&b, e.Lines)
	writeLines(&b, e.Guardrails)
	if e.Candidates > 1 {
		fmt.Fprintf(&b, "  %d grants fit; name one with resource or trust\n", e.Candidates)
	}
	if !e.Allow && e.Detail != "" {
		fmt.Fprintf(&b, "  because of: %s\n", plain(e.Detail))
	}
	for i := range e.Near {
		n := &e.Near[i]
		if n.Trust != e.Trust {
			fmt.Fprintf(&b, "near: trust %s (%s, owner %s)\n", n.Trust, n.File, n.Owner)
			writeLines(&b, n.Lines)
		}
		n.write(&b)
	}
	if len(e.Shadow) > 0 {
		fmt.Fprintf(&b, "shadow trusts that would allow: %s\n", strings.Join(e.Shadow, ", "))
	}
	return b.String()
}

func writeLines(b *strings.Builder, lines []Line) {
	for _, l := range lines {
		mark := "ok  "
		switch {
		case l.NotRecorded:
			mark = "?   "
		case !l.OK:
			mark = "FAIL"
		}
		fmt.Fprintf(b, "  %s %s: expected %s, found %s\n", mark, l.Field, l.Expected, l.Actual)
	}
}

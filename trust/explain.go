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
	Policy     string   `json:"policy_sha256"`
	Decision   Decision `json:"-"`
	holds      bool
}

// Explain decides, and says line by line what the deciding trust asked for, or
// what the nearest miss did: the trust with the fewest lines that fail. The
// verdict is that of [Policy.Decide], and the lines come from the same code.
func (p *Policy) Explain(id Identity, req Request, stops StopSet, now time.Time) Explanation {
	d, j := p.decide(&id, &req, stops, now)
	e := Explanation{
		Allow: d.Allow, Reason: d.Reason, Detail: d.Detail, Trust: d.Trust, Shadow: d.Shadow, Policy: d.PolicySHA256, Decision: d,
	}
	if j == nil {
		return e
	}
	e.Candidates = j.candidates
	var t *rule
	switch {
	case j.candidates > 0:
		t = j.chosen
	case j.held != nil:
		t = j.held
	case d.Reason == ReasonShadowOnly:
		t = p.byName[d.Trust]
	default:
		t = j.nearestMiss(p)
	}
	if t == nil {
		return e
	}
	tr := &trace{}
	o := j.judge(t, tr)
	tr.grants(t, j, o)
	e.Trust, e.Owner, e.File, e.Lines, e.holds = t.name, t.owner, t.file, tr.lines, o.holds
	if j.candidates == 1 {
		j.bind(t, j.chosenAt, fits)
		for _, g := range j.provider.guardrails {
			forbids, reason := j.forbidden(g)
			line := Line{Field: "guardrail " + g.name, OK: !forbids, Expected: "not (" + g.forbid.source + ")", Actual: "not forbidden"}
			if forbids {
				line.Reason, line.Actual = ReasonGuardrail, "forbidden"
				if reason != "" {
					line.Actual = "not evaluated: " + string(reason)
				}
			}
			e.Guardrails = append(e.Guardrails, line)
		}
	}
	return e
}

// nearestMiss looks at all trusts of the provider, not only at those that the
// index finds: the line that fails may be the anchor itself.
func (j *judging) nearestMiss(p *Policy) *rule {
	if t := p.byName[j.req.Trust]; t != nil && t.provider == j.provider {
		return t
	}
	var best *rule
	fewest := 0
	for _, t := range j.provider.rules {
		tr := &trace{}
		o := j.judge(t, tr)
		tr.grants(t, j, o)
		failed := tr.failed()
		if j.onTrial(t) {
			failed += maxLines + maxConditions // it would not have allowed anything, so any other is nearer
		}
		if best == nil || failed < fewest {
			best, fewest = t, failed
		}
	}
	return best
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
	for _, lines := range [][]Line{e.Lines, e.Guardrails} {
		for _, l := range lines {
			mark := "ok  "
			if !l.OK {
				mark = "FAIL"
			}
			fmt.Fprintf(&b, "  %s %s: expected %s, found %s\n", mark, l.Field, l.Expected, l.Actual)
		}
	}
	if e.Candidates > 1 {
		fmt.Fprintf(&b, "  %d grants fit; name one with resource or trust\n", e.Candidates)
	}
	if !e.Allow && e.Detail != "" {
		fmt.Fprintf(&b, "  because of: %s\n", e.Detail)
	}
	if len(e.Shadow) > 0 {
		fmt.Fprintf(&b, "shadow trusts that would allow: %s\n", strings.Join(e.Shadow, ", "))
	}
	return b.String()
}

package trust

import (
	"fmt"
	"strconv"
	"strings"
	"time"
)

// trace writes down each thing that judging looks at. A nil trace writes
// nothing: that is how decisions are taken.
type trace struct {
	lines []Line
}

func (tr *trace) add(field string, ok bool, expected, actual string, reason Reason) {
	if ok {
		reason = ""
	}
	tr.lines = append(tr.lines, Line{Field: field, OK: ok, Expected: expected, Actual: actual, Reason: reason})
}

func (tr *trace) failed() int {
	n := 0
	for i := range tr.lines {
		if !tr.lines[i].OK {
			n++
		}
	}
	return n
}

func (tr *trace) match(line *matchLine, claims map[string]any, ok bool) {
	if tr == nil {
		return
	}
	actual := "no such claim"
	if x, found := line.claim.find(claims); found {
		actual = show(x)
	}
	want := make([]string, len(line.want))
	for i, p := range line.want {
		want[i] = show(p.value)
		if p.glob {
			want[i] = "glob " + want[i]
		}
	}
	tr.add("match."+line.name, ok, strings.Join(want, " or "), actual, ReasonConditionFalse)
}

func (tr *trace) event(g *guard) {
	if tr == nil {
		return
	}
	tr.add("match."+g.claim.name, false, "match to name "+strconv.Quote(g.value), "match does not", ReasonEventNotNamed)
}

func (tr *trace) access(a *access, j *judging, network, hours bool) {
	if tr == nil {
		return
	}
	if a.networks != nil {
		want := make([]string, len(a.networks))
		for i, p := range a.networks {
			want[i] = p.String()
		}
		actual := "an unknown address"
		if j.req.Address.IsValid() {
			actual = j.req.Address.String()
		}
		tr.add("access.networks", network, strings.Join(want, " or "), actual, ReasonNetwork)
	}
	if a.hours != nil {
		want := make([]string, len(a.hours))
		for i := range a.hours {
			want[i] = a.hours[i].text
		}
		actual := j.now.In(a.hours[0].zone).Format("Mon 15:04 MST")
		tr.add("access.hours", hours, strings.Join(want, " or "), actual, ReasonHours)
	}
}

func (tr *trace) when(i int, c *condition, ok bool, reason Reason) {
	if tr == nil {
		return
	}
	actual := "true"
	switch {
	case ok:
	case reason == ReasonConditionFalse:
		actual = "false"
	case reason == ReasonCELBudget:
		actual = "not evaluated: it spent its cost limit"
	default:
		actual = "not evaluated: a claim is missing, or an operation failed"
	}
	tr.add("when["+strconv.Itoa(i)+"]", ok, c.source, actual, reason)
}

// fork is a trace for one of several grants, nil where nothing is written.
func (tr *trace) fork() *trace {
	if tr == nil {
		return nil
	}
	return &trace{}
}

// better is the one of two with fewer lines that fail, best where they are
// alike.
func (tr *trace) better(best *trace) *trace {
	if tr == nil || best != nil && best.failed() <= tr.failed() {
		return best
	}
	return tr
}

func (tr *trace) adopt(other *trace) {
	if tr != nil && other != nil {
		tr.lines = append(tr.lines, other.lines...)
	}
}

func (tr *trace) expiry(t *rule, now time.Time, expired bool) {
	if tr == nil || t.expires.IsZero() {
		return
	}
	tr.add("expires", !expired, "before "+t.expires.UTC().Format(time.RFC3339), now.UTC().Format(time.RFC3339), ReasonTrustExpired)
}

// grants writes down how the closest grant fits what was asked.
func (tr *trace) grants(t *rule, j *judging, o outcome) {
	asked := fmt.Sprintf("to %s", j.req.Target)
	if j.req.Resource != "" {
		asked += ", resource " + j.req.Resource
	}
	if len(j.req.Scopes) > 0 {
		asked += ", scope " + strings.Join(j.req.Scopes, " ")
	}
	given := make([]string, len(t.grants))
	for i, g := range t.grants {
		given[i] = "to " + g.target
		if g.resource != "" {
			given[i] += ", resource " + g.resource
		}
		if len(g.scopes) > 0 {
			given[i] += ", scope " + strings.Join(g.scopes, " ")
		}
	}
	reason := Reason("")
	switch o.close {
	case otherTarget:
		reason = ReasonTargetNotGranted
	case otherResource:
		reason = ReasonResourceNotGrant
	case otherScope:
		reason = ReasonScopeNotGranted
	case fits:
	}
	tr.add("grants", o.close == fits, strings.Join(given, "; "), asked, reason)
}

// show writes a claim's value, cut to what a reader can use.
func show(x any) string {
	const most = 200
	s := fmt.Sprint(x)
	if text, ok := x.(string); ok {
		s = strconv.Quote(text)
	}
	if len(s) > most {
		s = strings.ToValidUTF8(s[:most], "") + "..."
	}
	return s
}

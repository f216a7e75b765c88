package trust

import (
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"
	"time"
)

// trace writes down each thing that judging looks at. A nil trace writes
// nothing: that is how decisions are taken.
type trace struct {
	lines []Line
	about []subject // of each of lines
}

// subject is what a line is about, for whoever goes on from it.
type subject struct {
	kind  lineKind
	at    int       // index of the line of match, of the guard, of the condition
	claim *claimVar // of match and events
	lacks bool      // the token has no such claim
}

type lineKind int

const (
	matchKind lineKind = iota
	eventKind
	networkKind
	hoursKind
	whenKind
	expiryKind
	grantsKind
)

func (tr *trace) add(about subject, line Line) {
	if line.OK {
		line.Reason, line.NotRecorded = "", false
	}
	if line.NotRecorded {
		line.Actual, line.Reason = "not recorded", ""
	}
	tr.lines, tr.about = append(tr.lines, line), append(tr.about, about)
}

// failed is how many lines are known to fail.
func (tr *trace) failed() int {
	n := 0
	for i := range tr.lines {
		if !tr.lines[i].OK && !tr.lines[i].NotRecorded {
			n++
		}
	}
	return n
}

// whole reports whether each line is known.
func (tr *trace) whole() bool {
	return !slices.ContainsFunc(tr.lines, func(l Line) bool { return l.NotRecorded })
}

func (tr *trace) match(j *judging, t *rule, at int, ok bool) {
	if tr == nil {
		return
	}
	line := &t.match[at]
	actual := "no such claim"
	x, found := line.claim.find(j.id.Claims)
	if found {
		actual = show(x)
	}
	tr.add(subject{kind: matchKind, at: at, claim: line.claim, lacks: !found}, Line{
		Field: "match." + line.name, OK: ok, Expected: strings.Join(line.shows(), " or "), Actual: actual, Reason: ReasonConditionFalse,
		NotRecorded: !j.vars.knows(line.claim),
	})
}

// shows are the values that the line accepts, for people.
func (l *matchLine) shows() []string {
	want := make([]string, len(l.want))
	for i, p := range l.want {
		want[i] = show(p.value)
		if p.glob {
			want[i] = "glob " + want[i]
		}
	}
	return want
}

func (tr *trace) event(at int, g *guard) {
	if tr == nil {
		return
	}
	tr.add(subject{kind: eventKind, at: at, claim: g.claim}, Line{
		Field: "match." + g.claim.name, Expected: "match to name " + strconv.Quote(g.value), Actual: "match does not", Reason: ReasonEventNotNamed,
	})
}

// unsaid tells of a guarded claim of which nobody knows whether the token had it.
func (tr *trace) unsaid(j *judging, t *rule, at int, g *guard) {
	if tr == nil || j.vars.knows(g.claim) || t.named[at] {
		return
	}
	tr.event(at, g)
	last := len(tr.lines) - 1
	tr.lines[last].NotRecorded, tr.lines[last].Actual, tr.lines[last].Reason = true, "not recorded", ""
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
		tr.add(subject{kind: networkKind}, Line{
			Field: "access.networks", OK: network, Expected: strings.Join(want, " or "), Actual: actual, Reason: ReasonNetwork,
		})
	}
	if a.hours != nil {
		want := make([]string, len(a.hours))
		for i := range a.hours {
			want[i] = a.hours[i].text
		}
		actual := j.now.In(a.hours[0].zone).Format("Mon 15:04 MST")
		tr.add(subject{kind: hoursKind}, Line{
			Field: "access.hours", OK: hours, Expected: strings.Join(want, " or "), Actual: actual, Reason: ReasonHours,
		})
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
	field := "when[" + strconv.Itoa(i) + "]"
	if c.implied != "" {
		field = "match." + c.implied // naming it there is what would help
	}
	tr.add(subject{kind: whenKind, at: i}, Line{
		Field: field, OK: ok, Expected: c.source, Actual: actual, Reason: reason, NotRecorded: reason == notRecorded,
	})
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
		tr.lines, tr.about = append(tr.lines, other.lines...), append(tr.about, other.about...)
	}
}

func (tr *trace) expiry(t *rule, now time.Time, expired bool) {
	if tr == nil || t.expires.IsZero() {
		return
	}
	tr.add(subject{kind: expiryKind}, Line{
		Field: "expires", OK: !expired, Expected: "before " + t.expires.UTC().Format(time.RFC3339), Actual: now.UTC().Format(time.RFC3339), Reason: ReasonTrustExpired,
	})
}

// grants writes down how the closest grant fits what was asked.
func (tr *trace) grants(t *rule, j *judging, o outcome) {
	asked := "to " + plain(j.req.Target)
	if j.req.Resource != "" {
		asked += ", resource " + plain(j.req.Resource)
	}
	if len(j.req.Scopes) > 0 {
		asked += ", scope " + plain(strings.Join(j.req.Scopes, " "))
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
	tr.add(subject{kind: grantsKind}, Line{Field: "grants", OK: o.close == fits, Expected: strings.Join(given, "; "), Actual: asked, Reason: reason})
}

// show writes a claim's value, cut to what a reader can use. Whoever made the
// token chose it: what a terminal would take for an order is escaped.
func show(x any) string {
	const most = 200
	s := printed(x)
	if len(s) > most {
		s = strings.ToValidUTF8(s[:most], "") + "..."
	}
	return s
}

func printed(x any) string {
	switch x := x.(type) {
	case string:
		return strconv.Quote(x)
	case []any:
		items := make([]string, len(x))
		for i, item := range x {
			items[i] = printed(item)
		}
		return "[" + strings.Join(items, " ") + "]"
	case map[string]any:
		var items []string
		for _, name := range slices.Sorted(maps.Keys(x)) {
			items = append(items, strconv.Quote(name)+":"+printed(x[name]))
		}
		return "{" + strings.Join(items, " ") + "}"
	}
	return fmt.Sprint(x) // a number, a boolean or null
}

// plain is a text that the caller chose, as it is where a terminal shows it so.
func plain(s string) string {
	if writable(s) {
		return s
	}
	return strconv.Quote(s)
}

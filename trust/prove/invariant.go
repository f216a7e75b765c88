package prove

import (
	"context"
	"runtime"
	"slices"
	"strconv"
	"sync"
	"sync/atomic"
	"time"

	"cambio/trust"
	"cambio/trust/logic"
)

// Verdict is the answer about an invariant.
type Verdict string

// The verdicts.
const (
	Holds     Verdict = "holds"     // of every exchange that the policy could allow
	Broken    Verdict = "broken"    // by the example
	Undecided Verdict = "undecided" // neither is proven
)

// Result is what came out about one invariant.
type Result struct {
	Invariant string      `json:"invariant"`
	Purpose   string      `json:"purpose"`
	Owner     string      `json:"owner"`
	File      string      `json:"file"`
	At        trust.Place `json:"at"` // of its condition
	Verdict   Verdict     `json:"verdict"`
	// Example breaks the invariant, of the first trust by name that can.
	Example *Example `json:"example,omitempty"`
	// Errors says that the example breaks it because the condition cannot be
	// evaluated.
	Errors bool `json:"errors,omitempty"`
	// Outside are the parts that nothing was proven of, and Reason says what else
	// is in the way. Only of an undecided one.
	Outside []Outside `json:"outside,omitempty"`
	Reason  string    `json:"reason,omitempty"`
	Trust   string    `json:"trust,omitempty"` // where it is undecided
}

// Invariants decides all invariants of the policy, in the order of their names.
// A cancelled context leaves what is not answered yet undecided.
func (pr *Prover) Invariants(ctx context.Context) []Result {
	rules := pr.policy.Invariants()
	// By trust and by rule: the first finding by name is told, whoever found it.
	found := make([][]*Result, len(pr.trusts))
	var next atomic.Int64
	var wg sync.WaitGroup
	for range min(runtime.GOMAXPROCS(0), len(pr.trusts)) {
		wg.Go(func() {
			for {
				i := int(next.Add(1)) - 1
				if i >= len(pr.trusts) {
					return
				}
				found[i] = pr.against(ctx, pr.trusts[i], rules)
			}
		})
	}
	wg.Wait()
	out := make([]Result, len(rules))
	for i, r := range rules {
		out[i] = summary(r, found, i)
	}
	return out
}

// summary is the worst that was found about one rule: broken before undecided.
func summary(r trust.Rule, found [][]*Result, i int) Result {
	out := Result{Verdict: Holds}
	for _, of := range found {
		switch {
		case of == nil || of[i] == nil:
		case of[i].Verdict == Broken:
			out = *of[i]
			out.about(r)
			return out
		case out.Verdict == Holds:
			out = *of[i]
		default:
			for _, o := range of[i].Outside {
				if !slices.Contains(out.Outside, o) {
					out.Outside = append(out.Outside, o)
				}
			}
		}
	}
	out.about(r)
	return out
}

func (r *Result) about(rule trust.Rule) {
	r.Invariant, r.Purpose, r.Owner, r.File, r.At = rule.Name, rule.Purpose, rule.Owner, rule.File, rule.Condition.At
}

// against looks for what breaks the rules among what one trust allows; nil is
// that they hold.
func (pr *Prover) against(ctx context.Context, t trust.Trust, rules []trust.Rule) []*Result {
	if t.Shadow || !slices.ContainsFunc(rules, func(r trust.Rule) bool { return slices.Contains(r.From, t.Provider) }) {
		return nil
	}
	out := make([]*Result, len(rules))
	s := pr.of(t)
	standing := s.standing(t)
	if isFalse(standing) {
		return nil
	}
	guarding := pr.ttls(pr.conditions(t)...)
	for i, g := range t.Grants {
		q := question{state: s, trust: t, grant: g, asker: strconv.Itoa(i), standing: standing, guarding: guarding}
		for i, r := range rules {
			if out[i] != nil && out[i].Verdict == Broken || !slices.Contains(r.From, t.Provider) {
				continue
			}
			if ctx.Err() != nil {
				out[i] = &Result{Verdict: Undecided, Reason: ctx.Err().Error(), Trust: t.Name}
				continue
			}
			if found := q.breaks(r); found != nil && (out[i] == nil || found.Verdict == Broken) {
				out[i] = found
			}
		}
	}
	return out
}

// question is about all exchanges that one grant allows.
type question struct {
	*state
	trust    trust.Trust
	grant    trust.WrittenGrant
	standing logic.Formula
	asker    string
	guarding ttls

	reached map[time.Duration]logic.Formula // by lifetime; 0: any
	named   map[string]bool                 // claims that an example is not to leave out
}

// reach is where the grant is allowed with a lifetime; 0 is any.
func (q *question) reach(ttl time.Duration) logic.Formula {
	if f, ok := q.reached[ttl]; ok {
		return f
	}
	x := q.exchange(q.asker, q.grant, ttl)
	f := logic.And(q.standing, x.fits(q.trust))
	if !isFalse(f) {
		f = logic.And(f, x.unforbidden(q.pr.guardrails[q.trust.Provider]))
	}
	if q.reached == nil {
		q.reached = map[time.Duration]logic.Formula{}
	}
	q.reached[ttl] = f
	return f
}

// violation is where the rule is broken with a lifetime; 0 is any.
func (q *question) violation(r trust.Rule, ttl time.Duration) logic.Formula {
	v := q.exchange(q.asker, q.grant, ttl).truth(r.Condition, r.File)
	if r.Never {
		return logic.Not(v.no) // what cannot be evaluated is broken too
	}
	return logic.Not(v.yes)
}

// breaks decides one rule; nil is that it holds.
func (q *question) breaks(r trust.Rule) *Result {
	asking := q.pr.ttls(r.Condition)
	reach, rule := q.grant.TTL, q.grant.TTL
	if q.guarding.read {
		reach = 0 // whoever asks for less may get past a condition
		if asking.read {
			rule = 0
		}
	}
	bad := q.violation(r, rule)
	if isFalse(bad) {
		return nil
	}
	f := logic.And(q.reach(reach), bad)
	found, status := q.search(r, f)
	if found != nil || status == logic.Unsatisfiable || !q.guarding.read || !asking.read {
		return found
	}
	return q.longest(r, asking)
}

// longest decides a rule that reads the lifetime where conditions do so too: what
// counts is the longest that could be issued in a situation. Between the
// lifetimes that are written somewhere nothing changes, so that one of each
// range is enough.
func (q *question) longest(r trust.Rule, asking ttls) *Result {
	lives := q.lifetimes(append(slices.Clone(asking.written), q.guarding.written...))
	longer := logic.True()
	for _, ttl := range lives {
		found, status := q.search(r, logic.And(q.reach(ttl), longer, q.violation(r, ttl)))
		if found != nil {
			return found
		}
		if status != logic.Unsatisfiable {
			return q.undecided(nil, "no example with the longest lifetime was confirmed")
		}
		longer = logic.And(longer, logic.Not(q.reach(ttl)))
	}
	if asking.plain && q.guarding.plain {
		return nil
	}
	return q.undecided(nil, "a lifetime is compared with something else than a written duration")
}

// lifetimes are the whole seconds that can be issued next to what is written,
// and the longest and the shortest, from long to short.
func (q *question) lifetimes(written []time.Duration) []time.Duration {
	least := shortest(q.grant)
	out := []time.Duration{q.grant.TTL, least}
	for _, d := range written {
		for _, near := range []time.Duration{d.Truncate(time.Second) - time.Second, d.Truncate(time.Second), d.Truncate(time.Second) + time.Second} {
			if near > least && near < q.grant.TTL {
				out = append(out, near)
			}
		}
	}
	slices.Sort(out)
	slices.Reverse(out)
	return slices.Compact(out)
}

// maxTries is how many models are tried before a question is given up: each one
// that is not confirmed is excluded.
const maxTries = 6

// search looks for an example of f that the policy confirms. Without one, the
// status says whether there is none, or the result what is in the way.
func (q *question) search(r trust.Rule, f logic.Formula) (*Result, logic.Status) {
	var why string
	var outside []Outside
	for range maxTries {
		model, status, reason := q.solve(f)
		switch {
		case status == logic.Unsatisfiable && outside == nil && why == "":
			return nil, status
		case status == logic.Unsatisfiable:
			return q.unless(r, outside, why)
		case status == logic.Unknown:
			return q.unless(r, outside, reason)
		}
		example, errs, problem := q.confirm(r, model)
		if example != nil {
			return &Result{Verdict: Broken, Example: example, Errors: errs, Trust: q.trust.Name}, logic.Satisfiable
		}
		why = problem
		for _, o := range q.blame(model) {
			if !slices.Contains(outside, o) {
				outside = append(outside, o)
			}
		}
		f = logic.And(f, logic.Not(this(model)))
	}
	return q.unless(r, outside, why)
}

// unless gives up, but where the lifetime is what an example was not confirmed
// for: that question is asked again.
func (q *question) unless(r trust.Rule, outside []Outside, why string) (*Result, logic.Status) {
	if len(outside) == 0 && q.guarding.read && q.pr.ttls(r.Condition).read {
		return nil, logic.Unknown
	}
	return q.undecided(outside, why), logic.Unknown
}

func (q *question) undecided(outside []Outside, why string) *Result {
	if len(outside) > 0 {
		why = ""
	}
	return &Result{Verdict: Undecided, Outside: outside, Reason: why, Trust: q.trust.Name}
}

// blame are the parts outside the fragment that the model rests on.
func (s *state) blame(m logic.Model) []Outside {
	var out []Outside
	for x := range m {
		if o, ok := s.outside[x]; ok && !slices.Contains(out, o) {
			out = append(out, o)
		}
	}
	slices.SortFunc(out, compareOutside)
	return out
}

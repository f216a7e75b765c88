package backtest

import (
	"cmp"
	"slices"
	"strings"
	"sync"
	"time"

	"cambio/trust"
)

// maxGroups bounds the groups of a report: beyond it a journal names trusts that
// no fleet has.
const maxGroups = 10_000

// Backtest judges a journal again. Records come to its workers in any order; the
// report is the same for each.
type Backtest struct {
	judge   *Judge
	show    int
	mu      sync.Mutex
	workers []*Worker
}

// New prepares a backtest of a policy. show is how many decisions each group of
// the report names.
func New(p *trust.Policy, o Options, show int) *Backtest {
	return &Backtest{judge: NewJudge(p, o), show: show}
}

// Worker takes records. It is used by one goroutine.
func (b *Backtest) Worker() *Worker {
	w := b.worker()
	b.mu.Lock()
	defer b.mu.Unlock()
	b.workers = append(b.workers, w)
	return w
}

func (b *Backtest) worker() *Worker {
	return &Worker{
		judge: b.judge, show: b.show, kinds: map[Kind]int64{}, hinges: map[string]int64{}, refused: map[string]int64{},
		groups: map[groupKey]*group{}, used: map[string]*usage{}, guards: map[string]int64{}, trial: map[string]*Trial{},
	}
}

// Worker counts what becomes of the records that it is given.
type Worker struct {
	judge      *Judge
	show       int
	from, to   time.Time
	kinds      map[Kind]int64
	dry        int64
	moved      int64
	summarised int64
	hinges     map[string]int64 // by claim
	refused    map[string]int64 // by reason: what is not the policy's
	groups     map[groupKey]*group
	used       map[string]*usage // by trust of the policy
	guards     map[string]int64  // by guardrail: how many it refused
	trial      map[string]*Trial
}

type groupKey struct {
	kind  Kind
	trust string
	line  string
}

// group keeps the first examples by time, whatever the order they come in.
type group struct {
	count    int64
	examples []Example
}

// usage is what one trust of the policy was good for.
type usage struct {
	allowed int64
	near    int64
	grants  map[[2]string]int64
	denied  map[string]int64 // by field: how often it did not hold
}

// Summary counts refusals that a journal holds as a number alone.
func (w *Worker) Summary(count int64) { w.summarised += count }

// Add judges one record.
func (w *Worker) Add(r *Record) {
	if w.from.IsZero() || r.Time.Before(w.from) {
		w.from = r.Time
	}
	if r.Time.After(w.to) {
		w.to = r.Time
	}
	o := w.judge.Judge(r)
	w.kinds[o.Kind]++
	if r.DryRun && !r.Shadow {
		w.dry++
	}
	switch o.Kind {
	case OnTrial:
		w.onTrial(r.Trust).Recorded++
		return
	case Elsewhere:
		w.refused[string(r.Reason)]++
		return
	case Unproven:
		return
	case Undecided:
		for _, name := range o.Hinges {
			w.hinges[name]++
		}
		w.group(r, o, o.Decision.Trust, strings.Join(o.Hinges, ", "))
		return
	case Lost:
		w.group(r, o, r.Trust, o.Line)
	case Gained:
		w.group(r, o, o.Decision.Trust, string(r.Reason))
	case Narrowed, Ambiguous:
		w.group(r, o, r.Trust, "")
	case Kept, Denied:
	}
	if o.Moved {
		w.moved++
	}
	w.use(r, o)
	for _, name := range o.Decision.Shadow {
		t := w.onTrial(name)
		t.Would++
		if r.Allowed {
			t.AlsoAllowed++
			continue
		}
		t.Examples = w.keep(t.Examples, example(r, o))
	}
}

func (w *Worker) onTrial(name string) *Trial {
	t := w.trial[name]
	if t == nil {
		if len(w.trial) >= maxGroups {
			name = "..."
		}
		t = &Trial{Trust: name}
		w.trial[name] = t
	}
	return t
}

func (w *Worker) group(r *Record, o Outcome, name, line string) {
	key := groupKey{o.Kind, name, line}
	g := w.groups[key]
	if g == nil {
		if len(w.groups) >= maxGroups {
			key = groupKey{o.Kind, "...", "..."}
		}
		if g = w.groups[key]; g == nil {
			g = &group{}
			w.groups[key] = g
		}
	}
	g.count++
	g.examples = w.keep(g.examples, example(r, o))
}

func example(r *Record, o Outcome) Example {
	e := Example{
		Decision: r.Decision, Time: r.Time.UTC(), Trust: o.Decision.Trust, Was: r.Trust, Reason: o.Decision.Reason, WasReason: r.Reason,
		Why: o.Why, Workload: r.Workload, Target: r.Target, Resource: r.Resource, DryRun: r.DryRun, Dropped: o.Dropped,
	}
	if o.NewTTL > 0 {
		e.TTL, e.WasTTL = int64(o.NewTTL/time.Second), int64(r.TTL/time.Second)
	}
	return e
}

// keep keeps the first by time and id, so that no order of the workers shows.
func (w *Worker) keep(examples []Example, e Example) []Example {
	return earliest(append(examples, e), w.show)
}

func earliest(examples []Example, most int) []Example {
	if len(examples) > 1 {
		slices.SortFunc(examples, func(a, b Example) int {
			return cmp.Or(a.Time.Compare(b.Time), cmp.Compare(a.Decision, b.Decision))
		})
	}
	return examples[:min(len(examples), most)]
}

// use notes which trust, grant, line or guardrail decided.
func (w *Worker) use(r *Record, o Outcome) {
	d := o.Decision
	if d.Allow {
		u := w.usage(d.Trust)
		u.allowed++
		u.grants[[2]string{d.Grant.Target, d.Grant.Resource}]++
		return
	}
	if d.Reason == trust.ReasonGuardrail {
		w.guards[d.Detail]++
	}
	if _, ok := w.judge.current[d.Trust]; !ok {
		return
	}
	u := w.usage(d.Trust)
	u.near++
	switch d.Reason { //nolint:exhaustive // the others are not about a line of the trust
	case trust.ReasonConditionFalse, trust.ReasonCELError, trust.ReasonCELBudget, trust.ReasonEventNotNamed:
		if d.Detail != "when" {
			u.denied["match."+d.Detail]++
			return
		}
	case trust.ReasonNetwork:
		u.denied["access.networks"]++
		return
	case trust.ReasonHours:
		u.denied["access.hours"]++
		return
	case trust.ReasonTrustExpired:
		u.denied["expires"]++
		return
	default:
		return
	}
	// Which of the conditions it was, only an explanation says.
	a := w.judge.again(r)
	ask := a.ask
	ask.Trust = d.Trust
	for _, l := range a.lines(ask) {
		if !l.OK && strings.HasPrefix(l.Field, "when[") {
			u.denied[l.Field]++
		}
	}
}

func (w *Worker) usage(name string) *usage {
	u := w.used[name]
	if u == nil {
		u = &usage{grants: map[[2]string]int64{}, denied: map[string]int64{}}
		w.used[name] = u
	}
	return u
}

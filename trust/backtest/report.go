package backtest

import (
	"cmp"
	"maps"
	"slices"
	"strconv"
	"time"

	"cambio/trust"
)

// Report is what a policy would have made of a journal.
type Report struct {
	Policy string    `json:"policy_sha256"`
	From   time.Time `json:"from,omitzero"` // of the first record, and below of the last
	To     time.Time `json:"to,omitzero"`

	Judged    int64 `json:"judged"` // decisions that were judged again, with a verdict
	DryRuns   int64 `json:"dry_runs"`
	Kept      int64 `json:"kept"`  // allowed then and now
	Moved     int64 `json:"moved"` // of them, and of the narrowed, by another trust
	Denied    int64 `json:"denied"`
	Lost      int64 `json:"allow_to_deny"`
	Gained    int64 `json:"deny_to_allow"`
	Narrowed  int64 `json:"narrowed"`
	Ambiguous int64 `json:"ambiguous"` // denied now, unless the caller names the trust

	Undecided  int64   `json:"undecided"`    // the outcome depends on what is not recorded
	Hinges     []Count `json:"undecided_by"` // by what is not recorded; one decision may depend on several
	Unproven   int64   `json:"unproven"`     // refused before the token was proven, or without claims
	Elsewhere  []Count `json:"not_judged"`   // refused by something else than the policy, by reason
	Summarised int64   `json:"summarised"`   // refusals that the journal holds as a number alone

	Groups []Group `json:"groups"`
	Unused Unused  `json:"unused"`
	Shadow []Trial `json:"shadow"`
}

// Flips is how many decisions come out otherwise in a way that somebody notices:
// an access that is lost, may be lost, or is new.
func (r Report) Flips() int64 { return r.Lost + r.Gained + r.Ambiguous }

// Count is a name and how often it came.
type Count struct {
	Name  string `json:"name"`
	Count int64  `json:"count"`
}

// Group are the decisions of one kind that one line of one trust made so.
type Group struct {
	Kind     Kind      `json:"kind"`
	Trust    string    `json:"trust"` // that allowed, or allows now
	Line     string    `json:"line,omitempty"`
	Count    int64     `json:"count"`
	Examples []Example `json:"examples"`
}

// Example is one decision.
type Example struct {
	Decision  string       `json:"decision"`
	Time      time.Time    `json:"time"`
	Trust     string       `json:"trust,omitempty"` // the deciding or nearest one now
	Was       string       `json:"trust_then,omitempty"`
	Reason    trust.Reason `json:"reason,omitempty"` // why not now
	WasReason trust.Reason `json:"reason_then,omitempty"`
	Why       string       `json:"why,omitempty"`
	Workload  string       `json:"workload,omitempty"`
	Target    string       `json:"target"`
	Resource  string       `json:"resource,omitempty"`
	TTL       int64        `json:"ttl,omitempty"` // seconds, of a narrowed one
	WasTTL    int64        `json:"ttl_then,omitempty"`
	Dropped   []string     `json:"scopes_lost,omitempty"`
	DryRun    bool         `json:"dry_run,omitempty"`
}

// Unused is what no recorded decision rested on.
type Unused struct {
	Trusts     []string `json:"trusts"`     // allowed nothing; those in mode shadow are left out
	Grants     []string `json:"grants"`     // gave nothing, of trusts that allowed something
	Conditions []string `json:"conditions"` // refused nothing; anchors are left out, which only select
	Guardrails []string `json:"guardrails"` // forbade nothing
}

// Trial is what one trust in mode shadow would have done.
type Trial struct {
	Trust       string    `json:"trust"`
	Recorded    int64     `json:"recorded"`     // how often the gateway noted that it would have allowed
	Would       int64     `json:"would_allow"`  // how often it would have, judged again
	AlsoAllowed int64     `json:"also_allowed"` // of them, what another trust allowed: enforced, both fit and neither decides
	Examples    []Example `json:"examples"`     // of what it alone would allow
}

// Report adds up what the workers counted. They are done.
func (b *Backtest) Report() Report {
	sum := b.worker()
	for _, w := range b.workers {
		sum.add(w)
	}
	k := sum.kinds
	r := Report{
		Policy: b.judge.policy.SHA256(), From: sum.from, To: sum.to,
		DryRuns: sum.dry, Kept: k[Kept], Moved: sum.moved, Denied: k[Denied], Lost: k[Lost], Gained: k[Gained], Narrowed: k[Narrowed],
		Ambiguous: k[Ambiguous], Undecided: k[Undecided], Unproven: k[Unproven], Summarised: sum.summarised,
		Hinges: counts(sum.hinges), Elsewhere: counts(sum.refused), Groups: []Group{}, Shadow: []Trial{},
	}
	r.Judged = r.Kept + r.Denied + r.Lost + r.Gained + r.Narrowed + r.Ambiguous
	for key, g := range sum.groups {
		r.Groups = append(r.Groups, Group{Kind: key.kind, Trust: key.trust, Line: key.line, Count: g.count, Examples: g.examples})
	}
	rank := []Kind{Lost, Ambiguous, Gained, Narrowed, Undecided}
	slices.SortFunc(r.Groups, func(a, b Group) int {
		return cmp.Or(cmp.Compare(slices.Index(rank, a.Kind), slices.Index(rank, b.Kind)), cmp.Compare(b.Count, a.Count),
			cmp.Compare(a.Trust, b.Trust), cmp.Compare(a.Line, b.Line))
	})
	r.Unused = sum.unused()
	for _, t := range b.judge.policy.All() {
		if t.Shadow {
			sum.onTrial(t.Name)
		}
	}
	for _, name := range slices.Sorted(maps.Keys(sum.trial)) {
		t := *sum.trial[name]
		t.Examples = append([]Example{}, t.Examples...)
		r.Shadow = append(r.Shadow, t)
	}
	return r
}

func counts(m map[string]int64) []Count {
	out := make([]Count, 0, len(m))
	for name, n := range m {
		out = append(out, Count{name, n})
	}
	slices.SortFunc(out, func(a, b Count) int { return cmp.Or(cmp.Compare(b.Count, a.Count), cmp.Compare(a.Name, b.Name)) })
	return out
}

// add adds what another worker counted.
func (w *Worker) add(o *Worker) {
	if w.from.IsZero() || !o.from.IsZero() && o.from.Before(w.from) {
		w.from = o.from
	}
	if o.to.After(w.to) {
		w.to = o.to
	}
	w.dry, w.moved, w.summarised = w.dry+o.dry, w.moved+o.moved, w.summarised+o.summarised
	into(w.kinds, o.kinds)
	into(w.hinges, o.hinges)
	into(w.refused, o.refused)
	into(w.guards, o.guards)
	for key, g := range o.groups {
		have := w.groups[key]
		if have == nil {
			have = &group{}
			w.groups[key] = have
		}
		have.count += g.count
		have.examples = earliest(append(have.examples, g.examples...), w.show)
	}
	for name, u := range o.used {
		have := w.usage(name)
		have.allowed, have.near = have.allowed+u.allowed, have.near+u.near
		into(have.grants, u.grants)
		into(have.denied, u.denied)
	}
	for name, t := range o.trial {
		have := w.onTrial(name)
		have.Recorded, have.Would, have.AlsoAllowed = have.Recorded+t.Recorded, have.Would+t.Would, have.AlsoAllowed+t.AlsoAllowed
		have.Examples = earliest(append(have.Examples, t.Examples...), w.show)
	}
}

func into[K comparable](sum, more map[K]int64) {
	for key, n := range more {
		sum[key] += n
	}
}

// unused lists what no recorded decision rested on, in the policy's order.
func (w *Worker) unused() Unused {
	u := Unused{Trusts: []string{}, Grants: []string{}, Conditions: []string{}, Guardrails: []string{}}
	for _, t := range w.judge.policy.All() {
		if t.Shadow {
			continue
		}
		used := w.used[t.Name]
		if used == nil || used.allowed == 0 {
			u.Trusts = append(u.Trusts, t.Name)
		}
		if used == nil || used.allowed+used.near == 0 {
			continue // nothing of it was looked at
		}
		if used.allowed > 0 {
			for _, g := range t.Grants {
				if used.grants[[2]string{g.Target, g.Resource}] == 0 {
					u.Grants = append(u.Grants, t.Name+": to "+g.Target+beside(g.Resource))
				}
			}
		}
		for _, field := range w.judge.fields(t) {
			if used.denied[field] == 0 {
				u.Conditions = append(u.Conditions, t.Name+": "+field)
			}
		}
	}
	for _, g := range w.judge.policy.AllGuardrails() {
		if w.guards[g.Name] == 0 {
			u.Guardrails = append(u.Guardrails, g.Name)
		}
	}
	return u
}

func beside(resource string) string {
	if resource == "" {
		return ""
	}
	return " " + resource
}

// fields are the lines of a trust that can refuse: all but its anchors.
func (j *Judge) fields(t trust.Trust) []string {
	var out []string
	anchors := j.policy.Anchors(t.Provider)
	for _, l := range t.Match {
		if !slices.ContainsFunc(anchors, func(a trust.ClaimRef) bool { return a.ID() == l.Claim.ID() }) {
			out = append(out, "match."+l.Name)
		}
	}
	if t.Access.Networks != nil {
		out = append(out, "access.networks")
	}
	if t.Access.Hours != nil {
		out = append(out, "access.hours")
	}
	for i, c := range t.When {
		if !c.Implied { // the platform's, which nobody can take out
			out = append(out, "when["+strconv.Itoa(i)+"]")
		}
	}
	return out
}

package trust

import (
	"slices"
	"time"
)

// Decide judges one request of one identity. It is a pure function of its
// arguments and the policy: no clock, no I/O, no state. Every (trust, grant)
// whose match, conditions, access, expiry, target, resource and scope fit is a
// candidate; only exactly one candidate, which no stop and no guardrail forbids,
// is allowed. The caller has proven id, and bounded req.
func (p *Policy) Decide(id Identity, req Request, stops StopSet, now time.Time) Decision {
	d, _ := p.decide(&id, &req, stops, now)
	return d
}

// decide also returns the judging, so that an explanation can go on from it.
func (p *Policy) decide(id *Identity, req *Request, stops StopSet, now time.Time) (Decision, *judging) {
	d := Decision{Reason: ReasonNoMatchingTrust, Blame: BlameIdentity, StopVersion: stops.Version()}
	if p == nil {
		return d, nil
	}
	d.PolicySHA256 = p.sha
	provider := p.providers[id.Provider]
	if provider == nil {
		d.Detail = "no trust is for this identity provider"
		return d, nil
	}
	j := newJudging(provider, id, req, now)
	j.enforced = p.enforced
	provider.index.each(id.Claims, j.consider)
	j.settle(p, &d)
	if j.candidates == 1 {
		j.permit(&d, stops)
	}
	j.shadows(&d, stops)
	return d, j
}

// judging holds one request while the trusts are judged. It is used by one
// goroutine.
type judging struct {
	provider *providerPolicy
	enforced *rule // as in Policy
	id       *Identity
	req      *Request
	now      time.Time
	vars     variables
	scratch  Grant

	candidates int // over all enforced trusts
	chosen     *rule
	chosenAt   int // index of the grant
	held       *rule
	heldAs     closeness
	elsewhere  bool // a trust other than the one asked for holds
	nearest    *rule
	missed     outcome // of nearest
	shadowed   []shadowFit
	shadowHeld *rule // one in mode shadow that holds, whatever it grants
}

type shadowFit struct {
	rule  *rule
	grant int
}

func newJudging(provider *providerPolicy, id *Identity, req *Request, now time.Time) *judging {
	j := &judging{provider: provider, id: id, req: req, now: now}
	j.vars = variables{schema: provider.schema, identity: id, now: now}
	if req.Address.IsValid() {
		j.vars.address = req.Address.Unmap().String()
	}
	return j
}

// closeness says how well a grant fits what was asked, the better the higher.
type closeness int

const (
	otherTarget closeness = iota
	otherResource
	otherScope
	fits
)

// step says how far a trust holds; a later one is nearer to holding.
type step int

const (
	atMatch step = iota + 1
	atEvent
	atNetwork
	atHours
	atWhen
	atExpiry
)

// outcome is what judging one trust came to.
type outcome struct {
	holds  bool // match, conditions and access hold, and it has not expired
	close  closeness
	count  int // of its grants that are candidates
	grant  int // the first of them
	at     step
	reason Reason // of the first thing that does not hold
	detail string
}

func (o *outcome) fail(at step, reason Reason, detail string) {
	if o.at == 0 {
		o.at, o.reason, o.detail = at, reason, detail
	}
}

// consider judges one trust and counts what it comes to.
func (j *judging) consider(t *rule) {
	asked := j.req.Trust == "" || j.req.Trust == t.name
	shadow := j.onTrial(t)
	if !asked && (shadow || j.elsewhere) {
		return
	}
	o := j.judge(t, nil)
	switch {
	case shadow:
		// A trust on trial has no say: it is neither counted nor blamed.
		switch {
		case o.holds:
			j.shadowHeld = t
		case j.nearest == nil:
			j.nearest, j.missed = t, o
			j.missed.at = 0 // any trust in force is a better one to name
		}
		if o.holds && o.close == fits && o.count == 1 {
			j.shadowed = append(j.shadowed, shadowFit{t, o.grant})
		}
	case !asked:
		j.elsewhere = j.elsewhere || o.holds
	case !o.holds:
		if j.nearest == nil || o.at > j.missed.at {
			j.nearest, j.missed = t, o
		}
	default:
		if j.held == nil || o.close > j.heldAs {
			j.held, j.heldAs = t, o.close
		}
		if o.close == fits {
			if j.candidates == 0 {
				j.chosen, j.chosenAt = t, o.grant
			}
			j.candidates += o.count
		}
	}
}

// onTrial reports whether the trust is in mode shadow, and judged so.
func (j *judging) onTrial(t *rule) bool { return t.shadow && t != j.enforced }

// judge is the one place that says whether a trust holds and what it gives.
// With a trace it does not stop at the first thing that fails, and writes down
// each; the outcome is the same.
func (j *judging) judge(t *rule, tr *trace) outcome {
	var o outcome
	claims := j.id.Claims
	for i := range t.match {
		line := &t.match[i]
		ok := line.holds(claims)
		tr.match(j, t, i, ok)
		if !ok {
			o.fail(atMatch, ReasonConditionFalse, line.name)
			if tr == nil {
				return o
			}
		}
	}
	for i := range j.provider.guards {
		g := &j.provider.guards[i]
		// A pull request runs the code of whoever opened it; a trust that does
		// not say that it means those must not meet them.
		x, found := g.claim.find(claims)
		if !found {
			tr.unsaid(j, t, i, g)
			continue
		}
		if x == g.value && !t.named[i] {
			tr.event(i, g)
			o.fail(atEvent, ReasonEventNotNamed, g.claim.name)
			if tr == nil {
				return o
			}
		}
	}
	if t.access != nil {
		network, hours := t.access.fromNetwork(j.req.Address), t.access.atTime(j.now)
		tr.access(t.access, j, network, hours)
		if !network {
			o.fail(atNetwork, ReasonNetwork, "access.networks")
		}
		if !hours {
			o.fail(atHours, ReasonHours, "access.hours")
		}
		if o.at != 0 && tr == nil {
			return o
		}
	}
	j.conditions(t, &o, tr)
	if o.at != 0 && tr == nil {
		return o
	}
	expired := !t.expires.IsZero() && !j.now.Before(t.expires)
	tr.expiry(t, j.now, expired)
	if expired {
		o.fail(atExpiry, ReasonTrustExpired, "expires")
	}
	o.holds = o.at == 0
	return o
}

// conditions evaluates when: a condition that reads neither request nor grant
// once, the others for each of the grants that come closest to what was asked.
func (j *judging) conditions(t *rule, o *outcome, tr *trace) {
	for i := range t.grants {
		o.close = max(o.close, j.closeness(&t.grants[i]))
	}
	j.vars.grant = &j.scratch
	for i, c := range t.when {
		if c.perGrant {
			continue
		}
		ok, reason := c.eval(&j.vars)
		tr.when(i, c, ok, reason)
		if !ok {
			o.fail(atWhen, reason, "when")
			if tr == nil {
				return
			}
		}
	}
	count, failed := 0, Reason("")
	var best *trace // of the grant that holds, or comes closest to it
	for i := range t.grants {
		if j.closeness(&t.grants[i]) != o.close {
			continue
		}
		ok, reason := true, Reason("")
		if t.perGrant {
			each := tr.fork()
			ok, reason = j.grantConditions(t, i, o.close, each)
			best = each.better(best)
		}
		switch {
		case !ok:
			if failed == "" {
				failed = reason
			}
		case count == 0:
			o.grant, count = i, 1
		default:
			count++
		}
	}
	tr.adopt(best)
	if count == 0 {
		o.fail(atWhen, failed, "when")
		return
	}
	if o.close == fits {
		o.count = count
	}
}

func (j *judging) grantConditions(t *rule, grant int, as closeness, tr *trace) (bool, Reason) {
	j.bind(t, grant, as)
	holds, first := true, Reason("")
	for i, c := range t.when {
		if !c.perGrant {
			continue
		}
		ok, reason := c.eval(&j.vars)
		tr.when(i, c, ok, reason)
		if !ok {
			if holds {
				holds, first = false, reason
			}
			if tr == nil {
				break
			}
		}
	}
	return holds, first
}

// bind sets the variables to one grant. request has the effective values: what
// was left out is what the grant gives, so that leaving a parameter out evades
// no rule. It reports a claim that the grant names and the token lacks.
func (j *judging) bind(t *rule, grant int, as closeness) (missing string) {
	g := &t.grants[grant]
	j.scratch = Grant{Target: g.target, Resource: g.resource, Scopes: g.scopes, TTL: g.ttl}
	if as == fits && len(j.req.Scopes) > 0 {
		j.scratch.Scopes = narrowed(g.scopes, j.req.Scopes)
	}
	if j.req.TTL > 0 && j.req.TTL < g.ttl {
		j.scratch.TTL = max(j.req.TTL, g.minTTL)
	}
	if len(g.claims) > 0 {
		j.scratch.Claims = make(map[string]any, len(g.claims))
		for i := range g.claims {
			x, ok := g.claims[i].resolve(j.id.Claims)
			if !ok {
				missing = g.claims[i].name
				continue
			}
			j.scratch.Claims[g.claims[i].name] = x
		}
	}
	for i := range g.extras {
		v, lacks := g.extras[i].resolve(j.id.Claims)
		if lacks != "" {
			missing = lacks
			continue
		}
		j.scratch.set(g.extras[i].name, v)
	}
	j.vars.grant = &j.scratch
	j.vars.request = Request{
		Target: j.req.Target, Resource: j.scratch.Resource, Scopes: j.scratch.Scopes, TTL: j.scratch.TTL,
	}
	if as != fits {
		// Not this grant is asked for: what was asked for is what counts.
		if j.req.Resource != "" {
			j.vars.request.Resource = j.req.Resource
		}
		if len(j.req.Scopes) > 0 {
			j.vars.request.Scopes = j.req.Scopes
		}
	}
	return missing
}

func (j *judging) closeness(g *grantRule) closeness {
	switch {
	case g.target != j.req.Target:
		return otherTarget
	case j.req.Resource != "" && j.req.Resource != g.resource:
		return otherResource
	case !within(j.req.Scopes, g.scopes):
		return otherScope
	}
	return fits
}

// within reports whether each scope asked for is granted. A malformed one is
// not, whatever is granted.
func within(asked, granted []string) bool {
	for _, s := range asked {
		if !validScope(s) || !slices.Contains(granted, s) {
			return false
		}
	}
	return true
}

// narrowed keeps the granted scopes that are asked for, in the document's order.
func narrowed(granted, asked []string) []string {
	out := make([]string, 0, len(granted))
	for _, s := range granted {
		if slices.Contains(asked, s) {
			out = append(out, s)
		}
	}
	return out
}

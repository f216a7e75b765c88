package prove

import (
	"fmt"
	"maps"
	"slices"
	"time"

	"cambio/trust"
	"cambio/trust/logic"
)

// confirm makes an example of a model and asks the policy and CEL about it. Else
// it says what they answered. errs says that the condition cannot be evaluated.
func (q *question) confirm(r trust.Rule, m logic.Model) (example *Example, errs bool, problem string) {
	eval, err := q.pr.evaluator(r.Condition)
	if err != nil {
		return nil, false, err.Error()
	}
	lives := []time.Duration{0}
	if q.guarding.read {
		lives = q.lifetimes(append(slices.Clone(q.guarding.written), q.pr.ttls(r.Condition).written...))
	}
	var last trust.Reason
	broken := func(c situation) (trust.Decision, bool) {
		id, ok := q.identity(c, q.trust.Nonce)
		if !ok {
			last = trust.ReasonWorkloadClaim
			return trust.Decision{}, false
		}
		req := c.request
		for _, ttl := range lives {
			if ttl > 0 {
				if req.TTL = ttl; ttl == q.grant.TTL {
					req.TTL = 0
				}
			}
			d := q.pr.policy.Decide(id, req, trust.StopSet{}, c.at)
			if last = d.Reason; !d.Allow {
				continue // the longest that is issued counts
			}
			if d.Trust != q.trust.Name || d.Grant.Resource != q.grant.Resource {
				last = trust.ReasonAmbiguousTrust
				return d, false
			}
			is, reason := eval.Eval(id, d.Grant, req.Address, c.at)
			failed := reason != "" && reason != trust.ReasonConditionFalse
			return d, r.Never && (is || failed) || !r.Never && !is
		}
		return trust.Decision{}, false
	}
	q.named = q.pr.named(append([]trust.Condition{r.Condition}, q.trust.When...))
	example, ok := q.show(m, broken)
	switch {
	case ok && q.pr.takes != nil:
		if err := q.pr.takes(example.Provider, example.Claims, example.At); err != nil {
			return nil, false, fmt.Sprintf("a token that could break it is refused: %s", err)
		}
		fallthrough
	case ok:
		return example, q.errs(eval, example), ""
	case last != "":
		return nil, false, fmt.Sprintf("a token that could break it is refused: %s", last)
	}
	return nil, false, "CEL does not confirm the example"
}

// named are the claims that conditions name: an example says what they are.
func (pr *Prover) named(conditions []trust.Condition) map[string]bool {
	out := map[string]bool{}
	for _, c := range conditions {
		if t, err := pr.tree(c); err == nil {
			maps.Copy(out, t.reads)
		}
	}
	return out
}

// errs reports whether a condition cannot be evaluated in an example.
func (q *question) errs(eval trust.Evaluator, e *Example) bool {
	_, reason := eval.Eval(e.Identity, e.Grant, e.Request.Address, e.At)
	return reason != "" && reason != trust.ReasonConditionFalse
}

// show makes an example of a model that shows what is asked for: the decision
// about it is part of it.
func (q *question) show(m logic.Model, shows func(situation) (trust.Decision, bool)) (*Example, bool) {
	c := q.apply(q.plain(q.trust), m, q.asker, q.grant)
	c.request.Target, c.request.Resource, c.request.Trust = q.grant.Target, q.grant.Resource, q.trust.Name
	is := func(c situation) bool { _, ok := shows(c); return ok }
	ways := c.whole()
	i := slices.IndexFunc(ways, is)
	if c.at.Before(q.now) || i < 0 {
		return nil, false
	}
	c = q.readable(ways[i], is)
	d, _ := shows(c)
	if c.request.TTL = 0; d.Allow && d.Grant.TTL != q.grant.TTL {
		c.request.TTL = d.Grant.TTL
	}
	return q.example(c, d, is), true
}

// readable moves a situation back to the sample, value by value, as long as it
// still shows the same, and then leaves out of the request what it can.
func (q *question) readable(c situation, shows func(situation) bool) situation {
	base := q.plain(q.trust)
	try := func(change func(*situation)) {
		next := c
		next.claims = cloneMap(c.claims)
		if change(&next); shows(next) {
			c = next
		}
	}
	try(func(n *situation) { n.at, n.iat, n.exp = base.at, nil, nil })
	try(func(n *situation) { n.iat, n.exp = nil, nil })
	try(func(n *situation) { n.at = later(n.at, q.now) })
	try(func(n *situation) { n.audience = base.audience })
	try(func(n *situation) { n.request.Address = base.request.Address })
	for _, id := range leaves(base.claims, c.claims) {
		try(func(n *situation) { copyLeaf(n.claims, base.claims, id) })
	}
	try(func(n *situation) { n.request.Scopes, n.request.TTL = nil, 0 })
	try(func(n *situation) { n.request.Scopes = nil })
	try(func(n *situation) { n.request.TTL = 0 })
	try(func(n *situation) { n.request.Trust, n.request.Resource = "", "" })
	if c.request.Resource != "" {
		try(func(n *situation) { n.request.Trust = "" })
		try(func(n *situation) { n.request.Resource = "" })
	}
	return c
}

// later is the next whole minute, or the instant itself where that is one.
func later(t, now time.Time) time.Time {
	m := t.Truncate(time.Minute)
	if m.Before(now) {
		m = m.Add(time.Minute)
	}
	return m
}

// example keeps the claims that matter. What explain adds by itself, and what the
// verifier checks against other claims, is left out where it can be.
func (q *question) example(c situation, d trust.Decision, shows func(situation) bool) *Example {
	id, _ := q.identity(c, q.trust.Nonce)
	e := &Example{Trust: q.trust.Name, Provider: q.trust.Provider, Request: c.request, At: c.at, Identity: id, Grant: d.Grant}
	few := c
	few.claims = cloneMap(c.claims)
	for _, leaf := range leaves(few.claims, nil) {
		if q.named[leaf] {
			continue
		}
		next := few
		next.claims = cloneMap(few.claims)
		remove(next.claims, leaf)
		if leaf == "/sub" {
			next.claims["sub"] = "unknown" // what explain assumes
		}
		if shows(next) {
			few = next
		}
	}
	tidy := few
	tidy.claims = cloneMap(few.claims)
	if prune(tidy.claims); shows(tidy) {
		few = tidy
	}
	if few.claims["sub"] == "unknown" {
		delete(few.claims, "sub")
	}
	if c.iat != nil || c.exp != nil {
		few.claims["iat"], few.claims["exp"] = id.Claims["iat"], id.Claims["exp"]
	}
	e.Claims = few.claims
	return e
}

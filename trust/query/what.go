package query

import (
	"slices"
	"strings"
	"time"

	"cambio/trust"
	"cambio/trust/words"
)

// Reply says what one identity can get.
type Reply struct {
	Provider string `json:"provider"`
	Workload string `json:"workload"`
	// Gets is what a request that names the trust is allowed.
	Gets []Got `json:"gets"`
	// Shadow is what trusts in mode shadow would add.
	Shadow []Got `json:"shadow"`
	// Near are trusts for this very workload, by the immutable ids that they pin,
	// of which something else does not hold.
	Near []Near `json:"near"`
	// Other is the number of the identity provider's other trusts.
	Other  int    `json:"other_trusts"`
	Policy string `json:"policy_sha256"`
}

// Got is one grant that the identity can have.
type Got struct {
	Trust    string   `json:"trust"`
	Owner    string   `json:"owner"`
	File     string   `json:"file"`
	Target   string   `json:"target"`
	Resource string   `json:"resource,omitempty"`
	Scopes   []string `json:"scopes,omitempty"`
	TTL      int64    `json:"ttl"` // seconds
	// Ambiguous says that a request must name the trust: without, more than one
	// grant fits, and it is refused.
	Ambiguous bool `json:"must_name_trust,omitempty"`

	grant trust.WrittenGrant
}

// String is the grant in words.
func (g Got) String() string { return words.Grant(g.grant) }

// Near is one grant that the identity cannot have, and why.
type Near struct {
	Trust    string `json:"trust"`
	Owner    string `json:"owner"`
	File     string `json:"file"`
	State    State  `json:"state"`
	Target   string `json:"target"`
	Resource string `json:"resource,omitempty"`
	// Reason is that of the first line that does not hold, or else the decision's.
	Reason trust.Reason `json:"reason"`
	Detail string       `json:"detail,omitempty"`
	// Fails are the lines that do not hold.
	Fails []trust.Line `json:"fails,omitempty"`

	grant trust.WrittenGrant
}

// String is the grant in words.
func (n Near) String() string { return words.Grant(n.grant) }

// Caller is who asks, from where and when.
type Caller struct {
	Identity trust.Identity
	Ask      trust.Request // its address alone counts
	Stops    trust.StopSet
	At       time.Time
}

// WhatCan asks the policy for each grant of each trust that may be for this
// identity; each answer is one of [trust.Policy.Explain].
func WhatCan(p *trust.Policy, c Caller) Reply {
	reply := Reply{
		Provider: c.Identity.Provider, Workload: c.Identity.Workload, Policy: p.SHA256(),
		Gets: []Got{}, Shadow: []Got{}, Near: []Near{},
	}
	anchors := p.Anchors(c.Identity.Provider)
	for _, t := range p.All() {
		switch {
		case t.Provider != c.Identity.Provider:
			continue
		case !anchored(t, anchors, c.Identity.Claims):
			reply.Other++
			continue
		}
		for _, g := range t.Grants {
			ask(&reply, p, c, t, g)
		}
	}
	return reply
}

// anchored reports whether the trust is for this very workload: all immutable ids
// that it pins are the identity's.
func anchored(t trust.Trust, anchors []trust.ClaimRef, claims map[string]any) bool {
	for _, l := range t.Match {
		anchor := slices.ContainsFunc(anchors, func(a trust.ClaimRef) bool { return a.ID() == l.Claim.ID() })
		if !anchor || !l.Pins() {
			continue
		}
		x, ok := l.Claim.Get(claims)
		if !ok || !slices.ContainsFunc(l.Want, func(w trust.Wanted) bool { return w.Value == x }) {
			return false
		}
	}
	return true
}

// ask puts one grant where the answer belongs.
func ask(r *Reply, p *trust.Policy, c Caller, t trust.Trust, g trust.WrittenGrant) {
	request := trust.Request{Target: g.Target, Resource: g.Resource, Trust: t.Name, Address: c.Ask.Address}
	e := p.Explain(c.Identity, request, c.Stops, c.At)
	got := Got{Trust: t.Name, Owner: t.Owner, File: t.File, Target: g.Target, Resource: g.Resource, Scopes: g.Scopes, TTL: int64(g.TTL / time.Second), grant: g}
	switch {
	case e.Allow:
		request.Trust = ""
		got.Ambiguous = p.Decide(c.Identity, request, c.Stops, c.At).Reason == trust.ReasonAmbiguousTrust
		r.Gets = append(r.Gets, got)
	case slices.Contains(e.Shadow, t.Name):
		r.Shadow = append(r.Shadow, got)
	default:
		near := Near{
			Trust: t.Name, Owner: t.Owner, File: t.File, State: stateOf(t, c.At),
			Target: g.Target, Resource: g.Resource, Reason: e.Reason, Detail: e.Detail, grant: g,
		}
		for _, l := range slices.Concat(e.Lines, e.Guardrails) {
			if !l.OK {
				near.Fails = append(near.Fails, l)
			}
		}
		if len(near.Fails) > 0 {
			near.Reason = near.Fails[0].Reason // the decision's speaks of all trusts
		}
		r.Near = append(r.Near, near)
	}
}

// Text says it for people.
func (r Reply) Text() string {
	var b strings.Builder
	say := func(texts ...string) { b.WriteString(strings.Join(texts, "") + "\n") }
	say(words.One(r.Workload), " gets")
	if len(r.Gets) == 0 {
		say("  nothing")
	}
	for _, g := range r.Gets {
		say("  ", g.String(), "  (", words.Where(g.Trust, g.File), ")")
		if g.Ambiguous {
			say("    only when it names the trust: more than one grant fits")
		}
	}
	if len(r.Shadow) > 0 {
		say("in mode shadow, and allowed nothing yet")
	}
	for _, g := range r.Shadow {
		say("  ", g.String(), "  (", words.Where(g.Trust, g.File), ")")
	}
	if len(r.Near) > 0 {
		say("near: the ids are right, and something else is not")
	}
	for _, n := range r.Near {
		state := ""
		if n.State != InForce {
			state = ", " + string(n.State)
		}
		say("  ", n.String(), "  (", words.Where(n.Trust, n.File), state, ")")
		for _, l := range n.Fails {
			say("    ", words.One(l.Field), ": expected ", words.One(l.Expected), ", found ", words.One(l.Actual))
		}
		if len(n.Fails) == 0 {
			say("    ", strings.TrimSuffix(string(n.Reason)+": "+words.One(n.Detail), ": "))
		}
	}
	return strings.TrimRight(b.String(), "\n")
}

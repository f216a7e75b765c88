package trust

import (
	"slices"
	"time"
)

// Partly says what is known of a token that nobody holds any more, but for what
// a record tells of it.
type Partly struct {
	// Claim reports whether a claim is known: its value, or that the token lacks
	// it. nil: all are.
	Claim func(ClaimRef) bool
	Nonce bool // Identity.Nonce is known
	// Held is a trust whose document is known to have held for this very request,
	// and to have given a grant that fits. What is not known of it is taken to be
	// so; what is known is judged all the same.
	Held string
}

// DecidePartly is [Policy.Decide], without stops, for an identity that is known
// in part. The names that it returns are those of claims, or of fields such as
// identity.issued_at, that could turn an allow into a denial or back: with one
// the decision says nothing. Without one the verdict is that of Decide for each
// token that agrees with what is known. Empty fields of the identity, and zero
// times, are not known.
//
// Shadow holds the trusts in mode shadow of which it is known that they would
// have allowed this.
func (p *Policy) DecidePartly(id Identity, req Request, known Partly, now time.Time) (Decision, []string) {
	d, j := p.decide(&id, &req, StopSet{}, now)
	if j == nil {
		return d, nil
	}
	u := &unknowns{known: known}
	j.vars.unknown = u
	sum := span{}
	var likely *rule // the one candidate, where there is one
	likelyAt := 0
	d.Shadow = nil
	for _, t := range j.partlyIndexed(known) {
		shadow := j.onTrial(t)
		if req.Trust != "" && req.Trust != t.name {
			continue
		}
		u.asked = nil
		n, at := j.partly(t)
		if shadow {
			if n.low == 1 && n.high == 1 && !j.partlyRefused(t, at).possible() {
				d.Shadow = append(d.Shadow, t.name)
			}
			continue
		}
		if n.high > 0 {
			likely, likelyAt = t, at
		}
		if n.low != n.high {
			sum.hinges = append(sum.hinges, u.asked...)
		}
		sum.low, sum.high = sum.low+n.low, sum.high+n.high
	}
	slices.Sort(d.Shadow)
	switch {
	case sum.high == 0, sum.low > 1:
		return settledPartly(p, d, sum, likely), nil
	case sum.low != sum.high:
		return d, hinges(sum.hinges)
	}
	u.asked = nil
	switch j.partlyRefused(likely, likelyAt) {
	case surely:
		if d.Allow || d.Trust != likely.name { // by what is known to have held
			d = Decision{Reason: ReasonGuardrail, Trust: likely.name, PolicySHA256: p.sha, Shadow: d.Shadow}
		}
		return d, nil
	case perhaps:
		return d, hinges(u.asked)
	case never:
	}
	if !d.Allow { // what is known to have held does not hold without the claims
		j.bind(likely, likelyAt, fits)
		d = Decision{Allow: true, Trust: likely.name, Grant: j.scratch, PolicySHA256: p.sha, Shadow: d.Shadow}
		d.Grant.Scopes = slices.Clone(j.scratch.Scopes)
	}
	return d, nil
}

// settledPartly is the denial of a request for which no trust fits, or several.
// The plain decision knows it where it took no unknown for an absence.
func settledPartly(p *Policy, d Decision, sum span, likely *rule) Decision {
	if sum.low > 1 && d.Reason != ReasonAmbiguousTrust {
		return Decision{Reason: ReasonAmbiguousTrust, Trust: likely.name, PolicySHA256: p.sha, Shadow: d.Shadow}
	}
	return d
}

func hinges(names []string) []string {
	slices.Sort(names)
	return slices.Compact(names)
}

// span is how many candidates there are at least, and at most.
type span struct {
	low, high int
	hinges    []string
}

// likelihood says how sure something is.
type likelihood int

const (
	never likelihood = iota
	perhaps
	surely
)

func (l likelihood) possible() bool { return l != never }

// partlyIndexed are the trusts that may match: those that the index finds, or
// all of the provider where a claim that it looks by is not known.
func (j *judging) partlyIndexed(known Partly) []*rule {
	var found []*rule
	if j.provider.index.knows(known, j.id.Claims) {
		j.provider.index.each(j.id.Claims, func(t *rule) { found = append(found, t) })
		return found
	}
	return j.provider.rules
}

// knows reports whether the index asks for nothing that is not known.
func (ix *index) knows(known Partly, claims map[string]any) bool {
	for i := range ix.levels {
		l := &ix.levels[i]
		if !known.claim(l.claim) {
			return false
		}
		key, ok := indexKey(l.claim, claims)
		if !ok {
			continue
		}
		if b := l.buckets[key]; b != nil && b.by != nil && !known.claim(b.by) {
			return false
		}
	}
	return true
}

func (k Partly) claim(c *claimVar) bool { return k.Claim == nil || k.Claim(ClaimRef{c}) }

// partly counts the grants of a trust that are candidates, and returns one that
// may be.
func (j *judging) partly(t *rule) (n span, grant int) {
	shared := surely
	and := func(l likelihood) { shared = min(shared, l) }
	for i := range t.match {
		line := &t.match[i]
		switch {
		case !j.knows(line.claim):
			and(perhaps)
		case !line.holds(j.id.Claims):
			return span{}, 0
		}
	}
	for i := range j.provider.guards {
		g := &j.provider.guards[i]
		if t.named[i] {
			continue
		}
		if x, found := g.claim.find(j.id.Claims); found && x == g.value {
			return span{}, 0
		}
		if !j.knows(g.claim) {
			and(perhaps)
		}
	}
	if t.access != nil && (!t.access.fromNetwork(j.req.Address) || !t.access.atTime(j.now)) {
		return span{}, 0
	}
	if !t.expires.IsZero() && !j.now.Before(t.expires) {
		return span{}, 0
	}
	j.vars.grant = &j.scratch
	for _, c := range t.when {
		if c.perGrant {
			continue
		}
		and(j.evalPartly(c))
		if shared == never {
			return span{}, 0
		}
	}
	for i := range t.grants {
		if j.closeness(&t.grants[i]) != fits {
			continue
		}
		each := shared
		if t.perGrant {
			j.bindPartly(t, i)
			for _, c := range t.when {
				if c.perGrant {
					each = min(each, j.evalPartly(c))
				}
			}
		}
		if each == never {
			continue
		}
		n.high, grant = n.high+1, i
		if each == surely {
			n.low++
		}
	}
	if n.high > 0 && n.low == 0 && t.name == j.vars.unknown.known.Held {
		n.low, n.high = 1, 1 // it held then, and what is not known is as it was
	}
	return n, grant
}

// bindPartly is bind, and notes whether the grant's claims are known.
func (j *judging) bindPartly(t *rule, grant int) {
	j.bind(t, grant, fits)
	u := j.vars.unknown
	asked := u.asked
	_, u.given = j.needs(&t.grants[grant])
	u.asked = asked // a condition may never look at them
}

// knows asks for one claim, and remembers that it was asked for.
func (j *judging) knows(c *claimVar) bool {
	if j.vars.unknown.known.claim(c) {
		return true
	}
	j.vars.unknown.ask(c.shown)
	return false
}

// evalPartly evaluates a condition with what is known.
func (j *judging) evalPartly(c *condition) likelihood {
	u := j.vars.unknown
	u.hidden = false
	out, _, err := c.program.Eval(&j.vars)
	switch {
	case u.hidden || isUnknown(out):
		return perhaps
	case err == nil && isTrue(out):
		return surely
	}
	return never
}

// partlyRefused says whether a candidate is refused all the same.
func (j *judging) partlyRefused(t *rule, grant int) likelihood {
	u := j.vars.unknown
	j.bindPartly(t, grant)
	refused := never
	or := func(l likelihood) { refused = max(refused, l) }
	for _, g := range j.provider.guardrails {
		u.hidden = false
		out, _, err := g.forbid.program.Eval(&j.vars)
		switch {
		case u.hidden || isUnknown(out):
			or(perhaps)
		case err != nil || !isFalse(out):
			or(surely)
		}
	}
	if t.name == u.known.Held {
		return refused // what it hands on fitted then
	}
	lost, unknown := j.needs(&t.grants[grant])
	switch misfit := t.grants[grant].misfit; {
	case lost:
		or(surely)
	case unknown:
		or(perhaps)
	case misfit != nil:
		if _, problem := misfit(j.scratch); problem != "" {
			or(surely)
		}
	}
	switch {
	case t.nonce && !u.known.Nonce:
		u.ask("nonce")
		or(perhaps)
	case t.nonce && !j.id.Nonce:
		or(surely)
	}
	return refused
}

// needs reports whether the grant hands on a claim that the token is known to
// lack, and one of which nothing is known.
func (j *judging) needs(g *grantRule) (lost, unknown bool) {
	each := func(templates []claimTemplate) {
		for i := range templates {
			for _, part := range templates[i].parts {
				switch {
				case part.claim == nil:
				case !j.knows(part.claim):
					unknown = true
				default:
					x, ok := part.claim.find(j.id.Claims)
					if ok {
						_, ok = part.claim.typed(x)
					}
					lost = lost || !ok
				}
			}
		}
	}
	each(g.claims)
	for i := range g.extras {
		each(g.extras[i].templates)
	}
	return lost, unknown
}

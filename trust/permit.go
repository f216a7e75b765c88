package trust

import (
	"encoding/hex"
	"slices"
	"sort"
)

// settle turns what was counted into a verdict, but for a single candidate.
func (j *judging) settle(p *Policy, d *Decision) {
	switch {
	case j.candidates > 1:
		// Never the first, never the union: which one was meant is not known.
		d.Trust, d.Reason, d.Blame = j.chosen.name, ReasonAmbiguousTrust, BlameIdentity
	case j.candidates == 1:
		d.Trust = j.chosen.name
	case j.held != nil:
		d.Trust = j.held.name
		switch j.heldAs {
		case otherScope:
			d.Blame, d.Reason = BlameScope, ReasonScopeNotGranted
			if slices.ContainsFunc(j.req.Scopes, func(s string) bool { return !validScope(s) }) {
				d.Reason = ReasonScopeMalformed
			}
		case otherResource:
			d.Blame, d.Reason = BlameTarget, ReasonResourceNotGrant
		case otherTarget, fits: // one that fits is a candidate, and does not come here
			d.Blame, d.Reason = BlameTarget, ReasonTargetNotGranted
		}
	case j.elsewhere:
		// The same for a name that exists and one that does not, so that names
		// cannot be tried out.
		d.Blame, d.Reason = BlameTarget, ReasonNoMatchingTrust
	case len(j.shadowed) > 0:
		d.Trust, d.Reason = j.shadowed[0].rule.name, ReasonShadowOnly
	case j.nearest != nil:
		d.Trust, d.Reason, d.Detail = j.nearest.name, j.missed.reason, j.missed.detail
	case j.shadowHeld != nil:
		d.Trust, d.Reason = j.shadowHeld.name, ReasonShadowOnly
	case j.req.Trust != "":
		if t := p.byName[j.req.Trust]; t != nil && t.provider == j.provider {
			d.Trust, d.Reason = t.name, ReasonConditionFalse
		}
	case len(j.provider.rules) > 0:
		d.Reason, d.Detail = ReasonConditionFalse, "no trust pins this identity"
	}
	if t := p.byName[d.Trust]; t != nil {
		d.TrustSHA256 = hex.EncodeToString(t.sha[:])
	}
}

// permit allows the one candidate, unless a stop, a guardrail or a missing claim
// refuses it. They come after the count, so that forbidding one of two never
// decides for the other.
func (j *judging) permit(d *Decision, stops StopSet) {
	t := j.chosen
	reason, blame, detail := j.refusal(t, j.chosenAt, stops)
	if reason != "" {
		d.Reason, d.Blame, d.Detail = reason, blame, detail
		return
	}
	d.Allow, d.Reason, d.Blame = true, "", BlameIdentity
	d.Grant = j.scratch
	d.Grant.Scopes = slices.Clone(j.scratch.Scopes) // the policy's own stay ours
	d.Claims = j.evidence(t)
	d.TokenUse = j.provider.tokenUse
	if t.tokenUse != "" && t.tokenUse.Tighter(d.TokenUse) {
		d.TokenUse = t.tokenUse
	}
	d.Mark = d.TokenUse == UntilExpiry && j.provider.tightened
}

// refusal says why a candidate is refused all the same, or "". It leaves the
// variables bound to the grant.
func (j *judging) refusal(t *rule, grant int, stops StopSet) (Reason, Blame, string) {
	missing := j.bind(t, grant, fits)
	switch {
	case stops.Stopped(StopWorkload, j.id.Workload, j.now):
		return ReasonStopped, BlameIdentity, "workload"
	case stops.Stopped(StopTrust, t.name, j.now):
		return ReasonStopped, BlameIdentity, "trust"
	case stops.Stopped(StopProvider, j.provider.name, j.now):
		return ReasonStopped, BlameIdentity, "provider"
	case stops.Stopped(StopTarget, j.scratch.Target, j.now):
		return ReasonStopped, BlameTarget, "target"
	}
	for _, g := range j.provider.guardrails {
		if forbids, _ := j.forbidden(g); forbids {
			return ReasonGuardrail, BlameIdentity, g.name
		}
	}
	switch {
	case missing != "":
		return ReasonClaimMissing, BlameIdentity, missing
	case t.nonce && !j.id.Nonce:
		// A token that was stolen before its first use carries no nonce that its
		// thief could know to be fresh.
		return ReasonNonceRequired, BlameIdentity, ""
	}
	if misfit := t.grants[grant].misfit; misfit != nil {
		if field, problem := misfit(j.scratch); problem != "" {
			return ReasonGrantUnfit, BlameIdentity, field + ": " + problem
		}
	}
	return "", BlameIdentity, ""
}

// forbidden evaluates a guardrail. One that cannot be evaluated forbids: a
// missing claim must not switch it off.
func (j *judging) forbidden(g *guardrail) (bool, Reason) {
	ok, reason := g.forbid.eval(&j.vars)
	return ok || reason != ReasonConditionFalse, reason
}

// evidence are the claims that the decision rests on.
func (j *judging) evidence(t *rule) map[string]any {
	claims := make(map[string]any, len(t.match)+len(j.provider.anchors))
	for i := range t.match {
		if x, ok := t.match[i].claim.find(j.id.Claims); ok {
			claims[t.match[i].claim.shown] = x
		}
	}
	for _, a := range j.provider.anchors {
		if t.lineOf(a) != nil {
			continue
		}
		if x, ok := a.find(j.id.Claims); ok {
			claims[a.shown] = x
		}
	}
	return claims
}

// shadows lists the trusts in mode shadow that would have allowed this, had
// they been the only ones.
func (j *judging) shadows(d *Decision, stops StopSet) {
	for _, s := range j.shadowed {
		if reason, _, _ := j.refusal(s.rule, s.grant, stops); reason == "" {
			d.Shadow = append(d.Shadow, s.rule.name)
		}
	}
	sort.Strings(d.Shadow)
}

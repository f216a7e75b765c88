package prove

import (
	"slices"
	"time"

	"cambio/trust"
	"cambio/trust/logic"
)

// Coverage is whether one policy allows all that a grant of another does.
type Coverage struct {
	Answer Answer
	// Example is what the grant allows and the policy does not.
	Example *Example
	Outside []Outside // what an unsure answer rests on
	Reason  string    // what else is in the way of one
}

// Covered decides whether everything that one grant of a trust of this policy
// allows is also allowed by another policy: for the same target and resource,
// with at least the scopes and the lifetime that were asked for, by any of its
// trusts, and with its guardrails. That a caller may have to name another trust is
// no difference. Where by is the prover itself the trust is left out, which tells
// whether others shadow it. Extra claims and fields of the target are not compared.
func (pr *Prover) Covered(by *Prover, t trust.Trust, g trust.WrittenGrant) Coverage {
	if t.Shadow || !t.Expires.IsZero() && !pr.now.Before(t.Expires) {
		return Coverage{Answer: Yes} // it allows nothing
	}
	s := pr.of(t)
	const asker = "caller"
	ttl := g.TTL
	read := pr.ttls(pr.conditions(t)...).read
	rivals := by.rivals(s, t, g, pr == by)
	for _, r := range rivals {
		read = read || by.ttls(by.conditions(r.trust)...).read
	}
	if read {
		ttl = 0
	}
	x := s.exchange(asker, g, ttl)
	f := logic.And(s.standing(t), x.fits(t))
	f = logic.And(f, x.unforbidden(pr.guardrails[t.Provider]))
	for _, r := range rivals {
		if isFalse(f) {
			return Coverage{Answer: Yes}
		}
		f = logic.And(f, logic.Not(x.through(by, r)))
	}
	q := question{state: s, trust: t, grant: g, asker: asker}
	return q.uncovered(by, rivals, f)
}

// rival is a grant that could give the same.
type rival struct {
	trust    trust.Trust
	grant    trust.WrittenGrant
	standing logic.Formula
}

// rivals are those whose match does not exclude the state.
func (pr *Prover) rivals(s *state, t trust.Trust, g trust.WrittenGrant, same bool) []rival {
	var out []rival
	for _, i := range pr.byTarget[target{t.Provider, g.Target}] {
		other := pr.trusts[i]
		if other.Shadow || same && other.Name == t.Name {
			continue
		}
		standing := logic.False()
		for _, og := range other.Grants {
			if og.Target != g.Target || og.Resource != g.Resource || len(g.Scopes) > 0 && !slices.ContainsFunc(g.Scopes, func(s string) bool { return slices.Contains(og.Scopes, s) }) {
				continue
			}
			if isFalse(standing) {
				if standing = s.standing(other); isFalse(standing) {
					break
				}
			}
			out = append(out, rival{other, og, standing})
		}
	}
	return out
}

// through is where the same that x asks for is allowed by a rival.
func (x *exchange) through(by *Prover, r rival) logic.Formula {
	fs := []logic.Formula{r.standing}
	for _, scope := range x.grant.Scopes {
		if !slices.Contains(r.grant.Scopes, scope) {
			x.scopes() // one at least is asked for
			fs = append(fs, logic.Not(logic.Bool(scopeVar(x.asker, scope))))
		}
	}
	if x.ttl > r.grant.TTL {
		return logic.False()
	}
	if x.ttl == 0 && r.grant.TTL < x.grant.TTL {
		x.lifetime()
		fs = append(fs, logic.AtMost(ttlVar(x.asker), int64(r.grant.TTL)))
	}
	y := x.exchange(x.asker, r.grant, x.ttl)
	if y.asks = x.grant.Scopes; len(y.asks) == 0 {
		y.asks, y.all = r.grant.Scopes, true
	}
	if x.ttl == 0 {
		x.lifetime() // its bounds are those of what is asked for
	}
	fs = append(fs, y.fits(r.trust), y.unforbidden(by.guardrails[r.trust.Provider]))
	return logic.And(fs...)
}

// uncovered looks for an example of f.
func (q *question) uncovered(by *Prover, rivals []rival, f logic.Formula) Coverage {
	out := Coverage{Answer: Unsure}
	shows := func(c situation) (trust.Decision, bool) {
		id, ok := q.identity(c, true)
		if !ok {
			return trust.Decision{}, false
		}
		d := q.pr.policy.Decide(id, c.request, trust.StopSet{}, c.at)
		if !d.Allow || d.Trust != q.trust.Name || d.Grant.Resource != q.grant.Resource {
			return d, false
		}
		req := c.request
		req.Resource, req.Scopes, req.TTL = d.Grant.Resource, d.Grant.Scopes, d.Grant.TTL.Round(time.Second)
		for _, r := range rivals {
			req.Trust = r.trust.Name
			if e := by.policy.Decide(id, req, trust.StopSet{}, c.at); e.Allow && e.Grant.TTL >= d.Grant.TTL {
				return d, false
			}
		}
		return d, true
	}
	for range maxTries {
		model, status, reason := q.solve(f)
		if status == logic.Unsatisfiable && out.Outside == nil && out.Reason == "" {
			return Coverage{Answer: Yes}
		}
		if status != logic.Satisfiable {
			if out.Reason == "" {
				out.Reason = reason
			}
			return out
		}
		if example, ok := q.show(model, shows); ok {
			return Coverage{Answer: No, Example: example}
		}
		out.Outside = append(out.Outside, q.blame(model)...)
		out.Reason = "no example was confirmed"
		f = logic.And(f, logic.Not(this(model)))
	}
	return out
}

package prove

import (
	"cambio/trust"
	"cambio/trust/logic"
)

// Overlap is whether one request can fit two trusts.
type Overlap struct {
	Answer Answer
	// Example is a request that fits both; it names neither trust.
	Example *Example
	// SameResource says that a resource of the request does not tell the two
	// apart. Where it is false, callers have to leave the resource out.
	SameResource bool
	Outside      []Outside // what an unsure answer rests on
}

// Overlap decides whether a request for a target that names no trust can be a
// candidate of both: it would be refused as ambiguous. Guardrails are left out,
// for candidates are counted before them. A trust in mode shadow is never one.
func (pr *Prover) Overlap(a, b trust.Trust, target string) Overlap {
	if a.Provider != b.Provider || a.Shadow || b.Shadow {
		return Overlap{Answer: No}
	}
	s := pr.of(a)
	standing := logic.And(s.standing(a), s.standing(b))
	if isFalse(standing) {
		return Overlap{Answer: No}
	}
	out := Overlap{Answer: No}
	for _, same := range []bool{true, false} {
		for _, ga := range a.Grants {
			for _, gb := range b.Grants {
				if ga.Target != target || gb.Target != target || (ga.Resource == gb.Resource) != same {
					continue
				}
				found := pr.overlap(s, standing, a, b, ga, gb)
				found.SameResource = same
				if found.Answer == Yes {
					return found
				}
				out.Answer = either(out.Answer, found.Answer)
				out.Outside = append(out.Outside, found.Outside...)
			}
		}
	}
	return out
}

// overlap is about one grant of each.
func (pr *Prover) overlap(s *state, standing logic.Formula, a, b trust.Trust, ga, gb trust.WrittenGrant) Overlap {
	// Nothing but the target is asked for: each grant gives all that it has.
	xa, xb := s.exchange("a", ga, ga.TTL), s.exchange("b", gb, gb.TTL)
	xa.all, xb.all = true, true
	q := question{state: s, trust: a, grant: ga, asker: "a"}
	fits := func(c situation) (trust.Decision, bool) {
		id, ok := s.identity(c, true)
		if !ok {
			return trust.Decision{}, false
		}
		for _, name := range []string{a.Name, b.Name} {
			req := c.request
			if req.Trust = name; ga.Resource != gb.Resource {
				req.Resource = ""
			}
			if pr.policy.Explain(id, req, trust.StopSet{}, c.at).Candidates == 0 {
				return trust.Decision{}, false
			}
		}
		return trust.Decision{}, true
	}
	f := logic.And(standing, xa.fits(a), xb.fits(b))
	var outside []Outside
	for range maxTries {
		model, status, _ := s.solve(f)
		if status == logic.Unsatisfiable && outside == nil {
			if pr.readsAsked(a) || pr.readsAsked(b) {
				break // a narrower request may fit
			}
			return Overlap{Answer: No}
		}
		if status != logic.Satisfiable {
			break
		}
		if example, ok := q.show(model, fits); ok {
			example.Request.Trust = ""
			if ga.Resource != gb.Resource {
				example.Request.Resource = ""
			}
			return Overlap{Answer: Yes, Example: example}
		}
		outside = append(outside, s.blame(model)...)
		f = logic.And(f, logic.Not(this(model)))
	}
	return Overlap{Answer: Unsure, Outside: outside}
}

// readsAsked reports whether a condition depends on scopes or lifetime.
func (pr *Prover) readsAsked(t trust.Trust) bool {
	for _, c := range t.When {
		if tree, err := pr.tree(c); err != nil || tree.readsTTL || tree.readsScopes {
			return true
		}
	}
	return false
}

// either is yes where one is, and no where both are.
func either(a, b Answer) Answer {
	switch {
	case a == Yes || b == Yes:
		return Yes
	case a == No && b == No:
		return No
	}
	return Unsure
}

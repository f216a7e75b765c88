package backtest

import "cambio/trust"

// Explain judges one record again, at its own time, and says line by line why, and
// what was near. The names are of what is not recorded and the verdict depends on;
// without any it stands. Stops are left out. It reports false where the record
// keeps no claims of the token, so that there is nothing to judge.
func (j *Judge) Explain(r *Record) (e trust.Explanation, hinges []string, ok bool) {
	if r.Claims == nil {
		return trust.Explanation{Policy: j.policy.SHA256()}, nil, false
	}
	a := j.again(r)
	e, hinges = j.policy.ExplainPartly(a.id, a.ask, a.known, r.Time)
	if r.Allowed && e.Reason == trust.ReasonAmbiguousTrust {
		a.ask.Trust = r.Trust // it was named, then: the record does not say
		e, hinges = j.policy.ExplainPartly(a.id, a.ask, a.known, r.Time)
	}
	if len(a.cut) > 0 {
		hinges = a.cut
	}
	return e, hinges, true
}

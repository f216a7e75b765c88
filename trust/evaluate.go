package trust

import (
	"fmt"
	"net/netip"
	"time"
)

// Evaluator evaluates one condition by itself, with the code that decisions use.
// It is safe for concurrent use.
type Evaluator struct {
	c      *condition
	schema *claimSchema
}

// Evaluator plans the condition. The error is that of [Condition.Syntax].
func (c Condition) Evaluator() (Evaluator, error) {
	planned, problems := c.env.compile(c.Source)
	if len(problems) > 0 {
		return Evaluator{}, fmt.Errorf("%s: %s", problems[0].id, problems[0].message)
	}
	return Evaluator{c: planned, schema: c.env.schema}, nil
}

// Eval evaluates the condition of an identity and a grant as a decision gives it,
// so that request has the effective values. It is true only where the value is
// true; else the reason tells a false one from one that could not be evaluated.
func (e Evaluator) Eval(id Identity, grant Grant, from netip.Addr, now time.Time) (bool, Reason) {
	v := variables{
		schema: e.schema, identity: &id, now: now, grant: &grant,
		request: Request{Target: grant.Target, Resource: grant.Resource, Scopes: grant.Scopes, TTL: grant.TTL},
	}
	if from.IsValid() {
		v.address = from.Unmap().String()
	}
	return e.c.eval(&v)
}

package trust

import (
	"fmt"
	"maps"
	"net/netip"
	"slices"
	"strings"
	"time"

	"cambio/trust/strictyaml"
)

// test reads one inline test.
func (r *reader) test(n *strictyaml.Node, p *providerPolicy) (inlineTest, bool) {
	if !r.isMap(n) {
		return inlineTest{}, false
	}
	r.allow(n, "name", "claims", "ask", "expect")
	t := inlineTest{at: placeOf(n)}
	if name := n.Get("name"); name != nil {
		t.name = strings.Clone(r.text(name, maxText))
	} else {
		r.Missing(n, "name", "write name: and what the test shows")
	}
	if claims := n.Get("claims"); claims != nil && r.isMap(claims) && p != nil {
		t.claims = r.testClaims(claims, p)
	}
	if expect := n.Get("expect"); expect != nil {
		t.allow = r.oneOf(expect, "allow", "deny") == "allow"
	} else {
		r.Missing(n, "expect", "write expect: allow, or expect: deny")
	}
	ask := n.Get("ask")
	if ask == nil {
		r.Missing(n, "ask", "write ask: {to: TARGET}")
		return t, false
	}
	if !r.isMap(ask) {
		return t, false
	}
	r.allow(ask, "to", "resource", "scope", "ttl", "trust")
	for field, into := range map[string]*string{"to": &t.ask.Target, "resource": &t.ask.Resource, "trust": &t.ask.Trust} {
		if item := ask.Get(field); item != nil {
			*into = strings.Clone(r.text(item, maxResource))
		}
	}
	if ask.Get("to") == nil {
		r.Missing(ask, "to", "write to: and the name of a target")
	}
	if scope := ask.Get("scope"); scope != nil {
		if scope.Kind == strictyaml.List {
			t.ask.Scopes = r.scopes(scope)
		} else {
			t.ask.Scopes = ParseScope(strings.Clone(r.text(scope, maxResource)))
		}
	}
	if item := ask.Get("ttl"); item != nil {
		var d strictyaml.Duration
		r.Decode(item, &d)
		t.ask.TTL = time.Duration(d)
	}
	return t, true
}

func (r *reader) testClaims(n *strictyaml.Node, p *providerPolicy) map[string]any {
	claims := map[string]any{}
	for i, key := range n.Keys() {
		item := n.Items()[i]
		claim := p.schema.lookup(key.Text)
		if claim == nil {
			r.Error(key, FindingUnknownClaim, "the identity provider's tokens have no claim "+key.Show(), strictyaml.DidYouMean(key.Text, p.schema.names))
			continue
		}
		if item.Kind == strictyaml.Null {
			claims[key.Text] = nil
			continue
		}
		value, ok := item.Value()
		if ok {
			_, ok = claim.typed(value)
		}
		if !ok {
			r.Error(item, FindingTypeMismatch, claim.name+" is of type "+string(claim.typ)+", and "+item.Show()+" is not",
				"write a value of type "+string(claim.typ)+", or null for a token without it")
			continue
		}
		claims[key.Text] = value
	}
	return claims
}

// TestResult is the outcome of one inline test.
type TestResult struct {
	File     string   `json:"file"`
	Line     int      `json:"line"` // where the test begins
	Column   int      `json:"column"`
	Trust    string   `json:"trust"`
	Name     string   `json:"name"`
	Expect   string   `json:"expect"` // allow or deny
	OK       bool     `json:"ok"`
	Decision Decision `json:"-"`
	Reason   Reason   `json:"reason,omitempty"`  // why it was denied
	Because  string   `json:"because,omitempty"` // of a test that failed: the line that did not hold, or who allowed
}

// Test runs the inline tests of all documents against the whole policy, as if
// each token were issued at now. Claims start from the platform's sample, then
// come the values of match, then those of the test. The caller's address is in
// the trust's first network, and the time is the next one within its hours, for
// a test is about who and what, not about when it is run. No stop is in force.
// A trust in mode shadow is tested as if its own mode were enforce: its tests say
// what it is for, and must hold on the day that it is enforced.
func (p *Policy) Test(now time.Time) []TestResult {
	var results []TestResult
	for _, t := range p.rules {
		p := *p
		p.enforced = t
		for i := range t.tests {
			test := &t.tests[i]
			id, ask, at := t.situation(test, now)
			d := p.Decide(id, ask, StopSet{}, at)
			result := TestResult{
				File: t.file, Line: test.at.Line, Column: test.at.Column, Trust: t.name, Name: test.name, Expect: "deny",
				OK: d.Allow == test.allow, Decision: d, Reason: d.Reason,
			}
			if test.allow {
				result.Expect = "allow"
			}
			if !result.OK {
				result.Because = p.because(t, id, ask, at)
			}
			results = append(results, result)
		}
	}
	return results
}

// because is what an author needs of the explanation: the first line that did
// not hold, of the test's own trust where none fits, or the other trust that
// decided.
func (p *Policy) because(t *rule, id Identity, ask Request, at time.Time) string {
	e := p.Explain(id, ask, StopSet{}, at)
	if !e.Allow && e.Candidates == 0 && ask.Trust == "" {
		ask.Trust = t.name
		e = p.Explain(id, ask, StopSet{}, at)
	}
	for _, l := range slices.Concat(e.Lines, e.Guardrails) {
		if !l.OK {
			return fmt.Sprintf("%s: expected %s, found %s", l.Field, l.Expected, l.Actual)
		}
	}
	switch {
	case e.Candidates > 1:
		return fmt.Sprintf("%d grants fit; name one with resource or trust", e.Candidates)
	case e.Trust != "" && e.Trust != t.name:
		return "trust " + e.Trust
	}
	return e.Detail
}

// situation builds the identity, the request and the time of a test.
func (t *rule) situation(test *inlineTest, now time.Time) (Identity, Request, time.Time) {
	claims := cloneClaims(t.provider.sample)
	for i := range t.match {
		line := &t.match[i]
		first := line.want[0]
		if first.glob {
			g, _ := first.value.(string)
			line.claim.set(claims, strings.ReplaceAll(g, "*", "x"))
		} else {
			line.claim.set(claims, first.value)
		}
	}
	for _, name := range slices.Sorted(maps.Keys(test.claims)) {
		t.provider.schema.lookup(name).set(claims, test.claims[name])
	}
	ask := test.ask
	at := now
	if t.access != nil {
		if len(t.access.networks) > 0 {
			ask.Address = t.access.networks[0].Addr()
		}
		at = t.access.next(now)
	}
	if !ask.Address.IsValid() {
		ask.Address = netip.AddrFrom4([4]byte{192, 0, 2, 1}) // documentation, RFC 5737
	}
	text := func(name string) string {
		s, _ := claims[name].(string)
		return s
	}
	const lifetime = 5 * time.Minute
	claims["iat"], claims["exp"] = at.Unix(), at.Add(lifetime).Unix()
	if _, ok := claims["nbf"]; ok {
		claims["nbf"] = at.Unix()
	}
	return Identity{
		Provider: t.provider.name, Subject: text("sub"), Issuer: text("iss"), Audience: text("aud"), TokenID: text("jti"),
		IssuedAt: at, ExpiresAt: at.Add(lifetime), Claims: claims,
		Nonce: true, // a test is about who may have what, not about how the token came
	}, ask, at
}

// next is now where the hours contain it, else the next minute that they do.
func (a *access) next(now time.Time) time.Time {
	if a.atTime(now) {
		return now
	}
	const week = 8 * 24 * 60
	minute := now.Truncate(time.Minute)
	for i := 1; i <= week; i++ {
		if at := minute.Add(time.Duration(i) * time.Minute); a.atTime(at) {
			return at
		}
	}
	return now
}

// set writes the claim to where it lies; nil takes it away.
func (v *claimVar) set(claims map[string]any, value any) {
	for _, member := range v.path[:len(v.path)-1] {
		inner, ok := claims[member].(map[string]any)
		if !ok {
			inner = map[string]any{}
			claims[member] = inner
		}
		claims = inner
	}
	last := v.path[len(v.path)-1]
	if value == nil {
		delete(claims, last)
		return
	}
	claims[last] = value
}

// cloneClaims copies maps at every depth; other values are not changed by set.
// Numbers become what the token parser makes of them.
func cloneClaims(m map[string]any) map[string]any {
	out := make(map[string]any, len(m)+4)
	for k, v := range m {
		switch x := v.(type) {
		case map[string]any:
			out[k] = cloneClaims(x)
		case int:
			out[k] = int64(x)
		default:
			out[k] = v
		}
	}
	return out
}

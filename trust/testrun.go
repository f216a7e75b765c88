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

// TestResult is the outcome of one test.
type TestResult struct {
	File         string   `json:"file"`
	Line         int      `json:"line"` // where the test begins
	Column       int      `json:"column"`
	Trust        string   `json:"trust,omitempty"`    // whose test it is; "" for one of an identity provider
	Provider     string   `json:"provider,omitempty"` // whose tokens it is about
	Name         string   `json:"name"`
	Expect       string   `json:"expect"`                  // allow or deny
	ExpectReason Reason   `json:"expect_reason,omitempty"` // why it must be denied, where the test says so
	ExpectBy     string   `json:"expect_by,omitempty"`     // who must allow it, where the test says so
	OK           bool     `json:"ok"`
	Decision     Decision `json:"-"`
	Reason       Reason   `json:"reason,omitempty"`  // why it was denied
	By           string   `json:"by,omitempty"`      // the trust that allowed it
	Because      string   `json:"because,omitempty"` // of a test that failed: the line that did not hold, or who allowed

	run testRun // so that it can be looked at again
}

// Failure is a test that failed as a finding: one form for all that is wrong with
// documents.
func (r TestResult) Failure() strictyaml.Finding {
	got := "allow"
	if !r.Decision.Allow {
		got = "deny " + string(r.Reason)
	}
	if r.Because != "" {
		got += " (" + r.Because + ")"
	}
	expected := r.Expect
	switch {
	case r.ExpectReason != "":
		expected += " " + string(r.ExpectReason)
	case r.ExpectBy != "":
		expected += " by " + r.ExpectBy
	}
	return strictyaml.Finding{
		ID: FindingTestFailed, Severity: strictyaml.Error, File: r.File, Line: r.Line, Column: r.Column, Field: "tests",
		Message: fmt.Sprintf("%s: %q: got %s, expected %s", r.Subject(), r.Name, got, expected),
		Fix:     "mend the trust, or the test's claims, ask or expect",
	}
}

// Subject is the trust that the test is of, or the identity provider.
func (r TestResult) Subject() string {
	if r.Trust == "" {
		return r.Provider
	}
	return r.Trust
}

// testRun is one test as it is run.
type testRun struct {
	test     *testCase
	rule     *rule // whose test it is; nil: the identity provider's
	provider *providerPolicy
	file     string
	now      time.Time
}

// Test runs all tests against the whole policy, as if each token were issued at
// now: those inside the documents by the name of the trust, then those of
// [Policy.WithTests]. Claims start from the platform's sample, then come the
// values of match, then those of the test. Where the test says neither, the
// caller's address is in the trust's first network, and the time is the next one
// within its hours, for a test is about who and what, not about when it is run.
// No stop is in force. A trust in mode shadow is tested as if its own mode were
// enforce: its tests say what it is for, and must hold on the day that it is
// enforced.
func (p *Policy) Test(now time.Time) []TestResult {
	var results []TestResult
	for _, t := range p.rules {
		for i := range t.tests {
			results = append(results, p.run(testRun{&t.tests[i], t, t.provider, t.file, now}))
		}
	}
	for i := range p.testFiles {
		f := &p.testFiles[i]
		for k := range f.tests {
			results = append(results, p.run(testRun{&f.tests[k], f.rule, f.provider, f.name, now}))
		}
	}
	return results
}

func (p *Policy) run(r testRun) TestResult {
	judged := *p
	judged.enforced = r.rule
	id, ask, at := p.situation(r)
	d := judged.Decide(id, ask, StopSet{}, at)
	result := TestResult{
		File: r.file, Line: r.test.at.Line, Column: r.test.at.Column, Provider: r.provider.name, Name: r.test.name,
		Expect: "deny", ExpectReason: r.test.reason, ExpectBy: r.test.by, Decision: d, Reason: d.Reason, run: r,
	}
	if r.rule != nil {
		result.Trust = r.rule.name
	}
	if r.test.allow {
		result.Expect = "allow"
	}
	if d.Allow {
		result.By = d.Trust
	}
	result.OK = d.Allow == r.test.allow && (r.test.reason == "" || r.test.reason == d.Reason) && (r.test.by == "" || r.test.by == d.Trust)
	if !result.OK {
		result.Because = judged.because(r.rule, id, ask, at)
	}
	return result
}

// because is what an author needs of the explanation: the first line that did
// not hold, of the test's own trust where none fits, or the other trust that
// decided.
func (p *Policy) because(t *rule, id Identity, ask Request, at time.Time) string {
	e := p.Explain(id, ask, StopSet{}, at)
	if t != nil && !e.Allow && e.Candidates == 0 && ask.Trust == "" {
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
	case e.Trust != "" && (t == nil || e.Trust != t.name):
		return "trust " + e.Trust
	}
	return e.Detail
}

// situation builds the identity, the request and the time of a test.
func (p *Policy) situation(r testRun) (Identity, Request, time.Time) {
	claims, ask, at := cloneClaims(r.provider.sample), r.test.ask, r.now
	if r.rule != nil {
		r.rule.overlay(claims)
		if a := r.rule.access; a != nil {
			if len(a.networks) > 0 {
				ask.Address = a.networks[0].Addr()
			}
			at = a.next(r.now)
		}
	}
	for _, name := range slices.Sorted(maps.Keys(r.test.claims)) {
		r.provider.schema.lookup(name).set(claims, r.test.claims[name])
	}
	if !r.test.when.IsZero() {
		at = r.test.when
	}
	if r.test.address.IsValid() {
		ask.Address = r.test.address
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
	id := Identity{
		Provider: r.provider.name, Subject: text("sub"), Issuer: text("iss"), Audience: text("aud"), TokenID: text("jti"),
		IssuedAt: at, ExpiresAt: at.Add(lifetime), Claims: claims,
		Nonce: true, // a test is about who may have what, not about how the token came
	}
	if workloadOf := p.world.Providers[r.provider.name].WorkloadID; workloadOf != nil {
		if workload, err := workloadOf(claims); err == nil {
			id.Workload = workload
		}
	}
	return id, ask, at
}

// overlay writes what match wants over the claims: of each line the first item.
func (t *rule) overlay(claims map[string]any) {
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

package trust_test

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"cambio/trust"
)

// uncovered lists what a coverage leaves open, one a line.
func uncovered(c trust.Coverage) []string {
	var out []string
	for _, s := range c.Subjects {
		for _, u := range s.Uncovered {
			how := "never"
			if u.Together {
				how = "together"
			}
			out = append(out, fmt.Sprintf("%s%s:%d:%d %s %s", s.Trust, s.Guardrail, u.Line, u.Column, u.Field, how))
		}
	}
	return out
}

// guarded is a trust with one of everything that a test can make fail.
func guarded(t *testing.T) string {
	t.Helper()
	return edit(t, "from:", "expires: 2026-12-24\nfrom:", "grants:",
		"when: ['claims.actor == \"mona\"', 'request.ttl <= duration(\"10m\") || request.scopes.size() == 1']\n"+
			"access: {networks: [10.0.0.0/8], hours: \"Mon-Fri 07:00-19:00 UTC\"}\ngrants:",
		"{to: t1, scopes", "{to: t1, resource: r, scopes")
}

func TestCoverage(t *testing.T) {
	t.Parallel()
	all := []string{
		"tr1:1:7 allow never", "tr1:7:3 match.repository_id never", "tr1:8:3 match.repository_owner_id never", "tr1:9:3 match.ref never",
		"tr1:1:7 match.event_name never", "tr1:10:8 when[0] never", "tr1:10:34 when[1] never", "tr1:11:9 access.networks never",
		"tr1:11:9 access.hours never", "tr1:4:10 expires never", "tr1:13:5 grants[0].resource never", "tr1:13:5 grants[0].scopes never",
	}
	for test, fields := range map[string][]string{ // what each covers
		"ask: {to: t1, ttl: 5m}, expect: allow":                                       {"allow"},
		"claims: {repository_id: \"3\"}, ask: {to: t1, ttl: 5m}, expect: deny":        {"match.repository_id"},
		"claims: {repository_owner_id: \"3\"}, ask: {to: t1, ttl: 5m}, expect: deny":  {"match.repository_owner_id"},
		"claims: {ref: dev}, ask: {to: t1, ttl: 5m}, expect: deny":                    {"match.ref"},
		"claims: {ref: null}, ask: {to: t1, ttl: 5m}, expect: deny":                   {"match.ref"},
		"claims: {event_name: pull_request}, ask: {to: t1, ttl: 5m}, expect: deny":    {"match.event_name"},
		"claims: {actor: eve}, ask: {to: t1, ttl: 5m}, expect: deny":                  {"when[0]"},
		"claims: {actor: null}, ask: {to: t1, ttl: 5m}, expect: deny":                 {"when[0]"},
		"ask: {to: t1}, expect: deny":                                                 {"when[1]"},
		"address: 192.0.2.1, ask: {to: t1, ttl: 5m}, expect: deny":                    {"access.networks"},
		"at: \"2026-11-29T08:00:00Z\", ask: {to: t1, ttl: 5m}, expect: deny":          {"access.hours"},
		"at: \"2026-12-25T08:00:00Z\", ask: {to: t1, ttl: 5m}, expect: deny":          {"expires"},
		"ask: {to: t1, ttl: 5m, resource: q}, expect: deny":                           {"grants[0].resource"},
		"ask: {to: t1, ttl: 5m, scope: write}, expect: deny":                          {"grants[0].scopes"},
		"ask: {to: t2, ttl: 5m}, expect: deny":                                        {}, // a target that is not granted is no condition
		"ask: {to: t1, ttl: 5m, trust: tr7}, expect: deny":                            {}, // denied by the name
		"claims: {ref: dev}, ask: {to: t1, ttl: 5m}, expect: allow":                   {}, // failed
		"claims: {ref: dev}, ask: {to: t1, ttl: 5m}, expect: deny, reason: guardrail": {}, // failed
		"claims: {ref: dev, actor: eve}, ask: {to: t1, ttl: 5m}, expect: deny":        {"match.ref together", "when[0] together"},
		"claims: {ref: dev, event_name: pull_request}, ask: {to: t1}, expect: deny":   {"match.ref together", "match.event_name together", "when[1] together"},
	} {
		var want []string
		for _, line := range all {
			field := strings.Fields(line)[1]
			switch {
			case slices.Contains(fields, field):
			case slices.Contains(fields, field+" together"):
				want = append(want, strings.TrimSuffix(line, "never")+"together")
			default:
				want = append(want, line)
			}
		}
		p := compile(t, guarded(t)+"tests: [{name: x, "+test+"}]\n")
		got := p.Coverage(p.Test(now()))
		if diff := cmp.Diff(want, uncovered(got)); diff != "" || got.Covered != len(all)-len(want) || got.Total != len(all) {
			t.Errorf("%s: %d of %d (-want +got):\n%s", test, got.Covered, got.Total, diff)
		}
		// In a file beside, the same test shows the same.
		p = tested(t, "trust: tr1\ntests: [{name: x, "+test+"}]\n", guarded(t))
		if diff := cmp.Diff(want, uncovered(p.Coverage(p.Test(now())))); diff != "" {
			t.Errorf("%s, in a file (-want +got):\n%s", test, diff)
		}
	}
}

// TestCoverageOfMany: who allows is covered, whoever's test it is; tests of an
// identity provider count for the nearest miss; each guardrail wants a test of its
// own.
func TestCoverageOfMany(t *testing.T) {
	t.Parallel()
	guard := func(name, forbid string) string {
		return "guardrail: " + name + "\nowner: o\npurpose: p\nfrom: [ci]\nforbid: '" + forbid + "'\n"
	}
	file := `from: ci
tests:
  - {name: app, claims: {repository_id: "2", repository_owner_id: "1"}, ask: {to: t1}, expect: allow, by: tr1}
  - {name: a branch, claims: {repository_id: "2", repository_owner_id: "1", ref: dev}, ask: {to: t1}, expect: deny}
  - {name: eve, claims: {repository_id: "2", repository_owner_id: "1", actor: eve}, ask: {to: t1}, expect: deny, reason: guardrail}
  - {name: both, claims: {repository_id: "2", repository_owner_id: "1", actor: eve, workflow: x}, ask: {to: t1}, expect: deny}
`
	p := tested(t, file, base, far(), guard("eve", `claims.?actor.orValue("") == "eve"`), guard("x", `claims.?workflow.orValue("") == "x"`))
	c := p.Coverage(p.Test(now()))
	want := []string{
		"tr1:6:3 match.repository_id never", "tr1:7:3 match.repository_owner_id never", "tr1:1:7 match.event_name never", "tr1:10:5 grants[0].scopes never",
		"tr9:1:7 allow never", "tr9:6:3 match.repository_id never", "tr9:7:3 match.repository_owner_id never", "tr9:8:3 match.ref never",
		"tr9:1:7 match.event_name never", "tr9:10:5 grants[0].scopes never", "x:5:9 forbid together",
	}
	if diff := cmp.Diff(want, uncovered(c)); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
	if c.Covered != 3 || c.Total != 14 || c.Percent() != 21 {
		t.Errorf("%d of %d, %d %%", c.Covered, c.Total, c.Percent())
	}
	if (trust.Coverage{}).Percent() != 100 {
		t.Error("nothing is not covered")
	}
}

// TestCoverageOfANamedEvent: a line of match about the guarded claim is one thing
// with the guard, for no token could fail one of them alone.
func TestCoverageOfANamedEvent(t *testing.T) {
	t.Parallel()
	p := compile(t, edit(t, "  ref: refs/heads/main", "  event_name: push")+
		"tests: [{name: x, claims: {event_name: pull_request}, ask: {to: t1}, expect: deny}]\n")
	for _, line := range uncovered(p.Coverage(p.Test(now()))) {
		if strings.Contains(line, "event_name") {
			t.Error(line)
		}
	}
}

// BenchmarkTest runs the tests of 10,000 trusts, and says what they cover.
func BenchmarkTest(b *testing.B) {
	files := corpus(10_000, false)
	for i := range files {
		files[i].Data = append(files[i].Data, fmt.Sprintf(`tests:
  - {name: main, claims: {workflow: deploy-%d}, ask: {to: t1}, expect: allow}
  - {name: dev, claims: {workflow: deploy-%d, ref: dev}, ask: {to: t1}, expect: deny}
`, i%1000, i%1000)...)
	}
	p, findings := trust.Compile(world(), files, now())
	if p == nil {
		b.Fatal(findings[0])
	}
	for b.Loop() {
		results := p.Test(now())
		if c := p.Coverage(results); len(results) != 20_000 || !results[0].OK || c.Covered < 20_000 {
			b.Fatalf("%d results, %d covered", len(results), c.Covered)
		}
	}
}

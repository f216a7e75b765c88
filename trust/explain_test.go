package trust_test

import (
	"encoding/json"
	"fmt"
	"net/netip"
	"strings"
	"testing"
	"time"

	"cambio/trust"
)

func TestExplain(t *testing.T) {
	t.Parallel()
	docs := []string{
		edit(t, "grants:", "when: ['claims.attempt == 1']\naccess: {networks: [10.0.0.0/8], hours: \"Mon-Fri 07:00-19:00 UTC\"}\ngrants:"),
		other,
	}
	p := compile(t, docs...)
	req := trust.Request{Target: "t1", Address: netip.MustParseAddr("10.0.0.1")}
	for name, c := range map[string]struct {
		claims map[string]any
		req    trust.Request
		first  string
		has    string
	}{
		"allow":        {nil, req, "allow tr1", "ok   when[0]"},
		"ref":          {map[string]any{"ref": "refs/heads/dev"}, req, "deny condition-false", `FAIL match.ref: expected "refs/heads/main", found "refs/heads/dev"`},
		"anchor":       {map[string]any{"repository_id": "3"}, req, "deny condition-false", `FAIL match.repository_id: expected "2", found "3"`},
		"when":         {map[string]any{"attempt": int64(2)}, req, "deny condition-false", "FAIL when[0]: expected claims.attempt == 1, found false"},
		"not granted":  {nil, trust.Request{Target: "t2", Address: req.Address}, "deny target-not-granted", "FAIL grants: expected to t1, scope read list, found to t2"},
		"address":      {nil, trust.Request{Target: "t1"}, "deny network-not-allowed", "FAIL access.networks: expected 10.0.0.0/8, found an unknown address"},
		"pull request": {map[string]any{"event_name": "pull_request"}, req, "deny event-not-named", `FAIL match.event_name: expected match to name "pull_request"`},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			e := p.Explain(token(c.claims), c.req, trust.StopSet{}, now())
			text := e.String()
			if first, _, _ := strings.Cut(text, "\n"); first != c.first || !strings.Contains(text, c.has) {
				t.Errorf("want first %q and %q in:\n%s", c.first, c.has, text)
			}
			if _, err := json.Marshal(e); err != nil {
				t.Error(err)
			}
		})
	}
}

// dice is a small deterministic generator (Knuth's MMIX), so that a failure
// comes again.
type dice struct{ state uint64 }

func (d *dice) IntN(n int) int {
	d.state = d.state*6364136223846793005 + 1442695040888963407
	return int((d.state >> 33) % uint64(n))
}

// TestExplainAgrees holds, for many random worlds, that an explanation and a
// decision say the same, and that the lines are what the verdict rests on.
func TestExplainAgrees(t *testing.T) {
	t.Parallel()
	r := &dice{state: 1}
	pick := func(options ...string) string { return options[r.IntN(len(options))] }
	document := func(i int) string {
		lines := []string{
			fmt.Sprintf("name: tr%d", i), "owner: o", "purpose: p", "from: ci", pick("mode: enforce", "mode: enforce", "mode: shadow"),
			"match: {" + pick(`repository_id: "2"`, `repository_id: ["2", "3"]`, `repository_owner_id: "1"`) + pick("", ", ref: refs/heads/main", `, ref: {glob: "refs/*/main"}`, `, event_name: [push, pull_request]`) + "}",
			"grants: [" + pick("{to: t1}", "{to: t1, scopes: [read]}", "{to: t2}", `{to: t1, resource: "a:b"}, {to: t1, resource: "a:c"}`, `{to: t1, claims: {e: "${claims.environment}"}}`) + "]",
		}
		if r.IntN(2) == 0 {
			lines = append(lines, "when: ['"+pick(`claims.attempt == 1`, `claims.environment == "x"`, `request.to == "t1"`, `request.ttl < duration("10m")`, `grant.resource != "a:b"`)+"']")
		}
		if r.IntN(3) == 0 {
			lines = append(lines, "access: {hours: \"Mon-Fri "+pick("09:00-11:00", "11:00-12:00")+" UTC\"}")
		}
		if r.IntN(3) == 0 {
			lines = append(lines, "expires: "+pick("2026-11-24", "2026-11-25"))
		}
		return strings.Join(lines, "\n") + "\n"
	}
	reasons := map[trust.Reason]int{}
	for range 400 {
		var docs []string
		for i := range 1 + r.IntN(3) {
			docs = append(docs, document(i))
		}
		if r.IntN(3) == 0 {
			docs = append(docs, "guardrail: g\nowner: o\npurpose: p\nforbid: '"+pick(`request.to == "t2"`, `request.ttl > duration("12m")`)+"'\n")
		}
		p := compile(t, docs...)
		for range 5 {
			id := token(map[string]any{
				"ref": pick("refs/heads/main", "refs/tags/v1"), "event_name": pick("push", "push", "pull_request"),
				"repository_id": pick("2", "2", "3", "4"), "attempt": int64(1 + r.IntN(2)),
			})
			if r.IntN(2) == 0 {
				id.Claims["environment"] = "x"
			}
			req := trust.Request{
				Target: pick("t1", "t1", "t2", "t9"), Resource: pick("", "", "a:b"), Trust: pick("", "", "tr0", "tr8"),
				TTL: time.Duration(r.IntN(2)) * 5 * time.Minute, Scopes: trust.ParseScope(pick("", "", "read", "write")),
			}
			d := p.Decide(id, req, trust.StopSet{}, now())
			e := p.Explain(id, req, trust.StopSet{}, now())
			reasons[d.Reason]++
			if e.Allow != d.Allow || e.Reason != d.Reason || e.Decision.Trust != d.Trust {
				t.Fatalf("decided %+v, explained %+v\n%s", d, e, strings.Join(docs, "---\n"))
			}
			failed := 0
			for _, l := range append(e.Lines, e.Guardrails...) {
				if !l.OK {
					failed++
				}
			}
			if d.Allow && failed > 0 || !d.Allow && failed == 0 && d.Reason != trust.ReasonAmbiguousTrust && d.Reason != trust.ReasonShadowOnly &&
				d.Reason != trust.ReasonClaimMissing && d.Reason != trust.ReasonNoMatchingTrust {
				t.Fatalf("%s with %d failing lines\n%s\n%s\n%+v %+v", d.Reason, failed, e, strings.Join(docs, "---\n"), req, id.Claims)
			}
		}
	}
	for _, want := range []trust.Reason{
		"", trust.ReasonConditionFalse, trust.ReasonCELError, trust.ReasonAmbiguousTrust, trust.ReasonShadowOnly, trust.ReasonTargetNotGranted,
		trust.ReasonResourceNotGrant, trust.ReasonScopeNotGranted, trust.ReasonGuardrail, trust.ReasonHours, trust.ReasonTrustExpired,
		trust.ReasonEventNotNamed, trust.ReasonNoMatchingTrust, trust.ReasonClaimMissing,
	} {
		if reasons[want] == 0 {
			t.Errorf("no world came to %q, so that this shows nothing about it: %v", want, reasons)
		}
	}
}

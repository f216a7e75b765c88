package trust_test

import (
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"cambio/trust"
	"cambio/trust/strictyaml"
)

// withCondition is the base document with one condition.
func withCondition(tb testing.TB, condition string) string {
	tb.Helper()
	return edit(tb, "grants:", "when:\n  - |-\n    "+strings.ReplaceAll(condition, "\n", "\n    ")+"\ngrants:")
}

func TestConditionThatDoesNotParse(t *testing.T) {
	t.Parallel()
	type problem struct {
		Line, Column int
		Message, Fix string
	}
	const equals, early = "write == to compare", "does not parse: it ends too early"
	for source, want := range map[string][]problem{
		`claims.ref = "y"`:                           {{11, 16, "does not parse near `=`", equals}},
		`claims.ref="y"`:                             {{11, 15, "does not parse near `=`", equals}},
		`claims.ref == "=" && claims.actor = "x"`:    {{11, 39, "does not parse near `=`", equals}},
		`claims.ref = "=" && claims.actor = "x"`:     {{11, 16, "does not parse near `=`", equals}, {11, 38, "does not parse near `=`", equals}},
		"claims.ref == \"é\" &&\n  claims.actor = 1": {{12, 20, "does not parse near `=`", equals}},
		`claims.ref === "x"`:                         {{11, 18, "does not parse near `=`", "write CEL over claims, identity, request and grant"}},
		`claims.ref =~ "x"`:                          {{11, 16, "does not parse near `=~`", "write CEL over claims, identity, request and grant"}},
		`claims.ref == " = ") && "="`:                {{11, 24, "does not parse near `)`", "write CEL over claims, identity, request and grant"}},
		`claims.ref and true`:                        {{11, 16, "does not parse near `and`", "write CEL over claims, identity, request and grant"}},
		`claims.ref ==`:                              {{11, 17, early, "close what is open, or write what is missing"}},
		`(claims.ref == "a"`:                         {{11, 22, early, "close what is open, or write what is missing"}},
		`= = = = = = = =`:                            nil,
	} {
		_, findings := trust.Compile(world(), sources(withCondition(t, source)), now())
		if want == nil {
			if got := ids(findings, strictyaml.Error); len(got) != 1 || got[0] != trust.FindingCELSyntax {
				t.Errorf("%s: %v", source, findings)
			}
			continue
		}
		var got []problem
		for _, f := range findings {
			got = append(got, problem{f.Line, f.Column, f.Message, f.Fix})
		}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("%s (-want +got):\n%s", source, diff)
		}
	}
}

func TestConditions(t *testing.T) {
	t.Parallel()
	const yes, no, failed = trust.Reason(""), trust.ReasonConditionFalse, trust.ReasonCELError
	for _, c := range []struct {
		condition string
		claims    map[string]any
		want      trust.Reason
	}{
		{`claims.ref == "refs/heads/main"`, nil, yes},
		{`claims["ref"] == "refs/heads/main"`, nil, yes},
		{`claims.actor == "eve"`, nil, no},
		{`claims.attempt == 1 && claims.protected && claims.score < 1.0`, nil, yes},
		{`"dev" in claims.groups`, nil, yes},
		{`claims.groups.exists(g, g == "ops")`, nil, yes},
		{`sets.contains(claims.groups, ["dev"])`, nil, yes},
		{`claims.labels.env == "prod"`, nil, yes},
		{`claims.labels["no.such"] == "prod"`, nil, failed},
		{`claims.actor.lowerAscii().startsWith("mo")`, nil, yes},
		// Absence.
		{`claims.environment == "x"`, nil, failed},
		{`claims.environment != "x"`, nil, failed},
		{`!(claims.environment == "x")`, nil, failed},
		{`has(claims.environment)`, nil, no},
		{`!has(claims.environment)`, nil, yes},
		{`"environment" in claims`, nil, no},
		{`"ref" in claims`, nil, yes},
		{`claims.?environment.orValue("none") == "none"`, nil, yes},
		{`claims[?"environment"].orValue("none") == "none"`, nil, yes},
		{`claims.?ref.orValue("none") == "none"`, nil, no},
		{`claims.environment == "x" || true`, nil, yes}, // CEL's own absorption
		{`claims.environment == "x" && false`, nil, no},
		// A claim of another type than declared is an error, never unequal.
		{`claims.actor != "eve"`, map[string]any{"actor": int64(3)}, failed},
		{`claims.actor != "eve"`, map[string]any{"actor": []any{"eve"}}, failed},
		{`claims.attempt != 3`, map[string]any{"attempt": "3"}, failed},
		{`claims.attempt != 3`, map[string]any{"attempt": 3.5}, failed},
		{`!claims.protected`, map[string]any{"protected": "false"}, failed},
		{`!("x" in claims.groups)`, map[string]any{"groups": "x"}, failed},
		{`!("x" in claims.groups)`, map[string]any{"groups": []any{int64(1)}}, failed},
		{`claims.score == 1.0`, map[string]any{"score": int64(1)}, yes},
		{`1 / (claims.attempt - 1) == 0`, nil, failed},
		{`claims.groups[7] == "x"`, nil, failed},
		// Whole strings.
		{`claims.sub.matches("repo:acme/app")`, nil, yes},
		{`claims.sub.matches("repo:acme/app")`, map[string]any{"sub": "x-repo:acme/app-evil"}, no},
		{`claims.sub.matches("^a|b$")`, map[string]any{"sub": "ax"}, no},
		{`claims.sub.matches("^a|b$")`, map[string]any{"sub": "xb"}, no},
		{`claims.sub.matches("^a|b$")`, map[string]any{"sub": "b"}, yes},
		{`matches(claims.sub, "a|b")`, map[string]any{"sub": "bb"}, no},
		{`claims.sub.matches("(?m)^a$")`, map[string]any{"sub": "a\nb"}, no},
		{`claims.sub.matches("(?m)a")`, map[string]any{"sub": "a\n"}, no},
		{`claims.sub.matches("(?i)REPO:ACME/APP")`, nil, yes},
		{`claims.sub.matches("(?s).*")`, map[string]any{"sub": "a\nb"}, yes},
		// The other variables.
		{`identity.provider == "ci" && identity.workload.startsWith("spiffe://") && identity.subject == claims.sub`, nil, yes},
		{`identity.expires_at - identity.issued_at <= duration("5m")`, nil, yes},
		{`request.time == timestamp("2026-11-25T10:00:00Z")`, nil, yes},
		{`request.to == "t1" && grant.to == "t1" && request.resource == "" && !has(request.resource)`, nil, yes},
		{`request.ttl == duration("15m") && grant.ttl == request.ttl`, nil, yes},
		{`request.scopes == ["read", "list"] && grant.scopes == request.scopes`, nil, yes},
		{`request.address == ""`, nil, yes},
		{`request["to"] == "t1" && "ttl" in grant && !("resource" in grant)`, nil, yes},
		{`has(grant.ttl) && "workload" in identity`, nil, yes},
		// Budget: an estimate in bounds may still be spent at run time.
		{`claims.groups.all(g, g != "x")`, map[string]any{"groups": many(60_000)}, trust.ReasonCELBudget},
	} {
		p, findings := trust.Compile(world(), sources(withCondition(t, c.condition)), now())
		if p == nil {
			t.Errorf("%s: does not load: %v", c.condition, findings)
			continue
		}
		d := p.Decide(token(c.claims), trust.Request{Target: "t1"}, trust.StopSet{}, now())
		if d.Reason != c.want {
			t.Errorf("%s: got %q, want %q", c.condition, d.Reason, c.want)
		}
	}
}

func many(n int) []any {
	list := make([]any, n)
	for i := range list {
		list[i] = "y"
	}
	return list
}

func TestNestedClaims(t *testing.T) {
	t.Parallel()
	k8s := func(when string) string {
		return edit(t, "from: ci", "from: k8s",
			"  repository_id: \"2\"\n  repository_owner_id: \"1\"\n  ref: refs/heads/main", "  /cluster.io/namespace: a\n  service_account: b",
			"grants:", "when:\n  - |-\n    "+when+"\ngrants:")
	}
	id := trust.Identity{Provider: "k8s", Claims: map[string]any{"cluster.io": map[string]any{
		"namespace": "a", "serviceaccount": map[string]any{"name": "b"},
	}}}
	for _, c := range []struct {
		condition string
		want      trust.Reason
	}{
		{`claims["cluster.io"].namespace == "a"`, ""},
		{`claims["cluster.io"]["namespace"] == "a"`, ""},
		{`claims["cluster.io"].serviceaccount.name == "b"`, ""},
		{`claims.namespace == "a" && claims["service_account"] == "b"`, ""},
		{`has(claims.namespace) && "namespace" in claims && claims.?namespace.orValue("") == "a"`, ""},
		{`has(claims.pod)`, trust.ReasonConditionFalse},
		{`"pod" in claims`, trust.ReasonConditionFalse},
		{`claims.?pod.orValue("none") == "none"`, ""},
		{`claims.pod == "x"`, trust.ReasonCELError},
		{`has(claims["cluster.io"].namespace)`, ""},
		{`claims[?"cluster.io"].?namespace.orValue("") == "a"`, ""},
	} {
		p, findings := trust.Compile(world(), sources(k8s(c.condition)), now())
		if p == nil {
			t.Errorf("%s: does not load: %v", c.condition, findings)
			continue
		}
		if d := p.Decide(id, trust.Request{Target: "t1"}, trust.StopSet{}, now()); d.Reason != c.want {
			t.Errorf("%s: got %q, want %q", c.condition, d.Reason, c.want)
		}
	}
	for _, bad := range []string{
		`claims["cluster.io"].nmspace == "a"`, `claims.cluster.io == "a"`, `claims["cluster.io"].namespace == 1`,
		`claims.namespace == 1`, `has(claims["cluster.io"].x)`, `claims["cluster.io"]`,
	} {
		if p, _ := trust.Compile(world(), sources(k8s(bad)), now()); p != nil {
			t.Errorf("%s: loads", bad)
		}
	}
}

// TestConditionsOfAGrant holds that a rule about request and grant sees each
// grant as it would be issued.
func TestConditionsOfAGrant(t *testing.T) {
	t.Parallel()
	doc := edit(t, "grants:", "when: ['request.to == \"t1\" || grant.ttl <= duration(\"5m\")']\ngrants:",
		"ttl: 15m}", "ttl: 15m}\n  - {to: t2, ttl: 10m}")
	p := compile(t, doc)
	for _, c := range []struct {
		req  trust.Request
		want verdict
	}{
		{trust.Request{Target: "t1"}, verdict{}},
		{trust.Request{Target: "t2"}, verdict{trust.ReasonConditionFalse, trust.BlameIdentity}},
		{trust.Request{Target: "t2", TTL: 5 * time.Minute}, verdict{}},
		{trust.Request{Target: "t3", TTL: 5 * time.Minute}, verdict{trust.ReasonTargetNotGranted, trust.BlameTarget}},
	} {
		if got := judge(p, token(nil), c.req); got != c.want {
			t.Errorf("%+v: got %+v, want %+v", c.req, got, c.want)
		}
	}
}

package trust_test

import (
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"

	"cambio/trust"
)

// partlyDocument is a random document over claims that a record may lack.
func partlyDocument(i int, pick func(...string) string) string {
	return strings.Join([]string{
		fmt.Sprintf("name: tr%d", i), "owner: o", "purpose: p", "from: ci", pick("mode: enforce", "mode: enforce", "mode: enforce", "mode: enforce", "mode: shadow"),
		"match: {" + pick(`repository_id: "2"`, `repository_id: ["2", "3"]`, `repository_owner_id: "1"`) +
			pick("", ", ref: refs/heads/main", `, actor: mona`, `, event_name: [push, pull_request]`) + "}",
		"when: ['" + pick(`true`, `true`, `true`, `claims.attempt == 1`, `claims.?actor.orValue("mona") == "mona"`, `has(claims.environment)`, `"environment" in claims`,
			`claims.ref == "refs/heads/main" || claims.actor == "mona"`, `!(claims.actor == "x")`, `claims.all(k, k != "environment")`,
			`size(claims) > 3`, `grant.claims.size() > 0`, `claims.?labels.hasValue()`, `identity.subject != ""`, `request.ttl < duration("10m") || claims.actor == "mona"`) + "']",
		"grants: [" + pick("{to: t1}", "{to: t1}", "{to: t1}", "{to: t1, scopes: [read]}", "{to: t2}", `{to: t1, resource: "a:b"}, {to: t1, resource: "a:c"}`, `{to: t1, claims: {e: "${claims.environment}"}}`) + "]",
	}, "\n") + "\n"
}

// TestPartlyAgrees holds that a verdict from a part of the claims is that of
// every token which agrees with the part; and that not all is left undecided.
func TestPartlyAgrees(t *testing.T) {
	t.Parallel()
	r := &dice{state: 7}
	pick := func(options ...string) string { return options[r.IntN(len(options))] }
	values := map[string][]any{
		"repository_id": {"2", "2", "2", "3"}, "repository_owner_id": {"1"}, "ref": {"refs/heads/main", "refs/heads/main", "x"}, "actor": {"mona", "mona", "x", nil},
		"environment": {"prod", nil}, "event_name": {"push", "push", "push", "push", "push", "push", "pull_request"}, "attempt": {int64(1), int64(1), int64(2), nil}, "labels": {map[string]any{}, nil},
	}
	names := slices.Sorted(maps.Keys(values))
	roll := func(only []string, into map[string]any) {
		for _, name := range only {
			into[name] = values[name][r.IntN(len(values[name]))]
		}
	}
	allowed, denied, undecided, flips := 0, 0, 0, 0
	for range 800 {
		docs := []string{partlyDocument(0, pick)}
		if r.IntN(4) == 0 {
			docs = append(docs, partlyDocument(1, pick))
		}
		if r.IntN(3) == 0 {
			docs = append(docs, "guardrail: g\nowner: o\npurpose: p\nfrom: [ci]\nforbid: '"+pick(`claims.actor == "x"`, `claims.?environment.orValue("") == "prod"`)+"'\n")
		}
		p := compile(t, docs...)
		full := map[string]any{}
		roll(names, full)
		hidden := slices.DeleteFunc(slices.Clone(names), func(string) bool { return r.IntN(6) > 0 })
		part := maps.Clone(full)
		for _, name := range hidden {
			part[name] = nil
		}
		ask := trust.Request{Target: pick("t1", "t1", "t1", "t1", "t1", "t2"), Resource: pick("", "", "", "a:b")}
		known := trust.Partly{Nonce: true, Claim: func(c trust.ClaimRef) bool { return !slices.Contains(hidden, c.Name()) }}
		got, hinges := p.DecidePartly(token(part), ask, known, now())
		flipped := false
		for range 12 {
			other := maps.Clone(full)
			roll(hidden, other)
			d := p.Decide(token(other), ask, trust.StopSet{}, now())
			same := d.Allow == got.Allow && (!d.Allow || d.Trust == got.Trust)
			if len(hinges) == 0 && !same {
				t.Fatalf("decided %v by %q without %v, and a token is decided %v by %q (%s)\n%v\n%s", got.Allow, got.Trust, hidden, d.Allow, d.Trust, d.Reason, other, strings.Join(docs, "---\n"))
			}
			flipped = flipped || !same
		}
		switch {
		case len(hinges) > 0:
			undecided++
			if flipped {
				flips++
			}
		case got.Allow:
			allowed++
		default:
			denied++
		}
	}
	if allowed < 40 || denied < 100 || undecided < 100 || flips < undecided/3 {
		t.Errorf("%d allowed, %d denied, %d undecided of which %d do depend: this tests little", allowed, denied, undecided, flips)
	}
	t.Logf("%d allowed, %d denied, %d undecided of which %d do depend", allowed, denied, undecided, flips)
}

func TestPartlyNamesWhatIsMissing(t *testing.T) {
	t.Parallel()
	p := compile(t, edit(t, "  ref: refs/heads/main", "  ref: refs/heads/main\n  actor: mona"))
	without := func(names ...string) trust.Partly {
		return trust.Partly{Nonce: true, Claim: func(c trust.ClaimRef) bool { return !slices.Contains(names, c.Name()) }}
	}
	ask := trust.Request{Target: "t1"}
	part := token(map[string]any{"actor": nil})
	if _, hinges := p.DecidePartly(part, ask, without("actor"), now()); !slices.Equal(hinges, []string{"actor"}) {
		t.Errorf("hinges on %v", hinges)
	}
	d, hinges := p.DecidePartly(token(map[string]any{"actor": nil, "ref": "x"}), ask, without("actor"), now())
	if d.Allow || len(hinges) > 0 {
		t.Errorf("another ref: %v, hinges on %v", d.Allow, hinges)
	}
	held := without("actor")
	held.Held = "tr1"
	if d, hinges = p.DecidePartly(part, ask, held, now()); !d.Allow || d.Trust != "tr1" || d.Grant.Target != "t1" || len(hinges) > 0 {
		t.Errorf("what held then: %+v, hinges on %v", d, hinges)
	}
	if d, _ = p.DecidePartly(token(map[string]any{"actor": nil, "ref": "x"}), ask, held, now()); d.Allow {
		t.Error("what is known not to hold is taken to hold")
	}
}

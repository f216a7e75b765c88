package prove_test

import (
	"encoding/json"
	"testing"

	"cambio/trust/prove"
)

// TestInvariants holds one trust against one invariant at a time.
func TestInvariants(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		trust, kind, condition string
		want                   prove.Verdict
	}{
		{"  ref: refs/heads/main\n" + toT1, "always", `claims.ref == "refs/heads/main"`, prove.Holds},
		{toT1, "always", `claims.ref == "refs/heads/main"`, prove.Broken},
		{"  ref: [refs/heads/main, refs/heads/next]\n" + toT1, "always", `claims.ref.startsWith("refs/heads/")`, prove.Holds},
		{"  ref: {glob: refs/tags/v*}\n" + toT1, "always", `claims.ref.startsWith("refs/tags/v")`, prove.Holds},
		{"  ref: {glob: refs/tags/v*}\n" + toT1, "always", `claims.ref.startsWith("refs/tags/v1")`, prove.Broken},
		{toT1, "never", `claims.event_name == "pull_request"`, prove.Holds},
		{"  event_name: pull_request\n" + toT1, "never", `claims.event_name == "pull_request"`, prove.Broken},
		{toT1, "never", `claims.actor == "eve"`, prove.Broken}, // a token without actor is an error
		{toT1, "never", `has(claims.actor) && claims.actor == "eve"`, prove.Broken},
		{"when: ['has(claims.actor) && claims.actor != \"eve\"']\n" + toT1, "never", `claims.actor == "eve"`, prove.Holds},
		{toT1, "always", `claims.ref_type in ["branch", "tag"]`, prove.Holds},
		{toT1, "never", `claims.ref_type == "x"`, prove.Holds},
		{toT1, "always", `claims.?environment.orValue("none") != "prod"`, prove.Broken},
		{"when: ['claims.environment in [\"dev\", \"test\"]']\n" + toT1, "always", `claims.?environment.orValue("prod") != "prod"`, prove.Holds},
		{toT1, "always", `grant.ttl <= duration("15m")`, prove.Holds},
		{toT1, "always", `grant.ttl < duration("15m")`, prove.Broken},
		{"when: ['request.ttl <= duration(\"5m\")']\n" + toT1, "always", `grant.ttl <= duration("5m")`, prove.Holds},
		{"when: ['request.ttl <= duration(\"5m\")']\n" + toT1, "always", `grant.ttl < duration("5m")`, prove.Broken},
		{"when: ['request.ttl <= duration(\"5m\")']\n" + toT1, "always", `grant.ttl >= duration("5m")`, prove.Holds}, // the longest counts
		{toT1, "always", `"read" in request.scopes`, prove.Broken},
		{toT1, "always", `request.scopes.exists(s, s in ["read", "write"])`, prove.Holds},
		{toT1, "always", `request.scopes.all(s, s != "admin")`, prove.Holds},
		{"when: ['\"write\" in request.scopes']\n" + toT1, "always", `request.scopes.size() == 1`, prove.Broken},
		{toT1, "never", `request.to.endsWith("-prod")`, prove.Holds},
		{"grants: [{to: cloud-prod, resource: r}]\n", "never", `request.to.endsWith("-prod")`, prove.Broken},
		{"access: {networks: [10.1.0.0/16]}\n" + toT1, "always", `request.address.startsWith("10.")`, prove.Holds},
		{"access: {networks: [10.0.0.0/8]}\n" + toT1, "always", `request.address.startsWith("10.1.")`, prove.Broken},
		{"access: {hours: Mon-Fri 08:00-18:00 Europe/Zurich}\n" + toT1, "always", `request.time.getHours("Europe/Zurich") >= 8`, prove.Holds},
		{"access: {hours: Mon-Fri 08:00-18:00 Europe/Zurich}\n" + toT1, "always", `request.time.getHours("UTC") >= 7`, prove.Broken}, // in summer
		{"access: {hours: Mon-Fri 08:00-18:00 Europe/Zurich}\n" + toT1, "never", `request.time.getDayOfWeek("Europe/Zurich") == 0`, prove.Holds},
		{"expires: 2027-01-31\n" + toT1, "always", `request.time < timestamp("2027-02-01T00:00:00Z")`, prove.Holds},
		{"expires: 2027-01-31\n" + toT1, "always", `request.time < timestamp("2027-01-31T00:00:00Z")`, prove.Broken},
		{toT1, "always", `claims.sub == identity.subject`, prove.Holds},
		{toT1, "always", `identity.workload == "spiffe://id.test/ci/1/2"`, prove.Holds},
		{toT1, "always", `claims.groups.all(g, g != "admin")`, prove.Broken},
		{"when: ['claims.groups.all(g, g.startsWith(\"team-\"))']\n" + toT1, "always", `!("admin" in claims.groups)`, prove.Holds},
		{"when: ['\"dev\" in claims.groups']\n" + toT1, "always", `claims.groups.exists(g, g.startsWith("d"))`, prove.Holds},
		{"when: ['claims.labels.env == \"dev\"']\n" + toT1, "never", `claims.labels.env in ["prod", "live"]`, prove.Holds},
		{"when: ['claims.labels.env != \"dev\"']\n" + toT1, "never", `claims.labels.env in ["prod", "live"]`, prove.Broken},
		{"when: ['claims.attempt + 1 < 4']\n" + toT1, "always", `claims.attempt <= 2`, prove.Holds},
		{"when: ['claims.attempt < 4']\n" + toT1, "always", `claims.attempt <= 2`, prove.Broken},
		{"when: ['claims.sub.split(\":\")[1] == \"acme/app\"']\n" + toT1, "always", `claims.sub.contains("acme/app")`, prove.Holds},
		{"when: ['claims.repository.lowerAscii() == \"acme/app\"']\n" + toT1, "always", `claims.repository == "acme/app"`, prove.Broken},
		{"when: ['claims.ref.matches(\"refs/(heads|tags)/v[0-9]+\")']\n" + toT1, "always", `claims.ref.contains("/v")`, prove.Holds},
		{"when: ['identity.expires_at - identity.issued_at <= duration(\"10m\")']\n" + toT1, "always", `claims.exp - claims.iat <= 600`, prove.Holds},
		{"  repository: acme/app\ngrants: [{to: t1, claims: {repo: \"${claims.repository}\"}}]\n", "always", `grant.claims.repo == "acme/app"`, prove.Holds},
		{toT1, "always", `claims.ref.replace("a", "b") != "zz"`, prove.Undecided},
		{toT1, "never", `claims.ref.replace("a", "b") == "a"`, prove.Undecided},
	} {
		r := proveAll(t, base(c.trust), invariant(c.kind, c.condition))[0]
		if r.Verdict != c.want {
			shown, err := json.Marshal(r)
			if err != nil {
				t.Fatal(err)
			}
			t.Errorf("%s\n  %s %s: %s, want %s\n  %s", c.trust, c.kind, c.condition, r.Verdict, c.want, shown)
		}
		if (r.Verdict == prove.Broken) != (r.Example != nil) || r.Verdict == prove.Undecided && len(r.Outside) == 0 && r.Reason == "" {
			t.Errorf("%s %s: a verdict without its reason", c.kind, c.condition)
		}
	}
}

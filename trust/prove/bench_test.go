package prove_test

import (
	"context"
	"fmt"
	"testing"

	"cambio/trust/prove"
)

// fleet are n trusts as an organisation writes them, and 20 invariants that hold
// of them all.
func fleet(n int) []string {
	docs := make([]string, 0, n+24)
	for i := range n {
		target, env := "cloud-dev", "dev"
		if i%3 == 0 {
			target, env = "cloud-prod", "prod"
		}
		extra := ""
		switch i % 4 {
		case 1:
			extra = "when:\n  - claims.runner_environment == \"hosted\"\n"
		case 2:
			extra = "when:\n  - has(claims.actor) && claims.actor != \"bot\"\n  - request.ttl <= duration(\"30m\")\n"
		case 3:
			extra = "access: {hours: \"Mon-Fri 07:00-19:00 Europe/Zurich\", networks: [10.0.0.0/8]}\n"
		}
		ref := "refs/heads/main"
		if i%5 == 0 {
			ref = "{glob: \"refs/heads/release/*\"}"
		}
		docs = append(docs, fmt.Sprintf(`name: trust-%d
owner: team-%d@acme.test
purpose: deploys application %d
from: ci
match:
  repository_owner_id: "9919"
  repository_id: "%d"
  repository: acme/app-%d
  ref: %s
  environment: %s
%sgrants:
  - {to: %s, resource: "role-%d", ttl: 30m}
  - {to: t1, scopes: [read], ttl: 10m}
`, i, i%20, i, 1000+i, i, ref, env, extra, target, i))
	}
	guard := func(name, condition string) string {
		return fmt.Sprintf("guardrail: %s\nowner: o\npurpose: p\nfrom: [ci]\nforbid: '%s'\n", name, condition)
	}
	docs = append(docs,
		guard("g-prod", `request.to.endsWith("-prod") && claims.?environment.orValue("") != "prod"`),
		guard("g-own", `request.to.endsWith("-prod") && claims.runner_environment == "own"`))
	for i, c := range []string{
		`always: claims.repository.startsWith("acme/")`,
		`always: claims.repository_owner_id == "9919"`,
		`never: claims.event_name == "pull_request"`,
		`never: request.to.endsWith("-prod") && claims.environment != "prod"`,
		`always: grant.ttl <= duration("30m")`,
		`never: request.to == "t1" && grant.ttl > duration("10m")`,
		`always: claims.ref == "refs/heads/main" || claims.ref.startsWith("refs/heads/release/")`,
		`never: request.to.endsWith("-prod") && claims.runner_environment == "own"`,
		`never: "admin" in request.scopes`,
		`always: request.scopes.all(s, s == "read")`,
		`always: claims.ref.matches("refs/heads/(main|release/[^/]*)")`,
		`always: claims.sub == identity.subject`,
		`never: claims.repository.endsWith("-secret")`,
		`always: request.to in ["cloud-prod", "cloud-dev", "t1"]`,
		`always: identity.workload.startsWith("spiffe://id.test/ci/9919/")`,
		`never: claims.environment == "test"`,
		`always: !request.to.startsWith("cloud-") || grant.resource.startsWith("role-")`,
		`never: claims.ref_type == "none"`,
		`always: claims.environment in ["prod", "dev"]`,
		`never: claims.ref.contains("..") && claims.ref == "refs/heads/main"`,
	} {
		docs = append(docs, fmt.Sprintf("invariant: inv-%02d\nowner: o\npurpose: p\nfrom: [ci]\n%s '%s'\n", i, c[:6+b2i(c[0] == 'a')], c[7+b2i(c[0] == 'a'):]))
	}
	return docs
}

func b2i(b bool) int {
	if b {
		return 1
	}
	return 0
}

// BenchmarkInvariants proves 20 invariants over 1,000 trusts.
func BenchmarkInvariants(b *testing.B) {
	p := compile(b, fleet(1000)...)
	for b.Loop() {
		pr, err := prove.New(p, now())
		if err != nil {
			b.Fatal(err)
		}
		for _, r := range pr.Invariants(context.Background()) {
			if r.Verdict != prove.Holds {
				b.Fatalf("%s: %s %v %v", r.Invariant, r.Verdict, r.Outside, r.Example)
			}
		}
	}
}

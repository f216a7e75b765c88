package check_test

import (
	"fmt"
	"testing"

	"cambio/gateway"
	"cambio/trust"
	"cambio/trust/check"
)

// fleet makes n documents, each with a test. Those of a shared owner are told
// apart by their conditions alone, and so are the hardest to compare.
func fleet(n int, shared bool) []trust.Source {
	out := make([]trust.Source, n)
	for i := range out {
		pin := fmt.Sprintf("  repository_owner_id: \"9919\"\n  repository_id: \"%d\"\n  ref: refs/heads/main", i)
		if shared {
			pin = fmt.Sprintf("  repository_owner_id: \"9919\"\n  ref: refs/heads/release/%d", i)
		}
		out[i] = trust.Source{Name: fmt.Sprintf("%05d.yaml", i), Data: fmt.Appendf(nil, `name: trust-%d
owner: team-%d@acme.example
purpose: Deploys service %d
from: ci
match:
%s
  environment: {glob: "prod-*"}
when:
  - claims.runner_environment == "github-hosted"
  - claims.workflow_ref.startsWith("acme/service-%d/.github/workflows/") && claims.run_attempt != "0"
grants:
  - {to: orders-prod, scopes: ["orders:read", "orders:write"], ttl: 15m}
tests:
  - {name: main may, claims: {environment: prod-eu, workflow_ref: acme/service-%d/.github/workflows/deploy.yml@refs/heads/main}, ask: {to: orders-prod, trust: trust-%d}, expect: allow}
`, i, i%100, i, pin, i%1000, i%1000, i)}
	}
	return out
}

// BenchmarkCheck is what trust check does with 10,000 documents: compile, lint,
// test.
func BenchmarkCheck(b *testing.B) {
	world := gateway.World(bad(b))
	for _, shared := range []bool{false, true} {
		files := fleet(10_000, shared)
		b.Run(fmt.Sprintf("one-owner=%v", shared), func(b *testing.B) {
			for b.Loop() {
				policy, findings := trust.Compile(world, files, now())
				if policy == nil {
					b.Fatal(findings[0])
				}
				check.Run(policy, check.Options{Now: now()})
				for _, r := range policy.Test(now()) {
					if !r.OK {
						b.Fatalf("%+v", r)
					}
				}
			}
		})
		b.Run(fmt.Sprintf("lint-alone/one-owner=%v", shared), func(b *testing.B) {
			policy, findings := trust.Compile(world, files, now())
			if policy == nil {
				b.Fatal(findings[0])
			}
			for b.Loop() {
				check.Run(policy, check.Options{Now: now()})
			}
		})
	}
}

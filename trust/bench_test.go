package trust_test

import (
	"fmt"
	"runtime"
	"testing"

	"cambio/trust"
)

// corpus makes n trusts. Shared ones all pin the owner's id alone and are told
// apart by the repository's name; the others have distinct repository ids.
func corpus(n int, shared bool) []trust.Source {
	out := make([]trust.Source, n)
	for i := range out {
		pin := fmt.Sprintf("  repository_id: \"%d\"\n  repository_owner_id: \"1\"\n", i)
		if shared {
			pin = fmt.Sprintf("  repository_owner_id: \"1\"\n  repository: acme/app%d\n", i)
		}
		out[i] = trust.Source{Name: fmt.Sprintf("%07d.yaml", i), Data: fmt.Appendf(nil, `name: tr%d
owner: team@acme.test
purpose: main of app reads t1
from: ci
match:
%s  ref: refs/heads/main
when:
  - claims.workflow == "deploy-%d"
  - claims.event_name in ["push", "workflow_dispatch"]
grants:
  - {to: t1, scopes: [read, list], ttl: 15m}
`, i, pin, i%1000)}
	}
	return out
}

func BenchmarkDecide(b *testing.B) {
	for _, c := range []struct {
		name   string
		n      int
		shared bool
	}{{"10", 10, false}, {"100000-anchors", 100_000, false}, {"100000-one-owner", 100_000, true}} {
		b.Run(c.name, func(b *testing.B) {
			p, findings := trust.Compile(world(), corpus(c.n, c.shared), now())
			if p == nil {
				b.Fatal(findings[0])
			}
			at := c.n / 2
			id := token(map[string]any{
				"repository_id": fmt.Sprint(at), "repository": fmt.Sprintf("acme/app%d", at), "workflow": fmt.Sprintf("deploy-%d", at%1000),
			})
			req := trust.Request{Target: "t1", Scopes: []string{"read"}}
			if d := p.Decide(id, req, trust.StopSet{}, now()); !d.Allow || d.Trust != fmt.Sprintf("tr%d", at) {
				b.Fatalf("denied: %+v", d)
			}
			b.ReportAllocs()
			for b.Loop() {
				p.Decide(id, req, trust.StopSet{}, now())
			}
		})
	}
}

// BenchmarkCompile reads 10,000 documents with 1,000 distinct conditions, and
// reports what the policy keeps in memory.
func BenchmarkCompile(b *testing.B) {
	for _, shared := range []bool{false, true} {
		b.Run(fmt.Sprintf("one-owner=%v", shared), func(b *testing.B) {
			const n = 10_000
			files := corpus(n, shared)
			w := world()
			var before, after runtime.MemStats
			runtime.GC()
			runtime.ReadMemStats(&before)
			var kept *trust.Policy
			b.ReportAllocs()
			for b.Loop() {
				p, findings := trust.Compile(w, files, now())
				if p == nil {
					b.Fatal(findings[0])
				}
				kept = p
			}
			runtime.GC()
			runtime.ReadMemStats(&after)
			b.ReportMetric(float64(after.HeapAlloc-before.HeapAlloc)/n, "kept-B/trust")
			runtime.KeepAlive(kept)
		})
	}
}

// BenchmarkCompileDistinct has a condition of its own in each document.
func BenchmarkCompileDistinct(b *testing.B) {
	docs := make([]trust.Source, 2000)
	for i := range docs {
		docs[i] = trust.Source{Name: fmt.Sprint(i), Data: fmt.Appendf(nil,
			"name: tr%d\nowner: o\npurpose: p\nfrom: ci\nmatch: {repository_id: \"%d\"}\nwhen: ['claims.workflow == \"w%d\"']\ngrants: [{to: t1}]\n", i, i, i)}
	}
	for b.Loop() {
		if p, findings := trust.Compile(world(), docs, now()); p == nil {
			b.Fatal(findings[0])
		}
	}
}

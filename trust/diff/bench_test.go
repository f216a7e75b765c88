package diff_test

import (
	"fmt"
	"strings"
	"testing"

	"cambio/trust/diff"
)

// fleet is a thousand trusts of as many repositories.
func fleet(ttl, forbid string) string {
	var b strings.Builder
	for i := range 1000 {
		fmt.Fprintf(&b, "name: t%d\nowner: o\npurpose: p\nfrom: ci\nmatch: {owner_id: \"1\", repository_id: \"%d\", ref: [refs/heads/main, {glob: \"refs/tags/v*\"}]}\nwhen: ['claims.runner == \"hosted\"']\ngrants: [{to: a, resource: r/%d, ttl: %s}]\n---\n", i, i, i, ttl)
	}
	return b.String() + guardrail("g", forbid)
}

func benchmark(b *testing.B, before, after string) {
	b.Helper()
	p, q := policy(b, before), policy(b, after)
	for b.Loop() {
		if _, err := diff.Compare(b.Context(), p, q, diff.Options{Now: now()}); err != nil {
			b.Fatal(err)
		}
	}
}

const forbidden, other = `claims.?ref.orValue("") == "x"`, `claims.?ref.orValue("") == "y"`

func BenchmarkSame(b *testing.B) {
	benchmark(b, fleet("5m", forbidden), fleet("5m", forbidden))
}

func BenchmarkAllChanged(b *testing.B) {
	benchmark(b, fleet("5m", forbidden), fleet("10m", forbidden))
}

// BenchmarkGuardrail changes one that has no effect, so that all trusts are asked.
func BenchmarkGuardrail(b *testing.B) {
	benchmark(b, fleet("5m", forbidden), fleet("5m", other))
}

package logic_test

import (
	"fmt"
	"math/bits"
	"testing"

	"cambio/trust/logic"
)

// BenchmarkPinned is the usual question: a token whose claims are pinned, but
// for one or two, and a condition over them. 20,000 of them are to take less
// than five seconds.
func BenchmarkPinned(b *testing.B) {
	pull := in("ref", logic.Prefix("refs/pull/"))
	for i := 0; b.Loop(); i++ {
		trust := and(in("owner", logic.Text("acme")), in("repository", logic.Text(fmt.Sprintf("acme/app-%d", i%100))),
			in("event", logic.Texts("push", "workflow_dispatch")), in("ref", logic.Glob("refs/tags/v*")), not(logic.AtMost("ttl", 60)))
		_, status, _ := logic.Solve(and(trust, or(pull, in("event", logic.Text("pull_request")), not(in("repository", logic.Prefix("acme/"))))), logic.Limits{})
		if status != logic.Unsatisfiable {
			b.Fatal(status)
		}
	}
}

// BenchmarkLiterals is a conjunction with a model.
func BenchmarkLiterals(b *testing.B) {
	for b.Loop() {
		_, status, _ := logic.Solve(and(in("owner", logic.Text("acme")), in("ref", logic.Glob("refs/tags/v*")),
			not(in("ref", logic.Suffix("-rc"))), logic.AtMost("ttl", 3600), logic.Bool("private")), logic.Limits{})
		if status != logic.Satisfiable {
			b.Fatal(status)
		}
	}
}

// BenchmarkAutomata is a contradiction that only automata find.
func BenchmarkAutomata(b *testing.B) {
	v := regexpOf(b, `refs/tags/v[0-9]+\.[0-9]+(-rc[0-9]+)?`)
	f := and(in("ref", v), not(in("ref", logic.Glob("refs/tags/v*.*"))))
	for b.Loop() {
		if _, status, _ := logic.Solve(f, logic.Limits{}); status != logic.Unsatisfiable {
			b.Fatal(status)
		}
	}
}

// BenchmarkFleet asks whether any of a thousand trusts lets in what none should.
func BenchmarkFleet(b *testing.B) {
	for b.Loop() {
		var fleet []formula
		for i := range 1000 {
			fleet = append(fleet, and(in("repository", logic.Text(fmt.Sprint("acme/app-", i))), in("ref", logic.Glob(fmt.Sprintf("refs/tags/v%d.*", i%10))),
				logic.AtMost("ttl", int64(i))))
		}
		f := and(or(fleet...), or(not(in("repository", logic.Prefix("acme/"))), not(in("ref", logic.Prefix("refs/tags/")))))
		if _, status, why := logic.Solve(f, logic.Limits{}); status != logic.Unsatisfiable {
			b.Fatal(status, why)
		}
	}
}

// BenchmarkOffice is a clock that nothing satisfies, so that all of two years is
// looked through, once.
func BenchmarkOffice(b *testing.B) {
	cache := new(logic.Cache)
	f := and(officeHours("t"), night("t"))
	for b.Loop() {
		if _, status, _ := logic.Solve(f, logic.Limits{Cache: cache}); status != logic.Unsatisfiable {
			b.Fatal(status)
		}
	}
}

// BenchmarkSearch is a question that has to be searched: a sum of three bits.
func BenchmarkSearch(b *testing.B) {
	var rows []formula
	for i := range 8 {
		row := []formula{logic.Equals("sum", int64(bits.OnesCount(uint(i))))}
		for j, x := range []logic.Var{"a", "b", "c"} {
			bit := logic.Bool(x)
			if i>>j&1 == 0 {
				bit = not(bit)
			}
			row = append(row, bit)
		}
		rows = append(rows, and(row...))
	}
	f := and(or(rows...), not(logic.AtMost("sum", 1)), or(not(logic.Bool("a")), not(logic.Bool("b"))), not(logic.Bool("c")))
	for b.Loop() {
		if _, status, _ := logic.Solve(f, logic.Limits{}); status != logic.Unsatisfiable {
			b.Fatal(status)
		}
	}
}

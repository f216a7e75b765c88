package trust_test

import (
	"fmt"
	"strings"
	"sync"
	"testing"

	"cambio/trust"
)

// TestIndexFindsAll holds that looking trusts up comes to the same as asking
// each of them alone.
func TestIndexFindsAll(t *testing.T) {
	t.Parallel()
	r := &dice{state: 7}
	pick := func(options ...string) string { return options[r.IntN(len(options))] }
	var docs []string
	var alone []*trust.Policy
	for i := range 60 {
		match := []string{pick(
			`repository_owner_id: "1"`, `repository_owner_id: "1"`, `repository_owner_id: ["1", "5", "1"]`, `repository_id: "2"`,
			`repository_id: ["2", "3", "3"]`, "repository_id: {glob: \"*\"}\n  repository_owner_id: \"1\"",
		)}
		match = append(match, pick("", "", `repository: acme/app`, fmt.Sprintf("repository: acme/app%d", r.IntN(20)), `repository: [acme/app1, acme/app2, acme/app2]`, `repository: {glob: "acme/*"}`))
		match = append(match, pick("", `ref: refs/heads/main`, fmt.Sprintf("ref: refs/heads/b%d", r.IntN(4))))
		doc := fmt.Sprintf("name: tr%d\nowner: o\npurpose: p\nfrom: ci\nmatch:\n  %s\ngrants: [{to: t1}]\n", i, strings.Join(match, "\n  "))
		docs = append(docs, doc)
		alone = append(alone, compile(t, doc))
	}
	var files []trust.Source
	for i, d := range docs {
		files = append(files, trust.Source{Name: fmt.Sprint(i), Data: []byte(d)})
	}
	together, findings := trust.Compile(world(), files, now())
	if together == nil {
		t.Fatal(findings)
	}
	seen := map[trust.Reason]int{}
	for range 500 {
		id := token(map[string]any{
			"repository_id": pick("2", "3", "4"), "repository_owner_id": pick("1", "5", "6"),
			"repository": pick("acme/app", "acme/app1", "acme/app7", "other/x"), "ref": pick("refs/heads/main", "refs/heads/b1", "x"),
		})
		var holds []string
		for i, p := range alone {
			if p.Decide(id, trust.Request{Target: "t1"}, trust.StopSet{}, now()).Allow {
				holds = append(holds, fmt.Sprintf("tr%d", i))
			}
			// Named, each trust answers as if it were alone.
			named := together.Decide(id, trust.Request{Target: "t1", Trust: fmt.Sprintf("tr%d", i)}, trust.StopSet{}, now())
			if one := len(holds) > 0 && holds[len(holds)-1] == fmt.Sprintf("tr%d", i); named.Allow != one {
				t.Fatalf("tr%d alone %v, named %+v", i, one, named)
			}
		}
		d := together.Decide(id, trust.Request{Target: "t1"}, trust.StopSet{}, now())
		seen[d.Reason]++
		want := trust.Reason("")
		switch len(holds) {
		case 0:
			want = trust.ReasonConditionFalse
		case 1:
			if d.Trust != holds[0] {
				t.Fatalf("allowed by %s, want %s", d.Trust, holds[0])
			}
		default:
			want = trust.ReasonAmbiguousTrust
		}
		if d.Reason != want {
			t.Fatalf("%v hold, got %+v for %v", holds, d, id.Claims)
		}
	}
	if len(seen) != 3 {
		t.Errorf("too little was tried: %v", seen)
	}
}

// TestDecideInParallel is for the race detector: a policy is shared by all
// requests.
func TestDecideInParallel(t *testing.T) {
	t.Parallel()
	p := compile(t, edit(t, "ttl: 15m", `ttl: 15m, claims: {repo: "${claims.repository}"}`,
		"grants:", "when: ['claims.groups.exists(g, g.matches(\"d.*\")) && grant.claims.repo != \"\"']\ngrants:"), "guardrail: g\nowner: o\npurpose: p\nforbid: request.to == \"t2\"\n")
	var wg sync.WaitGroup
	for range 8 {
		wg.Go(func() {
			for range 200 {
				if d := p.Decide(token(nil), trust.Request{Target: "t1", Scopes: []string{"read"}}, trust.StopSet{}, now()); !d.Allow {
					t.Errorf("denied: %s %s", d.Reason, d.Detail)
					return
				}
			}
		})
	}
	wg.Wait()
}

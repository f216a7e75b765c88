package prove_test

import (
	"strings"
	"testing"

	"cambio/trust"
	"cambio/trust/prove"
)

func prover(tb testing.TB, docs ...string) (*trust.Policy, *prove.Prover) {
	tb.Helper()
	p := compile(tb, docs...)
	pr, err := prove.New(p, now())
	if err != nil {
		tb.Fatal(err)
	}
	return p, pr
}

// TestCovered compares two policies of one trust each, of which one is at times
// the other with something taken away.
func TestCovered(t *testing.T) {
	t.Parallel()
	count := map[prove.Answer]int{}
	const cases = 100
	for seed := range uint64(cases) {
		d := draws(seed, 5)
		before := d.trust("tr0", "", "")
		after := before
		switch d.IntN(4) {
		case 0:
			after = d.trust("tr0", "", "")
		case 1:
			after = strings.Replace(before, "grants:", "access: {networks: [10.0.0.0/8]}\ngrants:", 1)
			if strings.Contains(before, "access:") {
				after = before
			}
		case 2:
			after = strings.Replace(before, "ttl: 15m", "ttl: 5m", 1)
		case 3:
			if i := strings.Index(before, "when:"); i >= 0 {
				j := i + len("when:\n")
				end := j + strings.Index(before[j:], "\n") + 1
				after = before[:j] + before[end:]
				if !strings.Contains(after[i:], "  - '") {
					after = strings.Replace(after, "when:\n", "", 1)
				}
			}
		}
		p, pr := prover(t, before)
		q, by := prover(t, after)
		tr := p.All()[0]
		g := tr.Grants[0]
		c := pr.Covered(by, tr, g)
		count[c.Answer]++
		got := func(x *trust.Policy, id trust.Identity, req trust.Request) bool {
			at := now()
			if c.Example != nil {
				at = c.Example.At
			}
			return x.Decide(id, req, trust.StopSet{}, at).Allow
		}
		if c.Answer == prove.No {
			e := c.Example
			if !got(p, e.Identity, e.Request) {
				t.Fatalf("seed %d: the example is not allowed before: %v\n%s---\n%s", seed, e.Identity.Claims, before, after)
			}
		}
		for range 80 {
			if c.Answer != prove.Yes {
				break
			}
			id, req, at := d.token(tr)
			if req.Target != g.Target {
				continue
			}
			if a := p.Decide(id, req, trust.StopSet{}, at); a.Allow {
				req.Scopes = a.Grant.Scopes
				if b := q.Decide(id, req, trust.StopSet{}, at); !b.Allow || b.Grant.TTL < a.Grant.TTL {
					t.Fatalf("seed %d: covered, but %v %+v is not allowed: %s\n%s---\n%s", seed, id.Claims, req, b.Reason, before, after)
				}
			}
		}
	}
	t.Logf("answers: %v", count)
	if 5*count[prove.Yes] < cases || 5*count[prove.No] < cases {
		t.Errorf("answers: %v", count)
	}
}

// TestOverlap draws two trusts.
func TestOverlap(t *testing.T) {
	t.Parallel()
	count := map[prove.Answer]int{}
	const cases = 100
	for seed := range uint64(cases) {
		d := draws(seed, 6)
		docs := []string{d.trust("tr0", "", ""), d.trust("tr1", "", "")}
		p, pr := prover(t, docs...)
		a, b := p.All()[0], p.All()[1]
		o := pr.Overlap(a, b, "t1")
		count[o.Answer]++
		both := func(id trust.Identity, req trust.Request, e *prove.Example) bool {
			at := now()
			if e != nil {
				at = e.At
			}
			for _, name := range []string{"tr0", "tr1"} {
				req.Trust = name
				if p.Explain(id, req, trust.StopSet{}, at).Candidates == 0 {
					return false
				}
			}
			return true
		}
		if o.Answer == prove.Yes {
			if e := o.Example; !both(e.Identity, e.Request, e) || e.Request.Trust != "" {
				t.Fatalf("seed %d: the example does not fit both: %v\n%s", seed, e.Identity.Claims, strings.Join(docs, "---\n"))
			}
		}
		for range 50 {
			if id, req, _ := d.token(pick(d, a, b)); o.Answer == prove.No && req.Target == "t1" && both(id, req, nil) {
				t.Fatalf("seed %d: %v %+v fits both\n%s", seed, id.Claims, req, strings.Join(docs, "---\n"))
			}
		}
	}
	t.Logf("answers: %v", count)
	if 5*count[prove.No] < cases || 10*count[prove.Yes] < cases {
		t.Errorf("answers: %v", count)
	}
}

// TestFacts holds conditions and lines that say too little or too much.
func TestFacts(t *testing.T) {
	t.Parallel()
	const yes, no, unsure = prove.Yes, prove.No, prove.Unsure
	for _, c := range []struct {
		when                           string
		never, always, implied, oppose prove.Answer
	}{
		{`claims.ref == "refs/heads/main"`, no, no, yes, no},
		{`claims.ref == "refs/heads/next"`, no, no, no, yes},
		{`claims.ref == "a" && claims.ref == "b"`, yes, no, no, yes},
		{`claims.ref != "a" || claims.ref == "a"`, no, yes, yes, no},
		{`claims.actor != "a" || claims.actor == "a"`, no, no, no, no}, // a token may have none
		{`claims.ref_type in ["branch", "tag"]`, no, yes, yes, no},
		{`claims.ref_type == "commit"`, yes, no, no, yes},
		{`request.to == "t1"`, no, yes, yes, no},
		{`grant.ttl <= duration("1h")`, no, yes, yes, no},
		{`"admin" in request.scopes`, yes, no, no, yes},
		{`claims.ref.replace("a", "b") == "c"`, unsure, unsure, no, yes}, // what is pinned folds
		{`claims.repository.replace("a", "b") == "c"`, unsure, unsure, unsure, unsure},
		{`request.time > timestamp("2020-01-01T00:00:00Z")`, no, yes, yes, no},
		{`request.time < timestamp("2020-01-01T00:00:00Z")`, yes, no, no, yes},
	} {
		p, pr := prover(t, base("  ref: refs/heads/main\nwhen: ['"+c.when+"']\n"+toT1))
		facts := pr.Facts(p.All()[0])
		f := facts.When[0]
		if f.Never != c.never || f.Always != c.always || f.Implied != c.implied || f.Against != c.oppose {
			t.Errorf("%s: %+v", c.when, f)
		}
		if wantNever := map[prove.Answer]prove.Answer{yes: yes, no: no, unsure: unsure}[c.oppose]; facts.Never != wantNever {
			t.Errorf("%s: the trust never matches: %q, want %q", c.when, facts.Never, wantNever)
		}
	}
}

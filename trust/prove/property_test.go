package prove_test

import (
	"context"
	"fmt"
	"maps"
	"net/netip"
	"slices"
	"strings"
	"testing"
	"time"

	"cambio/trust"
	"cambio/trust/prove"
)

// decider is what is held against the prover: [trust.Policy.Decide], or a copy
// with a bug in it.
type decider func(p *trust.Policy, id trust.Identity, req trust.Request, at time.Time) trust.Decision

func decide(p *trust.Policy, id trust.Identity, req trust.Request, at time.Time) trust.Decision {
	return p.Decide(id, req, trust.StopSet{}, at)
}

// violated judges one situation as the contract words it: with the longest
// lifetime that could be issued. It is false where nothing is.
func violated(tb testing.TB, p *trust.Policy, by decider, id trust.Identity, req trust.Request, at time.Time) bool {
	tb.Helper()
	rule := p.Invariants()[0]
	eval, err := rule.Condition.Evaluator()
	if err != nil {
		tb.Fatal(err)
	}
	for _, ttl := range lives(20 * time.Minute) {
		req.TTL = ttl
		d := by(p, id, req, at)
		if !d.Allow {
			continue
		}
		is, reason := eval.Eval(id, d.Grant, req.Address, at)
		failed := reason != "" && reason != trust.ReasonConditionFalse
		return rule.Never && (is || failed) || !rule.Never && !is
	}
	return false
}

// compare draws one policy and many situations; it returns the verdict and how
// the prover and the decider disagree, or "".
func compare(tb testing.TB, seed uint64, by decider, tries int) (prove.Verdict, string) {
	tb.Helper()
	d := draws(seed, 4)
	docs := d.documents()
	p := compile(tb, docs...)
	pr, err := prove.New(p, now())
	if err != nil {
		tb.Fatal(err)
	}
	r := pr.Invariants(context.Background())[0]
	told := func(format string, args ...any) string {
		return fmt.Sprintf("seed %d: ", seed) + fmt.Sprintf(format, args...) + "\n" + strings.Join(docs, "---\n")
	}
	if r.Verdict == prove.Broken {
		e := r.Example
		req := e.Request
		if !violated(tb, p, by, e.Identity, longest(req), e.At) {
			return r.Verdict, told("the example %v breaks nothing", e.Identity.Claims)
		}
		x := p.Explain(e.Identity, req, trust.StopSet{}, e.At)
		if !x.Allow || x.Trust != e.Trust {
			return r.Verdict, told("explain denies the example: %s", x)
		}
		return r.Verdict, ""
	}
	if r.Verdict == prove.Undecided && testing.Verbose() {
		tb.Log(told("undecided: %s %v", r.Reason, r.Outside))
	}
	if r.Verdict == prove.Holds {
		for range tries {
			id, req, at := d.token(pick(d, p.All()...))
			if violated(tb, p, by, id, req, at) {
				return r.Verdict, told("it holds, but %v %+v at %s breaks it", id.Claims, req, at)
			}
		}
	}
	return r.Verdict, ""
}

// longest leaves the lifetime to violated, which tries all.
func longest(req trust.Request) trust.Request { req.TTL = 0; return req }

// TestAgrees holds the prover against decisions: what it proves no situation
// breaks, and what it shows breaks.
func TestAgrees(t *testing.T) {
	t.Parallel()
	const policies, tries = 120, 60
	count := map[prove.Verdict]int{}
	for seed := range uint64(policies) {
		verdict, wrong := compare(t, seed, decide, tries)
		if wrong != "" {
			t.Fatal(wrong)
		}
		count[verdict]++
	}
	t.Logf("verdicts: %v", count)
	for _, v := range []prove.Verdict{prove.Holds, prove.Broken} {
		if 5*count[v] < policies {
			t.Errorf("only %d of %d cases are %s", count[v], policies, v)
		}
	}
	if 20*count[prove.Undecided] > policies {
		t.Errorf("%d of %d cases are undecided", count[prove.Undecided], policies)
	}
}

// TestExplainAgrees closes the triangle on the same draws: what an explanation
// says of a token is what is decided.
func TestExplainAgrees(t *testing.T) {
	t.Parallel()
	const policies, tries = 80, 30
	allowed := 0
	for seed := range uint64(policies) {
		d := draws(seed, 4)
		docs := d.documents()
		p := compile(t, docs...)
		for range tries {
			id, req, at := d.token(pick(d, p.All()...))
			decided, explained := decide(p, id, req, at), p.Explain(id, req, trust.StopSet{}, at)
			if explained.Allow != decided.Allow || explained.Reason != decided.Reason || explained.Decision.Trust != decided.Trust {
				t.Fatalf("seed %d: decided %+v, explained %s\n%s", seed, decided, explained, strings.Join(docs, "---\n"))
			}
			if decided.Allow {
				allowed++
			}
		}
	}
	if 20*allowed < policies*tries {
		t.Errorf("only %d of %d tokens are allowed", allowed, policies*tries)
	}
}

// TestFindsBugs shows that the comparison can fail: each bug in a copy of the
// evaluator is found.
func TestFindsBugs(t *testing.T) {
	t.Parallel()
	for name, by := range map[string]decider{
		"a guardrail is forgotten": func(p *trust.Policy, id trust.Identity, req trust.Request, at time.Time) trust.Decision {
			d := decide(p, id, req, at)
			if d.Reason == trust.ReasonGuardrail {
				d.Allow, d.Grant = true, granted(p, req)
			}
			return d
		},
		"a star crosses slashes": func(p *trust.Policy, id trust.Identity, req trust.Request, at time.Time) trust.Decision {
			d := decide(p, id, req, at)
			if d.Allow {
				return d
			}
			for _, claim := range []string{"ref", "repository"} {
				other := id
				other.Claims = maps.Clone(id.Claims)
				s, _ := id.Claims[claim].(string)
				if i := strings.LastIndexByte(s, '/'); i >= 0 {
					other.Claims[claim] = s[:i] + "x" + s[i+1:]
				}
				if e := decide(p, other, req, at); e.Allow {
					return e
				}
			}
			return d
		},
		"an error is true": func(p *trust.Policy, id trust.Identity, req trust.Request, at time.Time) trust.Decision {
			d := decide(p, id, req, at)
			if d.Reason == trust.ReasonCELError {
				d.Allow, d.Grant = true, granted(p, req)
			}
			return d
		},
		"a network is not looked at": func(p *trust.Policy, id trust.Identity, req trust.Request, at time.Time) trust.Decision {
			d := decide(p, id, req, at)
			if d.Reason == trust.ReasonNetwork {
				req.Address = netip.MustParseAddr("10.1.2.3")
				return decide(p, id, req, at)
			}
			return d
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			for seed := range uint64(1000) {
				if _, wrong := compare(t, seed, by, 120); wrong != "" {
					t.Logf("found with seed %d", seed)
					return
				}
			}
			t.Error("the bug is not found")
		})
	}
}

// granted is what a request would be given if it were allowed.
func granted(p *trust.Policy, req trust.Request) trust.Grant {
	t, _ := p.Trust(req.Trust)
	for _, g := range t.Grants {
		if g.Target != req.Target || g.Resource != req.Resource {
			continue
		}
		out := trust.Grant{Target: g.Target, Resource: g.Resource, Scopes: g.Scopes, TTL: min(g.TTL, req.TTL)}
		if len(req.Scopes) > 0 {
			out.Scopes = slices.DeleteFunc(slices.Clone(g.Scopes), func(s string) bool { return !slices.Contains(req.Scopes, s) })
		}
		return out
	}
	return trust.Grant{}
}

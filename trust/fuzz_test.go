package trust_test

import (
	"embed"
	"strings"
	"testing"
	"time"

	"cambio/trust"
)

//go:embed testdata/*.yaml
var seeds embed.FS

func seedDocuments(tb testing.TB) []string {
	tb.Helper()
	entries, err := seeds.ReadDir("testdata")
	if err != nil {
		tb.Fatal(err)
	}
	var docs []string
	for _, e := range entries {
		data, err := seeds.ReadFile("testdata/" + e.Name())
		if err != nil {
			tb.Fatal(err)
		}
		docs = append(docs, string(data))
	}
	if len(docs) == 0 {
		tb.Fatal("no seeds")
	}
	return docs
}

func TestSeedsLoadTogether(t *testing.T) {
	t.Parallel()
	p := compile(t, seedDocuments(t)...)
	if p.Trusts() != 2 || p.Guardrails() != 1 {
		t.Errorf("%d trusts and %d guardrails", p.Trusts(), p.Guardrails())
	}
	for _, r := range p.Test(now()) {
		if !r.OK {
			t.Errorf("%+v", r)
		}
	}
}

// FuzzCompile holds that any bytes either load or are refused with a place, and
// that nothing in them makes the compiler fail.
func FuzzCompile(f *testing.F) {
	for _, doc := range seedDocuments(f) {
		f.Add(doc)
	}
	f.Add(base)
	f.Add(strings.Replace(base, "ref:", "{", 1))
	f.Add("guardrail: g\nowner: o\npurpose: p\nforbid: 'claims.x == \"\"'\n")
	f.Fuzz(func(t *testing.T, doc string) {
		p, findings := trust.Compile(world(), sources(doc), now())
		if (p == nil) != findings.HasErrors() {
			t.Fatalf("policy %v with findings %v", p != nil, findings)
		}
		for _, finding := range findings {
			if finding.ID == "" || finding.Message == "" || finding.File == "" {
				t.Fatalf("an incomplete finding: %+v", finding)
			}
		}
		if p == nil {
			return
		}
		for _, req := range []trust.Request{{Target: "t1"}, {Target: "t2", Scopes: []string{"read"}, TTL: time.Second}} {
			d := p.Decide(token(nil), req, trust.StopSet{}, now())
			e := p.Explain(token(nil), req, trust.StopSet{}, now())
			if d.Allow != e.Allow || d.Reason != e.Reason || d.Allow != (d.Reason == "") {
				t.Fatalf("decided %+v, explained %+v", d, e)
			}
			// Whatever a document says, nobody without an anchor gets anything.
			stranger := token(map[string]any{"repository_id": nil, "repository_owner_id": nil})
			if p.Decide(stranger, req, trust.StopSet{}, now()).Allow {
				t.Fatalf("a token without an anchor is allowed by\n%s", doc)
			}
		}
		p.Test(now())
	})
}

// FuzzDecide holds that nothing is granted to a token whose anchor is not the
// pinned one, or that is asked for beyond the grant, whatever else it claims.
func FuzzDecide(f *testing.F) {
	f.Add("2", "1", "refs/heads/main", "push", "t1", "", "read", int64(60))
	f.Add("2", "1", "refs/tags/v1", "pull_request", "t2", "a:b", "", int64(-1))
	f.Add("", "", "", "", "", "", "", int64(0))
	docs := []string{base, other, edit(f, "tr1", "tr4", "\"2\"", "[\"3\", \"4\"]", "refs/heads/main", "{glob: \"refs/*/*\"}")}
	p := compile(f, docs...)
	f.Fuzz(func(t *testing.T, repository, owner, ref, event, target, resource, scope string, ttl int64) {
		id := token(map[string]any{"repository_id": repository, "repository_owner_id": owner, "ref": ref, "event_name": event})
		req := trust.Request{Target: target, Resource: resource, Scopes: trust.ParseScope(scope), TTL: time.Duration(ttl) * time.Second}
		d := p.Decide(id, req, trust.StopSet{}, now())
		if d.Allow != (d.Reason == "") {
			t.Fatalf("allow %v with reason %q", d.Allow, d.Reason)
		}
		if !d.Allow {
			return
		}
		pinned := map[string]string{"tr1": "2", "tr2": "2", "tr4": repository}
		if owner != "1" || repository != pinned[d.Trust] || d.Trust == "tr4" && repository != "3" && repository != "4" || event == "pull_request" {
			t.Fatalf("allowed without its anchor: %+v for %v", d, id.Claims)
		}
		if d.Grant.Target != target || resource != "" || d.Grant.TTL <= 0 || ttl > 0 && ttl < 1<<30 && d.Grant.TTL > req.TTL || d.Grant.TTL > 15*time.Minute {
			t.Fatalf("not narrowed: %+v for %+v", d.Grant, req)
		}
		for _, s := range req.Scopes {
			if !strings.Contains(" read list ", " "+s+" ") && s != "admin" {
				t.Fatalf("scope %q is granted: %+v", s, d.Grant)
			}
		}
		if len(req.Scopes) > 0 && len(d.Grant.Scopes) > len(req.Scopes) {
			t.Fatalf("more scope than asked for: %+v for %+v", d.Grant, req)
		}
	})
}

// FuzzCondition holds that no condition text makes the compiler or an
// evaluation fail.
func FuzzCondition(f *testing.F) {
	for _, c := range []string{
		`claims.ref == "x"`, `has(claims.environment) && claims.?actor.orValue("") != ""`, `claims.groups.exists(g, g.matches("a|b"))`,
		`claims["labels"]["a"] == 1`, `"a.b" in claims`, `request.ttl < duration("5m") ? true : grant.to == "t1"`, `claims[?"ref"].hasValue()`,
		`identity in [1]`, `claims.all(k, claims[k] == k)`, `[1].map(claims, claims)`, `matches("a", "(")`, `optional.of(claims).hasValue()`,
	} {
		f.Add(c)
	}
	f.Fuzz(func(t *testing.T, condition string) {
		if strings.ContainsAny(condition, "\r\n\t") || strings.TrimSpace(condition) != condition {
			return
		}
		p, _ := trust.Compile(world(), sources(withCondition(t, condition)), now())
		if p == nil {
			return
		}
		if d := p.Decide(token(nil), trust.Request{Target: "t1"}, trust.StopSet{}, now()); d.Reason == trust.ReasonCELBudget {
			t.Fatalf("%s is estimated in bounds, and spends its budget on a usual token", condition)
		}
	})
}

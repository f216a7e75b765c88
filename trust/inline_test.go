package trust_test

import (
	"fmt"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"cambio/trust"
)

func TestInlineTests(t *testing.T) {
	t.Parallel()
	doc := edit(t, "  ref: refs/heads/main", "  ref: {glob: \"refs/tags/v*\"}",
		"grants:", "when: ['request.time >= identity.issued_at && claims.actor == \"mona\"']\naccess: {networks: [10.0.0.0/8], hours: \"Sun 07:00-08:00 UTC\"}\ngrants:") + `tests:
  - {name: as matched, ask: {to: t1}, expect: allow}
  - {name: narrowed, ask: {to: t1, scope: "read list", ttl: 5m, trust: tr1}, expect: allow}
  - {name: a branch, claims: {ref: refs/heads/main}, ask: {to: t1}, expect: deny}
  - {name: by another, claims: {actor: eve}, ask: {to: t1}, expect: deny}
  - {name: by nobody, claims: {actor: null}, ask: {to: t1}, expect: deny}
  - {name: elsewhere, ask: {to: t2}, expect: deny}
  - {name: too much, ask: {to: t1, scope: write}, expect: deny}
  - {name: wrong, ask: {to: t1}, expect: deny}
`
	want := map[string]bool{"wrong": false}
	results := compile(t, doc, other).Test(now())
	if len(results) != 8 {
		t.Fatalf("got %d results", len(results))
	}
	for _, r := range results {
		ok, special := want[r.Name]
		if !special {
			ok = true
		}
		if r.OK != ok || r.File != "a.yaml" || r.Trust != "tr1" || r.Line == 0 {
			t.Errorf("%+v", r)
		}
	}
}

// TestFailedInlineTestSaysWhy holds that a test that failed stands at its own
// line, and names what an author has to look at.
func TestFailedInlineTestSaysWhy(t *testing.T) {
	t.Parallel()
	doc := edit(t, "refs/heads/main", "\"refs/heads/*\"") + `tests:
  - name: a branch
    claims: {ref: refs/heads/main}
    ask: {to: t1}
    expect: allow
  - {name: a scope, ask: {to: t1, scope: write}, expect: allow}
  - {name: as matched, ask: {to: t1}, expect: deny}
  - {name: held, ask: {to: t1}, expect: allow}
  - {name: of another, claims: {ref: refs/heads/dev}, ask: {to: t1}, expect: deny}
`
	dev := edit(t, "tr1", "tr2", "refs/heads/main", "refs/heads/dev")
	want := map[string]string{
		"a branch":   `12:5 match.ref: expected "refs/heads/*", found "refs/heads/main"`,
		"a scope":    "16:5 grants: expected to t1, scope read list, found to t1, scope write",
		"as matched": "17:5 ",
		"held":       "",
		"of another": "19:5 trust tr2",
	}
	got := map[string]string{}
	for _, r := range compile(t, doc, dev).Test(now()) {
		got[r.Name] = ""
		if !r.OK {
			got[r.Name] = fmt.Sprintf("%d:%d %s", r.Line, r.Column, r.Because)
		} else if r.Because != "" {
			t.Errorf("%s passes, because of %s", r.Name, r.Because)
		}
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
	guard := "guardrail: none\nowner: o\npurpose: p\nforbid: 'identity.provider == \"ci\"'\n"
	for _, r := range compile(t, base+"tests: [{name: main, ask: {to: t1}, expect: allow}]\n", guard).Test(now()) {
		if want := `guardrail none: expected not (identity.provider == "ci"), found forbidden`; r.Because != want {
			t.Errorf("got %q, want %q", r.Because, want)
		}
	}
}

// TestInlineTestsOfAShadow holds that the mode alone does not change what a
// trust's own tests come to, and that it still allows nothing.
func TestInlineTestsOfAShadow(t *testing.T) {
	t.Parallel()
	const tests = `tests:
  - {name: main, ask: {to: t1}, expect: allow}
  - {name: a branch, claims: {ref: refs/heads/dev}, ask: {to: t1}, expect: deny}
  - {name: wrong, ask: {to: t1}, expect: deny}
`
	shadow := edit(t, "from:", "mode: shadow\nfrom:")
	for name, tt := range map[string]struct {
		docs []string
		want string // of each test: its reason, and why where it failed
	}{
		"enforce":  {[]string{base + tests}, "[ok   | ok condition-false  | failed  ]"},
		"shadow":   {[]string{shadow + tests}, "[ok   | ok condition-false  | failed  ]"},
		"a failed": {[]string{shadow + "tests: [{name: x, claims: {ref: dev}, ask: {to: t1}, expect: allow}]\n"}, "[failed condition-false match.ref: expected \"refs/heads/main\", found \"dev\"]"},
		"beside one in force": {
			[]string{edit(t, "tr1", "tr2"), shadow + "tests: [{name: x, ask: {to: t1}, expect: allow}, {name: y, ask: {to: t1, trust: tr1}, expect: allow}]\n"},
			"[failed ambiguous-trust 2 grants fit; name one with resource or trust | ok  ]",
		},
		"another's test": { // which sees it as it is
			[]string{shadow, edit(t, "tr1", "tr2") + "tests: [{name: x, ask: {to: t1}, expect: allow}]\n"}, "[ok  ]",
		},
	} {
		p := compile(t, tt.docs...)
		var got []string
		for _, r := range p.Test(now()) {
			verdict := "failed"
			if r.OK {
				verdict = "ok"
			}
			got = append(got, fmt.Sprintf("%s %s %s", verdict, r.Reason, r.Because))
		}
		if diff := cmp.Diff(tt.want, "["+strings.Join(got, " | ")+"]"); diff != "" {
			t.Errorf("%s (-want +got):\n%s", name, diff)
		}
		if d := p.Decide(token(nil), trust.Request{Target: "t1", Trust: "tr1"}, trust.StopSet{}, now()); name != "enforce" && d.Allow {
			t.Errorf("%s: it allows: %+v", name, d)
		}
	}
}

// TestInlineTestsSeeTheWholePolicy holds that a second trust that makes the
// request ambiguous fails the first one's test.
func TestInlineTestsSeeTheWholePolicy(t *testing.T) {
	t.Parallel()
	tested := base + "tests: [{name: main, ask: {to: t1}, expect: allow}]\n"
	for _, r := range compile(t, tested, edit(t, "tr1", "tr2")).Test(now()) {
		if r.OK || r.Reason != trust.ReasonAmbiguousTrust || r.Because != "2 grants fit; name one with resource or trust" {
			t.Errorf("%+v", r)
		}
	}
	k8s := edit(t, "from: ci", "from: k8s", "  repository_id: \"2\"\n  repository_owner_id: \"1\"\n  ref: refs/heads/main",
		"  namespace: prod\n  /cluster.io/serviceaccount/name: b") +
		"tests:\n  - {name: own, ask: {to: t1}, expect: allow}\n  - {name: other, claims: {namespace: dev}, ask: {to: t1}, expect: deny}\n"
	for _, r := range compile(t, k8s).Test(now()) {
		if !r.OK {
			t.Errorf("%+v", r)
		}
	}
}

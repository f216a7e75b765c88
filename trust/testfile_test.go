package trust_test

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"cambio/trust"
	"cambio/trust/strictyaml"
)

// tested is the policy of base and other, with one file of tests.
func tested(tb testing.TB, file string, docs ...string) *trust.Policy {
	tb.Helper()
	p, findings := compile(tb, docs...).WithTests([]trust.Source{{Name: "x_test.yaml", Data: []byte(file)}})
	if p == nil {
		tb.Fatalf("the tests do not load:\n%v", findings)
	}
	return p
}

// far is a second trust, for nobody that base is for.
func far() string { return strings.NewReplacer("tr1", "tr9", `"2"`, `"99"`).Replace(base) }

func TestFilesOfTests(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		file string
		want []string // reason or by, and ok
	}{
		"of a trust": {
			"trust: tr1\ntests:\n" +
				"  - {name: main, ask: {to: t1}, expect: allow}\n" +
				"  - {name: dev, claims: {ref: dev}, ask: {to: t1}, expect: deny, reason: condition-false}\n",
			[]string{"by tr1 ok", "condition-false ok"},
		},
		"of an identity provider": {
			"from: ci\ntests:\n" +
				"  - {name: nobody, ask: {to: t1}, expect: deny}\n" +
				"  - {name: app, claims: {repository_id: \"2\", repository_owner_id: \"1\"}, ask: {to: t1}, expect: allow, by: tr1}\n",
			[]string{"condition-false ok", "by tr1 ok"},
		},
		"another reason": {"trust: tr1\ntests: [{name: x, claims: {ref: dev}, ask: {to: t1}, expect: deny, reason: guardrail}]\n", []string{"condition-false failed"}},
		"by another":     {"trust: tr1\ntests: [{name: x, ask: {to: t1}, expect: allow, by: tr9}]\n", []string{"by tr1 failed"}},
	} {
		p := tested(t, c.file, base, far())
		var got []string
		for _, r := range p.Test(now()) {
			what, ok := string(r.Reason), "failed"
			if r.By != "" {
				what = "by " + r.By
			}
			if r.OK {
				ok = "ok"
			}
			got = append(got, what+" "+ok)
			if r.File != "x_test.yaml" || r.Line < 2 || r.Provider != "ci" {
				t.Errorf("%s: %+v", name, r)
			}
		}
		if diff := cmp.Diff(c.want, got); diff != "" {
			t.Errorf("%s (-want +got):\n%s", name, diff)
		}
	}
}

// TestFilesOfTestsAreNoPolicy holds that a change of a test changes no decision
// and no hash.
func TestFilesOfTestsAreNoPolicy(t *testing.T) {
	t.Parallel()
	without := compile(t, base)
	with := tested(t, "trust: tr1\ntests: [{name: x, ask: {to: t1}, expect: allow}]\n", base)
	if with.SHA256() != without.SHA256() || len(without.Test(now())) != 0 || len(with.Test(now())) != 1 {
		t.Errorf("%d and %d tests", len(without.Test(now())), len(with.Test(now())))
	}
}

// TestWhenAndFromWhere: a test may say its time and its caller's address, and
// else is within hours and networks.
func TestWhenAndFromWhere(t *testing.T) {
	t.Parallel()
	doc := edit(t, "from:", "expires: 2026-12-24\nfrom:", "grants:",
		"access: {networks: [10.0.0.0/8], hours: \"Mon-Fri 07:00-19:00 UTC\"}\ngrants:") + `tests:
  - {name: usual, ask: {to: t1}, expect: allow}
  - {name: quoted, at: "2026-11-25T07:00:00Z", ask: {to: t1}, expect: allow}
  - {name: plain, at: 2026-11-25T06:59:59Z, ask: {to: t1}, expect: deny, reason: outside-hours}
  - {name: elsewhere, address: 192.0.2.7, ask: {to: t1}, expect: deny, reason: network-not-allowed}
  - {name: inside, address: "::ffff:10.9.9.9", ask: {to: t1}, expect: allow}
  - {name: late, at: "2026-12-25T08:00:00Z", ask: {to: t1}, expect: deny, reason: trust-expired}
`
	for _, r := range compile(t, doc).Test(now()) {
		if !r.OK {
			t.Errorf("%s", r.Failure())
		}
	}
	// A test that says neither does not depend on when it is run.
	sunday := time.Date(2026, 11, 29, 3, 0, 0, 0, time.UTC)
	for _, r := range compile(t, doc).Test(sunday) {
		if !r.OK {
			t.Errorf("on a Sunday: %s", r.Failure())
		}
	}
}

// TestFailureSaysWhatWasExpected holds the line that authors read.
func TestFailureSaysWhatWasExpected(t *testing.T) {
	t.Parallel()
	file := `trust: tr1
tests:
  - {name: a, claims: {ref: dev}, ask: {to: t1}, expect: deny, reason: guardrail}
  - {name: b, ask: {to: t1}, expect: allow, by: tr9}
  - {name: c, ask: {to: t1}, expect: deny}
`
	want := []string{
		`x_test.yaml:3:5: error: tests: tr1: "a": got deny condition-false (match.ref: expected "refs/heads/main", found "dev"), expected deny guardrail; mend the trust, or the test's claims, ask or expect [test-failed]`,
		`x_test.yaml:4:5: error: tests: tr1: "b": got allow, expected allow by tr9; mend the trust, or the test's claims, ask or expect [test-failed]`,
		`x_test.yaml:5:5: error: tests: tr1: "c": got allow, expected deny; mend the trust, or the test's claims, ask or expect [test-failed]`,
	}
	var got []string
	for _, r := range tested(t, file, base).Test(now()) {
		got = append(got, r.Failure().String())
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}

// TestMisnamedFileOfTests: tests among the documents are told how to be named, and
// nothing else; a trust that lacks parts is a trust.
func TestMisnamedFileOfTests(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		file string
		id   string // of the first finding
		only bool
	}{
		{"trust: tr1\ntests: [{name: x, ask: {to: t1}, expect: allow}]\n", trust.FindingTestFileName, true},
		{"from: ci\ntests: []\n", trust.FindingTestFileName, true},
		{"tests: ~\n", trust.FindingTestFileName, true},
		{"name: tr2\ntests: []\n", trust.FindingOwnerMissing, false},
		{"match: ~\ntests: []\n", trust.FindingOwnerMissing, false},
		{"grants: []\ntests: []\n", trust.FindingOwnerMissing, false},
		{"guardrail: x\ntests: []\n", trust.FindingOwnerMissing, false},
		{"invariant: x\ntests: []\n", trust.FindingOwnerMissing, false},
		{"trust: tr1\n", trust.FindingOwnerMissing, false},
	} {
		p, findings := trust.Compile(world(), []trust.Source{{Name: "a.yaml", Data: []byte(base)}, {Name: "x.yaml", Data: []byte(c.file)}}, now())
		has := slices.ContainsFunc(findings, func(f strictyaml.Finding) bool { return f.ID == c.id })
		if p != nil || !has || c.only != (len(findings) == 1) {
			t.Errorf("%q: %v", c.file, findings)
		}
		if c.only && (findings[0].File != "x.yaml" || findings[0].Line != 1 || findings[0].Severity != strictyaml.Error || !strings.Contains(findings[0].Fix, "*_test.yaml")) {
			t.Errorf("%q: %v", c.file, findings)
		}
	}
}

// TestBrokenFilesOfTests: everything wrong is said at once, with its place.
func TestBrokenFilesOfTests(t *testing.T) {
	t.Parallel()
	const good = "trust: tr1\ntests: [{name: x, ask: {to: t1}, expect: allow}]\n"
	for name, c := range map[string]struct {
		change []string
		want   string // finding ids with line:column
	}{
		"nothing wrong":     {nil, ""},
		"no subject":        {[]string{"trust: tr1\n", ""}, "required 1:1"},
		"two subjects":      {[]string{"trust: tr1", "trust: tr1\nfrom: ci"}, "invalid-value 2:7"},
		"no such trust":     {[]string{"tr1", "tr2"}, "unknown-trust 1:8"},
		"no such provider":  {[]string{"trust: tr1", "from: cj"}, "unknown-provider 1:7"},
		"a misspelt field":  {[]string{"trust:", "trusts:"}, "unknown-field 1:1"},
		"no tests":          {[]string{"tests:", "test:"}, "unknown-field 2:1"},
		"an empty list":     {[]string{"[{name: x, ask: {to: t1}, expect: allow}]", "[]"}, "empty-list 2:8"},
		"no list":           {[]string{"[{name: x, ask: {to: t1}, expect: allow}]", "x"}, "wrong-type 2:8"},
		"a reason to allow": {[]string{"expect: allow", "expect: allow, reason: guardrail"}, "invalid-value 2:57"},
		"a strange reason":  {[]string{"expect: allow", "expect: deny, reason: gardrail"}, "invalid-value 2:56"},
		"a stop as reason":  {[]string{"expect: allow", "expect: deny, reason: stopped"}, "invalid-value 2:56"},
		"who denies":        {[]string{"expect: allow", "expect: deny, by: tr1"}, "invalid-value 2:52"},
		"no time":           {[]string{"expect: allow", "expect: allow, at: tomorrow"}, "invalid-value 2:53"},
		"a day as time":     {[]string{"expect: allow", "expect: allow, at: 2027-01-01"}, "invalid-value 2:53"},
		"a number as time":  {[]string{"expect: allow", "expect: allow, at: 12"}, "invalid-value 2:53"},
		"no address":        {[]string{"expect: allow", "expect: allow, address: 10.0.0"}, "invalid-value 2:58"},
		"a zone":            {[]string{"expect: allow", "expect: allow, address: \"fe80::1%eth0\""}, "invalid-value 2:58"},
		"an address's list": {[]string{"expect: allow", "expect: allow, address: [10.0.0.1]"}, "wrong-type 2:58"},
		"an unknown claim":  {[]string{"ask:", "claims: {reff: x}, ask:"}, "unknown-claim 2:28"},
		"several":           {[]string{"trust: tr1", "trust: tr2", "expect: allow", "expect: alow, at: x"}, "unknown-trust 1:8, invalid-value 2:42, invalid-value 2:52"},
		"a document":        {[]string{good, base}, "unknown-field 1:1, required 1:1, unknown-field 2:1, unknown-field 3:1, unknown-field 5:1, unknown-field 9:1"},
		"no map":            {[]string{good, "- x\n"}, "yaml-root 1:1"},
		"two documents":     {[]string{good, good + "---\n" + good}, "yaml-second-document 3:1"},
	} {
		file := good
		for i := 0; i < len(c.change); i += 2 {
			file = strings.Replace(file, c.change[i], c.change[i+1], 1)
		}
		p, findings := compile(t, base).WithTests([]trust.Source{{Name: "x_test.yaml", Data: []byte(file)}})
		var got []string
		for _, f := range findings {
			got = append(got, fmt.Sprintf("%s %d:%d", f.ID, f.Line, f.Column))
			if f.Fix == "" || f.File != "x_test.yaml" || f.Severity != strictyaml.Error {
				t.Errorf("%s: %+v", name, f)
			}
		}
		if name == "a document" {
			got = slices.DeleteFunc(got, func(s string) bool { return !slices.Contains(strings.Split(c.want, ", "), s) })
		}
		if diff := cmp.Diff(c.want, strings.Join(got, ", ")); diff != "" || (p == nil) != (c.want != "") {
			t.Errorf("%s (-want +got):\n%s", name, diff)
		}
	}
}

// TestFieldsAreRead holds that each name of the tables is one that documents may
// have: none of them is unknown to the reader.
func TestFieldsAreRead(t *testing.T) {
	t.Parallel()
	for _, part := range []trust.Part{trust.TrustPart, trust.GuardrailPart, trust.InvariantPart} {
		var doc strings.Builder
		for _, field := range trust.Fields(part) {
			doc.WriteString(field + ": x\n")
		}
		_, findings := trust.Compile(world(), sources(doc.String()), now())
		for _, f := range findings {
			if f.ID == trust.FindingUnknownField {
				t.Errorf("%v: %s", part, f)
			}
		}
	}
	if trust.Fields(-1) != nil {
		t.Error("a part that is none has fields")
	}
}

package test

import (
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"cambio/audit"
	"cambio/gateway"
	"cambio/test/rig"
	"cambio/trust/strictyaml"
)

// policyAttacks are the cases on documents and conditions.
func policyAttacks() map[string]func(*testing.T) {
	return map[string]func(*testing.T){
		"CEL-01": celBombs, "CEL-02": celErrors, "CEL-03": celPatterns,
		"PADM-02": documentMembers, "PADM-06": expiredTrust,
		"KEY-01": mintedTokens, "KEY-02": publishedKeys,
	}
}

// celClaims declares claims of each kind on iss1.
const celClaims = "claims: {groups: {type: list}, n: {type: int}, flag: {type: bool}}"

// conditionAsk is one condition, and the claims of the token that meets it.
type conditionAsk struct {
	condition string
	claims    map[string]any
	reason    string // "" allows
}

// withConditions is a rig with one trust a condition, each for a repository of
// its own, so that no other trust has a say.
func withConditions(t *testing.T, asks []conditionAsk) *rig.Rig {
	t.Helper()
	documents := map[string]string{"tr1.yaml": rig.TR1}
	for i, ask := range asks {
		documents[fmt.Sprintf("c%d.yaml", i)] = conditionTrust(fmt.Sprintf("c%d", i), fmt.Sprint(100+i), ask.condition)
	}
	return rig.New(t, rig.Setup{Provider1: celClaims, Trusts: documents})
}

func conditionTrust(name, repository, condition string) string {
	return fmt.Sprintf("name: %s\nowner: a@acme.test\npurpose: try a condition\nfrom: iss1\nmatch: {repository_id: %q}\nwhen:\n  - |-\n    %s\ngrants: [{to: t1, scopes: [read]}]\n",
		name, repository, strings.ReplaceAll(condition, "\n", "\n    "))
}

// asked shows each token and compares what comes.
func asked(t *testing.T, r *rig.Rig, asks []conditionAsk) {
	t.Helper()
	for i, ask := range asks {
		claims := map[string]any{"repository_id": fmt.Sprint(100 + i), "sub": "customised"}
		for k, v := range ask.claims {
			claims[k] = v
		}
		begin := time.Now()
		a := r.Exchange(r.Token(claims))
		if d := time.Since(begin); d > 5*time.Second {
			t.Errorf("%s took %v", ask.condition, d)
		}
		if ask.reason == "" {
			if a.Status != http.StatusOK {
				t.Errorf("%s with %v: %d %v", ask.condition, ask.claims, a.Status, r.Records(a.Decision))
			}
			continue
		}
		r.Deny(a, ask.reason)
		if t.Failed() {
			t.Fatalf("that was %s with %v", ask.condition, ask.claims)
		}
	}
}

// policyFindings are the findings of documents in the usual configuration.
func policyFindings(t *testing.T, documents map[string]string) strictyaml.Findings {
	t.Helper()
	r := &rig.Rig{T: t, Dir: t.TempDir()}
	r.WriteTrusts(documents)
	config := strings.Replace(usualConfig, "insecure_loopback: true", "insecure_loopback: true\n    "+celClaims, 1)
	c, findings := gateway.ParseConfig(filepath.Join(r.Dir, "cambio.yaml"), []byte(config), func(string) (string, bool) { return "", false }, os.ReadFile)
	if findings.HasErrors() {
		t.Fatal(findings)
	}
	_, findings = gateway.LoadPolicy(c, time.Now())
	return findings
}

// usualConfig is that of the cases, for what is only loaded.
const usualConfig = `issuer: https://gw.test
identity_providers:
  iss1:
    type: github-actions
    issuer: http://127.0.0.1:9
    audience: https://gw.test
    insecure_loopback: true
targets:
  t1: {type: jwt, audience: "api://t1", max_ttl: 1h}
  t2: {type: jwt, audience: "api://t2", max_ttl: 1h}
`

// refusedAtLoad fails the test unless the document has an error with one of
// these ids, with its place.
func refusedAtLoad(t *testing.T, what, document string, ids ...string) {
	t.Helper()
	findings := policyFindings(t, map[string]string{"x.yaml": document})
	for _, f := range findings {
		if f.Severity != strictyaml.Error {
			continue
		}
		for _, id := range ids {
			if (f.ID == id || id == "any") && strings.HasSuffix(f.File, "x.yaml") && f.Line > 0 && f.Column > 0 {
				return
			}
		}
	}
	t.Errorf("%.120s: findings %.500v, want %v", what, findings, ids)
}

func guardrail(name, forbid string) string {
	return fmt.Sprintf("guardrail: %s\nowner: a@acme.test\npurpose: forbid\nfrom: [iss1]\nforbid: |-\n  %s\n", name, strings.ReplaceAll(forbid, "\n", "\n  "))
}

func celBombs(t *testing.T) {
	nest := func(macro, end string) string {
		return "claims.groups." + macro + "(a, claims.groups." + macro + "(b, claims.groups." + macro + "(c, claims.groups." + macro + "(d, " + end + "))))"
	}
	doubling := func(n int) string {
		return "[claims.ref]" + strings.Repeat(".map(x, x + x)", n) + `.exists(x, x == "y")`
	}
	begin := time.Now()
	for what, source := range map[string]string{
		"four loops":               nest("all", `a + b + c + d != "x"`),
		"four loops of exists":     nest("exists", `a == d`),
		"three loops":              `claims.groups.all(a, claims.groups.all(b, claims.groups.all(c, a + b != c)))`,
		"loops over literals":      `[1,2,3,4,5,6,7,8,9].all(a, [1,2,3,4,5,6,7,8,9].all(b, [1,2,3,4,5,6,7,8,9].all(c, [1,2,3,4,5,6,7,8,9].all(d, a + b + c + d > 0))))`,
		"maps of maps":             `claims.groups.map(a, claims.groups.map(b, claims.groups.map(c, a + b + c))).size() > 0`,
		"two loops and a join":     `claims.groups.all(a, claims.groups.all(b, claims.groups.join(a + b).size() > 0))`,
		"doubling strings":         doubling(40),
		"doubling in a comparison": doubling(16),
		"a sum of claims":          strings.Repeat("claims.ref + ", 300) + `claims.ref == "x"`,
		"100 kB":                   `claims.ref == "` + strings.Repeat("a", 100_000) + `"`,
		"4 KiB and one":            `claims.ref == "` + strings.Repeat("a", 4097-len(`claims.ref == ""`)) + `"`,
		"2,000 parentheses":        strings.Repeat("(", 2000) + "true" + strings.Repeat(")", 2000),
		"depth by operators":       strings.Repeat("claims.flag == (", 40) + "true" + strings.Repeat(")", 40),
		"depth by conditionals":    strings.Repeat("claims.flag ? claims.flag : (", 40) + "true" + strings.Repeat(")", 40),
		"depth by lists":           strings.Repeat("[", 40) + strings.Repeat("]", 40) + " == []",
		"depth by calls":           strings.Repeat("string(", 40) + "claims.ref" + strings.Repeat(")", 40) + ` == "x"`,
		"pattern of 10 kB":         `claims.ref.matches("` + strings.Repeat("a?", 5000) + `")`,
	} {
		refusedAtLoad(t, what, conditionTrust("x", "2", source), "cel-too-expensive", "cel-syntax")
		refusedAtLoad(t, what+" in a guardrail", guardrail("x", source), "cel-too-expensive", "cel-syntax")
	}
	for what, pattern := range map[string]string{
		"pattern of 257":   strings.Repeat("a", 257),
		"counts of counts": "((a{100}){100}){100}", "a large count": "a{2000}", "alternatives of counts": strings.Repeat("(a{50}){20}|", 12) + "b",
	} {
		refusedAtLoad(t, what, conditionTrust("x", "2", fmt.Sprintf("claims.ref.matches(%q)", pattern)), "any")
	}
	if d := time.Since(begin); d > 20*time.Second {
		t.Errorf("refusing took %v", d)
	}
	// What passes the estimate, and is dear with this token.
	long := strings.Repeat("a", 4000)
	asks := []conditionAsk{
		{`claims.groups.exists(g, g.contains(g + "b")) || true`, map[string]any{"groups": []any{long}}, "cel-budget"},
		{`!claims.groups.exists(g, g.contains(g + "b"))`, map[string]any{"groups": []any{long, "a"}}, "cel-budget"},
		{`claims.workflow.matches("(a+)+$")`, map[string]any{"workflow": long + "!"}, "condition-false"},
		{`claims.workflow.matches("(a|aa)+$")`, map[string]any{"workflow": long}, ""},
		{`claims.groups.exists(g, g.contains(g))`, map[string]any{"groups": []any{"a"}}, ""},
	}
	r := withConditions(t, asks)
	r.Control()
	asked(t, r, asks)
	r.Control()
	// In a guardrail a spent budget forbids; what is cheap passes.
	g := rig.New(t, rig.Setup{Provider1: celClaims, Trusts: map[string]string{"tr1.yaml": rig.TR1, "g.yaml": guardrail("g", `has(claims.groups) && claims.groups.exists(g, g.contains(g + "b"))`)}})
	g.Control()
	g.Deny(g.Exchange(g.Token(map[string]any{"groups": []any{long}})), "guardrail")
	g.Control()
}

func celErrors(t *testing.T) {
	for source, ids := range map[string][]string{
		`claims.undeclared == "x"`: {"unknown-claim", "unknown-name"}, `claims["undeclared"] == "x"`: {"unknown-claim", "unknown-name"},
		`"1" == 1`: {"type-mismatch"}, `claims.n == "1"`: {"type-mismatch"}, `claims.ref == 1`: {"type-mismatch"}, `claims.ref == true`: {"type-mismatch"},
		`claims.ref`: {"cel-not-bool"}, `1`: {"cel-not-bool"}, `"true"`: {"cel-not-bool"}, `null`: {"cel-not-bool"}, `dyn(true)`: {"cel-not-bool", "unknown-name"},
		`claims.ref == null`: {"any"}, `request.nothing == ""`: {"any"}, `nothing == ""`: {"unknown-name"},
		`claims.ref ==`: {"cel-syntax"}, `true; true`: {"cel-syntax"}, "": {"any"}, `now() > timestamp(0)`: {"unknown-name"},
		`env("HOME") == ""`: {"unknown-name"}, `identity.claims.ref == "x"`: {"any"}, `claims.iss1.ref == "x"`: {"any"},
	} {
		refusedAtLoad(t, source, conditionTrust("x", "2", source), ids...)
		if source != "" {
			refusedAtLoad(t, source+" in a guardrail", guardrail("x", source), ids...)
		}
	}
	for _, f := range policyFindings(t, map[string]string{"x.yaml": conditionTrust("x", "2", `claims.ref == "a" &&`+"\n  "+`claims.n == "1"`)}) {
		if f.ID == "type-mismatch" && (f.Line != 9 || f.Column < 7) {
			t.Errorf("the mismatch in line 9 is found at %d:%d", f.Line, f.Column)
		}
	}
	asks := []conditionAsk{
		{`claims.environment == "x"`, nil, "cel-error"},
		{`claims.environment != "x"`, nil, "cel-error"},
		{`!(claims.environment == "x")`, nil, "cel-error"},
		{`!(claims.environment in ["x", "y"])`, nil, "cel-error"},
		{`claims["environment"] != "x"`, nil, "cel-error"},
		{`has(claims.environment)`, nil, "condition-false"},
		{`has(claims.environment) && claims.environment == "x"`, nil, "condition-false"},
		{`claims.n / 0 == 1`, map[string]any{"n": 1}, "cel-error"},
		{`1 / claims.n >= 0`, map[string]any{"n": 0}, "cel-error"},
		{`1 % claims.n >= 0`, map[string]any{"n": 0}, "cel-error"},
		{`claims.n + 9223372036854775807 != 0`, map[string]any{"n": 1}, "cel-error"},
		{`claims.n != 5`, map[string]any{"n": "5"}, "cel-error"},
		{`claims.n != 5`, map[string]any{"n": 1.5}, "cel-error"},
		{`claims.n != 5`, map[string]any{"n": true}, "cel-error"},
		{`claims.groups[3] != "x"`, map[string]any{"groups": []any{"a"}}, "cel-error"},
		{`!("x" in claims.groups)`, map[string]any{"groups": "x"}, "cel-error"},
		{`!claims.flag`, map[string]any{"flag": "false"}, "cel-error"},
		{`int(claims.ref) != 1`, nil, "cel-error"},
		{`timestamp(claims.ref) != timestamp(0)`, nil, "cel-error"},
		{`claims.environment == "x" || true`, nil, ""}, // CEL's own absorption
		{`claims.environment == "x" && false`, nil, "condition-false"},
		{`claims.ref == "refs/heads/main"`, nil, ""},
	}
	r := withConditions(t, asks)
	r.Control()
	asked(t, r, asks)
	// null is neither absent nor a value: whichever check meets it refuses.
	for _, claim := range []string{"environment", "n", "groups"} {
		payload := r.Base(map[string]any{"repository_id": "112", "sub": "customised"})
		payload[claim] = nil
		a := r.Exchange(signed(t, r, payload))
		r.Deny(a, "any")
	}
	// The absorbed error does not stand in for the anchor.
	r.Deny(r.Exchange(r.Token(map[string]any{"repository_id": "9", "sub": "customised"})), "condition-false")
	r.Control()

	g := rig.New(t, rig.Setup{Provider1: celClaims, Trusts: map[string]string{
		"tr1.yaml": rig.TR1, "g.yaml": guardrail("g", `claims.?workflow.orValue("") == "odd" && claims.environment == "prod"`),
	}})
	g.Control()
	g.Deny(g.Exchange(g.Token(map[string]any{"workflow": "odd"})), "guardrail")
	if a := g.Exchange(g.Token(map[string]any{"workflow": "odd", "environment": "dev"})); a.Status != 200 {
		t.Errorf("a guardrail that is false: %d %s", a.Status, a.Raw)
	}
	g.Deny(g.Exchange(g.Token(map[string]any{"workflow": "odd", "environment": "prod"})), "guardrail")
	g.Control()
}

func celPatterns(t *testing.T) {
	actor := func(s string) map[string]any { return map[string]any{"actor": s} }
	asks := []conditionAsk{
		{`claims.sub.matches("repo:acme/app")`, map[string]any{"sub": "x-repo:acme/app-evil"}, "condition-false"},
		{`claims.workflow.matches("repo:acme/app")`, map[string]any{"workflow": "repo:acme/app"}, ""},
		{`claims.actor.matches("^a|b$")`, actor("ax"), "condition-false"},
		{`claims.actor.matches("^a|b$")`, actor("xb"), "condition-false"},
		{`claims.actor.matches("^a|b$")`, actor("a"), ""},
		{`claims.actor.matches("^a|b$")`, actor("b"), ""},
		{`claims.actor.matches("a|b")`, actor("ab"), "condition-false"},
		{`matches(claims.actor, "a|b")`, actor("xa"), "condition-false"},
		{`claims.actor.matches("")`, actor("x"), "condition-false"},
		{`claims.actor.matches("acme\\.io")`, actor("acmexio"), "condition-false"},
		{`claims.actor.matches("(?i)ACME")`, actor("acme"), ""},
		{`claims.actor.matches("ACME")`, actor("acme"), "condition-false"},
		{`claims.workflow.matches("(?m)^a$")`, map[string]any{"workflow": "a\nevil"}, "condition-false"},
		{`claims.workflow.matches("(?m)^a$")`, map[string]any{"workflow": "evil\na"}, "condition-false"},
		{`claims.workflow.matches("(?m)a$")`, map[string]any{"workflow": "a\n"}, "condition-false"},
		{`claims.workflow.matches("a")`, map[string]any{"workflow": "a\n"}, "condition-false"},
		{`claims.workflow.matches("a.*")`, map[string]any{"workflow": "a\nb"}, "condition-false"},
		{`claims.workflow.matches("(?s)a.*")`, map[string]any{"workflow": "a\nb"}, ""},
		{`claims.workflow.matches("a")`, map[string]any{"workflow": "a\u0000"}, "condition-false"},
		{`claims.groups.exists(g, g.matches("adm"))`, map[string]any{"groups": []any{"xadmin"}}, "condition-false"},
	}
	r := withConditions(t, asks)
	r.Control()
	asked(t, r, asks)
	r.Control()
	// Patterns that would close the group that they are put in, and those that
	// the token's holder would choose.
	for _, pattern := range []string{`a)|(b`, `a)|(?:b`, `a|b)`, `(a`, `[a`, `a**`, `\Qa`, `a\`, `(?P<x`, `(?<=a)b`, `a(?=b)`, `(?#`} {
		refusedAtLoad(t, pattern, conditionTrust("x", "2", "claims.ref.matches("+fmt.Sprintf("%q", pattern)+")"), "any")
	}
	for _, source := range []string{`claims.ref.matches(claims.actor)`, `"x".matches(claims.actor)`, `claims.ref.matches("a" + claims.actor)`, `claims.groups.exists(g, claims.ref.matches(g))`} {
		refusedAtLoad(t, source, conditionTrust("x", "2", source), "any")
	}
}

// signed signs exactly these claims.
func signed(t *testing.T, r *rig.Rig, claims map[string]any) string {
	t.Helper()
	return withPayload(r, string(jsonOf(t, claims)))
}

const members = `name: tr1
owner: t1-team@acme.test
purpose: main of app reads t1
from: iss1
match: {repository_id: "2", repository_owner_id: "1", ref: refs/heads/main}
approved: true
created_by: mallory
revision: 1
tenant: B
Name: tr2
Grants: [{to: t2}]
OWNER: x
purpose: twice
grants:
  - {to: t1, scopes: [read], ttl: 15m, max_ttl: 999999, To: t2, approved: true, scopes: [admin]}
`

func documentMembers(t *testing.T) {
	wantLines := map[int]string{6: "unknown-field", 7: "unknown-field", 8: "unknown-field", 9: "unknown-field", 10: "unknown-field", 11: "unknown-field", 12: "unknown-field", 13: "yaml-duplicate", 15: "unknown-field"}
	findings := policyFindings(t, map[string]string{"tr1.yaml": members})
	seen := map[int]bool{}
	inGrant := map[string]bool{}
	for _, f := range findings {
		if f.ID == wantLines[f.Line] && f.Column > 0 && f.Fix != "" && strings.HasSuffix(f.File, "tr1.yaml") {
			seen[f.Line] = true
		}
		if f.Line == 15 {
			inGrant[f.ID+" "+f.Field] = true
		}
	}
	for line, id := range wantLines {
		if !seen[line] {
			t.Errorf("line %d: no %s among\n%v", line, id, findings)
		}
	}
	if len(inGrant) < 4 {
		t.Errorf("the grant's four faults: %v", inGrant)
	}
	r := rig.New(t, rig.Setup{})
	r.Control()
	before := r.Get(r.AdminURL, "/readyz").Text("policy_sha256")
	r.WriteTrusts(map[string]string{"tr1.yaml": members, "tr3.yaml": strings.Replace(rig.TR2, "name: tr2", "name: tr3", 1)})
	rig.Eventually(t, "the refusal of the documents", func() bool {
		return strings.Contains(r.Get(r.AdminURL, "/metrics").Raw, "cambio_policy_rejected_total 1")
	})
	if !strings.Contains(r.Log.String(), "level=ERROR") || !strings.Contains(r.Log.String(), "unknown-field") {
		t.Errorf("no error in the log:\n%s", r.Log)
	}
	r.Control() // by the old tr1
	if a := r.Exchange(r.Token(map[string]any{"environment": "production"})); a.Status != 200 {
		t.Errorf("the old policy: %d %s", a.Status, a.Raw)
	}
	if got := r.Get(r.AdminURL, "/readyz").Text("policy_sha256"); got != before {
		t.Error("another policy is in force")
	}
	rig.Eventually(t, "the record", func() bool { return len(events(t, r, audit.PolicyRejected)) == 1 })

	dir := t.TempDir()
	(&rig.Rig{T: t, Dir: dir}).WriteTrusts(map[string]string{"tr1.yaml": members})
	file := filepath.Join(dir, "cambio.yaml")
	if err := os.WriteFile(file, []byte(usualConfig), 0o600); err != nil {
		t.Fatal(err)
	}
	for _, args := range [][]string{{"trust", "check", filepath.Join(dir, "trust")}, {"config", "check"}, {"serve"}} {
		o := run(t, nil, append(args, "--config", file)...)
		if o.code != 3 {
			t.Errorf("%v: exit %d\n%s", args, o.code, o.stderr)
		}
		for line, id := range wantLines {
			if !strings.Contains(o.stderr, fmt.Sprintf("tr1.yaml:%d:", line)) || !strings.Contains(o.stderr, "["+id+"]") {
				t.Errorf("%v does not name line %d with %s:\n%s", args, line, id, o.stderr)
			}
		}
	}
}

// events are the journal's records of an event.
func events(t *testing.T, r *rig.Rig, event audit.Event) []audit.Record {
	t.Helper()
	var found []audit.Record
	for rec, err := range audit.Read(os.DirFS(r.JournalDir())) {
		if err != nil {
			t.Fatal(err)
		}
		if rec.Event == event {
			found = append(found, rec)
		}
	}
	return found
}

func expiredTrust(t *testing.T) {
	day := time.Now().UTC().AddDate(0, 0, 3)
	document := func(d time.Time) string {
		return strings.Replace(rig.TR1, "from: iss1", "expires: "+d.Format("2006-01-02")+"\nfrom: iss1", 1)
	}
	r := rig.New(t, rig.Setup{Trusts: map[string]string{"tr1.yaml": document(day)}})
	end := time.Date(day.Year(), day.Month(), day.Day()+1, 0, 0, 0, 0, time.UTC)
	r.Control()
	until := func(at time.Time) {
		r.Clock.Move(at.Sub(r.Clock.Now()))
		rig.Eventually(t, "the stop list at the new time", func() bool { return r.Get(r.AdminURL, "/readyz").Status == 200 })
	}
	until(end.Add(-3 * time.Second)) // the stop list may be five seconds old, so that the next moves need no wait
	r.Control()
	r.Clock.Move(end.Add(-time.Second).Sub(r.Clock.Now()))
	if a := r.Exchange(r.Token(nil)); a.Status != 200 && r.Clock.Now().Before(end) {
		t.Errorf("a second before the end: %d %s", a.Status, a.Raw)
	}
	r.Clock.Move(max(0, end.Add(time.Millisecond).Sub(r.Clock.Now())))
	r.Deny(r.Exchange(r.Token(nil)), "trust-expired")
	file := filepath.Join(r.Dir, "trust", "tr1.yaml")
	sha := r.Get(r.AdminURL, "/readyz").Text("policy_sha256")
	for i := range 30 {
		r.WriteTrusts(map[string]string{"tr1.yaml": document(day)})
		at := time.Now().Add(time.Duration(i) * time.Minute)
		if err := os.Chtimes(file, at, at); err != nil {
			t.Fatal(err)
		}
		r.Deny(r.Exchange(r.Token(nil)), "trust-expired")
		time.Sleep(100 * time.Millisecond) // the folder is looked at every two seconds; some looks must fall between
	}
	if got := r.Get(r.AdminURL, "/readyz").Text("policy_sha256"); got != sha {
		t.Error("touching changed the policy")
	}
	if n := len(events(t, r, audit.PolicyLoaded)); n != 1 {
		t.Errorf("%d policies were loaded", n)
	}
	r.Restart()
	r.Deny(r.Exchange(r.Token(nil)), "trust-expired") // an expired document still loads
	r.WriteTrusts(map[string]string{"tr1.yaml": document(day.AddDate(0, 0, 30))})
	rig.Eventually(t, "the longer trust", func() bool { return r.Get(r.AdminURL, "/readyz").Text("policy_sha256") != sha })
	r.Control()
	loaded := events(t, r, audit.PolicyLoaded)
	if last := loaded[len(loaded)-1]; last.PolicySHA256 == sha || last.PolicySHA256 == "" {
		t.Errorf("recorded %+v", last)
	}
}

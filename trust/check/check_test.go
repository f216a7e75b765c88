package check_test

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"cambio/gateway"
	"cambio/trust"
	"cambio/trust/check"
	"cambio/trust/strictyaml"
)

// base is a document that draws nothing; each case changes a piece of it.
const base = `name: base
owner: team@acme.example
purpose: main of orders reads orders
from: ci
match:
  repository_owner_id: "9919"
  repository_id: "41881900"
  ref: refs/heads/main
grants:
  - {to: orders-api, scopes: ["orders:read"], ttl: 15m}
`

func edit(tb testing.TB, pairs ...string) string {
	tb.Helper()
	doc := base
	for i := 0; i < len(pairs); i += 2 {
		if !strings.Contains(doc, pairs[i]) {
			tb.Fatalf("the base document has no %q", pairs[i])
		}
		doc = strings.Replace(doc, pairs[i], pairs[i+1], 1)
	}
	return doc
}

// said are the findings as "severity id", errors of the compilation included.
func said(findings strictyaml.Findings) []string {
	out := []string{}
	for _, f := range findings {
		out = append(out, fmt.Sprintf("%s %s", f.Severity, f.ID))
	}
	slices.Sort(out)
	return slices.Compact(out)
}

const (
	when   = "grants:\n"
	ref    = "  ref: refs/heads/main\n"
	grants = "  - {to: orders-api, scopes: [\"orders:read\"], ttl: 15m}\n"
	toProd = "  - {to: orders-prod, scopes: [\"orders:read\"], ttl: 15m}\n"
)

func with(condition string) string { return "when:\n  - '" + condition + "'\ngrants:\n" }

func TestOneDocument(t *testing.T) {
	world := gateway.World(bad(t))
	for _, c := range []struct {
		name string
		edit []string
		want []string
	}{
		{"nothing", nil, nil},

		{"prefix beside the anchor", []string{when, with(`claims.sub.startsWith("repo:octo-org/app")`)}, []string{"warning prefix-without-delimiter", "warning subject-forms"}},
		{"prefix up to a delimiter", []string{when, with(`claims.workflow_ref.startsWith("acme/orders/.github/")`)}, nil},
		{"a version", []string{ref, "  ref: {glob: \"refs/tags/v*\"}\n"}, nil},
		{"prefix of a version", []string{ref, "", when, with(`claims.ref.startsWith("refs/tags/v")`)}, nil},
		{"prefix of the subject", []string{when, with(`identity.subject.startsWith("x:y")`)}, []string{"warning prefix-without-delimiter"}},
		{"prefix of a claim in lower case", []string{when, with(`claims.workflow_ref.lowerAscii().startsWith("acme")`)}, []string{"warning prefix-without-delimiter"}},
		{"prefix of an optional claim", []string{when, with(`claims.?environment.orValue("").startsWith("eu")`)}, []string{"warning prefix-without-delimiter"}},
		{"suffix inside a name", []string{when, with(`claims.environment.endsWith("eu")`)}, []string{"warning prefix-without-delimiter"}},
		{"a prefix that is not to be", []string{when, with(`!claims.environment.startsWith("eu")`)}, nil},
		{"substring", []string{when, with(`claims.workflow_ref.contains("orders/app")`)}, []string{"warning substring-match"}},
		{"substring by a pattern", []string{when, with(`claims.workflow_ref.matches(".*orders/app.*")`)}, []string{"warning substring-match"}},
		{"suffix by a pattern", []string{when, with(`claims.environment.matches(".*eu")`)}, []string{"warning prefix-without-delimiter"}},
		{"a list's member", []string{"from: ci", "from: cluster", "  repository_owner_id: \"9919\"\n  repository_id: \"41881900\"\n" + ref, "  namespace: a\n  service_account: b\n", when, with(`"x" in claims.aud`)}, nil},
		{"dot", []string{when, with(`claims.environment.matches("acme.io")`)}, []string{"warning regex-dot"}},
		{"escaped dot", []string{when, with(`claims.environment.matches("acme[.]io")`)}, nil},

		{"true", []string{when, with(`claims.environment == "x" || true`)}, []string{"warning tautology"}},
		{"not false", []string{when, with(`!(false && claims.environment == "x")`)}, []string{"warning tautology"}},
		{"itself", []string{when, with(`claims.ref == claims.ref`)}, []string{"warning tautology"}},
		{"any text", []string{when, with(`claims.ref.matches("(?s).*")`)}, []string{"warning tautology"}},
		{"any text of a line", []string{when, with(`claims.ref.matches(".*")`)}, nil},
		{"any beginning", []string{when, with(`claims.sub.startsWith("")`)}, []string{"warning tautology"}},
		{"any beginning of what a token may lack", []string{when, with(`claims.environment.startsWith("")`)}, nil},
		{"what a token may lack, with itself", []string{when, with(`claims.environment == claims.environment`)}, nil},
		{"by proof", []string{when, with(`claims.run_attempt == "1" || claims.run_attempt != "1"`)}, []string{"warning tautology"}},
		{"false", []string{when, with(`claims.ref != claims.ref`)}, []string{"warning never-matching"}},
		{"another value than match", []string{when, with(`claims.ref == "refs/heads/x"`)}, []string{"warning never-matching"}},
		{"outside the closed set", []string{when, with(`claims.runner_environment in ["github"]`)}, []string{"warning never-matching"}},
		{"never, by proof", []string{when, with(`claims.run_attempt.startsWith("a-") && claims.run_attempt.startsWith("b-")`)}, []string{"warning never-matching"}},
		{"ruled out by match, by proof", []string{when, with(`claims.ref.startsWith("refs/tags/")`)}, []string{"warning never-matching"}},
		{"two conditions", []string{when, "when: ['claims.environment == \"a\"', 'claims.environment == \"b\"']\ngrants:\n"}, []string{"warning never-matching"}},

		{"a name without its id", []string{"  repository_id: \"41881900\"\n", "  repository: acme/orders\n"}, []string{"warning mutable-claim", "warning shared-identity"}},
		{"a name beside its id", []string{ref, ref + "  repository: acme/orders\n"}, nil},
		{"a part of a name beside its id", []string{when, with(`claims.repository.startsWith("acme/")`)}, []string{"warning mutable-claim"}},
		{"the owner left open", []string{"  repository_owner_id: \"9919\"\n", ""}, []string{"warning transferable-anchor"}},
		{"the repository left open", []string{"  repository_id: \"41881900\"\n", ""}, []string{"warning shared-identity"}},
		{"the actor", []string{ref, ref + "  actor: octocat\n"}, []string{"warning chosen-claim"}},
		{"the head ref", []string{when, with(`claims.head_ref != "x"`)}, []string{"warning chosen-claim"}},
		{"all branches", []string{ref, "  ref: {glob: \"refs/heads/*\"}\n"}, []string{"info chosen-claim"}},
		{"glob inside a name", []string{ref, ref + "  environment: {glob: \"eu*\"}\n"}, []string{"warning glob-crosses-meaning"}},
		{"glob before a name", []string{ref, "  ref: {glob: \"refs/heads/*main\"}\n"}, []string{"warning glob-crosses-meaning"}},
		{"glob of a subject", []string{ref, "  sub: {glob: \"repo:acme@9919/orders@41881900:*\"}\n"}, []string{"warning glob-crosses-meaning", "warning subject-forms"}},
		{"both forms of a subject", []string{ref, "  sub: [\"repo:acme/orders:ref:refs/heads/main\", \"repo:acme@9919/orders@41881900:ref:refs/heads/main\"]\n"}, nil},

		{"a pull request that reads", []string{ref, "  event_name: pull_request\n"}, []string{"info outsider-code"}},
		{"a pull request that writes", []string{ref, "  event_name: [push, pull_request_target]\n", "orders:read", "orders:write"}, []string{"warning outsider-code"}},
		{"a pull request to production", []string{
			ref, "  event_name: pull_request\n  environment: production\n  runner_environment: github-hosted\n", grants, toProd,
		}, []string{"warning outsider-code"}},

		{"production", []string{grants, toProd}, []string{"warning self-hosted-runner"}},
		{"production as it should be", []string{grants, toProd, when, with(`claims.runner_environment == "github-hosted"`)}, nil},
		{"production on own machines", []string{grants, toProd, ref, ref + "  runner_environment: self-hosted\n"}, []string{"info self-hosted-runner"}},
		{"production from any branch", []string{grants, toProd, ref, "  ref: {glob: \"refs/heads/*\"}\n  runner_environment: github-hosted\n"}, []string{"warning production-without-gate"}},
		{"production from a protected ref", []string{grants, toProd, ref, "  ref_protected: \"true\"\n  runner_environment: github-hosted\n"}, nil},
		{"production from an unprotected ref", []string{grants, toProd, ref, "  ref_protected: \"false\"\n  runner_environment: github-hosted\n"}, []string{"warning production-without-gate"}},
		{"production from some environments", []string{grants, toProd, ref, "  environment: {glob: \"prod-*\"}\n  runner_environment: github-hosted\n"}, nil},

		{"a colon written otherwise", []string{ref, ref + "  environment: \"a%3Ab\"\n"}, []string{"warning never-sent"}},
		{"a branch's short name", []string{ref, "  ref: main\n"}, []string{"warning never-sent"}},
		{"a workflow of any ref", []string{ref, "  workflow_ref: {glob: \"acme/orders/.github/workflows/deploy.yml@*\"}\n"}, []string{"warning never-sent"}},
		{"a workflow without ref", []string{ref, "  job_workflow_ref: acme/orders/.github/workflows/deploy.yml\n"}, []string{"warning never-sent"}},
		{"long", []string{grants, "  - {to: account, resource: \"arn:aws:iam::111122223333:role/a\", ttl: 2h}\n"}, []string{"warning ttl-long"}},
		{"a tag that the target refuses", []string{grants, "  - {to: account, resource: \"arn:aws:iam::111122223333:role/a\", source_identity: \"${claims.repository}\"}\n"}, []string{"warning value-unfit"}},
		{"the actor in the log", []string{grants, "  - {to: account, resource: \"arn:aws:iam::111122223333:role/a\", source_identity: \"${claims.actor}\"}\n"}, []string{"info value-chosen"}},
	} {
		t.Run(c.name, func(t *testing.T) {
			files := []trust.Source{{Name: "a.yaml", Data: []byte(edit(t, c.edit...))}}
			found := found(world, files)
			if diff := cmp.Diff(c.want, said(found), cmp.Transformer("none", func(s []string) []string { return append([]string{}, s...) })); diff != "" {
				t.Errorf("%s\n%v", diff, found)
			}
			for _, f := range found {
				if f.Line == 0 || f.Column == 0 || f.File != "a.yaml" || f.Fix == "" || f.Message == "" {
					t.Errorf("says too little: %+v", f)
				}
			}
		})
	}
}

func TestOtherPlatforms(t *testing.T) {
	world := gateway.World(bad(t))
	for _, c := range []struct {
		name, from, match, condition string
		want                         []string
	}{
		{"service account", "cluster", "{namespace: a, service_account: b}", "", nil},
		{"namespace", "cluster", "{namespace: a}", "", []string{"warning shared-identity"}},
		{"service accounts", "cluster", "{namespace: a, service_account: {glob: \"b-*\"}}", "", []string{"warning shared-identity"}},
		{"service account by its number", "cluster", "{namespace: a, service_account_uid: b, service_account: c}", "", nil},
		{"pod", "cluster", "{namespace: a, service_account: b, pod: c}", "", []string{"warning chosen-claim"}},
		{"number", "cloud", "{sub: \"1\"}", "", nil},
		{"address beside the number", "cloud", "{sub: \"1\", email: a@b.example}", "", nil},
		{"end of an address", "cloud", "{sub: \"1\"}", `claims.email.endsWith("@acme.iam.gserviceaccount.com")`, []string{"warning mutable-claim"}},
		{"applying", "runs", "{organization_id: o, workspace_id: w, run_phase: apply}", "", nil},
		{"any phase", "runs", "{organization_id: o, workspace_id: w}", "", []string{"warning run-phase-unpinned"}},
		{"phase by a condition", "runs", "{organization_id: o, workspace_id: w}", `claims.run_phase == "apply"`, nil},
		{"any workspace", "runs", "{organization_id: o, run_phase: apply}", "", []string{"warning shared-identity"}},
	} {
		t.Run(c.name, func(t *testing.T) {
			doc := "name: a\nowner: o\npurpose: p\nfrom: " + c.from + "\nmatch: " + c.match + "\n"
			if c.condition != "" {
				doc += "when: ['" + c.condition + "']\n"
			}
			doc += "grants: [{to: orders-api, scopes: [a]}]\n"
			found := found(world, []trust.Source{{Name: "a.yaml", Data: []byte(doc)}})
			if diff := cmp.Diff(append([]string{}, c.want...), said(found)); diff != "" {
				t.Errorf("%s\n%v", diff, found)
			}
		})
	}
}

func TestGuardrails(t *testing.T) {
	world := gateway.World(bad(t))
	for forbid, want := range map[string][]string{
		`claims.event_name == "pull_request"`:                                   nil,
		`claims.ref.contains("evil")`:                                           nil, // forbids more than it need
		`!claims.workflow_ref.startsWith("acme")`:                               {"warning prefix-without-delimiter"},
		`!claims.workflow_ref.startsWith("acme/")`:                              nil,
		`!(claims.workflow_ref.contains("acme"))`:                               {"warning substring-match"},
		`true || claims.ref == "a"`:                                             {"warning tautology"},
		`claims.ref == "a" && false`:                                            {"warning never-matching"},
		`claims.ref.startsWith("a-") && claims.ref.startsWith("b-")`:            {"warning never-matching"},
		`claims.ref == "a" || claims.ref != "a"`:                                {"warning tautology"},
		`claims.ref.matches("a.b")`:                                             {"warning regex-dot"},
		`grant.ttl > duration("30m") && claims.ref.startsWith("refs/heads/xy")`: nil,
	} {
		doc := "guardrail: g\nowner: o\npurpose: p\nfrom: [ci]\nforbid: '" + forbid + "'\n"
		found := found(world, []trust.Source{{Name: "a.yaml", Data: []byte(doc)}})
		if diff := cmp.Diff(append([]string{}, want...), said(found)); diff != "" {
			t.Errorf("%s: %s\n%v", forbid, diff, found)
		}
	}
}

// TestTogether: what two documents are to each other.
func TestTogether(t *testing.T) {
	world := gateway.World(bad(t))
	for _, c := range []struct {
		name   string
		second []string // edits of base
		want   []string // of both
	}{
		{"another repository", []string{"41881900", "7"}, nil},
		{"another ref", []string{"refs/heads/main", "refs/heads/next"}, nil},
		{"another target", []string{"orders-api", "account-api"}, nil},
		{"the same", nil, []string{"warning shadowed"}},
		{"narrower", []string{ref, ref + "  environment: eu\n"}, []string{"warning shadowed"}},
		{"narrower by a condition", []string{when, with(`claims.environment.matches("eu-[0-9]+")`)}, []string{"warning shadowed"}},
		{"other scopes", []string{"orders:read", "orders:write"}, []string{"warning overlap"}},
		{"wider and shorter", []string{ref, "", "15m", "5m"}, []string{"warning overlap"}},
		{"in mode shadow", []string{"from: ci", "from: ci\nmode: shadow"}, nil},
		{"expired", []string{"from: ci", "from: ci\nexpires: 2026-01-01"}, []string{"warning expired"}},
		{"ends earlier", []string{"from: ci", "from: ci\nexpires: 2027-12-01"}, []string{"warning shadowed"}},
		{"pull requests", []string{ref, ref + "  event_name: pull_request\n"}, []string{"info outsider-code"}},
		{"another event", []string{ref, ref + "  event_name: push\n"}, []string{"warning shadowed"}},
		{"in office hours", []string{when, "access: {hours: \"Mon-Fri 07:00-19:00 Europe/Zurich\"}\ngrants:\n", "orders:read", "orders:write"}, []string{"warning overlap"}},
		{"at another place", []string{when, "access: {networks: [10.0.0.0/8]}\ngrants:\n"}, []string{"warning shadowed"}},
		{"told apart by conditions", []string{ref, "", when, with(`claims.ref.startsWith("refs/tags/") && claims.run_attempt != "0"`)}, nil},
	} {
		t.Run(c.name, func(t *testing.T) {
			world.Targets["account-api"] = world.Targets["orders-api"]
			second := strings.Replace(edit(t, c.second...), "name: base", "name: second", 1)
			found := found(world, []trust.Source{{Name: "a.yaml", Data: []byte(base)}, {Name: "b.yaml", Data: []byte(second)}})
			if diff := cmp.Diff(append([]string{}, c.want...), said(found)); diff != "" {
				t.Errorf("%s\n%v", diff, found)
			}
		})
	}
}

func TestUse(t *testing.T) {
	world := gateway.World(bad(t))
	policy, findings := trust.Compile(world, []trust.Source{{Name: "a.yaml", Data: []byte(base)}}, now())
	if policy == nil {
		t.Fatal(findings)
	}
	days := func(n int) time.Time { return now().Add(-time.Duration(n) * 24 * time.Hour) }
	for _, c := range []struct {
		name    string
		options check.Options
		want    []string
	}{
		{"no journal", check.Options{}, nil},
		{"yesterday", check.Options{LastUsed: map[string]time.Time{"base": days(1)}, Since: days(400)}, nil},
		{"long ago", check.Options{LastUsed: map[string]time.Time{"base": days(91)}, Since: days(400)}, []string{"warning unused"}},
		{"never, in a long journal", check.Options{LastUsed: map[string]time.Time{}, Since: days(91)}, []string{"warning unused"}},
		{"never, in a short one", check.Options{LastUsed: map[string]time.Time{}, Since: days(10)}, nil},
		{"never, in an empty one", check.Options{LastUsed: map[string]time.Time{}}, nil},
		{"of the configuration", check.Options{Config: "cambio.yaml"}, []string{"info unused-provider", "info unused-target"}},
	} {
		c.options.Now = now()
		if diff := cmp.Diff(append([]string{}, c.want...), said(check.Run(policy, c.options))); diff != "" {
			t.Errorf("%s: %s", c.name, diff)
		}
	}
}

// TestEachUnused: one that is named does not hide the next.
func TestEachUnused(t *testing.T) {
	world := gateway.World(bad(t))
	for _, name := range []string{"spare-1", "spare-2"} {
		world.Targets[name] = world.Targets["orders-api"]
	}
	policy, findings := trust.Compile(world, []trust.Source{{Name: "a.yaml", Data: []byte(base)}}, now())
	if policy == nil {
		t.Fatal(findings)
	}
	named := map[string]bool{}
	for _, f := range check.Run(policy, check.Options{Config: "cambio.yaml", Now: now()}) {
		named[f.Field] = true
	}
	if !named["targets.spare-1"] || !named["targets.spare-2"] {
		t.Errorf("named: %v", named)
	}
}

// TestLimits: what a target takes is data of its type.
func TestLimits(t *testing.T) {
	narrow := func(world trust.World, subject string, length, number int) trust.World {
		target := world.Targets["orders-api"]
		target.Type.MaxSubject, target.Type.MaxSubjects = length, number
		target.Settings = map[string]string{"subject": subject}
		world.Targets["orders-api"] = target
		return world
	}
	two := edit(t, `"41881900"`, `["41881900", "41881901"]`)
	const id = len("spiffe://id.acme.example/ci/9919/41881900")
	const name = len("spiffe://id.acme.example/trust/base")
	for _, c := range []struct {
		name           string
		doc, subject   string
		length, number int
		want           []string
	}{
		{"fits", base, "workload", id, 1, nil},
		{"one too long", base, "workload", id - 1, 1, []string{"warning subject-too-long"}},
		{"the trust's fits", base, "trust", name, 1, nil},
		{"the trust's is too long", base, "trust", name - 1, 1, []string{"warning subject-too-long"}},
		{"two fit", two, "workload", 0, 2, nil},
		{"two are too many", two, "workload", 0, 1, []string{"warning subjects-too-many"}},
		{"one trust for two", two, "trust", 0, 1, nil},
		{"open", strings.Replace(base, "  repository_id: \"41881900\"\n", "", 1), "workload", 1, 1, []string{"warning shared-identity"}},
	} {
		world := narrow(gateway.World(bad(t)), c.subject, c.length, c.number)
		found := found(world, []trust.Source{{Name: "a.yaml", Data: []byte(c.doc)}})
		if diff := cmp.Diff(append([]string{}, c.want...), said(found)); diff != "" {
			t.Errorf("%s: %s\n%v", c.name, diff, found)
		}
	}
}

// TestYAMLTraps: what YAML readers disagree about is refused, and says what to
// write.
func TestYAMLTraps(t *testing.T) {
	world := gateway.World(bad(t))
	for _, c := range []struct{ name, from, to, id, fix string }{
		{"on", "from: ci", "from: ci\nrequire_nonce: on", "wrong-type", "write true or false"},
		{"no", "from: ci", "from: ci\nhints: no", "wrong-type", "write true or false"},
		{"a boolean where text is wanted", "refs/heads/main", "true", "type-mismatch", `"true"`},
		{"a number where text is wanted", `"41881900"`, "41881900", "type-mismatch", `"41881900"`},
		{"leading zeros", `"41881900"`, "0041881900", "", `"0041881900"`},
		{"a date where text is wanted", "refs/heads/main", "2026-11-22", "", `"2026-11-22"`},
		{"base sixty", "refs/heads/main", "12:30:45", "", `"12:30:45"`},
		{"a date that is none", "from: ci", "from: ci\nexpires: 2026-11-31", "date", "2027-03-31"},
		{"a bare number of seconds", "15m", "900", "duration", "900s"},
	} {
		_, findings := trust.Compile(world, []trust.Source{{Name: "a.yaml", Data: []byte(edit(t, c.from, c.to))}}, now())
		if !findings.HasErrors() || c.id != "" && findings[0].ID != c.id || !strings.Contains(findings[0].Fix, c.fix) {
			t.Errorf("%s: %v", c.name, findings)
		}
	}
}

// TestDeterministic: what a crowd of like documents draws does not depend on the
// order of the workers, and is bounded.
func TestDeterministic(t *testing.T) {
	world := gateway.World(bad(t))
	var files []trust.Source
	for i := range 200 {
		doc := strings.Replace(edit(t, "  repository_id: \"41881900\"\n", "", when, with(fmt.Sprintf(`claims.run_number != "%d"`, i))), "name: base", fmt.Sprintf("name: base-%d", i), 1)
		files = append(files, trust.Source{Name: fmt.Sprintf("%03d.yaml", i), Data: []byte(doc)})
	}
	policy, findings := trust.Compile(world, files, now())
	if policy == nil {
		t.Fatal(findings)
	}
	first := check.Run(policy, check.Options{Now: now()})
	if !slices.Contains(said(first), "warning overlap") {
		t.Errorf("the crowd draws %v", said(first))
	}
	if diff := cmp.Diff(first, check.Run(policy, check.Options{Now: now()})); diff != "" {
		t.Error(diff)
	}
}

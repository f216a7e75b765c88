package tighten_test

import (
	"fmt"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"cambio/trust"
	"cambio/trust/backtest"
	"cambio/trust/tighten"
)

// monday is where the records begin.
func monday() time.Time { return time.Date(2027, 1, 4, 8, 0, 0, 0, time.UTC) }

func world() trust.World {
	text := trust.Claim{Type: trust.StringClaim, Always: true}
	platform := trust.Platform{
		Name: "forge",
		Claims: map[string]trust.Claim{
			"repository_id": text, "owner_id": text, "repository": {Type: trust.StringClaim, Always: true, PinnedBy: "repository_id"},
			"ref": text, "environment": {Type: trust.StringClaim}, "attempt": {Type: trust.IntClaim, Always: true}, "actor": {Type: trust.StringClaim},
			"sub": text, "kind": {Type: trust.StringClaim},
		},
		Anchors: []string{"repository_id", "owner_id"}, Gates: []string{"environment"},
	}
	// Where a copy is refused unless it says of what, or match names kind.
	copies := platform
	copies.Implied = map[string]string{"kind": `claims.?kind.orValue("") != "copy" || has(claims.environment)`}
	api := trust.TargetType{Name: "api", MaxTTL: time.Hour, Fields: map[string]trust.Field{
		"resource": {Type: trust.StringField, Narrows: trust.Equal}, "scopes": {Type: trust.StringsField, Narrows: trust.Subset},
		"ttl": {Type: trust.DurationField, Narrows: trust.Max},
	}}
	return trust.World{
		Providers: map[string]trust.Provider{"ci": {
			Platform: platform, TokenUse: trust.Once, Journal: []string{"repository_id", "owner_id", "repository", "ref", "environment", "attempt"},
		}, "copies": {
			Platform: copies, TokenUse: trust.Once, Journal: []string{"repository_id", "owner_id", "repository", "ref", "environment", "attempt", "kind"},
		}},
		Targets: map[string]trust.Target{"api": {Type: api, MaxTTL: time.Hour}, "other": {Type: api, MaxTTL: time.Hour}},
	}
}

func compile(tb testing.TB, docs ...string) (*trust.Policy, []trust.Source) {
	tb.Helper()
	var sources []trust.Source
	for i, d := range docs {
		sources = append(sources, trust.Source{Name: fmt.Sprintf("trust/t%d.yaml", i), Data: []byte(d)})
	}
	p, findings := trust.Compile(world(), sources, monday())
	if findings.HasErrors() {
		tb.Fatalf("%v\n%s", findings, strings.Join(docs, "---\n"))
	}
	return p, sources
}

const wide = `# who may read
name: reader
owner: team@acme.example # ask there
purpose: Reads
from: ci
match:
  owner_id: "1"
  ref: {glob: "refs/heads/*"} # narrow me
  repository: [acme/a, acme/b]
access:
  networks: [10.0.0.0/8, 192.168.0.0/16]
  hours: "Mon-Sun 00:00-24:00 UTC"
grants:
  # the first
  - to: api
    scopes: [read, list, write] # what it may
    ttl: 30m
  - to: other
    resource: "a:b"
  # the end
`

const narrow = `# who may read
name: reader
owner: team@acme.example # ask there
purpose: Reads
from: ci
match:
  owner_id: "1"
  ref: [refs/heads/main, refs/heads/rel] # narrow me
  repository: [acme/a]
  repository_id: "7"
access:
  networks: [10.1.2.3/32, 10.1.2.4/32]
  hours: "Mon-Fri 08:00-10:00 UTC"
grants:
  # the first
  - to: api
    scopes: [read, list] # what it may
    ttl: 10m
  # the end
`

// used are decisions of the wide document: on weekdays, by two machines, for two
// branches.
func used(n int) []backtest.Record {
	var out []backtest.Record
	for i := range n {
		at := monday().AddDate(0, 0, i/5*7+i%5).Add(time.Duration(i%2) * time.Hour)
		out = append(out, backtest.Record{
			Decision: fmt.Sprintf("d%03d", i), Time: at, Allowed: true, Provider: "ci", Workload: "w", Subject: "s", Trust: "reader", Target: "api",
			Scopes: []string{"read", "list"}[:1+i%2], TTL: 10 * time.Minute, Address: netip.AddrFrom4([4]byte{10, 1, 2, byte(3 + i%2)}), NonceKnown: true,
			Claims: map[string]any{"repository_id": "7", "owner_id": "1", "repository": "acme/a", "ref": []string{"refs/heads/main", "refs/heads/rel"}[i%2], "attempt": int64(i)},
		})
	}
	return out
}

func options() tighten.Options { return tighten.Options{Decisions: 5, Span: 7 * 24 * time.Hour} }

// study learns from records with two workers, and checks what it proposes.
func study(tb testing.TB, o tighten.Options, records []backtest.Record, docs ...string) tighten.Report {
	tb.Helper()
	p, sources := compile(tb, docs...)
	judge := backtest.NewJudge(p, backtest.Options{})
	s := tighten.NewStudy(p, judge, nil)
	workers := []*tighten.Worker{s.Worker(), s.Worker()}
	for i := range records {
		workers[i%2].Add(&records[i])
	}
	report := s.Propose(sources, o)
	narrowed := append([]trust.Source{}, sources...)
	for _, proposal := range report.Proposals {
		for i := range narrowed {
			if narrowed[i].Name == proposal.File {
				narrowed[i].Data = proposal.Document
			}
		}
	}
	after, findings := trust.Compile(world(), narrowed, monday())
	if findings.HasErrors() {
		tb.Fatal(findings)
	}
	check := tighten.NewCheck(judge, backtest.NewJudge(after, backtest.Options{}))
	for i := range records {
		check.Add(&records[i])
	}
	left := len(report.Left)
	if check.Withdraw(&report); len(report.Left) > left {
		tb.Fatalf("a proposal denies: %v\n%s", report.Left, strings.Join(docs, "---\n"))
	}
	return report
}

func TestTighten(t *testing.T) {
	t.Parallel()
	report := study(t, options(), used(60), wide)
	if len(report.Proposals) != 1 {
		t.Fatalf("%+v", report)
	}
	p := report.Proposals[0]
	if diff := cmp.Diff(narrow, string(p.Document)); diff != "" {
		t.Error(diff)
	}
	for _, c := range p.Changes {
		if c.Evidence == "" || c.From == "" && c.To == "" {
			t.Errorf("%+v", c)
		}
	}
	if p.Decisions != 60 || p.Days != 60 {
		t.Errorf("%d decisions on %d days", p.Decisions, p.Days)
	}
}

// TestImplied: a list in the place of a glob would take away what the platform
// refuses by itself, so that the document would be the wider for it.
func TestImplied(t *testing.T) {
	t.Parallel()
	records := used(60)
	for i := range records {
		records[i].Provider = "copies"
		records[i].Claims["kind"], records[i].Claims["environment"] = []string{"push", "copy"}[i%2], "prod"
	}
	for name, c := range map[string]struct{ kind, want string }{
		"a glob":         {`{glob: "*"}`, `{glob: "*"}`},
		"a list already": {"[push, copy, other]", "[push, copy]"},
	} {
		doc := strings.NewReplacer("from: ci", "from: copies", "match:\n", "match:\n  kind: "+c.kind+"\n").Replace(wide)
		p := study(t, options(), records, doc).Proposals[0]
		if !strings.Contains(string(p.Document), "  kind: "+c.want+"\n") {
			t.Errorf("%s: %s", name, p.Patch)
		}
	}
}

// TestRemarksInBrackets: what is written anew would lose a comment, and what is
// added behind one would be part of it, a pin that the evidence tells of and that
// is none.
func TestRemarksInBrackets(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct{ old, doc, kept string }{
		"a map":  {"match:\n  owner_id: \"1\"\n", "match: {owner_id: \"1\", repository: acme/a, ref: {glob: \"refs/heads/*\"}, # last\n}\n", "# last\n}\n"},
		"a list": {"  repository: [acme/a, acme/b]\n", "  repository: [acme/a, # never alone\n    acme/b]\n", "[acme/a, # never alone\n    acme/b]\n"},
		"no gap": {"  repository: [acme/a, acme/b]\n", "  repository: [acme/a,\t# never alone\n    acme/b]\n", "[acme/a,\t# never alone\n    acme/b]\n"},
	} {
		doc := strings.Replace(wide, c.old, c.doc, 1)
		if name == "a map" {
			doc = strings.Replace(doc, "  ref: {glob: \"refs/heads/*\"} # narrow me\n  repository: [acme/a, acme/b]\n", "", 1)
		}
		for _, p := range study(t, options(), used(60), doc).Proposals {
			if !strings.Contains(string(p.Document), c.kept) {
				t.Errorf("%s: %s", name, p.Patch)
			}
			for _, change := range p.Changes {
				if change.To != "" && strings.HasPrefix(change.Field, "match.") && !strings.Contains(string(p.Document), change.To) {
					t.Errorf("%s: it says %+v, and wrote\n%s", name, change, p.Document)
				}
			}
			if name == "a map" && slices.ContainsFunc(p.Changes, func(c tighten.Change) bool { return c.Field == "match.repository_id" }) {
				t.Errorf("%s: it says that it pins a claim: %s", name, p.Patch)
			}
		}
	}
}

// TestPatchApplies holds that patch(1) makes of the old file the new one.
func TestPatchApplies(t *testing.T) {
	t.Parallel()
	p := study(t, options(), used(60), wide).Proposals[0]
	dir := t.TempDir()
	if err := os.Mkdir(filepath.Join(dir, "trust"), 0o700); err != nil {
		t.Fatal(err)
	}
	file := filepath.Join(dir, "trust", "t0.yaml")
	if err := os.WriteFile(file, []byte(wide), 0o600); err != nil {
		t.Fatal(err)
	}
	for _, program := range []string{"git", "patch"} {
		path, err := exec.LookPath(program)
		if err != nil {
			continue
		}
		args := map[string][]string{"git": {"apply", "-p1", "-"}, "patch": {"-p1"}}[program]
		cmd := exec.CommandContext(t.Context(), path, args...)
		cmd.Dir, cmd.Stdin = dir, strings.NewReader("# evidence\n"+p.Patch)
		if out, err := cmd.CombinedOutput(); err != nil {
			t.Fatalf("%s: %v: %s\n%s", program, err, out, p.Patch)
		}
		got, err := os.ReadFile(file)
		if err != nil || string(got) != narrow {
			t.Errorf("%s: %v\n%s", program, err, got)
		}
		return
	}
	t.Fatal("neither git nor patch is here")
}

func TestLeftAlone(t *testing.T) {
	t.Parallel()
	few := used(4)
	short := used(5)
	for i := range short {
		short[i].Time = monday().Add(time.Duration(i) * time.Hour)
	}
	foreign := used(60)
	for i := range foreign {
		delete(foreign[i].Claims, "attempt") // kept by another list: nothing that is missing is known
		delete(foreign[i].Claims, "repository")
	}
	for name, c := range map[string]struct {
		records []backtest.Record
		why     string
	}{
		"few":    {few, "fewer than 5"},
		"short":  {short, "less than 7d"},
		"claims": {foreign, "cannot be judged again: repository not recorded"},
	} {
		report := study(t, options(), c.records, wide)
		if len(report.Proposals) != 0 || len(report.Left) != 1 || !strings.Contains(report.Left[0].Why, c.why) {
			t.Errorf("%s: %+v", name, report)
		}
	}
	if report := study(t, options(), nil, wide); len(report.Unused) != 1 || report.Unused[0] != "reader" {
		t.Errorf("unused: %+v", report)
	}
}

// TestNewStaysOpen holds that what the second half of the time brought first is
// no reason to narrow.
func TestNewStaysOpen(t *testing.T) {
	t.Parallel()
	records := used(60)
	records[50].Claims["ref"] = "refs/heads/new"
	records[50].Address = netip.MustParseAddr("10.9.9.9")
	records[50].Time = records[50].Time.Add(6 * time.Hour)
	report := study(t, options(), records, wide)
	doc := string(report.Proposals[0].Document)
	for _, line := range []string{`ref: {glob: "refs/heads/*"} # narrow me`, "networks: [10.0.0.0/8]\n", `hours: "Mon-Sun 00:00-24:00 UTC"`} {
		if !strings.Contains(doc, line) {
			t.Errorf("lacks %s:\n%s", line, doc)
		}
	}
	if len(report.Proposals[0].Kept) == 0 {
		t.Error("it does not say why")
	}
}

func TestAdded(t *testing.T) {
	t.Parallel()
	o := options()
	o.Networks, o.Hours = true, true
	doc := "name: reader\nowner: o\npurpose: p\nfrom: ci\nmatch: {owner_id: \"1\"}\ngrants: [{to: api, scopes: [read, list]}, {to: other}]\n"
	got := string(study(t, o, used(60), doc).Proposals[0].Document)
	want := "name: reader\nowner: o\npurpose: p\nfrom: ci\nmatch: {owner_id: \"1\", repository_id: \"7\"}\n" +
		"access:\n  networks: [10.1.2.3/32, 10.1.2.4/32]\n  hours: \"Mon-Fri 08:00-10:00 UTC\"\ngrants: [{to: api, scopes: [read, list]}]\n"
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
}

// dice is a small deterministic generator (Knuth's MMIX), so that a failure
// comes again.
type dice struct{ state uint64 }

func (d *dice) IntN(n int) int {
	d.state = d.state*6364136223846793005 + 1442695040888963407
	return int((d.state >> 33) % uint64(n))
}

// TestNothingIsLost holds, for random documents and records, that a proposal
// allows each decision that its document allows, and that the study learns
// something.
func TestNothingIsLost(t *testing.T) {
	t.Parallel()
	r := &dice{state: 3}
	pick := func(options ...string) string { return options[r.IntN(len(options))] }
	proposed := 0
	for range 80 {
		doc := strings.Join([]string{
			"name: reader", "owner: o", "purpose: p", "from: ci",
			pick("match:\n  owner_id: \"1\"", "match:\n  owner_id:\n    - \"1\"\n    # two\n    - \"2\"") +
				pick("", "\n  ref: {glob: \"refs/*/*\"}", "\n  ref:\n    - refs/heads/main\n    - {glob: \"refs/heads/r*\"}\n    - refs/heads/z", "\n  ref: ['refs/heads/main', {glob: \"refs/heads/*\"}]") +
				pick("", "\n  attempt: [0, 1, 2]"),
			pick("# none", "access: {networks: [10.0.0.0/8], hours: [\"Mon-Fri 06:00-20:00 Europe/Zurich\", \"Sat-Sun 00:00-24:00 UTC\"]}", "access:\n  networks:\n    - 10.0.0.0/8\n    - 192.168.0.0/16", "access: {hours: \"Mon-Sun 00:00-24:00 Asia/Kolkata\"}"),
			pick("grants: [{to: api, scopes: [read, list], ttl: 20m}, {to: other}]", "grants:\n  - to: api\n    scopes:\n      - read\n      - list\n      - write\n  - {to: other, resource: \"a:b\"}\n", "grants:\n  - {to: other}\n  - {scopes: [read, list], to: api}"),
		}, "\n") + "\n"
		var records []backtest.Record
		for i := range 20 + r.IntN(60) {
			one := used(i + 1)[i]
			one.Time = monday().Add(time.Duration(r.IntN(60*24*60)) * time.Minute)
			one.Claims["ref"] = pick("refs/heads/main", "refs/heads/main", "refs/heads/rel", "refs/tags/v1")
			one.Claims["owner_id"] = pick("1", "1", "2")
			one.Claims["attempt"] = int64(r.IntN(3))
			one.Address = netip.AddrFrom4([4]byte{10, byte(r.IntN(2)), byte(r.IntN(3)), byte(r.IntN(9))})
			one.TTL = time.Duration(1+r.IntN(15)) * time.Minute
			if r.IntN(4) == 0 {
				one.Target, one.Scopes = "other", nil
			}
			records = append(records, one)
		}
		o := options()
		o.Networks, o.Hours = r.IntN(2) == 0, r.IntN(2) == 0
		proposed += len(study(t, o, records, doc).Proposals)
	}
	if proposed < 40 {
		t.Errorf("only %d of 80 were narrowed: this tests little", proposed)
	}
}

// FuzzTighten holds that a proposal for any document that loads is one that loads,
// and denies nothing of what the document allows.
func FuzzTighten(f *testing.F) {
	f.Add(wide)
	f.Add(narrow)
	f.Add(strings.ReplaceAll(wide, "\n", "\r\n"))
	f.Add("\ufeff" + wide)
	f.Add(strings.Replace(wide, `"1"`, "'1'", 1))
	f.Add(strings.Replace(wide, `{glob: "refs/heads/*"}`, "\n    glob: refs/heads/*", 1))
	records := used(60)
	f.Fuzz(func(t *testing.T, doc string) {
		p, _ := trust.Compile(world(), []trust.Source{{Name: "t0.yaml", Data: []byte(doc)}}, monday())
		if p == nil || p.Trusts() != 1 {
			return
		}
		for i := range records {
			records[i].Trust = p.Names()[0]
		}
		o := options()
		o.Networks, o.Hours = true, true
		study(t, o, records, doc)
	})
}

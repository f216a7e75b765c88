package draft_test

import (
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"cambio/providers/internal/draft"
	"cambio/trust"
)

func sample() draft.Document {
	return draft.Document{
		Head: []string{"What to review."}, Name: "deploy", Owner: "team@acme.test", Purpose: "Deploys from main: always", From: "ci",
		Match: []draft.Line{
			{Claim: "id", Values: []draft.Value{{Text: "1"}}, Comment: "acme/app"},
			{Claim: "ref", Values: []draft.Value{{Text: "refs/heads/main"}, {Text: "refs/tags/*", Glob: true}}},
		},
		When: []draft.Condition{{CEL: `!("env" in claims)`, Comment: "only without"}},
		To:   "api", Resource: "arn:x", GrantHints: []string{"ttl: 15m"},
		Tests: []draft.Test{
			{Name: "main may", Allow: true},
			{Name: "else may not", Claims: []draft.Claim{{Name: "ref", Value: "refs/heads/x"}, {Name: "env", Absent: true}}},
		},
	}
}

func world() trust.World {
	text := trust.Claim{Type: trust.StringClaim}
	return trust.World{
		Providers: map[string]trust.Provider{"ci": {TokenUse: trust.Once, Platform: trust.Platform{
			Name: "ci", Claims: map[string]trust.Claim{"id": text, "ref": text, "env": text}, Anchors: []string{"id"},
			Sample: map[string]any{"sub": "s"},
		}}},
		Targets: map[string]trust.Target{"api": {MaxTTL: time.Hour, Type: trust.TargetType{
			Name: "api", Fields: map[string]trust.Field{"resource": {Type: trust.StringField, Narrows: trust.Equal}},
		}}},
	}
}

const want = `# What to review.
name: deploy
owner: team@acme.test
purpose: "Deploys from main: always"
from: ci
match:
  # acme/app
  id: "1"
  ref: [refs/heads/main, {glob: "refs/tags/*"}]
when:
  # only without
  - '!("env" in claims)'
grants:
  - to: api
    resource: "arn:x"
    # ttl: 15m
tests:
  - {name: main may, claims: {}, ask: {to: api, resource: "arn:x"}, expect: allow}
  - {name: else may not, claims: {ref: refs/heads/x, env: null}, ask: {to: api, resource: "arn:x", trust: deploy}, expect: deny}
`

func compile(t *testing.T, doc []byte) *trust.Policy {
	t.Helper()
	now := time.Date(2026, 11, 22, 12, 0, 0, 0, time.UTC)
	policy, findings := trust.Compile(world(), []trust.Source{{Name: "draft.yaml", Data: doc}}, now)
	for _, f := range findings {
		if f.ID != trust.FindingStarIsLiteral {
			t.Errorf("%s\n%s", f, doc)
		}
	}
	if policy == nil {
		t.FailNow()
	}
	for _, r := range policy.Test(now) {
		if !r.OK {
			t.Errorf("test %q: %s", r.Name, r.Because)
		}
	}
	return policy
}

func TestDocument(t *testing.T) {
	got, err := sample().YAML()
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(want, string(got)); diff != "" {
		t.Error(diff)
	}
	compile(t, got)
}

func TestShadow(t *testing.T) {
	d := sample()
	d.Shadow, d.Tests = true, nil
	got, err := d.YAML()
	if err != nil {
		t.Fatal(err)
	}
	if granted := compile(t, got).Granted("api"); !granted[0].Shadow {
		t.Errorf("not in mode shadow:\n%s", got)
	}
}

func TestValuesThatCannotBeWritten(t *testing.T) {
	for name, change := range map[string]func(*draft.Document){
		"a line end":         func(d *draft.Document) { d.Match[0].Values[0].Text = "1\nmode: enforce" },
		"empty":              func(d *draft.Document) { d.Match[0].Values[0].Text = "" },
		"none":               func(d *draft.Document) { d.Match[0].Values = nil },
		"another alphabet":   func(d *draft.Document) { d.Owner = "tеam" },
		"invisible":          func(d *draft.Document) { d.Resource = "a\u200bb" },
		"no text":            func(d *draft.Document) { d.To = "a\xffb" },
		"a name of a claim":  func(d *draft.Document) { d.Match[0].Claim = "a\rb" },
		"a value of a test":  func(d *draft.Document) { d.Tests[1].Claims[0].Value = "\x1b[2J" },
		"longer than a page": func(d *draft.Document) { d.Purpose = strings.Repeat("x", 1025) },
	} {
		t.Run(name, func(t *testing.T) {
			d := sample()
			change(&d)
			if got, err := d.YAML(); err == nil {
				t.Errorf("written all the same:\n%s", got)
			}
		})
	}
}

func TestName(t *testing.T) {
	for in, want := range map[string]string{
		"Acme/Payments.API": "acme-payments-api", "--": "workload", "": "workload", "x" + strings.Repeat("y", 80): "x" + strings.Repeat("y", 62),
	} {
		if got := draft.Name(in); got != want {
			t.Errorf("Name(%q) = %q, want %q", in, got, want)
		}
	}
}

// FuzzDocument holds every document to what was put into it: no value becomes
// another field, another line, or another value.
func FuzzDocument(f *testing.F) {
	for _, s := range []string{"1", "true", "~", "x: y", `" # `, "{a: b}", "&a *b", "!t", "- x", "a\nb", "null", "0x1F", "1e3", "2026-11-22", "'", "%", "|", "@a", "a  b", " ", "\\u0041"} {
		f.Add(s, s)
	}
	f.Fuzz(func(t *testing.T, value, comment string) {
		d := sample()
		d.When, d.Tests = nil, nil
		d.Head, d.GrantHints = []string{comment}, []string{comment}
		d.Match[0].Values[0].Text, d.Match[0].Comment, d.Resource = value, comment, value
		got, err := d.YAML()
		if err != nil {
			return
		}
		granted := compile(t, got).Granted("api")
		if len(granted) != 1 || granted[0].Resource != value || granted[0].Pins["/id"][0] != value || granted[0].Trust != "deploy" {
			t.Errorf("%q became %+v in\n%s", value, granted, got)
		}
	})
}

func TestNotes(t *testing.T) {
	n := draft.Notes{File: "role.json"}
	n.Warn("Statement[0]", "import-x", "a "+draft.Show("\x1b[2Jé"), "do")
	if got := n.Findings[0].String(); got != "role.json: warning: Statement[0]: a '?[2J?'; do [import-x]" {
		t.Error(got)
	}
	for i := range 500 {
		n.Error("", "import-x", strings.Repeat("y", i%250), "")
	}
	if len(n.Findings) != 200 {
		t.Errorf("%d findings", len(n.Findings))
	}
}

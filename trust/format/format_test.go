package format_test

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"cambio/trust/format"
	"cambio/trust/strictyaml"
)

const header = "# yaml-language-server: $schema=trust.schema.json\n"

func TestDocument(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct{ file, in, want string }{
		"order": {"a.yaml", `grants:
- {scopes: [a], to: t1}
- to: t2
  policy_arns: []
  ttl: 5m
  resource: r
match: {ref: main, repository_id: "2"}
tests:
- {expect: deny, reason: guardrail, ask: {resource: r, to: t1}, name: x}
purpose: p
hints: false
from: ci
access: {hours: "Mon 07:00-08:00 UTC", networks: [10.0.0.0/8]}
extra: 1
name: a
owner: o
`, `name: a
owner: o
purpose: p
from: ci
match: {ref: main, repository_id: "2"}
access: {networks: [10.0.0.0/8], hours: "Mon 07:00-08:00 UTC"}
hints: false
grants:
  - {to: t1, scopes: [a]}
  - to: t2
    resource: r
    ttl: 5m
    policy_arns: []
tests:
  - {name: x, ask: {to: t1, resource: r}, expect: deny, reason: guardrail}
extra: 1
`},
		"a guardrail":        {"g.yaml", "forbid: 'x == \"y\"'\nfrom: [b, a]\npurpose: p\nowner: o\nguardrail: g\n", "guardrail: g\nowner: o\npurpose: p\nfrom: [b, a]\nforbid: 'x == \"y\"'\n"},
		"an invariant":       {"g.yaml", "never: 'false'\nowner: o\ninvariant: g\n", "invariant: g\nowner: o\nnever: \"false\"\n"},
		"a file of tests":    {"a_test.yaml", "tests:\n    - expect: allow\n      at: 2027-01-01T00:00:00Z\n      name: x\n      ask: {to: t}\ntrust: a\n", "trust: a\ntests:\n  - name: x\n    at: 2027-01-01T00:00:00Z\n    ask: {to: t}\n    expect: allow\n"},
		"quotes":             {"a.yaml", "a: 'x'\nb: 'it''s'\nc: \"say \\\"x\\\"\"\nd: on\n\"e\": \"\\ta\\nb\"\nf: 'x\\y'\ng: No\non: 1\n", "a: \"x\"\nb: \"it's\"\nc: 'say \"x\"'\nd: \"on\"\n\"e\": \"\\ta\\nb\"\nf: 'x\\y'\ng: \"No\"\n\"on\": 1\n"},
		"ids":                {"a.yaml", "match:\n  repository_id: x1\n  owner_id: [a, '2']\n  pod_uid:\n    - u\n  ref: main\ntests:\n  - {name: x, claims: {repository_id: y1, ref: z}}\n", "match:\n  repository_id: \"x1\"\n  owner_id: [\"a\", \"2\"]\n  pod_uid:\n    - \"u\"\n  ref: main\ntests:\n  - {name: x, claims: {repository_id: \"y1\", ref: z}}\n"},
		"comments":           {"a.yaml", "# top\n\n# of name\nname: a # behind\n\n\n# of match\nmatch: # beside\n    # of ref\n    ref: x\n    # end of match\n# of grants\ngrants:\n# of the first\n- to: t # t\n  # end of the first\n# end\n", "# top\n\n# of name\nname: a # behind\n\n# of match\nmatch: # beside\n  # of ref\n  ref: x\n  # end of match\n# of grants\ngrants:\n  # of the first\n  - to: t # t\n    # end of the first\n# end\n"},
		"comments move":      {"a.yaml", "# top\n\n# of owner\nowner: o\n# of name\nname: a\n", "# top\n\n# of owner\n# of name\nname: a\nowner: o\n"},
		"comments of a dash": {"a.yaml", "grants:\n  - # of the first\n    scopes: [a]\n    # of to\n    to: t\n", "grants:\n  # of the first\n  # of to\n  - to: t\n    scopes: [a]\n"},
		"brackets":           {"a.yaml", "a: {x: 1,\n  z: [1,2]}\nb: [\n  # first\n  a, # a\n  {b: c}, # b\n  # last\n] # end\nc: {\n}\nd: [ ]\ne: [a: b]\n", "a:\n  x: 1\n  z: [1, 2]\nb: # end\n  # first\n  - a # a\n  - {b: c} # b\n  # last\nc: {}\nd: []\ne: [{a: b}]\n"},
		"the root":           {"a.yaml", "{name: a, # x\n match: {ref: b}} # z\n", "name: a # x\nmatch: {ref: b} # z\n"},
		"nothing":            {"a.yaml", "a:\nb: null\nc: ~\nd: [null, ~]\ne:\n  -\n  - x\nf: {a, b: }\n", "a:\nb: null\nc: ~\nd: [null, ~]\ne:\n  - null\n  - x\nf: {a: null, b: null}\n"},
		"folded":             {"a.yaml", "a: one\n  two\nb: \"one\n\n  two\"\nc: one,\n  two # x\n", "a: one two\nb: \"one\\ntwo\"\nc: \"one, two\" # x\n"},
		"blocks": {"a.yaml", "a: | # about a\n     one\n       two\n\n     # three\n  # four\nb: >-\n one\n two\n\nc:\n- |2\n    in\n  out\n\n- |+\n x\n\n\n- z\n- |\n x", `a: | # about a
  one
    two

  # three
# four
b: >-
  one
  two

c:
  - |2
      in
    out

  - |+
    x


  - z
  - |-
    x
`},
		"lists of lists":  {"a.yaml", "a:\n- - # x\n    b\n  - c\n- - - d\n", "a:\n  # x\n  - - b\n    - c\n  - - - d\n"},
		"no Unix":         {"a.yaml", "\ufeffb: |\r\n  x\r\n  y\r\na: 'z' # c\r\n", "b: |\n  x\n  y\na: \"z\" # c\n"},
		"a marker":        {"a.yaml", "# top\n--- # x\na: b\n... # y\n# z\n", "# top\n# x\na: b\n# y\n# z\n"},
		"other letters":   {"a.yaml", "é: \"ü\" # ö\nß: {ü: 'é', a: 'b#c'} # d\n", "é: \"ü\" # ö\nß: {ü: \"é\", a: \"b#c\"} # d\n"},
		"no comment":      {"a.yaml", "a: b#c\nb: \"# d\"\nc: '# e'\nd: |\n  # f\n  \"\n", "a: b#c\nb: \"# d\"\nc: \"# e\"\nd: |\n  # f\n  \"\n"},
		"asked for":       {"a.yaml", "? a\n: b\n? c\n", "a: b\nc:\n"},
		"as documents do": {"a.yaml", "a: claims.x == \"y\" && !claims.z\n/b.io/c: d\ne: 2027-03-31\nf: 0755\n", "a: claims.x == \"y\" && !claims.z\n/b.io/c: d\ne: 2027-03-31\nf: 0755\n"},
	} {
		got, err := format.Document(c.file, []byte(c.in), "")
		if err != nil {
			t.Errorf("%s: %v", name, err)
			continue
		}
		if diff := cmp.Diff(c.want, string(got)); diff != "" {
			t.Errorf("%s (-want +got):\n%s", name, diff)
		}
		again, err := format.Document(c.file, got, "")
		if err != nil || string(again) != string(got) {
			t.Errorf("%s: not the same a second time: %v\n%s", name, err, cmp.Diff(string(got), string(again)))
		}
	}
}

func TestHeader(t *testing.T) {
	t.Parallel()
	line := format.Header("trust.schema.json")
	for in, want := range map[string]string{
		"name: a\n":                                       header + "name: a\n",
		"\n\nname: a\n":                                   header + "name: a\n",
		"# about\nname: a\n":                              header + "# about\nname: a\n",
		"\n# about\n\nname: a\n":                          header + "# about\n\nname: a\n",
		header + "name: a\n":                              header + "name: a\n",
		header + "\nname: a\n":                            header + "name: a\n",
		header + "\n# about\nname: a\n":                   header + "\n# about\nname: a\n",
		"# about\n" + header + "owner: b\nname: a\n":      header + "# about\nname: a\nowner: b\n",
		"# yaml-language-server: $schema=mine\nname: a\n": "# yaml-language-server: $schema=mine\nname: a\n",
	} {
		got, err := format.Document("a.yaml", []byte(in), line)
		if err != nil || string(got) != want {
			t.Errorf("%q: %v %s", in, err, cmp.Diff(want, string(got)))
		}
		again, err := format.Document("a.yaml", got, line)
		if err != nil || string(again) != string(got) {
			t.Errorf("%q: a second time: %v %s", in, err, again)
		}
	}
}

// TestRefused: what the reader of documents refuses is not written.
func TestRefused(t *testing.T) {
	t.Parallel()
	for _, in := range []string{"", "- a\n", "a: &x b\n", "a: b\na: c\n", "a: b\n---\nc: d\n", "a: !!str b\n", "a: [b\n", "\ta: b\n", "a: \u200bb\n"} {
		got, err := format.Document("a.yaml", []byte(in), "")
		var findings strictyaml.Findings
		if got != nil || !errors.As(err, &findings) || !findings.HasErrors() {
			t.Errorf("%q: %q %v", in, got, err)
		}
	}
}

// seeds are documents of the repository.
func seeds(tb testing.TB) []string {
	tb.Helper()
	var out []string
	for _, dir := range []string{"../../examples", "../../deploy", "../testdata"} {
		err := filepath.WalkDir(dir, func(path string, d os.DirEntry, err error) error {
			if err == nil && filepath.Ext(path) == ".yaml" && !strings.Contains(path, "helm") {
				content, err := os.ReadFile(path)
				out = append(out, string(content))
				return err
			}
			return err
		})
		if err != nil {
			tb.Fatal(err)
		}
	}
	return out
}

func FuzzDocument(f *testing.F) {
	for _, s := range seeds(f) {
		f.Add(s)
	}
	for _, s := range []string{
		"a: {x: 1,\n  y: [1,2]}\nb: [\n  # first\n  a, # a\n  {b: c}, # b\n  # last\n] # end\n", "a:\n- - # x\n    b\n  - c\n- - - d\n",
		"c:\n- |2\n    in\n  out\n\n- |+\n x\n\n\n- y\n- |\n x", "? a\n: b\n? |\n  c\n: >\n  d\n\n   e\n  f\n", "# x\n\n{a: b, # c\n # d\n} # e\n# f",
		"match:\n  x_id: y\n  on: no\n", "tests:\n- # a\n  ask: {to: t} # b\n  # c\n  name: x\n\n# d\n  # e\nname: z\n", "a: b\n # c\n  # d\ne:\n  f: # g\n# h\n    i\n",
		"[: ]\n", "a: [b: c, d]\n", "a: \"\\\"x\n  y\" # z\n", "a: 'x''\n\n y' # z\n", "a: |\n \t\n x\n", "a: >+\n\n  \n x\n\nb: c\n",
	} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, in string) {
		root, findings := strictyaml.Parse("a.yaml", []byte(in))
		got, err := format.Document("a.yaml", []byte(in), format.Header("x"))
		if (err != nil) != findings.HasErrors() {
			t.Fatalf("%v\n%v\n%q", err, findings, in)
		}
		if err != nil {
			return
		}
		again, err := format.Document("a.yaml", got, format.Header("x"))
		if err != nil || string(again) != string(got) {
			t.Fatalf("not the same a second time: %v\n%q\n%q\n%q", err, in, got, again)
		}
		back, findings := strictyaml.Parse("a.yaml", got)
		if findings.HasErrors() {
			t.Fatalf("%v\n%q\n%q", findings, in, got)
		}
		want, fine := root.Value()
		value, ok := back.Value()
		if diff := cmp.Diff(want, value); ok != fine || diff != "" {
			t.Fatalf("another value (-want +got):\n%s\n%q\n%q", diff, in, got)
		}
	})
}

package strictyaml_test

import (
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"cambio/trust/strictyaml"

	"github.com/google/go-cmp/cmp"
)

type thing struct {
	Name   string              `yaml:"name,required"`
	On     bool                `yaml:"on"`
	Count  int64               `yaml:"count"`
	Share  float64             `yaml:"share"`
	List   []string            `yaml:"list"`
	Map    map[string]string   `yaml:"map"`
	Inner  *inner              `yaml:"inner"`
	Inners map[string]inner    `yaml:"inners"`
	Free   any                 `yaml:"free"`
	Raw    *strictyaml.Node    `yaml:"raw"`
	TTL    strictyaml.Duration `yaml:"ttl"`
	Until  strictyaml.Date     `yaml:"until"`
	Own    upper               `yaml:"own"`
	Hidden string
}

type inner struct {
	A string `yaml:"a,required"`
}

type upper string

func (u *upper) UnmarshalNode(n *strictyaml.Node, r *strictyaml.Reporter) {
	if n.Text != strings.ToUpper(n.Text) {
		r.Error(n, "not-upper", n.Show()+" is not upper case", "write "+strings.ToUpper(n.Text))
		return
	}
	*u = upper(n.Text)
}

func read(t *testing.T, src string) *strictyaml.Node {
	t.Helper()
	n, fs := strictyaml.Parse("f.yaml", []byte(src))
	if fs.HasErrors() {
		t.Fatal(fs)
	}
	return n
}

func TestDecode(t *testing.T) {
	var got thing
	fs := strictyaml.Decode(read(t, `
name: no
on: true
count: 12
share: 1
list: [a, "1"]
map: {k: v}
inner: {a: b}
inners: {x: {a: y}}
free: {n: 1, s: [x, 1.5, null, false]}
raw: [1]
ttl: 15m
until: 2027-03-31
own: ABC
`), &got)
	if len(fs) > 0 {
		t.Fatal(fs)
	}
	if got.Raw == nil || got.Raw.Kind != strictyaml.List || got.Raw.Path() != "raw" {
		t.Errorf("raw is %+v", got.Raw)
	}
	got.Raw = nil
	want := thing{
		Name: "no", On: true, Count: 12, Share: 1, List: []string{"a", "1"}, Map: map[string]string{"k": "v"},
		Inner: &inner{"b"}, Inners: map[string]inner{"x": {"y"}}, TTL: strictyaml.Duration(15 * time.Minute), Own: "ABC",
		Free:  map[string]any{"n": int64(1), "s": []any{"x", 1.5, nil, false}},
		Until: strictyaml.Date{Time: time.Date(2027, 3, 31, 0, 0, 0, 0, time.UTC)},
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}

func TestDecodeFindings(t *testing.T) {
	for src, want := range map[string]string{
		"name: x\nnmae: y":           `2:1 nmae unknown-field`,
		"on: true":                   `1:1 name required write name: and its value`,
		"name: 0755":                 `1:7 name wrong-type write quotes: "0755"`,
		"name: 12":                   `1:7 name wrong-type write quotes: "12"`,
		"name: true":                 `1:7 name wrong-type write quotes: "true"`,
		"name: 2027-03-31":           `1:7 name wrong-type write quotes: "2027-03-31"`,
		"name:":                      `1:6 name wrong-type write a value, or leave the line out`,
		"name: [x]":                  `1:7 name wrong-type write one value`,
		"name: x\non: no":            `2:5 on wrong-type write true or false`,
		"name: x\non: \"true\"":      `2:5 on wrong-type write true or false`,
		"name: x\ncount: 0755":       `2:8 count wrong-type write a plain decimal number, without quotes and leading zeros`,
		"name: x\ncount: 1.0":        `2:8 count wrong-type write a plain decimal number, without quotes and leading zeros`,
		"name: x\nlist: a":           `2:7 list wrong-type write ["a"]`,
		"name: x\nlist: [a, 1]":      `2:11 list[1] wrong-type write quotes: "1"`,
		"name: x\nmap: [a]":          `2:6 map wrong-type write names and values`,
		"name: x\nmap: {a/b: 1}":     `2:12 map["a/b"] wrong-type write quotes: "1"`,
		"name: x\ninner: {}":         `2:8 inner.a required write a: and its value`,
		"name: x\ninner: {a: 1}":     `2:12 inner.a wrong-type write quotes: "1"`,
		"name: x\ninners: {p: {}}":   `2:13 inners.p.a required write a: and its value`,
		"name: x\nfree: [0x1]":       `2:8 free[0] wrong-type write quotes: "0x1", or a plain decimal number`,
		"name: x\nttl: 15":           `2:6 ttl duration write the unit too, such as 15s`,
		"name: x\nttl: 1.5h":         `2:6 ttl duration write one number and one of s, m, h, d, such as 15m`,
		"name: x\nttl: 1h30m":        `2:6 ttl duration write one number and one of s, m, h, d, such as 15m`,
		"name: x\nttl: 015m":         `2:6 ttl duration write one number and one of s, m, h, d, such as 15m`,
		"name: x\nttl: 9999999999d":  `2:6 ttl duration write one number and one of s, m, h, d, such as 15m`,
		"name: x\nuntil: 2027-02-30": `2:8 until date write YYYY-MM-DD, such as 2027-03-31`,
		"name: x\nown: abc":          `2:6 own not-upper write ABC`,
		"name: x\nHidden: y":         `2:1 Hidden unknown-field`,
	} {
		var got thing
		fs := strictyaml.Decode(read(t, src), &got)
		if len(fs) != 1 {
			t.Errorf("%q: findings %v", src, fs)
			continue
		}
		f := fs[0]
		line := strings.TrimSpace(fmt.Sprintf("%d:%d %s %s %s", f.Line, f.Column, f.Field, f.ID, f.Fix))
		if f.ID == "unknown-field" {
			line = fmt.Sprintf("%d:%d %s %s", f.Line, f.Column, f.Field, f.ID)
		}
		if line != want {
			t.Errorf("%q:\n got %s\nwant %s", src, line, want)
		}
	}
}

// TestAllAtOnce holds that errors of the reading and of the decoding are told
// together, and none of them twice.
func TestAllAtOnce(t *testing.T) {
	n, fs := strictyaml.Inspect("f.yaml", []byte("nmae: x\ncount: &c 1\non: no\nttl: 5\nname: !!str x\n"))
	var r strictyaml.Reporter
	r.Add(fs...)
	var got thing
	r.Decode(n, &got)
	want := []string{"1:1 unknown-field", "2:8 yaml-anchor", "3:5 wrong-type", "4:6 duration", "5:7 yaml-tag"}
	if diff := cmp.Diff(want, places(r.Findings())); diff != "" {
		t.Errorf("(-want +got):\n%s%v", diff, r.Findings())
	}
	if got.Count != 0 || got.Name != "" {
		t.Errorf("a refused value was used: %+v", got)
	}
}

func TestFindingForms(t *testing.T) {
	f := strictyaml.Finding{ID: "x-y", Severity: strictyaml.Error, File: "c.yaml", Line: 3, Column: 4, Field: "a.b", Message: "is bad", Fix: "write good"}
	if got, want := f.String(), "c.yaml:3:4: error: a.b: is bad; write good [x-y]"; got != want {
		t.Errorf("got %s", got)
	}
	b, err := json.Marshal(f)
	if err != nil {
		t.Fatal(err)
	}
	if got, want := string(b), `{"id":"x-y","severity":"error","file":"c.yaml","line":3,"column":4,"field":"a.b","message":"is bad","fix":"write good"}`; got != want {
		t.Errorf("got %s", got)
	}
}

func TestReplaceHidesTheText(t *testing.T) {
	n := read(t, "name: ${env:P}\n").Get("name")
	n.Replace("hunter2", "${env:P}")
	var r strictyaml.Reporter
	var on bool
	r.Decode(n, &on)
	var d strictyaml.Duration
	r.Decode(n, &d)
	if fs := r.Findings(); len(fs) != 2 || strings.Contains(fs.Error(), "hunter2") || !strings.Contains(fs.Error(), "${env:P}") {
		t.Errorf("findings: %v", fs)
	}
	var s string
	if fs := strictyaml.Decode(n, &s); len(fs) > 0 || s != "hunter2" {
		t.Errorf("%q, %v", s, fs)
	}
}

func TestTextPosition(t *testing.T) {
	src := "plain: ab cd\n" + // 1
		"quoted: \"é \\\"cd\\\" ef\"\n" + // 2
		"single: 'it''s x'\n" + // 3
		"lit: |\n" + // 4
		"    ab\n" + // 5
		"\n" + // 6
		"      cd ef\n" + // 7
		"fold: >-\n" + // 8
		"  ab\n" + // 9
		"  cd\n" + // 10
		"list:\n  - |-\n    x &&\n    é == y\n" // 11..14
	n := read(t, src)
	for _, tc := range []struct {
		node         *strictyaml.Node
		line, column int
		want         string
	}{
		{n.Get("plain"), 1, 0, "1:8"},
		{n.Get("plain"), 1, 3, "1:11"},
		{n.Get("quoted"), 1, 0, "2:10"},
		{n.Get("quoted"), 1, 2, "2:12"},
		{n.Get("quoted"), 1, 7, "2:19"},
		{n.Get("single"), 1, 5, "3:16"},
		{n.Get("lit"), 1, 0, "5:5"},
		{n.Get("lit"), 1, 1, "5:6"},
		{n.Get("lit"), 3, 2, "7:7"},
		{n.Get("lit"), 3, 5, "7:10"},
		{n.Get("fold"), 1, 3, "10:3"},
		{n.Get("list").Items()[0], 2, 0, "14:5"},
		{n.Get("list").Items()[0], 2, 5, "14:10"},
	} {
		line, column := tc.node.TextPosition(tc.line, tc.column)
		if got := fmt.Sprintf("%d:%d", line, column); got != tc.want {
			t.Errorf("%s %d:%d is at %s, want %s", tc.node.Path(), tc.line, tc.column, got, tc.want)
		}
	}
}

func TestNavigation(t *testing.T) {
	n := read(t, "grants:\n  - to: a\n    ttl: 5m\n  - to: b\n")
	item := n.Get("grants").Items()[1]
	if got := item.Get("to").Path(); got != "grants[1].to" {
		t.Errorf("path %s", got)
	}
	if got := n.Find("grants", "x"); got != n.Get("grants") {
		t.Errorf("found %s", got.Path())
	}
	if n.Get("x").Get("y") != nil || n.Get("x").Show() != "nothing" {
		t.Error("a missing node has something")
	}
	var names []string
	for _, k := range n.Get("grants").Items()[0].Keys() {
		names = append(names, k.Text)
	}
	if !cmp.Equal(names, []string{"to", "ttl"}) {
		t.Errorf("names %v", names)
	}
}

func TestSuggest(t *testing.T) {
	options := []string{"github-actions", "kubernetes", "gcp", "oidc"}
	for word, want := range map[string]string{
		"github_actions": "github-actions", "GitHub-Actions": "github-actions", "kuberentes": "kubernetes", "gpc": "gcp",
		"openid": "", "aws": "", "": "", strings.Repeat("x", 10000): "",
	} {
		if got := strictyaml.Suggest(word, options); got != want {
			t.Errorf("%q: %q, want %q", word, got, want)
		}
	}
}

func TestDurationString(t *testing.T) {
	for s, want := range map[string]string{"90s": "90s", "60m": "1h", "48h": "2d", "400d": "400d", "0s": "0s"} {
		d, ok := strictyaml.ParseDuration(s)
		if got := strictyaml.Duration(d).String(); !ok || got != want {
			t.Errorf("%s: %s", s, got)
		}
	}
}

// TestMisspeltRequiredField holds that a field which is there under a misspelt
// name is told once, and that another's absence is told all the same.
func TestMisspeltRequiredField(t *testing.T) {
	type document struct {
		Name  string `yaml:"name,required"`
		Owner string `yaml:"owner,required"`
		Inner *struct {
			Owner string `yaml:"owner,required"`
		} `yaml:"inner"`
	}
	for src, want := range map[string][]string{
		"name: a\nownr: b\n":                     {"unknown-field ownr"},
		"nmae: a\nownr: b\n":                     {"unknown-field nmae", "unknown-field ownr"},
		"nmae: a\n":                              {"unknown-field nmae", "required owner"},
		"name: a\nxxxxxxxx: b\n":                 {"required owner", "unknown-field xxxxxxxx"},
		"name: a\nownr: b\ninner: {x: 1}\n":      {"unknown-field ownr", "required inner.owner", "unknown-field inner.x"},
		"name: a\nowner: b\ninner: {Owner: c}\n": {"unknown-field inner.Owner"},
	} {
		root, findings := strictyaml.Inspect("a.yaml", []byte(src))
		if len(findings) > 0 {
			t.Fatalf("%q: %v", src, findings)
		}
		var got []string
		for _, f := range strictyaml.Decode(root, &document{}) {
			got = append(got, f.ID+" "+f.Field)
		}
		slices.Sort(got)
		slices.Sort(want)
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("%q (-want +got):\n%s", src, diff)
		}
	}
}

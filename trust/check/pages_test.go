package check_test

import (
	"cmp"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"cambio/gateway"
	"cambio/trust"
	"cambio/trust/check"
	"cambio/trust/strictyaml"
)

const root = "../.."

func now() time.Time { return time.Date(2026, 11, 25, 10, 0, 0, 0, time.UTC) }

// bad is the configuration that the examples of the catalogue are written for.
func bad(tb testing.TB) gateway.Config {
	tb.Helper()
	src, err := os.ReadFile(root + "/examples/bad/cambio.yaml")
	if err != nil {
		tb.Fatal(err)
	}
	config, findings := gateway.ParseConfig("cambio.yaml", src, nil, nil)
	if findings.HasErrors() {
		tb.Fatal(findings)
	}
	return config
}

// documents are the texts of an example as files.
func documents(text string) []trust.Source {
	var out []trust.Source
	for i, doc := range strings.Split(text, "---\n") {
		out = append(out, trust.Source{Name: fmt.Sprintf("%d.yaml", i), Data: []byte(doc)})
	}
	return out
}

// found is all that trust check says of documents.
func found(world trust.World, files []trust.Source) strictyaml.Findings {
	policy, findings := trust.Compile(world, files, now())
	if policy == nil {
		return findings
	}
	return append(findings, check.Run(policy, check.Options{Now: now()})...)
}

// Each bad example draws its own finding and no other one; each good one draws
// none at warning level.
func TestExamples(t *testing.T) {
	world := gateway.World(bad(t))
	seen := 0
	for _, r := range check.Catalogue() {
		if r.Bad == "" {
			continue
		}
		seen++
		t.Run(r.ID, func(t *testing.T) {
			drawn := false
			for _, f := range found(world, documents(r.Bad)) {
				if f.ID != r.ID {
					t.Errorf("the bad one draws %s", f)
					continue
				}
				drawn = drawn || f.Severity == r.Severity
				if f.Fix == "" || f.Line == 0 {
					t.Errorf("no fix, or no place: %s", f)
				}
			}
			if !drawn {
				t.Error("the bad one does not draw it")
			}
			for _, f := range found(world, documents(r.Good)) {
				if f.Severity != strictyaml.Info {
					t.Errorf("the good one draws %s", f)
				}
			}
		})
	}
	if seen < 30 {
		t.Errorf("only %d examples", seen)
	}
}

func TestCatalogue(t *testing.T) {
	seen := map[string]bool{}
	for _, r := range check.Catalogue() {
		if seen[r.ID] {
			t.Errorf("%s is there twice", r.ID)
		}
		seen[r.ID] = true
		if r.Title == "" || r.Why == "" || r.Fix == "" || len(r.NHI) == 0 || (r.Bad == "") != (r.Good == "") {
			t.Errorf("%s says too little", r.ID)
		}
		for _, risk := range r.Risks() {
			if _, name, _ := strings.Cut(risk, " "); name == "" {
				t.Errorf("%s maps to the unknown %s", r.ID, risk)
			}
		}
		if got, ok := check.Explain(r.ID); !ok || got.Page() != r.Page() {
			t.Errorf("%s is not explained", r.ID)
		}
	}
	if _, ok := check.Explain("no-such-finding"); ok {
		t.Error("what does not exist is explained")
	}
}

// index is docs/findings/README.md.
func index() string {
	var b strings.Builder
	b.WriteString(`# What trust check finds

` + "`cambio trust check`" + ` says what documents allow that is most likely not meant. A right policy draws no warning; what is a matter of taste is an info.
` + "`cambio trust check --explain ID`" + ` shows a page, ` + "`--strict`" + ` lets warnings fail, ` + "`-o sarif`" + ` writes what code hosts show beside a change.

The examples of the pages are written for ` + "`examples/bad/cambio.yaml`" + `: ` + "`ci`" + ` is a CI service, ` + "`cluster`" + ` a cluster, ` + "`runs`" + ` a generic OpenID Connect provider. The bad ones are in ` + "`examples/bad`" + ` too, each in a folder of its own.
All other ids are in [the list of all findings](../reference/findings.md).

| finding | severity | says | OWASP NHI |
| --- | --- | --- | --- |
`)
	byRisk := map[string][]string{}
	for _, r := range sortedCatalogue() {
		fmt.Fprintf(&b, "| [`%s`](%s.md) | %s | %s | %s |\n", r.ID, r.ID, r.Severity, r.Title, strings.Join(r.NHI, ", "))
		for _, risk := range r.Risks() {
			byRisk[risk] = append(byRisk[risk], fmt.Sprintf("[`%s`](%s.md)", r.ID, r.ID))
		}
	}
	b.WriteString("\n## By the OWASP Non-Human Identities Top 10 (2025)\n\n| risk | findings |\n| --- | --- |\n")
	risks := make([]string, 0, len(byRisk))
	for risk := range byRisk {
		risks = append(risks, risk)
	}
	slices.SortFunc(risks, func(a, b string) int {
		return cmp.Or(cmp.Compare(len(a[:strings.Index(a, " ")]), len(b[:strings.Index(b, " ")])), cmp.Compare(a, b))
	})
	for _, risk := range risks {
		fmt.Fprintf(&b, "| %s | %s |\n", risk, strings.Join(byRisk[risk], ", "))
	}
	return b.String()
}

func sortedCatalogue() []check.Rule {
	return slices.SortedFunc(slices.Values(check.Catalogue()), func(a, b check.Rule) int { return cmp.Compare(a.ID, b.ID) })
}

// The pages and the planted documents are written from the catalogue: UPDATE=1.
func TestPages(t *testing.T) {
	want := map[string]string{"docs/findings/README.md": index()}
	for _, r := range check.Catalogue() {
		want["docs/findings/"+r.ID+".md"] = r.Page()
		if r.Bad == "" {
			continue
		}
		docs := strings.Split(r.Bad, "---\n")
		for i, doc := range docs {
			name := "trust.yaml"
			if len(docs) > 1 {
				name = fmt.Sprintf("%d.yaml", i+1)
			}
			want["examples/bad/"+r.ID+"/"+name] = doc
		}
	}
	for name, text := range want {
		path := filepath.Join(root, filepath.FromSlash(name))
		if os.Getenv("UPDATE") == "1" {
			if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
				t.Fatal(err)
			}
			if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
				t.Fatal(err)
			}
		}
		got, err := os.ReadFile(path)
		if err != nil || string(got) != text {
			t.Errorf("%s is not what the catalogue says; run UPDATE=1 go test ./trust/check -run TestPages (%v)", name, err)
		}
	}
	pages, err := filepath.Glob(root + "/docs/findings/*.md")
	if err != nil {
		t.Fatal(err)
	}
	for _, page := range pages {
		if want["docs/findings/"+filepath.Base(page)] == "" {
			t.Errorf("%s is of no finding", page)
		}
	}
}

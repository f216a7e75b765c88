package test

import (
	"encoding/json"
	"go/ast"
	"go/parser"
	"go/token"
	"maps"
	"os"
	"path"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
	"unicode"

	"cambio/gateway"
	"cambio/providers"
	"cambio/trust"
)

// documents lists the Markdown files of the tree, by path from the root.
func documents(t *testing.T) []string {
	t.Helper()
	var names []string
	for _, name := range files(t) {
		if strings.HasSuffix(name, ".md") {
			names = append(names, name)
		}
	}
	if !slices.Contains(names, "README.md") {
		t.Fatal("found no README.md")
	}
	return names
}

func document(t *testing.T, name string) string {
	t.Helper()
	content, err := os.ReadFile(filepath.Join(root, name))
	if err != nil {
		t.Fatal(err)
	}
	return string(content)
}

var quoted = regexp.MustCompile("`([^`]+)`")

// rows maps what stands in the first cell of a document's tables, in backquotes,
// to the other cells.
func rows(t *testing.T, text string) map[string][]string {
	t.Helper()
	out := map[string][]string{}
	for line := range strings.Lines(text) {
		cells := strings.Split(strings.TrimSpace(line), " | ")
		if len(cells) < 2 || !strings.HasPrefix(cells[0], "| `") {
			continue
		}
		for _, m := range quoted.FindAllStringSubmatch(cells[0], -1) {
			if _, twice := out[m[1]]; twice {
				t.Errorf("%s is documented twice", m[1])
			}
			out[m[1]] = cells[1:]
		}
	}
	return out
}

// same reports what only one of the two sides has.
func sameNames(t *testing.T, name string, documented, there []string) {
	t.Helper()
	if len(there) == 0 {
		t.Errorf("%s: the code has none", name)
	}
	for _, s := range there {
		if !slices.Contains(documented, s) {
			t.Errorf("%s does not document %s", name, s)
		}
	}
	for _, s := range documented {
		if !slices.Contains(there, s) {
			t.Errorf("%s documents %s, which does not exist", name, s)
		}
	}
}

func keysOf[V any](m map[string]V) []string { return slices.Sorted(maps.Keys(m)) }

// constants are the string constants of these packages whose name begins so, by
// their name.
func constants(t *testing.T, prefix string, folders ...string) map[string]string {
	t.Helper()
	out := map[string]string{}
	for name, file := range sources(t, parser.SkipObjectResolution) {
		if !slices.Contains(folders, path.Dir(name)) || strings.HasSuffix(name, "_test.go") {
			continue
		}
		ast.Inspect(file, func(n ast.Node) bool {
			spec, ok := n.(*ast.ValueSpec)
			if !ok {
				return true
			}
			for i, id := range spec.Names {
				if s, ok := literal(nth(spec.Values, i)); ok && strings.HasPrefix(id.Name, prefix) {
					out[id.Name] = s
				}
			}
			return true
		})
	}
	return out
}

func nth(list []ast.Expr, i int) ast.Expr {
	if i < len(list) {
		return list[i]
	}
	return nil
}

// literal is the text of a string literal.
func literal(e ast.Expr) (string, bool) {
	lit, ok := e.(*ast.BasicLit)
	if !ok || lit.Kind != token.STRING {
		return "", false
	}
	s, err := strconv.Unquote(lit.Value)
	return s, err == nil
}

func TestReasonsAreDocumentedAndProduced(t *testing.T) {
	reasons := constants(t, "Reason", "trust")
	documented := rows(t, document(t, "docs/reference/reasons.md"))
	sameNames(t, "docs/reference/reasons.md", keysOf(documented), slices.Sorted(maps.Values(reasons)))
	for slug, cells := range documented {
		if len(cells) < 3 || strings.TrimSpace(cells[0]) == "" || strings.TrimSpace(cells[1]) == "" {
			t.Errorf("reasons.md: %s needs a meaning, what the caller sees, and what to do", slug)
		}
	}
	// A reason that no test produces may be one that nothing produces.
	var tests, vectors strings.Builder
	for _, name := range files(t) {
		switch {
		case strings.HasPrefix(name, "testdata/vectors/"):
			vectors.WriteString(document(t, name))
		case strings.HasSuffix(name, "_test.go") && !strings.HasPrefix(name, "test/docs_"):
			tests.WriteString(document(t, name))
		}
	}
	expected := strings.Fields(vectors.String())
	names := strings.FieldsFunc(tests.String(), func(c rune) bool { return !unicode.IsLetter(c) })
	for name, slug := range reasons {
		if !strings.Contains(tests.String(), `"`+slug+`"`) && !slices.Contains(expected, slug) && !slices.Contains(names, name) {
			t.Errorf("no test produces the reason %s (trust.%s)", slug, name)
		}
	}
}

// findingArgument says which argument of a call is a finding's id.
func findingArgument() map[string]int {
	return map[string]int{"Error": 1, "Warn": 1, "Info": 1, "ErrorIn": 3, "finding": 1, "report": 2, "refuse": 0, "oneOf": 2, "endpoint": 1, "authority": 2}
}

// findingIDs are the ids that the code can emit, by where.
func findingIDs(t *testing.T) map[string]string {
	t.Helper()
	slug := regexp.MustCompile(`^[a-z]+(-[a-z]+)*$`)
	ids := map[string]string{}
	for name, file := range sources(t, parser.SkipObjectResolution) {
		top, _, _ := strings.Cut(name, "/")
		if strings.HasSuffix(name, "_test.go") || !slices.Contains([]string{"trust", "providers", "gateway", "cmd"}, top) {
			continue
		}
		take := func(e ast.Expr) {
			if s, ok := literal(e); ok && slug.MatchString(s) {
				ids[s] = name
			}
		}
		ast.Inspect(file, func(n ast.Node) bool {
			switch n := n.(type) {
			case *ast.CallExpr:
				called := ""
				switch f := n.Fun.(type) {
				case *ast.SelectorExpr:
					called = f.Sel.Name
				case *ast.Ident:
					called = f.Name
				}
				if i, ok := findingArgument()[called]; ok && (top == "gateway" || called != "oneOf" && called != "endpoint" && called != "authority") {
					take(nth(n.Args, i))
				}
			case *ast.KeyValueExpr:
				if key, ok := n.Key.(*ast.Ident); ok && key.Name == "ID" {
					take(n.Value)
				}
			case *ast.AssignStmt: // f.ID, f.Message, f.Fix = "yaml-tag", ...
				for i, left := range n.Lhs {
					if s, ok := left.(*ast.SelectorExpr); ok && s.Sel.Name == "ID" {
						take(nth(n.Rhs, i))
					}
				}
			case *ast.FuncDecl:
				if n.Name.Name == "keyFinding" {
					ast.Inspect(n, func(n ast.Node) bool {
						if r, ok := n.(*ast.ReturnStmt); ok {
							take(nth(r.Results, 0))
						}
						return true
					})
				}
			}
			return true
		})
	}
	for _, s := range constants(t, "Finding", "trust", "providers/oidc") {
		ids[s] = "a constant"
	}
	return ids
}

func TestFindingsAreDocumented(t *testing.T) {
	sameNames(t, "docs/reference/findings.md", keysOf(rows(t, document(t, "docs/reference/findings.md"))), keysOf(findingIDs(t)))
}

// section is the text of a document below a heading, up to the next one.
func section(text, heading string) string {
	_, rest, _ := strings.Cut(text, "\n## "+heading+"\n")
	body, _, _ := strings.Cut(rest, "\n## ")
	return body
}

func TestConfigurationIsDocumented(t *testing.T) {
	type object struct {
		Properties map[string]any `json:"properties"`
	}
	var schema struct {
		object
		Defs map[string]object `json:"$defs"`
	}
	if err := json.Unmarshal(gateway.Schema(), &schema); err != nil {
		t.Fatal(err)
	}
	text := document(t, "docs/reference/configuration.md")
	headings := map[string]string{
		"TLS": "tls", "Redis": "redis", "Journal": "journal", "Limits": "limits", "IdentityProvider": "identity_providers.NAME",
		"DeclaredClaim": "identity_providers.NAME.claims.NAME", "TokenReview": "identity_providers.NAME.token_review", "Target": "targets.NAME",
	}
	sameNames(t, "the headings of configuration.md", keysOf(headings), keysOf(schema.Defs))
	sameNames(t, "configuration.md, top level", keysOf(rows(t, section(text, "Top level"))), keysOf(schema.Properties))
	for def, heading := range headings {
		documented := rows(t, section(text, heading))
		maps.DeleteFunc(documented, func(key string, _ []string) bool { return providers.Platforms()[key].Name != "" }) // the table of platforms
		sameNames(t, "configuration.md, "+heading, keysOf(documented), keysOf(schema.Defs[def].Properties))
	}
	for name, p := range providers.Platforms() {
		row := "| `" + name + "` | "
		_, rest, found := strings.Cut(section(text, "identity_providers.NAME"), row)
		line, _, _ := strings.Cut(rest, "\n")
		if !found || p.Issuer != "" && !strings.Contains(line, p.Issuer) || !strings.Contains(line, strings.Join(p.Algs, ", ")) || !strings.Contains(line, string(p.TokenUse)) {
			t.Errorf("configuration.md says %q of %s", line, name)
		}
	}
}

// TestTrustDocumentsAreDocumented compares the fields that the reader allows.
func TestTrustDocumentsAreDocumented(t *testing.T) {
	text := document(t, "docs/reference/trust-documents.md")
	for _, target := range providers.TargetTypes() {
		for field := range target.Fields {
			if !strings.Contains(section(text, "grants"), "| `"+field+"` |") {
				t.Errorf("trust-documents.md does not document the grant field %s", field)
			}
		}
	}
	for part := trust.TrustPart; trust.Fields(part) != nil; part++ {
		for _, field := range trust.Fields(part) {
			if !strings.Contains(text, "`"+field+"`") {
				t.Errorf("trust-documents.md does not document the field %s", field)
			}
		}
	}
}

func TestMetricsAreDocumented(t *testing.T) {
	var names []string
	for name, file := range sources(t, parser.SkipObjectResolution) {
		if strings.HasSuffix(name, "_test.go") {
			continue
		}
		ast.Inspect(file, func(n ast.Node) bool {
			kv, ok := n.(*ast.KeyValueExpr)
			if !ok {
				return true
			}
			if key, ok := kv.Key.(*ast.Ident); ok && key.Name == "Name" {
				if s, ok := literal(kv.Value); ok && strings.HasPrefix(s, "cambio_") {
					names = append(names, s)
				}
			}
			return true
		})
	}
	sameNames(t, "docs/reference/metrics.md", keysOf(rows(t, document(t, "docs/reference/metrics.md"))), names)
}

func TestJournalIsDocumented(t *testing.T) {
	fields, _, _ := strings.Cut(document(t, "docs/reference/journal.md"), "\n## Claims\n")
	documented := keysOf(rows(t, fields))
	var there []string
	for name, file := range sources(t, parser.SkipObjectResolution) {
		if name != "audit/record.go" {
			continue
		}
		ast.Inspect(file, func(n ast.Node) bool {
			switch n := n.(type) {
			case *ast.ValueSpec:
				if id, ok := n.Type.(*ast.Ident); ok && id.Name == "Event" {
					s, _ := literal(nth(n.Values, 0))
					there = append(there, s)
				}
			case *ast.TypeSpec:
				if n.Name.Name != "Record" {
					return true
				}
				for _, f := range n.Type.(*ast.StructType).Fields.List {
					tag := tagName(f.Tag)
					there = append(there, tag)
				}
			}
			return true
		})
	}
	sameNames(t, "docs/reference/journal.md", documented, there)
}

// tagName is the name in a field's json tag.
func tagName(tag *ast.BasicLit) string {
	_, rest, _ := strings.Cut(tag.Value, `json:"`)
	name, _, _ := strings.Cut(rest, `"`)
	name, _, _ = strings.Cut(name, ",")
	return name
}

func TestExitCodesAreDocumented(t *testing.T) {
	documented := map[string]bool{}
	for line := range strings.Lines(document(t, "docs/reference/exit-codes.md")) {
		if m := regexp.MustCompile(`^\| (\d+) \|`).FindStringSubmatch(line); m != nil {
			documented[m[1]] = true
		}
	}
	there := []string{"130"} // of an interrupt, as shells have it
	ast.Inspect(sources(t, parser.SkipObjectResolution)["cmd/cambio/exit.go"], func(n ast.Node) bool {
		if spec, ok := n.(*ast.ValueSpec); ok && strings.HasPrefix(spec.Names[0].Name, "exit") {
			if lit, ok := nth(spec.Values, 0).(*ast.BasicLit); ok && lit.Kind == token.INT {
				there = append(there, lit.Value)
			}
		}
		return true
	})
	sameNames(t, "docs/reference/exit-codes.md", keysOf(documented), there)
}

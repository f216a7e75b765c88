// Package test holds what looks at the module as a whole: its structure, its
// documents, and the program from the outside.
package test

import (
	"bytes"
	"encoding/json"
	"errors"
	"go/ast"
	"go/parser"
	"go/token"
	"io"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
)

const (
	module = "cambio"
	root   = ".."
)

// arrows is the picture in docs/design.md: what the code of each top-level
// folder, its tests apart, may import of ours. A folder may import itself,
// except that platforms keep to themselves (see TestPlatformsDoNotMeet).
func arrows() map[string][]string {
	return map[string][]string{
		"trust":  {},
		"issuer": {},
		"audit":  {},
		"replay": {},
		"client": {},

		"stops":    {"trust"},
		"keystore": {"issuer"},
		"standin":  {},

		"exchange":  {"trust", "issuer", "audit"},
		"providers": {"exchange", "trust"},
		"web":       {"exchange", "trust", "issuer", "audit"},
		"gateway":   {"trust", "issuer", "audit", "replay", "stops", "keystore", "exchange", "providers", "web"},
		"cmd":       {"gateway", "client", "trust", "audit", "keystore", "stops", "standin"},
		"scripts":   {},
		"test":      {"trust", "issuer", "audit", "replay", "client", "stops", "keystore", "standin", "exchange", "providers", "web", "gateway"},
	}
}

func TestArrows(t *testing.T) {
	allowed := arrows()
	for _, p := range packages(t) {
		from := folder(p.ImportPath)
		to, known := allowed[from]
		if !known {
			t.Errorf("%s: a new top-level folder needs a reason in docs/design.md, and a line in arrows()", p.ImportPath)
			continue
		}
		for _, imported := range p.Imports {
			if f := folder(imported); f != "" && f != from && !slices.Contains(to, f) {
				t.Errorf("%s imports %s: the design draws no arrow from %s to %s (only to %v)", p.ImportPath, imported, from, f, to)
			}
		}
	}
}

func TestPlatformsDoNotMeet(t *testing.T) {
	for _, p := range packages(t) {
		if !strings.HasPrefix(p.ImportPath, module+"/providers/") {
			continue
		}
		for _, imported := range p.Imports {
			platform, ours := strings.CutPrefix(imported, module+"/providers/")
			if imported == module+"/providers" || ours && platform != "oidc" && !strings.HasPrefix(platform, "internal/") {
				t.Errorf("%s imports %s: platforms build on the generic verifier at most; only the catalogue knows them all", p.ImportPath, imported)
			}
		}
	}
}

// The parts of trust import what the table in docs/design.md says, no more and no
// less. What decides at run time sees none of the tools.
func TestArrowsInsideTrust(t *testing.T) {
	drawn := rows(t, section(document(t, "docs/design.md"), "Trust as code"))
	there := map[string][]string{}
	for _, p := range packages(t) {
		name := strings.TrimPrefix(p.ImportPath, module+"/")
		var ours []string
		for _, imported := range p.Imports {
			if part, ok := strings.CutPrefix(imported, module+"/"); ok {
				ours = append(ours, part)
			}
		}
		switch folder(p.ImportPath) {
		case "trust":
			there[name] = ours
		case "exchange", "web":
			if i := slices.IndexFunc(ours, func(part string) bool { return strings.HasPrefix(part, "trust/") }); i >= 0 {
				t.Errorf("%s imports %s: what decides needs no tool", name, ours[i])
			}
		}
	}
	sameNames(t, "the table of trust's parts", keysOf(drawn), keysOf(there))
	for name, imports := range there {
		var allowed []string
		if cells := drawn[name]; len(cells) > 0 {
			for _, m := range quoted.FindAllStringSubmatch(cells[0], -1) {
				allowed = append(allowed, m[1])
			}
		}
		slices.Sort(allowed)
		slices.Sort(imports)
		if !slices.Equal(allowed, imports) {
			t.Errorf("%s imports %v; docs/design.md draws %v", name, imports, allowed)
		}
	}
}

// The story has no transport and no SDK: who reads exchange reads all that can
// happen between a token and a credential.
func TestExchangeHasNoTransport(t *testing.T) {
	banned := []string{"net/http", "github.com/redis/", "github.com/aws/", "cloud.google.com/", "google.golang.org/api/", "github.com/Azure/", "k8s.io/"}
	for _, p := range packages(t) {
		if folder(p.ImportPath) != "exchange" {
			continue
		}
		for _, imported := range p.Imports {
			for _, b := range banned {
				if strings.HasPrefix(imported, b) {
					t.Errorf("%s imports %s: exchange declares an interface and is handed the rest", p.ImportPath, imported)
				}
			}
		}
	}
}

// The OpenID server library sits behind the strict normaliser of one file. A
// second importer would be a way round it.
func TestOneFileImportsTheOpenIDServer(t *testing.T) {
	for name, file := range sources(t, parser.ImportsOnly) {
		if strings.HasSuffix(name, "_test.go") || name == "web/token.go" {
			continue
		}
		for _, spec := range file.Imports {
			path, err := strconv.Unquote(spec.Path.Value)
			if err != nil {
				t.Fatal(err)
			}
			if strings.HasPrefix(path, "github.com/zitadel/oidc") {
				t.Errorf("%s imports %s: web/token.go alone may", name, path)
			}
		}
	}
}

// Start-up is written out in package gateway and cmd; an init function runs
// where nobody looks.
func TestNoInitFunctions(t *testing.T) {
	for name, file := range sources(t, parser.SkipObjectResolution) {
		for _, d := range file.Decls {
			if f, ok := d.(*ast.FuncDecl); ok && f.Recv == nil && f.Name.Name == "init" {
				t.Errorf("%s has an init function: hand things in instead", name)
			}
		}
	}
}

func TestOnlyCommandsReadTheEnvironment(t *testing.T) {
	for name, file := range sources(t, parser.SkipObjectResolution) {
		if strings.HasPrefix(name, "cmd/") || strings.HasSuffix(name, "_test.go") {
			continue
		}
		ast.Inspect(file, func(n ast.Node) bool {
			s, ok := n.(*ast.SelectorExpr)
			if !ok {
				return true
			}
			pkg, ok := s.X.(*ast.Ident)
			if ok && pkg.Name == "os" && slices.Contains([]string{"Getenv", "LookupEnv", "Environ", "ExpandEnv"}, s.Sel.Name) {
				t.Errorf("%s calls os.%s: flags, environment and files are read in cmd only", name, s.Sel.Name)
			}
			return true
		})
	}
}

// A folder is named after its subject; these names say that it has none.
func TestFolderNames(t *testing.T) {
	bad := []string{"pkg", "util", "utils", "common", "models", "helpers", "misc", "types"}
	for _, name := range files(t) {
		for part := range strings.SplitSeq(filepath.ToSlash(filepath.Dir(name)), "/") {
			if slices.Contains(bad, part) {
				t.Errorf("%s: the folder name %q says nothing; name the subject", name, part)
			}
		}
	}
}

// Work that is put off belongs in an issue, where someone can find it.
func TestNothingIsPutOff(t *testing.T) {
	putOff := regexp.MustCompile(`\b(TO` + `DO|FIX` + `ME|XX` + `X)\b`)
	for _, name := range files(t) {
		if strings.HasSuffix(name, "package-lock.json") || strings.HasSuffix(name, "go.sum") { // hashes spell anything
			continue
		}
		content, err := os.ReadFile(filepath.Join(root, name))
		if err != nil {
			t.Fatal(err)
		}
		if bytes.IndexByte(content, 0) >= 0 { // not text
			continue
		}
		for i, line := range bytes.Split(content, []byte("\n")) {
			if m := putOff.Find(line); m != nil {
				t.Errorf("%s:%d: %s: do it now, or open an issue", name, i+1, m)
			}
		}
	}
}

// A recipe that needs more than three lines is a program: it belongs into
// scripts, where it can be read, linted and run by hand.
func TestMakefileTargetsAreShort(t *testing.T) {
	makefile, err := os.ReadFile(filepath.Join(root, "Makefile"))
	if err != nil {
		t.Fatal(err)
	}
	target, lines, targets := "", 0, 0
	for line := range strings.Lines(string(makefile)) {
		if strings.HasPrefix(line, "\t") {
			lines++
			if lines == 4 {
				t.Errorf("make %s has more than three lines", target)
			}
			continue
		}
		if name, _, ok := strings.Cut(line, ":"); ok && !strings.HasPrefix(line, "#") && !strings.Contains(line, ":=") && !strings.HasPrefix(name, ".") {
			target, lines = name, 0
			targets++
		}
	}
	if targets == 0 {
		t.Error("found no target in the Makefile")
	}
}

// listed is what the tests need of a package, as `go list -json` names it.
type listed struct {
	ImportPath string
	Imports    []string
}

// packages lists the module's packages with the imports of their code, tests
// apart.
func packages(t *testing.T) []listed {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), "go", "list", "-e", "-json=ImportPath,Imports", "./...")
	cmd.Dir = root
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("go list: %v", err)
	}
	var all []listed
	for d := json.NewDecoder(bytes.NewReader(out)); ; {
		var p listed
		if err := d.Decode(&p); errors.Is(err, io.EOF) {
			break
		} else if err != nil {
			t.Fatal(err)
		}
		all = append(all, p)
	}
	if len(all) == 0 {
		t.Fatal("go list found no package")
	}
	return all
}

// folder is the top-level folder of a package of ours, or "".
func folder(importPath string) string {
	rest, ours := strings.CutPrefix(importPath, module+"/")
	if !ours {
		return ""
	}
	name, _, _ := strings.Cut(rest, "/")
	return name
}

// sources parses the module's Go files, by path from the root.
func sources(t *testing.T, mode parser.Mode) map[string]*ast.File {
	t.Helper()
	parsed := map[string]*ast.File{}
	for _, name := range files(t) {
		if !strings.HasSuffix(name, ".go") {
			continue
		}
		f, err := parser.ParseFile(token.NewFileSet(), filepath.Join(root, name), nil, mode)
		if err != nil {
			t.Fatal(err)
		}
		parsed[name] = f
	}
	if len(parsed) == 0 {
		t.Fatal("found no Go file")
	}
	return parsed
}

// files lists the tree's files by path from the root, without what is built or
// fetched. It asks no git, so that the tests also run in an unpacked archive.
func files(t *testing.T) []string {
	t.Helper()
	var names []string
	err := filepath.WalkDir(root, func(path string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		name, err := filepath.Rel(root, path)
		if err != nil {
			return err
		}
		name = filepath.ToSlash(name)
		switch {
		case d.IsDir() && (d.Name() == ".git" || d.Name() == "node_modules" || name == "bin" || name == "state"):
			return filepath.SkipDir
		case d.Type().IsRegular():
			names = append(names, name)
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return names
}

package test

import (
	"encoding/json"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"cambio/gateway"
)

// exampleTime is when the examples are judged: some of them expire.
const exampleTime = "2026-11-25T10:00:00Z"

// TestExampleFleet holds that the fleet of examples is of a real size, and that a
// right policy is silent: no warning, no failed test, no broken invariant.
func TestExampleFleet(t *testing.T) {
	t.Parallel()
	for _, args := range [][]string{{"check", "--strict"}, {"test"}, {"prove"}} {
		args = slices.Concat([]string{"trust"}, args, []string{"--config", "examples/cambio.yaml", "--at", exampleTime})
		if code, out, errs := runCambio(t, root, args...); code != 0 || strings.Contains(out+errs, ": warning: ") {
			t.Errorf("%v: exit %d\n%s%s", args, code, out, errs)
		}
	}
	if code, out, errs := runCambio(t, root, "trust", "fmt", "--check", "examples/trust"); code != 0 {
		t.Errorf("the examples are not in the one form: exit %d\n%s%s", code, out, errs)
	}

	for _, name := range files(t) {
		if !strings.HasPrefix(name, "examples/trust/") || !strings.HasSuffix(name, ".yaml") {
			continue
		}
		header, _, _ := strings.Cut(document(t, name), "\n")
		schema, ok := strings.CutPrefix(header, "# yaml-language-server: $schema=")
		if _, err := os.Stat(filepath.Join(root, filepath.Dir(name), schema)); !ok || err != nil {
			t.Errorf("%s: an editor does not find its schema: %q", name, header)
		}
	}

	file := filepath.Join(root, "examples", "cambio.yaml")
	src, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	config, findings := gateway.ParseConfig(file, src, nil, os.ReadFile)
	if findings.HasErrors() {
		t.Fatal(findings)
	}
	now, err := time.Parse(time.RFC3339, exampleTime)
	if err != nil {
		t.Fatal(err)
	}
	policy, findings := gateway.LoadPolicy(config, now)
	if policy == nil {
		t.Fatal(findings)
	}
	if policy.Trusts() < 30 || len(policy.Invariants()) < 5 {
		t.Errorf("the fleet has %d trusts and %d invariants", policy.Trusts(), len(policy.Invariants()))
	}
	platforms := map[string]int{}
	for _, tr := range policy.All() {
		platforms[config.IdentityProviders[tr.Provider].Type]++
	}
	for _, p := range []string{"github-actions", "kubernetes", "gcp", "oidc"} {
		if platforms[p] < 2 {
			t.Errorf("the fleet has %d trusts of %s", platforms[p], p)
		}
	}
}

// TestPlantedDocuments holds that each bad example draws the finding that its
// folder is named after; what is worse than an info also fails.
func TestPlantedDocuments(t *testing.T) {
	t.Parallel()
	folders, err := os.ReadDir(filepath.Join(root, "examples", "bad"))
	if err != nil {
		t.Fatal(err)
	}
	planted := 0
	for _, f := range folders {
		if !f.IsDir() {
			continue
		}
		planted++
		t.Run(f.Name(), func(t *testing.T) {
			t.Parallel()
			code, out, errs := runCambio(t, root, "trust", "check", "examples/bad/"+f.Name(), "--strict", "--config", "examples/bad/cambio.yaml", "--at", exampleTime, "-o", "json")
			var answer struct {
				Findings []struct{ ID, Severity string }
			}
			if err := json.Unmarshal([]byte(out), &answer); err != nil {
				t.Fatalf("%v\n%s%s", err, out, errs)
			}
			want := 0
			for _, found := range answer.Findings {
				if found.ID != f.Name() {
					t.Errorf("it also draws %s", found.ID)
				} else if found.Severity != "info" {
					want = 3
				}
			}
			if len(answer.Findings) == 0 || code != want {
				t.Errorf("exit %d, want %d\n%s%s", code, want, out, errs)
			}
		})
	}
	if planted < 30 {
		t.Errorf("only %d are planted", planted)
	}
}

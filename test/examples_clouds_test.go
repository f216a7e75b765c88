package test

import (
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"go.yaml.in/yaml/v4"
)

// TestExampleClouds holds one complete set for each cloud: a configuration and
// trusts without a finding, whose tests pass, what `cambio connect` prints for them,
// and a pipeline that asks for the target. UPDATE=1 writes what connect prints.
func TestExampleClouds(t *testing.T) {
	t.Parallel()
	dir := filepath.Join(root, "examples", "clouds")
	folders, err := os.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	var clouds []string
	for _, f := range folders {
		clouds = append(clouds, f.Name())
		t.Run(f.Name(), func(t *testing.T) {
			t.Parallel()
			exampleCloud(t, filepath.Join("examples", "clouds", f.Name()))
		})
	}
	for _, want := range []string{"aws", "azure", "google", "kubernetes"} {
		if !slices.Contains(clouds, want) {
			t.Errorf("no set for %s", want)
		}
	}
}

func exampleCloud(t *testing.T, dir string) {
	t.Helper()
	config := filepath.Join(dir, "cambio.yaml")
	for _, args := range [][]string{{"trust", "check", "--strict"}, {"trust", "test"}, {"config", "check"}} {
		args = append(args, "--config", config)
		if args[0] == "trust" {
			args = append(args, "--at", exampleTime)
		}
		if code, out, errs := runCambio(t, root, args...); code != 0 || strings.Contains(out+errs, ": warning: ") {
			t.Errorf("%v: exit %d\n%s%s", args, code, out, errs)
		}
	}
	if code, out, errs := runCambio(t, root, "trust", "fmt", "--check", filepath.Join(dir, "trust")); code != 0 {
		t.Errorf("the trusts are not in the one form: exit %d\n%s%s", code, out, errs)
	}
	var c struct {
		Targets map[string]struct{ Type string }
	}
	if err := yaml.Unmarshal([]byte(document(t, config)), &c); err != nil || len(c.Targets) != 1 {
		t.Fatalf("%d targets, %v", len(c.Targets), err)
	}
	for target := range c.Targets {
		if pipeline := document(t, filepath.Join(dir, "pipeline.yaml")); !strings.Contains(pipeline, "--to "+target) {
			t.Errorf("the pipeline does not ask for %s", target)
		}
		found := 0
		for form, file := range map[string]string{"terraform": "connect.tf", "yaml": "connect.yaml"} {
			code, out, _ := runCambio(t, root, "connect", target, "--config", config, "-o", form)
			if code != 0 {
				continue // no such form
			}
			found++
			path := filepath.Join(root, dir, file)
			if os.Getenv("UPDATE") != "" {
				if err := os.WriteFile(path, []byte(out), 0o644); err != nil {
					t.Fatal(err)
				}
			}
			if got, err := os.ReadFile(path); err != nil || string(got) != out {
				t.Errorf("%s is not what cambio connect %s -o %s prints: run make golden", file, target, form)
			}
		}
		if found == 0 {
			t.Errorf("cambio connect %s has neither form", target)
		}
	}
}

//go:build unix

package gateway_test

import (
	"os"
	"path/filepath"
	"slices"
	"syscall"
	"testing"
	"time"

	"cambio/gateway"
	"cambio/trust/strictyaml"
)

// TestLoadPolicyOfNothing holds that a folder without documents does not pass in
// silence: most likely it is another one than was meant.
func TestLoadPolicyOfNothing(t *testing.T) {
	for file, want := range map[string][]string{
		"":          {"no-documents"},
		"a.yml":     {"no-documents", "document-passed-over"},
		".a.yaml":   {"no-documents"},
		"README.md": {"no-documents"},
		"g.yaml":    nil,
	} {
		dir := t.TempDir()
		if file != "" {
			document := "guardrail: g\nowner: o\npurpose: p\nforbid: 'false'\n"
			if err := os.WriteFile(filepath.Join(dir, file), []byte(document), 0o600); err != nil {
				t.Fatal(err)
			}
		}
		policy, findings := gateway.LoadPolicy(gateway.Config{Trust: dir}, time.Now())
		var ids []string
		for _, f := range findings {
			ids = append(ids, f.ID)
			if f.ID == "no-documents" && (f.File != dir || f.Severity != strictyaml.Warning) {
				t.Errorf("%s: %+v", file, f)
			}
		}
		if policy == nil || !slices.Equal(ids, want) {
			t.Errorf("%q: %v", file, findings)
		}
	}
	_, findings := gateway.LoadPolicy(gateway.Config{Trust: filepath.Join(t.TempDir(), "nowhere")}, time.Now())
	if len(findings) != 1 || findings[0].ID != "document-unreadable" {
		t.Errorf("no folder: %v", findings)
	}
}

// TestReadTrustsTraps: whoever may write into the folder must not make the
// gateway wait, read elsewhere, or believe that a file is in force that is not.
func TestReadTrustsTraps(t *testing.T) {
	outside := filepath.Join(t.TempDir(), "secret.yaml")
	if err := os.WriteFile(outside, []byte("name: x"), 0o600); err != nil {
		t.Fatal(err)
	}
	for name, c := range map[string]struct {
		make func(dir string) error
		want []string // finding ids
		read int
	}{
		"a document":               {func(dir string) error { return os.WriteFile(filepath.Join(dir, "a.yaml"), nil, 0o600) }, nil, 1},
		"a pipe":                   {func(dir string) error { return syscall.Mkfifo(filepath.Join(dir, "a.yaml"), 0o600) }, []string{"document-unreadable"}, 0},
		"a link out of the folder": {func(dir string) error { return os.Symlink(outside, filepath.Join(dir, "a.yaml")) }, []string{"document-unreadable"}, 0},
		"a link to nothing":        {func(dir string) error { return os.Symlink("nothing", filepath.Join(dir, "a.yaml")) }, []string{"document-unreadable"}, 0},
		"another suffix":           {func(dir string) error { return os.WriteFile(filepath.Join(dir, "a.yml"), nil, 0o600) }, []string{"document-passed-over"}, 0},
		"an escape in the name":    {func(dir string) error { return os.WriteFile(filepath.Join(dir, "a\x1b[2J.yaml"), nil, 0o600) }, []string{"document-unreadable"}, 0},
		"a line in the name":       {func(dir string) error { return os.WriteFile(filepath.Join(dir, "a\nb_test.yaml"), nil, 0o600) }, []string{"document-unreadable"}, 0},
		"a turned name":            {func(dir string) error { return os.WriteFile(filepath.Join(dir, "a\u202eb.yml"), nil, 0o600) }, []string{"document-unreadable"}, 0},
		"another case":             {func(dir string) error { return os.WriteFile(filepath.Join(dir, "a.YAML"), nil, 0o600) }, []string{"document-passed-over"}, 0},
		"a linked folder": {func(dir string) error {
			if err := os.Mkdir(filepath.Join(dir, ".real"), 0o700); err != nil {
				return err
			}
			return os.Symlink(".real", filepath.Join(dir, "team"))
		}, []string{"document-passed-over"}, 0},
		"a hidden file": {func(dir string) error { return os.WriteFile(filepath.Join(dir, ".a.yaml"), nil, 0o600) }, nil, 0},
		"a read-me":     {func(dir string) error { return os.WriteFile(filepath.Join(dir, "README.md"), nil, 0o600) }, nil, 0},
	} {
		t.Run(name, func(t *testing.T) {
			dir := t.TempDir()
			if err := c.make(dir); err != nil {
				t.Fatal(err)
			}
			sources, findings := gateway.ReadTrusts(dir)
			var ids []string
			for _, f := range findings {
				ids = append(ids, f.ID)
				if f.Fix == "" || f.Line == 0 || f.File == "" {
					t.Errorf("incomplete: %+v", f)
				}
			}
			if len(sources) != c.read || !slices.Equal(ids, c.want) {
				t.Errorf("%d documents, findings %v", len(sources), findings)
			}
		})
	}
}

// TestCheckNamesThePlaceOfTLS: a certificate that cannot be used is told where
// the configuration names it.
func TestCheckNamesThePlaceOfTLS(t *testing.T) {
	file := filepath.Join(t.TempDir(), "cambio.yaml")
	c, findings := gateway.ParseConfig(file, []byte("issuer: https://id.acme.example\ntls:\n  cert: none.pem\n  key: none.pem\n"), nil, os.ReadFile)
	if findings.HasErrors() {
		t.Fatal(findings)
	}
	for _, f := range gateway.Check(c, time.Now()) {
		if f.ID == "tls-unusable" {
			if f.File != file || f.Line != 3 || f.Column != 9 || f.Fix == "" {
				t.Errorf("at %+v", f)
			}
			return
		}
	}
	t.Error("not found")
}

// TestFilesOfTestsAreBeside: a file of tests is no document, whatever it holds, and
// only whoever runs tests reads it.
func TestFilesOfTestsAreBeside(t *testing.T) {
	dir := t.TempDir()
	write := func(name, text string) {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	write("g.yaml", "guardrail: g\nowner: o\npurpose: p\nforbid: 'false'\n")
	config := gateway.Config{Trust: dir}
	before, _ := gateway.LoadPolicy(config, time.Now())
	write("a_test.yaml", "tests: [{name: guardrail, ask: {to: grants}}]\n")
	after, findings := gateway.LoadPolicy(config, time.Now())
	if before == nil || after == nil || before.SHA256() != after.SHA256() || after.Guardrails() != 1 || len(findings) != 0 {
		t.Errorf("a file of tests changed the policy: %v", findings)
	}
	if tested, findings := gateway.LoadTested(config, time.Now()); tested != nil || !findings.HasErrors() || filepath.Base(findings[0].File) != "a_test.yaml" {
		t.Errorf("it was read as tests: %v", findings)
	}
	// A guardrail that was renamed is gone from the policy, and looks as if it were not.
	for _, text := range []string{"guardrail: h\n", "{owner: o, \"invariant\": i}\n", "name: t\ngrants: []\nx: 1\nx: 2\n"} {
		write("a_test.yaml", text)
		if policy, findings := gateway.LoadPolicy(config, time.Now()); policy != nil || findings[0].ID != "document-passed-over" || filepath.Base(findings[0].File) != "a_test.yaml" {
			t.Errorf("%q was passed over in silence: %v", text, findings)
		}
	}
	if err := os.Remove(filepath.Join(dir, "a_test.yaml")); err != nil {
		t.Fatal(err)
	}
	if tested, findings := gateway.LoadTested(config, time.Now()); tested == nil || tested.SHA256() != before.SHA256() {
		t.Errorf("without: %v", findings)
	}
}

package gateway_test

import (
	"context"
	"errors"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"cambio/gateway"
)

func revisionNow() time.Time { return time.Date(2026, 11, 25, 10, 0, 0, 0, time.UTC) }

func revisionConfig(tb testing.TB, dir string) gateway.Config {
	tb.Helper()
	c, findings := gateway.ParseConfig(filepath.Join(dir, "cambio.yaml"), []byte(`issuer: https://id.acme.example
identity_providers:
  google: {type: gcp, audience: "https://id.acme.example"}
targets:
  orders-api: {type: jwt, audience: "https://orders.acme.example"}
`), nil, nil)
	if findings.HasErrors() {
		tb.Fatal(findings)
	}
	return c
}

func revisionTrust(name string) string {
	return "name: " + name + "\nowner: o@acme.example\npurpose: p\nfrom: google\nmatch: {sub: \"1\"}\ngrants: [{to: orders-api}]\n"
}

// repository is a fresh one with these files committed.
func repository(t *testing.T, files map[string]string) string {
	t.Helper()
	dir := t.TempDir()
	runGit(t, dir, "init", "-q", "-b", "main")
	commitFiles(t, dir, files)
	return dir
}

func commitFiles(t *testing.T, dir string, files map[string]string) {
	t.Helper()
	for name, text := range files {
		path := filepath.Join(dir, name)
		if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	runGit(t, dir, "add", "-A")
	runGit(t, dir, "commit", "-q", "-m", "x")
}

func runGit(t *testing.T, dir string, args ...string) {
	t.Helper()
	cmd := exec.Command("git", append([]string{"-C", dir, "-c", "user.name=t", "-c", "user.email=t@acme.example", "-c", "commit.gpgsign=false"}, args...)...)
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("git %v: %v\n%s", args, err, out)
	}
}

func TestLoadRevision(t *testing.T) {
	t.Parallel()
	dir := repository(t, map[string]string{
		"README": "no trust yet",
	})
	commitFiles(t, dir, map[string]string{
		"trust/a.yaml": revisionTrust("a"), "trust/b/ü b.yaml": revisionTrust("b"), "trust/a_test.yaml": "no document",
		"trust/.hidden/c.yaml": "not read", "trust/notes.md": "not read", "elsewhere/d.yaml": revisionTrust("d"),
	})
	commitFiles(t, dir, map[string]string{"trust/a.yaml": revisionTrust("a2")})
	config := revisionConfig(t, dir)
	for revision, want := range map[string][]string{
		"HEAD": {"a2", "b"}, "main": {"a2", "b"}, "@~1": {"a", "b"}, "refs/heads/main^": {"a", "b"},
		"HEAD~2": {}, "HEAD:elsewhere": {"d"}, "HEAD:elsewhere/": {"d"}, "main~1:trust/b": {"b"},
	} {
		t.Run(revision, func(t *testing.T) {
			t.Parallel()
			policy, findings, err := gateway.LoadRevision(t.Context(), config, revision, revisionNow())
			if err != nil || policy == nil {
				t.Fatal(findings, err)
			}
			if d := cmp.Diff(want, policy.Names()); d != "" {
				t.Error(d)
			}
		})
	}
	for _, revision := range []string{"nosuch", "HEAD~9", "HEAD:nosuch", "HEAD:../x", "--output=x", "-h", "", ":trust", "HEAD:trust/a.yaml/x", "main..HEAD", "HEAD\nHEAD", "@{-1}", "HEAD^{/x}"} {
		if _, _, err := gateway.LoadRevision(t.Context(), config, revision, revisionNow()); !errors.Is(err, gateway.ErrRevision) {
			t.Errorf("%q: %v", revision, err)
		}
	}
	if _, _, err := gateway.LoadRevision(t.Context(), config, "HEAD:README", revisionNow()); err == nil {
		t.Error("a file is taken for a folder")
	}
	if _, _, err := gateway.LoadRevision(t.Context(), revisionConfig(t, t.TempDir()), "HEAD", revisionNow()); err == nil {
		t.Error("a folder outside any repository has revisions")
	}
	cancelled, cancel := context.WithCancel(t.Context())
	cancel()
	if _, _, err := gateway.LoadRevision(cancelled, config, "HEAD", revisionNow()); err == nil {
		t.Error("a cancelled question is answered")
	}
}

// TestRevisionOfAFolderThatIsGone: the folder need not be there any more.
func TestRevisionOfAFolderThatIsGone(t *testing.T) {
	t.Parallel()
	dir := repository(t, map[string]string{"policies/trust/a.yaml": revisionTrust("a")})
	config := revisionConfig(t, dir)
	config.Trust = filepath.Join(dir, "policies/trust")
	if err := os.RemoveAll(filepath.Join(dir, "policies")); err != nil {
		t.Fatal(err)
	}
	policy, findings, err := gateway.LoadRevision(t.Context(), config, "main", revisionNow())
	if err != nil || policy == nil || policy.Trusts() != 1 {
		t.Fatal(findings, err)
	}
}

// TestRevisionsThatAreRefused: what leads out of the commit, or is too large.
func TestRevisionsThatAreRefused(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		change func(t *testing.T, dir string)
		want   string
	}{
		"a link": {func(t *testing.T, dir string) {
			t.Helper()
			if err := os.Symlink("/etc/passwd", filepath.Join(dir, "trust/l.yaml")); err != nil {
				t.Fatal(err)
			}
			commitFiles(t, dir, nil)
		}, "document-unreadable"},
		"a submodule": {func(t *testing.T, dir string) {
			t.Helper()
			runGit(t, dir, "update-index", "--add", "--cacheinfo", "160000,1111111111111111111111111111111111111111,trust/sub")
			runGit(t, dir, "commit", "-q", "-m", "x")
		}, "document-unreadable"},
		"too large": {func(t *testing.T, dir string) {
			t.Helper()
			commitFiles(t, dir, map[string]string{"trust/big.yaml": strings.Repeat("# x\n", 1<<17)})
		}, "document-unreadable"},
		"an escape in a name": {func(t *testing.T, dir string) {
			t.Helper()
			commitFiles(t, dir, map[string]string{"trust/x\n\x1b[2J.yaml": revisionTrust("b")})
		}, "document-unreadable"},
		"no document": {func(t *testing.T, dir string) {
			t.Helper()
			commitFiles(t, dir, map[string]string{"trust/x.yaml": "{"})
		}, "yaml-syntax"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			dir := repository(t, map[string]string{"trust/a.yaml": revisionTrust("a")})
			c.change(t, dir)
			policy, findings, err := gateway.LoadRevision(t.Context(), revisionConfig(t, dir), "HEAD", revisionNow())
			if policy != nil || err != nil || len(findings) == 0 || findings[0].ID != c.want {
				t.Errorf("%v %v", findings, err)
			}
		})
	}
}

// TestARepositoryRunsNothing: its configuration may name programs, and allow a
// protocol that runs one to fetch what is missing.
func TestARepositoryRunsNothing(t *testing.T) {
	t.Parallel()
	dir := repository(t, map[string]string{"trust/a.yaml": revisionTrust("a"), "trust/b.yaml": revisionTrust("b")})
	ran := filepath.Join(dir, "ran")
	program := filepath.Join(dir, "program")
	if err := os.WriteFile(program, []byte("#!/bin/sh\ntouch "+ran+"\nexit 1\n"), 0o700); err != nil {
		t.Fatal(err)
	}
	out, err := exec.Command("git", "-C", dir, "rev-parse", "HEAD:trust/b.yaml").Output()
	if err != nil {
		t.Fatal(err)
	}
	blob := strings.TrimSpace(string(out))
	for _, set := range [][2]string{
		{"core.repositoryformatversion", "1"},
		{"extensions.partialClone", "origin"},
		{"remote.origin.promisor", "true"},
		{"remote.origin.url", "ext::" + program},
		{"protocol.ext.allow", "always"},
		{"core.fsmonitor", program},
		{"core.pager", program},
		{"core.sshCommand", program},
		{"core.hooksPath", dir},
	} {
		runGit(t, dir, "config", set[0], set[1])
	}
	if err := os.Remove(filepath.Join(dir, ".git/objects", blob[:2], blob[2:])); err != nil {
		t.Fatal(err)
	}
	for _, revision := range []string{"HEAD", "1234567890123456789012345678901234567890"} {
		if policy, _, err := gateway.LoadRevision(t.Context(), revisionConfig(t, dir), revision, revisionNow()); policy != nil || err == nil {
			t.Errorf("%s: a policy without one of its documents", revision)
		}
	}
	if _, err := os.Stat(ran); err == nil {
		t.Error("the repository ran a program")
	}
}

// TestAnotherRepository: a hook has variables of its own repository.
func TestAnotherRepository(t *testing.T) {
	other := repository(t, map[string]string{"trust/b.yaml": revisionTrust("b")})
	dir := repository(t, map[string]string{"trust/a.yaml": revisionTrust("a")})
	t.Setenv("GIT_DIR", filepath.Join(other, ".git"))
	policy, findings, err := gateway.LoadRevision(t.Context(), revisionConfig(t, dir), "HEAD", revisionNow())
	if err != nil || policy == nil || !cmp.Equal(policy.Names(), []string{"a"}) {
		t.Errorf("it read another repository: %v %v", findings, err)
	}
}

// TestAFolderThatBecomesALink: the documents that it leads to now were in force in
// no revision.
func TestAFolderThatBecomesALink(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct{ folder, to string }{
		"beside":       {"trust", "examples/trust"},
		"further down": {"a/trust", "../trust"},
		"the top":      {"trust", "."},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			dir := repository(t, map[string]string{c.folder + "/a.yaml": revisionTrust("a"), "examples/trust/b.yaml": revisionTrust("b"), "trust/x.yaml": revisionTrust("x"), "y.yaml": revisionTrust("y")})
			config := revisionConfig(t, dir)
			config.Trust = filepath.Join(dir, c.folder)
			before, _, err := gateway.LoadRevision(t.Context(), config, "HEAD", revisionNow())
			if err != nil || before == nil {
				t.Fatal(err)
			}
			if err := os.RemoveAll(config.Trust); err != nil {
				t.Fatal(err)
			}
			if err := os.Symlink(c.to, config.Trust); err != nil {
				t.Fatal(err)
			}
			policy, findings, err := gateway.LoadRevision(t.Context(), config, "HEAD", revisionNow())
			if err == nil {
				t.Errorf("it read %v %v", policy.Names(), findings)
			}
		})
	}
	// A link above the repository is the machine's own.
	dir := repository(t, map[string]string{"trust/a.yaml": revisionTrust("a")})
	link := filepath.Join(t.TempDir(), "link")
	if err := os.Symlink(dir, link); err != nil {
		t.Fatal(err)
	}
	if policy, findings, err := gateway.LoadRevision(t.Context(), revisionConfig(t, link), "HEAD", revisionNow()); err != nil || policy == nil || !cmp.Equal(policy.Names(), []string{"a"}) {
		t.Errorf("%v %v", findings, err)
	}
}

func FuzzParseRevision(f *testing.F) {
	for _, s := range []string{"main", "HEAD~1", "main:trust", "-x", "a..b", ":x", "a:../b", "a:b\nc", "@", "v1^2:", "a:b:c"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		commit, folder, ok := gateway.ParseRevision(s)
		if !ok {
			return
		}
		switch {
		case strings.HasPrefix(commit, "-"), strings.Contains(commit, ".."), strings.ContainsAny(commit, " \t\r\n:{}\\*?["), commit == "":
			t.Errorf("%q is read as the commit %q", s, commit)
		case folder != "" && !fs.ValidPath(folder), strings.ContainsAny(folder, "\n\x00"):
			t.Errorf("%q is read as the folder %q", s, folder)
		}
	})
}

func FuzzListed(f *testing.F) {
	const id = "1111111111111111111111111111111111111111"
	for _, s := range []string{
		"100644 blob " + id + "      12\ta.yaml\x00", "120000 blob " + id + " 3\tl.yaml\x00", "160000 commit " + id + "       -\tsub\x00",
		"100644 blob " + id + " -1\ta.yaml\x00", "100644 blob x 1\ta.yaml\x00", "100644 blob " + id + " 1\ta.yaml", "\x00", "100755 blob " + id + " 1\t.x/a.yaml\x00",
	} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		names, findings, err := gateway.Listed(strings.NewReader(s))
		if err != nil {
			return
		}
		if len(names)+len(findings) > strings.Count(s, "\x00") {
			t.Errorf("%d names and %d findings in %q", len(names), len(findings), s)
		}
		for _, name := range names {
			if !strings.HasSuffix(name, ".yaml") {
				t.Errorf("%q is taken for a document", name)
			}
		}
	})
}

//go:build release

package test

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"crypto/sha256"
	"debug/buildinfo"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

// commitTime is the time of the commit that the release test makes.
const commitTime = "2026-11-22T08:00:00Z"

// repository is this tree as a commit with the tag v0.9.0.
func repository(t *testing.T) string {
	t.Helper()
	dir := filepath.Join(t.TempDir(), "a")
	for _, from := range files(t) {
		source := filepath.Join(root, from)
		info, err := os.Stat(source)
		if err != nil {
			t.Fatal(err)
		}
		content, err := os.ReadFile(source)
		if err != nil {
			t.Fatal(err)
		}
		to := filepath.Join(dir, from)
		if err := os.MkdirAll(filepath.Dir(to), 0o700); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(to, content, info.Mode().Perm()); err != nil {
			t.Fatal(err)
		}
	}
	for _, args := range [][]string{{"init", "-q", "-b", "main"}, {"add", "--all"}, {"commit", "-q", "-m", "release"}, {"tag", "v0.9.0"}} {
		cmd := exec.CommandContext(t.Context(), "git", args...)
		cmd.Dir = dir
		cmd.Env = append(os.Environ(), "GIT_CONFIG_GLOBAL=/dev/null", "GIT_AUTHOR_DATE="+commitTime, "GIT_COMMITTER_DATE="+commitTime,
			"GIT_AUTHOR_NAME=a", "GIT_AUTHOR_EMAIL=a@acme.example", "GIT_COMMITTER_NAME=a", "GIT_COMMITTER_EMAIL=a@acme.example")
		if out, err := cmd.CombinedOutput(); err != nil {
			t.Fatalf("git %v: %v\n%s", args, err, out)
		}
	}
	return dir
}

// release runs scripts/release in a tree, under another mask, zone and folder for
// temporary files each time, and returns the files.
func release(t *testing.T, dir, umask, zone string, env ...string) map[string][]byte {
	t.Helper()
	out := filepath.Join(t.TempDir(), "out")
	cmd := exec.CommandContext(t.Context(), "sh", "-c", "umask "+umask+" && exec scripts/release \"$0\" \"$1\"", out, runtime.GOOS+"/"+runtime.GOARCH)
	cmd.Dir = dir
	cmd.Env = append(os.Environ(), "TZ="+zone, "TMPDIR="+t.TempDir(), "LC_ALL=C")
	cmd.Env = append(cmd.Env, env...)
	if said, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, said)
	}
	files := map[string][]byte{}
	entries, err := os.ReadDir(out)
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range entries {
		if files[e.Name()], err = os.ReadFile(filepath.Join(out, e.Name())); err != nil {
			t.Fatal(err)
		}
	}
	return files
}

// TestReleaseIsReproducible builds a release twice, in two folders, and compares
// every byte. scripts/release --check does the same with nothing cached.
func TestReleaseIsReproducible(t *testing.T) {
	t.Parallel()
	tree := repository(t)
	dir := filepath.Join(t.TempDir(), "another-folder-with-a-longer-name")
	if err := os.CopyFS(dir, os.DirFS(tree)); err != nil {
		t.Fatal(err)
	}
	first := release(t, tree, "022", "UTC")
	// What is not committed is not released.
	for _, name := range []string{"README.md", "stray.go"} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte("package stray\n"), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	// What `go env -w` once wrote, and what is in the environment, is not for us.
	settings := filepath.Join(t.TempDir(), "env")
	if err := os.WriteFile(settings, []byte("GOAMD64=v3\nGOARM64=v9.0\nGOFIPS140=latest\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	second := release(t, dir, "077", "Asia/Kathmandu", "GOENV="+settings, "GOAMD64=v3", "GOFIPS140=latest")
	if diff := cmp.Diff(string(first["SHA256SUMS"]), string(second["SHA256SUMS"])); diff != "" {
		t.Errorf("two builds differ:\n%s", diff)
	}
	for name, content := range first {
		if !bytes.Equal(content, second[name]) {
			t.Errorf("%s differs", name)
		}
		if line := fmt.Sprintf("%x  %s\n", sha256.Sum256(content), name); name != "SHA256SUMS" && !strings.Contains(string(first["SHA256SUMS"]), line) {
			t.Errorf("SHA256SUMS lacks %s", name)
		}
	}
	base := fmt.Sprintf("cambio_0.9.0_%s_%s", runtime.GOOS, runtime.GOARCH)
	want := []string{"SHA256SUMS", base + ".cdx.json", base + ".tar.gz"}
	if runtime.GOOS == "linux" {
		want = append(want, "cambio_0.9.0_"+runtime.GOARCH+".deb")
	}
	slices.Sort(want)
	if got := keysOf(first); !slices.Equal(got, want) {
		t.Fatalf("files %v, want %v", got, want)
	}
	program := checkTarball(t, base, first[base+".tar.gz"])
	checkSBOM(t, program, first[base+".cdx.json"])
	if runtime.GOOS == "linux" {
		checkPackage(t, program, first["cambio_0.9.0_"+runtime.GOARCH+".deb"])
	}
}

// checkTarball returns the program in the tarball.
func checkTarball(t *testing.T, base string, content []byte) (program []byte) {
	t.Helper()
	z, err := gzip.NewReader(bytes.NewReader(content))
	if err != nil {
		t.Fatal(err)
	}
	if z.Name != "" || !z.ModTime.IsZero() {
		t.Errorf("gzip keeps the name %q and the time %v", z.Name, z.ModTime)
	}
	var names []string
	for r := tar.NewReader(z); ; {
		h, err := r.Next()
		if errors.Is(err, io.EOF) {
			break
		} else if err != nil {
			t.Fatal(err)
		}
		names = append(names, h.Name)
		if h.Uid != 0 || h.Gid != 0 || h.Uname != "root" || h.ModTime.UTC().Format(time.RFC3339) != commitTime || h.Mode&0o7022 != 0 {
			t.Errorf("%s: %+v", h.Name, h)
		}
		if h.Name == base+"/cambio" {
			if program, err = io.ReadAll(r); err != nil || h.Mode != 0o755 {
				t.Errorf("mode %o: %v", h.Mode, err)
			}
		}
	}
	if want := []string{base + "/", base + "/CHANGELOG.md", base + "/LICENSE", base + "/README.md", base + "/cambio"}; !slices.Equal(names, want) {
		t.Errorf("the tarball has %v", names)
	}
	file := filepath.Join(t.TempDir(), "cambio")
	if err := os.WriteFile(file, program, 0o700); err != nil {
		t.Fatal(err)
	}
	out, err := exec.CommandContext(t.Context(), file, "version").Output()
	if err != nil || !strings.HasPrefix(string(out), "cambio v0.9.0 ") {
		t.Errorf("version: %s %v", out, err)
	}
	return program
}

func checkSBOM(t *testing.T, program, content []byte) {
	t.Helper()
	var bom struct {
		BOMFormat, SpecVersion string
		Metadata               struct {
			Timestamp string
			Component struct {
				Version string
				Hashes  []struct{ Alg, Content string }
			}
		}
		Components []struct{ Name, Version, PURL string }
	}
	if err := json.Unmarshal(content, &bom); err != nil {
		t.Fatal(err)
	}
	sum := fmt.Sprintf("%x", sha256.Sum256(program))
	m := bom.Metadata
	if bom.BOMFormat != "CycloneDX" || bom.SpecVersion != "1.6" || m.Timestamp != commitTime || m.Component.Version != "0.9.0" || len(m.Component.Hashes) != 1 || m.Component.Hashes[0].Content != sum {
		t.Errorf("the SBOM is of something else: %+v", m)
	}
	info, err := buildinfo.Read(bytes.NewReader(program))
	if err != nil {
		t.Fatal(err)
	}
	want := []string{"std@" + strings.TrimPrefix(info.GoVersion, "go")}
	for _, d := range info.Deps {
		want = append(want, d.Path+"@"+d.Version)
	}
	var got []string
	for _, c := range bom.Components {
		got = append(got, c.Name+"@"+c.Version)
		if !strings.HasPrefix(c.PURL, "pkg:golang/"+c.Name+"@") {
			t.Errorf("%s has the purl %s", c.Name, c.PURL)
		}
	}
	if diff := cmp.Diff(want, got); diff != "" || len(got) < 20 {
		t.Errorf("the SBOM and the program differ:\n%s", diff)
	}
}

// checkPackage lets dpkg read the package (Debian: dpkg).
func checkPackage(t *testing.T, program, content []byte) {
	t.Helper()
	dir := t.TempDir()
	file := filepath.Join(dir, "cambio.deb")
	if err := os.WriteFile(file, content, 0o600); err != nil {
		t.Fatal(err)
	}
	dpkg := func(args ...string) string {
		out, err := exec.CommandContext(t.Context(), "dpkg-deb", args...).CombinedOutput()
		if err != nil {
			t.Fatalf("dpkg-deb %v: %v\n%s", args, err, out)
		}
		return string(out)
	}
	for field, want := range map[string]string{"Package": "cambio", "Version": "0.9.0", "Architecture": runtime.GOARCH} {
		if got := strings.TrimSpace(dpkg("--field", file, field)); got != want {
			t.Errorf("%s is %q", field, got)
		}
	}
	dpkg("--raw-extract", file, filepath.Join(dir, "tree"))
	read := func(name string) string {
		b, err := os.ReadFile(filepath.Join(dir, "tree", name))
		if err != nil {
			t.Error(err)
		}
		return string(b)
	}
	if read("usr/bin/cambio") != string(program) {
		t.Error("the package and the tarball have other programs")
	}
	if read("usr/lib/systemd/system/cambio.service") != document(t, "deploy/systemd/cambio.service") {
		t.Error("the package has another unit")
	}
	if got := read("DEBIAN/conffiles"); got != "/etc/cambio/cambio.yaml\n/etc/cambio/trust/README\n" {
		t.Errorf("conffiles: %q", got)
	}
	for line := range strings.Lines(dpkg("--contents", file)) {
		if !strings.Contains(line, " root/root ") || !strings.Contains(line, " ./") {
			t.Errorf("an entry of the package: %s", line)
		}
	}
	for _, script := range []string{"postinst", "prerm", "postrm"} {
		if out, err := exec.CommandContext(t.Context(), "sh", "-n", filepath.Join(dir, "tree", "DEBIAN", script)).CombinedOutput(); err != nil {
			t.Errorf("%s: %v\n%s", script, err, out)
		}
	}
	// What it installs is a configuration that the program takes, once there is a
	// trust folder to read.
	tree := filepath.Join(dir, "tree")
	config := filepath.Join(dir, "cambio.yaml")
	if err := os.WriteFile(config, []byte(strings.NewReplacer("/etc/", tree+"/etc/", "/var/", tree+"/var/").Replace(read("etc/cambio/cambio.yaml"))), 0o600); err != nil {
		t.Fatal(err)
	}
	if o := run(t, nil, "config", "check", "--config", config); o.code != 0 {
		t.Errorf("config check: exit %d\n%s", o.code, o.stderr)
	}
}

// TestReleaseRefuses: a program for newer machines alone is not released.
func TestReleaseRefuses(t *testing.T) {
	t.Parallel()
	built, out := t.TempDir(), filepath.Join(t.TempDir(), "out")
	source := filepath.Join(t.TempDir(), "main.go")
	if err := os.WriteFile(source, []byte("package main\n\nfunc main() {}\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	program := filepath.Join(built, "linux_amd64", "cambio")
	env := []string{"GOOS=linux", "GOARCH=amd64", "GOAMD64=v3", "CGO_ENABLED=0", "GOFLAGS="}
	if status, said := supplyRun(t, env, "go", "build", "-trimpath", "-o", program, source); status != 0 {
		t.Fatal(said)
	}
	status, said := supplyRun(t, nil, "go", "run", "./scripts/pack", "-epoch", "1", "-built", built, "-out", out)
	if status == 0 || !strings.Contains(said, "was built with GOAMD64=v3") {
		t.Errorf("status %d\n%s", status, said)
	}
}

// TestReleaseSpares: a folder that is no release's is not replaced.
func TestReleaseSpares(t *testing.T) {
	t.Parallel()
	out := t.TempDir()
	mine := filepath.Join(out, "mine")
	if err := os.WriteFile(mine, []byte("x"), 0o600); err != nil {
		t.Fatal(err)
	}
	status, said := supplyRun(t, nil, "scripts/release", out)
	if _, err := os.Stat(mine); err != nil || status == 0 || !strings.Contains(said, "holds no SHA256SUMS") {
		t.Errorf("status %d, %v\n%s", status, err, said)
	}
}

// Command pack puts built programs into the files of a release: a tarball and
// an SBOM each, Debian packages for Linux, and SHA256SUMS over them all. What it
// writes depends on its input alone: names are sorted, every time is the commit's,
// every owner is root. scripts/release runs it.
package main

import (
	"crypto/sha256"
	"debug/buildinfo"
	"errors"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"time"
)

func main() {
	built := flag.String("built", "", "folder with OS_ARCH/cambio for each platform")
	out := flag.String("out", "", "folder to make and write to")
	epoch := flag.Int64("epoch", 0, "time of the commit, seconds since 1970")
	flag.Parse()
	if err := pack(*built, *out, *epoch); err != nil {
		fmt.Fprintln(os.Stderr, "pack:", err)
		os.Exit(1)
	}
}

// file is one file of an archive.
type file struct {
	name    string
	mode    int64 // 0o755 or 0o644
	content []byte
}

// release is one platform's program and what goes with it.
type release struct {
	goos, goarch string
	version      string // without v
	time         time.Time
	program      []byte
	info         *buildinfo.BuildInfo
	sbom         []byte
}

func pack(built, out string, epoch int64) error {
	if epoch <= 0 || built == "" || out == "" {
		return errors.New("-built, -out and -epoch are required")
	}
	platforms, err := os.ReadDir(built) // sorted
	if err != nil {
		return err
	}
	if err := os.MkdirAll(out, 0o755); err != nil { //nolint:gosec // what is released is public
		return err
	}
	files := map[string][]byte{}
	for _, p := range platforms {
		r, err := open(filepath.Join(built, p.Name(), "cambio"), time.Unix(epoch, 0).UTC())
		if err != nil {
			return err
		}
		if err := r.write(files); err != nil {
			return err
		}
	}
	if len(files) == 0 {
		return errors.New("nothing was built")
	}
	var sums strings.Builder
	for _, name := range sorted(files) {
		fmt.Fprintf(&sums, "%x  %s\n", sha256.Sum256(files[name]), name)
	}
	files["SHA256SUMS"] = []byte(sums.String())
	for name, content := range files {
		if err := os.WriteFile(filepath.Join(out, name), content, 0o644); err != nil { //nolint:gosec // what is released is public
			return err
		}
	}
	return nil
}

// open reads a built program. What it is, it says itself: a program that was put
// into another platform's folder would be released under a wrong name.
func open(path string, at time.Time) (*release, error) {
	info, err := buildinfo.ReadFile(path)
	if err != nil {
		return nil, err
	}
	r := &release{time: at, info: info, goos: setting(info, "GOOS"), goarch: setting(info, "GOARCH")}
	if name := filepath.Base(filepath.Dir(path)); name != r.goos+"_"+r.goarch {
		return nil, fmt.Errorf("%s is a program for %s/%s", path, r.goos, r.goarch)
	}
	// Such a program has other bytes, and does not start on every machine of its
	// platform, or computes with other code.
	for _, s := range []struct{ key, plain string }{{"GOAMD64", "v1"}, {"GOARM64", "v8.0"}, {"GOEXPERIMENT", ""}, {"GOFIPS140", ""}} {
		if got := setting(info, s.key); got != "" && got != s.plain {
			return nil, fmt.Errorf("%s was built with %s=%s", path, s.key, got)
		}
	}
	// Anything else cannot be built again from the commit that it names.
	if setting(info, "-trimpath") != "true" || setting(info, "CGO_ENABLED") != "0" || setting(info, "vcs.revision") == "" || setting(info, "vcs.modified") != "false" {
		return nil, fmt.Errorf("%s was not built from a clean commit with -trimpath and without cgo", path)
	}
	r.version = strings.TrimPrefix(info.Main.Version, "v")
	if r.program, err = os.ReadFile(path); err != nil { //nolint:gosec // the file that was just built
		return nil, err
	}
	r.sbom, err = sbom(r)
	return r, err
}

func setting(info *buildinfo.BuildInfo, key string) string {
	for _, s := range info.Settings {
		if s.Key == key {
			return s.Value
		}
	}
	return ""
}

// write makes the platform's files.
func (r *release) write(files map[string][]byte) error {
	base := fmt.Sprintf("cambio_%s_%s_%s", r.version, r.goos, r.goarch)
	content := []file{{name: base + "/cambio", mode: 0o755, content: r.program}}
	for _, name := range []string{"LICENSE", "README.md", "CHANGELOG.md"} {
		text, err := source(name)
		if err != nil {
			return err
		}
		content = append(content, file{name: base + "/" + name, mode: 0o644, content: text})
	}
	var err error
	if files[base+".tar.gz"], err = tarball("", content, r.time); err != nil {
		return err
	}
	files[base+".cdx.json"] = r.sbom
	if r.goos != "linux" {
		return nil
	}
	deb, err := debian(r)
	if err != nil {
		return err
	}
	files[fmt.Sprintf("cambio_%s_%s.deb", debianVersion(r.version), r.goarch)] = deb
	return nil
}

// source reads a file of the source, which is the working directory.
func source(name string) ([]byte, error) {
	return os.ReadFile(filepath.FromSlash(name))
}

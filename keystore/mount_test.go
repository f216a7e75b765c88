package keystore_test

import (
	"crypto/rand"
	"errors"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"cambio/issuer"
	"cambio/keystore"
)

// fill puts the files of a folder of keys into a volume as the kubelet does with a
// Secret: in a folder of their own, which a link names that can be swapped in one
// step, with a link for each file beside it.
func fill(t *testing.T, volume, name, from string) {
	t.Helper()
	mkdir(t, filepath.Join(volume, name))
	files, err := os.ReadDir(from)
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range files {
		write(t, filepath.Join(volume, name, f.Name()), readFile(t, filepath.Join(from, f.Name())), 0o440)
		link(t, filepath.Join("..data", f.Name()), filepath.Join(volume, f.Name()))
	}
	chmod(t, filepath.Join(volume, name), fs.ModeSetgid|0o755)
	link(t, name, filepath.Join(volume, "..data"))
}

// link makes a link, or leads it elsewhere, in one step.
func link(t *testing.T, to, path string) {
	t.Helper()
	if err := os.Symlink(to, path+"_tmp"); err != nil {
		t.Fatal(err)
	}
	if err := os.Rename(path+"_tmp", path); err != nil {
		t.Fatal(err)
	}
}

// secret is a volume that holds the keys of a store.
func secret(t *testing.T) (volume *keystore.Files, dir string, source *keystore.Files, from string) {
	t.Helper()
	source, from, _ = store(t)
	if _, err := source.NonceKey(t.Context(), rand.Reader); err != nil {
		t.Fatal(err)
	}
	dir = filepath.Join(t.TempDir(), "keys")
	mkdir(t, dir)
	fill(t, dir, "..2026_11_22_09_00_00.1", from)
	chmod(t, dir, fs.ModeSetgid|fs.ModeSticky|0o777)
	return keystore.NewFiles(dir, slog.New(slog.DiscardHandler)), dir, source, from
}

func everywhere(fs.FileInfo) bool { return true }

// A Secret of Kubernetes is a folder that anybody may write, of files that their
// group may read; what makes it one's own is that it is mounted read-only.
func TestKeysInASecret(t *testing.T) {
	f, dir, source, from := secret(t)
	if _, err := f.Load(t.Context()); !errors.Is(err, keystore.ErrMode) {
		t.Errorf("where it can be written: %v", err)
	}
	f.MountReadOnly(everywhere)
	if r, err := f.Load(t.Context()); err != nil || len(r.Keys) != 4 {
		t.Fatalf("%d keys, %v", len(r.Keys), err)
	}
	want, err := source.NonceKey(t.Context(), nil)
	if err != nil {
		t.Fatal(err)
	}
	if got, err := f.NonceKey(t.Context(), nil); err != nil || got != want {
		t.Errorf("the nonce secret: %v, %v", got == want, err)
	}
	if c, err := f.Publish(t.Context(), t.TempDir(), issuerURL, start, issuer.Roots{}); err != nil || len(c.Keys) != 4 {
		t.Errorf("publish: %+v, %v", c, err)
	}
	// The Secret is applied anew, and the kubelet brings it.
	if changed, err := f.Changed(); err != nil || changed {
		t.Errorf("changed: %v, %v", changed, err)
	}
	rotated, err := source.Rotate(t.Context(), start, rand.Reader, true)
	if err != nil {
		t.Fatal(err)
	}
	fill(t, dir, "..2026_11_23_09_00_00.2", from)
	if changed, err := f.Changed(); err != nil || !changed {
		t.Errorf("changed: %v, %v", changed, err)
	}
	if r, err := f.Load(t.Context()); err != nil || len(r.Keys) != len(rotated.Keys) {
		t.Errorf("%d keys, %v", len(r.Keys), err)
	}
}

// What a read-only mount does not make good.
func TestSecretRefuses(t *testing.T) {
	k := first().Keys[0]
	for _, tt := range []struct {
		name   string
		change func(t *testing.T, f *keystore.Files, dir, file string)
		says   string
	}{
		{"a key for all", func(t *testing.T, _ *keystore.Files, _, file string) { t.Helper(); chmod(t, file, 0o444) }, "defaultMode"},
		{"a key that its group writes", func(t *testing.T, _ *keystore.Files, _, file string) { t.Helper(); chmod(t, file, 0o460) }, "defaultMode"},
		{"a key that leads out of the mount", func(t *testing.T, f *keystore.Files, dir, _ string) {
			t.Helper()
			outside := filepath.Join(t.TempDir(), "key")
			write(t, outside, readFile(t, filepath.Join(dir, k.KID+".pem")), 0o440)
			there, err := os.Stat(outside)
			if err != nil {
				t.Fatal(err)
			}
			link(t, outside, filepath.Join(dir, k.KID+".pem"))
			f.MountReadOnly(func(i fs.FileInfo) bool { return !os.SameFile(i, there) })
		}, "chmod 600"},
		{"a folder that is not mounted", func(_ *testing.T, f *keystore.Files, _, _ string) {
			f.MountReadOnly(func(i fs.FileInfo) bool { return !i.IsDir() })
		}, "chmod 700"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			f, dir, _, _ := secret(t)
			f.MountReadOnly(everywhere)
			tt.change(t, f, dir, filepath.Join(dir, "..data", k.KID+".pem"))
			r, err := f.Load(t.Context())
			if !errors.Is(err, keystore.ErrMode) || len(r.Keys) > 0 || !strings.Contains(err.Error(), tt.says) {
				t.Errorf("%d keys, %v", len(r.Keys), err)
			}
		})
	}
	// A weak key is weak there too.
	f, dir, _, _ := secret(t)
	f.MountReadOnly(everywhere)
	write(t, filepath.Join(dir, "weak.pem"), rsa512(t), 0o440)
	if _, err := f.Load(t.Context()); !errors.Is(err, issuer.ErrWeakKey) {
		t.Error(err)
	}
}

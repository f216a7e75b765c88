package keystore_test

import (
	"crypto/rand"
	"errors"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"cambio/issuer"
	"cambio/keystore"
)

func TestNonceKey(t *testing.T) {
	f, dir, log := store(t)
	path := filepath.Join(dir, "nonce.secret")
	key, err := f.NonceKey(t.Context(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	if key == [32]byte{} {
		t.Error("nothing but zeros")
	}
	if info, err := os.Stat(path); err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("%v, %v", info, err)
	}
	replica := keystore.NewFiles(dir, slog.New(slog.DiscardHandler))
	if again, err := replica.NonceKey(t.Context(), nil); err != nil || again != key {
		t.Errorf("a replica: %v, %v", again == key, err)
	}
	// It is no signing key, and the folder's change does not change it.
	if r, err := f.Load(t.Context()); err != nil || len(r.Keys) != 4 || log.Len() > 0 {
		t.Errorf("%d keys, %v, %s", len(r.Keys), err, log)
	}
	if changed, err := f.Changed(); err != nil || changed {
		t.Errorf("changed: %v, %v", changed, err)
	}
	if _, err := f.Rotate(t.Context(), start, rand.Reader, true); err != nil {
		t.Fatal(err)
	}
	if again, err := f.NonceKey(t.Context(), nil); err != nil || again != key {
		t.Errorf("after a rotation: %v, %v", again == key, err)
	}
	good := readFile(t, path)
	for name, text := range map[string]string{
		"a newer format": strings.Replace(string(good), "nonce-1", "nonce-2", 1), "nothing": "", "short": "cambio-nonce-1 AAAA\n",
		"two lines": string(good) + "x", "huge": strings.Repeat("a", 300), "raw": strings.Repeat("\x01", 32),
	} {
		write(t, path, []byte(text), 0o600)
		if key, err := f.NonceKey(t.Context(), rand.Reader); !errors.Is(err, keystore.ErrNonce) && !errors.Is(err, keystore.ErrKeyFile) || key != [32]byte{} {
			t.Errorf("%s: %v", name, err)
		}
	}
	write(t, path, good, 0o640)
	if _, err := f.NonceKey(t.Context(), rand.Reader); !errors.Is(err, keystore.ErrMode) {
		t.Errorf("readable by others: %v", err)
	}
}

// A rotation in a folder of the version before leaves a secret there.
func TestRotateMakesTheNonceKey(t *testing.T) {
	f, dir, _ := store(t)
	if _, err := os.Stat(filepath.Join(dir, "nonce.secret")); err == nil {
		t.Fatal("it is there already")
	}
	if _, err := f.Rotate(t.Context(), start, rand.Reader, false); err == nil {
		t.Fatal("rotated too soon")
	}
	if _, err := os.Stat(filepath.Join(dir, "nonce.secret")); err != nil {
		t.Error(err)
	}
}

// Two replicas that start at once agree.
func TestNonceKeyAtOnce(t *testing.T) {
	_, dir, _ := store(t)
	keys := make(chan [32]byte, 8)
	for range cap(keys) {
		go func() {
			key, err := keystore.NewFiles(dir, slog.New(slog.DiscardHandler)).NonceKey(t.Context(), rand.Reader)
			if err != nil {
				t.Error(err)
			}
			keys <- key
		}()
	}
	first := <-keys
	for range cap(keys) - 1 {
		if <-keys != first {
			t.Error("two secrets")
		}
	}
}

// A folder that may only be read gives what is there, and says what to run when
// there is nothing.
func TestReadOnlyFolder(t *testing.T) {
	f, dir, _ := store(t)
	asReader(t, dir, func() {
		if _, err := f.NonceKey(t.Context(), rand.Reader); !errors.Is(err, keystore.ErrNonce) || !strings.Contains(err.Error(), "cambio keys rotate") {
			t.Errorf("none there: %v", err)
		}
	})
	key, err := f.NonceKey(t.Context(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	to := t.TempDir()
	asReader(t, dir, func() {
		if again, err := f.NonceKey(t.Context(), nil); err != nil || again != key {
			t.Errorf("there: %v", err)
		}
		if r, err := f.Load(t.Context()); err != nil || len(r.Keys) != 4 {
			t.Errorf("%d keys, %v", len(r.Keys), err)
		}
		if _, err := f.Rotate(t.Context(), start, rand.Reader, true); err == nil {
			t.Error("rotated")
		}
		// Publishing needs nothing of the folder but to read it.
		if c, err := f.Publish(t.Context(), to, issuerURL, start, issuer.Roots{}); err != nil || len(c.Keys) != 4 {
			t.Errorf("publish: %+v, %v", c, err)
		}
	}, to)
	if elsewhere, err := f.PublishedElsewhere(); err != nil || elsewhere {
		t.Errorf("noted: %v, %v", elsewhere, err)
	}
}

package keystore_test

import (
	"bytes"
	"context"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"encoding/asn1"
	"encoding/base64"
	"encoding/json"
	"encoding/pem"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"math/big"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"cambio/issuer"
	"cambio/keystore"
)

var start = time.Date(2026, 9, 1, 12, 0, 0, 0, time.UTC)

var first = sync.OnceValue(func() issuer.Ring {
	r, err := issuer.Generate(start, rand.Reader)
	if err != nil {
		panic(err)
	}
	return r
})

// store is a folder that holds the first ring.
func store(t *testing.T) (f *keystore.Files, dir string, log *bytes.Buffer) {
	t.Helper()
	dir = filepath.Join(t.TempDir(), "keys")
	log = new(bytes.Buffer)
	f = keystore.NewFiles(dir, slog.New(slog.NewTextHandler(log, nil)))
	if err := f.Save(t.Context(), first()); err != nil {
		t.Fatal(err)
	}
	return f, dir, log
}

func write(t *testing.T, path string, raw []byte, mode fs.FileMode) {
	t.Helper()
	if err := os.WriteFile(path, raw, mode); err != nil {
		t.Fatal(err)
	}
	if err := os.Chmod(path, mode); err != nil { // whatever the umask
		t.Fatal(err)
	}
}

func pkcs8(t *testing.T, key any) []byte {
	t.Helper()
	der, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		t.Fatal(err)
	}
	return pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: der})
}

// summary is a ring without its signers, whose equality is that of the kid.
func summary(r issuer.Ring) []issuer.Key {
	out := append([]issuer.Key(nil), r.Keys...)
	for i := range out {
		out[i].Signer = nil
	}
	return out
}

func TestSaveLoad(t *testing.T) {
	f, dir, log := store(t)
	got, err := f.Load(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if d := cmp.Diff(summary(first()), summary(got)); d != "" {
		t.Error(d)
	}
	if err := got.Validate(); err != nil { // the signers are those of the kids
		t.Error(err)
	}
	if log.Len() > 0 {
		t.Errorf("logged: %s", log)
	}
	entries, err := os.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	if len(entries) != 5 {
		t.Errorf("%d files, want keys.json and 4 keys", len(entries))
	}
	for _, e := range entries {
		info, err := e.Info()
		if err != nil {
			t.Fatal(err)
		}
		if info.Mode().Perm() != 0o600 {
			t.Errorf("%s has mode %04o", e.Name(), info.Mode().Perm())
		}
	}
	info, err := os.Stat(dir)
	if err != nil {
		t.Fatal(err)
	}
	if info.Mode().Perm() != 0o700 {
		t.Errorf("the folder has mode %04o", info.Mode().Perm())
	}
}

func TestLoadNoKeys(t *testing.T) {
	dir := t.TempDir()
	for _, d := range []string{dir, filepath.Join(dir, "missing")} {
		f := keystore.NewFiles(d, slog.New(slog.DiscardHandler))
		if r, err := f.Load(t.Context()); !errors.Is(err, issuer.ErrNoKeys) || len(r.Keys) > 0 {
			t.Errorf("%s: %v, %v", d, r, err)
		}
	}
	if _, err := os.Stat(filepath.Join(dir, "missing")); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("Load made the folder: %v", err)
	}
}

// trueDER is a PKCS#1 key whose numbers belong together, whatever the exponents.
func trueDER(t *testing.T, k *rsa.PrivateKey, e, d int64) []byte {
	t.Helper()
	der, err := asn1.Marshal(struct {
		Version                     int
		N, E, D, P, Q, Dp, Dq, Qinv *big.Int
	}{
		0, k.N, big.NewInt(e), big.NewInt(d), k.Primes[0], k.Primes[1], big.NewInt(d), big.NewInt(d),
		new(big.Int).ModInverse(k.Primes[1], k.Primes[0]),
	})
	if err != nil {
		t.Fatal(err)
	}
	return pem.EncodeToMemory(&pem.Block{Type: "RSA PRIVATE KEY", Bytes: der})
}

// rsa512 is a true key that the standard library only makes when it is told to.
func rsa512(t *testing.T) []byte {
	t.Helper()
	old := os.Getenv("GODEBUG")
	t.Setenv("GODEBUG", "rsa1024min=0")
	k, err := rsa.GenerateKey(rand.Reader, 512)
	if err != nil {
		t.Fatal(err)
	}
	raw := pkcs8(t, k)
	t.Setenv("GODEBUG", old)
	return raw
}

// weakDER is a PKCS#1 key as a program without scruples writes it: the standard
// library would refuse to marshal it.
func weakDER(t *testing.T, n, e *big.Int) []byte {
	t.Helper()
	one := big.NewInt(1)
	der, err := asn1.Marshal(struct {
		Version                     int
		N, E, D, P, Q, Dp, Dq, Qinv *big.Int
	}{0, n, e, one, one, one, one, one, one})
	if err != nil {
		t.Fatal(err)
	}
	return pem.EncodeToMemory(&pem.Block{Type: "RSA PRIVATE KEY", Bytes: der})
}

func TestLoadRefuses(t *testing.T) {
	rsa1024, err := rsa.GenerateKey(rand.Reader, 1024)
	if err != nil {
		t.Fatal(err)
	}
	p384, err := ecdsa.GenerateKey(elliptic.P384(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	_, ed, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	strong, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	k := first().Keys[0]
	listed := k.KID + ".pem"
	n := k.Signer.(*rsa.PrivateKey).N
	replace := func(old, with string) func(*testing.T, string) {
		return func(t *testing.T, dir string) {
			t.Helper()
			path := filepath.Join(dir, "keys.json")
			raw, err := os.ReadFile(path)
			if err != nil {
				t.Fatal(err)
			}
			if !bytes.Contains(raw, []byte(old)) {
				t.Fatalf("no %s in %s", old, raw)
			}
			write(t, path, bytes.Replace(raw, []byte(old), []byte(with), 1), 0o600)
		}
	}
	put := func(name string, raw []byte, mode fs.FileMode) func(*testing.T, string) {
		return func(t *testing.T, dir string) { t.Helper(); write(t, filepath.Join(dir, name), raw, mode) }
	}
	tests := []struct {
		name   string
		change func(t *testing.T, dir string)
		want   error
		says   string // of the error: the file at fault, or the fix
	}{
		{name: "fine", change: func(*testing.T, string) {}},
		{name: "owner may only read", change: func(t *testing.T, dir string) {
			t.Helper()
			if err := os.Chmod(filepath.Join(dir, listed), 0o400); err != nil {
				t.Fatal(err)
			}
		}},
		{name: "a foreign file", change: put("README", []byte("x"), 0o644)},
		{name: "an unlisted strong key", change: put("mine.pem", pkcs8(t, strong), 0o600)},
		{name: "a half written key", change: put(".tmp-1", []byte("-----BEGIN"), 0o600)},
		{name: "white space", change: replace(`"format": 1`, "\r\n\t\"format\":   1")},
		{name: "an unlisted weak RSA key", change: put("a.pem", pkcs8(t, rsa1024), 0o600), want: issuer.ErrWeakKey, says: "a.pem"},
		{name: "an unlisted weak .key", change: put("a.key", pkcs8(t, rsa1024), 0o600), want: issuer.ErrWeakKey, says: "a.key"},
		{name: "an unlisted weak .PEM", change: put("a.PEM", pkcs8(t, rsa1024), 0o600), want: issuer.ErrWeakKey, says: "a.PEM"},
		{name: "a listed weak key", change: put(listed, pkcs8(t, rsa1024), 0o600), want: issuer.ErrWeakKey, says: listed},
		{name: "P-384", change: put("a.pem", pkcs8(t, p384), 0o600), want: issuer.ErrWeakKey, says: "a.pem"},
		{name: "Ed25519", change: put("a.pem", pkcs8(t, ed), 0o600), want: issuer.ErrWeakKey, says: "a.pem"},
		{name: "RSA 512", change: put("a.pem", rsa512(t), 0o600), want: issuer.ErrWeakKey, says: "a.pem"},
		{name: "RSA 16384", change: put("a.pem", weakDER(t, new(big.Int).Exp(n, big.NewInt(8), nil), big.NewInt(65537)), 0o600), want: keystore.ErrKeyFile, says: "a.pem"},
		{name: "RSA e=1", change: put("a.pem", trueDER(t, k.Signer.(*rsa.PrivateKey), 1, 1), 0o600), want: keystore.ErrKeyFile, says: "a.pem"},
		{name: "RSA e even", change: put("a.pem", weakDER(t, n, big.NewInt(4)), 0o600), want: keystore.ErrKeyFile, says: "a.pem"},
		{name: "a certificate", change: put("a.pem", pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: []byte("x")}), 0o600), want: keystore.ErrKeyFile, says: "a.pem"},
		{name: "no PEM", change: put("a.pem", []byte("x"), 0o600), want: keystore.ErrKeyFile, says: "a.pem"},
		{name: "two blocks", change: put("a.pem", append(pkcs8(t, strong), pkcs8(t, rsa1024)...), 0o600), want: keystore.ErrKeyFile, says: "a.pem"},
		{name: "a huge file", change: put("a.pem", make([]byte, 17<<10), 0o600), want: keystore.ErrKeyFile, says: "a.pem"},
		{name: "a folder as a key", change: func(t *testing.T, dir string) {
			t.Helper()
			if err := os.Mkdir(filepath.Join(dir, "a.pem"), 0o700); err != nil {
				t.Fatal(err)
			}
		}, want: keystore.ErrKeyFile, says: "a.pem"},
		{name: "a key for the group", change: func(t *testing.T, dir string) {
			t.Helper()
			if err := os.Chmod(filepath.Join(dir, listed), 0o640); err != nil {
				t.Fatal(err)
			}
		}, want: keystore.ErrMode, says: "chmod 600"},
		{name: "a key for all", change: put("a.pem", pkcs8(t, strong), 0o604), want: keystore.ErrMode, says: "chmod 600"},
		{name: "a list that others write", change: func(t *testing.T, dir string) {
			t.Helper()
			if err := os.Chmod(filepath.Join(dir, "keys.json"), 0o620); err != nil {
				t.Fatal(err)
			}
		}, want: keystore.ErrMode, says: "chmod 600"},
		{name: "a folder that others write", change: func(t *testing.T, dir string) {
			t.Helper()
			if err := os.Chmod(dir, 0o770); err != nil {
				t.Fatal(err)
			}
		}, want: keystore.ErrMode, says: "chmod 700"},
		{name: "a listed file is missing", change: func(t *testing.T, dir string) {
			t.Helper()
			if err := os.Remove(filepath.Join(dir, listed)); err != nil {
				t.Fatal(err)
			}
		}, want: keystore.ErrKeyFile, says: listed},
		{name: "a listed file holds another key", change: put(listed, pkcs8(t, strong), 0o600), want: keystore.ErrKeyFile, says: listed},
		{name: "the list is lost", change: func(t *testing.T, dir string) {
			t.Helper()
			if err := os.Remove(filepath.Join(dir, "keys.json")); err != nil {
				t.Fatal(err)
			}
		}, want: keystore.ErrManifest, says: "backup"},
		{name: "a newer format", change: replace(`"format": 1`, `"format": 3, "more": true`), want: keystore.ErrManifest, says: "format 3"},
		{name: "a newer format than it needs", change: replace(`"format": 1`, `"format": 2`), want: keystore.ErrManifest, says: "keys.json"},
		{name: "no format", change: replace(`"format": 1,`, ``), want: keystore.ErrManifest, says: "keys.json"},
		{name: "an unknown member", change: replace(`"format": 1,`, `"format": 1, "more": 1,`), want: keystore.ErrManifest, says: "keys.json"},
		{name: "a member twice", change: replace(`"format": 1,`, `"format": 1, "format": 1,`), want: keystore.ErrManifest, says: "keys.json"},
		{name: "a member in capitals", change: replace(`"state"`, `"State"`), want: keystore.ErrManifest, says: "keys.json"},
		{name: "a path as a key id", change: replace(k.KID, "../../etc/"+strings.Repeat("0", 22)), want: keystore.ErrManifest, says: "keys.json"},
		{name: "no JSON", change: put("keys.json", []byte("{"), 0o600), want: keystore.ErrManifest, says: "keys.json"},
		{name: "an empty list file", change: put("keys.json", nil, 0o600), want: keystore.ErrManifest, says: "keys.json"},
		{name: "a huge list file", change: put("keys.json", bytes.Repeat([]byte(" "), 65<<10), 0o600), want: keystore.ErrKeyFile, says: "keys.json"},
		{name: "two active", change: replace(`"next"`, `"active"`), want: issuer.ErrRing, says: "keys.json"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			f, dir, _ := store(t)
			tt.change(t, dir)
			r, err := f.Load(t.Context())
			if tt.want == nil {
				if err != nil || len(r.Keys) != 4 {
					t.Fatalf("%d keys, %v", len(r.Keys), err)
				}
				return
			}
			if !errors.Is(err, tt.want) || len(r.Keys) > 0 {
				t.Fatalf("%d keys, %v; want %v", len(r.Keys), err, tt.want)
			}
			if !strings.Contains(err.Error(), tt.says) {
				t.Errorf("%v: does not say %q", err, tt.says)
			}
			if strings.Contains(err.Error(), "BEGIN") {
				t.Errorf("the error shows the file: %v", err)
			}
		})
	}
}

func TestUnlistedKeyIsLogged(t *testing.T) {
	f, dir, log := store(t)
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	write(t, filepath.Join(dir, "mine.pem"), pkcs8(t, key), 0o600)
	if _, err := f.Load(t.Context()); err != nil {
		t.Fatal(err)
	}
	if !strings.Contains(log.String(), "mine.pem") {
		t.Errorf("not logged: %s", log)
	}
	// On a fresh folder a foreign strong key does not stand in the way either.
	fresh := t.TempDir()
	write(t, filepath.Join(fresh, "mine.pem"), pkcs8(t, key), 0o600)
	if _, err := keystore.NewFiles(fresh, slog.New(slog.DiscardHandler)).Load(t.Context()); !errors.Is(err, issuer.ErrNoKeys) {
		t.Errorf("fresh folder: %v", err)
	}
	write(t, filepath.Join(fresh, "weak.pem"), weakDER(t, big.NewInt(35), big.NewInt(5)), 0o600)
	if _, err := keystore.NewFiles(fresh, slog.New(slog.DiscardHandler)).Load(t.Context()); !errors.Is(err, keystore.ErrKeyFile) {
		t.Errorf("fresh folder with a weak key: %v", err)
	}
}

// A crash in the first Save leaves key files and an empty list: the next start
// generates anew, and asks nobody.
func TestCrashInTheFirstSave(t *testing.T) {
	f, dir, log := store(t)
	write(t, filepath.Join(dir, "keys.json"), []byte("{\"format\": 1, \"keys\": []}\n"), 0o600)
	if _, err := f.Load(t.Context()); !errors.Is(err, issuer.ErrNoKeys) {
		t.Fatalf("Load: %v", err)
	}
	if n := strings.Count(log.String(), ".pem"); n != 4 {
		t.Errorf("%d warnings, want 4: %s", n, log)
	}
	if _, err := f.Update(t.Context(), func(r issuer.Ring) (issuer.Ring, error) {
		if len(r.Keys) > 0 {
			t.Errorf("got %d keys", len(r.Keys))
		}
		return first(), nil
	}); err != nil {
		t.Fatal(err)
	}
	if _, err := f.Load(t.Context()); err != nil {
		t.Error(err)
	}
}

func TestSaveRemovesWhatIsGone(t *testing.T) {
	f, dir, _ := store(t)
	victim := first().Keys[0].KID
	got, err := f.Update(t.Context(), func(r issuer.Ring) (issuer.Ring, error) {
		return issuer.Revoke(r, victim, start, rand.Reader)
	})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := os.Stat(filepath.Join(dir, victim+".pem")); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("the revoked key is still on the disk: %v", err)
	}
	loaded, err := f.Load(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if d := cmp.Diff(summary(got), summary(loaded)); d != "" {
		t.Error(d)
	}
}

func TestSaveRefuses(t *testing.T) {
	f, dir, _ := store(t)
	if err := f.Save(t.Context(), issuer.Ring{}); !errors.Is(err, issuer.ErrRing) {
		t.Errorf("an empty ring: %v", err)
	}
	if _, err := f.Load(t.Context()); err != nil {
		t.Errorf("after a refused Save: %v", err)
	}
	// A list of a newer program is not written over.
	path := filepath.Join(dir, "keys.json")
	write(t, path, []byte(`{"format":3}`), 0o600)
	if err := f.Save(t.Context(), first()); !errors.Is(err, keystore.ErrManifest) {
		t.Errorf("over a newer format: %v", err)
	}
	if raw, err := os.ReadFile(path); err != nil || string(raw) != `{"format":3}` {
		t.Errorf("now %q, %v", raw, err)
	}
}

func TestChanged(t *testing.T) {
	f, dir, _ := store(t)
	replica := keystore.NewFiles(dir, slog.New(slog.DiscardHandler))
	expect := func(what string, want bool) {
		t.Helper()
		got, err := replica.Changed()
		if err != nil || got != want {
			t.Errorf("%s: changed %v, %v; want %v", what, got, err, want)
		}
	}
	load := func() {
		t.Helper()
		if _, err := replica.Load(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
	expect("never loaded", true)
	load()
	expect("loaded", false)
	if changed, err := f.Changed(); err != nil || changed {
		t.Errorf("the one that saved: %v, %v", changed, err)
	}
	rotated, err := issuer.Rotate(first(), start, rand.Reader, true)
	if err != nil {
		t.Fatal(err)
	}
	if err := f.Save(t.Context(), rotated); err != nil {
		t.Fatal(err)
	}
	expect("rotated elsewhere", true)
	load()
	expect("loaded again", false)
	write(t, filepath.Join(dir, "keys.json"), []byte("{"), 0o600)
	expect("broken", true)
	if _, err := replica.Load(t.Context()); !errors.Is(err, keystore.ErrManifest) {
		t.Errorf("Load: %v", err)
	}
	expect("still broken", true)
	if err := os.Remove(filepath.Join(dir, "keys.json")); err != nil {
		t.Fatal(err)
	}
	expect("lost", true)
}

func TestUpdateKeepsWritersApart(t *testing.T) {
	f, dir, _ := store(t)
	inside, leave := make(chan struct{}), make(chan struct{})
	done := make(chan error, 1)
	go func() {
		_, err := f.Update(context.Background(), func(r issuer.Ring) (issuer.Ring, error) {
			close(inside)
			<-leave
			return issuer.Rotate(r, start, rand.Reader, true)
		})
		done <- err
	}()
	<-inside
	other := keystore.NewFiles(dir, slog.New(slog.DiscardHandler))
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Millisecond)
	defer cancel()
	if _, err := other.Update(ctx, func(r issuer.Ring) (issuer.Ring, error) {
		t.Error("two in the folder at once")
		return r, nil
	}); !errors.Is(err, keystore.ErrBusy) {
		t.Errorf("the second: %v", err)
	}
	close(leave)
	if err := <-done; err != nil {
		t.Fatal(err)
	}
	// The lock is free again, and the second sees what the first did.
	refused := errors.New("no")
	if _, err := other.Update(t.Context(), func(r issuer.Ring) (issuer.Ring, error) {
		if len(r.Keys) != 6 {
			t.Errorf("%d keys, want 6", len(r.Keys))
		}
		return issuer.Ring{}, refused
	}); !errors.Is(err, refused) {
		t.Errorf("Update: %v", err)
	}
	if r, err := other.Load(t.Context()); err != nil || len(r.Keys) != 6 {
		t.Errorf("after a refused change: %d keys, %v", len(r.Keys), err)
	}
}

// Readers see a whole ring at every moment of a row of rotations.
func TestLoadWhileOthersRotate(t *testing.T) {
	f, dir, _ := store(t)
	short := first()
	long, err := issuer.Rotate(short, start, rand.Reader, true)
	if err != nil {
		t.Fatal(err)
	}
	stop := make(chan struct{})
	var wg sync.WaitGroup
	for range 2 {
		wg.Go(func() {
			replica := keystore.NewFiles(dir, slog.New(slog.DiscardHandler))
			for {
				select {
				case <-stop:
					return
				default:
				}
				r, err := replica.Load(context.Background())
				if err == nil && len(r.Keys) != 4 && len(r.Keys) != 6 {
					t.Errorf("%d keys", len(r.Keys))
				}
				// A reader that loses the race three times running keeps its ring and
				// tries again; what it must never do is take a weak or a half ring.
				if err != nil && !errors.Is(err, keystore.ErrKeyFile) {
					t.Error(err)
				}
			}
		})
	}
	for n := range 20 {
		r := short
		if n%2 == 0 {
			r = long
		}
		if err := f.Save(t.Context(), r); err != nil {
			t.Error(err)
		}
	}
	close(stop)
	wg.Wait()
}

// What loads has one meaning: the list says the same when it is written again.
func FuzzManifest(f *testing.F) {
	dir := filepath.Join(f.TempDir(), "keys")
	files := keystore.NewFiles(dir, slog.New(slog.DiscardHandler))
	if err := files.Save(context.Background(), first()); err != nil {
		f.Fatal(err)
	}
	path := filepath.Join(dir, "keys.json")
	good, err := os.ReadFile(path)
	if err != nil {
		f.Fatal(err)
	}
	f.Add(good)
	f.Add([]byte(`{"format":1,"keys":[]}`))
	f.Add([]byte(`{"format":1,"keys":null}`))
	f.Add(bytes.Replace(good, []byte(`"next"`), []byte(`"retired"`), 1))
	der, err := x509.MarshalPKIXPublicKey(first().Keys[1].Signer.Public())
	if err != nil {
		f.Fatal(err)
	}
	remote := fmt.Sprintf(`"next", "signer": "awskms:///arn:aws:kms:eu-central-1:111122223333:key/1234abcd-12ab-34cd-56ef-1234567890ab", "public": %q`,
		base64.StdEncoding.EncodeToString(der))
	f.Add(bytes.Replace(bytes.Replace(good, []byte(`"next"`), []byte(remote), 1), []byte(`"format": 1`), []byte(`"format": 2`), 1))
	f.Fuzz(func(t *testing.T, raw []byte) {
		if err := os.WriteFile(path, raw, 0o600); err != nil {
			t.Fatal(err)
		}
		r, err := files.Load(t.Context())
		if err != nil {
			if len(r.Keys) > 0 {
				t.Fatalf("an error and %d keys", len(r.Keys))
			}
			return
		}
		if err := r.Validate(); err != nil {
			t.Fatal(err)
		}
		if err := files.Save(t.Context(), r); err != nil {
			t.Fatal(err)
		}
		again, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		var a, b bytes.Buffer
		if err := errors.Join(json.Compact(&a, raw), json.Compact(&b, again)); err != nil {
			t.Fatal(err)
		}
		if a.String() != b.String() {
			t.Errorf("%s became %s", raw, again)
		}
		if err := os.WriteFile(path, good, 0o600); err != nil {
			t.Fatal(err)
		}
		if err := files.Save(t.Context(), first()); err != nil { // key files that the case took away
			t.Fatal(err)
		}
	})
}

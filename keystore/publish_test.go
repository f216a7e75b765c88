package keystore_test

import (
	"bytes"
	"context"
	"crypto/elliptic"
	"crypto/rand"
	"encoding/json"
	"errors"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"cambio/issuer"
	"cambio/keystore"
)

const issuerURL = "https://id.acme.example"

var copyFiles = []string{"keys", ".well-known/spiffe-bundle", ".well-known/openid-configuration", ".well-known/oauth-authorization-server"}

func readFile(t *testing.T, path string) []byte {
	t.Helper()
	raw, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return raw
}

// shown are the ids in the key set of a copy.
func shown(t *testing.T, dir string) []string {
	t.Helper()
	set, err := issuer.ReadKeySet(readFile(t, filepath.Join(dir, "keys")))
	if err != nil {
		t.Fatal(err)
	}
	return set.KIDs()
}

func publish(t *testing.T, f *keystore.Files, dir string, now time.Time) keystore.Copy {
	t.Helper()
	c, err := f.Publish(t.Context(), dir, issuerURL, now, issuer.Roots{})
	if err != nil {
		t.Fatal(err)
	}
	if d := cmp.Diff(c.Keys, shown(t, dir)); d != "" {
		t.Error(d)
	}
	return c
}

func kids(r issuer.Ring) []string {
	var out []string
	for _, k := range r.Keys {
		out = append(out, k.KID)
	}
	return out
}

func TestPublishIsWhatIsServed(t *testing.T) {
	f, _, _ := store(t)
	dir := filepath.Join(t.TempDir(), "public", "site")
	if elsewhere, err := f.PublishedElsewhere(); err != nil || elsewhere {
		t.Errorf("before: %v, %v", elsewhere, err)
	}
	c := publish(t, f, dir, start)
	if d := cmp.Diff(copyFiles, c.Written); d != "" { // the key set first: discovery must not name keys that are not there
		t.Error(d)
	}
	ring, err := f.Load(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	i := speak(t, ring)
	for _, name := range copyFiles {
		want := i.Discovery()
		switch name {
		case "keys":
			want = i.JWKS()
		case ".well-known/spiffe-bundle":
			want = i.Bundle()
		}
		path := filepath.Join(dir, name)
		if got := readFile(t, path); !bytes.Equal(got, want) {
			t.Errorf("%s is\n%s, want\n%s", name, got, want)
		}
		if info, err := os.Stat(path); err != nil || info.Mode().Perm() != 0o644 {
			t.Errorf("%s: %v, %v", name, info.Mode(), err)
		}
	}
	entries, err := os.ReadDir(dir)
	if err != nil || len(entries) != 2 {
		t.Errorf("%v, %v", entries, err)
	}
	if elsewhere, err := f.PublishedElsewhere(); err != nil || !elsewhere {
		t.Errorf("after: %v, %v", elsewhere, err)
	}
	// The same again is not written: tools that upload look at a file's time.
	if c := publish(t, f, dir, start.Add(time.Hour)); len(c.Written) > 0 || len(c.Unknown) > 0 {
		t.Errorf("again: %+v", c)
	}
	// Private keys are nowhere in it.
	if raw := readFile(t, filepath.Join(dir, "keys")); bytes.Contains(raw, []byte(`"d"`)) || bytes.Contains(raw, []byte("PRIVATE")) {
		t.Errorf("%s", raw)
	}
}

// The copy through a rotation, the end of the retired keys, and a revocation.
func TestPublishFollowsTheRing(t *testing.T) {
	f, _, _ := store(t)
	dir := t.TempDir()
	publish(t, f, dir, start)
	at := start.Add(24 * time.Hour)
	rotated, err := f.Rotate(t.Context(), at, rand.Reader, false)
	if err != nil {
		t.Fatal(err)
	}
	sorted := func(s []string) []string { return slices.Sorted(slices.Values(s)) }
	c := publish(t, f, dir, at)
	if d := cmp.Diff(sorted(kids(rotated)), sorted(c.Keys)); d != "" || len(c.Unknown) > 0 {
		t.Errorf("after a rotation: %v %s", c.Unknown, d)
	}
	// Retired and over: gone from the copy, though nobody rotated since.
	end := at.Add(66 * time.Minute)
	if c := publish(t, f, dir, end.Add(-time.Second)); len(c.Keys) != 6 {
		t.Errorf("before the end: %v", c.Keys)
	}
	if c := publish(t, f, dir, end); len(c.Keys) != 4 || len(c.Unknown) > 0 {
		t.Errorf("at the end: %+v", c)
	}
	// Retired and over, and gone from the ring before the copy was made anew.
	late := t.TempDir()
	publish(t, f, late, at)
	if _, err := f.Rotate(t.Context(), at.Add(48*time.Hour), rand.Reader, false); err != nil {
		t.Fatal(err)
	}
	if c := publish(t, f, late, at.Add(48*time.Hour)); len(c.Keys) != 6 || len(c.Unknown) > 0 {
		t.Errorf("a late copy: %+v", c)
	}
	// Revoked: gone at once, whichever it was.
	for range 3 {
		r, err := f.Load(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		victim := r.Keys[0].KID
		if _, err := f.Revoke(t.Context(), victim, at.Add(48*time.Hour), rand.Reader); err != nil {
			t.Fatal(err)
		}
		if c := publish(t, f, late, at.Add(48*time.Hour)); slices.Contains(c.Keys, victim) || len(c.Unknown) > 0 {
			t.Errorf("revoked: %s is in %+v", victim, c)
		}
	}
}

// A copy that another key folder of the issuer filled keeps that one's keys.
func TestPublishKeepsUnknownKeys(t *testing.T) {
	f, _, _ := store(t)
	dir := t.TempDir()
	publish(t, f, dir, start)
	ring, err := issuer.Generate(start, rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	other := keystore.NewFiles(filepath.Join(t.TempDir(), "keys"), slog.New(slog.DiscardHandler))
	if err := other.Save(t.Context(), ring); err != nil {
		t.Fatal(err)
	}
	c := publish(t, other, dir, start)
	if len(c.Keys) != 8 || len(c.Unknown) != 4 {
		t.Errorf("%+v", c)
	}
	for _, kid := range kids(first()) {
		if !slices.Contains(c.Unknown, kid) {
			t.Errorf("%s is not in %v", kid, c.Unknown)
		}
	}
}

func TestPublishRefuses(t *testing.T) {
	f, _, _ := store(t)
	outside := filepath.Join(t.TempDir(), "secret")
	write(t, outside, []byte("x"), 0o600)
	link := func(name string) func(*testing.T, string) string {
		return func(t *testing.T, dir string) string {
			t.Helper()
			if err := os.MkdirAll(filepath.Dir(filepath.Join(dir, name)), 0o700); err != nil {
				t.Fatal(err)
			}
			if err := os.Symlink(outside, filepath.Join(dir, name)); err != nil {
				t.Fatal(err)
			}
			return dir
		}
	}
	put := func(name, text string) func(*testing.T, string) string {
		return func(t *testing.T, dir string) string {
			t.Helper()
			if err := os.MkdirAll(filepath.Dir(filepath.Join(dir, name)), 0o700); err != nil {
				t.Fatal(err)
			}
			write(t, filepath.Join(dir, name), []byte(text), 0o600)
			return dir
		}
	}
	open := func(name string, mode fs.FileMode) func(*testing.T, string) string {
		return func(t *testing.T, dir string) string {
			t.Helper()
			publish(t, f, dir, start)
			chmod(t, filepath.Join(dir, name), mode)
			return dir
		}
	}
	for name, prepare := range map[string]func(*testing.T, string) string{
		"a link as keys":                put("x", "x"),
		"keys is a link":                link("keys"),
		"discovery is a link":           link(".well-known/openid-configuration"),
		"the other one is a link":       link(".well-known/oauth-authorization-server"),
		"a folder as keys":              func(t *testing.T, dir string) string { t.Helper(); mkdir(t, filepath.Join(dir, "keys")); return dir },
		"a file as .well-known":         put(".well-known", "x"),
		"another issuer's":              put(".well-known/openid-configuration", `{"issuer":"https://other.example"}`),
		"another issuer's, the other":   put(".well-known/oauth-authorization-server", `{"issuer":"https://id.acme.example/"}`),
		"no discovery document":         put(".well-known/openid-configuration", `hello`),
		"a huge discovery document":     put(".well-known/openid-configuration", strings.Repeat(" ", 65<<10)),
		"another's key set":             put("keys", `{"keys":[{"kty":"EC","kid":"x"}]}`),
		"a key set with a private key":  put("keys", `{"keys":[{"kty":"EC","d":"AA"}]}`),
		"a web page":                    put("keys", `<html>`),
		"a folder that anybody may use": func(t *testing.T, dir string) string { t.Helper(); chmod(t, dir, 0o777); return dir },
		"a folder of a group":           func(t *testing.T, dir string) string { t.Helper(); chmod(t, dir, 0o775); return dir },
		"keys that anybody may write":   open("keys", 0o666),
		"keys of a group":               open("keys", 0o664),
		"discovery of a group":          open(".well-known/openid-configuration", 0o664),
		"the other one of a group":      open(".well-known/oauth-authorization-server", 0o664),
		"an open .well-known":           open(".well-known", 0o777),
		"a file": func(t *testing.T, dir string) string {
			t.Helper()
			write(t, filepath.Join(dir, "file"), nil, 0o600)
			return filepath.Join(dir, "file")
		},
		"a link to a folder": func(t *testing.T, dir string) string {
			t.Helper()
			mkdir(t, filepath.Join(dir, "real"))
			if err := os.Symlink("real", filepath.Join(dir, "link")); err != nil {
				t.Fatal(err)
			}
			return filepath.Join(dir, "link") + "/"
		},
		"a link within the folder": func(t *testing.T, dir string) string {
			t.Helper()
			mkdir(t, filepath.Join(dir, "real"))
			if err := os.Symlink("real", filepath.Join(dir, ".well-known")); err != nil {
				t.Fatal(err)
			}
			return dir
		},
	} {
		t.Run(name, func(t *testing.T) {
			dir := prepare(t, t.TempDir())
			_, err := f.Publish(t.Context(), dir, issuerURL, start, issuer.Roots{})
			if name == "a link as keys" { // a foreign file beside ours is none of our business
				if err != nil {
					t.Error(err)
				}
				return
			}
			if !errors.Is(err, keystore.ErrCopy) {
				t.Fatal(err)
			}
			if raw := readFile(t, outside); string(raw) != "x" {
				t.Errorf("written through a link: %s", raw)
			}
			if strings.Contains(err.Error(), "has mode") != (strings.Contains(name, "group") || strings.Contains(name, "anybody") || strings.Contains(name, "open")) ||
				strings.Contains(err.Error(), "has mode") && !strings.Contains(err.Error(), "chmod go-w "+dir) {
				t.Error(err)
			}
			if strings.Contains(err.Error(), "has mode") {
				return // it was published before
			}
			if _, err := os.Lstat(filepath.Join(dir, "keys")); !errors.Is(err, fs.ErrNotExist) && !strings.Contains(name, "key") && name != "a file" && name != "a web page" {
				t.Errorf("written before it was refused: %v", err)
			}
		})
	}
	empty := keystore.NewFiles(t.TempDir(), slog.New(slog.DiscardHandler))
	if _, err := empty.Publish(t.Context(), t.TempDir(), issuerURL, start, issuer.Roots{}); !errors.Is(err, keystore.ErrNoKeys) {
		t.Errorf("no keys: %v", err)
	}
	if _, err := f.Publish(t.Context(), t.TempDir(), "ftp://x", start, issuer.Roots{}); !errors.Is(err, issuer.ErrConfig) {
		t.Errorf("no issuer: %v", err)
	}
}

func mkdir(t *testing.T, path string) {
	t.Helper()
	if err := os.Mkdir(path, 0o700); err != nil {
		t.Fatal(err)
	}
}

func chmod(t *testing.T, path string, mode fs.FileMode) {
	t.Helper()
	if err := os.Chmod(path, mode); err != nil {
		t.Fatal(err)
	}
}

// A crash half way leaves a temporary file, and the next one clears it away.
func TestPublishAfterACrash(t *testing.T) {
	f, _, _ := store(t)
	dir := t.TempDir()
	write(t, filepath.Join(dir, ".cambio-writing"), []byte(`{"ke`), 0o644)
	publish(t, f, dir, start)
	if _, err := os.Stat(filepath.Join(dir, ".cambio-writing")); !errors.Is(err, fs.ErrNotExist) {
		t.Error(err)
	}
}

// A key that somebody else put into a copy which he could write is not published.
func TestPublishOfAStrangersKey(t *testing.T) {
	f, _, _ := store(t)
	dir := t.TempDir()
	publish(t, f, dir, start)
	chmod(t, filepath.Join(dir, "keys"), 0o666)
	strange, err := issuer.Generate(start, rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	_, set, err := issuer.Publication(issuerURL, strange, start)
	if err != nil {
		t.Fatal(err)
	}
	write(t, filepath.Join(dir, "keys"), set, 0o666)
	if c, err := f.Publish(t.Context(), dir, issuerURL, start, issuer.Roots{}); !errors.Is(err, keystore.ErrCopy) {
		t.Errorf("published %v: %v", c.Keys, err)
	}
	if raw := readFile(t, filepath.Join(dir, "keys")); !bytes.Equal(raw, set) {
		t.Error("written before it was refused")
	}
}

// queue is a context that tells when it is first waited for: at a lock.
type queue struct {
	context.Context //nolint:containedctx // a context is what it is
	up              chan struct{}
}

func (q queue) Done() <-chan struct{} {
	select {
	case q.up <- struct{}{}:
	default:
	}
	return q.Context.Done()
}

// One that waits for its turn publishes the keys of when it is its turn: a key
// whose revocation was published meanwhile does not come back.
func TestPublishAfterItsTurnCame(t *testing.T) {
	f, keys, _ := store(t)
	dir, other := t.TempDir(), t.TempDir()
	publish(t, f, dir, start)
	release, err := keystore.HoldFolder(dir)
	if err != nil {
		t.Fatal(err)
	}
	queued := queue{Context: t.Context(), up: make(chan struct{}, 1)}
	done := make(chan error, 1)
	go func() {
		_, err := keystore.NewFiles(keys, slog.New(slog.DiscardHandler)).Publish(queued, dir, issuerURL, start, issuer.Roots{})
		done <- err
	}()
	select {
	case <-queued.up:
	case err := <-done:
		t.Fatalf("it did not wait: %v", err)
	}
	stolen := kids(first())[0]
	if _, err := f.Revoke(t.Context(), stolen, start, rand.Reader); err != nil {
		t.Fatal(err)
	}
	publish(t, f, other, start)
	write(t, filepath.Join(dir, "keys"), readFile(t, filepath.Join(other, "keys")), 0o644) // by the one whose turn it is
	release()
	if err := <-done; err != nil {
		t.Fatal(err)
	}
	if slices.Contains(shown(t, dir), stolen) {
		t.Errorf("%s is revoked, its removal was published, and it is there again", stolen)
	}
}

// Whoever reads while others publish and rotate sees a whole set that holds the
// active keys; two publishers wait for each other.
func TestPublishWhileOthersDo(t *testing.T) {
	f, keys, _ := store(t)
	dir := t.TempDir()
	publish(t, f, dir, start)
	done := make(chan error, 2)
	for range 2 {
		go func() {
			mine := keystore.NewFiles(keys, slog.New(slog.DiscardHandler))
			for range 20 {
				if _, err := mine.Publish(context.Background(), dir, issuerURL, start, issuer.Roots{}); err != nil {
					done <- err
					return
				}
			}
			done <- nil
		}()
	}
	for left := 2; left > 0; {
		select {
		case err := <-done:
			left--
			if err != nil {
				t.Error(err)
			}
		default:
			if n := len(shown(t, dir)); n < 4 {
				t.Errorf("%d keys", n)
			}
		}
	}
}

func TestNotShown(t *testing.T) {
	_, old, err := issuer.Publication(issuerURL, first(), start)
	if err != nil {
		t.Fatal(err)
	}
	if missing, err := keystore.NotShown(first(), old); err != nil || len(missing) > 0 {
		t.Errorf("%v, %v", missing, err)
	}
	rotated, err := issuer.Rotate(first(), start, rand.Reader, true)
	if err != nil {
		t.Fatal(err)
	}
	if missing, err := keystore.NotShown(rotated, old); err != nil || len(missing) != 2 {
		t.Errorf("%v, %v", missing, err)
	}
	if _, err := keystore.NotShown(rotated, []byte("<html>")); !errors.Is(err, issuer.ErrKeySet) {
		t.Error(err)
	}
}

// The list of what is gone is read strictly, and bounded.
func TestPublicationFile(t *testing.T) {
	f, dir, _ := store(t)
	path := filepath.Join(dir, "publication.json")
	for range 3 {
		r, err := f.Load(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		for _, k := range r.Keys {
			if k.Alg == issuer.ES256 && k.State == issuer.Next {
				if _, err := f.Revoke(t.Context(), k.KID, start, rand.Reader); err != nil {
					t.Fatal(err)
				}
			}
		}
	}
	var doc struct{ Gone []string }
	good := readFile(t, path)
	if err := json.Unmarshal(good, &doc); err != nil || len(doc.Gone) != 3 {
		t.Fatalf("%v: %s", err, good)
	}
	many := make([]string, 500)
	for i := range many {
		many[i] = strings.Repeat("0", 32)
	}
	full, err := json.Marshal(map[string]any{"gone": many})
	if err != nil {
		t.Fatal(err)
	}
	write(t, path, append([]byte(`{"format":1,"static":true,`), full[1:]...), 0o600)
	r, err := f.Load(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	victim := r.Keys[0].KID
	if _, err := f.Revoke(t.Context(), victim, start, rand.Reader); err != nil {
		t.Fatal(err)
	}
	if err := json.Unmarshal(readFile(t, path), &doc); err != nil || len(doc.Gone) != 500 || doc.Gone[499] != victim {
		t.Errorf("%v: %d", err, len(doc.Gone))
	}
	for name, text := range map[string]string{
		"a newer format": `{"format":2,"static":false,"gone":[]}`, "an unknown member": `{"format":1,"static":false,"gone":[],"x":1}`,
		"no JSON": `{`, "nothing": ``,
	} {
		write(t, path, []byte(text), 0o600)
		if _, err := f.PublishedElsewhere(); !errors.Is(err, keystore.ErrManifest) {
			t.Errorf("%s: %v", name, err)
		}
		if _, err := f.Publish(t.Context(), t.TempDir(), issuerURL, start, issuer.Roots{}); !errors.Is(err, keystore.ErrManifest) {
			t.Errorf("%s: publish: %v", name, err)
		}
		if _, err := f.Load(t.Context()); err != nil {
			t.Errorf("%s: a gateway needs it not: %v", name, err)
		}
	}
	// A key must not come back from the ring's past unseen: an import refuses too.
	if _, _, err := f.Import(t.Context(), standIn(t, "aws", f).Add(ecKey(t, elliptic.P256())), start, rand.Reader); !errors.Is(err, keystore.ErrManifest) {
		t.Errorf("import: %v", err)
	}
}

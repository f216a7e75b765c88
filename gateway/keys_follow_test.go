package gateway_test

import (
	"crypto/rand"
	"log/slog"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"cambio/audit"
	"cambio/audit/audittest"
	"cambio/issuer"
	"cambio/keystore"
	"cambio/test/rig"
)

// keysOf is the key folder of a rig, as `cambio keys` opens it.
func keysOf(r *rig.Rig) *keystore.Files {
	return keystore.NewFiles(r.Config.Keys, slog.New(slog.DiscardHandler))
}

// revoke revokes the key of this algorithm and state, and returns its id.
func revoke(t *testing.T, r *rig.Rig, alg issuer.Alg, state issuer.State) string {
	t.Helper()
	ring, err := keysOf(r).Load(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	for _, k := range ring.Keys {
		if k.Alg == alg && k.State == state {
			if _, err := keysOf(r).Revoke(t.Context(), k.KID, r.Clock.Now(), rand.Reader); err != nil {
				t.Fatal(err)
			}
			return k.KID
		}
	}
	t.Fatalf("no %s key of %s", state, alg)
	return ""
}

func published(r *rig.Rig, kid string) bool {
	return strings.Contains(r.Get(r.URL, "/keys").Raw, kid)
}

// keyCheck is what /readyz says of the keys.
func keyCheck(r *rig.Rig) (says any, ready bool) {
	a := r.Get(r.AdminURL, "/readyz")
	checks, _ := a.Body["checks"].(map[string]any)
	return checks["keys"], a.Status == http.StatusOK
}

// events counts the records of an event about a key.
func events(t *testing.T, r *rig.Rig, event audit.Event, kid string) int {
	t.Helper()
	n := 0
	for rec, err := range audit.Read(os.DirFS(r.JournalDir())) {
		if err != nil {
			t.Fatal(err)
		}
		if rec.Event == event && rec.Handle == kid {
			n++
		}
	}
	return n
}

// whole fails the test unless the journal verifies: every checkpoint is by a key
// that the journal held before.
func whole(t *testing.T, r *rig.Rig) {
	t.Helper()
	r.Stop()
	report, err := audit.Verify(os.DirFS(r.JournalDir()), audit.Options{})
	if err != nil {
		t.Fatal(err)
	}
	for _, p := range report.Problems {
		t.Errorf("the journal is broken: %s", p)
	}
}

// A revocation that cannot be read must not leave the revoked key in use: a
// minute later nothing is issued, and this replica says so of itself.
func TestKeysThatCannotBeRead(t *testing.T) {
	t.Parallel()
	r := rig.New(t, rig.Setup{})
	r.Control()
	path := filepath.Join(r.Config.Keys, "keys.json")
	old, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	stolen := revoke(t, r, issuer.RS256, issuer.Active)
	now, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	put := func(text string) {
		t.Helper()
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		r.Gateway.FollowKeys(t.Context())
	}
	put(strings.Replace(string(now), `"format": 1`, `"format": 99`, 1))
	r.Move(45 * time.Second)
	r.Control() // a minute is not over
	if says, ready := keyCheck(r); says != "ok" || !ready {
		t.Errorf("too soon: %v, %v", says, ready)
	}
	r.Move(10 * time.Second)
	r.Unavailable(r.Exchange(r.Token(nil)), "keys-stale")
	if says, ready := keyCheck(r); says == "ok" || ready {
		t.Errorf("/readyz: %v, %v", says, ready)
	}
	// Relying parties still find the keys of tokens that are good.
	if a := r.Get(r.URL, "/keys"); a.Status != http.StatusOK || !strings.Contains(a.Raw, stolen) {
		t.Errorf("/keys: %d %s", a.Status, a.Raw)
	}
	r.Gateway.FollowKeys(t.Context())
	r.Unavailable(r.Exchange(r.Token(nil)), "keys-stale")
	// What can be read ends it, whatever it is.
	put(string(now))
	r.Control()
	if says, ready := keyCheck(r); says != "ok" || !ready || published(r, stolen) {
		t.Errorf("afterwards: %v, %v, published %v", says, ready, published(r, stolen))
	}
	// A list that is gone altogether is one that cannot be read.
	if err := os.Remove(path); err != nil {
		t.Fatal(err)
	}
	r.Gateway.FollowKeys(t.Context())
	r.Move(issuer.ReplicaLag)
	r.Unavailable(r.Exchange(r.Token(nil)), "keys-stale")
	put(string(old)) // a backup without the key files of now
	r.Unavailable(r.Exchange(r.Token(nil)), "keys-stale")
	put(string(now))
	r.Control()
	whole(t, r)
}

// A revoked key goes while the journal fails, is on the record once when it is
// back, and what signs then is known to the journal.
func TestRevokeWhileTheJournalFails(t *testing.T) {
	t.Parallel()
	disk := &audittest.Faulty{}
	r := rig.New(t, rig.Setup{OpenSegment: disk.Open})
	r.Control()
	disk.FailSync(-1)
	disk.FailOpen(-1)
	rig.Eventually(t, "the journal's failure", func() bool { return r.Exchange(r.Token(nil)).Status == http.StatusServiceUnavailable })
	first := revoke(t, r, issuer.ES256, issuer.Active)
	r.Gateway.FollowKeys(t.Context())
	if published(r, first) {
		t.Error("a revoked key stays while the journal fails")
	}
	if says, _ := keyCheck(r); says != "ok" {
		t.Errorf("the key that took over was there before: %v", says)
	}
	// Both at once: what signs now is new to the journal.
	next := revoke(t, r, issuer.ES256, issuer.Next)
	second := revoke(t, r, issuer.ES256, issuer.Active)
	r.Gateway.FollowKeys(t.Context())
	if published(r, second) || published(r, next) {
		t.Error("revoked keys stay while the journal fails")
	}
	if says, ready := keyCheck(r); says == "ok" || ready {
		t.Errorf("a key signs that the journal does not hold: %v, %v", says, ready)
	}
	disk.FailOpen(0)
	disk.FailSync(0)
	rig.Eventually(t, "the journal's recovery", func() bool {
		checks, _ := r.Get(r.AdminURL, "/readyz").Body["checks"].(map[string]any)
		return checks["journal"] == "ok"
	})
	r.Gateway.FollowKeys(t.Context())
	r.Control()
	if says, ready := keyCheck(r); says != "ok" || !ready {
		t.Errorf("afterwards: %v, %v", says, ready)
	}
	for _, kid := range []string{first, second} {
		if n := events(t, r, audit.KeyRevoked, kid); n != 1 {
			t.Errorf("%s is recorded as revoked %d times", kid, n)
		}
	}
	whole(t, r)
}

// A rotation waits for the journal: nobody is the worse for it.
func TestRotateWhileTheJournalFails(t *testing.T) {
	t.Parallel()
	disk := &audittest.Faulty{}
	r := rig.New(t, rig.Setup{OpenSegment: disk.Open})
	r.Control()
	before := r.Get(r.URL, "/keys").Raw
	disk.FailSync(-1)
	disk.FailOpen(-1)
	rig.Eventually(t, "the journal's failure", func() bool { return r.Exchange(r.Token(nil)).Status == http.StatusServiceUnavailable })
	if _, err := keysOf(r).Rotate(t.Context(), r.Clock.Now(), rand.Reader, true); err != nil {
		t.Fatal(err)
	}
	r.Gateway.FollowKeys(t.Context())
	if now := r.Get(r.URL, "/keys").Raw; now != before {
		t.Errorf("new keys before the journal holds them:\n%s\n%s", before, now)
	}
	disk.FailOpen(0)
	disk.FailSync(0)
	rig.Eventually(t, "the journal's recovery", func() bool { return r.Exchange(r.Token(nil)).Status == http.StatusOK })
	r.Gateway.FollowKeys(t.Context())
	if now := r.Get(r.URL, "/keys").Raw; now == before {
		t.Error("the rotation was forgotten")
	}
	r.Control()
	whole(t, r)
}

// stuck is a disk whose syncs do not return while it is held.
type stuck struct{ sync.Mutex }

func (s *stuck) open(path string) (audit.File, error) {
	f, err := os.OpenFile(path, os.O_CREATE|os.O_EXCL|os.O_WRONLY|os.O_APPEND, 0o600)
	return &stuckFile{f, s}, err
}

type stuckFile struct {
	*os.File
	disk *stuck
}

func (f *stuckFile) Sync() error {
	f.disk.Lock()
	defer f.disk.Unlock()
	return f.File.Sync()
}

// A disk that hangs gives no error, and holds up no revocation.
func TestRevokeWhileTheDiskHangs(t *testing.T) {
	t.Parallel()
	disk := &stuck{}
	r := rig.New(t, rig.Setup{OpenSegment: disk.open})
	r.Control()
	disk.Lock()
	free := sync.OnceFunc(disk.Unlock)
	defer free()
	next := revoke(t, r, issuer.ES256, issuer.Next)
	stolen := revoke(t, r, issuer.ES256, issuer.Active)
	r.Gateway.FollowKeys(t.Context())
	if published(r, stolen) || published(r, next) {
		t.Error("revoked keys stay while the disk hangs")
	}
	if a := r.Exchange(r.Token(nil)); a.Status != http.StatusServiceUnavailable {
		t.Errorf("issued by a key that the journal does not hold: %d %s", a.Status, a.Raw)
	}
	free()
	r.Gateway.FollowKeys(t.Context())
	r.Control()
	if events(t, r, audit.KeyRevoked, stolen) == 0 {
		t.Error("the revocation is not on the record")
	}
	whole(t, r)
}

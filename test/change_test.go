package test

import (
	"crypto/rand"
	"log/slog"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	relying "github.com/coreos/go-oidc/v3/oidc"

	"cambio/audit"
	"cambio/keystore"
	"cambio/stops"
	"cambio/test/rig"
	"cambio/trust"
)

// within polls until done, and fails the test when that took longer than
// promised.
func within(t *testing.T, promised time.Duration, what string, done func() bool) {
	t.Helper()
	for start := time.Now(); !done(); time.Sleep(100 * time.Millisecond) { // seldom: floods of refusals are summarised
		if time.Since(start) > promised {
			t.Fatalf("%s: not within %s", what, promised)
		}
	}
}

// promised is within what time a stop and a changed document act.
const promised = 5 * time.Second

// TestStopsWithoutTheAPI: the command writes the store itself, and the running
// gateway obeys. Nothing is sent to the gateway but exchanges.
func TestStopsWithoutTheAPI(t *testing.T) {
	t.Parallel()
	r := rig.New(t, rig.Setup{})
	r.Control()
	store := stops.Store{Dir: r.Config.State, Now: r.Clock.Now, Rand: rand.Reader}
	for _, s := range []struct {
		kind trust.StopKind
		what string
		code string
	}{
		{trust.StopWorkload, "spiffe://gw.test/iss1/1/2", "invalid_request"},
		{trust.StopTrust, "tr1", "invalid_request"},
		{trust.StopProvider, "iss1", "invalid_request"},
		{trust.StopTarget, "t1", "invalid_target"},
	} {
		stop, err := store.Add(trust.Stop{Kind: s.kind, What: s.what, Reason: "test"})
		if err != nil {
			t.Fatal(err)
		}
		var a rig.Answer
		within(t, promised, "the stop of a "+string(s.kind), func() bool {
			a = r.Exchange(r.Token(nil))
			return a.Status != http.StatusOK
		})
		r.Refused(a, 400, s.code, rig.Fixed, "stopped")
		if _, err := store.Lift(stop.ID); err != nil {
			t.Fatal(err)
		}
		within(t, promised, "the end of the stop", func() bool { return r.Exchange(r.Token(nil)).Status == http.StatusOK })
	}
	if n := count(t, r, audit.StopAdded); n != 4 {
		t.Errorf("%d stops in the journal", n)
	}
	if n := count(t, r, audit.StopLifted); n != 4 {
		t.Errorf("%d lifted stops in the journal", n)
	}
}

// count counts the records of an event.
func count(t *testing.T, r *rig.Rig, event audit.Event) (n int) {
	t.Helper()
	for rec, err := range audit.Read(os.DirFS(r.JournalDir())) {
		if err != nil {
			t.Fatal(err)
		}
		if rec.Event == event {
			n++
		}
	}
	return n
}

func TestPolicyReload(t *testing.T) {
	t.Parallel()
	r := rig.New(t, rig.Setup{})
	r.Control()
	branch := func() rig.Answer { return r.Exchange(r.Token(map[string]any{"ref": "refs/heads/x", "sub": "custom"})) }
	write := func(name, text string) {
		t.Helper()
		if err := os.WriteFile(filepath.Join(r.Config.Trust, name), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	rejected := func() string {
		for line := range strings.SplitSeq(r.Get(r.AdminURL, "/metrics").Raw, "\n") {
			if value, ok := strings.CutPrefix(line, "cambio_policy_rejected_total "); ok {
				return value
			}
		}
		return "none"
	}

	r.Deny(branch(), "condition-false")
	changed := strings.Replace(rig.TR1, "ref: refs/heads/main", "ref: refs/heads/x", 1)
	write("tr1.yaml", changed)
	within(t, promised, "the change", func() bool { return branch().Status == http.StatusOK })
	r.Deny(r.Exchange(r.Token(nil)), "condition-false")
	if rejected() != "0" {
		t.Errorf("%s changes were rejected before there was a bad one", rejected())
	}

	// One broken document, and the whole old policy stays, the new good one with
	// it is not in force.
	write("good.yaml", strings.NewReplacer("tr1", "tr3", "main", "y").Replace(rig.TR1))
	write("broken.yaml", "name: broken\nowner: x\n")
	within(t, promised, "the rejection", func() bool { return rejected() == "1" })
	if a := branch(); a.Status != http.StatusOK {
		t.Errorf("the old policy is gone: %s", a.Raw)
	}
	r.Deny(r.Exchange(r.Token(map[string]any{"ref": "refs/heads/y", "sub": "custom"})), "condition-false")
	if log := r.Log.String(); !strings.Contains(log, "level=ERROR") || !strings.Contains(log, "broken.yaml:") {
		t.Error("the log does not say which document is broken")
	}
	rig.Eventually(t, "the record", func() bool { return count(t, r, audit.PolicyRejected) == 1 })
	if a := r.Get(r.AdminURL, "/readyz"); a.Status != http.StatusOK {
		t.Errorf("/readyz says %d %s", a.Status, a.Raw)
	}

	// Deleted: what it allowed is over.
	for _, name := range []string{"broken.yaml", "tr1.yaml"} {
		if err := os.Remove(filepath.Join(r.Config.Trust, name)); err != nil {
			t.Fatal(err)
		}
	}
	within(t, promised, "the deletion", func() bool { return branch().Status != http.StatusOK })
	if a := r.Exchange(r.Token(map[string]any{"ref": "refs/heads/y", "sub": "custom"})); a.Status != http.StatusOK {
		t.Errorf("what stayed got %d %s", a.Status, a.Raw)
	}

	// A folder that is gone is no empty one: a mount that failed must not end all
	// service.
	if err := os.Rename(r.Config.Trust, r.Config.Trust+".away"); err != nil {
		t.Fatal(err)
	}
	before := rejected()
	within(t, promised, "the rejection of the folder", func() bool { return rejected() != before })
	if a := r.Exchange(r.Token(map[string]any{"ref": "refs/heads/y", "sub": "custom"})); a.Status != http.StatusOK {
		t.Errorf("without the folder: %d %s", a.Status, a.Raw)
	}
}

// TestRotationUnderway rotates the keys of a running gateway as the command does.
// What the old key signed verifies on, and so does what the new one signs.
func TestRotationUnderway(t *testing.T) {
	t.Parallel()
	listen := freeAddress(t)
	r := rig.New(t, rig.Setup{Config: strings.Replace(listenConfig(t, listen, ""), "https://gw.test", "http://"+listen, 1)})
	serveRig(t, r)
	before := r.Exchange(r.Token(nil)).Text("access_token")
	found, err := relying.NewProvider(t.Context(), r.URL)
	if err != nil {
		t.Fatal(err)
	}
	verifier := found.Verifier(&relying.Config{ClientID: "api://t1"})
	if _, err := verifier.Verify(t.Context(), before); err != nil {
		t.Fatal(err)
	}
	old := r.Get(r.URL, "/keys").Raw
	if _, err := keystore.NewFiles(r.Config.Keys, slog.New(slog.DiscardHandler)).Rotate(t.Context(), r.Clock.Now(), rand.Reader, true); err != nil {
		t.Fatal(err)
	}
	within(t, time.Minute, "the new key set", func() bool { return r.Get(r.URL, "/keys").Raw != old })
	after := r.Exchange(r.Token(nil)).Text("access_token")
	if kidOf(t, before) == kidOf(t, after) {
		t.Error("the old key signs on")
	}
	if !strings.Contains(old, kidOf(t, after)) {
		t.Error("the new key was not published before")
	}
	for _, token := range []string{before, after} {
		if _, err := verifier.Verify(t.Context(), token); err != nil {
			t.Errorf("a relying party: %v", err)
		}
	}
	if n := count(t, r, audit.KeyRetired); n != 2 {
		t.Errorf("%d retired keys in the journal", n)
	}
	r.Stop()
	verifyJournal(t, r)
}

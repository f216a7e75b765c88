package test

import (
	"bytes"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"errors"
	"io"
	"math/big"
	"net/http"
	"os"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"cambio/audit"
	"cambio/audit/audittest"
	"cambio/standin"
	"cambio/test/rig"
)

// machine is a disk that can lose its power, and gets it back.
type machine struct {
	mu   sync.Mutex
	disk *audittest.PowerLoss // nil while there is no power
}

func (m *machine) open(path string) (audit.File, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.disk == nil {
		return nil, audittest.ErrDisk
	}
	return m.disk.Open(path)
}

func (m *machine) on() {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.disk = &audittest.PowerLoss{}
}

func (m *machine) crash(keep int64) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	err := m.disk.Crash(keep)
	m.disk = nil
	return err
}

// shown is a token that a client showed, and what it received for it.
type shown struct {
	token    string
	decision string // of the credential; "" if none came
	jti      string
}

func random(t *testing.T, below int64) int64 {
	t.Helper()
	n, err := rand.Int(rand.Reader, big.NewInt(below))
	if err != nil {
		t.Fatal(err)
	}
	return n.Int64()
}

const crashes = 50

// TestCrashes takes the power away in the middle of a load, fifty times, and
// lets a fresh gateway begin with the bytes that the disk kept. What clients
// hold is in the journal, the chain is whole, and no used token works again.
func TestCrashes(t *testing.T) {
	t.Parallel()
	m := &machine{}
	m.on()
	r := rig.New(t, rig.Setup{OpenSegment: m.open})
	var received int
	for round := range crashes {
		all := loadUntilCrash(t, r, m, time.Duration(1+random(t, 30))*time.Millisecond, random(t, 2000))
		r.Stop()
		m.on()
		if err := r.Start(); err != nil {
			t.Fatalf("round %d: no start on the surviving bytes: %v", round, err)
		}
		received += afterCrash(t, r, all)
		if round%10 == 9 {
			verifyJournal(t, r)
		}
		if t.Failed() {
			t.Fatalf("in round %d", round)
		}
	}
	if received < crashes {
		t.Errorf("only %d credentials in %d rounds: the load was none", received, crashes)
	}
	r.Control()
	r.Stop()
	verifyJournal(t, r)
}

// loadUntilCrash lets four clients exchange until the power is gone, and returns
// all that they showed.
func loadUntilCrash(t *testing.T, r *rig.Rig, m *machine, after time.Duration, keep int64) []shown {
	t.Helper()
	var clients sync.WaitGroup
	var gone atomic.Bool
	var mu sync.Mutex
	var all []shown
	for range 4 {
		clients.Go(func() {
			for !gone.Load() {
				s, err := exchangeAlone(r)
				if err != nil {
					t.Error(err)
					return
				}
				mu.Lock()
				all = append(all, s)
				mu.Unlock()
			}
		})
	}
	time.Sleep(after) // the moment of the crash, not a wait for anything
	if err := m.crash(keep); err != nil {
		t.Error(err)
	}
	gone.Store(true)
	clients.Wait()
	return all
}

// exchangeAlone is one exchange that may be called from any goroutine.
func exchangeAlone(r *rig.Rig) (shown, error) {
	payload, err := json.Marshal(r.Base(nil))
	if err != nil {
		return shown{}, err
	}
	token, err := r.ISS1.Sign(standin.JWS{Payload: payload, Key: "k1", Alg: "RS256"})
	if err != nil {
		return shown{}, err
	}
	s := shown{token: token}
	res, err := http.Post(r.URL+"/token", "application/x-www-form-urlencoded", strings.NewReader(rig.Form(token).Encode()))
	if err != nil {
		return s, err
	}
	defer res.Body.Close()
	body, err := io.ReadAll(res.Body)
	switch {
	case err != nil:
		return s, err
	case res.StatusCode == http.StatusServiceUnavailable:
		return s, nil // nothing was received, as it must be
	case res.StatusCode != http.StatusOK:
		return s, errors.New(string(body))
	}
	var answer struct {
		Token    string `json:"access_token"`
		Decision string `json:"decision_id"`
	}
	if err := json.Unmarshal(body, &answer); err != nil {
		return s, err
	}
	claims, err := payloadOf(answer.Token)
	if err != nil {
		return s, err
	}
	s.decision, s.jti = answer.Decision, claims.ID
	return s, nil
}

type ourClaims struct {
	ID string `json:"jti"`
}

func payloadOf(token string) (c ourClaims, err error) {
	parts := strings.Split(token, ".")
	if len(parts) != 3 {
		return c, errors.New("no JWT")
	}
	payload, err := base64.RawURLEncoding.DecodeString(parts[1])
	if err != nil {
		return c, err
	}
	return c, json.NewDecoder(bytes.NewReader(payload)).Decode(&c)
}

// afterCrash compares what clients hold with what the journal kept, and shows
// used tokens again. It returns how many credentials were received.
func afterCrash(t *testing.T, r *rig.Rig, all []shown) (received int) {
	t.Helper()
	handles, used := map[string]string{}, map[string]bool{}
	for rec, err := range audit.Read(os.DirFS(r.JournalDir())) {
		if err != nil {
			t.Fatalf("the journal cannot be read: %v", err)
		}
		if rec.Event == audit.ExchangeAllowed {
			handles[rec.Decision], used[rec.TokenSHA256] = rec.Handle, true
		}
	}
	again := 0
	for i := len(all) - 1; i >= 0; i-- { // the last before the crash first
		s := all[i]
		sum := sha256.Sum256([]byte(s.token))
		inJournal := used[hex.EncodeToString(sum[:])]
		if s.decision != "" {
			received++
			if handles[s.decision] != s.jti {
				t.Errorf("decision %s gave %s, and the journal holds %q", s.decision, s.jti, handles[s.decision])
			}
		}
		if again++; again > 12 {
			continue // the ones before them are as old as those of the last round
		}
		a := r.Exchange(s.token)
		switch {
		case inJournal && (a.Status != http.StatusBadRequest || !strings.Contains(a.Raw, "already used")):
			t.Errorf("a used token got %d %s", a.Status, a.Raw)
		case !inJournal && a.Status != http.StatusOK:
			t.Errorf("a token that was never used got %d %s", a.Status, a.Raw)
		}
	}
	return received
}

func verifyJournal(t *testing.T, r *rig.Rig) {
	t.Helper()
	report, err := audit.Verify(os.DirFS(r.JournalDir()), audit.Options{Upto: strings.NewReader(r.Checkpoints.String())})
	if err != nil {
		t.Fatal(err)
	}
	for _, p := range report.Problems {
		t.Errorf("the journal is broken: %s", p)
	}
}

// TestSyncFailsOnce: a disk that fails once makes one caller wait, and nobody
// does anything about it. The token that was refused is not used up.
func TestSyncFailsOnce(t *testing.T) {
	t.Parallel()
	disk := &audittest.Faulty{}
	r := rig.New(t, rig.Setup{OpenSegment: disk.Open})
	r.Control()
	var refused string
	// The one failure may hit a write that nobody waits for; then the next one is
	// tried.
	for range 20 {
		disk.FailSync(1)
		token := r.Token(nil)
		if a := r.Exchange(token); a.Status == http.StatusServiceUnavailable {
			r.Unavailable(a)
			refused = token
			break
		}
	}
	if refused == "" {
		t.Fatal("no exchange was refused for a disk that failed")
	}
	rig.Eventually(t, "the journal's recovery", func() bool { return r.Exchange(r.Token(nil)).Status == http.StatusOK })
	if a := r.Exchange(refused); a.Status != http.StatusOK {
		t.Errorf("the token that was refused got %d %s", a.Status, a.Raw)
	}
	metrics := r.Get(r.AdminURL, "/metrics").Raw
	if !strings.Contains(metrics, `reason="audit-sink"`) || strings.Contains(metrics, "cambio_journal_failures_total 0\n") {
		t.Error("the metrics do not tell")
	}
	r.Stop()
	verifyJournal(t, r)
}

// TestSyncFailsForGood: while the disk fails, everything is refused, and the
// replica says so of itself.
func TestSyncFailsForGood(t *testing.T) {
	t.Parallel()
	disk := &audittest.Faulty{}
	r := rig.New(t, rig.Setup{OpenSegment: disk.Open})
	r.Control()
	disk.FailSync(-1)
	disk.FailOpen(-1)
	for range 5 {
		r.Unavailable(r.Exchange(r.Token(nil)))
	}
	if a := r.Get(r.AdminURL, "/readyz"); a.Status != http.StatusServiceUnavailable || !strings.Contains(a.Raw, `"ready":false`) {
		t.Errorf("/readyz says %d %s", a.Status, a.Raw)
	}
	disk.FailOpen(0)
	disk.FailSync(0)
	rig.Eventually(t, "the journal's recovery", func() bool { return r.Exchange(r.Token(nil)).Status == http.StatusOK })
	rig.Eventually(t, "readiness", func() bool { return r.Get(r.AdminURL, "/readyz").Status == http.StatusOK })
	r.Stop()
	verifyJournal(t, r)
}

package audit_test

import (
	"bytes"
	"context"
	"crypto/rand"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"cambio/audit"
	"cambio/audit/audittest"
)

// setup is a journal's configuration and what it says on standard output.
type setup struct {
	audit.Config
	signer *audittest.Signer
	out    *lockedBuffer
}

type lockedBuffer struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (l *lockedBuffer) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.Write(p)
}

func (l *lockedBuffer) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.String()
}

func newSetup(t testing.TB) *setup {
	t.Helper()
	signer, err := audittest.NewSigner("key-1")
	if err != nil {
		t.Fatal(err)
	}
	out := new(lockedBuffer)
	return &setup{audit.Config{
		Dir: filepath.Join(t.TempDir(), "journal"), Replica: "gw-0", Now: time.Now, Rand: rand.Reader,
		Sign: signer.Sign, Head: signer.Head, Checkpoints: out, Open: new(audittest.Faulty).Open,
	}, signer, out}
}

func (s *setup) open(t testing.TB) (*audit.Journal, audit.Recovered) {
	t.Helper()
	j, r, err := audit.Open(t.Context(), s.Config)
	if err != nil {
		t.Fatal(err)
	}
	return j, r
}

// verify wants a journal without problems.
func (s *setup) verify(t testing.TB) audit.Report {
	t.Helper()
	report, err := audit.Verify(os.DirFS(s.Dir), audit.Options{Upto: strings.NewReader(s.out.String())})
	if err != nil || len(report.Problems) > 0 {
		t.Fatalf("verify: %v, %v", report.Problems, err)
	}
	return report
}

func (s *setup) records(t testing.TB) []audit.Record {
	t.Helper()
	var records []audit.Record
	for r, err := range audit.Read(os.DirFS(s.Dir)) {
		if err != nil {
			t.Fatal(err)
		}
		records = append(records, r)
	}
	return records
}

func (s *setup) of(t testing.TB, event audit.Event) []audit.Record {
	t.Helper()
	return slices.DeleteFunc(s.records(t), func(r audit.Record) bool { return r.Event != event })
}

func decisionID(n int) string { return fmt.Sprintf("01990000-0000-7000-8000-%012x", n) }

func allowed(n int, until time.Time) audit.Record {
	return audit.Record{
		Event: audit.ExchangeAllowed, Decision: decisionID(n), Provider: "github", Target: "aws-prod",
		Replay: &audit.Replay{Use: audit.Use{Key: fmt.Sprint("key-", n), Decision: decisionID(n), Members: []string{"aws-prod"}, Closed: true, Until: until}},
	}
}

func denied(reason string) audit.Record {
	return audit.Record{Event: audit.ExchangeDenied, Reason: reason}
}

func mustCommit(t testing.TB, j *audit.Journal, r audit.Record) {
	t.Helper()
	if err := j.Commit(t.Context(), r); err != nil {
		t.Fatal(err)
	}
}

func mustAppend(t testing.TB, j *audit.Journal, r audit.Record) {
	t.Helper()
	if err := j.Append(r); err != nil {
		t.Fatal(err)
	}
}

func mustClose(t testing.TB, j *audit.Journal) {
	t.Helper()
	if err := j.Close(); err != nil {
		t.Fatal(err)
	}
}

func TestJournal(t *testing.T) {
	t.Parallel()
	s := newSetup(t)
	s.Config.Open = nil // a real disk
	j, r := s.open(t)
	if r.Seq != 0 || r.StopVersion != 0 || len(r.Uses) > 0 {
		t.Errorf("recovered %+v from nothing", r)
	}
	mustCommit(t, j, allowed(1, time.Now().Add(time.Hour)))
	if got := s.of(t, audit.ExchangeAllowed); len(got) != 1 || got[0].Decision != decisionID(1) || got[0].Replica != "gw-0" {
		t.Errorf("after the commit: %+v", got)
	}
	mustAppend(t, j, audit.Record{Event: audit.ExchangeMinted, Decision: decisionID(1)})
	mustClose(t, j)
	if got := s.of(t, audit.ExchangeMinted); len(got) != 1 {
		t.Errorf("after Close: %+v", got)
	}
	report := s.verify(t)
	if report.First != 1 || report.Last != report.Records || report.Uncovered != 0 || report.Checkpoints != 2 || report.Captured != 2 {
		t.Errorf("report %+v", report)
	}
	for i, r := range s.records(t) {
		if r.Seq != int64(i+1) || r.Time.Location() != time.UTC || len(r.ID) != 36 || r.ID[14] != '7' {
			t.Errorf("record %d: %+v", i, r)
		}
	}
	dir, err := os.Stat(s.Dir)
	if err != nil || dir.Mode().Perm() != 0o700 {
		t.Errorf("the folder has mode %v, %v", dir.Mode(), err)
	}
	file, err := os.Stat(filepath.Join(s.Dir, "00000001.jsonl"))
	if err != nil || file.Mode().Perm() != 0o600 {
		t.Errorf("the segment has mode %v, %v", file.Mode(), err)
	}
	for name, err := range map[string]error{"commit": j.Commit(t.Context(), denied("x")), "append": j.Append(denied("x")), "healthy": j.Healthy()} {
		if !errors.Is(err, audit.ErrOutOfOrder) {
			t.Errorf("%s after Close: %v", name, err)
		}
	}
	if err := j.Close(); err != nil {
		t.Errorf("a second Close: %v", err)
	}
}

func TestOpenRefusesWithoutItsParts(t *testing.T) {
	t.Parallel()
	for name, change := range map[string]func(*audit.Config){
		"folder":             func(c *audit.Config) { c.Dir = "" },
		"replica":            func(c *audit.Config) { c.Replica = "" },
		"replica, two lines": func(c *audit.Config) { c.Replica = "a\n1" },
		"clock":              func(c *audit.Config) { c.Now = nil },
		"randomness":         func(c *audit.Config) { c.Rand = nil },
		"signer":             func(c *audit.Config) { c.Sign = nil },
		"a key that can sign": func(c *audit.Config) {
			c.Sign = func([]byte) (string, []byte, error) { return "", nil, audittest.ErrDisk }
		},
		"a disk": func(c *audit.Config) { c.Open = func(string) (audit.File, error) { return nil, audittest.ErrDisk } },
	} {
		s := newSetup(t)
		change(&s.Config)
		if j, _, err := audit.Open(t.Context(), s.Config); j != nil || err == nil {
			t.Errorf("without a %s: %v", name, err)
		}
	}
}

func TestCommitsShareAnFsync(t *testing.T) {
	t.Parallel()
	s := newSetup(t)
	disk := new(audittest.Faulty)
	s.Config.Open = disk.Open
	j, _ := s.open(t)
	var wg sync.WaitGroup
	const n = 2000
	for range 50 {
		wg.Go(func() {
			for range n / 50 {
				if err := j.Commit(context.Background(), denied("x")); err != nil {
					t.Error(err)
				}
			}
		})
	}
	wg.Wait()
	mustClose(t, j)
	if got := len(s.of(t, audit.ExchangeDenied)); got != n {
		t.Errorf("%d records", got)
	}
	if disk.Synced() >= n {
		t.Errorf("%d fsyncs for %d commits", disk.Synced(), n)
	}
	s.verify(t)
}

func TestCommitStopsWaiting(t *testing.T) {
	t.Parallel()
	s := newSetup(t)
	synced := make(chan struct{})
	release := make(chan struct{})
	first := true
	s.Config.Synced = func(time.Duration, error) {
		if first { // of Open
			first = false
			return
		}
		synced <- struct{}{}
		<-release
	}
	j, _ := s.open(t)
	ctx, cancel := context.WithCancel(t.Context())
	result := make(chan error)
	go func() { result <- j.Commit(ctx, allowed(1, time.Now())) }()
	<-synced
	cancel()
	if err := <-result; !errors.Is(err, context.Canceled) {
		t.Errorf("got %v", err)
	}
	go func() {
		for range synced { // the others
		}
	}()
	close(release)
	mustClose(t, j)
	close(synced)
	s.verify(t)
}

func TestAppendIsDurableWithinASecond(t *testing.T) {
	t.Parallel()
	s := newSetup(t)
	synctest.Test(t, func(t *testing.T) {
		disk := new(audittest.PowerLoss)
		s.Config.Open = disk.Open
		j, _ := s.open(t)
		mustAppend(t, j, denied("x"))
		time.Sleep(time.Second)
		synctest.Wait()
		if err := disk.Crash(0); err != nil {
			t.Fatal(err)
		}
		_ = j.Close()
		if got := len(s.of(t, audit.ExchangeDenied)); got != 1 {
			t.Errorf("%d records after the crash", got)
		}
	})
}

// TestFlood holds case AUD-06.
func TestFlood(t *testing.T) {
	t.Parallel()
	s := newSetup(t)
	synctest.Test(t, func(t *testing.T) {
		j, _ := s.open(t)
		time.Sleep(30 * time.Second)
		for range 5000 {
			mustAppend(t, j, denied("signature-invalid"))
			mustAppend(t, j, audit.Record{Event: audit.ExchangeDryRun, Reason: "condition-false"})
			synctest.Wait()
		}
		for range 100 {
			mustAppend(t, j, denied("expired"))
		}
		for i := range 300 {
			mustAppend(t, j, audit.Record{Event: audit.ExchangeMinted, Decision: decisionID(i)})
			mustAppend(t, j, audit.Record{Event: audit.ExchangeDryRun})
			mustAppend(t, j, audit.Record{Event: audit.ExchangeFailed, Reason: "mint-failed"})
			synctest.Wait()
		}
		if got := s.of(t, audit.ExchangeSummary); len(got) > 0 {
			t.Errorf("a summary before the minute ended: %v", got)
		}
		time.Sleep(time.Minute)
		synctest.Wait()
		for range 150 {
			mustAppend(t, j, denied("signature-invalid"))
		}
		synctest.Wait()
		mustClose(t, j)

		type line struct {
			reason string
			count  int64
		}
		var summaries []line
		for _, r := range s.of(t, audit.ExchangeSummary) {
			summaries = append(summaries, line{r.Reason, r.Count})
		}
		want := []line{{"condition-false", 4900}, {"signature-invalid", 4900}, {"signature-invalid", 50}}
		if diff := cmp.Diff(want, summaries, cmp.AllowUnexported(line{})); diff != "" {
			t.Error(diff)
		}
		full := make(map[string]int)
		for _, r := range s.records(t) {
			if strings.HasPrefix(string(r.Event), "exchange.") {
				full[string(r.Event)+" "+r.Reason]++
			}
		}
		wantFull := map[string]int{
			"exchange.denied signature-invalid": 200, "exchange.dry-run condition-false": 100, "exchange.denied expired": 100,
			"exchange.minted ": 300, "exchange.dry-run ": 300, "exchange.failed mint-failed": 300,
			"exchange.summary condition-false": 1, "exchange.summary signature-invalid": 2,
		}
		if diff := cmp.Diff(wantFull, full); diff != "" {
			t.Error(diff)
		}
		s.verify(t)
	})
}

func TestCheckpoints(t *testing.T) {
	t.Parallel()
	s := newSetup(t)
	synctest.Test(t, func(t *testing.T) {
		j, _ := s.open(t)
		for i := range 2500 {
			mustCommit(t, j, audit.Record{Event: audit.ExchangeMinted, Decision: decisionID(i)})
		}
		time.Sleep(61 * time.Second)
		synctest.Wait()
		reasons := func() (all []string) {
			for _, r := range s.of(t, audit.Checkpoint) {
				all = append(all, r.Reason)
			}
			return all
		}
		want := []string{"segment-head", "interval", "interval", "interval"}
		if diff := cmp.Diff(want, reasons()); diff != "" {
			t.Error(diff)
		}
		time.Sleep(10 * time.Minute) // nothing new: nothing to sign
		mustClose(t, j)
		if diff := cmp.Diff(append(want, "segment-end"), reasons()); diff != "" {
			t.Error(diff)
		}
		if report := s.verify(t); report.Captured != 5 || report.Uncovered != 0 {
			t.Errorf("report %+v", report)
		}
		for line := range strings.Lines(s.out.String()) {
			if !json.Valid([]byte(line)) || !strings.HasSuffix(line, "}\n") {
				t.Errorf("on standard output: %q", line)
			}
		}
	})
}

func TestACheckpointThatCannotBeSignedIsTriedAgain(t *testing.T) {
	t.Parallel()
	s := newSetup(t)
	synctest.Test(t, func(t *testing.T) {
		var mu sync.Mutex
		broken := false
		s.Config.Sign = func(text []byte) (string, []byte, error) {
			mu.Lock()
			defer mu.Unlock()
			if broken {
				return "", nil, errors.New("the key is away")
			}
			return s.signer.Sign(text)
		}
		j, _ := s.open(t)
		mu.Lock()
		broken = true
		mu.Unlock()
		mustCommit(t, j, allowed(1, time.Now()))
		time.Sleep(2 * time.Minute)
		synctest.Wait()
		mustCommit(t, j, allowed(2, time.Now()))
		mu.Lock()
		broken = false
		mu.Unlock()
		time.Sleep(11 * time.Second)
		synctest.Wait()
		if got := s.of(t, audit.Checkpoint); len(got) != 2 {
			t.Errorf("%d checkpoints", len(got))
		}
		mustClose(t, j)
		s.verify(t)
	})
}

func TestSegmentsAndKeep(t *testing.T) {
	t.Parallel()
	s := newSetup(t)
	synctest.Test(t, func(t *testing.T) {
		s.Config.SegmentBytes, s.Config.Keep = 4096, time.Hour
		j, _ := s.open(t)
		for i := range 100 {
			mustCommit(t, j, allowed(i, time.Now().Add(time.Hour)))
		}
		mustAppend(t, j, audit.Record{Event: audit.StopLifted, Count: 9})
		before := s.verify(t)
		if before.Segments < 5 {
			t.Fatalf("%d segments", before.Segments)
		}
		checkpoint := s.of(t, audit.Checkpoint)
		time.Sleep(2 * time.Hour)
		for i := range 50 {
			mustCommit(t, j, allowed(200+i, time.Now().Add(time.Hour)))
		}
		mustClose(t, j)
		kept := s.records(t)
		if kept[0].Seq == 1 {
			t.Error("no segment was removed")
		}
		report, err := audit.Verify(os.DirFS(s.Dir), audit.Options{})
		if err != nil || len(report.Problems) != 1 {
			t.Errorf("without a checkpoint to begin at: %v, %v", report.Problems, err)
		}
		last := checkpoint[len(checkpoint)-1]
		for _, since := range []string{fmt.Sprint(last.Seq), last.ID, lineOf(t, last)} {
			report, err := audit.Verify(os.DirFS(s.Dir), audit.Options{Since: since, Upto: strings.NewReader(s.out.String())})
			if err != nil || len(report.Problems) > 0 {
				t.Errorf("since %.40s: %v, %v", since, report.Problems, err)
			}
		}
		for _, since := range []string{"1", "0", "-3", "x", fmt.Sprint(last.Seq - 1)} {
			if report, err := audit.Verify(os.DirFS(s.Dir), audit.Options{Since: since}); err == nil {
				t.Errorf("since %s: %+v", since, report)
			}
		}
		j, r := s.open(t)
		if r.StopVersion != 9 {
			t.Errorf("the version of the stop list is %d", r.StopVersion)
		}
		mustClose(t, j)
	})
}

func lineOf(t testing.TB, r audit.Record) string {
	t.Helper()
	line, err := audit.AppendLine(nil, &r)
	if err != nil {
		t.Fatal(err)
	}
	return string(line)
}

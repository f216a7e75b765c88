package audit_test

import (
	"bytes"
	"context"
	"crypto/rand"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
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

// TestFaultHeals holds case AUD-01: a fault refuses what waits, the failed file
// is not touched again, and a new segment is begun by itself.
func TestFaultHeals(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		name string
		fail func(*audittest.Faulty)
	}{
		{"fsync", func(d *audittest.Faulty) { d.FailSync(1) }},
		{"write", func(d *audittest.Faulty) { d.FailWrite(1, 0) }},
		{"short write", func(d *audittest.Faulty) { d.FailWrite(1, 100) }},
		{"write that fails behind the last byte", func(d *audittest.Faulty) { d.FailWrite(1, 1<<20) }},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			s := newSetup(t)
			synctest.Test(t, func(t *testing.T) {
				disk := new(audittest.Faulty)
				s.Config.Open = disk.Open
				j, _ := s.open(t)
				mustCommit(t, j, allowed(1, time.Now().Add(time.Hour)))
				mustAppend(t, j, audit.Record{Event: audit.ExchangeMinted, Decision: decisionID(1)})
				synctest.Wait()

				time.Sleep(time.Second / 2) // before the tick that would sync it
				tt.fail(disk)
				if err := j.Commit(t.Context(), allowed(2, time.Now().Add(time.Hour))); !errors.Is(err, audit.ErrOutOfOrder) {
					t.Fatalf("the commit that met the fault: %v", err)
				}
				synctest.Wait()
				if err := j.Healthy(); err != nil {
					t.Fatalf("after one fault: %v", err)
				}
				mustCommit(t, j, allowed(3, time.Now().Add(time.Hour)))
				mustClose(t, j)

				var decisions []string
				for _, r := range s.of(t, audit.ExchangeAllowed) {
					decisions = append(decisions, r.Decision)
				}
				if diff := cmp.Diff([]string{decisionID(1), decisionID(3)}, decisions); diff != "" {
					t.Error(diff)
				}
				if got := s.of(t, audit.ExchangeMinted); len(got) != 1 {
					t.Errorf("the appended record is there %d times", len(got))
				}
				if report := s.verify(t); report.Segments != 2 {
					t.Errorf("report %+v", report)
				}
			})
		})
	}
}

func TestOutageRefusesUntilAWriteIsDurable(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		name string
		fail func(d *audittest.Faulty, n int)
	}{
		{"fsync", func(d *audittest.Faulty, n int) { d.FailSync(n) }},
		{"write", func(d *audittest.Faulty, n int) { d.FailWrite(n, 300) }},
		{"open", func(d *audittest.Faulty, n int) {
			d.FailOpen(n)
			if n != 0 {
				d.FailSync(1)
			}
		}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			s := newSetup(t)
			synctest.Test(t, func(t *testing.T) {
				disk := new(audittest.Faulty)
				s.Config.Open = disk.Open
				j, _ := s.open(t)
				mustCommit(t, j, allowed(1, time.Now().Add(time.Hour)))
				tt.fail(disk, -1)
				for i := range 10 {
					if err := j.Commit(t.Context(), allowed(10+i, time.Now().Add(time.Hour))); !errors.Is(err, audit.ErrOutOfOrder) {
						t.Fatalf("commit %d: %v", i, err)
					}
					if err := j.Append(denied("x")); !errors.Is(err, audit.ErrOutOfOrder) {
						t.Fatalf("append %d: %v", i, err)
					}
					time.Sleep(time.Second)
					synctest.Wait()
				}
				if n := disk.Opened(); n < 8 || n > 14 {
					t.Errorf("%d segments were tried in 10 s", n)
				}
				tt.fail(disk, 0)
				time.Sleep(time.Second)
				synctest.Wait()
				mustCommit(t, j, allowed(2, time.Now().Add(time.Hour)))
				mustClose(t, j)
				if got := len(s.of(t, audit.ExchangeAllowed)); got != 2 {
					t.Errorf("%d decisions are in the journal", got)
				}
				if report := s.verify(t); report.Segments != 2 {
					t.Errorf("an outage left %d segments", report.Segments)
				}
			})
		})
	}
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
		time.Sleep(2 * time.Second)
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

func keysOf(uses []audit.Use) []string {
	keys := make(map[string]bool)
	for _, u := range uses {
		keys[u.Key] = true
	}
	return slices.Sorted(maps.Keys(keys))
}

func TestUsesSurvive(t *testing.T) {
	t.Parallel()
	for _, crash := range []bool{false, true} {
		s := newSetup(t)
		synctest.Test(t, func(t *testing.T) {
			disk := new(audittest.PowerLoss)
			s.Config.Open = disk.Open
			j, _ := s.open(t)
			for i := range 3 {
				mustCommit(t, j, allowed(i, time.Now().Add(time.Hour)))
			}
			mustCommit(t, j, allowed(3, time.Now().Add(time.Second)))
			mustCommit(t, j, audit.Record{Event: audit.ExchangeFailed, Decision: decisionID(1), Replay: &audit.Replay{Outcome: "released"}})
			mustCommit(t, j, audit.Record{Event: audit.ExchangeFailed, Decision: decisionID(2), Replay: &audit.Replay{Outcome: "burnt"}})
			var held []audit.Use
			s.Config.Remembered = func() []audit.Use { return held }
			if crash {
				if err := disk.Crash(0); err != nil {
					t.Fatal(err)
				}
				_ = j.Close()
			} else {
				// The store that would have answered is the gateway's: here it is empty,
				// and the summary says so.
				mustClose(t, j)
			}
			s.Config.Open = new(audittest.Faulty).Open
			time.Sleep(time.Minute)
			j, r := s.open(t)
			want := []string{"key-0", "key-2"}
			if !crash {
				want = nil
			}
			if diff := cmp.Diff(want, keysOf(r.Uses)); diff != "" {
				t.Error(diff)
			}
			mustClose(t, j)

			// Starts without any exchange keep what they recovered, once.
			for range 3 {
				j, r = s.open(t)
				if diff := cmp.Diff(want, keysOf(r.Uses)); diff != "" || len(r.Uses) != len(want) {
					t.Errorf("%d uses: %s", len(r.Uses), diff)
				}
				held = r.Uses
				mustClose(t, j)
			}
			s.verify(t)
		})
	}
}

func TestManyUsesAreSummarised(t *testing.T) {
	t.Parallel()
	s := newSetup(t)
	var held []audit.Use
	until := time.Now().Add(time.Hour)
	for i := range 3500 {
		held = append(held, audit.Use{Key: fmt.Sprintf("%043d", i), Decision: decisionID(i), Members: []string{"aws-prod"}, Until: until})
	}
	for i := range 20 { // few, but large
		held = append(held, audit.Use{Key: fmt.Sprintf("large %d", i), Members: slices.Repeat([]string{strings.Repeat("m", 4000)}, 20), Until: until})
	}
	held = append(held, audit.Use{Key: "expired", Until: time.Now().Add(-time.Second)})
	s.Config.Remembered = func() []audit.Use { return held }
	j, _ := s.open(t)
	mustClose(t, j)
	j, r := s.open(t)
	defer j.Close()
	if got := keysOf(r.Uses); len(got) != 3520 {
		t.Errorf("%d uses came back", len(got))
	}
	for _, c := range s.of(t, audit.Checkpoint) {
		if c.Replay != nil && len(c.Replay.Remembered) > 1000 {
			t.Errorf("%d uses in one line", len(c.Replay.Remembered))
		}
	}
	s.verify(t)
}

func TestStopsSurvive(t *testing.T) {
	t.Parallel()
	s := newSetup(t)
	disk := new(audittest.PowerLoss)
	s.Config.Open = disk.Open
	j, _ := s.open(t)
	add := func(id string, version int64) audit.Record {
		return audit.Record{Event: audit.StopAdded, Handle: id, Trust: "payments", Reason: "INC-7", Count: version}
	}
	mustAppend(t, j, add("stop-aaaaaaaa", 2))
	mustAppend(t, j, add("stop-bbbbbbbb", 3))
	mustCommit(t, j, audit.Record{Event: audit.StopLifted, Handle: "stop-aaaaaaaa", Count: 4})
	if err := disk.Crash(0); err != nil {
		t.Fatal(err)
	}
	_ = j.Close()
	s.Config.Open = new(audittest.Faulty).Open
	for range 3 {
		var r audit.Recovered
		j, r = s.open(t)
		if r.StopVersion != 4 || len(r.Stops) != 1 || r.Stops[0].Handle != "stop-bbbbbbbb" || r.Stops[0].Reason != "INC-7" {
			t.Errorf("recovered version %d, %+v", r.StopVersion, r.Stops)
		}
		if len(r.LastKeys) != 1 || r.LastKeys[0].Claims["kid"] != "key-1" {
			t.Errorf("recovered the keys %+v", r.LastKeys)
		}
		mustClose(t, j)
	}
	j, _ = s.open(t)
	mustCommit(t, j, audit.Record{Event: audit.StopLifted, Handle: "stop-bbbbbbbb", Count: 5})
	mustClose(t, j)
	for range 2 { // that the list is empty must not be forgotten either
		var r audit.Recovered
		j, r = s.open(t)
		if r.StopVersion != 5 || len(r.Stops) != 0 {
			t.Errorf("recovered version %d, %+v", r.StopVersion, r.Stops)
		}
		mustClose(t, j)
	}
	s.verify(t)
}

func TestDamageRefusesToStart(t *testing.T) {
	t.Parallel()
	s := newSetup(t)
	j, _ := s.open(t)
	for i := range 10 {
		mustCommit(t, j, allowed(i, time.Now().Add(time.Hour)))
	}
	mustClose(t, j)
	path := filepath.Join(s.Dir, "00000001.jsonl")
	b, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	for name, spoiled := range map[string][]byte{
		"a changed byte": bytes.Replace(b, []byte("key-5"), []byte("key-x"), 1),
		"a removed line": append(bytes.Clone(b[:bytes.IndexByte(b, '\n')+1]), b[bytes.IndexByte(b, '\n')+1+bytes.IndexByte(b[bytes.IndexByte(b, '\n')+1:], '\n')+1:]...),
		"zeros":          append(bytes.Clone(b), append(make([]byte, 512), '\n')...),
	} {
		if err := os.WriteFile(path, spoiled, 0o600); err != nil {
			t.Fatal(err)
		}
		if j, _, err := audit.Open(t.Context(), s.Config); j != nil || !errors.Is(err, audit.ErrDamaged) {
			t.Errorf("%s: %v", name, err)
		}
	}
	if err := os.WriteFile(path, b[:len(b)-10], 0o600); err != nil {
		t.Fatal(err)
	}
	j, r := s.open(t)
	if r.Torn == 0 || len(r.Uses) != 10 {
		t.Errorf("a torn line: %d bytes, %d uses", r.Torn, len(r.Uses))
	}
	mustClose(t, j)
}

// TestStartReadsAllKindsOfLines holds that the short way through a segment finds
// what the long way does.
func TestStartReadsAllKindsOfLines(t *testing.T) {
	t.Parallel()
	s := newSetup(t)
	j, _ := s.open(t)
	trap := `x","event":"exchange.denied"`
	for i := range 30 {
		r := allowed(i, time.Now().Add(time.Hour))
		r.Subject = trap
		mustCommit(t, j, r)
		mustAppend(t, j, audit.Record{Event: audit.ExchangeMinted, Decision: decisionID(i)})
		mustAppend(t, j, audit.Record{Event: audit.ExchangeDenied, Reason: trap, Decision: `,"event":"exchange.allowed"`})
		mustAppend(t, j, audit.Record{Event: audit.PolicyLoaded})
	}
	mustCommit(t, j, audit.Record{Event: audit.ExchangeMinted})
	whole := snapshot(t, s.Dir)[one].Data
	mustClose(t, j)

	path := filepath.Join(s.Dir, one)
	start := func(b []byte) (audit.Recovered, error) {
		t.Helper()
		if err := os.WriteFile(path, b, 0o600); err != nil {
			t.Fatal(err)
		}
		j, r, err := audit.Open(t.Context(), s.Config)
		if err != nil {
			return r, err
		}
		mustClose(t, j)
		return r, os.Remove(filepath.Join(s.Dir, two))
	}
	r, err := start(whole)
	if err != nil || len(r.Uses) != 30 || r.Seq != int64(bytes.Count(whole, []byte("\n"))) {
		t.Errorf("recovered %d uses and seq %d, %v", len(r.Uses), r.Seq, err)
	}
	// The last line is one that is skimmed; nothing behind it proves it.
	if _, err := start(append(bytes.Clone(whole[:len(whole)-len("\"}\n")-70]), []byte(`"x":1,"prev":"`+strings.Repeat("0", 64)+"\"}\n")...)); !errors.Is(err, audit.ErrDamaged) {
		t.Errorf("a last line that is none: %v", err)
	}
}

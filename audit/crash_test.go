package audit_test

import (
	"context"
	"crypto/rand"
	"encoding/binary"
	"errors"
	"os"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"cambio/audit"
	"cambio/audit/audittest"
)

// TestCrashesLoseNothingThatWasCommitted takes the power away at 50 random
// moments, each time on top of what the crashes before left.
func TestCrashesLoseNothingThatWasCommitted(t *testing.T) {
	t.Parallel()
	s := newSetup(t)
	s.Config.SegmentBytes = 16 << 10
	until := time.Now().Add(time.Hour)
	var (
		mu        sync.Mutex
		committed []string
		next      atomic.Int64
		held      []audit.Use // what the replay store would hold
	)
	s.Config.Remembered = func() []audit.Use {
		mu.Lock()
		defer mu.Unlock()
		return slices.Clone(held)
	}
	random := make([]byte, 4*50)
	if _, err := rand.Read(random); err != nil {
		t.Fatal(err)
	}
	for round := range 50 {
		disk := new(audittest.PowerLoss)
		s.Config.Open = disk.Open
		j, r := s.open(t)
		mu.Lock()
		held = r.Uses
		mu.Unlock()

		var wg sync.WaitGroup
		for range 4 {
			wg.Go(func() {
				for {
					n := int(next.Add(1))
					record := allowed(n, until)
					mu.Lock()
					held = append(held, record.Replay.Use)
					mu.Unlock()
					if n%3 == 0 && j.Append(audit.Record{Event: audit.ExchangeMinted, Decision: decisionID(n)}) != nil {
						return
					}
					if err := j.Commit(context.Background(), record); err != nil {
						if !errors.Is(err, audit.ErrOutOfOrder) {
							t.Error(err)
						}
						return
					}
					mu.Lock()
					committed = append(committed, decisionID(n))
					mu.Unlock()
				}
			})
		}
		// The moment: between a write and its sync, of which the disk has a part.
		when, keep := binary.BigEndian.Uint16(random[4*round:]), binary.BigEndian.Uint16(random[4*round+2:])
		disk.CrashOnSync(1+int(when%12), int64(keep%2500))
		wg.Wait()
		_ = j.Close() // the process is gone; this only ends its goroutine
	}

	s.Config.Open = nil
	j, r := s.open(t)
	mustClose(t, j)
	inJournal := make(map[string]bool)
	for _, record := range s.of(t, audit.ExchangeAllowed) {
		inJournal[record.Decision] = true
	}
	remembered := make(map[string]bool)
	for _, u := range r.Uses {
		remembered[u.Decision] = true
	}
	for _, id := range committed {
		if !inJournal[id] {
			t.Errorf("%s was committed and is gone", id)
		}
		if !remembered[id] {
			t.Errorf("the token of %s could be used again", id)
		}
	}
	report, err := audit.Verify(os.DirFS(s.Dir), audit.Options{})
	if err != nil || len(report.Problems) > 0 {
		t.Errorf("verify: %v, %v", report.Problems, err)
	}
	if report.Torn == 0 || report.Abandoned > 0 {
		t.Errorf("no crash left a torn line, or one counted a line and dropped it: %+v", report)
	}
	if len(committed) < 100 {
		t.Errorf("only %d commits were tried", len(committed))
	}
	t.Logf("%d commits, %d segments, %d torn bytes", len(committed), report.Segments, report.Torn)
}

// BenchmarkCommit commits on a real disk.
func BenchmarkCommit(b *testing.B) {
	for _, parallel := range []int{1, 16, 64} {
		b.Run(map[int]string{1: "1", 16: "16", 64: "64"}[parallel], func(b *testing.B) {
			s := newSetup(b)
			s.Config.Open = nil
			j, _ := s.open(b)
			record := full()
			b.ReportAllocs()
			b.ResetTimer()
			var wg sync.WaitGroup
			var n atomic.Int64
			for range parallel {
				wg.Go(func() {
					for n.Add(1) <= int64(b.N) {
						if err := j.Commit(context.Background(), record); err != nil {
							b.Error(err)
							return
						}
					}
				})
			}
			wg.Wait()
			b.StopTimer()
			mustClose(b, j)
		})
	}
}

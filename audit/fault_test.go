package audit_test

import (
	"errors"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"cambio/audit"
	"cambio/audit/audittest"
)

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

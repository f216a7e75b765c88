package audit_test

import (
	"errors"
	"io/fs"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/fstest"
	"time"

	"github.com/google/go-cmp/cmp"

	"cambio/audit"
)

// scanned are the records of a scan, by seq.
func scanned(fsys fs.FS, s audit.Scan) ([]audit.Record, error) {
	var mu sync.Mutex
	var out []audit.Record
	err := s.Each(fsys, func() func(audit.Record) error {
		return func(r audit.Record) error {
			mu.Lock()
			defer mu.Unlock()
			out = append(out, r)
			return nil
		}
	})
	slices.SortStableFunc(out, func(a, b audit.Record) int { return int(a.Seq - b.Seq) })
	return out, err
}

func read(fsys fs.FS) ([]audit.Record, error) {
	var out []audit.Record
	for r, err := range audit.Read(fsys) {
		if err != nil {
			return out, err
		}
		out = append(out, r)
	}
	return out, nil
}

func TestScanReadsWhatReadDoes(t *testing.T) {
	t.Parallel()
	_, journal := written(t)
	want, err := read(journal)
	if err != nil {
		t.Fatal(err)
	}
	size, err := audit.Size(journal)
	if err != nil {
		t.Fatal(err)
	}
	var told atomic.Int64
	got, err := scanned(journal, audit.Scan{Workers: 3, Read: func(n int64) { told.Add(n) }})
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
	if told.Load() != size || size == 0 {
		t.Errorf("%d of %d bytes were told of", told.Load(), size)
	}
	only := func(keep func(audit.Record) bool) []audit.Record {
		return slices.DeleteFunc(slices.Clone(want), func(r audit.Record) bool { return !keep(r) })
	}
	since, until := want[10].Time, want[30].Time
	for name, c := range map[string]struct {
		scan audit.Scan
		keep func(audit.Record) bool
	}{
		"event": {audit.Scan{Events: []audit.Event{audit.ExchangeAllowed}}, func(r audit.Record) bool { return r.Event == audit.ExchangeAllowed }},
		"since": {audit.Scan{Since: since}, func(r audit.Record) bool { return !r.Time.Before(since) }},
		"until": {audit.Scan{Until: until, Workers: 2}, func(r audit.Record) bool { return r.Time.Before(until) }},
		"late":  {audit.Scan{Since: want[len(want)-1].Time.Add(time.Hour)}, func(audit.Record) bool { return false }},
	} {
		got, err := scanned(journal, c.scan)
		if err != nil {
			t.Errorf("%s: %v", name, err)
		}
		if diff := cmp.Diff(only(c.keep), got); diff != "" && len(got)+len(only(c.keep)) > 0 {
			t.Errorf("%s: %s", name, diff)
		}
	}
}

func TestScanFails(t *testing.T) {
	t.Parallel()
	_, journal := written(t)
	stop := errors.New("enough")
	err := audit.Scan{Workers: 2}.Each(journal, func() func(audit.Record) error {
		return func(audit.Record) error { return stop }
	})
	if !errors.Is(err, stop) {
		t.Errorf("the error of whoever reads is %v", err)
	}
	lines := strings.SplitAfter(string(journal["00000001.jsonl"].Data), "\n")
	lines[3] = strings.Replace(lines[3], `"event"`, `"Event"`, 1)
	bad := fstest.MapFS{"00000001.jsonl": {Data: []byte(strings.Join(lines, ""))}}
	if _, err := scanned(bad, audit.Scan{Events: []audit.Event{audit.ExchangeAllowed}}); err == nil || !strings.Contains(err.Error(), "00000001.jsonl:4:") {
		t.Errorf("a line without an event: %v", err)
	}
}

// FuzzScan holds that a scan and a reading understand any bytes alike.
func FuzzScan(f *testing.F) {
	_, journal := written(f)
	for _, file := range journal {
		f.Add(file.Data)
	}
	f.Add([]byte("\n"))
	f.Add([]byte("{}\n{"))
	f.Fuzz(func(t *testing.T, data []byte) {
		fsys := fstest.MapFS{"00000001.jsonl": {Data: data}}
		want, wantErr := read(fsys)
		got, err := scanned(fsys, audit.Scan{Workers: 2})
		if (err == nil) != (wantErr == nil) {
			t.Fatalf("scan: %v, read: %v", err, wantErr)
		}
		if diff := cmp.Diff(want, got); err == nil && diff != "" {
			t.Fatal(diff)
		}
	})
}

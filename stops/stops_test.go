package stops_test

import (
	"bytes"
	"crypto/rand"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"cambio/stops"
	"cambio/trust"
)

func newStore(t *testing.T) stops.Store {
	t.Helper()
	return stops.Store{Dir: filepath.Join(t.TempDir(), "state"), Now: time.Now, Rand: rand.Reader}
}

func valid() trust.Stop {
	return trust.Stop{Kind: trust.StopWorkload, What: "spiffe://id.acme.example/github/9919/41881900", Reason: "INC-7: leaked"}
}

func mustAdd(t *testing.T, s stops.Store, stop trust.Stop) trust.Stop {
	t.Helper()
	added, err := s.Add(stop)
	if err != nil {
		t.Fatal(err)
	}
	return added
}

func TestAddListLift(t *testing.T) {
	t.Parallel()
	s := newStore(t)
	first := mustAdd(t, s, valid())
	if !regexp.MustCompile(`^stop-[a-z2-7]{8}$`).MatchString(first.ID) || first.Added.IsZero() {
		t.Errorf("added %+v", first)
	}
	second := mustAdd(t, s, trust.Stop{Kind: trust.StopTarget, What: "aws-prod", Reason: "r", Until: time.Now().Add(time.Hour)})
	set, err := s.List()
	if err != nil || set.Version() != 2 {
		t.Fatalf("version %d, %v", set.Version(), err)
	}
	if diff := cmp.Diff([]trust.Stop{first, second}, set.All()); diff != "" {
		t.Error(diff)
	}
	lifted, err := s.Lift(first.ID)
	if err != nil || lifted.ID != first.ID {
		t.Fatal(lifted, err)
	}
	if _, err := s.Lift(first.ID); !errors.Is(err, stops.ErrNotFound) {
		t.Errorf("a second lift: %v", err)
	}
	if set, err = s.List(); err != nil || set.Version() != 3 || len(set.All()) != 1 {
		t.Errorf("version %d with %d stops, %v", set.Version(), len(set.All()), err)
	}
	info, err := os.Stat(filepath.Join(s.Dir, "stops.json"))
	if err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("mode %v, %v", info.Mode(), err)
	}
}

func TestAddRefuses(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		name   string
		change func(*trust.Stop)
	}{
		{"no kind", func(s *trust.Stop) { s.Kind = "" }},
		{"an unknown kind", func(s *trust.Stop) { s.Kind = "repository" }},
		{"no name", func(s *trust.Stop) { s.Kind, s.What = trust.StopTarget, "" }},
		{"a long name", func(s *trust.Stop) { s.Kind, s.What = trust.StopTarget, strings.Repeat("a", 64) }},
		{"a name in upper case", func(s *trust.Stop) { s.Kind, s.What = trust.StopTrust, "Payments" }},
		{"a name with a line break", func(s *trust.Stop) { s.Kind, s.What = trust.StopProvider, "github\n" }},
		{"a workload that is a name", func(s *trust.Stop) { s.What = "payments" }},
		{"a workload without a path", func(s *trust.Stop) { s.What = "spiffe://id.acme.example" }},
		{"a workload with an empty segment", func(s *trust.Stop) { s.What = "spiffe://id.acme.example/github//1" }},
		{"a workload with a dot segment", func(s *trust.Stop) { s.What = "spiffe://id.acme.example/github/../1" }},
		{"a trust domain in upper case", func(s *trust.Stop) { s.What = "spiffe://ID.acme.example/github/1" }},
		{"a workload with a glob", func(s *trust.Stop) { s.What = "spiffe://id.acme.example/github/*" }},
		{"a long workload", func(s *trust.Stop) { s.What += strings.Repeat("/a", 600) }},
		{"no reason", func(s *trust.Stop) { s.Reason = "" }},
		{"a blank reason", func(s *trust.Stop) { s.Reason = " " }},
		{"a long reason", func(s *trust.Stop) { s.Reason = strings.Repeat("a", 1025) }},
		{"a reason that moves the cursor", func(s *trust.Stop) { s.Reason = "\x1b[2J" }},
		{"a reason that is not UTF-8", func(s *trust.Stop) { s.Reason = "\xff" }},
		{"an end that has passed", func(s *trust.Stop) { s.Until = time.Now().Add(-time.Minute) }},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			s, stop := newStore(t), valid()
			tt.change(&stop)
			if _, err := s.Add(stop); !errors.Is(err, stops.ErrInvalid) {
				t.Errorf("got %v", err)
			}
			if _, err := s.List(); !errors.Is(err, stops.ErrUnavailable) {
				t.Errorf("a list was written: %v", err)
			}
		})
	}
}

func TestEndedStopsGoWithTheNextChange(t *testing.T) {
	t.Parallel()
	now := time.Date(2026, 9, 1, 12, 0, 0, 0, time.UTC)
	s := newStore(t)
	s.Now = func() time.Time { return now }
	short := valid()
	short.Until = now.Add(time.Minute)
	mustAdd(t, s, short)
	now = now.Add(time.Hour)
	last := mustAdd(t, s, valid())
	set, err := s.List()
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff([]trust.Stop{last}, set.All()); diff != "" {
		t.Error(diff)
	}
}

// TestNoStopIsLost adds from many sides at once.
func TestNoStopIsLost(t *testing.T) {
	t.Parallel()
	s := newStore(t)
	mustAdd(t, s, valid())
	var wg sync.WaitGroup
	for range 20 {
		wg.Go(func() {
			if _, err := s.Add(valid()); err != nil {
				t.Error(err)
			}
		})
	}
	wg.Wait()
	if set, err := s.List(); err != nil || set.Version() != 21 || len(set.All()) != 21 {
		t.Errorf("version %d with %d stops, %v", set.Version(), len(set.All()), err)
	}
	left, err := filepath.Glob(filepath.Join(s.Dir, "stops.json.*"))
	if err != nil || len(left) > 0 {
		t.Errorf("left over: %v, %v", left, err)
	}
}

func TestAddDoesNotHideThatTheListIsGone(t *testing.T) {
	t.Parallel()
	s := newStore(t)
	mustAdd(t, s, valid())
	if err := os.Mkdir(filepath.Join(s.Dir, "journal"), 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.Remove(filepath.Join(s.Dir, "stops.json")); err != nil {
		t.Fatal(err)
	}
	if _, err := s.Add(valid()); !errors.Is(err, stops.ErrUnavailable) {
		t.Errorf("got %v", err)
	}
	keep := valid()
	keep.ID, keep.Added = "stop-aaaaaaaa", time.Date(2026, 9, 1, 0, 0, 0, 0, time.UTC)
	set, err := s.Restore([]trust.Stop{keep}, 7)
	if err != nil || set.Version() != 8 {
		t.Fatalf("restore: version %d, %v", set.Version(), err)
	}
	if set, err = s.Restore(nil, 2); err != nil || set.Version() != 9 {
		t.Errorf("a second restore: version %d, %v", set.Version(), err)
	}
	if got := set.All(); len(got) != 1 || got[0].ID != keep.ID {
		t.Errorf("a second restore lifted a stop that stood in the file: %v", got)
	}
}

const good = `{"format":1,"version":3,"stops":[{"id":"stop-aaaaaaaa","kind":"trust","what":"payments","reason":"r","added":"2026-09-01T12:00:00Z"}]}`

func TestParse(t *testing.T) {
	t.Parallel()
	if _, err := stops.Parse([]byte(good)); err != nil {
		t.Fatal(err)
	}
	for name, change := range map[string][2]string{
		"an unknown member":      {`"format":1`, `"format":1,"x":1`},
		"another format":         {`"format":1`, `"format":2`},
		"no format":              {`"format":1,`, ``},
		"no version":             {`"version":3,`, ``},
		"version 0":              {`"version":3`, `"version":0`},
		"a huge version":         {`"version":3`, `"version":9223372036854775807`},
		"a member twice":         {`"version":3`, `"version":9,"version":3`},
		"a member in upper case": {`"version":3`, `"Version":3`},
		"no list":                {good[strings.Index(good, `"stops"`):], `"stops":null}`},
		"text behind":            {`}]}`, `}]}{}`},
		"no id":                  {`"id":"stop-aaaaaaaa",`, ``},
		"another id":             {`stop-aaaaaaaa`, `stop-AAAAAAAA`},
		"an unknown kind":        {`"kind":"trust"`, `"kind":"any"`},
		"no name":                {`"payments"`, `""`},
		"no reason":              {`"reason":"r",`, ``},
		"no time":                {`,"added":"2026-09-01T12:00:00Z"`, ``},
		"the same id twice":      {`"stops":[`, `"stops":[{"id":"stop-aaaaaaaa","kind":"trust","what":"other","reason":"r","added":"2026-09-01T12:00:00Z"},`},
		"cut":                    {`"}]}`, ``},
	} {
		b := strings.Replace(good, change[0], change[1], 1)
		if b == good {
			t.Errorf("%s: nothing was changed", name)
		}
		set, err := stops.Parse([]byte(b))
		if !errors.Is(err, stops.ErrInvalid) || set.Version() != 0 || set.All() != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
	if _, err := stops.Parse(bytes.Repeat([]byte(" "), 2<<20+1)); !errors.Is(err, stops.ErrInvalid) {
		t.Errorf("a large file: %v", err)
	}
}

func FuzzSet(f *testing.F) {
	f.Add([]byte(good))
	f.Add([]byte(`{"format":1,"version":1,"stops":[]}`))
	f.Add([]byte(`{"format":1,"version":1,"stops":[{"id":"stop-22222222","kind":"workload","what":"spiffe://a/b","reason":"<&>","added":"2026-09-01T12:00:00+02:00","until":"2027-09-01T12:00:00Z"}]}`))
	f.Fuzz(func(t *testing.T, b []byte) {
		set, err := stops.Parse(b)
		if err != nil {
			if set.Version() != 0 || set.All() != nil {
				t.Fatal("an error and a list")
			}
			return
		}
		again, err := stops.Encode(set)
		if err != nil {
			t.Fatal(err)
		}
		back, err := stops.Parse(again)
		if err != nil {
			t.Fatalf("%v of %s", err, again)
		}
		if diff := cmp.Diff(set.All(), back.All()); diff != "" || set.Version() != back.Version() {
			t.Fatal(diff)
		}
	})
}

// change is one call of the hook.
type change struct {
	added, lifted []string
	version       int64
}

// watched opens a list inside a synctest bubble; changes is read after a Wait.
func watched(t *testing.T, dir string, seen int64, journaled []trust.Stop) (f *stops.File, changes *[]change) {
	t.Helper()
	changes = new([]change)
	names := func(stops []trust.Stop) (ids []string) {
		for _, s := range stops {
			ids = append(ids, s.ID)
		}
		return ids
	}
	f, err := stops.OpenFile(t.Context(), stops.FileConfig{
		Dir: dir, Now: time.Now, Seen: seen, Journaled: journaled,
		Changed: func(added, lifted []trust.Stop, version int64) error {
			*changes = append(*changes, change{names(added), names(lifted), version})
			return nil
		},
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = f.Close() })
	return f, changes
}

// pass lets the poller look again.
func pass(d time.Duration) {
	time.Sleep(d)
	synctest.Wait()
}

func TestFirstStartAndChanges(t *testing.T) {
	t.Parallel()
	s := newStore(t)
	synctest.Test(t, func(t *testing.T) {
		f, changes := watched(t, s.Dir, 0, nil)
		defer f.Close()
		set, err := f.Current(time.Now())
		if err != nil || set.Version() != 1 || len(set.All()) != 0 {
			t.Fatalf("version %d with %v, %v", set.Version(), set.All(), err)
		}
		stop := mustAdd(t, s, valid())
		pass(time.Second)
		if set, err = f.Current(time.Now()); err != nil || !set.Stopped(stop.Kind, stop.What, time.Now()) {
			t.Errorf("after a second: %v, %v", set.All(), err)
		}
		if _, err := s.Lift(stop.ID); err != nil {
			t.Fatal(err)
		}
		pass(time.Second)
		if set, err = f.Current(time.Now()); err != nil || set.Stopped(stop.Kind, stop.What, time.Now()) {
			t.Errorf("after the lift: %v, %v", set.All(), err)
		}
		want := []change{{nil, nil, 1}, {[]string{stop.ID}, nil, 2}, {nil, []string{stop.ID}, 3}}
		if diff := cmp.Diff(want, *changes, cmp.AllowUnexported(change{})); diff != "" {
			t.Error(diff)
		}
	})
}

func TestMissingBrokenOldRefuse(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		name  string
		spoil func(path string, old []byte) error
	}{
		{"missing", func(path string, _ []byte) error { return os.Remove(path) }},
		{"empty", func(path string, _ []byte) error { return os.WriteFile(path, nil, 0o600) }},
		{"not JSON", func(path string, _ []byte) error { return os.WriteFile(path, []byte("stops"), 0o600) }},
		{"an old one put back", func(path string, old []byte) error { return os.WriteFile(path, old, 0o600) }},
		{"emptied with its version", func(path string, _ []byte) error {
			return os.WriteFile(path, []byte(`{"format":1,"version":2,"stops":[]}`), 0o600)
		}},
		{"a folder", func(path string, _ []byte) error {
			return errors.Join(os.Remove(path), os.Mkdir(path, 0o700))
		}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			s := newStore(t)
			path := filepath.Join(s.Dir, "stops.json")
			synctest.Test(t, func(t *testing.T) {
				f, _ := watched(t, s.Dir, 0, nil)
				defer f.Close()
				old, err := os.ReadFile(path)
				if err != nil {
					t.Fatal(err)
				}
				mustAdd(t, s, valid())
				pass(time.Second)
				now, err := os.ReadFile(path)
				if err != nil {
					t.Fatal(err)
				}
				if _, err := f.Current(time.Now()); err != nil {
					t.Fatal(err)
				}
				if err := tt.spoil(path, old); err != nil {
					t.Fatal(err)
				}
				pass(time.Second)
				if set, err := f.Current(time.Now()); !errors.Is(err, stops.ErrUnavailable) || set.Version() != 0 {
					t.Errorf("got %v with version %d", err, set.Version())
				}
				if err := errors.Join(os.RemoveAll(path), os.WriteFile(path, now, 0o600)); err != nil {
					t.Fatal(err)
				}
				pass(time.Second)
				if set, err := f.Current(time.Now()); err != nil || set.Version() != 2 {
					t.Errorf("after it came back: version %d, %v", set.Version(), err)
				}
			})
		})
	}
}

func TestStaleCopyRefuses(t *testing.T) {
	t.Parallel()
	s := newStore(t)
	synctest.Test(t, func(t *testing.T) {
		f, _ := watched(t, s.Dir, 0, nil)
		now := time.Now()
		if _, err := f.Current(now.Add(5 * time.Second)); err != nil {
			t.Errorf("at 5 s: %v", err)
		}
		if _, err := f.Current(now.Add(5*time.Second + 1)); !errors.Is(err, stops.ErrUnavailable) {
			t.Errorf("behind 5 s: %v", err)
		}
		pass(time.Minute)
		if _, err := f.Current(time.Now()); err != nil {
			t.Errorf("while it is watched: %v", err)
		}
		if err := f.Close(); err != nil {
			t.Fatal(err)
		}
		pass(6 * time.Second)
		if _, err := f.Current(time.Now()); !errors.Is(err, stops.ErrUnavailable) {
			t.Errorf("after Close: %v", err)
		}
	})
}

func TestJournalHoldsAgainstTheFile(t *testing.T) {
	t.Parallel()
	held := valid()
	held.ID, held.Added = "stop-aaaaaaaa", time.Date(2026, 9, 1, 0, 0, 0, 0, time.UTC)

	t.Run("a file older than the journal", func(t *testing.T) {
		t.Parallel()
		s := newStore(t)
		mustAdd(t, s, valid())
		synctest.Test(t, func(t *testing.T) {
			f, changes := watched(t, s.Dir, 2, []trust.Stop{held})
			defer f.Close()
			if _, err := f.Current(time.Now()); !errors.Is(err, stops.ErrUnavailable) {
				t.Errorf("got %v", err)
			}
			if len(*changes) > 0 {
				t.Errorf("journaled %v", *changes)
			}
			if _, err := s.Restore([]trust.Stop{held}, 2); err != nil {
				t.Fatal(err)
			}
			pass(time.Second)
			if set, err := f.Current(time.Now()); err != nil || set.Version() != 3 {
				t.Errorf("after a restore: version %d, %v", set.Version(), err)
			}
		})
	})
	t.Run("a missing file is rebuilt", func(t *testing.T) {
		t.Parallel()
		s := newStore(t)
		synctest.Test(t, func(t *testing.T) {
			f, changes := watched(t, s.Dir, 7, []trust.Stop{held})
			defer f.Close()
			set, err := f.Current(time.Now())
			if err != nil || set.Version() != 7 || !set.Stopped(held.Kind, held.What, time.Now()) {
				t.Errorf("version %d with %v, %v", set.Version(), set.All(), err)
			}
			if len(*changes) > 0 {
				t.Errorf("journaled %v", *changes)
			}
		})
	})
	t.Run("a change while the gateway was down is journaled", func(t *testing.T) {
		t.Parallel()
		s := newStore(t)
		mustAdd(t, s, valid())
		added := mustAdd(t, s, valid())
		first, err := s.List()
		if err != nil {
			t.Fatal(err)
		}
		synctest.Test(t, func(t *testing.T) {
			f, changes := watched(t, s.Dir, 2, append(first.All()[:1], held)) // a crash came between two records of version 2
			defer f.Close()
			if _, err := f.Current(time.Now()); err != nil {
				t.Error(err)
			}
			want := []change{{[]string{added.ID}, []string{held.ID}, 2}}
			if diff := cmp.Diff(want, *changes, cmp.AllowUnexported(change{})); diff != "" {
				t.Error(diff)
			}
		})
	})
}

// TestUnrecordedChangeIsToldAgain has a journal that is out of order while a stop
// is added: it is in force at once, an older file is refused, and the journal
// hears of it as soon as it can.
func TestUnrecordedChangeIsToldAgain(t *testing.T) {
	t.Parallel()
	s := newStore(t)
	synctest.Test(t, func(t *testing.T) {
		var told [][]trust.Stop
		var broken atomic.Bool
		f, err := stops.OpenFile(t.Context(), stops.FileConfig{
			Dir: s.Dir, Now: time.Now,
			Changed: func(added, _ []trust.Stop, _ int64) error {
				if broken.Load() {
					return errors.New("the journal is out of order")
				}
				told = append(told, added)
				return nil
			},
		})
		if err != nil {
			t.Fatal(err)
		}
		defer f.Close()
		older, err := os.ReadFile(filepath.Join(s.Dir, "stops.json"))
		if err != nil {
			t.Fatal(err)
		}
		broken.Store(true)
		stop := mustAdd(t, s, valid())
		pass(time.Second)
		if set, err := f.Current(time.Now()); err != nil || !set.Stopped(stop.Kind, stop.What, time.Now()) {
			t.Errorf("a stop that is not recorded is not in force: %v, %v", set.All(), err)
		}
		newer, err := os.ReadFile(filepath.Join(s.Dir, "stops.json"))
		if err != nil {
			t.Fatal(err)
		}
		for i, b := range [][]byte{older, newer} {
			if err := os.WriteFile(filepath.Join(s.Dir, "stops.json"), b, 0o600); err != nil {
				t.Fatal(err)
			}
			pass(time.Second)
			if _, err := f.Current(time.Now()); (err == nil) != (i == 1) {
				t.Errorf("file %d: %v", i, err)
			}
		}
		broken.Store(false)
		pass(2 * time.Second)
		if len(told) != 2 || len(told[1]) != 1 || told[1][0].ID != stop.ID {
			t.Errorf("told %v", told)
		}
	})
}

func TestOpenFileRefusesWithoutItsParts(t *testing.T) {
	t.Parallel()
	for _, cfg := range []stops.FileConfig{{}, {Dir: t.TempDir()}, {Now: time.Now}} {
		if f, err := stops.OpenFile(t.Context(), cfg); f != nil || !errors.Is(err, stops.ErrInvalid) {
			t.Errorf("%+v: %v", cfg, err)
		}
	}
}

func BenchmarkCurrent(b *testing.B) {
	dir := b.TempDir()
	s := stops.Store{Dir: filepath.Join(dir, "state"), Now: time.Now, Rand: rand.Reader}
	for i := range 100 {
		if _, err := s.Add(trust.Stop{Kind: trust.StopTrust, What: fmt.Sprint("trust-", i), Reason: "r"}); err != nil {
			b.Fatal(err)
		}
	}
	f, err := stops.OpenFile(b.Context(), stops.FileConfig{Dir: s.Dir, Now: time.Now})
	if err != nil {
		b.Fatal(err)
	}
	defer f.Close()
	b.ReportAllocs()
	for b.Loop() {
		if _, err := f.Current(time.Now()); err != nil {
			b.Fatal(err)
		}
	}
}

package audit_test

import (
	"bytes"
	"errors"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"cambio/audit"
	"cambio/audit/audittest"
)

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

// What the replay store is known to hold is the store's alone to keep: what it
// has let go since must not come back.
func TestFilledStoreSpeaksAlone(t *testing.T) {
	t.Parallel()
	s := newSetup(t)
	until := time.Now().Add(time.Hour)
	held := []audit.Use{{Key: "key-1", Decision: decisionID(1), Until: until}, {Key: "key-2", Decision: decisionID(2), Until: until}}
	s.Config.Remembered = func() []audit.Use { return held }
	j, _ := s.open(t)
	mustClose(t, j)
	j, r := s.open(t)
	if diff := cmp.Diff([]string{"key-1", "key-2"}, keysOf(r.Uses)); diff != "" {
		t.Fatal(diff)
	}
	j.Filled()
	held = held[1:]
	mustClose(t, j)
	j, r = s.open(t)
	defer j.Close()
	if diff := cmp.Diff([]string{"key-2"}, keysOf(r.Uses)); diff != "" {
		t.Error(diff)
	}
	s.verify(t)
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

package replay_test

import (
	"cmp"
	"errors"
	"fmt"
	"runtime"
	"slices"
	"sync/atomic"
	"testing"
	"time"

	gocmp "github.com/google/go-cmp/cmp"

	"cambio/replay"
	"cambio/replay/replaytest"
)

func TestMemory(t *testing.T) {
	t.Parallel()
	replaytest.Run(t, func(*testing.T) replaytest.Store { return replay.NewMemory(time.Now) })
}

// clock is a clock that stands still until it is moved.
type clock struct{ t time.Time }

func newClock() *clock { return &clock{time.Date(2026, 9, 1, 12, 0, 0, 0, time.UTC)} }

func (c *clock) now() time.Time { return c.t }

func once(name string, decision int, ttl time.Duration) replay.Reservation {
	return replay.Reservation{Key: replaytest.Key(name), Decision: replaytest.Decision(decision), Member: "m", Use: replay.Once, TTL: ttl}
}

func mustReserve(t *testing.T, m *replay.Memory, r replay.Reservation, want bool) {
	t.Helper()
	if got, err := m.Reserve(t.Context(), r); err != nil || got != want {
		t.Fatalf("reserve = %t, %v; want %t", got, err, want)
	}
}

func TestExpiry(t *testing.T) {
	t.Parallel()
	c := newClock()
	m := replay.NewMemory(c.now)
	c.t = c.t.Add(900 * time.Millisecond)
	mustReserve(t, m, once("a", 1, 1500*time.Millisecond), true)
	c.t = c.t.Add(1500 * time.Millisecond)
	mustReserve(t, m, once("a", 2, time.Minute), false) // never early, whatever was rounded
	c.t = c.t.Add(3 * time.Second)
	mustReserve(t, m, once("a", 3, time.Minute), true)
}

func TestLaterUseProlongs(t *testing.T) {
	t.Parallel()
	c := newClock()
	m := replay.NewMemory(c.now)
	r := once("a", 1, time.Minute)
	r.Use = replay.UntilExpiry
	mustReserve(t, m, r, true)
	r.TTL, r.Decision = time.Hour, replaytest.Decision(2)
	mustReserve(t, m, r, true)
	r.TTL = time.Second // a shorter one must not cut what is remembered
	mustReserve(t, m, r, true)
	c.t = c.t.Add(30 * time.Minute)
	mustReserve(t, m, once("a", 3, time.Hour), false)
}

// TestSweep holds that what has expired goes without anybody asking for it.
func TestSweep(t *testing.T) {
	t.Parallel()
	c := newClock()
	m := replay.NewMemory(c.now)
	for i := range 20_000 {
		mustReserve(t, m, once(fmt.Sprint("old ", i), 1, time.Minute), true)
	}
	c.t = c.t.Add(time.Hour)
	for i := range 20_000 {
		mustReserve(t, m, once(fmt.Sprint("new ", i), 1, time.Minute), true)
	}
	if n := m.Len(); n > 30_000 {
		t.Errorf("%d tokens are held, of which 20,000 are alive", n)
	}
	if n := len(m.Snapshot()); n != 20_000 {
		t.Errorf("a snapshot of %d", n)
	}
	if n := m.Len(); n != 20_000 {
		t.Errorf("%d tokens are held after the snapshot", n)
	}
}

func TestFullRefuses(t *testing.T) {
	t.Parallel()
	c := newClock()
	m := replay.NewMemoryLimit(c.now, 640)
	var full bool
	for i := range 10_000 {
		ok, err := m.Reserve(t.Context(), once(fmt.Sprint(i), 1, time.Minute))
		if err != nil {
			if ok || !errors.Is(err, replay.ErrFull) {
				t.Fatalf("reserve = %t, %v", ok, err)
			}
			full = true
		}
	}
	if !full || m.Len() > 640 {
		t.Fatalf("full %t with %d tokens", full, m.Len())
	}
	mustReserve(t, m, once("0", 2, time.Minute), false) // a known token is still known
	if err := m.Remember([]replay.Record{{Key: replaytest.Key("x"), Closed: true, Until: c.t.Add(time.Minute)}}); err != nil && !errors.Is(err, replay.ErrFull) {
		t.Fatal(err)
	}
	c.t = c.t.Add(time.Hour)
	mustReserve(t, m, once("later", 1, time.Minute), true) // room comes back with time
}

func TestTooManyMembers(t *testing.T) {
	t.Parallel()
	m := replay.NewMemory(time.Now)
	var err error
	n := 0
	for ; err == nil && n < 5000; n++ {
		r := once("a", n+1, time.Minute)
		r.Use, r.Member = replay.OncePerGrant, fmt.Sprint(n)
		var ok bool
		if ok, err = m.Reserve(t.Context(), r); ok == (err != nil) {
			t.Fatalf("reserve = %t, %v", ok, err)
		}
	}
	if !errors.Is(err, replay.ErrFull) {
		t.Fatalf("after %d members: %v", n, err)
	}
}

func sorted(records []replay.Record) []replay.Record {
	slices.SortFunc(records, func(a, b replay.Record) int {
		return cmp.Or(cmp.Compare(a.Key, b.Key), cmp.Compare(a.Decision, b.Decision))
	})
	return records
}

func TestSnapshotAndRemember(t *testing.T) {
	t.Parallel()
	c := newClock()
	m := replay.NewMemory(c.now)
	grant := func(decision int, use, member string) {
		t.Helper()
		mustReserve(t, m, replay.Reservation{Key: replaytest.Key("g"), Decision: replaytest.Decision(decision), Member: member, Use: use, TTL: time.Hour}, true)
	}
	mustReserve(t, m, once("closed", 1, time.Hour), true)
	mustReserve(t, m, once("short", 2, time.Second), true)
	grant(3, replay.OncePerGrant, "a")
	grant(4, replay.OncePerGrant, "b")
	grant(5, replay.UntilExpiry, "c")
	grant(6, replay.UntilExpiry, "c")
	c.t = c.t.Add(time.Minute)

	until := c.t.Add(59*time.Minute + time.Second)
	want := sorted([]replay.Record{
		{Key: replaytest.Key("closed"), Decision: replaytest.Decision(1), Members: []string{"m"}, Closed: true, Until: until},
		{Key: replaytest.Key("g"), Decision: replaytest.Decision(3), Members: []string{"a"}, Until: until},
		{Key: replaytest.Key("g"), Decision: replaytest.Decision(4), Members: []string{"b"}, Until: until},
		{Key: replaytest.Key("g"), Members: []string{"c"}, Until: until},
	})
	snapshot := sorted(m.Snapshot())
	if diff := gocmp.Diff(want, snapshot); diff != "" {
		t.Fatal(diff)
	}

	again := replay.NewMemory(c.now)
	for range 2 { // twice is as good as once
		if err := again.Remember(snapshot); err != nil {
			t.Fatal(err)
		}
	}
	for i := range snapshot {
		snapshot[i].Until = snapshot[i].Until.Add(time.Second) // rounded up, never down
	}
	if diff := gocmp.Diff(snapshot, sorted(again.Snapshot())); diff != "" {
		t.Fatal(diff)
	}
	mustReserve(t, again, once("closed", 9, time.Hour), false)
	mustReserve(t, again, once("g", 9, time.Hour), false)
	mustReserve(t, again, once("short", 9, time.Hour), true)
	if err := again.Release(t.Context(), replay.Reservation{Key: replaytest.Key("closed"), Decision: replaytest.Decision(1)}); err != nil {
		t.Fatal(err)
	}
	mustReserve(t, again, once("closed", 10, time.Hour), true)
}

// TestNonceIsARecord holds that a nonce outlives the process as a token does, and
// its own token where that one lives shorter.
func TestNonceIsARecord(t *testing.T) {
	t.Parallel()
	c := newClock()
	m := replay.NewMemory(c.now)
	r := once("token", 1, time.Minute)
	r.Nonce = replaytest.Key("nonce")
	mustReserve(t, m, r, true)
	c.t = c.t.Add(2 * time.Minute)
	again := replay.NewMemory(c.now)
	if err := again.Remember(m.Snapshot()); err != nil {
		t.Fatal(err)
	}
	r = once("another", 2, time.Hour)
	r.Nonce = replaytest.Key("nonce")
	mustReserve(t, again, r, false)
	c.t = c.t.Add(replay.NonceLife)
	mustReserve(t, again, r, true)
}

// TestNonceInAFullStore holds that a token and its nonce fit both or neither.
func TestNonceInAFullStore(t *testing.T) {
	t.Parallel()
	m := replay.NewMemoryLimit(newClock().now, 640)
	for i := range 10_000 {
		r := once(fmt.Sprint(i), 1, time.Minute)
		r.Nonce = replaytest.Key(fmt.Sprint("nonce ", i))
		before := m.Len()
		ok, err := m.Reserve(t.Context(), r)
		if want := map[bool]int{true: 2}[ok]; m.Len()-before != want || ok == (err != nil) {
			t.Fatalf("reserve = %t, %v; %d records more", ok, err, m.Len()-before)
		}
	}
	if m.Len() > 640 {
		t.Errorf("%d are held", m.Len())
	}
}

func TestRememberRefusesTheMalformed(t *testing.T) {
	t.Parallel()
	m := replay.NewMemory(time.Now)
	for _, r := range []replay.Record{
		{Key: "x", Decision: replaytest.Decision(1), Until: time.Now().Add(time.Hour)},
		{Key: replaytest.Key("x"), Decision: "x", Until: time.Now().Add(time.Hour)},
	} {
		if err := m.Remember([]replay.Record{r}); !errors.Is(err, replay.ErrInvalid) {
			t.Errorf("%+v: %v", r, err)
		}
	}
}

func BenchmarkReserve(b *testing.B) {
	m := replay.NewMemory(time.Now)
	keys := make([]string, 1<<16)
	for i := range keys {
		keys[i] = replaytest.Key(fmt.Sprint(i))
	}
	decision := replaytest.Decision(1)
	b.ReportAllocs()
	var n atomic.Int64
	b.RunParallel(func(pb *testing.PB) {
		for pb.Next() {
			r := replay.Reservation{Key: keys[n.Add(1)%int64(len(keys))], Decision: decision, Member: "orders-api", Use: replay.UntilExpiry, TTL: time.Hour}
			if _, err := m.Reserve(b.Context(), r); err != nil {
				b.Fatal(err)
			}
		}
	})
}

// BenchmarkMemory measures the bytes that one remembered token takes, at
// 100,000 of them.
func BenchmarkMemory(b *testing.B) {
	const tokens = 100_000
	for b.Loop() {
		var before, after runtime.MemStats
		runtime.GC()
		runtime.ReadMemStats(&before)
		m := replay.NewMemory(time.Now)
		for i := range tokens {
			r := once(fmt.Sprint(i), i+1, time.Hour)
			if ok, err := m.Reserve(b.Context(), r); !ok || err != nil {
				b.Fatal(ok, err)
			}
		}
		runtime.GC()
		runtime.ReadMemStats(&after)
		b.ReportMetric(float64(after.HeapAlloc-before.HeapAlloc)/tokens, "B/token")
		runtime.KeepAlive(m)
	}
}

// TestMemoryIsLean holds that 100,000 tokens stay far below 20 MB.
func TestMemoryIsLean(t *testing.T) {
	const tokens = 100_000
	var before, after runtime.MemStats
	runtime.GC()
	runtime.ReadMemStats(&before)
	m := replay.NewMemory(time.Now)
	for i := range tokens {
		mustReserve(t, m, once(fmt.Sprint(i), i+1, time.Hour), true)
	}
	runtime.GC()
	runtime.ReadMemStats(&after)
	if used := int64(after.HeapAlloc) - int64(before.HeapAlloc); used > 16_000_000 {
		t.Errorf("%d tokens take %d bytes", tokens, used)
	}
	runtime.KeepAlive(m)
}

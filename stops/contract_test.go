package stops_test

import (
	"context"
	"crypto/rand"
	"errors"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"cambio/stops"
	"cambio/test/redisrig"
	"cambio/trust"
)

// bed is one place where a list is kept.
type bed struct {
	open    func(seen int64, journaled []trust.Stop, changed func(added, lifted []trust.Stop, version int64) error) *stops.List
	add     func() (trust.Stop, error)
	lift    func(id string) (trust.Stop, error)
	list    func() (trust.StopSet, error)
	restore func(journaled []trust.Stop, seen int64) (trust.StopSet, error)
	put     func(text string) // by hand, past all rules
}

func fileBed(t *testing.T) bed {
	t.Helper()
	s := newStore(t)
	return bed{
		open: func(seen int64, journaled []trust.Stop, changed func(added, lifted []trust.Stop, version int64) error) *stops.List {
			l, err := stops.OpenFile(t.Context(), stops.FileConfig{Dir: s.Dir, Now: time.Now, Seen: seen, Journaled: journaled, Changed: changed})
			if err != nil {
				t.Fatal(err)
			}
			return l
		},
		add: func() (trust.Stop, error) { return s.Add(valid()) }, lift: s.Lift, list: s.List, restore: s.Restore,
		put: func(text string) {
			if err := os.WriteFile(filepath.Join(s.Dir, "stops.json"), []byte(text), 0o600); err != nil {
				t.Fatal(err)
			}
		},
	}
}

func redisBed(t *testing.T) bed {
	t.Helper()
	server := redisrig.Start(t, redisrig.Options{})
	c := client(t, server.Addr())
	s, ctx := stops.RedisStore{Client: c, Now: time.Now, Rand: rand.Reader}.Quick(), context.WithoutCancel(t.Context())
	return bed{
		open: func(seen int64, journaled []trust.Stop, changed func(added, lifted []trust.Stop, version int64) error) *stops.List {
			l, err := stops.OpenRedis(ctx, stops.RedisConfig{Client: c, Now: time.Now, Seen: seen, Journaled: journaled, Changed: changed}.Quick())
			if err != nil {
				t.Fatal(err)
			}
			return l
		},
		add:  func() (trust.Stop, error) { stop, _, err := s.Add(ctx, valid()); return stop, err },
		lift: func(id string) (trust.Stop, error) { stop, _, err := s.Lift(ctx, id); return stop, err },
		list: func() (trust.StopSet, error) { return s.List(ctx) },
		restore: func(journaled []trust.Stop, seen int64) (trust.StopSet, error) {
			set, _, err := s.Restore(ctx, journaled, seen)
			return set, err
		},
		put: func(text string) { server.Do("SET", listKey, text) },
	}
}

// TestContract holds a file and Redis to the same promises.
func TestContract(t *testing.T) {
	t.Parallel()
	beds := map[string]func(*testing.T) bed{"file": fileBed, "redis": redisBed}
	for name, promise := range map[string]func(*testing.T, bed){
		"changes are in force and are told": promiseChanges,
		"what cannot be judged refuses":     promiseRefusals,
		"an untold change is told again":    promiseTold,
		"a newer format stays":              promiseNewer,
	} {
		for kind, make := range beds {
			t.Run(kind+"/"+name, func(t *testing.T) {
				t.Parallel()
				promise(t, make(t))
			})
		}
	}
}

// opened watches the list and ends with the test.
func (b bed) opened(t *testing.T, changed func(added, lifted []trust.Stop, version int64) error) *stops.List {
	t.Helper()
	l := b.open(0, nil, changed)
	t.Cleanup(func() { _ = l.Close() })
	untilVersion(t, l, 1)
	return l
}

func untilVersion(t *testing.T, l *stops.List, version int64) {
	t.Helper()
	until(t, "the version", func() bool {
		set, err := l.Current(time.Now())
		return err == nil && set.Version() == version
	})
}

func untilRefused(t *testing.T, l *stops.List) {
	t.Helper()
	until(t, "a refusal", func() bool {
		set, err := l.Current(time.Now())
		return errors.Is(err, stops.ErrUnavailable) && set.Version() == 0
	})
}

func promiseChanges(t *testing.T, b bed) {
	t.Helper()
	var mu sync.Mutex
	told := map[int64][2]int{}
	l := b.opened(t, func(added, lifted []trust.Stop, version int64) error {
		mu.Lock()
		defer mu.Unlock()
		told[version] = [2]int{len(added), len(lifted)}
		return nil
	})
	stop, err := b.add()
	if err != nil {
		t.Fatal(err)
	}
	untilVersion(t, l, 2)
	if set, _ := l.Current(time.Now()); !set.Stopped(stop.Kind, stop.What, time.Now()) {
		t.Errorf("not in force: %v", set.All())
	}
	if lifted, err := b.lift(stop.ID); err != nil || lifted.ID != stop.ID {
		t.Fatal(lifted, err)
	}
	untilVersion(t, l, 3)
	if _, err := b.lift(stop.ID); !errors.Is(err, stops.ErrNotFound) {
		t.Errorf("a second lift: %v", err)
	}
	mu.Lock()
	defer mu.Unlock()
	if told[1] != [2]int{} || told[2] != [2]int{1, 0} || told[3] != [2]int{0, 1} || len(told) != 3 {
		t.Errorf("told %v", told)
	}
}

func promiseRefusals(t *testing.T, b bed) {
	t.Helper()
	l := b.opened(t, nil)
	stop, err := b.add()
	if err != nil {
		t.Fatal(err)
	}
	version := int64(2)
	untilVersion(t, l, version)
	for _, text := range []string{
		"stops", `{"format":1,"version":99,"stops":[],"more":1}`, `{"format":1,"version":9007199254740993,"stops":[]}`,
		`{"format":1,"version":SEEN,"stops":[]}`, // the version that was seen, without its stop
	} {
		b.put(strings.ReplaceAll(text, "SEEN", strconv.FormatInt(version, 10)))
		untilRefused(t, l)
		set, err := b.restore([]trust.Stop{stop}, version)
		if err != nil || set.Version() <= version {
			t.Fatal(set.Version(), err)
		}
		version = set.Version()
		untilVersion(t, l, version)
		if set, _ := l.Current(time.Now()); !set.Stopped(stop.Kind, stop.What, time.Now()) {
			t.Errorf("restored without the stop: %v", set.All())
		}
	}
}

func promiseTold(t *testing.T, b bed) {
	t.Helper()
	var mu sync.Mutex
	broken, told := true, 0
	l := b.opened(t, func(added, _ []trust.Stop, _ int64) error {
		mu.Lock()
		defer mu.Unlock()
		if broken {
			return errors.New("the journal is out of order")
		}
		told = len(added)
		return nil
	})
	if _, err := b.add(); err != nil {
		t.Fatal(err)
	}
	untilVersion(t, l, 2) // in force, though nobody could be told
	mu.Lock()
	broken = false
	mu.Unlock()
	until(t, "the telling", func() bool {
		mu.Lock()
		defer mu.Unlock()
		return told == 1
	})
}

func promiseNewer(t *testing.T, b bed) {
	t.Helper()
	l := b.opened(t, nil)
	b.put(`{"format":2,"version":9,"stops":[],"more":1}`)
	untilRefused(t, l)
	if _, err := b.add(); !errors.Is(err, stops.ErrUnavailable) {
		t.Errorf("added: %v", err)
	}
	if _, err := b.restore(nil, 1); !errors.Is(err, stops.ErrUnavailable) {
		t.Errorf("restored: %v", err)
	}
	if _, err := b.list(); !errors.Is(err, stops.ErrUnavailable) {
		t.Errorf("listed: %v", err)
	}
}

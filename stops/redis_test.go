package stops_test

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"net"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"cambio/stops"
	"cambio/test/redisrig"
	"cambio/trust"
)

const (
	listKey   = "cambio:1:{stops}:list"
	serverKey = "cambio:1:{stops}:server"
)

// client is bounded as a gateway's is.
func client(t *testing.T, addr string) *redis.Client {
	t.Helper()
	c := redis.NewClient(&redis.Options{
		Addr: addr, DialTimeout: 250 * time.Millisecond, ReadTimeout: 250 * time.Millisecond, WriteTimeout: 250 * time.Millisecond,
		ContextTimeoutEnabled: true, MaxRetries: -1, DialerRetries: 1,
	})
	t.Cleanup(func() { _ = c.Close() })
	return c
}

func redisStore(c redis.UniversalClient) stops.RedisStore {
	return stops.RedisStore{Client: c, Now: time.Now, Rand: rand.Reader}.Quick()
}

// replica is a gateway's list of its own, and the clock that ages its copy.
type replica struct {
	*stops.List
	skipped atomic.Int64
}

func (r *replica) now() time.Time { return time.Now().Add(time.Duration(r.skipped.Load())) }

// expire makes the copy too old to serve.
func (r *replica) expire() { r.skipped.Add(int64(6 * time.Second)) }

func (r *replica) current() (trust.StopSet, error) { return r.Current(r.now()) }

func join(t *testing.T, c redis.UniversalClient, seen int64, journaled ...trust.Stop) *replica {
	t.Helper()
	r := &replica{}
	list, err := stops.OpenRedis(t.Context(), stops.RedisConfig{Client: c, Now: r.now, Seen: seen, Journaled: journaled}.Quick())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = list.Close() })
	r.List = list
	return r
}

// until polls, and fails the test where it is never so.
func until(t *testing.T, what string, done func() bool) {
	t.Helper()
	for deadline := time.Now().Add(15 * time.Second); !done(); time.Sleep(5 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("never came: %s", what)
		}
	}
}

// has: version 0 is any.
func (r *replica) has(version int64, ids ...string) bool {
	set, err := r.current()
	if err != nil || version != 0 && set.Version() != version {
		return false
	}
	var have []string
	for _, s := range set.All() {
		have = append(have, s.ID)
	}
	return slices.Equal(have, ids)
}

// untilHas waits until a replica has this list, and nothing else.
func untilHas(t *testing.T, r *replica, version int64, ids ...string) {
	t.Helper()
	until(t, fmt.Sprintf("version %d with %v", version, ids), func() bool { return r.has(version, ids...) })
}

// neverWithout fails the test when a replica relies on a list without this stop.
func neverWithout(t *testing.T, r *replica, id string) func() bool {
	t.Helper()
	return func() bool {
		set, err := r.current()
		if err == nil && !slices.ContainsFunc(set.All(), func(s trust.Stop) bool { return s.ID == id }) {
			t.Fatalf("a replica relies on version %d, without the stop", set.Version())
		}
		return err == nil
	}
}

func mustAddRedis(t *testing.T, c redis.UniversalClient) trust.Stop {
	t.Helper()
	stop, kept, err := redisStore(c).Add(t.Context(), valid())
	if err != nil || kept.Version < 2 {
		t.Fatal(kept, err)
	}
	return stop
}

// untilAcknowledged adds a stop that a replica of Redis has when the command
// returns. One that has just joined takes a second before it does.
func untilAcknowledged(t *testing.T, c redis.UniversalClient) (stop trust.Stop) {
	t.Helper()
	until(t, "an acknowledged stop", func() bool {
		added, kept, err := redisStore(c).Add(t.Context(), valid())
		if err != nil || kept.Followers != 1 {
			t.Fatal(kept, err)
		}
		if stop = added; kept.Acknowledged == 1 {
			return true
		}
		if _, _, err := redisStore(c).Lift(t.Context(), added.ID); err != nil {
			t.Fatal(err)
		}
		return false
	})
	return stop
}

func journaledStop() trust.Stop {
	held := valid()
	held.ID, held.Added = "stop-aaaaaaaa", time.Date(2026, 9, 1, 0, 0, 0, 0, time.UTC)
	return held
}

func TestRedisFirstStartAndChanges(t *testing.T) {
	t.Parallel()
	c := client(t, redisrig.Start(t, redisrig.Options{}).Addr())
	a, b := join(t, c, 0), join(t, c, 0)
	if _, err := a.current(); !errors.Is(err, stops.ErrUnavailable) {
		t.Errorf("a list that has just been made is relied on: %v", err)
	}
	untilHas(t, a, 1)
	untilHas(t, b, 1)
	stop, kept, err := redisStore(c).Add(t.Context(), valid())
	if err != nil || kept.Version != 2 || kept.Followers != 0 || kept.AOF || kept.Again != 0 || !kept.Settled {
		t.Fatalf("%+v, %v", kept, err)
	}
	untilHas(t, a, 2, stop.ID)
	untilHas(t, b, 2, stop.ID)
	lifted, _, err := redisStore(c).Lift(t.Context(), stop.ID)
	if err != nil || lifted.ID != stop.ID {
		t.Fatal(lifted, err)
	}
	untilHas(t, a, 3)
	if _, _, err := redisStore(c).Lift(t.Context(), stop.ID); !errors.Is(err, stops.ErrNotFound) {
		t.Errorf("a second lift: %v", err)
	}
	if _, _, err := redisStore(c).Add(t.Context(), trust.Stop{}); !errors.Is(err, stops.ErrInvalid) {
		t.Errorf("a stop of nothing: %v", err)
	}
}

// TestRedisSettlesAtOnceForTheNext joins where the list has stood: nobody waits.
func TestRedisSettlesAtOnceForTheNext(t *testing.T) {
	t.Parallel()
	c := client(t, redisrig.Start(t, redisrig.Options{}).Addr())
	untilHas(t, join(t, c, 0), 1)
	if b := join(t, c, 0); !b.has(1) {
		_, err := b.current()
		t.Errorf("a replica that joins has to wait: %v", err)
	}
}

// TestRedisListMadeAnewSettles takes the list away from a server on which one had
// settled: a replica that knows of none must not rely on the one that it makes,
// before the others have had their turn.
func TestRedisListMadeAnewSettles(t *testing.T) {
	t.Parallel()
	s := redisrig.Start(t, redisrig.Options{})
	c := client(t, s.Addr())
	a := join(t, c, 0)
	untilHas(t, a, 1)
	if err := a.Close(); err != nil {
		t.Fatal(err)
	}
	s.Do("DEL", listKey)
	if set, err := join(t, c, 0).current(); !errors.Is(err, stops.ErrUnavailable) || !errors.Is(err, stops.ErrSettling) {
		t.Errorf("it relies on version %d: %v", set.Version(), err)
	}
}

// TestRedisEmptied restarts Redis empty. Two replicas have the list in memory; a
// third has never seen one and joins in the worst moment.
func TestRedisEmptied(t *testing.T) {
	t.Parallel()
	s := redisrig.Start(t, redisrig.Options{})
	c := client(t, s.Addr())
	a, b := join(t, c, 0), join(t, c, 0)
	untilHas(t, a, 1)
	stop := mustAddRedis(t, c)
	untilHas(t, a, 2, stop.ID)
	untilHas(t, b, 2, stop.ID)
	s.RestartEmpty()
	fresh := join(t, c, 0)
	for _, r := range []*replica{a, b, fresh} {
		r.expire() // no copy from before serves any more
		until(t, "recovery", neverWithout(t, r, stop.ID))
		untilHas(t, r, 2, stop.ID)
	}
	if set, err := redisStore(c).List(t.Context()); err != nil || set.Version() != 2 {
		t.Errorf("version %d in Redis, %v", set.Version(), err)
	}
}

// TestRedisQuickRestartRefusesNobody has copies that are young enough.
func TestRedisQuickRestartRefusesNobody(t *testing.T) {
	t.Parallel()
	s := redisrig.Start(t, redisrig.Options{})
	c := client(t, s.Addr())
	a := join(t, c, 0)
	untilHas(t, a, 1)
	stop := mustAddRedis(t, c)
	untilHas(t, a, 2, stop.ID)
	s.RestartEmpty()
	until(t, "a settled list", func() bool {
		if !a.has(2, stop.ID) {
			_, err := a.current()
			t.Fatal(err)
		}
		return s.Client().Exists(t.Context(), serverKey).Val() == 1
	})
}

// TestRedisLosesItsLastSecond has a replica that saw the last stop, and one that
// was cut off before it. Redis comes back with what the second one knows.
func TestRedisLosesItsLastSecond(t *testing.T) {
	t.Parallel()
	s := redisrig.Start(t, redisrig.Options{AOF: true})
	line := redisrig.NewProxy(t, s.Addr())
	c := client(t, s.Addr())
	a, cut := join(t, c, 0), join(t, client(t, line.Addr()), 0)
	untilHas(t, a, 1)
	first := mustAddRedis(t, c)
	untilHas(t, cut, 2, first.ID)
	line.Refuse()
	s.Backup()
	second := mustAddRedis(t, c)
	untilHas(t, a, 3, first.ID, second.ID)
	s.RestartFromBackup()
	cut.expire()
	line.Pass()
	until(t, "the list of version 3", neverWithout(t, cut, second.ID))
	untilHas(t, cut, 3, first.ID, second.ID)
	untilHas(t, a, 3, first.ID, second.ID)
}

// TestRedisFailsOverToALaggingReplica promotes a replica that has missed a stop.
func TestRedisFailsOverToALaggingReplica(t *testing.T) {
	t.Parallel()
	master := redisrig.Start(t, redisrig.Options{})
	link := redisrig.NewProxy(t, master.Addr())
	standby := master.Replica(redisrig.Options{ReplicaOf: link.Addr()})
	toA, toB := redisrig.NewProxy(t, master.Addr()), redisrig.NewProxy(t, master.Addr())
	a, b := join(t, client(t, toA.Addr()), 0), join(t, client(t, toB.Addr()), 0)
	untilHas(t, a, 1)
	first := untilAcknowledged(t, client(t, master.Addr()))
	untilHas(t, b, 0, first.ID)
	link.Refuse()
	toB.Refuse()
	second := mustAddRedis(t, client(t, master.Addr()))
	untilHas(t, a, 0, first.ID, second.ID)
	master.Kill()
	standby.Promote()
	b.expire()
	toA.To(standby.Addr())
	toB.To(standby.Addr())
	until(t, "the list with the second stop", neverWithout(t, b, second.ID))
	untilHas(t, b, 0, first.ID, second.ID)
	untilHas(t, a, 0, first.ID, second.ID)
}

// TestRedisDownAtTheStart opens before Redis answers.
func TestRedisDownAtTheStart(t *testing.T) {
	t.Parallel()
	s := redisrig.Start(t, redisrig.Options{})
	line := redisrig.NewProxy(t, s.Addr())
	line.Refuse()
	a := join(t, client(t, line.Addr()), 0)
	if _, err := a.current(); !errors.Is(err, stops.ErrUnavailable) {
		t.Errorf("got %v", err)
	}
	line.Pass()
	untilHas(t, a, 1)
	line.Hang()
	time.Sleep(400 * time.Millisecond) // it looks, and nothing comes
	if !a.has(1) {
		_, err := a.current()
		t.Errorf("a young copy does not serve: %v", err)
	}
	a.expire()
	if _, err := a.current(); !errors.Is(err, stops.ErrUnavailable) {
		t.Errorf("an old copy serves: %v", err)
	}
	line.Pass()
	untilHas(t, a, 1)
}

// TestRedisPutsBackFromTheJournal starts replicas whose memory is their journal.
func TestRedisPutsBackFromTheJournal(t *testing.T) {
	t.Parallel()
	held := journaledStop()
	for _, tt := range []struct {
		name string
		text string
		want int64 // 0: refused
	}{
		{"nothing there", "", 7},
		{"an older list", `{"format":1,"version":6,"stops":[]}`, 7},
		{"a newer list", `{"format":1,"version":8,"stops":[]}`, 8},
		{"the same version without the stop", `{"format":1,"version":7,"stops":[]}`, 0},
		{"text", `stops`, 0},
		{"a newer format", `{"format":2,"version":9,"stops":[],"more":1}`, 0},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			s := redisrig.Start(t, redisrig.Options{})
			if tt.text != "" {
				s.Do("SET", listKey, tt.text)
			}
			a := join(t, client(t, s.Addr()), 7, held)
			switch tt.want {
			case 7:
				untilHas(t, a, 7, held.ID)
			case 8:
				untilHas(t, a, 8)
			default:
				time.Sleep(800 * time.Millisecond) // it would have settled
				if _, err := a.current(); !errors.Is(err, stops.ErrUnavailable) {
					t.Errorf("got %v", err)
				}
				if got := s.Client().Get(t.Context(), listKey).Val(); got != tt.text {
					t.Errorf("it was overwritten with %s", got)
				}
			}
		})
	}
}

// TestRedisTwoListsOfOneVersion has a store that was written anew without what a
// replica has seen: that replica refuses until the operator says what is right.
func TestRedisTwoListsOfOneVersion(t *testing.T) {
	t.Parallel()
	s := redisrig.Start(t, redisrig.Options{})
	c := client(t, s.Addr())
	a := join(t, c, 0)
	untilHas(t, a, 1)
	stop := mustAddRedis(t, c)
	untilHas(t, a, 2, stop.ID)
	s.Do("SET", listKey, `{"format":1,"version":2,"stops":[]}`)
	until(t, "the refusal", func() bool {
		_, err := a.current()
		return errors.Is(err, stops.ErrUnavailable)
	})
	set, kept, err := redisStore(c).Restore(t.Context(), []trust.Stop{stop}, 2)
	if err != nil || set.Version() != 3 || kept.Version != 3 {
		t.Fatal(set.Version(), kept, err)
	}
	untilHas(t, a, 3, stop.ID)
}

func TestRedisRestore(t *testing.T) {
	t.Parallel()
	held, kept := journaledStop(), journaledStop()
	kept.ID = "stop-bbbbbbbb"
	stored, err := stops.Encode(trust.NewStopSet(9, []trust.Stop{kept}))
	if err != nil {
		t.Fatal(err)
	}
	for _, tt := range []struct {
		name, text string
		want       int64 // 0: refused
		ids        []string
	}{
		{"nothing there", "", 8, []string{held.ID}},
		{"a list that can be read", string(stored), 10, []string{held.ID, kept.ID}},
		{"text", "stops", 8, []string{held.ID}},
		{"far too much text", strings.Repeat("a", 2<<20+9), 8, []string{held.ID}},
		{"a newer format", `{"format":2,"version":9,"stops":[],"more":1}`, 0, nil},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			s := redisrig.Start(t, redisrig.Options{})
			if tt.text != "" {
				s.Do("SET", listKey, tt.text)
			}
			store := redisStore(client(t, s.Addr()))
			set, _, err := store.Restore(t.Context(), []trust.Stop{held}, 7)
			if tt.want == 0 {
				if !errors.Is(err, stops.ErrUnavailable) || s.Client().Get(t.Context(), listKey).Val() != tt.text {
					t.Errorf("got %v", err)
				}
				return
			}
			if err != nil || set.Version() != tt.want {
				t.Fatalf("version %d, %v", set.Version(), err)
			}
			have, err := store.List(t.Context())
			if err != nil || have.Version() != tt.want || len(have.All()) != len(tt.ids) {
				t.Fatalf("version %d with %v, %v", have.Version(), have.All(), err)
			}
			for i, stop := range have.All() {
				if stop.ID != tt.ids[i] {
					t.Errorf("stop %d is %s", i, stop.ID)
				}
			}
		})
	}
}

// TestRedisLosesWhatWasJustAdded loses a stop that no gateway has seen, while the
// command still waits.
func TestRedisLosesWhatWasJustAdded(t *testing.T) {
	t.Parallel()
	s := redisrig.Start(t, redisrig.Options{AOF: true})
	c := client(t, s.Addr())
	s.Do("SET", listKey, `{"format":1,"version":1,"stops":[]}`)
	s.Backup()
	type answer struct {
		stop trust.Stop
		kept stops.Kept
		err  error
	}
	answers := make(chan answer, 1)
	go func() {
		stop, kept, err := redisStore(c).Add(context.WithoutCancel(t.Context()), valid())
		answers <- answer{stop, kept, err}
	}()
	until(t, "the write", func() bool { return strings.Contains(s.Client().Get(t.Context(), listKey).Val(), `"stop-`) })
	s.RestartFromBackup()
	a := <-answers
	if a.err != nil || a.kept.Again == 0 || !a.kept.AOF || a.kept.Settled {
		t.Fatalf("%+v", a)
	}
	set, err := redisStore(c).List(t.Context())
	if err != nil || len(set.All()) != 1 || set.All()[0].ID != a.stop.ID {
		t.Errorf("in Redis: %v, %v", set.All(), err)
	}
}

// TestRedisAnswerIsLost adds over a line that swallows the answers from the write
// on: it may be in force, and the command says that nobody knows.
func TestRedisAnswerIsLost(t *testing.T) {
	t.Parallel()
	s := redisrig.Start(t, redisrig.Options{})
	s.Do("SET", listKey, `{"format":1,"version":1,"stops":[]}`)
	c := client(t, s.Addr())
	c.AddHook(loseEval{})
	stop, _, err := redisStore(c).Add(t.Context(), valid())
	if !errors.Is(err, stops.ErrUnconfirmed) || stop.ID == "" {
		t.Errorf("stop %q: %v", stop.ID, err)
	}
}

// loseEval sends a script, and loses its answer and all that comes later.
type loseEval struct{}

func (loseEval) DialHook(next redis.DialHook) redis.DialHook          { return next }
func (loseEval) ProcessHook(next redis.ProcessHook) redis.ProcessHook { return next }
func (loseEval) ProcessPipelineHook(next redis.ProcessPipelineHook) redis.ProcessPipelineHook {
	var lost atomic.Bool
	return func(ctx context.Context, cmds []redis.Cmder) error {
		err := next(ctx, cmds)
		if cmds[0].Name() == "eval" {
			lost.Store(true)
		}
		if lost.Load() {
			err = context.DeadlineExceeded
			for _, c := range cmds {
				c.SetErr(err)
			}
		}
		return err
	}
}

func TestRedisStoreRefuses(t *testing.T) {
	t.Parallel()
	s := redisrig.Start(t, redisrig.Options{})
	standby := s.Replica(redisrig.Options{})
	for name, addr := range map[string]string{"no list": s.Addr(), "a replica of Redis": standby.Addr()} {
		if _, _, err := redisStore(client(t, addr)).Add(t.Context(), valid()); !errors.Is(err, stops.ErrUnavailable) || errors.Is(err, stops.ErrUnconfirmed) {
			t.Errorf("%s: %v", name, err)
		}
	}
	s.Do("HSET", listKey, "a", "b")
	if _, err := redisStore(client(t, s.Addr())).List(t.Context()); !errors.Is(err, stops.ErrUnavailable) {
		t.Errorf("a hash: %v", err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, _, err := redisStore(client(t, s.Addr())).Add(ctx, valid()); err == nil {
		t.Error("added after the command was interrupted")
	}
	if _, err := stops.OpenRedis(t.Context(), stops.RedisConfig{}); !errors.Is(err, stops.ErrInvalid) {
		t.Errorf("without its parts: %v", err)
	}
}

// TestRedisNoStopIsLost adds from many sides at once.
func TestRedisNoStopIsLost(t *testing.T) {
	t.Parallel()
	s := redisrig.Start(t, redisrig.Options{})
	untilHas(t, join(t, client(t, s.Addr()), 0), 1)
	const writers = 8
	errs := make(chan error, writers)
	for range writers {
		go func() {
			_, kept, err := redisStore(client(t, s.Addr())).Add(t.Context(), valid())
			if kept.Again > 0 {
				err = errors.Join(err, errors.New("one writer overwrote another"))
			}
			errs <- err
		}()
	}
	for range writers {
		if err := <-errs; err != nil {
			t.Error(err)
		}
	}
	if set, err := redisStore(client(t, s.Addr())).List(t.Context()); err != nil || set.Version() != writers+1 || len(set.All()) != writers {
		t.Errorf("version %d with %d stops, %v", set.Version(), len(set.All()), err)
	}
}

// TestRedisSentinel fails over by Sentinel, at a gateway's own pace.
func TestRedisSentinel(t *testing.T) {
	t.Parallel()
	set := redisrig.Sentinel(t, redisrig.Options{}, 1)
	c := redis.NewFailoverClient(&redis.FailoverOptions{
		MasterName: set.Name, SentinelAddrs: set.Addrs(), ContextTimeoutEnabled: true, MaxRetries: -1, DialerRetries: 1,
		DialTimeout: 250 * time.Millisecond, ReadTimeout: 250 * time.Millisecond, WriteTimeout: 250 * time.Millisecond,
	})
	t.Cleanup(func() { _ = c.Close() })
	a := join(t, c, 0)
	untilHas(t, a, 1)
	stop := untilAcknowledged(t, c)
	untilHas(t, a, 0, stop.ID)
	set.Failover()
	a.expire()
	until(t, "recovery", neverWithout(t, a, stop.ID))
	untilHas(t, a, 0, stop.ID)
}

// TestRedisCluster fails the list's node over.
func TestRedisCluster(t *testing.T) {
	t.Parallel()
	set := redisrig.Cluster(t, redisrig.Options{}, 3, true)
	c := redis.NewClusterClient(&redis.ClusterOptions{
		Addrs: set.Addrs(), ContextTimeoutEnabled: true, MaxRedirects: -1, DialerRetries: 1,
		DialTimeout: 250 * time.Millisecond, ReadTimeout: 250 * time.Millisecond, WriteTimeout: 250 * time.Millisecond,
	})
	t.Cleanup(func() { _ = c.Close() })
	a := join(t, c, 0)
	untilHas(t, a, 1)
	stop := untilAcknowledged(t, c)
	untilHas(t, a, 0, stop.ID)
	slot := c.ClusterKeySlot(t.Context(), listKey).Val()
	set.Failover(int(slot) * 3 / 16384)
	a.expire()
	until(t, "recovery", neverWithout(t, a, stop.ID))
	second := mustAddRedis(t, c)
	untilHas(t, a, 0, stop.ID, second.ID)
}

// TestRedisDemoted: a master that becomes a replica without closing its
// connections is left, and the new one found.
func TestRedisDemoted(t *testing.T) {
	t.Parallel()
	old := redisrig.Start(t, redisrig.Options{})
	fresh := old.Replica(redisrig.Options{})
	var master atomic.Pointer[redisrig.Server]
	master.Store(old)
	c := redis.NewClient(&redis.Options{
		Dialer: func(ctx context.Context, network, _ string) (net.Conn, error) {
			return (&net.Dialer{}).DialContext(ctx, network, master.Load().Addr())
		},
		ReadTimeout: 250 * time.Millisecond, ContextTimeoutEnabled: true, MaxRetries: -1, DialerRetries: 1,
	})
	defer c.Close()
	r := join(t, c, 0)
	untilHas(t, r, 1)
	stop := mustAddRedis(t, c)
	untilHas(t, r, 2, stop.ID)
	fresh.Promote()
	master.Store(fresh)
	old.Follow(fresh.Addr())
	r.expire()
	untilHas(t, r, 2, stop.ID)
}

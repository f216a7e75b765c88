package replay_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"cambio/replay"
	"cambio/replay/replaytest"
	"cambio/test/redisrig"
)

// keySlot is the slot of a key.
func keySlot(t *testing.T, set *redisrig.ClusterSet, key string) int64 {
	t.Helper()
	slot, ok := set.Masters[0].Do("CLUSTER", "KEYSLOT", key).(int64)
	if !ok {
		t.Fatal("no slot")
	}
	return slot
}

// shardOf is which of the masters had a token when the cluster began.
func shardOf(t *testing.T, set *redisrig.ClusterSet, token replay.Reservation) int {
	t.Helper()
	for i, m := range set.Masters {
		if !m.Running() {
			continue
		}
		names, err := m.Client().Keys(t.Context(), "cambio:1:*:t:"+token.Key).Result()
		if err != nil {
			t.Fatal(err)
		}
		if len(names) == 1 {
			return i
		}
	}
	t.Fatal("the token is nowhere")
	return -1
}

// tokenAway reserves a token that lies on another shard than the marker.
func tokenAway(t *testing.T, set *redisrig.ClusterSet, r replica) (token replay.Reservation, shard int) {
	t.Helper()
	marker := int(keySlot(t, set, "cambio:1:{marker}")) * len(set.Masters) / 16384
	for i := range 100 {
		token = r.token(fmt.Sprint("away ", i), 100, replay.Once)
		r.must(t, token, true)
		if shard = shardOf(t, set, token); shard != marker {
			token.Decision = replaytest.Decision(101)
			return token, shard
		}
	}
	t.Fatal("all tokens are with the marker")
	return token, shard
}

// TestClusterShardFlushed: a shard that forgets all, and goes on under its run id,
// is found by the very next reservation there.
func TestClusterShardFlushed(t *testing.T) {
	t.Parallel()
	set := redisrig.Cluster(t, redisrig.Options{}, 2, true)
	clock := &shift{}
	a, b := cluster(t, set, clock), cluster(t, set, clock)
	a.settle(t)
	b.settle(t)
	token, shard := tokenAway(t, set, a)
	set.Masters[shard].Do("FLUSHALL")
	var notYet *replay.NotYetError
	if err := a.refused(t, token); !errors.As(err, &notYet) {
		t.Fatal(err)
	}
	// The other replica has not looked again: the part tells it.
	if err := b.refused(t, token); !errors.As(err, &notYet) {
		t.Fatal(err)
	}
	a.afterLoss(t, token)
	clock.advance(2 * skew)
	late := b.token("late", 102, replay.Once)
	b.must(t, late, true)
	a.must(t, late, false)
}

// TestClusterSlotsReassigned: a master is lost for good with its replica, and its
// slots are given to one that is known already, where nothing is in them.
func TestClusterSlotsReassigned(t *testing.T) {
	t.Parallel()
	set := redisrig.Cluster(t, redisrig.Options{}, 3, true)
	clock := &shift{}
	r := cluster(t, set, clock)
	r.settle(t)
	token, shard := tokenAway(t, set, r)
	r.must(t, token, false)
	set.Abandon(shard)
	r.eventually(t, "watermark", func() bool {
		ok, err := r.Reserve(t.Context(), token)
		if ok {
			t.Fatal("a token was used twice")
		}
		var notYet *replay.NotYetError
		return errors.As(err, &notYet)
	})
	r.afterLoss(t, token)
}

// TestClusterMasterGone: the slots of a master move with all that is in them, and
// it leaves. Who holds them now might have held them before, with what he knew
// then, so that this is a loss; a master that only gives slots away is none.
func TestClusterMasterGone(t *testing.T) {
	t.Parallel()
	set := redisrig.Cluster(t, redisrig.Options{}, 3, false)
	clock := &shift{}
	clock.advance(-50 * time.Second)
	r := cluster(t, set, clock)
	watermark := func() time.Time {
		t.Helper()
		status, err := r.Check(t.Context())
		if err != nil {
			return time.Time{}
		}
		return status.Watermark
	}
	r.eventually(t, "watermark", func() bool { return !watermark().IsZero() })
	everywhere := func() { // nobody acknowledges, but each part is asked
		t.Helper()
		var wg sync.WaitGroup
		for i := range 1000 {
			wg.Go(func() {
				ok, err := r.Reserve(t.Context(), r.token(fmt.Sprint(i), 1, replay.UntilExpiry))
				if ok || err == nil {
					t.Errorf("%t, %v", ok, err)
				}
			})
		}
		wg.Wait()
	}
	r.eventually(t, "reservations", func() bool {
		_, err := r.Reserve(t.Context(), r.token("first", 1, replay.UntilExpiry))
		return errors.Is(err, replay.ErrUnacknowledged)
	})
	everywhere()
	before := watermark()
	const begin = 2 * 16384 / 3
	set.MoveSlots(2, 0, begin, begin+1000)
	everywhere()
	if after := watermark(); !after.Equal(before) {
		t.Fatalf("moved slots: the watermark went from %s to %s", before, after)
	}
	clock.by.Store(0)
	set.MoveSlots(2, 0, begin+1001, 16383)
	r.eventually(t, "watermark", func() bool { return watermark().After(before.Add(40 * time.Second)) })

	// A part whose marker lies further ahead than any clock comes back to now.
	for _, name := range []string{"cambio:1:{0}:since", "cambio:1:{1}:since"} {
		for _, m := range set.Masters[:2] {
			_ = m.Client().Set(t.Context(), name, time.Now().Add(10*time.Hour).UnixMilli(), 0).Err() // one has it
		}
		r.eventually(t, "a part of now", func() bool {
			for _, m := range set.Masters[:2] {
				if ms, err := m.Client().Get(t.Context(), name).Int64(); err == nil {
					return time.Until(time.UnixMilli(ms)) < 2*time.Minute
				}
			}
			return false
		})
	}
	if ahead := time.Until(watermark()); ahead > 2*time.Minute {
		t.Errorf("the watermark is %s ahead", ahead)
	}
}

// TestMajority: of two sides of a split, each with a master and a replica, none
// may be a majority, and one with most of the servers goes on.
func TestMajority(t *testing.T) {
	t.Parallel()
	old := redisrig.Start(t, redisrig.Options{})
	replicas := make([]*redisrig.Server, 3)
	for i := range replicas {
		replicas[i] = old.Replica(redisrig.Options{})
	}
	clock := &shift{}
	r := watched(t, old.Addr(), clock)
	r.settle(t)
	r.must(t, r.token("whole", 1, replay.Once), true)
	status, err := r.Check(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if m := status.Masters[0]; m.Replicas != 3 || m.Acks != 2 {
		t.Errorf("%d replicas, %d acknowledgements; want 3 and 2", m.Replicas, m.Acks)
	}
	// A side with another master and one replica. It knows by then how many there
	// were: Sentinels that elect one that lags need a majority of their own.
	r.eventually(t, "a replica that knows of three", func() bool {
		marker, err := replicas[1].Client().HVals(t.Context(), "cambio:1:{marker}").Result()
		return err == nil && slices.Contains(marker, "3")
	})
	replicas[1].Promote()
	replicas[2].Follow(replicas[1].Addr())
	replicas[2].WaitInStep()
	other := watched(t, replicas[1].Addr(), clock) // it never saw three
	other.eventually(t, "an answer", func() bool { _, err := other.Check(t.Context()); return err == nil })
	restarted := watched(t, old.Addr(), clock) // nor did this one
	clock.advance(2 * skew)
	for i, side := range []replica{r, other, restarted} {
		n := 0
		side.eventually(t, "answer", func() bool { // the first may end in a time-out
			n++
			return errors.Is(side.refused(t, side.token(fmt.Sprint("split ", i, n), 2, replay.Once)), replay.ErrUnacknowledged)
		})
	}
	// Three of four are a majority.
	replicas[0].Follow(replicas[1].Addr())
	replicas[0].WaitInStep()
	other.recovers(t, 5)
	if err := r.refused(t, r.token("alone", 6, replay.Once)); !errors.Is(err, replay.ErrUnacknowledged) {
		t.Error(err)
	}
	// Two are none, until the operator says that the others are gone for good.
	replicas[0].Kill()
	other.eventually(t, "loss of a replica", func() bool {
		status, err := other.Check(t.Context())
		return err == nil && status.Masters[0].Replicas == 1 && status.Masters[0].Acks == 2
	})
	if err := other.refused(t, other.token("few", 7, replay.Once)); !errors.Is(err, replay.ErrUnacknowledged) {
		t.Error(err)
	}
	replicas[1].Do("DEL", "cambio:1:{marker}")
	other.recovers(t, 8)
}

// watched is a store whose Sentinel names this server.
func watched(t *testing.T, addr string, clock *shift) replica {
	t.Helper()
	store, err := replay.NewRedis(replay.RedisConfig{
		Mode: replay.ModeSentinel, Now: clock.now, Log: discard(),
		Dial: func(onConnect func(context.Context, *redis.Conn) error) redis.UniversalClient {
			o := &redis.UniversalOptions{Addrs: []string{addr}, OnConnect: onConnect}
			replay.Bound(o)
			return redis.NewClient(o.Simple())
		},
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = store.Close() })
	return replica{store, clock}
}

// TestOneWrongClock: a replica of ours whose clock is hours off finds a loss first.
// It stops itself, and nobody else.
func TestOneWrongClock(t *testing.T) {
	t.Parallel()
	for _, off := range []time.Duration{10 * time.Hour, -10 * time.Hour} {
		t.Run(off.String(), func(t *testing.T) {
			t.Parallel()
			s := redisrig.Start(t, redisrig.Options{AOF: true})
			right, wrong := &shift{}, &shift{}
			a, b := single(t, s.Addr(), right), single(t, s.Addr(), wrong)
			a.settle(t)
			b.settle(t)
			token := a.token("before", 1, replay.Once)
			a.must(t, token, true)
			wrong.advance(off)
			s.Restart()
			b.eventually(t, "way to the new process", func() bool {
				return errors.Is(b.refused(t, b.token("wrong", 2, replay.UntilExpiry)), replay.ErrClock)
			})
			_ = b.refused(t, b.token("wrong too", 2, replay.Once))
			token.Decision = replaytest.Decision(3)
			a.afterLoss(t, token)
			if err := b.refused(t, b.token("still wrong", 4, replay.UntilExpiry)); !errors.Is(err, replay.ErrClock) {
				t.Fatal(err)
			}
			wrong.by.Store(right.by.Load())
			b.recovers(t, 5)
		})
	}
}

// TestWatermarkAhead: a watermark that lies far ahead, from before there was a
// bound or from a Redis whose clock was off, is brought back to now: for those that
// know it already, and for those that start.
func TestWatermarkAhead(t *testing.T) {
	t.Parallel()
	s := redisrig.Start(t, redisrig.Options{})
	clock := &shift{}
	r := single(t, s.Addr(), clock)
	r.settle(t)
	token := r.token("before", 1, replay.Once)
	r.must(t, token, true)
	s.Do("HSET", "cambio:1:{marker}", "w", time.Now().Add(10*time.Hour).UnixMilli())
	token.Decision = replaytest.Decision(2)
	r.afterLoss(t, token)
	fresh := single(t, s.Addr(), clock)
	fresh.must(t, fresh.token("fresh", 3, replay.Once), true)
}

// TestPanic: a call that panics while it sends for others leaves neither them nor
// those that come later without an answer.
func TestPanic(t *testing.T) {
	t.Parallel()
	s := redisrig.Start(t, redisrig.Options{})
	hook := &panics{entered: make(chan struct{}, 1), on: make(chan struct{})}
	clock := &shift{}
	store, err := replay.NewRedis(replay.RedisConfig{
		Mode: replay.ModeSingle, Now: clock.now, Log: discard(),
		Dial: func(onConnect func(context.Context, *redis.Conn) error) redis.UniversalClient {
			o := &redis.UniversalOptions{Addrs: []string{s.Addr()}, OnConnect: onConnect}
			replay.Bound(o)
			client := redis.NewClient(o.Simple())
			client.AddHook(hook)
			return client
		},
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = store.Close() })
	r := replica{store, clock}
	r.settle(t)
	hook.armed.Store(true)
	const crowd = 8
	var panicked, failed atomic.Int64
	var wg sync.WaitGroup
	reserve := func(i int) {
		defer func() {
			if recover() != nil {
				panicked.Add(1)
			}
		}()
		if ok, err := r.Reserve(t.Context(), r.token(fmt.Sprint("crowd ", i), 1, replay.Once)); ok || err == nil {
			t.Errorf("call %d: %t, %v", i, ok, err)
			return
		}
		failed.Add(1)
	}
	wg.Go(func() { reserve(crowd) })
	<-hook.entered
	for i := range crowd {
		wg.Go(func() { reserve(i) })
	}
	r.eventually(t, "queue", func() bool { return store.Waiting() == crowd })
	close(hook.on)
	wg.Wait()
	if panicked.Load()+failed.Load() != crowd+1 || panicked.Load() == 0 || failed.Load() == 0 {
		t.Errorf("%d panicked, %d failed", panicked.Load(), failed.Load())
	}
	hook.armed.Store(false)
	r.must(t, r.token("after", 2, replay.Once), true)
}

// panics is a hook of the client that panics where scripts are sent.
type panics struct {
	armed   atomic.Bool
	entered chan struct{}
	on      chan struct{}
}

func (p *panics) DialHook(next redis.DialHook) redis.DialHook { return next }

func (p *panics) ProcessHook(next redis.ProcessHook) redis.ProcessHook { return next }

func (p *panics) ProcessPipelineHook(next redis.ProcessPipelineHook) redis.ProcessPipelineHook {
	return func(ctx context.Context, cmds []redis.Cmder) error {
		if p.armed.Load() && cmds[0].Name() == "evalsha" {
			select {
			case p.entered <- struct{}{}:
			default:
			}
			<-p.on
			panic("sending")
		}
		return next(ctx, cmds)
	}
}

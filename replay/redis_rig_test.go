package replay_test

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync/atomic"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"cambio/replay"
	"cambio/replay/replaytest"
	"cambio/test/redisrig"
)

// shift is a clock that runs as far from the real one as it is told.
type shift struct{ by atomic.Int64 }

func (s *shift) now() time.Time { return time.Now().Add(time.Duration(s.by.Load())) }

func (s *shift) advance(d time.Duration) { s.by.Add(int64(d)) }

// skew is the clock skew of the tokens in these tests. It is small, because no
// watermark is set by a clock that is more than a minute from that of Redis.
const skew = 4 * time.Second

// replica is one replica of Cambio, as far as the store goes.
type replica struct {
	*replay.Redis
	clock *shift
}

// open is a store. change, which may be nil, has the last word on its options.
func open(t testing.TB, mode string, clock *shift, change func(*redis.UniversalOptions)) replica {
	t.Helper()
	store, err := replay.NewRedis(replay.RedisConfig{
		Mode: mode, Now: clock.now, Log: discard(),
		Dial: func(onConnect func(context.Context, *redis.Conn) error) redis.UniversalClient {
			o := &redis.UniversalOptions{OnConnect: onConnect}
			change(o)
			replay.Bound(o)
			switch mode {
			case replay.ModeSentinel:
				return redis.NewFailoverClient(o.Failover())
			case replay.ModeCluster:
				return redis.NewClusterClient(o.Cluster())
			default:
				return redis.NewClient(o.Simple())
			}
		},
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := store.Close(); err != nil {
			t.Errorf("close: %v", err)
		}
	})
	return replica{store, clock}
}

func single(t testing.TB, addr string, clock *shift) replica {
	t.Helper()
	return open(t, replay.ModeSingle, clock, func(o *redis.UniversalOptions) { o.Addrs = []string{addr} })
}

func sentinel(t testing.TB, s *redisrig.SentinelSet, clock *shift) replica {
	t.Helper()
	return open(t, replay.ModeSentinel, clock, func(o *redis.UniversalOptions) {
		o.Addrs, o.MasterName, o.Password = s.Addrs(), s.Name, s.Password
	})
}

func cluster(t testing.TB, c *redisrig.ClusterSet, clock *shift) replica {
	t.Helper()
	return open(t, replay.ModeCluster, clock, func(o *redis.UniversalOptions) { o.Addrs, o.Password = c.Addrs(), c.Password })
}

// settle waits until the store works, and moves the clock behind the watermark.
func (r replica) settle(t testing.TB) {
	t.Helper()
	r.eventually(t, "an answer", func() bool {
		_, err := r.Reserve(t.Context(), r.token("settle", 1, replay.UntilExpiry))
		return err == nil
	})
	r.clock.advance(2 * skew)
}

// token is a reservation of a token that was issued just now.
func (r replica) token(name string, decision int, use string) replay.Reservation {
	return replay.Reservation{
		Key: replaytest.Key(name), Decision: replaytest.Decision(decision), Member: "m", Use: use, TTL: time.Hour,
		IssuedAt: r.clock.now(), ClockSkew: skew,
	}
}

// recovers waits until single use is possible again, and moves the clock as far
// as the store says.
func (r replica) recovers(t testing.TB, decision int) {
	t.Helper()
	n := 0
	r.eventually(t, "recovery", func() bool {
		n++
		ok, err := r.Reserve(t.Context(), r.token(fmt.Sprint("recovery ", decision, n, r.clock.now()), decision, replay.Once))
		var notYet *replay.NotYetError
		if errors.As(err, &notYet) {
			r.clock.advance(notYet.Until.Sub(r.clock.now()))
		}
		return ok && err == nil
	})
}

func (r replica) eventually(t testing.TB, what string, done func() bool) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 15*time.Second)
	defer cancel()
	tick := time.NewTicker(5 * time.Millisecond)
	defer tick.Stop()
	for !done() {
		select {
		case <-ctx.Done():
			t.Fatalf("no %s", what)
		case <-tick.C:
		}
	}
}

func discard() *slog.Logger { return slog.New(slog.DiscardHandler) }

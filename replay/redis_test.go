package replay_test

import (
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"cambio/replay"
	"cambio/replay/replaytest"
	"cambio/test/redisrig"
)

func TestRedis(t *testing.T) {
	t.Parallel()
	// The tokens of the contract are of the real now: the watermark lies before.
	past := func() *shift {
		s := &shift{}
		s.advance(-time.Hour)
		return s
	}
	t.Run("single", func(t *testing.T) {
		t.Parallel()
		r := single(t, redisrig.Start(t, redisrig.Options{}).Addr(), past())
		r.settle(t)
		r.clock.by.Store(0)
		replaytest.Run(t, func(*testing.T) replaytest.Store { return r })
	})
	t.Run("sentinel", func(t *testing.T) {
		t.Parallel()
		r := sentinel(t, redisrig.Sentinel(t, redisrig.Options{Password: "secret"}, 1), past())
		r.settle(t)
		r.clock.by.Store(0)
		replaytest.Run(t, func(*testing.T) replaytest.Store { return r })
	})
	t.Run("cluster", func(t *testing.T) {
		t.Parallel()
		r := cluster(t, redisrig.Cluster(t, redisrig.Options{Password: "secret"}, 3, true), past())
		r.settle(t)
		r.clock.by.Store(0)
		replaytest.Run(t, func(*testing.T) replaytest.Store { return r })
	})
}

var _ = []any{replay.Once, time.Now, errors.New, fmt.Sprint, sync.Mutex{}, atomic.Int64{}, redis.Nil}

package replay_test

import (
	"context"
	"net"
	"sync/atomic"
	"testing"

	"github.com/redis/go-redis/v9"

	"cambio/replay"
	"cambio/test/redisrig"
)

// TestDemoted: a master that becomes a replica without closing its connections is
// left, and the new one found, also while nobody asks for anything.
func TestDemoted(t *testing.T) {
	t.Parallel()
	old := redisrig.Start(t, redisrig.Options{})
	fresh := old.Replica(redisrig.Options{})
	var master atomic.Pointer[redisrig.Server]
	master.Store(old)
	r := open(t, replay.ModeSingle, &shift{}, func(o *redis.UniversalOptions) {
		o.Addrs = []string{old.Addr()}
		o.Dialer = func(ctx context.Context, network, _ string) (net.Conn, error) {
			return (&net.Dialer{}).DialContext(ctx, network, master.Load().Addr())
		}
	})
	r.settle(t)
	token := r.token("token", 1, replay.Once)
	r.must(t, token, true)
	fresh.Promote()
	master.Store(fresh)
	old.Follow(fresh.Addr())
	r.eventually(t, "way to the new master", func() bool {
		_, err := r.Check(t.Context())
		return err == nil
	})
	r.recovers(t, 3)
	r.must(t, r.token("after", 2, replay.Once), true)
	if ok, _ := r.Reserve(t.Context(), token); ok {
		t.Fatal("a token was used twice")
	}
}

package stops

import (
	"context"
	"fmt"
	"log/slog"
	"time"

	"github.com/redis/go-redis/v9"

	"cambio/trust"
)

// gatewayCall bounds one look of a gateway, so that a Redis that hangs makes the
// copy old and not the gateway slow.
const gatewayCall = 250 * time.Millisecond

// RedisConfig is what a watched list in Redis needs. Client and Now are required.
// Client must honour the deadlines of contexts.
type RedisConfig struct {
	Client redis.UniversalClient
	Now    func() time.Time // wall clock; time.Now's monotonic reading measures the copy's age
	Log    *slog.Logger     // nil: nothing is logged
	// Seen is the highest version that this replica's journal holds, and Journaled
	// the stops in force there. A list that Redis has lost is put back from them.
	Seen      int64
	Journaled []trust.Stop
	// Changed is as in [FileConfig].
	Changed func(added, lifted []trust.Stop, version int64) error

	poll time.Duration // 0: a second
}

// OpenRedis watches the list that several replicas share until Close. Where Redis
// has none, or an older one than this replica has seen, the replica puts back
// what it has; where nobody ever had one, it makes an empty one.
//
// A Redis that does not answer is no error: the gateway starts, [List.Current]
// refuses, and recovers by itself. After a start, a failover or a loss of Redis a
// list must stand for three seconds before a copy of it counts as fresh: a
// replica that holds a newer one has put it back by then. Copies from before go
// on serving for their 5 s, so that a quick restart of Redis refuses nobody.
//
// An error means that Client or Now is missing.
func OpenRedis(ctx context.Context, cfg RedisConfig) (*List, error) {
	if cfg.Client == nil || cfg.Now == nil {
		return nil, fmt.Errorf("%w: Client and Now are required", ErrInvalid)
	}
	l := newList(&List{
		keeper: &remote{client: cfg.Client, timeout: gatewayCall},
		mends:  true, poll: cfg.poll, now: cfg.Now, log: cfg.Log, changed: cfg.Changed,
	}, cfg.Seen, cfg.Journaled)
	l.look(ctx)
	go l.watch(context.WithoutCancel(ctx))
	return l, nil
}

package gateway

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/redis/go-redis/v9"

	"cambio/audit"
	"cambio/exchange"
	"cambio/replay"
	"cambio/trust"
)

// reserver is a replay store: this replica's own memory, or the one that all
// replicas share.
type reserver interface {
	Reserve(ctx context.Context, r replay.Reservation) (bool, error)
	Release(ctx context.Context, r replay.Reservation) error
}

// openReplay opens the replay store. A Redis that does not answer is no reason
// not to start; one that answers that it may forget is.
func (g *Gateway) openReplay(ctx context.Context) error {
	if g.config.Redis == nil {
		g.memory = replay.NewMemory(g.env.Now)
		g.replay = g.memory
		return nil
	}
	c := g.config.Redis
	store, err := replay.NewRedis(replay.RedisConfig{ //nolint:contextcheck // it lives until it is closed
		Dial: func(onConnect func(context.Context, *redis.Conn) error) redis.UniversalClient {
			return DialRedis(c, onConnect)
		},
		Mode: c.Mode, Now: g.env.Now, Log: g.env.Log,
		Observe: func(result string) { g.metrics.Reserved(result) },
	})
	if err != nil {
		return fmt.Errorf("gateway: redis: %w", err)
	}
	g.replay = store
	g.closers = append(g.closers, func() { g.warn(ctx, "redis did not close cleanly", store.Close()) })
	if _, err := store.Check(ctx); errors.Is(err, replay.ErrPolicy) {
		// A used token that was evicted is a token that may be used again.
		return fmt.Errorf("gateway: redis: %w; set maxmemory-policy noeviction", err)
	}
	return nil
}

// useOnce is the replay store as an exchange wants it.
type useOnce struct {
	store reserver
	now   func() time.Time
}

// Reserve takes one use of a token.
func (u useOnce) Reserve(ctx context.Context, r exchange.Reservation) (bool, error) {
	first, err := u.store.Reserve(ctx, reservation(r))
	if err != nil {
		return false, u.refusal(err)
	}
	return first, nil
}

// refusal is what an exchange says of the store's error.
func (u useOnce) refusal(err error) error {
	var soon *replay.NotYetError
	switch {
	case errors.As(err, &soon):
		e := exchange.Unanswered(trust.ReasonReplayStore, err)
		e.RetryAfter = max(soon.Until.Sub(u.now()), time.Second)
		return e
	case errors.Is(err, replay.ErrRestarted):
		e := exchange.Refuse(trust.ReasonRestarted, err)
		e.Tell = "Fetch a fresh token: this one was issued before the replay store restarted."
		return e
	}
	return err
}

// Release gives back the use that this decision reserved.
func (u useOnce) Release(ctx context.Context, r exchange.Reservation) error {
	return u.store.Release(ctx, reservation(r))
}

func reservation(r exchange.Reservation) replay.Reservation {
	return replay.Reservation{
		Key: r.Key, Decision: r.Decision, Member: r.Member, Use: string(r.Use), TTL: r.TTL,
		Nonce: r.Nonce, IssuedAt: r.IssuedAt, ClockSkew: r.ClockSkew,
	}
}

// remembered is what the journal writes at a segment's end: the uses that nobody
// else remembers.
func (g *Gateway) remembered() []audit.Use {
	if g.memory == nil {
		return nil
	}
	records := g.memory.Snapshot()
	uses := make([]audit.Use, len(records))
	for i, r := range records {
		uses[i] = audit.Use(r)
	}
	return uses
}

// remember takes over what the journal gave back at a start.
func (g *Gateway) remember(uses []audit.Use) error {
	if g.memory == nil {
		return nil
	}
	records := make([]replay.Record, len(uses))
	for i, u := range uses {
		records[i] = replay.Record(u)
	}
	return g.memory.Remember(records)
}

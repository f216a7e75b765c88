package gateway

import (
	"context"

	"cambio/audit"
	"cambio/exchange"
	"cambio/replay"
)

// useOnce is the replay store as an exchange wants it.
type useOnce struct{ store *replay.Memory }

// Reserve takes one use of a token.
func (u useOnce) Reserve(ctx context.Context, r exchange.Reservation) (bool, error) {
	return u.store.Reserve(ctx, reservation(r))
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

// remembered is what the journal writes at a segment's end.
func (g *Gateway) remembered() []audit.Use {
	records := g.replay.Snapshot()
	uses := make([]audit.Use, len(records))
	for i, r := range records {
		uses[i] = audit.Use(r)
	}
	return uses
}

// remember is what the journal gave back at a start.
func remember(uses []audit.Use) []replay.Record {
	records := make([]replay.Record, len(uses))
	for i, u := range uses {
		records[i] = replay.Record(u)
	}
	return records
}

package main

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"path/filepath"
	"strings"

	"cambio/gateway"
	"cambio/stops"
	"cambio/trust"
)

// stopStore is the stop list of a configuration: a file, or a key in the Redis
// that the replicas share. Nobody but Redis says anything of what was kept, so
// that for a file it is nil.
type stopStore struct {
	file  stops.Store
	redis *stops.RedisStore
	where string // for people
}

func (c *common) stopStore(config gateway.Config) (s stopStore, closed func()) {
	if config.Redis == nil {
		file := stops.Store{Dir: config.State, Now: c.io.now, Rand: rand.Reader}
		return stopStore{file: file, where: filepath.Join(config.State, "stops.json")}, func() {}
	}
	client := gateway.DialRedis(config.Redis, nil)
	store := &stops.RedisStore{Client: client, Now: c.io.now, Rand: rand.Reader}
	return stopStore{redis: store, where: "Redis at " + strings.Join(config.Redis.Addrs, ", ")}, func() { _ = client.Close() }
}

func (s stopStore) list(ctx context.Context) (trust.StopSet, error) {
	if s.redis == nil {
		return s.file.List()
	}
	return s.redis.List(ctx)
}

func (s stopStore) add(ctx context.Context, stop trust.Stop) (trust.Stop, *stops.Kept, error) {
	if s.redis == nil {
		stop, err := s.file.Add(stop)
		return stop, nil, err
	}
	stop, kept, err := s.redis.Add(ctx, stop)
	return stop, &kept, err
}

func (s stopStore) lift(ctx context.Context, id string) (trust.Stop, *stops.Kept, error) {
	if s.redis == nil {
		stop, err := s.file.Lift(id)
		return stop, nil, err
	}
	stop, kept, err := s.redis.Lift(ctx, id)
	return stop, &kept, err
}

func (s stopStore) restore(ctx context.Context, journaled []trust.Stop, version int64) (trust.StopSet, *stops.Kept, error) {
	if s.redis == nil {
		set, err := s.file.Restore(journaled, version)
		return set, nil, err
	}
	set, kept, err := s.redis.Restore(ctx, journaled, version)
	return set, &kept, err
}

// sayKept tells what is known of a change that Redis keeps, and what is not.
func (c *common) sayKept(s stopStore, k *stops.Kept, config gateway.Config) {
	if k == nil {
		return
	}
	how := "read back after it had stood for 2 s"
	if k.Acknowledged > 0 {
		how = "acknowledged by a replica of Redis and read back"
	}
	c.io.say("kept in %s, version %d, %s", s.where, k.Version, how)
	warning := c.io.red("warning:")
	switch mode := config.Redis.Mode; {
	case k.Acknowledged > 0:
	case k.Followers > 0:
		c.io.say("%s no replica of Redis acknowledged it at once; after a failover within the next seconds, look again: cambio stop list", warning)
	case mode == "sentinel" || mode == "cluster":
		c.io.say("%s this Redis has no replica now: a failover would lose it, until a running gateway puts it back", warning)
	case !k.AOF:
		c.io.say("%s this Redis writes nothing to its disk (appendonly no): after its restart only a running gateway puts it back", warning)
	}
	if k.Again > 0 {
		c.io.say("%s Redis lost it %s meanwhile, and it was written again", warning, count(k.Again, "time"))
	}
	if !k.Settled {
		c.io.say("%s Redis has just lost data, or no gateway runs: one that was away may put back a newer list; look again: cambio stop list", warning)
	}
}

// unlisted gives an error of the stop list its next step.
func (s stopStore) unlisted(err error, config gateway.Config) error {
	switch {
	case errors.Is(err, stops.ErrUnconfirmed):
		return &failure{code: exitRetry, err: err, next: "it may be in force or not: `cambio stop list` says so when Redis answers; then run this again"}
	case !errors.Is(err, stops.ErrUnavailable):
		return err
	case errors.Is(err, stops.ErrNewer):
		return &failure{code: exitError, err: err, next: "run this with the version of cambio that wrote the list; everything is refused by gateways of this one"}
	case s.redis != nil:
		next := "a running gateway puts a lost list back within seconds, and a first `cambio serve` makes one; else `cambio stop restore` takes it from the journal in " +
			filepath.Join(config.State, "journal")
		if errors.Is(err, stops.ErrUnreachable) {
			next = "bring Redis back, and try again; nothing was written, and a gateway that does not reach it for 5 s refuses everything"
		}
		return &failure{code: exitError, err: fmt.Errorf("%s: %w", s.where, err), next: next}
	}
	return &failure{code: exitError, err: err, next: "a first `cambio serve` makes the list; `cambio stop restore` makes a lost one anew"}
}

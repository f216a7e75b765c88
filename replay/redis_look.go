package replay

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"sync"
	"time"

	"github.com/redis/go-redis/v9"
)

// mark is the watermark to judge by.
func (r *Redis) mark(ctx context.Context) (*watermark, error) {
	if err := r.unfit.Load(); err != nil {
		return nil, *err
	}
	if w := r.epoch.mark.Load(); w != nil {
		return w, nil
	}
	if err := r.look(ctx); err != nil {
		return nil, err
	}
	return r.epoch.now(), nil
}

// look inspects every master and the marker. All who ask at once share one look,
// and nobody waits for longer than a call may take.
func (r *Redis) look(ctx context.Context) error {
	done := r.looks.DoChan("", func() (any, error) {
		// Not one caller's time: others may be waiting for the same look.
		ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), patience)
		defer cancel()
		err := r.lookNow(ctx)
		switch {
		case err == nil:
			r.seen.Store(int64(time.Since(r.began)) + 1)
			r.unfit.Store(nil)
		case errors.Is(err, ErrPolicy), errors.Is(err, ErrReplica), errors.Is(err, ErrFormat), errors.Is(err, ErrClock):
			// An answer, and not what was asked for: a connection that stands would go
			// on working, with a Redis that may forget, or has forgotten.
			r.unfit.Store(&err)
		}
		return nil, err
	})
	timer := time.NewTimer(patience)
	defer timer.Stop()
	select {
	case result := <-done:
		return result.Err
	case <-timer.C:
		return fmt.Errorf("%w: no look at the marker", ErrTimeout)
	}
}

func (r *Redis) lookNow(ctx context.Context) error {
	r.epoch.begin()
	var mu sync.Mutex
	var met []memory
	var clients []*redis.Client
	err := r.masters(ctx, func(ctx context.Context, client *redis.Client, conn *redis.Conn) error {
		m, err := r.inspect(ctx, conn)
		if err != nil {
			return err
		}
		mu.Lock()
		met, clients = append(met, m), append(clients, client)
		mu.Unlock()
		return r.meet(ctx, conn, m)
	})
	if err != nil || r.cluster == nil {
		return err
	}
	for _, m := range met {
		if r.epoch.published(m.pair) >= m.replicas {
			continue
		}
		if err := r.join(ctx, r.cluster, m, false); err != nil {
			return err
		}
	}
	if err := r.lookAtParts(ctx, met); err != nil {
		return err
	}
	most := majority(0)
	for i, m := range met {
		acks := majority(max(m.replicas, r.epoch.published(m.pair)))
		r.lineTo(clients[i]).acks.Store(acks)
		most = max(most, acks)
	}
	r.acks.Store(most)
	return nil
}

func (r *Redis) sinceLook() time.Duration {
	seen := r.seen.Load()
	if seen == 0 {
		return blind + 1
	}
	return time.Since(r.began) - time.Duration(seen)
}

// masters does something on a connection to each master.
func (r *Redis) masters(ctx context.Context, do func(context.Context, *redis.Client, *redis.Conn) error) error {
	on := func(ctx context.Context, client *redis.Client) error {
		conn := client.Conn()
		defer func() { _ = conn.Close() }() // back to the pool
		return do(ctx, client, conn)
	}
	if r.cluster == nil {
		return on(ctx, r.client)
	}
	var mu sync.Mutex
	var alive []*redis.Client
	err := r.cluster.ForEachMaster(ctx, func(ctx context.Context, client *redis.Client) error {
		mu.Lock()
		alive = append(alive, client)
		mu.Unlock()
		return on(ctx, client)
	})
	if err != nil {
		r.cluster.ReloadState(ctx)
		return err
	}
	r.lines.Range(func(client, _ any) bool {
		if !slices.Contains(alive, client.(*redis.Client)) {
			r.lines.Delete(client)
		}
		return true
	})
	return nil
}

// watch looks every second: so this replica learns of a watermark that another set.
func (r *Redis) watch(ctx context.Context) {
	defer close(r.stopped)
	tick := time.NewTicker(lookEvery)
	defer tick.Stop()
	for failing := false; ; {
		err := r.look(ctx)
		switch {
		case ctx.Err() != nil:
			return
		case err != nil && !failing:
			r.log.WarnContext(ctx, "the replay store does not answer; exchanges are refused", slog.Any("error", err))
		case err == nil && failing:
			r.log.InfoContext(ctx, "the replay store answers again")
		}
		failing = err != nil
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
	}
}

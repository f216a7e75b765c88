package stops

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"time"

	"github.com/redis/go-redis/v9"

	"cambio/trust"
)

const (
	// commandCall bounds one call of the command line.
	commandCall = 2 * time.Second
	// acknowledging is how long a replica of Redis may take; it is below the
	// read time-out of a gateway's client, which the command line uses too.
	acknowledging = 150 * time.Millisecond
	// standing is how long, in looks of a gateway, a change must stand that no replica of Redis has
	// acknowledged. Redis writes its disk once a second, and each gateway has the
	// list in memory and puts it back: what stands so long is not lost silently.
	standing = 2
	// settleTries is how often a list that has not settled is looked at, once a
	// second: a change on top of a list that a replica is about to replace would
	// be lost with it.
	settleTries = settleLooks + 2
	// changeTries is how often a change that was lost is made again.
	changeTries = 3
)

// RedisStore is the list in Redis as the command line works with it: it needs no
// running gateway. Each method takes seconds, because it does not return before
// the change has stood for two, or a replica of Redis has acknowledged it, and it
// was read back.
type RedisStore struct {
	Client redis.UniversalClient // must honour the deadlines of contexts
	Now    func() time.Time      //
	Rand   io.Reader             // for the ids of stops

	poll time.Duration // how often a gateway looks; 0: a second
}

// Kept is what is known of a change that was read back.
type Kept struct {
	Version      int64 `json:"version"`                // of the list that was read back
	Followers    int   `json:"redis_replicas"`         // replicas of Redis
	Acknowledged int64 `json:"redis_replicas_holding"` // those that acknowledged the change
	AOF          bool  `json:"redis_appendonly"`       // Redis writes each change to its disk, within a second by default
	Again        int   `json:"written_again"`          // how often it was lost and was made again
	Settled      bool  `json:"settled"`                // the list has settled; if not, a replica that was away may replace it
}

// Add is [Store.Add]. With ErrUnconfirmed the stop is returned, for its id.
func (s RedisStore) Add(ctx context.Context, stop trust.Stop) (trust.Stop, Kept, error) {
	apply, err := adding(&stop, s.Now(), s.Rand)
	if err != nil {
		return trust.Stop{}, Kept{}, err
	}
	kept, err := s.keep(ctx, apply, func(set trust.StopSet) bool { return find(set.All(), stop.ID) >= 0 })
	return stop, kept, err
}

// Lift is [Store.Lift].
func (s RedisStore) Lift(ctx context.Context, id string) (trust.Stop, Kept, error) {
	var lifted trust.Stop
	kept, err := s.keep(ctx, lifting(id, &lifted), func(set trust.StopSet) bool { return find(set.All(), id) < 0 })
	return lifted, kept, err
}

// List is [Store.List].
func (s RedisStore) List(ctx context.Context) (trust.StopSet, error) {
	set, _, err := s.remote().read(ctx)
	return set, err
}

// Restore is [Store.Restore].
func (s RedisStore) Restore(ctx context.Context, stops []trust.Stop, seen int64) (trust.StopSet, Kept, error) {
	var made trust.StopSet
	kept, err := s.keep(ctx, restoring(stops, seen, &made), func(set trust.StopSet) bool {
		if set.Version() < made.Version() {
			return false
		}
		for _, stop := range made.All() {
			if find(set.All(), stop.ID) < 0 {
				return false
			}
		}
		return true
	})
	return made, kept, err
}

func (s RedisStore) pace() time.Duration { return cmp.Or(s.poll, poll) }

func (s RedisStore) remote() *remote { return &remote{client: s.Client, timeout: commandCall} }

// keep makes a change, and makes it again where it was lost, until it is read
// back with what it was to do.
func (s RedisStore) keep(ctx context.Context, apply apply, holds func(trust.StopSet) bool) (Kept, error) {
	r := s.remote()
	settled, err := s.settle(ctx, r)
	if err != nil {
		return Kept{}, err
	}
	var last error
	for again := range changeTries {
		acknowledged, err := r.write(ctx, apply, acknowledging)
		lost := again > 0 && missing(err) // which a gateway puts back
		if err != nil && !lost && !errors.Is(err, ErrUnreachable) {
			return Kept{}, err
		}
		if acknowledged == 0 {
			if err := sleep(ctx, standing*s.pace()); err != nil {
				return Kept{}, r.unconfirmed(err)
			}
		}
		f, readErr := r.fetch(ctx)
		var set trust.StopSet
		if readErr == nil {
			set, readErr = r.parse(f.text)
		}
		if readErr == nil && holds(set) {
			return Kept{
				Version: set.Version(), Followers: f.followers, Acknowledged: acknowledged,
				AOF: f.aof, Again: again, Settled: settled && f.settled == f.server,
			}, nil
		}
		if last = errors.Join(err, readErr); last == nil {
			last = errors.New("it was lost")
		}
	}
	return Kept{}, r.unconfirmed(last)
}

// unconfirmed is the error of a change that cannot be read back. One that was
// never sent is known not to be there.
func (r *remote) unconfirmed(err error) error {
	if !r.tried {
		return err
	}
	return fmt.Errorf("%w: %w", ErrUnconfirmed, err)
}

// settle waits until the list has settled, or for as long as a gateway would
// have taken to put it back. Without any gateway it settles here.
func (s RedisStore) settle(ctx context.Context, r *remote) (settled bool, err error) {
	for try := range settleTries {
		if try > 0 {
			if err := sleep(ctx, s.pace()); err != nil {
				return false, err
			}
		}
		_, settled, err = r.read(ctx)
		if settled || err != nil && !missing(err) && !errors.Is(err, ErrUnreachable) {
			return settled, nil // one that cannot be read is for the change to judge
		}
	}
	if errors.Is(err, ErrUnreachable) {
		return false, err
	}
	return false, nil
}

func sleep(ctx context.Context, d time.Duration) error {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-timer.C:
		return nil
	}
}

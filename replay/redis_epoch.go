package replay

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/redis/go-redis/v9"
)

// A Redis that restarts or fails over may have lost the last uses, or all, and
// does not say so. It does have another run id, or another replication id, and a
// connection of ours never outlives its process: so each new connection compares
// these two, before anything else uses it, with those that we knew. Where they
// differ, or where the marker is gone (Redis is empty, or another), all tokens
// issued before that moment may have been used: the watermark is set to now.
//
// The watermark is the wall clock of the replica that set it first or last
// (the highest wins), and tokens carry the clock of their provider: that the two
// differ by no more than the provider's clock skew is what the skew is for.

// watermark is a time before which tokens are not to be trusted to be unused.
type watermark struct {
	ms   int64
	text string // as it stands in Redis
}

func newWatermark(ms int64) *watermark { return &watermark{ms, strconv.FormatInt(ms, 10)} }

// refuses says why a reservation cannot be made now, or nil. Tokens that may be
// used until they expire lose nothing with the store's memory; a nonce does.
func (w *watermark) refuses(r Reservation, now time.Time) error {
	if r.Use == UntilExpiry && r.Nonce == "" {
		return nil
	}
	until := time.UnixMilli(w.ms).Add(max(0, r.ClockSkew))
	switch {
	case now.Before(until):
		return &NotYetError{Until: until}
	case r.IssuedAt.Before(until):
		return ErrRestarted
	default:
		return nil
	}
}

// pair names the memory of one process: the run id, a colon, the replication id.
type pair string

// epoch is what is known of Redis' memory.
type epoch struct {
	mark atomic.Pointer[watermark] // nil: Redis was never reached

	mu     sync.Mutex
	pairs  map[pair]bool // of the masters that we know: one, or in a cluster several
	joined bool          // pairs was read from the marker once
}

// now is the watermark; before Redis was reached, one that refuses.
func (e *epoch) now() *watermark {
	if w := e.mark.Load(); w != nil {
		return w
	}
	return &watermark{ms: 1 << 52}
}

// knows reports whether the pair needs no look at the marker, and whether any is known.
func (e *epoch) knows(p pair) (known, any bool) {
	e.mu.Lock()
	defer e.mu.Unlock()
	return e.pairs[p], e.joined
}

// raise takes in a watermark, and reports whether it is another than before.
func (e *epoch) raise(ms int64) bool {
	for {
		old := e.mark.Load()
		if old != nil && old.ms >= ms {
			return false
		}
		if e.mark.CompareAndSwap(old, newWatermark(ms)) {
			return true
		}
	}
}

// learn takes in what the marker said.
func (e *epoch) learn(p pair, over string, others []pair, only bool) {
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.pairs == nil || only {
		e.pairs = map[pair]bool{}
	}
	if !e.joined && !only {
		// What others found before us is known to us: a start is no loss.
		for _, o := range others {
			e.pairs[o] = true
		}
	}
	if p != "" {
		e.joined = true
		// A pair that this one continues is over. Should that master come back, with
		// the memory that it had, it is a stranger.
		maps.DeleteFunc(e.pairs, func(old pair, _ bool) bool { return old != p && strings.HasSuffix(string(old), ":"+over) })
		e.pairs[p] = true
	}
}

// onConnect runs on each new connection, before any command of ours. An error
// refuses the connection.
func (r *Redis) onConnect(ctx context.Context, conn *redis.Conn) error {
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	return r.inspect(ctx, conn)
}

// inspect finds out whose memory a connection leads to.
func (r *Redis) inspect(ctx context.Context, conn *redis.Conn) error {
	info, err := readInfo(ctx, conn)
	if err != nil {
		return err
	}
	if info["redis_mode"] == "sentinel" {
		return nil // it keeps nothing of ours
	}
	// A replica would refuse writes, and should it become the master, this
	// connection would go on with a memory that nobody has compared.
	if info["role"] != "master" {
		return ErrReplica
	}
	if policy := info["maxmemory_policy"]; policy != "noeviction" {
		return fmt.Errorf("%w: %.30q", ErrPolicy, policy)
	}
	run, repl := info["run_id"], info["master_replid"]
	if run == "" || repl == "" {
		return errors.New("replay: Redis does not say its run_id and master_replid")
	}
	p := pair(run + ":" + repl)
	known, joined := r.epoch.knows(p)
	if r.cluster != nil && known {
		return nil
	}
	return r.join(ctx, conn, p, info["master_replid2"], joined && !known)
}

// join compares a pair with the marker and takes in the watermark. With force, it
// is now: we knew another memory, and what we wrote there later than another
// replica noticed the change is lost too.
func (r *Redis) join(ctx context.Context, conn redis.Scripter, p pair, continues string, force bool) error {
	now := r.now().Add(time.Millisecond - 1).UnixMilli() // rounded up
	floor := int64(0)
	if w := r.epoch.mark.Load(); w != nil {
		floor = w.ms
	}
	flag := map[bool]string{true: "1", false: "0"}
	eval := func(on redis.Scripter) ([]string, error) {
		return on.Eval(ctx, r.scripts.join.text, []string{markerName},
			now, floor, string(p), continues, flag[force], flag[r.cluster == nil]).StringSlice()
	}
	answer, err := eval(conn)
	if _, moved := redis.IsMovedError(err); moved && r.cluster != nil {
		// The marker is on another shard. A connection that is made to it for this
		// comes here too, and finds the marker where it is.
		answer, err = eval(r.cluster)
	}
	if err != nil {
		return wrap(err)
	}
	if len(answer) == 0 || answer[0] == "format" {
		return ErrFormat
	}
	ms, err := strconv.ParseInt(answer[0], 10, 64)
	if err != nil {
		return fmt.Errorf("%w: the marker", ErrFormat)
	}
	others := make([]pair, len(answer)-1)
	for i, a := range answer[1:] {
		others[i] = pair(a)
	}
	// The watermark first: who finds the pair known must find it too.
	if r.epoch.raise(ms) && ms >= now {
		r.log.WarnContext(ctx, "the memory of Redis may be incomplete; single-use tokens issued before now are refused",
			slog.Time("watermark", time.UnixMilli(ms).UTC()), slog.String("run", string(p)))
	}
	r.epoch.learn(p, continues, others, r.cluster == nil)
	return nil
}

// readInfo reads the sections that we need of INFO.
func readInfo(ctx context.Context, conn *redis.Conn) (map[string]string, error) {
	// One by one: Redis before 7 takes a single section.
	cmds, err := conn.Pipelined(ctx, func(p redis.Pipeliner) error {
		for _, section := range []string{"server", "replication", "memory", "persistence"} {
			p.Info(ctx, section)
		}
		return nil
	})
	if err != nil {
		return nil, wrap(err)
	}
	info := map[string]string{}
	for _, c := range cmds {
		text, ok := c.(*redis.StringCmd)
		if !ok {
			return nil, errors.New("replay: Redis has a strange INFO")
		}
		for line := range strings.SplitSeq(text.Val(), "\n") {
			if name, value, found := strings.Cut(strings.TrimSuffix(line, "\r"), ":"); found {
				info[name] = value
			}
		}
	}
	return info, nil
}

// mark is the watermark to judge by.
func (r *Redis) mark(ctx context.Context) (*watermark, error) {
	if w := r.epoch.mark.Load(); w != nil {
		return w, nil
	}
	if err := r.look(ctx, nil); err != nil {
		return nil, err
	}
	return r.epoch.now(), nil
}

// look inspects every master and the marker, unless somebody has looked since
// the watermark was as given.
func (r *Redis) look(ctx context.Context, since *watermark) error {
	// Not the caller's time: another may be waiting for the same look.
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), patience)
	defer cancel()
	r.lookMu.Lock()
	defer r.lookMu.Unlock()
	if w := r.epoch.mark.Load(); w != nil && w != since {
		return nil
	}
	return r.lookNow(ctx)
}

// lookNow is look for whoever holds lookMu.
func (r *Redis) lookNow(ctx context.Context) error {
	err := r.masters(ctx, r.inspect)
	if r.cluster != nil && err == nil {
		err = r.join(ctx, r.cluster, "", "", false)
	}
	if err == nil {
		r.seen.Store(int64(time.Since(r.began)) + 1)
	}
	return err
}

func (r *Redis) sinceLook() time.Duration {
	seen := r.seen.Load()
	if seen == 0 {
		return blind + 1
	}
	return time.Since(r.began) - time.Duration(seen)
}

// masters does something on a connection to each master.
func (r *Redis) masters(ctx context.Context, do func(context.Context, *redis.Conn) error) error {
	on := func(ctx context.Context, client *redis.Client) error {
		conn := client.Conn()
		defer conn.Close()
		return do(ctx, conn)
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
		err := func() error {
			ctx, cancel := context.WithTimeout(ctx, patience)
			defer cancel()
			r.lookMu.Lock()
			defer r.lookMu.Unlock()
			return r.lookNow(ctx)
		}()
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

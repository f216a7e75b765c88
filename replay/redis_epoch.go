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
	// Rounded up, as tokens carry whole seconds: one that was fetched after the wait
	// must not seem older than its end.
	until := time.UnixMilli(w.ms).Add(max(0, r.ClockSkew) + time.Second - time.Nanosecond).Truncate(time.Second)
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

// knows reports whether the pair is known, and whether we know any.
func (e *epoch) knows(p pair) (known, joined bool) {
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

// learn takes in a memory, and what others the marker has.
func (e *epoch) learn(m memory, others []pair, only bool) {
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
	e.joined = true
	// A memory that this one continues is over. Should that master come back, with
	// what it had, it is a stranger.
	_, repl, _ := strings.Cut(string(m.pair), ":")
	maps.DeleteFunc(e.pairs, func(old pair, _ bool) bool {
		_, over, _ := strings.Cut(string(old), ":")
		return old != m.pair && (over == m.continues || over == repl)
	})
	e.pairs[m.pair] = true
}

// onConnect runs on each new connection, before any command of ours. An error
// refuses the connection. It uses no connection but this one: another may be
// waiting for it.
func (r *Redis) onConnect(ctx context.Context, conn *redis.Conn) error {
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	m, err := r.inspect(ctx, conn)
	if err != nil || m.pair == "" {
		return err
	}
	return r.meet(ctx, conn, m)
}

// memory is whose memory a connection leads to.
type memory struct {
	pair      pair   // "": a Sentinel's, which keeps nothing of ours
	continues string // the replication id that this master took over
}

// inspect reads it, and refuses what must not be written to.
func (r *Redis) inspect(ctx context.Context, conn *redis.Conn) (memory, error) {
	info, err := readInfo(ctx, conn)
	if err != nil {
		return memory{}, err
	}
	if info["redis_mode"] == "sentinel" {
		return memory{}, nil
	}
	// A replica would refuse writes, and should it become the master, this
	// connection would go on with a memory that nobody has compared.
	if info["role"] != "master" {
		return memory{}, ErrReplica
	}
	if policy := info["maxmemory_policy"]; policy != "noeviction" {
		return memory{}, fmt.Errorf("%w: %.30q", ErrPolicy, policy)
	}
	run, repl := info["run_id"], info["master_replid"]
	if run == "" || repl == "" {
		return memory{}, errors.New("replay: Redis does not say its run_id and master_replid")
	}
	return memory{pair(run + ":" + repl), info["master_replid2"]}, nil
}

// meet compares a master's memory with those that we know. A memory that is new
// to us, where we knew others, sets the watermark to now whatever the marker
// says: what we wrote to the old one after another replica of ours noticed the
// change is lost too.
func (r *Redis) meet(ctx context.Context, conn *redis.Conn, m memory) error {
	known, joined := r.epoch.knows(m.pair)
	if r.cluster == nil {
		return r.join(ctx, conn, m, joined && !known)
	}
	if known {
		return nil
	}
	err := r.join(ctx, conn, m, joined)
	if _, moved := redis.IsMovedError(err); !moved {
		return err
	}
	// The marker is on another shard. The next look writes it there; until then the
	// watermark of this process does. A process that knows none yet reserves
	// nothing before that look.
	if joined {
		r.raise(ctx, r.wall(), m.pair)
		r.epoch.learn(m, nil, false)
	}
	return nil
}

// wall is the clock in ms, rounded up.
func (r *Redis) wall() int64 { return r.now().Add(time.Millisecond - 1).UnixMilli() }

func (r *Redis) raise(ctx context.Context, ms int64, p pair) {
	if r.epoch.raise(ms) {
		r.log.WarnContext(ctx, "the memory of Redis may be incomplete; single-use tokens issued before the watermark are refused",
			slog.Time("watermark", time.UnixMilli(ms).UTC()), slog.String("memory", string(p)))
	}
}

// join compares a memory with the marker, adds it there, and takes in the
// watermark, which with force is now. Without a memory it only takes in the
// watermark.
func (r *Redis) join(ctx context.Context, on redis.Scripter, m memory, force bool) error {
	floor := int64(0)
	if w := r.epoch.mark.Load(); w != nil {
		floor = w.ms
	}
	flag := func(b bool) string {
		if b {
			return "1"
		}
		return "0"
	}
	answer, err := on.Eval(ctx, r.scripts.join.text, []string{markerName},
		r.wall(), floor, string(m.pair), m.continues, flag(force), flag(r.cluster == nil)).StringSlice()
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
	r.raise(ctx, ms, m.pair)
	if m.pair != "" {
		r.epoch.learn(m, others, r.cluster == nil)
	}
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
		case errors.Is(err, ErrPolicy), errors.Is(err, ErrReplica), errors.Is(err, ErrFormat):
			// An answer, and not what was asked for: a connection that stands would go
			// on working, with a Redis that may forget.
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
	var mu sync.Mutex
	var memories []memory
	err := r.masters(ctx, func(ctx context.Context, conn *redis.Conn) error {
		m, err := r.inspect(ctx, conn)
		if err != nil {
			return err
		}
		mu.Lock()
		memories = append(memories, m)
		mu.Unlock()
		return r.meet(ctx, conn, m)
	})
	if err != nil || r.cluster == nil {
		return err
	}
	for _, m := range memories {
		if r.published[m.pair] {
			continue
		}
		if err := r.join(ctx, r.cluster, m, false); err != nil {
			return err
		}
		r.published[m.pair] = true
	}
	return r.join(ctx, r.cluster, memory{}, false)
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
		defer func() { _ = conn.Close() }() // back to the pool
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

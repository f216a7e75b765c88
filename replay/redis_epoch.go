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
// differ by no more than the provider's clock skew is what the skew is for. It may
// not be further than a minute from the clock of Redis.

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

	mu       sync.Mutex
	pairs    map[pair]int64 // of the masters that we know: one, or in a cluster several; the look that found it
	replicas map[pair]int   // of the pairs that the marker has, how many replicas each had at most
	joined   bool           // pairs was read from the marker once
	looks    int64
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
	_, known = e.pairs[p]
	return known, e.joined
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

// learn takes in a memory, and what the marker has; nil: it was not read.
func (e *epoch) learn(m memory, marker map[pair]int, only bool) {
	e.mu.Lock()
	defer e.mu.Unlock()
	if marker != nil {
		e.replicas = marker
	}
	if m.pair == "" {
		return
	}
	if e.pairs == nil || only {
		e.pairs = map[pair]int64{}
	}
	if !e.joined && !only {
		// What others found before us is known to us: a start is no loss.
		for other := range marker {
			e.pairs[other] = 0
		}
	}
	e.joined = true
	// A memory that this one continues is over. Should that master come back, with
	// what it had, it is a stranger.
	_, repl, _ := strings.Cut(string(m.pair), ":")
	maps.DeleteFunc(e.pairs, func(old pair, _ int64) bool {
		_, over, _ := strings.Cut(string(old), ":")
		return old != m.pair && (over == m.continues || over == repl)
	})
	if _, known := e.pairs[m.pair]; !known {
		e.pairs[m.pair] = e.looks
	}
}

// published is how many replicas the marker says that this memory had at most; -1:
// it does not have that memory.
func (e *epoch) published(p pair) int {
	e.mu.Lock()
	defer e.mu.Unlock()
	if n, ok := e.replicas[p]; ok {
		return n
	}
	return -1
}

// begin begins a look.
func (e *epoch) begin() {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.looks++
}

// gone are the memories that we knew before this look and that it did not meet:
// nor did another continue them, or they would not be known any more. One that a
// new connection found since is newer than the list of masters.
func (e *epoch) gone(met []memory) []pair {
	e.mu.Lock()
	defer e.mu.Unlock()
	var gone []pair
	for p, look := range e.pairs {
		if look < e.looks && !slices.ContainsFunc(met, func(m memory) bool { return m.pair == p }) {
			gone = append(gone, p)
		}
	}
	return gone
}

func (e *epoch) forget(gone []pair) {
	e.mu.Lock()
	defer e.mu.Unlock()
	for _, p := range gone {
		delete(e.pairs, p)
	}
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
	replicas  int    // connected now
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
		// Nor may it go back to the pool, and be looked at again for good.
		quit := conn.Pipeline()
		quit.Do(ctx, "QUIT")
		_, _ = quit.Exec(ctx) // if it fails, the next look says it again
		return memory{}, ErrReplica
	}
	if policy := info["maxmemory_policy"]; policy != "noeviction" {
		return memory{}, fmt.Errorf("%w: %.30q", ErrPolicy, policy)
	}
	run, repl := info["run_id"], info["master_replid"]
	if run == "" || repl == "" {
		return memory{}, errors.New("replay: Redis does not say its run_id and master_replid")
	}
	replicas, err := strconv.Atoi(info["connected_slaves"])
	if err != nil || replicas < 0 || replicas > 1000 {
		return memory{}, errors.New("replay: Redis does not say how many replicas it has")
	}
	return memory{pair(run + ":" + repl), info["master_replid2"], replicas}, nil
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
	if !joined {
		return nil
	}
	now := r.wall()
	own, err := conn.Time(ctx).Result()
	if err != nil {
		return wrap(err)
	}
	if own.Sub(time.UnixMilli(now)).Abs() > time.Minute {
		return ErrClock
	}
	r.raise(ctx, now, m.pair)
	r.epoch.learn(m, nil, false)
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
// watermark. Memories that are gone leave the marker.
func (r *Redis) join(ctx context.Context, on redis.Scripter, m memory, force bool, gone ...pair) error {
	before := r.epoch.mark.Load()
	floor := int64(0)
	if before != nil {
		floor = before.ms
	}
	flag := func(b bool) string {
		if b {
			return "1"
		}
		return "0"
	}
	args := []any{r.wall(), floor, string(m.pair), m.continues, flag(force), flag(r.cluster == nil), m.replicas}
	for _, p := range gone {
		args = append(args, string(p))
	}
	answer, err := on.Eval(ctx, r.scripts.join.text, []string{markerName}, args...).StringSlice()
	switch {
	case err != nil:
		return wrap(err)
	case len(answer) > 0 && answer[0] == "clock":
		return ErrClock
	case len(answer)%2 == 0: // "format", or nothing
		return ErrFormat
	}
	ms, err := strconv.ParseInt(answer[0], 10, 64)
	if err != nil {
		return fmt.Errorf("%w: the marker", ErrFormat)
	}
	marker := map[pair]int{}
	for i := 1; i < len(answer); i += 2 {
		if marker[pair(answer[i])], err = strconv.Atoi(answer[i+1]); err != nil {
			return fmt.Errorf("%w: the marker", ErrFormat)
		}
	}
	// The watermark first: who finds the pair known must find it too.
	if before != nil && ms < before.ms && r.epoch.mark.CompareAndSwap(before, newWatermark(ms)) {
		r.log.WarnContext(ctx, "the watermark was further ahead than any clock; it is now",
			slog.Time("was", time.UnixMilli(before.ms).UTC()), slog.Time("watermark", time.UnixMilli(ms).UTC()))
	} else {
		r.raise(ctx, ms, m.pair)
	}
	r.epoch.learn(m, marker, r.cluster == nil)
	if r.cluster == nil && m.pair != "" {
		r.acks.Store(majority(marker[m.pair]))
	}
	return nil
}

// majority is how many of a master's replicas make most of all its servers with
// it. Of two parts of a network that cannot see each other, each with a master and
// some of the replicas, one at most has as many: with one acknowledgement alone,
// both could have. Of two replicas, one; of three, two.
func majority(replicas int) int64 { return max(1, int64(replicas+1)/2) }

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

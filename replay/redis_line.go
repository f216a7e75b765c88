package replay

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"time"

	"github.com/redis/go-redis/v9"
)

const (
	// maxBatch bounds how many calls share a round trip, and so how long the last
	// of them waits for the first.
	maxBatch = 256
	// least is how much time a call must have left to be sent: one that waited
	// behind others that hung would only spoil the time of those behind it.
	least = 50 * time.Millisecond
	// acknowledge is how long the replicas of Redis may take. Redis looks at such
	// limits ten times a second, so it answers up to 100 ms later: still in time.
	acknowledge = 100 * time.Millisecond
)

// line is the way to one master. Calls that come while others are under way wait
// and then share one round trip: at 64 callers this is a fraction of the system
// calls. There is no goroutine of its own: the first caller sends for all that
// came behind it, and hands over to the first of those that came meanwhile. (The
// client's own pipelining costs about half as much, but does not bound a call's
// time, nor has it a place for WAIT.)
type line struct {
	client *redis.Client
	// acks is how many replicas of Redis must acknowledge a use; nil: none, as there
	// are none.
	acks *atomic.Int64

	mu    sync.Mutex
	busy  bool
	queue []*call
}

func newLine(client *redis.Client, acks *atomic.Int64) *line {
	return &line{client: client, acks: acks}
}

// errBrokenOff is the answer to a call for which nobody finished sending.
var errBrokenOff = errors.New("replay: the call to Redis broke off")

// call is one script with its arguments.
type call struct {
	script   script
	args     []any // EVALSHA, the script, the number of keys, keys, arguments
	deadline time.Time
	lead     bool          // when woken: send for all
	woken    chan struct{} // holds one
	answer   int64
	err      error
}

// newCall takes args whose first two are not set yet.
func newCall(s script, args []any, deadline time.Time) *call {
	args[0], args[1] = "evalsha", s.sha
	return &call{script: s, args: args, deadline: deadline}
}

// do runs a call. It takes no longer than the call's deadline allows: whoever
// sends for it has one that is no later.
func (l *line) do(ctx context.Context, c *call) (int64, error) {
	l.mu.Lock()
	if l.busy {
		c.woken = make(chan struct{}, 1)
		l.queue = append(l.queue, c)
		l.mu.Unlock()
		<-c.woken
		if !c.lead {
			return c.answer, c.err
		}
		l.mu.Lock()
	} else {
		l.busy = true
		l.queue = append(l.queue, c)
	}
	// Whoever leads is first in the queue.
	n := min(len(l.queue), maxBatch)
	batch := make([]*call, n)
	copy(batch, l.queue)
	l.queue = append(l.queue[:0], l.queue[n:]...)
	l.mu.Unlock()

	// Each has an error until it has an answer. Should sending panic, the others are
	// told so and the line is handed over: a line that stayed busy would take every
	// later call and answer none.
	for _, other := range batch {
		other.err = errBrokenOff
	}
	defer l.handOver(batch)
	l.send(ctx, batch)
	return c.answer, c.err
}

// handOver wakes those whose call was in the batch, and whoever is to lead next.
func (l *line) handOver(batch []*call) {
	l.mu.Lock()
	if len(l.queue) > 0 {
		next := l.queue[0]
		next.lead = true
		next.woken <- struct{}{}
	} else {
		l.busy = false
	}
	l.mu.Unlock()
	for _, other := range batch[1:] {
		other.woken <- struct{}{}
	}
}

// send runs a batch on one connection. That the caller who leads hangs up must not
// end it: the others have not.
func (l *line) send(ctx context.Context, batch []*call) {
	soonest := time.Now().Add(least)
	var deadline time.Time
	live := batch[:0:0]
	for i, c := range batch {
		switch {
		case c.deadline.Before(soonest):
			c.err = fmt.Errorf("%w: not sent", ErrTimeout)
			if live == nil {
				live = append(make([]*call, 0, len(batch)), batch[:i]...)
			}
			continue
		case live != nil:
			live = append(live, c)
		}
		if deadline.IsZero() || c.deadline.Before(deadline) {
			deadline = c.deadline
		}
	}
	if live == nil {
		live = batch
	}
	if len(live) == 0 {
		return
	}
	ctx, cancel := context.WithDeadline(context.WithoutCancel(ctx), deadline)
	defer cancel()
	if missing := l.exchange(ctx, live); len(missing) > 0 {
		// Redis does not hold the script any more, and has done nothing. By its text,
		// each goes in once more.
		for _, c := range missing {
			c.args[0], c.args[1] = "eval", c.script.text
		}
		l.exchange(ctx, missing)
	}
}

// exchange is one round trip. It returns the calls whose script was not there.
func (l *line) exchange(ctx context.Context, batch []*call) (missing []*call) {
	pipe := l.client.Pipeline()
	cmds := make([]*redis.Cmd, len(batch))
	for i, c := range batch {
		cmds[i] = redis.NewCmd(ctx, c.args...)
		_ = pipe.Process(ctx, cmds[i]) // queued; each command has its own error
	}
	var acknowledged *redis.IntCmd
	var acks int64
	if l.acks != nil {
		acks = max(1, l.acks.Load())
		acknowledged = redis.NewIntCmd(ctx, "wait", acks, acknowledge.Milliseconds())
		_ = pipe.Process(ctx, acknowledged) // as above
	}
	_, _ = pipe.Exec(ctx) // each command has its own error
	for i, c := range batch {
		answer, err := cmds[i].Int64()
		switch {
		case err != nil && redis.HasErrorPrefix(err, "NOSCRIPT"):
			missing = append(missing, c)
		case err != nil:
			err = wrap(err)
		case acknowledged != nil && answer == answerAllowed:
			var n int64
			if n, err = acknowledged.Result(); err != nil {
				err = wrap(err)
			} else if n < acks {
				err = ErrUnacknowledged
			}
		}
		c.answer, c.err = answer, err
	}
	return missing
}

// wrap says where an error came from; it keeps what it was.
func wrap(err error) error {
	if errors.Is(err, context.DeadlineExceeded) {
		return fmt.Errorf("%w: %w", ErrTimeout, err)
	}
	return fmt.Errorf("replay: Redis: %w", err)
}

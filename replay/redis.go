package replay

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"strconv"
	"sync"
	"sync/atomic"
	"time"

	"github.com/redis/go-redis/v9"
	"golang.org/x/sync/singleflight"
)

// Modes of a [RedisConfig].
const (
	ModeSingle   = "single"   // one server, its address fixed
	ModeSentinel = "sentinel" // one master at a time, named by Sentinels
	ModeCluster  = "cluster"  // several masters that share the keys
)

// RedisConfig says where the replay store of several replicas is. All fields but
// Observe are needed.
type RedisConfig struct {
	// Dial builds the client, which has not connected yet: a [redis.Client] for
	// ModeSingle and ModeSentinel, a [redis.ClusterClient] for ModeCluster. Its
	// options must hold onConnect as OnConnect, by which a Redis that lost its
	// memory is found, and what [Bound] sets. The store closes the client.
	Dial func(onConnect func(context.Context, *redis.Conn) error) redis.UniversalClient
	Mode string
	Now  func() time.Time
	Log  *slog.Logger
	// Observe, where there is one, is told the result of each reservation:
	// "allowed", "used", "not-yet", "restarted" or "error".
	Observe func(result string)
}

var (
	// ErrRestarted says that the token was issued before the store may have lost
	// its memory. It is a refusal (replay-store-restarted): a fresh token will do.
	ErrRestarted = errors.New("replay: the token is older than the store's memory")
	// ErrPolicy says that Redis may forget records when its memory is full.
	ErrPolicy = errors.New("replay: Redis has a maxmemory-policy other than noeviction")
	// ErrReplica says that a connection leads to a Redis that is no master.
	ErrReplica = errors.New("replay: Redis is not a master")
	// ErrFormat says that a record is in a format that this version does not know:
	// a newer one wrote it.
	ErrFormat = errors.New("replay: a record in Redis has an unknown format")
	// ErrUnacknowledged says that too few replicas of Redis acknowledged the use. It
	// may be lost, so that it does not count; the token stays burnt.
	ErrUnacknowledged = errors.New("replay: too few replicas of Redis acknowledged the use")
	// ErrClock says that this replica's clock and Redis' are more than a minute apart
	// when a watermark would have to be set. It sets none and reserves nothing, so
	// that one wrong clock stops one replica only.
	ErrClock = errors.New("replay: our clock and that of Redis are more than a minute apart")
	// ErrTimeout says that Redis did not answer in time.
	ErrTimeout = errors.New("replay: Redis did not answer in time")
)

// NotYetError says that the store lost its memory a moment ago, and that tokens
// of now cannot be told from those that it forgot. It is no verdict on the token.
type NotYetError struct {
	Until time.Time // from then on, tokens issued since are taken
}

// Error says until when.
func (e *NotYetError) Error() string {
	return "replay: the store lost its memory; single use is possible again from " + e.Until.UTC().Format(time.RFC3339)
}

const (
	// patience is how long Redis may take, whatever goes wrong: a caller waits for it.
	patience = 250 * time.Millisecond
	// lookEvery is how often the marker is looked at.
	lookEvery = time.Second
	// blind is how long a cluster's marker may go unseen before nothing is reserved:
	// a few looks that failed.
	blind = 5 * time.Second
)

// Redis is the store of a gateway with several replicas. Each reservation is one
// script, which Redis runs whole or not at all. It is safe for concurrent use.
//
// Nothing is sent twice: a command whose answer was lost may have been done, and
// the second would find the first's mark. The outcome is then unknown, the answer
// an error, and the token burnt.
type Redis struct {
	mode    string
	now     func() time.Time
	log     *slog.Logger
	observe func(string)
	scripts scripts

	client  *redis.Client        // ModeSingle and ModeSentinel
	cluster *redis.ClusterClient // ModeCluster

	line  *line        // to client
	lines sync.Map     // *redis.Client -> *line, to a cluster's masters
	acks  atomic.Int64 // how many replicas must acknowledge; in a cluster, the most of any master

	epoch epoch
	looks singleflight.Group
	unfit atomic.Pointer[error] // why the last look found a Redis not to be used; nil: it did not
	seen  atomic.Int64          // when the last look succeeded, in nanoseconds since began
	began time.Time

	stop    context.CancelFunc
	stopped chan struct{}
}

// NewRedis returns a store and begins to watch it. Redis need not answer yet.
func NewRedis(c RedisConfig) (*Redis, error) {
	r := &Redis{
		mode: c.Mode, now: c.Now, log: c.Log, observe: c.Observe, scripts: newScripts(c.Mode == ModeCluster),
		began: time.Now(), stopped: make(chan struct{}),
	}
	if r.observe == nil {
		r.observe = func(string) {}
	}
	switch client := c.Dial(r.onConnect).(type) {
	case *redis.Client:
		r.client = client
		r.line = newLine(client, nil)
		if c.Mode == ModeSentinel {
			r.line.acks = &r.acks
		}
	case *redis.ClusterClient:
		r.cluster = client
	}
	if (c.Mode == ModeCluster) != (r.cluster != nil) || (c.Mode == ModeSingle || c.Mode == ModeSentinel) != (r.client != nil) {
		return nil, fmt.Errorf("replay: mode %.20q with another mode's client", c.Mode)
	}
	ctx, stop := context.WithCancel(context.Background())
	r.stop = stop
	go r.watch(ctx)
	return r, nil
}

// Bound sets the options that the store relies on: no call takes longer than
// 250 ms, and none is sent twice.
func Bound(o *redis.UniversalOptions) {
	o.ContextTimeoutEnabled = true
	o.DialTimeout, o.ReadTimeout, o.WriteTimeout, o.PoolTimeout = patience, patience, patience, patience
	o.DialerRetries = 1 // one attempt
	o.MaxRetries = -1   // none
	o.Protocol = 2      // nothing of version 3 is used
	o.DisableIdentity = true
	// Pipelines are short and use the one pool: a second would double the connections.
	o.PipelinePoolSize = -1
}

// Close ends the watch and the connections.
func (r *Redis) Close() error {
	r.stop()
	<-r.stopped
	if r.cluster != nil {
		return r.cluster.Close()
	}
	return r.client.Close()
}

// Reserve takes one use of a token, and of its nonce where it has one, in one
// atomic step. It reports false when the rule does not allow another use. On an
// error nothing may be issued: [ErrRestarted] refuses the token, a [NotYetError]
// says when to come again, and any other means that Redis did not give an answer
// to rest on, so that the token may be burnt.
func (r *Redis) Reserve(ctx context.Context, res Reservation) (bool, error) {
	ok, err := r.reserve(ctx, res)
	switch {
	case err != nil:
		r.observe(failed(err))
	case ok:
		r.observe("allowed")
	default:
		r.observe("used")
	}
	return ok, err
}

// failed names an error for Observe.
func failed(err error) string {
	var notYet *NotYetError
	switch {
	case errors.Is(err, ErrRestarted):
		return "restarted"
	case errors.As(err, &notYet):
		return "not-yet"
	}
	return "error"
}

func (r *Redis) reserve(ctx context.Context, res Reservation) (bool, error) {
	key, nonce, _, err := res.parse()
	if err != nil {
		return false, err
	}
	tag := r.tag(res, key, nonce)
	deadline := time.Now().Add(patience)
	for again := false; ; again = true {
		mark, err := r.mark(ctx)
		if err != nil {
			return false, err
		}
		if err := mark.refuses(res, r.now()); err != nil {
			return false, err
		}
		answer, err := r.run(ctx, r.reserveCall(res, tag, mark, deadline), tag)
		if err != nil {
			return false, err
		}
		if answer == answerStrange && !again {
			// Nothing was done: this Redis is not the one that we looked at last.
			if err := r.look(ctx); err != nil {
				return false, err
			}
			continue
		}
		ok, err := verdict(answer)
		if !ok || err != nil {
			return false, err
		}
		// Again after the fact: what the script rests on may have been found lost
		// meanwhile, by the very connection that it went through.
		if err := r.epoch.now().refuses(res, r.now()); err != nil {
			return false, err
		}
		return true, nil
	}
}

// Release undoes what this decision reserved, the nonce too, and nothing else.
// To release what is not there is no error.
func (r *Redis) Release(ctx context.Context, res Reservation) error {
	key, nonce, decision, err := res.parseRelease()
	// The zero decision is nobody's: what several rest on stays.
	if err != nil || decision == (decisionID{}) {
		return err
	}
	tag := r.tag(res, key, nonce)
	args := []any{nil, nil, 1, tokenName(res, tag)}
	if res.Nonce != "" {
		args[2] = 2
		args = append(args, nonceName(res, tag))
	}
	args = append(args, res.Decision)
	answer, err := r.run(ctx, newCall(r.scripts.release, args, time.Now().Add(patience)), tag)
	if err != nil {
		return err
	}
	if answer == answerFreed {
		return nil
	}
	_, err = verdict(answer)
	return err
}

// reserveCall is the script with its keys and arguments.
func (r *Redis) reserveCall(res Reservation, tag string, m *watermark, deadline time.Time) *call {
	args := make([]any, 3, 13)
	args[2] = 2
	args = append(args, tokenName(res, tag))
	if res.Nonce != "" {
		args[2] = 3
		args = append(args, nonceName(res, tag))
	}
	marker := markerName
	if r.cluster != nil {
		// That one is on one shard only, out of the script's reach.
		marker = partName(tag)
	}
	args = append(args, marker, m.text, res.Use, millis(res.TTL), res.Decision, res.Member)
	if res.Nonce != "" {
		args = append(args, millis(res.nonceTTL()))
	}
	return newCall(r.scripts.reserve, args, deadline)
}

// millis is a time to live: relative, because Redis' clock may be another, and
// rounded up, so that nothing is forgotten early.
func millis(d time.Duration) string {
	return strconv.FormatInt(int64((d+time.Millisecond-1)/time.Millisecond), 10)
}

func verdict(answer int64) (bool, error) {
	switch answer {
	case answerAllowed:
		return true, nil
	case answerUsed:
		return false, nil
	case answerFormat:
		return false, ErrFormat // a newer replica of ours wrote it, and knows more of it than we
	case answerFull:
		return false, fmt.Errorf("%w: one token for more than %d grants", ErrFull, maxMembers)
	case answerStrange:
		return false, errors.New("replay: Redis changed under a reservation")
	default:
		return false, fmt.Errorf("replay: Redis answered %d", answer)
	}
}

// run has a script run on the master that holds the keys with this tag.
func (r *Redis) run(ctx context.Context, c *call, tag string) (int64, error) {
	if r.cluster == nil {
		return r.line.do(ctx, c)
	}
	if r.sinceLook() > blind {
		return 0, fmt.Errorf("%w: the marker was not seen for %s", ErrTimeout, blind)
	}
	ctx, cancel := context.WithDeadline(context.WithoutCancel(ctx), c.deadline)
	defer cancel()
	client, err := r.cluster.MasterForKey(ctx, "{"+tag+"}")
	if err != nil {
		return 0, err
	}
	answer, err := r.lineTo(client).do(ctx, c)
	if err == nil {
		return answer, nil
	}
	r.cluster.ReloadState(ctx)
	if _, moved := redis.IsMovedError(err); !moved {
		return 0, err // what became of it is not known
	}
	// It was not done there. The new map arrives in a moment.
	for {
		timer := time.NewTimer(5 * time.Millisecond)
		select {
		case <-ctx.Done():
			timer.Stop()
			return 0, err
		case <-timer.C:
		}
		if other, found := r.cluster.MasterForKey(ctx, "{"+tag+"}"); found == nil && other != client {
			return r.lineTo(other).do(ctx, newCall(c.script, c.args, c.deadline))
		}
	}
}

func (r *Redis) lineTo(client *redis.Client) *line {
	if l, ok := r.lines.Load(client); ok {
		return l.(*line)
	}
	// Until a look has counted its replicas, as many as any master needs.
	acks := &atomic.Int64{}
	acks.Store(r.acks.Load())
	l, _ := r.lines.LoadOrStore(client, newLine(client, acks))
	return l.(*line)
}

package stops

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/redis/go-redis/v9"

	"cambio/trust"
)

// The keys share a hash tag: a cluster keeps them on one node, and one script may
// touch both.
const (
	listKey = "cambio:1:{stops}:list"
	// serverKey names the server on which the list has settled. A restart, a
	// failover and an emptied server all leave another name there, or none.
	serverKey = "cambio:1:{stops}:server"
)

// settleLooks is how many looks after the first one find a list as it stands on a
// new server before it is settled. Every other replica looks once a second too;
// three seconds leave it time to connect and to put back what it holds. With the
// first look a second after the last good one, a copy is then 4 s old.
const settleLooks = 3

// writeTries is how often a change competes with others before it gives up.
const writeTries = 10

// swap replaces the list where it still is what was read, so that of two writers
// the second reads again. Only the head is compared of one that is too long. A
// list that is made where none was has to settle.
const swap = `
if redis.call('GETRANGE', KEYS[1], 0, ARGV[3]) ~= ARGV[1] then return 0 end
if ARGV[1] == '' then redis.call('DEL', KEYS[2]) end
redis.call('SET', KEYS[1], ARGV[2])
return 1`

// remote is the list in Redis. It is used by one goroutine.
type remote struct {
	client  redis.UniversalClient
	timeout time.Duration // of a call

	text   string // the list that was parsed last, so that an unchanged one is not parsed again
	set    trust.StopSet
	server string // the server of the last look that found a list
	looks  int    // those after it that found one on the same server, which is not settled yet
	tried  bool   // a write was sent
}

// found is what one look found besides the list.
type found struct {
	text      string // the bytes at the key, one more than allowed at most
	server    string
	settled   string // the server on which the list has settled
	followers int    // replicas of Redis
	aof       bool   // writes go to its disk
}

// node is where the list is: its master in a cluster, else the client.
func (r *remote) node(ctx context.Context) (redis.Cmdable, error) {
	if cluster, ok := r.client.(*redis.ClusterClient); ok {
		return cluster.MasterForKey(ctx, listKey)
	}
	return r.client, nil
}

// moved makes a cluster's client ask again who has which key: it is told of a
// failover only when it asks.
func (r *remote) moved(ctx context.Context) {
	if cluster, ok := r.client.(*redis.ClusterClient); ok {
		cluster.ReloadState(ctx)
	}
}

// fetch asks for the list, and for the server behind it, on one connection: an
// answer of two servers would let a list pass for settled that is not. The list
// comes first, so that a restart in between is noticed.
func (r *remote) fetch(ctx context.Context) (found, error) {
	ctx, cancel := context.WithTimeout(ctx, r.timeout)
	defer cancel()
	f, err := r.ask(ctx)
	if err != nil {
		r.moved(ctx)
		return found{}, err
	}
	return f, nil
}

func (r *remote) ask(ctx context.Context) (found, error) {
	node, err := r.node(ctx)
	if err != nil {
		return found{}, unreachable(err)
	}
	pipe := node.Pipeline()
	list, settled, info := pipe.GetRange(ctx, listKey, 0, maxFile), pipe.Get(ctx, serverKey), pipe.Info(ctx)
	_, _ = pipe.Exec(ctx) // each command has its own error
	if err := list.Err(); err != nil {
		if redis.HasErrorPrefix(err, "WRONGTYPE") {
			return found{}, fmt.Errorf("%w: %w: %s holds something else", ErrUnavailable, ErrInvalid, listKey)
		}
		return found{}, unreachable(err)
	}
	if err := settled.Err(); err != nil && !errors.Is(err, redis.Nil) {
		return found{}, unreachable(err)
	}
	if err := info.Err(); err != nil {
		return found{}, unreachable(err)
	}
	run, replication := line(info.Val(), "run_id"), line(info.Val(), "master_replid")
	if run == "" {
		return found{}, unreachable(errors.New("INFO does not tell the server's run_id"))
	}
	if line(info.Val(), "role") == "slave" {
		// It may be behind its master for as long as it likes. A connection to a
		// master of before would lead there for ever: the server ends it on this word,
		// and the next look asks anew who the master is.
		quit := node.Pipeline()
		quit.Do(ctx, "QUIT")
		_, _ = quit.Exec(ctx) // if it fails, the next look says it again
		return found{}, unreachable(errors.New("the server is a replica of another, which has the list"))
	}
	followers, err := strconv.Atoi(line(info.Val(), "connected_slaves"))
	if err != nil {
		followers = 0 // only a hint for people
	}
	return found{
		text: list.Val(), server: run + "/" + replication, settled: settled.Val(),
		followers: followers, aof: line(info.Val(), "aof_enabled") == "1",
	}, nil
}

// line is a line of INFO.
func line(info, name string) string {
	_, rest, _ := strings.Cut("\n"+info, "\n"+name+":")
	value, _, _ := strings.Cut(rest, "\n")
	return strings.TrimSpace(value)
}

func unreachable(err error) error {
	return fmt.Errorf("%w: %w: Redis: %w", ErrUnavailable, ErrUnreachable, err)
}

// parse reads what was found. An empty string is what Redis tells of a key that
// is not there.
func (r *remote) parse(text string) (trust.StopSet, error) {
	switch text {
	case "":
		return trust.StopSet{}, fmt.Errorf("%w: %w in Redis (%s)", ErrUnavailable, errMissing, listKey)
	case r.text:
		return r.set, nil
	}
	set, err := Parse([]byte(text))
	if err != nil {
		return trust.StopSet{}, fmt.Errorf("%w: Redis (%s): %w", ErrUnavailable, listKey, err)
	}
	r.text, r.set = text, set
	return set, nil
}

func (r *remote) read(ctx context.Context) (trust.StopSet, bool, error) {
	f, err := r.fetch(ctx)
	if err != nil {
		return trust.StopSet{}, false, err
	}
	set, err := r.parse(f.text)
	if err != nil {
		r.server, r.looks = "", 0
		return trust.StopSet{}, false, err
	}
	return set, r.settle(ctx, f), nil
}

// settle reports whether the list is settled, and says so to the other replicas
// when it has just become so here.
func (r *remote) settle(ctx context.Context, f found) bool {
	if f.settled == f.server {
		return true
	}
	if r.server != f.server {
		r.server, r.looks = f.server, 0
		return false
	}
	if r.looks++; r.looks < settleLooks {
		return false
	}
	ctx, cancel := context.WithTimeout(ctx, r.timeout)
	defer cancel()
	node, err := r.node(ctx)
	return err == nil && node.Set(ctx, serverKey, f.server, 0).Err() == nil
}

func (r *remote) change(ctx context.Context, apply apply) error {
	_, err := r.write(ctx, apply, 0)
	return err
}

// write is change, and waits so long for one replica of Redis to acknowledge,
// where there are any. It returns how many did.
func (r *remote) write(ctx context.Context, apply apply, patience time.Duration) (acknowledged int64, err error) {
	for range writeTries {
		f, err := r.fetch(ctx)
		var old trust.StopSet
		if err == nil {
			old, err = r.parse(f.text)
		}
		set, err := apply(old, err)
		if err != nil || set.Version() == old.Version() {
			return 0, err
		}
		text, err := encoded(set)
		if err != nil {
			return 0, err
		}
		if f.followers == 0 {
			patience = 0
		}
		done, n, err := r.swap(ctx, f.text, string(text), patience)
		if err != nil {
			return 0, err
		}
		if done {
			if f.text == "" {
				r.server, r.looks = "", 0
			}
			return n, nil
		}
	}
	return 0, fmt.Errorf("%w: too many change it at once", ErrUnavailable)
}

func (r *remote) swap(ctx context.Context, old, text string, patience time.Duration) (done bool, acknowledged int64, err error) {
	ctx, cancel := context.WithTimeout(ctx, r.timeout+patience)
	defer cancel()
	node, err := r.node(ctx)
	if err != nil {
		return false, 0, unreachable(err)
	}
	r.tried = true
	pipe := node.Pipeline()
	swapped := pipe.Eval(ctx, swap, []string{listKey, serverKey}, old, text, maxFile)
	var wait *redis.Cmd
	if patience > 0 {
		wait = pipe.Do(ctx, "WAIT", 1, patience.Milliseconds()) // counts what this connection wrote
	}
	_, _ = pipe.Exec(ctx) // each command has its own error
	n, err := swapped.Int()
	if err != nil {
		r.moved(ctx)
		var reply redis.Error
		if errors.As(err, &reply) {
			return false, 0, fmt.Errorf("%w: Redis does not take the write: %w", ErrUnavailable, err)
		}
		return false, 0, unreachable(err)
	}
	if wait != nil && n == 1 {
		acknowledged, err = wait.Int64()
		if err != nil {
			acknowledged = 0 // nobody did, as far as is known
		}
	}
	return n == 1, acknowledged, nil
}

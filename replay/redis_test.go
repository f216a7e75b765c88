package replay_test

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"cambio/replay"
	"cambio/replay/replaytest"
	"cambio/test/redisrig"
)

func TestRedis(t *testing.T) {
	t.Parallel()
	contract := func(t *testing.T, open func(clock *shift) replica) {
		t.Helper()
		// The tokens of the contract are of the real now: the watermark lies before.
		clock := &shift{}
		clock.advance(-50 * time.Second)
		r := open(clock)
		r.settle(t)
		clock.by.Store(0)
		replaytest.Run(t, func(*testing.T) replaytest.Store { return r })
	}
	t.Run("single", func(t *testing.T) {
		t.Parallel()
		s := redisrig.Start(t, redisrig.Options{})
		contract(t, func(clock *shift) replica { return single(t, s.Addr(), clock) })
	})
	t.Run("sentinel", func(t *testing.T) {
		t.Parallel()
		s := redisrig.Sentinel(t, redisrig.Options{Password: "secret"}, 1)
		contract(t, func(clock *shift) replica { return sentinel(t, s, clock) })
	})
	t.Run("cluster", func(t *testing.T) {
		t.Parallel()
		c := redisrig.Cluster(t, redisrig.Options{Password: "secret"}, 3, true)
		contract(t, func(clock *shift) replica { return cluster(t, c, clock) })
	})
}

// must reserves what must be allowed, or must not.
func (r replica) must(t testing.TB, res replay.Reservation, want bool) {
	t.Helper()
	if got, err := r.Reserve(t.Context(), res); err != nil || got != want {
		t.Fatalf("reserve = %t, %v; want %t", got, err, want)
	}
}

// refused reserves what must end in an error, in time.
func (r replica) refused(t testing.TB, res replay.Reservation) error {
	t.Helper()
	began := time.Now()
	ok, err := r.Reserve(t.Context(), res)
	if ok || err == nil {
		t.Fatalf("reserve = %t, %v; want an error", ok, err)
	}
	// 250 ms, and something for a machine that is busy with all these servers.
	if took := time.Since(began); took > time.Second {
		t.Errorf("refused after %s: %v", took, err)
	}
	return err
}

// afterLoss holds what must be true once Redis has lost something: tokens of
// before are refused for good, tokens of now for a moment, and then all is well.
func (r replica) afterLoss(t testing.TB, before replay.Reservation) {
	t.Helper()
	r.eventually(t, "notice of the loss", func() bool {
		ok, err := r.Reserve(t.Context(), before)
		if ok {
			t.Fatal("a token was used twice")
		}
		var notYet *replay.NotYetError
		if errors.As(err, &notYet) {
			if wait := notYet.Until.Sub(r.clock.now()); wait <= 0 || wait > skew+time.Second {
				t.Errorf("until %s from now", wait)
			}
			return true
		}
		return false
	})
	fresh := r.token(before.Key+" early", 90, replay.Once)
	var notYet *replay.NotYetError
	if err := r.refused(t, fresh); !errors.As(err, &notYet) {
		t.Fatalf("a fresh token, too early: %v", err)
	}
	r.must(t, r.token(before.Key+" many", 91, replay.UntilExpiry), true)
	r.clock.advance(skew + 2*time.Second)
	for _, old := range []replay.Reservation{before, fresh} {
		if err := r.refused(t, old); !errors.Is(err, replay.ErrRestarted) {
			t.Fatalf("an old token: %v", err)
		}
	}
	nonce := old(before, replay.UntilExpiry)
	nonce.Key, nonce.Nonce = replaytest.Key(before.Key+" carrier"), replaytest.Key("a nonce")
	if err := r.refused(t, nonce); !errors.Is(err, replay.ErrRestarted) {
		t.Fatalf("an old token with a nonce: %v", err)
	}
	r.must(t, r.token(before.Key+" late", 92, replay.Once), true)
	r.must(t, r.token(before.Key+" late", 93, replay.Once), false)
	r.must(t, old(before, replay.UntilExpiry), true)
}

func old(r replay.Reservation, use string) replay.Reservation {
	r.Use, r.Key, r.Decision = use, replaytest.Key(r.Key+" another"), replaytest.Decision(94)
	return r
}

func TestFirstStart(t *testing.T) {
	t.Parallel()
	s := redisrig.Start(t, redisrig.Options{AOF: true})
	clock := &shift{}
	r := single(t, s.Addr(), clock)
	token := r.token("first", 1, replay.Once)
	r.eventually(t, "connection", func() bool {
		_, err := r.Check(t.Context())
		return err == nil
	})
	var notYet *replay.NotYetError
	if err := r.refused(t, token); !errors.As(err, &notYet) {
		t.Fatal(err)
	}
	r.clock.advance(2 * skew)
	if err := r.refused(t, token); !errors.Is(err, replay.ErrRestarted) {
		t.Fatal(err)
	}
	// A replica that starts later finds all in order, and so does the first where
	// the marker says so.
	primed := redisrig.Start(t, redisrig.Options{})
	primed.Prime(time.Now().Add(-time.Hour))
	third := single(t, primed.Addr(), &shift{})
	third.must(t, third.token("third", 1, replay.Once), true)
	other := single(t, s.Addr(), clock)
	other.must(t, r.token("second", 2, replay.Once), true)
	r.must(t, r.token("second", 3, replay.Once), false)
}

// TestTheWaitEndsOnAWholeSecond: tokens carry whole seconds, so one that is
// fetched when the wait ends must not seem older than its end.
func TestTheWaitEndsOnAWholeSecond(t *testing.T) {
	t.Parallel()
	s := redisrig.Start(t, redisrig.Options{})
	r := single(t, s.Addr(), &shift{})
	token := r.token("whole", 1, replay.Once)
	var notYet *replay.NotYetError
	r.eventually(t, "a wait", func() bool {
		_, err := r.Reserve(t.Context(), token)
		return errors.As(err, &notYet)
	})
	if !notYet.Until.Equal(notYet.Until.Truncate(time.Second)) {
		t.Fatalf("the wait ends at %s", notYet.Until)
	}
	r.clock.advance(time.Until(notYet.Until) + 10*time.Millisecond)
	fresh := r.token("fresh", 2, replay.Once)
	fresh.IssuedAt = r.clock.now().Truncate(time.Second)
	r.must(t, fresh, true)
}

func TestLoss(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		name string
		lose func(*redisrig.Server)
	}{
		{"killed", (*redisrig.Server).Restart}, // nothing is lost, but who knows
		{"restarted empty", (*redisrig.Server).RestartEmpty},
		{"the last second lost", (*redisrig.Server).RestartFromBackup},
		{"flushed", func(s *redisrig.Server) { s.Do("FLUSHALL") }},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			s := redisrig.Start(t, redisrig.Options{AOF: true})
			clock := &shift{}
			a, b := single(t, s.Addr(), clock), single(t, s.Addr(), clock)
			a.settle(t)
			b.settle(t)
			s.Backup()
			token := a.token("token", 1, replay.Once)
			a.must(t, token, true)
			tt.lose(s)
			token.Decision = replaytest.Decision(2)
			// Both replicas of Cambio, and one that starts now.
			a.afterLoss(t, token)
			if err := b.refused(t, token); !errors.Is(err, replay.ErrRestarted) {
				// It may find the loss only now, and then be later.
				var notYet *replay.NotYetError
				if !errors.As(err, &notYet) {
					t.Fatal(err)
				}
			}
			c := single(t, s.Addr(), clock)
			if err := c.refused(t, token); !errors.Is(err, replay.ErrRestarted) {
				var notYet *replay.NotYetError
				if !errors.As(err, &notYet) {
					t.Fatal(err)
				}
			}
			clock.advance(2 * skew)
			b.must(t, b.token("at last", 3, replay.Once), true)
			a.must(t, b.token("at last", 4, replay.Once), false)
			c.must(t, b.token("at last", 5, replay.Once), false)
		})
	}
}

// TestLaggingReplica is an address that moves to a replica which had missed the
// last uses, while the old connections still stand.
func TestLaggingReplica(t *testing.T) {
	t.Parallel()
	master := redisrig.Start(t, redisrig.Options{})
	link := redisrig.NewProxy(t, master.Addr())
	second := master.Replica(redisrig.Options{ReplicaOf: link.Addr()})
	address := redisrig.NewProxy(t, master.Addr())
	clock := &shift{}
	a, b := single(t, address.Addr(), clock), single(t, address.Addr(), clock)
	a.settle(t)
	b.settle(t)
	link.Hang()
	token := a.token("token", 1, replay.Once)
	a.must(t, token, true)
	second.Promote()
	address.To(second.Addr())
	token.Decision = replaytest.Decision(2)
	b.afterLoss(t, token)
	a.must(t, a.token("many", 2, replay.UntilExpiry), true)
	clock.advance(2 * skew)
	// And back again: what the second master was told, the first does not know.
	token = b.token("another", 3, replay.Once)
	b.must(t, token, true)
	address.To(master.Addr())
	token.Decision = replaytest.Decision(4)
	a.afterLoss(t, token)
}

func TestSentinelFailover(t *testing.T) {
	t.Parallel()
	s := redisrig.Sentinel(t, redisrig.Options{Password: "secret"}, 2)
	clock := &shift{}
	a, b := sentinel(t, s, clock), sentinel(t, s, clock)
	a.settle(t)
	b.settle(t)
	token := a.token("token", 1, replay.Once)
	a.must(t, token, true)
	old, fresh := s.Failover()
	token.Decision = replaytest.Decision(2)
	a.afterLoss(t, token)
	clock.advance(2 * skew)
	b.recovers(t, 3)
	// Nobody acknowledges any more: nothing is given out.
	for _, server := range s.Servers {
		if server != old && server != fresh {
			server.Kill()
		}
	}
	clock.advance(2 * skew)
	lonely := b.token("lonely", 4, replay.Once)
	if err := b.refused(t, lonely); !errors.Is(err, replay.ErrUnacknowledged) {
		t.Fatal(err)
	}
	lonely.Decision = replaytest.Decision(5)
	b.must(t, lonely, false) // burnt
	old.Restart()
	old.Follow(fresh.Addr()) // Sentinel would do it, in ten seconds
	b.eventually(t, "acknowledgement", func() bool {
		ok, err := b.Reserve(t.Context(), b.token(fmt.Sprint("company", time.Now()), 6, replay.Once))
		return ok && err == nil
	})
}

func TestClusterFailover(t *testing.T) {
	t.Parallel()
	c := redisrig.Cluster(t, redisrig.Options{Password: "secret"}, 2, true)
	clock := &shift{}
	a, b := cluster(t, c, clock), cluster(t, c, clock)
	a.settle(t)
	b.settle(t)
	for i := range 20 { // on both shards
		a.must(t, a.token(fmt.Sprint("token ", i), 1, replay.Once), true)
		b.must(t, a.token(fmt.Sprint("token ", i), 2, replay.Once), false)
	}
	for shard := range c.Masters {
		var tokens []replay.Reservation
		for i := range 8 { // few: without a replica, each is a wait
			token := a.token(fmt.Sprint("token ", shard, i), 3, replay.Once)
			a.must(t, token, true)
			token.Decision = replaytest.Decision(4)
			tokens = append(tokens, token)
		}
		// Each is the marker's shard once.
		c.Failover(shard)
		for _, r := range []replica{a, b} {
			r.eventually(t, "recovery of each shard", func() bool {
				well := true
				for i, token := range tokens {
					if ok, err := r.Reserve(t.Context(), token); ok && err == nil {
						t.Fatal("a token was used twice")
					}
					_, err := r.Reserve(t.Context(), r.token(fmt.Sprint("many ", shard, i), 5, replay.UntilExpiry))
					well = well && (err == nil || errors.Is(err, replay.ErrUnacknowledged))
				}
				return well
			})
		}
		c.Replicas[shard].Restart()
		c.WaitOK()
		c.Replicas[shard].WaitInStep()
		for _, r := range []replica{a, b} {
			r.eventually(t, "acknowledgements", func() bool {
				for i := range tokens {
					if _, err := r.Reserve(t.Context(), r.token(fmt.Sprint("many ", shard, i), 6, replay.UntilExpiry)); err != nil {
						return false
					}
				}
				return true
			})
		}
		clock.advance(2 * skew)
		for _, token := range tokens {
			if err := b.refused(t, token); !errors.Is(err, replay.ErrRestarted) {
				t.Fatal(err)
			}
		}
		for i := range 20 {
			b.must(t, b.token(fmt.Sprint("late ", shard, i), 7, replay.Once), true)
			a.must(t, b.token(fmt.Sprint("late ", shard, i), 8, replay.Once), false)
		}
	}
}

// TestPartition breaks the line in each way. What became of a request is not
// known, so its token is never given out again.
func TestPartition(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		name  string
		apart func(*redisrig.Proxy)
	}{
		{"hang", (*redisrig.Proxy).Hang},
		{"answers lost", (*redisrig.Proxy).Swallow},
		{"refused", (*redisrig.Proxy).Refuse},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			s := redisrig.Start(t, redisrig.Options{})
			p := redisrig.NewProxy(t, s.Addr())
			clock := &shift{}
			r, near := single(t, p.Addr(), clock), single(t, s.Addr(), clock)
			r.settle(t)
			near.settle(t)
			tt.apart(p)
			token := r.token("token", 1, replay.Once)
			_ = r.refused(t, token)
			var wg sync.WaitGroup
			for i := range 64 {
				wg.Go(func() {
					began := time.Now()
					ok, err := r.Reserve(t.Context(), r.token(fmt.Sprint("crowd ", i), 1, replay.Once))
					if took := time.Since(began); ok || err == nil || took > time.Second {
						t.Errorf("%t, %v after %s", ok, err, took)
					}
				})
			}
			wg.Wait()
			if err := r.Release(t.Context(), token); err == nil {
				t.Error("a release got through")
			}
			near.must(t, near.token("near", 1, replay.Once), true)
			p.Pass()
			r.eventually(t, "recovery", func() bool {
				_, err := r.Reserve(t.Context(), r.token("back", 2, replay.UntilExpiry))
				return err == nil
			})
			r.must(t, r.token("after", 3, replay.Once), true) // it was the same Redis all the time
			near.must(t, r.token("after", 4, replay.Once), false)
		})
	}
}

// TestRefusals are servers that answer, but not as they must. Each works before
// and after.
func TestRefusals(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		name  string
		spoil func(*redisrig.Server)
		mend  func(*redisrig.Server)
		is    error // or nil: any
	}{
		{
			"out of memory",
			func(s *redisrig.Server) { s.Do("CONFIG", "SET", "maxmemory", "1") },
			func(s *redisrig.Server) { s.Do("CONFIG", "SET", "maxmemory", "0") },
			nil,
		},
		{
			"read-only",
			func(s *redisrig.Server) { s.Do("REPLICAOF", "127.0.0.1", "1") },
			func(s *redisrig.Server) { s.Promote() },
			nil,
		},
		{
			"a newer record",
			func(s *redisrig.Server) {
				key := replaytest.Key("broken")
				s.Do("HSET", "cambio:1:{"+key+"}:t:"+key, "v", "2c", "m:m", "x")
			},
			func(s *redisrig.Server) {
				key := replaytest.Key("broken")
				s.Do("DEL", "cambio:1:{"+key+"}:t:"+key)
			},
			replay.ErrFormat,
		},
		{
			"a record of another kind",
			func(s *redisrig.Server) {
				key := replaytest.Key("broken")
				s.Do("SET", "cambio:1:{"+key+"}:t:"+key, "2")
			},
			func(s *redisrig.Server) {
				key := replaytest.Key("broken")
				s.Do("DEL", "cambio:1:{"+key+"}:t:"+key)
			},
			nil,
		},
		{
			"a record without a format",
			func(s *redisrig.Server) {
				key := replaytest.Key("broken")
				s.Do("HSET", "cambio:1:{"+key+"}:t:"+key, "version", "7")
			},
			func(s *redisrig.Server) {
				key := replaytest.Key("broken")
				s.Do("DEL", "cambio:1:{"+key+"}:t:"+key)
			},
			replay.ErrFormat,
		},
		{
			"a newer marker",
			func(s *redisrig.Server) { s.Do("HSET", "cambio:1:{marker}", "v", "2", "w", "0") },
			func(s *redisrig.Server) { s.Do("DEL", "cambio:1:{marker}") },
			replay.ErrFormat,
		},
		{
			"another script cache",
			func(s *redisrig.Server) { s.Do("SCRIPT", "FLUSH"); s.Do("CONFIG", "SET", "maxmemory", "1") },
			func(s *redisrig.Server) { s.Do("CONFIG", "SET", "maxmemory", "0") },
			nil,
		},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			s := redisrig.Start(t, redisrig.Options{})
			clock := &shift{}
			r := single(t, s.Addr(), clock)
			r.settle(t)
			r.must(t, r.token("before", 1, replay.Once), true)
			tt.spoil(s)
			if err := r.refused(t, r.token("broken", 2, replay.Once)); tt.is != nil && !errors.Is(err, tt.is) {
				t.Errorf("%v; want %v", err, tt.is)
			}
			tt.mend(s)
			r.recovers(t, 3)
		})
	}
}

func TestNewerNonce(t *testing.T) {
	t.Parallel()
	s := redisrig.Start(t, redisrig.Options{})
	r := single(t, s.Addr(), &shift{})
	r.settle(t)
	token := r.token("carrier", 1, replay.Once)
	token.Nonce = replaytest.Key("nonce")
	s.Do("SET", "cambio:1:{"+token.Nonce+"}:n:"+token.Nonce, "2 whatever")
	if err := r.refused(t, token); !errors.Is(err, replay.ErrFormat) {
		t.Fatal(err)
	}
}

func TestScriptsAreSentAgain(t *testing.T) {
	t.Parallel()
	s := redisrig.Start(t, redisrig.Options{})
	r := single(t, s.Addr(), &shift{})
	r.settle(t)
	for i := range 3 {
		s.Do("SCRIPT", "FLUSH")
		token := r.token(fmt.Sprint(i), 1, replay.Once)
		r.must(t, token, true)
		s.Do("SCRIPT", "FLUSH")
		if err := r.Release(t.Context(), token); err != nil {
			t.Fatal(err)
		}
		r.must(t, token, true)
		r.must(t, token, false)
	}
}

// TestNeverConnected are servers that cannot be used from the start.
func TestNeverConnected(t *testing.T) {
	t.Parallel()
	locked := redisrig.Start(t, redisrig.Options{Password: "secret"})
	evicts := redisrig.Start(t, redisrig.Options{MaxMemoryPolicy: "allkeys-lru"})
	follows := redisrig.Start(t, redisrig.Options{}).Replica(redisrig.Options{})
	nobody := redisrig.NewProxy(t, locked.Addr())
	nobody.Refuse()
	for _, tt := range []struct {
		name   string
		change func(*redis.UniversalOptions)
		is     error
	}{
		{"a wrong password", func(o *redis.UniversalOptions) { o.Addrs, o.Password = []string{locked.Addr()}, "wrong" }, nil},
		{"no password", func(o *redis.UniversalOptions) { o.Addrs = []string{locked.Addr()} }, nil},
		{"no TLS there", func(o *redis.UniversalOptions) {
			o.Addrs, o.Password, o.TLSConfig = []string{locked.Addr()}, "secret", &tls.Config{MinVersion: tls.VersionTLS12}
		}, nil},
		{"eviction", func(o *redis.UniversalOptions) { o.Addrs = []string{evicts.Addr()} }, replay.ErrPolicy},
		{"a replica", func(o *redis.UniversalOptions) { o.Addrs = []string{follows.Addr()} }, replay.ErrReplica},
		{"nobody", func(o *redis.UniversalOptions) { o.Addrs = []string{nobody.Addr()} }, nil},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			r := open(t, replay.ModeSingle, &shift{}, tt.change)
			for _, use := range []string{replay.Once, replay.UntilExpiry} {
				if err := r.refused(t, r.token("token", 1, use)); tt.is != nil && !errors.Is(err, tt.is) {
					t.Errorf("%v; want %v", err, tt.is)
				}
			}
			if _, err := r.Check(t.Context()); err == nil || tt.is != nil && !errors.Is(err, tt.is) {
				t.Errorf("check: %v; want %v", err, tt.is)
			}
		})
	}
}

// TestRights holds that these are all that a user of Redis needs.
func TestRights(t *testing.T) {
	t.Parallel()
	s := redisrig.Start(t, redisrig.Options{})
	s.Do("ACL", "SETUSER", "cambio", "on", ">secret", "~cambio:1:*",
		"+info", "+ping", "+time", "+eval", "+evalsha",
		"+exists", "+get", "+set", "+del", "+pttl", "+pexpire",
		"+hget", "+hset", "+hdel", "+hlen", "+hgetall")
	r := open(t, replay.ModeSingle, &shift{}, func(o *redis.UniversalOptions) {
		o.Addrs, o.Username, o.Password = []string{s.Addr()}, "cambio", "secret"
	})
	r.settle(t)
	token := r.token("token", 1, replay.Once)
	token.Nonce = replaytest.Key("nonce")
	r.must(t, token, true)
	if err := r.Release(t.Context(), token); err != nil {
		t.Fatal(err)
	}
	many := r.token("many", 2, replay.UntilExpiry)
	for i := range 2 {
		many.Member = fmt.Sprint(i)
		r.must(t, many, true)
		r.must(t, many, true)
	}
	if _, err := r.Check(t.Context()); err != nil {
		t.Fatal(err)
	}
}

// TestTooManyGrants holds the bound on a token's record.
func TestTooManyGrants(t *testing.T) {
	t.Parallel()
	s := redisrig.Start(t, redisrig.Options{})
	r := single(t, s.Addr(), &shift{})
	r.settle(t)
	token := r.token("token", 1, replay.OncePerGrant)
	for i := range 1000 {
		token.Member = fmt.Sprint(i)
		r.must(t, token, true)
	}
	token.Member = "one more"
	if err := r.refused(t, token); !errors.Is(err, replay.ErrFull) {
		t.Fatal(err)
	}
}

// TestRedisExpiry holds that a record lives as long as its longest use asked for, and
// a nonce as long as it could be shown again.
func TestRedisExpiry(t *testing.T) {
	t.Parallel()
	s := redisrig.Start(t, redisrig.Options{})
	r := single(t, s.Addr(), &shift{})
	r.settle(t)
	token := r.token("token", 1, replay.UntilExpiry)
	token.Nonce = replaytest.Key("nonce")
	token.TTL = time.Minute
	r.must(t, token, true)
	left := func(name string) time.Duration {
		t.Helper()
		d, err := s.Client().PTTL(t.Context(), name).Result()
		if err != nil {
			t.Fatal(err)
		}
		return d
	}
	within := func(what string, got, want time.Duration) {
		t.Helper()
		if got > want || got < want-10*time.Second {
			t.Errorf("%s lives %s, want %s", what, got, want)
		}
	}
	within("a token", left("cambio:1:{"+token.Nonce+"}:t:"+token.Key), time.Minute)
	if got := left("cambio:1:{" + token.Nonce + "}:n:" + token.Nonce); got < replay.NonceLife {
		t.Errorf("a nonce is forgotten after %s", got)
	}
	token = r.token("another", 1, replay.UntilExpiry)
	for _, ttl := range []time.Duration{time.Minute, time.Hour, time.Second} {
		token.TTL = ttl
		r.must(t, token, true)
	}
	within("a token used again", left("cambio:1:{"+token.Key+"}:t:"+token.Key), time.Hour)
}

// TestPolicyChanges turns eviction on under a store that runs.
func TestPolicyChanges(t *testing.T) {
	t.Parallel()
	s := redisrig.Start(t, redisrig.Options{})
	r := single(t, s.Addr(), &shift{})
	r.settle(t)
	s.Do("CONFIG", "SET", "maxmemory-policy", "volatile-lru")
	r.eventually(t, "notice of the policy", func() bool {
		_, err := r.Reserve(t.Context(), r.token(fmt.Sprint(time.Now()), 1, replay.Once))
		return errors.Is(err, replay.ErrPolicy)
	})
	s.Do("CONFIG", "SET", "maxmemory-policy", "noeviction")
	r.eventually(t, "recovery", func() bool {
		ok, err := r.Reserve(t.Context(), r.token(fmt.Sprint(time.Now()), 1, replay.Once))
		return ok && err == nil
	})
}

// TestOnlyTheRightClient holds that a mode gets the client that it means.
func TestOnlyTheRightClient(t *testing.T) {
	t.Parallel()
	for _, mode := range []string{replay.ModeCluster, "", "other"} {
		_, err := replay.NewRedis(replay.RedisConfig{
			Mode: mode, Now: time.Now,
			Dial: func(func(context.Context, *redis.Conn) error) redis.UniversalClient {
				return redis.NewClient(&redis.Options{Addr: "127.0.0.1:1"})
			},
		})
		if err == nil {
			t.Errorf("mode %q took a client of one server", mode)
		}
	}
}

// TestRace is two replicas of Cambio that are shown the same tokens at once,
// while Redis is killed, flushed and restarted.
func TestRace(t *testing.T) {
	t.Parallel()
	s := redisrig.Start(t, redisrig.Options{AOF: true})
	clock := &shift{}
	a, b := single(t, s.Addr(), clock), single(t, s.Addr(), clock)
	a.settle(t)
	b.settle(t)
	var allowed atomic.Int64
	for round := range 3 {
		counts := make([]atomic.Int64, 200)
		var wg sync.WaitGroup
		for i := range counts {
			token := a.token(fmt.Sprint("race ", round, i), 1, replay.Once)
			for j, r := range []replica{a, b, a, b} {
				res := token
				res.Decision = replaytest.Decision(j + 1)
				wg.Go(func() {
					if ok, err := r.Reserve(t.Context(), res); ok && err == nil {
						counts[i].Add(1)
						allowed.Add(1)
					}
				})
			}
			if i == len(counts)/2 {
				switch round {
				case 1:
					s.Do("FLUSHALL")
				case 2:
					s.Restart()
				}
			}
		}
		wg.Wait()
		for i := range counts {
			if n := counts[i].Load(); n > 1 {
				t.Errorf("round %d: token %d was allowed %d times", round, i, n)
			}
		}
		a.recovers(t, 1)
		clock.advance(2 * skew)
	}
	if allowed.Load() < 200 {
		t.Errorf("only %d were allowed in all", allowed.Load())
	}
}

func TestObserve(t *testing.T) {
	t.Parallel()
	s := redisrig.Start(t, redisrig.Options{})
	var mu sync.Mutex
	seen := map[string]int{}
	clock := &shift{}
	store, err := replay.NewRedis(replay.RedisConfig{
		Mode: replay.ModeSingle, Now: clock.now, Log: discard(),
		Observe: func(result string) {
			mu.Lock()
			defer mu.Unlock()
			seen[result]++
		},
		Dial: func(onConnect func(context.Context, *redis.Conn) error) redis.UniversalClient {
			o := &redis.UniversalOptions{Addrs: []string{s.Addr()}, OnConnect: onConnect}
			replay.Bound(o)
			return redis.NewClient(o.Simple())
		},
	})
	if err != nil {
		t.Fatal(err)
	}
	defer store.Close()
	r := replica{store, clock}
	token := r.token("token", 1, replay.Once)
	_ = r.refused(t, token)
	clock.advance(2 * skew)
	_ = r.refused(t, token)
	r.must(t, r.token("another", 1, replay.Once), true)
	r.must(t, r.token("another", 1, replay.Once), false)
	s.Kill()
	_ = r.refused(t, r.token("more", 1, replay.Once))
	mu.Lock()
	defer mu.Unlock()
	for _, result := range []string{"not-yet", "restarted", "allowed", "used", "error"} {
		if seen[result] != 1 {
			t.Errorf("%s: %d times", result, seen[result])
		}
	}
}

func TestCheck(t *testing.T) {
	t.Parallel()
	s := redisrig.Start(t, redisrig.Options{AOF: true})
	r := single(t, s.Addr(), &shift{})
	status, err := r.Check(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if len(status.Masters) != 1 || status.Watermark.IsZero() {
		t.Fatalf("%+v", status)
	}
	m := status.Masters[0]
	if m.Version == "" || m.Policy != "noeviction" || !m.AOF || !m.Fsync || m.Replicas != 0 || m.Latency <= 0 {
		t.Errorf("%+v", m)
	}
}

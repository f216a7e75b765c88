package redisrig_test

import (
	"context"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"cambio/test/redisrig"
)

func TestRestarts(t *testing.T) {
	t.Parallel()
	s := redisrig.Start(t, redisrig.Options{AOF: true, Password: "secret"})
	s.Do("SET", "a", "1")
	s.Backup()
	s.Do("SET", "b", "1")
	has := func(want int64, when string) {
		t.Helper()
		if got := s.Do("DBSIZE"); got != want {
			t.Errorf("%v keys %s, want %d", got, when, want)
		}
	}
	s.Kill()
	s.Restart()
	has(2, "after a crash")
	s.Stop()
	s.Restart()
	has(2, "after a stop")
	s.RestartFromBackup()
	has(1, "from the backup")
	s.RestartEmpty()
	has(0, "after an empty restart")
}

func TestReplica(t *testing.T) {
	t.Parallel()
	s := redisrig.Start(t, redisrig.Options{Password: "secret"})
	r := s.Replica(redisrig.Options{})
	s.Do("SET", "a", "1")
	if n := s.Do("WAIT", 1, 5000); n != int64(1) {
		t.Fatalf("WAIT = %v", n)
	}
	r.Promote()
	r.Do("SET", "b", "1")
}

func TestProxy(t *testing.T) {
	t.Parallel()
	s := redisrig.Start(t, redisrig.Options{})
	p := redisrig.NewProxy(t, s.Addr())
	c := redis.NewClient(&redis.Options{Addr: p.Addr(), MaxRetries: -1, DialerRetries: 1, ContextTimeoutEnabled: true, DisableIdentity: true, Protocol: 2})
	defer c.Close()
	set := func(key string) error {
		ctx, cancel := context.WithTimeout(t.Context(), 200*time.Millisecond)
		defer cancel()
		return c.Set(ctx, key, 1, 0).Err()
	}
	for _, tt := range []struct {
		name   string
		change func()
		ok     bool
		there  int64
	}{
		{"pass", p.Pass, true, 1},
		{"hang", p.Hang, false, 0},
		{"pass again", p.Pass, true, 1},
		{"swallow", p.Swallow, false, 1},
		{"refuse", p.Refuse, false, 0},
		{"pass at last", p.Pass, true, 1},
	} {
		tt.change()
		if err := set(tt.name); (err == nil) != tt.ok {
			t.Errorf("%s: %v", tt.name, err)
		}
		if got := s.Do("EXISTS", tt.name); got != tt.there {
			t.Errorf("%s: %v keys, want %d", tt.name, got, tt.there)
		}
	}
}

func TestSentinel(t *testing.T) {
	t.Parallel()
	s := redisrig.Sentinel(t, redisrig.Options{Password: "secret"}, 1)
	old, fresh := s.Failover()
	if old == fresh {
		t.Fatal("no other master")
	}
	fresh.Do("SET", "a", "1")
	old.Restart()
}

func TestCluster(t *testing.T) {
	t.Parallel()
	c := redisrig.Cluster(t, redisrig.Options{Password: "secret"}, 2, true)
	client := redis.NewClusterClient(&redis.ClusterOptions{Addrs: c.Addrs(), Password: "secret"})
	defer client.Close()
	for _, key := range []string{"a", "b", "c", "d"} {
		if err := client.Set(t.Context(), key, 1, 0).Err(); err != nil {
			t.Fatal(err)
		}
	}
	c.Failover(0)
	if err := client.Set(t.Context(), "a", 1, 0).Err(); err != nil {
		t.Fatal(err)
	}
}

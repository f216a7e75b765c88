//go:build chaos

package chaos

import (
	"context"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"cambio/test/redisrig"
)

const password = "of-the-servers" // of Redis; Sentinel has none

func sentinel(addr string) string {
	return fmt.Sprintf("{mode: sentinel, addrs: [%q], master_name: cambio, password: %s}", addr, password)
}

// TestFailover lets Sentinel make a replica of Redis the master that has missed
// uses which another replica acknowledged: they are lost, though they were given
// credentials for. Then the old master comes back with what it has.
func TestFailover(t *testing.T) {
	master := redisrig.Start(t, redisrig.Options{AOF: true, Password: password})
	lagging := master.Replica(redisrig.Options{AOF: true})
	other := master.Replica(redisrig.Options{AOF: true})
	watch := watchMaster(t, master.Addr(), "default", password)
	s := newSite(t, sentinel(watch), sentinel(watch))
	l := startLoad(s)
	l.never(stopped)
	l.recovered(time.Now())
	l.wasWell()

	l.play(scenario{name: "redis failed over to a lagging replica", begin: func() {
		lagging.Follow("127.0.0.1:1") // nobody
		// For a while the other replica acknowledges alone. The stop is in what is lost.
		s.stop(s.replicas[0], late)
		l.never(late)
		other.Pause() // so that only the lagging one is left
		waitDown(t, watch, other.Addr())
		master.Kill()
		waitMaster(t, watch, lagging)
	}, mend: func() {
		other.Resume()
		follow(other, lagging)
	}})
	l.play(scenario{name: "the old master comes back", lasts: time.Second, begin: master.Restart, mend: func() { follow(master, lagging) }, quiet: true})
	l.play(scenario{name: "redis paused, failed over, resumed", begin: func() {
		lagging.Pause()
		fresh := waitMaster(t, watch, master, other)
		for _, server := range []*redisrig.Server{master, other} {
			if server != fresh {
				follow(server, fresh) // one that still followed the old one would acknowledge for it
			}
		}
	}, mend: lagging.Resume})
	l.end()
	s.end(l)
}

// follow makes a server a replica of another, as Sentinel does after some ten
// seconds, and waits until it is in step.
func follow(server, master *redisrig.Server) {
	server.Follow(master.Addr())
	server.WaitInStep()
}

// waitMaster waits until one of these is the master, and knows it.
func waitMaster(t *testing.T, sentinel string, any ...*redisrig.Server) (fresh *redisrig.Server) {
	t.Helper()
	until(t, "failover", func() error {
		at := masterOf(t, sentinel)
		for _, s := range any {
			role, err := s.Client().Do(t.Context(), "ROLE").Slice()
			if s.Addr() == at && err == nil && role[0] == "master" {
				fresh = s
				return nil
			}
		}
		return fmt.Errorf("the master is %s", at)
	})
	return fresh
}

// waitDown waits until Sentinel knows that a replica is down, or it would
// choose it.
func waitDown(t *testing.T, addr, replica string) {
	t.Helper()
	c := redis.NewSentinelClient(&redis.Options{Addr: addr, DisableIdentity: true, Protocol: 2})
	defer c.Close()
	until(t, "replica down", func() error {
		known, err := c.Replicas(t.Context(), "cambio").Result()
		if err != nil {
			return err
		}
		for _, k := range known {
			if net.JoinHostPort(k["ip"], k["port"]) == replica && k["flags"] == "s_down,slave" {
				return nil
			}
		}
		return fmt.Errorf("%v", known)
	})
}

func until(t *testing.T, what string, ready func() error) {
	t.Helper()
	deadline := time.Now().Add(patience)
	for {
		err := ready()
		if err == nil {
			return
		}
		if time.Now().After(deadline) {
			t.Fatalf("no %s within %s: %v", what, patience, err)
		}
		time.Sleep(20 * time.Millisecond)
	}
}

// TestSplit cuts a master off, together with one replica of Cambio and a Sentinel
// that still calls it the master. The others elect another. Nobody acknowledges
// what is written to the old one, so that it grants nothing.
func TestSplit(t *testing.T) {
	master := redisrig.Start(t, redisrig.Options{AOF: true, Password: password})
	// All that is not on the master's side comes by this line, and knows it as
	// the master's address.
	line := redisrig.NewProxy(t, master.Addr())
	replicas := []*redisrig.Server{
		redisrig.Start(t, redisrig.Options{AOF: true, Password: password, ReplicaOf: line.Addr()}),
		redisrig.Start(t, redisrig.Options{AOF: true, Password: password, ReplicaOf: line.Addr()}),
	}
	for _, r := range replicas {
		r.WaitInStep()
	}
	far := watchMaster(t, line.Addr(), "default", password)
	// The Sentinel on the master's side has a user that only the master has, and
	// that may not publish: it meets neither the other Sentinel nor the replicas.
	master.Do("ACL", "SETUSER", "near", "on", ">near", "+@all", "~*", "resetchannels")
	near := watchMaster(t, master.Addr(), "near", "near")
	view := redisrig.NewProxy(t, near) // what replica a of Cambio sees
	s := newSite(t, sentinel(view.Addr()), sentinel(far))
	a, b := s.replicas[0], s.replicas[1]

	l := startLoad(s)
	l.never(stopped)
	l.recovered(time.Now())
	l.wasWell()
	var apart, elected time.Time
	l.play(scenario{name: "redis split, one replica with the old master", lasts: 3 * time.Second, begin: func() {
		line.Hang()
		time.Sleep(500 * time.Millisecond) // more than Redis takes to acknowledge
		apart = time.Now()
		// The far side goes on with a master of its own.
		b.eventually("credential from the other master", func() bool { return l.one(b) })
		elected = time.Now()
		s.stop(b, late)
	}, mend: func() {
		if n := l.gotFrom(a.name, apart); n > 0 {
			t.Errorf("beside an old master that nobody follows %d credentials were given", n)
		}
		if n := l.gotFrom(b.name, elected); n == 0 {
			t.Error("the side with the new master gave nothing")
		}
		view.To(far)
		line.Pass()
		master.Follow(masterOf(t, far))
	}})
	l.never(late)
	l.end()
	s.end(l)
}

// gotFrom counts the credentials that a replica gave for items made since.
func (l *load) gotFrom(replica string, since time.Time) (n int) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, it := range l.items {
		for _, c := range it.got {
			if c.replica == replica && it.made.After(since) {
				n++
			}
		}
	}
	return n
}

func masterOf(t *testing.T, sentinel string) string {
	t.Helper()
	c := redis.NewSentinelClient(&redis.Options{Addr: sentinel, DisableIdentity: true, Protocol: 2})
	defer c.Close()
	at, err := c.GetMasterAddrByName(t.Context(), "cambio").Result()
	if err != nil || len(at) != 2 {
		t.Fatal(at, err)
	}
	return net.JoinHostPort(at[0], at[1])
}

// watchMaster runs a Sentinel that watches a master at this address, and returns
// its own.
func watchMaster(t *testing.T, master, user, password string) string {
	t.Helper()
	addr := freeAddress(t)
	_, own, _ := net.SplitHostPort(addr)
	host, port, _ := net.SplitHostPort(master)
	text := fmt.Sprintf("port %s\nbind 127.0.0.1\nsentinel monitor cambio %s %s 1\n"+
		"sentinel down-after-milliseconds cambio 1200\nsentinel failover-timeout cambio 3000\n"+
		"sentinel auth-user cambio %s\nsentinel auth-pass cambio %s\n", own, host, port, user, password)
	file := filepath.Join(t.TempDir(), "sentinel.conf") // Sentinel writes it anew
	if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	c := exec.CommandContext(ctx, "redis-server", file, "--sentinel")
	if err := c.Start(); err != nil {
		cancel()
		t.Fatal(err)
	}
	t.Cleanup(func() {
		cancel()
		_ = c.Wait() // killed
	})
	client := redis.NewSentinelClient(&redis.Options{Addr: addr, DisableIdentity: true, Protocol: 2, MaxRetries: -1})
	defer client.Close()
	until(t, "Sentinel", func() error {
		m, err := client.Master(t.Context(), "cambio").Result()
		// A user that may not subscribe leaves one of the two connections closed for
		// all but moments; who answered INFO has the other.
		up := m["flags"] == "master" || m["flags"] == "master,disconnected"
		if err == nil && (!up || m["num-slaves"] != "2") {
			err = fmt.Errorf("%v", m)
		}
		return err
	})
	return addr
}

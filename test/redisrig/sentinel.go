package redisrig

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"
)

// SentinelSet is a master with replicas, and one Sentinel with a quorum of 1.
type SentinelSet struct {
	t        testing.TB
	Name     string    // the master's name
	Password string    // of the servers; the Sentinel itself has none
	Servers  []*Server // the first is the first master
	sentinel *Server
}

// Sentinel runs a master, one replica or more, and a Sentinel.
func Sentinel(t testing.TB, o Options, replicas int) *SentinelSet {
	t.Helper()
	master := Start(t, o)
	s := &SentinelSet{t: t, Name: "cambio", Password: o.Password, Servers: []*Server{master}}
	for range max(1, replicas) {
		s.Servers = append(s.Servers, master.Replica(o))
	}
	// A Sentinel rewrites its configuration, so that it must be a file.
	file := filepath.Join(t.TempDir(), "sentinel.conf")
	host, port, _ := net.SplitHostPort(master.addr)
	s.sentinel = start(t, Options{}, func(addr string) []string {
		_, own, _ := net.SplitHostPort(addr)
		text := fmt.Sprintf("port %s\nbind 127.0.0.1\nsentinel monitor %s %s %s 1\n"+
			"sentinel down-after-milliseconds %[2]s 400\nsentinel failover-timeout %[2]s 3000\n", own, s.Name, host, port)
		if o.Password != "" {
			text += fmt.Sprintf("sentinel auth-pass %s %s\n", s.Name, o.Password)
		}
		if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		return []string{file, "--sentinel"}
	})
	eventually(t, "replicas known to Sentinel", func(ctx context.Context) error {
		c := s.client()
		defer func() { _ = c.Close() }() // nothing is lost
		known, err := c.Replicas(ctx, s.Name).Result()
		if err != nil {
			return err
		}
		ready := 0
		for _, r := range known {
			if r["flags"] == "slave" && r["master-link-status"] == "ok" {
				ready++
			}
		}
		if ready < len(s.Servers)-1 {
			return fmt.Errorf("Sentinel knows %d replicas", ready)
		}
		return nil
	})
	return s
}

func (s *SentinelSet) client() *redis.SentinelClient {
	return redis.NewSentinelClient(&redis.Options{
		Addr: s.sentinel.addr, PoolSize: 2, MaxRetries: -1, DialerRetries: 1, DisableIdentity: true, PipelinePoolSize: -1,
		DialTimeout: patience, ReadTimeout: patience, ContextTimeoutEnabled: true, Protocol: 2,
	})
}

// Addrs are the Sentinels' addresses.
func (s *SentinelSet) Addrs() []string { return []string{s.sentinel.addr} }

// Master is the server that Sentinel calls the master now.
func (s *SentinelSet) Master() *Server {
	s.t.Helper()
	var master *Server
	eventually(s.t, "master", func(ctx context.Context) (err error) {
		master, err = s.master(ctx)
		return err
	})
	return master
}

func (s *SentinelSet) master(ctx context.Context) (*Server, error) {
	c := s.client()
	defer func() { _ = c.Close() }() // nothing is lost
	at, err := c.GetMasterAddrByName(ctx, s.Name).Result()
	if err != nil {
		return nil, err
	}
	for _, server := range s.Servers {
		if len(at) == 2 && server.addr == net.JoinHostPort(at[0], at[1]) {
			return server, nil
		}
	}
	return nil, fmt.Errorf("an unknown master %v", at)
}

// Failover kills the master and waits until Sentinel has made a replica the
// master. It returns the old one and the new one.
func (s *SentinelSet) Failover() (old, fresh *Server) {
	s.t.Helper()
	old = s.Master()
	old.Kill()
	return old, s.WaitFailover(old)
}

// WaitFailover waits until another server than old is the master, and takes writes.
func (s *SentinelSet) WaitFailover(old *Server) *Server {
	s.t.Helper()
	var fresh *Server
	eventually(s.t, "failover", func(ctx context.Context) (err error) {
		if fresh, err = s.master(ctx); err != nil {
			return err
		}
		if fresh == old {
			return errors.New("still the old master")
		}
		ctx, cancel := context.WithTimeout(ctx, time.Second)
		defer cancel()
		return fresh.holds(ctx, "replication", "role:master")
	})
	return fresh
}

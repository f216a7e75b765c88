// Package redisrig runs real redis-server processes for tests, on loopback: one
// server, a replica, Sentinel, Cluster, and a proxy that breaks the line.
package redisrig

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"syscall"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"
)

// patience is how long anything here may take. It is generous: it only ends a
// test that has failed anyway.
const patience = 20 * time.Second

// Options say how a server runs. The zero value is a server without a password
// that keeps nothing on disk.
type Options struct {
	AOF             bool   // each write is on disk before its answer
	Password        string // of the user "default"
	MaxMemory       string // as redis.conf has it: "2mb"; "": none
	MaxMemoryPolicy string // "": noeviction
	ReplicaOf       string // the address of a master (or of a proxy before it)
	Args            []string
}

// Server is one redis-server. Its address stays the same over restarts.
type Server struct {
	t       testing.TB
	args    []string
	dir     string
	backup  string
	addr    string
	options Options
	client  *redis.Client
	process *exec.Cmd
	ended   chan struct{}
	output  *bytes.Buffer // read after ended only
}

// Start runs a server until the test ends.
func Start(t testing.TB, o Options) *Server {
	t.Helper()
	return start(t, o, func(addr string) []string {
		policy := o.MaxMemoryPolicy
		if policy == "" {
			policy = "noeviction"
		}
		_, port, _ := net.SplitHostPort(addr)
		args := []string{
			"--port", port, "--bind", "127.0.0.1", "--save", "", "--maxmemory-policy", policy,
			"--repl-diskless-sync", "yes", "--repl-diskless-sync-delay", "0", "--repl-ping-replica-period", "1",
		}
		if o.AOF {
			args = append(args, "--appendonly", "yes", "--appendfsync", "always")
		}
		if o.MaxMemory != "" {
			args = append(args, "--maxmemory", o.MaxMemory)
		}
		if o.Password != "" {
			args = append(args, "--requirepass", o.Password, "--masterauth", o.Password)
		}
		if o.ReplicaOf != "" {
			host, port, _ := net.SplitHostPort(o.ReplicaOf)
			args = append(args, "--replicaof", host+" "+port)
		}
		return append(args, o.Args...)
	})
}

// start runs redis-server with the arguments for an address. Somebody else may
// take the port in between: then there is another.
func start(t testing.TB, o Options, arguments func(addr string) []string) *Server {
	t.Helper()
	if _, err := exec.LookPath("redis-server"); err != nil {
		t.Fatal("redisrig: redis-server is missing; run scripts/setup, or install the package redis-server")
	}
	s := &Server{t: t, dir: t.TempDir(), options: o}
	t.Cleanup(s.end)
	for try := 0; ; try++ {
		s.addr = freeAddress(t)
		s.args = arguments(s.addr)
		err := s.run()
		if err == nil {
			break
		}
		s.Kill()
		if try == 5 || !bytes.Contains(s.output.Bytes(), []byte("Address already in use")) && !bytes.Contains(s.output.Bytes(), []byte("listen")) {
			t.Fatalf("redisrig: %v\n%s", err, s.output)
		}
	}
	return s
}

// run starts the process and waits until it answers.
func (s *Server) run() error {
	s.output, s.ended = &bytes.Buffer{}, make(chan struct{})
	args := append(append([]string{}, s.args...), "--dir", s.dir, "--daemonize", "no")
	s.process = exec.CommandContext(context.WithoutCancel(s.t.Context()), "redis-server", args...)
	s.process.Stdout, s.process.Stderr = s.output, s.output
	if err := s.process.Start(); err != nil {
		return err
	}
	go func(p *exec.Cmd, ended chan struct{}) {
		_ = p.Wait() // its output says why
		close(ended)
	}(s.process, s.ended)
	ctx, cancel := context.WithTimeout(context.WithoutCancel(s.t.Context()), patience)
	defer cancel()
	return poll(ctx, func() error {
		select {
		case <-s.ended:
			return stopError{errors.New("redis-server ended")}
		default:
		}
		// A bare connection first: a client would log each that is refused.
		var dialer net.Dialer
		conn, err := dialer.DialContext(ctx, "tcp", s.addr)
		if err != nil {
			return err
		}
		_ = conn.Close() // nothing is lost
		c := dial(s.addr, s.options.Password)
		defer func() { _ = c.Close() }() // nothing is lost
		return c.Ping(ctx).Err()
	})
}

// dial is a client for rigging: one short-lived connection, no retries.
func dial(addr, password string) *redis.Client {
	return redis.NewClient(&redis.Options{
		Addr: addr, Password: password, PoolSize: 2, MaxRetries: -1, DialerRetries: 1,
		DialTimeout: patience, ReadTimeout: patience, WriteTimeout: patience, ContextTimeoutEnabled: true,
		DisableIdentity: true, PipelinePoolSize: -1, Protocol: 2,
	})
}

// Addr is where the server listens: 127.0.0.1:PORT.
func (s *Server) Addr() string { return s.addr }

// Client is a client for the test itself: straight to the server, and patient.
func (s *Server) Client() *redis.Client {
	if s.client == nil {
		s.client = dial(s.addr, s.options.Password)
	}
	return s.client
}

// Do runs one command and fails the test where it fails.
func (s *Server) Do(args ...any) any {
	s.t.Helper()
	v, err := s.Client().Do(s.t.Context(), args...).Result()
	if err != nil {
		s.t.Fatalf("redisrig: %v: %v", args, err)
	}
	return v
}

// Kill ends the server as a power cut would (SIGKILL).
func (s *Server) Kill() {
	if s.process == nil || s.process.Process == nil {
		return
	}
	_ = s.process.Process.Kill() // it may have ended already
	<-s.ended
	s.drop()
}

// Stop ends the server in order; its data is kept for [Server.Restart].
func (s *Server) Stop() {
	s.t.Helper()
	s.Client().ShutdownSave(s.t.Context()) // its answer is a closed connection
	select {
	case <-s.ended:
	case <-time.After(patience):
		s.t.Fatal("redisrig: the server does not stop")
	}
	s.drop()
}

// drop forgets connections to a server that is gone.
func (s *Server) drop() {
	if s.client != nil {
		_ = s.client.Close() // nothing is lost
		s.client = nil
	}
}

// Restart starts the server again, on what is on its disk; one that still runs
// is killed first.
func (s *Server) Restart() {
	s.t.Helper()
	s.Kill()
	if err := s.run(); err != nil {
		s.t.Fatalf("redisrig: restart: %v\n%s", err, s.output)
	}
}

// RestartEmpty is [Server.Restart] with an empty disk.
func (s *Server) RestartEmpty() {
	s.t.Helper()
	s.Kill()
	s.dir = s.t.TempDir()
	s.Restart()
}

// Backup copies what is on the server's disk, for [Server.RestartFromBackup].
func (s *Server) Backup() {
	s.t.Helper()
	if !s.options.AOF {
		s.Do("SAVE")
	}
	s.backup = filepath.Join(s.t.TempDir(), "copy")
	if err := os.CopyFS(s.backup, os.DirFS(s.dir)); err != nil {
		s.t.Fatal(err)
	}
}

// RestartFromBackup kills the server and starts it on the copy: all that was
// written since [Server.Backup] is lost, as the last second is with
// "appendfsync everysec".
func (s *Server) RestartFromBackup() {
	s.t.Helper()
	if s.backup == "" {
		s.t.Fatal("redisrig: there is no backup")
	}
	s.Kill()
	s.dir = filepath.Join(s.t.TempDir(), "restored")
	if err := os.CopyFS(s.dir, os.DirFS(s.backup)); err != nil {
		s.t.Fatal(err)
	}
	s.Restart()
}

// Pause stops the process without closing a connection (SIGSTOP): it hangs.
func (s *Server) Pause() { s.signal(syscall.SIGSTOP) }

// Resume ends [Server.Pause].
func (s *Server) Resume() { s.signal(syscall.SIGCONT) }

func (s *Server) signal(sig syscall.Signal) {
	s.t.Helper()
	if err := s.process.Process.Signal(sig); err != nil {
		s.t.Fatalf("redisrig: %v", err)
	}
}

// Replica runs a replica of this server and waits until it is in step.
func (s *Server) Replica(o Options) *Server {
	s.t.Helper()
	if o.ReplicaOf == "" {
		o.ReplicaOf = s.addr
	}
	o.Password = s.options.Password
	r := Start(s.t, o)
	r.WaitInStep()
	return r
}

// WaitInStep waits until a replica has a link to its master and has its data.
func (s *Server) WaitInStep() {
	s.t.Helper()
	s.eventually("a replica in step", func(ctx context.Context) error {
		return s.holds(ctx, "replication", "master_link_status:up")
	})
}

// Promote makes a replica a master.
func (s *Server) Promote() {
	s.t.Helper()
	s.Do("REPLICAOF", "NO", "ONE")
}

// Follow makes the server a replica of another.
func (s *Server) Follow(master string) {
	s.t.Helper()
	host, port, err := net.SplitHostPort(master)
	if err != nil {
		s.t.Fatal(err)
	}
	s.Do("REPLICAOF", host, port)
}

// holds reports whether a section of INFO has a line that begins so.
func (s *Server) holds(ctx context.Context, section, line string) error {
	info, err := s.Client().Info(ctx, section).Result()
	if err != nil {
		return err
	}
	if !bytes.Contains([]byte("\n"+info), []byte("\n"+line)) {
		return fmt.Errorf("no %q in\n%s", line, info)
	}
	return nil
}

func (s *Server) eventually(what string, ready func(context.Context) error) {
	s.t.Helper()
	eventually(s.t, what, ready)
}

func (s *Server) end() {
	if s.ended == nil {
		return
	}
	s.Kill()
	if s.t.Failed() && s.output != nil {
		tail := s.output.Bytes()
		s.t.Logf("redisrig: %s:\n%s", s.addr, tail[max(0, len(tail)-2000):])
	}
}

// eventually polls until ready returns nil.
func eventually(t testing.TB, what string, ready func(context.Context) error) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	if err := poll(ctx, func() error { return ready(ctx) }); err != nil {
		t.Fatalf("redisrig: no %s: %v", what, err)
	}
}

// stopError ends a poll at once.
type stopError struct{ error }

func poll(ctx context.Context, ready func() error) error {
	tick := time.NewTicker(3 * time.Millisecond)
	defer tick.Stop()
	for {
		err := ready()
		var stop stopError
		if err == nil || errors.As(err, &stop) {
			return err
		}
		select {
		case <-ctx.Done():
			return err
		case <-tick.C:
		}
	}
}

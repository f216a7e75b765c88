package main

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"syscall"
	"time"
)

// patience is how long a server may take until it can be used.
const patience = 20 * time.Second

// redisServer is a redis-server, run as the gateway asks for: it forgets
// nothing when its memory is full, and writes to disk every second.
type redisServer struct {
	address string
	cmd     *exec.Cmd
}

// startRedis starts one on a free port of loopback, with its data below dir.
func startRedis(ctx context.Context, dir string) (*redisServer, error) {
	binary, err := exec.LookPath("redis-server")
	if err != nil {
		return nil, errors.New("redis-server is missing; run scripts/setup, which installs it")
	}
	data := filepath.Join(dir, "redis-data")
	if err := os.MkdirAll(data, 0o700); err != nil {
		return nil, err
	}
	// Its own port is free again before it binds it: nobody else asks for one here.
	var lc net.ListenConfig
	l, err := lc.Listen(ctx, "tcp", "127.0.0.1:0")
	if err != nil {
		return nil, err
	}
	r := &redisServer{address: l.Addr().String()}
	if err := l.Close(); err != nil {
		return nil, err
	}
	_, port, err := net.SplitHostPort(r.address)
	if err != nil {
		return nil, err
	}
	r.cmd = exec.CommandContext(ctx, binary, "--port", port, "--bind", "127.0.0.1", "--dir", data,
		"--save", "", "--appendonly", "yes", "--appendfsync", "everysec", "--maxmemory-policy", "noeviction", "--loglevel", "warning")
	r.cmd.Stderr = os.Stderr
	if err := r.cmd.Start(); err != nil {
		return nil, err
	}
	err = until(ctx, func() error {
		conn, err := (&net.Dialer{}).DialContext(ctx, "tcp", r.address)
		if err != nil {
			return err
		}
		return conn.Close()
	})
	if err != nil {
		return nil, errors.Join(fmt.Errorf("redis-server does not answer: %w", err), r.end())
	}
	return r, nil
}

// end ends the server in order.
func (r *redisServer) end() error {
	return errors.Join(r.cmd.Process.Signal(syscall.SIGTERM), r.cmd.Wait())
}

// untilTaken waits until a server takes a fresh token. A Redis that was empty may
// have forgotten all that was used: tokens from before it was seen are refused.
func (b *bench) untilTaken(ctx context.Context, server string) error {
	return until(ctx, func() error {
		tokens, err := b.provider.tokens(1)
		if err != nil {
			return err
		}
		_, err = drive(server, target, 1, tokens)
		return err
	})
}

// until does something again and again until it succeeds. Out of patience, it
// returns the last error.
func until(ctx context.Context, do func() error) error {
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	tick := time.NewTicker(50 * time.Millisecond)
	defer tick.Stop()
	for {
		err := do()
		if err == nil {
			return nil
		}
		select {
		case <-ctx.Done():
			return err
		case <-tick.C:
		}
	}
}

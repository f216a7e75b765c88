package main

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/sync/errgroup"

	"cambio/trust"
)

// How a healthy target is driven beside a stalled one.
const (
	healthyConnections = 4
	stalledRounds      = 7
	healthyTokens      = 500
	places             = 64          // calls that a target has in flight at most
	stalledCallers     = places + 36 // so many that some find no place
)

// stalledFigures is "stalled" in bench.json. Times are p99 in ms of the healthy
// target: medians of the rounds.
type stalledFigures struct {
	Alone      float64 `json:"alone_p99_ms"`
	AloneLeast float64 `json:"alone_least_ms"`
	AloneMost  float64 `json:"alone_most_ms"`
	Beside     float64 `json:"beside_p99_ms"`
	Ratio      float64 `json:"ratio"` // of the medians
	Noise      float64 `json:"noise"` // the worst round alone over the median of those
	Held       int     `json:"held"`  // calls in flight to the stalled target at the end of a round, at least
	Busy       int64   `json:"busy"`  // callers that were refused because of that, in all rounds
}

// hole is an endpoint that takes every call and answers none.
type hole struct {
	url      string
	listener net.Listener
	mu       sync.Mutex
	held     map[net.Conn]bool // those that have sent something
}

func newHole(ctx context.Context) (*hole, error) {
	var lc net.ListenConfig
	l, err := lc.Listen(ctx, "tcp", "127.0.0.1:0")
	if err != nil {
		return nil, err
	}
	h := &hole{url: "http://" + l.Addr().String(), listener: l, held: map[net.Conn]bool{}}
	go func() {
		for {
			conn, err := l.Accept()
			if err != nil {
				return // closed
			}
			go h.hold(conn)
		}
	}()
	return h, nil
}

// hold reads until the other side or release ends it.
func (h *hole) hold(conn net.Conn) {
	defer conn.Close() //nolint:errcheck // nothing was written
	reader := bufio.NewReader(conn)
	if _, err := reader.Peek(1); err != nil {
		return
	}
	h.mu.Lock()
	h.held[conn] = true
	h.mu.Unlock()
	_, _ = io.Copy(io.Discard, reader) // whatever ends it
	h.mu.Lock()
	delete(h.held, conn)
	h.mu.Unlock()
}

// count is how many calls are held.
func (h *hole) count() int {
	h.mu.Lock()
	defer h.mu.Unlock()
	return len(h.held)
}

// release cuts all calls that are held.
func (h *hole) release() {
	h.mu.Lock()
	defer h.mu.Unlock()
	for conn := range h.held {
		_ = conn.Close() // its reader ends
	}
}

func (h *hole) close() error {
	h.release()
	return h.listener.Close()
}

// besideStalled measures the healthy target alone and beside the stalled one, in
// turns.
func (b *bench) besideStalled(ctx context.Context, s *cloudServers, f *figures) error {
	var alone, beside []float64
	f.stalled.Held = places
	measure := func(into *[]float64) error {
		tokens, err := b.provider.tokens(healthyTokens)
		if err != nil {
			return err
		}
		r, err := drive(s.gateway.URL, awsTarget, healthyConnections, tokens)
		*into = append(*into, millis(quantile(r.times, 0.99)))
		return err
	}
	for range stalledRounds {
		if err := measure(&alone); err != nil {
			return err
		}
		c, err := b.crowd(ctx, s)
		if err != nil {
			return err
		}
		err = measure(&beside)
		f.stalled.Held = min(f.stalled.Held, s.hole.count())
		busy, ended := c.end(ctx)
		if err := errors.Join(err, ended); err != nil {
			return err
		}
		f.stalled.Busy += busy
	}
	st := &f.stalled
	st.Alone, st.Beside = quantile(alone, 0.5), quantile(beside, 0.5)
	st.AloneLeast, st.AloneMost = alone[0], alone[len(alone)-1] // sorted by now
	st.Ratio, st.Noise = st.Beside/st.Alone, st.AloneMost/st.Alone
	return nil
}

// crowd are callers of the stalled target. They show a fresh token each time, and
// come again after what Retry-After says and a little, each another little: all at
// once they would be a load that no stall makes.
type crowd struct {
	stop     context.CancelFunc
	group    errgroup.Group
	busy     atomic.Int64
	refused  atomic.Pointer[string] // the decision of the first that was
	s        *cloudServers
	provider *identityProvider
}

// crowd starts them, and waits until the target has as many calls as it takes
// and somebody was refused.
func (b *bench) crowd(ctx context.Context, s *cloudServers) (*crowd, error) {
	ctx, stop := context.WithCancel(ctx)
	c := &crowd{stop: stop, s: s, provider: b.provider}
	for number := range stalledCallers {
		c.group.Go(func() error { return c.call(ctx, number) })
	}
	err := until(ctx, func() error {
		if n := s.hole.count(); n < places || c.busy.Load() == 0 {
			return fmt.Errorf("%d calls reached the stalled target", n)
		}
		return nil
	})
	if err != nil {
		_, ended := c.end(ctx)
		return nil, errors.Join(err, ended)
	}
	return c, nil
}

// call is one caller.
func (c *crowd) call(ctx context.Context, number int) error {
	address := strings.TrimPrefix(c.s.gateway.URL, "http://")
	conn, err := (&net.Dialer{}).DialContext(ctx, "tcp", address)
	if err != nil {
		return err
	}
	defer conn.Close() //nolint:errcheck // nothing is lost
	defer context.AfterFunc(ctx, func() { _ = conn.Close() })()
	caller := caller{conn: conn, reader: bufio.NewReader(conn), host: address}
	for {
		token, err := c.provider.sign(repository{}, time.Now())
		if err != nil {
			return err
		}
		a, err := caller.exchange(stalledTarget, token)
		switch {
		case ctx.Err() != nil:
			return nil
		case err != nil:
			return err
		case a.status != http.StatusServiceUnavailable || a.retryAfter <= 0:
			return fmt.Errorf("the stalled target answers %d: %s", a.status, a.body)
		}
		c.busy.Add(1)
		c.refused.CompareAndSwap(nil, &a.decision)
		timer := time.NewTimer(a.retryAfter + a.retryAfter*time.Duration(number)/stalledCallers)
		select {
		case <-ctx.Done():
			timer.Stop()
			return nil
		case <-timer.C:
		}
	}
}

// end sends them home, frees the target's places, and returns how many callers
// found none.
func (c *crowd) end(ctx context.Context) (int64, error) {
	c.stop()
	err := c.group.Wait()
	c.s.hole.release()
	freed := until(ctx, func() error {
		if n := c.s.hole.count(); n > 0 {
			c.s.hole.release()
			return fmt.Errorf("%d calls still hang", n)
		}
		return nil
	})
	if id := c.refused.Load(); err == nil && id != nil {
		err = c.s.check.reason(*id, trust.ReasonTargetBusy)
	}
	return c.busy.Load(), errors.Join(err, freed)
}

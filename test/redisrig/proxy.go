package redisrig

import (
	"context"
	"net"
	"sync"
	"testing"
)

// mode is what a proxy does to a connection.
type mode int

const (
	pass    mode = iota
	refuse       // connections are closed at once
	hang         // connections stand, and nothing gets through
	swallow      // requests get through, answers do not
)

// Proxy stands between a client and a server and breaks the line.
type Proxy struct {
	listener net.Listener

	mu     sync.Mutex
	target string
	mode   mode
	open   map[net.Conn]bool
	closed bool
}

// NewProxy passes connections on to a server, until the test ends.
func NewProxy(t testing.TB, target string) *Proxy {
	t.Helper()
	var listen net.ListenConfig
	l, err := listen.Listen(t.Context(), "tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	p := &Proxy{listener: l, target: target, open: map[net.Conn]bool{}}
	var running sync.WaitGroup
	running.Go(func() { p.serve(&running) })
	t.Cleanup(func() {
		p.mu.Lock()
		p.closed = true
		p.mu.Unlock()
		_ = l.Close() // nothing is lost
		p.Cut()
		running.Wait()
	})
	return p
}

// Addr is where the proxy listens.
func (p *Proxy) Addr() string { return p.listener.Addr().String() }

// Pass lets everything through.
func (p *Proxy) Pass() { p.set(pass, "") }

// Refuse closes every connection, those to come too.
func (p *Proxy) Refuse() { p.set(refuse, "") }

// Hang keeps connections open and lets nothing through: a partition.
func (p *Proxy) Hang() { p.set(hang, "") }

// Swallow lets requests through and loses their answers: nobody knows what
// became of them.
func (p *Proxy) Swallow() { p.set(swallow, "") }

// Cut closes the connections of now.
func (p *Proxy) Cut() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.cut()
}

// To leads to another server from now on, as a moved address does.
func (p *Proxy) To(target string) { p.set(pass, target) }

func (p *Proxy) set(m mode, target string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	// A connection that has lost bytes is of no further use, and one to the old
	// target neither.
	if m == refuse || m == pass && (p.mode != pass || target != "") {
		p.cut()
	}
	p.mode = m
	if target != "" {
		p.target = target
	}
}

func (p *Proxy) cut() {
	for c := range p.open {
		_ = c.Close() // nothing is lost
		delete(p.open, c)
	}
}

func (p *Proxy) serve(running *sync.WaitGroup) {
	for {
		near, err := p.listener.Accept()
		if err != nil {
			return
		}
		running.Go(func() { p.join(near, running) })
	}
}

// join connects a client to the target. In a hang the connection stands all the
// same: what it sends is lost, and it is cut when the hang ends.
func (p *Proxy) join(near net.Conn, running *sync.WaitGroup) {
	p.mu.Lock()
	m, target := p.mode, p.target
	if p.closed || m == refuse {
		p.mu.Unlock()
		_ = near.Close() // nothing is lost
		return
	}
	p.open[near] = true
	p.mu.Unlock()
	var dialer net.Dialer
	far, err := dialer.DialContext(context.Background(), "tcp", target)
	if err != nil {
		p.drop(near)
		return
	}
	p.mu.Lock()
	if !p.open[near] { // cut meanwhile
		p.mu.Unlock()
		_ = far.Close() // nothing is lost
		return
	}
	p.open[far] = true
	p.mu.Unlock()
	running.Go(func() { p.pump(near, far, true) })
	p.pump(far, near, false)
}

func (p *Proxy) drop(conns ...net.Conn) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, c := range conns {
		_ = c.Close() // nothing is lost
		delete(p.open, c)
	}
}

// pump copies one direction and loses what the mode says.
func (p *Proxy) pump(to, from net.Conn, answers bool) {
	defer p.drop(to, from)
	b := make([]byte, 64<<10)
	for {
		n, err := from.Read(b)
		if n > 0 {
			p.mu.Lock()
			lost := p.mode == hang || p.mode == swallow && answers
			p.mu.Unlock()
			if !lost {
				if _, err := to.Write(b[:n]); err != nil {
					return
				}
			}
		}
		if err != nil {
			return
		}
	}
}

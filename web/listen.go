package web

import (
	"crypto/tls"
	"net"
	"net/netip"
	"slices"
	"sync"
)

// maxPerAddress bounds the connections of one address: idle ones cost memory,
// and one peer must not hold all that there are.
const maxPerAddress = 256

// ListenConfig says who may connect.
type ListenConfig struct {
	TLS            *tls.Config    // nil: clear text
	TerminatedBy   []netip.Prefix // the proxies that end TLS; when set, every other peer is closed before a byte is read
	TrustedProxies []netip.Prefix // exempt from the bound on connections, as all callers come through them
}

// Listener wraps l: it closes peers that may not speak clear text to us, bounds
// the connections of each address, refuses folded header lines in clear text,
// and ends TLS.
func Listener(l net.Listener, c ListenConfig) net.Listener {
	var guarded net.Listener = &guardedListener{Listener: l, c: c, open: map[string]int{}}
	if c.TLS != nil {
		return tls.NewListener(guarded, c.TLS)
	}
	return guarded
}

type guardedListener struct {
	net.Listener
	c ListenConfig

	mu   sync.Mutex     // held for a map access per connection, never per request
	open map[string]int // connections, by limitKey
}

// Accept returns the next connection that may be served.
func (g *guardedListener) Accept() (net.Conn, error) {
	for {
		conn, err := g.Listener.Accept()
		if err != nil {
			return nil, err
		}
		peer := peerAddress(conn.RemoteAddr().String())
		if len(g.c.TerminatedBy) > 0 && !contains(g.c.TerminatedBy, peer) {
			// A peer that reaches us past the proxy would speak without TLS and
			// could claim any X-Forwarded-For.
			_ = conn.Close()
			continue
		}
		if !contains(slices.Concat(g.c.TrustedProxies, g.c.TerminatedBy), peer) {
			key := limitKey(peer)
			if !g.enter(key) {
				_ = conn.Close()
				continue
			}
			conn = &countedConn{Conn: conn, leave: sync.OnceFunc(func() { g.leave(key) })}
		}
		if g.c.TLS == nil {
			conn = newUnfoldedConn(conn)
		}
		return conn, nil
	}
}

func (g *guardedListener) enter(key string) bool {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.open[key] >= maxPerAddress {
		return false
	}
	g.open[key]++
	return true
}

func (g *guardedListener) leave(key string) {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.open[key]--; g.open[key] <= 0 {
		delete(g.open, key)
	}
}

type countedConn struct {
	net.Conn
	leave func()
}

// Close ends the connection, and its place is free.
func (c *countedConn) Close() error {
	c.leave()
	return c.Conn.Close()
}

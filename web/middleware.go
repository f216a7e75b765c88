package web

import (
	"context"
	"crypto/x509"
	"errors"
	"log/slog"
	"net"
	"net/http"
	"net/netip"
	"runtime/debug"
	"strings"

	"cambio/exchange"
	"cambio/trust"
)

// decisionHeader carries the decision's id on every answer of ours.
const decisionHeader = "Cambio-Decision-Id"

// decide opens every request with a decision id, so that whatever the answer is,
// the caller can quote it. The id is ours alone: one that the caller sends is
// not looked at, or he could make two decisions share one.
func (s *server) decide(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		c := &call{decision: exchange.NewID(s.c.Now(), s.c.Rand), address: s.address(r)}
		if r.TLS != nil && !s.forwarded(r) {
			c.certificates = r.TLS.PeerCertificates
		}
		h := w.Header()
		h[decisionHeader] = []string{c.decision}
		h["X-Content-Type-Options"] = []string{"nosniff"}
		if len(r.TransferEncoding) > 0 {
			// Chunks may have come with a length beside them, which the HTTP
			// library takes out of sight. A proxy that counted by the length sees
			// the next request begin elsewhere, so none is read from this
			// connection (RFC 9112 section 6.3).
			h["Connection"] = []string{"close"}
		}
		next.ServeHTTP(w, r.WithContext(context.WithValue(r.Context(), callKey{}, c)))
	})
}

// forwarded reports whether a proxy handed the request on: a certificate of its
// connection to us is the proxy's then, and whoever can reach the proxy is not the
// proxy.
func (s *server) forwarded(r *http.Request) bool {
	return contains(s.c.TrustedProxies, peerAddress(r.RemoteAddr)) ||
		len(r.Header.Values("X-Forwarded-For")) > 0 || len(r.Header.Values("Forwarded")) > 0
}

// recoverPanic turns a fault of ours into server_error: no stack and no value of
// the request reaches the caller, and the stack that is logged holds no string.
func (s *server) recoverPanic(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		defer func() { //nolint:contextcheck // the request carries it
			v := recover()
			if v == nil {
				return
			}
			if err, ok := v.(error); ok && errors.Is(err, http.ErrAbortHandler) {
				panic(v)
			}
			s.c.Log.ErrorContext(r.Context(), "panic", slog.String("decision_id", callOf(r.Context()).decision),
				slog.String("stack", string(debug.Stack())))
			s.refuse(w, r, &exchange.Error{Code: exchange.ServerError, Reason: trust.ReasonPanic})
		}()
		next.ServeHTTP(w, r)
	})
}

// call is one request on its way through this package: what the normaliser and
// the OAuth binding tell one another.
type call struct {
	decision string
	address  netip.Addr
	form     form             // what the normaliser read
	result   *exchange.Result // the binding's outcome: this,
	err      error            // or this

	certificates []*x509.Certificate // what the client showed on its TLS connection
}

type callKey struct{}

func callOf(ctx context.Context) *call {
	c, _ := ctx.Value(callKey{}).(*call)
	if c == nil {
		return &call{}
	}
	return c
}

// address is the caller's: the socket peer, or what a trusted proxy says of it.
// X-Forwarded-For is read from the right, past trusted proxies: what stands left
// of the first stranger is the stranger's own words, and would let him choose
// the address that limits and access rules see.
func (s *server) address(r *http.Request) netip.Addr {
	peer := peerAddress(r.RemoteAddr)
	if !contains(s.c.TrustedProxies, peer) {
		return peer
	}
	hops := strings.Split(strings.Join(r.Header.Values("X-Forwarded-For"), ","), ",")
	addr := peer
	for i := len(hops) - 1; i >= 0; i-- {
		hop, err := netip.ParseAddr(strings.TrimSpace(hops[i]))
		if err != nil {
			return addr
		}
		addr = hop.Unmap()
		if !contains(s.c.TrustedProxies, addr) {
			return addr
		}
	}
	return addr
}

func peerAddress(remote string) netip.Addr {
	host, _, err := net.SplitHostPort(remote)
	if err != nil {
		return netip.Addr{}
	}
	addr, err := netip.ParseAddr(host)
	if err != nil {
		return netip.Addr{}
	}
	return addr.Unmap()
}

func contains(prefixes []netip.Prefix, addr netip.Addr) bool {
	for _, p := range prefixes {
		if p.Contains(addr) {
			return true
		}
	}
	return false
}

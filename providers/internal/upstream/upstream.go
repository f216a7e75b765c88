// Package upstream calls the services that identities are proven by and credentials
// come from. It knows no platform: it makes one bounded call after the other, says
// what is known of one that failed, and keeps secrets out of what it says.
package upstream

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"net"
	"net/http"
	"net/netip"
	"net/url"
	"strings"
	"sync"
	"time"

	"cambio/exchange"
	"cambio/trust"
)

const (
	// usualTimeout leaves the web server time to answer within its own 15 s.
	usualTimeout = 8 * time.Second
	// usualInFlight is more than a thousand exchanges a second at the usual 50 ms,
	// and few enough that a stalled service holds little memory.
	usualInFlight = 64
	// busyRetry is what a caller waits for a place: calls in flight end soon.
	busyRetry = time.Second
)

// Config is one service, such as a target.
type Config struct {
	Name string // what errors call it, such as "Google"
	CA   []byte // PEM; nil: the system's roots
	// Transport makes the connections; nil: TLS 1.2 or newer, bounded, and no proxy.
	Transport   http.RoundTripper
	MaxInFlight int           // callers at a time, the others are refused; default 64
	Timeout     time.Duration // of one caller's calls together; default 8 s
}

// Client calls one service. It is safe for concurrent use, and keeps nothing of one
// caller for the next but open connections, which carry no identity. Two targets
// must not share one: each has its own places, so that a stalled one does not take
// those of a healthy one.
type Client struct {
	name      string
	transport http.RoundTripper
	places    chan struct{}
	timeout   time.Duration
}

// New returns the client of one service. It calls nobody.
func New(c Config) (*Client, error) {
	if c.Name == "" || c.MaxInFlight < 0 || c.Timeout < 0 {
		return nil, errors.New("upstream: Config lacks a name, or has a negative bound")
	}
	client := &Client{name: c.Name, transport: c.Transport, timeout: usualTimeout, places: make(chan struct{}, usualInFlight)}
	if c.Transport == nil {
		roots, err := Roots(c.CA)
		if err != nil {
			return nil, err
		}
		client.transport = NewTransport(roots)
	}
	if c.Timeout > 0 {
		client.timeout = c.Timeout
	}
	if c.MaxInFlight > 0 {
		client.places = make(chan struct{}, c.MaxInFlight)
	}
	return client, nil
}

// Enter takes a place for one caller, whatever number of calls it makes, and bounds
// their time together; a caller who hangs up does not end them. leave must be
// called, deferred, so that a panic gives the place back. The error is target-busy: nothing was sent.
func (c *Client) Enter(ctx context.Context) (inner context.Context, leave func(), err error) {
	select {
	case c.places <- struct{}{}:
	default:
		// To wait for a place would let one stalled service hold every request that
		// names it, and with them the memory of the healthy ones.
		e := exchange.Unanswered(trust.ReasonTargetBusy, errors.New("as many calls are in flight as may be"))
		e.RetryAfter = busyRetry
		return nil, nil, e
	}
	inner, cancel := context.WithTimeout(context.WithoutCancel(ctx), c.timeout)
	// Once: a second leave would give away somebody else's place.
	return inner, sync.OnceFunc(func() { cancel(); <-c.places }), nil
}

// Roots are the certificates of PEM text, or nil for the system's.
func Roots(pem []byte) (*x509.CertPool, error) {
	if pem == nil {
		return nil, nil
	}
	pool := x509.NewCertPool()
	if !pool.AppendCertsFromPEM(pem) {
		return nil, errors.New("the CA file holds no certificate")
	}
	return pool, nil
}

// NewTransport is the transport of a client that was handed none. The environment's
// proxy settings are not read: a variable must not decide who sees an assertion of
// ours.
func NewTransport(roots *x509.CertPool) *http.Transport {
	dialer := &net.Dialer{Timeout: 3 * time.Second, KeepAlive: 30 * time.Second}
	return &http.Transport{
		Proxy:                  nil,
		DialContext:            dialer.DialContext,
		TLSClientConfig:        &tls.Config{MinVersion: tls.VersionTLS12, RootCAs: roots},
		TLSHandshakeTimeout:    3 * time.Second,
		MaxResponseHeaderBytes: 32 << 10, // those of clouds take less than 8 KiB
		MaxIdleConnsPerHost:    usualInFlight,
		// Shorter than the clouds': a request that meets a connection on its way to be
		// closed has an unknown outcome, and burns a token.
		IdleConnTimeout:    10 * time.Second,
		DisableCompression: true,
		ForceAttemptHTTP2:  true,
	}
}

// CheckEndpoint refuses the URL of a service that would show our assertion to the
// network, or that is none.
func CheckEndpoint(endpoint string) error {
	u, err := url.Parse(endpoint)
	if err != nil || u.Hostname() == "" || u.User != nil || u.RawQuery != "" || u.ForceQuery || strings.Contains(endpoint, "#") {
		return errors.New("an endpoint is a URL without user, query and fragment")
	}
	ip, err := netip.ParseAddr(u.Hostname())
	loopback := u.Hostname() == "localhost" || err == nil && ip.IsLoopback()
	if u.Scheme != "https" && (u.Scheme != "http" || !loopback) {
		return errors.New("an endpoint is https, or http on loopback")
	}
	return nil
}

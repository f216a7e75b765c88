package oidc

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"time"

	"cambio/exchange"
	"cambio/trust"
)

const (
	fetchTotal = 5 * time.Second // discovery and key set together
	fetchDial  = 2 * time.Second
	// fetchWait is how long a fetch waits for one of maxFlights places: with fetchTotal
	// it stays below what a caller's connection is kept open for.
	fetchWait = 5 * time.Second
	// maxDocument bounds a key set and a discovery document. The largest seen
	// is below 64 KiB.
	maxDocument = 512 << 10
	// maxFlights bounds the fetches of all providers together.
	maxFlights = 32
)

// fetcher gets the key set of one provider over the network. It keeps nothing.
type fetcher struct {
	issuer    string
	discovery string   // URL of the discovery document, "" with a configured key set URL
	keys      string   // the configured URL of the key set, or ""
	keysHosts []string // other hosts that the document may name
	loopback  bool
	parse     func([]byte) (*keySet, error)
	client    *http.Client
	flights   chan struct{} // shared by all providers
}

// newFetcher returns the fetcher for a provider whose URLs were checked.
func newFetcher(p Provider, keysHosts []string, resolver Resolver, flights chan struct{}) (*fetcher, error) {
	f := &fetcher{
		issuer:    p.Issuer,
		discovery: p.DiscoveryURL,
		keys:      p.JWKSURL,
		keysHosts: keysHosts,
		loopback:  p.InsecureLoopback,
		flights:   flights,
		parse:     parseKeys,
	}
	if f.discovery == "" && f.keys == "" {
		f.discovery = strings.TrimSuffix(p.Issuer, "/") + "/.well-known/openid-configuration"
	}
	transport, err := guarded(p, resolver)
	if err != nil {
		return nil, err
	}
	f.client = &http.Client{
		// A redirect would let whoever answers choose where we call next, and
		// whose keys we take (CVE-2026-49478).
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
		Transport:     transport,
	}
	return f, nil
}

// roots are the certificates of a PEM file, or nil for the system's.
func roots(pem []byte) (*x509.CertPool, error) {
	if pem == nil {
		return nil, nil
	}
	pool := x509.NewCertPool()
	if !pool.AppendCertsFromPEM(pem) {
		return nil, errors.New("the CA file holds no certificate")
	}
	return pool, nil
}

// enter takes one of the places that all providers share.
func (f *fetcher) enter(ctx context.Context) bool {
	t := time.NewTimer(fetchWait)
	defer t.Stop()
	select {
	case f.flights <- struct{}{}:
		return true
	case <-t.C:
	case <-ctx.Done():
	}
	return false
}

// fetch gets the key set. The error is jwks-unavailable or
// issuer-discovery-mismatch; it holds no byte of an answer but the issuer that
// a discovery document claims, quoted and cut.
func (f *fetcher) fetch(ctx context.Context) (*keySet, *exchange.Error) {
	if !f.enter(ctx) {
		return nil, unavailable(errors.New("too many fetches at once"))
	}
	defer func() { <-f.flights }()
	// From here on: who waited for others has as long as they had.
	ctx, cancel := context.WithTimeout(ctx, fetchTotal)
	defer cancel()
	keys := f.keys
	if keys == "" {
		var refusal *exchange.Error
		if keys, refusal = f.discover(ctx); refusal != nil {
			return nil, refusal
		}
	}
	body, err := f.get(ctx, keys)
	if err != nil {
		return nil, unavailable(fmt.Errorf("key set: %w", err))
	}
	set, err := f.parse(body)
	if err != nil {
		return nil, unavailable(fmt.Errorf("key set: %w", err))
	}
	return set, nil
}

func unavailable(err error) *exchange.Error {
	return exchange.Unanswered(trust.ReasonJWKSUnavailable, err)
}

// discover reads the discovery document and returns where it says the key set
// is (OpenID Connect Discovery section 4).
func (f *fetcher) discover(ctx context.Context) (string, *exchange.Error) {
	body, err := f.get(ctx, f.discovery)
	if err != nil {
		return "", unavailable(fmt.Errorf("discovery: %w", err))
	}
	doc, err := parseObject(body, documentLimits())
	if errors.Is(err, errDuplicate) {
		// Two issuers are no issuer.
		return "", exchange.Unanswered(trust.ReasonDiscoveryMismatch, fmt.Errorf("discovery: %w", err))
	}
	if err != nil {
		return "", unavailable(fmt.Errorf("discovery: %w", err))
	}
	// Section 4.3: identical to the configured issuer, byte for byte. Without
	// this, whoever controls one issuer's document speaks for another.
	if issuer, ok := doc["issuer"].(string); !ok || issuer != f.issuer {
		return "", exchange.Unanswered(trust.ReasonDiscoveryMismatch,
			fmt.Errorf("the document's issuer is %s, configured is %q", cut(issuer, 256), f.issuer))
	}
	keys, _ := doc["jwks_uri"].(string)
	if err := f.allowedKeys(keys); err != nil {
		return "", unavailable(err)
	}
	return keys, nil
}

// allowedKeys reports whether the document may name this URL: at the origin of
// the issuer or of the configured discovery document, or on the platform's own
// host for keys.
func (f *fetcher) allowedKeys(raw string) error {
	u, err := url.Parse(raw)
	if err != nil || raw == "" || u.User != nil || u.RawQuery != "" || u.Fragment != "" || u.Host == "" {
		return errors.New("jwks_uri is not a plain URL")
	}
	for _, base := range []string{f.issuer, f.discovery} {
		b, err := url.Parse(base)
		if err == nil && origin(b) == origin(u) {
			return nil
		}
	}
	if u.Scheme == "https" && slices.Contains(f.keysHosts, u.Host) {
		return nil
	}
	return errors.New("jwks_uri is at another origin than the issuer; set jwks_url if that is right")
}

// origin is scheme, host and port (RFC 6454 section 4).
func origin(u *url.URL) string {
	port := u.Port()
	if port == "" {
		port = map[string]string{"https": "443", "http": "80"}[u.Scheme]
	}
	return u.Scheme + "://" + strings.ToLower(u.Hostname()) + ":" + port
}

// get reads one document.
func (f *fetcher) get(ctx context.Context, target string) ([]byte, error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, target, nil)
	if err != nil {
		return nil, errors.New("the URL is malformed")
	}
	if req.URL.Scheme != "https" && !f.loopback {
		return nil, errors.New("the URL is not https")
	}
	req.Header.Set("Accept", "application/json")
	req.Header.Set("User-Agent", "cambio")
	resp, err := f.client.Do(req)
	if err != nil {
		return nil, cause(err)
	}
	defer resp.Body.Close()
	if resp.StatusCode >= 300 && resp.StatusCode < 400 {
		return nil, fmt.Errorf("the answer is a redirect (%d), which is never followed", resp.StatusCode)
	}
	if resp.StatusCode != http.StatusOK {
		return nil, fmt.Errorf("the answer is %d", resp.StatusCode)
	}
	if e := resp.Header.Get("Content-Encoding"); e != "" && e != "identity" {
		return nil, errors.New("the answer is compressed, which was not asked for")
	}
	body, err := io.ReadAll(io.LimitReader(resp.Body, maxDocument+1))
	if err != nil {
		return nil, cause(err)
	}
	if len(body) > maxDocument {
		return nil, errors.New("the answer is too large")
	}
	return body, nil
}

// cause says why a call failed in words that the server cannot choose: net/http
// quotes malformed answers in its errors.
func cause(err error) error {
	var (
		refused  *addressError
		cert     *tls.CertificateVerificationError
		alert    tls.AlertError
		record   tls.RecordHeaderError
		dns      *net.DNSError
		dialling *net.OpError
	)
	switch {
	case errors.As(err, &refused):
		return refused
	case errors.Is(err, errEndpoint):
		return errEndpoint
	case errors.Is(err, context.DeadlineExceeded):
		return errors.New("timed out")
	case errors.As(err, &cert):
		return errors.New("the certificate is not trusted: " + cut(cert.Err.Error(), 256))
	case errors.As(err, &alert), errors.As(err, &record):
		return errors.New("the TLS handshake failed")
	case errors.As(err, &dns):
		return errors.New("the name could not be resolved")
	case errors.As(err, &dialling) && dialling.Op == "dial":
		return errors.New("no connection")
	case errors.As(err, &dialling):
		return errors.New("the connection failed during " + cut(dialling.Op, 32))
	}
	return errors.New("no proper HTTP answer")
}

package oidc

import (
	"context"
	"crypto/tls"
	"errors"
	"net"
	"net/http"
	"time"

	"cambio/exchange"
	"cambio/trust"
)

// Proven is a token whose signature and claims are proven, for whoever is asked
// whether it is still good.
type Proven struct {
	Token     exchange.Secret
	Audiences []string // those of its aud that are this gateway's, as the token has them
	Subject   string
	Claims    map[string]any // see [trust.Identity.Claims]
}

// Reviewer asks a service whether a proven token is still good. The error is an
// [*exchange.Error]: review-refused where the service says no, or not clearly yes,
// and review-unavailable where it does not answer. It holds nothing of a token.
type Reviewer func(ctx context.Context, p Proven) error

// newReviewer is the reviewer of a provider that has one, or nil. It calls nobody.
func newReviewer(p Provider, platform Platform, resolver Resolver) (Reviewer, error) {
	if p.Review == nil {
		return nil, nil
	}
	if platform.Reviewer == nil {
		return nil, errors.New("this platform has nobody to ask about tokens")
	}
	transport, err := guarded(p, resolver)
	if err != nil {
		return nil, err
	}
	// Each exchange asks: a handshake for each would be the most of it. Shorter than
	// what an API server waits, so that none is met on its way to be closed.
	transport.DisableKeepAlives, transport.MaxIdleConnsPerHost, transport.IdleConnTimeout = false, 16, 10*time.Second
	return platform.Reviewer(*p.Review, transport)
}

// guarded is a transport that reaches what the provider's configuration lets it.
func guarded(p Provider, resolver Resolver) (*http.Transport, error) {
	// No switch turns the verification of certificates off (CVE-2022-31105).
	pool, err := roots(p.CA)
	if err != nil {
		return nil, err
	}
	g := guard{resolver: resolver, rules: p.Dial, loopback: p.InsecureLoopback}
	return &http.Transport{
		Proxy:                  nil, // a proxy would dial past the guard
		DialContext:            g.dial,
		TLSClientConfig:        &tls.Config{MinVersion: tls.VersionTLS12, RootCAs: pool},
		TLSHandshakeTimeout:    fetchTotal,
		DisableKeepAlives:      true,
		DisableCompression:     true, // 512 KiB are what comes over the wire
		MaxResponseHeaderBytes: 64 << 10,
	}, nil
}

// reviewed are the token's audiences that are this provider's, with the nonce that
// one may carry: the service knows the token as it was signed.
func (p *provider) reviewed(raw []string) []string {
	var out []string
	for _, aud := range raw {
		if bare, _ := splitNonce(aud); p.ours([]string{bare}) != "" {
			out = append(out, aud)
		}
	}
	return out
}

// ProbeReview asks a provider's service about a token that is none, as the
// verifier would ask about a good one. nil means that it answers, and says no. p
// must have passed [Check], and have a Review. A nil resolver is the system's.
func ProbeReview(ctx context.Context, p Provider, platform Platform, resolver Resolver) error {
	if resolver == nil {
		resolver = net.DefaultResolver
	}
	review, err := newReviewer(p.WithDefaults(platform), platform, resolver)
	switch {
	case err != nil:
		return err
	case review == nil || len(p.Audiences) == 0:
		return errors.New("nobody is asked about tokens")
	}
	err = review(ctx, Proven{Token: "probe", Audiences: p.Audiences[:1], Subject: "probe"})
	var refusal *exchange.Error
	switch {
	case err == nil:
		return errors.New("it takes a token that is none: it is not what it should be")
	case errors.As(err, &refusal) && refusal.Reason == trust.ReasonReviewRefused:
		return nil
	}
	return err
}

package spiffe_test

import (
	"bytes"
	"context"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"log/slog"
	"sync"
	"testing"
	"time"

	"cambio/exchange"
	"cambio/providers/oidc"
	"cambio/providers/spiffe"
	"cambio/providers/spiffe/spiffetest"
	"cambio/trust"
)

const audience = "https://gw.test"

func start() time.Time { return time.Date(2026, 11, 22, 12, 0, 0, 0, time.UTC) }

// clock is a clock that only tests move.
type clock struct {
	mu  sync.Mutex
	now time.Time
}

func (c *clock) Now() time.Time {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.now
}

func (c *clock) add(d time.Duration) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.now = c.now.Add(d)
}

// logs is a log that tests read.
type logs struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (l *logs) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.Write(p)
}

func (l *logs) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.String()
}

// verifier proves both kinds of SVIDs, as the catalogue's set does.
type verifier struct {
	set   *oidc.Set
	certs *spiffe.Certificates
	clock *clock
	log   *logs

	mu      sync.Mutex
	fetched []trust.Reason // the failures of fetches, "" for none
}

func (v *verifier) Verify(ctx context.Context, s exchange.Subject) (exchange.Proof, error) {
	switch s.Type {
	case exchange.SubjectJWT:
		return v.set.Verify(ctx, s.Token)
	case exchange.SubjectMTLS:
		return v.certs.Verify(ctx, s.Certificates)
	case exchange.SubjectAWS:
	}
	return exchange.Proof{}, exchange.Refuse(trust.ReasonTokenType, nil)
}

func (v *verifier) fetches() []trust.Reason {
	v.mu.Lock()
	defer v.mu.Unlock()
	return append([]trust.Reason(nil), v.fetched...)
}

// provider is the identity provider of a trust domain, with its bundle pinned.
func provider(a *spiffetest.Authority) oidc.Provider {
	return oidc.Provider{Name: "mesh", Type: "spiffe", Audiences: []string{audience}, TrustDomain: a.Domain, Bundle: a.Bundle(nil)}
}

func open(tb testing.TB, ps ...oidc.Provider) *verifier {
	tb.Helper()
	v := &verifier{clock: &clock{now: start()}, log: &logs{}}
	var err error
	v.set, err = oidc.New(oidc.Config{
		TrustDomain: "gw.test", Platforms: map[string]oidc.Platform{"spiffe": spiffe.Platform(), "oidc": oidc.Generic()},
		Providers: ps, Now: v.clock.Now, Log: slog.New(slog.NewTextHandler(v.log, nil)),
		Fetched: func(_ string, failure trust.Reason) {
			v.mu.Lock()
			defer v.mu.Unlock()
			v.fetched = append(v.fetched, failure)
		},
	})
	if err != nil {
		tb.Fatal(err)
	}
	v.certs = spiffe.NewCertificates(v.set, v.clock.Now)
	return v
}

func reason(tb testing.TB, err error) trust.Reason {
	tb.Helper()
	if err == nil {
		return ""
	}
	var e *exchange.Error
	if !errors.As(err, &e) {
		tb.Fatalf("not an exchange.Error: %v", err)
	}
	return e.Reason
}

// eventually waits for what another goroutine does.
func eventually(tb testing.TB, what string, ok func() bool) {
	tb.Helper()
	for deadline := time.Now().Add(10 * time.Second); !ok(); time.Sleep(time.Millisecond) {
		if time.Now().After(deadline) {
			tb.Fatalf("not within ten seconds: %s", what)
		}
	}
}

func platforms() map[string]oidc.Platform {
	return map[string]oidc.Platform{"spiffe": spiffe.Platform()}
}

func discard() *slog.Logger { return slog.New(slog.DiscardHandler) }

// x509Certificate keeps the tables short.
type x509Certificate = x509.Certificate

func clientOnly() []x509.ExtKeyUsage { return []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth} }

func pemOf(c *x509.Certificate) []byte {
	return pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: c.Raw})
}

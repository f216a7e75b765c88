package standin

import (
	"context"
	"crypto/rsa"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"regexp"
	"slices"
	"sync"
	"time"
)

// GoogleConfig says what a Google knows.
type GoogleConfig struct {
	Now       func() time.Time
	Rand      io.Reader
	TLS       *TLS // serve https; default http
	Providers []GoogleProvider
	Accounts  []GoogleAccount
}

// GoogleProvider is an OIDC provider of a workload identity pool.
type GoogleProvider struct {
	Name   string // //iam.googleapis.com/projects/N/locations/global/workloadIdentityPools/P/providers/X
	Issuer string
	// Audiences are the allowed ones; none: Name, with https: or without.
	Audiences []string
	// Subjects are those that the attribute condition lets in; nil: all.
	Subjects []string
	// Keys returns the issuer's key set.
	Keys func(context.Context) ([]byte, error)
}

// GoogleAccount is a service account.
type GoogleAccount struct {
	Email string
	// Users are the principals with roles/iam.workloadIdentityUser on it.
	Users []string
	// Creators are the accounts and principals with
	// roles/iam.serviceAccountTokenCreator on it.
	Creators []string
	// MaxLifetime of its access tokens; default an hour, as at Google.
	MaxLifetime time.Duration
}

// GoogleToken is what a Google issued.
type GoogleToken struct {
	Principal string // principal://... of the pool; "" for an account's
	Account   string
	Scopes    []string
	Audience  string // of an ID token
	Boundary  string // options of a narrowed token, as they were sent
	Expires   time.Time
}

// GoogleRequest is one request that a Google got.
type GoogleRequest struct {
	Path   string
	Form   url.Values // of the Security Token Service
	Body   []byte
	Header http.Header
	Claims map[string]any // of the assertion, where one could be decoded; not proven
	Status int            // of the true answer, without a fault
}

// GoogleFault makes a Google misbehave. The zero value changes nothing.
type GoogleFault struct {
	Fault
	Path string               // a part of the paths that it is for; "": all
	Edit func(map[string]any) // lie in an answer of success
	Drop bool                 // close the connection instead of an answer
}

// Google is a strict stand-in on 127.0.0.1 for the Security Token Service (token
// exchange, Credential Access Boundaries) and the IAM Service Account Credentials
// API (generateAccessToken, generateIdToken). It proves our assertions for real and
// holds them against pool, provider and the accounts' policies. What it does not
// know it answers with 501, and remembers: see Unknown. Safe for concurrent use.
type Google struct {
	server
	key func() (*rsa.PrivateKey, error)

	config   GoogleConfig
	tokens   map[string]GoogleToken
	faults   []GoogleFault
	requests []GoogleRequest
}

var googleProvider = regexp.MustCompile(`^//iam\.googleapis\.com/(projects/[0-9]+/locations/global/workloadIdentityPools/[a-z0-9-]{4,32})/providers/[a-z0-9-]{4,32}$`)

// NewGoogle starts one on a free port of 127.0.0.1. End it with Close.
func NewGoogle(c GoogleConfig) (*Google, error) {
	for _, p := range c.Providers {
		if !googleProvider.MatchString(p.Name) || p.Issuer == "" || p.Keys == nil {
			return nil, fmt.Errorf("standin: %q is no provider of a pool, or lacks issuer or keys", p.Name)
		}
	}
	g := &Google{server: server{now: c.Now, rand: c.Rand}, config: c, tokens: make(map[string]GoogleToken)}
	g.key = sync.OnceValues(func() (*rsa.PrivateKey, error) { return rsa.GenerateKey(c.Rand, 2048) })
	if err := g.start(g, c.TLS); err != nil {
		return nil, err
	}
	return g, nil
}

// Fail makes the next requests misbehave, each by the next fault that is for its
// path; the last one stays until Heal.
func (g *Google) Fail(faults ...GoogleFault) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.faults = slices.Clone(faults)
}

// Heal ends all faults.
func (g *Google) Heal() { g.Fail() }

// Requests are those so far, in order.
func (g *Google) Requests() []GoogleRequest {
	g.mu.Lock()
	defer g.mu.Unlock()
	return slices.Clone(g.requests)
}

// Token says what a token is that it issued; false: it issued none such.
func (g *Google) Token(token string) (GoogleToken, bool) {
	g.mu.Lock()
	defer g.mu.Unlock()
	t, ok := g.tokens[token]
	return t, ok
}

// PrincipalOf is how IAM policies name a subject of the provider's pool.
func (p GoogleProvider) PrincipalOf(subject string) string {
	m := googleProvider.FindStringSubmatch(p.Name)
	if m == nil {
		return ""
	}
	return "principal://iam.googleapis.com/" + m[1] + "/subject/" + subject
}

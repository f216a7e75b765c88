// Package standin holds loopback stand-ins for the world outside, for the demo,
// for tests and for benchmarks. They are not the real thing and say so: nothing
// that they sign proves anything to anyone but the gateway that was told to trust
// them. A gateway that serves cannot reach this package.
//
// [IdentityProvider] stands in for an identity provider such as GitHub Actions.
package standin

import (
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"maps"
	"net/http"
	"runtime"
	"slices"
	"sync"
	"time"
)

// The paths that an IdentityProvider serves, as GitHub names them.
const (
	DiscoveryPath = "/.well-known/openid-configuration"
	KeysPath      = "/.well-known/jwks"
	TokenPath     = "/token"
)

// Config says how an IdentityProvider differs from the usual one.
type Config struct {
	Now      func() time.Time // of the tokens' times
	Rand     io.Reader        // of keys, jti and the request token
	Issuer   string           // iss and the issuer of its discovery; default its URL
	Audience string           // aud where nothing else is asked for; default that of GitHub
	Keys     []Key            // default: DefaultKeys, which takes a moment
	TLS      *TLS             // serve https; default http
}

// IdentityProvider is an http server on 127.0.0.1 that signs tokens as GitHub
// Actions does: discovery, a key set, and the endpoint where a job fetches its
// token. Tests can make it lie, fail and hang. Safe for concurrent use.
type IdentityProvider struct {
	server
	issuer   string
	audience string
	bearer   string // what a job must show at TokenPath

	keys     []Key
	job      map[string]any
	faults   map[string]Fault
	requests map[string]int
}

// New starts a stand-in on a free port of 127.0.0.1. End it with Close.
func New(c Config) (*IdentityProvider, error) {
	if c.Now == nil || c.Rand == nil {
		return nil, errors.New("standin: a clock and a source of randomness are required")
	}
	p := &IdentityProvider{
		server: server{now: c.Now, rand: c.Rand}, audience: c.Audience, keys: slices.Clone(c.Keys),
		faults: make(map[string]Fault), requests: make(map[string]int),
	}
	if p.audience == "" {
		p.audience = "https://github.com/" + owner
	}
	if len(p.keys) == 0 {
		keys, err := DefaultKeys(c.Rand)
		if err != nil {
			return nil, err
		}
		p.keys = keys
	}
	var secret [24]byte
	if _, err := io.ReadFull(c.Rand, secret[:]); err != nil {
		return nil, fmt.Errorf("standin: read randomness: %w", err)
	}
	p.bearer = base64.RawURLEncoding.EncodeToString(secret[:])
	if err := p.start(http.HandlerFunc(p.serve), c.TLS); err != nil {
		return nil, err
	}
	p.issuer = c.Issuer
	if p.issuer == "" {
		p.issuer = p.url
	}
	return p, nil
}

// Issuer is the iss of its tokens.
func (p *IdentityProvider) Issuer() string { return p.issuer }

// TokenURL is where a job fetches its token. As at GitHub it already holds a
// query, so that "&audience=" follows.
func (p *IdentityProvider) TokenURL() string { return p.url + TokenPath + "?api-version=2.0" }

// RequestToken is the bearer token that a job shows at TokenURL.
func (p *IdentityProvider) RequestToken() string { return p.bearer }

// Environment is what a job of GitHub Actions finds in its environment.
func (p *IdentityProvider) Environment() []string {
	return []string{
		"GITHUB_ACTIONS=true",
		"ACTIONS_ID_TOKEN_REQUEST_URL=" + p.TokenURL(),
		"ACTIONS_ID_TOKEN_REQUEST_TOKEN=" + p.bearer,
	}
}

// SetJob overlays the claims of the tokens that TokenPath hands out; see Token.
func (p *IdentityProvider) SetJob(claims map[string]any) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.job = maps.Clone(claims)
}

// AddKey publishes a key, or replaces the one with its id in place. The first
// key of the set signs what Token makes.
func (p *IdentityProvider) AddKey(k Key) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if i := slices.IndexFunc(p.keys, func(h Key) bool { return h.KID == k.KID }); i >= 0 {
		p.keys[i] = k
		return
	}
	p.keys = append(p.keys, k)
}

// RemoveKey takes a key out of the key set. It signs no more.
func (p *IdentityProvider) RemoveKey(kid string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.keys = slices.DeleteFunc(p.keys, func(k Key) bool { return k.KID == kid })
}

// Key returns the key with this id; false if there is none.
func (p *IdentityProvider) Key(kid string) (Key, bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	i := slices.IndexFunc(p.keys, func(k Key) bool { return k.KID == kid })
	if i < 0 {
		return Key{}, false
	}
	return p.keys[i], true
}

// Requests counts the requests for a path so far, failed ones too.
func (p *IdentityProvider) Requests(path string) int {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.requests[path]
}

// Tokens makes n default tokens that differ by their jti, on all cores.
func (p *IdentityProvider) Tokens(n int) []string {
	out := make([]string, n)
	var wg sync.WaitGroup
	workers := runtime.GOMAXPROCS(0)
	for w := range workers {
		wg.Go(func() {
			for i := w; i < n; i += workers {
				out[i] = p.Token(nil)
			}
		})
	}
	wg.Wait()
	return out
}

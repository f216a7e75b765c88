// Package web is Cambio's way in by HTTP: routes, limits, and the one table that
// turns an [exchange.Error] into an answer. It decides nothing.
package web

import (
	"context"
	"errors"
	"io"
	"log/slog"
	"net/http"
	"net/netip"
	"time"

	"github.com/go-chi/chi/v5"

	"cambio/exchange"
)

// Exchanger tells the story of an exchange; [exchange.Broker] is one.
type Exchanger interface {
	Exchange(ctx context.Context, req exchange.Request) (*exchange.Result, error)
}

// Voice is what the public may fetch of our own issuer. Both are static bytes
// of the configuration and the keys, never of a request.
type Voice interface {
	Discovery() []byte
	JWKS() []byte
	Bundle() []byte
}

// Config is what the public handler works with. Limiter and Nonces may be nil;
// all else is required.
type Config struct {
	Exchanger      Exchanger
	Voice          Voice
	Issuer         string           // shown on the landing page and as the token endpoint's base
	Limiter        exchange.Limiter // per address, asked before anything is parsed
	Nonces         Nonces           // nil: there is no /nonce
	NonceProvider  string           // the identity provider of a nonce whose caller names none; "": any
	TrustedProxies []netip.Prefix   // whose X-Forwarded-For is believed
	Observe        func(Outcome)    // told of every answer of the token endpoint
	Now            func() time.Time //
	Rand           io.Reader        //
	Log            *slog.Logger     //
}

// Outcome is one answer of the token endpoint, for metrics. Its strings come
// from closed sets of our own, never from a request.
type Outcome struct {
	Code    string // "ok", "dry-run" or the error code
	Reason  string // the reason slug of a refusal
	Elapsed time.Duration
}

// Limits of rule 33, and why each holds: a token endpoint's largest honest form
// is a 16 KiB token and a few names, and an honest client sends it at once.
const (
	maxBody        = 64 << 10
	maxParams      = 32
	maxHeaderBytes = 16 << 10
	headerTimeout  = 5 * time.Second
	readTimeout    = 10 * time.Second
	writeTimeout   = 15 * time.Second
	idleTimeout    = 60 * time.Second
)

// Handler returns the public handler.
func Handler(c Config) (http.Handler, error) {
	if c.Exchanger == nil || c.Voice == nil || c.Now == nil || c.Rand == nil || c.Log == nil {
		return nil, errors.New("web: Config lacks Exchanger, Voice, Now, Rand or Log")
	}
	if c.Observe == nil {
		c.Observe = func(Outcome) {}
	}
	s := &server{c: c}
	s.oauth = newBinding(c.Exchanger)
	landing := landingPage(c.Issuer)

	r := chi.NewRouter()
	r.Use(s.decide, s.recoverPanic)
	r.NotFound(s.nothingHere)
	r.MethodNotAllowed(s.wrongMethod)
	r.Post("/token", s.token)
	if c.Nonces != nil {
		r.Post("/nonce", s.nonce)
	}
	for path, body := range map[string]func() []byte{
		"/.well-known/openid-configuration":       c.Voice.Discovery,
		"/.well-known/oauth-authorization-server": c.Voice.Discovery,
		"/keys":                      c.Voice.JWKS,
		"/.well-known/spiffe-bundle": c.Voice.Bundle,
	} {
		r.Get(path, public(body))
		r.Head(path, public(body))
	}
	r.Get("/", landing)
	r.Head("/", landing)
	return r, nil
}

// server is the public handler's state.
type server struct {
	c     Config
	oauth http.Handler
}

// Server returns an http.Server with the time-outs and caps of rule 33, so that
// a slow peer holds a connection and nothing else.
func Server(h http.Handler, log *slog.Logger) *http.Server {
	return &http.Server{
		Handler:           h,
		ReadHeaderTimeout: headerTimeout,
		ReadTimeout:       readTimeout,
		WriteTimeout:      writeTimeout,
		IdleTimeout:       idleTimeout,
		MaxHeaderBytes:    maxHeaderBytes,
		ConnState:         nextHead,
		ErrorLog:          slog.NewLogLogger(log.Handler(), slog.LevelDebug),
	}
}

// public serves our issuer's documents: the same bytes to everyone, so any
// origin may read them, without credentials.
func public(body func() []byte) http.HandlerFunc {
	return func(w http.ResponseWriter, _ *http.Request) {
		h := w.Header()
		h.Set("Content-Type", "application/json")
		h.Set("Cache-Control", "public, max-age=300")
		h.Set("Access-Control-Allow-Origin", "*")
		_, _ = w.Write(body()) // the peer has gone: nothing to do
	}
}

// Package issuer is our own voice: the keys with which the gateway signs, their
// rotation, the key set and the discovery document that relying parties read,
// and Sign.
//
// A [Ring] is an immutable value; rotation is a pure function from one Ring to
// the next, and a [Store] keeps it. An [Issuer] speaks with one Ring at a time
// and swaps it atomically.
//
// It does not decide who gets a token, and it serves no HTTP.
package issuer

import (
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/netip"
	"net/url"
	"strings"
	"sync/atomic"
	"time"
)

// ErrConfig is wrapped by every error of [New] that is about its [Config].
var ErrConfig = errors.New("issuer: invalid configuration")

// Config is what an Issuer needs to be.
type Config struct {
	URL  string           // the exact iss of all that we sign: https, or http on loopback; no trailing slash, query or fragment
	Now  func() time.Time // decides when a retired key leaves the key set
	Rand io.Reader        // randomness of signatures
	// Roots are shown in the trust bundle beside our keys.
	Roots Roots
}

// Issuer signs JWTs and checkpoints, and publishes the keys that verify them.
// All methods are safe for concurrent use. Only [New] makes a usable one.
type Issuer struct {
	url       string
	quoted    string // url as a JSON string
	now       func() time.Time
	rand      io.Reader
	discovery []byte
	roots     Roots
	voice     atomic.Pointer[voice]
}

// voice is what follows from one Ring, made ready for signing.
type voice struct {
	ring   Ring
	rs, es speaker
	jwks   []byte
	bundle []byte
	until  time.Time // when jwks and bundle are out of date because a retired key leaves; zero: never
}

// New makes an Issuer that speaks with this ring. It refuses a ring that
// [Ring.Validate] refuses, and a URL that relying parties would not take.
func New(c Config, r Ring) (*Issuer, error) {
	if err := checkURL(c.URL); err != nil {
		return nil, err
	}
	if c.Now == nil || c.Rand == nil {
		return nil, fmt.Errorf("%w: a clock and a source of randomness are required", ErrConfig)
	}
	discovery, err := discoveryDocument(c.URL)
	if err != nil {
		return nil, err
	}
	quoted, err := json.Marshal(c.URL)
	if err != nil {
		return nil, fmt.Errorf("issuer: encode the URL: %w", err)
	}
	i := &Issuer{url: c.URL, quoted: string(quoted), now: c.Now, rand: c.Rand, discovery: discovery, roots: c.Roots}
	if err := i.Replace(r); err != nil {
		return nil, err
	}
	return i, nil
}

// URL is the exact iss of all that this Issuer signs.
func (i *Issuer) URL() string { return i.url }

// Ring is the ring in force.
func (i *Issuer) Ring() Ring { return i.voice.Load().ring.clone() }

// Replace swaps the ring, as a whole or not at all: with an error the old one
// stays in force.
func (i *Issuer) Replace(r Ring) error {
	if err := r.Validate(); err != nil {
		return err
	}
	v := &voice{ring: r.clone()}
	for _, k := range v.ring.Keys {
		if k.State != Active {
			continue
		}
		if k.Alg == RS256 {
			v.rs = newSpeaker(k)
		} else {
			v.es = newSpeaker(k)
		}
	}
	if err := i.show(v, i.now()); err != nil {
		return err
	}
	i.voice.Store(v)
	return nil
}

// show makes what is published of a voice.
func (i *Issuer) show(v *voice, now time.Time) error {
	set, until, err := v.ring.publish(now)
	if err != nil {
		return err
	}
	jwks, err := set.Bytes()
	if err != nil {
		return err
	}
	bundle, err := set.Bundle(i.roots, v.ring.Sequence(i.roots, now))
	if err != nil {
		return err
	}
	v.jwks, v.bundle, v.until = jwks, bundle, until
	return nil
}

// JWKS is the key set to publish (RFC 7517): the public members of next, active
// and retired keys, without the retired ones whose time is over. The caller must
// not change the bytes.
func (i *Issuer) JWKS() []byte { return i.shown().jwks }

// Bundle is the SPIFFE trust bundle to publish: the same keys, and the roots. The
// caller must not change the bytes.
func (i *Issuer) Bundle() []byte { return i.shown().bundle }

// shown is the voice in force, with what is published as of now.
func (i *Issuer) shown() *voice {
	v := i.voice.Load()
	now := i.now()
	if v.until.IsZero() || now.Before(v.until) {
		return v
	}
	w := *v
	if err := i.show(&w, now); err != nil {
		return v // cannot be: the same ring was published before, with more keys
	}
	// A concurrent Replace wins: its ring is newer than the one we hold.
	i.voice.CompareAndSwap(v, &w)
	return &w
}

// Discovery is the metadata document of OpenID Connect Discovery 1.0 section 3
// and RFC 8414 section 2. It holds static configuration only. The caller must
// not change the bytes.
func (i *Issuer) Discovery() []byte { return i.discovery }

// NewID makes a jti of 128 random bits, in base64url.
func NewID(random io.Reader) (string, error) {
	var b [16]byte
	if _, err := io.ReadFull(random, b[:]); err != nil {
		return "", fmt.Errorf("issuer: read randomness: %w", err)
	}
	return base64.RawURLEncoding.EncodeToString(b[:]), nil
}

func checkURL(s string) error {
	u, err := url.Parse(s)
	if err != nil {
		return fmt.Errorf("%w: the issuer is not a URL", ErrConfig)
	}
	switch {
	case u.Scheme != "https" && (u.Scheme != "http" || !loopback(u.Hostname())):
		return fmt.Errorf("%w: the issuer must be https, or http on loopback", ErrConfig)
	case u.Hostname() == "" || u.Opaque != "":
		return fmt.Errorf("%w: the issuer names no host", ErrConfig)
	case u.User != nil || strings.ContainsAny(s, "?#"):
		return fmt.Errorf("%w: the issuer must have no user, query or fragment", ErrConfig)
	case strings.HasSuffix(s, "/"):
		return fmt.Errorf("%w: the issuer must not end with a slash", ErrConfig)
	case u.String() != s:
		// Relying parties compare byte for byte; some normalise first.
		return fmt.Errorf("%w: write the issuer as %q", ErrConfig, u.String())
	}
	return nil
}

func loopback(host string) bool {
	if host == "localhost" {
		return true
	}
	a, err := netip.ParseAddr(host)
	return err == nil && a.IsLoopback()
}

package oidc_test

import (
	"bytes"
	"context"
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/hmac"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"errors"
	"log/slog"
	"maps"
	"math/big"
	"strings"
	"sync"
	"testing"
	"time"

	"cambio/exchange"
	"cambio/providers"
	"cambio/providers/oidc"
	"cambio/trust"
)

const (
	issuerURL = "https://issuer.test"
	audience  = "https://gw.test"
)

// start is when every test begins.
func start() time.Time { return time.Date(2026, 11, 22, 12, 0, 0, 0, time.UTC) }

// keyring is the private side of the issuer that the tests play.
type keyring struct {
	rsa, other       *rsa.PrivateKey
	p256, p384, p521 *ecdsa.PrivateKey
	ed               ed25519.PrivateKey
}

// keys are made once: RSA keys are slow to find.
var keys = sync.OnceValue(func() keyring {
	must := func(err error) {
		if err != nil {
			panic(err)
		}
	}
	var k keyring
	var err error
	k.rsa, err = rsa.GenerateKey(rand.Reader, 2048)
	must(err)
	k.other, err = rsa.GenerateKey(rand.Reader, 2048)
	must(err)
	k.p256, err = ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	must(err)
	k.p384, err = ecdsa.GenerateKey(elliptic.P384(), rand.Reader)
	must(err)
	k.p521, err = ecdsa.GenerateKey(elliptic.P521(), rand.Reader)
	must(err)
	_, k.ed, err = ed25519.GenerateKey(rand.Reader)
	must(err)
	return k
})

// member is a member of a JSON object; object writes them in order, so that a
// test can repeat one.
type object = map[string]any

func b64(b []byte) string { return base64.RawURLEncoding.EncodeToString(b) }

func asJSON(v any) []byte {
	b, err := json.Marshal(v)
	if err != nil {
		panic(err)
	}
	return b
}

// jwk is the public JWK of a private or public key.
func jwk(kid string, key any, more object) object {
	if signer, ok := key.(crypto.Signer); ok {
		key = signer.Public()
	}
	var m object
	switch k := key.(type) {
	case *rsa.PublicKey:
		m = object{"kty": "RSA", "n": b64(k.N.Bytes()), "e": b64(big.NewInt(int64(k.E)).Bytes())}
	case *ecdsa.PublicKey:
		point, err := k.Bytes()
		if err != nil {
			panic(err)
		}
		half := (len(point) - 1) / 2
		m = object{"kty": "EC", "crv": k.Params().Name, "x": b64(point[1 : 1+half]), "y": b64(point[1+half:])}
	case ed25519.PublicKey:
		m = object{"kty": "OKP", "crv": "Ed25519", "x": b64(k)}
	default:
		panic("no such key")
	}
	if kid != "" {
		m["kid"] = kid
	}
	maps.Copy(m, more)
	return m
}

func keySet(list ...object) []byte { return asJSON(object{"keys": list}) }

// allKeys is the issuer's usual key set.
func allKeys() []byte {
	k := keys()
	return keySet(
		jwk("k1", k.rsa, object{"use": "sig"}), jwk("k2", k.p256, object{"alg": "ES256"}), jwk("k3", k.ed, nil),
		jwk("k384", k.p384, nil), jwk("k521", k.p521, nil),
	)
}

// sign makes a compact JWS of raw header and payload bytes.
func sign(alg string, key any, header, payload []byte) string {
	signed := b64(header) + "." + b64(payload)
	return signed + "." + b64(signature(alg, key, signed))
}

func signature(alg string, key any, signed string) []byte {
	var hash crypto.Hash
	switch {
	case strings.HasSuffix(alg, "256"):
		hash = crypto.SHA256
	case strings.HasSuffix(alg, "384"):
		hash = crypto.SHA384
	case strings.HasSuffix(alg, "512"):
		hash = crypto.SHA512
	}
	digest := []byte(signed)
	if hash != 0 {
		h := hash.New()
		h.Write(digest)
		digest = h.Sum(nil)
	}
	var sig []byte
	var err error
	switch k := key.(type) {
	case *rsa.PrivateKey:
		if strings.HasPrefix(alg, "PS") {
			sig, err = rsa.SignPSS(rand.Reader, k, hash, digest, &rsa.PSSOptions{SaltLength: rsa.PSSSaltLengthEqualsHash})
		} else {
			sig, err = rsa.SignPKCS1v15(nil, k, hash, digest)
		}
	case *ecdsa.PrivateKey:
		var r, s *big.Int
		r, s, err = ecdsa.Sign(rand.Reader, k, digest)
		if err == nil {
			size := (k.Params().BitSize + 7) / 8
			sig = append(r.FillBytes(make([]byte, size)), s.FillBytes(make([]byte, size))...)
		}
	case ed25519.PrivateKey:
		sig = ed25519.Sign(k, digest)
	case []byte: // an HMAC secret, as an attacker would use one
		m := hmac.New(sha256.New, k)
		m.Write([]byte(signed))
		sig = m.Sum(nil)
	}
	if err != nil {
		panic(err)
	}
	return sig
}

// base is the claims of a good token.
func base() object {
	now := start().Unix()
	return object{
		"iss": issuerURL, "aud": audience, "sub": "job-1", "jti": "7d0e6f0a-1", "iat": now, "nbf": now, "exp": now + 300,
		"project": "p1",
	}
}

// with returns the good claims with some replaced; nil takes one away.
func with(changes object) object {
	c := base()
	for k, v := range changes {
		if v == nil {
			delete(c, k)
		} else {
			c[k] = v
		}
	}
	return c
}

// rs256 signs claims as the issuer usually does.
func rs256(claims object) string {
	return sign("RS256", keys().rsa, asJSON(object{"alg": "RS256", "kid": "k1", "typ": "JWT"}), asJSON(claims))
}

// provider is the usual identity provider, with pinned keys.
func provider() oidc.Provider {
	return oidc.Provider{
		Name: "p1", Type: "oidc", Issuer: issuerURL, Audiences: []string{audience}, JWKSFile: allKeys(),
		Algs: []string{"RS256", "RS384", "RS512", "PS256", "PS384", "PS512", "ES256", "ES384", "ES512", "EdDSA"},
	}
}

// clock is a clock that only tests move.
type clock struct {
	mu  sync.Mutex
	now time.Time
}

func newClock() *clock { return &clock{now: start()} }

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

func config(ps ...oidc.Provider) oidc.Config {
	return oidc.Config{TrustDomain: "gw.test", Providers: ps, Now: start, Log: slog.New(slog.DiscardHandler)}
}

func newSet(tb testing.TB, cfg oidc.Config) *oidc.Set {
	tb.Helper()
	cfg.Platforms = providers.Platforms()
	s, err := oidc.New(cfg)
	if err != nil {
		tb.Fatal(err)
	}
	return s
}

// reason is the reason of a refusal, "" for none.
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

// refused checks that the token is refused for this reason, "" for none.
func refused(tb testing.TB, s *oidc.Set, token string, want trust.Reason) {
	tb.Helper()
	if _, err := s.Verify(context.Background(), token); reason(tb, err) != want {
		tb.Errorf("got %v, want %q", err, want)
	}
}

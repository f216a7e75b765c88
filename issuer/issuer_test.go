package issuer_test

import (
	"bytes"
	"context"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"encoding/base64"
	"encoding/json"
	"errors"
	"math/big"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/coreos/go-oidc/v3/oidc"
	"github.com/google/go-cmp/cmp"
	"github.com/spiffe/go-spiffe/v2/bundle/jwtbundle"
	"github.com/spiffe/go-spiffe/v2/spiffeid"
	"github.com/spiffe/go-spiffe/v2/svid/jwtsvid"

	"cambio/issuer"
)

const url = "https://id.acme.example"

var start = time.Date(2026, 9, 1, 12, 0, 0, 0, time.UTC)

// first is one generated ring for all tests: RSA primes take their time.
var first = sync.OnceValue(func() issuer.Ring {
	r, err := issuer.Generate(start, rand.Reader)
	if err != nil {
		panic(err)
	}
	return r
})

func ring() issuer.Ring {
	return issuer.Ring{Keys: append([]issuer.Key(nil), first().Keys...)}
}

func key(tb testing.TB, r issuer.Ring, alg issuer.Alg, s issuer.State) issuer.Key {
	tb.Helper()
	for _, k := range r.Keys {
		if k.Alg == alg && k.State == s {
			return k
		}
	}
	tb.Fatalf("no %s %s key", s, alg)
	return issuer.Key{}
}

func open(tb testing.TB, r issuer.Ring) *issuer.Issuer {
	tb.Helper()
	i, err := issuer.New(issuer.Config{URL: url, Now: func() time.Time { return start }, Rand: rand.Reader}, r)
	if err != nil {
		tb.Fatal(err)
	}
	return i
}

func claims(now time.Time) issuer.Claims {
	return issuer.Claims{
		Type:     issuer.JWT,
		Subject:  "spiffe://id.acme.example/github/1/2",
		Audience: "https://orders.acme.example",
		IssuedAt: now,
		Expires:  now.Add(15 * time.Minute),
		ID:       "AAAAAAAAAAAAAAAAAAAAAA",
		Scope:    "orders:read",
	}
}

// segments decodes a token's header and payload.
func segments(tb testing.TB, token string) (header, payload map[string]any) {
	tb.Helper()
	parts := strings.Split(token, ".")
	if len(parts) != 3 {
		tb.Fatalf("%d segments", len(parts))
	}
	for i, out := range []*map[string]any{&header, &payload} {
		raw, err := base64.RawURLEncoding.Strict().DecodeString(parts[i])
		if err != nil {
			tb.Fatal(err)
		}
		d := json.NewDecoder(bytes.NewReader(raw))
		d.UseNumber()
		if err := d.Decode(out); err != nil {
			tb.Fatalf("%s: %v", raw, err)
		}
	}
	return header, payload
}

func TestNewRefuses(t *testing.T) {
	weak, err := rsa.GenerateKey(rand.Reader, 1024)
	if err != nil {
		t.Fatal(err)
	}
	p384, err := ecdsa.GenerateKey(elliptic.P384(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	_, ed, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	good := key(t, ring(), issuer.RS256, issuer.Active).Signer.(*rsa.PrivateKey)
	public := func(n *big.Int, e int) *rsa.PrivateKey {
		return &rsa.PrivateKey{PublicKey: rsa.PublicKey{N: n, E: e}}
	}
	huge := new(big.Int).SetBit(big.NewInt(1), 8192, 1)
	find := func(r issuer.Ring, alg issuer.Alg, s issuer.State) *issuer.Key {
		for i := range r.Keys {
			if r.Keys[i].Alg == alg && r.Keys[i].State == s {
				return &r.Keys[i]
			}
		}
		return nil
	}
	tests := []struct {
		name   string
		config func(*issuer.Config)
		ring   func(*issuer.Ring)
		want   error
	}{
		{name: "the whole ring is fine"},
		{name: "http on loopback is fine", config: func(c *issuer.Config) { c.URL = "http://127.0.0.1:8080" }},
		{name: "a path is fine", config: func(c *issuer.Config) { c.URL = "https://acme.example/id" }},
		{name: "without next keys", ring: func(r *issuer.Ring) { r.Keys = []issuer.Key{r.Keys[0], r.Keys[2]} }},
		{name: "no url", config: func(c *issuer.Config) { c.URL = "" }, want: issuer.ErrConfig},
		{name: "http", config: func(c *issuer.Config) { c.URL = "http://id.acme.example" }, want: issuer.ErrConfig},
		{name: "trailing slash", config: func(c *issuer.Config) { c.URL = url + "/" }, want: issuer.ErrConfig},
		{name: "query", config: func(c *issuer.Config) { c.URL = url + "?a=b" }, want: issuer.ErrConfig},
		{name: "empty query", config: func(c *issuer.Config) { c.URL = url + "?" }, want: issuer.ErrConfig},
		{name: "fragment", config: func(c *issuer.Config) { c.URL = url + "#a" }, want: issuer.ErrConfig},
		{name: "user", config: func(c *issuer.Config) { c.URL = "https://a@id.acme.example" }, want: issuer.ErrConfig},
		{name: "no host", config: func(c *issuer.Config) { c.URL = "https://" }, want: issuer.ErrConfig},
		{name: "not normal", config: func(c *issuer.Config) { c.URL = "HTTPS://id.acme.example" }, want: issuer.ErrConfig},
		{name: "no clock", config: func(c *issuer.Config) { c.Now = nil }, want: issuer.ErrConfig},
		{name: "no randomness", config: func(c *issuer.Config) { c.Rand = nil }, want: issuer.ErrConfig},
		{name: "no keys", ring: func(r *issuer.Ring) { r.Keys = nil }, want: issuer.ErrRing},
		{name: "no active RS256", ring: func(r *issuer.Ring) { r.Keys = r.Keys[1:] }, want: issuer.ErrRing},
		{name: "no active ES256", ring: func(r *issuer.Ring) { r.Keys = r.Keys[:2] }, want: issuer.ErrRing},
		{name: "a key twice", ring: func(r *issuer.Ring) { r.Keys = append(r.Keys, r.Keys[3]) }, want: issuer.ErrRing},
		{name: "two active", ring: func(r *issuer.Ring) {
			k := find(*r, issuer.ES256, issuer.Next)
			k.State, k.Activated = issuer.Active, start
		}, want: issuer.ErrRing},
		{name: "unknown state", ring: func(r *issuer.Ring) { find(*r, issuer.ES256, issuer.Next).State = "" }, want: issuer.ErrRing},
		{name: "no signer", ring: func(r *issuer.Ring) { r.Keys[0].Signer = nil }, want: issuer.ErrRing},
		{name: "another kid", ring: func(r *issuer.Ring) { r.Keys[0].KID = strings.Repeat("0", 32) }, want: issuer.ErrRing},
		{name: "another algorithm", ring: func(r *issuer.Ring) { r.Keys[0].Alg = issuer.ES256 }, want: issuer.ErrRing},
		{name: "never published", ring: func(r *issuer.Ring) { r.Keys[0].Published = time.Time{} }, want: issuer.ErrRing},
		{name: "active, never activated", ring: func(r *issuer.Ring) { r.Keys[0].Activated = time.Time{} }, want: issuer.ErrRing},
		{name: "retired, never retired", ring: func(r *issuer.Ring) { find(*r, issuer.RS256, issuer.Next).State = issuer.Retired }, want: issuer.ErrRing},
		{name: "next, already used", ring: func(r *issuer.Ring) { find(*r, issuer.RS256, issuer.Next).Activated = start }, want: issuer.ErrRing},
		{name: "RSA 1024", ring: func(r *issuer.Ring) { r.Keys[0].Signer = weak }, want: issuer.ErrWeakKey},
		{name: "RSA 8193", ring: func(r *issuer.Ring) { r.Keys[0].Signer = public(huge, 65537) }, want: issuer.ErrWeakKey},
		{name: "RSA e=1", ring: func(r *issuer.Ring) { r.Keys[0].Signer = public(good.N, 1) }, want: issuer.ErrWeakKey},
		{name: "RSA e even", ring: func(r *issuer.Ring) { r.Keys[0].Signer = public(good.N, 4) }, want: issuer.ErrWeakKey},
		{name: "RSA n even", ring: func(r *issuer.Ring) { r.Keys[0].Signer = public(new(big.Int).Lsh(good.N, 1), 65537) }, want: issuer.ErrWeakKey},
		{name: "RSA n missing", ring: func(r *issuer.Ring) { r.Keys[0].Signer = public(nil, 65537) }, want: issuer.ErrWeakKey},
		{name: "P-384", ring: func(r *issuer.Ring) { r.Keys[2].Signer = p384 }, want: issuer.ErrWeakKey},
		{name: "EdDSA", ring: func(r *issuer.Ring) { r.Keys[2].Signer = ed }, want: issuer.ErrWeakKey},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			c := issuer.Config{URL: url, Now: func() time.Time { return start }, Rand: rand.Reader}
			r := ring()
			if tt.config != nil {
				tt.config(&c)
			}
			if tt.ring != nil {
				tt.ring(&r)
			}
			if _, err := issuer.New(c, r); !errors.Is(err, tt.want) {
				t.Errorf("New: %v, want %v", err, tt.want)
			}
		})
	}
}

// Every JWT but at+jwt is a JWT-SVID.
func TestSignIsJWTSVID(t *testing.T) {
	i := open(t, ring())
	td := spiffeid.RequireTrustDomainFromString("id.acme.example")
	bundle, err := jwtbundle.Parse(td, i.JWKS())
	if err != nil {
		t.Fatal(err)
	}
	for _, alg := range []issuer.Alg{issuer.RS256, issuer.ES256} {
		token, err := i.Sign(alg, claims(time.Now())) // go-spiffe has its own clock
		if err != nil {
			t.Fatal(err)
		}
		svid, err := jwtsvid.ParseAndValidate(token, bundle, []string{"https://orders.acme.example"})
		if err != nil {
			t.Fatalf("%s: %v", alg, err)
		}
		if got := svid.ID.String(); got != "spiffe://id.acme.example/github/1/2" {
			t.Errorf("%s: id %s", alg, got)
		}
		// The checks are real: another audience and a broken signature fail.
		if _, err := jwtsvid.ParseAndValidate(token, bundle, []string{"https://other"}); err == nil {
			t.Errorf("%s: accepted for another audience", alg)
		}
		if _, err := jwtsvid.ParseAndValidate(token[:len(token)-8]+"AAAAAAAA", bundle, []string{"https://orders.acme.example"}); err == nil {
			t.Errorf("%s: accepted with a broken signature", alg)
		}
	}
	c := claims(time.Now())
	c.Type, c.ClientID = issuer.AccessToken, c.Subject
	token, err := i.Sign(issuer.ES256, c)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := jwtsvid.ParseAndValidate(token, bundle, []string{c.Audience}); err == nil {
		t.Error("an access token passes as a JWT-SVID")
	}
}

func TestRelyingPartyDiscoversAndVerifies(t *testing.T) {
	var i *issuer.Issuer
	mux := http.NewServeMux()
	mux.HandleFunc("GET /.well-known/openid-configuration", func(w http.ResponseWriter, _ *http.Request) { _, _ = w.Write(i.Discovery()) })
	mux.HandleFunc("GET /keys", func(w http.ResponseWriter, _ *http.Request) { _, _ = w.Write(i.JWKS()) })
	srv := httptest.NewServer(mux)
	defer srv.Close()
	i, err := issuer.New(issuer.Config{URL: srv.URL, Now: func() time.Time { return start }, Rand: rand.Reader}, ring())
	if err != nil {
		t.Fatal(err)
	}
	ctx := oidc.ClientContext(context.Background(), srv.Client())
	p, err := oidc.NewProvider(ctx, srv.URL)
	if err != nil {
		t.Fatal(err)
	}
	v := p.Verifier(&oidc.Config{ClientID: "https://orders.acme.example", Now: func() time.Time { return start }})
	for _, alg := range []issuer.Alg{issuer.RS256, issuer.ES256} {
		token, err := i.Sign(alg, claims(start))
		if err != nil {
			t.Fatal(err)
		}
		got, err := v.Verify(ctx, token)
		if err != nil {
			t.Fatalf("%s: %v", alg, err)
		}
		if got.Subject != "spiffe://id.acme.example/github/1/2" || !got.Expiry.Equal(start.Add(15*time.Minute)) {
			t.Errorf("%s: subject %q, expiry %v", alg, got.Subject, got.Expiry)
		}
	}
}

func TestReplaceIsWhole(t *testing.T) {
	i := open(t, ring())
	before := string(i.JWKS())
	broken := ring()
	broken.Keys = broken.Keys[1:]
	if err := i.Replace(broken); !errors.Is(err, issuer.ErrRing) {
		t.Fatalf("Replace: %v", err)
	}
	if string(i.JWKS()) != before {
		t.Error("a refused ring changed the key set")
	}
	rotated, err := issuer.Rotate(ring(), start, rand.Reader, true)
	if err != nil {
		t.Fatal(err)
	}
	if err := i.Replace(rotated); err != nil {
		t.Fatal(err)
	}
	token, err := i.Sign(issuer.ES256, claims(start))
	if err != nil {
		t.Fatal(err)
	}
	header, _ := segments(t, token)
	if want := key(t, ring(), issuer.ES256, issuer.Next).KID; header["kid"] != want {
		t.Errorf("signed with %v, want what was next, %s", header["kid"], want)
	}
	// The ring that came in and the one that goes out are copies.
	rotated.Keys[0].State = "broken"
	i.Ring().Keys[0].State = "broken"
	if err := i.Ring().Validate(); err != nil {
		t.Error(err)
	}
}

// A rotation under load never gives a token that the key set of then does not verify.
func TestReplaceUnderLoad(t *testing.T) {
	i := open(t, ring())
	rotated, err := issuer.Rotate(ring(), start, rand.Reader, true)
	if err != nil {
		t.Fatal(err)
	}
	td := spiffeid.RequireTrustDomainFromString("id.acme.example")
	var wg sync.WaitGroup
	for range 4 {
		wg.Go(func() {
			for range 50 {
				token, err := i.Sign(issuer.ES256, claims(time.Now()))
				if err != nil {
					t.Error(err)
					return
				}
				bundle, err := jwtbundle.Parse(td, i.JWKS())
				if err != nil {
					t.Error(err)
					return
				}
				if _, err := jwtsvid.ParseAndValidate(token, bundle, []string{"https://orders.acme.example"}); err != nil {
					t.Error(err)
					return
				}
			}
		})
	}
	wg.Go(func() {
		for n := range 100 {
			r := ring()
			if n%2 == 0 {
				r = rotated
			}
			// Both rings hold the active keys of the other.
			if err := i.Replace(r); err != nil {
				t.Error(err)
			}
		}
	})
	wg.Wait()
}

func TestDiscovery(t *testing.T) {
	var got map[string]any
	if err := json.Unmarshal(open(t, ring()).Discovery(), &got); err != nil {
		t.Fatal(err)
	}
	want := map[string]any{
		"issuer":                                url,
		"jwks_uri":                              url + "/keys",
		"token_endpoint":                        url + "/token",
		"grant_types_supported":                 []any{"urn:ietf:params:oauth:grant-type:token-exchange"},
		"response_types_supported":              []any{"id_token"},
		"subject_types_supported":               []any{"public"},
		"id_token_signing_alg_values_supported": []any{"RS256", "ES256"},
		"token_endpoint_auth_methods_supported": []any{"none"},
		"claims_supported":                      []any{"iss", "sub", "aud", "exp", "iat", "nbf", "jti", "scope", "client_id"},
	}
	if d := cmp.Diff(want, got); d != "" {
		t.Error(d)
	}
}

func TestJWKSIsPublicOnly(t *testing.T) {
	rotated, err := issuer.Rotate(ring(), start, rand.Reader, true)
	if err != nil {
		t.Fatal(err)
	}
	var set struct{ Keys []map[string]string }
	if err := json.Unmarshal(open(t, rotated).JWKS(), &set); err != nil {
		t.Fatal(err)
	}
	if len(set.Keys) != 6 {
		t.Fatalf("%d keys, want active, next and retired of two algorithms", len(set.Keys))
	}
	shape := map[string][]string{
		"RSA": {"alg", "e", "kid", "kty", "n", "use"},
		"EC":  {"alg", "crv", "kid", "kty", "use", "x", "y"},
	}
	kids := make(map[string]bool)
	for _, k := range set.Keys {
		var names []string
		for _, name := range []string{"alg", "crv", "d", "dp", "dq", "e", "k", "kid", "kty", "n", "p", "q", "qi", "use", "x", "y"} {
			if _, ok := k[name]; ok {
				names = append(names, name)
			}
		}
		if d := cmp.Diff(shape[k["kty"]], names); d != "" || len(names) != len(k) {
			t.Errorf("members of %v: %s", k, d)
		}
		if k["use"] != "sig" || kids[k["kid"]] {
			t.Errorf("use or kid of %v", k)
		}
		kids[k["kid"]] = true
		if k["kty"] == "EC" && (len(k["x"]) != 43 || len(k["y"]) != 43) {
			t.Errorf("coordinates are not 32 bytes: %v", k)
		}
		ours, ok := rotated.Find(k["kid"])
		if !ok {
			t.Errorf("unknown kid in %v", k)
		}
		public := make(map[string]any, len(k))
		for name, v := range k {
			public[name] = v
		}
		if d := cmp.Diff(public, ours.PublicJWK()); d != "" {
			t.Error(d)
		}
	}
	// The active key comes first, for clients that take the first that fits.
	if want := key(t, rotated, issuer.RS256, issuer.Active).KID; set.Keys[0]["kid"] != want {
		t.Errorf("first key %s, want %s", set.Keys[0]["kid"], want)
	}
	if (issuer.Key{}).PublicJWK() != nil {
		t.Error("a key without signer has a public JWK")
	}
}

// The thumbprint is that of RFC 7638 section 3.1's example, cut to 128 bits.
func TestKeyID(t *testing.T) {
	n, err := base64.RawURLEncoding.DecodeString("0vx7agoebGcQSuuPiLJXZptN9nndrQmbXEps2aiAFbWhM78LhWx4cbbfAAtVT86zwu1RK7aPFFxuhDR1L6tSoc_BJECPebWKRXjBZCiFV4n3oknjhMstn64tZ_2W-5JsGY4Hc5n9yBXArwl93lqt7_RN5w6Cf0h4QyQ5v-65YGjQR0_FDW2QvzqY368QQMicAtaSqzs8KJZgnYb9c7d0zgdAZHzu6qMQvRL5hajrn1n91CbOpbISD08qNLyrdkt-bFTWhAI4vMQFh6WeZu0fM4lFd2NcRwr3XPksINHaQ-G_xBniIqbw0Ls1jF44-csFCur-kEgU8awapJzKnqDKgw")
	if err != nil {
		t.Fatal(err)
	}
	want, err := base64.RawURLEncoding.DecodeString("NzbLsXh8uDCcd-6MNwXF4W_7noWXFZAfHkxZsRGC9Xs")
	if err != nil {
		t.Fatal(err)
	}
	got, err := issuer.KeyID(&rsa.PublicKey{N: new(big.Int).SetBytes(n), E: 65537})
	if err != nil {
		t.Fatal(err)
	}
	if got != hexOf(want[:16]) {
		t.Errorf("kid %s, want %s", got, hexOf(want[:16]))
	}
}

func hexOf(b []byte) string {
	const digits = "0123456789abcdef"
	var s strings.Builder
	for _, c := range b {
		s.WriteByte(digits[c>>4])
		s.WriteByte(digits[c&15])
	}
	return s.String()
}

func TestNewID(t *testing.T) {
	seen := make(map[string]bool)
	for range 100_000 {
		id, err := issuer.NewID(rand.Reader)
		if err != nil {
			t.Fatal(err)
		}
		if raw, err := base64.RawURLEncoding.Strict().DecodeString(id); err != nil || len(raw) != 16 {
			t.Fatalf("id %q: %d bytes, %v", id, len(raw), err)
		}
		if seen[id] {
			t.Fatalf("id %q twice", id)
		}
		seen[id] = true
	}
	if _, err := issuer.NewID(bytes.NewReader(make([]byte, 15))); err == nil {
		t.Error("an id of too little randomness")
	}
}

package standin_test

import (
	"bytes"
	"context"
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"encoding/base64"
	"encoding/json"
	"errors"
	"io"
	"math/big"
	"net/http"
	"net/url"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/coreos/go-oidc/v3/oidc"
	"github.com/go-jose/go-jose/v4"
	"github.com/google/go-cmp/cmp"

	"cambio/standin"
)

var start = time.Date(2026, 9, 1, 12, 0, 0, 0, time.UTC)

var keys = sync.OnceValue(func() []standin.Key {
	k, err := standin.DefaultKeys(rand.Reader)
	if err != nil {
		panic(err)
	}
	return k
})

func open(tb testing.TB, change func(*standin.Config)) *standin.IdentityProvider {
	tb.Helper()
	c := standin.Config{Now: func() time.Time { return start }, Rand: rand.Reader, Keys: keys()}
	if change != nil {
		change(&c)
	}
	p, err := standin.New(c)
	if err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(func() { _ = p.Close() })
	return p
}

type answer struct {
	status int
	header http.Header
	body   string
}

// get asks the stand-in, and follows no redirect.
func get(tb testing.TB, p *standin.IdentityProvider, path, authorization string) answer {
	tb.Helper()
	a, err := try(tb.Context(), p, path, authorization)
	if err != nil {
		tb.Fatal(err)
	}
	return a
}

func try(ctx context.Context, p *standin.IdentityProvider, path, authorization string) (answer, error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, p.URL()+path, nil)
	if err != nil {
		return answer{}, err
	}
	if authorization != "" {
		req.Header.Set("Authorization", authorization)
	}
	tr := &http.Transport{DisableKeepAlives: true}
	if p.CA() != nil {
		pool := x509.NewCertPool()
		pool.AppendCertsFromPEM(p.CA())
		tr.TLSClientConfig = &tls.Config{RootCAs: pool, MinVersion: tls.VersionTLS12, Time: func() time.Time { return start }}
	}
	res, err := tr.RoundTrip(req)
	if err != nil {
		return answer{}, err
	}
	defer res.Body.Close()
	body, err := io.ReadAll(res.Body)
	return answer{res.StatusCode, res.Header, string(body)}, err
}

func payload(tb testing.TB, token string) map[string]any {
	tb.Helper()
	raw, err := base64.RawURLEncoding.DecodeString(strings.Split(token, ".")[1])
	if err != nil {
		tb.Fatal(err)
	}
	var out map[string]any
	if err := json.Unmarshal(raw, &out); err != nil {
		tb.Fatal(err)
	}
	return out
}

func TestRelyingPartyVerifiesADefaultToken(t *testing.T) {
	p := open(t, func(c *standin.Config) { c.Audience = "https://gw.test" })
	provider, err := oidc.NewProvider(t.Context(), p.URL())
	if err != nil {
		t.Fatal(err)
	}
	v := provider.Verifier(&oidc.Config{ClientID: "https://gw.test", Now: func() time.Time { return start }})
	token, err := v.Verify(t.Context(), p.Token(nil))
	if err != nil {
		t.Fatal(err)
	}
	if token.Subject != "repo:acme@1/app@2:ref:refs/heads/main" || !token.Expiry.Equal(start.Add(15*time.Minute)) {
		t.Errorf("subject %s, expiry %v", token.Subject, token.Expiry)
	}
	if p.Requests(standin.DiscoveryPath) != 1 || p.Requests(standin.KeysPath) != 1 || len(p.Unknown()) != 0 {
		t.Errorf("requests: %d, %d, %v", p.Requests(standin.DiscoveryPath), p.Requests(standin.KeysPath), p.Unknown())
	}
	// A removed key signs and verifies no more.
	p.RemoveKey("k1")
	if _, err := p.Sign(standin.JWS{Key: "k1"}); err == nil {
		t.Error("a removed key signs")
	}
	if strings.Contains(get(t, p, standin.KeysPath, "").body, `"k1"`) {
		t.Error("a removed key is published")
	}
}

func TestTokenOverlay(t *testing.T) {
	p := open(t, nil)
	got := payload(t, p.Token(map[string]any{"ref": "refs/heads/dev", "environment": "prod", "jti": nil, "exp": 7}))
	want := payload(t, p.Token(nil))
	want["ref"], want["environment"], want["exp"] = "refs/heads/dev", "prod", 7.0
	delete(want, "jti")
	if d := cmp.Diff(want, got); d != "" {
		t.Error(d)
	}
	if want["aud"] != "https://github.com/acme" || want["iss"] != p.URL() {
		t.Errorf("aud %v, iss %v", want["aud"], want["iss"])
	}
	named := open(t, func(c *standin.Config) { c.Issuer = "https://iss1.test" })
	if got := payload(t, named.Token(nil)); got["iss"] != "https://iss1.test" || named.Issuer() != "https://iss1.test" {
		t.Errorf("iss %v", got["iss"])
	}
}

func TestTokenEndpoint(t *testing.T) {
	p := open(t, nil)
	p.SetJob(map[string]any{"ref": "refs/heads/dev"})
	path := strings.TrimPrefix(p.TokenURL(), p.URL()) + "&audience=" + url.QueryEscape("https://gw.test")
	good := get(t, p, path, "Bearer "+p.RequestToken())
	var out struct{ Value string }
	if err := json.Unmarshal([]byte(good.body), &out); err != nil || good.status != http.StatusOK {
		t.Fatalf("%d %s", good.status, good.body)
	}
	if got := payload(t, out.Value); got["aud"] != "https://gw.test" || got["ref"] != "refs/heads/dev" {
		t.Errorf("aud %v, ref %v", got["aud"], got["ref"])
	}
	for _, bad := range []string{"", "Bearer", "Bearer x", "bearer " + p.RequestToken(), p.RequestToken()} {
		if a := get(t, p, path, bad); a.status != http.StatusUnauthorized || strings.Contains(a.body, "eyJ") {
			t.Errorf("%q: %d %s", bad, a.status, a.body)
		}
	}
	if n := p.Requests(standin.TokenPath); n != 6 {
		t.Errorf("%d requests", n)
	}
	want := []string{
		"GITHUB_ACTIONS=true",
		"ACTIONS_ID_TOKEN_REQUEST_URL=" + p.TokenURL(),
		"ACTIONS_ID_TOKEN_REQUEST_TOKEN=" + p.RequestToken(),
	}
	if d := cmp.Diff(want, p.Environment()); d != "" {
		t.Error(d)
	}
}

func TestUnknownPathIsRemembered(t *testing.T) {
	p := open(t, nil)
	if a := get(t, p, "/latest/meta-data", ""); a.status != http.StatusNotImplemented {
		t.Errorf("status %d", a.status)
	}
	if d := cmp.Diff([]string{"GET /latest/meta-data"}, p.Unknown()); d != "" {
		t.Error(d)
	}
}

func TestFaults(t *testing.T) {
	p := open(t, nil)
	healthy := get(t, p, standin.KeysPath, "")
	tests := []struct {
		name  string
		fault standin.Fault
		want  func(answer) bool
	}{
		{"none", standin.Fault{}, func(a answer) bool { return a.status == 200 && a.body == healthy.body }},
		{"status", standin.Fault{Status: 503}, func(a answer) bool { return a.status == 503 }},
		{"redirect", standin.Fault{Location: "http://127.0.0.1:1/"}, func(a answer) bool {
			return a.status == 302 && a.header.Get("Location") == "http://127.0.0.1:1/"
		}},
		{"another redirect", standin.Fault{Location: "/x", Status: 307}, func(a answer) bool { return a.status == 307 }},
		{"body", standin.Fault{Body: []byte("{}")}, func(a answer) bool { return a.status == 200 && a.body == "{}" }},
		{"empty body", standin.Fault{Body: []byte{}}, func(a answer) bool { return a.body == "" }},
		{"size", standin.Fault{Size: 1 << 20}, func(a answer) bool {
			return len(a.body) == 1<<20 && strings.TrimRight(a.body, " ") == healthy.body
		}},
		{"header", standin.Fault{Header: http.Header{"Content-Type": {"text/html"}}}, func(a answer) bool {
			return a.header.Get("Content-Type") == "text/html"
		}},
		{"delay", standin.Fault{Delay: time.Millisecond}, func(a answer) bool { return a.body == healthy.body }},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			p.Fail(standin.KeysPath, tt.fault)
			if a := get(t, p, standin.KeysPath, ""); !tt.want(a) {
				t.Errorf("%d %v %.100s", a.status, a.header, a.body)
			}
		})
	}
	for name, f := range map[string]standin.Fault{"hang": {Hang: true}, "long delay": {Delay: time.Hour}} {
		p.Fail(standin.KeysPath, f)
		ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
		if a, err := try(ctx, p, standin.KeysPath, ""); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("%s: %v, %v", name, a, err)
		}
		cancel()
	}
	p.Heal(standin.KeysPath)
	if a := get(t, p, standin.KeysPath, ""); a.body != healthy.body {
		t.Errorf("healed: %s", a.body)
	}
	if n := p.Requests(standin.KeysPath); n != len(tests)+4 {
		t.Errorf("%d requests", n)
	}
}

// Every algorithm that the gateway may meet is truly signed: go-jose verifies it
// with the published key.
func TestSignEveryAlgorithm(t *testing.T) {
	p := open(t, nil)
	for kid, curve := range map[string]elliptic.Curve{"p384": elliptic.P384(), "p521": elliptic.P521()} {
		k, err := ecdsa.GenerateKey(curve, rand.Reader)
		if err != nil {
			t.Fatal(err)
		}
		p.AddKey(standin.Key{KID: kid, Private: k})
	}
	var set jose.JSONWebKeySet
	if err := json.Unmarshal(p.JWKS(), &set); err != nil {
		t.Fatal(err)
	}
	tests := []struct{ key, alg string }{
		{"k1", "RS256"},
		{"k1", "RS384"},
		{"k1", "RS512"},
		{"k1", "PS256"},
		{"k1", "PS384"},
		{"k1", "PS512"},
		{"k2", "ES256"},
		{"p384", "ES384"},
		{"p521", "ES512"},
		{"k3", "EdDSA"},
	}
	for _, tt := range tests {
		t.Run(tt.alg, func(t *testing.T) {
			token, err := p.Sign(standin.JWS{Key: tt.key, Alg: tt.alg, Payload: []byte(`{"a":1}`)})
			if err != nil {
				t.Fatal(err)
			}
			jws, err := jose.ParseSignedCompact(token, []jose.SignatureAlgorithm{jose.SignatureAlgorithm(tt.alg)})
			if err != nil {
				t.Fatal(err)
			}
			got, err := jws.Verify(set.Key(tt.key)[0].Key)
			if err != nil || string(got) != `{"a":1}` {
				t.Errorf("%s, %v", got, err)
			}
		})
	}
	secret := []byte("public key as an HMAC secret, as attackers do")
	token, err := p.Sign(standin.JWS{Alg: "HS256", Secret: secret, Payload: []byte(`{}`)})
	if err != nil {
		t.Fatal(err)
	}
	jws, err := jose.ParseSignedCompact(token, []jose.SignatureAlgorithm{jose.HS256})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := jws.Verify(secret); err != nil {
		t.Error(err)
	}
	for _, alg := range []string{"none", "nOnE"} {
		if token, err := p.Sign(standin.JWS{Alg: alg, Payload: []byte(`{}`)}); err != nil || !strings.HasSuffix(token, ".") {
			t.Errorf("%s: %s, %v", alg, token, err)
		}
	}
	for _, j := range []standin.JWS{{Key: "nobody"}, {Key: "k2", Alg: "RS256"}, {Key: "k1", Alg: "ES256"}, {Key: "k3", Alg: "PS256"}, {Alg: "RS1"}, {Alg: "RS999"}, {Alg: "XX256"}} {
		if token, err := p.Sign(j); err == nil {
			t.Errorf("%+v: %s", j, token)
		}
	}
	header := []byte(`{"alg":"RS256","alg":"none"}`)
	if token, err = p.Sign(standin.JWS{Header: header, Payload: []byte("\xff")}); err != nil || !strings.HasPrefix(token, base64.RawURLEncoding.EncodeToString(header)+"._w.") {
		t.Errorf("bytes as they are: %s, %v", token, err)
	}
}

func TestMalleate(t *testing.T) {
	p := open(t, nil)
	token, err := p.Sign(standin.JWS{Key: "k2", Payload: []byte(`{}`)})
	if err != nil {
		t.Fatal(err)
	}
	twin, err := p.Malleate("k2", token)
	if err != nil || twin == token {
		t.Fatalf("%s, %v", twin, err)
	}
	for _, s := range []string{token, twin} {
		jws, err := jose.ParseSignedCompact(s, []jose.SignatureAlgorithm{jose.ES256})
		if err != nil {
			t.Fatal(err)
		}
		if _, err := jws.Verify(keys()[1].Private.Public()); err != nil {
			t.Error(err)
		}
	}
	if _, err := p.Malleate("k1", token); err == nil {
		t.Error("malleated with an RSA key")
	}
}

// verify is RSASSA-PKCS1-v1_5 by hand: the standard library takes no weak key.
func verify(n *big.Int, e int, digest, sig []byte) bool {
	em := new(big.Int).Exp(new(big.Int).SetBytes(sig), big.NewInt(int64(e)), n).FillBytes(make([]byte, len(sig)))
	return em[0] == 0 && em[1] == 1 && bytes.HasSuffix(em, append([]byte{0x05, 0x00, 0x04, 0x20}, digest...))
}

func TestWeakRSA(t *testing.T) {
	digest := sha256.Sum256([]byte("x"))
	tests := []struct {
		name     string
		bits, e  int
		even, ok bool
	}{
		{"512", 512, 65537, false, true},
		{"1024", 1024, 65537, false, true},
		{"2047", 2047, 65537, false, true},
		{"e=1", 2048, 1, false, true},
		{"e=3", 1024, 3, false, true},
		{"even", 1024, 3, true, true},
		{"16384", 16384, 65537, false, true},
		{"even exponent", 1024, 2, false, false},
		{"tiny", 8, 3, false, false},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			k, err := standin.NewWeakRSA(rand.Reader, tt.bits, tt.e, tt.even)
			if (err == nil) != tt.ok {
				t.Fatal(err)
			}
			if err != nil {
				return
			}
			if k.N.BitLen() != tt.bits || (k.N.Bit(0) == 0) != tt.even {
				t.Errorf("%d bits, last bit %d", k.N.BitLen(), k.N.Bit(0))
			}
			sig, err := k.Sign(rand.Reader, digest[:], crypto.SHA256)
			if err != nil {
				t.Fatal(err)
			}
			if !verify(k.N, k.E, digest[:], sig) {
				t.Error("the signature does not verify")
			}
			if verify(k.N, k.E, append([]byte{1}, digest[1:]...), sig) {
				t.Error("the signature verifies for another digest")
			}
		})
	}
	// Where both can, the standard library agrees with us.
	k, err := standin.NewWeakRSA(rand.Reader, 2048, 65537, false)
	if err != nil {
		t.Fatal(err)
	}
	sig, err := k.Sign(rand.Reader, digest[:], crypto.SHA256)
	if err != nil {
		t.Fatal(err)
	}
	if err := rsa.VerifyPKCS1v15(&rsa.PublicKey{N: k.N, E: k.E}, crypto.SHA256, digest[:], sig); err != nil {
		t.Error(err)
	}
	p := open(t, nil)
	p.AddKey(standin.Key{KID: "weak", Private: k, Members: map[string]any{"alg": nil, "x": "y"}})
	p.AddKey(standin.Key{KID: "secret", Private: k, Hidden: true})
	set := get(t, p, standin.KeysPath, "").body
	if !strings.Contains(set, `"weak"`) || !strings.Contains(set, `"x":"y"`) || strings.Contains(set, `"secret"`) {
		t.Error(set)
	}
	if _, err := p.Sign(standin.JWS{Key: "secret"}); err != nil {
		t.Errorf("a hidden key does not sign: %v", err)
	}
}

func TestTLS(t *testing.T) {
	tests := []struct {
		name string
		tls  standin.TLS
		ok   bool
	}{
		{"fine", standin.TLS{}, true},
		{"wrong host", standin.TLS{Hosts: []string{"other.test"}}, false},
		{"expired", standin.TLS{Expired: true}, false},
		{"TLS 1.1", standin.TLS{MaxVersion: tls.VersionTLS11}, false},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			p := open(t, func(c *standin.Config) { c.TLS = &tt.tls })
			if !strings.HasPrefix(p.URL(), "https://127.0.0.1:") {
				t.Errorf("URL %s", p.URL())
			}
			a, err := try(t.Context(), p, standin.DiscoveryPath, "")
			if (err == nil) != tt.ok {
				t.Errorf("%v, %v", a, err)
			}
		})
	}
}

func TestTokensDiffer(t *testing.T) {
	p := open(t, nil)
	seen := make(map[any]bool)
	for _, token := range p.Tokens(20) {
		seen[payload(t, token)["jti"]] = true
	}
	if len(seen) != 20 {
		t.Errorf("%d different jti of 20", len(seen))
	}
}

func TestNewNeedsAClock(t *testing.T) {
	if _, err := standin.New(standin.Config{Rand: rand.Reader}); err == nil {
		t.Error("no clock")
	}
	if _, err := standin.New(standin.Config{Now: time.Now}); err == nil {
		t.Error("no randomness")
	}
}

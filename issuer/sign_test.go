package issuer_test

import (
	"bytes"
	"crypto"
	"crypto/ecdsa"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"errors"
	"io"
	"math"
	"strings"
	"testing"
	"time"
	"unicode/utf8"

	"github.com/google/go-cmp/cmp"

	"cambio/issuer"
)

func TestSignClaims(t *testing.T) {
	i := open(t, ring())
	base := func() map[string]any {
		return map[string]any{
			"iss": url, "sub": "spiffe://id.acme.example/github/1/2", "aud": "https://orders.acme.example",
			"exp": json.Number("1788264900"), "iat": json.Number("1788264000"), "nbf": json.Number("1788263970"),
			"jti": "AAAAAAAAAAAAAAAAAAAAAA", "scope": "orders:read",
		}
	}
	tests := []struct {
		name   string
		change func(*issuer.Claims)
		want   func(header, payload map[string]any)
	}{
		{name: "usual"},
		{name: "no scope", change: func(c *issuer.Claims) { c.Scope = "" }, want: func(_, p map[string]any) { delete(p, "scope") }},
		{name: "access token", change: func(c *issuer.Claims) {
			c.Type, c.ClientID = issuer.AccessToken, "spiffe://id.acme.example/github/1/2"
		}, want: func(h, p map[string]any) {
			h["typ"], p["client_id"] = "at+jwt", "spiffe://id.acme.example/github/1/2"
		}},
		{name: "parts of a second are cut", change: func(c *issuer.Claims) {
			c.IssuedAt, c.Expires = c.IssuedAt.Add(999*time.Millisecond), c.Expires.Add(time.Nanosecond)
		}},
		{name: "extra", change: func(c *issuer.Claims) {
			c.Extra = map[string]any{
				"repo": "acme/app \"<>\u2028\x00\n\\", "run": int64(math.MaxInt64), "n": 7, "f": 0.5, "u": uint64(math.MaxUint64),
				"ok": true, "none": nil, "teams": []string{"a", "b"}, "mixed": []any{"a", json.Number("1e3"), map[string]any{"b": false, "a": nil}},
			}
		}, want: func(_, p map[string]any) {
			p["repo"], p["run"], p["n"], p["f"], p["u"] = "acme/app \"<>\u2028\x00\n\\", json.Number("9223372036854775807"), json.Number("7"), json.Number("0.5"), json.Number("18446744073709551615")
			p["ok"], p["none"], p["teams"] = true, nil, []any{"a", "b"}
			p["mixed"] = []any{"a", json.Number("1e3"), map[string]any{"b": false, "a": nil}}
		}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			for _, alg := range []issuer.Alg{issuer.RS256, issuer.ES256} {
				c := claims(start)
				if tt.change != nil {
					tt.change(&c)
				}
				token, err := i.Sign(alg, c)
				if err != nil {
					t.Fatal(err)
				}
				header, payload := segments(t, token)
				wantHeader := map[string]any{"alg": string(alg), "kid": key(t, ring(), alg, issuer.Active).KID, "typ": "JWT"}
				wantPayload := base()
				if tt.want != nil {
					tt.want(wantHeader, wantPayload)
				}
				if d := cmp.Diff(wantHeader, header); d != "" {
					t.Error(d)
				}
				if d := cmp.Diff(wantPayload, payload); d != "" {
					t.Error(d)
				}
			}
		})
	}
}

func TestSignRefuses(t *testing.T) {
	i := open(t, ring())
	deep := any("x")
	for range 9 {
		deep = []any{deep}
	}
	extra := func(v any) func(*issuer.Claims) {
		return func(c *issuer.Claims) { c.Extra = map[string]any{"x": v} }
	}
	tests := map[string]func(*issuer.Claims){
		"nothing":                      func(c *issuer.Claims) { *c = issuer.Claims{} },
		"no type":                      func(c *issuer.Claims) { c.Type = "" },
		"another type":                 func(c *issuer.Claims) { c.Type = "JOSE" },
		"no subject":                   func(c *issuer.Claims) { c.Subject = "" },
		"no audience":                  func(c *issuer.Claims) { c.Audience = "" },
		"no jti":                       func(c *issuer.Claims) { c.ID = "" },
		"no iat":                       func(c *issuer.Claims) { c.IssuedAt = time.Time{} },
		"no exp":                       func(c *issuer.Claims) { c.Expires = time.Time{} },
		"no life":                      func(c *issuer.Claims) { c.Expires = c.IssuedAt },
		"above an hour":                func(c *issuer.Claims) { c.Expires = c.IssuedAt.Add(time.Hour + time.Second) },
		"for ever":                     func(c *issuer.Claims) { c.Expires = time.Unix(math.MaxInt64, 0) },
		"client_id of a JWT":           func(c *issuer.Claims) { c.ClientID = "x" },
		"access token without":         func(c *issuer.Claims) { c.Type = issuer.AccessToken },
		"subject not UTF-8":            func(c *issuer.Claims) { c.Subject = "a\xff" },
		"subject too long":             func(c *issuer.Claims) { c.Subject = strings.Repeat("a", 9<<10) },
		"together too long":            func(c *issuer.Claims) { c.Subject, c.Scope = strings.Repeat("a", 5<<10), strings.Repeat("b", 5<<10) },
		"extra not UTF-8":              extra("a\xff"),
		"extra name not UTF-8":         func(c *issuer.Claims) { c.Extra = map[string]any{"a\xff": 1} },
		"extra without a name":         func(c *issuer.Claims) { c.Extra = map[string]any{"": 1} },
		"extra too long":               extra(strings.Repeat("a", 9<<10)),
		"extra too deep":               extra(deep),
		"extra too many":               extra(make([]any, 5<<10)),
		"extra NaN":                    extra(math.NaN()),
		"extra infinite":               extra(math.Inf(1)),
		"extra an empty number":        extra(json.Number("")),
		"extra no number":              extra(json.Number("1,\"iss\":2")),
		"extra a number without end":   extra(json.Number(strings.Repeat("1", 33))),
		"extra of a type of its own":   extra(struct{}{}),
		"extra that renders itself":    extra(json.RawMessage(`1,"sub":"x"`)),
		"extra nested, not UTF-8":      extra(map[string]any{"a": []any{"\xff"}}),
		"extra nested name, not UTF-8": extra(map[string]any{"\xff": 1}),
	}
	for _, name := range []string{
		"iss", "sub", "aud", "exp", "iat", "nbf", "jti", "scope", "client_id", "scp", "azp", "act", "may_act", "cnf",
		"nonce", "auth_time", "acr", "amr", "at_hash", "c_hash", "sid", "events", "sub_id",
	} {
		tests["reserved "+name] = func(c *issuer.Claims) { c.Extra = map[string]any{name: "x"} }
		if !issuer.ReservedClaim(name) {
			t.Errorf("%s is not reserved", name)
		}
	}
	if issuer.ReservedClaim("repository") {
		t.Error("repository is reserved")
	}
	for name, change := range tests {
		t.Run(name, func(t *testing.T) {
			c := claims(start)
			change(&c)
			token, err := i.Sign(issuer.ES256, c)
			if !errors.Is(err, issuer.ErrClaims) || token != "" {
				t.Errorf("%q, %v", token, err)
			}
		})
	}
	if _, err := i.Sign("EdDSA", claims(start)); !errors.Is(err, issuer.ErrClaims) {
		t.Errorf("EdDSA: %v", err)
	}
	c := claims(start)
	c.Expires = c.IssuedAt.Add(time.Hour)
	if _, err := i.Sign(issuer.ES256, c); err != nil {
		t.Errorf("an hour: %v", err)
	}
}

// kms is a signer outside the process: it may fail, or sign wrongly.
type kms struct {
	crypto.Signer
	answer func(sig []byte) ([]byte, error)
}

func (k kms) Sign(r io.Reader, digest []byte, opts crypto.SignerOpts) ([]byte, error) {
	sig, err := k.Signer.Sign(r, digest, opts)
	if err != nil {
		return nil, err
	}
	return k.answer(sig)
}

func TestSignOutsideTheProcess(t *testing.T) {
	down := errors.New("down")
	tests := []struct {
		name   string
		answer func([]byte) ([]byte, error)
		ok     bool
	}{
		{"right", func(b []byte) ([]byte, error) { return b, nil }, true},
		{"down", func([]byte) ([]byte, error) { return nil, down }, false},
		{"wrong", func(b []byte) ([]byte, error) { b[len(b)-1] ^= 1; return b, nil }, false},
		{"cut", func(b []byte) ([]byte, error) { return b[:len(b)-1], nil }, false},
		{"empty", func([]byte) ([]byte, error) { return nil, nil }, false},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			r := ring()
			for n := range r.Keys {
				r.Keys[n].Signer = kms{r.Keys[n].Signer, tt.answer}
			}
			i := open(t, r)
			for _, alg := range []issuer.Alg{issuer.RS256, issuer.ES256} {
				token, err := i.Sign(alg, claims(start))
				if (err == nil) != tt.ok || (token != "") != tt.ok {
					t.Errorf("%s: %q, %v", alg, token, err)
				}
				if errors.Is(err, issuer.ErrClaims) {
					t.Errorf("%s: blames the claims: %v", alg, err)
				}
			}
			if _, _, err := i.SignCheckpoint([]byte("checkpoint\n1")); (err == nil) != tt.ok {
				t.Errorf("checkpoint: %v", err)
			}
		})
	}
}

func TestSignCheckpoint(t *testing.T) {
	i := open(t, ring())
	text := []byte("cambio journal checkpoint 1\nseq 7\n")
	kid, sig, err := i.SignCheckpoint(text)
	if err != nil {
		t.Fatal(err)
	}
	k := key(t, ring(), issuer.ES256, issuer.Active)
	sum := sha256.Sum256(text)
	if kid != k.KID || !ecdsa.VerifyASN1(k.Signer.Public().(*ecdsa.PublicKey), sum[:], sig) {
		t.Errorf("kid %s: the signature does not verify", kid)
	}
	token, err := i.Sign(issuer.ES256, claims(start))
	if err != nil {
		t.Fatal(err)
	}
	for _, text := range []string{"", "abc", token[:strings.LastIndexByte(token, '.')]} {
		if _, _, err := i.SignCheckpoint([]byte(text)); !errors.Is(err, issuer.ErrClaims) {
			t.Errorf("signed %.20q as a checkpoint: %v", text, err)
		}
	}
}

// Whatever the strings, the payload parses back to the same values and has every
// member once; or Sign refuses.
func FuzzSignClaims(f *testing.F) {
	i := open(f, ring())
	f.Add("spiffe://a/b", "https://x", "read", "repo", "acme/app", int64(1), 0.5)
	f.Add("\x00\"\\", "\u2028</script>", "\x7f", "a\"b", "\n", int64(-1), 1e300)
	f.Add("\xff", "é", "", "iss", "\xed\xa0\x80", int64(math.MinInt64), math.SmallestNonzeroFloat64)
	f.Fuzz(func(t *testing.T, sub, aud, scope, name, value string, n int64, x float64) {
		c := claims(start)
		c.Subject, c.Audience, c.Scope = sub, aud, scope
		c.Extra = map[string]any{name: value, "z_n": n, "z_x": x, "z_list": []any{value, map[string]any{value: name}}}
		token, err := i.Sign(issuer.ES256, c)
		if err != nil {
			if !errors.Is(err, issuer.ErrClaims) || token != "" {
				t.Fatalf("%q, %v", token, err)
			}
			return
		}
		for _, s := range []string{sub, aud, scope, name, value} {
			if !utf8.ValidString(s) {
				t.Fatalf("signed %q", s)
			}
		}
		_, got := segments(t, token)
		want := map[string]any{"sub": sub, "aud": aud, "z_list": []any{value, map[string]any{value: name}}}
		if scope != "" {
			want["scope"] = scope
		}
		if !strings.HasPrefix(name, "z_") {
			want[name] = value
		}
		for k, v := range want {
			if d := cmp.Diff(v, got[k]); d != "" {
				t.Errorf("%s: %s", k, d)
			}
		}
		if y, err := got["z_x"].(json.Number).Float64(); name != "z_x" && (err != nil || y != x) {
			t.Errorf("%v became %v", x, got["z_x"])
		}
		if m, err := got["z_n"].(json.Number).Int64(); name != "z_n" && (err != nil || m != n) {
			t.Errorf("%v became %v", n, got["z_n"])
		}
		if once := members(t, token); once != len(got) {
			t.Errorf("%d members, %d of them different", once, len(got))
		}
	})
}

// members counts the members of the payload, repeated ones too.
func members(t *testing.T, token string) int {
	t.Helper()
	raw, err := base64.RawURLEncoding.DecodeString(strings.Split(token, ".")[1])
	if err != nil {
		t.Fatal(err)
	}
	d := json.NewDecoder(bytes.NewReader(raw))
	n, depth, expectName := 0, 0, false
	for {
		tok, err := d.Token()
		if errors.Is(err, io.EOF) {
			return n
		}
		if err != nil {
			t.Fatal(err)
		}
		switch tok {
		case json.Delim('{'), json.Delim('['):
			depth++
			expectName = depth == 1
			continue
		case json.Delim('}'), json.Delim(']'):
			depth--
			expectName = depth == 1
			continue
		}
		if depth == 1 {
			if expectName {
				n++
			}
			expectName = !expectName
		}
	}
}

func BenchmarkSign(b *testing.B) {
	r := ring()
	i := open(b, r)
	c := claims(start)
	es := key(b, r, issuer.ES256, issuer.Active).Signer
	rs := key(b, r, issuer.RS256, issuer.Active).Signer.(*rsa.PrivateKey)
	sum := sha256.Sum256([]byte("x"))
	b.Run("ES256", func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			if _, err := i.Sign(issuer.ES256, c); err != nil {
				b.Fatal(err)
			}
		}
	})
	b.Run("ES256/bare", func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			if _, err := es.Sign(rand.Reader, sum[:], crypto.SHA256); err != nil {
				b.Fatal(err)
			}
		}
	})
	b.Run("RS256", func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			if _, err := i.Sign(issuer.RS256, c); err != nil {
				b.Fatal(err)
			}
		}
	})
	b.Run("RS256/bare", func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			if _, err := rs.Sign(rand.Reader, sum[:], crypto.SHA256); err != nil {
				b.Fatal(err)
			}
		}
	})
}

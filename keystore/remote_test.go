package keystore_test

import (
	"context"
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"cambio/issuer"
	"cambio/keystore"
	"cambio/test/kmsrig"
)

// TestMain gives the SDK's default chain the stand-in's credentials, and nothing
// of the machine that the tests run on.
func TestMain(m *testing.M) {
	for name, value := range (&kmsrig.AWS{}).Environment() {
		if err := os.Setenv(name, value); err != nil {
			panic(err)
		}
	}
	os.Exit(m.Run())
}

var rsaKey = sync.OnceValue(func() *rsa.PrivateKey {
	k, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		panic(err)
	}
	return k
})

func ecKey(t testing.TB, curve elliptic.Curve) *ecdsa.PrivateKey {
	t.Helper()
	k, err := ecdsa.GenerateKey(curve, rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	return k
}

// kms is either stand-in.
type kms interface {
	Add(k crypto.Signer) string
	Lie(kmsrig.Lie)
	Calls(operation string) int
	Connections() int
	Faults() []string
	Close()
}

// clouds are the two stand-ins, each with a store that reaches it.
func clouds(t *testing.T, run func(t *testing.T, k kms, f *keystore.Files, dir string)) {
	t.Helper()
	for _, name := range []string{"aws", "google"} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			f, dir, _ := store(t)
			run(t, standIn(t, name, f), f, dir)
		})
	}
}

func standIn(t testing.TB, name string, f *keystore.Files) kms {
	t.Helper()
	var k kms
	if name == "aws" {
		k = kmsrig.NewAWS()
	} else {
		g := kmsrig.NewGoogle()
		f.UseGoogle(g.URL())
		k = g
	}
	t.Cleanup(func() {
		k.Close()
		if faults := k.Faults(); len(faults) > 0 {
			t.Errorf("the stand-in was asked: %q", faults)
		}
	})
	return k
}

// operation is what each stand-in calls signing and the public key.
func operation(k kms) (sign, public string) {
	if _, ok := k.(*kmsrig.AWS); ok {
		return "Sign", "GetPublicKey"
	}
	return "asymmetricSign", "publicKey"
}

// imported puts a key in the store and lets it sign for its algorithm. That is a
// rotation that makes no new keys: RSA keys are slow to make.
func imported(t testing.TB, f *keystore.Files, uri string) issuer.Ring {
	t.Helper()
	if _, _, err := f.Import(context.Background(), uri, start, rand.Reader); err != nil {
		t.Fatal(err)
	}
	ring, err := f.Update(context.Background(), func(r issuer.Ring) (issuer.Ring, error) {
		for _, imported := range r.Keys {
			if imported.InSoftware() {
				continue
			}
			for i, k := range r.Keys {
				switch {
				case k.KID == imported.KID:
					r.Keys[i].State, r.Keys[i].Activated = issuer.Active, start
				case k.Alg == imported.Alg && k.State == issuer.Active:
					r.Keys[i].State, r.Keys[i].Retired = issuer.Retired, start
				}
			}
		}
		return r, nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return ring
}

func speak(t testing.TB, r issuer.Ring) *issuer.Issuer {
	t.Helper()
	i, err := issuer.New(issuer.Config{URL: "https://id.acme.example", Now: func() time.Time { return start }, Rand: rand.Reader}, r)
	if err != nil {
		t.Fatal(err)
	}
	return i
}

func claims() issuer.Claims {
	return issuer.Claims{
		Type: issuer.JWT, Subject: "spiffe://id.acme.example/github/1/2", Audience: "https://orders.acme.example",
		IssuedAt: start, Expires: start.Add(time.Minute), ID: "0123456789012345678901",
	}
}

func TestImportAndSign(t *testing.T) {
	clouds(t, func(t *testing.T, k kms, f *keystore.Files, dir string) {
		t.Helper()
		sign, public := operation(k)
		for _, c := range []struct {
			alg issuer.Alg
			key crypto.Signer
		}{{issuer.RS256, rsaKey()}, {issuer.ES256, ecKey(t, elliptic.P256())}} {
			uri := k.Add(c.key)
			ring, key, err := f.Import(t.Context(), uri, start, rand.Reader)
			if err != nil {
				t.Fatal(err)
			}
			if key.Alg != c.alg || key.State != issuer.Next || key.InSoftware() || len(ring.Keys) != 4 {
				t.Errorf("imported %+v of %d", key, len(ring.Keys))
			}
			if _, _, err := f.Import(t.Context(), uri, start, rand.Reader); !errors.Is(err, issuer.ErrRing) {
				t.Errorf("twice: %v", err)
			}
		}
		var soon *keystore.TooSoonError
		if _, err := f.Rotate(t.Context(), start.Add(time.Hour), rand.Reader, false); !errors.As(err, &soon) {
			t.Errorf("too soon: %v", err)
		}
		at := start.Add(24 * time.Hour)
		ring, err := f.Rotate(t.Context(), at, rand.Reader, false)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := f.Rotate(t.Context(), at, rand.Reader, true); !errors.Is(err, keystore.ErrNoNext) {
			t.Errorf("again, without a next key: %v", err)
		}

		// A replica loads the same ring and calls nobody for that.
		asked, signed := k.Calls(public), k.Calls(sign)
		replica := keystore.NewFiles(dir, slog.New(slog.DiscardHandler))
		if g, ok := k.(*kmsrig.Google); ok {
			replica.UseGoogle(g.URL())
		}
		loaded, err := replica.Load(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		if d := cmp.Diff(summary(ring), summary(loaded)); d != "" {
			t.Error(d)
		}
		if k.Calls(public) != asked || k.Calls(sign) != signed {
			t.Error("a load calls the KMS")
		}

		// What it signs was verified by the issuer before it left; connections are kept.
		before, i := k.Connections(), speak(t, loaded)
		for range 5 {
			for _, alg := range []issuer.Alg{issuer.RS256, issuer.ES256} {
				if _, err := i.Sign(alg, claims()); err != nil {
					t.Fatal(err)
				}
			}
		}
		if _, _, err := i.SignCheckpoint([]byte("checkpoint\n1")); err != nil {
			t.Error(err)
		}
		if n := k.Connections() - before; n != 1 {
			t.Errorf("%d connections for 11 signatures", n)
		}
		if n := k.Calls(sign) - signed; n != 11 {
			t.Errorf("%d calls for 11 signatures", n)
		}
		if g, ok := k.(*kmsrig.Google); ok {
			if n := g.Calls("token"); n > 2 { // one for each store
				t.Errorf("%d tokens were asked for", n)
			}
		}
		for _, row := range keystore.Rows(loaded) {
			if (row.State == "active") != (row.Signer != "") {
				t.Errorf("row %+v", row)
			}
		}
		for _, key := range loaded.Keys {
			if err := keystore.Probe(key); err != nil {
				t.Error(err)
			}
		}
		// It is written as it was read, and the new format says so.
		if err := replica.Save(t.Context(), loaded); err != nil {
			t.Fatal(err)
		}
		raw, err := os.ReadFile(filepath.Join(dir, "keys.json"))
		if err != nil || !strings.Contains(string(raw), `"format": 2`) {
			t.Errorf("%v: %s", err, raw)
		}
	})
}

// A KMS that fails or lies gives an error within its time, and never a token.
func TestLies(t *testing.T) {
	other := ecKey(t, elliptic.P256())
	asOther := func(w http.ResponseWriter, r *http.Request, right http.HandlerFunc, change func(body map[string]any)) {
		rec := httptest.NewRecorder()
		right(rec, r)
		var body map[string]any
		if err := json.Unmarshal(rec.Body.Bytes(), &body); err != nil {
			http.Error(w, err.Error(), http.StatusNotImplemented)
			return
		}
		change(body)
		w.Header()["Metadata-Flavor"] = rec.Header()["Metadata-Flavor"]
		_ = json.NewEncoder(w).Encode(body) //nolint:errchkjson // the test fails for want of an answer
	}
	status := func(code, times int, text string) func() kmsrig.Lie {
		return func() kmsrig.Lie {
			left := times
			var mu sync.Mutex
			return func(_ string, w http.ResponseWriter, r *http.Request, right http.HandlerFunc) {
				mu.Lock()
				defer mu.Unlock()
				if left == 0 {
					right(w, r)
					return
				}
				left--
				w.Header().Set("Location", "/elsewhere")
				http.Error(w, text, code)
			}
		}
	}
	change := func(f func(map[string]any)) func() kmsrig.Lie {
		return func() kmsrig.Lie {
			return func(_ string, w http.ResponseWriter, r *http.Request, right http.HandlerFunc) {
				asOther(w, r, right, f)
			}
		}
	}
	const secret = "tell-nobody-0123"
	signature := func(sig []byte) func(map[string]any) {
		return func(body map[string]any) {
			for _, name := range []string{"Signature", "signature"} {
				if body[name] != nil {
					body[name] = sig
				}
			}
			if body["signatureCrc32c"] != nil {
				body["signatureCrc32c"] = kmsrig.CRC(sig)
			}
		}
	}
	foreign, err := other.Sign(rand.Reader, make([]byte, 32), crypto.SHA256)
	if err != nil {
		t.Fatal(err)
	}
	tests := []struct {
		name  string
		lie   func() kmsrig.Lie
		ok    bool
		calls int // of signing
	}{
		{"the truth", func() kmsrig.Lie { return nil }, true, 1},
		{"another key's signature", change(signature(foreign)), false, 1},
		{"no signature", change(signature([]byte{})), false, 1},
		{"null", change(signature(nil)), false, 1},
		{"a changed signature", change(func(b map[string]any) {
			for _, name := range []string{"Signature", "signature"} {
				if s, ok := b[name].(string); ok {
					b[name] = s[:8] + "AAAA" + s[12:]
				}
			}
		}), false, 1},
		{"another key's name", change(func(b map[string]any) {
			for _, name := range []string{"KeyId", "name"} {
				if s, ok := b[name].(string); ok {
					b[name] = s + "1"
				}
			}
		}), false, 1},
		{"nothing of what it must say", change(func(b map[string]any) {
			delete(b, "SigningAlgorithm")
			delete(b, "verifiedDigestCrc32c")
		}), false, 1},
		{"half an answer", func() kmsrig.Lie {
			return func(_ string, w http.ResponseWriter, _ *http.Request, _ http.HandlerFunc) {
				w.Header().Set("Content-Length", "500")
				_, _ = w.Write([]byte(`{"KeyId":"`))
			}
		}, false, 2},
		{"no JSON", func() kmsrig.Lie {
			return func(_ string, w http.ResponseWriter, _ *http.Request, _ http.HandlerFunc) {
				_, _ = w.Write([]byte("{"))
			}
		}, false, 1},
		{"10 MB", func() kmsrig.Lie {
			return func(_ string, w http.ResponseWriter, _ *http.Request, _ http.HandlerFunc) {
				for range 10 {
					_, _ = w.Write(make([]byte, 1<<20))
				}
			}
		}, false, 2},
		{"10 MB with an error", func() kmsrig.Lie {
			return func(_ string, w http.ResponseWriter, _ *http.Request, _ http.HandlerFunc) {
				w.WriteHeader(http.StatusForbidden)
				for range 10 {
					_, _ = w.Write(make([]byte, 1<<20))
				}
			}
		}, false, 2},
		{"429 once", status(429, 1, ""), true, 2},
		{"429 always", status(429, -1, ""), false, 2},
		{"500 once", status(500, 1, "<html>"), true, 2},
		{"503 always", status(503, -1, secret), false, 2},
		{"a redirect", status(307, -1, ""), false, 1},
		{"403", status(403, -1, `{"__type":"com.amazonaws.kms#AccessDeniedException","message":"`+secret+`","error":{"status":"PERMISSION_DENIED"}}`), false, 1},
		{"an error of text", status(400, -1, `{"__type":"`+secret+`","error":{"status":"`+secret+`"}}`), false, 1},
		{"a closed connection", func() kmsrig.Lie {
			return func(_ string, _ http.ResponseWriter, _ *http.Request, _ http.HandlerFunc) {
				panic(http.ErrAbortHandler)
			}
		}, false, 2},
		{"silence", func() kmsrig.Lie {
			return func(_ string, _ http.ResponseWriter, r *http.Request, _ http.HandlerFunc) { <-r.Context().Done() }
		}, false, 2},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			clouds(t, func(t *testing.T, k kms, f *keystore.Files, _ string) {
				t.Helper()
				i := speak(t, imported(t, f, k.Add(ecKey(t, elliptic.P256()))))
				sign, _ := operation(k)
				before := k.Calls(sign)
				k.Lie(tt.lie())
				begin := time.Now()
				token, err := i.Sign(issuer.ES256, claims())
				if took := time.Since(begin); took > 3*time.Second {
					t.Errorf("it took %v", took)
				}
				if (err == nil) != tt.ok || (token != "") != tt.ok {
					t.Errorf("%q, %v", token, err)
				}
				if err != nil && (strings.Contains(err.Error(), secret) || errors.Is(err, issuer.ErrClaims)) {
					t.Errorf("the error: %v", err)
				}
				if n := k.Calls(sign) - before; n != tt.calls {
					t.Errorf("%d calls, want %d", n, tt.calls)
				}
				// It is well again with the KMS, without a restart.
				k.Lie(nil)
				if _, err := i.Sign(issuer.ES256, claims()); err != nil {
					t.Errorf("after it: %v", err)
				}
			})
		})
	}
}

// The algorithms and limits that are ours, and no others.
func TestRemoteSignsDigestsOnly(t *testing.T) {
	f, _, _ := store(t)
	k := standIn(t, "aws", f)
	ring := imported(t, f, k.Add(rsaKey()))
	for _, key := range ring.Keys {
		if key.InSoftware() {
			continue
		}
		before := k.Calls("Sign")
		for name, c := range map[string]struct {
			digest []byte
			opts   crypto.SignerOpts
		}{
			"SHA-512": {make([]byte, 64), crypto.SHA512}, "short": {make([]byte, 31), crypto.SHA256}, "long": {make([]byte, 33), crypto.SHA256},
			"nothing": {nil, crypto.SHA256}, "no options": {make([]byte, 32), nil}, "PSS": {make([]byte, 32), &rsa.PSSOptions{Hash: crypto.SHA256}},
		} {
			if sig, err := key.Signer.Sign(rand.Reader, c.digest, c.opts); !errors.Is(err, keystore.ErrSigner) || sig != nil {
				t.Errorf("%s: %v, %v", name, sig, err)
			}
		}
		if k.Calls("Sign") != before {
			t.Error("the KMS was called")
		}
	}
}

func TestImportRefuses(t *testing.T) {
	weak, err := rsa.GenerateKey(rand.Reader, 1024)
	if err != nil {
		t.Fatal(err)
	}
	clouds(t, func(t *testing.T, k kms, f *keystore.Files, dir string) {
		t.Helper()
		sign, public := operation(k)
		good := ecKey(t, elliptic.P256())
		before, err := os.ReadFile(filepath.Join(dir, "keys.json"))
		if err != nil {
			t.Fatal(err)
		}
		lie := func(of string, f func(map[string]any)) kmsrig.Lie {
			return func(operation string, w http.ResponseWriter, r *http.Request, right http.HandlerFunc) {
				if operation != of {
					right(w, r)
					return
				}
				rec := httptest.NewRecorder()
				right(rec, r)
				var body map[string]any
				if err := json.Unmarshal(rec.Body.Bytes(), &body); err == nil {
					f(body)
				}
				_ = json.NewEncoder(w).Encode(body)
			}
		}
		for name, c := range map[string]struct {
			key crypto.Signer
			lie kmsrig.Lie
		}{
			"P-384":    {key: ecKey(t, elliptic.P384())},
			"RSA 1024": {key: weak},
			"another key's name": {key: good, lie: lie(public, func(b map[string]any) {
				b["KeyId"], b["name"] = "arn:aws:kms:eu-central-1:111122223333:key/00000000-0000-0000-0000-000000000000", "projects/x"
			})},
			"another use": {key: good, lie: lie(public, func(b map[string]any) {
				b["KeyUsage"], b["algorithm"] = "ENCRYPT_DECRYPT", "RSA_DECRYPT_OAEP_2048_SHA256"
			})},
			"another scheme": {key: good, lie: lie(public, func(b map[string]any) {
				b["SigningAlgorithms"], b["algorithm"] = []string{"RSASSA_PSS_SHA_256"}, "RSA_SIGN_PSS_2048_SHA256"
			})},
			"a damaged key": {key: good, lie: lie(public, func(b map[string]any) { b["PublicKey"], b["pem"] = []byte{0x30}, "-----BEGIN" })},
			"a key that does not sign": {key: good, lie: func(operation string, w http.ResponseWriter, r *http.Request, right http.HandlerFunc) {
				if operation == sign {
					http.Error(w, "{}", http.StatusForbidden)
					return
				}
				right(w, r)
			}},
			"another key signs": {key: good, lie: lie(sign, func(b map[string]any) {
				sig, err := ecKey(t, elliptic.P256()).Sign(rand.Reader, make([]byte, 32), crypto.SHA256)
				if err != nil {
					t.Error(err)
				}
				b["Signature"], b["signature"], b["signatureCrc32c"] = sig, sig, kmsrig.CRC(sig)
			})},
		} {
			uri := k.Add(c.key)
			k.Lie(c.lie)
			if _, _, err := f.Import(t.Context(), uri, start, rand.Reader); !errors.Is(err, keystore.ErrSigner) && !errors.Is(err, issuer.ErrWeakKey) {
				t.Errorf("%s: %v", name, err)
			}
		}
		k.Lie(nil)
		// A URI of nobody.
		if _, _, err := f.Import(t.Context(), strings.Replace(k.Add(good), "1234abcd", "1234abce", 1)+"9", start, rand.Reader); !errors.Is(err, keystore.ErrSigner) {
			t.Errorf("an unknown key: %v", err)
		}
		after, err := os.ReadFile(filepath.Join(dir, "keys.json"))
		if err != nil || string(after) != string(before) {
			t.Errorf("a refused import changed the keys: %v", err)
		}
		// What was revoked does not come back.
		uri := k.Add(good)
		_, key, err := f.Import(t.Context(), uri, start, rand.Reader)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := f.Revoke(t.Context(), key.KID, start, rand.Reader); err != nil {
			t.Fatal(err)
		}
		if _, _, err := f.Import(t.Context(), uri, start, rand.Reader); !errors.Is(err, keystore.ErrGone) {
			t.Errorf("a revoked key: %v", err)
		}
	})
}

// The last key in a KMS is not quietly replaced by one in software.
func TestRevokeInKMS(t *testing.T) {
	f, _, _ := store(t)
	k := standIn(t, "aws", f)
	ring := imported(t, f, k.Add(ecKey(t, elliptic.P256())))
	var kid string
	for _, key := range ring.Keys {
		if !key.InSoftware() {
			kid = key.KID
		}
	}
	if _, err := f.Revoke(t.Context(), kid, start, rand.Reader); !errors.Is(err, keystore.ErrNoNext) {
		t.Errorf("Revoke: %v", err)
	}
	if r, err := f.Load(t.Context()); err != nil || len(r.Keys) != len(ring.Keys) {
		t.Errorf("after a refusal: %d keys, %v", len(r.Keys), err)
	}
	if _, err := f.RevokeAnyway(t.Context(), kid, start, rand.Reader); err != nil {
		t.Fatal(err)
	}
	after, err := f.Load(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	for _, key := range after.Keys {
		if !key.InSoftware() {
			t.Errorf("still there: %+v", key)
		}
	}
}

func TestNoCredentials(t *testing.T) {
	f, _, _ := store(t)
	uri := standIn(t, "aws", f).Add(ecKey(t, elliptic.P256()))
	t.Setenv("AWS_ACCESS_KEY_ID", "")
	t.Setenv("AWS_SECRET_ACCESS_KEY", "")
	if _, _, err := f.Import(t.Context(), uri, start, rand.Reader); !errors.Is(err, keystore.ErrSigner) || !strings.Contains(err.Error(), "credentials") {
		t.Errorf("AWS: %v", err)
	}
}

func TestGoogleToken(t *testing.T) {
	f, _, _ := store(t)
	g := kmsrig.NewGoogle()
	t.Cleanup(g.Close)
	f.UseGoogle(g.URL())
	i := speak(t, imported(t, f, g.Add(ecKey(t, elliptic.P256()))))
	sign := func() error {
		_, err := i.Sign(issuer.ES256, claims())
		return err
	}
	if n := g.Calls("token"); n != 1 {
		t.Errorf("%d tokens", n)
	}
	for name, answer := range map[string]string{
		"no JSON": "x", "empty": "{}", "no token": `{"expires_in":3599,"token_type":"Bearer"}`, "no end": `{"access_token":"a","token_type":"Bearer"}`,
		"for ever": `{"access_token":"a","expires_in":99999999,"token_type":"Bearer"}`, "another type": `{"access_token":"a","expires_in":3599,"token_type":"MAC"}`,
		"two lines": `{"access_token":"a\r\nX: y","expires_in":3599,"token_type":"Bearer"}`,
	} {
		f.ForgetToken()
		g.Lie(func(operation string, w http.ResponseWriter, r *http.Request, right http.HandlerFunc) {
			if operation != "token" {
				right(w, r)
				return
			}
			w.Header().Set("Metadata-Flavor", "Google")
			_, _ = w.Write([]byte(answer))
		})
		if err := sign(); !errors.Is(err, keystore.ErrSigner) {
			t.Errorf("%s: %v", name, err)
		}
	}
	// A server that is not Google's.
	g.Lie(func(operation string, w http.ResponseWriter, r *http.Request, right http.HandlerFunc) {
		rec := httptest.NewRecorder()
		right(rec, r)
		w.WriteHeader(rec.Code)
		_, _ = w.Write(rec.Body.Bytes())
	})
	if err := sign(); !errors.Is(err, keystore.ErrSigner) {
		t.Errorf("without the header: %v", err)
	}
	// Near its end a token is fetched anew, and used on if that fails.
	g.Lie(nil)
	g.Life = 60
	before := g.Calls("token")
	for range 2 {
		if err := sign(); err != nil {
			t.Error(err)
		}
	}
	if n := g.Calls("token") - before; n != 2 {
		t.Errorf("%d tokens, want 2", n)
	}
	g.Lie(func(operation string, w http.ResponseWriter, r *http.Request, right http.HandlerFunc) {
		if operation == "token" {
			http.Error(w, "", http.StatusInternalServerError)
			return
		}
		right(w, r)
	})
	if err := sign(); err != nil {
		t.Errorf("with a token that is still good: %v", err)
	}
	if faults := g.Faults(); len(faults) > 0 {
		t.Errorf("%q", faults)
	}
}

func TestLoadRefusesRemote(t *testing.T) {
	f, dir, _ := store(t)
	k := standIn(t, "aws", f)
	imported(t, f, k.Add(ecKey(t, elliptic.P256())))
	path := filepath.Join(dir, "keys.json")
	good, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	var doc struct {
		Keys []struct{ Signer, Public, KID string }
	}
	if err := json.Unmarshal(good, &doc); err != nil {
		t.Fatal(err)
	}
	var signer, public string
	for _, e := range doc.Keys {
		if e.Signer != "" {
			signer, public = e.Signer, e.Public
		}
	}
	other, err := json.Marshal(pkix(t, ecKey(t, elliptic.P256()).Public()))
	if err != nil {
		t.Fatal(err)
	}
	line := func(name, value string) string { return fmt.Sprintf("%q: %q", name, value) }
	for name, c := range map[string]struct {
		old, with string
		want      error
	}{
		"another public key": {line("public", public), `"public": ` + string(other), issuer.ErrRing},
		"no public key":      {"\n      " + line("public", public) + ",", "", keystore.ErrManifest},
		"rubbish":            {line("public", public), line("public", "AAAA"), keystore.ErrManifest},
		"another scheme":     {line("signer", signer), line("signer", "exec:///bin/sh"), keystore.ErrManifest},
		"no signer":          {"\n      " + line("signer", signer) + ",", "", keystore.ErrManifest},
		"an older format":    {`"format": 2`, `"format": 1`, keystore.ErrManifest},
		"PKCS#11":            {line("signer", signer), line("signer", "pkcs11:token=a;object=b?module-path=/none.so&pin-source=/none"), keystore.ErrManifest},
	} {
		if !strings.Contains(string(good), c.old) {
			t.Fatalf("no %s in %s", c.old, good)
		}
		write(t, path, []byte(strings.Replace(string(good), c.old, c.with, 1)), 0o600)
		if _, err := f.Load(t.Context()); !errors.Is(err, c.want) {
			t.Errorf("%s: %v, want %v", name, err, c.want)
		}
	}
	// Lost, it is not begun anew, though a KMS leaves no key file.
	for _, e := range []string{"keys.json"} {
		if err := os.Remove(filepath.Join(dir, e)); err != nil {
			t.Fatal(err)
		}
	}
	pems, err := filepath.Glob(filepath.Join(dir, "*.pem"))
	if err != nil {
		t.Fatal(err)
	}
	for _, p := range pems {
		if err := os.Remove(p); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := f.Load(t.Context()); !errors.Is(err, keystore.ErrManifest) {
		t.Errorf("lost: %v", err)
	}
}

func pkix(t *testing.T, pub crypto.PublicKey) []byte {
	t.Helper()
	der, err := x509.MarshalPKIXPublicKey(pub)
	if err != nil {
		t.Fatal(err)
	}
	return der
}

func TestURIs(t *testing.T) {
	const (
		arn  = "arn:aws:kms:eu-central-1:111122223333:key/1234abcd-12ab-34cd-56ef-1234567890ab"
		name = "projects/acme-prod/locations/europe-west1/keyRings/cambio/cryptoKeys/issuer/cryptoKeyVersions/1"
	)
	good := []string{
		"awskms:///" + arn,
		"awskms://kms.acme.example/" + arn,
		"awskms://127.0.0.1:4566/" + arn,
		"awskms:///arn:aws-cn:kms:cn-north-1:111122223333:key/mrk-1234abcd12ab34cd56ef1234567890ab",
		"gcpkms://" + name,
	}
	bad := []string{
		"awskms:///" + arn + "?x",
		"awskms:" + arn,
		"awskms://user@kms.acme.example/" + arn,
		"awskms://kms.acme.example/x/" + arn,
		"awskms:///arn:aws:kms:eu-central-1:111122223333:alias/issuer", // can be pointed elsewhere
		"awskms:///arn:aws:kms:x.evil.example/:111122223333:key/1234abcd-12ab-34cd-56ef-1234567890ab",
		"awskms:///arn:aws:s3:eu-central-1:111122223333:key/1234abcd-12ab-34cd-56ef-1234567890ab",
		"gcpkms:///" + name,
		"gcpkms://" + strings.TrimSuffix(name, "1"),
		"gcpkms://" + strings.TrimSuffix(name, "/cryptoKeyVersions/1"),
		"gcpkms://" + name + ":asymmetricSign",
		"gcpkms://projects/../locations/europe-west1/keyRings/a/cryptoKeys/b/cryptoKeyVersions/1",
		"file:///etc/passwd",
		"",
		"awskms:///" + strings.Repeat("a", 2000),
		"pkcs11:token=a;object=b",
		"pkcs11:token=a;object=b?module-path=/a.so&pin-value=1234",
		"pkcs11:token=a;object=b?module-path=a.so&pin-source=/pin",
		"pkcs11:token=a?module-path=/a.so&pin-source=/pin",
		"pkcs11:object=b?module-path=/a.so&pin-source=/pin",
		"pkcs11:token=a;token=b;object=b?module-path=/a.so&pin-source=/pin",
		"pkcs11:token=a;object=b;serial=1?module-path=/a.so&pin-source=/pin",
		"pkcs11:token=a;object=%zz?module-path=/a.so&pin-source=/pin",
		"pkcs11:token=a;object=b?module-path=/none.so&pin-source=file:/x/pin", // well formed; another build, or no such library
	}
	for _, uri := range append(good, bad...) {
		err, ok := keystore.ReachURI(uri), slices.Contains(good, uri)
		if (err == nil) != ok {
			t.Errorf("%s: %v", uri, err)
		}
		if err != nil && !errors.Is(err, keystore.ErrURI) {
			t.Errorf("%s: %v is no ErrURI", uri, err)
		}
	}
}

// What parses names one key in one token by one library, all of them there.
func FuzzPKCS11URI(f *testing.F) {
	f.Add("pkcs11:token=Software%20PKCS%2311;object=issuer?module-path=/usr/lib/softhsm/libsofthsm2.so&pin-source=file:/etc/cambio/pin")
	f.Add("pkcs11:token=a;id=%01%02?module-path=/a.so&pin-source=/pin")
	f.Add("pkcs11:token=a;object=b?pin-value=1")
	f.Fuzz(func(t *testing.T, uri string) {
		module, pin, token, object, id, err := keystore.ParsePKCS11(uri)
		if err != nil {
			if !errors.Is(err, keystore.ErrURI) {
				t.Error(err)
			}
			return
		}
		if !filepath.IsAbs(module) || !filepath.IsAbs(pin) || token == "" || object+id == "" || strings.ContainsRune(module+pin+token+object+id, 0) {
			t.Errorf("%q: %q %q %q %q %q", uri, module, pin, token, object, id)
		}
	})
}

func BenchmarkSignInKMS(b *testing.B) {
	dir := b.TempDir()
	f := keystore.NewFiles(filepath.Join(dir, "keys"), slog.New(slog.DiscardHandler))
	if err := f.Save(b.Context(), first()); err != nil {
		b.Fatal(err)
	}
	k := standIn(b, "aws", f)
	i := speak(b, imported(b, f, k.Add(ecKey(b, elliptic.P256()))))
	for b.Loop() {
		if _, err := i.Sign(issuer.ES256, claims()); err != nil {
			b.Fatal(err)
		}
	}
}

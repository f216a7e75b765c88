package test

import (
	"bytes"
	"crypto/rsa"
	"crypto/x509"
	"encoding/base64"
	"encoding/json"
	"encoding/pem"
	"maps"
	"strings"
	"testing"
	"time"

	"cambio/standin"
	"cambio/test/rig"
)

// tokenAttacks are the cases on the token itself: algorithm, header, form and
// claims.
func tokenAttacks() map[string]func(*testing.T) {
	return map[string]func(*testing.T){
		"ALG-01": attackALG01, "ALG-02": attackALG02, "ALG-04": attackALG04,
		"HDR-01": attackHDR01, "HDR-02": attackHDR02, "HDR-05": attackHDR05,
		"PAR-01": attackPAR01, "PAR-02": attackPAR02, "PAR-04": attackPAR04,
		"CLM-01": attackCLM01, "CLM-02": attackCLM02, "CLM-04": attackCLM04, "CLM-07": attackCLM07,
	}
}

func attackALG01(t *testing.T) {
	r := rig.New(t, rig.Setup{})
	try := func(when string) {
		before := fetches(r)
		for _, header := range []string{
			`{"alg":"none","kid":"k1"}`, `{"alg":"None","kid":"k1"}`, `{"alg":"NONE","kid":"k1"}`, `{"alg":"nOnE","kid":"k1"}`,
			`{"alg":"","kid":"k1"}`, `{"kid":"k1"}`, `{"alg":"none "}`, `{"alg":"rs256","kid":"k1"}`, `{"Alg":"RS256","kid":"k1"}`,
		} {
			signed := withHeader(t, r, header, "k1", "RS256")
			denied(t, r, when+" signed "+header, r.Exchange(signed), "alg-not-allowed")
			bare := withHeader(t, r, header, "k1", "RS256")
			denied(t, r, when+" unsigned "+header, r.Exchange(bare[:strings.LastIndexByte(bare, '.')+1]), "alg-not-allowed")
			// The signature of the token with its true header.
			good := r.Token(nil)
			parts := strings.Split(good, ".")
			denied(t, r, when+" borrowed "+header, r.Exchange(b64([]byte(header))+"."+parts[1]+"."+parts[2]), "alg-not-allowed")
		}
		for _, header := range []string{`{"alg":null}`, `{"alg":0}`, `{"alg":["RS256"]}`} {
			denied(t, r, when+header, r.Exchange(withHeader(t, r, header, "k1", "RS256")), "malformed", "alg-not-allowed")
		}
		if n := fetches(r) - before; n != 0 {
			t.Errorf("%s: %d requests to the identity providers", when, n)
		}
	}
	try("before any key set was fetched:")
	r.Control()
	r.Move(31 * time.Second) // a fetch would be allowed again
	try("with a key set:")
	r.Control()
}

func attackALG02(t *testing.T) {
	r := rig.New(t, rig.Setup{})
	r.Control()
	k1, ok := r.ISS1.Key("k1")
	if !ok {
		t.Fatal("no k1")
	}
	public := k1.Private.Public().(*rsa.PublicKey)
	spki, err := x509.MarshalPKIXPublicKey(public)
	if err != nil {
		t.Fatal(err)
	}
	spkiPEM := pem.EncodeToMemory(&pem.Block{Type: "PUBLIC KEY", Bytes: spki})
	pkcs1 := x509.MarshalPKCS1PublicKey(public)
	var set struct{ Keys []json.RawMessage }
	if err := json.Unmarshal(r.ISS1.JWKS(), &set); err != nil {
		t.Fatal(err)
	}
	n := b64(public.N.Bytes())
	secrets := map[string][]byte{
		"PEM": spkiPEM, "PEM without newline": bytes.TrimSuffix(spkiPEM, []byte("\n")),
		"PKCS #1 PEM": pem.EncodeToMemory(&pem.Block{Type: "RSA PUBLIC KEY", Bytes: pkcs1}),
		"DER":         spki, "PKCS #1 DER": pkcs1, "JWK": set.Keys[0], "n": []byte(n), "bytes of n": public.N.Bytes(), "nothing": {},
		"key set": r.ISS1.JWKS(),
	}
	for name, secret := range secrets {
		for _, alg := range []string{"HS256", "HS384", "HS512"} {
			token := r.Sign(r.ISS1, standin.JWS{Payload: jsonOf(t, r.Base(nil)), Key: "k1", Alg: alg, Secret: secret})
			denied(t, r, alg+" with "+name, r.Exchange(token), "alg-not-allowed")
			// The same with a header that claims an allowed algorithm.
			token = r.Sign(r.ISS1, standin.JWS{
				Payload: jsonOf(t, r.Base(nil)), Key: "k1", Alg: alg, Secret: secret, Header: []byte(`{"alg":"RS256","kid":"k1"}`),
			})
			denied(t, r, "RS256 that is "+alg+" with "+name, r.Exchange(token), "signature-invalid")
		}
	}
	// No configuration brings it back.
	r.Control()
	broken := &rig.Rig{T: t, ISS1: r.ISS1, ISS2: r.ISS2}
	loads(t, strings.Replace(broken.ConfigText(), "type: github-actions", "type: github-actions\n    algs: [HS256]", 1), nil, "alg-not-allowed")
	loads(t, strings.Replace(broken.ConfigText(), "type: github-actions", "type: github-actions\n    algs: [none]", 1), nil, "alg-not-allowed")
}

func attackALG04(t *testing.T) {
	others := map[string]string{"RS384": "k1", "RS512": "k1", "PS256": "k1", "PS384": "k1", "PS512": "k1", "ES256": "k2", "EdDSA": "k3"}
	t.Run("RS256", func(t *testing.T) {
		r := rig.New(t, rig.Setup{Provider1: "algs: [RS256]"})
		r.Control()
		for alg, kid := range others {
			denied(t, r, alg, r.Exchange(r.Sign(r.ISS1, standin.JWS{Payload: jsonOf(t, r.Base(nil)), Key: kid, Alg: alg})), "alg-not-allowed")
		}
		r.Control()
	})
	t.Run("RS256 and ES256", func(t *testing.T) {
		r := rig.New(t, rig.Setup{Provider1: "algs: [RS256, ES256]"})
		r.Control()
		for alg, kid := range others {
			a := r.Exchange(r.Sign(r.ISS1, standin.JWS{Payload: jsonOf(t, r.Base(nil)), Key: kid, Alg: alg}))
			if alg == "ES256" {
				if a.Status != 200 {
					t.Errorf("ES256: %s", a.Raw)
				}
				continue
			}
			denied(t, r, alg, a, "alg-not-allowed")
		}
		// An allowed algorithm of another kind than the key that kid names.
		for header, with := range map[string][2]string{
			`{"alg":"RS256","kid":"k2"}`: {"k1", "RS256"}, `{"alg":"ES256","kid":"k1"}`: {"k2", "ES256"}, `{"alg":"ES256","kid":"k3"}`: {"k2", "ES256"},
		} {
			denied(t, r, header, r.Exchange(withHeader(t, r, header, with[0], with[1])), "alg-not-allowed", "signature-invalid")
		}
		r.Control()
	})
}

func attackHDR01(t *testing.T) {
	evil := listenCollector(t, "127.0.0.1:0")
	url := "http://" + evil.Addr.String() + "/jwks"
	r := rig.New(t, rig.Setup{})
	r.Control()
	before := fetches(r)
	attacker, err := standin.New(standin.Config{Now: r.Clock.Now, Rand: randReader(), Keys: []standin.Key{mustKey(t, r, "k2")}})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { attacker.Close() })
	var set struct{ Keys []map[string]any }
	if err := json.Unmarshal(attacker.JWKS(), &set); err != nil {
		t.Fatal(err)
	}
	chain := []string{base64.StdEncoding.EncodeToString([]byte("not a certificate, but nobody may look"))}
	extras := map[string]map[string]any{
		"jku": {"jku": url}, "x5u": {"x5u": url}, "jwk": {"jwk": set.Keys[0]}, "x5c": {"x5c": chain},
		"jku null": {"jku": nil}, "jku empty": {"jku": ""}, "jku own": {"jku": r.ISS1.Issuer() + standin.KeysPath},
		"crit": {"crit": []string{"exp"}, "exp": 1}, "b64": {"b64": false, "crit": []string{"b64"}}, "b64 alone": {"b64": true},
		"zip": {"zip": "DEF"}, "enc": {"enc": "A128GCM"}, "all": {"jku": url, "x5u": url, "jwk": set.Keys[0], "x5c": chain},
	}
	for name, extra := range extras {
		for alg, kid := range map[string]string{"RS256": "k1", "ES256": "k2"} { // the true key, and another
			header := map[string]any{"alg": alg, "kid": kid, "typ": "JWT"}
			maps.Copy(header, extra)
			denied(t, r, name+" "+alg, r.Exchange(withHeader(t, r, header, kid, alg)), "header-param-forbidden")
		}
	}
	if n := fetches(r) - before; n != 0 {
		t.Errorf("%d requests to the identity providers", n)
	}
	evil.nobody(t)
	// What we do not know is ignored, but never a key.
	a := r.Exchange(withHeader(t, r, map[string]any{"alg": "RS256", "kid": "k1", "x5t": "abc", "JKU": url, "other": 1}, "k1", "RS256"))
	if a.Status != 200 {
		t.Errorf("unknown parameters: %s", a.Raw)
	}
	evil.nobody(t)
	r.Control()
}

func attackHDR02(t *testing.T) {
	r := rig.New(t, rig.Setup{})
	r.Control()
	r.Move(31 * time.Second)
	before := r.ISS1.Requests(standin.KeysPath)
	kids := map[string]any{
		"path": "../../../../dev/null", "query": "k1' OR '1'='1", "nul": "k1\x00x", "line": "k1\r\nX: y", "file": "file:///etc/passwd",
		"number": 0, "object": map[string]any{"a": 1}, "proto": "__proto__", "list": []string{"k1"}, "null": nil, "empty": "", "case": "K1", "space": "k1 ",
		"long": strings.Repeat("z", 200), "longer": strings.Repeat("z", 5000), "override": "k1\u202e", "bool": true, "redis": "k1\nFLUSHALL", "format": "%n%s%d", "template": "${env:HOME}",
	}
	for name, kid := range kids {
		header := map[string]any{"alg": "RS256", "typ": "JWT", "kid": kid}
		denied(t, r, name, r.Exchange(withHeader(t, r, header, "k1", "RS256")), "kid-unknown", "malformed")
	}
	huge := withHeader(t, r, map[string]any{"alg": "RS256", "kid": strings.Repeat("z", 100_000)}, "k1", "RS256")
	malformedForm(t, "100 kB", r.Exchange(huge), 413)
	if n := r.ISS1.Requests(standin.KeysPath) - before; n > 1 {
		t.Errorf("%d fetches within 30 s", n)
	}
	log := r.Log.String()
	for _, raw := range []string{"X: y\n", "k1\x00x", "\u202e", "\nFLUSHALL", strings.Repeat("z", 65)} {
		if strings.Contains(log, raw) {
			t.Errorf("the log holds %q", raw)
		}
	}
	r.Control()
}

func attackHDR05(t *testing.T) {
	r := rig.New(t, rig.Setup{})
	r.Control()
	good := strings.Split(r.Token(nil), ".")
	header, payload, sig := good[0], good[1], good[2]
	bad := b64(bytes.Repeat([]byte{7}, 256))
	for name, token := range map[string]string{
		"flattened": `{"payload":"` + payload + `","protected":"` + header + `","signature":"` + sig + `"}`,
		"general": `{"payload":"` + payload + `","signatures":[{"protected":"` + header + `","signature":"` + bad +
			`"},{"protected":"` + header + `","signature":"` + sig + `"}]}`,
		"with two dots":    `{"payload":"` + payload + `","header":{"x":".."},"protected":"` + header + `","signature":"` + sig + `"}`,
		"unprotected":      `{"payload":"` + payload + `","header":{"alg":"RS256","kid":"k1"},"signature":"` + sig + `"}`,
		"in a list":        `["` + strings.Join(good, ".") + `"]`,
		"in quotes":        `"` + strings.Join(good, ".") + `"`,
		"detached":         header + ".." + sig,
		"two segments":     header + "." + payload,
		"four segments":    strings.Join(good, ".") + "." + sig,
		"a JWE":            header + ".a.b." + payload + "." + sig,
		"an opaque token":  "ya29.opaque",
		"with a bearer":    "Bearer " + strings.Join(good, "."),
		"two tokens":       strings.Join(good, ".") + "," + strings.Join(good, "."),
		"an SD-JWT":        strings.Join(good, ".") + "~",
		"swapped segments": payload + "." + header + "." + sig,
	} {
		a := r.Exchange(token)
		if a.Status != 400 || a.Text("error") != "invalid_request" || a.Body["access_token"] != nil {
			t.Errorf("%s: %d %s", name, a.Status, a.Raw)
		}
		if strings.Count(token, ".") == 2 { // else the bounds refuse it, unrecorded
			denied(t, r, name, a, "malformed", "alg-not-allowed", "issuer-unknown")
		}
	}
	if a := r.Exchange(strings.Join(good, ".")); a.Status != 200 {
		t.Errorf("the token itself is burnt: %s", a.Raw)
	}
	r.Control()
}

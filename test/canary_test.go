package test

import (
	"bytes"
	"crypto/ecdsa"
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"encoding/base64"
	"encoding/hex"
	"encoding/pem"
	"log/slog"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"cambio/issuer"
	"cambio/keystore"
	"cambio/standin"
	"cambio/stops"
	"cambio/test/rig"
	"cambio/trust"
)

// window is the shortest part of a secret that counts as one.
const window = 16

// haystack finds parts of secrets in all that a gateway tells.
type haystack struct {
	text  string
	parts map[string]bool // every window of it
}

func newHaystack(text string) haystack {
	h := haystack{text, make(map[string]bool, len(text))}
	for i := 0; i+window <= len(text); i++ {
		h.parts[text[i:i+window]] = true
	}
	return h
}

// leaked returns a part of the secret that is in the haystack, as it is, in hex,
// in base64 or escaped; "" if there is none. The secret is a text that is not
// told in any part.
func (h haystack) leaked(secret string) string {
	for _, form := range disguises(secret) {
		for i := 0; i+window <= len(form); i++ {
			if part := form[i : i+window]; h.parts[part] {
				return part
			}
		}
	}
	return ""
}

// disguises are the ways in which a text may get into a log.
func disguises(secret string) []string {
	escaped := &strings.Builder{}
	for _, b := range []byte(secret) {
		escaped.WriteString("%" + strings.ToUpper(hex.EncodeToString([]byte{b})))
	}
	out := []string{
		secret, url.QueryEscape(secret), escaped.String(),
		hex.EncodeToString([]byte(secret)), strings.ToUpper(hex.EncodeToString([]byte(secret))),
	}
	for skip := range min(3, len(secret)) { // base64 inside of a longer text begins at any of three places
		rest := secret[skip : skip+(len(secret)-skip)/3*3]
		out = append(out, base64.StdEncoding.EncodeToString([]byte(rest)), base64.RawURLEncoding.EncodeToString([]byte(rest)))
	}
	return out
}

// tokenSecrets are the texts of a token that nobody may tell: its segments, and
// its signature's bytes. What its payload says is told where it is allowed.
func tokenSecrets(t *testing.T, token string) []string {
	t.Helper()
	var out []string
	segments := strings.Split(token, ".")
	for i, s := range segments {
		out = append(out, s)
		if i != 2 {
			continue
		}
		if raw, err := base64.RawURLEncoding.DecodeString(s); err == nil {
			out = append(out, string(raw))
		}
	}
	return out
}

// keySecrets are the private numbers of all keys in a folder, and the lines of
// their files.
func keySecrets(t *testing.T, dir string) []string {
	t.Helper()
	files, err := filepath.Glob(filepath.Join(dir, "*.pem"))
	if err != nil || len(files) == 0 {
		t.Fatalf("no keys in %s: %v", dir, err)
	}
	var out []string
	for _, file := range files {
		data, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		block, _ := pem.Decode(data)
		key, err := x509.ParsePKCS8PrivateKey(block.Bytes)
		if err != nil {
			t.Fatal(err)
		}
		switch k := key.(type) {
		case *ecdsa.PrivateKey:
			d, err := k.Bytes()
			if err != nil {
				t.Fatal(err)
			}
			out = append(out, string(d))
		case *rsa.PrivateKey:
			out = append(out, string(k.D.Bytes()), string(k.Primes[0].Bytes()), string(k.Primes[1].Bytes()))
		default:
			t.Fatalf("%s: %T", file, key)
		}
	}
	return out
}

// canaryRun is a run of a gateway: what was shown to it, and all that it told.
type canaryRun struct {
	r       *rig.Rig
	tokens  []string // shown
	issued  []string // credentials
	answers strings.Builder
	denied  int
}

func (c *canaryRun) token(changes map[string]any) string {
	token := c.r.Token(changes)
	c.tokens = append(c.tokens, token)
	return token
}

// take keeps an answer: a credential is a secret, all else is told.
func (c *canaryRun) take(a rig.Answer) {
	if token := a.Text("access_token"); token != "" {
		c.issued = append(c.issued, token)
		return
	}
	c.denied++
	c.answers.WriteString(a.Raw + "\n")
	for name, values := range a.Header {
		c.answers.WriteString(name + ": " + strings.Join(values, ",") + "\n")
	}
}

func (c *canaryRun) send(method, target, contentType, body string, header http.Header) {
	c.r.T.Helper()
	req, err := http.NewRequest(method, c.r.URL+target, strings.NewReader(body))
	if err != nil {
		c.r.T.Fatal(err)
	}
	req.Header.Set("Content-Type", contentType)
	for name, values := range header {
		req.Header[name] = values
	}
	c.take(c.r.Do(req))
}

const formType = "application/x-www-form-urlencoded"

// exchanges shows tokens that are good, and bad in many ways.
func (c *canaryRun) exchanges() {
	r := c.r
	for range 3 {
		token := c.token(nil)
		c.take(r.Exchange(token))
		c.take(r.Exchange(token)) // replayed
	}
	for _, changes := range []map[string]any{
		{"ref": "refs/heads/x", "sub": "custom"},
		{"exp": r.Clock.Now().Unix() - 4000, "iat": r.Clock.Now().Unix() - 5000, "nbf": nil},
		{"aud": "https://elsewhere.test"},
		{"iss": "https://unknown.test"},
		{"jti": "evil\njti " + rand.Text(), "ref": "refs/heads/\x1b[31m"},
		{"exp": nil},
		{"act": map[string]any{"sub": "actor"}},
		{"sub": ""},
	} {
		c.take(r.Exchange(c.token(changes)))
	}
	good := c.token(nil)
	c.take(r.Exchange(good[:len(good)-8] + "AAAAAAAA"))
	c.take(r.Exchange(strings.Replace(good, ".", ".e", 1)))
	c.take(r.Exchange(good + "."))
	for _, header := range []string{
		`{"alg":"none","kid":"k1"}`, `{"alg":"HS256","kid":"k1"}`, `{"alg":"RS256","kid":"k1","jku":"https://evil.test/k"}`,
		`{"alg":"RS256","kid":"` + rand.Text() + `"}`, `{"alg":"RS256","alg":"RS256"}`,
	} {
		token := r.Sign(r.ISS1, standin.JWS{Header: []byte(header), Payload: []byte(`{"iss":"` + r.ISS1.Issuer() + `","aud":"https://gw.test"}`), Key: "k1", Alg: "RS256"})
		c.tokens = append(c.tokens, token)
		c.take(r.Exchange(token))
	}
}

// misuse puts tokens where they do not belong.
func (c *canaryRun) misuse() {
	body := rig.Form(c.token(nil)).Encode()
	c.send(http.MethodGet, "/token?"+body, formType, "", nil)
	c.send(http.MethodPost, "/token?"+body, formType, body, nil)
	c.send(http.MethodPost, "/"+url.PathEscape(c.tokens[0]), formType, "", nil)
	c.send(http.MethodPost, "/token", "application/json", `{"subject_token":"`+c.token(nil)+`"}`, nil)
	c.send(http.MethodPost, "/token", formType, body+"&"+body, nil)
	c.send(http.MethodPost, "/token", formType, body+"&"+url.QueryEscape(c.token(nil))+"=x", nil)
	c.send(http.MethodPost, "/token", formType, body+"&x=%zz"+c.token(nil), nil)
	c.send(http.MethodPost, "/token", formType, body+"&pad="+strings.Repeat(c.token(nil), 80), nil)
	c.send(http.MethodPost, "/token", formType, body, http.Header{"Authorization": {"Bearer " + c.token(nil)}})
	c.send(http.MethodPost, "/token", formType, body, http.Header{"Cookie": {"t=" + c.token(nil)}, "User-Agent": {c.token(nil)}, "X-Forwarded-For": {c.token(nil)}, "X-Request-Id": {c.token(nil)}})
	for _, name := range []string{"audience", "resource", "scope", "trust", "ttl", "grant_type", "subject_token_type", "requested_token_type", "actor_token"} {
		form := rig.Form(c.token(nil))
		form.Set(name, c.token(nil))
		c.take(c.r.Post(form))
	}
}

// faults breaks what the gateway rests on.
func (c *canaryRun) faults() {
	r := c.r
	store := stops.Store{Dir: r.Config.State, Now: r.Clock.Now, Rand: rand.Reader}
	stop, err := store.Add(trust.Stop{Kind: trust.StopProvider, What: "iss1", Reason: "canary"})
	if err != nil {
		r.T.Fatal(err)
	}
	rig.Eventually(r.T, "the stop", func() bool {
		a := r.Exchange(c.token(nil))
		c.take(a)
		return a.Status != http.StatusOK
	})
	if _, err := store.Lift(stop.ID); err != nil {
		r.T.Fatal(err)
	}
	log := slog.New(slog.DiscardHandler)
	_, err = keystore.NewFiles(r.Config.Keys, log).Update(r.T.Context(), func(ring issuer.Ring) (issuer.Ring, error) {
		return issuer.Rotate(ring, r.Clock.Now(), rand.Reader, true)
	})
	if err != nil {
		r.T.Fatal(err)
	}
	r.Restart()
	r.ISS1.Fail(standin.KeysPath, standin.Fault{Status: 500, Body: []byte(c.token(nil))})
	c.take(r.Exchange(c.token(nil))) // no key set yet: 503
	r.ISS1.Fail(standin.KeysPath, standin.Fault{Body: []byte(`{"keys":[{"kty":"oct","k":"` + c.tokens[0][:40] + `"}]}`)})
	c.take(r.Exchange(c.token(nil)))
}

// TestNoSecretIsTold runs a gateway through good and bad days, with the log at
// debug, and looks for every token that it was shown, every credential that it
// issued and every private key that it holds, in all that it told.
func TestNoSecretIsTold(t *testing.T) {
	t.Parallel()
	c := &canaryRun{r: rig.New(t, rig.Setup{})}
	c.exchanges()
	c.misuse()
	keys := keySecrets(t, c.r.Config.Keys)
	c.faults()
	keys = append(keys, keySecrets(t, c.r.Config.Keys)...)
	for _, path := range []string{"/metrics", "/readyz", "/healthz"} {
		c.answers.WriteString(c.r.Get(c.r.AdminURL, path).Raw)
	}
	for _, path := range []string{"/", "/keys", "/.well-known/openid-configuration"} {
		c.answers.WriteString(c.r.Get(c.r.URL, path).Raw)
	}
	c.r.Stop()
	all := c.answers.String() + c.r.Log.String() + c.r.Checkpoints.String() + stateText(t, c.r)
	if len(c.issued) < 4 || c.denied < 40 || !strings.Contains(all, "exchange.denied") || !strings.Contains(all, "cambio_exchanges_total") || !strings.Contains(all, "level=") {
		t.Fatalf("%d credentials, %d refusals, %d bytes told: not the run that was meant", len(c.issued), c.denied, len(all))
	}
	h := newHaystack(all)
	for _, token := range append(c.tokens, c.issued...) {
		for _, secret := range tokenSecrets(t, token) {
			if part := h.leaked(secret); part != "" {
				t.Errorf("a part of a token is told: %q in %s", part, around(all, part))
			}
		}
	}
	for _, secret := range keys {
		if part := h.leaked(secret); part != "" {
			t.Errorf("a part of a private key is told: %q in %s", part, around(all, part))
		}
	}
}

// untold fails the test if a gateway told a part of a credential that it gave out, or
// of another secret, in log, journal, state or metrics.
func untold(t *testing.T, r *rig.Rig, credential string, others ...string) {
	t.Helper()
	all := r.Log.String() + r.Get(r.AdminURL, "/metrics").Raw + stateText(t, r)
	if !strings.Contains(all, "exchange.minted") || !strings.Contains(all, "cambio_exchanges_total") {
		t.Fatal("nothing was told of an exchange: not the run that was meant")
	}
	h := newHaystack(all)
	for _, secret := range append(tokenSecrets(t, credential), others...) {
		if part := h.leaked(secret); part != "" {
			t.Errorf("a part of a secret is told: %q in %s", part, around(all, part))
		}
	}
}

// stateText is all that lies in the state folder, private keys apart.
func stateText(t *testing.T, r *rig.Rig) string {
	t.Helper()
	var b bytes.Buffer
	for _, pattern := range []string{"*", "journal/*"} {
		files, err := filepath.Glob(filepath.Join(r.Config.State, pattern))
		if err != nil {
			t.Fatal(err)
		}
		for _, file := range files {
			if info, err := os.Stat(file); err != nil || info.IsDir() {
				continue
			}
			data, err := os.ReadFile(file)
			if err != nil {
				t.Fatal(err)
			}
			b.Write(data)
		}
	}
	return b.String()
}

func around(all, part string) string {
	i := strings.Index(all, part)
	return all[max(0, i-100):min(len(all), i+100)]
}

// TestCanarySearch holds the search itself: a secret that is told in any form is
// found.
func TestCanarySearch(t *testing.T) {
	secret := "eyJhbGciOiJSUzI1NiIsImtpZCI6ImsxIn0" + rand.Text()
	part := secret[5:40]
	for name, leak := range map[string]string{
		"raw": part, "hex": hex.EncodeToString([]byte(part)), "HEX": strings.ToUpper(hex.EncodeToString([]byte(part))),
		"base64": base64.StdEncoding.EncodeToString([]byte(part)), "base64 within": base64.RawURLEncoding.EncodeToString([]byte("token=" + secret)),
		"escaped": disguises(part)[2],
	} {
		if newHaystack(`level=INFO msg="`+leak+`"`).leaked(secret) == "" {
			t.Errorf("%s is not found", name)
		}
	}
	if part := newHaystack("level=INFO msg=ready issuer=https://gw.test").leaked(secret); part != "" {
		t.Errorf("found %q where it is not", part)
	}
}

package client_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"cambio/client"
)

// sealing is a strict gateway that gives nonces too. nonce answers the n-th
// request for one, from 1.
func sealing(t *testing.T, nonce func(w http.ResponseWriter, n int), reply func(w http.ResponseWriter, form url.Values, n int)) http.Handler {
	t.Helper()
	n, token := 0, gateway(t, reply)
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path != "/nonce" {
			token.ServeHTTP(w, r)
			return
		}
		body, err := io.ReadAll(r.Body)
		if r.Method != http.MethodPost || r.URL.RequestURI() != "/nonce" || len(body) != 0 || err != nil ||
			r.Header.Get("Content-Type") != "application/x-www-form-urlencoded" || r.Header.Get("Authorization") != "" {
			t.Errorf("unexpected request: %s %s %q %v", r.Method, r.URL, body, r.Header)
			w.WriteHeader(http.StatusNotImplemented)
			return
		}
		n++
		nonce(w, n)
	})
}

// minting is a source that mints for every audience, and records them.
func minting() (source *client.Source, audiences *[]string) {
	audiences = &[]string{}
	source = client.NewSource("test", func(_ context.Context, audience string) (string, error) {
		*audiences = append(*audiences, audience)
		return fmt.Sprintf("h.%d.s", len(*audiences)), nil
	})
	source.PerAudience = true
	return source, audiences
}

func nonceOf(text string) string { return `{"nonce":"` + text + `","expires_in":300}` }

func TestNonceForEachAttempt(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := connect(sealing(t,
			func(w http.ResponseWriter, n int) { answer(w, http.StatusOK, nonceOf(fmt.Sprintf("cn1.a-b_%d", n))) },
			func(w http.ResponseWriter, _ url.Values, n int) {
				if n == 1 {
					answer(w, http.StatusServiceUnavailable, `{"error":"temporarily_unavailable"}`)
					return
				}
				answer(w, http.StatusOK, granted)
			}))
		source, audiences := minting()
		if _, err := c.Exchange(t.Context(), client.Request{Target: "x", Audience: "https://id.acme.example"}, source); err != nil {
			t.Fatal(err)
		}
		want := []string{"https://id.acme.example?nonce=cn1.a-b_1", "https://id.acme.example?nonce=cn1.a-b_2"}
		if diff := cmp.Diff(want, *audiences); diff != "" {
			t.Error(diff)
		}
	})
}

// A token that is what it is cannot take up a nonce, so none is asked for: the
// gateway of these tests knows no /nonce.
func TestNoNonceForAFixedToken(t *testing.T) {
	c := connect(gateway(t, func(w http.ResponseWriter, _ url.Values, _ int) { answer(w, http.StatusOK, granted) }))
	for name, m := range map[string]machine{
		"file":     {named: "t", files: map[string]string{"t": token}},
		"stdin":    {named: "-", stdin: token},
		"variable": {vars: map[string]string{"CAMBIO_TOKEN": token}},
		"mount":    {files: map[string]string{"/var/run/secrets/cambio/token": token}},
	} {
		s, err := client.Detect(t.Context(), m.env())
		if err != nil {
			t.Fatal(err)
		}
		if _, err := c.Exchange(t.Context(), client.Request{Target: "x"}, s); err != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// The platforms get the audience and the nonce as one value.
func TestNonceReachesThePlatforms(t *testing.T) {
	const want = "https://id.acme.example?nonce=cn1.abc"
	asked := ""
	platform := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Metadata-Flavor", "Google")
		if asked = r.URL.Query().Get("audience"); r.URL.Host == "run.actions.example" {
			answer(w, http.StatusOK, `{"value":"`+token+`"}`)
			return
		}
		fmt.Fprint(w, token)
	})
	for name, vars := range map[string]map[string]string{
		"GitHub Actions":         {"ACTIONS_ID_TOKEN_REQUEST_URL": "https://run.actions.example/x?a=b", "ACTIONS_ID_TOKEN_REQUEST_TOKEN": "t"},
		"Google metadata server": {},
	} {
		s, err := client.Detect(t.Context(), machine{vars: vars, net: platform}.env())
		if err != nil {
			t.Fatal(err)
		}
		c := connect(sealing(t, func(w http.ResponseWriter, _ int) { answer(w, http.StatusOK, nonceOf("cn1.abc")) },
			func(w http.ResponseWriter, _ url.Values, _ int) { answer(w, http.StatusOK, granted) }))
		if _, err := c.Exchange(t.Context(), client.Request{Target: "x"}, s); err != nil || s.Name != name || asked != want {
			t.Errorf("%s: found %s, asked for %q, %v", name, s.Name, asked, err)
		}
	}
}

func TestNonceAnswers(t *testing.T) {
	for _, tt := range []struct {
		name     string
		status   int
		body     string
		audience string // "" for an error, and then no token was fetched
	}{
		{"the longest", 200, nonceOf("cn1." + strings.Repeat("x", 252)), "https://id.acme.example?nonce=cn1." + strings.Repeat("x", 252)},
		{"an older gateway", 404, `{"error":"invalid_request"}`, "https://id.acme.example"},
		{"a gateway without", 405, ``, "https://id.acme.example"},
		{"a proxy's page", 403, `<html>`, "https://id.acme.example"},
		{"a fault", 500, `{"error":"server_error"}`, "https://id.acme.example"},
		{"a redirect", 307, ``, "https://id.acme.example"},
		{"too long", 200, nonceOf("cn1." + strings.Repeat("x", 253)), ""},
		{"of another form", 200, nonceOf("cn2.abc"), ""},
		{"the mark alone", 200, nonceOf("cn1."), ""},
		{"a second parameter", 200, nonceOf("cn1.abc&audience=https://evil.example"), ""},
		{"a space", 200, nonceOf("cn1.a b"), ""},
		{"a fragment", 200, nonceOf("cn1.a#b"), ""},
		{"a control character", 200, nonceOf(`cn1.a\u0000`), ""},
		{"no string", 200, `{"nonce":1,"expires_in":300}`, ""},
		{"twice", 200, `{"nonce":"cn1.a","nonce":"cn1.b","expires_in":300}`, ""},
		{"no end", 200, `{"nonce":"cn1.a"}`, ""},
		{"not JSON", 200, `cn1.abc`, ""},
		{"too large", 200, nonceOf("cn1." + strings.Repeat("x", 65<<10)), ""},
	} {
		t.Run(tt.name, func(t *testing.T) {
			exchanges := 0
			c := connect(sealing(t, func(w http.ResponseWriter, _ int) { answer(w, tt.status, tt.body) },
				func(w http.ResponseWriter, _ url.Values, n int) {
					exchanges = n
					answer(w, http.StatusOK, granted)
				}))
			source, audiences := minting()
			_, err := c.Exchange(t.Context(), client.Request{Target: "x"}, source)
			if tt.audience == "" {
				if err == nil || len(*audiences) != 0 || exchanges != 0 || strings.Contains(err.Error(), "evil") {
					t.Errorf("error %v after tokens for %v and %d exchanges", err, *audiences, exchanges)
				}
				return
			}
			if err != nil || !cmp.Equal(*audiences, []string{tt.audience}) {
				t.Errorf("error %v after tokens for %v", err, *audiences)
			}
		})
	}
}

// What may pass is waited for, and no token is fetched in vain.
func TestNonceRetries(t *testing.T) {
	for _, status := range []int{429, 502, 503, 504} {
		synctest.Test(t, func(t *testing.T) {
			c := connect(sealing(t, func(w http.ResponseWriter, n int) {
				if n == 1 {
					w.Header().Set("Retry-After", "3")
					answer(w, status, `{"error":"temporarily_unavailable","decision_id":"d-3"}`)
					return
				}
				answer(w, http.StatusOK, nonceOf("cn1.second"))
			}, func(w http.ResponseWriter, _ url.Values, _ int) { answer(w, http.StatusOK, granted) }))
			source, audiences := minting()
			start := time.Now()
			_, err := c.Exchange(t.Context(), client.Request{Target: "x"}, source)
			if took := time.Since(start); err != nil || took != 3*time.Second || !cmp.Equal(*audiences, []string{"https://id.acme.example?nonce=cn1.second"}) {
				t.Errorf("%d: error %v after %v and tokens for %v", status, err, took, *audiences)
			}
		})
	}
	synctest.Test(t, func(t *testing.T) {
		c := connect(sealing(t, func(w http.ResponseWriter, _ int) {
			w.Header().Set("Retry-After", "3600")
			answer(w, http.StatusTooManyRequests, `{"error":"temporarily_unavailable"}`)
		}, func(http.ResponseWriter, url.Values, int) { t.Error("an exchange without a nonce") }))
		source, audiences := minting()
		_, err := c.Exchange(t.Context(), client.Request{Target: "x"}, source)
		var refusal *client.Refusal
		if !errors.As(err, &refusal) || !refusal.Limited() || len(*audiences) != 0 {
			t.Errorf("error %v after tokens for %v", err, *audiences)
		}
		tried := 0
		c = &client.Client{Server: "https://id.acme.example", HTTP: &http.Client{Transport: broken{&tried}}}
		if _, err := c.Exchange(t.Context(), client.Request{Target: "x"}, source); !errors.Is(err, client.ErrUnreachable) || tried != 6 || len(*audiences) != 0 {
			t.Errorf("error %v after %d requests and tokens for %v", err, tried, *audiences)
		}
	})
}

// The nonce comes from where the token goes.
func TestNonceServer(t *testing.T) {
	var got []string
	h := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		got = append(got, r.URL.String())
		if strings.HasSuffix(r.URL.Path, "/nonce") {
			answer(w, http.StatusOK, nonceOf("cn1.abc"))
			return
		}
		answer(w, http.StatusOK, granted)
	})
	c := client.Client{Server: "https://acme.example/cambio/", HTTP: &http.Client{Transport: inProcess{h}}}
	source, audiences := minting()
	if _, err := c.Exchange(t.Context(), client.Request{Target: "x"}, source); err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff([]string{"https://acme.example/cambio/nonce", "https://acme.example/cambio/token"}, got); diff != "" {
		t.Error(diff)
	}
	if diff := cmp.Diff([]string{"https://acme.example/cambio?nonce=cn1.abc"}, *audiences); diff != "" {
		t.Error(diff)
	}
}

// Whatever answers, what is requested of the platform is our audience, or it and
// one nonce.
func FuzzNonce(f *testing.F) {
	for _, seed := range []string{nonceOf("cn1.abc"), nonceOf("cn1.a&b"), nonceOf("cn1.ü"), `{}`, `[]`, "\xff", nonceOf("")} {
		f.Add(200, seed)
	}
	f.Add(404, "")
	f.Add(500, nonceOf("cn1.abc"))
	f.Fuzz(func(t *testing.T, status int, body string) {
		switch status {
		case 200, 404, 500:
		default:
			status = 400
		}
		h := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			if r.URL.Path == "/nonce" {
				answer(w, status, body)
				return
			}
			answer(w, http.StatusOK, granted)
		})
		source, audiences := minting()
		_, err := connect(h).Exchange(t.Context(), client.Request{Target: "x"}, source)
		if err != nil && len(*audiences) != 0 || err == nil && len(*audiences) != 1 {
			t.Fatalf("error %v after tokens for %q", err, *audiences)
		}
		for _, a := range *audiences {
			rest, whole := strings.CutPrefix(a, "https://id.acme.example")
			u, err := url.Parse(a)
			if !whole || err != nil || rest != "" && (status != 200 || len(rest) > 7+256 || u.Query().Get("nonce") != strings.TrimPrefix(rest, "?nonce=")) {
				t.Errorf("asked for %q", a)
			}
		}
	})
}

package client_test

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"cambio/client"
)

const granted = `{"access_token":"a.b.c","issued_token_type":"urn:ietf:params:oauth:token-type:jwt","token_type":"Bearer","expires_in":900,"scope":"orders:read","decision_id":"d-1"}`

// inProcess is a transport that calls the handler without a socket, so that
// time inside a synctest bubble can pass while a request waits.
type inProcess struct{ handler http.Handler }

func (p inProcess) RoundTrip(r *http.Request) (*http.Response, error) {
	w := httptest.NewRecorder()
	p.handler.ServeHTTP(w, r)
	return w.Result(), nil
}

// broken is a transport that reaches nobody.
type broken struct{ tried *int }

func (b broken) RoundTrip(*http.Request) (*http.Response, error) {
	*b.tried++
	return nil, errors.New("connection refused")
}

// gateway is a strict stand-in: it serves POST /token and fails the test on
// everything else. reply answers the n-th exchange, from 1.
func gateway(t *testing.T, reply func(w http.ResponseWriter, form url.Values, n int)) http.Handler {
	t.Helper()
	n := 0
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Method != http.MethodPost || r.URL.RequestURI() != "/token" || r.Header.Get("Authorization") != "" {
			t.Errorf("unexpected request: %s %s", r.Method, r.URL)
			w.WriteHeader(http.StatusNotImplemented)
			return
		}
		if got := r.Header.Get("Content-Type"); got != "application/x-www-form-urlencoded" {
			t.Errorf("content type %q", got)
		}
		if err := r.ParseForm(); err != nil {
			t.Error(err)
		}
		n++
		reply(w, r.PostForm, n)
	})
}

func answer(w http.ResponseWriter, status int, body string) {
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(status)
	fmt.Fprint(w, body)
}

func connect(h http.Handler) *client.Client {
	return &client.Client{Server: "https://id.acme.example", HTTP: &http.Client{Transport: inProcess{h}}}
}

// counting is a source whose every token is another one.
func counting() *client.Source {
	n := 0
	return client.NewSource("test", func(_ context.Context, audience string) (string, error) {
		n++
		return fmt.Sprintf("h.%d.%s", n, strings.NewReplacer(":", "-", "/", "_", ".", "", "[", "", "]", "").Replace(audience)), nil
	})
}

func TestExchange(t *testing.T) {
	var form url.Values
	c := connect(gateway(t, func(w http.ResponseWriter, f url.Values, _ int) {
		form = f
		answer(w, http.StatusOK, granted)
	}))
	now := time.Date(2026, 11, 22, 6, 0, 0, 5, time.UTC)
	c.Now = func() time.Time { return now }
	got, err := c.Exchange(t.Context(), client.Request{
		Target: "orders-api", Resource: "arn:aws:iam::1:role/a", Scopes: []string{"orders:read", "orders:list"}, TTL: 5 * time.Minute, Trust: "payments",
		Type: "urn:ietf:params:oauth:token-type:jwt",
	}, counting())
	if err != nil {
		t.Fatal(err)
	}
	want := client.Credential{
		AccessToken: "a.b.c", IssuedTokenType: "urn:ietf:params:oauth:token-type:jwt", TokenType: "Bearer",
		ExpiresIn: 900, ExpiresAt: time.Date(2026, 11, 22, 6, 15, 0, 0, time.UTC), Scope: "orders:read", DecisionID: "d-1",
	}
	if got != want {
		t.Errorf("credential: %s", cmp.Diff(want, got))
	}
	wantForm := url.Values{
		"grant_type":         {"urn:ietf:params:oauth:grant-type:token-exchange"},
		"subject_token":      {"h.1.https-__idacmeexample"},
		"subject_token_type": {"urn:ietf:params:oauth:token-type:jwt"},
		"audience":           {"orders-api"},
		"resource":           {"arn:aws:iam::1:role/a"},
		"scope":              {"orders:read orders:list"},
		"ttl":                {"300"},
		"trust":              {"payments"},

		"requested_token_type": {"urn:ietf:params:oauth:token-type:jwt"},
	}
	if diff := cmp.Diff(wantForm, form); diff != "" {
		t.Errorf("form: %s", diff)
	}
}

func TestExchangeAsksForNoMoreThanWasAskedFor(t *testing.T) {
	var form url.Values
	c := connect(gateway(t, func(w http.ResponseWriter, f url.Values, _ int) {
		form = f
		answer(w, http.StatusOK, granted)
	}))
	if _, err := c.Exchange(t.Context(), client.Request{Target: "orders-api", Audience: "aud"}, counting()); err != nil {
		t.Fatal(err)
	}
	want := url.Values{
		"grant_type":         {"urn:ietf:params:oauth:grant-type:token-exchange"},
		"subject_token":      {"h.1.aud"},
		"subject_token_type": {"urn:ietf:params:oauth:token-type:jwt"},
		"audience":           {"orders-api"},
	}
	if diff := cmp.Diff(want, form); diff != "" {
		t.Errorf("form: %s", diff)
	}
}

func TestDryRun(t *testing.T) {
	body := `{"dry_run":true,"decision_id":"d-2","would_allow":true,"expires_in":60}`
	c := connect(gateway(t, func(w http.ResponseWriter, f url.Values, _ int) {
		if f.Get("dry_run") != "true" {
			t.Errorf("form: %v", f)
		}
		answer(w, http.StatusOK, body)
	}))
	got, err := c.Exchange(t.Context(), client.Request{Target: "x", DryRun: true}, counting())
	if err != nil || !got.DryRun || got.DecisionID != "d-2" || got.ExpiresIn != 60 || got.AccessToken != "" {
		t.Errorf("got %#v, %v", got, err)
	}
	body = granted // a gateway that knows no dry run, and issued
	if got, err := c.Exchange(t.Context(), client.Request{Target: "x", DryRun: true}, counting()); err == nil || got != (client.Credential{}) {
		t.Errorf("an answer that issued passed as a dry run: %v", got)
	}
}

func TestRefusedRequests(t *testing.T) {
	valid := client.Request{Target: "orders-api"}
	for _, tt := range []struct {
		name   string
		server string
		change func(*client.Request)
	}{
		{name: "no target", change: func(r *client.Request) { r.Target = "" }},
		{name: "negative ttl", change: func(r *client.Request) { r.TTL = -time.Second }},
		{name: "fraction of a second", change: func(r *client.Request) { r.TTL = 1500 * time.Millisecond }},
		{name: "plain http", server: "http://id.acme.example"},
		{name: "http to a private address", server: "http://10.0.0.1"},
		{name: "http to a name that begins like loopback", server: "http://localhost.evil.example"},
		{name: "user", server: "https://good@evil.example"},
		{name: "query", server: "https://id.acme.example?x=1"},
		{name: "empty query", server: "https://id.acme.example?"},
		{name: "fragment", server: "https://id.acme.example#x"},
		{name: "no scheme", server: "id.acme.example"},
		{name: "opaque", server: "https:id.acme.example"},
		{name: "other scheme", server: "file:///etc/passwd"},
		{name: "nothing", server: " "},
	} {
		t.Run(tt.name, func(t *testing.T) {
			tried := 0
			c := client.Client{Server: "https://id.acme.example", HTTP: &http.Client{Transport: broken{&tried}}}
			r := valid
			if tt.server != "" {
				c.Server = tt.server
			}
			if tt.change != nil {
				tt.change(&r)
			}
			if _, err := c.Exchange(t.Context(), r, counting()); err == nil || errors.Is(err, client.ErrUnreachable) || tried != 0 {
				t.Errorf("error %v after %d requests", err, tried)
			}
		})
	}
}

func TestServers(t *testing.T) {
	for server, want := range map[string]string{
		"https://id.acme.example":        "https://id.acme.example/token",
		"https://id.acme.example/":       "https://id.acme.example/token",
		"https://acme.example/cambio":    "https://acme.example/cambio/token",
		"http://127.0.0.1:8080":          "http://127.0.0.1:8080/token",
		"http://[::1]:8080/":             "http://[::1]:8080/token",
		"http://localhost:8080":          "http://localhost:8080/token",
		"https://id.acme.example:8443//": "https://id.acme.example:8443/token",
	} {
		var got string
		h := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			got = r.URL.String()
			answer(w, http.StatusOK, granted)
		})
		c := client.Client{Server: server, HTTP: &http.Client{Transport: inProcess{h}}}
		if _, err := c.Exchange(t.Context(), client.Request{Target: "x"}, counting()); err != nil || got != want {
			t.Errorf("%s: asked %s, want %s (%v)", server, got, want, err)
		}
		if err := client.CheckServer(server); err != nil {
			t.Errorf("%s: %v", server, err)
		}
	}
	for _, server := range []string{"", "id.acme.example", "id.acme.example:8443", "http://id.acme.example", "https://me:secret@id.acme.example", "https://id.acme.example?secret", "ftp://secret"} {
		if err := client.CheckServer(server); err == nil || strings.Contains(err.Error(), "secret") {
			t.Errorf("%s: %v", server, err)
		}
	}
}

func TestRefusalSaysItsDecisionOnce(t *testing.T) {
	for text, r := range map[string]client.Refusal{
		"invalid_target: No.": {Status: 400, Code: "invalid_target", Description: "No.", DecisionID: "d-4"},
		"invalid_target":      {Status: 400, Code: "invalid_target", DecisionID: "d-4"},
	} {
		if r.Text() != text || r.Error() != text+" (decision_id d-4)" {
			t.Errorf("%q, %q", r.Text(), r.Error())
		}
	}
}

func TestRetry(t *testing.T) {
	const busy = `{"error":"temporarily_unavailable","error_description":"Later.","decision_id":"d-3"}`
	for _, tt := range []struct {
		name     string
		replies  []int // status of each attempt; the last one repeats
		after    string
		attempts int
		took     time.Duration
		status   int // of the refusal at the end, 0 for a credential
	}{
		{name: "at once", replies: []int{200}, attempts: 1},
		{name: "after one 503", replies: []int{503, 200}, attempts: 2, took: time.Second},
		{name: "pauses double", replies: []int{503, 502, 504, 200}, attempts: 4, took: 7 * time.Second},
		{name: "Retry-After of a 429", replies: []int{429, 200}, after: "7", attempts: 2, took: 7 * time.Second},
		{name: "a short Retry-After does not hurry", replies: []int{503, 200}, after: "0", attempts: 2, took: time.Second},
		{name: "a date is no Retry-After", replies: []int{503, 200}, after: "Sun, 22 Nov 2026 06:00:00 GMT", attempts: 2, took: time.Second},
		{name: "a Retry-After beyond the budget", replies: []int{503}, after: "3600", attempts: 1, status: 503},
		{name: "an absurd Retry-After", replies: []int{503}, after: "99999999999999999999", attempts: 1, status: 503},
		{name: "busy without end", replies: []int{503}, attempts: 6, took: 31 * time.Second, status: 503},
		{name: "the budget ends", replies: []int{503}, after: "25", attempts: 3, took: 50 * time.Second, status: 503},
		{name: "never after a refusal", replies: []int{400}, after: "1", attempts: 1, status: 400},
		{name: "never after a fault", replies: []int{500}, attempts: 1, status: 500},
		{name: "a refusal ends it", replies: []int{503, 400}, attempts: 2, took: time.Second, status: 400},
	} {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				tokens := map[string]bool{}
				c := connect(gateway(t, func(w http.ResponseWriter, f url.Values, n int) {
					tokens[f.Get("subject_token")] = true
					status := tt.replies[min(n, len(tt.replies))-1]
					if tt.after != "" {
						w.Header().Set("Retry-After", tt.after)
					}
					if status == http.StatusOK {
						answer(w, status, granted)
						return
					}
					answer(w, status, busy)
				}))
				start := time.Now()
				_, err := c.Exchange(t.Context(), client.Request{Target: "x"}, counting())
				var refusal *client.Refusal
				status := 0
				if errors.As(err, &refusal) {
					status = refusal.Status
				} else if err != nil {
					t.Fatal(err)
				}
				if took := time.Since(start); status != tt.status || len(tokens) != tt.attempts || took != tt.took {
					t.Errorf("status %d after %d fresh tokens and %v, want %d, %d, %v", status, len(tokens), took, tt.status, tt.attempts, tt.took)
				}
			})
		})
	}
}

func TestRetryWhenNobodyAnswers(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		tried := 0
		c := client.Client{Server: "https://id.acme.example", HTTP: &http.Client{Transport: broken{&tried}}}
		_, err := c.Exchange(t.Context(), client.Request{Target: "x"}, counting())
		if !errors.Is(err, client.ErrUnreachable) || tried != 6 {
			t.Errorf("%v after %d attempts", err, tried)
		}
	})
}

func TestRetryEndsWithTheCaller(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithCancel(t.Context())
		tried := 0
		c := client.Client{Server: "https://id.acme.example", HTTP: &http.Client{Transport: broken{&tried}}}
		time.AfterFunc(1500*time.Millisecond, cancel)
		start := time.Now()
		_, err := c.Exchange(ctx, client.Request{Target: "x"}, counting())
		if took := time.Since(start); err == nil || tried != 2 || took != 1500*time.Millisecond {
			t.Errorf("%v after %d attempts and %v", err, tried, took)
		}
	})
}

func TestRetryOfTheSource(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := connect(gateway(t, func(w http.ResponseWriter, _ url.Values, _ int) { answer(w, http.StatusOK, granted) }))
		n := 0
		source := client.NewSource("test", func(context.Context, string) (string, error) {
			if n++; n == 1 {
				return "", fmt.Errorf("%w: busy", client.ErrUnreachable)
			}
			return "h.p.s", nil
		})
		if _, err := c.Exchange(t.Context(), client.Request{Target: "x"}, source); err != nil || n != 2 {
			t.Errorf("%v after %d tokens", err, n)
		}
	})
}

func TestNoIdentityIsNotRetried(t *testing.T) {
	tried := 0
	c := client.Client{Server: "https://id.acme.example", HTTP: &http.Client{Transport: broken{&tried}}}
	for _, source := range []*client.Source{nil, {}, client.NewSource("empty", func(context.Context, string) (string, error) { return "", nil })} {
		if _, err := c.Exchange(t.Context(), client.Request{Target: "x"}, source); !errors.Is(err, client.ErrNoIdentity) || tried != 0 {
			t.Errorf("%v after %d requests", err, tried)
		}
	}
}

func TestRefusal(t *testing.T) {
	for _, tt := range []struct {
		name   string
		status int
		kind   string
		header string
		body   string
		want   client.Refusal
	}{
		{
			name: "denied", status: 400, kind: "application/json; charset=utf-8", header: "d-9",
			body: `{"error":"invalid_target","error_description":"No.","decision_id":"d-4"}`,
			want: client.Refusal{Status: 400, Code: "invalid_target", Description: "No.", DecisionID: "d-4"},
		},
		{
			name: "denied, with a hint", status: 400, kind: "application/json",
			body: `{"error":"invalid_request","error_description":"No.","error_hint":"The claim ref is not one that the trust takes.","decision_id":"d-4"}`,
			want: client.Refusal{Status: 400, Code: "invalid_request", Description: "No.", Hint: "The claim ref is not one that the trust takes.", DecisionID: "d-4"},
		},
		{name: "a proxy's page", status: 403, kind: "text/html", body: "<h1>no</h1>", want: client.Refusal{Status: 403}},
		{name: "a page that calls itself JSON", status: 404, kind: "application/json", header: "d-5", body: "<h1>no</h1>", want: client.Refusal{Status: 404, DecisionID: "d-5"}},
		{
			name: "escape sequences", status: 400, kind: "application/json",
			body: `{"error":"invalid_request","error_description":"\u001b[2Jall is well","error_hint":"all is\nwell","decision_id":"d\n1"}`,
			want: client.Refusal{Status: 400, Code: "invalid_request"},
		},
		{name: "a name twice", status: 400, kind: "application/json", body: `{"error":"a","error":"b"}`, want: client.Refusal{Status: 400}},
		{name: "no strings", status: 400, kind: "application/json", body: `{"error":1,"error_description":null}`, want: client.Refusal{Status: 400}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			c := connect(gateway(t, func(w http.ResponseWriter, _ url.Values, _ int) {
				w.Header().Set("Content-Type", tt.kind)
				w.Header().Set("Cambio-Decision-Id", tt.header)
				w.WriteHeader(tt.status)
				fmt.Fprint(w, tt.body)
			}))
			_, err := c.Exchange(t.Context(), client.Request{Target: "x"}, counting())
			var got *client.Refusal
			if !errors.As(err, &got) {
				t.Fatalf("error %v", err)
			}
			if *got != tt.want {
				t.Errorf("%#v, want %#v", *got, tt.want)
			}
			if strings.Contains(err.Error(), "h.1.") {
				t.Errorf("the error holds the token: %v", err)
			}
		})
	}
}

func TestMalformedAnswers(t *testing.T) {
	for _, tt := range []struct{ name, old, replaced string }{
		{"not JSON", granted, `<html>`},
		{"an array", granted, `[]`},
		{"null", granted, `null`},
		{"trailing data", `"d-1"}`, `"d-1"}{}`},
		{"cut off", `"d-1"}`, `"d-1"`},
		{"a name twice", `"decision_id"`, `"access_token":"evil","decision_id"`},
		{"a name in other letters", `"access_token"`, `"ACCESS_TOKEN"`},
		{"no token", `"a.b.c"`, `""`},
		{"token no string", `"a.b.c"`, `{}`},
		{"no issued_token_type", `"urn:ietf:params:oauth:token-type:jwt"`, `null`},
		{"unknown token_type", `"Bearer"`, `"mac"`},
		{"expires_in a string", `900`, `"900"`},
		{"expires_in a fraction", `900`, `900.5`},
		{"expires_in with an exponent", `900`, `9e2`},
		{"expires_in zero", `900`, `0`},
		{"expires_in negative", `900`, `-900`},
		{"expires_in beyond a day", `900`, `86401`},
		{"expires_in beyond int64", `900`, `99999999999999999999`},
		{"no decision_id", `"d-1"`, `""`},
		{"a dry run that nobody asked for", `"decision_id"`, `"dry_run":true,"decision_id"`},
		{"too large", `"orders:read"`, `"` + strings.Repeat("x", 65<<10) + `"`},
	} {
		t.Run(tt.name, func(t *testing.T) {
			body := strings.Replace(granted, tt.old, tt.replaced, 1)
			if body == granted {
				t.Fatal("the case changes nothing")
			}
			n := 0
			c := connect(gateway(t, func(w http.ResponseWriter, _ url.Values, _ int) {
				n++
				answer(w, http.StatusOK, body)
			}))
			got, err := c.Exchange(t.Context(), client.Request{Target: "x"}, counting())
			var refusal *client.Refusal
			if err == nil || errors.As(err, &refusal) || got != (client.Credential{}) || n != 1 {
				t.Errorf("got %v, %v after %d attempts", got, err, n)
			}
			if err != nil && strings.Contains(err.Error(), "a.b.c") {
				t.Errorf("the error holds the credential: %v", err)
			}
		})
	}
}

// A redirect would carry the subject token to a host that nobody configured.
func TestNoRedirect(t *testing.T) {
	elsewhere := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		t.Errorf("the redirect was followed: %s %s", r.Method, r.URL)
	}))
	defer elsewhere.Close()
	server := httptest.NewServer(http.RedirectHandler(elsewhere.URL, http.StatusTemporaryRedirect))
	defer server.Close()
	following := &http.Client{CheckRedirect: func(*http.Request, []*http.Request) error { return nil }}
	c := client.Client{Server: server.URL, HTTP: following}
	_, err := c.Exchange(t.Context(), client.Request{Target: "x"}, counting())
	var refusal *client.Refusal
	if !errors.As(err, &refusal) || refusal.Status != http.StatusTemporaryRedirect {
		t.Errorf("error %v", err)
	}
}

func TestCredentialHidesItself(t *testing.T) {
	c := client.Credential{AccessToken: "canary", DecisionID: "d-1"}
	var log strings.Builder
	slog.New(slog.NewJSONHandler(&log, nil)).InfoContext(t.Context(), "issued", slog.Any("credential", c))
	for _, text := range []string{fmt.Sprint(c), fmt.Sprintf("%+v", c), fmt.Sprintf("%#v", c), fmt.Sprintf("%s %q %v", c, c, &c), log.String()} {
		if strings.Contains(text, "canary") || !strings.Contains(text, "d-1") {
			t.Errorf("printed as %s", text)
		}
	}
}

// An answer is hostile until proven: no input may panic, and an error leaves
// nothing to be used.
func FuzzAnswer(f *testing.F) {
	for _, seed := range []string{
		granted, `{"dry_run":true,"decision_id":"d","would_allow":true,"expires_in":1}`, `{}`, `[]`, `{"a":1,"a":2}`, "\xff", `{"error":"invalid_request"}`,
		`{"access_token":"\ud800","issued_token_type":"x","token_type":"N_A","expires_in":1,"decision_id":"d"}`,
	} {
		f.Add(200, seed, false)
		f.Add(200, seed, true)
		f.Add(400, seed, false)
	}
	f.Fuzz(func(t *testing.T, status int, body string, dryRun bool) {
		if status != http.StatusOK {
			status = http.StatusBadRequest
		}
		c := connect(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { answer(w, status, body) }))
		cred, err := c.Exchange(t.Context(), client.Request{Target: "x", DryRun: dryRun}, counting())
		switch {
		case err != nil && cred != (client.Credential{}):
			t.Errorf("an error came with %#v", cred)
		case err == nil && status != http.StatusOK:
			t.Error("a refusal passed as a credential")
		case err == nil && (cred.DryRun != dryRun || (cred.AccessToken == "") != dryRun || cred.DecisionID == "" || cred.ExpiresIn < 1):
			t.Errorf("accepted half a credential from %q", body)
		}
	})
}

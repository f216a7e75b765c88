package web_test

import (
	"context"
	"encoding/json"
	"errors"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"cambio/exchange"
	"cambio/trust"
	"cambio/web"
)

func bearer() url.Values {
	return url.Values{"grant_type": {"urn:ietf:params:oauth:grant-type:jwt-bearer"}, "assertion": {"aaa.bbb.ccc"}, "audience": {"t1"}}
}

func asserted() url.Values {
	return url.Values{
		"grant_type": {"client_credentials"}, "client_assertion": {"aaa.bbb.ccc"}, "audience": {"t1"},
		"client_assertion_type": {"urn:ietf:params:oauth:client-assertion-type:jwt-bearer"},
	}
}

// TestGrants: all grants lead to the same exchange.
func TestGrants(t *testing.T) {
	for name, c := range map[string]struct {
		form func() url.Values
		as   exchange.Code
	}{
		"token exchange":     {good, ""},
		"jwt-bearer":         {bearer, exchange.InvalidGrant},
		"client credentials": {asserted, exchange.InvalidClient},
	} {
		t.Run(name, func(t *testing.T) {
			x := &spy{}
			h, _ := handler(t, x, nil)
			form := c.form()
			form.Set("resource", "urn:x")
			form.Set("scope", "read")
			form.Set("ttl", "60")
			form.Set("trust", "tr1")
			form.Set("dry_run", "true")
			form.Set("client_id", "ignored")
			if w, _ := serve(h, post(form.Encode())); w.Code != http.StatusOK {
				t.Fatalf("%d %s", w.Code, w.Body)
			}
			want := exchange.Request{
				Decision: x.got[0].Decision, SubjectToken: "aaa.bbb.ccc", DryRun: true, RefusedAs: c.as,
				Ask: trust.Request{
					Target: "t1", Resource: "urn:x", Trust: "tr1", Scopes: []string{"read"}, TTL: time.Minute,
					Address: netip.MustParseAddr("192.0.2.1"),
				},
			}
			if diff := cmp.Diff(want, x.got[0], cmp.Comparer(func(a, b netip.Addr) bool { return a == b })); diff != "" {
				t.Error(diff)
			}
		})
	}
}

func TestGrantsThatAreRefused(t *testing.T) {
	set := func(form func() url.Values, name, value string) url.Values {
		f := form()
		f.Set(name, value)
		return f
	}
	for name, c := range map[string]struct {
		form   url.Values
		code   string
		reason trust.Reason
	}{
		"no assertion":          {set(bearer, "assertion", ""), "invalid_request", trust.ReasonFormInvalid},
		"no audience":           {set(bearer, "audience", ""), "invalid_request", trust.ReasonFormInvalid},
		"a second proof":        {set(bearer, "subject_token", "a.b.c"), "invalid_request", trust.ReasonFormInvalid},
		"a client's too":        {set(bearer, "client_assertion", "a.b.c"), "invalid_request", trust.ReasonFormInvalid},
		"an actor":              {set(bearer, "actor_token", "a.b.c"), "invalid_request", trust.ReasonActorUnsupported},
		"no JWS":                {set(bearer, "assertion", "a.b"), "invalid_grant", trust.ReasonMalformed},
		"too large":             {set(bearer, "assertion", strings.Repeat("a", 17000)), "invalid_grant", trust.ReasonTooLarge},
		"no client assertion":   {set(asserted, "client_assertion", ""), "invalid_request", trust.ReasonFormInvalid},
		"no type":               {set(asserted, "client_assertion_type", ""), "invalid_request", trust.ReasonFormInvalid},
		"another type":          {set(asserted, "client_assertion_type", "urn:ietf:params:oauth:client-assertion-type:saml2-bearer"), "invalid_request", trust.ReasonTokenType},
		"an assertion too":      {set(asserted, "assertion", "a.b.c"), "invalid_request", trust.ReasonFormInvalid},
		"a client's that is no": {set(asserted, "client_assertion", "x"), "invalid_client", trust.ReasonMalformed},
	} {
		t.Run(name, func(t *testing.T) {
			x := &spy{}
			h, outcomes := handler(t, x, nil)
			w, body := serve(h, post(c.form.Encode()))
			if w.Code != http.StatusBadRequest || body["error"] != c.code || (*outcomes)[0].Reason != string(c.reason) || len(x.got) != 0 {
				t.Errorf("%d %s %v", w.Code, w.Body, *outcomes)
			}
			if w.Header().Get("WWW-Authenticate") != "" {
				t.Error("a challenge, and no Authorization header was sent")
			}
		})
	}
	for code, want := range map[exchange.Code]string{exchange.InvalidGrant: "invalid_grant", exchange.InvalidClient: "invalid_client"} {
		h, _ := handler(t, &spy{err: &exchange.Error{Code: code, Reason: trust.ReasonSignature}}, nil)
		if w, body := serve(h, post(bearer().Encode())); w.Code != http.StatusBadRequest || body["error"] != want {
			t.Errorf("%s: %d %s", code, w.Code, w.Body)
		}
	}
}

// sealer hands out the provider's name as a nonce.
type sealer struct{ err error }

func (s sealer) Seal(provider string, _ time.Time) (string, error) { return "cn1." + provider, s.err }

func TestNonce(t *testing.T) {
	ask := func(body string, change func(*http.Request)) *http.Request {
		r := httptest.NewRequest(http.MethodPost, "/nonce", strings.NewReader(body))
		if body != "" {
			r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
		}
		if change != nil {
			change(r)
		}
		return r
	}
	for name, c := range map[string]struct {
		r      *http.Request
		status int
		nonce  string
	}{
		"empty":              {ask("", nil), 200, "cn1.only"},
		"of a provider":      {ask("provider=github", nil), 200, "cn1.github"},
		"other parameters":   {ask("x=1", nil), 200, "cn1.only"},
		"no name":            {ask("provider=GitHub", nil), 400, ""},
		"an empty name":      {ask("provider=", nil), 400, ""},
		"twice":              {ask("provider=a&provider=b", nil), 400, ""},
		"a query":            {ask("", func(r *http.Request) { r.URL.RawQuery = "provider=a" }), 415, ""},
		"another media type": {ask("x=1", func(r *http.Request) { r.Header.Set("Content-Type", "application/json") }), 415, ""},
		"an Authorization":   {ask("", func(r *http.Request) { r.Header.Set("Authorization", "Bearer x") }), 401, ""},
		"a GET":              {ask("", func(r *http.Request) { r.Method = http.MethodGet }), 405, ""},
	} {
		t.Run(name, func(t *testing.T) {
			h, _ := handler(t, &spy{}, func(w *web.Config) { w.Nonces, w.NonceProvider = sealer{}, "only" })
			w, body := serve(h, c.r)
			if w.Code != c.status || w.Header().Get("Cambio-Decision-Id") == "" || w.Header().Get("Cache-Control") != "no-store" {
				t.Fatalf("%d %v %s", w.Code, w.Header(), w.Body)
			}
			if c.nonce != "" {
				if diff := cmp.Diff(map[string]any{"nonce": c.nonce, "expires_in": float64(300)}, body); diff != "" {
					t.Error(diff)
				}
			}
		})
	}
	h, outcomes := handler(t, &spy{}, func(w *web.Config) { w.Nonces, w.Limiter = sealer{errors.New("SECRET")}, web.NewLimiter(1) })
	if w, _ := serve(h, ask("", nil)); w.Code != 500 || strings.Contains(w.Body.String(), "SECRET") {
		t.Errorf("no randomness: %d %s", w.Code, w.Body)
	}
	serve(h, ask("", nil))
	if w, _ := serve(h, ask("", nil)); w.Code != 429 {
		t.Errorf("beyond the burst: %d", w.Code)
	}
	var counted []string
	for _, o := range *outcomes {
		counted = append(counted, o.Code)
	}
	if diff := cmp.Diff([]string{"server_error", "server_error", "limited"}, counted); diff != "" {
		t.Error(diff)
	}
	without, _ := handler(t, &spy{}, nil)
	if w, _ := serve(without, ask("", nil)); w.Code != 404 {
		t.Errorf("without nonces: %d", w.Code)
	}
}

// awsSpy answers with what an AWS target gives.
type awsSpy struct{}

func (awsSpy) Exchange(_ context.Context, r exchange.Request) (*exchange.Result, error) {
	return &exchange.Result{
		Decision: r.Decision, ExpiresIn: 15 * time.Minute,
		Credential: exchange.Credential{Value: process, Type: "urn:cambio:token-type:aws-credentials", Structured: true},
	}, nil
}

const process = `{"Version":1,"AccessKeyId":"ASIAX","SecretAccessKey":"s","SessionToken":"t","Expiration":"2027-01-05T13:00:00Z"}`

func TestAWSAnswer(t *testing.T) {
	h, _ := handler(t, awsSpy{}, nil)
	w, body := serve(h, post(good().Encode()))
	if w.Code != http.StatusOK {
		t.Fatal(w.Body)
	}
	var object map[string]any
	if err := json.Unmarshal([]byte(process), &object); err != nil {
		t.Fatal(err)
	}
	want := map[string]any{
		"access_token": process, "issued_token_type": "urn:cambio:token-type:aws-credentials", "token_type": "N_A",
		"expires_in": float64(900), "decision_id": w.Header().Get("Cambio-Decision-Id"), "credentials": object,
	}
	if diff := cmp.Diff(want, body); diff != "" {
		t.Error(diff)
	}
}

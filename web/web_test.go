package web_test

import (
	"bytes"
	"context"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"errors"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"net/url"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"cambio/exchange"
	"cambio/trust"
	"cambio/web"
)

const (
	grantType = "urn:ietf:params:oauth:grant-type:token-exchange"
	jwtType   = "urn:ietf:params:oauth:token-type:jwt"
	fixed     = "The request was refused. Quote decision_id to the owner of the trust."
)

// spy remembers what it was asked, and answers what it is told to.
type spy struct {
	got []exchange.Request
	err error
}

func (s *spy) Exchange(_ context.Context, r exchange.Request) (*exchange.Result, error) {
	s.got = append(s.got, r)
	if s.err != nil {
		return nil, s.err
	}
	return &exchange.Result{
		Decision: r.Decision, Scopes: []string{"read", "list"}, ExpiresIn: 300 * time.Second, DryRun: r.DryRun,
		Credential: exchange.Credential{Value: "the-credential", Type: jwtType},
	}, nil
}

type voice struct{}

func (voice) Discovery() []byte { return []byte(`{"issuer":"https://gw.test"}`) }
func (voice) JWKS() []byte      { return []byte(`{"keys":[]}`) }
func (voice) Bundle() []byte    { return []byte(`{"spiffe_sequence":1,"keys":[]}`) }

func handler(t *testing.T, x web.Exchanger, change func(*web.Config)) (http.Handler, *[]web.Outcome) {
	t.Helper()
	outcomes := &[]web.Outcome{}
	c := web.Config{
		Exchanger: x, Voice: voice{}, Issuer: "https://gw.test", Now: time.Now, Rand: rand.Reader,
		Log: slog.New(slog.DiscardHandler), Observe: func(o web.Outcome) { *outcomes = append(*outcomes, o) },
	}
	if change != nil {
		change(&c)
	}
	h, err := web.Handler(c)
	if err != nil {
		t.Fatal(err)
	}
	return h, outcomes
}

func good() url.Values {
	return url.Values{
		"grant_type": {grantType}, "subject_token": {"aaa.bbb.ccc"}, "subject_token_type": {jwtType}, "audience": {"t1"},
	}
}

func post(body string) *http.Request {
	r := httptest.NewRequest(http.MethodPost, "/token", strings.NewReader(body))
	r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	return r
}

func serve(h http.Handler, r *http.Request) (*httptest.ResponseRecorder, map[string]any) {
	w := httptest.NewRecorder()
	h.ServeHTTP(w, r)
	var body map[string]any
	if err := json.Unmarshal(w.Body.Bytes(), &body); err != nil {
		body = nil
	}
	return w, body
}

func TestTokenAllowed(t *testing.T) {
	x := &spy{}
	h, outcomes := handler(t, x, nil)
	form := good()
	form.Set("scope", "read list read")
	form.Set("resource", "arn:aws:iam::111122223333:role/deploy")
	form.Set("ttl", "120")
	form.Set("trust", "tr1")
	form.Set("requested_token_type", "urn:ietf:params:oauth:token-type:access_token")
	form.Set("client_id", "whatever")
	form.Set("unknown", "ignored")
	w, body := serve(h, post(form.Encode()))
	if w.Code != http.StatusOK {
		t.Fatalf("status %d: %s", w.Code, w.Body)
	}
	id := w.Header().Get("Cambio-Decision-Id")
	want := map[string]any{
		"access_token": "the-credential", "issued_token_type": jwtType, "token_type": "Bearer",
		"expires_in": float64(300), "scope": "read list", "decision_id": id,
	}
	if diff := cmp.Diff(want, body); diff != "" {
		t.Error(diff)
	}
	if got := w.Header().Get("Cache-Control"); got != "no-store" {
		t.Errorf("Cache-Control %q", got)
	}
	asked := exchange.Request{
		Decision: id, SubjectToken: "aaa.bbb.ccc", CredentialType: "urn:ietf:params:oauth:token-type:access_token",
		Ask: trust.Request{
			Target: "t1", Resource: "arn:aws:iam::111122223333:role/deploy", Trust: "tr1", Scopes: []string{"read", "list"},
			TTL: 2 * time.Minute, Address: netip.MustParseAddr("192.0.2.1"),
		},
	}
	if diff := cmp.Diff([]exchange.Request{asked}, x.got, cmp.Comparer(func(a, b netip.Addr) bool { return a == b })); diff != "" {
		t.Error(diff)
	}
	if diff := cmp.Diff("ok", (*outcomes)[0].Code); diff != "" {
		t.Error(diff)
	}
}

func TestTokenDryRun(t *testing.T) {
	h, _ := handler(t, &spy{}, nil)
	form := good()
	form.Set("dry_run", "true")
	w, body := serve(h, post(form.Encode()))
	want := map[string]any{
		"dry_run": true, "would_allow": true, "expires_in": float64(300),
		"decision_id": w.Header().Get("Cambio-Decision-Id"),
	}
	if diff := cmp.Diff(want, body); diff != "" {
		t.Error(diff)
	}
}

// Each row breaks one thing of a good form.
func TestTokenRefusedBeforeTheStory(t *testing.T) {
	set := func(k, v string) func(url.Values) { return func(f url.Values) { f.Set(k, v) } }
	del := func(k string) func(url.Values) { return func(f url.Values) { f.Del(k) } }
	add := func(k, v string) func(url.Values) { return func(f url.Values) { f.Add(k, v) } }
	for name, row := range map[string]struct {
		change func(url.Values)
		status int
		code   string
		names  string // what error_description must name
		reason trust.Reason
	}{
		"no grant_type":            {del("grant_type"), 400, "invalid_request", "grant_type", trust.ReasonFormInvalid},
		"empty grant_type":         {set("grant_type", ""), 400, "invalid_request", "grant_type", trust.ReasonFormInvalid},
		"no subject_token":         {del("subject_token"), 400, "invalid_request", "subject_token", trust.ReasonFormInvalid},
		"no subject_token_type":    {del("subject_token_type"), 400, "invalid_request", "subject_token_type", trust.ReasonFormInvalid},
		"no audience":              {del("audience"), 400, "invalid_request", "audience", trust.ReasonFormInvalid},
		"empty audience":           {set("audience", ""), 400, "invalid_request", "audience", trust.ReasonFormInvalid},
		"audience twice":           {add("audience", "t2"), 400, "invalid_target", "", trust.ReasonAudienceRepeated},
		"subject_token twice":      {add("subject_token", "x"), 400, "invalid_request", "subject_token", trust.ReasonFormInvalid},
		"grant_type twice":         {add("grant_type", grantType), 400, "invalid_request", "grant_type", trust.ReasonFormInvalid},
		"unknown twice":            {func(f url.Values) { f["x"] = []string{"1", "2"} }, 400, "invalid_request", "more than once", trust.ReasonFormInvalid},
		"resource twice":           {func(f url.Values) { f["resource"] = []string{"a:b", "a:c"} }, 400, "invalid_request", "resource", trust.ReasonFormInvalid},
		"resource relative":        {set("resource", "/role/x"), 400, "invalid_request", "resource", trust.ReasonFormInvalid},
		"resource with a fragment": {set("resource", "https://a.test/#x"), 400, "invalid_request", "resource", trust.ReasonFormInvalid},
		"resource empty":           {set("resource", ""), 400, "invalid_request", "resource", trust.ReasonFormInvalid},
		"client credentials":       {set("grant_type", "client_credentials"), 400, "invalid_request", "client_assertion", trust.ReasonFormInvalid},
		"jwt-bearer":               {set("grant_type", "urn:ietf:params:oauth:grant-type:jwt-bearer"), 400, "invalid_request", "assertion", trust.ReasonFormInvalid},
		"device code":              {set("grant_type", "urn:ietf:params:oauth:grant-type:device_code"), 400, "unsupported_grant_type", "grant_type", trust.ReasonGrantType},
		"grant_type in upper case": {set("grant_type", strings.ToUpper(grantType)), 400, "unsupported_grant_type", "grant_type", trust.ReasonGrantType},
		"grant_type with a space":  {set("grant_type", grantType+" "), 400, "unsupported_grant_type", "grant_type", trust.ReasonGrantType},
		"access token":             {set("subject_token_type", "urn:ietf:params:oauth:token-type:access_token"), 400, "invalid_request", "subject_token_type", trust.ReasonTokenType},
		"jwt without urn":          {set("subject_token_type", "jwt"), 400, "invalid_request", "subject_token_type", trust.ReasonTokenType},
		"unknown requested type":   {set("requested_token_type", "urn:ietf:params:oauth:token-type:saml2"), 400, "invalid_request", "requested_token_type", trust.ReasonTokenType},
		"empty requested type":     {set("requested_token_type", ""), 400, "invalid_request", "requested_token_type", trust.ReasonTokenType},
		"actor":                    {set("actor_token", "a.b.c"), 400, "invalid_request", "actor_token", trust.ReasonActorUnsupported},
		"actor type":               {set("actor_token_type", jwtType), 400, "invalid_request", "actor_token_type", trust.ReasonActorUnsupported},
		"scope with a quote":       {set("scope", `read "x"`), 400, "invalid_scope", "scope", trust.ReasonScopeMalformed},
		"scope with a newline":     {set("scope", "read\nlist"), 400, "invalid_scope", "scope", trust.ReasonScopeMalformed},
		"scope with two spaces":    {set("scope", "read  list"), 400, "invalid_scope", "scope", trust.ReasonScopeMalformed},
		"ttl zero":                 {set("ttl", "0"), 400, "invalid_request", "ttl", trust.ReasonFormInvalid},
		"ttl negative":             {set("ttl", "-5"), 400, "invalid_request", "ttl", trust.ReasonFormInvalid},
		"ttl with a unit":          {set("ttl", "5m"), 400, "invalid_request", "ttl", trust.ReasonFormInvalid},
		"ttl empty":                {set("ttl", ""), 400, "invalid_request", "ttl", trust.ReasonFormInvalid},
		"trust empty":              {set("trust", ""), 400, "invalid_request", "trust", trust.ReasonFormInvalid},
		"dry_run false":            {set("dry_run", "false"), 400, "invalid_request", "dry_run", trust.ReasonFormInvalid},
		"opaque token":             {set("subject_token", "opaque"), 400, "invalid_request", fixed, trust.ReasonMalformed},
		"a million dots":           {set("subject_token", strings.Repeat(".", 16000)), 400, "invalid_request", fixed, trust.ReasonMalformed},
		"token above 16 KiB":       {set("subject_token", strings.Repeat("a", 17000)+".b.c"), 400, "invalid_request", fixed, trust.ReasonTooLarge},
		"33 parameters": {func(f url.Values) {
			for i := range 29 {
				f.Set("p"+string(rune('A'+i)), "x")
			}
		}, 400, "invalid_request", "32", trust.ReasonFormInvalid},
		"body above 64 KiB": {set("x", strings.Repeat("a", 65<<10)), 413, "invalid_request", "64 KiB", trust.ReasonTooLarge},
	} {
		t.Run(name, func(t *testing.T) {
			x := &spy{}
			h, outcomes := handler(t, x, nil)
			form := good()
			row.change(form)
			w, body := serve(h, post(form.Encode()))
			if w.Code != row.status || body["error"] != row.code {
				t.Errorf("got %d %v, want %d %s", w.Code, body, row.status, row.code)
			}
			if text, _ := body["error_description"].(string); !strings.Contains(text, row.names) {
				t.Errorf("error_description %q does not name %q", text, row.names)
			}
			if body["decision_id"] == "" || body["decision_id"] != w.Header().Get("Cambio-Decision-Id") {
				t.Errorf("decision_id %v, header %q", body["decision_id"], w.Header().Get("Cambio-Decision-Id"))
			}
			if w.Header().Get("Cache-Control") != "no-store" {
				t.Error("the answer may be stored")
			}
			if got := (*outcomes)[0].Reason; got != string(row.reason) {
				t.Errorf("reason %s, want %s", got, row.reason)
			}
			if len(x.got) != 0 {
				t.Error("the exchange was started")
			}
		})
	}
}

// The same, by what stands around the form.
func TestTokenEnvelope(t *testing.T) {
	for name, row := range map[string]struct {
		change func(*http.Request)
		status int
		code   string
	}{
		"GET":                       {func(r *http.Request) { r.Method = http.MethodGet }, 405, "invalid_request"},
		"PUT":                       {func(r *http.Request) { r.Method = http.MethodPut }, 405, "invalid_request"},
		"query":                     {func(r *http.Request) { r.URL.RawQuery = "subject_token=SECRET" }, 400, "invalid_request"},
		"empty query":               {func(r *http.Request) { r.URL.ForceQuery = true }, 400, "invalid_request"},
		"JSON":                      {func(r *http.Request) { r.Header.Set("Content-Type", "application/json") }, 415, "invalid_request"},
		"no content type":           {func(r *http.Request) { r.Header.Del("Content-Type") }, 415, "invalid_request"},
		"multipart":                 {func(r *http.Request) { r.Header.Set("Content-Type", "multipart/form-data; boundary=x") }, 415, "invalid_request"},
		"compressed":                {func(r *http.Request) { r.Header.Set("Content-Encoding", "gzip") }, 415, "invalid_request"},
		"Basic":                     {func(r *http.Request) { r.SetBasicAuth("a", "b") }, 401, "invalid_client"},
		"Bearer":                    {func(r *http.Request) { r.Header.Set("Authorization", "Bearer x") }, 401, "invalid_client"},
		"Basic behind an empty one": {func(r *http.Request) { r.Header["Authorization"] = []string{"", "Basic eDp5"} }, 401, "invalid_client"},
		"bad escape":                {func(r *http.Request) { r.Body = io.NopCloser(strings.NewReader("grant_type=%zz")) }, 400, "invalid_request"},
		"semicolon":                 {func(r *http.Request) { r.Body = io.NopCloser(strings.NewReader(good().Encode() + ";scope=x")) }, 400, "invalid_request"},
		"another path":              {func(r *http.Request) { r.URL.Path = "/aws" }, 404, "invalid_request"},
		"nonce before its issue":    {func(r *http.Request) { r.URL.Path = "/nonce" }, 404, "invalid_request"},
	} {
		t.Run(name, func(t *testing.T) {
			x := &spy{}
			h, outcomes := handler(t, x, nil)
			r := post(good().Encode())
			row.change(r)
			w, body := serve(h, r)
			if w.Code != row.status || body["error"] != row.code {
				t.Errorf("got %d %v, want %d %s", w.Code, body, row.status, row.code)
			}
			if (w.Code == http.StatusUnauthorized) != (w.Header().Get("WWW-Authenticate") != "") {
				t.Error("WWW-Authenticate goes with 401, and with nothing else")
			}
			if w.Code == http.StatusUnauthorized && (*outcomes)[0].Reason != string(trust.ReasonClientAuth) {
				t.Errorf("counted as %v", *outcomes)
			}
			if (w.Code == http.StatusMethodNotAllowed) != (w.Header().Get("Allow") == "POST") {
				t.Errorf("Allow %q", w.Header().Get("Allow"))
			}
			if w.Header().Get("Cambio-Decision-Id") == "" || len(x.got) != 0 {
				t.Error("no decision id, or the exchange was started")
			}
			if strings.Contains(w.Body.String(), "SECRET") {
				t.Error("the answer repeats the query")
			}
		})
	}
}

// The error table, code by code; the cause never leaves.
func TestErrorTable(t *testing.T) {
	for _, row := range []struct {
		err    error
		status int
		code   string
		text   string
		retry  string
	}{
		{exchange.Refuse(trust.ReasonConditionFalse, errors.New("SECRET")), 400, "invalid_request", fixed, ""},
		{&exchange.Error{Code: exchange.InvalidTarget, Reason: trust.ReasonTargetNotGranted}, 400, "invalid_target", fixed, ""},
		{&exchange.Error{Code: exchange.InvalidScope, Reason: trust.ReasonScopeNotGranted}, 400, "invalid_scope", fixed, ""},
		{&exchange.Error{Code: exchange.InvalidRequest, Reason: trust.ReasonReplayed, Tell: "Told."}, 400, "invalid_request", "Told.", ""},
		{exchange.Unanswered(trust.ReasonReplayStore, errors.New("SECRET")), 503, "temporarily_unavailable", fixed, "5"},
		{&exchange.Error{Code: exchange.Limited, Reason: trust.ReasonRateLimited, RetryAfter: 100 * time.Millisecond}, 429, "temporarily_unavailable", fixed, "1"},
		{&exchange.Error{Code: exchange.ServerError, Err: errors.New("SECRET")}, 500, "server_error", fixed, ""},
		{errors.New("SECRET"), 500, "server_error", fixed, ""},
		{&exchange.Error{}, 500, "server_error", fixed, ""},
	} {
		h, _ := handler(t, &spy{err: row.err}, nil)
		w, body := serve(h, post(good().Encode()))
		want := map[string]any{"error": row.code, "error_description": row.text, "decision_id": w.Header().Get("Cambio-Decision-Id")}
		if diff := cmp.Diff(want, body); diff != "" || w.Code != row.status {
			t.Errorf("%v: status %d %s", row.err, w.Code, diff)
		}
		if got := w.Header().Get("Retry-After"); got != row.retry {
			t.Errorf("%v: Retry-After %q, want %q", row.err, got, row.retry)
		}
		if strings.Contains(w.Body.String(), "SECRET") {
			t.Errorf("%v: the cause left", row.err)
		}
	}
}

// panicking is an exchange with a fault of ours.
type panicking struct{}

func (panicking) Exchange(context.Context, exchange.Request) (*exchange.Result, error) {
	panic("SECRET")
}

func TestPanicIsServerError(t *testing.T) {
	var log bytes.Buffer
	h, _ := handler(t, panicking{}, func(c *web.Config) { c.Log = slog.New(slog.NewTextHandler(&log, nil)) })
	w, body := serve(h, post(good().Encode()))
	if w.Code != 500 || body["error"] != "server_error" {
		t.Errorf("got %d %v", w.Code, body)
	}
	if strings.Contains(w.Body.String()+log.String(), "SECRET") {
		t.Error("the panic's value left")
	}
}

// Whose X-Forwarded-For is believed, and which of its hops.
func TestAddress(t *testing.T) {
	for name, row := range map[string]struct {
		peer, header, want string
	}{
		"a stranger is not believed":      {"203.0.113.9:1", "10.9.9.9", "203.0.113.9"},
		"a proxy is":                      {"10.0.0.1:1", "198.51.100.7", "198.51.100.7"},
		"what a stranger wrote is not":    {"10.0.0.1:1", "1.2.3.4, 198.51.100.7", "198.51.100.7"},
		"through two proxies":             {"10.0.0.1:1", "198.51.100.7, 10.0.0.2", "198.51.100.7"},
		"no header":                       {"10.0.0.1:1", "", "10.0.0.1"},
		"nonsense stops at the proxy":     {"10.0.0.1:1", "nonsense", "10.0.0.1"},
		"IPv4 in IPv6 counts as IPv4":     {"[::ffff:203.0.113.9]:1", "", "203.0.113.9"},
		"mapped hop":                      {"10.0.0.1:1", "::ffff:198.51.100.7", "198.51.100.7"},
		"other headers are not looked at": {"10.0.0.1:1", "", "10.0.0.1"},
	} {
		t.Run(name, func(t *testing.T) {
			x := &spy{}
			h, _ := handler(t, x, func(c *web.Config) { c.TrustedProxies = []netip.Prefix{netip.MustParsePrefix("10.0.0.0/8")} })
			r := post(good().Encode())
			r.RemoteAddr = row.peer
			if row.header != "" {
				r.Header.Set("X-Forwarded-For", row.header)
			}
			r.Header.Set("Forwarded", "for=9.9.9.9")
			r.Header.Set("X-Real-Ip", "9.9.9.9")
			serve(h, r)
			if got := x.got[0].Ask.Address.String(); got != row.want {
				t.Errorf("address %s, want %s", got, row.want)
			}
		})
	}
}

func TestPublicDocuments(t *testing.T) {
	h, _ := handler(t, &spy{}, nil)
	for path, want := range map[string]string{
		"/.well-known/openid-configuration":       `{"issuer":"https://gw.test"}`,
		"/.well-known/oauth-authorization-server": `{"issuer":"https://gw.test"}`,
		"/keys": `{"keys":[]}`,
	} {
		r := httptest.NewRequest(http.MethodGet, path, nil)
		r.Host = "evil.test"
		r.Header.Set("X-Forwarded-Host", "evil.test")
		r.Header.Set("Origin", "https://evil.test")
		w, _ := serve(h, r)
		if w.Code != 200 || w.Body.String() != want || w.Header().Get("Cache-Control") != "public, max-age=300" {
			t.Errorf("%s: %d %s %v", path, w.Code, w.Body, w.Header())
		}
		if w.Header().Get("Access-Control-Allow-Origin") != "*" || w.Header().Get("Access-Control-Allow-Credentials") != "" {
			t.Errorf("%s: CORS %v", path, w.Header())
		}
		w, _ = serve(h, httptest.NewRequest(http.MethodPost, path, nil))
		if w.Code != 405 || w.Header().Get("Allow") != "GET, HEAD" {
			t.Errorf("POST %s: %d, Allow %q", path, w.Code, w.Header().Get("Allow"))
		}
	}
	r := post(good().Encode())
	r.Header.Set("Origin", "https://evil.test")
	w, _ := serve(h, r)
	if w.Header().Get("Access-Control-Allow-Origin") != "" {
		t.Error("the token endpoint allows an origin")
	}
	w, _ = serve(h, httptest.NewRequest(http.MethodGet, "/", nil))
	if w.Code != 200 || !strings.Contains(w.Body.String(), "https://gw.test/token") {
		t.Errorf("landing page: %d %s", w.Code, w.Body)
	}
}

func TestAddressLimit(t *testing.T) {
	now := time.Unix(1_800_000_000, 0)
	x := &spy{}
	h, _ := handler(t, x, func(c *web.Config) {
		c.Limiter = web.NewLimiter(50)
		c.Now = func() time.Time { return now }
	})
	send := func(peer string) *httptest.ResponseRecorder {
		r := post("not even a form")
		r.RemoteAddr = peer
		w, _ := serve(h, r)
		return w
	}
	for i := range 100 {
		if w := send("203.0.113.9:1"); w.Code != 400 {
			t.Fatalf("request %d: %d", i, w.Code)
		}
	}
	w := send("203.0.113.9:2")
	if w.Code != 429 || w.Header().Get("Retry-After") != "1" {
		t.Errorf("beyond the burst: %d, Retry-After %q", w.Code, w.Header().Get("Retry-After"))
	}
	if w := send("203.0.113.10:1"); w.Code != 400 {
		t.Errorf("another address: %d", w.Code)
	}
	now = now.Add(20 * time.Millisecond)
	if w := send("203.0.113.9:1"); w.Code != 400 {
		t.Errorf("after a fiftieth of a second: %d", w.Code)
	}
	if w := send("203.0.113.9:1"); w.Code != 429 {
		t.Errorf("the next one: %d", w.Code)
	}
}

// FuzzForm: whatever the body, the answer is one of ours, and a form that is
// accepted is served exactly as it was read.
func FuzzForm(f *testing.F) {
	f.Add(good().Encode())
	f.Add("grant_type=" + url.QueryEscape(grantType) + "&audience=a&audience=b")
	f.Add("a=%zz&&&;=;")
	f.Fuzz(func(t *testing.T, body string) {
		x := &spy{}
		h, _ := handler(t, x, nil)
		w, answer := serve(h, post(body))
		if w.Header().Get("Cambio-Decision-Id") == "" || answer == nil {
			t.Fatalf("no answer of ours: %d %s", w.Code, w.Body)
		}
		if w.Code == 500 {
			t.Fatalf("a fault of ours: %q", body)
		}
		if w.Code != 200 {
			if len(x.got) != 0 {
				t.Fatalf("refused with %d, and started: %q", w.Code, body)
			}
			return
		}
		values, err := url.ParseQuery(body)
		if err != nil {
			t.Fatalf("accepted what net/url refuses: %q", body)
		}
		for name, v := range values {
			if len(v) != 1 {
				t.Fatalf("accepted %s %d times: %q", name, len(v), body)
			}
		}
		if got := x.got[0]; got.SubjectToken != values.Get("subject_token") || got.Ask.Target != values.Get("audience") || got.Ask.Resource != values.Get("resource") {
			t.Fatalf("served %+v for %q", got, body)
		}
	})
}

// BenchmarkManyScopes sends the worst scope that a body has room for: its cost
// must grow with its size, and no faster.
func BenchmarkManyScopes(b *testing.B) {
	var scopes strings.Builder
	for i := 0; scopes.Len() < 63<<10-1000; i++ {
		scopes.WriteString(strconv.FormatInt(int64(i), 36) + " ")
	}
	form := good()
	form.Set("scope", strings.TrimSpace(scopes.String()))
	body := form.Encode()
	h, err := web.Handler(web.Config{Exchanger: &spy{}, Voice: voice{}, Now: time.Now, Rand: rand.Reader, Log: slog.New(slog.DiscardHandler)})
	if err != nil {
		b.Fatal(err)
	}
	for b.Loop() {
		if w, _ := serve(h, post(body)); w.Code != http.StatusOK {
			b.Fatal(w.Code)
		}
	}
}

// BenchmarkToken is this package's own part of an exchange.
func BenchmarkToken(b *testing.B) {
	h, err := web.Handler(web.Config{
		Exchanger: &spy{}, Voice: voice{}, Issuer: "https://gw.test", Now: time.Now, Rand: rand.Reader, Log: slog.New(slog.DiscardHandler),
	})
	if err != nil {
		b.Fatal(err)
	}
	form := good()
	form.Set("subject_token", strings.Repeat("a", 600)+"."+strings.Repeat("b", 900)+"."+strings.Repeat("c", 342))
	body := form.Encode()
	b.ReportAllocs()
	for b.Loop() {
		w := httptest.NewRecorder()
		h.ServeHTTP(w, post(body))
		if w.Code != http.StatusOK {
			b.Fatal(w.Body)
		}
	}
}

// TestCertificatesOfProxies: a certificate is the caller's only where nobody handed
// the request on.
func TestCertificatesOfProxies(t *testing.T) {
	for name, c := range map[string]struct {
		peer, header string
		want         int
	}{
		"the caller itself":   {"192.0.2.1:5", "", 1},
		"a trusted proxy":     {"10.0.0.1:5", "", 0},
		"a proxy that says":   {"192.0.2.1:5", "X-Forwarded-For", 0},
		"another that says":   {"192.0.2.1:5", "Forwarded", 0},
		"some other header":   {"192.0.2.1:5", "X-Request-Id", 1},
		"a trusted one's own": {"10.0.0.1:5", "X-Forwarded-For", 0},
	} {
		x := &spy{}
		h, _ := handler(t, x, func(c *web.Config) { c.TrustedProxies = []netip.Prefix{netip.MustParsePrefix("10.0.0.0/8")} })
		r := post("grant_type=urn:ietf:params:oauth:grant-type:token-exchange&subject_token=x&subject_token_type=" + string(exchange.SubjectMTLS) + "&audience=t1")
		r.RemoteAddr, r.TLS = c.peer, &tls.ConnectionState{PeerCertificates: []*x509.Certificate{{}}}
		if c.header != "" {
			r.Header.Set(c.header, "")
		}
		serve(h, r)
		if len(x.got) != 1 || len(x.got[0].Certificates) != c.want {
			t.Errorf("%s: %+v", name, x.got)
		}
	}
}

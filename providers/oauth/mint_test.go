package oauth_test

import (
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"cambio/exchange"
	"cambio/exchange/exchangetest"
	"cambio/providers/oauth"
	"cambio/providers/providertest"
	"cambio/trust"
)

const (
	audience     = "https://auth.acme.test"
	exchanging   = "urn:ietf:params:oauth:grant-type:token-exchange"
	bearing      = "urn:ietf:params:oauth:grant-type:jwt-bearer"
	asserted     = "urn:ietf:params:oauth:client-assertion-type:jwt-bearer"
	jwtType      = "urn:ietf:params:oauth:token-type:jwt"
	idTokenType  = "urn:ietf:params:oauth:token-type:id_token"
	accessType   = "urn:ietf:params:oauth:token-type:access_token"
	theAssertion = "THE ASSERTION"
)

// shape is a server as its documentation has it: what it wants, and what it answers.
type shape struct {
	config oauth.Config
	grant  string
	path   string
	want   map[string]string // theAssertion stands for ours
	answer string            // %s is the token
	ttl    time.Duration     // of the token
}

// shapes are servers that take assertions, as their documents describe them.
func shapes() map[string]shape {
	return map[string]shape{
		"token exchange": {
			config: oauth.Config{Grant: oauth.TokenExchange, Body: oauth.FormBody},
			grant:  `resource: "https://api.acme.test/v1", scopes: [read, write], ttl: 10m`, path: "/token", ttl: 10 * time.Minute,
			want: map[string]string{
				"grant_type": exchanging, "subject_token": theAssertion, "subject_token_type": jwtType, "resource": "https://api.acme.test/v1", "scope": "read write",
			},
			answer: `{"access_token":"%s","issued_token_type":"` + accessType + `","token_type":"Bearer","expires_in":600,"scope":"read","refresh_token":"r-e-f-r-e-s-h"}`,
		},
		"JWT bearer": {
			config: oauth.Config{Grant: oauth.JWTBearer, Body: oauth.FormBody},
			grant:  `scopes: [read], ttl: 10m`, path: "/token", ttl: 10 * time.Minute,
			want:   map[string]string{"grant_type": bearing, "assertion": theAssertion, "scope": "read"},
			answer: `{"access_token":"%s","token_type":"bearer","expires_in":600}`,
		},
		"client credentials": {
			config: oauth.Config{Grant: oauth.ClientCredentials, Body: oauth.FormBody, Parameters: map[string]string{"client_id": "orders"}},
			grant:  `ttl: 10m`, path: "/token", ttl: 10 * time.Minute,
			want:   map[string]string{"grant_type": "client_credentials", "client_assertion_type": asserted, "client_assertion": theAssertion, "client_id": "orders"},
			answer: `{"access_token":"%s","token_type":"Bearer","expires_in":600,"scope":"whatever the client may"}`,
		},
		// The REST API of JFrog Access, "OIDC token exchange".
		"Artifactory": {
			config: oauth.Config{Grant: oauth.TokenExchange, Body: oauth.JSONBody, Parameters: map[string]string{"subject_token_type": idTokenType, "provider_name": "cambio"}},
			grant:  `ttl: 1h`, path: "/access/api/v1/oidc/token", ttl: time.Hour,
			want:   map[string]string{"grant_type": exchanging, "subject_token": theAssertion, "subject_token_type": idTokenType, "provider_name": "cambio"},
			answer: `{"scope":"applied-permissions/groups:readers","access_token":"%s","expires_in":3600,"issued_token_type":"` + accessType + `","token_type":"Bearer"}`,
		},
		// OpenAI, "workload identity federation".
		"AI provider": {
			config: oauth.Config{Grant: oauth.TokenExchange, Body: oauth.JSONBody, Parameters: map[string]string{"identity_provider_id": "idp_123", "service_account_id": "sa_of_the_target"}},
			grant:  `ttl: 1h, parameters: {service_account_id: sa_456}`, path: "/oauth/token", ttl: time.Hour,
			want: map[string]string{
				"grant_type": exchanging, "subject_token": theAssertion, "subject_token_type": jwtType, "identity_provider_id": "idp_123", "service_account_id": "sa_456",
			},
			answer: `{"access_token":"%s","issued_token_type":"` + accessType + `","token_type":"Bearer","expires_in":3599}`,
		},
	}
}

// play is the server, which takes this request and no other.
func (s shape) play(r providertest.Request, token string) (providertest.Response, bool) {
	got := map[string]string{}
	kind := r.Header.Get("Content-Type")
	switch {
	case r.Path != s.path || r.Method != http.MethodPost || r.Header.Get("Authorization") != "" || r.Header.Get("Accept") != "application/json":
		return providertest.Response{}, false
	case s.config.Body == oauth.FormBody && kind == "application/x-www-form-urlencoded":
		for name, values := range r.Form {
			if len(values) != 1 {
				return providertest.Response{}, false
			}
			got[name] = values[0]
		}
	case s.config.Body == oauth.JSONBody && kind == "application/json":
		if json.Unmarshal(r.Body, &got) != nil {
			return providertest.Response{}, false
		}
	default:
		return providertest.Response{}, false
	}
	for _, name := range []string{"subject_token", "assertion", "client_assertion"} {
		if strings.Count(got[name], ".") == 2 {
			got[name] = theAssertion
		}
	}
	return providertest.JSON(200, fmt.Sprintf(s.answer, token)), cmp.Equal(got, s.want)
}

func open(tb testing.TB, c oauth.Config) *oauth.Minter {
	tb.Helper()
	c.Audience, c.Now = audience, exchangetest.Now
	m, err := oauth.New(c)
	if err != nil {
		tb.Fatal(err)
	}
	return m
}

func ask(grant string) exchangetest.Ask {
	return exchangetest.Ask{Type: oauth.TargetType(), Grant: grant, Target: exchange.Target{Types: oauth.Types(), Cloud: true}}
}

// lie changes a member of a good answer; nil removes it.
func lie(name string, v any) func(providertest.Response) providertest.Response {
	return func(good providertest.Response) providertest.Response {
		var m map[string]any
		_ = json.Unmarshal([]byte(good.Body), &m)
		if m[name] = v; v == nil {
			delete(m, name)
		}
		b, _ := json.Marshal(m)
		good.Body = string(b)
		return good
	}
}

func TestMinter(t *testing.T) {
	t.Parallel()
	const token = "s3cr3t-Of-The-Other-Authorization-Server"
	for name, s := range shapes() {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			lies := map[string]func(providertest.Response) providertest.Response{
				"no token": lie("access_token", nil), "an object": lie("access_token", map[string]any{"a": 1}), "nothing": lie("access_token", ""), "a line": lie("access_token", "a\r\nb"),
				"too long": lie("access_token", strings.Repeat("x", 17<<10)),
				"no type":  lie("token_type", nil), "bound": lie("token_type", "DPoP"), "a signature": lie("token_type", "mac"),
				"no end": lie("expires_in", nil), "null": func(good providertest.Response) providertest.Response {
					good.Body = strings.Replace(good.Body, `"expires_in":`, `"expires_in":null,"x":`, 1)
					return good
				},
				"a text": lie("expires_in", "600"), "a fraction": lie("expires_in", 599.5), "expired": lie("expires_in", 0), "before": lie("expires_in", -1),
				"longer": lie("expires_in", int(s.ttl/time.Second)+61), "for ever": lie("expires_in", 1e17),
				"a refresh token": lie("issued_token_type", "urn:ietf:params:oauth:token-type:refresh_token"), "a type of another type": lie("issued_token_type", 7),
				"201": func(good providertest.Response) providertest.Response { good.Status = 201; return good },
			}
			if s.want["scope"] != "" {
				lies["more scopes"] = lie("scope", "read admin")
				lies["scopes of another type"] = lie("scope", []string{"read"})
			}
			if s.config.Grant != oauth.TokenExchange {
				lies["no bearer"] = lie("token_type", "N_A")
			}
			providertest.Minter{
				Ask: ask(s.grant),
				New: func(tb testing.TB, endpoint string, timeout time.Duration, places int) exchange.Minter {
					tb.Helper()
					c := s.config
					c.TokenURL, c.Timeout, c.MaxInFlight = endpoint+s.path, timeout, places
					return open(tb, c)
				},
				Answer:  func(r providertest.Request) (providertest.Response, bool) { return s.play(r, token) },
				Lies:    lies,
				Secrets: func(providertest.Response) []string { return []string{token, "r-e-f-r-e-s-h"} },
				Check: func(tb testing.TB, got exchange.Credential) {
					tb.Helper()
					if got.Value != token || got.Type != accessType || got.Structured || !strings.HasPrefix(got.Handle, "sha256:") || got.Expires.After(exchangetest.Now().Add(s.ttl)) {
						tb.Errorf("%+v", got)
					}
				},
			}.Run(t)
		})
	}
}

// TestRequestedType: a server that was asked for one type and gives another lies.
func TestRequestedType(t *testing.T) {
	t.Parallel()
	for issued, ok := range map[string]bool{accessType: true, jwtType: false} {
		s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Content-Type", "application/json")
			_, _ = w.Write([]byte(`{"access_token":"x","token_type":"N_A","expires_in":60,"issued_token_type":"` + issued + `"}`))
		}))
		m := open(t, oauth.Config{TokenURL: s.URL, Grant: oauth.TokenExchange, Body: oauth.FormBody, Parameters: map[string]string{"requested_token_type": accessType}})
		if _, err := m.Mint(t.Context(), exchangetest.Order(t, ask("ttl: 1m"))); (err == nil) != ok {
			t.Errorf("%s: %v", issued, err)
		}
		s.Close()
	}
}

// TestSaid: what the other server refuses with is in the error, for the journal.
func TestSaid(t *testing.T) {
	t.Parallel()
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "application/json")
		w.WriteHeader(http.StatusUnauthorized)
		_, _ = w.Write([]byte(`{"errors":[{"code":"UNAUTHORIZED","message":"no identity mapping matches"}]}`))
	}))
	t.Cleanup(s.Close)
	_, err := open(t, oauth.Config{TokenURL: s.URL, Grant: oauth.TokenExchange, Body: oauth.JSONBody}).Mint(t.Context(), exchangetest.Order(t, ask("ttl: 1m")))
	var e *exchange.Error
	if !errors.As(err, &e) || e.Issued || e.Err.Error() != "the authorization server answered 401: UNAUTHORIZED: no identity mapping matches" {
		t.Error(err)
	}
}

// TestParameters: nothing that is ours, and no secret, can be said another time.
func TestParameters(t *testing.T) {
	t.Parallel()
	good := map[string]string{"audience": "payments", "client_id": "c", "subject_token_type": idTokenType, "requested_token_type": accessType, "provider_name": "cambio", "projectId": "ü 1"}
	if name, problem := oauth.Parameters(good); problem != "" {
		t.Errorf("%s %s", name, problem)
	}
	for _, name := range []string{
		"grant_type", "subject_token", "actor_token", "actor_token_type", "assertion", "client_assertion", "client_assertion_type", "scope", "resource",
		"client_secret", "password", "username", "refresh_token", "code", "token", "", "A",
		"grant_Type", "scopE", "client_Assertion", "passworD", // servers exist that read names in any case "a b", "a&b", "a=b", "a\nb", strings.Repeat("a", 65),
	} {
		bad := maps.Clone(good)
		bad[name] = "x"
		if got, problem := oauth.Parameters(bad); problem == "" || got != name {
			t.Errorf("%q is taken: %q %q", name, got, problem)
		}
	}
	for _, value := range []string{"", "a\r\nb", "a\x00", strings.Repeat("a", 1025)} {
		if name, problem := oauth.Parameters(map[string]string{"a": value}); problem == "" || name != "a" {
			t.Errorf("%q is taken", value)
		}
	}
	for _, kind := range []string{"urn:ietf:params:oauth:token-type:refresh_token", "urn:ietf:params:oauth:token-type:saml2", "x"} {
		if name, problem := oauth.Parameters(map[string]string{"requested_token_type": kind}); problem == "" || name != "requested_token_type" {
			t.Errorf("%q is asked for", kind)
		}
	}
	many := map[string]string{}
	for i := range 17 {
		many[fmt.Sprintf("a%d", i)] = "x"
	}
	if _, problem := oauth.Parameters(many); problem == "" {
		t.Error("seventeen are taken")
	}
}

func TestMisfit(t *testing.T) {
	t.Parallel()
	misfit := oauth.TargetType().Misfit
	for name, c := range map[string]struct {
		g     trust.Grant
		field string
	}{
		"nothing":         {trust.Grant{}, ""},
		"a resource":      {trust.Grant{Resource: "https://api.acme.test"}, ""},
		"a URN":           {trust.Grant{Resource: "urn:acme:api"}, ""},
		"a word":          {trust.Grant{Resource: "api"}, "resource"},
		"a fragment":      {trust.Grant{Resource: "https://api.acme.test#x"}, "resource"},
		"a space":         {trust.Grant{Resource: "https://api acme.test"}, "resource"},
		"parameters":      {trust.Grant{Extra: map[string]any{"parameters": `{"a":"b"}`}}, ""},
		"a number":        {trust.Grant{Extra: map[string]any{"parameters": `{"a":1}`}}, "parameters"},
		"nested":          {trust.Grant{Extra: map[string]any{"parameters": `{"a":{"b":"c"}}`}}, "parameters"},
		"a list":          {trust.Grant{Extra: map[string]any{"parameters": `["a"]`}}, "parameters"},
		"null":            {trust.Grant{Extra: map[string]any{"parameters": `null`}}, "parameters"},
		"a claim":         {trust.Grant{Extra: map[string]any{"parameters": `{"a":"${claims.ref}"}`}}, "parameters"},
		"ours":            {trust.Grant{Extra: map[string]any{"parameters": `{"grant_type":"x"}`}}, "parameters.grant_type"},
		"another field":   {trust.Grant{Extra: map[string]any{"x": `{}`}}, "parameters"},
		"of another type": {trust.Grant{Extra: map[string]any{"parameters": []string{"a"}}}, "parameters"},
	} {
		if field, problem := misfit(c.g); field != c.field || (problem == "") != (field == "") {
			t.Errorf("%s: %q %q", name, field, problem)
		}
	}
}

func TestConfig(t *testing.T) {
	t.Parallel()
	good := oauth.Config{TokenURL: "https://auth.acme.test/token", Grant: oauth.JWTBearer, Body: oauth.FormBody, Audience: audience, Now: exchangetest.Now}
	if _, err := oauth.New(good); err != nil {
		t.Fatal(err)
	}
	for name, change := range map[string]func(*oauth.Config){
		"no URL": func(c *oauth.Config) { c.TokenURL = "" }, "http": func(c *oauth.Config) { c.TokenURL = "http://auth.acme.test/token" }, "a query": func(c *oauth.Config) { c.TokenURL += "?a=b" }, "a user": func(c *oauth.Config) { c.TokenURL = "https://u:p@auth.acme.test/token" },
		"no grant": func(c *oauth.Config) { c.Grant = "" }, "another grant": func(c *oauth.Config) { c.Grant = "password" }, "no body": func(c *oauth.Config) { c.Body = "" },
		"no audience": func(c *oauth.Config) { c.Audience = "" }, "no clock": func(c *oauth.Config) { c.Now = nil }, "ours": func(c *oauth.Config) { c.Parameters = map[string]string{"scope": "admin"} }, "a bad CA": func(c *oauth.Config) { c.CA = []byte("x") },
	} {
		c := good
		change(&c)
		if _, err := oauth.New(c); err == nil {
			t.Errorf("%s is taken", name)
		}
	}
	if !slices.Equal(oauth.Types(), []string{accessType}) {
		t.Error(oauth.Types())
	}
}

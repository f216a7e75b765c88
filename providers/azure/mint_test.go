package azure_test

import (
	"bytes"
	"context"
	"crypto/rand"
	"encoding/base64"
	"encoding/json"
	"errors"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"cambio/exchange"
	"cambio/exchange/exchangetest"
	"cambio/providers/azure"
	"cambio/providers/providertest"
	"cambio/standin"
	"cambio/trust"
)

const (
	tenant     = "aaaaaaaa-0000-1111-2222-bbbbbbbbbbbb"
	clientID   = "11111111-2222-3333-4444-555555555555"
	management = "https://management.azure.com"
	audience   = "api://AzureADTokenExchange"
	grant      = `resource: "azure:` + clientID + `", scopes: ["` + management + `/.default"]`
	mintedType = "urn:ietf:params:oauth:token-type:access_token"
)

// entra is a stand-in that trusts the workloads and the trust of the orders.
func entra(tb testing.TB) *standin.Entra {
	tb.Helper()
	issuer := standin.OIDCProvider{URL: exchangetest.Issuer, Keys: func(context.Context) ([]byte, error) { return exchangetest.Voice(tb).JWKS(), nil }}
	app := standin.EntraApp{Tenant: tenant, ClientID: clientID}
	for _, s := range []string{exchangetest.Workload, exchangetest.Workload + "-0", exchangetest.Workload + "-1", "spiffe://gw.test/trust/deploy"} {
		app.Credentials = append(app.Credentials, standin.EntraCredential{Issuer: issuer, Subject: s, Audience: audience})
	}
	e, err := standin.NewEntra(standin.EntraConfig{Now: exchangetest.Now, Rand: rand.Reader, Apps: []standin.EntraApp{app}, Resources: []string{management}})
	if err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(func() {
		_ = e.Close()
		if unknown := e.Unknown(); len(unknown) > 0 {
			tb.Errorf("the stand-in does not know %q", unknown)
		}
	})
	return e
}

func ask() exchangetest.Ask {
	return exchangetest.Ask{Type: azure.TargetType(), MaxTTL: 90 * time.Minute, Grant: grant, Target: exchange.Target{Types: azure.Types(), Cloud: true}}
}

func open(tb testing.TB, c azure.Config) *azure.Minter {
	tb.Helper()
	c.Tenant, c.Audience, c.Now = tenant, audience, exchangetest.Now
	m, err := azure.New(c)
	if err != nil {
		tb.Fatal(err)
	}
	return m
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

// lieInside changes a claim of the token.
func lieInside(name string, v any) func(providertest.Response) providertest.Response {
	return func(good providertest.Response) providertest.Response {
		var m map[string]any
		_ = json.Unmarshal([]byte(good.Body), &m)
		parts := strings.Split(m["access_token"].(string), ".")
		b, _ := base64.RawURLEncoding.DecodeString(parts[1])
		var claims map[string]any
		_ = json.Unmarshal(b, &claims)
		claims[name] = v
		b, _ = json.Marshal(claims)
		return lie("access_token", parts[0]+"."+base64.RawURLEncoding.EncodeToString(b)+"."+parts[2])(good)
	}
}

func TestMinter(t *testing.T) {
	t.Parallel()
	e := entra(t)
	providertest.Minter{
		Ask: ask(),
		New: func(tb testing.TB, endpoint string, timeout time.Duration, places int) exchange.Minter {
			tb.Helper()
			return open(tb, azure.Config{Endpoint: endpoint, Timeout: timeout, MaxInFlight: places})
		},
		Answer: func(r providertest.Request) (providertest.Response, bool) { return providertest.Play(e, r) },
		Lies: map[string]func(providertest.Response) providertest.Response{
			"no token": lie("access_token", nil), "a number": lie("access_token", 7), "nothing": lie("access_token", ""), "a space": lie("access_token", "a b"),
			"a line": lie("access_token", "a\r\nb"), "too long": lie("access_token", strings.Repeat("x", 17<<10)),
			"no type": lie("token_type", nil), "another type": lie("token_type", "pop"),
			"no end": lie("expires_in", nil), "a text": lie("expires_in", "3599"), "a fraction": lie("expires_in", 3599.5), "expired": lie("expires_in", 0), "before": lie("expires_in", -1),
			"longer": lie("expires_in", 90*60+61), "a day": lie("expires_in", 86400), "for ever": lie("expires_in", 1e17),
			"another tenant": lieInside("tid", "bbbbbbbb-0000-1111-2222-bbbbbbbbbbbb"), "another application": lieInside("appid", "21111111-2222-3333-4444-555555555555"),
			"another application in azp": lieInside("azp", "21111111-2222-3333-4444-555555555555"), "a tenant of another type": lieInside("tid", 7),
			"longer inside": lieInside("exp", exchangetest.Now().Add(24*time.Hour).Unix()), "an end of another type": lieInside("exp", "soon"),
			"201": func(good providertest.Response) providertest.Response { good.Status = 201; return good },
		},
		Secrets: func(good providertest.Response) []string {
			var m struct {
				Token string `json:"access_token"`
			}
			_ = json.Unmarshal([]byte(good.Body), &m)
			return []string{m.Token}
		},
		Check: func(tb testing.TB, got exchange.Credential) {
			tb.Helper()
			if got.Type != mintedType || got.Structured || !strings.HasPrefix(got.Handle, "uti:") || !got.Expires.Equal(exchangetest.Now().Add(75*time.Minute)) {
				tb.Errorf("%+v", got)
			}
		},
	}.Run(t)
}

// TestRequest: what is sent is these five parameters, and an assertion that says who
// asks and nothing else.
func TestRequest(t *testing.T) {
	t.Parallel()
	for subject, prefix := range map[string]string{exchangetest.Workload: "", "spiffe://gw.test/trust/deploy": "spiffe://gw.test/trust/"} {
		e := entra(t)
		a := ask()
		a.Target.TrustSubject = prefix
		if _, err := open(t, azure.Config{Endpoint: e.URL() + "/"}).Mint(t.Context(), exchangetest.Order(t, a)); err != nil {
			t.Fatal(err)
		}
		r := e.Requests()[0]
		assertion := parameter(t, r, "client_assertion")
		want := "client_assertion=" + assertion + "&client_assertion_type=urn%3Aietf%3Aparams%3Aoauth%3Aclient-assertion-type%3Ajwt-bearer&client_id=" + clientID +
			"&grant_type=client_credentials&scope=https%3A%2F%2Fmanagement.azure.com%2F.default"
		if string(r.Body) != want || r.Path != "/"+tenant+"/oauth2/v2.0/token" || r.Header.Get("Content-Type") != "application/x-www-form-urlencoded" {
			t.Errorf("%s %s", r.Path, r.Body)
		}
		names := make([]string, 0, len(r.Claims))
		for name := range r.Claims {
			names = append(names, name)
		}
		slices.Sort(names)
		if diff := cmp.Diff([]string{"aud", "exp", "iat", "iss", "jti", "nbf", "sub"}, names); diff != "" {
			t.Error(diff)
		}
		if r.Claims["sub"] != subject || r.Claims["aud"] != audience || r.Claims["iss"] != exchangetest.Issuer {
			t.Errorf("%v", r.Claims)
		}
	}
}

func parameter(tb testing.TB, r standin.ServiceRequest, name string) string {
	tb.Helper()
	req := httptest.NewRequest(http.MethodPost, "/", bytes.NewReader(r.Body))
	req.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	return req.PostFormValue(name)
}

// TestRefused: Entra compares byte for byte, and what it says is in the journal with a
// hint where time may help.
func TestRefused(t *testing.T) {
	t.Parallel()
	const hint = "a new one takes some minutes"
	for name, c := range map[string]struct {
		change func(*exchangetest.Ask, *azure.Config)
		says   string
		hint   bool
	}{
		"another workload": {func(a *exchangetest.Ask, _ *azure.Config) { a.Workload = "spiffe://gw.test/ci/1/3" }, "AADSTS700213", true},
		"another case":     {func(a *exchangetest.Ask, _ *azure.Config) { a.Workload = strings.ToUpper(exchangetest.Workload) }, "AADSTS7002138", true},
		"another client": {func(a *exchangetest.Ask, _ *azure.Config) {
			a.Grant = strings.ReplaceAll(grant, "11111111-2222", "21111111-2222")
		}, "AADSTS700016", false},
		"another resource": {func(a *exchangetest.Ask, _ *azure.Config) {
			a.Grant = strings.ReplaceAll(grant, management, "https://vault.azure.net")
		}, "AADSTS500011", false},
	} {
		e := entra(t)
		a, conf := ask(), azure.Config{Endpoint: e.URL()}
		c.change(&a, &conf)
		_, err := open(t, conf).Mint(t.Context(), exchangetest.Order(t, a))
		var refused *exchange.Error
		if !errors.As(err, &refused) || refused.Issued || refused.RetryAfter < time.Minute || !strings.Contains(err.Error(), c.says) || strings.Contains(err.Error(), hint) != c.hint {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// TestOpaque: a token that cannot be read is its resource's affair; its handle is a
// hash.
func TestOpaque(t *testing.T) {
	t.Parallel()
	for _, token := range []string{"opaque", "a.b.c.d.e", "a.b.c", "e30.e30.x", "e30.eyJ0aWQiOjF9eA.x"} {
		s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Content-Type", "application/json; charset=utf-8")
			_, _ = w.Write([]byte(`{"token_type":"Bearer","expires_in":3599,"ext_expires_in":3599,"access_token":"` + token + `"}`))
		}))
		got, err := open(t, azure.Config{Endpoint: s.URL}).Mint(t.Context(), exchangetest.Order(t, ask()))
		if err != nil || got.Value.Reveal() != token || !strings.HasPrefix(got.Handle, "sha256:") {
			t.Errorf("%s: %v %v", token, got.Handle, err)
		}
		s.Close()
	}
}

func TestConfig(t *testing.T) {
	t.Parallel()
	good := azure.Config{Tenant: tenant, Audience: audience, Now: exchangetest.Now}
	if _, err := azure.New(good); err != nil {
		t.Fatal(err)
	}
	for name, change := range map[string]func(*azure.Config){
		"no tenant": func(c *azure.Config) { c.Tenant = "" }, "a domain": func(c *azure.Config) { c.Tenant = "acme.onmicrosoft.com" }, "common": func(c *azure.Config) { c.Tenant = "common" },
		"capitals": func(c *azure.Config) { c.Tenant = strings.ToUpper(tenant) }, "a path": func(c *azure.Config) { c.Tenant = tenant + "/../x" },
		"no audience": func(c *azure.Config) { c.Audience = "" }, "no clock": func(c *azure.Config) { c.Now = nil }, "http": func(c *azure.Config) { c.Endpoint = "http://login.acme.example" },
		"a bad CA": func(c *azure.Config) { c.CA = []byte("x") },
	} {
		c := good
		change(&c)
		if _, err := azure.New(c); err == nil {
			t.Errorf("%s is taken", name)
		}
	}
}

func TestMisfit(t *testing.T) {
	t.Parallel()
	misfit := azure.TargetType().Misfit
	for name, c := range map[string]struct {
		resource string
		scopes   []string
		field    string
	}{
		"good":         {"azure:" + clientID, []string{management + "/.default"}, ""},
		"a GUID":       {"azure:" + clientID, []string{"api://21111111-2222-3333-4444-555555555555/.default"}, ""},
		"two slashes":  {"azure:" + clientID, []string{management + "//.default"}, ""}, // as Azure Resource Manager wants it
		"two":          {"azure:" + clientID, []string{management + "/.default", "https://vault.azure.net/.default"}, "scopes"},
		"none":         {"azure:" + clientID, nil, "scopes"},
		"a permission": {"azure:" + clientID, []string{"https://graph.microsoft.com/User.Read"}, "scopes"},
		"no resource":  {"azure:" + clientID, []string{"/.default"}, "scopes"},
		"twice":        {"azure:" + clientID, []string{"x/.default/.default"}, "scopes"},
		"a name":       {"azure:deployer", []string{management + "/.default"}, "resource"},
		"capitals":     {"azure:AAAAAAAA-2222-3333-4444-555555555555", []string{management + "/.default"}, "resource"},
	} {
		if field, problem := misfit(trust.Grant{Resource: c.resource, Scopes: c.scopes}); field != c.field || (problem == "") != (field == "") {
			t.Errorf("%s: %q %q", name, field, problem)
		}
	}
}

package gcp_test

import (
	"bytes"
	"context"
	"crypto/rand"
	"encoding/base64"
	"encoding/json"
	"errors"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"cambio/exchange"
	"cambio/exchange/exchangetest"
	"cambio/providers/gcp"
	"cambio/providers/providertest"
	"cambio/standin"
	"cambio/trust"
)

const (
	provider = "//iam.googleapis.com/projects/123456789012/locations/global/workloadIdentityPools/cambio/providers/gateway"
	pool     = "principal://iam.googleapis.com/projects/123456789012/locations/global/workloadIdentityPools/cambio/subject/"
	deployer = "deploy@acme-prod.iam.gserviceaccount.com"
	between  = "middle@acme-prod.iam.gserviceaccount.com"
	platform = "https://www.googleapis.com/auth/cloud-platform"
	boundary = `boundary: {accessBoundaryRules: [{availableResource: "//storage.googleapis.com/projects/_/buckets/acme-reports", availablePermissions: ["inRole:roles/storage.objectViewer"], availabilityCondition: {title: "reports", expression: "resource.name.startsWith('projects/_/buckets/acme-reports/objects/2026/')"}}]}`
)

// google is a stand-in that trusts the issuer of the orders, for three workloads
// and a trust.
func google(tb testing.TB) *standin.Google {
	tb.Helper()
	p := standin.GoogleProvider{
		Name: provider, Issuer: exchangetest.Issuer,
		Keys: func(context.Context) ([]byte, error) { return exchangetest.Voice(tb).JWKS(), nil },
	}
	var users []string
	for _, s := range []string{exchangetest.Workload, exchangetest.Workload + "-0", exchangetest.Workload + "-1", "spiffe://gw.test/trust/deploy"} {
		users = append(users, p.PrincipalOf(s))
	}
	g, err := standin.NewGoogle(standin.GoogleConfig{
		Now: exchangetest.Now, Rand: rand.Reader, Providers: []standin.GoogleProvider{p},
		Accounts: []standin.GoogleAccount{
			{Email: deployer, Users: users, Creators: []string{between}},
			{Email: between, Creators: users},
		},
	})
	if err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(func() {
		_ = g.Close()
		if unknown := g.Unknown(); len(unknown) > 0 {
			tb.Errorf("the stand-in does not know %q", unknown)
		}
	})
	return g
}

func minter(tb testing.TB, endpoint string) *gcp.Minter {
	tb.Helper()
	m, err := gcp.New(gcp.Config{Audience: provider, Endpoint: endpoint, Now: exchangetest.Now})
	if err != nil {
		tb.Fatal(err)
	}
	return m
}

func ask(grant string) exchangetest.Ask {
	return exchangetest.Ask{
		Type: gcp.TargetType(), MaxTTL: 12 * time.Hour, Grant: grant,
		Target: exchange.Target{Types: gcp.Types(), TypesOf: gcp.TypesOf, Cloud: true},
	}
}

// modes are the credentials that a grant can give.
func modes() map[string]struct {
	grant, final string
	secrets      []string // members of the last answer
	lies         map[string]func(map[string]any)
	check        func(testing.TB, *standin.Google, exchange.Credential)
} {
	as := `resource: "gcp:` + deployer + `", `
	set := func(name string, v any) func(map[string]any) {
		return func(m map[string]any) { m[name] = v }
	}
	drop := func(name string) func(map[string]any) {
		return func(m map[string]any) { delete(m, name) }
	}
	exchanged := map[string]func(map[string]any){
		"no token": drop("access_token"), "a token with a space": set("access_token", "ya29 "+strings.Repeat("x", 40)),
		"a token of nothing": set("access_token", ""), "a number": set("access_token", 7), "expired": set("expires_in", 0),
		"before": set("expires_in", -5), "a text": set("expires_in", "300"), "a fraction": set("expires_in", 299.5), "for ever": set("expires_in", 1e15),
		"longer": set("expires_in", 3700), "not a bearer": set("token_type", "N_A"), "no type": drop("token_type"),
		"another type": set("issued_token_type", "urn:ietf:params:oauth:token-type:refresh_token"),
	}
	at := func(d time.Duration) string { return exchangetest.Now().Add(d).Format(time.RFC3339) }
	acted := map[string]func(map[string]any){
		"no token": drop("accessToken"), "a token with a line": set("accessToken", "ya29\r\n"+strings.Repeat("x", 40)),
		"longer": set("expireTime", at(16*time.Minute+time.Second)), "expired": set("expireTime", at(0)), "before": set("expireTime", at(-time.Hour)),
		"no end": drop("expireTime"), "a number": set("expireTime", 1795323600), "no time": set("expireTime", "soon"),
	}
	token := func(claims map[string]any) func(map[string]any) {
		return func(m map[string]any) {
			parts := strings.Split(m["token"].(string), ".")
			payload, _ := base64.RawURLEncoding.DecodeString(parts[1])
			var all map[string]any
			_ = json.Unmarshal(payload, &all)
			for name, v := range claims {
				if all[name] = v; v == nil {
					delete(all, name)
				}
			}
			payload, _ = json.Marshal(all)
			m["token"] = parts[0] + "." + base64.RawURLEncoding.EncodeToString(payload) + "." + parts[2]
		}
	}
	return map[string]struct {
		grant, final string
		secrets      []string
		lies         map[string]func(map[string]any)
		check        func(testing.TB, *standin.Google, exchange.Credential)
	}{
		"direct": {
			grant: `ttl: 3m, scopes: ["https://www.googleapis.com/auth/devstorage.read_only", "` + platform + `"]`, final: "/v1/token", secrets: []string{"access_token"},
			lies: exchanged,
			check: func(tb testing.TB, g *standin.Google, got exchange.Credential) {
				tb.Helper()
				issued, _ := g.Token(got.Value.Reveal())
				want := standin.GoogleToken{
					Principal: pool + exchangetest.Workload, Expires: exchangetest.Now().Add(3 * time.Minute),
					Scopes: []string{"https://www.googleapis.com/auth/devstorage.read_only", platform},
				}
				same(tb, got, "urn:ietf:params:oauth:token-type:access_token", want, issued)
			},
		},
		"as an account": {
			grant: as + `ttl: 15m`, final: ":generateAccessToken", secrets: []string{"accessToken"},
			lies: acted,
			check: func(tb testing.TB, g *standin.Google, got exchange.Credential) {
				tb.Helper()
				issued, _ := g.Token(got.Value.Reveal())
				want := standin.GoogleToken{Account: deployer, Scopes: []string{platform}, Expires: exchangetest.Now().Add(15 * time.Minute)}
				same(tb, got, "urn:ietf:params:oauth:token-type:access_token", want, issued)
				if !strings.HasPrefix(got.Handle, deployer+"#sha256:") {
					tb.Errorf("handle %s", got.Handle)
				}
			},
		},
		"over a delegate": {
			grant: as + `ttl: 1h, delegates: ["` + between + `"], scopes: ["https://www.googleapis.com/auth/devstorage.read_only"]`, final: ":generateAccessToken", secrets: []string{"accessToken"},
			lies: map[string]func(map[string]any){"longer": set("expireTime", at(time.Hour+61*time.Second))},
			check: func(tb testing.TB, g *standin.Google, got exchange.Credential) {
				tb.Helper()
				issued, _ := g.Token(got.Value.Reveal())
				want := standin.GoogleToken{Account: deployer, Scopes: []string{"https://www.googleapis.com/auth/devstorage.read_only"}, Expires: exchangetest.Now().Add(time.Hour)}
				same(tb, got, "urn:ietf:params:oauth:token-type:access_token", want, issued)
			},
		},
		"an ID token": {
			grant: as + `ttl: 1h, id_token_audience: "https://orders-abc-ew.a.run.app"`, final: ":generateIdToken", secrets: []string{"token"},
			lies: map[string]func(map[string]any){
				"another audience": token(map[string]any{"aud": "https://other.a.run.app"}), "two audiences": token(map[string]any{"aud": []string{"https://orders-abc-ew.a.run.app", "x"}}),
				"another account": token(map[string]any{"email": between}), "no account": token(map[string]any{"email": nil}),
				"an account that nobody verified": token(map[string]any{"email_verified": "true"}),
				"longer":                          token(map[string]any{"exp": exchangetest.Now().Add(time.Hour + 61*time.Second).Unix()}),
				"expired":                         token(map[string]any{"exp": exchangetest.Now().Unix()}), "no end": token(map[string]any{"exp": nil}), "a text": token(map[string]any{"exp": "1"}),
				"another issuer": token(map[string]any{"iss": "https://accounts.example"}),
				"no token":       drop("token"), "no JWT": set("token", "ya29."+strings.Repeat("x", 40)), "not base64": set("token", "eyJ.=====.xxxxxxxxxxxxxx"), "no claims": set("token", "eyJhIjoxfQ.W10.xxxxxxxxxxxxxx"),
			},
			check: func(tb testing.TB, g *standin.Google, got exchange.Credential) {
				tb.Helper()
				issued, _ := g.Token(got.Value.Reveal())
				want := standin.GoogleToken{Account: deployer, Audience: "https://orders-abc-ew.a.run.app", Expires: exchangetest.Now().Add(time.Hour)}
				same(tb, got, "urn:ietf:params:oauth:token-type:id_token", want, issued)
			},
		},
		"within a boundary": {
			grant: as + `ttl: 15m, ` + boundary, final: "/v1/token", secrets: []string{"access_token"},
			lies: exchanged,
			check: func(tb testing.TB, g *standin.Google, got exchange.Credential) {
				tb.Helper()
				issued, _ := g.Token(got.Value.Reveal())
				want := standin.GoogleToken{
					Account: deployer, Scopes: []string{platform}, Expires: exchangetest.Now().Add(15 * time.Minute),
					Boundary: `{"accessBoundary":{"accessBoundaryRules":[{"availabilityCondition":{"expression":"resource.name.startsWith('projects/_/buckets/acme-reports/objects/2026/')","title":"reports"},"availablePermissions":["inRole:roles/storage.objectViewer"],"availableResource":"//storage.googleapis.com/projects/_/buckets/acme-reports"}]}}`,
				}
				same(tb, got, "urn:ietf:params:oauth:token-type:access_token", want, issued)
			},
		},
		"a database": {
			grant: as + `ttl: 15m, database: {engine: postgres, host: 10.1.2.3}`, final: ":generateAccessToken", secrets: []string{"accessToken"},
			lies: acted,
			check: func(tb testing.TB, g *standin.Google, got exchange.Credential) {
				tb.Helper()
				var value map[string]any
				if err := json.Unmarshal([]byte(got.Value.Reveal()), &value); err != nil || !got.Structured {
					tb.Fatalf("no object: %v", err)
				}
				password, _ := value["Password"].(string)
				delete(value, "Password")
				if diff := cmp.Diff(map[string]any{
					"Version": 1.0, "Engine": "postgres", "Host": "10.1.2.3", "Port": 5432.0, "User": "deploy@acme-prod.iam",
					"Expiration": "2026-09-01T12:15:00Z",
				}, value); diff != "" {
					tb.Error(diff)
				}
				issued, _ := g.Token(password)
				want := standin.GoogleToken{Account: deployer, Scopes: []string{"https://www.googleapis.com/auth/sqlservice.login"}, Expires: exchangetest.Now().Add(15 * time.Minute)}
				same(tb, got, "urn:cambio:token-type:database-credentials", want, issued)
			},
		},
	}
}

func same(tb testing.TB, got exchange.Credential, kind string, want, issued standin.GoogleToken) {
	tb.Helper()
	if got.Type != kind || !got.Expires.Equal(issued.Expires) || got.Handle == "" {
		tb.Errorf("type %s, ends %s, handle %q", got.Type, got.Expires, got.Handle)
	}
	if diff := cmp.Diff(want, issued); diff != "" {
		tb.Error(diff)
	}
}

func TestConformance(t *testing.T) {
	t.Parallel()
	for name, mode := range modes() {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			g := google(t)
			lies := map[string]func(providertest.Response) providertest.Response{}
			for lie, edit := range mode.lies {
				lies[lie] = func(good providertest.Response) providertest.Response {
					var m map[string]any
					if err := json.Unmarshal([]byte(good.Body), &m); err != nil {
						t.Error(err)
						return good
					}
					edit(m)
					b, _ := json.Marshal(m)
					return providertest.JSON(200, string(b))
				}
			}
			providertest.Minter{
				Ask: ask(mode.grant),
				New: func(tb testing.TB, endpoint string, timeout time.Duration, places int) exchange.Minter {
					tb.Helper()
					m, err := gcp.New(gcp.Config{Audience: provider, Endpoint: endpoint, Now: exchangetest.Now, Timeout: timeout, MaxInFlight: places})
					if err != nil {
						tb.Fatal(err)
					}
					return m
				},
				Answer: func(r providertest.Request) (providertest.Response, bool) { return providertest.Play(g, r) },
				Final: func(r providertest.Request) bool {
					if mode.final == "/v1/token" && name == "within a boundary" {
						return r.Form.Get("options") != ""
					}
					return strings.HasSuffix(r.Path, mode.final)
				},
				Lies: lies,
				Secrets: func(good providertest.Response) []string {
					var m map[string]any
					_ = json.Unmarshal([]byte(good.Body), &m)
					var out []string
					for _, member := range mode.secrets {
						if s, _ := m[member].(string); s != "" {
							out = append(out, s)
						}
					}
					return out
				},
				Public: []string{provider, "projects/-/serviceAccounts/" + between, boundary},
				Check: func(tb testing.TB, got exchange.Credential) {
					tb.Helper()
					mode.check(tb, g, got)
				},
			}.Run(t)
		})
	}
}

// TestSteps breaks each step before the last one: nothing comes out, and what is
// known of it is said.
func TestSteps(t *testing.T) {
	t.Parallel()
	as := `resource: "gcp:` + deployer + `", ttl: 15m`
	for name, c := range map[string]struct {
		grant  string
		fault  standin.GoogleFault
		issued bool
	}{
		"the exchange says no":        {as, standin.GoogleFault{Path: "/v1/token", Fault: standin.Fault{Status: 403, Body: []byte(`{"error":"unauthorized_client","error_description":"no"}`)}}, false},
		"the exchange is cut":         {as, standin.GoogleFault{Path: "/v1/token", Drop: true}, true},
		"the exchange lies":           {as, standin.GoogleFault{Path: "/v1/token", Edit: func(m map[string]any) { m["expires_in"] = "3600" }}, true},
		"the exchange says when":      {as, standin.GoogleFault{Path: "/v1/token", Edit: func(m map[string]any) { delete(m, "expires_in") }}, true},
		"the account says no":         {as + ", " + boundary, standin.GoogleFault{Path: "generateAccessToken", Fault: standin.Fault{Status: 403}}, false},
		"the account is cut":          {as + ", " + boundary, standin.GoogleFault{Path: "generateAccessToken", Drop: true}, true},
		"the account's token expired": {as + ", " + boundary, standin.GoogleFault{Path: "generateAccessToken", Edit: func(m map[string]any) { m["expireTime"] = "x" }}, true},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			g := google(t)
			g.Fail(c.fault)
			got, err := minter(t, g.URL()).Mint(t.Context(), exchangetest.Order(t, ask(c.grant)))
			var e *exchange.Error
			if !errors.As(err, &e) || e.Issued != c.issued || e.Reason != trust.ReasonMintFailed || got.Value != "" {
				t.Errorf("%v", err)
			}
		})
	}
}

// TestEcho: a service that gives back what it was shown would have a workload hold
// what is wider than its grant.
func TestEcho(t *testing.T) {
	t.Parallel()
	for _, c := range []struct{ grant, path, member string }{
		{`ttl: 5m`, "/v1/token", "access_token"},
		{`resource: "gcp:` + deployer + `", ttl: 15m`, "generateAccessToken", "accessToken"},
		{`resource: "gcp:` + deployer + `", ttl: 15m, ` + boundary, "/v1/token", "access_token"},
	} {
		g := google(t)
		var shown string
		echo := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			body := new(bytes.Buffer)
			_, _ = body.ReadFrom(r.Body)
			r.Body = http.NoBody
			req := httptest.NewRequest(r.Method, r.URL.Path, body)
			req.Header = r.Header
			text := body.String()
			rec := httptest.NewRecorder()
			g.ServeHTTP(rec, req)
			var m map[string]any
			_ = json.Unmarshal(rec.Body.Bytes(), &m)
			final := strings.HasSuffix(r.URL.Path, c.path) && (!strings.Contains(c.grant, "boundary") || strings.Contains(text, "options="))
			if final {
				form := httptest.NewRequest(http.MethodPost, "/", strings.NewReader(text))
				form.Header.Set("Content-Type", "application/x-www-form-urlencoded")
				if shown = form.FormValue("subject_token"); shown == "" {
					shown = strings.TrimPrefix(r.Header.Get("Authorization"), "Bearer ")
				}
				m[c.member] = shown
			}
			w.Header().Set("Content-Type", "application/json")
			_ = json.NewEncoder(w).Encode(m)
		}))
		_, err := minter(t, echo.URL).Mint(t.Context(), exchangetest.Order(t, ask(c.grant)))
		echo.Close()
		var e *exchange.Error
		if shown == "" || !errors.As(err, &e) || !e.Issued || strings.Contains(e.Error(), shown) {
			t.Errorf("%s: %v", c.grant, err)
		}
	}
}

// TestNarrowedWithoutEnd: where Google says no end of a narrowed token, it has that
// of the one that it was made of.
func TestNarrowedWithoutEnd(t *testing.T) {
	t.Parallel()
	g := google(t)
	calls := 0
	g.Fail(standin.GoogleFault{Path: "/v1/token", Edit: func(m map[string]any) {
		if calls++; calls == 2 {
			delete(m, "expires_in")
		}
	}})
	got, err := minter(t, g.URL()).Mint(t.Context(), exchangetest.Order(t, ask(`resource: "gcp:`+deployer+`", ttl: 15m, `+boundary)))
	if err != nil || !got.Expires.Equal(exchangetest.Now().Add(15*time.Minute)) {
		t.Errorf("%v, ends %s", err, got.Expires)
	}
}

// TestSubject: who asks is the workload or the trust, and what Google cannot take
// is not sent.
func TestSubject(t *testing.T) {
	t.Parallel()
	g := google(t)
	byTrust := ask(`resource: "gcp:` + deployer + `"`)
	byTrust.Target.TrustSubject = "spiffe://gw.test/trust/"
	if _, err := minter(t, g.URL()).Mint(t.Context(), exchangetest.Order(t, byTrust)); err != nil {
		t.Error(err)
	}
	claims := g.Requests()[0].Claims
	if claims["sub"] != "spiffe://gw.test/trust/deploy" || claims["aud"] != "https:"+provider || claims["scope"] != nil {
		t.Errorf("%v", claims)
	}
	long := ask(`resource: "gcp:` + deployer + `"`)
	long.Workload = "spiffe://gw.test/ci/" + strings.Repeat("a", 108)
	before := len(g.Requests())
	_, err := minter(t, g.URL()).Mint(t.Context(), exchangetest.Order(t, long))
	var e *exchange.Error
	if !errors.As(err, &e) || e.Issued || !strings.Contains(e.Error(), "subject: trust") || len(g.Requests()) != before {
		t.Errorf("128 bytes: %v", err)
	}
	long.Workload = long.Workload[:127]
	if _, err := minter(t, g.URL()).Mint(t.Context(), exchangetest.Order(t, long)); err == nil || len(g.Requests()) == before {
		t.Errorf("127 bytes are sent, and Google denies this principal the account: %v", err)
	}
}

func TestNew(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]gcp.Config{
		"no clock":           {Audience: provider},
		"no audience":        {Now: exchangetest.Now},
		"http":               {Audience: provider, Now: exchangetest.Now, Endpoint: "http://sts.acme.example"},
		"a query":            {Audience: provider, Now: exchangetest.Now, Endpoint: "https://sts.acme.example/?a=b"},
		"no certificate":     {Audience: provider, Now: exchangetest.Now, CA: []byte("x")},
		"an id for a number": {Audience: strings.Replace(provider, "123456789012", "acme-prod", 1), Now: exchangetest.Now},
		"with a scheme":      {Audience: "https:" + provider, Now: exchangetest.Now},
		"a workforce pool":   {Audience: "//iam.googleapis.com/locations/global/workforcePools/cambio/providers/gateway", Now: exchangetest.Now},
		"Google's own pool":  {Audience: strings.Replace(provider, "/cambio/", "/gcp-cambio/", 1), Now: exchangetest.Now},
		"more behind":        {Audience: provider + "/x", Now: exchangetest.Now},
	} {
		if _, err := gcp.New(c); err == nil {
			t.Errorf("%s is taken", name)
		}
	}
}

package vault_test

import (
	"context"
	"crypto/rand"
	"encoding/json"
	"errors"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"cambio/exchange"
	"cambio/exchange/exchangetest"
	"cambio/providers/providertest"
	"cambio/providers/vault"
	"cambio/standin"
	"cambio/trust"
)

const (
	role     = "payments-deploy"
	audience = "https://vault.acme.test"
	grant    = `resource: "vault:payments-deploy", ttl: 15m, policies: [default, payments-read]`
	wrapped  = grant + `, wrap: 60s`
)

// server is a stand-in that trusts the workloads of the orders.
func server(tb testing.TB, change func(*standin.VaultConfig)) *standin.Vault {
	tb.Helper()
	c := standin.VaultConfig{
		Now: exchangetest.Now, Rand: rand.Reader, Mount: "jwt",
		Issuer: standin.OIDCProvider{URL: exchangetest.Issuer, Keys: func(context.Context) ([]byte, error) { return exchangetest.Voice(tb).JWKS(), nil }},
		Roles: map[string]standin.VaultRole{role: {
			BoundAudiences: []string{audience}, Policies: []string{"payments-read"}, TTL: 15 * time.Minute, ExplicitMax: 15 * time.Minute,
			BoundSubjects: []string{exchangetest.Workload, exchangetest.Workload + "-0", exchangetest.Workload + "-1"},
		}},
	}
	if change != nil {
		change(&c)
	}
	v, err := standin.NewVault(c)
	if err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(func() {
		_ = v.Close()
		if unknown := v.Unknown(); len(unknown) > 0 {
			tb.Errorf("the stand-in does not know %q", unknown)
		}
	})
	return v
}

func ask(grant string) exchangetest.Ask {
	return exchangetest.Ask{Type: vault.TargetType(), Grant: grant, Target: exchange.Target{Types: vault.Types(), Cloud: true}}
}

func open(tb testing.TB, c vault.Config) *vault.Minter {
	tb.Helper()
	c.Audience, c.Now = audience, exchangetest.Now
	if c.Mount == "" {
		c.Mount = "jwt"
	}
	m, err := vault.New(c)
	if err != nil {
		tb.Fatal(err)
	}
	return m
}

// lie changes a member of auth, or of another part; nil removes it.
func lie(part, name string, v any) func(providertest.Response) providertest.Response {
	return func(good providertest.Response) providertest.Response {
		var m map[string]any
		_ = json.Unmarshal([]byte(good.Body), &m)
		inner, _ := m[part].(map[string]any)
		if inner == nil {
			inner = map[string]any{}
			m[part] = inner
		}
		if inner[name] = v; v == nil {
			delete(inner, name)
		}
		b, _ := json.Marshal(m)
		good.Body = string(b)
		return good
	}
}

func swap(part string, v any) func(providertest.Response) providertest.Response {
	return func(good providertest.Response) providertest.Response {
		var m map[string]any
		_ = json.Unmarshal([]byte(good.Body), &m)
		m[part] = v
		b, _ := json.Marshal(m)
		good.Body = string(b)
		return good
	}
}

func TestMinter(t *testing.T) {
	t.Parallel()
	auth := func(name string, v any) func(providertest.Response) providertest.Response {
		return lie("auth", name, v)
	}
	wrap := func(name string, v any) func(providertest.Response) providertest.Response {
		return lie("wrap_info", name, v)
	}
	for name, c := range map[string]struct {
		grant  string
		secret func(good map[string]any) string
		lies   map[string]func(providertest.Response) providertest.Response
		end    time.Duration
	}{
		"token": {
			grant: grant, end: 15 * time.Minute,
			secret: func(good map[string]any) string {
				auth, _ := good["auth"].(map[string]any)
				token, _ := auth["client_token"].(string)
				return token
			},
			lies: map[string]func(providertest.Response) providertest.Response{
				"no auth": swap("auth", nil), "no token": auth("client_token", nil), "a number": auth("client_token", 7), "a line": auth("client_token", "hvs.aaaaaaaa\r\nX-Evil: 1"),
				"no accessor": auth("accessor", ""), "the token as accessor": auth("accessor", "hvs.aaaaaaaaaaaa\n"), "batch": auth("token_type", "batch"), "no kind": auth("token_type", nil),
				"a child": auth("orphan", false), "not said whose": auth("orphan", nil),
				"another role": auth("metadata", map[string]string{"role": "admin"}), "no role": auth("metadata", nil),
				"longer": auth("lease_duration", 15*60+61), "for ever": auth("lease_duration", 0), "before": auth("lease_duration", -1), "a text": auth("lease_duration", "900"), "a month": auth("lease_duration", 2764800),
				"another policy": auth("policies", []string{"default", "payments-read", "admin"}), "root": auth("policies", []string{"root"}), "no policies": auth("policies", nil), "a policy": auth("policies", "default"),
				"a policy of the role": auth("token_policies", []string{"admin"}), "a policy of a group": auth("identity_policies", []string{"admin"}), "a policy that is a number": auth("policies", []any{7}),
				"a wrapping": swap("wrap_info", map[string]any{"token": "hvs.aaaaaaaaaaaaaaaa"}),
				"204":        func(good providertest.Response) providertest.Response { return providertest.Response{Status: 204} },
				"202":        func(good providertest.Response) providertest.Response { good.Status = 202; return good },
			},
		},
		"wrapped": {
			grant: wrapped, end: 15 * time.Minute,
			secret: func(good map[string]any) string {
				info, _ := good["wrap_info"].(map[string]any)
				token, _ := info["token"].(string)
				return token
			},
			lies: map[string]func(providertest.Response) providertest.Response{
				"no wrapping": swap("wrap_info", nil), "not wrapped": swap("auth", map[string]any{"client_token": "hvs.aaaaaaaaaaaaaaaa"}),
				"no token": wrap("token", nil), "a line": wrap("token", "hvs.aaaaaaaaaaaa\n"),
				"of something else": wrap("creation_path", "sys/wrapping/wrap"), "of another method": wrap("creation_path", "auth/jwt2/login"), "of nothing": wrap("creation_path", nil),
				"of no token": wrap("wrapped_accessor", ""), "longer": wrap("ttl", 61), "for ever": wrap("ttl", 0), "a text": wrap("ttl", "60"),
			},
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			v := server(t, nil)
			providertest.Minter{
				Ask: ask(c.grant),
				New: func(tb testing.TB, endpoint string, timeout time.Duration, places int) exchange.Minter {
					tb.Helper()
					return open(tb, vault.Config{Server: endpoint, Timeout: timeout, MaxInFlight: places})
				},
				Answer: func(r providertest.Request) (providertest.Response, bool) { return providertest.Play(v, r) },
				Final:  func(r providertest.Request) bool { return strings.HasSuffix(r.Path, "/login") },
				Lies:   c.lies,
				Secrets: func(good providertest.Response) []string {
					var m map[string]any
					_ = json.Unmarshal([]byte(good.Body), &m)
					return []string{c.secret(m)}
				},
				Check: func(tb testing.TB, got exchange.Credential) {
					tb.Helper()
					if got.Structured || !got.Expires.Equal(exchangetest.Now().Add(c.end)) {
						tb.Errorf("%+v", got)
					}
				},
			}.Run(t)
		})
	}
}

// TestRequest: what is sent, to where, and what the stand-in made of it.
func TestRequest(t *testing.T) {
	t.Parallel()
	v := server(t, func(c *standin.VaultConfig) { c.Namespace, c.Mount = "acme/payments", "ci/jwt" })
	m := open(t, vault.Config{Server: v.URL() + "/", Namespace: "acme/payments", Mount: "ci/jwt"})
	got, err := m.Mint(t.Context(), exchangetest.Order(t, ask(grant)))
	if err != nil {
		t.Fatal(err)
	}
	r := v.Requests()[0]
	var body map[string]string
	if err := json.Unmarshal(r.Body, &body); err != nil || len(body) != 2 || body["role"] != role {
		t.Errorf("%v %v", body["role"], err)
	}
	if r.Path != "/v1/auth/ci/jwt/login" || r.Header.Get("X-Vault-Namespace") != "acme/payments" || r.Header.Get("X-Vault-Request") != "true" || r.Header.Get("X-Vault-Wrap-TTL") != "" || r.Header.Get("X-Vault-Token") != "" {
		t.Errorf("%s %v", r.Path, r.Header)
	}
	if r.Claims["sub"] != exchangetest.Workload || r.Claims["aud"] != audience {
		t.Errorf("%v", r.Claims)
	}
	issued, ok := v.Token(got.Value.Reveal())
	if !ok || issued.Accessor != got.Handle || issued.Revoked || !issued.Expires.Equal(got.Expires) {
		t.Errorf("%+v, and we say %+v", issued, got)
	}
}

// TestWrapped: what comes opens once, and what is in it has the accessor of the
// journal.
func TestWrapped(t *testing.T) {
	t.Parallel()
	v := server(t, nil)
	got, err := open(t, vault.Config{Server: v.URL()}).Mint(t.Context(), exchangetest.Order(t, ask(wrapped)))
	if err != nil {
		t.Fatal(err)
	}
	if ttl := v.Requests()[0].Header.Get("X-Vault-Wrap-TTL"); ttl != "60" {
		t.Errorf("wrapped for %q", ttl)
	}
	unwrap := func() (int, map[string]any) {
		req := httptest.NewRequest(http.MethodPost, "/v1/sys/wrapping/unwrap", nil)
		req.Header.Set("X-Vault-Token", got.Value.Reveal())
		w := httptest.NewRecorder()
		v.ServeHTTP(w, req)
		var m map[string]any
		_ = json.Unmarshal(w.Body.Bytes(), &m)
		auth, _ := m["auth"].(map[string]any)
		return w.Code, auth
	}
	if code, auth := unwrap(); code != 200 || auth["accessor"] != got.Handle {
		t.Errorf("%d %v", code, auth["accessor"])
	}
	if code, _ := unwrap(); code != 400 {
		t.Errorf("opened twice: %d", code)
	}
}

// TestLooseRole: a role that gives more than the grant is refused, and its token is
// taken back.
func TestLooseRole(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		change  func(*standin.VaultRole)
		grant   string
		says    string
		revoked bool
	}{
		"another policy": {func(r *standin.VaultRole) { r.Policies = []string{"payments-read", "admin"} }, grant, "policy", true},
		"default":        {func(*standin.VaultRole) {}, strings.Replace(grant, "default, ", "", 1), "policy", true},
		"longer":         {func(r *standin.VaultRole) { r.TTL, r.ExplicitMax = time.Hour, 0 }, grant, "token_explicit_max_ttl", true},
		"Vault's own":    {func(r *standin.VaultRole) { r.TTL, r.ExplicitMax = 0, 0 }, grant, "lives longer", true},
		"batch":          {func(r *standin.VaultRole) { r.Batch = true }, grant, "accessor", true},
	} {
		v := server(t, func(conf *standin.VaultConfig) {
			r := conf.Roles[role]
			c.change(&r)
			conf.Roles[role] = r
		})
		_, err := open(t, vault.Config{Server: v.URL()}).Mint(t.Context(), exchangetest.Order(t, ask(c.grant)))
		var e *exchange.Error
		if !errors.As(err, &e) || !e.Issued || !strings.Contains(err.Error(), c.says) {
			t.Errorf("%s: %v", name, err)
		}
		requests := v.Requests()
		if last := requests[len(requests)-1]; len(requests) != 2 || last.Path != "/v1/auth/token/revoke-self" || last.Status != 204 || strings.Contains(err.Error(), last.Header.Get("X-Vault-Token")) {
			t.Errorf("%s: %d requests, the last %s %d", name, len(requests), last.Path, last.Status)
		}
	}
	// A shorter life than the role's is asked for, which no login can say.
	a := ask(grant)
	a.Request.Ask.TTL = 5 * time.Minute
	v := server(t, nil)
	if _, err := open(t, vault.Config{Server: v.URL()}).Mint(t.Context(), exchangetest.Order(t, a)); err == nil {
		t.Error("a token lives longer than was asked for")
	}
}

func TestRefused(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		change func(*exchangetest.Ask)
		says   string
	}{
		"another workload": {func(a *exchangetest.Ask) { a.Workload = "spiffe://gw.test/ci/9/9" }, `claim "sub" does not match`},
		"another role":     {func(a *exchangetest.Ask) { a.Grant = strings.Replace(grant, role, "admin", 1) }, `role "admin" could not be found`},
	} {
		a := ask(grant)
		c.change(&a)
		_, err := open(t, vault.Config{Server: server(t, nil).URL()}).Mint(t.Context(), exchangetest.Order(t, a))
		var e *exchange.Error
		if !errors.As(err, &e) || e.Issued || !strings.Contains(err.Error(), c.says) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func TestMisfit(t *testing.T) {
	t.Parallel()
	misfit := vault.TargetType().Misfit
	good := func() trust.Grant {
		return trust.Grant{Resource: "vault:" + role, Extra: map[string]any{"policies": []string{"default", "team/payments_read.v1"}, "wrap": "60s"}}
	}
	if field, problem := misfit(good()); problem != "" {
		t.Fatal(field, problem)
	}
	for name, c := range map[string]struct {
		change func(*trust.Grant)
		field  string
	}{
		"no role":         {func(g *trust.Grant) { g.Resource = "vault:" }, "resource"},
		"a path":          {func(g *trust.Grant) { g.Resource = "vault:a/b" }, "resource"},
		"another kind":    {func(g *trust.Grant) { g.Resource = "azure:" + role }, "resource"},
		"no policies":     {func(g *trust.Grant) { delete(g.Extra, "policies") }, "policies"},
		"root":            {func(g *trust.Grant) { g.Extra["policies"] = []string{"root"} }, "policies"},
		"capitals":        {func(g *trust.Grant) { g.Extra["policies"] = []string{"Root"} }, "policies"},
		"a star":          {func(g *trust.Grant) { g.Extra["policies"] = []string{"*"} }, "policies"},
		"a space":         {func(g *trust.Grant) { g.Extra["policies"] = []string{" admin"} }, "policies"},
		"many":            {func(g *trust.Grant) { g.Extra["policies"] = strings.Split(strings.Repeat("a,", 65)+"a", ",") }, "policies"},
		"a wrap of words": {func(g *trust.Grant) { g.Extra["wrap"] = "soon" }, "wrap"},
		"a short wrap":    {func(g *trust.Grant) { g.Extra["wrap"] = "1s" }, "wrap"},
		"a long wrap":     {func(g *trust.Grant) { g.Extra["wrap"] = "2h" }, "wrap"},
		"a wrap of two":   {func(g *trust.Grant) { g.Extra["wrap"] = []string{"60s"} }, "wrap"},
		"a policy":        {func(g *trust.Grant) { g.Extra["policies"] = "default" }, "policies"},
		"another field":   {func(g *trust.Grant) { g.Extra["x"] = true }, "x"},
	} {
		g := good()
		c.change(&g)
		if field, problem := misfit(g); field != c.field || problem == "" {
			t.Errorf("%s: %q %q", name, field, problem)
		}
	}
}

func TestConfig(t *testing.T) {
	t.Parallel()
	good := vault.Config{Server: "https://vault.acme.test:8200", Mount: "jwt", Audience: audience, Now: exchangetest.Now}
	if _, err := vault.New(good); err != nil {
		t.Fatal(err)
	}
	for name, change := range map[string]func(*vault.Config){
		"no server": func(c *vault.Config) { c.Server = "" }, "http": func(c *vault.Config) { c.Server = "http://vault.acme.test" }, "a query": func(c *vault.Config) { c.Server += "?x" },
		"no mount": func(c *vault.Config) { c.Mount = "" }, "up": func(c *vault.Config) { c.Mount = "../sys" }, "around": func(c *vault.Config) { c.Mount = "jwt/../.." }, "a query in the mount": func(c *vault.Config) { c.Mount = "jwt?x" }, "slashes": func(c *vault.Config) { c.Mount = "/jwt/" },
		"a line": func(c *vault.Config) { c.Namespace = "a\r\nX: y" }, "no audience": func(c *vault.Config) { c.Audience = "" }, "no clock": func(c *vault.Config) { c.Now = nil }, "a bad CA": func(c *vault.Config) { c.CA = []byte("x") },
	} {
		c := good
		change(&c)
		if _, err := vault.New(c); err == nil {
			t.Errorf("%s is taken", name)
		}
	}
}

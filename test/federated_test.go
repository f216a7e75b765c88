package test

import (
	"context"
	"crypto/rand"
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"cambio/audit"
	"cambio/gateway"
	"cambio/standin"
	"cambio/test/rig"
	"cambio/trust"
)

const (
	entraTenant = "aaaaaaaa-0000-1111-2222-bbbbbbbbbbbb"
	entraClient = "11111111-2222-3333-4444-555555555555"
	entraARM    = "https://management.azure.com"
)

// keysVia are the keys that a rig publishes; it may start later.
func keysVia(r **rig.Rig) func(context.Context) ([]byte, error) {
	return func(ctx context.Context) ([]byte, error) { return published(ctx, (*r).URL+"/keys") }
}

// mintedBy is the handle of the record that a decision's credential has.
func mintedBy(t *testing.T, r *rig.Rig, decision string) audit.Record {
	t.Helper()
	for _, record := range r.Records(decision) {
		if record.Event == audit.ExchangeMinted {
			return record
		}
	}
	t.Fatalf("%s minted nothing", decision)
	return audit.Record{}
}

// TestEntraExchange goes from a workload's token to Entra's, as `connect` has set it
// up there.
func TestEntraExchange(t *testing.T) {
	t.Parallel()
	var r *rig.Rig
	app := standin.EntraApp{Tenant: entraTenant, ClientID: entraClient}
	clock := func() time.Time { return r.Clock.Now() }
	e, err := standin.NewEntra(standin.EntraConfig{Now: clock, Rand: rand.Reader, Resources: []string{entraARM}, Apps: []standin.EntraApp{
		withCredentials(t, app, keysVia(&r)),
	}})
	if err != nil {
		t.Fatal(err)
	}
	closing(t, e.Close, e.Unknown)
	r = rig.New(t, rig.Setup{
		Targets: `entra: {type: azure, tenant: ` + entraTenant + `, endpoint: "` + e.URL() + `"}`,
		Trusts:  deploys(`{to: entra, resource: "azure:` + entraClient + `", scopes: ["` + entraARM + `/.default"]}`),
	})
	r.Control()
	a := r.Post(form(r, "audience", "entra"))
	if a.Status != 200 || a.Text("token_type") != "Bearer" || a.Text("issued_token_type") != accessType || a.Text("scope") != entraARM+"/.default" {
		t.Fatalf("%d %s\n%s", a.Status, a.Raw, r.Log)
	}
	if in, _ := a.Body["expires_in"].(float64); in < 74*60 || in > 75*60 {
		t.Errorf("expires in %v", a.Body["expires_in"])
	}
	record := mintedBy(t, r, a.Decision)
	if !strings.HasPrefix(record.Handle, "uti:") || record.Resource != "azure:"+entraClient {
		t.Errorf("%+v", record)
	}
	untold(t, r, a.Text("access_token"))
	for form, want := range map[string]string{"resource": "azure:21111111-2222-3333-4444-555555555555", "scope": "https://vault.azure.net/.default", "requested_token_type": awsType} {
		if a := r.Post(withForm(r, "entra", form, want)); a.Status != 400 {
			t.Errorf("%s %s: %d %s", form, want, a.Status, a.Raw)
		}
	}
	if n := len(e.Requests()); n != 1 {
		t.Errorf("%d calls for one credential", n)
	}
	r.Stop()
	verifyJournal(t, r)
}

// withCredentials is an application as `connect` describes it for the trust deploy.
func withCredentials(t *testing.T, app standin.EntraApp, keys func(context.Context) ([]byte, error)) standin.EntraApp {
	t.Helper()
	var said struct {
		Applications []struct {
			ClientID    string `json:"client_id"`
			Credentials []struct {
				Issuer, Subject string
				Audiences       []string
			}
		}
	}
	connectJSON(t, `entra: {type: azure, tenant: `+app.Tenant+`}`, `{to: entra, resource: "azure:`+app.ClientID+`", scopes: ["`+entraARM+`/.default"]}`, "entra", &said)
	for _, c := range said.Applications[0].Credentials {
		app.Credentials = append(app.Credentials, standin.EntraCredential{
			Issuer: standin.OIDCProvider{URL: c.Issuer, Keys: keys}, Subject: c.Subject, Audience: c.Audiences[0],
		})
	}
	return app
}

// connectJSON reads what connect says of a target, for the trust deploy.
func connectJSON(t *testing.T, target, grant, name string, into any) {
	t.Helper()
	c, findings := gateway.ParseConfig("cambio.yaml", []byte("issuer: https://gw.test\nidentity_providers:\n  iss1: {type: github-actions, audience: \"https://gw.test\"}\ntargets:\n  "+target+"\n"), nil, nil)
	if findings.HasErrors() {
		t.Fatal(findings)
	}
	now := time.Now()
	policy, findings := trust.Compile(gateway.World(c), []trust.Source{{Name: "deploy.yaml", Data: []byte(deploys(grant)["deploy.yaml"])}}, now)
	if policy == nil {
		t.Fatal(findings)
	}
	connection, findings, err := gateway.Connect(c, policy, name, now)
	if err != nil || connection == nil {
		t.Fatal(err, findings)
	}
	text, _ := connection.Form("json")
	if err := json.Unmarshal([]byte(text), into); err != nil {
		t.Fatal(err)
	}
}

func withForm(r *rig.Rig, target, name, value string) map[string][]string {
	f := form(r, name, value)
	f.Set("audience", target)
	return f
}

func closing(t *testing.T, end func() error, unknown func() []string) {
	t.Helper()
	t.Cleanup(func() {
		_ = end()
		for _, u := range unknown() {
			t.Errorf("the stand-in was asked what nobody knows the answer to: %s", u)
		}
	})
}

// TestVaultExchange goes from a workload's token to a token of Vault's, by a role as
// `connect` writes it; a role that was changed there since gives nothing.
func TestVaultExchange(t *testing.T) {
	t.Parallel()
	var r *rig.Rig
	const grant = `{to: vault, resource: "vault:deploy", ttl: 10m, policies: [default, deploy]}`
	var said struct {
		Roles []struct {
			Name       string
			Parameters json.RawMessage
		}
	}
	connectJSON(t, `vault: {type: vault, server: "https://vault.test", audience: "https://vault.test"}`, grant, "vault", &said)
	role, err := standin.ParseVaultRole(said.Roles[0].Parameters)
	if err != nil {
		t.Fatal(err)
	}
	loose := role
	loose.Policies = append([]string{"admin"}, role.Policies...)
	issuer := standin.OIDCProvider{URL: "https://gw.test", Keys: keysVia(&r)}
	clock := func() time.Time { return r.Clock.Now() }
	// The stand-in has the workload ids of this rig, whose provider is iss1 too.
	roles := map[string]standin.VaultRole{said.Roles[0].Name: role, "loose": loose}
	v, err := standin.NewVault(standin.VaultConfig{Now: clock, Rand: rand.Reader, Mount: "jwt", Issuer: issuer, Roles: roles})
	if err != nil {
		t.Fatal(err)
	}
	closing(t, v.Close, v.Unknown)
	r = rig.New(t, rig.Setup{
		Targets: `vault: {type: vault, server: "` + v.URL() + `", audience: "https://vault.test"}`,
		Trusts:  deploys(grant, strings.Replace(grant, "vault:deploy", "vault:loose", 1)),
	})
	a := r.Post(withForm(r, "vault", "resource", "vault:deploy"))
	if a.Status != 200 || a.Text("token_type") != "Bearer" {
		t.Fatalf("%d %s\n%s", a.Status, a.Raw, r.Log)
	}
	issued, ok := v.Token(a.Text("access_token"))
	if record := mintedBy(t, r, a.Decision); !ok || record.Handle != issued.Accessor || issued.Revoked {
		t.Errorf("%+v, in Vault %+v", record, issued)
	}
	untold(t, r, a.Text("access_token"))
	token := r.Token(nil)
	f := rig.Form(token)
	f.Set("audience", "vault")
	f.Set("resource", "vault:loose")
	if a := r.Post(f); a.Status != 503 {
		t.Errorf("a loose role: %d %s", a.Status, a.Raw)
	}
	requests := v.Requests()
	if last := requests[len(requests)-1]; last.Path != "/v1/auth/token/revoke-self" || last.Status != 204 {
		t.Errorf("the token of a loose role was not taken back: %s %d", last.Path, last.Status)
	}
	// Something was issued, so the workload's token stays used.
	if a := r.Post(f); a.Status != 400 {
		t.Errorf("the token again: %d %s", a.Status, a.Raw)
	}
	r.Stop()
	verifyJournal(t, r)
}

// TestFederatedGateways: one gateway is the authorization server of the other, a real
// one of RFC 8693 that shares no memory with it. It takes the first one's issuer for
// an identity provider by discovery, and judges by its workload.
func TestFederatedGateways(t *testing.T) {
	t.Parallel()
	first := httptest.NewUnstartedServer(nil)
	firstURL := "http://" + first.Listener.Addr().String()
	const workload = "spiffe://first.test/iss1/1/2"
	second := rig.New(t, rig.Setup{
		Config: `issuer: https://second.test
limits: {per_address: none, per_workload: none}
identity_providers:
  first:
    type: oidc
    issuer: ` + firstURL + `
    audience: https://second.test
    insecure_loopback: true
    claims: {sub: {type: string, anchor: true}}
targets:
  orders: {type: jwt, audience: "https://orders.test", max_ttl: 1h}
`,
		Trusts: map[string]string{"orders.yaml": `name: orders
owner: orders-team@second.test
purpose: The first gateway's job reads orders
from: first
match: {sub: "` + workload + `"}
grants: [{to: orders, scopes: [orders.read, orders.list], ttl: 5m}]
`},
	})
	a := rig.New(t, rig.Setup{
		Config: `issuer: ` + firstURL + `
trust_domain: first.test
limits: {per_address: none, per_workload: none}
identity_providers:
  iss1:
    type: github-actions
    issuer: {{ISS1}}
    audience: https://gw.test
    insecure_loopback: true
targets:
  partner: {type: oauth, token_url: "` + second.URL + `/token", audience: "https://second.test", parameters: {audience: orders}}
  bearer: {type: oauth, token_url: "` + second.URL + `/token", audience: "https://second.test", grant: jwt-bearer, parameters: {audience: orders}}
  client: {type: oauth, token_url: "` + second.URL + `/token", audience: "https://second.test", grant: client-credentials, parameters: {audience: orders}}
  other: {type: oauth, token_url: "` + second.URL + `/token", audience: "https://second.test/other", parameters: {audience: orders}}
`,
		Trusts: map[string]string{"deploy.yaml": deploys(`{to: partner, scopes: [orders.read], ttl: 5m}`,
			`{to: bearer, scopes: [orders.read], ttl: 5m}`, `{to: client, scopes: [orders.read], ttl: 5m}`, `{to: other, ttl: 5m}`)["deploy.yaml"]},
	})
	first.Config.Handler = http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { a.Gateway.Public().ServeHTTP(w, r) })
	first.Start()
	t.Cleanup(first.Close)

	for _, target := range []string{"partner", "bearer", "client"} { // each way to show an assertion
		f := rig.Form(a.Token(nil))
		f.Set("audience", target)
		got := a.Post(f)
		if got.Status != 200 || got.Text("scope") != "orders.read" || got.Text("token_type") != "Bearer" {
			t.Fatalf("%s: %d %s\nfirst:\n%s\nsecond:\n%s", target, got.Status, got.Raw, a.Log, second.Log)
		}
		if in, _ := got.Body["expires_in"].(float64); in <= 0 || in > 300 {
			t.Errorf("%s: expires in %v", target, got.Body["expires_in"])
		}
		claims := claimsOf(t, got.Text("access_token"))
		if claims["iss"] != "https://second.test" || claims["aud"] != "https://orders.test" || claims["scope"] != "orders.read" {
			t.Errorf("%s: %v", target, claims)
		}
		if record := mintedBy(t, a, got.Decision); !strings.HasPrefix(record.Handle, "sha256:") {
			t.Errorf("%s: %+v", target, record)
		}
		untold(t, a, got.Text("access_token"))
	}
	// What the second one refuses is refused, with its words in the first one's journal
	// only, and releases the workload's token: nothing was issued.
	f := rig.Form(a.Token(nil))
	f.Set("audience", "other")
	if got := a.Post(f); got.Status != 503 || strings.Contains(got.Raw, "second") {
		t.Errorf("an audience that the second one does not take: %d %s", got.Status, got.Raw)
	}
	f.Set("audience", "partner")
	if got := a.Post(f); got.Status != 200 {
		t.Errorf("the token was not released: %d %s", got.Status, got.Raw)
	}
	// Nobody here trusts it: the second one is not asked.
	f = rig.Form(a.Token(map[string]any{"repository_id": "3"}))
	f.Set("audience", "partner")
	if got := a.Post(f); got.Status != 400 {
		t.Errorf("another workload: %d %s", got.Status, got.Raw)
	}
	a.Stop()
	verifyJournal(t, a)
}

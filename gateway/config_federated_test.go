package gateway_test

import (
	"encoding/pem"
	"net/http/httptest"
	"os/exec"
	"slices"
	"strings"
	"testing"
	"time"

	"cambio/gateway"
	"cambio/trust"
	"cambio/trust/strictyaml"
)

const (
	azureTarget = "entra:\n    type: azure\n    tenant: aaaaaaaa-0000-1111-2222-bbbbbbbbbbbb"
	vaultTarget = "vault:\n    type: vault\n    server: https://vault.acme.example:8200\n    audience: https://vault.acme.example"
	oauthTarget = "artifacts:\n    type: oauth\n    token_url: https://acme.jfrog.example/access/api/v1/oidc/token\n    audience: https://acme.jfrog.example"
)

// federated is a configuration with these targets.
func federated(targets ...string) string {
	return `issuer: https://id.acme.example
identity_providers:
  github: {type: github-actions, audience: "https://id.acme.example"}
targets:
  orders-api: {type: jwt, audience: "https://orders.acme.example"}
  ` + strings.Join(targets, "\n  ") + "\n"
}

// TestConfigOfFederatedTargets: what may be left out has its default.
func TestConfigOfFederatedTargets(t *testing.T) {
	c, fs := parse(federated(azureTarget, vaultTarget, oauthTarget))
	if len(fs) != 0 {
		t.Fatal(fs)
	}
	if got := c.Targets["entra"]; got.Audience != "api://AzureADTokenExchange" || got.Subject != "trust" || time.Duration(got.MaxTTL) != 90*time.Minute || got.Endpoint != nil {
		t.Errorf("azure: %+v", got)
	}
	if got := c.Targets["vault"]; got.Mount != "jwt" || got.Subject != "workload" || time.Duration(got.MaxTTL) != time.Hour || got.Namespace != "" {
		t.Errorf("vault: %+v", got)
	}
	if got := c.Targets["artifacts"]; got.Grant != "token-exchange" || got.Body != "form" || got.Subject != "workload" || time.Duration(got.MaxTTL) != time.Hour {
		t.Errorf("oauth: %+v", got)
	}
	// A grant's life follows, and what decides where a token works is in the hash.
	for name, settings := range map[string]string{"entra": "tenant", "vault": "mount", "artifacts": "token_url"} {
		if got := gateway.World(c).Targets[name]; got.Settings[settings] == "" || got.Settings["subject"] == "" {
			t.Errorf("%s: %v", name, got.Settings)
		}
	}
	full := []string{
		azureTarget + "\n    endpoint: https://login.microsoftonline.us\n    audience: api://AzureADTokenExchangeUSGov\n    subject: workload\n    max_ttl: 90m",
		vaultTarget + "\n    namespace: acme/payments\n    mount: ci/jwt\n    ca_file: ca.pem\n    subject: trust\n    max_ttl: 24h",
		oauthTarget + "\n    grant: client-credentials\n    body: json\n    ca_file: ca.pem\n    subject: trust\n    parameters: {provider_name: cambio, subject_token_type: urn:ietf:params:oauth:token-type:id_token}",
	}
	server := httptest.NewTLSServer(nil)
	server.Close()
	ca := func(string) ([]byte, error) {
		return pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: server.Certificate().Raw}), nil
	}
	if _, fs := gateway.ParseConfig("cambio.yaml", []byte(federated(full...)), nil, ca); len(fs) != 0 {
		t.Error(fs)
	}
}

// TestConfigOfFederatedTargetsRefused: one thing is wrong.
func TestConfigOfFederatedTargetsRefused(t *testing.T) {
	for name, c := range map[string]struct{ targets, id string }{
		"azure without a tenant":  {"entra: {type: azure}", "required"},
		"azure by a domain":       {"entra: {type: azure, tenant: acme.onmicrosoft.com}", "azure-tenant"},
		"azure of any tenant":     {"entra: {type: azure, tenant: common}", "azure-tenant"},
		"azure in capitals":       {"entra: {type: azure, tenant: AAAAAAAA-0000-1111-2222-BBBBBBBBBBBB}", "azure-tenant"},
		"azure over http":         {azureTarget + "\n    endpoint: http://login.acme.example", "azure-endpoint"},
		"azure elsewhere":         {azureTarget + "\n    endpoint: https://login.acme.example", "target-audience-shared"},
		"azure in two places":     {azureTarget + "\n    endpoint: https://login.acme.example\n  x: {type: azure, tenant: 11111111-2222-3333-4444-555555555555}", "audience-reserved"},
		"azure for an hour":       {azureTarget + "\n    max_ttl: 1h", "max-ttl"},
		"azure of a region":       {azureTarget + "\n    region: eu-central-1", "unknown-field"},
		"vault without a server":  {"vault: {type: vault, audience: \"https://vault.acme.example\"}", "required"},
		"vault without audience":  {"vault: {type: vault, server: \"https://vault.acme.example\"}", "required"},
		"vault over http":         {strings.Replace(vaultTarget, "https://vault.acme.example:8200", "http://vault.acme.example", 1), "vault-server"},
		"vault with a token":      {strings.Replace(vaultTarget, "https://vault.acme.example:8200", "https://t@vault.acme.example", 1), "vault-server"},
		"vault with slashes":      {vaultTarget + "\n    mount: /jwt/", "vault-path"},
		"vault up":                {vaultTarget + "\n    mount: ../sys", "vault-path"},
		"vault in a namespace up": {vaultTarget + "\n    namespace: a/../b", "vault-path"},
		"vault of no authority":   {vaultTarget + "\n    ca_file: bad.json", "vault-server"},
		"vault as Entra":          {strings.Replace(vaultTarget, "audience: https://vault.acme.example", "audience: api://AzureADTokenExchange", 1), "audience-reserved"},
		"vault as AWS":            {strings.Replace(vaultTarget, "audience: https://vault.acme.example", "audience: sts.amazonaws.com", 1), "audience-reserved"},
		"vault as us":             {strings.Replace(vaultTarget, "audience: https://vault.acme.example", "audience: https://id.acme.example", 1), "audience-reserved"},
		"vault as another":        {vaultTarget + "\n  " + strings.Replace(oauthTarget, "audience: https://acme.jfrog.example", "audience: https://vault.acme.example/", 1), "audience-reserved"},
		"an API as vault":         {vaultTarget + "\n  x: {type: jwt, audience: \"https://vault.acme.example\"}", "audience-reserved"},
		"oauth without a URL":     {"x: {type: oauth, audience: \"https://auth.acme.example\"}", "required"},
		"oauth without audience":  {"x: {type: oauth, token_url: \"https://auth.acme.example/token\"}", "required"},
		"oauth over http":         {strings.Replace(oauthTarget, "https://acme.jfrog.example/access", "http://acme.jfrog.example/access", 1), "oauth-endpoint"},
		"oauth with a query":      {strings.Replace(oauthTarget, "/oidc/token", "/oidc/token?a=b", 1), "oauth-endpoint"},
		"oauth by password":       {oauthTarget + "\n    grant: password", "oauth-request"},
		"oauth as XML":            {oauthTarget + "\n    body: xml", "oauth-request"},
		"oauth as Google":         {strings.Replace(oauthTarget, "audience: https://acme.jfrog.example", "audience: https://iam.googleapis.com/projects/1", 1), "audience-reserved"},
		"oauth with a secret":     {oauthTarget + "\n    parameters: {client_secret: x}", "oauth-parameter"},
		"oauth with our own":      {oauthTarget + "\n    parameters: {scope: admin}", "oauth-parameter"},
		"oauth of no authority":   {oauthTarget + "\n    ca_file: bad.json", "oauth-endpoint"},
	} {
		_, fs := parse(federated(c.targets))
		if !slices.ContainsFunc(fs, func(f strictyaml.Finding) bool { return f.ID == c.id && f.Fix != "" && f.Line > 0 }) {
			t.Errorf("%s: %v", name, fs)
		}
	}
}

// granting is a trust with this grant.
func granting(name, repository, grant string) trust.Source {
	return trust.Source{Name: name + ".yaml", Data: []byte(`name: ` + name + `
owner: team@acme.example
purpose: Deploys
from: github
match: {repository_owner_id: "9919", repository_id: "` + repository + `"}
grants: [` + grant + `]
`)}
}

func connection(t *testing.T, target string, sources ...trust.Source) (*gateway.Connection, strictyaml.Findings) {
	t.Helper()
	c, fs := parse(federated(azureTarget, vaultTarget, oauthTarget))
	if fs.HasErrors() {
		t.Fatal(fs)
	}
	now := time.Date(2026, 11, 22, 12, 0, 0, 0, time.UTC)
	policy, fs := trust.Compile(gateway.World(c), sources, now)
	if policy == nil {
		t.Fatal(fs)
	}
	got, fs, err := gateway.Connect(c, policy, target, now)
	if err != nil {
		t.Fatal(err)
	}
	return got, fs
}

func holds(t *testing.T, c *gateway.Connection, form string, parts ...string) {
	t.Helper()
	text, ok := c.Form(form)
	if !ok {
		t.Fatalf("no form %s", form)
	}
	for _, part := range parts {
		if !strings.Contains(text, part) {
			t.Errorf("%s lacks %q:\n%s", form, part, text)
		}
	}
}

func TestConnectFederated(t *testing.T) {
	const (
		app    = `{to: entra, resource: "azure:11111111-2222-3333-4444-555555555555", scopes: ["https://management.azure.com/.default"]}`
		role   = `{to: vault, resource: "vault:payments-deploy", ttl: 15m, policies: [default, payments-read]}`
		api    = `{to: artifacts, ttl: 1h}`
		subj   = "spiffe://id.acme.example/github/9919/41881900"
		trust1 = "spiffe://id.acme.example/trust/payments"
	)
	c, fs := connection(t, "entra", granting("payments", "41881900", app), granting("backup", "41881901", app))
	if len(fs) != 0 {
		t.Error(fs)
	}
	holds(t, c, "text", "subject   "+trust1, "subject   spiffe://id.acme.example/trust/backup", "audience  api://AzureADTokenExchange", "2 of 20")
	holds(t, c, "terraform", `client_id = "11111111-2222-3333-4444-555555555555"`, `subject        = "`+trust1+`"`, "azurerm_federated_identity_credential")
	holds(t, c, "cli", "az ad app federated-credential create --id 11111111-2222-3333-4444-555555555555", "az identity federated-credential create")
	holds(t, c, "json", `"subject": "`+trust1+`"`, `"name": "cambio-trust-payments-`)

	c, fs = connection(t, "vault", granting("payments", "41881900", role))
	if len(fs) != 0 {
		t.Error(fs)
	}
	holds(t, c, "text", "sub       "+subj, "policies  default, payments-read", "lives     15m0s")
	holds(t, c, "terraform", `bound_claims            = { sub = "`+subj+`" }`, "token_explicit_max_ttl  = 900", `token_policies          = ["payments-read"]`, "token_no_default_policy = false")
	holds(t, c, "cli", "vault write auth/jwt/config oidc_discovery_url=https://id.acme.example bound_issuer=https://id.acme.example", "vault write auth/jwt/role/payments-deploy @./payments-deploy.role.json")

	c, fs = connection(t, "artifacts", granting("payments", "41881900", api), granting("backup", "41881900", api))
	if len(fs) != 0 {
		t.Error(fs)
	}
	holds(t, c, "text", "sub       "+subj+" (backup, payments)", "keys      https://id.acme.example/keys", "alg       RS256")
	holds(t, c, "json", `"sub": "`+subj+`"`)
}

// TestConnectFederatedScripts: what is printed for a shell is one that a shell reads.
func TestConnectFederatedScripts(t *testing.T) {
	for target, grant := range map[string]string{
		"entra": `{to: entra, resource: "azure:11111111-2222-3333-4444-555555555555", scopes: ["https://management.azure.com/.default"]}`,
		"vault": `{to: vault, resource: "vault:payments-deploy", ttl: 15m, policies: [default, payments-read]}`,
	} {
		c, _ := connection(t, target, granting("payments", "41881900", grant))
		script, _ := c.Form("cli")
		sh := exec.Command("sh", "-n")
		sh.Stdin = strings.NewReader(script)
		if out, err := sh.CombinedOutput(); err != nil {
			t.Errorf("%s: %v\n%s\n%s", target, err, out, script)
		}
	}
}

func TestConnectFederatedRefused(t *testing.T) {
	role := func(policies string) string {
		return `{to: vault, resource: "vault:deploy", policies: [` + policies + `]}`
	}
	_, fs := connection(t, "vault", granting("one", "1", role("a")), granting("two", "2", role("a, b")))
	if !slices.ContainsFunc(fs, func(f strictyaml.Finding) bool { return f.ID == "connect-role" && f.Severity == strictyaml.Error }) {
		t.Error(fs)
	}
	var many []trust.Source
	for i := range 21 {
		many = append(many, granting("t"+string(rune('a'+i)), "1", `{to: entra, resource: "azure:11111111-2222-3333-4444-555555555555", scopes: ["https://management.azure.com/.default"]}`))
	}
	_, fs = connection(t, "entra", many...)
	if !slices.ContainsFunc(fs, func(f strictyaml.Finding) bool { return f.ID == "connect-too-many-subjects" }) {
		t.Error(fs)
	}
}

// TestImportToTheSame: what Entra and Vault trust becomes a grant that fits a target
// of theirs, once it is said what the file is of.
func TestImportToTheSame(t *testing.T) {
	c, fs := parse(federated(azureTarget, vaultTarget, oauthTarget))
	if fs.HasErrors() {
		t.Fatal(fs)
	}
	const (
		iss  = "https://token.actions.githubusercontent.com"
		role = `{"data": {"role_type": "jwt", "user_claim": "sub", "bound_audiences": ["a"], "bound_claims": {"repository_id": "41881900", "repository_owner_id": "9919"}, "token_policies": ["payments-read"], "token_ttl": 600}}`

		credential = `{"name": "x", "issuer": "` + iss + `", "subject": "repo:acme@9919/payments@41881900:ref:refs/heads/main", "audiences": ["api://AzureADTokenExchange"]}`
	)
	now := time.Date(2026, 11, 22, 12, 0, 0, 0, time.UTC)
	for name, x := range map[string]struct {
		source   gateway.ImportSource
		to       string
		resource string
		want     string
		id       string // of the error; "": none
	}{
		"vault":            {gateway.ImportSource{Kind: "vault", Data: []byte(role), Issuer: iss}, "vault", "vault:payments-deploy", "policies: [default, payments-read]", ""},
		"vault, of whom":   {gateway.ImportSource{Kind: "vault", Data: []byte(role), Issuer: iss}, "vault", "", "", "import-role"},
		"vault with root":  {gateway.ImportSource{Kind: "vault", Data: []byte(strings.Replace(role, "payments-read", "root", 1)), Issuer: iss}, "vault", "vault:payments-deploy", "", "import-permissions"},
		"vault elsewhere":  {gateway.ImportSource{Kind: "vault", Data: []byte(role), Issuer: iss}, "orders-api", "", "to: orders-api", ""},
		"vault, its grant": {gateway.ImportSource{Kind: "vault", Data: []byte(strings.Replace(role, `"token_ttl"`, `"token_no_default_policy": true, "token_ttl"`, 1)), Issuer: iss}, "vault", "vault:payments-deploy", "policies: [payments-read]", ""},
		"azure, of whom":   {gateway.ImportSource{Kind: "azure", Data: []byte(credential)}, "entra", "", "", "import-role"},
		"azure":            {gateway.ImportSource{Kind: "azure", Data: []byte(credential)}, "entra", "azure:11111111-2222-3333-4444-555555555555", "https://management.azure.com/.default", ""},
	} {
		got, fs := gateway.Import(&c, x.source, gateway.Labels{To: x.to, Resource: x.resource, From: "github", Owner: "team@acme.example", Purpose: "Deploys"}, now)
		failed := slices.ContainsFunc(fs, func(f strictyaml.Finding) bool { return f.ID == x.id && f.Severity == strictyaml.Error })
		if x.id != "" {
			if !failed || got != nil {
				t.Errorf("%s: %v", name, fs)
			}
			continue
		}
		if len(got) != 1 || fs.HasErrors() || !strings.Contains(string(got[0].Document), x.want) {
			t.Errorf("%s: %v", name, fs)
			for _, g := range got {
				t.Log(string(g.Document))
			}
		}
	}
}

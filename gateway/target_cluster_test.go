package gateway_test

import (
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"encoding/json"
	"encoding/pem"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"cambio/gateway"
	"cambio/standin"
	"cambio/trust"
	"cambio/trust/strictyaml"
)

// appPEM is the key of a GitHub App, made once: RSA keys take their time.
var appPEM = sync.OnceValues(func() ([]byte, error) {
	k, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		return nil, err
	}
	return pem.EncodeToMemory(&pem.Block{Type: "RSA PRIVATE KEY", Bytes: x509.MarshalPKCS1PrivateKey(k)}), nil
})

const targetConfig = `issuer: https://id.acme.example
identity_providers:
  github: {type: github-actions, audience: "https://id.acme.example"}
targets:
  x: TARGET
`

// withTarget is a configuration with one target; files lie beside it.
func withTarget(t *testing.T, target string, files map[string][]byte) (gateway.Config, []string, strictyaml.Findings) {
	t.Helper()
	src := strings.Replace(targetConfig, "TARGET", target, 1)
	c, fs := gateway.ParseConfig("/etc/cambio/cambio.yaml", []byte(src), func(string) (string, bool) { return "", false }, func(path string) ([]byte, error) {
		if b, ok := files[filepath.Base(path)]; ok {
			return slices.Clone(b), nil // keys are wiped once they are read
		}
		return nil, os.ErrNotExist
	})
	var ids []string
	for _, f := range fs {
		ids = append(ids, string(f.Severity)+" "+f.ID)
	}
	slices.Sort(ids)
	return c, slices.Compact(ids), fs
}

func TestConfigOfClustersAndApps(t *testing.T) {
	app, err := appPEM()
	if err != nil {
		t.Fatal(err)
	}
	cluster := startCluster(t)
	files := map[string][]byte{"app.pem": app, "ca.pem": cluster.CA(), "bad.pem": []byte("x"), "cert.pem": cluster.CA()}
	for name, c := range map[string]struct {
		target string
		want   []string
	}{
		"a cluster":              {`{type: kubernetes, audience: "https://id.acme.example/prod"}`, nil},
		"a cluster's trusts":     {`{type: kubernetes, audience: "https://id.acme.example/prod", subject: trust, max_ttl: 5m}`, nil},
		"an API server":          {`{type: kubernetes, audience: "https://id.acme.example/prod", server: "https://10.1.2.3:6443", ca_file: ca.pem, max_ttl: 12h}`, nil},
		"no audience":            {`{type: kubernetes}`, []string{"error required"}},
		"our own issuer":         {`{type: kubernetes, audience: "https://id.acme.example"}`, []string{"error audience-reserved"}},
		"any cluster's audience": {`{type: kubernetes, audience: "https://kubernetes.default.svc"}`, []string{"warning target-audience-shared"}},
		"AWS's audience":         {`{type: kubernetes, audience: sts.amazonaws.com}`, []string{"error audience-reserved"}},
		"Entra's audience":       {`{type: kubernetes, audience: "api://AzureADTokenExchange", server: "https://c.test"}`, []string{"error audience-reserved"}},
		"a role's audience":      {"{type: kubernetes, audience: acme}\n  z: {type: aws, account: \"111122223333\", region: eu-central-1, audience: acme}", []string{"error audience-reserved"}},
		"an application's":       {"{type: kubernetes, audience: acme}\n  z: {type: azure, tenant: 11111111-2222-3333-4444-555555555555, audience: acme}", []string{"error audience-reserved"}},
		"a store's audience":     {"{type: kubernetes, audience: acme}\n  z: {type: aws, endpoint: \"https://store.test\", audience: acme}", []string{"error audience-reserved", "info aws-arn-unchecked"}},
		"http":                   {`{type: kubernetes, audience: x, server: "http://10.1.2.3:6443"}`, []string{"error kubernetes-server"}},
		"a CA for nobody":        {`{type: kubernetes, audience: x, ca_file: ca.pem}`, []string{"error kubernetes-server"}},
		"a CA that is none":      {`{type: kubernetes, audience: x, server: "https://c.test", ca_file: bad.pem}`, []string{"error kubernetes-server"}},
		"below ten minutes":      {`{type: kubernetes, audience: x, server: "https://c.test", max_ttl: 9m}`, []string{"error max-ttl"}},
		"above an hour":          {`{type: kubernetes, audience: x, max_ttl: 2h}`, []string{"error max-ttl"}},
		"a role's account":       {`{type: kubernetes, audience: x, account: "111122223333"}`, []string{"error unknown-field"}},
		"an App":                 {`{type: github, app_id: "12345", app_key: app.pem, installation: "4242"}`, nil},
		"a client id":            {`{type: github, app_id: Iv23liAbCdEfGhIjKlMn, app_key: app.pem, installation: "4242"}`, nil},
		"a KMS":                  {`{type: github, app_id: "12345", installation: "4242", app_key: "awskms:///arn:aws:kms:eu-central-1:111122223333:key/0f9e8d7c-6b5a-4432-9110-aabbccddeeff"}`, nil},
		"a server of one's own":  {`{type: github, app_id: "12345", app_key: app.pem, installation: "4242", endpoint: "https://ghe.acme.example/api/v3", ca_file: ca.pem}`, nil},
		"no key":                 {`{type: github, app_id: "12345", installation: "4242"}`, []string{"error required"}},
		"no file":                {`{type: github, app_id: "12345", app_key: gone.pem, installation: "4242"}`, []string{"error file-unreadable"}},
		"a key that is none":     {`{type: github, app_id: "12345", app_key: cert.pem, installation: "4242"}`, []string{"error github-app-key"}},
		"an alias":               {`{type: github, app_id: "12345", app_key: "awskms:///alias/app", installation: "4242"}`, []string{"error github-app-key"}},
		"nothing":                {`{type: github}`, []string{"error required"}},
		"a name for an id":       {`{type: github, app_id: my-app, app_key: app.pem, installation: acme}`, []string{"error github-app"}},
		"http to GitHub":         {`{type: github, app_id: "12345", app_key: app.pem, installation: "4242", endpoint: "http://ghe.test"}`, []string{"error github-endpoint"}},
		"an audience":            {`{type: github, app_id: "12345", app_key: app.pem, installation: "4242", audience: x}`, []string{"error unknown-field"}},
		"half an hour":           {`{type: github, app_id: "12345", app_key: app.pem, installation: "4242", max_ttl: 30m}`, []string{"error max-ttl"}},
		"a bad CA":               {`{type: github, app_id: "12345", app_key: app.pem, installation: "4242", ca_file: bad.pem}`, []string{"error github-endpoint"}},
	} {
		if _, got, all := withTarget(t, c.target, files); !cmp.Equal(c.want, got) {
			t.Errorf("%s: %v\n%v", name, got, all)
		}
	}
	// What a cluster takes must not be had past its target.
	_, got, _ := withTarget(t, "{type: kubernetes, audience: \"https://id.acme.example/prod\"}\n  y: {type: jwt, audience: \"https://id.acme.example/prod/\"}", files)
	if !slices.Contains(got, "error audience-reserved") {
		t.Errorf("a jwt target with the cluster's audience: %v", got)
	}
	_, got, _ = withTarget(t, "{type: kubernetes, audience: \"https://id.acme.example/prod\"}\n  y: {type: kubernetes, audience: \"https://id.acme.example/prod\"}", files)
	if !slices.Contains(got, "warning target-audience-shared") {
		t.Errorf("two clusters with one audience: %v", got)
	}
}

func startCluster(t *testing.T) *standin.Cluster {
	t.Helper()
	k, err := standin.NewCluster(standin.ClusterConfig{Now: time.Now, Rand: rand.Reader, TLS: &standin.TLS{}})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = k.Close()
		for _, u := range k.Unknown() {
			t.Errorf("the cluster was asked what nobody knows the answer to: %s", u)
		}
	})
	return k
}

// deployingTo is the policy of one trust of a repository with these grants.
func deployingTo(t *testing.T, c gateway.Config, grants string) *trust.Policy {
	t.Helper()
	policy, findings := trust.Compile(gateway.World(c), []trust.Source{{Name: "deploy.yaml", Data: []byte(`name: deploy
owner: team@acme.example
purpose: deploys
from: github
match: {repository_owner_id: "9919", repository_id: "41881900"}
grants: [` + grants + "]\n")}}, time.Now())
	if policy == nil {
		t.Fatal(findings)
	}
	return policy
}

// TestConnectKubernetes: the forms, and that a cluster takes the YAML.
func TestConnectKubernetes(t *testing.T) {
	k := startCluster(t)
	for name, c := range map[string]struct{ target, grants, says string }{
		"as it is": {`{type: kubernetes, audience: "https://id.acme.example/prod"}`, `{to: x, groups: [deployers]}`, "cambio:deployers"},
		"accounts": {`{type: kubernetes, audience: "https://id.acme.example/prod", server: "https://c.test:6443"}`, `{to: x, resource: "k8s:payments/deployer"}`, "Service account payments/deployer"},
		"trusts":   {`{type: kubernetes, audience: "https://id.acme.example/prod", subject: trust}`, `{to: x}`, "spiffe://id.acme.example/trust/deploy"},
	} {
		config, _, fs := withTarget(t, c.target, nil)
		if fs.HasErrors() {
			t.Fatal(fs)
		}
		connection, findings, err := gateway.Connect(config, deployingTo(t, config, c.grants), "x", time.Now())
		if err != nil || connection == nil {
			t.Fatalf("%s: %v %v", name, err, findings)
		}
		text, _ := connection.Form("text")
		doc, _ := connection.Form("yaml")
		raw, ok := connection.Form("json")
		if !ok || !json.Valid([]byte(raw)) || !strings.Contains(text, c.says) || connection.Forms[0].Name != "text" {
			t.Errorf("%s: %s\n%s", name, text, raw)
		}
		if err := k.Apply([]byte(doc)); err != nil {
			t.Errorf("%s: %v\n%s", name, err, doc)
		}
	}
}

// TestConnectGitHub: a trust that leaves open which workloads it is for is
// connected all the same, as GitHub is told nothing of who asks.
func TestConnectGitHub(t *testing.T) {
	app, err := appPEM()
	if err != nil {
		t.Fatal(err)
	}
	config, _, fs := withTarget(t, `{type: github, app_id: "12345", app_key: app.pem, installation: "4242"}`, map[string][]byte{"app.pem": app})
	if fs.HasErrors() {
		t.Fatal(fs)
	}
	policy, findings := trust.Compile(gateway.World(config), []trust.Source{{Name: "deploy.yaml", Data: []byte(`name: deploy
owner: team@acme.example
purpose: any repository of ours reads app
from: github
match: {repository_owner_id: "9919"}
grants: [{to: x, resource: "github:acme/app", scopes: ["contents:read"]}]
`)}}, time.Now())
	if policy == nil {
		t.Fatal(findings)
	}
	connection, findings, err := gateway.Connect(config, policy, "x", time.Now())
	if err != nil || connection == nil {
		t.Fatal(err, findings)
	}
	if connection.Certifies {
		t.Error("a token of an App needs no key, and can be tried")
	}
	text, _ := connection.Form("text")
	if raw, ok := connection.Form("json"); !ok || !json.Valid([]byte(raw)) || !strings.Contains(text, "  contents: read\n") || !strings.Contains(text, "  acme/app\n") {
		t.Errorf("%s\n%s", text, raw)
	}
	if g := policy.Granted("x"); len(g) != 1 || g[0].Literal.TTL != time.Hour {
		t.Errorf("%+v", g)
	}
}

// TestImportOctoSTSForGitHub: for a github target the permissions and repositories
// of a policy become those of the grant.
func TestImportOctoSTSForGitHub(t *testing.T) {
	app, err := appPEM()
	if err != nil {
		t.Fatal(err)
	}
	config, _, fs := withTarget(t, `{type: github, app_id: "12345", app_key: app.pem, installation: "4242"}`, map[string][]byte{"app.pem": app})
	if fs.HasErrors() {
		t.Fatal(fs)
	}
	claims := [][]byte{[]byte(`{"repository": "acme/payments", "repository_id": "41881900", "repository_owner_id": "9919"}`)}
	const head = "issuer: https://token.actions.githubusercontent.com\nsubject: repo:acme/payments:ref:refs/heads/main\n"
	for name, c := range map[string]struct {
		policy, resource string
		want             string // the finding that refuses it
		scopes, repos    []string
	}{
		"repositories":      {"permissions: {contents: write, pull_requests: read}\nrepositories: [payments, infra]\n", "", "", []string{"contents:write", "pull_requests:read"}, []string{"payments", "infra"}},
		"its own":           {"permissions: {contents: read}\n", "github:acme/payments", "", []string{"contents:read"}, nil},
		"which is not said": {"permissions: {contents: read}\n", "", "import-repository", nil, nil},
		"said twice":        {"permissions: {contents: read}\nrepositories: [a]\n", "github:acme/payments", "import-repository", nil, nil},
		"no permissions":    {"repositories: [a]\n", "", "import-permissions", nil, nil},
		"an odd level":      {"permissions: {contents: owner}\nrepositories: [a]\n", "", "import-permissions", nil, nil},
		"a level of none":   {"permissions: {contents: [read]}\nrepositories: [a]\n", "", "import-permissions", nil, nil},
		"an odd name":       {"permissions: {\"contents:read\": read}\nrepositories: [a]\n", "", "import-permissions", nil, nil},
		"another's":         {"permissions: {contents: read}\nrepositories: [evil/a]\n", "", "import-permissions", nil, nil},
		"all":               {"permissions: {contents: read}\nrepositories: [\"*\"]\n", "", "import-permissions", nil, nil},
	} {
		documents, findings := gateway.Import(&config, gateway.ImportSource{Kind: "octo-sts", File: "x.sts.yaml", Data: []byte(head + c.policy), Claims: claims},
			gateway.Labels{Owner: "team@acme.example", To: "x", Resource: c.resource}, time.Now())
		if c.want != "" {
			if !slices.ContainsFunc(findings, func(f strictyaml.Finding) bool { return f.ID == c.want && f.Severity == strictyaml.Error }) || documents != nil {
				t.Errorf("%s: %v", name, findings)
			}
			continue
		}
		if len(documents) != 1 {
			t.Errorf("%s: %v", name, findings)
			continue
		}
		policy, compiled := trust.Compile(gateway.World(config), []trust.Source{{Name: "x.yaml", Data: documents[0].Document}}, time.Now())
		if policy == nil {
			t.Errorf("%s: %v\n%s", name, compiled, documents[0].Document)
			continue
		}
		g := policy.Granted("x")[0]
		repos, _ := g.Literal.Extra["repositories"].([]string)
		if !cmp.Equal(c.scopes, g.Literal.Scopes) || !cmp.Equal(c.repos, repos) || g.Resource != c.resource || g.Literal.TTL != time.Hour {
			t.Errorf("%s: %+v", name, g)
		}
	}
}

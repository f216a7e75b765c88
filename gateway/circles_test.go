package gateway_test

import (
	"bytes"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"cambio/gateway"
)

// TestOwnAuthorityVouchesForNobody: certificates of ours, and JWTs as JWT-SVIDs, do
// not come back as subject tokens, whose lifetimes would then mean nothing.
func TestOwnAuthorityVouchesForNobody(t *testing.T) {
	dir := certificateHouse(t, "365")
	chain, err := os.ReadFile(filepath.Join(dir, "chain.pem"))
	if err != nil {
		t.Fatal(err)
	}
	read := func(path string) ([]byte, error) {
		switch filepath.Base(path) {
		case "cert.pem", "key.pem":
			return []byte("x"), nil
		case "both.pem":
			other, err := authorityFiles(t, time.Now())("clients.pem")
			return slices.Concat(other, chain), err
		case "clients.pem", "bundle.json":
			return authorityFiles(t, time.Now())(path)
		}
		b, err := os.ReadFile(filepath.Join(dir, filepath.Base(path)))
		return bytes.Clone(b), err
	}
	for name, c := range map[string]struct {
		provider string
		want     []string
	}{
		"another authority": {`ci: {type: x509, client_ca_file: clients.pem}`, nil},
		"our intermediate":  {`ci: {type: x509, client_ca_file: ca.pem}`, []string{"identity_providers.ci.client_ca_file issuer-own"}},
		"our root":          {`ci: {type: x509, client_ca_file: root.pem}`, []string{"identity_providers.ci.client_ca_file issuer-own"}},
		"ours among others": {`ci: {type: x509, client_ca_file: both.pem}`, []string{"identity_providers.ci.client_ca_file issuer-own"}},
		"a domain":          {`m: {type: spiffe, trust_domain: mesh.test, audience: "https://id.acme.example", bundle_file: bundle.json}`, nil},
		"our domain":        {`m: {type: spiffe, trust_domain: id.acme.example, audience: "https://id.acme.example", bundle_url: "https://id.acme.example/.well-known/spiffe-bundle"}`, []string{"identity_providers.m.trust_domain issuer-own"}},
	} {
		src := strings.Replace(clientsConfig(ownTLS, c.provider), "targets:\n", "targets:\n  "+meshTarget+"\n", 1)
		_, findings := gateway.ParseConfig(filepath.Join(dir, "cambio.yaml"), []byte(src), nil, read)
		var got []string
		for _, f := range findings {
			if f.ID != "ca-root" {
				got = append(got, f.Field+" "+f.ID)
			}
		}
		if !slices.Equal(got, c.want) {
			t.Errorf("%s: %q, want %q", name, got, c.want)
		}
	}
}

// TestGrantsForThisGateway: a token that somebody else makes for us would come back
// as another identity, past the trust that it came by.
func TestGrantsForThisGateway(t *testing.T) {
	const (
		pool    = `{type: gcp, audience: "//iam.googleapis.com/projects/123456789012/locations/global/workloadIdentityPools/acme/providers/cambio"}`
		cluster = `{type: kubernetes, audience: "https://id.acme.example/prod", server: "https://c.test"}`
		other   = `{type: oauth, audience: "https://auth.acme.example", token_url: "https://auth.acme.example/token"}`
		account = `resource: "gcp:deploy@acme-prod.iam.gserviceaccount.com", ttl: 1h, id_token_audience: `
	)
	for name, c := range map[string]struct {
		target, grant string
		refused       bool
	}{
		"an ID token for a service":   {pool, account + `"https://orders.acme.example"`, false},
		"an ID token for us":          {pool, account + `"https://id.acme.example/"`, true},
		"an ID token for a provider":  {pool, account + `"https://gw.acme.example"`, true},
		"an account's for a service":  {cluster, `resource: "k8s:payments/deployer", audiences: [vault]`, false},
		"an account's for all":        {cluster, `resource: "k8s:payments/deployer"`, false},
		"an account's for a provider": {cluster, `resource: "k8s:payments/deployer", audiences: [vault, "https://gw.acme.example"]`, true},
		"a server's for an API":       {other, `resource: "https://orders.acme.example"`, false},
		"a server's for us":           {other, `resource: "https://id.acme.example"`, true},
	} {
		t.Run(name, func(t *testing.T) {
			config, _, findings := withTarget(t, c.target, nil)
			if findings.HasErrors() {
				t.Fatal(findings)
			}
			p := config.IdentityProviders["github"]
			p.Audience = []string{"https://gw.acme.example"}
			config.IdentityProviders["github"] = p
			config.Trust = t.TempDir()
			put(t, config.Trust, "t.yaml", "name: deploy\nowner: team@acme.example\npurpose: deploys\nfrom: github\nmatch: {repository_owner_id: \"9919\", repository_id: \"41881900\"}\ngrants:\n  - {to: x, "+c.grant+"}\n")
			policy, found := gateway.LoadPolicy(config, time.Now())
			var got []string
			for _, f := range found {
				if f.Severity == "error" {
					got = append(got, f.ID)
				}
			}
			if (policy == nil) != c.refused || c.refused && !slices.Equal(got, []string{"grant-returns"}) {
				t.Errorf("%v", found)
			}
		})
	}
}

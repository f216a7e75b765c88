package gateway_test

import (
	"crypto/rand"
	"crypto/x509"
	"encoding/pem"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"cambio/gateway"
	"cambio/providers/spiffe/spiffetest"
	"cambio/trust/strictyaml"
)

// authorityFiles are the files of a trust domain and of an authority for clients.
func authorityFiles(t *testing.T, now time.Time) func(string) ([]byte, error) {
	t.Helper()
	a := spiffetest.New(t, "mesh.test", now)
	leaf := a.SVID("spiffe://mesh.test/x", nil)
	asPEM := func(der []byte) []byte { return pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}) }
	return func(path string) ([]byte, error) {
		switch filepath.Base(path) {
		case "bundle.json":
			return a.Bundle(nil), nil
		case "clients.pem":
			return asPEM(a.Root.Raw), nil
		case "ending.pem":
			b := a.Below(func(c *x509.Certificate) { c.NotAfter = now.Add(24 * time.Hour) })
			return asPEM(b.Root.Raw), nil
		case "ended.pem":
			b := a.Below(func(c *x509.Certificate) { c.NotAfter = now.Add(-time.Minute) })
			return asPEM(b.Root.Raw), nil
		case "leaf.pem":
			return asPEM(leaf.Leaf.Raw), nil
		case "keyset.json":
			return []byte(`{"keys":[{"kty":"EC","use":"sig"}]}`), nil
		}
		return nil, os.ErrNotExist
	}
}

const (
	meshProvider = `mesh: {type: spiffe, trust_domain: mesh.test, audience: "https://id.acme.example", bundle_file: bundle.json}`
	ciProvider   = `ci: {type: x509, client_ca_file: clients.pem}`
	ownTLS       = "tls: {cert: cert.pem, key: key.pem}\n"
)

func clientsConfig(server string, providers ...string) string {
	return "issuer: https://id.acme.example\n" + server + "identity_providers:\n  " + strings.Join(providers, "\n  ") +
		"\ntargets:\n  orders-api: {type: jwt, audience: \"https://orders.acme.example\"}\n"
}

// TestConfigOfCertificates: trust domains and authorities of client certificates,
// one thing wrong at a time.
func TestConfigOfCertificates(t *testing.T) {
	t.Parallel()
	read := authorityFiles(t, time.Now())
	mesh := func(old, replacement string) string { return strings.Replace(meshProvider, old, replacement, 1) }
	for name, c := range map[string]struct {
		server    string
		providers []string
		want      []string // field and finding
	}{
		"good":                       {ownTLS, []string{meshProvider, ciProvider}, nil},
		"spiffe without own TLS":     {"", []string{meshProvider}, nil}, // JWT-SVIDs need none
		"x509 without TLS":           {"", []string{ciProvider}, []string{"identity_providers.ci.type client-certificates-unseen"}},
		"x509 behind a proxy":        {"tls: {terminated_by: [192.0.2.0/24]}\n", []string{ciProvider}, []string{"identity_providers.ci.type client-certificates-unseen"}},
		"x509 with an audience":      {ownTLS, []string{`ci: {type: x509, client_ca_file: clients.pem, audience: x}`}, []string{"identity_providers.ci.audience audience-invalid"}},
		"x509 with an issuer":        {ownTLS, []string{`ci: {type: x509, client_ca_file: clients.pem, issuer: "https://x.test"}`}, []string{"identity_providers.ci.issuer provider-setting"}},
		"x509 with algs":             {ownTLS, []string{`ci: {type: x509, client_ca_file: clients.pem, algs: [RS256]}`}, []string{"identity_providers.ci.algs provider-setting"}},
		"x509 without authorities":   {ownTLS, []string{`ci: {type: x509}`}, []string{"identity_providers.ci keys-unreachable"}},
		"x509 with a leaf":           {ownTLS, []string{`ci: {type: x509, client_ca_file: leaf.pem}`}, []string{"identity_providers.ci.client_ca_file keys-unreachable"}},
		"x509 with a bundle":         {ownTLS, []string{`ci: {type: x509, client_ca_file: clients.pem, bundle_file: bundle.json}`}, []string{"identity_providers.ci.bundle_file unknown-field"}},
		"the file is not there":      {ownTLS, []string{`ci: {type: x509, client_ca_file: gone.pem}`}, []string{"identity_providers.ci.client_ca_file file-unreadable"}},
		"spiffe without an audience": {"", []string{mesh(`audience: "https://id.acme.example", `, "")}, []string{"identity_providers.mesh.audience required"}},
		"spiffe without a domain":    {"", []string{mesh(`trust_domain: mesh.test, `, "")}, []string{"identity_providers.mesh provider-setting"}},
		"a domain in upper case":     {"", []string{mesh(`mesh.test`, "Mesh.test")}, []string{"identity_providers.mesh.trust_domain provider-setting"}},
		"an empty domain":            {"", []string{mesh(`mesh.test`, `""`)}, []string{"identity_providers.mesh.trust_domain empty", "identity_providers.mesh.trust_domain provider-setting"}},
		"spiffe without a bundle":    {"", []string{mesh(`, bundle_file: bundle.json`, "")}, []string{"identity_providers.mesh keys-unreachable"}},
		"a key set for a bundle":     {"", []string{mesh(`bundle.json`, "keyset.json")}, []string{"identity_providers.mesh.bundle_file keys-unreachable"}},
		"a key set":                  {"", []string{mesh(`bundle_file`, `jwks_url: "https://x.test", bundle_file`)}, []string{"identity_providers.mesh.jwks_url provider-setting"}},
		"an endpoint over http":      {"", []string{mesh(`bundle_file`, `bundle_url: "http://x.test", bundle_file`)}, []string{"identity_providers.mesh.bundle_url issuer-url-invalid"}},
		"an endpoint's id alone":     {"", []string{mesh(`bundle_file`, `bundle_endpoint_id: "spiffe://mesh.test/s", bundle_file`)}, []string{"identity_providers.mesh.bundle_endpoint_id provider-setting"}},
		"one domain twice":           {"", []string{meshProvider, strings.Replace(meshProvider, "mesh:", "mesh2:", 1)}, []string{"identity_providers.mesh2.audience provider-duplicate"}},
		"one domain, two audiences":  {"", []string{meshProvider, strings.NewReplacer("mesh:", "mesh2:", "https://id.acme.example", "https://two.test").Replace(meshProvider)}, nil},
		"a bundle for another type":  {"", []string{`google: {type: gcp, audience: "https://id.acme.example", bundle_file: bundle.json}`}, []string{"identity_providers.google.bundle_file unknown-field"}},
	} {
		_, findings := gateway.ParseConfig("cambio.yaml", []byte(clientsConfig(c.server, c.providers...)), nil, read)
		var got []string
		for _, f := range findings {
			if f.Severity == strictyaml.Error {
				got = append(got, f.Field+" "+f.ID)
			}
		}
		slices.Sort(got)
		if !slices.Equal(got, c.want) {
			t.Errorf("%s: %q, want %q", name, got, c.want)
		}
	}
}

// TestDoctorOfCertificates: bundles are read and authorities looked at.
func TestDoctorOfCertificates(t *testing.T) {
	t.Parallel()
	now := time.Now()
	named := func(name, file string) string {
		return strings.NewReplacer("ci:", name+":", "clients.pem", file).Replace(ciProvider)
	}
	c, findings := gateway.ParseConfig(filepath.Join(t.TempDir(), "cambio.yaml"),
		[]byte(clientsConfig(ownTLS, meshProvider, ciProvider, named("ending", "ending.pem"), named("ended", "ended.pem"))), nil, authorityFiles(t, now))
	if findings.HasErrors() {
		t.Fatal(findings)
	}
	checks := byName(t, gateway.Doctor(t.Context(), c, gateway.DoctorEnv{Now: func() time.Time { return now }, Rand: rand.Reader}))
	want(t, checks, "identity_providers.mesh", gateway.DoctorPass, "pinned: 2 of 2 keys usable")
	want(t, checks, "identity_providers.ci", gateway.DoctorPass, "1 certificate")
	want(t, checks, "identity_providers.ending", gateway.DoctorWarn, "expires at")
	want(t, checks, "identity_providers.ended", gateway.DoctorWarn, "expired at")
}

package gateway_test

import (
	"context"
	"crypto/rand"
	"encoding/json"
	"io/fs"
	"log/slog"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"cambio/gateway"
	"cambio/trust/strictyaml"
)

// certificateHouse is a folder with a configuration, and authorities made by
// openssl and ssh-keygen that end after this many days.
func certificateHouse(t *testing.T, days string) string {
	t.Helper()
	dir := t.TempDir()
	do := func(name string, args ...string) {
		t.Helper()
		c := exec.CommandContext(t.Context(), name, args...)
		c.Dir = dir
		if out, err := c.CombinedOutput(); err != nil {
			t.Fatalf("%s %v: %v\n%s", name, args, err, out)
		}
	}
	put(t, dir, "ca.ext", "basicConstraints=critical,CA:TRUE,pathlen:0\nkeyUsage=critical,keyCertSign,cRLSign\nsubjectKeyIdentifier=hash\n")
	do("openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-keyout", "root.key", "-out", "root.pem", "-days", "3650", "-subj", "/CN=root", "-addext", "keyUsage=critical,keyCertSign,cRLSign")
	do("openssl", "req", "-new", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-keyout", "ca.key", "-out", "ca.csr", "-subj", "/CN=issuing")
	do("openssl", "x509", "-req", "-in", "ca.csr", "-CA", "root.pem", "-CAkey", "root.key", "-CAcreateserial", "-days", days, "-extfile", "ca.ext", "-out", "ca.pem")
	var chain []byte
	for _, name := range []string{"ca.pem", "root.pem"} {
		b, err := os.ReadFile(filepath.Join(dir, name))
		if err != nil {
			t.Fatal(err)
		}
		chain = append(chain, b...)
	}
	put(t, dir, "chain.pem", string(chain))
	do("ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", "ssh_ca")
	do("ssh-keygen", "-q", "-t", "ed25519", "-N", "hunter2", "-f", "locked")
	put(t, dir, "text", "hello\n")
	if err := os.Mkdir(filepath.Join(dir, "trust"), 0o700); err != nil {
		t.Fatal(err)
	}
	put(t, dir, "trust/mesh.yaml", `name: mesh
owner: team@acme.example
purpose: payments is a service
from: github
match: {repository_owner_id: "9919", repository_id: "41881900", ref: refs/heads/main}
grants:
  - {to: mesh, ttl: 1h, dns: [payments.acme.example]}
  - {to: machines, ttl: 10m, principals: [deploy, web]}
`)
	put(t, dir, "trust/all.yaml", `name: everyone
owner: team@acme.example
purpose: each repository of ours reads the mesh
from: github
match: {repository_owner_id: "9919", ref: refs/heads/main}
grants:
  - {to: mesh, resource: "mesh:readers", usages: [client]}
`)
	return dir
}

func put(t *testing.T, dir, name, text string) {
	t.Helper()
	if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
}

const (
	meshTarget    = "mesh: {type: x509, ca_cert: chain.pem, ca_key: ca.key}"
	machineTarget = "machines: {type: ssh, ca_key: ssh_ca}"
)

func certificateConfig(dir string, targets ...string) (gateway.Config, strictyaml.Findings) {
	src := `issuer: https://id.acme.example
identity_providers:
  github: {type: github-actions, audience: https://id.acme.example}
targets:
  ` + strings.Join(targets, "\n  ") + "\n"
	return gateway.ParseConfig(filepath.Join(dir, "cambio.yaml"), []byte(src), nil, os.ReadFile)
}

func TestCertificateTargets(t *testing.T) {
	dir := certificateHouse(t, "365")
	for name, c := range map[string]struct{ target, want string }{
		"x509":                     {meshTarget, ""},
		"x509, for the trust":      {"mesh: {type: x509, ca_cert: chain.pem, ca_key: ca.key, subject: trust, max_ttl: 24h}", ""},
		"x509 without a chain":     {"mesh: {type: x509, ca_key: ca.key}", "required"},
		"x509 without a key":       {"mesh: {type: x509, ca_cert: chain.pem}", "required"},
		"x509 with an audience":    {"mesh: {type: x509, ca_cert: chain.pem, ca_key: ca.key, audience: x}", "unknown-field"},
		"x509 for too long":        {"mesh: {type: x509, ca_cert: chain.pem, ca_key: ca.key, max_ttl: 25h}", "max-ttl"},
		"no such file":             {"mesh: {type: x509, ca_cert: none.pem, ca_key: ca.key}", "file-unreadable"},
		"a chain without its root": {"mesh: {type: x509, ca_cert: ca.pem, ca_key: ca.key}", "ca-cert"},
		"text for a chain":         {"mesh: {type: x509, ca_cert: text, ca_key: ca.key}", "ca-cert"},
		"another key":              {"mesh: {type: x509, ca_cert: chain.pem, ca_key: root.key}", "ca-key"},
		"the root signs":           {"mesh: {type: x509, ca_cert: root.pem, ca_key: root.key}", "ca-root"},
		"ssh":                      {machineTarget, ""},
		"ssh without a key":        {"machines: {type: ssh}", "required"},
		"ssh with an audience":     {"machines: {type: ssh, ca_key: ssh_ca, audience: x}", "unknown-field"},
		"ssh with a chain":         {"machines: {type: ssh, ca_key: ssh_ca, ca_cert: chain.pem}", "unknown-field"},
		"a locked key":             {"machines: {type: ssh, ca_key: locked}", "ca-key"},
		"text for a key":           {"machines: {type: ssh, ca_key: text}", "ca-key"},
	} {
		t.Run(name, func(t *testing.T) {
			_, findings := certificateConfig(dir, c.target)
			var got []string
			for _, f := range findings {
				got = append(got, f.ID)
				if f.Line == 0 || strings.Contains(f.String(), "BEGIN") {
					t.Errorf("%s", f)
				}
			}
			if strings.Join(got, " ") != c.want {
				t.Errorf("%v, want %s", findings, c.want)
			}
		})
	}
}

// TestAuthoritiesOnDisk: what `config check` finds beyond the text.
func TestAuthoritiesOnDisk(t *testing.T) {
	for name, c := range map[string]struct {
		days   string
		mode   fs.FileMode
		in     time.Duration // from when the authorities were made
		want   string
		errors bool
	}{
		"good":             {"365", 0o600, 0, "", false},
		"others read it":   {"365", 0o644, 0, "ca-key-mode ca-key-mode", true},
		"ends soon":        {"20", 0o600, 0, "ca-expires-soon", false},
		"ended":            {"1", 0o600, 25 * time.Hour, "ca-expired", false},
		"begins to-morrow": {"365", 0o600, -24 * time.Hour, "ca-not-yet", false},
	} {
		t.Run(name, func(t *testing.T) {
			dir := certificateHouse(t, c.days)
			at := time.Now().Add(c.in)
			for _, key := range []string{"ca.key", "ssh_ca"} {
				if err := os.Chmod(filepath.Join(dir, key), c.mode); err != nil {
					t.Fatal(err)
				}
			}
			config, findings := certificateConfig(dir, meshTarget, machineTarget)
			if len(findings) > 0 {
				t.Fatal(findings)
			}
			var got []string
			for _, f := range gateway.Check(config, at) {
				if strings.HasPrefix(f.ID, "ca-") {
					got = append(got, f.ID)
				}
			}
			if strings.Join(got, " ") != c.want {
				t.Errorf("%v, want %s", got, c.want)
			}
			// What is no error does not keep the other targets down.
			g, err := gateway.Open(context.Background(), config, gateway.Env{Now: func() time.Time { return at }, Rand: rand.Reader, Log: slog.New(slog.DiscardHandler)})
			if (err != nil) != c.errors {
				t.Errorf("open: %v", err)
			}
			if g != nil {
				_ = g.Close()
			}
		})
	}
}

// TestConnectCertificates: relying parties are told what vouches, and who gets one.
func TestConnectCertificates(t *testing.T) {
	dir := certificateHouse(t, "365")
	config, findings := certificateConfig(dir, meshTarget, machineTarget)
	if len(findings) > 0 {
		t.Fatal(findings)
	}
	policy, found := gateway.LoadPolicy(config, time.Now())
	if policy == nil {
		t.Fatal(found)
	}
	form := func(target, name string) string {
		t.Helper()
		connection, findings, err := gateway.Connect(config, policy, target, time.Now())
		if err != nil || findings.HasErrors() {
			t.Fatal(err, findings)
		}
		text, ok := connection.Form(name)
		if !ok {
			t.Fatalf("%s has no form %s", target, name)
		}
		return text
	}
	root, err := os.ReadFile(filepath.Join(dir, "root.pem"))
	if err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{
		"trust domain     id.acme.example", "bundle endpoint  https://id.acme.example/.well-known/spiffe-bundle", string(root),
		"trust mesh: spiffe://id.acme.example/github/9919/41881900", "with the names payments.acme.example", "trust everyone: each workload that it matches",
	} {
		if text := form("mesh", "text"); !strings.Contains(text, want) {
			t.Errorf("no %q in\n%s", want, text)
		}
	}
	var mesh struct {
		Roots  string `json:"roots"`
		Grants []struct {
			Trust string   `json:"trust"`
			IDs   []string `json:"spiffe_ids"`
		} `json:"grants"`
	}
	if err := json.Unmarshal([]byte(form("mesh", "json")), &mesh); err != nil || mesh.Roots != string(root) || len(mesh.Grants) != 2 {
		t.Errorf("%v %+v", err, mesh)
	}
	public, err := os.ReadFile(filepath.Join(dir, "ssh_ca.pub"))
	if err != nil {
		t.Fatal(err)
	}
	key := strings.Join(strings.Fields(string(public))[:2], " ")
	for _, name := range []string{"text", "cli", "json"} {
		text := form("machines", name)
		for _, want := range []string{key, "deploy", "web"} {
			if !strings.Contains(text, want) {
				t.Errorf("%s: no %q in\n%s", name, want, text)
			}
		}
	}
	script := filepath.Join(dir, "machine.sh")
	put(t, dir, "machine.sh", form("machines", "cli"))
	if out, err := exec.CommandContext(t.Context(), "sh", "-n", script).CombinedOutput(); err != nil {
		t.Errorf("%v\n%s", err, out)
	}
	// A root that is another changes what the policy means.
	other := certificateHouse(t, "365")
	again, findings := certificateConfig(other, meshTarget, machineTarget)
	if len(findings) > 0 {
		t.Fatal(findings)
	}
	policy2, _ := gateway.LoadPolicy(again, time.Now())
	if policy2 == nil || policy2.SHA256() == policy.SHA256() {
		t.Error("the policy's hash does not tell one authority from another")
	}
}

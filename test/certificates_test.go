package test

import (
	"bytes"
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"encoding/pem"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/spiffe/go-spiffe/v2/bundle/spiffebundle"
	"github.com/spiffe/go-spiffe/v2/federation"
	"github.com/spiffe/go-spiffe/v2/spiffeid"
	"github.com/spiffe/go-spiffe/v2/spiffetls/tlsconfig"
	"github.com/spiffe/go-spiffe/v2/svid/jwtsvid"
	"github.com/spiffe/go-spiffe/v2/svid/x509svid"
	"golang.org/x/crypto/ssh"

	"cambio/keystore"
	"cambio/test/rig"
)

// runTool runs a real program in a folder.
func runTool(t *testing.T, dir, name string, args ...string) {
	t.Helper()
	c := exec.CommandContext(t.Context(), name, args...)
	c.Dir = dir
	if out, err := c.CombinedOutput(); err != nil {
		t.Fatalf("%s %v: %v\n%s", name, args, err, out)
	}
}

// authorities makes a root, an intermediate and an SSH authority with the tools
// that the how-tos name.
func authorities(t *testing.T, dir string) {
	t.Helper()
	ec := []string{"-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes"}
	runTool(t, dir, "openssl", append([]string{
		"req", "-x509", "-keyout", "root.key", "-out", "root.pem", "-days", "3650", "-subj", "/CN=acme root",
		"-addext", "keyUsage=critical,keyCertSign,cRLSign",
	}, ec...)...)
	runTool(t, dir, "openssl", append([]string{"req", "-new", "-keyout", "ca.key", "-out", "ca.csr", "-subj", "/CN=acme workloads"}, ec...)...)
	if err := os.WriteFile(filepath.Join(dir, "ca.ext"), []byte("basicConstraints=critical,CA:TRUE,pathlen:0\nkeyUsage=critical,keyCertSign,cRLSign\nsubjectKeyIdentifier=hash\nauthorityKeyIdentifier=keyid\nnameConstraints=critical,permitted;URI:gw.test,permitted;DNS:acme.test\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	runTool(t, dir, "openssl", "x509", "-req", "-in", "ca.csr", "-CA", "root.pem", "-CAkey", "root.key", "-CAcreateserial", "-days", "365", "-extfile", "ca.ext", "-out", "ca.pem")
	chain := append(readIn(t, dir, "ca.pem"), readIn(t, dir, "root.pem")...)
	if err := os.WriteFile(filepath.Join(dir, "chain.pem"), chain, 0o600); err != nil {
		t.Fatal(err)
	}
	runTool(t, dir, "ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", "ssh_ca")
}

func readIn(t *testing.T, dir, name string) []byte {
	t.Helper()
	b, err := os.ReadFile(filepath.Join(dir, name))
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// workloadKey makes a key and a request for it, and returns both.
func workloadKey(t *testing.T) (key []byte, request string) {
	t.Helper()
	dir := t.TempDir()
	runTool(t, dir, "openssl", "req", "-new", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-keyout", "key.pem", "-out", "csr.pem", "-subj", "/")
	return readIn(t, dir, "key.pem"), string(readIn(t, dir, "csr.pem"))
}

const certificateTrust = `name: mesh
owner: t1-team@acme.test
purpose: main of app is a service, and deploys by SSH
from: iss1
match: {repository_id: "2", repository_owner_id: "1", ref: refs/heads/main}
grants:
  - {to: mesh, ttl: 1h, dns: [app.acme.test]}
  - {to: machines, ttl: 10m, principals: [deploy]}
`

func certificateRig(t *testing.T) *rig.Rig {
	t.Helper()
	dir := t.TempDir()
	authorities(t, dir)
	return rig.New(t, rig.Setup{
		Dir:     dir,
		Targets: "mesh: {type: x509, ca_cert: chain.pem, ca_key: ca.key}\nmachines: {type: ssh, ca_key: ssh_ca}",
		Trusts:  map[string]string{"tr1.yaml": rig.TR1, "mesh.yaml": certificateTrust},
	})
}

// certify posts a form for a target, with parameters in pairs.
func certify(r *rig.Rig, token, target string, parameters ...string) rig.Answer {
	f := rig.Form(token)
	f.Set("audience", target)
	for i := 0; i < len(parameters); i += 2 {
		f.Set(parameters[i], parameters[i+1])
	}
	return r.Post(f)
}

type x509Credential struct {
	Certificate string `json:"certificate"`
	Chain       string `json:"chain"`
	Bundle      string `json:"bundle"`
	SPIFFEID    string `json:"spiffe_id"`
	Serial      string `json:"serial"`
	Expiration  string `json:"expiration"`
}

func certificateOf(t *testing.T, a rig.Answer, issued string, into any) {
	t.Helper()
	if a.Status != http.StatusOK {
		t.Fatalf("%d %s", a.Status, a.Raw)
	}
	var body struct {
		AccessToken     string          `json:"access_token"`
		IssuedTokenType string          `json:"issued_token_type"`
		TokenType       string          `json:"token_type"`
		Credentials     json.RawMessage `json:"credentials"`
	}
	if err := json.Unmarshal([]byte(a.Raw), &body); err != nil {
		t.Fatal(err)
	}
	if body.TokenType != "N_A" || body.IssuedTokenType != "urn:cambio:token-type:"+issued || body.AccessToken != string(body.Credentials) {
		t.Errorf("%s", a.Raw)
	}
	if err := json.Unmarshal(body.Credentials, into); err != nil {
		t.Fatal(err)
	}
}

// TestX509SVIDs: a job gets a certificate, a relying party that federates with us
// verifies it, and both ends of a TLS connection know each other by it.
func TestX509SVIDs(t *testing.T) {
	r := certificateRig(t)
	key, request := workloadKey(t)
	a := certify(r, r.Token(nil), "mesh", "csr", request)
	var c x509Credential
	certificateOf(t, a, "x509-certificate", &c)

	// The decision named the serial number before the certificate existed.
	handles := map[string]string{}
	rig.Eventually(t, "the outcome's record", func() bool { // it is not waited for
		for _, line := range r.Records(a.Decision) {
			handles[string(line.Event)] = line.Handle
		}
		return handles["exchange.minted"] != ""
	})
	if handles["exchange.allowed"] != c.Serial || handles["exchange.minted"] != c.Serial {
		t.Errorf("records name %v, the certificate %s", handles, c.Serial)
	}

	// A relying party fetches the bundle as SPIFFE's federation has it.
	server := httptest.NewTLSServer(r.Gateway.Public())
	t.Cleanup(server.Close)
	web := x509.NewCertPool()
	web.AddCert(server.Certificate())
	domain := spiffeid.RequireTrustDomainFromString("gw.test")
	bundle, err := federation.FetchBundle(t.Context(), domain, server.URL+"/.well-known/spiffe-bundle", federation.WithWebPKIRoots(web))
	if err != nil {
		t.Fatal(err)
	}
	if hint, ok := bundle.RefreshHint(); !ok || hint != 5*time.Minute {
		t.Errorf("refresh after %s", hint)
	}
	if n, ok := bundle.SequenceNumber(); !ok || n == 0 {
		t.Errorf("sequence %d", n)
	}
	svid, err := x509svid.Parse([]byte(c.Certificate+c.Chain), key)
	if err != nil {
		t.Fatal(err)
	}
	id, _, err := x509svid.Verify(svid.Certificates, bundle)
	if err != nil || id.String() != c.SPIFFEID || c.SPIFFEID != "spiffe://gw.test/iss1/1/2" {
		t.Fatalf("go-spiffe says %s, %v", id, err)
	}
	if svid.Certificates[0].DNSNames[0] != "app.acme.test" {
		t.Error(svid.Certificates[0].DNSNames)
	}

	mutual(t, svid, bundle, id)

	// The same bundle has our keys: our JWTs are JWT-SVIDs.
	ours := r.Exchange(r.Token(nil))
	if _, err := jwtsvid.ParseAndValidate(ours.Text("access_token"), bundle, []string{"api://t1"}); err != nil {
		t.Errorf("a JWT-SVID: %v", err)
	}

	// What is published for a bucket is what is served.
	dir := t.TempDir()
	if _, err := keystore.NewFiles(r.Config.Keys, slog.New(slog.DiscardHandler)).Publish(t.Context(), filepath.Join(dir, "site"), r.Config.Issuer, r.Clock.Now(), r.Config.Roots()); err != nil {
		t.Fatal(err)
	}
	published := readIn(t, dir, "site/.well-known/spiffe-bundle")
	res, err := server.Client().Get(server.URL + "/.well-known/spiffe-bundle")
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close()
	served, err := io.ReadAll(res.Body)
	if err != nil || res.Header.Get("Content-Type") != "application/json" || res.Header.Get("Cache-Control") != "public, max-age=300" {
		t.Errorf("%v %v", err, res.Header)
	}
	if !bytes.Equal(published, served) {
		t.Errorf("published\n%s\nserved\n%s", published, served)
	}
}

// TestAuthorityKeysAreNotTold: no log and no record holds a byte of what signs.
func TestAuthorityKeysAreNotTold(t *testing.T) {
	r := certificateRig(t)
	_, request := workloadKey(t)
	for _, parameters := range [][]string{{"csr", request}, {"csr", "x"}, {"ssh_public_key", "x"}, nil} {
		for _, target := range []string{"mesh", "machines"} {
			certify(r, r.Token(nil), target, parameters...)
		}
	}
	r.Stop()
	told := r.Log.String() + r.Checkpoints.String()
	files, err := filepath.Glob(filepath.Join(r.JournalDir(), "*.jsonl"))
	if err != nil || len(files) == 0 {
		t.Fatal(files, err)
	}
	for _, file := range files {
		b, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		told += string(b)
	}
	if !strings.Contains(told, "certify-invalid") {
		t.Error("the search looks in the wrong place")
	}
	for _, name := range []string{"ca.key", "ssh_ca"} {
		for line := range strings.Lines(string(readIn(t, r.Dir, name))) {
			// The first line of an Ed25519 key is the same in all; the public half follows.
			if line = strings.TrimSpace(line); len(line) > 20 && strings.Contains(told, line) {
				t.Errorf("%s is told", name)
			}
		}
	}
}

// mutual has two ends of a TLS connection, in Go, prove themselves by it, and an
// end that has another authority's certificate be turned away.
func mutual(t *testing.T, svid *x509svid.SVID, bundle *spiffebundle.Bundle, id spiffeid.ID) {
	t.Helper()
	dial := func(client *tls.Config, allow tlsconfig.Authorizer) error {
		listener, err := tls.Listen("tcp", "127.0.0.1:0", tlsconfig.MTLSServerConfig(svid, bundle, allow))
		if err != nil {
			t.Fatal(err)
		}
		defer listener.Close()
		served := make(chan error, 1)
		go func() {
			conn, err := listener.Accept()
			if err == nil {
				_, err = io.WriteString(conn, "welcome")
				_ = conn.Close()
			}
			served <- err
		}()
		ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
		defer cancel()
		var raw net.Dialer
		inner, err := raw.DialContext(ctx, "tcp", listener.Addr().String())
		if err != nil {
			t.Fatal(err)
		}
		conn := tls.Client(inner, client)
		defer conn.Close()
		got, err := io.ReadAll(conn)
		if e := <-served; e != nil {
			return e
		}
		if err == nil && string(got) != "welcome" {
			t.Errorf("%q", got)
		}
		return err
	}
	good := tlsconfig.MTLSClientConfig(svid, bundle, tlsconfig.AuthorizeID(id))
	if err := dial(good, tlsconfig.AuthorizeID(id)); err != nil {
		t.Errorf("mTLS: %v", err)
	}
	other := spiffeid.RequireFromString("spiffe://gw.test/iss1/1/3")
	if err := dial(tlsconfig.MTLSClientConfig(svid, bundle, tlsconfig.AuthorizeID(id)), tlsconfig.AuthorizeID(other)); err == nil {
		t.Error("another workload was let in")
	}
	// A client of another house, that says it is this one.
	dir := t.TempDir()
	authorities(t, dir)
	stranger, err := tls.X509KeyPair(readIn(t, dir, "ca.pem"), readIn(t, dir, "ca.key"))
	if err != nil {
		t.Fatal(err)
	}
	bad := tlsconfig.TLSClientConfig(bundle, tlsconfig.AuthorizeID(id))
	bad.Certificates = []tls.Certificate{stranger}
	if err := dial(bad, tlsconfig.AuthorizeID(id)); err == nil {
		t.Error("another authority's certificate was let in")
	}
}

// TestSSHCertificates: the same for SSH.
func TestSSHCertificates(t *testing.T) {
	r := certificateRig(t)
	dir := t.TempDir()
	runTool(t, dir, "ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-C", "runner@host", "-f", "id")
	a := certify(r, r.Token(nil), "machines", "ssh_public_key", string(readIn(t, dir, "id.pub")))
	var c struct {
		Certificate string `json:"certificate"`
		KeyID       string `json:"key_id"`
		Serial      string `json:"serial"`
		Expiration  string `json:"expiration"`
	}
	certificateOf(t, a, "ssh-certificate", &c)
	if c.KeyID != a.Decision+" spiffe://gw.test/iss1/1/2" {
		t.Errorf("key id %q", c.KeyID)
	}
	for _, line := range r.Records(a.Decision) {
		if line.Handle != c.Serial {
			t.Errorf("%s names %s, the certificate has %s", line.Event, line.Handle, c.Serial)
		}
	}
	pub, _, _, _, err := ssh.ParseAuthorizedKey([]byte(c.Certificate))
	if err != nil {
		t.Fatal(err)
	}
	authority, _, _, _, err := ssh.ParseAuthorizedKey(readIn(t, r.Dir, "ssh_ca.pub"))
	if err != nil {
		t.Fatal(err)
	}
	checker := ssh.CertChecker{IsUserAuthority: func(k ssh.PublicKey) bool { return bytes.Equal(k.Marshal(), authority.Marshal()) }}
	cert, ok := pub.(*ssh.Certificate)
	if !ok {
		t.Fatalf("a %T", pub)
	}
	if err := checker.CheckCert("deploy", cert); err != nil {
		t.Error(err)
	}
	if err := checker.CheckCert("root", cert); err == nil {
		t.Error("good for root too")
	}
}

// TestCertifyRefused: what cannot be certified is refused before the token is used
// up, and the caller is told about what he sent, and only that.
func TestCertifyRefused(t *testing.T) {
	r := certificateRig(t)
	_, request := workloadKey(t)
	dir := t.TempDir()
	runTool(t, dir, "ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", "id")
	public := string(readIn(t, dir, "id.pub"))
	token := r.Token(nil)
	block, _ := pem.Decode([]byte(request))
	block.Bytes[len(block.Bytes)-1] ^= 1
	forged := string(pem.EncodeToMemory(block))
	for name, c := range map[string]struct {
		target     string
		parameters []string
		tell       string
		reason     string // "": the form is refused, which is not recorded
	}{
		"none for x509":   {"mesh", nil, "The target needs the parameter csr.", "certify-mismatch"},
		"none for ssh":    {"machines", nil, "The target needs the parameter ssh_public_key.", "certify-mismatch"},
		"the other's":     {"mesh", []string{"ssh_public_key", public}, "The target needs the parameter csr.", "certify-mismatch"},
		"one for a JWT":   {"t1", []string{"csr", request}, "The target certifies nothing; leave the parameter csr out.", "certify-mismatch"},
		"not its own key": {"mesh", []string{"csr", forged}, "The parameter csr is not signed by its own key.", "certify-invalid"},
		"options":         {"machines", []string{"ssh_public_key", "no-pty " + public}, "The parameter ssh_public_key does not begin with ", "certify-invalid"},
		"both":            {"mesh", []string{"csr", request, "ssh_public_key", public}, "The parameter ssh_public_key must not stand beside csr.", ""},
		"empty":           {"mesh", []string{"csr", ""}, "The parameter csr is missing or empty.", ""},
		"too large":       {"mesh", []string{"csr", strings.Repeat("A", 8<<10+1)}, "The parameter csr is above 8 KiB.", ""},
		"a dry run":       {"mesh", []string{"dry_run", "true"}, "The target needs the parameter csr.", "certify-mismatch"},
		"another target":  {"nobody", []string{"csr", request}, rig.Fixed, "target-not-granted"},
	} {
		t.Run(name, func(t *testing.T) {
			a := certify(r, token, c.target, c.parameters...)
			var body struct {
				Error       string `json:"error"`
				Description string `json:"error_description"`
			}
			if err := json.Unmarshal([]byte(a.Raw), &body); err != nil {
				t.Fatal(err)
			}
			if a.Status != http.StatusBadRequest || !strings.HasPrefix(body.Description, c.tell) {
				t.Errorf("%d %s", a.Status, a.Raw)
			}
			if c.reason == "" {
				return // counted, and not recorded
			}
			reason := ""
			for _, line := range r.Records(a.Decision) {
				reason = line.Reason
			}
			if reason != c.reason {
				t.Errorf("reason %q, want %q", reason, c.reason)
			}
		})
	}
	// A workload that is denied learns nothing of the target's kind.
	if a := certify(r, r.Token(map[string]any{"ref": "refs/heads/x", "sub": "repo:acme/app:ref:refs/heads/x"}), "mesh"); strings.Contains(a.Raw, "csr") {
		t.Errorf("%s", a.Raw)
	}
	// Nothing was burnt.
	if a := certify(r, token, "mesh", "csr", request, "ttl", "60"); a.Status != http.StatusOK {
		t.Errorf("%d %s", a.Status, a.Raw)
	}
	// Each of the parameters once, also by a client that builds the form by hand.
	res, err := http.Post(r.URL+"/token", "application/x-www-form-urlencoded", strings.NewReader(rig.Form(r.Token(nil)).Encode()+"&csr="+url.QueryEscape(request)+"&csr=x"))
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close()
	if res.StatusCode != http.StatusBadRequest {
		t.Errorf("twice: %d", res.StatusCode)
	}
}

// TestCertificatesByCommand: the program makes the key, asks, and writes files that
// openssl and ssh-keygen take.
func TestCertificatesByCommand(t *testing.T) {
	program, err := binary()
	if err != nil {
		t.Fatal(err)
	}
	r := certificateRig(t)
	dir := t.TempDir()
	put := func(name, text string) {
		t.Helper()
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	put("token", r.Token(nil))
	runTool(t, dir, program, "exchange", "--server", r.URL, "--token-file", "token", "--to", "mesh", "--new-key", "key.pem", "--out", "cert.pem", "--bundle", "roots.pem")
	runTool(t, dir, "openssl", "verify", "-x509_strict", "-purpose", "sslclient", "-CAfile", "roots.pem", "-untrusted", "cert.pem", "cert.pem")
	if _, err := tls.LoadX509KeyPair(filepath.Join(dir, "cert.pem"), filepath.Join(dir, "key.pem")); err != nil {
		t.Error(err)
	}
	runTool(t, dir, "ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", "id_ed25519")
	put("token", r.Token(nil))
	runTool(t, dir, program, "exchange", "--server", r.URL, "--token-file", "token", "--to", "machines", "--ssh-key", "id_ed25519.pub")
	runTool(t, dir, "ssh-keygen", "-L", "-f", "id_ed25519-cert.pub")
}

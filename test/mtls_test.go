package test

import (
	"context"
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"encoding/hex"
	"encoding/json"
	"encoding/pem"
	"io"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/spiffe/go-spiffe/v2/spiffetls/tlsconfig"
	"github.com/spiffe/go-spiffe/v2/svid/x509svid"

	"cambio/audit"
	cambio "cambio/client"
	"cambio/exchange"
	"cambio/providers/spiffe/spiffetest"
	"cambio/test/rig"
)

const meshWorkload = "spiffe://mesh.test/ns/payments/sa/api"

// mesh is a gateway that ends TLS itself, with a trust domain and an authority for
// client certificates.
type mesh struct {
	*rig.Rig
	domain, ci, web *spiffetest.Authority
	server          string // its URL over TLS
}

func pemFile(t *testing.T, path, kind string, ders ...[]byte) {
	t.Helper()
	var b []byte
	for _, der := range ders {
		b = append(b, pem.EncodeToMemory(&pem.Block{Type: kind, Bytes: der})...)
	}
	if err := os.WriteFile(path, b, 0o600); err != nil {
		t.Fatal(err)
	}
}

// pairFiles writes a certificate and its key, as spiffe-helper does.
func pairFiles(t *testing.T, dir, name string, c tls.Certificate) (cert, key string) {
	t.Helper()
	der, err := x509.MarshalPKCS8PrivateKey(c.PrivateKey)
	if err != nil {
		t.Fatal(err)
	}
	cert, key = filepath.Join(dir, name+".pem"), filepath.Join(dir, name+"_key.pem")
	pemFile(t, cert, "CERTIFICATE", c.Certificate...)
	pemFile(t, key, "PRIVATE KEY", der)
	return cert, key
}

func newMesh(t *testing.T) *mesh {
	t.Helper()
	now := time.Now()
	m := &mesh{domain: spiffetest.New(t, "mesh.test", now), ci: spiffetest.New(t, "ci", now), web: spiffetest.New(t, "web", now)}
	dir, listen := t.TempDir(), freeAddress(t)
	pairFiles(t, dir, "server", m.web.Server())
	pemFile(t, filepath.Join(dir, "clients.pem"), "CERTIFICATE", m.ci.Root.Raw)
	if err := os.WriteFile(filepath.Join(dir, "bundle.json"), m.domain.Bundle(nil), 0o600); err != nil {
		t.Fatal(err)
	}
	m.Rig = rig.New(t, rig.Setup{
		Dir: dir,
		Config: `issuer: https://gw.test
listen: ` + listen + `
admin_listen: ` + freeAddress(t) + `
tls: {cert: server.pem, key: server_key.pem}
limits: {per_address: none, per_workload: none}
identity_providers:
  mesh: {type: spiffe, trust_domain: mesh.test, audience: "https://gw.test", bundle_file: bundle.json}
  ci: {type: x509, client_ca_file: clients.pem}
targets:
  t1: {type: jwt, audience: "api://t1"}
`,
		Trusts: map[string]string{
			"mesh.yaml": "name: mesh\nowner: o@acme.test\npurpose: p\nfrom: mesh\nmatch: {sub: " + meshWorkload + "}\ngrants: [{to: t1}]\n",
			"ci.yaml":   "name: ci\nowner: o@acme.test\npurpose: p\nfrom: ci\nmatch: {sub: \"dns:deploy.ci.test\"}\ngrants: [{to: t1}]\n",
		},
	})
	serveRig(t, m.Rig)
	m.server = "https://" + listen
	return m
}

// roots are those that the gateway's own certificate is verified with.
func (m *mesh) roots() *x509.CertPool {
	pool := x509.NewCertPool()
	pool.AddCert(m.web.Root)
	return pool
}

// dial is a client that shows this certificate, or none.
func (m *mesh) dial(c *tls.Certificate) *http.Client {
	config := &tls.Config{RootCAs: m.roots(), MinVersion: tls.VersionTLS12}
	if c != nil {
		config.Certificates = []tls.Certificate{*c}
	}
	return &http.Client{Timeout: 20 * time.Second, Transport: &http.Transport{TLSClientConfig: config, DisableKeepAlives: true, ForceAttemptHTTP2: true}}
}

// show asks for t1 by the certificate of the connection.
func (m *mesh) show(c *http.Client, kind, token string) rig.Answer {
	m.T.Helper()
	form := rig.Form(token)
	form.Set("subject_token_type", kind)
	return m.post(c, form)
}

func (m *mesh) post(c *http.Client, form url.Values) rig.Answer {
	m.T.Helper()
	req, err := http.NewRequestWithContext(m.T.Context(), http.MethodPost, m.server+"/token", strings.NewReader(form.Encode()))
	if err != nil {
		m.T.Fatal(err)
	}
	req.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	res, err := c.Do(req)
	if err != nil {
		m.T.Fatal(err)
	}
	defer res.Body.Close()
	raw, err := io.ReadAll(res.Body)
	if err != nil {
		m.T.Fatal(err)
	}
	a := rig.Answer{Status: res.StatusCode, Header: res.Header, Raw: string(raw), Decision: res.Header.Get("Cambio-Decision-Id")}
	if json.Unmarshal(raw, &a.Body) != nil {
		a.Body = nil
	}
	return a
}

const mtls = string(exchange.SubjectMTLS)

// TestMTLS: certificates of connections are identities, at a gateway that ends TLS
// itself, by go-spiffe's own client.
func TestMTLS(t *testing.T) {
	t.Parallel()
	m := newMesh(t)
	svid := m.domain.SVID(meshWorkload, nil)
	key, err := x509.MarshalPKCS8PrivateKey(svid.PrivateKey)
	if err != nil {
		t.Fatal(err)
	}
	source, err := x509svid.ParseRaw(svid.Certificate[0], key)
	if err != nil {
		t.Fatal(err)
	}
	spiffe := &http.Client{Timeout: 20 * time.Second, Transport: &http.Transport{TLSClientConfig: tlsconfig.MTLSWebClientConfig(source, m.roots())}}
	a := m.show(spiffe, mtls, "certificate")
	if a.Status != http.StatusOK {
		t.Fatalf("%d %s", a.Status, a.Raw)
	}
	rec := m.Records(a.Decision)[0]
	sum := sha256.Sum256(svid.Certificate[0])
	if rec.Event != audit.ExchangeAllowed || rec.Provider != "mesh" || rec.Workload != "spiffe://gw.test/mesh/ns/payments/sa/api" || rec.TokenSHA256 != hex.EncodeToString(sum[:]) {
		t.Errorf("%+v", rec)
	}
	if rec.Claims["svid"] != "x509" {
		t.Errorf("claims %v", rec.Claims)
	}
	// A connection serves one exchange after the other, and the certificate each.
	if a = m.show(spiffe, mtls, "certificate"); a.Status != http.StatusOK {
		t.Errorf("again: %d %s", a.Status, a.Raw)
	}
	named := m.ci.Certificate(nil, func(c *x509.Certificate) { c.DNSNames = []string{"deploy.ci.test"} })
	if a = m.show(m.dial(&named), mtls, "certificate"); a.Status != http.StatusOK {
		t.Fatalf("%d %s", a.Status, a.Raw)
	}
	if rec = m.Records(a.Decision)[0]; rec.Workload != "spiffe://gw.test/ci/dns_3adeploy.ci.test" {
		t.Errorf("%+v", rec)
	}
	// The same provider takes JWT-SVIDs, over a connection without a certificate.
	token := m.domain.JWT(m.domain.Claims(meshWorkload, "https://gw.test"), nil)
	if a = m.show(m.dial(nil), rig.JWTType, token); a.Status != http.StatusOK {
		t.Errorf("%d %s", a.Status, a.Raw)
	}
}

// TestMTLSRefused: what of connections is no identity.
func TestMTLSRefused(t *testing.T) {
	t.Parallel()
	m := newMesh(t)
	stranger := spiffetest.New(t, "mesh.test", time.Now())
	named := func(a *spiffetest.Authority) tls.Certificate {
		return a.Certificate(nil, func(c *x509.Certificate) { c.DNSNames = []string{"deploy.ci.test"} })
	}
	byStranger, other := stranger.SVID(meshWorkload, nil), m.domain.SVID("spiffe://mesh.test/ns/other", nil)
	odd, root := m.domain.SVID("spiffe://mesh.test//x", nil), m.domain.SVID("spiffe://mesh.test", nil)
	old := m.domain.SVID(meshWorkload, func(c *x509.Certificate) {
		c.NotBefore, c.NotAfter = time.Now().Add(-2*time.Hour), time.Now().Add(-time.Hour)
	})
	unknown, forged := named(stranger), m.ci.SVID(meshWorkload, nil)
	token := m.domain.JWT(m.domain.Claims(meshWorkload, "https://gw.test"), nil)
	for name, c := range map[string]struct {
		cert   *tls.Certificate
		kind   string
		token  string
		reason string
	}{
		"no certificate":                   {nil, mtls, "certificate", "certificate-missing"},
		"a token for one":                  {nil, mtls, token, "certificate-missing"},
		"another's authority":              {&byStranger, mtls, "certificate", "certificate-untrusted"},
		"another's authority, no SVID":     {&unknown, mtls, "certificate", "certificate-untrusted"},
		"the other provider's authority":   {&forged, mtls, "certificate", "certificate-untrusted"},
		"another workload":                 {&other, mtls, "certificate", "condition-false"},
		"not a SPIFFE ID":                  {&odd, mtls, "certificate", "spiffe-id-invalid"},
		"the trust domain itself":          {&root, mtls, "certificate", "spiffe-id-invalid"},
		"a certificate beside a bad token": {&other, rig.JWTType, "e30.e30.AAAA", "issuer-unknown"},
	} {
		a := m.show(m.dial(c.cert), c.kind, c.token)
		if a.Status != http.StatusBadRequest {
			t.Errorf("%s: %d %s", name, a.Status, a.Raw)
			continue
		}
		m.Deny(a, c.reason)
		if strings.Contains(a.Raw, "mesh.test") {
			t.Errorf("%s: the answer says what was shown: %s", name, a.Raw)
		}
	}
	if a := m.show(m.dial(&old), mtls, "certificate"); a.Body["error_description"] == rig.Fixed || !strings.HasPrefix(a.Text("error_description"), "The token expired at ") {
		t.Errorf("an expired one: %s", a.Raw)
	}
	// The certificate is asked for, and never required.
	res, err := m.dial(nil).Get(m.server + "/.well-known/openid-configuration")
	if err != nil {
		t.Fatal(err)
	}
	_ = res.Body.Close()
	if res.StatusCode != http.StatusOK {
		t.Errorf("without a certificate: %d", res.StatusCode)
	}
}

// TestMTLSOfAProxy: whoever reaches us by way of a proxy that shows a certificate of
// its own is not the proxy.
func TestMTLSOfAProxy(t *testing.T) {
	t.Parallel()
	m := newMesh(t)
	own := m.domain.SVID(meshWorkload, nil)
	for _, header := range []string{"X-Forwarded-For", "Forwarded"} {
		gateway, err := url.Parse(m.server)
		if err != nil {
			t.Fatal(err)
		}
		proxy := httptest.NewServer(&httputil.ReverseProxy{
			Transport: m.dial(&own).Transport,
			Rewrite: func(r *httputil.ProxyRequest) {
				r.SetURL(gateway)
				r.Out.Header.Set(header, "for=192.0.2.1")
			},
		})
		t.Cleanup(proxy.Close)
		through := *m
		through.server = proxy.URL
		a := through.show(proxy.Client(), mtls, "certificate")
		if a.Status != http.StatusBadRequest {
			t.Fatalf("%s: %d %s", header, a.Status, a.Raw)
		}
		m.Deny(a, "certificate-missing")
	}
}

// TestMTLSFresh: a connection is never resumed, since that would prove a key of
// days ago; and where no provider takes certificates, none is asked for.
func TestMTLSFresh(t *testing.T) {
	t.Parallel()
	m := newMesh(t)
	cache := &tickets{}
	conn := func(config *tls.Config, server string) tls.ConnectionState {
		t.Helper()
		c, err := tls.Dial("tcp", strings.TrimPrefix(server, "https://"), config)
		if err != nil {
			t.Fatal(err)
		}
		defer c.Close()
		// The ticket of TLS 1.3 comes with the first answer.
		if _, err := io.WriteString(c, "GET /keys HTTP/1.1\r\nHost: gw.test\r\nConnection: close\r\n\r\n"); err != nil {
			t.Fatal(err)
		}
		if _, err := io.ReadAll(c); err != nil {
			t.Fatal(err)
		}
		return c.ConnectionState()
	}
	asked := false
	config := &tls.Config{
		RootCAs: m.roots(), MinVersion: tls.VersionTLS12, ClientSessionCache: cache,
		GetClientCertificate: func(*tls.CertificateRequestInfo) (*tls.Certificate, error) {
			asked = true
			return &tls.Certificate{}, nil
		},
	}
	for range 2 {
		if state := conn(config, m.server); state.DidResume || cache.put > 0 {
			t.Errorf("resumed %t, %d tickets", state.DidResume, cache.put)
		}
	}
	if !asked {
		t.Error("no certificate was asked for")
	}
	dir, listen := t.TempDir(), freeAddress(t)
	pool := writeCertificate(t, dir)
	serveRig(t, rig.New(t, rig.Setup{Dir: dir, Config: listenConfig(t, listen, "tls: {cert: cert.pem, key: key.pem}")}))
	asked, config.RootCAs = false, pool
	conn(config, listen)
	if asked {
		t.Error("a certificate is asked for that nobody takes")
	}
}

// tickets counts what a client could resume with.
type tickets struct{ put int }

func (c *tickets) Get(string) (*tls.ClientSessionState, bool) { return nil, false }

func (c *tickets) Put(_ string, s *tls.ClientSessionState) {
	if s != nil {
		c.put++
	}
}

// TestClientCertificate: our own client shows the files of a certificate, and reads
// them again.
func TestClientCertificate(t *testing.T) {
	t.Parallel()
	m := newMesh(t)
	dir := t.TempDir()
	cert, key := pairFiles(t, dir, "svid", m.domain.SVID("spiffe://mesh.test/ns/other", nil))
	shown := cambio.Certificate{CertFile: cert, KeyFile: key, ReadFile: os.ReadFile}
	web, err := shown.HTTP(m.dial(nil))
	if err != nil {
		t.Fatal(err)
	}
	c := cambio.Client{Server: m.server, HTTP: web}
	ask := func() error {
		_, err := c.Exchange(context.Background(), cambio.Request{Target: "t1"}, shown.Source())
		return err
	}
	if err := ask(); err == nil {
		t.Error("another workload's certificate is taken")
	}
	pairFiles(t, dir, "svid", m.domain.SVID(meshWorkload, nil)) // spiffe-helper renews it
	if err := ask(); err != nil {
		t.Errorf("the renewed one: %v", err)
	}
	for name, spoil := range map[string]func(){
		"of another key": func() {
			pairFiles(t, dir, "other", m.domain.SVID(meshWorkload, nil))
			rename(t, dir, "other_key.pem", "svid_key.pem")
		},
		"gone": func() { rename(t, dir, "svid_key.pem", "elsewhere") },
	} {
		spoil()
		if err := ask(); err == nil || !strings.Contains(err.Error(), cambio.ErrNoIdentity.Error()) {
			t.Errorf("%s: %v", name, err)
		}
		pairFiles(t, dir, "svid", m.domain.SVID(meshWorkload, nil))
	}
}

func rename(t *testing.T, dir, from, to string) {
	t.Helper()
	if err := os.Rename(filepath.Join(dir, from), filepath.Join(dir, to)); err != nil {
		t.Fatal(err)
	}
}

package test

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"fmt"
	"io"
	"math/big"
	"net"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"cambio/standin"
)

// internet is a proxy that has the hosts of a tutorial behind it, each with a
// certificate of an authority of its own: so that commands run as they are
// written, without an option that leads them to a stand-in.
type internet struct {
	url   string
	ca    string // file
	roots *x509.CertPool
	hosts map[string]http.Handler
}

// newInternet starts it. hosts must be whole: they are not changed later.
func newInternet(t *testing.T, hosts map[string]http.Handler) *internet {
	t.Helper()
	names := keysOf(hosts)
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	certificate := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "the tutorial's Internet"}, DNSNames: names,
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour),
		IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageDigitalSignature | x509.KeyUsageCertSign,
	}
	der, err := x509.CreateCertificate(rand.Reader, certificate, certificate, key.Public(), key)
	if err != nil {
		t.Fatal(err)
	}
	n := &internet{ca: filepath.Join(t.TempDir(), "ca.pem"), roots: x509.NewCertPool(), hosts: hosts}
	block := pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der})
	if err := os.WriteFile(n.ca, block, 0o600); err != nil {
		t.Fatal(err)
	}
	n.roots.AppendCertsFromPEM(block)

	inside := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		hosts[r.TLS.ServerName].ServeHTTP(w, r)
	}))
	inside.TLS = &tls.Config{MinVersion: tls.VersionTLS12, Certificates: []tls.Certificate{{Certificate: [][]byte{der}, PrivateKey: key}}}
	inside.StartTLS()
	proxy := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		host, port, _ := net.SplitHostPort(r.Host)
		if r.Method != http.MethodConnect || port != "443" || hosts[host] == nil {
			t.Errorf("there is no %s %s", r.Method, r.Host)
			http.Error(w, "no such host", http.StatusBadGateway)
			return
		}
		tunnel(w, inside.Listener.Addr().String())
	}))
	t.Cleanup(func() {
		proxy.CloseClientConnections()
		proxy.Close()
		inside.Close()
	})
	n.url = proxy.URL
	return n
}

// tunnel joins a proxy's client with an address.
func tunnel(w http.ResponseWriter, address string) {
	out, err := net.Dial("tcp", address)
	if err != nil {
		http.Error(w, "not there", http.StatusBadGateway)
		return
	}
	defer out.Close()
	in, buffered, err := http.NewResponseController(w).Hijack()
	if err != nil {
		return
	}
	defer in.Close()
	if _, err := io.WriteString(in, "HTTP/1.1 200 OK\r\n\r\n"); err != nil {
		return
	}
	go func() {
		_, _ = io.Copy(out, buffered) // either side may close
		_ = out.Close()
	}()
	_, _ = io.Copy(in, out) // as above
}

// environment leads Go, curl and AWS clients there.
func (n *internet) environment() []string {
	return []string{
		"HTTPS_PROXY=" + n.url, "https_proxy=" + n.url, "NO_PROXY=127.0.0.1", "no_proxy=127.0.0.1",
		"SSL_CERT_FILE=" + n.ca, "CURL_CA_BUNDLE=" + n.ca, "AWS_CA_BUNDLE=" + n.ca,
	}
}

// client is how AWS would fetch the issuer's keys.
func (n *internet) client(t *testing.T) *http.Client {
	t.Helper()
	u, err := url.Parse(n.url)
	if err != nil {
		t.Fatal(err)
	}
	transport := &http.Transport{Proxy: http.ProxyURL(u), TLSClientConfig: &tls.Config{RootCAs: n.roots, MinVersion: tls.VersionTLS12}}
	t.Cleanup(transport.CloseIdleConnections)
	return &http.Client{Transport: transport, Timeout: 10 * time.Second}
}

// passTo passes requests on as they are: a signature covers the Host.
func passTo(t *testing.T, base string) http.Handler {
	t.Helper()
	u, err := url.Parse(base)
	if err != nil {
		t.Fatal(err)
	}
	return &httputil.ReverseProxy{
		Rewrite:  func(r *httputil.ProxyRequest) { r.SetURL(u); r.Out.Host = r.In.Host },
		ErrorLog: nil,
	}
}

// The administrator of the account, as far as the stand-ins go.
const adminKey = "AKIAIOSFODNN7EXAMPLE"

// account is the IAM of the tutorial's account. What is set up there, the STS
// goes by. It knows what the tutorial's commands ask, and no more.
type account struct {
	t    *testing.T
	sts  *standin.STS
	keys func() *http.Client // to fetch the issuer's keys

	mu        sync.Mutex
	providers []string
	roles     []string
}

// whoami answers the administrator; everybody else is the STS' to know.
func (a *account) whoami(sts http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if !strings.Contains(r.Header.Get("Authorization"), "Credential="+adminKey+"/") {
			sts.ServeHTTP(w, r)
			return
		}
		answerXML(w, http.StatusOK, `<GetCallerIdentityResponse xmlns="https://sts.amazonaws.com/doc/2011-06-15/"><GetCallerIdentityResult>`+
			`<Arn>arn:aws:iam::`+awsAccount+`:user/admin</Arn><UserId>AIDAADMIN</UserId><Account>`+awsAccount+`</Account></GetCallerIdentityResult></GetCallerIdentityResponse>`)
	})
}

func answerXML(w http.ResponseWriter, status int, body string) {
	w.Header().Set("Content-Type", "text/xml")
	w.WriteHeader(status)
	_, _ = io.WriteString(w, body) // the client says when it got less
}

// ServeHTTP is IAM.
func (a *account) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	a.mu.Lock()
	defer a.mu.Unlock()
	missing := `<ErrorResponse><Error><Type>Sender</Type><Code>NoSuchEntity</Code><Message>not found</Message></Error><RequestId>1</RequestId></ErrorResponse>`
	if err := r.ParseForm(); err != nil || !strings.Contains(r.Header.Get("Authorization"), "Credential="+adminKey+"/") {
		a.t.Errorf("IAM: %v, or not the administrator", err)
	}
	f := r.PostForm
	switch f.Get("Action") {
	case "GetOpenIDConnectProvider", "GetRole":
		answerXML(w, http.StatusNotFound, missing)
	case "CreateOpenIDConnectProvider":
		issuer := f.Get("Url")
		a.sts.AddOIDC(standin.OIDCProvider{Account: awsAccount, URL: issuer, Audiences: []string{f.Get("ClientIDList.member.1")}, Client: a.keys()})
		a.providers = append(a.providers, issuer)
		answerXML(w, http.StatusOK, `<CreateOpenIDConnectProviderResponse><CreateOpenIDConnectProviderResult><OpenIDConnectProviderArn>`+
			`arn:aws:iam::`+awsAccount+`:oidc-provider/`+strings.TrimPrefix(issuer, "https://")+`</OpenIDConnectProviderArn></CreateOpenIDConnectProviderResult></CreateOpenIDConnectProviderResponse>`)
	case "CreateRole":
		arn := "arn:aws:iam::" + awsAccount + ":role" + f.Get("Path") + f.Get("RoleName")
		// The very policy that the program printed, read as AWS would hold it.
		statements, err := standin.ParseRoleTrust([]byte(f.Get("AssumeRolePolicyDocument")))
		if err == nil {
			err = a.sts.SetRole(standin.Role{ARN: arn, Trust: statements})
		}
		if err != nil {
			a.t.Errorf("IAM: the role %s: %v", arn, err)
		}
		a.roles = append(a.roles, arn)
		answerXML(w, http.StatusOK, `<CreateRoleResponse><CreateRoleResult><Role><Path>/</Path><RoleName>`+f.Get("RoleName")+`</RoleName><RoleId>AROAEXAMPLE</RoleId>`+
			`<Arn>`+arn+`</Arn><CreateDate>2026-11-22T12:00:00Z</CreateDate></Role></CreateRoleResult></CreateRoleResponse>`)
	default:
		a.t.Errorf("IAM was asked what it does not know: %v", f)
		answerXML(w, http.StatusNotImplemented, missing)
	}
}

// releases has the tarballs of one version, of this program.
func releases(t *testing.T, program, version string, platforms ...string) http.Handler {
	t.Helper()
	dir := t.TempDir()
	content, err := os.ReadFile(program)
	if err != nil {
		t.Fatal(err)
	}
	slices.Sort(platforms)
	for _, platform := range slices.Compact(platforms) {
		name := fmt.Sprintf("cambio_%s_%s", version, platform)
		if err := os.WriteFile(filepath.Join(dir, name+".tar.gz"), tarball(t, name+"/cambio", content), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if folder := "/acme/cambio/releases/download/v" + version; path.Dir(r.URL.Path) != folder {
			t.Errorf("there is no release at %s", r.URL.Path)
		}
		http.ServeFile(w, r, filepath.Join(dir, path.Base(r.URL.Path)))
	})
}

// tarball holds one program.
func tarball(t *testing.T, name string, program []byte) []byte {
	t.Helper()
	var out bytes.Buffer
	z, err := gzip.NewWriterLevel(&out, gzip.BestSpeed)
	if err != nil {
		t.Fatal(err)
	}
	w := tar.NewWriter(z)
	if err := w.WriteHeader(&tar.Header{Name: name, Mode: 0o755, Size: int64(len(program)), ModTime: time.Unix(1, 0)}); err != nil {
		t.Fatal(err)
	}
	if _, err := w.Write(program); err != nil {
		t.Fatal(err)
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	if err := z.Close(); err != nil {
		t.Fatal(err)
	}
	return out.Bytes()
}

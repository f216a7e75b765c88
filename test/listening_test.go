package test

import (
	"bufio"
	"bytes"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"math/big"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"cambio/test/rig"
)

// listenConfig is the usual configuration with listeners of its own.
func listenConfig(t *testing.T, listen, more string) string {
	t.Helper()
	return `issuer: https://gw.test
listen: ` + listen + `
admin_listen: ` + freeAddress(t) + `
` + more + `
limits: {per_address: none, per_workload: none}
identity_providers:
  iss1: {type: github-actions, issuer: "{{ISS1}}", audience: "https://gw.test", insecure_loopback: true}
targets:
  t1: {type: jwt, audience: "api://t1"}
  t2: {type: jwt, audience: "api://t2"}
`
}

// writeCertificate makes a certificate for 127.0.0.1 that signs itself, and
// returns who trusts it.
func writeCertificate(t *testing.T, dir string) *x509.CertPool {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour),
		IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)}, IsCA: true, BasicConstraintsValid: true,
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	if err != nil {
		t.Fatal(err)
	}
	private, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		t.Fatal(err)
	}
	cert := pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der})
	for name, data := range map[string][]byte{"cert.pem": cert, "key.pem": pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: private})} {
		if err := os.WriteFile(filepath.Join(dir, name), data, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	pool := x509.NewCertPool()
	pool.AppendCertsFromPEM(cert)
	return pool
}

func TestTLS(t *testing.T) {
	t.Parallel()
	dir, listen := t.TempDir(), freeAddress(t)
	pool := writeCertificate(t, dir)
	r := rig.New(t, rig.Setup{Dir: dir, Config: listenConfig(t, listen, "tls: {cert: cert.pem, key: key.pem}")})
	serveRig(t, r)
	for version, protocol := range map[uint16]string{tls.VersionTLS12: "HTTP/1.1", tls.VersionTLS13: "HTTP/2.0"} {
		client := &http.Client{Timeout: 10 * time.Second, Transport: &http.Transport{
			ForceAttemptHTTP2: version == tls.VersionTLS13,
			TLSClientConfig:   &tls.Config{RootCAs: pool, MinVersion: version, MaxVersion: version},
		}}
		res, err := client.PostForm("https://"+listen+"/token", rig.Form(r.Token(nil)))
		if err != nil {
			t.Fatalf("%s: %v", tls.VersionName(version), err)
		}
		_ = res.Body.Close()
		client.CloseIdleConnections()
		if res.StatusCode != http.StatusOK || res.Proto != protocol || res.TLS == nil {
			t.Errorf("%s: %d over %s, want 200 over %s", tls.VersionName(version), res.StatusCode, res.Proto, protocol)
		}
	}
	old := &tls.Config{RootCAs: pool, MinVersion: tls.VersionTLS10, MaxVersion: tls.VersionTLS11}
	if conn, err := tls.Dial("tcp", listen, old); err == nil {
		_ = conn.Close()
		t.Error("TLS 1.1 is spoken")
	}
	// Clear text gets no answer of the gateway's: no token may travel in it.
	if answer := speak(t, listen, "GET / HTTP/1.1\r\nHost: gw.test\r\n\r\n"); strings.Contains(answer, "200 OK") {
		t.Errorf("clear text got %s", answer)
	}
}

// speak sends bytes, and returns what comes back until the peer closes.
func speak(t *testing.T, address, what string) string {
	t.Helper()
	conn, err := net.DialTimeout("tcp", address, 5*time.Second)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	if err := conn.SetDeadline(time.Now().Add(5 * time.Second)); err != nil {
		t.Fatal(err)
	}
	if _, err := io.WriteString(conn, what); err != nil {
		return ""
	}
	answer, err := io.ReadAll(conn)
	if ne := net.Error(nil); errors.As(err, &ne) && ne.Timeout() {
		t.Error("the connection stays open")
	}
	return string(answer)
}

func TestTerminatedBy(t *testing.T) {
	t.Parallel()
	const request = "GET / HTTP/1.1\r\nHost: gw.test\r\nConnection: close\r\n\r\n"
	t.Run("a peer outside", func(t *testing.T) {
		t.Parallel()
		listen := freeAddress(t)
		r := rig.New(t, rig.Setup{Config: listenConfig(t, listen, "tls: {terminated_by: [192.0.2.0/24]}")})
		serveRig(t, r)
		// Closed before a byte is read: also a peer that says nothing is.
		for _, what := range []string{"", request} {
			if answer := speak(t, listen, what); answer != "" {
				t.Errorf("a peer that is no proxy got %s", answer)
			}
		}
		if a := r.Get(r.AdminURL, "/healthz"); a.Status != http.StatusOK {
			t.Errorf("/healthz says %d", a.Status)
		}
	})
	t.Run("the proxy", func(t *testing.T) {
		t.Parallel()
		listen := freeAddress(t)
		r := rig.New(t, rig.Setup{Config: listenConfig(t, listen, "tls: {terminated_by: [127.0.0.0/8]}")})
		serveRig(t, r)
		if answer := speak(t, listen, request); !strings.HasPrefix(answer, "HTTP/1.1 200 OK") {
			t.Errorf("the proxy got %q", answer)
		}
		r.Control()
	})
}

// TestDrain: what is under way when the process is told to end is answered, and
// nothing new is taken.
func TestDrain(t *testing.T) {
	t.Parallel()
	listen := freeAddress(t)
	r := rig.New(t, rig.Setup{Config: listenConfig(t, listen, "")})
	drain := serveRig(t, r)
	body := rig.Form(r.Token(nil)).Encode()
	conn, err := net.Dial("tcp", listen)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	if err := conn.SetDeadline(time.Now().Add(15 * time.Second)); err != nil {
		t.Fatal(err)
	}
	_, err = fmt.Fprintf(conn, "POST /token HTTP/1.1\r\nHost: gw.test\r\nContent-Type: %s\r\nContent-Length: %d\r\nExpect: 100-continue\r\n\r\n", formType, len(body))
	if err != nil {
		t.Fatal(err)
	}
	answers := bufio.NewReader(conn)
	line, err := answers.ReadString('\n') // once it asks for the body, the request is under way
	if err != nil || !strings.HasPrefix(line, "HTTP/1.1 100") {
		t.Fatalf("got %q, %v", line, err)
	}
	if _, err := answers.ReadString('\n'); err != nil {
		t.Fatal(err)
	}
	drained := make(chan struct{})
	go func() { defer close(drained); drain() }()
	rig.Eventually(t, "the end of listening", func() bool {
		c, err := net.Dial("tcp", listen)
		if err == nil {
			_ = c.Close()
		}
		return err != nil
	})
	if _, err := io.WriteString(conn, body); err != nil {
		t.Fatal(err)
	}
	res, err := http.ReadResponse(answers, nil)
	if err != nil {
		t.Fatalf("the request under way got no answer: %v", err)
	}
	defer res.Body.Close()
	answer, err := io.ReadAll(res.Body)
	if err != nil || res.StatusCode != http.StatusOK || !bytes.Contains(answer, []byte("access_token")) {
		t.Errorf("the request under way got %d %s, %v", res.StatusCode, answer, err)
	}
	<-drained
	r.Stop()
	verifyJournal(t, r)
}

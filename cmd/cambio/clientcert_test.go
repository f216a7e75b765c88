package main

import (
	"bytes"
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"net/http"
	"net/http/httptest"
	"os"
	"strings"
	"testing"
	"time"

	"cambio/providers/spiffe/spiffetest"
)

// TestClientCert: the files of a certificate are the identity, over a connection
// that shows it.
func TestClientCert(t *testing.T) {
	a := spiffetest.New(t, "mesh.test", time.Now())
	svid := a.SVID("spiffe://mesh.test/api", nil)
	key, err := x509.MarshalPKCS8PrivateKey(svid.PrivateKey)
	if err != nil {
		t.Fatal(err)
	}
	files := map[string][]byte{
		"svid.pem": pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: svid.Certificate[0]}),
		"svid.key": pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: key}),
	}
	var got string
	gateway := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if len(r.TLS.PeerCertificates) == 1 {
			got = r.TLS.PeerCertificates[0].URIs[0].String() + " " + r.FormValue("subject_token_type")
		}
		w.Header().Set("Content-Type", "application/json")
		_, _ = w.Write([]byte(`{"access_token":"the-credential","issued_token_type":"urn:ietf:params:oauth:token-type:jwt","token_type":"Bearer","expires_in":60,"decision_id":"0198c2f0-5b1e-7c3a-9d4e-2f6a8b0c1d2e"}`))
	}))
	gateway.TLS = &tls.Config{ClientAuth: tls.RequestClientCert, MinVersion: tls.VersionTLS12}
	gateway.StartTLS()
	t.Cleanup(gateway.Close)
	ask := func(server string, args ...string) (int, string, string) {
		s, _ := user(t)
		s.outTTY, s.http = false, gateway.Client()
		s.readFile = func(name string) ([]byte, error) {
			if b, ok := files[name]; ok {
				return b, nil
			}
			return nil, os.ErrNotExist
		}
		code := run(context.Background(), s, append([]string{"exchange", "--server", server, "--to", "orders-api"}, args...))
		return code, s.out.(*bytes.Buffer).String(), s.err.(*bytes.Buffer).String()
	}
	code, out, said := ask(gateway.URL, "--client-cert", "svid.pem", "--client-key", "svid.key")
	if code != exitOK || out != "the-credential\n" || got != "spiffe://mesh.test/api urn:cambio:token-type:mtls" {
		t.Fatalf("exit %d, %q, shown %q: %s", code, out, got, said)
	}
	for name, c := range map[string]struct {
		server string
		args   []string
		code   int
		says   string
	}{
		"no key":       {gateway.URL, []string{"--client-cert", "svid.pem"}, exitUsage, "belong together"},
		"no cert":      {gateway.URL, []string{"--client-key", "svid.key"}, exitUsage, "belong together"},
		"and a token":  {gateway.URL, []string{"--client-cert", "svid.pem", "--client-key", "svid.key", "--token-file", "x"}, exitUsage, "one identity"},
		"http":         {"http://127.0.0.1:1", []string{"--client-cert", "svid.pem", "--client-key", "svid.key"}, exitUsage, "https"},
		"not there":    {gateway.URL, []string{"--client-cert", "gone.pem", "--client-key", "svid.key"}, exitNoIdentity, "gone.pem"},
		"not the pair": {gateway.URL, []string{"--client-cert", "svid.key", "--client-key", "svid.key"}, exitNoIdentity, "belongs to it"},
	} {
		got = ""
		code, out, said := ask(c.server, c.args...)
		if code != c.code || out != "" || !strings.Contains(said, c.says) || got != "" {
			t.Errorf("%s: exit %d, %q, shown %q: %s", name, code, out, got, said)
		}
		if strings.Contains(said, "PRIVATE KEY") || strings.Contains(said, string(files["svid.key"][40:80])) {
			t.Errorf("%s: the key is shown", name)
		}
	}
}

package client_test

import (
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/json"
	"encoding/pem"
	"fmt"
	"log/slog"
	"math/big"
	"net/http"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/crypto/ssh"

	"cambio/client"
)

// structured is a gateway's answer with a credential in both of its forms.
func structured(kind, tokenType, object, text string) string {
	quoted, err := json.Marshal(text)
	if err != nil {
		panic(err)
	}
	return `{"access_token":` + string(quoted) + `,"issued_token_type":"` + kind + `","token_type":"` + tokenType + `","expires_in":900,"decision_id":"d-1","credentials":` + object + `}`
}

func exchangeFor(t *testing.T, r client.Request, body string, sent url.Values) (client.Credential, error) {
	t.Helper()
	r.Target = "target"
	return connect(gateway(t, func(w http.ResponseWriter, f url.Values, _ int) {
		for name := range sent {
			if f.Get(name) != sent.Get(name) {
				t.Errorf("%s: %q", name, f.Get(name))
			}
		}
		answer(w, http.StatusOK, body)
	})).Exchange(t.Context(), r, counting())
}

const databaseObject = `{"Version":1,"Engine":"postgres","Host":"db.acme.example","Port":5432,"User":"deploy","Password":"canary","Expiration":"2026-11-22T06:15:00Z"}`

func TestDatabase(t *testing.T) {
	cred, err := exchangeFor(t, client.Request{Type: client.TypeDatabase}, structured(client.TypeDatabase, "N_A", databaseObject, databaseObject), url.Values{"requested_token_type": {client.TypeDatabase}})
	if err != nil {
		t.Fatal(err)
	}
	want := &client.DatabaseCredentials{
		Version: 1, Engine: "postgres", Host: "db.acme.example", Port: 5432, User: "deploy", Password: "canary",
		Expiration: time.Date(2026, 11, 22, 6, 15, 0, 0, time.UTC),
	}
	if diff := cmp.Diff(want, cred.Database); diff != "" {
		t.Error(diff)
	}
	var log strings.Builder
	slog.New(slog.NewJSONHandler(&log, nil)).InfoContext(t.Context(), "issued", slog.Any("credential", cred), slog.Any("database", *cred.Database))
	for _, text := range []string{fmt.Sprintf("%v %+v %#v %s", cred, cred, cred, cred), fmt.Sprintf("%v %+v %#v %s", *cred.Database, cred.Database, *cred.Database, cred.Database), log.String()} {
		if strings.Contains(text, "canary") {
			t.Errorf("printed as %s", text)
		}
	}
	// As JSON it is whole, below one name.
	text, err := json.Marshal(cred)
	var shown struct {
		Credentials client.DatabaseCredentials
		DecisionID  string `json:"decision_id"`
	}
	if err != nil || json.Unmarshal(text, &shown) != nil || shown.Credentials != *want || shown.DecisionID != "d-1" {
		t.Errorf("%s, %v", text, err)
	}
}

func TestDatabaseMalformed(t *testing.T) {
	for name, c := range map[string]struct{ old, new string }{
		"version":     {`"Version":1`, `"Version":2`},
		"engine":      {`postgres`, `oracle`},
		"no host":     {`"Host":"db.acme.example",`, ``},
		"host":        {`db.acme.example`, `db acme`},
		"port":        {`5432`, `"5432"`},
		"port 0":      {`5432`, `0`},
		"port beyond": {`5432`, `65536`},
		"port point":  {`5432`, `5432.5`},
		"user":        {`deploy`, `dep\nloy`},
		"no password": {`"canary"`, `""`},
		"null":        {`"canary"`, `null`},
		"line":        {`"canary"`, `"canary\u0000"`},
		"no end":      {`2026-11-22T06:15:00Z`, `soon`},
		"twice":       {`"User":"deploy"`, `"User":"deploy","User":"canary"`},
		"other case":  {`"User"`, `"user"`},
	} {
		t.Run(name, func(t *testing.T) {
			bad := strings.Replace(databaseObject, c.old, c.new, 1)
			for _, forms := range [][2]string{{bad, bad}, {databaseObject, bad}, {bad, databaseObject}} {
				refuses(t, client.Request{}, structured(client.TypeDatabase, "N_A", forms[0], forms[1]))
			}
		})
	}
	refuses(t, client.Request{}, structured(client.TypeDatabase, "Bearer", databaseObject, databaseObject))
	refuses(t, client.Request{Type: client.TypeAWS}, structured(client.TypeDatabase, "N_A", databaseObject, databaseObject))
	refuses(t, client.Request{}, structured(client.TypeDatabase, "N_A", databaseObject, strings.Replace(databaseObject, "deploy", "other", 1)))
}

func refuses(t *testing.T, r client.Request, body string) {
	t.Helper()
	cred, err := exchangeFor(t, r, body, nil)
	if err == nil || cred != (client.Credential{}) || strings.Contains(err.Error(), "canary") {
		t.Errorf("%v, error %v", cred, err)
	}
}

// x509Answer is a certificate for a key, and the request for it.
func x509Answer(t *testing.T) (csr, leaf string) {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	request, err := x509.CreateCertificateRequest(rand.Reader, &x509.CertificateRequest{}, key)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "x"}, NotAfter: time.Now().Add(time.Hour)}
	certificate, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	if err != nil {
		t.Fatal(err)
	}
	return string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE REQUEST", Bytes: request})),
		string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: certificate}))
}

func object(t *testing.T, members map[string]any) string {
	t.Helper()
	b, err := json.Marshal(members)
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

func TestX509(t *testing.T) {
	csr, leaf := x509Answer(t)
	_, other := x509Answer(t)
	good := map[string]any{"certificate": leaf, "chain": other, "bundle": other + other, "spiffe_id": "spiffe://id.acme.example/x", "serial": "01", "expiration": "2026-11-22T06:15:00Z"}
	text := object(t, good)
	r := client.Request{Type: client.TypeX509, CSR: csr}
	cred, err := exchangeFor(t, r, structured(client.TypeX509, "N_A", text, text), url.Values{"csr": {csr}, "requested_token_type": {client.TypeX509}})
	if err != nil {
		t.Fatal(err)
	}
	want := &client.X509Certificate{
		Certificate: leaf, Chain: other, Bundle: other + other, SPIFFEID: "spiffe://id.acme.example/x", Serial: "01",
		Expiration: time.Date(2026, 11, 22, 6, 15, 0, 0, time.UTC),
	}
	if diff := cmp.Diff(want, cred.X509); diff != "" {
		t.Error(diff)
	}
	for name, change := range map[string]map[string]any{
		"another key":        {"certificate": other},
		"two certificates":   {"certificate": leaf + other},
		"none":               {"certificate": ""},
		"a key in its place": {"certificate": strings.ReplaceAll(leaf, "CERTIFICATE", "PRIVATE KEY")},
		"text before":        {"certificate": "canary\n" + leaf},
		"text between":       {"bundle": other + "canary\n" + other},
		"a chain of text":    {"chain": "canary"},
		"no bundle":          {"bundle": ""},
		"no end":             {"expiration": "canary"},
		"a number":           {"certificate": 1},
	} {
		t.Run(name, func(t *testing.T) {
			bad := map[string]any{}
			for k, v := range good {
				bad[k] = v
			}
			for k, v := range change {
				bad[k] = v
			}
			refuses(t, r, structured(client.TypeX509, "N_A", object(t, bad), object(t, bad)))
		})
	}
	refuses(t, client.Request{}, structured(client.TypeX509, "N_A", text, text)) // nobody asked with a key
	refuses(t, r, structured(client.TypeX509, "Bearer", text, text))
}

func TestSSH(t *testing.T) {
	authority, err := ssh.NewSignerFromSigner(ed25519.NewKeyFromSeed(make([]byte, ed25519.SeedSize)))
	if err != nil {
		t.Fatal(err)
	}
	ec, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	edKey, _, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	for _, raw := range []any{edKey, ec.Public()} {
		key, err := ssh.NewPublicKey(raw)
		if err != nil {
			t.Fatal(err)
		}
		certify := func(key ssh.PublicKey) string {
			c := &ssh.Certificate{Key: key, CertType: ssh.UserCert, KeyId: "d-1", ValidBefore: ssh.CertTimeInfinity}
			if err := c.SignCert(rand.Reader, authority); err != nil {
				t.Fatal(err)
			}
			return strings.TrimSpace(string(ssh.MarshalAuthorizedKey(c)))
		}
		public, line := strings.TrimSpace(string(ssh.MarshalAuthorizedKey(key))), certify(key)
		good := map[string]any{"certificate": line, "key_id": "d-1", "serial": "7", "expiration": "2026-11-22T06:15:00Z"}
		text := object(t, good)
		r := client.Request{Type: client.TypeSSH, SSHPublicKey: public}
		cred, err := exchangeFor(t, r, structured(client.TypeSSH, "N_A", text, text), url.Values{"ssh_public_key": {public}})
		if err != nil {
			t.Fatal(err)
		}
		want := &client.SSHCertificate{Certificate: line, KeyID: "d-1", Serial: "7", Expiration: time.Date(2026, 11, 22, 6, 15, 0, 0, time.UTC)}
		if diff := cmp.Diff(want, cred.SSH); diff != "" {
			t.Error(diff)
		}
		for name, certificate := range map[string]any{
			"another key":       certify(authority.PublicKey()),
			"the key alone":     public,
			"two lines":         line + "\n" + line,
			"options before it": "cert-authority " + line,
			"cut":               line[:len(line)/4],
			"no base64":         strings.Replace(line, " ", " !", 1),
			"another kind":      strings.Replace(line, "-cert-v01", "-cert-v00", 1),
			"":                  "",
			"a number":          7,
		} {
			bad := object(t, map[string]any{"certificate": certificate, "expiration": "2026-11-22T06:15:00Z"})
			t.Run(name, func(t *testing.T) { refuses(t, r, structured(client.TypeSSH, "N_A", bad, bad)) })
		}
		refuses(t, client.Request{}, structured(client.TypeSSH, "N_A", text, text))
	}
}

// FuzzStructured: what is hostile in a credential never panics, and leaves nothing.
func FuzzStructured(f *testing.F) {
	f.Add(databaseObject, 0)
	f.Add(awsObject, 1)
	f.Add(`{"certificate":"-----BEGIN CERTIFICATE-----\n-----END CERTIFICATE-----","bundle":"","expiration":"2026-11-22T06:15:00Z"}`, 2)
	f.Add(`{"certificate":"ssh-ed25519-cert-v01@openssh.com AAAAIHNzaC1lZDI1NTE5LWNlcnQtdjAxQG9wZW5zc2guY29tAAAAAA==","expiration":"2026-11-22T06:15:00Z"}`, 3)
	kinds := []string{client.TypeDatabase, client.TypeAWS, client.TypeX509, client.TypeSSH}
	f.Fuzz(func(t *testing.T, object string, kind int) {
		if kind < 0 || kind >= len(kinds) {
			return
		}
		body := structured(kinds[kind], "N_A", object, object)
		c := connect(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { answer(w, http.StatusOK, body) }))
		cred, err := c.Exchange(t.Context(), client.Request{Target: "x", CSR: "x", SSHPublicKey: "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAAA=="}, counting())
		if err != nil && cred != (client.Credential{}) {
			t.Errorf("an error came with %#v", cred)
		}
	})
}

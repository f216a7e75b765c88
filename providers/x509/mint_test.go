package x509_test

import (
	"context"
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	stdx509 "crypto/x509"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"encoding/pem"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/spiffe/go-spiffe/v2/bundle/x509bundle"
	"github.com/spiffe/go-spiffe/v2/spiffeid"
	"github.com/spiffe/go-spiffe/v2/svid/x509svid"

	"cambio/exchange"
	"cambio/exchange/exchangetest"
	"cambio/providers/providertest"
	"cambio/providers/x509"
)

func TestMinter(t *testing.T) {
	h := newHouse(t, nil)
	key := p256(t)
	good := csr(t, key, nil)
	block, _ := pem.Decode([]byte(good))
	weak, err := ecdsa.GenerateKey(elliptic.P224(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	broken := append([]byte(nil), block.Bytes...)
	broken[len(broken)-1] ^= 1
	dead := newHouse(t, func(c *stdx509.Certificate) { c.NotAfter = exchangetest.Now() })
	other := newHouse(t, func(c *stdx509.Certificate) {
		c.PermittedURIDomains, c.PermittedDNSDomainsCritical = []string{"elsewhere.test"}, true
	})
	secret := string(keyPEM(t, h.issuing.key))
	providertest.Local{
		Ask: ask(good, `ttl: 1h, dns: [api.acme.test]`), Handle: x509.Serial,
		New:      func(testing.TB) exchange.Minter { return h.minter() },
		Canaries: append(strings.Split(secret, "\n")[1:3], "PRIVATE KEY"),
		BadCertify: map[string]string{
			"no request":               "hello",
			"a certificate":            string(pemOf(h.issuing)),
			"a key":                    secret,
			"two requests":             good + good,
			"text behind":              good + "x",
			"PEM headers":              strings.Replace(good, "REQUEST-----\n", "REQUEST-----\nProc-Type: 4,ENCRYPTED\n\n", 1),
			"base64 with line breaks":  base64.StdEncoding.EncodeToString(block.Bytes)[:64] + "\n" + base64.StdEncoding.EncodeToString(block.Bytes)[64:],
			"base64 of half of it":     base64.StdEncoding.EncodeToString(block.Bytes[:60]),
			"bytes behind":             base64.StdEncoding.EncodeToString(append(append([]byte(nil), block.Bytes...), 0)),
			"another's signature":      base64.RawURLEncoding.EncodeToString(broken),
			"a weak RSA key":           csr(t, rsaKey(t, 1024), nil),
			"a weak curve":             csr(t, weak, nil),
			"a DNS name":               csr(t, key, func(r *stdx509.CertificateRequest) { r.DNSNames = []string{"bank.test"} }),
			"another's SPIFFE ID":      csr(t, key, func(r *stdx509.CertificateRequest) { r.URIs = append(r.URIs, uri("spiffe://gw.test/ci/9/9")) }),
			"signed with SHA-1 by RSA": sha1Request(t),
		},
		BadGrants: map[string]string{
			"a wildcard": `dns: ["*.acme.test"]`, "an address": `dns: ["10.0.0.1"]`, "capitals": `dns: [API.acme.test]`, "a name twice": `dns: [a.test, a.test]`,
			"a dot behind": `dns: [a.test.]`, "another usage": `usages: [client, codeSigning]`, "names for a client": `dns: [a.test], usages: [client]`,
			"longer than a day": `ttl: 25h`, "scopes": `scopes: [a]`, "claims": `claims: {a: b}`, "a name from a claim": `dns: ["${claims.actor}"]`,
		},
		Broken: map[string]func(testing.TB, exchange.Order) (exchange.Minter, exchange.Order){
			"no request": func(_ testing.TB, o exchange.Order) (exchange.Minter, exchange.Order) {
				o.Certify = ""
				return h.minter(), o
			},
			"no ID": func(_ testing.TB, o exchange.Order) (exchange.Minter, exchange.Order) {
				o.ID = "AAAA"
				return h.minter(), o
			},
			"no SPIFFE ID": func(_ testing.TB, o exchange.Order) (exchange.Minter, exchange.Order) {
				o.Identity.Workload = "https://gw.test/ci"
				return h.minter(), o
			},
			"an authority that ended": func(_ testing.TB, o exchange.Order) (exchange.Minter, exchange.Order) { return dead.minter(), o },
			"an authority for another domain": func(_ testing.TB, o exchange.Order) (exchange.Minter, exchange.Order) {
				return other.minter(), o
			},
			"a usage that the authority lacks": func(tb testing.TB, o exchange.Order) (exchange.Minter, exchange.Order) {
				tb.Helper()
				return newHouse(tb, func(c *stdx509.Certificate) { c.ExtKeyUsage = []stdx509.ExtKeyUsage{stdx509.ExtKeyUsageClientAuth} }).minter(), o
			},
		},
		Check: func(tb testing.TB, o exchange.Order, got exchange.Credential) {
			tb.Helper()
			if !got.Structured {
				tb.Error("an OAuth client would take it for a bearer token")
			}
			a := open(tb, got)
			leaf := a.leaf(tb)
			raw, err := base64.RawURLEncoding.DecodeString(o.ID)
			if err != nil {
				tb.Fatal(err)
			}
			if a.Serial != hex.EncodeToString(raw) || leaf.SerialNumber.Text(16) != strings.TrimLeft(a.Serial, "0") {
				tb.Errorf("serial %s, order %s", a.Serial, o.ID)
			}
			if !leaf.NotBefore.Equal(o.Issued.Add(-30*time.Second)) || !leaf.NotAfter.Equal(o.Issued.Add(time.Hour)) || a.Expiration != leaf.NotAfter.Format(time.RFC3339) {
				tb.Errorf("%s to %s, told %s", leaf.NotBefore, leaf.NotAfter, a.Expiration)
			}
			if !key.PublicKey.Equal(leaf.PublicKey) || leaf.Subject.String() != "" || leaf.IsCA || leaf.KeyUsage != stdx509.KeyUsageDigitalSignature {
				tb.Errorf("key, subject %q, CA %t or usage %b", leaf.Subject, leaf.IsCA, leaf.KeyUsage)
			}
			if d := cmp.Diff([]string{"api.acme.test"}, leaf.DNSNames); d != "" {
				tb.Error(d)
			}
			verifies(tb, a, exchangetest.Workload)
		},
	}.Run(t)
}

// sha1Request is a request as old tools sign it. It was made with openssl req
// -sha1.
func sha1Request(t *testing.T) string {
	t.Helper()
	dir := t.TempDir()
	path := filepath.Join(dir, "key.pem")
	if err := os.WriteFile(path, keyPEM(t, rsaKey(t, 2048)), 0o600); err != nil {
		t.Fatal(err)
	}
	return openssl(t, "req", "-new", "-sha1", "-key", path, "-subj", "/CN=x")
}

// openssl runs the real one.
func openssl(t *testing.T, args ...string) string {
	t.Helper()
	out, err := exec.CommandContext(t.Context(), "openssl", args...).Output()
	if err != nil {
		var exit *exec.ExitError
		if errors.As(err, &exit) {
			t.Fatalf("openssl %v: %v\n%s", args, err, exit.Stderr)
		}
		t.Fatal(err)
	}
	return string(out)
}

type answer struct {
	Certificate, Chain, Bundle string
	SPIFFEID                   string `json:"spiffe_id"`
	Serial, Expiration         string
}

func open(tb testing.TB, got exchange.Credential) answer {
	tb.Helper()
	var a answer
	d := json.NewDecoder(strings.NewReader(got.Value.Reveal()))
	d.DisallowUnknownFields()
	if err := d.Decode(&a); err != nil {
		tb.Fatal(err)
	}
	return a
}

func (a answer) leaf(tb testing.TB) *stdx509.Certificate {
	tb.Helper()
	block, rest := pem.Decode([]byte(a.Certificate))
	if block == nil || len(rest) > 0 {
		tb.Fatalf("%q", a.Certificate)
	}
	leaf, err := stdx509.ParseCertificate(block.Bytes)
	if err != nil {
		tb.Fatal(err)
	}
	return leaf
}

// verifies has go-spiffe verify it, which holds it to the rules of X.509-SVIDs.
func verifies(tb testing.TB, a answer, id string) {
	tb.Helper()
	certs, err := stdx509.ParseCertificates(ders(a.Certificate + a.Chain))
	if err != nil {
		tb.Fatal(err)
	}
	domain := spiffeid.RequireTrustDomainFromString("gw.test")
	bundle, err := x509bundle.Parse(domain, []byte(a.Bundle))
	if err != nil {
		tb.Fatal(err)
	}
	got, _, err := x509svid.Verify(certs, bundle, x509svid.WithTime(exchangetest.Now()))
	if err != nil || got.String() != id || a.SPIFFEID != id {
		tb.Errorf("go-spiffe says %s, %v; want %s", got, err, id)
	}
}

func ders(text string) []byte {
	var out []byte
	for block, rest := pem.Decode([]byte(text)); block != nil; block, rest = pem.Decode(rest) {
		out = append(out, block.Bytes...)
	}
	return out
}

func mint(tb testing.TB, m exchange.Minter, a exchangetest.Ask) answer {
	tb.Helper()
	got, err := m.Mint(context.Background(), exchangetest.Order(tb, a))
	if err != nil {
		tb.Fatal(err)
	}
	return open(tb, got)
}

// TestKeys: each kind of key that a workload may have, and what a certificate for
// it says.
func TestKeys(t *testing.T) {
	h := newHouse(t, nil)
	p384, err := ecdsa.GenerateKey(elliptic.P384(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	for name, key := range map[string]crypto.Signer{"RSA": rsaKey(t, 2048), "P-256": p256(t), "P-384": p384, "Ed25519": ed(t)} {
		t.Run(name, func(t *testing.T) {
			a := mint(t, h.minter(), ask(csr(t, key, nil), "ttl: 5m"))
			leaf := a.leaf(t)
			want := stdx509.KeyUsageDigitalSignature
			if name == "RSA" {
				want |= stdx509.KeyUsageKeyEncipherment
			}
			if leaf.KeyUsage != want {
				t.Errorf("usage %b", leaf.KeyUsage)
			}
			verifies(t, a, exchangetest.Workload)
		})
	}
}

// TestSpellings: the same request in each of its forms, and with the PEM name of
// Java's keytool.
func TestSpellings(t *testing.T) {
	h := newHouse(t, nil)
	good := csr(t, p256(t), nil)
	block, _ := pem.Decode([]byte(good))
	for name, text := range map[string]string{
		"PEM": good, "keytool": strings.ReplaceAll(good, "CERTIFICATE REQUEST", "NEW CERTIFICATE REQUEST"), "PEM without a break at the end": strings.TrimSpace(good),
		"base64": base64.StdEncoding.EncodeToString(block.Bytes), "base64url": base64.RawURLEncoding.EncodeToString(block.Bytes), "padded base64url": base64.URLEncoding.EncodeToString(block.Bytes),
	} {
		t.Run(name, func(t *testing.T) { mint(t, h.minter(), ask(text, "ttl: 5m")) })
	}
}

// TestUsages: a grant for clients alone is no server's.
func TestUsages(t *testing.T) {
	h := newHouse(t, nil)
	a := mint(t, h.minter(), ask(csr(t, p256(t), nil), "usages: [client]"))
	if d := cmp.Diff([]stdx509.ExtKeyUsage{stdx509.ExtKeyUsageClientAuth}, a.leaf(t).ExtKeyUsage); d != "" {
		t.Error(d)
	}
	a = mint(t, h.minter(), ask(csr(t, p256(t), nil), "ttl: 5m"))
	if len(a.leaf(t).ExtKeyUsage) != 2 {
		t.Errorf("%v", a.leaf(t).ExtKeyUsage)
	}
}

// TestNamedForTheTrust: with subject: trust the ID is that of the trust.
func TestNamedForTheTrust(t *testing.T) {
	h := newHouse(t, nil)
	q := ask(csr(t, p256(t), nil), "ttl: 5m")
	q.Target.TrustSubject = "spiffe://gw.test/trust/"
	verifies(t, mint(t, h.minter(), q), "spiffe://gw.test/trust/deploy")
}

// TestEndsWithTheAuthority: nothing outlives what vouches for it, and nobody is
// told that it does.
func TestEndsWithTheAuthority(t *testing.T) {
	end := exchangetest.Now().Add(10 * time.Minute)
	h := newHouse(t, func(c *stdx509.Certificate) { c.NotAfter = end })
	got, err := h.minter().Mint(t.Context(), exchangetest.Order(t, ask(csr(t, p256(t), nil), "ttl: 1h")))
	if err != nil || !got.Expires.Equal(end) || !open(t, got).leaf(t).NotAfter.Equal(end) {
		t.Errorf("ends %s: %v", got.Expires, err)
	}
}

// TestLongerThanTheToken: unlike a JWT it may be, up to what the grant gives, as
// nobody can use it without the key.
func TestLongerThanTheToken(t *testing.T) {
	h := newHouse(t, nil)
	got, err := h.minter().Mint(t.Context(), exchangetest.Order(t, ask(csr(t, p256(t), nil), "ttl: 24h")))
	if err != nil || !got.Expires.Equal(exchangetest.Now().Add(24*time.Hour)) {
		t.Errorf("ends %s: %v", got.Expires, err)
	}
}

// TestOpenSSL: openssl makes the request, verifies the chain, and reads what we
// say.
func TestOpenSSL(t *testing.T) {
	h := newHouse(t, func(c *stdx509.Certificate) { // as the how-to makes it
		c.MaxPathLenZero = true
		c.PermittedURIDomains, c.PermittedDNSDomains, c.PermittedDNSDomainsCritical = []string{"gw.test"}, []string{"acme.test"}, true
	})
	dir := t.TempDir()
	at := func(name string) string { return filepath.Join(dir, name) }
	openssl(t, "req", "-new", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-keyout", at("key.pem"), "-out", at("csr.pem"), "-subj", "/")
	request, err := os.ReadFile(at("csr.pem"))
	if err != nil {
		t.Fatal(err)
	}
	a := mint(t, h.minter(), ask(string(request), "ttl: 1h, dns: [api.acme.test]"))
	for name, text := range map[string]string{"leaf.pem": a.Certificate, "chain.pem": a.Chain, "roots.pem": a.Bundle} {
		if err := os.WriteFile(at(name), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	now := exchangetest.Now().Unix()
	for _, purpose := range []string{"sslclient", "sslserver"} {
		out := openssl(t, "verify", "-x509_strict", "-purpose", purpose, "-attime", text(now), "-CAfile", at("roots.pem"), "-untrusted", at("chain.pem"), at("leaf.pem"))
		if !strings.Contains(out, "OK") {
			t.Error(out)
		}
	}
	shown := openssl(t, "x509", "-in", at("leaf.pem"), "-noout", "-text")
	for _, want := range []string{
		"URI:" + exchangetest.Workload, "DNS:api.acme.test", "CA:FALSE", "X509v3 Key Usage: critical\n                Digital Signature\n",
		"TLS Web Client Authentication", "TLS Web Server Authentication", "X509v3 Authority Key Identifier", "X509v3 Subject Key Identifier", "Subject: \n",
	} {
		if !strings.Contains(shown, want) {
			t.Errorf("openssl does not read %q in\n%s", want, shown)
		}
	}
	if strings.Count(shown, "URI:") != 1 {
		t.Error(shown)
	}
	key := openssl(t, "pkey", "-in", at("key.pem"), "-pubout")
	if openssl(t, "x509", "-in", at("leaf.pem"), "-noout", "-pubkey") != key {
		t.Error("another key")
	}
}

package x509_test

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	stdx509 "crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"math/big"
	"net/url"
	"sync"
	"testing"
	"time"

	"cambio/exchange"
	"cambio/exchange/exchangetest"
	"cambio/providers/x509"
)

// ca is a certificate of an authority and its key, to be changed before it is
// made.
type ca struct {
	cert *stdx509.Certificate
	key  crypto.Signer
}

func serial(tb testing.TB) *big.Int {
	tb.Helper()
	n, err := rand.Int(rand.Reader, new(big.Int).Lsh(big.NewInt(1), 64))
	if err != nil {
		tb.Fatal(err)
	}
	return n
}

// authority makes a certificate that by, or itself, signs.
func authority(tb testing.TB, name string, by *ca, change func(*stdx509.Certificate), key crypto.Signer) *ca {
	tb.Helper()
	if key == nil {
		key = p256(tb)
	}
	now := exchangetest.Now()
	c := &stdx509.Certificate{
		SerialNumber: serial(tb), Subject: pkix.Name{CommonName: name},
		NotBefore: now.Add(-time.Hour), NotAfter: now.AddDate(1, 0, 0),
		IsCA: true, BasicConstraintsValid: true, KeyUsage: stdx509.KeyUsageCertSign | stdx509.KeyUsageCRLSign,
	}
	if change != nil {
		change(c)
	}
	parent, signer := c, key
	if by != nil {
		parent, signer = by.cert, by.key
	}
	der, err := stdx509.CreateCertificate(rand.Reader, c, parent, key.Public(), signer)
	if err != nil {
		tb.Fatal(err)
	}
	made, err := stdx509.ParseCertificate(der)
	if err != nil {
		tb.Fatal(err)
	}
	return &ca{made, key}
}

func p256(tb testing.TB) *ecdsa.PrivateKey {
	tb.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		tb.Fatal(err)
	}
	return key
}

// rsaKeys are made once: they take their time.
var rsaKeys = sync.OnceValues(func() (map[int]*rsa.PrivateKey, error) {
	keys := map[int]*rsa.PrivateKey{}
	for _, bits := range []int{1024, 2048} {
		key, err := rsa.GenerateKey(rand.Reader, bits)
		if err != nil {
			return nil, err
		}
		keys[bits] = key
	}
	return keys, nil
})

func rsaKey(tb testing.TB, bits int) *rsa.PrivateKey {
	tb.Helper()
	keys, err := rsaKeys()
	if err != nil {
		tb.Fatal(err)
	}
	return keys[bits]
}

func pemOf(cas ...*ca) []byte {
	var out []byte
	for _, c := range cas {
		out = append(out, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: c.cert.Raw})...)
	}
	return out
}

func keyPEM(tb testing.TB, key crypto.Signer) []byte {
	tb.Helper()
	der, err := stdx509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		tb.Fatal(err)
	}
	return pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: der})
}

// csr is a request, to be changed before it is signed.
func csr(tb testing.TB, key crypto.Signer, change func(*stdx509.CertificateRequest)) string {
	tb.Helper()
	r := &stdx509.CertificateRequest{Subject: pkix.Name{CommonName: "admin", Organization: []string{"system:masters"}}}
	if change != nil {
		change(r)
	}
	der, err := stdx509.CreateCertificateRequest(rand.Reader, r, key)
	if err != nil {
		tb.Fatal(err)
	}
	return string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE REQUEST", Bytes: der}))
}

// house is a root, an intermediate, and the authority made of them.
type house struct {
	root, issuing *ca
	authority     *x509.Authority
}

func newHouse(tb testing.TB, change func(*stdx509.Certificate)) house {
	tb.Helper()
	h := house{root: authority(tb, "root", nil, nil, nil)}
	h.issuing = authority(tb, "issuing", h.root, change, nil)
	a, problems := x509.Open(pemOf(h.issuing, h.root), keyPEM(tb, h.issuing.key))
	if len(problems) > 0 {
		tb.Fatal(problems)
	}
	h.authority = a
	return h
}

func (h house) minter() x509.Minter {
	return x509.Minter{Authority: h.authority, Now: exchangetest.Now, Rand: rand.Reader}
}

// ask is a good order's.
func ask(request, grant string) exchangetest.Ask {
	return exchangetest.Ask{
		Type: x509.TargetType(), MaxTTL: 24 * time.Hour, Grant: grant,
		Target:  exchange.Target{Types: x509.Types(), Certifies: exchange.CertifiesRequest, Certifiable: x509.Certifiable, Handle: x509.Serial},
		Request: exchange.Request{Certify: request, Certifies: exchange.CertifiesRequest},
	}
}

func ed(tb testing.TB) ed25519.PrivateKey {
	tb.Helper()
	_, key, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		tb.Fatal(err)
	}
	return key
}

func uri(s string) *url.URL {
	u, _ := url.Parse(s)
	return u
}

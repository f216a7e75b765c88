// Package spiffetest plays the authority of a trust domain, for tests: it signs
// SVIDs, good ones and ones that an attacker would want.
package spiffetest

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/asn1"
	"encoding/base64"
	"encoding/json"
	"math/big"
	"net"
	"testing"
	"time"

	"github.com/go-jose/go-jose/v4"
)

// Authority signs for one trust domain, or for whoever it is told to.
type Authority struct {
	Domain string
	Root   *x509.Certificate
	Kid    string

	key crypto.Signer // of Root
	jwt crypto.Signer
	tb  testing.TB
	now time.Time
}

// New returns the authority of a trust domain. Its certificates are good around
// now.
func New(tb testing.TB, domain string, now time.Time) *Authority {
	tb.Helper()
	a := &Authority{Domain: domain, Kid: "jwt-" + domain, key: a256(tb), jwt: a256(tb), tb: tb, now: now}
	a.Root = a.sign(&x509.Certificate{
		Subject: pkix.Name{CommonName: "root of " + domain}, IsCA: true, BasicConstraintsValid: true,
		KeyUsage:  x509.KeyUsageCertSign | x509.KeyUsageCRLSign,
		NotBefore: now.Add(-time.Hour), NotAfter: now.Add(365 * 24 * time.Hour),
	}, a.key.Public())
	return a
}

func a256(tb testing.TB) crypto.Signer {
	tb.Helper()
	k, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	must(tb, err)
	return k
}

func must(tb testing.TB, err error) {
	tb.Helper()
	if err != nil {
		tb.Fatal(err)
	}
}

// sign makes a certificate. The first one is the authority's own root.
func (a *Authority) sign(template *x509.Certificate, public crypto.PublicKey) *x509.Certificate {
	a.tb.Helper()
	parent := a.Root
	if parent == nil {
		parent = template
	}
	if template.SerialNumber == nil {
		n, err := rand.Int(rand.Reader, new(big.Int).Lsh(big.NewInt(1), 100))
		must(a.tb, err)
		template.SerialNumber = n
	}
	der, err := x509.CreateCertificate(rand.Reader, template, parent, public, a.key)
	must(a.tb, err)
	c, err := x509.ParseCertificate(der)
	must(a.tb, err)
	return c
}

// Leaf is the template of a good X.509-SVID without its names.
func (a *Authority) Leaf() *x509.Certificate {
	return &x509.Certificate{
		Subject:   pkix.Name{Organization: []string{"SPIRE"}},
		NotBefore: a.now.Add(-10 * time.Second), NotAfter: a.now.Add(time.Hour),
		KeyUsage:              x509.KeyUsageDigitalSignature | x509.KeyUsageKeyEncipherment | x509.KeyUsageKeyAgreement,
		ExtKeyUsage:           []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth, x509.ExtKeyUsageClientAuth},
		BasicConstraintsValid: true,
	}
}

// SVID is an X.509-SVID with this URI name, byte for byte, whatever it is. edit
// changes the template before it is signed; it may be nil.
func (a *Authority) SVID(uri string, edit func(c *x509.Certificate)) tls.Certificate {
	a.tb.Helper()
	return a.Certificate([]string{uri}, edit)
}

// Certificate is one with these URI names.
func (a *Authority) Certificate(uris []string, edit func(c *x509.Certificate)) tls.Certificate {
	a.tb.Helper()
	template, key := a.Leaf(), a256(a.tb)
	if len(uris) > 0 {
		template.ExtraExtensions = []pkix.Extension{URINames(a.tb, uris...)}
	}
	if edit != nil {
		edit(template)
	}
	leaf := a.sign(template, key.Public())
	return tls.Certificate{Certificate: [][]byte{leaf.Raw}, PrivateKey: key, Leaf: leaf}
}

// Issue signs a template as it is, for a key.
func (a *Authority) Issue(template *x509.Certificate, public crypto.PublicKey) *x509.Certificate {
	a.tb.Helper()
	return a.sign(template, public)
}

// Below is another authority that this one vouches for. edit changes its
// certificate before it is signed; it may be nil.
func (a *Authority) Below(edit func(c *x509.Certificate)) *Authority {
	a.tb.Helper()
	b := &Authority{Domain: a.Domain, Kid: a.Kid, key: a256(a.tb), jwt: a.jwt, tb: a.tb, now: a.now}
	template := &x509.Certificate{
		Subject: pkix.Name{CommonName: "intermediate of " + a.Domain}, IsCA: true, BasicConstraintsValid: true,
		KeyUsage:  x509.KeyUsageCertSign,
		NotBefore: a.now.Add(-time.Hour), NotAfter: a.now.Add(24 * time.Hour),
	}
	if edit != nil {
		edit(template)
	}
	b.Root = a.sign(template, b.key.Public())
	return b
}

// URINames is the extension of alternative names with these URIs, unread: Go's own
// encoder would refuse or mend some.
func URINames(tb testing.TB, uris ...string) pkix.Extension {
	tb.Helper()
	var names []asn1.RawValue
	for _, uri := range uris {
		names = append(names, asn1.RawValue{Class: asn1.ClassContextSpecific, Tag: 6, Bytes: []byte(uri)})
	}
	der, err := asn1.Marshal(names)
	must(tb, err)
	return pkix.Extension{Id: asn1.ObjectIdentifier{2, 5, 29, 17}, Value: der}
}

// HiddenURIName is the extension with one URI, as a constructed value: readers that
// look for the primitive one alone, as crypto/x509 does, see no URI there.
func HiddenURIName(tb testing.TB, uri string) pkix.Extension {
	tb.Helper()
	der, err := asn1.Marshal([]asn1.RawValue{{Class: asn1.ClassContextSpecific, Tag: 6, IsCompound: true, Bytes: []byte(uri)}})
	must(tb, err)
	return pkix.Extension{Id: asn1.ObjectIdentifier{2, 5, 29, 17}, Value: der}
}

// Shown is the chain that a client shows, parsed as TLS does.
func Shown(tb testing.TB, c tls.Certificate, above ...*Authority) []*x509.Certificate {
	tb.Helper()
	var out []*x509.Certificate
	for _, der := range c.Certificate {
		cert, err := x509.ParseCertificate(der)
		must(tb, err)
		out = append(out, cert)
	}
	for _, a := range above {
		out = append(out, a.Root)
	}
	return out
}

// Claims are those of a good JWT-SVID.
func (a *Authority) Claims(sub, audience string) map[string]any {
	return map[string]any{"sub": sub, "aud": []string{audience}, "iat": a.now.Unix(), "exp": a.now.Add(5 * time.Minute).Unix()}
}

// JWT signs claims with the trust domain's key. header adds to the JOSE header, or
// with nil takes away; it may be nil.
func (a *Authority) JWT(claims, header map[string]any) string {
	a.tb.Helper()
	options := (&jose.SignerOptions{}).WithType("JWT").WithHeader("kid", a.Kid)
	for k, v := range header {
		if v == nil {
			delete(options.ExtraHeaders, jose.HeaderKey(k))
			continue
		}
		options.WithHeader(jose.HeaderKey(k), v)
	}
	signer, err := jose.NewSigner(jose.SigningKey{Algorithm: jose.ES256, Key: a.jwt}, options)
	must(a.tb, err)
	payload, err := json.Marshal(claims)
	must(a.tb, err)
	signed, err := signer.Sign(payload)
	must(a.tb, err)
	token, err := signed.CompactSerialize()
	must(a.tb, err)
	return token
}

// JWTKey is the key that its JWT-SVIDs verify with.
func (a *Authority) JWTKey() crypto.PublicKey { return a.jwt.Public() }

// Keys are the entries of the trust domain's bundle.
func (a *Authority) Keys() []map[string]any {
	a.tb.Helper()
	return []map[string]any{
		entry(a.tb, a.jwt.Public(), map[string]any{"use": "jwt-svid", "kid": a.Kid}),
		entry(a.tb, a.key.Public(), map[string]any{"use": "x509-svid", "x5c": []string{base64.StdEncoding.EncodeToString(a.Root.Raw)}}),
	}
}

func entry(tb testing.TB, public crypto.PublicKey, more map[string]any) map[string]any {
	tb.Helper()
	b, err := json.Marshal(jose.JSONWebKey{Key: public})
	must(tb, err)
	var m map[string]any
	must(tb, json.Unmarshal(b, &m))
	for k, v := range more {
		m[k] = v
	}
	return m
}

// Bundle is the trust domain's bundle document. edit changes it; it may be nil.
func (a *Authority) Bundle(edit func(doc map[string]any)) []byte {
	a.tb.Helper()
	doc := map[string]any{"keys": a.Keys(), "spiffe_sequence": 1}
	if edit != nil {
		edit(doc)
	}
	b, err := json.Marshal(doc)
	must(a.tb, err)
	return b
}

// Server is a certificate of the Web's kind for 127.0.0.1, by this authority.
func (a *Authority) Server() tls.Certificate {
	a.tb.Helper()
	template, key := a.Leaf(), a256(a.tb)
	template.IPAddresses = []net.IP{net.IPv4(127, 0, 0, 1)}
	leaf := a.sign(template, key.Public())
	return tls.Certificate{Certificate: [][]byte{leaf.Raw}, PrivateKey: key, Leaf: leaf}
}

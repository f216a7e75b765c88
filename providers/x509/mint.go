package x509

import (
	"bytes"
	"context"
	"crypto"
	"crypto/rsa"
	"crypto/sha256"
	"crypto/x509"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"math/big"
	"net/url"
	"time"

	"cambio/exchange"
	"cambio/trust"
)

// TypeCertificate is issued_token_type of what this target gives.
const TypeCertificate = "urn:cambio:token-type:x509-certificate"

// Types are the values of requested_token_type that an x509 target serves.
func Types() []string { return []string{TypeCertificate} }

// backdate is how long before its issue a certificate is valid, as our JWTs are:
// for relying parties whose clocks are behind.
const backdate = 30 * time.Second

// Minter issues certificates of our own authority for keys of workloads. It calls
// nobody.
type Minter struct {
	Authority *Authority
	Now       func() time.Time
	Rand      io.Reader
}

// Certifiable says why a request cannot be certified; nil: it can.
func Certifiable(request string) error {
	_, err := ParseRequest(request)
	return err
}

// Serial is the serial number that the certificate of an order has, in hex: the
// 128 random bits of its ID, so that the decision names it before it exists.
func Serial(id string) string {
	raw, err := base64.RawURLEncoding.DecodeString(id)
	if err != nil {
		return id
	}
	return hex.EncodeToString(raw)
}

// answer is the credential. Nothing in it is secret: it is good for nothing
// without the workload's own key.
type answer struct {
	Certificate string `json:"certificate"` // PEM
	Chain       string `json:"chain"`       // PEM: the authority's own certificate and what is above it, without the root; "" where the root signs
	Bundle      string `json:"bundle"`      // PEM: the roots
	SPIFFEID    string `json:"spiffe_id"`
	Serial      string `json:"serial"`
	Expiration  string `json:"expiration"`
}

// Mint makes the certificate that the order's decision already names. It ends no
// later than the authority. An error means that nothing was issued.
func (m Minter) Mint(_ context.Context, o exchange.Order) (exchange.Credential, error) {
	key, err := ParseRequest(o.Certify)
	if err != nil {
		return exchange.Credential{}, exchange.Refuse(trust.ReasonCertifyInvalid, err)
	}
	serial, err := base64.RawURLEncoding.DecodeString(o.ID)
	if err != nil || len(serial) != 16 {
		return exchange.Credential{}, failed(errors.New("the order has no ID of 128 bits"))
	}
	names, _ := o.Grant.Extra["dns"].([]string)
	uses, ok := o.Grant.Extra["usages"].([]string)
	if !ok {
		uses = usages()
	}
	c := certificate{
		id: o.Subject(), key: key, serial: serial, dns: names, usages: uses,
		from: o.Issued.Add(-backdate), until: o.Expires,
	}
	if m.Authority.until.Before(c.until) {
		c.until = m.Authority.until.Truncate(time.Second)
	}
	now := m.Now()
	if !now.Before(c.until) || now.Before(m.Authority.from()) {
		return exchange.Credential{}, failed(errors.New("the authority's own certificate is not valid now"))
	}
	der, err := m.Authority.issue(c, now, m.Rand)
	if err != nil {
		return exchange.Credential{}, failed(err)
	}
	a := answer{
		Certificate: encode(der), SPIFFEID: c.id, Serial: Serial(o.ID), Expiration: stamp(c.until),
		Chain: encodeAll(m.Authority.chain), Bundle: encodeAll(m.Authority.roots),
	}
	value, err := json.Marshal(a)
	if err != nil {
		return exchange.Credential{}, failed(err)
	}
	return exchange.Credential{
		Value: exchange.Secret(value), Type: o.Type, Handle: a.Serial, Expires: c.until, Structured: true,
	}, nil
}

// failed is a fault of the authority's: nothing left it.
func failed(err error) error { return exchange.Unanswered(trust.ReasonMintFailed, err) }

// certificate is what is to be signed.
type certificate struct {
	id          string // the SPIFFE ID
	key         crypto.PublicKey
	serial      []byte
	dns, usages []string
	from, until time.Time
}

// issue signs one certificate, and verifies it as a relying party would, with the
// whole chain, before it lets it go: a wrong one would be out there for a day.
func (a *Authority) issue(c certificate, now time.Time, random io.Reader) ([]byte, error) {
	id, err := url.Parse(c.id)
	if err != nil || id.Scheme != "spiffe" || id.Host == "" || id.String() != c.id {
		return nil, errors.New("the workload id is no SPIFFE ID")
	}
	spki, err := x509.MarshalPKIXPublicKey(c.key)
	if err != nil {
		return nil, fmt.Errorf("encode the key: %w", err)
	}
	keyID := sha256.Sum256(spki)
	template := &x509.Certificate{
		SerialNumber: new(big.Int).SetBytes(c.serial),
		NotBefore:    c.from, NotAfter: c.until,
		// No subject: names of people and groups, which other systems read there, are
		// not ours to give.
		URIs: []*url.URL{id}, DNSNames: c.dns,
		BasicConstraintsValid: true,
		KeyUsage:              x509.KeyUsageDigitalSignature,
		SubjectKeyId:          keyID[:20], // of the key alone, as RFC 7093 section 2 has it
	}
	if _, ok := c.key.(*rsa.PublicKey); ok {
		template.KeyUsage |= x509.KeyUsageKeyEncipherment // key exchange of TLS 1.2 with RSA
	}
	for _, u := range c.usages {
		template.ExtKeyUsage = append(template.ExtKeyUsage, extended(u))
	}
	der, err := x509.CreateCertificate(random, template, a.ca, c.key, a.key)
	if err != nil {
		return nil, errors.New("the authority's key did not sign")
	}
	return der, a.verify(der, c, now)
}

func extended(usage string) x509.ExtKeyUsage {
	if usage == usageServer {
		return x509.ExtKeyUsageServerAuth
	}
	return x509.ExtKeyUsageClientAuth
}

// verify holds the certificate against what was to be signed, and its chain
// against the rules of RFC 5280 section 6, for each usage by itself.
func (a *Authority) verify(der []byte, c certificate, now time.Time) error {
	leaf, err := x509.ParseCertificate(der)
	if err != nil {
		return errors.New("what was signed is no certificate")
	}
	if key, ok := leaf.PublicKey.(interface{ Equal(crypto.PublicKey) bool }); !ok || !key.Equal(c.key) ||
		leaf.SerialNumber.Cmp(new(big.Int).SetBytes(c.serial)) != 0 || len(leaf.URIs) != 1 || leaf.URIs[0].String() != c.id ||
		leaf.IsCA || !leaf.NotAfter.Equal(c.until) || !bytes.Equal(leaf.RawIssuer, a.ca.RawSubject) {
		return errors.New("what was signed is not what was ordered")
	}
	for _, u := range c.usages {
		if _, err := leaf.Verify(x509.VerifyOptions{
			Roots: a.anchors, Intermediates: a.between, CurrentTime: now, KeyUsages: []x509.ExtKeyUsage{extended(u)},
		}); err != nil {
			return fmt.Errorf("it does not verify for usage %s: %w", u, err)
		}
	}
	return nil
}

func encode(der []byte) string {
	return string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}))
}

func encodeAll(certs []*x509.Certificate) string {
	var out bytes.Buffer
	for _, c := range certs {
		out.WriteString(encode(c.Raw))
	}
	return out.String()
}

// Package x509 is certificates both ways. Identity in: a client certificate of the
// connection, vouched for by somebody else's authority. Credential out: an X.509-SVID
// of our own authority, for a key that the workload made.
package x509

import (
	"bytes"
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"slices"
	"time"
)

// Bounds of an authority's files: a chain has three certificates, and a few roots
// that come next; 20 of RSA 8192 take 50 KiB.
const (
	maxChain        = 64 << 10
	maxCertificates = 20
)

// soon is how long before its end an authority is worth a warning: a ceremony
// with an offline root takes weeks to arrange.
const soon = 30 * 24 * time.Hour

// Authority signs the certificates of one target: its own certificate, usually an
// intermediate one, the way up to a root, and the private key, which is here as a
// signer only. The zero value signs nothing.
type Authority struct {
	key   crypto.Signer
	ca    *x509.Certificate   // signs
	chain []*x509.Certificate // ca and what is above it, without the root; empty where ca is the root
	roots []*x509.Certificate // the chain's own first, then those that come next
	until time.Time           // when the first of ca, chain and root ends

	anchors, between *x509.CertPool
}

// Problem is what is wrong with an authority, in words for its operator.
type Problem struct {
	ID      string // of the finding
	Key     bool   // it lies in the key's file, not in that of the certificates
	Warning bool   // it works all the same
	Text    string
	Fix     string
}

// Open makes an authority of its two files, PEM: the certificate that signs
// first, each certificate of its way up, the self-signed root, then roots that
// come next, if any. The key is PKCS #8, SEC 1 or PKCS #1. With a problem that is
// no warning there is no authority. No text repeats a byte of the key.
func Open(chain, key []byte) (*Authority, []Problem) {
	certs, problem := readChain(chain)
	if problem != nil {
		return nil, []Problem{*problem}
	}
	a := &Authority{ca: certs[0], anchors: x509.NewCertPool(), between: x509.NewCertPool()}
	for i, c := range certs {
		if problem := checkAuthority(c); problem != nil {
			return nil, []Problem{*problem}
		}
		switch own := bytes.Equal(c.RawSubject, c.RawIssuer) && c.CheckSignatureFrom(c) == nil; {
		case own:
			a.roots = append(a.roots, c)
		case len(a.roots) > 0:
			return nil, []Problem{chainProblem(fmt.Sprintf("the certificate %d is not self-signed, and stands behind a root", i+1),
				"write the certificate that signs first, then the one that signed it, and so on, the root last; behind it roots only")}
		case i+1 == len(certs):
			return nil, []Problem{chainProblem("the root is missing: the last certificate is not self-signed", "add the root, as relying parties are told of it by us")}
		case c.CheckSignatureFrom(certs[i+1]) != nil:
			return nil, []Problem{chainProblem(fmt.Sprintf("the certificate %d is not signed by the next one", i+1),
				"write the certificate that signs first, then the one that signed it, and so on, the root last")}
		default:
			a.chain = append(a.chain, c)
			a.between.AddCert(c)
		}
	}
	a.anchors.AddCert(a.roots[0])
	a.until = a.roots[0].NotAfter
	for _, c := range a.chain {
		if c.NotAfter.Before(a.until) {
			a.until = c.NotAfter
		}
	}
	signer, problem := readKey(key)
	if problem != nil {
		return nil, []Problem{*problem}
	}
	if pub, ok := signer.Public().(interface{ Equal(crypto.PublicKey) bool }); !ok || !pub.Equal(a.ca.PublicKey) {
		return nil, []Problem{{ID: "ca-key", Key: true, Text: "the key is not that of the first certificate", Fix: "name the key that belongs to it"}}
	}
	a.key = signer
	var warnings []Problem
	if len(a.chain) == 0 {
		warnings = append(warnings, Problem{
			ID: "ca-root", Warning: true, Text: "the root itself signs: whoever takes its key is every workload until each relying party has another root",
			Fix: "let it sign an intermediate, and keep its key offline",
		})
	}
	return a, warnings
}

func chainProblem(text, fix string) Problem { return Problem{ID: "ca-cert", Text: text, Fix: fix} }

// readChain reads the certificates, and nothing else that PEM can hold: a private
// key that lies there by mistake would be published with them.
func readChain(raw []byte) ([]*x509.Certificate, *Problem) {
	problem := func(text, fix string) ([]*x509.Certificate, *Problem) {
		p := chainProblem(text, fix)
		return nil, &p
	}
	if len(raw) > maxChain {
		return problem("the file is above 64 KiB", "write the chain alone")
	}
	var certs []*x509.Certificate
	for rest := bytes.TrimSpace(raw); len(rest) > 0; rest = bytes.TrimSpace(rest) {
		var block *pem.Block
		if block, rest = pem.Decode(rest); block == nil || block.Type != "CERTIFICATE" || len(certs) == maxCertificates {
			return problem("the file holds something else than at most 20 PEM certificates", "write the chain, and nothing else")
		}
		c, err := x509.ParseCertificate(block.Bytes)
		if err != nil {
			return problem(fmt.Sprintf("the certificate %d cannot be read", len(certs)+1), "write it as PEM")
		}
		certs = append(certs, c)
	}
	if len(certs) == 0 {
		return problem("the file holds no certificate", "write the chain: the certificate that signs first, the root last")
	}
	return certs, nil
}

// checkAuthority says what is wrong with one certificate of the chain (RFC 5280
// section 4.2.1).
func checkAuthority(c *x509.Certificate) *Problem {
	name := fmt.Sprintf("the certificate %q", c.Subject.String())
	var p Problem
	switch {
	case !c.BasicConstraintsValid || !c.IsCA:
		p = chainProblem(name+" is not that of an authority", "make it with basicConstraints = critical, CA:TRUE")
	case c.KeyUsage&x509.KeyUsageCertSign == 0:
		p = chainProblem(name+" may not sign certificates", "make it with keyUsage = critical, keyCertSign, cRLSign")
	case len(c.SubjectKeyId) == 0:
		// Without it a relying party with two intermediates cannot tell which one signed.
		p = chainProblem(name+" has no subject key identifier", "make it with subjectKeyIdentifier = hash")
	case len(c.UnhandledCriticalExtensions) > 0:
		p = chainProblem(name+" has a critical extension that is not understood here", "make it without")
	default:
		if err := checkKey(c.PublicKey); err != nil {
			p = chainProblem(name+" "+err.Error(), "make it with RSA of 3072 bits, P-256, P-384 or Ed25519")
			break
		}
		return nil
	}
	return &p
}

// readKey reads the private key of the authority. Its bytes are not kept.
func readKey(raw []byte) (crypto.Signer, *Problem) {
	bad := &Problem{ID: "ca-key", Key: true, Text: "the file is not one private key as PEM, unencrypted", Fix: "write it as PKCS #8: openssl genpkey -algorithm EC -pkeyopt ec_paramgen_curve:P-256"}
	block, rest := pem.Decode(raw)
	if block == nil || len(bytes.TrimSpace(rest)) > 0 {
		return nil, bad
	}
	var key any
	var err error
	switch block.Type {
	case "PRIVATE KEY":
		key, err = x509.ParsePKCS8PrivateKey(block.Bytes)
	case "EC PRIVATE KEY":
		key, err = x509.ParseECPrivateKey(block.Bytes)
	case "RSA PRIVATE KEY":
		key, err = x509.ParsePKCS1PrivateKey(block.Bytes)
	default:
		return nil, bad
	}
	signer, ok := key.(crypto.Signer)
	if err != nil || !ok {
		return nil, bad
	}
	return signer, nil
}

// Bounds of an RSA modulus in bits. Below 2048 it is broken in our lifetime;
// above 8192 it burns the time of everybody who verifies (CVE-2023-29409).
const (
	minRSABits = 2048
	maxRSABits = 8192
)

// checkKey says why a public key is none that is certified, or certifies. Its
// texts go on from "The parameter csr".
func checkKey(pub crypto.PublicKey) error {
	switch p := pub.(type) {
	case *rsa.PublicKey:
		if bits := p.N.BitLen(); bits < minRSABits || bits > maxRSABits {
			return fmt.Errorf("has an RSA key of %d bits, which must be 2048 to 8192", bits)
		}
		if p.E < 3 || p.E%2 == 0 || p.N.Bit(0) == 0 {
			return errors.New("has an RSA key with an even exponent or modulus")
		}
		return nil
	case *ecdsa.PublicKey:
		if p.Curve != elliptic.P256() && p.Curve != elliptic.P384() {
			return errors.New("has a key on another curve than P-256 and P-384")
		}
		return nil
	case ed25519.PublicKey:
		return nil
	}
	return errors.New("has a key that is not RSA, P-256, P-384 or Ed25519")
}

// Vouched reports whether these authorities, as a client_ca_file has them, vouch for
// what this one signs: one of them is in its chain, or has signed a part of it.
func (a *Authority) Vouched(clientCA []byte) bool {
	vouching, err := ClientAuthorities(clientCA)
	if err != nil {
		return false // refused where it stands
	}
	for _, own := range slices.Concat(a.chain, a.roots) {
		for _, c := range vouching {
			if bytes.Equal(own.RawSubjectPublicKeyInfo, c.RawSubjectPublicKeyInfo) || own.CheckSignatureFrom(c) == nil {
				return true
			}
		}
	}
	return false
}

// Roots are the root certificates that relying parties verify with: that of the
// chain, then those that come next.
func (a *Authority) Roots() []*x509.Certificate { return a.roots }

// Check says what stands against certificates for this SPIFFE ID, and at this
// time: it makes one, which goes nowhere, and verifies it as a relying party
// would. So it finds what name constraints, path lengths and extended key usages
// of the chain forbid.
func (a *Authority) Check(id string, now time.Time) []Problem {
	switch {
	case now.Before(a.from()):
		return []Problem{{ID: "ca-not-yet", Warning: true, Text: "is not valid before " + stamp(a.from()) + ": nothing is issued until then", Fix: "compare the clocks"}}
	case !now.Before(a.until):
		return []Problem{{ID: "ca-expired", Warning: true, Text: "ended at " + stamp(a.until) + ": nothing is issued", Fix: "make a new intermediate"}}
	}
	if _, err := a.issue(certificate{
		id: id, key: a.ca.PublicKey, serial: []byte{1}, usages: usages(),
		from: now.Add(-backdate).Truncate(time.Second), until: now.Add(time.Minute).Truncate(time.Second),
	}, now, rand.Reader); err != nil {
		return []Problem{{ID: "ca-cannot-issue", Text: "signs what relying parties refuse, for " + id + ": " + err.Error(), Fix: "make it without constraints that forbid it: names, path length, extended key usage"}}
	}
	if left := a.until.Sub(now); left < soon {
		return []Problem{{ID: "ca-expires-soon", Warning: true, Text: fmt.Sprintf("ends at %s, in %d days; nothing that it signs lives longer", stamp(a.until), left/(24*time.Hour)), Fix: "make a new intermediate"}}
	}
	return nil
}

// from is when all of the chain is valid.
func (a *Authority) from() time.Time {
	from := a.roots[0].NotBefore
	for _, c := range a.chain {
		if c.NotBefore.After(from) {
			from = c.NotBefore
		}
	}
	return from
}

func stamp(t time.Time) string { return t.UTC().Format(time.RFC3339) }

package client

import (
	"bytes"
	"crypto/x509"
	"encoding/base64"
	"encoding/binary"
	"encoding/pem"
	"errors"
	"strings"
	"time"
)

// X509Certificate is a certificate for a key of the workload's own. Nothing in it is
// secret.
type X509Certificate struct {
	Certificate string    `json:"certificate"`         // PEM
	Chain       string    `json:"chain"`               // PEM: what signed it and what is above, without the root; "" where the root signed
	Bundle      string    `json:"bundle"`              // PEM: the roots
	SPIFFEID    string    `json:"spiffe_id,omitempty"` // whose it is
	Serial      string    `json:"serial,omitempty"`
	Expiration  time.Time `json:"expiration"` // UTC, whole seconds
}

// SSHCertificate is a certificate for an SSH key of the workload's own. Nothing in
// it is secret.
type SSHCertificate struct {
	Certificate string    `json:"certificate"`      // one line, as id_ed25519-cert.pub has it
	KeyID       string    `json:"key_id,omitempty"` // what sshd logs
	Serial      string    `json:"serial,omitempty"`
	Expiration  time.Time `json:"expiration"` // UTC, whole seconds
}

var errNotOurKey = errors.New("malformed answer: the certificate is for another key than ours")

// parseX509 takes a certificate that is for the key of our request.
func parseX509(object []byte, csr string) (*X509Certificate, error) {
	m, err := parseMembers(object)
	if err != nil {
		return nil, errors.New("malformed answer: the certificate is not one JSON object with distinct names")
	}
	c := X509Certificate{
		Certificate: m.secret("certificate"), Chain: m.secret("chain"), Bundle: m.secret("bundle"),
		SPIFFEID: m.text("spiffe_id"), Serial: m.text("serial"),
	}
	leaf, ok := certificates(c.Certificate)
	_, chained := certificates(c.Chain)
	roots, bundled := certificates(c.Bundle)
	if !ok || len(leaf) != 1 || !chained || !bundled || len(roots) == 0 {
		return nil, errors.New("malformed answer: certificate, chain and bundle are not certificates as PEM")
	}
	if !ofRequest(leaf[0], csr) {
		return nil, errNotOurKey
	}
	c.Expiration, err = m.end("expiration")
	return &c, err
}

// certificates parses PEM that holds certificates and nothing else.
func certificates(text string) ([]*x509.Certificate, bool) {
	var all []*x509.Certificate
	rest := []byte(strings.TrimSpace(text))
	for len(rest) > 0 {
		// What stands before a block would be written to files too.
		if !bytes.HasPrefix(rest, []byte("-----BEGIN CERTIFICATE-----")) {
			return nil, false
		}
		var block *pem.Block
		if block, rest = pem.Decode(rest); block == nil || block.Type != "CERTIFICATE" || len(block.Headers) > 0 {
			return nil, false
		}
		c, err := x509.ParseCertificate(block.Bytes)
		if err != nil {
			return nil, false
		}
		all = append(all, c)
		rest = bytes.TrimSpace(rest)
	}
	return all, true
}

// ofRequest reports whether the certificate is for the key of the request.
func ofRequest(c *x509.Certificate, csr string) bool {
	block, _ := pem.Decode([]byte(csr))
	if block == nil {
		return false
	}
	request, err := x509.ParseCertificateRequest(block.Bytes)
	return err == nil && bytes.Equal(c.RawSubjectPublicKeyInfo, request.RawSubjectPublicKeyInfo)
}

// parseSSH takes a certificate that is for our public key.
func parseSSH(object []byte, public string) (*SSHCertificate, error) {
	m, err := parseMembers(object)
	if err != nil {
		return nil, errors.New("malformed answer: the certificate is not one JSON object with distinct names")
	}
	c := SSHCertificate{Certificate: strings.TrimSpace(m.secret("certificate")), KeyID: m.text("key_id"), Serial: m.text("serial")}
	if c.Certificate != printableLine(c.Certificate) {
		return nil, errors.New("malformed answer: the certificate is not one line")
	}
	if !ofKey(c.Certificate, public) {
		return nil, errNotOurKey
	}
	c.Expiration, err = m.end("expiration")
	return &c, err
}

// maxSSHLine is above the certificate of an RSA key of 8192 bits, in bytes.
const maxSSHLine = 16 << 10

// printableLine is s where it is one line of visible ASCII and spaces, else "".
func printableLine(s string) string {
	if s == "" || len(s) > maxSSHLine || strings.IndexFunc(s, func(r rune) bool { return r < ' ' || r > '~' }) >= 0 {
		return ""
	}
	return s
}

// ofKey reports whether a certificate is for a public key, both as their files have
// them. A certificate holds its kind, a nonce, and then what the key holds behind
// its own kind (OpenSSH, PROTOCOL.certkeys).
func ofKey(certificate, public string) bool {
	kind, key, ok := sshBlob(public)
	if !ok {
		return false
	}
	certKind, cert, ok := sshBlob(certificate)
	if !ok || certKind != kind+"-cert-v01@openssh.com" && certKind != strings.TrimSuffix(kind, "@openssh.com")+"-cert-v01@openssh.com" {
		return false
	}
	_, cert, ok = sshString(cert) // the nonce
	return ok && len(key) > 0 && bytes.HasPrefix(cert, key)
}

// sshBlob takes the line of a public key file apart: the kind, and what the key
// holds behind it.
func sshBlob(line string) (kind string, rest []byte, ok bool) {
	fields := strings.Fields(line)
	if len(fields) < 2 {
		return "", nil, false
	}
	blob, err := base64.StdEncoding.DecodeString(fields[1])
	if err != nil {
		return "", nil, false
	}
	name, rest, ok := sshString(blob)
	return fields[0], rest, ok && string(name) == fields[0]
}

// sshString takes one string off (RFC 4251 section 5).
func sshString(b []byte) (value, rest []byte, ok bool) {
	if len(b) < 4 {
		return nil, nil, false
	}
	n := binary.BigEndian.Uint32(b)
	if b = b[4:]; uint64(n) > uint64(len(b)) {
		return nil, nil, false
	}
	return b[:n], b[n:], true
}

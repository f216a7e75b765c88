// Package ssh is the target type for machines that people and jobs log in to: the
// credential is an OpenSSH user certificate of our own authority, for a key that
// the workload made (PROTOCOL.certkeys of OpenSSH).
package ssh

import (
	"bytes"
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/rsa"
	"encoding/base64"
	"errors"
	"fmt"
	"slices"
	"strings"

	openssh "golang.org/x/crypto/ssh"
)

// Authority signs user certificates. Its private key is here as a signer only. The
// zero value signs nothing.
type Authority struct{ signer openssh.Signer }

// minCABits is the least modulus of an RSA authority: it outlives what it signs by
// years, unlike the workloads' keys.
const minCABits = 3072

// Open makes an authority of its private key, OpenSSH's own form or PEM, without
// a passphrase: Ed25519, ECDSA or RSA, which signs with SHA-512. The error says
// what is wrong, and no byte of the key.
func Open(key []byte) (*Authority, error) {
	raw, err := openssh.ParseRawPrivateKey(bytes.TrimSpace(key))
	if locked := (*openssh.PassphraseMissingError)(nil); errors.As(err, &locked) {
		return nil, errors.New("the key has a passphrase")
	}
	if err != nil {
		return nil, errors.New("the file is no private key of OpenSSH and none as PEM")
	}
	switch k := raw.(type) {
	case *ed25519.PrivateKey, ed25519.PrivateKey, *ecdsa.PrivateKey:
	case *rsa.PrivateKey:
		if bits := k.N.BitLen(); bits < minCABits {
			return nil, fmt.Errorf("an RSA key of %d bits is too weak for an authority", bits)
		}
	default:
		return nil, errors.New("the key is not Ed25519, ECDSA or RSA")
	}
	signer, err := openssh.NewSignerFromKey(raw)
	if err != nil {
		return nil, errors.New("the key cannot sign")
	}
	if _, ok := raw.(*rsa.PrivateKey); ok {
		// sshd takes no SHA-1 signature of an authority since OpenSSH 8.2.
		plain, ok := signer.(openssh.AlgorithmSigner)
		if !ok {
			return nil, errors.New("the key cannot sign")
		}
		if signer, err = openssh.NewSignerWithAlgorithms(plain, []string{openssh.KeyAlgoRSASHA512}); err != nil {
			return nil, errors.New("the key cannot sign")
		}
	}
	return &Authority{signer: signer}, nil
}

// PublicLine is the authority's public key as a line for TrustedUserCAKeys, without
// a line break.
func (a *Authority) PublicLine() string {
	return strings.TrimSuffix(string(openssh.MarshalAuthorizedKey(a.signer.PublicKey())), "\n")
}

// Fingerprint is that of the authority's public key, as ssh-keygen -l shows it.
func (a *Authority) Fingerprint() string { return openssh.FingerprintSHA256(a.signer.PublicKey()) }

// Bounds of an RSA key in bits; see NIST SP 800-57, and CVE-2023-29409.
const (
	minRSABits = 2048
	maxRSABits = 8192
)

// keyTypes are those that are certified. DSA is broken, and keys on a token that
// someone touches are people's.
func keyTypes() []string {
	return []string{openssh.KeyAlgoED25519, openssh.KeyAlgoECDSA256, openssh.KeyAlgoECDSA384, openssh.KeyAlgoECDSA521, openssh.KeyAlgoRSA}
}

// ParseKey reads one line as a public key file has it: type, key, and a comment,
// which is not used. Options before it, as an authorized_keys file may have, are
// refused: they would look as if they held. An error goes on from "The parameter
// ssh_public_key" and repeats nothing of the line.
//
// That the workload has the private key is not proven here: a certificate for
// another's key is good for that other alone, and only he who asked is on the
// record for it.
func ParseKey(line string) (openssh.PublicKey, error) {
	line = strings.TrimSuffix(strings.TrimSuffix(line, "\n"), "\r")
	for _, b := range []byte(line) {
		if b < ' ' || b == 0x7f {
			return nil, errors.New("is not one line")
		}
	}
	kind, rest, _ := strings.Cut(line, " ")
	blob, _, _ := strings.Cut(rest, " ")
	if !slices.Contains(keyTypes(), kind) {
		return nil, errors.New("does not begin with " + strings.Join(keyTypes(), ", "))
	}
	raw, err := base64.StdEncoding.Strict().DecodeString(blob)
	if err != nil {
		return nil, errors.New("has no key in base64 behind its type")
	}
	key, err := openssh.ParsePublicKey(raw)
	if err != nil || key.Type() != kind || !bytes.Equal(key.Marshal(), raw) {
		return nil, errors.New("is not the key that it says")
	}
	of, ok := key.(openssh.CryptoPublicKey)
	if !ok {
		return nil, errors.New("is not the key that it says")
	}
	return key, checkKey(of.CryptoPublicKey())
}

func checkKey(pub crypto.PublicKey) error {
	if p, ok := pub.(*rsa.PublicKey); ok {
		if bits := p.N.BitLen(); bits < minRSABits || bits > maxRSABits {
			return fmt.Errorf("is an RSA key of %d bits, which must be 2048 to 8192", bits)
		}
		if p.E < 3 || p.E%2 == 0 || p.N.Bit(0) == 0 {
			return errors.New("is an RSA key with an even exponent or modulus")
		}
	}
	return nil
}

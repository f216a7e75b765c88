package keystore

import (
	"context"
	"crypto"
	"crypto/rsa"
	"crypto/sha256"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"strings"
	"sync"

	"cambio/issuer"
)

// IsURI reports whether a text names a key in a KMS or HSM, and no file.
func IsURI(s string) bool {
	for _, scheme := range []string{"awskms:", "gcpkms:", "pkcs11:"} {
		if strings.HasPrefix(s, scheme) {
			return true
		}
	}
	return false
}

// ParseRSA reads an RSA private key that is not one of our signing keys, PEM in the
// form of PKCS #1 or PKCS #8. The error holds no byte of it.
func ParseRSA(text []byte) (crypto.Signer, error) {
	block, _ := pem.Decode(text)
	if block == nil {
		return nil, fmt.Errorf("%w: no PEM", ErrKeyFile)
	}
	var key *rsa.PrivateKey
	switch block.Type {
	case "RSA PRIVATE KEY":
		k, err := x509.ParsePKCS1PrivateKey(block.Bytes)
		if err != nil {
			return nil, fmt.Errorf("%w: no RSA private key that can be read", ErrKeyFile)
		}
		key = k
	case "PRIVATE KEY":
		k, err := x509.ParsePKCS8PrivateKey(block.Bytes)
		var ok bool
		if key, ok = k.(*rsa.PrivateKey); err != nil || !ok {
			return nil, fmt.Errorf("%w: no RSA private key", ErrKeyFile)
		}
	default:
		return nil, fmt.Errorf("%w: the PEM holds no private key without a passphrase", ErrKeyFile)
	}
	if _, err := issuer.CheckStrength(key.Public()); err != nil {
		return nil, err
	}
	return key, nil
}

// LateRSA is an RSA key in a KMS or HSM that is no signing key of ours. Nobody is
// called before the first signature: a KMS that is down stops what the key is for,
// and not the start. The error wraps ErrURI.
func LateRSA(uri string) (crypto.Signer, error) {
	at, err := newOutside().reach(uri)
	if err != nil {
		return nil, err
	}
	return &lateKey{at: at}, nil
}

// lateKey is a crypto.Signer of SHA-256 digests, RSA PKCS #1 v1.5, that gets its
// public half when it first signs. Each signature is verified with it.
type lateKey struct {
	at backend

	mu  sync.Mutex
	pub *rsa.PublicKey
}

// Public is the public key, or nil before the first signature.
func (k *lateKey) Public() crypto.PublicKey {
	k.mu.Lock()
	defer k.mu.Unlock()
	if k.pub == nil {
		return nil
	}
	return k.pub
}

// Sign signs a SHA-256 digest within 4 s, or gives an error that wraps ErrSigner.
// The randomness is that of the KMS or HSM.
func (k *lateKey) Sign(_ io.Reader, digest []byte, opts crypto.SignerOpts) ([]byte, error) {
	// Asked for another scheme, the key would sign something that means another thing.
	if _, pss := opts.(*rsa.PSSOptions); pss || opts == nil || opts.HashFunc() != crypto.SHA256 || len(digest) != sha256.Size {
		return nil, fmt.Errorf("%w: it signs SHA-256 digests only", ErrSigner)
	}
	pub, err := k.known()
	if err != nil {
		return nil, err
	}
	ctx, cancel := context.WithTimeout(context.Background(), signTimeout)
	defer cancel()
	sig, err := k.at.sign(ctx, issuer.RS256, digest)
	if err != nil {
		return nil, err
	}
	if rsa.VerifyPKCS1v15(pub, crypto.SHA256, digest, sig) != nil {
		return nil, fmt.Errorf("%w: a signature that its own public key refuses", ErrSigner)
	}
	return sig, nil
}

func (k *lateKey) known() (*rsa.PublicKey, error) {
	k.mu.Lock()
	pub := k.pub
	k.mu.Unlock()
	if pub != nil {
		return pub, nil
	}
	ctx, cancel := context.WithTimeout(context.Background(), signTimeout)
	defer cancel()
	got, err := k.at.public(ctx)
	if err != nil {
		return nil, err
	}
	pub, ok := got.(*rsa.PublicKey)
	if !ok {
		return nil, fmt.Errorf("%w: the key is not RSA", ErrSigner)
	}
	if _, err := issuer.CheckStrength(pub); err != nil {
		return nil, errors.Join(ErrSigner, err)
	}
	k.mu.Lock()
	k.pub = pub
	k.mu.Unlock()
	return pub, nil
}

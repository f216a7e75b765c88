package standin

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rsa"
	"encoding/base64"
	"fmt"
	"io"
	"maps"
	"math/big"
)

// Key is a signing key of a stand-in, with what its key set says about it.
type Key struct {
	KID     string
	Private crypto.Signer  // *rsa.PrivateKey, *ecdsa.PrivateKey, ed25519.PrivateKey or *WeakRSA
	Hidden  bool           // signs, but the key set does not name it
	Members map[string]any // overlays the JWK; nil takes a member away
}

// DefaultKeys are k1 (RSA of 2048 bits), k2 (ECDSA on P-256) and k3 (Ed25519).
// Finding k1 takes a moment; stand-ins may share them.
func DefaultKeys(random io.Reader) ([]Key, error) {
	k1, err := rsa.GenerateKey(random, 2048)
	if err != nil {
		return nil, fmt.Errorf("standin: generate a key: %w", err)
	}
	k2, err := ecdsa.GenerateKey(elliptic.P256(), random)
	if err != nil {
		return nil, fmt.Errorf("standin: generate a key: %w", err)
	}
	_, k3, err := ed25519.GenerateKey(random)
	if err != nil {
		return nil, fmt.Errorf("standin: generate a key: %w", err)
	}
	return []Key{{KID: "k1", Private: k1}, {KID: "k2", Private: k2}, {KID: "k3", Private: k3}}, nil
}

// Alg is the algorithm that the key signs with unless asked otherwise.
func (k Key) Alg() string {
	switch p := k.Private.(type) {
	case *ecdsa.PrivateKey:
		switch p.Curve {
		case elliptic.P384():
			return "ES384"
		case elliptic.P521():
			return "ES512"
		}
		return "ES256"
	case ed25519.PrivateKey:
		return "EdDSA"
	default:
		return "RS256"
	}
}

// jwk is the public key as the key set shows it.
func (k Key) jwk() map[string]any {
	m := map[string]any{"use": "sig", "kid": k.KID, "alg": k.Alg()}
	enc := base64.RawURLEncoding.EncodeToString
	switch p := k.Private.(type) {
	case *rsa.PrivateKey:
		m["kty"], m["n"], m["e"] = "RSA", enc(p.N.Bytes()), enc(big.NewInt(int64(p.E)).Bytes())
	case *WeakRSA:
		m["kty"], m["n"], m["e"] = "RSA", enc(p.N.Bytes()), enc(big.NewInt(int64(p.E)).Bytes())
	case *ecdsa.PrivateKey:
		point, err := p.PublicKey.Bytes()
		if err != nil {
			panic("standin: " + err.Error())
		}
		half := (len(point) - 1) / 2
		m["kty"], m["crv"] = "EC", p.Curve.Params().Name
		m["x"], m["y"] = enc(point[1:1+half]), enc(point[1+half:])
	case ed25519.PrivateKey:
		m["kty"], m["crv"] = "OKP", "Ed25519"
		m["x"] = enc(p[ed25519.SeedSize:])
	}
	maps.Copy(m, k.Members)
	maps.DeleteFunc(m, func(_ string, v any) bool { return v == nil })
	return m
}

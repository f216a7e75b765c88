package providertest

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"encoding/json"
	"sync"
	"testing"

	"github.com/go-jose/go-jose/v4"
)

// signer is one key of each algorithm. They are made once: RSA takes its time.
type signer struct {
	keys map[string]crypto.Signer
	set  []byte
}

var signers = sync.OnceValues(func() (*signer, error) {
	r, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		return nil, err
	}
	s := &signer{keys: map[string]crypto.Signer{}}
	for _, alg := range []string{"RS256", "RS384", "RS512", "PS256", "PS384", "PS512"} {
		s.keys[alg] = r
	}
	for alg, curve := range map[string]elliptic.Curve{"ES256": elliptic.P256(), "ES384": elliptic.P384(), "ES512": elliptic.P521()} {
		if s.keys[alg], err = ecdsa.GenerateKey(curve, rand.Reader); err != nil {
			return nil, err
		}
	}
	if _, s.keys["EdDSA"], err = ed25519.GenerateKey(rand.Reader); err != nil {
		return nil, err
	}
	var set jose.JSONWebKeySet
	for alg, key := range s.keys {
		set.Keys = append(set.Keys, jose.JSONWebKey{Key: key.Public(), KeyID: alg, Algorithm: alg})
	}
	s.set, err = json.Marshal(set)
	return s, err
})

func (s *signer) sign(tb testing.TB, alg string, claims map[string]any) string {
	tb.Helper()
	payload, err := json.Marshal(claims)
	if err != nil {
		tb.Fatal(err)
	}
	key := jose.SigningKey{Algorithm: jose.SignatureAlgorithm(alg), Key: s.keys[alg]}
	made, err := jose.NewSigner(key, (&jose.SignerOptions{}).WithHeader("kid", alg).WithType("JWT"))
	if err != nil {
		tb.Fatal(err)
	}
	signed, err := made.Sign(payload)
	if err != nil {
		tb.Fatal(err)
	}
	token, err := signed.CompactSerialize()
	if err != nil {
		tb.Fatal(err)
	}
	return token
}

func keysOf(tb testing.TB) *signer {
	tb.Helper()
	s, err := signers()
	if err != nil {
		tb.Fatal(err)
	}
	return s
}

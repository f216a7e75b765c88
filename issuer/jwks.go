package issuer

import (
	"cmp"
	"crypto"
	"crypto/ecdsa"
	"crypto/rsa"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"math/big"
	"slices"
	"time"
)

// jwk is a public JSON Web Key (RFC 7517 section 4, RFC 7518 section 6). It has
// no field for a private member, so that none can slip out.
type jwk struct {
	KTY string `json:"kty"`
	Use string `json:"use"`
	Alg Alg    `json:"alg"`
	KID string `json:"kid"`
	CRV string `json:"crv,omitempty"`
	X   string `json:"x,omitempty"`
	Y   string `json:"y,omitempty"`
	E   string `json:"e,omitempty"`
	N   string `json:"n,omitempty"`
}

// members fills what a public key itself determines.
func members(pub crypto.PublicKey) (jwk, error) {
	enc := base64.RawURLEncoding
	switch p := pub.(type) {
	case *rsa.PublicKey:
		return jwk{
			KTY: "RSA", Alg: RS256,
			N: enc.EncodeToString(p.N.Bytes()),
			E: enc.EncodeToString(big.NewInt(int64(p.E)).Bytes()),
		}, nil
	case *ecdsa.PublicKey:
		point, err := p.Bytes() // 4, X, Y: both of 32 bytes, as RFC 7518 section 6.2.1.2 wants them
		if err != nil || len(point) != 65 {
			return jwk{}, fmt.Errorf("%w: not a point on P-256", ErrWeakKey)
		}
		return jwk{
			KTY: "EC", CRV: "P-256", Alg: ES256,
			X: enc.EncodeToString(point[1:33]),
			Y: enc.EncodeToString(point[33:]),
		}, nil
	default:
		return jwk{}, fmt.Errorf("%w: %T has no public JWK here", ErrWeakKey, pub)
	}
}

// canonical is the hash input of RFC 7638 section 3: required members only, in
// order, without white space. Its values are base64url, so nothing is escaped.
func (j jwk) canonical() []byte {
	if j.KTY == "RSA" {
		return []byte(`{"e":"` + j.E + `","kty":"RSA","n":"` + j.N + `"}`)
	}
	return []byte(`{"crv":"` + j.CRV + `","kty":"EC","x":"` + j.X + `","y":"` + j.Y + `"}`)
}

func (k Key) jwk() (jwk, error) {
	j, err := members(k.Signer.Public())
	if err != nil {
		return jwk{}, err
	}
	j.Use, j.KID = "sig", k.KID
	return j, nil
}

// PublicJWK is the public half of the key as a JWK, for the journal: with it, old
// checkpoints stay verifiable when the key is long gone. It is nil for a key
// without a usable signer.
func (k Key) PublicJWK() map[string]any {
	if k.Signer == nil {
		return nil
	}
	j, err := k.jwk()
	if err != nil {
		return nil
	}
	m := map[string]any{"kty": j.KTY, "use": j.Use, "alg": string(j.Alg), "kid": j.KID}
	if j.KTY == "RSA" {
		m["n"], m["e"] = j.N, j.E
	} else {
		m["crv"], m["x"], m["y"] = j.CRV, j.X, j.Y
	}
	return m
}

// publish makes the key set as of now, and says when it will be out of date
// because a retired key leaves (zero: never).
func (r Ring) publish(now time.Time) (set KeySet, until time.Time, err error) {
	keys := Prune(r, now).Keys
	// A client that takes the first key that fits its algorithm gets the active one.
	rank := map[State]int{Active: 0, Next: 1, Retired: 2}
	slices.SortStableFunc(keys, func(a, b Key) int {
		return cmp.Or(cmp.Compare(rank[a.State], rank[b.State]), cmp.Compare(b.Alg, a.Alg), cmp.Compare(a.KID, b.KID))
	})
	out := KeySet{keys: make([]jwk, 0, len(keys))}
	for _, k := range keys {
		j, err := k.jwk()
		if err != nil {
			return KeySet{}, time.Time{}, err
		}
		out.keys = append(out.keys, j)
		if end := k.PublishedUntil(); !end.IsZero() && (until.IsZero() || end.Before(until)) {
			until = end
		}
	}
	return out, until, nil
}

// metadata is the discovery document. AWS and kube-apiserver want the three
// lists that OpenID Connect requires even of an issuer that has no
// authorization endpoint; "id_token" is what GitHub and Kubernetes say there.
type metadata struct {
	Issuer        string   `json:"issuer"`
	JWKSURI       string   `json:"jwks_uri"`
	TokenEndpoint string   `json:"token_endpoint"`
	GrantTypes    []string `json:"grant_types_supported"`
	ResponseTypes []string `json:"response_types_supported"`
	SubjectTypes  []string `json:"subject_types_supported"`
	SigningAlgs   []Alg    `json:"id_token_signing_alg_values_supported"`
	AuthMethods   []string `json:"token_endpoint_auth_methods_supported"`
	Claims        []string `json:"claims_supported"`
}

func discoveryDocument(issuer string) ([]byte, error) {
	b, err := json.Marshal(metadata{
		Issuer:        issuer,
		JWKSURI:       issuer + "/keys",
		TokenEndpoint: issuer + "/token",
		GrantTypes:    []string{"urn:ietf:params:oauth:grant-type:token-exchange"},
		ResponseTypes: []string{"id_token"},
		SubjectTypes:  []string{"public"},
		SigningAlgs:   algs(),
		AuthMethods:   []string{"none"},
		Claims:        []string{"iss", "sub", "aud", "exp", "iat", "nbf", "jti", "scope", "client_id"},
	})
	if err != nil {
		return nil, fmt.Errorf("issuer: encode the discovery document: %w", err)
	}
	return b, nil
}

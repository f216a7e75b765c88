package issuer

import (
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/rsa"
	"crypto/x509"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"math/big"
	"time"
)

// Roots are the root certificates of the operator's own authorities, as the trust
// bundle shows them. The zero value is none.
type Roots struct {
	Certificates []*x509.Certificate
	Since        time.Time // when they last became others
}

// refreshHint is how often those who federate with us should look, in seconds: as
// often as our key set's max-age has others look.
const refreshHint = 300

// bundleKey is a JWK of a bundle (SPIFFE Trust Domain and Bundle, section 4).
type bundleKey struct {
	KTY string   `json:"kty"`
	Use string   `json:"use"`
	KID string   `json:"kid,omitempty"`
	CRV string   `json:"crv,omitempty"`
	X   string   `json:"x,omitempty"`
	Y   string   `json:"y,omitempty"`
	E   string   `json:"e,omitempty"`
	N   string   `json:"n,omitempty"`
	X5C []string `json:"x5c,omitempty"`
}

// Bundle is the trust bundle of our trust domain: the keys of the set, whose JWTs
// are JWT-SVIDs, and the roots of our X.509-SVIDs. sequence tells an older bundle
// from a newer one.
func (s KeySet) Bundle(roots Roots, sequence int64) ([]byte, error) {
	out := struct {
		Sequence int64       `json:"spiffe_sequence"`
		Refresh  int         `json:"spiffe_refresh_hint"`
		Keys     []bundleKey `json:"keys"`
	}{Sequence: sequence, Refresh: refreshHint, Keys: []bundleKey{}}
	for _, j := range s.keys {
		out.Keys = append(out.Keys, bundleKey{KTY: j.KTY, Use: "jwt-svid", KID: j.KID, CRV: j.CRV, X: j.X, Y: j.Y, E: j.E, N: j.N})
	}
	for _, c := range roots.Certificates {
		k, err := rootKey(c)
		if err != nil {
			return nil, err
		}
		out.Keys = append(out.Keys, k)
	}
	b, err := json.Marshal(out)
	if err != nil {
		return nil, fmt.Errorf("issuer: encode the bundle: %w", err)
	}
	return b, nil
}

func rootKey(c *x509.Certificate) (bundleKey, error) {
	enc := base64.RawURLEncoding
	k := bundleKey{Use: "x509-svid", X5C: []string{base64.StdEncoding.EncodeToString(c.Raw)}}
	switch p := c.PublicKey.(type) {
	case *rsa.PublicKey:
		k.KTY, k.N, k.E = "RSA", enc.EncodeToString(p.N.Bytes()), enc.EncodeToString(big.NewInt(int64(p.E)).Bytes())
	case *ecdsa.PublicKey:
		point, err := p.Bytes() // 4, X, Y: both as long as the curve's field
		if err != nil {
			return bundleKey{}, fmt.Errorf("%w: a root whose key is not on its curve", ErrWeakKey)
		}
		half := 1 + (len(point)-1)/2
		k.KTY, k.CRV = "EC", p.Curve.Params().Name
		k.X, k.Y = enc.EncodeToString(point[1:half]), enc.EncodeToString(point[half:])
	case ed25519.PublicKey:
		k.KTY, k.CRV, k.X = "OKP", "Ed25519", enc.EncodeToString(p)
	default:
		return bundleKey{}, fmt.Errorf("%w: a root with a %T", ErrWeakKey, c.PublicKey)
	}
	return k, nil
}

// Sequence is the time of the last change to what the bundle of this ring and
// these roots holds, in seconds: it grows with each change, is the same on every
// replica that has the same files, and survives a restart. A number that was
// counted would have to be kept somewhere that may be read-only.
func (r Ring) Sequence(roots Roots, now time.Time) int64 {
	last := roots.Since
	later := func(t time.Time) {
		if t.After(last) {
			last = t
		}
	}
	later(r.Changed)
	for _, k := range r.Keys {
		later(k.Published)
		later(k.Activated)
		later(k.Retired)
		if left := k.PublishedUntil(); !left.After(now) {
			later(left)
		}
	}
	return last.Unix()
}

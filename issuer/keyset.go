package issuer

import (
	"bytes"
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rsa"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"math/big"
	"time"
)

// ErrKeySet is wrapped by every error of [ReadKeySet].
var ErrKeySet = errors.New("issuer: not a key set of ours")

// MaxKeySet bounds a published key set in bytes: 50 RSA keys of 8192 bits, all
// that a ring may hold, take 75 KiB.
const MaxKeySet = 128 << 10

// KeySet is a key set as it is published (RFC 7517 section 5). The zero value has
// no keys.
type KeySet struct{ keys []jwk }

// Publication makes the two documents that an [Issuer] of this URL and ring
// serves at this time: the same bytes as [Issuer.Discovery] and [Issuer.JWKS].
func Publication(url string, r Ring, now time.Time) (discovery, keySet []byte, err error) {
	if err := checkURL(url); err != nil {
		return nil, nil, err
	}
	if err := r.Validate(); err != nil {
		return nil, nil, err
	}
	if discovery, err = discoveryDocument(url); err != nil {
		return nil, nil, err
	}
	set, _, err := r.publish(now)
	if err != nil {
		return nil, nil, err
	}
	keySet, err = set.Bytes()
	return discovery, keySet, err
}

// ReadKeySet reads a key set as we write it, white space apart: only public
// members, strong keys, each under its own thumbprint. So a set with a private
// member, a foreign key or a kid that is not its key's is refused as a whole.
func ReadKeySet(raw []byte) (KeySet, error) {
	if len(raw) > MaxKeySet {
		return KeySet{}, fmt.Errorf("%w: more than %d bytes", ErrKeySet, MaxKeySet)
	}
	var in struct {
		Keys []jwk `json:"keys"`
	}
	if err := json.Unmarshal(raw, &in); err != nil {
		return KeySet{}, fmt.Errorf("%w: not JSON", ErrKeySet)
	}
	s := KeySet{keys: in.Keys}
	seen := make(map[string]bool, len(s.keys))
	for _, j := range s.keys {
		pub, err := j.public()
		if err != nil {
			return KeySet{}, err
		}
		kid, err := KeyID(pub)
		if err != nil || kid != j.KID || seen[kid] {
			return KeySet{}, fmt.Errorf("%w: a key under a name that is not its own", ErrKeySet)
		}
		seen[kid] = true
	}
	again, err := s.Bytes()
	if err != nil {
		return KeySet{}, err
	}
	// What does not render to the same text has members that we did not look at.
	var compact bytes.Buffer
	if err := json.Compact(&compact, raw); err != nil || !bytes.Equal(compact.Bytes(), again) {
		return KeySet{}, fmt.Errorf("%w: members that we do not publish", ErrKeySet)
	}
	return s, nil
}

// KIDs are the key ids of the set, in its order.
func (s KeySet) KIDs() []string {
	out := make([]string, len(s.keys))
	for i, j := range s.keys {
		out[i] = j.KID
	}
	return out
}

// Union is this set, then those of the other's keys that it lacks and that keep
// wants.
func (s KeySet) Union(other KeySet, keep func(kid string) bool) KeySet {
	out := KeySet{keys: append([]jwk(nil), s.keys...)}
	have := make(map[string]bool, len(s.keys))
	for _, j := range s.keys {
		have[j.KID] = true
	}
	for _, j := range other.keys {
		if !have[j.KID] && keep(j.KID) {
			out.keys = append(out.keys, j)
		}
	}
	return out
}

// Bytes is the set as JSON.
func (s KeySet) Bytes() ([]byte, error) {
	keys := s.keys
	if keys == nil {
		keys = []jwk{} // "null" would be no set
	}
	b, err := json.Marshal(struct {
		Keys []jwk `json:"keys"`
	}{keys})
	if err != nil {
		return nil, fmt.Errorf("issuer: encode the key set: %w", err)
	}
	return b, nil
}

// public is the key that a JWK of ours says, checked for its strength.
func (j jwk) public() (crypto.PublicKey, error) {
	enc := base64.RawURLEncoding.Strict()
	var pub crypto.PublicKey
	switch j.KTY {
	case "RSA":
		n, err1 := enc.DecodeString(j.N)
		e, err2 := enc.DecodeString(j.E)
		if err1 != nil || err2 != nil || len(e) == 0 || len(e) > 4 || len(n) > maxRSABits/8 {
			return nil, fmt.Errorf("%w: an RSA key that cannot be read", ErrKeySet)
		}
		pub = &rsa.PublicKey{N: new(big.Int).SetBytes(n), E: int(new(big.Int).SetBytes(e).Int64())}
	case "EC":
		x, err1 := enc.DecodeString(j.X)
		y, err2 := enc.DecodeString(j.Y)
		if err1 != nil || err2 != nil {
			return nil, fmt.Errorf("%w: an EC key that cannot be read", ErrKeySet)
		}
		p, err := ecdsa.ParseUncompressedPublicKey(elliptic.P256(), append(append([]byte{4}, x...), y...))
		if err != nil {
			return nil, fmt.Errorf("%w: not a point on P-256", ErrKeySet)
		}
		pub = p
	default:
		return nil, fmt.Errorf("%w: a key of another type than RSA and EC", ErrKeySet)
	}
	if _, err := CheckStrength(pub); err != nil {
		return nil, fmt.Errorf("%w: %w", ErrKeySet, err)
	}
	m, err := members(pub)
	if err != nil {
		return nil, err
	}
	m.Use, m.KID = "sig", j.KID
	if m != j {
		return nil, fmt.Errorf("%w: a key that is not written as we write it", ErrKeySet)
	}
	return pub, nil
}

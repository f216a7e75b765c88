package oidc

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rsa"
	_ "crypto/sha256" // the hashes of the algorithms
	_ "crypto/sha512"
	"encoding/hex"
	"errors"
	"math/big"
	"slices"
	"strings"

	"cambio/exchange"
	"cambio/trust"
)

const (
	// maxKeys is far above what identity providers publish: some ten.
	maxKeys = 100
	// minRSA is RFC 7518 section 3.3; maxRSA keeps one verification below a
	// millisecond or so (CVE-2023-29409).
	minRSA, maxRSA = 2048, 8192
)

// key is one public key of a key set (RFC 7517).
type key struct {
	kid    string
	kty    string
	alg    string // the one that the set ties it to, or ""
	public crypto.PublicKey
	// bad says why the key cannot be used. It is remembered so that a token
	// that names it is refused for that, and not for an unknown key.
	bad string
}

// keySet is an immutable set of public keys.
type keySet struct {
	keys  []key
	byKid map[string][]int
	all   []int // the indices of all keys

	bundle *bundle // the rest of the trust bundle that the keys are of, or nil
}

// parseKeys reads a JWK set. It is refused whole when it holds a symmetric or a
// private key (then the provider has lost its secrets, and which of its keys
// are still its own is unknown), when a kid is there twice for one key type (a
// token would have two meanings), and when it is empty (that must never replace
// a good one). Weak keys and those of unknown kinds are kept only by name, so
// that a token of theirs is refused for the right reason.
func parseKeys(b []byte) (*keySet, error) {
	if len(b) > maxDocument {
		return nil, errors.New("the key set is too large")
	}
	doc, err := parseObject(b, documentLimits())
	if err != nil {
		return nil, err
	}
	list, ok := doc["keys"].([]any)
	if !ok {
		return nil, errors.New("the key set has no keys")
	}
	if len(list) == 0 {
		return nil, errors.New("the key set is empty")
	}
	if len(list) > maxKeys {
		return nil, errors.New("the key set has too many keys")
	}
	set := &keySet{byKid: make(map[string][]int)}
	for _, v := range list {
		m, ok := v.(map[string]any)
		if !ok {
			return nil, errors.New("a key is not an object")
		}
		if err := set.add(m, "sig"); err != nil {
			return nil, err
		}
	}
	return set, nil
}

// add reads one JWK into the set. An error refuses the whole set.
func (s *keySet) add(m map[string]any, use string) error {
	k, err := parseKey(m, use)
	if err != nil {
		return err
	}
	for _, i := range s.byKid[k.kid] {
		if k.kid != "" && s.keys[i].kty == k.kty {
			return errors.New("a key id is there twice")
		}
	}
	s.byKid[k.kid] = append(s.byKid[k.kid], len(s.keys))
	s.all = append(s.all, len(s.keys))
	s.keys = append(s.keys, k)
	return nil
}

// find returns the one key that a token with this header was signed by. An
// error is a verdict: weak-key, alg-not-allowed, or kid-unknown where several
// keys fit a token without kid. Without a key and without an error the set does
// not know the key; a newer set may.
func (s *keySet) find(kid, alg string) (crypto.PublicKey, *exchange.Error) {
	var found crypto.PublicKey
	weak, known := "", false
	for _, i := range s.candidates(kid) {
		switch k := s.keys[i]; {
		case k.bad != "":
			weak, known = k.bad, true
		case !fits(alg, k.public) || k.alg != "" && k.alg != alg:
			known = true
		case found != nil:
			// Only without a kid. To try one key after the other would let a
			// token be proven by a key that its sender did not mean.
			return nil, exchange.Refuse(trust.ReasonKidUnknown, errors.New("no kid, and several keys fit"))
		default:
			found = k.public
		}
	}
	switch {
	case found != nil:
		return found, nil
	case kid == "" || !known:
		return nil, nil
	case weak != "":
		return nil, exchange.Refuse(trust.ReasonWeakKey, errors.New(weak))
	}
	return nil, exchange.Refuse(trust.ReasonAlgNotAllowed, errors.New("the key is for another algorithm"))
}

// candidates are the indices of the keys with this kid; of all without one.
func (s *keySet) candidates(kid string) []int {
	if kid != "" {
		return s.byKid[kid]
	}
	return s.all
}

// shares reports whether a usable key of s is also in other.
func (s *keySet) shares(other *keySet) bool {
	if s.bundle != nil && other.bundle != nil && s.bundle.shares(other.bundle) {
		return true
	}
	for _, k := range s.keys {
		if k.bad != "" {
			continue
		}
		for _, o := range other.keys {
			if o.bad == "" && k.public.(interface{ Equal(x crypto.PublicKey) bool }).Equal(o.public) {
				return true
			}
		}
	}
	return false
}

// parseKey reads one JWK, which may say of itself that it has this use. An error
// refuses the whole set.
func parseKey(m map[string]any, use string) (key, error) {
	var k key
	var ok bool
	if k.kty, ok = m["kty"].(string); !ok {
		return key{}, errors.New("a key has no kty")
	}
	if k.kty == "oct" {
		return key{}, errors.New("the key set holds a symmetric key")
	}
	for _, private := range []string{"d", "p", "q", "dp", "dq", "qi", "oth", "k"} {
		if _, has := m[private]; has {
			return key{}, errors.New("the key set holds a private key")
		}
	}
	if v, has := m["kid"]; has {
		if k.kid, ok = v.(string); !ok {
			return key{}, errors.New("a kid is not a string")
		}
	}
	if v, has := m["alg"]; has {
		if k.alg, ok = v.(string); !ok {
			return key{}, errors.New("a key's alg is not a string")
		}
	}
	if v, has := m["use"]; has && v != use {
		k.bad = "the key is not for signatures"
	}
	if ops, has := m["key_ops"]; has && !verifies(ops) {
		k.bad = "the key is not for signatures"
	}
	if k.bad == "" {
		k.public, k.bad = publicKey(m)
	}
	if k.bad == "" && k.alg != "" && (!slices.Contains(algorithms(), k.alg) || !fits(k.alg, k.public)) {
		k.public, k.bad = nil, "the key's alg is not a signature of its type"
	}
	return k, nil
}

// smallOrder reports the Ed25519 keys whose order divides eight, in every
// spelling: a signature that anyone can write verifies under them for many
// messages, as one does for RSA with e = 1. The sign bit makes no difference.
func smallOrder(x []byte) bool {
	low := slices.Clone(x)
	low[len(low)-1] &= 0x7f
	switch hex.EncodeToString(low) {
	case "0000000000000000000000000000000000000000000000000000000000000000", // order 4
		"0100000000000000000000000000000000000000000000000000000000000000", // order 1
		"26e8958fc2b227b045c3f489f2ef98f0d5dfac05d3c63339b13802886d53fc05", // order 8
		"c7176a703d4dd84fba3c0b760d10670f2a2053fa2c39ccc64ec7fd7792ac037a", // order 8
		"ecffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f", // p-1, order 2
		"edffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f", // p, which is 0
		"eeffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f": // p+1, which is 1
		return true
	}
	return false
}

func verifies(ops any) bool {
	list, ok := ops.([]any)
	return ok && slices.Contains(list, any("verify"))
}

// publicKey makes the key of a JWK's members (RFC 7518 section 6, RFC 8037), or
// says why it cannot be used.
func publicKey(m map[string]any) (crypto.PublicKey, string) {
	switch m["kty"] {
	case "RSA":
		return rsaKey(m)
	case "EC":
		return ecKey(m)
	case "OKP":
		x, err := member(m, "x")
		if m["crv"] != "Ed25519" || err != nil || len(x) != ed25519.PublicKeySize {
			return nil, "not an Ed25519 key"
		}
		if smallOrder(x) {
			return nil, "the Ed25519 key is of small order"
		}
		return ed25519.PublicKey(x), ""
	}
	return nil, "unknown key type"
}

func rsaKey(m map[string]any) (crypto.PublicKey, string) {
	n, err := member(m, "n")
	if err != nil {
		return nil, "n is malformed"
	}
	e, err := member(m, "e")
	if err != nil || len(e) == 0 || len(e) > 4 {
		return nil, "e is malformed"
	}
	// The size comes before any arithmetic on the number.
	modulus := new(big.Int).SetBytes(n)
	if bits := modulus.BitLen(); bits < minRSA || bits > maxRSA {
		return nil, "the RSA key's size is out of bounds"
	}
	exponent := new(big.Int).SetBytes(e).Int64()
	// e = 1 makes every signature valid; an even modulus or exponent is no RSA.
	if exponent < 3 || exponent%2 == 0 || exponent > 1<<31-1 || modulus.Bit(0) == 0 {
		return nil, "the RSA key's numbers are weak"
	}
	return &rsa.PublicKey{N: modulus, E: int(exponent)}, ""
}

func ecKey(m map[string]any) (crypto.PublicKey, string) {
	var curve elliptic.Curve
	switch m["crv"] {
	case "P-256":
		curve = elliptic.P256()
	case "P-384":
		curve = elliptic.P384()
	case "P-521":
		curve = elliptic.P521()
	default:
		return nil, "unknown curve"
	}
	size := (curve.Params().BitSize + 7) / 8
	x, errX := member(m, "x")
	y, errY := member(m, "y")
	if errX != nil || errY != nil || len(x) != size || len(y) != size {
		return nil, "a coordinate is malformed"
	}
	// The parser refuses a point that is not on the curve.
	k, err := ecdsa.ParseUncompressedPublicKey(curve, slices.Concat([]byte{4}, x, y))
	if err != nil {
		return nil, "the point is not on the curve"
	}
	return k, ""
}

func member(m map[string]any, name string) ([]byte, error) {
	s, ok := m[name].(string)
	if !ok {
		return nil, errors.New("missing")
	}
	return segment(s)
}

// fits reports whether alg is an algorithm for this kind of key. For ECDSA the
// curve belongs to the algorithm (RFC 7518 section 3.4).
func fits(alg string, public crypto.PublicKey) bool {
	switch k := public.(type) {
	case *rsa.PublicKey:
		return strings.HasPrefix(alg, "RS") || strings.HasPrefix(alg, "PS")
	case *ecdsa.PublicKey:
		switch alg {
		case "ES256":
			return k.Curve == elliptic.P256()
		case "ES384":
			return k.Curve == elliptic.P384()
		case "ES512":
			return k.Curve == elliptic.P521()
		}
	case ed25519.PublicKey:
		return alg == "EdDSA"
	}
	return false
}

// algorithms are all that a provider may allow. Symmetric ones, "none" and
// encryption do not exist here, so that no configuration can bring them back
// (RFC 8725 sections 2.1 and 3.1).
func algorithms() []string {
	return []string{"RS256", "RS384", "RS512", "PS256", "PS384", "PS512", "ES256", "ES384", "ES512", "EdDSA"}
}

var errSignature = errors.New("the signature does not verify")

// verifySignature checks sig over signed. The key was chosen to fit alg.
func verifySignature(alg string, public crypto.PublicKey, signed string, sig []byte) error {
	if k, ok := public.(ed25519.PublicKey); ok && alg == "EdDSA" {
		if !ed25519.Verify(k, []byte(signed), sig) {
			return errSignature
		}
		return nil
	}
	hash, err := hashOf(alg)
	if err != nil {
		return err
	}
	h := hash.New()
	h.Write([]byte(signed))
	digest := h.Sum(nil)
	switch k := public.(type) {
	case *rsa.PublicKey:
		if strings.HasPrefix(alg, "PS") {
			// RFC 7518 section 3.5: the salt is as long as the hash.
			err = rsa.VerifyPSS(k, hash, digest, sig, &rsa.PSSOptions{SaltLength: rsa.PSSSaltLengthEqualsHash})
		} else {
			err = rsa.VerifyPKCS1v15(k, hash, digest, sig)
		}
		if err != nil {
			return errSignature
		}
		return nil
	case *ecdsa.PublicKey:
		size := (k.Curve.Params().BitSize + 7) / 8
		if len(sig) != 2*size {
			return errSignature
		}
		r, s := new(big.Int).SetBytes(sig[:size]), new(big.Int).SetBytes(sig[size:])
		// Zero values are refused by Verify (CVE-2022-21449).
		if !ecdsa.Verify(k, digest, r, s) {
			return errSignature
		}
		return nil
	}
	return errSignature
}

func hashOf(alg string) (crypto.Hash, error) {
	if len(alg) == 5 {
		switch alg[2:] {
		case "256":
			return crypto.SHA256, nil
		case "384":
			return crypto.SHA384, nil
		case "512":
			return crypto.SHA512, nil
		}
	}
	return 0, errors.New("no hash for this algorithm")
}

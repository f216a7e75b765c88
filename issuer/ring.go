package issuer

import (
	"context"
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rsa"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"time"
)

// Alg is a JWS algorithm (RFC 7518 section 3.1) that we sign with. There is no
// EdDSA: kube-apiserver refuses it, and MinIO drops a whole key set for it.
type Alg string

// The algorithms. A ring always has both.
const (
	RS256 Alg = "RS256" // for clouds
	ES256 Alg = "ES256" // for jwt targets and checkpoints
)

// State says what a key is for.
type State string

// The states of a key, in the order of its life. All three are published.
const (
	Next    State = "next"    // published before its use, so that relying parties know it in time
	Active  State = "active"  // signs
	Retired State = "retired" // signs no more; what it signed is still in use
)

// Errors about rings and keys. They are wrapped with what is wrong.
var (
	ErrRing       = errors.New("issuer: unusable ring")       // Ring.Validate
	ErrWeakKey    = errors.New("issuer: weak key")            // CheckStrength
	ErrNoKeys     = errors.New("issuer: no keys yet")         // of a Store that was never saved to: generate
	ErrUnknownKey = errors.New("issuer: no such key")         // Revoke
	ErrNoNext     = errors.New("issuer: no next key to take") // Rotate, Revoke
)

// Key is one signing key. Its signer may be in memory or in a KMS.
type Key struct {
	KID       string // always KeyID of the public key
	Alg       Alg
	State     State
	Signer    crypto.Signer
	Published time.Time // when relying parties could first see it
	Activated time.Time // zero while it is next
	Retired   time.Time // zero until it is retired
}

// InSoftware reports whether the private key is in the memory of this process,
// and not in a KMS or an HSM.
func (k Key) InSoftware() bool {
	switch k.Signer.(type) {
	case *rsa.PrivateKey, *ecdsa.PrivateKey:
		return true
	default:
		return false
	}
}

// Ring is all keys of an issuer: an immutable value. Its methods return a new
// Ring and leave the old one alone.
type Ring struct {
	Keys []Key
	// Changed is when the ring last became another one, where its store knows: a key
	// that is gone leaves no other trace.
	Changed time.Time
}

// Store keeps the ring. Load returns ErrNoKeys, wrapped, if there never was one.
// Save replaces the whole ring atomically: a reader sees the old or the new one.
type Store interface {
	Load(ctx context.Context) (Ring, error)
	Save(ctx context.Context, r Ring) error
}

// Bounds of an RSA modulus in bits. Below 2048 RFC 7518 section 3.3 forbids it;
// above 8192 relying parties refuse it, for it burns their CPU (CVE-2023-29409).
const (
	minRSABits = 2048
	maxRSABits = 8192
)

// maxKeys bounds a ring. Two keys of each algorithm are usual, a few more are
// retired; AWS takes no more than 100 of each kind.
const maxKeys = 50

// Validate returns nil if an Issuer can speak with this ring: exactly one active
// key and at most one next key of each algorithm, strong keys, each with its own
// key id. The error wraps ErrRing or ErrWeakKey.
func (r Ring) Validate() error {
	if len(r.Keys) > maxKeys {
		return fmt.Errorf("%w: more than %d keys", ErrRing, maxKeys)
	}
	type slot struct {
		alg   Alg
		state State
	}
	seen := make(map[string]bool, len(r.Keys))
	count := make(map[slot]int, 2)
	for _, k := range r.Keys {
		if err := k.validate(); err != nil {
			return err
		}
		// One kid for two keys would let a relying party check with the wrong one.
		if seen[k.KID] {
			return fmt.Errorf("%w: key %s is there twice", ErrRing, k.KID)
		}
		seen[k.KID] = true
		count[slot{k.Alg, k.State}]++
	}
	for _, alg := range algs() {
		if n := count[slot{alg, Active}]; n != 1 {
			return fmt.Errorf("%w: %d active %s keys, must be 1", ErrRing, n, alg)
		}
		if n := count[slot{alg, Next}]; n > 1 {
			return fmt.Errorf("%w: %d next %s keys, must be 1", ErrRing, n, alg)
		}
	}
	return nil
}

func (k Key) validate() error {
	if k.Signer == nil {
		return fmt.Errorf("%w: key %q has no signer", ErrRing, k.KID)
	}
	alg, err := CheckStrength(k.Signer.Public())
	if err != nil {
		return fmt.Errorf("key %q: %w", k.KID, err)
	}
	kid, err := KeyID(k.Signer.Public())
	if err != nil {
		return err
	}
	switch {
	case k.Alg != alg:
		return fmt.Errorf("%w: key %q is for %s, not for %q", ErrRing, k.KID, alg, k.Alg)
	case k.KID != kid:
		// A swapped file would otherwise sign under another key's name.
		return fmt.Errorf("%w: key %q must be named %s", ErrRing, k.KID, kid)
	case k.Published.IsZero():
		return fmt.Errorf("%w: key %s has no time of publication", ErrRing, k.KID)
	}
	switch k.State {
	case Next:
		if !k.Activated.IsZero() || !k.Retired.IsZero() {
			return fmt.Errorf("%w: next key %s was already used", ErrRing, k.KID)
		}
	case Active:
		if k.Activated.IsZero() || !k.Retired.IsZero() {
			return fmt.Errorf("%w: active key %s must have a time of activation and none of retirement", ErrRing, k.KID)
		}
	case Retired:
		// Without it nobody knows how long the key must stay published.
		if k.Retired.IsZero() {
			return fmt.Errorf("%w: retired key %s has no time of retirement", ErrRing, k.KID)
		}
	default:
		return fmt.Errorf("%w: key %s has the unknown state %q", ErrRing, k.KID, k.State)
	}
	return nil
}

// CheckStrength returns the one algorithm that a public key signs with. The
// error wraps ErrWeakKey for anything but RSA of 2048 to 8192 bits with an odd
// exponent above 1, and ECDSA on P-256.
func CheckStrength(pub crypto.PublicKey) (Alg, error) {
	switch p := pub.(type) {
	case *rsa.PublicKey:
		if p.N == nil {
			return "", fmt.Errorf("%w: RSA without a modulus", ErrWeakKey)
		}
		// The size comes first: no arithmetic on a huge number.
		if bits := p.N.BitLen(); bits < minRSABits || bits > maxRSABits {
			return "", fmt.Errorf("%w: RSA of %d bits, must be %d to %d", ErrWeakKey, bits, minRSABits, maxRSABits)
		}
		// With e = 1 the signature is the message; an even e or n is no RSA key at all.
		if p.E < 3 || p.E%2 == 0 || p.N.Bit(0) == 0 {
			return "", fmt.Errorf("%w: RSA with exponent %d or an even modulus", ErrWeakKey, p.E)
		}
		return RS256, nil
	case *ecdsa.PublicKey:
		if p.Curve != elliptic.P256() {
			return "", fmt.Errorf("%w: an elliptic curve other than P-256", ErrWeakKey)
		}
		if _, err := p.Bytes(); err != nil {
			return "", fmt.Errorf("%w: a point that is not on P-256", ErrWeakKey)
		}
		return ES256, nil
	default:
		return "", fmt.Errorf("%w: %T, must be RSA or ECDSA on P-256", ErrWeakKey, pub)
	}
}

// KeyID is the key id of a public key: the first 128 bits of its RFC 7638
// thumbprint, in hex, so that it is a file name and an argument everywhere.
func KeyID(pub crypto.PublicKey) (string, error) {
	m, err := members(pub)
	if err != nil {
		return "", err
	}
	sum := sha256.Sum256(m.canonical())
	return hex.EncodeToString(sum[:16]), nil
}

// Find returns the key with this id.
func (r Ring) Find(kid string) (Key, bool) {
	for _, k := range r.Keys {
		if k.KID == kid {
			return k, true
		}
	}
	return Key{}, false
}

func (r Ring) find(alg Alg, s State) (Key, bool) {
	for _, k := range r.Keys {
		if k.Alg == alg && k.State == s {
			return k, true
		}
	}
	return Key{}, false
}

func (r Ring) clone() Ring {
	return Ring{Keys: append([]Key(nil), r.Keys...), Changed: r.Changed}
}

func algs() []Alg { return []Alg{RS256, ES256} }

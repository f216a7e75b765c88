package replay

import (
	"crypto/aes"
	"crypto/cipher"
	"crypto/hkdf"
	"crypto/sha256"
	"encoding/base64"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"strings"
	"time"
)

// NonceLife is how long a nonce is good for.
const NonceLife = 5 * time.Minute

const (
	noncePrefix = "cn1."
	// maxNonce bounds a nonce before it is decoded; ours are at most 142 bytes.
	maxNonce = 256
	saltSize = 16
	// nonceSkew is how far the clocks of two replicas may be apart.
	nonceSkew = 30 * time.Second
)

// ErrNonce says that a nonce is none of ours, is too old, or is for another
// identity provider. It says no more: whoever tries nonces learns nothing.
var ErrNonce = errors.New("replay: not a nonce of ours, or no longer")

// Nonces makes and opens nonces. A nonce is its own memory: its end and the
// identity provider that it is for are sealed in it under a key that all replicas
// share, so to hand one out costs no write, and any replica opens it. That it is
// used once is the replay store's work. The zero value opens nothing.
type Nonces struct {
	key  []byte
	rand io.Reader
}

// NewNonces seals under this key, of 32 bytes.
func NewNonces(key [32]byte, rand io.Reader) *Nonces {
	return &Nonces{key: key[:], rand: rand}
}

// Seal makes a nonce that is good for [NonceLife], for tokens of this identity
// provider, or of any where provider is "". It is text of at most 256 bytes that
// a URL's query takes as it is.
func (n *Nonces) Seal(provider string, now time.Time) (string, error) {
	salt := make([]byte, saltSize)
	if _, err := io.ReadFull(n.rand, salt); err != nil {
		return "", fmt.Errorf("replay: nonce: %w", err)
	}
	aead, err := n.aead(salt)
	if err != nil {
		return "", err
	}
	plain := binary.BigEndian.AppendUint64(nil, uint64(now.Add(NonceLife).Unix())) //nolint:gosec // times after 1970
	plain = append(plain, provider...)
	// Each key seals one text, so the AEAD's own nonce may be constant.
	sealed := aead.Seal(salt, make([]byte, aead.NonceSize()), plain, []byte(noncePrefix)) //nolint:gosec // see above: one text a key
	return noncePrefix + base64.RawURLEncoding.EncodeToString(sealed), nil
}

// Open checks a nonce and returns the key, in the form of Reservation.Nonce,
// under which its one use is reserved. It reserves nothing. The error is
// [ErrNonce].
func (n *Nonces) Open(nonce, provider string, now time.Time) (string, error) {
	text, ours := strings.CutPrefix(nonce, noncePrefix)
	if n == nil || len(n.key) == 0 || !ours || len(nonce) > maxNonce || strings.ContainsAny(text, "\r\n") {
		return "", ErrNonce
	}
	// Strict: a nonce that could be written in two ways would be used twice.
	raw, err := base64.RawURLEncoding.Strict().DecodeString(text)
	if err != nil || len(raw) < saltSize {
		return "", ErrNonce
	}
	aead, err := n.aead(raw[:saltSize])
	if err != nil {
		return "", err
	}
	plain, err := aead.Open(nil, make([]byte, aead.NonceSize()), raw[saltSize:], []byte(noncePrefix))
	if err != nil || len(plain) < 8 {
		return "", ErrNonce
	}
	end := time.Unix(int64(binary.BigEndian.Uint64(plain)), 0) //nolint:gosec // sealed by us
	if !now.Before(end) || end.After(now.Add(NonceLife+nonceSkew)) {
		return "", ErrNonce
	}
	// Whoever runs one identity provider could else spend the nonces of another's
	// workloads.
	if bound := string(plain[8:]); bound != "" && bound != provider {
		return "", ErrNonce
	}
	sum := sha256.Sum256([]byte("nonce\x00" + nonce))
	return base64.RawURLEncoding.EncodeToString(sum[:]), nil
}

// aead is the cipher for one salt. A key of its own for each nonce lifts the
// bound on how many may be sealed at random.
func (n *Nonces) aead(salt []byte) (cipher.AEAD, error) {
	key, err := hkdf.Key(sha256.New, n.key, salt, "cambio nonce v1", 32)
	if err != nil {
		return nil, fmt.Errorf("replay: nonce: %w", err)
	}
	block, err := aes.NewCipher(key)
	if err != nil {
		return nil, fmt.Errorf("replay: nonce: %w", err)
	}
	return cipher.NewGCM(block)
}

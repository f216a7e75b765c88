package replay

import (
	"encoding/base64"
	"encoding/hex"
	"fmt"
)

// tokenKey is a SHA-256.
type tokenKey [32]byte

// decisionID is a UUID.
type decisionID [16]byte

// parse reads a key and a decision. Strict: a key that could be written in two
// ways would be two keys, and so two uses.
func parse(key, decision string) (k tokenKey, d decisionID, err error) {
	b, err := base64.RawURLEncoding.Strict().DecodeString(key)
	if err != nil || len(b) != len(k) || len(key) != base64.RawURLEncoding.EncodedLen(len(k)) {
		return k, d, fmt.Errorf("%w: the key is not a base64url SHA-256", ErrInvalid)
	}
	copy(k[:], b)
	if decision == "" {
		return k, d, nil
	}
	if d, err = parseDecision(decision); err != nil {
		return k, d, err
	}
	return k, d, nil
}

// parseDecision reads a UUID (RFC 9562 section 4) in lower case.
func parseDecision(s string) (d decisionID, err error) {
	if len(s) != 36 || s[8] != '-' || s[13] != '-' || s[18] != '-' || s[23] != '-' {
		return d, fmt.Errorf("%w: the decision is not a UUID", ErrInvalid)
	}
	var compact [32]byte
	n := 0
	for i := range len(s) {
		if i == 8 || i == 13 || i == 18 || i == 23 {
			continue
		}
		compact[n] = s[i]
		n++
	}
	if _, err := hex.Decode(d[:], compact[:]); err != nil || d.String() != s {
		return decisionID{}, fmt.Errorf("%w: the decision is not a UUID", ErrInvalid)
	}
	return d, nil
}

// String is the UUID, or nothing for the zero value.
func (d decisionID) String() string {
	if d == (decisionID{}) {
		return ""
	}
	b := make([]byte, 0, 36)
	b = hex.AppendEncode(b, d[:4])
	b = hex.AppendEncode(append(b, '-'), d[4:6])
	b = hex.AppendEncode(append(b, '-'), d[6:8])
	b = hex.AppendEncode(append(b, '-'), d[8:10])
	return string(hex.AppendEncode(append(b, '-'), d[10:]))
}

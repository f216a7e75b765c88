package exchange

import (
	"encoding/hex"
	"io"
	"regexp"
	"strings"
	"time"
)

// NewID returns a UUIDv7 (RFC 9562 section 5.7): decisions sort by time. It
// panics when there is no randomness to be had, because every later answer
// would be guessable.
func NewID(now time.Time, rand io.Reader) string {
	var u [16]byte
	if _, err := io.ReadFull(rand, u[6:]); err != nil {
		panic("exchange: no randomness: " + err.Error())
	}
	ms := now.UnixMilli()
	for i := range 6 {
		u[i] = byte(ms >> (40 - 8*i)) //nolint:gosec // the cut is meant: one byte of the 48 bits
	}
	u[6] = u[6]&0x0f | 0x70
	u[8] = u[8]&0x3f | 0x80
	var out [36]byte
	hex.Encode(out[:8], u[:4])
	hex.Encode(out[9:13], u[4:6])
	hex.Encode(out[14:18], u[6:8])
	hex.Encode(out[19:23], u[8:10])
	hex.Encode(out[24:], u[10:])
	out[8], out[13], out[18], out[23] = '-', '-', '-', '-'
	return string(out[:])
}

// joinScopes writes scopes as RFC 6749 section 3.3 does.
func joinScopes(scopes []string) string { return strings.Join(scopes, " ") }

// tokenLike is a JWS, or the beginning of one: "eyJ" is how base64url writes the
// `{"` that each header begins with.
var tokenLike = regexp.MustCompile(`eyJ[A-Za-z0-9_-]{5,}(?:\.[A-Za-z0-9_-]*)*`)

// told is a parameter as the journal may hold it. Callers put tokens where names
// belong, and whoever reads the journal must not find one that is still good.
func told(parameter string) string {
	if !strings.Contains(parameter, "eyJ") {
		return parameter
	}
	return tokenLike.ReplaceAllString(parameter, "[token]")
}

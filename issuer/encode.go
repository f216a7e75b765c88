package issuer

import (
	"encoding/json"
	"fmt"
	"maps"
	"math"
	"slices"
	"strconv"
	"unicode/utf8"
)

// maxPayload bounds the claims in bytes: the token then stays below 12 KiB, and
// below the 16 KiB that we ourselves take. Larger ones fail in headers of proxies.
const maxPayload = 8 << 10

// maxDepth bounds the nesting of a mapped claim: none that platforms send is
// deeper than 3.
const maxDepth = 8

// maxNumber bounds the digits of a number: no int64 or double needs more.
const maxNumber = 32

// appendClaims writes the payload. The fixed members are written by hand: this
// is on the path of every exchange.
func appendClaims(b []byte, quotedIssuer string, c *Claims) ([]byte, error) {
	if err := c.check(); err != nil {
		return nil, err
	}
	iat, exp := c.IssuedAt.Unix(), c.Expires.Unix()
	b = append(b, `{"iss":`...)
	b = append(b, quotedIssuer...)
	b = append(b, `,"sub":`...)
	b = appendString(b, c.Subject)
	b = append(b, `,"aud":`...)
	b = appendString(b, c.Audience)
	b = append(b, `,"exp":`...)
	b = strconv.AppendInt(b, exp, 10)
	b = append(b, `,"iat":`...)
	b = strconv.AppendInt(b, iat, 10)
	b = append(b, `,"nbf":`...)
	b = strconv.AppendInt(b, iat-notBefore, 10)
	b = append(b, `,"jti":`...)
	b = appendString(b, c.ID)
	if c.Scope != "" {
		b = append(b, `,"scope":`...)
		b = appendString(b, c.Scope)
	}
	if c.ClientID != "" {
		b = append(b, `,"client_id":`...)
		b = appendString(b, c.ClientID)
	}
	if len(c.Extra) > 0 {
		for _, name := range slices.Sorted(maps.Keys(c.Extra)) {
			// A mapped claim named like one of ours would win in a parser that takes the last.
			if name == "" || ReservedClaim(name) {
				return nil, fmt.Errorf("%w: the claim %q is reserved", ErrClaims, name)
			}
			var err error
			if b, err = appendMember(append(b, ','), name, c.Extra[name], maxDepth); err != nil {
				return nil, err
			}
		}
	}
	b = append(b, '}')
	if len(b) > maxPayload {
		return nil, tooLarge()
	}
	return b, nil
}

// check refuses claims that say too little, too much or nothing definite.
func (c *Claims) check() error {
	for _, s := range []struct{ name, value string }{
		{"sub", c.Subject}, {"aud", c.Audience}, {"jti", c.ID}, {"scope", c.Scope}, {"client_id", c.ClientID},
	} {
		if len(s.value) > maxPayload {
			return tooLarge()
		}
		// Encoders replace what is not UTF-8, and two subjects would become one.
		if !utf8.ValidString(s.value) {
			return fmt.Errorf("%w: %s is not UTF-8", ErrClaims, s.name)
		}
	}
	life := c.Expires.Unix() - c.IssuedAt.Unix()
	switch {
	case c.Type != JWT && c.Type != AccessToken:
		return fmt.Errorf("%w: typ %q", ErrClaims, string(c.Type))
	case c.Subject == "" || c.Audience == "" || c.ID == "":
		return fmt.Errorf("%w: sub, aud and jti are required", ErrClaims)
	case (c.Type == AccessToken) != (c.ClientID != ""):
		return fmt.Errorf("%w: client_id belongs to %s and to nothing else", ErrClaims, AccessToken)
	case c.IssuedAt.Unix() <= notBefore:
		return fmt.Errorf("%w: iat is missing", ErrClaims)
	case life <= 0 || life > int64(MaxLifetime.Seconds()):
		// The last line of defence: no bug above may make a token that lives for ever.
		return fmt.Errorf("%w: a lifetime of %d s, must be 1 to %d", ErrClaims, life, int64(MaxLifetime.Seconds()))
	}
	return nil
}

func tooLarge() error {
	return fmt.Errorf("%w: more than %d bytes", ErrClaims, maxPayload)
}

func appendMember(b []byte, name string, v any, depth int) ([]byte, error) {
	if !utf8.ValidString(name) {
		return nil, fmt.Errorf("%w: a claim's name is not UTF-8", ErrClaims)
	}
	b = append(appendString(b, name), ':')
	return appendValue(b, name, v, depth)
}

// appendValue writes a mapped claim. What JSON cannot say exactly is refused.
func appendValue(b []byte, name string, v any, depth int) ([]byte, error) {
	if depth == 0 {
		return nil, fmt.Errorf("%w: %q is nested more than %d deep", ErrClaims, name, maxDepth)
	}
	if len(b) > maxPayload {
		return nil, tooLarge()
	}
	var err error
	switch v := v.(type) {
	case nil:
		return append(b, "null"...), nil
	case bool:
		return strconv.AppendBool(b, v), nil
	case string:
		if len(v) > maxPayload {
			return nil, tooLarge()
		}
		if !utf8.ValidString(v) {
			return nil, fmt.Errorf("%w: %q is not UTF-8", ErrClaims, name)
		}
		return appendString(b, v), nil
	case int:
		return strconv.AppendInt(b, int64(v), 10), nil
	case int64:
		return strconv.AppendInt(b, v, 10), nil
	case uint64:
		return strconv.AppendUint(b, v, 10), nil
	case float64:
		if math.IsNaN(v) || math.IsInf(v, 0) {
			return nil, fmt.Errorf("%w: %q is not a number", ErrClaims, name)
		}
		return appendMarshal(b, name, v)
	case json.Number:
		if v == "" || len(v) > maxNumber { // encoding/json takes the empty one for 0
			return nil, fmt.Errorf("%w: %q is not a number", ErrClaims, name)
		}
		return appendMarshal(b, name, v) // checks that it is a number
	case []string:
		b = append(b, '[')
		for i, e := range v {
			if i > 0 {
				b = append(b, ',')
			}
			if b, err = appendValue(b, name, e, depth-1); err != nil {
				return nil, err
			}
		}
		return append(b, ']'), nil
	case []any:
		b = append(b, '[')
		for i, e := range v {
			if i > 0 {
				b = append(b, ',')
			}
			if b, err = appendValue(b, name, e, depth-1); err != nil {
				return nil, err
			}
		}
		return append(b, ']'), nil
	case map[string]any:
		b = append(b, '{')
		for i, key := range slices.Sorted(maps.Keys(v)) {
			if i > 0 {
				b = append(b, ',')
			}
			if b, err = appendMember(b, key, v[key], depth-1); err != nil {
				return nil, err
			}
		}
		return append(b, '}'), nil
	default:
		return nil, fmt.Errorf("%w: %q is a %T", ErrClaims, name, v)
	}
}

func appendMarshal(b []byte, name string, v any) ([]byte, error) {
	out, err := json.Marshal(v)
	if err != nil {
		return nil, fmt.Errorf("%w: %q is not a number", ErrClaims, name)
	}
	return append(b, out...), nil
}

// appendString writes a JSON string (RFC 8259 section 7). The caller has checked
// that it is UTF-8.
func appendString(b []byte, s string) []byte {
	const digits = "0123456789abcdef"
	b = append(b, '"')
	start := 0
	for i := range len(s) {
		c := s[i]
		if c >= 0x20 && c != '"' && c != '\\' {
			continue
		}
		b = append(b, s[start:i]...)
		start = i + 1
		if c < 0x20 {
			b = append(b, '\\', 'u', '0', '0', digits[c>>4], digits[c&15])
		} else {
			b = append(b, '\\', c)
		}
	}
	return append(append(b, s[start:]...), '"')
}

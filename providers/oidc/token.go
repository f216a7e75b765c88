package oidc

import (
	"encoding/base64"
	"errors"
	"fmt"
	"strings"
	"unicode"

	"cambio/exchange"
	"cambio/trust"
)

// maxToken bounds a token before a byte of it is read. The largest that the
// platforms send is about 4 KiB.
const maxToken = 16 << 10

// maxKid bounds the key id; real ones are below 100 bytes.
const maxKid = 256

// token is a compact JWS (RFC 7515 section 7.1) in its one canonical form, not
// yet verified.
type token struct {
	raw     string
	signed  string // header.payload, what the signature covers
	alg     string // "" where the header has none: no provider allows it
	kid     string // "" where the header has none
	typ     string
	payload []byte
	sig     []byte // may be empty here: an unsecured JWS is refused by its alg
	claims  map[string]any
}

// parseToken reads a token without believing it. The error is an exchange.Error
// with too-large, malformed, duplicate-member or header-param-forbidden.
func parseToken(raw string) (*token, error) {
	if len(raw) > maxToken {
		return nil, exchange.Refuse(trust.ReasonTooLarge, nil)
	}
	// Dots are counted before anything is split: splitting a text of a million
	// dots costs a hundred times its size (CVE-2025-30204). A JWE has four.
	if strings.Count(raw, ".") != 2 {
		return nil, malformed(errors.New("not three segments"))
	}
	head, rest, _ := strings.Cut(raw, ".")
	body, sig, _ := strings.Cut(rest, ".")
	t := &token{raw: raw, signed: raw[:len(head)+1+len(body)]}
	header, err := segment(head)
	if err != nil {
		return nil, malformed(err)
	}
	if t.payload, err = segment(body); err != nil {
		return nil, malformed(err)
	}
	if t.sig, err = segment(sig); err != nil {
		return nil, malformed(err)
	}
	if err := t.readHeader(header); err != nil {
		return nil, err
	}
	if t.claims, err = parseObject(t.payload, tokenLimits()); err != nil {
		return nil, malformed(err)
	}
	return t, nil
}

// malformed turns a parse error into its refusal.
func malformed(err error) *exchange.Error {
	if errors.Is(err, errDuplicate) {
		return exchange.Refuse(trust.ReasonDuplicateMember, err)
	}
	return exchange.Refuse(trust.ReasonMalformed, err)
}

// segment decodes raw base64url in its canonical spelling only. The standard
// decoder skips CR and LF, also when strict, so that one token would have many
// spellings.
func segment(s string) ([]byte, error) {
	if strings.IndexByte(s, '\n') >= 0 || strings.IndexByte(s, '\r') >= 0 {
		return nil, errors.New("a line break in base64url")
	}
	b, err := base64.RawURLEncoding.Strict().DecodeString(s)
	if err != nil {
		return nil, errors.New("not canonical base64url")
	}
	return b, nil
}

// forbidden reports header parameters that bring a key of the sender's choice,
// change what is signed, or need an understanding that we do not have
// (RFC 7515 sections 4.1.2 to 4.1.6 and 4.1.11, RFC 7797).
func forbidden(param string) bool {
	switch param {
	case "crit", "b64", "zip", "enc", "jku", "jwk", "x5u", "x5c":
		return true
	}
	return false
}

func (t *token) readHeader(b []byte) error {
	header, err := parseObject(b, tokenLimits())
	if err != nil {
		return malformed(err)
	}
	for name := range header {
		if forbidden(name) {
			return exchange.Refuse(trust.ReasonHeaderForbidden, fmt.Errorf("header parameter %s", name))
		}
	}
	var ok bool
	if alg, has := header["alg"]; has {
		if t.alg, ok = alg.(string); !ok {
			return malformed(errors.New("alg is not a string"))
		}
	}
	if typ, has := header["typ"]; has {
		if t.typ, ok = typ.(string); !ok || t.typ == "" {
			return malformed(errors.New("typ is not a string"))
		}
	}
	if kid, has := header["kid"]; has {
		// An empty kid would look like none at all.
		if t.kid, ok = kid.(string); !ok || t.kid == "" || len(t.kid) > maxKid || !printable(t.kid) {
			return malformed(errors.New("kid is not a short printable string"))
		}
	}
	return nil
}

// mediaType is the header's typ without the prefix that RFC 7515 section 4.1.9
// lets senders leave out, in lower case: "JWT" and "application/jwt" are one.
func (t *token) mediaType() string {
	return strings.TrimPrefix(strings.ToLower(t.typ), "application/")
}

// printable reports whether all of s is visible: no control, no bidirectional
// or other format character, no invisible letter. What is not can make a log
// line or a console show another identity.
func printable(s string) bool {
	for _, r := range s {
		if r >= ' ' && r < 0x7f {
			continue
		}
		if !unicode.IsPrint(r) || unicode.In(r, unicode.Other_Default_Ignorable_Code_Point, unicode.Variation_Selector) {
			return false
		}
	}
	return true
}

// cut quotes s for a log, at most max bytes of it.
func cut(s string, max int) string {
	if len(s) > max {
		s = s[:max]
	}
	return fmt.Sprintf("%q", s)
}

package issuer

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/rsa"
	"crypto/sha256"
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"time"
)

// Type is the typ of a JWT's header (RFC 7519 section 5.1).
type Type string

// The types. The zero value is refused.
const (
	JWT         Type = "JWT"    // a valid JWT-SVID, if the subject is a SPIFFE ID
	AccessToken Type = "at+jwt" // RFC 9068, carries client_id
)

// ErrClaims is wrapped by every error of Sign that lies in the claims.
var ErrClaims = errors.New("issuer: claims that we do not sign")

// Claims is what a JWT of ours says, besides our iss. Times are cut to whole
// seconds; nbf is 30 s before IssuedAt.
type Claims struct {
	Type     Type
	Subject  string
	Audience string
	IssuedAt time.Time
	Expires  time.Time // at most MaxLifetime after IssuedAt
	ID       string    // jti, of NewID
	Scope    string    // left out if empty
	ClientID string    // of an AccessToken, and only of one

	// Extra holds further claims. A name that ReservedClaim knows is refused.
	// Values are strings, booleans, numbers, nil, and slices ([]any, []string) and
	// maps (map[string]any) of them.
	Extra map[string]any
}

// notBefore is how long before its iat a token is valid, for relying parties
// whose clocks are behind ours.
const notBefore = 30 // seconds

// ReservedClaim reports whether a claim must not be mapped from outside. The
// first are those that we set; the others say things about the caller that we
// would then vouch for: who acts for him, which key is his, how he logged in
// (CVE-2024-29892 let users set claims that the product itself trusted).
func ReservedClaim(name string) bool {
	switch name {
	case "iss", "sub", "aud", "exp", "iat", "nbf", "jti", "scope", "client_id":
		return true
	case "scp", "azp", "act", "may_act", "cnf", "nonce", "auth_time", "acr", "amr", "at_hash", "c_hash", "sid", "events", "sub_id":
		return true
	default:
		return false
	}
}

// speaker is an active key with its headers, encoded once.
type speaker struct {
	kid    string
	alg    Alg
	signer crypto.Signer
	local  bool   // in memory; else the signature is verified before it leaves
	jwt    string // base64url header and the dot, typ JWT
	at     string // the same, typ at+jwt
}

func newSpeaker(k Key) speaker {
	s := speaker{kid: k.KID, alg: k.Alg, signer: k.Signer, local: k.InSoftware()}
	header := func(t Type) string {
		// A kid is hex and the rest is constant: nothing to escape.
		h := `{"alg":"` + string(k.Alg) + `","kid":"` + k.KID + `","typ":"` + string(t) + `"}`
		return base64.RawURLEncoding.EncodeToString([]byte(h)) + "."
	}
	s.jwt, s.at = header(JWT), header(AccessToken)
	return s
}

// Sign makes a compact JWS over the claims with the active key of the algorithm.
// The error wraps ErrClaims if the claims are at fault; any other means that the
// key did not sign. It does not look at the clock: the caller hands the times.
func (i *Issuer) Sign(alg Alg, c Claims) (string, error) {
	v := i.voice.Load()
	var s *speaker
	switch alg {
	case RS256:
		s = &v.rs
	case ES256:
		s = &v.es
	default:
		return "", fmt.Errorf("%w: algorithm %q", ErrClaims, alg)
	}
	header := s.jwt
	if c.Type == AccessToken {
		header = s.at
	}
	payload, err := appendClaims(make([]byte, 0, usualPayload), i.quoted, &c)
	if err != nil {
		return "", err
	}
	enc := base64.RawURLEncoding
	token := make([]byte, 0, len(header)+enc.EncodedLen(len(payload))+1+enc.EncodedLen(usualSignature))
	token = append(token, header...)
	token = enc.AppendEncode(token, payload)
	digest := sha256.Sum256(token)
	sig, err := s.sign(i.rand, digest[:])
	if err != nil {
		return "", err
	}
	token = append(token, '.')
	if alg == ES256 {
		var raw [64]byte
		if err := rawECDSA(&raw, sig); err != nil {
			return "", err
		}
		return string(enc.AppendEncode(token, raw[:])), nil
	}
	return string(enc.AppendEncode(token, sig)), nil
}

// usualPayload is room for the claims of most tokens.
const usualPayload = 1 << 10

// usualSignature is room for a signature of RSA-2048, the usual one.
const usualSignature = 256

// SignCheckpoint signs a journal's checkpoint with the active ES256 key: ECDSA
// over SHA-256, ASN.1 DER. The caller's text begins with a prefix of its own; a
// text that could be the signing input of a JWS is refused, or a checkpoint could
// be passed off as a token.
func (i *Issuer) SignCheckpoint(text []byte) (kid string, sig []byte, err error) {
	if likeJWS(text) {
		return "", nil, fmt.Errorf("%w: a checkpoint that looks like a token", ErrClaims)
	}
	s := &i.voice.Load().es
	digest := sha256.Sum256(text)
	sig, err = s.sign(i.rand, digest[:])
	if err != nil {
		return "", nil, err
	}
	return s.kid, sig, nil
}

// likeJWS reports whether a text has only the bytes of a compact JWS.
func likeJWS(text []byte) bool {
	for _, b := range text {
		switch {
		case 'A' <= b && b <= 'Z', 'a' <= b && b <= 'z', '0' <= b && b <= '9', b == '-', b == '_', b == '.':
		default:
			return false
		}
	}
	return true
}

func (s *speaker) sign(random io.Reader, digest []byte) ([]byte, error) {
	sig, err := s.signer.Sign(random, digest, crypto.SHA256)
	if err != nil {
		return nil, fmt.Errorf("issuer: sign with key %s: %w", s.kid, err)
	}
	if s.local {
		return sig, nil
	}
	// A fault in a KMS, or on the way to it, can give a wrong signature that
	// betrays the key (RSA-CRT) or is refused by everyone. Go checks its own.
	ok := false
	switch p := s.signer.Public().(type) {
	case *rsa.PublicKey:
		ok = rsa.VerifyPKCS1v15(p, crypto.SHA256, digest, sig) == nil
	case *ecdsa.PublicKey:
		ok = ecdsa.VerifyASN1(p, digest, sig)
	}
	if !ok {
		return nil, fmt.Errorf("issuer: key %s signed wrongly", s.kid)
	}
	return sig, nil
}

// rawECDSA turns an ASN.1 DER signature on P-256 into r and s of 32 bytes each,
// which is the form of RFC 7518 section 3.4.
func rawECDSA(out *[64]byte, der []byte) error {
	// Both numbers are below 2^256, so every length fits one byte.
	bad := errors.New("issuer: the key gave no ASN.1 signature on P-256")
	if len(der) < 2 || der[0] != 0x30 || int(der[1]) != len(der)-2 {
		return bad
	}
	rest := der[2:]
	for n := range 2 {
		if len(rest) < 2 || rest[0] != 0x02 || int(rest[1]) > len(rest)-2 || rest[1] == 0 {
			return bad
		}
		number := rest[2 : 2+int(rest[1])]
		rest = rest[2+len(number):]
		if len(number) > 1 && number[0] == 0 {
			number = number[1:]
		}
		if len(number) > 32 {
			return bad
		}
		copy(out[32*n+32-len(number):32*n+32], number)
	}
	if len(rest) != 0 {
		return bad
	}
	return nil
}

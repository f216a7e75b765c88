package oidc

import (
	"crypto/sha256"
	"encoding/base64"
	"errors"
	"fmt"
	"math"
	"slices"
	"time"

	"cambio/exchange"
	"cambio/trust"
)

// maxSubject bounds sub; the longest documented ones are about 255 bytes.
const maxSubject = 1024

// maxTime is the end of the year 9999, the last that RFC 3339 can write.
const maxTime = 253402300799

// audiences reads aud without the nonces in it and without repetitions.
func audiences(claims map[string]any) []string {
	raw := rawAudiences(claims)
	list := raw[:0]
	for _, aud := range raw {
		if bare, _ := splitNonce(aud); !slices.Contains(list, bare) {
			list = append(list, bare)
		}
	}
	return list
}

// rawAudiences reads aud: a string, or a list of strings (RFC 7519 section
// 4.1.3), without repetitions. Anything else names no audience at all.
func rawAudiences(claims map[string]any) []string {
	switch aud := claims["aud"].(type) {
	case string:
		if aud != "" {
			return []string{aud}
		}
	case []any:
		var list []string
		for _, v := range aud {
			s, ok := v.(string)
			if !ok || s == "" {
				return nil
			}
			if !slices.Contains(list, s) {
				list = append(list, s)
			}
		}
		return list
	}
	return nil
}

// prove says what the claims of a token with a valid signature prove, and
// refuses it where they do not prove enough. The proof is filled as far as the
// claims allow also with an error, so that the record names whose token it was.
func (p *provider) prove(t *token, now time.Time) (exchange.Proof, error) {
	p.normalise(t.claims)
	var idErr error
	longest := maxSubject
	if p.platform.Domain != nil {
		idErr, longest = p.derive(t.claims), maxWorkload
	}
	auds := audiences(t.claims)
	nonce, nonceErr := nonceOf(t.claims)
	bareAudience(t.claims)
	proof := exchange.Proof{
		Identity: trust.Identity{
			Provider: p.Name,
			Issuer:   p.voice,
			Audience: p.ours(auds),
			Claims:   t.claims,
		},
		ClockSkew: p.ClockSkew,
		Nonce:     nonce,
	}
	if s, ok := t.claims["sub"].(string); ok && len(s) <= longest && printable(s) {
		proof.Subject = s
	}
	issued, iatErr := numericDate(t.claims, "iat")
	expires, expErr := numericDate(t.claims, "exp")
	if p.undated(t.claims) {
		// The earliest that it can have been shown here and been taken.
		issued, iatErr = expires.Add(-p.MaxLifetime), nil
	}
	proof.IssuedAt, proof.ExpiresAt = issued, expires
	var workloadErr error
	proof.Workload, workloadErr = workloadID(p.trustDomain, p.Name, p.segments, t.claims)

	// The audience is checked before the expiry: a token that was never for us
	// must not learn anything else.
	switch {
	case proof.Audience == "" && len(auds) == 0:
		return proof, exchange.Refuse(trust.ReasonAudMismatch, errors.New("aud is missing or empty"))
	case proof.Audience == "":
		e := exchange.Refuse(trust.ReasonAudMismatch, nil)
		e.Tell = fmt.Sprintf("The token's audience is not ours; ask for %s.", p.Audiences[0])
		return proof, e
	case len(auds) > 1 && !p.AllowMultiAudience:
		// Each of the other audiences could replay the token to us.
		return proof, exchange.Refuse(trust.ReasonAudMultiple, nil)
	}
	if nonceErr != nil {
		return proof, nonceErr
	}
	if expErr != nil {
		return proof, exchange.Refuse(trust.ReasonExpMissing, expErr)
	}
	if iatErr != nil {
		return proof, exchange.Refuse(trust.ReasonIatMissing, iatErr)
	}
	if err := p.current(t, issued, expires, now); err != nil {
		return proof, err
	}
	if idErr != nil {
		return proof, exchange.Refuse(trust.ReasonSPIFFEID, idErr)
	}
	if proof.Subject == "" {
		return proof, exchange.Refuse(trust.ReasonSubInvalid, nil)
	}
	for _, name := range []string{"act", "may_act"} {
		// Who acts for whom would be lost in our token (RFC 8693 section 4.1).
		if _, has := t.claims[name]; has {
			return proof, exchange.Refuse(trust.ReasonActorUnsupported, fmt.Errorf("claim %s", name))
		}
	}
	if jti, has := t.claims["jti"]; has {
		// A jti that cannot tell tokens apart would make all of them one use, or
		// none.
		id, ok := jti.(string)
		if !ok || id == "" {
			return proof, exchange.Refuse(trust.ReasonClaimInvalid, errors.New("jti is empty or not a string"))
		}
		proof.TokenID = id
	}
	proof.ReplayKey = replayKey(p.voice, proof.TokenID, t.payload)
	if p.platform.Check != nil {
		if err := p.platform.Check(t.claims); err != nil {
			return proof, exchange.Refuse(trust.ReasonClaimInvalid, err)
		}
	}
	if workloadErr != nil {
		return proof, exchange.Refuse(trust.ReasonWorkloadClaim, workloadErr)
	}
	return proof, nil
}

// current checks the times (RFC 7519 sections 4.1.4 to 4.1.6). Each limit is
// moved by the clock skew in the token's favour, but not its lifetime, which is
// a difference of two times of the same clock. At exactly exp + skew a token
// has expired; at exactly the other limits it is still good.
func (p *provider) current(t *token, issued, expires, now time.Time) error {
	if !now.Before(expires.Add(p.ClockSkew)) {
		e := exchange.Refuse(trust.ReasonExpired, nil)
		e.Tell = fmt.Sprintf("The token expired at %s.", expires.UTC().Format(time.RFC3339))
		return e
	}
	if _, has := t.claims["nbf"]; has {
		notBefore, err := numericDate(t.claims, "nbf")
		if err != nil {
			return exchange.Refuse(trust.ReasonClaimInvalid, err)
		}
		if now.Add(p.ClockSkew).Before(notBefore) {
			return exchange.Refuse(trust.ReasonNotYetValid, nil)
		}
	}
	if p.undated(t.claims) {
		// There is no age to judge by; so that a store of uses need not remember it for
		// years, its end is bounded from now.
		if expires.Sub(now) > p.MaxLifetime {
			return exchange.Refuse(trust.ReasonTooLongLived, nil)
		}
		return nil
	}
	if now.Add(p.ClockSkew).Before(issued) {
		return exchange.Refuse(trust.ReasonIatFuture, nil)
	}
	if now.Sub(issued) > p.MaxAge+p.ClockSkew {
		return exchange.Refuse(trust.ReasonTooOld, nil)
	}
	// Without this bound a replay store would have to remember a token for
	// years (CVE-2025-2559).
	if expires.Sub(issued) > p.MaxLifetime {
		return exchange.Refuse(trust.ReasonTooLongLived, nil)
	}
	return nil
}

// numericDate reads a NumericDate (RFC 7519 section 2): a JSON number, of which
// a fraction of a second is dropped. A string of digits is none.
func numericDate(claims map[string]any, name string) (time.Time, error) {
	var sec int64
	switch v := claims[name].(type) {
	case int64:
		sec = v
	case float64:
		if v < 0 || v > maxTime {
			return time.Time{}, fmt.Errorf("%s is out of range", name)
		}
		sec = int64(math.Floor(v))
	default:
		return time.Time{}, fmt.Errorf("%s is missing or not a number", name)
	}
	if sec < 0 || sec > maxTime {
		return time.Time{}, fmt.Errorf("%s is out of range", name)
	}
	return time.Unix(sec, 0).UTC(), nil
}

// ours is the provider's audience that the token names, or "".
func (p *provider) ours(auds []string) string {
	for _, a := range p.Audiences {
		if slices.Contains(auds, a) {
			return a
		}
	}
	return ""
}

// normalise puts the platform's aliases into the claims and makes booleans of
// those that it sends both ways. An alias always means its pointer: a claim of
// the token that happens to have the alias's name does not count.
func (p *provider) normalise(claims map[string]any) {
	for alias, pointer := range p.platform.Aliases {
		if v, ok := lookup(claims, pointer); ok {
			claims[alias] = v
		} else {
			delete(claims, alias)
		}
	}
	for _, name := range p.platform.BothWays {
		switch claims[name] {
		case "true":
			claims[name] = true
		case "false":
			claims[name] = false
		}
	}
}

// replayKey names a token for use-once: by issuer and jti, without a jti by
// issuer and decoded payload. Never by the compact text or the signature, of
// which one token has many (ECDSA's r, n-s is a second signature), and never by
// the provider's name, which may change while the token lives.
func replayKey(issuer, jti string, payload []byte) string {
	h := sha256.New()
	if jti != "" {
		h.Write([]byte("jti\x00" + issuer + "\x00" + jti))
	} else {
		h.Write([]byte("payload\x00" + issuer + "\x00"))
		h.Write(payload)
	}
	return base64.RawURLEncoding.EncodeToString(h.Sum(nil))
}

package oidc

import (
	"errors"
	"slices"
	"strings"

	"cambio/exchange"
	"cambio/trust"
)

// What stands between an audience and a nonce of ours, and what ours begin with:
// a token that is requested for A?nonce=cn1... has the audience A.
const (
	nonceMark   = "?nonce="
	noncePrefix = "cn1."
)

// maxNonce is the longest nonce of ours, in bytes. A longer text that begins like
// one is refused before anything is decoded.
const maxNonce = 256

// errNonce says what is wrong with the nonces of a token.
var errNonce = errors.New("the token carries two nonces, or one above 256 bytes")

// splitNonce takes an audience apart. One without a nonce of ours is whole.
func splitNonce(aud string) (audience, nonce string) {
	if i := strings.LastIndex(aud, nonceMark+noncePrefix); i > 0 {
		return aud[:i], aud[i+len(nonceMark):]
	}
	return aud, ""
}

// nonceOf finds the nonce that the token carries in aud or in the claim nonce, or
// "". Other values of the claim are the platform's own affair.
func nonceOf(claims map[string]any) (string, error) {
	var found []string
	add := func(n string) {
		if n != "" && !slices.Contains(found, n) {
			found = append(found, n)
		}
	}
	for _, aud := range rawAudiences(claims) {
		_, n := splitNonce(aud)
		add(n)
	}
	if n, ok := claims["nonce"].(string); ok && strings.HasPrefix(n, noncePrefix) {
		add(n)
	}
	// Of two, one could be fresh and the other what a thief was given.
	if len(found) > 1 || len(found) == 1 && len(found[0]) > maxNonce {
		return "", exchange.Refuse(trust.ReasonNonceInvalid, errNonce)
	}
	if len(found) == 0 {
		return "", nil
	}
	return found[0], nil
}

// bareAudience puts the audience without its nonce in the place of the whole, so
// that conditions read the same with a nonce and without.
func bareAudience(claims map[string]any) {
	switch aud := claims["aud"].(type) {
	case string:
		claims["aud"], _ = splitNonce(aud)
	case []any:
		bare := make([]any, len(aud))
		for i, v := range aud {
			bare[i] = v
			if s, ok := v.(string); ok {
				bare[i], _ = splitNonce(s)
			}
		}
		claims["aud"] = bare
	}
}

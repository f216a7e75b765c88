package main

import (
	"encoding/json"
	"fmt"
	"math"
	"time"

	"cambio/gateway"
	"cambio/trust"
)

// afterExplain is what to do where the claims themselves were refused, so that no
// document was looked at; "" where the lines above say it. The claims are as
// somebody wrote them: they are quoted.
func afterExplain(reason trust.Reason, payload []byte, name string, p gateway.IdentityProvider) string {
	var claims map[string]any
	if json.Unmarshal(payload, &claims) != nil {
		return ""
	}
	switch reason { //nolint:exhaustive // the others are told as they are
	case trust.ReasonExpired, trust.ReasonTooOld:
		if at, ok := issuedAt(claims); ok {
			return "these are the claims of a token of that time; judge them as at then: --at " + at.Format(time.RFC3339)
		}
		return "judge them as at a time when the token was good, with --at, or take iat and exp out"
	case trust.ReasonAudMismatch:
		return fmt.Sprintf("aud is %s, and identity_providers.%s takes %q: mend the one that is wrong, or take aud out to judge the rest", shownValue(claims["aud"]), name, []string(p.Audience))
	case trust.ReasonIssuerUnknown:
		takes := fmt.Sprintf("the issuer %q", p.Issuer)
		switch {
		case p.TrustDomain != "" && p.Issuer == "":
			takes = fmt.Sprintf("the trust domain %q, and no iss", p.TrustDomain)
		case p.TrustDomain != "":
			takes += fmt.Sprintf(" and the trust domain %q", p.TrustDomain)
		}
		return fmt.Sprintf("iss is %s and sub %s, and identity_providers.%s takes %s: name another provider, or take iss out to judge the rest", shownValue(claims["iss"]), shownValue(claims["sub"]), name, takes)
	default:
		return ""
	}
}

// issuedAt is when the token that has the claims became good.
func issuedAt(claims map[string]any) (time.Time, bool) {
	issued, ok := claims["iat"].(float64)
	if !ok || issued < 0 || issued > math.MaxInt32*8 {
		return time.Time{}, false
	}
	if from, ok := claims["nbf"].(float64); ok && from > issued && from < math.MaxInt32*8 {
		issued = from
	}
	return time.Unix(int64(issued), 0).UTC(), true
}

func shownValue(v any) string {
	if v == nil {
		return "not there"
	}
	text, err := json.Marshal(v)
	if err != nil {
		return "something else"
	}
	return visible(string(text))
}

// Package jwt is the target type for APIs of one's own: the credential is a JWT
// that our issuer signs.
package jwt

import (
	"time"

	"cambio/trust"
)

// maxTTL is the longest that a JWT of ours lives, above any max_ttl: nobody can
// take one back.
const maxTTL = time.Hour

// TargetType is configuration type jwt.
func TargetType() trust.TargetType {
	return trust.TargetType{
		Name: "jwt",
		Fields: map[string]trust.Field{
			"resource": {Type: trust.StringField, Narrows: trust.Equal},
			"scopes":   {Type: trust.StringsField, Narrows: trust.Subset},
			"ttl":      {Type: trust.DurationField, Narrows: trust.Max},
			"claims":   {Type: trust.ClaimsField, Narrows: trust.Opaque, Reserved: reserved()},
		},
		MaxTTL: maxTTL,
	}
}

// reserved are the claims that a trust document may not set: those that the
// issuer sets itself (RFC 7519 section 4.1, RFC 9068 section 2.2), those that
// say who acts for whom or holds which key (RFC 8693 section 4, RFC 7800), and
// those that relying parties take as facts about a login that never happened
// (OpenID Connect Core section 2, RFC 8176, RFC 9470, Front- and Back-Channel
// Logout). A mapped one would be a statement that nobody made.
func reserved() []string {
	return []string{
		"iss", "sub", "aud", "exp", "nbf", "iat", "jti",
		"scope", "scp", "client_id", "azp",
		"act", "may_act", "cnf",
		"auth_time", "nonce", "acr", "amr", "at_hash", "c_hash", "s_hash", "sub_jwk", "sid",
		"events", "toe", "txn", "typ", "token_type", "active",
		"email", "email_verified", "phone_number", "phone_number_verified",
		"authorization_details", "vot", "vtm",
		"_claim_names", "_claim_sources",
	}
}

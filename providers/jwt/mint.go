package jwt

import (
	"context"

	"cambio/exchange"
)

// Minter issues JWTs of our own issuer, signed with ES256, for an API that
// trusts it. It calls nobody: the JWT is the credential.
type Minter struct {
	Audience string // aud, exactly
}

// Mint signs the JWT that the order's decision already names. An error means
// that nothing was issued.
func (m Minter) Mint(_ context.Context, o exchange.Order) (exchange.Credential, error) {
	token, err := o.Assert(m.Audience, exchange.ES256)
	if err != nil {
		return exchange.Credential{}, err
	}
	return exchange.Credential{Value: token, Type: o.Type, Handle: o.ID, Expires: o.Expires}, nil
}

// Types are the values of requested_token_type that a jwt target serves (RFC
// 8693 section 3); the first is what it issues when none was asked for.
func Types() []string {
	return []string{"urn:ietf:params:oauth:token-type:jwt", "urn:ietf:params:oauth:token-type:access_token"}
}

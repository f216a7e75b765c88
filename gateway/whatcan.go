package gateway

import (
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"slices"

	"cambio/exchange"
	"cambio/trust"
	"cambio/trust/query"
)

// ErrClaimsRefused says that no token of the identity provider could have such
// claims.
var ErrClaimsRefused = errors.New("a token with these claims would be refused")

// WhatCan says what an identity that nobody proved could get, by the policy.
func WhatCan(c Config, policy *trust.Policy, q Question) (query.Reply, error) {
	id, err := claimed(c, q)
	var refused *exchange.Error
	switch {
	case errors.As(err, &refused):
		return query.Reply{}, fmt.Errorf("%w: %w", ErrClaimsRefused, err)
	case err != nil:
		return query.Reply{}, err
	}
	return query.WhatCan(policy, query.Caller{Identity: id, Ask: q.Ask, Stops: q.Stops, At: q.At}), nil
}

// ProviderOf is the one identity provider of the configuration whose issuer and
// audience the claims name, or "" where none or several do.
func ProviderOf(c Config, claims []byte) string {
	var token struct {
		Issuer   string          `json:"iss"`
		Audience json.RawMessage `json:"aud"`
	}
	if json.Unmarshal(claims, &token) != nil || token.Issuer == "" {
		return ""
	}
	var audiences []string
	if json.Unmarshal(token.Audience, &audiences) != nil {
		var one string
		if json.Unmarshal(token.Audience, &one) != nil {
			return ""
		}
		audiences = []string{one}
	}
	found := ""
	for _, name := range slices.Sorted(maps.Keys(c.IdentityProviders)) {
		p := c.IdentityProviders[name]
		ours := slices.ContainsFunc(p.Audience, func(a string) bool { return slices.Contains(audiences, a) })
		switch {
		case p.Issuer != token.Issuer || !ours:
		case found != "":
			return ""
		default:
			found = name
		}
	}
	return found
}

package oidc

import (
	"fmt"
	"time"

	"cambio/exchange"
	"cambio/trust"
)

// Claimed is the identity that these claims would prove at this time if an
// identity provider had signed them: for explanations, never for an exchange.
// Nothing is verified. What a token of the provider always has and the claims
// lack (iss, aud, iat, exp) is filled in, so that a few claims are enough to ask
// about. The error is an [*exchange.Error] where [Set.Verify] would refuse such
// claims, and anything else where there is no such provider or no such JSON.
func (s *Set) Claimed(provider string, payload []byte, at time.Time) (trust.Identity, error) {
	p := s.named(provider)
	if p == nil {
		return trust.Identity{}, fmt.Errorf("oidc: no identity provider %q", provider)
	}
	claims, err := parseObject(payload, tokenLimits())
	if err != nil {
		return trust.Identity{}, err
	}
	if _, ok := claims["sub"]; !ok {
		// What the platform's check compares sub with may be all that was given.
		claims["sub"] = "unknown"
		unchecked := *p
		unchecked.platform.Check = nil
		p = &unchecked
	}
	for name, value := range map[string]any{
		"iss": p.Issuer, "aud": p.Audiences[0],
		"iat": at.Unix(), "exp": at.Add(5 * time.Minute).Unix(),
	} {
		if _, ok := claims[name]; !ok {
			claims[name] = value
		}
	}
	if claims["iss"] != p.Issuer {
		return trust.Identity{Provider: p.Name, Claims: claims}, exchange.Refuse(trust.ReasonIssuerUnknown, nil)
	}
	proof, err := p.prove(&token{claims: claims, payload: payload}, at)
	proof.Identity.Nonce = proof.Nonce != "" // nobody opens it here
	return proof.Identity, err
}

func (s *Set) named(name string) *provider {
	for _, providers := range s.byIssuer {
		for _, p := range providers {
			if p.Name == name {
				return p
			}
		}
	}
	return nil
}

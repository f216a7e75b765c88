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
	if p.platform.Proof != exchange.SubjectJWT {
		return p.shown(claims, at)
	}
	if _, ok := claims["sub"]; !ok {
		// What the platform's check compares sub with may be all that was given.
		claims["sub"] = "unknown"
		if p.platform.Domain != nil {
			claims["sub"] = "spiffe://" + p.TrustDomain + "/unknown"
		}
		unchecked := *p
		unchecked.platform.Check = nil
		p = &unchecked
	}
	for name, value := range map[string]any{
		"iss": p.Issuer, "aud": p.Audiences[0],
		"iat": at.Unix(), "exp": at.Add(5 * time.Minute).Unix(),
	} {
		if _, ok := claims[name]; !ok && value != "" {
			claims[name] = value
		}
	}
	if iss, has := claims["iss"]; has && iss != p.Issuer {
		return trust.Identity{Provider: p.Name, Claims: claims}, exchange.Refuse(trust.ReasonIssuerUnknown, nil)
	}
	proof, err := p.prove(&token{claims: claims, payload: payload}, at)
	proof.Identity.Nonce = proof.Nonce != "" // nobody opens it here
	return proof.Identity, err
}

// shown is the identity of claims that are not of a token.
func (p *provider) shown(claims map[string]any, at time.Time) (trust.Identity, error) {
	for name, value := range map[string]int64{"iat": at.Unix(), "exp": at.Add(5 * time.Minute).Unix()} {
		if _, ok := claims[name]; !ok {
			claims[name] = value
		}
	}
	id := trust.Identity{Provider: p.Name, Claims: claims}
	id.Subject, _ = claims["sub"].(string)
	if len(p.Audiences) > 0 {
		id.Audience = p.Audiences[0]
	}
	var err error
	if id.IssuedAt, err = numericDate(claims, "iat"); err != nil {
		return id, exchange.Refuse(trust.ReasonIatMissing, err)
	}
	if id.ExpiresAt, err = numericDate(claims, "exp"); err != nil {
		return id, exchange.Refuse(trust.ReasonExpMissing, err)
	}
	if id.Workload, err = workloadID(p.trustDomain, p.Name, p.segments, claims); err != nil {
		return id, exchange.Refuse(trust.ReasonWorkloadClaim, err)
	}
	return id, nil
}

func (s *Set) named(name string) *provider {
	for _, p := range s.all {
		if p.Name == name {
			return p
		}
	}
	return nil
}

// Lookup finds a claim by its name or, when path begins with a slash, by JSON
// pointer (RFC 6901) through objects.
func Lookup(claims map[string]any, path string) (any, bool) { return lookup(claims, path) }

package web

import (
	"errors"
	"net/url"

	"cambio/exchange"
	"cambio/trust"
)

// The grants that are served.
//
//nolint:gosec // names, no credentials
const (
	tokenExchangeGrant     = "urn:ietf:params:oauth:grant-type:token-exchange"
	jwtBearerGrant         = "urn:ietf:params:oauth:grant-type:jwt-bearer"
	clientCredentialsGrant = "client_credentials"

	jwtBearerAssertion = "urn:ietf:params:oauth:client-assertion-type:jwt-bearer"
)

// grant is one way to bring a token. All lead to the same exchange; they differ
// in the parameter that holds the token, and in the code for one that is refused.
type grant struct {
	name      string
	proof     string        // the parameter with the token
	required  []string      // beside it and audience
	refusedAs exchange.Code // a token that is refused itself; "": invalid_request
}

// grants are all that grant_type may be: token exchange (RFC 8693), a token as an
// authorization grant, and a token as the client's own credential (RFC 7523
// sections 2.1 and 2.2).
func grants() []grant {
	return []grant{
		{tokenExchangeGrant, "subject_token", []string{"subject_token_type"}, ""},
		{jwtBearerGrant, "assertion", nil, exchange.InvalidGrant},
		{clientCredentialsGrant, "client_assertion", []string{"client_assertion_type"}, exchange.InvalidClient},
	}
}

// grantOf finds the grant, and refuses a form that lacks what it needs or brings
// the token of another one too: which of the two is judged would be ours to guess.
func grantOf(v url.Values) (grant, error) {
	if err := require(v, "grant_type"); err != nil {
		return grant{}, err
	}
	for _, g := range grants() {
		if g.name != v.Get("grant_type") {
			continue
		}
		for _, name := range append([]string{g.proof}, append(g.required, "audience")...) {
			if err := require(v, name); err != nil {
				return grant{}, err
			}
		}
		for _, other := range grants() {
			if g.name != tokenExchangeGrant && other.proof != g.proof && v.Has(other.proof) {
				return grant{}, malformed(other.proof, "does not belong to this grant_type")
			}
		}
		if t := v.Get("client_assertion_type"); g.name == clientCredentialsGrant && t != jwtBearerAssertion {
			e := malformed("client_assertion_type", "must be "+jwtBearerAssertion)
			e.Reason = trust.ReasonTokenType
			return grant{}, e
		}
		return g, nil
	}
	return grant{}, &exchange.Error{
		Code: exchange.UnsupportedGrantType, Reason: trust.ReasonGrantType,
		Tell: "The grant_type must be " + tokenExchangeGrant + ", " + jwtBearerGrant + " or " + clientCredentialsGrant + ".",
	}
}

// refused gives the refusal of a token the code of its grant.
func (g grant) refused(err error) error {
	var e *exchange.Error
	if g.refusedAs == "" || !errors.As(err, &e) || e.Code != exchange.InvalidRequest {
		return err
	}
	as := *e
	as.Code = g.refusedAs
	return &as
}

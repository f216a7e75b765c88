package gateway

import (
	"maps"
	"slices"
	"strconv"

	"cambio/trust"
	"cambio/trust/strictyaml"
)

// circles refuses identity providers that take what we issue ourselves: whoever once
// got it could exchange it for a new one, for ever, and no lifetime would mean
// anything. An issuer that is ours is found where it stands.
func (c *checker) circles() {
	all := c.root.Get("identity_providers")
	for i, key := range all.Keys() {
		n := all.Items()[i]
		if n.Kind != strictyaml.Map {
			continue
		}
		p := c.config.IdentityProviders[key.Text]
		if p.TrustDomain != "" && p.TrustDomain == c.config.TrustDomain {
			// Each JWT of ours is a JWT-SVID, and each certificate an X.509-SVID, of it.
			c.r.Error(n.Find("trust_domain"), "issuer-own", strconv.Quote(p.TrustDomain)+" is our own trust domain: what we issue would be taken here",
				"write the workloads' own, and give this gateway another with trust_domain")
		}
		for _, name := range slices.Sorted(maps.Keys(c.config.Targets)) {
			if a := c.config.Targets[name].authority; a != nil && p.clientCA != nil && a.Vouched(p.clientCA) {
				c.r.Error(n.Find("client_ca_file"), "issuer-own", "it vouches for the certificates of our own target "+name+": each would buy the next one",
					"name the authority below it that signs the clients' certificates alone")
				break
			}
		}
	}
}

// grantCircles finds grants of tokens that others make for this gateway: the workload
// would come back with one as somebody else, past the trust that it came by.
func grantCircles(c Config, policy *trust.Policy) strictyaml.Findings {
	var findings strictyaml.Findings
	for _, name := range slices.Sorted(maps.Keys(c.Targets)) {
		kind := targetKinds()[c.Targets[name].Type]
		if kind.audiences == nil {
			continue
		}
		for _, g := range policy.Granted(name) {
			for _, aud := range kind.audiences(g.Literal) {
				whose := c.takes(aud)
				if whose == "" {
					continue
				}
				findings = append(findings, strictyaml.Finding{
					ID: "grant-returns", Severity: strictyaml.Error, File: "trust " + g.Trust,
					Message: "the grant to " + name + " is a token for " + strconv.Quote(aud) + ", which is " + whose + ": it could be exchanged here again",
					Fix:     "write the audience of the service that the token is for",
				})
			}
		}
	}
	return findings
}

// takes says what of this gateway takes tokens for an audience; "" is nothing.
func (c Config) takes(aud string) string {
	if alike(aud, c.Issuer) {
		return "our own issuer"
	}
	for _, name := range slices.Sorted(maps.Keys(c.IdentityProviders)) {
		if slices.ContainsFunc(c.IdentityProviders[name].Audience, func(own string) bool { return alike(own, aud) }) {
			return "the audience of the identity provider " + name
		}
	}
	return ""
}

// extraTexts are the texts of a grant's own field, which has one or a list.
func extraTexts(g trust.Grant, field string) []string {
	switch v := g.Extra[field].(type) {
	case string:
		return []string{v}
	case []string:
		return v
	}
	return nil
}

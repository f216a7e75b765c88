package gateway

import (
	"encoding/json"

	"cambio/exchange"
	"cambio/providers/oauth"
	"cambio/trust"
	"cambio/trust/strictyaml"
)

const targetOAuth = "oauth"

// oauthKind are other authorization servers.
func oauthKind() targetKind {
	return targetKind{
		settings: []string{"token_url", "ca_file", "grant", "body", "parameters", "subject"},
		cloud:    true,
		typ:      func(Target) trust.TargetType { return oauth.TargetType() },
		pins: func(t Target) map[string]string {
			parameters, err := json.Marshal(t.Parameters) // with sorted names
			if err != nil {
				parameters = nil // a map of texts always encodes
			}
			return map[string]string{"token_url": t.TokenURL, "grant": t.Grant, "body": t.Body, "parameters": string(parameters), "subject": t.Subject}
		},
		audiences: func(g trust.Grant) []string {
			if g.Resource == "" {
				return nil
			}
			return []string{g.Resource}
		},
		check: (*checker).targetOAuth,
		open: func(env Env, t Target) (exchange.Target, error) {
			minter, err := oauth.New(oauth.Config{
				TokenURL: t.TokenURL, CA: t.ca, Grant: t.Grant, Body: t.Body, Audience: t.Audience, Parameters: t.Parameters, Now: env.Now,
			})
			return exchange.Target{Minter: minter, Types: oauth.Types()}, err
		},
		connect: connectOAuth,
	}
}

// targetOAuth checks a target that another authorization server is.
func (c *checker) targetOAuth(n *strictyaml.Node, t Target) Target {
	c.cloudAssertion(n, &t, "")
	c.ownAudience(n, t)
	c.subject(n, &t, subjectWorkload)
	if at := n.Get("token_url"); at == nil {
		c.r.Missing(n, "token_url", "write token_url: and the server's token endpoint")
	} else {
		c.endpoint(at, "oauth-endpoint")
	}
	if n.Get("grant") == nil {
		t.Grant = oauth.TokenExchange
	}
	c.oneOf(n.Get("grant"), []string{oauth.TokenExchange, oauth.JWTBearer, oauth.ClientCredentials}, "oauth-request")
	if n.Get("body") == nil {
		t.Body = oauth.FormBody
	}
	c.oneOf(n.Get("body"), []string{oauth.FormBody, oauth.JSONBody}, "oauth-request")
	c.authority(n, &t, "oauth-endpoint")
	if name, problem := oauth.Parameters(t.Parameters); problem != "" {
		c.r.Error(n.Find("parameters", name), "oauth-parameter", "the parameter "+name+" "+problem, "leave it out")
	}
	return t
}

// connectOAuth is what the other server must be told of our issuer.
func connectOAuth(c Config, name string, grants []connected) (*Connection, strictyaml.Findings) {
	t := c.Targets[name]
	facts := &oauth.Connection{Target: name, TokenURL: t.TokenURL, Issuer: c.Issuer, KeysURL: c.Issuer + "/keys", Audience: t.Audience, Alg: string(exchange.RS256)}
	for _, g := range grants {
		facts.Grant(g.Trust, g.Subjects, g.Shadow)
	}
	return &Connection{Forms: []Form{
		{"text", "", facts.Text()},
		{"json", "JSON", facts.JSON()},
	}}, nil
}

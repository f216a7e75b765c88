package test

import (
	"net/url"
	"testing"

	"cambio/test/rig"
)

// otherGrant is a way to bring a token besides token exchange (RFC 7523).
type otherGrant struct {
	name, proof, code string
	more              url.Values
}

func otherGrants() []otherGrant {
	return []otherGrant{
		{"urn:ietf:params:oauth:grant-type:jwt-bearer", "assertion", "invalid_grant", nil},
		{"client_credentials", "client_assertion", "invalid_client", url.Values{"client_assertion_type": {"urn:ietf:params:oauth:client-assertion-type:jwt-bearer"}}},
	}
}

func (g otherGrant) form(token string, parameters ...string) url.Values {
	f := url.Values{"grant_type": {g.name}, g.proof: {token}, "audience": {"t1"}}
	for name, value := range g.more {
		f[name] = value
	}
	for i := 0; i < len(parameters); i += 2 {
		f.Set(parameters[i], parameters[i+1])
	}
	return f
}

// TestOtherGrants: the same tokens get the same by an assertion, and a refused
// one has the code of how it came.
func TestOtherGrants(t *testing.T) {
	t.Parallel()
	c := openCloud(t, 1, rig.Setup{Targets: cloudTarget, Trusts: deploys(roleFor("ttl: 30m"))})
	for _, g := range otherGrants() {
		c.control()
		token := c.Token(nil)
		a := c.Post(g.form(token))
		if claims := minted(t, a); claims["sub"] != cloudWorkload || claims["aud"] != "api://t1" || a.Text("token_type") != "Bearer" || a.Text("scope") != "read" {
			t.Errorf("%s: %s", g.name, a.Raw)
		}
		c.Refused(c.Post(g.form(token)), 400, g.code, alreadyUsed, "replayed")
		// One token is one use, by whatever grant.
		c.Refused(c.Exchange(token), 400, "invalid_request", alreadyUsed, "replayed")
		if a := c.Post(g.form(c.Token(nil), "audience", "aws-prod")); a.Status != 200 || a.Text("issued_token_type") != awsType || a.Text("token_type") != "N_A" {
			t.Errorf("%s for AWS: %d %s", g.name, a.Status, a.Raw)
		}
		if a := c.Post(g.form(c.Token(nil), "scope", "read", "ttl", "60")); a.Status != 200 || a.Body["expires_in"] != 60.0 {
			t.Errorf("%s, narrowed: %d %s", g.name, a.Status, a.Raw)
		}

		good := c.Token(nil)
		now := c.Clock.Now().Unix()
		for reason, bad := range map[string]string{
			"signature-invalid": good[:len(good)-8] + "AAAAAAAA",
			"issuer-unknown":    c.Token(map[string]any{"iss": "https://unknown.test"}),
			"exp-missing":       c.Token(map[string]any{"exp": nil}),
			"claim-invalid":     c.Token(map[string]any{"jti": ""}),
			"nonce-invalid":     c.Token(map[string]any{"nonce": "cn1.AAAA"}),
		} {
			c.Refused(c.Post(g.form(bad)), 400, g.code, rig.Fixed, reason)
		}
		if a := c.Post(g.form(c.Token(map[string]any{"exp": now - 60, "iat": now - 120, "nbf": nil}))); a.Status != 400 || a.Text("error") != g.code {
			t.Errorf("%s, expired: %d %s", g.name, a.Status, a.Raw)
		}
		malformedOne := c.Post(g.form("not.a.token.at.all"))
		if malformedOne.Status != 400 || malformedOne.Text("error") != g.code {
			t.Errorf("%s, malformed: %d %s", g.name, malformedOne.Status, malformedOne.Raw)
		}
		// What the policy says of a good token keeps its own code.
		c.Refused(c.Post(g.form(c.Token(map[string]any{"ref": "refs/heads/x", "sub": "custom"}))), 400, "invalid_request", rig.Fixed, "condition-false")
		c.Refused(c.Post(g.form(c.Token(nil), "audience", "nobody")), 400, "invalid_target", rig.Fixed, "target-not-granted")
		c.Refused(c.Post(g.form(c.Token(nil), "scope", "admin")), 400, "invalid_scope", rig.Fixed, "scope-not-granted")
		if a := c.Post(g.form(good)); a.Status != 200 {
			t.Errorf("%s: a refusal used the token up: %s", g.name, a.Raw)
		}
		told(t, c.Post(g.form(c.Token(nil), "audience", "")), 400, "invalid_request", "audience")
		told(t, c.Post(g.form("")), 400, "invalid_request", g.proof)
		for _, other := range otherGrants() {
			if other.name != g.name { // the token of another grant beside it
				told(t, c.Post(g.form(c.Token(nil), other.proof, c.Token(nil))), 400, "invalid_request", other.proof)
			}
		}
	}
	told(t, c.Post(otherGrants()[1].form(c.Token(nil), "client_assertion_type", "urn:x")), 400, "invalid_request", "client_assertion_type")
	req := request(c.Rig, "POST", "", otherGrants()[1].form(c.Token(nil)).Encode(), "Content-Type", formType, "Authorization", "Basic eDp5")
	if a := c.Do(req); a.Status != 401 || a.Text("error") != "invalid_client" || a.Header.Get("WWW-Authenticate") == "" {
		t.Errorf("with an Authorization header: %d %s", a.Status, a.Raw)
	}
	c.control()
}

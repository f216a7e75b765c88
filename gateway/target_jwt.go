package gateway

import (
	"cambio/exchange"
	"cambio/providers/jwt"
	"cambio/trust"
	"cambio/trust/strictyaml"
)

const targetJWT = "jwt"

// jwtKind are APIs that take JWTs of ours.
func jwtKind() targetKind {
	return targetKind{
		settings: []string{"profile"},
		typ:      func(Target) trust.TargetType { return jwt.TargetType() },
		check:    (*checker).targetJWT,
		open: func(_ Env, t Target) (exchange.Target, error) {
			return exchange.Target{Minter: jwt.Minter{Audience: t.Audience}, RFC9068: t.Profile == "rfc9068", Types: jwt.Types()}, nil
		},
	}
}

// targetJWT checks a target that takes JWTs of our own.
func (c *checker) targetJWT(n *strictyaml.Node, t Target) Target {
	if n.Get("profile") == nil {
		t.Profile = "jwt"
	}
	c.oneOf(n.Get("profile"), []string{"jwt", "rfc9068"}, "profile")
	at := n.Get("audience")
	c.notEmpty(at)
	switch {
	case at == nil:
		c.r.Missing(n, "audience", "write audience: and what the target's API expects in aud")
	case !usable(at):
	case !exactText(at.Text):
		c.r.Error(at, "audience-invalid", at.Show()+" is not an audience", "write the exact text, without spaces and wildcards")
	case cloudAudience(at.Text) || c.cloudTargetAudience(at.Text):
		// Whoever holds such a JWT has what the cloud's own target would have
		// judged and narrowed.
		c.r.Error(at, "audience-reserved", at.Show()+" is a cloud's audience: the JWT would open the cloud past its own target", "write the audience of the API")
	case alike(at.Text, c.config.Issuer):
		// The JWT would come back as a subject token for this gateway.
		c.r.Error(at, "audience-reserved", at.Show()+" is our own issuer", "write the audience of the API")
	}
	return t
}

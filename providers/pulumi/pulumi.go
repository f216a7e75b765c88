// Package pulumi describes the tokens of Pulumi ESC.
package pulumi

import (
	"errors"
	"regexp"
	"time"

	"cambio/providers/oidc"
	"cambio/trust"
)

// The names of the claims are URLs; trusts use the aliases.
const (
	space   = "https://pulumi.com/"
	orgID   = space + "org_id"
	envID   = space + "current_env_id"
	rootID  = space + "root_env_id"
	actorID = space + "actor_id"
)

// Platform is configuration type pulumi: tokens of fn::open::oidc with
// identityToken.version v2, whose audience is one's own. Those of the older issuer,
// https://api.pulumi.com/oidc, are for the clouds' own login providers and have
// other keys and another sub.
//
// The current environment is the one that holds the fn::open::oidc block, and the
// root environment the one that somebody opened, which may import it. Who may open
// an environment has its tokens.
func Platform() oidc.Platform {
	text := trust.Claim{Type: trust.StringClaim}
	always := trust.Claim{Type: trust.StringClaim, Always: true}
	claims := oidc.StandardClaims()
	for name, c := range map[string]trust.Claim{
		space + "org":         {Type: trust.StringClaim, PinnedBy: orgID},
		orgID:                 always,
		space + "current_env": {Type: trust.StringClaim, PinnedBy: envID},
		envID:                 {Type: trust.StringClaim, Always: true, OwnedBy: orgID},
		space + "root_env":    {Type: trust.StringClaim, PinnedBy: rootID, Chosen: true},
		rootID:                text, // not where the environment that was opened has none
		space + "actor":       {Type: trust.StringClaim, PinnedBy: actorID, Chosen: true},
		actorID:               {Type: trust.StringClaim, Chosen: true},
	} {
		claims[name] = c
	}
	return oidc.Platform{
		Platform: trust.Platform{
			Name:   "pulumi",
			Claims: claims,
			Aliases: map[string]string{
				"org_id":         orgID,
				"current_env_id": envID,
				"root_env_id":    rootID,
			},
			Anchors: []string{"current_env_id", "org_id"},
			Advised: []string{"current_env_id", "root_env_id"},
			Gates:   []string{"current_env_id", "root_env_id"},
			Journal: []string{"iss", "iat", "exp", "org_id", "current_env_id", "root_env_id", space + "org", space + "current_env", space + "root_env"},
			Sample: map[string]any{
				"iss":                 "https://api.pulumi.com/oidc/v2",
				"aud":                 "https://id.acme.example",
				"sub":                 "pulumi:org:7f1d7a44-7d0c-4bb5-8f3a-1c6a3e1f9b20:env:0b6f5c1e-5a0d-4d55-9a55-2f3c9b0f6d11",
				"jti":                 "c2f7f0f5-0c8f-4b3e-8d0a-6a1c6f2d7e90",
				"iat":                 int64(1795320000),
				"nbf":                 int64(1795320000),
				"exp":                 int64(1795323600),
				space + "actor":       "octocat",
				space + "org":         "acme",
				orgID:                 "7f1d7a44-7d0c-4bb5-8f3a-1c6a3e1f9b20",
				space + "current_env": "payments/production",
				envID:                 "0b6f5c1e-5a0d-4d55-9a55-2f3c9b0f6d11",
				space + "root_env":    "payments/production",
				rootID:                "0b6f5c1e-5a0d-4d55-9a55-2f3c9b0f6d11",
				"org_id":              "7f1d7a44-7d0c-4bb5-8f3a-1c6a3e1f9b20",
				"current_env_id":      "0b6f5c1e-5a0d-4d55-9a55-2f3c9b0f6d11",
				"root_env_id":         "0b6f5c1e-5a0d-4d55-9a55-2f3c9b0f6d11",
			},
		},
		Issuer: "https://api.pulumi.com/oidc/v2",
		Algs:   []string{"RS256"},
		// Opening the environment makes one, and all commands below it share it.
		TokenUse:   trust.OncePerGrant,
		MaxAge:     time.Hour, // the longest that they live
		Typ:        []string{"jwt"},
		Workload:   []oidc.Segment{{Claim: orgID}, {Claim: envID}},
		Check:      check,
		IssuerForm: regexp.MustCompile(`^https://api\.pulumi\.com/oidc/v2$`),
		Facts: oidc.Facts{
			Title:    "Pulumi ESC",
			Evidence: oidc.FromDocs,
			Source:   "https://www.pulumi.com/docs/esc/guides/configuring-oidc/custom-audience/",
			Obtain:   "from `CAMBIO_TOKEN`, where the environment puts the token of `fn::open::oidc`",
			Page:     "pulumi.md",
			Risks: []string{
				"Whoever may open the environment has its tokens; root_env_id says through which one.",
				"Names of organizations and environments can change: match the ids.",
				"Tokens of the older issuer, https://api.pulumi.com/oidc, are another platform's: they are not taken.",
			},
		},
	}
}

// check compares sub with the ids that it repeats.
func check(claims map[string]any) error {
	sub, _ := claims["sub"].(string)
	org, _ := claims[orgID].(string)
	env, _ := claims[envID].(string)
	if sub != "pulumi:org:"+org+":env:"+env {
		return errors.New("sub and the id claims name different environments")
	}
	return nil
}

// Package vercel describes the tokens of Vercel's deployments.
package vercel

import (
	"errors"
	"regexp"
	"time"

	"cambio/providers/oidc"
	"cambio/trust"
)

// Platform is configuration type vercel: https://oidc.vercel.com/TEAM where the
// team's issuer mode is Team, and https://oidc.vercel.com, which speaks for all
// teams, where it is Global.
//
// A team's name can be given up, and a project can be handed to another team and
// keeps its id; so match must pin owner_id beside project_id, in either mode.
func Platform() oidc.Platform {
	always := trust.Claim{Type: trust.StringClaim, Always: true}
	claims := oidc.StandardClaims()
	for name, c := range map[string]trust.Claim{
		"owner":        {Type: trust.StringClaim, PinnedBy: "owner_id"},
		"owner_id":     always,
		"project":      {Type: trust.StringClaim, PinnedBy: "project_id"},
		"project_id":   {Type: trust.StringClaim, Always: true, OwnedBy: "owner_id"},
		"environment":  always, // production, preview, development, or one that the team named
		"external_sub": {Type: trust.StringClaim, Chosen: true},
	} {
		claims[name] = c
	}
	return oidc.Platform{
		Platform: trust.Platform{
			Name:    "vercel",
			Claims:  claims,
			Anchors: []string{"project_id"},
			Pinned:  []string{"owner_id"},
			Advised: []string{"environment"},
			// A preview runs the code of any branch, and any member of the team has a
			// development token on his desk.
			Guarded:   map[string][]string{"environment": {"preview", "development"}},
			Outsiders: map[string][]string{"environment": {"preview"}},
			Gates:     []string{"environment"},
			Journal:   []string{"iss", "iat", "exp", "owner", "owner_id", "project", "project_id", "environment"},
			Sample: map[string]any{
				"iss":         "https://oidc.vercel.com/acme",
				"aud":         "https://id.acme.example",
				"sub":         "owner:acme:project:website:environment:production",
				"iat":         int64(1795320000),
				"nbf":         int64(1795320000),
				"exp":         int64(1795323600),
				"owner":       "acme",
				"owner_id":    "team_7Gw5ZMzpQA8h90F832KGp7nw",
				"project":     "website",
				"project_id":  "prj_Rej9WaMNRbffVgfnKQpBxYxc",
				"environment": "production",
			},
		},
		Algs: []string{"RS256"},
		// Whoever holds a token can exchange it for any audience, as often as he likes.
		TokenUse: trust.Once,
		// Vercel hands functions a token that it made up to 90 minutes before.
		MaxAge:     2 * time.Hour,
		Typ:        []string{"jwt"},
		Workload:   []oidc.Segment{{Claim: "owner_id"}, {Claim: "project_id"}},
		Check:      check,
		IssuerForm: regexp.MustCompile(`^https://oidc\.vercel\.com(/[a-z0-9-]+)?$`),
		Facts: oidc.Facts{
			Title:    "Vercel",
			Evidence: oidc.FromSource,
			Source:   "https://www.npmjs.com/package/@vercel/oidc (4.0.9), https://vercel.com/docs/oidc/reference",
			Obtain:   "exchanges `VERCEL_OIDC_TOKEN` at https://oidc.vercel.com/~token for one of the gateway's audience",
			Page:     "vercel.md",
			Risks: []string{
				"Without environment, a preview of any branch would be taken for production: preview and development are refused unless match names them.",
				"Any member of the team can have a development token.",
				"A function gets the token in a header of each request: an endpoint that echoes its headers gives it away.",
				"The default audience (https://vercel.com/TEAM) is shared by every relying party: take tokens of your own audience only.",
			},
		},
	}
}

// check compares sub with the claims that it repeats. It is put together from them
// and not taken apart, so that a name with a colon in it cannot be read in two ways.
func check(claims map[string]any) error {
	sub, _ := claims["sub"].(string)
	owner, ok := claims["owner"].(string)
	project, named := claims["project"].(string)
	environment, _ := claims["environment"].(string)
	if !ok || !named {
		return errors.New("owner or project is missing, which sub repeats")
	}
	if sub != "owner:"+owner+":project:"+project+":environment:"+environment {
		return errors.New("sub and the name claims differ")
	}
	return nil
}

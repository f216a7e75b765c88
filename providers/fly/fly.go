// Package fly describes the tokens of Fly.io's machines.
package fly

import (
	"errors"
	"regexp"
	"time"

	"cambio/providers/oidc"
	"cambio/trust"
)

// Platform is configuration type fly-io. Each organization has an issuer of its
// own, https://oidc.fly.io/ORG, whose name can be given up; app_id and org_id are
// numbers, as text, that Fly.io never gives again.
func Platform() oidc.Platform {
	text := trust.Claim{Type: trust.StringClaim}
	always := trust.Claim{Type: trust.StringClaim, Always: true}
	chosen := trust.Claim{Type: trust.StringClaim, Chosen: true}
	claims := oidc.StandardClaims()
	for name, c := range map[string]trust.Claim{
		"app_id":          {Type: trust.StringClaim, Always: true, OwnedBy: "org_id"}, // an app can be moved to another organization
		"app_name":        {Type: trust.StringClaim, PinnedBy: "app_id"},
		"org_id":          always,
		"org_name":        {Type: trust.StringClaim, PinnedBy: "org_id"},
		"image":           chosen, // by whoever deploys; a tag can be moved
		"image_digest":    text,
		"machine_id":      text,
		"machine_name":    {Type: trust.StringClaim, PinnedBy: "machine_id", Chosen: true},
		"machine_version": text,
		"region":          chosen,
	} {
		claims[name] = c
	}
	return oidc.Platform{
		Platform: trust.Platform{
			Name:    "fly-io",
			Claims:  claims,
			Anchors: []string{"app_id", "org_id"},
			Gates:   []string{"image_digest"},
			Journal: []string{
				"iss", "iat", "exp", "app_id", "app_name", "org_id", "org_name", "image", "image_digest",
				"machine_id", "machine_name", "machine_version", "region",
			},
			Sample: map[string]any{
				"iss":             "https://oidc.fly.io/acme",
				"aud":             "https://id.acme.example",
				"sub":             "acme:payments:nameless-sun-1234",
				"jti":             "1f3b6c0e-7d52-4a7c-9c3c-2a9d5e0b8f11",
				"iat":             int64(1795320000),
				"nbf":             int64(1795320000),
				"exp":             int64(1795320900),
				"app_id":          "3671581",
				"app_name":        "payments",
				"org_id":          "29873298",
				"org_name":        "acme",
				"image":           "registry.fly.io/payments:deployment-01HZXGPFBYP5KSXHAFYBP9Z1B5",
				"image_digest":    "sha256:6b86b273ff34fce19d6b804eff5a3f5747ada4eaa22f1d49c01e52ddb7875b4b",
				"machine_id":      "148ed726c17589",
				"machine_name":    "nameless-sun-1234",
				"machine_version": "01HZXGPFBYP5KSXHAFYBP9Z1B5",
				"region":          "yyz",
			},
		},
		Algs:       []string{"RS256"},
		TokenUse:   trust.Once, // a machine asks for a fresh one as often as it likes
		MaxAge:     time.Hour,
		Typ:        []string{"jwt"},
		Workload:   []oidc.Segment{{Claim: "org_id"}, {Claim: "app_id"}},
		Check:      check,
		IssuerForm: regexp.MustCompile(`^https://oidc\.fly\.io/[a-z0-9-]+$`),
		Facts: oidc.Facts{
			Title:    "Fly.io",
			Evidence: oidc.FromDocs,
			Source:   "https://fly.io/docs/reference/openid-connect/",
			Obtain:   "from the machine's own socket, `/.fly/api`, for each exchange",
			Page:     "fly-io.md",
			Risks: []string{
				"All machines of an app are one workload; image_digest tells what one of them runs.",
				"Whoever may deploy to the app, or open a shell in a machine of it, has its identity.",
				"sub holds names, which can be given up and taken: match app_id.",
			},
		},
	}
}

// check compares sub with the names that it repeats.
func check(claims map[string]any) error {
	sub, _ := claims["sub"].(string)
	org, hasOrg := claims["org_name"].(string)
	app, hasApp := claims["app_name"].(string)
	machine, hasMachine := claims["machine_name"].(string)
	if !hasOrg || !hasApp || !hasMachine {
		return errors.New("a name that sub repeats is missing")
	}
	if sub != org+":"+app+":"+machine {
		return errors.New("sub and the name claims differ")
	}
	return nil
}

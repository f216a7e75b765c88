// Package env0 describes the OpenID Connect tokens of env0 deployments.
package env0

import (
	"errors"
	"regexp"
	"time"

	"cambio/providers/oidc"
	"cambio/trust"
)

// prefix begins the older name of each claim, which the token has as well and
// which is to go.
const prefix = "https://env0.com/"

// Platform is configuration type env0. One issuer speaks for all organisations,
// and for the people and the API keys that call env0 itself, for the same
// audience: apiKeyType says that a token is a deployment's, and one that does not
// is refused. sub is one user for a whole organisation. Ids are UUIDs; a trust
// pins the one of the environment, of the project or of the organisation.
func Platform() oidc.Platform {
	text := trust.Claim{Type: trust.StringClaim}
	always := trust.Claim{Type: trust.StringClaim, Always: true}
	claims := oidc.StandardClaims()
	for name, c := range map[string]trust.Claim{
		"apiKeyType":              {Type: trust.StringClaim, Values: []string{"oidc"}},
		"deployerEmail":           {Type: trust.StringClaim, Chosen: true}, // who pressed the button
		"deploymentLogId":         text,
		"deploymentType":          text,                                    // deploy, destroy, prPlan, task
		"env0Tag":                 {Type: trust.StringClaim, Chosen: true}, // the variable ENV0_OIDC_TAG
		"environmentId":           always,
		"environmentName":         {Type: trust.StringClaim, PinnedBy: "environmentId"},
		"organization":            text,
		"organizationId":          always,
		"projectId":               {Type: trust.StringClaim, OwnedBy: "organizationId"},
		"projectName":             {Type: trust.StringClaim, PinnedBy: "projectId"},
		"templateId":              text,
		"templateName":            {Type: trust.StringClaim, PinnedBy: "templateId"},
		"workspaceName":           {Type: trust.StringClaim, PinnedBy: "environmentId"},
		prefix + "apiKeyType":     {Type: trust.StringClaim, Values: []string{"oidc"}},
		prefix + "environmentId":  text,
		prefix + "organization":   text,
		prefix + "organizationId": text,
		prefix + "projectId":      text,
	} {
		claims[name] = c
	}
	return oidc.Platform{
		Platform: trust.Platform{
			Name:    "env0",
			Claims:  claims,
			Anchors: []string{"environmentId", "projectId", "organizationId"},
			// The code is that of a pull request.
			Guarded:   map[string][]string{"deploymentType": {"prPlan"}},
			Outsiders: map[string][]string{"deploymentType": {"prPlan"}},
			// A token that says nothing of its kind may be a pull request's plan.
			Implied: map[string]string{"deploymentType": `claims.?deploymentType.orValue("") != ""`},
			Gates:   []string{"environmentId", "projectId"},
			// No deployer: it is a person's address.
			Journal: []string{
				"iss", "iat", "exp",
				"organizationId", "projectId", "projectName", "environmentId", "environmentName",
				"templateId", "templateName", "workspaceName", "deploymentType", "deploymentLogId",
			},
			Sample: sample(),
		},
		Issuer: "https://login.app.env0.com/",
		Algs:   []string{"RS256"},
		// A deployment holds one token from its start, and cannot fetch another one.
		TokenUse:      trust.OncePerGrant,
		MaxAge:        time.Hour,
		Typ:           []string{"jwt"},
		Workload:      []oidc.Segment{{Claim: "organizationId"}, {Claim: "environmentId"}},
		Check:         check,
		FixedAudience: true,
		IssuerForm:    regexp.MustCompile(`^https://login\.app\.env0\.com/$`),
		Facts: oidc.Facts{
			Title:    "env0",
			Evidence: oidc.FromSource,
			Source:   "https://github.com/gravitational/teleport/blob/master/lib/join/env0/env0.go",
			Obtain:   "from `ENV0_OIDC_TOKEN`, in organizations that enabled it",
			Page:     "env0.md",
			Risks: []string{
				"The audience is env0's own and cannot be chosen: everyone who trusts env0 takes the same token.",
				"A token lives a day. It is taken once for each grant, and here for its first hour.",
				"`sub` is one for the whole organization, `env0Tag` is a variable that whoever edits the environment writes.",
			},
		},
	}
}

func sample() map[string]any {
	const (
		organization = "66a38abf-69bc-4cb7-ad73-7f61e389079f"
		project      = "5b44fa6d-ecfd-40ab-8e69-14d6fe7c638c"
		environment  = "9c3ca3cf-870d-4db4-9c60-5adf37faab45"
	)
	return map[string]any{
		"iss":                     "https://login.app.env0.com/",
		"aud":                     "https://id.acme.example",
		"sub":                     "auth0|63021f2ce98a11d0678ed6fe",
		"iat":                     int64(1795320000),
		"exp":                     int64(1795406400),
		"apiKeyType":              "oidc",
		"deployerEmail":           "dana@acme.example",
		"deploymentLogId":         "96e2b169-5e4a-44a4-876b-4a5d26f4412c",
		"deploymentType":          "deploy",
		"environmentId":           environment,
		"environmentName":         "payments production",
		"organization":            organization,
		"organizationId":          organization,
		"projectId":               project,
		"projectName":             "Payments",
		"templateId":              "dc9808e2-44d3-48dd-b12a-31a08927ee6e",
		"templateName":            "payments",
		"workspaceName":           "env09c3ca3",
		prefix + "apiKeyType":     "oidc",
		prefix + "environmentId":  environment,
		prefix + "organization":   organization,
		prefix + "organizationId": organization,
		prefix + "projectId":      project,
	}
}

var (
	errKind  = errors.New("apiKeyType is not oidc: the token is not a deployment's")
	errNames = errors.New("a claim differs under its two names")
)

// check refuses the tokens of people and of API keys, and those that say one
// thing under the name that a trust reads and another under its older name.
func check(claims map[string]any) error {
	for _, pair := range [][2]string{
		{"apiKeyType", prefix + "apiKeyType"},
		{"environmentId", prefix + "environmentId"},
		{"organization", "organizationId"},
		{prefix + "organization", "organizationId"},
		{"organizationId", prefix + "organizationId"},
		{"projectId", prefix + "projectId"},
	} {
		a, has := claims[pair[0]].(string)
		b, other := claims[pair[1]].(string)
		if has && other && a != b {
			return errNames
		}
	}
	for _, name := range []string{"apiKeyType", prefix + "apiKeyType"} {
		if claims[name] == "oidc" {
			return nil
		}
	}
	return errKind
}

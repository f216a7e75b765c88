// Package spacelift describes the OpenID Connect tokens of Spacelift runs.
package spacelift

import (
	"errors"
	"regexp"
	"time"

	"cambio/providers/oidc"
	"cambio/trust"
)

// Platform is configuration type spacelift: each account has an issuer,
// https://ACCOUNT.app.spacelift.io, and a self-hosted installation its own. A
// stack's and a module's id are made from its name once, and stay when it is
// renamed; they are unique within the account and its kind, so a trust pins both.
func Platform() oidc.Platform {
	always := trust.Claim{Type: trust.StringClaim, Always: true}
	claims := oidc.StandardClaims()
	for name, c := range map[string]trust.Claim{
		"callerId":   always,
		"callerType": {Type: trust.StringClaim, Values: []string{"stack", "module"}, Always: true},
		"jti":        always,
		"nbf":        {Type: trust.IntClaim, Always: true},
		"runId":      always,
		"runType":    {Type: trust.StringClaim, Values: []string{"PROPOSED", "TRACKED", "TASK", "TESTING", "DESTROY"}, Always: true},
		"scope":      {Type: trust.StringClaim, Values: []string{"read", "write"}, Always: true},
		"spaceId":    always, // a stack can move to another one
	} {
		claims[name] = c
	}
	// A proposed run plans what a pull request proposes, a testing run applies what
	// a module's pull request says: the code is its author's.
	proposals := map[string][]string{"runType": {"PROPOSED", "TESTING"}}
	return oidc.Platform{
		Platform: trust.Platform{
			Name:      "spacelift",
			Claims:    claims,
			Anchors:   []string{"callerId"},
			Pinned:    []string{"callerType"},
			Guarded:   proposals,
			Outsiders: proposals,
			Gates:     []string{"scope", "runType"},
			Journal:   []string{"iss", "iat", "exp", "spaceId", "callerType", "callerId", "runType", "runId", "scope"},
			Sample: map[string]any{
				"iss":        "https://acme.app.spacelift.io",
				"aud":        "https://id.acme.example",
				"sub":        "space:production-01HV3Q:stack:payments-infra:run_type:TRACKED:scope:write",
				"jti":        "01KAR7Y2M8T3W6Q9Z4D5F1G2H3",
				"iat":        int64(1795320000),
				"nbf":        int64(1795320000),
				"exp":        int64(1795323600),
				"callerId":   "payments-infra",
				"callerType": "stack",
				"runId":      "01KAR7Y2M8T3W6Q9Z4D5F1G2H3",
				"runType":    "TRACKED",
				"scope":      "write",
				"spaceId":    "production-01HV3Q",
			},
		},
		Algs: []string{"RS256"},
		// A run holds one token for each phase, and cannot fetch another one.
		TokenUse:      trust.OncePerGrant,
		MaxAge:        time.Hour,
		Typ:           []string{"jwt"},
		Workload:      []oidc.Segment{{Claim: "callerType"}, {Claim: "callerId"}},
		Check:         check,
		FixedAudience: true,
		IssuerForm:    regexp.MustCompile(`^https://[a-z0-9-]+\.app\.(us\.)?spacelift\.io$`),
		Facts: oidc.Facts{
			Title:    "Spacelift",
			Evidence: oidc.FromDocs,
			Source:   "https://docs.spacelift.io/integrations/cloud-providers/oidc/",
			Obtain:   "from `SPACELIFT_OIDC_TOKEN`",
			Page:     "spacelift.md",
			Risks: []string{
				"The audience is the account's host name and cannot be chosen: everyone who trusts the account takes the same token.",
				"`scope` says what a run should do and binds nobody: pin it to write where a grant writes, so that the planning phase of a run gets nothing of it.",
				"The id of a stack that was deleted can be given to a new one of the same account.",
			},
		},
	}
}

var errSub = errors.New("sub and the claims that it is made of differ")

// check composes sub again from the claims that it repeats.
func check(claims map[string]any) error {
	text := func(name string) string {
		s, _ := claims[name].(string)
		return s
	}
	want := "space:" + text("spaceId") + ":" + text("callerType") + ":" + text("callerId") + ":run_type:" + text("runType") + ":scope:" + text("scope")
	if claims["sub"] != want {
		return errSub
	}
	return nil
}

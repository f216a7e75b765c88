// Package cloudbuild describes the ID tokens of Google Cloud Build.
package cloudbuild

import (
	"time"

	"cambio/providers/oidc"
	"cambio/trust"
)

// Platform is configuration type google-cloud-build. A build has the identity of
// its service account and nothing else: no repository, no branch, no trigger. So
// each trigger that is trusted apart has a service account of its own, and a
// trust pins its number.
//
// Google's issuer is that of type gcp and of every person with a Google account;
// where both types are configured, each has an audience of its own.
func Platform() oidc.Platform {
	claims := oidc.StandardClaims()
	claims["azp"] = trust.Claim{Type: trust.StringClaim, Always: true}
	claims["email"] = trust.Claim{Type: trust.StringClaim, PinnedBy: "sub"} // can be deleted and created again
	claims["email_verified"] = trust.Claim{Type: trust.BoolClaim}
	return oidc.Platform{
		Platform: trust.Platform{
			Name:    "google-cloud-build",
			Claims:  claims,
			Anchors: []string{"sub"},
			// No email: the issuer speaks for people too.
			Journal: []string{"iss", "iat", "exp", "azp", "email_verified"},
			Sample: map[string]any{
				"iss":            "https://accounts.google.com",
				"aud":            "https://id.acme.example",
				"sub":            "114000000000000000002",
				"azp":            "114000000000000000002",
				"email":          "payments-build@acme-prod.iam.gserviceaccount.com",
				"email_verified": true,
				"iat":            int64(1795320000),
				"exp":            int64(1795323600),
			},
		},
		Issuer:    "https://accounts.google.com",
		Algs:      []string{"RS256"},
		TokenUse:  trust.UntilExpiry, // the metadata server gives out one token again and again
		MaxAge:    time.Hour,
		KeysHosts: []string{"www.googleapis.com"},
		Typ:       []string{"jwt"},
		Workload:  []oidc.Segment{{Claim: "sub"}},
		Facts: oidc.Facts{
			Title:    "Google Cloud Build",
			Evidence: oidc.FromDocs,
			Source:   "https://cloud.google.com/build/docs/securing-builds/authorize-service-to-service-access",
			Obtain:   "from the metadata server, in builds with a service account of their own",
			Page:     "google-cloud-build.md",
			Risks: []string{
				"A token names the service account alone: whoever may run a build as it, from any branch, has what its trust grants. Give each trigger an account of its own, and let the trigger require approval.",
				"An account may also be used elsewhere, and others may be allowed to make tokens for it (roles/iam.serviceAccountTokenCreator).",
			},
		},
	}
}

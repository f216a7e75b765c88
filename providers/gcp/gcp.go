// Package gcp describes the ID tokens of Google Cloud service accounts, as the
// metadata server gives them to virtual machines, Cloud Run and Cloud Build.
package gcp

import (
	"time"

	"cambio/providers/oidc"
	"cambio/trust"
)

// Platform is configuration type gcp. Google's issuer also speaks for every
// person with a Google account, so a trust pins sub, the unique number of one
// service account; an e-mail address can be created again by someone else.
//
// The claims below google are there for virtual machines that asked for the
// full format.
func Platform() oidc.Platform {
	text := trust.Claim{Type: trust.StringClaim}
	claims := oidc.StandardClaims()
	for name, c := range map[string]trust.Claim{
		"azp":            {Type: trust.StringClaim, Always: true},
		"email":          {Type: trust.StringClaim, PinnedBy: "sub"}, // can be deleted and created again
		"email_verified": {Type: trust.BoolClaim},
		"google":         {Type: trust.MapClaim},
		"/google/compute_engine/instance_creation_timestamp": {Type: trust.IntClaim},
		"/google/compute_engine/instance_id":                 text,
		"/google/compute_engine/instance_name":               {Type: trust.StringClaim, PinnedBy: "/google/compute_engine/instance_id", Chosen: true},
		"/google/compute_engine/project_id":                  text,
		"/google/compute_engine/project_number":              {Type: trust.IntClaim},
		"/google/compute_engine/zone":                        text,
		"/google/compute_engine/license_id":                  {Type: trust.ListClaim},
	} {
		claims[name] = c
	}
	return oidc.Platform{
		Platform: trust.Platform{
			Name:    "gcp",
			Claims:  claims,
			Anchors: []string{"sub"},
			// No email: the issuer speaks for people too.
			Journal: []string{
				"iss", "iat", "exp", "azp", "email_verified",
				"/google/compute_engine/instance_creation_timestamp", "/google/compute_engine/instance_id", "/google/compute_engine/instance_name",
				"/google/compute_engine/project_id", "/google/compute_engine/project_number", "/google/compute_engine/zone",
			},
			Sample: map[string]any{
				"iss":            "https://accounts.google.com",
				"aud":            "https://id.acme.example",
				"sub":            "113000000000000000001",
				"azp":            "113000000000000000001",
				"email":          "build@acme-prod.iam.gserviceaccount.com",
				"email_verified": true,
				"iat":            int64(1795320000),
				"exp":            int64(1795323600),
				"google": map[string]any{"compute_engine": map[string]any{
					"instance_creation_timestamp": int64(1795000000),
					"instance_id":                 "4567890123456789012",
					"instance_name":               "build-1",
					"license_id":                  []any{"1000204"},
					"project_id":                  "acme-prod",
					"project_number":              int64(123456789012),
					"zone":                        "europe-west1-b",
				}},
			},
		},
		Issuer:    "https://accounts.google.com",
		Algs:      []string{"RS256"},
		TokenUse:  trust.UntilExpiry,
		MaxAge:    time.Hour,
		KeysHosts: []string{"www.googleapis.com"},
		Typ:       []string{"jwt"},
		Workload:  []oidc.Segment{{Claim: "sub"}},
		Facts: oidc.Facts{
			Title: "Google Cloud (metadata server)", Evidence: oidc.FromDocs, Page: "google-cloud.md",
			Source: "https://cloud.google.com/compute/docs/instances/verifying-instance-identity",
			Obtain: "asks the metadata server for each exchange",
			Risks: []string{
				"The issuer speaks for every person with a Google account too: pin `sub`, the number of one service account.",
				"Whoever may run code on a machine with the service account is that account; the claims below `google` say which machine.",
			},
		},
	}
}

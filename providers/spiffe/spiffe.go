// Package spiffe takes the identities of a SPIFFE trust domain: JWT-SVIDs as
// subject tokens, X.509-SVIDs as the client certificates of connections.
//
// A SPIFFE ID is given to a workload by the registration entries of its trust
// domain, and to nobody outside of it; the bundle of the trust domain proves that.
// So the ID is what a trust pins, whole or by its trust domain, and the workload id
// holds its path: no run, node or process is in it, unless the trust domain puts
// one there.
package spiffe

import (
	"time"

	"cambio/providers/oidc"
	"cambio/trust"
)

// Platform is configuration type spiffe: one trust domain.
func Platform() oidc.Platform {
	text := trust.Claim{Type: trust.StringClaim}
	always := trust.Claim{Type: trust.StringClaim, Always: true}
	number := trust.Claim{Type: trust.IntClaim}
	return oidc.Platform{
		Platform: trust.Platform{
			Name: "spiffe",
			Claims: map[string]trust.Claim{
				"sub":          always,
				"exp":          {Type: trust.IntClaim, Always: true},
				"trust_domain": always,
				"path":         always,
				"svid":         {Type: trust.StringClaim, Always: true, Values: []string{"jwt", "x509"}},
				"aud":          {Type: trust.ListClaim}, // of a JWT-SVID
				"iss":          text,                    // only where the SPIRE server has jwt_issuer
				"iat":          number,                  // optional in a JWT-SVID
				"nbf":          number,
				"jti":          text,
			},
			// The provider is one trust domain, so that pinning it by equality says that
			// all of its workloads are meant, or those that another line names.
			Anchors: []string{"sub", "trust_domain"},
			Advised: []string{"sub", "path"},
			Journal: []string{"iss", "iat", "exp", "svid"},
			Sample: map[string]any{
				"iss":          "https://oidc-discovery.acme.example",
				"sub":          "spiffe://acme.example/ns/payments/sa/api",
				"aud":          []any{"https://id.acme.example"},
				"iat":          int64(1795320000),
				"exp":          int64(1795320300),
				"trust_domain": "acme.example",
				"path":         "/ns/payments/sa/api",
				"svid":         "jwt",
			},
		},
		Algs: []string{"RS256", "RS384", "RS512", "ES256", "ES384", "ES512", "PS256", "PS384", "PS512"},
		// An agent hands out the same JWT-SVID until half of its life is over, and an
		// X.509-SVID proves a connection after the other, so that none is once.
		TokenUse: trust.UntilExpiry,
		// X.509-SVIDs live up to a day; of a JWT-SVID, exp is what counts.
		MaxAge:   24 * time.Hour,
		Typ:      []string{"jwt", "jose"},
		Workload: []oidc.Segment{{Claim: "sub", Split: segments}},
		Domain:   &oidc.Domain{Parse: ParseID, Server: Server},
		Derived:  []string{"trust_domain", "path", "svid"},
		Settings: []string{"trust_domain", "bundle_file", "bundle_url", "bundle_endpoint_id"},
		Facts: oidc.Facts{
			Title:    "SPIFFE (JWT-SVID, X.509-SVID)",
			Evidence: oidc.FromSource,
			Source:   "the standards JWT-SVID, X509-SVID, SPIFFE_ID and SPIFFE_Trust_Domain_and_Bundle of https://github.com/spiffe/spiffe, and https://github.com/spiffe/go-spiffe, which makes and reads every SVID of its tests",
			Obtain:   "from the file that spiffe-helper or `spire-agent api fetch jwt` writes (`--token-file`), or the X.509-SVID's own files (`--client-cert`, `--client-key`), for each exchange",
			Page:     "spiffe.md",
			Risks: []string{
				"Whoever may write registration entries in the trust domain may be any of its workloads.",
				"A SPIFFE ID can be given to another workload once its entry is gone: it is a name, and as lasting as the rules by which entries are made.",
			},
		},
	}
}

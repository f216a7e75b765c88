// Package azuredevops describes the tokens of Azure DevOps service connections.
package azuredevops

import (
	"errors"
	"regexp"
	"strings"
	"time"

	"cambio/providers/oidc"
	"cambio/trust"
)

// Platform is configuration type azure-devops: workload identity federation of
// service connections, by either of its two issuers.
//
//   - Microsoft Entra, https://login.microsoftonline.com/TENANT/v2.0, the default
//     since November 2025. It speaks for every workload of the tenant, and sub,
//     /eid1/c/pub/t/TENANT/a/APP/sc/ORGANIZATION/CONNECTION, for one connection, by
//     ids. So the issuer is one tenant's, and sub is pinned whole.
//   - Azure DevOps itself, https://vstoken.dev.azure.com/ORGANIZATION, which goes on
//     2027-07-01 but for sovereign clouds and applications of several tenants. Its
//     sub, sc://ORGANIZATION/PROJECT/CONNECTION, is made of names, which the
//     organisation can give to another connection.
//
// The identity is the connection, and not the pipeline or the branch that uses
// it: what may use it is said in Azure DevOps, by its approvals and checks. Tokens
// of other kinds by the same issuers are refused.
func Platform() oidc.Platform {
	text := trust.Claim{Type: trust.StringClaim}
	claims := oidc.StandardClaims()
	claims["nbf"] = trust.Claim{Type: trust.IntClaim, Always: true}
	claims["tid"] = text // of Entra
	return oidc.Platform{
		Platform: trust.Platform{
			Name:    "azure-devops",
			Claims:  claims,
			Anchors: []string{"sub"},
			Lint:    lint,
			Journal: []string{"iss", "iat", "exp", "sub", "tid"},
			Sample: map[string]any{
				"iss": "https://login.microsoftonline.com/5d1f7c3a-8e24-4b6f-9a0d-2c3e4f5a6b7c/v2.0",
				"aud": "https://id.acme.example",
				"sub": "/eid1/c/pub/t/OnwfXSSOb0uaDSw-T1prfA/a/bDtA7z5frECGhSju0pIq1Q" +
					"/sc/7b1c2d3e-4f50-4a6b-8c7d-9e0f1a2b3c4d/0d9e8f7a-6b5c-4d3e-9f2a-1b0c9d8e7f6a",
				"iat": int64(1795320000),
				"nbf": int64(1795320000),
				"exp": int64(1795320600),
				"tid": "5d1f7c3a-8e24-4b6f-9a0d-2c3e4f5a6b7c",
			},
		},
		Algs: []string{"RS256"},
		// The job asks for a fresh one for each exchange.
		TokenUse:      trust.Once,
		MaxAge:        time.Hour,
		Typ:           []string{"jwt"},
		Workload:      []oidc.Segment{{Claim: "sub"}},
		Check:         check,
		FixedAudience: true,
		IssuerForm:    regexp.MustCompile(`^https://(login\.microsoftonline\.com/` + guid + `/v2\.0|vstoken\.dev\.azure\.com/` + guid + `)$`),
		Facts: oidc.Facts{
			Title:    "Azure DevOps",
			Evidence: oidc.FromDocs,
			Source:   "https://learn.microsoft.com/azure/devops/pipelines/release/convert-service-connections",
			Obtain:   "by a call to `SYSTEM_OIDCREQUESTURI` with the job's `SYSTEM_ACCESSTOKEN` and the service connection's id",
			Page:     "azure-devops.md",
			Risks: []string{
				"The audience is Azure's own and cannot be chosen: a token shown here could be shown to Entra, and one for Entra here. Give the gateway a service connection that nothing in Azure trusts.",
				"The identity is the service connection: which pipelines and branches may use it is decided by its approvals and checks.",
				"The `sub` of the old issuer is made of names, which can be given to another connection of the organization.",
			},
		},
	}
}

const guid = `[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}`

// The two forms of sub.
var (
	entraSub = regexp.MustCompile(`^/eid1/c/[a-z]+/t/[A-Za-z0-9_-]{22}/a/[A-Za-z0-9_-]{22}/sc/` + guid + `/` + guid + `$`)
	namesSub = regexp.MustCompile(`^sc://[^/]+/[^/]+/[^/]+$`)
)

const (
	entra = "https://login.microsoftonline.com/"
	own   = "https://vstoken.dev.azure.com/"
)

var (
	errSub    = errors.New("sub is of no service connection")
	errIssuer = errors.New("sub is not of a form that this issuer sends")
	errTenant = errors.New("tid and iss name different tenants")
)

// check refuses what the issuers sign for others than service connections: for
// the pipelines of the one, for any workload of the other's tenant. It compares
// the tenant with the issuer, and the form of sub too, so that neither issuer
// speaks for the other's names.
func check(claims map[string]any) error {
	sub, _ := claims["sub"].(string)
	issuer, _ := claims["iss"].(string)
	ids, names := entraSub.MatchString(sub), namesSub.MatchString(sub)
	switch {
	case !ids && !names:
		return errSub
	case names && strings.HasPrefix(issuer, entra), ids && strings.HasPrefix(issuer, own):
		return errIssuer
	}
	if tenant, ok := strings.CutPrefix(issuer, entra); ok {
		tenant, _, _ = strings.Cut(tenant, "/")
		if tid, has := claims["tid"]; has && tid != tenant {
			return errTenant
		}
	}
	return nil
}

// lint says what only this platform's claims have to say about a trust.
func lint(t trust.Trust) []trust.Remark {
	var remarks []trust.Remark
	for _, line := range t.Match {
		if line.Claim.ID() != "/sub" {
			continue
		}
		for _, w := range line.Want {
			text, ok := w.Value.(string)
			if !ok || w.Glob {
				continue
			}
			r := trust.Remark{At: line.At, Field: "match." + line.Name}
			switch {
			case namesSub.MatchString(text):
				r.ID, r.Message = "mutable-claim", "the old issuer's sub is made of names, which can be given to another service connection"
				r.Fix = "convert the service connection to the Entra issuer, whose sub is made of ids"
			case !entraSub.MatchString(text):
				r.ID, r.Message = "never-sent", "the sub of a service connection is /eid1/c/pub/t/TENANT/a/APP/sc/ORGANIZATION/CONNECTION, its ids in lower case"
				r.Fix = "copy the subject identifier from the service connection"
			default:
				continue
			}
			remarks = append(remarks, r)
		}
	}
	return remarks
}

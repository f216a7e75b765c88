// Package azure describes the access tokens that Microsoft Entra ID signs for
// managed identities and applications, and reads Azure's own federation for drafts.
//
// oid is the id of a service principal, which Entra never gives twice; a display
// name, a mail address or a UPN can be changed, and taken by somebody else.
package azure

import (
	"errors"
	"net/url"
	"regexp"
	"strings"
	"time"

	"cambio/providers/oidc"
	"cambio/trust"
)

// maxAge is the age of the oldest token that a machine can have: Azure's metadata
// service keeps one for up to a day, and Entra dates tokens back by some minutes.
const maxAge = 25 * time.Hour

// issuers are Entra's issuers of one tenant, version 1 and 2, in the clouds of the
// world, the US government and China.
var issuers = regexp.MustCompile(`^https://(?:sts\.(?:windows\.net|chinacloudapi\.cn)/[0-9a-f-]{36}/|login\.(?:microsoftonline\.(?:com|us)|partner\.microsoftonline\.cn)/[0-9a-f-]{36}/v2\.0)$`)

// Platform is configuration type azure: access tokens for an API of one's own, of
// managed identities and of applications that act as themselves. Tokens of people
// are refused.
func Platform() oidc.Platform {
	text := trust.Claim{Type: trust.StringClaim}
	always := trust.Claim{Type: trust.StringClaim, Always: true}
	list := trust.Claim{Type: trust.ListClaim}
	claims := oidc.StandardClaims()
	for name, c := range map[string]trust.Claim{
		"nbf":       {Type: trust.IntClaim, Always: true},
		"oid":       always, // the service principal
		"tid":       always, // the tenant
		"ver":       {Type: trust.StringClaim, Always: true, Values: []string{"1.0", "2.0"}},
		"appid":     text, // version 1: the application
		"azp":       text, // version 2: the same
		"appidacr":  text, // version 1: how it proved itself
		"azpacr":    text, // version 2: the same
		"idp":       text,
		"idtyp":     text, // where the API asks for it: app
		"uti":       text,
		"xms_mirid": {Type: trust.StringClaim, PinnedBy: "oid"}, // a path of names
		"roles":     list,
		"groups":    list,
		"wids":      list,
	} {
		claims[name] = c
	}
	return oidc.Platform{
		Platform: trust.Platform{
			Name:    "azure",
			Claims:  claims,
			Anchors: []string{"oid"},
			Pinned:  []string{"tid"},
			Journal: []string{"iss", "iat", "exp", "oid", "tid", "ver", "appid", "azp", "idtyp", "xms_mirid"},
			Sample: map[string]any{
				"aud":       "https://id.acme.example",
				"iss":       "https://sts.windows.net/aaaabbbb-0000-cccc-1111-dddd2222eeee/",
				"iat":       int64(1795320000),
				"nbf":       int64(1795320000),
				"exp":       int64(1795406400),
				"appid":     "0a0a0a0a-0000-4000-8000-000000000001",
				"appidacr":  "2",
				"idp":       "https://sts.windows.net/aaaabbbb-0000-cccc-1111-dddd2222eeee/",
				"idtyp":     "app",
				"oid":       "0b0b0b0b-0000-4000-8000-000000000002",
				"sub":       "0b0b0b0b-0000-4000-8000-000000000002",
				"tid":       "aaaabbbb-0000-cccc-1111-dddd2222eeee",
				"uti":       "x6vKdDDjMkiJCdQxPZAAAA",
				"ver":       "1.0",
				"xms_mirid": "/subscriptions/00000000-0000-0000-0000-000000000003/resourcegroups/payments/providers/Microsoft.ManagedIdentity/userAssignedIdentities/deployer",
			},
		},
		Algs: []string{"RS256"},
		// The metadata service hands out the same token until shortly before it ends, so
		// that the workload cannot fetch a fresh one.
		TokenUse:         trust.UntilExpiry,
		MaxAge:           maxAge,
		KeysHosts:        []string{"login.microsoftonline.com", "login.windows.net", "login.microsoftonline.us", "login.partner.microsoftonline.cn", "login.chinacloudapi.cn"},
		Typ:              []string{"jwt"},
		Workload:         []oidc.Segment{{Claim: "tid"}, {Claim: "oid"}},
		Check:            check,
		ReservedAudience: reserved,
		IssuerForm:       issuers,
		Facts: oidc.Facts{
			Title: "Azure (managed identities, Entra applications)", Evidence: oidc.FromDocs, Page: "azure-workloads.md",
			Source: "https://learn.microsoft.com/en-us/entra/identity-platform/access-token-claims-reference; xms_mirid as smallstep/certificates authority/provisioner/azure.go reads it",
			Obtain: "asks the service's identity endpoint, or the machine's metadata server, for the audience that it is given",
			Risks: []string{
				"The keys are those of all tenants: the issuer names the tenant, and `tid` is compared with it.",
				"A token works until it ends, up to 24 hours: Azure hands out the same one again and again, so that it cannot be held to one use.",
				"`xms_mirid` is a path of names, which can be deleted and made again: pin `oid`.",
				"Tokens of people are refused; whoever may sign in as the application is the application.",
			},
		},
	}
}

// ofPeople are claims that only tokens of people have, or tokens that an
// application got on behalf of one.
func ofPeople() []string {
	return []string{"scp", "upn", "preferred_username", "unique_name", "email", "given_name", "family_name"}
}

// check takes tokens of applications that act as themselves, of the issuer's tenant.
func check(claims map[string]any) error {
	text := func(name string) string { s, _ := claims[name].(string); return s }
	for _, name := range ofPeople() {
		if _, has := claims[name]; has {
			return errors.New("the claim " + name + " is there: the token is a person's, or on behalf of one")
		}
	}
	if idtyp, has := claims["idtyp"]; has && idtyp != "app" {
		return errors.New("idtyp is not app: the token is not of an application that acts as itself")
	}
	// An ID token, which a person gets by signing in, names no application as the
	// client; and in a person's access token sub and oid differ.
	switch {
	case text("appid") == "" && text("azp") == "":
		return errors.New("neither appid nor azp is there: this is no access token")
	case text("sub") != text("oid"):
		return errors.New("sub and oid differ: the token is not of an application that acts as itself")
	}
	// The key set is that of all tenants, so that the issuer alone says whose token it
	// is: tid must not say another.
	u, err := url.Parse(text("iss"))
	if err != nil {
		return errors.New("iss is no URL")
	}
	tenant, rest, _ := strings.Cut(strings.TrimPrefix(u.Path, "/"), "/")
	if tenant == "" || tenant != text("tid") {
		return errors.New("tid is not the issuer's tenant")
	}
	if (rest == "v2.0") != (text("ver") == "2.0") {
		return errors.New("ver is not that of the issuer")
	}
	return nil
}

// reserved reports the audiences of Microsoft's own services. A token for one of
// them opens it to whoever receives it, and every workload of Azure can have one.
func reserved(_, audience string) bool {
	switch strings.ToLower(audience) {
	case "00000002-0000-0000-c000-000000000000", "00000003-0000-0000-c000-000000000000", // Azure AD Graph, Microsoft Graph
		"797f4846-ba00-4fd7-ba43-dac1f8f63013": // Azure Resource Manager
		return true
	}
	if strings.HasPrefix(strings.ToLower(audience), "api://azureadtokenexchange") {
		return true
	}
	u, err := url.Parse(audience)
	if err != nil {
		return false
	}
	host := "." + strings.TrimSuffix(strings.ToLower(u.Hostname()), ".")
	for _, own := range []string{".azure.com", ".azure.net", ".azure.us", ".azure.cn", ".windows.net", ".microsoft.com", ".microsoftonline.com", ".chinacloudapi.cn", ".usgovcloudapi.net"} {
		if strings.HasSuffix(host, own) {
			return true
		}
	}
	return false
}

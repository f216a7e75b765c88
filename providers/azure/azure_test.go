package azure_test

import (
	"testing"

	"cambio/providers/azure"
	"cambio/providers/providertest"
)

// Each row breaks one thing of a token that is taken.
func TestCheck(t *testing.T) {
	platform := azure.Platform()
	for name, c := range map[string]struct {
		change map[string]any
		good   bool
	}{
		"the sample":                 {nil, true},
		"without idtyp":              {map[string]any{"idtyp": nil}, true},
		"version 2":                  {map[string]any{"iss": "https://login.microsoftonline.com/aaaabbbb-0000-cccc-1111-dddd2222eeee/v2.0", "ver": "2.0", "appid": nil, "azp": "0a0a0a0a-0000-4000-8000-000000000001"}, true},
		"version 2 by 1's issuer":    {map[string]any{"ver": "2.0"}, false},
		"version 1 by 2's issuer":    {map[string]any{"iss": "https://login.microsoftonline.com/aaaabbbb-0000-cccc-1111-dddd2222eeee/v2.0"}, false},
		"another tenant":             {map[string]any{"tid": "ffffbbbb-0000-cccc-1111-dddd2222eeee"}, false},
		"no tenant":                  {map[string]any{"tid": nil}, false},
		"an issuer of all tenants":   {map[string]any{"iss": "https://sts.windows.net/"}, false},
		"a tenant that is no text":   {map[string]any{"tid": int64(1)}, false},
		"a person's scopes":          {map[string]any{"scp": "user_impersonation"}, false},
		"empty scopes":               {map[string]any{"scp": ""}, false},
		"a person's UPN":             {map[string]any{"upn": "alice@acme.example"}, false},
		"a person's name":            {map[string]any{"preferred_username": "alice@acme.example"}, false},
		"a unique name":              {map[string]any{"unique_name": "alice@acme.example"}, false},
		"a mail address":             {map[string]any{"email": "deployer@acme.example"}, false},
		"idtyp user":                 {map[string]any{"idtyp": "user"}, false},
		"idtyp that is no text":      {map[string]any{"idtyp": true}, false},
		"a pairwise sub":             {map[string]any{"sub": "lW1bQ0Xk"}, false},
		"an ID token":                {map[string]any{"appid": nil}, false},
		"an application of no name":  {map[string]any{"appid": ""}, false},
		"an application that is 1":   {map[string]any{"appid": int64(1)}, false},
		"an oid that is not the sub": {map[string]any{"oid": "1b0b0b0b-0000-4000-8000-000000000002"}, false},
	} {
		claims := providertest.Changed(platform.Sample, c.change)
		if err := platform.Check(claims); (err == nil) != c.good {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// What opens Microsoft's own services must not be our audience.
func TestReservedAudience(t *testing.T) {
	platform := azure.Platform()
	for aud, want := range map[string]bool{
		"https://management.azure.com": true, "https://management.azure.com/": true, "https://MANAGEMENT.azure.com./": true,
		"https://management.core.windows.net/": true, "https://graph.microsoft.com": true, "00000003-0000-0000-c000-000000000000": true,
		"https://vault.azure.net": true, "https://ossrdbms-aad.database.windows.net": true, "api://AzureADTokenExchange": true,
		"https://id.acme.example": false, "api://id.acme.example": false, "api://0a0a0a0a-0000-4000-8000-000000000001": false,
		"https://acme.onmicrosoft.com/cambio": false, "https://notazure.com": false, "https://cambio.azurewebsites.net": false,
	} {
		if got := platform.ReservedAudience("", aud); got != want {
			t.Errorf("%s: %t", aud, got)
		}
	}
}

func TestIssuers(t *testing.T) {
	form := azure.Platform().IssuerForm
	for issuer, want := range map[string]bool{
		"https://sts.windows.net/aaaabbbb-0000-cccc-1111-dddd2222eeee/":               true,
		"https://login.microsoftonline.com/aaaabbbb-0000-cccc-1111-dddd2222eeee/v2.0": true,
		"https://login.microsoftonline.us/aaaabbbb-0000-cccc-1111-dddd2222eeee/v2.0":  true,
		"https://sts.windows.net/aaaabbbb-0000-cccc-1111-dddd2222eeee":                false, // the slash is part of it
		"https://login.microsoftonline.com/common/v2.0":                               false,
		"https://login.microsoftonline.com/organizations/v2.0":                        false,
		"https://sts.windows.net.evil.example/aaaabbbb-0000-cccc-1111-dddd2222eeee/":  false,
	} {
		if form.MatchString(issuer) != want {
			t.Errorf("%s: want %t", issuer, want)
		}
	}
}

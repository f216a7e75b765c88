package providers_test

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"cambio/providers"
)

func TestImportVault(t *testing.T) {
	role := func(members string) []byte {
		return []byte(`{"request_id": "x", "data": {"role_type": "jwt", "user_claim": "sub", "bound_audiences": ["https://vault.acme.example"], "token_policies": ["deploy"], "token_ttl": 3600, ` + members + `}}`)
	}
	const (
		said    = "info import-audience"
		granted = "warning import-permissions"
	)
	owned := []map[string][]any{{"/repository_owner_id": {"9919"}}}
	for _, c := range []sourceCase{
		{
			name: "ids and a list", source: providers.ImportSource{Data: role(`"bound_claims": {"repository_id": "41881900", "repository_owner_id": ["9919"], "ref": ["refs/heads/main", "refs/heads/next"]}, "bound_claims_type": "string"`)},
			findings: []string{said, "info import-narrower", granted}, pins: []map[string][]any{{"/repository_id": {"41881900"}, "/repository_owner_id": {"9919"}, "/ref": {"refs/heads/main", "refs/heads/next"}}},
		},
		{
			name: "a glob", source: providers.ImportSource{Data: role(`"bound_claims": {"sub": "repo:acme/payments:ref:refs/heads/*"}, "bound_claims_type": "glob"`), Claims: [][]byte{paymentsClaims()}},
			findings: []string{said, "warning import-narrower", granted}, pins: []map[string][]any{{"/repository_id": {"41881900"}, "/repository_owner_id": {"9919"}}},
		},
		{
			name: "a subject", source: providers.ImportSource{Data: role(`"bound_subject": "repo:acme/payments:ref:refs/heads/main", "bound_claims": null, "bound_claims_type": "string"`), Claims: [][]byte{paymentsClaims()}},
			findings: []string{said, granted}, pins: []map[string][]any{{"/repository_id": {"41881900"}, "/repository_owner_id": {"9919"}, "/ref": {"refs/heads/main"}}},
		},
		{
			name: "a claim that it is named by", source: providers.ImportSource{Data: role(`"user_claim_json_pointer": true, "groups_claim": "environment", "bound_claims": {"repository_owner_id": "9919"}`)},
			findings: []string{said, "info import-narrower", granted}, pins: owned,
			may: []map[string]any{claimsOf(map[string]any{"environment": "prod"})}, mayNot: []map[string]any{claimsOf(nil)},
		},
		{
			name: "a number and a boolean", platform: "oidc", source: providers.ImportSource{Issuer: ownIss, Data: role(`"bound_claims": {"project": "p1", "iat": 5, "exp": [1, 2]}`)},
			findings: []string{"warning import-audience", granted}, pins: []map[string][]any{{"/project": {"p1"}}},
			may:    []map[string]any{{"sub": "s", "project": "p1", "iat": int64(5), "exp": int64(2)}},
			mayNot: []map[string]any{{"sub": "s", "project": "p1", "iat": int64(6), "exp": int64(2)}, {"sub": "s", "project": "p1", "iat": "5", "exp": int64(2)}},
		},
		{
			name: "a namespace", platform: "kubernetes", source: providers.ImportSource{Issuer: clusterIss, Data: role(`"bound_claims": {"/kubernetes.io/namespace": "pay", "/kubernetes.io/serviceaccount/name": "api"}`)},
			findings: []string{said, granted}, pins: []map[string][]any{{"/kubernetes.io/namespace": {"pay"}, "/kubernetes.io/serviceaccount/name": {"api"}}},
		},
		{
			name: "uses", source: providers.ImportSource{Data: role(`"token_num_uses": 1, "bound_claims": {"repository_owner_id": "9919"}`)},
			findings: []string{said, "info import-narrower", granted}, pins: owned,
		},
		{name: "a question mark", source: providers.ImportSource{Data: role(`"bound_claims": {"ref": "a?"}, "bound_claims_type": "glob"`)}, findings: []string{"error import-pattern", granted}},
		{name: "several types", source: providers.ImportSource{Data: role(`"bound_claims": {"ref": ["a", true]}`)}, findings: []string{"error import-condition", granted}},
		{name: "an object", source: providers.ImportSource{Data: role(`"bound_claims": {"ref": {"a": 1}}`)}, findings: []string{"error import-condition", granted}},
		{name: "nothing that fits", source: providers.ImportSource{Data: role(`"bound_claims": {"ref": []}`)}, findings: []string{"error import-nothing", granted}},
		{name: "two subjects", source: providers.ImportSource{Data: role(`"bound_subject": "a", "bound_claims": {"sub": "b"}`)}, findings: []string{"error import-nothing", granted}},
		{name: "another type of claims", source: providers.ImportSource{Data: role(`"bound_claims_type": "regex"`)}, findings: []string{"error import-syntax", granted}},
		{name: "claims that are none", source: providers.ImportSource{Data: role(`"bound_claims": 1`)}, findings: []string{"error import-syntax", granted}},
		{name: "networks that are none", source: providers.ImportSource{Data: role(`"token_bound_cidrs": ["x"]`)}, findings: []string{"error import-condition", granted}},
		{name: "networks of numbers", source: providers.ImportSource{Data: role(`"token_bound_cidrs": [1]`)}, findings: []string{"error import-syntax", granted}},
		{name: "a fresh login", source: providers.ImportSource{Data: role(`"max_age": 5`)}, findings: []string{"error import-condition", granted}},
		{name: "nobody in particular", source: providers.ImportSource{Data: role(`"max_age": 0`)}, findings: []string{"error import-no-anchor", said, granted}},
		{name: "an element", source: providers.ImportSource{Data: role(`"cel_program": "x", "bound_claims": {"repository_owner_id": "9919"}`)}, findings: []string{"error import-syntax", said, "info import-narrower", granted}},
		{name: "for people", source: providers.ImportSource{Data: []byte(`{"role_type": "oidc"}`)}, findings: []string{"error import-syntax"}},
		{name: "no JSON", source: providers.ImportSource{Data: []byte(`x`)}, findings: []string{"error import-syntax"}},
		{name: "too large", source: providers.ImportSource{Data: []byte(strings.Repeat(" ", 1<<20))}, findings: []string{"error import-syntax"}},
	} {
		c.source.Kind = "vault"
		if c.source.Issuer == "" {
			c.source.Issuer = githubIss
		}
		if c.platform == "" {
			c.platform = "github-actions"
		}
		t.Run(c.name, c.run)
	}
	im := providers.ReadImport(providers.ImportSource{Kind: "vault", Data: role(`"bound_claims": {"repository_owner_id": "9919"}`)}, importWorld())
	if diff := cmp.Diff([]string{"error import-issuer", granted}, ids(im.Findings)); diff != "" {
		t.Error(diff)
	}
}

// TestImportCarriesNetworksAndLifetimes: left out, a credential would live longer
// than a token of today, or be good from anywhere.
func TestImportCarriesNetworksAndLifetimes(t *testing.T) {
	const role = `{"role_type": "jwt", "bound_claims": {"repository_owner_id": "9919"}, "token_bound_cidrs": ["10.1.2.3/8", "192.0.2.1", "2001:db8::1/32"], "token_ttl": 3600, "token_max_ttl": 300}`
	im := providers.ReadImport(providers.ImportSource{Kind: "vault", Issuer: githubIss, Data: []byte(role)}, importWorld())
	if len(im.Drafts) != 1 {
		t.Fatal(im.Findings)
	}
	d := im.Drafts[0].Draft
	if diff := cmp.Diff([]string{"10.0.0.0/8", "192.0.2.1/32", "2001:db8::/32"}, d.Networks); diff != "" || d.TTL != "5m" {
		t.Errorf("ttl %s\n%s", d.TTL, diff)
	}
	d.TTL = "15m" // an AWS account's least
	compiled(t, d, "github-actions")
	for seconds, want := range map[string]string{"600": "10m", "601": "601s", "900": "", "7200": "", "0": "", "9223372036854775807": ""} {
		file := `{"role_type": "jwt", "bound_claims": {"repository_owner_id": "9919"}, "token_ttl": ` + seconds + `}`
		im := providers.ReadImport(providers.ImportSource{Kind: "vault", Issuer: githubIss, Data: []byte(file)}, importWorld())
		if len(im.Drafts) != 1 || im.Drafts[0].TTL != want || im.Lived == "" {
			t.Errorf("%s seconds: %+v", seconds, im)
		}
	}
}

package providers_test

import (
	"encoding/json"
	"strings"
	"testing"

	"cambio/providers"
)

func TestImportAzure(t *testing.T) {
	credential := func(issuer, subject, expression string) []byte {
		c := map[string]any{
			"audiences": []string{"api://AzureADTokenExchange"}, "id": "x", "issuer": issuer, "name": "deploy", "resourceGroup": "rg", "subject": nil, "systemData": nil,
			"type": "Microsoft.ManagedIdentity/userAssignedIdentities/federatedIdentityCredentials",
		}
		if subject != "" {
			c["subject"] = subject
		}
		if expression != "" {
			c["claimsMatchingExpression"] = map[string]any{"languageVersion": 1, "value": expression}
		}
		b, _ := json.Marshal(c) //nolint:errchkjson // texts
		return b
	}
	const said = "info import-audience"
	main := []map[string][]any{{"/repository_owner_id": {"9919"}, "/repository_id": {"41881900"}, "/ref": {"refs/heads/main"}}}
	for _, c := range []sourceCase{
		{
			name: "a branch", source: providers.ImportSource{Data: credential(githubIss, "repo:acme/payments:ref:refs/heads/main", ""), Claims: [][]byte{paymentsClaims()}},
			findings: []string{said}, pins: main,
			may: []map[string]any{claimsOf(nil)}, mayNot: []map[string]any{claimsOf(map[string]any{"environment": "prod"})},
		},
		{
			name:     "a pattern and ids",
			source:   providers.ImportSource{Data: credential(githubIss, "", "claims['sub'] matches 'repo:acme/payments:ref:refs/heads/*' and claims['repository_id'] eq '41881900' and claims['repository_owner_id'] eq '9919'")},
			findings: []string{said, "warning import-narrower"}, pins: []map[string][]any{{"/repository_owner_id": {"9919"}, "/repository_id": {"41881900"}}},
			may: []map[string]any{claimsOf(nil)}, mayNot: []map[string]any{claimsOf(map[string]any{"ref": "refs/heads/a/b"})},
		},
		{
			name: "a workflow", source: providers.ImportSource{Data: credential(githubIss, "", "claims['job_workflow_ref'] eq 'acme/ci/.github/workflows/x.yml@refs/heads/main'")},
			findings: []string{"error import-no-anchor", said},
		},
		{
			name: "a service account", platform: "kubernetes", source: providers.ImportSource{Data: credential("https://eastus.oic.prod-aks.azure.com/tenant/id/", "system:serviceaccount:pay:api", "")},
			findings: []string{said}, pins: []map[string][]any{{"/kubernetes.io/namespace": {"pay"}, "/kubernetes.io/serviceaccount/name": {"api"}}},
		},
		{
			name: "a star that is none", source: providers.ImportSource{Data: credential(githubIss, "repo:acme/payments:*", "")},
			findings: []string{"error import-pattern", said},
		},
		{name: "one character", source: providers.ImportSource{Data: credential(githubIss, "", "claims['sub'] matches 'repo:acme@9919/payments@41881900:ref:refs/heads/?'")}, findings: []string{"error import-pattern", said}},
		{name: "or", source: providers.ImportSource{Data: credential(githubIss, "", "claims['sub'] eq 'a' or claims['sub'] eq 'b'")}, findings: []string{"error import-condition"}},
		{name: "a quote", source: providers.ImportSource{Data: credential(githubIss, "", "claims['sub'] eq 'a''b'")}, findings: []string{"error import-condition"}},
		{name: "an escape", source: providers.ImportSource{Data: credential(githubIss, "", `claims['sub'] matches 'a\*'`)}, findings: []string{"error import-condition"}},
		{name: "and nothing", source: providers.ImportSource{Data: credential(githubIss, "", "claims['sub'] eq 'a' and ")}, findings: []string{"error import-condition"}},
		{name: "another case", source: providers.ImportSource{Data: credential(githubIss, "", "claims['sub'] EQ 'a'")}, findings: []string{"error import-condition"}},
		{name: "both", source: providers.ImportSource{Data: credential(githubIss, "a", "claims['sub'] eq 'a'")}, findings: []string{"error import-syntax"}},
		{name: "neither", source: providers.ImportSource{Data: credential(githubIss, "", "")}, findings: []string{"error import-syntax"}},
		{name: "another language", source: providers.ImportSource{Data: []byte(strings.Replace(string(credential(githubIss, "", "x")), `"languageVersion":1`, `"languageVersion":2`, 1))}, findings: []string{"error import-syntax"}},
		{name: "no issuer", source: providers.ImportSource{Data: []byte(`{"subject": "x", "audiences": ["a"]}`)}, findings: []string{"error import-syntax"}},
		{name: "no JSON", source: providers.ImportSource{Data: []byte(`x`)}, findings: []string{"error import-syntax"}},
		{name: "too large", source: providers.ImportSource{Data: []byte(strings.Repeat(" ", 1<<20))}, findings: []string{"error import-syntax"}},
		{name: "an element", source: providers.ImportSource{Data: []byte(strings.Replace(string(credential(githubIss, "x", "")), `"name"`, `"deny": 1, "name"`, 1))}, findings: []string{"error import-subject", "error import-syntax", said}},
	} {
		c.source.Kind = "azure"
		if c.platform == "" {
			c.platform = "github-actions"
		}
		t.Run(c.name, c.run)
	}
}

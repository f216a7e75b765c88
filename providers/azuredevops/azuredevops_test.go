package azuredevops_test

import (
	"testing"

	"github.com/google/go-cmp/cmp"

	"cambio/providers/azuredevops"
	"cambio/providers/providertest"
)

const (
	ids   = "/eid1/c/pub/t/OnwfXSSOb0uaDSw-T1prfA/a/bDtA7z5frECGhSju0pIq1Q/sc/7b1c2d3e-4f50-4a6b-8c7d-9e0f1a2b3c4d/0d9e8f7a-6b5c-4d3e-9f2a-1b0c9d8e7f6a"
	names = "sc://acme/payments/deploy"
	own   = "https://vstoken.dev.azure.com/7b1c2d3e-4f50-4a6b-8c7d-9e0f1a2b3c4d"
)

// TestCheck: each issuer speaks for service connections alone, in its own form,
// and for its own tenant.
func TestCheck(t *testing.T) {
	platform := azuredevops.Platform()
	for name, c := range map[string]struct {
		change map[string]any // nil takes a claim away
		ok     bool
	}{
		"Entra":           {nil, true},
		"no tid":          {map[string]any{"tid": nil}, true},
		"the old issuer":  {map[string]any{"iss": own, "sub": names, "tid": nil}, true},
		"spaces in names": {map[string]any{"iss": own, "sub": "sc://acme/My Project/My Connection", "tid": nil}, true},
		"a cloud of its own": {map[string]any{
			"iss": "https://login.microsoftonline.us/5d1f7c3a-8e24-4b6f-9a0d-2c3e4f5a6b7c/v2.0",
			"sub": "/eid1/c/usg/t/OnwfXSSOb0uaDSw-T1prfA/a/bDtA7z5frECGhSju0pIq1Q/sc/7b1c2d3e-4f50-4a6b-8c7d-9e0f1a2b3c4d/0d9e8f7a-6b5c-4d3e-9f2a-1b0c9d8e7f6a",
		}, true},

		"another tenant":             {map[string]any{"tid": "ffffffff-8e24-4b6f-9a0d-2c3e4f5a6b7c"}, false},
		"tid is a number":            {map[string]any{"tid": int64(1)}, false},
		"names by Entra":             {map[string]any{"sub": names}, false},
		"ids by the old issuer":      {map[string]any{"iss": own, "tid": nil}, false},
		"a managed identity":         {map[string]any{"sub": "0d9e8f7a-6b5c-4d3e-9f2a-1b0c9d8e7f6a"}, false},
		"another workload of tenant": {map[string]any{"sub": "/eid1/c/pub/t/OnwfXSSOb0uaDSw-T1prfA/a/bDtA7z5frECGhSju0pIq1Q/agents/x"}, false},
		"a pipeline":                 {map[string]any{"iss": own, "sub": "p://acme/payments/deploy", "tid": nil}, false},
		"more behind it":             {map[string]any{"sub": ids + "/x"}, false},
		"more before it":             {map[string]any{"sub": "x" + ids}, false},
		"an id in capitals":          {map[string]any{"sub": "/eid1/c/pub/t/OnwfXSSOb0uaDSw-T1prfA/a/bDtA7z5frECGhSju0pIq1Q/sc/7B1C2D3E-4F50-4A6B-8C7D-9E0F1A2B3C4D/0d9e8f7a-6b5c-4d3e-9f2a-1b0c9d8e7f6a"}, false},
		"four names":                 {map[string]any{"iss": own, "sub": names + "/x", "tid": nil}, false},
		"a name that is empty":       {map[string]any{"iss": own, "sub": "sc://acme//deploy", "tid": nil}, false},
		"none":                       {map[string]any{"sub": nil}, false},
	} {
		t.Run(name, func(t *testing.T) {
			claims := providertest.Changed(platform.Sample, c.change)
			if err := platform.Check(claims); (err == nil) != c.ok {
				t.Errorf("got %v", err)
			}
		})
	}
}

// TestDocuments: what loading and the linter say of trusts.
func TestDocuments(t *testing.T) {
	for name, c := range map[string]struct {
		match string
		want  []string
	}{
		"sub":               {"match: {sub: " + ids + "}", nil},
		"several":           {"match: {sub: [" + ids + ", " + ids[:len(ids)-1] + "b]}", nil},
		"the tenant":        {"match: {tid: 5d1f7c3a-8e24-4b6f-9a0d-2c3e4f5a6b7c}", []string{"trust-too-broad"}},
		"the organization":  {"match: {sub: {glob: \"/eid1/c/pub/t/*/a/*/sc/7b1c2d3e-4f50-4a6b-8c7d-9e0f1a2b3c4d/*\"}}", []string{"trust-too-broad"}},
		"names":             {"match: {sub: \"" + names + "\"}", []string{"mutable-claim"}},
		"a name alone":      {"match: {sub: deploy}", []string{"never-sent"}},
		"a part of its ids": {"match: {sub: 7b1c2d3e-4f50-4a6b-8c7d-9e0f1a2b3c4d/0d9e8f7a-6b5c-4d3e-9f2a-1b0c9d8e7f6a}", []string{"never-sent"}},
	} {
		t.Run(name, func(t *testing.T) {
			got := providertest.Documents{Platform: azuredevops.Platform()}.Findings(c.match)
			if diff := cmp.Diff(c.want, got); diff != "" {
				t.Error(diff)
			}
		})
	}
}

// TestIssuerForm: both issuers look right, and a tenant that is not named does not.
func TestIssuerForm(t *testing.T) {
	form := azuredevops.Platform().IssuerForm
	for issuer, want := range map[string]bool{
		own: true,
		"https://login.microsoftonline.com/5d1f7c3a-8e24-4b6f-9a0d-2c3e4f5a6b7c/v2.0": true,
		"https://login.microsoftonline.com/common/v2.0":                               false,
		"https://login.microsoftonline.com/5d1f7c3a-8e24-4b6f-9a0d-2c3e4f5a6b7c":      false,
		"https://vstoken.dev.azure.com/acme":                                          false,
		"https://vstoken.dev.azure.com.evil.example/7b1c2d3e":                         false,
	} {
		if got := form.MatchString(issuer); got != want {
			t.Errorf("%s: %t", issuer, got)
		}
	}
}

package gateway_test

import (
	"testing"
	"time"

	"cambio/gateway"
)

// TestConfigOfCallers starts from good providers of Amazon's and Microsoft's clouds
// and breaks one field.
func TestConfigOfCallers(t *testing.T) {
	const (
		head    = "issuer: https://id.acme.example\nidentity_providers:\n"
		tail    = "targets:\n  api: {type: jwt, audience: \"https://api.acme.example\"}\n"
		callers = "  aws: {type: aws-caller-identity, audience: \"https://id.acme.example\"}\n"
		entra   = "  azure: {type: azure, audience: \"api://cambio.acme.example\", issuer: \"https://sts.windows.net/aaaabbbb-0000-cccc-1111-dddd2222eeee/\", max_token_lifetime: 25h}\n"
	)
	ours := func(more string) string {
		return "  aws: {type: aws-caller-identity, audience: \"https://id.acme.example\", " + more + "}\n"
	}
	for name, x := range map[string]struct {
		providers string
		want      string // the finding; "" for none
	}{
		"good":               {callers + entra, ""},
		"another endpoint":   {ours(`endpoint: "https://vpce-1.sts.eu-central-1.vpce.amazonaws.com"`), ""},
		"a test's":           {ours(`endpoint: "http://127.0.0.1:9000", insecure_loopback: true`), ""},
		"http":               {ours(`endpoint: "http://sts.acme.example"`), "issuer-url-invalid"},
		"loopback":           {ours(`endpoint: "http://127.0.0.1:9000"`), "issuer-address-forbidden"},
		"keys":               {ours(`jwks_url: "https://sts.acme.example/keys"`), "provider-setting"},
		"an issuer":          {ours(`issuer: "https://sts.amazonaws.com"`), "provider-setting"},
		"a trust domain":     {ours(`trust_domain: acme.example`), "unknown-field"},
		"an endpoint of JWT": {"  aws: {type: aws, audience: \"https://id.acme.example\", issuer: \"https://abc.tokens.sts.global.api.aws\", endpoint: \"https://x.example\"}\n", "unknown-field"},
		"one audience twice": {callers + "  other: {type: aws-caller-identity, audience: \"https://id.acme.example\"}\n", "provider-duplicate"},
		"Azure's own": {
			"  azure: {type: azure, audience: \"https://management.azure.com\", issuer: \"https://sts.windows.net/aaaabbbb-0000-cccc-1111-dddd2222eeee/\"}\n", "audience-reserved",
		},
	} {
		c, fs := gateway.ParseConfig("cambio.yaml", []byte(head+x.providers+tail), nil, nil)
		got := ""
		for _, f := range fs {
			got = f.ID
		}
		if got != x.want {
			t.Errorf("%s: %v, want %q", name, fs, x.want)
		}
		if name == "good" && len(fs) == 0 {
			if p := c.Verified()[1]; p.MaxLifetime != 25*time.Hour {
				t.Errorf("defaults: %+v", p)
			}
		}
	}
}

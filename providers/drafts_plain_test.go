package providers_test

import (
	"encoding/json"
	"strings"
	"testing"
	"time"

	"cambio/providers"
	"cambio/trust"
)

// TestPlainDrafts: the draft of each platform, by its sample, loads, its tests hold,
// and it lets in the sample and not one with another anchor.
func TestPlainDrafts(t *testing.T) {
	for _, name := range providers.Drafted() {
		p := providers.Platforms()[name]
		claims := map[string]any{}
		for claim, v := range p.Sample {
			if _, alias := p.Aliases[claim]; !alias {
				claims[claim] = v
			}
		}
		payload, err := json.Marshal(claims)
		if err != nil {
			t.Fatal(err)
		}
		d, err := providers.Drafts(name, "orders", payload)
		if err != nil {
			t.Errorf("%s: %v", name, err)
			continue
		}
		d.Owner, d.From, d.To = "team@acme.test", "p", "api"
		document, err := d.YAML()
		if err != nil {
			t.Errorf("%s: %v", name, err)
			continue
		}
		now := time.Unix(1795320010, 0)
		policy, findings := trust.Compile(trust.World{
			Providers: map[string]trust.Provider{"p": {Platform: p.Platform, TokenUse: p.TokenUse}},
			Targets:   map[string]trust.Target{"api": {MaxTTL: time.Hour, Type: providers.TargetTypes()["jwt"]}},
		}, []trust.Source{{Name: "d.yaml", Data: document}}, now)
		if policy == nil {
			t.Errorf("%s: %s\n%s", name, findings, document)
			continue
		}
		for _, r := range policy.Test(now) {
			if !r.OK {
				t.Errorf("%s: the test %q: %s\n%s", name, r.Name, r.Reason, document)
			}
		}
		if !strings.Contains(string(document), p.Facts.Title) {
			t.Errorf("%s: it does not say of what", name)
		}
	}
}

func TestPlainDraftRefuses(t *testing.T) {
	for name, c := range map[string]struct{ platform, workload, claims string }{
		"no claims":      {"fly-io", "orders", ""},
		"no anchor":      {"fly-io", "orders", `{"sub":"a:b:c"}`},
		"a number":       {"fly-io", "orders", `{"app_id":7,"org_id":8}`},
		"a hostile name": {"fly-io", "a\nb", `{"app_id":"7","org_id":"8"}`},
		"no platform":    {"saml", "orders", `{}`},
		"the generic":    {"oidc", "orders", `{"sub":"x"}`},
	} {
		var claims []byte
		if c.claims != "" {
			claims = []byte(c.claims)
		}
		d, err := providers.Drafts(c.platform, c.workload, claims)
		if err == nil {
			_, err = d.YAML()
		}
		if err == nil {
			t.Errorf("%s: drafted", name)
		}
	}
}

package providertest

import (
	"maps"
	"slices"
	"strings"
	"testing"
	"time"

	"cambio/providers/oidc"
	"cambio/trust"
	"cambio/trust/check"
	"cambio/trust/strictyaml"
)

// Documents judges trust documents of one platform, for the tests of its package.
// They are from the provider `p`, and may grant the targets api and prod.
type Documents struct {
	Platform oidc.Platform
}

// now is when all platforms' samples are good.
func (d Documents) now() time.Time { return time.Unix(1795320010, 0).UTC() }

func (d Documents) world() trust.World {
	api := trust.TargetType{
		Name: "jwt",
		Fields: map[string]trust.Field{
			"resource": {Type: trust.StringField, Narrows: trust.Equal},
			"ttl":      {Type: trust.DurationField, Narrows: trust.Max},
		},
		MaxTTL: time.Hour,
	}
	p := oidc.Provider{Name: "p", Type: d.Platform.Name, Issuer: d.Platform.Issuer}
	return trust.World{
		TrustDomain: "gw.test",
		Providers: map[string]trust.Provider{"p": {
			Platform: d.Platform.Platform, TokenUse: d.Platform.TokenUse, Journal: d.Platform.Journal,
			WorkloadID: func(claims map[string]any) (string, error) {
				return oidc.WorkloadOf("gw.test", p, d.Platform, claims)
			},
		}},
		Targets: map[string]trust.Target{
			"api":  {Type: api, MaxTTL: time.Hour, Audience: "https://api.acme.example"},
			"prod": {Type: api, MaxTTL: time.Hour, Audience: "https://prod.acme.example"},
		},
	}
}

// compile reads a document that is given from match on.
func (d Documents) compile(match string) (*trust.Policy, []string) {
	text := "name: a-trust\nowner: team@acme.example\npurpose: A test\nfrom: p\n" + match
	if !strings.Contains(match, "grants:") {
		text += "\ngrants: [{to: api, ttl: 5m}]\n"
	}
	policy, findings := trust.Compile(d.world(), []trust.Source{{Name: "a.yaml", Data: []byte(text)}}, d.now())
	if policy != nil {
		findings = append(findings, check.Run(policy, check.Options{Now: d.now()})...)
	}
	var ids []string
	for _, f := range findings {
		if f.Severity != strictyaml.Info && !slices.Contains(ids, f.ID) {
			ids = append(ids, f.ID)
		}
	}
	slices.Sort(ids)
	return policy, ids
}

// Findings are the ids of what loading and the linter say of a document that is
// given from match on, sorted and each once, but for infos.
func (d Documents) Findings(match string) []string {
	_, ids := d.compile(match)
	return ids
}

// Decide says why a token of the platform's sample with these claims gets nothing
// by a document that is given from match on; "" where it is allowed. A claim that
// is nil is taken away. The platform's own check comes first, as in the verifier;
// the claims of aliases are the caller's to give.
func (d Documents) Decide(tb testing.TB, match string, claims map[string]any) trust.Reason {
	tb.Helper()
	policy, ids := d.compile(match)
	if policy == nil {
		tb.Fatalf("the document does not load: %v", ids)
	}
	token := Changed(d.Platform.Sample, claims)
	if d.Platform.Check != nil && d.Platform.Check(token) != nil {
		return trust.ReasonClaimInvalid
	}
	workload, err := d.world().Providers["p"].WorkloadID(token)
	if err != nil {
		return trust.ReasonWorkloadClaim
	}
	subject, _ := token["sub"].(string)
	issuer, _ := token["iss"].(string)
	decision := policy.Decide(trust.Identity{
		Provider: "p", Workload: workload, Subject: subject, Issuer: issuer, Audience: "https://id.acme.example",
		IssuedAt: d.now(), ExpiresAt: d.now().Add(time.Minute), Claims: token,
	}, trust.Request{Target: "api"}, trust.StopSet{}, d.now())
	if decision.Allow {
		return ""
	}
	return decision.Reason
}

// Changed are claims with some of them changed; one that is nil is taken away.
func Changed(claims, changes map[string]any) map[string]any {
	out := maps.Clone(claims)
	for name, v := range changes {
		if v == nil {
			delete(out, name)
		} else {
			out[name] = v
		}
	}
	return out
}

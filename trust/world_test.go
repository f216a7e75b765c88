package trust_test

import (
	"maps"
	"strings"
	"testing"
	"time"

	"cambio/trust"
)

// now is a Wednesday.
func now() time.Time { return time.Date(2026, 11, 25, 10, 0, 0, 0, time.UTC) }

// forge is a platform in the shape of a CI service.
func forge() trust.Platform {
	text := trust.Claim{Type: trust.StringClaim}
	return trust.Platform{
		Name: "forge",
		Claims: map[string]trust.Claim{
			"repository_id": text, "repository_owner_id": text, "repository": text, "ref": text, "actor": text,
			"environment": text, "workflow": text, "sub": text,
			"event_name": {Type: trust.StringClaim, Values: []string{"push", "pull_request", "workflow_dispatch"}},
			"attempt":    {Type: trust.IntClaim},
			"protected":  {Type: trust.BoolClaim},
			"score":      {Type: trust.DoubleClaim},
			"groups":     {Type: trust.ListClaim},
			"labels":     {Type: trust.MapClaim},
		},
		Anchors: []string{"repository_id", "repository_owner_id"},
		Advised: []string{"repository_id"},
		Guarded: map[string][]string{"event_name": {"pull_request"}},
		Sample: map[string]any{
			"sub": "repo:acme/app", "repository_id": "7", "repository_owner_id": "8", "repository": "acme/app",
			"ref": "refs/heads/main", "event_name": "push", "actor": "mona",
		},
	}
}

// cluster is a platform with nested claims.
func cluster() trust.Platform {
	text := trust.Claim{Type: trust.StringClaim, Always: true}
	return trust.Platform{
		Name: "cluster",
		Claims: map[string]trust.Claim{
			"sub": text, "/cluster.io/namespace": text, "/cluster.io/serviceaccount/name": text,
			"/cluster.io/pod/name": {Type: trust.StringClaim},
		},
		Aliases: map[string]string{
			"namespace": "/cluster.io/namespace", "service_account": "/cluster.io/serviceaccount/name", "pod": "/cluster.io/pod/name",
		},
		Anchors: []string{"namespace"},
		Advised: []string{"service_account"},
		Sample: map[string]any{"sub": "system:serviceaccount:a:b", "cluster.io": map[string]any{
			"namespace": "a", "serviceaccount": map[string]any{"name": "b"},
		}},
	}
}

func apiType() trust.TargetType {
	return trust.TargetType{
		Name: "api",
		Fields: map[string]trust.Field{
			"resource": {Type: trust.StringField, Narrows: trust.Equal},
			"scopes":   {Type: trust.StringsField, Narrows: trust.Subset},
			"ttl":      {Type: trust.DurationField, Narrows: trust.Max},
			"claims":   {Type: trust.ClaimsField, Narrows: trust.Opaque, Reserved: []string{"sub", "aud", "iss"}},
		},
		MaxTTL: time.Hour,
	}
}

func cloudType() trust.TargetType {
	return trust.TargetType{
		Name: "cloud",
		Fields: map[string]trust.Field{
			"resource": {Type: trust.StringField, Narrows: trust.Equal, Required: true},
			"ttl":      {Type: trust.DurationField, Narrows: trust.Max},
		},
		MinTTL: 15 * time.Minute, MaxTTL: 12 * time.Hour,
	}
}

func world() trust.World {
	return trust.World{
		Providers: map[string]trust.Provider{
			"ci":  {Platform: forge(), TokenUse: trust.OncePerGrant},
			"k8s": {Platform: cluster(), TokenUse: trust.UntilExpiry},
			"own": {
				Platform: trust.Platform{Name: "own"}, TokenUse: trust.Once,
				Claims: map[string]trust.Claim{"project": {Type: trust.StringClaim}}, Anchors: []string{"project"},
			},
		},
		Targets: map[string]trust.Target{
			"t1":    {Type: apiType(), MaxTTL: time.Hour, Audience: "api://t1"},
			"t2":    {Type: apiType(), MaxTTL: 10 * time.Minute, Audience: "api://t2"},
			"cloud": {Type: cloudType(), MaxTTL: time.Hour},
		},
	}
}

// base is a valid document; each test changes one thing.
const base = `name: tr1
owner: team@acme.test
purpose: main of app reads t1
from: ci
match:
  repository_id: "2"
  repository_owner_id: "1"
  ref: refs/heads/main
grants:
  - {to: t1, scopes: [read, list], ttl: 15m}
`

// edit replaces a piece of the base document, which must be there.
func edit(tb testing.TB, pairs ...string) string {
	tb.Helper()
	doc := base
	for i := 0; i < len(pairs); i += 2 {
		if !strings.Contains(doc, pairs[i]) {
			tb.Fatalf("the base document has no %q", pairs[i])
		}
		doc = strings.Replace(doc, pairs[i], pairs[i+1], 1)
	}
	return doc
}

func sources(docs ...string) []trust.Source {
	out := make([]trust.Source, len(docs))
	for i, d := range docs {
		out[i] = trust.Source{Name: string(rune('a'+i)) + ".yaml", Data: []byte(d)}
	}
	return out
}

// compile compiles documents that must load.
func compile(tb testing.TB, docs ...string) *trust.Policy {
	tb.Helper()
	p, findings := trust.Compile(world(), sources(docs...), now())
	if p == nil || findings.HasErrors() {
		tb.Fatalf("the documents do not load:\n%v", findings)
	}
	return p
}

// token is an identity that base matches, with some claims changed; a nil value
// takes the claim away.
func token(changes map[string]any) trust.Identity {
	claims := map[string]any{
		"sub": "repo:acme/app", "repository_id": "2", "repository_owner_id": "1", "repository": "acme/app",
		"ref": "refs/heads/main", "event_name": "push", "actor": "mona", "attempt": int64(1), "protected": true,
		"score": 0.5, "groups": []any{"dev", "ops"}, "labels": map[string]any{"env": "prod"},
	}
	maps.Copy(claims, changes)
	maps.DeleteFunc(claims, func(_ string, v any) bool { return v == nil })
	return trust.Identity{
		Provider: "ci", Workload: "spiffe://gw.test/ci/1/2", Subject: "repo:acme/app", Issuer: "https://ci.test",
		Audience: "https://gw.test", IssuedAt: now(), ExpiresAt: now().Add(5 * time.Minute), Claims: claims,
	}
}

// verdict is what tests compare of a decision.
type verdict struct {
	Reason trust.Reason
	Blame  trust.Blame
}

func judge(p *trust.Policy, id trust.Identity, req trust.Request) verdict {
	d := p.Decide(id, req, trust.StopSet{}, now())
	if d.Allow != (d.Reason == "") {
		panic("a decision must either allow or give a reason")
	}
	return verdict{d.Reason, d.Blame}
}

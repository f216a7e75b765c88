package prove_test

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"cambio/trust"
	"cambio/trust/prove"
)

// now is a Wednesday.
func now() time.Time { return time.Date(2026, 11, 25, 10, 0, 0, 0, time.UTC) }

// forge is a platform in the shape of a CI service.
func forge() trust.Platform {
	text := trust.Claim{Type: trust.StringClaim}
	every := trust.Claim{Type: trust.StringClaim, Always: true}
	return trust.Platform{
		Name: "forge",
		Claims: map[string]trust.Claim{
			"repository_id": every, "repository_owner_id": every, "repository": every, "ref": every, "actor": text,
			"environment": text, "workflow": text, "sub": every, "head_ref": every,
			"ref_type":           {Type: trust.StringClaim, Values: []string{"branch", "tag"}, Always: true},
			"runner_environment": {Type: trust.StringClaim, Values: []string{"hosted", "own"}, Always: true},
			"event_name":         every,
			"attempt":            {Type: trust.IntClaim},
			"protected":          {Type: trust.BoolClaim},
			"score":              {Type: trust.DoubleClaim},
			"groups":             {Type: trust.ListClaim},
			"labels":             {Type: trust.MapClaim},
		},
		Anchors: []string{"repository_id", "repository_owner_id"},
		Guarded: map[string][]string{"event_name": {"pull_request"}},
		Sample: map[string]any{
			"sub": "repo:acme/app", "aud": "https://id.test", "iss": "https://ci.test", "repository_id": "7", "repository_owner_id": "8",
			"repository": "acme/app", "ref": "refs/heads/main", "event_name": "push", "actor": "mona", "head_ref": "",
			"ref_type": "branch", "runner_environment": "hosted",
		},
	}
}

// cluster is a platform with nested claims and aliases.
func cluster() trust.Platform {
	text := trust.Claim{Type: trust.StringClaim, Always: true}
	return trust.Platform{
		Name: "cluster",
		Claims: map[string]trust.Claim{
			"sub": text, "cluster.io": {Type: trust.MapClaim, Always: true},
			"/cluster.io/namespace": text, "/cluster.io/serviceaccount/name": text, "/cluster.io/pod/name": {Type: trust.StringClaim},
		},
		Aliases: map[string]string{
			"namespace": "/cluster.io/namespace", "service_account": "/cluster.io/serviceaccount/name", "pod": "/cluster.io/pod/name",
		},
		Anchors: []string{"namespace"},
		Sample: map[string]any{
			"sub": "system:serviceaccount:a:b", "iss": "https://k8s.test", "aud": []any{"https://id.test"},
			"cluster.io": map[string]any{"namespace": "a", "serviceaccount": map[string]any{"name": "b"}},
			"namespace":  "a", "service_account": "b",
		},
	}
}

func world() trust.World {
	api := trust.TargetType{
		Name: "api",
		Fields: map[string]trust.Field{
			"resource": {Type: trust.StringField, Narrows: trust.Equal},
			"scopes":   {Type: trust.StringsField, Narrows: trust.Subset},
			"ttl":      {Type: trust.DurationField, Narrows: trust.Max},
			"claims":   {Type: trust.ClaimsField, Narrows: trust.Opaque, Reserved: []string{"sub", "aud", "iss"}},
		},
		MaxTTL: time.Hour,
	}
	cloud := trust.TargetType{
		Name: "cloud",
		Fields: map[string]trust.Field{
			"resource": {Type: trust.StringField, Narrows: trust.Equal, Required: true},
			"ttl":      {Type: trust.DurationField, Narrows: trust.Max},
			"tags":     {Type: trust.TemplatesField, Narrows: trust.Opaque},
		},
		MinTTL: 15 * time.Minute, MaxTTL: 12 * time.Hour,
	}
	workload := func(provider string, names ...string) func(map[string]any) (string, error) {
		return func(claims map[string]any) (string, error) {
			id := "spiffe://id.test/" + provider
			for _, n := range names {
				s, _ := claims[n].(string)
				if s == "" {
					return "", errors.New("no " + n)
				}
				id += "/" + s
			}
			return id, nil
		}
	}
	return trust.World{
		TrustDomain: "id.test",
		Providers: map[string]trust.Provider{
			"ci":  {Platform: forge(), TokenUse: trust.OncePerGrant, WorkloadID: workload("ci", "repository_owner_id", "repository_id")},
			"k8s": {Platform: cluster(), TokenUse: trust.UntilExpiry, WorkloadID: workload("k8s", "sub")},
			"own": {
				Platform: trust.Platform{Name: "own"}, TokenUse: trust.Once,
				Claims: map[string]trust.Claim{
					"project": {Type: trust.StringClaim}, "env": {Type: trust.StringClaim}, "protected": {Type: trust.BoolClaim},
					"level": {Type: trust.IntClaim},
				},
				Anchors: []string{"project"},
			},
		},
		Targets: map[string]trust.Target{
			"t1":         {Type: api, MaxTTL: time.Hour, Audience: "api://t1"},
			"t2":         {Type: api, MaxTTL: 10 * time.Minute, Audience: "api://t2"},
			"cloud-prod": {Type: cloud, MaxTTL: 12 * time.Hour},
			"cloud-dev":  {Type: cloud, MaxTTL: 12 * time.Hour},
		},
	}
}

func compile(tb testing.TB, docs ...string) *trust.Policy {
	tb.Helper()
	sources := make([]trust.Source, len(docs))
	for i, d := range docs {
		sources[i] = trust.Source{Name: fmt.Sprintf("%04d.yaml", i), Data: []byte(d)}
	}
	p, findings := trust.Compile(world(), sources, now())
	if p == nil {
		tb.Fatalf("the documents do not load:\n%v\n%s", findings, strings.Join(docs, "---\n"))
	}
	return p
}

// base is a valid trust; extra is put behind match.
func base(extra string) string {
	return `name: tr1
owner: team@acme.test
purpose: main of app reads t1
from: ci
match:
  repository_id: "2"
  repository_owner_id: "1"
` + extra
}

const toT1 = "grants:\n  - {to: t1, scopes: [read, write], ttl: 15m}\n"

func invariant(kind, condition string) string {
	return "invariant: inv\nowner: o\npurpose: p\nfrom: [ci]\n" + kind + ": '" + strings.ReplaceAll(condition, "'", "''") + "'\n"
}

func guardrail(condition string) string {
	return "guardrail: guard\nowner: o\npurpose: p\nfrom: [ci]\nforbid: '" + strings.ReplaceAll(condition, "'", "''") + "'\n"
}

func proveAll(tb testing.TB, docs ...string) []prove.Result {
	tb.Helper()
	pr, err := prove.New(compile(tb, docs...), now())
	if err != nil {
		tb.Fatal(err)
	}
	return pr.Invariants(context.Background())
}

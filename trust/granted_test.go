package trust_test

import (
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"cambio/trust"
)

// cloudWorld has a target whose type has fields of its own.
func cloudWorld() trust.World {
	w := world()
	kind := cloudType()
	kind.Fields["labels"] = trust.Field{Type: trust.TemplatesField, Narrows: trust.Opaque}
	kind.Fields["source"] = trust.Field{Type: trust.TemplateField, Narrows: trust.Opaque}
	w.Targets["cloud"] = trust.Target{Type: kind, MaxTTL: time.Hour}
	return w
}

func TestGranted(t *testing.T) {
	policy, findings := trust.Compile(cloudWorld(), []trust.Source{
		{Name: "b.yaml", Data: []byte(`name: b
owner: team@acme.test
purpose: the release job assumes two roles
expires: 2026-12-24
mode: shadow
from: ci
match:
  repository_id: ["2", "3"]
  repository_owner_id: "1"
  ref: {glob: "refs/tags/*"}
  environment: [prod, {glob: "prod-*"}]
  attempt: 1
grants:
  - {to: cloud, resource: "role/b", labels: {repo: "${claims.repository}"}, source: "${claims.actor}"}
  - {to: t1}
  - {to: cloud, resource: "role/a"}
`)},
		{Name: "a.yaml", Data: []byte(`name: a
owner: team@acme.test
purpose: the pods of one account assume a role
from: k8s
match:
  namespace: payments
  /cluster.io/serviceaccount/name: api
grants:
  - {to: cloud, resource: "role/a"}
`)},
	}, now())
	if policy == nil {
		t.Fatal(findings)
	}
	end := time.Date(2026, 12, 25, 0, 0, 0, 0, time.UTC)
	literal := func(resource string) trust.Grant {
		return trust.Grant{Target: "cloud", Resource: resource, TTL: 15 * time.Minute}
	}
	partly := literal("role/b") // what its labels and source are, the claims say
	partly.Extra = map[string]any{"labels": map[string]string{}}
	pins := map[string][]any{"/repository_id": {"2", "3"}, "/repository_owner_id": {"1"}, "/attempt": {int64(1)}}
	want := []trust.Granted{
		{Trust: "a", Provider: "k8s", Resource: "role/a", Pins: map[string][]any{
			"/cluster.io/namespace": {"payments"}, "/cluster.io/serviceaccount/name": {"api"},
		}, Literal: literal("role/a")},
		{Trust: "b", Provider: "ci", Shadow: true, Expires: end, Resource: "role/b", Pins: pins, Fields: []string{"labels", "source"}, Literal: partly},
		{Trust: "b", Provider: "ci", Shadow: true, Expires: end, Resource: "role/a", Pins: pins, Literal: literal("role/a")},
	}
	if diff := cmp.Diff(want, policy.Granted("cloud")); diff != "" {
		t.Error(diff)
	}
	if got := policy.Granted("nosuch"); got != nil {
		t.Errorf("nothing is granted at nosuch, got %v", got)
	}
	// What a caller does with its copy changes no policy.
	policy.Granted("cloud")[0].Pins["/cluster.io/namespace"][0] = "other"
	if diff := cmp.Diff(want, policy.Granted("cloud")); diff != "" {
		t.Error(diff)
	}
}

func TestPointerOfAName(t *testing.T) {
	for name, want := range map[string]string{
		"sub": "/sub", "/sub": "/sub", "a/b~c": "/a~1b~0c", "/k/n": "/k/n", "/a~2": "", "": "",
	} {
		got, ok := trust.Pointer(name)
		if ok != (want != "") || ok && got != want {
			t.Errorf("Pointer(%q) = %q, %v", name, got, ok)
		}
	}
}

package trust_test

import (
	"testing"

	"github.com/google/go-cmp/cmp"

	"cambio/trust"
)

// TestRecordedAndRestored holds that what the journal keeps of a token is what is
// listed, by the names that people know, and that it comes back to where it lay.
func TestRecordedAndRestored(t *testing.T) {
	t.Parallel()
	w := world()
	for name, journal := range map[string][]string{"k8s": {"iat", "namespace", "/cluster.io/pod/name", "pod"}, "ci": {"repository_id"}} {
		p := w.Providers[name]
		p.Journal = journal
		w.Providers[name] = p
	}
	p, findings := trust.Compile(w, sources(base), now())
	if p == nil {
		t.Fatal(findings)
	}
	nested := map[string]any{"namespace": "a", "serviceaccount": map[string]any{"name": "b"}, "pod": map[string]any{"name": "p-1"}}
	id := trust.Identity{Provider: "k8s", Claims: map[string]any{
		"sub": "x", "iat": int64(7), "cluster.io": nested, "namespace": "a", "service_account": "b", "pod": "p-1", "secret": "s",
	}}
	recorded := p.Recorded(&id)
	if diff := cmp.Diff(map[string]any{"iat": int64(7), "namespace": "a", "pod": "p-1"}, recorded); diff != "" {
		t.Error(diff)
	}
	claims, known := p.Restored("k8s", recorded, true)
	want := map[string]any{
		"iat": int64(7), "cluster.io": map[string]any{"namespace": "a", "pod": map[string]any{"name": "p-1"}}, "namespace": "a", "pod": "p-1",
	}
	if diff := cmp.Diff(want, claims); diff != "" {
		t.Error(diff)
	}
	told := func(known func(trust.ClaimRef) bool) map[string]bool {
		out := map[string]bool{}
		for _, name := range []string{"iat", "namespace", "pod", "service_account", "sub"} {
			ref, ok := p.Claim("k8s", name)
			if !ok {
				t.Fatal(name)
			}
			out[name] = known(ref)
		}
		return out
	}
	if diff := cmp.Diff(map[string]bool{"iat": true, "namespace": true, "pod": true, "service_account": false, "sub": false}, told(known)); diff != "" {
		t.Error(diff)
	}
	// A token without a pod: the list says that it had none, a record of evidence
	// alone does not.
	delete(recorded, "pod")
	recorded["gone"] = "a claim that the table no longer has"
	for listed, want := range map[bool]bool{true: true, false: false} {
		_, known := p.Restored("k8s", recorded, listed)
		if got := told(known)["pod"]; got != want {
			t.Errorf("listed %v: known %v", listed, got)
		}
	}
	for _, nobody := range []string{"own", "nobody", ""} {
		if got := p.Recorded(&trust.Identity{Provider: nobody, Claims: map[string]any{"repository_id": "2"}}); got != nil {
			t.Errorf("%q: %v", nobody, got)
		}
	}
	if claims, known := p.Restored("nobody", recorded, true); len(claims) > 0 || told(known)["iat"] {
		t.Error("an identity provider that is not there")
	}
	var none *trust.Policy
	if none.Recorded(&id) != nil {
		t.Error("no policy records")
	}
	p2 := w.Providers["ci"]
	p2.Journal = []string{"no_such_claim"}
	w.Providers["ci"] = p2
	if p, _ := trust.Compile(w, sources(base), now()); p != nil {
		t.Error("a list with an unknown claim compiles")
	}
}

func BenchmarkRecorded(b *testing.B) {
	w := world()
	ci := w.Providers["ci"]
	ci.Journal = []string{"repository_id", "repository_owner_id", "repository", "ref", "event_name", "sub", "attempt", "protected", "environment"}
	w.Providers["ci"] = ci
	p, findings := trust.Compile(w, sources(base), now())
	if p == nil {
		b.Fatal(findings)
	}
	id := token(nil)
	b.ReportAllocs()
	for b.Loop() {
		p.Recorded(&id)
	}
}

// BenchmarkHint is a refusal in an organisation that pins its own id everywhere.
func BenchmarkHint(b *testing.B) {
	for name, n := range map[string]int{"10": 10, "100000": 100_000} {
		b.Run(name, func(b *testing.B) {
			p, findings := trust.Compile(world(), corpus(n, true), now())
			if p == nil {
				b.Fatal(findings[0])
			}
			id := token(map[string]any{"repository": "acme/none"})
			req := trust.Request{Target: "t1"}
			d := p.Decide(id, req, trust.StopSet{}, now())
			b.ReportAllocs()
			for b.Loop() {
				if p.Hint(id, req, d, now()) == "" {
					b.Fatal("no hint")
				}
			}
		})
	}
}

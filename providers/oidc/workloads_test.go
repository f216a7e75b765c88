package oidc_test

import (
	"encoding/json"
	"errors"
	"log/slog"
	"slices"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"cambio/providers/oidc"
)

func listed() (oidc.Provider, oidc.Platform) {
	platform := oidc.Generic()
	platform.Aliases = map[string]string{"namespace": "/k.io/ns"}
	platform.Workload = []oidc.Segment{{Literal: "ns"}, {Claim: "/k.io/ns"}, {Claim: "id"}}
	return oidc.Provider{Name: "cluster", Type: "oidc"}, platform
}

func TestWorkloads(t *testing.T) {
	many := make([]any, 11)
	for i := range many {
		many[i] = string(rune('a' + i))
	}
	both := map[string][]any{"/k.io/ns": {"a", "b"}, "/id": {"1", "x y"}, "/other": {int64(1)}}
	for _, c := range []struct {
		name     string
		workload []string // of the configuration
		pins     map[string][]any
		want     []string
		open     []string
		fails    bool
	}{
		{name: "lists multiply", pins: both, want: []string{
			"spiffe://id.acme.test/cluster/ns/a/1", "spiffe://id.acme.test/cluster/ns/a/x_20y",
			"spiffe://id.acme.test/cluster/ns/b/1", "spiffe://id.acme.test/cluster/ns/b/x_20y",
		}},
		{name: "of the configuration", workload: []string{"id"}, pins: both, want: []string{"spiffe://id.acme.test/cluster/1", "spiffe://id.acme.test/cluster/x_20y"}},
		{name: "one is open", pins: map[string][]any{"/k.io/ns": {"a"}}, open: []string{"id"}},
		{name: "all are open, by their alias", open: []string{"namespace", "id"}},
		{name: "no text", pins: map[string][]any{"/k.io/ns": {"a"}, "/id": {"1", int64(1)}}, open: []string{"id"}},
		{name: "empty", pins: map[string][]any{"/k.io/ns": {"a"}, "/id": {""}}, open: []string{"id"}},
		{name: "too many", pins: map[string][]any{"/k.io/ns": many, "/id": many}, fails: true},
		{name: "too long", pins: map[string][]any{"/k.io/ns": {string(make([]byte, 2048))}, "/id": {"1"}}, fails: true},
	} {
		t.Run(c.name, func(t *testing.T) {
			p, platform := listed()
			p.Workload = c.workload
			got, err := oidc.Workloads("id.acme.test", p, platform, c.pins)
			var open *oidc.OpenError
			if errors.As(err, &open) != (c.open != nil) || c.open != nil && !slices.Equal(open.Claims, c.open) {
				t.Errorf("open claims: %v, want %v", err, c.open)
			}
			if (err != nil) != (c.fails || c.open != nil) {
				t.Errorf("error %v", err)
			}
			if diff := cmp.Diff(c.want, got); diff != "" {
				t.Error(diff)
			}
		})
	}
}

// FuzzWorkloads holds the list to what the verifier says of a token with these
// claims: a cloud would pin another identity else.
func FuzzWorkloads(f *testing.F) {
	f.Add("payments", "api")
	f.Add("..", "a/b_c")
	f.Add("é", "")
	at := time.Date(2026, 11, 22, 12, 0, 0, 0, time.UTC)
	p, platform := listed()
	p.Issuer, p.Audiences = "https://issuer.example", []string{"https://id.acme.example"}
	p.JWKSURL = "https://issuer.example/keys"
	set, err := oidc.New(oidc.Config{
		TrustDomain: "id.acme.test", Platforms: map[string]oidc.Platform{"oidc": platform}, Providers: []oidc.Provider{p},
		Now: func() time.Time { return at }, Log: slog.New(slog.DiscardHandler),
	})
	if err != nil {
		f.Fatal(err)
	}
	f.Fuzz(func(t *testing.T, ns, id string) {
		claims, err := json.Marshal(map[string]any{"sub": "s", "id": id, "k.io": map[string]any{"ns": ns}})
		if err != nil {
			t.Fatal(err)
		}
		read, err := oidc.ReadObject(claims) // what JSON made of bytes that are no text
		if err != nil {
			return
		}
		identity, err := set.Claimed("cluster", claims, at)
		k, _ := read["k.io"].(map[string]any)
		ids, listErr := oidc.Workloads("id.acme.test", p, platform, map[string][]any{"/id": {read["id"]}, "/k.io/ns": {k["ns"]}})
		if err != nil {
			return // longer than a claim may be, say
		}
		if listErr != nil || len(ids) != 1 || ids[0] != identity.Workload {
			t.Errorf("listed %q (%v), the verifier says %q", ids, listErr, identity.Workload)
		}
		if one, err := oidc.WorkloadOf("id.acme.test", p, platform, read); err != nil || one != identity.Workload {
			t.Errorf("of the claims alone %q (%v), the verifier says %q", one, err, identity.Workload)
		}
	})
}

func TestReadObject(t *testing.T) {
	if _, err := oidc.ReadObject([]byte(`{"a":{"b":1,"b":2}}`)); err == nil {
		t.Error("a repeated name has two meanings")
	}
	got, err := oidc.ReadObject([]byte(`{"a":["b",1]}`))
	if diff := cmp.Diff(map[string]any{"a": []any{"b", int64(1)}}, got); diff != "" || err != nil {
		t.Error(diff, err)
	}
}

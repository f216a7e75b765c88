package oidc_test

import (
	"strings"
	"testing"

	"github.com/spiffe/go-spiffe/v2/spiffeid"

	"cambio/providers/oidc"
)

func TestWorkloadID(t *testing.T) {
	segments := []oidc.Segment{{Literal: "ns"}, {Claim: "/a/b~1c~0d"}, {Claim: "e"}}
	for _, c := range []struct {
		a, e any
		want string // "" for an error
	}{
		{"prod", "api", "spiffe://gw.test/p1/ns/prod/api"},
		{"a_b", "A.b-9", "spiffe://gw.test/p1/ns/a_5fb/A.b-9"},
		{".", "..", "spiffe://gw.test/p1/ns/_2e/_2e_2e"},
		{"...", "a/b", "spiffe://gw.test/p1/ns/.../a_2fb"},
		{"é", "a b%20", "spiffe://gw.test/p1/ns/_c3_a9/a_20b_2520"},
		{"", "api", ""},
		{nil, "api", ""},
		{int64(1), "api", ""},
		{"prod", true, ""},
		{"prod", []any{"x"}, ""},
		{strings.Repeat("_", 1000), "api", ""},
	} {
		claims := map[string]any{"a": map[string]any{"b/c~d": c.a}, "e": c.e}
		got, err := oidc.WorkloadID("gw.test", "p1", segments, claims)
		if c.want == "" {
			if err == nil {
				t.Errorf("%v, %v: got %s", c.a, c.e, got)
			}
			continue
		}
		if err != nil || got != c.want {
			t.Errorf("%v, %v: got %s, %v; want %s", c.a, c.e, got, err, c.want)
			continue
		}
		if _, err := spiffeid.FromString(got); err != nil {
			t.Errorf("%s: %v", got, err)
		}
	}
}

// FuzzWorkloadID: every workload id is a SPIFFE ID, and two different pairs of
// claims never have the same one.
func FuzzWorkloadID(f *testing.F) {
	f.Add("a", "b", "a/b", "")
	f.Add("_", "5f", "_5f", "5f")
	f.Add(".", "..", "..", ".")
	f.Add("a_2f", "b", "a/", "b")
	segments := []oidc.Segment{{Claim: "x"}, {Claim: "y"}}
	f.Fuzz(func(t *testing.T, x1, y1, x2, y2 string) {
		one, err1 := oidc.WorkloadID("gw.test", "p", segments, map[string]any{"x": x1, "y": y1})
		two, err2 := oidc.WorkloadID("gw.test", "p", segments, map[string]any{"x": x2, "y": y2})
		for _, c := range []struct {
			id  string
			err error
		}{{one, err1}, {two, err2}} {
			if c.err != nil {
				if c.id != "" {
					t.Fatal("an error and an id")
				}
				continue
			}
			if _, err := spiffeid.FromString(c.id); err != nil {
				t.Fatalf("%q: %v", c.id, err)
			}
		}
		if err1 == nil && err2 == nil && (one == two) != (x1 == x2 && y1 == y2) {
			t.Fatalf("(%q, %q) and (%q, %q) are %s and %s", x1, y1, x2, y2, one, two)
		}
	})
}

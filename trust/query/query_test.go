package query_test

import (
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"cambio/trust"
	"cambio/trust/query"
)

// now is a Wednesday.
func now() time.Time { return time.Date(2026, 11, 25, 10, 0, 0, 0, time.UTC) }

func world() trust.World {
	text := trust.Claim{Type: trust.StringClaim}
	provider := trust.Provider{
		TokenUse: trust.Once,
		Platform: trust.Platform{
			Name: "forge", Anchors: []string{"repository_id", "owner_id"},
			Claims: map[string]trust.Claim{"repository_id": text, "owner_id": text, "ref": text},
		},
	}
	api := trust.TargetType{Name: "api", MaxTTL: time.Hour, Fields: map[string]trust.Field{
		"resource": {Type: trust.StringField, Narrows: trust.Equal}, "scopes": {Type: trust.StringsField, Narrows: trust.Subset}, "ttl": {Type: trust.DurationField, Narrows: trust.Max},
	}}
	return trust.World{
		Providers: map[string]trust.Provider{"ci": provider, "other": provider},
		Targets:   map[string]trust.Target{"a-prod": {Type: api, MaxTTL: time.Hour}, "a-test": {Type: api, MaxTTL: time.Hour}, "b": {Type: api, MaxTTL: time.Hour}},
	}
}

func policy(tb testing.TB) *trust.Policy {
	tb.Helper()
	docs := []string{
		"name: main\nfrom: ci\nmatch: {repository_id: \"2\", ref: main}\ngrants: [{to: a-prod, resource: r/1, scopes: [read]}, {to: b}]\n",
		"name: trial\nfrom: ci\nmode: shadow\nmatch: {repository_id: \"2\"}\ngrants: [{to: a-prod, resource: r/2}]\n",
		"name: gone\nfrom: ci\nexpires: 2026-11-24\nmatch: {repository_id: \"2\"}\ngrants: [{to: a-test}]\n",
		"name: twin\nfrom: ci\nmatch: {owner_id: \"1\"}\ngrants: [{to: b}]\n",
		"name: foreign\nfrom: other\nmatch: {owner_id: \"1\"}\ngrants: [{to: a-prod, resource: r/1}]\n",
		"guardrail: no-dev\nfrom: [ci]\nforbid: claims.?ref.orValue(\"\") == \"dev\"\n",
	}
	sources := make([]trust.Source, len(docs))
	for i, d := range docs {
		sources[i] = trust.Source{Name: string(rune('a'+i)) + ".yaml", Data: []byte(d + "owner: o@acme.test\npurpose: p\n")}
	}
	p, findings := trust.Compile(world(), sources, now())
	if p == nil {
		tb.Fatal(findings)
	}
	return p
}

func TestWhoCan(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		filter query.Filter
		want   string
	}{
		"a target":             {query.Filter{Target: "a-prod"}, "foreign r/1 in force, main r/1 in force, trial r/2 shadow"},
		"a pattern":            {query.Filter{Target: "a-*"}, "foreign r/1 in force, main r/1 in force, trial r/2 shadow, gone  expired"},
		"a resource":           {query.Filter{Target: "a-prod", Resource: "r/2"}, "trial r/2 shadow"},
		"a pattern of those":   {query.Filter{Target: "a-prod", Resource: "r/*"}, "foreign r/1 in force, main r/1 in force, trial r/2 shadow"},
		"a star and a slash":   {query.Filter{Target: "a-prod", Resource: "*"}, ""},
		"a scope":              {query.Filter{Target: "a-prod", Scope: "read"}, "main r/1 in force"},
		"a scope nobody has":   {query.Filter{Target: "a-prod", Scope: "write"}, ""},
		"a target nobody has":  {query.Filter{Target: "c"}, ""},
		"two grants of target": {query.Filter{Target: "b"}, "main  in force, twin  in force"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			var got []string
			for _, r := range query.WhoCan(policy(t), c.filter, now()) {
				got = append(got, r.Trust+" "+r.Resource+" "+string(r.State))
				if guarded := len(r.Guardrails) == 1; guarded != (r.Provider == "ci") {
					t.Errorf("%s: guardrails %v", r.Trust, r.Guardrails)
				}
			}
			if d := cmp.Diff(c.want, strings.Join(got, ", ")); d != "" {
				t.Error(d)
			}
		})
	}
}

func identity(claims map[string]any) trust.Identity {
	return trust.Identity{
		Provider: "ci", Workload: "spiffe://gw.test/ci/1/2", Issuer: "https://ci.test", Audience: "https://gw.test",
		IssuedAt: now(), ExpiresAt: now().Add(5 * time.Minute), Claims: claims,
	}
}

func TestWhatCan(t *testing.T) {
	t.Parallel()
	type answer struct{ Gets, Ambiguous, Shadow, Near, Fails []string }
	for name, c := range map[string]struct {
		claims map[string]any
		want   answer
		other  int
	}{
		"main": {
			map[string]any{"repository_id": "2", "owner_id": "1", "ref": "main"},
			answer{Gets: []string{"main a-prod", "main b", "twin b"}, Ambiguous: []string{"main b", "twin b"}, Shadow: []string{"trial a-prod"}, Near: []string{"gone a-test"}, Fails: []string{"expires"}},
			0,
		},
		"another branch": {
			map[string]any{"repository_id": "2", "owner_id": "9", "ref": "x"},
			answer{Shadow: []string{"trial a-prod"}, Near: []string{"gone a-test", "main a-prod", "main b"}, Fails: []string{"expires", "match.ref", "match.ref"}},
			1,
		},
		"a guardrail": {
			map[string]any{"repository_id": "3", "owner_id": "1", "ref": "dev"},
			answer{Near: []string{"twin b"}, Fails: []string{"guardrail no-dev"}},
			3,
		},
		"somebody else": {map[string]any{"repository_id": "3", "owner_id": "9"}, answer{}, 4},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			reply := query.WhatCan(policy(t), query.Caller{Identity: identity(c.claims), At: now()})
			var got answer
			for _, g := range reply.Gets {
				got.Gets = append(got.Gets, g.Trust+" "+g.Target)
				if g.Ambiguous {
					got.Ambiguous = append(got.Ambiguous, g.Trust+" "+g.Target)
				}
			}
			for _, g := range reply.Shadow {
				got.Shadow = append(got.Shadow, g.Trust+" "+g.Target)
			}
			for _, n := range reply.Near {
				got.Near = append(got.Near, n.Trust+" "+n.Target)
				for _, l := range n.Fails {
					got.Fails = append(got.Fails, l.Field)
				}
			}
			if d := cmp.Diff(c.want, got); d != "" {
				t.Error(d)
			}
			if reply.Other != c.other {
				t.Errorf("%d other trusts, want %d", reply.Other, c.other)
			}
		})
	}
}

// TestStopsCount: a stop denies whatever the documents say.
func TestStopsCount(t *testing.T) {
	t.Parallel()
	stops := trust.NewStopSet(1, []trust.Stop{{ID: "s", Kind: trust.StopTrust, What: "twin"}})
	reply := query.WhatCan(policy(t), query.Caller{Identity: identity(map[string]any{"owner_id": "1"}), Stops: stops, At: now()})
	if len(reply.Gets) != 0 || len(reply.Near) != 1 || reply.Near[0].Reason != trust.ReasonStopped || !strings.Contains(reply.Text(), "stopped: trust") {
		t.Errorf("%+v\n%s", reply, reply.Text())
	}
}

// The forms of a line of each language; anything else would be markup that a
// document brought in.
var (
	mermaidLine = regexp.MustCompile(`^(flowchart LR|  [pagt][0-9]+(\(\[|\[\(|\[|\{\{)"([a-zA-Z0-9 .,:/@+=()-]|#[0-9]+;)*"(\]\)|\)\]|\]|\}\})|  [pagt][0-9]+ (-->|-\.->|--x)(\|"([a-zA-Z0-9 .,:/@+=()-]|#[0-9]+;)*"\|)? [pagt][0-9]+|  classDef dashed stroke-dasharray: 5 5|  class [t0-9,]+ dashed)$`)
	dotLine     = regexp.MustCompile(`^(digraph trust \{|  rankdir=LR;|  node \[shape=box\];|\}|  [pagt][0-9]+( -> [pagt][0-9]+)?( \[(label="([^"\\\n]|\\\\|\\")*"(, )?)?((shape|style|arrowhead)=[a-z]+)?\])?;)$`)
)

func wellFormed(tb testing.TB, g query.Graph) {
	tb.Helper()
	for text, form := range map[string]*regexp.Regexp{g.Mermaid(): mermaidLine, g.DOT(): dotLine} {
		for line := range strings.Lines(text) {
			if !form.MatchString(strings.TrimSuffix(line, "\n")) {
				tb.Errorf("the line %q is none of the language", line)
			}
		}
	}
	known := map[string]bool{}
	for _, n := range g.Nodes {
		if known[n.ID] {
			tb.Errorf("the id %s is there twice", n.ID)
		}
		known[n.ID] = true
	}
	for _, e := range g.Edges {
		if !known[e.From] || !known[e.To] {
			tb.Errorf("an edge from %s to %s", e.From, e.To)
		}
	}
}

func TestGraph(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		targets             []string
		nodes, edges, faint int
	}{
		"all":         {nil, 2 + 3 + 5 + 1, 5 + 6 + 1, 4},
		"one":         {[]string{"b"}, 1 + 1 + 2 + 1, 2 + 2 + 1, 0},
		"two":         {[]string{"a-prod", "a-test"}, 2 + 2 + 4 + 1, 4 + 4 + 1, 4},
		"none of all": {[]string{"c"}, 0, 0, 0},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			g := query.NewGraph(policy(t), c.targets, now())
			faint := 0
			for _, e := range g.Edges {
				if e.State != "" && e.State != query.InForce {
					faint++
				}
			}
			if len(g.Nodes) != c.nodes || len(g.Edges) != c.edges || faint != c.faint {
				t.Errorf("%d nodes, %d edges, %d of them dashed; want %d, %d, %d", len(g.Nodes), len(g.Edges), faint, c.nodes, c.edges, c.faint)
			}
			if d := cmp.Diff(g, query.NewGraph(policy(t), c.targets, now())); d != "" {
				t.Error(d)
			}
			wellFormed(t, g)
		})
	}
}

// FuzzGraphLabels: a resource draws nothing but itself.
func FuzzGraphLabels(f *testing.F) {
	for _, s := range []string{"arn:aws:x", `"]; end`, "<script>", "`x`", `\N\"`, "a\nb --> c", "#quot;", "&lt;", "|x|", "%%{init}%%"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, resource string) {
		wellFormed(t, query.Graph{
			Nodes: []query.Node{{ID: "t0", Kind: query.TrustNode, Name: resource, State: query.Shadow}, {ID: "a1", Kind: query.TargetNode, Name: "t"}},
			Edges: []query.Edge{{From: "t0", To: "a1", Label: resource, State: query.Shadow}},
		})
	})
}

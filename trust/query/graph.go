package query

import (
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"cambio/trust"
	"cambio/trust/words"
)

// NodeKind is what a node of the graph stands for.
type NodeKind string

// The kinds of node.
const (
	ProviderNode  NodeKind = "provider"
	TrustNode     NodeKind = "trust"
	TargetNode    NodeKind = "target"
	GuardrailNode NodeKind = "guardrail"
)

// Node is one thing of the policy.
type Node struct {
	ID    string   `json:"id"` // made of a letter and a number, never of a name
	Kind  NodeKind `json:"kind"`
	Name  string   `json:"name"`
	State State    `json:"state,omitempty"` // of a trust
	Owner string   `json:"owner,omitempty"`
}

// Edge leads from an identity provider to its trusts, from a trust to what it
// grants, and from a guardrail to the identity providers that it is for.
type Edge struct {
	From  string `json:"from"`
	To    string `json:"to"`
	Label string `json:"label,omitempty"`
	State State  `json:"state,omitempty"` // of the trust that it belongs to
}

// Graph is how a policy hangs together. One policy has one graph, in one order.
type Graph struct {
	Nodes []Node `json:"nodes"`
	Edges []Edge `json:"edges"`
}

// NewGraph draws the trusts that lead to the targets named, or all of them with
// none named, and what they hang on.
func NewGraph(p *trust.Policy, targets []string, now time.Time) Graph {
	g := Graph{Nodes: []Node{}, Edges: []Edge{}}
	var trusts []trust.Trust
	providers, reached := map[string]string{}, map[string]string{}
	for _, t := range p.All() {
		t.Grants = slices.DeleteFunc(t.Grants, func(g trust.WrittenGrant) bool {
			return len(targets) > 0 && !slices.Contains(targets, g.Target)
		})
		if len(t.Grants) == 0 {
			continue
		}
		trusts = append(trusts, t)
		providers[t.Provider] = ""
		for _, grant := range t.Grants {
			reached[grant.Target] = ""
		}
	}
	for _, name := range sorted(providers) {
		providers[name] = add(&g, "p", Node{Kind: ProviderNode, Name: name})
	}
	for _, name := range sorted(reached) {
		reached[name] = add(&g, "a", Node{Kind: TargetNode, Name: name})
	}
	for _, t := range trusts {
		state := stateOf(t, now)
		id := add(&g, "t", Node{Kind: TrustNode, Name: t.Name, State: state, Owner: t.Owner})
		g.Edges = append(g.Edges, Edge{From: providers[t.Provider], To: id, State: state})
		for _, grant := range t.Grants {
			g.Edges = append(g.Edges, Edge{From: id, To: reached[grant.Target], Label: edgeLabel(grant), State: state})
		}
	}
	for _, r := range p.AllGuardrails() {
		var of []string
		for _, name := range r.From {
			if id := providers[name]; id != "" {
				of = append(of, id)
			}
		}
		if len(of) == 0 {
			continue
		}
		id := add(&g, "g", Node{Kind: GuardrailNode, Name: r.Name, Owner: r.Owner})
		for _, provider := range of {
			g.Edges = append(g.Edges, Edge{From: id, To: provider})
		}
	}
	return g
}

func sorted(m map[string]string) []string {
	names := make([]string, 0, len(m))
	for name := range m {
		names = append(names, name)
	}
	slices.Sort(names)
	return names
}

// add gives a node its id.
func add(g *Graph, letter string, n Node) string {
	n.ID = letter + strconv.Itoa(len(g.Nodes))
	g.Nodes = append(g.Nodes, n)
	return n.ID
}

func edgeLabel(g trust.WrittenGrant) string {
	parts := []string{}
	if g.Resource != "" {
		parts = append(parts, words.One(g.Resource))
	}
	if len(g.Scopes) > 0 {
		parts = append(parts, words.Scopes(g.Scopes))
	}
	return strings.Join(append(parts, words.Lifetime(g.TTL)), ", ")
}

func (n Node) label() string {
	s := string(n.Kind) + " " + n.Name
	if n.Kind == TrustNode && n.State != InForce {
		s += " (" + string(n.State) + ")"
	}
	return s
}

// Mermaid is the graph as a flowchart. What allows nothing is dashed.
func (g Graph) Mermaid() string {
	var b strings.Builder
	b.WriteString("flowchart LR\n")
	var dashed []string
	for _, n := range g.Nodes {
		opens, closes := "[", "]"
		switch n.Kind {
		case ProviderNode:
			opens, closes = "([", "])"
		case TargetNode:
			opens, closes = "[(", ")]"
		case GuardrailNode:
			opens, closes = "{{", "}}"
		case TrustNode:
			if n.State != InForce {
				dashed = append(dashed, n.ID)
			}
		}
		fmt.Fprintf(&b, "  %s%s\"%s\"%s\n", n.ID, opens, mermaidText(n.label()), closes)
	}
	for _, e := range g.Edges {
		arrow := "-->"
		switch {
		case e.From[0] == 'g':
			arrow = "--x"
		case e.State != InForce:
			arrow = "-.->"
		}
		if e.Label != "" {
			arrow += `|"` + mermaidText(e.Label) + `"|`
		}
		fmt.Fprintf(&b, "  %s %s %s\n", e.From, arrow, e.To)
	}
	if len(dashed) > 0 {
		fmt.Fprintf(&b, "  classDef dashed stroke-dasharray: 5 5\n  class %s dashed\n", strings.Join(dashed, ","))
	}
	return b.String()
}

// mermaidText escapes a label. Mermaid makes HTML and Markdown of it, so that a
// resource that a document names could else bring markup to a page, or end the
// label and draw what it likes.
func mermaidText(s string) string {
	var b strings.Builder
	for _, r := range s {
		switch {
		case r >= 'a' && r <= 'z', r >= 'A' && r <= 'Z', r >= '0' && r <= '9', strings.ContainsRune(" .,:/@+-=()", r):
			b.WriteRune(r)
		default:
			fmt.Fprintf(&b, "#%d;", r)
		}
	}
	return b.String()
}

// DOT is the graph for Graphviz. What allows nothing is dashed.
func (g Graph) DOT() string {
	var b strings.Builder
	b.WriteString("digraph trust {\n  rankdir=LR;\n  node [shape=box];\n")
	for _, n := range g.Nodes {
		attributes := ""
		switch n.Kind {
		case ProviderNode:
			attributes = ", shape=oval"
		case TargetNode:
			attributes = ", shape=cylinder"
		case GuardrailNode:
			attributes = ", shape=hexagon"
		case TrustNode:
			if n.State != InForce {
				attributes = ", style=dashed"
			}
		}
		fmt.Fprintf(&b, "  %s [label=%s%s];\n", n.ID, dotText(n.label()), attributes)
	}
	for _, e := range g.Edges {
		var attributes []string
		if e.Label != "" {
			attributes = append(attributes, "label="+dotText(e.Label))
		}
		switch {
		case e.From[0] == 'g':
			attributes = append(attributes, "arrowhead=tee")
		case e.State != InForce:
			attributes = append(attributes, "style=dashed")
		}
		line := e.From + " -> " + e.To
		if len(attributes) > 0 {
			line += " [" + strings.Join(attributes, ", ") + "]"
		}
		fmt.Fprintf(&b, "  %s;\n", line)
	}
	b.WriteString("}\n")
	return b.String()
}

// dotText quotes a label. A backslash would begin an escape of Graphviz's own.
func dotText(s string) string {
	return `"` + strings.NewReplacer(`\`, `\\`, `"`, `\"`, "&", "&amp;").Replace(words.One(s)) + `"`
}

// Package query answers questions about a compiled policy: who can reach a
// target, what an identity can get, and how all of it hangs together.
package query

import (
	"path"
	"slices"
	"strings"
	"time"

	"cambio/trust"
	"cambio/trust/words"
)

// State says whether a trust allows anything.
type State string

// The states.
const (
	InForce State = "in force"
	Shadow  State = "shadow"  // judged and recorded, never allowed
	Expired State = "expired" // whatever its mode
)

// stateOf is the state of a trust at a time.
func stateOf(t trust.Trust, now time.Time) State {
	switch {
	case !t.Expires.IsZero() && !now.Before(t.Expires):
		return Expired
	case t.Shadow:
		return Shadow
	}
	return InForce
}

// Reach is one grant of one trust that leads to a target.
type Reach struct {
	Trust    string `json:"trust"`
	Owner    string `json:"owner"`
	Purpose  string `json:"purpose"`
	File     string `json:"file"`
	State    State  `json:"state"`
	Provider string `json:"provider"`
	Target   string `json:"target"`
	Resource string `json:"resource,omitempty"`
	// Scopes are those that it gives; nil where the target knows none.
	Scopes []string `json:"scopes,omitempty"`
	TTL    int64    `json:"ttl"` // seconds, the longest
	// Who, and the rest but the guardrails, are words; all of them must hold.
	Who      string     `json:"who"`
	Needs    []string   `json:"needs,omitempty"`    // conditions in CEL
	Networks string     `json:"networks,omitempty"` // "" from anywhere
	Hours    string     `json:"hours,omitempty"`    // "" at any time
	Expires  *time.Time `json:"expires,omitempty"`
	TokenUse string     `json:"token_use"`
	Nonce    bool       `json:"require_nonce,omitempty"`
	// Guardrails are the names of those that may forbid it all the same.
	Guardrails []string `json:"guardrails,omitempty"`

	grant trust.WrittenGrant
	terms []string
}

// Filter says which grants are asked about. An empty field is any.
type Filter struct {
	// Target and Resource are names, or patterns with `*` and `?` as a shell has
	// them, where `*` stops at a slash; a text that equals the name always fits.
	Target, Resource string
	Scope            string
}

// Valid reports whether the patterns are well formed.
func (f Filter) Valid() bool {
	_, errTarget := path.Match(f.Target, "")
	_, errResource := path.Match(f.Resource, "")
	return errTarget == nil && errResource == nil
}

// Targets are the names of the policy's targets that the filter means, sorted.
func (f Filter) Targets(p *trust.Policy) []string {
	var names []string
	for name := range p.World().Targets {
		if fits(f.Target, name) {
			names = append(names, name)
		}
	}
	slices.Sort(names)
	return names
}

// fits compares a name with a pattern. A grant without a resource gives whatever
// the target has, and fits no pattern but the empty one.
func fits(pattern, name string) bool {
	if pattern == "" || pattern == name {
		return true
	}
	ok, err := path.Match(pattern, name)
	return err == nil && ok
}

func (f Filter) takes(g trust.WrittenGrant) bool {
	return fits(f.Target, g.Target) && fits(f.Resource, g.Resource) && (f.Scope == "" || slices.Contains(g.Scopes, f.Scope))
}

// WhoCan lists what leads to a target: the trusts in force first, then those in
// mode shadow, then the expired ones, each by name.
func WhoCan(p *trust.Policy, f Filter, now time.Time) []Reach {
	guardrails := map[string][]string{}
	for _, g := range p.AllGuardrails() {
		for _, provider := range g.From {
			guardrails[provider] = append(guardrails[provider], g.Name)
		}
	}
	byState := map[State][]Reach{}
	for _, t := range p.All() {
		for _, g := range t.Grants {
			if f.takes(g) {
				r := reach(t, g, now)
				r.Guardrails = guardrails[t.Provider]
				byState[r.State] = append(byState[r.State], r)
			}
		}
	}
	return slices.Concat(byState[InForce], byState[Shadow], byState[Expired])
}

func reach(t trust.Trust, g trust.WrittenGrant, now time.Time) Reach {
	r := Reach{
		Trust: t.Name, Owner: t.Owner, Purpose: t.Purpose, File: t.File, State: stateOf(t, now), Provider: t.Provider,
		Target: g.Target, Resource: g.Resource, Scopes: g.Scopes, TTL: int64(g.TTL / time.Second),
		Who: words.Workloads(t), TokenUse: string(t.TokenUse), Nonce: t.Nonce, grant: g, terms: words.Terms(t),
		Networks: words.Networks(t.Access.Networks), Hours: words.Hours(t.Access.Hours),
	}
	for _, c := range t.When {
		r.Needs = append(r.Needs, words.Condition(c.Source))
	}
	if !t.Expires.IsZero() {
		end := t.Expires.UTC()
		r.Expires = &end
	}
	return r
}

// Lines says it in words: the first line who gets what, the others under which
// conditions.
func (r Reach) Lines() []string {
	may := "may get "
	switch r.State {
	case Shadow:
		may = "would get "
	case Expired:
		may = "may no longer get "
	case InForce:
	}
	lines := []string{r.Who, may + words.Grant(r.grant), words.Where(r.Trust, r.File) + ", owner " + words.One(r.Owner)}
	if r.State != InForce {
		lines[2] += ", " + string(r.State) + ": it allows nothing"
	}
	lines = append(lines, r.terms...)
	if len(r.Guardrails) > 0 {
		lines = append(lines, "unless a guardrail forbids it: "+strings.Join(r.Guardrails, ", "))
	}
	return lines
}

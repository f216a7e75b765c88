package check

import (
	"slices"

	"cambio/trust"
)

// facts is one trust as the rules read it.
type facts struct {
	trust.Trust

	provider trust.Provider
	when     []*condition // of each of When
	// pinned are the claims that must equal one of these values, by id: by match, by
	// a condition, or by both. An empty list is a contradiction.
	pinned map[string][]any
}

func (l *linter) read(t trust.Trust) *facts {
	f := &facts{Trust: t, provider: l.world.Providers[t.Provider], pinned: map[string][]any{}}
	for _, line := range t.Match {
		if line.Pins() {
			values := make([]any, len(line.Want))
			for i, w := range line.Want {
				values[i] = w.Value
			}
			f.pinned[line.Claim.ID()] = values
		}
	}
	for _, c := range t.When {
		read := l.condition(t.Provider, c)
		f.when = append(f.when, read)
		for id, values := range read.equal {
			if before, ok := f.pinned[id]; ok {
				values = intersect(before, values)
			}
			f.pinned[id] = values
		}
	}
	return f
}

// line is the line of match that names a claim, or nil.
func (f *facts) line(id string) *trust.MatchLine {
	for i := range f.Match {
		if f.Match[i].Claim.ID() == id {
			return &f.Match[i]
		}
	}
	return nil
}

// constrained reports whether match or a condition says anything of a claim.
func (f *facts) constrained(id string) bool {
	return f.line(id) != nil || slices.ContainsFunc(f.when, func(c *condition) bool { return slices.Contains(c.reads, id) })
}

// one reports whether a claim can have but values of this list.
func (f *facts) one(id string, allowed ...any) bool {
	values, ok := f.pinned[id]
	return ok && !slices.ContainsFunc(values, func(v any) bool { return !slices.Contains(allowed, v) })
}

// claim finds a claim of the trust's provider by any of its names.
func (l *linter) claim(f *facts, name string) (trust.ClaimRef, bool) {
	return l.policy.Claim(f.Provider, name)
}

// pins reports whether a trust pins the claim of this name by equality.
func (l *linter) pins(f *facts, name string) bool {
	c, ok := l.claim(f, name)
	if !ok {
		return false
	}
	_, ok = f.pinned[c.ID()]
	return ok
}

// identityClaims are the claims that the provider's workload ids are made of.
// They are found by asking for an id without each.
func identityClaims(p *trust.Policy, name string, provider trust.Provider) []trust.ClaimRef {
	if provider.WorkloadID == nil {
		return nil
	}
	texts := map[string]any{}
	var some []trust.ClaimRef
	for _, c := range p.Claims(name) {
		if c.Claim().Type == trust.StringClaim {
			c.Set(texts, "x")
			some = append(some, c)
		}
	}
	if _, err := provider.WorkloadID(texts); err != nil {
		return nil
	}
	var needed []trust.ClaimRef
	for _, c := range some {
		c.Set(texts, nil)
		if _, err := provider.WorkloadID(texts); err != nil {
			needed = append(needed, c)
		}
		c.Set(texts, "x")
	}
	return needed
}

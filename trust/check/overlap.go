package check

import (
	"fmt"
	"slices"
	"strings"

	"cambio/trust"
	"cambio/trust/strictyaml"
)

// meetings compares the offers of one target and resource with one another.
type meetings struct {
	*linter

	offers   []offer
	shadowed []string   // by offer: the trust that allows as much
	met      [][]string // by offer: trusts that also fit some token
	asked    []int      // by offer: how often it is in undecided
	compared int
	left     int // how many pairs of the group may still be left to a proof

	undecided []meeting // what only a proof can say
}

// The bounds of comparing. Fleets are told apart by ids, so that they are far
// away; what lies beyond is a crowd of like documents, of which the first say
// enough.
const (
	maxCompared = 2_000_000 // pairs of one target and resource
	maxMet      = 3         // trusts that one finding names
	smallGroup  = 16        // below it, all pairs are cheaper than a table
	maxAsked    = 64        // pairs of one group that are left to a proof
	maxCrowd    = 16        // the same of a group that no claim tells apart: each proof looks at all of it
)

// compare looks at all pairs that could meet.
func (m *meetings) compare() {
	all := make([]int, len(m.offers))
	for i := range all {
		all[i] = i
	}
	m.within(all, map[string]bool{})
}

// within compares the offers of a group: those that pin one claim to different
// values never meet, so that the group falls apart by the claim with the most
// values. done are the claims that it fell apart by before.
func (m *meetings) within(group []int, done map[string]bool) {
	claim := ""
	if len(group) > smallGroup {
		claim = m.mostVaried(group, done)
	}
	m.left = maxAsked
	if len(group) > maxAsked {
		m.left = maxCrowd
	}
	if claim == "" {
		for i, a := range group {
			for _, b := range group[i+1:] {
				m.pair(a, b)
			}
		}
		return
	}
	byValue := map[any][]int{}
	var values []any
	var free []int
	for _, i := range group {
		pinned, ok := m.offers[i].f.pinned[claim]
		if !ok {
			free = append(free, i)
		}
		for _, v := range pinned {
			if byValue[v] == nil {
				values = append(values, v)
			}
			byValue[v] = append(byValue[v], i)
		}
	}
	done[claim] = true
	for _, v := range values {
		m.within(byValue[v], done)
	}
	m.left = maxCrowd
	for _, a := range free {
		for _, b := range group {
			if _, pinned := m.offers[b].f.pinned[claim]; pinned || b > a {
				m.pair(a, b)
			}
		}
	}
	delete(done, claim)
}

// mostVaried is the claim that tells most of a group apart, or "".
func (m *meetings) mostVaried(group []int, done map[string]bool) string {
	values := map[string]map[any]bool{}
	for _, i := range group {
		for id, pinned := range m.offers[i].f.pinned {
			if done[id] {
				continue
			}
			if values[id] == nil {
				values[id] = map[any]bool{}
			}
			for _, v := range pinned {
				values[id][v] = true
			}
		}
	}
	best, most := "", 1
	for id, seen := range values {
		if len(seen) > most || len(seen) == most && len(seen) > 1 && id < best {
			best, most = id, len(seen)
		}
	}
	return best
}

// pair compares two offers.
func (m *meetings) pair(i, j int) {
	if i > j {
		i, j = j, i
	}
	a, b := m.offers[i], m.offers[j]
	if a.f == b.f || m.compared >= maxCompared || m.enough(i) && m.enough(j) {
		return
	}
	m.compared++
	if m.shadowed[i] != "" || m.shadowed[j] != "" || apart(a.f, b.f) {
		return
	}
	switch {
	case covers(a, b, implied): // of two that are alike, the later one is said to be too many
		m.shadowed[j] = a.f.Name
	case covers(b, a, implied):
		m.shadowed[i] = b.f.Name
	case decided(a.f) && decided(b.f):
		m.met[i], m.met[j] = meet(m.met[i], b.f.Name), meet(m.met[j], a.f.Name)
	case m.left > 0 && m.asked[i] < maxMet && m.asked[j] < maxMet:
		m.left--
		m.asked[i]++
		m.asked[j]++
		m.undecided = append(m.undecided, meeting{a, b})
	}
}

// enough reports that there is nothing more to learn about an offer.
func (m *meetings) enough(i int) bool {
	return len(m.met[i]) >= maxMet || m.asked[i] >= maxMet || m.shadowed[i] != ""
}

func meet(names []string, name string) []string {
	if len(names) >= maxMet || slices.Contains(names, name) {
		return names
	}
	return append(names, name)
}

func (m *meetings) findings() strictyaml.Findings {
	var all strictyaml.Findings
	for i, o := range m.offers {
		r := &report{file: o.f.File, severity: m.severity}
		switch {
		case m.shadowed[i] != "":
			r.shadowed(o, m.shadowed[i])
		case len(m.met[i]) > 0:
			r.overlap(o, m.met[i])
		}
		all = append(all, r.findings...)
	}
	return all
}

func (o offer) field() string { return fmt.Sprintf("grants[%d]", o.index) }

func (r *report) shadowed(o offer, by string) {
	r.say("shadowed", o.grant.At, o.field(), by+" allows all that this grant allows, so that every request for it is ambiguous", "remove one of the two")
}

func (r *report) overlap(o offer, others []string) {
	r.say("overlap", o.grant.At, o.field(), "some tokens fit "+strings.Join(others, ", ")+" too: a request that names no trust is refused as ambiguous", "tell them apart in match, or have workloads name the trust")
}

// apart reports that no token can fit both trusts, as far as equalities and globs
// say.
func apart(a, b *facts) bool {
	for id, values := range a.pinned {
		if others, ok := b.pinned[id]; ok {
			if len(intersect(values, others)) == 0 {
				return true
			}
		} else if line := b.line(id); line != nil && !anyWanted(*line, values) {
			return true
		}
		if guarded(b, id, values) {
			return true
		}
	}
	for id, values := range b.pinned {
		if _, ok := a.pinned[id]; !ok {
			if line := a.line(id); line != nil && !anyWanted(*line, values) {
				return true
			}
		}
		if guarded(a, id, values) {
			return true
		}
	}
	for _, line := range a.Match {
		if other := b.line(line.Claim.ID()); other != nil && !linesMeet(line, *other) {
			return true
		}
	}
	return false
}

// guarded reports that a trust refuses a token with any of these values, as its
// match names none of them.
func guarded(f *facts, id string, values []any) bool {
	if len(values) == 0 || len(f.Unnamed) == 0 {
		return false
	}
	return !slices.ContainsFunc(values, func(v any) bool {
		return !slices.ContainsFunc(f.Unnamed, func(g trust.Guarded) bool { return g.Claim.ID() == id && any(g.Value) == v })
	})
}

func linesMeet(a, b trust.MatchLine) bool {
	for _, x := range a.Want {
		for _, y := range b.Want {
			if wantsMeet(x, y) {
				return true
			}
		}
	}
	return false
}

func wantsMeet(x, y trust.Wanted) bool {
	if !x.Glob {
		return accepts(y, x.Value)
	}
	if !y.Glob {
		return accepts(x, y.Value)
	}
	one, _ := x.Value.(string)
	two, _ := y.Value.(string)
	return globsMeet(one, two, true)
}

// decided reports that equalities and globs say all that a trust asks, so that
// what they leave open is open.
func decided(f *facts) bool {
	return len(f.Access.Hours) == 0 && len(f.Access.Networks) == 0 && !slices.ContainsFunc(f.when, func(c *condition) bool { return !c.whole })
}

// covers reports that one offer allows all that the other does. implied says
// whether what a trust asks makes a condition of another one true.
func covers(wide, narrow offer, implied func(t *facts, by *condition, source trust.Condition) bool) bool {
	w, n := wide.f, narrow.f
	if !w.Expires.IsZero() && (n.Expires.IsZero() || w.Expires.Before(n.Expires)) || w.Nonce && !n.Nonce || wide.grant.TTL < narrow.grant.TTL {
		return false
	}
	if w.TokenUse.Tighter(n.TokenUse) || !subset(narrow.grant.Scopes, wide.grant.Scopes) || !sameValues(wide.grant, narrow.grant) || !accessCovers(w.Access, n.Access) {
		return false
	}
	for _, line := range w.Match {
		if !lineCovers(line, n) {
			return false
		}
	}
	for _, g := range w.Unnamed {
		if !slices.Contains(n.Unnamed, g) && (n.pinned[g.Claim.ID()] == nil || slices.Contains(n.pinned[g.Claim.ID()], any(g.Value))) {
			return false
		}
	}
	for i, c := range w.When {
		if !slices.ContainsFunc(n.When, func(other trust.Condition) bool { return other.Source == c.Source }) && !implied(n, w.when[i], c) {
			return false
		}
	}
	return true
}

// implied reports that what a trust pins makes a condition true.
func implied(f *facts, c *condition, _ trust.Condition) bool {
	if !c.whole {
		return c.value == always
	}
	for id, values := range c.equal {
		if !f.one(id, values...) {
			return false
		}
	}
	return true
}

// lineCovers reports that each value that a trust takes fits a line.
func lineCovers(line trust.MatchLine, f *facts) bool {
	if values, ok := f.pinned[line.Claim.ID()]; ok {
		return !slices.ContainsFunc(values, func(v any) bool {
			return !slices.ContainsFunc(line.Want, func(w trust.Wanted) bool { return accepts(w, v) })
		})
	}
	other := f.line(line.Claim.ID())
	return other != nil && !slices.ContainsFunc(other.Want, func(inner trust.Wanted) bool {
		return !slices.ContainsFunc(line.Want, func(outer trust.Wanted) bool { return wantWithin(inner, outer) })
	})
}

func wantWithin(inner, outer trust.Wanted) bool {
	if !inner.Glob {
		return accepts(outer, inner.Value)
	}
	one, _ := inner.Value.(string)
	two, _ := outer.Value.(string)
	return outer.Glob && globWithin(one, two)
}

// accessCovers is cautious: windows are compared as they are written.
func accessCovers(wide, narrow trust.Access) bool {
	for _, h := range wide.Hours {
		if !slices.ContainsFunc(narrow.Hours, func(o trust.Hours) bool { return o.Text == h.Text }) {
			return false
		}
	}
	if len(wide.Hours) > 0 && len(narrow.Hours) > len(wide.Hours) {
		return false
	}
	if len(wide.Networks) == 0 {
		return true
	}
	if len(narrow.Networks) == 0 {
		return false
	}
	for _, n := range narrow.Networks {
		inside := false
		for _, w := range wide.Networks {
			inside = inside || w.Bits() <= n.Bits() && w.Contains(n.Addr())
		}
		if !inside {
			return false
		}
	}
	return true
}

func subset(narrow, wide []string) bool {
	return !slices.ContainsFunc(narrow, func(s string) bool { return !slices.Contains(wide, s) })
}

// sameValues reports that two grants hand on the same values: a credential with
// other claims is another one.
func sameValues(a, b trust.WrittenGrant) bool {
	same := func(x, y trust.GrantValue) bool { return x.Name == y.Name && x.Value == y.Value }
	return slices.EqualFunc(a.Claims, b.Claims, same) && slices.EqualFunc(a.Fields, b.Fields, same)
}

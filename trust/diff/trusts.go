package diff

import (
	"runtime"
	"slices"
	"sync"
	"sync/atomic"

	"cambio/trust"
	"cambio/trust/words"
)

// pair is a trust on both sides; one of them may be missing.
type pair struct {
	before, after *trust.Trust
}

// compareTrusts compares the trusts of both policies, on all processors.
func (d *differ) compareTrusts() []Item {
	pairs := slices.DeleteFunc(d.pairs(), func(p pair) bool { return p.same() })
	d.changed = make(map[string]bool, len(pairs))
	for _, p := range pairs {
		if p.after != nil {
			d.changed[p.after.Name] = true
		}
	}
	items := make([]Item, len(pairs))
	var next atomic.Int64
	var wg sync.WaitGroup
	for range min(runtime.GOMAXPROCS(0), len(pairs)) {
		wg.Go(func() {
			for i := int(next.Add(1)) - 1; i < len(pairs); i = int(next.Add(1)) - 1 {
				items[i] = d.trust(pairs[i])
			}
		})
	}
	wg.Wait()
	return slices.DeleteFunc(items, func(i Item) bool { return len(i.Lines) == 0 })
}

// unchanged reports whether the trust asks for and gives what it did, by its name.
func (p pair) unchanged() bool {
	return p.before != nil && p.after != nil && p.before.Name == p.after.Name && fingerprint(*p.before) == fingerprint(*p.after)
}

func (p pair) provider() string {
	if p.after != nil {
		return p.after.Provider
	}
	return p.before.Provider
}

// same reports whether nothing at all changed but the text.
func (p pair) same() bool {
	return p.unchanged() &&
		p.before.Owner == p.after.Owner && p.before.Purpose == p.after.Purpose && p.before.Hints == p.after.Hints
}

// pairs finds what belongs together: what has one name, and what was only given
// another.
func (d *differ) pairs() []pair {
	var out []pair
	gone, come := map[string]*trust.Trust{}, []*trust.Trust(nil)
	for i := range d.before.trusts {
		t := &d.before.trusts[i]
		if d.after.byName[t.Name] == nil {
			gone[fingerprint(*t)] = t
		}
	}
	for i := range d.after.trusts {
		t := &d.after.trusts[i]
		if before := d.before.byName[t.Name]; before != nil {
			out = append(out, pair{before, t})
		} else {
			come = append(come, t)
		}
	}
	renamed := map[*trust.Trust]bool{}
	for _, t := range come {
		before := gone[fingerprint(*t)]
		if renamed[before] {
			before = nil
		}
		renamed[before] = before != nil
		out = append(out, pair{before, t})
	}
	for i := range d.before.trusts {
		t := &d.before.trusts[i]
		if d.after.byName[t.Name] == nil && !renamed[t] {
			out = append(out, pair{t, nil})
		}
	}
	return out
}

// trust compares one trust.
func (d *differ) trust(p pair) Item {
	t := p.after
	if t == nil {
		t = p.before
	}
	item := Item{Kind: KindTrust, Name: t.Name, File: t.File, Owner: t.Owner, Effect: None}
	was, is := p.before != nil && d.active(*p.before), p.after != nil && d.active(*p.after)
	switch {
	case p.before == nil && !is:
		item.Lines = []Line{equal("would let " + words.Workloads(*t) + " get " + words.Grants(t.Grants) + terms(*t) + "; " + d.idle(*t) + ", and allows nothing")}
		return item
	case p.after == nil && !was:
		item.Lines = []Line{equal("is gone; " + d.idle(*t) + ", and allowed nothing")}
		return item
	case p.before == nil:
		item.Lines = []Line{plus(*t, terms(*t))}
	case p.after == nil:
		item.Lines = []Line{minus(*t, terms(*t))}
	case !was && is:
		item.Lines = []Line{plus(*t, terms(*t)+"; before, "+d.idle(*p.before))}
	case was && !is:
		item.Lines = []Line{minus(*p.before, terms(*p.before)+"; now "+d.idle(*t))}
	case p.before.Provider != p.after.Provider:
		item.Lines = []Line{minus(*p.before, terms(*p.before)), plus(*t, terms(*t))}
	default:
		item.Lines = d.differences(*p.before, *p.after)
		if !is {
			for i := range item.Lines {
				item.Lines[i].Effect = None // neither allows anything
			}
		}
	}
	if p.before != nil && p.after != nil {
		item.Lines = append(item.Lines, d.aside(*p.before, *p.after)...)
	}
	if was || is {
		d.weigh(&item, p, was, is)
		for _, l := range d.clashes(p) {
			item.Lines = append(item.Lines, l)
			item.Effect = item.Effect.and(l.Effect)
		}
	}
	return item
}

// active reports whether a trust allows anything.
func (d *differ) active(t trust.Trust) bool {
	return !t.Shadow && (t.Expires.IsZero() || d.now.Before(t.Expires))
}

// idle says why a trust that is not active is not.
func (d *differ) idle(t trust.Trust) string {
	if t.Shadow {
		return "it is in mode shadow"
	}
	return "it has expired"
}

// terms are what else must hold, behind a sentence.
func terms(t trust.Trust) string {
	s := ""
	for _, term := range words.Terms(t) {
		s += "; " + term
	}
	return s
}

// differences compares what two trusts ask for and give.
func (d *differ) differences(before, after trust.Trust) []Line {
	lines := who(before, after)
	lines = append(lines, conditions(before, after)...)
	lines = append(lines, accessLines(before.Access, after.Access)...)
	lines = append(lines, end(before, after)...)
	lines = append(lines, grants(before, after)...)
	return append(lines, use(before, after)...)
}

// who compares match.
func who(before, after trust.Trust) []Line {
	var lines []Line
	var differing []trust.MatchLine // of after, with other values than before
	for _, l := range after.Match {
		old := lineOf(before, l)
		switch {
		case old == nil:
			effect := Shrinks
			if opens(before, after, l) {
				effect = Both
			}
			lines = append(lines, tilde("now needs "+words.Line(l), effect))
		case !sameWants(old.Want, l.Want):
			differing = append(differing, l)
		}
	}
	for _, l := range before.Match {
		if lineOf(after, l) == nil {
			effect := Grows
			if opens(after, before, l) {
				effect = Both
			}
			lines = append(lines, tilde("no longer needs "+words.Line(l), effect))
		}
	}
	switch len(differing) {
	case 0:
		return lines
	case 1:
		l := differing[0]
		old := lineOf(before, l)
		if added := without(l.Want, old.Want); len(added) > 0 {
			lines = append(lines, plus(narrowed(after, l, added), ""))
		}
		if gone := without(old.Want, l.Want); len(gone) > 0 {
			lines = append(lines, minus(narrowed(before, l, gone), ""))
		}
		return lines
	}
	// Several at once: what was added to one holds only together with what was
	// added to the others, so that each alone would tell of access that nobody has.
	return append(lines,
		plus(after, ""),
		minus(before, ""))
}

// opens reports whether a line that only b has takes tokens that a refuses: those
// with a value that match must name.
func opens(a, b trust.Trust, l trust.MatchLine) bool {
	return slices.ContainsFunc(a.Unnamed, func(g trust.Guarded) bool {
		return g.Claim.ID() == l.Claim.ID() && !slices.ContainsFunc(b.Unnamed, func(o trust.Guarded) bool {
			return o.Claim.ID() == g.Claim.ID() && o.Value == g.Value
		})
	})
}

func lineOf(t trust.Trust, l trust.MatchLine) *trust.MatchLine {
	for i := range t.Match {
		if t.Match[i].Claim.ID() == l.Claim.ID() {
			return &t.Match[i]
		}
	}
	return nil
}

// without are the values of a that b does not list.
func without(a, b []trust.Wanted) []trust.Wanted {
	var out []trust.Wanted
	for _, w := range a {
		if !slices.Contains(b, w) {
			out = append(out, w)
		}
	}
	return out
}

func sameWants(a, b []trust.Wanted) bool { return len(without(a, b)) == 0 && len(without(b, a)) == 0 }

// narrowed is the trust with other values of one line.
func narrowed(t trust.Trust, line trust.MatchLine, want []trust.Wanted) trust.Trust {
	t.Match = slices.Clone(t.Match)
	if l := lineOf(t, line); l != nil {
		l.Want = want
	}
	return t
}

// conditions compares when; their order says nothing.
func conditions(before, after trust.Trust) []Line {
	var lines []Line
	sources := func(t trust.Trust) []string {
		var out []string
		for _, c := range t.When {
			out = append(out, c.Source)
		}
		return out
	}
	old, now := sources(before), sources(after)
	for _, s := range now {
		if !slices.Contains(old, s) {
			lines = append(lines, tilde("now needs "+words.Condition(s), Shrinks))
		}
	}
	for _, s := range old {
		if !slices.Contains(now, s) {
			lines = append(lines, tilde("no longer needs "+words.Condition(s), Grows))
		}
	}
	return lines
}

// accessLines compares from where and when.
func accessLines(before, after trust.Access) []Line {
	var lines []Line
	text := func(n trust.Access) (string, string) { return words.Networks(n.Networks), words.Hours(n.Hours) }
	oldNetworks, oldHours := text(before)
	networks, hours := text(after)
	for _, c := range []struct{ was, is, anywhere string }{{oldNetworks, networks, "anywhere"}, {oldHours, hours, "at any time"}} {
		from := ""
		if c.anywhere == "anywhere" {
			from = "from "
		}
		switch {
		case c.was == c.is:
		case c.was == "":
			lines = append(lines, tilde("now only "+from+c.is, Shrinks))
		case c.is == "":
			lines = append(lines, tilde("now "+from+c.anywhere+", not only "+from+c.was, Grows))
		default:
			lines = append(lines, tilde("now only "+from+c.is+", before only "+from+c.was, Both))
		}
	}
	return lines
}

// end compares the last days.
func end(before, after trust.Trust) []Line {
	was, is := before.Expires, after.Expires
	switch {
	case was.Equal(is):
		return nil
	case is.IsZero():
		return []Line{tilde("no longer ends; it did on "+words.End(was), Grows)}
	case was.IsZero():
		return []Line{tilde("now ends on "+words.End(is), Shrinks)}
	case was.Before(is):
		return []Line{tilde("ends on "+words.End(is)+" instead of "+words.End(was), Grows)}
	}
	return []Line{tilde("ends on "+words.End(is)+" instead of "+words.End(was), Shrinks)}
}

// use compares how often a token serves, and what it must carry.
func use(before, after trust.Trust) []Line {
	var lines []Line
	if before.TokenUse != after.TokenUse {
		effect := Grows
		if after.TokenUse.Tighter(before.TokenUse) {
			effect = Shrinks
		}
		lines = append(lines, handled("a token serves "+words.TokenUse(after.TokenUse)+" instead of "+words.TokenUse(before.TokenUse), effect))
	}
	switch {
	case before.Nonce == after.Nonce:
	case after.Nonce:
		lines = append(lines, handled("now needs a nonce of ours in the token", Shrinks))
	default:
		lines = append(lines, handled("no longer needs a nonce of ours in the token", Grows))
	}
	return lines
}

// aside names what changed beside access.
func (d *differ) aside(before, after trust.Trust) []Line {
	var lines []Line
	same := func(text string) { lines = append(lines, equal(text)) }
	if before.Name != after.Name {
		same("was named " + before.Name + ": stops, requests that name the trust and targets that are shown its name must follow")
	}
	if before.Owner != after.Owner {
		same("the owner is " + words.One(after.Owner) + " instead of " + words.One(before.Owner))
	}
	if before.Purpose != after.Purpose {
		same("the purpose is written anew")
	}
	if before.Hints != after.Hints {
		text := "a refused caller is told which claim failed"
		if !after.Hints {
			text = "a refused caller is no longer told which claim failed"
		}
		same(text)
	}
	if before.Shadow != after.Shadow && !d.active(before) && !d.active(after) {
		same("the mode changes while it has expired")
	}
	return lines
}

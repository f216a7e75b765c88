package trust

// index finds the trusts that may match a token without looking at the others.
// Each trust lies under the values of one claim that it pins, so that it is
// found at most once.
type index struct {
	levels []level
}

// level holds the trusts whose most selective anchor is this claim.
type level struct {
	claim   *claimVar
	buckets map[any]*bucket
}

// bucket holds the trusts that pin one value. Where they are many, they are
// divided again by the claim that tells most of them apart: an organisation may
// pin its owner id everywhere, and the repository's name beside it.
type bucket struct {
	all   []*rule // that pin the value, by their names
	rules []*rule // those of them that the second claim does not divide
	by    *claimVar
	split map[any][]*rule
}

// crowded is the number of trusts in a bucket from which on dividing is worth
// its map.
const crowded = 8

func newIndex(anchors []*claimVar, rules []*rule) index {
	var ix index
	for _, a := range anchors {
		l := level{claim: a, buckets: map[any]*bucket{}}
		for _, t := range rules {
			if t.anchorKey == nil || t.anchorKey.claim.id != a.id {
				continue
			}
			for i, want := range t.anchorKey.want {
				if listedBefore(t.anchorKey.want, i) {
					continue
				}
				b := l.buckets[want.value]
				if b == nil {
					b = &bucket{}
					l.buckets[want.value] = b
				}
				b.rules = append(b.rules, t)
			}
		}
		if len(l.buckets) == 0 {
			continue
		}
		for _, b := range l.buckets {
			b.all = b.rules
			if len(b.rules) > crowded {
				b.divide(a)
			}
		}
		ix.levels = append(ix.levels, l)
	}
	return ix
}

func listedBefore(want []pattern, i int) bool {
	for _, p := range want[:i] {
		if p.value == want[i].value {
			return true
		}
	}
	return false
}

// divide splits the bucket by the claim with the most values, where that helps.
func (b *bucket) divide(anchor *claimVar) {
	counts := map[*claimVar]map[any]struct{}{}
	for _, t := range b.rules {
		for i := range t.match {
			line := &t.match[i]
			if line.claim == anchor || !line.pins() {
				continue
			}
			if counts[line.claim] == nil {
				counts[line.claim] = map[any]struct{}{}
			}
			for _, p := range line.want {
				counts[line.claim][p.value] = struct{}{}
			}
		}
	}
	for claim, values := range counts {
		// The id decides between equals, so that the index does not depend on
		// the order of a map.
		if b.by == nil || len(values) > len(counts[b.by]) || len(values) == len(counts[b.by]) && claim.id < b.by.id {
			b.by = claim
		}
	}
	if b.by == nil || len(counts[b.by]) < 2 {
		b.by = nil
		return
	}
	all := b.rules
	b.rules, b.split = nil, make(map[any][]*rule, len(counts[b.by]))
	for _, t := range all {
		line := t.lineOf(b.by)
		if line == nil || !line.pins() {
			b.rules = append(b.rules, t)
			continue
		}
		for i, want := range line.want {
			if !listedBefore(line.want, i) {
				b.split[want.value] = append(b.split[want.value], t)
			}
		}
	}
}

func (t *rule) lineOf(claim *claimVar) *matchLine {
	for i := range t.match {
		if t.match[i].claim == claim {
			return &t.match[i]
		}
	}
	return nil
}

// each calls f with every trust whose indexed claims these claims hold.
func (ix *index) each(claims map[string]any, f func(*rule)) {
	for i := range ix.levels {
		l := &ix.levels[i]
		key, ok := indexKey(l.claim, claims)
		if !ok {
			continue
		}
		b := l.buckets[key]
		if b == nil {
			continue
		}
		for _, t := range b.rules {
			f(t)
		}
		if b.by == nil {
			continue
		}
		if key, ok := indexKey(b.by, claims); ok {
			for _, t := range b.split[key] {
				f(t)
			}
		}
	}
}

// holders calls f with the trusts whose most selective anchor these claims hold,
// those too that the second claim rules out, until f returns false.
func (ix *index) holders(claims map[string]any, f func(*rule) bool) {
	for i := range ix.levels {
		key, ok := indexKey(ix.levels[i].claim, claims)
		if !ok {
			continue
		}
		b := ix.levels[i].buckets[key]
		if b == nil {
			continue
		}
		for _, t := range b.all {
			if !f(t) {
				return
			}
		}
	}
}

// indexKey is the claim's value where it is of the declared type and can be a
// key: a list or a map in its place would panic.
func indexKey(c *claimVar, claims map[string]any) (any, bool) {
	x, ok := c.find(claims)
	if !ok {
		return nil, false
	}
	switch x.(type) {
	case string, int64, bool:
		return x, true
	}
	return nil, false
}

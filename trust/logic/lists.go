package logic

import (
	"math"
	"slices"
)

const (
	// maxItems is the longest list that a model gives.
	maxItems = 1 << 16
	// maxDistinct is how many items a list that has to be long gets of its own: the
	// rest repeats one.
	maxDistinct = 8
	// hittings is how many ways to let one item serve several atoms are tried.
	hittings = 10_000
)

// lists decides what one list of strings holds, and its size.
func (s *solver) lists(g []literal, m Model) verdict {
	least, most := int64(0), int64(math.MaxInt64)
	var every []constraint // of each item
	var wanted []*language // an item of each
	for _, l := range g {
		switch {
		case l.relation == sizeAtMost && l.want:
			most = min(most, l.n)
		case l.relation == sizeAtMost:
			if l.n == math.MaxInt64 {
				return no()
			}
			least = max(least, l.n+1)
		case l.want:
			wanted = append(wanted, l.lang.e)
		default:
			every = append(every, constraint{l.lang.e, false})
		}
	}
	switch {
	case least > most:
		return no()
	case least > maxItems:
		return undecided("a list has too many items")
	}
	items, v := s.items(wanted, every, most)
	if v.status != Satisfiable {
		return v
	}
	if int64(len(items)) < least {
		more, ok := words(every, min(int(least)-len(items), maxDistinct), s.effort)
		for _, w := range more {
			if int64(len(items)) < least && !slices.Contains(items, w) {
				items = append(items, w)
			}
		}
		switch {
		case len(items) == 0 && ok:
			return no()
		case len(items) == 0:
			return undecided("a list item's automaton has too many states")
		}
		for int64(len(items)) < least {
			items = append(items, items[0])
		}
	}
	m[g[0].x] = items
	return yes()
}

// items chooses at most that many items, one in each wanted language and each
// as every item must be.
func (s *solver) items(wanted []*language, every []constraint, most int64) ([]string, verdict) {
	items := []string{}
	for _, l := range wanted {
		if slices.ContainsFunc(items, l.contains) {
			continue
		}
		found, ok := words(append(slices.Clone(every), constraint{l, true}), 1, s.effort)
		switch {
		case len(found) > 0:
			items = append(items, found[0])
		case ok:
			return nil, no()
		default:
			return nil, undecided("a list item's automaton has too many states")
		}
	}
	if int64(len(items)) <= most {
		return items, yes()
	}
	h := hitting{wanted: wanted, every: every, most: int(most), effort: s.effort}
	switch {
	case h.place(0):
		return h.items(), yes()
	case h.tries >= hittings || h.cut:
		return nil, undecided("too many ways to put a list together")
	}
	return nil, no()
}

// hitting looks for few items that serve all that is wanted.
type hitting struct {
	wanted []*language
	every  []constraint
	most   int
	effort *effort
	parts  []part
	tries  int
	cut    bool
}

// part is what one item serves.
type part struct {
	constraints []constraint
	item        string
}

// place gives the wanted languages from at on to items.
func (h *hitting) place(at int) bool {
	if at == len(h.wanted) {
		return true
	}
	want := constraint{h.wanted[at], true}
	for i := range h.parts {
		before := h.parts[i]
		if h.join(i, want) && h.place(at+1) {
			return true
		}
		h.parts[i] = before
	}
	if len(h.parts) == h.most {
		return false
	}
	h.parts = append(h.parts, part{constraints: slices.Clone(h.every)})
	if h.join(len(h.parts)-1, want) && h.place(at+1) {
		return true
	}
	h.parts = h.parts[:len(h.parts)-1]
	return false
}

func (h *hitting) join(i int, want constraint) bool {
	if h.tries++; h.tries >= hittings {
		return false
	}
	both := append(slices.Clone(h.parts[i].constraints), want)
	found, ok := words(both, 1, h.effort)
	h.cut = h.cut || !ok && len(found) == 0
	if len(found) == 0 {
		return false
	}
	h.parts[i] = part{both, found[0]}
	return true
}

func (h *hitting) items() []string {
	out := make([]string, len(h.parts))
	for i, p := range h.parts {
		out[i] = p.item
	}
	return out
}

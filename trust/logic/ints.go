package logic

import (
	"math"
	"slices"
)

// bound says that one variable is at most another one and c: to <= from + c.
// Variable 0 is zero.
type bound struct {
	from, to int
	c        wide
}

// bounds are difference constraints over n variables.
type bounds struct {
	n    int
	list []bound
}

// integers decides difference constraints and clocks over some integers.
func (s *solver) integers(g []literal, m Model) verdict {
	b := bounds{n: 1}
	index := map[Var]int{}
	var names []Var
	number := func(x Var) int {
		i, ok := index[x]
		if !ok {
			i = b.n
			index[x] = i
			names = append(names, x)
			b.n++
			b.atMost(i, math.MaxInt64)
			b.atLeast(i, math.MinInt64)
		}
		return i
	}
	clocks := map[int][]literal{}
	for _, l := range g {
		x := number(l.x)
		if l.relation == clock {
			clocks[x] = append(clocks[x], l)
			continue
		}
		y := 0
		if l.binary {
			y = number(l.y)
		}
		if l.want { // x <= y + c
			b.list = append(b.list, bound{y, x, widen(l.n)})
		} else { // y <= x - c - 1
			b.list = append(b.list, bound{x, y, widen(l.n).neg().add(widen(-1))})
		}
	}
	if !b.possible() {
		return no()
	}
	if v := s.placeClocks(&b, clocks); v.status != Satisfiable {
		return v
	}
	for i, x := range names {
		m[x] = b.fix(i + 1)
	}
	return yes()
}

func (b *bounds) atMost(x int, c int64) { b.list = append(b.list, bound{0, x, widen(c)}) }

func (b *bounds) atLeast(x int, c int64) { b.list = append(b.list, bound{x, 0, widen(c).neg()}) }

// distances are the shortest paths from a variable: by how much others can be
// larger at most. Every variable is bound to zero both ways, so that there is a
// path. ok is false with a cycle that makes all of them impossible.
func (b *bounds) distances(from int) (distance []wide, ok bool) {
	distance = make([]wide, b.n)
	reached := make([]bool, b.n)
	reached[from] = true
	for range b.n + 1 {
		changed := false
		for _, e := range b.list {
			if !reached[e.from] {
				continue
			}
			if d := distance[e.from].add(e.c); !reached[e.to] || d.less(distance[e.to]) {
				distance[e.to], reached[e.to] = d, true
				changed = true
			}
		}
		if !changed {
			return distance, true
		}
	}
	return nil, false
}

// possible reports that some integers satisfy all of b.
func (b *bounds) possible() bool {
	_, ok := b.distances(0)
	return ok
}

// reach are the least and the most that x can be; each value between them can
// be had. b must be possible.
func (b *bounds) reach(x int) (lo, hi int64) {
	up, _ := b.distances(0)
	down, _ := b.distances(x)
	return down[0].neg().narrow(), up[x].narrow()
}

// fix binds x to the value nearest to zero that it can have.
func (b *bounds) fix(x int) int64 {
	lo, hi := b.reach(x)
	value := min(max(0, lo), hi)
	b.atMost(x, value)
	b.atLeast(x, value)
	return value
}

// placements is how many spans of time are tried for variables that hang
// together.
const placements = 10_000

// placeClocks adds to b, for each variable with clocks, the bounds of a span of
// time in which they are as they must be.
func (s *solver) placeClocks(b *bounds, clocks map[int][]literal) verdict {
	if len(clocks) == 0 {
		return yes()
	}
	order := make([]int, 0, len(clocks))
	for x := range clocks {
		order = append(order, x)
	}
	slices.Sort(order)
	tries, short, tired := 0, false, false
	var place func(int) bool
	place = func(at int) bool {
		if at == len(order) {
			return true
		}
		x := order[at]
		lo, hi := b.reach(x)
		held := len(b.list)
		placed := false
		whole, rested := s.spans(lo, hi, clocks[x], func(first, last int64) bool {
			tries++
			b.list = b.list[:held]
			b.atLeast(x, first)
			b.atMost(x, last)
			placed = place(at + 1)
			return placed || tries >= placements
		})
		if !placed {
			b.list = b.list[:held]
			short = short || !whole
			tired = tired || !rested
		}
		return placed
	}
	switch {
	case place(0):
		return yes()
	case tired || tries >= placements:
		return undecided("a clock takes too long to look through")
	case short && len(order) > 1:
		return undecided("several clocks hang together without an end")
	}
	return no()
}

package logic

import (
	"math"
	"strconv"
)

// booleans decides the literal over one boolean: it has one atom, which is not
// assumed both ways.
func booleans(g []literal, m Model) verdict {
	m[g[0].x] = g[0].want
	return yes()
}

// reals decides bounds of one number. Every bound is moved to the next number
// of float64 that it allows, so that all of them are inclusive.
func reals(g []literal, m Model) verdict {
	lo, hi := -math.MaxFloat64, math.MaxFloat64
	for _, l := range g {
		c := l.f
		switch {
		case l.want && l.orEqual: // x <= c
			hi = min(hi, c)
		case l.want: // x < c
			hi = min(hi, math.Nextafter(c, math.Inf(-1)))
		case l.orEqual: // x > c
			lo = max(lo, math.Nextafter(c, math.Inf(1)))
		default: // x >= c
			lo = max(lo, c)
		}
	}
	if lo > hi {
		return no()
	}
	m[g[0].x] = between(lo, hi)
	return yes()
}

// between is the most readable number from lo to hi.
func between(lo, hi float64) float64 {
	switch up := math.Ceil(lo); {
	case lo <= 0 && 0 <= hi:
		return 0
	case lo > 0 && up <= hi:
		return up
	case hi < 0 && math.Floor(hi) >= lo:
		return math.Floor(hi)
	}
	if middle := lo + (hi-lo)/2; lo <= middle && middle <= hi {
		return middle
	}
	return lo
}

// values decides what one single value is and is not. It has infinitely many
// others to be.
func values(g []literal, m Model) verdict {
	not := map[any]bool{}
	var is any
	for _, l := range g {
		switch {
		case !l.want:
			not[l.value] = true
		case is != nil && is != l.value:
			return no()
		default:
			is = l.value
		}
	}
	if not[is] && is != nil {
		return no()
	}
	if is == nil {
		is = "x"
		for i := 2; not[is]; i++ {
			is = "x" + strconv.Itoa(i)
		}
	}
	m[g[0].x] = is
	return yes()
}

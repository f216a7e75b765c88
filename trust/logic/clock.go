package logic

import (
	"cmp"
	"math"
	"slices"
	"sync"
	"time"
)

// Cache keeps what questions have in common: when Clock predicates change. The
// zero value is ready, and it is safe for concurrent use.
type Cache struct {
	mu   sync.Mutex
	days map[clockDay]*dayClock
}

type clockDay struct {
	id  string
	day int64 // since 1970
}

// dayClock is what a predicate is on one day of UTC: what it is at first, and
// when it changes.
type dayClock struct {
	first   bool
	changes []int64 // in nanoseconds since 1970
}

const (
	dayLength = int64(24 * time.Hour)
	// maxDays is how many days a cache keeps, at about 100 bytes each, before it
	// starts again: two years of a thousand clocks.
	maxDays = 1 << 20
	// maxLooks is how many instants one question may ask its clocks about: 28
	// years by minutes and by hours.
	maxLooks = 16 << 20
)

// usualStart is where a search begins that nothing bounds: 2026-01-01.
func usualStart() int64 { return time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC).UnixNano() }

// day looks a clock's day up, or through; looks counts the instants that were
// asked about.
func (c *Cache) day(w *clockwork, day int64, looks *int) *dayClock {
	c.mu.Lock()
	defer c.mu.Unlock()
	key := clockDay{w.id, day}
	if d, ok := c.days[key]; ok {
		return d
	}
	start := day * dayLength
	at := func(t int64) bool {
		*looks++
		return w.holds(time.Unix(0, t).UTC())
	}
	d := &dayClock{first: at(start)}
	now, every := d.first, int64(w.step.Every)
	for t := start - floorMod(start, every) + every; t < start+dayLength; t += every {
		if is := at(t); is != now {
			d.changes = append(d.changes, t)
			now = is
		}
	}
	if c.days == nil || len(c.days) >= maxDays {
		c.days = map[clockDay]*dayClock{}
	}
	c.days[key] = d
	return d
}

func floorDiv(a, b int64) int64 {
	q := a / b
	if a%b < 0 {
		q--
	}
	return q
}

func floorMod(a, b int64) int64 { return (a%b + b) % b }

// span is the instants from first to last, both included.
type span struct{ first, last int64 }

// holding are the parts of the day in which the clock is as wanted.
func (d *dayClock) holding(day int64, want bool) []span {
	var out []span
	is, from := d.first, day*dayLength
	for _, t := range d.changes {
		if is == want {
			out = append(out, span{from, t - 1})
		}
		is, from = !is, t
	}
	if is == want {
		out = append(out, span{from, day*dayLength + dayLength - 1})
	}
	return out
}

func intersect(a, b []span) []span {
	var out []span
	for i, j := 0, 0; i < len(a) && j < len(b); {
		first, last := max(a[i].first, b[j].first), min(a[i].last, b[j].last)
		if first <= last {
			out = append(out, span{first, last})
		}
		if a[i].last < b[j].last {
			i++
		} else {
			j++
		}
	}
	return out
}

// spans gives all spans between lo and hi in which the clocks are as they must
// be to try, until it says enough. whole reports that it saw all there is
// between them, and not only as much as shows all that the clocks do; rested
// that it did not have to stop.
func (s *solver) spans(lo, hi int64, clocks []literal, try func(first, last int64) bool) (whole, rested bool) {
	clocks = slices.SortedStableFunc(slices.Values(clocks), func(a, b literal) int {
		return cmp.Compare(b.clock.step.Every, a.clock.step.Every)
	})
	years := 0
	for _, l := range clocks {
		years = max(years, l.clock.step.Years)
	}
	from, to := window(lo, hi, years)
	looks := 0
	// The first and the last days, which int64 does not wholly hold, are left
	// out, and then not all was seen.
	const edge = math.MaxInt64/dayLength - 1
	first, last := floorDiv(from, dayLength), floorDiv(to, dayLength)
	cut := first < -edge || last > edge
	first, last = max(first, -edge), min(last, edge)
	for day := first; day <= last; day++ {
		held := []span{{from, to}}
		for _, l := range clocks {
			if len(held) == 0 {
				break // finer clocks are not looked at on days that coarser ones leave out
			}
			held = intersect(held, s.limits.Cache.day(l.clock, day, &looks).holding(day, l.want))
			s.effort.left -= 1 + len(held)
		}
		for _, h := range held {
			if try(h.first, h.last) {
				return true, true
			}
		}
		if looks > maxLooks || s.effort.spent() {
			return false, false
		}
	}
	return from == lo && to == hi && !cut, !cut
}

// window is where to look between lo and hi: that many years from the one that
// is a bound.
func window(lo, hi int64, years int) (from, to int64) {
	length := int64(math.MaxInt64)
	if year := 366 * dayLength; int64(years) < length/year {
		length = int64(years) * year
	}
	const longAgo = math.MinInt64 / 2 // 1823: no bound that anyone wrote
	switch {
	case lo > longAgo:
		from = lo
	case hi < -longAgo:
		from = max(lo, wideSub(hi, length))
	default:
		from = min(max(lo, usualStart()), hi)
	}
	return from, min(hi, widen(from).add(widen(length)).narrow())
}

func wideSub(a, b int64) int64 { return widen(a).add(widen(b).neg()).narrow() }

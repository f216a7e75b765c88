package tighten

import (
	"fmt"
	"net/netip"
	"regexp"
	"slices"
	"strings"
	"time"

	"cambio/trust"
)

// maxListed bounds what a glob or a network is narrowed to: a list that is longer
// hides its one surprising entry.
const maxListed = 8

// settled reports that the second half of the time brought nothing new.
func settled[K comparable](by map[K]*span, over span) bool {
	half := over.first.Add(over.last.Sub(over.first) / 2)
	for _, s := range by {
		if s.first.After(half) {
			return false
		}
	}
	return true
}

// globbed is a glob of match as a pattern: `*` stops at a slash.
func globbed(glob string) *regexp.Regexp {
	return regexp.MustCompile(`^(?s:` + strings.ReplaceAll(regexp.QuoteMeta(glob), `\*`, `[^/\x00\r\n]*`) + `)$`)
}

// fit gives each wanted item of a line the values that it is there for: those
// that it equals, or that its glob takes and no item equals.
func fit(want []trust.Wanted, by map[any]*span) []map[any]*span {
	out := make([]map[any]*span, len(want))
	for i := range out {
		out[i] = map[any]*span{}
	}
	for value, s := range by {
		at := slices.IndexFunc(want, func(w trust.Wanted) bool { return !w.Glob && w.Value == value })
		if at < 0 {
			text, isText := value.(string)
			at = slices.IndexFunc(want, func(w trust.Wanted) bool {
				glob, _ := w.Value.(string)
				return w.Glob && isText && globbed(glob).MatchString(text)
			})
		}
		if at >= 0 {
			out[at][value] = s
		}
	}
	return out
}

// sortedValues are in an order that does not change.
func sortedValues(by map[any]*span) []any {
	out := make([]any, 0, len(by))
	for v := range by {
		out = append(out, v)
	}
	slices.SortFunc(out, func(a, b any) int { return strings.Compare(fmt.Sprintf("%T%v", a, a), fmt.Sprintf("%T%v", b, b)) })
	return out
}

// cover is the smallest prefixes that hold all addresses, at most maxListed.
func cover(addresses []netip.Addr) []netip.Prefix {
	slices.SortFunc(addresses, netip.Addr.Compare)
	out := make([]netip.Prefix, len(addresses))
	for i, a := range addresses {
		out[i] = netip.PrefixFrom(a, a.BitLen())
	}
	for len(out) > maxListed {
		best, bits := -1, -1
		for i := 0; i+1 < len(out); i++ {
			if n := shared(out[i], out[i+1]); n > bits {
				best, bits = i, n
			}
		}
		if best < 0 {
			break
		}
		joined, err := out[best].Addr().Prefix(bits)
		if err != nil {
			break
		}
		out[best] = joined
		out = slices.Delete(out, best+1, best+2)
	}
	return out
}

// shared is how many leading bits two prefixes have in common; -1 for those of
// two families.
func shared(a, b netip.Prefix) int {
	if a.Addr().BitLen() != b.Addr().BitLen() {
		return -1
	}
	x, y := a.Addr().AsSlice(), b.Addr().AsSlice()
	n := 0
	for n < min(a.Bits(), b.Bits()) && (x[n/8]^y[n/8])>>(7-n%8)&1 == 0 {
		n++
	}
	return n
}

// networks are the prefixes that addresses came from, or nil where the second
// half of the time brought one outside those of the first.
func networks(by map[netip.Addr]*span, over span) []netip.Prefix {
	half := over.first.Add(over.last.Sub(over.first) / 2)
	var early, all []netip.Addr
	for a, s := range by {
		all = append(all, a)
		if !s.first.After(half) {
			early = append(early, a)
		}
	}
	known := cover(early)
	for _, a := range all {
		if !slices.ContainsFunc(known, func(p netip.Prefix) bool { return p.Contains(a) }) {
			return nil
		}
	}
	return known
}

// narrowHours is the part of a window that was used, to whole hours; ok is false
// where none was, or where the second half of the time brought a new hour.
func narrowHours(h trust.Hours, k *week, over span) (out trust.Hours, ok bool) {
	half := over.first.Add(over.last.Sub(over.first) / 2)
	out = trust.Hours{Zone: h.Zone, Start: h.End, End: h.Start}
	for day := range k.hours {
		for hour, cell := range k.hours[day] {
			if cell == nil || !h.Days[day] || hour*60+60 <= h.Start || hour*60 >= h.End {
				continue
			}
			if cell.first.After(half) {
				return out, false
			}
			out.Days[day] = true
			out.Start, out.End = min(out.Start, max(hour*60, h.Start)), max(out.End, min(hour*60+60, h.End))
		}
	}
	return out, out.Start < out.End
}

// hoursText writes a window as a document does.
func hoursText(h trust.Hours) string {
	names := []string{"Mon", "Tue", "Wed", "Thu", "Fri", "Sat", "Sun"}
	on := func(i int) bool { return i < len(names) && h.Days[time.Weekday((i+1)%7)] }
	var days []string
	for i := 0; i < len(names); i++ {
		if !on(i) {
			continue
		}
		from := i
		for on(i + 1) {
			i++
		}
		if from == i {
			days = append(days, names[i])
		} else {
			days = append(days, names[from]+"-"+names[i])
		}
	}
	return fmt.Sprintf("%s %02d:%02d-%02d:%02d %s", strings.Join(days, ","), h.Start/60, h.Start%60, h.End/60, h.End%60, h.Zone)
}

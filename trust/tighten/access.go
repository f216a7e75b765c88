package tighten

import (
	"net/netip"
	"slices"
	"strings"
	"time"

	"cambio/trust"
	"cambio/trust/strictyaml"
)

// access narrows networks and hours, or adds them where that is asked for.
func (d *drafting) access() error {
	node := d.e.root.Get("access")
	var lines []string
	if d.t.Access.Networks != nil {
		if err := d.narrowNetworks(node.Get("networks")); err != nil {
			return err
		}
	} else if d.o.Networks {
		if text, c := d.newNetworks(); text != "" {
			if node != nil {
				if err := d.change(c, d.e.add(node, "networks", text)); err != nil {
					return err
				}
			} else {
				lines = append(lines, "  networks: "+text+"\n")
				d.Changes = append(d.Changes, c)
			}
		}
	}
	if d.t.Access.Hours != nil {
		if err := d.narrowHours(node.Get("hours")); err != nil {
			return err
		}
	} else if d.o.Hours {
		if text, c := d.newHours(); text != "" {
			if node != nil {
				if err := d.change(c, d.e.add(node, "hours", text)); err != nil {
					return err
				}
			} else {
				lines = append(lines, "  hours: "+text+"\n")
				d.Changes = append(d.Changes, c)
			}
		}
	}
	if lines == nil {
		return nil
	}
	return d.e.before("grants", "access:\n"+strings.Join(lines, ""))
}

func (d *drafting) narrowNetworks(node *strictyaml.Node) error {
	if d.k.crowded {
		d.keep("access.networks: more than %d addresses", maxAddresses)
		return nil
	}
	if node.Kind != strictyaml.List || len(node.Items()) != len(d.t.Access.Networks) {
		return errByHand
	}
	to := make([][]string, len(d.t.Access.Networks))
	changed, open := false, false
	for i, p := range d.t.Access.Networks {
		to[i] = []string{keep}
		inside := map[netip.Addr]*span{}
		for a, s := range d.k.addresses {
			if p.Contains(a) {
				inside[a] = s
			}
		}
		if len(inside) == 0 {
			to[i], changed = nil, true
			continue
		}
		narrow := networks(inside, d.k.span)
		if narrow == nil {
			open = true
			continue
		}
		if len(narrow) == 1 && narrow[0] == p {
			continue
		}
		to[i], changed = nil, true
		for _, n := range narrow {
			to[i] = append(to[i], networkText(n))
		}
	}
	if open {
		d.keep("access.networks: the second half of the time brought addresses from elsewhere")
	}
	if !changed {
		return nil
	}
	c := Change{Field: "access.networks", From: joined(d.t.Access.Networks), To: shownItems(to, d.t.Access.Networks), Evidence: count(len(d.k.addresses), "caller") + " " + d.over()}
	return d.change(c, d.e.items(node, to))
}

func networkText(p netip.Prefix) string {
	if p.Addr().Is4() {
		return p.String()
	}
	return `"` + p.String() + `"`
}

func joined(prefixes []netip.Prefix) string {
	out := make([]string, len(prefixes))
	for i, p := range prefixes {
		out[i] = networkText(p)
	}
	return strings.Join(out, ", ")
}

func shownItems(to [][]string, was []netip.Prefix) string {
	var out []string
	for i, texts := range to {
		for _, text := range texts {
			if text == keep {
				text = networkText(was[i])
			}
			out = append(out, text)
		}
	}
	return strings.Join(out, ", ")
}

// widest4 and widest6 are the widest prefixes that are worth adding: wider ones hold
// networks of others.
const (
	widest4 = 8
	widest6 = 32
)

func (d *drafting) newNetworks() (string, Change) {
	if d.k.unknown > 0 || d.k.crowded || len(d.k.addresses) == 0 {
		d.keep("access.networks: not all callers are known")
		return "", Change{}
	}
	found := networks(d.k.addresses, d.k.span)
	wide := func(p netip.Prefix) bool {
		return p.Addr().Is4() && p.Bits() < widest4 || p.Addr().Is6() && p.Bits() < widest6
	}
	if found == nil || slices.ContainsFunc(found, wide) {
		d.keep("access.networks: callers come from everywhere, or from new places until the end")
		return "", Change{}
	}
	return "[" + joined(found) + "]", Change{Field: "access.networks", To: joined(found), Evidence: count(len(d.k.addresses), "caller") + " " + d.over()}
}

func (d *drafting) hoursKnown() bool {
	return d.Decisions >= hoursDecisions && d.Days >= hoursDays
}

func (d *drafting) narrowHours(node *strictyaml.Node) error {
	if !d.hoursKnown() {
		d.keep("access.hours: narrowed from %d decisions on %d days on", hoursDecisions, hoursDays)
		return nil
	}
	to := make([][]string, len(d.t.Access.Hours))
	var was, now []string
	for i, h := range d.t.Access.Hours {
		to[i] = []string{keep}
		k := d.k.hours[h.Zone.String()]
		narrow, ok := narrowHours(h, k, d.k.span)
		if narrow.Days == h.Days && narrow.Start == h.Start && narrow.End == h.End || !ok && used(h, k) {
			continue
		}
		was = append(was, h.Text)
		if to[i] = nil; ok {
			to[i] = []string{`"` + hoursText(narrow) + `"`}
			now = append(now, hoursText(narrow))
		}
	}
	if was == nil {
		return nil
	}
	c := Change{Field: "access.hours", From: strings.Join(was, ", "), To: strings.Join(now, ", "), Evidence: "all " + d.over()}
	if node.Kind == strictyaml.List {
		return d.change(c, d.e.items(node, to))
	}
	return d.change(c, d.e.value(node, to[0][0]))
}

func used(h trust.Hours, k *week) bool {
	for day := range k.hours {
		for hour, cell := range k.hours[day] {
			if cell != nil && h.Days[day] && hour*60+60 > h.Start && hour*60 < h.End {
				return true
			}
		}
	}
	return false
}

func (d *drafting) newHours() (string, Change) {
	always := trust.Hours{Zone: time.UTC, Days: [7]bool{true, true, true, true, true, true, true}, End: 24 * 60}
	narrow, ok := narrowHours(always, d.k.hours[time.UTC.String()], d.k.span)
	switch {
	case !d.hoursKnown():
		d.keep("access.hours: added from %d decisions on %d days on", hoursDecisions, hoursDays)
		return "", Change{}
	case !ok || narrow.Days == always.Days && narrow.Start == 0 && narrow.End == always.End:
		d.keep("access.hours: at all hours, or at new ones until the end")
		return "", Change{}
	}
	return `"` + hoursText(narrow) + `"`, Change{Field: "access.hours", To: hoursText(narrow), Evidence: "all " + d.over()}
}

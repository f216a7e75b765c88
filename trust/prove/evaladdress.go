package prove

import (
	"net/netip"
	"strconv"
	"strings"

	"cambio/trust/logic"
)

// holds is for the address as text: "" where it is unknown. Prefixes that end at
// a dot are networks; other tests of the text than equality are left out.
func (x address) holds(q textTest) (logic.Formula, bool) {
	switch {
	case q.arg == "" && q.kind == equals:
		return logic.Not(logic.AddressKnown(x.x)), true
	case q.arg == "" && (q.kind == startsWith || q.kind == endsWith || q.kind == contains):
		return logic.True(), true
	case q.kind == equals:
		a, err := netip.ParseAddr(q.arg)
		switch {
		case err != nil, a.Unmap().String() != q.arg:
			return logic.False(), true // an address is written in one way
		case a.Zone() != "":
			return logic.False(), false
		}
		return logic.AddressIs(x.x, a), true
	case q.kind == startsWith:
		p, ok := dotted(q.arg)
		if !ok {
			return logic.False(), false
		}
		return logic.InNetworks(x.x, []netip.Prefix{p}), true
	}
	return logic.False(), false
}

// dotted is the network of all IPv4 addresses whose text begins with s, for one
// such as "10.2.": only between the dots is a text an octet.
func dotted(s string) (netip.Prefix, bool) {
	parts := strings.Split(s, ".")
	if len(parts) < 2 || len(parts) > 4 || parts[len(parts)-1] != "" {
		return netip.Prefix{}, false
	}
	var octets [4]byte
	for i, p := range parts[:len(parts)-1] {
		n, err := strconv.ParseUint(p, 10, 8)
		if err != nil || strconv.FormatUint(n, 10) != p {
			return netip.Prefix{}, false
		}
		octets[i] = byte(n)
	}
	return netip.PrefixFrom(netip.AddrFrom4(octets), 8*(len(parts)-1)), true
}

package logic

import "net/netip"

// holdsFor says what an atom of addresses is for one; the zero one is unknown.
func (a *atom) holdsFor(address netip.Addr) bool {
	switch a.relation { //nolint:exhaustive // no other atom is of addresses
	case known:
		return address.IsValid()
	case addressIs:
		return address == a.address
	case inNetworks:
		for _, p := range a.networks {
			if p.Contains(address) {
				return true
			}
		}
	}
	return false
}

// addresses decides literals over one address. They cut the addresses into
// ranges that begin where a network begins or has just ended, and are alike for
// all of a range: looking at each beginning is looking at everything.
func addresses(g []literal, m Model) verdict {
	for _, address := range candidates(g) {
		if fits(g, address) {
			m[g[0].x] = address
			return yes()
		}
	}
	return no()
}

func fits(g []literal, address netip.Addr) bool {
	for _, l := range g {
		if l.holdsFor(address) != l.want {
			return false
		}
	}
	return true
}

// candidates are the addresses to look at, the more usual ones first and the
// unknown one last.
func candidates(g []literal) []netip.Addr {
	var out []netip.Addr
	add := func(a netip.Addr) {
		// An IPv4 address in IPv6 clothes is not how addresses are written.
		if a.IsValid() && !a.Is4In6() {
			out = append(out, a)
		}
	}
	for _, l := range g {
		if l.relation != inNetworks || !l.want {
			continue
		}
		for _, p := range l.networks {
			if first := p.Addr().Next(); p.Contains(first) {
				add(first) // the network's own address is no caller's
			}
		}
	}
	add(netip.AddrFrom4([4]byte{203, 0, 113, 7}))               // an example, RFC 5737
	add(netip.AddrFrom16([16]byte{0x20, 1, 0x0d, 0xb8, 15: 7})) // an example, RFC 3849
	for _, l := range g {
		if l.relation == addressIs {
			add(l.address)
			add(l.address.Next())
		}
		for _, p := range l.networks {
			add(p.Addr())
			add(last(p).Next())
		}
	}
	add(netip.IPv4Unspecified())
	add(netip.IPv6Unspecified())
	add(last(netip.PrefixFrom(netip.AddrFrom16([16]byte{10: 0xff, 11: 0xff}), 96)).Next())
	return append(out, netip.Addr{})
}

// last is the last address of p.
func last(p netip.Prefix) netip.Addr {
	b := p.Addr().AsSlice()
	for i := p.Bits(); i < 8*len(b); i++ {
		b[i/8] |= 0x80 >> (i % 8)
	}
	a, _ := netip.AddrFromSlice(b)
	return a
}

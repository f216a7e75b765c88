package oidc

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"strconv"
	"strings"
	"syscall"
)

// Resolver turns a name into addresses. *net.Resolver is one.
type Resolver interface {
	LookupNetIP(ctx context.Context, network, host string) ([]netip.Addr, error)
}

// DialRule opens addresses that are otherwise refused: exactly this host and
// port, as they stand in the URL, at an address of this range.
type DialRule struct {
	Host   string
	Port   uint16
	Prefix netip.Prefix
}

// ParseDialRule reads "host:port CIDR".
func ParseDialRule(s string) (DialRule, error) {
	hostport, cidr, ok := strings.Cut(s, " ")
	if !ok {
		return DialRule{}, errors.New(`want "host:port CIDR"`)
	}
	host, port, err := net.SplitHostPort(hostport)
	if err != nil || host == "" {
		return DialRule{}, errors.New(`want "host:port CIDR"`)
	}
	n, err := strconv.ParseUint(port, 10, 16)
	if err != nil || n == 0 || strconv.FormatUint(n, 10) != port {
		return DialRule{}, fmt.Errorf("%q is not a port", port)
	}
	prefix, err := netip.ParsePrefix(cidr)
	if err != nil || prefix != prefix.Masked() {
		return DialRule{}, fmt.Errorf("%q is not an address range without host bits", cidr)
	}
	return DialRule{Host: host, Port: uint16(n), Prefix: prefix}, nil
}

// addressError says that an address must not be called. Its text holds the
// host of a configured URL and an address, nothing else.
type addressError struct {
	host string
	addr netip.Addr
}

func (e *addressError) Error() string {
	return fmt.Sprintf("%s is at %s, which must not be called", e.host, e.addr)
}

// guard dials only public addresses, and those that the configuration opens. It
// looks at what the name resolves to, refuses when any answer is forbidden (a
// server of two answers is about to rebind), dials the very addresses that it
// looked at, and checks the peer once more when the socket is made.
type guard struct {
	resolver Resolver
	rules    []DialRule
	loopback bool
}

func (g guard) dial(ctx context.Context, network, hostport string) (net.Conn, error) {
	ctx, cancel := context.WithTimeout(ctx, fetchDial)
	defer cancel()
	host, portText, err := net.SplitHostPort(hostport)
	if err != nil {
		return nil, err
	}
	n, err := strconv.ParseUint(portText, 10, 16)
	if err != nil {
		return nil, err
	}
	port := uint16(n)
	addrs, err := g.resolve(ctx, host)
	if err != nil {
		return nil, err
	}
	for i, a := range addrs {
		if addrs[i] = a.Unmap(); !g.allowed(host, port, addrs[i]) {
			return nil, &addressError{host, addrs[i]}
		}
	}
	d := net.Dialer{
		Control: func(_, peer string, _ syscall.RawConn) error {
			ap, err := netip.ParseAddrPort(peer)
			if err != nil {
				return err
			}
			if a := ap.Addr().Unmap(); ap.Port() != port || !g.allowed(host, port, a) {
				return &addressError{host, a}
			}
			return nil
		},
	}
	err = errors.New("the name has no address")
	for _, a := range addrs {
		var conn net.Conn
		if conn, err = d.DialContext(ctx, network, netip.AddrPortFrom(a, port).String()); err == nil {
			return conn, nil
		}
	}
	return nil, err
}

func (g guard) resolve(ctx context.Context, host string) ([]netip.Addr, error) {
	if a, err := netip.ParseAddr(host); err == nil {
		return []netip.Addr{a}, nil
	}
	return g.resolver.LookupNetIP(ctx, "ip", host)
}

// allowed reports whether host and port may be called at a.
func (g guard) allowed(host string, port uint16, a netip.Addr) bool {
	if !a.IsValid() || a.Zone() != "" || metadata(a) {
		return false
	}
	if g.loopback && a.IsLoopback() {
		return true
	}
	for _, r := range g.rules {
		if strings.EqualFold(r.Host, host) && r.Port == port && r.Prefix.Contains(a) {
			return true
		}
	}
	// A resolver that answers for localhost with an address of its own choice
	// would have us take a stranger for this machine.
	return !localName(host) && public(a)
}

// metadata reports addresses where clouds hand credentials to whoever asks.
// No configuration opens them.
func metadata(a netip.Addr) bool {
	switch a.String() {
	case "169.254.169.254", "169.254.170.2", "169.254.170.23", "168.63.129.16",
		"100.100.100.200", "192.0.0.192", "fd00:ec2::254", "fd00:ec2::23", "fd20:ce::254":
		return true
	}
	return false
}

// public reports whether a is an address of the public Internet. For IPv6 only
// 2000::/3 is, less the ranges that carry another address inside or are not
// routed; NAT64, 6to4, Teredo and mapped forms would reach IPv4's private ranges.
func public(a netip.Addr) bool {
	a = a.Unmap()
	var special []string
	if a.Is4() {
		special = []string{
			"0.0.0.0/8", "10.0.0.0/8", "100.64.0.0/10", "127.0.0.0/8", "169.254.0.0/16", "172.16.0.0/12",
			"192.0.0.0/24", "192.0.2.0/24", "192.88.99.0/24", "192.168.0.0/16", "198.18.0.0/15",
			"198.51.100.0/24", "203.0.113.0/24", "224.0.0.0/4", "240.0.0.0/4",
		}
	} else {
		if !netip.MustParsePrefix("2000::/3").Contains(a) {
			return false
		}
		special = []string{"2001::/23", "2001:db8::/32", "2002::/16", "3fff::/20"}
	}
	for _, s := range special {
		if netip.MustParsePrefix(s).Contains(a) {
			return false
		}
	}
	return a.IsValid()
}

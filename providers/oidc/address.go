package oidc

import (
	"fmt"
	"net"
	"net/netip"
	"net/url"
	"strconv"
	"strings"

	"golang.org/x/net/idna"
)

// The findings of a check of a provider's configuration.
const (
	FindingAddress  = "issuer-address-forbidden" // a URL names an address, which only dial or insecure_loopback may open
	FindingURL      = "issuer-url-invalid"       // a URL is not a plain https URL
	FindingAudience = "audience-reserved"        // the audience belongs to another service
	FindingKeys     = "keys-unreachable"         // the key set cannot be had with this configuration
	FindingSetting  = "provider-setting"         // any other setting that cannot be meant
)

// Problem is something wrong with a provider's configuration.
type Problem struct {
	Finding string // one of the Finding constants
	Field   string // the configuration key below the provider
	Text    string // what is wrong, and what to write instead
}

// CheckURL says what is wrong with a URL that a provider would be called at, or
// returns nil. field is the configuration key it stands under.
//
// It refuses everything but plain https: no user, query or fragment; no
// template; no address in any spelling, since an address is either private or
// not under the issuer's control for long; no name that is not its own ASCII
// form. http is for loopback alone, and only with loopback. Where a name leads,
// even localhost, is not asked here: a forbidden address is refused when dialled.
func CheckURL(field, raw string, loopback bool, rules []DialRule) *Problem {
	wrong := func(finding, text string, args ...any) *Problem {
		return &Problem{Finding: finding, Field: field, Text: fmt.Sprintf(text, args...)}
	}
	for _, c := range []byte(raw) {
		if c <= ' ' || c >= 0x7f {
			return wrong(FindingURL, "%q holds a byte that is not visible ASCII; write the exact issuer, a name in its xn-- form", raw)
		}
	}
	// Issuers are exact strings: a pattern that is too wide lets anyone sign
	// (CVE-2026-22772).
	if i := strings.IndexAny(raw, "*{}<>|^`\\\""); i >= 0 {
		return wrong(FindingURL, "%q holds %q; there are no wildcards or templates, write the exact URL", raw, raw[i])
	}
	if strings.ContainsAny(raw, "?#@") {
		return wrong(FindingURL, "%q has a user, query or fragment; leave it out", raw)
	}
	u, err := url.Parse(raw)
	if err != nil || u.Host == "" || u.Opaque != "" || u.Scheme != "https" && u.Scheme != "http" {
		return wrong(FindingURL, "%q is not an https URL", raw)
	}
	host, port := u.Hostname(), u.Port()
	if host == "" || strings.HasSuffix(u.Host, ":") || !validPort(port) {
		return wrong(FindingURL, "%q has a malformed host or port", raw)
	}
	if port == "" {
		port = "443"
		if u.Scheme == "http" {
			port = "80"
		}
	}
	local := localName(host)
	if addr, err := netip.ParseAddr(host); err == nil {
		local = addr.Is4() && addr.IsLoopback() || addr == netip.IPv6Loopback()
		if u.Scheme == "http" && local && !loopback {
			return wrong(FindingAddress, loopbackText, raw) // dial would open the address, and http not
		}
		if (!local || !loopback) && !opened(rules, host, port) {
			return wrong(FindingAddress, "%q names an address; write a name, or open it with `dial: [\"%s CIDR\"]`", raw, net.JoinHostPort(host, port))
		}
	} else {
		switch {
		case numeric(host):
			return wrong(FindingAddress, "%q names an address in an unusual spelling; write a name", raw)
		case strings.HasSuffix(host, ".") && !local:
			return wrong(FindingURL, "%q ends its host with a dot; leave it out", raw)
		}
		if ascii, err := idna.Lookup.ToASCII(host); err != nil || ascii != host {
			return wrong(FindingURL, "%q does not hold its host in lower-case ASCII form", raw)
		}
	}
	switch {
	case u.Scheme == "http" && local && !loopback:
		return wrong(FindingURL, loopbackText, raw)
	case u.Scheme == "http" && !local:
		return wrong(FindingURL, "%q is not https; http is for loopback with `insecure_loopback: true` alone", raw)
	}
	return nil
}

const loopbackText = "%q is http on loopback; write `insecure_loopback: true` for a test, with `listen` on loopback, or an https name"

func validPort(port string) bool {
	if port == "" {
		return true
	}
	n, err := strconv.ParseUint(port, 10, 16)
	return err == nil && n > 0 && strconv.FormatUint(n, 10) == port
}

// localName reports names that mean this machine on every resolver (RFC 6761
// section 6.3).
func localName(host string) bool {
	host = strings.ToLower(strings.TrimSuffix(host, "."))
	return host == "localhost" || strings.HasSuffix(host, ".localhost")
}

// numeric reports hosts that some resolvers read as an IPv4 address: those
// whose last label is a number, decimal, octal or hexadecimal (WHATWG URL,
// "ends in a number").
func numeric(host string) bool {
	host = strings.TrimSuffix(host, ".")
	last := host[strings.LastIndexByte(host, '.')+1:]
	if last == "" {
		return false
	}
	if hex, ok := strings.CutPrefix(strings.ToLower(last), "0x"); ok {
		return strings.Trim(hex, "0123456789abcdef") == ""
	}
	return strings.Trim(last, "0123456789") == ""
}

func opened(rules []DialRule, host, port string) bool {
	for _, r := range rules {
		if strings.EqualFold(r.Host, host) && strconv.Itoa(int(r.Port)) == port {
			return true
		}
	}
	return false
}

package gateway

import (
	"log/slog"
	"net/netip"
	"regexp"
	"strconv"

	"cambio/providers/oidc"
	"cambio/trust/strictyaml"
)

// Secret is a text that no print, log or encoding shows.
type Secret string

// hidden is what stands for a secret everywhere.
const hidden = "[hidden]"

// String hides the secret.
func (Secret) String() string { return hidden }

// GoString hides the secret.
func (Secret) GoString() string { return hidden }

// LogValue hides the secret.
func (Secret) LogValue() slog.Value { return slog.StringValue(hidden) }

// MarshalText hides the secret.
func (Secret) MarshalText() ([]byte, error) { return []byte(hidden), nil }

// Reveal is the secret itself.
func (s Secret) Reveal() string { return string(s) }

// UnmarshalNode reads the secret, and repeats nothing of it in a finding.
func (s *Secret) UnmarshalNode(n *strictyaml.Node, r *strictyaml.Reporter) {
	if n.Kind != strictyaml.String || n.Text == "" {
		r.Error(n, "wrong-type", "text is wanted", "write ${env:NAME}, ${file:PATH} or quotes")
		return
	}
	*s = Secret(n.Text)
}

// OneOrMany is a text, or a list of them without repetitions.
type OneOrMany []string

// UnmarshalNode reads either form.
func (o *OneOrMany) UnmarshalNode(n *strictyaml.Node, r *strictyaml.Reporter) {
	items := []*strictyaml.Node{n}
	if n.Kind == strictyaml.List {
		items = n.Items()
	}
	if len(items) == 0 {
		r.Error(n, "empty-list", "the list is empty", "write at least one")
	}
	seen := map[string]bool{}
	for _, item := range items {
		if item.Kind != strictyaml.String {
			r.WrongType(item, "text")
			continue
		}
		if seen[item.Text] {
			r.Error(item, "repeated", item.Show()+" stands here twice", "keep one")
		}
		seen[item.Text] = true
		*o = append(*o, item.Text)
	}
}

// Prefix is a range of addresses, such as 10.0.0.0/8, without host bits.
type Prefix struct{ netip.Prefix }

// UnmarshalNode reads the one canonical spelling of a range.
func (p *Prefix) UnmarshalNode(n *strictyaml.Node, r *strictyaml.Reporter) {
	if n.Kind != strictyaml.String {
		r.WrongType(n, "text")
		return
	}
	if addr, err := netip.ParseAddr(n.Text); err == nil && addr.Zone() == "" {
		r.Error(n, "address-range", n.Show()+" is an address, a range is wanted", "write "+netip.PrefixFrom(addr, addr.BitLen()).String())
		return
	}
	prefix, err := netip.ParsePrefix(n.Text)
	switch {
	case err != nil:
		r.Error(n, "address-range", n.Show()+" is not a range of addresses", "write one such as 10.0.0.0/8")
	case prefix.Addr().Is4In6():
		r.Error(n, "address-range", n.Show()+" is a range of IPv4 addresses in IPv6 form", "write the IPv4 form")
	case prefix.Masked() != prefix:
		r.Error(n, "address-range", n.Show()+" has bits of a host", "write "+prefix.Masked().String())
	case prefix.Addr().Is4() && prefix.Bits() < 8 || prefix.Addr().Is6() && prefix.Bits() < 7:
		// Whoever is inside may say anything about the caller's address, and a
		// range like this holds everybody.
		r.Error(n, "address-range-too-wide", n.Show()+" holds much of the Internet", "write the addresses that are meant")
	default:
		p.Prefix = prefix
	}
}

// Rate is how many requests a second pass. The zero value is unset.
type Rate struct {
	PerSecond int64
	Off       bool // no limit at all
}

var rateForm = regexp.MustCompile(`^[1-9][0-9]{0,5}/s$`)

// UnmarshalNode reads N/s or none.
func (v *Rate) UnmarshalNode(n *strictyaml.Node, r *strictyaml.Reporter) {
	switch {
	case n.Kind == strictyaml.String && n.Text == "none":
		v.Off = true
		r.Warn(n, "limit-off", "nothing limits how often callers may ask", "write a rate such as 50/s")
	case n.Kind == strictyaml.String && rateForm.MatchString(n.Text):
		v.PerSecond, _ = strconv.ParseInt(n.Text[:len(n.Text)-len("/s")], 10, 64) // six digits fit
	default:
		r.Error(n, "rate", n.Show()+" is not a rate", "write requests a second such as 50/s, or none")
	}
}

// Dial opens private addresses for one host and port.
type Dial struct{ oidc.DialRule }

// UnmarshalNode reads "host:port CIDR".
func (d *Dial) UnmarshalNode(n *strictyaml.Node, r *strictyaml.Reporter) {
	const fix = `write "host:port CIDR", such as "10.1.2.3:6443 10.0.0.0/8"`
	if n.Kind != strictyaml.String {
		r.WrongType(n, "text")
		return
	}
	rule, err := oidc.ParseDialRule(n.Text)
	switch {
	case err != nil:
		r.Error(n, "dial", n.Show()+" opens nothing", fix)
	case rule.Prefix.Addr().Is4In6():
		r.Error(n, "dial", n.Show()+" has a range of IPv4 addresses in IPv6 form", fix)
	case rule.Prefix.Bits() < 7:
		r.Error(n, "address-range-too-wide", n.Show()+" opens much of the Internet", "write the range that the host is in")
	default:
		d.DialRule = rule
	}
}

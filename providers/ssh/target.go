package ssh

import (
	"fmt"
	"net/netip"
	"regexp"
	"slices"
	"strings"
	"time"

	"cambio/trust"
)

// maxTTL is the longest that a certificate lives, above any max_ttl: to take one
// back, each machine has to be told.
const maxTTL = 24 * time.Hour

// Bounds of a grant, so that a certificate stays below what sshd reads at once.
const (
	maxPrincipals = 32
	maxSources    = 32
	maxCommand    = 4 << 10
)

// extensions are what a session may do beyond running a command. All are given by
// ssh-keygen unless one says otherwise, and none by us.
func extensions() []string {
	return []string{"permit-X11-forwarding", "permit-agent-forwarding", "permit-port-forwarding", "permit-pty", "permit-user-rc"}
}

// TargetType is configuration type ssh. resource only tells grants of one trust
// from each other. Nothing in it takes ${claims.x}: a principal is who one is on a
// machine, and force_command is run by a shell.
func TargetType() trust.TargetType {
	return trust.TargetType{
		Name: "ssh",
		Fields: map[string]trust.Field{
			"resource":         {Type: trust.StringField, Narrows: trust.Equal},
			"ttl":              {Type: trust.DurationField, Narrows: trust.Max},
			"principals":       {Type: trust.StringsField, Narrows: trust.Opaque, Required: true},
			"extensions":       {Type: trust.StringsField, Narrows: trust.Opaque},
			"force_command":    {Type: trust.StringField, Narrows: trust.Opaque},
			"source_addresses": {Type: trust.StringsField, Narrows: trust.Opaque},
		},
		MaxTTL: maxTTL,
		Misfit: misfit,
	}
}

// principal is a name as AuthorizedPrincipalsFile has one in a line. sshd compares
// it byte for byte; a comma would end it where principals stand in a list.
var principal = regexp.MustCompile(`^[A-Za-z0-9_][A-Za-z0-9._@:/+-]{0,127}$`)

func misfit(g trust.Grant) (field, problem string) {
	names, _ := g.Extra["principals"].([]string)
	if len(names) == 0 || len(names) > maxPrincipals {
		// Without one a certificate is good for every account that trusts the authority
		// by a line of authorized_keys.
		return "principals", fmt.Sprintf("%d names, and 1 to %d are wanted", len(names), maxPrincipals)
	}
	for i, name := range names {
		if !principal.MatchString(name) || slices.Contains(names[:i], name) {
			return "principals", fmt.Sprintf("%q is no name of letters, digits and ._@:/+-, or stands there twice", name)
		}
	}
	given, _ := g.Extra["extensions"].([]string)
	for i, name := range given {
		if !slices.Contains(extensions(), name) || slices.Contains(given[:i], name) {
			return "extensions", fmt.Sprintf("%q is none of %s, each once", name, strings.Join(extensions(), ", "))
		}
	}
	command, _ := g.Extra["force_command"].(string)
	if len(command) > maxCommand || strings.ContainsFunc(command, func(r rune) bool { return r < ' ' || r == 0x7f }) {
		return "force_command", "above 4 KiB, or more than one line"
	}
	sources, _ := g.Extra["source_addresses"].([]string)
	if len(sources) > maxSources {
		return "source_addresses", fmt.Sprintf("%d ranges, at most %d", len(sources), maxSources)
	}
	for i, s := range sources {
		p, err := netip.ParsePrefix(s)
		if err != nil || p.Masked() != p || p.String() != s || p.Addr().Is4In6() || slices.Contains(sources[:i], s) {
			return "source_addresses", fmt.Sprintf("%q is no range such as 10.0.0.0/8 without bits of a host, or stands there twice", s)
		}
	}
	return "", ""
}

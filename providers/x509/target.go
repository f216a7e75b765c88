package x509

import (
	"fmt"
	"regexp"
	"slices"
	"strings"
	"time"

	"cambio/trust"
)

// maxTTL is the longest that a certificate lives, above any max_ttl: nobody can
// take one back, and there is no list of revoked ones.
const maxTTL = 24 * time.Hour

// The values of a grant's usages.
const (
	usageClient = "client"
	usageServer = "server"
)

// usages are those of an X.509-SVID, both; what a grant gives that names none.
func usages() []string { return []string{usageClient, usageServer} }

// maxNames bounds the DNS names of one certificate: a service has a few.
const maxNames = 16

// TargetType is configuration type x509: certificates of our own authority.
// resource only tells grants of one trust from each other.
func TargetType() trust.TargetType {
	return trust.TargetType{
		Name: "x509",
		Fields: map[string]trust.Field{
			"resource": {Type: trust.StringField, Narrows: trust.Equal},
			"ttl":      {Type: trust.DurationField, Narrows: trust.Max},
			"dns":      {Type: trust.StringsField, Narrows: trust.Opaque},
			"usages":   {Type: trust.StringsField, Narrows: trust.Opaque},
		},
		MaxTTL: maxTTL,
		Misfit: misfit,
	}
}

// dnsName is one name, in small letters, without a wildcard: a certificate for
// all names below a domain is worth all services there.
var dnsName = regexp.MustCompile(`^(?:[a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?\.)*[a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?$`)

var onlyDigits = regexp.MustCompile(`^[0-9.]+$`)

func misfit(g trust.Grant) (field, problem string) {
	names, _ := g.Extra["dns"].([]string)
	if len(names) > maxNames {
		return "dns", fmt.Sprintf("%d names, at most %d", len(names), maxNames)
	}
	for i, name := range names {
		switch {
		case len(name) > 253 || !dnsName.MatchString(name) || onlyDigits.MatchString(name):
			return "dns", fmt.Sprintf("%q is no DNS name: small letters, digits and hyphens, no wildcard", name)
		case slices.Contains(names[:i], name):
			return "dns", fmt.Sprintf("%q stands there twice", name)
		}
	}
	asked, _ := g.Extra["usages"].([]string)
	for i, u := range asked {
		if !slices.Contains(usages(), u) || slices.Contains(asked[:i], u) {
			return "usages", fmt.Sprintf("%q is none of %s, each once", u, strings.Join(usages(), ", "))
		}
	}
	if len(names) > 0 && len(asked) > 0 && !slices.Contains(asked, usageServer) {
		return "dns", "a name is for servers, and usages does not have server"
	}
	return "", ""
}

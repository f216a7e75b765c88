package vault

import (
	"maps"
	"regexp"
	"slices"
	"strings"
	"time"

	"cambio/trust"
	"cambio/trust/strictyaml"
)

// The longest that a token may live here. Vault's own limit is a month, unless the
// operator set another; who needs more than a day logs in again.
const maxTTL = 24 * time.Hour

// The own fields of a grant, as documents and trust.Grant.Extra name them.
const (
	fieldPolicies = "policies"
	fieldWrap     = "wrap"
)

// The bounds of a wrapping: it is to be opened at once, by who asked.
const (
	minWrap = 10 * time.Second
	maxWrap = time.Hour
)

// maxPolicies bounds a list that people review.
const maxPolicies = 64

var (
	// resourceForm names a role. Vault makes names small letters, so that others would be
	// two spellings of one role.
	resourceForm = regexp.MustCompile(`^vault:([a-z0-9_](?:[a-z0-9_.-]{0,125}[a-z0-9_])?)$`)
	// policyForm is narrower than Vault's: it keeps names in small letters.
	policyForm = regexp.MustCompile(`^[a-z0-9_./ -]{1,128}$`)
	pathForm   = regexp.MustCompile(`^[A-Za-z0-9_.-]+(?:/[A-Za-z0-9_.-]+)*$`)
)

// TargetType is configuration type vault.
func TargetType() trust.TargetType {
	return trust.TargetType{
		Name: "vault",
		Fields: map[string]trust.Field{
			"resource": {
				Type: trust.StringField, Narrows: trust.Equal, Required: true,
				Pattern: resourceForm, Example: "vault:payments-deploy",
			},
			"ttl":         {Type: trust.DurationField, Narrows: trust.Max},
			fieldPolicies: {Type: trust.StringsField, Narrows: trust.Opaque, Required: true},
			fieldWrap:     {Type: trust.TemplateField, Narrows: trust.Opaque},
		},
		MaxTTL: maxTTL,
		Misfit: func(g trust.Grant) (field, problem string) {
			_, field, problem = readGrant(g)
			return field, problem
		},
	}
}

// Types are the values of requested_token_type that a vault target serves.
func Types() []string { return []string{"urn:ietf:params:oauth:token-type:access_token"} }

// Path reports whether s is the path of an auth method, or a namespace.
func Path(s string) bool {
	return len(s) <= 256 && pathForm.MatchString(s) && !slices.ContainsFunc(strings.Split(s, "/"), func(part string) bool { return strings.Trim(part, ".") == "" })
}

// ordered is what a grant gives.
type ordered struct {
	role     string
	policies []string      // that the token may have, at most
	wrap     time.Duration // 0: the token itself is delivered
}

// readGrant takes a grant. What cannot be read is named: to leave out a bound would give
// more than was reviewed.
func readGrant(g trust.Grant) (o ordered, field, problem string) {
	m := resourceForm.FindStringSubmatch(g.Resource)
	if m == nil {
		return ordered{}, "resource", "is not vault: and the name of a role"
	}
	o.role = m[1]
	for _, name := range slices.Sorted(maps.Keys(g.Extra)) {
		switch v := g.Extra[name].(type) {
		case []string:
			if name != fieldPolicies {
				return ordered{}, name, "is of another type"
			}
			o.policies = v
		case string:
			if name != fieldWrap {
				return ordered{}, name, "is of another type"
			}
			d, ok := strictyaml.ParseDuration(v)
			if !ok || d < minWrap || d > maxWrap {
				return ordered{}, name, "is not from 10s to 1h"
			}
			o.wrap = d
		default:
			return ordered{}, name, "is of another type"
		}
	}
	if len(o.policies) == 0 || len(o.policies) > maxPolicies {
		return ordered{}, fieldPolicies, "lists the policies that a token may have, 64 at most"
	}
	for _, p := range o.policies {
		switch {
		case p == "root":
			return ordered{}, fieldPolicies, "names root, which may do everything"
		case !policyForm.MatchString(p) || strings.TrimSpace(p) != p:
			return ordered{}, fieldPolicies, "holds what is no name of a policy: small letters, digits and _ . / -"
		}
	}
	return o, "", ""
}

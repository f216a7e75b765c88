package kubernetes

import (
	"fmt"
	"regexp"
	"slices"
	"strings"
	"time"

	"cambio/trust"
)

const (
	// maxJWT is the longest that a JWT of ours lives: nobody can take one back.
	maxJWT = time.Hour
	// minRequested is the shortest life that an API server gives a token, and
	// maxRequested what we ask for at most; a cluster may give less
	// (--service-account-max-token-expiration).
	minRequested = 10 * time.Minute
	maxRequested = 12 * time.Hour

	// maxGroups and maxAudiences are more than anybody reviews, and keep the token
	// small.
	maxGroups    = 32
	maxAudiences = 8
	maxName      = 253
)

// The own fields of a grant, as documents and trust.Grant.Extra name them.
const (
	fieldGroups    = "groups"
	fieldAudiences = "audiences"
)

var (
	resourceForm = regexp.MustCompile(`^k8s:([a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?)/([a-z0-9](?:[a-z0-9.-]{0,251}[a-z0-9])?)$`)
	groupForm    = regexp.MustCompile(`^[A-Za-z0-9][A-Za-z0-9._:@/-]*$`)
	audienceForm = regexp.MustCompile(`^[!-~]+$`)
)

// TargetType is configuration type kubernetes: without a server a cluster takes
// JWTs of ours as they are; with one, its API server makes a service account's
// token for them.
func TargetType(server string) trust.TargetType {
	ttl := trust.Field{Type: trust.DurationField, Narrows: trust.Max}
	if server == "" {
		return trust.TargetType{
			Name: "kubernetes",
			Fields: map[string]trust.Field{
				fieldGroups: {Type: trust.StringsField, Narrows: trust.Opaque},
				"ttl":       ttl,
			},
			MaxTTL: maxJWT,
			Misfit: misfitGroups,
		}
	}
	return trust.TargetType{
		Name: "kubernetes",
		Fields: map[string]trust.Field{
			"resource":     {Type: trust.StringField, Narrows: trust.Equal, Required: true, Pattern: resourceForm, Example: "k8s:payments/deployer"},
			fieldAudiences: {Type: trust.StringsField, Narrows: trust.Opaque},
			"ttl":          ttl,
		},
		MinTTL: minRequested,
		MaxTTL: maxRequested,
		Misfit: misfitAudiences,
	}
}

// Types are the values of requested_token_type that a kubernetes target serves:
// both kinds of credential are bearer JWTs.
func Types() []string {
	return []string{"urn:ietf:params:oauth:token-type:jwt", "urn:ietf:params:oauth:token-type:access_token"}
}

// misfitGroups says which groups a cluster would not take, or must not.
func misfitGroups(g trust.Grant) (field, problem string) {
	groups, _ := g.Extra[fieldGroups].([]string)
	if len(groups) > maxGroups {
		return fieldGroups, fmt.Sprintf("%d groups; at most %d are taken", len(groups), maxGroups)
	}
	for i, group := range groups {
		switch {
		case len(group) > maxName || !groupForm.MatchString(group):
			return fieldGroups, "a group is letters, digits and . _ : @ / -, at most 253"
		case strings.HasPrefix(strings.ToLower(group), "system:"):
			// system:masters is above RBAC. A cluster puts its prefix before each; one
			// that was set up without must not be had this way.
			return fieldGroups, "groups that begin with system: are the cluster's own"
		case slices.Contains(groups[:i], group):
			return fieldGroups, group + " is listed twice"
		}
	}
	return "", ""
}

// misfitAudiences says which audiences an API server would not take.
func misfitAudiences(g trust.Grant) (field, problem string) {
	audiences, _ := g.Extra[fieldAudiences].([]string)
	if len(audiences) > maxAudiences {
		return fieldAudiences, fmt.Sprintf("%d audiences; at most %d are taken", len(audiences), maxAudiences)
	}
	for i, aud := range audiences {
		switch {
		case !audienceForm.MatchString(aud):
			return fieldAudiences, "an audience is a text without spaces"
		case slices.Contains(audiences[:i], aud):
			return fieldAudiences, aud + " is listed twice"
		}
	}
	return "", ""
}

// account is the namespace and the name of a resource.
func account(resource string) (namespace, name string, ok bool) {
	m := resourceForm.FindStringSubmatch(resource)
	if m == nil {
		return "", "", false
	}
	return m[1], m[2], true
}

// AnyTargetType is what a grant for some kubernetes target may hold, with a server
// or without: for a schema that knows no configuration.
func AnyTargetType() trust.TargetType {
	typ := TargetType("")
	for name, f := range TargetType("https://").Fields {
		f.Required = false
		typ.Fields[name] = f
	}
	typ.MaxTTL, typ.Misfit = maxRequested, nil
	return typ
}

package azure

import (
	"regexp"
	"strings"
	"time"

	"cambio/trust"
)

// lifetime is what a target of Entra's has: Entra chooses it by itself, from 60 to
// 90 minutes, and no request shortens it. What is ordered is the longest of them,
// and what comes may be shorter.
const lifetime = 90 * time.Minute

// maxSubjects is how many federated credentials one application, or one managed
// identity, may have.
const maxSubjects = 20

const guid = `[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}`

var (
	guidForm     = regexp.MustCompile(`^` + guid + `$`)
	resourceForm = regexp.MustCompile(`^azure:(` + guid + `)$`)
)

// everything is the one kind of scope that the client credentials flow has: all
// that the application was given at a resource.
const everything = "/.default"

// TargetType is configuration type azure.
func TargetType() trust.TargetType {
	return trust.TargetType{
		Name: "azure",
		Fields: map[string]trust.Field{
			"resource": {
				Type: trust.StringField, Narrows: trust.Equal, Required: true,
				Pattern: resourceForm, Example: "azure:11111111-2222-3333-4444-555555555555",
			},
			"scopes": {Type: trust.StringsField, Narrows: trust.Subset, Required: true},
			"ttl":    {Type: trust.DurationField, Narrows: trust.Max},
		},
		MinTTL: lifetime, MaxTTL: lifetime,
		MaxSubjects: maxSubjects,
		Misfit:      misfit,
	}
}

// Types are the values of requested_token_type that an azure target serves.
func Types() []string { return []string{"urn:ietf:params:oauth:token-type:access_token"} }

// Tenant reports whether s is a tenant's id. A domain name is none: it can be given
// up and taken by somebody else.
func Tenant(s string) bool { return guidForm.MatchString(s) }

// misfit is trust.TargetType.Misfit. Entra gives a token for one resource, and in
// this flow knows only the resource's /.default.
func misfit(g trust.Grant) (field, problem string) {
	if !resourceForm.MatchString(g.Resource) {
		return "resource", "is not azure: and the client id of an application or managed identity"
	}
	if len(g.Scopes) != 1 {
		return "scopes", "name one resource's /.default: Entra gives a token for one resource"
	}
	of, ok := strings.CutSuffix(g.Scopes[0], everything)
	if !ok || of == "" || strings.HasSuffix(of, everything) {
		return "scopes", "is no resource's /.default, such as https://management.azure.com/.default"
	}
	return "", ""
}

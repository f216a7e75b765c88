// Package aws is the target type for AWS accounts, and for stores that speak its
// Security Token Service: an assertion of ours becomes a role's temporary
// credentials (AssumeRoleWithWebIdentity). It holds no AWS key and reads none.
package aws

import (
	"regexp"
	"time"

	"cambio/trust"
)

// What AWS issues at least and at most. A role's own maximum may be lower; AWS
// refuses what is above it.
const (
	minTTL = 15 * time.Minute
	maxTTL = 12 * time.Hour
)

// The own fields of a grant, as documents and trust.Grant.Extra name them.
const (
	fieldPolicy     = "policy"
	fieldPolicyARNs = "policy_arns"
	fieldTags       = "tags"
	fieldSourceID   = "source_identity"
	fieldDatabase   = "database"
)

// TargetType is configuration type aws. Roles are those of this account, 12
// digits; "" takes those of any, and with an endpoint that is not AWS's, roles as
// such stores name them too.
func TargetType(account, endpoint string) trust.TargetType {
	shown := "111122223333"
	if account != "" {
		shown = account
	}
	role := rolePattern(account, endpoint)
	return trust.TargetType{
		Name: "aws",
		Fields: map[string]trust.Field{
			"resource": {
				Type: trust.StringField, Narrows: trust.Equal, Required: true,
				Pattern: role, Example: "arn:aws:iam::" + shown + ":role/payments-deploy",
			},
			"ttl":           {Type: trust.DurationField, Narrows: trust.Max},
			fieldPolicy:     {Type: trust.DocumentField, Narrows: trust.Opaque},
			fieldPolicyARNs: {Type: trust.StringsField, Narrows: trust.Opaque},
			fieldTags:       {Type: trust.TemplatesField, Narrows: trust.Opaque},
			fieldSourceID:   {Type: trust.TemplateField, Narrows: trust.Opaque},
			fieldDatabase:   {Type: trust.DocumentField, Narrows: trust.Opaque},
		},
		MinTTL: minTTL,
		MaxTTL: maxTTL,
		Misfit: func(g trust.Grant) (field, problem string) { return misfit(role, g) },
	}
}

// Types are the values of requested_token_type that an aws target serves.
func Types() []string { return []string{"urn:cambio:token-type:aws-credentials"} }

// TypesOf are those of one grant: the role's credentials, or what a database takes
// for a password.
func TypesOf(g trust.Grant) []string {
	if _, ok := g.Extra[fieldDatabase]; ok {
		return []string{"urn:cambio:token-type:database-credentials"}
	}
	return Types()
}

// rolePattern is exactly an IAM role of the account: partition, account, path
// and name. The path is held to the alphabet of names, which is narrower than
// AWS's: what is left out are characters that mean something in a policy, such
// as * and ?, and a reader would take one role for many.
func rolePattern(account, endpoint string) *regexp.Regexp {
	switch {
	case account != "":
		return regexp.MustCompile(roleForm("aws|aws-cn|aws-us-gov", regexp.QuoteMeta(account)))
	case endpoint != "":
		// Other stores have partitions of their own, and no accounts, or named ones.
		return regexp.MustCompile(roleForm("[a-z0-9-]{1,32}", "[A-Za-z0-9_-]{0,64}"))
	}
	return anyRole
}

func roleForm(partition, account string) string {
	return `^arn:(` + partition + `):iam::(` + account + `):role/((?:[\w+=,.@-]+/)*)([\w+=,.@-]{1,64})$`
}

// anyRole is a role of any account.
var anyRole = regexp.MustCompile(roleForm("aws|aws-cn|aws-us-gov", "[0-9]{12}"))

// role is an IAM role's ARN, taken apart.
type role struct{ partition, account, path, name string }

func parseRole(pattern *regexp.Regexp, arn string) (role, bool) {
	if len(arn) > maxARN {
		return role{}, false
	}
	m := pattern.FindStringSubmatch(arn)
	if m == nil {
		return role{}, false
	}
	return role{partition: m[1], account: m[2], path: "/" + m[3], name: m[4]}, true
}

// session is the ARN of a session of the role, which has no path.
func (r role) session(name string) string {
	return "arn:" + r.partition + ":sts::" + r.account + ":assumed-role/" + r.name + "/" + name
}

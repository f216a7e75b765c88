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
)

// anyAccount stands for the account of a target that names none.
const anyAccount = "[0-9]{12}"

// TargetType is configuration type aws. Roles are those of this account, 12
// digits; "" takes those of any.
func TargetType(account string) trust.TargetType {
	of, shown := anyAccount, "111122223333"
	if account != "" {
		of, shown = regexp.QuoteMeta(account), account
	}
	role := rolePattern(of)
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
		},
		MinTTL: minTTL,
		MaxTTL: maxTTL,
		Misfit: func(g trust.Grant) (field, problem string) { return misfit(role, g) },
	}
}

// Types are the values of requested_token_type that an aws target serves.
func Types() []string { return []string{"urn:cambio:token-type:aws-credentials"} }

// rolePattern is exactly an IAM role of the account: partition, account, path
// and name. The path is held to the alphabet of names, which is narrower than
// AWS's: what is left out are characters that mean something in a policy, such
// as * and ?, and a reader would take one role for many.
func rolePattern(account string) *regexp.Regexp { return regexp.MustCompile(roleForm(account)) }

func roleForm(account string) string {
	return `^arn:(aws|aws-cn|aws-us-gov):iam::(` + account + `):role/((?:[\w+=,.@-]+/)*)([\w+=,.@-]{1,64})$`
}

// anyRole is a role of any account.
var anyRole = regexp.MustCompile(roleForm(anyAccount))

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

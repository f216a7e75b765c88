package aws

import (
	"fmt"
	"maps"
	"regexp"
	"slices"
	"strings"

	"cambio/providers/internal/draft"
	"cambio/providers/oidc"
)

// maxTrustPolicy bounds what is read of a file: AWS keeps at most 8 KiB of trust
// policy, and what `aws iam get-role` prints around it is small.
const maxTrustPolicy = 64 << 10

// oidcProvider is the ARN of an OIDC identity provider in IAM: its issuer without
// the scheme.
var oidcProvider = regexp.MustCompile(`^arn:aws[a-z-]*:iam::[0-9]{12}:oidc-provider/([A-Za-z0-9.-]+(?:/[A-Za-z0-9._~-]+)*)$`)

// ReadTrustPolicy reads a role's trust policy, or what `aws iam get-role` printed,
// and returns what it trusts of web identities: one [draft.Foreign] for each
// Allow statement and issuer. role is the ARN, where the file has it.
//
// Nothing is passed over in silence. A statement that is not about web identities
// stays where it is, which notes say; one that takes away, or that cannot be read
// whole, is an error in notes: what is returned is then only for finding out what
// else is wrong.
func ReadTrustPolicy(b []byte, notes *draft.Notes) (trusted []draft.Foreign, role string) {
	if len(b) > maxTrustPolicy {
		notes.Error("", "import-syntax", fmt.Sprintf("is larger than %d bytes", maxTrustPolicy), "name the role's trust policy")
		return nil, ""
	}
	policy, err := oidc.ReadObject(b)
	if err != nil {
		notes.Error("", "import-syntax", "is not one JSON object in which each name stands once", "name what `aws iam get-role --role-name ROLE` printed")
		return nil, ""
	}
	if r, ok := policy["Role"].(map[string]any); ok && len(policy) == 1 {
		role, _ = r["Arn"].(string)
		policy, _ = r["AssumeRolePolicyDocument"].(map[string]any)
	}
	p := policyReader{notes: notes}
	p.notes.Only("", policy, "Version", "Id", "Statement")
	if v := policy["Version"]; v != "2012-10-17" && v != "2008-10-17" {
		p.finding("Version", "import-syntax", "the file is no policy of IAM: Version is not 2012-10-17", "name what `aws iam get-role --role-name ROLE` printed")
	}
	statements, ok := policy["Statement"].([]any)
	if !ok {
		statements = []any{policy["Statement"]}
	}
	for i, s := range statements {
		p.statement(fmt.Sprintf("Statement[%d]", i), s)
	}
	return p.trusted, role
}

type policyReader struct {
	notes   *draft.Notes
	trusted []draft.Foreign
}

func (p *policyReader) finding(where, id, message, fix string) {
	p.notes.Error(where, id, message, fix)
}

func (p *policyReader) statement(where string, v any) {
	s, ok := v.(map[string]any)
	if !ok {
		p.finding(where, "import-syntax", "is no statement", "name what `aws iam get-role --role-name ROLE` printed")
		return
	}
	if s["Effect"] == "Deny" {
		// Left out, it would let in whom it keeps out today.
		p.finding(where, "import-deny", "a statement that denies cannot be carried over", "write what it forbids as a guardrail, and take it out of the copy of the policy")
		return
	}
	if s["Effect"] != "Allow" {
		p.finding(where, "import-syntax", "Effect is neither Allow nor Deny", "mend the policy")
		return
	}
	principal, ok := s["Principal"].(map[string]any)
	federated := draft.Texts(principal["Federated"])
	if ok && principal["Federated"] == nil {
		p.notes.Info(where, "import-not-web-identity", "is not about web identities", "it stays in the role's trust policy as it is")
		return
	}
	if !ok || federated == nil || len(principal) > 1 {
		p.finding(where, "import-principal", "its Principal is no list of OIDC providers alone", "split the statement; a star there is a hole today")
		return
	}
	p.notes.Only(where, s, "Sid", "Effect", "Principal", "Action", "Condition")
	if !p.action(where, draft.Texts(s["Action"])) {
		p.notes.Info(where, "import-not-web-identity", "does not allow "+webIdentity, "it stays in the role's trust policy as it is")
		return
	}
	for _, arn := range federated {
		host := "accounts.google.com"
		if arn != host {
			m := oidcProvider.FindStringSubmatch(arn)
			if m == nil {
				p.finding(where, "import-principal", draft.Show(arn)+" is no ARN of an OIDC provider", "a star there is a hole today")
				continue
			}
			host = m[1]
		}
		f := draft.Foreign{Where: where, Issuer: "https://" + host}
		if p.conditions(&f, host, s["Condition"]) {
			p.trusted = append(p.trusted, f)
		}
	}
}

// webIdentity is the action that a token is exchanged with.
const webIdentity = "sts:AssumeRoleWithWebIdentity"

// action reports whether one of the actions is, or covers, the one of web
// identities. IAM compares them without case, and * and ? are wildcards in them:
// whoever reads them otherwise leaves a grant behind that is open today.
func (p *policyReader) action(where string, actions []string) bool {
	found := false
	for _, a := range actions {
		switch {
		case strings.EqualFold(a, webIdentity):
			found = true
		case draft.Covers(strings.ToLower(a), strings.ToLower(webIdentity)):
			p.notes.Warn(where, "import-action", "the action "+draft.Show(a)+" covers "+webIdentity+", and is taken for it; what else it covers is not carried over", "name the actions that are meant in the role's trust policy")
			found = true
		case strings.EqualFold(a, "sts:TagSession"), strings.EqualFold(a, "sts:SetSourceIdentity"):
		default:
			p.notes.Info(where, "import-not-web-identity", "the action "+draft.Show(a)+" is nothing that a token is exchanged for", "it is not carried over")
		}
	}
	return found
}

// conditions reads Condition: every operator and every key must hold, one of the
// values of each.
func (p *policyReader) conditions(f *draft.Foreign, host string, v any) bool {
	if v == nil {
		return true
	}
	operators, ok := v.(map[string]any)
	if !ok {
		p.finding(f.Where, "import-syntax", "Condition is no object", "mend the policy")
		return false
	}
	whole := true
	for _, operator := range slices.Sorted(maps.Keys(operators)) {
		keys, isObject := operators[operator].(map[string]any)
		like, known := p.operator(f.Where, operator)
		if !isObject || !known {
			p.finding(f.Where, "import-condition", "the condition operator "+draft.Show(operator)+" cannot be carried over", "write the document by hand")
			whole = false
			continue
		}
		for _, key := range slices.Sorted(maps.Keys(keys)) {
			whole = p.condition(f, host, key, draft.Texts(keys[key]), like) && whole
		}
	}
	return whole
}

// operator reports whether an operator compares with patterns.
func (p *policyReader) operator(where, operator string) (like, known bool) {
	name := operator
	if rest, ok := strings.CutPrefix(name, "ForAnyValue:"); ok {
		name = rest // a claim that is compared has one value
	}
	if rest, ok := strings.CutPrefix(name, "ForAllValues:"); ok {
		p.notes.Warn(where, "import-missing-claim", "ForAllValues also holds for a token without the claim; the document wants it there", "this is a hole today: compare without ForAllValues")
		name = rest
	}
	if rest, ok := strings.CutSuffix(name, "IfExists"); ok {
		p.notes.Warn(where, "import-missing-claim", "IfExists also holds for a token without the claim; the document wants it there", "this may be a hole today")
		name = rest
	}
	return name == "StringLike", name == "StringLike" || name == "StringEquals"
}

func (p *policyReader) condition(f *draft.Foreign, host, key string, values []string, like bool) bool {
	// IAM compares the names of condition keys without case.
	claim := ""
	if len(key) > len(host) && strings.EqualFold(key[:len(host)+1], host+":") {
		claim = key[len(host)+1:]
		if lower := strings.ToLower(claim); lower == "sub" || lower == "aud" || lower == "oaud" {
			claim = lower
		}
	}
	switch {
	case claim == "":
		p.finding(f.Where, "import-condition", "the condition on "+draft.Show(key)+" cannot be carried over", "write the document by hand")
		return false
	case len(values) == 0:
		p.finding(f.Where, "import-syntax", "the condition on "+draft.Show(key)+" has no values that are texts", "mend the policy")
		return false
	case slices.ContainsFunc(f.Claims, func(l draft.Line) bool { return strings.EqualFold(l.Claim, claim) }):
		// Both would have to hold, and a line of match says one of them.
		p.finding(f.Where, "import-condition", "two conditions on "+draft.Show(key)+" cannot be carried over", "join them to one")
		return false
	}
	l := draft.Line{Claim: claim}
	for _, v := range values {
		if strings.Contains(v, "${") {
			p.finding(f.Where, "import-condition", draft.Show(v)+" has a policy variable", "write the value")
			return false
		}
		l.Values = append(l.Values, draft.Value{Text: v, Glob: like})
	}
	f.Claims = append(f.Claims, l)
	return true
}

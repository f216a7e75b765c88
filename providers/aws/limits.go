package aws

import (
	"encoding/json"
	"fmt"
	"maps"
	"regexp"
	"slices"
	"strings"
	"unicode/utf8"

	"cambio/trust"
)

// The limits of AWS, as the API's model and the user guide of IAM give them
// ("IAM and STS quotas", "Pass session tags"). Lengths are in characters.
const (
	maxARN        = 2048
	maxPath       = 512
	maxPolicy     = 2048 // also of policy and policy ARNs together
	maxPolicyARNs = 10
	minPolicyARN  = 20
	maxTags       = 50
	maxTagKey     = 128
	maxTagValue   = 256
	minSourceID   = 2
	maxSourceID   = 64
)

// maxPacked bounds our estimate of the packed size, see packed. AWS's own
// examples report 6 to 8 percent for some 220 bytes of policy, ARNs and tags,
// so that 100 percent lies near this many bytes of plain text.
const maxPacked = 2700

// tagOverhead is what a tag costs beside its key and its value: the two lengths.
const tagOverhead = 2

var (
	policyARN      = regexp.MustCompile(`^arn:(aws|aws-cn|aws-us-gov):iam::(aws|[0-9]{12}):policy/(?:[\w+=,.@-]+/)*[\w+=,.@-]{1,128}$`)
	tagAlphabet    = regexp.MustCompile(`^[\p{L}\p{Z}\p{N}_.:/=+\-@]*$`)
	sourceAlphabet = regexp.MustCompile(`^[\w+=,.@-]*$`)
)

// extra are a grant's own fields. Each is sent only when the grant names it.
type extra struct {
	policy   string
	arns     []string
	tags     map[string]string
	sourceID string
	// databaseText is the database to log in to, as JSON.
	databaseText string
}

// read takes a grant's own fields. A field that it does not know, or that has
// another type, is named: to leave out a policy that cannot be read would issue
// a wider credential than was reviewed.
func read(g trust.Grant) (x extra, unread string) {
	for _, name := range slices.Sorted(maps.Keys(g.Extra)) {
		value, ok := g.Extra[name], false
		switch name {
		case fieldPolicy:
			x.policy, ok = value.(string)
			ok = ok && x.policy != ""
		case fieldPolicyARNs:
			x.arns, ok = value.([]string)
		case fieldTags:
			x.tags, ok = value.(map[string]string)
		case fieldSourceID:
			x.sourceID, ok = value.(string)
			ok = ok && x.sourceID != ""
		case fieldDatabase:
			x.databaseText, ok = value.(string)
			ok = ok && x.databaseText != ""
		}
		if !ok {
			return extra{}, name
		}
	}
	return x, ""
}

// misfit is trust.TargetType.Misfit: what AWS would refuse, before it is asked.
//
// AWS packs policy, policy ARNs and tags into a binary form with a limit of its
// own, and publishes neither. The estimate counts their plain bytes and two more
// a tag, without any compression, against 2,700. It errs on both sides: what it
// lets through and AWS does not is PackedPolicyTooLarge, which Mint reports with
// the largest tag too.
func misfit(pattern *regexp.Regexp, g trust.Grant) (field, problem string) {
	r, ok := parseRole(pattern, g.Resource)
	if !ok {
		return "resource", "is no ARN of an IAM role of the account"
	}
	if n := len(r.path); n > maxPath {
		return "resource", fmt.Sprintf("has a path of %d characters; AWS takes %d", n, maxPath)
	}
	x, unread := read(g)
	if unread != "" {
		return unread, "is empty, or of another type"
	}
	for _, check := range []func() (string, string){
		func() (string, string) { return policyMisfit(x.policy) },
		func() (string, string) { return arnsMisfit(x, r) },
		func() (string, string) { return tagsMisfit(x.tags) },
		func() (string, string) { return sourceMisfit(x.sourceID, g) },
		func() (string, string) { return databaseMisfit(x, g) },
	} {
		if field, problem = check(); problem != "" {
			return field, problem
		}
	}
	if n := x.packed(); n > maxPacked {
		if field = x.largest(); field == "" {
			field = fieldPolicy
		}
		return field, fmt.Sprintf("policies and tags take about %d bytes; AWS packs some %d", n, maxPacked)
	}
	return "", ""
}

func policyMisfit(policy string) (field, problem string) {
	if policy == "" {
		return "", ""
	}
	if n := utf8.RuneCountInString(policy); n > maxPolicy {
		return fieldPolicy, fmt.Sprintf("is %d characters of compact JSON; AWS takes %d", n, maxPolicy)
	}
	for _, r := range policy {
		if (r < 0x20 || r > 0xff) && r != '\t' && r != '\n' && r != '\r' {
			return fieldPolicy, fmt.Sprintf("holds %+q; AWS takes characters up to U+00FF", r)
		}
	}
	var document map[string]json.RawMessage
	if json.Unmarshal([]byte(policy), &document) != nil || document == nil {
		return fieldPolicy, "is no JSON object"
	}
	statement, ok := document["Statement"]
	if !ok || (statement[0] != '{' && statement[0] != '[') {
		return fieldPolicy, "has no Statement"
	}
	return "", ""
}

func arnsMisfit(x extra, r role) (field, problem string) {
	if n := len(x.arns); n > maxPolicyARNs {
		return fieldPolicyARNs, fmt.Sprintf("lists %d policies; AWS takes %d", n, maxPolicyARNs)
	}
	total := utf8.RuneCountInString(x.policy)
	for i, arn := range x.arns {
		if len(arn) < minPolicyARN || len(arn) > maxARN {
			return fieldPolicyARNs, fmt.Sprintf("entry %d is no ARN of an IAM policy", i+1)
		}
		m := policyARN.FindStringSubmatch(arn)
		switch {
		case m == nil:
			return fieldPolicyARNs, fmt.Sprintf("entry %d is no ARN of an IAM policy", i+1)
		case m[1] != r.partition || m[2] != "aws" && m[2] != r.account:
			return fieldPolicyARNs, fmt.Sprintf("entry %d is of another account than the role", i+1)
		case slices.Contains(x.arns[:i], arn):
			return fieldPolicyARNs, fmt.Sprintf("entry %d is listed twice", i+1)
		}
		total += len(arn)
	}
	if len(x.arns) > 0 && total > maxPolicy {
		return fieldPolicyARNs, fmt.Sprintf("and policy are %d characters together; AWS takes %d", total, maxPolicy)
	}
	return "", ""
}

func tagsMisfit(tags map[string]string) (field, problem string) {
	if n := len(tags); n > maxTags {
		return fieldTags, fmt.Sprintf("are %d; AWS takes %d", n, maxTags)
	}
	keys := slices.Sorted(maps.Keys(tags))
	for i, key := range keys {
		field, value := fieldTags+"."+key, tags[key]
		if n := utf8.RuneCountInString(key); n < 1 || n > maxTagKey {
			return field, fmt.Sprintf("has a key of %d characters; AWS takes 1 to %d", n, maxTagKey)
		}
		if n := utf8.RuneCountInString(value); n > maxTagValue {
			return field, fmt.Sprintf("is %d characters; AWS takes %d", n, maxTagValue)
		}
		switch {
		case !tagAlphabet.MatchString(key):
			return field, "has a character in its key that AWS does not take"
		case !tagAlphabet.MatchString(value):
			return field, "has a character that AWS does not take"
		case len(key) >= 4 && strings.EqualFold(key[:4], "aws:"):
			return field, "begins with aws:, which is AWS's own"
		}
		// AWS takes keys that differ by case for one, and a condition on the one
		// could be met by the other.
		if j := slices.IndexFunc(keys[:i], func(k string) bool { return strings.EqualFold(k, key) }); j >= 0 {
			return field, "differs from " + fieldTags + "." + keys[j] + " by case only"
		}
	}
	return "", ""
}

// sourceMisfit also holds off aws:, which AWS reserves: the alphabet has no colon.
func sourceMisfit(id string, g trust.Grant) (field, problem string) {
	if _, named := g.Extra[fieldSourceID]; !named {
		return "", ""
	}
	if n := utf8.RuneCountInString(id); n < minSourceID || n > maxSourceID {
		return fieldSourceID, fmt.Sprintf("is %d characters; AWS takes %d to %d", n, minSourceID, maxSourceID)
	}
	if !sourceAlphabet.MatchString(id) {
		return fieldSourceID, "has a character that AWS does not take"
	}
	return "", ""
}

// packed is our estimate of the packed size, in bytes.
func (x extra) packed() int {
	n := len(x.policy)
	for _, arn := range x.arns {
		n += len(arn)
	}
	for key, value := range x.tags {
		n += len(key) + len(value) + tagOverhead
	}
	return n
}

// largest names the tag that takes the most, or "".
func (x extra) largest() string {
	field, most := "", -1
	for _, key := range slices.Sorted(maps.Keys(x.tags)) {
		if n := len(key) + len(x.tags[key]); n > most {
			field, most = fieldTags+"."+key, n
		}
	}
	return field
}

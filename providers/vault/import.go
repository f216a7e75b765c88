// Package vault is the target type for HashiCorp Vault and OpenBao: an assertion of
// ours becomes a token of a role that trusts it. It also reads what they trust of
// other identity providers.
package vault

import (
	"fmt"
	"maps"
	"net/netip"
	"slices"
	"strconv"
	"strings"
	"time"

	"cambio/providers/internal/draft"
	"cambio/providers/oidc"
)

// maxRole bounds what is read of a file: roles of some hundred projects are a few
// KiB.
const maxRole = 256 << 10

// usualTTL is what a grant has without ttl: a role whose tokens live shorter must
// say so, or they would live longer than today.
const usualTTL = 15 * time.Minute

const read = "name what `vault read -format=json auth/jwt/role/NAME` printed"

// ReadRole reads a role of the JWT auth method, as `vault read -format=json`
// prints it, and returns whom it lets in. Whose tokens those are stands in the
// method's configuration, and is handed in as issuer; lived says how long a token
// lives today. With an error in notes what is returned is only for finding out
// what else is wrong.
//
// same says that the grant is for a Vault: then it lists the role's policies.
func ReadRole(b []byte, issuer string, same bool, notes *draft.Notes) (trusted []draft.Foreign, lived string) {
	if len(b) > maxRole {
		notes.Error("", "import-syntax", fmt.Sprintf("is larger than %d bytes", maxRole), read)
		return nil, ""
	}
	role, err := oidc.ReadObject(b)
	if err != nil {
		notes.Error("", "import-syntax", "is not one JSON object in which each name stands once", read)
		return nil, ""
	}
	if data, ok := role["data"].(map[string]any); ok {
		role = data
	}
	if role["role_type"] != "jwt" {
		notes.Error("role_type", "import-syntax", "the file is no role of type jwt: one of type oidc is for people", read)
		return nil, ""
	}
	r := &roleReader{role: role, notes: notes, whole: true, same: same, f: draft.Foreign{Where: "bound_claims", Issuer: issuer}}
	if issuer == "" {
		r.refuse("import-issuer", "", "a role does not say whose tokens it takes", "name the issuer with --issuer: bound_issuer, or oidc_discovery_url, of `vault read auth/jwt/config`")
	}
	notes.Only("", role, known()...)
	r.bounds()
	r.present()
	r.networks()
	r.rest()
	if !r.whole {
		return nil, ""
	}
	lived = r.lifetime()
	return []draft.Foreign{r.f}, lived
}

// known are a role's members. Those that are not read say nothing about who is
// let in.
func known() []string {
	return []string{
		"role_type", "bound_audiences", "bound_subject", "bound_claims", "bound_claims_type", "user_claim", "user_claim_json_pointer", "groups_claim",
		"max_age", "token_bound_cidrs", "bound_cidrs", "token_policies", "policies", "token_no_default_policy", "token_num_uses", "num_uses",
		"token_ttl", "ttl", "token_max_ttl", "max_ttl", "token_explicit_max_ttl", "token_period", "period", "token_type", "token_strictly_bind_ip",
		"alias_metadata", "allowed_redirect_uris", "callback_mode", "claim_mappings", "clock_skew_leeway", "expiration_leeway", "not_before_leeway",
		"oauth2_metadata", "oidc_scopes", "poll_interval", "verbose_oidc_logging", "name",
	}
}

type roleReader struct {
	role  map[string]any
	notes *draft.Notes
	f     draft.Foreign
	whole bool
	same  bool
}

func (r *roleReader) refuse(id, where, message, fix string) {
	r.notes.Error(where, id, message, fix)
	r.whole = false
}

// bounds reads what the claims must be.
func (r *roleReader) bounds() {
	r.f.Audiences = draft.Texts(r.role["bound_audiences"])
	if subject, _ := r.role["bound_subject"].(string); subject != "" {
		r.f.Claims = []draft.Line{{Claim: "sub", Values: []draft.Value{{Text: subject}}}}
	}
	globs := r.role["bound_claims_type"] == "glob"
	if kind := r.role["bound_claims_type"]; kind != nil && kind != "string" && !globs {
		r.refuse("import-syntax", "bound_claims_type", "is neither string nor glob", read)
		return
	}
	bound, ok := r.role["bound_claims"].(map[string]any)
	if !ok && r.role["bound_claims"] != nil {
		r.refuse("import-syntax", "bound_claims", "is no object", read)
		return
	}
	for _, claim := range slices.Sorted(maps.Keys(bound)) {
		r.bound(claim, bound[claim], globs)
	}
}

func (r *roleReader) bound(claim string, v any, globs bool) {
	values, isList := v.([]any)
	if !isList {
		values = []any{v}
	}
	if len(values) == 0 {
		r.refuse("import-nothing", r.f.Where, "the empty list of "+draft.Show(claim)+" lets in nobody", "mend the role")
		return
	}
	l := draft.Line{Claim: claim}
	var equal []string // values that are no texts
	for _, v := range values {
		switch v := v.(type) {
		case string:
			if globs && strings.Contains(v, "?") {
				r.refuse("import-pattern", r.f.Where, claim+" "+draft.Show(v)+" has a question mark, which patterns read otherwise", "list the values that are meant")
			}
			l.Values = append(l.Values, draft.Value{Text: v, Glob: globs})
		case bool:
			equal = append(equal, strconv.FormatBool(v))
		case int64:
			equal = append(equal, strconv.FormatInt(v, 10))
		default:
			r.refuse("import-condition", r.f.Where, "the value of "+draft.Show(claim)+" is no text, whole number or boolean", "write the document by hand")
			return
		}
	}
	switch {
	case equal == nil:
		r.whole = r.notes.Narrow(&r.f, l) && r.whole
	case l.Values != nil || globs:
		// Vault compares types too, and a line of match has one.
		r.refuse("import-condition", r.f.Where, "values of several types of "+draft.Show(claim)+", or a pattern that is no text, cannot be carried over", "write the document by hand")
	default:
		r.f.When = append(r.f.When, draft.Condition{CEL: draft.CELClaim(draft.Path(claim)) + " in [" + strings.Join(equal, ", ") + "]"})
	}
}

// present are the claims that the login fails without.
func (r *roleReader) present() {
	for _, member := range []string{"user_claim", "groups_claim"} {
		claim, _ := r.role[member].(string)
		if claim == "" {
			continue
		}
		path := []string{claim}
		if member == "groups_claim" || r.role["user_claim_json_pointer"] == true {
			path = draft.Path(claim)
		}
		r.f.Present = append(r.f.Present, path)
	}
}

// networks are where callers come from: left out, a token that was taken would be
// good from anywhere.
func (r *roleReader) networks() {
	for _, member := range []string{"token_bound_cidrs", "bound_cidrs"} {
		for _, text := range draft.Texts(r.role[member]) {
			prefix, err := netip.ParsePrefix(text)
			if address, one := netip.ParseAddr(text); one == nil {
				prefix, err = netip.PrefixFrom(address, address.BitLen()), nil
			}
			if err != nil || prefix.Addr().Zone() != "" || prefix.Addr().Is4In6() {
				r.refuse("import-condition", member, draft.Show(text)+" is no address and no network", "write the document by hand")
				continue
			}
			if network := prefix.Masked().String(); !slices.Contains(r.f.Networks, network) {
				r.f.Networks = append(r.f.Networks, network)
			}
		}
		if v, isList := r.role[member].([]any); isList && len(v) > 0 && draft.Texts(v) == nil {
			r.refuse("import-syntax", member, "is no list of texts", read)
		}
	}
}

// rest says what is not carried over.
func (r *roleReader) rest() {
	if age, ok := r.role["max_age"]; ok && age != int64(0) && age != nil {
		r.refuse("import-condition", "max_age", "how long ago somebody logged in cannot be carried over", "write the document by hand")
	}
	policies := draft.Texts(r.role["token_policies"])
	if policies == nil {
		policies = draft.Texts(r.role["policies"])
	}
	switch {
	case r.same:
		// All that a token has today, and default comes by itself.
		if r.role["token_no_default_policy"] != true && !slices.Contains(policies, "default") {
			policies = append([]string{"default"}, policies...)
		}
		if slices.Contains(policies, "root") {
			r.refuse("import-permissions", "token_policies", "the role gives root, which may do everything", "write the document by hand, with the policies that the job needs")
		}
		r.f.Policies = policies
	case policies != nil:
		r.notes.Warn("token_policies", "import-permissions", "the policies "+strings.Join(policies, ", ")+" are not carried over: what a credential may do stands at its target", "give the target no more than these policies allow")
	}
	for _, member := range []string{"token_num_uses", "num_uses"} {
		if uses, ok := r.role[member].(int64); ok && uses > 0 {
			r.notes.Warn(member, "import-permissions", "a token may be used "+strconv.FormatInt(uses, 10)+" times; how often a credential is used is not counted", "write a short ttl")
		}
	}
}

// lifetime says how long a token lives today, and carries it over where that is
// less than a grant's default.
func (r *roleReader) lifetime() string {
	seconds := func(names ...string) int64 {
		for _, name := range names {
			if n, ok := r.role[name].(int64); ok && n > 0 {
				return n
			}
		}
		return 0
	}
	// Until it is renewed; the longest then bounds it.
	shortest := int64(0)
	for _, n := range []int64{seconds("token_ttl", "ttl"), seconds("token_period", "period"), seconds("token_max_ttl", "max_ttl"), seconds("token_explicit_max_ttl")} {
		if n > 0 && (shortest == 0 || n < shortest) {
			shortest = n
		}
	}
	switch {
	case shortest == 0:
		return "as long as the server's default says"
	case shortest < int64(usualTTL/time.Second):
		r.f.TTL = written(shortest)
	}
	return written(shortest) + ", and longer where it is renewed"
}

// written is a number of seconds as documents write a duration.
func written(seconds int64) string {
	switch {
	case seconds%3600 == 0:
		return strconv.FormatInt(seconds/3600, 10) + "h"
	case seconds%60 == 0:
		return strconv.FormatInt(seconds/60, 10) + "m"
	}
	return strconv.FormatInt(seconds, 10) + "s"
}

package trust

import (
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"cambio/trust/strictyaml"
)

// defaultTTL is the lifetime of a grant that names none, where the target
// allows it.
const defaultTTL = 15 * time.Minute

func (r *reader) grants(t *rule, n *strictyaml.Node) {
	for _, item := range r.list(n, maxGrants) {
		if !r.isMap(item) {
			continue
		}
		g, ok := r.grant(t, item)
		if !ok {
			continue
		}
		for _, other := range t.grants {
			if other.target == g.target && other.resource == g.resource {
				r.Error(item, FindingAmbiguousGrants, "another grant of this trust has the same target and resource",
					"give them different resources, or write one grant")
				break
			}
		}
		t.grants = append(t.grants, g)
	}
}

// grant reads one grant by what its target's type allows.
func (r *reader) grant(t *rule, n *strictyaml.Node) (grantRule, bool) {
	to := n.Get("to")
	if to == nil {
		r.Missing(n, "to", "write to: and the name of a target")
		return grantRule{}, false
	}
	name := r.text(to, maxText)
	if name == "" {
		return grantRule{}, false
	}
	target, ok := r.c.world.Targets[name]
	if !ok {
		r.Error(to, FindingUnknownTarget, "no target is named "+to.Show(), strictyaml.DidYouMean(name, r.c.targetNames))
		return grantRule{}, false
	}
	fields := target.Type.Fields
	names := append(slices.Sorted(maps.Keys(fields)), "to")
	r.allow(n, names...)
	for _, field := range names {
		if fields[field].Required && n.Get(field) == nil {
			r.Missing(n, field, "write "+field+": and its value")
		}
	}
	get := func(field string) *strictyaml.Node {
		if _, known := fields[field]; !known {
			return nil
		}
		return n.Get(field)
	}
	g := grantRule{target: r.c.intern(name), minTTL: target.Type.MinTTL, at: placeOf(n), ttlAt: placeOf(n.Get("ttl"))}
	if item := get("resource"); item != nil {
		g.resource = strings.Clone(r.text(item, maxResource))
		if f := fields["resource"]; g.resource != "" && f.Pattern != nil && !f.Pattern.MatchString(g.resource) {
			r.Error(item, FindingResource, item.Show()+" is nothing that this target gives", "write one such as "+f.Example)
		}
	}
	if item := get("scopes"); item != nil {
		g.scopes = r.scopes(item)
	}
	g.ttl = r.ttl(get("ttl"), target)
	if item := get("claims"); item != nil {
		g.claims = r.extraClaims(item, fields["claims"].Reserved, t.provider)
	}
	r.extras(&g, t, n, target)
	return g, true
}

func (r *reader) scopes(n *strictyaml.Node) []string {
	items := r.list(n, maxScopes)
	scopes := make([]string, 0, len(items))
	for _, item := range items {
		s := r.text(item, maxText)
		switch {
		case s == "":
		case !validScope(s):
			r.Error(item, FindingScope, item.Show()+" is no scope", "write one without spaces, quotes and backslashes")
		case slices.Contains(scopes, s):
			r.Error(item, FindingInvalid, item.Show()+" is listed twice", "list it once")
		default:
			scopes = append(scopes, r.c.intern(s))
		}
	}
	return scopes
}

func (r *reader) ttl(n *strictyaml.Node, target Target) time.Duration {
	limit := target.MaxTTL
	if limit <= 0 || target.Type.MaxTTL > 0 && target.Type.MaxTTL < limit {
		limit = target.Type.MaxTTL
	}
	if n == nil {
		ttl := defaultTTL
		if limit > 0 {
			ttl = min(ttl, limit)
		}
		return max(ttl, target.Type.MinTTL)
	}
	ttl, ok := strictyaml.ParseDuration(n.Text)
	if n.Kind != strictyaml.String || !ok {
		var d strictyaml.Duration
		r.Decode(n, &d) // it says what is wrong
		return 0
	}
	switch {
	case ttl <= 0:
		r.Error(n, FindingInvalid, "a lifetime of nothing", "write how long the credential lives, such as 15m")
	case limit > 0 && ttl > limit:
		r.Error(n, FindingTTLAboveMax, n.Text+" is above "+strictyaml.Duration(limit).String()+", the most that the target allows",
			"write "+strictyaml.Duration(limit).String()+" or less")
	case ttl < target.Type.MinTTL:
		r.Error(n, FindingTTLBelowMin, n.Text+" is below "+strictyaml.Duration(target.Type.MinTTL).String()+", the least that the target issues",
			"write "+strictyaml.Duration(target.Type.MinTTL).String()+" or more")
	}
	return ttl
}

// claimTemplate is one extra claim of a grant.
type claimTemplate struct {
	name  string
	value any            // where there is nothing to resolve
	parts []templatePart // else
}

// templatePart is a piece of text, or a claim.
type templatePart struct {
	text  string
	claim *claimVar
}

// resolve returns the claim's value. It is false when the token lacks a claim
// that the template names: to leave it out would issue a credential that says
// less than what was reviewed.
func (c *claimTemplate) resolve(claims map[string]any) (any, bool) {
	if c.parts == nil {
		return c.value, true
	}
	var b strings.Builder
	for _, p := range c.parts {
		if p.claim == nil {
			b.WriteString(p.text)
			continue
		}
		x, ok := p.claim.find(claims)
		if ok {
			x, ok = p.claim.typed(x)
		}
		if !ok {
			return nil, false
		}
		if len(c.parts) == 1 {
			return x, true // alone it keeps its type
		}
		s, isText := x.(string)
		if !isText {
			return nil, false
		}
		b.WriteString(s)
	}
	return b.String(), true
}

func (r *reader) extraClaims(n *strictyaml.Node, reserved []string, p *providerPolicy) []claimTemplate {
	if !r.isMap(n) {
		return nil
	}
	if len(n.Keys()) > maxExtra {
		r.Error(n, FindingTooMany, fmt.Sprintf("%d claims; at most %d are allowed", len(n.Keys()), maxExtra), "name fewer")
		return nil
	}
	var out []claimTemplate
	for i, key := range n.Keys() {
		item := n.Items()[i]
		if slices.ContainsFunc(reserved, func(name string) bool { return strings.EqualFold(name, strings.TrimSpace(key.Text)) }) {
			// A mapped sub or aud would make our own signature say what the
			// grant's author wants (CVE-2024-29892); and readers that fold case, as
			// Go's encoding/json does, take SUB for sub.
			r.Error(key, FindingReservedClaim, "the gateway sets "+key.Show()+" itself", "use another name")
			continue
		}
		if key.Text == "" || len(key.Text) > maxText {
			r.Error(key, FindingInvalid, "no name of a claim", "write a shorter one")
			continue
		}
		c := claimTemplate{name: r.c.intern(key.Text)}
		if !r.extraClaim(&c, item, p) {
			continue
		}
		out = append(out, c)
	}
	return out
}

// extraClaim reads the value of one extra claim.
func (r *reader) extraClaim(c *claimTemplate, n *strictyaml.Node, p *providerPolicy) bool {
	if n.Kind == strictyaml.Bool || n.Kind == strictyaml.Int {
		c.value, _ = n.Value()
		return true
	}
	if n.Kind != strictyaml.String {
		r.WrongType(n, "text")
		return false
	}
	var ok bool
	if c.parts, ok = r.template(n, p); ok && c.parts == nil {
		c.value = strings.Clone(n.Text)
	}
	return ok
}

// template takes ${claims.x} apart; nil parts mean that there is none.
func (r *reader) template(n *strictyaml.Node, p *providerPolicy) ([]templatePart, bool) {
	const open = "${"
	if len(n.Text) > maxResource {
		r.Error(n, FindingInvalid, fmt.Sprintf("is longer than %d bytes", maxResource), "write a shorter one")
		return nil, false
	}
	if !strings.Contains(n.Text, open) {
		return nil, true
	}
	var parts []templatePart
	for rest := n.Text; rest != ""; {
		at := strings.Index(rest, open)
		if at != 0 {
			if at < 0 {
				at = len(rest)
			}
			parts = append(parts, templatePart{text: strings.Clone(rest[:at])})
			rest = rest[at:]
			continue
		}
		inner, after, closed := strings.Cut(rest[len(open):], "}")
		name, isClaim := strings.CutPrefix(inner, "claims.")
		if !closed || !isClaim || name == "" {
			r.Error(n, FindingInvalid, "only ${claims.NAME} is resolved", "write ${claims.NAME}")
			return nil, false
		}
		rest = after
		if p == nil {
			continue // the unknown provider has its finding
		}
		claim := p.schema.lookup(name)
		if claim == nil {
			r.Error(n, FindingUnknownClaim, "the identity provider's tokens have no claim "+name, strictyaml.DidYouMean(name, p.schema.names))
			return nil, false
		}
		parts = append(parts, templatePart{claim: claim})
	}
	if len(parts) > 1 {
		for _, part := range parts {
			if part.claim != nil && part.claim.typ != StringClaim {
				r.Error(n, FindingTypeMismatch, part.claim.name+" is of type "+string(part.claim.typ)+" and cannot be part of a text", "let it stand alone")
				return nil, false
			}
		}
	}
	return parts, true
}

// validScope reports whether s is one scope-token of RFC 6749 section 3.3.
func validScope(s string) bool {
	for i := range len(s) {
		if c := s[i]; c <= 0x20 || c == '"' || c == '\\' || c > 0x7e {
			return false
		}
	}
	return s != ""
}

// ParseScope takes a scope parameter apart (RFC 6749 section 3.3). Nothing asked
// for is nil. It refuses nothing itself: [Policy.Decide] refuses what is
// malformed, an empty token between two spaces included.
func ParseScope(s string) []string {
	if s == "" {
		return nil
	}
	return strings.Split(s, " ")
}

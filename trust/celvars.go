package trust

import (
	"strings"
	"time"

	"cel.dev/cel-go/cel"
	"cel.dev/cel-go/common/types"
)

// variables answers what a condition asks for. It holds one request, judged for
// one grant; it is used by one goroutine.
type variables struct {
	schema   *claimSchema
	identity *Identity
	now      time.Time
	address  string
	grant    *Grant    // the narrowed one
	request  Request   // with the effective values, whether asked for or left out
	unknown  *unknowns // nil but for a token that is known in part
}

var _ cel.Activation = (*variables)(nil)

// Parent is none.
func (*variables) Parent() cel.Activation { return nil }

// ResolveName returns a variable's value. An absent claim, or one of another
// type than its declared one, is an error of the evaluation, and so false.
func (v *variables) ResolveName(name string) (any, bool) {
	if id, ok := strings.CutPrefix(name, optionalPrefix); ok {
		x, ok := v.ResolveName(claimPrefix + id)
		if err, failed := x.(*types.Err); failed {
			return err, true
		}
		if !ok {
			return types.OptionalNone, true
		}
		if unknown, is := x.(*types.Unknown); is {
			return unknown, true
		}
		return types.OptionalOf(types.DefaultTypeAdapter.NativeToValue(x)), true
	}
	if id, ok := strings.CutPrefix(name, claimPrefix+"/"); ok {
		c := v.schema.byID["/"+id]
		if c == nil {
			return nil, false
		}
		if v.unknown != nil && !v.unknown.known.claim(c) {
			return v.unknown.value(c.shown), true
		}
		x, ok := c.find(v.identity.Claims)
		if !ok {
			return nil, false
		}
		x, ok = c.typed(x)
		if !ok {
			return types.NewErr("claim %s has another type than its declared one", c.name), true
		}
		return x, true
	}
	if v.unknown != nil {
		if x, unknown := v.unknown.resolve(v, name); unknown {
			return x, true
		}
	}
	switch name {
	case "claims":
		return v.identity.Claims, true
	case "identity", "request", "grant":
		return v.object(name), true
	case "identity.provider":
		return v.identity.Provider, true
	case "identity.workload":
		return v.identity.Workload, true
	case "identity.subject":
		return v.identity.Subject, true
	case "identity.issuer":
		return v.identity.Issuer, true
	case "identity.audience":
		return v.identity.Audience, true
	case "identity.issued_at":
		return v.identity.IssuedAt, true
	case "identity.expires_at":
		return v.identity.ExpiresAt, true
	case "request.to":
		return v.request.Target, true
	case "request.resource":
		return v.request.Resource, true
	case "request.scopes":
		return v.request.Scopes, true
	case "request.ttl":
		return v.request.TTL, true
	case "grant.to":
		return v.grant.Target, true
	case "grant.resource":
		return v.grant.Resource, true
	case "grant.scopes":
		return v.grant.Scopes, true
	case "grant.ttl":
		return v.grant.TTL, true
	case "request.time":
		return v.now, true
	case "request.address":
		return v.address, true
	case "grant.claims":
		if v.grant.Claims == nil {
			return map[string]any{}, true
		}
		return v.grant.Claims, true
	}
	return nil, false
}

// object builds the map that has() and `in` look into: the fields that have a
// value.
func (v *variables) object(name string) map[string]any {
	m := map[string]any{}
	for field := range conditionFields()[name] {
		x, ok := v.ResolveName(name + "." + field)
		if s, isText := x.(string); !ok || isText && s == "" {
			continue
		}
		m[field] = x
	}
	return m
}

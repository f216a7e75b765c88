package trust

import (
	"cel.dev/cel-go/common/types"
	"cel.dev/cel-go/common/types/ref"
	"cel.dev/cel-go/common/types/traits"
)

// unknowns answers conditions for what is not known, with CEL's own unknown
// value: it goes through an expression as an error would, and is absorbed where
// the other side of && or || decides alone.
type unknowns struct {
	known  Partly
	asked  []string // what was asked for and is not known
	hidden bool     // the value rests on an unknown in a way that CEL cannot carry
	given  bool     // the grant hands on a claim that is not known
}

// notRecorded is the reason of a condition that rests on what is not known. It is
// none that a decision has.
const notRecorded Reason = "not-recorded"

// knows reports whether it is known what the token claims there.
func (v *variables) knows(c *claimVar) bool { return v.unknown == nil || v.unknown.known.claim(c) }

func (u *unknowns) ask(name string) { u.asked = append(u.asked, name) }

func (u *unknowns) value(name string) ref.Val {
	u.ask(name)
	return types.NewUnknown(1, types.NewAttributeTrail(name))
}

// resolve answers for the variables other than single claims. It reports false
// where the variable is known.
func (u *unknowns) resolve(v *variables, name string) (any, bool) {
	lacks := func(absent bool) (any, bool) {
		if absent {
			return u.value(name), true
		}
		return nil, false
	}
	id := v.identity
	switch name {
	case "claims":
		whole, ok := types.DefaultTypeAdapter.NativeToValue(id.Claims).(traits.Mapper)
		if !ok {
			return u.value(name), true
		}
		return &knownClaims{Mapper: whole, u: u, schema: v.schema}, true
	case "identity":
		return lacks(id.Workload == "" || id.Subject == "" || id.Issuer == "" || id.Audience == "" || id.IssuedAt.IsZero() || id.ExpiresAt.IsZero())
	case "identity.workload":
		return lacks(id.Workload == "")
	case "identity.subject":
		return lacks(id.Subject == "")
	case "identity.issuer":
		return lacks(id.Issuer == "")
	case "identity.audience":
		return lacks(id.Audience == "")
	case "identity.issued_at":
		return lacks(id.IssuedAt.IsZero())
	case "identity.expires_at":
		return lacks(id.ExpiresAt.IsZero())
	case "grant", "grant.claims":
		return lacks(u.given)
	}
	return nil, false
}

// knownClaims are all claims as a map, of which some are not known.
type knownClaims struct {
	traits.Mapper
	u      *unknowns
	schema *claimSchema
}

// knows reports whether a member is known whole, or known to be absent.
func (k *knownClaims) knows(key ref.Val) bool {
	name, ok := key.(types.String)
	if !ok {
		return true // no claim has such a name
	}
	listed := false
	for _, c := range k.schema.byID {
		if c.path[0] != string(name) {
			continue
		}
		if listed = true; !k.u.known.claim(c) {
			k.u.ask(c.shown)
			return false
		}
	}
	if !listed {
		k.u.ask(string(name))
	}
	return listed
}

// Contains is `"name" in claims`.
func (k *knownClaims) Contains(key ref.Val) ref.Val {
	if !k.knows(key) {
		return k.u.value("claims")
	}
	return k.Mapper.Contains(key)
}

// Find is has() and claims[name]. Presence is a boolean to CEL, so that an
// unknown one is noted beside the value.
func (k *knownClaims) Find(key ref.Val) (ref.Val, bool) {
	if !k.knows(key) {
		k.u.hidden = true
		return k.u.value("claims"), true
	}
	return k.Mapper.Find(key)
}

// Get is claims[name] with a computed name.
func (k *knownClaims) Get(key ref.Val) ref.Val {
	if !k.knows(key) {
		return k.u.value("claims")
	}
	return k.Mapper.Get(key)
}

// Iterator is a loop over what nobody knows the end of.
func (k *knownClaims) Iterator() traits.Iterator {
	k.u.hidden = true
	k.u.ask("claims")
	return k.Mapper.Iterator()
}

// Size is unknown for the same reason.
func (k *knownClaims) Size() ref.Val { return k.u.value("claims") }

// Equal compares with a map that is not known whole.
func (k *knownClaims) Equal(ref.Val) ref.Val { return k.u.value("claims") }

func isUnknown(v ref.Val) bool { return types.IsUnknown(v) }
func isTrue(v ref.Val) bool    { return v == types.True }
func isFalse(v ref.Val) bool   { return v == types.False }

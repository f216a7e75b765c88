package diff

import (
	"slices"

	"cambio/trust"
	"cambio/trust/words"
)

// grants compares what two trusts give. Grants to one target and resource belong
// together.
func grants(before, after trust.Trust) []Line {
	var lines []Line
	for _, g := range after.Grants {
		old := grantOf(before, g)
		if old == nil {
			lines = append(lines, plus(only(after, g), ""))
			continue
		}
		lines = append(lines, grant(*old, g)...)
	}
	for _, g := range before.Grants {
		if grantOf(after, g) == nil {
			lines = append(lines, minus(only(before, g), ""))
		}
	}
	return lines
}

// only is the trust with one of its grants.
func only(t trust.Trust, g trust.WrittenGrant) trust.Trust {
	t.Grants = []trust.WrittenGrant{g}
	return t
}

func grantOf(t trust.Trust, g trust.WrittenGrant) *trust.WrittenGrant {
	for i := range t.Grants {
		if t.Grants[i].Target == g.Target && t.Grants[i].Resource == g.Resource {
			return &t.Grants[i]
		}
	}
	return nil
}

// grant compares two grants to one target and resource.
func grant(before, after trust.WrittenGrant) []Line {
	var lines []Line
	at := words.Destination(after) + ": "
	say := func(text string, e Effect) { lines = append(lines, tilde(at+text, e)) }
	if before.TTL != after.TTL {
		effect := Grows
		if after.TTL < before.TTL {
			effect = Shrinks
		}
		say("lives up to "+words.Lifetime(after.TTL)+" instead of "+words.Lifetime(before.TTL), effect)
	}
	if before.MinTTL != after.MinTTL {
		effect := Shrinks
		if after.MinTTL > before.MinTTL {
			effect = Grows // what asks for less lives longer than it did
		}
		say("lives at least "+words.Lifetime(after.MinTTL)+" instead of "+words.Lifetime(before.MinTTL), effect)
	}
	missing := func(a, b []string) []string {
		return slices.DeleteFunc(slices.Clone(a), func(s string) bool { return slices.Contains(b, s) })
	}
	if added := missing(after.Scopes, before.Scopes); len(added) > 0 {
		say(words.Scopes(added)+" added", Grows)
	}
	if gone := missing(before.Scopes, after.Scopes); len(gone) > 0 {
		say(words.Scopes(gone)+" removed", Shrinks)
	}
	say = func(text string, e Effect) { lines = append(lines, handled(at+text, e)) }
	// What a target makes of its own fields, and its readers of a claim, only they
	// know: a session policy that changed may narrow or widen.
	for _, c := range []struct {
		what          string
		before, after []trust.GrantValue
	}{{"claim ", before.Claims, after.Claims}, {"", before.Fields, after.Fields}} {
		for _, v := range c.after {
			old, had := valueOf(c.before, v.Name)
			switch {
			case !had:
				say(c.what+words.One(v.Name)+" is now "+words.Plain(v.Value, "${} "), Undecided)
			case old != v.Value:
				say(c.what+words.One(v.Name)+" is "+words.Plain(v.Value, "${} ")+" instead of "+words.Plain(old, "${} "), Undecided)
			}
		}
		for _, v := range c.before {
			if _, has := valueOf(c.after, v.Name); !has {
				say(c.what+words.One(v.Name)+" is gone; it was "+words.Plain(v.Value, "${} "), Undecided)
			}
		}
	}
	return lines
}

func valueOf(values []trust.GrantValue, name string) (string, bool) {
	for _, v := range values {
		if v.Name == name {
			return v.Value, true
		}
	}
	return "", false
}

// Package schema makes the JSON Schema of trust documents, guardrails, invariants
// and files of tests, for editors. It says what a field may look like; what fields
// must be to each other, and to the configuration, only trust.Compile says.
package schema

import (
	"encoding/json"
	"fmt"
	"maps"
	"slices"

	"cambio/trust"
)

// object is a JSON object.
type object = map[string]any

// Documents is the schema (draft 2020-12) for targets of these types.
func Documents(types []trust.TargetType) ([]byte, error) {
	fields := map[string]trust.Field{}
	for _, t := range types {
		for name, f := range t.Fields {
			if _, ok := fields[name]; !ok {
				f.Required, f.Pattern = false, nil // those of one type
				fields[name] = f
			}
		}
	}
	defs := definitions()
	defs["grant"] = grant(fields, ref("name"))
	return encode(defs)
}

// Configured is the schema for one configuration: the names of its identity
// providers and targets, their claims, and what grants for them may hold.
func Configured(world trust.World) ([]byte, error) {
	defs := definitions()
	defs["wanted-string"] = oneOrMany(object{"anyOf": []any{object{"type": "string"}, ref("glob")}})
	defs["wanted-integer"] = oneOrMany(object{"type": "integer"})
	defs["wanted-boolean"] = oneOrMany(boolean())
	providers, targets := slices.Sorted(maps.Keys(world.Providers)), slices.Sorted(maps.Keys(world.Targets))
	defs["provider"] = enum("an identity provider of the configuration", providers)
	defs["target"] = enum("a target of the configuration", targets)

	cases := []any{}
	for _, name := range targets {
		t := world.Targets[name].Type
		defs["grant-"+name] = grant(t.Fields, object{"const": name})
		cases = append(cases, when(object{"properties": object{"to": object{"const": name}}, "required": []string{"to"}}, ref("grant-"+name)))
	}
	defs["grant"] = object{"type": "object", "required": []string{"to"}, "properties": object{"to": ref("target")}, "allOf": cases}

	cases = []any{}
	for _, name := range providers {
		claims := world.Providers[name].DocumentClaims()
		lines := object{}
		for claim, c := range claims {
			if line := matched(c); line != nil {
				lines[claim] = line
			}
		}
		cases = append(cases, when(object{"properties": object{"from": object{"const": name}}, "required": []string{"from"}}, object{
			"properties": object{
				"match": object{"propertyNames": among(slices.Sorted(maps.Keys(lines))), "properties": lines},
				"tests": object{"items": object{"properties": object{"claims": object{"propertyNames": among(slices.Sorted(maps.Keys(claims)))}}}},
			},
		}))
	}
	for _, document := range []string{"trust", "test-file"} {
		defs[document].(object)["allOf"] = cases //nolint:forcetypeassert // made below
	}
	return encode(defs)
}

func encode(defs object) ([]byte, error) {
	out, err := json.MarshalIndent(object{
		"$schema": "https://json-schema.org/draft/2020-12/schema",
		"title":   "A document of trust: a trust, a guardrail, an invariant, or a file of tests",
		"type":    "object",
		"$defs":   defs,
		"if":      has("guardrail"), "then": ref("guardrail"),
		"else": object{
			"if": has("invariant"), "then": ref("invariant"),
			"else": object{
				"if":   object{"anyOf": []any{has("trust"), object{"required": []string{"tests"}, "not": has("name")}}},
				"then": ref("test-file"), "else": ref("trust"),
			},
		},
	}, "", "  ")
	if err != nil {
		return nil, fmt.Errorf("write the schema: %w", err)
	}
	return append(out, '\n'), nil
}

// among are these names of claims, and JSON pointers, which stand for the same.
func among(names []string) object {
	return object{"anyOf": []any{object{"enum": names}, object{"pattern": "^/"}}}
}

// matched is the schema of a line of match for a claim; nil where match cannot name
// it.
func matched(c trust.Claim) object {
	switch c.Type {
	case trust.StringClaim:
		if len(c.Values) > 0 {
			return oneOrMany(object{"anyOf": []any{object{"enum": c.Values}, ref("glob")}})
		}
		return ref("wanted-string")
	case trust.IntClaim:
		return ref("wanted-integer")
	case trust.BoolClaim:
		return ref("wanted-boolean")
	case trust.DoubleClaim, trust.ListClaim, trust.MapClaim:
	}
	return nil
}

// definitions are the parts that depend on no configuration.
func definitions() object {
	owned := func(own object) object {
		own["owner"] = text("who answers for it")
		own["purpose"] = text("what it is for")
		return own
	}
	cel := text("a condition in CEL")
	return object{
		"name":     object{"type": "string", "pattern": "^[a-z0-9-]{1,63}$"},
		"provider": ref("name"),
		"target":   ref("name"),
		"trust": part(trust.TrustPart, owned(object{
			"name":          ref("name"),
			"expires":       described(object{"type": "string", "pattern": "^[0-9]{4}-[0-9]{2}-[0-9]{2}$"}, "the last day on which it holds, until 24:00 UTC"),
			"mode":          enum("shadow is judged and recorded, and never allows", []string{"enforce", "shadow"}),
			"from":          ref("provider"),
			"match":         described(object{"type": "object", "minProperties": 1, "additionalProperties": ref("wanted")}, "every line must hold; one must pin an immutable claim"),
			"when":          described(list(cel, 32), "each must be true"),
			"access":        ref("access"),
			"token_use":     enum("how often one token may be used; may only tighten", []string{string(trust.Once), string(trust.OncePerGrant), string(trust.UntilExpiry)}),
			"require_nonce": described(boolean(), "only a token that carries a nonce of ours"),
			"hints":         described(boolean(), "whether a caller that proves the anchor is told which claim failed"),
			"grants":        list(ref("grant"), 64),
			"tests":         list(ref("test"), 100),
		}), "name", "owner", "purpose", "from", "match", "grants"),
		"guardrail": part(trust.GuardrailPart, owned(object{
			"guardrail": ref("name"),
			"from":      list(ref("provider"), 1000),
			"forbid":    described(text("a condition in CEL"), "what it forbids, whoever allows it"),
		}), "guardrail", "owner", "purpose", "forbid"),
		"invariant": either(part(trust.InvariantPart, owned(object{
			"invariant": ref("name"),
			"from":      list(ref("provider"), 1000),
			"never":     described(text("a condition in CEL"), "what must be true of no exchange that is allowed"),
			"always":    described(text("a condition in CEL"), "what must be true of each exchange that is allowed"),
		}), "invariant", "owner", "purpose"), "never", "always"),
		"test-file": either(part(trust.TestFilePart, object{
			"trust": described(ref("name"), "the trust whose match the claims begin with"),
			"from":  described(ref("provider"), "the identity provider whose sample the claims begin with"),
			"tests": list(ref("test"), 1000),
		}, "tests"), "trust", "from"),
		"access": part(trust.AccessPart, object{
			"networks": list(described(object{"type": "string", "pattern": "^[0-9a-fA-F.:]+/[0-9]{1,3}$"}, "a prefix such as 10.0.0.0/8"), 1000),
			"hours":    oneOrMany(described(object{"type": "string", "pattern": "^[A-Za-z,-]+ [0-9]{2}:[0-9]{2}-[0-9]{2}:[0-9]{2} [A-Z][A-Za-z0-9_+/-]*$"}, "such as Mon-Fri 07:00-19:00 Europe/Zurich")),
		}),
		"glob": object{"type": "object", "required": []string{"glob"}, "additionalProperties": false, "properties": object{
			"glob": described(object{"type": "string", "minLength": 1, "maxLength": 1024, "not": object{"pattern": `\*\*|[?\[{\\]`}}, "* stops at a slash"),
		}},
		"wanted": oneOrMany(object{"anyOf": []any{object{"type": []string{"string", "boolean", "integer"}}, ref("glob")}}),
		"test": part(trust.TestPart, object{
			"name":    text("what it shows"),
			"at":      described(object{"type": "string", "pattern": "^[0-9]{4}-[0-9]{2}-[0-9]{2}[Tt][0-9:.]+([Zz]|[+-][0-9]{2}:[0-9]{2})$"}, "when it is, RFC 3339; else within the trust's hours"),
			"address": described(object{"type": "string", "pattern": "^[0-9a-fA-F.:]+$"}, "the caller's; else in the trust's first network"),
			"claims":  described(object{"type": "object"}, "over the platform's sample and the trust's match; null takes one away"),
			"ask":     ref("ask"),
			"expect":  enum("what must come of it", []string{"allow", "deny"}),
			"reason":  enum("why it must be denied", trust.Denials()),
			"by":      described(ref("name"), "the trust that must allow it"),
		}, "name", "ask", "expect"),
		"ask": part(trust.AskPart, object{
			"to":       text("a target"),
			"resource": text("the resource within it"),
			"scope":    object{"anyOf": []any{text("scopes, separated by spaces"), list(text("a scope"), 64)}},
			"ttl":      ref("duration"),
			"trust":    text("the trust that is asked for by name"),
		}, "to"),
		"duration": object{"type": "string", "pattern": "^(0|[1-9][0-9]{0,9})[smhd]$", "description": "one number and one of s, m, h, d"},
	}
}

// grant is the schema of a grant with these fields.
func grant(fields map[string]trust.Field, to object) object {
	properties, required := object{"to": described(to, "the target")}, []string{"to"}
	for name, f := range fields {
		properties[name] = field(f)
		if f.Required {
			required = append(required, name)
		}
	}
	slices.Sort(required)
	return object{"type": "object", "additionalProperties": false, "required": required, "properties": properties}
}

// field is the schema of one field of a grant.
func field(f trust.Field) object {
	switch f.Type {
	case trust.StringField:
		out := object{"type": "string", "minLength": 1}
		if f.Example != "" {
			out["description"] = "such as " + f.Example
		}
		return out
	case trust.StringsField:
		if f.Narrows == trust.Opaque {
			return object{"type": "array", "items": object{"type": "string", "minLength": 1}}
		}
		return list(text("as granted; a request may ask for fewer"), 64)
	case trust.DurationField:
		return ref("duration")
	case trust.ClaimsField:
		return described(object{"type": "object", "additionalProperties": object{"type": []string{"string", "boolean", "integer"}}}, "${claims.x} is a claim of the token")
	case trust.TemplateField:
		return text("${claims.x} is a claim of the token")
	case trust.TemplatesField:
		return described(object{"type": "object", "minProperties": 1, "additionalProperties": object{"type": "string"}}, "${claims.x} is a claim of the token")
	case trust.DocumentField:
		return object{"type": "object"}
	}
	return object{}
}

// part is a map of exactly the names that the reader of documents takes.
func part(p trust.Part, properties object, required ...string) object {
	known := object{}
	for _, name := range trust.Fields(p) {
		known[name] = properties[name]
	}
	out := object{"type": "object", "additionalProperties": false, "properties": known}
	if len(required) > 0 {
		out["required"] = required
	}
	return out
}

// either adds that one of two names stands there, and not both.
func either(o object, a, b string) object {
	o["oneOf"] = []any{has(a), has(b)}
	return o
}

func has(name string) object { return object{"required": []string{name}} }

func when(condition, then object) object { return object{"if": condition, "then": then} }

func ref(name string) object { return object{"$ref": "#/$defs/" + name} }

func text(what string) object {
	return object{"type": "string", "minLength": 1, "description": what}
}

func boolean() object { return object{"type": "boolean"} }

func enum(what string, values []string) object {
	return object{"type": "string", "enum": values, "description": what}
}

func described(o object, what string) object {
	o["description"] = what
	return o
}

func list(items object, most int) object {
	return object{"type": "array", "minItems": 1, "maxItems": most, "items": items}
}

func oneOrMany(item object) object {
	return object{"anyOf": []any{item, list(item, 1000)}}
}

package trust

import (
	"regexp"
	"time"
)

// ClaimType is the type of a claim's value.
type ClaimType string

// The claim types. The zero value is no type, and no claim may have it.
const (
	StringClaim ClaimType = "string"
	BoolClaim   ClaimType = "bool"
	IntClaim    ClaimType = "int"
	DoubleClaim ClaimType = "double"
	ListClaim   ClaimType = "list" // of strings; only for conditions, never for match
	MapClaim    ClaimType = "map"  // only for conditions, never for match
)

// Claim describes one claim of a platform.
type Claim struct {
	Type   ClaimType
	Values []string // the closed set of its values, where there is one
	Always bool     // every token of the platform has it
}

// Platform describes, as data, what the tokens of one kind of identity provider
// claim. The catalogue in package providers holds one for each kind.
type Platform struct {
	Name string
	// Claims are the known claims by name; nested ones by JSON pointer (RFC
	// 6901), such as "/kubernetes.io/namespace".
	Claims map[string]Claim
	// Aliases are flat names for nested claims: alias to JSON pointer. The
	// verifier puts the alias into Identity.Claims.
	Aliases map[string]string
	// Anchors are the immutable, tenant-unique claims, the most selective
	// first. A trust must pin one of them by equality.
	Anchors []string
	// Advised claims draw a warning when match names none of them.
	Advised []string
	// Guarded values are refused unless match names the claim with that value.
	Guarded map[string][]string
	// Sample is a realistic set of claims that inline tests start from.
	Sample map[string]any
}

// Narrowing says how a request may narrow one field of a grant.
type Narrowing string

// The narrowings.
const (
	Equal  Narrowing = "equal"  // asked for exactly as granted, or left out
	Subset Narrowing = "subset" // some of the granted values
	Max    Narrowing = "max"    // at most the granted value
	Opaque Narrowing = "opaque" // the caller has no say
)

// FieldType is the type of a grant's field.
type FieldType string

// The field types.
const (
	StringField   FieldType = "string"
	StringsField  FieldType = "strings"
	DurationField FieldType = "duration"
	ClaimsField   FieldType = "claims" // a map of claim names to values with ${claims.x}

	TemplateField  FieldType = "template"  // a text with ${claims.x}
	TemplatesField FieldType = "templates" // a map of names to texts with ${claims.x}
	DocumentField  FieldType = "document"  // an object of the target's own language, handed on as JSON
)

// Field describes one field of a grant.
type Field struct {
	Type     FieldType
	Narrows  Narrowing
	Required bool
	Reserved []string // of a ClaimsField: names that a document may not set
	// Pattern is what the whole value of a StringField must match; nil: anything.
	// Example is one that does, for the finding.
	Pattern *regexp.Regexp
	Example string
}

// TargetType describes, as data, what a grant for one kind of target may hold.
// Every grant has `to`; the fields here are the others.
type TargetType struct {
	Name   string
	Fields map[string]Field
	MinTTL time.Duration // 0: none
	MaxTTL time.Duration // the type's own limit, above any max_ttl
	// Misfit says what of a grant the target would refuse, and in which field, such
	// as "tags.repository"; "" where it fits. It is asked at load, with what
	// depends on claims left out, and for each decision. May be nil. It is pure.
	Misfit func(Grant) (field, problem string) `json:"-"`
}

// Provider is one identity provider of the configuration, as documents see it.
type Provider struct {
	Platform Platform
	TokenUse TokenUse
	// Claims are those that the configuration declares beyond the platform's.
	Claims map[string]Claim
	// Anchors are those of Claims that are declared immutable.
	Anchors []string
}

// Target is one target of the configuration, as documents see it.
type Target struct {
	Type     TargetType
	MaxTTL   time.Duration
	Audience string // part of the policy's hash, so that a record pins it
	// Settings are the other settings that decide where a credential works; part of
	// the hash too.
	Settings map[string]string
}

// World is what documents may refer to: the configuration's identity providers
// and targets, by name.
type World struct {
	Providers map[string]Provider
	Targets   map[string]Target
}

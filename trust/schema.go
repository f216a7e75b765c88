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

// Claim describes one claim of a platform. What decides nothing, and only serves
// those who review documents, is no part of the policy's hash.
type Claim struct {
	Type   ClaimType
	Values []string // the closed set of its values, where there is one
	Always bool     // every token of the platform has it

	// PinnedBy is the claim with the immutable id of what this one names, for a
	// name that can be given up and taken by somebody else; else "".
	PinnedBy string `json:"-"`
	// OwnedBy is the claim that says whose it is, for an id that survives being
	// handed over to another owner; else "".
	OwnedBy string `json:"-"`
	// Chosen says that whoever starts the workload chooses the value.
	Chosen bool `json:"-"`
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
	// Pinned are claims that match must pin by equality beside an anchor, each of
	// them: an anchor that is unique only within them.
	Pinned []string `json:",omitempty"`
	// Advised claims draw a warning when match names none of them.
	Advised []string
	// Guarded values are refused unless match names the claim with that value.
	Guarded map[string][]string
	// Implied are conditions, as `when` has them, that a token must meet too unless
	// match pins the claim by equality: claim to condition. For what is refused
	// unless somebody says that it is meant, and is more than one value.
	Implied map[string]string `json:",omitempty"`
	// Sample is a realistic set of claims that inline tests start from.
	Sample map[string]any

	// Outsiders are values, by claim, with which the code of people from outside
	// may run.
	Outsiders map[string][]string `json:"-"`
	// Gates are claims that somebody's approval or a protected place stands behind.
	Gates []string `json:"-"`
	// Hosted are the values, by claim, of a workload on the platform's own machines,
	// where nothing is left behind by the one before.
	Hosted map[string]string `json:"-"`
	// Journal names the claims that the journal keeps of each proven token: what
	// decisions need, and no free text about a person.
	Journal []string `json:"-"`
	// Lint says what only this platform has to say about a trust. It is pure. May
	// be nil.
	Lint func(Trust) []Remark `json:"-"`
}

// Remark is what a platform's own lint says about one place of a trust.
type Remark struct {
	ID           string // of the finding
	At           Place
	Field        string // such as match.sub
	Message, Fix string
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
	// MaxSubject is the longest sub in bytes that the target takes; 0: any.
	MaxSubject int `json:",omitempty"`
	// MaxSubjects is how many subjects one resource of the target can be made to
	// trust; 0: any number.
	MaxSubjects int `json:",omitempty"`
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
	// Journal names the claims that the journal keeps of each proven token.
	Journal []string `json:"-"`
	// WorkloadID makes the workload id of a token's claims, as the verifier does. It
	// is pure. May be nil.
	WorkloadID func(claims map[string]any) (string, error) `json:"-"`
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
	// TrustDomain is that of the workload ids; it decides nothing here.
	TrustDomain string `json:"-"`
}

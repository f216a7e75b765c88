package trust

// The ids of findings in documents. An id is never renamed and never reused.
const (
	FindingTooBroad        = "trust-too-broad"   // match pins no anchor by equality
	FindingTooExpensive    = "cel-too-expensive" // a condition is too long, too deep, or may cost too much
	FindingCELSyntax       = "cel-syntax"        // a condition is not valid CEL, or uses what is not offered
	FindingNotBool         = "cel-not-bool"      // a condition is not of type bool
	FindingPattern         = "cel-pattern"       // a pattern is no literal, or not valid
	FindingReservedClaim   = "reserved-claim"    // a grant sets a claim that the gateway sets itself
	FindingUnknownField    = "unknown-field"     // a field that does not exist there
	FindingUnknownClaim    = "unknown-claim"     // a claim that the provider's tokens do not have
	FindingUnknownName     = "unknown-name"      // a condition names a variable, field or function that does not exist
	FindingTypeMismatch    = "type-mismatch"     // a value or comparison of another type than the claim's
	FindingUnknownProvider = "unknown-provider"  // from names no identity provider
	FindingUnknownTarget   = "unknown-target"    // a grant names no target
	FindingUnknownTrust    = "unknown-trust"     // a file of tests names no trust
	FindingDuplicateName   = "duplicate-name"    // two documents have one name
	FindingTokenUseLooser  = "token-use-looser"  // token_use is looser than the provider's
	FindingTTLAboveMax     = "ttl-above-max"     // a grant's ttl is above the target's max_ttl
	FindingTTLBelowMin     = "ttl-below-min"     // a grant's ttl is below the target's minimum
	FindingAmbiguousGrants = "ambiguous-grants"  // two grants of a trust to one target have one resource
	FindingOwnerMissing    = "owner-missing"     // no owner
	FindingInvalid         = "invalid-value"     // a value that the field cannot have
	FindingEmptyList       = "empty-list"        // a list that must not be empty
	FindingListClaim       = "list-claim"        // match names a list or map claim
	FindingGlob            = "glob-invalid"      // a glob with more than `*`
	FindingNetwork         = "network-invalid"   // not a prefix without host bits
	FindingHours           = "hours-invalid"     // not DAYS HH:MM-HH:MM ZONE
	FindingScope           = "scope-malformed"   // a scope that RFC 6749 section 3.3 does not allow
	FindingResource        = "resource-invalid"  // a resource that the target does not have
	FindingGrantUnfit      = "grant-unfit"       // a value of a grant that the target would refuse
	FindingTooMany         = "too-many"          // more than a document may hold
	FindingSharedIdentity  = "shared-identity"   // warning: match leaves several workloads one identity
	FindingStarIsLiteral   = "star-is-literal"   // warning: a plain value of match holds a `*`, which is no wildcard there
	FindingUnknownValue    = "unknown-value"     // warning: a value outside the claim's closed set
	FindingExpired         = "expired"           // warning: expires has passed
	FindingExpiresSoon     = "expires-soon"      // warning: expires within 30 days
	FindingTestFailed      = "test-failed"       // a test of a document comes out otherwise than it expects
	FindingTestFileName    = "test-file-name"    // a file of tests whose name does not end in _test.yaml
	FindingInternal        = "internal"          // the world handed in is inconsistent
)

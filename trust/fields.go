package trust

// Part is a part of a document whose names are fixed. Those of a grant are the
// target type's, and those of match and claims the identity provider's.
type Part int

// The parts.
const (
	TrustPart Part = iota
	GuardrailPart
	InvariantPart
	TestFilePart
	AccessPart // of a trust
	TestPart   // one of tests
	AskPart    // of a test
)

// Fields are the names that a part may have, in the order in which they are best
// read.
func Fields(p Part) []string {
	switch p {
	case TrustPart:
		return []string{
			"name", "owner", "purpose", "expires", "mode", "from", "match", "when", "access",
			"token_use", "require_nonce", "hints", "grants", "tests",
		}
	case GuardrailPart:
		return []string{"guardrail", "owner", "purpose", "from", "forbid"}
	case InvariantPart:
		return []string{"invariant", "owner", "purpose", "from", "never", "always"}
	case TestFilePart:
		return []string{"trust", "from", "tests"}
	case AccessPart:
		return []string{"networks", "hours"}
	case TestPart:
		return []string{"name", "at", "address", "claims", "ask", "expect", "reason", "by"}
	case AskPart:
		return []string{"to", "resource", "scope", "ttl", "trust"}
	}
	return nil
}

// DocumentClaims are the claims of an identity provider's tokens, by the names and
// aliases that documents may use for them; JSON pointers stand for the same.
func (p Provider) DocumentClaims() map[string]Claim {
	s := newClaimSchema(p)
	claims := make(map[string]Claim, len(s.names))
	for _, name := range s.names {
		claims[name] = s.byName[name].table
	}
	return claims
}

package backtest

import (
	"net/netip"
	"time"

	"cambio/trust"
)

// Record is one decision as a journal tells of it.
type Record struct {
	Decision string // its id
	Time     time.Time
	Allowed  bool
	// DryRun says that it was judged only.
	DryRun bool
	// Shadow says that this is what a trust on trial would have done with a request
	// that has a record of its own.
	Shadow       bool
	Reason       trust.Reason // why not; "" when allowed
	Provider     string
	Workload     string
	Subject      string
	Trust        string // the deciding one, or the nearest on a denial
	TrustSHA256  string
	PolicySHA256 string
	Target       string
	Resource     string // as granted when allowed, else as asked; so are Scopes and TTL
	Scopes       []string
	TTL          time.Duration
	Address      netip.Addr
	// Claims are those that the journal keeps of the token; nil where the decision
	// was taken before the token was proven.
	Claims map[string]any
	// Nonce says whether the token carried a nonce of ours, where NonceKnown.
	Nonce, NonceKnown bool
}

// byPolicy reports whether a refusal is the policy's: what else refuses a proven
// token is not for a policy to change.
func byPolicy(reason trust.Reason) bool {
	switch reason { //nolint:exhaustive // the rest is what follows
	case "", trust.ReasonNoMatchingTrust, trust.ReasonConditionFalse, trust.ReasonCELError, trust.ReasonCELBudget,
		trust.ReasonEventNotNamed, trust.ReasonNetwork, trust.ReasonHours, trust.ReasonTrustExpired, trust.ReasonShadowOnly,
		trust.ReasonAmbiguousTrust, trust.ReasonTargetNotGranted, trust.ReasonResourceNotGrant, trust.ReasonScopeNotGranted,
		trust.ReasonScopeMalformed, trust.ReasonClaimMissing, trust.ReasonGrantUnfit, trust.ReasonNonceRequired, trust.ReasonGuardrail:
		return true
	}
	return false
}

// maxWhole is the longest text that a record surely holds whole: the journal cuts
// at 1,024 bytes, before the character that would pass them.
const maxWhole = 1020

// unreadable is what a journal writes for a value that has no place in it.
const unreadable = "(unsupported)"

// whole reports whether a recorded value is the token's. One that may have been
// cut is equal to nothing, and a rule must not hold for it by its beginning.
func whole(v any) bool {
	switch v := v.(type) {
	case string:
		return len(v) <= maxWhole && v != unreadable
	case []any:
		for _, item := range v {
			if !whole(item) {
				return false
			}
		}
	case map[string]any:
		for _, item := range v {
			if !whole(item) {
				return false
			}
		}
	}
	return true
}

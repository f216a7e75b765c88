package trust

import (
	"net/netip"
	"time"
)

// Identity is what a verified subject token proves. Whoever makes one promises
// that signature, issuer, audience and times were checked.
type Identity struct {
	Provider  string    // the identity provider's name in the configuration
	Workload  string    // the workload id, spiffe://TRUST_DOMAIN/PROVIDER/IMMUTABLE-IDS
	Subject   string    // the token's sub
	Issuer    string    // the token's iss
	Audience  string    // the one audience of the provider that the token names
	TokenID   string    // the token's jti, or ""
	IssuedAt  time.Time // iat
	ExpiresAt time.Time // exp, without any clock skew
	Nonce     bool      // the token carries a nonce that we handed out for it
	// Claims holds all claims of the token and the platform's flat aliases.
	// Values are string, bool, int64 (JSON integers that fit), float64 (other
	// numbers), nil, []any and map[string]any. Nothing is coerced.
	Claims map[string]any
}

// Request is what the workload asks for. The zero value of a field means that
// it was not asked for.
type Request struct {
	Target   string
	Resource string
	Trust    string        // the trust that the caller names
	Scopes   []string      // nil: all that the grant gives
	TTL      time.Duration // only narrows
	Address  netip.Addr    // the caller's; invalid when unknown
}

// TokenUse says how often one token may be used. The zero value refuses: no
// provider has it.
type TokenUse string

// The token uses, from tight to loose.
const (
	Once         TokenUse = "once"           // a single exchange
	OncePerGrant TokenUse = "once-per-grant" // one exchange for each (target, resource)
	UntilExpiry  TokenUse = "until-expiry"   // any number, until the token expires
)

// Tighter reports whether u allows less than v.
func (u TokenUse) Tighter(v TokenUse) bool { return u.rank() < v.rank() }

// rank orders the uses; an unknown one is tighter than all, so that it can
// never loosen anything.
func (u TokenUse) rank() int {
	switch u {
	case Once:
		return 1
	case OncePerGrant:
		return 2
	case UntilExpiry:
		return 3
	}
	return 0
}

// Grant is one thing that a trust gives, already narrowed to what was asked.
type Grant struct {
	Target   string
	Resource string   // "" where the target type knows none
	Scopes   []string // in the order of the document; nil where the grant has none
	TTL      time.Duration
	// Claims are the extra claims of a jwt target with ${claims.x} resolved.
	Claims map[string]any
	// Extra are the target type's own fields by name, ${claims.x} resolved: a
	// string for a TemplateField, []string for a StringsField, map[string]string
	// for a TemplatesField, and compact JSON as a string for a DocumentField. What
	// the document does not name is not there.
	Extra map[string]any
}

// Blame says which part of a request a denial is about; the protocol's error
// code follows from it.
type Blame int

// What a denial is about.
const (
	BlameIdentity Blame = iota // the identity may have nothing here, or not now
	BlameTarget                // the identity is known, the target or resource is not granted
	BlameScope                 // the grant fits, the scope does not
)

// Decision is the verdict on one request. The zero value is a denial.
type Decision struct {
	Allow        bool
	Reason       Reason // why not; "" when allowed
	Blame        Blame  // meaningful when not allowed
	Detail       string // for log and explanation, never for the caller
	Trust        string // the deciding trust, or the nearest one on a denial
	TrustSHA256  string // hex, of the document's bytes
	PolicySHA256 string // hex, of the whole policy: documents, providers and targets
	StopVersion  int64  // version of the stop list that was judged with
	Grant        Grant  // meaningful when allowed
	// Claims are the ones that an allowed decision rests on: the anchors, and
	// those that match of the deciding trust names. They go to the journal.
	Claims   map[string]any
	TokenUse TokenUse
	// Mark asks for a use of an until-expiry token to be remembered all the
	// same, because another trust of the provider is tighter.
	Mark bool
	// Shadow names the trusts in mode shadow that would have allowed this.
	Shadow []string
}

// Package exchange tells the story of a request: a workload shows the identity
// that it already has and gets, once, on the record and by policy, a narrow
// credential that lives a short time (RFC 8693).
//
// [Broker.Exchange] is that story, a verb a line. Everything that it needs from
// outside, it is handed through the small interfaces in ports.go; it knows no
// transport, no store and no cloud.
package exchange

import (
	"context"
	"crypto/x509"
	"errors"
	"io"
	"log/slog"
	"time"

	"cambio/audit"
	"cambio/issuer"
	"cambio/trust"
)

// Request is one exchange as it is asked for. Bounds on size and form were
// checked before: see [CheckBounds].
type Request struct {
	Decision     string // the decision's id, which the answer carries too; see [NewID]
	SubjectToken string
	SubjectType  SubjectType
	Certificates []*x509.Certificate // of the caller's TLS connection; nobody has verified them
	Ask          trust.Request
	// Certify is what the workload wants certified, as it sent it, and Certifies what
	// it says that this is; both "" for most targets.
	Certify        string
	Certifies      Certifies
	CredentialType string // requested_token_type, or ""
	DryRun         bool   // judge only; nothing is reserved or issued
	// RefusedAs is the code for a token that is refused itself: InvalidGrant where
	// it came as an assertion, InvalidClient as a client's; "": InvalidRequest.
	RefusedAs Code
}

// Result is an allowed exchange.
type Result struct {
	Decision   string
	Credential Credential // zero after a dry run
	Scopes     []string
	ExpiresIn  time.Duration // whole seconds, at least one
	DryRun     bool
}

// Config is what a Broker works with. All fields but Nonces and Limiter are
// required.
type Config struct {
	Verifier Verifier
	Policy   func() *trust.Policy // the policy in force; never nil
	Targets  map[string]Target
	Replay   Replay
	Journal  Journal
	Stops    Stops
	Nonces   Nonces  // nil: a token that carries a nonce of ours is refused
	Limiter  Limiter // nil: workloads are not limited
	Issuer   *issuer.Issuer
	Now      func() time.Time
	Rand     io.Reader
	Log      *slog.Logger
}

// Broker exchanges tokens for credentials. It is safe for concurrent use.
type Broker struct{ c Config }

// New returns a Broker, or an error that names what Config lacks: a broker
// without one of its parts would have to guess, and it never guesses.
func New(c Config) (*Broker, error) {
	for _, part := range []struct {
		name    string
		missing bool
	}{
		{"Verifier", c.Verifier == nil},
		{"Policy", c.Policy == nil},
		{"Targets", c.Targets == nil},
		{"Replay", c.Replay == nil},
		{"Journal", c.Journal == nil},
		{"Stops", c.Stops == nil},
		{"Issuer", c.Issuer == nil},
		{"Now", c.Now == nil},
		{"Rand", c.Rand == nil},
		{"Log", c.Log == nil},
	} {
		if part.missing {
			return nil, errors.New("exchange: Config lacks " + part.name)
		}
	}
	return &Broker{c: c}, nil
}

// Exchange takes one request all the way. It returns a Result only when the
// decision that allows it is durable in the journal; every other end is an
// [*Error], and it is recorded too.
//
// Once the token is reserved, a caller who hangs up changes nothing: the
// exchange runs to its end, so that the journal always tells it.
func (b *Broker) Exchange(ctx context.Context, req Request) (res *Result, err error) {
	a := b.open(req)
	defer func() {
		if v := recover(); v != nil {
			res, err = nil, b.refuse(ctx, a, fault(v))
		}
	}()
	if err := b.identify(ctx, a); err != nil {
		return nil, b.refuse(ctx, a, err)
	}
	if err := b.judge(a); err != nil {
		return nil, b.refuse(ctx, a, err)
	}
	if req.DryRun {
		return b.rehearse(ctx, a)
	}
	ctx = context.WithoutCancel(ctx)
	if err := b.reserve(ctx, a); err != nil {
		return nil, b.refuse(ctx, a, err)
	}
	if err := b.commit(ctx, a); err != nil {
		return nil, b.refuse(ctx, a, err)
	}
	cred, err := b.mint(ctx, a)
	if err != nil {
		return nil, b.refuse(ctx, a, err)
	}
	return b.deliver(ctx, a, cred)
}

// attempt is one exchange on its way: what was asked, and what is known so far.
type attempt struct {
	req       Request
	rec       audit.Record // of the decision, filled as things become known
	proof     Proof
	nonce     string        // the key of the nonce that the token carries, or ""
	policy    *trust.Policy // the snapshot that decision rests on
	decision  trust.Decision
	target    Target
	order     Order
	reserved  *Reservation // set while a use of the token is held
	committed bool         // the decision is durable: from here on a fault is exchange.failed
}

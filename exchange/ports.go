package exchange

import (
	"context"
	"crypto/x509"
	"time"

	"cambio/audit"
	"cambio/trust"
)

// Proof is what a verified token proves, and what the rule of its use needs.
type Proof struct {
	trust.Identity
	ReplayKey string        // base64url SHA-256 over what tells this proof from any other, never over a text that has other spellings
	ClockSkew time.Duration // the identity provider's
	Nonce     string        // a nonce that claims to be ours, not opened yet; or ""
}

// Nonces opens the nonces that we handed out: a token that carries one was made
// after we were asked, and for us. Open returns the key that its one use is
// reserved under. An error means that it is none of ours, is older than it may
// be, or is for another identity provider.
type Nonces interface {
	Open(nonce, provider string, now time.Time) (key string, err error)
}

// SubjectType says how the subject token of a request is read.
type SubjectType string

// The types. The zero value is a JWT.
const (
	SubjectJWT SubjectType = ""
	// SubjectAWS is a signed request of AWS's Security Token Service that only its
	// signer can have made (GetCallerIdentity), for us to send.
	SubjectAWS SubjectType = "urn:ietf:params:aws:token-type:aws4_request"
	// SubjectMTLS is the certificate of the connection; the token says nothing.
	SubjectMTLS SubjectType = "urn:cambio:token-type:mtls"
)

// Subject is what a workload shows of itself.
type Subject struct {
	Type  SubjectType
	Token string
	// Certificates are those that the client showed on its TLS connection, its own
	// first. That it holds the key is proven; who vouches for it is not.
	Certificates []*x509.Certificate
}

// Verifier proves what a workload shows. It chooses the identity provider from
// configuration, a token's by exact (iss, aud), and uses that provider's keys
// only.
//
// The error is an [*Error]. With one, Provider is set as soon as it is chosen
// and the rest of the Proof only when the signature is proven, so that the
// record can say whose token it was.
type Verifier interface {
	Verify(ctx context.Context, s Subject) (Proof, error)
}

// Reservation asks the replay store for one use of a token.
type Reservation struct {
	Key      string         // Proof.ReplayKey
	Decision string         // the value that a release compares
	Member   string         // the (target, resource) of this use
	Use      trust.TokenUse // Once needs the record empty and closes it; OncePerGrant needs Member absent; UntilExpiry only leaves a mark
	TTL      time.Duration  // how long it must be remembered
	Nonce    string         // key of the nonce that the token carries, used up in the same step; or ""
	// IssuedAt and ClockSkew let a store that lost its memory refuse what it may
	// have forgotten.
	IssuedAt  time.Time
	ClockSkew time.Duration
}

// Replay remembers the uses of tokens. Reserve is one atomic step. It reports
// false where the token was used before, and an error where the store did not
// answer: then nothing may be issued. Release undoes the use that this decision
// reserved, and nothing else.
type Replay interface {
	Reserve(ctx context.Context, r Reservation) (bool, error)
	Release(ctx context.Context, r Reservation) error
}

// Journal records decisions. Commit returns nil only when the record is durable.
// Append returns when the record is queued; an error from either means that the
// journal is out of order and nothing may be issued.
type Journal interface {
	Commit(ctx context.Context, r audit.Record) error
	Append(r audit.Record) error
}

// Stops gives the stop list in force. An error means that it is missing or too
// old to be relied on.
type Stops interface {
	Current(now time.Time) (trust.StopSet, error)
}

// Minter makes a target's credential. When it fails, the error says through
// [*Error] whether the target answered that it issued nothing; its text goes to
// log and journal, so it holds nothing secret.
type Minter interface {
	Mint(ctx context.Context, o Order) (Credential, error)
}

// Limiter bounds how often one workload may exchange. It returns how long to
// wait, or 0 when the exchange may go on.
type Limiter interface {
	Take(workload string, now time.Time) time.Duration
}

package audit

import "time"

// Event says what a record is about. The event of an exchange is its verdict.
type Event string

// The events of the journal.
const (
	ExchangeAllowed Event = "exchange.allowed" // decided and durable; nothing is minted before it
	ExchangeDenied  Event = "exchange.denied"  // refused, or unavailable before the decision was durable
	ExchangePending Event = "exchange.pending" // waits for an approval
	ExchangeMinted  Event = "exchange.minted"  // the outcome of an allowed exchange
	ExchangeFailed  Event = "exchange.failed"  // a fault after the decision; Replay says "released" or "burnt"
	ExchangeDryRun  Event = "exchange.dry-run" // judged only; Reason says why not, if not
	ExchangeSummary Event = "exchange.summary" // Count more refusals for Reason, beyond 100 a minute
	KeyPublished    Event = "keys.published"   // Claims holds the public JWK, here and below
	KeyActivated    Event = "keys.activated"
	KeyRetired      Event = "keys.retired"
	KeyRevoked      Event = "keys.revoked"
	PolicyLoaded    Event = "policy.loaded"
	PolicyRejected  Event = "policy.rejected"
	StopAdded       Event = "stop.added"
	StopLifted      Event = "stop.lifted"
	Checkpoint      Event = "checkpoint"
)

// Record is one line of the journal. Fields that do not apply to the event stay
// zero and are left out of the line. ID, Seq, Time, Replica and Prev are the
// journal's to set. No field ever holds a token: TokenSHA256 stands for it.
type Record struct {
	ID           string         `json:"id"`                      // of this record, UUIDv7
	Seq          int64          `json:"seq"`                     // 1, 2, 3, ... without a gap, for one replica
	Time         time.Time      `json:"time"`                    // RFC 3339, UTC, nanoseconds
	Replica      string         `json:"replica"`                 // which process wrote it
	Event        Event          `json:"event"`                   //
	Decision     string         `json:"decision,omitempty"`      // the decision's id, as the caller saw it
	Reason       string         `json:"reason,omitempty"`        // a reason slug; for a stop the operator's words
	Provider     string         `json:"provider,omitempty"`      // identity provider
	Workload     string         `json:"workload,omitempty"`      // workload id; the sub of a JWT of ours
	Subject      string         `json:"subject,omitempty"`       // sub of the subject token
	Trust        string         `json:"trust,omitempty"`         //
	TrustSHA256  string         `json:"trust_sha256,omitempty"`  // hex
	PolicySHA256 string         `json:"policy_sha256,omitempty"` // hex
	Target       string         `json:"target,omitempty"`        //
	Resource     string         `json:"resource,omitempty"`      //
	Scope        string         `json:"scope,omitempty"`         // separated by spaces
	TTL          int64          `json:"ttl,omitempty"`           // seconds
	TokenSHA256  string         `json:"token_sha256,omitempty"`  // hex, of the token as it came
	Replay       *Replay        `json:"replay,omitempty"`        // see Replay
	Address      string         `json:"address,omitempty"`       // the caller's
	Claims       map[string]any `json:"claims,omitempty"`        // allow-listed claims; a public JWK for keys.*
	Handle       string         `json:"handle,omitempty"`        // public handle: jti of a JWT of ours; a stop's id; KID.SIGNATURE of a checkpoint
	Expires      time.Time      `json:"expires,omitzero"`        // when the credential, or the stop, ends
	Count        int64          `json:"count,omitempty"`         // of a summary; version of the stop list for stop.*
	Prev         string         `json:"prev"`                    // hex SHA-256 of the line before, without its newline
}

// Replay says what a record means for use-once. An allowed exchange carries the
// Use that was reserved, so that a restart can remember it again; a failed one
// carries its Outcome; the checkpoints at a segment's end carry Remembered, the
// unexpired uses of all segments so far.
type Replay struct {
	Use
	Nonce      string `json:"nonce,omitempty"`   // key of the nonce that was used up with it, in the form of Key
	Outcome    string `json:"outcome,omitempty"` // "released" or "burnt"
	Remembered []Use  `json:"remembered,omitempty"`
}

// Use is one reserved use of a token.
type Use struct {
	Key      string    `json:"key,omitempty"`     // base64url SHA-256 over issuer and jti, or issuer and payload
	Decision string    `json:"by,omitempty"`      // the decision that reserved it
	Members  []string  `json:"members,omitempty"` // the (target, resource) pairs it was used for
	Closed   bool      `json:"closed,omitempty"`  // no further use of any kind
	Until    time.Time `json:"until,omitzero"`    // when it may be forgotten
}

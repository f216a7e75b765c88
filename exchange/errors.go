package exchange

import (
	"fmt"
	"time"

	"cambio/trust"
)

// Code is what a refusal means for the caller, in the words of RFC 6749 section
// 5.2 and RFC 8693 section 2.2.2. Package web has the one table that turns it
// into HTTP.
type Code string

// The codes. The zero value is taken as ServerError.
const (
	InvalidRequest       Code = "invalid_request"
	InvalidTarget        Code = "invalid_target"
	InvalidScope         Code = "invalid_scope"
	InvalidGrant         Code = "invalid_grant"  // a refused assertion
	InvalidClient        Code = "invalid_client" // a refused client assertion
	UnsupportedGrantType Code = "unsupported_grant_type"
	Unavailable          Code = "temporarily_unavailable" // a dependency that the answer rests on did not answer
	Limited              Code = "limited"                 // too many requests
	ServerError          Code = "server_error"            // a fault of ours
)

// Error is every refusal of the gateway. Reason goes to the journal; Err goes to
// the log, with anything secret already taken out by whoever made it; neither
// leaves the gateway. Tell, where set, is the one sentence beyond the fixed one
// that the caller may read, and only a proven token earns it.
type Error struct {
	Code       Code
	Reason     trust.Reason
	Err        error
	Tell       string
	Hint       string        // which claim failed, by name, for a token that proves a trust's anchors; see [trust.Policy.Hint]
	RetryAfter time.Duration // with Unavailable and Limited
	Issued     bool          // of a Minter: the target may have issued something all the same
}

func (e *Error) Error() string {
	if e.Err != nil {
		return fmt.Sprintf("%s: %v", e.Reason, e.Err)
	}
	return string(e.Reason)
}

func (e *Error) Unwrap() error { return e.Err }

// Refuse is an invalid_request for this reason. err may be nil.
func Refuse(r trust.Reason, err error) *Error {
	return &Error{Code: InvalidRequest, Reason: r, Err: err}
}

// Unanswered says that a dependency did not answer: try again later.
func Unanswered(r trust.Reason, err error) *Error {
	return &Error{Code: Unavailable, Reason: r, Err: err, RetryAfter: retryAfter}
}

// retryAfter is what a caller is asked to wait when a dependency is down: long
// enough not to add to its load, short enough for a CI job to survive it.
const retryAfter = 5 * time.Second

// Package replay remembers the uses of tokens, so that none is used more often
// than its rule. A store either answers, or nothing may be issued.
package replay

import (
	"errors"
	"fmt"
	"time"
)

// How often a token may be used, as the values of Reservation.Use.
const (
	Once         = "once"           // a single exchange
	OncePerGrant = "once-per-grant" // one exchange for each member
	UntilExpiry  = "until-expiry"   // any number; a mark stays, so that a later Once is refused
)

// Reservation asks for one use of a token.
type Reservation struct {
	Key      string        // base64url SHA-256, without padding
	Decision string        // a UUID: what a release compares
	Member   string        // the (target, resource) of this use
	Use      string        // Once, OncePerGrant or UntilExpiry; anything else is an error
	TTL      time.Duration // how long it must be remembered, above zero
	// Nonce is the key of a nonce that the token carries, in the form of Key, or
	// "". Its one use is taken in the same atomic step, all or none.
	Nonce string
	// IssuedAt is the token's iat and ClockSkew how far it may be off: a store that
	// lost its memory must refuse tokens that it may have forgotten.
	IssuedAt  time.Time
	ClockSkew time.Duration
}

// Record is what is remembered of one decision's use of a token. A token that
// several decisions used has several; one without a Decision was used by more
// than one for the same member, and can no longer be released.
type Record struct {
	Key      string
	Decision string
	Members  []string
	Closed   bool      // no further use of any kind
	Until    time.Time // when it may be forgotten
}

var (
	// ErrFull says that the store holds as many tokens as it may.
	ErrFull = errors.New("replay: the store is full")
	// ErrInvalid says that a reservation or a record is malformed.
	ErrInvalid = errors.New("replay: invalid reservation")
)

// parse reads a reservation strictly.
func (r Reservation) parse() (key, nonce tokenKey, decision decisionID, err error) {
	if key, nonce, decision, err = r.parseRelease(); err != nil {
		return key, nonce, decision, err
	}
	if r.Use != Once && r.Use != OncePerGrant && r.Use != UntilExpiry {
		return key, nonce, decision, fmt.Errorf("%w: use %.20q", ErrInvalid, r.Use)
	}
	// A token that need not be remembered any more has expired.
	if r.TTL <= 0 || decision == (decisionID{}) {
		return key, nonce, decision, fmt.Errorf("%w: TTL or Decision", ErrInvalid)
	}
	return key, nonce, decision, nil
}

// parseRelease reads what a release needs of a reservation.
func (r Reservation) parseRelease() (key, nonce tokenKey, decision decisionID, err error) {
	if key, decision, err = parse(r.Key, r.Decision); err != nil || r.Nonce == "" {
		return key, nonce, decision, err
	}
	nonce, _, err = parse(r.Nonce, "")
	return key, nonce, decision, err
}

// nonceTTL is how long the use of a nonce is remembered: as long as any replica
// may still open it, for the next token that carries it may live longer than this
// one.
func (r Reservation) nonceTTL() time.Duration { return max(r.TTL, NonceLife+2*nonceSkew) }

package oidc

import (
	"context"
	"crypto"
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"log/slog"
	"sync"
	"sync/atomic"
	"time"

	"cambio/exchange"
	"cambio/trust"
)

const (
	// fresh is how long a key set is used at most without asking for a newer one; see
	// [source.due].
	fresh = 10 * time.Minute
	// stale is how long it is used at all while newer ones cannot be had. A
	// provider that withdraws a stolen key is obeyed within it.
	stale = time.Hour
	// fetchEvery is the shortest time between two fetches for one provider, of
	// whatever cause, so that a caller whose token is not proven cannot make us
	// call oftener. A failure is remembered as long.
	fetchEvery = 30 * time.Second
)

// source keeps the key set of one provider. It is safe for concurrent use, and
// a lookup of a known key never waits where the set is not stale, and takes no
// lock where it is fresh.
//
// It is a go-oidc KeySet: see [source.VerifySignature].
type source struct {
	provider string
	fetch    func(ctx context.Context) (*keySet, *exchange.Error) // nil: the set is pinned
	now      func() time.Time
	log      *slog.Logger
	observe  func(provider string, failure trust.Reason)

	current atomic.Pointer[snapshot]

	mu      sync.Mutex
	began   time.Time       // when the last fetch began; zero: never
	flight  chan struct{}   // closed when the fetch in flight ends; nil: none
	failure *exchange.Error // of the last fetch; nil: it succeeded
}

// snapshot is a key set, when it was fetched, and how long it is used without
// asking for a newer one.
type snapshot struct {
	*keySet
	fetched time.Time
	fresh   time.Duration
}

// key returns the key that a token with this header was signed by. It fetches
// the set at most once, and only where no usable set knows the key.
func (s *source) key(ctx context.Context, kid, alg string) (crypto.PublicKey, *exchange.Error) {
	public, err := s.known(ctx, kid, alg)
	if public != nil || err != nil {
		return public, err
	}
	if s.fetch == nil {
		return nil, s.unknown(kid)
	}
	// Without a flight to wait for, one may have ended since the set was looked
	// into, so it is looked into once more either way.
	if flight := s.start(ctx); flight != nil {
		select {
		case <-flight:
		case <-ctx.Done():
			return nil, exchange.Unanswered(trust.ReasonJWKSUnavailable, ctx.Err())
		}
	}
	public, err = s.known(ctx, kid, alg)
	if public != nil || err != nil {
		return public, err
	}
	return nil, s.missing(kid)
}

// known looks into the set in force. Both results nil: there is none, it is
// stale, or it does not know the key.
func (s *source) known(ctx context.Context, kid, alg string) (crypto.PublicKey, *exchange.Error) {
	snap, ok := s.usable(ctx)
	if !ok {
		return nil, nil
	}
	return snap.find(kid, alg)
}

// usable is the set in force; false: there is none, or it is too old. Where it is
// no longer fresh, a fetch begins that nobody waits for.
func (s *source) usable(ctx context.Context) (*snapshot, bool) {
	snap := s.current.Load()
	if snap == nil || s.fetch == nil {
		return snap, snap != nil
	}
	age := s.now().Sub(snap.fetched)
	if age > stale {
		return nil, false
	}
	if age > snap.fresh {
		s.start(ctx)
	}
	return snap, true
}

// missing is the refusal for a key that is not known and may not be fetched
// now. It blames the provider where that did not answer.
func (s *source) missing(kid string) *exchange.Error {
	failure := s.failed()
	snap := s.current.Load()
	switch {
	case snap == nil && failure == nil:
		return exchange.Unanswered(trust.ReasonJWKSUnavailable, errors.New("the key set was not fetched yet"))
	case snap == nil:
		return failure
	case s.now().Sub(snap.fetched) > stale:
		return exchange.Unanswered(trust.ReasonJWKSStale, errors.New("the key set is too old to be used"))
	case failure != nil:
		return failure
	}
	return s.unknown(kid)
}

// failed is why the last fetch brought nothing; nil: it did.
func (s *source) failed() *exchange.Error {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.failure
}

func (s *source) unknown(kid string) *exchange.Error {
	return exchange.Refuse(trust.ReasonKidUnknown, errors.New("kid "+cut(kid, 64)))
}

// start begins a fetch, or joins the one in flight, and returns a channel that
// is closed when it ends. nil: the last one is too recent. The fetch does not
// end with the request that caused it, which may be gone by then while others
// wait for it.
func (s *source) start(ctx context.Context) <-chan struct{} {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.flight != nil {
		return s.flight
	}
	now := s.now()
	// A clock that was set back must not forbid fetches until it is forward
	// again.
	if since := now.Sub(s.began); !s.began.IsZero() && since >= 0 && since < fetchEvery {
		return nil
	}
	s.began = now
	flight := make(chan struct{})
	s.flight = flight
	go s.refresh(context.WithoutCancel(ctx), flight)
	return flight
}

// refresh fetches the set and, if it is good, puts it in force.
func (s *source) refresh(ctx context.Context, flight chan<- struct{}) {
	set, failure := s.guarded(ctx)
	if failure == nil {
		failure = s.rolledBack(set)
	}
	reason := trust.Reason("")
	if failure != nil {
		reason = failure.Reason
		s.log.ErrorContext(ctx, "the key set of an identity provider could not be fetched",
			slog.String("provider", s.provider), slog.String("reason", string(reason)), slog.String("error", failure.Error()))
	} else {
		if old := s.current.Load(); old != nil && !old.shares(set) {
			// Keys overlap when a provider rotates them; a wholly new set is an
			// emergency there, or someone else's.
			s.log.WarnContext(ctx, "the key set of an identity provider holds none of its known keys",
				slog.String("provider", s.provider))
		}
		s.current.Store(&snapshot{keySet: set, fetched: s.now(), fresh: s.due(set.freshFor())})
	}
	if s.observe != nil {
		s.observe(s.provider, reason)
	}
	s.mu.Lock()
	s.failure, s.flight = failure, nil
	s.mu.Unlock()
	close(flight)
}

// due is when a newer set is asked for: after four to five fifths of the time that
// one is fresh, by the provider's name. A thousand providers that were all first
// needed after a start would else be asked again all at once, for ever. A minute is
// never cut: whoever publishes a bundle is asked no oftener.
func (s *source) due(fresh time.Duration) time.Duration {
	const spread = 5
	digest := sha256.Sum256([]byte(s.provider))
	share := float64(binary.BigEndian.Uint32(digest[:])) / (1 << 32)
	return max(fresh-time.Duration(share*float64(fresh/spread)), min(fresh, minRefresh))
}

// guarded fetches the set and turns a panic into a failure: a document that
// trips a parser must not take the other providers down with its own.
func (s *source) guarded(ctx context.Context) (set *keySet, failure *exchange.Error) {
	defer func() {
		if r := recover(); r != nil {
			set, failure = nil, exchange.Unanswered(trust.ReasonJWKSUnavailable, errors.New("a fault of ours while reading the key set"))
		}
	}()
	return s.fetch(ctx)
}

// attempt is one verification. It travels through go-oidc to the key set in the
// context, so that the token is parsed once and the key set's error, which
// go-oidc flattens to text, comes back whole.
type attempt struct {
	token  *token
	proven bool
	err    *exchange.Error
}

type attemptKey struct{}

// VerifySignature implements the KeySet of go-oidc: it returns the payload only
// when the token's signature is valid. It verifies the token of the attempt in
// ctx, and none without one.
func (s *source) VerifySignature(ctx context.Context, raw string) ([]byte, error) {
	a, _ := ctx.Value(attemptKey{}).(*attempt)
	if a == nil || a.token.raw != raw {
		return nil, errors.New("the key set was asked for another token")
	}
	public, refusal := s.key(ctx, a.token.kid, a.token.alg)
	if refusal != nil {
		a.err = refusal
		return nil, refusal
	}
	if err := verifySignature(a.token.alg, public, a.token.signed, a.token.sig); err != nil {
		a.err = exchange.Refuse(trust.ReasonSignature, err)
		return nil, err
	}
	a.proven = true
	return a.token.payload, nil
}

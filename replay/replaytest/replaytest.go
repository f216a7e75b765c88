// Package replaytest holds the promises that every replay store must keep.
package replaytest

import (
	"context"
	"crypto/sha256"
	"encoding/base64"
	"fmt"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"cambio/replay"
)

// Store is what is tested.
type Store interface {
	Reserve(ctx context.Context, r replay.Reservation) (bool, error)
	Release(ctx context.Context, r replay.Reservation) error
}

// Key is a replay key for a token called name.
func Key(name string) string {
	sum := sha256.Sum256([]byte(name))
	return base64.RawURLEncoding.EncodeToString(sum[:])
}

// Decision is a decision's id.
func Decision(n int) string { return fmt.Sprintf("01990000-0000-7000-8000-%012x", n) }

// step is one call and what it must answer.
type step struct {
	token    string // another than the test's own
	nonce    string
	release  bool
	decision int
	member   string
	use      string
	want     bool
}

func reserve(decision int, use, member string, want bool) step {
	return step{decision: decision, use: use, member: member, want: want}
}

func release(decision int, use, member string) step { //nolint:unparam // it reads like its sisters
	return step{release: true, decision: decision, use: use, member: member}
}

// with is a step of another token, or with a nonce.
func (s step) with(token, nonce string) step {
	s.token, s.nonce = token, nonce
	return s
}

// reservation is one that no store has a reason to refuse: it has just been issued.
func reservation(token, nonce string, decision int, member, use string) replay.Reservation {
	r := replay.Reservation{Key: Key(token), Decision: Decision(decision), Member: member, Use: use, TTL: time.Hour, IssuedAt: time.Now()}
	if nonce != "" {
		r.Nonce = Key("nonce " + nonce)
	}
	return r
}

// Run tests a store; open returns one that knows none of the tokens that the
// tests use, and each test has its own.
func Run(t *testing.T, open func(t *testing.T) Store) {
	t.Helper()
	const a, b = "aws-prod arn:aws:iam::1:role/a", "orders-api"
	tests := []struct {
		name  string
		steps []step
	}{
		{"once is once", []step{
			reserve(1, replay.Once, a, true),
			reserve(2, replay.Once, a, false),
			reserve(3, replay.Once, b, false),
			reserve(4, replay.OncePerGrant, b, false),
			reserve(5, replay.UntilExpiry, b, false),
		}},
		{"once for the same decision is once too", []step{
			reserve(1, replay.Once, a, true),
			reserve(1, replay.Once, a, false),
		}},
		{"once per grant", []step{
			reserve(1, replay.OncePerGrant, a, true),
			reserve(2, replay.OncePerGrant, b, true),
			reserve(3, replay.OncePerGrant, a, false),
			reserve(4, replay.OncePerGrant, b, false),
			reserve(5, replay.Once, "another", false),
		}},
		{"until expiry is never refused for its member, and leaves a mark", []step{
			reserve(1, replay.UntilExpiry, a, true),
			reserve(2, replay.UntilExpiry, a, true),
			reserve(3, replay.UntilExpiry, b, true),
			reserve(4, replay.Once, a, false),
			reserve(5, replay.Once, "another", false),
			reserve(6, replay.OncePerGrant, a, false),
			reserve(7, replay.OncePerGrant, "another", true),
		}},
		{"a release gives the token back", []step{
			reserve(1, replay.Once, a, true),
			release(1, replay.Once, a),
			reserve(2, replay.Once, a, true),
			reserve(3, replay.Once, a, false),
		}},
		{"a release by another decision gives nothing back", []step{
			reserve(1, replay.Once, a, true),
			release(2, replay.Once, a),
			reserve(3, replay.Once, a, false),
		}},
		{"a refused decision cannot release the one that was allowed", []step{
			reserve(1, replay.OncePerGrant, a, true),
			reserve(2, replay.OncePerGrant, a, false),
			release(2, replay.OncePerGrant, a),
			reserve(3, replay.OncePerGrant, a, false),
		}},
		{"a release takes its own grant only", []step{
			reserve(1, replay.OncePerGrant, a, true),
			reserve(2, replay.OncePerGrant, b, true),
			release(1, replay.OncePerGrant, a),
			reserve(3, replay.OncePerGrant, b, false),
			reserve(4, replay.OncePerGrant, a, true),
			reserve(5, replay.Once, a, false),
		}},
		{"the mark of two decisions outlives the release of either", []step{
			reserve(1, replay.UntilExpiry, a, true),
			reserve(2, replay.UntilExpiry, a, true),
			release(1, replay.UntilExpiry, a),
			reserve(3, replay.Once, a, false),
			release(2, replay.UntilExpiry, a),
			reserve(4, replay.OncePerGrant, a, false),
		}},
		{"a mark that is released is gone", []step{
			reserve(1, replay.UntilExpiry, a, true),
			release(1, replay.UntilExpiry, a),
			reserve(2, replay.Once, a, true),
		}},
		{"to release what was never reserved is nothing", []step{
			release(1, replay.Once, a),
			reserve(2, replay.Once, a, true),
		}},
		{"a nonce is used once, by whatever token", []step{
			reserve(1, replay.UntilExpiry, a, true).with("", "n"),
			reserve(2, replay.UntilExpiry, a, false).with("", "n"),
			reserve(3, replay.UntilExpiry, a, false).with(" another", "n"),
			reserve(4, replay.Once, a, true).with(" another", "m"),
		}},
		{"a nonce that is refused leaves its token", []step{
			reserve(1, replay.Once, a, true).with("", "n"),
			reserve(2, replay.Once, a, false).with(" another", "n"),
			reserve(3, replay.Once, a, true).with(" another", "m"),
		}},
		{"a release gives back token and nonce", []step{
			reserve(1, replay.Once, a, true).with("", "n"),
			release(2, replay.Once, a).with("", "n"),
			reserve(3, replay.Once, a, false).with(" another", "n"),
			release(1, replay.Once, a).with("", "n"),
			reserve(4, replay.Once, a, true).with("", "n"),
			reserve(5, replay.Once, a, false).with(" another", "n"),
		}},
		{"a second release does not touch the next use", []step{
			reserve(1, replay.Once, a, true),
			release(1, replay.Once, a),
			reserve(2, replay.Once, a, true),
			release(1, replay.Once, a),
			reserve(3, replay.Once, a, false),
		}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			store := open(t)
			for i, s := range tt.steps {
				nonce := s.nonce
				if nonce != "" {
					nonce += tt.name
				}
				r := reservation(tt.name+s.token, nonce, s.decision, s.member, s.use)
				if s.release {
					if err := store.Release(t.Context(), r); err != nil {
						t.Fatalf("step %d: release: %v", i, err)
					}
					continue
				}
				got, err := store.Reserve(t.Context(), r)
				if err != nil || got != s.want {
					t.Fatalf("step %d: reserve %s for %q = %t, %v; want %t", i, s.use, s.member, got, err, s.want)
				}
			}
		})
	}
	t.Run("tokens are independent", func(t *testing.T) {
		store := open(t)
		for i := range 10 {
			r := reservation(fmt.Sprint("token ", i), "", 1, a, replay.Once)
			if ok, err := store.Reserve(t.Context(), r); !ok || err != nil {
				t.Fatalf("token %d: %t, %v", i, ok, err)
			}
		}
	})
	t.Run("malformed", func(t *testing.T) { malformed(t, open(t)) })
	t.Run("concurrent", func(t *testing.T) { concurrent(t, open(t)) })
	t.Run("concurrent nonces", func(t *testing.T) { concurrentNonces(t, open(t)) })
}

// concurrentNonces tries many tokens with few nonces at once, in both orders of
// their locks.
func concurrentNonces(t *testing.T, store Store) {
	t.Helper()
	const tokens, nonces = 100, 10
	var allowed atomic.Int64
	var wg sync.WaitGroup
	begin := make(chan struct{})
	for i := range tokens {
		wg.Go(func() {
			<-begin
			// A token's name may be another's nonce, as far as the locks go.
			r := reservation(fmt.Sprint("carrier ", i), "", i+1, "m", replay.Once)
			r.Nonce = Key(fmt.Sprint("carried ", i%nonces))
			ok, err := store.Reserve(t.Context(), r)
			if err != nil {
				t.Error(err)
			}
			if ok {
				allowed.Add(1)
				return
			}
			// What was refused left no trace of its token.
			r.Nonce = ""
			if ok, err := store.Reserve(t.Context(), r); !ok || err != nil {
				t.Errorf("after a used nonce: %t, %v", ok, err)
			}
		})
	}
	close(begin)
	wg.Wait()
	if got := allowed.Load(); got != nonces {
		t.Errorf("%d nonces were taken, want %d", got, nonces)
	}
}

func malformed(t *testing.T, store Store) {
	t.Helper()
	valid := reservation("malformed", "malformed", 1, "m", replay.Once)
	for _, tt := range []struct {
		name   string
		change func(*replay.Reservation)
	}{
		{"no key", func(r *replay.Reservation) { r.Key = "" }},
		{"a short key", func(r *replay.Reservation) { r.Key = r.Key[:42] }},
		{"a key in another alphabet", func(r *replay.Reservation) { r.Key = "+" + r.Key[1:] }},
		{"a padded key", func(r *replay.Reservation) { r.Key += "=" }},
		{"a line break in the key", func(r *replay.Reservation) { r.Key += "\n" }},
		{"a key with loose trailing bits", func(r *replay.Reservation) { r.Key = r.Key[:42] + "_" }},
		{"a short nonce", func(r *replay.Reservation) { r.Nonce = r.Nonce[:42] }},
		{"a nonce with loose trailing bits", func(r *replay.Reservation) { r.Nonce = r.Nonce[:42] + "_" }},
		{"no decision", func(r *replay.Reservation) { r.Decision = "" }},
		{"not a decision", func(r *replay.Reservation) { r.Decision = "one" }},
		{"a decision in upper case", func(r *replay.Reservation) { r.Decision = "01990000-0000-7000-8000-00000000000A" }},
		{"no use", func(r *replay.Reservation) { r.Use = "" }},
		{"an unknown use", func(r *replay.Reservation) { r.Use = "ONCE" }},
		{"nothing to remember", func(r *replay.Reservation) { r.TTL = 0 }},
		{"the past", func(r *replay.Reservation) { r.TTL = -time.Second }},
	} {
		r := valid
		tt.change(&r)
		if ok, err := store.Reserve(t.Context(), r); ok || err == nil {
			t.Errorf("%s: %t, %v; want an error", tt.name, ok, err)
		}
	}
	if ok, err := store.Reserve(t.Context(), valid); !ok || err != nil {
		t.Errorf("the valid one behind them: %t, %v", ok, err)
	}
}

// concurrent tries one token from many sides at once.
func concurrent(t *testing.T, store Store) {
	t.Helper()
	for _, tt := range []struct {
		use     string
		members int
		want    int64
	}{
		{replay.Once, 1, 1},
		{replay.Once, 5, 1},
		{replay.OncePerGrant, 5, 5},
		{replay.UntilExpiry, 5, 100},
	} {
		var allowed atomic.Int64
		var wg sync.WaitGroup
		begin := make(chan struct{})
		for i := range 100 {
			wg.Go(func() {
				<-begin
				ok, err := store.Reserve(t.Context(), reservation(fmt.Sprint("concurrent ", tt.use, tt.members), "",
					i+1, fmt.Sprint("member ", i%tt.members), tt.use))
				if err != nil {
					t.Error(err)
				}
				if ok {
					allowed.Add(1)
				}
			})
		}
		close(begin)
		wg.Wait()
		if got := allowed.Load(); got != tt.want {
			t.Errorf("%s with %d members: %d were allowed, want %d", tt.use, tt.members, got, tt.want)
		}
	}
}

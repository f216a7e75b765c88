package issuer_test

import (
	"crypto/rand"
	"encoding/json"
	"errors"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"cambio/issuer"
)

// states says which key of the ring is what, by a letter for each key: a, b, ...
// in the order in which they were first seen.
func states(r issuer.Ring, alg issuer.Alg, names map[string]string) map[string]issuer.State {
	out := make(map[string]issuer.State)
	for _, k := range r.Keys {
		if k.Alg != alg {
			continue
		}
		id := string(alg) + k.KID
		if names[id] == "" {
			n := 0
			for other := range names {
				if other[:5] == string(alg) {
					n++
				}
			}
			names[id] = string(rune('a' + n))
		}
		out[names[id]] = k.State
	}
	return out
}

func TestRotate(t *testing.T) {
	names := make(map[string]string)
	r := ring()
	expect := func(what string, r issuer.Ring, want map[string]issuer.State) {
		t.Helper()
		for _, alg := range []issuer.Alg{issuer.RS256, issuer.ES256} {
			if d := cmp.Diff(want, states(r, alg, names)); d != "" {
				t.Errorf("%s: %s: %s", what, alg, d)
			}
		}
	}
	expect("at first", r, map[string]issuer.State{"a": issuer.Active, "b": issuer.Next})
	if at := r.RotatableAt(); !at.Equal(start.Add(24 * time.Hour)) {
		t.Errorf("rotatable at %v", at)
	}

	var soon *issuer.TooSoonError
	if _, err := issuer.Rotate(r, start.Add(24*time.Hour-time.Second), rand.Reader, false); !errors.As(err, &soon) {
		t.Fatalf("a second too soon: %v", err)
	}
	if !soon.Until.Equal(start.Add(24*time.Hour)) || soon.KID == "" {
		t.Errorf("too soon until %v, key %q", soon.Until, soon.KID)
	}
	expect("refused", r, map[string]issuer.State{"a": issuer.Active, "b": issuer.Next})

	at := start.Add(24 * time.Hour)
	second, err := issuer.Rotate(r, at, rand.Reader, false)
	if err != nil {
		t.Fatal(err)
	}
	expect("the old value", r, map[string]issuer.State{"a": issuer.Active, "b": issuer.Next})
	expect("a day later", second, map[string]issuer.State{"a": issuer.Retired, "b": issuer.Active, "c": issuer.Next})
	k := key(t, second, issuer.ES256, issuer.Active)
	if !k.Activated.Equal(at) || !k.Published.Equal(start) || !k.PublishedUntil().IsZero() || !k.SignsFrom().IsZero() {
		t.Errorf("the active key: %+v", k)
	}
	retired := key(t, second, issuer.ES256, issuer.Retired)
	gone := at.Add(66 * time.Minute) // an hour of life, 5 min of skew, 1 min until every replica knows
	if !retired.Retired.Equal(at) || !retired.PublishedUntil().Equal(gone) {
		t.Errorf("the retired key: %v until %v", retired.Retired, retired.PublishedUntil())
	}
	expect("just before its end", issuer.Prune(second, gone.Add(-time.Nanosecond)), map[string]issuer.State{"a": issuer.Retired, "b": issuer.Active, "c": issuer.Next})
	expect("at its end", issuer.Prune(second, gone), map[string]issuer.State{"b": issuer.Active, "c": issuer.Next})

	forced, err := issuer.Rotate(second, at.Add(time.Minute), rand.Reader, true)
	if err != nil {
		t.Fatal(err)
	}
	expect("forced", forced, map[string]issuer.State{"a": issuer.Retired, "b": issuer.Retired, "c": issuer.Active, "d": issuer.Next})

	third, err := issuer.Rotate(second, at.Add(24*time.Hour), rand.Reader, false)
	if err != nil {
		t.Fatal(err)
	}
	for _, k := range third.Keys {
		if k.KID == retired.KID {
			t.Error("a rotation keeps what is long retired")
		}
	}
}

func TestRotateWithoutNext(t *testing.T) {
	r := ring()
	r.Keys = []issuer.Key{r.Keys[0], r.Keys[2]}
	if !r.RotatableAt().IsZero() {
		t.Error("rotatable without a next key")
	}
	if _, err := issuer.Rotate(r, start.Add(48*time.Hour), rand.Reader, false); !errors.Is(err, issuer.ErrNoNext) {
		t.Fatalf("Rotate: %v", err)
	}
	out, err := issuer.Rotate(r, start, rand.Reader, true)
	if err != nil {
		t.Fatal(err)
	}
	if len(out.Keys) != 6 {
		t.Errorf("%d keys", len(out.Keys))
	}
	if _, err := issuer.Rotate(issuer.Ring{}, start, rand.Reader, true); !errors.Is(err, issuer.ErrRing) {
		t.Errorf("Rotate of nothing: %v", err)
	}
}

func TestRevoke(t *testing.T) {
	at := start.Add(time.Hour)
	rotated, err := issuer.Rotate(ring(), start, rand.Reader, true)
	if err != nil {
		t.Fatal(err)
	}
	for _, s := range []issuer.State{issuer.Active, issuer.Next, issuer.Retired} {
		t.Run(string(s), func(t *testing.T) {
			victim := key(t, rotated, issuer.ES256, s)
			out, err := issuer.Revoke(rotated, victim.KID, at, rand.Reader)
			if err != nil {
				t.Fatal(err)
			}
			if _, ok := out.Find(victim.KID); ok {
				t.Error("the revoked key is still there")
			}
			if err := out.Validate(); err != nil {
				t.Error(err)
			}
			active, next := key(t, out, issuer.ES256, issuer.Active), key(t, out, issuer.ES256, issuer.Next)
			wantActive, wantNext := key(t, rotated, issuer.ES256, issuer.Active).KID, key(t, rotated, issuer.ES256, issuer.Next).KID
			switch s {
			case issuer.Active: // next takes over, a new one is published
				if active.KID != wantNext || !active.Activated.Equal(at) || !next.Published.Equal(at) {
					t.Errorf("active %+v, next %+v", active, next)
				}
			case issuer.Next:
				if active.KID != wantActive || next.KID == wantNext || !next.Published.Equal(at) {
					t.Errorf("active %+v, next %+v", active, next)
				}
			case issuer.Retired:
				if active.KID != wantActive || next.KID != wantNext {
					t.Errorf("active %+v, next %+v", active, next)
				}
			}
		})
	}
	if _, err := issuer.Revoke(rotated, "nobody", at, rand.Reader); !errors.Is(err, issuer.ErrUnknownKey) {
		t.Errorf("an unknown key: %v", err)
	}
	r := ring()
	r.Keys = []issuer.Key{r.Keys[0], r.Keys[2]}
	out, err := issuer.Revoke(r, r.Keys[0].KID, at, rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	if err := out.Validate(); err != nil || len(out.Keys) != 4 {
		t.Errorf("the last key revoked: %d keys, %v", len(out.Keys), err)
	}
}

func TestAfterRevoke(t *testing.T) {
	want := issuer.Aftermath{
		Unpublished: start.Add(time.Minute),
		KeySets:     start.Add(6 * time.Minute),
		Tokens:      start.Add(66 * time.Minute),
		Clouds:      start.Add(24*time.Hour + time.Minute),
	}
	if d := cmp.Diff(want, issuer.AfterRevoke(start)); d != "" {
		t.Error(d)
	}
}

// A retired key leaves the key set when its time is over, though nobody rotates.
func TestJWKSForgets(t *testing.T) {
	rotated, err := issuer.Rotate(ring(), start, rand.Reader, true)
	if err != nil {
		t.Fatal(err)
	}
	now := start
	i, err := issuer.New(issuer.Config{URL: url, Now: func() time.Time { return now }, Rand: rand.Reader}, rotated)
	if err != nil {
		t.Fatal(err)
	}
	count := func() int {
		var set struct{ Keys []json.RawMessage }
		if err := json.Unmarshal(i.JWKS(), &set); err != nil {
			t.Fatal(err)
		}
		return len(set.Keys)
	}
	for _, step := range []struct {
		after time.Duration
		want  int
	}{{0, 6}, {66*time.Minute - 1, 6}, {66 * time.Minute, 4}, {48 * time.Hour, 4}} {
		now = start.Add(step.after)
		if got := count(); got != step.want {
			t.Errorf("after %v: %d keys, want %d", step.after, got, step.want)
		}
	}
}

package issuer

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rsa"
	"fmt"
	"io"
	"time"
)

// The arithmetic of rotation.
const (
	// PublishAhead is how long a next key is published before it signs: clouds do
	// not follow a max-age, and fetch a key set when they like.
	PublishAhead = 24 * time.Hour
	// MaxLifetime is the longest life of a JWT of ours.
	MaxLifetime = time.Hour
	// ReplicaLag is within what time every replica sees a changed ring. Until then
	// one may still sign with the key that was just retired, or publish a revoked one.
	ReplicaLag = time.Minute
	// KeySetMaxAge is how long a relying party may keep our key set, and so the
	// max-age that the key set must be served with.
	KeySetMaxAge = 5 * time.Minute
	// skew is what the clocks of relying parties may be behind.
	skew = 5 * time.Minute
	// retiredFor is how long a retired key stays published: until the last token
	// that it can have signed is refused everywhere.
	retiredFor = ReplicaLag + MaxLifetime + skew
)

// rsaBits is the size of a new RSA key: what every cloud takes, and the fastest.
const rsaBits = 2048

// TooSoonError says that a next key has not been published long enough to sign:
// relying parties may not know it yet, and would refuse what it signs.
type TooSoonError struct {
	KID   string
	Until time.Time // when Rotate may be tried again
}

func (e *TooSoonError) Error() string {
	return fmt.Sprintf("issuer: next key %s may not sign before %s, when it will have been published for %s",
		e.KID, e.Until.UTC().Format(time.RFC3339), PublishAhead)
}

// Generate makes a first ring: an active and a next key of each algorithm.
func Generate(now time.Time, random io.Reader) (Ring, error) {
	var r Ring
	for _, alg := range algs() {
		for _, s := range []State{Active, Next} {
			k, err := newKey(alg, s, now, random)
			if err != nil {
				return Ring{}, err
			}
			r.Keys = append(r.Keys, k)
		}
	}
	return r, nil
}

// Rotate lets each next key take over and publishes a new next one; the active
// keys retire, and retired ones whose time is over go. A next key younger than
// PublishAhead is a *[TooSoonError], a missing one ErrNoNext; nothing changes
// then. With force it goes on regardless: relying parties that hold an older key
// set refuse our tokens until they fetch it again.
//
// An algorithm whose active key is not in software gets no new next key: one made
// here would quietly move the signing key out of its KMS. [Import] brings the
// next one; until then Rotate is ErrNoNext, with force too.
func Rotate(r Ring, now time.Time, random io.Reader, force bool) (Ring, error) {
	if err := r.Validate(); err != nil {
		return Ring{}, err
	}
	if !force {
		for _, alg := range algs() {
			next, ok := r.find(alg, Next)
			if !ok {
				return Ring{}, fmt.Errorf("%w: %s", ErrNoNext, alg)
			}
			if at := next.SignsFrom(); now.Before(at) {
				return Ring{}, &TooSoonError{KID: next.KID, Until: at}
			}
		}
	}
	out := Ring{}
	for _, k := range Prune(r, now).Keys {
		if k.State == Active {
			k.State, k.Retired = Retired, stamp(now)
		}
		out.Keys = append(out.Keys, k)
	}
	return out.refill(r, now, random)
}

// Import makes a key that lives elsewhere, such as in a KMS, the next one of its
// algorithm, in the place of the next key that was there: that one never signed.
// The key is published from now on and signs after [PublishAhead], by [Rotate].
// The error wraps ErrWeakKey for a key that we do not sign with, ErrRing for one
// that is in the ring already.
func Import(r Ring, signer crypto.Signer, now time.Time) (Ring, error) {
	if err := r.Validate(); err != nil {
		return Ring{}, err
	}
	alg, err := CheckStrength(signer.Public())
	if err != nil {
		return Ring{}, err
	}
	kid, err := KeyID(signer.Public())
	if err != nil {
		return Ring{}, err
	}
	if k, ok := r.Find(kid); ok {
		return Ring{}, fmt.Errorf("%w: key %s is in it already, as the %s one", ErrRing, kid, k.State)
	}
	next := Key{KID: kid, Alg: alg, State: Next, Signer: signer, Published: stamp(now)}
	out := r.clone()
	for i, k := range out.Keys {
		if k.Alg == alg && k.State == Next {
			out.Keys[i] = next
			return out, out.Validate()
		}
	}
	out.Keys = append(out.Keys, next)
	return out, out.Validate()
}

// Revoke takes a key out of the ring at once. If it was active, the next key
// takes over at once, however young it is; a new next key is published, by the
// rule of [Rotate]. The error is ErrUnknownKey, wrapped, if there is no such key,
// and ErrNoNext if it is an active key that is not in software and no next one is
// there: import one, or [RevokeAnyway].
func Revoke(r Ring, kid string, now time.Time, random io.Reader) (Ring, error) {
	return revoke(r, kid, now, random, r)
}

// RevokeAnyway is Revoke that makes the new active key in software where no next
// one is there to take over, whatever the revoked one was.
func RevokeAnyway(r Ring, kid string, now time.Time, random io.Reader) (Ring, error) {
	return revoke(r, kid, now, random, Ring{})
}

// revoke hands refill the ring that says which keys were not in software.
func revoke(r Ring, kid string, now time.Time, random io.Reader, before Ring) (Ring, error) {
	if err := r.Validate(); err != nil {
		return Ring{}, err
	}
	if _, ok := r.Find(kid); !ok {
		return Ring{}, fmt.Errorf("%w: %q", ErrUnknownKey, kid)
	}
	out := Ring{}
	for _, k := range r.Keys {
		if k.KID != kid {
			out.Keys = append(out.Keys, k)
		}
	}
	return out.refill(before, now, random)
}

// refill gives each algorithm its active and its next key again. A key that was
// active in before and not in software is only replaced by one that is there.
func (r Ring) refill(before Ring, now time.Time, random io.Reader) (Ring, error) {
	for _, alg := range algs() {
		if _, ok := r.find(alg, Active); !ok {
			promoted := false
			for i, k := range r.Keys {
				if k.Alg == alg && k.State == Next {
					r.Keys[i].State, r.Keys[i].Activated = Active, stamp(now)
					promoted = true
					break
				}
			}
			if !promoted {
				if old, ok := before.find(alg, Active); ok && !old.InSoftware() {
					return Ring{}, fmt.Errorf("%w: %s", ErrNoNext, alg)
				}
				k, err := newKey(alg, Active, now, random)
				if err != nil {
					return Ring{}, err
				}
				r.Keys = append(r.Keys, k)
			}
		}
		active, _ := r.find(alg, Active)
		if _, ok := r.find(alg, Next); !ok && active.InSoftware() {
			k, err := newKey(alg, Next, now, random)
			if err != nil {
				return Ring{}, err
			}
			r.Keys = append(r.Keys, k)
		}
	}
	return r, r.Validate()
}

// Prune takes out the retired keys that no living token needs any more.
func Prune(r Ring, now time.Time) Ring {
	out := Ring{Changed: r.Changed}
	for _, k := range r.Keys {
		end := k.PublishedUntil()
		if end.IsZero() || now.Before(end) {
			out.Keys = append(out.Keys, k)
		} else if end.After(out.Changed) {
			out.Changed = end
		}
	}
	return out
}

// SignsFrom is when a next key may take over; for other keys it is zero.
func (k Key) SignsFrom() time.Time {
	if k.State != Next {
		return time.Time{}
	}
	return k.Published.Add(PublishAhead)
}

// PublishedUntil is when a retired key leaves the key set; for other keys it is
// zero, for their end is not known.
func (k Key) PublishedUntil() time.Time {
	if k.State != Retired {
		return time.Time{}
	}
	return k.Retired.Add(retiredFor)
}

// RotatableAt is when Rotate will go without force; zero if a next key is missing.
func (r Ring) RotatableAt() time.Time {
	var at time.Time
	for _, alg := range algs() {
		next, ok := r.find(alg, Next)
		if !ok {
			return time.Time{}
		}
		if t := next.SignsFrom(); t.After(at) {
			at = t
		}
	}
	return at
}

// Aftermath says how long a key that is revoked now may still be accepted.
// Whoever stole it can sign what he likes until a relying party forgets the key:
// KeySets for one that follows our max-age, Clouds for one that does not (an
// assumption, not a promise of theirs, and the same as PublishAhead). Tokens is
// when the last honest token of the key ends, for a relying party that looks at
// the key only when a token is new.
type Aftermath struct {
	Unpublished time.Time // on every replica
	KeySets     time.Time
	Tokens      time.Time
	Clouds      time.Time
}

// AfterRevoke is the Aftermath of a revocation at this time.
func AfterRevoke(at time.Time) Aftermath {
	gone := at.Add(ReplicaLag)
	return Aftermath{
		Unpublished: gone,
		KeySets:     gone.Add(KeySetMaxAge),
		Tokens:      gone.Add(MaxLifetime + skew),
		Clouds:      gone.Add(PublishAhead),
	}
}

// newKey generates a key. The toolchain takes randomness for keys from the
// system, whatever reader it is handed.
func newKey(alg Alg, s State, now time.Time, random io.Reader) (Key, error) {
	var signer crypto.Signer
	var err error
	switch alg {
	case RS256:
		signer, err = rsa.GenerateKey(random, rsaBits)
	case ES256:
		signer, err = ecdsa.GenerateKey(elliptic.P256(), random)
	default:
		err = fmt.Errorf("%w: algorithm %q", ErrRing, alg)
	}
	if err != nil {
		return Key{}, fmt.Errorf("issuer: generate a key: %w", err)
	}
	kid, err := KeyID(signer.Public())
	if err != nil {
		return Key{}, err
	}
	k := Key{KID: kid, Alg: alg, State: s, Signer: signer, Published: stamp(now)}
	if s == Active {
		k.Activated = k.Published
	}
	return k, nil
}

// stamp cuts a time to whole seconds in UTC, so that a key reads back from a
// file as it was written.
func stamp(t time.Time) time.Time { return t.UTC().Truncate(time.Second) }

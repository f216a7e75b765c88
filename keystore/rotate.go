package keystore

import (
	"context"
	"errors"
	"fmt"
	"io"
	"time"

	"cambio/issuer"
)

// Errors of a rotation, in the words of package issuer.
var (
	ErrNoKeys     = issuer.ErrNoKeys     // the folder never held any
	ErrUnknownKey = issuer.ErrUnknownKey // no key with this id
	ErrNoNext     = issuer.ErrNoNext     // no next key to take over: Import one
)

// ErrGone refuses a key that was in the ring before: it was revoked, or is long
// retired.
var ErrGone = errors.New("keystore: the key left the ring for good")

// Ring is all keys of an issuer.
type Ring = issuer.Ring

// TooSoonError says that a next key has not been published long enough to sign.
type TooSoonError = issuer.TooSoonError

// Rotate lets the next keys sign, retires the active ones, drops those whose
// time is over, and publishes new next keys: see [issuer.Rotate].
func (f *Files) Rotate(ctx context.Context, now time.Time, rand io.Reader, force bool) (issuer.Ring, error) {
	return f.change(ctx, rand, func(r issuer.Ring) (issuer.Ring, error) {
		return issuer.Rotate(issuer.Prune(r, now), now, rand, force)
	})
}

// Revoke takes a key out of the ring at once, and says how long what it signed
// may still be accepted: see [issuer.Revoke] and [issuer.AfterRevoke].
func (f *Files) Revoke(ctx context.Context, kid string, now time.Time, rand io.Reader) (issuer.Aftermath, error) {
	_, err := f.Update(ctx, func(r issuer.Ring) (issuer.Ring, error) { return issuer.Revoke(r, kid, now, rand) })
	return issuer.AfterRevoke(now), err
}

// RevokeAnyway is Revoke, but a new key in software takes over where no next one
// is there: see [issuer.RevokeAnyway].
func (f *Files) RevokeAnyway(ctx context.Context, kid string, now time.Time, rand io.Reader) (issuer.Aftermath, error) {
	_, err := f.Update(ctx, func(r issuer.Ring) (issuer.Ring, error) { return issuer.RevokeAnyway(r, kid, now, rand) })
	return issuer.AfterRevoke(now), err
}

// Import makes the key of this URI, in a KMS or an HSM, the next one of its
// algorithm: see [issuer.Import]. The key must prove that it signs. Its public
// half is kept, so that it is never asked for again. The error wraps ErrURI,
// ErrSigner, ErrGone, ErrNoKeys, or what issuer.Import gives.
func (f *Files) Import(ctx context.Context, uri string, now time.Time, rand io.Reader) (issuer.Ring, issuer.Key, error) {
	remote, err := f.outside.fetch(ctx, uri)
	if err != nil {
		return issuer.Ring{}, issuer.Key{}, err
	}
	kid, err := issuer.KeyID(remote.pub)
	if err != nil {
		return issuer.Ring{}, issuer.Key{}, err
	}
	ring, err := f.change(ctx, rand, func(r issuer.Ring) (issuer.Ring, error) {
		p, err := f.readPublication()
		if err != nil {
			return issuer.Ring{}, err
		}
		// A revoked key that comes back would undo its revocation everywhere.
		if p.gone(kid) {
			return issuer.Ring{}, fmt.Errorf("%w: %s: make another one", ErrGone, kid)
		}
		return issuer.Import(r, remote, now)
	})
	k, _ := ring.Find(kid)
	return ring, k, err
}

// change is Update of a ring that is there, and leaves the nonce secret too.
func (f *Files) change(ctx context.Context, rand io.Reader, change func(issuer.Ring) (issuer.Ring, error)) (issuer.Ring, error) {
	return f.Update(ctx, func(r issuer.Ring) (issuer.Ring, error) {
		if len(r.Keys) == 0 {
			return issuer.Ring{}, ErrNoKeys
		}
		if _, err := f.ensureNonce(rand); err != nil {
			return issuer.Ring{}, err
		}
		return change(r)
	})
}

// Row is one key, as it is shown to an operator.
type Row struct {
	KID            string    `json:"kid"`
	Alg            string    `json:"alg"`
	State          string    `json:"state"`            // next, active or retired
	Signer         string    `json:"signer,omitempty"` // the URI of a key that is not in the folder
	Published      time.Time `json:"published"`
	Activated      time.Time `json:"activated,omitzero"`
	Retired        time.Time `json:"retired,omitzero"`
	SignsFrom      time.Time `json:"signs_from,omitzero"`      // of a next key: the earliest
	PublishedUntil time.Time `json:"published_until,omitzero"` // of a retired key
}

// Rows are the keys of a ring, as they are shown to an operator.
func Rows(r issuer.Ring) []Row {
	rows := make([]Row, len(r.Keys))
	for i, k := range r.Keys {
		rows[i] = Row{
			KID: k.KID, Alg: string(k.Alg), State: string(k.State), Published: k.Published,
			Activated: k.Activated, Retired: k.Retired, SignsFrom: k.SignsFrom(), PublishedUntil: k.PublishedUntil(),
		}
		if remote, ok := k.Signer.(*Remote); ok {
			rows[i].Signer = remote.uri
		}
	}
	return rows
}

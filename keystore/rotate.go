package keystore

import (
	"context"
	"io"
	"time"

	"cambio/issuer"
)

// Errors of a rotation, in the words of package issuer.
var (
	ErrNoKeys     = issuer.ErrNoKeys     // the folder never held any
	ErrUnknownKey = issuer.ErrUnknownKey // no key with this id
)

// TooSoonError says that a next key has not been published long enough to sign.
type TooSoonError = issuer.TooSoonError

// Rotate lets the next keys sign, retires the active ones, drops those whose
// time is over, and publishes new next keys: see [issuer.Rotate].
func (f *Files) Rotate(ctx context.Context, now time.Time, rand io.Reader, force bool) (issuer.Ring, error) {
	return f.Update(ctx, func(r issuer.Ring) (issuer.Ring, error) {
		if len(r.Keys) == 0 {
			return issuer.Ring{}, ErrNoKeys
		}
		return issuer.Rotate(issuer.Prune(r, now), now, rand, force)
	})
}

// Revoke takes a key out of the ring at once, and says how long what it signed
// may still be accepted: see [issuer.Revoke] and [issuer.AfterRevoke].
func (f *Files) Revoke(ctx context.Context, kid string, now time.Time, rand io.Reader) (issuer.Aftermath, error) {
	_, err := f.Update(ctx, func(r issuer.Ring) (issuer.Ring, error) { return issuer.Revoke(r, kid, now, rand) })
	return issuer.AfterRevoke(now), err
}

// Row is one key, as it is shown to an operator.
type Row struct {
	KID            string    `json:"kid"`
	Alg            string    `json:"alg"`
	State          string    `json:"state"` // next, active or retired
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
	}
	return rows
}

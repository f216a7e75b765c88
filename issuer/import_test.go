package issuer_test

import (
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"errors"
	"testing"
	"time"

	"cambio/issuer"
)

// remote is a new P-256 key outside the process.
func remote(t *testing.T) kms {
	t.Helper()
	k, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	return kms{k, func(b []byte) ([]byte, error) { return b, nil }}
}

func kidOf(t *testing.T, k kms) string {
	t.Helper()
	kid, err := issuer.KeyID(k.Public())
	if err != nil {
		t.Fatal(err)
	}
	return kid
}

// expectES says what the ES256 keys are: the active and the next one's id, or "".
func expectES(t *testing.T, r issuer.Ring, active, next string) {
	t.Helper()
	if err := r.Validate(); err != nil {
		t.Fatal(err)
	}
	got := map[issuer.State]string{}
	for _, k := range r.Keys {
		if k.Alg == issuer.ES256 {
			got[k.State] = k.KID
		}
	}
	if got[issuer.Active] != active || got[issuer.Next] != next {
		t.Errorf("active %s, next %q; want %s, %q", got[issuer.Active], got[issuer.Next], active, next)
	}
}

// The life of an imported key: next, active after a day, and never replaced by
// one in software unless that is asked for.
func TestImport(t *testing.T) {
	r := ring()
	software, kept := key(t, r, issuer.ES256, issuer.Active), key(t, r, issuer.RS256, issuer.Next)
	one, two := remote(t), remote(t)
	at := start.Add(time.Hour)
	imported, err := issuer.Import(r, one, at)
	if err != nil {
		t.Fatal(err)
	}
	expectES(t, imported, software.KID, kidOf(t, one))
	if k := key(t, imported, issuer.RS256, issuer.Next); k.KID != kept.KID {
		t.Error("the other algorithm's next key changed")
	}
	if k := key(t, imported, issuer.ES256, issuer.Next); !k.Published.Equal(at) || k.InSoftware() || !software.InSoftware() {
		t.Errorf("imported: %+v", k)
	}
	if _, err := issuer.Import(imported, one, at); !errors.Is(err, issuer.ErrRing) {
		t.Errorf("twice: %v", err)
	}
	if again, err := issuer.Import(imported, two, at); err != nil {
		t.Error(err)
	} else {
		expectES(t, again, software.KID, kidOf(t, two))
	}

	// Its revocation before use leads back to software: the active key is there.
	back, err := issuer.Revoke(imported, kidOf(t, one), at, rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	if k := key(t, back, issuer.ES256, issuer.Next); !k.InSoftware() {
		t.Error("no next key in software")
	}

	// Too soon by its own clock, though the other algorithm's next key is old enough.
	var soon *issuer.TooSoonError
	if _, err := issuer.Rotate(imported, start.Add(24*time.Hour), rand.Reader, false); !errors.As(err, &soon) || soon.KID != kidOf(t, one) {
		t.Errorf("too soon: %v", err)
	}
	at = at.Add(24 * time.Hour)
	rotated, err := issuer.Rotate(imported, at, rand.Reader, false)
	if err != nil {
		t.Fatal(err)
	}
	expectES(t, rotated, kidOf(t, one), "")
	if !rotated.RotatableAt().IsZero() {
		t.Error("rotatable without a next key")
	}
	for _, force := range []bool{false, true} {
		if _, err := issuer.Rotate(rotated, at.Add(48*time.Hour), rand.Reader, force); !errors.Is(err, issuer.ErrNoNext) {
			t.Errorf("force %v, without a next key: %v", force, err)
		}
	}

	// Revoked with nothing to take over: refused, unless software is asked for.
	if _, err := issuer.Revoke(rotated, kidOf(t, one), at, rand.Reader); !errors.Is(err, issuer.ErrNoNext) {
		t.Errorf("Revoke without a next key: %v", err)
	}
	anyway, err := issuer.RevokeAnyway(rotated, kidOf(t, one), at, rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	if k := key(t, anyway, issuer.ES256, issuer.Active); !k.InSoftware() {
		t.Error("not in software")
	}
	if k := key(t, anyway, issuer.ES256, issuer.Next); !k.InSoftware() {
		t.Error("the next one is not in software")
	}

	// With a second one imported, both roads go on, and leave no next key.
	pair, err := issuer.Import(rotated, two, at)
	if err != nil {
		t.Fatal(err)
	}
	expectES(t, pair, kidOf(t, one), kidOf(t, two))
	out, err := issuer.Rotate(pair, at.Add(24*time.Hour), rand.Reader, false)
	if err != nil {
		t.Fatal(err)
	}
	expectES(t, out, kidOf(t, two), "")
	out, err = issuer.Revoke(pair, kidOf(t, one), at, rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	expectES(t, out, kidOf(t, two), "")
}

func TestImportRefuses(t *testing.T) {
	_, ed, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := issuer.Import(ring(), ed, start); !errors.Is(err, issuer.ErrWeakKey) {
		t.Errorf("Ed25519: %v", err)
	}
	if _, err := issuer.Import(issuer.Ring{}, remote(t), start); !errors.Is(err, issuer.ErrRing) {
		t.Errorf("no ring: %v", err)
	}
}

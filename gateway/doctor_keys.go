package gateway

import (
	"context"
	"crypto"
	"crypto/ecdsa"
	"crypto/rsa"
	"crypto/sha256"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"slices"
	"strings"
	"time"

	"cambio/issuer"
	"cambio/keystore"
)

// keyOld is when a signing key is due to be rotated: the longer one key signs,
// the more a copy of it is worth.
const keyOld = 180 * 24 * time.Hour

// loadRing reads the keys, without making any.
func loadRing(ctx context.Context, c Config) (issuer.Ring, error) {
	return keystore.NewFiles(c.Keys, slog.New(slog.DiscardHandler)).Load(ctx)
}

// keys looks at what keys there are, and whether they can be rotated.
func (e *examination) keys(context.Context) []DoctorCheck {
	const name, rotation = "keys", "key-rotation"
	ring, err := e.ring()
	switch {
	case errors.Is(err, issuer.ErrNoKeys):
		return []DoctorCheck{skipped(name, "there are none yet; the first start makes them"), skipped(rotation, "there are no keys yet")}
	case err != nil:
		return []DoctorCheck{failed(name, "mend what is named; cambio keys list", "%s", err), skipped(rotation, "the keys do not load")}
	}
	count := map[issuer.State]int{}
	for _, k := range ring.Keys {
		count[k.State]++
	}
	return []DoctorCheck{
		passed(name, "%d active, %d next, %d retired", count[issuer.Active], count[issuer.Next], count[issuer.Retired]),
		e.rotation(ring),
	}
}

func (e *examination) rotation(ring issuer.Ring) DoctorCheck {
	v := begin("key-rotation")
	now := e.env.Now()
	next := map[issuer.Alg]bool{}
	for _, k := range ring.Keys {
		if k.State == issuer.Next {
			next[k.Alg] = true
		}
	}
	for _, k := range ring.Keys {
		if k.State != issuer.Active {
			continue
		}
		age := now.Sub(k.Activated)
		v.note("%s signs since %d days", k.Alg, int(age.Hours()/24))
		if age > keyOld {
			v.add(DoctorWarn, "cambio keys rotate", "that is long: rotate it, say every 90 days")
		}
		if age < -clockOff {
			v.add(DoctorWarn, "look at the clock", "it was made in the future")
		}
		if !next[k.Alg] {
			v.add(DoctorWarn, "cambio keys rotate --force", "there is no next key of %s: a revocation would bring one that nobody knows", k.Alg)
		}
	}
	if at := ring.RotatableAt(); !at.IsZero() && now.Before(at) {
		v.note("the next keys may sign from %s", at.UTC().Format(time.RFC3339))
	}
	return v.end()
}

// signers has every key that signs, or is about to, sign a text that is no JWS
// and no checkpoint, and verifies it. Nobody is shown the signature.
func (e *examination) signers(context.Context) []DoctorCheck {
	v := begin("key-signers")
	ring, err := e.ring()
	if err != nil {
		return []DoctorCheck{skipped(v.Name, "there are no keys to try")}
	}
	sum := sha256.Sum256([]byte("cambio-doctor-v1\n" + e.env.Now().UTC().Format(time.RFC3339Nano)))
	tried, slowest := 0, time.Duration(0)
	for _, k := range ring.Keys {
		if k.State == issuer.Retired {
			continue
		}
		start := e.env.Now()
		sig, err := k.Signer.Sign(e.env.Rand, sum[:], crypto.SHA256)
		slowest = max(slowest, e.env.Now().Sub(start))
		if err == nil && !verifies(k.Signer.Public(), sum[:], sig) {
			err = errors.New("what it signed does not verify")
		}
		if err != nil {
			v.add(DoctorFail, "look at the KMS or HSM, and at who may use it; a key in a file: restore it", "%s key %.8s (%s): %s", k.Alg, k.KID, k.State, err)
			continue
		}
		tried++
	}
	v.note("%s signed and verified, the slowest in %s", countOf(tried, "key"), slowest.Round(time.Microsecond))
	if slowest > 500*time.Millisecond && v.Status == DoctorPass {
		v.add(DoctorWarn, "look at the way to the KMS: each exchange waits for it", "that is slow")
	}
	return []DoctorCheck{v.end()}
}

func verifies(pub crypto.PublicKey, sum, sig []byte) bool {
	switch p := pub.(type) {
	case *ecdsa.PublicKey:
		return ecdsa.VerifyASN1(p, sum, sig)
	case *rsa.PublicKey:
		return rsa.VerifyPKCS1v15(p, crypto.SHA256, sum, sig) == nil
	}
	return false
}

// published compares the key set that others see with ours, by the keys'
// thumbprints: a name alone says nothing of the key below it.
func (e *examination) published(v *verdict, raw []byte) {
	const next = "cambio keys publish DIR, where a bucket publishes; else look whether this is another gateway's name"
	// Two keys under one name are each taken by some relying party, and a private
	// member makes a signer of every reader: such a set is refused as a whole.
	set, err := issuer.ReadKeySet(raw)
	if err != nil {
		v.add(DoctorFail, "publish it anew, and find out who changed it; if it shows a private member (d, p, q), cambio keys revoke that key at once", "the key set is not as we write it: %s", err)
		return
	}
	ring, err := e.ring()
	if err != nil {
		v.add(DoctorWarn, "see the check keys", "there are no keys of ours to compare with")
		return
	}
	shown := map[string]bool{}
	for _, kid := range set.KIDs() { // each the thumbprint of its key, which was checked
		shown[kid] = true
	}
	ours := issuer.Prune(ring, e.env.Now()).Keys
	good := 0
	for _, k := range ours {
		kid, err := issuer.KeyID(k.Signer.Public())
		there := err == nil && shown[kid]
		delete(shown, kid)
		switch {
		case there:
			good++
		case k.State == issuer.Active:
			v.add(DoctorFail, next, "the active %s key %.8s is missing: what it signs is refused", k.Alg, k.KID)
		case k.State == issuer.Next:
			v.add(DoctorWarn, next, "the next %s key %.8s is missing: do not rotate yet", k.Alg, k.KID)
		default:
			v.add(DoctorWarn, next, "the retired %s key %.8s is missing: what it signed is refused", k.Alg, k.KID)
		}
	}
	v.note("%d of our %s found", good, countOf(len(ours), "key"))
	if len(shown) > 0 {
		var kids []string
		for _, kid := range slices.Sorted(maps.Keys(shown)) {
			kids = append(kids, fmt.Sprintf("%.8q", kid))
		}
		// Whoever holds such a key signs as any workload.
		v.add(DoctorWarn, "find out whose it is: an old one that a bucket keeps, another replica's, or a stranger's", "%s there that we do not hold: %s", countOf(len(shown), "key"), strings.Join(kids[:min(len(kids), 3)], ", "))
	}
}

package keystore

import (
	"bytes"
	"crypto"
	"crypto/x509"
	"encoding/json"
	"fmt"
	"time"

	"cambio/issuer"
)

// The versions of keys.json that we read. The older one is written as long as it
// can say everything, so that the version of the program before this one, on
// another replica or after a way back, goes on with it.
const (
	formatFiles  = 1 // every private key is in KID.pem
	formatRemote = 2 // some entries have a signer
)

// manifest is keys.json.
type manifest struct {
	Format int     `json:"format"`
	Keys   []entry `json:"keys"`
}

// entry is one key of the manifest. Its private half is in KID.pem, or where
// Signer says; then Public is the public key, which the kid pins.
type entry struct {
	KID       string       `json:"kid"`
	Alg       issuer.Alg   `json:"alg"`
	State     issuer.State `json:"state"`
	Signer    string       `json:"signer,omitempty"`
	Public    []byte       `json:"public,omitempty"` // PKIX DER
	Published time.Time    `json:"published"`
	Activated time.Time    `json:"activated,omitzero"`
	Retired   time.Time    `json:"retired,omitzero"`
}

// keyFile is what one key file holds.
type keyFile struct {
	kid    string
	alg    issuer.Alg
	signer crypto.Signer
}

func (e entry) key(s crypto.Signer) issuer.Key {
	return issuer.Key{
		KID: e.KID, Alg: e.Alg, State: e.State, Signer: s,
		Published: e.Published, Activated: e.Activated, Retired: e.Retired,
	}
}

// format is the oldest one that says all that is in these entries.
func format(entries []entry) int {
	for _, e := range entries {
		if e.Signer != "" {
			return formatRemote
		}
	}
	return formatFiles
}

// parseManifest reads keys.json strictly: what it parses to must render to the
// same text, white space aside. So an unknown, repeated, misspelt or reordered
// member is refused, and no two readers can see two rings in one file.
func parseManifest(raw []byte) (manifest, error) {
	var head struct {
		Format int `json:"format"`
	}
	if err := json.Unmarshal(raw, &head); err != nil {
		return manifest{}, fmt.Errorf("%w: not JSON: restore it from a backup", ErrManifest)
	}
	if head.Format != formatFiles && head.Format != formatRemote {
		// A newer program may mean other things by the same words.
		return manifest{}, fmt.Errorf("%w: format %d, this program knows %d and %d: use the version of the program that wrote it",
			ErrManifest, head.Format, formatFiles, formatRemote)
	}
	var m manifest
	if err := json.Unmarshal(raw, &m); err != nil {
		return manifest{}, fmt.Errorf("%w: a member of the wrong type: restore it from a backup", ErrManifest)
	}
	again, err := json.Marshal(m)
	if err != nil {
		return manifest{}, fmt.Errorf("%w: a time out of range: restore it from a backup", ErrManifest)
	}
	var compact bytes.Buffer
	if err := json.Compact(&compact, raw); err != nil || !bytes.Equal(compact.Bytes(), again) || m.Format != format(m.Keys) {
		return manifest{}, fmt.Errorf("%w: not as this program writes it (do not edit it): restore it from a backup", ErrManifest)
	}
	for _, e := range m.Keys {
		// The kid becomes a file name: hex only, or "../x" reads another file.
		if !validKID(e.KID) {
			return manifest{}, fmt.Errorf("%w: a key id that is not 32 hex digits: restore it from a backup", ErrManifest)
		}
		if (e.Signer == "") != (len(e.Public) == 0) {
			return manifest{}, fmt.Errorf("%w: a signer without its public key, or the other way round: restore it from a backup", ErrManifest)
		}
	}
	return m, nil
}

func validKID(s string) bool {
	if len(s) != 32 {
		return false
	}
	for i := range len(s) {
		if c := s[i]; (c < '0' || c > '9') && (c < 'a' || c > 'f') {
			return false
		}
	}
	return true
}

// entryOf is what keys.json says of a key.
func entryOf(k issuer.Key) (entry, error) {
	e := entry{
		KID: k.KID, Alg: k.Alg, State: k.State,
		Published: k.Published.UTC(), Activated: utc(k.Activated), Retired: utc(k.Retired),
	}
	r, ok := k.Signer.(*Remote)
	if !ok {
		return e, nil
	}
	der, err := x509.MarshalPKIXPublicKey(r.pub)
	if err != nil {
		return entry{}, fmt.Errorf("keystore: encode the public key of %s: %w", k.KID, err)
	}
	e.Signer, e.Public = r.uri, der
	return e, nil
}

// render writes keys.json for people to read: one member a line.
func render(m manifest) ([]byte, error) {
	b, err := json.MarshalIndent(m, "", "  ")
	if err != nil {
		return nil, fmt.Errorf("keystore: encode %s: %w", manifestName, err)
	}
	return append(b, '\n'), nil
}

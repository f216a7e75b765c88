package keystore

import (
	"bytes"
	"crypto"
	"encoding/json"
	"fmt"
	"time"

	"cambio/issuer"
)

// format is the version of keys.json that we read and write.
const format = 1

// manifest is keys.json.
type manifest struct {
	Format int     `json:"format"`
	Keys   []entry `json:"keys"`
}

// entry is one key of the manifest; its private half is in KID.pem.
type entry struct {
	KID       string       `json:"kid"`
	Alg       issuer.Alg   `json:"alg"`
	State     issuer.State `json:"state"`
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
	if head.Format != format {
		// A newer program may mean other things by the same words.
		return manifest{}, fmt.Errorf("%w: format %d, this program knows %d: use the version of the program that wrote it", ErrManifest, head.Format, format)
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
	if err := json.Compact(&compact, raw); err != nil || !bytes.Equal(compact.Bytes(), again) {
		return manifest{}, fmt.Errorf("%w: not as this program writes it (do not edit it): restore it from a backup", ErrManifest)
	}
	for _, e := range m.Keys {
		// The kid becomes a file name: hex only, or "../x" reads another file.
		if !validKID(e.KID) {
			return manifest{}, fmt.Errorf("%w: a key id that is not 32 hex digits: restore it from a backup", ErrManifest)
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

// render writes keys.json for people to read: one member a line.
func render(m manifest) ([]byte, error) {
	b, err := json.MarshalIndent(m, "", "  ")
	if err != nil {
		return nil, fmt.Errorf("keystore: encode %s: %w", manifestName, err)
	}
	return append(b, '\n'), nil
}

package keystore

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"

	"cambio/issuer"
)

// publicationName is the file beside keys.json that says what a published copy
// must not hold any more. It is a file of its own so that keys.json stays as the
// version of this program before this one reads it: that one must follow a
// revocation too.
const publicationName = "publication.json"

// maxGone bounds the list. With four keys gone at each rotation, it is a year of
// rotations every three days.
const maxGone = 500

// publication is publication.json.
type publication struct {
	Format int      `json:"format"`
	Static bool     `json:"static"` // a copy was published: a rotation must wait for it
	Gone   []string `json:"gone"`   // key ids that left the ring for good, oldest first
}

const publicationFormat = 1

func (p publication) gone(kid string) bool {
	for _, g := range p.Gone {
		if g == kid {
			return true
		}
	}
	return false
}

// readPublication reads publication.json, strictly as keys.json. None is an empty
// one.
func (f *Files) readPublication() (publication, error) {
	p := publication{Format: publicationFormat}
	raw, err := f.read(publicationName, maxManifest, false)
	if errors.Is(err, fs.ErrNotExist) {
		return p, nil
	}
	if err != nil {
		return publication{}, err
	}
	p = publication{}
	bad := fmt.Errorf("%w: %s is not as this program writes it: use the version of the program that wrote it, or restore it from a backup",
		ErrManifest, f.path(publicationName))
	if err := json.Unmarshal(raw, &p); err != nil || p.Format != publicationFormat {
		return publication{}, bad
	}
	again, err := json.Marshal(p)
	var compact bytes.Buffer
	if err != nil || json.Compact(&compact, raw) != nil || !bytes.Equal(compact.Bytes(), again) {
		return publication{}, bad
	}
	return p, nil
}

func (f *Files) writePublication(p publication) error {
	if over := len(p.Gone) - maxGone; over > 0 {
		p.Gone = p.Gone[over:]
	}
	if p.Gone == nil {
		p.Gone = []string{}
	}
	raw, err := json.MarshalIndent(p, "", "  ")
	if err != nil {
		return fmt.Errorf("keystore: encode %s: %w", publicationName, err)
	}
	if err := f.write(publicationName, append(raw, '\n')); err != nil {
		return err
	}
	return f.syncDir()
}

// recordGone notes the keys that leave the ring, before they do: a published
// copy would else keep a revoked key for good. A key that is noted and still in
// the ring, after a crash in between, counts as in the ring.
func (f *Files) recordGone(before manifest, kept map[string]bool) error {
	var left []string
	for _, e := range before.Keys {
		if !kept[e.KID] {
			left = append(left, e.KID)
		}
	}
	if len(left) == 0 {
		return nil
	}
	p, err := f.readPublication()
	if err != nil {
		return err
	}
	for _, kid := range left {
		if !p.gone(kid) {
			p.Gone = append(p.Gone, kid)
		}
	}
	return f.writePublication(p)
}

// PublishedElsewhere reports whether a copy was ever published from this folder:
// relying parties may then read that, and not the gateway.
func (f *Files) PublishedElsewhere() (bool, error) {
	p, err := f.readPublication()
	return p.Static, err
}

// NotShown lists the next keys of a ring that a public key set does not show yet.
// While there is one, a rotation would sign with a key that relying parties do
// not know. The error wraps issuer.ErrKeySet if that is no key set of ours.
func NotShown(r issuer.Ring, published []byte) ([]string, error) {
	set, err := issuer.ReadKeySet(published)
	if err != nil {
		return nil, err
	}
	shown := make(map[string]bool)
	for _, kid := range set.KIDs() {
		shown[kid] = true
	}
	var missing []string
	for _, k := range r.Keys {
		if k.State == issuer.Next && !shown[k.KID] {
			missing = append(missing, k.KID)
		}
	}
	return missing, nil
}

package keystore

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"time"

	"cambio/issuer"
)

// ErrCopy refuses a folder that a copy of the issuer must not be written to. It
// is wrapped with the file and the fix.
var ErrCopy = errors.New("keystore: unusable folder for a copy")

// The names in a copy: what follows the issuer's URL.
const (
	wellKnown  = ".well-known"
	copyKeys   = "keys"
	copyTemp   = ".cambio-writing"
	discovery1 = wellKnown + "/openid-configuration"
	discovery2 = wellKnown + "/oauth-authorization-server"
	copyBundle = wellKnown + "/spiffe-bundle"
)

// maxDiscovery bounds a discovery document: ours has 700 bytes.
const maxDiscovery = 64 << 10

// Copy is what a published copy holds.
type Copy struct {
	Keys    []string `json:"keys"`    // ids of the keys in it
	Unknown []string `json:"unknown"` // of them, those that the key folder does not know
	Written []string `json:"written"` // files that are other than before
}

// Publish writes what an issuer of this URL serves, byte for byte, into a folder
// that a bucket or any static host shows at that URL: .well-known/openid-configuration,
// .well-known/oauth-authorization-server, keys, and the SPIFFE trust bundle of
// these keys and roots.
//
// The key set is the union, by thumbprint, of the ring's keys and those that are
// in the folder already. Of the latter go the ones that the key folder knows to
// have left the ring, revoked or retired for long enough; one that it never had
// stays and is reported: it may be that of another key folder of this issuer, and
// without it tokens that are valid would be refused.
//
// The key set is written first, each file by an atomic rename and fsynced; what
// is the same already is not touched. The error wraps ErrCopy for a folder with
// symbolic links, with another issuer's documents, or where others may write it or
// one of these files. Two at once wait for each other, until ctx ends: ErrBusy.
func (f *Files) Publish(ctx context.Context, dir, url string, now time.Time, roots issuer.Roots) (Copy, error) {
	// The copy first, then the keys: whoever waited here with the keys of before
	// would bring back one whose revocation was published meanwhile.
	c, err := openCopy(ctx, dir)
	if err != nil {
		return Copy{}, err
	}
	defer c.close()
	ring, err := f.Load(ctx)
	if err != nil {
		return Copy{}, err
	}
	p, err := f.readPublication()
	if err != nil {
		return Copy{}, err
	}
	discovery, keys, err := issuer.Publication(url, ring, now)
	if err != nil {
		return Copy{}, err
	}
	for _, name := range []string{discovery1, discovery2} {
		if err := c.ours(name, url); err != nil {
			return Copy{}, err
		}
	}
	old, err := c.keys()
	if err != nil {
		return Copy{}, err
	}
	set, err := issuer.ReadKeySet(keys)
	if err != nil {
		return Copy{}, err
	}
	var out Copy
	union := set.Union(old, func(kid string) bool {
		// One that is in the ring and not in its set is retired and over.
		if _, retired := ring.Find(kid); retired || p.gone(kid) {
			return false
		}
		out.Unknown = append(out.Unknown, kid)
		return true
	})
	if keys, err = union.Bytes(); err != nil {
		return Copy{}, err
	}
	bundle, err := union.Bundle(roots, ring.Sequence(roots, now))
	if err != nil {
		return Copy{}, err
	}
	out.Keys = union.KIDs()
	// Noted before anything is written: from here on a rotation looks at the copy.
	if err := f.noteStatic(ctx, p); err != nil {
		return Copy{}, err
	}
	if err := c.root.Mkdir(wellKnown, 0o755); err != nil && !errors.Is(err, fs.ErrExist) {
		return Copy{}, fmt.Errorf("%w: %w", ErrCopy, err)
	}
	for _, file := range []struct {
		name string
		raw  []byte
	}{{copyKeys, keys}, {copyBundle, bundle}, {discovery1, discovery}, {discovery2, discovery}} {
		written, err := c.write(file.name, file.raw)
		if err != nil {
			return Copy{}, err
		}
		if written {
			out.Written = append(out.Written, file.name)
		}
	}
	return out, nil
}

// noteStatic notes once that there is a copy. Where the folder is read-only it
// cannot, and a rotation looks at the public key set only as far as it can.
func (f *Files) noteStatic(ctx context.Context, p publication) error {
	if p.Static {
		return nil
	}
	unlock, err := f.lock(ctx)
	if readOnly(err) {
		return nil
	}
	if err != nil {
		return err
	}
	defer unlock()
	if p, err = f.readPublication(); err != nil {
		return err
	}
	p.Static = true
	if err := f.writePublication(p); err != nil && !readOnly(err) {
		return err
	}
	return nil
}

// copyDir is the folder of a copy, locked. Everything happens below its handle,
// so that no link set meanwhile leads out of it.
type copyDir struct {
	root *os.Root
	lock *os.File
	name string
}

func openCopy(ctx context.Context, dir string) (*copyDir, error) {
	dir = filepath.Clean(dir)                       // a trailing slash would hide a link
	if err := os.MkdirAll(dir, 0o755); err != nil { //nolint:gosec // what is in it is public
		return nil, fmt.Errorf("%w: %w", ErrCopy, err)
	}
	named, err := os.Lstat(dir)
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrCopy, err)
	}
	if !named.IsDir() {
		return nil, fmt.Errorf("%w: %s is a link or a file: name the folder itself", ErrCopy, dir)
	}
	root, err := os.OpenRoot(dir)
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrCopy, err)
	}
	c := &copyDir{root: root, name: dir}
	if err := c.open(ctx, named); err != nil {
		c.close()
		return nil, err
	}
	return c, nil
}

// open locks the folder and looks at what is in it.
func (c *copyDir) open(ctx context.Context, named fs.FileInfo) error {
	var err error
	if c.lock, err = c.root.Open("."); err != nil {
		return fmt.Errorf("%w: %w", ErrCopy, err)
	}
	opened, err := c.lock.Stat()
	if err != nil {
		return fmt.Errorf("%w: %w", ErrCopy, err)
	}
	if !os.SameFile(named, opened) {
		return fmt.Errorf("%w: %s was changed meanwhile", ErrCopy, c.name)
	}
	if err := ownersAlone(c.name, opened); err != nil {
		return err
	}
	if err := waitLock(ctx, c.lock, c.name); err != nil {
		return err
	}
	for name, want := range map[string]fs.FileMode{wellKnown: fs.ModeDir, copyKeys: 0, copyBundle: 0, discovery1: 0, discovery2: 0} {
		info, err := c.root.Lstat(name)
		switch {
		case errors.Is(err, fs.ErrNotExist):
		case err != nil:
			return fmt.Errorf("%w: %w", ErrCopy, err)
		case info.Mode().Type() != want:
			// A link would have us write, or publish, a file of somebody else's choice.
			return fmt.Errorf("%w: %s is not a file or folder of its own: remove it", ErrCopy, filepath.Join(c.name, name))
		default:
			if err := ownersAlone(filepath.Join(c.name, name), info); err != nil {
				return err
			}
		}
	}
	// What a crash left half written; nobody else writes while we hold the lock.
	if err := c.root.Remove(copyTemp); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("%w: %w", ErrCopy, err)
	}
	return nil
}

// ownersAlone refuses what others may write: a key that somebody else put there
// looks like one of another key folder, would be kept, and would be published.
func ownersAlone(path string, info fs.FileInfo) error {
	if mode := info.Mode().Perm(); mode&toWrite != 0 {
		return fmt.Errorf("%w: %s has mode %04o: look at what is in it, and run chmod go-w %s", ErrCopy, path, mode, path)
	}
	return nil
}

func (c *copyDir) close() {
	if c.lock != nil {
		_ = c.lock.Close() // gives the lock back
	}
	_ = c.root.Close()
}

// read returns nil without an error if there is no such file.
func (c *copyDir) read(name string, limit int64) ([]byte, error) {
	file, err := c.root.Open(name)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrCopy, err)
	}
	defer file.Close() //nolint:errcheck // opened for reading only
	raw, err := io.ReadAll(io.LimitReader(file, limit+1))
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrCopy, err)
	}
	if int64(len(raw)) > limit {
		return nil, fmt.Errorf("%w: %s has more than %d bytes", ErrCopy, filepath.Join(c.name, name), limit)
	}
	return raw, nil
}

// ours refuses the discovery document of another issuer: its relying parties
// would get our keys.
func (c *copyDir) ours(name, url string) error {
	raw, err := c.read(name, maxDiscovery)
	if raw == nil || err != nil {
		return err
	}
	var doc struct {
		Issuer string `json:"issuer"`
	}
	if err := json.Unmarshal(raw, &doc); err != nil || doc.Issuer != url {
		return fmt.Errorf("%w: %s is that of another issuer: name another folder, or remove it", ErrCopy, filepath.Join(c.name, name))
	}
	return nil
}

func (c *copyDir) keys() (issuer.KeySet, error) {
	raw, err := c.read(copyKeys, issuer.MaxKeySet)
	if raw == nil || err != nil {
		return issuer.KeySet{}, err
	}
	set, err := issuer.ReadKeySet(raw)
	if err != nil {
		return issuer.KeySet{}, fmt.Errorf("%w: %s: %w: name another folder, or remove it", ErrCopy, filepath.Join(c.name, copyKeys), err)
	}
	return set, nil
}

// write puts a whole file in its place by rename, and reports whether it had to:
// tools that upload a folder look at a file's time.
func (c *copyDir) write(name string, raw []byte) (bool, error) {
	if old, err := c.read(name, issuer.MaxKeySet); err == nil && bytes.Equal(old, raw) {
		return false, nil
	}
	file, err := c.root.OpenFile(copyTemp, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o644)
	if err != nil {
		return false, fmt.Errorf("%w: %w", ErrCopy, err)
	}
	_, err = file.Write(raw)
	err = errors.Join(err, file.Chmod(0o644), file.Sync(), file.Close()) // readable for a web server, whatever the umask
	if err == nil {
		err = c.root.Rename(copyTemp, name)
	}
	if err == nil {
		err = c.sync(filepath.Dir(name))
	}
	if err != nil {
		_ = c.root.Remove(copyTemp)
		return false, fmt.Errorf("%w: write %s: %w", ErrCopy, filepath.Join(c.name, name), err)
	}
	return true, nil
}

// sync makes a rename durable.
func (c *copyDir) sync(dir string) error {
	d, err := c.root.Open(dir)
	if err != nil {
		return err
	}
	return errors.Join(d.Sync(), d.Close())
}

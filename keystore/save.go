package keystore

import (
	"context"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"strings"
	"time"

	"cambio/issuer"
)

// Save replaces the ring: new key files first, then keys.json by one rename,
// then the files of keys that are gone. A crash in between leaves the old or the
// new ring, and at most a key file that nothing names. The folder is made if it
// is not there. A signer that is neither in memory nor a [Remote] cannot be saved.
//
// Save alone does not keep two writers apart: use [Files.Update] for that.
func (f *Files) Save(_ context.Context, r issuer.Ring) error {
	if err := r.Validate(); err != nil {
		return err
	}
	if err := os.MkdirAll(f.dir, 0o700); err != nil {
		return fmt.Errorf("keystore: %w", err)
	}
	old, err := f.readManifest()
	if err != nil {
		return err
	}
	var before manifest
	if old == nil {
		// An empty list first: key files without any list then mean that the list
		// was lost, never that the first start crashed.
		if err := f.writeManifest(manifest{Format: formatFiles, Keys: []entry{}}); err != nil {
			return err
		}
	} else if before, err = parseManifest(old); err != nil {
		return fmt.Errorf("%s: %w", f.path(manifestName), err)
	}
	m := manifest{Keys: make([]entry, 0, len(r.Keys))}
	kept := make(map[string]bool, len(r.Keys))
	for _, k := range r.Keys {
		if err := f.writeKey(k); err != nil {
			return err
		}
		e, err := entryOf(k)
		if err != nil {
			return err
		}
		kept[k.KID] = true
		m.Keys = append(m.Keys, e)
	}
	m.Format = format(m.Keys)
	if err := f.recordGone(before, kept); err != nil {
		return err
	}
	// The files must be in the folder for good before the list that names them is.
	if err := f.syncDir(); err != nil {
		return err
	}
	if err := f.writeManifest(m); err != nil {
		return err
	}
	for _, e := range before.Keys {
		if kept[e.KID] {
			continue
		}
		// A revoked key that stays on the disk can be stolen once more.
		if err := os.Remove(f.path(e.KID + ".pem")); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return fmt.Errorf("keystore: the new keys are in force, but an old one is still on the disk: %w", err)
		}
	}
	return nil
}

// Update changes the ring while no other process can: it locks the folder,
// loads, calls change, and saves what that returns. On a folder without keys
// change gets an empty Ring. An error of change leaves everything as it was. It
// waits for another holder of the lock until ctx ends, then it is ErrBusy.
func (f *Files) Update(ctx context.Context, change func(issuer.Ring) (issuer.Ring, error)) (issuer.Ring, error) {
	if err := os.MkdirAll(f.dir, 0o700); err != nil {
		return issuer.Ring{}, fmt.Errorf("keystore: %w", err)
	}
	unlock, err := f.lock(ctx)
	if err != nil {
		return issuer.Ring{}, err
	}
	defer unlock()
	f.sweep()
	r, err := f.Load(ctx)
	if err != nil && !errors.Is(err, issuer.ErrNoKeys) {
		return issuer.Ring{}, err
	}
	r, err = change(r)
	if err != nil {
		return issuer.Ring{}, err
	}
	if err := f.Save(ctx, r); err != nil {
		return issuer.Ring{}, err
	}
	return r, nil
}

// lockRetry is how often a taken lock is tried again: a rotation takes about a
// second, most of it finding RSA primes.
const lockRetry = 50 * time.Millisecond

// lock takes the folder's lock, which the kernel gives back when its holder dies.
func (f *Files) lock(ctx context.Context) (unlock func(), err error) {
	file, err := os.OpenFile(f.path(lockName), os.O_CREATE|os.O_RDWR, 0o600)
	if err != nil {
		return nil, fmt.Errorf("keystore: %w", err)
	}
	if err := waitLock(ctx, file, f.dir); err != nil {
		_ = file.Close()
		return nil, err
	}
	return func() { _ = file.Close() }, nil // closing gives the lock back
}

// waitLock locks an open file, or a folder, until it is closed. It waits for
// another holder until ctx ends, then it is ErrBusy.
func waitLock(ctx context.Context, file *os.File, name string) error {
	for {
		ok, err := tryLock(file)
		if err != nil {
			return fmt.Errorf("keystore: lock %s: %w", name, err)
		}
		if ok {
			return nil
		}
		again := time.NewTimer(lockRetry)
		select {
		case <-ctx.Done():
			again.Stop()
			return fmt.Errorf("%w: %s", ErrBusy, name)
		case <-again.C:
		}
	}
}

// sweep removes what a crash left half written. Only the holder of the lock may:
// what another one is writing looks the same.
func (f *Files) sweep() {
	entries, err := os.ReadDir(f.dir)
	if err != nil {
		return // the write that follows says what is wrong
	}
	for _, e := range entries {
		if strings.HasPrefix(e.Name(), tempPrefix) {
			_ = os.Remove(f.path(e.Name()))
		}
	}
}

func (f *Files) writeKey(k issuer.Key) error {
	if _, ok := k.Signer.(*Remote); ok {
		return nil // there is nothing to write
	}
	name := k.KID + ".pem"
	if raw, err := f.read(name, maxKeyFile, true); err == nil {
		if have, err := parseKey(raw); err == nil && have.kid == k.KID {
			return nil // keys never change
		}
	}
	if !k.InSoftware() {
		return fmt.Errorf("keystore: key %s is not one that a file can hold", k.KID)
	}
	der, err := x509.MarshalPKCS8PrivateKey(k.Signer)
	if err != nil {
		return fmt.Errorf("keystore: key %s is not one that a file can hold", k.KID)
	}
	return f.write(name, pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: der}))
}

func (f *Files) writeManifest(m manifest) error {
	raw, err := render(m)
	if err != nil {
		return err
	}
	if err := f.write(manifestName, raw); err != nil {
		return err
	}
	if err := f.syncDir(); err != nil {
		return err
	}
	f.remember(raw)
	return nil
}

// write puts a whole file in its place by rename, its bytes on the disk before.
func (f *Files) write(name string, raw []byte) error {
	t, err := os.CreateTemp(f.dir, tempPrefix+"*") // mode 0600
	if err != nil {
		return fmt.Errorf("keystore: %w", err)
	}
	_, err = t.Write(raw)
	if err == nil {
		err = t.Sync()
	}
	if e := t.Close(); err == nil {
		err = e
	}
	if err == nil {
		err = os.Rename(t.Name(), f.path(name))
	}
	if err != nil {
		_ = os.Remove(t.Name())
		return fmt.Errorf("keystore: write %s: %w", f.path(name), err)
	}
	return nil
}

// syncDir makes the renames of the folder durable.
func (f *Files) syncDir() error {
	d, err := os.Open(f.dir)
	if err != nil {
		return fmt.Errorf("keystore: %w", err)
	}
	err = d.Sync()
	if e := d.Close(); err == nil {
		err = e
	}
	if err != nil {
		return fmt.Errorf("keystore: sync %s: %w", f.dir, err)
	}
	return nil
}

func utc(t time.Time) time.Time {
	if t.IsZero() {
		return time.Time{}
	}
	return t.UTC()
}

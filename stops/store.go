package stops

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"syscall"
	"time"

	"cambio/trust"
)

const (
	fileName = "stops.json"
	lockName = "stops.lock"
)

// Store is the file in a state folder. It is what the command line works with:
// it needs no running gateway.
type Store struct {
	Dir  string           // the state folder
	Now  func() time.Time //
	Rand io.Reader        // for the ids of stops
}

// Add puts a stop on the list and returns it with its id and time of adding.
// Only Kind, What, Reason and Until of s count. ErrInvalid says what is wrong
// with it; ErrUnavailable that the list is missing or cannot be read: a start of
// the gateway, or [Store.Restore], makes one. An empty state folder gets one.
func (s Store) Add(stop trust.Stop) (trust.Stop, error) {
	apply, err := adding(&stop, s.Now(), s.Rand)
	if err == nil {
		err = s.replace(apply)
	}
	if err != nil {
		return trust.Stop{}, err
	}
	return stop, nil
}

// Lift takes a stop off the list and returns it. ErrNotFound: there is none with
// this id.
func (s Store) Lift(id string) (trust.Stop, error) {
	var lifted trust.Stop
	err := s.replace(lifting(id, &lifted))
	return lifted, err
}

// List returns the list. ErrUnavailable: there is none that can be read.
func (s Store) List() (trust.StopSet, error) { return s.read() }

// Restore writes these stops as the list, and with them those of a file that can
// still be read. The version is above seen and above the file's: the operator's
// word that this is the list. seen is the highest version that the journal holds.
// A list of a newer format is refused.
func (s Store) Restore(stops []trust.Stop, seen int64) (trust.StopSet, error) {
	var made trust.StopSet
	err := s.replace(restoring(stops, seen, &made))
	return made, err
}

// replace makes another list of that which is there, under the lock, so that two
// commands at once do not lose one another's stop.
func (s Store) replace(apply apply) error {
	unlock, err := s.lock()
	if err != nil {
		return err
	}
	defer unlock()
	old, err := s.read()
	if missing(err) && s.untouched() {
		old, err = trust.StopSet{}, nil
	}
	set, err := apply(old, err)
	if err != nil || set.Version() == old.Version() {
		return err
	}
	return s.write(set)
}

// untouched reports whether nothing but the lock is in the state folder. In any
// other a missing list was taken away, and to begin a new one would hide that.
func (s Store) untouched() bool {
	entries, err := os.ReadDir(s.Dir)
	return err == nil && len(entries) == 1 && entries[0].Name() == lockName
}

func (s Store) lock() (unlock func(), err error) {
	if err := os.MkdirAll(s.Dir, 0o700); err != nil {
		return nil, fmt.Errorf("stops: %w", err)
	}
	f, err := os.OpenFile(filepath.Join(s.Dir, lockName), os.O_CREATE|os.O_RDWR, 0o600)
	if err != nil {
		return nil, fmt.Errorf("stops: %w", err)
	}
	if err := flock(f); err != nil {
		return nil, errors.Join(fmt.Errorf("stops: lock: %w", err), f.Close())
	}
	return func() { _ = f.Close() }, nil // which unlocks
}

// flock waits for the lock; a signal that comes meanwhile is no reason to stop.
func flock(f *os.File) error {
	for {
		err := syscall.Flock(int(f.Fd()), syscall.LOCK_EX)
		if !errors.Is(err, syscall.EINTR) {
			return err
		}
	}
}

func (s Store) read() (trust.StopSet, error) {
	f, err := os.Open(filepath.Join(s.Dir, fileName))
	if errors.Is(err, fs.ErrNotExist) {
		return trust.StopSet{}, fmt.Errorf("%w: %w: %w", ErrUnavailable, errMissing, err)
	}
	if err != nil {
		return trust.StopSet{}, fmt.Errorf("%w: %w", ErrUnavailable, err)
	}
	defer f.Close() //nolint:errcheck // only read
	b, err := io.ReadAll(io.LimitReader(f, maxFile+1))
	if err != nil {
		return trust.StopSet{}, fmt.Errorf("%w: %w", ErrUnavailable, err)
	}
	set, err := Parse(b)
	if err != nil {
		return trust.StopSet{}, fmt.Errorf("%w: %s: %w", ErrUnavailable, fileName, err)
	}
	return set, nil
}

// write replaces the file as a whole: a reader, or a crash, finds the old list
// or the new one, never a part.
func (s Store) write(set trust.StopSet) (err error) {
	b, err := encoded(set)
	if err != nil {
		return err
	}
	f, err := os.CreateTemp(s.Dir, fileName+".*") // 0600
	if err != nil {
		return fmt.Errorf("stops: %w", err)
	}
	defer func() {
		if err != nil {
			_ = os.Remove(f.Name())
		}
	}()
	_, err = f.Write(b)
	if err = errors.Join(err, f.Sync(), f.Close()); err != nil {
		return fmt.Errorf("stops: %w", err)
	}
	if err := os.Rename(f.Name(), filepath.Join(s.Dir, fileName)); err != nil {
		return fmt.Errorf("stops: %w", err)
	}
	return syncDir(s.Dir)
}

// syncDir makes a rename durable.
func syncDir(dir string) error {
	d, err := os.Open(dir) //nolint:gosec // the folder is the operator's to name
	if err != nil {
		return fmt.Errorf("stops: %w", err)
	}
	if err := errors.Join(d.Sync(), d.Close()); err != nil {
		return fmt.Errorf("stops: %w", err)
	}
	return nil
}

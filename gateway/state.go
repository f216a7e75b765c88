package gateway

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"syscall"
)

// ErrStateLocked says that another process uses the state folder.
var ErrStateLocked = errors.New("gateway: the state folder is in use by another process")

// holdState makes the state folder and locks it until the returned function is
// called. Two processes on one journal and one replay memory would each accept
// a token that the other has seen.
func holdState(dir string) (unlock func(), err error) {
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, fmt.Errorf("gateway: state folder: %w", err)
	}
	info, err := os.Stat(dir)
	if err != nil {
		return nil, fmt.Errorf("gateway: state folder: %w", err)
	}
	// Keys and the journal lie here: nobody else on the machine may read them.
	if info.Mode().Perm()&0o077 != 0 {
		return nil, fmt.Errorf("gateway: state folder %s has mode %04o; run: chmod 700 %s", dir, info.Mode().Perm(), dir)
	}
	f, err := os.OpenFile(filepath.Join(dir, "lock"), os.O_CREATE|os.O_RDWR, 0o600) //nolint:gosec // the folder is the operator's to name
	if err != nil {
		return nil, fmt.Errorf("gateway: state lock: %w", err)
	}
	if err := syscall.Flock(int(f.Fd()), syscall.LOCK_EX|syscall.LOCK_NB); err != nil {
		_ = f.Close()
		return nil, fmt.Errorf("%w: %s", ErrStateLocked, dir)
	}
	if err := checkFormat(filepath.Join(dir, "format")); err != nil {
		_ = f.Close()
		return nil, err
	}
	return func() { _ = f.Close() }, nil // closing the file frees the lock
}

// stateFormat is the version of the state folder's form: of the journal's lines,
// the stop list and the keys. A version of the program that changes one so that
// the version before it would misread it, raises it.
const stateFormat = "1\n"

// ErrStateFormat says that a newer program wrote the state folder.
var ErrStateFormat = errors.New("gateway: the state folder is of a newer version")

// checkFormat refuses a folder that an older program would misread, and marks a
// new one.
func checkFormat(path string) error {
	b, err := os.ReadFile(path) //nolint:gosec // the folder is the operator's to name
	switch {
	case errors.Is(err, fs.ErrNotExist):
		if err := os.WriteFile(path, []byte(stateFormat), 0o600); err != nil {
			return fmt.Errorf("gateway: state folder: %w", err)
		}
		return nil
	case err != nil:
		return fmt.Errorf("gateway: state folder: %w", err)
	case string(b) != stateFormat:
		return fmt.Errorf("%w: %s holds %.20q, this program knows %.20q", ErrStateFormat, path, b, stateFormat)
	}
	return nil
}

//go:build unix && !solaris && !aix

package keystore

import (
	"errors"
	"os"
	"syscall"
)

// tryLock takes an exclusive lock on an open file, or reports that another
// process holds it.
func tryLock(file *os.File) (bool, error) {
	err := syscall.Flock(int(file.Fd()), syscall.LOCK_EX|syscall.LOCK_NB)
	if errors.Is(err, syscall.EWOULDBLOCK) {
		return false, nil
	}
	return err == nil, err
}

//go:build !unix || solaris || aix

package keystore

import (
	"errors"
	"os"
)

// tryLock refuses: without a lock two rotations could each undo the other.
func tryLock(*os.File) (bool, error) {
	return false, errors.New("this system has no file locks that we know: change the keys on Linux, macOS or BSD")
}

//go:build !linux

package keystore_test

import "testing"

// asReader runs a function that may read the folder and not write to it. The
// tests of such systems do not run as root.
func asReader(t *testing.T, dir string, run func(), _ ...string) {
	t.Helper()
	chmod(t, dir, 0o555)
	defer chmod(t, dir, 0o700)
	run()
}

package keystore_test

import (
	"os"
	"path/filepath"
	"runtime"
	"syscall"
	"testing"
)

// asReader runs a function that may read the folder and not write to it. Root
// may write anywhere, so as root the function's thread takes the rights of another
// user, who owns the files and what own names; the thread ends with it.
func asReader(t *testing.T, dir string, run func(), own ...string) {
	t.Helper()
	const other = 65534
	chmod(t, dir, 0o555)
	defer chmod(t, dir, 0o700)
	if os.Geteuid() != 0 {
		run()
		return
	}
	for up := filepath.Dir(dir); up != os.TempDir() && up != "/"; up = filepath.Dir(up) {
		chmod(t, up, 0o755)
	}
	files, err := filepath.Glob(filepath.Join(dir, "*"))
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range append(files, own...) {
		if err := os.Chown(f, other, other); err != nil {
			t.Fatal(err)
		}
	}
	done := make(chan struct{})
	go func() {
		defer close(done)
		runtime.LockOSThread() // never unlocked
		if _, _, errno := syscall.RawSyscall(syscall.SYS_SETFSUID, other, 0, 0); errno != 0 {
			t.Error(errno)
			return
		}
		run()
	}()
	<-done
}

package keystore

import (
	"os"
	"syscall"
)

// stReadOnly is ST_RDONLY of statfs(2): of the file system, or of this mount of it.
const stReadOnly = 1

// onReadOnlyMount reports whether nobody can write where an open file or folder
// lies, whatever its mode says, through the mount that we see. False where that
// cannot be known.
func onReadOnlyMount(file *os.File) bool {
	var st syscall.Statfs_t
	if err := syscall.Fstatfs(int(file.Fd()), &st); err != nil {
		return false
	}
	return st.Flags&stReadOnly != 0
}

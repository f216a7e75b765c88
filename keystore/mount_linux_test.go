package keystore_test

import (
	"os"
	"slices"
	"strings"
	"testing"

	"cambio/keystore"
)

// What the system says of each mount is what the list of mounts says of it. That
// needs no rights, and no mount of our own.
func TestOnReadOnlyMount(t *testing.T) {
	t.Parallel()
	// Those whose answer comes from the kernel alone: a network's may hang.
	local := []string{"ext4", "xfs", "btrfs", "overlay", "tmpfs", "devtmpfs", "proc", "sysfs", "cgroup", "cgroup2", "squashfs", "erofs", "mqueue"}
	want := map[string]bool{}
	for line := range strings.Lines(string(readFile(t, "/proc/self/mountinfo"))) {
		fields := strings.Fields(line)
		dash := slices.Index(fields, "-")
		if dash < 6 || len(fields) < dash+4 || strings.Contains(fields[4], `\`) {
			continue
		}
		delete(want, fields[4]) // the last one mounted there is what is seen
		if slices.Contains(local, fields[dash+1]) {
			want[fields[4]] = slices.Contains(strings.Split(fields[5], ","), "ro") || slices.Contains(strings.Split(fields[dash+3], ","), "ro")
		}
	}
	checked := 0
	for path, readOnly := range want {
		f, err := os.Open(path)
		if err != nil {
			continue // not for us to see, or below another mount
		}
		if got := keystore.OnReadOnlyMount(f); got != readOnly {
			t.Errorf("%s: %v, want %v", path, got, readOnly)
		}
		checked++
		_ = f.Close()
	}
	if checked == 0 {
		t.Errorf("none of %d mounts could be looked at", len(want))
	}
	// Whoever runs this can write here.
	f, err := os.Open(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	if keystore.OnReadOnlyMount(f) {
		t.Error("a folder that was just made is on a read-only mount")
	}
	// Closed, it cannot be known: no.
	_ = f.Close()
	if keystore.OnReadOnlyMount(f) {
		t.Error("a closed file is on a read-only mount")
	}
}

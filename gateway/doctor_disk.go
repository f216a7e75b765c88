package gateway

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"net"
	"net/http"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"time"

	"cambio/audit"
)

const (
	fsyncProbes = 50
	fsyncTime   = 2 * time.Second // the probes end after it, however slow the disk is
	fsyncSlow   = 20 * time.Millisecond
	fsyncHang   = 500 * time.Millisecond
	// A segment has 64 MiB. With less than two of free space the journal, and so
	// everything, is about to stop.
	spaceFail = 128 << 20
	spaceWarn = 1 << 30
)

// lockState is whether somebody holds the state folder.
type lockState int

const (
	lockUnknown lockState = iota // this system does not tell
	lockFree                     // nobody whom this process can see
	lockHeld
)

// liveness is what can be seen of a gateway on this state.
type liveness struct {
	lock    lockState
	admin   error  // why its admin listener does not answer; nil: it does
	skipped bool   // no fixed address to ask at
	ready   bool   //
	failing string // checks of /readyz that are not ok
	policy  string // sha256 of the policy in force
}

// look finds out whether a gateway runs here. It must not take the lock, not
// even for a moment: a gateway that starts right then would refuse to.
func (e *examination) look(ctx context.Context) liveness {
	l := liveness{lock: heldBy(filepath.Join(e.c.State, "lock"))}
	host, port, err := net.SplitHostPort(e.c.AdminListen)
	if err != nil || port == "0" {
		l.skipped = true
		return l
	}
	if addr, err := netip.ParseAddr(host); err == nil && addr.IsUnspecified() {
		host = "localhost"
	}
	ctx, cancel := context.WithTimeout(ctx, checkTime/2)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+net.JoinHostPort(host, port)+"/readyz", nil)
	if err != nil {
		l.admin = err
		return l
	}
	a, err := e.call(req, "")
	if err != nil {
		l.admin = cause(err)
		return l
	}
	var body struct {
		Ready  bool              `json:"ready"`
		Checks map[string]string `json:"checks"`
		Policy string            `json:"policy_sha256"`
	}
	if err := json.Unmarshal(a.body, &body); err != nil || body.Checks == nil {
		l.admin = errors.New("what answers is no gateway")
		return l
	}
	l.ready, l.policy = body.Ready, body.Policy
	var failing []string
	for _, name := range slices.Sorted(maps.Keys(body.Checks)) {
		if body.Checks[name] != "ok" {
			failing = append(failing, name+": "+body.Checks[name])
		}
	}
	l.failing = strings.Join(failing, ", ")
	return l
}

// heldBy asks the kernel who holds a lock, where it tells: /proc/locks of Linux,
// a line such as "1: FLOCK ADVISORY WRITE 4242 fd:01:1234 0 EOF".
func heldBy(path string) lockState {
	info, err := os.Stat(path)
	if err != nil {
		return lockFree // without the file nobody ever held it
	}
	stat, ok := info.Sys().(*syscall.Stat_t)
	locks, err := os.Open("/proc/locks")
	if !ok || err != nil {
		return lockUnknown
	}
	defer locks.Close() //nolint:errcheck // read only: nothing can be lost
	inode := ":" + strconv.FormatUint(stat.Ino, 10)
	for lines := bufio.NewScanner(locks); lines.Scan(); {
		if f := strings.Fields(lines.Text()); len(f) > 5 && f[1] == "FLOCK" && f[3] == "WRITE" && strings.HasSuffix(f[5], inode) {
			return lockHeld
		}
	}
	return lockFree
}

// gateway says what the gateway on this state says of itself.
func (e *examination) gateway(context.Context) []DoctorCheck {
	const name = "gateway"
	l := e.alive()
	switch {
	case l.skipped:
		return []DoctorCheck{skipped(name, "admin_listen has no fixed port to ask at")}
	case l.admin != nil && l.lock == lockHeld:
		return []DoctorCheck{failed(name, "look at its log; a start may take a moment", "a gateway holds the state folder, and %s does not answer: %s", e.c.AdminListen, l.admin)}
	case l.admin != nil:
		return []DoctorCheck{warned(name, "cambio serve, unless it runs elsewhere", "none answers at %s: %s", e.c.AdminListen, l.admin)}
	case !l.ready:
		return []DoctorCheck{failed(name, "look at its log", "it runs, and is not ready: %s", l.failing)}
	}
	return []DoctorCheck{passed(name, "it runs, and is ready; policy %.12s", l.policy)}
}

// journal verifies the newest part of the journal, and changes nothing.
func (e *examination) journal(ctx context.Context) []DoctorCheck {
	v := begin("journal")
	dir := e.journalDir()
	if _, err := os.Stat(dir); errors.Is(err, fs.ErrNotExist) {
		return []DoctorCheck{skipped(v.Name, "there is none yet; the first start makes it")}
	}
	const next = "keep the folder as it is, and run: cambio audit verify"
	fsys := os.DirFS(dir)
	end, err := audit.Look(fsys)
	switch {
	case err != nil:
		return []DoctorCheck{failed(v.Name, next, "%s", err)}
	case end.Segments == 0:
		return []DoctorCheck{failed(v.Name, "restore it from a backup", "the folder holds no segment: it was emptied, or never used")}
	}
	v.note("%s, the newest %s of %s", countOf(end.Segments, "segment"), end.Newest, size(end.Bytes))
	if end.Head == "" {
		v.add(DoctorFail, next, "the newest segments have no signed head")
		return []DoctorCheck{v.end()}
	}
	report, err := audit.Verify(ending{fsys, ctx}, audit.Options{Since: end.Head})
	switch {
	case ctx.Err() != nil:
		v.add(DoctorWarn, "cambio audit verify "+ShellWord(dir), "not read within %s", checkTime)
		return []DoctorCheck{v.end()}
	case err != nil:
		v.add(DoctorFail, next, "%s", err)
		return []DoctorCheck{v.end()}
	case len(report.Problems) > 0:
		v.add(DoctorFail, next, "%s, the first: %s", countOf(len(report.Problems), "problem"), report.Problems[0])
		return []DoctorCheck{v.end()}
	}
	v.note("its %d records chain, %s good", report.Records, countOf(int(report.Checkpoints), "checkpoint"))
	l := e.alive()
	running := l.lock == lockHeld || l.admin == nil && !l.skipped
	if !end.Ended && !running {
		v.add(DoctorWarn, "cambio audit verify --upto FILE, with the checkpoints of its standard output, tells which", "it does not end in order: the gateway was killed, or the end was cut")
	}
	if report.Torn > 0 && !running {
		v.note("%s torn at the end", countOf(int(report.Torn), "byte"))
	}
	return []DoctorCheck{v.end()}
}

// ending is a folder whose files end when ctx does.
type ending struct {
	fs.FS
	ctx context.Context //nolint:containedctx // Read has no other way to hear of it
}

// Open opens a file.
func (e ending) Open(name string) (fs.File, error) {
	f, err := e.FS.Open(name)
	if err != nil {
		return nil, err
	}
	if d, ok := f.(fs.ReadDirFile); ok && name == "." {
		return d, nil
	}
	return endingFile{f, e.ctx}, nil
}

type endingFile struct {
	fs.File
	ctx context.Context //nolint:containedctx // as of ending
}

// Read reads.
func (f endingFile) Read(p []byte) (int, error) {
	if err := f.ctx.Err(); err != nil {
		return 0, err
	}
	return f.File.Read(p)
}

// disk measures what durability costs here, and what space is left.
func (e *examination) disk(ctx context.Context) []DoctorCheck {
	v := begin("disk")
	if _, err := os.Stat(e.c.State); errors.Is(err, fs.ErrNotExist) {
		return []DoctorCheck{skipped(v.Name, "there is no state yet")}
	}
	var space syscall.Statfs_t
	if err := syscall.Statfs(e.c.State, &space); err == nil {
		free := int64(space.Bavail) * int64(space.Bsize) //nolint:gosec,unconvert // the types differ by system; no disk has 2^63 bytes
		v.note("%s free", size(free))
		const next = "make room, or shorten journal.keep"
		switch {
		case free < spaceFail:
			v.add(DoctorFail, next, "when it is full nothing is issued")
		case free < spaceWarn:
			v.add(DoctorWarn, next, "that is little")
		}
	}
	times, err := e.fsyncs(ctx)
	if err != nil {
		v.add(DoctorFail, "see the disk and the folder's mode; nothing is issued while the journal cannot be written", "%s", reasonOf(err))
		return []DoctorCheck{v.end()}
	}
	slices.Sort(times)
	p50, worst := times[len(times)/2], times[len(times)-1]
	v.note("fsync p50 %s, max %s of %d", p50.Round(10*time.Microsecond), worst.Round(10*time.Microsecond), len(times))
	if p50 > fsyncSlow || worst > fsyncHang {
		v.add(DoctorWarn, "put the state on a local disk", "that is slow: each exchange waits for one or two")
	}
	return []DoctorCheck{v.end()}
}

// fsyncs appends and syncs as the journal does, to a file of its own, which it
// removes.
func (e *examination) fsyncs(ctx context.Context) (times []time.Duration, err error) {
	f, err := os.CreateTemp(e.c.State, ".doctor-*") // mode 0600
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, f.Close(), os.Remove(f.Name())) }()
	line := make([]byte, 512)
	began := e.env.Now()
	for len(times) < fsyncProbes {
		start := e.env.Now()
		if _, err := f.Write(line); err != nil {
			return nil, err
		}
		if err := f.Sync(); err != nil {
			return nil, err
		}
		now := e.env.Now()
		times = append(times, now.Sub(start))
		if now.Sub(began) > fsyncTime || ctx.Err() != nil {
			break
		}
	}
	return times, nil
}

func size(n int64) string {
	const unit = 1024
	if n < unit {
		return fmt.Sprintf("%d B", n)
	}
	value, names := float64(n), []string{"B", "KiB", "MiB", "GiB", "TiB", "PiB"}
	i := 0
	for ; value >= unit && i < len(names)-1; i++ {
		value /= unit
	}
	return fmt.Sprintf("%.1f %s", value, names[i])
}

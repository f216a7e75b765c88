package audit

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"
)

// File is a segment that is written.
type File interface {
	io.Writer
	// Sync returns nil when all that was written is on disk.
	Sync() error
	Close() error
}

const (
	segmentSuffix = ".jsonl"
	segmentDigits = 8
	maxSegment    = 99_999_999
)

func segmentName(number int) string {
	return fmt.Sprintf("%0*d%s", segmentDigits, number, segmentSuffix)
}

// segmentNumber returns the number in a segment's file name, or 0 for any other
// name: foreign files in the folder are left alone.
func segmentNumber(name string) int {
	digits, ok := strings.CutSuffix(name, segmentSuffix)
	if !ok || len(digits) != segmentDigits {
		return 0
	}
	n, err := strconv.ParseUint(digits, 10, 32)
	if err != nil {
		return 0
	}
	return int(n)
}

// segments returns the names of the segments, oldest first.
func segments(fsys fs.FS) ([]string, error) {
	entries, err := fs.ReadDir(fsys, ".")
	if err != nil {
		return nil, fmt.Errorf("audit: list segments: %w", err)
	}
	var names []string
	for _, e := range entries {
		if segmentNumber(e.Name()) > 0 {
			names = append(names, e.Name())
		}
	}
	slices.Sort(names)
	return names, nil
}

// createSegment creates a segment and makes its name durable too: a file that
// is fsynced under a name that a crash forgets is lost.
func createSegment(path string) (File, error) {
	f, err := os.OpenFile(path, os.O_CREATE|os.O_EXCL|os.O_WRONLY|os.O_APPEND, 0o600) //nolint:gosec // the folder is the operator's to name
	if err != nil {
		return nil, err
	}
	if err := syncFile(filepath.Dir(path)); err != nil {
		return nil, errors.Join(err, f.Close())
	}
	return f, nil
}

// syncFile fsyncs a file or a folder by its name.
func syncFile(path string) error {
	f, err := os.Open(path) //nolint:gosec // the folder is the operator's to name
	if err != nil {
		return err
	}
	return errors.Join(f.Sync(), f.Close())
}

// firstRecord returns the first record of a segment. ok is false when the
// segment has no complete line.
func firstRecord(fsys fs.FS, name string) (r Record, ok bool, err error) {
	f, err := fsys.Open(name)
	if err != nil {
		return Record{}, false, fmt.Errorf("audit: %w", err)
	}
	defer f.Close() //nolint:errcheck // only read
	line, err := newLineReader(f).next()
	if errors.Is(err, io.EOF) {
		return Record{}, false, nil
	}
	if err != nil {
		return Record{}, false, fmt.Errorf("audit: %s:1: %w", name, err)
	}
	if r, err = parseLine(line); err != nil {
		return Record{}, false, fmt.Errorf("audit: %s:1: %w", name, err)
	}
	return r, true, nil
}

// prune removes the oldest segments all of whose records are older than before.
// The current segment and the one ahead of it stay: a start needs them.
func prune(dir string, current int, before time.Time) error {
	fsys := os.DirFS(dir)
	names, err := segments(fsys)
	if err != nil {
		return err
	}
	for i, name := range names {
		if i+1 >= len(names) || segmentNumber(names[i+1]) >= current {
			return nil
		}
		next, ok, err := firstRecord(fsys, names[i+1])
		if err != nil || !ok || !next.Time.Before(before) {
			return err
		}
		if err := os.Remove(filepath.Join(dir, name)); err != nil {
			return fmt.Errorf("audit: remove an old segment: %w", err)
		}
	}
	return nil
}

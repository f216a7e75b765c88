package audit

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"iter"
	"math"
	"slices"
	"time"
)

// Read returns the records of a journal, oldest first. Lines that a later
// segment's head abandoned are left out, and a torn last line of a segment is:
// both were never durable for anybody. It checks the form of lines, not the
// chain; see [Verify]. After an error it yields nothing more.
func Read(fsys fs.FS) iter.Seq2[Record, error] {
	return read(fsys, nil)
}

// Find returns the records with this id, or of the decision with this id.
func Find(fsys fs.FS, id string) ([]Record, error) {
	if id == "" || len(id) > maxString {
		return nil, errors.New("audit: an id is wanted")
	}
	var found []Record
	for r, err := range read(fsys, []byte(id)) {
		if err != nil {
			return nil, err
		}
		if r.ID == id || r.Decision == id {
			found = append(found, r)
		}
	}
	return found, nil
}

// read yields the records whose line holds want; nil: all.
func read(fsys fs.FS, want []byte) iter.Seq2[Record, error] {
	return func(yield func(Record, error) bool) {
		names, err := segments(fsys)
		if err != nil {
			yield(Record{}, err)
			return
		}
		limits, err := takeovers(fsys, names)
		if err != nil {
			yield(Record{}, err)
			return
		}
		for i, name := range names {
			if !readSegment(fsys, name, limits[i], want, yield) {
				return
			}
		}
	}
}

// takeovers returns for each segment the seq at which a later one took over.
func takeovers(fsys fs.FS, names []string) ([]int64, error) {
	limits := make([]int64, len(names))
	limit := int64(math.MaxInt64)
	for i := len(names) - 1; i >= 0; i-- {
		limits[i] = limit
		r, ok, err := firstRecord(fsys, names[i])
		if err != nil {
			return nil, err
		}
		if ok {
			limit = min(limit, r.Seq)
		}
	}
	return limits, nil
}

func readSegment(fsys fs.FS, name string, limit int64, want []byte, yield func(Record, error) bool) bool {
	f, err := fsys.Open(name)
	if err != nil {
		return yield(Record{}, fmt.Errorf("audit: %w", err)) && false
	}
	defer f.Close() //nolint:errcheck // only read
	lines := newLineReader(f)
	for {
		line, err := lines.next()
		if errors.Is(err, io.EOF) {
			return true
		}
		if err == nil && !bytes.Contains(line, want) {
			continue
		}
		var r Record
		if err == nil {
			r, err = parseLine(line)
		}
		if err != nil {
			return yield(Record{}, fmt.Errorf("audit: %s:%d: %w", name, lines.number, err)) && false
		}
		if r.Seq >= limit {
			return true
		}
		if !yield(r, nil) {
			return false
		}
	}
}

// Tail yields the last n records, and with a poll interval above zero goes on
// with new ones as they come, looking that often, until ctx is done. What is
// followed is not durable yet when it is shown.
func Tail(ctx context.Context, fsys fs.FS, n int, poll time.Duration) iter.Seq2[Record, error] {
	return func(yield func(Record, error) bool) {
		last, err := lastRecords(fsys, n)
		if err != nil {
			yield(Record{}, err)
			return
		}
		t := &follower{fsys: fsys}
		defer t.close()
		if poll > 0 {
			if err := t.skip(last.end); err != nil {
				yield(Record{}, err)
				return
			}
		}
		for _, r := range last.records {
			if !yield(r, nil) {
				return
			}
		}
		if poll <= 0 {
			return
		}
		ticker := time.NewTicker(poll)
		defer ticker.Stop()
		for {
			for {
				r, ok, err := t.next()
				if err != nil {
					yield(Record{}, err)
					return
				}
				if !ok {
					break
				}
				if !yield(r, nil) {
					return
				}
			}
			select {
			case <-ctx.Done():
				return
			case <-ticker.C:
			}
		}
	}
}

// position is a place in a journal: how many lines of a segment were read.
type position struct {
	name  string
	lines int
}

type lastLines struct {
	records []Record
	end     position
}

// lastRecords reads the newest segments that hold n records.
func lastRecords(fsys fs.FS, n int) (lastLines, error) {
	var last lastLines
	names, err := segments(fsys)
	if err != nil {
		return last, err
	}
	limits, err := takeovers(fsys, names)
	if err != nil {
		return last, err
	}
	for i := len(names) - 1; i >= 0 && (len(last.records) < n || i == len(names)-1); i-- {
		var records []Record
		lines := 0
		readSegment(fsys, names[i], limits[i], nil, func(r Record, e error) bool {
			if e != nil {
				err = e
				return false
			}
			lines++
			records = append(records, r)
			return true
		})
		if err != nil {
			return last, err
		}
		if i == len(names)-1 {
			last.end = position{names[i], lines}
		}
		last.records = slices.Concat(records, last.records)
	}
	last.records = last.records[max(0, len(last.records)-max(n, 0)):]
	return last, nil
}

// follower reads records as they are written.
type follower struct {
	fsys  fs.FS
	name  string // of the open segment; empty: none yet
	file  fs.File
	lines *lineReader
}

func (t *follower) close() {
	if t.file != nil {
		_ = t.file.Close()
	}
}

// skip opens the segment of p and reads over the lines before it.
func (t *follower) skip(p position) error {
	if p.name == "" {
		return nil
	}
	if err := t.open(p.name); err != nil {
		return err
	}
	for range p.lines {
		if _, err := t.lines.next(); err != nil {
			return fmt.Errorf("audit: %s: %w", p.name, err)
		}
	}
	return nil
}

func (t *follower) open(name string) error {
	f, err := t.fsys.Open(name)
	if err != nil {
		return fmt.Errorf("audit: %w", err)
	}
	t.close()
	t.name, t.file, t.lines = name, f, newLineReader(f)
	return nil
}

// next returns the next record; ok is false when there is none yet.
func (t *follower) next() (r Record, ok bool, err error) {
	for {
		if t.lines != nil {
			line, err := t.lines.next()
			if err == nil {
				if r, err = parseLine(line); err == nil {
					return r, true, nil
				}
			}
			if !errors.Is(err, io.EOF) {
				return Record{}, false, fmt.Errorf("audit: %s:%d: %w", t.name, t.lines.number, err)
			}
		}
		names, err := segments(t.fsys)
		if err != nil {
			return Record{}, false, err
		}
		i := slices.IndexFunc(names, func(name string) bool { return name > t.name })
		if i < 0 {
			return Record{}, false, nil
		}
		// The next segment exists, so this one grows no more: what came between
		// the last look and now is read before it is left.
		if t.lines != nil {
			line, err := t.lines.next()
			if err == nil {
				r, err = parseLine(line)
				return r, err == nil, err
			}
			if !errors.Is(err, io.EOF) {
				return Record{}, false, fmt.Errorf("audit: %s: %w", t.name, err)
			}
		}
		if err := t.open(names[i]); err != nil {
			return Record{}, false, err
		}
	}
}

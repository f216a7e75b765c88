package audit

import (
	"bytes"
	"cmp"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"math"
	"slices"
	"sync"
	"sync/atomic"
	"time"
)

// Scan reads a journal for whoever counts: with several goroutines, and so in no
// order, and only the records that are asked for.
type Scan struct {
	Since, Until time.Time // zero: from the first, to the last; Until is exclusive
	Events       []Event   // nil: all
	Workers      int       // goroutines; 0 is one
	// Read is told of each piece of the journal that was read, in bytes, from any
	// goroutine. May be nil.
	Read func(n int64)
}

// scanBlock is how much a goroutine takes at a time: some thousand lines.
const scanBlock = 1 << 20

// Size is how many bytes a scan of a journal reads at most.
func Size(fsys fs.FS) (int64, error) {
	names, err := segments(fsys)
	if err != nil {
		return 0, err
	}
	var size int64
	for _, name := range names {
		info, err := fs.Stat(fsys, name)
		if err != nil {
			return 0, fmt.Errorf("audit: %w", err)
		}
		size += info.Size()
	}
	return size, nil
}

// Each hands over the records that [Read] would yield, as far as they are asked
// for. worker is called once for each goroutine, and what it returns by that one
// alone. The first error, by its place in the journal, ends the scan; lines that
// are not asked for are not looked at, as by their event and time.
func (s Scan) Each(fsys fs.FS, worker func() func(Record) error) error {
	names, err := segments(fsys)
	if err != nil {
		return err
	}
	limits, err := takeovers(fsys, names)
	if err != nil {
		return err
	}
	names, limits, err = s.within(fsys, names, limits)
	if err != nil {
		return err
	}
	r := &scanner{scan: s, blocks: make(chan block), free: make(chan []byte, 2*max(s.Workers, 1))}
	for _, e := range s.Events {
		r.events = append(r.events, []byte(e))
	}
	var wg sync.WaitGroup
	for range max(s.Workers, 1) {
		take := worker()
		wg.Go(func() {
			for b := range r.blocks {
				r.take(b, take)
			}
		})
	}
	for i, name := range names {
		if r.failed.Load() {
			break
		}
		if err := r.segment(fsys, name, i, limits[i]); err != nil {
			r.fail(place{i, math.MaxInt}, err)
		}
	}
	close(r.blocks)
	wg.Wait()
	return r.err
}

// within leaves out the segments that end before Since.
func (s Scan) within(fsys fs.FS, names []string, limits []int64) ([]string, []int64, error) {
	if s.Since.IsZero() {
		return names, limits, nil
	}
	from := 0
	for i := 1; i < len(names); i++ {
		first, ok, err := firstRecord(fsys, names[i])
		if err != nil {
			return nil, nil, err
		}
		if !ok || !first.Time.Before(s.Since) {
			break
		}
		from = i
	}
	for _, name := range names[:from] {
		if info, err := fs.Stat(fsys, name); err == nil && s.Read != nil {
			s.Read(info.Size())
		}
	}
	return names[from:], limits[from:], nil
}

// place orders errors.
type place struct{ segment, line int }

// block is a run of whole lines of a segment.
type block struct {
	name  string
	at    place // of its first line
	limit int64 // see takeovers
	lines []byte
}

type scanner struct {
	scan   Scan
	events [][]byte
	blocks chan block
	free   chan []byte
	failed atomic.Bool
	mu     sync.Mutex
	at     place
	err    error
}

func (r *scanner) fail(at place, err error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.err == nil || cmp.Or(cmp.Compare(at.segment, r.at.segment), cmp.Compare(at.line, r.at.line)) < 0 {
		r.at, r.err = at, err
	}
	r.failed.Store(true)
}

// over reports whether the scan failed at an earlier place: what stands before it
// is still read, or the error would depend on who was faster.
func (r *scanner) over(at place) bool {
	if !r.failed.Load() {
		return false
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	return cmp.Or(cmp.Compare(at.segment, r.at.segment), cmp.Compare(at.line, r.at.line)) > 0
}

// segment cuts a segment into blocks. What follows its last newline was never
// durable.
func (r *scanner) segment(fsys fs.FS, name string, number int, limit int64) error {
	f, err := fsys.Open(name)
	if err != nil {
		return fmt.Errorf("audit: %w", err)
	}
	defer f.Close() //nolint:errcheck // only read
	line := 1
	var rest []byte
	for {
		buf := r.buffer()
		copy(buf, rest)
		n, err := io.ReadFull(f, buf[len(rest):])
		if r.scan.Read != nil {
			r.scan.Read(int64(n))
		}
		if err != nil && !errors.Is(err, io.EOF) && !errors.Is(err, io.ErrUnexpectedEOF) {
			return fmt.Errorf("audit: %s: %w", name, err)
		}
		got := buf[:len(rest)+n]
		end := bytes.LastIndexByte(got, '\n') + 1
		if end == 0 && err == nil {
			return fmt.Errorf("audit: %s:%d: %w", name, line, errLineTooLong)
		}
		rest = bytes.Clone(got[end:])
		b := block{name: name, at: place{number, line}, limit: limit, lines: got[:end]}
		line += bytes.Count(b.lines, []byte{'\n'})
		if end > 0 {
			r.blocks <- b
		}
		if err != nil || r.failed.Load() {
			return nil
		}
	}
}

// buffer is a free one: with as many as there are goroutines, a scan of any
// journal takes the same memory.
func (r *scanner) buffer() []byte {
	select {
	case b := <-r.free:
		return b
	default:
		return make([]byte, scanBlock+maxLine)
	}
}

func (r *scanner) take(b block, take func(Record) error) {
	at := b.at
	at.line--
	for line := range bytes.SplitSeq(bytes.TrimSuffix(b.lines, []byte{'\n'}), []byte{'\n'}) {
		at.line++
		if r.over(at) {
			break
		}
		if wanted, err := r.wanted(line); !wanted && err == nil {
			continue
		}
		rec, err := parseLine(line)
		if err != nil {
			r.fail(at, fmt.Errorf("audit: %s:%d: %w", b.name, at.line, err))
			break
		}
		if rec.Seq >= b.limit {
			continue
		}
		if err := take(rec); err != nil {
			r.fail(at, err)
			break
		}
	}
	select {
	case r.free <- b.lines[:cap(b.lines)]:
	default:
	}
}

// wanted looks at a line's time and event without reading the rest. Before them
// stands nothing that a caller chose.
func (r *scanner) wanted(line []byte) (bool, error) {
	if !r.scan.Since.IsZero() || !r.scan.Until.IsZero() {
		text, ok := member(line, `,"time":"`)
		if !ok {
			return false, errLineForm
		}
		at, err := time.Parse(time.RFC3339Nano, string(text))
		if err != nil {
			return false, errLineForm
		}
		if at.Before(r.scan.Since) || !r.scan.Until.IsZero() && !at.Before(r.scan.Until) {
			return false, nil
		}
	}
	if r.events == nil {
		return true, nil
	}
	event, ok := member(line, `,"event":"`)
	if !ok {
		return false, errLineForm
	}
	return slices.ContainsFunc(r.events, func(e []byte) bool { return bytes.Equal(e, event) }), nil
}

// member is the text of the first member that begins so.
func member(line []byte, start string) ([]byte, bool) {
	i := bytes.Index(line, []byte(start))
	if i < 0 {
		return nil, false
	}
	text := line[i+len(start):]
	end := bytes.IndexByte(text[:min(len(text), maxString)], '"')
	if end < 0 {
		return nil, false
	}
	return text[:end], true
}

package audit

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"math"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"time"
)

// ErrDamaged says that the journal cannot be relied on for the uses and stops
// that a start reads from it: a line in the middle is not what was written.
// `audit verify` tells where; nothing starts until the segment was looked at.
var ErrDamaged = errors.New("audit: the journal is damaged")

// Recovered is what a start reads from the segments that it needs: all since
// the newest complete summary of uses.
type Recovered struct {
	Uses        []Use    // reserved and not released, unexpired; one token may have several
	Stops       []Record // stop.added of the stops in force, oldest first
	StopVersion int64    // the highest version of the stop list; 0: the journal never held one
	LastKeys    []Record // keys.* of the newest segment, in order
	Seq         int64    // of the last record; 0: the journal is new
	Torn        int64    // bytes behind the last complete line, which a crash left
}

// firstPrev is the Prev of the first record of all.
func firstPrev() [sha256.Size]byte { return [sha256.Size]byte{} }

// scanned is one segment as recovery reads it.
type scanned struct {
	name      string
	first     int64             // seq of the first line; 0: no complete line
	seq       int64             // of the last line that counts
	hash      [sha256.Size]byte // of that line
	prev      [sha256.Size]byte // Prev of the first line
	summarize int               // index in events behind the last complete summary; 0: none
	ended     bool              // the last line is the end of the segment
	headed    bool              // a segment-head checkpoint was read
	events    []Record          // exchange.allowed and failed with a Replay, and summaries
	stops     []Record          // stop.*
	keys      []Record          // keys.*
	torn      int64
}

// recovery is what the writer needs besides what the gateway is told.
type recovery struct {
	Recovered
	number  int  // of the newest segment
	summary bool // the newest segment did not end with its uses: the next head carries them
	hash    [sha256.Size]byte
	stopSet stopTracker
}

// recoverJournal reads the segments of dir backwards until one complete summary
// and one complete head were seen.
func recoverJournal(dir string, now time.Time) (recovery, error) {
	r := recovery{hash: firstPrev()}
	fsys := os.DirFS(dir)
	names, err := segments(fsys)
	if err != nil || len(names) == 0 {
		return r, err
	}
	r.number = segmentNumber(names[len(names)-1])

	var read []scanned // newest first
	limit := int64(math.MaxInt64)
	summary, head := false, false
	for i := len(names) - 1; i >= 0 && (!summary || !head); i-- {
		// Lines of which it is not known that they are on disk must not be built
		// on: a power loss later would take them from under the next segment.
		if err := syncFile(filepath.Join(dir, names[i])); err != nil {
			return r, fmt.Errorf("audit: sync %s: %w", names[i], err)
		}
		s, err := scan(fsys, names[i], limit)
		if err != nil {
			return r, err
		}
		r.Torn += s.torn
		if s.first == 0 {
			continue
		}
		if n := len(read); n > 0 {
			if next := read[n-1]; s.seq != next.first-1 || s.hash != next.prev {
				return r, fmt.Errorf("%w: %s does not continue %s", ErrDamaged, next.name, s.name)
			}
		}
		limit = s.first
		summary = summary || s.summarize > 0
		head = head || s.headed
		read = append(read, s)
	}
	if len(read) == 0 {
		return r, nil
	}
	r.Seq, r.hash, r.summary = read[0].seq, read[0].hash, !read[0].ended

	slices.Reverse(read)
	uses := newUseTracker()
	for _, s := range read {
		for _, e := range s.events {
			uses.apply(e)
		}
		if s.headed {
			r.stopSet, r.LastKeys = stopTracker{}, nil
		}
		for _, e := range s.stops {
			r.stopSet.apply(e)
		}
		r.LastKeys = append(r.LastKeys, s.keys...)
	}
	r.Uses = uses.unexpired(now)
	r.Stops, r.StopVersion = r.stopSet.inForce(), r.stopSet.version
	return r, nil
}

// scan reads a segment up to limit, the seq at which the next segment took over.
func scan(fsys fs.FS, name string, limit int64) (scanned, error) {
	s := scanned{name: name}
	f, err := fsys.Open(name)
	if err != nil {
		return s, fmt.Errorf("audit: %w", err)
	}
	defer f.Close() //nolint:errcheck // only read
	lines := newLineReader(f)
	damaged := func(line int, why error) (scanned, error) {
		return scanned{}, fmt.Errorf("%w: %s:%d: %w", ErrDamaged, name, line, why)
	}
	var last []byte // a copy of the line before, if it was only skimmed
	for {
		line, err := lines.next()
		if errors.Is(err, io.EOF) {
			// The hash in the line behind proves each line but the last.
			if _, err := parseLine(last); err != nil && len(last) > 0 {
				return damaged(lines.number, err)
			}
			s.torn = int64(len(lines.part))
			return s, nil
		}
		if err != nil {
			return damaged(lines.number+1, err)
		}
		r, skimmed := skim(line)
		if last = last[:0]; skimmed {
			last = append(last, line...)
		} else if r, err = parseLine(line); err != nil {
			return damaged(lines.number, err)
		}
		if r.Seq >= limit {
			return s, nil // abandoned: the next segment's head took over from here
		}
		if s.first == 0 {
			s.first = r.Seq
			if _, err := hex.Decode(s.prev[:], []byte(r.Prev)); err != nil || len(r.Prev) != 2*len(s.prev) {
				return damaged(lines.number, errLineForm)
			}
		} else if r.Seq != s.seq+1 || r.Prev != hex.EncodeToString(s.hash[:]) {
			return damaged(lines.number, errors.New("it does not continue the line before"))
		}
		s.seq, s.hash = r.Seq, sha256.Sum256(line)
		s.take(r)
	}
}

// skim reads no more of a line than its place in the chain, where its event says
// that a start needs nothing else of it: most lines are such, and to parse each
// would make a start ten times as long. It relies on the one form that lines
// have; a quote inside a value is escaped and cannot look like a member.
func skim(line []byte) (Record, bool) {
	const (
		beforeSeq  = `{"id":"00000000-0000-0000-0000-000000000000","seq":`
		event      = `,"event":"`
		beforePrev = `,"prev":"`
		tail       = len(beforePrev) + 2*sha256.Size + len(`"}`)
	)
	if len(line) < len(beforeSeq)+tail || !bytes.HasPrefix(line[len(beforeSeq)-len(`,"seq":`):], []byte(`,"seq":`)) {
		return Record{}, false
	}
	_, rest, found := bytes.Cut(line, []byte(event))
	if !found {
		return Record{}, false
	}
	value, _, _ := bytes.Cut(rest, []byte(`"`))
	e := Event(value)
	if e != ExchangeMinted && e != ExchangeDenied && e != ExchangeSummary && e != ExchangeDryRun {
		return Record{}, false
	}
	digits, _, _ := bytes.Cut(line[len(beforeSeq):], []byte(","))
	seq, err := strconv.ParseInt(string(digits), 10, 64)
	end := line[len(line)-tail:]
	if err != nil || !bytes.HasPrefix(end, []byte(beforePrev)) || !bytes.HasSuffix(end, []byte(`"}`)) {
		return Record{}, false
	}
	return Record{Seq: seq, Event: e, Prev: string(end[len(beforePrev) : len(end)-2])}, true
}

// take keeps what recovery needs of a record.
func (s *scanned) take(r Record) {
	s.ended = false
	switch e := r.Event; {
	case e == ExchangeAllowed || e == ExchangeFailed:
		if r.Replay != nil {
			s.events = append(s.events, r)
		}
	case e == Checkpoint:
		s.headed = s.headed || r.Reason == checkpointHead
		s.ended = r.Reason == checkpointEnd
		if r.Replay != nil {
			s.events = append(s.events, r)
			if r.Reason != checkpointPart {
				s.summarize = len(s.events)
			}
		}
	case e == StopAdded || e == StopLifted:
		s.stops = append(s.stops, r)
	case isKeyEvent(e):
		s.keys = append(s.keys, r)
	}
}

// useTracker replays the records of uses.
type useTracker struct {
	uses map[string][]Use // by decision, so that a release finds its own
	part []Use            // of a summary that is not complete yet
}

func newUseTracker() *useTracker { return &useTracker{uses: make(map[string][]Use)} }

func (t *useTracker) apply(r Record) {
	switch e := r.Event; { //nolint:staticcheck // the cases ask for more than the event
	case e == ExchangeAllowed:
		if r.Replay.Key != "" {
			u := r.Replay.Use
			if u.Decision == "" {
				u.Decision = r.Decision
			}
			t.add(u)
			if r.Replay.Nonce != "" {
				t.add(Use{Key: r.Replay.Nonce, Decision: u.Decision, Closed: true, Until: u.Until})
			}
		}
		for _, u := range r.Replay.Remembered {
			t.add(u)
		}
	case e == ExchangeFailed:
		if r.Replay.Outcome == "released" {
			delete(t.uses, r.Decision)
		}
	case e == Checkpoint:
		t.part = append(t.part, r.Replay.Remembered...)
		if r.Reason == checkpointPart {
			return
		}
		// A complete summary holds all that came before it.
		clear(t.uses)
		for _, u := range t.part {
			t.add(u)
		}
		t.part = nil
	}
}

func (t *useTracker) add(u Use) { t.uses[u.Decision] = append(t.uses[u.Decision], u) }

// unexpired returns the uses that must still be remembered. A summary that is
// not complete only repeats what the lines before it said.
func (t *useTracker) unexpired(now time.Time) []Use {
	var all []Use
	for _, uses := range t.uses {
		for _, u := range uses {
			if now.Before(u.Until) {
				all = append(all, u)
			}
		}
	}
	slices.SortFunc(all, func(a, b Use) int { return a.Until.Compare(b.Until) })
	return all
}

// stopTracker follows the stop list through the journal, so that the head of
// each segment can say it again.
type stopTracker struct {
	version int64
	stops   []Record // stop.added
}

func (t *stopTracker) apply(r Record) {
	t.version = max(t.version, r.Count)
	if r.Handle == "" {
		return // only the version
	}
	same := func(s Record) bool { return s.Handle == r.Handle }
	if r.Event == StopAdded {
		if i := slices.IndexFunc(t.stops, same); i >= 0 {
			t.stops[i] = r
			return
		}
		t.stops = append(t.stops, r)
		return
	}
	t.stops = slices.DeleteFunc(t.stops, same)
}

func (t *stopTracker) inForce() []Record { return slices.Clone(t.stops) }

// head returns the records that say the list again. An empty list is said too,
// as a stop.lifted that names none: its version must not be forgotten, or an old
// file could be put back.
func (t *stopTracker) head() []Record {
	if t.version == 0 {
		return nil
	}
	if len(t.stops) == 0 {
		return []Record{{Event: StopLifted, Count: t.version}}
	}
	head := t.inForce()
	for i := range head {
		head[i].Count = t.version
	}
	return head
}

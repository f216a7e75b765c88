package audit

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"strconv"
)

// Options of [Verify].
type Options struct {
	// Since is a checkpoint that was seen before: its seq, its id, or best its
	// whole line, which binds all that came before it. What is older than the
	// segment that holds it is not read, and may be gone.
	Since string
	// Upto is captured standard output. Its lines that are checkpoints of this
	// journal's replicas must stand in the journal, byte for byte; other lines
	// are ignored. Without it a cut tail, or a journal rewritten as a whole with
	// another key, cannot be told from a true one.
	Upto io.Reader
}

// Report is what a verification found.
type Report struct {
	Problems    []Problem // none: the journal is what was written
	Segments    int       //
	Records     int64     // in the chain
	First, Last int64     // seq of the first and last record that was read
	Checkpoints int64     // with a good signature
	Captured    int64     // checkpoints of Upto that stand in the journal
	Abandoned   int64     // lines behind the durable end of a segment that failed; never part of the chain
	Torn        int64     // bytes behind the last complete line of a segment, as a crash leaves them
	Uncovered   int64     // records behind the last checkpoint: a cut there stays unseen
}

// Problem is a place where the journal is not what was written.
type Problem struct {
	File string // a segment; "captured" for Upto
	Line int    // from 1; 0: the file as a whole
	What string
}

// String is FILE:LINE: WHAT.
func (p Problem) String() string { return fmt.Sprintf("%s:%d: %s", p.File, p.Line, p.What) }

// maxProblems bounds a report: the first ones tell where to look.
const maxProblems = 100

// Verify checks that each record continues the one before, that no seq is
// missing, and that each checkpoint is signed by a key that the journal before
// it holds. It reads only. The error says that it could not read; what it found
// is in the report.
//
// It may run while the gateway does: the last lines are then taken as they are.
func Verify(fsys fs.FS, o Options) (Report, error) {
	v := verifier{fsys: fsys, keys: keyring{}, replicas: make(map[string]bool)}
	names, err := segments(fsys)
	if err != nil {
		return v.Report, err
	}
	if err := v.capture(o.Upto); err != nil {
		return v.Report, err
	}
	from := 0
	if o.Since != "" {
		if from, err = v.since(names, o.Since); err != nil {
			return v.Report, err
		}
	}
	for i, name := range names[from:] {
		v.Segments++
		if err := v.segment(name, i == 0, o.Since != ""); err != nil {
			return v.Report, err
		}
	}
	if len(names) == 0 {
		v.problem(".", 0, "there is no segment")
	}
	v.compare(o.Upto != nil)
	return v.Report, nil
}

type verifier struct {
	Report
	fsys     fs.FS
	keys     keyring
	replicas map[string]bool
	captured []captured
	// marks holds the hash of each checkpoint's line, by seq, for the comparison
	// with what was captured.
	marks map[int64][sha256.Size]byte
	// chain holds the hashes of the records from base on: of the last segment and
	// of the point where it began. The next one may begin at any of them.
	base  int64
	chain [][sha256.Size]byte
	// covered is the seq of the last good checkpoint.
	covered int64
}

type captured struct {
	line    int
	seq     int64
	replica string
	hash    [sha256.Size]byte
}

func (v *verifier) problem(file string, line int, what string) {
	if len(v.Problems) < maxProblems {
		v.Problems = append(v.Problems, Problem{file, line, what})
	}
}

// capture reads the checkpoints of captured standard output.
func (v *verifier) capture(r io.Reader) error {
	v.marks = make(map[int64][sha256.Size]byte)
	if r == nil {
		return nil
	}
	lines := newLineReader(r)
	for {
		line, err := lines.next()
		if errors.Is(err, io.EOF) {
			line, err = lines.part, nil // a last line without a newline is one
			if len(line) == 0 {
				return nil
			}
			lines.part = nil
		}
		if err != nil {
			return fmt.Errorf("audit: captured:%d: %w", lines.number+1, err)
		}
		line = bytes.TrimSuffix(line, []byte("\r"))
		if !bytes.Contains(line, []byte(`"event":"checkpoint"`)) {
			continue
		}
		c, err := parseLine(line)
		if err != nil || c.Event != Checkpoint {
			continue
		}
		v.captured = append(v.captured, captured{lines.number, c.Seq, c.Replica, sha256.Sum256(line)})
	}
}

// since returns the index of the segment that holds the checkpoint.
func (v *verifier) since(names []string, since string) (int, error) {
	seq, _ := strconv.ParseInt(since, 10, 64)
	line := []byte(since)
	want := line
	if c, err := parseLine(line); err == nil {
		seq, want = c.Seq, []byte(`"id":"`+c.ID+`"`)
	} else if seq > 0 {
		want = []byte(`"seq":` + since + `,`)
	}
	for i := len(names) - 1; i >= 0; i-- {
		found := false
		f, err := v.fsys.Open(names[i])
		if err != nil {
			return 0, fmt.Errorf("audit: %w", err)
		}
		lines := newLineReader(f)
		for !found {
			l, err := lines.next()
			if err != nil {
				break // what is wrong here is told when the segment is verified
			}
			if !bytes.Contains(l, want) {
				continue
			}
			r, err := parseLine(l)
			found = err == nil && r.Event == Checkpoint && (r.Seq == seq && seq > 0 || r.ID == since)
			if found && since[0] == '{' && !bytes.Equal(l, line) {
				v.problem(names[i], lines.number, "this is not the checkpoint that was given")
			}
		}
		_ = f.Close()
		if found {
			return i, nil
		}
	}
	return 0, fmt.Errorf("audit: the journal holds no checkpoint %.80q", since)
}

// segment verifies one segment.
func (v *verifier) segment(name string, first, partial bool) error {
	f, err := v.fsys.Open(name)
	if err != nil {
		return fmt.Errorf("audit: %w", err)
	}
	defer f.Close() //nolint:errcheck // only read
	lines := newLineReader(f)
	begun := false
	for {
		line, err := lines.next()
		switch {
		case errors.Is(err, io.EOF):
			v.Torn += int64(len(lines.part))
			return nil
		case errors.Is(err, errLineTooLong):
			v.problem(name, lines.number+1, "the line is too long to be one of a journal")
			return nil
		case err != nil:
			return fmt.Errorf("audit: %s: %w", name, err)
		}
		hash := sha256.Sum256(line)
		r, err := parseLine(line)
		if err != nil {
			v.problem(name, lines.number, err.Error())
			// The next line is held against this one's bytes, so that one change
			// is told once, not for all that follows.
			v.chain = append(v.chain, hash)
			continue
		}
		if !begun {
			v.attach(name, lines.number, r, first, partial)
			begun = true
		} else if want := v.next(); r.Seq != want {
			v.problem(name, lines.number, fmt.Sprintf("seq is %d where %d is due: records are missing, or out of order", r.Seq, want))
			v.base, v.chain = r.Seq-1, v.chain[len(v.chain)-1:]
		}
		if prev := v.chain[len(v.chain)-1]; r.Prev != hex.EncodeToString(prev[:]) {
			v.problem(name, lines.number, "prev is not the hash of the line before: that line was changed, or lines between were removed")
		}
		v.chain = append(v.chain, hash)
		v.Records++
		v.Last = r.Seq
		v.replicas[r.Replica] = true
		v.check(name, lines.number, r, hash)
	}
}

// next is the seq that is due.
func (v *verifier) next() int64 { return v.base + int64(len(v.chain)) }

// attach finds the record that a segment's first one continues.
func (v *verifier) attach(name string, line int, r Record, first, partial bool) {
	switch {
	case first && v.chain == nil:
		v.First = r.Seq
		v.base, v.chain = r.Seq-1, make([][sha256.Size]byte, 1, 1024)
		if r.Seq != 1 && !partial {
			v.problem(name, line, fmt.Sprintf("the journal begins at seq %d: older segments are gone; name a checkpoint of this segment to begin at", r.Seq))
		}
		if r.Seq != 1 {
			// Nothing is left to hold the first line against; what follows, and the
			// signed head, hang on it.
			if _, err := hex.Decode(v.chain[0][:], []byte(r.Prev)); err != nil || len(r.Prev) != 2*sha256.Size {
				v.problem(name, line, "prev is not a hash")
			}
		}
	case r.Seq-1 < v.base || r.Seq > v.next():
		v.problem(name, line, fmt.Sprintf("the segment begins at seq %d where %d is due: a segment is missing, or out of order", r.Seq, v.next()))
		v.base, v.chain = r.Seq-1, v.chain[len(v.chain)-1:]
	default:
		// What the segment before holds beyond this point was never durable: the
		// gateway refused whoever waited for it.
		dropped := v.next() - r.Seq
		v.Abandoned += dropped
		v.Records -= dropped
		v.chain = append(v.chain[:0:0], v.chain[r.Seq-1-v.base])
		v.base = r.Seq - 1
		for seq := range v.marks {
			if seq >= r.Seq {
				delete(v.marks, seq)
			}
		}
		v.covered = min(v.covered, r.Seq-1)
		v.keys.drop(r.Seq)
	}
}

// check verifies what a record says of itself.
func (v *verifier) check(name string, line int, r Record, hash [sha256.Size]byte) {
	if isKeyEvent(r.Event) {
		v.keys.add(r)
	}
	if r.Event == Checkpoint {
		v.marks[r.Seq] = hash
		if r.Count != r.Seq {
			v.problem(name, line, "the checkpoint counts other records than there are")
		}
		if err := v.keys.verify(r); err != nil {
			v.problem(name, line, "checkpoint: "+err.Error())
			return
		}
		v.Checkpoints++
		v.covered = r.Seq
	}
}

// compare holds what was captured against the journal.
func (v *verifier) compare(asked bool) {
	v.Uncovered = v.Last - v.covered
	if !asked {
		return
	}
	older, due := false, false
	for _, c := range v.captured {
		if c.seq < v.First {
			older = true
			continue
		}
		due = true
		if !v.replicas[c.replica] {
			continue
		}
		hash, ok := v.marks[c.seq]
		switch {
		case !ok && c.seq > v.Last:
			v.problem("captured", c.line, fmt.Sprintf("the journal ends at seq %d, but held %d: its tail was cut", v.Last, c.seq))
		case !ok || hash != c.hash:
			v.problem("captured", c.line, fmt.Sprintf("the journal has another record at seq %d: it was rewritten", c.seq))
		default:
			v.Captured++
		}
	}
	// Older ones say nothing of the segments that were read; they excuse the lack
	// of others only where none was captured since, or a journal rewritten under
	// another replica's name would pass.
	if v.Captured == 0 && (due || !older) && len(v.Problems) == 0 {
		v.problem("captured", 0, "none of the journal's checkpoints was captured: this is another journal, or it was rewritten as a whole")
	}
}

package audit

import (
	"bytes"
	"errors"
	"io"
	"io/fs"
	"strconv"
)

// Condition is what the end of a journal looks like from outside.
type Condition struct {
	Segments int    // in the folder
	Newest   string // name of the newest segment; "": there is none
	Bytes    int64  // its size
	Head     string // seq of the newest segment-head checkpoint in the last two segments, for [Options].Since; "": none
	Ended    bool   // the newest segment ends with its last checkpoint: whoever wrote it stopped in order
}

// Look reads how a journal ends. It verifies nothing and changes nothing, and may
// run while the journal is written: Ended is false then.
func Look(fsys fs.FS) (Condition, error) {
	names, err := segments(fsys)
	if err != nil || len(names) == 0 {
		return Condition{}, err
	}
	c := Condition{Segments: len(names), Newest: names[len(names)-1]}
	// The very newest may have been begun just now, and hold no whole head yet.
	for i := len(names) - 1; i >= max(0, len(names)-2) && c.Head == ""; i-- {
		if c.Head, err = head(fsys, names[i]); err != nil {
			return c, err
		}
	}
	last, size, err := lastLine(fsys, c.Newest)
	c.Bytes = size
	c.Ended = bytes.Contains(last, []byte(`"event":"`+string(Checkpoint)+`","reason":"`+checkpointEnd+`"`))
	return c, err
}

// maxHead bounds the lines that are looked through for a head: keys and stops
// stand before it.
const maxHead = 20_000

// head is the seq of a segment's head checkpoint, or "".
func head(fsys fs.FS, name string) (string, error) {
	f, err := fsys.Open(name)
	if err != nil {
		return "", err
	}
	defer f.Close() //nolint:errcheck // only read
	lines := newLineReader(f)
	for range maxHead {
		line, err := lines.next()
		if errors.Is(err, io.EOF) {
			return "", nil
		}
		if err != nil {
			return "", err
		}
		if !bytes.Contains(line, []byte(`"event":"`+string(Checkpoint)+`"`)) {
			continue
		}
		r, err := parseLine(line)
		if err == nil && r.Event == Checkpoint && r.Reason == checkpointHead {
			return strconv.FormatInt(r.Seq, 10), nil
		}
	}
	return "", nil
}

// lastLine returns the last whole line of a segment, or what of it stands in the
// last bytes that a line may have.
func lastLine(fsys fs.FS, name string) (line []byte, size int64, err error) {
	f, err := fsys.Open(name)
	if err != nil {
		return nil, 0, err
	}
	defer f.Close() //nolint:errcheck // only read
	info, err := f.Stat()
	if err != nil {
		return nil, 0, err
	}
	size = info.Size()
	if s, ok := f.(io.Seeker); ok && size > maxLine {
		if _, err := s.Seek(-maxLine, io.SeekEnd); err != nil {
			return nil, size, err
		}
	}
	tail, err := io.ReadAll(io.LimitReader(f, maxLine))
	if err != nil || !bytes.HasSuffix(tail, []byte("\n")) {
		return nil, size, err
	}
	tail = tail[:len(tail)-1]
	return tail[bytes.LastIndexByte(tail, '\n')+1:], size, nil
}

package audit

import (
	"bufio"
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
)

// maxLine bounds a line that is read: the largest that is written is a
// checkpoint that remembers uses, at most maxSummary and its frame.
const maxLine = 1 << 20

var (
	errLineTooLong = errors.New("line too long")
	errLineForm    = errors.New("not a line of a journal")
)

// parseLine reads one line, without its newline. It takes only the one spelling
// that appendLine gives: unknown, repeated and misspelt members, white space,
// text behind the object and values that a record would not hold are refused.
// So two readers never understand a line in two ways.
func parseLine(line []byte) (Record, error) {
	if len(line) > maxLine {
		return Record{}, errLineTooLong
	}
	d := json.NewDecoder(bytes.NewReader(line))
	d.UseNumber()
	d.DisallowUnknownFields()
	var r Record
	if err := d.Decode(&r); err != nil {
		return Record{}, fmt.Errorf("%w: %w", errLineForm, err)
	}
	same, err := appendLine(make([]byte, 0, len(line)+64), &r)
	if err != nil {
		return Record{}, fmt.Errorf("%w: %w", errLineForm, err)
	}
	if !bytes.Equal(same, line) {
		return Record{}, fmt.Errorf("%w: not in the canonical form", errLineForm)
	}
	return r, nil
}

// lineReader reads the lines of one segment.
type lineReader struct {
	r      *bufio.Reader
	number int    // of the line last read, from 1
	part   []byte // of a line whose newline has not come
}

func newLineReader(r io.Reader) *lineReader {
	return &lineReader{r: bufio.NewReaderSize(r, 64<<10)}
}

// next returns the next complete line without its newline; it is valid until
// the next call. At the end it returns io.EOF, and what follows the last newline
// stays in part: a later call goes on there if the file has grown.
func (l *lineReader) next() ([]byte, error) {
	for {
		chunk, err := l.r.ReadSlice('\n')
		if err == nil && len(l.part) == 0 {
			if len(chunk) > maxLine {
				return nil, errLineTooLong
			}
			l.number++
			return chunk[:len(chunk)-1], nil
		}
		if len(l.part)+len(chunk) > maxLine+1 {
			return nil, errLineTooLong
		}
		l.part = append(l.part, chunk...)
		switch {
		case err == nil:
			line := l.part[:len(l.part)-1]
			l.part = nil
			l.number++
			return line, nil
		case errors.Is(err, bufio.ErrBufferFull):
		default:
			return nil, err
		}
	}
}

package audit

import (
	"encoding/hex"
	"fmt"
	"io"
	"time"
)

// idSource makes UUIDs of version 7 (RFC 9562 section 5.7). It reads randomness
// in pieces, because a system call for each record would cost more than the
// record. It is for one goroutine.
type idSource struct {
	rand io.Reader
	buf  [1024]byte
	left int
}

// append appends a fresh id to b.
func (s *idSource) append(b []byte, t time.Time) ([]byte, error) {
	const want = 10
	if s.left < want {
		if _, err := io.ReadFull(s.rand, s.buf[:]); err != nil {
			return nil, fmt.Errorf("audit: read randomness: %w", err)
		}
		s.left = len(s.buf)
	}
	var id [16]byte
	ms := uint64(t.UnixMilli())
	for i := range 6 {
		id[i] = byte(ms >> (40 - 8*i)) //nolint:gosec // the cut is meant: one byte of the 48 bits
	}
	copy(id[6:], s.buf[s.left-want:s.left])
	s.left -= want
	id[6] = id[6]&0x0f | 0x70
	id[8] = id[8]&0x3f | 0x80

	b = hex.AppendEncode(b, id[:4])
	b = hex.AppendEncode(append(b, '-'), id[4:6])
	b = hex.AppendEncode(append(b, '-'), id[6:8])
	b = hex.AppendEncode(append(b, '-'), id[8:10])
	return hex.AppendEncode(append(b, '-'), id[10:]), nil
}

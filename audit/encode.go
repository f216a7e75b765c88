package audit

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"slices"
	"strconv"
	"time"
	"unicode/utf8"
)

// ErrTooLarge says that a record cannot be written whole and must not be cut.
// Nothing was written, and the journal is in order.
var ErrTooLarge = errors.New("audit: record too large")

const (
	// maxString is where a string of a record is cut: a caller chooses some of
	// them, and must not choose how fast the disk fills.
	maxString = 1 << 10
	// maxKeyString is maxString for public keys, which must stay whole to verify
	// anything: the modulus of an 8192-bit RSA key is 1,366 characters.
	maxKeyString = 4 << 10
	// maxReplayString bounds the parts of a Use. They are never cut, because two
	// grants that differ behind the cut would become one, or a token usable
	// again; the longest resource that a cloud knows is an ARN of 2,048 bytes.
	maxReplayString = 4 << 10
	// maxBody bounds one record, far above 256 claims of a usual size and far
	// below maxLine.
	maxBody = 256 << 10
	// maxDepth is how deep claims may nest, the same as in a token.
	maxDepth = 16
	// maxNumber bounds the digits of a number that a token chose.
	maxNumber = 64
)

// unsupported stands for a claim that has no place in a record: a Go type that
// JSON cannot have brought, say raw bytes, which could be a secret.
const unsupported = "(unsupported)"

// appendLine appends the record as its one spelling, without a newline.
func appendLine(b []byte, r *Record) ([]byte, error) {
	b = append(b, `{"id":`...)
	b = appendString(b, r.ID, maxString)
	b = appendStart(b, r.Seq, r.Time, r.Replica)
	b, err := appendBody(b, r)
	if err != nil {
		return nil, err
	}
	b = append(b, `,"prev":`...)
	b = appendString(b, r.Prev, maxString)
	return append(b, '}'), nil
}

// appendStart appends what stands between the id and the event.
func appendStart(b []byte, seq int64, t time.Time, replica string) []byte {
	b = append(b, `,"seq":`...)
	b = strconv.AppendInt(b, seq, 10)
	b = append(b, `,"time":`...)
	b = appendTime(b, t)
	b = append(b, `,"replica":`...)
	return appendString(b, replica, maxString)
}

// appendBody appends the fields that the caller of the journal sets, each with
// a comma before it. The order is frozen: a line has one spelling, see parseLine.
func appendBody(b []byte, r *Record) ([]byte, error) {
	start := len(b)
	b = append(b, `,"event":`...)
	b = appendString(b, string(r.Event), maxString)
	b = appendField(b, `,"decision":`, r.Decision)
	b = appendField(b, `,"reason":`, r.Reason)
	b = appendField(b, `,"provider":`, r.Provider)
	b = appendField(b, `,"workload":`, r.Workload)
	b = appendField(b, `,"subject":`, r.Subject)
	b = appendField(b, `,"trust":`, r.Trust)
	b = appendField(b, `,"trust_sha256":`, r.TrustSHA256)
	b = appendField(b, `,"policy_sha256":`, r.PolicySHA256)
	b = appendField(b, `,"target":`, r.Target)
	b = appendField(b, `,"resource":`, r.Resource)
	b = appendField(b, `,"scope":`, r.Scope)
	b = appendCount(b, `,"ttl":`, r.TTL)
	b = appendField(b, `,"token_sha256":`, r.TokenSHA256)
	if r.Replay != nil {
		var err error
		if b, err = appendReplay(b, r.Replay); err != nil {
			return nil, err
		}
	}
	b = appendField(b, `,"address":`, r.Address)
	if len(r.Claims) > 0 {
		limit := maxString
		if isKeyEvent(r.Event) {
			limit = maxKeyString
		}
		claims := len(b)
		b = append(b, `,"claims":`...)
		if b = appendMap(b, r.Claims, limit, 1); b[len(b)-1] != '}' {
			b = b[:claims]
		}
	}
	b = appendField(b, `,"handle":`, r.Handle)
	if !r.Expires.IsZero() {
		b = append(b, `,"expires":`...)
		b = appendTime(b, r.Expires)
	}
	b = appendCount(b, `,"count":`, r.Count)
	if r.Event != Checkpoint && len(b)-start > maxBody {
		return nil, fmt.Errorf("%w: %d bytes", ErrTooLarge, len(b)-start)
	}
	return b, nil
}

func isKeyEvent(e Event) bool {
	return e == KeyPublished || e == KeyActivated || e == KeyRetired || e == KeyRevoked
}

func appendField(b []byte, name, value string) []byte {
	if value == "" {
		return b
	}
	return appendString(append(b, name...), value, maxString)
}

func appendCount(b []byte, name string, n int64) []byte {
	if n == 0 {
		return b
	}
	return strconv.AppendInt(append(b, name...), n, 10)
}

// appendTime appends t in UTC. A token may claim a time that RFC 3339 cannot
// write, and such a line could never be read again: it becomes the last second
// that can be written.
func appendTime(b []byte, t time.Time) []byte {
	t = t.UTC()
	if y := t.Year(); y < 0 || y > 9999 {
		t = time.Date(9999, time.December, 31, 23, 59, 59, 0, time.UTC)
	}
	b = append(b, '"')
	b = t.AppendFormat(b, time.RFC3339Nano)
	return append(b, '"')
}

func appendReplay(b []byte, r *Replay) ([]byte, error) {
	b = append(b, `,"replay":{`...)
	start := len(b)
	b, err := appendUse(b, &r.Use)
	if err != nil {
		return nil, err
	}
	if len(r.Nonce) > maxReplayString {
		return nil, fmt.Errorf("%w: the key of a nonce", ErrTooLarge)
	}
	if r.Nonce != "" {
		b = appendString(append(comma(b, start), `"nonce":`...), r.Nonce, maxReplayString)
	}
	if r.Outcome != "" {
		b = appendField(comma(b, start), `"outcome":`, r.Outcome)
	}
	if len(r.Remembered) > 0 {
		b = append(comma(b, start), `"remembered":[`...)
		for i := range r.Remembered {
			if i > 0 {
				b = append(b, ',')
			}
			b = append(b, '{')
			if b, err = appendUse(b, &r.Remembered[i]); err != nil {
				return nil, err
			}
			b = append(b, '}')
		}
		b = append(b, ']')
	}
	return append(b, '}'), nil
}

// appendUse appends the members of a Use, without braces.
func appendUse(b []byte, u *Use) ([]byte, error) {
	start := len(b)
	for _, s := range u.Members {
		if len(s) > maxReplayString {
			return nil, fmt.Errorf("%w: a member of a use has %d bytes", ErrTooLarge, len(s))
		}
	}
	if len(u.Key) > maxReplayString || len(u.Decision) > maxReplayString {
		return nil, fmt.Errorf("%w: the key of a use", ErrTooLarge)
	}
	if u.Key != "" {
		b = appendString(append(comma(b, start), `"key":`...), u.Key, maxReplayString)
	}
	if u.Decision != "" {
		b = appendString(append(comma(b, start), `"by":`...), u.Decision, maxReplayString)
	}
	if len(u.Members) > 0 {
		b = append(comma(b, start), `"members":[`...)
		for i, s := range u.Members {
			if i > 0 {
				b = append(b, ',')
			}
			b = appendString(b, s, maxReplayString)
		}
		b = append(b, ']')
	}
	if u.Closed {
		b = append(comma(b, start), `"closed":true`...)
	}
	if !u.Until.IsZero() {
		b = appendTime(append(comma(b, start), `"until":`...), u.Until)
	}
	return b, nil
}

// comma appends a comma where something was written since start.
func comma(b []byte, start int) []byte {
	if len(b) > start {
		return append(b, ',')
	}
	return b
}

// appendMap appends an object. Names are never cut: two that differ behind the
// cut would become one name twice.
func appendMap(b []byte, m map[string]any, limit, depth int) []byte {
	names := make([]string, 0, len(m))
	for name := range m {
		if len(name) > limit || !utf8.ValidString(name) {
			return appendString(b, unsupported, limit)
		}
		names = append(names, name)
	}
	slices.Sort(names)
	b = append(b, '{')
	for i, name := range names {
		if i > 0 {
			b = append(b, ',')
		}
		b = appendString(b, name, limit)
		b = append(b, ':')
		b = appendValue(b, m[name], limit, depth)
	}
	return append(b, '}')
}

// appendValue appends what JSON can have brought; of anything else it appends
// that it was there, so that a slice of bytes never shows what it holds.
func appendValue(b []byte, v any, limit, depth int) []byte {
	if depth > maxDepth {
		return appendString(b, unsupported, limit)
	}
	switch v := v.(type) {
	case nil:
		return append(b, "null"...)
	case bool:
		return strconv.AppendBool(b, v)
	case string:
		return appendString(b, v, limit)
	case int:
		return strconv.AppendInt(b, int64(v), 10)
	case int64:
		return strconv.AppendInt(b, v, 10)
	case uint64:
		return strconv.AppendUint(b, v, 10)
	case float64:
		if !math.IsNaN(v) && !math.IsInf(v, 0) {
			start := len(b)
			b = strconv.AppendFloat(b, v, 'g', -1, 64)
			if !bytes.ContainsAny(b[start:], ".e") {
				b = append(b, ".0"...) // a rule tells 5.0 from 5, and so does who judges the record again
			}
			return b
		}
	case json.Number:
		if isNumber(string(v)) {
			return append(b, v...)
		}
	case []string:
		b = append(b, '[')
		for i, s := range v {
			if i > 0 {
				b = append(b, ',')
			}
			b = appendString(b, s, limit)
		}
		return append(b, ']')
	case []any:
		b = append(b, '[')
		for i, item := range v {
			if i > 0 {
				b = append(b, ',')
			}
			b = appendValue(b, item, limit, depth+1)
		}
		return append(b, ']')
	case map[string]any:
		return appendMap(b, v, limit, depth+1)
	}
	return appendString(b, unsupported, limit)
}

func isNumber(s string) bool {
	if s == "" || len(s) > maxNumber || (s[0] != '-' && (s[0] < '0' || s[0] > '9')) {
		return false
	}
	return json.Valid([]byte(s))
}

// appendString appends s as a JSON string (RFC 8259 section 7), cut where its
// value would pass limit bytes. Control characters, quotes and the separators
// U+2028 and U+2029 are escaped, so that a value can start no line of its own;
// what is not UTF-8 becomes U+FFFD.
func appendString(b []byte, s string, limit int) []byte {
	const hexDigits = "0123456789abcdef"
	b = append(b, '"')
	length, from := 0, 0
	for i := 0; i < len(s); {
		c := s[i]
		if c >= 0x20 && c < utf8.RuneSelf && c != '"' && c != '\\' {
			if length++; length > limit {
				s = s[:i]
				break
			}
			i++
			continue
		}
		r, size := utf8.DecodeRuneInString(s[i:])
		width := size
		if r == utf8.RuneError {
			width = 3
		}
		if length += width; length > limit {
			s = s[:i]
			break
		}
		switch {
		case r == utf8.RuneError:
			b = append(append(b, s[from:i]...), "\ufffd"...)
		case r == '"' || r == '\\':
			b = append(append(b, s[from:i]...), '\\', c)
		case r == '\n':
			b = append(append(b, s[from:i]...), `\n`...)
		case r == '\r':
			b = append(append(b, s[from:i]...), `\r`...)
		case r == '\t':
			b = append(append(b, s[from:i]...), `\t`...)
		case r < 0x20:
			b = append(append(b, s[from:i]...), `\u00`...)
			b = append(b, hexDigits[c>>4], hexDigits[c&0xf])
		case r == '\u2028' || r == '\u2029':
			b = append(append(b, s[from:i]...), `\u202`...)
			b = append(b, hexDigits[r&0xf])
		default:
			i += size
			continue
		}
		i += size
		from = i
	}
	b = append(b, s[from:]...)
	return append(b, '"')
}

// Package stops keeps the kill switch's list: with one replica a file in the
// state folder, with several a key in Redis. The command line writes it, also
// when no gateway answers, and each gateway looks at it once a second.
//
// The list is versioned, and the highest version wins. A list that is missing,
// cannot be read, or is older than one that was seen before is no list: an error
// is returned and nothing may be issued, because whoever can take the list away
// or put an old one back would otherwise undo a stop. A lost file is made anew by
// the operator; what Redis lost, the replicas put back by themselves, because a
// restart or a failover is no attack there but Tuesday.
package stops

import (
	"bytes"
	"encoding/base32"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"regexp"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"

	"cambio/trust"
)

var (
	// ErrInvalid says that a stop, or the list, is malformed.
	ErrInvalid = errors.New("stops: invalid")
	// ErrUnavailable says that there is no list to rely on: nothing may be issued.
	ErrUnavailable = errors.New("stops: the list is not available")
	// ErrUnreachable says, beside ErrUnavailable, that the store did not answer for
	// too long: nothing is known to be wrong with the list itself.
	ErrUnreachable = errors.New("the store did not answer")
	// ErrNotFound says that there is no stop with this id.
	ErrNotFound = errors.New("stops: no such stop")
	// ErrUnconfirmed says that a change was written to Redis, or may have been,
	// and could not be read back: nobody knows whether it is in force.
	ErrUnconfirmed = errors.New("stops: the change could not be confirmed")
	// ErrSettling says, beside ErrUnavailable, that the store has just been started
	// or replaced, and that a replica may yet put back a newer list. It passes by
	// itself, within seconds.
	ErrSettling = errors.New("the store has just been started or replaced, and a replica may yet put back a newer list")
	// ErrNewer says, beside ErrUnavailable, that the list has a format that this
	// version does not know. Nothing of it is touched.
	ErrNewer = errors.New("a newer version of the program wrote it")
)

// errMissing tells one cause of ErrUnavailable apart, that callers need not know.
var errMissing = errors.New("there is no list")

const (
	// format is the version of the list's form. A newer one is refused, and never
	// overwritten: it may hold stops that this program does not understand.
	format = 1
	// maxFile bounds the list before it is read: 1,000 stops with reasons of
	// 1 kB fit; a kill switch with more is a configuration.
	maxFile = 2 << 20
	// maxReason is what the journal holds of a string.
	maxReason = 1 << 10
	// maxWhat is the longest workload id that can be stopped by itself: what the
	// journal holds of a string, or a list rebuilt from it would stop another.
	maxWhat = 1 << 10
	// maxVersion is what any JSON reader reads exactly.
	maxVersion = 1 << 53
)

var (
	namePattern = regexp.MustCompile(`^[a-z0-9-]{1,63}$`)
	idPattern   = regexp.MustCompile(`^stop-[a-z2-7]{8}$`)
)

// file is the form of the list, in the file and in Redis alike.
type file struct {
	Format  int          `json:"format"`
	Version int64        `json:"version"`
	Stops   []trust.Stop `json:"stops"`
}

// Parse reads the bytes of a list. It takes only what Encode could have written,
// apart from white space, and returns the zero set with an error.
func Parse(b []byte) (trust.StopSet, error) {
	if len(b) > maxFile {
		return trust.StopSet{}, fmt.Errorf("%w: the list is above %d bytes", ErrInvalid, maxFile)
	}
	d := json.NewDecoder(bytes.NewReader(b))
	d.DisallowUnknownFields()
	var f file
	if err := d.Decode(&f); err != nil {
		if isNewer(b) {
			return trust.StopSet{}, fmt.Errorf("%w: %w", ErrInvalid, ErrNewer)
		}
		return trust.StopSet{}, fmt.Errorf("%w: %w", ErrInvalid, err)
	}
	if _, err := d.Token(); !errors.Is(err, io.EOF) {
		return trust.StopSet{}, fmt.Errorf("%w: text behind the list", ErrInvalid)
	}
	if f.Format > format {
		return trust.StopSet{}, fmt.Errorf("%w: %w: format %d", ErrInvalid, ErrNewer, f.Format)
	}
	if f.Format != format || f.Version < 1 || f.Version > maxVersion || f.Stops == nil {
		return trust.StopSet{}, fmt.Errorf("%w: format, version or stops", ErrInvalid)
	}
	ids := make(map[string]bool, len(f.Stops))
	for _, s := range f.Stops {
		if err := check(s); err != nil {
			return trust.StopSet{}, err
		}
		if !idPattern.MatchString(s.ID) || ids[s.ID] {
			return trust.StopSet{}, fmt.Errorf("%w: id %.40q", ErrInvalid, s.ID)
		}
		ids[s.ID] = true
	}
	set := trust.NewStopSet(f.Version, f.Stops)
	// encoding/json takes members twice and in any case, the last wins: a reader
	// of the file could see a stop that the gateway does not.
	var have, want bytes.Buffer
	canonical, err := Encode(set)
	if err != nil {
		return trust.StopSet{}, err
	}
	if json.Compact(&have, b) != nil || json.Compact(&want, canonical) != nil || !bytes.Equal(have.Bytes(), want.Bytes()) {
		return trust.StopSet{}, fmt.Errorf("%w: not in the canonical form", ErrInvalid)
	}
	return set, nil
}

// isNewer reports whether the list is of a later format, whose other members are
// not known here.
func isNewer(b []byte) bool {
	var f struct {
		Format int `json:"format"`
	}
	return json.Unmarshal(b, &f) == nil && f.Format > format
}

// encoded returns the bytes of a list that can be read again: what cannot must
// not be written.
func encoded(set trust.StopSet) ([]byte, error) {
	b, err := Encode(set)
	if err != nil {
		return nil, err
	}
	if _, err := Parse(b); err != nil {
		return nil, err
	}
	return b, nil
}

// Encode returns the bytes of a list.
func Encode(set trust.StopSet) ([]byte, error) {
	f := file{Format: format, Version: set.Version(), Stops: set.All()}
	if f.Stops == nil {
		f.Stops = []trust.Stop{}
	}
	var b bytes.Buffer
	e := json.NewEncoder(&b)
	e.SetEscapeHTML(false)
	e.SetIndent("", "  ")
	if err := e.Encode(f); err != nil {
		return nil, fmt.Errorf("%w: %w", ErrInvalid, err)
	}
	if b.Len() > maxFile {
		return nil, fmt.Errorf("%w: the list is above %d bytes; lift some stops", ErrInvalid, maxFile)
	}
	return b.Bytes(), nil
}

// check refuses a stop that names nothing that exists: one that stops nobody,
// unseen, is worse than none.
func check(s trust.Stop) error {
	switch s.Kind {
	case trust.StopTrust, trust.StopProvider, trust.StopTarget:
		if !namePattern.MatchString(s.What) {
			return fmt.Errorf("%w: the name %.80q is not of the form [a-z0-9-]{1,63}", ErrInvalid, s.What)
		}
	case trust.StopWorkload:
		if !isWorkload(s.What) {
			return fmt.Errorf("%w: the workload %.80q is not of the form spiffe://TRUST_DOMAIN/PATH", ErrInvalid, s.What)
		}
	default:
		return fmt.Errorf("%w: the kind %.20q is none of workload, trust, provider, target", ErrInvalid, s.Kind)
	}
	if strings.TrimSpace(s.Reason) == "" || len(s.Reason) > maxReason || !utf8.ValidString(s.Reason) || strings.ContainsFunc(s.Reason, unprintable) {
		return fmt.Errorf("%w: a reason is required: printable, at most %d bytes", ErrInvalid, maxReason)
	}
	if s.Added.IsZero() {
		return fmt.Errorf("%w: no time of adding", ErrInvalid)
	}
	return nil
}

// unprintable finds what would let a reason rewrite the terminal that lists it.
func unprintable(r rune) bool { return !unicode.IsPrint(r) }

// isWorkload reports whether s is a workload id as identities carry it: a stop
// for another spelling would stop nobody.
func isWorkload(s string) bool {
	rest, ok := strings.CutPrefix(s, "spiffe://")
	if !ok || len(s) > maxWhat {
		return false
	}
	domain, path, ok := strings.Cut(rest, "/")
	if !ok || domain == "" || path == "" {
		return false
	}
	for _, c := range []byte(domain) {
		if (c < 'a' || c > 'z') && (c < '0' || c > '9') && c != '.' && c != '-' && c != '_' {
			return false
		}
	}
	for segment := range strings.SplitSeq(path, "/") {
		if segment == "" || segment == "." || segment == ".." {
			return false
		}
		for _, c := range []byte(segment) {
			if (c < 'a' || c > 'z') && (c < 'A' || c > 'Z') && (c < '0' || c > '9') && c != '.' && c != '-' && c != '_' {
				return false
			}
		}
	}
	return true
}

// newID makes the id of a stop: 40 bits, short enough to be read out.
func newID(rand io.Reader) (string, error) {
	var b [5]byte
	if _, err := io.ReadFull(rand, b[:]); err != nil {
		return "", fmt.Errorf("stops: read randomness: %w", err)
	}
	return "stop-" + strings.ToLower(base32.StdEncoding.EncodeToString(b[:])), nil
}

// diff returns what next has and last has not, and the other way round.
func diff(last, next trust.StopSet) (added, lifted []trust.Stop) {
	return without(next, last), without(last, next)
}

func without(set, other trust.StopSet) []trust.Stop {
	known := make(map[string]trust.Stop)
	for _, s := range other.All() {
		known[s.ID] = s
	}
	var rest []trust.Stop
	for _, s := range set.All() {
		if o, ok := known[s.ID]; !ok || !same(o, s) {
			rest = append(rest, s)
		}
	}
	return rest
}

func same(a, b trust.Stop) bool {
	return a.Kind == b.Kind && a.What == b.What && a.Until.Equal(b.Until)
}

// whole cuts a time to seconds, in UTC, as the file shows it.
func whole(t time.Time) time.Time {
	if t.IsZero() {
		return t
	}
	return t.UTC().Truncate(time.Second)
}

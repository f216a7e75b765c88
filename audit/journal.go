// Package audit is the journal: what was decided, on whose word, and what came
// of it, append-only, hash-chained, signed in checkpoints, durable on return.
// It knows no token, only the SHA-256 of one.
//
// A journal is a folder of segments NNNNNNNN.jsonl with one record a line. Each
// start begins a new segment, and so does each failure: a file whose write or
// fsync failed once is never written again, because nobody can say what of it is
// on disk. The new segment goes on from the last record that is known to be
// durable; lines behind it in the failed file are abandoned, and the signed head
// of the new segment says so.
package audit

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"strings"
	"sync"
	"sync/atomic"
	"time"
)

// ErrOutOfOrder says that the journal cannot be written durably, or is closed.
// Nothing may be issued.
var ErrOutOfOrder = errors.New("audit: the journal is out of order")

// errInvalidConfig says that a Config lacks something; the zero value refuses.
var errInvalidConfig = errors.New("audit: invalid configuration")

const (
	// defaultSegmentBytes is where a segment ends: small enough that a start
	// reads it in about a second, large enough that a busy gateway makes a few a
	// day (about 100,000 records).
	defaultSegmentBytes = 64 << 20
	// queueLength bounds the records that wait for the disk. It is far above the
	// exchanges that can be in flight; when it is full the disk hangs, and to
	// refuse is better than to hold memory for it.
	queueLength = 4096
	// hang is how long the writer may be at one batch. Nobody waits longer for it.
	hang = 10 * time.Second
)

// Config is what a journal needs. Dir, Replica, Now, Rand and Sign are required.
type Config struct {
	Dir     string           // the folder of the segments; made with mode 0700. The caller holds a lock: two writers would refuse one another only by chance
	Replica string           // goes into each record
	Now     func() time.Time // wall clock
	Rand    io.Reader        // for record ids
	Log     *slog.Logger     // nil: nothing is logged
	// Keep says how long segments stay; older ones are removed when a new one
	// begins. 0 keeps all.
	Keep time.Duration
	// Sign signs the SHA-256 of a checkpoint's text by the issuer's active key
	// and names the key: ECDSA in ASN.1 DER, or RSASSA-PKCS1-v1_5, as a
	// crypto.Signer gives them. The text begins with a prefix of its own, so that
	// it is never a JWS. The key must be in Head, or in a keys.* record before.
	Sign func(text []byte) (kid string, sig []byte, err error)
	// Checkpoints gets each checkpoint's line as soon as it is durable: standard
	// output, from where it is captured, so that a cut tail is found. May be nil.
	Checkpoints io.Writer
	// Open creates a new segment and fails when the file exists; nil: on disk,
	// mode 0600, its name fsynced.
	Open func(path string) (File, error)
	// Head returns the keys.* records that stand at each segment's head, with
	// the public keys that may have signed what follows, so that each segment
	// verifies alone. The stop list is added by the journal. It is called by
	// Open and later by the writer: it must not wait for the journal.
	Head func() []Record
	// Remembered returns the unexpired uses of the replay store, for a segment's
	// end. Until [Journal.Filled] or the first exchange.allowed those that Open recovered
	// are added, so that the store may be filled after Open. It is called by the
	// writer: it must not wait for the journal.
	Remembered func() []Use
	// Synced is told of each fsync: how long it took, and its error.
	Synced func(d time.Duration, err error)
	// SegmentBytes is where a segment ends; 0: 64 MiB.
	SegmentBytes int64
}

// Journal is an open journal. It is safe for concurrent use.
type Journal struct {
	cfg    Config
	queue  chan *entry
	quit   chan struct{} // closed by Close
	done   chan struct{} // closed by the writer when it has returned
	once   sync.Once
	fault  atomic.Pointer[error] // why the journal is out of order; nil: it is not
	since  atomic.Int64          // when the writer began what it is at, in Unix nanoseconds; 0: it waits
	flood  flood
	filled atomic.Bool // see Filled
	pool   sync.Pool   // of *entry
	result error       // of Close; set before done is closed
}

// entry is a record that waits to be written.
type entry struct {
	time   time.Time
	body   []byte     // see appendBody
	event  Event      //
	stop   *Record    // of stop.*: for the head of later segments
	commit bool       // somebody waits
	done   chan error // for who waits; capacity 1
}

// Open reads what a start must know, begins a new segment and makes its head
// durable. Without an error, ctx has no further meaning.
//
// The error is [ErrDamaged] when the segments that a start needs cannot be
// relied on; anything else means that the folder cannot be used.
func Open(ctx context.Context, cfg Config) (*Journal, Recovered, error) {
	if err := cfg.validate(); err != nil {
		return nil, Recovered{}, err
	}
	if err := os.MkdirAll(cfg.Dir, 0o700); err != nil {
		return nil, Recovered{}, fmt.Errorf("audit: %w", err)
	}
	if err := os.Chmod(cfg.Dir, 0o700); err != nil { //nolint:gosec // 0700 on a folder
		return nil, Recovered{}, fmt.Errorf("audit: %w", err)
	}
	r, err := recoverJournal(cfg.Dir, cfg.Now())
	if err != nil {
		return nil, Recovered{}, err
	}
	if r.Torn > 0 {
		cfg.Log.LogAttrs(ctx, slog.LevelWarn, "the journal ended in a torn line, which was never durable", slog.Int64("bytes", r.Torn))
	}
	j := &Journal{
		cfg:   cfg,
		queue: make(chan *entry, queueLength),
		quit:  make(chan struct{}),
		done:  make(chan struct{}),
	}
	j.pool.New = func() any { return &entry{done: make(chan error, 1)} }
	w := newWriter(j, r)
	if err := w.begin(); err != nil { //nolint:contextcheck // the journal outlives it
		return nil, Recovered{}, errors.Join(err, w.abandon())
	}
	go w.run() //nolint:contextcheck // the journal outlives it
	return j, r.Recovered, nil
}

func (c *Config) validate() error {
	switch {
	case c.Dir == "":
		return fmt.Errorf("%w: no Dir", errInvalidConfig)
	case c.Replica == "" || len(c.Replica) > 253 || strings.ContainsFunc(c.Replica, func(r rune) bool { return r <= ' ' || r > '~' }):
		// It stands in the signed text of checkpoints, where a line break would
		// move a field. 253 bytes is the longest host name.
		return fmt.Errorf("%w: Replica must be 1 to 253 printable ASCII characters", errInvalidConfig)
	case c.Now == nil || c.Rand == nil || c.Sign == nil:
		return fmt.Errorf("%w: Now, Rand and Sign are required", errInvalidConfig)
	}
	if c.Log == nil {
		c.Log = slog.New(slog.DiscardHandler)
	}
	if c.Open == nil {
		c.Open = createSegment
	}
	if c.Head == nil {
		c.Head = func() []Record { return nil }
	}
	if c.Remembered == nil {
		c.Remembered = func() []Use { return nil }
	}
	if c.Synced == nil {
		c.Synced = func(time.Duration, error) {}
	}
	if c.SegmentBytes <= 0 {
		c.SegmentBytes = defaultSegmentBytes
	}
	return nil
}

// Commit writes the record and returns nil when it is durable. Records of many
// callers share one write and one fsync.
//
// [ErrOutOfOrder]: the journal cannot be written; the record counts as not
// written, also when the failed file should hold it. [ErrTooLarge]: the record
// cannot be written at all. An error of ctx: nobody waits any longer, but the
// record may still become durable; take it as not committed, and do not act on it.
func (j *Journal) Commit(ctx context.Context, r Record) error {
	if err := j.Healthy(); err != nil {
		return err
	}
	e, err := j.entry(&r)
	if err != nil {
		return err
	}
	e.commit = true
	select {
	case j.queue <- e:
	case <-ctx.Done():
		return fmt.Errorf("audit: commit: %w", context.Cause(ctx))
	case <-j.done:
		return closedError()
	}
	select {
	case err := <-e.done:
		j.recycle(e)
		return err
	case <-ctx.Done():
		return fmt.Errorf("audit: commit: %w", context.Cause(ctx))
	case <-j.done:
		select {
		case err := <-e.done:
			return err
		default:
			return closedError()
		}
	}
}

// Append queues the record. It is written with the next batch at once, and is
// durable with the next commit or within a second. A failure of the file in
// between does not lose it, a crash may. Of refusals beyond 100 a minute and
// reason only the number is kept, for an exchange.summary.
//
// [ErrOutOfOrder]: the journal cannot be written, or so much waits that the disk
// must be hanging. [ErrTooLarge]: the record cannot be written at all.
func (j *Journal) Append(r Record) error {
	if err := j.Healthy(); err != nil {
		return err
	}
	if floods(&r) && !j.flood.full(r.Reason, j.cfg.Now()) {
		return nil
	}
	e, err := j.entry(&r)
	if err != nil {
		return err
	}
	select {
	case <-j.done:
		return closedError()
	default:
	}
	select {
	case j.queue <- e:
		return nil
	default:
		return fmt.Errorf("%w: %d records wait to be written", ErrOutOfOrder, queueLength)
	}
}

// Filled tells the journal that the replay store holds what Open recovered, so
// that it need not hold the same in memory for a segment's end.
func (j *Journal) Filled() { j.filled.Store(true) }

// Healthy returns nil, or why nothing can be written: an error that is
// [ErrOutOfOrder].
//
// A disk that hangs gives no error, and neither does a standard output that
// nobody reads; what takes the writer ten seconds is out of order like a failure.
func (j *Journal) Healthy() error {
	if err := j.failed(); err != nil {
		return err
	}
	since := j.since.Load()
	if since != 0 && j.cfg.Now().Sub(time.Unix(0, since)) > hang {
		return fmt.Errorf("%w: the disk, or the reader of the checkpoints, has not answered for %s", ErrOutOfOrder, hang)
	}
	return nil
}

// failed returns nil, or what the writer knows to be wrong. It alone decides
// what the writer does: whether a disk hangs is for others to say.
func (j *Journal) failed() error {
	if err := j.fault.Load(); err != nil {
		return *err
	}
	return nil
}

// Close writes what waits, the uses that must be remembered and a last
// checkpoint, and makes them durable. It returns the error of that. Whoever uses
// the journal has stopped before: what comes during Close may be refused or lost.
func (j *Journal) Close() error {
	j.once.Do(func() { close(j.quit) })
	<-j.done
	return j.result
}

func closedError() error { return fmt.Errorf("%w: closed", ErrOutOfOrder) }

// entry encodes the record here, in the caller's goroutine, so that the writer
// has little to do for each, and so that the caller may change its maps again.
func (j *Journal) entry(r *Record) (*entry, error) {
	e := j.pool.Get().(*entry) //nolint:forcetypeassert // New gives nothing else
	body, err := appendBody(e.body[:0], r)
	if err != nil {
		return nil, err
	}
	e.time, e.body, e.event, e.commit, e.stop = j.cfg.Now(), body, r.Event, false, nil
	if r.Event == StopAdded || r.Event == StopLifted {
		stop := *r
		e.stop = &stop
	}
	return e, nil
}

func (j *Journal) recycle(e *entry) {
	if cap(e.body) <= 4<<10 { // a rare large one must not stay in memory
		j.pool.Put(e)
	}
}

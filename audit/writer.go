package audit

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"log/slog"
	"path/filepath"
	"runtime"
	"time"
)

const (
	// maxBatch bounds what shares one write, so that nobody waits for long.
	maxBatch = 1024
	// checkpointRecords and checkpointAge: what lies behind the last checkpoint
	// can be cut unseen, so neither many records nor much time may.
	checkpointRecords = 1000
	checkpointAge     = time.Minute
	// Where the last fsync was shared by as many as busy, the next one is put off
	// by gather, so that it is shared by more: under load most of an exchange's
	// cost beyond cryptography is its part of an fsync, and the others run
	// meanwhile. It is less than an fsync takes.
	busy   = 6
	gather = 500 * time.Microsecond
	// tick is how often the writer looks at the clock: appended records are
	// durable within it, and a failed journal is probed as often.
	tick = time.Second
	// maxSummary bounds the uses of one line: 1,000 of the usual ones, fewer when
	// they have many members, so that no line comes near maxLine.
	maxSummary      = 1000
	maxSummaryBytes = 512 << 10
)

// writer owns the segment that is written. All of it runs in one goroutine.
type writer struct {
	j   *Journal
	ids idSource

	file   File
	path   string
	number int
	size   int64

	seq  int64 // of the last line written
	hash [sha256.Size]byte
	// durable is the place that the next segment goes on from if this one fails.
	durableSeq  int64
	durableHash [sha256.Size]byte

	buf        []byte
	shared     int      // how many waited for the last fsync
	unsynced   []*entry // written or to be written, not yet durable
	print      [][]byte // checkpoints that are told when they are durable
	fresh      int      // records since the last checkpoint
	checked    time.Time
	signFailed bool
	signAgain  time.Time // not before, after one that failed

	stops     stopTracker
	recovered []Use // until the replay store has surely been filled with them
	summary   bool  // the last segment did not end with its uses
	probed    time.Time
}

func newWriter(j *Journal, r recovery) *writer {
	return &writer{
		j: j, ids: idSource{rand: j.cfg.Rand}, number: r.number,
		seq: r.Seq, hash: r.hash, durableSeq: r.Seq, durableHash: r.hash,
		stops: r.stopSet, recovered: r.Uses, summary: r.summary,
	}
}

func (w *writer) run() {
	defer close(w.j.done)
	ticker := time.NewTicker(tick)
	defer ticker.Stop()
	for {
		select {
		case e := <-w.j.queue:
			w.j.since.Store(w.j.cfg.Now().UnixNano())
			w.take(e)
			w.flush()
			w.j.since.Store(0)
		case <-ticker.C:
			w.j.since.Store(w.j.cfg.Now().UnixNano())
			w.tick()
			w.j.since.Store(0)
		case <-w.j.quit:
			w.j.result = w.end()
			return
		}
	}
}

// take collects a batch: e and what else waits by now.
func (w *writer) take(e *entry) {
	w.add(e)
	if w.shared >= busy {
		time.Sleep(gather) //nolint:forbidigo // not a wait for something: the bound is the point
	}
	// Those who are about to commit share this write and this fsync, which costs
	// more CPU than the rest of a record. So the others run as long as that brings
	// more; where nobody else is about to run, nothing is waited for.
	for before := -1; before < len(w.j.queue) && before < maxBatch; runtime.Gosched() {
		before = len(w.j.queue)
	}
	for range maxBatch {
		select {
		case e := <-w.j.queue:
			w.add(e)
		default:
			return
		}
	}
}

// add appends an entry to the batch, or refuses it while the journal is out of
// order. What was appended and has no one waiting is kept for the next segment.
func (w *writer) add(e *entry) {
	if err := w.j.failed(); err != nil && e.commit {
		e.done <- err
		return
	}
	w.unsynced = append(w.unsynced, e)
	if w.j.failed() == nil {
		w.encode(e)
	}
}

// encode appends an entry's line to the buffer, and a checkpoint when it is due.
func (w *writer) encode(e *entry) {
	w.line(e)
	if w.fresh >= checkpointRecords {
		w.interval()
	}
}

// line appends an entry's line to the buffer and moves the chain on.
func (w *writer) line(e *entry) {
	start := len(w.buf)
	w.buf = append(w.buf, `{"id":"`...)
	var err error
	if w.buf, err = w.ids.append(w.buf, e.time); err != nil {
		// Without randomness there are no ids. Nothing can be signed either, so
		// the record's place in the chain is a good enough name until then.
		w.buf = fmt.Appendf(w.buf, "00000000-0000-7000-8000-%012x", w.seq+1)
	}
	w.buf = append(w.buf, '"')
	w.buf = appendStart(w.buf, w.seq+1, e.time, w.j.cfg.Replica)
	w.buf = append(w.buf, e.body...)
	w.buf = append(w.buf, `,"prev":"`...)
	w.buf = hex.AppendEncode(w.buf, w.hash[:])
	w.buf = append(w.buf, `"}`...)
	w.seq++
	w.hash = sha256.Sum256(w.buf[start:])
	w.buf = append(w.buf, '\n')
	w.fresh++
	if e.stop != nil {
		w.stops.apply(*e.stop)
	}
	if e.event == ExchangeAllowed {
		w.recovered = nil // whoever exchanges has filled the replay store
	}
}

// checkpoint appends a signed checkpoint to the buffer.
func (w *writer) checkpoint(reason string, replay *Replay) error {
	now := w.j.cfg.Now()
	id, err := w.ids.append(nil, now)
	if err != nil {
		return err
	}
	r := Record{
		ID: string(id), Seq: w.seq + 1, Time: now.UTC(), Replica: w.j.cfg.Replica, Event: Checkpoint,
		Reason: reason, Replay: replay, Count: w.seq + 1, Prev: hex.EncodeToString(w.hash[:]),
	}
	text, err := checkpointText(r)
	if err != nil {
		return err
	}
	kid, sig, err := w.j.cfg.Sign(text)
	if err != nil {
		return fmt.Errorf("audit: sign a checkpoint: %w", err)
	}
	r.Handle = checkpointHandle(kid, sig)
	line, err := appendLine(nil, &r)
	if err != nil {
		return err
	}
	w.seq, w.hash = r.Seq, sha256.Sum256(line)
	w.fresh, w.checked = 0, now
	w.buf = append(append(w.buf, line...), '\n')
	w.print = append(w.print, line)
	return nil
}

// signRetry is how long after a failed signature the next is tried.
const signRetry = 10 * time.Second

// interval appends the checkpoint that is due. One that cannot be signed is
// tried again a little later: what is written stays chained and durable, and a
// signer that hangs must not hold each record.
func (w *writer) interval() {
	now := w.j.cfg.Now()
	if w.signFailed && now.Before(w.signAgain) {
		return
	}
	err := w.checkpoint(checkpointInterval, nil)
	w.signAgain = now.Add(signRetry)
	if err != nil && !w.signFailed {
		w.log(slog.LevelError, "a checkpoint of the journal cannot be signed", slog.Any("error", err))
	}
	w.signFailed = err != nil
}

// flush writes the buffer, and syncs where somebody waits or a checkpoint was
// written.
func (w *writer) flush() {
	if w.file == nil {
		return
	}
	if err := w.write(); err != nil {
		w.fail(err)
		return
	}
	waiting := len(w.print) > 0 || len(w.unsynced) >= maxBatch
	for i := 0; i < len(w.unsynced) && !waiting; i++ {
		waiting = w.unsynced[i].commit
	}
	if !waiting {
		return
	}
	if err := w.sync(); err != nil {
		w.fail(err)
		return
	}
	if w.size >= w.j.cfg.SegmentBytes {
		w.rotate()
	}
}

func (w *writer) write() error {
	if len(w.buf) == 0 {
		return nil
	}
	n, err := w.file.Write(w.buf)
	w.size += int64(n)
	w.buf = w.buf[:0]
	if err != nil {
		return fmt.Errorf("audit: write %s: %w", filepath.Base(w.path), err)
	}
	return nil
}

// sync makes all that is written durable and tells those who wait.
func (w *writer) sync() error {
	start := w.j.cfg.Now()
	err := w.file.Sync()
	w.j.cfg.Synced(w.j.cfg.Now().Sub(start), err)
	if err != nil {
		return fmt.Errorf("audit: sync %s: %w", filepath.Base(w.path), err)
	}
	w.durableSeq, w.durableHash = w.seq, w.hash
	w.shared = 0
	for i, e := range w.unsynced {
		w.unsynced[i] = nil
		if e.commit {
			w.shared++
			e.done <- nil
		} else {
			w.j.recycle(e)
		}
	}
	w.unsynced = w.unsynced[:0]
	w.tell()
	return nil
}

// tell hands the durable checkpoints to whoever captures them.
func (w *writer) tell() {
	for _, line := range w.print {
		if w.j.cfg.Checkpoints == nil {
			break
		}
		if _, err := w.j.cfg.Checkpoints.Write(append(line, '\n')); err != nil {
			w.log(slog.LevelWarn, "a checkpoint could not be shown", slog.Any("error", err))
		}
	}
	w.print = nil
}

func (w *writer) tick() {
	now := w.j.cfg.Now()
	if w.j.filled.Load() {
		w.recovered = nil
	}
	if w.j.failed() != nil {
		w.probe(now)
		return
	}
	w.summaries(now, false)
	if w.fresh > 0 && now.Sub(w.checked) >= checkpointAge {
		w.interval()
	}
	w.flush()
	if w.file != nil && len(w.unsynced) > 0 {
		if err := w.sync(); err != nil {
			w.fail(err)
		}
	}
}

// summaries adds the counts of refusals that were not written one by one.
func (w *writer) summaries(now time.Time, all bool) {
	for _, s := range w.j.flood.take(now, all) {
		e, err := w.j.entry(&Record{Event: ExchangeSummary, Reason: s.reason, Count: s.count})
		if err != nil {
			continue // a reason that long does not exist
		}
		w.add(e)
	}
}

func (w *writer) log(level slog.Level, msg string, attrs ...slog.Attr) {
	w.j.cfg.Log.LogAttrs(context.Background(), level, msg, attrs...) //nolint:sloglint // a constant at each call
}

package audit

import (
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"time"
)

// fail puts the journal out of order: those who wait are refused, the file is
// not touched again, and the chain goes back to what is known to be durable.
// After a failed fsync the kernel may have dropped the data and call the next
// one good, so nothing of this file can be believed any more.
func (w *writer) fail(cause error) {
	err := fmt.Errorf("%w: %w", ErrOutOfOrder, cause)
	w.j.fault.Store(&err)
	w.log(slog.LevelError, "the journal is out of order: everything is refused", slog.Any("error", cause), slog.Int64("durable_seq", w.durableSeq))
	_ = w.abandon() // the file has failed already
	w.summary = true
	w.seq, w.hash = w.durableSeq, w.durableHash
	w.buf, w.print = w.buf[:0], nil
	w.unsynced = slices.DeleteFunc(w.unsynced, func(e *entry) bool {
		commit := e.commit // once told, whoever waited may use the entry for another record
		if commit {
			e.done <- err
		}
		return commit
	})
	for more := true; more; {
		select {
		case e := <-w.j.queue:
			w.add(e)
		default:
			more = false
		}
	}
	// One attempt at once, so that a single fault costs one batch; a disk that
	// keeps failing is asked once a second.
	if now := w.j.cfg.Now(); now.Sub(w.probed) >= tick {
		w.probe(now)
	}
}

// probe begins a new segment. When it is durable the journal is in order again.
func (w *writer) probe(now time.Time) {
	w.probed = now
	if err := w.begin(); err != nil {
		why := fmt.Errorf("%w: %w", ErrOutOfOrder, err)
		w.j.fault.Store(&why)
		path := w.path
		_ = w.abandon()
		w.seq, w.hash = w.durableSeq, w.durableHash
		w.buf, w.print = w.buf[:0], nil
		if path != "" {
			_ = os.Remove(path) // it holds nothing that counts; an outage must not leave a file a second
		}
		return
	}
	w.j.fault.Store(nil)
	w.log(slog.LevelInfo, "the journal is in order again", slog.String("segment", filepath.Base(w.path)))
}

// begin opens the next segment and makes its head durable, with what was
// appended and is not yet on disk behind it. Where it fails, the caller puts the
// chain back.
func (w *writer) begin() error {
	if w.number >= maxSegment {
		return errors.New("audit: no segment number is left")
	}
	w.number++
	path := filepath.Join(w.j.cfg.Dir, segmentName(w.number))
	f, err := w.j.cfg.Open(path)
	if err != nil {
		return fmt.Errorf("audit: open a segment: %w", err)
	}
	w.file, w.path, w.size = f, path, 0
	for _, r := range w.j.cfg.Head() {
		if err := w.headLine(r); err != nil {
			return err
		}
	}
	for _, r := range w.stops.head() {
		if err := w.headLine(r); err != nil {
			return err
		}
	}
	var last *Replay
	if w.summary {
		if last, err = w.remember(); err != nil {
			return err
		}
	}
	if err := w.checkpoint(checkpointHead, last); err != nil {
		return err
	}
	for _, e := range w.unsynced {
		w.encode(e)
	}
	if err := w.write(); err != nil {
		return err
	}
	if err := w.sync(); err != nil {
		return err
	}
	w.summary = false
	w.prune()
	return nil
}

func (w *writer) headLine(r Record) error {
	if r.Event == StopAdded || r.Event == StopLifted {
		w.stops.apply(r)
	}
	body, err := appendBody(nil, &r)
	if err != nil {
		return err
	}
	w.line(&entry{time: w.j.cfg.Now(), body: body, event: r.Event})
	return nil
}

// remember appends the unexpired uses, all but the last part, which it returns
// for the checkpoint that completes them.
func (w *writer) remember() (*Replay, error) {
	now := w.j.cfg.Now()
	uses := slices.Clone(w.j.cfg.Remembered())
	if !w.j.filled.Load() && len(w.recovered) > 0 {
		type of struct{ key, decision string }
		have := make(map[of]bool, len(uses))
		for i := range uses {
			have[of{uses[i].Key, uses[i].Decision}] = true
		}
		for _, u := range w.recovered {
			if !have[of{u.Key, u.Decision}] {
				uses = append(uses, u)
			}
		}
	}
	uses = slices.DeleteFunc(uses, func(u Use) bool { return !now.Before(u.Until) })
	for {
		n, size := 0, 0
		for n < len(uses) && n < maxSummary && size < maxSummaryBytes {
			size += useSize(&uses[n])
			n++
		}
		part := &Replay{Remembered: uses[:n]}
		if uses = uses[n:]; len(uses) == 0 {
			return part, nil
		}
		if err := w.checkpoint(checkpointPart, part); err != nil {
			return nil, err
		}
	}
}

// useSize is about how many bytes a use takes in a line.
func useSize(u *Use) int {
	n := 128 + len(u.Key) + len(u.Decision)
	for _, m := range u.Members {
		n += len(m) + 3
	}
	return n
}

// finish ends the segment in order.
func (w *writer) finish() error {
	last, err := w.remember()
	if err != nil {
		return err
	}
	if err := w.checkpoint(checkpointEnd, last); err != nil {
		return err
	}
	if err := w.write(); err != nil {
		return err
	}
	if err := w.sync(); err != nil {
		return err
	}
	return w.abandon()
}

func (w *writer) rotate() {
	if err := w.finish(); err != nil {
		w.fail(err)
		return
	}
	if err := w.begin(); err != nil {
		w.fail(err)
	}
}

// end is Close: it takes what was queued before, and ends the segment.
func (w *writer) end() error {
	for len(w.j.queue) > 0 {
		w.take(<-w.j.queue)
		w.flush()
	}
	if err := w.j.failed(); err != nil {
		return err
	}
	w.summaries(w.j.cfg.Now(), true)
	err := w.write()
	if err == nil {
		err = w.finish()
	}
	closed := closedError()
	w.j.fault.Store(&closed)
	if err != nil {
		for _, e := range w.unsynced {
			if e.commit {
				e.done <- closed
			}
		}
		return errors.Join(fmt.Errorf("%w: %w", ErrOutOfOrder, err), w.abandon())
	}
	return nil
}

// abandon closes the file, if one is open.
func (w *writer) abandon() error {
	if w.file == nil {
		return nil
	}
	err := w.file.Close()
	w.file, w.path = nil, ""
	return err
}

func (w *writer) prune() {
	if w.j.cfg.Keep <= 0 {
		return
	}
	if err := prune(w.j.cfg.Dir, w.number, w.j.cfg.Now().Add(-w.j.cfg.Keep)); err != nil {
		w.log(slog.LevelError, "old segments of the journal cannot be removed", slog.Any("error", err))
	}
}

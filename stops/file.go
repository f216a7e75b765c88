package stops

import (
	"context"
	"fmt"
	"log/slog"
	"sync"
	"sync/atomic"
	"time"

	"cambio/trust"
)

const (
	// poll is how often the file is looked at.
	poll = time.Second
	// maxAge is how old a copy may be: a stop ends issuing within 5 s, or the
	// gateway answers that it cannot know.
	maxAge = 5 * time.Second
)

// FileConfig is what a watched list needs. Dir and Now are required.
type FileConfig struct {
	Dir string           // the state folder
	Now func() time.Time // wall clock; time.Now's monotonic reading measures the copy's age
	Log *slog.Logger     // nil: nothing is logged
	// Seen is the highest version that the journal holds, and Journaled the
	// stops in force there. Seen 0: the journal holds none, and a missing file is
	// that of a first start.
	Seen      int64
	Journaled []trust.Stop
	// Changed is told of each change that was taken over, and on opening of what
	// differs from Journaled, from one goroutine at a time, before
	// [File.Current] shows it. A change that it could not record is in force all
	// the same, and is told again, with what came since, until it could. May be
	// nil.
	Changed func(added, lifted []trust.Stop, version int64) error
}

// File is the list of one replica: the file, looked at each second. It is safe
// for concurrent use.
type File struct {
	cfg   FileConfig
	store Store
	state atomic.Pointer[state]
	last  trust.StopSet // the newest list that was taken over, at first the journal's; one goroutine's
	taken bool          // last is of the file
	told  trust.StopSet // the newest list that Changed has recorded, at first the journal's
	stop  chan struct{}
	done  chan struct{}
	once  sync.Once
}

// state is what the last look at the file found.
type state struct {
	set trust.StopSet
	err error
	at  time.Time
}

// OpenFile takes over the list, makes an empty one on a first start, rebuilds one
// that is missing from the journal, and watches it until Close.
//
// A list that cannot be relied on is no error here: the gateway starts, and
// [File.Current] refuses until the file is good. An error means that a list
// could not be written.
func OpenFile(ctx context.Context, cfg FileConfig) (*File, error) {
	if cfg.Dir == "" || cfg.Now == nil {
		return nil, fmt.Errorf("%w: Dir and Now are required", ErrInvalid)
	}
	if cfg.Log == nil {
		cfg.Log = slog.New(slog.DiscardHandler)
	}
	if cfg.Changed == nil {
		cfg.Changed = func([]trust.Stop, []trust.Stop, int64) error { return nil }
	}
	f := &File{
		cfg: cfg, store: Store{Dir: cfg.Dir, Now: cfg.Now}, last: trust.NewStopSet(cfg.Seen, cfg.Journaled),
		stop: make(chan struct{}), done: make(chan struct{}),
	}
	f.told = f.last
	if err := f.prepare(ctx); err != nil {
		return nil, err
	}
	f.look(ctx)
	go f.watch(context.WithoutCancel(ctx))
	return f, nil
}

// prepare makes the file where there is none.
func (f *File) prepare(ctx context.Context) error {
	unlock, err := f.store.lock()
	if err != nil {
		return err
	}
	defer unlock()
	if _, err := f.store.read(); !missing(err) {
		return nil
	}
	if f.cfg.Seen == 0 {
		return f.store.write(trust.NewStopSet(1, nil))
	}
	f.cfg.Log.LogAttrs(ctx, slog.LevelWarn, "the stop list was missing and is rebuilt from the journal",
		slog.Int64("version", f.cfg.Seen), slog.Int("stops", len(f.cfg.Journaled)))
	return f.store.write(f.last)
}

func (f *File) watch(ctx context.Context) {
	defer close(f.done)
	ticker := time.NewTicker(poll)
	defer ticker.Stop()
	for {
		select {
		case <-f.stop:
			return
		case <-ticker.C:
			f.look(ctx)
		}
	}
}

// look reads the file once.
func (f *File) look(ctx context.Context) {
	at := f.cfg.Now() // before the read: a read that hangs makes the copy older
	set, err := f.store.read()
	if err == nil && set.Version() < f.last.Version() {
		// An old file that was put back would lift what was stopped since.
		err = fmt.Errorf("%w: the file has version %d, but %d was seen", ErrUnavailable, set.Version(), f.last.Version())
	}
	if err == nil {
		added, lifted := diff(f.last, set)
		if len(added)+len(lifted) > 0 && f.taken && set.Version() == f.last.Version() {
			err = fmt.Errorf("%w: the file differs from version %d that was seen", ErrUnavailable, set.Version())
		} else {
			f.last, f.taken = set, true
			f.tell(ctx)
		}
	}
	before := f.state.Swap(&state{set, err, at})
	switch {
	case err != nil && (before == nil || before.err == nil):
		f.cfg.Log.LogAttrs(ctx, slog.LevelError, "the stop list cannot be relied on: everything is refused", slog.Any("error", err))
	case err == nil && before != nil && before.err != nil:
		f.cfg.Log.LogAttrs(ctx, slog.LevelInfo, "the stop list is good again", slog.Int64("version", set.Version()))
	}
}

// tell tells of what was taken over and is not yet recorded. A stop that only the
// file held would be lost with it: an older file, or one rebuilt from the journal,
// would pass for the newest. At first the version may be the journal's own: a
// crash may have come between the records of one change.
func (f *File) tell(ctx context.Context) {
	added, lifted := diff(f.told, f.last)
	if len(added)+len(lifted) == 0 && f.last.Version() <= f.told.Version() {
		return
	}
	if err := f.cfg.Changed(added, lifted, f.last.Version()); err != nil {
		f.cfg.Log.LogAttrs(ctx, slog.LevelWarn, "a change of the stop list is in force, and not recorded yet", slog.Any("error", err))
		return
	}
	f.told = f.last
}

// Current returns the list. An error, which is [ErrUnavailable], means that there
// is none to rely on: it is missing, malformed, older than one that was seen, or
// was not looked at for 5 s.
func (f *File) Current(now time.Time) (trust.StopSet, error) {
	s := f.state.Load()
	if s.err != nil {
		return trust.StopSet{}, s.err
	}
	if age := now.Sub(s.at); age > maxAge || age < -maxAge {
		return trust.StopSet{}, fmt.Errorf("%w: the copy is %s old", ErrUnavailable, age)
	}
	return s.set, nil
}

// Close ends the watching. Current then refuses as soon as the copy is too old.
func (f *File) Close() error {
	f.once.Do(func() { close(f.stop) })
	<-f.done
	return nil
}

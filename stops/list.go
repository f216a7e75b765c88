package stops

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"sync/atomic"
	"time"

	"cambio/trust"
)

const (
	// poll is how often the list is looked at.
	poll = time.Second
	// maxAge is how old a copy may be: a stop ends issuing within 5 s, or the
	// gateway answers that it cannot know.
	maxAge = 5 * time.Second
)

// keeper is where a list is kept: a file or Redis.
type keeper interface {
	// read returns the list. It is settled when whoever holds a newer one has had
	// the time to put it back; a file always is. An error is ErrUnavailable, and
	// ErrUnreachable besides where it says nothing about the list itself.
	read(ctx context.Context) (set trust.StopSet, settled bool, err error)
	// change replaces the list in one step by what apply makes of it, or of the
	// error of reading it. A list of the same version is not written. apply may
	// be called more than once.
	change(ctx context.Context, apply apply) error
}

// apply makes a list of the one that is there. Version 0 without an error: there
// never was one.
type apply func(old trust.StopSet, err error) (trust.StopSet, error)

// List is the list of stops as a gateway sees it: looked at each second. It is
// safe for concurrent use.
type List struct {
	keeper  keeper
	mends   bool          // a list that was lost is put back whenever it is found so
	poll    time.Duration // how often it is looked at
	now     func() time.Time
	log     *slog.Logger
	changed func(added, lifted []trust.Stop, version int64) error

	state atomic.Pointer[state]
	last  trust.StopSet // the newest list that was taken over, at first the journal's; one goroutine's
	taken bool          // last is of the store
	told  trust.StopSet // the newest list that changed has recorded, at first the journal's
	mood  mood          // what was logged last
	stop  chan struct{}
	done  chan struct{}
	once  sync.Once
}

// state is what the last look found.
type state struct {
	set trust.StopSet
	err error
	at  time.Time
}

// mood is what a list is in, so that only a change of it is logged.
type mood int

const (
	good mood = iota
	settling
	silent
	bad
)

// newList is a list that is not yet watched.
func newList(l *List, seen int64, journaled []trust.Stop) *List {
	if l.poll == 0 {
		l.poll = poll
	}
	if l.log == nil {
		l.log = slog.New(slog.DiscardHandler)
	}
	if l.changed == nil {
		l.changed = func([]trust.Stop, []trust.Stop, int64) error { return nil }
	}
	l.last = trust.NewStopSet(seen, journaled)
	l.told = l.last
	l.stop, l.done = make(chan struct{}), make(chan struct{})
	return l
}

func (l *List) watch(ctx context.Context) {
	defer close(l.done)
	ticker := time.NewTicker(l.poll)
	defer ticker.Stop()
	for {
		select {
		case <-l.stop:
			return
		case <-ticker.C:
			l.look(ctx)
		}
	}
}

// look reads the list once.
func (l *List) look(ctx context.Context) {
	at := l.now() // before the read: a read that hangs makes the copy older
	set, settled, err := l.keeper.read(ctx)
	if l.mends && (missing(err) || err == nil && set.Version() < l.last.Version()) {
		if mendErr := l.mend(ctx); mendErr == nil {
			set, settled, err = l.keeper.read(ctx)
		} else {
			// That the list is lost is known, whatever the reason that it stays so.
			lost := fmt.Errorf("%w: the list is missing or older than one that was seen", ErrUnavailable)
			err = fmt.Errorf("%w; it cannot be put back: %s", lost, mendErr.Error())
		}
	}
	if err == nil {
		err = l.take(ctx, set)
	}
	before := l.state.Load()
	usable := before != nil && before.err == nil
	switch next := (&state{set, err, at}); {
	case errors.Is(err, ErrUnreachable) && usable:
		// Nothing was learnt. The copy ages, and refuses when it is too old.
		l.feel(ctx, silent, err)
	case err == nil && !settled && usable:
		// Stops that were added act at once, but this look does not make the copy
		// any younger: the list of a store that has lost its last second must not
		// serve a replica that has not seen what another has.
		next.at = before.at
		l.state.Store(next)
	case err == nil && !settled:
		next.err = fmt.Errorf("%w: %w", ErrUnavailable, ErrSettling)
		l.state.Store(next)
		l.feel(ctx, settling, next.err)
	case err != nil:
		l.state.Store(next)
		l.feel(ctx, bad, err)
	default:
		l.state.Store(next)
		l.feel(ctx, good, nil)
	}
}

// mend makes the list that is not there: the newest that was seen, or an empty
// one where none ever was. One that is older is replaced only where the list
// mends; the highest version wins.
func (l *List) mend(ctx context.Context) error {
	wrote := false
	err := l.keeper.change(ctx, func(old trust.StopSet, err error) (trust.StopSet, error) {
		wrote = false
		isNone := missing(err) || err == nil && old.Version() == 0
		isOlder := err == nil && old.Version() < l.last.Version()
		switch {
		case !isNone && (!l.mends || !isOlder):
			return old, nil // it is there, or it is the operator's to judge
		case l.last.Version() == 0:
			return trust.NewStopSet(1, nil), nil
		}
		wrote = true
		return l.last, nil
	})
	if err == nil && wrote {
		l.log.LogAttrs(ctx, slog.LevelWarn, "the stop list was lost, and is put back as it was last seen",
			slog.Int64("version", l.last.Version()), slog.Int("stops", len(l.last.All())))
	}
	return err
}

// take takes a list over, where it can be the one after that which was seen.
func (l *List) take(ctx context.Context, set trust.StopSet) error {
	if set.Version() < l.last.Version() {
		// An old list that was put back would lift what was stopped since.
		return fmt.Errorf("%w: the list has version %d, but %d was seen", ErrUnavailable, set.Version(), l.last.Version())
	}
	added, lifted := diff(l.last, set)
	// A version names one list. Two of them mean that a store lost one and that it
	// was written anew without it, or that somebody wrote the store by hand: no
	// reader can know which is right. A journal may hold a part of its last
	// version; where several replicas write one list, though, a stop that only the
	// journal has was more likely lost than lifted.
	if set.Version() == l.last.Version() && (l.taken && len(added) > 0 || (l.taken || l.mends) && len(lifted) > 0) {
		return fmt.Errorf("%w: the list differs from version %d that was seen", ErrUnavailable, set.Version())
	}
	l.last, l.taken = set, true
	l.tell(ctx)
	return nil
}

// tell tells of what was taken over and is not yet recorded. A stop that only the
// store held would be lost with it: an older list, or one rebuilt from the journal,
// would pass for the newest. At first the version may be the journal's own: a
// crash may have come between the records of one change.
func (l *List) tell(ctx context.Context) {
	added, lifted := diff(l.told, l.last)
	if len(added)+len(lifted) == 0 && l.last.Version() <= l.told.Version() {
		return
	}
	if err := l.changed(added, lifted, l.last.Version()); err != nil {
		l.log.LogAttrs(ctx, slog.LevelWarn, "a change of the stop list is in force, and not recorded yet", slog.Any("error", err))
		return
	}
	l.told = l.last
}

// feel logs that the list became good, or no longer is.
func (l *List) feel(ctx context.Context, m mood, err error) {
	was := l.mood
	if l.mood = m; was == m {
		return
	}
	switch m {
	case good:
		l.log.LogAttrs(ctx, slog.LevelInfo, "the stop list is good again", slog.Int64("version", l.last.Version()))
	case settling:
		l.log.LogAttrs(ctx, slog.LevelInfo, "the stop list settles: everything is refused for some seconds", slog.Any("error", err))
	case silent:
		l.log.LogAttrs(ctx, slog.LevelWarn, "the stop list cannot be reached: everything is refused when the copy is 5 s old", slog.Any("error", err))
	case bad:
		l.log.LogAttrs(ctx, slog.LevelError, "the stop list cannot be relied on: everything is refused", slog.Any("error", err))
	}
}

// Current returns the list. An error, which is [ErrUnavailable], means that there
// is none to rely on: it is missing, malformed, older than one that was seen,
// differs from that of its version, or was not looked at for 5 s.
func (l *List) Current(now time.Time) (trust.StopSet, error) {
	s := l.state.Load()
	if s.err != nil {
		return trust.StopSet{}, s.err
	}
	if age := now.Sub(s.at); age > maxAge || age < -maxAge {
		return trust.StopSet{}, fmt.Errorf("%w: %w: the copy is %s old", ErrUnavailable, ErrUnreachable, age)
	}
	return s.set, nil
}

// Close ends the watching. Current then refuses as soon as the copy is too old.
func (l *List) Close() error {
	l.once.Do(func() { close(l.stop) })
	<-l.done
	return nil
}

// missing reports whether there is no list at all.
func missing(err error) bool { return errors.Is(err, errMissing) }

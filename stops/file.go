package stops

import (
	"context"
	"fmt"
	"log/slog"
	"time"

	"cambio/trust"
)

// FileConfig is what a watched file needs. Dir and Now are required.
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
	// [List.Current] shows it. A change that it could not record is in force all
	// the same, and is told again, with what came since, until it could. May be
	// nil.
	Changed func(added, lifted []trust.Stop, version int64) error
}

// File is the list of one replica, kept in a file.
type File = List

// OpenFile takes over the list, makes an empty one on a first start, rebuilds one
// that is missing from the journal, and watches it until Close.
//
// A list that cannot be relied on is no error here: the gateway starts, and
// [List.Current] refuses until the file is good. An error means that a list
// could not be written.
func OpenFile(ctx context.Context, cfg FileConfig) (*File, error) {
	if cfg.Dir == "" || cfg.Now == nil {
		return nil, fmt.Errorf("%w: Dir and Now are required", ErrInvalid)
	}
	l := newList(&List{
		keeper: inFile{Store{Dir: cfg.Dir, Now: cfg.Now}}, now: cfg.Now, log: cfg.Log, changed: cfg.Changed,
	}, cfg.Seen, cfg.Journaled)
	if err := l.mend(ctx); err != nil {
		return nil, err
	}
	l.look(ctx)
	go l.watch(context.WithoutCancel(ctx))
	return l, nil
}

// inFile is a file as a keeper: nothing in it waits for anybody.
type inFile struct{ store Store }

// read needs no settling: nobody else puts a file back.
func (f inFile) read(context.Context) (trust.StopSet, bool, error) {
	set, err := f.store.read()
	return set, true, err
}

func (f inFile) change(_ context.Context, apply apply) error { return f.store.replace(apply) }

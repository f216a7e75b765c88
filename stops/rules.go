package stops

import (
	"errors"
	"fmt"
	"io"
	"slices"
	"time"

	"cambio/trust"
)

// adding puts a stop on a list. It gives the stop its id and its time, and leaves
// a list alone that has it already: a write whose answer was lost is tried again.
func adding(stop *trust.Stop, now time.Time, rand io.Reader) (apply, error) {
	now = whole(now)
	stop.ID, stop.Added, stop.Until = "", now, whole(stop.Until)
	if err := check(*stop); err != nil {
		return nil, err
	}
	if !stop.Until.IsZero() && !stop.Until.After(now) {
		return nil, fmt.Errorf("%w: until %s has passed", ErrInvalid, stop.Until.Format(time.RFC3339))
	}
	return func(old trust.StopSet, err error) (trust.StopSet, error) {
		if err != nil {
			return old, err
		}
		stops := old.All()
		if i := find(stops, stop.ID); i >= 0 && same(stops[i], *stop) {
			return old, nil
		}
		for stop.ID == "" || find(stops, stop.ID) >= 0 {
			id, err := newID(rand)
			if err != nil {
				return old, err
			}
			stop.ID = id
		}
		// Those whose end has passed say nothing any more.
		stops = slices.DeleteFunc(stops, func(o trust.Stop) bool { return !o.Until.IsZero() && !now.Before(o.Until) })
		return trust.NewStopSet(old.Version()+1, append(stops, *stop)), nil
	}, nil
}

// lifting takes a stop off a list. Tried again, one that is gone is no error.
func lifting(id string, lifted *trust.Stop) apply {
	return func(old trust.StopSet, err error) (trust.StopSet, error) {
		if err != nil {
			return old, err
		}
		stops := old.All()
		i := find(stops, id)
		switch {
		case i < 0 && lifted.ID == id:
			return old, nil
		case i < 0:
			return old, fmt.Errorf("%w: %.40q", ErrNotFound, id)
		}
		*lifted = stops[i]
		return trust.NewStopSet(old.Version()+1, slices.Delete(stops, i, i+1)), nil
	}
}

// restoring makes a list of these stops and of those of one that can still be
// read: one that was added while no gateway ran is in no journal, and to restore
// must not lift it. The version is above all that were seen.
func restoring(stops []trust.Stop, seen int64, made *trust.StopSet) apply {
	return func(old trust.StopSet, err error) (trust.StopSet, error) {
		switch {
		case errors.Is(err, ErrNewer):
			return old, fmt.Errorf("%w; restore with that version, or take the list away first", err)
		case errors.Is(err, ErrUnreachable):
			return old, err
		}
		all := slices.Clone(stops)
		for _, o := range old.All() {
			if find(all, o.ID) < 0 {
				all = append(all, o)
			}
		}
		*made = trust.NewStopSet(max(seen, old.Version(), 0)+1, all)
		return *made, nil
	}
}

func find(stops []trust.Stop, id string) int {
	return slices.IndexFunc(stops, func(s trust.Stop) bool { return s.ID == id })
}

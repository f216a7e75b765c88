package gateway

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"time"

	"cambio/audit"
	"cambio/exchange"
	"cambio/stops"
	"cambio/trust"
)

// watchStops takes over the stop list, of this replica's file or of the Redis
// that all share, and journals its changes.
func (g *Gateway) watchStops(ctx context.Context, recovered audit.Recovered) error {
	list, err := g.openStops(ctx, recovered)
	if err != nil {
		return fmt.Errorf("gateway: stops: %w", err)
	}
	g.stops = list
	g.closers = append(g.closers, func() { _ = list.Close() }) // it only ends the watching
	return nil
}

// stopped is the stop list as an exchange wants it.
type stopped struct {
	list   *stops.List
	shared bool // in the Redis that remembers used tokens too
}

// Current returns the list in force. Where the Redis that all replicas share does
// not answer, that is the reason which is told, whatever was asked of it first.
func (s stopped) Current(now time.Time) (trust.StopSet, error) {
	set, err := s.list.Current(now)
	if s.shared && errors.Is(err, stops.ErrUnreachable) {
		return set, exchange.Unanswered(trust.ReasonReplayStore, err)
	}
	return set, err
}

func (g *Gateway) openStops(ctx context.Context, recovered audit.Recovered) (*stops.List, error) {
	journaled := journaledStops(recovered.Stops)
	if g.config.Redis == nil {
		return stops.OpenFile(ctx, stops.FileConfig{
			Dir: g.config.State, Now: g.env.Now, Log: g.env.Log,
			Seen: recovered.StopVersion, Journaled: journaled, Changed: g.stopsChanged,
		})
	}
	client := DialRedis(g.config.Redis, nil)
	g.closers = append(g.closers, func() { _ = client.Close() }) // nothing is under way
	return stops.OpenRedis(ctx, stops.RedisConfig{
		Client: client, Now: g.env.Now, Log: g.env.Log,
		Seen: recovered.StopVersion, Journaled: journaled, Changed: g.stopsChanged,
	})
}

// stopsCheck is what /readyz says of a stop list that cannot be relied on.
// `cambio stop restore` is not for one that comes back by itself: it would put an
// older list in the place of the one that a replica is about to put back.
func stopsCheck(err error) string {
	switch {
	case errors.Is(err, stops.ErrSettling):
		return "the stop list settles after a start or a loss; everything is refused for some seconds"
	case errors.Is(err, stops.ErrUnreachable):
		return "the store of the stop list does not answer; everything is refused until it does"
	}
	return "the stop list is missing or stale; see `cambio stop restore`"
}

// stopsChanged records what was added and lifted.
func (g *Gateway) stopsChanged(added, lifted []trust.Stop, version int64) error {
	var errs []error
	for _, s := range lifted {
		errs = append(errs, g.journal.Append(stopRecord(audit.StopLifted, s, version)))
	}
	for _, s := range added {
		errs = append(errs, g.journal.Append(stopRecord(audit.StopAdded, s, version)))
	}
	return errors.Join(errs...)
}

// stopRecord is a stop as the journal tells it. Reason holds the operator's
// words and Count the version of the list.
func stopRecord(event audit.Event, s trust.Stop, version int64) audit.Record {
	r := audit.Record{Event: event, Handle: s.ID, Reason: s.Reason, Expires: s.Until, Count: version}
	*stopSubject(&r, s.Kind) = s.What
	return r
}

// stopSubject is the field of a record that names what a stop of this kind is
// for.
func stopSubject(r *audit.Record, kind trust.StopKind) *string {
	switch kind {
	case trust.StopWorkload:
		return &r.Workload
	case trust.StopTrust:
		return &r.Trust
	case trust.StopProvider:
		return &r.Provider
	case trust.StopTarget:
		return &r.Target
	}
	return new(string)
}

// journaledStops are the stops that the journal holds.
func journaledStops(records []audit.Record) []trust.Stop {
	var out []trust.Stop
	for _, r := range records {
		for _, kind := range []trust.StopKind{trust.StopWorkload, trust.StopTrust, trust.StopProvider, trust.StopTarget} {
			if what := *stopSubject(&r, kind); what != "" {
				out = append(out, trust.Stop{ID: r.Handle, Kind: kind, What: what, Reason: r.Reason, Added: r.Time, Until: r.Expires})
			}
		}
	}
	return out
}

// JournaledStops reads the stops in force, and the version of their list, from
// the journal of a configuration. It needs no running gateway. A journal that
// does not exist holds none.
func JournaledStops(c Config) ([]trust.Stop, int64, error) {
	dir := filepath.Join(c.State, "journal")
	if _, err := os.Stat(dir); errors.Is(err, fs.ErrNotExist) {
		return nil, 0, nil
	}
	var version int64
	held := map[string]audit.Record{}
	for r, err := range audit.Read(os.DirFS(dir)) {
		switch {
		case err != nil:
			return nil, 0, err
		case r.Event == audit.StopAdded:
			held[r.Handle] = r
		case r.Event == audit.StopLifted:
			delete(held, r.Handle)
		default:
			continue
		}
		version = max(version, r.Count)
	}
	records := slices.SortedFunc(maps.Values(held), func(a, b audit.Record) int { return cmp.Compare(a.Seq, b.Seq) })
	return journaledStops(records), version, nil
}

package gateway

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"sync/atomic"
	"time"

	"cambio/audit"
	"cambio/exchange"
	"cambio/issuer"
	"cambio/trust"
)

// tellTimeout bounds how long a look at the keys waits for the journal: with the
// time between two looks it is far below issuer.ReplicaLag, within which a revoked
// key must be gone.
const tellTimeout = 2 * time.Second

// Why nothing may be signed, though there are keys.
var (
	errKeysStale   = errors.New("gateway: the keys on disk cannot be read, and one of those in use may have been revoked")
	errKeyUnheard  = errors.New("gateway: the journal has not recorded yet that a new key signs")
	errKeysRefused = errors.New("gateway: the key set in use is not the one on disk")
)

// keyWatch is what a gateway knows of its key folder, and the journal of its keys.
// The zero value waits for [keyWatch.begin].
type keyWatch struct {
	mu      sync.Mutex     // one look at a time
	ring    issuer.Ring    // as last loaded
	noticed issuer.Ring    // as of the last look: what led to it is recorded, or in untold
	untold  []audit.Record // what the journal has not recorded yet, oldest first

	// since is as of when the ring is what the folder held, in Unix nanoseconds,
	// while a look is under way or the last one failed; 0: the last one did not.
	since atomic.Int64
	// unheard says that a key signs which the journal does not hold yet.
	unheard atomic.Bool

	hearing sync.Mutex
	heard   map[string]bool // ids of the keys that the journal holds
}

// begin starts with the ring that was loaded and the one that the issuer has.
func (w *keyWatch) begin(loaded, inForce issuer.Ring) {
	w.ring, w.noticed, w.heard = loaded, inForce, make(map[string]bool)
}

// hear notes that the journal holds these keys.
func (w *keyWatch) hear(records ...audit.Record) {
	w.hearing.Lock()
	defer w.hearing.Unlock()
	for _, r := range records {
		w.heard[r.Handle] = true
	}
}

func (w *keyWatch) heardOf(kid string) bool {
	w.hearing.Lock()
	defer w.hearing.Unlock()
	return w.heard[kid]
}

// heardAll reports whether the journal holds every key that signs.
func (w *keyWatch) heardAll(r issuer.Ring) bool {
	for _, k := range r.Keys {
		if k.State == issuer.Active && !w.heardOf(k.KID) {
			return false
		}
	}
	return true
}

// check returns nil, or why nothing may be signed now.
func (w *keyWatch) check(now time.Time) error {
	if since := w.since.Load(); since != 0 && now.Sub(time.Unix(0, since)) >= issuer.ReplicaLag {
		return errKeysStale
	}
	if w.unheard.Load() {
		return errKeyUnheard
	}
	return nil
}

// followKeys takes over what `cambio keys` changed, and lets go of retired keys
// whose time is over. What fails is tried again at the next look.
//
// The journal hears of new keys before the issuer signs with them, or it could
// not be verified. A removal does not wait for it: a thief who holds the revoked
// key could else keep it in the key set by filling the disk. It is recorded as
// soon as that can be.
//
// Where the keys cannot be read for as long as a revocation may take, this
// replica issues nothing and says that it is not ready. It goes on to serve the
// key set: without it relying parties would refuse every token that is still
// good, on all replicas at once where they share the folder, while whoever holds
// a revoked key only gains what caches give him anyway.
func (g *Gateway) followKeys(ctx context.Context) {
	w := &g.keyWatch
	w.mu.Lock()
	defer w.mu.Unlock()
	now := g.env.Now()
	// Noted before, as a folder on a network may hang. The last good look was one
	// interval ago; the clock may have been set since, so it is not that time.
	w.since.CompareAndSwap(0, now.Add(-followKeysEvery).UnixNano())
	known := g.lookAtKeys(ctx)
	before, after := g.issuer.Ring(), issuer.Prune(w.ring, now)
	w.untold = append(w.untold, keyChanges(w.noticed, after, now)...)
	w.noticed = after
	err := g.tellKeys(ctx)
	g.warn(ctx, "change of keys not recorded yet", err)
	if err != nil && !without(before, after) {
		after = before // what is new waits for the journal
	}
	w.unheard.Store(!w.heardAll(after)) // before it speaks
	if err := g.replaceKeys(ctx, before, after, now); err != nil {
		g.warn(ctx, "changed keys are refused; the old ones stay", err)
		known = false
	}
	if known {
		w.since.Store(0)
	}
}

// lookAtKeys loads the keys if they are others, and reports whether it knows what
// is in the folder.
func (g *Gateway) lookAtKeys(ctx context.Context) bool {
	changed, err := g.keys.Changed()
	if err != nil {
		g.warn(ctx, "key store cannot be read", err)
		return false
	}
	if !changed {
		return true
	}
	ring, err := g.keys.Load(ctx)
	if err != nil {
		g.warn(ctx, "changed keys do not load; the old ones stay, and nothing is issued after a minute", err)
		return false
	}
	g.keyWatch.ring = ring
	return true
}

// tellKeys records what changed, in order and each thing once.
func (g *Gateway) tellKeys(ctx context.Context) error {
	w := &g.keyWatch
	ctx, cancel := context.WithTimeout(ctx, tellTimeout)
	defer cancel()
	for len(w.untold) > 0 {
		// Durable, not only queued: the writer signs checkpoints in between.
		if err := g.journal.Commit(ctx, w.untold[0]); err != nil {
			return err
		}
		w.hear(w.untold[0])
		w.untold = w.untold[1:]
	}
	return nil
}

// replaceKeys gives the issuer another ring, if it is one.
func (g *Gateway) replaceKeys(ctx context.Context, before, after issuer.Ring, now time.Time) error {
	if len(keyChanges(before, after, now)) == 0 && len(before.Keys) == len(after.Keys) {
		return nil
	}
	if err := g.issuer.Replace(after); err != nil {
		return fmt.Errorf("%w: %w", errKeysRefused, err)
	}
	g.env.Log.InfoContext(ctx, "keys changed", slog.Int("keys", len(after.Keys)))
	return nil
}

// without reports whether a key of one ring is not in another any more.
func without(before, after issuer.Ring) bool {
	for _, k := range before.Keys {
		if _, ok := after.Find(k.KID); !ok {
			return true
		}
	}
	return false
}

// journalHead are the keys that stand at a segment's head.
func (g *Gateway) journalHead() []audit.Record {
	records := keyRecords(g.issuer.Ring())
	g.keyWatch.hear(records...)
	return records
}

// signCheckpoint signs for the journal, by a key that it holds: one that took
// over for a revoked key may not be there yet, and a checkpoint by it could not be
// verified. The journal tries again.
func (g *Gateway) signCheckpoint(text []byte) (kid string, sig []byte, err error) {
	kid, sig, err = g.issuer.SignCheckpoint(text)
	if err == nil && !g.keyWatch.heardOf(kid) {
		return "", nil, errKeyUnheard
	}
	return kid, sig, err
}

// keyed is the stop list for a gateway that may sign: where that is not known to
// be so, nothing is issued, as where it is not known what is stopped.
type keyed struct {
	exchange.Stops
	keys *keyWatch
}

// Current returns the list in force, or an error where nothing may be signed.
func (k keyed) Current(now time.Time) (trust.StopSet, error) {
	if err := k.keys.check(now); err != nil {
		return trust.StopSet{}, exchange.Unanswered(trust.ReasonKeysStale, err)
	}
	return k.Stops.Current(now)
}

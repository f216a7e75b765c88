package gateway

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"log/slog"
	"syscall"
	"time"

	"cambio/audit"
	"cambio/issuer"
	"cambio/keystore"
	"cambio/trust/strictyaml"
)

// openRing loads the issuer's keys, or makes the first ones.
func openRing(ctx context.Context, store *keystore.Files, now time.Time, rand io.Reader) (issuer.Ring, error) {
	ring, err := store.Load(ctx)
	if !errors.Is(err, issuer.ErrNoKeys) {
		return ring, err
	}
	ring, err = store.Update(ctx, func(r issuer.Ring) (issuer.Ring, error) {
		if len(r.Keys) > 0 {
			return r, nil // another replica was first
		}
		return issuer.Generate(now, rand)
	})
	if errors.Is(err, fs.ErrPermission) || errors.Is(err, syscall.EROFS) {
		err = fmt.Errorf("there are none, and none can be made here: start the gateway once where the folder can be written, and bring all its files here: %w", err)
	}
	if err != nil {
		return ring, err
	}
	return store.Load(ctx) // as every later start has it, and other replicas
}

// keyRecords are the journal's records of a ring: each names the public key, so
// that checkpoints stay verifiable after the key is gone.
func keyRecords(ring issuer.Ring) []audit.Record {
	records := make([]audit.Record, len(ring.Keys))
	for i, k := range ring.Keys {
		records[i] = keyRecord(k, eventOf(k.State))
	}
	return records
}

func keyRecord(k issuer.Key, event audit.Event) audit.Record {
	return audit.Record{Event: event, Handle: k.KID, Claims: k.PublicJWK()}
}

func eventOf(s issuer.State) audit.Event {
	switch s {
	case issuer.Active:
		return audit.KeyActivated
	case issuer.Retired:
		return audit.KeyRetired
	case issuer.Next:
		return audit.KeyPublished
	}
	return audit.KeyPublished
}

// keyChanges are the records of what is different between two rings. A key that
// is gone was revoked, unless its time as a retired one was over.
func keyChanges(before, after issuer.Ring, now time.Time) []audit.Record {
	var records []audit.Record
	for _, k := range after.Keys {
		if old, ok := before.Find(k.KID); !ok || old.State != k.State {
			records = append(records, keyRecord(k, eventOf(k.State)))
		}
	}
	for _, k := range before.Keys {
		if _, ok := after.Find(k.KID); ok {
			continue
		}
		if until := k.PublishedUntil(); until.IsZero() || now.Before(until) {
			records = append(records, keyRecord(k, audit.KeyRevoked))
		}
	}
	return records
}

// warn logs a fault of something that goes on with what it has.
func (g *Gateway) warn(ctx context.Context, msg string, err error) {
	if err != nil {
		g.env.Log.WarnContext(ctx, msg, slog.Any("error", err)) //nolint:sloglint // msg is constant at each call
	}
}

// checkKeys says what is wrong with the keys that exist, where some do.
func checkKeys(c Config) strictyaml.Findings {
	_, err := keystore.NewFiles(c.Keys, slog.New(slog.DiscardHandler)).Load(context.Background())
	if err == nil || errors.Is(err, issuer.ErrNoKeys) {
		return nil
	}
	at := c.keysAt
	if at.file == "" {
		at.file = c.Keys // the configuration did not come from a file
	}
	return strictyaml.Findings{{
		ID: keyFinding(err), Severity: strictyaml.Error, File: at.file, Line: at.line, Column: at.column, Field: "keys",
		Message: err.Error(), Fix: "mend the file, or take it out of the folder",
	}}
}

func keyFinding(err error) string {
	if errors.Is(err, issuer.ErrWeakKey) {
		return "weak-key"
	}
	return "keys-unusable"
}

// IsKeyFault reports whether an error of [Open] lies in the key folder.
func IsKeyFault(err error) bool {
	for _, fault := range []error{issuer.ErrWeakKey, issuer.ErrRing, keystore.ErrMode, keystore.ErrManifest, keystore.ErrKeyFile} {
		if errors.Is(err, fault) {
			return true
		}
	}
	return false
}

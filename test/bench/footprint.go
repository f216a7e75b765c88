package main

import (
	"context"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"errors"
	"fmt"
	"log/slog"
	"path/filepath"
	"time"

	"cambio/audit"
	"cambio/exchange"
	"cambio/issuer"
	"cambio/keystore"
)

// The sizes at which start and memory are measured.
const (
	someTrusts = 1000
	manyTrusts = 10_000
	manyTokens = 100_000
)

// footprint measures the start with many trusts, and memory by trusts and
// remembered tokens. Where a figure is timed, the best of three counts.
func (b *bench) footprint(ctx context.Context, f *figures) error {
	empty, _, err := b.idle(ctx, setup{name: "small", trusts: someTrusts}, 0, 1)
	if err != nil {
		return err
	}
	full, _, err := b.idle(ctx, setup{name: "remembering", trusts: someTrusts}, manyTokens, 1)
	if err != nil {
		return err
	}
	large, started, err := b.idle(ctx, setup{name: "large", trusts: manyTrusts}, 0, 3)
	if err != nil {
		return err
	}
	f.resident, f.started = full, started
	f.perToken = float64(full-empty) / manyTokens
	f.perTrust = float64(large-empty) / (manyTrusts - someTrusts)
	return nil
}

// idle starts a gateway, some times over, and returns its resident memory after
// a collection and the shortest start.
func (b *bench) idle(ctx context.Context, s setup, tokens, times int) (int64, time.Duration, error) {
	dir, err := b.folder(s)
	if err != nil {
		return 0, 0, err
	}
	if tokens > 0 {
		if err := b.remember(ctx, filepath.Join(dir, "state", "journal"), tokens); err != nil {
			return 0, 0, err
		}
	}
	var resident int64
	var started time.Duration
	for i := range times {
		p, err := start(ctx, embedded, dir)
		if err != nil {
			return 0, 0, err
		}
		err = b.use(p)
		u, told := p.tell("collect")
		if err := errors.Join(err, told, p.end()); err != nil {
			return 0, 0, err
		}
		if resident = u.Resident; i == 0 || p.Started < started {
			started = p.Started
		}
	}
	return resident, started, nil
}

// use makes a few exchanges, so that what a gateway needs at its first ones is
// counted too.
func (b *bench) use(p *process) error {
	tokens, err := b.provider.tokens(100)
	if err != nil {
		return err
	}
	_, err = drive(p.URL, target, 4, tokens)
	return err
}

// remember writes a journal that ended with the uses of n tokens.
func (b *bench) remember(ctx context.Context, dir string, n int) error {
	now := time.Now()
	uses := make([]audit.Use, n)
	for i := range uses {
		key := sha256.Sum256(fmt.Append(nil, i))
		uses[i] = audit.Use{
			Key: base64.RawURLEncoding.EncodeToString(key[:]), Decision: exchange.NewID(now, rand.Reader),
			Members: []string{target + " "}, Closed: true, Until: now.Add(time.Hour),
		}
	}
	journal, err := b.journal(ctx, dir, uses)
	if err != nil {
		return err
	}
	return journal.Close()
}

// journal opens one that is signed by the bench's own keys.
func (b *bench) journal(ctx context.Context, dir string, uses []audit.Use) (*audit.Journal, error) {
	ring, err := keystore.NewFiles(filepath.Join(b.dir, "keys"), slog.New(slog.DiscardHandler)).Load(ctx)
	if err != nil {
		return nil, err
	}
	voice, err := issuer.New(issuer.Config{URL: ours, Now: time.Now, Rand: rand.Reader}, ring)
	if err != nil {
		return nil, err
	}
	journal, _, err := audit.Open(ctx, audit.Config{
		Dir: dir, Replica: "bench", Now: time.Now, Rand: rand.Reader, Sign: voice.SignCheckpoint,
		Remembered: func() []audit.Use { return uses },
		Head: func() []audit.Record {
			var keys []audit.Record
			for _, k := range ring.Keys {
				keys = append(keys, audit.Record{Event: audit.KeyActivated, Handle: k.KID, Claims: k.PublicJWK()})
			}
			return keys
		},
	})
	return journal, err
}

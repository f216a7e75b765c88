// Package audittest holds what tests of a journal need: disks that fail, and a
// signer.
package audittest

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"errors"
	"os"
	"sync"

	"cambio/audit"
)

// ErrDisk is what a disk that fails says.
var ErrDisk = errors.New("audittest: input/output error")

// PowerLoss is a disk that loses power: Crash forgets what was not synced. Its
// Open goes into audit.Config.
type PowerLoss struct {
	mu    sync.Mutex
	files []*lossyFile
	off   bool
	syncs int   // until the power goes by itself; 0: it does not
	keep  int64 // what Crash then gets
}

// CrashOnSync lets the power go when the n-th sync from now is asked for: behind
// the write, before the disk has it.
func (p *PowerLoss) CrashOnSync(n int, keep int64) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.syncs, p.keep = n, keep
}

// Open creates a file.
func (p *PowerLoss) Open(path string) (audit.File, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.off {
		return nil, ErrDisk
	}
	f, err := os.OpenFile(path, os.O_CREATE|os.O_EXCL|os.O_WRONLY|os.O_APPEND, 0o600) //nolint:gosec // the folder is the operator's to name
	if err != nil {
		return nil, err
	}
	lossy := &lossyFile{disk: p, f: f}
	p.files = append(p.files, lossy)
	return lossy, nil
}

// Crash cuts each file where it was last synced, or up to keep bytes behind: a
// disk may have written a part. Afterwards everything fails, as for a process
// that is gone.
func (p *PowerLoss) Crash(keep int64) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.crash(keep)
}

func (p *PowerLoss) crash(keep int64) error {
	if p.off {
		return nil
	}
	p.off = true
	var errs []error
	for _, f := range p.files {
		if err := os.Truncate(f.f.Name(), min(f.size, f.synced+keep)); !errors.Is(err, os.ErrNotExist) {
			errs = append(errs, err)
		}
	}
	return errors.Join(errs...)
}

type lossyFile struct {
	disk         *PowerLoss
	f            *os.File
	size, synced int64
}

// Write keeps the bytes until the power goes.
func (f *lossyFile) Write(b []byte) (int, error) {
	f.disk.mu.Lock()
	defer f.disk.mu.Unlock()
	if f.disk.off {
		return 0, ErrDisk
	}
	n, err := f.f.Write(b)
	f.size += int64(n)
	return n, err
}

// Sync keeps them for good.
func (f *lossyFile) Sync() error {
	f.disk.mu.Lock()
	defer f.disk.mu.Unlock()
	if f.disk.off {
		return ErrDisk
	}
	if f.disk.syncs--; f.disk.syncs == 0 {
		return errors.Join(ErrDisk, f.disk.crash(f.disk.keep))
	}
	f.synced = f.size
	return nil
}

// Close closes the file.
func (f *lossyFile) Close() error { return f.f.Close() }

// Faulty is a disk whose operations fail while a test says so. Its Open goes
// into audit.Config. The zero value works.
type Faulty struct {
	mu                      sync.Mutex
	syncs, writes, opens    int // how many fail from now on; below zero: all
	short                   int // bytes that a failing write leaves
	opened, synced, written int
}

// FailSync lets the next n syncs fail; below zero: all. FailSync(1) is a disk
// that fails once.
func (d *Faulty) FailSync(n int) { d.set(&d.syncs, n) }

// FailWrite lets the next n writes fail after some bytes; below zero: all.
func (d *Faulty) FailWrite(n, short int) { d.set(&d.short, short); d.set(&d.writes, n) }

// FailOpen lets the next n openings fail; below zero: all.
func (d *Faulty) FailOpen(n int) { d.set(&d.opens, n) }

// Opened returns how often a segment was asked for.
func (d *Faulty) Opened() int {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.opened
}

// Synced returns how many syncs succeeded.
func (d *Faulty) Synced() int {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.synced
}

func (d *Faulty) set(counter *int, n int) {
	d.mu.Lock()
	defer d.mu.Unlock()
	*counter = n
}

// fails reports whether this operation fails, and counts down.
func (d *Faulty) fails(counter *int) bool {
	if *counter > 0 {
		*counter--
		return true
	}
	return *counter < 0
}

// Open creates a file.
func (d *Faulty) Open(path string) (audit.File, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.opened++
	if d.fails(&d.opens) {
		return nil, ErrDisk
	}
	f, err := os.OpenFile(path, os.O_CREATE|os.O_EXCL|os.O_WRONLY|os.O_APPEND, 0o600) //nolint:gosec // the folder is the operator's to name
	if err != nil {
		return nil, err
	}
	return &faultyFile{disk: d, File: f}, nil
}

type faultyFile struct {
	*os.File
	disk   *Faulty
	failed bool
}

// Write fails the process's test loudly when a file is written that has failed.
func (f *faultyFile) Write(b []byte) (int, error) {
	f.disk.mu.Lock()
	defer f.disk.mu.Unlock()
	if f.failed {
		panic("audittest: a file that failed was written again")
	}
	if f.disk.fails(&f.disk.writes) {
		f.failed = true
		n, err := f.File.Write(b[:min(len(b), f.disk.short)])
		return n, errors.Join(ErrDisk, err)
	}
	f.disk.written++
	return f.File.Write(b)
}

// Sync does not reach the disk: a test's speed must not hang on it.
func (f *faultyFile) Sync() error {
	f.disk.mu.Lock()
	defer f.disk.mu.Unlock()
	if f.failed {
		panic("audittest: a file that failed was synced again")
	}
	if f.disk.fails(&f.disk.syncs) {
		f.failed = true
		return ErrDisk
	}
	f.disk.synced++
	return nil
}

// Signer signs checkpoints with a key of its own.
type Signer struct {
	KID string
	key *ecdsa.PrivateKey
}

// NewSigner makes a signer with an ES256 key.
func NewSigner(kid string) (*Signer, error) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, err
	}
	return &Signer{kid, key}, nil
}

// Sign goes into audit.Config.
func (s *Signer) Sign(text []byte) (string, []byte, error) {
	sum := sha256.Sum256(text)
	sig, err := ecdsa.SignASN1(rand.Reader, s.key, sum[:])
	return s.KID, sig, err
}

// Head goes into audit.Config: the record of the public key.
func (s *Signer) Head() []audit.Record {
	point, err := s.key.PublicKey.Bytes()
	if err != nil {
		panic(err) // a key that was just made
	}
	encode := base64.RawURLEncoding.EncodeToString
	return []audit.Record{{Event: audit.KeyActivated, Handle: s.KID, Claims: map[string]any{
		"kty": "EC", "crv": "P-256", "kid": s.KID, "use": "sig", "alg": "ES256",
		"x": encode(point[1:33]), "y": encode(point[33:]),
	}}}
}

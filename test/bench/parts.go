package main

import (
	"bytes"
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha256"
	"errors"
	"os"
	"path/filepath"
	"slices"
	"time"
)

// parts are those of an exchange that no gateway can leave out, measured in this
// process while the servers are idle.
type parts struct {
	key    *rsa.PrivateKey
	signer *ecdsa.PrivateKey
	text   []byte // what a usual token's signature covers
	digest [sha256.Size]byte
	sig    []byte
}

// How often each part is run in a round.
const (
	partRuns  = 2000
	fsyncRuns = 100
	fsyncSize = 1500 // bytes: about what an exchange writes
)

func newParts(key *rsa.PrivateKey, token string) (*parts, error) {
	signer, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, err
	}
	p := &parts{key: key, signer: signer, text: []byte(token)}
	p.digest = sha256.Sum256(p.text)
	p.sig, err = rsa.SignPKCS1v15(nil, key, crypto.SHA256, p.digest[:])
	return p, err
}

// verify is the CPU time of one RS256 verification, with its digest.
func (p *parts) verify() (time.Duration, error) {
	return perRun(partRuns, func() error {
		digest := sha256.Sum256(p.text)
		return rsa.VerifyPKCS1v15(&p.key.PublicKey, crypto.SHA256, digest[:], p.sig)
	})
}

// sign is the CPU time of one ES256 signature.
func (p *parts) sign() (time.Duration, error) {
	return perRun(partRuns, func() error {
		_, err := ecdsa.SignASN1(rand.Reader, p.signer, p.digest[:])
		return err
	})
}

func perRun(runs int, do func() error) (time.Duration, error) {
	before, err := cpuTime()
	if err != nil {
		return 0, err
	}
	for range runs {
		if err := do(); err != nil {
			return 0, err
		}
	}
	after, err := cpuTime()
	return (after - before) / time.Duration(runs), err
}

// fsyncs are the times of appends that are made durable one by one.
func fsyncs(dir string) ([]time.Duration, error) {
	f, err := os.Create(filepath.Join(dir, "fsync"))
	if err != nil {
		return nil, err
	}
	line := bytes.Repeat([]byte("x"), fsyncSize)
	times := make([]time.Duration, fsyncRuns)
	for i := range times {
		start := time.Now()
		_, err := f.Write(line)
		if err := errors.Join(err, f.Sync()); err != nil {
			return nil, errors.Join(err, f.Close())
		}
		times[i] = time.Since(start)
	}
	return times, f.Close()
}

// quantile of values, which it sorts.
func quantile[T ~int64 | ~float64](values []T, q float64) T {
	if len(values) == 0 {
		return 0
	}
	slices.Sort(values)
	return values[min(int(q*float64(len(values))), len(values)-1)]
}

package web

import (
	"hash/maphash"
	"net/netip"
	"sync/atomic"
	"time"
)

// limitSlots bounds the memory of a Limiter: 65,536 slots of 8 bytes. Two keys
// that share a slot share a rate; with a seed of its own in every process nobody
// can choose whom to share with.
const limitSlots = 1 << 16

// Limiter bounds how often each key may come: a rate, and bursts of twice that
// (the generic cell rate algorithm, one word a key). It takes no lock, its size
// is fixed whatever the number of keys, and it forgets nothing under pressure,
// so that a flood of new keys cannot reset the old ones.
type Limiter struct {
	interval time.Duration // between two takes at the steady rate
	burst    time.Duration // how far ahead of the clock a key may run
	seed     maphash.Seed
	slots    []atomic.Int64 // when the key will have paid for what it took, in Unix nanoseconds
}

// NewLimiter allows perSecond takes a second for each key, and bursts of twice
// that. perSecond must be positive.
func NewLimiter(perSecond float64) *Limiter {
	interval := time.Duration(float64(time.Second) / perSecond)
	return &Limiter{
		interval: interval,
		burst:    2 * time.Second,
		seed:     maphash.MakeSeed(),
		slots:    make([]atomic.Int64, limitSlots),
	}
}

// Take takes one for key, and returns 0, or how long to wait until one is free.
func (l *Limiter) Take(key string, now time.Time) time.Duration {
	slot := &l.slots[maphash.String(l.seed, key)%limitSlots]
	t := now.UnixNano()
	for {
		paid := slot.Load()
		next := max(paid, t) + int64(l.interval)
		if wait := next - t - int64(l.burst); wait > 0 {
			return time.Duration(wait)
		}
		if slot.CompareAndSwap(paid, next) {
			return 0
		}
	}
}

// limitKey is what one caller is counted under: an IPv6 caller owns his whole
// /64 and could come from a new address each time.
func limitKey(a netip.Addr) string {
	if a.Is6() {
		if p, err := a.WithZone("").Prefix(64); err == nil {
			a = p.Addr()
		}
	}
	b := a.As16()
	return string(b[:])
}

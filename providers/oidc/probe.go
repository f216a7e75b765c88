package oidc

import (
	"context"
	"errors"
	"net"
	"net/http"
	"sync"
	"time"
)

// Probed is what one look at an identity provider found.
type Probed struct {
	Pinned bool          // the key set is a file: nothing was called
	Usable int           // keys of the set
	Total  int           // the same, with those that are weak or of unknown kinds
	Took   time.Duration // all calls together
	Date   time.Time     // the provider's clock by its last answer (RFC 9110 section 6.6.1); zero: it says none
	Seen   time.Time     // our own clock when that answer came
	Err    error         // an [exchange.Error] with its reason; nil: the key set is good
}

// Probe fetches the key set of one provider once, as the verifier would: through
// the same guard, limits and checks. It keeps nothing, and changes nothing for a
// verifier. p must have passed [Check]. A nil resolver is the system's.
func Probe(ctx context.Context, p Provider, platform Platform, resolver Resolver, now func() time.Time) Probed {
	p = p.WithDefaults(platform)
	if pinned, parse := p.pinned(platform); pinned != nil {
		set, err := parse(pinned)
		if err != nil {
			return Probed{Pinned: true, Err: err}
		}
		usable, total := set.count()
		return Probed{Pinned: true, Usable: usable, Total: total}
	}
	if resolver == nil {
		resolver = net.DefaultResolver
	}
	f, err := p.fetcher(platform, resolver, now)
	if err != nil {
		return Probed{Err: err}
	}
	clock := &dated{next: f.client.Transport, now: now}
	f.client.Transport = clock
	ctx, cancel := context.WithTimeout(ctx, fetchTotal)
	defer cancel()
	start := now()
	set, refusal := f.fetch(ctx)
	out := Probed{Took: now().Sub(start)}
	out.Date, out.Seen = clock.last()
	if refusal != nil {
		out.Err = refusal
		return out
	}
	if out.Usable, out.Total = set.count(); out.Usable == 0 {
		out.Err = errors.New("no key of the set can be used")
	}
	return out
}

// pinned is the key set that stands in a file, and how it is read; nil: it is
// fetched.
func (p Provider) pinned(platform Platform) ([]byte, func([]byte) (*keySet, error)) {
	if platform.Domain == nil {
		return p.JWKSFile, parseKeys
	}
	if p.BundleURL != "" {
		return nil, nil
	}
	return p.Bundle, parseBundle
}

// fetcher is what would fetch the provider's key set.
func (p Provider) fetcher(platform Platform, resolver Resolver, now func() time.Time) (*fetcher, error) {
	flights := make(chan struct{}, 1)
	if platform.Domain == nil {
		return newFetcher(p, platform.KeysHosts, resolver, flights)
	}
	keys := &source{now: now}
	if p.Bundle != nil {
		set, err := parseBundle(p.Bundle)
		if err != nil {
			return nil, err
		}
		keys.current.Store(&snapshot{keySet: set})
	}
	return newBundleFetcher(p, platform.Domain, keys, Config{Now: now, Resolver: resolver}, flights)
}

// count counts the keys, and the authorities of a bundle.
func (s *keySet) count() (usable, total int) {
	if s.bundle != nil {
		usable, total = len(s.bundle.authorities), len(s.bundle.authorities)
	}
	for _, k := range s.keys {
		if k.bad == "" {
			usable++
		}
	}
	return usable, total + len(s.keys)
}

// dated remembers what time the answers say.
type dated struct {
	next http.RoundTripper
	now  func() time.Time

	mu         sync.Mutex
	date, seen time.Time
}

// RoundTrip passes the request on.
func (d *dated) RoundTrip(req *http.Request) (*http.Response, error) {
	resp, err := d.next.RoundTrip(req)
	if err != nil {
		return nil, err
	}
	seen := d.now()
	if date, ok := DateOf(resp.Header); ok {
		d.mu.Lock()
		d.date, d.seen = date, seen
		d.mu.Unlock()
	}
	return resp, nil
}

func (d *dated) last() (date, seen time.Time) {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.date, d.seen
}

// DateOf is the time that an answer was sent: its Date, and how long a cache
// kept it since (RFC 9111 section 5.1).
func DateOf(h http.Header) (time.Time, bool) {
	date, err := http.ParseTime(h.Get("Date"))
	if err != nil {
		return time.Time{}, false
	}
	if age, err := time.ParseDuration(h.Get("Age") + "s"); err == nil && age > 0 {
		date = date.Add(age)
	}
	return date, true
}

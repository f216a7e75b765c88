package oidc

import (
	"context"
	"fmt"
	"log/slog"
	"net/http"
	"time"
)

// ParseObject is the strict JSON parser with the limits of tokens.
func ParseObject(b []byte) (map[string]any, error) { return parseObject(b, tokenLimits()) }

// ErrDuplicate is the error for a member that is there twice.
var ErrDuplicate = errDuplicate

// ParseToken returns what the parser took apart, joined again by its caller.
func ParseToken(raw string) (signed string, payload, sig []byte, claims map[string]any, err error) {
	t, err := parseToken(raw)
	if err != nil {
		if t != nil {
			panic("a refused token is not nil")
		}
		return "", nil, nil, nil, err
	}
	return t.signed, t.payload, t.sig, t.claims, nil
}

// ParseKeys returns the key ids of the usable keys of a set.
func ParseKeys(b []byte) ([]string, error) {
	set, err := parseKeys(b)
	if err != nil {
		if set != nil {
			panic("a refused key set is not nil")
		}
		return nil, err
	}
	usable := []string{}
	for _, k := range set.keys {
		if (k.bad == "") != (k.public != nil) {
			panic("a key is both usable and not")
		}
		if k.bad == "" {
			usable = append(usable, k.kid)
		}
	}
	return usable, nil
}

// WorkloadID is the workload id of claims by these segments.
var WorkloadID = workloadID

// Public reports whether an address may be called without a rule.
var Public = public

// Sources is a set of n providers whose key sets come from do, and how each asks
// for its first one.
func Sources(n int, now func() time.Time, do http.RoundTripper) (s *Set, first []func() <-chan struct{}) {
	s = &Set{now: now}
	flights := make(chan struct{}, maxFlights)
	for i := range n {
		f := &fetcher{keys: fmt.Sprintf("https://idp-%d.test/keys", i), client: &http.Client{Transport: do}, flights: flights, parse: parseKeys}
		p := &provider{keys: &source{provider: fmt.Sprintf("idp-%d", i), now: now, log: slog.New(slog.DiscardHandler), fetch: f.fetch}}
		s.all = append(s.all, p)
		first = append(first, func() <-chan struct{} { return p.keys.start(context.Background()) })
	}
	return s, first
}

// Known counts the providers that have a key set.
func (s *Set) Known() int {
	n := 0
	for _, p := range s.all {
		if p.keys.current.Load() != nil {
			n++
		}
	}
	return n
}

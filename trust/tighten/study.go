package tighten

import (
	"net/netip"
	"slices"
	"strings"
	"sync"
	"time"

	"cambio/trust"
	"cambio/trust/backtest"
)

const (
	// maxValues bounds the values of a claim that are remembered: a line of match
	// with more is better a glob.
	maxValues = 64
	// maxAddresses bounds the callers of a trust that are remembered.
	maxAddresses = 4096
)

// Study collects what each trust of a policy was used for. Records come to its
// workers in any order; what is learned is the same for each.
type Study struct {
	policy  *trust.Policy
	judge   *backtest.Judge
	trusts  map[string]*subject
	mu      sync.Mutex
	workers []*Worker
}

// subject is a trust, and the claims of it that are worth watching.
type subject struct {
	trust   trust.Trust
	watched []trust.ClaimRef
}

// NewStudy prepares a study of a policy, whose records the judge judges. Without
// names all trusts in force are studied.
func NewStudy(p *trust.Policy, judge *backtest.Judge, names []string) *Study {
	s := &Study{policy: p, judge: judge, trusts: map[string]*subject{}}
	for _, t := range p.All() {
		if t.Shadow || len(names) > 0 && !slices.Contains(names, t.Name) {
			continue
		}
		s.trusts[t.Name] = &subject{trust: t, watched: watched(p, t)}
	}
	return s
}

// watched are the claims of match, and those that would pin the workload: the
// anchors, the ids of names that match has, and what a reviewer looks for.
func watched(p *trust.Policy, t trust.Trust) []trust.ClaimRef {
	var out []trust.ClaimRef
	add := func(c trust.ClaimRef) {
		if !slices.ContainsFunc(out, func(o trust.ClaimRef) bool { return o.ID() == c.ID() }) {
			out = append(out, c)
		}
	}
	named := func(name string) {
		if c, ok := p.Claim(t.Provider, name); ok && name != "" {
			add(c)
		}
	}
	for _, l := range t.Match {
		add(l.Claim)
	}
	for _, a := range p.Anchors(t.Provider) {
		add(a)
	}
	for _, l := range t.Match {
		named(l.Claim.Claim().PinnedBy)
		named(l.Claim.Claim().OwnedBy)
	}
	platform := p.World().Providers[t.Provider].Platform
	for _, name := range slices.Concat(platform.Advised, platform.Gates) {
		named(name)
	}
	return out
}

// Worker returns a new worker, for one goroutine.
func (s *Study) Worker() *Worker {
	w := &Worker{study: s, seen: map[string]*seen{}}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.workers = append(s.workers, w)
	return w
}

// Worker notes what records say.
type Worker struct {
	study    *Study
	seen     map[string]*seen
	from, to time.Time // of all records
}

// seen is what one trust was used for.
type seen struct {
	span      span
	days      map[int64]struct{} // since 1970, in UTC
	undecided int64              // allowed then; whether by this document depends on what is not recorded
	gone      int64              // allowed then, and not by this document
	hinges    map[string]int64
	claims    map[string]*values // by pointer
	addresses map[netip.Addr]*span
	unknown   int64 // without an address
	crowded   bool  // more addresses than are remembered
	hours     map[string]*week
	grants    map[[2]string]*given
}

// span is how often something was seen, and since when.
type span struct {
	count       int64
	first, last time.Time
}

func (s *span) add(o span) {
	if s.count == 0 || o.count > 0 && o.first.Before(s.first) {
		s.first = o.first
	}
	if o.last.After(s.last) {
		s.last = o.last
	}
	s.count += o.count
}

// values are those of one claim.
type values struct {
	by      map[any]*span
	without int64 // tokens that lack it, or have one of another type
	unknown int64 // records that do not tell
	crowded bool
}

// given is what one grant gave.
type given struct {
	span
	ttl    time.Duration // the longest
	scopes map[string]*span
}

// week is when something was seen, on the wall clock of a zone, by hours.
type week struct {
	hours [7][24]*span
}

// Add notes one record.
func (w *Worker) Add(r *backtest.Record) {
	if w.from.IsZero() || r.Time.Before(w.from) {
		w.from = r.Time
	}
	if r.Time.After(w.to) {
		w.to = r.Time
	}
	subject := w.study.trusts[r.Trust]
	if subject == nil || !r.Allowed || r.DryRun {
		return
	}
	s := w.seen[r.Trust]
	if s == nil {
		s = newSeen()
		w.seen[r.Trust] = s
	}
	o := w.study.judge.Judge(r)
	switch {
	case o.Kind == backtest.Undecided:
		s.undecided++
		for _, name := range o.Hinges {
			s.hinges[name]++
		}
		return
	case !o.Decision.Allow || o.Moved:
		s.gone++
		return
	}
	s.note(w.study, subject, r, o.Decision.Grant)
}

func newSeen() *seen {
	return &seen{
		days: map[int64]struct{}{}, hinges: map[string]int64{}, claims: map[string]*values{}, addresses: map[netip.Addr]*span{},
		hours: map[string]*week{}, grants: map[[2]string]*given{},
	}
}

const secondsOfDay = 24 * 60 * 60

func (s *seen) note(study *Study, subject *subject, r *backtest.Record, gave trust.Grant) {
	once := span{1, r.Time, r.Time}
	s.span.add(once)
	s.days[r.Time.Unix()/secondsOfDay] = struct{}{}
	id, known := study.judge.Token(r)
	for _, c := range subject.watched {
		s.of(c).note(c, id.Claims, known, once)
	}
	switch address := r.Address.Unmap(); {
	case !address.IsValid() || address.Zone() != "":
		s.unknown++
	case s.addresses[address] != nil:
		s.addresses[address].add(once)
	case len(s.addresses) >= maxAddresses:
		s.crowded = true
	default:
		s.addresses[address] = &once
	}
	for _, zone := range zones(subject.trust) {
		at := r.Time.In(zone)
		k := s.hours[zone.String()]
		if k == nil {
			k = &week{}
			s.hours[zone.String()] = k
		}
		cell := &k.hours[at.Weekday()][at.Hour()]
		if *cell == nil {
			*cell = &span{}
		}
		(*cell).add(once)
	}
	key := [2]string{gave.Target, gave.Resource}
	g := s.grants[key]
	if g == nil {
		g = &given{scopes: map[string]*span{}}
		s.grants[key] = g
	}
	g.add(once)
	g.ttl = max(g.ttl, r.TTL)
	for _, scope := range r.Scopes {
		if g.scopes[scope] == nil {
			g.scopes[scope] = &span{}
		}
		g.scopes[scope].add(once)
	}
}

// zones are those of the trust's hours, or UTC where it has none.
func zones(t trust.Trust) []*time.Location {
	var out []*time.Location
	for _, h := range t.Access.Hours {
		if !slices.ContainsFunc(out, func(z *time.Location) bool { return z.String() == h.Zone.String() }) {
			out = append(out, h.Zone)
		}
	}
	if out == nil {
		out = []*time.Location{time.UTC}
	}
	return out
}

func (s *seen) of(c trust.ClaimRef) *values {
	v := s.claims[c.ID()]
	if v == nil {
		v = &values{by: map[any]*span{}}
		s.claims[c.ID()] = v
	}
	return v
}

func (v *values) note(c trust.ClaimRef, claims map[string]any, known func(trust.ClaimRef) bool, once span) {
	if !known(c) {
		v.unknown++
		return
	}
	x, ok := c.Get(claims)
	switch x.(type) {
	case string, int64, bool:
	default:
		ok = false // no line of match takes it
	}
	switch {
	case !ok:
		v.without++
	case v.by[x] != nil:
		v.by[x].add(once)
	case len(v.by) >= maxValues:
		v.crowded = true
	default:
		v.by[copied(x)] = &once
	}
}

// copied copies text out of its record, which would else stay in memory.
func copied(x any) any {
	if s, ok := x.(string); ok {
		return strings.Clone(s)
	}
	return x
}

// learned adds up what the workers noted. They are done.
func (s *Study) learned() (all map[string]*seen, from, to time.Time) {
	all = map[string]*seen{}
	for _, w := range s.workers {
		if from.IsZero() || !w.from.IsZero() && w.from.Before(from) {
			from = w.from
		}
		if w.to.After(to) {
			to = w.to
		}
		for name, o := range w.seen {
			have := all[name]
			if have == nil {
				have = newSeen()
				all[name] = have
			}
			have.add(o)
		}
	}
	return all, from, to
}

func (s *seen) add(o *seen) {
	s.span.add(o.span)
	s.undecided, s.gone, s.unknown = s.undecided+o.undecided, s.gone+o.gone, s.unknown+o.unknown
	s.crowded = s.crowded || o.crowded
	for day := range o.days {
		s.days[day] = struct{}{}
	}
	for name, n := range o.hinges {
		s.hinges[name] += n
	}
	for id, v := range o.claims {
		have := s.claims[id]
		if have == nil {
			have = &values{by: map[any]*span{}}
			s.claims[id] = have
		}
		have.without, have.unknown, have.crowded = have.without+v.without, have.unknown+v.unknown, have.crowded || v.crowded
		merge(have.by, v.by)
	}
	merge(s.addresses, o.addresses)
	for zone, k := range o.hours {
		have := s.hours[zone]
		if have == nil {
			have = &week{}
			s.hours[zone] = have
		}
		for day := range k.hours {
			for hour, cell := range k.hours[day] {
				if cell == nil {
					continue
				}
				if have.hours[day][hour] == nil {
					have.hours[day][hour] = &span{}
				}
				have.hours[day][hour].add(*cell)
			}
		}
	}
	for key, g := range o.grants {
		have := s.grants[key]
		if have == nil {
			have = &given{scopes: map[string]*span{}}
			s.grants[key] = have
		}
		have.span.add(g.span)
		have.ttl = max(have.ttl, g.ttl)
		merge(have.scopes, g.scopes)
	}
}

func merge[K comparable](into, from map[K]*span) {
	for key, s := range from {
		if into[key] == nil {
			into[key] = &span{}
		}
		into[key].add(*s)
	}
}

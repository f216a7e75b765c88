package trust

import "time"

// StopKind names what a stop is for.
type StopKind string

// The kinds of stop.
const (
	StopWorkload StopKind = "workload"
	StopTrust    StopKind = "trust"
	StopProvider StopKind = "provider"
	StopTarget   StopKind = "target"
)

// Stop is one order of the kill switch: its subject gets nothing until it is
// lifted, or until its end.
type Stop struct {
	ID     string    `json:"id"`
	Kind   StopKind  `json:"kind"`
	What   string    `json:"what"` // a workload id, or a name
	Reason string    `json:"reason"`
	Added  time.Time `json:"added"`
	Until  time.Time `json:"until,omitzero"` // zero: until it is lifted
}

// StopSet is an immutable set of stops with its version. The zero value holds
// no stop and has version 0.
type StopSet struct {
	version int64
	stops   []Stop
	active  map[stopKey][]time.Time // ends; a zero time never ends
}

type stopKey struct {
	kind StopKind
	what string
}

// NewStopSet returns the set of these stops; stops is copied.
func NewStopSet(version int64, stops []Stop) StopSet {
	s := StopSet{version: version, stops: append([]Stop(nil), stops...)}
	if len(stops) > 0 {
		s.active = make(map[stopKey][]time.Time, len(stops))
	}
	for _, stop := range stops {
		k := stopKey{stop.Kind, stop.What}
		s.active[k] = append(s.active[k], stop.Until)
	}
	return s
}

// Version is the set's version; each change of the set makes it one higher.
func (s StopSet) Version() int64 { return s.version }

// All returns a copy of the stops, also of those whose end has passed.
func (s StopSet) All() []Stop { return append([]Stop(nil), s.stops...) }

// Stopped reports whether a stop of this kind and subject is in force at now.
func (s StopSet) Stopped(kind StopKind, what string, now time.Time) bool {
	for _, until := range s.active[stopKey{kind, what}] {
		if until.IsZero() || now.Before(until) {
			return true
		}
	}
	return false
}

package gateway

import (
	"strings"
	"time"
)

// sample is somebody else's clock, as far as it is ahead of ours.
type sample struct {
	who   string
	ahead time.Duration
}

// clockOff is what is worth a word: a Date has whole seconds, and answers travel.
const clockOff = 5 * time.Second

// sample keeps what time somebody said, and when by our clock. A Date is cut to
// the second, so the middle of that second is the best guess.
func (e *examination) sample(who string, date, seen time.Time) {
	if date.Nanosecond() == 0 {
		date = date.Add(500 * time.Millisecond)
	}
	e.mu.Lock()
	defer e.mu.Unlock()
	e.samples = append(e.samples, sample{who, date.Sub(seen)})
}

// clock compares the clocks that were seen with ours. One that agrees is enough:
// two clocks are not wrong by the same, and then the others are to blame. The
// issuer is asked last, as it may be this very machine.
func (e *examination) clock() []DoctorCheck {
	e.mu.Lock()
	samples := e.samples
	e.mu.Unlock()
	judges, own := []sample{}, []sample{}
	for _, s := range samples {
		if s.who == whoIssuer {
			own = append(own, s)
			continue
		}
		judges = append(judges, s)
	}
	if len(judges) == 0 {
		judges = own
	}
	if len(judges) == 0 {
		return []DoctorCheck{warned("clock", "make the issuer or an identity provider reachable from here, or look at the time service", "nobody to compare with")}
	}
	best := judges[0]
	var off []string
	for _, s := range judges {
		if s.ahead.Abs() < best.ahead.Abs() {
			best = s
		}
		if s.ahead.Abs() > clockOff {
			off = append(off, s.who+" "+signed(s.ahead))
		}
	}
	// The smallest skew that a provider is given decides what is refused.
	skew := defaultSkew
	for _, p := range e.c.IdentityProviders {
		skew = min(skew, time.Duration(p.ClockSkew))
	}
	const next = "set this machine's clock by NTP, such as timedatectl set-ntp true"
	switch {
	case best.ahead.Abs() > skew:
		return []DoctorCheck{failed("clock", next, "off by more than clock_skew (%s): %s", skew, strings.Join(off, ", "))}
	case best.ahead.Abs() > clockOff:
		return []DoctorCheck{warned("clock", next, "off: %s", strings.Join(off, ", "))}
	case len(off) > 0:
		return []DoctorCheck{warned("clock", "tell their operators, or raise clock_skew of that provider", "ours agrees with %s; others are off: %s", best.who, strings.Join(off, ", "))}
	}
	return []DoctorCheck{passed("clock", "%s compared, none off by more than %s", countOf(len(judges), "clock"), clockOff)}
}

func signed(d time.Duration) string {
	s := d.Round(100 * time.Millisecond).String()
	if d > 0 {
		s = "+" + s
	}
	return s
}

package audit

import (
	"slices"
	"sync"
	"time"
)

// fullLines is how many refusals a minute and reason are written as lines of
// their own. What follows is counted, so that an attacker who is refused cannot
// fill the disk and so stop the gateway.
const fullLines = 100

// flood counts refusals.
type flood struct {
	mu     sync.Mutex
	minute int64
	counts map[string]int64 // by reason, in this minute
	ended  []summary        // of minutes that are over, not yet written
}

// summary says that there were count more refusals for reason.
type summary struct {
	reason string
	count  int64
}

// floods reports whether a record is one that may be counted only. What was
// allowed never is.
func floods(r *Record) bool {
	return r.Event == ExchangeDenied || r.Event == ExchangeDryRun && r.Reason != ""
}

// full counts one refusal and reports whether it is written as a line.
func (f *flood) full(reason string, now time.Time) bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.turn(now)
	if f.counts == nil {
		f.counts = make(map[string]int64)
	}
	f.counts[reason]++
	return f.counts[reason] <= fullLines
}

// turn ends the minute that is over. A clock that was set back ends it too.
func (f *flood) turn(now time.Time) {
	minute := now.Unix() / 60
	if minute == f.minute {
		return
	}
	f.end()
	f.minute = minute
}

func (f *flood) end() {
	for reason, n := range f.counts {
		if n > fullLines {
			f.ended = append(f.ended, summary{reason, n - fullLines})
		}
	}
	clear(f.counts)
}

// take returns the summaries of the minutes that are over; with all also that of
// the current one, which then begins anew.
func (f *flood) take(now time.Time, all bool) []summary {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.turn(now)
	if all {
		f.end()
	}
	ended := f.ended
	f.ended = nil
	slices.SortFunc(ended, func(a, b summary) int {
		if a.reason < b.reason {
			return -1
		}
		return 1
	})
	return ended
}

package tighten

import (
	"slices"
	"sync"

	"cambio/trust/backtest"
)

// Check holds narrower documents against the records once more: one that would
// deny, or shorten, what it is to allow must not be proposed.
type Check struct {
	before, after *backtest.Judge
	mu            sync.Mutex
	denied        map[string]string
}

// NewCheck compares what two policies make of the same records.
func NewCheck(before, after *backtest.Judge) *Check {
	return &Check{before: before, after: after, denied: map[string]string{}}
}

// Add judges one record by both. It may be called from several goroutines.
func (c *Check) Add(r *backtest.Record) {
	if !r.Allowed || r.Shadow {
		return
	}
	was := c.before.Judge(r)
	if was.Kind != backtest.Kept && was.Kind != backtest.Narrowed || was.Moved {
		return // not by these documents
	}
	is := c.after.Judge(r)
	if is.Kind == was.Kind && !is.Moved && is.NewTTL >= was.NewTTL && slices.Equal(is.Dropped, was.Dropped) {
		return
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if other, ok := c.denied[r.Trust]; !ok || r.Decision < other {
		c.denied[r.Trust] = r.Decision
	}
}

// Withdraw takes back the proposals that do not hold. The rest holds without them: each trust is judged by its own document.
func (c *Check) Withdraw(r *Report) {
	kept := []Proposal{}
	for _, p := range r.Proposals {
		if id, ok := c.denied[p.Trust]; ok {
			r.Left = append(r.Left, Left{p.Trust, "its proposal would not allow decision " + id + " as it was allowed"})
			continue
		}
		kept = append(kept, p)
	}
	r.Proposals = kept
}

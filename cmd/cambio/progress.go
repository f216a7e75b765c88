package main

import (
	"fmt"
	"sync/atomic"
	"time"
)

// progressAfter is how long something may take in silence.
const progressAfter = time.Second

// progress shows on a terminal that something takes longer than a second. The
// returned function ends it and leaves nothing on the screen.
func (c *common) progress(what string) (done func()) {
	return c.showProgress(func(seconds int) string { return fmt.Sprintf("%s ... %ds", what, seconds) })
}

// progressOf is progress for work whose size is known, in bytes: read is told of
// each piece that is done, from any goroutine.
func (c *common) progressOf(what string, size int64) (read func(int64), done func()) {
	var sum atomic.Int64
	done = c.showProgress(func(seconds int) string {
		return fmt.Sprintf("%s ... %d%%, %ds", what, min(100, 100*sum.Load()/max(size, 1)), seconds)
	})
	return func(n int64) { sum.Add(n) }, done
}

func (c *common) showProgress(line func(seconds int) string) (done func()) {
	if !c.io.errTTY {
		return func() {}
	}
	stop, stopped := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(stopped)
		ticker := time.NewTicker(progressAfter)
		defer ticker.Stop()
		shown := false
		for seconds := 1; ; seconds++ {
			select {
			case <-stop:
				if shown {
					_, _ = fmt.Fprint(c.io.err, "\r\x1b[K")
				}
				return
			case <-ticker.C:
				shown = true
				_, _ = fmt.Fprintf(c.io.err, "\r\x1b[K%s", line(seconds))
			}
		}
	}()
	return func() { close(stop); <-stopped }
}

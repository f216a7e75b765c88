package main

import (
	"fmt"
	"time"
)

// progressAfter is how long something may take in silence.
const progressAfter = time.Second

// progress shows on a terminal that something takes longer than a second. The
// returned function ends it and leaves nothing on the screen.
func (c *common) progress(what string) (done func()) {
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
				_, _ = fmt.Fprintf(c.io.err, "\r%s ... %ds", what, seconds)
			}
		}
	}()
	return func() { close(stop); <-stopped }
}

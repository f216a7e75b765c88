package audit_test

import (
	"errors"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"cambio/audit"
)

// hangingFile is a segment whose disk answers when its channel is closed.
type hangingFile struct {
	audit.File
	answers *atomic.Pointer[chan struct{}]
}

func (f hangingFile) Sync() error {
	<-*f.answers.Load()
	return f.File.Sync()
}

// TestHangingDisk has an fsync that neither succeeds nor fails: readiness must
// say so, nobody else queues behind it, and the record of who still waits is
// durable when it ends.
func TestHangingDisk(t *testing.T) {
	t.Parallel()
	s := newSetup(t)
	open := s.Config.Open
	synctest.Test(t, func(t *testing.T) {
		hung, free := make(chan struct{}), make(chan struct{})
		close(free)
		var answers atomic.Pointer[chan struct{}]
		answers.Store(&free)
		s.Config.Open = func(path string) (audit.File, error) {
			f, err := open(path)
			return hangingFile{f, &answers}, err
		}
		j, _ := s.open(t)
		answers.Store(&hung)
		committed := make(chan error, 1)
		go func() { committed <- j.Commit(t.Context(), denied("a")) }()
		time.Sleep(9 * time.Second)
		if err := j.Healthy(); err != nil {
			t.Errorf("after 9 s: %v", err)
		}
		time.Sleep(2 * time.Second)
		for name, err := range map[string]error{"healthy": j.Healthy(), "append": j.Append(denied("b")), "commit": j.Commit(t.Context(), denied("c"))} {
			if !errors.Is(err, audit.ErrOutOfOrder) {
				t.Errorf("%s: %v", name, err)
			}
		}
		close(hung)
		if err := <-committed; err != nil {
			t.Errorf("who waited: %v", err)
		}
		synctest.Wait()
		if err := j.Healthy(); err != nil {
			t.Errorf("when the disk answers again: %v", err)
		}
		mustCommit(t, j, denied("d"))
		mustClose(t, j)
	})
	s.verify(t)
}

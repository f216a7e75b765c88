//go:build chaos

package chaos

import (
	"fmt"
	"syscall"
	"testing"
	"time"

	"cambio/test/redisrig"
)

// scenario is a fault: break makes it, and returns when it has begun; mend ends it.
type scenario struct {
	name  string
	lasts time.Duration
	begin func()
	mend  func()
	quiet bool // the fault may pass without one 503
}

// play runs a scenario under a load and adds its row.
func (l *load) play(s scenario) {
	l.t.Helper()
	before := l.so()
	s.begin()
	time.Sleep(s.lasts) // the fault, not a wait for anything
	if s.mend != nil {
		s.mend()
	}
	took := l.recovered(time.Now())
	l.wasWell()
	c := l.so().minus(before)
	if !s.quiet && c.by[unavailable] == 0 {
		l.t.Errorf("%s: nobody noticed", s.name)
	}
	results.add(l.t, row{scenario: s.name, counts: c, recovered: seconds(took...)})
}

// wasWell says that nothing was broken in the second that ends now. The items made
// then are judged at the end.
func (l *load) wasWell() {
	now := time.Now()
	l.mu.Lock()
	defer l.mu.Unlock()
	l.good = append(l.good, span{now.Add(-time.Second), now.Add(-100 * time.Millisecond)})
}

// TestRedis breaks a single Redis, and the lines to it, in each way.
func TestRedis(t *testing.T) {
	server := redisrig.Start(t, redisrig.Options{AOF: true})
	lines := []*redisrig.Proxy{redisrig.NewProxy(t, server.Addr()), redisrig.NewProxy(t, server.Addr())}
	s := newSite(t, single(lines[0]), single(lines[1]))
	both := func(do func(*redisrig.Proxy)) func() {
		return func() { do(lines[0]); do(lines[1]) }
	}
	one := func(do func(*redisrig.Proxy)) func() { return func() { do(lines[0]) } }
	b := s.replicas[1]

	l := startLoad(s)
	l.never(stopped)
	l.recovered(time.Now())
	l.wasWell()
	for _, sc := range []scenario{
		{name: "redis killed, started again", lasts: time.Second, begin: server.Kill, mend: server.Restart},
		{name: "redis restarted empty", begin: server.RestartEmpty},
		{name: "redis restarted, its last seconds lost", begin: func() {
			server.Backup()
			// The stop lies in what is lost.
			s.stop(b, late)
			l.never(late)
			server.RestartFromBackup()
		}},
		{name: "redis flushed", begin: func() { server.Do("FLUSHALL") }},
		{name: "redis flushed, a replica paused", lasts: time.Second, begin: func() {
			// What waited for it too long may be closed before it is read.
			l.setLossy(true)
			b.signal(syscall.SIGSTOP)
			server.Do("FLUSHALL")
		}, mend: func() { b.signal(syscall.SIGCONT) }},

		{name: "line hangs", lasts: 6 * time.Second, begin: both((*redisrig.Proxy).Hang), mend: both((*redisrig.Proxy).Pass)},
		{name: "line refuses", lasts: time.Second, begin: both((*redisrig.Proxy).Refuse), mend: both((*redisrig.Proxy).Pass)},
		{name: "line of one replica cut, again and again", begin: func() {
			for range 20 {
				lines[0].Cut()
				time.Sleep(50 * time.Millisecond)
			}
		}, quiet: true},
		{name: "line of one replica loses answers", lasts: time.Second, begin: one((*redisrig.Proxy).Swallow), mend: one((*redisrig.Proxy).Pass)},
	} {
		l.play(sc)
		l.setLossy(false)
	}
	l.end()
	s.end(l)
}

func single(p *redisrig.Proxy) string { return fmt.Sprintf("{mode: single, addrs: [%q]}", p.Addr()) }

// end ends one replica in order and the other as a crash would: what was received
// is on the disk of both.
func (s *site) end(l *load) {
	s.t.Helper()
	s.replicas[0].end()
	s.replicas[1].kill()
	l.inJournals(s.journals())
}

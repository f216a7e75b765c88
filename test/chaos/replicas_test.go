//go:build chaos

package chaos

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/go-jose/go-jose/v4"
	"github.com/go-jose/go-jose/v4/jwt"

	"cambio/test/redisrig"
	"cambio/test/rig"
)

// visitors are clients as a workload has them: each asks the replicas in turn,
// and where one does not answer, or says that it cannot now, the other, with a
// fresh token. They verify what they get with the key set that they have, and
// fetch it anew, from whichever replica comes, when it does not hold the key.
type visitors struct {
	load    *load
	pressed *load // the load beside them, which shows each token to both

	mu      sync.Mutex
	turn    int
	retries int
	failed  int
	keys    jose.JSONWebKeySet
	fetched int

	halt chan struct{}
	busy sync.WaitGroup
}

// tries is how often a client asks before it gives up.
const tries = 4

func startVisitors(l, pressed *load) *visitors {
	v := &visitors{load: l, pressed: pressed, halt: make(chan struct{})}
	for range 8 {
		v.busy.Go(func() {
			for {
				select {
				case <-v.halt:
					return
				default:
				}
				v.visit()
				time.Sleep(10 * time.Millisecond)
			}
		})
	}
	return v
}

// visit is one exchange of a client, and what it does about a failure.
func (v *visitors) visit() {
	v.mu.Lock()
	v.turn++
	turn := v.turn
	v.mu.Unlock()
	for try := range tries {
		r := v.load.site.replicas[(turn+try)%2]
		if try > 0 {
			v.mu.Lock()
			v.retries++
			v.mu.Unlock()
			time.Sleep(20 * time.Millisecond) // as a client would
		}
		it, err := v.load.make(app, false)
		if err != nil {
			v.load.fault("no token: %v", err)
			return
		}
		switch a := v.load.show(it, 0, r); a {
		case allowed:
			if err := v.verify(it.got[0].token); err != nil {
				v.load.fault("a credential of %s does not verify: %v", r.name, err)
			}
			return
		case unavailable, unanswered:
		case used, restarted, denied, strange, answers:
			v.load.fault("a client that asks once with each token was answered %d", a)
			return
		}
	}
	v.mu.Lock()
	defer v.mu.Unlock()
	v.failed++
}

// verify checks a credential as a relying party does.
func (v *visitors) verify(token string) error {
	parsed, err := jwt.ParseSigned(token, []jose.SignatureAlgorithm{jose.ES256})
	if err != nil {
		return err
	}
	kid := parsed.Headers[0].KeyID
	v.mu.Lock()
	defer v.mu.Unlock()
	for range 2 {
		if keys := v.keys.Key(kid); len(keys) == 1 {
			var claims jwt.Claims
			return parsed.Claims(keys[0].Key, &claims)
		}
		v.fetched++
		for i := range 2 { // one of the two may be down
			res, err := httpClient().Get(v.load.site.replicas[(v.turn+i)%2].url + "/keys")
			if err != nil {
				continue
			}
			err = json.NewDecoder(res.Body).Decode(&v.keys)
			_ = res.Body.Close()
			if err != nil {
				return err
			}
			break
		}
	}
	return fmt.Errorf("no key %s in %d keys", kid, len(v.keys.Keys))
}

func (v *visitors) end() {
	close(v.halt)
	v.busy.Wait()
}

// during is a part of the load's way, with its row.
func (v *visitors) during(name string, do func() (recovered string)) {
	v.load.t.Helper()
	v.mu.Lock()
	r, f := v.retries, v.failed
	v.mu.Unlock()
	before := v.load.so().plus(v.pressed.so())
	recovered := do()
	c := v.load.so().plus(v.pressed.so()).minus(before)
	v.mu.Lock()
	defer v.mu.Unlock()
	if v.failed > f {
		v.load.t.Errorf("%s: %d clients got nothing in %d tries", name, v.failed-f, tries)
	}
	results.add(v.load.t, row{scenario: name, counts: c, retries: fmt.Sprint(v.retries - r), recovered: recovered})
}

// TestReplicas restarts two replicas one after the other, turns their keys over,
// and stops a workload, while clients go on.
func TestReplicas(t *testing.T) {
	server := redisrig.Start(t, redisrig.Options{AOF: true})
	redis := fmt.Sprintf("{mode: single, addrs: [%q]}", server.Addr())
	s := newSite(t, redis, redis)
	a, b := s.replicas[0], s.replicas[1]
	readOnly(t, s, true) // both run on keys that they could not change
	sameKeys(t, a, b)
	nonceOfOneAtOther(t, s)

	l := newLoad(s)
	l.never(stopped)
	background := startLoad(s) // each token to both, all along
	background.never(stopped)
	v := startVisitors(l, background)

	v.during("replicas in good times", func() string { time.Sleep(2 * time.Second); return "" })
	if v.retries > v.turn/4 {
		t.Errorf("%d of %d requests were sent again in good times", v.retries, v.turn)
	}
	for _, r := range s.replicas {
		v.during("replica "+r.name+" restarted", func() string {
			l.setLossy(true)
			background.setLossy(true)
			drain(t, l, r)
			ended := time.Now()
			r.start()
			r.ready()
			took := l.recovered(ended)
			l.setLossy(false)
			background.setLossy(false)
			time.Sleep(500 * time.Millisecond)
			return seconds(took...)
		})
		sameKeys(t, a, b)
	}
	v.during("keys rotated", func() string { return seconds(rotate(t, s)...) })
	v.during("workload stopped, and lifted", func() string { return seconds(stopAndLift(t, l)...) })

	v.end()
	background.end()
	l.end()
	a.end()
	b.end()
	records := s.journals()
	l.inJournals(records)
	background.inJournals(records)
}

// readOnly takes the right to write to the keys away, or gives it back for the
// one command that rotates.
func readOnly(t *testing.T, s *site, yes bool) {
	t.Helper()
	mode := os.FileMode(0o700)
	if yes {
		mode = 0o500
	}
	if err := os.Chmod(filepath.Join(s.dir, "keys"), mode); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.Chmod(filepath.Join(s.dir, "keys"), 0o700) }) // for its removal
}

// sameKeys holds that the replicas are one issuer: byte for byte.
func sameKeys(t *testing.T, a, b *replica) {
	t.Helper()
	for _, path := range []string{"/keys", "/.well-known/openid-configuration", "/.well-known/oauth-authorization-server"} {
		if x, y := a.get(path), b.get(path); !bytes.Equal(x, y) {
			t.Errorf("%s differs:\n%s\n%s", path, x, y)
		}
	}
}

// drain ends a replica in the middle of a request: it says first that it takes no
// more, and answers what it has.
func drain(t *testing.T, l *load, r *replica) {
	t.Helper()
	it, err := l.make(app, false)
	if err != nil {
		t.Fatal(err)
	}
	body := rig.Form(it.tokens[0]).Encode()
	conn, err := net.Dial("tcp", strings.TrimPrefix(r.url, "http://"))
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	if err := conn.SetDeadline(time.Now().Add(patience)); err != nil {
		t.Fatal(err)
	}
	// Half a body: the request is under way.
	half := len(body) / 2
	_, err = fmt.Fprintf(conn, "POST /token HTTP/1.1\r\nHost: gw.test\r\nContent-Type: application/x-www-form-urlencoded\r\nContent-Length: %d\r\nExpect: 100-continue\r\n\r\n", len(body))
	if err != nil {
		t.Fatal(err)
	}
	first := make([]byte, len("HTTP/1.1 100 Continue\r\n\r\n"))
	if _, err := io.ReadFull(conn, first); err != nil {
		t.Fatalf("%q, %v", first, err)
	}
	if _, err := io.WriteString(conn, body[:half]); err != nil {
		t.Fatal(err)
	}
	ended := make(chan struct{})
	go func() { defer close(ended); r.end() }()
	r.eventually("word that it takes no more", func() bool { return r.readyz() == http.StatusServiceUnavailable })
	if _, err := io.WriteString(conn, body[half:]); err != nil {
		t.Fatal(err)
	}
	answer, err := io.ReadAll(conn) // it closes the connection
	if err != nil || !bytes.HasPrefix(answer, []byte("HTTP/1.1 200 ")) {
		t.Errorf("the request under way got %.300s, %v", answer, err)
	}
	<-ended
}

// rotate turns the keys over, and returns when each replica showed the new ones.
// The public key set is the one that both serve.
func rotate(t *testing.T, s *site) []time.Duration {
	t.Helper()
	const within = time.Minute
	before := s.replicas[0].get("/keys")
	readOnly(t, s, false)
	began := time.Now()
	s.replicas[0].run("keys", "rotate", "--force")
	readOnly(t, s, true)
	var took []time.Duration
	for _, r := range s.replicas {
		until(t, "new keys of "+r.name, func() error {
			if bytes.Equal(r.get("/keys"), before) {
				return fmt.Errorf("the old ones")
			}
			return nil
		})
		took = append(took, time.Since(began))
	}
	if took[1] > within {
		t.Errorf("the new keys were seen after %s", took)
	}
	sameKeys(t, s.replicas[0], s.replicas[1])
	time.Sleep(time.Second) // of exchanges with the new key
	return took
}

// stopAndLift stops a workload by the command line of one replica and lifts it by
// that of the other, and returns when it was in force on each, and no more.
func stopAndLift(t *testing.T, l *load) []time.Duration {
	t.Helper()
	const within = 5 * time.Second
	s := l.site
	id := make(chan string, 1)
	began := time.Now()
	go func() { id <- s.stop(s.replicas[1], late) }()
	took := make([]time.Duration, 2)
	var wg sync.WaitGroup
	await := func(want answer, i int, since time.Time) {
		r := s.replicas[i]
		r.eventually("change of the stop", func() bool {
			it, err := l.make(late, false)
			return err == nil && l.show(it, 0, r) == want
		})
		took[i] = time.Since(since)
	}
	for i := range s.replicas {
		wg.Go(func() { await(denied, i, began) })
	}
	wg.Wait()
	if took[0] > within || took[1] > within {
		t.Errorf("the stop was in force after %s", took)
	}
	l.mu.Lock()
	l.banned[late] = time.Now()
	l.mu.Unlock()
	stop := <-id
	stopped := append([]time.Duration{}, took...)
	l.mu.Lock()
	delete(l.banned, late)
	l.mu.Unlock()
	s.replicas[0].run("stop", "lift", stop)
	lifted := time.Now()
	for i := range s.replicas {
		wg.Go(func() { await(allowed, i, lifted) })
	}
	wg.Wait()
	return stopped
}

// nonceOfOneAtOther holds that any replica opens a nonce, and one use is one on
// all.
func nonceOfOneAtOther(t *testing.T, s *site) {
	t.Helper()
	l := newLoad(s)
	a, b := s.replicas[0], s.replicas[1]
	for _, at := range [][2]*replica{{a, b}, {b, a}} {
		it, err := l.make(app, true)
		if err != nil {
			t.Fatal(err)
		}
		if got := l.show(it, 0, at[0]); got != allowed {
			t.Errorf("a nonce at %s: %d", at[0].name, got)
		}
		if got := l.show(it, 2, at[1]); got == allowed { // another token with the nonce
			t.Errorf("a nonce was taken twice, by %s too", at[1].name)
		}
		if got := l.show(it, 0, at[1]); got == allowed {
			t.Errorf("a token with a nonce was taken twice, by %s too", at[1].name)
		}
	}
}

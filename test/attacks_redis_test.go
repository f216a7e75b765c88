package test

import (
	"crypto/tls"
	"fmt"
	"io"
	"net"
	"net/url"
	"strconv"
	"strings"
	"testing"
	"time"

	"cambio/audit"
	"cambio/test/redisrig"
	"cambio/test/rig"
)

// storeFault is one way in which the replay store fails.
type storeFault struct {
	name       string
	begin, end func()
	burnt      bool // the use of the token may have been taken, so that it stays
}

func storeFaults(s *redisrig.Server, p *redisrig.Proxy, a *answering) []storeFault {
	heal := func() { a.says("") }
	set := func(name, value string) func() { return func() { s.Do("CONFIG", "SET", name, value) } }
	faults := []storeFault{
		{name: "down", begin: p.Refuse, end: p.Pass},
		{name: "hangs", begin: p.Hang, end: p.Pass},
		{name: "time-out after the write", begin: p.Swallow, end: p.Pass, burnt: true},
		{name: "out of memory", begin: set("maxmemory", "1"), end: set("maxmemory", "0")},
		{name: "another password", begin: func() { set("requirepass", "other")(); p.Cut() }, end: set("requirepass", "secret")},
	}
	for _, answer := range []string{
		"-READONLY You can't write against a read only replica.", "-LOADING Redis is loading the dataset in memory", "-MOVED 1 127.0.0.1:1", "-ASK 1 127.0.0.1:1",
		"-OOM command not allowed when used memory > 'maxmemory'.", "-NOAUTH Authentication required.", "-BUSY Redis is busy running a script.",
		"-MISCONF Redis is configured to save RDB snapshots", "-NOSCRIPT No matching script.", "-ERR unknown command 'EVALSHA'", "-MASTERDOWN Link with MASTER is down",
		":7", ":2", ":-3", "$-1", "+OK", "*0", "!",
	} {
		faults = append(faults, storeFault{name: answer, begin: func() { a.says(answer + "\r\n") }, end: heal})
	}
	return faults
}

// unissued fails the test unless this is a 503 for want of the replay store, with
// nothing allowed, issued or used on record, from a gateway that is ready.
func unissued(t *testing.T, r *rig.Rig, what string, a rig.Answer) {
	t.Helper()
	if a.Status != 503 {
		t.Errorf("%s: %d %s", what, a.Status, a.Raw)
		return
	}
	r.Unavailable(a, "replay-store")
	if records := r.Records(a.Decision); len(records) != 1 || records[0].Event != audit.ExchangeDenied || records[0].Replay != nil || records[0].Handle != "" {
		t.Errorf("%s: recorded as %+v", what, records)
	}
	if ready := r.Get(r.AdminURL, "/readyz"); ready.Status != 200 || ready.Body["ready"] != true {
		t.Errorf("%s: /readyz says %d %s", what, ready.Status, ready.Raw)
	}
}

// metric is the value of a counter; 0 where it is not there yet.
func metric(t *testing.T, r *rig.Rig, name string) float64 {
	t.Helper()
	for line := range strings.Lines(r.Get(r.AdminURL, "/metrics").Raw) {
		if value, ok := strings.CutPrefix(line, name+" "); ok {
			v, err := strconv.ParseFloat(strings.TrimSpace(value), 64)
			if err != nil {
				t.Fatal(err)
			}
			return v
		}
	}
	return 0
}

const (
	storeErrors = `cambio_reservations_total{result="error"}`
	storeDenied = `cambio_exchanges_total{code="temporarily_unavailable",reason="replay-store"}`
	// patience is far above the 250 ms that Redis has, and far below the seconds
	// that a client of Redis takes by itself.
	storePatience = 2 * time.Second
)

// attackRPL02: without an answer of the replay store nothing is issued, and with
// one it goes on by itself.
func attackRPL02(t *testing.T) {
	s := redisrig.Start(t, redisrig.Options{Password: "secret"})
	lies := listenAnswering(t, s.Addr())
	p := redisrig.NewProxy(t, lies.listener.Addr().String())
	r := shared(t, `{addrs: ["`+p.Addr()+`"], password: secret}`, rig.Setup{})
	r.Control()
	for _, f := range storeFaults(s, p, lies) {
		// On a busy machine a connection may be a new one, and its greeting what was
		// swallowed: then nothing was written, and it is done once more.
		tries := 0
		for !failingStore(t, r, s, f) {
			if tries++; tries == 10 {
				t.Fatalf("%s: nothing was written in %d tries", f.name, tries)
			}
		}
	}

	// Longer than the copy of the stop list is good for.
	p.Refuse()
	r.Clock.Move(6 * time.Second)
	unissued(t, r, "down for long", r.Exchange(r.Token(nil)))
	p.Pass()
	r.Settle()
	r.Control()

	lostMemory(t, r, s)
	brokenFromTheStart(t, r, s)
	r.Control()
	r.Stop()
	verifyJournal(t, r)
}

// failingStore shows a token while the store fails, and again when it is well. It
// reports false where the fault is to come after the write and came before it.
func failingStore(t *testing.T, r *rig.Rig, s *redisrig.Server, f storeFault) bool {
	t.Helper()
	errors, denied := metric(t, r, storeErrors), metric(t, r, storeDenied)
	token := r.Token(nil)
	keys := s.Do("DBSIZE")
	f.begin()
	begin := time.Now()
	a := r.Exchange(token)
	written := s.Do("DBSIZE") != keys
	if took := time.Since(begin); took > storePatience {
		t.Errorf("%s: the caller waited %s", f.name, took)
	}
	unissued(t, r, f.name, a)
	if metric(t, r, storeErrors) <= errors || metric(t, r, storeDenied) <= denied {
		t.Errorf("%s: no metric counts it", f.name)
	}
	f.end()
	rig.Eventually(t, "recovery from "+f.name, func() bool { return r.Exchange(r.Token(nil)).Status == 200 })
	a = r.Exchange(token)
	switch {
	case f.burnt && written:
		deniedSaying(t, r, f.name, a, alreadyUsed, "replayed")
	case a.Status != 200:
		t.Errorf("%s: the token, later: %d %s", f.name, a.Status, a.Raw)
	}
	return !f.burnt || written
}

// lostMemory makes the server the replica of nobody, and a master again: it may
// have forgotten what it was told.
func lostMemory(t *testing.T, r *rig.Rig, s *redisrig.Server) {
	t.Helper()
	before := r.Token(nil)
	s.Do("REPLICAOF", "127.0.0.1", "1")
	unissued(t, r, "a read-only replica", r.Exchange(before))
	s.Do("REPLICAOF", "NO", "ONE")
	var a rig.Answer
	rig.Eventually(t, "the watermark", func() bool {
		a = r.Exchange(r.Token(nil))
		return metric(t, r, `cambio_reservations_total{result="not-yet"}`) > 0
	})
	unissued(t, r, "a memory that is new", a)
	if wait, err := strconv.Atoi(a.Header.Get("Retry-After")); err != nil || wait < 20 || wait > 31 {
		t.Errorf("Retry-After %q, want what is left of the clock skew", a.Header.Get("Retry-After"))
	}
	aged(r)
	deniedSaying(t, r, "a token from before", r.Exchange(before), "Fetch a fresh token: this one was issued before the replay store restarted.", "replay-store-restarted")
	if metric(t, r, `cambio_reservations_total{result="restarted"}`) == 0 {
		t.Error("no metric counts it")
	}
	r.Control()
}

// brokenFromTheStart starts gateways whose Redis never answered them.
func brokenFromTheStart(t *testing.T, peer *rig.Rig, s *redisrig.Server) {
	t.Helper()
	plain := redisrig.NewProxy(t, s.Addr())
	wrong := redisrig.NewProxy(t, redisrig.Start(t, redisrig.Options{Password: "other"}).Addr())
	for name, redis := range map[string]string{
		"no TLS there":             `{addrs: ["` + plain.Addr() + `"], password: secret, tls: true}`,
		"a certificate of nobody":  `{addrs: ["` + strangersTLS(t, s.Addr()) + `"], password: secret, tls: true}`,
		"nobody there":             `{addrs: ["127.0.0.1:1"], password: secret}`,
		"another password":         `{addrs: ["` + wrong.Addr() + `"], password: secret}`,
		"another user":             `{addrs: ["` + s.Addr() + `"], username: nobody, password: secret}`,
		"a name that no host has":  `{addrs: ["redis.invalid:6379"], password: secret}`,
		"sentinels that are none":  `{mode: sentinel, master_name: cambio, addrs: ["` + s.Addr() + `"], password: secret}`,
		"a cluster that is no one": `{mode: cluster, addrs: ["` + s.Addr() + `"], password: secret}`,
	} {
		r := rig.New(t, rig.Setup{Peer: peer, Server: "redis: " + redis})
		token := r.Token(nil)
		begin := time.Now()
		unissued(t, r, name, r.Exchange(token))
		if took := time.Since(begin); took > storePatience {
			t.Errorf("%s: the caller waited %s", name, took)
		}
		if metric(t, r, storeDenied) == 0 {
			t.Errorf("%s: no metric counts it", name)
		}
		if name == "another password" { // the address moves to a server that knows it
			wrong.To(s.Addr())
			r.Settle()
			rig.Eventually(t, "recovery without a restart", func() bool { return r.Exchange(r.Token(nil)).Status == 200 })
		}
		r.Stop()
		if a := peer.Exchange(token); a.Status != 200 {
			t.Errorf("%s: the token, at a gateway that is well: %d %s", name, a.Status, a.Raw)
		}
	}
}

// strangersTLS ends TLS before a server with a certificate that nobody vouches
// for.
func strangersTLS(t *testing.T, target string) string {
	t.Helper()
	var files struct{ cert, key string }
	if _, err := fmt.Sscanf(strings.ReplaceAll(certificate(t), ",", ""), "cert: %s key: %s", &files.cert, &files.key); err != nil {
		t.Fatal(err)
	}
	cert, err := tls.LoadX509KeyPair(strings.Trim(files.cert, `"`), strings.Trim(files.key, `"`))
	if err != nil {
		t.Fatal(err)
	}
	l, err := tls.Listen("tcp", "127.0.0.1:0", &tls.Config{Certificates: []tls.Certificate{cert}})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Close() })
	go func() {
		for {
			near, err := l.Accept()
			if err != nil {
				return // closed with the test
			}
			far, err := net.Dial("tcp", target)
			if err != nil {
				near.Close()
				continue
			}
			go func() { _, _ = io.Copy(far, near); far.Close() }()
			go func() { _, _ = io.Copy(near, far); near.Close() }()
		}
	}()
	return l.Addr().String()
}

// answersOf counts the statuses of n answers.
func answersOf(n int, send func(i int) rig.Answer) (counts map[int]int, limited rig.Answer) {
	counts = map[int]int{}
	for i := range n {
		a := send(i)
		if counts[a.Status]++; a.Status == 429 {
			limited = a
		}
	}
	return counts, limited
}

// limitedTo fails the test unless exactly so many of these answers were not 429,
// and those say when to come again.
func limitedTo(t *testing.T, what string, n, want, status int, send func(i int) rig.Answer) {
	t.Helper()
	counts, a := answersOf(n, send)
	if counts[status] != want || counts[429] != n-want {
		t.Errorf("%s: %v, want %d times %d and 429", what, counts, want, status)
		return
	}
	seconds, err := strconv.Atoi(a.Header.Get("Retry-After"))
	if err != nil || seconds < 1 || a.Text("error") != "temporarily_unavailable" || a.Text("error_description") != rig.Fixed || a.Text("decision_id") != a.Decision {
		t.Errorf("%s: Retry-After %q, %s", what, a.Header.Get("Retry-After"), a.Raw)
	}
}

// attackDOS02: whoever asks too often waits, whatever he says where he comes
// from, and also when Redis is down. The clock stands, so that counts are exact.
func attackDOS02(t *testing.T) {
	const usual = "{per_address: 50/s, per_workload: 10/s}"
	from := func(r *rig.Rig, form url.Values, address string) rig.Answer {
		return r.Do(request(r, "POST", "", form.Encode(), "Content-Type", formType, "X-Forwarded-For", address))
	}
	address := func(i int) string { return fmt.Sprintf("198.51.%d.%d", i/250, i%250+1) }
	garbage := url.Values{"x": {"y"}}
	full := func(r *rig.Rig) { // the buckets are full again
		r.Clock.Freeze()
		r.Move(10 * time.Second)
	}
	t.Run("workload", func(t *testing.T) {
		r := rig.New(t, rig.Setup{Limits: "{per_address: none, per_workload: 10/s}", Trusts: ofISS2()})
		r.Control()
		full(r)
		var refused string
		limitedTo(t, "one workload", 100, 20, 200, func(int) rig.Answer {
			token := r.Token(nil)
			a := r.Exchange(token)
			if a.Status == 429 {
				refused = token
			}
			return a
		})
		if a := r.Exchange(token2(t, r, nil)); a.Status != 200 {
			t.Errorf("another workload: %d %s", a.Status, a.Raw)
		}
		r.Move(time.Second)
		limitedTo(t, "a second later", 30, 10, 200, func(int) rig.Answer { return r.Exchange(r.Token(nil)) })
		full(r)
		if a := r.Exchange(refused); a.Status != 200 {
			t.Errorf("the limit used a token up: %d %s", a.Status, a.Raw)
		}
		r.Control()
	})
	t.Run("address", func(t *testing.T) {
		r := rig.New(t, rig.Setup{Limits: "{per_address: 50/s, per_workload: none}"})
		r.Control()
		full(r)
		limitedTo(t, "one address", 1000, 100, 400, func(int) rig.Answer { return r.Post(garbage) })
		if a := r.Exchange(r.Token(nil)); a.Status != 429 {
			t.Errorf("a good token from there: %d %s", a.Status, a.Raw)
		}
		full(r)
		limitedTo(t, "one that says otherwise", 300, 100, 400, func(i int) rig.Answer { return from(r, garbage, address(i)) })
		full(r)
		r.Control()
	})
	t.Run("behind a proxy", func(t *testing.T) {
		r := rig.New(t, rig.Setup{Limits: "{per_address: 50/s, per_workload: none}", Server: "trusted_proxies: [127.0.0.1/32]"})
		r.Control()
		full(r)
		if counts, _ := answersOf(300, func(i int) rig.Answer { return from(r, garbage, address(i)) }); counts[400] != 300 {
			t.Errorf("300 callers: %v", counts)
		}
		full(r)
		limitedTo(t, "one caller who adds addresses", 300, 100, 400, func(i int) rig.Answer { return from(r, garbage, address(i)+", 203.0.113.7") })
		full(r)
		r.Control()
	})
	t.Run("none", func(t *testing.T) {
		r := rig.New(t, rig.Setup{Limits: "{per_address: none, per_workload: 10/s}"})
		r.Control()
		full(r)
		if counts, _ := answersOf(400, func(int) rig.Answer { return r.Post(garbage) }); counts[400] != 400 {
			t.Errorf("per_address: none: %v", counts)
		}
		limitedTo(t, "the other limit", 40, 20, 200, func(int) rig.Answer { return r.Exchange(r.Token(nil)) })
		full(r)
		r.Control()
	})
	t.Run("Redis down", func(t *testing.T) {
		p := redisrig.NewProxy(t, redisrig.Start(t, redisrig.Options{}).Addr())
		r := shared(t, `{addrs: ["`+p.Addr()+`"]}`, rig.Setup{Limits: usual})
		r.Control()
		full(r)
		p.Refuse()
		limitedTo(t, "one workload", 60, 20, 503, func(int) rig.Answer { return r.Exchange(r.Token(nil)) })
		limitedTo(t, "one address", 100, 40, 400, func(int) rig.Answer { return r.Post(garbage) }) // 60 of its 100 are gone
		p.Pass()
		full(r)
		rig.Eventually(t, "recovery", func() bool { return r.Exchange(r.Token(nil)).Status == 200 })
		full(r)
		r.Control()
	})
}

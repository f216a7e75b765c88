package test

import (
	"bytes"
	"compress/gzip"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"mime/multipart"
	"net"
	"net/http"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"cambio/test/rig"
	"cambio/web"

	"golang.org/x/net/http2"
)

// slowAndMany is DOS-01: several attacks at once on one gateway, and an honest
// caller in between.
func slowAndMany(t *testing.T) {
	r, addr := serve(t, rig.Setup{})
	secure, secureAddr := serve(t, rig.Setup{Server: "tls: {" + certificate(t) + "}"})
	proxied, proxiedAddr := serve(t, rig.Setup{Server: "trusted_proxies: [127.0.0.6/32]"})
	r.Control()
	proxied.Control()
	stop, done := make(chan struct{}), make(chan struct{})
	var answered atomic.Int64
	go func() { // the honest caller, from an address that no attacker uses
		defer close(done)
		for {
			select {
			case <-stop:
				return
			default:
			}
			begin := time.Now()
			if a := r.Exchange(r.Token(nil)); a.Status != 200 {
				t.Errorf("the honest caller got %d %s", a.Status, a.Raw)
			}
			if d := time.Since(begin); d > 5*time.Second {
				t.Errorf("the honest caller waited %v", d)
			}
			answered.Add(1)
			time.Sleep(50 * time.Millisecond) // an honest caller's pace
		}
	}()
	var attacks sync.WaitGroup // at once, where parallel subtests would be two at a time
	attack := func(name string, run func() error) {
		attacks.Go(func() {
			if err := run(); err != nil {
				t.Errorf("%s: %v", name, err)
			}
		})
	}
	for name, row := range slowAttacks() {
		attack(name, func() error { return slowPeers(t, addr, row) })
	}
	attack("slow TLS greeting", func() error {
		return slowPeers(t, secureAddr, slow{"\x16\x03\x01\x02\x00\x01", "", 3 * time.Second, 10 * time.Second})
	})
	attack("reads nothing", func() error { return readsNothing(t, addr) })
	attack("idle connections", func() error { return idleConnections(t, addr, proxiedAddr) })
	attack("oversized heads", func() error { return oversizedHeads(t, addr) })
	attack("rapid reset", func() error { return rapidReset(t, secureAddr, "GET") })
	attack("rapid reset of waiting requests", func() error { return rapidReset(t, secureAddr, "POST") })
	attack("continuation flood", func() error { return continuationFlood(t, secureAddr) })
	attack("no HTTP/2 preface", func() error { return prefaceStall(t, secureAddr, "") })
	attack("half an HTTP/2 preface", func() error { return prefaceStall(t, secureAddr, http2.ClientPreface[:10]) })
	attacks.Wait()
	close(stop)
	<-done
	if answered.Load() < 10 {
		t.Errorf("the honest caller was answered %d times", answered.Load())
	}
	r.Control()
	overTLS(t, secure)
	caps(t)
}

// overTLS is the control request of the gateway behind TLS, by HTTP/2.
func overTLS(t *testing.T, r *rig.Rig) {
	t.Helper()
	client := &http.Client{Timeout: 10 * time.Second, Transport: &http.Transport{
		ForceAttemptHTTP2: true, TLSClientConfig: &tls.Config{InsecureSkipVerify: true},
	}}
	defer client.CloseIdleConnections()
	res, err := client.PostForm(r.URL+"/token", rig.Form(r.Token(nil)))
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close()
	if res.StatusCode != http.StatusOK || res.ProtoMajor != 2 {
		t.Errorf("by TLS: %s %s", res.Proto, res.Status)
	}
}

// caps compares the server's limits with those that are promised: waiting for
// the longer ones would take a minute.
func caps(t *testing.T) {
	t.Helper()
	s := web.Server(http.NotFoundHandler(), slog.New(slog.DiscardHandler))
	got := []any{s.ReadHeaderTimeout, s.ReadTimeout, s.WriteTimeout, s.IdleTimeout, s.MaxHeaderBytes}
	want := []any{5 * time.Second, 10 * time.Second, 15 * time.Second, time.Minute, 16 << 10}
	if fmt.Sprint(got) != fmt.Sprint(want) {
		t.Errorf("limits %v, want %v", got, want)
	}
}

// slow is a peer that sends little.
type slow struct {
	first, drip string
	least, most time.Duration // until the server ends it
}

func slowAttacks() map[string]slow {
	const head = "POST /token HTTP/1.1\r\nHost: gw.test\r\nContent-Type: application/x-www-form-urlencoded\r\n"
	return map[string]slow{
		"slow header":               {"POST /token HTTP/1.1\r\nHost: gw", "x", 4 * time.Second, 8 * time.Second},
		"slow header lines":         {head, "X-A: b\r\n", 4 * time.Second, 8 * time.Second},
		"slow request line":         {"PO", "S", 4 * time.Second, 8 * time.Second},
		"nothing at all":            {"", "", 4 * time.Second, 8 * time.Second},
		"slow body":                 {head + "Content-Length: 60000\r\n\r\ngrant", "x", 8 * time.Second, 14 * time.Second},
		"slow chunks":               {head + "Transfer-Encoding: chunked\r\n\r\n", "1\r\nx\r\n", 8 * time.Second, 14 * time.Second},
		"continue and never follow": {head + "Expect: 100-continue\r\nContent-Length: 500\r\n\r\n", "", 8 * time.Second, 14 * time.Second},
		"clear-text HTTP/2 preface": {"PRI * HTTP/2.0\r\n\r\n", "", 0, 12 * time.Second},
		"half a preface":            {"PRI * HTTP/2.0\r\n", "", 4 * time.Second, 8 * time.Second},
	}
}

// slowPeers opens twenty such connections and says when the server ended them.
func slowPeers(t *testing.T, addr string, s slow) error {
	t.Helper()
	var wg sync.WaitGroup
	errs := make([]error, 20)
	for i := range errs {
		c, err := dial(t, "127.0.0.2", addr)
		if err != nil {
			return err
		}
		wg.Go(func() { errs[i] = slowPeer(c, s) })
	}
	wg.Wait()
	return errors.Join(errs...)
}

func slowPeer(c net.Conn, s slow) error {
	begin := time.Now()
	_, _ = io.WriteString(c, s.first) // the read below tells
	ended := make(chan struct{})
	go func() {
		for s.drip != "" {
			select {
			case <-ended:
				return
			case <-time.After(time.Second):
				_, _ = io.WriteString(c, s.drip)
			}
		}
	}()
	err := c.SetReadDeadline(begin.Add(s.most))
	if err != nil {
		return err
	}
	b, err := io.ReadAll(c)
	close(ended)
	switch d := time.Since(begin); {
	case timedOut(err):
		return fmt.Errorf("still open after %v", s.most)
	case d < s.least:
		return fmt.Errorf("ended after %v: an honest slow peer would be too: %s", d, b)
	case strings.Contains(string(b), " 200 "):
		return fmt.Errorf("answered %s", b)
	}
	return nil
}

// readsNothing pipelines requests and reads no answer: only that connection may
// suffer.
func readsNothing(t *testing.T, addr string) error {
	t.Helper()
	text := strings.Repeat("GET /keys HTTP/1.1\r\nHost: gw.test\r\n\r\n", 2000)
	for range 20 {
		c, err := dial(t, "127.0.0.3", addr)
		if err != nil {
			return err
		}
		if err := c.SetWriteDeadline(time.Now().Add(time.Second)); err != nil {
			return err
		}
		for range 4 {
			if _, err := io.WriteString(c, text); err != nil {
				break // the server stopped reading
			}
		}
	}
	return nil
}

// idleConnections opens more connections than one address may hold: 256 are
// served, the others closed, and another address is served all the same.
func idleConnections(t *testing.T, addr, proxiedAddr string) error {
	t.Helper()
	served, conns, err := serving(t, "127.0.0.4", addr, 400)
	if err != nil || served > 256 || served < 200 { // a slow machine may see some end before they ask
		return errors.Join(fmt.Errorf("%d connections of one address were served, want 256", served), err)
	}
	if n, _, err := serving(t, "127.0.0.5", addr, 1); n != 1 {
		return errors.Join(errors.New("another address is not served"), err)
	}
	for _, c := range conns {
		_ = c.Close() // some are closed already
	}
	for deadline := time.Now().Add(5 * time.Second); ; {
		if n, _, err := serving(t, "127.0.0.4", addr, 1); n == 1 {
			break
		} else if time.Now().After(deadline) {
			return errors.Join(errors.New("no place for the address that left"), err)
		}
	}
	if n, _, err := serving(t, "127.0.0.6", proxiedAddr, 320); n <= 256 {
		return errors.Join(fmt.Errorf("%d of 320 connections of a trusted proxy were served", n), err)
	}
	return nil
}

// serving opens connections, keeps them, and counts those that answer.
func serving(t *testing.T, from, addr string, want int) (int64, []net.Conn, error) {
	t.Helper()
	conns := make([]net.Conn, want)
	for i := range conns {
		c, err := dial(t, from, addr)
		if err != nil {
			return 0, nil, err
		}
		conns[i] = c
	}
	var served atomic.Int64
	var wg sync.WaitGroup
	for _, c := range conns {
		wg.Go(func() {
			if asks(c, "/") {
				served.Add(1)
			}
		})
	}
	wg.Wait()
	return served.Load(), conns, nil
}

// asks sends one request and reports whether an answer came.
func asks(c net.Conn, path string) bool {
	if c.SetDeadline(time.Now().Add(5*time.Second)) != nil {
		return false
	}
	if _, err := io.WriteString(c, "GET "+path+" HTTP/1.1\r\nHost: gw.test\r\n\r\n"); err != nil {
		return false
	}
	b := make([]byte, 12)
	_, err := io.ReadFull(c, b)
	return err == nil && string(b) == "HTTP/1.1 200"
}

// oversizedHeads: more than 16 KiB of head is refused, whatever it holds.
func oversizedHeads(t *testing.T, addr string) error {
	t.Helper()
	const host = "Host: gw.test\r\n"
	for name, row := range map[string]struct{ text, want string }{
		"a million cookies":        {"GET /keys HTTP/1.1\r\n" + host + "Cookie: " + strings.Repeat("a=b; ", 1_000_000) + "\r\n\r\n", "431"},
		"cookies line by line":     {"GET /keys HTTP/1.1\r\n" + host + strings.Repeat("Cookie: a=b\r\n", 100_000) + "\r\n", "431"},
		"100,000 headers":          {"GET /keys HTTP/1.1\r\n" + host + strings.Repeat("A: b\r\n", 100_000) + "\r\n", "431"},
		"100,000 query parameters": {"POST /token?" + strings.Repeat("a=b&", 100_000) + " HTTP/1.1\r\n" + host + "\r\n", "431"},
		"one long header":          {"GET /keys HTTP/1.1\r\n" + host + "A: " + strings.Repeat("a", 32<<10) + "\r\n\r\n", "431"},
		"a long path":              {"GET /" + strings.Repeat("a", 32<<10) + " HTTP/1.1\r\n" + host + "\r\n", "431"},
		"a long method":            {strings.Repeat("A", 32<<10) + " / HTTP/1.1\r\n" + host + "\r\n", "431"},
		"12 KiB are fine":          {"GET /keys HTTP/1.1\r\nConnection: close\r\n" + host + "A: " + strings.Repeat("a", 12<<10) + "\r\n\r\n", "200"},
		"2,000 query parameters":   {"POST /token?" + strings.Repeat("a=b&", 2000) + " HTTP/1.1\r\nContent-Type: " + formMedia + "\r\nConnection: close\r\n" + host + "Content-Length: 0\r\n\r\n", "400"},
	} {
		answer, closed := raw(t, addr, row.text)
		// A peer that is still sending may see the connection end before the answer.
		if !closed || !strings.HasPrefix(answer, "HTTP/1.1 "+row.want) && (row.want != "431" || answer != "") {
			return fmt.Errorf("%s: closed %t, %.100q", name, closed, answer)
		}
	}
	return nil
}

// bodies is DOS-05.
func bodies(t *testing.T) {
	r, addr := serve(t, rig.Setup{})
	r.Control()
	send := func(body string, headers ...string) rig.Answer { return r.Do(request(r, "POST", "", body, headers...)) }
	var bomb bytes.Buffer
	z := gzip.NewWriter(&bomb)
	if _, err := io.Copy(z, io.LimitReader(zeros{}, 20<<20)); err != nil || z.Close() != nil {
		t.Fatal(err)
	}
	for _, coding := range []string{"gzip", "deflate", "br", "zstd", "x-gzip", "GZIP", "gzip, gzip", "identity", "unknown"} {
		told(t, send(bomb.String(), "Content-Type", formMedia, "Content-Encoding", coding), 415, "invalid_request", "")
	}
	// Named or not, what is compressed is never inflated: it is no form.
	told(t, send(bomb.String(), "Content-Type", formMedia), 400, "invalid_request", "")
	told(t, send(rig.Form(r.Token(nil)).Encode(), "Content-Type", formMedia, "Content-Encoding", "gzip"), 415, "invalid_request", "")
	var parts bytes.Buffer
	m := multipart.NewWriter(&parts)
	for i := range 10_000 {
		if err := m.WriteField(fmt.Sprint("p", i), "x"); err != nil {
			t.Fatal(err)
		}
	}
	for _, media := range []string{m.FormDataContentType(), "multipart/mixed; boundary=" + m.Boundary(), "multipart/form-data"} {
		told(t, send(parts.String(), "Content-Type", media), 415, "invalid_request", "")
	}
	good := rig.Form(r.Token(nil)).Encode()
	told(t, send(strings.Repeat("a=b&", 1_000_000), "Content-Type", formMedia), 413, "invalid_request", "64 KiB")
	told(t, send(good+"&x="+strings.Repeat("a", 64<<10), "Content-Type", formMedia), 413, "invalid_request", "64 KiB")
	for i := range 2 {
		told(t, send(good+strings.Repeat("&", 29+i*1000), "Content-Type", formMedia), 400, "invalid_request", "32")
	}
	many := good
	for i := range 29 {
		many += fmt.Sprintf("&p%d=x", i)
	}
	told(t, send(many, "Content-Type", formMedia), 400, "invalid_request", "32")
	told(t, send(strings.Repeat("a=b&", 10_000), "Content-Type", formMedia), 400, "invalid_request", "")
	if a := send(good+strings.Repeat("&", 28), "Content-Type", formMedia); a.Status != 200 {
		t.Errorf("32 parameters: %d %s", a.Status, a.Raw)
	}
	// Without a length, it is counted as it comes.
	req := request(r, "POST", "", "")
	req.Body, req.ContentLength = io.NopCloser(io.LimitReader(zeros{}, 1<<20)), -1
	req.Header.Set("Content-Type", formMedia)
	told(t, r.Do(req), 413, "invalid_request", "64 KiB")
	// A length that promises more than is taken is refused by what is sent.
	answer, closed := raw(t, addr, "POST /token HTTP/1.1\r\nHost: gw.test\r\nContent-Type: text/plain\r\nExpect: 100-continue\r\nContent-Length: 99999999999\r\n\r\n")
	if !closed || !strings.HasPrefix(answer, "HTTP/1.1 415") {
		t.Errorf("refused by its head: closed %t, %s", closed, answer)
	}
	r.Control()
}

// zeros is an endless body.
type zeros struct{}

// Read fills p.
func (zeros) Read(p []byte) (int, error) {
	clear(p)
	return len(p), nil
}

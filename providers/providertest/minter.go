// Package providertest is the conformance suite of the catalogue: what every
// verifier of identities, and every minter of credentials, must do and must never
// do, whatever platform it is for.
package providertest

import (
	"bytes"
	"compress/gzip"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"cambio/exchange"
	"cambio/exchange/exchangetest"
	"cambio/trust"
)

// Minter is one minter to be held to the contract. The suite runs its upstream on
// loopback, and is strict: what Answer does not know, it must answer with false,
// and the test fails.
type Minter struct {
	Ask exchangetest.Ask
	// New opens the minter with its service at endpoint (http, loopback) and these
	// bounds. It must call nobody.
	New func(tb testing.TB, endpoint string, timeout time.Duration, maxInFlight int) exchange.Minter
	// Answer plays the service for a caller who did everything right: it checks the
	// request as the real service does, and answers. Calls in a row are told apart
	// by what they ask for. false: the service does not know this request.
	Answer func(r Request) (Response, bool)
	// Final reports whether a request is the one that the credential comes from. nil:
	// all are.
	Final func(r Request) bool
	// Lies are wrong answers of the final call, each made of a good one: another
	// principal, a longer life, no token. They must be refused, and nobody knows what
	// was issued.
	Lies map[string]func(good Response) Response
	// Secrets are what of a good answer is secret. May be nil.
	Secrets func(good Response) []string
	// Public are long texts of the requests that are no secrets, such as names of
	// resources: an error may repeat them. May be nil.
	Public []string
	// Check looks at the good credential. May be nil.
	Check func(tb testing.TB, got exchange.Credential)
}

// long is more than any of these tests takes.
const long = time.Minute

// Run holds the minter to the contract.
func (m Minter) Run(t *testing.T) {
	o := exchangetest.Order(t, m.Ask)
	t.Run("good", func(t *testing.T) { m.good(t, o) })
	t.Run("hung up", func(t *testing.T) {
		_, minter, _ := m.start(t, nil, long, 0)
		ctx, cancel := context.WithCancel(t.Context())
		cancel()
		if _, err := minter.Mint(ctx, o); err != nil {
			t.Errorf("a caller who hung up changed the outcome: %v", err)
		}
	})
	t.Run("two identities", func(t *testing.T) { m.twoIdentities(t) })
	for name, c := range map[string]struct {
		fault    func(w http.ResponseWriter, r Request, good Response) bool
		issued   bool
		attempts int // 0: one or more
	}{
		"429": {answers(JSON(429, `{"error":"slow_down"}`)), false, 0},
		"500": {answers(JSON(500, `{"error":"internal"}`)), false, 0},
		"502": {answers(Response{Status: 502, Body: "<html>bad gateway"}), true, 1},
		// Of one in between: it does not know what came of the request.
		"503": {answers(Response{Status: 503, Body: "<html>busy"}), true, 1},
		"504": {answers(Response{Status: 504}), true, 1},
		"400": {answers(JSON(400, `{"error":"invalid_grant"}`)), false, 1},
		"403": {answers(JSON(403, `{"error":"access_denied","error_description":"no"}`)), false, 1},
		"redirect": {func(w http.ResponseWriter, _ Request, _ Response) bool {
			w.Header().Set("Location", "/elsewhere")
			w.WriteHeader(http.StatusTemporaryRedirect)
			return true
		}, true, 1},
		"cut": {func(w http.ResponseWriter, _ Request, good Response) bool {
			w.Header().Set("Content-Length", "100000")
			good.write(w)
			return true
		}, true, 1},
		"too large": {func(w http.ResponseWriter, _ Request, good Response) bool {
			good.Body += strings.Repeat(" ", 1<<20)
			good.write(w)
			return true
		}, true, 1},
		"compressed": {func(w http.ResponseWriter, _ Request, good Response) bool {
			var b bytes.Buffer
			z := gzip.NewWriter(&b)
			_, _ = io.WriteString(z, good.Body)
			_ = z.Close()
			good.Header = http.Header{"Content-Type": good.Header["Content-Type"], "Content-Encoding": {"gzip"}}
			good.Body = b.String()
			good.write(w)
			return true
		}, true, 1},
		"no body": {func(w http.ResponseWriter, _ Request, good Response) bool {
			good.Body = ""
			good.write(w)
			return true
		}, true, 1},
		"not the format": {func(w http.ResponseWriter, _ Request, good Response) bool {
			good.Body = "<html>welcome"
			good.write(w)
			return true
		}, true, 1},
		"half of it": {func(w http.ResponseWriter, _ Request, good Response) bool {
			good.Body = good.Body[:len(good.Body)/2]
			good.write(w)
			return true
		}, true, 1},
		"another object": {func(w http.ResponseWriter, _ Request, good Response) bool {
			good.Body = "{}"
			good.write(w)
			return true
		}, true, 1},
	} {
		t.Run(name, func(t *testing.T) { m.fails(t, o, c.fault, c.issued, c.attempts) })
	}
	for name, lie := range m.Lies {
		t.Run("lie: "+name, func(t *testing.T) {
			m.fails(t, o, func(w http.ResponseWriter, _ Request, good Response) bool {
				lie(good).write(w)
				return true
			}, true, 1)
		})
	}
	t.Run("time-out", func(t *testing.T) { m.timeOut(t, o) })
	t.Run("nobody there", func(t *testing.T) {
		_, minter, server := m.start(t, nil, long, 0)
		server.Close()
		_, err := minter.Mint(t.Context(), o)
		if e := refusal(t, err); e.Issued || e.Code != exchange.Unavailable || e.Reason != trust.ReasonMintFailed {
			t.Errorf("no connection: %v, issued %t", e, e.Issued)
		}
	})
	t.Run("bulkhead", func(t *testing.T) { m.bulkhead(t, o) })
	t.Run("echo", func(t *testing.T) { m.echo(t, o) })
	if m.Secrets != nil {
		t.Run("lie: what was shown", func(t *testing.T) {
			var there atomic.Int32 // secrets in the answer, each of which is tried by itself
			there.Store(1)
			for which := 0; which < int(there.Load()); which++ {
				m.fails(t, o, func(w http.ResponseWriter, r Request, good Response) bool {
					secrets := slices.DeleteFunc(m.secrets(good), func(s string) bool { return !strings.Contains(good.Body, s) })
					there.Store(int32(len(secrets)))
					good.Body = strings.ReplaceAll(good.Body, secrets[which], shown(t, r))
					good.write(w)
					return true
				}, true, 1)
			}
		})
	}
}

// shown is what a request proves itself with: a bearer token, a subject token, or else
// the JWT in its body. A service that gives it back as the credential would have the workload hold
// what is wider than its grant.
func shown(t *testing.T, r Request) string {
	t.Helper()
	if bearer, ok := strings.CutPrefix(r.Header.Get("Authorization"), "Bearer "); ok {
		return bearer
	}
	if token := r.Form.Get("subject_token"); token != "" {
		return token
	}
	text, err := url.QueryUnescape(string(r.Body))
	if err != nil {
		text = string(r.Body)
	}
	for word := range strings.FieldsFuncSeq(text, func(c rune) bool { return strings.ContainsRune(" &=\"{}:,", c) }) {
		if strings.HasPrefix(word, "eyJ") {
			return word
		}
	}
	t.Error("the request shows nothing")
	return ""
}

func answers(r Response) func(http.ResponseWriter, Request, Response) bool {
	return func(w http.ResponseWriter, _ Request, _ Response) bool {
		r.write(w)
		return true
	}
}

// good: the credential is what was ordered, and its handle is public.
func (m Minter) good(t *testing.T, o exchange.Order) {
	var good Response
	s, minter, _ := m.start(t, func(_ http.ResponseWriter, _ Request, r Response) bool {
		good = r
		return false
	}, long, 0)
	got, err := minter.Mint(t.Context(), o)
	if err != nil {
		t.Fatal(err)
	}
	if s.finals() != 1 {
		t.Errorf("%d calls for one credential", s.finals())
	}
	if got.Value == "" || got.Type == "" || got.Handle == "" {
		t.Errorf("incomplete: type %q, handle %q", got.Type, got.Handle)
	}
	if !got.Expires.After(o.Issued) || got.Expires.After(o.Issued.Add(o.Grant.TTL+time.Minute)) {
		t.Errorf("ends %s, ordered at %s for %s", got.Expires, o.Issued, o.Grant.TTL)
	}
	for _, secret := range append(m.secrets(good), got.Value.Reveal()) {
		if strings.Contains(got.Handle, secret) || strings.Contains(fmt.Sprintf("%v %+v %#v", got, got, got), secret) {
			t.Error("the credential shows a secret")
		}
	}
	if m.Check != nil {
		m.Check(t, got)
	}
}

func (m Minter) secrets(good Response) []string {
	if m.Secrets == nil {
		return nil
	}
	return m.Secrets(good)
}

// twoIdentities: the second one is asked for anew. A client object that keeps a
// credential would hand one workload another's (azidentity does).
func (m Minter) twoIdentities(t *testing.T) {
	s, minter, _ := m.start(t, nil, long, 0)
	for i := range 2 {
		ask := m.Ask
		ask.Workload = fmt.Sprintf("%s-%d", exchangetest.Workload, i)
		if _, err := minter.Mint(t.Context(), exchangetest.Order(t, ask)); err != nil {
			t.Fatal(err)
		}
		if s.finals() != i+1 {
			t.Fatalf("%d calls after %d orders", s.finals(), i+1)
		}
	}
}

// fails: the refusal says what is known, and nothing secret.
func (m Minter) fails(t *testing.T, o exchange.Order, fault func(http.ResponseWriter, Request, Response) bool, issued bool, attempts int) {
	var mu sync.Mutex
	var good Response
	s, minter, _ := m.start(t, func(w http.ResponseWriter, r Request, answer Response) bool {
		mu.Lock()
		good = answer
		mu.Unlock()
		return fault(w, r, answer)
	}, long, 0)
	got, err := minter.Mint(t.Context(), o)
	if got.Value != "" {
		t.Error("a credential came with the error")
	}
	e := refusal(t, err)
	if e.Code != exchange.Unavailable || e.Reason != trust.ReasonMintFailed || e.Issued != issued {
		t.Errorf("%s %s, issued %t; want %s, issued %t", e.Code, e.Reason, e.Issued, trust.ReasonMintFailed, issued)
	}
	if n := s.finals(); attempts > 0 && n != attempts || n == 0 || n > 3 {
		t.Errorf("%d attempts", n)
	}
	mu.Lock()
	defer mu.Unlock()
	for _, secret := range m.secrets(good) {
		if strings.Contains(e.Error(), secret) {
			t.Error("the error shows a secret of the answer")
		}
	}
	silent(t, s, e)
}

// silent: no error repeats the assertion, or another token that was sent.
func silent(t *testing.T, s *suite, e *exchange.Error) {
	t.Helper()
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, r := range s.calls {
		sent := string(r.Body) + " " + r.Header.Get("Authorization") + " " + r.Header.Get("X-Vault-Token")
		if text, err := url.QueryUnescape(sent); err == nil {
			sent += " " + text
		}
		for word := range strings.FieldsFuncSeq(sent, func(c rune) bool { return strings.ContainsRune(" &=\"{}:,", c) }) {
			if strings.HasPrefix(word, "eyJ") && strings.Contains(e.Error(), word[len(word)/2:]) {
				t.Error("the error shows a token")
			}
		}
	}
}

// timeOut: an answer that does not come may have been an answer all the same.
func (m Minter) timeOut(t *testing.T, o exchange.Order) {
	release := make(chan struct{})
	_, minter, _ := m.start(t, func(http.ResponseWriter, Request, Response) bool {
		<-release
		return true
	}, 200*time.Millisecond, 0)
	_, err := minter.Mint(t.Context(), o)
	close(release)
	if e := refusal(t, err); !e.Issued || e.Reason != trust.ReasonMintFailed {
		t.Errorf("%v, issued %t", e, e.Issued)
	}
}

// bulkhead: one more than may be in flight is refused at once, and sends nothing.
// Another target of the kind has places of its own.
func (m Minter) bulkhead(t *testing.T, o exchange.Order) {
	entered, release := make(chan struct{}, 1), make(chan struct{})
	s, minter, _ := m.start(t, func(http.ResponseWriter, Request, Response) bool {
		entered <- struct{}{}
		<-release
		return false
	}, long, 1)
	done := make(chan error, 1)
	go func() {
		_, err := minter.Mint(t.Context(), o)
		done <- err
	}()
	<-entered
	_, err := minter.Mint(t.Context(), o)
	if e := refusal(t, err); e.Reason != trust.ReasonTargetBusy || e.Issued || e.RetryAfter <= 0 {
		t.Errorf("%v, issued %t, retry %s", e, e.Issued, e.RetryAfter)
	}
	_, other, _ := m.start(t, nil, long, 1)
	if _, err := other.Mint(t.Context(), o); err != nil {
		t.Errorf("another target, beside the full one: %v", err)
	}
	close(release)
	if err := <-done; err != nil {
		t.Error(err)
	}
	if s.finals() != 1 {
		t.Errorf("%d calls", s.finals())
	}
}

// echo: a service that repeats what it was sent must not bring it into the journal.
func (m Minter) echo(t *testing.T, o exchange.Order) {
	var mu sync.Mutex
	var sent string
	_, minter, _ := m.start(t, func(w http.ResponseWriter, r Request, _ Response) bool {
		text := string(r.Body)
		if plain, err := url.QueryUnescape(text); err == nil {
			text = plain
		}
		mu.Lock()
		sent = text + r.Header.Get("Authorization")
		mu.Unlock()
		quoted := strings.NewReplacer(`\`, `\\`, `"`, `\"`, "\n", `\n`, "\r", `\r`).Replace(sent)
		JSON(400, `{"error":"invalid_request","error_description":"what is `+quoted+`"}`).write(w)
		return true
	}, long, 0)
	_, err := minter.Mint(t.Context(), o)
	e := refusal(t, err)
	mu.Lock()
	defer mu.Unlock()
	for word := range strings.FieldsFuncSeq(sent, func(c rune) bool { return strings.ContainsRune(" &=\"{}:,", c) }) {
		if len(word) <= 64 || strings.Contains(strings.Join(m.Public, "\n"), word) {
			continue
		}
		if strings.Contains(e.Error(), word[len(word)-32:]) {
			t.Error("the error repeats what was sent")
		}
	}
	if strings.ContainsAny(e.Error(), "\n\r\x1b") {
		t.Error("the error has lines of its own")
	}
}

func refusal(t *testing.T, err error) *exchange.Error {
	t.Helper()
	var e *exchange.Error
	if !errors.As(err, &e) {
		t.Fatalf("%v is no refusal", err)
	}
	return e
}

// Package kmsrig stands in for AWS KMS, Google Cloud KMS and Google's metadata
// server in tests, on loopback. The stand-ins are strict: what the real ones
// would refuse they refuse, and what they do not know is a 501 and a line in
// Faults, which a test must find empty. A test may have them lie.
package kmsrig

import (
	"bytes"
	"crypto"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"time"
)

// Lie changes what is answered to an operation, such as "Sign" or "publicKey". It
// gets the answer that would be right, as a handler, and may call it or not.
type Lie func(operation string, w http.ResponseWriter, r *http.Request, right http.HandlerFunc)

// server is what the stand-ins have in common.
type server struct {
	http *httptest.Server

	mu     sync.Mutex
	lie    Lie
	faults []string
	calls  map[string]int
	opened map[string]bool // peers, one for each connection
	keys   map[string]crypto.Signer
}

func (s *server) start(h http.HandlerFunc) {
	s.calls, s.opened, s.keys = map[string]int{}, map[string]bool{}, map[string]crypto.Signer{}
	s.http = httptest.NewServer(h)
}

// Close ends the server.
func (s *server) Close() {
	s.http.CloseClientConnections()
	s.http.Close()
}

// Lie has the server answer otherwise from here on; nil: truly again.
func (s *server) Lie(lie Lie) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.lie = lie
}

// Faults is what was asked that no right client asks.
func (s *server) Faults() []string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return append([]string(nil), s.faults...)
}

// Calls is how often an operation was asked for.
func (s *server) Calls(operation string) int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.calls[operation]
}

// Connections is how many connections were used.
func (s *server) Connections() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return len(s.opened)
}

// Now is the server's clock.
func (s *server) now() time.Time { return time.Now() }

func (s *server) fault(w http.ResponseWriter, format string, args ...any) {
	s.mu.Lock()
	s.faults = append(s.faults, fmt.Sprintf(format, args...))
	s.mu.Unlock()
	http.Error(w, "not implemented", http.StatusNotImplemented)
}

// serve counts an operation and answers it, rightly or with the lie.
func (s *server) serve(operation string, w http.ResponseWriter, r *http.Request, right http.HandlerFunc) {
	// Read first: a handler learns that its client is gone only after that.
	body, err := io.ReadAll(io.LimitReader(r.Body, 1<<20))
	if err != nil {
		return
	}
	r.Body = io.NopCloser(bytes.NewReader(body))
	s.mu.Lock()
	s.calls[operation]++
	s.opened[r.RemoteAddr] = true
	lie := s.lie
	s.mu.Unlock()
	if lie == nil {
		right(w, r)
		return
	}
	lie(operation, w, r, right)
}

func (s *server) key(name string) crypto.Signer {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.keys[name]
}

func (s *server) add(name string, k crypto.Signer) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.keys[name] = k
}

// host is host:port.
func (s *server) host() string { return strings.TrimPrefix(s.http.URL, "http://") }

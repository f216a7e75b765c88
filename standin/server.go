package standin

import (
	"bytes"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"maps"
	"net"
	"net/http"
	"slices"
	"sync"
	"time"
)

// server is what the stand-ins of services have in common: HTTP on loopback, and
// what was asked of them that they do not know. mu is for what a stand-in itself
// keeps as well.
type server struct {
	now  func() time.Time
	url  string
	ca   []byte
	http *http.Server

	mu      sync.Mutex
	rand    io.Reader
	unknown []string
}

// start listens on a free port of 127.0.0.1. It ends with Close.
func (s *server) start(h http.Handler, t *TLS) error {
	if s.now == nil || s.rand == nil {
		return errors.New("standin: a clock and a source of randomness are required")
	}
	l, err := new(net.ListenConfig).Listen(context.Background(), "tcp", "127.0.0.1:0")
	if err != nil {
		return fmt.Errorf("standin: %w", err)
	}
	s.url = "http://" + l.Addr().String()
	if t != nil {
		conf, ca, err := t.config(s.now(), s.rand)
		if err != nil {
			_ = l.Close()
			return err
		}
		l, s.ca, s.url = tls.NewListener(l, conf), ca, "https://"+l.Addr().String()
	}
	s.http = &http.Server{
		Handler: h, ReadHeaderTimeout: 10 * time.Second,
		// It would log the handshakes that a test breaks.
		ErrorLog: slog.NewLogLogger(slog.DiscardHandler, slog.LevelError),
	}
	go func() { _ = s.http.Serve(l) }() // ends with Close
	return nil
}

// Close ends the server, and every request that hangs.
func (s *server) Close() error { return s.http.Close() }

// URL is where it listens: scheme, address and port.
func (s *server) URL() string { return s.url }

// CA is the PEM certificate that its TLS chains to; nil without TLS.
func (s *server) CA() []byte { return s.ca }

// Unknown lists what was asked of it that it does not know. A test fails if there is
// one: nobody can say what the real service would have answered.
func (s *server) Unknown() []string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.Clone(s.unknown)
}

// random reads n bytes. It panics if there are none: a mistake in the test.
func (s *server) random(n int) []byte {
	b := make([]byte, n)
	s.mu.Lock()
	defer s.mu.Unlock()
	if _, err := io.ReadFull(s.rand, b); err != nil {
		panic("standin: " + err.Error())
	}
	return b
}

// change is the answer as the fault wants it; its headers are set.
func (f Fault) change(w http.ResponseWriter, status int, body []byte) (int, []byte) {
	if f.Body != nil {
		body = f.Body
	}
	if n := f.Size - len(body); n > 0 {
		body = append(bytes.Clone(body), bytes.Repeat([]byte(" "), n)...)
	}
	maps.Copy(w.Header(), f.Header)
	if f.Location != "" {
		w.Header().Set("Location", f.Location)
		status = http.StatusFound
	}
	if f.Status != 0 {
		status = f.Status
	}
	return status, body
}

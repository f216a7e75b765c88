package standin

import (
	"context"
	"crypto/tls"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"slices"
	"strings"
	"sync"
	"time"
)

// ServiceRequest is one request that a stand-in got.
type ServiceRequest struct {
	Method, Path string
	Header       http.Header
	Body         []byte
	Claims       map[string]any // of the assertion, where one could be decoded; not proven
	Status       int            // of the answer
}

// service is what the stand-ins of services have in common: a server on loopback,
// and what was asked of it.
type service struct {
	now    func() time.Time
	url    string
	ca     []byte
	server *http.Server

	mu       sync.Mutex
	rand     io.Reader
	requests []ServiceRequest
	unknown  []string
}

// start listens on a free port of 127.0.0.1.
func (s *service) start(h http.Handler, t *TLS) error {
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
	s.server = &http.Server{
		Handler: h, ReadHeaderTimeout: 10 * time.Second,
		// It would log the handshakes that a test breaks.
		ErrorLog: slog.NewLogLogger(slog.DiscardHandler, slog.LevelError),
	}
	go func() { _ = s.server.Serve(l) }() // ends with Close
	return nil
}

// Close ends the server, and every request that hangs.
func (s *service) Close() error { return s.server.Close() }

// URL is where it listens: scheme, address and port.
func (s *service) URL() string { return s.url }

// CA is the PEM certificate that its TLS chains to; nil without TLS.
func (s *service) CA() []byte { return s.ca }

// Requests are those so far, in order.
func (s *service) Requests() []ServiceRequest {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.Clone(s.requests)
}

// Unknown lists what was asked of it that it does not know. A test fails if there is
// one: nobody can say what the real service would have answered.
func (s *service) Unknown() []string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.Clone(s.unknown)
}

// answer is what a stand-in answers; why stands for an unknown request.
type answer struct {
	status int
	body   any
	why    string
}

func unknown(format string, args ...any) answer {
	return answer{status: http.StatusNotImplemented, body: map[string]any{}, why: fmt.Sprintf(format, args...)}
}

// send writes an answer, and remembers the request.
func (s *service) send(w http.ResponseWriter, r *http.Request, body []byte, claims map[string]any, a answer) {
	s.mu.Lock()
	s.requests = append(s.requests, ServiceRequest{Method: r.Method, Path: r.URL.Path, Header: r.Header.Clone(), Body: body, Claims: claims, Status: a.status})
	if a.why != "" {
		s.unknown = append(s.unknown, r.Method+" "+r.URL.Path+": "+a.why)
	}
	s.mu.Unlock()
	if a.body == nil {
		w.WriteHeader(a.status)
		return
	}
	out, err := json.Marshal(a.body)
	if err != nil {
		w.WriteHeader(http.StatusInternalServerError)
		return
	}
	w.Header().Set("Content-Type", "application/json")
	w.Header().Set("Cache-Control", "no-store")
	w.WriteHeader(a.status)
	_, _ = w.Write(out)
}

func (s *service) random(n int) []byte {
	b := make([]byte, n)
	s.mu.Lock()
	defer s.mu.Unlock()
	if _, err := io.ReadFull(s.rand, b); err != nil {
		panic(err) // a test's source of randomness
	}
	return b
}

// algOf is the algorithm that a compact JWS names.
func algOf(token string) string {
	head, _, _ := strings.Cut(token, ".")
	b, err := base64.RawURLEncoding.DecodeString(head)
	if err != nil {
		return ""
	}
	var header struct {
		Alg string `json:"alg"`
	}
	if json.Unmarshal(b, &header) != nil {
		return ""
	}
	return header.Alg
}

package providertest

import (
	"bytes"
	"context"
	"io"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"sync"
	"testing"
	"time"

	"cambio/exchange"
)

// Request is one call to the service.
type Request struct {
	Method string
	Path   string
	Query  url.Values
	Header http.Header
	Body   []byte
	Form   url.Values // of a form body
}

// Response is what the service answers.
type Response struct {
	Status int // default 200
	Header http.Header
	Body   string
}

// JSON is a response of JSON.
func JSON(status int, body string) Response {
	return Response{Status: status, Header: http.Header{"Content-Type": {"application/json"}}, Body: body}
}

// Play has a stand-in answer one request. What it does not know it answers with 501.
func Play(h http.Handler, r Request) (Response, bool) {
	req := httptest.NewRequestWithContext(context.Background(), r.Method, r.Path, bytes.NewReader(r.Body))
	req.URL.RawQuery, req.Header = r.Query.Encode(), r.Header
	w := httptest.NewRecorder()
	h.ServeHTTP(w, req)
	return Response{Status: w.Code, Header: w.Header(), Body: w.Body.String()}, w.Code != http.StatusNotImplemented
}

// suite is the service at work.
type suite struct {
	tb    testing.TB
	m     Minter
	mu    sync.Mutex
	calls []Request
	fault func(w http.ResponseWriter, r Request, good Response) bool // true: it answered
}

func (s *suite) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	body, err := io.ReadAll(io.LimitReader(r.Body, 1<<20))
	if err != nil {
		return // the minter hung up
	}
	req := Request{Method: r.Method, Path: r.URL.Path, Query: r.URL.Query(), Header: r.Header, Body: body}
	if strings.HasPrefix(r.Header.Get("Content-Type"), "application/x-www-form-urlencoded") {
		if req.Form, err = url.ParseQuery(string(body)); err != nil {
			s.tb.Errorf("a malformed form: %v", err)
		}
	}
	s.mu.Lock()
	s.calls = append(s.calls, req)
	fault := s.fault
	s.mu.Unlock()
	good, known := s.m.Answer(req)
	if !known {
		s.tb.Errorf("the service was asked what nobody knows the answer to: %s %s %q", req.Method, r.URL, body)
		w.WriteHeader(http.StatusNotImplemented)
		return
	}
	if fault != nil && s.final(req) && fault(w, req, good) {
		return
	}
	good.write(w)
}

func (s *suite) final(r Request) bool { return s.m.Final == nil || s.m.Final(r) }

func (s *suite) finals() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	n := 0
	for _, r := range s.calls {
		if s.final(r) {
			n++
		}
	}
	return n
}

func (r Response) write(w http.ResponseWriter) {
	for name, values := range r.Header {
		w.Header()[name] = values
	}
	if r.Status != 0 {
		w.WriteHeader(r.Status)
	}
	_, _ = io.WriteString(w, r.Body) // the minter may have hung up
}

// start opens the service and a minter for it.
func (m Minter) start(t *testing.T, fault func(http.ResponseWriter, Request, Response) bool, timeout time.Duration, places int) (*suite, exchange.Minter, *httptest.Server) {
	t.Helper()
	s := &suite{tb: t, m: m, fault: fault}
	server := httptest.NewServer(s)
	t.Cleanup(server.Close)
	return s, m.New(t, server.URL, timeout, places), server
}

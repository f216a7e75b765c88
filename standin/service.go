package standin

import (
	"encoding/base64"
	"encoding/json"
	"fmt"
	"net/http"
	"slices"
	"strings"
)

// ServiceRequest is one request that a stand-in got.
type ServiceRequest struct {
	Method, Path string
	Header       http.Header
	Body         []byte
	Claims       map[string]any // of the assertion, where one could be decoded; not proven
	Status       int            // of the answer
}

// service is a server whose requests are kept whole.
type service struct {
	server
	requests []ServiceRequest
}

// Requests are those so far, in order.
func (s *service) Requests() []ServiceRequest {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.Clone(s.requests)
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

package web

import (
	"encoding/json"
	"errors"
	"math"
	"net/http"
	"strconv"
	"time"

	"cambio/exchange"
	"cambio/trust"
)

// fixedSentence is what every refusal says, unless a proven token or a form of
// the caller's own making earned a better one: more would be an oracle on trusts
// and claims.
const fixedSentence = "The request was refused. Quote decision_id to the owner of the trust."

// Codes of the transport itself, beside those of an exchange.
const (
	notFound         exchange.Code = "not_found"
	methodNotAllowed exchange.Code = "method_not_allowed"
	bodyTooLarge     exchange.Code = "body_too_large"
	unsupportedMedia exchange.Code = "unsupported_media_type"
	// authorizationSent is a client's attempt to authenticate by a header; RFC 6749
	// section 5.2 wants 401 then, and only then.
	authorizationSent exchange.Code = "authorization_sent"
)

// answerOf is the one table that turns a refusal into HTTP: RFC 6749 section
// 5.2, RFC 8693 section 2.2.2.
func answerOf(code exchange.Code) (status int, oauth string) {
	switch code {
	case exchange.InvalidRequest:
		return http.StatusBadRequest, "invalid_request"
	case exchange.InvalidTarget:
		return http.StatusBadRequest, "invalid_target"
	case exchange.InvalidScope:
		return http.StatusBadRequest, "invalid_scope"
	case exchange.UnsupportedGrantType:
		return http.StatusBadRequest, "unsupported_grant_type"
	case exchange.InvalidGrant:
		return http.StatusBadRequest, "invalid_grant"
	case exchange.InvalidClient:
		return http.StatusBadRequest, "invalid_client"
	case authorizationSent:
		return http.StatusUnauthorized, "invalid_client"
	case notFound:
		return http.StatusNotFound, "invalid_request"
	case methodNotAllowed:
		return http.StatusMethodNotAllowed, "invalid_request"
	case bodyTooLarge:
		return http.StatusRequestEntityTooLarge, "invalid_request"
	case unsupportedMedia:
		return http.StatusUnsupportedMediaType, "invalid_request"
	case exchange.Limited:
		return http.StatusTooManyRequests, "temporarily_unavailable"
	case exchange.Unavailable:
		return http.StatusServiceUnavailable, "temporarily_unavailable"
	case exchange.ServerError:
		return http.StatusInternalServerError, "server_error"
	}
	return http.StatusInternalServerError, "server_error"
}

// refusal is the body of every error.
type refusal struct {
	Error       string `json:"error"`
	Description string `json:"error_description"`
	Hint        string `json:"error_hint,omitempty"`
	Decision    string `json:"decision_id"`
}

// refuse writes the answer to err, and nothing else of it.
func (s *server) refuse(w http.ResponseWriter, r *http.Request, err error) {
	var e *exchange.Error
	if !errors.As(err, &e) {
		e = &exchange.Error{Code: exchange.ServerError, Reason: trust.ReasonPanic}
	}
	status, code := answerOf(e.Code)
	description := fixedSentence
	if e.Tell != "" {
		description = e.Tell
	}
	h := w.Header()
	noStore(h)
	if e.RetryAfter > 0 {
		seconds := max(1, int64(math.Ceil(float64(e.RetryAfter)/float64(time.Second))))
		h.Set("Retry-After", strconv.FormatInt(seconds, 10))
	}
	if e.Code == authorizationSent {
		h.Set("WWW-Authenticate", "Basic") // RFC 6749 section 5.2: the scheme that was tried
	}
	writeJSON(w, status, refusal{code, description, e.Hint, callOf(r.Context()).decision})
}

func noStore(h http.Header) {
	h.Set("Cache-Control", "no-store")
	h.Set("Pragma", "no-cache")
}

func writeJSON(w http.ResponseWriter, status int, v any) {
	body, err := json.Marshal(v)
	if err != nil {
		status, body = http.StatusInternalServerError, []byte(`{"error":"server_error"}`)
	}
	w.Header().Set("Content-Type", "application/json")
	w.Header().Set("Content-Length", strconv.Itoa(len(body)))
	w.WriteHeader(status)
	_, _ = w.Write(body) // the peer has gone: nothing to do
}

func (s *server) nothingHere(w http.ResponseWriter, r *http.Request) {
	s.refuse(w, r, &exchange.Error{Code: notFound, Reason: trust.ReasonFormInvalid, Tell: "There is nothing at this path."})
}

func (s *server) wrongMethod(w http.ResponseWriter, r *http.Request) {
	allow := "GET, HEAD"
	if r.URL.Path == "/token" || r.URL.Path == "/nonce" {
		allow = http.MethodPost
	}
	w.Header().Set("Allow", allow)
	s.refuse(w, r, &exchange.Error{Code: methodNotAllowed, Reason: trust.ReasonFormInvalid, Tell: "This path takes " + allow + "."})
}

package upstream

import (
	"bytes"
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"mime"
	"net/http"
	"net/http/httptrace"
	"net/url"
	"slices"
	"strings"
	"sync/atomic"
	"time"

	"cambio/exchange"
	"cambio/providers/oidc"
	"cambio/trust"
)

const (
	// maxAnswer bounds an answer; the largest of those that are read here, a token
	// with its groups, stays below 64 KiB. A lying service must not fill our memory.
	maxAnswer = 256 << 10
	// maxAttempts and the pauses between them are few and short, because a caller waits.
	maxAttempts = 3
	firstPause  = 50 * time.Millisecond
	// finalRetry is what a caller waits after an answer that stays what it is until
	// somebody changes the service: longer than a job tries, so that it asks once.
	finalRetry = time.Minute
	// maxParts bounds what is read of one error document.
	maxParts = 16
)

// Call is one request to a service.
type Call struct {
	Method string // default POST
	URL    string
	Header http.Header
	Body   []byte
	// Hide are the secrets that the request carries: no error repeats them.
	Hide []exchange.Secret
	// Harmless says that the call issues nothing, so that a failed one may be
	// released and repeated whatever became of it.
	Harmless bool
	// Once says that the call is never repeated, so that who is not proven yet makes
	// us ask once.
	Once bool
	// Host is the Host header where it is not that of the URL: a signature may be over
	// it.
	Host string
	// Statuses are answers too, beside those from 200 to 299: the caller reads them.
	Statuses []int
}

// Form is a call that posts a form.
func Form(to string, values url.Values, hide ...exchange.Secret) Call {
	return Call{
		URL: to, Body: []byte(values.Encode()), Hide: hide,
		Header: http.Header{"Content-Type": {"application/x-www-form-urlencoded"}, "Accept": {"application/json"}},
	}
}

// Answer is a whole answer with a status from 200 to 299, or one of [Call.Statuses].
type Answer struct {
	Status int
	Header http.Header
	Body   []byte

	shown []exchange.Secret // what the request proved itself with, and must not come back
}

// Object reads the answer as one JSON object that has exactly one meaning, and that
// repeats none of [Call.Hide], unless the call is harmless. The error holds no byte
// of it.
func (a Answer) Object() (map[string]any, error) {
	if kind, _, err := mime.ParseMediaType(a.Header.Get("Content-Type")); err != nil || kind != "application/json" {
		return nil, errors.New("the answer is no JSON")
	}
	m, err := oidc.ReadObject(a.Body)
	if err != nil {
		return nil, errors.New("the answer is not one JSON object with one meaning")
	}
	if a.repeats(m) {
		// The workload would hold our assertion: for other scopes than its grant's, and
		// wherever else its audience is taken.
		return nil, errors.New("the answer repeats what the request proved itself with")
	}
	return m, nil
}

// repeats reports a text in a JSON value that holds what was shown.
func (a Answer) repeats(v any) bool {
	switch v := v.(type) {
	case string:
		return slices.ContainsFunc(a.shown, func(s exchange.Secret) bool { return s != "" && strings.Contains(v, s.Reveal()) })
	case []any:
		return slices.ContainsFunc(v, a.repeats)
	case map[string]any:
		for _, item := range v {
			if a.repeats(item) {
				return true
			}
		}
	}
	return false
}

// Do makes one call. It is repeated after a busy or broken service that answered,
// and after a connection that was refused; never after an attempt whose outcome is
// unknown, as a second credential would be one too many for the decision.
//
// Redirects are not followed: whoever the answer names would be shown our
// assertion. The error is an [*exchange.Error] with mint-failed: Issued is false
// where the service answered that it did nothing, or nothing was sent.
func (c *Client) Do(ctx context.Context, call Call) (Answer, error) {
	for attempt, pause := 1, firstPause; ; attempt, pause = attempt+1, 2*pause {
		a, outcome := c.try(ctx, call)
		if outcome == nil {
			return a, nil
		}
		if call.Once || attempt == maxAttempts || !outcome.passing || !wait(ctx, pause) {
			return Answer{}, c.failure(outcome, call)
		}
	}
}

// wait reports whether the pause passed before the end of all calls.
func wait(ctx context.Context, pause time.Duration) bool {
	t := time.NewTimer(pause)
	defer t.Stop()
	select {
	case <-ctx.Done():
		return false
	case <-t.C:
		return true
	}
}

// outcome is what is known of a call that failed.
type outcome struct {
	why     string
	unknown bool // the service may have done it
	passing bool // another attempt may succeed, and does no harm
	answer  *Answer
}

func (c *Client) try(ctx context.Context, call Call) (Answer, *outcome) {
	method := call.Method
	if method == "" {
		method = http.MethodPost
	}
	var asked, connected atomic.Bool // a trace may be told from other goroutines
	trace := &httptrace.ClientTrace{
		GetConn: func(string) { asked.Store(true) },
		GotConn: func(httptrace.GotConnInfo) { connected.Store(true) },
	}
	req, err := http.NewRequestWithContext(httptrace.WithClientTrace(ctx, trace), method, call.URL, bytes.NewReader(call.Body))
	if err != nil {
		return Answer{}, &outcome{why: "the URL is malformed"}
	}
	req.Host = cmp.Or(call.Host, req.Host)
	req.GetBody = nil // the transport must not send it a second time by itself
	for name, values := range call.Header {
		req.Header[name] = values
	}
	// Set, it keeps the transport from unpacking: a few bytes could become many.
	req.Header.Set("Accept-Encoding", "identity")
	req.Header.Set("User-Agent", "cambio")
	resp, err := c.transport.RoundTrip(req)
	if err != nil {
		timedOut := TimedOut(ctx, err)
		if asked.Load() && !connected.Load() && !timedOut {
			return Answer{}, &outcome{why: "no connection: " + Describe(err), passing: true}
		}
		return Answer{}, lost("no answer: "+Describe(err), call)
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(io.LimitReader(resp.Body, maxAnswer+1))
	switch encoding := resp.Header.Get("Content-Encoding"); {
	case err != nil && TimedOut(ctx, err):
		return Answer{}, lost("half an answer: timed out", call)
	case err != nil:
		return Answer{}, lost("half an answer: the connection was cut", call)
	case len(body) > maxAnswer:
		return Answer{}, lost("the answer is above 256 KiB", call)
	case encoding != "" && encoding != "identity":
		return Answer{}, lost("the answer is compressed, which was not asked for", call)
	}
	a := Answer{Status: resp.StatusCode, Header: resp.Header, Body: body}
	switch {
	case a.Status >= 200 && a.Status <= 299, slices.Contains(call.Statuses, a.Status):
		if !call.Harmless { // what issues nothing may tell whom it was asked about
			a.shown = call.Hide
		}
		return a, nil
	case a.Status >= 300 && a.Status <= 399:
		return Answer{}, lost("a redirect, which is not followed", call)
	case a.Status == http.StatusTooManyRequests, a.Status >= 500 && a.Status < http.StatusBadGateway:
		return Answer{}, &outcome{answer: &a, passing: true}
	case a.Status >= 400 && a.Status < http.StatusBadGateway:
		return Answer{}, &outcome{answer: &a}
	case a.Status == http.StatusServiceUnavailable && a.explains():
		return Answer{}, &outcome{answer: &a, passing: true}
	}
	// From 502 on they are those of a proxy in between, which does not know what came
	// of the request, and may say so in JSON (API gateways answer a time-out with
	// 504 {"message"}). Only 503 is also what a service that is sealed or overloaded
	// says of itself. What is below 200 or above 599 is no answer to a request.
	return Answer{}, lost(fmt.Sprintf("a wrong answer: status %d", a.Status), call)
}

func lost(why string, call Call) *outcome {
	return &outcome{why: why, unknown: !call.Harmless, passing: call.Harmless}
}

// explains reports an error document of the service itself: RFC 6749's, Google's and
// Vault's, or Kubernetes' Status. One that has nothing but a message is any proxy's,
// whose service may have been at work when the connection between them was cut.
func (a Answer) explains() bool {
	m, err := a.Object()
	if err != nil || told(m) == "" {
		return false
	}
	return m["error"] != nil || m["errors"] != nil || m["kind"] == "Status"
}

// failure is the error of a call, for the journal and its reader.
func (c *Client) failure(o *outcome, call Call) *exchange.Error {
	if o.answer == nil {
		e := exchange.Unanswered(trust.ReasonMintFailed, fmt.Errorf("%s: %s", c.name, o.why))
		e.Issued = o.unknown
		return e
	}
	text := fmt.Sprintf("%s answered %d", c.name, o.answer.Status)
	if m, err := o.answer.Object(); err == nil {
		if said := told(m); said != "" {
			text += ": " + Clean(said, call.Hide...)
		}
	}
	e := exchange.Unanswered(trust.ReasonMintFailed, errors.New(text))
	if !o.passing {
		e.RetryAfter = finalRetry
	}
	return e
}

// told is what an error document says, in the forms that services have: RFC 6749
// section 5.2, Google's {"error": {"status", "message"}} and others' with "code" or
// "type", Kubernetes' and GitHub's {"message"}, Vault's {"errors": ["..."]} and
// Artifactory's {"errors": [{"message"}]}.
func told(m map[string]any) string {
	var parts []string
	add := func(values ...any) {
		for _, v := range values {
			if s, ok := v.(string); ok && s != "" && len(parts) < maxParts {
				parts = append(parts, s)
			}
		}
	}
	each := func(v any) {
		if e, ok := v.(map[string]any); ok {
			add(e["status"], e["code"], e["type"], e["message"])
			return
		}
		add(v)
	}
	each(m["error"])
	add(m["error_description"], m["reason"], m["message"])
	if list, ok := m["errors"].([]any); ok {
		for _, v := range list {
			each(v)
		}
	}
	return strings.Join(parts, ": ")
}

// Wrong is the error for an answer of success that is not what was ordered: the
// service issued something, and what, nobody knows. why must hold no byte of it.
func (c *Client) Wrong(why error) *exchange.Error {
	e := exchange.Unanswered(trust.ReasonMintFailed, fmt.Errorf("%s: a wrong answer: %w", c.name, why))
	e.Issued = true
	return e
}

// Broken is a fault of ours, before anything was sent.
func Broken(err error) *exchange.Error {
	return &exchange.Error{Code: exchange.ServerError, Reason: trust.ReasonMintFailed, Err: err}
}

package web

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"

	"github.com/zitadel/oidc/v3/pkg/oidc"
	"github.com/zitadel/oidc/v3/pkg/op"

	"cambio/exchange"
	"cambio/trust"
)

// token is POST /token: limit, normalise, exchange through the OAuth binding,
// answer. This function is the only one that writes to the caller; the library
// writes into a buffer.
func (s *server) token(w http.ResponseWriter, r *http.Request) {
	start := s.c.Now()
	c := callOf(r.Context())
	c.err = s.serveToken(w, r, c)
	if c.err != nil {
		s.refuse(w, r, c.err)
	}
	s.c.Observe(outcomeOf(c, s.c.Now().Sub(start)))
}

func (s *server) serveToken(w http.ResponseWriter, r *http.Request, c *call) error {
	if s.c.Limiter != nil && c.address.IsValid() {
		if wait := s.c.Limiter.Take(limitKey(c.address), s.c.Now()); wait > 0 {
			return &exchange.Error{Code: exchange.Limited, Reason: trust.ReasonRateLimited, RetryAfter: wait}
		}
	}
	form, err := readForm(w, r)
	if err != nil {
		return err
	}
	c.form = form
	r.PostForm, r.Form = form.values, form.values // parsed already: the library parses neither body nor query again
	held := heldAnswer{header: http.Header{}}
	s.oauth.ServeHTTP(&held, r)
	if c.err != nil {
		return c.err
	}
	if c.result == nil {
		return &exchange.Error{Code: exchange.ServerError, Reason: trust.ReasonPanic, Err: errors.New("the OAuth binding answered by itself")}
	}
	noStore(w.Header())
	w.Header().Set("Content-Type", "application/json")
	w.Header().Set("Content-Length", strconv.Itoa(held.body.Len()))
	_, _ = w.Write(held.body.Bytes()) // the peer has gone: the journal has the outcome
	return nil
}

func outcomeOf(c *call, elapsed time.Duration) Outcome {
	o := Outcome{Code: "ok", Elapsed: elapsed}
	if c.err == nil {
		if c.form.dryRun {
			o.Code = "dry-run"
		}
		return o
	}
	o.Code, o.Reason = string(exchange.ServerError), string(trust.ReasonPanic)
	var e *exchange.Error
	if errors.As(c.err, &e) {
		o.Code, o.Reason = string(e.Code), string(e.Reason)
	}
	return o
}

// heldAnswer keeps what the library writes until we know that it is the answer.
type heldAnswer struct {
	header http.Header
	body   bytes.Buffer
}

// Header is not sent: the answer's headers are ours.
func (h *heldAnswer) Header() http.Header { return h.header }

// WriteHeader ignores the library's status: the outcome is in the call.
func (h *heldAnswer) WriteHeader(int) {}

// Write keeps the body.
func (h *heldAnswer) Write(p []byte) (int, error) { return h.body.Write(p) }

// anonymousClient is the client_id that every token exchange carries inside:
// workloads are no OAuth clients, and what they send as client_id is ignored.
const anonymousClient = "workload"

// newBinding mounts our token exchange on the OAuth server library. Every other
// endpoint of the library stays without a route.
func newBinding(x Exchanger) http.Handler {
	return op.RegisterServer(&binding{exchanger: x}, op.Endpoints{Token: op.NewEndpoint("/token")},
		op.WithServerCORSOptions(nil), op.WithDecoder(canonical{}))
}

// canonical decodes the forms that the normaliser let through. They have one
// value a parameter, so there is nothing for the library's reflection to find
// out; a form of any other kind never gets here.
type canonical struct{}

// Decode fills the two requests that a token exchange is made of.
func (canonical) Decode(into any, values map[string][]string) error {
	form := url.Values(values)
	switch r := into.(type) {
	case *op.ClientCredentials:
		r.ClientID = form.Get("client_id")
	case *oidc.TokenExchangeRequest:
		r.GrantType = oidc.GrantType(form.Get("grant_type"))
		r.SubjectToken = form.Get("subject_token")
		r.SubjectTokenType = oidc.TokenType(form.Get("subject_token_type"))
		r.Audience, r.Resource = form["audience"], form["resource"]
	default:
		return fmt.Errorf("web: no form for a %T", into)
	}
	return nil
}

// binding implements op.Server for the one grant that is served.
type binding struct {
	op.UnimplementedServer
	exchanger Exchanger
}

// VerifyClient gives every request the same client, which may do one thing.
func (b *binding) VerifyClient(context.Context, *op.Request[op.ClientCredentials]) (op.Client, error) {
	return workloadClient{}, nil
}

// workloadClient is the anonymous client. The library asks it for no more than
// is defined here; the embedded nil interface would panic on anything else, and
// a panic is an answer of server_error.
type workloadClient struct{ op.Client }

// GetID is the same for all.
func (workloadClient) GetID() string { return anonymousClient }

// AuthMethod is none: the subject token is the proof.
func (workloadClient) AuthMethod() oidc.AuthMethod { return oidc.AuthMethodNone }

// GrantTypes is token exchange alone.
func (workloadClient) GrantTypes() []oidc.GrantType {
	return []oidc.GrantType{oidc.GrantTypeTokenExchange}
}

// answer is the body of a 200 (RFC 8693 section 2.2.1).
type answer struct {
	AccessToken     string `json:"access_token"`
	IssuedTokenType string `json:"issued_token_type"`
	TokenType       string `json:"token_type"`
	ExpiresIn       int64  `json:"expires_in"`
	Scope           string `json:"scope,omitempty"`
	Decision        string `json:"decision_id"`
}

// rehearsal is the body of a 200 to a dry run.
type rehearsal struct {
	DryRun     bool   `json:"dry_run"`
	Decision   string `json:"decision_id"`
	WouldAllow bool   `json:"would_allow"`
	ExpiresIn  int64  `json:"expires_in"`
}

// TokenExchange runs the exchange. Its error goes to the call, not to the
// library, which would log it and answer in its own words.
func (b *binding) TokenExchange(ctx context.Context, r *op.ClientRequest[oidc.TokenExchangeRequest]) (*op.Response, error) {
	c := callOf(ctx)
	req := exchange.Request{
		Decision:     c.decision,
		SubjectToken: r.Data.SubjectToken,
		Ask: trust.Request{
			Target: r.Data.Audience[0], Trust: c.form.trust, Scopes: c.form.scopes,
			TTL: c.form.ttl, Address: c.address,
		},
		CredentialType: c.form.requestedType,
		DryRun:         c.form.dryRun,
	}
	if len(r.Data.Resource) == 1 {
		req.Ask.Resource = r.Data.Resource[0]
	}
	c.result, c.err = b.exchanger.Exchange(ctx, req)
	if c.err != nil {
		return op.NewResponse(nil), nil //nolint:nilerr // the call holds it
	}
	seconds := int64(c.result.ExpiresIn / time.Second)
	if c.result.DryRun {
		return op.NewResponse(&rehearsal{DryRun: true, Decision: c.result.Decision, WouldAllow: true, ExpiresIn: seconds}), nil
	}
	return op.NewResponse(&answer{
		AccessToken: c.result.Credential.Value.Reveal(), IssuedTokenType: c.result.Credential.Type, TokenType: oidc.BearerToken,
		ExpiresIn: seconds, Scope: strings.Join(c.result.Scopes, " "), Decision: c.result.Decision,
	}), nil
}

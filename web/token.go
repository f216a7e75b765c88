package web

import (
	"bytes"
	"context"
	"encoding/json"
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
	if err := s.limitAddress(c); err != nil {
		return err
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

// limitAddress counts a request of the caller's address, before anything is
// parsed.
func (s *server) limitAddress(c *call) error {
	if s.c.Limiter == nil || !c.address.IsValid() {
		return nil
	}
	if wait := s.c.Limiter.Take(limitKey(c.address), s.c.Now()); wait > 0 {
		return &exchange.Error{Code: exchange.Limited, Reason: trust.ReasonRateLimited, RetryAfter: wait}
	}
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

// Decode fills the requests that the grants are made of. Their tokens go to the
// exchange from the call; what the library checks of them is that they are there.
func (canonical) Decode(into any, values map[string][]string) error {
	form := url.Values(values)
	switch r := into.(type) {
	case *op.ClientCredentials:
		r.ClientID = form.Get("client_id")
		r.ClientAssertion, r.ClientAssertionType = form.Get("client_assertion"), form.Get("client_assertion_type")
	case *oidc.TokenExchangeRequest:
		r.GrantType = oidc.GrantType(form.Get("grant_type"))
		r.SubjectToken = form.Get("subject_token")
		r.SubjectTokenType = oidc.TokenType(form.Get("subject_token_type"))
	case *oidc.JWTProfileGrantRequest:
		r.Assertion = form.Get("assertion")
	case *oidc.ClientCredentialsRequest:
		r.ClientAssertion, r.ClientAssertionType = form.Get("client_assertion"), form.Get("client_assertion_type")
	default:
		return fmt.Errorf("web: no form for a %T", into)
	}
	return nil
}

// binding implements op.Server for the grants that are served.
type binding struct {
	op.UnimplementedServer
	exchanger Exchanger
}

// VerifyClient gives every request the same client. Its assertion, where it
// brings one, is the token that the exchange proves.
func (b *binding) VerifyClient(_ context.Context, r *op.Request[op.ClientCredentials]) (op.Client, error) {
	return workloadClient{asserted: r.Data.ClientAssertion != ""}, nil
}

// workloadClient is the anonymous client. The library asks it for no more than
// is defined here; the embedded nil interface would panic on anything else, and
// a panic is an answer of server_error.
type workloadClient struct {
	op.Client
	asserted bool
}

// GetID is the same for all.
func (workloadClient) GetID() string { return anonymousClient }

// AuthMethod is none, as the subject token is the proof, or the assertion.
func (c workloadClient) AuthMethod() oidc.AuthMethod {
	if c.asserted {
		return oidc.AuthMethodPrivateKeyJWT
	}
	return oidc.AuthMethodNone
}

// GrantTypes are those that need a client.
func (workloadClient) GrantTypes() []oidc.GrantType {
	return []oidc.GrantType{oidc.GrantTypeTokenExchange, oidc.GrantTypeClientCredentials}
}

// TokenExchange serves RFC 8693.
func (b *binding) TokenExchange(ctx context.Context, _ *op.ClientRequest[oidc.TokenExchangeRequest]) (*op.Response, error) {
	return b.exchange(ctx), nil
}

// JWTProfile serves a token as an authorization grant (RFC 7523 section 2.1).
func (b *binding) JWTProfile(ctx context.Context, _ *op.Request[oidc.JWTProfileGrantRequest]) (*op.Response, error) {
	return b.exchange(ctx), nil
}

// ClientCredentialsExchange serves a token as the client's own proof (RFC 7523
// section 2.2).
func (b *binding) ClientCredentialsExchange(ctx context.Context, _ *op.ClientRequest[oidc.ClientCredentialsRequest]) (*op.Response, error) {
	return b.exchange(ctx), nil
}

// answer is the body of a 200 (RFC 8693 section 2.2.1).
type answer struct {
	AccessToken     string `json:"access_token"`
	IssuedTokenType string `json:"issued_token_type"`
	TokenType       string `json:"token_type"`
	ExpiresIn       int64  `json:"expires_in"`
	Scope           string `json:"scope,omitempty"`
	Decision        string `json:"decision_id"`
	// Credentials is what AccessToken holds as a text, where it is a JSON object.
	Credentials json.RawMessage `json:"credentials,omitempty"`
}

// rehearsal is the body of a 200 to a dry run.
type rehearsal struct {
	DryRun     bool   `json:"dry_run"`
	Decision   string `json:"decision_id"`
	WouldAllow bool   `json:"would_allow"`
	ExpiresIn  int64  `json:"expires_in"`
}

// exchange runs the exchange, whichever grant asked for it. An error goes to the
// call, not to the library, which would log it and answer in its own words.
func (b *binding) exchange(ctx context.Context) *op.Response {
	c := callOf(ctx)
	c.result, c.err = b.exchanger.Exchange(ctx, exchange.Request{
		Decision:     c.decision,
		SubjectToken: c.form.token, SubjectType: c.form.subjectType, Certificates: c.certificates, Certify: c.form.certify, Certifies: c.form.certifies,
		Ask: trust.Request{
			Target: c.form.target, Resource: c.form.resource, Trust: c.form.trust, Scopes: c.form.scopes,
			TTL: c.form.ttl, Address: c.address,
		},
		CredentialType: c.form.requestedType,
		DryRun:         c.form.dryRun,
		RefusedAs:      c.form.grant.refusedAs,
	})
	if c.err != nil {
		return op.NewResponse(nil)
	}
	seconds := int64(c.result.ExpiresIn / time.Second)
	if c.result.DryRun {
		return op.NewResponse(&rehearsal{DryRun: true, Decision: c.result.Decision, WouldAllow: true, ExpiresIn: seconds})
	}
	cred := c.result.Credential
	a := &answer{
		AccessToken: cred.Value.Reveal(), IssuedTokenType: cred.Type, TokenType: oidc.BearerToken,
		ExpiresIn: seconds, Scope: strings.Join(c.result.Scopes, " "), Decision: c.result.Decision,
	}
	if cred.Structured {
		// No bearer token (RFC 8693 section 2.2.1); OAuth clients want a text in
		// access_token, people the object.
		a.TokenType, a.Credentials = "N_A", json.RawMessage(a.AccessToken)
	}
	return op.NewResponse(a)
}

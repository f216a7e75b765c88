// Package oauth is the target type for any other authorization server that takes an
// assertion of ours: by a token exchange (RFC 8693), as an authorization grant (RFC
// 7523 section 2.1), or as the client's authentication (RFC 7523 section 2.2).
package oauth

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"net/http"
	"net/url"
	"regexp"
	"slices"
	"strings"
	"time"

	"cambio/exchange"
	"cambio/providers/internal/upstream"
)

// How our assertion is shown.
const (
	TokenExchange     = "token-exchange"     // RFC 8693: as the subject token
	JWTBearer         = "jwt-bearer"         // RFC 7523 section 2.1: as the grant
	ClientCredentials = "client-credentials" // RFC 7523 section 2.2: as the client's authentication
)

// The form of the request's body.
const (
	FormBody = "form" // as RFC 6749 has it
	JSONBody = "json" // an object of texts, as some servers want it instead
)

// Names of RFC 7523 and RFC 8693.
//
//nolint:gosec // names, no credentials
const (
	grantExchange   = "urn:ietf:params:oauth:grant-type:token-exchange"
	grantBearer     = "urn:ietf:params:oauth:grant-type:jwt-bearer"
	assertionType   = "urn:ietf:params:oauth:client-assertion-type:jwt-bearer"
	typeJWT         = "urn:ietf:params:oauth:token-type:jwt"
	typeIDToken     = "urn:ietf:params:oauth:token-type:id_token"
	typeAccessToken = "urn:ietf:params:oauth:token-type:access_token"
)

const (
	// expirySkew is how far a lifetime may be above what was ordered: the call takes its
	// time.
	expirySkew = 60 * time.Second
	// maxToken bounds an access token, which has to fit a header.
	maxToken = 16 << 10
)

// Config is one oauth target.
type Config struct {
	TokenURL   string            // the token endpoint: https, or http on loopback; required
	CA         []byte            // PEM; nil: the system's roots
	Grant      string            // TokenExchange, JWTBearer or ClientCredentials; required
	Body       string            // FormBody or JSONBody; required
	Audience   string            // aud of our assertion; required
	Parameters map[string]string // sent with each request; see [Parameters]
	Now        func() time.Time  // required

	MaxInFlight int           // calls at a time, the others are refused; default 64
	Timeout     time.Duration // of a whole Mint, retries included; default 8 s
}

// Minter gets access tokens of another authorization server. It is safe for
// concurrent use; one must not be shared between targets.
type Minter struct {
	client *upstream.Client
	c      Config
}

// New returns the minter of one target. It calls nobody, discovery neither: the
// endpoint is the configuration's to say.
func New(c Config) (*Minter, error) {
	switch {
	case c.Now == nil:
		return nil, errors.New("oauth: Config lacks Now")
	case c.Audience == "":
		return nil, errors.New("oauth: Config lacks Audience")
	case c.Grant != TokenExchange && c.Grant != JWTBearer && c.Grant != ClientCredentials:
		return nil, errors.New("oauth: no such grant")
	case c.Body != FormBody && c.Body != JSONBody:
		return nil, errors.New("oauth: no such body")
	}
	if name, problem := Parameters(c.Parameters); problem != "" {
		return nil, fmt.Errorf("oauth: the parameter %s %s", name, problem)
	}
	if err := upstream.CheckEndpoint(c.TokenURL); err != nil {
		return nil, fmt.Errorf("oauth: %w", err)
	}
	client, err := upstream.New(upstream.Config{Name: "the authorization server", CA: c.CA, MaxInFlight: c.MaxInFlight, Timeout: c.Timeout})
	if err != nil {
		return nil, fmt.Errorf("oauth: %w", err)
	}
	return &Minter{client: client, c: c}, nil
}

// Mint shows our assertion to the authorization server and returns its access token.
// What a grant says overrides what the target says of the same name; neither
// overrides what is ours. A refresh token that comes with it is dropped: it would
// outlive the decision.
//
// How long the token lives is the server's to say. A token that lives longer than was
// ordered is refused, and so is one that does not say how long (RFC 6749 section 5.1
// leaves that open): nobody could tell when it ends.
func (m *Minter) Mint(ctx context.Context, o exchange.Order) (exchange.Credential, error) {
	own, problem := extra(o.Grant)
	if problem != "" {
		return exchange.Credential{}, upstream.Broken(errors.New("the grant's parameters: " + problem))
	}
	if name, problem := Parameters(own); problem != "" {
		return exchange.Credential{}, upstream.Broken(fmt.Errorf("the grant's parameter %s %s", name, problem))
	}
	ctx, leave, err := m.client.Enter(ctx)
	if err != nil {
		return exchange.Credential{}, err
	}
	defer leave()
	assertion, err := o.Assert(m.c.Audience, exchange.RS256)
	if err != nil {
		return exchange.Credential{}, err
	}
	parameters := m.parameters(own, o, assertion)
	call, err := m.call(parameters, assertion)
	if err != nil {
		return exchange.Credential{}, err
	}
	answer, err := m.client.Do(ctx, call)
	if err != nil {
		return exchange.Credential{}, err
	}
	got, err := m.check(answer, o, parameters["requested_token_type"])
	if err != nil {
		return exchange.Credential{}, m.client.Wrong(err)
	}
	got.Type = o.Type
	return got, nil
}

// parameters are all that is sent.
func (m *Minter) parameters(own map[string]string, o exchange.Order, assertion exchange.Secret) map[string]string {
	all := map[string]string{}
	if m.c.Grant == TokenExchange {
		all["subject_token_type"] = typeJWT // the one of ours that may be overridden
	}
	maps.Copy(all, m.c.Parameters)
	maps.Copy(all, own)
	switch m.c.Grant {
	case TokenExchange:
		all["grant_type"], all["subject_token"] = grantExchange, assertion.Reveal()
	case JWTBearer:
		all["grant_type"], all["assertion"] = grantBearer, assertion.Reveal()
	case ClientCredentials:
		all["grant_type"] = "client_credentials"
		all["client_assertion_type"], all["client_assertion"] = assertionType, assertion.Reveal()
	}
	if o.Grant.Resource != "" {
		all["resource"] = o.Grant.Resource
	}
	if len(o.Grant.Scopes) > 0 {
		all["scope"] = strings.Join(o.Grant.Scopes, " ")
	}
	return all
}

func (m *Minter) call(parameters map[string]string, assertion exchange.Secret) (upstream.Call, error) {
	if m.c.Body == FormBody {
		form := make(url.Values, len(parameters))
		for name, value := range parameters {
			form.Set(name, value)
		}
		return upstream.Form(m.c.TokenURL, form, assertion), nil
	}
	body, err := json.Marshal(parameters)
	if err != nil {
		return upstream.Call{}, upstream.Broken(errors.New("the request cannot be written"))
	}
	return upstream.Call{
		URL: m.c.TokenURL, Body: body, Hide: []exchange.Secret{assertion},
		Header: http.Header{"Content-Type": {"application/json"}, "Accept": {"application/json"}},
	}, nil
}

var tokenForm = regexp.MustCompile(`^[!-~]+$`)

// check holds the answer against the order. No error holds anything of it.
func (m *Minter) check(answer upstream.Answer, o exchange.Order, requested string) (exchange.Credential, error) {
	if answer.Status != http.StatusOK {
		return exchange.Credential{}, errors.New("success, but not 200")
	}
	body, err := answer.Object()
	if err != nil {
		return exchange.Credential{}, err
	}
	token, _ := body["access_token"].(string)
	seconds, isNumber := body["expires_in"].(int64)
	switch {
	case len(token) > maxToken || !tokenForm.MatchString(token):
		return exchange.Credential{}, errors.New("access_token is missing or malformed")
	case body["expires_in"] == nil:
		return exchange.Credential{}, errors.New("the answer does not say how long the token lives (expires_in)")
	case !isNumber || seconds <= 0:
		return exchange.Credential{}, errors.New("expires_in is no number of seconds")
	case seconds > int64((o.Grant.TTL+expirySkew)/time.Second):
		return exchange.Credential{}, errors.New("the token lives longer than was ordered: have the server issue shorter ones, or raise the grant's ttl")
	}
	if err := m.checkType(body, requested); err != nil {
		return exchange.Credential{}, err
	}
	if err := checkScope(body, o.Grant.Scopes); err != nil {
		return exchange.Credential{}, err
	}
	return exchange.Credential{
		Value: exchange.Secret(token), Expires: m.c.Now().Add(time.Duration(seconds) * time.Second).UTC().Truncate(time.Second),
		Handle: upstream.Handle(exchange.Secret(token)),
	}, nil
}

// checkType refuses what is no bearer token: a token that is bound to a key (DPoP)
// is of no use to who gets it, and a refresh token outlives everything.
func (m *Minter) checkType(body map[string]any, requested string) error {
	kind, _ := body["token_type"].(string)
	notBearer := m.c.Grant == TokenExchange && strings.EqualFold(kind, "N_A")
	if !strings.EqualFold(kind, "Bearer") && !notBearer {
		return errors.New("token_type is neither Bearer nor, of a token exchange, N_A")
	}
	issued, there := body["issued_token_type"]
	if !there {
		return nil // RFC 8693 wants it, and servers leave it out
	}
	name, _ := issued.(string)
	switch {
	case requested != "" && name != requested:
		return errors.New("issued_token_type is another than was asked for")
	case !slices.Contains(issuedTypes(), name):
		return errors.New("issued_token_type is no access token")
	}
	return nil
}

// issuedTypes are what may come: a refresh token outlives the decision.
func issuedTypes() []string { return []string{typeAccessToken, typeJWT, typeIDToken} }

// checkScope refuses a scope that was not asked for. An answer without scope says
// that it is what was asked (RFC 6749 section 5.1). Where the grant names none, the
// server's default is what the reviewers left it.
func checkScope(body map[string]any, asked []string) error {
	v, there := body["scope"]
	if !there || len(asked) == 0 {
		return nil
	}
	text, ok := v.(string)
	if !ok {
		return errors.New("scope is no text")
	}
	for s := range strings.SplitSeq(text, " ") {
		if s != "" && !slices.Contains(asked, s) {
			return errors.New("the token has a scope that was not asked for")
		}
	}
	return nil
}

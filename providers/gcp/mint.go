package gcp

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"

	"cambio/exchange"
	"cambio/providers/internal/upstream"
)

// Google's own services.
const (
	usualSTS = "https://sts.googleapis.com"
	usualIAM = "https://iamcredentials.googleapis.com"
)

// Config is one gcp target.
type Config struct {
	// Audience is the full resource name of the pool's provider; required.
	Audience string
	// Endpoint is another place that serves both the Security Token Service and the
	// IAM Service Account Credentials API: https, or http on loopback. "": Google's
	// own two.
	Endpoint    string
	CA          []byte            // PEM, for Endpoint; nil: the system's roots
	Now         func() time.Time  // required
	Transport   http.RoundTripper // nil: TLS 1.2 or newer, bounded, and no proxy
	MaxInFlight int               // callers at a time, the others are refused; default 64
	Timeout     time.Duration     // of a whole Mint; default 8 s
}

// Minter issues credentials of Google Cloud. It is safe for concurrent use, and
// keeps nothing of one order for the next. One must not be shared between targets.
type Minter struct {
	client   *upstream.Client
	audience string
	sts, iam string
	now      func() time.Time
}

// New returns the minter of one target. It calls nobody, and reads neither
// environment nor files nor a metadata server: an ambient identity must never take
// the place of the assertion.
func New(c Config) (*Minter, error) {
	if c.Now == nil {
		return nil, errors.New("gcp: Config lacks Now")
	}
	if err := CheckAudience(c.Audience); err != nil {
		return nil, fmt.Errorf("gcp: %w", err)
	}
	m := &Minter{audience: c.Audience, sts: usualSTS, iam: usualIAM, now: c.Now}
	if c.Endpoint != "" {
		if err := upstream.CheckEndpoint(c.Endpoint); err != nil {
			return nil, fmt.Errorf("gcp: %w", err)
		}
		m.sts = strings.TrimSuffix(c.Endpoint, "/")
		m.iam = m.sts
	}
	var err error
	m.client, err = upstream.New(upstream.Config{
		Name: "Google", CA: c.CA, Transport: c.Transport, MaxInFlight: c.MaxInFlight, Timeout: c.Timeout,
	})
	if err != nil {
		return nil, fmt.Errorf("gcp: %w", err)
	}
	return m, nil
}

// Mint shows our assertion to Google's Security Token Service, and goes on with the
// federated token as the grant says: as a service account, for an ID token, through
// a boundary; or hands it out as it is.
//
// Each step is taken at most once where its outcome is unknown. An error with Issued
// false means that Google answered that it issued nothing in the step that failed;
// what a step before it issued was shown to nobody.
func (m *Minter) Mint(ctx context.Context, o exchange.Order) (exchange.Credential, error) {
	w, field, problem := read(o.Grant)
	if problem != "" {
		return exchange.Credential{}, upstream.Broken(fmt.Errorf("the grant's %s %s", field, problem))
	}
	ctx, leave, err := m.client.Enter(ctx)
	if err != nil {
		return exchange.Credential{}, err
	}
	defer leave()
	assertion, err := m.assert(o, w)
	if err != nil {
		return exchange.Credential{}, err
	}
	got, err := m.federate(ctx, assertion, w)
	if err != nil {
		return exchange.Credential{}, err
	}
	switch {
	case w.audience != "":
		got, err = m.idToken(ctx, got, w)
	case w.account != "":
		got, err = m.actAs(ctx, got, w, o)
	}
	if err == nil && w.boundary != "" {
		got, err = m.narrow(ctx, got, w)
	}
	if err != nil {
		return exchange.Credential{}, err
	}
	return m.deliver(got, w, o)
}

// assert signs what is shown to the Security Token Service: who asks, and nothing
// else. A federated token ends with it, so that direct access ends when the grant
// says.
func (m *Minter) assert(o exchange.Order, w wanted) (exchange.Secret, error) {
	if end := o.Issued.Add(o.Grant.TTL); w.account == "" && end.Before(o.Expires) {
		o.Expires = end
	}
	o.Grant.Scopes = nil
	assertion, err := o.Assert(assertionAudience(m.audience), exchange.RS256)
	if err != nil {
		return "", err
	}
	claims, err := upstream.Claims(assertion.Reveal())
	if err != nil {
		return "", upstream.Broken(err)
	}
	if sub, _ := claims["sub"].(string); len(sub) > maxSubject {
		return "", upstream.Broken(fmt.Errorf("sub has %d bytes, and Google takes %d: set subject: trust for the target", len(sub), maxSubject))
	}
	return assertion, nil
}

const (
	grantExchange = "urn:ietf:params:oauth:grant-type:token-exchange"
	typeJWT       = "urn:ietf:params:oauth:token-type:jwt"
)

// federate exchanges our assertion for the token of a principal of the pool (RFC
// 8693).
func (m *Minter) federate(ctx context.Context, assertion exchange.Secret, w wanted) (issued, error) {
	scope := scopePlatform // as an account, it is the next call that is narrow
	if w.account == "" {
		scope = strings.Join(w.scopes, " ")
	}
	began := m.now()
	answer, err := m.client.Do(ctx, upstream.Form(m.sts+"/v1/token", url.Values{
		"grant_type":           {grantExchange},
		"audience":             {m.audience},
		"scope":                {scope},
		"requested_token_type": {typeAccess},
		"subject_token":        {assertion.Reveal()},
		"subject_token_type":   {typeJWT},
	}, assertion))
	if err != nil {
		return issued{}, err
	}
	got, err := readExchange(answer, began, time.Time{})
	if err == nil {
		err = got.unlike(assertion)
	}
	return m.held(got, err)
}

// actAs asks for an access token of the service account.
func (m *Minter) actAs(ctx context.Context, federated issued, w wanted, o exchange.Order) (issued, error) {
	scopes := w.scopes
	if w.database != nil {
		scopes = []string{scopeLogin}
	}
	answer, err := m.ask(ctx, federated.token, w.account, "generateAccessToken", struct {
		Delegates []string `json:"delegates,omitempty"`
		Lifetime  string   `json:"lifetime"`
		Scope     []string `json:"scope"`
	}{resources(w.delegates), strconv.FormatInt(int64(o.Grant.TTL/time.Second), 10) + "s", scopes})
	if err != nil {
		return issued{}, err
	}
	got, err := readAccess(answer)
	if err == nil {
		err = got.unlike(federated.token)
	}
	return m.held(got, err)
}

// idToken asks for an ID token of the service account.
func (m *Minter) idToken(ctx context.Context, federated issued, w wanted) (issued, error) {
	answer, err := m.ask(ctx, federated.token, w.account, "generateIdToken", struct {
		Audience     string   `json:"audience"`
		Delegates    []string `json:"delegates,omitempty"`
		IncludeEmail bool     `json:"includeEmail"`
	}{w.audience, resources(w.delegates), true})
	if err != nil {
		return issued{}, err
	}
	got, err := readID(answer, w)
	if err == nil {
		err = got.unlike(federated.token)
	}
	return m.held(got, err)
}

// narrow exchanges an account's access token for one within the boundary.
func (m *Minter) narrow(ctx context.Context, whole issued, w wanted) (issued, error) {
	bounds, err := options(w.boundary)
	if err != nil {
		return issued{}, upstream.Broken(errors.New("the grant's boundary cannot be written"))
	}
	began := m.now()
	answer, err := m.client.Do(ctx, upstream.Form(m.sts+"/v1/token", url.Values{
		"grant_type":           {grantExchange},
		"requested_token_type": {typeAccess},
		"subject_token":        {whole.token.Reveal()},
		"subject_token_type":   {typeAccess},
		"options":              {bounds},
	}, whole.token))
	if err != nil {
		return issued{}, err
	}
	got, err := readExchange(answer, began, whole.expires)
	if err == nil {
		// The same token again would be one without the boundary.
		err = got.unlike(whole.token)
	}
	return m.held(got, err)
}

// held is what came, or the refusal of what is wrong with it.
func (m *Minter) held(got issued, err error) (issued, error) {
	if err != nil {
		return issued{}, m.client.Wrong(err)
	}
	return got, nil
}

// ask calls a method of the IAM Service Account Credentials API.
func (m *Minter) ask(ctx context.Context, bearer exchange.Secret, account, method string, body any) (upstream.Answer, error) {
	b, err := json.Marshal(body)
	if err != nil {
		return upstream.Answer{}, upstream.Broken(errors.New("the request cannot be written"))
	}
	return m.client.Do(ctx, upstream.Call{
		URL:  m.iam + "/v1/" + resource(account) + ":" + method,
		Body: b, Hide: []exchange.Secret{bearer},
		Header: http.Header{
			"Content-Type": {"application/json"}, "Accept": {"application/json"},
			"Authorization": {"Bearer " + bearer.Reveal()},
		},
	})
}

// resource is how the API names a service account.
func resource(account string) string { return "projects/-/serviceAccounts/" + account }

func resources(accounts []string) []string {
	var out []string
	for _, a := range accounts {
		out = append(out, resource(a))
	}
	return out
}

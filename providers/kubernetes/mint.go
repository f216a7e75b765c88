package kubernetes

import (
	"context"
	"encoding/json"
	"errors"
	"net/http"
	"regexp"
	"slices"
	"strings"
	"time"

	"cambio/exchange"
	"cambio/providers/internal/upstream"
)

// expirySkew is how far the cluster's clock may be ahead of ours.
const expirySkew = 60 * time.Second

// JWTMinter issues JWTs of ours that a cluster takes as they are: it trusts our
// issuer by its AuthenticationConfiguration, which `cambio connect` prints. It
// calls nobody.
//
// They are signed with RS256: API servers that take issuers by flags take nothing
// else unless told to.
type JWTMinter struct {
	Audience string // aud, exactly
}

// Mint signs the JWT that the order's decision already names. An error means that
// nothing was issued.
func (m JWTMinter) Mint(_ context.Context, o exchange.Order) (exchange.Credential, error) {
	o.Grant.Claims = nil
	if groups, _ := o.Grant.Extra[fieldGroups].([]string); len(groups) > 0 {
		o.Grant.Claims = map[string]any{"groups": groups}
	}
	token, err := o.Assert(m.Audience, exchange.RS256)
	if err != nil {
		return exchange.Credential{}, err
	}
	return exchange.Credential{Value: token, Type: o.Type, Handle: o.ID, Expires: o.Expires}, nil
}

// Config is one kubernetes target that has a server.
type Config struct {
	Server      string // URL of the API server: https, or http on loopback
	CA          []byte // PEM; nil: the system's roots
	Audience    string // aud of our assertion; required
	Now         func() time.Time
	Transport   http.RoundTripper // nil: TLS 1.2 or newer, bounded, and no proxy
	MaxInFlight int               // calls at a time, the others are refused; default 64
	Timeout     time.Duration     // of a whole Mint, retries included; default 8 s
}

// Minter has an API server make tokens of service accounts (TokenRequest). It
// authenticates with an assertion of ours, which the cluster trusts by its
// AuthenticationConfiguration, and keeps no token of the cluster. It is safe for
// concurrent use; targets must not share one.
type Minter struct {
	server   string
	audience string
	now      func() time.Time
	client   *upstream.Client
}

// New returns the minter of one target. It calls nobody.
func New(c Config) (*Minter, error) {
	if c.Now == nil || c.Audience == "" {
		return nil, errors.New("kubernetes: Config lacks Now or Audience")
	}
	if err := upstream.CheckEndpoint(c.Server); err != nil {
		return nil, err
	}
	client, err := upstream.New(upstream.Config{Name: "the cluster", CA: c.CA, Transport: c.Transport, MaxInFlight: c.MaxInFlight, Timeout: c.Timeout})
	if err != nil {
		return nil, err
	}
	return &Minter{server: strings.TrimSuffix(c.Server, "/"), audience: c.Audience, now: c.Now, client: client}, nil
}

// tokenRequest is TokenRequest of authentication.k8s.io/v1, as far as we send it.
type tokenRequest struct {
	APIVersion string           `json:"apiVersion"`
	Kind       string           `json:"kind"`
	Spec       tokenRequestSpec `json:"spec"`
}

type tokenRequestSpec struct {
	Audiences         []string `json:"audiences"` // none: the API server's own
	ExpirationSeconds int64    `json:"expirationSeconds"`
}

// Mint orders a token of the grant's service account.
func (m *Minter) Mint(ctx context.Context, o exchange.Order) (exchange.Credential, error) {
	namespace, name, ok := account(o.Grant.Resource)
	if !ok {
		return exchange.Credential{}, upstream.Broken(errors.New("the grant's resource is no service account"))
	}
	audiences, _ := o.Grant.Extra[fieldAudiences].([]string)
	ctx, leave, err := m.client.Enter(ctx)
	if err != nil {
		return exchange.Credential{}, err
	}
	defer leave()
	o.Grant.Claims = nil // no groups: what the assertion may do is to make this token
	assertion, err := o.Assert(m.audience, exchange.RS256)
	if err != nil {
		return exchange.Credential{}, err
	}
	body, err := json.Marshal(tokenRequest{"authentication.k8s.io/v1", "TokenRequest", tokenRequestSpec{
		Audiences: append([]string{}, audiences...), ExpirationSeconds: int64(o.Grant.TTL / time.Second),
	}})
	if err != nil {
		return exchange.Credential{}, upstream.Broken(errors.New("the request cannot be written as JSON"))
	}
	a, err := m.client.Do(ctx, upstream.Call{
		URL:  m.server + "/api/v1/namespaces/" + namespace + "/serviceaccounts/" + name + "/token",
		Body: body, Hide: []exchange.Secret{assertion},
		Header: http.Header{"Authorization": {"Bearer " + assertion.Reveal()}, "Content-Type": {"application/json"}, "Accept": {"application/json"}},
	})
	if err != nil {
		return exchange.Credential{}, err
	}
	got, err := m.check(a, namespace, name, audiences, o.Grant.TTL)
	if err != nil {
		return exchange.Credential{}, m.client.Wrong(err)
	}
	got.Type = o.Type
	return got, nil
}

// idForm is what a jti looks like, where it can stand in a journal.
var idForm = regexp.MustCompile(`^[A-Za-z0-9._:-]{1,128}$`)

// check holds the answer against what was ordered. No error holds a byte of it.
// The token's signature is the cluster's affair: who answered is proven by TLS.
func (m *Minter) check(a upstream.Answer, namespace, name string, audiences []string, asked time.Duration) (exchange.Credential, error) {
	if a.Status != http.StatusCreated && a.Status != http.StatusOK {
		return exchange.Credential{}, errors.New("neither 200 nor 201")
	}
	answer, err := a.Object()
	if err != nil {
		return exchange.Credential{}, err
	}
	status, _ := answer["status"].(map[string]any)
	token, _ := status["token"].(string)
	if len(token) > maxOwnToken || strings.ContainsFunc(token, func(c rune) bool { return c <= ' ' || c > '~' }) {
		return exchange.Credential{}, errors.New("the answer holds no token")
	}
	claims, err := upstream.Claims(token)
	if err != nil {
		return exchange.Credential{}, err
	}
	if claims["sub"] != "system:serviceaccount:"+namespace+":"+name {
		// The journal would name one account, and the workload hold another's token.
		return exchange.Credential{}, errors.New("the token is of another service account")
	}
	details, _ := claims["kubernetes.io"].(map[string]any)
	serviceAccount, _ := details["serviceaccount"].(map[string]any)
	if details["namespace"] != namespace || serviceAccount["name"] != name {
		return exchange.Credential{}, errors.New("the token's claims name another service account")
	}
	if !sameAudiences(claims["aud"], audiences) {
		return exchange.Credential{}, errors.New("the token is for another audience")
	}
	seconds, ok := claims["exp"].(int64)
	expires, now := time.Unix(seconds, 0).UTC(), m.now()
	switch {
	case !ok:
		return exchange.Credential{}, errors.New("the token has no exp")
	case !expires.After(now):
		return exchange.Credential{}, errors.New("the token has expired")
	case expires.After(now.Add(asked + expirySkew)):
		// A cluster may be set up to prolong tokens by a year; that is not what was decided.
		return exchange.Credential{}, errors.New("the token lives longer than was asked for")
	}
	said, _ := status["expirationTimestamp"].(string)
	if at, err := time.Parse(time.RFC3339, said); err != nil || at.After(now.Add(asked+expirySkew)) {
		return exchange.Credential{}, errors.New("the answer's expirationTimestamp is missing, or later than was asked for")
	}
	id, _ := claims["jti"].(string)
	if !idForm.MatchString(id) { // clusters before 1.29 give none
		id = upstream.Handle(exchange.Secret(token))
	}
	return exchange.Credential{Value: exchange.Secret(token), Handle: id, Expires: expires}, nil
}

// sameAudiences reports whether aud is exactly what was asked for; where nothing
// was, the API server names its own.
func sameAudiences(aud any, asked []string) bool {
	var got []string
	switch aud := aud.(type) {
	case string:
		got = []string{aud}
	case []any:
		for _, a := range aud {
			s, ok := a.(string)
			if !ok {
				return false
			}
			got = append(got, s)
		}
	}
	if len(asked) == 0 {
		return len(got) > 0 && !slices.Contains(got, "")
	}
	slices.Sort(got)
	return slices.Equal(slices.Compact(got), slices.Sorted(slices.Values(asked)))
}

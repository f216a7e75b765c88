package vault

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"

	"cambio/exchange"
	"cambio/providers/internal/upstream"
)

// expirySkew is how far a lifetime may be above what was ordered: the call takes its
// time.
const expirySkew = 60 * time.Second

// maxToken bounds a token: Vault's are some 100 bytes, and more with namespaces.
const maxToken = 4 << 10

// Vault's headers (HTTP API, "Overview").
const (
	headerToken     = "X-Vault-Token" //nolint:gosec // the name of a header
	headerNamespace = "X-Vault-Namespace"
	headerWrap      = "X-Vault-Wrap-Ttl"
	headerRequest   = "X-Vault-Request"
)

// Config is one vault target.
type Config struct {
	Server      string           // URL: https, or http on loopback; required
	CA          []byte           // PEM; nil: the system's roots
	Namespace   string           // "": the root's
	Mount       string           // path of the JWT auth method; required
	Audience    string           // aud of our assertion; required
	Now         func() time.Time // required
	MaxInFlight int              // calls at a time, the others are refused; default 64
	Timeout     time.Duration    // of a whole Mint, retries included; default 8 s
}

// Minter logs in to Vault or OpenBao with our assertion. It is safe for concurrent
// use; one must not be shared between targets.
type Minter struct {
	client    *upstream.Client
	server    string
	namespace string
	mount     string
	audience  string
	now       func() time.Time
}

// New returns the minter of one target. It calls nobody, and reads no environment: a
// VAULT_TOKEN of the gateway's must never leave with it.
func New(c Config) (*Minter, error) {
	switch {
	case c.Now == nil:
		return nil, errors.New("vault: Config lacks Now")
	case c.Audience == "":
		return nil, errors.New("vault: Config lacks Audience")
	case !Path(c.Mount):
		return nil, errors.New("vault: Mount is no path of an auth method")
	case c.Namespace != "" && !Path(c.Namespace):
		return nil, errors.New("vault: Namespace is none")
	}
	if err := upstream.CheckEndpoint(c.Server); err != nil {
		return nil, fmt.Errorf("vault: %w", err)
	}
	client, err := upstream.New(upstream.Config{Name: "Vault", CA: c.CA, MaxInFlight: c.MaxInFlight, Timeout: c.Timeout})
	if err != nil {
		return nil, fmt.Errorf("vault: %w", err)
	}
	return &Minter{
		client: client, server: strings.TrimSuffix(c.Server, "/"), namespace: c.Namespace, mount: c.Mount,
		audience: c.Audience, now: c.Now,
	}, nil
}

// Mint logs in to the grant's role. A token that is not what was ordered is refused,
// and Vault asked to revoke it; nobody has it then, but whether it was revoked is not
// waited to be known.
//
// How long a token lives is the role's to say: no login asks for it. One that was
// asked to be shorter than the role makes it is refused.
//
// With wrap, what comes is the wrapping token, to be opened once by who asked. What
// is in it cannot be looked at without opening it: that it has no other policies and
// no longer life rests on the role, whose limits `cambio connect` prints.
func (m *Minter) Mint(ctx context.Context, o exchange.Order) (exchange.Credential, error) {
	want, _, problem := readGrant(o.Grant)
	if problem != "" {
		return exchange.Credential{}, upstream.Broken(errors.New("the grant cannot be read: " + problem))
	}
	ctx, leave, err := m.client.Enter(ctx)
	if err != nil {
		return exchange.Credential{}, err
	}
	defer leave()
	assertion, err := o.Assert(m.audience, exchange.RS256)
	if err != nil {
		return exchange.Credential{}, err
	}
	body, err := json.Marshal(map[string]string{"role": want.role, "jwt": assertion.Reveal()})
	if err != nil {
		return exchange.Credential{}, upstream.Broken(errors.New("the login cannot be written"))
	}
	call := upstream.Call{URL: m.server + "/v1/" + m.login(), Body: body, Hide: []exchange.Secret{assertion}, Header: m.header("")}
	if want.wrap > 0 {
		call.Header.Set(headerWrap, strconv.Itoa(int(want.wrap/time.Second)))
	}
	answer, err := m.client.Do(ctx, call)
	if err != nil {
		return exchange.Credential{}, err
	}
	got, token, err := m.check(answer, want, o)
	if err != nil {
		m.revoke(ctx, token)
		return exchange.Credential{}, m.client.Wrong(err)
	}
	got.Type = o.Type
	return got, nil
}

func (m *Minter) login() string { return "auth/" + m.mount + "/login" }

// header are the headers of a call, by the holder of this token.
func (m *Minter) header(token string) http.Header {
	h := http.Header{"Content-Type": {"application/json"}, "Accept": {"application/json"}}
	h.Set(headerRequest, "true") // what proxies of Vault's want, against forged requests
	if m.namespace != "" {
		h.Set(headerNamespace, m.namespace)
	}
	if token != "" {
		h.Set(headerToken, token)
	}
	return h
}

// revoke asks Vault to take back a token that is not what was ordered. It is one
// attempt at its best: the error that is told is why.
func (m *Minter) revoke(ctx context.Context, token string) {
	if token == "" {
		return
	}
	_, _ = m.client.Do(ctx, upstream.Call{
		URL: m.server + "/v1/auth/token/revoke-self", Body: []byte("{}"), Header: m.header(token),
		Hide: []exchange.Secret{exchange.Secret(token)},
	})
}

var (
	tokenForm    = regexp.MustCompile(`^[A-Za-z0-9._-]{8,}$`)
	accessorForm = regexp.MustCompile(`^[A-Za-z0-9._-]{8,256}$`)
)

// check holds the answer against the order. No error holds anything of it. token is
// what is to be revoked, where there is one.
func (m *Minter) check(answer upstream.Answer, want ordered, o exchange.Order) (got exchange.Credential, token string, err error) {
	if answer.Status != http.StatusOK {
		return got, "", errors.New("success, but not 200")
	}
	body, err := answer.Object()
	if err != nil {
		return got, "", err
	}
	auth, _ := body["auth"].(map[string]any)
	wrapping, _ := body["wrap_info"].(map[string]any)
	if want.wrap > 0 {
		if auth != nil {
			token, _ = auth["client_token"].(string)
			return got, sendable(token), errors.New("the token came without its wrapping")
		}
		got, err = m.wrapped(wrapping, want, o)
		return got, "", err // a wrapping token cannot revoke what is in it
	}
	if wrapping != nil {
		return got, "", errors.New("a wrapping came that was not asked for")
	}
	token, _ = auth["client_token"].(string)
	token = sendable(token)
	accessor, _ := auth["accessor"].(string)
	seconds, _ := auth["lease_duration"].(int64)
	metadata, _ := auth["metadata"].(map[string]any)
	switch {
	case token == "":
		return got, "", errors.New("the token is missing or malformed")
	case auth["token_type"] != "service" || !accessorForm.MatchString(accessor):
		return got, token, errors.New("the token is no service token: another has no accessor, and nobody could revoke it")
	case accessor == token:
		return got, token, errors.New("the accessor is the token")
	case auth["orphan"] != true:
		return got, token, errors.New("the token is somebody's child: it would end with another one, or is not of a login")
	case metadata["role"] != want.role:
		return got, token, errors.New("the token is of another role")
	case seconds <= 0:
		return got, token, errors.New("lease_duration is no number of seconds: the token would not end")
	case seconds > int64((o.Grant.TTL+expirySkew)/time.Second):
		return got, token, errors.New("the token lives longer than was ordered: set the role's token_ttl and token_explicit_max_ttl to the grant's ttl")
	}
	if err := bounded(auth, want.policies); err != nil {
		return got, token, err
	}
	return exchange.Credential{Value: exchange.Secret(token), Handle: accessor, Expires: m.end(time.Duration(seconds) * time.Second)}, "", nil
}

// sendable is a token that can stand in a header; else "".
func sendable(token string) string {
	if len(token) > maxToken || !tokenForm.MatchString(token) {
		return ""
	}
	return token
}

func (m *Minter) end(after time.Duration) time.Time {
	return m.now().Add(after).UTC().Truncate(time.Second)
}

// bounded reports a policy of the token that the grant does not list. policies are
// all that the token has; the other two are where they come from, and identity
// policies come from groups that nobody here reviews.
func bounded(auth map[string]any, granted []string) error {
	for _, member := range []string{"policies", "token_policies", "identity_policies"} {
		v, there := auth[member]
		if !there || v == nil {
			if member == "policies" {
				return errors.New("the answer does not say which policies the token has")
			}
			continue
		}
		list, ok := v.([]any)
		if !ok {
			return errors.New(member + " is no list")
		}
		for _, item := range list {
			if name, ok := item.(string); !ok || !slices.Contains(granted, name) {
				return errors.New("the token has a policy in " + member + " that the grant does not list")
			}
		}
	}
	return nil
}

// wrapped holds a wrapping against the order. Its creation_path proves what is in it:
// somebody in between could else have opened it and wrapped another one.
func (m *Minter) wrapped(wrapping map[string]any, want ordered, o exchange.Order) (exchange.Credential, error) {
	token, _ := wrapping["token"].(string)
	accessor, _ := wrapping["wrapped_accessor"].(string)
	seconds, _ := wrapping["ttl"].(int64)
	path, _ := wrapping["creation_path"].(string)
	switch {
	case sendable(token) == "":
		return exchange.Credential{}, errors.New("the wrapping token is missing or malformed")
	case path != m.login() && (m.namespace == "" || path != m.namespace+"/"+m.login()):
		return exchange.Credential{}, errors.New("the wrapping is of something else than the login")
	case !accessorForm.MatchString(accessor) || accessor == token:
		return exchange.Credential{}, errors.New("the wrapping names no accessor of what is in it")
	case seconds <= 0 || seconds > int64(want.wrap/time.Second):
		return exchange.Credential{}, errors.New("the wrapping lives longer than was ordered")
	}
	// Until then what is in it may live, whoever opened it; the wrapping ends before.
	return exchange.Credential{Value: exchange.Secret(token), Handle: accessor, Expires: o.Issued.Add(o.Grant.TTL)}, nil
}

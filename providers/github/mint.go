package github

import (
	"context"
	"crypto"
	"crypto/rsa"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"

	"cambio/exchange"
	"cambio/providers/internal/upstream"
)

const (
	// Where github.com answers; GitHub Enterprise Server is at https://HOST/api/v3.
	ownEndpoint = "https://api.github.com"
	// apiVersion and accept are what GitHub's documentation tells clients to send.
	apiVersion = "2022-11-28"
	accept     = "application/vnd.github+json"

	// The App's own JWT lives ten minutes at most; a minute back is for clocks.
	appBack  = time.Minute
	appLives = 5 * time.Minute

	// expirySkew is how far GitHub's clock may be ahead of ours.
	expirySkew = 60 * time.Second
)

// The forms of the ids of an App and of its installation. An App is named by its id
// or its client id.
var (
	AppForm          = regexp.MustCompile(`^[A-Za-z0-9][A-Za-z0-9.]{0,63}$`)
	InstallationForm = regexp.MustCompile(`^[1-9][0-9]{0,17}$`)
)

// maxToken bounds an installation token: the stateless ones are below 600 bytes.
const maxToken = 1024

// tokenForm is an installation token, in its forms before and since 2026-04.
var tokenForm = regexp.MustCompile(`^(?:ghs_|v1\.)[A-Za-z0-9_.-]{16,}$`)

// Config is one github target.
type Config struct {
	App          string        // id or client id of the App
	Installation string        // id of its installation
	Key          crypto.Signer // RSA; the App's private key, the one secret
	Endpoint     string        // of a GitHub Enterprise Server; "": github.com
	Rand         io.Reader     // of signatures
	Now          func() time.Time
	Transport    http.RoundTripper // nil: TLS 1.2 or newer, bounded, and no proxy
	CA           []byte            // PEM; nil: the system's roots
	MaxInFlight  int               // calls at a time, the others are refused; default 64
	Timeout      time.Duration     // of a whole Mint, retries included; default 8 s
}

// Minter makes installation tokens of a GitHub App. It keeps none: two exchanges
// never share one. It is safe for concurrent use; targets must not share one.
type Minter struct {
	c      Config
	url    string
	client *upstream.Client
}

// New returns the minter of one target. It calls nobody.
func New(c Config) (*Minter, error) {
	switch {
	case c.Now == nil || c.Rand == nil || c.Key == nil:
		return nil, errors.New("github: Config lacks Now, Rand or Key")
	case !AppForm.MatchString(c.App) || !InstallationForm.MatchString(c.Installation):
		return nil, errors.New("github: no such form of an App or an installation")
	}
	endpoint := ownEndpoint
	if c.Endpoint != "" {
		endpoint = strings.TrimSuffix(c.Endpoint, "/")
		if err := upstream.CheckEndpoint(endpoint); err != nil {
			return nil, err
		}
	}
	client, err := upstream.New(upstream.Config{Name: "GitHub", CA: c.CA, Transport: c.Transport, MaxInFlight: c.MaxInFlight, Timeout: c.Timeout})
	if err != nil {
		return nil, err
	}
	return &Minter{c: c, url: endpoint + "/app/installations/" + c.Installation + "/access_tokens", client: client}, nil
}

// order is the body of the request. Each list that GitHub would take as
// "everything" when it is not there is there.
type order struct {
	Repositories  []string          `json:"repositories,omitempty"`
	RepositoryIDs []int64           `json:"repository_ids,omitempty"`
	Permissions   map[string]string `json:"permissions"`
}

// Mint makes a token for the grant's repositories, with the permissions that were
// asked for.
func (m *Minter) Mint(ctx context.Context, o exchange.Order) (exchange.Credential, error) {
	want := order{Permissions: permissions(o.Grant.Scopes), Repositories: texts(o.Grant, fieldRepositories)}
	if _, name, ok := ownerAndName(o.Grant.Resource); ok {
		want.Repositories = []string{name}
	}
	for _, id := range texts(o.Grant, fieldRepositoryIDs) {
		n, err := strconv.ParseInt(id, 10, 64)
		if err != nil {
			return exchange.Credential{}, upstream.Broken(errors.New("the grant's repository_ids cannot be read"))
		}
		want.RepositoryIDs = append(want.RepositoryIDs, n)
	}
	if _, problem := misfit(o.Grant); problem != "" || len(want.Permissions) == 0 || len(want.Repositories)+len(want.RepositoryIDs) == 0 {
		return exchange.Credential{}, upstream.Broken(errors.New("the grant names no repositories, or no permissions"))
	}
	body, err := json.Marshal(want)
	if err != nil {
		return exchange.Credential{}, upstream.Broken(errors.New("the request cannot be written as JSON"))
	}
	ctx, leave, err := m.client.Enter(ctx)
	if err != nil {
		return exchange.Credential{}, err
	}
	defer leave()
	app, err := m.appToken()
	if err != nil {
		return exchange.Credential{}, err
	}
	a, err := m.client.Do(ctx, upstream.Call{
		URL: m.url, Body: body, Hide: []exchange.Secret{app},
		Header: http.Header{
			"Authorization": {"Bearer " + app.Reveal()}, "Accept": {accept}, "X-Github-Api-Version": {apiVersion}, "Content-Type": {"application/json"},
		},
	})
	if err != nil {
		return exchange.Credential{}, err
	}
	got, err := m.check(a, want, o.Grant.Resource)
	if err != nil {
		return exchange.Credential{}, m.client.Wrong(err)
	}
	got.Type = o.Type
	return got, nil
}

// appToken is the JWT by which the App proves itself (RS256). It is made for each
// call: one that is kept is one more secret.
func (m *Minter) appToken() (exchange.Secret, error) {
	now := m.c.Now()
	claims, err := json.Marshal(struct {
		IssuedAt int64  `json:"iat"`
		Expires  int64  `json:"exp"`
		Issuer   string `json:"iss"`
	}{now.Add(-appBack).Unix(), now.Add(appLives).Unix(), m.c.App})
	if err != nil {
		return "", upstream.Broken(errors.New("the App's token cannot be written"))
	}
	enc := base64.RawURLEncoding
	input := enc.EncodeToString([]byte(`{"alg":"RS256","typ":"JWT"}`)) + "." + enc.EncodeToString(claims)
	digest := sha256.Sum256([]byte(input))
	sig, err := m.c.Key.Sign(m.c.Rand, digest[:], crypto.SHA256)
	if err != nil {
		return "", m.unsigned(err)
	}
	// A KMS that answers for another key, or damaged, is found out here and not by
	// GitHub's 401.
	if pub, ok := m.c.Key.Public().(*rsa.PublicKey); ok && rsa.VerifyPKCS1v15(pub, crypto.SHA256, digest[:], sig) != nil {
		return "", m.unsigned(errors.New("the key's signature does not verify"))
	}
	return exchange.Secret(input + "." + enc.EncodeToString(sig)), nil
}

// unsigned says that a key in a KMS did not do its part: nothing was sent.
func (m *Minter) unsigned(err error) error {
	e := upstream.Broken(err)
	e.Code, e.RetryAfter = exchange.Unavailable, 5*time.Second
	return e
}

// check holds the answer against what was ordered. No error holds a byte of it.
func (m *Minter) check(a upstream.Answer, want order, resource string) (exchange.Credential, error) {
	if a.Status != http.StatusCreated {
		return exchange.Credential{}, errors.New("not 201")
	}
	answer, err := a.Object()
	if err != nil {
		return exchange.Credential{}, err
	}
	token, _ := answer["token"].(string)
	said, _ := answer["expires_at"].(string)
	expires, err := time.Parse(time.RFC3339, said)
	now := m.c.Now()
	switch {
	case len(token) > maxToken || !tokenForm.MatchString(token):
		return exchange.Credential{}, errors.New("the token is missing or malformed")
	case err != nil || !expires.After(now):
		return exchange.Credential{}, errors.New("expires_at is missing, or has passed")
	case expires.After(now.Add(lifetime + expirySkew)):
		return exchange.Credential{}, errors.New("the token lives longer than an hour")
	}
	got, ok := answer["permissions"].(map[string]any)
	if !ok || !within(got, want.Permissions) {
		return exchange.Credential{}, errors.New("the token has other permissions, or more, than were asked for")
	}
	if !selected(answer, want, resource) {
		return exchange.Credential{}, errors.New("the token is for other repositories, or more, than were asked for")
	}
	sum := sha256.Sum256([]byte(token))
	return exchange.Credential{
		Value: exchange.Secret(token), Expires: expires.UTC().Truncate(time.Second),
		// As GitHub's audit log names it (hashed_token).
		Handle: base64.StdEncoding.EncodeToString(sum[:]),
	}, nil
}

// within reports whether permissions are no more than was asked for, and all of it.
// GitHub adds metadata:read to every token: no repository can be named without.
func within(got map[string]any, asked map[string]string) bool {
	for name, v := range got {
		given, _ := v.(string)
		limit := asked[name]
		if name == "metadata" && limit == "" {
			limit = "read"
		}
		if level(given) == 0 || level(given) > level(limit) {
			return false
		}
	}
	for name, wanted := range asked {
		// The answer to the workload says what the credential may do.
		if given, _ := got[name].(string); given != wanted {
			return false
		}
	}
	return true
}

// selected reports whether the token is for the repositories that were asked for,
// and no others.
func selected(answer map[string]any, want order, resource string) bool {
	list, ok := answer["repositories"].([]any)
	if !ok || answer["repository_selection"] != "selected" || len(list) != len(want.Repositories)+len(want.RepositoryIDs) {
		return false
	}
	owner, _, _ := ownerAndName(resource)
	seen := map[string]bool{}
	for _, item := range list {
		r, _ := item.(map[string]any)
		name, _ := r["name"].(string)
		full, _ := r["full_name"].(string)
		id, _ := r["id"].(int64)
		if seen[full] || full == "" {
			return false
		}
		seen[full] = true
		byName := slices.ContainsFunc(want.Repositories, func(asked string) bool { return strings.EqualFold(asked, name) }) // as GitHub compares
		if !byName && !slices.Contains(want.RepositoryIDs, id) {
			return false
		}
		// The installation may be another account's, with a repository of this name.
		if owner != "" && !strings.EqualFold(full, owner+"/"+name) {
			return false
		}
	}
	return true
}

package azure

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"regexp"
	"strings"
	"time"

	"cambio/exchange"
	"cambio/providers/internal/upstream"
)

const (
	// usualAuthority is Entra's own of the public cloud.
	usualAuthority = "https://login.microsoftonline.com"
	// assertionType is that of RFC 7523 section 2.2.
	assertionType = "urn:ietf:params:oauth:client-assertion-type:jwt-bearer"
	// expirySkew is how far a lifetime may be above what was ordered: the call takes its
	// time.
	expirySkew = 60 * time.Second
	// maxToken bounds an access token: Entra's are some 2 KiB, and more with groups.
	maxToken = 16 << 10
)

// Config is one azure target.
type Config struct {
	Tenant   string // the id of the Entra tenant; required
	Audience string // aud of our assertion, usually api://AzureADTokenExchange; required
	// Endpoint is the authority: https, or http on loopback. "" is that of the public
	// cloud; sovereign clouds have their own.
	Endpoint    string
	Now         func() time.Time // required
	CA          []byte           // PEM; nil: the system's roots
	MaxInFlight int              // calls at a time, the others are refused; default 64
	Timeout     time.Duration    // of a whole Mint, retries included; default 8 s
}

// Minter gets access tokens of Entra applications and managed identities for our
// assertion (RFC 7523 section 2.2). It holds no client secret and no certificate. It
// is safe for concurrent use; one must not be shared between targets.
//
// It is a plain call and not the SDK's credential, which keeps the tokens that it got
// and gives them to the next caller, whoever that is.
type Minter struct {
	client   *upstream.Client
	endpoint string
	tenant   string
	audience string
	now      func() time.Time
}

// New returns the minter of one target. It calls nobody.
func New(c Config) (*Minter, error) {
	switch {
	case c.Now == nil:
		return nil, errors.New("azure: Config lacks Now")
	case c.Audience == "":
		return nil, errors.New("azure: Config lacks Audience")
	case !Tenant(c.Tenant):
		return nil, errors.New("azure: a tenant is a GUID in small letters")
	}
	if c.Endpoint == "" {
		c.Endpoint = usualAuthority
	}
	if err := upstream.CheckEndpoint(c.Endpoint); err != nil {
		return nil, fmt.Errorf("azure: %w", err)
	}
	client, err := upstream.New(upstream.Config{Name: "Entra", CA: c.CA, MaxInFlight: c.MaxInFlight, Timeout: c.Timeout})
	if err != nil {
		return nil, fmt.Errorf("azure: %w", err)
	}
	return &Minter{
		client: client, tenant: c.Tenant, audience: c.Audience, now: c.Now,
		endpoint: strings.TrimSuffix(c.Endpoint, "/") + "/" + c.Tenant + "/oauth2/v2.0/token",
	}, nil
}

// Mint shows our assertion to Entra and returns the access token. What the assertion
// says beside its own claims is nothing. What the token says is held against the
// order where it can be read: see check.
func (m *Minter) Mint(ctx context.Context, o exchange.Order) (exchange.Credential, error) {
	id := resourceForm.FindStringSubmatch(o.Grant.Resource)
	if id == nil {
		return exchange.Credential{}, upstream.Broken(errors.New("the grant's resource is no client id"))
	}
	if _, problem := misfit(o.Grant); problem != "" {
		return exchange.Credential{}, upstream.Broken(errors.New("the grant's scopes " + problem))
	}
	ctx, leave, err := m.client.Enter(ctx)
	if err != nil {
		return exchange.Credential{}, err
	}
	defer leave()
	scope := o.Grant.Scopes[0]
	o.Grant.Scopes = nil // for Entra's eyes alone, in the form
	assertion, err := o.Assert(m.audience, exchange.RS256)
	if err != nil {
		return exchange.Credential{}, err
	}
	answer, err := m.client.Do(ctx, upstream.Form(m.endpoint, url.Values{
		"client_id": {id[1]}, "scope": {scope}, "grant_type": {"client_credentials"},
		"client_assertion_type": {assertionType}, "client_assertion": {assertion.Reveal()},
	}, assertion))
	if err != nil {
		return exchange.Credential{}, freshness(err)
	}
	got, err := m.check(answer, id[1], o.Grant.TTL)
	if err != nil {
		return exchange.Credential{}, m.client.Wrong(err)
	}
	got.Type = o.Type
	return got, nil
}

// unmatched finds Entra's codes for an assertion that no federated credential of the
// application fits, by issuer, subject or audience.
var unmatched = regexp.MustCompile(`\bAADSTS70021[0-9]{0,2}\b`)

// freshness adds what somebody who reads the refusal should know: Entra takes minutes
// to learn of a new federated credential, and says the same of one that is missing.
func freshness(err error) error {
	var e *exchange.Error
	if !errors.As(err, &e) || !unmatched.MatchString(e.Error()) {
		return err
	}
	told := *e
	told.Err = fmt.Errorf("%w (no federated credential fits: compare it, case by case, with `cambio connect`; a new one takes some minutes)", e.Err)
	return &told
}

var (
	tokenForm = regexp.MustCompile(`^[!-~]+$`)
	// utiForm is that of uti, Entra's own id of a token, which its sign-in log names.
	utiForm = regexp.MustCompile(`^[A-Za-z0-9_-]{8,64}$`)
)

// check holds the answer against the order. No error holds anything of it.
//
// An access token is its resource's to read, not ours, and some are encrypted or have
// a form of their own. Where it can be read all the same, it must not contradict the
// order: another tenant or application, or a longer life, is a lie. What it lacks is
// not asked for.
func (m *Minter) check(answer upstream.Answer, client string, asked time.Duration) (exchange.Credential, error) {
	if answer.Status != http.StatusOK {
		return exchange.Credential{}, errors.New("success, but not 200")
	}
	body, err := answer.Object()
	if err != nil {
		return exchange.Credential{}, err
	}
	token, _ := body["access_token"].(string)
	kind, _ := body["token_type"].(string)
	seconds, _ := body["expires_in"].(int64)
	switch {
	case len(token) > maxToken || !tokenForm.MatchString(token):
		return exchange.Credential{}, errors.New("access_token is missing or malformed")
	case !strings.EqualFold(kind, "Bearer"):
		return exchange.Credential{}, errors.New("token_type is not Bearer")
	case seconds <= 0:
		return exchange.Credential{}, errors.New("expires_in is no number of seconds")
	case seconds > int64((asked+expirySkew)/time.Second):
		return exchange.Credential{}, errors.New("the token lives longer than was ordered")
	}
	now := m.now()
	got := exchange.Credential{
		Value: exchange.Secret(token), Handle: upstream.Handle(exchange.Secret(token)),
		Expires: now.Add(time.Duration(seconds) * time.Second).UTC().Truncate(time.Second),
	}
	claims, _ := upstream.Claims(token) // none, where it cannot be read
	for _, is := range []struct{ claim, want string }{{"tid", m.tenant}, {"appid", client}, {"azp", client}} {
		if v, there := claims[is.claim]; there {
			if s, ok := v.(string); !ok || !strings.EqualFold(s, is.want) {
				// The journal would name one identity, and the workload hold another's.
				return exchange.Credential{}, errors.New("the token is for another tenant or application: " + is.claim)
			}
		}
	}
	if v, there := claims["exp"]; there {
		exp, ok := v.(int64)
		if !ok || exp > now.Add(asked+expirySkew).Unix() {
			return exchange.Credential{}, errors.New("the token says that it lives longer than was ordered")
		}
	}
	if uti, _ := claims["uti"].(string); utiForm.MatchString(uti) {
		got.Handle = "uti:" + uti
	}
	return got, nil
}

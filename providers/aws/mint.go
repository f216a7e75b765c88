package aws

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"regexp"
	"strings"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/sts"
	"github.com/aws/aws-sdk-go-v2/service/sts/types"

	"cambio/exchange"
	"cambio/providers/internal/upstream"
	"cambio/trust"
)

// The claims that AWS reads session tags and the source identity from.
const (
	claimTags     = "https://aws.amazon.com/tags"
	claimSourceID = "https://aws.amazon.com/source_identity"
)

const (
	// usualTimeout leaves the web server time to answer within its own 15 s.
	usualTimeout = 8 * time.Second
	// usualInFlight is more than a thousand exchanges a second at the usual 50 ms,
	// and few enough that a stalled target holds little memory.
	usualInFlight = 64
	// busyRetry is what a caller waits for a place: calls in flight end soon.
	busyRetry = time.Second
	// expirySkew is how far AWS's clock may be ahead of ours.
	expirySkew = 60 * time.Second
)

var (
	accountForm = regexp.MustCompile(`^[0-9]{12}$`)
	regionForm  = regexp.MustCompile(`^[a-z]{2,4}(?:-[a-z]+)+-[0-9]{1,2}$`)
)

// Config is one aws target.
type Config struct {
	Account  string // 12 digits; "" takes roles of any account
	Region   string // of the endpoint; may be left out with Endpoint
	Audience string // aud of our assertion; required, usually sts.amazonaws.com
	// Endpoint is another service that speaks STS: https, or http on loopback.
	// "" is AWS's own, of the region. With one, the ARN of the answer is not
	// checked: other stores make up their own.
	Endpoint string
	Now      func() time.Time // required
	// Transport makes the connections; nil: TLS 1.2 or newer, bounded, and no proxy.
	// The environment's proxy settings are not read: a variable must not decide who
	// sees an assertion of ours. Redirects are never followed, whatever it is.
	Transport   http.RoundTripper
	MaxInFlight int           // calls at a time, the others are refused; default 64
	Timeout     time.Duration // of a whole Mint, retries included; default 8 s
}

// Minter issues temporary credentials of IAM roles. It is safe for concurrent
// use, and one must not be shared between targets: each has its own places, so
// that a stalled one does not take those of a healthy one.
type Minter struct {
	client   *sts.Client
	role     *regexp.Regexp
	audience string
	own      bool // AWS's own endpoint
	now      func() time.Time
	timeout  time.Duration
	places   chan struct{}
}

// New returns the minter of one target. It calls nobody, and reads neither
// environment nor files nor instance metadata: the call needs no AWS key, and
// an ambient one must never leave with it.
func New(c Config) (*Minter, error) {
	switch {
	case c.Now == nil:
		return nil, errors.New("aws: Config lacks Now")
	case c.Audience == "":
		return nil, errors.New("aws: Config lacks Audience")
	case c.Account != "" && !accountForm.MatchString(c.Account):
		return nil, errors.New("aws: an account is 12 digits")
	case c.Endpoint == "" && c.Region == "":
		return nil, errors.New("aws: a region is required for AWS's own endpoint")
	case c.Region != "" && !regionForm.MatchString(c.Region):
		return nil, errors.New("aws: no such form of a region")
	case c.MaxInFlight < 0 || c.Timeout < 0:
		return nil, errors.New("aws: MaxInFlight and Timeout must not be negative")
	}
	options := sts.Options{
		Region:                     c.Region,
		Credentials:                aws.AnonymousCredentials{},
		HTTPClient:                 wire{transport: c.Transport},
		Retryer:                    retryer(),
		DisableClockSkewCorrection: true, // nothing is signed
	}
	if c.Transport == nil {
		options.HTTPClient = wire{transport: upstream.NewTransport(nil)}
	}
	if c.Endpoint != "" {
		if err := upstream.CheckEndpoint(c.Endpoint); err != nil {
			return nil, fmt.Errorf("aws: %w", err)
		}
		options.BaseEndpoint = aws.String(c.Endpoint)
		if c.Region == "" {
			options.Region = "us-east-1" // the SDK wants one, and sends it nowhere
		}
	}
	m := &Minter{
		client: sts.New(options), role: rolePattern(c.Account, c.Endpoint), audience: c.Audience, own: c.Endpoint == "",
		now: c.Now, timeout: usualTimeout, places: make(chan struct{}, usualInFlight),
	}
	if c.Timeout > 0 {
		m.timeout = c.Timeout
	}
	if c.MaxInFlight > 0 {
		m.places = make(chan struct{}, c.MaxInFlight)
	}
	return m, nil
}

// Mint shows our assertion to AWS and returns the role's credentials, as the
// JSON of a credential_process. The session is named by the decision's id. For a
// grant with a database it returns what RDS takes for a password instead, and the
// role's credentials stay here.
//
// At most one attempt has an unknown outcome: after a time-out, a cut or a wrong
// answer it does not ask again. An error with Issued false means that AWS
// answered each attempt with an error, or that nothing was sent.
func (m *Minter) Mint(ctx context.Context, o exchange.Order) (exchange.Credential, error) {
	r, ok := parseRole(m.role, o.Grant.Resource)
	if !ok {
		return exchange.Credential{}, broken(errors.New("the grant's resource is no role of the account"))
	}
	x, unread := read(o.Grant)
	if unread != "" {
		return exchange.Credential{}, broken(fmt.Errorf("the grant's %s cannot be read", unread))
	}
	x, db, err := x.narrow(r)
	if err != nil {
		return exchange.Credential{}, broken(err)
	}
	if db != nil {
		o.Grant.TTL = min(o.Grant.TTL, passwordLife) // the session need not outlive the password
	}
	select {
	case m.places <- struct{}{}:
		defer func() { <-m.places }()
	default:
		// To wait for a place would let one stalled target hold every request that
		// names it, and with them the memory of the healthy ones.
		e := exchange.Unanswered(trust.ReasonTargetBusy, errors.New("as many calls are in flight as may be"))
		e.RetryAfter = busyRetry
		return exchange.Credential{}, e
	}
	o.Grant.Claims = x.claims()
	assertion, err := o.Assert(m.audience, exchange.RS256)
	if err != nil {
		return exchange.Credential{}, err
	}
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), m.timeout)
	defer cancel()
	out, err := m.client.AssumeRoleWithWebIdentity(ctx, x.input(o, assertion))
	if err != nil {
		return exchange.Credential{}, failure(err, assertion, x)
	}
	session := ""
	if m.own {
		session = r.session(o.Decision)
	}
	got, err := check(out, session, m.now(), o.Grant.TTL)
	if err == nil && strings.Contains(got.token, assertion.Reveal()) {
		// The workload would hold our assertion, and could ask for a role without the
		// session policy.
		err = errors.New("the answer repeats our assertion")
	}
	if err != nil {
		return exchange.Credential{}, unsure(err)
	}
	if db != nil {
		return db.credential(ctx, o.Type, got, m.now())
	}
	return got.credential(o.Type)
}

// narrow reads the database of the grant, where there is one, and holds the role's
// session to it, unless the grant has a policy of its own.
func (x extra) narrow(r role) (extra, *login, error) {
	if x.databaseText == "" {
		return x, nil, nil
	}
	db, problem := readDatabase(x.databaseText)
	if problem != "" {
		return x, nil, errors.New("the grant's database cannot be read")
	}
	if x.policy == "" {
		x.policy = db.policy(r)
	}
	return x, db, nil
}

// claims are what our assertion says beside its own: tags and source identity
// when the grant names them, and nothing else.
func (x extra) claims() map[string]any {
	claims := make(map[string]any, 2)
	if len(x.tags) > 0 {
		tags := make(map[string]any, len(x.tags))
		for key, value := range x.tags {
			tags[key] = []string{value}
		}
		claims[claimTags] = map[string]any{"principal_tags": tags}
	}
	if x.sourceID != "" {
		claims[claimSourceID] = x.sourceID
	}
	return claims
}

func (x extra) input(o exchange.Order, assertion exchange.Secret) *sts.AssumeRoleWithWebIdentityInput {
	in := &sts.AssumeRoleWithWebIdentityInput{
		RoleArn:          aws.String(o.Grant.Resource),
		RoleSessionName:  aws.String(o.Decision),
		WebIdentityToken: aws.String(assertion.Reveal()),
		DurationSeconds:  aws.Int32(int32(min(o.Grant.TTL, maxTTL) / time.Second)), //nolint:gosec // at most 12 h
	}
	if x.policy != "" {
		in.Policy = aws.String(x.policy)
	}
	for _, arn := range x.arns {
		in.PolicyArns = append(in.PolicyArns, types.PolicyDescriptorType{Arn: aws.String(arn)})
	}
	return in
}

// issued are credentials that passed every check.
type issued struct {
	keyID, secret, token string
	expires              time.Time
}

func (i issued) credential(kind string) (exchange.Credential, error) {
	value, err := json.Marshal(struct { //nolint:gosec // it is the credential; Secret holds it from here on
		Version         int
		AccessKeyId     string
		SecretAccessKey string
		SessionToken    string
		Expiration      string
	}{1, i.keyID, i.secret, i.token, i.expires.Format(time.RFC3339)})
	if err != nil {
		return exchange.Credential{}, unsure(errors.New("the credentials cannot be written as JSON"))
	}
	return exchange.Credential{Value: exchange.Secret(value), Type: kind, Handle: i.keyID, Expires: i.expires, Structured: true}, nil
}

var (
	keyIDForm  = regexp.MustCompile(`^\w{16,128}$`)
	secretForm = regexp.MustCompile(`^[!-~]{16,256}$`)
	tokenForm  = regexp.MustCompile(`^[!-~]+$`)
)

// maxToken bounds a session token: AWS gives no limit and stays below 4 KiB;
// 16 KiB is what an environment and a header still carry.
const maxToken = 16 << 10

// check holds the answer against what was asked. session is the ARN that it must
// name; "" does not look. No error holds anything of the answer.
func check(out *sts.AssumeRoleWithWebIdentityOutput, session string, now time.Time, asked time.Duration) (issued, error) {
	c := out.Credentials
	if c == nil || c.Expiration == nil {
		return issued{}, errors.New("the answer holds no credentials")
	}
	got := issued{
		keyID: aws.ToString(c.AccessKeyId), secret: aws.ToString(c.SecretAccessKey), token: aws.ToString(c.SessionToken),
		expires: c.Expiration.UTC().Truncate(time.Second),
	}
	switch {
	case !keyIDForm.MatchString(got.keyID):
		return issued{}, errors.New("the answer's AccessKeyId is missing or malformed")
	case !secretForm.MatchString(got.secret):
		return issued{}, errors.New("the answer's SecretAccessKey is missing or malformed")
	case len(got.token) > maxToken || !tokenForm.MatchString(got.token):
		return issued{}, errors.New("the answer's SessionToken is missing or malformed")
	case !got.expires.After(now):
		return issued{}, errors.New("the answer's credentials have expired")
	case got.expires.After(now.Add(asked + expirySkew)):
		// A lying endpoint could else hand out what outlives the decision.
		return issued{}, errors.New("the answer's credentials live longer than was asked for")
	case session != "" && (out.AssumedRoleUser == nil || aws.ToString(out.AssumedRoleUser.Arn) != session):
		// The journal would name one role, and the workload hold another.
		return issued{}, errors.New("the answer is for another role or session")
	}
	return got, nil
}

// broken is a fault of ours, before anything was sent.
func broken(err error) *exchange.Error {
	return &exchange.Error{Code: exchange.ServerError, Reason: trust.ReasonMintFailed, Err: err}
}

// unsure is a failure after which nobody knows whether AWS issued.
func unsure(err error) *exchange.Error {
	e := exchange.Unanswered(trust.ReasonMintFailed, err)
	e.Issued = true
	return e
}

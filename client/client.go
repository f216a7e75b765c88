// Package client exchanges a workload's identity for a credential at a Cambio
// gateway.
//
// [Detect] finds the identity that the workload already has: a token file, a
// GitHub Actions job, a pod with a projected token, a machine at Google. A
// [Client] shows it to the gateway and returns the [Credential]:
//
//	source, err := client.Detect(ctx, client.Env{Getenv: os.Getenv, ReadFile: os.ReadFile, Server: server})
//	...
//	c := client.Client{Server: server}
//	cred, err := c.Exchange(ctx, client.Request{Target: "orders-api"}, source)
//
// The package depends on the standard library only, so that a program may take
// it in without taking in the gateway.
package client

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"
)

// ErrUnreachable means that the gateway, or the place that hands out the
// subject token, did not answer. Trying again later may help.
var ErrUnreachable = errors.New("no answer")

// typeJWT is the subject_token_type of a JWT (RFC 8693 section 3).
const typeJWT = "urn:ietf:params:oauth:token-type:jwt"

const (
	// budget bounds an exchange with all its attempts: a CI step survives a
	// restart of the gateway, and does not hang on one that is gone.
	budget = 60 * time.Second
	// attemptTime bounds one attempt; the gateway itself ends an answer after 15 s.
	attemptTime = 20 * time.Second
	// maxAttempts bounds what one client adds to the load of a gateway in trouble.
	maxAttempts = 6
	// firstPause is doubled after each attempt.
	firstPause = time.Second
	// maxAnswer bounds what is read of any answer: a token is at most 16 KiB, a
	// credential with session token and wrapping stays well below this.
	maxAnswer = 64 << 10
)

// Client speaks to one gateway. It is safe for concurrent use.
type Client struct {
	// Server is the gateway's URL: https, or http on loopback only, because the
	// subject token travels in the request.
	Server string
	// HTTP reaches it. Only its Transport is used, so that nothing follows a
	// redirect; nil means a default.
	HTTP *http.Client
	// Now is the clock that Credential.ExpiresAt is told by; nil means time.Now.
	Now func() time.Time
	// Waiting, if set, is called before each wait for another attempt, with the
	// error that made it needed: a minute is long for whoever sees nothing happen.
	Waiting func(err error, wait time.Duration)
}

// Request is what to ask for. Only Target is required; the zero value of every
// other field leaves it to the trust.
type Request struct {
	Target   string        // the target's name (the parameter audience)
	Resource string        // an absolute URI, such as an AWS role's ARN
	Scopes   []string      // a subset of what the trust grants
	TTL      time.Duration // whole seconds; only narrows
	Trust    string        // the trust's name, where several would fit
	DryRun   bool          // judge only: nothing is issued and no token is used up
	// Type is what the credential must be, such as TypeAWS (the parameter
	// requested_token_type): a gateway refuses before it issues something else.
	Type string
	// CSR is a certificate request (PKCS #10, PEM) for a target that signs
	// certificates, and SSHPublicKey one line of a public key file for one that
	// signs SSH certificates. The certificate that comes back is checked against it.
	CSR          string
	SSHPublicKey string
	// Audience is the audience that the subject token is fetched for: the
	// gateway's issuer. Empty means the client's Server.
	Audience string
}

// Exchange shows the source's token to the gateway and returns what it issues.
//
// It tries again after 429, 502, 503, 504 and when nobody answers, waits as
// long as the gateway's Retry-After asks, and gives up after a minute; every
// attempt shows a fresh token, because the gateway may have used up the one
// before. It never tries again after a refusal, but for that of a token from
// before a loss of the gateway's replay store ([Refusal.TooOld]), and then only
// where the source mints a fresh one (PerAudience).
//
// Where the source mints a token for each audience, the gateway is first asked
// for a nonce (POST /nonce), and the token is requested for the audience with
// "?nonce=" and the nonce behind it: a gateway that requires one then takes no
// token that was stolen before its first use. One that gives none is asked for
// the exchange all the same.
//
// The error is a [*Refusal] when the gateway answered no, wraps [ErrNoIdentity]
// when there is no token to show and [ErrUnreachable] when nobody answered. No
// error holds a token.
func (c *Client) Exchange(ctx context.Context, r Request, source *Source) (Credential, error) {
	endpoint, err := gatewayURL(c.Server, "/token")
	if err != nil {
		return Credential{}, err
	}
	form, err := r.form()
	if err != nil {
		return Credential{}, err
	}
	if r.Audience == "" {
		r.Audience = strings.TrimRight(c.Server, "/")
	}
	ctx, cancel := context.WithTimeout(ctx, budget)
	defer cancel()
	pause := firstPause
	for attempt := 1; ; attempt++ {
		cred, err := c.attempt(ctx, endpoint, r, form, source)
		if err == nil {
			return cred, nil
		}
		wait, again := retryIn(err, pause)
		if !again || attempt == maxAttempts || !fitsIn(ctx, wait) {
			return Credential{}, err
		}
		if c.Waiting != nil {
			c.Waiting(err, wait)
		}
		if sleep(ctx, wait) != nil {
			return Credential{}, err
		}
		pause *= 2
	}
}

// attempt is one exchange with a token, and where the platform signs it, a
// nonce of its own.
func (c *Client) attempt(ctx context.Context, endpoint string, r Request, form url.Values, source *Source) (Credential, error) {
	ctx, cancel := context.WithTimeout(ctx, attemptTime)
	defer cancel()
	audience := r.Audience
	if source != nil && source.PerAudience {
		nonce, err := c.nonce(ctx)
		if err != nil {
			return Credential{}, err
		}
		audience = withNonce(audience, nonce)
	}
	token, err := source.Token(ctx, audience)
	if err != nil {
		return Credential{}, err
	}
	form.Set("subject_token", token)
	form.Set("subject_token_type", cmp.Or(source.TokenType, typeJWT))
	a, err := c.post(ctx, endpoint, form)
	if err != nil {
		return Credential{}, err
	}
	if a.status != http.StatusOK {
		refusal := parseRefusal(a)
		refusal.renewed = source.PerAudience || source.renews
		return Credential{}, refusal
	}
	cred, err := parseCredential(a, r)
	if err != nil {
		return Credential{}, fmt.Errorf("gateway %s: %w", c.Server, err)
	}
	now := time.Now
	if c.Now != nil {
		now = c.Now
	}
	cred.ExpiresAt = now().UTC().Truncate(time.Second).Add(time.Duration(cred.ExpiresIn) * time.Second)
	return cred, nil
}

// post sends a form to the gateway.
func (c *Client) post(ctx context.Context, endpoint string, form url.Values) (answer, error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, endpoint, strings.NewReader(form.Encode()))
	if err != nil {
		return answer{}, fmt.Errorf("request: %w", err)
	}
	req.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	req.Header.Set("Accept", "application/json")
	a, err := fetch(c.HTTP, req)
	if err != nil {
		return answer{}, fmt.Errorf("gateway %s: %w", c.Server, err)
	}
	return a, nil
}

// form is the request as RFC 8693 section 2.1 writes it, without the token.
func (r Request) form() (url.Values, error) {
	if r.Target == "" {
		return nil, errors.New("no target named")
	}
	if r.TTL < 0 || r.TTL%time.Second != 0 {
		return nil, fmt.Errorf("ttl %v: must be whole seconds", r.TTL)
	}
	form := url.Values{
		"grant_type": {"urn:ietf:params:oauth:grant-type:token-exchange"},
		"audience":   {r.Target},
	}
	// An empty parameter is malformed, so what is not asked for is left out.
	for name, value := range map[string]string{"resource": r.Resource, "scope": strings.Join(r.Scopes, " "), "trust": r.Trust, "requested_token_type": r.Type, "csr": r.CSR, "ssh_public_key": r.SSHPublicKey} {
		if value != "" {
			form.Set(name, value)
		}
	}
	if r.TTL > 0 {
		form.Set("ttl", strconv.FormatInt(int64(r.TTL/time.Second), 10))
	}
	if r.DryRun {
		form.Set("dry_run", "true")
	}
	return form, nil
}

// CheckServer refuses a Client.Server that no exchange would be sent to: not an
// https URL (http is taken on loopback only), or one with user, query or
// fragment. It asks nobody. The error does not repeat the URL, which may hold a
// password.
func CheckServer(server string) error {
	_, err := gatewayURL(server, "")
	return err
}

// gatewayURL is the URL of a path at the gateway. It refuses a server to which the
// subject token would travel in the clear: whoever reads it on the way could
// exchange it first.
func gatewayURL(server, path string) (string, error) {
	u, err := secureURL(server)
	if err != nil {
		return "", fmt.Errorf("server: %w", err)
	}
	if u.RawQuery != "" || u.ForceQuery {
		return "", errors.New("server: must have no query")
	}
	return strings.TrimRight(u.String(), "/") + path, nil
}

// secureURL parses a URL that a secret is sent to: https, or http on loopback.
// Its errors do not repeat the URL, which may hold a password.
func secureURL(raw string) (*url.URL, error) {
	u, err := url.Parse(raw)
	switch {
	case err != nil || u.Host == "" || u.Opaque != "":
		return nil, errors.New("not a URL like https://HOST")
	case u.User != nil || strings.Contains(raw, "#"):
		return nil, errors.New("a URL with user or fragment is refused")
	case u.Scheme == "https", u.Scheme == "http" && loopback(u.Hostname()):
		return u, nil
	}
	return nil, errors.New("must be https (http is taken on loopback only)")
}

func loopback(host string) bool {
	ip := net.ParseIP(host)
	return host == "localhost" || ip != nil && ip.IsLoopback()
}

// answer is a response that was read to its end.
type answer struct {
	status int
	header http.Header
	body   []byte
}

// fetch sends req and reads the answer. Redirects are not followed: they would
// carry a token to a host that nobody configured. An error wraps ErrUnreachable
// and names no URL, because a query may hold more than a log should.
func fetch(c *http.Client, req *http.Request) (answer, error) {
	strict := http.Client{}
	if c != nil {
		strict.Transport = c.Transport
	}
	strict.CheckRedirect = func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }
	res, err := strict.Do(req)
	if err != nil {
		var inURL *url.Error
		if errors.As(err, &inURL) {
			err = inURL.Err
		}
		return answer{}, fmt.Errorf("%w: %w", ErrUnreachable, err)
	}
	defer res.Body.Close()
	body, err := io.ReadAll(io.LimitReader(res.Body, maxAnswer+1))
	if err != nil {
		return answer{}, fmt.Errorf("%w: the answer was cut off: %w", ErrUnreachable, err)
	}
	if len(body) > maxAnswer {
		return answer{}, fmt.Errorf("the answer is larger than %d bytes", maxAnswer)
	}
	return answer{status: res.StatusCode, header: res.Header, body: body}, nil
}

// retryIn says how long to wait before the next attempt, and whether there may
// be one.
func retryIn(err error, pause time.Duration) (time.Duration, bool) {
	var refusal *Refusal
	if errors.As(err, &refusal) {
		return max(pause, refusal.RetryAfter), refusal.Retryable()
	}
	return pause, errors.Is(err, ErrUnreachable)
}

// fitsIn reports whether the context lasts longer than d: a wait that cannot be
// followed by an attempt only costs time.
func fitsIn(ctx context.Context, d time.Duration) bool {
	deadline, ok := ctx.Deadline()
	return !ok || time.Until(deadline) > d
}

// sleep waits for d, or until the context ends.
func sleep(ctx context.Context, d time.Duration) error {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-timer.C:
		return nil
	}
}

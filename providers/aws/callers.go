package aws

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"sync"
	"time"

	"cambio/exchange"
	"cambio/providers/internal/upstream"
	"cambio/providers/oidc"
	"cambio/trust"
)

const (
	// signatureLife is how long AWS itself takes a signature.
	signatureLife = 15 * time.Minute
	// signatureAge is how old the request may be that we ask about: long enough for a
	// job, and a third of what a thief would have.
	signatureAge = 5 * time.Minute
	// callTime bounds a question to AWS: a caller waits.
	callTime = 5 * time.Second
	// callPlaces is how many questions of one identity provider are under way at a
	// time.
	callPlaces = 32
	// callRate is how many questions a second one identity provider costs AWS at most,
	// and callBurst how many at once: what nobody has proven yet must not make us a
	// tool against others.
	callRate  = 100
	callBurst = 200
	// callerIssuer is what conditions see as iss: who vouches for the signer.
	callerIssuer = "https://sts.amazonaws.com"
	// maxAnswers is how many answers one identity provider remembers.
	maxAnswers = 4096
)

// CallerPlatform is configuration type aws-caller-identity: a role of AWS proves
// itself by a signed request of sts:GetCallerIdentity, which only who holds its
// credentials can have made, and which we send to AWS.
func CallerPlatform() oidc.Platform {
	claims := oidc.StandardClaims()
	delete(claims, "nbf")
	delete(claims, "jti")
	for name, c := range map[string]trust.Claim{
		// A role that is deleted and created again has the same ARN and name.
		"sub":       {Type: trust.StringClaim, Always: true, PinnedBy: "unique_id"},
		"role":      {Type: trust.StringClaim, Always: true, PinnedBy: "unique_id"},
		"unique_id": {Type: trust.StringClaim, Always: true},
		"account":   {Type: trust.StringClaim, Always: true},
		"partition": {Type: trust.StringClaim, Always: true, Values: []string{"aws", "aws-cn", "aws-us-gov"}},
		// Whoever assumes the role writes what they like (CVE-2022-2385).
		"session": {Type: trust.StringClaim, Always: true, Chosen: true},
	} {
		claims[name] = c
	}
	return oidc.Platform{
		Platform: trust.Platform{
			Name:    "aws-caller-identity",
			Claims:  claims,
			Anchors: []string{"unique_id", "sub", "role"},
			Pinned:  []string{"account"},
			Journal: []string{"iss", "iat", "exp", "account", "role", "unique_id", "partition"}, // a session may be named by a person
			Sample: map[string]any{
				"iss":       callerIssuer,
				"aud":       "https://id.acme.example",
				"sub":       "arn:aws:iam::111122223333:role/payments-deploy",
				"iat":       int64(1795320000),
				"exp":       int64(1795320900),
				"account":   "111122223333",
				"partition": "aws",
				"role":      "payments-deploy",
				"session":   "i-0abc1234def567890",
				"unique_id": "AROA2EXAMPLE2EXAMPLE2",
			},
		},
		TokenUse: trust.Once,
		MaxAge:   signatureAge,
		Workload: []oidc.Segment{{Claim: "account"}, {Claim: "unique_id"}},
		Check:    checkCaller,
		Proof:    exchange.SubjectAWS,
		Settings: []string{"endpoint"},
		Facts: oidc.Facts{
			Title: "AWS (signed sts:GetCallerIdentity)", Evidence: oidc.FromSource, Page: "aws-workloads.md",
			Source: "https://docs.aws.amazon.com/STS/latest/APIReference/API_GetCallerIdentity.html; aws-sdk-go-v2 aws/signer/v4, and the envelope of googleapis/google-auth-library-nodejs src/auth/awsclient.ts",
			Obtain: "signs a request with the role's credentials, which it finds in the environment, at the container's endpoint or at the instance's; they are not sent",
			Risks: []string{
				"`session` is whatever the one who assumed the role called it: decide nothing by it.",
				"A role that is deleted and created again has the same `sub` and `role`: `unique_id` tells them apart.",
				"Each exchange asks AWS; when it does not answer, nothing is issued.",
				"Whoever may assume the role is the role: also the people who may.",
			},
		},
	}
}

// checkCaller compares the claims that repeat each other.
func checkCaller(claims map[string]any) error {
	text := func(name string) string { s, _ := claims[name].(string); return s }
	c := caller{partition: text("partition"), account: text("account"), role: text("role")}
	if text("sub") != c.arn() {
		return errors.New("sub is not the ARN of the role in the account")
	}
	return nil
}

// CallersConfig is what Callers are made of.
type CallersConfig struct {
	TrustDomain string // of the workload ids
	Providers   []oidc.Provider
	Now         func() time.Time
	// Transport makes the connections; nil: TLS 1.2 or newer, bounded, and no proxy.
	Transport http.RoundTripper
	Timeout   time.Duration // of a question to AWS; default 5 s
}

// Callers proves signed requests, for all configured identity providers of type
// aws-caller-identity. It is safe for concurrent use.
type Callers struct {
	trustDomain string
	now         func() time.Time
	byAudience  map[string]*callerProvider
}

// callerProvider is one of them.
type callerProvider struct {
	oidc.Provider
	client *upstream.Client
	mu     sync.Mutex
	tokens float64 // of the rate
	filled time.Time
	known  map[string]*callerAnswer
}

// callerAnswer is what AWS said to one request, or that it was asked.
type callerAnswer struct {
	done    bool
	caller  caller
	refused *exchange.Error
	until   time.Time
}

// NewCallers returns the set of these providers. It calls nobody.
func NewCallers(c CallersConfig) (*Callers, error) {
	if c.Now == nil || c.TrustDomain == "" {
		return nil, errors.New("aws: trust domain and clock are required")
	}
	s := &Callers{trustDomain: c.TrustDomain, now: c.Now, byAudience: map[string]*callerProvider{}}
	for _, p := range c.Providers {
		platform := CallerPlatform()
		p = p.WithDefaults(platform)
		for _, problem := range oidc.Check(p, platform) {
			return nil, fmt.Errorf("identity provider %s: %s: %s", p.Name, problem.Field, problem.Text)
		}
		timeout := c.Timeout
		if timeout == 0 {
			timeout = callTime
		}
		client, err := upstream.New(upstream.Config{Name: "AWS", CA: p.CA, Transport: c.Transport, MaxInFlight: callPlaces, Timeout: timeout})
		if err != nil {
			return nil, fmt.Errorf("identity provider %s: %w", p.Name, err)
		}
		one := &callerProvider{Provider: p, client: client, tokens: callBurst, filled: c.Now(), known: map[string]*callerAnswer{}}
		for _, aud := range p.Audiences {
			if other, twice := s.byAudience[aud]; twice {
				return nil, fmt.Errorf("identity providers %s and %s have the same audience, by which alone a signed request says which is meant", other.Name, p.Name)
			}
			s.byAudience[aud] = one
		}
	}
	return s, nil
}

// Verify proves one signed request: see [exchange.Verifier]. What the workload sent
// is never forwarded: the request to AWS is built anew, to AWS's own host or the
// configured endpoint, from the date, the key's id, the session token and the
// signature.
//
// AWS is asked once about a request, and not at all about one that it cannot take.
// Where it said something, the same request has the same answer as long as it could
// be used, so that a request that is shown again and again costs AWS nothing.
func (s *Callers) Verify(ctx context.Context, token string) (exchange.Proof, error) {
	r, err := readSigned(token)
	if err != nil {
		return exchange.Proof{}, err
	}
	p, ok := s.byAudience[r.audience]
	if !ok {
		// Made for another relying party, who could show it here.
		return exchange.Proof{}, invalid("the audience that was signed is not ours")
	}
	proof := exchange.Proof{Identity: trust.Identity{Provider: p.Name}}
	now := s.now()
	switch {
	case now.Sub(r.date) > min(p.MaxAge, signatureLife)+p.ClockSkew:
		return proof, exchange.Refuse(trust.ReasonTooOld, nil)
	case r.date.Sub(now) > p.ClockSkew:
		return proof, exchange.Refuse(trust.ReasonIatFuture, nil)
	case len(r.ours()) > maxNonce:
		return proof, exchange.Refuse(trust.ReasonNonceInvalid, nil)
	}
	who, err := p.ask(ctx, r, now)
	if err != nil {
		return proof, err
	}
	if who.partition != r.partition {
		// A signature is good in its own partition alone: this is no answer of AWS.
		return proof, unproven(errors.New("the answer is of another partition than the host"))
	}
	return s.proof(p, r, who)
}

// proof is what AWS's answer proves.
func (s *Callers) proof(p *callerProvider, r signedRequest, who caller) (exchange.Proof, error) {
	end := r.date.Add(signatureLife)
	claims := map[string]any{
		"iss": callerIssuer, "sub": who.arn(), "aud": r.audience, "iat": r.date.Unix(), "exp": end.Unix(),
		"account": who.account, "partition": who.partition, "role": who.role, "unique_id": who.uniqueID, "session": who.session,
	}
	workload, err := oidc.WorkloadOf(s.trustDomain, p.Provider, CallerPlatform(), claims)
	proof := exchange.Proof{
		Identity: trust.Identity{
			Provider: p.Name, Workload: workload, Subject: who.arn(), Issuer: callerIssuer, Audience: r.audience,
			IssuedAt: r.date, ExpiresAt: end, Claims: claims,
		},
		ReplayKey: r.replayKey(), ClockSkew: p.ClockSkew, Nonce: r.ours(),
	}
	if err != nil {
		return proof, exchange.Refuse(trust.ReasonWorkloadClaim, err)
	}
	return proof, nil
}

// ask is what AWS says of a request.
func (p *callerProvider) ask(ctx context.Context, r signedRequest, now time.Time) (caller, error) {
	a, mine, err := p.begin(r.memory(), now)
	if err != nil {
		return caller{}, err
	}
	if !mine {
		return a.result()
	}
	finished := &callerAnswer{done: true, until: r.date.Add(signatureLife + p.ClockSkew)}
	finished.refused = unproven(errors.New("the question came to no end"))
	defer func() { p.end(r.memory(), finished) }() // also where it panics, or it would be under way for ever
	finished.caller, finished.refused = p.call(ctx, r)
	return finished.result()
}

func (a *callerAnswer) result() (caller, error) {
	if a.refused != nil {
		e := *a.refused // whoever takes it on may write to it
		return caller{}, &e
	}
	return a.caller, nil
}

// busy is what a caller waits for who may not ask now.
func busy(why string) *exchange.Error {
	e := exchange.Unanswered(trust.ReasonProofBusy, errors.New(why))
	e.RetryAfter = time.Second
	return e
}

// begin finds the answer to a request, or lets the caller ask (mine). The same
// request is not asked about twice at a time: an honest workload makes a new one for
// every attempt.
func (p *callerProvider) begin(key string, now time.Time) (a *callerAnswer, mine bool, err error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	switch a := p.known[key]; {
	case a != nil && !a.done:
		return nil, false, busy("the same request is being asked about")
	case a != nil && now.Before(a.until):
		return a, false, nil
	}
	p.tokens = min(callBurst, p.tokens+max(0, now.Sub(p.filled).Seconds())*callRate)
	p.filled = now
	if p.tokens < 1 {
		return nil, false, busy("as many questions were asked as may be")
	}
	p.tokens--
	p.forget(now)
	p.known[key] = &callerAnswer{}
	return nil, true, nil
}

// forget makes room: what can no longer be used goes first, then what comes.
func (p *callerProvider) forget(now time.Time) {
	if len(p.known) < maxAnswers {
		return
	}
	for key, a := range p.known {
		if a.done && !now.Before(a.until) {
			delete(p.known, key)
		}
	}
	for key, a := range p.known {
		if len(p.known) < maxAnswers {
			return
		}
		if a.done {
			delete(p.known, key) // it is asked about again, that is all
		}
	}
}

// end keeps the answer, unless there was none: then the next attempt asks.
func (p *callerProvider) end(key string, a *callerAnswer) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if a.refused != nil && a.refused.Code == exchange.Unavailable {
		delete(p.known, key)
		return
	}
	p.known[key] = a
}

// call asks AWS whose signature it is.
func (p *callerProvider) call(ctx context.Context, r signedRequest) (caller, *exchange.Error) {
	ctx, leave, err := p.client.Enter(ctx)
	if err != nil {
		return caller{}, busy("as many questions are under way as may be")
	}
	defer leave()
	base := "https://" + r.host
	if p.Endpoint != "" {
		base = strings.TrimSuffix(p.Endpoint, "/")
	}
	answer, err := p.client.Do(ctx, upstream.Call{
		URL: base + "/" + callerQuery, Host: r.host, Hide: []exchange.Secret{r.token, exchange.Secret(r.signature)},
		Header: http.Header{
			"Authorization":        {r.authorization()},
			"X-Amz-Date":           {r.stamp()},
			"X-Amz-Security-Token": {r.token.Reveal()},
			"X-Cambio-Audience":    {r.shownAudience()},
		},
		Harmless: true, Once: true, Statuses: []int{http.StatusBadRequest, http.StatusForbidden},
	})
	var e *exchange.Error
	switch {
	case errors.As(err, &e):
		return caller{}, unproven(e.Err)
	case err != nil:
		return caller{}, unproven(errors.New("the call failed"))
	case slices.Contains([]int{http.StatusBadRequest, http.StatusForbidden}, answer.Status):
		return caller{}, refusal(answer.Status, answer.Body)
	case answer.Status != http.StatusOK:
		return caller{}, unproven(errors.New("the answer's status is not 200"))
	}
	who, err := readCaller(answer.Header.Get("Content-Type"), answer.Body)
	switch {
	case errors.Is(err, errNoRole):
		return caller{}, exchange.Refuse(trust.ReasonClaimInvalid, err)
	case err != nil:
		return caller{}, unproven(err)
	}
	return who, nil
}

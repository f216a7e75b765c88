package oidc

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"slices"
	"time"

	gooidc "github.com/coreos/go-oidc/v3/oidc"

	"cambio/exchange"
	"cambio/trust"
)

// Config is what a Set is made of.
type Config struct {
	TrustDomain string // of the workload ids
	Platforms   map[string]Platform
	Providers   []Provider
	Now         func() time.Time
	Resolver    Resolver // default: the system's
	Log         *slog.Logger
	// Fetched is told of every fetch of a key set: failure is "" when it
	// succeeded. May be nil. It must not block.
	Fetched func(provider string, failure trust.Reason)
}

// Set verifies the tokens of all configured identity providers. It is safe for
// concurrent use. It implements [exchange.Verifier].
type Set struct {
	all      []*provider
	byIssuer map[string][]*provider
	byDomain map[string][]*provider // those of SPIFFE, by their trust domain
	domain   *Domain                // how those read SPIFFE IDs: all alike
	now      func() time.Time
}

// provider is a Provider with its defaults filled in, and how it is verified.
type provider struct {
	Provider
	platform    Platform
	trustDomain string
	segments    []Segment
	voice       string // what speaks for its tokens: the issuer, or the trust domain's SPIFFE ID where they have none
	keys        *source
	verifier    *gooidc.IDTokenVerifier
	review      Reviewer // nil: nobody is asked
}

// New returns the set of these providers. It calls none of them: a gateway
// starts also when none answers. The error joins all that is wrong.
func New(cfg Config) (*Set, error) {
	if cfg.Now == nil || cfg.Log == nil || cfg.TrustDomain == "" {
		return nil, errors.New("oidc: trust domain, clock and log are required")
	}
	if cfg.Resolver == nil {
		cfg.Resolver = net.DefaultResolver
	}
	s := &Set{byIssuer: make(map[string][]*provider), byDomain: make(map[string][]*provider), now: cfg.Now}
	flights := make(chan struct{}, maxFlights)
	var errs []error
	for _, c := range cfg.Providers {
		p, err := newProvider(cfg, c, flights)
		if err == nil {
			err = s.add(p)
		}
		if err != nil {
			errs = append(errs, fmt.Errorf("identity provider %s: %w", c.Name, err))
		}
	}
	if len(errs) > 0 {
		return nil, errors.Join(errs...)
	}
	return s, nil
}

// add files a provider under what its tokens are chosen by.
func (s *Set) add(p *provider) error {
	for _, other := range s.all {
		if other.voice != p.voice || other.platform.Proof != p.platform.Proof {
			continue
		}
		for _, a := range p.Audiences {
			if slices.Contains(other.Audiences, a) {
				return fmt.Errorf("%s has the same issuer and audience", other.Name)
			}
		}
	}
	s.all = append(s.all, p)
	if p.platform.Domain != nil {
		s.domain = p.platform.Domain
		s.byDomain[p.TrustDomain] = append(s.byDomain[p.TrustDomain], p)
	}
	if p.platform.Proof == exchange.SubjectJWT && p.Issuer != "" {
		s.byIssuer[p.Issuer] = append(s.byIssuer[p.Issuer], p)
	}
	return nil
}

func newProvider(cfg Config, c Provider, flights chan struct{}) (*provider, error) {
	platform, ok := cfg.Platforms[c.Type]
	if !ok {
		return nil, fmt.Errorf("unknown type %q", c.Type)
	}
	c = c.WithDefaults(platform)
	var errs []error
	for _, problem := range Check(c, platform) {
		errs = append(errs, fmt.Errorf("%s: %s", problem.Field, problem.Text))
	}
	if len(errs) > 0 {
		return nil, errors.Join(errs...)
	}
	p := &provider{Provider: c, platform: platform, trustDomain: cfg.TrustDomain, segments: segmentsOf(c, platform)}
	p.voice = c.Issuer
	p.keys = &source{provider: c.Name, now: cfg.Now, log: cfg.Log, observe: cfg.Fetched}
	if platform.Proof != exchange.SubjectJWT {
		return p, nil // proven elsewhere
	}
	if platform.Domain != nil {
		if err := p.openBundle(cfg, flights); err != nil {
			return nil, err
		}
	} else if c.JWKSFile != nil {
		set, err := parseKeys(c.JWKSFile)
		if err != nil {
			return nil, fmt.Errorf("jwks_file: %w", err)
		}
		p.keys.current.Store(&snapshot{keySet: set})
	} else {
		f, err := newFetcher(c, platform.KeysHosts, cfg.Resolver, flights)
		if err != nil {
			return nil, err
		}
		p.keys.fetch = f.fetch
	}
	var err error
	if p.review, err = newReviewer(c, platform, cfg.Resolver); err != nil {
		return nil, err
	}
	// Audience and times are checked here, with the provider's clock skew:
	// go-oidc has none for exp, five minutes for nbf, and ignores iat.
	p.verifier = gooidc.NewVerifier(c.Issuer, p.keys, &gooidc.Config{
		SkipClientIDCheck:    true,
		SkipExpiryCheck:      true,
		SupportedSigningAlgs: c.Algs,
		// Without one the tokens have none, which is compared after it.
		SkipIssuerCheck: c.Issuer == "",
	})
	return p, nil
}

// Verify proves one token: see [exchange.Verifier]. The checks run in the order
// of their price and of what they give away, and the first that fails decides.
func (s *Set) Verify(ctx context.Context, raw string) (exchange.Proof, error) {
	t, err := parseToken(raw)
	if err != nil {
		return exchange.Proof{}, err
	}
	p, err := s.choose(t)
	if err != nil {
		return exchange.Proof{}, err
	}
	proof := exchange.Proof{Identity: trust.Identity{Provider: p.Name}}
	if t.typ != "" && !slices.Contains(p.platform.Typ, t.mediaType()) {
		// A token of another kind, signed by the same keys for another use
		// (RFC 8725 section 3.11).
		return proof, exchange.Refuse(trust.ReasonTypNotAllowed, nil)
	}
	if !slices.Contains(p.Algs, t.alg) {
		// Before any key is looked for: the header never decides how it is
		// verified (RFC 8725 section 3.1).
		return proof, exchange.Refuse(trust.ReasonAlgNotAllowed, nil)
	}
	a := &attempt{token: t}
	id, libErr := p.verifier.Verify(context.WithValue(ctx, attemptKey{}, a), raw)
	if !a.proven {
		if a.err == nil {
			return proof, malformed(errors.New("go-oidc does not read the token"))
		}
		return proof, a.err
	}
	var asked []string
	if p.review != nil {
		asked = p.reviewed(rawAudiences(t.claims)) // prove makes them bare
	}
	proof, err = p.prove(t, s.now())
	if err != nil {
		return proof, err
	}
	if libErr != nil || id.Issuer != p.Issuer || id.Subject != proof.Subject {
		// The library matches names without case: a payload with both "sub" and
		// "SUB" has two meanings, and we take neither.
		return proof, exchange.Refuse(trust.ReasonClaimInvalid, errors.New("go-oidc reads the claims differently"))
	}
	if p.review != nil {
		// Last of all: only who holds a good token has us call anybody.
		if err := p.review(ctx, Proven{Token: exchange.Secret(raw), Audiences: asked, Subject: proof.Subject, Claims: proof.Claims}); err != nil {
			return proof, err
		}
	}
	return proof, nil
}

// choose finds the one provider that has the token's issuer and one of its
// audiences, byte for byte. A token of none is refused without a call to
// anywhere. Where only the audience is wrong and one provider has the issuer,
// that one is chosen: its keys prove the token, and prove refuses it for the
// audience, so that only an honest caller is told the right one.
func (s *Set) choose(t *token) (*provider, error) {
	value, has := t.claims["iss"]
	if !has && len(s.byDomain) > 0 {
		return s.chooseByDomain(t)
	}
	issuer, _ := value.(string)
	candidates := s.byIssuer[issuer]
	if issuer == "" || len(candidates) == 0 {
		return nil, exchange.Refuse(trust.ReasonIssuerUnknown, errors.New("issuer "+cut(issuer, 256)))
	}
	return pick(candidates, audiences(t.claims))
}

// pick finds the one candidate that has one of these audiences.
func pick(candidates []*provider, auds []string) (*provider, error) {
	var chosen *provider
	for _, p := range candidates {
		if p.ours(auds) == "" {
			continue
		}
		if chosen != nil {
			// Which rules judge it would be the sender's choice.
			return nil, exchange.Refuse(trust.ReasonProviderAmbiguous, nil)
		}
		chosen = p
	}
	switch {
	case chosen != nil:
		return chosen, nil
	case len(candidates) == 1:
		return candidates[0], nil
	}
	return nil, exchange.Refuse(trust.ReasonAudMismatch, nil)
}

// Refresh asks for newer key sets of the providers whose set is in use and no
// longer fresh. It does not wait. Called now and then, it lets an idle gateway
// learn of withdrawn keys before the next token comes.
func (s *Set) Refresh(ctx context.Context) {
	for _, p := range s.all {
		snap := p.keys.current.Load()
		if p.keys.fetch != nil && snap != nil && s.now().Sub(snap.fetched) > snap.fresh {
			p.keys.start(ctx)
		}
	}
}

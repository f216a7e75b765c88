package oidc

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"strings"
	"time"

	"cambio/exchange"
	"cambio/trust"
)

// Domain is how the subjects of a platform are read that are SPIFFE IDs.
type Domain struct {
	// Parse takes a SPIFFE ID apart, to the letter. It normalises nothing.
	Parse func(id string) (trustDomain, path string, err error)
	// Server says why the certificates that a server shows do not prove that it is
	// id, or nil. roots are the authorities of its trust domain.
	Server func(shown []*x509.Certificate, roots *x509.CertPool, id string, now time.Time) error
}

// The claims that the verifier makes of a SPIFFE ID.
const (
	claimTrustDomain = "trust_domain"
	claimPath        = "path"
	claimSVID        = "svid"
)

// errEndpoint says that who answers at the bundle endpoint is not who it should be.
var errEndpoint = errors.New("the bundle endpoint does not prove the SPIFFE ID of bundle_endpoint_id by the bundle in force")

// check says what is wrong with the settings of a trust domain.
func (d *Domain) check(p Provider) []Problem {
	var problems []Problem
	add := func(finding, field, text string) {
		problems = append(problems, Problem{Finding: finding, Field: field, Text: text})
	}
	if domain, path, err := d.Parse("spiffe://" + p.TrustDomain); p.TrustDomain == "" || err != nil || path != "" || domain != p.TrustDomain {
		add(FindingSetting, "trust_domain", "a trust domain is required: lower-case letters, digits, dots, hyphens and underscores, without spiffe://")
	}
	if p.Bundle == nil && p.BundleURL == "" {
		add(FindingKeys, "bundle_file", "nothing says where the trust domain's bundle is; write bundle_file or bundle_url")
	}
	if p.BundleURL != "" {
		if problem := CheckURL("bundle_url", p.BundleURL, p.InsecureLoopback, p.Dial); problem != nil {
			problems = append(problems, *problem)
		} else if p.BundleEndpointID != "" && !strings.HasPrefix(p.BundleURL, "https://") {
			add(FindingURL, "bundle_url", "the endpoint proves its SPIFFE ID by TLS; write https")
		}
	}
	if p.Bundle != nil {
		if _, err := parseBundle(p.Bundle); err != nil {
			add(FindingKeys, "bundle_file", err.Error())
		}
	}
	if p.BundleEndpointID == "" {
		return problems
	}
	domain, path, err := d.Parse(p.BundleEndpointID)
	switch {
	case err != nil || path == "":
		add(FindingSetting, "bundle_endpoint_id", "not the SPIFFE ID of a workload")
	case domain != p.TrustDomain:
		// Its authorities would be those of another bundle, which is not here.
		add(FindingSetting, "bundle_endpoint_id", "the endpoint's SPIFFE ID is of another trust domain; only one of trust_domain itself can be proven")
	}
	switch {
	case p.BundleURL == "":
		add(FindingSetting, "bundle_endpoint_id", "there is no bundle_url that it could be proven at")
	case p.Bundle == nil:
		add(FindingKeys, "bundle_file", "the endpoint is proven by the bundle itself, so a first one is needed; write bundle_file")
	}
	return problems
}

// openBundle prepares where the provider's keys come from. It calls nobody.
func (p *provider) openBundle(cfg Config, flights chan struct{}) error {
	if p.Issuer == "" {
		p.voice = "spiffe://" + p.TrustDomain
	}
	if p.Bundle != nil {
		set, err := parseBundle(p.Bundle)
		if err != nil {
			return fmt.Errorf("bundle_file: %w", err)
		}
		// Good at once, and old at once: the first who needs it asks for a newer one.
		p.keys.current.Store(&snapshot{keySet: set, fetched: cfg.Now()})
	}
	if p.BundleURL == "" {
		if p.BundleRead != nil {
			p.keys.fetch = readAgain(p.BundleRead)
		}
		return nil
	}
	f, err := newBundleFetcher(p.Provider, p.platform.Domain, p.keys, cfg, flights)
	if err != nil {
		return err
	}
	p.keys.fetch = f.fetch
	return nil
}

// newBundleFetcher returns the fetcher of a bundle endpoint.
func newBundleFetcher(p Provider, d *Domain, keys *source, cfg Config, flights chan struct{}) (*fetcher, error) {
	p.JWKSURL = p.BundleURL
	f, err := newFetcher(p, nil, cfg.Resolver, flights)
	if err != nil {
		return nil, err
	}
	f.parse = parseBundle
	if p.BundleEndpointID == "" {
		return f, nil // profile https_web
	}
	// Profile https_spiffe: the name in the URL says nothing, the SPIFFE ID all.
	transport, err := guarded(p, cfg.Resolver)
	if err != nil {
		return nil, err
	}
	transport.TLSClientConfig = &tls.Config{
		MinVersion:         tls.VersionTLS12,
		InsecureSkipVerify: true, //nolint:gosec // verified below, by the bundle and not by the Web's authorities
		VerifyConnection: func(c tls.ConnectionState) error {
			// Also an old bundle proves the endpoint: without it no newer one would ever
			// come, and a certificate that is still good is good.
			snap := keys.current.Load()
			if snap == nil || d.Server(c.PeerCertificates, snap.bundle.roots, p.BundleEndpointID, cfg.Now()) != nil {
				return errEndpoint
			}
			return nil
		},
	}
	f.client.Transport = transport
	return f, nil
}

// readAgain reads the bundle's file.
func readAgain(read func() ([]byte, error)) func(context.Context) (*keySet, *exchange.Error) {
	return func(context.Context) (*keySet, *exchange.Error) {
		b, err := read()
		if err != nil {
			return nil, unavailable(errors.New("the bundle's file cannot be read"))
		}
		set, err := parseBundle(b)
		if err != nil {
			return nil, unavailable(fmt.Errorf("the bundle's file: %w", err))
		}
		set.bundle.refresh = minRefresh // a look at a file costs nothing
		return set, nil
	}
}

// chooseByDomain finds the one provider of a token without iss: by the trust
// domain of its sub, and an audience, byte for byte.
func (s *Set) chooseByDomain(t *token) (*provider, error) {
	sub, _ := t.claims["sub"].(string)
	if scheme, _, _ := strings.Cut(sub, ":"); !strings.EqualFold(scheme, "spiffe") {
		return nil, exchange.Refuse(trust.ReasonIssuerUnknown, errors.New("no issuer, and sub is no SPIFFE ID"))
	}
	domain, path, err := s.domain.Parse(sub)
	if err != nil || path == "" {
		return nil, exchange.Refuse(trust.ReasonSPIFFEID, err)
	}
	var candidates []*provider
	for _, p := range s.byDomain[domain] {
		if p.Issuer == "" { // of the others, a token without iss is none
			candidates = append(candidates, p)
		}
	}
	if len(candidates) == 0 {
		return nil, exchange.Refuse(trust.ReasonIssuerUnknown, errors.New("trust domain "+cut(domain, 256)))
	}
	return pick(candidates, audiences(t.claims))
}

// derive puts into the claims what the SPIFFE ID says, in the place of whatever
// the token has there.
func (p *provider) derive(claims map[string]any) error {
	for _, name := range p.platform.Derived {
		delete(claims, name)
	}
	sub, _ := claims["sub"].(string)
	domain, path, err := p.platform.Domain.Parse(sub)
	switch {
	case err != nil:
		return err
	case path == "":
		return errors.New("it is the trust domain's, and no workload's")
	case domain != p.TrustDomain:
		// Whoever holds one trust domain's keys could speak for any other's.
		return errors.New("it is of another trust domain")
	}
	claims[claimTrustDomain], claims[claimPath], claims[claimSVID] = domain, path, "jwt"
	return nil
}

// undated reports a token without iat, where it may lack one (JWT-SVID section 3).
func (p *provider) undated(claims map[string]any) bool {
	if p.platform.Domain == nil {
		return false
	}
	_, has := claims["iat"]
	return !has
}

// Member is the identity provider of a trust domain.
type Member struct {
	set *Set
	p   *provider
}

// HasDomains reports whether any provider is a trust domain.
func (s *Set) HasDomains() bool { return len(s.byDomain) > 0 }

// Member finds the one identity provider of a trust domain. The error is an
// [*exchange.Error]: issuer-unknown, or provider-ambiguous where several have it,
// which only tokens tell apart, by their audience.
func (s *Set) Member(domain string) (*Member, error) {
	switch of := s.byDomain[domain]; len(of) {
	case 0:
		return nil, exchange.Refuse(trust.ReasonIssuerUnknown, errors.New("trust domain "+cut(domain, 256)))
	case 1:
		return &Member{s, of[0]}, nil
	}
	return nil, exchange.Refuse(trust.ReasonProviderAmbiguous, nil)
}

// Provider is its configuration, with its defaults.
func (m *Member) Provider() Provider { return m.p.Provider }

// Workload is the workload id of claims.
func (m *Member) Workload(claims map[string]any) (string, error) {
	return workloadID(m.p.trustDomain, m.p.Name, m.p.segments, claims)
}

// Vouched asks try whether the authorities of the bundle in force vouch for
// something. Where they do not, a newer bundle is fetched, as for a token whose key
// is not known, and try is asked once more. The error is an [*exchange.Error]:
// certificate-untrusted with what try said, or why there is no bundle to ask.
func (m *Member) Vouched(ctx context.Context, try func(roots *x509.CertPool) error) error {
	s := m.p.keys
	first, usable := s.usable(ctx)
	var err error
	if usable {
		if err = try(first.bundle.roots); err == nil {
			return nil
		}
	}
	if s.fetch != nil {
		if flight := s.start(ctx); flight != nil {
			select {
			case <-flight:
			case <-ctx.Done():
				return exchange.Unanswered(trust.ReasonJWKSUnavailable, ctx.Err())
			}
		}
		newer, ok := s.usable(ctx)
		if !ok {
			return s.missing("")
		}
		if newer != first {
			if err = try(newer.bundle.roots); err == nil {
				return nil
			}
		}
		if failure := s.failed(); failure != nil {
			return failure // the one that would may be in the bundle that did not come
		}
	}
	return exchange.Refuse(trust.ReasonCertUntrusted, err)
}

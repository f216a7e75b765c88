package providers

import (
	"context"
	cryptox509 "crypto/x509"
	"time"

	"cambio/exchange"
	"cambio/providers/aws"
	"cambio/providers/oidc"
	"cambio/providers/spiffe"
	"cambio/providers/x509"
	"cambio/trust"
)

// Set proves what workloads show, for all configured identity providers. It is
// safe for concurrent use. It implements [exchange.Verifier].
type Set struct {
	tokens  *oidc.Set
	callers *aws.Callers
	svids   *spiffe.Certificates
	clients *x509.Clients
}

// New returns the verifier of cfg.Providers on the platforms of the catalogue.
// It calls none of them.
func New(cfg oidc.Config) (*Set, error) {
	cfg.Platforms = Platforms()
	tokens, err := oidc.New(cfg)
	if err != nil {
		return nil, err
	}
	callers, err := aws.NewCallers(aws.CallersConfig{
		TrustDomain: cfg.TrustDomain, Now: cfg.Now, Providers: shown(cfg, exchange.SubjectAWS),
	})
	if err != nil {
		return nil, err
	}
	clients, err := x509.NewClients(cfg.TrustDomain, shown(cfg, exchange.SubjectMTLS), cfg.Now)
	if err != nil {
		return nil, err
	}
	return &Set{tokens: tokens, callers: callers, svids: spiffe.NewCertificates(tokens, cfg.Now), clients: clients}, nil
}

// shown are the providers whose workloads prove themselves so.
func shown(cfg oidc.Config, kind exchange.SubjectType) []oidc.Provider {
	var out []oidc.Provider
	for _, p := range cfg.Providers {
		if cfg.Platforms[p.Type].Proof == kind {
			out = append(out, p)
		}
	}
	return out
}

// Verify proves what a workload shows: see [exchange.Verifier]. Its type says
// which way; nothing is detected from the token itself.
func (s *Set) Verify(ctx context.Context, subject exchange.Subject) (exchange.Proof, error) {
	switch subject.Type {
	case exchange.SubjectJWT:
		return s.tokens.Verify(ctx, subject.Token)
	case exchange.SubjectAWS:
		return s.callers.Verify(ctx, subject.Token)
	case exchange.SubjectMTLS:
		return s.certificate(ctx, subject.Certificates)
	default:
		return exchange.Proof{}, exchange.Refuse(trust.ReasonTokenType, nil)
	}
}

// certificate proves the certificate of a connection. One with a SPIFFE ID is its
// trust domain's affair alone, where there is any.
func (s *Set) certificate(ctx context.Context, shown []*cryptox509.Certificate) (exchange.Proof, error) {
	switch {
	case !s.tokens.HasDomains() && !s.clients.Any():
		return exchange.Proof{}, exchange.Refuse(trust.ReasonTokenType, nil)
	case len(shown) == 0:
		return exchange.Proof{}, exchange.Refuse(trust.ReasonCertMissing, nil)
	case s.svids.Claims(shown[0]):
		return s.svids.Verify(ctx, shown)
	}
	return s.clients.Verify(shown)
}

// Claimed is the identity that these claims would prove, see [oidc.Set.Claimed].
func (s *Set) Claimed(provider string, payload []byte, at time.Time) (trust.Identity, error) {
	return s.tokens.Claimed(provider, payload, at)
}

// Refresh asks for newer key sets, see [oidc.Set.Refresh].
func (s *Set) Refresh(ctx context.Context) { s.tokens.Refresh(ctx) }

package providers

import (
	"context"
	"time"

	"cambio/exchange"
	"cambio/providers/oidc"
	"cambio/trust"
)

// Set proves what workloads show, for all configured identity providers. It is
// safe for concurrent use. It implements [exchange.Verifier].
type Set struct {
	tokens *oidc.Set
}

// New returns the verifier of cfg.Providers on the platforms of the catalogue.
// It calls none of them.
func New(cfg oidc.Config) (*Set, error) {
	cfg.Platforms = Platforms()
	tokens, err := oidc.New(cfg)
	if err != nil {
		return nil, err
	}
	return &Set{tokens: tokens}, nil
}

// Verify proves what a workload shows: see [exchange.Verifier]. Its type says
// which way; nothing is detected from the token itself.
func (s *Set) Verify(ctx context.Context, subject exchange.Subject) (exchange.Proof, error) {
	switch subject.Type {
	case exchange.SubjectJWT:
		return s.tokens.Verify(ctx, subject.Token)
	default:
		return exchange.Proof{}, exchange.Refuse(trust.ReasonTokenType, nil)
	}
}

// Claimed is the identity that these claims would prove, see [oidc.Set.Claimed].
func (s *Set) Claimed(provider string, payload []byte, at time.Time) (trust.Identity, error) {
	return s.tokens.Claimed(provider, payload, at)
}

// Refresh asks for newer key sets, see [oidc.Set.Refresh].
func (s *Set) Refresh(ctx context.Context) { s.tokens.Refresh(ctx) }

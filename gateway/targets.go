package gateway

import (
	"context"
	"fmt"

	"cambio/exchange"
	"cambio/providers/aws"
	"cambio/providers/jwt"
)

// openTargets makes the configured targets ready. It calls none of them.
func (g *Gateway) openTargets(context.Context) error {
	g.targets = make(map[string]exchange.Target, len(g.config.Targets))
	for name, t := range g.config.Targets {
		target, err := g.target(t)
		if err != nil {
			return fmt.Errorf("gateway: target %s: %w", name, err)
		}
		g.targets[name] = target
	}
	return nil
}

func (g *Gateway) target(t Target) (exchange.Target, error) {
	if t.Type != targetAWS {
		return exchange.Target{
			Minter: jwt.Minter{Audience: t.Audience}, RFC9068: t.Profile == "rfc9068", Types: jwt.Types(),
		}, nil
	}
	minter, err := aws.New(aws.Config{
		Account: t.Account, Region: t.Region, Audience: t.Audience, Endpoint: t.endpoint(), Now: g.env.Now,
	})
	if err != nil {
		return exchange.Target{}, err
	}
	target := exchange.Target{Minter: minter, Types: aws.Types(), Cloud: true}
	if t.Subject == "trust" {
		target.TrustSubject = TrustSubject(g.config.TrustDomain, "")
	}
	return target, nil
}

// TrustSubject is the sub of our assertion where a target has subject: trust.
func TrustSubject(trustDomain, name string) string {
	return "spiffe://" + trustDomain + "/trust/" + name
}

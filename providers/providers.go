// Package providers is the catalogue: every platform that identities come from,
// and every type of target that credentials are for.
package providers

import (
	"cambio/providers/aws"
	"cambio/providers/gcp"
	"cambio/providers/github"
	"cambio/providers/jwt"
	"cambio/providers/kubernetes"
	"cambio/providers/oidc"
	"cambio/trust"
)

// Platforms are the types of identity providers, by their name in the
// configuration.
func Platforms() map[string]oidc.Platform {
	return map[string]oidc.Platform{
		"github-actions": github.Platform(),
		"kubernetes":     kubernetes.Platform(),
		"gcp":            gcp.Platform(),
		"oidc":           oidc.Generic(),
	}
}

// TargetTypes are the types of targets, by their name in the configuration.
func TargetTypes() map[string]trust.TargetType {
	return map[string]trust.TargetType{
		"jwt": jwt.TargetType(),
		"aws": aws.TargetType("", ""),
	}
}

// New returns the verifier of cfg.Providers on the platforms of the catalogue.
// It calls none of them.
func New(cfg oidc.Config) (*oidc.Set, error) {
	cfg.Platforms = Platforms()
	return oidc.New(cfg)
}

// Check says all that is wrong with one provider's configuration, without
// calling it. A type that the catalogue lacks is one problem.
func Check(p oidc.Provider) []oidc.Problem {
	platform, ok := Platforms()[p.Type]
	if !ok {
		return []oidc.Problem{{Finding: oidc.FindingSetting, Field: "type", Text: "no such type of identity provider"}}
	}
	return oidc.Check(p.WithDefaults(platform), platform)
}

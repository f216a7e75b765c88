// Package providers is the catalogue: every platform that identities come from,
// and every type of target that credentials are for.
package providers

import (
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
	}
}

// Package providers is the catalogue: every platform that identities come from,
// and every type of target that credentials are for.
package providers

import (
	"maps"
	"slices"

	"cambio/providers/aws"
	"cambio/providers/azure"
	"cambio/providers/azuredevops"
	"cambio/providers/bitbucket"
	"cambio/providers/buildkite"
	"cambio/providers/circleci"
	"cambio/providers/cloudbuild"
	"cambio/providers/codefresh"
	"cambio/providers/env0"
	"cambio/providers/fly"
	"cambio/providers/gcp"
	"cambio/providers/github"
	"cambio/providers/gitlab"
	"cambio/providers/harness"
	"cambio/providers/jenkins"
	"cambio/providers/jwt"
	"cambio/providers/kubernetes"
	"cambio/providers/oauth"
	"cambio/providers/oidc"
	"cambio/providers/pulumi"
	"cambio/providers/semaphore"
	"cambio/providers/spacelift"
	"cambio/providers/spiffe"
	"cambio/providers/ssh"
	"cambio/providers/terraform"
	"cambio/providers/vault"
	"cambio/providers/vercel"
	"cambio/providers/x509"
	"cambio/trust"
)

// platforms are the types of identity providers, by their name in the
// configuration.
func platforms() map[string]func() oidc.Platform {
	return map[string]func() oidc.Platform{
		"github-actions":      github.Platform,
		"kubernetes":          kubernetes.Platform,
		"gcp":                 gcp.Platform,
		"gitlab-ci":           gitlab.Platform,
		"circleci":            circleci.Platform,
		"buildkite":           buildkite.Platform,
		"bitbucket-pipelines": bitbucket.Platform,
		"azure-devops":        azuredevops.Platform,
		"hcp-terraform":       terraform.Platform,
		"google-cloud-build":  cloudbuild.Platform,
		"spacelift":           spacelift.Platform,
		"env0":                env0.Platform,
		"harness":             harness.Platform,
		"codefresh":           codefresh.Platform,
		"semaphore":           semaphore.Platform,
		"vercel":              vercel.Platform,
		"fly-io":              fly.Platform,
		"jenkins":             jenkins.Platform,
		"pulumi":              pulumi.Platform,
		"spiffe":              spiffe.Platform,
		"x509":                x509.Platform,
		"oidc":                oidc.Generic,
		"aws":                 aws.Platform,
		"aws-caller-identity": aws.CallerPlatform,
		"azure":               azure.Platform,
	}
}

// Platforms are all types of identity providers, by their name in the
// configuration. Who needs one of them asks [Platform].
func Platforms() map[string]oidc.Platform {
	all := platforms()
	out := make(map[string]oidc.Platform, len(all))
	for name, platform := range all {
		out[name] = platform()
	}
	return out
}

// PlatformNames are the names of all types of identity providers, sorted.
func PlatformNames() []string { return slices.Sorted(maps.Keys(platforms())) }

// Platform is one type of identity provider; false: there is none of that name.
func Platform(name string) (oidc.Platform, bool) {
	platform, ok := platforms()[name]
	if !ok {
		return oidc.Platform{}, false
	}
	return platform(), true
}

// TargetTypes are the types of targets, by their name in the configuration.
func TargetTypes() map[string]trust.TargetType {
	return map[string]trust.TargetType{
		"jwt":        jwt.TargetType(),
		"aws":        aws.TargetType("", ""),
		"github":     github.TargetType(),
		"kubernetes": kubernetes.AnyTargetType(),
		"gcp":        gcp.TargetType(),
		"azure":      azure.TargetType(),
		"vault":      vault.TargetType(),
		"oauth":      oauth.TargetType(),
		"x509":       x509.TargetType(),
		"ssh":        ssh.TargetType(),
	}
}

// TargetFacts are what people want to know of a type of target.
type TargetFacts struct {
	Type  string
	Gives string // what comes out, in words
	Page  string // the how-to, a file below docs/how-to
}

// Targets are all types of targets, in the order in which they are told.
func Targets() []TargetFacts {
	return []TargetFacts{
		{"jwt", "a JWT of our own issuer", "connect-an-api.md"},
		{"aws", "temporary credentials of an IAM role, or a password for RDS", "connect-aws.md"},
		{"gcp", "a Google access token or ID token, or a password for Cloud SQL", "connect-google.md"},
		{"azure", "an Entra access token", "connect-azure.md"},
		{"kubernetes", "a JWT that a cluster takes, or a service account's token", "connect-kubernetes.md"},
		{"github", "an installation token of a GitHub App", "connect-github.md"},
		{"vault", "a Vault or OpenBao token", "connect-vault.md"},
		{"oauth", "an access token of another authorization server", "connect-oauth.md"},
		{"x509", "an X.509-SVID, which is a client and server certificate", "issue-certificates.md"},
		{"ssh", "an SSH user certificate", "ssh-certificates.md"},
	}
}

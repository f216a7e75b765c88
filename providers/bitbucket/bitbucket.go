// Package bitbucket describes the OpenID Connect tokens of Bitbucket Pipelines.
package bitbucket

import (
	"errors"
	"regexp"
	"strings"
	"time"

	"cambio/providers/oidc"
	"cambio/trust"
)

// Platform is configuration type bitbucket-pipelines. Each workspace has an
// issuer, https://api.bitbucket.org/2.0/workspaces/NAME/pipelines-config/identity/oidc,
// which holds its name; a name can be given up and taken by someone else, so a
// trust pins the UUID of the repository or of the workspace, which cannot. UUIDs
// keep their braces.
func Platform() oidc.Platform {
	text := trust.Claim{Type: trust.StringClaim}
	always := trust.Claim{Type: trust.StringClaim, Always: true}
	claims := oidc.StandardClaims()
	for name, c := range map[string]trust.Claim{
		"aud":                       {Type: trust.ListClaim, Always: true},
		"accountUuid":               text,
		"branchName":                {Type: trust.StringClaim, Chosen: true}, // by whoever may push; not for tags and custom runs
		"deploymentEnvironmentUuid": text,                                    // only for steps that deploy
		"pipelineUuid":              always,
		"repositoryUuid":            {Type: trust.StringClaim, Always: true, OwnedBy: "workspaceUuid"},
		"stepUuid":                  always,
		"workspaceUuid":             always,
	} {
		claims[name] = c
	}
	return oidc.Platform{
		Platform: trust.Platform{
			Name:    "bitbucket-pipelines",
			Claims:  claims,
			Anchors: []string{"repositoryUuid", "workspaceUuid"},
			Gates:   []string{"deploymentEnvironmentUuid", "branchName"},
			Journal: []string{
				"iss", "iat", "exp",
				"workspaceUuid", "repositoryUuid", "pipelineUuid", "stepUuid", "branchName", "deploymentEnvironmentUuid",
			},
			Sample: sample(),
		},
		Algs: []string{"RS256"},
		// A step holds one token from its start, and cannot fetch another one.
		TokenUse: trust.OncePerGrant,
		MaxAge:   time.Hour,
		Typ:      []string{"jwt"},
		Workload: []oidc.Segment{{Claim: "workspaceUuid"}, {Claim: "repositoryUuid"}},
		Check:    check,
		SharedAudience: func(_, audience string) bool {
			return strings.HasPrefix(audience, ownAudience)
		},
		IssuerForm: regexp.MustCompile(`^https://api\.bitbucket\.org/2\.0/workspaces/[^/?#]+/pipelines-config/identity/oidc$`),
		Facts: oidc.Facts{
			Title:    "Bitbucket Pipelines",
			Evidence: oidc.FromSource,
			Source:   "https://github.com/gravitational/teleport/blob/master/lib/join/bitbucket/bitbucket.go",
			Obtain:   "from `BITBUCKET_STEP_OIDC_TOKEN`, in steps with `oidc`",
			Page:     "bitbucket-pipelines.md",
			Risks: []string{
				"The issuer holds the workspace's name, which can be changed: then the configuration must follow.",
				"A pull request's pipeline has the source branch as `branchName`, and nothing says that it is one; production belongs behind a deployment environment.",
				"A step without `deployment:` has no `deploymentEnvironmentUuid`, one of a tag no `branchName`: a line for it never holds then.",
			},
		},
	}
}

func sample() map[string]any {
	const (
		repository  = "{a1b2c3d4-5e6f-4a7b-8c9d-0e1f2a3b4c5d}"
		environment = "{d00dfeed-1a2b-4c3d-8e4f-5a6b7c8d9e0f}"
		step        = "{e5f6a7b8-9c0d-4e1f-8a2b-3c4d5e6f7a8b}"
		workspace   = "{5f9b7a0e-3c2d-4b1a-9f8e-7d6c5b4a3928}"
	)
	return map[string]any{
		"iss":                       "https://api.bitbucket.org/2.0/workspaces/acme/pipelines-config/identity/oidc",
		"aud":                       []any{"https://id.acme.example"},
		"sub":                       repository + ":" + environment + ":" + step,
		"iat":                       int64(1795320000),
		"exp":                       int64(1795323600),
		"accountUuid":               workspace,
		"branchName":                "main",
		"deploymentEnvironmentUuid": environment,
		"pipelineUuid":              "{0c0ffee0-6b5a-4f4e-9d3c-2b1a09f8e7d6}",
		"repositoryUuid":            repository,
		"stepUuid":                  step,
		"workspaceUuid":             workspace,
	}
}

var (
	errSub      = errors.New("sub and repositoryUuid name different repositories")
	errAudience = errors.New("aud and workspaceUuid name different workspaces")
)

// ownAudience begins the audience that a step gets when it asks for none.
const ownAudience = "ari:cloud:bitbucket::workspace/"

// check compares sub, which is the repository, the environment where there is
// one, and the step, with the repository; and Bitbucket's own audience with the
// workspace.
func check(claims map[string]any) error {
	sub, _ := claims["sub"].(string)
	repository, _ := claims["repositoryUuid"].(string)
	if repository == "" || !strings.HasPrefix(sub, repository+":") {
		return errSub
	}
	list, _ := claims["aud"].([]any)
	for _, aud := range append([]any{claims["aud"]}, list...) {
		text, _ := aud.(string)
		if id, ok := strings.CutPrefix(text, ownAudience); ok && claims["workspaceUuid"] != "{"+strings.Trim(id, "{}")+"}" {
			return errAudience
		}
	}
	return nil
}

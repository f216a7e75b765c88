// Package github describes the tokens of GitHub Actions.
package github

import (
	"errors"
	"strings"
	"time"

	"cambio/providers/oidc"
	"cambio/trust"
)

// Platform is configuration type github-actions: github.com, an enterprise with
// its own issuer (https://token.actions.githubusercontent.com/SLUG), GitHub
// Enterprise Server (https://HOST/_services/token) and ghe.com, each as the
// exact issuer of the configuration.
//
// Custom properties (repo_property_*) are named by each organisation and are
// not in the table; a provider declares those it uses.
func Platform() oidc.Platform {
	text := trust.Claim{Type: trust.StringClaim}
	always := trust.Claim{Type: trust.StringClaim, Always: true}
	chosen := trust.Claim{Type: trust.StringClaim, Always: true, Chosen: true}
	claims := oidc.StandardClaims()
	for name, c := range map[string]trust.Claim{
		"actor":                 {Type: trust.StringClaim, Always: true, Chosen: true, PinnedBy: "actor_id"}, // who pushed the button: says nothing about what runs
		"actor_id":              chosen,
		"base_ref":              chosen, // "" but for pull requests
		"check_run_id":          text,
		"enterprise":            {Type: trust.StringClaim, PinnedBy: "enterprise_id"},
		"enterprise_id":         text,
		"environment":           text, // only when the job names one
		"environment_node_id":   text,
		"event_name":            always,
		"head_ref":              chosen, // "" but for pull requests; chosen by whoever opened it
		"issuer_scope":          text,
		"job_workflow_ref":      always, // the reusable workflow, where the job is one
		"job_workflow_sha":      text,
		"jti":                   always,
		"nbf":                   {Type: trust.IntClaim, Always: true},
		"ref":                   chosen, // by whoever may push; protection of the ref says who may
		"ref_protected":         {Type: trust.StringClaim, Values: []string{"true", "false"}},
		"ref_type":              {Type: trust.StringClaim, Values: []string{"branch", "tag"}, Always: true},
		"repository":            {Type: trust.StringClaim, Always: true, PinnedBy: "repository_id"}, // can be renamed, and the name taken by someone else
		"repository_id":         {Type: trust.StringClaim, Always: true, OwnedBy: "repository_owner_id"},
		"repository_owner":      {Type: trust.StringClaim, Always: true, PinnedBy: "repository_owner_id"},
		"repository_owner_id":   always,
		"repository_visibility": {Type: trust.StringClaim, Values: []string{"public", "private", "internal"}, Always: true},
		"run_attempt":           always,
		"run_id":                always,
		"run_number":            always,
		"runner_environment":    {Type: trust.StringClaim, Values: []string{hosted, "self-hosted"}, Always: true},
		"sha":                   always,
		"workflow":              chosen, // free text of the file
		"workflow_ref":          always,
		"workflow_sha":          always,
	} {
		claims[name] = c
	}
	return oidc.Platform{
		Platform: trust.Platform{
			Name:   "github-actions",
			Claims: claims,
			// The owner's id as well: a transferred repository keeps its own.
			Anchors: []string{"repository_id", "repository_owner_id"},
			// The code of a pull request is its author's, who may be anyone.
			Guarded: map[string][]string{"event_name": {"pull_request", "pull_request_target"}},
			// The events that run what somebody wrote who may not push.
			Outsiders: map[string][]string{"event_name": {
				"pull_request", "pull_request_target", "pull_request_review", "pull_request_review_comment",
			}},
			Gates:   []string{"environment", "ref_protected", "ref"},
			Hosted:  map[string]string{"runner_environment": hosted},
			Lint:    lint,
			Sample:  sample(),
			Journal: journal(),
		},
		Issuer:   "https://token.actions.githubusercontent.com",
		Algs:     []string{"RS256"},
		TokenUse: trust.Once,
		MaxAge:   time.Hour,
		Typ:      []string{"jwt"},
		Workload: []oidc.Segment{{Claim: "repository_owner_id"}, {Claim: "repository_id"}},
		Check:    check,
		Facts: oidc.Facts{
			Title: "GitHub Actions", Evidence: oidc.FromDocs, Page: "github-actions.md",
			Source: "https://docs.github.com/en/actions/reference/security/oidc",
			Obtain: "asks the job's own token service for each exchange; the job needs `permissions: id-token: write`",
			Risks: []string{
				"Whoever may push chooses the ref and the workflow's text; an `environment` with reviewers, or `ref_protected`, says who may.",
				"A `sub` that an organisation customised is not parsed: match the claims.",
			},
		},
	}
}

// hosted is the runner_environment of GitHub's own machines.
const hosted = "github-hosted"

func sample() map[string]any {
	const (
		sha      = "3b18e512dba79e4c8300dd08aeb37f8e728b8dad"
		workflow = "acme/payments/.github/workflows/deploy.yml@refs/heads/main"
	)
	return map[string]any{
		"iss":                   "https://token.actions.githubusercontent.com",
		"aud":                   "https://id.acme.example",
		"sub":                   "repo:acme@9919/payments@41881900:ref:refs/heads/main",
		"jti":                   "2f6b1c1e-58f4-4f0e-9d0b-6d9d5a3a7c11",
		"iat":                   int64(1795320000),
		"nbf":                   int64(1795319700),
		"exp":                   int64(1795320900),
		"actor":                 "octocat",
		"actor_id":              "583231",
		"base_ref":              "",
		"check_run_id":          "5550001",
		"event_name":            "push",
		"head_ref":              "",
		"job_workflow_ref":      workflow,
		"job_workflow_sha":      sha,
		"ref":                   "refs/heads/main",
		"ref_protected":         "true",
		"ref_type":              "branch",
		"repository":            "acme/payments",
		"repository_id":         "41881900",
		"repository_owner":      "acme",
		"repository_owner_id":   "9919",
		"repository_visibility": "private",
		"run_attempt":           "1",
		"run_id":                "9876543210",
		"run_number":            "42",
		"runner_environment":    hosted,
		"sha":                   sha,
		"workflow":              "deploy",
		"workflow_ref":          workflow,
		"workflow_sha":          sha,
	}
}

var (
	errSubForm = errors.New("sub begins with repo: but is of neither form that GitHub sends")
	errSubIDs  = errors.New("sub and the id claims name different repositories")
	errSubName = errors.New("sub and the name claims name different repositories")
)

// check compares sub with the claims that it repeats. There are two forms, the
// immutable one with ids, repo:OWNER@ID/REPO@ID:..., which is the default for
// repositories created, renamed or transferred since 2026-07-15, and the older
// repo:OWNER/REPO:.... A sub that an organisation customised to begin otherwise
// is not parsed: it can hold any claims in any order.
//
// A disagreement means that a name was recycled between the two, or that the
// token was composed to be read in two ways.
func check(claims map[string]any) error {
	sub, _ := claims["sub"].(string)
	rest, ok := strings.CutPrefix(sub, "repo:")
	if !ok {
		return nil
	}
	// A colon inside a value is sent as %3A, so the first one ends the name.
	full, _, _ := strings.Cut(rest, ":")
	owner, repo, ok := strings.Cut(full, "/")
	if !ok || strings.Contains(repo, "/") {
		return errSubForm
	}
	// GitHub's names hold no @, so it always divides a name from its id.
	owner, ownerID, ownerHas := strings.Cut(owner, "@")
	repo, repoID, repoHas := strings.Cut(repo, "@")
	if owner == "" || repo == "" || ownerHas != repoHas {
		return errSubForm
	}
	name, named := claims["repository"]
	if ownerHas {
		if claims["repository_owner_id"] != ownerID || claims["repository_id"] != repoID {
			return errSubIDs
		}
	} else if !named {
		return errSubName
	}
	if named && name != owner+"/"+repo {
		return errSubName
	}
	if o, has := claims["repository_owner"]; has && o != owner {
		return errSubName
	}
	return nil
}

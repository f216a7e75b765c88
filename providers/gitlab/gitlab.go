// Package gitlab describes the ID tokens of GitLab CI/CD.
package gitlab

import (
	"errors"
	"strings"
	"time"

	"cambio/providers/oidc"
	"cambio/trust"
)

// Platform is configuration type gitlab-ci: gitlab.com, Dedicated and
// self-managed instances from 15.7 on, each as the exact issuer of the
// configuration. Ids of projects and namespaces are numbers of the instance's
// database, and never given twice.
//
// A merge request from a fork runs, with the parent's runners and at the wish of
// the parent's members, code that the fork's author wrote. What its token says
// has changed:
//
//   - before 18.2.2, project_id and namespace_id name the parent, so that a fork
//     wears its parent's ids. Only pipeline_source tells, and for a child pipeline
//     of such a pipeline nothing does;
//   - since 18.2.2 they name the fork, and the token says nothing of the parent;
//   - since 18.4 job_project_id names the parent, where the job runs.
//
// So a trust takes none of it unless its match says that it is meant: see Guarded
// and Implied below. user_identities is a list of objects, which no document can
// match, and not in the table.
func Platform() oidc.Platform {
	text := trust.Claim{Type: trust.StringClaim}
	always := trust.Claim{Type: trust.StringClaim, Always: true}
	chosen := trust.Claim{Type: trust.StringClaim, Chosen: true}
	truth := []string{"true", "false"}
	claims := oidc.StandardClaims()
	for name, c := range map[string]trust.Claim{
		"ci_config_ref_uri":     text, // null where the pipeline's definition is of another project
		"ci_config_sha":         text,
		"deployment_tier":       {Type: trust.StringClaim, Values: []string{"production", "staging", "testing", "development", "other"}},
		"environment":           text, // only when the job names one; any job may, unless it is protected
		"environment_action":    text,
		"environment_protected": {Type: trust.StringClaim, Values: truth},
		"groups_direct":         {Type: trust.ListClaim, Chosen: true}, // of the user
		"job_id":                always,
		"job_namespace_id":      text, // of the project that the job runs in; since 18.4
		"job_namespace_path":    {Type: trust.StringClaim, PinnedBy: "job_namespace_id"},
		"job_project_id":        {Type: trust.StringClaim, OwnedBy: "job_namespace_id"},
		"job_project_path":      {Type: trust.StringClaim, PinnedBy: "job_project_id"},
		"job_source":            text,
		"jti":                   always,
		"namespace_id":          always,
		"namespace_path":        {Type: trust.StringClaim, Always: true, PinnedBy: "namespace_id"}, // can be renamed, and the name taken by someone else
		"nbf":                   {Type: trust.IntClaim, Always: true},
		"pipeline_id":           always,
		"pipeline_source":       always,
		"project_id":            {Type: trust.StringClaim, Always: true, OwnedBy: "namespace_id"}, // survives a transfer
		"project_path":          {Type: trust.StringClaim, Always: true, PinnedBy: "project_id"},
		"project_visibility":    {Type: trust.StringClaim, Values: []string{"public", "private", "internal"}},
		"ref":                   always, // a branch's or a tag's name, without refs/heads/: see lint
		"ref_path":              chosen, // refs/heads/main; by whoever may push; protection of the ref says who may
		"ref_protected":         {Type: trust.StringClaim, Values: truth, Always: true},
		"ref_type":              {Type: trust.StringClaim, Values: []string{"branch", "tag"}, Always: true},
		"runner_environment":    {Type: trust.StringClaim, Values: []string{hosted, "self-hosted"}},
		"runner_id":             {Type: trust.IntClaim}, // the one id that is a number
		"sha":                   text,
		"user_access_level":     chosen,
		"user_email":            {Type: trust.StringClaim, Chosen: true, PinnedBy: "user_id"},
		"user_id":               {Type: trust.StringClaim, Always: true, Chosen: true}, // who pushed the button: says nothing about what runs
		"user_login":            {Type: trust.StringClaim, Chosen: true, PinnedBy: "user_id"},
	} {
		claims[name] = c
	}
	return oidc.Platform{
		Platform: trust.Platform{
			Name:   "gitlab-ci",
			Claims: claims,
			// The namespace's id as well: a transferred project keeps its own.
			Anchors: []string{"project_id", "namespace_id"},
			// The code of a merge request is its author's, who may be anyone.
			Guarded: map[string][]string{"pipeline_source": mergeRequests()},
			Implied: map[string]string{
				// A fork's code on the parent's runners: with it the parent's members
				// could act as the fork, and the fork's as one of the parent's pipelines.
				"job_project_id": "claims.?job_project_id.orValue(claims.project_id) == claims.project_id",
				// A child of a merge request's pipeline says no more that it is one. Where
				// the token names the project that the job runs in, the line above tells.
				"pipeline_source": `claims.pipeline_source != "parent_pipeline" || has(claims.job_project_id)`,
			},
			Outsiders: map[string][]string{"pipeline_source": mergeRequests()},
			Gates:     []string{"environment_protected", "ref_protected", "ref_path"},
			Hosted:    map[string]string{"runner_environment": hosted},
			Lint:      lint,
			Sample:    sample(),
			// No user: who pushed the button tells about a person, and no decision
			// should rest on it.
			Journal: []string{
				"iss", "iat", "exp",
				"project_id", "project_path", "namespace_id", "namespace_path", "project_visibility",
				"job_project_id", "job_project_path", "job_namespace_id", "job_namespace_path",
				"ref", "ref_type", "ref_path", "ref_protected", "sha", "pipeline_source", "job_source",
				"environment", "environment_protected", "environment_action", "deployment_tier",
				"ci_config_ref_uri", "ci_config_sha", "pipeline_id", "job_id", "runner_id", "runner_environment",
			},
		},
		Issuer: "https://gitlab.com",
		Algs:   []string{"RS256"},
		// A job holds its tokens from its start, and cannot fetch another one.
		TokenUse:       trust.OncePerGrant,
		MaxAge:         24 * time.Hour,
		Typ:            []string{"jwt"},
		Workload:       []oidc.Segment{{Claim: "namespace_id"}, {Claim: "project_id"}},
		Check:          check,
		SharedAudience: func(issuer, audience string) bool { return audience == issuer },
		Facts: oidc.Facts{
			Title:    "GitLab CI/CD",
			Evidence: oidc.FromSource,
			Source:   "https://gitlab.com/gitlab-org/gitlab/-/blob/master/lib/gitlab/ci/jwt_v2.rb",
			Obtain:   "from the variable that the job's `id_tokens:` keyword names, `CAMBIO_TOKEN`",
			Page:     "gitlab-ci.md",
			Risks: []string{
				"Before 18.2.2 a fork's merge request has the parent's ids; those pipelines are refused unless `match` names their `pipeline_source`.",
				"`ref` is a name without refs/heads/: a tag called main has it too. Match `ref_path`, or `ref_type` beside it.",
				"Any job of a project may name an environment that is not protected.",
				"What `sub` is made of is a setting of each project; without `ref` in it, all branches have one.",
			},
		},
	}
}

// hosted is the runner_environment of GitLab's own machines.
const hosted = "gitlab-hosted"

// mergeRequests are the pipelines whose code has not been merged, of GitLab's own
// requests and of those of a mirrored repository.
func mergeRequests() []string {
	return []string{"merge_request_event", "external_pull_request_event"}
}

// sample lacks job_project_id and what goes with it: inline tests of a trust start
// from it, with the trust's own project_id, and the two must be one.
func sample() map[string]any {
	const sha = "714a629c0b401fdce83e847fc9589983fc6f46bc"
	return map[string]any{
		"iss":                   "https://gitlab.com",
		"aud":                   "https://id.acme.example",
		"sub":                   "project_path:acme/payments:ref_type:branch:ref:main",
		"jti":                   "235b3a54-b797-45c7-ae9a-f72d7bc6ef5b",
		"iat":                   int64(1795320000),
		"nbf":                   int64(1795319995),
		"exp":                   int64(1795323600),
		"ci_config_ref_uri":     "gitlab.com/acme/payments//.gitlab-ci.yml@refs/heads/main",
		"ci_config_sha":         sha,
		"deployment_tier":       "production",
		"environment":           "production",
		"environment_action":    "start",
		"environment_protected": "true",
		"job_id":                "8302145001",
		"job_source":            "push",
		"namespace_id":          "9919",
		"namespace_path":        "acme",
		"pipeline_id":           "1574000123",
		"pipeline_source":       "push",
		"project_id":            "41881900",
		"project_path":          "acme/payments",
		"project_visibility":    "private",
		"ref":                   "main",
		"ref_path":              "refs/heads/main",
		"ref_protected":         "true",
		"ref_type":              "branch",
		"runner_environment":    hosted,
		"runner_id":             int64(12270807),
		"sha":                   sha,
		"user_access_level":     "maintainer",
		"user_email":            "dana@acme.example",
		"user_id":               "583231",
		"user_login":            "dana",
	}
}

var (
	errSub       = errors.New("sub and the claims that it is made of differ")
	errNamespace = errors.New("project_path is not below namespace_path")
)

// check compares sub with the claims that it repeats: NAME:VALUE pairs, of which
// the project's path is the first one by default. No value of them holds a colon:
// git and GitLab forbid it in refs and paths. Which claims there are is a setting
// of the project; a sub that begins otherwise, and what follows a name that the
// token has no claim for, is not parsed.
//
// A disagreement means that a path was recycled between the two, or that the
// token was composed to be read in two ways.
func check(claims map[string]any) error {
	sub, _ := claims["sub"].(string)
	if strings.HasPrefix(sub, "project_path:") {
		for rest, more := sub, true; more; {
			var name, value string
			name, rest, more = strings.Cut(rest, ":")
			if !more {
				return errSub
			}
			value, rest, more = strings.Cut(rest, ":")
			want, known := claims[name].(string)
			if !known && name != "project_path" {
				break
			}
			if value != want {
				return errSub
			}
		}
	}
	for _, prefix := range []string{"", "job_"} {
		project, _ := claims[prefix+"project_path"].(string)
		namespace, _ := claims[prefix+"namespace_path"].(string)
		if project == "" || namespace == "" {
			continue
		}
		if name, ok := strings.CutPrefix(project, namespace+"/"); !ok || strings.Contains(name, "/") {
			return errNamespace
		}
	}
	return nil
}

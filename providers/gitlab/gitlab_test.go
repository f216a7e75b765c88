package gitlab_test

import (
	"maps"
	"testing"

	"github.com/google/go-cmp/cmp"

	"cambio/providers/gitlab"
	"cambio/providers/oidc"
	"cambio/providers/providertest"
	"cambio/trust"
)

// TestCheck: sub must agree with the claims that it repeats, whatever it is made
// of, and paths with each other.
func TestCheck(t *testing.T) {
	platform := current()
	for name, c := range map[string]struct {
		change map[string]any // nil takes a claim away
		ok     bool
	}{
		"default":             {nil, true},
		"path alone":          {map[string]any{"sub": "project_path:acme/payments"}, true},
		"path and ref":        {map[string]any{"sub": "project_path:acme/payments:ref:main"}, true},
		"protection":          {map[string]any{"sub": "project_path:acme/payments:ref_protected:true"}, true},
		"subgroups":           {map[string]any{"sub": "project_path:acme/a/b/payments", "project_path": "acme/a/b/payments", "namespace_path": "acme/a/b"}, true},
		"slashes in a ref":    {map[string]any{"sub": "project_path:acme/payments:ref_type:branch:ref:feature/a", "ref": "feature/a"}, true},
		"a name of its own":   {map[string]any{"sub": "project_path:acme/payments:planet:mars:ref:else"}, true},
		"customised":          {map[string]any{"sub": "job_project_path:acme/else"}, true},
		"older, without job_": {map[string]any{"job_project_path": nil, "job_namespace_path": nil}, true},

		"other project":      {map[string]any{"sub": "project_path:acme/evil:ref_type:branch:ref:main"}, false},
		"longer project":     {map[string]any{"sub": "project_path:acme/payments-evil:ref_type:branch:ref:main"}, false},
		"another case":       {map[string]any{"sub": "project_path:Acme/payments:ref_type:branch:ref:main"}, false},
		"other ref":          {map[string]any{"sub": "project_path:acme/payments:ref_type:branch:ref:evil"}, false},
		"other type":         {map[string]any{"sub": "project_path:acme/payments:ref_type:tag:ref:main"}, false},
		"other protection":   {map[string]any{"sub": "project_path:acme/payments:ref_protected:false"}, false},
		"a second ref":       {map[string]any{"sub": "project_path:acme/payments:ref_type:branch:ref:main:ref:evil"}, false},
		"a name, no value":   {map[string]any{"sub": "project_path:acme/payments:ref_type"}, false},
		"nothing":            {map[string]any{"sub": "project_path:"}, false},
		"no path":            {map[string]any{"project_path": nil}, false},
		"path is a number":   {map[string]any{"project_path": int64(1)}, false},
		"other namespace":    {map[string]any{"namespace_path": "evil"}, false},
		"part of a group":    {map[string]any{"namespace_path": "ac"}, false},
		"not its own group":  {map[string]any{"sub": "x", "project_path": "acme/a/payments"}, false},
		"other job's group":  {map[string]any{"job_namespace_path": "evil"}, false},
		"job's path, deeper": {map[string]any{"job_project_path": "acme/x/payments"}, false},
	} {
		t.Run(name, func(t *testing.T) {
			claims := providertest.Changed(platform.Sample, c.change)
			if err := platform.Check(claims); (err == nil) != c.ok {
				t.Errorf("got %v", err)
			}
		})
	}
}

// fork is a merge request's pipeline of a fork as GitLab sends it since 18.4.
func fork(more map[string]any) map[string]any {
	claims := map[string]any{
		"project_id": "66", "project_path": "mallory/payments", "namespace_id": "6", "namespace_path": "mallory",
		"sub":             "project_path:mallory/payments:ref_type:branch:ref:main",
		"pipeline_source": "merge_request_event",
	}
	maps.Copy(claims, more)
	return claims
}

// current is the platform with a sample that has what GitLab sends since 18.4.
func current() oidc.Platform {
	p := gitlab.Platform()
	maps.Copy(p.Sample, map[string]any{
		"job_project_id": "41881900", "job_project_path": "acme/payments", "job_namespace_id": "9919", "job_namespace_path": "acme",
	})
	return p
}

// old takes the claims away that GitLab sends since 18.4.
func old(claims map[string]any) map[string]any {
	older := map[string]any{}
	maps.Copy(older, claims)
	for _, name := range []string{"job_project_id", "job_project_path", "job_namespace_id", "job_namespace_path"} {
		older[name] = nil
	}
	return older
}

// TestForks: a fork's merge request gets nothing, whosever ids it wears, unless
// match says that it is meant.
func TestForks(t *testing.T) {
	const (
		parent    = "match: {project_id: \"41881900\", namespace_id: \"9919\"}"
		group     = "match: {namespace_id: \"9919\"}"
		theFork   = "match: {project_id: \"66\"}"
		protected = "match: {project_id: \"41881900\", ref_path: refs/heads/main, ref_protected: \"true\", environment_protected: \"true\"}"
		requests  = "match: {project_id: \"41881900\", pipeline_source: merge_request_event}"
		children  = "match: {project_id: \"41881900\", pipeline_source: [push, parent_pipeline]}"
	)
	merge := map[string]any{"pipeline_source": "merge_request_event"}
	child := map[string]any{"pipeline_source": "parent_pipeline"}
	for name, c := range map[string]struct {
		match  string
		claims map[string]any
		want   trust.Reason
	}{
		"a push":                         {parent, nil, ""},
		"a push of an old instance":      {parent, old(nil), ""},
		"a push, by the group":           {group, nil, ""},
		"a push, with gates":             {protected, nil, ""},
		"a schedule":                     {parent, map[string]any{"pipeline_source": "schedule"}, ""},
		"a child pipeline":               {parent, child, ""},
		"a merge request that is meant":  {requests, merge, ""},
		"a child pipeline that is meant": {children, old(child), ""},

		// Before 18.2.2: the parent's ids, and on a protected branch's name.
		"old fork":                            {parent, old(merge), trust.ReasonEventNotNamed},
		"old fork, by the group":              {group, old(merge), trust.ReasonEventNotNamed},
		"old fork with the gates":             {protected, old(merge), trust.ReasonEventNotNamed},
		"old fork, of a mirrored repository":  {protected, old(map[string]any{"pipeline_source": "external_pull_request_event"}), trust.ReasonEventNotNamed},
		"old fork's child pipeline":           {protected, old(child), trust.ReasonConditionFalse},
		"old fork's child, without the claim": {protected, old(map[string]any{"pipeline_source": nil}), trust.ReasonCELError},
		// Since 18.2.2: its own ids.
		"fork":                           {parent, old(fork(nil)), trust.ReasonConditionFalse},
		"fork's child pipeline":          {parent, fork(child), trust.ReasonConditionFalse},
		"fork, where requests are meant": {requests, fork(nil), trust.ReasonConditionFalse},
		"fork, by the parent's group":    {group, fork(nil), trust.ReasonConditionFalse},
		// Since 18.4, and the other way round: the parent's runners hold a token with
		// the fork's ids.
		"parent as the fork":                {theFork, fork(nil), trust.ReasonEventNotNamed},
		"parent as the fork, by a child":    {theFork, fork(child), trust.ReasonConditionFalse},
		"parent as the fork, named":         {theFork[:len(theFork)-1] + ", pipeline_source: merge_request_event}", fork(nil), trust.ReasonConditionFalse},
		"parent as the fork, a glob of it":  {theFork[:len(theFork)-1] + ", pipeline_source: parent_pipeline, job_project_id: {glob: \"4*\"}}", fork(child), trust.ReasonConditionFalse},
		"fork that is meant, by both":       {theFork[:len(theFork)-1] + ", pipeline_source: merge_request_event, job_project_id: \"41881900\"}", fork(nil), ""},
		"fork in the parent's group":        {group, fork(map[string]any{"namespace_id": "9919", "namespace_path": "acme", "project_path": "acme/fork", "sub": "x", "pipeline_source": "parent_pipeline"}), trust.ReasonConditionFalse},
		"job's project of another type":     {parent, map[string]any{"job_project_id": int64(41881900)}, trust.ReasonCELError},
		"a fork that composes its sub":      {parent, fork(map[string]any{"sub": "project_path:acme/payments:ref_type:branch:ref:main"}), trust.ReasonClaimInvalid},
		"a group called as the end of ours": {parent, map[string]any{"project_id": "1", "project_path": "evil/acme/payments", "namespace_path": "evil/acme", "sub": "project_path:evil/acme/payments"}, trust.ReasonConditionFalse},
	} {
		t.Run(name, func(t *testing.T) {
			d := providertest.Documents{Platform: current()}
			if got := d.Decide(t, c.match, c.claims); got != c.want {
				t.Errorf("got %q, want %q", got, c.want)
			}
		})
	}
}

// TestDocuments: what loading and the linter say of trusts. The first are those of
// attack GLT-01.
func TestDocuments(t *testing.T) {
	const ids = "match: {namespace_id: \"9919\", project_id: \"41881900\""
	for name, c := range map[string]struct {
		match string
		want  []string
	}{
		"no match":                {"when: ['claims.sub.contains(\"group/app\")']", []string{"trust-too-broad"}},
		"a path":                  {"match: {project_path: group/app}", []string{"trust-too-broad"}},
		"sub":                     {"match: {sub: \"project_path:group/app:ref_type:branch:ref:main\"}", []string{"trust-too-broad"}},
		"a glob of the id":        {"match: {project_id: {glob: \"4188*\"}}", []string{"trust-too-broad"}},
		"a number":                {"match: {project_id: 41881900}", []string{"type-mismatch"}},
		"beside the anchor":       {"match: {namespace_id: \"9919\", project_id: \"1\"}\nwhen: ['claims.sub.contains(\"group/app\")']", []string{"substring-match"}},
		"whole":                   {ids + ", ref_path: refs/heads/main}", nil},
		"the group alone":         {"match: {namespace_id: \"9919\"}", []string{"shared-identity"}},
		"the project alone":       {"match: {project_id: \"41881900\"}", []string{"transferable-anchor"}},
		"a path beside its id":    {ids + ", project_path: acme/payments}", nil},
		"user":                    {ids + ", user_login: dana}", []string{"chosen-claim"}},
		"ref alone":               {ids + ", ref: main}", []string{"chosen-claim"}},
		"ref and its type":        {ids + ", ref: main, ref_type: branch}", nil},
		"ref, protected":          {ids + ", ref: main, ref_protected: \"true\"}", nil},
		"ref, written whole":      {ids + ", ref: refs/heads/main, ref_type: branch}", []string{"never-sent"}},
		"ref_path as a name":      {ids + ", ref_path: main}", []string{"never-sent"}},
		"a path without group":    {ids + ", project_path: payments}", []string{"never-sent"}},
		"a definition, no ref":    {ids + ", ci_config_ref_uri: gitlab.com/acme/payments//.gitlab-ci.yml}", []string{"never-sent"}},
		"protection as a boolean": {ids + ", ref_protected: true}", []string{"type-mismatch"}},
		"merge requests":          {ids + ", pipeline_source: merge_request_event}\ngrants: [{to: prod, ttl: 5m}]", []string{"outsider-code", "production-without-gate", "self-hosted-runner"}},
		"an environment":          {ids + ", environment: production, runner_environment: gitlab-hosted}\ngrants: [{to: prod, ttl: 5m}]", []string{"production-without-gate"}},
		"protected":               {ids + ", environment: production, environment_protected: \"true\", runner_environment: gitlab-hosted}\ngrants: [{to: prod, ttl: 5m}]", nil},
		"not protected":           {ids + ", environment_protected: \"false\", runner_environment: gitlab-hosted}\ngrants: [{to: prod, ttl: 5m}]", []string{"production-without-gate"}},
	} {
		t.Run(name, func(t *testing.T) {
			got := providertest.Documents{Platform: gitlab.Platform()}.Findings(c.match)
			if diff := cmp.Diff(c.want, got); diff != "" {
				t.Error(diff)
			}
		})
	}
}

package github_test

import (
	"testing"

	"cambio/providers/github"
	"cambio/providers/providertest"
)

// TestSubject: sub must agree with the claims that it repeats, and a customised
// one is not read.
func TestSubject(t *testing.T) {
	check := github.Platform().Check
	base := map[string]any{
		"sub": "repo:acme@1/app@2:ref:refs/heads/main", "repository": "acme/app", "repository_owner": "acme",
		"repository_id": "2", "repository_owner_id": "1",
	}
	for name, c := range map[string]struct {
		change map[string]any // nil takes a claim away
		ok     bool
	}{
		"immutable":             {nil, true},
		"immutable, no context": {map[string]any{"sub": "repo:acme@1/app@2"}, true},
		"colon in a value":      {map[string]any{"sub": "repo:acme@1/app@2:environment:a%3Ab"}, true},
		"no names":              {map[string]any{"repository": nil, "repository_owner": nil}, true},
		"default":               {map[string]any{"sub": "repo:acme/app:pull_request"}, true},
		"customised":            {map[string]any{"sub": "repository_owner:evil"}, true},
		"customised to ids":     {map[string]any{"sub": "repository_id:9:ref:refs/heads/main"}, true},
		"dots and dashes":       {map[string]any{"sub": "repo:acme/a.b-c_d:x", "repository": "acme/a.b-c_d"}, true},

		"other repository id":   {map[string]any{"sub": "repo:acme@1/app@3:ref:refs/heads/main"}, false},
		"other owner id":        {map[string]any{"sub": "repo:acme@9/app@2:ref:refs/heads/main"}, false},
		"ids swapped":           {map[string]any{"sub": "repo:acme@2/app@1:x"}, false},
		"other name, same ids":  {map[string]any{"sub": "repo:acme@1/evil@2:x"}, false},
		"other owner, same ids": {map[string]any{"sub": "repo:evil@1/app@2:x"}, false},
		"id is a number":        {map[string]any{"repository_id": int64(2)}, false},
		"id missing":            {map[string]any{"repository_id": nil}, false},
		"owner id missing":      {map[string]any{"repository_owner_id": nil}, false},
		"only the owner's id":   {map[string]any{"sub": "repo:acme@1/app:x"}, false},
		"only the repo's id":    {map[string]any{"sub": "repo:acme/app@2:x"}, false},
		"empty ids":             {map[string]any{"sub": "repo:acme@/app@:x"}, false},
		"two ids":               {map[string]any{"sub": "repo:acme@1/app@2@3:x"}, false},
		"default, other name":   {map[string]any{"sub": "repo:acme/evil:ref:refs/heads/main"}, false},
		"default, longer name":  {map[string]any{"sub": "repo:acme/app-evil:ref:refs/heads/main"}, false},
		"default, other case":   {map[string]any{"sub": "repo:Acme/app:x"}, false},
		"default, no name":      {map[string]any{"sub": "repo:acme/app:x", "repository": nil}, false},
		"default, other owner":  {map[string]any{"sub": "repo:acme/app:x", "repository_owner": "evil"}, false},
		"no slash":              {map[string]any{"sub": "repo:acme:x"}, false},
		"two slashes":           {map[string]any{"sub": "repo:acme/app/x:y", "repository": "acme/app/x"}, false},
		"empty":                 {map[string]any{"sub": "repo:"}, false},
		"empty owner":           {map[string]any{"sub": "repo:/app:x", "repository": "/app"}, false},
	} {
		t.Run(name, func(t *testing.T) {
			claims := providertest.Changed(base, c.change)
			if err := check(claims); (err == nil) != c.ok {
				t.Errorf("got %v", err)
			}
		})
	}
}

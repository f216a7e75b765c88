package github

import (
	"fmt"
	"regexp"
	"slices"
	"strings"
	"time"

	"cambio/trust"
)

// lifetime is how long an installation token lives; nobody can ask for less.
const lifetime = time.Hour

const (
	// maxRepositories is how many repositories one token is made for at most: GitHub
	// takes 500, and nobody reviews more than these.
	maxRepositories = 100
	maxPermissions  = 50
)

// The own fields of a grant, as documents and trust.Grant.Extra name them.
const (
	fieldRepositories  = "repositories"
	fieldRepositoryIDs = "repository_ids"
)

var (
	resourceForm   = regexp.MustCompile(`^github:([A-Za-z0-9](?:[A-Za-z0-9_-]{0,98}[A-Za-z0-9_])?)/([A-Za-z0-9._-]{1,100})$`)
	repositoryForm = regexp.MustCompile(`^[A-Za-z0-9._-]{1,100}$`)
	idForm         = regexp.MustCompile(`^[1-9][0-9]{0,17}$`)
	scopeForm      = regexp.MustCompile(`^([a-z][a-z0-9_]{0,63}):(read|write|admin)$`)
)

// TargetType is configuration type github: installation tokens of a GitHub App. A
// grant names repositories and permissions, always both: GitHub gives all that the
// installation has for a list that is left out.
func TargetType() trust.TargetType {
	return trust.TargetType{
		Name: "github",
		Fields: map[string]trust.Field{
			"resource":         {Type: trust.StringField, Narrows: trust.Equal, Pattern: resourceForm, Example: "github:acme/payments"},
			fieldRepositories:  {Type: trust.StringsField, Narrows: trust.Opaque},
			fieldRepositoryIDs: {Type: trust.StringsField, Narrows: trust.Opaque},
			"scopes":           {Type: trust.StringsField, Narrows: trust.Subset, Required: true},
			"ttl":              {Type: trust.DurationField, Narrows: trust.Max},
		},
		MinTTL: lifetime,
		MaxTTL: lifetime,
		Misfit: misfit,
	}
}

// Types are the values of requested_token_type that a github target serves.
func Types() []string { return []string{"urn:ietf:params:oauth:token-type:access_token"} }

func misfit(g trust.Grant) (field, problem string) {
	names, ids := texts(g, fieldRepositories), texts(g, fieldRepositoryIDs)
	owner, name, ok := ownerAndName(g.Resource)
	switch {
	case g.Resource != "" && (!ok || dots(name)):
		return "resource", "is no repository of GitHub's: write github:OWNER/REPO"
	case owner != "" && names != nil, owner != "" && ids != nil, names != nil && ids != nil:
		return fieldRepositories, "name the repositories in one way: resource, repositories or repository_ids"
	case owner == "" && names == nil && ids == nil:
		return fieldRepositories, "name the repositories, as resource, repositories or repository_ids: without them a token opens all that the App is installed in"
	}
	for _, list := range []struct {
		field string
		items []string
		form  *regexp.Regexp
		what  string
	}{
		{fieldRepositories, names, repositoryForm, "a repository's name, without its owner: they are all of the account that the App is installed in"},
		{fieldRepositoryIDs, ids, idForm, "a repository's id: its digits, in quotes"},
	} {
		if len(list.items) > maxRepositories {
			return list.field, fmt.Sprintf("%d repositories; at most %d are taken", len(list.items), maxRepositories)
		}
		for i, item := range list.items {
			if !list.form.MatchString(item) || dots(item) {
				return list.field, "write " + list.what
			}
			if slices.ContainsFunc(list.items[:i], func(other string) bool { return strings.EqualFold(other, item) }) {
				return list.field, item + " is listed twice"
			}
		}
	}
	return misfitScopes(g.Scopes)
}

func misfitScopes(scopes []string) (field, problem string) {
	if len(scopes) == 0 {
		return "scopes", "name the permissions, such as contents:read: without them a token has all that the App has"
	}
	if len(scopes) > maxPermissions {
		return "scopes", fmt.Sprintf("%d permissions; at most %d are taken", len(scopes), maxPermissions)
	}
	for _, s := range scopes {
		if !scopeForm.MatchString(s) {
			return "scopes", "a permission is NAME:LEVEL, such as contents:read; the levels are read, write and admin"
		}
	}
	return "", ""
}

// dots reports names that mean a folder.
func dots(name string) bool { return name == "." || name == ".." }

func texts(g trust.Grant, field string) []string {
	list, _ := g.Extra[field].([]string)
	return list
}

// ownerAndName are those of a resource.
func ownerAndName(resource string) (owner, name string, ok bool) {
	m := resourceForm.FindStringSubmatch(resource)
	if m == nil {
		return "", "", false
	}
	return m[1], m[2], true
}

// permissions are what scopes say, by name. Of several levels of one permission the
// highest counts: a caller may ask for less.
func permissions(scopes []string) map[string]string {
	out := make(map[string]string, len(scopes))
	for _, s := range scopes {
		m := scopeForm.FindStringSubmatch(s)
		if m == nil {
			return nil
		}
		if level(m[2]) > level(out[m[1]]) {
			out[m[1]] = m[2]
		}
	}
	return out
}

// level orders what a permission allows; 0 is nothing that is known.
func level(s string) int { return slices.Index([]string{"read", "write", "admin"}, s) + 1 }

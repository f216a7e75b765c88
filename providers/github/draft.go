package github

import (
	"errors"
	"fmt"
	"regexp"
	"strings"

	"cambio/providers/internal/draft"
)

var (
	ownerRepo = regexp.MustCompile(`^[A-Za-z0-9][A-Za-z0-9_-]{0,99}/[A-Za-z0-9._-]{1,100}$`)
	number    = regexp.MustCompile(`^[1-9][0-9]{0,18}$`)
)

// LookUp is the command that finds the claims that a draft needs, for somebody
// at a desk; repository must be of the form OWNER/REPO.
func LookUp(repository string) string {
	return "gh api " + draft.ShellWord("repos/"+repository) + ` --jq '{repository: .full_name, repository_id: (.id|tostring), repository_owner_id: (.owner.id|tostring), ref: ("refs/heads/" + .default_branch)}' > claims.json`
}

// CheckRepository refuses what is not of the form OWNER/REPO.
func CheckRepository(repository string) error {
	if !ownerRepo.MatchString(repository) {
		return fmt.Errorf("%s is not of the form OWNER/REPO", draft.Show(repository))
	}
	return nil
}

// Draft is a trust for one repository, by the claims of one of its jobs. The ids
// come from the claims and are never looked up by name: a name can be renamed,
// and taken by somebody else. What the claims lack is an error, not a guess.
func Draft(repository string, claims map[string]any) (draft.Document, error) {
	if err := CheckRepository(repository); err != nil {
		return draft.Document{}, err
	}
	repo, err := repositoryOf(claims)
	if err != nil {
		return draft.Document{}, err
	}
	if !strings.EqualFold(repo.name, repository) { // as GitHub compares names
		return draft.Document{}, fmt.Errorf("the claims are of %s, not of %s", draft.Show(repo.name), repository)
	}
	if err := check(claims); err != nil {
		return draft.Document{}, err
	}
	ref, _ := claims["ref"].(string)
	event, _ := claims["event_name"].(string)
	switch {
	case event == "pull_request" || event == "pull_request_target" || strings.HasPrefix(ref, "refs/pull/"):
		// Its code is its author's: a trust drafted from it would trust anybody.
		return draft.Document{}, errors.New("the claims are of a pull request, which anybody can open; take those of a run on the branch that is meant")
	case !strings.HasPrefix(ref, "refs/heads/") && !strings.HasPrefix(ref, "refs/tags/"):
		return draft.Document{}, errors.New(`the claims name no branch and no tag; add one, such as "ref": "refs/heads/main"`)
	}
	owner, name, _ := strings.Cut(repo.name, "/")
	d := draft.Document{
		Head: []string{
			"GitHub Actions of " + repo.name + ". Review each line before you merge it.",
			"Ids are pinned, not names: a name can be taken by somebody else, a number cannot.",
		},
		Name:    draft.Name(name),
		Purpose: "GitHub Actions of " + repo.name + " on " + strings.TrimPrefix(strings.TrimPrefix(ref, "refs/heads/"), "refs/"),
		Match: []draft.Line{
			{Claim: "repository_owner_id", Values: one(repo.ownerID), Comment: "the account " + owner},
			{Claim: "repository_id", Values: one(repo.id), Comment: "the repository " + repo.name},
			{Claim: "ref", Values: one(ref), Comment: `only this ref; a list takes several, and {glob: "refs/tags/v*"} all tags that begin so`},
		},
		Tests: []draft.Test{
			{Name: "what is meant may", Allow: true},
			{Name: "another branch may not", Claims: []draft.Claim{{Name: "ref", Value: ref + "-not"}}},
			{Name: "another repository may not", Claims: []draft.Claim{{Name: "repository_id", Value: other(repo.id)}}},
		},
	}
	if environment, ok := claims["environment"].(string); ok {
		d.Match = append(d.Match, draft.Line{
			Claim: "environment", Values: one(environment),
			Comment: "only jobs of this environment, with its protection rules; a job without one has no such claim",
		})
	}
	if claims["runner_environment"] == hosted {
		d.Match = append(d.Match, draft.Line{
			Claim: "runner_environment", Values: one(hosted),
			Comment: "only GitHub's machines; a runner of one's own keeps what the job before left",
		})
		d.Tests = append(d.Tests, draft.Test{
			Name: "a self-hosted runner may not", Claims: []draft.Claim{{Name: "runner_environment", Value: "self-hosted"}},
		})
	}
	return d, nil
}

func one(text string) []draft.Value { return []draft.Value{{Text: text}} }

// other is another id than this one.
func other(id string) string {
	if id == "1" {
		return "2"
	}
	return "1"
}

// repository is what names a repository, and what cannot be taken over.
type repository struct{ name, id, ownerID string }

// repositoryOf takes the repository out of claims.
func repositoryOf(claims map[string]any) (repository, error) {
	var r repository
	for _, c := range []struct {
		claim string
		into  *string
		form  *regexp.Regexp
	}{{"repository", &r.name, ownerRepo}, {"repository_id", &r.id, number}, {"repository_owner_id", &r.ownerID, number}} {
		v, ok := claims[c.claim]
		if !ok {
			return r, fmt.Errorf("the claims lack %s", c.claim)
		}
		text, ok := v.(string)
		if !ok {
			return r, fmt.Errorf("the claim %s is no text; write it in quotes, as tokens have it", c.claim)
		}
		if !c.form.MatchString(text) {
			return r, fmt.Errorf("the claim %s, %s, is of no form that GitHub has", c.claim, draft.Show(text))
		}
		*c.into = text
	}
	return r, nil
}

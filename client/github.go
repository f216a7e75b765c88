package client

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/url"
)

// gitHub is a job of GitHub Actions that may ask for a token.
func (d *detection) gitHub(context.Context) (*Source, error) {
	const name = "GitHub Actions"
	endpoint, bearer := d.getenv("ACTIONS_ID_TOKEN_REQUEST_URL"), d.getenv("ACTIONS_ID_TOKEN_REQUEST_TOKEN")
	switch {
	case endpoint != "" && bearer != "":
		u, err := secureURL(endpoint)
		if err != nil {
			return nil, fmt.Errorf("%s: ACTIONS_ID_TOKEN_REQUEST_URL: %w", name, err)
		}
		return &Source{Name: name, Place: u.Host, PerAudience: true, fetch: fromGitHub(d.env.HTTP, u, bearer)}, nil
	case d.getenv("GITHUB_ACTIONS") == "true":
		d.missed(name, "ACTIONS_ID_TOKEN_REQUEST_URL and ACTIONS_ID_TOKEN_REQUEST_TOKEN are not both set: the job may not ask for a token")
		d.advice = []string{gitHubAdvice}
		return nil, d.none()
	}
	d.missed(name, "this is no job of it: GITHUB_ACTIONS is not set")
	return nil, nil
}

const gitHubAdvice = `Let the job ask for its identity token; paste this into the job:

    permissions:
      id-token: write
      contents: read

A workflow that a fork's pull request started, and a reusable workflow whose caller lacks the permission, get none.`

// fromGitHub asks the job's own token service. The request token opens that
// service and nothing else, so it goes to the host that the runner named and,
// as redirects are not followed, nowhere else.
func fromGitHub(c *http.Client, endpoint *url.URL, bearer string) func(context.Context, string) (string, error) {
	return func(ctx context.Context, audience string) (string, error) {
		u := *endpoint
		if u.RawQuery != "" { // GitHub's URL brings a query of its own (api-version)
			u.RawQuery += "&"
		}
		u.RawQuery += "audience=" + url.QueryEscape(audience)
		req, err := http.NewRequestWithContext(ctx, http.MethodGet, u.String(), nil)
		if err != nil {
			return "", errors.New("ACTIONS_ID_TOKEN_REQUEST_URL: not a URL")
		}
		req.Header.Set("Authorization", "Bearer "+bearer)
		return member(c, req, "value")
	}
}

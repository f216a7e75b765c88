package client

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"net/http"
	"net/url"
	"strings"
)

// buildkiteClaims are the ids that a gateway knows an organization and a pipeline
// by; without them a token has their names alone.
const buildkiteClaims = "organization_id,pipeline_id"

// serviceConnection is the variable that tasks of Azure DevOps hand the id of the
// service connection on in.
const serviceConnection = "AZURESUBSCRIPTION_SERVICE_CONNECTION_ID"

// flySocket is where a machine asks Fly.io about itself.
const flySocket = "/.fly/api"

// vercelExchange is where Vercel swaps a workload's token for one of another
// audience.
const vercelExchange = "https://oidc.vercel.com/~token"

// circleCI asks the job's own command for a token of the gateway's audience. Where
// it is not there, the token of the job has the organization's id as its audience.
func (d *detection) circleCI() (*Source, error) {
	token := d.getenv("CIRCLE_OIDC_TOKEN_V2")
	if d.getenv("CIRCLECI") == "" || d.env.Exec == nil {
		if token == "" {
			return nil, nil
		}
		return &Source{Place: "CIRCLE_OIDC_TOKEN_V2", fetch: fixed(token)}, nil
	}
	return &Source{Place: "circleci run oidc get", PerAudience: true, fetch: func(ctx context.Context, audience string) (string, error) {
		claims, err := json.Marshal(map[string]string{"aud": audience})
		if err != nil {
			return "", err
		}
		out, err := d.env.Exec(ctx, "circleci", "run", "oidc", "get", "--claims", string(claims))
		if errors.Is(err, fs.ErrNotExist) && token != "" {
			return token, nil
		}
		return printed(out, "circleci run oidc get", err)
	}}, nil
}

// buildkite asks the agent.
func (d *detection) buildkite() (*Source, error) {
	if d.getenv("BUILDKITE") == "" || d.env.Exec == nil {
		return nil, nil
	}
	return &Source{Place: "buildkite-agent oidc request-token", PerAudience: true, fetch: func(ctx context.Context, audience string) (string, error) {
		out, err := d.env.Exec(ctx, "buildkite-agent", "oidc", "request-token", "--audience", audience, "--claim", buildkiteClaims)
		return printed(out, "buildkite-agent oidc request-token", err)
	}}, nil
}

// printed is what a command printed. A failed one's output stays out of the error:
// it may be half a token.
func printed(out []byte, command string, err error) (string, error) {
	if errors.Is(err, fs.ErrNotExist) {
		return "", &NoIdentityError{
			Looked: []Look{{Place: command, Found: "there is no such command"}},
			Advice: "Install it in the container that runs this; every agent has it.",
		}
	}
	if err != nil {
		return "", fmt.Errorf("`%s` failed; run it by itself to see why: %w", command, err)
	}
	return strings.TrimSpace(string(out)), nil
}

// azureDevOps asks for the token of a service connection. Its audience is fixed.
func (d *detection) azureDevOps() (*Source, error) {
	endpoint, bearer, connection := d.getenv("SYSTEM_OIDCREQUESTURI"), d.getenv("SYSTEM_ACCESSTOKEN"), d.getenv(serviceConnection)
	if endpoint == "" || bearer == "" || connection == "" {
		return nil, nil
	}
	u, err := secureURL(endpoint)
	if err != nil {
		return nil, fmt.Errorf("SYSTEM_OIDCREQUESTURI: %w", err)
	}
	endpoint = withQuery(u, url.Values{"api-version": {"7.1"}, "serviceConnectionId": {connection}})
	return &Source{Place: u.Host, renews: true, fetch: func(ctx context.Context, _ string) (string, error) {
		req, err := http.NewRequestWithContext(ctx, http.MethodPost, endpoint, nil)
		if err != nil {
			return "", errors.New("SYSTEM_OIDCREQUESTURI: not a URL")
		}
		req.Header.Set("Authorization", "Bearer "+bearer)
		req.Header.Set("Content-Type", "application/json")
		req.Header.Set("X-TFS-FedAuthRedirect", "Suppress") // else it answers with a page to sign in
		return member(d.env.HTTP, req, "oidcToken")
	}}, nil
}

// codefresh asks the build's own token service.
func (d *detection) codefresh() (*Source, error) {
	endpoint, bearer := d.getenv("CF_OIDC_REQUEST_URL"), d.getenv("CF_OIDC_REQUEST_TOKEN")
	if endpoint == "" || bearer == "" {
		return nil, nil
	}
	u, err := secureURL(endpoint)
	if err != nil {
		return nil, fmt.Errorf("CF_OIDC_REQUEST_URL: %w", err)
	}
	return &Source{Place: u.Host, PerAudience: true, fetch: func(ctx context.Context, audience string) (string, error) {
		if strings.Contains(audience, ",") {
			return "", errors.New("an audience with a comma is several to Codefresh")
		}
		req, err := http.NewRequestWithContext(ctx, http.MethodGet, withQuery(u, url.Values{"audience": {audience}}), nil)
		if err != nil {
			return "", errors.New("CF_OIDC_REQUEST_URL: not a URL")
		}
		req.Header.Set("Authorization", bearer) // as it is, without a scheme
		return member(d.env.HTTP, req, "id_token")
	}}, nil
}

// vercel swaps the workload's token for one of the gateway's audience, because the
// one that it has is good at every relying party.
func (d *detection) vercel() (*Source, error) {
	token := d.getenv("VERCEL_OIDC_TOKEN")
	if token == "" {
		return nil, nil
	}
	if err := checkForm(token); err != nil { // before it is sent to anybody
		return nil, fmt.Errorf("VERCEL_OIDC_TOKEN: %w", err)
	}
	return &Source{Place: "VERCEL_OIDC_TOKEN", PerAudience: true, fetch: func(ctx context.Context, audience string) (string, error) {
		req, err := postJSON(ctx, vercelExchange, map[string]string{"token": token, "aud": audience})
		if err != nil {
			return "", err
		}
		return member(d.env.HTTP, req, "token")
	}}, nil
}

// fly asks the machine's own socket.
func (d *detection) fly() (*Source, error) {
	if d.getenv("FLY_MACHINE_ID") == "" {
		return nil, nil
	}
	dial := d.env.Dial
	if dial == nil {
		dial = new(net.Dialer).DialContext
	}
	socket := &http.Client{Transport: &http.Transport{
		DisableKeepAlives: true,
		DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
			return dial(ctx, "unix", flySocket)
		},
	}}
	return &Source{Place: flySocket, PerAudience: true, fetch: func(ctx context.Context, audience string) (string, error) {
		req, err := postJSON(ctx, "http://localhost/v1/tokens/oidc", map[string]string{"aud": audience})
		if err != nil {
			return "", err
		}
		a, err := fetch(socket, req)
		if err != nil {
			return "", err
		}
		return strings.TrimSpace(string(a.body)), checkStatus(a)
	}}, nil
}

// postJSON is a request with a body of JSON.
func postJSON(ctx context.Context, target string, body map[string]string) (*http.Request, error) {
	b, err := json.Marshal(body)
	if err != nil {
		return nil, err
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, target, bytes.NewReader(b))
	if err != nil {
		return nil, errors.New("not a URL")
	}
	req.Header.Set("Content-Type", "application/json")
	return req, nil
}

// member sends a request and returns one member of the JSON that comes back.
func member(c *http.Client, req *http.Request, name string) (string, error) {
	req.Header.Set("Accept", "application/json")
	a, err := fetch(c, req)
	if err != nil {
		return "", err
	}
	if err := checkStatus(a); err != nil {
		return "", err
	}
	m, err := parseMembers(a.body)
	if err != nil {
		return "", err
	}
	return m.secret(name), nil
}

// withQuery is a URL with more in its query.
func withQuery(u *url.URL, query url.Values) string {
	out := *u
	all := out.Query()
	for name, values := range query {
		all[name] = values
	}
	out.RawQuery = all.Encode()
	return out.String()
}

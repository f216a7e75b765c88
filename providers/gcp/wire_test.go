package gcp_test

import (
	"context"
	"encoding/json"
	"net/http"
	"net/url"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/oauth2"
	"golang.org/x/oauth2/google/downscope"
	"golang.org/x/oauth2/google/externalaccount"

	"cambio/exchange"
	"cambio/exchange/exchangetest"
	"cambio/standin"
)

// supplier hands Google's own library an assertion of ours.
type supplier exchange.Secret

func (s supplier) SubjectToken(context.Context, externalaccount.SupplierOptions) (string, error) {
	return exchange.Secret(s).Reveal(), nil
}

// elsewhere sends what is for Google to the stand-in.
type elsewhere struct{ host string }

func (e elsewhere) RoundTrip(r *http.Request) (*http.Response, error) {
	r = r.Clone(r.Context())
	r.URL.Scheme, r.URL.Host = "http", e.host
	return http.DefaultTransport.RoundTrip(r)
}

// call is what counts of a request: where it goes, and what it says, but for the
// tokens, which are new each time.
type call struct {
	Path, Type, Bearer string
	Form               url.Values
	Body               map[string]any
}

func calls(t *testing.T, g *standin.Google) []call {
	t.Helper()
	var out []call
	for _, r := range g.Requests() {
		c := call{Path: r.Path, Form: r.Form}
		c.Type, _, _ = strings.Cut(r.Header.Get("Content-Type"), ";")
		c.Bearer, _, _ = strings.Cut(r.Header.Get("Authorization"), " ")
		if c.Form != nil {
			if c.Form.Get("subject_token") == "" {
				t.Error("no subject token")
			}
			c.Form.Del("subject_token")
			if text := c.Form.Get("options"); text != "" {
				if err := json.Unmarshal([]byte(text), &c.Body); err != nil {
					t.Error(err)
				}
				c.Form.Del("options")
			}
		} else if err := json.Unmarshal(r.Body, &c.Body); err != nil {
			t.Error(err)
		}
		out = append(out, c)
	}
	return out
}

// TestSameAsGoogle holds what we send against what Google's own library for Go sends
// for the same: golang.org/x/oauth2.
func TestSameAsGoogle(t *testing.T) {
	t.Parallel()
	const readOnly = "https://www.googleapis.com/auth/devstorage.read_only"
	for name, c := range map[string]struct {
		grant  string
		change func(*externalaccount.Config, string)
		rules  []downscope.AccessBoundaryRule
	}{
		"direct": {
			grant:  `ttl: 5m, scopes: ["` + readOnly + `", "` + platform + `"]`,
			change: func(c *externalaccount.Config, _ string) { c.Scopes = []string{readOnly, platform} },
		},
		"as an account": {
			grant: `resource: "gcp:` + deployer + `", ttl: 10m`,
			change: func(c *externalaccount.Config, at string) {
				c.ServiceAccountImpersonationURL = at + "/v1/projects/-/serviceAccounts/" + deployer + ":generateAccessToken"
				c.ServiceAccountImpersonationLifetimeSeconds = 600
			},
		},
		"as an account, with scopes": {
			grant: `resource: "gcp:` + deployer + `", ttl: 1h, scopes: ["` + readOnly + `"]`,
			change: func(c *externalaccount.Config, at string) {
				c.Scopes = []string{readOnly}
				c.ServiceAccountImpersonationURL = at + "/v1/projects/-/serviceAccounts/" + deployer + ":generateAccessToken"
			},
		},
		"within a boundary": {
			grant: `resource: "gcp:` + deployer + `", ttl: 1h, ` + boundary,
			change: func(c *externalaccount.Config, at string) {
				c.ServiceAccountImpersonationURL = at + "/v1/projects/-/serviceAccounts/" + deployer + ":generateAccessToken"
			},
			rules: []downscope.AccessBoundaryRule{{
				AvailableResource: "//storage.googleapis.com/projects/_/buckets/acme-reports", AvailablePermissions: []string{"inRole:roles/storage.objectViewer"},
				Condition: &downscope.AvailabilityCondition{Title: "reports", Expression: "resource.name.startsWith('projects/_/buckets/acme-reports/objects/2026/')"},
			}},
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			ours, theirs := google(t), google(t)
			o := exchangetest.Order(t, ask(c.grant))
			if _, err := minter(t, ours.URL()).Mint(t.Context(), o); err != nil {
				t.Fatal(err)
			}
			assertion, err := o.Assert("https:"+provider, exchange.RS256)
			if err != nil {
				t.Fatal(err)
			}
			config := externalaccount.Config{
				Audience: provider, SubjectTokenType: "urn:ietf:params:oauth:token-type:jwt", TokenURL: theirs.URL() + "/v1/token",
				SubjectTokenSupplier: supplier(assertion), Scopes: []string{platform},
			}
			c.change(&config, theirs.URL())
			host := strings.TrimPrefix(theirs.URL(), "http://")
			ctx := context.WithValue(t.Context(), oauth2.HTTPClient, &http.Client{Transport: elsewhere{host}})
			source, err := externalaccount.NewTokenSource(ctx, config)
			if err == nil && c.rules != nil {
				source, err = downscope.NewTokenSource(ctx, downscope.DownscopingConfig{RootSource: source, Rules: c.rules})
			}
			if err != nil {
				t.Fatal(err)
			}
			if _, err := source.Token(); err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(calls(t, theirs), calls(t, ours)); diff != "" {
				t.Error("as Google's library sends it (-), as we do (+):\n" + diff)
			}
		})
	}
}

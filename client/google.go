package client

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"strings"
	"time"
)

const (
	metadataHost = "metadata.google.internal"
	metadataPath = "/computeMetadata/v1/instance/service-accounts/default/identity"
	// probeTime is long for a link-local server, and short for a person who waits
	// on a machine that has none.
	probeTime = time.Second
	// metadataTime bounds one fetch from it.
	metadataTime = 5 * time.Second
)

// google is a machine, or a service, at Google.
func (d *detection) google(ctx context.Context) (*Source, error) {
	const name = "Google metadata server"
	host := metadataHost
	if h := d.getenv("GCE_METADATA_HOST"); h != "" {
		if strings.ContainsAny(h, "/?#@ \\") {
			return nil, fmt.Errorf("%s: GCE_METADATA_HOST: not a host", name)
		}
		host = h
	}
	probe, cancel := context.WithTimeout(ctx, probeTime)
	defer cancel()
	if _, err := askGoogle(probe, d.env.HTTP, host, "/", nil); err != nil {
		d.missed(name, fmt.Sprintf("%s: %v", host, err))
		return nil, nil // almost every machine has none; why is listed
	}
	return &Source{Name: name, Place: host, PerAudience: true, fetch: fromGoogle(d.env.HTTP, host)}, nil
}

// fromGoogle asks the metadata server for an identity token in format full, which
// names the instance where there is one.
func fromGoogle(c *http.Client, host string) func(context.Context, string) (string, error) {
	return func(ctx context.Context, audience string) (string, error) {
		ctx, cancel := context.WithTimeout(ctx, metadataTime)
		defer cancel()
		a, err := askGoogle(ctx, c, host, metadataPath, url.Values{"audience": {audience}, "format": {"full"}})
		if err != nil {
			return "", err
		}
		return strings.TrimSpace(string(a.body)), nil
	}
}

// askGoogle sends one request to the metadata server. Both headers are Google's
// own defence: the request's keeps forged requests out, the answer's tells the
// metadata server from a captive portal that answers to every name.
func askGoogle(ctx context.Context, c *http.Client, host, path string, query url.Values) (answer, error) {
	u := url.URL{Scheme: "http", Host: host, Path: path, RawQuery: query.Encode()}
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, u.String(), nil)
	if err != nil {
		return answer{}, errors.New("GCE_METADATA_HOST: not a host")
	}
	req.Header.Set("Metadata-Flavor", "Google")
	a, err := fetch(direct(c), req)
	if err != nil {
		return answer{}, err
	}
	if a.header.Get("Metadata-Flavor") != "Google" {
		return answer{}, errors.New("what answered is not Google's metadata server")
	}
	return a, checkStatus(a)
}

// direct is the client without a proxy: the metadata server is the machine's
// own, and a proxy would answer with the proxy's identity.
func direct(c *http.Client) *http.Client {
	transport := http.DefaultTransport
	if c != nil && c.Transport != nil {
		transport = c.Transport
	}
	if t, ok := transport.(*http.Transport); ok {
		t = t.Clone()
		t.Proxy = nil
		t.DisableKeepAlives = true // nobody closes the clone's idle connections
		transport = t
	}
	return &http.Client{Transport: transport}
}

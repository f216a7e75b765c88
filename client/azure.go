package client

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/url"
	"strings"
)

// azureMetadata is Azure's metadata server, the same address on every machine. What
// stands in for it is named by the variable that Azure's own clients take.
const (
	azureMetadata     = "http://169.254.169.254"
	azureMetadataHost = "AZURE_POD_IDENTITY_AUTHORITY_HOST"
)

// azureService is the managed identity of App Service, Functions and Container
// Apps, which two variables lead to.
//
// Its tokens, and those of a virtual machine, are kept by Azure for hours and have
// an audience that Entra knows (an application's id URI), so that no nonce can be a
// part of it.
func (d *detection) azureService(context.Context) (*Source, error) {
	const name = "Azure managed identity"
	endpoint, secret := d.getenv("IDENTITY_ENDPOINT"), d.getenv("IDENTITY_HEADER")
	if endpoint == "" || secret == "" {
		d.missed(name, "IDENTITY_ENDPOINT and IDENTITY_HEADER are not both set")
		return nil, nil
	}
	u, err := nearURL(endpoint)
	if err != nil {
		return nil, fmt.Errorf("%s: IDENTITY_ENDPOINT: %w", name, err)
	}
	return &Source{Name: name, Place: u.Host, fetch: func(ctx context.Context, audience string) (string, error) {
		req, err := http.NewRequestWithContext(ctx, http.MethodGet, withQuery(u, d.resource("2019-08-01", audience)), nil)
		if err != nil {
			return "", errors.New("IDENTITY_ENDPOINT: not a URL")
		}
		req.Header.Set("X-IDENTITY-HEADER", secret)
		return member(direct(d.env.HTTP), req, "access_token")
	}}, nil
}

// azureMachine is the managed identity of a virtual machine.
//
// A pod of AKS has a token for Entra (AZURE_FEDERATED_TOKEN_FILE); it is for
// somebody else, and is not looked at.
func (d *detection) azureMachine(ctx context.Context) (*Source, error) {
	const name = "Azure metadata server"
	server, err := nearURL(cmp.Or(d.getenv(azureMetadataHost), azureMetadata))
	if err != nil {
		return nil, fmt.Errorf("%s: %s: %w", name, azureMetadataHost, err)
	}
	probe, cancel := context.WithTimeout(ctx, probeTime)
	defer cancel()
	a, err := d.azure(probe, server, "instance/compute/azEnvironment", url.Values{"api-version": {"2021-02-01"}, "format": {"text"}})
	if err == nil {
		err = checkStatus(a)
	}
	if err == nil && !strings.HasPrefix(string(a.body), "Azure") { // the name of a cloud of Azure
		err = errors.New("what answered is not Azure's metadata server")
	}
	if err != nil {
		d.missed(name, err.Error())
		return nil, nil // almost every machine has none; why is listed
	}
	return &Source{Name: name, Place: server.Host, fetch: func(ctx context.Context, audience string) (string, error) {
		ctx, cancel := context.WithTimeout(ctx, metadataTime)
		defer cancel()
		a, err := d.azure(ctx, server, "identity/oauth2/token", d.resource("2018-02-01", audience))
		switch {
		case err != nil:
			return "", err
		case a.status == http.StatusBadRequest:
			return "", fmt.Errorf("%w: this machine has no managed identity, or Entra knows no application of this audience; name its id URI with --audience", ErrNoIdentity)
		}
		if err := checkStatus(a); err != nil {
			return "", err
		}
		m, err := parseMembers(a.body)
		return m.secret("access_token"), err
	}}, nil
}

// resource is the query for a token: of the identity that AZURE_CLIENT_ID names,
// where the workload has several.
func (d *detection) resource(version, audience string) url.Values {
	query := url.Values{"api-version": {version}, "resource": {audience}}
	if id := d.getenv("AZURE_CLIENT_ID"); id != "" {
		query.Set("client_id", id)
	}
	return query
}

// azure sends one request to the metadata server. The header is Azure's own defence
// against forged requests.
func (d *detection) azure(ctx context.Context, server *url.URL, path string, query url.Values) (answer, error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, withQuery(server.JoinPath("metadata", path), query), nil)
	if err != nil {
		return answer{}, errors.New("not a URL")
	}
	req.Header.Set("Metadata", "true")
	return fetch(direct(d.env.HTTP), req)
}

// nearURL is a URL that a secret of the machine's own is sent to: https, or http on
// loopback and link-local addresses.
func nearURL(raw string) (*url.URL, error) {
	u, err := url.Parse(raw)
	if err == nil && u.Scheme == "http" && u.User == nil {
		if ip := net.ParseIP(u.Hostname()); ip != nil && ip.IsLinkLocalUnicast() {
			return u, nil
		}
	}
	return secureURL(raw)
}

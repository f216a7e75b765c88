package gateway

import (
	"cmp"
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"net/http"
	"strings"
	"time"

	"cambio/providers/oidc"
)

// targetProbe is a request that asks a target for nothing, and that only the service
// itself answers in its own way.
type targetProbe struct {
	method, url string
	speaks      func(status int, m map[string]any) bool
	service     string // what it is, for people
}

// probe is the one for this target; false: nothing is called to make its credentials.
func (t Target) probe() (targetProbe, bool) {
	refuses := func(status int, m map[string]any) bool { return status >= 400 && status <= 499 && m["error"] != nil }
	switch t.Type {
	case "gcp":
		return targetProbe{http.MethodPost, cmp.Or(t.endpoint(), "https://sts.googleapis.com") + "/v1/token", refuses, "Google's Security Token Service"}, true
	case "azure":
		url := cmp.Or(t.endpoint(), "https://login.microsoftonline.com") + "/" + t.Tenant + "/v2.0/.well-known/openid-configuration"
		return targetProbe{http.MethodGet, url, func(status int, m map[string]any) bool { return status == http.StatusOK && m["issuer"] != nil }, "Entra"}, true
	case "github":
		url := cmp.Or(t.endpoint(), "https://api.github.com") + "/app"
		return targetProbe{http.MethodGet, url, func(status int, m map[string]any) bool {
			return status == http.StatusUnauthorized && m["message"] != nil
		}, "GitHub"}, true
	case "vault":
		url := strings.TrimSuffix(t.Server, "/") + "/v1/sys/health"
		return targetProbe{http.MethodGet, url, func(_ int, m map[string]any) bool { return m["initialized"] == true && m["sealed"] == false }, "an unsealed Vault"}, true
	case "oauth":
		return targetProbe{http.MethodPost, t.TokenURL, refuses, "a token endpoint"}, true
	case "kubernetes":
		if t.Server == "" {
			return targetProbe{}, false
		}
		url := strings.TrimSuffix(t.Server, "/") + "/version"
		return targetProbe{http.MethodGet, url, func(_ int, m map[string]any) bool { return m["gitVersion"] != nil || m["kind"] == "Status" }, "an API server"}, true
	}
	return targetProbe{}, false
}

// target looks at one target.
func (e *examination) target(ctx context.Context, name string, t Target) DoctorCheck {
	if t.Type == targetAWS {
		return e.awsTarget(ctx, name, t)
	}
	p, called := t.probe()
	if !called {
		return passed(name, "signed here; nothing is called")
	}
	const next = "open the way from here to the target (HTTPS, without a proxy), or mend its address"
	req, err := http.NewRequestWithContext(ctx, p.method, p.url, nil)
	if err != nil {
		return failed(name, "mend its address", "the address is no URL")
	}
	if p.method == http.MethodPost {
		req.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	}
	client, err := e.trusting(t.ca)
	if err != nil {
		return failed(name, "write ca_file: anew", "%s", err)
	}
	a, err := e.callBy(client, req, name)
	if err != nil {
		return failed(name, next, "%s: %s", req.URL.Host, cause(err))
	}
	m, err := oidc.ReadObject(a.body)
	if err != nil || !p.speaks(a.status, m) {
		return failed(name, next, "%s answers %d, and not as %s does", req.URL.Host, a.status, p.service)
	}
	return passed(name, "%s answers at %s in %s (%d)", p.service, req.URL.Host, a.took.Round(time.Millisecond), a.status)
}

// trusting is the client that trusts these certificates, where there are any.
func (e *examination) trusting(pem []byte) (*http.Client, error) {
	if pem == nil {
		return e.client, nil
	}
	roots := x509.NewCertPool()
	if !roots.AppendCertsFromPEM(pem) {
		return nil, errors.New("the CA file holds no certificate")
	}
	transport := http.DefaultTransport.(*http.Transport).Clone() //nolint:forcetypeassert // it is one
	if t, ok := e.client.Transport.(*http.Transport); ok {
		transport = t.Clone()
	}
	transport.TLSClientConfig = &tls.Config{RootCAs: roots, MinVersion: tls.VersionTLS12}
	client := *e.client
	client.Transport = transport
	return &client, nil
}

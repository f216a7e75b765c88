package gateway

import (
	"crypto/x509"
	"net/url"
	"strings"

	"cambio/exchange"
	"cambio/providers/gcp"
	"cambio/trust"
	"cambio/trust/strictyaml"
)

const targetGCP = "gcp"

// gcpKind are workload identity pools of Google Cloud.
func gcpKind() targetKind {
	return targetKind{
		settings: []string{"endpoint", "ca_file", "subject"},
		cloud:    true,
		typ:      func(Target) trust.TargetType { return gcp.TargetType() },
		pins: func(t Target) map[string]string {
			return map[string]string{"endpoint": t.endpoint(), "subject": t.Subject}
		},
		audiences: func(g trust.Grant) []string { return extraTexts(g, "id_token_audience") },
		check:     (*checker).targetGCP,
		open: func(env Env, t Target) (exchange.Target, error) {
			minter, err := gcp.New(gcp.Config{Audience: t.Audience, Endpoint: t.endpoint(), CA: t.ca, Now: env.Now})
			return exchange.Target{Minter: minter, Types: gcp.Types(), TypesOf: gcp.TypesOf}, err
		},
		connect: connectGCP,
	}
}

// targetGCP checks a target that is a provider of a workload identity pool.
func (c *checker) targetGCP(n *strictyaml.Node, t Target) Target {
	switch at := n.Get("audience"); {
	case at == nil:
		c.r.Missing(n, "audience", "write audience: and the provider's full name, //iam.googleapis.com/projects/NUMBER/locations/global/workloadIdentityPools/POOL/providers/PROVIDER")
	case usable(at) && gcp.CheckAudience(at.Text) != nil:
		c.r.Error(at, "gcp-audience", at.Show()+" is no provider of a workload identity pool of your own",
			"write //iam.googleapis.com/projects/NUMBER/locations/global/workloadIdentityPools/POOL/providers/PROVIDER, with the project's number")
	default:
		c.notEmpty(at)
	}
	c.subject(n, &t, subjectWorkload)
	c.gcpEndpoint(n, &t)
	return t
}

// gcpEndpoint checks another address than Google's own two. What is shown there
// works at Google, so that whoever runs it is trusted with all that the target's
// trusts may have.
func (c *checker) gcpEndpoint(n *strictyaml.Node, t *Target) {
	at, ca := n.Get("endpoint"), n.Get("ca_file")
	c.notEmpty(ca)
	if t.Endpoint == nil {
		if ca != nil {
			c.r.Error(ca, "gcp-endpoint", "Google's own certificates are public", "leave it out, or write endpoint:")
		}
		return
	}
	if c.endpoint(at, "gcp-endpoint") {
		u, err := url.Parse(t.endpoint())
		if host := strings.ToLower(u.Hostname()); err == nil && !loopbackHost(host) && !strings.HasSuffix(host, ".googleapis.com") {
			c.r.Warn(at, "target-audience-shared", "the endpoint is not Google's, and could show our assertions to Google past the grants' limits", "leave endpoint out, or name a host that is run by who runs the gateway")
		}
	}
	t.CAFile, t.ca = c.file(ca, t.CAFile)
	if t.ca != nil && !x509.NewCertPool().AppendCertsFromPEM(t.ca) {
		c.r.Error(ca, "gcp-endpoint", ca.Show()+" holds no certificate", "name a file of PEM certificates")
	}
}

// connectGCP is the provider of the pool, and who may act as which service account.
func connectGCP(c Config, name string, grants []connected) (*Connection, strictyaml.Findings) {
	pool := &gcp.Connection{Target: name, Issuer: c.Issuer, Provider: c.Targets[name].Audience}
	for _, g := range grants {
		pool.Grant(g.Trust, g.Literal, g.Subjects, g.Shadow)
	}
	var findings strictyaml.Findings
	for _, p := range pool.Finish() {
		file := "target " + name
		if p.Trust != "" {
			file = "trust " + p.Trust
		}
		findings = append(findings, strictyaml.Finding{ID: p.ID, Severity: strictyaml.Error, File: file, Message: p.Text, Fix: p.Fix})
	}
	for _, p := range pool.Warnings() {
		findings = append(findings, strictyaml.Finding{ID: p.ID, Severity: strictyaml.Warning, File: "issuer " + c.Issuer, Message: p.Text, Fix: p.Fix})
	}
	if findings.HasErrors() {
		return nil, findings
	}
	return &Connection{Forms: []Form{
		{"text", "", pool.Text()},
		{"terraform", "Terraform", pool.Terraform()},
		{"cli", "gcloud", pool.CLI()},
		{"json", "JSON", pool.JSON()},
	}}, findings
}

package gateway

import (
	"net/url"
	"slices"
	"strings"

	"cambio/exchange"
	"cambio/providers/azure"
	"cambio/trust"
	"cambio/trust/strictyaml"
)

const targetAzure = "azure"

// azureKind are tenants of Microsoft Entra.
func azureKind() targetKind {
	return targetKind{
		settings: []string{"tenant", "endpoint", "subject"},
		cloud:    true, sharesAudience: true, // the federated credentials tell applications apart
		typ: func(Target) trust.TargetType { return azure.TargetType() },
		pins: func(t Target) map[string]string {
			return map[string]string{"tenant": t.Tenant, "endpoint": t.endpoint(), "subject": t.Subject}
		},
		check: (*checker).targetAzure,
		open: func(env Env, t Target) (exchange.Target, error) {
			minter, err := azure.New(azure.Config{Tenant: t.Tenant, Audience: t.Audience, Endpoint: t.endpoint(), Now: env.Now})
			return exchange.Target{Minter: minter, Types: azure.Types()}, err
		},
		connect: connectAzure,
	}
}

// defaultAzureAudience is what Entra recommends for federated credentials.
const defaultAzureAudience = "api://AzureADTokenExchange"

// targetAzure checks a target whose applications Entra knows. By default it has one
// subject a trust: an application takes twenty.
func (c *checker) targetAzure(n *strictyaml.Node, t Target) Target {
	c.cloudAssertion(n, &t, defaultAzureAudience)
	switch at := n.Get("tenant"); {
	case at == nil:
		c.r.Missing(n, "tenant", "write tenant: and the id of the Entra tenant, a GUID")
	case usable(at) && !azure.Tenant(at.Text):
		c.r.Error(at, "azure-tenant", at.Show()+" is no tenant id: a domain name could be taken by somebody else", "write its GUID, in small letters")
	default:
		c.notEmpty(at)
	}
	c.subject(n, &t, subjectTrust)
	at := n.Get("endpoint")
	if t.Endpoint == nil || !c.endpoint(at, "azure-endpoint") {
		return t
	}
	u, err := url.Parse(t.endpoint())
	if err != nil || loopbackHost(u.Hostname()) || slices.Contains(ownAuthorities(), strings.ToLower(u.Hostname())) {
		return t
	}
	if !c.carried(n.Find("audience"), t) && cloudAudience(t.Audience) {
		c.r.Warn(at, "target-audience-shared", "the endpoint is not Microsoft's, and could show our assertions to Entra past the grants", "leave endpoint out, or name a host that is run by who runs the gateway")
	}
	return t
}

// ownAuthorities are Entra's, of the public and the sovereign clouds.
func ownAuthorities() []string {
	return []string{"login.microsoftonline.com", "login.microsoftonline.us", "login.partner.microsoftonline.cn"}
}

// connectAzure is a federated identity credential for each subject of each
// application.
func connectAzure(c Config, name string, grants []connected) (*Connection, strictyaml.Findings) {
	t := c.Targets[name]
	apps := &azure.Connection{Target: name, Tenant: t.Tenant, Issuer: c.Issuer, Audience: t.Audience}
	for _, g := range grants {
		apps.Grant(g.Trust, g.Resource, g.Literal.Scopes, g.Subjects, g.Shadow)
	}
	var findings strictyaml.Findings
	for _, p := range apps.Finish() {
		findings = append(findings, strictyaml.Finding{ID: p.ID, Severity: strictyaml.Error, File: "azure:" + p.ClientID, Message: p.Text, Fix: p.Fix})
	}
	for _, p := range apps.Warnings() {
		findings = append(findings, strictyaml.Finding{ID: p.ID, Severity: strictyaml.Warning, File: "issuer " + c.Issuer, Message: p.Text, Fix: p.Fix})
	}
	if findings.HasErrors() {
		return nil, findings
	}
	return &Connection{Forms: []Form{
		{"text", "", apps.Text()},
		{"terraform", "Terraform", apps.Terraform()},
		{"cli", "Azure CLI", apps.CLI()},
		{"json", "JSON", apps.JSON()},
	}}, findings
}

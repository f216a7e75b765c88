package gateway

import (
	"cmp"
	"crypto/x509"
	"maps"
	"slices"

	"cambio/exchange"
	"cambio/providers/vault"
	"cambio/trust"
	"cambio/trust/strictyaml"
)

const (
	targetVault = "vault"
	// defaultMount is Vault's own.
	defaultMount = "jwt"
)

// vaultKind are JWT auth methods of Vault and OpenBao.
func vaultKind() targetKind {
	return targetKind{
		settings: []string{"server", "ca_file", "namespace", "mount", "subject"},
		cloud:    true,
		typ:      func(Target) trust.TargetType { return vault.TargetType() },
		pins: func(t Target) map[string]string {
			return map[string]string{"server": t.Server, "namespace": t.Namespace, "mount": t.Mount, "subject": t.Subject}
		},
		check: (*checker).targetVault,
		open: func(env Env, t Target) (exchange.Target, error) {
			minter, err := vault.New(vault.Config{Server: t.Server, CA: t.ca, Namespace: t.Namespace, Mount: t.Mount, Audience: t.Audience, Now: env.Now})
			return exchange.Target{Minter: minter, Types: vault.Types()}, err
		},
		connect: connectVault,
	}
}

// targetVault checks a target whose roles a Vault hands out.
func (c *checker) targetVault(n *strictyaml.Node, t Target) Target {
	c.cloudAssertion(n, &t, "")
	c.ownAudience(n, t)
	c.subject(n, &t, subjectWorkload)
	if at := n.Get("server"); at == nil {
		c.r.Missing(n, "server", "write server: and the URL of Vault, such as https://vault.acme.example:8200")
	} else {
		c.endpoint(at, "vault-server")
	}
	if n.Get("mount") == nil {
		t.Mount = defaultMount
	}
	for _, field := range []string{"mount", "namespace"} {
		at := n.Get(field)
		c.notEmpty(at)
		if usable(at) && !vault.Path(at.Text) {
			c.r.Error(at, "vault-path", at.Show()+" is no path", "write its parts with / between them, without one at the ends, such as ci/jwt")
		}
	}
	c.authority(n, &t, "vault-server")
	return t
}

// authority reads a target's own certificates.
func (c *checker) authority(n *strictyaml.Node, t *Target, finding string) {
	at := n.Get("ca_file")
	c.notEmpty(at)
	t.CAFile, t.ca = c.file(at, t.CAFile)
	if t.ca != nil && !x509.NewCertPool().AppendCertsFromPEM(t.ca) {
		c.r.Error(at, finding, at.Show()+" holds no certificate", "name a file of PEM certificates")
	}
}

// place is where a target's assertions are shown.
func (t Target) place() string {
	switch t.Type {
	case targetVault, targetKubernetes:
		return t.Server
	case targetOAuth:
		return t.TokenURL
	}
	return t.endpoint()
}

// ownAudience refuses an assertion that works elsewhere too: whoever runs this service
// could carry it there, past the grant's limits and the journal.
func (c *checker) ownAudience(n *strictyaml.Node, t Target) {
	at := n.Get("audience")
	if !usable(at) {
		return
	}
	if cloudAudience(t.Audience) {
		c.r.Error(at, "audience-reserved", at.Show()+" is a cloud's audience: the service could show our assertion there", "write one that only this service takes, such as its URL")
		return
	}
	c.carried(at, t)
}

// carried refuses the audience of another target that is elsewhere: whoever is shown
// our assertion at the one, or is given it, could show it at the other. It reports
// whether it did.
func (c *checker) carried(at *strictyaml.Node, t Target) bool {
	for _, name := range slices.Sorted(maps.Keys(c.config.Targets)) {
		other := c.config.Targets[name]
		aud := other.Audience
		switch other.Type { // those that need not be written
		case targetAWS:
			aud = cmp.Or(aud, defaultAWSAudience)
		case targetAzure:
			aud = cmp.Or(aud, defaultAzureAudience)
		}
		if other.Type == t.Type && (other.place() == t.place() || t.Type == targetKubernetes) {
			continue // itself, or the same service; clusters of one audience have a warning
		}
		if !targetKinds()[other.Type].cloud || aud == "" || !alike(aud, t.Audience) {
			continue
		}
		c.r.Error(at, "audience-reserved", "the target "+name+", which is elsewhere, has the audience "+t.Audience+" too: either could show our assertion to the other", "give each its own audience")
		return true
	}
	return false
}

// connectVault is the JWT auth method, and each role.
func connectVault(c Config, name string, grants []connected) (*Connection, strictyaml.Findings) {
	t := c.Targets[name]
	roles := &vault.Connection{Target: name, Server: t.Server, Namespace: t.Namespace, Mount: t.Mount, Issuer: c.Issuer, Audience: t.Audience}
	for _, g := range grants {
		roles.Grant(g.Trust, g.Literal, g.Subjects, g.Shadow)
	}
	var findings strictyaml.Findings
	for _, p := range roles.Finish() {
		findings = append(findings, strictyaml.Finding{ID: p.ID, Severity: strictyaml.Error, File: "vault:" + p.Role, Message: p.Text, Fix: p.Fix})
	}
	if findings.HasErrors() {
		return nil, findings
	}
	return &Connection{Forms: []Form{
		{"text", "", roles.Text()},
		{"terraform", "Terraform", roles.Terraform()},
		{"cli", "Vault CLI", roles.CLI()},
		{"json", "JSON", roles.JSON()},
	}}, findings
}

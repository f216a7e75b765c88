package gateway

import (
	"crypto/x509"

	"cambio/exchange"
	"cambio/providers/kubernetes"
	"cambio/trust"
	"cambio/trust/strictyaml"
)

const targetKubernetes = "kubernetes"

// kubernetesKind are clusters that trust our issuer: for JWTs of ours as they are,
// or, with a server, for ordering tokens of their service accounts.
func kubernetesKind() targetKind {
	return targetKind{
		settings: []string{"server", "ca_file", "subject"},
		cloud:    true,
		// Without a server the credential is the JWT itself: it ends with the subject
		// token, and is journaled as one of ours.
		ours: func(t Target) bool { return t.Server == "" },
		typ:  func(t Target) trust.TargetType { return kubernetes.TargetType(t.Server) },
		pins: func(t Target) map[string]string {
			return map[string]string{"server": t.Server, "subject": t.Subject}
		},
		audiences: func(g trust.Grant) []string { return extraTexts(g, "audiences") },
		check:     (*checker).targetKubernetes,
		open: func(env Env, t Target) (exchange.Target, error) {
			if t.Server == "" {
				return exchange.Target{Minter: kubernetes.JWTMinter{Audience: t.Audience}, Types: kubernetes.Types()}, nil
			}
			minter, err := kubernetes.New(kubernetes.Config{Server: t.Server, CA: t.ca, Audience: t.Audience, Now: env.Now})
			return exchange.Target{Minter: minter, Types: kubernetes.Types()}, err
		},
		connect: connectKubernetes,
	}
}

// targetKubernetes checks a target that is a cluster.
func (c *checker) targetKubernetes(n *strictyaml.Node, t Target) Target {
	c.cloudAssertion(n, &t, "")
	c.subject(n, &t, subjectWorkload)
	at := n.Get("audience")
	switch {
	case !usable(at):
	case cloudAudience(at.Text) && !clusterAudience(at.Text):
		// Without a server the workload itself is handed what the cloud takes; with one,
		// whoever runs the cluster is shown it.
		c.r.Error(at, "audience-reserved", at.Show()+" is a cloud's audience: the JWT would open the cloud past its own target", "write one that only this cluster takes")
	case !clusterAudience(at.Text):
		c.carried(at, t)
	default:
		// Every cluster takes it by default: what is issued for this one, and what an API
		// server is shown by us, would open the others.
		c.r.Warn(at, "target-audience-shared", at.Show()+" is an audience that other clusters or clouds have too", "write one that only this cluster takes")
	}
	if at := n.Get("server"); at != nil {
		c.endpoint(at, "kubernetes-server")
	}
	at = n.Get("ca_file")
	c.notEmpty(at)
	if at != nil && n.Get("server") == nil {
		c.r.Error(at, "kubernetes-server", "without a server nobody is called", "leave it out, or write server:")
		return t
	}
	t.CAFile, t.ca = c.file(at, t.CAFile)
	if t.ca != nil && !x509.NewCertPool().AppendCertsFromPEM(t.ca) {
		c.r.Error(at, "kubernetes-server", at.Show()+" holds no certificate", "name a file of PEM certificates")
	}
	return t
}

// connectKubernetes is the cluster's AuthenticationConfiguration, and its roles.
func connectKubernetes(c Config, name string, grants []connected) (*Connection, strictyaml.Findings) {
	t := c.Targets[name]
	cluster := &kubernetes.Connection{Target: name, Issuer: c.Issuer, Audience: t.Audience, Server: t.Server}
	for _, g := range grants {
		groups, _ := g.Literal.Extra["groups"].([]string)
		cluster.Grant(g.Trust, g.Resource, g.Subjects, groups, g.Shadow)
	}
	cluster.Finish()
	var findings strictyaml.Findings
	if !cluster.Public() {
		findings = append(findings, strictyaml.Finding{
			ID: "connect-issuer", Severity: strictyaml.Warning, File: "issuer " + c.Issuer,
			Message: "API servers take an issuer with https only, and fetch its keys there", Fix: "configure the public issuer",
		})
	}
	return &Connection{Forms: []Form{
		{"text", "", cluster.Text()},
		{"yaml", "YAML", cluster.YAML()},
		{"json", "JSON", cluster.JSON()},
	}}, findings
}

package gateway

import (
	"crypto/x509"
	"errors"

	"cambio/exchange"
	"cambio/keystore"
	"cambio/providers/github"
	"cambio/trust"
	"cambio/trust/strictyaml"
)

const targetGitHub = "github"

// githubKind are installations of a GitHub App. Its key is the one secret of
// others that we keep: GitHub trusts no issuer.
func githubKind() targetKind {
	return targetKind{
		settings: []string{"app_id", "app_key", "installation", "endpoint", "ca_file"},
		cloud:    true,
		vouches:  true, // GitHub is told nothing of who asks
		typ:      func(Target) trust.TargetType { return github.TargetType() },
		pins: func(t Target) map[string]string {
			return map[string]string{"app_id": t.AppID, "installation": t.Installation, "endpoint": t.endpoint()}
		},
		check: (*checker).targetGitHub,
		open: func(env Env, t Target) (exchange.Target, error) {
			if t.appKey == nil {
				return exchange.Target{}, errors.New("github: there is no app_key")
			}
			minter, err := github.New(github.Config{
				App: t.AppID, Installation: t.Installation, Key: t.appKey, Endpoint: t.endpoint(), CA: t.ca, Now: env.Now, Rand: env.Rand,
			})
			return exchange.Target{Minter: minter, Types: github.Types()}, err
		},
		connect: connectGitHub,
	}
}

// targetGitHub checks a target that is an installation of a GitHub App.
func (c *checker) targetGitHub(n *strictyaml.Node, t Target) Target {
	c.noAudience(n, githubKind())
	for _, id := range []struct {
		field, text, fix string
		fits             func(string) bool
	}{
		{"app_id", t.AppID, "the App's id or client id, in quotes", github.AppForm.MatchString},
		{"installation", t.Installation, "the installation's id, its digits in quotes", github.InstallationForm.MatchString},
	} {
		at := n.Get(id.field)
		c.notEmpty(at)
		switch {
		case at == nil:
			c.r.Missing(n, id.field, "write "+id.field+": and "+id.fix)
		case usable(at) && !id.fits(id.text):
			c.r.Error(at, "github-app", at.Show()+" is not "+id.field, "write "+id.fix)
		}
	}
	if t.Endpoint != nil {
		c.endpoint(n.Get("endpoint"), "github-endpoint")
	}
	at := n.Get("ca_file")
	c.notEmpty(at)
	if t.CAFile, t.ca = c.file(at, t.CAFile); t.ca != nil && !x509.NewCertPool().AppendCertsFromPEM(t.ca) {
		c.r.Error(at, "github-endpoint", at.Show()+" holds no certificate", "name a file of PEM certificates")
	}
	return c.appKey(n, t)
}

// appKey reads the App's private key, or checks the name of one in a KMS, which is
// called when it first signs.
func (c *checker) appKey(n *strictyaml.Node, t Target) Target {
	var err error
	if keystore.IsURI(t.AppKey) {
		t.appKey, err = keystore.LateRSA(t.AppKey)
	} else {
		var text []byte
		t.AppKey, text = c.needed(n, "app_key", t.AppKey, "and the file of the App's private key, PEM, or a key in a KMS")
		defer clear(text)
		if text == nil {
			return t
		}
		t.appKey, err = keystore.ParseRSA(text)
	}
	if err != nil {
		c.r.Error(n.Find("app_key"), "github-app-key", err.Error(), "write the file that GitHub made for the App, or awskms:, gcpkms: or pkcs11: and an RSA key")
	}
	return t
}

// connectGitHub is what the App needs.
func connectGitHub(c Config, name string, grants []connected) (*Connection, strictyaml.Findings) {
	t := c.Targets[name]
	app := &github.Connection{Target: name, App: t.AppID, Installation: t.Installation, Endpoint: t.endpoint()}
	for _, g := range grants {
		names, _ := g.Literal.Extra["repositories"].([]string)
		ids, _ := g.Literal.Extra["repository_ids"].([]string)
		app.Grant(g.Trust, g.Resource, names, ids, g.Literal.Scopes, g.Shadow)
	}
	app.Finish()
	return &Connection{Forms: []Form{
		{"text", "", app.Text()},
		{"json", "JSON", app.JSON()},
	}}, nil
}

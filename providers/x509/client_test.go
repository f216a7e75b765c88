package x509_test

import (
	"context"
	cryptox509 "crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"cambio/exchange"
	"cambio/providers/oidc"
	"cambio/providers/providertest"
	"cambio/providers/spiffe/spiffetest"
	"cambio/providers/x509"
	"cambio/trust"
)

func clientStart() time.Time { return time.Date(2026, 11, 22, 12, 0, 0, 0, time.UTC) }

// clients proves certificates as the catalogue's set does.
type clients struct{ *x509.Clients }

func (c clients) Verify(_ context.Context, s exchange.Subject) (exchange.Proof, error) {
	if s.Type != exchange.SubjectMTLS {
		return exchange.Proof{}, exchange.Refuse(trust.ReasonTokenType, nil)
	}
	return c.Clients.Verify(s.Certificates)
}

func clientProvider(name string, as ...*spiffetest.Authority) oidc.Provider {
	p := oidc.Provider{Name: name, Type: "x509"}
	for _, a := range as {
		p.ClientCA = append(p.ClientCA, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: a.Root.Raw})...)
	}
	return p
}

func openClients(tb testing.TB, ps ...oidc.Provider) clients {
	tb.Helper()
	c, err := x509.NewClients("gw.test", ps, clientStart)
	if err != nil {
		tb.Fatal(err)
	}
	return clients{c}
}

type template = cryptox509.Certificate

func shownBy(tb testing.TB, a *spiffetest.Authority, edit func(c *template)) []*cryptox509.Certificate {
	tb.Helper()
	return spiffetest.Shown(tb, a.Certificate(nil, edit))
}

func named(dns ...string) func(c *template) {
	return func(c *template) {
		c.Subject, c.DNSNames, c.ExtKeyUsage = pkix.Name{CommonName: "deploy"}, dns, []cryptox509.ExtKeyUsage{cryptox509.ExtKeyUsageClientAuth}
	}
}

func TestClientCertificate(t *testing.T) {
	a := spiffetest.New(t, "acme", clientStart())
	leaf := shownBy(t, a, named("deploy.ci.acme.example"))
	got, err := openClients(t, clientProvider("ci", a)).Clients.Verify(leaf)
	if err != nil {
		t.Fatal(err)
	}
	begins, ends := clientStart().Add(-10*time.Second), clientStart().Add(time.Hour)
	want := exchange.Proof{
		Identity: trust.Identity{
			Provider: "ci", Workload: "spiffe://gw.test/ci/dns_3adeploy.ci.acme.example", Subject: "dns:deploy.ci.acme.example", Issuer: "CN=root of acme",
			IssuedAt: begins, ExpiresAt: ends,
			Claims: map[string]any{
				"sub": "dns:deploy.ci.acme.example", "iat": begins.Unix(), "exp": ends.Unix(), "dns": "deploy.ci.acme.example",
				"san_dns": []any{"deploy.ci.acme.example"}, "san_uri": []any{}, "san_email": []any{}, "subject_cn": "deploy", "issuer_dn": "CN=root of acme",
				"serial": leaf[0].SerialNumber.Text(16), "x5t_s256": got.Claims["x5t_s256"], "spki_sha256": got.Claims["spki_sha256"],
			},
		},
		ReplayKey: got.ReplayKey, ClockSkew: 30 * time.Second,
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
	for claim := range got.Claims {
		if x509.Platform().Claims[claim].Type == "" {
			t.Errorf("%s is not in the table", claim)
		}
	}
}

// TestSubjects: the subject is the certificate's one name, and says of which kind
// it is, so that none poses as another.
func TestSubjects(t *testing.T) {
	a := spiffetest.New(t, "acme", clientStart())
	v := openClients(t, clientProvider("ci", a))
	seen := map[string]string{}
	for name, c := range map[string]struct {
		uris []string
		edit func(c *template)
		want string // "key:" for a key
	}{
		"a DNS name":         {nil, named("a.acme.example"), "dns:a.acme.example"},
		"two DNS names":      {nil, named("a.acme.example", "b.acme.example"), "key:"},
		"a URI":              {[]string{"urn:acme:deploy"}, nil, "uri:urn:acme:deploy"},
		"an odd URI":         {[]string{"https://acme.example/%7e?x#"}, nil, "uri:https://acme.example/%7e?x#"},
		"two URIs":           {[]string{"urn:acme:a", "urn:acme:b"}, nil, "key:"},
		"a name that poses":  {[]string{"dns:a.acme.example"}, nil, "uri:dns:a.acme.example"},
		"a common name":      {nil, func(c *template) { c.Subject.CommonName = "dns:a.acme.example" }, "key:"},
		"nothing":            {nil, func(c *template) { c.Subject = pkix.Name{} }, "key:"},
		"an e-mail":          {nil, func(c *template) { c.EmailAddresses = []string{"a@acme.example"} }, "key:"},
		"a SPIFFE ID, as is": {[]string{"spiffe://TD//x"}, nil, "uri:spiffe://TD//x"},
	} {
		proof, err := v.Clients.Verify(spiffetest.Shown(t, a.Certificate(c.uris, c.edit)))
		if err != nil {
			t.Errorf("%s: %v", name, err)
			continue
		}
		if proof.Subject != c.want && (c.want != "key:" || !strings.HasPrefix(proof.Subject, c.want)) {
			t.Errorf("%s: %s", name, proof.Subject)
		}
		if other, twice := seen[proof.Workload]; twice {
			t.Errorf("%s and %s are one workload", name, other)
		}
		seen[proof.Workload] = name
	}
}

func TestClientConformance(t *testing.T) {
	a, b := spiffetest.New(t, "acme", clientStart()), spiffetest.New(t, "other", clientStart())
	as := func(r trust.Reason, certs []*cryptox509.Certificate) providertest.Broken {
		return providertest.Broken{Subject: exchange.Subject{Type: exchange.SubjectMTLS, Token: "x", Certificates: certs}, Reason: r}
	}
	edited := func(r trust.Reason, edit func(c *template)) providertest.Broken {
		return as(r, shownBy(t, a, func(c *template) {
			named("a.acme.example")(c)
			edit(c)
		}))
	}
	below := a.Below(nil)
	constrained := a.Below(func(c *template) {
		c.PermittedDNSDomains, c.PermittedDNSDomainsCritical = []string{"b.acme.example"}, true
	})
	providertest.Verifier{
		Set: openClients(t, clientProvider("ci", a)),
		Good: exchange.Subject{
			Type: exchange.SubjectMTLS, Token: "certificate",
			Certificates: spiffetest.Shown(t, below.Certificate(nil, named("a.acme.example")), below),
		},
		Secrets: []string{"canary-4711"},
		Broken: map[string]providertest.Broken{
			"no certificate":       as(trust.ReasonCertMissing, nil),
			"another authority":    as(trust.ReasonCertUntrusted, shownBy(t, b, named("canary-4711.acme.example"))),
			"no intermediate":      as(trust.ReasonCertUntrusted, shownBy(t, below, named("a.acme.example"))),
			"outside its names":    as(trust.ReasonCertUntrusted, spiffetest.Shown(t, constrained.Certificate(nil, named("canary-4711.acme.example")), constrained)),
			"the authority itself": as(trust.ReasonCertInvalid, []*cryptox509.Certificate{a.Root}),
			"a CA":                 edited(trust.ReasonCertInvalid, func(c *template) { c.IsCA = true }),
			"not for signatures":   edited(trust.ReasonCertInvalid, func(c *template) { c.KeyUsage = cryptox509.KeyUsageKeyEncipherment }),
			"for servers":          edited(trust.ReasonCertUntrusted, func(c *template) { c.ExtKeyUsage = []cryptox509.ExtKeyUsage{cryptox509.ExtKeyUsageServerAuth} }),
			"expired": edited(trust.ReasonExpired, func(c *template) {
				c.NotBefore, c.NotAfter = clientStart().Add(-time.Hour), clientStart().Add(-time.Minute)
			}),
			"not yet valid":          edited(trust.ReasonNotYetValid, func(c *template) { c.NotBefore = clientStart().Add(time.Minute) }),
			"too old":                edited(trust.ReasonTooOld, func(c *template) { c.NotBefore = clientStart().Add(-25 * time.Hour) }),
			"a year":                 edited(trust.ReasonTooLongLived, func(c *template) { c.NotAfter = clientStart().Add(365 * 24 * time.Hour) }),
			"a space in a name":      edited(trust.ReasonCertInvalid, func(c *template) { c.DNSNames = []string{"canary-4711 x"} }),
			"invisible":              edited(trust.ReasonCertInvalid, func(c *template) { c.Subject.CommonName = "canary-4711\u202e" }),
			"a common name too long": edited(trust.ReasonCertInvalid, func(c *template) { c.Subject.CommonName = strings.Repeat("canary-4711", 100) }),
			"a hidden name": edited(trust.ReasonCertInvalid, func(c *template) {
				c.ExtraExtensions = []pkix.Extension{spiffetest.HiddenURIName(t, "urn:acme:deploy")}
			}),
			"too many names to look at": edited(trust.ReasonCertInvalid, func(c *template) { c.DNSNames = slices.Repeat([]string{"a.example"}, 302) }),
			"101 names":                 edited(trust.ReasonCertInvalid, func(c *template) { c.DNSNames = slices.Repeat([]string{"a.example"}, 101) }),
		},
	}.Run(t)
}

// TestTwoAuthorities: the provider is the one whose authorities vouch for it.
func TestTwoAuthorities(t *testing.T) {
	a, b := spiffetest.New(t, "acme", clientStart()), spiffetest.New(t, "other", clientStart())
	v := openClients(t, clientProvider("one", a), clientProvider("two", b))
	for want, authority := range map[string]*spiffetest.Authority{"one": a, "two": b} {
		if proof, err := v.Clients.Verify(shownBy(t, authority, named("x.acme.example"))); err != nil || proof.Provider != want {
			t.Errorf("%s: %s %v", want, proof.Provider, err)
		}
	}
	_, err := openClients(t, clientProvider("one", a), clientProvider("both", a, b)).Clients.Verify(shownBy(t, a, named("x.acme.example")))
	if err == nil || !strings.Contains(err.Error(), string(trust.ReasonProviderAmbiguous)) {
		t.Errorf("two vouch for it: %v", err)
	}
}

// TestWithheldIntermediate: who shows less of a certificate's way up does not choose
// which of two providers judges it.
func TestWithheldIntermediate(t *testing.T) {
	root := spiffetest.New(t, "acme", clientStart())
	team := root.Below(nil)
	v := openClients(t, clientProvider("all", root), clientProvider("team", team))
	leaf := team.Certificate(nil, named("x.acme.example"))
	for name, shown := range map[string][]*cryptox509.Certificate{
		"shown":    spiffetest.Shown(t, leaf, team),
		"withheld": spiffetest.Shown(t, leaf),
	} {
		proof, err := v.Clients.Verify(shown)
		if err == nil || !strings.Contains(err.Error(), string(trust.ReasonProviderAmbiguous)) {
			t.Errorf("%s: %s %v", name, proof.Provider, err)
		}
	}
	if proof, err := v.Clients.Verify(shownBy(t, root, named("x.acme.example"))); err != nil || proof.Provider != "all" {
		t.Errorf("the root's own: %s %v", proof.Provider, err)
	}
}

// TestClientCAFile: what of the file of authorities cannot be meant.
func TestClientCAFile(t *testing.T) {
	a := spiffetest.New(t, "acme", clientStart())
	good := clientProvider("ci", a).ClientCA
	leaf := pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: shownBy(t, a, nil)[0].Raw})
	for name, c := range map[string]struct {
		file []byte
		want string
	}{
		"good":         {good, ""},
		"two":          {slices.Concat(good, clientProvider("x", spiffetest.New(t, "b", clientStart())).ClientCA), ""},
		"none":         {nil, "client_ca_file"},
		"empty":        {[]byte("\n"), "client_ca_file"},
		"noise":        {[]byte("x"), "client_ca_file"},
		"noise behind": {append(slices.Clone(good), "x"...), "client_ca_file"},
		"a key":        {append(slices.Clone(good), pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: []byte("x")})...), "client_ca_file"},
		"a leaf":       {leaf, "client_ca_file"},
		"101":          {slices.Repeat(good, 101), "client_ca_file"},
		"malformed":    {pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: []byte("x")}), "client_ca_file"},
	} {
		p := oidc.Provider{Name: "ci", Type: "x509", ClientCA: c.file}
		got := ""
		for _, problem := range oidc.Check(p.WithDefaults(x509.Platform()), x509.Platform()) {
			got = problem.Field
		}
		if got != c.want {
			t.Errorf("%s: %q, want %q", name, got, c.want)
		}
		if _, err := x509.NewClients("gw.test", []oidc.Provider{p}, clientStart); (err != nil) != (c.want != "") {
			t.Errorf("%s: %v", name, err)
		}
	}
	for field, edit := range map[string]func(p *oidc.Provider){
		"issuer":   func(p *oidc.Provider) { p.Issuer = "https://issuer.test" },
		"jwks_url": func(p *oidc.Provider) { p.JWKSURL = "https://issuer.test" },
		"algs":     func(p *oidc.Provider) { p.Algs = []string{"RS256"} },
	} {
		p := clientProvider("ci", a)
		edit(&p)
		if problems := oidc.Check(p.WithDefaults(x509.Platform()), x509.Platform()); len(problems) == 0 || problems[0].Field != field {
			t.Errorf("%s: %v", field, problems)
		}
	}
}

// TestNoProviders: without any, nothing vouches for anything: least of all the
// system's authorities.
func TestNoProviders(t *testing.T) {
	a := spiffetest.New(t, "acme", clientStart())
	v := openClients(t)
	if v.Any() {
		t.Error("there are providers")
	}
	if _, err := v.Clients.Verify(shownBy(t, a, named("x.acme.example"))); err == nil {
		t.Error("taken")
	}
}

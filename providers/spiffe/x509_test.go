package spiffe_test

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/asn1"
	"math/big"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/spiffe/go-spiffe/v2/bundle/x509bundle"
	"github.com/spiffe/go-spiffe/v2/spiffeid"
	"github.com/spiffe/go-spiffe/v2/svid/x509svid"

	"cambio/exchange"
	"cambio/providers/providertest"
	"cambio/providers/spiffe/spiffetest"
	"cambio/trust"
)

func TestX509SVID(t *testing.T) {
	a := spiffetest.New(t, "td1", start())
	leaf := a.SVID(workload, nil)
	got, err := open(t, provider(a)).certs.Verify(t.Context(), spiffetest.Shown(t, leaf))
	if err != nil {
		t.Fatal(err)
	}
	begins, ends := start().Add(-10*time.Second), start().Add(time.Hour)
	want := exchange.Proof{
		Identity: trust.Identity{
			Provider: "mesh", Workload: "spiffe://gw.test/mesh/ns/payments/sa/api_5f1", Subject: workload, Issuer: "spiffe://td1",
			IssuedAt: begins, ExpiresAt: ends,
			Claims: map[string]any{
				"sub": workload, "trust_domain": "td1", "path": "/ns/payments/sa/api_1", "svid": "x509", "iat": begins.Unix(), "exp": ends.Unix(),
			},
		},
		ReplayKey: got.ReplayKey, ClockSkew: 30 * time.Second,
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
}

// shown are the certificates of connections that must be refused, by what is wrong
// with them, and one that is good.
func shown(t *testing.T, a, b *spiffetest.Authority) (exchange.Subject, map[string]providertest.Broken) {
	t.Helper()
	as := func(certs []*x509.Certificate) exchange.Subject {
		return exchange.Subject{Type: exchange.SubjectMTLS, Token: "certificate", Certificates: certs}
	}
	broken := map[string]providertest.Broken{}
	put := func(name string, r trust.Reason, c tls.Certificate, above ...*spiffetest.Authority) {
		broken[name] = providertest.Broken{Subject: as(spiffetest.Shown(t, c, above...)), Reason: r}
	}
	edited := func(edit func(c *x509.Certificate)) tls.Certificate { return a.SVID(workload, edit) }
	put("another trust domain's authority", trust.ReasonCertUntrusted, b.SVID(workload, nil))
	put("another trust domain's authority, shown", trust.ReasonCertUntrusted, b.SVID(workload, nil), b, a)
	put("unknown trust domain", trust.ReasonIssuerUnknown, a.SVID("spiffe://td3/x", nil))
	put("td1 signs for td2", trust.ReasonCertUntrusted, a.SVID("spiffe://td2/x", nil))
	put("the trust domain itself", trust.ReasonSPIFFEID, a.SVID("spiffe://td1", nil))
	put("no URI", trust.ReasonSPIFFEID, a.Certificate(nil, nil))
	put("two URIs", trust.ReasonSPIFFEID, a.Certificate([]string{workload, "spiffe://td1/other"}, nil))
	put("two URIs, one of the Web", trust.ReasonSPIFFEID, a.Certificate([]string{"https://td1/x", workload}, nil))
	put("a URI of the Web", trust.ReasonSPIFFEID, a.SVID("https://td1/x", nil))
	put("two extensions", trust.ReasonSPIFFEID, edited(func(c *x509.Certificate) {
		c.ExtraExtensions = []pkix.Extension{spiffetest.URINames(t, workload, workload)}
	}))
	put("a CA", trust.ReasonCertInvalid, edited(func(c *x509.Certificate) { c.IsCA = true }))
	put("may sign certificates", trust.ReasonCertInvalid, edited(func(c *x509.Certificate) { c.KeyUsage |= x509.KeyUsageCertSign }))
	put("may sign lists", trust.ReasonCertInvalid, edited(func(c *x509.Certificate) { c.KeyUsage |= x509.KeyUsageCRLSign }))
	put("no signatures", trust.ReasonCertInvalid, edited(func(c *x509.Certificate) { c.KeyUsage = x509.KeyUsageKeyEncipherment }))
	put("no key usage", trust.ReasonCertInvalid, edited(func(c *x509.Certificate) { c.KeyUsage = 0 }))
	put("for servers alone", trust.ReasonCertUntrusted, edited(func(c *x509.Certificate) { c.ExtKeyUsage = []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth} }))
	put("expired", trust.ReasonExpired, edited(func(c *x509.Certificate) {
		c.NotBefore, c.NotAfter = start().Add(-time.Hour), start().Add(-30*time.Second)
	}))
	put("not yet valid", trust.ReasonNotYetValid, edited(func(c *x509.Certificate) { c.NotBefore = start().Add(31 * time.Second) }))
	put("too old", trust.ReasonTooOld, edited(func(c *x509.Certificate) { c.NotBefore = start().Add(-25 * time.Hour) }))
	put("too long-lived", trust.ReasonTooLongLived, edited(func(c *x509.Certificate) { c.NotAfter = start().Add(24 * time.Hour) }))
	put("for ever", trust.ReasonTooLongLived, edited(func(c *x509.Certificate) { c.NotAfter = time.Date(9999, 12, 31, 23, 59, 59, 0, time.UTC) }))
	put("an unknown critical extension", trust.ReasonCertUntrusted, edited(func(c *x509.Certificate) {
		c.ExtraExtensions = append(c.ExtraExtensions, pkix.Extension{Id: asn1.ObjectIdentifier{1, 2, 3, 4}, Critical: true, Value: []byte{5, 0}})
	}))
	below := a.Below(nil)
	put("the intermediate is missing", trust.ReasonCertUntrusted, below.SVID(workload, nil))
	old := a.Below(func(c *x509.Certificate) { c.NotAfter = start().Add(-time.Minute) })
	put("an expired intermediate", trust.ReasonCertUntrusted, old.SVID(workload, nil), old)
	noCA := a.Below(func(c *x509.Certificate) { c.IsCA = false; c.KeyUsage = x509.KeyUsageDigitalSignature })
	put("an intermediate that is no CA", trust.ReasonCertUntrusted, noCA.SVID(workload, nil), noCA)
	constrained := a.Below(func(c *x509.Certificate) {
		c.PermittedURIDomains, c.PermittedDNSDomainsCritical = []string{"td2"}, true
	})
	put("outside the intermediate's names", trust.ReasonCertUntrusted, constrained.SVID(workload, nil), constrained)
	put("a name in a form that hides it from the constraints", trust.ReasonSPIFFEID, constrained.SVID(workload, func(c *x509.Certificate) {
		c.ExtraExtensions = []pkix.Extension{spiffetest.HiddenURIName(t, workload)}
	}), constrained)
	depth := a.Below(func(c *x509.Certificate) { c.MaxPathLenZero = true })
	deeper := depth.Below(nil)
	put("deeper than allowed", trust.ReasonCertUntrusted, deeper.SVID(workload, nil), deeper, depth)
	many := make([]*spiffetest.Authority, 5)
	for i := range many {
		many[i] = a
	}
	put("six certificates", trust.ReasonCertInvalid, a.SVID(workload, nil), many...)
	put("large", trust.ReasonCertInvalid, edited(func(c *x509.Certificate) {
		c.ExtraExtensions = append(c.ExtraExtensions, pkix.Extension{Id: asn1.ObjectIdentifier{1, 2, 3, 4}, Value: make([]byte, 64<<10)})
	}))
	for name, key := range weakKeys(t) {
		c := a.Leaf()
		c.ExtraExtensions = []pkix.Extension{spiffetest.URINames(t, workload)}
		broken[name] = providertest.Broken{Subject: as([]*x509.Certificate{a.Issue(c, key)}), Reason: trust.ReasonWeakKey}
	}
	return as(spiffetest.Shown(t, a.SVID(workload, nil))), broken
}

func weakKeys(t *testing.T) map[string]any {
	t.Helper()
	p224, err := ecdsa.GenerateKey(elliptic.P224(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	small, err := rsa.GenerateKey(rand.Reader, 1024)
	if err != nil {
		t.Fatal(err)
	}
	large := small.PublicKey
	large.N = small.N.Lsh(small.N, 8200)
	tiny, err := rsa.GenerateKey(rand.Reader, 1024)
	if err != nil {
		t.Fatal(err)
	}
	dear := rsa.PublicKey{N: new(big.Int).Lsh(big.NewInt(1), 2047), E: 1<<31 - 1}
	dear.N.SetBit(dear.N, 0, 1)
	return map[string]any{"P-224": p224.Public(), "RSA 1024": tiny.Public(), "RSA 9224": &large, "a dear exponent": &dear}
}

func TestX509Conformance(t *testing.T) {
	a, b := spiffetest.New(t, "td1", start()), spiffetest.New(t, "td2", start())
	other := provider(b)
	other.Name = "other"
	good, broken := shown(t, a, b)
	broken["no certificate"] = providertest.Broken{Subject: exchange.Subject{Type: exchange.SubjectMTLS, Token: "x"}, Reason: trust.ReasonCertMissing}
	providertest.Verifier{Set: open(t, provider(a), other), Good: good, Broken: broken}.Run(t)
}

// TestX509Good: other forms of a good one.
func TestX509Good(t *testing.T) {
	a := spiffetest.New(t, "td1", start())
	v := open(t, provider(a))
	below := a.Below(nil)
	deeper := below.Below(nil)
	rsaKey, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		t.Fatal(err)
	}
	named := a.Leaf()
	named.ExtraExtensions = []pkix.Extension{spiffetest.URINames(t, workload)}
	for name, certs := range map[string][]*x509.Certificate{
		"an intermediate":       spiffetest.Shown(t, below.SVID(workload, nil), below),
		"two, in another order": spiffetest.Shown(t, deeper.SVID(workload, nil), below, deeper),
		"the root is shown too": spiffetest.Shown(t, a.SVID(workload, nil), a),
		"RSA":                   {a.Issue(named, rsaKey.Public())},
		"no extended usage":     spiffetest.Shown(t, a.SVID(workload, func(c *x509.Certificate) { c.ExtKeyUsage = nil })),
		"expired, within the skew": spiffetest.Shown(t, a.SVID(workload, func(c *x509.Certificate) {
			c.NotBefore, c.NotAfter = start().Add(-time.Hour), start().Add(-29*time.Second)
		})),
		"early, within the skew": spiffetest.Shown(t, a.SVID(workload, func(c *x509.Certificate) { c.NotBefore = start().Add(30 * time.Second) })),
		"exactly a day":          spiffetest.Shown(t, a.SVID(workload, func(c *x509.Certificate) { c.NotAfter = c.NotBefore.Add(24 * time.Hour) })),
	} {
		proof, err := v.certs.Verify(t.Context(), certs)
		if err != nil || proof.Subject != workload {
			t.Errorf("%s: %s %v", name, proof.Subject, err)
		}
	}
}

// TestReplayKeyOfCertificates: another signature over the same certificate is the
// same use, and another certificate is another.
func TestReplayKeyOfCertificates(t *testing.T) {
	a := spiffetest.New(t, "td1", start())
	v := open(t, provider(a))
	leaf := spiffetest.Shown(t, a.SVID(workload, nil))[0]
	proof, err := v.certs.Verify(t.Context(), []*x509.Certificate{leaf})
	if err != nil {
		t.Fatal(err)
	}
	again, err := x509.ParseCertificate(otherSignature(t, leaf))
	if err != nil {
		t.Fatal(err)
	}
	if string(again.Raw) == string(leaf.Raw) {
		t.Fatal("the same bytes")
	}
	twin, err := v.certs.Verify(t.Context(), []*x509.Certificate{again})
	if err != nil {
		t.Fatal(err)
	}
	if twin.ReplayKey != proof.ReplayKey {
		t.Error("a certificate with the negated signature is another use")
	}
	other, err := v.certs.Verify(t.Context(), spiffetest.Shown(t, a.SVID(workload, nil)))
	if err != nil || other.ReplayKey == proof.ReplayKey {
		t.Errorf("two certificates are one use: %v", err)
	}
}

// TestX509AgainstGoSpiffe: go-spiffe takes what we take, and refuses what has
// another chain, name or use.
func TestX509AgainstGoSpiffe(t *testing.T) {
	now := time.Now()
	a, b := spiffetest.New(t, "td1", now), spiffetest.New(t, "td2", now)
	bundle := x509bundle.FromX509Authorities(spiffeid.RequireTrustDomainFromString("td1"), []*x509.Certificate{a.Root})
	v := open(t, provider(a))
	v.clock.add(now.Sub(start()))
	below := a.Below(nil)
	for name, certs := range map[string][]*x509.Certificate{
		"good":         spiffetest.Shown(t, a.SVID(workload, nil)),
		"intermediate": spiffetest.Shown(t, below.SVID(workload, nil), below),
		"another root": spiffetest.Shown(t, b.SVID(workload, nil)),
		"two URIs":     spiffetest.Shown(t, a.Certificate([]string{workload, workload}, nil)),
		"a CA":         spiffetest.Shown(t, a.SVID(workload, func(c *x509.Certificate) { c.IsCA = true })),
		"signs":        spiffetest.Shown(t, a.SVID(workload, func(c *x509.Certificate) { c.KeyUsage |= x509.KeyUsageCertSign })),
		"not an id":    spiffetest.Shown(t, a.SVID("spiffe://TD1/x", nil)),
	} {
		theirs, _, theirErr := x509svid.Verify(certs, bundle, x509svid.WithTime(now))
		proof, err := v.certs.Verify(t.Context(), certs)
		if (err == nil) != (theirErr == nil) || err == nil && proof.Subject != theirs.String() {
			t.Errorf("%s: %v, go-spiffe %v", name, err, theirErr)
		}
	}
}

// TestErrorsAreOurs: no text of a certificate reaches an error.
func TestErrorsAreOurs(t *testing.T) {
	a, b := spiffetest.New(t, "td1", start()), spiffetest.New(t, "td2", start())
	const canary = "canary-4711"
	v := open(t, provider(a))
	for name, c := range map[string]tls.Certificate{
		"chain": b.SVID("spiffe://td1/"+canary, func(c *x509.Certificate) {
			c.Subject.CommonName, c.DNSNames = canary, []string{canary}
		}),
		"id": a.SVID("spiffe://td1//"+canary, nil),
	} {
		_, err := v.certs.Verify(t.Context(), spiffetest.Shown(t, c))
		if err == nil || strings.Contains(err.Error(), canary) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

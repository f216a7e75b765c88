package x509_test

import (
	stdx509 "crypto/x509"
	"encoding/pem"
	"strconv"
	"strings"
	"testing"
	"time"

	"cambio/exchange/exchangetest"
	"cambio/providers/x509"
)

func text(n int64) string { return strconv.FormatInt(n, 10) }

func TestOpen(t *testing.T) {
	root := authority(t, "root", nil, nil, nil)
	next := authority(t, "next root", nil, nil, nil)
	middle := authority(t, "middle", root, nil, nil)
	issuing := authority(t, "issuing", middle, nil, nil)
	stranger := authority(t, "stranger", next, nil, nil)
	key := keyPEM(t, issuing.key)
	sec1, err := stdx509.MarshalECPrivateKey(p256(t))
	if err != nil {
		t.Fatal(err)
	}
	leaf := authority(t, "leaf", root, func(c *stdx509.Certificate) { c.IsCA = false }, nil)
	mute := authority(t, "mute", root, func(c *stdx509.Certificate) { c.KeyUsage = stdx509.KeyUsageDigitalSignature }, nil)
	weak := authority(t, "weak", root, nil, rsaKey(t, 1024))
	for name, c := range map[string]struct {
		chain, key []byte
		want       string // id of the problem; "" none
	}{
		"a chain":                     {pemOf(issuing, middle, root), key, ""},
		"and the root that comes":     {pemOf(issuing, middle, root, next), key, ""},
		"a root that signs":           {pemOf(root), keyPEM(t, root.key), "ca-root"},
		"nothing":                     {nil, key, "ca-cert"},
		"text":                        {[]byte("hello"), key, "ca-cert"},
		"text behind":                 {append(pemOf(issuing, middle, root), "x"...), key, "ca-cert"},
		"a private key among them":    {append(pemOf(issuing, middle, root), key...), key, "ca-cert"},
		"no root":                     {pemOf(issuing, middle), key, "ca-cert"},
		"another order":               {pemOf(root, middle, issuing), key, "ca-cert"},
		"a link is missing":           {pemOf(issuing, root), key, "ca-cert"},
		"another's link":              {pemOf(issuing, stranger, next), key, "ca-cert"},
		"no authority behind a root":  {pemOf(issuing, middle, root, stranger), key, "ca-cert"},
		"a leaf":                      {pemOf(leaf, root), keyPEM(t, leaf.key), "ca-cert"},
		"one that may not sign":       {pemOf(mute, root), keyPEM(t, mute.key), "ca-cert"},
		"a weak key":                  {pemOf(weak, root), keyPEM(t, weak.key), "ca-cert"},
		"too many":                    {pemOf(issuing, middle, root, next, next, next, next, next, next, next, next, next, next, next, next, next, next, next, next, next, next), key, "ca-cert"},
		"another's key":               {pemOf(issuing, middle, root), keyPEM(t, root.key), "ca-key"},
		"no key":                      {pemOf(issuing, middle, root), []byte("hello"), "ca-key"},
		"two keys":                    {pemOf(issuing, middle, root), append(keyPEM(t, issuing.key), key...), "ca-key"},
		"a public key":                {pemOf(issuing, middle, root), pemOf(root), "ca-key"},
		"another's key in SEC 1":      {pemOf(issuing, middle, root), pem.EncodeToMemory(&pem.Block{Type: "EC PRIVATE KEY", Bytes: sec1}), "ca-key"},
		"an encrypted one, as it was": {pemOf(issuing, middle, root), pem.EncodeToMemory(&pem.Block{Type: "ENCRYPTED PRIVATE KEY", Bytes: sec1}), "ca-key"},
	} {
		t.Run(name, func(t *testing.T) {
			a, problems := x509.Open(c.chain, c.key)
			got := ""
			if len(problems) > 0 {
				got = problems[0].ID
			}
			if got != c.want || len(problems) > 1 || (a == nil) != (c.want != "" && !problems[0].Warning) {
				t.Fatalf("%v", problems)
			}
			for _, p := range problems {
				if p.Text == "" || p.Fix == "" || strings.Contains(p.Text+p.Fix, "BEGIN") {
					t.Errorf("%+v", p)
				}
			}
			if name == "and the root that comes" && len(a.Roots()) != 2 {
				t.Errorf("%d roots", len(a.Roots()))
			}
		})
	}
}

// TestCheck: what constraints and times of the chain forbid is found before the
// first workload asks.
func TestCheck(t *testing.T) {
	now := exchangetest.Now()
	for name, c := range map[string]struct {
		change func(*stdx509.Certificate)
		at     time.Time
		want   string
	}{
		"good":      {nil, now.Add(1500 * time.Millisecond), ""},
		"not yet":   {nil, now.Add(-2 * time.Hour), "ca-not-yet"},
		"ended":     {nil, now.AddDate(1, 0, 1), "ca-expired"},
		"ends soon": {nil, now.AddDate(1, 0, -29), "ca-expires-soon"},
		"names of ours": {func(c *stdx509.Certificate) {
			c.PermittedURIDomains, c.PermittedDNSDomainsCritical = []string{"gw.test"}, true
		}, now, ""},
		"names of others": {func(c *stdx509.Certificate) {
			c.PermittedURIDomains, c.PermittedDNSDomainsCritical = []string{"other.test"}, true
		}, now, "ca-cannot-issue"},
		"not these":        {func(c *stdx509.Certificate) { c.ExcludedURIDomains = []string{"gw.test"} }, now, "ca-cannot-issue"},
		"for clients only": {func(c *stdx509.Certificate) { c.ExtKeyUsage = []stdx509.ExtKeyUsage{stdx509.ExtKeyUsageClientAuth} }, now, "ca-cannot-issue"},
		"no path below":    {func(c *stdx509.Certificate) { c.MaxPathLenZero = true }, now, ""},
	} {
		t.Run(name, func(t *testing.T) {
			problems := newHouse(t, c.change).authority.Check("spiffe://gw.test/trust/probe", c.at)
			got := ""
			if len(problems) > 0 {
				got = problems[0].ID
			}
			if got != c.want || len(problems) > 1 {
				t.Errorf("%v", problems)
			}
		})
	}
	// A root that allows no authority below an intermediate.
	root := authority(t, "root", nil, func(c *stdx509.Certificate) { c.MaxPathLenZero = true }, nil)
	issuing := authority(t, "issuing", root, nil, nil)
	a, problems := x509.Open(pemOf(issuing, root), keyPEM(t, issuing.key))
	if len(problems) > 0 {
		t.Fatal(problems)
	}
	if problems := a.Check("spiffe://gw.test/trust/probe", now); len(problems) != 1 || problems[0].ID != "ca-cannot-issue" {
		t.Errorf("a path that is too long: %v", problems)
	}
}

// FuzzParseRequest: no request is taken whose key could not be certified.
func FuzzParseRequest(f *testing.F) {
	good := csr(f, p256(f), nil)
	f.Add(good)
	f.Add(strings.ReplaceAll(good, "\n", "\r\n"))
	f.Add("MIIB")
	f.Add("-----BEGIN CERTIFICATE REQUEST-----\n-----END CERTIFICATE REQUEST-----\n")
	f.Fuzz(func(t *testing.T, text string) {
		key, err := x509.ParseRequest(text)
		if (key == nil) != (err != nil) {
			t.Fatalf("%v, %v", key, err)
		}
		if err != nil {
			if len(text) > 30 && strings.Contains(err.Error(), text) || strings.ContainsAny(err.Error(), "\n\r") {
				t.Errorf("the error repeats the request: %v", err)
			}
			return
		}
		if spki, err := stdx509.MarshalPKIXPublicKey(key); err != nil || len(spki) > 1200 { // RSA of 8192 bits has 1,062 bytes
			t.Errorf("%T, %d bytes: %v", key, len(spki), err)
		}
	})
}

package x509

import (
	"bytes"
	"crypto/sha256"
	"crypto/x509"
	"encoding/base64"
	"encoding/hex"
	"encoding/pem"
	"errors"
	"fmt"
	"slices"
	"time"
	"unicode"

	"cambio/exchange"
	"cambio/providers/internal/clientcert"
	"cambio/providers/oidc"
	"cambio/trust"
)

// maxClientCAs bounds the authorities of one provider, and maxText one text of a
// certificate. A common name has 64 characters at most, a DNS name 253.
const (
	maxClientCAs = 100
	maxText      = 1024
)

// Platform is configuration type x509: client certificates of an authority of the
// operator's own. What such a certificate says is what that authority asserts, so
// that its names are as immutable and unique as the authority makes them.
func Platform() oidc.Platform {
	text := trust.Claim{Type: trust.StringClaim}
	always := trust.Claim{Type: trust.StringClaim, Always: true}
	list := trust.Claim{Type: trust.ListClaim, Always: true}
	sample := map[string]any{
		"sub": "dns:deploy.ci.acme.example", "iat": int64(1795320000), "exp": int64(1795406400),
		"dns": "deploy.ci.acme.example", "san_dns": []any{"deploy.ci.acme.example"}, "san_uri": []any{}, "san_email": []any{},
		"subject_cn": "deploy.ci.acme.example", "issuer_dn": "CN=Acme CI Clients,O=Acme", "serial": "5f2b8c1d9e0a7746",
		"x5t_s256":    "qJ1pXHkUl0YtNwWlK0CzQ1m3l1c6m2n8o9pQrStUvWx",
		"spki_sha256": "9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08",
	}
	return oidc.Platform{
		Platform: trust.Platform{
			Name: "x509",
			Claims: map[string]trust.Claim{
				"sub":         always,
				"iat":         {Type: trust.IntClaim, Always: true},
				"exp":         {Type: trust.IntClaim, Always: true},
				"uri":         text, // the one URI name, where there is exactly one
				"dns":         text, // the one DNS name, where there is exactly one
				"san_uri":     list,
				"san_dns":     list,
				"san_email":   list,
				"subject_cn":  {Type: trust.StringClaim, PinnedBy: "spki_sha256"},
				"issuer_dn":   always,
				"serial":      always,
				"x5t_s256":    always, // of the certificate (RFC 8705 section 3.1)
				"spki_sha256": always, // of its key
			},
			// A key is nobody else's. A name is its workload's as long as the authority
			// gives it to no other.
			Anchors: []string{"spki_sha256", "sub", "uri", "dns"},
			Journal: []string{"iat", "exp", "issuer_dn", "serial", "x5t_s256", "spki_sha256"},
			Sample:  sample,
		},
		// A connection proves the key anew; its certificate is the same until renewed.
		TokenUse: trust.UntilExpiry,
		MaxAge:   24 * time.Hour,
		Workload: []oidc.Segment{{Claim: "sub"}},
		Proof:    exchange.SubjectMTLS,
		Settings: []string{"client_ca_file"},
		CheckSettings: func(p oidc.Provider) []oidc.Problem {
			if _, err := ClientAuthorities(p.ClientCA); err != nil {
				return []oidc.Problem{{Finding: oidc.FindingKeys, Field: "client_ca_file", Text: err.Error()}}
			}
			return nil
		},
		Facts: oidc.Facts{
			Title:    "Client certificates of an authority of one's own",
			Evidence: oidc.FromSource,
			Source:   "RFC 5280, as Go's crypto/x509 (https://github.com/golang/go/tree/master/src/crypto/x509) reads and verifies it",
			Obtain:   "from the files of `--client-cert` and `--client-key`, for each exchange",
			Page:     "client-certificates.md",
			Risks: []string{
				"Whoever can have the authority sign a name is that name: an authority that also signs people's or servers' certificates belongs to another provider, or to none.",
				"Revocation is not asked about: short lives and `cambio stop` take a certificate back.",
			},
		},
	}
}

// ClientAuthorities reads a client_ca_file: PEM certificates of authorities, and
// nothing else.
func ClientAuthorities(file []byte) ([]*x509.Certificate, error) {
	if file == nil {
		return nil, errors.New("nothing says who vouches for client certificates; write client_ca_file")
	}
	var all []*x509.Certificate
	for rest := file; ; {
		var block *pem.Block
		if block, rest = pem.Decode(rest); block == nil {
			if len(bytes.TrimSpace(rest)) > 0 {
				return nil, errors.New("the file holds something beside PEM certificates")
			}
			break
		}
		if block.Type != "CERTIFICATE" || len(all) == maxClientCAs {
			return nil, fmt.Errorf("the file holds a %.40q; write certificates alone, at most %d", block.Type, maxClientCAs)
		}
		c, err := x509.ParseCertificate(block.Bytes)
		if err != nil {
			return nil, errors.New("a certificate of the file is malformed")
		}
		// A workload's own certificate among them would vouch for itself, for ever.
		if !c.IsCA || !c.BasicConstraintsValid {
			return nil, fmt.Errorf("certificate %d of the file is no authority's", len(all)+1)
		}
		all = append(all, c)
	}
	if len(all) == 0 {
		return nil, errors.New("the file holds no certificate")
	}
	return all, nil
}

// Clients proves client certificates, for all providers of this type. It is safe
// for concurrent use.
type Clients struct {
	trustDomain string
	platform    oidc.Platform
	providers   []client
	authorities []*x509.Certificate // of all of them
	now         func() time.Time
}

type client struct {
	oidc.Provider
	roots *x509.CertPool
}

// NewClients proves the client certificates of these providers, which passed
// [oidc.Check]. trustDomain is that of the workload ids.
func NewClients(trustDomain string, providers []oidc.Provider, now func() time.Time) (*Clients, error) {
	c := &Clients{trustDomain: trustDomain, platform: Platform(), now: now}
	for _, p := range providers {
		all, err := ClientAuthorities(p.ClientCA)
		if err != nil {
			return nil, fmt.Errorf("identity provider %s: client_ca_file: %w", p.Name, err)
		}
		roots := x509.NewCertPool()
		for _, authority := range all {
			roots.AddCert(authority)
		}
		c.authorities = append(c.authorities, all...)
		c.providers = append(c.providers, client{p.WithDefaults(c.platform), roots})
	}
	return c, nil
}

// Any reports whether there is any provider.
func (c *Clients) Any() bool { return len(c.providers) > 0 }

// Verify proves the certificate of a connection: see [exchange.Verifier]. The
// provider is the one whose authorities vouch for it; two that do are refused, as
// which rules judge it would be chance.
func (c *Clients) Verify(shown []*x509.Certificate) (exchange.Proof, error) {
	if refusal := clientcert.Check(shown); refusal != nil {
		return exchange.Proof{}, refusal
	}
	now := c.now()
	// With what every provider's authorities are: whoever could leave out the
	// certificate by which one of them would vouch too would choose the other.
	way := slices.Concat(shown, c.authorities)
	var chosen *client
	var failure error
	for i := range c.providers {
		p := &c.providers[i]
		if err := clientcert.Chain(way, p.roots, x509.ExtKeyUsageClientAuth, now); err != nil {
			failure = err
			continue
		}
		if chosen != nil {
			return exchange.Proof{}, exchange.Refuse(trust.ReasonProviderAmbiguous, nil)
		}
		chosen = p
	}
	if chosen == nil {
		return exchange.Proof{}, exchange.Refuse(trust.ReasonCertUntrusted, failure)
	}
	leaf := shown[0]
	proof := exchange.Proof{
		Identity: trust.Identity{
			Provider: chosen.Name, Issuer: leaf.Issuer.String(),
			IssuedAt: leaf.NotBefore.UTC(), ExpiresAt: leaf.NotAfter.UTC(),
		},
		ReplayKey: clientcert.ReplayKey(leaf), ClockSkew: chosen.ClockSkew,
	}
	claims, err := claimsOf(leaf)
	if err != nil {
		return exchange.Proof{Identity: trust.Identity{Provider: chosen.Name}}, exchange.Refuse(trust.ReasonCertInvalid, err)
	}
	proof.Claims = claims
	proof.Subject, _ = claims["sub"].(string)
	var workloadErr error
	proof.Workload, workloadErr = oidc.WorkloadOf(c.trustDomain, chosen.Provider, c.platform, claims)
	if err := clientcert.Times(leaf, chosen.Provider, now); err != nil {
		return proof, err
	}
	if workloadErr != nil {
		return proof, exchange.Refuse(trust.ReasonWorkloadClaim, workloadErr)
	}
	return proof, nil
}

// claimsOf are the claims that a certificate makes. sub is its one name: its URI
// where it has exactly one, else its DNS name where it has exactly one, else its
// key; which of them stands before the colon, so that none poses as another.
func claimsOf(c *x509.Certificate) (map[string]any, error) {
	uris, err := clientcert.URIs(c)
	if err != nil {
		return nil, err
	}
	for _, names := range [][]string{c.DNSNames, c.EmailAddresses} {
		if err := clientcert.Visible(names...); err != nil {
			return nil, err
		}
	}
	print256, key := sha256.Sum256(c.Raw), sha256.Sum256(c.RawSubjectPublicKeyInfo)
	spki := hex.EncodeToString(key[:])
	claims := map[string]any{
		"sub": "key:" + spki, "iat": c.NotBefore.Unix(), "exp": c.NotAfter.Unix(),
		"san_uri": anyList(uris), "san_dns": anyList(c.DNSNames), "san_email": anyList(c.EmailAddresses),
		"issuer_dn": c.Issuer.String(), "serial": c.SerialNumber.Text(16),
		"x5t_s256": base64.RawURLEncoding.EncodeToString(print256[:]), "spki_sha256": spki,
	}
	if len(c.DNSNames) == 1 {
		claims["dns"] = c.DNSNames[0]
		claims["sub"] = "dns:" + c.DNSNames[0]
	}
	if len(uris) == 1 {
		claims["uri"] = uris[0]
		claims["sub"] = "uri:" + uris[0]
	}
	if cn := c.Subject.CommonName; cn != "" {
		claims["subject_cn"] = cn
	}
	for _, v := range claims {
		if s, ok := v.(string); ok && (len(s) > maxText || !shown(s)) {
			return nil, errors.New("a text is too long, or holds a character that cannot be seen")
		}
	}
	return claims, nil
}

func anyList(texts []string) []any {
	out := make([]any, len(texts))
	for i, s := range texts {
		out[i] = s
	}
	return out
}

// shown reports whether all of s can be seen: what cannot would make a record show
// another name.
func shown(s string) bool {
	for _, r := range s {
		if !unicode.IsPrint(r) || unicode.In(r, unicode.Other_Default_Ignorable_Code_Point, unicode.Variation_Selector) {
			return false
		}
	}
	return true
}

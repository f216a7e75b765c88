package spiffe

import (
	"context"
	"crypto/x509"
	"errors"
	"strings"
	"time"

	"cambio/exchange"
	"cambio/providers/internal/clientcert"
	"cambio/providers/oidc"
	"cambio/trust"
)

// Certificates proves X.509-SVIDs. JWT-SVIDs are proven by [oidc.Set], whose
// bundles it shares. It is safe for concurrent use.
type Certificates struct {
	set *oidc.Set
	now func() time.Time
}

// NewCertificates proves the X.509-SVIDs of the trust domains in the set.
func NewCertificates(set *oidc.Set, now func() time.Time) *Certificates {
	return &Certificates{set: set, now: now}
}

// Claims reports whether the certificate is an X.509-SVID, or means to be one, for
// a gateway that has trust domains: then nobody else is asked about it.
func (c *Certificates) Claims(leaf *x509.Certificate) bool {
	if !c.set.HasDomains() {
		return false
	}
	uris, err := clientcert.URIs(leaf)
	if err != nil {
		return true // to be refused for that
	}
	for _, uri := range uris {
		if scheme, _, _ := strings.Cut(uri, ":"); strings.EqualFold(scheme, "spiffe") {
			return true
		}
	}
	return false
}

// Verify proves the X.509-SVID of a connection (X509-SVID section 5): see
// [exchange.Verifier]. The trust domain of its one URI name says whose bundle
// vouches for it, and no other.
func (c *Certificates) Verify(ctx context.Context, shown []*x509.Certificate) (exchange.Proof, error) {
	if refusal := clientcert.Check(shown); refusal != nil {
		return exchange.Proof{}, refusal
	}
	leaf := shown[0]
	domain, path, err := identify(leaf)
	if err != nil {
		return exchange.Proof{}, exchange.Refuse(trust.ReasonSPIFFEID, err)
	}
	member, err := c.set.Member(domain)
	if err != nil {
		return exchange.Proof{}, err
	}
	p := member.Provider()
	proof := exchange.Proof{Identity: trust.Identity{Provider: p.Name}}
	if leaf.KeyUsage&x509.KeyUsageDigitalSignature == 0 {
		return proof, exchange.Refuse(trust.ReasonCertInvalid, errors.New("an X.509-SVID has the key usage digitalSignature"))
	}
	now := c.now()
	err = member.Vouched(ctx, func(roots *x509.CertPool) error {
		return clientcert.Chain(shown, roots, x509.ExtKeyUsageClientAuth, now)
	})
	if err != nil {
		return proof, err
	}
	id := scheme + domain + path
	proof.Subject, proof.Issuer = id, scheme+domain
	proof.IssuedAt, proof.ExpiresAt = leaf.NotBefore.UTC(), leaf.NotAfter.UTC()
	proof.ClockSkew = p.ClockSkew
	proof.ReplayKey = clientcert.ReplayKey(leaf)
	proof.Claims = map[string]any{
		"sub": id, "trust_domain": domain, "path": path, "svid": "x509",
		"iat": leaf.NotBefore.Unix(), "exp": leaf.NotAfter.Unix(),
	}
	workload, workloadErr := member.Workload(proof.Claims)
	proof.Workload = workload
	if err := clientcert.Times(leaf, p, now); err != nil {
		return proof, err
	}
	if workloadErr != nil {
		return proof, exchange.Refuse(trust.ReasonWorkloadClaim, workloadErr)
	}
	return proof, nil
}

// identify reads the SPIFFE ID of a leaf: its one URI name (X509-SVID section 2).
func identify(leaf *x509.Certificate) (trustDomain, path string, err error) {
	uris, err := clientcert.URIs(leaf)
	if err != nil {
		return "", "", err
	}
	if len(uris) != 1 {
		// Of two, one reader would take the first and another the last.
		return "", "", errors.New("an X.509-SVID has exactly one URI name")
	}
	trustDomain, path, err = ParseID(uris[0])
	if err == nil && path == "" {
		err = errors.New("it is the trust domain's, and no workload's")
	}
	return trustDomain, path, err
}

// Server says why the certificates that a server shows do not prove that it is id;
// see [oidc.Domain]. The host's name says nothing here.
func Server(shown []*x509.Certificate, roots *x509.CertPool, id string, now time.Time) error {
	if refusal := clientcert.Check(shown); refusal != nil {
		return refusal
	}
	leaf := shown[0]
	domain, path, err := identify(leaf)
	switch {
	case err != nil:
		return err
	case scheme+domain+path != id:
		return errors.New("it is another's")
	case leaf.KeyUsage&x509.KeyUsageDigitalSignature == 0:
		return errors.New("an X.509-SVID has the key usage digitalSignature")
	case now.Before(leaf.NotBefore) || now.After(leaf.NotAfter):
		return errors.New("it has expired, or is not valid yet")
	}
	return clientcert.Chain(shown, roots, x509.ExtKeyUsageServerAuth, now)
}

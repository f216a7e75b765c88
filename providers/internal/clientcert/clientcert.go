// Package clientcert verifies the certificates that clients show on their TLS
// connections, as far as that is alike for all who vouch for them. TLS itself has
// proven that the client holds the key of the first one, and nothing else.
package clientcert

import (
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rsa"
	"crypto/sha256"
	"crypto/x509"
	"encoding/asn1"
	"encoding/base64"
	"errors"
	"fmt"
	"slices"
	"time"

	"cambio/exchange"
	"cambio/providers/oidc"
	"cambio/trust"
)

const (
	// maxCertificates is above the longest chains that are met: a leaf and three
	// intermediates of nested authorities. Each that has the name of the others is
	// tried as the signer of each of them, so that it counts twice for whoever has
	// nothing proven and wants to keep us busy.
	maxCertificates = 5
	// maxBytes bounds all of them. One is 1 to 4 KiB.
	maxBytes = 64 << 10
	// minRSA, maxRSA and maxExponent bound keys: a signature by a larger one costs its
	// verifier most (CVE-2023-29409), and here a stranger chooses them, not an
	// identity provider.
	minRSA, maxRSA = 2048, 4096
	maxExponent    = 65537
	// maxNames bounds the names of one kind in one certificate.
	maxNames = 100
)

// Check refuses what no provider would take, before any signature is verified: too
// many certificates, weak keys, and a first one that is no workload's.
func Check(shown []*x509.Certificate) *exchange.Error {
	if len(shown) == 0 {
		return exchange.Refuse(trust.ReasonCertMissing, nil)
	}
	size := 0
	for _, c := range shown {
		size += len(c.Raw)
	}
	if len(shown) > maxCertificates || size > maxBytes {
		return invalid("%d certificates of %d bytes", len(shown), size)
	}
	for _, c := range shown {
		if problem := weak(c); problem != "" {
			return exchange.Refuse(trust.ReasonWeakKey, errors.New(problem))
		}
	}
	leaf := shown[0]
	switch {
	case leaf.IsCA || leaf.KeyUsage&(x509.KeyUsageCertSign|x509.KeyUsageCRLSign) != 0:
		// An authority that shows itself could be anyone that it may sign for.
		return invalid("it is an authority's")
	case leaf.KeyUsage != 0 && leaf.KeyUsage&x509.KeyUsageDigitalSignature == 0:
		return invalid("its key is not for signatures")
	}
	return nil
}

func invalid(format string, args ...any) *exchange.Error {
	return exchange.Refuse(trust.ReasonCertInvalid, fmt.Errorf(format, args...))
}

// weak says why a certificate's key must not vouch for anything; "" where it may.
func weak(c *x509.Certificate) string {
	switch k := c.PublicKey.(type) {
	case *rsa.PublicKey:
		if bits := k.N.BitLen(); bits < minRSA || bits > maxRSA {
			return "the RSA key's size is out of bounds"
		}
		if k.E < 3 || k.E%2 == 0 || k.E > maxExponent {
			return "the RSA key's exponent is weak, or out of bounds"
		}
		return ""
	case *ecdsa.PublicKey:
		if k.Curve == elliptic.P256() || k.Curve == elliptic.P384() || k.Curve == elliptic.P521() {
			return ""
		}
		return "unknown curve"
	case ed25519.PublicKey:
		return ""
	}
	return "unknown key type"
}

// Chain says why none of these authorities vouches for the first certificate by
// way of the others, for this use; nil: one does. crypto/x509 holds it to the
// names that each authority may sign for, to a bounded number of signatures, and
// to a use that the certificate names, where it names any.
//
// The chain is looked at as of now, or as of the nearest moment at which the first
// certificate itself is good: [Times] says so, and better, where it is not.
func Chain(shown []*x509.Certificate, roots *x509.CertPool, use x509.ExtKeyUsage, now time.Time) error {
	if roots == nil {
		return errors.New("there are no authorities") // nil would be the system's
	}
	leaf := shown[0]
	at := now
	if at.Before(leaf.NotBefore) {
		at = leaf.NotBefore
	}
	if at.After(leaf.NotAfter) {
		at = leaf.NotAfter
	}
	intermediates := x509.NewCertPool()
	for _, c := range shown[1:] {
		intermediates.AddCert(c)
	}
	_, err := leaf.Verify(x509.VerifyOptions{
		Roots: roots, Intermediates: intermediates, CurrentTime: at, KeyUsages: []x509.ExtKeyUsage{use},
	})
	if err != nil {
		return cause(err)
	}
	return nil
}

// cause says why a chain fails without a byte of a certificate.
func cause(err error) error {
	var unknown x509.UnknownAuthorityError
	var invalid x509.CertificateInvalidError
	switch {
	case errors.As(err, &unknown):
		return errors.New("signed by no authority of the configuration")
	case errors.As(err, &invalid) && invalid.Reason == x509.Expired:
		return errors.New("a certificate above it has expired, or is not valid yet")
	case errors.As(err, &invalid) && invalid.Reason == x509.IncompatibleUsage:
		return errors.New("it is for another use")
	case errors.As(err, &invalid) && slices.Contains(outsideNames(), invalid.Reason):
		return errors.New("its authority may not sign for its names or use")
	}
	return errors.New("the chain is not one that can be relied on")
}

// outsideNames are the reasons of crypto/x509 for what an authority may not sign.
func outsideNames() []x509.InvalidReason {
	return []x509.InvalidReason{x509.CANotAuthorizedForThisName, x509.UnconstrainedName, x509.NameConstraintsWithoutSANs, x509.CANotAuthorizedForExtKeyUsage}
}

// Times holds a certificate to its own times and to the provider's limits, as
// tokens are: from NotBefore as their iat to NotAfter as their exp.
func Times(leaf *x509.Certificate, p oidc.Provider, now time.Time) error {
	begins, ends := leaf.NotBefore, leaf.NotAfter
	switch {
	case !now.Before(ends.Add(p.ClockSkew)):
		e := exchange.Refuse(trust.ReasonExpired, nil)
		e.Tell = fmt.Sprintf("The token expired at %s.", ends.UTC().Format(time.RFC3339))
		return e
	case now.Add(p.ClockSkew).Before(begins):
		return exchange.Refuse(trust.ReasonNotYetValid, nil)
	case now.Sub(begins) > p.MaxAge+p.ClockSkew:
		return exchange.Refuse(trust.ReasonTooOld, nil)
	case ends.Sub(begins) > p.MaxLifetime:
		// There is no list of revoked ones: a short life is what takes one back.
		return exchange.Refuse(trust.ReasonTooLongLived, nil)
	}
	return nil
}

// ReplayKey names a certificate for its uses: by what its authority signed, never
// by the signature, of which one certificate may have many (ECDSA's r, n-s).
func ReplayKey(leaf *x509.Certificate) string {
	h := sha256.New()
	h.Write([]byte("certificate\x00"))
	h.Write(leaf.RawTBSCertificate)
	return base64.RawURLEncoding.EncodeToString(h.Sum(nil))
}

// URIs are the URI names of a certificate, byte for byte: crypto/x509 parses them
// into URLs, which drops an empty fragment and spells escapes anew.
func URIs(c *x509.Certificate) ([]string, error) {
	var uris []string
	for _, extension := range c.Extensions {
		if !extension.Id.Equal(asn1.ObjectIdentifier{2, 5, 29, 17}) {
			continue
		}
		var names asn1.RawValue
		rest, err := asn1.Unmarshal(extension.Value, &names)
		if err != nil || len(rest) > 0 || !names.IsCompound || names.Tag != asn1.TagSequence || names.Class != asn1.ClassUniversal {
			return nil, errors.New("the alternative names are malformed")
		}
		count := 0
		for rest = names.Bytes; len(rest) > 0; count++ {
			// Of three kinds, URIs, DNS names and addresses of mail. The handshake has room
			// for 100,000 of them, and this is before any signature is checked.
			if count > 3*maxNames {
				return nil, errors.New("too many names")
			}
			var name asn1.RawValue
			if rest, err = asn1.Unmarshal(rest, &name); err != nil {
				return nil, errors.New("the alternative names are malformed")
			}
			if name.Class == asn1.ClassContextSpecific && name.Tag == 6 {
				// crypto/x509 sees no URI in one that is written as made of parts, and so
				// would not hold it to the names that its authority may sign for.
				if name.IsCompound {
					return nil, errors.New("a URI name is not written in the one way there is")
				}
				uris = append(uris, string(name.Bytes))
			}
		}
	}
	return uris, Visible(uris...)
}

// Visible says whether a certificate's names can be shown as they are: visible
// ASCII, as the standard wants of them. What is not could make a log line show
// another name.
func Visible(names ...string) error {
	if len(names) > maxNames {
		return errors.New("too many names")
	}
	for _, name := range names {
		for _, c := range []byte(name) {
			if c <= ' ' || c >= 0x7f {
				return errors.New("a name holds a byte that is not visible ASCII")
			}
		}
	}
	return nil
}

package spiffe_test

import (
	"crypto/elliptic"
	"crypto/x509"
	"encoding/asn1"
	"math/big"
	"testing"
)

// otherSignature is the certificate with the other signature that ECDSA has for
// it: r and n-s.
func otherSignature(t *testing.T, c *x509.Certificate) []byte {
	t.Helper()
	var sig struct{ R, S *big.Int }
	if _, err := asn1.Unmarshal(c.Signature, &sig); err != nil {
		t.Fatal(err)
	}
	sig.S.Sub(elliptic.P256().Params().N, sig.S)
	der, err := asn1.Marshal(sig)
	if err != nil {
		t.Fatal(err)
	}
	var whole struct {
		TBS, Algorithm asn1.RawValue
		Signature      asn1.BitString
	}
	if _, err := asn1.Unmarshal(c.Raw, &whole); err != nil {
		t.Fatal(err)
	}
	whole.Signature = asn1.BitString{Bytes: der, BitLength: 8 * len(der)}
	out, err := asn1.Marshal(whole)
	if err != nil {
		t.Fatal(err)
	}
	return out
}

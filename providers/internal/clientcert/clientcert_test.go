package clientcert_test

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/asn1"
	"math/big"
	"testing"
	"time"

	"cambio/providers/internal/clientcert"
)

// FuzzURIs holds what is read of the names to what crypto/x509 reads, which holds
// them to the names that an authority may sign for: a name that only we saw would be
// anybody's.
func FuzzURIs(f *testing.F) {
	for _, seed := range [][]byte{
		{0x30, 0},
		{0x30, 3, 0x86, 1, 'x'},
		{0x30, 3, 0xa6, 1, 'x'},
		{0x30, 6, 0x86, 1, 'x', 0x82, 1, 'y'},
		{0x30, 4, 0x9f, 6, 1, 'x'},
		append([]byte{0x30, 16, 0x86, 14}, "spiffe://td1/x"...), append([]byte{0x30, 17, 0x86, 0x81, 14}, "spiffe://td1/x"...),
		append([]byte{0x30, 16, 0x46, 14}, "spiffe://td1/x"...),
		{0x30, 4, 0x86, 1, 'x', 0},
		{0x31, 3, 0x86, 1, 'x'},
		{0xa0, 3, 0x86, 1, 'x'},
	} {
		f.Add(seed)
	}
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		f.Fatal(err)
	}
	f.Fuzz(func(t *testing.T, names []byte) {
		template := &x509.Certificate{
			SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "x"}, NotBefore: time.Unix(0, 0), NotAfter: time.Unix(1, 0),
			ExtraExtensions: []pkix.Extension{{Id: asn1.ObjectIdentifier{2, 5, 29, 17}, Value: names}},
		}
		der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
		if err != nil {
			return
		}
		c, err := x509.ParseCertificate(der)
		if err != nil {
			return // the handshake ends there
		}
		uris, err := clientcert.URIs(c)
		if err != nil {
			return
		}
		if len(uris) != len(c.URIs) {
			t.Fatalf("%q, crypto/x509 has %q", uris, c.URIs)
		}
	})
}

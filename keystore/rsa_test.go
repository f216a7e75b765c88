package keystore_test

import (
	"crypto"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha256"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"testing"

	"cambio/issuer"
	"cambio/keystore"
	"cambio/test/kmsrig"
)

func TestParseRSA(t *testing.T) {
	key := rsaKey()
	block := func(kind string, der []byte) []byte {
		return pem.EncodeToMemory(&pem.Block{Type: kind, Bytes: der})
	}
	pkcs8 := func(k any) []byte {
		der, err := x509.MarshalPKCS8PrivateKey(k)
		if err != nil {
			t.Fatal(err)
		}
		return der
	}
	for name, text := range map[string][]byte{
		"PKCS #1": block("RSA PRIVATE KEY", x509.MarshalPKCS1PrivateKey(key)),
		"PKCS #8": block("PRIVATE KEY", pkcs8(key)),
	} {
		got, err := keystore.ParseRSA(text)
		if err != nil || !key.Equal(got) {
			t.Errorf("%s: %v", name, err)
		}
	}
	weak, err := rsa.GenerateKey(rand.Reader, 1024)
	if err != nil {
		t.Fatal(err)
	}
	for name, c := range map[string]struct {
		text []byte
		want error
	}{
		"nothing":        {nil, keystore.ErrKeyFile},
		"no PEM":         {[]byte("x"), keystore.ErrKeyFile},
		"a certificate":  {block("CERTIFICATE", []byte("x")), keystore.ErrKeyFile},
		"a passphrase":   {block("ENCRYPTED PRIVATE KEY", pkcs8(key)), keystore.ErrKeyFile},
		"damaged":        {block("RSA PRIVATE KEY", []byte("x")), keystore.ErrKeyFile},
		"damaged, new":   {block("PRIVATE KEY", []byte("x")), keystore.ErrKeyFile},
		"an EC key":      {block("PRIVATE KEY", pkcs8(ecKey(t, elliptic.P256()))), keystore.ErrKeyFile},
		"a weak one":     {block("RSA PRIVATE KEY", x509.MarshalPKCS1PrivateKey(weak)), issuer.ErrWeakKey},
		"the wrong form": {block("RSA PRIVATE KEY", pkcs8(key)), keystore.ErrKeyFile},
	} {
		if _, err := keystore.ParseRSA(c.text); !errors.Is(err, c.want) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// TestLateRSA: a key in a KMS is not asked before it signs, its public half once,
// and what it signs is verified.
func TestLateRSA(t *testing.T) {
	k := kmsrig.NewAWS()
	defer k.Close()
	key, err := keystore.LateRSA(k.Add(rsaKey()))
	if err != nil {
		t.Fatal(err)
	}
	if key.Public() != nil || k.Calls("GetPublicKey") != 0 {
		t.Error("the KMS was asked before there was anything to sign")
	}
	digest := sha256.Sum256([]byte("x"))
	for range 2 {
		sig, err := key.Sign(rand.Reader, digest[:], crypto.SHA256)
		if err != nil {
			t.Fatal(err)
		}
		if err := rsa.VerifyPKCS1v15(&rsaKey().PublicKey, crypto.SHA256, digest[:], sig); err != nil {
			t.Error(err)
		}
	}
	if k.Calls("GetPublicKey") != 1 || k.Calls("Sign") != 2 || !rsaKey().PublicKey.Equal(key.Public()) {
		t.Errorf("%d, %d calls", k.Calls("GetPublicKey"), k.Calls("Sign"))
	}
	if _, err := key.Sign(rand.Reader, digest[:], &rsa.PSSOptions{Hash: crypto.SHA256}); !errors.Is(err, keystore.ErrSigner) {
		t.Errorf("PSS: %v", err)
	}
	if _, err := key.Sign(rand.Reader, digest[:5], crypto.SHA256); !errors.Is(err, keystore.ErrSigner) {
		t.Errorf("a short digest: %v", err)
	}
	other, err := keystore.LateRSA(k.Add(ecKey(t, elliptic.P256())))
	if err != nil {
		t.Fatal(err)
	}
	if _, err := other.Sign(rand.Reader, digest[:], crypto.SHA256); !errors.Is(err, keystore.ErrSigner) {
		t.Errorf("an EC key: %v", err)
	}
	if _, err := keystore.LateRSA("awskms:///alias/x"); !errors.Is(err, keystore.ErrURI) {
		t.Errorf("%v", err)
	}
	for text, want := range map[string]bool{"awskms:///x": true, "gcpkms://x": true, "pkcs11:x": true, "app.pem": false, "/etc/awskms:x": false, "": false} {
		if keystore.IsURI(text) != want {
			t.Errorf("%q", text)
		}
	}
}

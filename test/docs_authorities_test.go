package test

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"math/big"
	"os"
	"path"
	"sync"
	"time"

	"golang.org/x/crypto/ssh"
)

// docsAuthorities are the files of authorities that documents name, by their last
// name. The documents' own commands make others: see the sessions.
var docsAuthorities = sync.OnceValues(func() (map[string][]byte, error) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, err
	}
	certify := func(name string, parent *x509.Certificate) (*x509.Certificate, error) {
		c := &x509.Certificate{
			SerialNumber: big.NewInt(time.Now().UnixNano()), Subject: pkix.Name{CommonName: name},
			NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().AddDate(1, 0, 0),
			IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCertSign,
		}
		if parent == nil {
			parent = c
		}
		der, err := x509.CreateCertificate(rand.Reader, c, parent, key.Public(), key)
		if err != nil {
			return nil, err
		}
		return x509.ParseCertificate(der)
	}
	root, err := certify("root", nil)
	if err != nil {
		return nil, err
	}
	issuing, err := certify("issuing", root)
	if err != nil {
		return nil, err
	}
	pkcs8, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		return nil, err
	}
	block, err := ssh.MarshalPrivateKey(key, "")
	if err != nil {
		return nil, err
	}
	app, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		return nil, err
	}
	chain := append(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: issuing.Raw}), pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: root.Raw})...)
	return map[string][]byte{
		"chain.pem": chain, "ca.key": pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: pkcs8}), "ssh_ca": pem.EncodeToMemory(block),
		"prod-ca.pem": chain, "github-app.pem": pem.EncodeToMemory(&pem.Block{Type: "RSA PRIVATE KEY", Bytes: x509.MarshalPKCS1PrivateKey(app)}),
	}, nil
})

// docsAuthority is such a file; os.ErrNotExist: it is none.
func docsAuthority(name string) ([]byte, error) {
	files, err := docsAuthorities()
	if err != nil {
		return nil, err
	}
	if b, ok := files[path.Base(name)]; ok {
		return append([]byte(nil), b...), nil // who reads a key clears it
	}
	return nil, os.ErrNotExist
}

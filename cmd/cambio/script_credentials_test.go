package main

import (
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/json"
	"encoding/pem"
	"math/big"
	"net/http"
	"net/url"
	"strings"
	"time"

	"golang.org/x/crypto/ssh"

	"cambio/client"
)

// otherTargets are those of the story's gateway that give neither a JWT nor AWS
// credentials: databases, certificates, a token of GitHub's kind. Each takes the
// form that a client of ours sends for it, and no other.
func otherTargets() map[string]func(url.Values) (int, map[string]any) {
	end := time.Now().Add(15 * time.Minute).UTC().Format(time.RFC3339)
	database := func(engine string, port int) func(url.Values) (int, map[string]any) {
		return func(f url.Values) (int, map[string]any) {
			if f.Has("requested_token_type") || f.Has("csr") || f.Has("ssh_public_key") {
				return wrong("a form for a database")
			}
			return given(client.TypeDatabase, map[string]any{
				"Version": 1, "Engine": engine, "Host": "db.acme.example", "Port": port, "User": "deploy", "Password": "the-secret/password", "Expiration": end,
			})
		}
	}
	return map[string]func(url.Values) (int, map[string]any){
		"orders-db":  database("postgres", 5432),
		"billing-db": database("mysql", 3306),
		"github": func(url.Values) (int, map[string]any) {
			return http.StatusOK, map[string]any{
				"access_token": "ghs_secret", "issued_token_type": "urn:ietf:params:oauth:token-type:access_token", "token_type": "Bearer",
				"expires_in": 3600, "decision_id": storyDecision,
			}
		},
		"mesh":       func(f url.Values) (int, map[string]any) { return certify(f, end, false) },
		"mesh-other": func(f url.Values) (int, map[string]any) { return certify(f, end, true) },
		"hosts":      func(f url.Values) (int, map[string]any) { return certifySSH(f, end) },
	}
}

// given is the answer with a credential that is no single text.
func given(kind string, credentials map[string]any) (int, map[string]any) {
	text, err := json.Marshal(credentials)
	if err != nil {
		return wrong(err.Error())
	}
	return http.StatusOK, map[string]any{
		"access_token": string(text), "issued_token_type": kind, "token_type": "N_A",
		"expires_in": 900, "decision_id": storyDecision, "credentials": credentials,
	}
}

// certify signs the key of a request, or one of its own in its place.
func certify(f url.Values, end string, other bool) (int, map[string]any) {
	block, rest := pem.Decode([]byte(f.Get("csr")))
	if block == nil || len(rest) > 0 || f.Get("requested_token_type") != client.TypeX509 {
		return wrong("a form for a certificate")
	}
	request, err := x509.ParseCertificateRequest(block.Bytes)
	if err != nil || request.CheckSignature() != nil || request.Subject.String() != "" {
		return wrong("a certificate request that says nothing but whose key it is")
	}
	root, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return wrong(err.Error())
	}
	authority := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "root"}, NotBefore: time.Now().Add(-time.Minute), NotAfter: time.Now().Add(time.Hour),
		IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCertSign,
	}
	rootDER, err := x509.CreateCertificate(rand.Reader, authority, authority, root.Public(), root)
	if err != nil {
		return wrong(err.Error())
	}
	public := request.PublicKey
	if other {
		public = root.Public()
	}
	leaf := &x509.Certificate{SerialNumber: big.NewInt(2), NotBefore: time.Now().Add(-time.Minute), NotAfter: time.Now().Add(15 * time.Minute)}
	leafDER, err := x509.CreateCertificate(rand.Reader, leaf, authority, public, root)
	if err != nil {
		return wrong(err.Error())
	}
	text := func(der []byte) string {
		return string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}))
	}
	return given(client.TypeX509, map[string]any{
		"certificate": text(leafDER), "chain": "", "bundle": text(rootDER), "spiffe_id": "spiffe://id.acme.example/x", "serial": "02", "expiration": end,
	})
}

// certifySSH signs a public key that comes without its comment.
func certifySSH(f url.Values, end string) (int, map[string]any) {
	key, comment, _, _, err := ssh.ParseAuthorizedKey([]byte(f.Get("ssh_public_key")))
	if err != nil || comment != "" || f.Get("requested_token_type") != client.TypeSSH {
		return wrong("a form for an SSH certificate")
	}
	authority, err := ssh.NewSignerFromSigner(ed25519.NewKeyFromSeed(make([]byte, ed25519.SeedSize)))
	if err != nil {
		return wrong(err.Error())
	}
	c := &ssh.Certificate{Key: key, CertType: ssh.UserCert, KeyId: storyDecision, Serial: 7, ValidPrincipals: []string{"deploy"}, ValidBefore: ssh.CertTimeInfinity}
	if err := c.SignCert(rand.Reader, authority); err != nil {
		return wrong(err.Error())
	}
	return given(client.TypeSSH, map[string]any{
		"certificate": strings.TrimSpace(string(ssh.MarshalAuthorizedKey(c))), "key_id": storyDecision, "serial": "7", "expiration": end,
	})
}

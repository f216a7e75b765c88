package kmsrig

import (
	"bytes"
	"crypto"
	"crypto/ecdsa"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha256"
	"crypto/x509"
	"encoding/json"
	"encoding/pem"
	"fmt"
	"hash/crc32"
	"io"
	"net/http"
	"strings"
)

// accessToken is the token of the stand-in's metadata server.
const accessToken = "ya29.kmsrig-example"

const metadataPath = "/computeMetadata/v1/instance/service-accounts/default/token"

// Google stands in for Cloud KMS and for the metadata server.
type Google struct {
	server
	Life int // expires_in of the token; 3599 if not set
}

// NewGoogle starts one. The caller closes it.
func NewGoogle() *Google {
	g := &Google{Life: 3599}
	g.start(g.answer)
	return g
}

// URL is the base URL of both servers.
func (g *Google) URL() string { return g.http.URL }

// Add puts a key in and returns its URI.
func (g *Google) Add(k crypto.Signer) string {
	g.mu.Lock()
	n := len(g.keys) + 1
	g.mu.Unlock()
	name := fmt.Sprintf("projects/acme-prod/locations/europe-west1/keyRings/cambio/cryptoKeys/issuer/cryptoKeyVersions/%d", n)
	g.add(name, k)
	return "gcpkms://" + name
}

// CRC is what Google calls CRC32C, as JSON writes an int64.
func CRC(b []byte) string {
	return fmt.Sprint(crc32.Checksum(b, crc32.MakeTable(crc32.Castagnoli)))
}

func (g *Google) answer(w http.ResponseWriter, r *http.Request) {
	if r.URL.Path == metadataPath {
		g.serve("token", w, r, g.token)
		return
	}
	name, ok := strings.CutPrefix(r.URL.Path, "/v1/")
	if !ok || r.URL.RawQuery != "" {
		g.fault(w, "Google: %s %s", r.Method, r.URL)
		return
	}
	if sign, ok := strings.CutSuffix(name, ":asymmetricSign"); ok && r.Method == http.MethodPost {
		g.serve("asymmetricSign", w, r, g.authorized(sign, g.sign))
		return
	}
	if public, ok := strings.CutSuffix(name, "/publicKey"); ok && r.Method == http.MethodGet {
		g.serve("publicKey", w, r, g.authorized(public, g.public))
		return
	}
	g.fault(w, "Google: %s %s", r.Method, r.URL)
}

func (g *Google) token(w http.ResponseWriter, r *http.Request) {
	if r.Method != http.MethodGet || r.Header.Get("Metadata-Flavor") != "Google" || r.Header.Get("X-Forwarded-For") != "" {
		g.fault(w, "metadata: %s without its header", r.Method)
		return
	}
	w.Header().Set("Metadata-Flavor", "Google")
	reply(w, http.StatusOK, map[string]any{"access_token": accessToken, "expires_in": g.Life, "token_type": "Bearer"})
}

func (g *Google) authorized(name string, next func(http.ResponseWriter, *http.Request, string, crypto.Signer)) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		if r.Header.Get("Authorization") != "Bearer "+accessToken {
			g.fault(w, "Google: %s with Authorization %q", r.URL, r.Header.Get("Authorization"))
			return
		}
		k := g.key(name)
		if k == nil {
			reply(w, http.StatusNotFound, map[string]any{"error": map[string]any{"code": 404, "status": "NOT_FOUND", "message": "no such key"}})
			return
		}
		next(w, r, name, k)
	}
}

func (g *Google) public(w http.ResponseWriter, _ *http.Request, name string, k crypto.Signer) {
	der, err := x509.MarshalPKIXPublicKey(k.Public())
	if err != nil {
		g.fault(w, "Google: %v", err)
		return
	}
	text := pem.EncodeToMemory(&pem.Block{Type: "PUBLIC KEY", Bytes: der})
	alg := ""
	switch p := k.Public().(type) {
	case *rsa.PublicKey:
		alg = fmt.Sprintf("RSA_SIGN_PKCS1_%d_SHA256", p.N.BitLen())
	case *ecdsa.PublicKey:
		alg = "EC_SIGN_P" + p.Curve.Params().Name[2:] + "_SHA256"
	}
	reply(w, http.StatusOK, map[string]any{"pem": string(text), "algorithm": alg, "pemCrc32c": CRC(text), "name": name, "protectionLevel": "HSM"})
}

func (g *Google) sign(w http.ResponseWriter, r *http.Request, name string, k crypto.Signer) {
	var in struct {
		Digest struct {
			SHA256 []byte `json:"sha256"`
		} `json:"digest"`
		CRC string `json:"digestCrc32c"`
	}
	body, err := io.ReadAll(io.LimitReader(r.Body, 1<<20))
	if err != nil {
		return
	}
	dec := json.NewDecoder(bytes.NewReader(body))
	dec.DisallowUnknownFields()
	if err := dec.Decode(&in); err != nil || len(in.Digest.SHA256) != sha256.Size || in.CRC != CRC(in.Digest.SHA256) || r.Header.Get("Content-Type") != "application/json" {
		g.fault(w, "Google: asymmetricSign %s: %v", body, err)
		return
	}
	sig, err := k.Sign(rand.Reader, in.Digest.SHA256, crypto.SHA256)
	if err != nil {
		g.fault(w, "Google: %v", err)
		return
	}
	reply(w, http.StatusOK, map[string]any{"signature": sig, "signatureCrc32c": CRC(sig), "verifiedDigestCrc32c": true, "name": name, "protectionLevel": "HSM"})
}

package main

import (
	"crypto"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"math/big"
	"runtime"
	"time"

	"golang.org/x/sync/errgroup"

	"cambio/providers/github"
)

// kid names the identity provider's one key.
const kid = "bench-1"

// identityProvider signs tokens in the shape of GitHub Actions'. Its key is
// pinned in the configuration, so nothing is fetched.
type identityProvider struct {
	key    *rsa.PrivateKey
	jwks   []byte
	header string // encoded, with the dot
	sample string // one token, to show its size
}

func newIdentityProvider(random io.Reader) (*identityProvider, error) {
	key, err := rsa.GenerateKey(random, 2048)
	if err != nil {
		return nil, err
	}
	enc := base64.RawURLEncoding
	jwks, err := json.Marshal(map[string]any{"keys": []any{map[string]any{
		"kty": "RSA", "use": "sig", "alg": "RS256", "kid": kid,
		"n": enc.EncodeToString(key.N.Bytes()), "e": enc.EncodeToString(big.NewInt(int64(key.E)).Bytes()),
	}}})
	if err != nil {
		return nil, err
	}
	p := &identityProvider{key: key, jwks: jwks, header: enc.EncodeToString([]byte(`{"alg":"RS256","kid":"`+kid+`","typ":"JWT"}`)) + "."}
	p.sample, err = p.sign(repository{}, time.Now())
	return p, err
}

// claims are those of a job in this repository's deploy workflow.
func claims(r repository, now time.Time) map[string]any {
	c := maps.Clone(github.Platform().Sample)
	workflow := r.name() + "/.github/workflows/deploy.yml@refs/heads/main"
	maps.Copy(c, map[string]any{
		"aud": ours, "sub": "repo:" + r.owner() + "@" + r.ownerID() + "/" + r.short() + "@" + r.id() + ":ref:refs/heads/main",
		"jti": rand.Text(), "iat": now.Unix(), "nbf": now.Add(-5 * time.Minute).Unix(), "exp": now.Add(15 * time.Minute).Unix(),
		"repository": r.name(), "repository_id": r.id(), "repository_owner": r.owner(), "repository_owner_id": r.ownerID(),
		"workflow": r.workflow(), "workflow_ref": workflow, "job_workflow_ref": workflow,
	})
	return c
}

func (p *identityProvider) sign(r repository, now time.Time) (string, error) {
	payload, err := json.Marshal(claims(r, now))
	if err != nil {
		return "", err
	}
	signed := p.header + base64.RawURLEncoding.EncodeToString(payload)
	digest := sha256.Sum256([]byte(signed))
	sig, err := rsa.SignPKCS1v15(nil, p.key, crypto.SHA256, digest[:])
	if err != nil {
		return "", err
	}
	return signed + "." + base64.RawURLEncoding.EncodeToString(sig), nil
}

// tokens signs n fresh ones, on all cores, for the repositories in turn.
func (p *identityProvider) tokens(n int) ([]string, error) {
	out := make([]string, n)
	now := time.Now()
	var group errgroup.Group
	cores := runtime.GOMAXPROCS(0)
	for core := range cores {
		group.Go(func() error {
			for i := core; i < n; i += cores {
				token, err := p.sign(repository{number: i % busyTrusts}, now)
				if err != nil {
					return fmt.Errorf("sign a token: %w", err)
				}
				out[i] = token
			}
			return nil
		})
	}
	return out, group.Wait()
}

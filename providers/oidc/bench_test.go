package oidc_test

import (
	"context"
	"crypto"
	"crypto/ecdsa"
	"crypto/rsa"
	"crypto/sha256"
	"math/big"
	"strings"
	"testing"
)

// github is a token of the size that GitHub sends.
func githubLike() object {
	more := object{}
	for _, name := range []string{
		"actor", "actor_id", "base_ref", "event_name", "head_ref", "job_workflow_ref", "job_workflow_sha", "ref", "ref_type", "repository",
		"repository_id", "repository_owner", "repository_owner_id", "run_attempt", "run_id", "run_number", "sha", "workflow_ref", "workflow_sha",
	} {
		more[name] = strings.Repeat("x", 40)
	}
	return with(more)
}

// BenchmarkVerify is one token from text to proof; its bare twin is the
// signature alone, which no verifier can do without.
func BenchmarkVerify(b *testing.B) {
	s := newSet(b, config(provider()))
	k := keys()
	rs := sign("RS256", k.rsa, []byte(`{"alg":"RS256","kid":"k1","typ":"JWT"}`), asJSON(githubLike()))
	es := sign("ES256", k.p256, []byte(`{"alg":"ES256","kid":"k2","typ":"JWT"}`), asJSON(githubLike()))
	for _, c := range []struct{ name, token string }{{"RS256", rs}, {"ES256", es}} {
		b.Run(c.name, func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				if _, err := s.Verify(context.Background(), c.token); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
	digest := sha256.Sum256([]byte("text"))
	b.Run("bare/RS256", func(b *testing.B) {
		sig, err := rsa.SignPKCS1v15(nil, k.rsa, crypto.SHA256, digest[:])
		if err != nil {
			b.Fatal(err)
		}
		b.ReportAllocs()
		for b.Loop() {
			if rsa.VerifyPKCS1v15(&k.rsa.PublicKey, crypto.SHA256, digest[:], sig) != nil {
				b.Fatal("does not verify")
			}
		}
	})
	b.Run("bare/ES256", func(b *testing.B) {
		sig := signature("ES256", k.p256, "text")
		r, t := new(big.Int).SetBytes(sig[:32]), new(big.Int).SetBytes(sig[32:])
		b.ReportAllocs()
		for b.Loop() {
			if !ecdsa.Verify(&k.p256.PublicKey, digest[:], r, t) {
				b.Fatal("does not verify")
			}
		}
	})
}

// BenchmarkRefuse is what a flood costs: tokens of nobody.
func BenchmarkRefuse(b *testing.B) {
	s := newSet(b, config(provider()))
	token := rs256(with(object{"iss": "https://nobody.test"}))
	b.ReportAllocs()
	for b.Loop() {
		if _, err := s.Verify(context.Background(), token); err == nil {
			b.Fatal("accepted")
		}
	}
}

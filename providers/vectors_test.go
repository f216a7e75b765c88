package providers_test

import (
	"bytes"
	"context"
	"crypto"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"flag"
	"fmt"
	"log/slog"
	"maps"
	"math/big"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"cambio/exchange"
	"cambio/providers"
	"cambio/providers/oidc"
	"cambio/trust"
)

// vectors is where the token vectors are. Each file says what is expected, then
// holds one token; keys.json is the key set and README.md the clock and the
// configuration, so that a verifier in any language can be held to them.
const vectors = "../testdata/vectors"

var update = flag.Bool("update", false, "write all token vectors anew, with keys that are thrown away")

func vectorSet(t *testing.T) *providers.Set {
	t.Helper()
	keys, err := os.ReadFile(filepath.Join(vectors, "keys.json"))
	if err != nil {
		t.Fatal(err)
	}
	s, err := providers.New(oidc.Config{
		TrustDomain: "gw.test",
		Now:         func() time.Time { return time.Unix(vectorNow, 0) },
		Log:         slog.New(slog.DiscardHandler),
		Providers: append([]oidc.Provider{
			{Name: "github", Type: "github-actions", Audiences: []string{"https://gw.test"}, JWKSFile: keys},
			{Name: "one", Type: "oidc", Issuer: "https://issuer.test", Audiences: []string{"https://gw.test"}, JWKSFile: keys},
			{Name: "two", Type: "oidc", Issuer: "https://issuer.test", Audiences: []string{"https://other.test"}, JWKSFile: keys},
		}, sampled(keys)...),
	})
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// sampled are providers of the platforms whose vectors are their samples with a
// claim changed, each with the issuer of its sample.
func sampled(keys []byte) []oidc.Provider {
	all := providers.Platforms()
	var out []oidc.Provider
	for _, name := range []string{
		"gitlab-ci", "circleci", "buildkite", "bitbucket-pipelines", "azure-devops", "hcp-terraform", "google-cloud-build", "spacelift", "env0",
		"aws", "azure",
	} {
		issuer, _ := all[name].Sample["iss"].(string)
		out = append(out, oidc.Provider{Name: name, Type: name, Issuer: issuer, Audiences: []string{"https://gw.test"}, JWKSFile: keys})
	}
	// The other issuer of service connections.
	return append(out, oidc.Provider{
		Name: "azure-devops-old", Type: "azure-devops", Issuer: vstoken, Audiences: []string{"https://gw.test"}, JWKSFile: keys,
	})
}

const vstoken = "https://vstoken.dev.azure.com/7b1c2d3e-4f50-4a6b-8c7d-9e0f1a2b3c4d"

// TestVectors verifies every vector.
func TestVectors(t *testing.T) {
	if *update {
		writeVectors(t)
	}
	files, err := filepath.Glob(filepath.Join(vectors, "*.txt"))
	if err != nil || len(files) < 40 {
		t.Fatalf("%d vectors, %v", len(files), err)
	}
	s := vectorSet(t)
	for _, file := range files {
		t.Run(strings.TrimSuffix(filepath.Base(file), ".txt"), func(t *testing.T) {
			text, err := os.ReadFile(file)
			if err != nil {
				t.Fatal(err)
			}
			expect, token, ok := strings.Cut(string(text), "\n")
			expect, isExpect := strings.CutPrefix(expect, "expect: ")
			token, isLine := strings.CutSuffix(token, "\n")
			if !ok || !isExpect || !isLine {
				t.Fatal("not a vector")
			}
			proof, err := s.Verify(context.Background(), exchange.Subject{Token: token})
			got := "accepted"
			if err != nil {
				got = "refused " + string(reason(err))
			}
			if got != expect {
				t.Errorf("%s (%v), want %s", got, err, expect)
			}
			if err == nil && (proof.Workload == "" || proof.ReplayKey == "") {
				t.Error("accepted without an identity")
			}
		})
	}
}

const vectorNow = 1795320010

// signer is a key that is thrown away.
type signer struct{ key *rsa.PrivateKey }

func newSigner() *signer {
	key, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		panic(err)
	}
	return &signer{key}
}

func b64(b []byte) string { return base64.RawURLEncoding.EncodeToString(b) }

func asJSON(v any) []byte {
	b, err := json.Marshal(v)
	if err != nil {
		panic(err)
	}
	return b
}

func (s *signer) set(kid string) []byte {
	return asJSON(map[string]any{"keys": []any{map[string]any{
		"kty": "RSA", "kid": kid, "n": b64(s.key.N.Bytes()), "e": b64(big.NewInt(int64(s.key.E)).Bytes()),
	}}})
}

func (s *signer) sign(header string, claims map[string]any) string {
	return s.bytes(header, asJSON(claims))
}

func (s *signer) bytes(header string, payload []byte) string {
	signed := b64([]byte(header)) + "." + b64(payload)
	digest := sha256.Sum256([]byte(signed))
	sig, err := rsa.SignPKCS1v15(nil, s.key, crypto.SHA256, digest[:])
	if err != nil {
		panic(err)
	}
	return signed + "." + b64(sig)
}

// writeVectors makes all vectors, with keys that nobody keeps.
func writeVectors(t *testing.T) {
	t.Helper()
	ours, theirs := newSigner(), newSigner()
	put := func(name string, b []byte) {
		if err := os.WriteFile(filepath.Join(vectors, name), b, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	put("keys.json", append(bytes.TrimSpace(ours.set("k1")), '\n'))
	expect := func(name string, want trust.Reason, token string) {
		verdict := "accepted"
		if want != "" {
			verdict = "refused " + string(want)
		}
		put(name+".txt", fmt.Appendf(nil, "expect: %s\n%s\n", verdict, token))
	}
	base := map[string]any{
		"iss": "https://issuer.test", "aud": "https://gw.test", "sub": "job-1", "jti": "j-1",
		"iat": vectorNow, "nbf": vectorNow, "exp": vectorNow + 300,
	}
	with := func(kv ...any) map[string]any {
		c := maps.Clone(base)
		for i := 0; i < len(kv); i += 2 {
			if kv[i+1] == nil {
				delete(c, kv[i].(string))
			} else {
				c[kv[i].(string)] = kv[i+1]
			}
		}
		return c
	}
	const header = `{"alg":"RS256","kid":"k1","typ":"JWT"}`
	good := ours.sign(header, base)
	seg := strings.Split(good, ".")
	claims := string(asJSON(base))

	expect("good", "", good)
	expect("good-without-jti", "", ours.sign(header, with("jti", nil)))
	expect("good-without-kid", "", ours.sign(`{"alg":"RS256"}`, base))
	expect("good-typ-long", "", ours.sign(`{"alg":"RS256","kid":"k1","typ":"application/JWT"}`, base))
	expect("good-audience-list", "", ours.sign(header, with("aud", []string{"https://gw.test"})))
	expect("good-audience-twice", "", ours.sign(header, with("aud", []string{"https://gw.test", "https://gw.test"})))
	expect("good-second-provider", "", ours.sign(header, with("aud", "https://other.test")))
	expect("good-in-skew", "", ours.sign(header, with("exp", vectorNow-29)))

	for name, h := range map[string]string{
		"none": `{"alg":"none"}`, "none-case": `{"alg":"nOnE"}`, "empty": `{"alg":""}`, "absent": `{}`,
		"hs256": `{"alg":"HS256","kid":"k1"}`, "rs512": `{"alg":"RS512","kid":"k1"}`,
	} {
		expect("alg-"+name, trust.ReasonAlgNotAllowed, b64([]byte(h))+"."+seg[1]+"."+seg[2])
		expect("alg-"+name+"-unsigned", trust.ReasonAlgNotAllowed, b64([]byte(h))+"."+seg[1]+".")
	}
	expect("alg-of-another-key-type", trust.ReasonAlgNotAllowed, ours.sign(`{"alg":"ES256","kid":"k1"}`, base))
	for _, param := range []string{"crit", "b64", "zip", "enc", "jku", "jwk", "x5u", "x5c"} {
		expect("header-"+param, trust.ReasonHeaderForbidden, ours.sign(`{"alg":"RS256","kid":"k1","`+param+`":"x"}`, base))
	}
	expect("header-duplicate-alg", trust.ReasonDuplicateMember, ours.sign(`{"alg":"RS256","kid":"k1","alg":"RS256"}`, base))
	expect("header-kid-unknown", trust.ReasonKidUnknown, ours.sign(`{"alg":"RS256","kid":"../../k1"}`, base))
	expect("header-kid-number", trust.ReasonMalformed, ours.sign(`{"alg":"RS256","kid":1}`, base))
	expect("header-kid-newline", trust.ReasonMalformed, ours.sign(`{"alg":"RS256","kid":"k1\r\n"}`, base))
	expect("header-typ-logout", trust.ReasonTypNotAllowed, ours.sign(`{"alg":"RS256","kid":"k1","typ":"logout+jwt"}`, base))

	expect("form-opaque", trust.ReasonMalformed, "opaque")
	expect("form-dots", trust.ReasonMalformed, strings.Repeat(".", 1000))
	expect("form-too-large", trust.ReasonTooLarge, strings.Repeat("a", 16<<10+1))
	expect("form-four-dots", trust.ReasonMalformed, good+"..")
	expect("form-padding", trust.ReasonMalformed, seg[0]+"."+seg[1]+"."+seg[2]+"==")
	expect("form-standard-alphabet", trust.ReasonMalformed, seg[0]+"."+seg[1]+".+/"+seg[2][2:])
	expect("form-trailing-space", trust.ReasonMalformed, good+" ")
	expect("form-carriage-return", trust.ReasonMalformed, good+"\r")
	expect("form-trailing-bits", trust.ReasonMalformed, good[:len(good)-1]+spare(good))
	expect("form-empty-payload", trust.ReasonMalformed, seg[0]+".."+seg[2])
	expect("form-json", trust.ReasonMalformed, `{"payload":"`+seg[1]+`","protected":"`+seg[0]+`","signature":"`+seg[2]+`"}`)

	expect("payload-duplicate-first", trust.ReasonDuplicateMember, ours.bytes(header, []byte(`{"sub":"evil",`+claims[1:])))
	expect("payload-duplicate-last", trust.ReasonDuplicateMember, ours.bytes(header, []byte(claims[:len(claims)-1]+`,"sub":"evil"}`)))
	expect("payload-duplicate-escaped", trust.ReasonDuplicateMember, ours.bytes(header, []byte(claims[:len(claims)-1]+`,"s\u0075b":"evil"}`)))
	expect("payload-duplicate-nested", trust.ReasonDuplicateMember, ours.bytes(header, []byte(claims[:len(claims)-1]+`,"x":[{"a":1,"a":1}]}`)))
	expect("payload-other-case", trust.ReasonClaimInvalid, ours.bytes(header, []byte(claims[:len(claims)-1]+`,"SUB":"evil"}`)))
	expect("payload-trailing-data", trust.ReasonMalformed, ours.bytes(header, []byte(claims+"{}")))
	expect("payload-bad-utf8", trust.ReasonMalformed, ours.bytes(header, []byte(claims[:len(claims)-1]+",\"x\":\"\xff\"}")))
	expect("payload-deep", trust.ReasonMalformed, ours.bytes(header, []byte(claims[:len(claims)-1]+`,"x":`+strings.Repeat("[", 16)+strings.Repeat("]", 16)+`}`)))
	expect("payload-leading-zero", trust.ReasonMalformed, ours.bytes(header, []byte(claims[:len(claims)-1]+`,"x":0123}`)))
	expect("payload-array", trust.ReasonMalformed, ours.bytes(header, []byte(`[]`)))

	expect("signature-of-another-key", trust.ReasonSignature, theirs.sign(header, base))
	expect("signature-of-another-payload", trust.ReasonSignature, seg[0]+"."+b64(asJSON(with("sub", "job-2")))+"."+seg[2])
	expect("signature-empty", trust.ReasonSignature, seg[0]+"."+seg[1]+".")

	for name, c := range map[string]struct {
		want trust.Reason
		kv   []any
	}{
		"iss-slash":             {trust.ReasonIssuerUnknown, []any{"iss", "https://issuer.test/"}},
		"iss-case":              {trust.ReasonIssuerUnknown, []any{"iss", "https://ISSUER.test"}},
		"iss-missing":           {trust.ReasonIssuerUnknown, []any{"iss", nil}},
		"aud-slash":             {trust.ReasonAudMismatch, []any{"aud", "https://gw.test/"}},
		"aud-missing":           {trust.ReasonAudMismatch, []any{"aud", nil}},
		"aud-empty-list":        {trust.ReasonAudMismatch, []any{"aud", []string{}}},
		"aud-multiple":          {trust.ReasonAudMultiple, []any{"aud", []string{"x", "https://gw.test"}}},
		"aud-of-two-providers":  {trust.ReasonProviderAmbiguous, []any{"aud", []string{"https://gw.test", "https://other.test"}}},
		"exp-missing":           {trust.ReasonExpMissing, []any{"exp", nil}},
		"exp-text":              {trust.ReasonExpMissing, []any{"exp", "1795320310"}},
		"exp-past":              {trust.ReasonExpired, []any{"exp", vectorNow - 31}},
		"nbf-future":            {trust.ReasonNotYetValid, []any{"nbf", vectorNow + 31}},
		"iat-missing":           {trust.ReasonIatMissing, []any{"iat", nil}},
		"iat-future":            {trust.ReasonIatFuture, []any{"iat", vectorNow + 31}},
		"iat-old":               {trust.ReasonTooOld, []any{"iat", vectorNow - 3635}},
		"lifetime-long":         {trust.ReasonTooLongLived, []any{"exp", vectorNow + 86401}},
		"sub-missing":           {trust.ReasonSubInvalid, []any{"sub", nil}},
		"sub-empty":             {trust.ReasonSubInvalid, []any{"sub", ""}},
		"sub-long":              {trust.ReasonSubInvalid, []any{"sub", strings.Repeat("a", 1025)}},
		"sub-newline":           {trust.ReasonSubInvalid, []any{"sub", "a\nb"}},
		"sub-bidi":              {trust.ReasonSubInvalid, []any{"sub", "a\u202eb"}},
		"act":                   {trust.ReasonActorUnsupported, []any{"act", map[string]any{"sub": "x"}}},
		"may-act":               {trust.ReasonActorUnsupported, []any{"may_act", map[string]any{"sub": "x"}}},
		"jti-empty":             {trust.ReasonClaimInvalid, []any{"jti", ""}},
		"jti-number":            {trust.ReasonClaimInvalid, []any{"jti", 1}},
		"expired-and-wrong-aud": {trust.ReasonAudMismatch, []any{"aud", "x", "exp", vectorNow - 1000}},
	} {
		expect("claim-"+name, c.want, ours.sign(header, with(c.kv...)))
	}

	github := func(kv ...any) string {
		c := maps.Clone(providers.Platforms()["github-actions"].Sample)
		c["aud"] = "https://gw.test"
		for i := 0; i < len(kv); i += 2 {
			c[kv[i].(string)] = kv[i+1]
		}
		return ours.sign(header, c)
	}
	expect("github-immutable", "", github())
	expect("github-default", "", github("sub", "repo:acme/payments:ref:refs/heads/main"))
	expect("github-customised", "", github("sub", "job_workflow_ref:acme/other/x.yml@refs/heads/main"))
	expect("github-other-id", trust.ReasonClaimInvalid, github("sub", "repo:acme@9919/payments@1:ref:refs/heads/main"))
	expect("github-other-name", trust.ReasonClaimInvalid, github("sub", "repo:acme/other:ref:refs/heads/main"))
	expect("github-audience", trust.ReasonAudMismatch, github("aud", "https://github.com/acme"))

	writeSampled(func(name, platform string, want trust.Reason, kv ...any) {
		sample := providers.Platforms()[platform]
		c := maps.Clone(sample.Sample)
		for alias := range sample.Aliases {
			delete(c, alias)
		}
		c["aud"] = "https://gw.test"
		for i := 0; i < len(kv); i += 2 {
			if kv[i+1] == nil {
				delete(c, kv[i].(string))
			} else {
				c[kv[i].(string)] = kv[i+1]
			}
		}
		expect(name, want, ours.sign(header, c))
	})
}

// writeSampled makes the vectors of platforms that are data: good ones, and one
// for each thing that their checks refuse.
func writeSampled(expect func(name, platform string, want trust.Reason, kv ...any)) {
	const invalid, workload = trust.ReasonClaimInvalid, trust.ReasonWorkloadClaim

	const inAWS = "https://sts.amazonaws.com/"
	expect("aws", "aws", "")
	expect("aws-path", "aws", "", "sub", "arn:aws:iam::111122223333:role/ci/payments-deploy")
	expect("aws-other-account", "aws", invalid, "sub", "arn:aws:iam::999999999999:role/payments-deploy")
	expect("aws-session", "aws", invalid, "sub", "arn:aws:sts::111122223333:assumed-role/payments-deploy/x")
	expect("aws-no-claims", "aws", invalid, inAWS, nil)
	expect("aws-account-beside", "aws", invalid, inAWS, map[string]any{}, "account", "111122223333")
	expect("azure", "azure", "")
	expect("azure-without-idtyp", "azure", "", "idtyp", nil)
	expect("azure-other-tenant", "azure", invalid, "tid", "ffffbbbb-0000-cccc-1111-dddd2222eeee")
	expect("azure-person", "azure", invalid, "scp", "user_impersonation")
	expect("azure-upn", "azure", invalid, "upn", "alice@acme.example")
	expect("azure-mail", "azure", invalid, "email", "alice@acme.example")
	expect("azure-user-type", "azure", invalid, "idtyp", "user")
	expect("azure-id-token", "azure", invalid, "appid", nil)
	expect("azure-pairwise", "azure", invalid, "sub", "lW1bQ0Xk")
	expect("azure-no-oid", "azure", invalid, "oid", nil)
	expect("azure-version", "azure", invalid, "ver", "2.0")

	job := []any{"job_project_id", "41881900", "job_project_path", "acme/payments", "job_namespace_id", "9919", "job_namespace_path", "acme"}
	expect("gitlab", "gitlab-ci", "", job...)
	expect("gitlab-before-18-2-2", "gitlab-ci", "")
	expect("gitlab-customised", "gitlab-ci", "", "sub", "job_project_path:acme/else")
	expect("gitlab-path-alone", "gitlab-ci", "", "sub", "project_path:acme/payments")
	expect("gitlab-fork", "gitlab-ci", "", append(job, "project_id", "66", "project_path", "mallory/payments", "namespace_id", "6", "namespace_path", "mallory",
		"sub", "project_path:mallory/payments:ref_type:branch:ref:main", "pipeline_source", "merge_request_event")...) // a trust refuses it
	expect("gitlab-other-project", "gitlab-ci", invalid, "sub", "project_path:acme/evil:ref_type:branch:ref:main")
	expect("gitlab-other-ref", "gitlab-ci", invalid, "sub", "project_path:acme/payments:ref_type:branch:ref:evil")
	expect("gitlab-other-namespace", "gitlab-ci", invalid, "namespace_path", "evil")
	expect("gitlab-id-number", "gitlab-ci", workload, "project_id", 41881900)
	expect("gitlab-old-issuer", "gitlab-ci", trust.ReasonIssuerUnknown, "iss", "gitlab.com")

	sub, _ := providers.Platforms()["circleci"].Sample["sub"].(string)
	first, _, _ := strings.Cut(sub, "/vcs-origin/")
	expect("circleci", "circleci", "")
	expect("circleci-first-form", "circleci", "", "sub", first)
	expect("circleci-webhook", "circleci", "", "sub", first, "oidc.circleci.com/vcs-origin", nil, "oidc.circleci.com/vcs-ref", nil)
	expect("circleci-ssh-text", "circleci", "", "oidc.circleci.com/ssh-rerun", "true")
	expect("circleci-other-organization", "circleci", invalid, "sub", "org/1"+first[strings.Index(first, "/project/"):])
	expect("circleci-other-project", "circleci", invalid, "oidc.circleci.com/project-id", "1")
	expect("circleci-other-repository", "circleci", invalid, "oidc.circleci.com/vcs-origin", "github.com/mallory/payments")
	expect("circleci-alias", "circleci", invalid, "oidc.circleci.com/project-id", nil, "project_id", "5a0e9d1c-7b6f-4c2d-8e3a-1f4b5c6d7e8f")

	expect("buildkite", "buildkite", "")
	expect("buildkite-sub-is-an-id", "buildkite", "", "sub", "0184990a-4782-42b5-afc1-16715b10b1f0")
	expect("buildkite-no-ids", "buildkite", workload, "organization_id", nil, "pipeline_id", nil)
	expect("buildkite-other-pipeline", "buildkite", invalid, "pipeline_slug", "payments")

	expect("bitbucket", "bitbucket-pipelines", "")
	expect("bitbucket-other-repository", "bitbucket-pipelines", invalid, "repositoryUuid", "{1}")
	expect("bitbucket-own-audience", "bitbucket-pipelines", trust.ReasonAudMismatch, "aud", []string{"ari:cloud:bitbucket::workspace/5f9b7a0e-3c2d-4b1a-9f8e-7d6c5b4a3928"})

	expect("azure-devops", "azure-devops", "")
	expect("azure-devops-old", "azure-devops", "", "iss", vstoken, "sub", "sc://acme/payments/deploy", "tid", nil)
	expect("azure-devops-other-tenant", "azure-devops", invalid, "tid", "ffffffff-8e24-4b6f-9a0d-2c3e4f5a6b7c")
	expect("azure-devops-other-workload", "azure-devops", invalid, "sub", "0d9e8f7a-6b5c-4d3e-9f2a-1b0c9d8e7f6a")
	expect("azure-devops-names-by-entra", "azure-devops", invalid, "sub", "sc://acme/payments/deploy")
	expect("azure-devops-pipeline", "azure-devops", invalid, "iss", vstoken, "sub", "p://acme/payments/deploy", "tid", nil)

	expect("terraform", "hcp-terraform", "")
	expect("terraform-other-phase", "hcp-terraform", invalid, "terraform_run_phase", "plan")
	expect("terraform-other-organization", "hcp-terraform", invalid, "terraform_organization_name", "acme-evil")
	expect("terraform-other-full-name", "hcp-terraform", invalid, "terraform_full_workspace", "organization:acme:project:Else:workspace:payments-prod")
	expect("terraform-module", "hcp-terraform", workload, "terraform_workspace_id", nil, "sub", "organization:acme:module:vpc:operation:test_run")

	expect("cloud-build", "google-cloud-build", "")

	expect("spacelift", "spacelift", "")
	expect("spacelift-other-scope", "spacelift", invalid, "scope", "read")
	expect("spacelift-other-kind", "spacelift", invalid, "callerType", "module")

	expect("env0", "env0", "")
	expect("env0-person", "env0", invalid, "apiKeyType", nil, "https://env0.com/apiKeyType", nil)
	expect("env0-two-environments", "env0", invalid, "https://env0.com/environmentId", "ffffffff-870d-4db4-9c60-5adf37faab45")
}

// spare is another last character of the token that decodes to the same bytes.
func spare(token string) string {
	const alphabet = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"
	i := strings.IndexByte(alphabet, token[len(token)-1])
	return alphabet[i+1 : i+2]
}

// TestVectorsCoverTheReasons: every reason for which a token alone is refused
// has a vector.
func TestVectorsCoverTheReasons(t *testing.T) {
	var seen []trust.Reason
	files, err := filepath.Glob(filepath.Join(vectors, "*.txt"))
	if err != nil {
		t.Fatal(err)
	}
	for _, file := range files {
		text, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		line, _, _ := strings.Cut(string(text), "\n")
		seen = append(seen, trust.Reason(strings.TrimPrefix(line, "expect: refused ")))
	}
	for _, r := range []trust.Reason{
		trust.ReasonTooLarge, trust.ReasonMalformed, trust.ReasonDuplicateMember, trust.ReasonHeaderForbidden, trust.ReasonTypNotAllowed,
		trust.ReasonAlgNotAllowed, trust.ReasonIssuerUnknown, trust.ReasonProviderAmbiguous, trust.ReasonKidUnknown, trust.ReasonSignature,
		trust.ReasonAudMismatch, trust.ReasonAudMultiple, trust.ReasonExpMissing, trust.ReasonIatMissing, trust.ReasonExpired,
		trust.ReasonNotYetValid, trust.ReasonIatFuture, trust.ReasonTooOld, trust.ReasonTooLongLived, trust.ReasonSubInvalid,
		trust.ReasonClaimInvalid, trust.ReasonActorUnsupported,
	} {
		if !slices.Contains(seen, r) {
			t.Errorf("no vector for %s", r)
		}
	}
}

var _ exchange.Verifier = (*providers.Set)(nil)

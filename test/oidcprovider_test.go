package test

import (
	"bufio"
	"encoding/json"
	"io"
	"net/http"
	"net/url"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	relying "github.com/coreos/go-oidc/v3/oidc"
	"github.com/spiffe/go-spiffe/v2/bundle/jwtbundle"
	"github.com/spiffe/go-spiffe/v2/spiffeid"
	"github.com/spiffe/go-spiffe/v2/svid/jwtsvid"

	"cambio/test/rig"
)

// openIDProvider is an identity provider that we did not write, in a process of
// its own.
type openIDProvider struct {
	t     *testing.T
	URL   string `json:"issuer"`
	Token string `json:"token_endpoint"`
}

func startOpenIDProvider(t *testing.T) *openIDProvider {
	t.Helper()
	cmd := exec.Command("node", "server.mjs")
	cmd.Dir = filepath.Join(root, "test", "oidc-provider")
	stdin, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	stdout, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	var said strings.Builder
	cmd.Stderr = &said
	if err := cmd.Start(); err != nil {
		t.Fatalf("node: %v; scripts/setup installs what is missing", err)
	}
	t.Cleanup(func() {
		_ = stdin.Close() // which ends it
		_ = cmd.Wait()
	})
	p := &openIDProvider{t: t}
	line, err := bufio.NewReader(stdout).ReadBytes('\n')
	if err == nil {
		err = json.Unmarshal(line, p)
	}
	if err != nil {
		_ = stdin.Close()
		_ = cmd.Wait()
		t.Fatalf("the OpenID provider does not start: %v; scripts/setup installs what is missing\n%s", err, said.String())
	}
	return p
}

// fetch asks for a token for this audience that is signed with alg.
func (p *openIDProvider) fetch(alg, audience string) string {
	p.t.Helper()
	form := url.Values{"grant_type": {"client_credentials"}, "resource": {audience}}
	req, err := http.NewRequestWithContext(p.t.Context(), http.MethodPost, p.Token, strings.NewReader(form.Encode()))
	if err != nil {
		p.t.Fatal(err)
	}
	req.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	req.SetBasicAuth(alg, "secret")
	res, err := (&http.Client{Timeout: 10 * time.Second}).Do(req)
	if err != nil {
		p.t.Fatal(err)
	}
	defer res.Body.Close()
	body, err := io.ReadAll(res.Body)
	if err != nil {
		p.t.Fatal(err)
	}
	var answer struct {
		AccessToken string `json:"access_token"`
	}
	if err := json.Unmarshal(body, &answer); err != nil || answer.AccessToken == "" {
		p.t.Fatalf("the OpenID provider answered %d %s", res.StatusCode, body)
	}
	return answer.AccessToken
}

const realTrust = `name: real
owner: team@acme.test
purpose: clients of a provider that we did not write
from: real
match: {client_id: [RS256, RS384, RS512, PS256, PS384, PS512, ES256, ES384, ES512, EdDSA]}
grants:
  - {to: t1, scopes: [read]}
  - {to: t9068, scopes: [read]}
`

// realConfig takes the algorithms that the provider may use.
func realConfig(t *testing.T, p *openIDProvider, algs string) string {
	t.Helper()
	listen := freeAddress(t)
	return `issuer: http://` + listen + `
trust_domain: gw.test
listen: ` + listen + `
admin_listen: ` + freeAddress(t) + `
limits: {per_address: none, per_workload: none}
identity_providers:
  real:
    type: oidc
    issuer: ` + p.URL + `
    audience: https://gw.test
    algs: ` + algs + `
    claims: {client_id: {type: string, anchor: true}}
    workload: [client_id]
    insecure_loopback: true
targets:
  t1: {type: jwt, audience: "api://t1"}
  t9068: {type: jwt, audience: "api://t9068", profile: rfc9068}
`
}

// everyAlgorithm is each that an identity provider may be configured for.
func everyAlgorithm() []string {
	return []string{"RS256", "RS384", "RS512", "PS256", "PS384", "PS512", "ES256", "ES384", "ES512", "EdDSA"}
}

// TestRealProviderAndRelyingParties is an exchange with neither end of ours: a
// provider's tokens go in, and what comes out is verified by two libraries that
// know nothing of us but the issuer's URL.
func TestRealProviderAndRelyingParties(t *testing.T) {
	t.Parallel()
	p := startOpenIDProvider(t)
	r := rig.New(t, rig.Setup{Config: realConfig(t, p, "["+strings.Join(everyAlgorithm(), ", ")+"]"), Trusts: map[string]string{"real.yaml": realTrust}})
	serveRig(t, r)
	found, err := relying.NewProvider(t.Context(), r.URL)
	if err != nil {
		t.Fatalf("our discovery: %v", err)
	}
	domain := spiffeid.RequireTrustDomainFromString("gw.test")
	bundle, err := jwtbundle.Parse(domain, []byte(r.Get(r.URL, "/keys").Raw))
	if err != nil {
		t.Fatalf("our key set: %v", err)
	}
	for _, alg := range everyAlgorithm() {
		t.Run(alg, func(t *testing.T) {
			token := p.fetch(alg, "https://gw.test")
			a := r.Exchange(token)
			if a.Status != http.StatusOK {
				t.Fatalf("%d %s\n%s", a.Status, a.Raw, r.Log)
			}
			r.Refused(r.Exchange(token), 400, "invalid_request", "This token was already used; fetch a fresh one for each exchange.", "replayed")

			want := "spiffe://gw.test/real/" + alg
			verified, err := found.Verifier(&relying.Config{ClientID: "api://t1"}).Verify(t.Context(), a.Text("access_token"))
			if err != nil {
				t.Fatalf("go-oidc: %v", err)
			}
			if verified.Subject != want {
				t.Errorf("go-oidc sees %s, want %s", verified.Subject, want)
			}
			svid, err := jwtsvid.ParseAndValidate(a.Text("access_token"), bundle, []string{"api://t1"})
			if err != nil {
				t.Fatalf("go-spiffe: %v", err)
			}
			if svid.ID.String() != want || svid.Expiry.After(time.Now().Add(6*time.Minute)) {
				t.Errorf("go-spiffe sees %s until %s", svid.ID, svid.Expiry)
			}
			if _, err := found.Verifier(&relying.Config{ClientID: "api://t2"}).Verify(t.Context(), a.Text("access_token")); err == nil {
				t.Error("a relying party with another audience takes it")
			}

			form := rig.Form(p.fetch(alg, "https://gw.test"))
			form.Set("audience", "t9068")
			b := r.Post(form)
			if b.Status != http.StatusOK {
				t.Fatalf("%d %s", b.Status, b.Raw)
			}
			profiled, err := found.Verifier(&relying.Config{ClientID: "api://t9068"}).Verify(t.Context(), b.Text("access_token"))
			if err != nil {
				t.Fatalf("go-oidc, RFC 9068: %v", err)
			}
			var claims struct {
				ClientID string `json:"client_id"`
			}
			if err := profiled.Claims(&claims); err != nil || claims.ClientID != want {
				t.Errorf("client_id %q, %v", claims.ClientID, err)
			}
		})
	}
	r.Refused(r.Exchange(p.fetch("ES256", "https://other.test")), 400, "invalid_request",
		"The token's audience is not ours; ask for https://gw.test.", "aud-mismatch")
	token := p.fetch("PS256", "https://gw.test")
	r.Deny(r.Exchange(token[:len(token)-6]+"AAAAAA"), "signature-invalid", "malformed")
}

func TestRealProviderUnlistedAlgorithm(t *testing.T) {
	t.Parallel()
	p := startOpenIDProvider(t)
	r := rig.New(t, rig.Setup{Config: realConfig(t, p, "[RS256]"), Trusts: map[string]string{"real.yaml": realTrust}})
	for _, alg := range []string{"PS256", "ES256"} {
		r.Deny(r.Exchange(p.fetch(alg, "https://gw.test")), "alg-not-allowed")
	}
	if a := r.Exchange(p.fetch("RS256", "https://gw.test")); a.Status != http.StatusOK {
		t.Errorf("the listed one got %d %s", a.Status, a.Raw)
	}
}

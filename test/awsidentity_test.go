package test

import (
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	sdk "github.com/aws/aws-sdk-go-v2/aws"
	v4 "github.com/aws/aws-sdk-go-v2/aws/signer/v4"

	"cambio/test/rig"
)

const (
	roleKey     = "ASIA2EXAMPLE2EXAMPLE"
	roleSecret  = "wJalrXUtnFEMI/K7MDENG/bPxRfiCYsecret-canary"
	roleSession = "FwoGZXIvYXdzEXAMPLEsession-canary=="
	callerQuery = "Action=GetCallerIdentity&Version=2011-06-15"
)

// callerConfig is a gateway that roles of AWS prove themselves to.
const callerConfig = `issuer: https://gw.test
identity_providers:
  aws-roles: {type: aws-caller-identity, audience: "https://gw.test", endpoint: "{{STS}}", insecure_loopback: true}
targets:
  api-a: {type: jwt, audience: https://api.test}
`

const callerTrust = `name: payments-deploy
owner: payments-team@acme.test
purpose: The deployer reads orders
from: aws-roles
match: {account: "111122223333", unique_id: AROA2EXAMPLE2EXAMPLE2}
require_nonce: true
grants: [{to: api-a, ttl: 10m}]
`

// callerRealm is STS as far as GetCallerIdentity goes: it signs again what it got, with
// AWS's own SDK, and compares.
func callerRealm(t *testing.T, account *atomic.Value) *httptest.Server {
	t.Helper()
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body)
		at, err := time.Parse("20060102T150405Z", r.Header.Get("X-Amz-Date"))
		if r.Method != http.MethodPost || r.URL.Path != "/" || r.URL.RawQuery != callerQuery || len(body) > 0 || err != nil || r.Host != "sts.eu-central-1.amazonaws.com" {
			t.Errorf("AWS was asked %s %s at %s with %d bytes", r.Method, r.URL, r.Host, len(body))
			w.WriteHeader(http.StatusNotImplemented)
			return
		}
		again, err := http.NewRequestWithContext(r.Context(), http.MethodPost, "https://"+r.Host+"/?"+callerQuery, http.NoBody)
		if err != nil {
			t.Error(err)
			return
		}
		again.Header.Set("X-Cambio-Audience", r.Header.Get("X-Cambio-Audience"))
		sum := sha256.Sum256(nil)
		if err := v4.NewSigner().SignHTTP(r.Context(), sdk.Credentials{AccessKeyID: roleKey, SecretAccessKey: roleSecret, SessionToken: roleSession}, again, hex.EncodeToString(sum[:]), "sts", "eu-central-1", at); err != nil {
			t.Error(err)
		}
		w.Header().Set("Content-Type", "text/xml")
		if again.Header.Get("Authorization") != r.Header.Get("Authorization") || r.Header.Get("X-Amz-Security-Token") != roleSession {
			w.WriteHeader(http.StatusForbidden)
			fmt.Fprint(w, `<ErrorResponse><Error><Code>SignatureDoesNotMatch</Code></Error></ErrorResponse>`)
			return
		}
		fmt.Fprintf(w, `<GetCallerIdentityResponse xmlns="https://sts.amazonaws.com/doc/2011-06-15/"><GetCallerIdentityResult><Arn>arn:aws:sts::%[1]s:assumed-role/payments-deploy/job-1</Arn><UserId>AROA2EXAMPLE2EXAMPLE2:job-1</UserId><Account>%[1]s</Account></GetCallerIdentityResult></GetCallerIdentityResponse>`, account.Load())
	}))
	t.Cleanup(s.Close)
	return s
}

// TestAWSRole has the program sign who it is as a role of AWS, by a nonce of the
// gateway, and get a credential for it: nobody else of that name does (CLD-02).
func TestAWSRole(t *testing.T) {
	var account atomic.Value // of the role, as AWS has it
	account.Store("111122223333")
	r := rig.New(t, rig.Setup{Config: strings.ReplaceAll(callerConfig, "{{STS}}", callerRealm(t, &account).URL), Trusts: map[string]string{"payments-deploy.yaml": callerTrust}})
	env := []string{
		"CAMBIO_AWS_IDENTITY=1", "AWS_REGION=eu-central-1", "AWS_ACCESS_KEY_ID=" + roleKey, "AWS_SECRET_ACCESS_KEY=" + roleSecret, "AWS_SESSION_TOKEN=" + roleSession,
	}
	ask := []string{"exchange", "--server", r.URL, "--audience", "https://gw.test", "--to", "api-a", "-o", "token"}
	got := run(t, env, ask...)
	if got.code != 0 {
		t.Fatalf("exit %d: %s%s\n%s", got.code, got.stdout, got.stderr, r.Log)
	}
	payload, err := base64.RawURLEncoding.DecodeString(strings.Split(strings.TrimSpace(got.stdout), ".")[1])
	if err != nil {
		t.Fatal(err)
	}
	var claims struct{ Sub string }
	if err := json.Unmarshal(payload, &claims); err != nil || claims.Sub != "spiffe://gw.test/aws-roles/111122223333/AROA2EXAMPLE2EXAMPLE2" {
		t.Errorf("issued to %s, %v", claims.Sub, err)
	}
	// The same role in another account.
	account.Store("999999999999")
	if got := run(t, env, ask...); got.code != 6 {
		t.Errorf("another account: exit %d: %s%s", got.code, got.stdout, got.stderr)
	}
	account.Store("111122223333")
	// Who does not hold the role's secret.
	env[3] = "AWS_SECRET_ACCESS_KEY=another"
	if got := run(t, env, ask...); got.code != 6 {
		t.Errorf("another secret: exit %d: %s%s", got.code, got.stdout, got.stderr)
	}
	// A request for another host never reaches anybody.
	form := url.Values{
		"grant_type": {"urn:ietf:params:oauth:grant-type:token-exchange"}, "subject_token_type": {"urn:ietf:params:aws:token-type:aws4_request"}, "audience": {"api-a"},
		"subject_token": {`{"url":"https://sts.amazonaws.com.evil.io/?` + callerQuery + `","method":"POST","headers":[]}`},
	}
	req, err := http.NewRequestWithContext(t.Context(), http.MethodPost, r.URL+"/token", strings.NewReader(form.Encode()))
	if err != nil {
		t.Fatal(err)
	}
	req.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	res, err := http.DefaultClient.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	answer, _ := io.ReadAll(res.Body)
	_ = res.Body.Close()
	if res.StatusCode != http.StatusBadRequest || !strings.Contains(string(answer), `"invalid_request"`) {
		t.Errorf("another host: %d %s", res.StatusCode, answer)
	}
	if strings.Contains(r.Log.String(), "canary") {
		t.Error("the log holds a secret")
	}
}

package test

import (
	"bytes"
	"context"
	"crypto/rand"
	"encoding/json"
	"encoding/xml"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"cambio/standin"
)

const (
	awsProgram  = "/usr/bin/aws" // Debian's package awscli; another one in PATH has other defaults
	awsAccount  = "111122223333"
	awsRole     = "arn:aws:iam::111122223333:role/deploy"
	awsDecision = "0198c2f0-5b1e-7c3a-9d4e-2f6a8b0c1d2e"
)

// assumeAnswer is what the bridge needs of STS' answer.
type assumeAnswer struct {
	Credentials struct{ AccessKeyId, SecretAccessKey, SessionToken, Expiration string } `xml:"AssumeRoleWithWebIdentityResult>Credentials"`
}

// bridge is a strict stand-in for a gateway: it shows the workload's own token to
// STS and answers as a gateway with an AWS target does. The role aws-denied is
// refused. What it does not know is 501.
func bridge(t *testing.T, sts string) http.Handler {
	t.Helper()
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Type", "application/json")
		reply := func(status int, body map[string]any) {
			w.WriteHeader(status)
			_ = json.NewEncoder(w).Encode(body)
		}
		switch {
		case r.Method == http.MethodPost && r.URL.RequestURI() == "/nonce":
			reply(http.StatusNotFound, map[string]any{"error": "invalid_request"})
			return
		case r.Method != http.MethodPost || r.URL.RequestURI() != "/token" || r.PostFormValue("requested_token_type") != "urn:cambio:token-type:aws-credentials":
			t.Errorf("unexpected request: %s %s %v", r.Method, r.URL, r.PostForm)
			reply(http.StatusNotImplemented, map[string]any{"error": "server_error"})
			return
		case r.PostFormValue("audience") != "aws-prod":
			reply(http.StatusBadRequest, map[string]any{"error": "invalid_target", "error_description": "The request was refused. Quote decision_id to the owner of the trust.", "decision_id": awsDecision})
			return
		}
		res, err := http.PostForm(sts, url.Values{
			"Action": {"AssumeRoleWithWebIdentity"}, "Version": {"2011-06-15"}, "RoleArn": {awsRole}, "RoleSessionName": {awsDecision},
			"WebIdentityToken": {r.PostFormValue("subject_token")}, "DurationSeconds": {"900"},
		})
		if err != nil {
			t.Error(err)
			return
		}
		defer res.Body.Close()
		body, err := io.ReadAll(res.Body)
		var a assumeAnswer
		if err != nil || res.StatusCode != http.StatusOK || xml.Unmarshal(body, &a) != nil {
			t.Errorf("STS: %d %s %v", res.StatusCode, body, err)
			return
		}
		credentials := map[string]any{
			"Version": 1, "AccessKeyId": a.Credentials.AccessKeyId, "SecretAccessKey": a.Credentials.SecretAccessKey,
			"SessionToken": a.Credentials.SessionToken, "Expiration": a.Credentials.Expiration,
		}
		text, err := json.Marshal(credentials)
		if err != nil {
			t.Error(err)
			return
		}
		reply(http.StatusOK, map[string]any{
			"access_token": string(text), "issued_token_type": "urn:cambio:token-type:aws-credentials", "token_type": "N_A",
			"expires_in": 900, "decision_id": awsDecision, "credentials": credentials,
		})
	})
}

// TestAWSCLI lets Debian's AWS client run cambio as its credential_process, and
// sign a request with what it prints.
func TestAWSCLI(t *testing.T) {
	sts, err := standin.NewSTS(standin.STSConfig{Now: time.Now, Rand: rand.Reader})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = sts.Close() })
	gateway := httptest.NewServer(bridge(t, sts.URL()))
	t.Cleanup(gateway.Close)
	keys, err := standin.DefaultKeys(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	const subject = "repo:acme/app:ref:refs/heads/main"
	idp, err := standin.New(standin.Config{Now: time.Now, Rand: rand.Reader, Audience: gateway.URL, Keys: keys})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = idp.Close() })
	idp.SetJob(map[string]any{"sub": subject})
	sts.AddOIDC(standin.OIDCProvider{
		Account: awsAccount, URL: idp.Issuer(), Audiences: []string{gateway.URL},
		Keys: func(context.Context) ([]byte, error) { return idp.JWKS(), nil },
	})
	if err := sts.SetRole(standin.Role{ARN: awsRole, Trust: []standin.Statement{standin.Admit(awsAccount, idp.Issuer(), gateway.URL, []string{subject})}}); err != nil {
		t.Fatal(err)
	}

	file, err := binary()
	if err != nil {
		t.Fatal(err)
	}
	home := t.TempDir()
	config := filepath.Join(home, "config")
	if err := os.WriteFile(config, fmt.Appendf(nil, `[profile deploy]
region = eu-central-1
credential_process = %[1]s exchange --server %[2]s --to aws-prod -o aws-process

[profile denied]
region = eu-central-1
credential_process = %[1]s exchange --server %[2]s --to aws-denied -o aws-process
`, file, gateway.URL), 0o600); err != nil {
		t.Fatal(err)
	}
	aws := func(profile string) outcome {
		ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
		defer cancel()
		c := exec.CommandContext(ctx, awsProgram, "--profile", profile, "--endpoint-url", sts.URL(), "sts", "get-caller-identity", "--output", "json")
		c.Env = append([]string{
			"PATH=/usr/bin:/bin", "HOME=" + home, "AWS_CONFIG_FILE=" + config, "AWS_SHARED_CREDENTIALS_FILE=" + filepath.Join(home, "none"),
			"AWS_EC2_METADATA_DISABLED=true", "AWS_PAGER=", "GCE_METADATA_HOST=127.0.0.1:1",
		}, idp.Environment()...)
		var stdout, stderr bytes.Buffer
		c.Stdout, c.Stderr = &stdout, &stderr
		if err := c.Run(); err != nil && c.ProcessState == nil {
			t.Fatalf("%s (Debian's package awscli): %v", awsProgram, err)
		}
		return outcome{c.ProcessState.ExitCode(), stdout.String(), stderr.String()}
	}

	got := aws("deploy")
	var identity struct{ Account, Arn string }
	if err := json.Unmarshal([]byte(got.stdout), &identity); err != nil || got.code != 0 {
		t.Fatalf("exit %d: %v\n%s%s", got.code, err, got.stdout, got.stderr)
	}
	if identity.Account != awsAccount || identity.Arn != "arn:aws:sts::111122223333:assumed-role/deploy/"+awsDecision {
		t.Errorf("the caller is %+v", identity)
	}

	// A refusal reaches the person in front of the client, with the next step.
	got = aws("denied")
	if got.code == 0 || !strings.Contains(got.stderr, "invalid_target") || !strings.Contains(got.stderr, "cambio audit show "+awsDecision) {
		t.Errorf("exit %d: %s%s", got.code, got.stdout, got.stderr)
	}
	if unknown := sts.Unknown(); len(unknown) > 0 {
		t.Errorf("STS was asked what it does not know: %v", unknown)
	}
}

package test

import (
	"bytes"
	"context"
	"crypto/rand"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"cambio/standin"
	"cambio/test/rig"
)

const (
	awsProgram = "/usr/bin/aws" // Debian's package awscli; another one in PATH has other defaults
	awsAccount = "111122223333"
	awsRole    = "arn:aws:iam::111122223333:role/payments-deploy"
)

// awsConfig is a gateway with an AWS target at {{STS}}.
const awsConfig = `issuer: https://gw.test
identity_providers:
  iss1:
    type: github-actions
    issuer: {{ISS1}}
    audience: https://gw.test
    insecure_loopback: true
targets:
  aws-prod: {type: aws, account: "111122223333", region: eu-central-1, endpoint: "{{STS}}"}
`

// awsTrust takes no token that was fetched without a nonce.
const awsTrust = `name: payments-deploy
owner: payments-team@acme.test
purpose: Deploys payments from main
from: iss1
match: {repository_id: "2", repository_owner_id: "1", ref: refs/heads/main}
require_nonce: true
grants: [{to: aws-prod, resource: "` + awsRole + `", ttl: 15m}]
`

// awsWorld is a job of GitHub Actions, a gateway and an STS that trusts it.
func awsWorld(t *testing.T) (*rig.Rig, *standin.STS) {
	t.Helper()
	sts, err := standin.NewSTS(standin.STSConfig{Now: time.Now, Rand: rand.Reader})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = sts.Close() })
	r := rig.New(t, rig.Setup{Config: strings.ReplaceAll(awsConfig, "{{STS}}", sts.URL()), Trusts: map[string]string{"payments-deploy.yaml": awsTrust}})
	sts.AddOIDC(standin.OIDCProvider{
		Account: awsAccount, URL: "https://gw.test", Audiences: []string{"sts.amazonaws.com"},
		Keys: func(ctx context.Context) ([]byte, error) { return published(ctx, r.URL+"/keys") },
	})
	if err := sts.SetRole(standin.Role{ARN: awsRole, Trust: []standin.Statement{
		standin.Admit(awsAccount, "https://gw.test", "sts.amazonaws.com", []string{"spiffe://gw.test/iss1/1/2"}),
	}}); err != nil {
		t.Fatal(err)
	}
	return r, sts
}

// published is the gateway's key set, as AWS would fetch it.
func published(ctx context.Context, url string) ([]byte, error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	if err != nil {
		return nil, err
	}
	res, err := http.DefaultClient.Do(req)
	if err != nil {
		return nil, err
	}
	defer res.Body.Close()
	return io.ReadAll(res.Body)
}

// TestAWSCLI lets Debian's AWS client run cambio as its credential_process, and
// sign a request with what it prints.
func TestAWSCLI(t *testing.T) {
	r, sts := awsWorld(t)
	file, err := binary()
	if err != nil {
		t.Fatal(err)
	}
	home := t.TempDir()
	config := filepath.Join(home, "config")
	if err := os.WriteFile(config, fmt.Appendf(nil, `[profile deploy]
region = eu-central-1
credential_process = %[1]s exchange --server %[2]s --audience https://gw.test --to aws-prod -o aws-process

[profile denied]
region = eu-central-1
credential_process = %[1]s exchange --server %[2]s --audience https://gw.test --to aws-none -o aws-process
`, file, r.URL), 0o600); err != nil {
		t.Fatal(err)
	}
	aws := func(profile string) outcome {
		ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
		defer cancel()
		c := exec.CommandContext(ctx, awsProgram, "--profile", profile, "--endpoint-url", sts.URL(), "sts", "get-caller-identity", "--output", "json")
		c.Env = append([]string{
			"PATH=/usr/bin:/bin", "HOME=" + home, "AWS_CONFIG_FILE=" + config, "AWS_SHARED_CREDENTIALS_FILE=" + filepath.Join(home, "none"),
			"AWS_EC2_METADATA_DISABLED=true", "AWS_PAGER=", "GCE_METADATA_HOST=127.0.0.1:1", "AZURE_POD_IDENTITY_AUTHORITY_HOST=http://127.0.0.1:1",
		}, r.ISS1.Environment()...)
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
		t.Fatalf("exit %d: %v\n%s%s\n%s", got.code, err, got.stdout, got.stderr, r.Log)
	}
	// The session's name is the decision's id: what was done with it is found by it.
	decision, whole := strings.CutPrefix(identity.Arn, "arn:aws:sts::"+awsAccount+":assumed-role/payments-deploy/")
	if identity.Account != awsAccount || !whole {
		t.Errorf("the caller is %+v", identity)
	}
	if shown := run(t, nil, "audit", "show", decision, "--config", filepath.Join(r.Dir, "cambio.yaml"), "-o", "json"); !strings.Contains(shown.stdout, `"trust":"payments-deploy"`) {
		t.Errorf("the journal says of %s: %+v", decision, shown)
	}

	// A refusal reaches the person in front of the client, with the next step.
	got = aws("denied")
	if got.code == 0 || !strings.Contains(got.stderr, "invalid_target") || !regexp.MustCompile(`cambio audit show [0-9a-f-]{36}`).MatchString(got.stderr) {
		t.Errorf("exit %d: %s%s", got.code, got.stdout, got.stderr)
	}
	if unknown := sts.Unknown(); len(unknown) > 0 {
		t.Errorf("STS was asked what it does not know: %v", unknown)
	}
}

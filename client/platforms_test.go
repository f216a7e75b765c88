package client_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net"
	"net/http"
	"net/http/httptest"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"cambio/client"
)

const audience = "https://id.acme.example"

// asked is the one request that a strict platform takes.
type asked struct {
	method, url string
	header      map[string]string
	body        string
	answer      string // of 200
}

// platform is a strict stand-in: any other request is a failed test.
func (want asked) platform(t *testing.T) http.Handler {
	t.Helper()
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		var body []byte
		if r.Body != nil {
			body, _ = io.ReadAll(r.Body)
		}
		got := asked{method: r.Method, url: r.URL.String(), body: string(body), answer: want.answer}
		if want.header != nil {
			got.header = map[string]string{}
			for name := range want.header {
				got.header[name] = r.Header.Get(name)
			}
		}
		if diff := cmp.Diff(want, got, cmp.AllowUnexported(asked{})); diff != "" {
			t.Error("unexpected request:", diff)
			w.WriteHeader(http.StatusNotImplemented)
			return
		}
		answer(w, http.StatusOK, want.answer)
	})
}

// TestDetectPlatforms: each platform's workload finds its token where the platform
// puts it, before anything that stands further down.
func TestDetectPlatforms(t *testing.T) {
	below := map[string]string{"/var/run/secrets/cambio/token": "other.x.y"}
	for _, tt := range []struct {
		name        string
		vars        map[string]string
		files       map[string]string
		ask         *asked
		run         []string // the command that is run, and what it prints
		source      string
		place       string
		perAudience bool
	}{
		{"GitLab CI", map[string]string{"GITLAB_CI": "true", "CAMBIO_TOKEN": token}, nil, nil, nil, "environment", "CAMBIO_TOKEN", false},
		{
			"CircleCI",
			map[string]string{"CIRCLECI": "true", "CIRCLE_OIDC_TOKEN_V2": "canary.x.y"},
			nil, nil,
			[]string{"circleci", "run", "oidc", "get", "--claims", `{"aud":"https://id.acme.example"}`, token + "\n"},
			"CircleCI", "circleci run oidc get", true,
		},
		{"CircleCI without the command", map[string]string{"CIRCLECI": "true", "CIRCLE_OIDC_TOKEN_V2": token}, nil, nil, []string{}, "CircleCI", "circleci run oidc get", true},
		{"CircleCI where nothing is run", map[string]string{"CIRCLECI": "true", "CIRCLE_OIDC_TOKEN_V2": token}, nil, nil, nil, "CircleCI", "CIRCLE_OIDC_TOKEN_V2", false},
		{
			"Buildkite",
			map[string]string{"BUILDKITE": "true"},
			nil, nil,
			[]string{"buildkite-agent", "oidc", "request-token", "--audience", audience, "--claim", "organization_id,pipeline_id", token},
			"Buildkite", "buildkite-agent oidc request-token", true,
		},
		{"Bitbucket Pipelines", map[string]string{"BITBUCKET_BUILD_NUMBER": "7", "BITBUCKET_STEP_OIDC_TOKEN": token}, nil, nil, nil, "Bitbucket Pipelines", "BITBUCKET_STEP_OIDC_TOKEN", false},
		{
			"Azure DevOps", map[string]string{
				"TF_BUILD": "True", "SYSTEM_OIDCREQUESTURI": "https://dev.example/acme/_apis/oidctoken", "SYSTEM_ACCESSTOKEN": "canary",
				"AZURESUBSCRIPTION_SERVICE_CONNECTION_ID": "c0ffee00-0000-4000-8000-000000000001",
			}, nil, &asked{
				http.MethodPost, "https://dev.example/acme/_apis/oidctoken?api-version=7.1&serviceConnectionId=c0ffee00-0000-4000-8000-000000000001",
				map[string]string{"Authorization": "Bearer canary", "Content-Type": "application/json", "X-Tfs-Fedauthredirect": "Suppress"},
				"", `{"oidcToken":"` + token + `"}`,
			}, nil, "Azure DevOps", "dev.example", false,
		},
		{"HCP Terraform", map[string]string{"TFC_RUN_ID": "run-1", "TFC_WORKLOAD_IDENTITY_TOKEN": token, "TFC_WORKLOAD_IDENTITY_TOKEN_VAULT": "vault.x.y"}, nil, nil, nil, "HCP Terraform", "TFC_WORKLOAD_IDENTITY_TOKEN", false},
		{"HCP Terraform, tagged", map[string]string{"TFC_RUN_ID": "run-1", "TFC_WORKLOAD_IDENTITY_TOKEN": "other.x.y", "TFC_WORKLOAD_IDENTITY_TOKEN_CAMBIO": token}, nil, nil, nil, "HCP Terraform", "TFC_WORKLOAD_IDENTITY_TOKEN_CAMBIO", false},
		{"Spacelift", map[string]string{"SPACELIFT_OIDC_TOKEN": token}, map[string]string{"/mnt/workspace/spacelift.oidc": "other.x.y"}, nil, nil, "Spacelift", "SPACELIFT_OIDC_TOKEN", false},
		{"Spacelift's file", map[string]string{"TF_VAR_spacelift_run_id": "01"}, map[string]string{"/mnt/workspace/spacelift.oidc": token + "\n"}, nil, nil, "Spacelift", "/mnt/workspace/spacelift.oidc", false},
		{"env0", map[string]string{"ENV0_ENVIRONMENT_ID": "1", "ENV0_OIDC_TOKEN": token}, nil, nil, nil, "env0", "ENV0_OIDC_TOKEN", false},
		{
			"Codefresh", map[string]string{"CF_BUILD_ID": "1", "CF_OIDC_REQUEST_URL": "https://oidc.codefresh.example/token", "CF_OIDC_REQUEST_TOKEN": "canary"}, nil, &asked{
				http.MethodGet, "https://oidc.codefresh.example/token?audience=https%3A%2F%2Fid.acme.example",
				map[string]string{"Authorization": "canary"},
				"", `{"id_token":"` + token + `"}`,
			}, nil, "Codefresh", "oidc.codefresh.example", true,
		},
		{"Semaphore", map[string]string{"SEMAPHORE": "true", "SEMAPHORE_OIDC_TOKEN": token}, nil, nil, nil, "Semaphore", "SEMAPHORE_OIDC_TOKEN", false},
		{"Semaphore, a token of our own", map[string]string{"SEMAPHORE": "true", "SEMAPHORE_OIDC_TOKEN": "other.x.y", "CAMBIO_TOKEN": token}, nil, nil, nil, "environment", "CAMBIO_TOKEN", false},
		{
			"Vercel", map[string]string{"VERCEL": "1", "VERCEL_OIDC_TOKEN": "Zm9v.YmFy.YmF6"}, nil, &asked{
				http.MethodPost, "https://oidc.vercel.com/~token",
				map[string]string{"Content-Type": "application/json"},
				`{"aud":"https://id.acme.example","token":"Zm9v.YmFy.YmF6"}`, `{"token":"` + token + `"}`,
			}, nil, "Vercel", "VERCEL_OIDC_TOKEN", true,
		},
		{
			"an Azure service", map[string]string{"IDENTITY_ENDPOINT": "http://127.0.0.1:41056/msi/token", "IDENTITY_HEADER": "canary"}, nil, &asked{
				http.MethodGet, "http://127.0.0.1:41056/msi/token?api-version=2019-08-01&resource=https%3A%2F%2Fid.acme.example",
				map[string]string{"X-Identity-Header": "canary"},
				"", `{"access_token":"` + token + `","expires_on":"1","resource":"r","token_type":"Bearer"}`,
			}, nil, "Azure managed identity", "127.0.0.1:41056", false,
		},
		{
			"an Azure service with two identities", map[string]string{"IDENTITY_ENDPOINT": "http://169.254.129.4:8081/msi/token?x=1", "IDENTITY_HEADER": "canary", "AZURE_CLIENT_ID": "c1"}, nil, &asked{
				http.MethodGet, "http://169.254.129.4:8081/msi/token?api-version=2019-08-01&client_id=c1&resource=https%3A%2F%2Fid.acme.example&x=1",
				map[string]string{"X-Identity-Header": "canary"},
				"", `{"access_token":"` + token + `"}`,
			}, nil, "Azure managed identity", "169.254.129.4:8081", false,
		},
	} {
		t.Run(tt.name, func(t *testing.T) {
			files := map[string]string{}
			for _, more := range []map[string]string{below, tt.files} {
				for k, v := range more {
					files[k] = v
				}
			}
			m := machine{vars: tt.vars, files: files}
			if tt.ask != nil {
				m.net = tt.ask.platform(t)
			}
			env := m.env()
			env.Exec = runs(t, tt.run)
			s, err := client.Detect(t.Context(), env)
			if err != nil {
				t.Fatal(err)
			}
			if s.Name != tt.source || s.Place != tt.place || s.PerAudience != tt.perAudience {
				t.Errorf("found %s at %s, per audience %v", s.Name, s.Place, s.PerAudience)
			}
			for range 2 { // a second attempt gets a token too
				if got, err := s.Token(t.Context(), audience); got != token || err != nil {
					t.Errorf("token %q, error %v", got, err)
				}
			}
		})
	}
}

// runs takes one command line, whose last word is what it prints. An empty one is
// a machine without the command, nil one where no command is run.
func runs(t *testing.T, want []string) func(context.Context, string, ...string) ([]byte, error) {
	t.Helper()
	if want == nil {
		return nil
	}
	return func(_ context.Context, name string, args ...string) ([]byte, error) {
		if len(want) == 0 {
			return nil, fmt.Errorf("%s: %w", name, fs.ErrNotExist)
		}
		if diff := cmp.Diff(want[:len(want)-1], append([]string{name}, args...)); diff != "" {
			t.Error("unexpected command:", diff)
			return nil, errors.New("unexpected")
		}
		return []byte(want[len(want)-1]), nil
	}
}

// TestDetectFly asks a real socket, as a machine has one.
func TestDetectFly(t *testing.T) {
	socket := filepath.Join(t.TempDir(), "api")
	listener, err := new(net.ListenConfig).Listen(t.Context(), "unix", socket)
	if err != nil {
		t.Fatal(err)
	}
	want := asked{http.MethodPost, "/v1/tokens/oidc", map[string]string{"Content-Type": "application/json"}, `{"aud":"https://id.acme.example"}`, token + "\n"}
	server := httptest.NewUnstartedServer(want.platform(t))
	server.Listener = listener
	server.Start()
	defer server.Close()
	env := machine{vars: map[string]string{"FLY_MACHINE_ID": "148ed726c17589"}}.env()
	env.Dial = func(ctx context.Context, network, address string) (net.Conn, error) {
		if network != "unix" || address != "/.fly/api" {
			t.Errorf("dials %s %s", network, address)
		}
		return new(net.Dialer).DialContext(ctx, "unix", socket)
	}
	s, err := client.Detect(t.Context(), env)
	if err != nil {
		t.Fatal(err)
	}
	if got, err := s.Token(t.Context(), audience); got != token || err != nil || s.Name != "Fly.io" || !s.PerAudience {
		t.Errorf("%s: token %q, error %v", s.Name, got, err)
	}
	env.Dial = nil // no machine of Fly.io runs this test
	if s, err = client.Detect(t.Context(), env); err != nil {
		t.Fatal(err)
	}
	if _, err := s.Token(t.Context(), audience); !errors.Is(err, client.ErrUnreachable) {
		t.Errorf("error %v", err)
	}
}

// TestDetectAzureMachine asks a strict metadata server.
func TestDetectAzureMachine(t *testing.T) {
	for name, tt := range map[string]struct {
		vars   map[string]string
		host   string
		query  string // of the token
		status int
		body   string
		ok     bool
		nobody bool // the error says that there is no identity
	}{
		"system-assigned": {nil, "169.254.169.254", "api-version=2018-02-01&resource=https%3A%2F%2Fid.acme.example", http.StatusOK, `{"access_token":"` + token + `"}`, true, false},
		"by its id": {
			map[string]string{"AZURE_CLIENT_ID": "c1", "AZURE_POD_IDENTITY_AUTHORITY_HOST": "http://127.0.0.1:9000"},
			"127.0.0.1:9000",
			"api-version=2018-02-01&client_id=c1&resource=https%3A%2F%2Fid.acme.example", http.StatusOK, `{"access_token":"` + token + `"}`, true, false,
		},
		"no identity": {nil, "169.254.169.254", "api-version=2018-02-01&resource=https%3A%2F%2Fid.acme.example", http.StatusBadRequest, `{"error":"canary"}`, false, true},
		"busy":        {nil, "169.254.169.254", "api-version=2018-02-01&resource=https%3A%2F%2Fid.acme.example", http.StatusTooManyRequests, `canary`, false, false},
		"no token":    {nil, "169.254.169.254", "api-version=2018-02-01&resource=https%3A%2F%2Fid.acme.example", http.StatusOK, `{"ACCESS_TOKEN":"canary"}`, false, true},
	} {
		t.Run(name, func(t *testing.T) {
			m := machine{vars: tt.vars, net: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				if r.URL.Host == "metadata.google.internal" {
					w.WriteHeader(http.StatusNotFound)
					return
				}
				if r.URL.Host != tt.host || r.Method != http.MethodGet || r.Header.Get("Metadata") != "true" {
					t.Errorf("unexpected request: %s %s", r.Method, r.URL)
				}
				switch r.URL.RequestURI() {
				case "/metadata/instance/compute/azEnvironment?api-version=2021-02-01&format=text":
					fmt.Fprint(w, "AzurePublicCloud")
				case "/metadata/identity/oauth2/token?" + tt.query:
					answer(w, tt.status, tt.body)
				default:
					t.Errorf("unexpected path: %s", r.URL)
					w.WriteHeader(http.StatusNotImplemented)
				}
			})}
			s, err := client.Detect(t.Context(), m.env())
			if err != nil {
				t.Fatal(err)
			}
			got, err := s.Token(t.Context(), audience)
			if s.Name != "Azure metadata server" || s.Place != tt.host || s.PerAudience || (err == nil) != tt.ok || tt.ok && got != token {
				t.Errorf("%s at %s: token %q, error %v", s.Name, s.Place, got, err)
			}
			if err != nil && (errors.Is(err, client.ErrNoIdentity) != tt.nobody || strings.Contains(err.Error(), "canary")) {
				t.Errorf("error %v", err)
			}
		})
	}
}

// TestDetectPlatformsWithoutToken: a workload of a platform that gave it no token is
// told what to paste, and shows no other identity.
func TestDetectPlatformsWithoutToken(t *testing.T) {
	for _, tt := range []struct {
		name, advice string
		vars         map[string]string
	}{
		{"GitLab CI", "CAMBIO_TOKEN:\n        aud: https://id.acme.example", map[string]string{"GITLAB_CI": "true", "CI_JOB_JWT_V2": "canary.x.y"}},
		{"CircleCI", "context: [CONTEXT]", map[string]string{"CIRCLECI": "true"}},
		{"Buildkite", "buildkite-agent oidc request-token --audience https://id.acme.example --claim organization_id,pipeline_id", map[string]string{"BUILDKITE": "true"}},
		{"Bitbucket Pipelines", "audiences: [https://id.acme.example]", map[string]string{"BITBUCKET_BUILD_NUMBER": "7"}},
		{"Azure DevOps", "SYSTEM_ACCESSTOKEN: $(System.AccessToken)", map[string]string{"TF_BUILD": "True", "SYSTEM_OIDCREQUESTURI": "https://dev.example/x", "SYSTEM_ACCESSTOKEN": "canary"}},
		{"HCP Terraform", "TFC_WORKLOAD_IDENTITY_AUDIENCE_CAMBIO to https://id.acme.example", map[string]string{"TFC_RUN_ID": "run-1", "TFC_WORKLOAD_IDENTITY_TOKEN_VAULT": "canary.x.y"}},
		{"Spacelift", "paid plans", map[string]string{"TF_VAR_spacelift_run_id": "01"}},
		{"env0", "Enable OIDC", map[string]string{"ENV0_ENVIRONMENT_ID": "1"}},
		{"Codefresh", "hand them on", map[string]string{"CF_BUILD_ID": "1", "CF_OIDC_REQUEST_TOKEN": "canary"}},
		{"Semaphore", "CAMBIO_TOKEN:\n        aud: https://id.acme.example", map[string]string{"SEMAPHORE": "true"}},
		{"Vercel", "x-vercel-oidc-token", map[string]string{"VERCEL": "1"}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			env := machine{vars: tt.vars, net: google(t), files: map[string]string{"/var/run/secrets/cambio/token": token}}.env()
			s, err := client.Detect(t.Context(), env)
			var nothing *client.NoIdentityError
			if s != nil || !errors.As(err, &nothing) {
				t.Fatalf("found %v, %v", s, err)
			}
			if last := nothing.Looked[len(nothing.Looked)-1]; last.Place != tt.name || !strings.Contains(nothing.Advice, tt.advice) || strings.Contains(err.Error(), "canary") {
				t.Errorf("error %v", err)
			}
		})
	}
}

// TestPlatformsThatFail: a place that is meant is not passed over, and its failure
// shows nothing of what it said.
func TestPlatformsThatFail(t *testing.T) {
	fails := func(context.Context, string, ...string) ([]byte, error) {
		return []byte("canary.x.y"), errors.New("exit status 1")
	}
	missing := func(context.Context, string, ...string) ([]byte, error) { return nil, fs.ErrNotExist }
	prints := func(context.Context, string, ...string) ([]byte, error) { return []byte("canary"), nil }
	azure := map[string]string{"TF_BUILD": "True", "SYSTEM_OIDCREQUESTURI": "https://dev.example/x", "SYSTEM_ACCESSTOKEN": "canary", "AZURESUBSCRIPTION_SERVICE_CONNECTION_ID": "c"}
	codefresh := map[string]string{"CF_OIDC_REQUEST_URL": "https://oidc.codefresh.example/", "CF_OIDC_REQUEST_TOKEN": "canary"}
	vercel := map[string]string{"VERCEL_OIDC_TOKEN": "Y2FuYXJ5.x.y"}
	for _, tt := range []struct {
		name       string
		vars       map[string]string
		exec       func(context.Context, string, ...string) ([]byte, error)
		status     int
		body       string
		noIdentity bool
		again      bool
	}{
		{"Buildkite's command fails", map[string]string{"BUILDKITE": "true"}, fails, 0, "", false, false},
		{"Buildkite's command is missing", map[string]string{"BUILDKITE": "true"}, missing, 0, "", true, false},
		{"Buildkite's command prints something else", map[string]string{"BUILDKITE": "true"}, prints, 0, "", false, false},
		{"CircleCI's command fails", map[string]string{"CIRCLECI": "true", "CIRCLE_OIDC_TOKEN_V2": token}, fails, 0, "", false, false},
		{"CircleCI's command is missing, and no token", map[string]string{"CIRCLECI": "true"}, missing, 0, "", true, false},
		{"a variable that is no token", map[string]string{"BITBUCKET_STEP_OIDC_TOKEN": "canary"}, nil, 0, "", false, false},
		{"Azure DevOps in the clear", map[string]string{"SYSTEM_OIDCREQUESTURI": "http://dev.example/canary", "SYSTEM_ACCESSTOKEN": "canary", "AZURESUBSCRIPTION_SERVICE_CONNECTION_ID": "c"}, nil, 0, "", false, false},
		{"Azure DevOps refuses", azure, nil, http.StatusUnauthorized, "canary", false, false},
		{"Azure DevOps is busy", azure, nil, http.StatusServiceUnavailable, "canary", false, true},
		{"Azure DevOps has a page to sign in", azure, nil, http.StatusOK, "<html>canary", false, false},
		{"Azure DevOps has another name", azure, nil, http.StatusOK, `{"oidctoken":"canary.x.y"}`, true, false},
		{"Codefresh in the clear", map[string]string{"CF_OIDC_REQUEST_URL": "http://evil.example/canary", "CF_OIDC_REQUEST_TOKEN": "canary"}, nil, 0, "", false, false},
		{"Codefresh refuses", codefresh, nil, http.StatusForbidden, "canary", false, false},
		{"Codefresh answers twice", codefresh, nil, http.StatusOK, `{"id_token":"a.b.c","id_token":"canary.x.y"}`, false, false},
		{"Vercel's is no token", map[string]string{"VERCEL_OIDC_TOKEN": "canary"}, nil, 0, "", false, false},
		{"Vercel refuses", vercel, nil, http.StatusBadRequest, `{"message":"canary"}`, false, false},
		{"Vercel redirects", vercel, nil, http.StatusFound, "", false, false},
		{"an Azure service in the clear", map[string]string{"IDENTITY_ENDPOINT": "http://evil.example/canary", "IDENTITY_HEADER": "canary"}, nil, 0, "", false, false},
		{"an Azure service refuses", map[string]string{"IDENTITY_ENDPOINT": "http://127.0.0.1:1/x", "IDENTITY_HEADER": "canary"}, nil, http.StatusBadRequest, "canary", false, false},
		{"a metadata server elsewhere", map[string]string{"AZURE_POD_IDENTITY_AUTHORITY_HOST": "http://evil.example/canary"}, nil, 0, "", false, false},
	} {
		t.Run(tt.name, func(t *testing.T) {
			env := machine{vars: tt.vars, net: http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
				if tt.status == 0 {
					w.WriteHeader(http.StatusNotFound)
					return
				}
				answer(w, tt.status, tt.body)
			})}.env()
			env.Exec = tt.exec
			s, err := client.Detect(t.Context(), env)
			if err == nil {
				var got string
				if got, err = s.Token(t.Context(), audience); err == nil {
					t.Fatalf("found a token of %d bytes at %s", len(got), s.Place)
				}
			}
			if errors.Is(err, client.ErrNoIdentity) != tt.noIdentity || errors.Is(err, client.ErrUnreachable) != tt.again || strings.Contains(err.Error(), "canary") {
				t.Errorf("error: %v", err)
			}
		})
	}
}

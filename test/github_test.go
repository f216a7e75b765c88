package test

import (
	"crypto"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha256"
	"crypto/x509"
	"encoding/base64"
	"encoding/json"
	"encoding/pem"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"cambio/test/rig"
)

// TestGitHubTarget: a whole exchange for an installation token, whose handle the
// journal has as GitHub's audit log does; and a key that others may read stops the
// start.
func TestGitHubTarget(t *testing.T) {
	key, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		t.Fatal(err)
	}
	const installationToken = "ghs_12345_abcdefghijklmnopqrstuvwxyz.0123456789"
	var asked []string
	hub := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, err := io.ReadAll(r.Body)
		if err != nil {
			t.Error(err)
		}
		if r.Method != http.MethodPost || r.URL.Path != "/api/v3/app/installations/4242/access_tokens" || !provenBy(&key.PublicKey, r.Header.Get("Authorization")) {
			t.Errorf("GitHub was asked what nobody knows the answer to: %s %s", r.Method, r.URL)
			w.WriteHeader(http.StatusNotImplemented)
			return
		}
		asked = append(asked, string(body))
		var in struct {
			Permissions map[string]string `json:"permissions"`
		}
		if err := json.Unmarshal(body, &in); err != nil {
			t.Error(err)
		}
		in.Permissions["metadata"] = "read"
		w.Header().Set("Content-Type", "application/json; charset=utf-8")
		w.WriteHeader(http.StatusCreated)
		_ = json.NewEncoder(w).Encode(map[string]any{
			"token": installationToken, "expires_at": time.Now().Add(time.Hour).UTC().Format(time.RFC3339), "permissions": in.Permissions,
			"repository_selection": "selected", "repositories": []any{map[string]any{"id": 1, "name": "app", "full_name": "acme/app"}},
		})
	}))
	defer hub.Close()
	dir := t.TempDir()
	file := filepath.Join(dir, "app.pem")
	text := pem.EncodeToMemory(&pem.Block{Type: "RSA PRIVATE KEY", Bytes: x509.MarshalPKCS1PrivateKey(key)})
	if err := os.WriteFile(file, text, 0o600); err != nil {
		t.Fatal(err)
	}
	r := rig.New(t, rig.Setup{
		Dir:     dir,
		Targets: `gh: {type: github, app_id: "12345", installation: "4242", app_key: ` + file + `, endpoint: "` + hub.URL + `/api/v3"}`,
		Trusts: map[string]string{"tr1.yaml": rig.TR1, "notes.yaml": `name: notes
owner: t1-team@acme.test
purpose: main of app writes notes
from: iss1
match: {repository_id: "2", repository_owner_id: "1", ref: refs/heads/main}
grants: [{to: gh, resource: "github:acme/app", scopes: ["contents:read", "issues:write"]}]
`},
	})
	exchange := func(scope string) rig.Answer {
		t.Helper()
		form := rig.Form(r.Token(nil))
		form.Set("audience", "gh")
		if scope != "" {
			form.Set("scope", scope)
		}
		return r.Post(form)
	}
	a := exchange("")
	if a.Status != 200 || a.Text("access_token") != installationToken || a.Text("scope") != "contents:read issues:write" || a.Text("token_type") != "Bearer" {
		t.Fatalf("%d %s\n%s", a.Status, a.Raw, r.Log)
	}
	sum := sha256.Sum256([]byte(installationToken))
	named := false
	for _, rec := range r.Records(a.Decision) {
		named = named || rec.Handle == base64.StdEncoding.EncodeToString(sum[:])
	}
	if !named {
		t.Error("no record names the token as GitHub's audit log does")
	}
	untold(t, r, installationToken, strings.Split(string(text), "\n")[1:20]...)
	if a := exchange("contents:read"); a.Status != 200 || a.Text("scope") != "contents:read" {
		t.Errorf("narrowed: %d %s", a.Status, a.Raw)
	}
	if a := exchange("contents:write"); a.Status != 400 || a.Text("error") != "invalid_scope" {
		t.Errorf("more than the grant: %d %s", a.Status, a.Raw)
	}
	if want := []string{
		`{"repositories":["app"],"permissions":{"contents":"read","issues":"write"}}`,
		`{"repositories":["app"],"permissions":{"contents":"read"}}`,
	}; !slices.Equal(asked, want) {
		t.Errorf("GitHub was asked for %q", asked)
	}
	journal, err := filepath.Glob(filepath.Join(r.JournalDir(), "*.jsonl"))
	if err != nil || len(journal) == 0 {
		t.Fatal("no journal", err)
	}
	lines, err := os.ReadFile(journal[0])
	if err != nil {
		t.Fatal(err)
	}
	if strings.Contains(string(lines)+r.Log.String(), installationToken) {
		t.Error("the journal or the log shows the token")
	}
	// Others may read the one secret: neither a check nor a start lets that pass.
	if err := os.Chmod(file, 0o644); err != nil {
		t.Fatal(err)
	}
	r.Stop()
	if err := r.Start(); err == nil || !strings.Contains(err.Error(), "github-app-key") {
		t.Errorf("a key that others may read: %v", err)
	}
}

// provenBy reports whether an Authorization header holds a JWT that this key signed.
func provenBy(public *rsa.PublicKey, header string) bool {
	token, ok := strings.CutPrefix(header, "Bearer ")
	input, last, found := token, "", false
	if i := strings.LastIndexByte(token, '.'); i > 0 {
		input, last, found = token[:i], token[i+1:], true
	}
	sig, err := base64.RawURLEncoding.DecodeString(last)
	digest := sha256.Sum256([]byte(input))
	return ok && found && err == nil && rsa.VerifyPKCS1v15(public, crypto.SHA256, digest[:], sig) == nil
}

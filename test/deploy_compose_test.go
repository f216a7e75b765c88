package test

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
)

// composeTree is deploy/ with the secrets that whoever deploys makes.
func composeTree(t *testing.T) string {
	t.Helper()
	dir := t.TempDir()
	if err := os.CopyFS(dir, os.DirFS(filepath.Join(root, "deploy"))); err != nil {
		t.Fatal(err)
	}
	secrets := filepath.Join(dir, "compose", "secrets")
	if err := os.MkdirAll(secrets, 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(secrets, "redis-password"), []byte("a-password-of-redis\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	writeCertificate(t, secrets)
	return dir
}

// composeModel is compose.yaml as the reference implementation of the
// specification reads it: schema, references, merges.
func composeModel(t *testing.T, dir string) map[string]any {
	t.Helper()
	file := filepath.Join(dir, "compose.yaml")
	text, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	filled := regexp.MustCompile(`\$\{CAMBIO_IMAGE:\?[^}]+\}`).ReplaceAllString(string(text), "cambio:v0.2.0")
	if filled == string(text) {
		t.Error("the image has a default, which would be somebody else's")
	}
	if err := os.WriteFile(file, []byte(filled), 0o600); err != nil {
		t.Fatal(err)
	}
	cmd := exec.CommandContext(t.Context(), "go", "tool", "-modfile=tools/go.mod", "github.com/compose-spec/compose-go/v2/cmd", "-format", "json", file)
	cmd.Dir = root
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("%v\n%s", err, stderrOf(err))
	}
	var model map[string]any
	if err := json.Unmarshal(out, &model); err != nil {
		t.Fatal(err)
	}
	return model
}

// stderrOf is what a program that failed said.
func stderrOf(err error) []byte {
	var exit *exec.ExitError
	if errors.As(err, &exit) {
		return exit.Stderr
	}
	return nil
}

// TestCompose: the file is one by the specification, and says what two replicas
// need.
func TestCompose(t *testing.T) {
	t.Parallel()
	dir := composeTree(t)
	model := composeModel(t, dir)
	services, _ := model["services"].(map[string]any)
	if got := keysOf(services); !slices.Equal(got, []string{"cambio-1", "cambio-2", "proxy", "redis"}) {
		t.Fatalf("services %v", got)
	}
	for name, s := range services {
		if at(s, "read_only") != true || at(s, "cap_drop", 0) != "ALL" || at(s, "security_opt", 0) != "no-new-privileges:true" || at(s, "mem_limit") == nil || at(s, "restart") != "unless-stopped" {
			t.Errorf("%s may more than it needs: %v", name, s)
		}
		if at(s, "privileged") != nil || at(s, "network_mode") != nil {
			t.Errorf("%s is no prisoner of its container", name)
		}
		for image := range strings.FieldsSeq(fmt.Sprint(at(s, "image"))) {
			if !regexp.MustCompile(`:v?[0-9]`).MatchString(image) {
				t.Errorf("%s: %s may be another program tomorrow", name, image)
			}
		}
		if (at(s, "ports") != nil) != (name == "proxy") {
			t.Errorf("%s: only the proxy is reached from outside", name)
		}
		if (at(s, "healthcheck", "test") == nil) != strings.HasPrefix(name, "cambio-") {
			t.Errorf("%s: whoever has a program for it checks its health", name)
		}
	}
	volume := func(service, target string) (source string, readOnly bool) {
		list, _ := at(services[service], "volumes").([]any)
		for _, v := range list {
			if at(v, "target") == target {
				return fmt.Sprint(at(v, "source")), at(v, "read_only") == true
			}
		}
		t.Errorf("%s has nothing at %s", service, target)
		return "", false
	}
	state1, _ := volume("cambio-1", "/var/lib/cambio/state")
	state2, _ := volume("cambio-2", "/var/lib/cambio/state")
	keys1, reads1 := volume("cambio-1", "/var/lib/cambio/keys")
	keys2, reads2 := volume("cambio-2", "/var/lib/cambio/keys")
	if state1 == state2 || keys1 != keys2 || reads1 || !reads2 {
		t.Errorf("states %s and %s, keys %s (read only: %v) and %s (%v)", state1, state2, keys1, reads1, keys2, reads2)
	}
	for _, replica := range []string{"cambio-1", "cambio-2"} {
		if at(services[replica], "user") != "65532:65532" || at(services[replica], "depends_on", "redis", "condition") != "service_healthy" || at(services[replica], "stop_grace_period") != "30s" {
			t.Errorf("%s: %v", replica, services[replica])
		}
	}
	// The gateway believes the proxy's address alone.
	proxy := fmt.Sprint(at(services["proxy"], "networks", "inside", "ipv4_address"))
	config := document(t, "deploy/compose/cambio.yaml")
	for _, key := range []string{"tls: {terminated_by: [" + proxy + "/32]}", "trusted_proxies: [" + proxy + "/32]"} {
		if !strings.Contains(config, key) {
			t.Errorf("cambio.yaml does not say %s", key)
		}
	}
	redis := document(t, "deploy/compose/redis.conf")
	for _, line := range []string{"maxmemory-policy noeviction", "appendonly yes"} {
		if !strings.Contains(redis, "\n"+line+"\n") {
			t.Errorf("redis.conf does not say %s", line)
		}
	}
	if command := fmt.Sprint(at(services["redis"], "command")); !strings.Contains(command, "requirepass") || strings.Contains(command, "--requirepass") {
		t.Errorf("the password is not set, or stands among the arguments: %s", command)
	}
	o := run(t, nil, "config", "check", "--config", filepath.Join(dir, "compose", "cambio.yaml"))
	if o.code != 0 {
		t.Errorf("config check: exit %d\n%s", o.code, o.stderr)
	}
	o = run(t, nil, "trust", "check", filepath.Join(dir, "compose", "trust"), "--config", filepath.Join(dir, "compose", "cambio.yaml"))
	if o.code != 0 {
		t.Errorf("trust check: exit %d\n%s", o.code, o.stderr)
	}
}

// TestComposeProxy lets the proxy itself read its configuration.
func TestComposeProxy(t *testing.T) {
	t.Parallel()
	dir := composeTree(t)
	var both []byte
	for _, name := range []string{"cert.pem", "key.pem"} {
		b, err := os.ReadFile(filepath.Join(dir, "compose", "secrets", name))
		if err != nil {
			t.Fatal(err)
		}
		both = append(both, b...)
	}
	pem, file := filepath.Join(dir, "tls.pem"), filepath.Join(dir, "haproxy.cfg")
	// Names of the network of the containers mean nothing here.
	config := strings.NewReplacer("/run/secrets/tls.pem", pem, "cambio-1:8080", "127.0.0.1:8080", "cambio-2:8080", "127.0.0.1:8082").Replace(document(t, "deploy/compose/haproxy.cfg"))
	for name, content := range map[string][]byte{pem: both, file: []byte(config)} {
		if err := os.WriteFile(name, content, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	out, err := exec.CommandContext(t.Context(), "haproxy", "-c", "-dW", "-f", file).CombinedOutput() // a warning is a fault
	if err != nil {
		t.Errorf("%v (Debian: haproxy)\n%s", err, out)
	}
	if strings.Contains(config, "capture") || strings.Contains(config, "httplog") {
		t.Error("the proxy's log holds more of a request than its line")
	}
}

// TestDockerfile: what cannot be built here can be read.
func TestDockerfile(t *testing.T) {
	t.Parallel()
	text := document(t, "deploy/Dockerfile")
	_, final, ok := strings.Cut(text, "\nFROM scratch\n")
	if !ok || strings.Contains(final, "\nRUN ") || strings.Contains(final, "\nFROM ") {
		t.Fatal("the image is not made from nothing")
	}
	for _, want := range []string{"\nUSER 65532:65532\n", `ENTRYPOINT ["/cambio"]`, "COPY --from=build /image/ /\n"} {
		if !strings.Contains("\n"+final, want) {
			t.Errorf("the image lacks %q", want)
		}
	}
	release := document(t, "scripts/release")
	for _, same := range []string{"-trimpath -buildvcs=true", "CGO_ENABLED=0", "GOFLAGS=-mod=readonly", regexp.MustCompile(`GOTOOLCHAIN=go[0-9.]+`).FindString(release)} {
		if same == "" || !strings.Contains(text, same) || !strings.Contains(release, same) {
			t.Errorf("the image and the release are not both built with %q", same)
		}
	}
	// A list of what the context may hold, not of what it may not.
	if got := regexp.MustCompile(`(?m)^[^#\n].*$`).FindAllString(document(t, "deploy/Dockerfile.dockerignore"), -1); !slices.Equal(got, []string{"*", "!.git"}) {
		t.Errorf("the context is %v", got)
	}
	// No secret lies in the tree, not even an example of one.
	err := fs.WalkDir(os.DirFS(filepath.Join(root, "deploy")), ".", func(name string, d fs.DirEntry, err error) error {
		if ext := filepath.Ext(name); err == nil && !d.IsDir() && (ext == ".pem" || ext == ".key" || strings.Contains(name, "/secrets/")) {
			t.Errorf("deploy/%s looks like a secret", name)
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
}

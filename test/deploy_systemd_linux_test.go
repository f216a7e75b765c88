package test

import (
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"cambio/test/redisrig"
)

// unitIn is the unit with the program of this test in the place of the installed
// one, which systemd looks for.
func unitIn(t *testing.T, old, with string) string {
	t.Helper()
	program, err := binary()
	if err != nil {
		t.Fatal(err)
	}
	text := document(t, "deploy/systemd/cambio.service")
	changed := strings.Replace(text, old, with, 1)
	if old != "" && changed == text {
		t.Fatalf("the unit has no %q", old)
	}
	file := filepath.Join(t.TempDir(), "cambio.service")
	if err := os.WriteFile(file, []byte(strings.ReplaceAll(changed, "/usr/bin/cambio", program)), 0o600); err != nil {
		t.Fatal(err)
	}
	return file
}

// analyze runs systemd-analyze (Debian: systemd).
func analyze(t *testing.T, args ...string) (string, error) {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), "systemd-analyze", args...)
	cmd.Env = append(os.Environ(), "SYSTEMD_LOG_LEVEL=warning", "SYSTEMD_PAGER=", "NO_COLOR=1")
	out, err := cmd.CombinedOutput()
	return string(out), err
}

// TestUnit lets systemd judge the unit and its sandbox.
func TestUnit(t *testing.T) {
	t.Parallel()
	// The manual pages that Documentation may name are not installed everywhere.
	if out, err := analyze(t, "verify", "--man=no", unitIn(t, "", "")); err != nil || strings.TrimSpace(out) != "" {
		t.Errorf("verify: %v\n%s", err, out)
	}
	if out, _ := analyze(t, "verify", "--man=no", unitIn(t, "NoNewPrivileges=", "NoNewPrivilege=")); !strings.Contains(out, "'NoNewPrivilege'") {
		t.Errorf("a misspelt line passes:\n%s", out)
	}
	// 1.1 of 10: what remains is the network, which the gateway is for.
	const most = "--threshold=11"
	if out, err := analyze(t, "security", "--offline=true", "--no-pager", most, unitIn(t, "", "")); err != nil {
		t.Errorf("security: %v\n%s", err, out)
	}
	for _, line := range []string{"SystemCallFilter=@system-service", "CapabilityBoundingSet=\n", "PrivateUsers=yes"} {
		if out, err := analyze(t, "security", "--offline=true", "--no-pager", most, unitIn(t, line, "\n")); err == nil {
			t.Errorf("without %s the exposure is no higher, so that the threshold says little:\n%s", line, out)
		}
	}
	text := document(t, "deploy/systemd/cambio.service")
	for _, want := range []string{"DynamicUser=yes", "StateDirectory=cambio", "StateDirectoryMode=0700", "RestartPreventExitStatus=3", "TimeoutStopSec=30s", "MemoryDenyWriteExecute=yes", "ProtectSystem=strict"} {
		if !regexp.MustCompile(`(?m)^` + regexp.QuoteMeta(want) + `$`).MatchString(text) {
			t.Errorf("the unit does not say %s", want)
		}
	}
}

// TestUnitAdmin runs the page's script for operators with a systemd-run that does
// as systemd would with the properties that matter here: the secrets come from the
// environment file, and from nowhere else. systemd judges the others by name.
func TestUnitAdmin(t *testing.T) {
	t.Parallel()
	program, err := binary()
	if err != nil {
		t.Fatal(err)
	}
	files := map[string]string{}
	_, sessions := blocks(t, "docs/how-to/deploy-systemd.md")
	for _, step := range sessions["secrets"] {
		files[step.file] = step.text
	}
	script, secrets := files["cambio-admin"], files["environment"]

	// What it says of the service, the unit says too: the same user, folder and secrets.
	unit := document(t, "deploy/systemd/cambio.service")
	properties := regexp.MustCompile(`-p (\S+)`).FindAllStringSubmatch(script, -1)
	if len(properties) < 5 {
		t.Fatalf("the script sets only %v", properties)
	}
	for _, p := range properties {
		if !slices.Contains(strings.Split(unit, "\n"), p[1]) {
			t.Errorf("the script sets %s, and the unit does not", p[1])
		}
	}

	dir := t.TempDir()
	password, _, ok := strings.Cut(strings.TrimPrefix(secrets, `CAMBIO_REDIS_PASSWORD="`), `"`)
	if !ok || len(password) < 16 {
		t.Fatalf("the page's file of secrets is %q", secrets)
	}
	redis := redisrig.Start(t, redisrig.Options{AOF: true, Password: password})
	for name, text := range map[string]string{
		"environment": secrets,
		"cambio.yaml": "issuer: http://127.0.0.1:8080\nidentity_providers:\n  github: {type: github-actions, audience: \"http://127.0.0.1:8080\"}\n" +
			"targets:\n  orders-api: {type: jwt, audience: \"https://orders.acme.example\"}\n" +
			"redis: {addrs: [\"" + redis.Addr() + "\"], password: \"${env:CAMBIO_REDIS_PASSWORD}\"}\n",
		"cambio-admin": strings.NewReplacer("/etc/cambio-secrets", dir, "/etc/cambio", dir, "/usr/bin/cambio", program).Replace(script),
		// Options end where the program's path begins. -a: all that is read is exported.
		"systemd-run": "#!/bin/sh\nset -eu\nfile=\nwhile :; do\ncase $1 in\nEnvironmentFile=-*) file=${1#*=-} ;;\n/*) break ;;\nesac\nshift\ndone\n" +
			"exec env -i sh -ac '. \"$0\"; exec \"$@\"' \"$file\" \"$@\"\n",
	} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o700); err != nil {
			t.Fatal(err)
		}
	}
	admin := func(args ...string) string {
		cmd := exec.CommandContext(t.Context(), filepath.Join(dir, "cambio-admin"), args...)
		cmd.Dir, cmd.Env = dir, []string{"PATH=" + dir + ":/usr/bin:/bin"}
		out, err := cmd.CombinedOutput()
		if err != nil {
			t.Fatalf("%v: %v\n%s", args, err, out)
		}
		return string(out)
	}
	const reason = "a key on a public laptop"
	admin("stop", "restore") // the first gateway would make the list
	admin("stop", "add", "workload", "spiffe://127.0.0.1/github/9919/41881900", "--reason", reason)
	if out := admin("stop", "list"); !strings.Contains(out, reason) {
		t.Errorf("the stop is not in Redis:\n%s", out)
	}
}

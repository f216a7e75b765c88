package test

import (
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
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

package test

import (
	"bytes"
	"errors"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"go.yaml.in/yaml/v4"
)

// gate is a named job of the project's continuous integration, and the command
// that it runs.
type supplyGate struct{ job, command string }

func supplyGates() []supplyGate {
	return []supplyGate{
		{"govulncheck", "scripts/vuln"},
		{"pins", "go run ./scripts/workflows pins"},
		{"permissions", "go run ./scripts/workflows permissions"},
		{"go-mod-verify", "scripts/modverify"},
	}
}

// workflowFile is the part of a workflow that is looked at here.
type workflowFile struct {
	Permissions map[string]string
	Jobs        map[string]struct {
		Permissions map[string]string
		Steps       []struct{ Uses, Run string }
	}
}

func readWorkflow(t *testing.T, name string) workflowFile {
	t.Helper()
	var w workflowFile
	if err := yaml.Unmarshal([]byte(document(t, ".github/workflows/"+name)), &w); err != nil {
		t.Fatal(err)
	}
	return w
}

// TestWorkflows: each gate is a job that runs its command and nothing else, the
// release passes all of them first, and one job alone may ask for an identity.
func TestWorkflows(t *testing.T) {
	t.Parallel()
	ci, release := readWorkflow(t, "ci.yml"), readWorkflow(t, "release.yml")
	var before []string
	for _, step := range release.Jobs["gates"].Steps {
		before = append(before, step.Run)
	}
	for _, g := range supplyGates() {
		steps := ci.Jobs[g.job].Steps
		if len(steps) != 2 || steps[1].Run != g.command {
			t.Errorf("ci.yml: the job %s does not run %s: %+v", g.job, g.command, steps)
		}
		if !slices.Contains(before, g.command) {
			t.Errorf("release.yml releases without %s", g.command)
		}
	}
	for _, w := range []workflowFile{ci, release} {
		for name, job := range w.Jobs {
			if job.Permissions["id-token"] != "" && name != "publish" {
				t.Errorf("the job %s may ask for an identity", name)
			}
			for _, step := range job.Steps {
				if strings.Contains(step.Run, "${{") {
					t.Errorf("the job %s puts text into a script: %s", name, step.Run)
				}
			}
		}
	}
	for _, command := range []string{"make test", "make check"} {
		if !slices.ContainsFunc([]string{"test", "check"}, func(job string) bool { return ci.Jobs[job].Steps[1].Run == command }) {
			t.Errorf("ci.yml does not run %s", command)
		}
	}
}

// supplyRun runs a gate's program and returns its status and what it said.
func supplyRun(t *testing.T, env []string, name string, args ...string) (int, string) {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), name, args...)
	cmd.Dir, cmd.Env = root, append(os.Environ(), env...)
	out, err := cmd.CombinedOutput()
	var exit *exec.ExitError
	if err != nil && !errors.As(err, &exit) {
		t.Fatal(err)
	}
	return cmd.ProcessState.ExitCode(), string(out)
}

// branch is a module with our dependencies and a program that calls one of them.
func branch(t *testing.T) string {
	t.Helper()
	dir := t.TempDir()
	put := func(name, content string) {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	put("go.mod", strings.Replace(document(t, "go.mod"), "module cambio\n", "module branch\n", 1))
	put("go.sum", document(t, "go.sum"))
	put("main.go", "package main\n\nimport \"golang.org/x/net/idna\"\n\nfunc main() {\n\ts, _ := idna.ToASCII(\"é.example\")\n\tprintln(s)\n}\n")
	return dir
}

func cfg06Vulnerable(t *testing.T) {
	t.Parallel()
	const entry = `{"schema_version": "1.3.1", "id": "GO-2026-9999", "modified": "2026-01-01T00:00:00Z", "published": "2026-01-01T00:00:00Z",
"aliases": ["CVE-2026-99999"], "summary": "A test in golang.org/x/net", "details": "A test.",
"affected": [{"package": {"name": "golang.org/x/net", "ecosystem": "Go"}, "ranges": [{"type": "SEMVER", "events": [{"introduced": "0"}, {"fixed": "FIXED"}]}],
"ecosystem_specific": {"imports": [{"path": "golang.org/x/net/idna", "symbols": ["ToASCII"]}]}}],
"database_specific": {"url": "https://pkg.go.dev/vuln/GO-2026-9999", "review_status": "REVIEWED"}}`
	database := func(fixed string) []string {
		dir := t.TempDir()
		if err := os.WriteFile(filepath.Join(dir, "GO-2026-9999.json"), []byte(strings.Replace(entry, "FIXED", fixed, 1)), 0o600); err != nil {
			t.Fatal(err)
		}
		return []string{"GOVULNDB=file://" + dir}
	}
	dir := branch(t)
	if status, out := supplyRun(t, database("0.0.1"), "scripts/vuln", dir); status != 0 {
		t.Errorf("a dependency that is mended: status %d\n%s", status, out)
	}
	status, out := supplyRun(t, database("999.0.0"), "scripts/vuln", dir)
	if status != 3 || !strings.Contains(out, "GO-2026-9999") || !strings.Contains(out, "idna.ToASCII") {
		t.Errorf("a vulnerability that is called: status %d\n%s", status, out)
	}
	status, out = supplyRun(t, []string{"GOVULNDB=http://127.0.0.1:1"}, "scripts/vuln", dir)
	if status != 75 || !strings.Contains(out, "GAP: the vulnerability database http://127.0.0.1:1 cannot be reached") {
		t.Errorf("no database: status %d\n%s", status, out)
	}
}

// workflowsIn is a tree with our workflows and the action, one file changed.
func workflowsIn(t *testing.T, name, old, with string) string {
	t.Helper()
	dir, changed := t.TempDir(), false
	for _, from := range []string{".github/workflows/ci.yml", ".github/workflows/release.yml", "deploy/github-action/action.yml"} {
		text := document(t, from)
		if from == name {
			changed = old == "" || strings.Contains(text, old)
			text = strings.Replace(text, old, with, 1)
		}
		to := filepath.Join(dir, from)
		if err := os.MkdirAll(filepath.Dir(to), 0o700); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(to, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	if name != "" && !changed {
		t.Fatalf("%s has no %q", name, old)
	}
	return dir
}

// changedWorkflow is a change that a gate refuses, at a line that it names.
type changedWorkflow struct{ name, old, with, says string }

// workflowGate builds the program of two gates once, and shows that one passes
// what is here and refuses each change.
func workflowGate(t *testing.T, gate string, changes map[string]changedWorkflow) {
	t.Helper()
	program := filepath.Join(t.TempDir(), "workflows")
	if status, out := supplyRun(t, nil, "go", "build", "-o", program, "./scripts/workflows"); status != 0 {
		t.Fatal(out)
	}
	for _, dir := range []string{".", workflowsIn(t, "", "", "")} {
		if status, out := supplyRun(t, nil, program, gate, dir); status != 0 {
			t.Errorf("what is here: status %d\n%s", status, out)
		}
	}
	for what, c := range changes {
		status, out := supplyRun(t, nil, program, gate, workflowsIn(t, c.name, c.old, c.with))
		at := regexp.MustCompile(regexp.QuoteMeta(c.name) + `:\d+: .*` + regexp.QuoteMeta(c.says))
		if status != 1 || !at.MatchString(out) {
			t.Errorf("%s: status %d\n%s", what, status, out)
		}
	}
	if status, _ := supplyRun(t, nil, program, gate, t.TempDir()); status != 1 {
		t.Errorf("no workflow at all: status %d", status)
	}
}

func cfg06Tag(t *testing.T) {
	t.Parallel()
	const ci, release, checkout = ".github/workflows/ci.yml", ".github/workflows/release.yml", "actions/checkout@11bd71901bbe5b1630ceea73d27597364c9af683 # v4.2.2"
	workflowGate(t, "pins", map[string]changedWorkflow{
		"a tag":                      {ci, checkout, "actions/checkout@v4", "actions/checkout@v4"},
		"a tag in the release":       {release, checkout, "actions/checkout@v4.2.2 # v4.2.2", "actions/checkout@v4.2.2"},
		"a branch":                   {ci, checkout, "actions/checkout@main", "actions/checkout@main"},
		"half a commit":              {ci, checkout, "actions/checkout@11bd719 # v4.2.2", "40 hex digits"},
		"capitals":                   {ci, checkout, "actions/checkout@11BD71901BBE5B1630CEEA73D27597364C9AF683 # v4.2.2", "40 hex digits"},
		"no version":                 {ci, checkout, "actions/checkout@11bd71901bbe5b1630ceea73d27597364c9af683", "write the version"},
		"nothing behind it":          {ci, checkout, "actions/checkout", "40 hex digits"},
		"a container by tag":         {ci, checkout, "docker://alpine:3", "40 hex digits"},
		"a reusable workflow by tag": {ci, "  test:\n    runs-on: ubuntu-24.04\n", "  called:\n    uses: acme/ci/.github/workflows/all.yml@v1\n  test:\n    runs-on: ubuntu-24.04\n", "acme/ci/.github/workflows/all.yml@v1"},
		"an expression":              {ci, checkout, "\"actions/checkout@${{ github.sha }}\"", "40 hex digits"},
		"above this tree":            {ci, checkout, "./../other", "40 hex digits"},
		"in our own action":          {"deploy/github-action/action.yml", "    - id: exchange\n", "    - uses: acme/setup@v1\n    - id: exchange\n", "acme/setup@v1"},
	})
}

func cfg06Permission(t *testing.T) {
	t.Parallel()
	const ci, release, job = ".github/workflows/ci.yml", ".github/workflows/release.yml", "  pins:\n    runs-on: ubuntu-24.04\n"
	grant := func(permission string) string { return job + "    permissions:\n      " + permission + "\n" }
	workflowGate(t, "permissions", map[string]changedWorkflow{
		"id-token":              {ci, job, grant("id-token: write"), "job pins has id-token: write"},
		"contents":              {ci, job, grant("contents: write"), "job pins has contents: write"},
		"packages":              {ci, job, grant("packages: write"), "job pins has packages: write"},
		"all":                   {ci, job, job + "    permissions: write-all\n", "name each one"},
		"at the top":            {ci, "  contents: read\n", "  contents: read\n  id-token: write\n", "at the top"},
		"all at the top":        {ci, "permissions:\n  contents: read\n", "permissions: write-all\n", "name each one"},
		"nothing at the top":    {ci, "permissions:\n  contents: read\n", "", "no permissions at the top"},
		"a word of another":     {ci, job, grant("contents: admin"), "write read, write or none"},
		"pull_request_target":   {ci, "  pull_request:\n", "  pull_request_target:\n", "pull_request_target"},
		"a use in a comment":    {ci, job, grant("id-token: write") + "    env: {A: cosign sign}\n", "job pins has id-token: write"},
		"a branch's name":       {ci, "run: make test\n", "run: make test BRANCH=${{ github.head_ref }}\n", "the script holds ${{ github.head_ref }}"},
		"a title, in a line":    {ci, "run: make test\n", "run: |\n          make test\n          echo '${{github.event.pull_request.title}}'\n", "the script holds ${{ github.event.pull_request.title }}"},
		"an input":              {release, "run: scripts/vuln\n", "run: scripts/vuln ${{ inputs.version }}\n", "the script holds ${{ inputs.version }}"},
		"a step's output":       {ci, "run: make test\n", "run: echo ${{ steps.x.outputs.y }}\n", "hand it over in env"},
		"an input of ours":      {"deploy/github-action/action.yml", "run: bash \"$GITHUB_ACTION_PATH/exchange.sh\"\n", "run: bash \"$GITHUB_ACTION_PATH/exchange.sh\" ${{ inputs.to }}\n", "the script holds ${{ inputs.to }}"},
		"a script of another":   {ci, "run: make test\n", "uses: actions/github-script@60a0d83039c74a4aee543508d2ffcb1c3799cdea # v7.0.1\n        with:\n          script: console.log(`${{ github.event.issue.title }}`)\n", "the script holds ${{ github.event.issue.title }}"},
		"the use is taken away": {release, "      - uses: actions/attest-build-provenance@e8998f949152b193b063cb0ec769d69d929409be # v2.4.0\n        with:\n          subject-checksums: bin/release/SHA256SUMS\n", "", "job publish has id-token: write"},
	})
}

func cfg06Sum(t *testing.T) {
	t.Parallel()
	if status, out := supplyRun(t, nil, "scripts/modverify", branch(t)); status != 0 {
		t.Fatalf("what is here: status %d\n%s", status, out)
	}
	line := regexp.MustCompile(`(?m)^golang\.org/x/net v0\.[0-9.]+ h1:.*\n`).FindString(document(t, "go.sum"))
	modLine := regexp.MustCompile(`(?m)^golang\.org/x/net v0\.[0-9.]+/go\.mod h1:.*\n`).FindString(document(t, "go.sum"))
	if line == "" || modLine == "" {
		t.Fatal("go.sum has no golang.org/x/net")
	}
	other := func(s string) string { // the same line with another sum
		i := strings.Index(s, "h1:") + len("h1:")
		return s[:i] + strings.Map(func(c rune) rune {
			switch c {
			case 'a':
				return 'b'
			case 'b':
				return 'a'
			}
			return c
		}, "ab"+s[i+2:])
	}
	for what, change := range map[string]func(string) string{
		"another sum":            func(s string) string { return strings.Replace(s, line, other(line), 1) },
		"another go.mod's sum":   func(s string) string { return strings.Replace(s, modLine, other(modLine), 1) },
		"no sum":                 func(s string) string { return strings.Replace(s, line, "", 1) },
		"a second sum":           func(s string) string { return s + other(line) },
		"a line of another form": func(s string) string { return s + "golang.org/x/net latest sha256:00\n" },
	} {
		dir := branch(t)
		file := filepath.Join(dir, "go.sum")
		before := document(t, "go.sum")
		after := change(before)
		if after == before {
			t.Fatalf("%s changes nothing", what)
		}
		if err := os.WriteFile(file, []byte(after), 0o600); err != nil {
			t.Fatal(err)
		}
		if status, out := supplyRun(t, nil, "scripts/modverify", dir); status == 0 {
			t.Errorf("%s passes:\n%s", what, out)
		}
		if got, err := os.ReadFile(file); err != nil || !bytes.Equal(got, []byte(after)) {
			t.Errorf("%s: the gate changed go.sum: %v", what, err)
		}
	}
}

// TestScripts: each script is for a shell that it names, and stops at a fault.
func TestScripts(t *testing.T) {
	t.Parallel()
	found := 0
	for _, name := range files(t) {
		if filepath.Dir(name) != "scripts" && filepath.Ext(name) != ".sh" || strings.HasPrefix(name, "test/") {
			continue
		}
		found++
		text := document(t, name)
		info, err := os.Stat(filepath.Join(root, name))
		if err != nil {
			t.Fatal(err)
		}
		if filepath.Dir(name) == "scripts" && info.Mode()&0o100 == fs.FileMode(0) {
			t.Errorf("%s cannot be run", name)
		}
		if !strings.HasPrefix(text, "#!/bin/sh\n") && !strings.HasPrefix(text, "#!/usr/bin/env bash\n") || !strings.Contains(text, "\nset -eu") {
			t.Errorf("%s names no shell, or goes on after a fault", name)
		}
	}
	if found < 5 {
		t.Errorf("found only %d scripts", found)
	}
}

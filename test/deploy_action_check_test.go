package test

import (
	"bytes"
	"compress/gzip"
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"sync"
	"testing"
)

const checkFolder = "deploy/github-action/check"

// marker begins the comment of the review.
const marker = "<!-- cambio trust check -->\n"

// hub is the part of GitHub's API that the review uses. It takes nothing else.
type hub struct {
	mu       sync.Mutex
	t        *testing.T
	comments []map[string]any
	refuses  bool // as with a token that only reads
	written  []string
	sarif    map[string]any
}

// hand passes the hub's fields over, between the test and the server.
func (h *hub) hand() {
	h.mu.Lock()
	defer h.mu.Unlock()
}

func (h *hub) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if r.Header.Get("Authorization") != "Bearer job-token" || r.Header.Get("Accept") != "application/vnd.github+json" || r.Header.Get("X-GitHub-Api-Version") == "" {
		h.t.Errorf("%s %s: headers %v", r.Method, r.URL, r.Header)
	}
	body, err := io.ReadAll(r.Body)
	var in struct {
		Body, Ref, Sarif string
		CommitSHA        string `json:"commit_sha"`
	}
	if len(body) > 0 && (err != nil || json.Unmarshal(body, &in) != nil || r.Header.Get("Content-Type") != "application/json") {
		h.t.Errorf("%s %s: %s", r.Method, r.URL, body)
	}
	answer := func(status int, v any) {
		b, err := json.Marshal(v)
		if err != nil {
			h.t.Error(err)
		}
		w.WriteHeader(status)
		_, _ = w.Write(b) // the script says when it got less
	}
	const of = "/repos/acme/trust/"
	switch {
	case h.refuses && r.Method != http.MethodGet:
		answer(http.StatusForbidden, map[string]string{"message": "Resource not accessible by integration"})
	case r.Method == http.MethodGet && r.URL.Path == of+"issues/7/comments" && r.URL.Query().Get("per_page") == "100":
		page := []map[string]any{}
		var n int
		_, _ = fmt.Sscan(r.URL.Query().Get("page"), &n)
		if from := (n - 1) * 100; n > 0 && from < len(h.comments) {
			page = h.comments[from:min(from+100, len(h.comments))]
		}
		answer(http.StatusOK, page)
	case r.Method == http.MethodPost && r.URL.Path == of+"issues/7/comments":
		h.written = append(h.written, in.Body)
		h.comments = append(h.comments, map[string]any{"id": 1000 + len(h.comments), "body": in.Body, "user": map[string]string{"type": "Bot"}})
		answer(http.StatusCreated, map[string]int{"id": 1})
	case r.Method == http.MethodPatch && strings.HasPrefix(r.URL.Path, of+"issues/comments/"):
		for _, c := range h.comments {
			if fmt.Sprint(c["id"]) == strings.TrimPrefix(r.URL.Path, of+"issues/comments/") {
				c["body"] = in.Body
			}
		}
		h.written = append(h.written, "edited "+strings.TrimPrefix(r.URL.Path, of+"issues/comments/")+"\n"+in.Body)
		answer(http.StatusOK, map[string]int{"id": 1})
	case r.Method == http.MethodPost && r.URL.Path == of+"code-scanning/sarifs":
		packed, err := base64.StdEncoding.DecodeString(in.Sarif)
		z, err2 := gzip.NewReader(bytes.NewReader(packed))
		if err != nil || err2 != nil || json.NewDecoder(z).Decode(&h.sarif) != nil || in.CommitSHA != strings.Repeat("c", 40) || in.Ref != "refs/pull/7/merge" {
			h.t.Errorf("no findings: %s", body)
		}
		answer(http.StatusAccepted, map[string]string{})
	default:
		h.t.Errorf("unexpected: %s %s", r.Method, r.URL)
		answer(http.StatusNotFound, nil)
	}
}

// review is a job that reviews pull request 7 of acme/trust.
type review struct {
	t      *testing.T
	dir    string
	hub    *hub
	inputs map[string]string
	env    map[string]string
}

// says has the client end a command with this status and these texts.
func (r *review) says(command string, status int, stdout, stderr string) {
	r.t.Helper()
	for ext, text := range map[string]string{"out": stdout, "err": stderr, "status": fmt.Sprint(status)} {
		if err := os.WriteFile(filepath.Join(r.dir, command+"."+ext), []byte(text), 0o600); err != nil {
			r.t.Fatal(err)
		}
	}
}

func newReview(t *testing.T) *review {
	t.Helper()
	// A client that says what the test wants, and tells what it was asked and what
	// it could see.
	release := tarballOf(t, []byte(`#!/bin/sh
printf '%s\n' "$*" >>"$HOME/asked"
env >"$HOME/seen"
name=$2
case "$*" in
*"-o markdown"*) name=markdown ;;
*"-o sarif"*) name=sarif ;;
esac
cat "$HOME/$name.out"
cat "$HOME/$name.err" >&2
exit "$(cat "$HOME/$name.status")"
`))
	mirror := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { _, _ = w.Write(release.content) }))
	t.Cleanup(mirror.Close)
	h := &hub{t: t}
	api := httptest.NewServer(h)
	t.Cleanup(api.Close)
	sum := sha256.Sum256(release.content)
	r := &review{t: t, dir: t.TempDir(), hub: h, inputs: map[string]string{
		"config": "cambio.yaml", "base": "", "strict": "false", "fail-on-growth": "false", "min-coverage": "0", "comment": "true", "sarif": "false",
		"token": "job-token", "version": actionVersion, "sha256": hex.EncodeToString(sum[:]), "base-url": mirror.URL,
	}}
	r.env = map[string]string{
		"GITHUB_API_URL": api.URL, "GITHUB_EVENT_NAME": "pull_request", "GITHUB_REPOSITORY": "acme/trust", "GITHUB_REF": "refs/pull/7/merge",
		"GITHUB_SHA": strings.Repeat("c", 40), "GITHUB_EVENT_PATH": filepath.Join(r.dir, "event.json"), "GITHUB_SERVER_URL": "https://github.invalid",
		"ACTIONS_ID_TOKEN_REQUEST_TOKEN": "id-secret",
	}
	r.event("acme/trust")
	r.says("check", 0, "trust: ok: 3 trusts\n", "")
	r.says("test", 0, "trust: 9 of 9 tests passed\n", "")
	r.says("prove", 0, "4 invariants hold\n", "")
	r.says("diff", 0, `{"effect": "none", "items": []}`, "")
	r.says("markdown", 0, "No change of access.\n", "")
	r.says("sarif", 0, `{"version": "2.1.0", "runs": []}`, "")
	return r
}

// configure commits a configuration, which is the base, and then changes it.
func (r *review) configure() {
	r.t.Helper()
	file := filepath.Join(r.dir, "cambio.yaml")
	for i, text := range []string{"issuer: https://ours.invalid\n", "issuer: https://theirs.invalid\n"} {
		if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
			r.t.Fatal(err)
		}
		if i > 0 {
			break
		}
		for _, args := range [][]string{{"init", "-q", "-b", "main"}, {"add", "cambio.yaml"}, {"-c", "user.name=t", "-c", "user.email=t@acme.example", "-c", "commit.gpgsign=false", "commit", "-q", "-m", "x"}} {
			if out, err := exec.CommandContext(r.t.Context(), "git", append([]string{"-C", r.dir}, args...)...).CombinedOutput(); err != nil {
				r.t.Fatalf("git %v: %v: %s", args, err, out)
			}
		}
	}
	r.inputs["base"] = "main"
}

// event is what the job knows of the pull request, from a branch of this repository.
func (r *review) event(head string) {
	r.t.Helper()
	b, err := json.Marshal(map[string]any{"pull_request": map[string]any{
		"number": 7, "base": map[string]string{"sha": strings.Repeat("a", 40)}, "head": map[string]any{"repo": map[string]string{"full_name": head}},
	}})
	if err != nil {
		r.t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(r.dir, "event.json"), b, 0o600); err != nil {
		r.t.Fatal(err)
	}
}

// run runs the action's step as a runner would.
func (r *review) run() (status int, log string) {
	t := r.t
	t.Helper()
	// What the test wrote before is the hub's now, and what the hub holds behind the
	// run is the test's.
	r.hub.hand()
	defer r.hub.hand()
	s := readAction(t, checkFolder).Runs.Steps[0]
	path, err := filepath.Abs(filepath.Join(root, checkFolder))
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.CommandContext(t.Context(), "bash", "--noprofile", "--norc", "-e", "-o", "pipefail", "-c", s.Run)
	temp := t.TempDir()
	cmd.Dir = r.dir
	cmd.Env = []string{
		"PATH=" + os.Getenv("PATH"), "HOME=" + r.dir, "RUNNER_TEMP=" + temp, "GITHUB_ACTION_PATH=" + path,
		"GITHUB_OUTPUT=" + filepath.Join(r.dir, "output"), "GITHUB_STEP_SUMMARY=" + filepath.Join(r.dir, "summary"),
	}
	for name, value := range r.env {
		cmd.Env = append(cmd.Env, name+"="+value)
	}
	for name, expression := range s.Env {
		input, ok := strings.CutPrefix(expression, "${{ inputs.")
		if !ok && expression != "${{ github.action_repository }}" {
			t.Fatalf("%s: %s: the runner of this test does not know that", name, expression)
		}
		cmd.Env = append(cmd.Env, name+"="+r.inputs[strings.TrimSuffix(input, " }}")])
	}
	for _, old := range []string{"output", "summary", "asked"} {
		_ = os.Remove(filepath.Join(r.dir, old)) // there may be none
	}
	out, _ := cmd.CombinedOutput() // the status says it
	if cmd.ProcessState == nil {
		t.Fatal("bash did not run")
	}
	if left, err := os.ReadDir(temp); err != nil || len(left) > 0 {
		t.Errorf("left behind: %v %v", left, err)
	}
	if strings.Contains(string(out), "job-token") {
		t.Errorf("the log holds the token:\n%s", out)
	}
	return cmd.ProcessState.ExitCode(), string(out)
}

func (r *review) read(name string) string {
	r.t.Helper()
	content, err := os.ReadFile(filepath.Join(r.dir, name))
	if err != nil && !os.IsNotExist(err) {
		r.t.Fatal(err)
	}
	return string(content)
}

// wants holds that texts stand in another.
func wants(t *testing.T, what, text string, parts ...string) {
	t.Helper()
	for _, part := range parts {
		if !strings.Contains(text, part) {
			t.Errorf("%s lacks %q:\n%s", what, part, text)
		}
	}
}

func TestCheckAction(t *testing.T) {
	t.Parallel()
	t.Run("nothing to say", func(t *testing.T) {
		t.Parallel()
		r := newReview(t)
		status, log := r.run()
		if status != 0 || len(r.hub.written) != 0 {
			t.Fatalf("status %d, written %q\n%s", status, r.hub.written, log)
		}
		wants(t, "the summary", r.read("summary"), "nothing is wrong", "| check | ok |", "| tests | ok |", "| invariants | ok |", "| change of access | none |")
		wants(t, "what was asked", r.read("asked"), "trust check --config=cambio.yaml\n", "trust test --config=cambio.yaml\n", "trust prove --config=cambio.yaml\n",
			"trust diff "+strings.Repeat("a", 40)+" -o json --config=cambio.yaml\n")
		if seen := r.read("seen"); strings.Contains(seen, "job-token") || strings.Contains(seen, "id-secret") {
			t.Errorf("the client sees what the job may do:\n%s", seen)
		}
	})

	t.Run("one comment", func(t *testing.T) {
		t.Parallel()
		r := newReview(t)
		// Somebody wrote the marker before, on the first of two pages.
		r.hub.comments = append(r.hub.comments, map[string]any{"id": 1, "body": marker + "mine", "user": map[string]string{"type": "User"}})
		for i := range 120 {
			r.hub.comments = append(r.hub.comments, map[string]any{"id": 2 + i, "body": nil, "user": map[string]string{"type": "Bot"}})
		}
		r.says("diff", 0, `{"effect": "grows", "items": [{}]}`, "")
		r.says("markdown", 0, "+ `payments` may get **orders-api**\n", "")
		status, log := r.run()
		if status != 0 || len(r.hub.written) != 1 {
			t.Fatalf("status %d, written %q\n%s", status, r.hub.written, log)
		}
		wants(t, "the comment", r.hub.written[0], marker+"### Cambio: nothing is wrong", "| change of access | **grows** |", "\n+ `payments` may get **orders-api**\n")
		if readPairs(t, r.read("output"))["effect"] != "grows" {
			t.Errorf("outputs %q", r.read("output"))
		}
		r.says("diff", 0, `{"effect": "none", "items": []}`, "")
		r.says("markdown", 0, "No change of access.\n", "")
		if status, log = r.run(); status != 0 || len(r.hub.written) != 2 {
			t.Fatalf("status %d, written %q\n%s", status, r.hub.written, log)
		}
		wants(t, "the comment", r.hub.written[1], "edited 1121\n"+marker, "No change of access.")
	})

	for name, c := range map[string]struct {
		change  func(*review)
		status  int
		summary []string
		comment bool
	}{
		"a finding": {func(r *review) {
			r.says("check", 3, "", "trust/a.yaml:1:2: error: <img src=x> @everyone\r# title [x]\n")
			r.says("test", 3, "", "")
			r.says("diff", 3, "", "")
		}, 1, []string{"something is wrong", "| check | **failed** (3) |", "| tests | not run: the documents do not load |", "| change of access | not compared:", "#### check\n\n    trust/a.yaml:1:2: error: <img src=x> @everyone # title [x]\n"}, true},
		"a warning":          {func(r *review) { r.says("check", 0, "ok\n", "a.yaml:1:1: warning: y [z]\n") }, 0, []string{"| check | ok |", "    a.yaml:1:1: warning: y [z]\n"}, true},
		"a failed test":      {func(r *review) { r.says("test", 1, "8 of 9\n", "a.yaml:1:1: error: x [test-failed]\n") }, 1, []string{"| tests | **failed** (1) |", "    a.yaml:1:1: error: x [test-failed]\n"}, true},
		"a broken invariant": {func(r *review) { r.says("prove", 1, "no-pr: broken\n", "") }, 1, []string{"| invariants | **failed** (1) |", "#### invariants\n\n    no-pr: broken\n"}, true},
		"no base there":      {func(r *review) { r.says("diff", 1, "", "error: no such revision\n") }, 1, []string{"| change of access | **failed** (1) |", "fetch-depth: 0"}, true},
		"growth": {func(r *review) {
			r.says("diff", 0, `{"effect": "undecided", "items": [{}]}`, "")
			r.inputs["fail-on-growth"] = "true"
		}, 1, []string{"**may grow**"}, true},
		"growth behind documents that do not load": {func(r *review) {
			r.says("diff", 3, "", "error: HEAD:trust/a.yaml:1:1: unknown target\n")
			r.inputs["fail-on-growth"] = "true"
		}, 1, []string{"| change of access | not compared:"}, true},
		"growth of the configuration": {func(r *review) { r.configure(); r.inputs["fail-on-growth"] = "true" }, 1, []string{"| configuration | **changed**", "something is wrong"}, true},
		"another configuration":       {func(r *review) { r.configure() }, 0, []string{"| configuration | **changed**", "nothing is wrong"}, true},
		"no comment wanted":           {func(r *review) { r.says("prove", 1, "x\n", ""); r.inputs["comment"] = "false" }, 1, []string{"invariants"}, false},
		"a push": {func(r *review) {
			r.env["GITHUB_EVENT_NAME"] = "push"
			if err := os.WriteFile(filepath.Join(r.dir, "event.json"), []byte("{}"), 0o600); err != nil {
				r.t.Fatal(err)
			}
			r.says("prove", 1, "x\n", "")
		}, 1, []string{"| change of access | not compared: no base |"}, false},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			r := newReview(t)
			c.change(r)
			status, log := r.run()
			if status != c.status || (len(r.hub.written) == 1) != c.comment {
				t.Fatalf("status %d, written %q\n%s", status, r.hub.written, log)
			}
			wants(t, "the summary", r.read("summary"), c.summary...)
			if c.comment {
				wants(t, "the comment", r.hub.written[0], c.summary...)
			}
			if status != 0 {
				wants(t, "the log", log, "\n::error title=Cambio: the trust documents::")
			}
		})
	}

	// The token of a fork's pull request reads, and so may the job's.
	for name, change := range map[string]func(*review){
		"a fork":     func(r *review) { r.event("eve/trust") },
		"no right":   func(r *review) { r.hub.refuses = true },
		"no token":   func(r *review) { r.inputs["token"] = "" },
		"a deletion": func(r *review) { r.event("") },
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			r := newReview(t)
			r.says("diff", 0, `{"effect": "grows", "items": [{}]}`, "")
			change(r)
			status, log := r.run()
			if status != 0 || len(r.hub.written) != 0 {
				t.Fatalf("status %d, written %q\n%s", status, r.hub.written, log)
			}
			wants(t, "the summary", r.read("summary"), "**grows**")
			wants(t, "the log", log, "::notice::Cambio: no ")
		})
	}

	t.Run("a long report", func(t *testing.T) {
		t.Parallel()
		r := newReview(t)
		r.says("diff", 0, `{"effect": "grows", "items": [{}]}`, "")
		r.says("markdown", 0, strings.Repeat(strings.Repeat("é", 99)+"\n", 1000), "")
		status, log := r.run()
		if status != 0 || len(r.hub.written) != 1 {
			t.Fatalf("status %d\n%s", status, log)
		}
		body := r.hub.written[0]
		if n := len([]rune(body)); n > 65536 || n < 50000 || !strings.HasSuffix(body, "é\n\nThe rest is in the summary of the job.\n") {
			t.Errorf("%d characters, ends with %q", n, body[len(body)-80:])
		}
		if n := strings.Count(r.read("summary"), "é\n"); n != 1000 {
			t.Errorf("the summary has %d lines", n)
		}
	})

	t.Run("findings for code scanning", func(t *testing.T) {
		t.Parallel()
		r := newReview(t)
		r.inputs["sarif"], r.inputs["strict"], r.inputs["min-coverage"] = "true", "true", "80"
		status, log := r.run()
		if status != 0 || r.hub.sarif["version"] != "2.1.0" {
			t.Fatalf("status %d: %v\n%s", status, r.hub.sarif, log)
		}
		wants(t, "what was asked", r.read("asked"), "trust check --strict --config", "trust test --min-coverage=80 --config", "trust check -o sarif --config")
		r.hub.refuses = true
		if status, log = r.run(); status != 0 || !strings.Contains(log, "security-events: write") {
			t.Errorf("status %d\n%s", status, log)
		}
	})
}

// TestCheckActionRefuses what it cannot use, before anything is run.
func TestCheckActionRefuses(t *testing.T) {
	t.Parallel()
	for name, change := range map[string]func(*review){
		"pull_request_target": func(r *review) { r.env["GITHUB_EVENT_NAME"] = "pull_request_target" },
		"another API":         func(r *review) { r.env["GITHUB_API_URL"] = "http://api.invalid" },
		"an API and a user":   func(r *review) { r.env["GITHUB_API_URL"] = "http://127.0.0.1:80@api.invalid" },
		"a flag as base":      func(r *review) { r.inputs["base"] = "--old-config=/etc/passwd" },
		"a folder as base": func(r *review) {
			if err := os.Mkdir(filepath.Join(r.dir, strings.Repeat("a", 40)), 0o700); err != nil {
				r.t.Fatal(err)
			}
		},
		"words as base":    func(r *review) { r.inputs["base"] = "main -o json" },
		"neither":          func(r *review) { r.inputs["strict"] = "yes" },
		"no percentage":    func(r *review) { r.inputs["min-coverage"] = "$(id)" },
		"no version":       func(r *review) { r.inputs["version"] = "" },
		"another sum":      func(r *review) { r.inputs["sha256"] = strings.Repeat("0", 64) },
		"no configuration": func(r *review) { r.inputs["config"] = "" },
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			r := newReview(t)
			change(r)
			status, log := r.run()
			if status == 0 || r.read("asked") != "" || len(r.hub.written) != 0 {
				t.Errorf("status %d, asked %q\n%s", status, r.read("asked"), log)
			}
			wants(t, "the log", log, "::error title=Cambio: ")
		})
	}
}

// TestCheckActionAgainstInjection: what the client says of documents is text, in the
// log, in the summary and in the comment.
func TestCheckActionAgainstInjection(t *testing.T) {
	t.Parallel()
	r := newReview(t)
	r.inputs["config"] = "x $(touch ran) `touch ran`; touch ran"
	r.inputs["base"] = "main~1"
	hostile := "::set-output name=a::b\n::add-path::/tmp\n" + marker + "# big\n![x](https://eve.invalid/)\n"
	r.says("check", 3, hostile, hostile)
	r.says("prove", 1, hostile, hostile)
	r.says("diff", 0, `{"effect": "grows\n::add-path::/tmp", "items": [{}]}`, hostile)
	status, log := r.run()
	if status != 1 || len(r.hub.written) != 1 || r.read("ran") != "" {
		t.Fatalf("status %d\n%s", status, log)
	}
	if _, err := os.Stat(filepath.Join(r.dir, "ran")); err == nil {
		t.Error("an input was run")
	}
	open := regexp.MustCompile(`(?s)::stop-commands::([0-9a-f]{32})\n.*?\n::[0-9a-f]{32}::\n`).ReplaceAllString(log, "")
	for line := range strings.Lines(open) {
		if !strings.HasPrefix(line, "::error title=Cambio: ") && !strings.HasPrefix(line, "::notice::Cambio: ") {
			t.Errorf("the log has the line %q", line)
		}
	}
	for what, text := range map[string]string{"summary": r.read("summary"), "comment": strings.TrimPrefix(r.hub.written[0], marker)} {
		for line := range strings.Lines(text) {
			for _, begin := range []string{"<", "::", "# big", "!["} {
				if strings.HasPrefix(line, begin) {
					t.Errorf("the %s has the line %q", what, line)
				}
			}
		}
	}
}

// TestCheckActionWithTheClient reviews a real change with the real program: a trust
// that lets in one more branch, and breaks an invariant.
func TestCheckActionWithTheClient(t *testing.T) {
	t.Parallel()
	r := newReview(t)
	release := tarballOf(t, program(t))
	mirror := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { _, _ = w.Write(release.content) }))
	t.Cleanup(mirror.Close)
	sum := sha256.Sum256(release.content)
	r.inputs["sha256"], r.inputs["base-url"], r.inputs["base"], r.inputs["sarif"] = hex.EncodeToString(sum[:]), mirror.URL, "HEAD", "true"
	write := func(name, text string) {
		path := filepath.Join(r.dir, name)
		if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	const trust = `name: payments
owner: payments-team@acme.example
purpose: Deploys payments from main
from: github
match: {repository_owner_id: "9919", repository_id: "41881900", ref: refs/heads/main, runner_environment: github-hosted}
grants: [{to: orders-api, scopes: ["orders:read"], ttl: 10m}]
`
	write("cambio.yaml", `issuer: https://id.acme.example
identity_providers: {github: {type: github-actions, audience: "https://id.acme.example"}}
targets: {orders-api: {type: jwt, audience: "https://orders.acme.example"}}
`)
	write("trust/payments.yaml", trust)
	write("trust/payments_test.yaml", "trust: payments\ntests: [{name: main, ask: {to: orders-api}, expect: allow}]\n")
	write("trust/main.yaml", `invariant: main-alone
owner: security@acme.example
purpose: Only main gets anything
from: [github]
always: claims.ref == "refs/heads/main"
`)
	for _, args := range [][]string{{"init", "-q"}, {"add", "cambio.yaml", "trust"}, {"-c", "user.name=a", "-c", "user.email=a@b.example", "commit", "-q", "-m", "x"}} {
		cmd := exec.CommandContext(t.Context(), "git", args...)
		cmd.Dir, cmd.Env = r.dir, []string{"PATH=" + os.Getenv("PATH"), "HOME=" + r.dir}
		if out, err := cmd.CombinedOutput(); err != nil {
			t.Fatalf("git %v: %v\n%s", args, err, out)
		}
	}
	if status, log := r.run(); status != 0 || readPairs(t, r.read("output"))["effect"] != "none" || r.hub.sarif["version"] != "2.1.0" {
		t.Fatalf("as it was: status %d, output %q\n%s\n%s", status, r.read("output"), r.read("summary"), log)
	}
	write("trust/payments.yaml", strings.Replace(trust, "refs/heads/main", "[refs/heads/main, refs/heads/next]", 1))
	status, log := r.run()
	if status != 1 || readPairs(t, r.read("output"))["effect"] != "grows" || len(r.hub.written) == 0 {
		t.Fatalf("status %d, output %q\n%s\n%s", status, r.read("output"), r.read("summary"), log)
	}
	wants(t, "the comment", r.hub.written[len(r.hub.written)-1], "something is wrong", "| invariants | **failed** (1) |", "| tests | ok |", "main-alone", "refs/heads/next")
}

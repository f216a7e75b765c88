package test

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"crypto/rand"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"maps"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"runtime"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"go.yaml.in/yaml/v4"

	"cambio/client"
	"cambio/standin"
	"cambio/test/rig"
)

const (
	actionVersion = "v9.9.9"
	actionFolder  = "deploy/github-action"
)

// actionFile is an action.yml.
type actionFile struct {
	Name, Description string
	Inputs            map[string]struct {
		Description string
		Required    bool
		Default     *string
	}
	Outputs map[string]struct{ Description, Value string }
	Runs    struct {
		Using string
		Steps []struct {
			ID, Shell, Run string
			Env            map[string]string
		}
	}
}

func readAction(t *testing.T, folder string) actionFile {
	t.Helper()
	d := yaml.NewDecoder(strings.NewReader(document(t, folder+"/action.yml")))
	d.KnownFields(true)
	var a actionFile
	if err := d.Decode(&a); err != nil {
		t.Fatal(err)
	}
	return a
}

// runner is what a job's step finds: files to write to, a tarball to fetch, the
// job's identity.
type runner struct {
	t                    *testing.T
	dir                  string
	idp                  *standin.IdentityProvider
	inputs               map[string]string
	env, output, summary string // the three files
	outputTo             string // overrides GITHUB_ENV
	identity             []string
	repository           string // of the action
}

// packed is a release's tarball.
type packed struct {
	name    string
	content []byte
}

// tarballOf is a release with this program in it.
func tarballOf(t *testing.T, program []byte) packed {
	t.Helper()
	base := fmt.Sprintf("cambio_%s_%s_%s", actionVersion[1:], runtime.GOOS, runtime.GOARCH)
	var out bytes.Buffer
	z, err := gzip.NewWriterLevel(&out, gzip.BestSpeed)
	if err != nil {
		t.Fatal(err)
	}
	w := tar.NewWriter(z)
	if err := w.WriteHeader(&tar.Header{Name: base + "/cambio", Mode: 0o755, Size: int64(len(program)), ModTime: time.Unix(1, 0)}); err != nil {
		t.Fatal(err)
	}
	if _, err := w.Write(program); err != nil {
		t.Fatal(err)
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	if err := z.Close(); err != nil {
		t.Fatal(err)
	}
	return packed{base + ".tar.gz", out.Bytes()}
}

// newRunner is a job of acme/payments on main, beside a mirror that holds this
// release.
func newRunner(t *testing.T, idp *standin.IdentityProvider, server string, release packed) *runner {
	t.Helper()
	mirror := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path != "/releases/"+actionVersion+"/"+release.name {
			http.NotFound(w, r)
			return
		}
		_, _ = w.Write(release.content) // the client says when it got less
	}))
	t.Cleanup(mirror.Close)
	sum := sha256.Sum256(release.content)
	r := &runner{t: t, dir: t.TempDir(), idp: idp, identity: idp.Environment(), inputs: map[string]string{
		"server": server, "to": "orders-api", "version": actionVersion,
		"sha256": hex.EncodeToString(sum[:]), "base-url": mirror.URL + "/releases",
	}}
	r.env, r.output, r.summary = filepath.Join(r.dir, "env"), filepath.Join(r.dir, "output"), filepath.Join(r.dir, "summary")
	return r
}

// step runs the action's step as a runner would, and returns its status and its
// log.
func (r *runner) step() (status int, log string) {
	t := r.t
	t.Helper()
	a := readAction(t, actionFolder)
	s := a.Runs.Steps[0]
	out, err := os.Create(filepath.Join(r.dir, "log"))
	if err != nil {
		t.Fatal(err)
	}
	defer out.Close()
	script := filepath.Join(r.dir, "step.sh")
	if err := os.WriteFile(script, []byte(s.Run), 0o600); err != nil {
		t.Fatal(err)
	}
	path, err := filepath.Abs(filepath.Join(root, "deploy", "github-action"))
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.CommandContext(t.Context(), "bash", "--noprofile", "--norc", "-e", "-o", "pipefail", script)
	temp := t.TempDir()
	env := r.env
	if r.outputTo != "" {
		env = r.outputTo
	}
	cmd.Env = append([]string{
		"PATH=" + os.Getenv("PATH"), "HOME=" + r.dir, "RUNNER_TEMP=" + temp, "GITHUB_ACTION_PATH=" + path,
		"GITHUB_ENV=" + env, "GITHUB_OUTPUT=" + r.output, "GITHUB_STEP_SUMMARY=" + r.summary,
		"GITHUB_SERVER_URL=https://github.invalid", "GITHUB_REPOSITORY=acme/payments",
	}, r.identity...)
	for name, expression := range s.Env {
		input, ok := strings.CutPrefix(expression, "${{ inputs.")
		value := r.inputs[strings.TrimSuffix(input, " }}")]
		switch {
		case expression == "${{ github.action_repository }}":
			value = r.repository
		case !ok:
			t.Fatalf("%s: %s: the runner of this test does not know that", name, expression)
		}
		cmd.Env = append(cmd.Env, name+"="+value)
	}
	cmd.Stdout, cmd.Stderr = out, out
	if err := cmd.Run(); cmd.ProcessState == nil {
		t.Fatal(err)
	}
	if left, err := os.ReadDir(temp); err != nil || len(left) > 0 {
		t.Errorf("left behind: %v %v", left, err)
	}
	return cmd.ProcessState.ExitCode(), r.read(out.Name())
}

// read is a file's content; a file that was not written is empty.
func (r *runner) read(path string) string {
	r.t.Helper()
	content, err := os.ReadFile(path)
	if err != nil && !os.IsNotExist(err) {
		r.t.Fatal(err)
	}
	return string(content)
}

// readPairs reads a file in the form of GITHUB_ENV as the runner does.
func readPairs(t *testing.T, content string) map[string]string {
	t.Helper()
	pairs := map[string]string{}
	lines := strings.Split(strings.TrimSuffix(content, "\n"), "\n")
	for i := 0; i < len(lines) && content != ""; i++ {
		name, mark, ok := strings.Cut(lines[i], "<<")
		if !ok || !regexp.MustCompile(`^cambio_[0-9a-f]{32}$`).MatchString(mark) {
			t.Fatalf("line %d is no NAME<<MARK with a random mark", i+1)
		}
		var value []string
		for i++; i < len(lines) && lines[i] != mark; i++ {
			value = append(value, lines[i])
		}
		pairs[name] = strings.Join(value, "\n")
	}
	return pairs
}

// actionGateway is a gateway that GitHub's stand-in is known to.
func actionGateway(t *testing.T) (*standin.IdentityProvider, string) {
	t.Helper()
	listen := freeAddress(t)
	r := rig.New(t, rig.Setup{Config: `issuer: http://` + listen + `
listen: ` + listen + `
admin_listen: ` + freeAddress(t) + `
identity_providers:
  github: {type: github-actions, issuer: "{{ISS1}}", audience: "http://` + listen + `", insecure_loopback: true}
targets:
  orders-api: {type: jwt, audience: "https://orders.acme.example"}
`, Trusts: map[string]string{"payments-deploy.yaml": `name: payments-deploy
owner: payments-team@acme.example
purpose: Deploys payments from main
from: github
match: {repository_owner_id: "9919", repository_id: "41881900", ref: refs/heads/main}
grants:
  - {to: orders-api, scopes: ["orders:read", "orders:write"], ttl: 10m}
`}})
	r.ISS1.SetJob(map[string]any{
		"sub":        "repo:acme@9919/payments@41881900:ref:refs/heads/main",
		"repository": "acme/payments", "repository_id": "41881900", "repository_owner_id": "9919",
	})
	serveRig(t, r)
	return r.ISS1, "http://" + listen
}

func program(t *testing.T) []byte {
	t.Helper()
	file, err := binary()
	if err != nil {
		t.Fatalf("the program does not build: %v", err)
	}
	content, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	return content
}

// TestActionFile holds what cannot be seen in a run: that nothing but variables
// reaches the script, and that every input does.
func TestActionFile(t *testing.T) {
	t.Parallel()
	for folder, page := range map[string]string{actionFolder: "docs/how-to/github-action.md", checkFolder: "docs/how-to/review-trust-changes.md"} {
		holdsAction(t, folder, page)
	}
	for line := range strings.Lines(document(t, "deploy/github-action/releases.txt")) {
		if !strings.HasPrefix(line, "#") && !regexp.MustCompile(`^v\S+ [0-9a-f]{64} cambio_\S+\.tar\.gz\n$`).MatchString(line) {
			t.Errorf("releases.txt: %q", line)
		}
	}
}

func holdsAction(t *testing.T, folder, page string) {
	t.Helper()
	a := readAction(t, folder)
	if a.Runs.Using != "composite" || len(a.Runs.Steps) != 1 {
		t.Fatalf("one composite step is wanted: %+v", a.Runs)
	}
	var used []string
	for _, s := range a.Runs.Steps {
		if strings.Contains(s.Run, "${{") {
			t.Errorf("an expression in a script is a program of whoever controls its value: %s", s.Run)
		}
		for _, expression := range s.Env {
			if input, ok := strings.CutPrefix(expression, "${{ inputs."); ok {
				used = append(used, strings.TrimSuffix(input, " }}"))
			}
		}
	}
	slices.Sort(used)
	if got := slices.Sorted(maps.Keys(a.Inputs)); !slices.Equal(got, used) {
		t.Errorf("inputs %v, used %v", got, used)
	}
	for name, input := range a.Inputs {
		if input.Description == "" || input.Required == (input.Default != nil) {
			t.Errorf("input %s needs a description, and is required or has a default", name)
		}
	}
	if got := slices.DeleteFunc(keysOf(rows(t, document(t, page))), func(k string) bool { return k == "ID" }); !slices.Equal(got, used) {
		t.Errorf("%s tells of the inputs %v", page, got)
	}
	for _, script := range []string{"exchange.sh", "common.sh", "check/check.sh"} {
		if text := document(t, actionFolder+"/"+script); strings.Contains(text, "eval ") || strings.Contains(text, "${{") || strings.Contains(text, "set -x") {
			t.Errorf("%s evaluates text, or shows what it does", script)
		}
	}
}

// TestAction runs the action against a real gateway.
func TestAction(t *testing.T) {
	t.Parallel()
	idp, server := actionGateway(t)
	real := tarballOf(t, program(t))

	t.Run("allowed", func(t *testing.T) {
		t.Parallel()
		r := newRunner(t, idp, server, real)
		r.inputs["scope"], r.inputs["ttl"], r.inputs["trust"] = "orders:read", "5m", "payments-deploy"
		status, log := r.step()
		if status != 0 {
			t.Fatalf("status %d\n%s", status, log)
		}
		env, output := readPairs(t, r.read(r.env)), readPairs(t, r.read(r.output))
		token := env["CAMBIO_ACCESS_TOKEN"]
		claims, err := client.Unverified(token)
		if err != nil || claims["scope"] != "orders:read" || claims["iss"] != server {
			t.Fatalf("the credential is none: %v %v", claims, err)
		}
		if strings.Count(log, token) != 1 || !strings.Contains(log, "::add-mask::"+token+"\n") {
			t.Error("the log holds the token elsewhere than in its mask")
		}
		if output["decision-id"] != env["CAMBIO_DECISION_ID"] || output["expires-at"] == "" || strings.Contains(r.read(r.output), token) {
			t.Errorf("outputs %v", output)
		}
		for _, want := range []string{"`orders-api`", "`payments-deploy`", output["decision-id"], output["expires-at"]} {
			if s := r.read(r.summary); !strings.Contains(s, want) || strings.Contains(s, token) {
				t.Errorf("the summary lacks %s, or holds the token:\n%s", want, s)
			}
		}
	})

	t.Run("masked before it is set", func(t *testing.T) {
		t.Parallel()
		r := newRunner(t, idp, server, real)
		// A pipe that nobody reads yet: the script stops at its first write to it.
		r.outputTo = filepath.Join(r.dir, "pipe")
		if err := syscall.Mkfifo(r.outputTo, 0o600); err != nil {
			t.Fatal(err)
		}
		masked := make(chan bool, 1)
		go func() {
			mask := regexp.MustCompile(`(?m)^::add-mask::eyJ.+\n`)
			found := false
			for deadline := time.Now().Add(20 * time.Second); !found && time.Now().Before(deadline); time.Sleep(5 * time.Millisecond) {
				log, _ := os.ReadFile(filepath.Join(r.dir, "log")) // there is none yet
				found = mask.Match(log)
			}
			pipe, err := os.OpenFile(r.outputTo, os.O_RDWR, 0) // lets the script go on; it holds all that is written
			masked <- found && err == nil
			if err == nil {
				defer pipe.Close()
				<-t.Context().Done()
			}
		}()
		status, log := r.step()
		if !<-masked || status != 0 {
			t.Errorf("status %d; nothing was masked before the first value was set\n%s", status, log)
		}
	})

	t.Run("refused", func(t *testing.T) {
		t.Parallel()
		r := newRunner(t, idp, server, real)
		r.inputs["to"] = "billing-api"
		status, log := r.step()
		r.nothingSet(status, 6, log)
		decision := readPairs(t, r.read(r.output))["decision-id"]
		for _, want := range []string{"the exchange was refused", "    error: invalid_target", "cambio audit show " + decision, "docs/reference/reasons.md"} {
			if s := r.read(r.summary); decision == "" || !strings.Contains(s, want) {
				t.Errorf("the summary lacks %q:\n%s", want, s)
			}
		}
		if !strings.Contains(log, "::error title=Cambio: the exchange was refused::error: invalid_target") {
			t.Errorf("the log has no annotation:\n%s", log)
		}
	})

	t.Run("no permission", func(t *testing.T) {
		t.Parallel()
		r := newRunner(t, idp, server, real)
		r.identity = []string{"GITHUB_ACTIONS=true"}
		r.inputs["base-url"] = "https://mirror.invalid" // nothing is fetched for nothing
		status, log := r.step()
		r.nothingSet(status, 4, log)
		if s := r.read(r.summary); !strings.Contains(s, "    permissions:\n      id-token: write\n      contents: read\n") {
			t.Errorf("no YAML to paste:\n%s", s)
		}
		if !strings.Contains(log, "permissions:%0A  id-token: write%0A") {
			t.Errorf("no YAML in the annotation:\n%s", log)
		}
	})

	for what, change := range map[string]func(*runner){
		"wrong checksum":         func(r *runner) { r.inputs["sha256"] = strings.Repeat("a", 64) },
		"no checksum":            func(r *runner) { r.inputs["sha256"] = "" },
		"a pattern as checksum":  func(r *runner) { r.inputs["sha256"] = ".*" },
		"another version's name": func(r *runner) { r.inputs["version"] = "v9.9.8" },
		"a path as version":      func(r *runner) { r.inputs["version"] = "v9.9.9/../../v9.9.9" },
		"no version":             func(r *runner) { r.inputs["version"] = "" },
		"plain http":             func(r *runner) { r.inputs["base-url"] = "http://mirror.invalid/releases" },
		"a user before a host": func(r *runner) {
			r.inputs["base-url"] = strings.Replace(r.inputs["base-url"], "127.0.0.1", "localhost:x@127.0.0.1", 1)
		},
		"a user with https": func(r *runner) { r.inputs["base-url"] = "https://github.com@127.0.0.1:1/releases" },
		"a port and a user": func(r *runner) {
			r.inputs["base-url"] = strings.Replace(r.inputs["base-url"], "127.0.0.1", "127.0.0.1:80@127.0.0.1", 1)
		},
		"no repository":  func(r *runner) { r.inputs["base-url"] = "" },
		"another scheme": func(r *runner) { r.inputs["base-url"] = "ftp://127.0.0.1/releases" },
	} {
		t.Run(what, func(t *testing.T) {
			t.Parallel()
			ran := filepath.Join(t.TempDir(), "ran")
			r := newRunner(t, idp, server, tarballOf(t, fmt.Appendf(nil, "#!/bin/sh\n: >%s\n", ran)))
			change(r)
			status, log := r.step()
			r.nothingSet(status, status, log)
			if _, err := os.Stat(ran); err == nil || status == 0 {
				t.Errorf("status %d, and the program ran: %v\n%s", status, err == nil, log)
			}
			if !strings.HasPrefix(log, "::error title=Cambio: ") && !strings.Contains(log, "\n::error title=Cambio: ") {
				t.Errorf("no annotation:\n%s", log)
			}
		})
	}

	t.Run("where releases are", func(t *testing.T) {
		t.Parallel()
		r := newRunner(t, idp, server, real)
		r.inputs["base-url"] = ""
		status, log := r.step()
		r.nothingSet(status, 2, log)
		if !strings.Contains(log, "with the input base-url, such as") {
			t.Errorf("it does not say what to write:\n%s", log)
		}
		r.repository = "acme/cambio"
		status, log = r.step()
		r.nothingSet(status, 7, log)
		if want := "https://github.invalid/acme/cambio/releases/download/" + actionVersion + "/" + real.name; !strings.Contains(log, want) {
			t.Errorf("not fetched from %s:\n%s", want, log)
		}
	})

	t.Run("another audience", func(t *testing.T) {
		t.Parallel()
		r := newRunner(t, idp, server, real)
		r.inputs["audience"] = "https://elsewhere.acme.example"
		status, log := r.step()
		r.nothingSet(status, 6, log) // the gateway wants its own, which it says
		if !strings.Contains(log, "The token's audience is not ours; ask for "+server) {
			t.Errorf("the token was for the default:\n%s", log)
		}
		r.inputs["server"], r.inputs["audience"] = strings.Replace(server, "127.0.0.1", "localhost", 1), server
		if status, log := r.step(); status != 0 {
			t.Errorf("status %d\n%s", status, log)
		}
	})

	t.Run("a configuration of curl", func(t *testing.T) {
		t.Parallel()
		r := newRunner(t, idp, server, real)
		trace := filepath.Join(r.dir, "trace")
		if err := os.WriteFile(filepath.Join(r.dir, ".curlrc"), []byte("trace-ascii = "+trace+"\n"), 0o600); err != nil {
			t.Fatal(err)
		}
		if status, log := r.step(); status != 0 {
			t.Errorf("status %d\n%s", status, log)
		}
		if _, err := os.Stat(trace); err == nil {
			t.Error("curl read the runner's own file")
		}
	})

	t.Run("a file of a mirror", func(t *testing.T) {
		t.Parallel()
		r := newRunner(t, idp, server, real)
		dir := filepath.Join(r.dir, "mirror", actionVersion)
		if err := os.MkdirAll(dir, 0o700); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(filepath.Join(dir, real.name), real.content, 0o600); err != nil {
			t.Fatal(err)
		}
		r.inputs["base-url"] = "file://" + filepath.Dir(dir)
		r.inputs["sha256"] = strings.Repeat("b", 64) + "\n " + r.inputs["sha256"] // one for each platform of a matrix
		if status, log := r.step(); status != 0 {
			t.Errorf("status %d\n%s", status, log)
		}
	})
}

// nothingSet fails the test unless the step ended so and set no variable.
func (r *runner) nothingSet(status, want int, log string) {
	r.t.Helper()
	if env := r.read(r.env); status != want || env != "" || strings.Contains(log, "::add-mask::") {
		r.t.Errorf("status %d, want %d; set: %q\n%s", status, want, env, log)
	}
}

// TestActionAgainstInjection: inputs are values and never programs or flags, and
// what a client or a gateway says is text.
func TestActionAgainstInjection(t *testing.T) {
	t.Parallel()
	idp, err := standin.New(standin.Config{Now: time.Now, Rand: rand.Reader})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = idp.Close() })
	says := func(stdout, stderr string, status int) packed {
		return tarballOf(t, fmt.Appendf(nil, "#!/bin/sh\nprintf '%%s\\n' \"$@\" >\"$HOME/arguments\"\ncat <<'END'\n%s\nEND\ncat >&2 <<'END'\n%s\nEND\nexit %d\n", stdout, stderr, status))
	}
	const good = "export CAMBIO_DECISION_ID='d'\nexport CAMBIO_EXPIRES_AT='t'"

	t.Run("inputs", func(t *testing.T) {
		t.Parallel()
		r := newRunner(t, idp, "https://id.acme.example", says(good+"\nexport CAMBIO_ACCESS_TOKEN='x'\nexport PATH='/tmp'\nexport LD_PRELOAD='y'", "", 0))
		ran := filepath.Join(r.dir, "ran")
		for _, input := range []string{"to", "audience", "resource", "scope", "ttl", "trust"} {
			r.inputs[input] = "--show $(touch " + ran + ") `touch " + ran + "` '; touch " + ran + "; \"\n| x |"
		}
		if status, log := r.step(); status != 0 {
			t.Fatalf("status %d\n%s", status, log)
		}
		if _, err := os.Stat(ran); err == nil {
			t.Error("an input was run")
		}
		for _, a := range []string{"\n--to=--show $(touch", "\n--audience=--show $(", "\n--resource=--show $(", "\n--scope=--show $(", "\n--ttl=--show $(", "\n--trust=--show $("} {
			if got := r.read(filepath.Join(r.dir, "arguments")); !strings.Contains(got, a) {
				t.Errorf("arguments lack %q: %s", a, got)
			}
		}
		if env := readPairs(t, r.read(r.env)); env["PATH"] != "" || env["LD_PRELOAD"] != "" || env["CAMBIO_ACCESS_TOKEN"] != "x" {
			t.Errorf("set: %v", env)
		}
		if s := r.read(r.summary); strings.Contains(s, "\n| x |") {
			t.Errorf("an input wrote a line of the summary:\n%s", s)
		}
	})

	// Which claim it was stands in the annotation, and in the summary as text.
	t.Run("hint", func(t *testing.T) {
		t.Parallel()
		const id = "0198c2f0-5b1e-7c3a-9d4e-2f6a8b0c1d2e"
		r := newRunner(t, idp, "https://id.acme.example", says("", "error: no (decision_id "+id+")\n  hint: The claim ref is not one.\n  next: ask", 6))
		status, log := r.step()
		if status != 6 || !strings.Contains(log, "::error title=Cambio: the exchange was refused::error: no (decision_id "+id+") The claim ref is not one.\n") {
			t.Errorf("status %d\n%s", status, log)
		}
		for _, want := range []string{"    error: no (decision_id " + id + ")\n      hint: The claim ref is not one.\n", "Decision `" + id + "`"} {
			if s := r.read(r.summary); !strings.Contains(s, want) {
				t.Errorf("the summary lacks %q:\n%s", want, s)
			}
		}
	})

	// What follows a text without a line end must be a command again, or nothing is
	// masked.
	t.Run("no line end", func(t *testing.T) {
		t.Parallel()
		r := newRunner(t, idp, "https://id.acme.example", tarballOf(t, fmt.Appendf(nil,
			"#!/bin/sh\nprintf 'warning' >&2\ncat <<'END'\n%s\nexport CAMBIO_ACCESS_TOKEN='secret'\nEND\n", good)))
		status, log := r.step()
		if pause := regexp.MustCompile(`(?m)^::stop-commands::([0-9a-f]{32})$`).FindStringSubmatch(log); status != 0 || pause == nil || !strings.Contains(log, "warning\n::"+pause[1]+"::\n::add-mask::secret\n") {
			t.Errorf("status %d; commands are not taken again\n%s", status, log)
		}
	})

	// A value of two lines could end the mask, the file's mark or the log's line.
	for what, row := range map[string]struct {
		stdout, stderr string
		status         int
	}{
		"two lines": {good + "\nexport CAMBIO_ACCESS_TOKEN='one\ntwo'", "", 0},
		"a quote": {good + `
export CAMBIO_ACCESS_TOKEN='one'\''two'`, "", 0},
		"more than exports":  {good + "\necho hello", "", 0},
		"no decision":        {"export CAMBIO_ACCESS_TOKEN='x'", "", 0},
		"nothing":            {"", "", 0},
		"commands in a text": {"", "error: no\n::set-output name=a::b\n::add-path::/tmp\n</pre><img src=x>", 6},
		"commands in a hint": {"", "error: no\n  hint: ::add-path::/tmp\r::set-output name=a::b <img src=x>\n  hint: ::add-path::/tmp", 6},
	} {
		t.Run(what, func(t *testing.T) {
			t.Parallel()
			r := newRunner(t, idp, "https://id.acme.example", says(row.stdout, row.stderr, row.status))
			status, log := r.step()
			if status == 0 || r.read(r.env) != "" || strings.Contains(log, "two") {
				t.Errorf("status %d, env %q\n%s", status, r.read(r.env), log)
			}
			// Outside of what is stopped, every line is of our own.
			open := regexp.MustCompile(`(?s)::stop-commands::([0-9a-f]{32})\n.*?::[0-9a-f]{32}::\n`).ReplaceAllString(log, "")
			for line := range strings.Lines(open) {
				if !strings.HasPrefix(line, "::error title=Cambio: ") && !strings.HasPrefix(line, "::add-mask::") {
					t.Errorf("the log has the line %q", line)
				}
			}
			for line := range strings.Lines(r.read(r.summary)) {
				if strings.HasPrefix(line, "<") || strings.HasPrefix(line, "::") {
					t.Errorf("the summary has the line %q", line)
				}
			}
		})
	}
}

// TestActionForAWS: the three variables of AWS, masked, and no JWT.
func TestActionForAWS(t *testing.T) {
	t.Parallel()
	idp, err := standin.New(standin.Config{Now: time.Now, Rand: rand.Reader})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = idp.Close() })
	secrets := map[string]string{
		"AWS_ACCESS_KEY_ID": "ASIAEXAMPLE000000001", "AWS_SECRET_ACCESS_KEY": "wJalr/XUtn+FEMI=K7MDENG", "AWS_SESSION_TOKEN": "IQoJb3JpZ2luX2VjE%0A//x==",
	}
	issued := map[string]any{
		"Version": 1, "AccessKeyId": secrets["AWS_ACCESS_KEY_ID"], "SecretAccessKey": secrets["AWS_SECRET_ACCESS_KEY"],
		"SessionToken": secrets["AWS_SESSION_TOKEN"], "Expiration": time.Now().Add(15 * time.Minute).UTC().Format(time.RFC3339),
	}
	text, err := json.Marshal(issued)
	if err != nil {
		t.Fatal(err)
	}
	gateway := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Type", "application/json")
		if r.URL.Path != "/token" || r.FormValue("audience") != "aws-prod" || r.FormValue("resource") != "arn:aws:iam::111122223333:role/deploy" {
			w.WriteHeader(http.StatusNotFound)
			return
		}
		_ = json.NewEncoder(w).Encode(map[string]any{
			"access_token": string(text), "credentials": issued, "issued_token_type": client.TypeAWS, "token_type": "N_A",
			"expires_in": 900, "decision_id": "01990000-0000-7000-8000-000000000000",
		})
	}))
	t.Cleanup(gateway.Close)
	r := newRunner(t, idp, gateway.URL, tarballOf(t, program(t)))
	r.inputs["to"], r.inputs["resource"] = "aws-prod", "arn:aws:iam::111122223333:role/deploy"
	status, log := r.step()
	if status != 0 {
		t.Fatalf("status %d\n%s", status, log)
	}
	env := readPairs(t, r.read(r.env))
	for name, secret := range secrets {
		masked := "::add-mask::" + strings.ReplaceAll(secret, "%", "%25") + "\n"
		if env[name] != secret || !strings.Contains(log, masked) || strings.Contains(strings.Replace(log, masked, "", 1), secret) {
			t.Errorf("%s is %q; the log:\n%s", name, env[name], log)
		}
	}
	if env["CAMBIO_ACCESS_TOKEN"] != "" || env["CAMBIO_DECISION_ID"] == "" || env["AWS_CREDENTIAL_EXPIRATION"] == "" {
		t.Errorf("set: %v", slices.Sorted(maps.Keys(env)))
	}
}

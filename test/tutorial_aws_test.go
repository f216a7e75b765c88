package test

import (
	"bytes"
	"context"
	"crypto/rand"
	"crypto/sha256"
	"encoding/hex"
	"io"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"runtime"
	"slices"
	"strings"
	"testing"
	"time"

	"go.yaml.in/yaml/v4"

	"cambio/standin"
)

// tutorialAWS has hosts of its own, so that TestTutorialAWS runs it and not
// TestDocumentsRun.
const tutorialAWS = "docs/tutorials/github-actions-to-aws.md"

// ghScript stands in for GitHub's API: it answers the one question of the tutorial.
const ghScript = `#!/bin/sh
[ "$1 $2 $3" = "api repos/acme/payments --jq" ] || { echo "gh: $*" >&2; exit 1; }
echo '{"ref":"refs/heads/main","repository":"acme/payments","repository_id":"41881900","repository_owner_id":"9919"}'
`

// awsScript is Debian's client. It is older than what the program's script asks for,
// and wants a thumbprint, which IAM no longer looks at.
const awsScript = `#!/bin/sh
case "$1 $2" in
"iam create-open-id-connect-provider") set -- "$@" --thumbprint-list 0000000000000000000000000000000000000000 ;;
esac
exec ` + awsProgram + ` "$@"
`

// TestTutorialAWS runs every block of the tutorial as it is written, in order: an
// operator's desk, the jobs of its workflows, and behind a proxy the hosts that
// both call. What differs from a reader's world is where the gateway listens and
// where it finds GitHub and AWS.
//
// Beside what TestDocumentsRun knows, a workflow is run by
//
//	<!-- run: aws job FILE REF -->
//
// and what the output block after it shows is what its last step printed, or the
// summary of the step that failed.
func TestTutorialAWS(t *testing.T) {
	t.Parallel()
	w := newTutorial(t)
	_, sessions := blocks(t, tutorialAWS)
	jobs := 0
	for _, step := range sessions["aws"] {
		words := strings.Fields(step.text)
		switch {
		case step.lang == "sh" && len(words) == 3 && words[0] == "job":
			jobs++
			w.job(words[1], words[2])
		case step.file == "cambio.yaml":
			w.step(step)
			w.place(step.text)
		default:
			w.step(step)
		}
	}
	if unknown := w.sts.Unknown(); len(unknown) > 0 {
		t.Errorf("STS was asked what it does not know: %v", unknown)
	}
	if !slices.Equal(w.account.providers, []string{"https://id.acme.example"}) || !slices.Equal(w.account.roles, []string{awsRole}) {
		t.Errorf("set up in the account: %v %v", w.account.providers, w.account.roles)
	}
	if sessions := w.sts.Sessions(); jobs != 3 || len(sessions) != 2 {
		t.Errorf("%d jobs had %d sessions", jobs, len(sessions))
	}
}

// tutorial is the session of an operator, and the world that his jobs run in.
type tutorial struct {
	*session
	idp           *standin.IdentityProvider
	sts           *standin.STS
	account       *account
	listen, admin string
	hosts         []string // environment: the way to the hosts
	bin           string
	sum           string // SHA-256 of the release
}

func newTutorial(t *testing.T) *tutorial {
	t.Helper()
	program, err := binary()
	if err != nil {
		t.Fatalf("the program does not build: %v", err)
	}
	w := &tutorial{listen: freeAddress(t), admin: freeAddress(t), bin: t.TempDir()}
	if w.idp, err = standin.New(standin.Config{Now: time.Now, Rand: rand.Reader}); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = w.idp.Close() })
	if w.sts, err = standin.NewSTS(standin.STSConfig{Now: time.Now, Rand: rand.Reader}); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = w.sts.Close() })
	for name, script := range map[string]string{"gh": ghScript, "aws": awsScript} {
		if err := os.WriteFile(filepath.Join(w.bin, name), []byte(script), 0o700); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.Symlink(program, filepath.Join(w.bin, "cambio")); err != nil {
		t.Fatal(err)
	}
	w.account = &account{t: t, sts: w.sts}
	asked := w.account.whoami(passTo(t, w.sts.URL()))
	mirror := releases(t, program, "0.2.0", "linux_amd64", runtime.GOOS+"_"+runtime.GOARCH)
	internet := newInternet(t, map[string]http.Handler{
		"id.acme.example": passTo(t, "http://"+w.listen), "github.com": mirror, "iam.amazonaws.com": w.account,
		"sts.eu-central-1.amazonaws.com": asked,
	})
	w.hosts = internet.environment()
	w.account.keys = func() *http.Client { return internet.client(t) }
	w.sum = sumOf(t, internet.client(t), "https://github.com/acme/cambio/releases/download/v0.2.0/cambio_0.2.0_linux_amd64.tar.gz")

	w.session = &session{
		t: t, name: tutorialAWS, dir: t.TempDir(),
		// The gateway alone is told where the stand-ins are.
		replace: strings.NewReplacer("cambio serve", "cambio --config standins.yaml serve", "127.0.0.1:8081", w.admin, releaseSum, w.sum,
			refusedID, "$DECISION_ID", grantedID, "$SESSION"),
	}
	w.env = append([]string{
		"PATH=" + w.bin + string(os.PathListSeparator) + os.Getenv("PATH"), "HOME=" + w.dir, "TMPDIR=" + t.TempDir(), "LC_ALL=C.UTF-8",
		"AWS_ACCESS_KEY_ID=" + adminKey, "AWS_SECRET_ACCESS_KEY=admin", "AWS_REGION=eu-central-1", "AWS_PAGER=", "AWS_EC2_METADATA_DISABLED=true",
	}, w.hosts...)
	return w
}

// releaseSum is what the tutorial shows as the SHA-256 of the release.
const releaseSum = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"

func sumOf(t *testing.T, client *http.Client, url string) string {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, url, nil)
	if err != nil {
		t.Fatal(err)
	}
	res, err := client.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close()
	content, err := io.ReadAll(res.Body)
	if err != nil || res.StatusCode != http.StatusOK {
		t.Fatal(res.Status, err)
	}
	sum := sha256.Sum256(content)
	return hex.EncodeToString(sum[:])
}

// place writes the configuration as the gateway of this test has it.
func (w *tutorial) place(text string) {
	t := w.t
	t.Helper()
	for _, r := range []struct{ from, to string }{
		{"127.0.0.1:8080", w.listen},
		{"127.0.0.1:8081", w.admin},
		{"type: github-actions", "type: github-actions\n    issuer: " + w.idp.Issuer() + "\n    insecure_loopback: true"},
		{"region: eu-central-1", "region: eu-central-1\n    endpoint: " + w.sts.URL()},
	} {
		if strings.Count(text, r.from) != 1 {
			t.Fatalf("%s: cambio.yaml holds %q not once", tutorialAWS, r.from)
		}
		text = strings.Replace(text, r.from, r.to, 1)
	}
	if err := os.WriteFile(filepath.Join(w.dir, "standins.yaml"), []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
}

// workflow is as much of a workflow as the tutorial has.
type workflow struct {
	Name string
	On   any
	Jobs map[string]struct {
		RunsOn      string `yaml:"runs-on"`
		Permissions map[string]string
		Env         map[string]string
		Steps       []workflowStep
	}
}

type workflowStep struct {
	Name, Uses, Run string
	With            map[string]string
}

// job runs the one job of a workflow for a push to ref, as GitHub would: each
// step with a shell of its own, all with what the steps before set.
func (w *tutorial) job(file, ref string) {
	t := w.t
	t.Helper()
	content, err := os.ReadFile(filepath.Join(w.dir, file))
	if err != nil {
		t.Fatal(err)
	}
	d := yaml.NewDecoder(bytes.NewReader(content))
	d.KnownFields(true)
	var flow workflow
	if err := d.Decode(&flow); err != nil || len(flow.Jobs) != 1 {
		t.Fatalf("%s: %v; it has %d jobs", file, err, len(flow.Jobs))
	}
	w.idp.SetJob(map[string]any{
		"sub": "repo:acme@9919/payments@41881900:ref:" + ref, "ref": ref,
		"repository": "acme/payments", "repository_id": "41881900", "repository_owner_id": "9919",
	})
	for _, job := range flow.Jobs {
		env := append([]string{"HOME=" + t.TempDir(), "AWS_PAGER=", "AWS_EC2_METADATA_DISABLED=true", "CI=true"}, w.hosts...)
		for name, value := range job.Env {
			env = append(env, name+"="+value)
		}
		var identity []string
		if job.Permissions["id-token"] == "write" { // else GitHub sets nothing
			identity = w.idp.Environment()
		}
		folder := t.TempDir()
		for _, step := range job.Steps {
			var ok bool
			if env, ok = w.jobStep(folder, step, env, identity); !ok {
				return
			}
		}
	}
}

// jobStep runs one step, and returns what the next one has in its environment;
// false ends the job.
func (w *tutorial) jobStep(folder string, step workflowStep, env, identity []string) ([]string, bool) {
	t := w.t
	t.Helper()
	switch {
	case strings.HasPrefix(step.Uses, "actions/checkout@"):
		return env, true
	case strings.HasPrefix(step.Uses, "acme/cambio/deploy/github-action@"):
		r := &runner{t: t, dir: t.TempDir(), inputs: step.With, identity: slices.Concat(env, identity, []string{"GITHUB_SERVER_URL=https://github.com"})}
		r.repository, _, _ = strings.Cut(step.Uses, "/deploy/")
		r.env, r.output, r.summary = filepath.Join(r.dir, "env"), filepath.Join(r.dir, "output"), filepath.Join(r.dir, "summary")
		status, log := r.step()
		for name, value := range readPairs(t, r.read(r.env)) {
			env = append(env, name+"="+value)
		}
		w.refusal(status, log, r.read(r.summary))
		return env, status == 0
	case step.Run == "" || strings.Contains(step.Run, "${{"):
		t.Fatalf("%s: this runner does not know the step %+v", tutorialAWS, step)
	}
	ctx, end := context.WithTimeout(t.Context(), time.Minute)
	defer end()
	c := exec.CommandContext(ctx, "bash", "--noprofile", "--norc", "-e", "-o", "pipefail", "-c", step.Run)
	c.Dir = folder
	// The program is there only if a step installs it.
	path := t.TempDir()
	if err := os.Symlink(filepath.Join(w.bin, "aws"), filepath.Join(path, "aws")); err != nil {
		t.Fatal(err)
	}
	c.Env = slices.Concat(env, identity, []string{"PATH=" + folder + string(os.PathListSeparator) + path + string(os.PathListSeparator) + os.Getenv("PATH")})
	out, err := c.CombinedOutput()
	if err != nil {
		t.Fatalf("%s: the step\n%s\n%v\n%s", tutorialAWS, step.Run, err, out)
	}
	w.printed = strings.TrimSpace(string(out))
	if m := regexp.MustCompile(`assumed-role/[^/]+/([0-9a-f-]{36})`).FindStringSubmatch(w.printed); m != nil {
		w.env = append(w.env, "SESSION="+m[1])
	}
	return env, true
}

// refusal leaves what people see of a failed step, and the decision that they
// quote.
func (w *tutorial) refusal(status int, log, summary string) {
	if status == 0 {
		return
	}
	if status != exitDeniedStatus {
		w.t.Fatalf("%s: the action ended with %d\n%s", tutorialAWS, status, log)
	}
	w.printed = strings.TrimSpace(summary)
	if m := regexp.MustCompile("Decision `([0-9a-f-]{36})`").FindStringSubmatch(summary); m != nil {
		w.env = append(w.env, "DECISION_ID="+m[1])
	}
}

// exitDeniedStatus is the exit status of a refusal.
const exitDeniedStatus = 6

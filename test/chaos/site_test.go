//go:build chaos

package chaos

import (
	"bytes"
	"context"
	"crypto/rand"
	"io"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"cambio/audit"
	"cambio/standin"
	"cambio/test/rig"
)

// skew is the clock skew of the identity provider. It is small, so that the wait
// after a loss is.
const skew = time.Second

// The repositories, each a workload. All may have t1.
const (
	app     = "2" // never stopped
	stopped = "3" // stopped all along
	late    = "4" // stopped in the middle of something
)

// site is two replicas with shared keys.
type site struct {
	t        *testing.T
	dir      string
	idp      *standin.IdentityProvider
	replicas []*replica
}

// replica is one process of the program, with its configuration.
type replica struct {
	t           *testing.T
	name        string
	dir         string // of its configuration and its state
	url, admin  string
	log         *rig.Buffer
	checkpoints *rig.Buffer // of all its runs

	mu      sync.Mutex
	process *exec.Cmd
	ended   chan struct{}
}

// newSite starts two replicas at once on no keys and a stop list that nobody
// made: redis[i] is the member `redis` of the configuration of replica i. It
// returns when both give credentials, and one workload is stopped.
func newSite(t *testing.T, redis ...string) *site {
	t.Helper()
	keys, err := standin.DefaultKeys(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	idp, err := standin.New(standin.Config{Now: time.Now, Rand: rand.Reader, Audience: "https://gw.test", Keys: keys})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = idp.Close() }) // nobody asks it any more
	s := &site{t: t, dir: t.TempDir(), idp: idp}
	for _, id := range []string{app, stopped, late} {
		write(t, filepath.Join(s.dir, "trust", "repository-"+id+".yaml"), `name: repository-`+id+`
owner: t1-team@acme.test
purpose: main of the repository reads t1
from: iss1
match: {repository_id: "`+id+`", repository_owner_id: "1", ref: refs/heads/main}
grants: [{to: t1, scopes: [read], ttl: 5m}]
`)
	}
	for i, r := range redis {
		s.replicas = append(s.replicas, s.newReplica(string(rune('a'+i)), r))
	}
	for _, r := range s.replicas {
		r.start()
	}
	for _, r := range s.replicas {
		r.ready()
	}
	l := newLoad(s)
	l.recovered(time.Now())
	s.stop(s.replicas[0], stopped)
	return s
}

func (s *site) newReplica(name, redis string) *replica {
	s.t.Helper()
	r := &replica{t: s.t, name: name, dir: filepath.Join(s.dir, name), log: &rig.Buffer{}, checkpoints: &rig.Buffer{}}
	listen, admin := freeAddress(s.t), freeAddress(s.t)
	r.url, r.admin = "http://"+listen, "http://"+admin
	write(s.t, filepath.Join(r.dir, "cambio.yaml"), `issuer: https://gw.test
listen: `+listen+`
admin_listen: `+admin+`
trust: ../trust
keys: ../keys
redis: `+redis+`
limits: {per_address: none, per_workload: none}
identity_providers:
  iss1:
    type: github-actions
    issuer: `+s.idp.Issuer()+`
    audience: https://gw.test
    clock_skew: `+skew.String()+`
    insecure_loopback: true
targets:
  t1: {type: jwt, audience: "api://t1", max_ttl: 1h}
`)
	s.t.Cleanup(r.kill)
	return r
}

func write(t *testing.T, file, text string) {
	t.Helper()
	if err := os.MkdirAll(filepath.Dir(file), 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
}

func freeAddress(t *testing.T) string {
	t.Helper()
	a, err := rig.FreeAddress()
	if err != nil {
		t.Fatal(err)
	}
	return a
}

// command is the program with a replica's configuration, and an environment of
// its own.
func (r *replica) command(ctx context.Context, args ...string) *exec.Cmd {
	r.t.Helper()
	file, err := program()
	if err != nil {
		r.t.Fatalf("the program does not build: %v", err)
	}
	c := exec.CommandContext(ctx, file, append([]string{"--config", filepath.Join(r.dir, "cambio.yaml")}, args...)...)
	c.Env = []string{"PATH=" + os.Getenv("PATH"), "HOME=" + r.dir}
	return c
}

// run runs a command to its end and returns its standard output.
func (r *replica) run(args ...string) string {
	r.t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	c := r.command(ctx, args...)
	var out, errs bytes.Buffer
	c.Stdout, c.Stderr = &out, &errs
	if err := c.Run(); err != nil {
		r.t.Fatalf("cambio %s: %v\n%s%s", strings.Join(args, " "), err, &out, &errs)
	}
	return out.String()
}

func (r *replica) start() {
	r.t.Helper()
	c := r.command(context.Background(), "serve")
	c.Stdout, c.Stderr = r.checkpoints, r.log
	if err := c.Start(); err != nil {
		r.t.Fatal(err)
	}
	ended := make(chan struct{})
	go func() {
		_ = c.Wait() // the log says why
		close(ended)
	}()
	r.mu.Lock()
	defer r.mu.Unlock()
	r.process, r.ended = c, ended
}

// ready waits until the replica says that it may be asked.
func (r *replica) ready() {
	r.t.Helper()
	r.eventually("readiness", func() bool { return r.readyz() == http.StatusOK })
}

// readyz is the status of /readyz; 0: there is no answer.
func (r *replica) readyz() int {
	res, err := httpClient().Get(r.admin + "/readyz")
	if err != nil {
		return 0
	}
	_, _ = io.Copy(io.Discard, res.Body) // only the status counts
	_ = res.Body.Close()
	return res.StatusCode
}

// get fetches a page of the public listener.
func (r *replica) get(path string) []byte {
	r.t.Helper()
	res, err := httpClient().Get(r.url + path)
	if err != nil {
		r.t.Fatal(err)
	}
	defer res.Body.Close()
	b, err := io.ReadAll(res.Body)
	if err != nil || res.StatusCode != http.StatusOK {
		r.t.Fatalf("%s of %s: %d, %v", path, r.name, res.StatusCode, err)
	}
	return b
}

func (r *replica) signal(sig os.Signal) {
	r.mu.Lock()
	defer r.mu.Unlock()
	_ = r.process.Process.Signal(sig) // it may have ended already
}

// end asks the process to end, and waits until it has answered what it had.
func (r *replica) end() {
	r.t.Helper()
	r.signal(syscall.SIGTERM)
	select {
	case <-r.ended:
	case <-time.After(30 * time.Second):
		r.t.Fatalf("replica %s does not end\n%s", r.name, r.log)
	}
	if code := r.process.ProcessState.ExitCode(); code != 0 {
		r.t.Errorf("replica %s ended with status %d\n%s", r.name, code, r.log)
	}
}

// kill ends the process as a crash would.
func (r *replica) kill() {
	r.mu.Lock()
	started := r.process != nil
	r.mu.Unlock()
	if !started {
		return
	}
	r.signal(syscall.SIGKILL)
	<-r.ended
}

func (r *replica) eventually(what string, done func() bool) {
	r.t.Helper()
	deadline := time.Now().Add(patience)
	for !done() {
		if time.Now().After(deadline) {
			r.t.Fatalf("replica %s: no %s within %s\n%s", r.name, what, patience, r.log)
		}
		time.Sleep(10 * time.Millisecond)
	}
}

// workload is the workload id of a repository.
func workload(repository string) string { return "spiffe://gw.test/iss1/1/" + repository }

// stop stops a repository by the command line of a replica, and returns the id.
func (s *site) stop(by *replica, repository string) string {
	s.t.Helper()
	out := by.run("stop", "add", "workload", workload(repository), "--reason", "chaos")
	id, _, ok := strings.Cut(out, ":")
	if !ok {
		s.t.Fatalf("stop add says %s", out)
	}
	return id
}

// journals reads both journals, and verifies them with what was captured.
func (s *site) journals() []audit.Record {
	s.t.Helper()
	var all []audit.Record
	for _, r := range s.replicas {
		fsys := os.DirFS(filepath.Join(r.dir, "state", "journal"))
		report, err := audit.Verify(fsys, audit.Options{Upto: strings.NewReader(r.checkpoints.String())})
		if err != nil {
			s.t.Fatal(err)
		}
		for _, p := range report.Problems {
			s.t.Errorf("journal of %s: %s", r.name, p)
		}
		if report.Captured == 0 {
			s.t.Errorf("journal of %s: no checkpoint was captured", r.name)
		}
		for rec, err := range audit.Read(fsys) {
			if err != nil {
				s.t.Fatal(err)
			}
			all = append(all, rec)
		}
	}
	return all
}

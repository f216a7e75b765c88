package test

import (
	"bytes"
	"context"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"sync"
	"syscall"
	"testing"
	"time"

	"cambio/test/rig"
)

// binary is the program, built once for all tests. It lies in the system's
// folder for temporary files and is removed by TestMain.
var binary = sync.OnceValues(func() (string, error) {
	dir, err := os.MkdirTemp("", "cambio-test-")
	if err != nil {
		return "", err
	}
	file := filepath.Join(dir, "cambio")
	build := exec.Command("go", "build", "-o", file, "cambio/cmd/cambio")
	build.Dir = root
	if out, err := build.CombinedOutput(); err != nil {
		return "", errors.New(string(out))
	}
	builtIn.Store(&dir)
	return file, nil
})

// outcome is how a run of the program ended.
type outcome struct {
	code           int
	stdout, stderr string
}

// command is the program with these arguments, and no environment but env.
func command(t *testing.T, env []string, args ...string) *exec.Cmd {
	t.Helper()
	file, err := binary()
	if err != nil {
		t.Fatalf("the program does not build: %v", err)
	}
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	t.Cleanup(cancel)
	c := exec.CommandContext(ctx, file, args...)
	c.Env = append([]string{"PATH=" + os.Getenv("PATH"), "HOME=" + t.TempDir()}, env...)
	return c
}

// run runs the program to its end.
func run(t *testing.T, env []string, args ...string) outcome {
	t.Helper()
	c := command(t, env, args...)
	var stdout, stderr bytes.Buffer
	c.Stdout, c.Stderr = &stdout, &stderr
	err := c.Run()
	var exit *exec.ExitError
	if err != nil && !errors.As(err, &exit) {
		t.Fatal(err)
	}
	return outcome{code: c.ProcessState.ExitCode(), stdout: stdout.String(), stderr: stderr.String()}
}

// process is the program while it runs.
type process struct {
	*exec.Cmd
	stdout, stderr rig.Buffer
}

// start starts the program and ends it with the test, if nothing did before.
func start(t *testing.T, env []string, args ...string) *process {
	t.Helper()
	p := &process{Cmd: command(t, env, args...)}
	p.Stdout, p.Stderr = &p.stdout, &p.stderr
	if err := p.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = p.end() }) // it may have ended already
	return p
}

// end asks the program to end, and waits.
func (p *process) end() error {
	_ = p.Process.Signal(syscall.SIGTERM) // it may have ended already
	return p.Wait()
}

package main

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"time"
)

// process is one server, in a process of its own.
type process struct {
	URL     string
	Started time.Duration // from the start of the process until it serves
	cmd     *exec.Cmd
	stdin   io.WriteCloser
	answers *json.Decoder
}

// start runs this program again, as a server.
func start(ctx context.Context, args ...string) (*process, error) {
	self, err := os.Executable()
	if err != nil {
		return nil, err
	}
	cmd := exec.CommandContext(ctx, self, append([]string{serverCommand}, args...)...)
	cmd.Stderr = os.Stderr
	stdin, err := cmd.StdinPipe()
	if err != nil {
		return nil, err
	}
	stdout, err := cmd.StdoutPipe()
	if err != nil {
		return nil, err
	}
	began := time.Now()
	if err := cmd.Start(); err != nil {
		return nil, err
	}
	p := &process{cmd: cmd, stdin: stdin, answers: json.NewDecoder(bufio.NewReader(stdout))}
	var line ready
	if err := p.answers.Decode(&line); err != nil {
		return nil, errors.Join(fmt.Errorf("server %v did not start: %w", args, err), p.end())
	}
	p.URL, p.Started = line.URL, time.Since(began)
	return p, nil
}

// tell gives the server a command, and returns what it has used so far.
func (p *process) tell(command string) (usage, error) {
	var u usage
	if _, err := io.WriteString(p.stdin, command+"\n"); err != nil {
		return u, err
	}
	if err := p.answers.Decode(&u); err != nil {
		return u, err
	}
	if u.Error != "" {
		return u, errors.New(u.Error)
	}
	return u, nil
}

// end tells the server to stop, and waits until it has.
func (p *process) end() error {
	return errors.Join(p.stdin.Close(), p.cmd.Wait())
}

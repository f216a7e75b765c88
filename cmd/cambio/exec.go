package main

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"os/signal"
	"syscall"
	"time"

	"github.com/spf13/cobra"
)

// childExitError ends the program with the child's status; the child has said why.
type childExitError struct{ code int }

func (e *childExitError) Error() string {
	return fmt.Sprintf("the command ended with status %d", e.code)
}

func execCommand(c *common) *cobra.Command {
	a := &ask{c: c}
	cmd := &cobra.Command{
		Use:   "exec --to TARGET -- COMMAND [ARG ...]",
		Short: "Run a command with a credential in its environment",
		Long: `Exchanges this workload's identity, and runs the command with

  CAMBIO_ACCESS_TOKEN   the credential
  CAMBIO_EXPIRES_AT     when it ends, RFC 3339
  CAMBIO_DECISION_ID    what to quote when asking about it

in its environment, and nowhere else. For an AWS target the credential is in
AWS_ACCESS_KEY_ID, AWS_SECRET_ACCESS_KEY, AWS_SESSION_TOKEN and
AWS_CREDENTIAL_EXPIRATION instead, and the variables that lead AWS clients to
another one, such as AWS_PROFILE, are taken away; for a database it is in PGHOST,
PGPORT, PGUSER, PGPASSWORD and PGSSLMODE=verify-full (set PGSSLROOTCERT), or in
MYSQL_HOST, MYSQL_TCP_PORT, MYSQL_USER and MYSQL_PWD (of which mysql takes the user
by --user alone). --env GH_TOKEN puts a credential that is one text into that
variable in place of CAMBIO_ACCESS_TOKEN. A certificate is in the files that
--new-key and --out, or --ssh-key, name. Signals are passed on; the exit status is
the command's own. A command that is not there ends with 1 before anything is
exchanged.`,
		Example: `  cambio exec --to orders-api -- ./report.sh
  cambio exec --to aws-prod -- aws sts get-caller-identity
  cambio exec --to github --env GH_TOKEN -- gh release create v1
  cambio exec --to orders-db -- psql orders`,
		Args: func(cmd *cobra.Command, args []string) error {
			if len(args) == 0 {
				return &failure{code: exitUsage, err: errors.New("missing command"), next: "cambio exec --to TARGET -- COMMAND"}
			}
			return nil
		},
		RunE: func(cmd *cobra.Command, args []string) error {
			if _, err := a.request(); err != nil {
				return err
			}
			if err := findCommand(args[0]); err != nil {
				return err
			}
			cred, err := a.exchange(cmd.Context())
			if err != nil {
				return err
			}
			env, err := variables(a.env).childEnv(os.Environ(), cred)
			if err != nil {
				return err
			}
			return c.runChild(cmd.Context(), args, env)
		},
	}
	a.exchangeFlags(cmd)
	cmd.Flags().SetInterspersed(false)
	return cmd
}

// findCommand refuses a command that is not there: a token that is used once, and
// a credential, would be spent for nothing.
func findCommand(name string) error {
	_, err := exec.LookPath(name)
	switch {
	case err == nil:
		return nil
	case errors.Is(err, exec.ErrNotFound):
		return &failure{code: exitError, err: fmt.Errorf("cannot run %s: there is no such command in PATH; nothing was exchanged", name), next: commandNext}
	}
	return &failure{code: exitError, err: fmt.Errorf("cannot run %s: %w; nothing was exchanged", name, unwrapPath(unwrapPath(err))), next: commandNext}
}

// printedBy runs a command of the platform's that gives out tokens, and returns what
// it prints. What it says on stderr is dropped: that may be anything.
func printedBy(ctx context.Context, name string, args ...string) ([]byte, error) {
	c := exec.CommandContext(ctx, name, args...) //nolint:gosec // the commands are named in package client
	c.WaitDelay = time.Second                    // a child of its own that holds the pipe must not hold us
	out, err := c.Output()
	var status *exec.ExitError
	switch {
	case errors.Is(err, exec.ErrNotFound):
		return nil, fs.ErrNotExist
	case errors.As(err, &status):
		return nil, errors.New(status.ProcessState.String()) // without what it printed
	}
	return out, err
}

const commandNext = "check the command's name and PATH"

// runChild runs the command until it ends by itself, with env as its whole
// environment. ctx ends with the first signal, and must not kill the child, which
// gets the signal itself.
func (c *common) runChild(ctx context.Context, args, env []string) error {
	child := exec.CommandContext(context.WithoutCancel(ctx), args[0], args[1:]...) //nolint:gosec // running the user's command is the purpose
	child.Env = env
	child.Stdin, child.Stdout, child.Stderr = c.io.in, c.io.out, c.io.err
	signals := make(chan os.Signal, 8) // a burst; one lost in it was sent twice
	signal.Notify(signals, syscall.SIGINT, syscall.SIGTERM, syscall.SIGHUP, syscall.SIGQUIT, syscall.SIGUSR1, syscall.SIGUSR2)
	defer signal.Stop(signals)
	if ctx.Err() != nil {
		return ctx.Err() // the signal came before there was a child to pass it on to
	}
	err := child.Start()
	if err == nil {
		ended := make(chan struct{})
		go passOn(signals, child.Process, ended)
		err = child.Wait()
		close(ended)
	}
	var status *exec.ExitError
	switch {
	case err == nil:
		return nil
	case errors.As(err, &status) && status.ExitCode() >= 0:
		return &childExitError{status.ExitCode()}
	case errors.As(err, &status):
		if ws, ok := status.Sys().(syscall.WaitStatus); ok && ws.Signaled() {
			return &childExitError{128 + int(ws.Signal())}
		}
	}
	return &failure{code: exitError, err: fmt.Errorf("cannot run %s: %w", args[0], err), next: commandNext}
}

// passOn sends the child each signal that we get.
func passOn(signals <-chan os.Signal, child *os.Process, ended <-chan struct{}) {
	for {
		select {
		case <-ended:
			return
		case s := <-signals:
			_ = child.Signal(s) // it has ended: Wait tells
		}
	}
}

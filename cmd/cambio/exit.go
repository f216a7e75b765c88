package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strings"

	"cambio/client"
	"cambio/trust/strictyaml"
)

// The exit codes. They are part of the contract: scripts branch on them.
const (
	exitOK         = 0
	exitError      = 1
	exitUsage      = 2
	exitInvalid    = 3 // configuration or documents
	exitNoIdentity = 4
	exitDenied     = 6
	exitRetry      = 7
	exitLimited    = 8
	exitDoctor     = 9

	exitInterrupted = 130 // as a shell has it
)

// failure is an error that knows its exit code and the user's next step.
type failure struct {
	code int
	err  error
	next string // one thing to do, or ""
}

func (f *failure) Error() string { return f.err.Error() }
func (f *failure) Unwrap() error { return f.err }

// usage is a mistake in the command line.
func usage(format string, args ...any) error {
	return &failure{code: exitUsage, err: fmt.Errorf(format, args...)}
}

// exitCode is the status that an error ends the program with.
func exitCode(err error) int {
	var f *failure
	var findings strictyaml.Findings
	var refused *client.Refusal
	var child *childExitError
	switch {
	case err == nil:
		return exitOK
	case errors.As(err, &child):
		return child.code
	case errors.As(err, &f):
		return f.code
	case errors.As(err, &findings):
		return exitInvalid
	case errors.Is(err, client.ErrNoIdentity):
		return exitNoIdentity
	case errors.As(err, &refused):
		return refusedCode(refused)
	case errors.Is(err, context.Canceled):
		return exitInterrupted
	case errors.Is(err, client.ErrUnreachable):
		return exitRetry
	}
	return exitError
}

func refusedCode(r *client.Refusal) int {
	switch {
	case r.Status == 429:
		return exitLimited
	case r.Status >= 500, r.Retryable():
		return exitRetry
	}
	return exitDenied
}

const noIdentityNext = "name a file that holds the workload's token with --token-file, or set CAMBIO_TOKEN or CAMBIO_TOKEN_FILE"

// otherAudience is the next step when the gateway said which audience it takes,
// or "".
func otherAudience(r *client.Refusal) string {
	_, audience, ok := strings.Cut(r.Description, "audience is not ours; ask for ")
	audience, ended := strings.CutSuffix(audience, ".")
	switch {
	case !ok || !ended || audience == "" || strings.ContainsAny(audience, " \t\"'`$;&|<>()\\"): // nothing that a shell would do more with
		return ""
	case client.CheckServer(audience) != nil:
		return "--audience " + audience
	}
	return "--audience " + audience + ", or --server " + audience
}

// nextStep is one thing that the user can do about an error, or "".
func nextStep(err error) string {
	var f *failure
	var refused *client.Refusal
	var findings strictyaml.Findings
	var unfound *client.NoIdentityError
	switch {
	case errors.As(err, &f):
		return f.next
	case errors.As(err, &findings):
		return "mend what is listed; docs/reference/findings.md tells of each [id]"
	case errors.As(err, &unfound):
		if unfound.Advice == "" {
			return noIdentityNext
		}
		return "" // the error itself holds the lines to paste
	case errors.Is(err, client.ErrNoIdentity):
		return noIdentityNext
	case errors.Is(err, client.ErrNotAToken):
		return "name a file that holds the token alone, as the platform signed it"
	case errors.As(err, &refused) && otherAudience(refused) != "":
		return otherAudience(refused)
	case errors.As(err, &refused) && refused.TooOld() && !refused.Retryable():
		return "fetch a fresh token; where the platform gives one for each job, start the job anew"
	case errors.As(err, &refused) && refused.Retryable():
		return "try again later; it was tried several times already"
	case errors.As(err, &refused) && refused.DecisionID != "":
		return "quote the decision_id to whoever runs the gateway: cambio audit show " + pasteable(refused.DecisionID, "ID")
	case errors.As(err, &refused):
		return "check --server: it must be the gateway's URL"
	case errors.Is(err, client.ErrUnreachable):
		return "check --server and the network, and try again"
	}
	return ""
}

// report writes an error for people, or as one JSON object with --output json.
// It goes to stderr: stdout is data only.
func (s *stdio) report(err error, asJSON bool) {
	var child *childExitError
	if err == nil || errors.As(err, &child) {
		return // the child said what it had to say
	}
	var findings strictyaml.Findings
	var refused *client.Refusal
	out := struct {
		Error    string              `json:"error"`
		Hint     string              `json:"error_hint,omitempty"`
		Next     string              `json:"next,omitempty"`
		Decision string              `json:"decision_id,omitempty"`
		Findings strictyaml.Findings `json:"findings,omitempty"`
		Exit     int                 `json:"exit"`
	}{Error: err.Error(), Exit: exitCode(err)}
	if errors.As(err, &findings) {
		out.Findings = findings
	}
	if errors.As(err, &refused) {
		out.Decision, out.Hint = refused.DecisionID, refused.Hint
	}
	out.Next = nextStep(err)
	if asJSON {
		if out.Decision != "" {
			out.Error = strings.Replace(out.Error, refused.Error(), refused.Text(), 1) // the id is a member of its own
		}
		enc := json.NewEncoder(s.err)
		enc.SetEscapeHTML(false)
		_ = enc.Encode(out) //nolint:errchkjson // stderr is gone: nobody to tell
		return
	}
	prefix := s.red("error:") + " "
	if out.Findings != nil {
		prefix = "" // each line says where and how bad, in the form that editors jump to
	}
	_, _ = fmt.Fprintf(s.err, "%s%s\n", prefix, out.Error)
	if out.Hint != "" {
		_, _ = fmt.Fprintf(s.err, "  hint: %s\n", out.Hint)
	}
	if out.Next != "" {
		_, _ = fmt.Fprintf(s.err, "  next: %s\n", out.Next)
	}
}

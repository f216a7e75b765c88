package main

import (
	"bytes"
	"context"
	"errors"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/spf13/cobra"
)

// user is a person at a terminal, with a token in a variable.
func user(t *testing.T) (s *stdio, asked *int) {
	t.Helper()
	asked = new(int)
	gateway := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		*asked++
		w.Header().Set("Content-Type", "application/json")
		_, _ = w.Write([]byte(`{"access_token":"the-secret","issued_token_type":"urn:ietf:params:oauth:token-type:jwt","token_type":"Bearer","expires_in":60,"decision_id":"0198c2f0-5b1e-7c3a-9d4e-2f6a8b0c1d2e"}`))
	}))
	t.Cleanup(gateway.Close)
	env := map[string]string{"CAMBIO_SERVER": gateway.URL, "CAMBIO_TOKEN": "e30.e30.e30"}
	return &stdio{
		in: strings.NewReader(""), out: &bytes.Buffer{}, err: &bytes.Buffer{},
		getenv: func(name string) string { return env[name] },
		lookup: func(name string) (string, bool) { v, ok := env[name]; return v, ok },
		readFile: func(string) ([]byte, error) {
			return nil, os.ErrNotExist
		},
		now: time.Now, outTTY: true, errTTY: true, colour: true,
	}, asked
}

func TestNoSecretOnATerminal(t *testing.T) {
	for _, output := range []string{"text", "token", "env", "json", "aws-process"} {
		t.Run(output, func(t *testing.T) {
			s, asked := user(t)
			code := run(context.Background(), s, []string{"exchange", "--to", "orders-api", "-o", output})
			said := s.err.(*bytes.Buffer).String()
			if code != exitUsage || *asked != 0 || s.out.(*bytes.Buffer).Len() != 0 {
				t.Errorf("exit %d, %d requests, stdout %q", code, *asked, s.out)
			}
			if !strings.Contains(said, "--show") || !strings.Contains(said, "cambio exec") {
				t.Errorf("no next step in %q", said)
			}
		})
	}
}

func TestShowOnATerminal(t *testing.T) {
	s, asked := user(t)
	if code := run(context.Background(), s, []string{"exchange", "--to", "orders-api", "--show"}); code != exitOK || *asked != 1 {
		t.Fatalf("exit %d, %d requests: %s", code, *asked, s.err)
	}
	if got := s.out.(*bytes.Buffer).String(); got != "the-secret\n" {
		t.Errorf("stdout %q", got)
	}
}

func TestColour(t *testing.T) {
	s, _ := user(t)
	run(context.Background(), s, []string{"serv"})
	if said := s.err.(*bytes.Buffer).String(); !strings.Contains(said, "\x1b[31merror:\x1b[0m") {
		t.Errorf("no colour on a terminal: %q", said)
	}
	for env, want := range map[string]bool{"": true, "NO_COLOR=1": false, "NO_COLOR=": true, "TERM=dumb": false, "TERM=xterm": true} {
		name, value, _ := strings.Cut(env, "=")
		got := wantsColour(func(asked string) string {
			if asked == name {
				return value
			}
			return ""
		})
		if got != want {
			t.Errorf("%s: %v, want %v", env, got, want)
		}
	}
}

func TestProgressLeavesNothing(t *testing.T) {
	s, _ := user(t)
	c := common{io: s}
	c.progress("something quick")()
	if got := s.err.(*bytes.Buffer).String(); got != "" {
		t.Errorf("left %q on the screen", got)
	}
}

func TestProgressOf(t *testing.T) {
	s, _ := user(t) // it has a server, which would keep the bubble's clock
	synctest.Test(t, func(t *testing.T) {
		c := common{io: s}
		read, done := c.progressOf("reading", 200)
		read(50)
		time.Sleep(1500 * time.Millisecond) // of the bubble's clock
		done()
		if got := s.err.(*bytes.Buffer).String(); got != "\r\x1b[Kreading ... 25%, 1s\r\x1b[K" {
			t.Errorf("%q", got)
		}
	})
}

// TestHelp: every command says in one line what it is for.
func TestHelp(t *testing.T) {
	s, _ := user(t)
	root, _ := newRoot(s)
	var walk func(*cobra.Command)
	walk = func(cmd *cobra.Command) {
		if cmd.Short == "" || strings.HasSuffix(cmd.Short, ".") {
			t.Errorf("%s: short help %q", cmd.CommandPath(), cmd.Short)
		}
		for _, child := range cmd.Commands() {
			if child.Name() != "completion" { // the library's own
				walk(child)
			}
		}
	}
	walk(root)
}

// TestTailNamesItsColumns holds that a person gets heads over the columns, and a
// pipe does not.
func TestTailNamesItsColumns(t *testing.T) {
	dir := t.TempDir()
	if err := os.Mkdir(filepath.Join(dir, "journal"), 0o700); err != nil {
		t.Fatal(err)
	}
	config := "issuer: https://id.acme.example\nstate: " + dir + "\nidentity_providers:\n  github: {type: github-actions, audience: https://id.acme.example}\n" +
		"targets:\n  orders-api: {type: jwt, audience: https://orders.acme.example}\ntls: {terminated_by: [10.0.0.0/8]}\n"
	for _, tt := range []struct {
		tty    bool
		output string
		heads  bool
	}{{true, "text", true}, {false, "text", false}, {true, "json", false}} {
		s, _ := user(t)
		s.outTTY, s.colour = tt.tty, false
		s.readFile = func(string) ([]byte, error) { return []byte(config), nil }
		ended, end := context.WithCancel(t.Context())
		end() // after what is there, which is nothing
		if code := run(ended, s, []string{"audit", "tail", "-o", tt.output}); code != exitOK {
			t.Fatalf("exit %d: %s", code, s.err)
		}
		if got := s.out.(*bytes.Buffer).String(); strings.HasPrefix(got, "time ") != tt.heads || (got == "") == tt.heads {
			t.Errorf("%+v: %q", tt, got)
		}
	}
}

// TestNobodyAnswers holds that a wait is told in one line, which does not stand in
// the one that shows the time.
func TestNobodyAnswers(t *testing.T) {
	for _, output := range []string{"token", "json"} {
		s, _ := user(t)
		s.colour = false
		ctx, cancel := context.WithCancel(t.Context())
		defer cancel()
		s.http = &http.Client{Transport: absent(cancel)}
		code := run(ctx, s, []string{"exchange", "--to", "orders-api", "--show", "-o", output})
		said := s.err.(*bytes.Buffer).String()
		first, _, _ := strings.Cut(said, "\n")
		told := strings.HasPrefix(first, "trying again for up to a minute: gateway http") && strings.Contains(first, "nobody is there") && !strings.Contains(first, "e30.")
		if code != exitRetry || told != (output == "token") || strings.Count(said, "trying again") > 1 {
			t.Errorf("%s: exit %d: %q", output, code, said)
		}
	}
}

// absent answers no request; after the second one the user gives up.
func absent(giveUp func()) refusing {
	asked := 0
	return func() error {
		if asked++; asked == 2 {
			giveUp()
		}
		return errors.New("nobody is there")
	}
}

type refusing func() error

func (r refusing) RoundTrip(*http.Request) (*http.Response, error) { return nil, r() }

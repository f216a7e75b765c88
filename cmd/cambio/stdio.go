package main

import (
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"time"

	"golang.org/x/term"

	"cambio/gateway"
)

// stdio is what a command may touch of the outside: streams, environment, files
// and clock. Commands get it handed in, so that a test can be a user.
type stdio struct {
	in       io.Reader
	out, err io.Writer
	getenv   func(string) string
	lookup   func(string) (string, bool)
	readFile func(string) ([]byte, error)
	now      func() time.Time
	http     *http.Client
	program  string // how this program is called in a line to paste
	outTTY   bool   // stdout is a terminal
	errTTY   bool   // stderr is one
	colour   bool   // both are, and the user did not say no: an escape in a file is rubbish
}

func systemIO() *stdio {
	outTTY, errTTY := term.IsTerminal(int(os.Stdout.Fd())), term.IsTerminal(int(os.Stderr.Fd()))
	return &stdio{
		in: os.Stdin, out: os.Stdout, err: os.Stderr,
		getenv: os.Getenv, lookup: os.LookupEnv, readFile: readSmall, now: time.Now, program: programName(),
		outTTY: outTTY, errTTY: errTTY,
		colour: outTTY && errTTY && wantsColour(os.Getenv),
	}
}

// programName is the name of this program where PATH leads to it, and its path
// where not: a line to paste must run. Below the current folder the path is the
// short one, such as bin/cambio.
func programName() string {
	const name = "cambio"
	path, err := os.Executable()
	if err != nil {
		return name
	}
	if found, err := exec.LookPath(name); err == nil && sameFile(found, path) {
		return name
	}
	if dir, err := os.Getwd(); err == nil {
		if short, err := filepath.Rel(dir, path); err == nil && filepath.IsLocal(short) {
			if filepath.Base(short) == short {
				short = "./" + short // a bare name would be looked up in PATH
			}
			path = short
		}
	}
	return gateway.ShellWord(path)
}

func sameFile(a, b string) bool {
	x, err := os.Stat(a)
	if err != nil {
		return false
	}
	y, err := os.Stat(b)
	return err == nil && os.SameFile(x, y)
}

// wantsColour follows https://no-color.org: any value that is not empty says no.
func wantsColour(getenv func(string) string) bool {
	return getenv("NO_COLOR") == "" && getenv("TERM") != "dumb"
}

// maxFile is above what any configuration, token or claims file may have.
const maxFile = 1 << 20

// readSmall reads a file, and of one above maxFile no more than a byte above it:
// what is too large is refused by whoever reads it, and must not cost memory for
// its size before that.
func readSmall(name string) ([]byte, error) {
	f, err := os.Open(name) //nolint:gosec // whoever runs the program names its files
	if err != nil {
		return nil, err
	}
	defer f.Close() //nolint:errcheck // read only: nothing can be lost
	return io.ReadAll(io.LimitReader(f, maxFile+1))
}

func (s *stdio) paint(code, text string) string {
	if !s.colour {
		return text
	}
	return "\x1b[" + code + "m" + text + "\x1b[0m"
}

func (s *stdio) red(t string) string   { return s.paint("31", t) }
func (s *stdio) green(t string) string { return s.paint("32", t) }
func (s *stdio) bold(t string) string  { return s.paint("1", t) }
func (s *stdio) faint(t string) string { return s.paint("2", t) }

// say writes narration to stderr; stdout is data only.
func (s *stdio) say(format string, args ...any) {
	_, _ = fmt.Fprintf(s.err, format+"\n", args...)
}

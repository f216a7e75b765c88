package test

import (
	"bytes"
	"crypto/rand"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"cambio/standin"
)

// Documents are run. A fenced block below a line such as
//
//	<!-- test: NAME -->             runs in bash (sh blocks)
//	<!-- test: NAME exit=6 -->      and must end with this status
//	<!-- test: NAME file=PATH -->   is written to a file
//	<!-- test: NAME output -->      is what the block before printed, loosely
//	<!-- run: NAME COMMAND -->      is run, and not shown to readers
//
// takes part in the session NAME of its document: one temporary folder, one
// environment, in order. The program is on PATH, and ACTIONS_ID_TOKEN_REQUEST_*
// point to a stand-in, as in a job of GitHub Actions.
var (
	directive = regexp.MustCompile(`^<!-- (test|run): ([a-z-]+) ?(.*?) ?-->$`)
	fence     = regexp.MustCompile("^```([a-z]*)$")
)

// Ids that a document shows, as printed in one block and typed in the next. In a
// block that is run they are what a step before exported.
const (
	refusedID = "01a201ee-5cb4-7b9f-b384-5968e053aeff" // DECISION_ID
	grantedID = "01a201ee-5ca5-74cf-976b-4ae5b45fe487" // SESSION
)

// snippet is one step of a session.
type snippet struct {
	line   int
	lang   string
	text   string
	file   string // write to this file
	output bool   // compare with what the step before printed
	exit   int
}

// block is one fenced block of a document.
type block struct {
	line       int
	lang, text string
}

// blocks lists the fenced blocks of a document, and the sessions.
func blocks(t *testing.T, name string) (all []block, sessions map[string][]snippet) {
	t.Helper()
	content, err := os.ReadFile(filepath.Join(root, name))
	if err != nil {
		t.Fatal(err)
	}
	sessions = map[string][]snippet{}
	lines := strings.Split(string(content), "\n")
	var session string
	var next snippet
	for i := 0; i < len(lines); i++ {
		if m := directive.FindStringSubmatch(lines[i]); m != nil {
			if m[1] == "run" {
				sessions[m[2]] = append(sessions[m[2]], snippet{line: i + 1, lang: "sh", text: m[3]})
				continue
			}
			session, next = m[2], snippet{}
			for word := range strings.FieldsSeq(m[3]) {
				switch key, value, _ := strings.Cut(word, "="); key {
				case "file":
					next.file = value
				case "output":
					next.output = true
				case "exit":
					next.exit, err = strconv.Atoi(value)
				default:
					err = fmt.Errorf("unknown word %q", word)
				}
				if err != nil {
					t.Fatalf("%s:%d: %v", name, i+1, err)
				}
			}
			continue
		}
		m := fence.FindStringSubmatch(lines[i])
		if m == nil {
			if session != "" && strings.TrimSpace(lines[i]) != "" {
				t.Fatalf("%s:%d: a test comment stands right above its block", name, i+1)
			}
			continue
		}
		b := block{line: i + 1, lang: m[1]}
		for i++; i < len(lines) && lines[i] != "```"; i++ {
			b.text += lines[i] + "\n"
		}
		all = append(all, b)
		if session != "" {
			next.line, next.lang, next.text = b.line, b.lang, b.text
			sessions[session] = append(sessions[session], next)
			session = ""
		}
	}
	return all, sessions
}

// TestDocumentsRun runs every session of every document.
func TestDocumentsRun(t *testing.T) {
	t.Parallel()
	program, err := binary()
	if err != nil {
		t.Fatalf("the program does not build: %v", err)
	}
	bin := filepath.Dir(program)
	ran := 0
	for _, name := range documents(t) {
		if name == tutorialAWS { // in a world of its own
			continue
		}
		_, sessions := blocks(t, name)
		for session, steps := range sessions {
			ran++
			t.Run(name+"/"+session, func(t *testing.T) {
				t.Parallel()
				s := newSession(t, bin)
				s.name = name
				for _, step := range steps {
					s.step(step)
				}
			})
		}
	}
	if ran < 3 {
		t.Errorf("only %d sessions: the README and the tutorial have some", ran)
	}
}

// session is a reader at the keyboard.
type session struct {
	t       *testing.T
	name    string
	dir     string
	env     []string
	replace *strings.Replacer
	printed string
}

func newSession(t *testing.T, bin string) *session {
	t.Helper()
	idp, err := standin.New(standin.Config{Now: time.Now, Rand: rand.Reader})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = idp.Close() })
	idp.SetJob(map[string]any{
		"sub":        "repo:acme@9919/payments@41881900:ref:refs/heads/main",
		"repository": "acme/payments", "repository_id": "41881900", "repository_owner_id": "9919",
	})
	listen, admin := freeAddress(t), freeAddress(t)
	s := &session{t: t, dir: t.TempDir(), replace: strings.NewReplacer(
		// Readers have a name and a proxy that ends TLS; here it is plain loopback.
		"https://id.acme.example", "http://"+listen, "https://cambio.internal.acme.example", "http://"+listen, "127.0.0.1:8080", listen, "127.0.0.1:8081", admin,
		"type: github-actions", "type: github-actions\n    issuer: "+idp.Issuer()+"\n    insecure_loopback: true",
		refusedID, "$DECISION_ID", grantedID, "$SESSION",
	)}
	s.env = append([]string{
		"PATH=" + bin + string(os.PathListSeparator) + os.Getenv("PATH"), "HOME=" + s.dir, "TMPDIR=" + t.TempDir(), "LC_ALL=C",
		"CAMBIO=http://" + listen,
	}, idp.Environment()...)
	return s
}

func (s *session) step(step snippet) {
	t := s.t
	t.Helper()
	text := s.replace.Replace(step.text)
	switch {
	case step.file != "":
		path := filepath.Join(s.dir, step.file)
		if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	case step.output:
		if !loosely(step.text, s.printed) {
			t.Fatalf("%s:%d: the document shows\n%s\nbut this was printed\n%s", s.name, step.line, step.text, s.printed)
		}
	default:
		s.run(step, text)
	}
}

// run runs one block in a bash that knows what the blocks before exported.
func (s *session) run(step snippet, text string) {
	t := s.t
	t.Helper()
	const script = "set -eu -o pipefail\n[ ! -e ~/.session ] || { . ~/.session; cd \"$PWD\"; }\ntrap 'export -p >~/.session' EXIT\n"
	cmd := exec.Command("bash", "-c", script+text)
	cmd.Dir, cmd.Env = s.dir, s.env
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	out, err := os.CreateTemp(t.TempDir(), "out")
	if err != nil {
		t.Fatal(err)
	}
	defer out.Close()
	cmd.Stdout, cmd.Stderr = out, out
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	group := cmd.Process.Pid
	// What a block leaves in the background ends with the session.
	t.Cleanup(func() { _ = syscall.Kill(-group, syscall.SIGKILL) })
	overdue := time.AfterFunc(time.Minute, func() { _ = syscall.Kill(-group, syscall.SIGKILL) })
	_ = cmd.Wait()
	overdue.Stop()
	printed, err := os.ReadFile(out.Name())
	if err != nil {
		t.Fatal(err)
	}
	s.printed = string(bytes.TrimSpace(printed))
	if got := cmd.ProcessState.ExitCode(); got != step.exit {
		logs, _ := os.ReadFile(filepath.Join(s.dir, "cambio.log"))
		t.Fatalf("%s:%d: exit status %d, want %d\n%s\n%s%s", s.name, step.line, got, step.exit, text, s.printed, logs)
	}
}

// varying is what differs from run to run: ids, times, ports, hashes, tokens,
// folders.
var varying = regexp.MustCompile(`[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}` +
	`|\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?Z|\d\d:\d\d:\d\d` +
	`|https?://127\.0\.0\.1:\d+|https://id\.acme\.example|\b[0-9a-f]{32,64}\b|eyJ[A-Za-z0-9_.-]{20,}` +
	`|stop-[a-z0-9]{8}|/tmp/[^ ]*cambio-demo-\d+|\b127\.0\.0\.1\b|\bid\.acme\.example\b`)

// loosely compares what a document shows with what was printed: … stands for
// anything within a line, a line of … alone for any lines, and runs of spaces
// are one.
func loosely(shown, printed string) bool {
	plain := func(s string) []string {
		var lines []string
		for line := range strings.Lines(s) {
			if line = strings.Join(strings.Fields(line), " "); line != "" {
				lines = append(lines, varying.ReplaceAllString(line, "~"))
			}
		}
		return lines
	}
	var pattern strings.Builder
	for _, line := range plain(shown) {
		if line == "…" {
			pattern.WriteString(`(?:.*\n)*?`)
			continue
		}
		pattern.WriteString(strings.ReplaceAll(regexp.QuoteMeta(line), "…", ".*") + "\n")
	}
	got := strings.Join(plain(printed), "\n") + "\n"
	return regexp.MustCompile("^" + pattern.String() + "$").MatchString(got)
}

func TestLoosely(t *testing.T) {
	for _, c := range []struct {
		shown, printed string
		want           bool
	}{
		{"ok: 3 records", "ok:  3 records\n", true},
		{"ok: 3 records", "ok: 4 records", false},
		{"a\n…\nz", "a\nb\nc\nz", true},
		{"a\n…\nz", "b\nz", false},
		{"took … ms", "took 17 ms", true},
		{"id 01a201ee-5ca5-74cf-976b-4ae5b45fe487", "id 01a201f1-5ba9-7693-a0b5-6d4118cc9ea6", true},
	} {
		if got := loosely(c.shown, c.printed); got != c.want {
			t.Errorf("loosely(%q, %q) = %v", c.shown, c.printed, got)
		}
	}
}

package main

import (
	"encoding/json"
	"errors"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"time"

	"github.com/rogpeppe/go-internal/testscript"

	"cambio/standin"
)

// exits STATUS PROGRAM [ARG ...]: the program ends with exactly this status.
func exits(ts *testscript.TestScript, _ bool, args []string) {
	want, err := strconv.Atoi(args[0])
	ts.Check(err)
	got := 0
	var status *exec.ExitError
	if err := ts.Exec(args[1], args[2:]...); errors.As(err, &status) {
		got = status.ExitCode()
	} else {
		ts.Check(err)
	}
	if got != want {
		ts.Fatalf("exit status %d, want %d\n[stdout]\n%s[stderr]\n%s", got, want, ts.ReadFile("stdout"), ts.ReadFile("stderr"))
	}
}

// eventually polls until done, for ten seconds.
func eventually(ts *testscript.TestScript, what string, done func() bool) {
	for deadline := time.Now().Add(10 * time.Second); !done(); time.Sleep(10 * time.Millisecond) {
		if time.Now().After(deadline) {
			ts.Fatalf("never came: %s", what)
		}
	}
}

// waitready waits for the gateway of this story.
func waitReady(ts *testscript.TestScript, _ bool, _ []string) {
	client := http.Client{Timeout: time.Second}
	eventually(ts, "a ready gateway", func() bool {
		res, err := client.Get("http://" + ts.Getenv("ADMIN") + "/readyz")
		if err != nil {
			return false
		}
		defer res.Body.Close()
		return res.StatusCode == http.StatusOK
	})
}

// waitfile FILE TEXT waits until the file holds the text.
func waitFile(ts *testscript.TestScript, _ bool, args []string) {
	eventually(ts, args[1]+" in "+args[0], func() bool {
		data, err := os.ReadFile(ts.MkAbs(args[0]))
		return err == nil && strings.Contains(string(data), args[1])
	})
}

// signal TERM|USR1|INT COMMAND sends a signal to the background command whose
// first argument is COMMAND.
func sendSignal(ts *testscript.TestScript, _ bool, args []string) {
	signals := map[string]syscall.Signal{"INT": syscall.SIGINT, "TERM": syscall.SIGTERM, "USR1": syscall.SIGUSR1}
	for _, cmd := range ts.BackgroundCmds() {
		if len(cmd.Args) > 1 && cmd.Args[1] == args[1] {
			ts.Check(cmd.Process.Signal(signals[args[0]]))
			return
		}
	}
	ts.Fatalf("no %s in the background", args[1])
}

func provider(ts *testscript.TestScript) *standin.IdentityProvider {
	return ts.Value(providerOf{}).(*standin.IdentityProvider)
}

func claims(args []string) map[string]any {
	out := map[string]any{}
	for _, a := range args {
		name, value, _ := strings.Cut(a, "=")
		out[name] = value
	}
	return out
}

// job [CLAIM=VALUE ...]: from here on this is a job of GitHub Actions.
func job(ts *testscript.TestScript, _ bool, args []string) {
	provider(ts).SetJob(claims(args))
	for _, pair := range provider(ts).Environment() {
		name, value, _ := strings.Cut(pair, "=")
		ts.Setenv(name, value)
	}
}

// token FILE [CLAIM=VALUE ...] writes a fresh token.
func writeToken(ts *testscript.TestScript, _ bool, args []string) {
	token := provider(ts).Token(claims(args[1:]))
	ts.Check(os.WriteFile(ts.MkAbs(args[0]), []byte(token+"\n"), 0o600))
	ts.Setenv("TOKEN", token)
}

// requested N: the job's token was asked for so often.
func requested(ts *testscript.TestScript, _ bool, args []string) {
	if got := strconv.Itoa(provider(ts).Requests(standin.TokenPath)); got != args[0] {
		ts.Fatalf("%s tokens were fetched, want %s", got, args[0])
	}
}

// front answers before a gateway does, as a proxy would.
type front struct {
	mu     sync.Mutex
	tokens []string
}

type frontOf struct{}

// front STATUS N RETRY-AFTER: from here on CAMBIO_SERVER answers the first N
// requests with this status, all for a negative N, and passes on the rest.
func startFront(ts *testscript.TestScript, _ bool, args []string) {
	status, err := strconv.Atoi(args[0])
	ts.Check(err)
	left, err := strconv.Atoi(args[1])
	ts.Check(err)
	target, err := url.Parse(ts.Getenv("GATEWAY"))
	ts.Check(err)
	f, onward := &front{}, httputil.NewSingleHostReverseProxy(target)
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		f.mu.Lock()
		defer f.mu.Unlock()
		if r.URL.Path == "/nonce" {
			w.WriteHeader(http.StatusNotFound)
			return
		}
		if left == 0 {
			onward.ServeHTTP(w, r)
			return
		}
		left--
		f.tokens = append(f.tokens, r.FormValue("subject_token"))
		w.Header().Set("Retry-After", args[2])
		w.Header().Set("Content-Type", "application/json")
		w.WriteHeader(status)
		_, _ = w.Write([]byte(`{"error":"temporarily_unavailable","error_description":"Later.","decision_id":"0198c2f0-5b1e-7c3a-9d4e-2f6a8b0c1d2e"}`))
	}))
	ts.Defer(server.Close)
	ts.Value(frontOf{}).(map[string]*front)["front"] = f
	ts.Setenv("CAMBIO_SERVER", server.URL)
}

// fresh N: the front saw N tokens, no two alike.
func fresh(ts *testscript.TestScript, _ bool, args []string) {
	f := ts.Value(frontOf{}).(map[string]*front)["front"]
	f.mu.Lock()
	defer f.mu.Unlock()
	all := len(f.tokens)
	slices.Sort(f.tokens)
	if distinct := len(slices.Compact(f.tokens)); strconv.Itoa(all) != args[0] || distinct != all {
		ts.Fatalf("%d tokens were shown, %d of them distinct; want %s", all, distinct, args[0])
	}
}

// lookup finds a value in a JSON file by its path, such as keys.0.state.
func lookup(ts *testscript.TestScript, file, path string) any {
	var v any
	if err := json.Unmarshal([]byte(ts.ReadFile(file)), &v); err != nil {
		ts.Fatalf("%s is not JSON: %v\n%s", file, err, ts.ReadFile(file))
	}
	for _, step := range strings.Split(path, ".") {
		switch at := v.(type) {
		case map[string]any:
			v = at[step]
		case []any:
			i, err := strconv.Atoi(step)
			if err != nil || i >= len(at) {
				ts.Fatalf("%s: no %s in %s", file, path, ts.ReadFile(file))
			}
			v = at[i]
		default:
			v = nil
		}
	}
	return v
}

func shown(v any) string {
	if s, ok := v.(string); ok {
		return s
	}
	text, err := json.Marshal(v)
	if err != nil {
		return err.Error()
	}
	return string(text)
}

// json FILE PATH VALUE: the file is one JSON value and holds this there.
// "[!] json FILE PATH": it holds something there, or nothing.
func checkJSON(ts *testscript.TestScript, neg bool, args []string) {
	v := lookup(ts, args[0], args[1])
	if len(args) == 2 {
		if (v == nil) != neg {
			ts.Fatalf("%s in %s is %s", args[1], args[0], shown(v))
		}
		return
	}
	if got := shown(v); (got == args[2]) == neg {
		ts.Fatalf("%s in %s is %s, want %s", args[1], args[0], got, args[2])
	}
}

// jsonenv NAME FILE PATH keeps a value as an environment variable.
func jsonEnv(ts *testscript.TestScript, _ bool, args []string) {
	ts.Setenv(args[0], shown(lookup(ts, args[1], args[2])))
}

// cut DIR N takes the last N lines from the newest segment of a journal.
func cut(ts *testscript.TestScript, _ bool, args []string) {
	n, err := strconv.Atoi(args[1])
	ts.Check(err)
	files, err := filepath.Glob(ts.MkAbs(args[0]) + "/*.jsonl")
	ts.Check(err)
	newest := slices.Max(files)
	data, err := os.ReadFile(newest)
	ts.Check(err)
	lines := strings.SplitAfter(string(data), "\n")
	lines = lines[:len(lines)-1-n] // the last is empty, behind the end of the last line
	ts.Check(os.WriteFile(newest, []byte(strings.Join(lines, "")), 0o600))
}

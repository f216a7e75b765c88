package client_test

import (
	"errors"
	"fmt"
	"io/fs"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"cambio/client"
)

const token = "aGVhZGVy.cGF5bG9hZA.c2ln"

// machine is what a workload finds around it. The zero value is a machine with
// nothing: no variable, no file, no network.
type machine struct {
	vars  map[string]string
	files map[string]string
	net   http.Handler
	named string
	stdin string
}

func (m machine) env() client.Env {
	e := client.Env{
		Getenv: func(name string) string { return m.vars[name] },
		ReadFile: func(name string) ([]byte, error) {
			if content, ok := m.files[name]; ok {
				return []byte(content), nil
			}
			return nil, &fs.PathError{Op: "open", Path: name, Err: fs.ErrNotExist}
		},
		HTTP:      &http.Client{Transport: broken{new(int)}},
		TokenFile: m.named,
		Stdin:     strings.NewReader(m.stdin),
		Audience:  "https://id.acme.example",
	}
	if m.net != nil {
		e.HTTP.Transport = inProcess{m.net}
	}
	return e
}

// google is a strict metadata server.
func google(t *testing.T, hosts ...string) http.Handler {
	t.Helper()
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Header.Get("Metadata-Flavor") != "Google" || r.Method != http.MethodGet || !strings.Contains(strings.Join(hosts, " "), r.URL.Host) {
			t.Errorf("unexpected request: %s %s", r.Method, r.URL)
			w.WriteHeader(http.StatusNotImplemented)
			return
		}
		w.Header().Set("Metadata-Flavor", "Google")
		switch r.URL.RequestURI() {
		case "/":
		case "/computeMetadata/v1/instance/service-accounts/default/identity?audience=https%3A%2F%2Fid.acme.example&format=full":
			fmt.Fprintln(w, token)
		default:
			t.Errorf("unexpected path: %s", r.URL)
			w.WriteHeader(http.StatusNotImplemented)
		}
	})
}

func TestDetect(t *testing.T) {
	const tokens, own, podDefault = "/var/run/secrets/tokens/cambio", "/var/run/secrets/cambio/token", "/var/run/secrets/kubernetes.io/serviceaccount/token"
	job := map[string]string{
		"GITHUB_ACTIONS":                 "true",
		"ACTIONS_ID_TOKEN_REQUEST_URL":   "https://run.actions.example/x//idtoken/1?api-version=2.0",
		"ACTIONS_ID_TOKEN_REQUEST_TOKEN": "request-canary",
	}
	gitHub := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.String() != "https://run.actions.example/x//idtoken/1?api-version=2.0&audience=https%3A%2F%2Fid.acme.example" || r.Header.Get("Authorization") != "Bearer request-canary" {
			t.Errorf("unexpected request: %s %v", r.URL, r.Header)
			w.WriteHeader(http.StatusNotImplemented)
			return
		}
		answer(w, http.StatusOK, `{"count":1,"value":"`+token+`"}`)
	})
	with := func(m map[string]string, more ...string) map[string]string {
		all := map[string]string{}
		for k, v := range m {
			all[k] = v
		}
		for i := 0; i < len(more); i += 2 {
			all[more[i]] = more[i+1]
		}
		return all
	}
	for _, tt := range []struct {
		name         string
		machine      machine
		source       string
		place        string
		lookedBefore int
	}{
		{"named file", machine{named: "t", files: map[string]string{"t": token + "\r\n", own: "other"}, vars: with(job, "CAMBIO_TOKEN", "other")}, "token file", "t", 0},
		{"standard input", machine{named: "-", stdin: token + "\n"}, "token file", "standard input", 0},
		{"variable", machine{vars: with(job, "CAMBIO_TOKEN", token+"\n", "CAMBIO_TOKEN_FILE", "other")}, "environment", "CAMBIO_TOKEN", 1},
		{"variable that names a file", machine{vars: with(job, "CAMBIO_TOKEN_FILE", "f"), files: map[string]string{"f": token}}, "environment", "CAMBIO_TOKEN_FILE=f", 1},
		{"GitHub Actions", machine{vars: job, net: gitHub, files: map[string]string{own: "other"}}, "GitHub Actions", "run.actions.example", 2},
		{"Kubernetes", machine{files: map[string]string{tokens: token, own: "other", podDefault: "other"}}, "Kubernetes", tokens, 5},
		{"Kubernetes, own folder", machine{files: map[string]string{own: token + "\n"}}, "Kubernetes", own, 5},
		{"Google", machine{net: google(t, "metadata.google.internal")}, "Google metadata server", "metadata.google.internal", 7},
		{"Google, other host", machine{net: google(t, "127.0.0.1:9000"), vars: map[string]string{"GCE_METADATA_HOST": "127.0.0.1:9000"}}, "Google metadata server", "127.0.0.1:9000", 7},
		{"Google, in a pod", machine{net: google(t, "metadata.google.internal"), files: map[string]string{podDefault: "other"}}, "Google metadata server", "metadata.google.internal", 7},
	} {
		t.Run(tt.name, func(t *testing.T) {
			s, err := client.Detect(t.Context(), tt.machine.env())
			if err != nil {
				t.Fatal(err)
			}
			if s.Name != tt.source || s.Place != tt.place || len(s.Looked) != tt.lookedBefore {
				t.Errorf("found %s at %s after %v, want %s at %s after %d", s.Name, s.Place, s.Looked, tt.source, tt.place, tt.lookedBefore)
			}
			for range 2 { // a second attempt gets a token too
				if got, err := s.Token(t.Context(), "https://id.acme.example"); got != token || err != nil {
					t.Errorf("token %q, error %v", got, err)
				}
			}
		})
	}
}

func TestDetectNothing(t *testing.T) {
	notGoogle := http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { fmt.Fprint(w, "welcome to our hotel") })
	pod := map[string]string{"/var/run/secrets/kubernetes.io/serviceaccount/token": "default-canary.x.y"}
	for _, tt := range []struct {
		name    string
		machine machine
		looked  int
		advice  string
	}{
		{"an empty machine", machine{}, 10, "CAMBIO_TOKEN_FILE"},
		{"a captive portal", machine{net: notGoogle}, 10, "https://id.acme.example"},
		{"a job without the permission", machine{vars: map[string]string{"GITHUB_ACTIONS": "true"}}, 3, "id-token: write"},
		{"a job with half of it", machine{vars: map[string]string{"GITHUB_ACTIONS": "true", "ACTIONS_ID_TOKEN_REQUEST_TOKEN": "request-canary"}}, 3, "id-token: write"},
		{"a job without the permission, at Google", machine{vars: map[string]string{"GITHUB_ACTIONS": "true"}, net: google(t)}, 3, "id-token: write"},
		{"a pod with its default token", machine{files: pod}, 10, `serviceAccountToken: {audience: "https://id.acme.example"`},
		{"a pod with a token for AWS", machine{files: map[string]string{"/aws": "aws-canary.x.y"}, vars: map[string]string{"AWS_WEB_IDENTITY_TOKEN_FILE": "/aws"}}, 10, "CAMBIO_TOKEN_FILE"},
		{"a pod with a token for Entra", machine{files: map[string]string{"/azure": "azure-canary.x.y"}, vars: map[string]string{"AZURE_FEDERATED_TOKEN_FILE": "/azure"}}, 10, "CAMBIO_TOKEN_FILE"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			s, err := client.Detect(t.Context(), tt.machine.env())
			var nothing *client.NoIdentityError
			if s != nil || !errors.As(err, &nothing) || !errors.Is(err, client.ErrNoIdentity) {
				t.Fatalf("found %v, %v", s, err)
			}
			if len(nothing.Looked) != tt.looked || !strings.Contains(nothing.Advice, tt.advice) {
				t.Errorf("looked at %v, advises %q", nothing.Looked, nothing.Advice)
			}
			for _, l := range nothing.Looked {
				if !strings.Contains(err.Error(), l.Place) || !strings.Contains(err.Error(), l.Found) {
					t.Errorf("the error does not say %v: %v", l, err)
				}
			}
			if strings.Contains(err.Error(), "canary") {
				t.Errorf("the error holds a secret: %v", err)
			}
		})
	}
	if _, err := client.Detect(t.Context(), client.Env{HTTP: &http.Client{Transport: broken{new(int)}}}); !errors.Is(err, client.ErrNoIdentity) {
		t.Errorf("the zero Env finds %v", err)
	}
}

// What was named, or is clearly meant, must not be passed over for another
// identity when it fails.
func TestDetectDoesNotPassOver(t *testing.T) {
	files := map[string]string{"/var/run/secrets/cambio/token": token, "key": "-----BEGIN PRIVATE KEY-----\ncanary\n", "empty": "\n", "large": strings.Repeat("a", 20<<10) + ".b.c"}
	for _, tt := range []struct {
		name       string
		machine    machine
		noIdentity bool
	}{
		{"a named file that is missing", machine{named: "gone", files: files}, true},
		{"a named file that is empty", machine{named: "empty", files: files}, true},
		{"a named file that is no token", machine{named: "key", files: files}, false},
		{"a named file that is too large", machine{named: "large", files: files}, false},
		{"standard input that is empty", machine{named: "-", files: files}, true},
		{"standard input that is too large", machine{named: "-", stdin: strings.Repeat("a", 20<<10) + ".b.c", files: files}, false},
		{"a variable that is no token", machine{vars: map[string]string{"CAMBIO_TOKEN": "canary"}, files: files}, false},
		{"a variable with two lines", machine{vars: map[string]string{"CAMBIO_TOKEN": token + "\ncanary"}, files: files}, false},
		{"a variable that names a missing file", machine{vars: map[string]string{"CAMBIO_TOKEN_FILE": "gone"}, files: files}, true},
		{"a request URL in the clear", machine{vars: map[string]string{"ACTIONS_ID_TOKEN_REQUEST_URL": "http://evil.example/canary", "ACTIONS_ID_TOKEN_REQUEST_TOKEN": "canary"}, files: files}, false},
		{"a metadata host with a path", machine{vars: map[string]string{"GCE_METADATA_HOST": "evil.example/x"}}, false},
	} {
		t.Run(tt.name, func(t *testing.T) {
			s, err := client.Detect(t.Context(), tt.machine.env())
			if err == nil {
				var got string
				if got, err = s.Token(t.Context(), "x"); err == nil {
					t.Fatalf("found a token of %d bytes from %s", len(got), s.Place)
				}
			}
			if errors.Is(err, client.ErrNoIdentity) != tt.noIdentity || strings.Contains(err.Error(), "canary") {
				t.Errorf("error: %v", err)
			}
		})
	}
}

func TestPlatformFailures(t *testing.T) {
	for _, tt := range []struct {
		name   string
		status int
		body   string
		again  bool
	}{
		{"forbidden", http.StatusForbidden, "canary", false},
		{"busy", http.StatusServiceUnavailable, "canary", true},
		{"limited", http.StatusTooManyRequests, "canary", true},
		{"no JSON", http.StatusOK, "canary", false},
		{"no value", http.StatusOK, `{"Value":"` + token + `"}`, false},
		{"two values", http.StatusOK, `{"value":"` + token + `","value":"a.b.c"}`, false},
		{"value no token", http.StatusOK, `{"value":"canary"}`, false},
		{"too large", http.StatusOK, `{"value":"` + strings.Repeat("a", 70<<10) + `"}`, false},
	} {
		t.Run(tt.name, func(t *testing.T) {
			m := machine{
				vars: map[string]string{"ACTIONS_ID_TOKEN_REQUEST_URL": "https://run.actions.example/canary", "ACTIONS_ID_TOKEN_REQUEST_TOKEN": "canary"},
				net:  http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { answer(w, tt.status, tt.body) }),
			}
			s, err := client.Detect(t.Context(), m.env())
			if err != nil {
				t.Fatal(err)
			}
			got, err := s.Token(t.Context(), "x")
			if got != "" || err == nil || errors.Is(err, client.ErrUnreachable) != tt.again || strings.Contains(err.Error(), "canary") {
				t.Errorf("token %q, error %v", got, err)
			}
		})
	}
}

// The request token opens the job's token service; a redirect must not carry it
// anywhere else, and a network error must not show the URL that it is sent to.
func TestGitHubBearerStaysWhereItBelongs(t *testing.T) {
	elsewhere := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		t.Errorf("the redirect was followed with %v", r.Header)
	}))
	defer elsewhere.Close()
	service := httptest.NewServer(http.RedirectHandler(elsewhere.URL, http.StatusFound))
	defer service.Close()
	m := machine{vars: map[string]string{"ACTIONS_ID_TOKEN_REQUEST_URL": service.URL + "/canary?x=1", "ACTIONS_ID_TOKEN_REQUEST_TOKEN": "canary"}}
	env := m.env()
	env.HTTP = nil
	s, err := client.Detect(t.Context(), env)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := s.Token(t.Context(), "x"); err == nil || errors.Is(err, client.ErrUnreachable) || strings.Contains(err.Error(), "canary") {
		t.Errorf("error %v", err)
	}
	service.Close()
	if _, err := s.Token(t.Context(), "x"); !errors.Is(err, client.ErrUnreachable) || strings.Contains(err.Error(), "canary") {
		t.Errorf("error %v", err)
	}
}

// The metadata server is the machine's own; a proxy would answer with an
// identity that is not ours.
func TestGoogleIsAskedWithoutProxy(t *testing.T) {
	server := httptest.NewServer(nil)
	defer server.Close()
	host := strings.TrimPrefix(server.URL, "http://")
	server.Config.Handler = google(t, host)
	// A request to 127.0.0.1 would pass by the environment's proxy anyway, so the
	// proxy is set by hand.
	env := machine{vars: map[string]string{"GCE_METADATA_HOST": host}}.env()
	env.HTTP = &http.Client{Transport: &http.Transport{Proxy: func(r *http.Request) (*url.URL, error) {
		t.Errorf("a proxy was asked for %s", r.URL)
		return nil, errors.New("no proxy")
	}}}
	s, err := client.Detect(t.Context(), env)
	if err != nil {
		t.Fatal(err)
	}
	if got, err := s.Token(t.Context(), "https://id.acme.example"); got != token || err != nil {
		t.Errorf("token %q, error %v", got, err)
	}
}

func TestFileIsReadForEveryAttempt(t *testing.T) {
	files := map[string]string{"f": "a.b.c"}
	s, err := client.Detect(t.Context(), machine{named: "f", files: files}.env())
	if err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{"a.b.c", "d.e.f"} {
		files["f"] = want
		if got, err := s.Token(t.Context(), "x"); got != want || err != nil {
			t.Errorf("token %q, error %v, want %q", got, err, want)
		}
	}
}

func TestUnverified(t *testing.T) {
	got, err := client.Unverified("e30.eyJzdWIiOiJhIiwiaWQiOjkwMDcxOTkyNTQ3NDA5OTN9.c2ln")
	if err != nil || got["sub"] != "a" || fmt.Sprint(got["id"]) != "9007199254740993" {
		t.Errorf("claims %v, error %v", got, err)
	}
	for _, bad := range []string{"", "a.b", "a.!.c", token, "e30.eyJhIjoxLCJhIjoyfQ.c2ln", "e30.e31=.x", "e30.W10.x"} {
		if got, err := client.Unverified(bad); err == nil {
			t.Errorf("%q has claims %v", bad, got)
		}
	}
}

func FuzzUnverified(f *testing.F) {
	for _, seed := range []string{token, "e30.eyJzdWIiOiJhIn0.c2ln", "e30.eyJhIjoxLCJhIjoyfQ.c2ln", "..", "", strings.Repeat(".", 100)} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, s string) {
		claims, err := client.Unverified(s)
		if (err == nil) == (claims == nil) {
			t.Errorf("%q: claims %v and error %v", s, claims, err)
		}
		if again, err2 := client.Unverified(s); (err2 == nil) != (err == nil) || !cmp.Equal(claims, again) {
			t.Errorf("%q: two readings", s)
		}
	})
}

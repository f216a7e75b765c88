// Package rig is a whole gateway for tests: the real one, on loopback, with two
// identity providers that can be made to lie, and clock and files in the test's
// hand.
package rig

import (
	"bytes"
	"context"
	"crypto/rand"
	"encoding/json"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"cambio/audit"
	"cambio/gateway"
	"cambio/providers"
	"cambio/providers/oidc"
	"cambio/standin"
)

// The parameters of a token exchange.
const (
	GrantType = "urn:ietf:params:oauth:grant-type:token-exchange"
	JWTType   = "urn:ietf:params:oauth:token-type:jwt"
	Fixed     = "The request was refused. Quote decision_id to the owner of the trust."
)

// TR1 and TR2 are the trusts of every test that brings no others.
const (
	TR1 = `name: tr1
owner: t1-team@acme.test
purpose: main of app reads t1
from: iss1
match: {repository_id: "2", repository_owner_id: "1", ref: refs/heads/main}
grants: [{to: t1, scopes: [read], ttl: 15m}]
`
	TR2 = `name: tr2
owner: t1-team@acme.test
purpose: production of app administers t2
from: iss1
match: {repository_id: "2", repository_owner_id: "1", ref: refs/heads/main, environment: production}
grants: [{to: t2, scopes: [admin], ttl: 15m}]
`
)

// Clock is the time of a rig: the real one, moved by what the test says.
type Clock struct {
	offset atomic.Int64
	frozen atomic.Pointer[time.Time]
}

// Now is the rig's time.
func (c *Clock) Now() time.Time {
	now := time.Now()
	if at := c.frozen.Load(); at != nil {
		now = *at
	}
	return now.Add(time.Duration(c.offset.Load()))
}

// Freeze stops the clock at a whole second, for tests of the exact second; Move
// still moves it.
func (c *Clock) Freeze() {
	at := time.Now().Truncate(time.Second)
	c.frozen.Store(&at)
}

// Move moves the clock.
func (c *Clock) Move(d time.Duration) { c.offset.Add(int64(d)) }

// Buffer is a log that may be read while it is written.
type Buffer struct {
	mu sync.Mutex
	b  bytes.Buffer
}

// Write appends.
func (b *Buffer) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.b.Write(p)
}

// String is all that was written so far.
func (b *Buffer) String() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.b.String()
}

// Setup says how a rig differs from the usual one. The zero value is healthy.
type Setup struct {
	Config      string            // replaces the whole configuration; {{ISS1}}, {{ISS2}} stand for the identity providers' URLs
	Limits      string            // replaces `limits`; default: none
	Server      string            // lines added at the top level, such as "trusted_proxies: [127.0.0.1/32]"
	Provider1   string            // lines added to the identity provider iss1, such as "algs: [ES256]"
	Provider2   string            // the same for iss2
	Providers   string            // lines added to the identity providers, such as "gitlab: {type: gitlab-ci, ...}"
	Targets     string            // lines added to the targets, such as "aws-prod: {type: aws, ...}"
	Peer        *Rig              // the other replica: clock and identity providers are its own
	Trusts      map[string]string // file name to document; default: tr1.yaml and tr2.yaml
	OpenSegment func(path string) (audit.File, error)
	Resolver    oidc.Resolver
	Dir         string // default: a new one
}

// Rig is a running gateway.
type Rig struct {
	T           testing.TB
	Clock       *Clock
	ISS1, ISS2  *standin.IdentityProvider
	Dir         string
	Config      gateway.Config
	Gateway     *gateway.Gateway
	URL         string // of the public handler
	AdminURL    string
	Log         *Buffer
	Checkpoints *Buffer

	server, admin *httptest.Server
	setup         Setup
}

// keys are made once for all rigs of a test binary: RSA keys are slow to make.
var keys = sync.OnceValues(func() ([]standin.Key, error) { return standin.DefaultKeys(rand.Reader) }) //nolint:gochecknoglobals // a cache of test keys

// New starts a gateway, and ends it with the test.
func New(tb testing.TB, s Setup) *Rig {
	tb.Helper()
	r := &Rig{T: tb, Clock: &Clock{}, Dir: s.Dir, Log: &Buffer{}, Checkpoints: &Buffer{}, setup: s}
	if r.Dir == "" {
		r.Dir = tb.TempDir()
	}
	if s.Peer != nil {
		r.Clock, r.ISS1, r.ISS2 = s.Peer.Clock, s.Peer.ISS1, s.Peer.ISS2
	} else {
		r.ISS1, r.ISS2 = r.identityProvider(), r.identityProvider()
	}
	r.WriteTrusts(s.Trusts)
	if err := r.Start(); err != nil {
		tb.Fatalf("the gateway does not start: %v", err)
	}
	tb.Cleanup(r.Stop)
	return r
}

func (r *Rig) identityProvider() *standin.IdentityProvider {
	r.T.Helper()
	shared, err := keys()
	if err != nil {
		r.T.Fatal(err)
	}
	p, err := standin.New(standin.Config{Now: r.Clock.Now, Rand: rand.Reader, Audience: "https://gw.test", Keys: shared})
	if err != nil {
		r.T.Fatal(err)
	}
	r.T.Cleanup(func() { _ = p.Close() })
	return p
}

// WriteTrusts replaces all documents.
func (r *Rig) WriteTrusts(documents map[string]string) {
	r.T.Helper()
	if documents == nil {
		documents = map[string]string{"tr1.yaml": TR1, "tr2.yaml": TR2}
	}
	dir := filepath.Join(r.Dir, "trust")
	if err := os.RemoveAll(dir); err != nil {
		r.T.Fatal(err)
	}
	if err := os.MkdirAll(dir, 0o700); err != nil {
		r.T.Fatal(err)
	}
	for name, text := range documents {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600); err != nil {
			r.T.Fatal(err)
		}
	}
}

// ConfigText is the configuration that the gateway is started with.
func (r *Rig) ConfigText() string {
	limits := r.setup.Limits
	if limits == "" {
		limits = "{per_address: none, per_workload: none}"
	}
	text := r.setup.Config
	if text == "" {
		text = `issuer: https://gw.test
limits: ` + limits + `
` + r.setup.Server + `
identity_providers:
  iss1:
    type: github-actions
    issuer: {{ISS1}}
    audience: https://gw.test
    insecure_loopback: true
` + extra(r.setup.Provider1) + `
  iss2:
    type: oidc
    issuer: {{ISS2}}
    audience: https://gw.test
    claims: {project: {type: string, anchor: true}}
    insecure_loopback: true
` + extra(r.setup.Provider2) + `
` + indented("  ", r.setup.Providers) + `
targets:
  t1: {type: jwt, audience: "api://t1", max_ttl: 1h}
  t2: {type: jwt, audience: "api://t2", max_ttl: 1h}
` + indented("  ", r.setup.Targets) + "\n"
	}
	return strings.NewReplacer("{{ISS1}}", r.ISS1.Issuer(), "{{ISS2}}", r.ISS2.Issuer()).Replace(text)
}

func extra(lines string) string { return indented("    ", lines) }

func indented(by, lines string) string {
	if lines == "" {
		return ""
	}
	return by + strings.ReplaceAll(strings.TrimSpace(lines), "\n", "\n"+by)
}

// Start opens the gateway and its listeners. New does it already.
func (r *Rig) Start() error {
	file := filepath.Join(r.Dir, "cambio.yaml")
	text := []byte(r.ConfigText())
	if err := os.WriteFile(file, text, 0o600); err != nil {
		return err
	}
	config, findings := gateway.ParseConfig(file, text, nil, os.ReadFile)
	if findings.HasErrors() {
		return findings
	}
	r.Config = config
	g, err := gateway.Open(context.Background(), config, gateway.Env{
		Now: r.Clock.Now, Rand: rand.Reader, Checkpoints: r.Checkpoints, Resolver: r.setup.Resolver, OpenSegment: r.setup.OpenSegment,
		Log: slog.New(slog.NewTextHandler(r.Log, &slog.HandlerOptions{Level: slog.LevelDebug})),
	})
	if err != nil {
		return err
	}
	r.Gateway = g
	r.server, r.admin = httptest.NewServer(g.Public()), httptest.NewServer(g.Admin())
	r.URL, r.AdminURL = r.server.URL, r.admin.URL
	return nil
}

// Stop ends the gateway in order. It may be called twice.
func (r *Rig) Stop() {
	if r.Gateway == nil {
		return
	}
	r.server.Close()
	r.admin.Close()
	if err := r.Gateway.Close(); err != nil {
		r.T.Errorf("close: %v", err)
	}
	r.Gateway = nil
}

// Restart ends the gateway and starts it again on the same folder.
func (r *Rig) Restart() {
	r.T.Helper()
	r.Stop()
	if err := r.Start(); err != nil {
		r.T.Fatalf("the gateway does not start again: %v", err)
	}
}

// Base are the claims of the usual good token of iss1; a nil value in changes
// removes a claim.
func (r *Rig) Base(changes map[string]any) map[string]any {
	now := r.Clock.Now().Unix()
	claims := map[string]any{
		"iss": r.ISS1.Issuer(), "aud": "https://gw.test", "sub": "repo:acme@1/app@2:ref:refs/heads/main",
		"jti": rand.Text(), "iat": now, "nbf": now, "exp": now + 300,
		"repository_id": "2", "repository_owner_id": "1", "repository": "acme/app", "repository_owner": "acme",
		"ref": "refs/heads/main", "event_name": "push",
	}
	for k, v := range changes {
		if v == nil {
			delete(claims, k)
			continue
		}
		claims[k] = v
	}
	return claims
}

// Token is the good token with these changes, signed by k1 of iss1 with RS256.
func (r *Rig) Token(changes map[string]any) string {
	r.T.Helper()
	payload, err := json.Marshal(r.Base(changes))
	if err != nil {
		r.T.Fatal(err)
	}
	return r.Sign(r.ISS1, standin.JWS{Payload: payload, Key: "k1", Alg: "RS256"})
}

// Sample is a good token of a platform of the catalogue with these changes, now and
// for this audience, signed by k1 of the identity provider, which is its issuer. A
// nil value removes a claim; one whose name begins with a slash is a JSON pointer.
func (r *Rig) Sample(platform string, p *standin.IdentityProvider, audience string, changes map[string]any) string {
	r.T.Helper()
	table, ok := providers.Platform(platform)
	if !ok {
		r.T.Fatalf("no platform %s", platform)
	}
	claims := map[string]any{}
	for name, v := range table.Sample {
		if _, alias := table.Aliases[name]; !alias {
			claims[name] = v
		}
	}
	now := r.Clock.Now().Unix()
	claims["iss"], claims["aud"], claims["iat"], claims["exp"] = p.Issuer(), audience, now, now+300
	if _, has := claims["nbf"]; has {
		claims["nbf"] = now
	}
	if _, has := claims["jti"]; has {
		claims["jti"] = rand.Text()
	}
	payload, err := json.Marshal(claims) // a copy, so that the catalogue's own maps stay as they are
	if err == nil {
		claims = map[string]any{}
		err = json.Unmarshal(payload, &claims)
	}
	if err != nil {
		r.T.Fatal(err)
	}
	for name, v := range changes {
		into, last := claims, name
		if strings.HasPrefix(name, "/") {
			steps := strings.Split(name[1:], "/")
			for _, step := range steps[:len(steps)-1] {
				into, _ = into[unescaped(step)].(map[string]any)
			}
			last = unescaped(steps[len(steps)-1])
		}
		if v == nil {
			delete(into, last)
			continue
		}
		into[last] = v
	}
	if payload, err = json.Marshal(claims); err != nil {
		r.T.Fatal(err)
	}
	return r.Sign(p, standin.JWS{Payload: payload, Key: "k1", Alg: "RS256"})
}

// unescaped is a step of a JSON pointer (RFC 6901 section 4).
func unescaped(step string) string {
	return strings.NewReplacer("~1", "/", "~0", "~").Replace(step)
}

// Sign signs with an identity provider's key; an empty header is made from Key
// and Alg.
func (r *Rig) Sign(p *standin.IdentityProvider, j standin.JWS) string {
	r.T.Helper()
	token, err := p.Sign(j)
	if err != nil {
		r.T.Fatal(err)
	}
	return token
}

// Form is the good form for this token, with target t1.
func Form(token string) url.Values {
	return url.Values{"grant_type": {GrantType}, "subject_token": {token}, "subject_token_type": {JWTType}, "audience": {"t1"}}
}

// Answer is what came back.
type Answer struct {
	Status   int
	Header   http.Header
	Raw      string
	Body     map[string]any
	Decision string // of the header
}

// Text is a member of the body as text.
func (a Answer) Text(name string) string {
	s, _ := a.Body[name].(string)
	return s
}

// Post sends a form to the token endpoint.
func (r *Rig) Post(form url.Values) Answer {
	r.T.Helper()
	req, err := http.NewRequest(http.MethodPost, r.URL+"/token", strings.NewReader(form.Encode()))
	if err != nil {
		r.T.Fatal(err)
	}
	req.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	return r.Do(req)
}

// Exchange shows a token for target t1.
func (r *Rig) Exchange(token string) Answer {
	r.T.Helper()
	return r.Post(Form(token))
}

// client never follows a redirect: the gateway sends none.
func client() *http.Client {
	return &http.Client{
		Timeout:       30 * time.Second,
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
		Transport:     &http.Transport{MaxIdleConnsPerHost: 256, DialContext: (&net.Dialer{Timeout: 5 * time.Second}).DialContext, DisableCompression: true},
	}
}

// shared keeps connections across requests.
var shared = sync.OnceValue(client) //nolint:gochecknoglobals // one pool of connections for all tests

// Do sends any request.
func (r *Rig) Do(req *http.Request) Answer {
	r.T.Helper()
	res, err := shared().Do(req)
	if err != nil {
		r.T.Fatal(err)
	}
	defer res.Body.Close()
	raw, err := io.ReadAll(res.Body)
	if err != nil {
		r.T.Fatal(err)
	}
	a := Answer{Status: res.StatusCode, Header: res.Header, Raw: string(raw), Decision: res.Header.Get("Cambio-Decision-Id")}
	if json.Unmarshal(raw, &a.Body) != nil {
		a.Body = nil
	}
	return a
}

// Get fetches a path of the admin listener.
func (r *Rig) Get(base, path string) Answer {
	r.T.Helper()
	req, err := http.NewRequest(http.MethodGet, base+path, nil)
	if err != nil {
		r.T.Fatal(err)
	}
	return r.Do(req)
}

// Control fails the test unless a fresh good token is exchanged: a gateway that
// denies everything must not pass.
func (r *Rig) Control() {
	r.T.Helper()
	if a := r.Exchange(r.Token(nil)); a.Status != http.StatusOK {
		r.T.Fatalf("the control request got %d %s\n%s", a.Status, a.Raw, r.Log)
	}
}

// Move moves the clock, and waits until the gateway has looked at its stop list
// again: by the new time its copy is old.
func (r *Rig) Move(d time.Duration) {
	r.T.Helper()
	r.Clock.Move(d)
	r.Settle()
}

// Settle waits until the gateway has a stop list to rely on.
func (r *Rig) Settle() {
	r.T.Helper()
	Eventually(r.T, "a stop list to rely on", func() bool {
		checks, _ := r.Get(r.AdminURL, "/readyz").Body["checks"].(map[string]any)
		return checks["stops"] == "ok"
	})
}

// JournalDir is where the journal lies.
func (r *Rig) JournalDir() string { return filepath.Join(r.Config.State, "journal") }

// Records are the records of a decision. It waits for one, as a refusal is
// appended and may come a moment later.
func (r *Rig) Records(decision string) []audit.Record {
	r.T.Helper()
	var found []audit.Record
	Eventually(r.T, "a record of "+decision, func() bool {
		var err error
		found, err = audit.Find(os.DirFS(r.JournalDir()), decision)
		return err == nil && len(found) > 0
	})
	return found
}

// Eventually polls until done, and fails the test after ten seconds.
func Eventually(tb testing.TB, what string, done func() bool) {
	tb.Helper()
	deadline := time.Now().Add(10 * time.Second)
	for !done() {
		if time.Now().After(deadline) {
			tb.Fatalf("never came: %s", what)
		}
		time.Sleep(5 * time.Millisecond)
	}
}

// Deny fails the test unless the answer is a refusal with invalid_request, the
// fixed sentence and one record with one of these reasons; "any" takes any.
func (r *Rig) Deny(a Answer, reasons ...string) {
	r.T.Helper()
	r.Refused(a, http.StatusBadRequest, "invalid_request", Fixed, reasons...)
}

// Unavailable fails the test unless the answer is a 503 with a record with this
// reason.
func (r *Rig) Unavailable(a Answer, reasons ...string) {
	r.T.Helper()
	r.Refused(a, http.StatusServiceUnavailable, "temporarily_unavailable", Fixed, reasons...)
	if s := a.Header.Get("Retry-After"); s == "" || strings.Trim(s, "0123456789") != "" {
		r.T.Errorf("Retry-After %q is no whole number of seconds", s)
	}
}

// hintForm is what a caller may be told beyond the fixed sentence: words of ours,
// and names of claims. No value has this form.
var hintForm = regexp.MustCompile(`^((The claims? [\w, /.-]+ (is not one|are not ones) that the trust takes\.|The token lacks the claims? [\w, /.-]+, which the trust asks for\.)( |$))+$`)

// hinting are the reasons that come with a hint.
func hinting() []string {
	return []string{"condition-false", "event-not-named", "no-matching-trust"}
}

// Refused fails the test unless the answer is this refusal, and recorded.
func (r *Rig) Refused(a Answer, status int, code, text string, reasons ...string) {
	r.T.Helper()
	want := map[string]any{"error": code, "error_description": text, "decision_id": a.Decision}
	members := len(want)
	_, hinted := a.Body["error_hint"]
	if hinted {
		members++
		if !hintForm.MatchString(a.Text("error_hint")) {
			r.T.Errorf("a hint of another form: %s", a.Raw)
		}
	}
	if a.Status != status || len(a.Body) != members || a.Body["error"] != want["error"] || a.Body["error_description"] != want["error_description"] || a.Body["decision_id"] != want["decision_id"] {
		r.T.Errorf("got %d %s, want %d %v", a.Status, a.Raw, status, want)
		return
	}
	if a.Header.Get("Cache-Control") != "no-store" || a.Header.Get("Content-Type") != "application/json" || a.Decision == "" {
		r.T.Errorf("headers %v", a.Header)
	}
	if len(reasons) == 0 {
		return
	}
	// A stop that came while the decision was written leaves an allowed decision,
	// and then the record that tells its end.
	var rec audit.Record
	Eventually(r.T, "the end of "+a.Decision, func() bool {
		records := r.Records(a.Decision)
		rec = records[len(records)-1]
		return rec.Event != audit.ExchangeAllowed
	})
	if rec.Event != audit.ExchangeDenied && rec.Event != audit.ExchangeFailed && rec.Event != audit.ExchangeDryRun {
		r.T.Errorf("recorded as %s", rec.Event)
	}
	if hinted && !slices.Contains(hinting(), rec.Reason) {
		r.T.Errorf("a hint for %s: %s", rec.Reason, a.Raw)
	}
	if !slices.Contains(reasons, rec.Reason) && !slices.Contains(reasons, "any") {
		r.T.Errorf("recorded with reason %s, want one of %v", rec.Reason, reasons)
	}
}

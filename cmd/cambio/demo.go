package main

import (
	"bytes"
	"context"
	"crypto/rand"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"text/template"
	"time"

	"github.com/spf13/cobra"

	"cambio/audit"
	"cambio/gateway"
	"cambio/standin"
	"cambio/stops"
	"cambio/trust"
)

func demoCommand(c *common) *cobra.Command {
	var stay bool
	cmd := &cobra.Command{
		Use:   "demo",
		Short: "Run a gateway on loopback and show real exchanges",
		Long: `Starts a gateway on loopback with the embedded default (no Redis, no cloud), and a
stand-in for GitHub Actions that signs tokens of the same shape. Then it shows,
each with what was sent and what came back: an allowed exchange, the same token
again, a pull request, a narrower scope, a stop in force, and the journal
verified. It ends by itself; --stay keeps everything up to play with.`,
		Args: noArgs,
		RunE: func(cmd *cobra.Command, _ []string) error { return c.runDemo(cmd.Context(), stay) },
	}
	cmd.Flags().BoolVar(&stay, "stay", false, "keep the gateway up until interrupted")
	return cmd
}

// demo is one run of the demonstration.
type demo struct {
	io     *stdio
	dir    string
	url    string // the gateway's, and its issuer
	config gateway.Config
	idp    *standin.IdentityProvider
	step   int
}

const demoConfig = `issuer: {{.Gateway}}
listen: {{.Listen}}
admin_listen: {{.Admin}}
identity_providers:
  github:
    type: github-actions
    issuer: {{.IdentityProvider}}       # the stand-in; a real gateway leaves this out
    audience: {{.Gateway}}
    insecure_loopback: true             # http to the stand-in; refused off loopback
targets:
  orders-api: {type: jwt, audience: "https://orders.acme.example"}
`

const demoTrust = `name: orders-report
owner: orders-team@acme.example
purpose: The nightly report on main reads orders
from: github
match:
  repository_id: "2"
  repository_owner_id: "1"
  ref: refs/heads/main
when:
  - claims.runner_environment == "github-hosted"
grants:
  - {to: orders-api, scopes: ["orders:read", "orders:list"], ttl: 10m}
tests:
  - {name: main may read, claims: {}, ask: {to: orders-api}, expect: allow}
  - {name: a pull request may not, claims: {event_name: pull_request, ref: refs/pull/1/merge}, ask: {to: orders-api}, expect: deny}
`

// runDemo starts the gateway and the stand-in, tells the story, and takes all
// away again.
func (c *common) runDemo(ctx context.Context, stay bool) (err error) {
	dir, err := os.MkdirTemp("", "cambio-demo-")
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, os.RemoveAll(dir)) }()
	idp, err := standin.New(standin.Config{Now: c.io.now, Rand: rand.Reader}) //nolint:contextcheck // it listens until it is closed
	if err != nil {
		return err
	}
	defer idp.Close() //nolint:errcheck // it holds nothing that could be lost
	d := &demo{io: c.io, dir: dir, idp: idp}
	if err := d.write(); err != nil {
		return err
	}
	captured, err := os.OpenFile(d.file("checkpoints.jsonl"), os.O_CREATE|os.O_WRONLY|os.O_APPEND, 0o600)
	if err != nil {
		return err
	}
	defer captured.Close() //nolint:errcheck // a copy of what the journal holds, in a folder that goes away
	g, err := gateway.Open(ctx, d.config, gateway.Env{
		Now: c.io.now, Rand: rand.Reader, Checkpoints: captured,
		Log: slog.New(slog.NewTextHandler(c.io.err, &slog.HandlerOptions{Level: slog.LevelWarn})),
	})
	if err != nil {
		return err
	}
	return errors.Join(d.serve(ctx, g, stay), g.Close())
}

// serve runs the gateway while the story is told.
func (d *demo) serve(ctx context.Context, g *gateway.Gateway, stay bool) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	started, ended := make(chan struct{}), make(chan error, 1)
	go func() { ended <- g.Serve(ctx, func() { close(started) }) }()
	select {
	case err := <-ended:
		return err
	case <-started:
	}
	err := d.tell(ctx)
	if err == nil && stay {
		err = d.stay(ctx)
	}
	cancel()
	return errors.Join(err, <-ended)
}

// write puts configuration and trust document into the demo's folder, and reads
// them as `cambio serve` would.
func (d *demo) write() error {
	listen, err := freeAddress()
	if err != nil {
		return err
	}
	admin, err := freeAddress()
	if err != nil {
		return err
	}
	d.url = "http://" + listen
	var config bytes.Buffer
	err = template.Must(template.New("config").Parse(demoConfig)).Execute(&config, map[string]string{
		"Gateway": d.url, "Listen": listen, "Admin": admin, "IdentityProvider": d.idp.Issuer(),
	})
	if err != nil {
		return err
	}
	if err := os.Mkdir(d.file("trust"), 0o700); err != nil {
		return err
	}
	for name, data := range map[string][]byte{"cambio.yaml": config.Bytes(), "trust/orders-report.yaml": []byte(demoTrust)} {
		if err := os.WriteFile(d.file(name), data, 0o600); err != nil {
			return err
		}
	}
	parsed, findings := gateway.ParseConfig(d.file("cambio.yaml"), config.Bytes(), d.io.lookup, d.io.readFile)
	if findings.HasErrors() {
		return findings
	}
	d.config = parsed
	return nil
}

func (d *demo) file(name string) string { return filepath.Join(d.dir, name) }

// freeAddress is a loopback address that nobody listens on.
func freeAddress() (string, error) {
	l, err := net.Listen("tcp", "127.0.0.1:0") //nolint:noctx // closed at once
	if err != nil {
		return "", err
	}
	return l.Addr().String(), l.Close()
}

// tell is the story.
func (d *demo) tell(ctx context.Context) error {
	d.printf("%s", d.io.bold("Cambio: the identity a workload already has, for a credential that lives minutes"))
	d.printf("gateway             %s  (embedded default: one replica, no Redis)", d.url)
	d.printf("identity provider   %s  (a stand-in that signs GitHub-shaped tokens; not GitHub)", d.idp.Issuer())
	d.printf("\ntrust/orders-report.yaml, the reviewed document that decides:\n%s", indent(d.io.faint(strings.TrimSpace(demoTrust))))
	for _, scene := range []func(context.Context) error{
		d.allowed, d.pullRequest, d.narrower, d.stopped, d.verified,
	} {
		if err := scene(ctx); err != nil {
			return err
		}
	}
	return nil
}

func (d *demo) allowed(ctx context.Context) error {
	token := d.token(nil)
	d.title("A job on main shows its GitHub token")
	a, err := d.exchange(ctx, token, nil)
	if err != nil {
		return err
	}
	if err := a.expect(http.StatusOK, ""); err != nil {
		return err
	}
	if err := d.printJWT(a.AccessToken); err != nil {
		return err
	}
	d.title("The same token again, as a thief would")
	if a, err = d.exchange(ctx, token, nil); err != nil {
		return err
	}
	return a.expect(http.StatusBadRequest, "already used")
}

func (d *demo) pullRequest(ctx context.Context) error {
	claims := map[string]any{
		"event_name": "pull_request", "ref": "refs/pull/7/merge", "head_ref": "patch-1", "base_ref": "main",
		"sub": "repo:acme@1/app@2:pull_request",
	}
	token := d.token(claims)
	d.title("A pull request of the same repository")
	a, err := d.exchange(ctx, token, nil)
	if err != nil {
		return err
	}
	if err := a.expect(http.StatusBadRequest, "refused"); err != nil {
		return err
	}
	payload, err := gateway.PayloadOf([]byte(token))
	if err != nil {
		return err
	}
	e, err := gateway.Explain(d.config, gateway.Question{
		Provider: "github", Claims: payload, Ask: trust.Request{Target: "orders-api"}, At: d.io.now(),
	})
	if err != nil {
		return err
	}
	d.printf("  The caller learns no more. The owner asks `cambio trust explain`:\n%s", indent(strings.TrimSpace(e.String())))
	return nil
}

func (d *demo) narrower(ctx context.Context) error {
	d.title("Less than the grant: one scope, for one minute")
	a, err := d.exchange(ctx, d.token(nil), url.Values{"scope": {"orders:read"}, "ttl": {"60"}})
	if err != nil {
		return err
	}
	return a.expect(http.StatusOK, "orders:read")
}

// stopPatience is how long the demo waits for what is promised within 5 s.
const stopPatience = 6 * time.Second

func (d *demo) stopped(ctx context.Context) error {
	const workload = "spiffe://127.0.0.1/github/1/2"
	d.title("The kill switch: cambio stop add workload " + workload)
	store := stops.Store{Dir: d.config.State, Now: d.io.now, Rand: rand.Reader}
	stop, err := store.Add(trust.Stop{Kind: trust.StopWorkload, What: workload, Reason: "demo: the runner was taken over"})
	if err != nil {
		return err
	}
	start := d.io.now()
	for {
		a, err := d.post(ctx, d.token(nil), url.Values{"dry_run": {"true"}})
		if err != nil {
			return err
		}
		if a.status == http.StatusBadRequest {
			break
		}
		if d.io.now().Sub(start) > stopPatience {
			return errors.New("the stop was not in force in time")
		}
		time.Sleep(100 * time.Millisecond)
	}
	d.printf("  in force after %.1f s", d.io.now().Sub(start).Seconds())
	a, err := d.exchange(ctx, d.token(nil), nil)
	if err != nil {
		return err
	}
	if err := a.expect(http.StatusBadRequest, "refused"); err != nil {
		return err
	}
	_, err = store.Lift(stop.ID)
	return err
}

func (d *demo) verified(context.Context) error {
	d.title("The journal, verified: cambio audit verify --upto checkpoints.jsonl")
	captured, err := os.Open(d.file("checkpoints.jsonl"))
	if err != nil {
		return err
	}
	defer captured.Close() //nolint:errcheck // read only
	report, err := audit.Verify(os.DirFS(filepath.Join(d.config.State, "journal")), audit.Options{Upto: captured})
	if err != nil {
		return err
	}
	if len(report.Problems) > 0 {
		return fmt.Errorf("the journal is not what was written: %v", report.Problems)
	}
	d.printf("  ok: %d records, hash-chained; %d signed checkpoints; every answer above is in it", report.Records, report.Checkpoints)
	return nil
}

func (d *demo) stay(ctx context.Context) error {
	token := d.file("token.jwt")
	if err := os.WriteFile(token, []byte(d.token(nil)), 0o600); err != nil {
		return err
	}
	d.printf("\n%s Everything stays up until Ctrl-C. In another terminal:", d.io.bold("--stay"))
	for _, line := range []string{
		"export CAMBIO_CONFIG=" + d.file("cambio.yaml") + " CAMBIO_SERVER=" + d.url,
		strings.Join(d.idp.Environment(), " ") + " cambio exchange --to orders-api --show",
		"cambio exchange --to orders-api --token-file " + token + " -o json --show",
		"cambio audit tail",
		"cambio stop list",
	} {
		d.printf("  %s", line)
	}
	<-ctx.Done()
	return nil
}

// token is a fresh token of the stand-in for this gateway.
func (d *demo) token(claims map[string]any) string {
	all := map[string]any{"aud": d.url}
	for k, v := range claims {
		all[k] = v
	}
	return d.idp.Token(all)
}

// demoAnswer is what came back from the token endpoint.
type demoAnswer struct {
	status      int
	body        []byte
	AccessToken string `json:"access_token"`
}

// expect fails the demo when the gateway did something else than the scene says:
// a demo that cannot fail shows nothing.
func (a demoAnswer) expect(status int, text string) error {
	if a.status != status || !bytes.Contains(a.body, []byte(text)) {
		return fmt.Errorf("the gateway answered %d %s", a.status, a.body)
	}
	return nil
}

// exchange posts the form, and shows what is sent and what comes back.
func (d *demo) exchange(ctx context.Context, token string, more url.Values) (demoAnswer, error) {
	asked := ""
	for _, name := range []string{"scope", "ttl"} {
		if more.Has(name) {
			asked += " " + name + "=" + more.Get(name)
		}
	}
	d.printf("  → POST /token  audience=orders-api%s  subject_token=%s", asked, shorten(token))
	a, err := d.post(ctx, token, more)
	if err != nil {
		return a, err
	}
	colour := d.io.green
	if a.status != http.StatusOK {
		colour = d.io.red
	}
	shown := strings.ReplaceAll(string(a.body), a.AccessToken, shorten(a.AccessToken))
	d.printf("  ← %s %s", colour(fmt.Sprint(a.status)), strings.TrimSpace(shown))
	return a, nil
}

func (d *demo) post(ctx context.Context, token string, more url.Values) (demoAnswer, error) {
	form := url.Values{
		"grant_type":         {"urn:ietf:params:oauth:grant-type:token-exchange"},
		"subject_token":      {token},
		"subject_token_type": {"urn:ietf:params:oauth:token-type:jwt"},
		"audience":           {"orders-api"},
	}
	for k, v := range more {
		form[k] = v
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, d.url+"/token", strings.NewReader(form.Encode()))
	if err != nil {
		return demoAnswer{}, err
	}
	req.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	res, err := (&http.Client{Timeout: 10 * time.Second}).Do(req)
	if err != nil {
		return demoAnswer{}, err
	}
	defer res.Body.Close()
	a := demoAnswer{status: res.StatusCode}
	if a.body, err = io.ReadAll(io.LimitReader(res.Body, maxInput)); err != nil {
		return a, err
	}
	return a, json.Unmarshal(a.body, &a)
}

// printJWT shows a JWT decoded.
func (d *demo) printJWT(token string) error {
	for i, name := range []string{"header", "claims"} {
		part, err := base64.RawURLEncoding.DecodeString(strings.Split(token, ".")[i])
		if err != nil {
			return err
		}
		d.printf("  %s %s", name, part)
	}
	return nil
}

func (d *demo) title(text string) {
	d.step++
	d.printf("\n%s", d.io.bold(fmt.Sprintf("%d. %s", d.step, text)))
}

func (d *demo) printf(format string, args ...any) {
	_, _ = fmt.Fprintf(d.io.out, format+"\n", args...) // a closed pipe ends the demo by its signal
}

func shorten(token string) string {
	if len(token) < 24 {
		return token
	}
	return fmt.Sprintf("%s…%s (%d bytes)", token[:10], token[len(token)-6:], len(token))
}

func indent(text string) string { return "    " + strings.ReplaceAll(text, "\n", "\n    ") }

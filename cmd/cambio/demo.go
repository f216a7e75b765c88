package main

import (
	"bytes"
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"log/slog"
	"math/big"
	"net"
	"os"
	"os/signal"
	"path/filepath"
	"syscall"
	"text/template"

	"github.com/spf13/cobra"

	"cambio/gateway"
	"cambio/standin"
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
		RunE: func(cmd *cobra.Command, _ []string) error {
			ctx, stop := signal.NotifyContext(cmd.Context(), leavings()...)
			defer stop()
			err := c.runDemo(ctx, stay)
			if err != nil && ctx.Err() != nil {
				return &failure{code: exitInterrupted, err: errors.New("interrupted")}
			}
			return err
		},
	}
	cmd.Flags().BoolVar(&stay, "stay", false, "keep the gateway up until interrupted")
	return cmd
}

// leavings are the signals of a terminal that was closed and of a reader that
// went away. They would end the program before it has taken its folder away.
func leavings() []os.Signal {
	if signal.Ignored(syscall.SIGHUP) { // nohup
		return []os.Signal{syscall.SIGPIPE}
	}
	return []os.Signal{syscall.SIGPIPE, syscall.SIGHUP}
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
admin_listen: 127.0.0.1:0
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
	d.url = "http://" + listen
	var config bytes.Buffer
	err = template.Must(template.New("config").Parse(demoConfig)).Execute(&config, map[string]string{
		"Gateway": d.url, "Listen": listen, "IdentityProvider": d.idp.Issuer(),
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

// freeAddress is a loopback address that nobody listens on. It is below the
// ports that the system hands out by itself, so that it stays free until the
// gateway listens there.
func freeAddress() (string, error) {
	const first, ports = 20_000, 12_000
	for range 100 {
		n, err := rand.Int(rand.Reader, big.NewInt(ports))
		if err != nil {
			return "", err
		}
		l, err := net.Listen("tcp", fmt.Sprintf("127.0.0.1:%d", first+n.Int64())) //nolint:noctx // closed at once
		if err != nil {
			continue // taken
		}
		return l.Addr().String(), l.Close()
	}
	return "", errors.New("no free port on 127.0.0.1")
}

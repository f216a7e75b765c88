package main

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"time"

	"cambio/audit"
	"cambio/gateway"
	"cambio/stops"
	"cambio/trust"
)

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
	d.printf("  The caller learns no more. The owner asks `%s trust explain`:\n%s", d.io.program, indent(strings.TrimSpace(e.String())))
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
	d.title("The kill switch: " + d.io.program + " stop add workload " + workload)
	store := stops.Store{Dir: d.config.State, Now: d.io.now, Rand: rand.Reader}
	stop, err := store.Add(trust.Stop{Kind: trust.StopWorkload, What: workload, Reason: "demo: the runner was taken over"})
	if err != nil {
		return err
	}
	start := d.io.now()
	if err := d.until(ctx, http.StatusBadRequest); err != nil {
		return err
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

// until asks, without using a token up, until the answer has this status.
func (d *demo) until(ctx context.Context, status int) error {
	for start := d.io.now(); ; time.Sleep(250 * time.Millisecond) {
		a, err := d.post(ctx, d.token(nil), url.Values{"dry_run": {"true"}})
		if err != nil || a.status == status {
			return err
		}
		if d.io.now().Sub(start) > stopPatience {
			return errors.New("the stop list was not followed in time")
		}
	}
}

func (d *demo) verified(context.Context) error {
	d.title("The journal, verified: " + d.io.program + " audit verify --upto checkpoints.jsonl")
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
	d.printf("  ok: %d records, hash-chained; signed checkpoints: %d; every answer above is in it", report.Records, report.Checkpoints)
	return nil
}

func (d *demo) stay(ctx context.Context) error {
	// The stop of the last scene was lifted a moment ago.
	if err := d.until(ctx, http.StatusOK); err != nil {
		return err
	}
	token := d.file("token.jwt")
	if err := os.WriteFile(token, []byte(d.token(nil)), 0o600); err != nil {
		return err
	}
	d.printf("\n%s Everything stays up until Ctrl-C. In another terminal:", d.io.bold("--stay"))
	for _, line := range []string{
		"export CAMBIO_CONFIG=" + gateway.ShellWord(d.file("cambio.yaml")) + " CAMBIO_SERVER=" + d.url,
		strings.Join(d.idp.Environment(), " ") + " " + d.io.program + " exchange --to orders-api --show",
		d.io.program + " exchange --to orders-api --token-file " + gateway.ShellWord(token) + " -o json --show",
		"    (works once: try it twice)",
		d.io.program + " audit tail",
		d.io.program + " stop list",
	} {
		d.printf("  %s", line)
	}
	<-ctx.Done()
	return nil
}

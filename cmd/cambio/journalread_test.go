package main

import (
	"bytes"
	"fmt"
	"io"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"cambio/audit"
	"cambio/gateway"
	"cambio/trust"
	"cambio/trust/backtest"
)

const fleetConfig = `issuer: https://id.acme.example
tls: {terminated_by: [10.0.0.0/8]}
identity_providers:
  github: {type: github-actions, audience: "https://id.acme.example"}
targets:
  orders-api: {type: jwt, audience: "https://orders.acme.example"}
`

// fleet writes a configuration with trusts, and a journal of that many decisions
// about them, one in ten a refusal, over 90 days before end.
func fleet(tb testing.TB, trusts, records int, end time.Time) (dir string) {
	tb.Helper()
	dir = tb.TempDir()
	write := func(name, text string) {
		tb.Helper()
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600); err != nil {
			tb.Fatal(err)
		}
	}
	for _, sub := range []string{"trust", "state", "state/journal"} {
		if err := os.Mkdir(filepath.Join(dir, sub), 0o700); err != nil {
			tb.Fatal(err)
		}
	}
	write("cambio.yaml", fleetConfig+"trust: "+dir+"/trust\nstate: "+dir+"/state\n")
	for i := range trusts {
		write(fmt.Sprintf("trust/t%d.yaml", i), fmt.Sprintf(`name: t%d
owner: team@acme.example
purpose: Repository %d reads orders
from: github
match:
  repository_id: "%d"
  repository_owner_id: "9919"
  ref: {glob: "refs/heads/*"}
when: ['claims.runner_environment == "github-hosted"', 'request.ttl <= duration("1h")']
access: {networks: [10.0.0.0/8], hours: "Mon-Sun 00:00-24:00 UTC"}
grants:
  - {to: orders-api, scopes: ["orders:read", "orders:list"], ttl: 15m}
`, i, i, 1000+i))
	}
	var b bytes.Buffer
	at := end.Add(-90 * 24 * time.Hour)
	step := 90 * 24 * time.Hour / time.Duration(records+1)
	for seq := range records {
		at = at.Add(step)
		i := seq % trusts
		id := fmt.Sprintf("01a2%04x-%04x-7000-8000-%012x", seq>>16, seq&0xffff, seq)
		claims := fmt.Sprintf(fleetClaims, at.Unix()+300, at.Unix(), i, []string{"main", "dev"}[seq%2], i, 1000+i, seq, seq, map[bool]string{true: "self-hosted", false: "github-hosted"}[seq%10 == 9], i)
		verdict := `"event":"exchange.allowed","decision":"` + id + `"`
		if seq%10 == 9 {
			verdict = `"event":"exchange.denied","decision":"` + id + `","reason":"condition-false"`
		}
		fmt.Fprintf(&b, `{"id":"%s","seq":%d,"time":"%s","replica":"gw-0",%s,"provider":"github","workload":"spiffe://id.acme.example/github/9919/%d","subject":"repo:acme/app%d:ref:refs/heads/main","trust":"t%d","trust_sha256":"%064x","policy_sha256":"%064x","target":"orders-api","scope":"orders:read orders:list","ttl":900,"token_sha256":"%064x","address":"10.1.%d.%d","claims":%s,"prev":"%064x"}`+"\n",
			id, seq+1, at.UTC().Format(time.RFC3339Nano), verdict, 1000+i, i, i, i, 1, seq, i%256, seq%4, claims, seq)
	}
	write("state/journal/00000001.jsonl", b.String())
	return dir
}

// fleetClaims is what the journal keeps of a job.
const fleetClaims = `{"base_ref":"","event_name":"push","exp":%d,"iat":%d,"iss":"https://token.actions.githubusercontent.com",` +
	`"job_workflow_ref":"acme/app%d/.github/workflows/deploy.yml@refs/heads/main","ref":"refs/heads/%s","ref_type":"branch",` +
	`"repository":"acme/app%d","repository_id":"%d","repository_owner":"acme","repository_owner_id":"9919","repository_visibility":"private",` +
	`"run_attempt":"1","run_id":"%d","run_number":"%d","runner_environment":"%s","sha":"3b18e512dba79e4c8300dd08aeb37f8e728b8dad",` +
	`"workflow_ref":"acme/app%d/.github/workflows/deploy.yml@refs/heads/main"}`

func testIO(now time.Time) *stdio {
	return &stdio{
		in: strings.NewReader(""), out: io.Discard, err: io.Discard, getenv: func(string) string { return "" },
		lookup: func(string) (string, bool) { return "", false }, readFile: os.ReadFile, now: func() time.Time { return now }, program: "cambio",
	}
}

func load(tb testing.TB, dir string, now time.Time) (*common, gateway.Config) {
	tb.Helper()
	c := &common{io: testIO(now), config: filepath.Join(dir, "cambio.yaml"), output: "text"}
	config, err := c.load()
	if err != nil {
		tb.Fatal(err)
	}
	return c, config
}

func TestDecisionOf(t *testing.T) {
	t.Parallel()
	at := time.Date(2027, 3, 1, 8, 0, 0, 0, time.UTC)
	full := audit.Record{
		Time: at, Event: audit.ExchangeAllowed, Decision: "d", Provider: "p", Workload: "w", Subject: "s", Trust: "t", TrustSHA256: "a",
		PolicySHA256: "b", Target: "x", Resource: "r", Scope: "one two", TTL: 60, Address: "10.0.0.1", Claims: map[string]any{"ref": "main"},
	}
	want := backtest.Record{
		Time: at, Allowed: true, Decision: "d", Provider: "p", Workload: "w", Subject: "s", Trust: "t", TrustSHA256: "a",
		PolicySHA256: "b", Target: "x", Resource: "r", Scopes: []string{"one", "two"}, TTL: time.Minute, Address: netip.MustParseAddr("10.0.0.1"),
		Claims: map[string]any{"ref": "main"}, NonceKnown: true,
	}
	for name, c := range map[string]struct {
		change func(*audit.Record)
		want   func(*backtest.Record)
	}{
		"allowed": {func(*audit.Record) {}, func(*backtest.Record) {}},
		"nonce":   {func(r *audit.Record) { r.Replay = &audit.Replay{Nonce: "k"} }, func(d *backtest.Record) { d.Nonce = true }},
		"denied": {
			func(r *audit.Record) { r.Event, r.Reason = audit.ExchangeDenied, "condition-false" },
			func(d *backtest.Record) { d.Allowed, d.Reason, d.NonceKnown = false, trust.ReasonConditionFalse, false },
		},
		"without a nonce": {
			func(r *audit.Record) { r.Event, r.Reason = audit.ExchangeDenied, "nonce-required" },
			func(d *backtest.Record) { d.Allowed, d.Reason = false, trust.ReasonNonceRequired },
		},
		"dry run": {func(r *audit.Record) { r.Event = audit.ExchangeDryRun }, func(d *backtest.Record) { d.DryRun, d.NonceKnown = true, false }},
		"shadow": {
			func(r *audit.Record) { r.Event, r.TrustSHA256 = audit.ExchangeDryRun, "" },
			func(d *backtest.Record) { d.DryRun, d.Shadow, d.TrustSHA256, d.NonceKnown = true, true, "", false },
		},
		"no claims": {func(r *audit.Record) { r.Claims = nil }, func(d *backtest.Record) { d.Claims = nil }},
		"address":   {func(r *audit.Record) { r.Address = "elsewhere" }, func(d *backtest.Record) { d.Address = netip.Addr{} }},
	} {
		r, w := full, want
		c.change(&r)
		c.want(&w)
		if diff := cmp.Diff(w, decisionOf(r), cmp.Comparer(func(a, b netip.Addr) bool { return a == b })); diff != "" {
			t.Errorf("%s: %s", name, diff)
		}
	}
}

func TestLastAllowed(t *testing.T) {
	t.Parallel()
	end := time.Date(2027, 3, 1, 8, 0, 0, 0, time.UTC)
	dir := fleet(t, 3, 100, end)
	c, config := load(t, dir, end)
	last, err := c.lastAllowed(config, window{since: "30d"})
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"t0", "t1", "t2"} {
		if at := last[name]; at.Before(end.Add(-5*24*time.Hour)) || at.After(end) {
			t.Errorf("%s: %v", name, at)
		}
	}
	if len(last) != 3 {
		t.Errorf("%v", last)
	}
}

// BenchmarkBacktest judges a journal of 20,000 decisions of 1,000 trusts again;
// a million must take less than a minute on two processors.
func BenchmarkBacktest(b *testing.B) {
	const records = 20_000
	end := time.Date(2027, 3, 1, 8, 0, 0, 0, time.UTC)
	dir := fleet(b, 1000, records, end)
	c, config := load(b, dir, end)
	policy, findings := gateway.LoadPolicy(config, end)
	if policy == nil {
		b.Fatal(findings)
	}
	for b.Loop() {
		test := backtest.New(policy, configured(config), 3)
		err := c.readJournals(config, window{}, "", func() decisions {
			w := test.Worker()
			return decisions{each: w.Add, summary: w.Summary}
		})
		if err != nil {
			b.Fatal(err)
		}
		if r := test.Report(); r.Judged+r.Undecided != records || r.Kept < records*8/10 {
			b.Fatal(r.Text())
		}
	}
	b.ReportMetric(float64(records)*float64(b.N)/b.Elapsed().Seconds(), "decisions/s")
}

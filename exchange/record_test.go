package exchange_test

import (
	"errors"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"cambio/audit"
	"cambio/exchange"
	"cambio/trust"
)

// TestClaimsOfRecords holds what of a token's claims stands in the journal: what
// the provider lists, of each proven token; what an allowed decision rests on;
// and nothing of a token that is not proven.
func TestClaimsOfRecords(t *testing.T) {
	listed := map[string]any{"ref": "refs/heads/main"}
	evil := map[string]any{"ref": "refs/heads/evil"}
	rests := map[string]any{"ref": "refs/heads/main", "repository_id": "2"}
	for name, c := range map[string]struct {
		change func(*world, *exchange.Request)
		event  audit.Event
		want   map[string]any
	}{
		"allowed":              {func(*world, *exchange.Request) {}, audit.ExchangeAllowed, rests},
		"allowed, none listed": {func(w *world, _ *exchange.Request) { w.journal = nil }, audit.ExchangeAllowed, rests},
		"dry run":              {func(_ *world, r *exchange.Request) { r.DryRun = true }, audit.ExchangeDryRun, rests},
		"denied":               {func(w *world, _ *exchange.Request) { w.proof.Claims["ref"] = "refs/heads/evil" }, audit.ExchangeDenied, evil},
		"denied, none listed": {
			func(w *world, _ *exchange.Request) { w.proof.Claims["ref"], w.journal = "refs/heads/evil", nil }, audit.ExchangeDenied, nil,
		},
		"denied dry run": {
			func(w *world, r *exchange.Request) { w.proof.Claims["ref"], r.DryRun = "refs/heads/evil", true }, audit.ExchangeDryRun, evil,
		},
		"without the claim":    {func(w *world, _ *exchange.Request) { delete(w.proof.Claims, "ref") }, audit.ExchangeDenied, nil},
		"replayed":             {func(w *world, _ *exchange.Request) { w.used["key-1"] = "other" }, audit.ExchangeDenied, rests},
		"stops unknown":        {func(w *world, _ *exchange.Request) { w.stopsErr = errors.New("old") }, audit.ExchangeDenied, listed},
		"a nonce that is none": {func(w *world, _ *exchange.Request) { w.proof.Nonce = "cn1.x" }, audit.ExchangeDenied, listed},
		"not proven": {
			func(w *world, _ *exchange.Request) { w.verifyErr = exchange.Refuse(trust.ReasonSignature, nil) }, audit.ExchangeDenied, nil,
		},
		"proven, and expired": {
			func(w *world, _ *exchange.Request) { w.verifyErr = exchange.Refuse(trust.ReasonExpired, nil) }, audit.ExchangeDenied, nil,
		},
		"claims that contradict each other": {
			func(w *world, _ *exchange.Request) { w.verifyErr = exchange.Refuse(trust.ReasonClaimInvalid, nil) }, audit.ExchangeDenied, nil,
		},
	} {
		t.Run(name, func(t *testing.T) {
			w := newWorld()
			w.journal = []string{"ref"}
			r := request()
			c.change(w, &r)
			_, _ = w.broker(t).Exchange(t.Context(), r) // the record is what is looked at
			first := w.records[0]
			if diff := cmp.Diff(c.want, first.Claims, equateEmpty()); diff != "" || first.Event != c.event {
				t.Errorf("%s: %s", first.Event, diff)
			}
		})
	}
}

func equateEmpty() cmp.Option {
	return cmp.FilterValues(func(a, b map[string]any) bool { return len(a) == 0 && len(b) == 0 }, cmp.Ignore())
}

// TestShadowRecordStandsAlone: what a trust on trial would have allowed can be
// judged again by its own record.
func TestShadowRecordStandsAlone(t *testing.T) {
	w := newWorld()
	w.journal = []string{"ref"}
	w.others = []string{strings.Replace(strings.Replace(document, "name: tr1", "name: tr2", 1), "from: ci", "from: ci\nmode: shadow", 1)}
	r := request()
	r.Ask.Scopes = []string{"read"}
	if _, err := w.broker(t).Exchange(t.Context(), r); err != nil {
		t.Fatal(err)
	}
	shadow, allowed := w.records[0], w.records[1]
	if shadow.Event != audit.ExchangeDryRun || shadow.Trust != "tr2" || shadow.Target != "t1" || shadow.Scope != "read" ||
		shadow.Workload != allowed.Workload || shadow.Claims["ref"] != "refs/heads/main" {
		t.Errorf("%+v", shadow)
	}
}

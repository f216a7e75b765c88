package exchange_test

import (
	"errors"
	"testing"

	"cambio/exchange"
	"cambio/trust"
)

// A proven token whose claims are of no use is refused whatever the policy
// says; where no trust matches it either, that is recorded.
func TestUnfit(t *testing.T) {
	for name, row := range map[string]struct {
		reason trust.Reason
		change func(*world, *exchange.Request)
		want   trust.Reason
	}{
		"a trust matches":               {trust.ReasonWorkloadClaim, func(*world, *exchange.Request) {}, trust.ReasonWorkloadClaim},
		"no trust matches":              {trust.ReasonWorkloadClaim, func(w *world, _ *exchange.Request) { delete(w.proof.Claims, "repository_id") }, trust.ReasonConditionFalse},
		"no claims at all":              {trust.ReasonWorkloadClaim, func(w *world, _ *exchange.Request) { w.proof.Claims = nil }, trust.ReasonConditionFalse},
		"no trust of the provider":      {trust.ReasonWorkloadClaim, func(w *world, _ *exchange.Request) { w.proof.Provider = "other" }, trust.ReasonNoMatchingTrust},
		"a contradiction":               {trust.ReasonClaimInvalid, func(*world, *exchange.Request) {}, trust.ReasonClaimInvalid},
		"a contradiction, and no match": {trust.ReasonClaimInvalid, func(w *world, _ *exchange.Request) { w.proof.Claims["ref"] = "x" }, trust.ReasonConditionFalse},
		"another target":                {trust.ReasonClaimInvalid, func(_ *world, r *exchange.Request) { r.Ask.Target = "t2" }, trust.ReasonClaimInvalid},
		"any other refusal":             {trust.ReasonExpired, func(w *world, _ *exchange.Request) { w.proof.Claims = nil }, trust.ReasonExpired},
	} {
		t.Run(name, func(t *testing.T) {
			w := newWorld()
			w.proof.Workload, w.verifyErr = "", exchange.Refuse(row.reason, nil)
			req := request()
			row.change(w, &req)
			_, err := w.broker(t).Exchange(t.Context(), req)
			var e *exchange.Error
			if !errors.As(err, &e) || e.Code != exchange.InvalidRequest || e.Reason != row.want || len(w.used) != 0 {
				t.Errorf("got %v, uses %v", err, w.used)
			}
			if len(w.records) != 1 || w.records[0].Reason != string(row.want) {
				t.Errorf("recorded %+v", w.records)
			}
		})
	}
}

package exchange_test

import (
	"encoding/base64"
	"encoding/json"
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"cambio/audit"
	"cambio/exchange"
	"cambio/trust"
)

func cloudWorld() *world {
	w := newWorld()
	w.target.Cloud = true
	return w
}

// claims are those of the JWT that was signed for the last order.
func (w *world) claims(t *testing.T) map[string]any {
	t.Helper()
	parts := strings.Split(w.asserted, ".")
	if len(parts) != 3 {
		t.Fatalf("no JWT was signed: %q", w.asserted)
	}
	b, err := base64.RawURLEncoding.DecodeString(parts[1])
	if err != nil {
		t.Fatal(err)
	}
	var c map[string]any
	if err := json.Unmarshal(b, &c); err != nil {
		t.Fatal(err)
	}
	return c
}

// TestCloud: the outcome is durable before the credential leaves, the assertion
// is short, and the credential lives as long as the grant says, not the token.
func TestCloud(t *testing.T) {
	w := cloudWorld()
	w.proof.ExpiresAt = w.now.Truncate(time.Second).Add(2 * time.Minute)
	res, err := w.broker(t).Exchange(t.Context(), request())
	if err != nil {
		t.Fatal(err)
	}
	want := []string{"verify", "reserve key-1 t1  once", "commit exchange.allowed", "mint", "commit exchange.minted"}
	if diff := cmp.Diff(want, w.steps); diff != "" {
		t.Error(diff)
	}
	if res.ExpiresIn != 15*time.Minute+time.Second {
		t.Errorf("the credential ends in %s", res.ExpiresIn)
	}
	allowed, minted := w.records[0], w.records[1]
	if minted.Handle != "ASIAX" || allowed.Handle != w.ordered.ID || !allowed.Expires.Equal(w.now.Truncate(time.Second).Add(15*time.Minute)) {
		t.Errorf("recorded: %+v, then %+v", allowed, minted)
	}
	c := w.claims(t)
	if got := c["exp"].(float64) - c["iat"].(float64); got != 120 {
		t.Errorf("the assertion lives %v s, longer than the token that earned it", got)
	}
	if c["sub"] != "spiffe://gw.test/ci/1/2" || w.ordered.Decision != "decision-1" || w.ordered.Trust != "tr1" {
		t.Errorf("sub %v, order %+v", c["sub"], w.ordered)
	}
}

func TestAssertionIsShort(t *testing.T) {
	w := cloudWorld()
	w.proof.ExpiresAt = w.now.Add(time.Hour)
	w.target.TrustSubject = "spiffe://gw.test/trust/"
	if _, err := w.broker(t).Exchange(t.Context(), request()); err != nil {
		t.Fatal(err)
	}
	c := w.claims(t)
	if got := c["exp"].(float64) - c["iat"].(float64); got != 300 {
		t.Errorf("the assertion lives %v s", got)
	}
	if c["sub"] != "spiffe://gw.test/trust/tr1" {
		t.Errorf("sub %v", c["sub"])
	}
}

// TestOutcomeThatIsNotDurable: a credential whose handle nobody could find again
// stays here, and its token burnt.
func TestOutcomeThatIsNotDurable(t *testing.T) {
	w := cloudWorld()
	w.outcomeErr = errors.New("disk full")
	res, err := w.broker(t).Exchange(t.Context(), request())
	var e *exchange.Error
	if !errors.As(err, &e) || e.Code != exchange.Unavailable || e.Reason != trust.ReasonAuditSink || res != nil {
		t.Fatalf("%v, %v", res, err)
	}
	if last := w.last(t); last.Event != audit.ExchangeFailed || last.Replay.Outcome != "burnt" {
		t.Errorf("recorded %+v", last)
	}
	if w.used["key-1"] == "" {
		t.Error("the token was given back")
	}
}

// TestStopWhileTheCloudIsSlow: a stop that comes while the cloud makes the
// credential holds it back, and the record names it.
func TestStopWhileTheCloudIsSlow(t *testing.T) {
	w := cloudWorld()
	w.onMint = func() {
		w.stops = trust.NewStopSet(7, []trust.Stop{{Kind: trust.StopTrust, What: "tr1"}})
	}
	res, err := w.broker(t).Exchange(t.Context(), request())
	var e *exchange.Error
	if !errors.As(err, &e) || e.Reason != trust.ReasonStopped || res != nil {
		t.Fatalf("%v, %v", res, err)
	}
	last := w.last(t)
	if last.Event != audit.ExchangeFailed || last.Handle != "ASIAX" || last.Replay.Outcome != "burnt" {
		t.Errorf("recorded %+v", last)
	}
}

// TestWhatTheTargetSaidIsForTheOwner: in the journal, and not in the answer.
func TestWhatTheTargetSaidIsForTheOwner(t *testing.T) {
	w := cloudWorld()
	w.mintErr = &exchange.Error{Code: exchange.Unavailable, Reason: trust.ReasonMintFailed, Err: errors.New("AccessDenied: not authorized")}
	_, err := w.broker(t).Exchange(t.Context(), request())
	var e *exchange.Error
	if !errors.As(err, &e) || e.Tell != "" {
		t.Errorf("told: %v", err)
	}
	last := w.last(t)
	if diff := cmp.Diff(map[string]any{"error": "AccessDenied: not authorized"}, last.Claims); diff != "" || last.Replay.Outcome != "released" {
		t.Errorf("%s %+v", diff, last.Replay)
	}
}

// opener opens one nonce.
type opener struct{ err error }

func (o opener) Open(nonce, provider string, _ time.Time) (string, error) {
	return nonce + "/" + provider, o.err
}

func TestNonces(t *testing.T) {
	required := strings.Replace(document, "from: ci", "from: ci\nrequire_nonce: true", 1)
	for name, c := range map[string]struct {
		nonce, document string
		nonces          exchange.Nonces
		use             trust.TokenUse
		reason          trust.Reason
		reserved        string
	}{
		"none":                   {"", document, opener{}, trust.Once, "", ""},
		"good":                   {"cn1.x", document, opener{}, trust.Once, "", "cn1.x/ci"},
		"good, required":         {"cn1.x", required, opener{}, trust.Once, "", "cn1.x/ci"},
		"good, until expiry":     {"cn1.x", document, opener{}, trust.UntilExpiry, "", "cn1.x/ci"},
		"required, and none":     {"", required, opener{}, trust.Once, trust.ReasonNonceRequired, ""},
		"bad":                    {"cn1.x", document, opener{errors.New("bad")}, trust.Once, trust.ReasonNonceInvalid, ""},
		"a gateway without them": {"cn1.x", document, nil, trust.Once, trust.ReasonNonceInvalid, ""},
		"bad, none is required":  {"cn1.x", required, opener{errors.New("bad")}, trust.Once, trust.ReasonNonceInvalid, ""},
	} {
		t.Run(name, func(t *testing.T) {
			w := newWorld()
			w.proof.Nonce, w.document, w.nonces, w.provider = c.nonce, c.document, c.nonces, c.use
			_, err := w.broker(t).Exchange(t.Context(), request())
			var e *exchange.Error
			if errors.As(err, &e); (c.reason == "") != (err == nil) || err != nil && e.Reason != c.reason {
				t.Fatalf("%v, want %q", err, c.reason)
			}
			if w.reserved.Nonce != c.reserved {
				t.Errorf("reserved the nonce %q, want %q", w.reserved.Nonce, c.reserved)
			}
			if c.reserved != "" && (w.reserved.TTL < 6*time.Minute || w.records[0].Replay.Nonce != c.reserved || !w.reserved.IssuedAt.Equal(w.proof.IssuedAt)) {
				t.Errorf("remembered for %s, recorded %+v", w.reserved.TTL, w.records[0].Replay)
			}
		})
	}
}

// TestRefusedAs: what is wrong with the token itself has the code of the
// parameter that it came in; what the policy says has not.
func TestRefusedAs(t *testing.T) {
	restarted := exchange.Refuse(trust.ReasonRestarted, nil)
	for name, c := range map[string]struct {
		change func(*world)
		want   exchange.Code
		reason trust.Reason
	}{
		"not proven":      {func(w *world) { w.verifyErr = exchange.Refuse(trust.ReasonSignature, nil) }, exchange.InvalidGrant, trust.ReasonSignature},
		"a bad nonce":     {func(w *world) { w.proof.Nonce = "cn1.x" }, exchange.InvalidGrant, trust.ReasonNonceInvalid},
		"used":            {func(w *world) { w.used["key-1"] = "other" }, exchange.InvalidGrant, trust.ReasonReplayed},
		"perhaps used":    {func(w *world) { w.reserveErr = restarted }, exchange.InvalidGrant, trust.ReasonRestarted},
		"condition false": {func(w *world) { w.proof.Claims["ref"] = "x" }, exchange.InvalidRequest, trust.ReasonConditionFalse},
		"no such target":  {func(w *world) { w.document = strings.Replace(document, "to: t1", "to: t2", 1) }, exchange.InvalidTarget, trust.ReasonTargetNotGranted},
		"no key set":      {func(w *world) { w.verifyErr = exchange.Unanswered(trust.ReasonJWKSStale, nil) }, exchange.Unavailable, trust.ReasonJWKSStale},
	} {
		t.Run(name, func(t *testing.T) {
			w := newWorld()
			c.change(w)
			req := request()
			req.RefusedAs = exchange.InvalidGrant
			_, err := w.broker(t).Exchange(t.Context(), req)
			var e *exchange.Error
			if !errors.As(err, &e) || e.Code != c.want || e.Reason != c.reason {
				t.Errorf("%v with %v, want %s", err, e.Code, c.want)
			}
			if last := w.last(t); last.Reason != string(c.reason) {
				t.Errorf("recorded %q", last.Reason)
			}
		})
	}
}

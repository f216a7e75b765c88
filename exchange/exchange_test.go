package exchange_test

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"cambio/audit"
	"cambio/exchange"
	"cambio/issuer"
	"cambio/trust"
)

const jwtType = "urn:ietf:params:oauth:token-type:jwt"

const document = `
name: tr1
owner: t1-team@acme.test
purpose: main of app reads t1
from: ci
match: {repository_id: "2", ref: refs/heads/main}
grants: [{to: t1, scopes: [read, list], ttl: 15m}]
`

// world is one exchange with everything healthy; each test breaks one thing. The
// steps taken are written down in order.
type world struct {
	now     time.Time
	steps   []string
	records []audit.Record

	proof      exchange.Proof
	verifyErr  error
	used       map[string]string // replay key to decision
	reserveErr error
	commitErr  error
	appendErr  error
	stops      trust.StopSet
	stopsErr   error
	mintErr    error
	wait       time.Duration
	document   string
	others     []string // further documents
	provider   trust.TokenUse
	onCommit   func()
	onVerify   func()
	onMint     func()
	inForce    func() *trust.Policy // nil: the document's, for good
	target     exchange.Target      // of t1, but for its minter
	outcomeErr error                // of the commit of an outcome
	nonces     exchange.Nonces
	journal    []string             // claims that are kept of each proven token
	reserved   exchange.Reservation // the last
	ordered    exchange.Order       // the last
	asserted   string               // the JWT that was signed for it
}

func newWorld() *world {
	now := start()
	return &world{
		now: now, used: map[string]string{}, document: document, provider: trust.Once,
		target: exchange.Target{Types: []string{jwtType}},
		proof: exchange.Proof{
			Identity: trust.Identity{
				Provider: "ci", Workload: "spiffe://gw.test/ci/1/2", Subject: "repo:acme/app", Issuer: "https://idp.test",
				Audience: "https://gw.test", IssuedAt: now, ExpiresAt: now.Truncate(time.Second).Add(5 * time.Minute),
				Claims: map[string]any{"repository_id": "2", "ref": "refs/heads/main", "sub": "repo:acme/app"},
			},
			ReplayKey: "key-1", ClockSkew: 30 * time.Second,
		},
	}
}

func (w *world) step(format string, args ...any) {
	w.steps = append(w.steps, fmt.Sprintf(format, args...))
}

func (w *world) Verify(context.Context, exchange.Subject) (exchange.Proof, error) {
	w.step("verify")
	if w.onVerify != nil {
		w.onVerify()
	}
	return w.proof, w.verifyErr
}

func (w *world) Reserve(_ context.Context, r exchange.Reservation) (bool, error) {
	w.step("reserve %s %s %s", r.Key, r.Member, r.Use)
	w.reserved = r
	if w.reserveErr != nil {
		return false, w.reserveErr
	}
	if _, used := w.used[r.Key]; used {
		return false, nil
	}
	w.used[r.Key] = r.Decision
	return true, nil
}

func (w *world) Release(_ context.Context, r exchange.Reservation) error {
	w.step("release %s", r.Key)
	if w.used[r.Key] == r.Decision {
		delete(w.used, r.Key)
	}
	return nil
}

func (w *world) Commit(_ context.Context, r audit.Record) error {
	w.step("commit %s", r.Event)
	if w.commitErr != nil {
		return w.commitErr
	}
	if r.Event == audit.ExchangeMinted && w.outcomeErr != nil {
		return w.outcomeErr
	}
	if w.onCommit != nil {
		w.onCommit()
	}
	w.records = append(w.records, r)
	return nil
}

func (w *world) Append(r audit.Record) error {
	w.step("append %s", r.Event)
	if w.appendErr != nil {
		return w.appendErr
	}
	w.records = append(w.records, r)
	return nil
}

func (w *world) Current(time.Time) (trust.StopSet, error) { return w.stops, w.stopsErr }

func (w *world) Take(string, time.Time) time.Duration { return w.wait }

func (w *world) Mint(_ context.Context, o exchange.Order) (exchange.Credential, error) {
	w.step("mint")
	if w.onMint != nil {
		w.onMint()
	}
	if w.mintErr != nil {
		return exchange.Credential{}, w.mintErr
	}
	token, err := o.Assert("api://t1", exchange.ES256)
	w.ordered, w.asserted = o, token.Reveal()
	if w.target.Cloud {
		return exchange.Credential{Value: "cloud-secret", Type: o.Type, Handle: "ASIAX", Expires: w.now.Add(o.Grant.TTL + time.Second)}, err
	}
	return exchange.Credential{Value: token, Type: o.Type, Handle: o.ID, Expires: o.Expires}, err
}

// sharedRing are the keys of all tests: RSA keys are slow to make.
var sharedRing = sync.OnceValues(func() (issuer.Ring, error) { return issuer.Generate(start(), rand.Reader) })

func start() time.Time { return time.Date(2027, 1, 5, 12, 0, 0, 300_000_000, time.UTC) }

func (w *world) broker(t *testing.T) *exchange.Broker {
	t.Helper()
	ring, err := sharedRing()
	if err != nil {
		t.Fatal(err)
	}
	iss, err := issuer.New(issuer.Config{URL: "https://gw.test", Now: func() time.Time { return w.now }, Rand: rand.Reader}, ring)
	if err != nil {
		t.Fatal(err)
	}
	policy := w.policy(t)
	w.target.Minter = w
	if w.inForce == nil {
		w.inForce = func() *trust.Policy { return policy }
	}
	b, err := exchange.New(exchange.Config{
		Verifier: w, Policy: w.inForce, Replay: w, Journal: w, Stops: w, Limiter: w,
		Targets: map[string]exchange.Target{"t1": w.target}, Nonces: w.nonces,
		Issuer: iss, Now: func() time.Time { return w.now }, Rand: rand.Reader, Log: slog.New(slog.DiscardHandler),
	})
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func (w *world) policy(t *testing.T) *trust.Policy {
	t.Helper()
	target := trust.TargetType{Name: "jwt", MaxTTL: time.Hour, Fields: map[string]trust.Field{
		"scopes": {Type: trust.StringsField, Narrows: trust.Subset},
		"ttl":    {Type: trust.DurationField, Narrows: trust.Max},
	}}
	var sources []trust.Source
	for i, d := range append([]string{w.document}, w.others...) {
		sources = append(sources, trust.Source{Name: fmt.Sprintf("tr%d.yaml", i+1), Data: []byte(d)})
	}
	p, findings := trust.Compile(trust.World{
		Providers: map[string]trust.Provider{"ci": {TokenUse: w.provider, Journal: w.journal, Platform: trust.Platform{
			Name: "ci", Anchors: []string{"repository_id"},
			Claims: map[string]trust.Claim{
				"repository_id": {Type: trust.StringClaim, Always: true}, "ref": {Type: trust.StringClaim}, "sub": {Type: trust.StringClaim},
			},
		}}},
		Targets: map[string]trust.Target{
			"t1": {Type: target, MaxTTL: time.Hour, Audience: "api://t1"},
			"t2": {Type: target, MaxTTL: time.Hour, Audience: "api://t2"},
		},
	}, sources, w.now)
	if p == nil {
		t.Fatal(findings)
	}
	return p
}

func request() exchange.Request {
	return exchange.Request{Decision: "decision-1", SubjectToken: "a.SECRET.c", Ask: trust.Request{Target: "t1"}}
}

// last returns the last record, without what the test does not set.
func (w *world) last(t *testing.T) audit.Record {
	t.Helper()
	if len(w.records) == 0 {
		t.Fatal("nothing was recorded")
	}
	return w.records[len(w.records)-1]
}

func TestAllowed(t *testing.T) {
	w := newWorld()
	res, err := w.broker(t).Exchange(t.Context(), request())
	if err != nil {
		t.Fatal(err)
	}
	want := []string{"verify", "reserve key-1 t1  once", "commit exchange.allowed", "mint", "append exchange.minted"}
	if diff := cmp.Diff(want, w.steps); diff != "" {
		t.Error(diff)
	}
	if diff := cmp.Diff([]string{"read", "list"}, res.Scopes); diff != "" {
		t.Error(diff)
	}
	// The token ends in 5 min, the grant's 15 min notwithstanding.
	if res.ExpiresIn != 5*time.Minute {
		t.Errorf("ends in %s, after the subject token", res.ExpiresIn)
	}
	allowed, minted := w.records[0], w.records[1]
	if allowed.Handle == "" || allowed.Handle != minted.Handle || allowed.Handle != res.Credential.Handle {
		t.Errorf("the decision names %q, the outcome %q, the credential is %q", allowed.Handle, minted.Handle, res.Credential.Handle)
	}
	if allowed.Workload != "spiffe://gw.test/ci/1/2" || !allowed.Expires.Equal(w.proof.ExpiresAt) || allowed.Target != "t1" || allowed.PolicySHA256 == "" {
		t.Errorf("the decision's record: %+v", allowed)
	}
	if allowed.Replay == nil || allowed.Replay.Key != "key-1" || !allowed.Replay.Closed {
		t.Errorf("the decision's replay: %+v", allowed.Replay)
	}
	if strings.Contains(fmt.Sprintf("%+v %#v", w.records, res), "SECRET") || strings.Contains(fmt.Sprintf("%+v", res), res.Credential.Value.Reveal()) {
		t.Error("a token shows itself")
	}
}

// A token in a parameter that it does not belong in is not kept by the journal.
func TestTokenInTheWrongParameter(t *testing.T) {
	w := newWorld()
	req := request()
	token := "eyJhbGciOiJFUzI1NiJ9.eyJpc3MiOiJodHRwczovL2kifQ.c2lnbmF0dXJl"
	req.Ask.Target, req.Ask.Resource, req.Ask.Scopes = token, "https://api.test/?t="+token+"&x=1", []string{"read", token}
	if _, err := w.broker(t).Exchange(t.Context(), req); err == nil {
		t.Fatal("a token is no target's name")
	}
	rec := w.records[0]
	if rec.Target != "[token]" || rec.Resource != "https://api.test/?t=[token]&x=1" || rec.Scope != "read [token]" {
		t.Errorf("recorded: %q %q %q", rec.Target, rec.Resource, rec.Scope)
	}
}

// Each row breaks one thing; what is asserted is the reason, the order of the
// steps, and what became of the token.
func TestRefused(t *testing.T) {
	down := errors.New("down")
	for name, row := range map[string]struct {
		change func(*world, *exchange.Request)
		code   exchange.Code
		reason trust.Reason
		event  audit.Event // "": nothing is recorded
		steps  string
		burnt  bool
	}{
		"token not proven": {
			func(w *world, _ *exchange.Request) { w.verifyErr = exchange.Refuse(trust.ReasonSignature, nil) },
			exchange.InvalidRequest, trust.ReasonSignature, audit.ExchangeDenied, "verify, append exchange.denied", false,
		},
		"key set does not answer": {
			func(w *world, _ *exchange.Request) {
				w.verifyErr = exchange.Unanswered(trust.ReasonJWKSUnavailable, down)
			},
			exchange.Unavailable, trust.ReasonJWKSUnavailable, audit.ExchangeDenied, "verify, append exchange.denied", false,
		},
		"verifier with an error of no kind": {
			func(w *world, _ *exchange.Request) { w.verifyErr = down },
			exchange.ServerError, trust.ReasonPanic, audit.ExchangeDenied, "verify, append exchange.denied", false,
		},
		"workload above its rate": {
			func(w *world, _ *exchange.Request) { w.wait = time.Second },
			exchange.Limited, trust.ReasonRateLimited, "", "verify", false,
		},
		"stop list too old": {
			func(w *world, _ *exchange.Request) { w.stopsErr = down },
			exchange.Unavailable, trust.ReasonStopsStale, audit.ExchangeDenied, "verify, append exchange.denied", false,
		},
		"condition false": {
			func(w *world, _ *exchange.Request) { w.proof.Claims["ref"] = "refs/heads/evil" },
			exchange.InvalidRequest, trust.ReasonConditionFalse, audit.ExchangeDenied, "verify, append exchange.denied", false,
		},
		"workload stopped": {
			func(w *world, _ *exchange.Request) {
				w.stops = trust.NewStopSet(1, []trust.Stop{{Kind: trust.StopWorkload, What: w.proof.Workload}})
			},
			exchange.InvalidRequest, trust.ReasonStopped, audit.ExchangeDenied, "verify, append exchange.denied", false,
		},
		"target stopped": {
			func(w *world, _ *exchange.Request) {
				w.stops = trust.NewStopSet(1, []trust.Stop{{Kind: trust.StopTarget, What: "t1"}})
			},
			exchange.InvalidTarget, trust.ReasonStopped, audit.ExchangeDenied, "verify, append exchange.denied", false,
		},
		"unknown target": {
			func(_ *world, r *exchange.Request) { r.Ask.Target = "nobody" },
			exchange.InvalidTarget, trust.ReasonTargetNotGranted, audit.ExchangeDenied, "verify, append exchange.denied", false,
		},
		"scope above the grant": {
			func(_ *world, r *exchange.Request) { r.Ask.Scopes = []string{"admin"} },
			exchange.InvalidScope, trust.ReasonScopeNotGranted, audit.ExchangeDenied, "verify, append exchange.denied", false,
		},
		"type that the target does not issue": {
			func(_ *world, r *exchange.Request) { r.CredentialType = "urn:cambio:token-type:aws-credentials" },
			exchange.InvalidRequest, trust.ReasonTokenType, audit.ExchangeDenied, "verify, append exchange.denied", false,
		},
		"used before": {
			func(w *world, _ *exchange.Request) { w.used["key-1"] = "another" },
			exchange.InvalidRequest, trust.ReasonReplayed, audit.ExchangeDenied, "verify, reserve key-1 t1  once, append exchange.denied", true,
		},
		"replay store does not answer": {
			func(w *world, _ *exchange.Request) { w.reserveErr = down },
			exchange.Unavailable, trust.ReasonReplayStore, audit.ExchangeDenied, "verify, reserve key-1 t1  once, append exchange.denied", false,
		},
		"journal not durable": {
			func(w *world, _ *exchange.Request) { w.commitErr = down; w.appendErr = down },
			exchange.Unavailable, trust.ReasonAuditSink, "", "verify, reserve key-1 t1  once, commit exchange.allowed, release key-1, append exchange.denied", false,
		},
		"journal too slow: nobody knows": {
			func(w *world, _ *exchange.Request) { w.commitErr = context.DeadlineExceeded },
			exchange.Unavailable, trust.ReasonAuditSink, audit.ExchangeDenied, "verify, reserve key-1 t1  once, commit exchange.allowed, append exchange.denied", true,
		},
		"stopped while the decision was written": {
			func(w *world, _ *exchange.Request) {
				w.onCommit = func() {
					w.stops = trust.NewStopSet(2, []trust.Stop{{Kind: trust.StopTrust, What: "tr1"}})
				}
			},
			exchange.InvalidRequest, trust.ReasonStopped, audit.ExchangeFailed,
			"verify, reserve key-1 t1  once, commit exchange.allowed, release key-1, append exchange.failed", false,
		},
		"stop list lost while the decision was written": {
			func(w *world, _ *exchange.Request) { w.onCommit = func() { w.stopsErr = down } },
			exchange.Unavailable, trust.ReasonStopsStale, audit.ExchangeFailed,
			"verify, reserve key-1 t1  once, commit exchange.allowed, release key-1, append exchange.failed", false,
		},
		"target answered that it issued nothing": {
			func(w *world, _ *exchange.Request) {
				w.mintErr = &exchange.Error{Code: exchange.Unavailable, Reason: trust.ReasonMintFailed}
			},
			exchange.Unavailable, trust.ReasonMintFailed, audit.ExchangeFailed,
			"verify, reserve key-1 t1  once, commit exchange.allowed, mint, release key-1, append exchange.failed", false,
		},
		"a fault of ours, before anything is held": {
			func(w *world, _ *exchange.Request) { w.onVerify = func() { panic("SECRET") } },
			exchange.ServerError, trust.ReasonPanic, audit.ExchangeDenied, "verify, append exchange.denied", false,
		},
		"a fault of ours, while the target is called": {
			func(w *world, _ *exchange.Request) { w.onMint = func() { panic("SECRET") } },
			exchange.ServerError, trust.ReasonPanic, audit.ExchangeFailed,
			"verify, reserve key-1 t1  once, commit exchange.allowed, mint, append exchange.failed", true,
		},
		"target timed out: it may have issued": {
			func(w *world, _ *exchange.Request) { w.mintErr = context.DeadlineExceeded },
			exchange.Unavailable, trust.ReasonMintFailed, audit.ExchangeFailed,
			"verify, reserve key-1 t1  once, commit exchange.allowed, mint, append exchange.failed", true,
		},
	} {
		t.Run(name, func(t *testing.T) {
			w, req := newWorld(), request()
			row.change(w, &req)
			res, err := w.broker(t).Exchange(t.Context(), req)
			var e *exchange.Error
			if res != nil || !errors.As(err, &e) {
				t.Fatalf("got %v, %v", res, err)
			}
			if e.Code != row.code || e.Reason != row.reason {
				t.Errorf("refused with %s, %s; want %s, %s", e.Code, e.Reason, row.code, row.reason)
			}
			if got := strings.Join(w.steps, ", "); got != row.steps {
				t.Errorf("steps\n got %s\nwant %s", got, row.steps)
			}
			if _, burnt := w.used["key-1"]; burnt != row.burnt {
				t.Errorf("token burnt: %v, want %v", burnt, row.burnt)
			}
			if row.event == "" {
				return
			}
			rec := w.last(t)
			if rec.Event != row.event || rec.Reason != string(row.reason) || rec.Decision != "decision-1" || rec.TokenSHA256 == "" {
				t.Errorf("recorded %+v", rec)
			}
			if rec.Event == audit.ExchangeDenied && rec.Handle != "" {
				t.Error("a refusal names a credential that never was")
			}
		})
	}
}

// A second judgement that still allows goes on.
func TestNewerStopListOfSomeoneElse(t *testing.T) {
	w := newWorld()
	w.onCommit = func() { w.stops = trust.NewStopSet(2, []trust.Stop{{Kind: trust.StopTrust, What: "other"}}) }
	if _, err := w.broker(t).Exchange(t.Context(), request()); err != nil {
		t.Fatal(err)
	}
}

// TestNewerPolicyWithNewerStops replaces the policy while the decision is
// written, so that another trust would allow the request: what was decided by
// the stopped trust must not be issued on that one's word.
func TestNewerPolicyWithNewerStops(t *testing.T) {
	w := newWorld()
	old := w.policy(t)
	w.document = strings.Replace(document, "name: tr1", "name: tr9", 1)
	next := w.policy(t)
	now := old
	w.onCommit = func() {
		now = next
		w.stops = trust.NewStopSet(2, []trust.Stop{{Kind: trust.StopTrust, What: "tr1"}})
	}
	w.inForce = func() *trust.Policy { return now }
	var e *exchange.Error
	if _, err := w.broker(t).Exchange(t.Context(), request()); !errors.As(err, &e) || e.Reason != trust.ReasonStopped {
		t.Fatalf("got %v after %v", err, w.steps)
	}
	if slices.Contains(w.steps, "mint") {
		t.Error("minted")
	}
}

func TestDryRun(t *testing.T) {
	w, req := newWorld(), request()
	req.DryRun = true
	w.used["key-1"] = "used before: a dry run does not look"
	res, err := w.broker(t).Exchange(t.Context(), req)
	if err != nil || !res.DryRun || res.Credential.Value != "" || res.ExpiresIn != 5*time.Minute {
		t.Fatalf("got %+v, %v", res, err)
	}
	if diff := cmp.Diff([]string{"verify", "append exchange.dry-run"}, w.steps); diff != "" {
		t.Error(diff)
	}
	if rec := w.last(t); rec.Handle != "" || rec.Reason != "" {
		t.Errorf("recorded %+v", rec)
	}
	w = newWorld()
	w.proof.Claims["ref"] = "refs/heads/evil"
	if _, err := w.broker(t).Exchange(t.Context(), req); err == nil {
		t.Fatal("allowed")
	}
	if rec := w.last(t); rec.Event != audit.ExchangeDryRun || rec.Reason != string(trust.ReasonConditionFalse) {
		t.Errorf("recorded %+v", rec)
	}
}

// How long the JWT lives: the smallest of what was asked, the grant and the
// subject token's end.
func TestLifetime(t *testing.T) {
	for name, row := range map[string]struct {
		ttl  time.Duration // asked
		end  time.Duration // of the subject token, from the full second
		want time.Duration
	}{
		"the grant":                 {0, time.Hour, 15 * time.Minute},
		"asked for less":            {time.Minute, time.Hour, time.Minute},
		"asked for more":            {time.Hour, time.Hour, 15 * time.Minute},
		"the subject token":         {0, 2 * time.Minute, 2 * time.Minute},
		"inside the skew":           {0, -29 * time.Second, time.Second},
		"ends at this very second":  {0, 0, 30 * time.Second},
		"ends at the next full one": {0, time.Second, time.Second},
	} {
		t.Run(name, func(t *testing.T) {
			w, req := newWorld(), request()
			w.proof.ExpiresAt = w.now.Truncate(time.Second).Add(row.end)
			req.Ask.TTL = row.ttl
			res, err := w.broker(t).Exchange(t.Context(), req)
			if err != nil {
				t.Fatal(err)
			}
			if res.ExpiresIn != row.want {
				t.Errorf("lives %s, want %s", res.ExpiresIn, row.want)
			}
		})
	}
}

func TestUntilExpiryReservesNothing(t *testing.T) {
	w := newWorld()
	w.provider = trust.UntilExpiry
	for range 2 {
		if _, err := w.broker(t).Exchange(t.Context(), request()); err != nil {
			t.Fatal(err)
		}
	}
	if slices.ContainsFunc(w.steps, func(s string) bool { return strings.HasPrefix(s, "reserve") }) {
		t.Error(w.steps)
	}
}

func TestNewRefusesGaps(t *testing.T) {
	if _, err := exchange.New(exchange.Config{}); err == nil {
		t.Error("a broker of nothing")
	}
}

func TestNewID(t *testing.T) {
	id := exchange.NewID(time.UnixMilli(0x0123456789ab), strings.NewReader(strings.Repeat("\xff", 10)))
	if want := "01234567-89ab-7fff-bfff-ffffffffffff"; id != want {
		t.Errorf("got %s, want %s", id, want)
	}
}

func TestSecretHides(t *testing.T) {
	s := exchange.Secret("the-secret")
	text, err := s.MarshalText()
	if err != nil {
		t.Fatal(err)
	}
	var log strings.Builder
	slog.New(slog.NewTextHandler(&log, nil)).InfoContext(t.Context(), "x", slog.Any("s", s))
	if all := fmt.Sprintf("%s %v %+v %#v %q %s %s", s, s, s, s, s, text, log.String()); strings.Contains(all, "the-secret") {
		t.Error(all)
	}
}

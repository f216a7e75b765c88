// Package exchangetest makes orders for tests of minters: as a broker makes them,
// with an issuer whose keys are thrown away.
package exchangetest

import (
	"context"
	"crypto/rand"
	"errors"
	"log/slog"
	"sync"
	"testing"
	"time"

	"cambio/audit"
	"cambio/exchange"
	"cambio/issuer"
	"cambio/trust"
)

// What every order is for, unless a test changes it.
const (
	Issuer   = "https://gw.test"
	Workload = "spiffe://gw.test/ci/1/2"
	Trust    = "deploy"
	Decision = "0199f2c4-7c11-7aaa-8bbb-0123456789ab"
)

// Now is the time of every order.
func Now() time.Time { return time.Date(2026, 9, 1, 12, 0, 0, 0, time.UTC) }

// keys makes one issuer for all tests of a program: RSA keys take their time.
var keys = sync.OnceValues(func() (*issuer.Issuer, error) {
	ring, err := issuer.Generate(Now(), rand.Reader)
	if err != nil {
		return nil, err
	}
	return issuer.New(issuer.Config{URL: Issuer, Now: Now, Rand: rand.Reader}, ring)
})

// Voice is the issuer that signs the orders' assertions.
func Voice(tb testing.TB) *issuer.Issuer {
	tb.Helper()
	voice, err := keys()
	if err != nil {
		tb.Fatal(err)
	}
	return voice
}

// Ask is what an order comes from.
type Ask struct {
	Type    trust.TargetType
	MaxTTL  time.Duration   // default: an hour
	Target  exchange.Target // its Minter is not asked
	Grant   string          // the fields of the grant beside to, as YAML in flow form: `resource: "gcp:a@b", ttl: 15m`
	Request exchange.Request
	// Workload is who asks; default: [Workload].
	Workload string
}

// Order is the order that a broker makes of it. A grant that does not load, or
// a request that is refused, fails the test.
func Order(tb testing.TB, ask Ask) exchange.Order {
	tb.Helper()
	o, err := Try(tb, ask)
	if err != nil {
		tb.Fatal(err)
	}
	return o
}

// Try is [Order] with the refusal of the request.
func Try(tb testing.TB, ask Ask) (exchange.Order, error) {
	tb.Helper()
	if ask.Workload == "" {
		ask.Workload = Workload
	}
	policy, err := compile(ask)
	if err != nil {
		tb.Fatal(err)
	}
	w := &world{workload: ask.Workload}
	target := ask.Target
	target.Minter = w
	b, err := exchange.New(exchange.Config{
		Verifier: w, Policy: func() *trust.Policy { return policy }, Replay: w, Journal: w, Stops: w,
		Targets: map[string]exchange.Target{"target": target},
		Issuer:  Voice(tb), Now: Now, Rand: rand.Reader, Log: slog.New(slog.DiscardHandler),
	})
	if err != nil {
		tb.Fatal(err)
	}
	req := ask.Request
	req.Decision, req.SubjectToken, req.Ask.Target = Decision, "a.b.c", "target"
	_, err = b.Exchange(context.Background(), req)
	if w.order.ID == "" {
		return exchange.Order{}, err
	}
	return w.order, nil
}

// Loads reports whether the grant loads.
func Loads(tb testing.TB, ask Ask) bool {
	tb.Helper()
	policy, _ := compile(ask)
	return policy != nil
}

func compile(ask Ask) (*trust.Policy, error) {
	if ask.MaxTTL == 0 {
		ask.MaxTTL = max(time.Hour, ask.Type.MinTTL)
	}
	grant := "to: target"
	if ask.Grant != "" {
		grant += ", " + ask.Grant
	}
	policy, findings := trust.Compile(trust.World{
		Providers: map[string]trust.Provider{"ci": {TokenUse: trust.Once, Platform: trust.Platform{
			Name: "ci", Anchors: []string{"repository_id"},
			Claims: map[string]trust.Claim{
				"repository_id": {Type: trust.StringClaim, Always: true}, "sub": {Type: trust.StringClaim}, "actor": {Type: trust.StringClaim},
			},
		}}},
		Targets: map[string]trust.Target{"target": {Type: ask.Type, MaxTTL: ask.MaxTTL}},
	}, []trust.Source{{Name: "deploy.yaml", Data: []byte(`
name: deploy
owner: team@acme.test
purpose: deploys
from: ci
match: {repository_id: "2"}
grants: [{` + grant + "}]\n")}}, Now())
	if policy == nil {
		return nil, findings
	}
	return policy, nil
}

// world is one exchange on its way to the minter; it catches the order.
type world struct {
	workload string
	order    exchange.Order
}

// Verify believes everybody.
func (w *world) Verify(context.Context, exchange.Subject) (exchange.Proof, error) {
	now := Now()
	return exchange.Proof{
		Identity: trust.Identity{
			Provider: "ci", Workload: w.workload, Subject: "repo:acme/app", Issuer: "https://idp.test", Audience: Issuer,
			IssuedAt: now, ExpiresAt: now.Add(time.Hour),
			Claims: map[string]any{"repository_id": "2", "sub": "repo:acme/app", "actor": "octocat"},
		},
		ReplayKey: "key-1", ClockSkew: 30 * time.Second,
	}, nil
}

// Reserve finds every token unused.
func (w *world) Reserve(context.Context, exchange.Reservation) (bool, error) { return true, nil }

// Release forgets nothing, as nothing was kept.
func (w *world) Release(context.Context, exchange.Reservation) error { return nil }

// Commit keeps nothing.
func (w *world) Commit(context.Context, audit.Record) error { return nil }

// Append keeps nothing.
func (w *world) Append(audit.Record) error { return nil }

// Current has no stops.
func (w *world) Current(time.Time) (trust.StopSet, error) { return trust.StopSet{}, nil }

// Mint catches the order, and ends the exchange.
func (w *world) Mint(_ context.Context, o exchange.Order) (exchange.Credential, error) {
	w.order = o
	return exchange.Credential{}, errors.New("caught")
}

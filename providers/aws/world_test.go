package aws_test

import (
	"context"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"log/slog"
	"net"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"

	"cambio/audit"
	"cambio/exchange"
	"cambio/issuer"
	"cambio/providers/aws"
	"cambio/standin"
	"cambio/trust"
)

const (
	account  = "111122223333"
	deployer = "arn:aws:iam::111122223333:role/ci/deployer"
	audience = "sts.amazonaws.com"
	workload = "spiffe://gw.test/ci/1/2"
	decision = "0199f2c4-7c11-7aaa-8bbb-0123456789ab"
	stsHost  = "sts.eu-central-1.amazonaws.com"
)

func start() time.Time { return time.Date(2026, 9, 1, 12, 0, 0, 0, time.UTC) }

// world is one exchange on its way to the minter; it catches the order.
type world struct{ order exchange.Order }

func (w *world) Verify(context.Context, exchange.Subject) (exchange.Proof, error) {
	now := start()
	return exchange.Proof{
		Identity: trust.Identity{
			Provider: "ci", Workload: workload, Subject: "repo:acme/app", Issuer: "https://idp.test", Audience: "https://gw.test",
			IssuedAt: now, ExpiresAt: now.Add(time.Hour), Claims: map[string]any{"repository_id": "2", "sub": "repo:acme/app"},
		},
		ReplayKey: "key-1", ClockSkew: 30 * time.Second,
	}, nil
}

func (w *world) Reserve(context.Context, exchange.Reservation) (bool, error) { return true, nil }
func (w *world) Release(context.Context, exchange.Reservation) error         { return nil }
func (w *world) Commit(context.Context, audit.Record) error                  { return nil }
func (w *world) Append(audit.Record) error                                   { return nil }
func (w *world) Current(time.Time) (trust.StopSet, error)                    { return trust.StopSet{}, nil }

func (w *world) Mint(_ context.Context, o exchange.Order) (exchange.Credential, error) {
	w.order = o
	return exchange.Credential{}, errors.New("caught")
}

const document = `
name: deploy
owner: team@acme.test
purpose: deploys
from: ci
match: {repository_id: "2"}
grants: [{to: aws, resource: "arn:aws:iam::111122223333:role/ci/deployer", ttl: 15m}]
`

// made is an issuer and an order that a broker made, once for all tests: RSA
// keys take their time.
type made struct {
	issuer *issuer.Issuer
	order  exchange.Order
}

var usual = sync.OnceValues(func() (made, error) {
	now := start
	ring, err := issuer.Generate(now(), rand.Reader)
	if err != nil {
		return made{}, err
	}
	iss, err := issuer.New(issuer.Config{URL: "https://gw.test", Now: now, Rand: rand.Reader}, ring)
	if err != nil {
		return made{}, err
	}
	policy, findings := trust.Compile(trust.World{
		Providers: map[string]trust.Provider{"ci": {TokenUse: trust.Once, Platform: trust.Platform{
			Name: "ci", Anchors: []string{"repository_id"},
			Claims: map[string]trust.Claim{"repository_id": {Type: trust.StringClaim, Always: true}, "sub": {Type: trust.StringClaim}},
		}}},
		Targets: map[string]trust.Target{"aws": {Type: aws.TargetType(account, ""), MaxTTL: time.Hour, Audience: audience}},
	}, []trust.Source{{Name: "deploy.yaml", Data: []byte(document)}}, now())
	if policy == nil {
		return made{}, errors.New(findings.Error())
	}
	w := &world{}
	b, err := exchange.New(exchange.Config{
		Verifier: w, Policy: func() *trust.Policy { return policy }, Replay: w, Journal: w, Stops: w,
		Targets: map[string]exchange.Target{"aws": {Minter: w, Types: aws.Types()}},
		Issuer:  iss, Now: now, Rand: rand.Reader, Log: slog.New(slog.DiscardHandler),
	})
	if err != nil {
		return made{}, err
	}
	_, err = b.Exchange(context.Background(), exchange.Request{Decision: decision, SubjectToken: "a.b.c", Ask: trust.Request{Target: "aws"}})
	if w.order.ID == "" {
		return made{}, err
	}
	return made{issuer: iss, order: w.order}, nil
})

func order(tb testing.TB) exchange.Order {
	tb.Helper()
	m, err := usual()
	if err != nil {
		tb.Fatal(err)
	}
	o := m.order
	o.Expires = o.Issued.Add(5 * time.Minute)
	return o
}

// openSTS starts a stand-in that trusts our issuer and has the role.
func openSTS(tb testing.TB, c standin.STSConfig) *standin.STS {
	tb.Helper()
	m, err := usual()
	if err != nil {
		tb.Fatal(err)
	}
	c.Now, c.Rand = start, rand.Reader
	c.OIDC = []standin.OIDCProvider{{
		Account: account, URL: m.issuer.URL(), Audiences: []string{audience},
		Keys: func(context.Context) ([]byte, error) { return m.issuer.JWKS(), nil },
	}}
	c.Roles = []standin.Role{{ARN: deployer, Trust: []standin.Statement{
		standin.Admit(account, m.issuer.URL(), audience, []string{workload}, "sts:TagSession", "sts:SetSourceIdentity"),
	}}}
	s, err := standin.NewSTS(c)
	if err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(func() {
		_ = s.Close()
		for _, u := range s.Unknown() {
			tb.Errorf("AWS was asked what nobody knows the answer to: %s", u)
		}
	})
	return s
}

// atAWS opens a minter whose connections to AWS's own endpoint end at a stand-in.
func atAWS(tb testing.TB, change func(*aws.Config)) (*aws.Minter, *standin.STS) {
	tb.Helper()
	s := openSTS(tb, standin.STSConfig{TLS: &standin.TLS{Hosts: []string{stsHost}}})
	pool := x509.NewCertPool()
	pool.AppendCertsFromPEM(s.CA())
	at := strings.TrimPrefix(s.URL(), "https://")
	transport := &http.Transport{
		TLSClientConfig: &tls.Config{RootCAs: pool, Time: start, MinVersion: tls.VersionTLS12},
		DialContext: func(ctx context.Context, network, address string) (net.Conn, error) {
			if address != stsHost+":443" {
				return nil, errors.New("a connection to " + address)
			}
			return new(net.Dialer).DialContext(ctx, network, at)
		},
	}
	tb.Cleanup(transport.CloseIdleConnections)
	c := aws.Config{Account: account, Region: "eu-central-1", Audience: audience, Now: start, Transport: transport}
	if change != nil {
		change(&c)
	}
	m, err := aws.New(c)
	if err != nil {
		tb.Fatal(err)
	}
	return m, s
}

// fails asserts a refusal's form, and returns it.
func fails(tb testing.TB, err error) *exchange.Error {
	tb.Helper()
	var e *exchange.Error
	if !errors.As(err, &e) {
		tb.Fatalf("%v is no refusal", err)
	}
	return e
}

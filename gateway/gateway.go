// Package gateway puts Cambio together: from a [Config] to handlers, and down
// again in order. It holds no rule of its own.
package gateway

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"cambio/audit"
	"cambio/exchange"
	"cambio/issuer"
	"cambio/keystore"
	"cambio/providers"
	"cambio/providers/oidc"
	"cambio/replay"
	"cambio/stops"
	"cambio/trust"
	"cambio/web"
)

// Env is what the gateway takes from the process that it runs in. Now, Rand and
// Log are required.
type Env struct {
	Now         func() time.Time
	Rand        io.Reader
	Log         *slog.Logger
	Checkpoints io.Writer                             // the journal's signed checkpoints go here too: standard output
	Resolver    oidc.Resolver                         // nil: the system's
	OpenSegment func(path string) (audit.File, error) // nil: files on disk
}

// How often what lies on disk is looked at. Documents act within 5 s, keys
// within 60 s.
const (
	followPolicyEvery = 2 * time.Second
	followKeysEvery   = 10 * time.Second
	refreshKeySets    = 5 * time.Second // often, so that few are due at once
)

// Gateway is one running replica.
type Gateway struct {
	config  Config
	env     Env
	public  http.Handler
	admin   http.Handler
	metrics *web.Metrics

	policy   atomic.Pointer[trust.Policy]
	issuer   *issuer.Issuer
	keys     *keystore.Files
	verifier *providers.Set
	journal  *audit.Journal
	stops    *stops.List
	replay   reserver
	memory   *replay.Memory // the store of one replica; nil with Redis
	nonces   *replay.Nonces
	targets  map[string]exchange.Target
	draining atomic.Bool

	keyWatch keyWatch
	folder   [sha256.Size]byte // signature of the trust folder; the follower's alone

	cancel     context.CancelFunc // of the followers
	background sync.WaitGroup
	closers    []func() // in the order of opening; run backwards
	closeOnce  sync.Once
}

// Open starts a gateway: documents, targets, replay store, keys, journal, stops, in
// this order, and nothing listens yet. It calls no identity provider and no target. Findings in the
// documents come back as [trust.Findings]; a state folder in use is
// [ErrStateLocked].
func Open(ctx context.Context, c Config, env Env) (*Gateway, error) {
	if env.Now == nil || env.Rand == nil || env.Log == nil {
		return nil, errors.New("gateway: Env lacks Now, Rand or Log")
	}
	g := &Gateway{config: c, env: env}
	ctx, g.cancel = context.WithCancel(context.WithoutCancel(ctx))
	if err := g.open(ctx); err != nil {
		_ = g.Close() // the first error is the one to tell
		return nil, err
	}
	g.follow(ctx)
	return g, nil
}

func (g *Gateway) open(ctx context.Context) error {
	for _, step := range []func(context.Context) error{
		g.openPolicy, g.openTargets, g.openState, g.openReplay, g.openKeys, g.openJournal, g.openVerifier, g.openWeb,
	} {
		if err := step(ctx); err != nil {
			return err
		}
	}
	g.record(ctx, audit.Record{Event: audit.PolicyLoaded, PolicySHA256: g.policy.Load().SHA256()})
	return nil
}

func (g *Gateway) openPolicy(ctx context.Context) error {
	signature, err := folderSignature(g.config.Trust)
	if err != nil {
		signature = sha256.Sum256([]byte(err.Error())) // LoadPolicy tells
	}
	g.folder = signature
	policy, findings := LoadPolicy(g.config, g.env.Now())
	if findings = slices.Concat(findings, checkTLS(g.config), checkAuthorities(g.config, g.env.Now())); findings.HasErrors() {
		return findings
	}
	for _, f := range findings {
		g.env.Log.WarnContext(ctx, "trust document", slog.String("finding", f.String()))
	}
	g.policy.Store(policy)
	return nil
}

func (g *Gateway) openState(context.Context) error {
	unlock, err := holdState(g.config.State)
	if err != nil {
		return err
	}
	g.closers = append(g.closers, unlock)
	g.metrics = web.NewMetrics(web.Gauges{
		RememberedTokens: func() int {
			if g.memory == nil {
				return 0
			}
			return g.memory.Len()
		},
		Trusts: func() int { return g.policy.Load().Trusts() },
	})
	return nil
}

func (g *Gateway) openKeys(ctx context.Context) error {
	g.keys = keystore.NewFiles(g.config.Keys, g.env.Log)
	ring, err := openRing(ctx, g.keys, g.env.Now(), g.env.Rand)
	if err != nil {
		return fmt.Errorf("gateway: keys: %w", err)
	}
	nonceKey, err := g.keys.NonceKey(ctx, g.env.Rand)
	if err != nil {
		return fmt.Errorf("gateway: keys: %w", err)
	}
	g.nonces = replay.NewNonces(nonceKey, g.env.Rand)
	inForce := issuer.Prune(ring, g.env.Now())
	g.keyWatch.begin(ring, inForce)
	g.issuer, err = issuer.New(issuer.Config{URL: g.config.Issuer, Now: g.env.Now, Rand: g.env.Rand, Roots: g.config.Roots()}, inForce)
	return err
}

func (g *Gateway) openJournal(ctx context.Context) error {
	journal, recovered, err := audit.Open(ctx, audit.Config{
		Dir: g.journalDir(), Replica: replicaName(g.config), Now: g.env.Now, Rand: g.env.Rand, Log: g.env.Log,
		Keep: time.Duration(g.config.Journal.Keep), Sign: g.signCheckpoint, Checkpoints: g.env.Checkpoints,
		Open: g.env.OpenSegment, Head: g.journalHead,
		Remembered: g.remembered, Synced: g.metrics.Synced,
	})
	if err != nil {
		return fmt.Errorf("gateway: journal: %w", err)
	}
	g.journal = journal
	g.closers = append(g.closers, func() {
		if err := journal.Close(); err != nil {
			g.env.Log.ErrorContext(ctx, "journal did not close cleanly", slog.Any("error", err))
		}
	})
	if err := g.remember(recovered.Uses); err != nil {
		return fmt.Errorf("gateway: replay memory: %w", err)
	}
	journal.Filled()
	return g.watchStops(ctx, recovered)
}

func (g *Gateway) openVerifier(context.Context) error {
	verifier, err := providers.New(oidc.Config{
		TrustDomain: g.config.TrustDomain, Providers: g.config.Verified(),
		Now: g.env.Now, Resolver: g.env.Resolver, Log: g.env.Log,
		Fetched: func(provider string, failure trust.Reason) {
			result := string(failure)
			if result == "" {
				result = "ok"
			}
			g.metrics.Fetched(provider, result)
			if failure == trust.ReasonBundleRollback {
				g.metrics.RolledBack(provider)
			}
		},
	})
	g.verifier = verifier
	return err
}

func (g *Gateway) openWeb(context.Context) error {
	broker, err := exchange.New(exchange.Config{
		Verifier: g.verifier, Policy: g.policy.Load, Targets: g.targets, Replay: useOnce{g.replay, g.env.Now},
		Journal: g.journal, Stops: keyed{stopped{g.stops, g.config.Redis != nil}, &g.keyWatch}, Nonces: g.nonces, Limiter: limiter(g.config.Limits.PerWorkload),
		Issuer: g.issuer, Now: g.env.Now, Rand: g.env.Rand, Log: g.env.Log,
	})
	if err != nil {
		return err
	}
	g.public, err = web.Handler(web.Config{
		Exchanger: broker, Voice: g.issuer, Issuer: g.config.Issuer, Limiter: limiter(g.config.Limits.PerAddress),
		Nonces: g.nonces, NonceProvider: onlyProvider(g.config),
		TrustedProxies: prefixes(g.config.TrustedProxies), Observe: g.metrics.Exchanged,
		Now: g.env.Now, Rand: g.env.Rand, Log: g.env.Log,
	})
	g.admin = web.Admin(g.ready, g.metrics)
	return err
}

// onlyProvider is the identity provider that a nonce is for whose caller names
// none; "" where there are several.
func onlyProvider(c Config) string {
	if len(c.IdentityProviders) != 1 {
		return ""
	}
	for name := range c.IdentityProviders {
		return name
	}
	return ""
}

// Replica is how this process is named in the journal.
func (g *Gateway) Replica() string { return replicaName(g.config) }

// Public is the handler of the public listener.
func (g *Gateway) Public() http.Handler { return g.public }

// Admin is the handler of the admin listener: health, readiness, metrics.
func (g *Gateway) Admin() http.Handler { return g.admin }

// ready is what /readyz says: what is wrong with this replica, and nothing else.
func (g *Gateway) ready() web.Readiness {
	r := web.Readiness{Ready: true, PolicySHA256: g.policy.Load().SHA256(), Checks: map[string]string{
		"policy": "ok", "keys": "ok", "journal": "ok", "stops": "ok", "serving": "ok",
	}}
	fail := func(check, what string) { r.Ready, r.Checks[check] = false, what }
	if _, err := g.stops.Current(g.env.Now()); err != nil {
		// What the replicas share makes none of them worse than the others: with all
		// of them out of service, callers would not even be told to come again.
		fail("stops", stopsCheck(err))
		r.Ready = g.config.Redis != nil
	}
	switch err := g.keyWatch.check(g.env.Now()); {
	case errors.Is(err, errKeysStale):
		fail("keys", "cannot be read, and one in use may have been revoked; nothing is issued until they can; see `cambio keys list`")
	case err != nil:
		fail("keys", "a new key signs only when the journal has recorded it")
	}
	if err := g.journal.Healthy(); err != nil {
		fail("journal", "cannot be written durably; everything is refused until it can")
	}
	if g.draining.Load() {
		fail("serving", "draining: no more requests should come here")
	}
	return r
}

// Drain makes /readyz say that this replica takes no more; requests still get
// their answer.
func (g *Gateway) Drain() { g.draining.Store(true) }

// Close ends what Open started, in reverse order. It may be called twice.
func (g *Gateway) Close() error {
	g.closeOnce.Do(func() {
		g.cancel()
		g.background.Wait()
		for i := len(g.closers) - 1; i >= 0; i-- {
			g.closers[i]()
		}
	})
	return nil
}

// follow watches what may change under a running gateway.
func (g *Gateway) follow(ctx context.Context) {
	g.every(ctx, followPolicyEvery, g.followPolicy)
	g.every(ctx, followKeysEvery, g.followKeys)
	g.every(ctx, refreshKeySets, g.verifier.Refresh)
}

func (g *Gateway) every(ctx context.Context, interval time.Duration, do func(context.Context)) {
	g.background.Go(func() {
		ticker := time.NewTicker(interval)
		defer ticker.Stop()
		for {
			select {
			case <-ctx.Done():
				return
			case <-ticker.C:
				do(ctx)
			}
		}
	})
}

func (g *Gateway) journalDir() string { return filepath.Join(g.config.State, "journal") }

// replicaName is how this process is named in the journal: by its machine, and
// where several may run on one, by its state folder too.
func replicaName(c Config) string {
	name, err := os.Hostname()
	if err != nil || name == "" {
		name = "replica"
	}
	if c.Redis == nil {
		return name
	}
	state, err := filepath.Abs(c.State)
	if err != nil {
		state = c.State
	}
	sum := sha256.Sum256([]byte(state))
	return name + "-" + hex.EncodeToString(sum[:4])
}

// limiter is the limiter of a rate, or a nil interface where it is off.
func limiter(r Rate) exchange.Limiter {
	if r.Off || r.PerSecond == 0 {
		return nil
	}
	return web.NewLimiter(float64(r.PerSecond))
}

func prefixes(in []Prefix) []netip.Prefix {
	out := make([]netip.Prefix, len(in))
	for i, p := range in {
		out[i] = p.Prefix
	}
	return out
}

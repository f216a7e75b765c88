package gateway

import (
	"context"
	"crypto/sha256"
	"log/slog"
	"maps"
	"slices"
	"time"

	"cambio/audit"
	"cambio/providers"
	"cambio/providers/oidc"
	"cambio/trust"
	"cambio/trust/strictyaml"
)

// World is what documents may refer to in this configuration.
func World(c Config) trust.World {
	w := trust.World{Providers: map[string]trust.Provider{}, Targets: map[string]trust.Target{}, TrustDomain: c.TrustDomain}
	platforms := map[string]oidc.Platform{} // one of each type: a thousand providers share it
	for name, p := range c.IdentityProviders {
		platform, made := platforms[p.Type]
		if !made {
			platform, _ = providers.Platform(p.Type)
			platforms[p.Type] = platform
		}
		known := worldProvider(p, platform)
		known.WorkloadID = func(claims map[string]any) (string, error) {
			return oidc.WorkloadOf(c.TrustDomain, p.provider(name), platform, claims)
		}
		known.Journal = kept(c.Journal.Claims, p, platform)
		w.Providers[name] = known
	}
	for name, t := range c.Targets {
		w.Targets[name] = t.world()
	}
	return w
}

// kept are the claims that the journal keeps of each proven token of a provider.
func kept(claims string, p IdentityProvider, platform oidc.Platform) []string {
	var names []string
	switch claims {
	case keepDecision:
		return nil
	case keepAll:
		for _, name := range slices.Sorted(maps.Keys(platform.Claims)) {
			if platform.Claims[name].Type != trust.MapClaim { // its members are in the table too
				names = append(names, name)
			}
		}
	default:
		names = slices.Clone(platform.Journal)
	}
	return append(names, slices.Sorted(maps.Keys(p.Claims))...)
}

// endpoint is the written one, or "" for the cloud's own.
func (t Target) endpoint() string {
	if t.Endpoint == nil {
		return ""
	}
	return *t.Endpoint
}

// LoadPolicy reads and compiles the documents of the configuration. The policy
// is nil when a finding is an error. A folder without documents is a policy that
// denies everything, and a warning: it may be the wrong folder.
func LoadPolicy(c Config, now time.Time) (*trust.Policy, strictyaml.Findings) {
	sources, findings := ReadTrusts(c.Trust)
	if len(sources) == 0 && !findings.HasErrors() {
		findings = append(findings, strictyaml.Finding{
			ID: "no-documents", Severity: strictyaml.Warning, File: c.Trust, Line: 1, Column: 1,
			Message: "the trust folder holds no document: every request is denied", Fix: "write one, named *.yaml",
		})
	}
	policy, more := trust.Compile(World(c), sources, now)
	findings = append(findings, more...)
	if policy != nil {
		findings = append(findings, grantCircles(c, policy)...)
	}
	if findings.HasErrors() {
		return nil, findings.Sorted()
	}
	return policy, findings.Sorted()
}

// LoadTested is [LoadPolicy] with the files of tests beside the documents, for
// whoever runs them: a gateway at work does not.
func LoadTested(c Config, now time.Time) (*trust.Policy, strictyaml.Findings) {
	policy, findings := LoadPolicy(c, now)
	if policy == nil {
		return nil, findings
	}
	files, more := ReadTests(c.Trust)
	policy, unread := policy.WithTests(files)
	findings = slices.Concat(findings, more, unread).Sorted()
	if findings.HasErrors() {
		return nil, findings
	}
	return policy, findings
}

const (
	// settling is how long a changed folder must stay as it is before it is read,
	// and mostSettling how often that is waited for: a change acts within five
	// seconds, whatever else is touched meanwhile.
	settling     = 300 * time.Millisecond
	mostSettling = 5
)

// followPolicy takes over a changed folder as a whole, or not at all: an edit
// that does not load leaves the whole old policy in force, and says so.
func (g *Gateway) followPolicy(ctx context.Context) {
	signature := g.lookAtFolder()
	if signature == g.folder {
		return
	}
	// Half of a file may be a whole document: a trust without the conditions that
	// stand at its end. So what is still being written is not read; but not for
	// ever, as whoever keeps touching a file must not hold up the change that takes
	// a grant away.
	settled := time.NewTimer(settling)
	defer settled.Stop()
	for range mostSettling {
		select {
		case <-ctx.Done():
			return
		case <-settled.C:
		}
		before := signature
		if signature = g.lookAtFolder(); signature == before {
			break
		}
		settled.Reset(settling)
	}
	g.folder = signature
	policy, findings := LoadPolicy(g.config, g.env.Now())
	if policy == nil {
		g.metrics.PolicyRejected()
		g.env.Log.ErrorContext(ctx, "changed trust documents refused; the old policy stays in force", slog.Any("findings", []string{findings.Error()}))
		g.record(ctx, audit.Record{Event: audit.PolicyRejected, PolicySHA256: g.policy.Load().SHA256()})
		return
	}
	if policy.SHA256() == g.policy.Load().SHA256() {
		return
	}
	g.policy.Store(policy)
	g.record(ctx, audit.Record{Event: audit.PolicyLoaded, PolicySHA256: policy.SHA256()})
	g.env.Log.InfoContext(ctx, "policy loaded", slog.String("policy_sha256", policy.SHA256()))
}

// lookAtFolder is the signature of the trust folder. An unreadable one is an edit
// that does not load, told once.
func (g *Gateway) lookAtFolder() [sha256.Size]byte {
	signature, err := folderSignature(g.config.Trust)
	if err != nil {
		return sha256.Sum256([]byte(err.Error()))
	}
	return signature
}

// record appends a record that nobody waits for.
func (g *Gateway) record(ctx context.Context, r audit.Record) {
	g.warn(ctx, "not recorded", g.journal.Append(r))
}

func worldProvider(p IdentityProvider, platform oidc.Platform) trust.Provider {
	out := trust.Provider{Platform: platform.Platform, TokenUse: p.TokenUse, Claims: map[string]trust.Claim{}}
	if out.TokenUse == "" {
		out.TokenUse = platform.TokenUse
	}
	for _, name := range slices.Sorted(maps.Keys(p.Claims)) {
		out.Claims[name] = trust.Claim{Type: p.Claims[name].Type}
		if p.Claims[name].Anchor {
			out.Anchors = append(out.Anchors, name)
		}
	}
	return out
}

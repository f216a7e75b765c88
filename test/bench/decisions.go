package main

import (
	"fmt"
	"path/filepath"
	"time"

	"cambio/gateway"
	"cambio/trust"
)

// The sizes of the policies that decide, and how often they do.
const (
	fewTrusts      = 10
	mostTrusts     = 100_000
	identities     = 10
	decisionRounds = 31
	decisionRuns   = 1000 // of every identity, in each round
)

// policy is one that is measured, with identities that it allows.
type policy struct {
	compiled *trust.Policy
	ids      []trust.Identity
	rounds   []float64 // nanoseconds a decision
}

// decisions measures Decide in this process, the policies in turns.
func decisions(b *bench, f *figures) error {
	config, err := loadConfig(filepath.Join(b.dir, embedded))
	if err != nil {
		return err
	}
	world, now := gateway.World(config), time.Now()
	var policies []*policy
	for _, c := range []struct {
		trusts   int
		oneOwner bool
	}{{fewTrusts, false}, {mostTrusts, false}, {mostTrusts, true}} {
		p, err := newPolicy(world, c.trusts, c.oneOwner, now)
		if err != nil {
			return err
		}
		policies = append(policies, p)
	}
	req := trust.Request{Target: target}
	for range decisionRounds {
		for _, p := range policies {
			if err := p.round(req, now); err != nil {
				return err
			}
		}
	}
	f.few, f.most, f.shared = quantile(policies[0].rounds, 0.5), quantile(policies[1].rounds, 0.5), quantile(policies[2].rounds, 0.5)
	return nil
}

func newPolicy(world trust.World, n int, oneOwner bool, now time.Time) (*policy, error) {
	compiled, findings := trust.Compile(world, documents(n, oneOwner, usualGrant), now)
	if compiled == nil {
		return nil, findings
	}
	p := &policy{compiled: compiled, ids: make([]trust.Identity, identities)}
	for i := range p.ids {
		// The same number of identities for each policy, spread over all of it:
		// what is compared is the search for a trust, not how much of a policy
		// the machine's caches hold.
		r := repository{number: i * (n / identities), oneOwner: oneOwner}
		c := claims(r, now)
		p.ids[i] = trust.Identity{Provider: "github", Issuer: ours, Workload: "spiffe://bench/" + r.id(), Subject: fmt.Sprint(c["sub"]), Claims: c}
	}
	return p, nil
}

func (p *policy) round(req trust.Request, now time.Time) error {
	start := time.Now()
	for range decisionRuns {
		for i := range p.ids {
			if d := p.compiled.Decide(p.ids[i], req, trust.StopSet{}, now); !d.Allow {
				return fmt.Errorf("denied: %s %s", d.Reason, d.Detail)
			}
		}
	}
	p.rounds = append(p.rounds, float64(time.Since(start))/(decisionRuns*identities))
	return nil
}

package main

import (
	"crypto/rand"
	"fmt"
	"os"
	"path/filepath"

	"cambio/gateway"
	"cambio/trust"
)

// What the configuration of every server says.
const (
	ours      = "https://id.bench.example"
	target    = "orders-api"
	targetAud = "https://orders.bench.example"
	scope     = "orders:read"
)

// usualGrant is what a trust grants where nothing else is said.
const usualGrant = "{to: " + target + ", scopes: [" + scope + "], ttl: 15m}"

// busyTrusts is how many trusts the servers have that are measured under load.
const busyTrusts = 1000

// newBench makes the identity provider that all servers trust, and the keys that
// they share: to make keys is no part of a start.
func newBench(dir string) (*bench, error) {
	provider, err := newIdentityProvider(rand.Reader)
	if err != nil {
		return nil, err
	}
	if err := os.WriteFile(filepath.Join(dir, "jwks.json"), provider.jwks, 0o600); err != nil {
		return nil, err
	}
	return &bench{dir: dir, provider: provider}, nil
}

// bench is one run of this program.
type bench struct {
	dir      string
	provider *identityProvider
}

// setup is what the servers' configurations differ in.
type setup struct {
	name    string // of the folder
	trusts  int
	server  string // lines at the top level
	targets string // lines below targets
	grants  string // items of each trust's grants; default: usualGrant

	providers string // lines below identity_providers
}

// folder makes the configuration and the trusts of one server. The clock skew is
// small, as all clocks are one: a new Redis makes callers wait for it.
func (b *bench) folder(s setup) (string, error) {
	dir := filepath.Join(b.dir, s.name)
	if err := os.MkdirAll(filepath.Join(dir, "trust"), 0o700); err != nil {
		return "", err
	}
	config := fmt.Sprintf(`issuer: %s
keys: ../keys
limits: {per_address: none, per_workload: none}
%sidentity_providers:
  github:
    type: github-actions
    audience: %s
    clock_skew: 1s
    jwks_file: ../jwks.json
%stargets:
  %s: {type: jwt, audience: %s, max_ttl: 1h}
%s`, ours, s.server, ours, s.providers, target, targetAud, s.targets)
	if err := os.WriteFile(filepath.Join(dir, "cambio.yaml"), []byte(config), 0o600); err != nil {
		return "", err
	}
	if s.grants == "" {
		s.grants = usualGrant
	}
	for i, source := range documents(s.trusts, false, s.grants) {
		file := filepath.Join(dir, "trust", fmt.Sprintf("%06d.yaml", i))
		if err := os.WriteFile(file, source.Data, 0o600); err != nil {
			return "", err
		}
	}
	return dir, nil
}

// loadConfig reads a server's configuration as serve does. It names no variable
// of the environment.
func loadConfig(dir string) (gateway.Config, error) {
	file := filepath.Join(dir, "cambio.yaml")
	text, err := os.ReadFile(file)
	if err != nil {
		return gateway.Config{}, err
	}
	config, findings := gateway.ParseConfig(file, text, func(string) (string, bool) { return "", false }, os.ReadFile)
	if findings.HasErrors() {
		return gateway.Config{}, findings
	}
	return config, nil
}

// documents makes n trusts with a condition each, a thousand of them distinct.
// In a shared owner's all pin the owner's id, and are told apart by the
// repository's name; else each pins a repository id of its own.
func documents(n int, oneOwner bool, grants string) []trust.Source {
	out := make([]trust.Source, n)
	for i := range out {
		r := repository{number: i, oneOwner: oneOwner}
		pin := fmt.Sprintf("  repository_id: %q\n  repository_owner_id: %q\n", r.id(), r.ownerID())
		if oneOwner {
			pin = fmt.Sprintf("  repository_owner_id: %q\n  repository: %s\n", r.ownerID(), r.name())
		}
		out[i] = trust.Source{Name: fmt.Sprintf("%06d.yaml", i), Data: fmt.Appendf(nil, `name: trust-%d
owner: team-%[1]d@bench.example
purpose: The deploy workflow of repository %[1]d reads orders
from: github
match:
%s  ref: refs/heads/main
when:
  - claims.workflow == %q && claims.runner_environment == "github-hosted"
grants: [%s]
`, i, pin, r.workflow(), grants)}
	}
	return out
}

// repository is one that a trust is for.
type repository struct {
	number   int
	oneOwner bool
}

func (r repository) id() string { return fmt.Sprint(41_000_000 + r.number) }

func (r repository) owner() string {
	if r.oneOwner {
		return "bench"
	}
	return fmt.Sprintf("bench-%d", r.number)
}

func (r repository) ownerID() string {
	if r.oneOwner {
		return "9919"
	}
	return fmt.Sprint(9_000_000 + r.number)
}

func (r repository) short() string    { return fmt.Sprintf("service-%d", r.number) }
func (r repository) name() string     { return r.owner() + "/" + r.short() }
func (r repository) workflow() string { return fmt.Sprintf("deploy-%d", r.number%1000) }

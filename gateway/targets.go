package gateway

import (
	"context"
	"fmt"
	"time"

	"cambio/exchange"
	"cambio/trust"
	"cambio/trust/strictyaml"
)

// targetKind is what one type of target brings into the house. The zero value is
// no kind.
type targetKind struct {
	// settings are its fields in the configuration beside type, audience and max_ttl.
	settings []string
	// cloud says that the credential is made elsewhere, and our JWT only asserts who
	// asks; its audience belongs to it alone.
	cloud bool
	// vouches says that the target is told nothing of who may ask, as it only trusts a
	// key of ours: a trust that leaves open for which workloads it is can be connected
	// all the same.
	vouches bool
	// certifies says that the credential is a certificate for a key of the workload's.
	certifies bool
	// ours reports a target of a cloud's kind whose credential is our own JWT all the
	// same; nil: none is.
	ours func(Target) bool
	// sharesAudience says that several targets of the kind have the same audience by
	// nature.
	sharesAudience bool
	// typ is what a grant for this target may hold. It is asked also before the
	// settings were checked.
	typ func(Target) trust.TargetType
	// pins are the settings that decide where a credential works: part of the
	// policy's hash. nil: the audience is all.
	pins func(Target) map[string]string
	// audiences are those that a grant says its credential is for, beside the target's
	// own; nil: grants say none.
	audiences func(trust.Grant) []string
	// check tells all that is wrong with the settings, and fills the defaults.
	check func(*checker, *strictyaml.Node, Target) Target
	// open makes the target ready, and calls nobody. What cloud and subject say is
	// filled in by who calls it.
	open func(Env, Target) (exchange.Target, error)
	// connect says what to set up there; nil: nothing.
	connect func(Config, string, []connected) (*Connection, strictyaml.Findings)
}

// targetKinds are the types of targets, by their name in the configuration.
func targetKinds() map[string]targetKind {
	return map[string]targetKind{
		targetJWT:        jwtKind(),
		targetAWS:        awsKind(),
		targetGCP:        gcpKind(),
		targetKubernetes: kubernetesKind(),
		targetGitHub:     githubKind(),
		targetSSH:        sshKind(),
		targetX509:       x509Kind(),
		targetAzure:      azureKind(),
		targetVault:      vaultKind(),
		targetOAuth:      oauthKind(),
	}
}

// openTargets makes the configured targets ready. It calls none of them.
func (g *Gateway) openTargets(context.Context) error {
	g.targets = make(map[string]exchange.Target, len(g.config.Targets))
	for name, t := range g.config.Targets {
		kind := targetKinds()[t.Type]
		target, err := kind.open(g.env, t)
		if err != nil {
			return fmt.Errorf("gateway: target %s: %w", name, err)
		}
		target.Cloud = kind.cloud && (kind.ours == nil || !kind.ours(t))
		if t.Subject == subjectTrust {
			target.TrustSubject = TrustSubject(g.config.TrustDomain, "")
		}
		g.targets[name] = target
	}
	return nil
}

// world is the target as documents see it.
func (t Target) world() trust.Target {
	kind, ok := targetKinds()[t.Type]
	if !ok {
		return trust.Target{}
	}
	target := trust.Target{Type: kind.typ(t), MaxTTL: time.Duration(t.MaxTTL), Audience: t.Audience}
	if kind.pins != nil {
		target.Settings = kind.pins(t)
	}
	return target
}

// TrustSubject is the sub of our assertion where a target has subject: trust.
func TrustSubject(trustDomain, name string) string {
	return "spiffe://" + trustDomain + "/trust/" + name
}

package gateway

import (
	"errors"
	"fmt"
	"strings"
	"time"

	"cambio/providers"
	"cambio/providers/aws"
	"cambio/providers/oidc"
	"cambio/trust"
	"cambio/trust/strictyaml"
)

// Connection is what an operator sets up at a target so that it takes our
// assertions: for people, for programs, and in the languages of tools.
type Connection = aws.Connection

// ErrNotConnected means that a target needs nothing set up: what it takes is a
// JWT of ours, by our issuer and its keys.
var ErrNotConnected = errors.New("gateway: a target of type jwt is not connected")

// Connect says what to set up at a target for all that the policy grants there.
// With an error among the findings there is no connection: a part of it would
// look like the whole. now only decides which trusts have expired.
func Connect(c Config, policy *trust.Policy, name string, now time.Time) (*Connection, strictyaml.Findings, error) {
	target := c.Targets[name]
	if target.Type != targetAWS {
		return nil, nil, ErrNotConnected
	}
	connection := &Connection{Target: name, Issuer: c.Issuer, Audience: target.Audience, Store: target.endpoint() != ""}
	var findings strictyaml.Findings
	for _, g := range policy.Granted(name) {
		file := "trust " + g.Trust
		if !g.Expires.IsZero() && !now.Before(g.Expires) {
			findings = append(findings, strictyaml.Finding{
				ID: "connect-expired", Severity: strictyaml.Warning, File: file, Message: "has expired, and is left out", Fix: "remove it, or have its owner prolong it",
			})
			continue
		}
		subjects, finding := subjectsOf(c, target, g)
		if finding != nil {
			finding.File = file
			findings = append(findings, *finding)
			continue
		}
		if g.Shadow {
			findings = append(findings, strictyaml.Finding{
				ID: "connect-shadow", Severity: strictyaml.Info, File: file,
				Message: "is in mode shadow: the role will trust its workloads, and nothing is issued to them by it yet", Fix: "enforce it when the journal shows what you expect",
			})
		}
		connection.Grant(g.Trust, g.Resource, subjects, g.Fields, g.Shadow)
	}
	for _, p := range connection.Finish() {
		findings = append(findings, strictyaml.Finding{ID: p.ID, Severity: strictyaml.Error, File: p.Role, Message: p.Text, Fix: p.Fix})
	}
	for _, p := range connection.Warnings() {
		findings = append(findings, strictyaml.Finding{ID: p.ID, Severity: strictyaml.Warning, File: "issuer " + c.Issuer, Message: p.Text, Fix: p.Fix})
	}
	if len(connection.Roles) == 0 && !findings.HasErrors() {
		findings = append(findings, strictyaml.Finding{
			ID: "connect-nothing", Severity: strictyaml.Error, File: "target " + name, Message: "no trust grants it: there is no role to connect", Fix: "write a trust with a grant for it",
		})
	}
	if findings.HasErrors() {
		return nil, findings, nil
	}
	return connection, findings, nil
}

// subjectsOf are the exact values of sub that our assertions can have by this
// grant. Where they cannot be listed there is no pattern in their place: it would
// let in workloads that nobody reviewed.
func subjectsOf(c Config, t Target, g trust.Granted) ([]string, *strictyaml.Finding) {
	if t.Subject == "trust" {
		return []string{TrustSubject(c.TrustDomain, g.Trust)}, nil
	}
	ids, err := providers.Workloads(c.TrustDomain, c.IdentityProviders[g.Provider].provider(g.Provider), g.Pins)
	var open *oidc.OpenError
	switch {
	case errors.As(err, &open):
		return nil, &strictyaml.Finding{
			ID: "connect-open-workload", Severity: strictyaml.Error,
			Message: "match leaves open which workloads it is for, so that their sub cannot be listed",
			Fix:     fmt.Sprintf("pin %s in match, or set subject: trust for the target, whose sub is then %s", strings.Join(open.Claims, " and "), TrustSubject(c.TrustDomain, g.Trust)),
		}
	case err != nil:
		return nil, &strictyaml.Finding{
			ID: "connect-open-workload", Severity: strictyaml.Error, Message: err.Error(),
			Fix: "set subject: trust for the target, whose sub is then " + TrustSubject(c.TrustDomain, g.Trust),
		}
	}
	return ids, nil
}

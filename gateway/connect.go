package gateway

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"cambio/providers"
	"cambio/providers/oidc"
	"cambio/trust"
	"cambio/trust/strictyaml"
)

// Connection is what an operator sets up at a target so that it takes our
// assertions.
type Connection struct {
	Target string
	// Forms are the same thing said in several languages; the first, text, is for
	// people.
	Forms []Form
	// Resources are those that the trusts grant, to be tried one by one; "" stands
	// for a grant that names none.
	Resources []string

	// Certifies says that what it gives is for a key of the workload's: without one,
	// nothing can be tried.
	Certifies bool

	session func(resource, decision string) string
}

// Form is a connection in one language.
type Form struct {
	Name  string // of -o, such as terraform
	Title string // of the language
	Text  string
}

// Form is the connection in this language; false: there is none.
func (c *Connection) Form(name string) (string, bool) {
	for _, f := range c.Forms {
		if f.Name == name {
			return f.Text, true
		}
	}
	return "", false
}

// Session is what the target calls the session that an exchange has, by its
// decision's id; "" where that is not known.
func (c *Connection) Session(resource, decision string) string {
	if c.session == nil {
		return ""
	}
	return c.session(resource, decision)
}

// connected is one grant, and the exact values of sub that our assertions for it
// can have.
type connected struct {
	trust.Granted
	Subjects []string
}

// ErrNotConnected means that a target needs nothing set up: what it takes is a
// JWT of ours, by our issuer and its keys.
var ErrNotConnected = errors.New("gateway: a target of this type is not connected")

// Connect says what to set up at a target for all that the policy grants there.
// With an error among the findings there is no connection: a part of it would
// look like the whole. now only decides which trusts have expired.
func Connect(c Config, policy *trust.Policy, name string, now time.Time) (*Connection, strictyaml.Findings, error) {
	kind := targetKinds()[c.Targets[name].Type]
	if kind.connect == nil {
		return nil, nil, ErrNotConnected
	}
	var grants []connected
	var findings strictyaml.Findings
	for _, g := range policy.Granted(name) {
		file := "trust " + g.Trust
		if !g.Expires.IsZero() && !now.Before(g.Expires) {
			findings = append(findings, strictyaml.Finding{
				ID: "connect-expired", Severity: strictyaml.Warning, File: file, Message: "has expired, and is left out", Fix: "remove it, or have its owner prolong it",
			})
			continue
		}
		subjects, finding := subjectsOf(c, c.Targets[name], g)
		if finding != nil && kind.vouches {
			subjects, finding = nil, nil
		}
		if finding != nil {
			finding.File = file
			findings = append(findings, *finding)
			continue
		}
		if g.Shadow {
			findings = append(findings, strictyaml.Finding{
				ID: "connect-shadow", Severity: strictyaml.Info, File: file,
				Message: "is in mode shadow: the target will trust its workloads, and nothing is issued to them by it yet", Fix: "enforce it when the journal shows what you expect",
			})
		}
		grants = append(grants, connected{g, subjects})
	}
	if len(grants) == 0 && !findings.HasErrors() {
		findings = append(findings, strictyaml.Finding{
			ID: "connect-nothing", Severity: strictyaml.Error, File: "target " + name, Message: "no trust grants it: there is nothing to connect", Fix: "write a trust with a grant for it",
		})
	}
	connection, more := kind.connect(c, name, grants)
	if findings = append(findings, more...); findings.HasErrors() {
		return nil, findings, nil
	}
	connection.Target, connection.Certifies = name, kind.certifies
	for _, g := range grants {
		if !slices.Contains(connection.Resources, g.Resource) {
			connection.Resources = append(connection.Resources, g.Resource)
		}
	}
	slices.Sort(connection.Resources)
	return connection, findings, nil
}

// subjectsOf are the exact values of sub that our assertions can have by this
// grant. Where they cannot be listed there is no pattern in their place: it would
// let in workloads that nobody reviewed.
func subjectsOf(c Config, t Target, g trust.Granted) ([]string, *strictyaml.Finding) {
	if t.Subject == subjectTrust {
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

package gateway

import (
	"errors"
	"maps"
	"os"
	"slices"
	"time"

	"cambio/issuer"
	"cambio/keystore"
	"cambio/trust/strictyaml"
)

// checkAuthorities says what is wrong with the keys and certificates of our own
// authorities, and with the keys of GitHub Apps, as they lie on disk and at this time. One that has ended is a
// warning: the other targets must not go down with it.
func checkAuthorities(c Config, now time.Time) strictyaml.Findings {
	var findings strictyaml.Findings
	for _, name := range slices.Sorted(maps.Keys(c.Targets)) {
		t := c.Targets[name]
		at := strictyaml.Finding{Severity: strictyaml.Error, File: "target " + name}
		if t.Type == targetGitHub && !keystore.IsURI(t.AppKey) {
			if _, err := keystore.ReadPrivate(t.AppKey); err != nil {
				f := at
				f.ID, f.Field, f.Message, f.Fix = "github-app-key", "app_key", err.Error(), "make it a file that its owner alone may read"
				findings = append(findings, f)
			}
		}
		if t.Type != targetX509 && t.Type != targetSSH {
			continue
		}
		if _, err := keystore.ReadPrivate(t.CAKey); err != nil {
			f := at
			f.ID, f.Field, f.Message, f.Fix = "ca-key", "ca_key", err.Error(), "make it a file that its owner alone may read"
			if errors.Is(err, keystore.ErrMode) {
				f.ID = "ca-key-mode"
			}
			findings = append(findings, f)
		}
		if t.authority == nil {
			continue
		}
		for _, p := range t.authority.Check(TrustSubject(c.TrustDomain, "probe"), now) {
			f := at
			f.ID, f.Field, f.Message, f.Fix = p.ID, "ca_cert", "the chain "+p.Text, p.Fix
			if p.Warning {
				f.Severity = strictyaml.Warning
			}
			findings = append(findings, f)
		}
	}
	return findings
}

// Signed are the names of the targets that take what our signing keys sign; the
// others trust keys of their own.
func (c Config) Signed() []string {
	var names []string
	for name, t := range c.Targets {
		if !targetKinds()[t.Type].vouches {
			names = append(names, name)
		}
	}
	slices.Sort(names)
	return names
}

// Roots are the root certificates of our own authorities, each once, in an order
// that does not change; and since when they are what they are.
func (c Config) Roots() issuer.Roots {
	var out issuer.Roots
	for _, name := range slices.Sorted(maps.Keys(c.Targets)) {
		t := c.Targets[name]
		if t.authority == nil {
			continue
		}
		for _, root := range t.authority.Roots() {
			if root.NotBefore.After(out.Since) {
				out.Since = root.NotBefore
			}
			if !slices.ContainsFunc(out.Certificates, root.Equal) {
				out.Certificates = append(out.Certificates, root)
			}
		}
		if info, err := os.Stat(t.CACert); err == nil && info.ModTime().After(out.Since) {
			out.Since = info.ModTime()
		}
	}
	return out
}

package gateway

import (
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"cambio/providers"
	"cambio/trust"
	"cambio/trust/strictyaml"
)

// Labels are the fields of a trust document that no claim decides.
type Labels struct {
	Name, Owner, Purpose string // "" for name and purpose: from what is drafted
	From                 string // an identity provider
	To, Resource         string // of the one grant
}

// Owned refuses labels without an owner: offboarding needs somebody to ask.
func (l *Labels) Owned() error {
	if strings.TrimSpace(l.Owner) == "" {
		return errors.New("--owner is required: who answers for this trust, such as payments-team@acme.example")
	}
	return nil
}

// ChooseProvider fills in the identity provider where the configuration leaves
// only one choice, and says which flag is missing where not. config is nil where
// there is none.
func (l *Labels) ChooseProvider(config *Config, platform string) (err error) {
	if config == nil {
		if l.From == "" {
			return errors.New("--provider is required where there is no configuration to take it from")
		}
		return nil
	}
	l.From, err = choose("--provider", "identity provider", l.From, platform, config.IdentityProviders, func(p IdentityProvider) string { return p.Type })
	return err
}

// ChooseTarget does the same for the target; kind is its type, or "" for any.
func (l *Labels) ChooseTarget(config *Config, kind string) (err error) {
	if config == nil {
		if l.To == "" {
			return errors.New("--to is required where there is no configuration to take it from")
		}
		return nil
	}
	l.To, err = choose("--to", "target", l.To, kind, config.Targets, func(t Target) string { return t.Type })
	return err
}

// Granting refuses labels without a resource where the target wants one.
func (l *Labels) Granting(config *Config) error {
	if config == nil || l.Resource != "" {
		return nil
	}
	if f := World(*config).Targets[l.To].Type.Fields["resource"]; f.Required {
		return fmt.Errorf("--resource is required for the target %s, such as %s", l.To, f.Example)
	}
	return nil
}

// choose returns what was named if it is of the type, or the only one that is.
func choose[T any](flag, what, named, kind string, all map[string]T, typeOf func(T) string) (string, error) {
	var fit []string
	for _, name := range slices.Sorted(maps.Keys(all)) {
		if kind == "" || typeOf(all[name]) == kind {
			fit = append(fit, name)
		}
	}
	of := what
	if kind != "" {
		of += " of type " + kind
	}
	switch {
	case named != "" && slices.Contains(fit, named):
		return named, nil
	case named != "" && len(fit) > 0:
		return "", fmt.Errorf("%s %s: the configuration has no such %s; %s", flag, named, of, strictyaml.DidYouMean(named, fit))
	case named != "":
		return "", fmt.Errorf("%s %s: the configuration has no such %s", flag, named, of)
	case len(fit) == 1:
		return fit[0], nil
	case len(fit) == 0:
		return "", fmt.Errorf("the configuration has no %s", of)
	}
	return "", fmt.Errorf("%s is required: one of %s", flag, strings.Join(fit, ", "))
}

// DraftTrust writes a trust document for one workload of a platform, see
// [providers.Drafts]. The findings are those of the document against the
// configuration, where there is one; with an error among them there is no
// document.
func DraftTrust(config *Config, platform, workload string, claims []byte, l Labels, now time.Time) ([]byte, strictyaml.Findings, error) {
	d, err := providers.Drafts(platform, workload, claims)
	if err != nil {
		return nil, nil, err
	}
	l.label(&d)
	d.GrantHints = []string{"ttl: 15m   how long the credential lives; as short as the job needs"}
	document, err := d.YAML()
	if err != nil {
		return nil, nil, err
	}
	findings := checkDraft(config, d.Name, document, now)
	if findings.HasErrors() {
		return nil, findings, nil
	}
	return document, findings, nil
}

func (l *Labels) label(d *providers.Draft) {
	d.Owner, d.From, d.To, d.Resource = l.Owner, l.From, l.To, l.Resource
	if l.Name != "" {
		d.Name = l.Name
	}
	if l.Purpose != "" {
		d.Purpose = l.Purpose
	} else {
		d.Purpose += " gets " + l.To
	}
}

// checkDraft compiles a document by itself and runs its tests: a draft that does
// not load says nothing that may be believed.
func checkDraft(config *Config, name string, document []byte, now time.Time) strictyaml.Findings {
	if config == nil {
		return nil
	}
	policy, findings := trust.Compile(World(*config), []trust.Source{{Name: name + ".yaml", Data: document}}, now)
	if policy == nil {
		return findings
	}
	for _, r := range policy.Test(now) {
		if !r.OK {
			findings = append(findings, r.Failure())
		}
	}
	return findings
}

// ShellWord quotes a text as one word for sh, where it needs that, for commands
// that are printed to be pasted.
func ShellWord(s string) string { return providers.ShellWord(s) }

// LookUp is the command that finds out at a desk what a draft needs, see
// [providers.LookUp].
func LookUp(platform, workload string) (string, error) { return providers.LookUp(platform, workload) }

// Drafted are the types of identity providers that a trust can be drafted for by
// the claims of a token alone, sorted.
func Drafted() []string { return providers.Drafted() }

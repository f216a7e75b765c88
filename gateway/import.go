package gateway

import (
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"cambio/providers"
	"cambio/trust"
	"cambio/trust/strictyaml"
)

// Imported is one document made of what another system trusts.
type Imported struct {
	Name     string // of the document
	Document []byte
}

// ImportSource is what another system keeps of whom it trusts, see
// [providers.ImportSource].
type ImportSource = providers.ImportSource

// Import turns what another system trusts into documents in mode shadow, one for
// each set of identities that the lines of one document can say. With an error
// among the findings there is none: what would be left out is what narrows.
func Import(config *Config, source ImportSource, l Labels, now time.Time) ([]Imported, strictyaml.Findings) {
	if config != nil {
		kind := config.Targets[l.To].Type
		source.GitHub = kind == targetGitHub
		source.Same = kind == source.Kind && (kind == targetAzure || kind == targetVault)
	}
	read := providers.ReadImport(source, providers.ImportWorld{
		Platform: func(issuer string) string { return platformOf(config, issuer) },
		Declares: func(issuer, claim string) bool { return declares(config, issuer, claim) },
	})
	drafts, findings, file := read.Drafts, read.Findings, source.File
	report := func(severity strictyaml.Severity, where, id, message, fix string) {
		findings = append(findings, strictyaml.Finding{ID: id, Severity: severity, File: file, Field: where, Message: message, Fix: fix})
	}
	if l.Resource == "" {
		l.Resource = read.Resource
	}
	of := read.Of
	if source.Kind == "aws" {
		of = "the trust policy of " + l.Resource
	}
	if source.Kind == "aws" && l.Resource == "" && !findings.HasErrors() {
		report(strictyaml.Error, "", "import-role", "the file does not say which role it is of", "name its ARN with --role, or give what `aws iam get-role` prints")
	}
	direct := toGoogle(config, l.To) && l.Resource == ""
	if direct && source.Bindings != nil && !findings.HasErrors() {
		report(strictyaml.Error, "bindings", "import-role", "the policy does not say which service account it is of", "name it with --resource gcp: and its address")
	}
	if source.GitHub && source.Kind == "octo-sts" && !findings.HasErrors() {
		switch named := slices.ContainsFunc(drafts, func(d providers.Imported) bool { return len(d.Repositories) > 0 }); {
		case named && l.Resource != "":
			report(strictyaml.Error, "repositories", "import-repository", "the policy names the repositories, and --resource another", "leave --resource out")
		case !named && l.Resource == "":
			report(strictyaml.Error, "repositories", "import-repository", "the policy is for the repository that it lies in, or for all of the organisation, and does not say which", "name it with --resource github:OWNER/REPO")
		}
		if findings.HasErrors() {
			return nil, findings
		}
	}
	if source.Same && l.Resource == "" && !findings.HasErrors() {
		what := map[string]string{targetAzure: "the client id of the application, with --resource azure:CLIENT_ID", targetVault: "the role, with --resource vault:NAME"}
		report(strictyaml.Error, "", "import-role", "the file does not say what it is of", "name "+what[source.Kind])
		return nil, findings
	}
	var out []Imported
	names := map[string]bool{}
	for _, d := range drafts {
		if direct && d.TTL == "" {
			d.TTL = directTTL
		}
		from, problem := fromOf(config, l.From, d.Issuer)
		if config == nil && d.Issuer != drafts[0].Issuer {
			problem = "the issuers " + drafts[0].Issuer + " and " + d.Issuer + " cannot both be " + from
		}
		if problem != "" {
			report(strictyaml.Error, d.Where, "import-provider", problem, "configure it under identity_providers, or name it with --provider")
			continue
		}
		labels := l
		labels.From = from
		if len(drafts) > 1 && labels.Name != "" {
			labels.Name += "-" + d.Name
		}
		labels.label(&d.Draft)
		d.Name = unusedName(names, d.Name)
		d.Shadow = true
		d.Head = []string{
			"Imported from " + of + ".",
			"Review each line: what was let in before is not always what was meant.",
		}
		if d.TTL == "" {
			d.GrantHints = []string{"ttl: 1h   15m unless written; directly a job had " + read.Lived}
		}
		document, err := d.YAML()
		if err != nil {
			report(strictyaml.Error, d.Where, "import-pattern", err.Error(), "write the document by hand")
			continue
		}
		findings = append(findings, checkDraft(config, d.Name, document, now)...)
		out = append(out, Imported{Name: d.Name, Document: document})
	}
	if findings.HasErrors() {
		return nil, findings
	}
	if !direct && slices.ContainsFunc(read.Drafts, func(d providers.Imported) bool { return d.TTL == "" }) {
		report(strictyaml.Info, "", "import-ttl", "a credential lives 15 minutes where the grant says no ttl; directly a job had it for "+read.Lived, "write ttl where a job needs longer")
	}
	return out, findings
}

// directTTL is how long a credential lives that Google Cloud gives to a principal
// of a pool itself.
const directTTL = "5m"

// toGoogle reports a target that is a pool of Google Cloud.
func toGoogle(config *Config, target string) bool {
	return config != nil && config.Targets[target].Type == targetGCP
}

// unusedName adds a number to a name that another document has.
func unusedName(taken map[string]bool, name string) string {
	name = providers.DraftName(name)
	found := name
	for i := 2; taken[found]; i++ {
		found = fmt.Sprintf("%s-%d", name, i)
	}
	taken[found] = true
	return found
}

func platformOf(config *Config, issuer string) string {
	for _, name := range providersOf(config, issuer) {
		return config.IdentityProviders[name].Type
	}
	return providers.PlatformOf(issuer)
}

// declares reports whether every identity provider of this issuer has a claim of
// this name that is a text.
func declares(config *Config, issuer, claim string) bool {
	names := providersOf(config, issuer)
	if len(names) == 0 {
		return false
	}
	world := World(*config)
	return !slices.ContainsFunc(names, func(name string) bool {
		return world.Providers[name].Claims[claim].Type != trust.StringClaim
	})
}

// providersOf are the identity providers with this issuer.
func providersOf(config *Config, issuer string) []string {
	if config == nil {
		return nil
	}
	var names []string
	for _, name := range slices.Sorted(maps.Keys(config.IdentityProviders)) {
		if config.IdentityProviders[name].Issuer == issuer {
			names = append(names, name)
		}
	}
	return names
}

// fromOf is the identity provider of an issuer. One that was named must be of that
// issuer: the document would else trust workloads that the policy does not.
func fromOf(config *Config, named, issuer string) (from, problem string) {
	if config == nil {
		if named == "" {
			return "", "the issuer " + issuer + " needs a name, and there is no configuration to take it from"
		}
		return named, ""
	}
	fit := providersOf(config, issuer)
	switch {
	case named != "" && slices.Contains(fit, named):
		return named, ""
	case named != "":
		return "", "the identity provider " + named + " is not of the issuer " + issuer
	case len(fit) == 0:
		return "", "no identity provider of the configuration has the issuer " + issuer
	case len(fit) > 1:
		return "", "several identity providers have the issuer " + issuer + ": " + strings.Join(fit, ", ")
	}
	return fit[0], ""
}

package check

import (
	"embed"
	"fmt"
	"strings"

	"cambio/trust/strictyaml"
)

// Rule is one finding of the catalogue: what it means, and how to mend it.
type Rule struct {
	ID       string
	Severity strictyaml.Severity // the usual one; some places are less bad
	NHI      []string            // of the OWASP Non-Human Identities Top 10, 2025
	Title    string
	Why      string // what an attacker, or an accident, makes of it
	Fix      string
	// Bad draws the finding, and Good does not: whole documents, several of them
	// divided by a line of ---. Both are "" where it takes more than documents.
	Bad, Good string
}

// Catalogue are all findings that a document that is read can draw, by area.
func Catalogue() []Rule {
	all := rules()
	for i := range all {
		all[i].Bad, all[i].Good = example(all[i].ID, "bad"), example(all[i].ID, "good")
	}
	return all
}

//go:embed cases/*.yaml
var cases embed.FS

func example(id, kind string) string {
	b, err := cases.ReadFile("cases/" + id + "." + kind + ".yaml")
	if err != nil {
		return "" // it takes more than documents
	}
	return string(b)
}

// Explain is the rule of an id.
func Explain(id string) (Rule, bool) {
	for _, r := range Catalogue() {
		if r.ID == id {
			return r, true
		}
	}
	return Rule{}, false
}

// Page is the rule as a page of documentation, in Markdown.
func (r Rule) Page() string {
	var b strings.Builder
	fmt.Fprintf(&b, "# `%s`\n\n%s\n\n", r.ID, r.Title)
	fmt.Fprintf(&b, "Severity: %s. OWASP Non-Human Identities Top 10 (2025): %s.", r.Severity, strings.Join(r.Risks(), ", "))
	fmt.Fprintf(&b, "\n\n## Why it matters\n\n%s\n\n## What to do\n\n%s\n", r.Why, r.Fix)
	if r.Bad != "" {
		fmt.Fprintf(&b, "\nThis draws the finding:\n\n```yaml\n%s```\n", strings.ReplaceAll(r.Bad, "---\n", "```\n\n```yaml\n"))
		fmt.Fprintf(&b, "\nThis does not:\n\n```yaml\n%s```\n", strings.ReplaceAll(r.Good, "---\n", "```\n\n```yaml\n"))
	}
	return b.String()
}

// Risks are the names of what it maps to, such as "NHI1 Improper Offboarding".
func (r Rule) Risks() []string {
	out := make([]string, len(r.NHI))
	for i, id := range r.NHI {
		out[i] = id + " " + risks()[id]
	}
	return out
}

// risks are the OWASP Non-Human Identities Top 10 of 2025.
func risks() map[string]string {
	return map[string]string{
		"NHI1": "Improper Offboarding", "NHI2": "Secret Leakage", "NHI3": "Vulnerable Third-Party NHI", "NHI4": "Insecure Authentication",
		"NHI5": "Overprivileged NHI", "NHI6": "Insecure Cloud Deployment Configurations", "NHI7": "Long-Lived Secrets",
		"NHI8": "Environment Isolation", "NHI9": "NHI Reuse", "NHI10": "Human Use of NHI",
	}
}

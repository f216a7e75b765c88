package main

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"cambio/audit"
	"cambio/gateway"
	"cambio/trust"
	"cambio/trust/check"
	"cambio/trust/sarif"
	"cambio/trust/strictyaml"
)

// checking are the flags of trust check.
type checking struct {
	at, journal, explain string
	strict               bool
	part                 bool // of a folder that was named: what it does not use, others may
}

func trustCheckCommand(c *common) *cobra.Command {
	var k checking
	cmd := &cobra.Command{
		Use:   "check [DIR]",
		Short: "Compile, lint and test the documents below DIR",
		Long: `Compiles every document below DIR against the identity providers and targets of
the configuration, says all that is wrong at once (file, line, column, what to
write instead, finding id), and runs the tests: inside the documents, and those of
the files beside them.

Then it says what is allowed and most likely not meant: names that others can take
over, prefixes that end inside a name, code that nobody reviewed, production
without a gate, trusts that overlap or that nobody needs. A right policy draws no
warning. With --journal it also tells of trusts that allowed nothing for 90 days.

Without DIR it is the folder that the configuration names.

The exit status is 0 when there is no error, and 3 when there is one, or a test
failed; with --strict also when there is a warning.`,
		Example: `  cambio trust check ./trust
  cambio trust check ./trust --strict -o sarif > findings.sarif
  cambio trust check --journal ./state/journal
  cambio trust check --explain mutable-claim`,
		Args: optionalDir,
		RunE: func(_ *cobra.Command, args []string) error {
			if err := c.checkOutput("text", "json", "sarif"); err != nil {
				return err
			}
			if k.explain != "" {
				return c.explainFinding(k.explain)
			}
			now, err := c.timeFlag(k.at)
			if err != nil {
				return err
			}
			config, err := c.load()
			if err != nil {
				return c.refusedDocuments(err)
			}
			if k.part = len(args) > 0; k.part {
				config.Trust = args[0]
			}
			return c.checkTrusts(config, k, now)
		},
	}
	f := cmd.Flags()
	f.StringVar(&k.at, "at", "", "judge as at this time (RFC 3339)")
	f.BoolVar(&k.strict, "strict", false, "fail on warnings too")
	f.StringVar(&k.journal, "journal", "", "journal, or the state folder that holds it: tells of trusts that nobody uses")
	f.StringVar(&k.explain, "explain", "", "show the page of a finding `ID`, and check nothing")
	offer(cmd, "explain", func(*cobra.Command, []string, string) ([]string, cobra.ShellCompDirective) {
		return findingIDs(), cobra.ShellCompDirectiveNoFileComp
	})
	return cmd
}

func (c *common) checkTrusts(config gateway.Config, k checking, now time.Time) error {
	options := check.Options{Now: now}
	if !k.part {
		options.Config = c.config
	}
	if k.journal != "" {
		var err error
		if options.LastUsed, options.Since, err = c.use(config, k.journal); err != nil {
			return err
		}
	}
	done := c.progress("checking " + config.Trust)
	policy, findings := gateway.LoadTested(config, now)
	if policy == nil {
		done()
		return c.refusedDocuments(findings)
	}
	results := policy.Test(now)
	findings = append(findings, check.Run(policy, options)...).Sorted()
	done()
	failed := failures(results)
	if k.strict {
		failed = append(failed, slices.DeleteFunc(slices.Clone(findings), func(f strictyaml.Finding) bool { return f.Severity == strictyaml.Info })...).Sorted()
	}
	if err := c.printChecked(config, findings, results, policy, failed); err != nil {
		return err
	}
	if len(failed) > 0 {
		return failed
	}
	if c.output != "text" {
		return nil
	}
	return lines(c.io.out, "%s: ok: %s, %s, %s passed; policy %s",
		config.Trust, count(policy.Trusts(), "trust"), count(policy.Guardrails(), "guardrail"), count(len(results), "test"), policy.SHA256())
}

// printChecked writes what was found. What fails the check is left out of the
// text: it is the error, and told as one.
func (c *common) printChecked(config gateway.Config, findings strictyaml.Findings, results []trust.TestResult, policy *trust.Policy, failed strictyaml.Findings) error {
	switch c.output {
	case "json":
		return c.printTrustReport(findings, results, policy, len(failed) == 0)
	case "sarif":
		return c.printSARIF(append(slices.Clone(findings), failures(results)...).Sorted())
	}
	told := slices.DeleteFunc(slices.Clone(findings), func(f strictyaml.Finding) bool { return slices.Contains(failed, f) })
	for _, f := range told {
		c.io.say("%s", c.coloured(f))
	}
	if summary := summed(findings); summary != "" {
		c.io.say("%s: %s; cambio trust check --explain ID tells of each", config.Trust, summary)
	}
	return nil
}

// coloured is a finding's line with its severity in colour, on a terminal.
func (c *common) coloured(f strictyaml.Finding) string {
	line := f.String()
	word := string(f.Severity) + ":"
	switch f.Severity {
	case strictyaml.Error:
		return strings.Replace(line, word, c.io.red(word), 1)
	case strictyaml.Warning:
		return strings.Replace(line, word, c.io.bold(word), 1)
	case strictyaml.Info:
	}
	return strings.Replace(line, word, c.io.faint(word), 1)
}

// summed counts findings by severity, "" for none.
func summed(findings strictyaml.Findings) string {
	var parts []string
	for _, s := range []strictyaml.Severity{strictyaml.Error, strictyaml.Warning, strictyaml.Info} {
		n := 0
		for _, f := range findings {
			if f.Severity == s {
				n++
			}
		}
		if n > 0 {
			parts = append(parts, count(n, string(s)))
		}
	}
	return strings.Join(parts, ", ")
}

func (c *common) printTrustReport(findings strictyaml.Findings, results []trust.TestResult, policy *trust.Policy, ok bool) error {
	return c.writeJSON(map[string]any{
		"ok": ok, "findings": append(strictyaml.Findings{}, findings...), "tests": append([]trust.TestResult{}, results...),
		"trusts": policy.Trusts(), "guardrails": policy.Guardrails(), "policy_sha256": policy.SHA256(),
	})
}

// refusedDocuments is refusedCheck, which also knows SARIF: a code host shows the
// errors beside the lines that they are about.
func (c *common) refusedDocuments(err error) error {
	var findings strictyaml.Findings
	if c.output != "sarif" || !errors.As(err, &findings) {
		return c.refusedCheck(err)
	}
	return errors.Join(err, c.printSARIF(findings))
}

// pages is where the documentation of findings is read.
const pages = "https://github.com/acme/cambio/blob/main/docs/"

func (c *common) printSARIF(findings strictyaml.Findings) error {
	tool := sarif.Tool{Name: "cambio", Version: buildVersion(), URI: pages + "README.md", Help: pages + "reference/findings.md"}
	for _, r := range check.Catalogue() {
		tool.Rules = append(tool.Rules, sarif.Rule{
			ID: r.ID, Severity: r.Severity, Title: r.Title, Text: r.Page(), URI: pages + "findings/" + r.ID + ".md",
			Tags: append([]string{"security"}, r.NHI...),
		})
	}
	return sarif.Write(c.io.out, tool, findings)
}

func findingIDs() []string {
	var ids []string
	for _, r := range check.Catalogue() {
		ids = append(ids, r.ID)
	}
	slices.Sort(ids)
	return ids
}

// pagesLike leads from an id without a page on: to the one that was meant, or to the
// list of all.
func pagesLike(id string) string {
	next := "docs/reference/findings.md tells of those without a page"
	if near := strictyaml.Suggest(id, findingIDs()); near != "" {
		next = "did you mean " + near + "? " + next
	}
	return next
}

// explainFinding prints the page of a finding.
func (c *common) explainFinding(id string) error {
	r, ok := check.Explain(id)
	if !ok {
		return &failure{
			code: exitUsage, err: fmt.Errorf("--explain %s: no page has this id", id),
			next: pagesLike(id),
		}
	}
	if c.json() {
		return c.writeJSON(map[string]any{
			"id": r.ID, "severity": r.Severity, "nhi": append([]string{}, r.NHI...), "title": r.Title, "why": r.Why, "fix": r.Fix, "bad": r.Bad, "good": r.Good,
		})
	}
	return lines(c.io.out, "%s", strings.TrimRight(r.Page(), "\n"))
}

// use reads from a journal when each trust last allowed an exchange, and when the
// journal begins: what was not used before that is not known.
func (c *common) use(config gateway.Config, dir string) (used map[string]time.Time, since time.Time, err error) {
	fsys, err := journalFS(dir)
	if err != nil {
		return nil, since, err
	}
	for first, err := range audit.Read(fsys) {
		if err != nil {
			return nil, since, err
		}
		since = first.Time
		break
	}
	used, err = c.lastAllowed(config, window{dirs: []string{dir}})
	return used, since, err
}

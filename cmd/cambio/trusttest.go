package main

import (
	"fmt"
	"time"

	"github.com/spf13/cobra"

	"cambio/gateway"
	"cambio/trust"
	"cambio/trust/junit"
	"cambio/trust/strictyaml"
)

// testFlags are the flags of trust test.
type testFlags struct {
	at       string
	coverage bool
	minimum  int
}

func trustTestCommand(c *common) *cobra.Command {
	var t testFlags
	cmd := &cobra.Command{
		Use:   "test [DIR]",
		Short: "Run the tests of the documents below DIR, and say what they do not show",
		Long: `Runs the tests: inside the documents below DIR, and those of the files *_test.yaml
beside them. Such a file is no document: it names a trust, or an identity provider,
and what its tokens may and may not have.

  trust: payments-deploy      or  from: github
  tests:
    - name: nobody deploys on a Sunday
      at: "2027-03-28T10:00:00Z"      default: now, within the trust's hours
      address: 10.1.2.3               default: in the trust's first network
      claims: {ref: refs/heads/main}  over the platform's sample and the trust's match
      ask: {to: aws-prod}
      expect: deny                    or allow
      reason: outside-hours           why it is denied; with allow, by: TRUST says who allows

--coverage lists what no test shows: a trust that no test sees allow, and each
condition that no test makes fail with everything else holding. Such a condition
can be lost in an edit, and no test says so.

The exit status is 0 when all pass, 1 when one fails or the coverage is below
--min-coverage, and 3 when the documents do not load.`,
		Example: `  cambio trust test ./trust --coverage
  cambio trust test ./trust -o junit > results.xml`,
		Args: optionalDir,
		RunE: func(cmd *cobra.Command, args []string) error {
			if err := c.checkOutput("text", "json", "junit"); err != nil {
				return err
			}
			if t.minimum < 0 || t.minimum > 100 {
				return usage("--min-coverage %d: write a percentage from 0 to 100", t.minimum)
			}
			t.coverage = t.coverage || cmd.Flags().Changed("min-coverage")
			now, err := c.timeFlag(t.at)
			if err != nil {
				return err
			}
			config, err := c.load()
			if err != nil {
				return c.refusedCheck(err)
			}
			if len(args) > 0 {
				config.Trust = args[0]
			}
			return c.testTrusts(config, t, now)
		},
	}
	f := cmd.Flags()
	f.StringVar(&t.at, "at", "", "test as at this time (RFC 3339)")
	f.BoolVar(&t.coverage, "coverage", false, "list what no test shows")
	f.IntVar(&t.minimum, "min-coverage", 0, "fail when less than this percentage is covered")
	return cmd
}

func (c *common) testTrusts(config gateway.Config, t testFlags, now time.Time) error {
	done := c.progress("testing " + config.Trust)
	policy, findings := gateway.LoadTested(config, now)
	if policy == nil {
		done()
		return c.refusedCheck(findings)
	}
	results := policy.Test(now)
	var coverage *trust.Coverage
	if t.coverage {
		measured := policy.Coverage(results)
		coverage = &measured
	}
	done()
	if err := c.printTests(config.Trust, findings, results, coverage); err != nil {
		return err
	}
	failed := len(failures(results))
	switch {
	case failed > 0:
		return &failure{code: exitError, err: fmt.Errorf("%d of %s failed", failed, count(len(results), "test")), next: "mend the trust, or the test's claims, ask or expect"}
	case coverage != nil && coverage.Percent() < t.minimum:
		return &failure{
			code: exitError, err: fmt.Errorf("the coverage is %d %%, below the %d %% that are wanted", coverage.Percent(), t.minimum),
			next: "write tests for what is listed",
		}
	}
	return nil
}

func (c *common) printTests(dir string, findings strictyaml.Findings, results []trust.TestResult, coverage *trust.Coverage) error {
	failed := failures(results)
	if c.json() {
		out := map[string]any{
			"ok": len(failed) == 0, "tests": append([]trust.TestResult{}, results...), "findings": append(strictyaml.Findings{}, findings...),
		}
		if coverage != nil {
			out["coverage"] = coverage
		}
		return c.writeJSON(out)
	}
	for _, f := range append(findings, failed...) {
		c.io.say("%s", f)
	}
	if c.output == "junit" {
		return junit.Write(c.io.out, results)
	}
	if err := lines(c.io.out, "%s: %d of %s passed", dir, len(results)-len(failed), count(len(results), "test")); err != nil || coverage == nil {
		return err
	}
	for _, s := range coverage.Subjects {
		if err := c.printSubject(s); err != nil {
			return err
		}
	}
	return lines(c.io.out, "coverage: %d %% (%d of %d)", coverage.Percent(), coverage.Covered, coverage.Total)
}

func (c *common) printSubject(s trust.SubjectCoverage) error {
	name := s.Trust
	if s.Guardrail != "" {
		name = "guardrail " + s.Guardrail
	}
	if err := lines(c.io.out, "%s: %d of %d", name, s.Covered, s.Total); err != nil {
		return err
	}
	for _, u := range s.Uncovered {
		why := "no test makes it fail"
		switch {
		case u.Field == "allow":
			why = "no test shows whom it lets in"
		case s.Guardrail != "" && u.Together:
			why = "what it forbids in tests, another guardrail forbids too"
		case s.Guardrail != "":
			why = "no test shows what it forbids"
		case u.Together:
			why = "tests make it fail only where something else fails too"
		}
		if err := lines(c.io.out, "  %s:%d:%d: %s: %s", s.File, u.Line, u.Column, u.Field, why); err != nil {
			return err
		}
	}
	return nil
}

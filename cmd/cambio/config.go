package main

import (
	"encoding/json"
	"errors"

	"github.com/spf13/cobra"

	"cambio/gateway"
	"cambio/trust/strictyaml"
)

func configCommand(c *common) *cobra.Command {
	return group("config", "Check the configuration, or print its JSON Schema",
		&cobra.Command{
			Use:   "check",
			Short: "Check the configuration and the documents it names; nothing is started",
			Args:  noArgs,
			RunE: func(cmd *cobra.Command, _ []string) error {
				if err := c.checkOutput("text", "json"); err != nil {
					return err
				}
				return c.checkConfig()
			},
		},
		&cobra.Command{
			Use:   "schema",
			Short: "Print the JSON Schema of cambio.yaml, for editors",
			Args:  noArgs,
			RunE: func(*cobra.Command, []string) error {
				_, err := c.io.out.Write(gateway.Schema())
				return err
			},
		})
}

// checkConfig reads the configuration, then all that it names.
func (c *common) checkConfig() error {
	config, err := c.load()
	if err != nil {
		return c.refusedCheck(err)
	}
	findings := gateway.Check(config, c.io.now())
	if findings.HasErrors() {
		return c.refusedCheck(findings)
	}
	return c.printFindings(c.config, findings)
}

// refusedCheck ends a check that found errors: with --output json the report is
// on stdout all the same, for whoever reads it there.
func (c *common) refusedCheck(err error) error {
	var findings strictyaml.Findings
	if !c.json() || !errors.As(err, &findings) {
		return err
	}
	return errors.Join(err, json.NewEncoder(c.io.out).Encode(map[string]any{"ok": false, "findings": findings}))
}

// printFindings ends a check that found no error.
func (c *common) printFindings(what string, findings strictyaml.Findings) error {
	if c.json() {
		if findings == nil {
			findings = strictyaml.Findings{}
		}
		return json.NewEncoder(c.io.out).Encode(map[string]any{"ok": true, "findings": findings})
	}
	for _, f := range findings {
		c.io.say("%s", f)
	}
	return lines(c.io.out, "%s: ok", what)
}

package main

import (
	"github.com/spf13/cobra"

	"cambio/gateway"
)

func trustSchemaCommand(c *common) *cobra.Command {
	var generic bool
	cmd := &cobra.Command{
		Use:   "schema",
		Short: "Print the JSON Schema of trust documents, for editors",
		Long: `Prints the JSON Schema (draft 2020-12) of trust documents, guardrails, invariants and
files of tests. Put it into the folder of the documents as ` + schemaFile + `: the first
line that "cambio trust fmt" writes into each names it, and editors with a YAML
language server check and complete by it.

It knows the identity providers and targets of the configuration, the claims with
their types, and what a grant for each target may hold. Without a configuration,
or with --generic, it takes any of them.`,
		Example: `  cambio trust schema > trust/` + schemaFile,
		Args:    noArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			var config *gateway.Config
			switch {
			case !generic:
				var err error
				if config, err = c.maybe(cmd); err != nil {
					return err
				}
			case cmd.Flags().Changed("config"):
				return usage("name one of --config and --generic")
			}
			schema, err := gateway.TrustSchema(config)
			if err != nil {
				return err
			}
			_, err = c.io.out.Write(schema)
			return err
		},
	}
	cmd.Flags().BoolVar(&generic, "generic", false, "for any configuration")
	return cmd
}

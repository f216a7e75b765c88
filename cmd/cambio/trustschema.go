package main

import (
	"github.com/spf13/cobra"

	"cambio/gateway"
)

func trustSchemaCommand(c *common) *cobra.Command {
	return &cobra.Command{
		Use:   "schema",
		Short: "Print the JSON Schema of trust documents, for editors",
		Long: `Prints the JSON Schema (draft 2020-12) of trust documents, guardrails, invariants and
files of tests. Put it into the folder of the documents as ` + schemaFile + `: the first
line that "cambio trust fmt" writes into each names it, and editors with a YAML
language server check and complete by it.

With --config it knows the identity providers and targets of that configuration,
their claims, and what a grant for each target may hold.`,
		Example: `  cambio trust schema --config cambio.yaml > trust/` + schemaFile,
		Args:    noArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			var config *gateway.Config
			if cmd.Flags().Changed("config") {
				loaded, err := c.load()
				if err != nil {
					return err
				}
				config = &loaded
			}
			schema, err := gateway.TrustSchema(config)
			if err != nil {
				return err
			}
			_, err = c.io.out.Write(schema)
			return err
		},
	}
}

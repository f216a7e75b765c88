package main

import (
	"strings"

	"github.com/spf13/cobra"

	"cambio/trust/query"
)

func trustGraphCommand(c *common) *cobra.Command {
	cmd := &cobra.Command{
		Use:   "graph [TARGET ...]",
		Short: "Draw identity providers, trusts, guardrails and targets",
		Long: `Draws what leads from the identity providers over the trusts to the targets, and
the guardrails that stand before. What allows nothing is dashed: trusts in mode
shadow, and expired ones. With targets named, only what leads to them is drawn.

  -o mermaid  a flowchart, for Markdown in a block of language mermaid (default)
  -o dot      for Graphviz
  -o json     nodes and edges`,
		Example: `  cambio trust graph > trust.mmd
  cambio trust graph aws-prod -o dot | dot -Tsvg > aws-prod.svg`,
		Args: cobra.ArbitraryArgs,
		ValidArgsFunction: func(cmd *cobra.Command, args []string, toComplete string) ([]cobra.Completion, cobra.ShellCompDirective) {
			return c.completeFrom(targetNames)(cmd, args, toComplete)
		},
		RunE: func(cmd *cobra.Command, args []string) error {
			if !cmd.Flags().Changed("output") {
				c.output = "mermaid"
			}
			if err := c.checkOutput("mermaid", "dot", "json"); err != nil {
				return err
			}
			return c.graph(args)
		},
	}
	c.folderFlag(cmd)
	return cmd
}

func (c *common) graph(targets []string) error {
	now := c.io.now()
	policy, err := c.policy(now)
	if err != nil {
		return err
	}
	for _, name := range targets {
		if _, ok := policy.World().Targets[name]; !ok {
			return c.unknownTarget(name, policy)
		}
	}
	g := query.NewGraph(policy, targets, now)
	switch c.output {
	case "json":
		return c.writeJSON(g)
	case "dot":
		return lines(c.io.out, "%s", strings.TrimSuffix(g.DOT(), "\n"))
	}
	return lines(c.io.out, "%s", strings.TrimSuffix(g.Mermaid(), "\n"))
}

package main

import (
	"maps"
	"slices"

	"github.com/spf13/cobra"

	"cambio/gateway"
)

// completions are the values that a shell may offer for an argument or a flag.
type completions = func(*cobra.Command, []string, string) ([]cobra.Completion, cobra.ShellCompDirective)

// completeFrom offers names out of the configuration, where one can be read
// here; a workload's machine has none, and is offered nothing.
func (c *common) completeFrom(names func(gateway.Config) []string) completions {
	return func(*cobra.Command, []string, string) ([]cobra.Completion, cobra.ShellCompDirective) {
		src, err := c.io.readFile(c.config)
		if err != nil {
			return nil, cobra.ShellCompDirectiveNoFileComp
		}
		config, findings := gateway.ParseConfig(c.config, src, c.io.lookup, c.io.readFile)
		if findings.HasErrors() {
			return nil, cobra.ShellCompDirectiveNoFileComp
		}
		return names(config), cobra.ShellCompDirectiveNoFileComp
	}
}

func targetNames(c gateway.Config) []string { return slices.Sorted(maps.Keys(c.Targets)) }

func providerNames(c gateway.Config) []string { return slices.Sorted(maps.Keys(c.IdentityProviders)) }

// trustNames are those of the documents, or none when they do not load.
func (c *common) trustNames(config gateway.Config) []string {
	policy, _ := gateway.LoadPolicy(config, c.io.now())
	if policy == nil {
		return nil
	}
	return policy.Names()
}

// completeStopID offers the stops that there are to lift.
func (c *common) completeStopID(cmd *cobra.Command, args []string, toComplete string) ([]cobra.Completion, cobra.ShellCompDirective) {
	if len(args) > 0 {
		return nil, cobra.ShellCompDirectiveNoFileComp
	}
	return c.completeFrom(func(config gateway.Config) []string {
		store, closed := c.stopStore(config)
		defer closed()
		set, err := store.list(cmd.Context())
		if err != nil {
			return nil
		}
		var out []string
		for _, s := range set.All() {
			out = append(out, cobra.CompletionWithDesc(s.ID, string(s.Kind)+" "+s.What))
		}
		return out
	})(cmd, args, toComplete)
}

// completeStop offers the kinds of stops, then what there is of that kind.
func (c *common) completeStop(cmd *cobra.Command, args []string, toComplete string) ([]cobra.Completion, cobra.ShellCompDirective) {
	switch {
	case len(args) == 0:
		return []cobra.Completion{"workload", "trust", "provider", "target"}, cobra.ShellCompDirectiveNoFileComp
	case len(args) == 1 && args[0] == "target":
		return c.completeFrom(targetNames)(cmd, args, toComplete)
	case len(args) == 1 && args[0] == "trust":
		return c.completeFrom(c.trustNames)(cmd, args, toComplete)
	case len(args) == 1 && args[0] == "provider":
		return c.completeFrom(providerNames)(cmd, args, toComplete)
	}
	return nil, cobra.ShellCompDirectiveNoFileComp
}

// completeOutput offers the forms that a command can print.
func completeOutput(cmd *cobra.Command, _ []string, _ string) ([]cobra.Completion, cobra.ShellCompDirective) {
	if cmd.Name() == "exchange" {
		return []cobra.Completion{"token", "env", "json", "kubernetes", "aws-process"}, cobra.ShellCompDirectiveNoFileComp
	}
	if cmd.Name() == "connect" {
		return []cobra.Completion{"text", "terraform", "cli", "yaml", "json"}, cobra.ShellCompDirectiveNoFileComp
	}
	if cmd.Name() == "graph" {
		return []cobra.Completion{"mermaid", "dot", "json"}, cobra.ShellCompDirectiveNoFileComp
	}
	if cmd.Name() == "diff" {
		return []cobra.Completion{"text", "markdown", "json"}, cobra.ShellCompDirectiveNoFileComp
	}
	return []cobra.Completion{"text", "json"}, cobra.ShellCompDirectiveNoFileComp
}

// offer completes a flag. It panics for a flag that the command does not have.
func offer(cmd *cobra.Command, flag string, values completions) {
	if err := cmd.RegisterFlagCompletionFunc(flag, values); err != nil {
		panic(err.Error())
	}
}

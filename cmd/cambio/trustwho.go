package main

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"cambio/gateway"
	"cambio/trust"
	"cambio/trust/query"
	"cambio/trust/strictyaml"
)

func trustWhoCanCommand(c *common) *cobra.Command {
	var f query.Filter
	var at string
	cmd := &cobra.Command{
		Use:   "who-can TARGET",
		Short: "List who can reach a target, and on which conditions",
		Long: `Lists each grant of each trust that leads to TARGET: whose tokens it is for, what
else must hold, how long the credential lives, and which guardrails may forbid it.
Trusts in mode shadow and expired ones allow nothing; they come last, and say so.

TARGET and --resource may be patterns, such as 'aws-*'; a star stops at a slash.`,
		Example: `  cambio trust who-can aws-prod
  cambio trust who-can 'aws-*' --resource 'arn:aws:iam::111122223333:role/*'
  cambio trust who-can orders-api --scope orders:write -o json
  cambio trust who-can aws-prod --dir proposal/trust`,
		Args:              exactly("TARGET"),
		ValidArgsFunction: c.completeConnected,
		RunE: func(_ *cobra.Command, args []string) error {
			if err := c.checkOutput("text", "json"); err != nil {
				return err
			}
			now, err := c.timeFlag(at)
			if err != nil {
				return err
			}
			f.Target = args[0]
			return c.whoCan(f, now)
		},
	}
	cmd.Flags().StringVar(&f.Resource, "resource", "", "only grants of this resource, or pattern")
	cmd.Flags().StringVar(&f.Scope, "scope", "", "only grants with this scope")
	cmd.Flags().StringVar(&at, "at", "", "judge as at this time (RFC 3339)")
	c.folderFlag(cmd)
	return cmd
}

func (c *common) whoCan(f query.Filter, now time.Time) error {
	if !f.Valid() {
		return usage("%q and --resource %q: a pattern has * and ?, and [ only before a ]", f.Target, f.Resource)
	}
	policy, err := c.policy(now)
	if err != nil {
		return err
	}
	if len(f.Targets(policy)) == 0 {
		return c.unknownTarget(f.Target, policy)
	}
	found := query.WhoCan(policy, f, now)
	if c.json() {
		return c.writeJSON(map[string]any{"grants": append([]query.Reach{}, found...), "policy_sha256": policy.SHA256()})
	}
	for i, r := range found {
		text := r.Lines()
		text[0] = c.io.bold(text[0])
		if r.State != query.InForce {
			text[0] = c.io.faint(r.Lines()[0])
		}
		if i > 0 {
			text[0] = "\n" + text[0]
		}
		if err := lines(c.io.out, "%s", strings.Join(text, "\n  ")); err != nil {
			return err
		}
	}
	if len(found) == 0 {
		return lines(c.io.out, "nobody: no trust grants it")
	}
	return nil
}

// policy loads the documents of the configuration; warnings are left to check.
func (c *common) policy(now time.Time) (*trust.Policy, error) {
	config, err := c.load()
	if err != nil {
		return nil, err
	}
	policy, findings := gateway.LoadPolicy(config, now)
	if policy == nil {
		return nil, findings
	}
	return policy, nil
}

func (c *common) unknownTarget(name string, policy *trust.Policy) error {
	return &failure{
		code: exitUsage, err: fmt.Errorf("the configuration has no target %q", name),
		next: strictyaml.DidYouMean(name, slices.Collect(maps.Keys(policy.World().Targets))),
	}
}

func trustWhatCanCommand(c *common) *cobra.Command {
	var q question
	cmd := &cobra.Command{
		Use:   "what-can (--claims FILE | --token-file FILE)",
		Short: "List what an identity can get, and what it misses by a line",
		Long: `Judges claims with each grant of the documents and lists what they get now, what
trusts in mode shadow would add, and which trusts are near: the immutable ids are
right, and another line is not.

The claims are given as for "cambio trust explain". --provider may be left out
where iss and aud name one identity provider of the configuration. Stops count.`,
		Example: `  cambio whoami -o json > claims.json
  cambio trust what-can --claims claims.json
  cambio trust what-can --provider github --claims claims.json --at 2027-04-01T09:00:00Z`,
		Args: noArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if err := c.checkOutput("text", "json"); err != nil {
				return err
			}
			return c.whatCan(cmd.Context(), &q)
		},
	}
	c.identityFlags(cmd, &q)
	c.folderFlag(cmd)
	return cmd
}

func (c *common) whatCan(ctx context.Context, q *question) error {
	asked, err := q.readIdentity(c)
	if err != nil {
		return err
	}
	config, err := c.load()
	if err != nil {
		return err
	}
	if asked.Provider == "" {
		if asked.Provider = gateway.ProviderOf(config, asked.Claims); asked.Provider == "" {
			return usage("--provider is required: iss and aud of the claims do not name one identity provider of the configuration")
		}
	}
	if _, ok := config.IdentityProviders[asked.Provider]; !ok {
		return unknownProvider(asked.Provider, config)
	}
	asked.Stops = c.knownStops(ctx, config)
	policy, findings := gateway.LoadPolicy(config, asked.At)
	if policy == nil {
		return findings
	}
	reply, err := gateway.WhatCan(config, policy, asked)
	switch {
	case errors.Is(err, gateway.ErrClaimsRefused):
		return &failure{code: exitDenied, err: err, next: "look for the reason in docs/reference, or ask with fewer claims: what is left out is filled in"}
	case err != nil:
		return err
	}
	if c.json() {
		return c.writeJSON(reply)
	}
	return lines(c.io.out, "%s", reply.Text())
}

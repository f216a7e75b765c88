package main

import (
	"fmt"

	"github.com/spf13/cobra"

	"cambio/gateway"
	"cambio/trust/backtest"
)

func trustBacktestCommand(c *common) *cobra.Command {
	var w window
	var show int
	var failOnFlip bool
	cmd := &cobra.Command{
		Use:   "backtest [DIR]",
		Short: "Judge recorded decisions again under other documents",
		Long: `Judges every decision of the journal again, each at its own time, with the
documents below DIR in place of those that decided: what was allowed and would be
denied, what was denied and would be allowed, what would get less, and which
trusts, grants and conditions no decision rests on. Nothing is changed.

Without DIR the documents are those of the configuration: what did the change of
this morning do to the decisions of the last month?

The journal keeps the claims that decisions need, not all. Where the outcome
depends on another, the decision is counted with the claim's name, and not
guessed; so is a refusal that the journal holds as a number alone. Stops and the
one use of a token are left out. The journal does not say whether a caller named
a trust, a scope or a resource, so that what only a name would save is told
apart: "ambiguous" and "narrowed".

A claim that the journal was told to keep since a while is missing from records
before: begin behind that with --since.

DIR may have other trusts, and must fit the identity providers and targets of the
configuration. With --fail-on-flip the status is 1 when an allow would become a
denial, or be ambiguous, or a denial an allow.`,
		Example: `  cambio trust backtest ./new-trust --since 30d
  cambio trust backtest --journal ./state-a --journal ./state-b --fail-on-flip ./new-trust`,
		Args: optionalDir,
		RunE: func(_ *cobra.Command, args []string) error {
			if err := c.checkOutput("text", "json"); err != nil {
				return err
			}
			if show < 0 {
				return usage("--show %d: write a number from 0", show)
			}
			config, err := c.load()
			if err != nil {
				return err
			}
			if len(args) > 0 {
				config.Trust = args[0]
			}
			return c.backtest(config, w, show, failOnFlip)
		},
	}
	w.flags(cmd)
	cmd.Flags().IntVar(&show, "show", 3, "how many decisions to name in each group")
	cmd.Flags().BoolVar(&failOnFlip, "fail-on-flip", false, "end with status 1 when a decision flips")
	return cmd
}

// flags are those that say which decisions are read.
func (w *window) flags(cmd *cobra.Command) {
	cmd.Flags().StringArrayVar(&w.dirs, "journal", nil, "journal, or state folder that holds it, one for each replica; default: the configuration's")
	cmd.Flags().StringVar(&w.since, "since", w.since, "leave out what is older: how long ago, such as 30d, or a time")
	cmd.Flags().StringVar(&w.until, "until", "", "leave out what is younger")
}

func (c *common) backtest(config gateway.Config, w window, show int, failOnFlip bool) error {
	policy, findings := gateway.LoadPolicy(config, c.io.now())
	if policy == nil {
		return findings
	}
	b := backtest.New(policy, configured(config), show)
	err := c.readJournals(config, w, "judging again", func() decisions {
		worker := b.Worker()
		return decisions{each: worker.Add, summary: worker.Summary}
	})
	if err != nil {
		return err
	}
	report := b.Report()
	if c.json() {
		err = c.writeJSON(report)
	} else {
		_, err = fmt.Fprint(c.io.out, report.Text())
	}
	if err != nil {
		return err
	}
	if flips := report.Flips(); failOnFlip && flips > 0 {
		return &failure{
			code: exitError, err: fmt.Errorf("%s would come out otherwise", count(flips, "decision")),
			next: "cambio audit show DECISION_ID says what was asked; mend the documents, or leave --fail-on-flip out",
		}
	}
	return nil
}

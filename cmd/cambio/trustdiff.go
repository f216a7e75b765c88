package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"cambio/gateway"
	"cambio/trust"
	"cambio/trust/diff"
)

// comparison are the arguments and flags of trust diff.
type comparison struct {
	before, after string // "": the folder of the configuration
	oldConfig     string
	failOnGrowth  bool
}

func trustDiffCommand(c *common) *cobra.Command {
	var q comparison
	cmd := &cobra.Command{
		Use:   "diff OLD [NEW]",
		Short: "Say what a change of the documents allows, and what it takes away",
		Long: `Compares two versions of the trust documents and says what becomes allowed, what
is lost and what only looks different: in words about access, each with a request
as an example.

OLD and NEW are folders, or git revisions such as main, HEAD~1 or a commit; of a
revision it reads the folder that the configuration names, or that of
REVISION:FOLDER. Without NEW it is the folder of the configuration as it is now.

Both are read against the same configuration; --old-config names that of OLD.

  -o text      for people (default)
  -o markdown  for a pull request
  -o json      for programs

The exit status is 0 whatever changed; with --fail-on-growth it is 1 where access
grows, or where it cannot be decided that it does not.`,
		Example: `  cambio trust diff main
  cambio trust diff main HEAD -o markdown
  cambio trust diff ./trust ../proposed/trust --fail-on-growth`,
		Args: func(cmd *cobra.Command, args []string) error {
			if len(args) == 2 {
				return nil
			}
			return exactly("OLD")(cmd, args)
		},
		RunE: func(cmd *cobra.Command, args []string) error {
			if err := c.checkOutput("text", "json", "markdown"); err != nil {
				return err
			}
			q.before = args[0]
			if len(args) > 1 {
				q.after = args[1]
			}
			return c.compare(cmd.Context(), q)
		},
	}
	cmd.Flags().StringVar(&q.oldConfig, "old-config", "", "configuration file of OLD")
	cmd.Flags().BoolVar(&q.failOnGrowth, "fail-on-growth", false, "exit with 1 where access may grow")
	return cmd
}

func (c *common) compare(ctx context.Context, q comparison) error {
	done := c.progress("comparing")
	report, err := c.compared(ctx, q)
	done()
	if err != nil {
		return err
	}
	if err := c.printComparison(report); err != nil {
		return err
	}
	if q.failOnGrowth && report.Effect.MayGrow() {
		return &failure{code: exitError, err: errors.New("access grows, or may"), next: "have whoever owns what is listed agree to it"}
	}
	return nil
}

func (c *common) compared(ctx context.Context, q comparison) (diff.Report, error) {
	config, err := c.load()
	if err != nil {
		return diff.Report{}, err
	}
	oldConfig := config
	if q.oldConfig != "" {
		old := *c
		old.config = q.oldConfig
		if oldConfig, err = old.load(); err != nil {
			return diff.Report{}, err
		}
		// Of a revision, the folder is where the configuration has it now.
		oldConfig.Trust = config.Trust
	}
	now := c.io.now()
	before, err := c.version(ctx, oldConfig, q.before, now)
	if err != nil {
		return diff.Report{}, err
	}
	after, err := c.version(ctx, config, q.after, now)
	if err != nil {
		return diff.Report{}, err
	}
	return diff.Compare(ctx, before, after, diff.Options{Now: now, Settings: gateway.Settings(oldConfig, config)})
}

// version is one side: a folder, where there is one of this name, or a revision.
func (c *common) version(ctx context.Context, config gateway.Config, name string, now time.Time) (*trust.Policy, error) {
	info, err := os.Stat(name)
	folder := err == nil && info.IsDir()
	// Whoever proposes a change may add a folder with the name of the revision that
	// it is to be compared with, and in it what would show no difference.
	if folder && gateway.HasRevision(ctx, config, name) {
		return nil, &failure{code: exitUsage, err: fmt.Errorf("%s: a folder, and a revision too", name), next: "write ./" + name + " for the folder, or move it for the revision"}
	}
	if name != "" && !folder {
		policy, findings, err := gateway.LoadRevision(ctx, config, name, now)
		switch {
		case err != nil:
			return nil, noVersion(name, err)
		case policy == nil:
			return nil, findings
		}
		return policy, nil
	}
	if name != "" {
		config.Trust = name
	}
	policy, findings := gateway.LoadPolicy(config, now)
	if policy == nil {
		return nil, findings
	}
	return policy, nil
}

func noVersion(name string, err error) error {
	f := &failure{code: exitError, err: fmt.Errorf("%s: no folder, and cannot be read as a revision: %w", name, err), next: "name a folder, or a revision such as main, HEAD~1 or main:trust"}
	if errors.Is(err, gateway.ErrRevision) {
		f.code = exitUsage
		f.err = fmt.Errorf("%s: no folder, and %w", name, err)
		f.next += "; a shallow clone lacks others: git fetch --unshallow"
	}
	return f
}

func (c *common) printComparison(report diff.Report) error {
	switch c.output {
	case "json":
		return c.writeJSON(struct {
			diff.Report
			Summary string `json:"summary"`
		}{report, report.Summary()})
	case "markdown":
		return lines(c.io.out, "%s", strings.TrimSuffix(report.Markdown(), "\n"))
	}
	text := strings.Split(report.Text(), "\n")
	for i, line := range text {
		switch {
		case strings.HasPrefix(line, "  + "):
			text[i] = c.io.green(line)
		case strings.HasPrefix(line, "  - "):
			text[i] = c.io.red(line)
		case line != "" && !strings.HasPrefix(line, " "):
			text[i] = c.io.bold(line)
		}
	}
	return lines(c.io.out, "%s", strings.Join(text, "\n"))
}

package main

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"cambio/gateway"
	"cambio/trust"
	"cambio/trust/backtest"
	"cambio/trust/strictyaml"
	"cambio/trust/tighten"
)

// tightening are the flags of trust tighten.
type tightening struct {
	window
	tighten.Options
	span  string
	write bool
}

func trustTightenCommand(c *common) *cobra.Command {
	t := tightening{window: window{since: "90d"}}
	cmd := &cobra.Command{
		Use:   "tighten [TRUST]...",
		Short: "Propose the narrowest documents that still allow what was recorded",
		Long: `Reads what each trust allowed and proposes its document anew: globs and lists
with the values that really came, ids and other anchors that were always the same,
the networks and hours that were used, a shorter ttl, and without the grants and
scopes that nobody was given. Trusts that allowed nothing are listed for removal.

The output is a patch; the lines before each file are the evidence. Comments and
form of the documents stay. With --write the files are changed.

What keeps changing stays open: a glob, a network or a window of hours is narrowed
only if the second half of the time brought nothing new. A trust with fewer than
--min decisions, or all of them within --min-span, is left alone, and so is one of
which a decision depends on a claim that the journal does not keep. Hours are
narrowed from 20 decisions on 14 days on. --networks and --hours add them where a
document has none.

Each proposal is held against every record again: one that would not allow what
the document allows today is withdrawn. What has not happened yet, such as the
job at the end of the year, is in no journal: read the patch, and try it with
cambio trust backtest and mode: shadow.`,
		Example: `  cambio trust tighten --since 90d > tighten.patch && patch -p1 < tighten.patch
  cambio trust tighten payments-deploy --write`,
		RunE: func(_ *cobra.Command, args []string) error {
			if err := c.checkOutput("text", "json"); err != nil {
				return err
			}
			span, ok := strictyaml.ParseDuration(t.span)
			if !ok || t.Decisions < 1 {
				return usage("--min takes a number from 1, and --min-span a duration such as 7d")
			}
			t.Span = span
			return c.tighten(&t, args)
		},
	}
	t.flags(cmd)
	c.folderFlag(cmd)
	f := cmd.Flags()
	f.IntVar(&t.Decisions, "min", 5, "leave alone a trust with fewer decisions")
	f.StringVar(&t.span, "min-span", "7d", "leave alone a trust whose decisions lie within less")
	f.BoolVar(&t.Networks, "networks", false, "add access.networks where a document has none")
	f.BoolVar(&t.Hours, "hours", false, "add access.hours where a document has none")
	f.BoolVar(&t.write, "write", false, "change the files")
	return cmd
}

func (c *common) tighten(t *tightening, names []string) error {
	config, err := c.load()
	if err != nil {
		return err
	}
	now := c.io.now()
	config.Trust = fromHere(config.Trust)
	sources, findings := gateway.ReadTrusts(config.Trust)
	policy, more := trust.Compile(gateway.World(config), sources, now)
	if findings = append(findings, more...); findings.HasErrors() {
		return findings.Sorted()
	}
	for _, name := range names {
		if _, ok := policy.Trust(name); !ok {
			return &failure{code: exitUsage, err: fmt.Errorf("no trust %s", name), next: strictyaml.DidYouMean(name, policy.Names())}
		}
	}
	before := backtest.NewJudge(policy, configured(config))
	study := tighten.NewStudy(policy, before, names)
	err = c.readJournals(config, t.window, "learning", func() decisions {
		return decisions{each: study.Worker().Add}
	})
	if err != nil {
		return err
	}
	report := study.Propose(sources, t.Options)
	if err := c.withdraw(config, t.window, policy, sources, &report, now); err != nil {
		return err
	}
	if err := c.printTightened(report); err != nil {
		return err
	}
	if t.write {
		for _, p := range report.Proposals {
			if err := rewrite(p.File, sources, p.Document); err != nil {
				return &failure{code: exitError, err: err, next: "apply the patch by hand: cambio trust tighten > tighten.patch"}
			}
			c.io.say("wrote %s", p.File)
		}
	}
	return nil
}

// fromHere names a folder from where the command runs, if it lies below: a patch with
// whole paths applies nowhere but at the root.
func fromHere(dir string) string {
	here, err := os.Getwd()
	if err != nil || !filepath.IsAbs(dir) {
		return dir
	}
	rel, err := filepath.Rel(here, dir)
	if err != nil || !filepath.IsLocal(rel) {
		return dir
	}
	return rel
}

// withdraw judges all records again with the proposals, and takes back those that
// deny what is allowed today.
func (c *common) withdraw(config gateway.Config, w window, policy *trust.Policy, sources []trust.Source, report *tighten.Report, now time.Time) error {
	if len(report.Proposals) == 0 {
		return nil
	}
	narrowed := slices.Clone(sources)
	options := configured(config)
	options.Alike = map[string][]string{}
	for _, p := range report.Proposals {
		i := slices.IndexFunc(narrowed, func(s trust.Source) bool { return s.Name == p.File })
		narrowed[i].Data = p.Document
		// What the proposal does not change holds as it held then; what it does change
		// is about recorded claims alone.
		t, _ := policy.Trust(p.Trust)
		options.Alike[p.Trust] = []string{t.SHA256}
	}
	after, findings := trust.Compile(gateway.World(config), narrowed, now)
	if after == nil {
		return findings
	}
	check := tighten.NewCheck(backtest.NewJudge(policy, configured(config)), backtest.NewJudge(after, options))
	err := c.readJournals(config, w, "checking", func() decisions { return decisions{each: check.Add} })
	if err != nil {
		return err
	}
	check.Withdraw(report)
	return nil
}

func (c *common) printTightened(r tighten.Report) error {
	if c.json() {
		return c.writeJSON(r)
	}
	var b strings.Builder
	comment := func(format string, args ...any) {
		b.WriteString(strings.TrimRight("# "+fmt.Sprintf(format, args...), " ") + "\n")
	}
	if r.From.IsZero() {
		comment("no decision was recorded in that time")
	} else {
		comment("from %s to %s: %s", stamp(r.From), stamp(r.To), count(len(r.Proposals), "proposal"))
	}
	for _, p := range r.Proposals {
		comment("")
		comment("%s (owner %s): %s on %s, %s to %s", p.Trust, plain(p.Owner), count(p.Decisions, "decision"), count(p.Days, "day"), stamp(p.From), stamp(p.To))
		for _, change := range p.Changes {
			what := plain(change.From) + " -> " + plain(change.To)
			switch {
			case change.From == "":
				what = "add " + plain(change.To)
			case change.To == "":
				what = "remove " + plain(change.From)
			}
			comment("  %s: %s: %s", change.Field, what, plain(change.Evidence))
		}
		for _, kept := range p.Kept {
			comment("  kept %s", plain(kept))
		}
		b.WriteString(p.Patch)
	}
	for i, left := range r.Left {
		if i == 0 {
			comment("")
		}
		comment("left alone: %s: %s", left.Trust, plain(left.Why))
	}
	for i, name := range r.Unused {
		if i == 0 {
			comment("")
			comment("allowed nothing, and can go unless the future needs them:")
		}
		comment("  %s", name)
	}
	_, err := fmt.Fprint(c.io.out, b.String())
	return err
}

// rewrite replaces a file whole, or not at all, and only if it still is what was
// read: somebody may have edited it meanwhile.
func rewrite(name string, sources []trust.Source, data []byte) error {
	i := slices.IndexFunc(sources, func(s trust.Source) bool { return s.Name == name })
	info, err := os.Lstat(name)
	if err != nil {
		return fmt.Errorf("%s: %w", name, unwrapPath(err))
	}
	if !info.Mode().IsRegular() {
		return fmt.Errorf("%s is a link: where it leads, others may read it too", name)
	}
	current, err := os.ReadFile(name) //nolint:gosec // a document of the operator's own folder
	if err != nil {
		return fmt.Errorf("%s: %w", name, unwrapPath(err))
	}
	if !bytes.Equal(current, sources[i].Data) {
		return fmt.Errorf("%s was changed meanwhile", name)
	}
	f, err := os.CreateTemp(filepath.Dir(name), ".tighten-*") // a name that begins with a dot is no document
	if err != nil {
		return fmt.Errorf("%s: %w", name, unwrapPath(err))
	}
	_, err = f.Write(data)
	err = errors.Join(err, f.Chmod(info.Mode().Perm()), f.Sync(), f.Close())
	if err == nil {
		err = os.Rename(f.Name(), name)
	}
	if err != nil {
		return errors.Join(fmt.Errorf("%s: %w", name, unwrapPath(err)), os.Remove(f.Name()))
	}
	return nil
}

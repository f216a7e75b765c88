package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"path/filepath"
	"slices"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/spf13/cobra"

	"cambio/audit"
	"cambio/gateway"
	"cambio/stops"
	"cambio/trust"
	"cambio/trust/strictyaml"
)

func stopCommand(c *common) *cobra.Command {
	return group("stop", "The kill switch: stop a workload, trust, provider or target",
		stopAddCommand(c), stopListCommand(c), stopLiftCommand(c), stopRestoreCommand(c))
}

func stopAddCommand(c *common) *cobra.Command {
	var reason, until string
	cmd := &cobra.Command{
		Use:   "add workload|trust|provider|target ID",
		Short: "Stop issuing to a workload, by a trust, for a provider's tokens, or for a target",
		Long: `Writes the stop itself, so that it works also when no gateway answers: into the
state folder, or, where the configuration has redis, into the Redis that the
replicas share. Each running gateway issues nothing for it within 5 s.

In Redis a change is read back before the command ends, and made again where it
was lost: at once when a replica of Redis acknowledges it, else after 2 s; a Redis
that has just started or failed over takes some seconds more. The gateways put
back a list that Redis loses later.

What was issued before stays usable until it ends by itself; the command says
until when, as far as the journal of this replica knows.`,
		Example: `  cambio stop add workload spiffe://id.acme.example/github/9919/41881900 --reason "runner taken over"
  cambio stop add target orders-api --reason "incident 1234" --until 2h`,
		Args:              exactly("KIND", "ID"),
		ValidArgsFunction: c.completeStop,
		RunE: func(cmd *cobra.Command, args []string) error {
			if err := c.checkOutput("text", "json"); err != nil {
				return err
			}
			if reason == "" {
				return &failure{code: exitUsage, err: errors.New("missing --reason"), next: `--reason "why, for whoever finds it"`}
			}
			end, err := c.untilFlag(until)
			if err != nil {
				return err
			}
			config, err := c.load()
			if err != nil {
				return err
			}
			store, closed := c.stopStore(config)
			defer closed()
			done := c.progress("writing the stop, and waiting until it is safe")
			stop, kept, err := store.add(cmd.Context(), trust.Stop{Kind: trust.StopKind(args[0]), What: args[1], Reason: reason, Until: end})
			done()
			if errors.Is(err, stops.ErrInvalid) && !errors.Is(err, stops.ErrUnavailable) {
				return &failure{code: exitUsage, err: err, next: "cambio stop add --help"}
			}
			if err != nil {
				return store.unlisted(err, config)
			}
			c.sayKept(store, kept, config)
			c.warnUnknown(config, stop) // afterwards: reading the documents must not delay a stop
			return c.printStopped(stop, kept, config)
		},
	}
	cmd.Flags().StringVar(&reason, "reason", "", "why (required)")
	cmd.Flags().StringVar(&until, "until", "", "when it ends: an RFC 3339 time, or a span such as 2h; default: until it is lifted")
	return cmd
}

// warnUnknown says that nothing has the name that is being stopped: a stop with
// a slip of the pen stops nothing, and looks as if it did.
func (c *common) warnUnknown(config gateway.Config, s trust.Stop) {
	where, names := "the configuration", []string(nil)
	switch s.Kind {
	case trust.StopProvider:
		names = providerNames(config)
	case trust.StopTarget:
		names = targetNames(config)
	case trust.StopTrust:
		policy, _ := gateway.LoadPolicy(config, c.io.now())
		if policy == nil {
			return // documents that do not load say nothing about those in force
		}
		where, names = config.Trust, policy.Names()
	case trust.StopWorkload:
		if !strings.HasPrefix(s.What, "spiffe://"+config.TrustDomain+"/") {
			c.io.say("%s no workload id begins so here, they begin with spiffe://%s/; the stop is kept", c.io.red("warning:"), config.TrustDomain)
		}
		return
	}
	if slices.Contains(names, s.What) {
		return
	}
	hint := ""
	if near := strictyaml.Suggest(s.What, names); near != "" {
		hint = "; did you mean " + near + "?"
	}
	c.io.say("%s %s has no %s %s; the stop is kept%s", c.io.red("warning:"), where, s.Kind, s.What, hint)
}

// untilFlag reads --until; zero means without end.
func (c *common) untilFlag(until string) (time.Time, error) {
	if until == "" {
		return time.Time{}, nil
	}
	if span, ok := strictyaml.ParseDuration(until); ok {
		return c.io.now().Add(span), nil
	}
	t, err := time.Parse(time.RFC3339, until)
	if err != nil {
		return time.Time{}, usage("--until %q: write an RFC 3339 time such as 2027-03-31T12:00:00Z, or a span such as 2h", until)
	}
	return t, nil
}

// usable is what a stop cannot take back.
type usable struct {
	Credentials int       `json:"credentials"`
	Until       time.Time `json:"until,omitzero"`
}

// printStopped says what the stop does, and what it does not: a switch that
// looks as if it took back what is out there would be trusted too much.
func (c *common) printStopped(s trust.Stop, kept *stops.Kept, config gateway.Config) error {
	left, err := stillUsable(s, config, c.io.now())
	if err != nil {
		c.io.say("%s the journal could not be read for what is still usable: %v", c.io.red("warning:"), err)
	}
	if c.json() {
		return json.NewEncoder(c.io.out).Encode(keptJSON(kept, map[string]any{"stop": s, "in_force_within": "5s", "still_usable": left}))
	}
	of := "this journal"
	if kept != nil {
		// Every replica keeps a journal of its own.
		of = "the journal of this replica"
	}
	if err := lines(c.io.out, "%s: %s %s gets nothing, on a running gateway within 5 s", s.ID, s.Kind, s.What); err != nil {
		return err
	}
	told := fmt.Sprintf("  no credential that was issued before is still usable, as far as %s knows", of)
	if left.Credentials > 0 {
		told = fmt.Sprintf("  issued before and not taken back: %s, the last usable until %s", count(left.Credentials, "credential"), stamp(left.Until))
	}
	if kept != nil {
		told += fmt.Sprintf("\n  what another replica issued is in its own journal; nothing of it outlives %s", stamp(latest(s, config, c.io.now())))
	}
	return lines(c.io.out, "%s", told)
}

// keptJSON adds what is known of a change in Redis.
func keptJSON(kept *stops.Kept, out map[string]any) map[string]any {
	if kept != nil {
		out["redis"] = kept
	}
	return out
}

// latest is when the last credential ends that a replica can have issued for what
// is stopped, up to the moment at which the stop acts there.
func latest(s trust.Stop, config gateway.Config, now time.Time) time.Time {
	const (
		acts = 5 * time.Second
		// A cloud's clock may be ahead of ours, and what it gives end as much later.
		clocks = time.Minute
	)
	var longest time.Duration
	for name, target := range config.Targets {
		if s.Kind != trust.StopTarget || s.What == name {
			longest = max(longest, time.Duration(target.MaxTTL))
		}
	}
	return now.Add(acts + longest + clocks)
}

// stillUsable counts the credentials of the journal that outlive the stop.
func stillUsable(s trust.Stop, config gateway.Config, now time.Time) (usable, error) {
	var left usable
	fsys, err := journalFS(filepath.Join(config.State, "journal"))
	if err != nil {
		return left, nil // no journal, nothing issued
	}
	for r, err := range audit.Read(fsys) {
		if err != nil {
			return left, err
		}
		if r.Event != audit.ExchangeMinted || !r.Expires.After(now) || !subjectOf(r, s.Kind, s.What) {
			continue
		}
		left.Credentials++
		if r.Expires.After(left.Until) {
			left.Until = r.Expires
		}
	}
	return left, nil
}

func subjectOf(r audit.Record, kind trust.StopKind, what string) bool {
	switch kind {
	case trust.StopWorkload:
		return r.Workload == what
	case trust.StopTrust:
		return r.Trust == what
	case trust.StopProvider:
		return r.Provider == what
	case trust.StopTarget:
		return r.Target == what
	}
	return false
}

func stopListCommand(c *common) *cobra.Command {
	return &cobra.Command{
		Use:   "list",
		Short: "List the stops",
		Args:  noArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if err := c.checkOutput("text", "json"); err != nil {
				return err
			}
			config, err := c.load()
			if err != nil {
				return err
			}
			store, closed := c.stopStore(config)
			defer closed()
			set, err := store.list(cmd.Context())
			if err != nil {
				return store.unlisted(err, config)
			}
			return c.printStops(set)
		},
	}
}

func (c *common) printStops(set trust.StopSet) error {
	now := c.io.now()
	if c.json() {
		return json.NewEncoder(c.io.out).Encode(map[string]any{"version": set.Version(), "stops": append([]trust.Stop{}, set.All()...)})
	}
	if len(set.All()) == 0 {
		return lines(c.io.out, "no stop in force")
	}
	w := tabwriter.NewWriter(c.io.out, 0, 4, 2, ' ', 0)
	if err := lines(w, "ID\tKIND\tWHAT\tUNTIL\tREASON"); err != nil {
		return err
	}
	for _, s := range set.All() {
		until := "until lifted"
		switch {
		case s.Until.IsZero():
		case now.Before(s.Until):
			until = stamp(s.Until)
		default:
			until = "ended"
		}
		if err := lines(w, "%s\t%s\t%s\t%s\t%s", s.ID, s.Kind, s.What, until, strings.ReplaceAll(s.Reason, "\t", " ")); err != nil {
			return err
		}
	}
	return w.Flush()
}

func stopLiftCommand(c *common) *cobra.Command {
	return &cobra.Command{
		Use:               "lift STOP-ID",
		Short:             "Lift a stop",
		Args:              exactly("STOP-ID"),
		ValidArgsFunction: c.completeStopID,
		RunE: func(cmd *cobra.Command, args []string) error {
			if err := c.checkOutput("text", "json"); err != nil {
				return err
			}
			config, err := c.load()
			if err != nil {
				return err
			}
			store, closed := c.stopStore(config)
			defer closed()
			done := c.progress("lifting the stop, and waiting until it is safe")
			s, kept, err := store.lift(cmd.Context(), args[0])
			done()
			if errors.Is(err, stops.ErrNotFound) {
				return &failure{code: exitError, err: fmt.Errorf("no stop %s", args[0]), next: "cambio stop list"}
			}
			if err != nil {
				return store.unlisted(err, config)
			}
			c.sayKept(store, kept, config)
			if c.json() {
				return json.NewEncoder(c.io.out).Encode(keptJSON(kept, map[string]any{"lifted": s, "in_force_within": "5s"}))
			}
			return lines(c.io.out, "lifted %s: %s %s is judged by its trusts again within 5 s", s.ID, s.Kind, s.What)
		},
	}
}

func stopRestoreCommand(c *common) *cobra.Command {
	return &cobra.Command{
		Use:   "restore",
		Short: "Make a lost or damaged stop list anew from the journal",
		Long: `Writes the stops that the journal holds, and those of a list that can still be
read, as the list in force, with a new version. A gateway without a list that it
can rely on answers 503 until then.

With redis the journal is that of this replica, and the list the one in Redis,
which the replicas put back by themselves when it is lost. This command is for
what they cannot judge: a list that cannot be read, or two of one version. Run it
where the newest journal is; a list that another replica holds with a higher
version wins over it, and is joined with it.`,
		Args: noArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if err := c.checkOutput("text", "json"); err != nil {
				return err
			}
			config, err := c.load()
			if err != nil {
				return err
			}
			journaled, version, err := gateway.JournaledStops(config)
			if err != nil {
				return err
			}
			store, closed := c.stopStore(config)
			defer closed()
			done := c.progress("restoring the list, and waiting until it is safe")
			set, kept, err := store.restore(cmd.Context(), journaled, version)
			done()
			if err != nil {
				return store.unlisted(err, config)
			}
			c.sayKept(store, kept, config)
			if c.json() {
				return c.printStops(set)
			}
			return lines(c.io.out, "restored %s as version %d", count(len(set.All()), "stop"), set.Version())
		},
	}
}

package main

import (
	"context"
	"fmt"
	"maps"
	"net/netip"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"cambio/gateway"
	"cambio/trust"
	"cambio/trust/strictyaml"
)

func trustCommand(c *common) *cobra.Command {
	return group("trust", "Check, test, prove, compare, explain and write trust documents", trustCheckCommand(c), trustTestCommand(c), trustFmtCommand(c), trustSchemaCommand(c), trustExplainCommand(c), trustInitCommand(c), trustImportCommand(c), trustBacktestCommand(c), trustTightenCommand(c), trustWhoCanCommand(c), trustWhatCanCommand(c), trustGraphCommand(c), trustDiffCommand(c), trustProveCommand(c))
}

// failures are the tests that failed, as findings: one form for all that is
// wrong with a document.
func failures(results []trust.TestResult) strictyaml.Findings {
	var out strictyaml.Findings
	for _, r := range results {
		if r.OK {
			continue
		}
		out = append(out, r.Failure())
	}
	return out
}

// timeFlag reads --at; without it the time is now.
func (c *common) timeFlag(at string) (time.Time, error) {
	if at == "" {
		return c.io.now(), nil
	}
	t, err := time.Parse(time.RFC3339, at)
	if err != nil {
		return time.Time{}, usage("--at %q: write an RFC 3339 time such as 2027-03-31T12:00:00Z", at)
	}
	return t, nil
}

// question are the flags of trust explain, and in part of trust what-can.
type question struct {
	provider, to, tokenFile, claims string
	resource, scope, trust          string
	at, address                     string
	ttl                             time.Duration
}

func trustExplainCommand(c *common) *cobra.Command {
	var q question
	cmd := &cobra.Command{
		Use:   "explain [DIR] --provider P --to TARGET (--token-file FILE | --claims FILE)",
		Short: "Say which rule allows or denies, and which condition",
		Long: `Judges claims with the documents below DIR and says which trust decided and how
each of its lines came out: expected and actual, or for a denial the nearest miss.
Without DIR it is the folder that the configuration names.

The claims come from a token, which is only decoded, or from a JSON file: what
"cambio whoami -o json" printed, or the claims alone; a few are enough. The first
line is "allow TRUST" or "deny REASON". Claims of a token that has ended meanwhile
are judged as at its time, with --at.
The exit status is 0 for allow and 6 for deny.`,
		Example: `  cambio trust explain --provider github --to orders-api --claims claims.json`,
		Args:    optionalDir,
		RunE: func(cmd *cobra.Command, args []string) error {
			if err := c.checkOutput("text", "json"); err != nil {
				return err
			}
			return c.explain(cmd.Context(), &q, args)
		},
	}
	c.identityFlags(cmd, &q)
	f := cmd.Flags()
	f.Lookup("provider").Usage += " (required)"
	f.StringVar(&q.to, "to", "", "target (required)")
	offer(cmd, "to", c.completeFrom(targetNames))
	f.StringVar(&q.resource, "resource", "", "resource that is asked for")
	f.StringVar(&q.scope, "scope", "", "scopes that are asked for, separated by spaces")
	f.StringVar(&q.trust, "trust", "", "trust that is asked for by name")
	f.DurationVar(&q.ttl, "ttl", 0, "lifetime that is asked for, such as 5m")
	return cmd
}

func (c *common) explain(ctx context.Context, q *question, dir []string) error {
	asked, err := q.read(c)
	if err != nil {
		return err
	}
	config, err := c.load()
	if err != nil {
		return err
	}
	if len(dir) > 0 {
		config.Trust = dir[0]
	}
	if _, ok := config.IdentityProviders[q.provider]; !ok {
		return unknownProvider(q.provider, config)
	}
	asked.Stops = c.knownStops(ctx, config)
	e, err := gateway.Explain(config, asked)
	if err != nil {
		return err
	}
	if err := c.printExplanation(e, q.tokenFile != ""); err != nil {
		return err
	}
	if _, ok := config.Targets[q.to]; !ok && !c.json() {
		// To a caller it is a target like any other that is not granted.
		c.io.say("the configuration has no such target; %s", strictyaml.DidYouMean(q.to, slices.Collect(maps.Keys(config.Targets))))
	}
	if e.Stop != nil && !c.json() {
		c.io.say("  next: cambio stop lift %s", pasteable(e.Stop.ID, "ID"))
	}
	if next := afterExplain(e.Reason, asked.Claims, q.provider, config.IdentityProviders[q.provider]); !e.Allow && next != "" && !c.json() {
		c.io.say("  next: %s", next)
	}
	if !e.Allow {
		return &childExitError{exitDenied} // it was said already
	}
	return nil
}

func unknownProvider(name string, config gateway.Config) error {
	return &failure{
		code: exitUsage, err: fmt.Errorf("--provider %s: the configuration has no such identity provider", name),
		next: strictyaml.DidYouMean(name, providerNames(config)),
	}
}

// identityFlags are those that say who asks, from where and when.
func (c *common) identityFlags(cmd *cobra.Command, q *question) {
	f := cmd.Flags()
	f.StringVar(&q.provider, "provider", "", "identity provider")
	offer(cmd, "provider", c.completeFrom(providerNames))
	f.StringVar(&q.tokenFile, "token-file", "", "file that holds a token, or - for standard input; its signature is not checked")
	f.StringVar(&q.claims, "claims", "", "JSON file with claims, or what cambio whoami -o json printed")
	f.StringVar(&q.at, "at", "", "judge as at this time (RFC 3339)")
	f.StringVar(&q.address, "from-address", "", "the caller's address")
}

// read turns the flags into the question.
func (q *question) read(c *common) (gateway.Question, error) {
	if q.provider == "" || q.to == "" {
		return gateway.Question{}, usage("--provider and --to are required")
	}
	out, err := q.readIdentity(c)
	out.Ask.Target, out.Ask.Resource, out.Ask.Trust, out.Ask.Scopes = q.to, q.resource, q.trust, strings.Fields(q.scope)
	return out, err
}

// readIdentity turns the flags that say who asks, from where and when, into that
// part of the question.
func (q *question) readIdentity(c *common) (gateway.Question, error) {
	out := gateway.Question{Provider: q.provider}
	if q.ttl < 0 {
		return out, usage("--ttl %s: write how long the credential is to live", q.ttl)
	}
	if (q.tokenFile == "") == (q.claims == "") {
		return out, usage("one of --token-file and --claims is required")
	}
	var err error
	if out.At, err = c.timeFlag(q.at); err != nil {
		return out, err
	}
	if q.address != "" {
		if out.Ask.Address, err = netip.ParseAddr(q.address); err != nil {
			return out, usage("--from-address %q: write an IP address", q.address)
		}
		out.Ask.Address = out.Ask.Address.Unmap()
	}
	if q.claims != "" {
		out.Claims, err = c.readInput(q.claims)
		out.Claims = shownClaims(out.Claims)
		return out, err
	}
	token, err := c.readInput(q.tokenFile)
	if err != nil {
		return out, err
	}
	if out.Claims, err = gateway.PayloadOf(token); err != nil {
		return out, &failure{code: exitError, err: fmt.Errorf("%s: %w", q.tokenFile, err), next: "name a file that holds a token alone; for claims as JSON, --claims FILE"}
	}
	return out, nil
}

// knownStops are the stops in force, which deny whatever the documents say.
// Without a state folder, as on a developer's machine, there is none to know of.
func (c *common) knownStops(ctx context.Context, config gateway.Config) trust.StopSet {
	store, closed := c.stopStore(config)
	defer closed()
	set, err := store.list(ctx)
	switch {
	case err == nil:
		return set
	case config.Redis != nil:
		c.io.say("the stop list in %s cannot be read, so that stops are left out: %v", store.where, err)
	}
	return trust.StopSet{}
}

func (c *common) printExplanation(e gateway.Answer, decoded bool) error {
	if c.json() {
		out := struct {
			gateway.Answer
			Signature string `json:"signature,omitempty"`
		}{Answer: e}
		if decoded {
			out.Signature = "not checked"
		}
		return c.writeJSON(out)
	}
	if err := lines(c.io.out, "%s", strings.TrimRight(e.String(), "\n")); err != nil {
		return err
	}
	if decoded {
		return lines(c.io.out, "signature not checked")
	}
	return nil
}

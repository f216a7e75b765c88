package main

import (
	"context"
	"encoding/json"
	"fmt"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"cambio/gateway"
	"cambio/trust"
	"cambio/trust/prove"
)

func trustProveCommand(c *common) *cobra.Command {
	var at string
	cmd := &cobra.Command{
		Use:   "prove [DIR]",
		Short: "Prove the invariants over all possible tokens, or show one that breaks them",
		Long: `Decides each invariant of the documents below DIR over all tokens that the
identity providers could sign, all requests and all times from now on:

  invariant: no-pull-request-in-production
  owner: security@acme.example
  purpose: Code that nobody reviewed does not reach production
  from: [github]
  never: claims.event_name == "pull_request" && request.to.endsWith("-prod")

"never" must not be true of any exchange that the policy allows, "always" must be
true of each. One that cannot be evaluated for an allowed token is broken too: write
has(claims.x) or claims.?x.orValue("") for what a token may lack.

It says "holds", or "broken" with a token as an example and the command that shows
how it is allowed, or "undecided" with the part of a condition that cannot be
reasoned about.

The exit status is 0 when all hold, 1 when one is broken or undecided, and 3 when
the documents do not load.`,
		Example: `  cambio trust prove ./trust
  cambio trust prove --at 2027-01-01T00:00:00Z -o json`,
		Args: optionalDir,
		RunE: func(cmd *cobra.Command, args []string) error {
			if err := c.checkOutput("text", "json"); err != nil {
				return err
			}
			now, err := c.timeFlag(at)
			if err != nil {
				return err
			}
			config, err := c.load()
			if err != nil {
				return c.refusedCheck(err)
			}
			p := proof{now: now}
			if len(args) > 0 {
				config.Trust = args[0]
				p.where += " " + gateway.ShellWord(args[0])
			}
			if cmd.Flags().Changed("config") {
				p.where += " --config " + gateway.ShellWord(c.config)
			}
			return c.proveTrusts(cmd.Context(), config, p)
		},
	}
	cmd.Flags().StringVar(&at, "at", "", "prove from this time on (RFC 3339)")
	return cmd
}

// proof is what is asked of trust prove.
type proof struct {
	now   time.Time
	where string // the arguments that lead to the same documents, for a command to paste
}

func (c *common) proveTrusts(ctx context.Context, config gateway.Config, p proof) error {
	done := c.progress("proving the invariants of " + config.Trust)
	policy, findings := gateway.LoadPolicy(config, p.now)
	if policy == nil {
		done()
		return c.refusedCheck(findings)
	}
	prover, err := prove.New(policy, p.now)
	if err != nil {
		done()
		return err
	}
	prover.Takes(func(provider string, claims map[string]any, at time.Time) error {
		payload, err := json.Marshal(claims)
		if err != nil {
			return err
		}
		return gateway.Taken(config, provider, payload, at)
	})
	results := prover.Invariants(ctx)
	done()
	if err := ctx.Err(); err != nil {
		return err
	}
	counts := map[prove.Verdict]int{}
	for _, r := range results {
		counts[r.Verdict]++
	}
	if c.json() {
		err = c.writeJSON(map[string]any{
			"ok": counts[prove.Holds] == len(results), "invariants": append([]prove.Result{}, results...), "policy_sha256": policy.SHA256(),
		})
	} else {
		err = c.printProofs(config.Trust, policy, results, counts, p.where)
	}
	if err != nil || counts[prove.Holds] == len(results) {
		return err
	}
	f := &failure{code: exitError, err: fmt.Errorf("%s", notHeld(counts)), next: "mend the trust that is named, or the invariant"}
	if counts[prove.Broken] == 0 {
		f.next = "write what is undecided another way"
	}
	return f
}

// notHeld says how many are broken and how many undecided.
func notHeld(counts map[prove.Verdict]int) string {
	var parts []string
	for _, v := range []prove.Verdict{prove.Broken, prove.Undecided} {
		if n := counts[v]; n > 0 {
			parts = append(parts, fmt.Sprintf("%s %s", count(n, "invariant"), v))
		}
	}
	return strings.Join(parts, ", ")
}

func (c *common) printProofs(dir string, policy *trust.Policy, results []prove.Result, counts map[prove.Verdict]int, where string) error {
	for _, r := range results {
		if err := c.printProof(r, where); err != nil {
			return err
		}
	}
	if len(results) == 0 {
		return lines(c.io.out, "%s: no invariants; write one: cambio help trust prove", dir)
	}
	return lines(c.io.out, "%s: %d of %d invariants hold over %s", dir, counts[prove.Holds], len(results), count(policy.Trusts(), "trust"))
}

func (c *common) printProof(r prove.Result, where string) error {
	switch r.Verdict {
	case prove.Holds:
		return lines(c.io.out, "%s %s", c.io.green("holds"), r.Invariant)
	case prove.Broken:
		how := "is allowed"
		if r.Errors {
			how = "is allowed, and the invariant cannot be evaluated for it"
		}
		return lines(c.io.out, "%s %s (%s:%d:%d)\n  by trust %s: this token %s\n%s", c.io.red("BROKEN"), r.Invariant, r.File, r.At.Line, r.At.Column,
			r.Example.Trust, how, indented(explainCommand(r.Example, where)))
	case prove.Undecided:
		var b strings.Builder
		for _, o := range r.Outside {
			fmt.Fprintf(&b, "\n  %s:%d:%d: cannot be reasoned about: %s", o.File, o.At.Line, o.At.Column, o.Expression)
		}
		if r.Reason != "" {
			fmt.Fprintf(&b, "\n  %s:%d:%d: with trust %s: %s", r.File, r.At.Line, r.At.Column, r.Trust, r.Reason)
		}
		return lines(c.io.out, "%s %s%s", c.io.bold("undecided"), r.Invariant, b.String())
	}
	return nil
}

// explainCommand asks about an example as it can be pasted to a shell. It must ask the
// documents that were proven: others may well deny what is called allowed here.
func explainCommand(e *prove.Example, where string) string {
	claims, err := json.Marshal(e.Claims)
	if err != nil {
		return ""
	}
	var b strings.Builder
	b.WriteString("cambio trust explain" + where + " --provider " + gateway.ShellWord(e.Provider) + " --to " + gateway.ShellWord(e.Request.Target))
	for _, flag := range []struct{ name, value string }{
		{"resource", e.Request.Resource}, {"scope", strings.Join(e.Request.Scopes, " ")}, {"trust", e.Request.Trust},
	} {
		if flag.value != "" {
			b.WriteString(" --" + flag.name + " " + gateway.ShellWord(flag.value))
		}
	}
	if e.Request.TTL > 0 {
		b.WriteString(" --ttl " + e.Request.TTL.String())
	}
	if e.Request.Address.IsValid() {
		b.WriteString(" --from-address " + e.Request.Address.String())
	}
	b.WriteString(" --at " + e.At.UTC().Format(time.RFC3339Nano))
	return b.String() + " --claims - <<'EOF'\n" + string(claims) + "\nEOF"
}

// indented shows a command below its finding. Its here-document would end only at
// the margin, so that lines stay where they are.
func indented(s string) string { return "  " + s }

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

	"cambio/client"
	"cambio/gateway"
	"cambio/trust/strictyaml"
)

func connectCommand(c *common) *cobra.Command {
	a := &ask{c: c}
	verify := false
	cmd := &cobra.Command{
		Use:   "connect TARGET",
		Short: "Print what a target must know to trust this gateway, or try it",
		Long: `Reads the configuration and the trusts, and prints what to set up at the target,
with the audience and each subject compared for equality:

  type        what is set up there                            forms
  aws         the identity provider, each role's trust policy terraform, cli
  gcp         pool, provider and condition, who may act as    terraform, cli
              which service account
  azure       federated credentials of the applications       terraform, cli
  vault       the JWT auth method and its roles               terraform, cli
  kubernetes  the API server's authentication configuration,  yaml
              and RBAC where it orders tokens
  ssh         the authority's public key for sshd             cli
  github      what the App needs: permissions, repositories   text and json alone
  oauth       iss, aud, keys and sub to compare               text and json alone
  x509        roots and trust bundle for relying parties      text and json alone

  -o text       what it is, to review, and behind it the other forms (default)
  -o terraform  HCL
  -o cli        a shell script, which changes nothing that exists but to add to it
  -o yaml       manifests
  -o json       everything

A target of type jwt needs nothing but the issuer's URL and its audience.

A trust that leaves open which workloads it is for has no subjects to list; that
is said, with the fix, and nothing is printed.

--verify asks the gateway for each granted resource with the identity that is here,
as "cambio exchange" does, and says what the target answered. What it gets is
thrown away; the exchanges are on the record. Certificates are tried with
"cambio exchange", as they need a key.`,
		Example: `  cambio connect aws-prod -o terraform > cambio.tf
  cambio connect prod-cluster -o yaml > authentication.yaml
  cambio connect aws-prod --verify --server https://id.acme.example`,
		Args:              exactly("TARGET"),
		ValidArgsFunction: c.completeConnected,
		RunE: func(cmd *cobra.Command, args []string) error {
			if verify {
				if err := c.checkOutput("text", "json"); err != nil {
					return err
				}
			} else if err := c.checkOutput("text", "terraform", "cli", "yaml", "json"); err != nil {
				return err
			}
			connection, err := c.connection(args[0])
			if err != nil {
				return err
			}
			if verify && connection.Certifies {
				return &failure{
					code: exitUsage, err: fmt.Errorf("target %s certifies a key, and there is none to try it with", args[0]),
					next: "try it with a key: cambio exchange --help shows --new-key and --ssh-key",
				}
			}
			if verify {
				a.to = args[0]
				return a.verify(cmd.Context(), connection)
			}
			return c.printConnection(connection)
		},
	}
	a.serverFlags(cmd)
	cmd.Flags().BoolVar(&verify, "verify", false, "exchange for each resource that is granted, with the identity that is here")
	return cmd
}

func (c *common) completeConnected(cmd *cobra.Command, args []string, toComplete string) ([]cobra.Completion, cobra.ShellCompDirective) {
	if len(args) > 0 {
		return nil, cobra.ShellCompDirectiveNoFileComp
	}
	return c.completeFrom(targetNames)(cmd, args, toComplete)
}

// connection is what is to be set up; what is wrong with the trusts, or worth
// knowing, goes to stderr.
func (c *common) connection(target string) (*gateway.Connection, error) {
	config, err := c.load()
	if err != nil {
		return nil, err
	}
	if _, ok := config.Targets[target]; !ok {
		return nil, &failure{
			code: exitUsage, err: fmt.Errorf("connect %s: the configuration has no such target", target),
			next: strictyaml.DidYouMean(target, slices.Collect(maps.Keys(config.Targets))),
		}
	}
	policy, findings := gateway.LoadPolicy(config, c.io.now())
	if policy == nil {
		return nil, findings
	}
	connection, findings, err := gateway.Connect(config, policy, target, c.io.now())
	switch {
	case errors.Is(err, gateway.ErrNotConnected):
		return nil, &failure{
			code: exitUsage, err: fmt.Errorf("target %s takes JWTs: there is nothing to set up in a cloud", target),
			next: "let its API verify them with the keys that " + config.Issuer + "/.well-known/openid-configuration names, and the audience " + config.Targets[target].Audience,
		}
	case err != nil:
		return nil, err
	case connection == nil:
		return nil, findings
	}
	for _, f := range findings {
		c.io.say("%s", f)
	}
	return connection, nil
}

func (c *common) printConnection(connection *gateway.Connection) error {
	text, ok := connection.Form(c.output)
	if !ok {
		var forms []string
		for _, f := range connection.Forms {
			forms = append(forms, f.Name)
		}
		return &failure{
			code: exitUsage, err: fmt.Errorf("--output %s: target %s has no such form", c.output, connection.Target),
			next: "write one of " + strings.Join(forms, ", "),
		}
	}
	others := []string{}
	if c.output == "text" {
		for _, f := range connection.Forms {
			if f.Name != "text" && f.Name != "json" {
				text += fmt.Sprintf("\n--- %s, alone with -o %s ---\n\n%s", f.Title, f.Name, f.Text)
				others = append(others, "-o "+f.Name)
			}
		}
	}
	if _, err := fmt.Fprint(c.io.out, text); err != nil {
		return err
	}
	switch {
	case connection.Certifies && c.output != "json":
		c.io.say("  next: set it up where it is verified, then, in a job that a trust is for, ask for a certificate: cambio exchange --help")
	case len(others) > 0:
		c.io.say("  next: review it, and apply it: cambio connect %s %s", connection.Target, strings.Join(others, ", or "))
	case c.output != "json":
		c.io.say("  next: review and apply it, then, in a job that a trust is for: cambio connect %s --verify", connection.Target)
	}
	return nil
}

// verified is what came of one role.
type verified struct {
	Role string `json:"role"`
	// Result is assumed, refused, or not-granted: to the identity that is here.
	Result   string `json:"result"`
	Session  string `json:"session,omitempty"`
	Decision string `json:"decision_id,omitempty"`
	Error    string `json:"error,omitempty"`

	err error
}

// verify asks for every role. A dry run comes before each, so that a role which
// is somebody else's costs no token; the exit status is that of the worst role
// that this identity may have.
func (a *ask) verify(ctx context.Context, connection *gateway.Connection) error {
	gatewayClient, err := a.client()
	if err != nil {
		return err
	}
	source, err := a.detect(ctx)
	if err != nil {
		return err
	}
	var results []verified
	for _, resource := range connection.Resources {
		v, err := a.tryRole(ctx, gatewayClient, source, connection, resource)
		if err != nil {
			return err
		}
		results = append(results, v)
	}
	return a.c.printVerified(results, connection.Target)
}

func (a *ask) tryRole(ctx context.Context, to *client.Client, source *client.Source, connection *gateway.Connection, role string) (verified, error) {
	a.resource, a.dryRun = role, true
	v := verified{Role: role, Result: "not-granted"}
	for range 2 {
		request, err := a.request()
		if err != nil {
			return v, err
		}
		cred, err := exchangeOnce(ctx, to, request, source)
		var refused *client.Refusal
		switch {
		case errors.As(err, &refused) && (!a.dryRun || refused.Retryable()):
			v.Result, v.Error, v.Decision, v.err = "refused", refused.Text(), refused.DecisionID, err
			return v, nil
		case errors.As(err, &refused):
			v.Decision, v.Error, v.err = refused.DecisionID, refused.Text(), err
			return v, nil
		case err != nil:
			return v, err
		}
		v.Decision = cred.DecisionID
		a.dryRun = false
	}
	v.Result, v.Session = "assumed", connection.Session(role, v.Decision)
	return v, nil
}

// onceTime is long enough for a cloud to answer, and too short for the wait that a
// gateway asks for after a target's refusal: who verifies wants the first answer.
const onceTime = 5 * time.Second

func exchangeOnce(ctx context.Context, to *client.Client, request client.Request, source *client.Source) (client.Credential, error) {
	ctx, cancel := context.WithTimeout(ctx, onceTime)
	defer cancel()
	return to.Exchange(ctx, request, source)
}

func (c *common) printVerified(results []verified, target string) error {
	if c.json() {
		if err := c.writeJSON(map[string]any{"target": target, "roles": results}); err != nil {
			return err
		}
	}
	var worst, elsewhere error
	assumed := 0
	for _, v := range results {
		var line string
		if v.Role == "" {
			v.Role = target // its grant names no resource
		}
		switch v.Result {
		case "assumed":
			assumed++
			line = c.io.green("ok") + "  " + v.Role + "\n  decision " + v.Decision
			if v.Session != "" {
				line = c.io.green("ok") + "  " + v.Role + "\n  as " + v.Session
			}
		case "refused":
			worst = v.err
			line = fmt.Sprintf("%s  %s\n  %s\n  next: cambio audit show %s says what the target answered", c.io.red("refused"), v.Role, v.Error, pasteable(v.Decision, "ID"))
		default:
			elsewhere = v.err
			line = fmt.Sprintf("not granted to this identity  %s\n  decision %s", v.Role, v.Decision)
		}
		if c.json() {
			continue
		}
		if err := lines(c.io.out, "%s", line); err != nil {
			return err
		}
	}
	switch {
	case worst != nil:
		return &childExitError{exitCode(worst)} // it was said already
	case assumed == 0:
		return &failure{code: exitCode(elsewhere), err: fmt.Errorf("nothing of %s is granted to the identity that is here", target), next: "run it in a job that a trust is for; cambio whoami shows which this is"}
	}
	return nil
}

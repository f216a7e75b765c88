package main

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"cambio/client"
	"cambio/gateway"
	"cambio/trust/format"
	"cambio/trust/strictyaml"
)

// nobody is the audience that a token is fetched for when only its claims are
// read: no gateway takes it, so that it is worth nothing to whoever finds it.
const nobody = "cambio-trust-init"

// drafting are the flags of the commands that write a trust document.
type drafting struct {
	c         *common
	labels    gateway.Labels
	claims    []string
	tokenFile string
}

func (d *drafting) flags(cmd *cobra.Command) {
	f := cmd.Flags()
	f.StringVar(&d.labels.Owner, "owner", "", "who answers for the trust (required)")
	f.StringVar(&d.labels.Purpose, "purpose", "", "what it is for; default: what the document is made of")
	f.StringVar(&d.labels.Name, "name", "", "its name; default: from what the document is made of")
	f.StringVar(&d.labels.From, "provider", "", "identity provider; default: the only one of that type in the configuration")
	f.StringVar(&d.labels.To, "to", "", "target; default: the only one in the configuration")
	offer(cmd, "provider", d.c.completeFrom(providerNames))
	offer(cmd, "to", d.c.completeFrom(targetNames))
}

// maybe is the configuration, or nil where there is none and nobody named one:
// documents are often kept and written elsewhere.
func (c *common) maybe(cmd *cobra.Command) (*gateway.Config, error) {
	if _, err := c.io.readFile(c.config); errors.Is(err, fs.ErrNotExist) && !cmd.Flags().Changed("config") && c.io.getenv("CAMBIO_CONFIG") == "" {
		return nil, nil //nolint:nilnil // none is an answer
	}
	config, err := c.load()
	if err != nil {
		return nil, err
	}
	return &config, nil
}

// platform is one kind of workload that a trust can be drafted for.
type platform struct {
	name, argument string
	kind           string // of identity provider
	needsClaims    bool
}

func platforms() []platform {
	return []platform{
		{name: "github", argument: "OWNER/REPO", kind: "github-actions", needsClaims: true},
		{name: "kubernetes", argument: "NAMESPACE/SERVICE_ACCOUNT", kind: "kubernetes"},
		{name: "google", argument: "ADDRESS or NUMBER", kind: "gcp"},
	}
}

// platformNamed is a platform by its name here, or by the type of its identity
// providers: those without names for workloads are drafted by their claims alone.
func platformNamed(name string) (platform, bool) {
	for _, p := range platforms() {
		if p.name == name || p.kind == name {
			return p, true
		}
	}
	if slices.Contains(gateway.Drafted(), name) {
		return platform{name: name, argument: "NAME", kind: name, needsClaims: true}, true
	}
	return platform{}, false
}

func trustInitCommand(c *common) *cobra.Command {
	d := &drafting{c: c}
	var claims string
	cmd := &cobra.Command{
		Use:   "init PLATFORM WORKLOAD",
		Short: "Write a commented trust document for one workload",
		Long: `Writes a trust document for review to standard output, in the form of "cambio trust
fmt". What else is worth pinning, "cambio trust check" says.

  github OWNER/REPO     pins the ids of the repository and its owner, the ref, and
                        if the claims have them the environment and GitHub's own
                        runners. In a job of the repository the claims are those
                        of its own token; elsewhere give --claims. Nothing is
                        looked up by name
  kubernetes NAMESPACE/SERVICE_ACCOUNT
                        pins both; with claims also the account's uid
  google ADDRESS|NUMBER pins the service account's unique number, which an address
                        alone does not say
  TYPE NAME             for any other type of identity provider, such as gitlab-ci:
                        pins the immutable ids that the claims of one of its tokens
                        have, and what somebody's approval stands behind. NAME is
                        what you call the workload; give --claims, or run it in
                        a job of it`,
		Example: `  cambio trust init github acme/payments --owner payments-team@acme.example > trust/payments.yaml
  cambio trust init kubernetes payments/api --to orders-api --owner payments-team@acme.example`,
		Args:              exactly("PLATFORM", "WORKLOAD"),
		ValidArgsFunction: completePlatform,
		RunE: func(cmd *cobra.Command, args []string) error {
			if err := c.checkOutput("text"); err != nil {
				return err
			}
			if claims != "" {
				d.claims = []string{claims}
			}
			p, ok := platformNamed(args[0])
			if !ok {
				return usage("trust init %s: the platforms are github, kubernetes, google, %s", args[0], strings.Join(gateway.Drafted(), ", "))
			}
			return d.init(cmd, p, args[1])
		},
	}
	d.flags(cmd)
	f := cmd.Flags()
	f.StringVar(&d.labels.Resource, "resource", "", "resource within the target, such as a role's ARN")
	f.StringVar(&claims, "claims", "", "JSON file with claims, or what cambio whoami -o json printed, or - for standard input")
	f.StringVar(&d.tokenFile, "token-file", "", "file that holds a token, or - for standard input; its signature is not checked")
	return cmd
}

func completePlatform(_ *cobra.Command, args []string, _ string) ([]cobra.Completion, cobra.ShellCompDirective) {
	var out []cobra.Completion
	for _, p := range platforms() {
		if len(args) == 0 {
			out = append(out, cobra.CompletionWithDesc(p.name, p.argument))
		}
	}
	if len(args) == 0 {
		for _, name := range gateway.Drafted() {
			out = append(out, cobra.CompletionWithDesc(name, "NAME, and its claims"))
		}
	}
	return out, cobra.ShellCompDirectiveNoFileComp
}

func (d *drafting) init(cmd *cobra.Command, p platform, workload string) error {
	config, err := d.c.maybe(cmd)
	if err != nil {
		return err
	}
	for _, missing := range []error{
		d.labels.Owned(), d.labels.ChooseProvider(config, p.kind), d.labels.ChooseTarget(config, ""), d.labels.Granting(config),
	} {
		if missing != nil {
			return &failure{code: exitUsage, err: missing, next: cmd.CommandPath() + " --help"}
		}
	}
	lookUp, err := gateway.LookUp(p.kind, workload)
	if err != nil {
		return usage("%v", err)
	}
	claims, err := d.claimsOf(cmd.Context(), p)
	if err != nil {
		if errors.Is(err, client.ErrNoIdentity) {
			return &failure{code: exitNoIdentity, err: fmt.Errorf("no claims of %s to take its ids from", workload), next: lookUp + "; then add --claims claims.json"}
		}
		return err
	}
	document, findings, err := gateway.DraftTrust(config, p.kind, workload, claims, d.labels, d.c.io.now())
	if err != nil {
		next := lookUp
		switch {
		case p.needsClaims:
			next += "; then add --claims claims.json"
		case next != "":
			next += "; then write the number in place of the address"
		}
		return &failure{code: exitError, err: err, next: next}
	}
	return d.print(document, findings)
}

// claimsOf are the claims that were given or, where a draft needs some, those of
// the token that is here; nil for none.
func (d *drafting) claimsOf(ctx context.Context, p platform) ([]byte, error) {
	switch {
	case len(d.claims) > 0 && d.tokenFile != "":
		return nil, usage("name one of --claims and --token-file")
	case len(d.claims) > 0:
		claims, err := d.c.readInput(d.claims[0])
		return shownClaims(claims), err
	case d.tokenFile == "" && !p.needsClaims:
		return nil, nil
	}
	source, err := client.Detect(ctx, client.Env{
		Getenv: d.c.io.getenv, ReadFile: d.c.io.readFile, HTTP: d.c.io.http, Exec: printedBy, TokenFile: d.tokenFile, Stdin: d.c.io.in, Audience: nobody,
	})
	if err != nil {
		return nil, err
	}
	token, err := source.Token(ctx, nobody)
	if err != nil {
		return nil, err
	}
	return gateway.PayloadOf([]byte(token))
}

func (d *drafting) print(document []byte, findings strictyaml.Findings) error {
	if document == nil {
		return findings
	}
	for _, f := range findings {
		d.c.io.say("%s", f)
	}
	document, err := format.Document("-", document, schemaHeader("-"))
	if err != nil {
		return err
	}
	if _, err := d.c.io.out.Write(document); err != nil {
		return err
	}
	d.c.io.say("  next: review it, put it below the trust folder as *.yaml, then: cambio trust check")
	return nil
}

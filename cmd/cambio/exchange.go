package main

import (
	"context"
	"fmt"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"cambio/client"
	"cambio/trust/strictyaml"
)

// ask are the flags of the commands that speak to a gateway.
type ask struct {
	c         *common
	server    string
	tokenFile string
	audience  string
	to        string
	resource  string
	scope     string
	ttl       string
	trust     string
	dryRun    bool
	kind      string // what the credential must be; "" leaves it to the target
	env       []string
	keys      keyFiles
	cert      clientCert
}

func (a *ask) serverFlags(cmd *cobra.Command) {
	f := cmd.Flags()
	f.StringVar(&a.server, "server", a.c.io.getenv("CAMBIO_SERVER"), "the gateway's URL (CAMBIO_SERVER)")
	f.StringVar(&a.tokenFile, "token-file", "", "file that holds the identity token, or - for standard input; without it the ambient identity is found")
	f.StringVar(&a.audience, "audience", "", "audience to request the identity token for; default: the gateway's URL")
}

func (a *ask) exchangeFlags(cmd *cobra.Command) {
	a.serverFlags(cmd)
	f := cmd.Flags()
	f.StringVar(&a.to, "to", "", "target to get a credential for (required)")
	offer(cmd, "to", a.c.completeFrom(targetNames))
	f.StringVar(&a.resource, "resource", "", "resource within the target, where the trust has several")
	f.StringVar(&a.scope, "scope", "", "scopes, separated by spaces; default: all that the grant gives")
	f.StringVar(&a.ttl, "ttl", "", "lifetime such as 5m; only ever narrows")
	f.StringVar(&a.trust, "trust", "", "name of the trust, where several would fit")
	f.StringSliceVar(&a.env, "env", nil, "variable to put a credential in that is one text, such as GH_TOKEN; default: CAMBIO_ACCESS_TOKEN")
	a.keys.flags(f)
	a.cert.flags(f)
}

// request is what the flags ask for.
func (a *ask) request() (client.Request, error) {
	if a.to == "" {
		return client.Request{}, &failure{code: exitUsage, err: fmt.Errorf("missing --to"), next: "name the target, such as --to orders-api; whoever runs the gateway knows the names"}
	}
	r := client.Request{
		Target: a.to, Resource: a.resource, Scopes: strings.Fields(a.scope),
		Trust: a.trust, DryRun: a.dryRun, Audience: a.audience, Type: a.kind,
	}
	if err := variables(a.env).check(); err != nil {
		return client.Request{}, err
	}
	if err := a.keys.ask(&r, a.c.io.readFile); err != nil {
		return client.Request{}, err
	}
	if a.ttl != "" {
		ttl, ok := strictyaml.ParseDuration(a.ttl)
		if !ok || ttl < time.Second {
			return client.Request{}, usage("--ttl %q: write one number and one of s, m, h, d, such as 5m", a.ttl)
		}
		r.TTL = ttl
	}
	return r, nil
}

func (a *ask) client() (*client.Client, error) {
	if a.server == "" {
		return nil, &failure{code: exitUsage, err: fmt.Errorf("no gateway named"), next: "--server https://id.example.com, or set CAMBIO_SERVER"}
	}
	if err := checkServer(a.server); err != nil {
		return nil, err
	}
	if err := a.cert.check(a); err != nil {
		return nil, err
	}
	c := &client.Client{Server: a.server, HTTP: a.c.io.http, Now: a.c.io.now}
	if a.cert.named() {
		shown, err := a.cert.certificate(a).HTTP(c.HTTP)
		if err != nil {
			return nil, err
		}
		c.HTTP = shown
	}
	return c, nil
}

// checkServer refuses a URL that no token may be sent to, before one is fetched.
func checkServer(server string) error {
	if err := client.CheckServer(server); err != nil {
		return &failure{code: exitUsage, err: fmt.Errorf("--%w", err), next: "--server https://id.acme.example"}
	}
	return nil
}

func (a *ask) detect(ctx context.Context) (*client.Source, error) {
	if a.cert.named() {
		return a.cert.certificate(a).Source(), nil
	}
	return client.Detect(ctx, client.Env{
		Getenv: a.c.io.getenv, ReadFile: a.c.io.readFile, HTTP: a.c.io.http, Exec: printedBy,
		TokenFile: a.tokenFile, Stdin: a.c.io.in, Audience: a.audience, Server: strings.TrimRight(a.server, "/"),
	})
}

// exchange runs one exchange with the identity that is there.
func (a *ask) exchange(ctx context.Context) (client.Credential, error) {
	request, err := a.request()
	if err != nil {
		return client.Credential{}, err
	}
	c, err := a.client()
	if err != nil {
		return client.Credential{}, err
	}
	source, err := a.detect(ctx)
	if err != nil {
		return client.Credential{}, err
	}
	asking := "asking " + a.server
	done := a.c.progress(asking)
	defer func() { done() }()
	told := a.c.json() // then stderr is one JSON object, and only for an error
	c.Waiting = func(err error, _ time.Duration) {
		if told {
			return
		}
		told = true
		done() // or the two would write over each other
		a.c.io.say("trying again for up to a minute: %v", err)
		done = a.c.progress(asking)
	}
	cred, err := c.Exchange(ctx, request, source)
	if err != nil || a.dryRun {
		return cred, err
	}
	return cred, a.keys.keep(cred)
}

func exchangeCommand(c *common) *cobra.Command {
	a := &ask{c: c}
	cmd := &cobra.Command{
		Use:   "exchange --to TARGET",
		Short: "Swap this workload's identity for a credential",
		Long: `Finds the identity that this workload already has, shows it to the gateway, and
prints the credential that comes back.

Looked for, in this order: --token-file, CAMBIO_TOKEN, CAMBIO_TOKEN_FILE, a
GitHub Actions job (needs permissions: id-token: write), what GitLab CI, CircleCI,
Buildkite, Bitbucket Pipelines, Azure DevOps, HCP Terraform, Spacelift, env0,
Codefresh, Semaphore, Vercel and Fly.io put into the environment of a workload, the
managed identity of an Azure service, a Kubernetes token that is projected for
Cambio, the Kubernetes API server where the pod's service account may create its
own tokens, Google's metadata server, Azure's, a role of AWS (first of all platforms
with CAMBIO_AWS_IDENTITY=1). Jenkins, Harness, Pulumi and spiffe-helper hand the
token over in CAMBIO_TOKEN or CAMBIO_TOKEN_FILE. A workload of a platform that gave
it no token is told what to paste, and shows no other identity. GitHub, CircleCI,
Buildkite, Codefresh, Vercel, Fly.io, the API server, Google and AWS have a nonce of
the gateway signed with it, which makes it worthless to a thief.

--client-cert and --client-key show a client certificate or an X.509-SVID instead,
over the connection to the gateway, which must end TLS itself.

  -o token         the credential alone (default)
  -o kubernetes    what kubectl expects of an exec plugin (ExecCredential)
  -o env           export CAMBIO_ACCESS_TOKEN=..., for eval; for an AWS target
                   AWS_ACCESS_KEY_ID, AWS_SECRET_ACCESS_KEY, AWS_SESSION_TOKEN
                   and AWS_CREDENTIAL_EXPIRATION (unset AWS_PROFILE: some AWS
                   clients look there first); for a database PGHOST, PGPORT,
                   PGUSER, PGPASSWORD and PGSSLMODE=verify-full, or MYSQL_HOST,
                   MYSQL_TCP_PORT, MYSQL_USER and MYSQL_PWD. --env GH_TOKEN puts
                   a credential that is one text into that variable instead:
                   VAULT_TOKEN, CLOUDSDK_AUTH_ACCESS_TOKEN, whatever the tool reads
  -o json          everything, with its end and the decision id
  -o aws-process   what an AWS client expects of its credential_process; in
                   ~/.aws/config:

    [profile deploy]
    credential_process = cambio exchange --server https://id.acme.example --to aws-prod -o aws-process

A target that signs certificates gets a key that never leaves this machine:

  --new-key KEY --out CERT   makes a key (ECDSA P-256), and writes it and the
                             certificate with its chain; --bundle ROOTS, the roots
  --ssh-key id_ed25519.pub   has this SSH key signed; id_ed25519-cert.pub is written

Files that are there are replaced when the new ones are whole. Nothing is printed
then, but with -o json.

A credential is never printed to a terminal without --show.`,
		Example: `  curl -H "Authorization: Bearer $(cambio exchange --to orders-api)" https://orders.acme.example/
  cambio exchange --to orders-api --scope orders:read --ttl 5m -o json > credential.json
  aws --profile deploy sts get-caller-identity`,
		Args: noArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if err := c.checkOutput("text", "token", "env", "json", "aws-process", "kubernetes"); err != nil {
				return err
			}
			process := c.output == "aws-process"
			if (process || c.output == "kubernetes") && a.dryRun {
				return usage("--output %s: a dry run issues nothing to print", c.output)
			}
			silent := a.keys.set() && c.output == "text"
			if c.io.outTTY && !c.show && !a.dryRun && !silent {
				return &failure{
					code: exitUsage, err: fmt.Errorf("refusing to print a credential to a terminal"),
					next: "pipe it, run the command that needs it with `cambio exec`, or add --show",
				}
			}
			if process {
				a.kind = client.TypeAWS // so that nothing else is issued
			}
			cred, err := a.exchange(cmd.Context())
			switch {
			case err != nil && process:
				return refusedProcess(err, a.to)
			case err != nil:
				return err
			case process:
				return c.printProcess(cred)
			case c.output == "kubernetes":
				return c.printExecCredential(cred)
			case silent && !a.dryRun:
				c.io.say("wrote %s, good until %s", a.keys.written(), cred.ExpiresAt.UTC().Format(time.RFC3339))
				return nil
			}
			return c.printCredential(cred, a.env)
		},
	}
	a.exchangeFlags(cmd)
	cmd.Flags().BoolVar(&a.dryRun, "dry-run", false, "only ask whether it would be allowed; the token is not used up")
	cmd.Flags().BoolVar(&c.show, "show", false, "print the credential even to a terminal")
	return cmd
}

func (c *common) printCredential(cred client.Credential, names variables) error {
	switch {
	case c.output == "json":
		return c.writeJSON(cred)
	case cred.DryRun:
		return lines(c.io.out, "would be allowed for %s; decision %s", time.Duration(cred.ExpiresIn)*time.Second, cred.DecisionID)
	case c.output == "env":
		env, err := names.of(cred)
		if err != nil {
			return err
		}
		for _, pair := range env {
			name, value, _ := strings.Cut(pair, "=")
			if err := lines(c.io.out, "export %s='%s'", name, strings.ReplaceAll(value, "'", `'\''`)); err != nil {
				return err
			}
		}
		return nil
	}
	return lines(c.io.out, "%s", cred.AccessToken)
}

package main

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"cambio/gateway"
	"cambio/trust/format"
	"cambio/trust/strictyaml"
)

// importing are the flags of the command, of which each system knows some.
type importing struct {
	drafting
	dir, bindings, issuer string
}

// importFlags are the flags that belong to some systems alone.
func importFlags() map[string][]string {
	return map[string][]string{"role": {"aws"}, "resource": {"gcp", "azure", "octo-sts", "vault"}, "bindings": {"gcp"}, "issuer": {"octo-sts", "vault"}}
}

func importSystems() []string { return []string{"aws", "gcp", "azure", "octo-sts", "vault"} }

func trustImportCommand(c *common) *cobra.Command {
	i := &importing{drafting: drafting{c: c}}
	cmd := &cobra.Command{
		Use:   "import SYSTEM FILE",
		Short: "Turn what another system trusts today into documents in mode shadow",
		Long: `Reads what SYSTEM trusts of an identity provider, and writes trust documents that
let in the same workloads, or fewer. They are in mode shadow: they are judged and
recorded, and allow nothing until you enforce them.

  aws       a role's trust policy, or what "aws iam get-role" printed
  gcp       a provider of a workload identity pool; with --bindings only who may
            act as one service account
  azure     a federated identity credential of a managed identity or an application
  octo-sts  a trust policy, NAME.sts.yaml
  vault     a role of the JWT auth method; --issuer says whose tokens it takes

Nothing is widened: a condition that cannot be carried over is an error, and then
nothing is written. Names of repositories are pinned by their ids; give those that
the file does not hold with --claims.

What a credential may do is not carried over: that stands at the target. A document
holds what its lines multiply to. Where a file needs several, they go to a folder:
--write DIR.`,
		Example: `  aws iam get-role --role-name payments-deploy > role.json
  cambio trust import aws role.json --claims claims.json --owner payments-team@acme.example > trust/payments.yaml

  gcloud iam workload-identity-pools providers describe github --workload-identity-pool ci --location global --format json > provider.json
  gcloud iam service-accounts get-iam-policy deploy@acme-prod.iam.gserviceaccount.com --format json > bindings.json
  cambio trust import gcp provider.json --bindings bindings.json --to gcp-prod --resource gcp:deploy@acme-prod.iam.gserviceaccount.com --owner payments-team@acme.example

  az identity federated-credential show --identity-name deploy --resource-group payments --name main > credential.json
  cambio trust import azure credential.json --claims claims.json --to orders-api --owner payments-team@acme.example

  cambio trust import octo-sts .github/chainguard/deploy.sts.yaml --to orders-api --owner payments-team@acme.example

  vault read -format=json auth/jwt/role/deploy > deploy.json
  cambio trust import vault deploy.json --issuer https://token.actions.githubusercontent.com --to orders-api --owner payments-team@acme.example`,
		Args: exactly("SYSTEM", "FILE"),
		ValidArgsFunction: func(_ *cobra.Command, args []string, _ string) ([]cobra.Completion, cobra.ShellCompDirective) {
			if len(args) == 0 {
				return importSystems(), cobra.ShellCompDirectiveNoFileComp
			}
			return nil, cobra.ShellCompDirectiveDefault
		},
		RunE: func(cmd *cobra.Command, args []string) error {
			if err := c.checkOutput("text"); err != nil {
				return err
			}
			if !slices.Contains(importSystems(), args[0]) {
				return usage("trust import %s: the systems are aws, gcp, azure, octo-sts and vault", args[0])
			}
			for flag, systems := range importFlags() {
				if cmd.Flags().Changed(flag) && !slices.Contains(systems, args[0]) {
					return usage("--%s is for %s", flag, strings.Join(systems, ", "))
				}
			}
			return i.run(cmd, args[0], args[1])
		},
	}
	i.flags(cmd)
	f := cmd.Flags()
	f.StringVar(&i.labels.Resource, "role", "", "aws: the role's ARN, where FILE does not say it")
	f.StringVar(&i.labels.Resource, "resource", "", "other than aws: resource within the target, where it has some")
	f.StringVar(&i.bindings, "bindings", "", "gcp: JSON file with the IAM policy of the service account that workloads act as")
	f.StringVar(&i.issuer, "issuer", "", "vault, octo-sts: issuer of the tokens, where FILE does not say one")
	f.StringArrayVar(&i.claims, "claims", nil, "JSON file with the claims of a repository; may be given again for each")
	f.StringVar(&i.dir, "write", "", "write each document to a new file in this folder")
	return cmd
}

func (i *importing) run(cmd *cobra.Command, system, file string) error {
	config, err := i.c.maybe(cmd)
	if err != nil {
		return err
	}
	if err := i.missing(config, system); err != nil {
		return &failure{code: exitUsage, err: err, next: cmd.CommandPath() + " --help"}
	}
	source, err := i.source(system, file)
	if err != nil {
		return err
	}
	documents, findings := gateway.Import(config, source, i.labels, i.c.io.now())
	switch {
	case findings.HasErrors():
		return findings
	case i.dir != "":
		return i.write(i.dir, documents, findings)
	case len(documents) > 1:
		names := make([]string, len(documents))
		for n, document := range documents {
			names[n] = document.Name
		}
		return &failure{
			code: exitUsage, err: fmt.Errorf("%s makes %d documents: %s", file, len(documents), strings.Join(names, ", ")),
			next: "--write DIR writes each to a file",
		}
	}
	return i.print(documents[0].Document, findings)
}

// missing says which flag is. A role of AWS may stand in the file.
func (i *importing) missing(config *gateway.Config, system string) error {
	kind := ""
	if system == "aws" {
		kind = "aws"
	}
	if err := i.labels.Owned(); err != nil {
		return err
	}
	if err := i.labels.ChooseTarget(config, kind); err != nil || system == "aws" {
		return err
	}
	return i.labels.Granting(config)
}

func (i *importing) source(system, file string) (gateway.ImportSource, error) {
	source := gateway.ImportSource{Kind: system, File: file, Issuer: i.issuer}
	var err error
	if source.Data, err = i.c.readInput(file); err != nil {
		return source, err
	}
	if i.bindings != "" {
		if source.Bindings, err = i.c.readInput(i.bindings); err != nil {
			return source, err
		}
	}
	for _, name := range i.claims {
		known, err := i.c.readInput(name)
		if err != nil {
			return source, err
		}
		source.Claims = append(source.Claims, shownClaims(known))
	}
	return source, nil
}

// write makes a new file of each document: one that is there was reviewed.
func (i *importing) write(dir string, documents []gateway.Imported, findings strictyaml.Findings) error {
	for _, f := range findings {
		i.c.io.say("%s", f)
	}
	for _, document := range documents {
		path := filepath.Join(dir, document.Name+".yaml")
		formatted, err := format.Document(path, document.Document, schemaHeader(path))
		if err != nil {
			return err
		}
		if err := writeNew(path, formatted); err != nil {
			return &failure{code: exitError, err: err, next: "name a folder that exists and holds no such file"}
		}
		if err := lines(i.c.io.out, "%s", path); err != nil {
			return err
		}
	}
	i.c.io.say("  next: review them, then: cambio trust check")
	return nil
}

func writeNew(path string, data []byte) error {
	f, err := os.OpenFile(path, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o644) //nolint:gosec // documents are for everybody to read
	if err != nil {
		return err
	}
	if _, err := f.Write(data); err != nil {
		_ = f.Close()
		return err
	}
	return f.Close()
}

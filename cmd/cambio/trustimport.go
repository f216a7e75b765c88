package main

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"github.com/spf13/cobra"

	"cambio/gateway"
	"cambio/trust/strictyaml"
)

func trustImportCommand(c *common) *cobra.Command {
	d := &drafting{c: c}
	var dir string
	cmd := &cobra.Command{
		Use:   "import CLOUD FILE",
		Short: "Turn what a cloud trusts today into documents in mode shadow",
		Long: `CLOUD is aws. Reads a role's trust policy, or what "aws iam get-role" printed, and writes trust
documents that let in the same workloads, or fewer. They are in mode shadow: they
are judged and recorded, and allow nothing until you enforce them.

Nothing is widened: a condition that cannot be carried over is an error, and then
nothing is written. Names of repositories are pinned by their ids; give those that
the policy does not hold with --claims.

A document holds what its lines multiply to. Where a policy needs several, they
go to a folder: --write DIR.`,
		Example: `  aws iam get-role --role-name payments-deploy > role.json
  cambio trust import aws role.json --claims claims.json --owner payments-team@acme.example > trust/payments.yaml`,
		Args: exactly("CLOUD", "FILE"),
		RunE: func(cmd *cobra.Command, args []string) error {
			if err := c.checkOutput("text"); err != nil {
				return err
			}
			if args[0] != "aws" {
				return usage("trust import %s: the cloud is aws", args[0])
			}
			return d.importAWS(cmd, args[1], dir)
		},
	}
	d.flags(cmd)
	f := cmd.Flags()
	f.StringVar(&d.labels.Resource, "role", "", "the role's ARN, where FILE does not say it")
	f.StringArrayVar(&d.claims, "claims", nil, "JSON file with the claims of a repository; may be given again for each")
	f.StringVar(&dir, "write", "", "write each document to a new file in this folder")
	return cmd
}

func (d *drafting) importAWS(cmd *cobra.Command, file, dir string) error {
	config, err := d.config(cmd)
	if err != nil {
		return err
	}
	for _, missing := range []error{d.labels.Owned(), d.labels.ChooseTarget(config, "aws")} {
		if missing != nil {
			return &failure{code: exitUsage, err: missing, next: cmd.CommandPath() + " --help"}
		}
	}
	policy, err := d.c.readInput(file)
	if err != nil {
		return err
	}
	var claims [][]byte
	for _, name := range d.claims {
		known, err := d.c.readInput(name)
		if err != nil {
			return err
		}
		claims = append(claims, shownClaims(known))
	}
	documents, findings := gateway.ImportAWS(config, file, policy, claims, d.labels, d.c.io.now())
	switch {
	case findings.HasErrors():
		return findings
	case dir != "":
		return d.write(dir, documents, findings)
	case len(documents) > 1:
		names := make([]string, len(documents))
		for i, document := range documents {
			names[i] = document.Name
		}
		return &failure{
			code: exitUsage, err: fmt.Errorf("%s makes %d documents: %s", file, len(documents), strings.Join(names, ", ")),
			next: "--write DIR writes each to a file",
		}
	}
	return d.print(documents[0].Document, findings)
}

// write makes a new file of each document: one that is there was reviewed.
func (d *drafting) write(dir string, documents []gateway.Imported, findings strictyaml.Findings) error {
	for _, f := range findings {
		d.c.io.say("%s", f)
	}
	for _, document := range documents {
		path := filepath.Join(dir, document.Name+".yaml")
		if err := writeNew(path, document.Document); err != nil {
			return &failure{code: exitError, err: err, next: "name a folder that exists and holds no such file"}
		}
		if err := lines(d.c.io.out, "%s", path); err != nil {
			return err
		}
	}
	d.c.io.say("  next: review them, then: cambio trust check")
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

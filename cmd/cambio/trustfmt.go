package main

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"

	"github.com/spf13/cobra"

	"cambio/gateway"
	"cambio/trust"
	"cambio/trust/format"
	"cambio/trust/strictyaml"
)

// schemaFile is what editors find the schema of documents by: in the folder of the
// documents, or above.
const schemaFile = "trust.schema.json"

// formatting are the flags of trust fmt.
type formatting struct{ check, stdout bool }

func trustFmtCommand(c *common) *cobra.Command {
	var f formatting
	cmd := &cobra.Command{
		Use:   "fmt [FILE|DIR]...",
		Short: "Write documents in the one form",
		Long: `Writes each document, and each file of tests, in one form: names in the order in
which they are best read, two spaces for each step, ids in quotes, and the line that
tells editors which schema the file has. Comments stay, and so does what the document
means: each result is read again and compared before it is written.

The line names ` + schemaFile + ` in the folder of the documents or above it, which
"cambio trust schema" writes. One that is there already stays as it is.

Without arguments it is the folder that the configuration names; - reads one
document from standard input and writes to standard output. What does not load as
YAML is left alone, with exit status 3.`,
		Example: `  cambio trust fmt ./trust
  cambio trust fmt --check      exit status 1 when a file is in another form`,
		Args: cobra.ArbitraryArgs,
		RunE: func(_ *cobra.Command, args []string) error {
			if err := c.checkOutput("text", "json"); err != nil {
				return err
			}
			if f.check && f.stdout {
				return usage("name one of --check and --stdout")
			}
			return c.format(f, args)
		},
	}
	flags := cmd.Flags()
	flags.BoolVar(&f.check, "check", false, "write nothing, list the files that are in another form")
	flags.BoolVar(&f.stdout, "stdout", false, "write one file's new form to standard output, and the file not")
	return cmd
}

func (c *common) format(f formatting, args []string) error {
	if len(args) == 0 {
		config, err := c.load()
		if err != nil {
			return err
		}
		args = []string{config.Trust}
	}
	sources, findings, err := c.documents(args)
	switch {
	case err != nil:
		return err
	case f.stdout && len(sources) != 1:
		return usage("--stdout is for one file; there are %d", len(sources))
	}
	done := c.progress("formatting")
	changed := []string{}
	for _, source := range sources {
		out, err := format.Document(source.Name, source.Data, schemaHeader(source.Name))
		var refused strictyaml.Findings
		switch {
		case errors.As(err, &refused):
			findings = append(findings, refused...)
			continue
		case err == nil && (f.stdout || source.Name == "-"):
			_, err = c.io.out.Write(out)
		case err == nil && !bytes.Equal(out, source.Data):
			changed = append(changed, source.Name)
			if !f.check {
				err = replace(source.Name, out)
			}
		}
		if err != nil {
			done()
			return fmt.Errorf("%s: %w", source.Name, err)
		}
	}
	done()
	return c.formatted(f, changed, findings)
}

// formatted says what was done.
func (c *common) formatted(f formatting, changed []string, findings strictyaml.Findings) error {
	findings = slices.DeleteFunc(findings, func(f strictyaml.Finding) bool { return f.Severity != strictyaml.Error })
	bad := findings.HasErrors() || f.check && len(changed) > 0
	if c.json() {
		enc := json.NewEncoder(c.io.out)
		if err := enc.Encode(map[string]any{"ok": !bad, "changed": changed, "findings": append(strictyaml.Findings{}, findings...)}); err != nil {
			return err
		}
	} else {
		for _, name := range changed {
			if err := lines(c.io.out, "%s", name); err != nil {
				return err
			}
		}
	}
	switch {
	case findings.HasErrors():
		return findings
	case bad:
		return &failure{code: exitError, err: fmt.Errorf("%s in another form", count(len(changed), "file")), next: "cambio trust fmt, and look at what changed"}
	}
	return nil
}

// documents reads the files that the arguments name, and all documents and files
// of tests of the folders.
func (c *common) documents(args []string) ([]trust.Source, strictyaml.Findings, error) {
	var sources []trust.Source
	var findings strictyaml.Findings
	for _, name := range args {
		info, err := os.Stat(name)
		switch {
		case name == "-", err == nil && !info.IsDir():
			data, err := c.readInput(name)
			if err != nil {
				return nil, nil, err
			}
			sources = append(sources, trust.Source{Name: name, Data: data})
		case err != nil:
			return nil, nil, usage("%s: %v", name, unwrapPath(err))
		default:
			documents, wrong := gateway.ReadTrusts(name)
			tests, more := gateway.ReadTests(name)
			sources = append(append(sources, documents...), tests...)
			findings = append(append(findings, wrong...), more...)
		}
	}
	return sources, findings, nil
}

// schemaHeader is the line for editors of a document: the nearest schema above it,
// or the one that its folder may get.
func schemaHeader(document string) string {
	if path, err := filepath.Abs(document); err == nil && document != "-" {
		up := ""
		for dir := filepath.Dir(path); ; dir = filepath.Dir(dir) {
			if _, err := os.Stat(filepath.Join(dir, schemaFile)); err == nil {
				return format.Header(up + schemaFile)
			}
			if dir == filepath.Dir(dir) {
				break
			}
			up += "../"
		}
	}
	return format.Header(schemaFile)
}

// replace writes a file anew, as a whole or not at all: a gateway may read it just
// then.
func replace(name string, data []byte) error {
	path, err := filepath.EvalSymlinks(name)
	if err != nil {
		return err
	}
	folder, err := filepath.EvalSymlinks(filepath.Dir(name))
	if err != nil {
		return err
	}
	// A proposal may hold a link to any file of whoever formats it.
	if inside, err := filepath.Rel(folder, path); err != nil || !filepath.IsLocal(inside) {
		return errors.New("it is a link out of its folder; name the file itself")
	}
	mode := fs.FileMode(0o644)
	if info, err := os.Stat(path); err == nil {
		mode = info.Mode().Perm()
	}
	f, err := os.CreateTemp(filepath.Dir(path), ".cambio-fmt-*")
	if err != nil {
		return err
	}
	_, err = f.Write(data)
	err = errors.Join(err, f.Chmod(mode), f.Close())
	if err == nil {
		err = os.Rename(f.Name(), path)
	}
	if err != nil {
		return errors.Join(err, os.Remove(f.Name()))
	}
	return nil
}

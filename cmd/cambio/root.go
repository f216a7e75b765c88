package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"cambio/gateway"
)

// run is the program: it takes the arguments after its name and returns the
// exit status.
func run(ctx context.Context, io *stdio, args []string) int {
	root, common := newRoot(io) //nolint:contextcheck // commands get theirs when they run
	root.SetArgs(args)
	err := root.ExecuteContext(ctx)
	io.report(err, common.json())
	return exitCode(err)
}

// common are the flags that every command has.
type common struct {
	io     *stdio
	config string
	output string
	show   bool
	folder string // of documents, in place of the configuration's; "": that
}

func (c *common) json() bool { return c.output == "json" }

const rootHelp = `Cambio swaps the identity that a workload already has for a scoped credential
that lives a short time.

  Try it:            cambio demo
  Run a gateway:     cambio serve --config cambio.yaml
  From a workload:   cambio exchange --server https://id.acme.example --to orders-api
  Why was I denied:  cambio audit show DECISION_ID        (on the gateway)
                     cambio trust explain --provider github --to orders-api --claims claims.json
  Review a policy:   cambio trust check ./trust; cambio trust diff main

Exit status: 0 ok, 1 error, 2 usage, 3 invalid configuration or documents,
4 no identity found, 6 denied, 7 try again, 8 too many requests,
9 the doctor found a problem.`

func newRoot(io *stdio) (*cobra.Command, *common) {
	c := &common{io: io}
	version := false
	root := &cobra.Command{
		Use:           "cambio",
		Short:         "A workload identity federation gateway",
		Long:          rootHelp,
		SilenceErrors: true,
		SilenceUsage:  true,
		Args:          cobra.ArbitraryArgs, // as for every group
		RunE: func(cmd *cobra.Command, args []string) error {
			if version && len(args) == 0 {
				return c.printVersion()
			}
			return helpOnly(cmd, args)
		},
	}
	root.Flags().BoolVar(&version, "version", false, "show the version")
	root.SetIn(io.in)
	root.SetOut(io.out)
	root.SetErr(io.err)
	root.SetFlagErrorFunc(func(cmd *cobra.Command, err error) error {
		return &failure{code: exitUsage, err: err, next: cmd.CommandPath() + " --help"}
	})
	config := io.getenv("CAMBIO_CONFIG")
	if config == "" {
		config = "cambio.yaml"
	}
	flags := root.PersistentFlags()
	flags.StringVar(&c.config, "config", config, "configuration file (CAMBIO_CONFIG)")
	flags.StringVarP(&c.output, "output", "o", "text", "text or json; each command's help says where it is another")
	offer(root, "output", completeOutput)
	root.AddCommand(
		serveCommand(c), demoCommand(c),
		exchangeCommand(c), execCommand(c), whoamiCommand(c),
		trustCommand(c), connectCommand(c), auditCommand(c), keysCommand(c), stopCommand(c),
		configCommand(c), doctorCommand(c), versionCommand(c),
	)
	root.InitDefaultCompletionCmd()
	root.InitDefaultHelpCmd()
	for _, cmd := range root.Commands() { // the library's own two know no exit status for a mistake
		switch cmd.Name() {
		case "completion":
			cmd.Args, cmd.RunE = cobra.ArbitraryArgs, helpOnly
		case "help":
			cmd.Args = helpTopic
		}
	}
	return root, c
}

// group is a command that only holds others; an unknown one is a mistake, not a
// request for help.
func group(use, short string, children ...*cobra.Command) *cobra.Command {
	g := &cobra.Command{Use: use, Short: short, RunE: helpOnly}
	g.AddCommand(children...)
	return g
}

func helpOnly(cmd *cobra.Command, args []string) error {
	if len(args) == 0 {
		return cmd.Help()
	}
	next := cmd.CommandPath() + " --help"
	cmd.SuggestionsMinimumDistance = 2 // zero finds prefixes only; two is a letter left out, or two swapped
	if near := cmd.SuggestionsFor(args[0]); len(near) > 0 {
		next = "did you mean " + cmd.CommandPath() + " " + near[0] + "?"
	}
	return &failure{code: exitUsage, err: fmt.Errorf("unknown command %q for %q", args[0], cmd.CommandPath()), next: next}
}

// helpTopic takes the name of a command.
func helpTopic(cmd *cobra.Command, args []string) error {
	found, rest, err := cmd.Root().Find(args)
	switch {
	case err != nil:
		return usage("%v", err)
	case len(rest) > 0:
		return helpOnly(found, rest)
	}
	return nil
}

// noArgs refuses arguments with a next step.
func noArgs(cmd *cobra.Command, args []string) error { return exactly()(cmd, args) }

// exactly takes one argument for each name.
func exactly(names ...string) cobra.PositionalArgs {
	return func(cmd *cobra.Command, args []string) error {
		if len(args) == len(names) {
			return nil
		}
		next := cmd.CommandPath() + " --help"
		if len(args) > len(names) {
			return &failure{code: exitUsage, err: fmt.Errorf("unexpected argument %q", args[len(names)]), next: next}
		}
		return &failure{code: exitUsage, err: fmt.Errorf("missing argument: %s", strings.Join(names[len(args):], " ")), next: next}
	}
}

// optionalDir takes one folder, or none.
func optionalDir(cmd *cobra.Command, args []string) error {
	if len(args) == 0 {
		return nil
	}
	return exactly("DIR")(cmd, args)
}

// checkOutput refuses an --output that the command does not have.
func (c *common) checkOutput(allowed ...string) error {
	if slices.Contains(allowed, c.output) {
		return nil
	}
	return usage("--output %s: this command has %s", c.output, strings.Join(allowed, ", "))
}

// load reads the configuration. Warnings go to stderr; errors are returned all
// at once.
func (c *common) load() (gateway.Config, error) {
	src, err := c.io.readFile(c.config)
	if err != nil {
		return gateway.Config{}, &failure{
			code: exitInvalid, err: fmt.Errorf("configuration %s: %w", c.config, unwrapPath(err)),
			next: "name the file with --config or CAMBIO_CONFIG; `cambio demo` needs none",
		}
	}
	config, findings := gateway.ParseConfig(c.config, src, c.io.lookup, c.io.readFile)
	if findings.HasErrors() {
		return gateway.Config{}, findings
	}
	for _, f := range findings {
		c.io.say("%s", f)
	}
	if c.folder != "" {
		config.Trust = c.folder
	}
	return config, nil
}

// folderFlag lets a command that asks about documents ask a proposal. Others take
// the folder as their argument; with --trust a caller names one trust.
func (c *common) folderFlag(cmd *cobra.Command) {
	cmd.Flags().Func("dir", "documents below this `folder` in place of the configuration's", func(folder string) error {
		if folder == "" { // of a variable that is not set
			return errors.New("it names no folder")
		}
		c.folder = folder
		return nil
	})
	_ = cmd.MarkFlagDirname("dir") // it is there
}

// unwrapPath drops the path that an error about a file repeats.
func unwrapPath(err error) error {
	if inner := errors.Unwrap(err); inner != nil {
		return inner
	}
	return err
}

// count is a number with its noun.
func count[N int | int64](n N, noun string) string {
	if n != 1 {
		noun += "s"
	}
	return fmt.Sprintf("%d %s", n, noun)
}

// lines writes to stdout, which is data.
func lines(w io.Writer, format string, args ...any) error {
	_, err := fmt.Fprintf(w, format+"\n", args...)
	return err
}

// writeJSON writes an answer to stdout as programs read it; conditions keep their
// && and <, as nothing here ends up in a page.
func (c *common) writeJSON(v any) error {
	enc := json.NewEncoder(c.io.out)
	enc.SetEscapeHTML(false)
	enc.SetIndent("", "  ")
	return enc.Encode(v)
}

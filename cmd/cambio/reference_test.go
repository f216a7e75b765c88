package main

import (
	"context"
	"fmt"
	"os"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/spf13/cobra"
)

const referenceFile = "../../docs/reference/cli.md"

// TestReference keeps docs/reference/cli.md at what the commands say of
// themselves. UPDATE=1 writes it.
func TestReference(t *testing.T) {
	none := func(string) string { return "" }
	root, _ := newRoot(&stdio{getenv: none, lookup: func(string) (string, bool) { return "", false }})
	root.SetContext(context.Background())
	var b strings.Builder
	b.WriteString("# Commands\n\nMade from the program itself by `make golden`; `cambio COMMAND --help` says the same. See also the [exit status](exit-codes.md).\n\nStandard output is data, everything for people goes to standard error. Tokens come by file, standard input or environment, never by a flag's value.\n")
	b.WriteString("\n## Environment\n\n| variable | meaning |\n| --- | --- |\n")
	for _, v := range environment() {
		fmt.Fprintf(&b, "| `%s` | %s |\n", v[0], v[1])
	}
	fmt.Fprintf(&b, "\n## Flags of every command\n\n```text\n%s```\n", root.PersistentFlags().FlagUsages())
	writeCommands(&b, root)
	if os.Getenv("UPDATE") != "" {
		if err := os.WriteFile(referenceFile, []byte(b.String()), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	have, err := os.ReadFile(referenceFile)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(b.String(), string(have)); diff != "" {
		t.Errorf("%s is not what the commands say; run make golden (-want +have)\n%s", referenceFile, diff)
	}
}

// environment are the variables that the program looks at.
func environment() [][2]string {
	return [][2]string{
		{"CAMBIO_CONFIG", "as `--config`"},
		{"CAMBIO_SERVER", "as `--server`"},
		{"CAMBIO_TOKEN", "the workload's token"},
		{"CAMBIO_TOKEN_FILE", "file that holds it"},
		{"CAMBIO_AWS_IDENTITY", "`1`: show the role of AWS whose keys are in the environment, before all but the two above; `0`: never show one"},
		{"GITHUB_ACTIONS", "with `ACTIONS_ID_TOKEN_REQUEST_URL` and `ACTIONS_ID_TOKEN_REQUEST_TOKEN`: set by GitHub in a job"},
		{"GITLAB_CI", "as `CIRCLECI`, `BUILDKITE`, `BITBUCKET_BUILD_NUMBER`, `TF_BUILD`, `TFC_RUN_ID`, `TF_VAR_spacelift_run_id`, `ENV0_ENVIRONMENT_ID`, `CF_BUILD_ID`, `SEMAPHORE`, `VERCEL`, `FLY_MACHINE_ID`: set by a platform in a workload of its own, with what leads to the token"},
		{"IDENTITY_ENDPOINT", "with `IDENTITY_HEADER`: set by a service of Azure; `AZURE_CLIENT_ID` chooses among several identities"},
		{"GCE_METADATA_HOST", "another metadata server, as Google's own clients have it"},
		{"AZURE_POD_IDENTITY_AUTHORITY_HOST", "another metadata server, as Azure's own clients have it"},
		{"NO_COLOR", "no colour on a terminal; so does `TERM=dumb`"},
	}
}

func writeCommands(b *strings.Builder, parent *cobra.Command) {
	for _, c := range parent.Commands() {
		if c.Hidden || c.Name() == "help" || c.Name() == "completion" {
			continue
		}
		if c.HasSubCommands() {
			writeCommands(b, c)
			continue
		}
		fmt.Fprintf(b, "\n## cambio %s\n\n%s.\n\n```text\n%s\n```\n", strings.TrimPrefix(c.CommandPath(), "cambio "), c.Short, c.UseLine())
		if c.Long != "" {
			fmt.Fprintf(b, "\n```text\n%s\n```\n", strings.TrimSpace(c.Long))
		}
		if c.Example != "" {
			fmt.Fprintf(b, "\nFor example:\n\n```text\n%s\n```\n", strings.TrimRight(c.Example, "\n"))
		}
		if c.LocalNonPersistentFlags().HasAvailableFlags() {
			fmt.Fprintf(b, "\n```text\n%s```\n", c.LocalNonPersistentFlags().FlagUsages())
		}
	}
}

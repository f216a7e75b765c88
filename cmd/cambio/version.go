package main

import (
	"encoding/json"
	"runtime"
	"runtime/debug"

	"github.com/spf13/cobra"
)

func versionCommand(c *common) *cobra.Command {
	return &cobra.Command{
		Use:   "version",
		Short: "Show the version",
		Args:  noArgs,
		RunE:  func(*cobra.Command, []string) error { return c.printVersion() },
	}
}

func (c *common) printVersion() error {
	if err := c.checkOutput("text", "json"); err != nil {
		return err
	}
	v := buildVersion()
	if c.json() {
		return json.NewEncoder(c.io.out).Encode(map[string]string{"version": v, "go": runtime.Version()})
	}
	return lines(c.io.out, "cambio %s (%s)", v, runtime.Version())
}

// buildVersion is the module's version as the Go command stamped it.
func buildVersion() string {
	info, ok := debug.ReadBuildInfo()
	if !ok || info.Main.Version == "" {
		return "(devel)"
	}
	return info.Main.Version
}

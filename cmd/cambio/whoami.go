package main

import (
	"encoding/json"
	"maps"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"cambio/client"
)

func whoamiCommand(c *common) *cobra.Command {
	a := &ask{c: c}
	cmd := &cobra.Command{
		Use:   "whoami",
		Short: "Show the identity that this workload would present",
		Long: `Finds the ambient identity as "cambio exchange" does, fetches a token, and shows
where it came from and what it claims. The token itself is not shown and not
sent; its signature is not checked, and no nonce is asked for. Without --server
and --audience it is for the platform's default audience.`,
		Args: noArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if err := c.checkOutput("text", "json"); err != nil {
				return err
			}
			if a.server != "" {
				if err := checkServer(a.server); err != nil {
					return err
				}
			}
			source, err := a.detect(cmd.Context())
			if err != nil {
				return err
			}
			audience := a.audience
			if audience == "" {
				audience = strings.TrimRight(a.server, "/")
			}
			if audience == "" && source.PerAudience && !c.json() {
				c.io.say("without --server or --audience this shows the platform's default audience, which a gateway may not take")
			}
			token, err := source.Token(cmd.Context(), audience)
			if err != nil {
				return err
			}
			claims, err := client.Unverified(token)
			if err != nil {
				return err
			}
			return c.printIdentity(source.Name, claims)
		},
	}
	a.serverFlags(cmd)
	return cmd
}

// shownClaims takes the claims out of what whoami prints with --output json. What
// has another form is left as it is: claims by themselves.
func shownClaims(data []byte) []byte {
	var shown map[string]json.RawMessage
	if json.Unmarshal(data, &shown) != nil || len(shown) != 3 || shown["source"] == nil || shown["signature"] == nil || shown["claims"] == nil {
		return data
	}
	return shown["claims"]
}

func (c *common) printIdentity(source string, claims map[string]any) error {
	if c.json() {
		return c.writeJSON(map[string]any{"source": source, "claims": claims, "signature": "not checked"})
	}
	if err := lines(c.io.out, "%s (signature not checked)", source); err != nil {
		return err
	}
	for _, name := range slices.Sorted(maps.Keys(claims)) {
		value, err := json.Marshal(claims[name])
		if err != nil {
			return err
		}
		if err := lines(c.io.out, "  %-24s %s", name, value); err != nil {
			return err
		}
	}
	return nil
}

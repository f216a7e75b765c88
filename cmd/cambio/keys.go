package main

import (
	"crypto/rand"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"slices"
	"text/tabwriter"
	"time"

	"github.com/spf13/cobra"

	"cambio/keystore"
)

func keysCommand(c *common) *cobra.Command {
	return group("keys", "List, rotate and revoke the issuer's signing keys",
		keysListCommand(c), keysRotateCommand(c), keysRevokeCommand(c))
}

// keys opens the key store of the configuration.
func (c *common) keys() (*keystore.Files, error) {
	config, err := c.load()
	if err != nil {
		return nil, err
	}
	return keystore.NewFiles(config.Keys, slog.New(slog.NewTextHandler(c.io.err, nil))), nil
}

func keysListCommand(c *common) *cobra.Command {
	return &cobra.Command{
		Use:   "list",
		Short: "List the keys: next, active and retired",
		Args:  noArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if err := c.checkOutput("text", "json"); err != nil {
				return err
			}
			store, err := c.keys()
			if err != nil {
				return err
			}
			ring, err := store.Load(cmd.Context())
			if errors.Is(err, keystore.ErrNoKeys) {
				return noKeys()
			}
			if err != nil {
				return err
			}
			return c.printKeys(keystore.Rows(ring), ring.RotatableAt())
		},
	}
}

func noKeys() error {
	return &failure{code: exitError, err: errors.New("there are no keys yet"), next: "the first `cambio serve` makes them"}
}

func (c *common) printKeys(rows []keystore.Row, rotatable time.Time) error {
	if c.json() {
		enc := json.NewEncoder(c.io.out)
		enc.SetIndent("", "  ")
		return enc.Encode(map[string]any{"keys": rows, "rotatable_at": rotatable})
	}
	w := tabwriter.NewWriter(c.io.out, 0, 4, 2, ' ', 0)
	if err := lines(w, "KID\tALG\tSTATE\tPUBLISHED\tNOTE"); err != nil {
		return err
	}
	for _, row := range rows {
		note := ""
		switch row.State {
		case "next":
			note = "may sign from " + stamp(row.SignsFrom)
		case "active":
			note = "signs since " + stamp(row.Activated)
		case "retired":
			note = "published until " + stamp(row.PublishedUntil)
		}
		if err := lines(w, "%s\t%s\t%s\t%s\t%s", row.KID, row.Alg, row.State, stamp(row.Published), note); err != nil {
			return err
		}
	}
	return w.Flush()
}

func stamp(t time.Time) string { return t.UTC().Format(time.RFC3339) }

func keysRotateCommand(c *common) *cobra.Command {
	var force bool
	cmd := &cobra.Command{
		Use:   "rotate",
		Short: "Let the next keys sign, and publish new next keys",
		Long: `The next key of each algorithm becomes active, the active one is retired and stays
published until nothing that it signed can be valid, and a new next key is
published. A running gateway follows within 60 s.

A next key signs only after it was published for 24 h: clouds fetch a key set
when they like, and would refuse what an unknown key signed.`,
		Args: noArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if err := c.checkOutput("text", "json"); err != nil {
				return err
			}
			store, err := c.keys()
			if err != nil {
				return err
			}
			ring, err := store.Rotate(cmd.Context(), c.io.now(), rand.Reader, force)
			if soon := (*keystore.TooSoonError)(nil); errors.As(err, &soon) {
				return &failure{code: exitRetry, err: err, next: "rotate again after " + stamp(soon.Until) + ", or --force if relying parties surely fetch the key set anew"}
			}
			if errors.Is(err, keystore.ErrNoKeys) {
				return noKeys()
			}
			if err != nil {
				return err
			}
			c.io.say("rotated; running gateways follow within 60 s, the next rotation is possible from %s", stamp(ring.RotatableAt()))
			return c.printKeys(keystore.Rows(ring), ring.RotatableAt())
		},
	}
	cmd.Flags().BoolVar(&force, "force", false, "also with a next key that was published for less than 24 h")
	return cmd
}

func keysRevokeCommand(c *common) *cobra.Command {
	return &cobra.Command{
		Use:   "revoke KID",
		Short: "Take a key out of the key set at once",
		Long: `The key leaves the key set within 60 s on every gateway; if it was active, the next
key takes over at once. What it signed is refused by each relying party as soon
as that one fetches the key set anew; the command says until when that may take.`,
		Args: exactly("KID"),
		RunE: func(cmd *cobra.Command, args []string) error {
			if err := c.checkOutput("text", "json"); err != nil {
				return err
			}
			config, err := c.load()
			if err != nil {
				return err
			}
			store := keystore.NewFiles(config.Keys, slog.New(slog.NewTextHandler(c.io.err, nil)))
			left, err := store.Revoke(cmd.Context(), args[0], c.io.now(), rand.Reader)
			if errors.Is(err, keystore.ErrUnknownKey) {
				return &failure{code: exitError, err: fmt.Errorf("no key %s", args[0]), next: "cambio keys list"}
			}
			if err != nil {
				return err
			}
			return c.printAftermath(aftermath{
				Revoked: args[0], Unpublished: left.Unpublished, Accepted: left.KeySets, Honest: left.Tokens,
				targets: slices.Sorted(maps.Keys(config.Targets)),
			})
		},
	}
}

// aftermath is what a revocation does not end at once.
type aftermath struct {
	Revoked     string
	Unpublished time.Time // out of every gateway's key set
	Accepted    time.Time // by a relying party that follows our max-age
	Honest      time.Time // when the last token that it rightly signed ends
	targets     []string
}

// printAftermath tells for each target until when the key may still be accepted:
// a revocation that looks immediate and is not would be a dishonest kill switch.
func (c *common) printAftermath(a aftermath) error {
	if c.json() {
		until := map[string]time.Time{}
		for _, t := range a.targets {
			until[t] = a.Accepted
		}
		return json.NewEncoder(c.io.out).Encode(map[string]any{
			"revoked": a.Revoked, "unpublished_by": a.Unpublished, "accepted_until": until, "honest_tokens_end": a.Honest,
		})
	}
	if err := lines(c.io.out, "revoked %s; out of the key set on every gateway by %s", a.Revoked, stamp(a.Unpublished)); err != nil {
		return err
	}
	for _, t := range a.targets {
		if err := lines(c.io.out, "  %s: may accept it until %s, if it follows our max-age of 300 s; one that does not, until it fetches the keys anew", t, stamp(a.Accepted)); err != nil {
			return err
		}
	}
	return lines(c.io.out, "  a relying party that checks the key only once honours its tokens until %s", stamp(a.Honest))
}

package main

import (
	"context"
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

	"cambio/issuer"
	"cambio/keystore"
)

func keysCommand(c *common) *cobra.Command {
	return group("keys", "List, rotate and revoke the issuer's signing keys",
		keysListCommand(c), keysRotateCommand(c), keysRevokeCommand(c))
}

// keyRow is one key, as it is shown.
type keyRow struct {
	KID            string       `json:"kid"`
	Alg            issuer.Alg   `json:"alg"`
	State          issuer.State `json:"state"`
	Published      time.Time    `json:"published"`
	Activated      time.Time    `json:"activated,omitzero"`
	Retired        time.Time    `json:"retired,omitzero"`
	SignsFrom      time.Time    `json:"signs_from,omitzero"`
	PublishedUntil time.Time    `json:"published_until,omitzero"`
}

func rowsOf(r issuer.Ring) []keyRow {
	rows := make([]keyRow, len(r.Keys))
	for i, k := range r.Keys {
		rows[i] = keyRow{k.KID, k.Alg, k.State, k.Published, k.Activated, k.Retired, k.SignsFrom(), k.PublishedUntil()}
	}
	return rows
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
			if errors.Is(err, issuer.ErrNoKeys) {
				return &failure{code: exitError, err: errors.New("there are no keys yet"), next: "the first `cambio serve` makes them"}
			}
			if err != nil {
				return err
			}
			return c.printRing(ring)
		},
	}
}

func (c *common) printRing(r issuer.Ring) error {
	if c.json() {
		enc := json.NewEncoder(c.io.out)
		enc.SetIndent("", "  ")
		return enc.Encode(map[string]any{"keys": rowsOf(r), "rotatable_at": r.RotatableAt()})
	}
	w := tabwriter.NewWriter(c.io.out, 0, 4, 2, ' ', 0)
	if err := lines(w, "KID\tALG\tSTATE\tPUBLISHED\tNOTE"); err != nil {
		return err
	}
	for _, row := range rowsOf(r) {
		note := ""
		switch row.State {
		case issuer.Next:
			note = "may sign from " + stamp(row.SignsFrom)
		case issuer.Active:
			note = "signs since " + stamp(row.Activated)
		case issuer.Retired:
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
			store, err := c.keys()
			if err != nil {
				return err
			}
			now := c.io.now()
			ring, err := store.Update(cmd.Context(), func(r issuer.Ring) (issuer.Ring, error) {
				if len(r.Keys) == 0 {
					return issuer.Ring{}, issuer.ErrNoKeys
				}
				return issuer.Rotate(issuer.Prune(r, now), now, rand.Reader, force)
			})
			if soon := (*issuer.TooSoonError)(nil); errors.As(err, &soon) {
				return &failure{code: exitRetry, err: err, next: "rotate again after " + stamp(soon.Until) + ", or --force if relying parties surely fetch the key set anew"}
			}
			if err != nil {
				return err
			}
			c.io.say("rotated; running gateways follow within 60 s, the next rotation is possible from %s", stamp(ring.RotatableAt()))
			return c.printRing(ring)
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
			now := c.io.now()
			store := keystore.NewFiles(config.Keys, slog.New(slog.NewTextHandler(c.io.err, nil)))
			if err := revoke(cmd.Context(), store, args[0], now); err != nil {
				return err
			}
			return c.printAftermath(args[0], slices.Sorted(maps.Keys(config.Targets)), issuer.AfterRevoke(now))
		},
	}
}

func revoke(ctx context.Context, store *keystore.Files, kid string, now time.Time) error {
	_, err := store.Update(ctx, func(r issuer.Ring) (issuer.Ring, error) {
		return issuer.Revoke(r, kid, now, rand.Reader)
	})
	if errors.Is(err, issuer.ErrUnknownKey) {
		return &failure{code: exitError, err: fmt.Errorf("no key %s", kid), next: "cambio keys list"}
	}
	return err
}

// printAftermath tells for each target until when the key may still be accepted:
// a revocation that looks immediate and is not would be a dishonest kill switch.
func (c *common) printAftermath(kid string, targets []string, a issuer.Aftermath) error {
	if c.json() {
		until := map[string]time.Time{}
		for _, t := range targets {
			until[t] = a.KeySets
		}
		return json.NewEncoder(c.io.out).Encode(map[string]any{
			"revoked": kid, "unpublished_by": a.Unpublished, "accepted_until": until, "honest_tokens_end": a.Tokens,
		})
	}
	if err := lines(c.io.out, "revoked %s; out of the key set on every gateway by %s", kid, stamp(a.Unpublished)); err != nil {
		return err
	}
	for _, t := range targets {
		if err := lines(c.io.out, "  %s: may accept it until %s, if it follows our max-age of 300 s; one that does not, until it fetches the keys anew", t, stamp(a.KeySets)); err != nil {
			return err
		}
	}
	return lines(c.io.out, "  a relying party that checks the key only once honours its tokens until %s", stamp(a.Tokens))
}

package main

import (
	"crypto/rand"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"text/tabwriter"
	"time"

	"github.com/spf13/cobra"

	"cambio/gateway"
	"cambio/keystore"
)

func keysCommand(c *common) *cobra.Command {
	return group("keys", "List, rotate, revoke, import and publish the issuer's signing keys",
		keysListCommand(c), keysRotateCommand(c), keysRevokeCommand(c), keysImportCommand(c), keysPublishCommand(c))
}

// keys opens the key store of the configuration.
func (c *common) keys() (*keystore.Files, error) {
	config, err := c.load()
	if err != nil {
		return nil, err
	}
	return c.store(config), nil
}

func (c *common) store(config gateway.Config) *keystore.Files {
	return keystore.NewFiles(config.Keys, slog.New(slog.NewTextHandler(c.io.err, nil)))
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
		return c.writeJSON(map[string]any{"keys": rows, "rotatable_at": rotatable})
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
		if row.Signer != "" {
			note += ", in " + row.Signer
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
when they like, and would refuse what an unknown key signed. For the same reason
the key set at ISSUER/keys is fetched first, and must show the next keys. If it
cannot be fetched, this is refused where "cambio keys publish" was ever used, and
a warning elsewhere: then the gateway itself shows them.

An algorithm whose active key is in a KMS gets no new next key, as one in software
would be a step down: bring the next one with "cambio keys import" a day before.`,
		Args: noArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if err := c.checkOutput("text", "json"); err != nil {
				return err
			}
			config, err := c.load()
			if err != nil {
				return err
			}
			store := c.store(config)
			ring, err := store.Load(cmd.Context())
			if errors.Is(err, keystore.ErrNoKeys) {
				return noKeys()
			}
			if err != nil {
				return err
			}
			// When it is too soon anyway, that is what to say. What is rotated below is
			// this ring: another rotation in between leaves next keys that are too young.
			if at := ring.RotatableAt(); !force && !at.IsZero() && !c.io.now().Before(at) {
				if err := c.checkShown(cmd.Context(), store, config.Issuer, ring); err != nil {
					return err
				}
			}
			ring, err = store.Rotate(cmd.Context(), c.io.now(), rand.Reader, force)
			if soon := (*keystore.TooSoonError)(nil); errors.As(err, &soon) {
				return &failure{code: exitRetry, err: err, next: "rotate again after " + stamp(soon.Until) + ", or --force if relying parties surely fetch the key set anew"}
			}
			if errors.Is(err, keystore.ErrNoNext) {
				return &failure{code: exitError, err: err, next: "cambio keys import URI, and rotate a day later"}
			}
			if err != nil {
				return err
			}
			if at := ring.RotatableAt(); at.IsZero() {
				c.io.say("rotated; running gateways follow within 60 s; the next rotation needs a next key in the KMS: cambio keys import URI")
			} else {
				c.io.say("rotated; running gateways follow within 60 s, the next rotation is possible from %s", stamp(at))
			}
			if err := c.remindCopy(store); err != nil {
				return err
			}
			return c.printKeys(keystore.Rows(ring), ring.RotatableAt())
		},
	}
	cmd.Flags().BoolVar(&force, "force", false, "also with a next key that was published for less than 24 h, or that the public key set does not show")
	return cmd
}

func keysRevokeCommand(c *common) *cobra.Command {
	var generate bool
	cmd := &cobra.Command{
		Use:   "revoke KID",
		Short: "Take a key out of the key set at once",
		Long: `The key leaves the key set within 60 s on every gateway; if it was active, the next
key takes over at once. What it signed is refused by each relying party as soon
as that one fetches the key set anew; the command says until when that may take.

An active key in a KMS with no next key is not revoked, for what took over would
be in software: import one first, or say --generate.`,
		Args: exactly("KID"),
		RunE: func(cmd *cobra.Command, args []string) error {
			if err := c.checkOutput("text", "json"); err != nil {
				return err
			}
			config, err := c.load()
			if err != nil {
				return err
			}
			store := c.store(config)
			revoke := store.Revoke
			if generate {
				revoke = store.RevokeAnyway
			}
			left, err := revoke(cmd.Context(), args[0], c.io.now(), rand.Reader)
			if errors.Is(err, keystore.ErrUnknownKey) {
				return &failure{code: exitError, err: fmt.Errorf("no key %s", args[0]), next: "cambio keys list"}
			}
			if errors.Is(err, keystore.ErrNoNext) {
				return &failure{code: exitError, err: err, next: "cambio keys import URI and revoke then, or --generate: a new key in software takes over"}
			}
			if err != nil {
				return err
			}
			if err := c.remindCopy(store); err != nil {
				return err
			}
			return c.printAftermath(aftermath{
				Revoked: args[0], Unpublished: left.Unpublished, Accepted: left.KeySets, Honest: left.Tokens,
				targets: config.Signed(),
			})
		},
	}
	cmd.Flags().BoolVar(&generate, "generate", false, "where no next key is there to take over, make one in software")
	return cmd
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

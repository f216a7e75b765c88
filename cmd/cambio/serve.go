package main

import (
	"crypto/rand"
	"errors"
	"fmt"
	"log/slog"
	"net"

	"github.com/spf13/cobra"

	"cambio/gateway"
)

func serveCommand(c *common) *cobra.Command {
	return &cobra.Command{
		Use:   "serve",
		Short: "Run the gateway",
		Long: `Runs the gateway until it is told to end, then answers what is under way and stops.

Standard output gets the journal's signed checkpoints, one JSON object a line:
keep it, and "cambio audit verify --upto FILE" finds a journal whose end was cut.
Standard error gets the log.`,
		Args: noArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			config, err := c.load()
			if err != nil {
				return err
			}
			log := slog.New(slog.NewTextHandler(c.io.err, nil))
			g, err := gateway.Open(cmd.Context(), config, gateway.Env{
				Now: c.io.now, Rand: rand.Reader, Log: log, Checkpoints: c.io.out,
			})
			if err != nil {
				return refusedStart(config, err)
			}
			err = g.Serve(cmd.Context(), func() {
				log.InfoContext(cmd.Context(), "ready", slog.String("issuer", config.Issuer), slog.String("replica", g.Replica()),
					slog.Int("identity_providers", len(config.IdentityProviders)), slog.Int("targets", len(config.Targets)))
			})
			return errors.Join(notListening(err), g.Close())
		},
	}
}

// notListening gives the error of a listener its next step.
func notListening(err error) error {
	if op := (*net.OpError)(nil); errors.As(err, &op) && op.Op == "listen" {
		return &failure{code: exitError, err: err, next: "end what listens there, or name another address under listen: or admin_listen:"}
	}
	return err
}

// refusedStart gives the error of a refused start its exit code and next step.
func refusedStart(config gateway.Config, err error) error {
	switch {
	case errors.Is(err, gateway.ErrStateLocked):
		return &failure{code: exitError, err: err, next: "end the other process, or name another state folder"}
	case errors.Is(err, gateway.ErrStateFormat):
		return &failure{code: exitError, err: err, next: "run the version of cambio that wrote it, or name another state folder"}
	case gateway.IsKeyFault(err):
		return &failure{code: exitInvalid, err: fmt.Errorf("%s: %w", config.Keys, err), next: "cambio config check"}
	}
	return err
}

// Command cambio is a workload identity federation gateway, and the tool to run
// it: see `cambio help`.
package main

import (
	"context"
	"log/slog"
	"os"
	"os/signal"
	"syscall"

	"github.com/redis/go-redis/v9"
)

func main() {
	// Our own log is handed on from here. What a library says to the default
	// logger is shown only when something is wrong.
	slog.SetDefault(slog.New(slog.NewTextHandler(os.Stderr, &slog.HandlerOptions{Level: slog.LevelWarn})))
	redis.SetLogger(quiet{})
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	code := run(ctx, systemIO(), os.Args[1:])
	stop()
	os.Exit(code)
}

// quiet is the Redis client's own logger: what it says of connections, the stores
// say too, once, and with what it means.
type quiet struct{}

// Printf says nothing.
func (quiet) Printf(context.Context, string, ...any) {}

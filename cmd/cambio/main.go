// Command cambio is a workload identity federation gateway, and the tool to run
// it: see `cambio help`.
package main

import (
	"context"
	"os"
	"os/signal"
	"syscall"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	code := run(ctx, systemIO(), os.Args[1:])
	stop()
	os.Exit(code)
}

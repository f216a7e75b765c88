// Command bench measures the gateway against what cannot be avoided: see `make
// bench`. It drives the real server over loopback HTTP, with its state on a real
// disk, and each server runs in a process of its own, so that the client's work
// is not counted as the server's.
//
// Four servers take turns with the same fresh tokens, round by round, because a
// machine is never equally fast twice: the gateway, the gateway with a Redis (whose
// own work is not counted), a bare handler (our web, identify and sign path with
// judge, reserve and commit cut out), and HTTP alone. Then come exchanges for AWS,
// with a stand-in for its Security Token Service, beside the SDK's bare call.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/signal"
	"path/filepath"
	"syscall"
)

// Where the servers keep their state, and where the figures go: below the
// current folder, which is on the disk that counts.
const (
	workDir    = "bench.tmp"
	resultFile = "bench.json"
)

// The gates.
const (
	maxBareRatio     = 1.3  // CPU over the bare handler's, at 64 connections
	maxRedisRatio    = 1.15 // CPU with Redis over that without, at 64 connections
	goalFloorRatio   = 0.6  // floor CPU over ours, reported either way
	maxDecisionRatio = 1.5  // 100,000 trusts over 10
	maxStartSeconds  = 2.0  // with 10,000 trusts
	maxManySeconds   = 1.0  // with 1,000 identity providers
	maxManyFlights   = 32   // fetches at once, of all providers together
	maxResidentMB    = 60   // with 1,000 trusts and 100,000 remembered tokens
)

// errGate says that a figure is beyond what was promised.
var errGate = errors.New("a gate failed")

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	err := run(ctx, os.Args[1:], os.Stdout)
	stop()
	if err != nil {
		fmt.Fprintln(os.Stderr, "bench:", err)
		os.Exit(1)
	}
}

func run(ctx context.Context, args []string, out io.Writer) error {
	if len(args) > 0 && args[0] == serverCommand {
		return serve(ctx, args[1:], os.Stdin, out)
	}
	flags := flag.NewFlagSet("bench", flag.ContinueOnError)
	profiles := flags.String("profile", "", "write CPU and allocation profiles of the gateway, without and with Redis, to this `folder`")
	if err := flags.Parse(args); err != nil {
		return err
	}
	dir, err := workFolder()
	if err != nil {
		return err
	}
	defer os.RemoveAll(dir) //nolint:errcheck // what stays is removed by the next run
	return measure(ctx, dir, *profiles, out)
}

// workFolder makes an empty folder for the state. It refuses one in memory: an
// fsync there costs nothing, and a third of the figures would be fiction.
func workFolder() (string, error) {
	dir, err := filepath.Abs(workDir)
	if err != nil {
		return "", err
	}
	if err := os.RemoveAll(dir); err != nil {
		return "", err
	}
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return "", err
	}
	if err := checkDisk(dir); err != nil {
		return "", errors.Join(err, os.Remove(dir))
	}
	return dir, nil
}

// measure runs all parts and reports them.
func measure(ctx context.Context, dir, profiles string, out io.Writer) error {
	b, err := newBench(dir)
	if err != nil {
		return err
	}
	fmt.Fprintf(out, "exchanges: embedded, redis, bare and floor in turns, fresh tokens of %d bytes (RS256 in, ES256 out)\n", len(b.provider.sample))
	f := newFigures()
	if err := b.exchanges(ctx, profiles, f); err != nil {
		return fmt.Errorf("exchanges: %w", err)
	}
	f.printExchanges(out)
	if err := b.cloud(ctx, f); err != nil {
		return fmt.Errorf("the way to AWS: %w", err)
	}
	f.printCloud(out)
	if err := b.footprint(ctx, f); err != nil {
		return fmt.Errorf("start and memory: %w", err)
	}
	f.printFootprint(out)
	if err := b.many(ctx, f); err != nil {
		return fmt.Errorf("many identity providers: %w", err)
	}
	f.printMany(out)
	if err := decisions(b, f); err != nil {
		return fmt.Errorf("decisions: %w", err)
	}
	f.printDecisions(out)
	if err := b.tools(ctx, f); err != nil {
		return fmt.Errorf("the tools for trust documents: %w", err)
	}
	f.printTools(out)
	if err := f.write(resultFile); err != nil {
		return err
	}
	if !f.printGates(out) {
		return errGate
	}
	return nil
}

package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"time"
)

// plan is how many rounds of how many tokens are driven over each number of
// connections. Signing the tokens takes longer than showing them.
func plan() []struct{ connections, rounds, tokens int } {
	return []struct{ connections, rounds, tokens int }{{1, 4, 1000}, {16, 5, 2000}, {64, 15, 1600}}
}

// total adds up the rounds of one server at one number of connections.
type total struct {
	exchanges int
	cpu       time.Duration
	rounds    []float64 // CPU of an exchange in each round
	mallocs   uint64
	elapsed   time.Duration
	times     []time.Duration
	resident  int64
}

func (t *total) cpuEach() float64 {
	return float64(t.cpu) / float64(time.Microsecond) / float64(t.exchanges)
}

// ratio is the CPU of t over other's, round by round, of which the median
// counts: the two took turns within a second, and what disturbed one round for
// one of them does not count.
func (t *total) ratio(other *total) float64 {
	ratios := make([]float64, len(t.rounds))
	for i := range ratios {
		ratios[i] = t.rounds[i] / other.rounds[i]
	}
	return quantile(ratios, 0.5)
}

// load is the state of the part that measures exchanges.
type load struct {
	b       *bench
	servers map[string]*process
	checks  map[string]*checker // of the servers whose answers are checked
	redis   *redisServer
	parts   *parts
	verify  []time.Duration
	sign    []time.Duration
	fsync   []time.Duration
	checked int
}

// inTurns are the servers that are measured round by round.
func inTurns() []string { return []string{embedded, withRedis, bare, floor} }

// exchanges measures the servers in turns.
func (b *bench) exchanges(ctx context.Context, profiles string, f *figures) error {
	l := &load{b: b, servers: map[string]*process{}, checks: map[string]*checker{}}
	defer l.end()
	if err := l.start(ctx); err != nil {
		return err
	}
	if err := l.profile("profile", profiles); err != nil {
		return err
	}
	for _, p := range plan() {
		totals := map[string]*total{}
		for _, name := range inTurns() {
			totals[name] = &total{}
		}
		for i := range p.rounds {
			if err := l.round(ctx, i, p.connections, p.tokens, totals); err != nil {
				return err
			}
		}
		f.addExchanges(p.connections, totals, l)
	}
	return l.profile("profiled", profiles)
}

// start starts the servers and warms them.
func (l *load) start(ctx context.Context) error {
	dir, err := l.b.folder(setup{name: embedded, trusts: busyTrusts})
	if err != nil {
		return err
	}
	if l.servers[embedded], err = start(ctx, embedded, dir); err != nil {
		return err
	}
	if l.servers[bare], err = start(ctx, bare, dir); err != nil {
		return err
	}
	if l.checks[embedded], err = newChecker(ctx, l.servers[embedded].URL, dir); err != nil {
		return err
	}
	if l.parts, err = newParts(l.b.provider.key, l.b.provider.sample); err != nil {
		return err
	}
	tokens, err := l.b.provider.tokens(300)
	if err != nil {
		return err
	}
	first, err := drive(l.servers[embedded].URL, target, 4, tokens)
	if err != nil {
		return fmt.Errorf("%s: %w", embedded, err)
	}
	if l.servers[floor], err = start(ctx, floor, dir, fmt.Sprint(len(first.checked[0].body))); err != nil {
		return err
	}
	if err := l.startRedis(ctx); err != nil {
		return fmt.Errorf("%s: %w", withRedis, err)
	}
	for _, name := range []string{bare, floor} {
		if _, err := drive(l.servers[name].URL, target, 4, tokens); err != nil {
			return fmt.Errorf("%s: %w", name, err)
		}
	}
	return nil
}

// startRedis starts Redis and a gateway that uses it, and warms both.
func (l *load) startRedis(ctx context.Context) error {
	var err error
	if l.redis, err = startRedis(ctx, l.b.dir); err != nil {
		return err
	}
	dir, err := l.b.folder(setup{name: withRedis, trusts: busyTrusts, server: "redis: {mode: single, addrs: [\"" + l.redis.address + "\"]}\n"})
	if err != nil {
		return err
	}
	if l.servers[withRedis], err = start(ctx, embedded, dir); err != nil {
		return err
	}
	server := l.servers[withRedis].URL
	if l.checks[withRedis], err = newChecker(ctx, server, dir); err != nil {
		return err
	}
	if err := l.b.untilTaken(ctx, server); err != nil {
		return err
	}
	tokens, err := l.b.provider.tokens(300)
	if err != nil {
		return err
	}
	_, err = drive(server, target, 4, tokens)
	return err
}

// round signs a batch and shows it to each server, each time in another order.
func (l *load) round(ctx context.Context, number, connections, n int, totals map[string]*total) error {
	tokens, err := l.b.provider.tokens(n)
	if err != nil {
		return err
	}
	order := inTurns()
	if number%2 == 1 {
		slices.Reverse(order)
	}
	for _, name := range order {
		if err := ctx.Err(); err != nil {
			return err
		}
		checked, err := turn(l.servers[name], target, connections, tokens, totals[name])
		if err != nil {
			return fmt.Errorf("%s, %d connections: %w", name, connections, err)
		}
		check := l.checks[name]
		if check == nil {
			continue
		}
		for _, a := range checked {
			if err := check.check(a); err != nil {
				return fmt.Errorf("%s: %w", name, err)
			}
			l.checked++
		}
	}
	return l.measureParts()
}

// turn drives one server with one batch, and returns the answers to check.
func turn(server *process, target string, connections int, tokens []string, t *total) ([]answer, error) {
	before, err := server.tell("usage")
	if err != nil {
		return nil, err
	}
	r, err := drive(server.URL, target, connections, tokens)
	if err != nil {
		return nil, err
	}
	after, err := server.tell("usage")
	if err != nil {
		return nil, err
	}
	t.exchanges += len(tokens)
	t.cpu += after.CPU - before.CPU
	t.rounds = append(t.rounds, float64(after.CPU-before.CPU)/float64(len(tokens)))
	t.mallocs += after.Mallocs - before.Mallocs
	t.elapsed += r.elapsed
	t.times = append(t.times, r.times...)
	t.resident = after.Resident
	return r.checked, nil
}

func (l *load) measureParts() error {
	verify, err := l.parts.verify()
	if err != nil {
		return err
	}
	sign, err := l.parts.sign()
	if err != nil {
		return err
	}
	times, err := fsyncs(l.b.dir)
	if err != nil {
		return err
	}
	l.verify, l.sign, l.fsync = append(l.verify, verify), append(l.sign, sign), append(l.fsync, times...)
	return nil
}

// profile starts or ends profiling the gateways, where that is asked for.
func (l *load) profile(command, dir string) error {
	if dir == "" {
		return nil
	}
	for name := range l.checks {
		dir, err := filepath.Abs(filepath.Join(dir, name))
		if err != nil {
			return err
		}
		if err := os.MkdirAll(dir, 0o700); err != nil {
			return err
		}
		if _, err := l.servers[name].tell(command + " " + dir); err != nil {
			return err
		}
	}
	return nil
}

func (l *load) end() {
	var errs []error
	for _, p := range l.servers {
		if p != nil {
			errs = append(errs, p.end())
		}
	}
	if l.redis != nil {
		errs = append(errs, l.redis.end())
	}
	if err := errors.Join(errs...); err != nil {
		fmt.Fprintln(os.Stderr, "bench: a server did not end in order:", err)
	}
}

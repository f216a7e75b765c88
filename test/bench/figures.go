package main

import (
	"encoding/json"
	"fmt"
	"io"
	"os"
	"strconv"
	"time"
)

// row is one line of the table, and one entry of bench.json.
type row struct {
	CPU       float64 `json:"cpu_us_per_exchange"`
	PerSecond float64 `json:"exchanges_per_second"`
	P50       float64 `json:"p50_ms"`
	P99       float64 `json:"p99_ms"`
	Allocs    float64 `json:"allocs_per_exchange"`
	Resident  float64 `json:"rss_mb"`
	BareRatio float64 `json:"bare_ratio,omitempty"`
	Floor     float64 `json:"floor_ratio,omitempty"`
	Embedded  float64 `json:"embedded_ratio,omitempty"`
}

// newRow is what one server's rounds come to.
func newRow(t *total) row {
	return row{
		CPU: t.cpuEach(), PerSecond: float64(t.exchanges) / t.elapsed.Seconds(),
		P50: millis(quantile(t.times, 0.5)), P99: millis(quantile(t.times, 0.99)),
		Allocs: float64(t.mallocs) / float64(t.exchanges), Resident: float64(t.resident) / (1 << 20),
	}
}

func micros(d time.Duration) float64 { return float64(d) / float64(time.Microsecond) }
func millis(d time.Duration) float64 { return float64(d) / float64(time.Millisecond) }

// unavoidable are the parts of bench.json.
type unavoidable struct {
	HTTP     float64 `json:"http_floor_us"` // at 64 connections, as bare
	Verify   float64 `json:"rs256_verify_us"`
	Sign     float64 `json:"es256_sign_us"`
	Bare     float64 `json:"bare_handler_us"`
	FsyncP50 float64 `json:"fsync_p50_ms"`
	FsyncP99 float64 `json:"fsync_p99_ms"`
}

// figures is all that was measured.
type figures struct {
	rows    map[string]map[int]row // by server and connections
	parts   unavoidable
	checked int
	aws     awsFigures
	stalled stalledFigures
	tools   toolFigures
	many    manyFigures

	resident int64 // with someTrusts and manyTokens
	started  time.Duration
	perToken float64 // bytes
	perTrust float64 // bytes

	few, most, shared float64 // nanoseconds a decision
}

func newFigures() *figures {
	f := &figures{rows: map[string]map[int]row{}}
	for _, name := range inTurns() {
		f.rows[name] = map[int]row{}
	}
	return f
}

// addExchanges takes over what the rounds at one number of connections gave.
func (f *figures) addExchanges(connections int, totals map[string]*total, l *load) {
	f.checked = l.checked
	f.parts = unavoidable{
		HTTP: totals[floor].cpuEach(), Verify: micros(quantile(l.verify, 0.5)), Sign: micros(quantile(l.sign, 0.5)), Bare: totals[bare].cpuEach(),
		FsyncP50: millis(quantile(l.fsync, 0.5)), FsyncP99: millis(quantile(l.fsync, 0.99)),
	}
	for name, t := range totals {
		r := newRow(t)
		if name == embedded || name == withRedis {
			r.BareRatio = t.ratio(totals[bare])
			r.Floor = (f.parts.HTTP + f.parts.Verify + f.parts.Sign) / r.CPU
		}
		if name == withRedis {
			r.Embedded = t.ratio(totals[embedded])
		}
		f.rows[name][connections] = r
	}
}

func (f *figures) printExchanges(out io.Writer) {
	fmt.Fprintf(out, "\n%-9s %5s %9s %12s %8s %8s %7s %8s %7s %7s %9s\n",
		"server", "conns", "CPU us", "exchanges/s", "p50 ms", "p99 ms", "allocs", "RSS MB", "/bare", "floor/", "/embedded")
	for _, name := range inTurns() {
		for _, p := range plan() {
			r := f.rows[name][p.connections]
			ratios := ""
			if r.BareRatio > 0 {
				ratios = fmt.Sprintf("%7.2f %7.2f", r.BareRatio, r.Floor)
			}
			if r.Embedded > 0 {
				ratios += fmt.Sprintf(" %9.2f", r.Embedded)
			}
			fmt.Fprintf(out, "%-9s %5d %9.1f %12.0f %8.2f %8.2f %7.0f %8.1f %s\n",
				name, p.connections, r.CPU, r.PerSecond, r.P50, r.P99, r.Allocs, r.Resident, ratios)
		}
	}
	fmt.Fprintf(out, "\nparts: HTTP %.1f us, RS256 verify %.1f us, ES256 sign %.1f us; bare handler %.1f us; fsync p50 %.2f ms, p99 %.2f ms\n",
		f.parts.HTTP, f.parts.Verify, f.parts.Sign, f.parts.Bare, f.parts.FsyncP50, f.parts.FsyncP99)
	fmt.Fprintf(out, "checked: %d answers, each for its signature and its journal line\n", f.checked)
}

func (f *figures) printFootprint(out io.Writer) {
	fmt.Fprintf(out, "start with %d trusts: %.2f s\n", manyTrusts, f.started.Seconds())
	fmt.Fprintf(out, "resident with %d trusts and %d remembered tokens: %.1f MB; %.0f bytes a trust, %.0f bytes a token\n",
		someTrusts, manyTokens, float64(f.resident)/(1<<20), f.perTrust, f.perToken)
}

func (f *figures) printDecisions(out io.Writer) {
	fmt.Fprintf(out, "a decision over %d trusts: %.0f ns; over %d with distinct anchors: %.0f ns (%.2f times); all under one owner id: %.0f ns (%.2f times)\n",
		fewTrusts, f.few, mostTrusts, f.most, f.most/f.few, f.shared, f.shared/f.few)
}

func (f *figures) printTools(out io.Writer) {
	fmt.Fprintf(out, "check and test of %d documents: %.2f s; %d invariants over %d trusts: %.2f s; %d recorded decisions judged again: %.1f s\n",
		checkedTrusts, f.tools.Check, provenClaims, provenTrusts, f.tools.Prove, judgedRecords, f.tools.Backtest)
}

// printGates reports whether every figure is as promised.
func (f *figures) printGates(out io.Writer) bool {
	r := f.rows[embedded][64]
	fmt.Fprintln(out)
	passed := true
	for _, g := range []struct {
		name        string
		value, most float64
	}{
		{"CPU over the bare handler's at 64 connections", r.BareRatio, maxBareRatio},
		{"CPU with Redis over embedded at 64 connections", f.rows[withRedis][64].Embedded, maxRedisRatio},
		{"decision over 100,000 trusts, by 10", f.most / f.few, maxDecisionRatio},
		{"start with 10,000 trusts, s", f.started.Seconds(), maxStartSeconds},
		{"check and test of 10,000 documents, s", f.tools.Check, maxCheckSecs},
		{"20 invariants over 1,000 trusts, s", f.tools.Prove, maxProveSecs},
		{"1,000,000 decisions judged again, s", f.tools.Backtest, maxJudgeSecs},
		{"start with 1,000 identity providers, s", f.many.Started, maxManySeconds},
		{"their fetches at once", float64(f.many.Flights), maxManyFlights},
		{"resident memory, MB", float64(f.resident) / (1 << 20), maxResidentMB},
	} {
		verdict := "PASS"
		if !(g.value <= g.most) { // not a number fails too
			verdict, passed = "FAIL", false
		}
		fmt.Fprintf(out, "%s  %-48s %6.2f (at most %g)\n", verdict, g.name, g.value, g.most)
	}
	verdict := "goal met"
	if r.Floor < goalFloorRatio {
		verdict = "goal missed"
	}
	fmt.Fprintf(out, "----  %-48s %6.2f (goal %g: %s)\n", "floor CPU over ours at 64 connections", r.Floor, goalFloorRatio, verdict)
	return passed
}

// write leaves the figures for programs.
func (f *figures) write(file string) error {
	rows := func(name string) map[string]row {
		out := map[string]row{}
		for connections, r := range f.rows[name] {
			out[strconv.Itoa(connections)] = r
		}
		return out
	}
	b, err := json.MarshalIndent(map[string]any{
		"embedded": rows(embedded), "redis": rows(withRedis), "parts": f.parts, "aws": f.aws, "stalled": f.stalled, "tools": f.tools, "providers": f.many,
		"decision_ns": map[string]float64{
			strconv.Itoa(fewTrusts): f.few, strconv.Itoa(mostTrusts): f.most, strconv.Itoa(mostTrusts) + "_one_owner": f.shared,
		},
	}, "", "  ")
	if err != nil {
		return err
	}
	return os.WriteFile(file, append(b, '\n'), 0o600)
}

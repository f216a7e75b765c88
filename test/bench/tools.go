package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"time"

	"cambio/audit"
)

// The sizes at which the tools for trust documents are measured, and what they
// may take. Each is the whole command, from its start to its end.
const (
	checkedTrusts = 10_000
	provenTrusts  = 1_000
	provenClaims  = 20
	judgedRecords = 1_000_000
	maxCheckSecs  = 5.0
	maxJudgeSecs  = 60.0
	maxProveSecs  = 10.0
	refusedOneIn  = 20_001 // few: of a flood of refusals the journal keeps the number alone
	waitEvery     = 256    // of them for the disk: more than the journal lets wait
)

// toolFigures are the tools' part of bench.json, in seconds.
type toolFigures struct {
	Check    float64 `json:"check_10000_documents_s"` // lint and tests
	Prove    float64 `json:"prove_20_invariants_1000_trusts_s"`
	Backtest float64 `json:"backtest_1000000_records_s"`
}

// tools measures the program itself, as its user would: best of two, for the
// first run also reads the files from the disk.
func (b *bench) tools(ctx context.Context, f *figures) error {
	program := filepath.Join(b.dir, "cambio")
	build := exec.CommandContext(ctx, "go", "build", "-trimpath", "-o", program, "./cmd/cambio")
	if out, err := build.CombinedOutput(); err != nil {
		return fmt.Errorf("build: %w\n%s", err, out)
	}
	checked, err := b.fleet("checked", checkedTrusts, 0)
	if err != nil {
		return err
	}
	if f.tools.Check, err = fastest(ctx, checked, program, "trust", "check"); err != nil {
		return err
	}
	proven, err := b.fleet("proven", provenTrusts, provenClaims)
	if err != nil {
		return err
	}
	if f.tools.Prove, err = fastest(ctx, proven, program, "trust", "prove"); err != nil {
		return err
	}
	if err := b.history(ctx, filepath.Join(proven, "state", "journal")); err != nil {
		return err
	}
	f.tools.Backtest, err = fastest(ctx, proven, program, "trust", "backtest", "--journal", "state/journal")
	return err
}

// fastest is the shorter of two runs, in seconds.
func fastest(ctx context.Context, dir, program string, args ...string) (float64, error) {
	best := 0.0
	for range 2 {
		cmd := exec.CommandContext(ctx, program, args...)
		cmd.Dir = dir
		var said bytes.Buffer
		cmd.Stderr = &said
		began := time.Now()
		if err := cmd.Run(); err != nil {
			return 0, fmt.Errorf("%v: %w\n%s", args, err, said.Bytes())
		}
		if took := time.Since(began).Seconds(); best == 0 || took < best {
			best = took
		}
	}
	return best, nil
}

// fleet writes a configuration with documents of many repositories, no two alike:
// refs by equality and by glob, environments, conditions that differ, tests; and
// guardrails and invariants above them.
func (b *bench) fleet(name string, trusts, invariants int) (string, error) {
	dir, err := b.folder(setup{name: name})
	if err != nil {
		return "", err
	}
	write := func(file, text string) {
		err = errors.Join(err, os.WriteFile(filepath.Join(dir, "trust", file), []byte(text), 0o600))
	}
	for i := range trusts {
		write(fmt.Sprintf("%06d.yaml", i), fleetDocument(i))
	}
	for i, forbid := range []string{
		`claims.event_name in ["pull_request", "pull_request_target"]`,
		`claims.repository_visibility == "public" && claims.runner_environment != "github-hosted"`,
		`request.time - identity.issued_at > duration("1h")`,
	} {
		write(fmt.Sprintf("guardrail-%d.yaml", i), fmt.Sprintf("guardrail: rule-%d\nowner: security@bench.example\npurpose: One of three\nfrom: [github]\nforbid: '%s'\n", i, forbid))
	}
	forms := []string{
		`never: 'claims.event_name == "pull_request"'`,
		`always: 'claims.repository_owner_id == "9919"'`,
		`always: 'grant.ttl <= duration("%dm")'`,
		`never: 'claims.runner_environment == "self-hosted" && !claims.ref.startsWith("refs/heads/release-%d")'`,
		`never: 'claims.ref.startsWith("refs/pull/%d")'`,
	}
	for i := range invariants {
		text := forms[i%len(forms)]
		if i%len(forms) >= 2 {
			text = fmt.Sprintf(text, 30+i)
		}
		write(fmt.Sprintf("invariant-%d.yaml", i), fmt.Sprintf("invariant: claim-%d\nowner: security@bench.example\npurpose: One of many\nfrom: [github]\n%s\n", i, text))
	}
	return dir, err
}

func fleetDocument(i int) string {
	ref := []string{"refs/heads/main", `{glob: "refs/tags/v*"}`, `[refs/heads/main, refs/heads/next]`}[i%3]
	return fmt.Sprintf(`name: trust-%[1]d
owner: team-%[2]d@bench.example
purpose: The deploy workflow of repository %[1]d reads orders
from: github
match:
  repository_owner_id: "9919"
  repository_id: %[3]q
  environment: deploy-%[4]d
  ref: %[5]s
when:
  - claims.job_workflow_ref == "bench/app/.github/workflows/deploy-%[6]d.yml@refs/heads/main" && claims.runner_environment == "github-hosted"
grants:
  - {to: %[7]s, scopes: ["orders:read"], ttl: 15m}
tests:
  - {name: its workflow may, claims: {job_workflow_ref: bench/app/.github/workflows/deploy-%[6]d.yml@refs/heads/main}, ask: {to: %[7]s}, expect: allow}
  - {name: another may not, claims: {job_workflow_ref: bench/app/.github/workflows/try.yml@refs/heads/main}, ask: {to: %[7]s}, expect: deny}
`, i, i%50, repository{number: i}.id(), i%20, ref, i%100, target)
}

// history writes a journal of decisions about the fleet, as a gateway would have.
func (b *bench) history(ctx context.Context, dir string) error {
	journal, err := b.journal(ctx, dir, nil)
	if err != nil {
		return err
	}
	for seq := range judgedRecords {
		record := fleetRecord(seq, time.Now())
		if seq%waitEvery == 0 {
			err = journal.Commit(ctx, record)
		} else {
			err = journal.Append(record)
		}
		if err != nil {
			return errors.Join(err, journal.Close())
		}
	}
	return journal.Close()
}

// fleetRecord is one decision about a trust of the fleet.
func fleetRecord(seq int, at time.Time) audit.Record {
	i := seq % provenTrusts
	r := audit.Record{
		Event: audit.ExchangeAllowed, Decision: fmt.Sprintf("01a20000-0000-7000-9000-%012x", seq), Provider: "github",
		Workload: "spiffe://bench/github/9919/" + repository{number: i}.id(), Subject: "repo:bench/app", Trust: fmt.Sprintf("trust-%d", i),
		Target: target, Scope: "orders:read", TTL: 900, Address: fmt.Sprintf("10.1.%d.%d", seq%256, seq%4),
		Claims: map[string]any{
			"environment": fmt.Sprintf("deploy-%d", i%20), "event_name": "push", "exp": at.Unix() + 300, "iat": at.Unix(),
			"iss": "https://token.actions.githubusercontent.com", "job_workflow_ref": fmt.Sprintf("bench/app/.github/workflows/deploy-%d.yml@refs/heads/main", i%100),
			"ref": []string{"refs/heads/main", "refs/tags/v1.2", "refs/heads/next"}[i%3], "ref_type": "branch", "repository": "bench/app",
			"repository_id": repository{number: i}.id(), "repository_owner": "bench", "repository_owner_id": "9919",
			"repository_visibility": "private", "run_attempt": "1", "runner_environment": "github-hosted",
		},
	}
	if seq%refusedOneIn == 0 {
		r.Event, r.Reason = audit.ExchangeDenied, "condition-false"
		r.Claims["runner_environment"] = "self-hosted"
	}
	return r
}

package main

import (
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"cambio/audit"
	"cambio/trust"
)

// tailPoll is how often a followed journal is looked at.
const tailPoll = 250 * time.Millisecond

func auditCommand(c *common) *cobra.Command {
	return group("audit", "Verify and read the journal", auditVerifyCommand(c), auditShowCommand(c), auditTailCommand(c), auditReconcileCommand(c))
}

func auditVerifyCommand(c *common) *cobra.Command {
	var since, upto string
	cmd := &cobra.Command{
		Use:   "verify [DIR]",
		Short: "Check the journal's chain and signatures",
		Long: `Checks that every record continues the one before, that none is missing, and that
every checkpoint is signed by a key that the journal before it holds.

A journal whose end was cut, or that was rewritten as a whole, looks true by
itself: --upto takes the checkpoints that were captured from the gateway's
standard output, and finds both. Up to 1,000 records or 60 s behind the last
checkpoint a cut stays unseen.

DIR is the journal, or the state folder that holds it; without DIR it is the
journal of the configuration.`,
		Example: `  cambio audit verify ./state/journal --upto checkpoints.jsonl`,
		Args:    optionalDir,
		RunE: func(_ *cobra.Command, args []string) error {
			if err := c.checkOutput("text", "json"); err != nil {
				return err
			}
			if len(args) > 0 {
				return c.verifyJournal(args[0], since, upto)
			}
			config, err := c.load()
			if err != nil {
				return err
			}
			return c.verifyJournal(filepath.Join(config.State, "journal"), since, upto)
		},
	}
	cmd.Flags().StringVar(&since, "since", "", "start at this checkpoint: its line, id or seq; older segments may be gone")
	cmd.Flags().StringVar(&upto, "upto", "", "file with checkpoints captured from standard output")
	return cmd
}

func (c *common) verifyJournal(dir, since, upto string) error {
	fsys, err := journalFS(dir)
	if err != nil {
		return err
	}
	options := audit.Options{Since: since}
	if upto != "" {
		captured, err := c.readCaptured(upto)
		if err != nil {
			return err
		}
		options.Upto = captured
	}
	done := c.progress("verifying " + dir)
	report, err := audit.Verify(fsys, options)
	done()
	if err != nil {
		return err
	}
	if c.json() {
		if err := c.writeJSON(jsonReport(report)); err != nil {
			return err
		}
	} else if err := c.printReport(report, upto != ""); err != nil {
		return err
	}
	if len(report.Problems) > 0 {
		return &failure{code: exitError, err: fmt.Errorf("the journal is not what was written: %s", count(len(report.Problems), "problem")), next: "keep the folder as it is, and compare it with a backup"}
	}
	return nil
}

// readCaptured opens captured standard output, whole: it may be longer than any
// other input, and is read line by line.
func (c *common) readCaptured(name string) (io.Reader, error) {
	if name == "-" {
		return c.io.in, nil
	}
	data, err := os.ReadFile(name) //nolint:gosec // whoever runs the program names its files
	if err != nil {
		return nil, &failure{code: exitError, err: fmt.Errorf("%s: %w", name, unwrapPath(err)), next: "name the file that holds the gateway's standard output"}
	}
	return strings.NewReader(string(data)), nil
}

func jsonReport(r audit.Report) map[string]any {
	problems := make([]string, len(r.Problems))
	for i, p := range r.Problems {
		problems[i] = p.String()
	}
	return map[string]any{
		"ok": len(problems) == 0, "problems": problems, "segments": r.Segments, "records": r.Records, "first": r.First, "last": r.Last,
		"checkpoints": r.Checkpoints, "captured": r.Captured, "abandoned_lines": r.Abandoned, "torn_bytes": r.Torn, "uncovered": r.Uncovered,
	}
}

func (c *common) printReport(r audit.Report, captured bool) error {
	for _, p := range r.Problems {
		if err := lines(c.io.out, "%s", p); err != nil {
			return err
		}
	}
	verdict := c.io.green("ok")
	if len(r.Problems) > 0 {
		verdict = c.io.red("BROKEN")
	}
	if err := lines(c.io.out, "%s: records %d to %d in %s, %s", verdict, r.First, r.Last, count(r.Segments, "segment"), count(r.Checkpoints, "signed checkpoint")); err != nil {
		return err
	}
	if r.Abandoned > 0 || r.Torn > 0 {
		if err := lines(c.io.out, "  a crash or a failed disk left %s and %s that were never relied on", count(r.Abandoned, "line"), count(r.Torn, "byte")); err != nil {
			return err
		}
	}
	if captured {
		return lines(c.io.out, "  captured and in the journal: %s; a cut of the %s behind the last one would stay unseen", count(r.Captured, "checkpoint"), count(r.Uncovered, "record"))
	}
	return lines(c.io.out, "  a cut end stays unseen without --upto FILE")
}

// journalFS opens a journal by its own folder or by the state folder.
func journalFS(dir string) (fs.FS, error) {
	if inner := filepath.Join(dir, "journal"); isDir(inner) {
		dir = inner
	}
	if !isDir(dir) {
		return nil, &failure{code: exitError, err: fmt.Errorf("no folder %s", dir), next: "name the journal, such as ./state/journal"}
	}
	return os.DirFS(dir), nil
}

func isDir(path string) bool {
	info, err := os.Stat(path)
	return err == nil && info.IsDir()
}

// journal opens the journal of the configuration.
func (c *common) journal() (fs.FS, error) {
	config, err := c.load()
	if err != nil {
		return nil, err
	}
	return journalFS(filepath.Join(config.State, "journal"))
}

func auditShowCommand(c *common) *cobra.Command {
	return &cobra.Command{
		Use:   "show ID",
		Short: "Show the records of a decision: why it was denied, what it gave",
		Long: `Finds the records with this id, or of the decision with this id: the one that the
answer carried as decision_id and in the header Cambio-Decision-Id.

Below them the decision is judged again, at its time and from what was recorded,
with the documents on disk: each trust that was near, what each of its lines
expected and found, and the smallest edit of it that would allow the request. It
says so where the documents changed since, and where a line, or the verdict,
depends on a claim that was not recorded.`,
		Example: `  cambio audit show 0198c2f0-5b1e-7c3a-9d4e-2f6a8b0c1d2e`,
		Args:    exactly("ID"),
		RunE: func(_ *cobra.Command, args []string) error {
			if err := c.checkOutput("text", "json"); err != nil {
				return err
			}
			if strings.TrimSpace(args[0]) == "" { // a variable of a script that was never set
				return &failure{code: exitUsage, err: errors.New("the id is empty"), next: "name the decision_id of the answer, or of the header Cambio-Decision-Id"}
			}
			config, err := c.load()
			if err != nil {
				return err
			}
			fsys, err := journalFS(filepath.Join(config.State, "journal"))
			if err != nil {
				return err
			}
			done := c.progress("reading the journal")
			records, err := audit.Find(fsys, args[0])
			done()
			if err != nil {
				return err
			}
			if len(records) == 0 {
				next := "refusals of size and form, and beyond 100 a minute and reason, have no line of their own"
				if config.Redis != nil { // each replica has a journal of its own
					next += "; or another replica decided it: ask there"
				}
				return &failure{code: exitError, err: fmt.Errorf("no record of %s", args[0]), next: next}
			}
			for _, r := range records {
				if err := c.printRecord(r, false); err != nil {
					return err
				}
			}
			trace := c.traceOf(config, records)
			if trace != nil {
				if err := c.printTrace(records[0].Decision, trace); err != nil {
					return err
				}
			}
			if next := afterShow(records, trace); next != "" && !c.json() {
				c.io.say("  next: %s", next)
			}
			return nil
		},
	}
}

// afterShow is what the owner of a trust does next about a decision, or "".
func afterShow(records []audit.Record, trace *traced) string {
	for _, r := range slices.Backward(records) {
		switch {
		case r.Event != audit.ExchangeDenied && r.Event != audit.ExchangeDryRun:
		case trust.Reason(r.Reason) == trust.ReasonStopped:
			return "cambio stop list"
		case explainable(trust.Reason(r.Reason)) && trace != nil:
			return "if it is meant to be allowed, change the document and run: cambio trust check"
		case explainable(trust.Reason(r.Reason)):
			return fmt.Sprintf("cambio trust explain --provider %s --to %s --claims FILE; the caller gets FILE with: cambio whoami -o json",
				pasteable(r.Provider, "PROVIDER"), pasteable(r.Target, "TARGET"))
		}
	}
	return ""
}

// explainable reports whether the reason is one of the policy's, which `cambio
// trust explain` finds again from the claims.
func explainable(r trust.Reason) bool {
	return slices.Contains([]trust.Reason{
		trust.ReasonNoMatchingTrust, trust.ReasonConditionFalse, trust.ReasonCELError, trust.ReasonCELBudget, trust.ReasonEventNotNamed,
		trust.ReasonNetwork, trust.ReasonHours, trust.ReasonTrustExpired, trust.ReasonShadowOnly, trust.ReasonAmbiguousTrust,
		trust.ReasonTargetNotGranted, trust.ReasonResourceNotGrant, trust.ReasonScopeNotGranted, trust.ReasonScopeMalformed,
		trust.ReasonClaimMissing, trust.ReasonGrantUnfit, trust.ReasonNonceRequired, trust.ReasonGuardrail,
	}, r)
}

// plainName is what a shell takes as one word.
var plainName = regexp.MustCompile(`^[A-Za-z0-9][A-Za-z0-9._-]*$`)

// pasteable is a name of a record for a line to paste, or the placeholder: the
// target is the caller's word, and a hostile one would run in the shell of
// whoever looks into the refusal.
func pasteable(name, placeholder string) string {
	if plainName.MatchString(name) {
		return name
	}
	return placeholder
}

func auditTailCommand(c *common) *cobra.Command {
	var n int
	cmd := &cobra.Command{
		Use:   "tail",
		Short: "Show the newest records, and each new one as it comes",
		Args:  noArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if err := c.checkOutput("text", "json"); err != nil {
				return err
			}
			fsys, err := c.journal()
			if err != nil {
				return err
			}
			if c.io.outTTY && !c.json() {
				if err := lines(c.io.out, "%s", c.io.faint(rowHead())); err != nil {
					return err
				}
			}
			for r, err := range audit.Tail(cmd.Context(), fsys, n, tailPoll) {
				if err != nil {
					return err
				}
				if err := c.printRecord(r, true); err != nil {
					return err
				}
			}
			return nil
		},
	}
	cmd.Flags().IntVarP(&n, "lines", "n", 10, "how many records to begin with")
	return cmd
}

// printRecord prints a record: as its JSON, as one line, or field by field.
func (c *common) printRecord(r audit.Record, short bool) error {
	line, err := json.Marshal(r)
	if err != nil {
		return err
	}
	if c.json() {
		return lines(c.io.out, "%s", line)
	}
	if short {
		return lines(c.io.out, "%s", visible(row(r)))
	}
	return c.printFields(line)
}

// printFields prints the members of a JSON object, a line each, in their order.
func (c *common) printFields(line []byte) error {
	dec := json.NewDecoder(strings.NewReader(string(line)))
	if _, err := dec.Token(); err != nil {
		return err
	}
	for dec.More() {
		name, err := dec.Token()
		if err != nil {
			return err
		}
		var value json.RawMessage
		if err := dec.Decode(&value); err != nil {
			return err
		}
		text := string(value)
		var s string
		if json.Unmarshal(value, &s) == nil {
			text = s
		}
		if err := lines(c.io.out, "%-14s %s", name, visible(text)); err != nil {
			return err
		}
	}
	if _, err := dec.Token(); err != nil && !errors.Is(err, io.EOF) {
		return err
	}
	return lines(c.io.out, "")
}

// row is a record on one line: time, event, decision, trust, target, workload,
// reason. What it does not have is a dash, so that each stays in its column.
func row(r audit.Record) string {
	cells := []string{r.Decision, r.Trust, r.Target, r.Workload, r.Reason}
	for i, cell := range cells {
		cells[i] = cmp.Or(cell, "-")
	}
	return fmt.Sprintf(rowFormat, r.Time.UTC().Format(time.TimeOnly), r.Event, cells[0], strings.Join(cells[1:], "  "))
}

// rowFormat is of time, event, decision, and the rest.
const rowFormat = "%-8s  %-17s  %-36s  %s"

// rowHead names the columns of row.
func rowHead() string {
	return fmt.Sprintf(rowFormat, "time", "event", "decision", "trust  target  workload  reason")
}

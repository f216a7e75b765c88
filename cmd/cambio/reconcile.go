package main

import (
	"errors"
	"fmt"
	"io/fs"
	"iter"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"text/tabwriter"
	"time"
	"unicode"

	"github.com/spf13/cobra"

	"cambio/audit"
	"cambio/gateway"
)

func auditReconcileCommand(c *common) *cobra.Command {
	var files []string
	var issuer string
	cmd := &cobra.Command{
		Use:   "reconcile --cloudtrail FILE [DIR]...",
		Short: "Find credentials in a cloud's log that no decision of ours explains",
		Long: `Reads CloudTrail's events of AssumeRoleWithWebIdentity and compares each that used
a token of our issuer with the journals: its session name must be the id of a
decision that allowed this role, its access key the one that the decision's
outcome names, and its time near the decision's. One that does not fit was made by
somebody who signs as we do, or by a replica whose journal was not given.

FILE is what CloudTrail delivers, {"Records": [...]}, or an event a line; gzip is
recognised, - is standard input, and --cloudtrail may be repeated. DIR is a
journal, or the state folder that holds it: one for each replica; without DIR it
is the journal of the configuration. Verify the journals first: audit verify.

The status is 1 when an event is not explained, also when it is older than the
journal's kept time and so cannot be; and when no event is of our issuer, so that
nothing was compared.`,
		Example: `  cambio audit reconcile --cloudtrail events.json.gz ./state-a ./state-b`,
		RunE: func(_ *cobra.Command, dirs []string) error {
			if err := c.checkOutput("text", "json"); err != nil {
				return err
			}
			if len(files) == 0 {
				return usage("name the events with --cloudtrail FILE")
			}
			return c.reconcile(issuer, files, dirs)
		},
	}
	cmd.Flags().StringArrayVar(&files, "cloudtrail", nil, "file of CloudTrail events, or -")
	cmd.Flags().StringVar(&issuer, "issuer", "", "our issuer; default: the configuration's")
	return cmd
}

func (c *common) reconcile(issuer string, files, dirs []string) error {
	if issuer != "" {
		// Any other spelling is the issuer of no event, and nothing would be found.
		if err := gateway.CheckIssuer(issuer); err != nil {
			return usage("--issuer: %v", err)
		}
	}
	if issuer == "" || len(dirs) == 0 {
		config, err := c.load()
		if err != nil {
			return err
		}
		if issuer == "" {
			issuer = config.Issuer
		}
		if len(dirs) == 0 {
			dirs = []string{filepath.Join(config.State, "journal")}
		}
	}
	var journals []fs.FS
	for _, dir := range dirs {
		fsys, err := journalFS(dir)
		if err != nil {
			return err
		}
		journals = append(journals, fsys)
	}
	done := c.progress("comparing")
	report, err := audit.Reconcile(issuer, c.cloudTrail(files), journals...)
	done()
	if errors.Is(err, audit.ErrCloudTrail) {
		return &failure{code: exitError, err: err, next: `the file must be what CloudTrail delivers: {"Records": [...]}, or an event a line`}
	}
	if err != nil {
		return err
	}
	if err := c.printReconciled(issuer, report); err != nil {
		return err
	}
	switch {
	case !report.Compared():
		return &failure{
			code: exitError, err: fmt.Errorf("nothing was compared: no event is of %s", issuer),
			next: "give the events of every region and account in which roles trust this issuer; --issuer names another one",
		}
	case report.Suspected > 0:
		return &failure{
			code: exitError, err: fmt.Errorf("%s not explained by a decision", count(report.Suspected, "event")),
			next: "docs/how-to/find-forged-use.md says what each kind means, and how to end it",
		}
	}
	return nil
}

// cloudTrail reads the files one after the other.
func (c *common) cloudTrail(files []string) iter.Seq2[audit.AssumedRole, error] {
	return func(yield func(audit.AssumedRole, error) bool) {
		for _, name := range files {
			if !c.oneTrail(name, yield) {
				return
			}
		}
	}
}

func (c *common) oneTrail(name string, yield func(audit.AssumedRole, error) bool) bool {
	from := c.io.in
	if name != "-" {
		f, err := os.Open(name) //nolint:gosec // whoever runs the program names its files
		if err != nil {
			yield(audit.AssumedRole{}, fmt.Errorf("%s: %w", name, unwrapPath(err)))
			return false
		}
		defer f.Close() //nolint:errcheck // read only: nothing can be lost
		from = f
	}
	for e, err := range audit.ReadCloudTrail(from) {
		if err != nil {
			yield(e, fmt.Errorf("%s: %w", name, err))
			return false
		}
		if !yield(e, nil) {
			return false
		}
	}
	return true
}

func (c *common) printReconciled(issuer string, r audit.Reconciliation) error {
	if c.json() {
		return c.writeJSON(jsonReconciled(issuer, r))
	}
	if len(r.Suspects) > 0 {
		w := tabwriter.NewWriter(c.io.out, 0, 4, 2, ' ', 0)
		if err := lines(w, "TIME\tKIND\tSESSION\tROLE\tACCESS KEY\tADDRESS\tEVENT\tWHY"); err != nil {
			return err
		}
		for _, s := range r.Suspects {
			cells := []string{stamp(s.Event.Time), string(s.Kind)}
			for _, cell := range []string{s.Event.Session, s.Event.Role, s.Event.AccessKey, s.Event.Address, s.Event.EventID, s.Detail} {
				cells = append(cells, plain(cell))
			}
			if err := lines(w, "%s", strings.Join(cells, "\t")); err != nil {
				return err
			}
		}
		if err := w.Flush(); err != nil {
			return err
		}
		if left := r.Suspected - int64(len(r.Suspects)); left > 0 {
			if err := lines(c.io.out, "and %d more", left); err != nil {
				return err
			}
		}
	}
	return c.printReconciledSum(issuer, r)
}

func (c *common) printReconciledSum(issuer string, r audit.Reconciliation) error {
	verdict := c.io.green("ok")
	switch {
	case !r.Compared():
		verdict = c.io.red("NOTHING COMPARED")
	case r.Suspected > 0:
		verdict = c.io.red("NOT EXPLAINED")
	}
	out := []string{fmt.Sprintf("%s: %d of %s of %s, compared with %s of %s", verdict, r.Known, count(r.Events, "event"), issuer, count(r.Records, "record"), strings.Join(r.Replicas, ", "))}
	if r.Compared() {
		out = append(out, fmt.Sprintf("  from %s to %s", stamp(r.From), stamp(r.To)))
	} else {
		out = append(out, fmt.Sprintf("  none of the events is of this issuer, %d of others", r.Others))
	}
	if r.Failed > 0 {
		var codes []string
		for _, code := range slices.Sorted(maps.Keys(r.FailedBy)) {
			codes = append(codes, fmt.Sprintf("%s %d", plain(code), r.FailedBy[code]))
		}
		out = append(out, fmt.Sprintf("  AWS refused %d: %s; %d of them with a session that no journal knows", r.Failed, strings.Join(codes, ", "), r.FailedOther))
	}
	if r.UnshownCount > 0 {
		out = append(out, fmt.Sprintf("  %s of that time gave a credential that these events do not show, such as %s", count(r.UnshownCount, "decision"), plain(r.Unshown[0])))
	}
	if !r.JournalFrom.IsZero() {
		out = append(out, "  older segments are gone: before "+stamp(r.JournalFrom)+" nothing can be said")
	}
	out = append(out, "  the journal that ends first ends at "+stamp(r.JournalTo))
	return lines(c.io.out, "%s", strings.Join(out, "\n"))
}

// plain shows words of others: quoted where they could move a cursor or leave
// their column.
func plain(s string) string {
	const most = 200
	if len(s) > most {
		s = s[:most] + "..."
	}
	switch {
	case s == "":
		return "-"
	case strings.ContainsFunc(s, func(r rune) bool { return !unicode.IsPrint(r) }):
		return strconv.QuoteToASCII(s)
	}
	return s
}

func jsonReconciled(issuer string, r audit.Reconciliation) map[string]any {
	suspects := make([]map[string]any, len(r.Suspects))
	for i, s := range r.Suspects {
		suspects[i] = map[string]any{
			"kind": s.Kind, "why": s.Detail, "time": s.Event.Time, "session": s.Event.Session, "role": s.Event.Role,
			"access_key_id": s.Event.AccessKey, "subject": s.Event.Subject, "address": s.Event.Address, "event_id": s.Event.EventID,
		}
	}
	unshown := r.Unshown
	if unshown == nil {
		unshown = []string{}
	}
	failedBy := r.FailedBy
	if failedBy == nil {
		failedBy = map[string]int64{}
	}
	out := map[string]any{
		"ok": r.Compared() && r.Suspected == 0, "issuer": issuer, "events": r.Events, "known": r.Known, "suspected": r.Suspected, "suspects": suspects,
		"failed": r.Failed, "failed_by": failedBy, "failed_unknown_session": r.FailedOther, "other_issuers": r.Others,
		"unshown": unshown, "unshown_count": r.UnshownCount, "replicas": r.Replicas, "records": r.Records,
	}
	for name, t := range map[string]time.Time{"from": r.From, "to": r.To, "journal_from": r.JournalFrom, "journal_to": r.JournalTo} {
		if !t.IsZero() {
			out[name] = t.UTC()
		}
	}
	return out
}

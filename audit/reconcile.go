package audit

import (
	"cmp"
	"errors"
	"fmt"
	"io/fs"
	"iter"
	"maps"
	"slices"
	"strings"
	"time"
)

// SuspectKind says why an event of a cloud's log is not the work of the gateway
// whose journal was read.
type SuspectKind string

// The kinds of suspects.
const (
	SuspectUnknown     SuspectKind = "unknown-session" // no journal knows the session's name as a decision: forged, or of a replica whose journal was not given
	SuspectOutside     SuspectKind = "outside-journal" // the same, at a time whose segments are gone: nothing can be said
	SuspectNotAllowed  SuspectKind = "not-allowed"     // the decision exists and allowed nothing
	SuspectOtherRole   SuspectKind = "other-role"      // the decision allowed another role
	SuspectOtherKey    SuspectKind = "other-key"       // the decision's credential is another one
	SuspectUnconfirmed SuspectKind = "unconfirmed"     // the decision's outcome names no credential: the answer may have been lost
	SuspectOtherTime   SuspectKind = "other-time"      // more than ten minutes from the decision
)

const (
	// near is how far a call may be from its decision: the assertion lives five
	// minutes, and the cloud's clock is not ours.
	near = 10 * time.Minute
	// maxRoles bounds the events of one comparison in memory, at half a kilobyte
	// each: files of more days are compared day by day.
	maxRoles = 2_000_000
	// maxListed bounds each list of a report; the counts go on.
	maxListed = 1000
	// maxErrorCodes bounds the table of errors: AWS has some twenty for this call.
	maxErrorCodes = 100
)

// Suspect is one event that must be explained by somebody.
type Suspect struct {
	Kind   SuspectKind
	Event  AssumedRole
	Detail string // what the journal has instead
}

// Reconciliation is what a comparison found.
type Reconciliation struct {
	Events       int64            // of our issuer that AWS allowed
	Known        int64            // of them, those that a journal explains
	Suspects     []Suspect        // the others, by time, up to 1,000
	Suspected    int64            // how many they are
	Failed       int64            // events of our issuer that AWS refused
	FailedBy     map[string]int64 // the same, by errorCode
	FailedOther  int64            // the same, with a session's name that no journal knows: somebody tries
	Others       int64            // events of other issuers, which were not looked at
	From, To     time.Time        // of the first and the last event of our issuer
	Unshown      []string         // decisions that gave a credential in that time and that the events lack, up to 1,000
	UnshownCount int64            // how many they are
	Replicas     []string         // whose journals were read
	Records      int64            // of the journals
	JournalFrom  time.Time        // older segments are gone: before it nothing is known. Zero: the journals are whole
	JournalTo    time.Time        // of the newest record of the journal that ends first
}

// Compared reports whether any event was of our issuer. Without one the journals
// were held against nothing: a report without suspects then says nothing, and
// other events, or another issuer, were meant.
func (r Reconciliation) Compared() bool { return r.Events+r.Failed > 0 }

// Reconcile compares what AWS says was done with tokens of this issuer with what
// the journals say was decided, one journal for each replica. An honest event
// has a decision's id for its session name, that decision's role, and the access
// key that its outcome names. Whoever signs with a stolen key can copy the first
// two from an event that he may read, and not the third.
//
// It compares, and verifies nothing: see [Verify] for the journals. A journal
// without a record is an error, as it would explain nothing.
func Reconcile(issuer string, events iter.Seq2[AssumedRole, error], journals ...fs.FS) (Reconciliation, error) {
	r := reconciler{
		issuer: strings.TrimPrefix(issuer, "https://"), ids: map[string]bool{}, sessions: map[string]*outcome{},
		pending: map[string]bool{}, unshown: map[string]bool{}, replicas: map[string]bool{},
	}
	if r.issuer == "" {
		return r.Reconciliation, errors.New("audit: an issuer is wanted")
	}
	if err := r.collect(events); err != nil {
		return r.Reconciliation, err
	}
	for i, journal := range journals {
		if err := r.journal(journal); err != nil {
			return r.Reconciliation, fmt.Errorf("journal %d: %w", i+1, err)
		}
	}
	if len(journals) == 0 {
		return r.Reconciliation, errors.New("audit: a journal is wanted")
	}
	r.judge()
	r.Replicas = slices.Sorted(maps.Keys(r.replicas))
	return r.Reconciliation, nil
}

type reconciler struct {
	Reconciliation
	issuer   string
	ids      map[string]bool // of events: CloudTrail may deliver one twice
	roles    []AssumedRole   // events of our issuer
	sessions map[string]*outcome
	pending  map[string]bool // decisions for a role whose outcome was not read yet
	unshown  map[string]bool
	replicas map[string]bool
}

// outcome is what the journals say of one decision.
type outcome struct {
	event  Event // "": nothing
	role   string
	at     time.Time
	handle string // of what was minted
	failed string // how the exchange failed after the decision
}

// collect keeps the events of our issuer.
func (r *reconciler) collect(events iter.Seq2[AssumedRole, error]) error {
	for e, err := range events {
		switch {
		case err != nil:
			return err
		case !strings.EqualFold(e.Provider, r.issuer):
			r.Others++
			continue
		case e.EventID != "" && r.ids[e.EventID]:
			continue
		case len(r.roles) >= maxRoles:
			return fmt.Errorf("audit: more than %d events: compare fewer files at a time", maxRoles)
		}
		r.ids[e.EventID] = true
		r.roles = append(r.roles, e)
		r.sessions[e.Session] = &outcome{}
		if r.From.IsZero() || e.Time.Before(r.From) {
			r.From = e.Time
		}
		if e.Time.After(r.To) {
			r.To = e.Time
		}
	}
	delete(r.sessions, "") // no decision has this id
	return nil
}

// journal reads what the journal of one replica says of the events' sessions.
func (r *reconciler) journal(fsys fs.FS) error {
	var last time.Time
	read := int64(0)
	for rec, err := range Read(fsys) {
		if err != nil {
			return err
		}
		if read++; read == 1 && rec.Seq > 1 && rec.Time.After(r.JournalFrom) {
			r.JournalFrom = rec.Time
		}
		last = rec.Time
		r.replicas[rec.Replica] = true
		r.record(rec)
	}
	if read == 0 {
		return errors.New("audit: it holds no record")
	}
	if r.JournalTo.IsZero() || last.Before(r.JournalTo) {
		r.JournalTo = last
	}
	r.Records += read
	return nil
}

func (r *reconciler) record(rec Record) {
	o, asked := r.sessions[rec.Decision]
	switch rec.Event { //nolint:exhaustive // the others are about no decision's outcome
	case ExchangeAllowed:
		if asked {
			o.event, o.role, o.at = rec.Event, rec.Resource, rec.Time
		} else if isRole(rec.Resource) && !rec.Time.Before(r.From) && !rec.Time.After(r.To) {
			r.pending[rec.Decision] = true
		}
	case ExchangeMinted:
		if asked {
			o.handle = rec.Handle
		}
		if r.pending[rec.Decision] && !r.unshown[rec.Decision] {
			if r.unshown[rec.Decision] = true; len(r.Unshown) < maxListed {
				r.Unshown = append(r.Unshown, rec.Decision)
			}
			r.UnshownCount++
		}
		delete(r.pending, rec.Decision)
	case ExchangeFailed:
		if asked {
			o.failed = rec.Reason
		}
		delete(r.pending, rec.Decision)
	case ExchangeDenied, ExchangePending, ExchangeDryRun:
		// A shadow trust's record has the id of the decision that it shadows.
		if asked && o.event != ExchangeAllowed {
			o.event, o.at = rec.Event, rec.Time
		}
	}
}

// isRole reports an ARN of a role of any partition.
func isRole(resource string) bool {
	return strings.HasPrefix(resource, "arn:") && strings.Contains(resource, ":role/")
}

// judge holds each event against its decision.
func (r *reconciler) judge() {
	slices.SortStableFunc(r.roles, func(a, b AssumedRole) int { return a.Time.Compare(b.Time) })
	for _, e := range r.roles {
		o := r.sessions[e.Session]
		if o == nil {
			o = &outcome{}
		}
		if e.Error != "" {
			r.refused(e, o)
			continue
		}
		r.Events++
		kind, detail := r.explain(e, o)
		if kind == "" {
			r.Known++
			continue
		}
		if r.Suspected++; len(r.Suspects) < maxListed {
			r.Suspects = append(r.Suspects, Suspect{kind, e, detail})
		}
	}
}

// refused counts an event that gave nothing.
func (r *reconciler) refused(e AssumedRole, o *outcome) {
	r.Failed++
	if o.event == "" {
		r.FailedOther++
	}
	if r.FailedBy == nil {
		r.FailedBy = map[string]int64{}
	}
	code := e.Error
	if _, known := r.FailedBy[code]; !known && len(r.FailedBy) >= maxErrorCodes {
		code = "other"
	}
	r.FailedBy[code]++
}

// explain says what is wrong with an event that gave a credential; "": nothing.
func (r *reconciler) explain(e AssumedRole, o *outcome) (SuspectKind, string) {
	switch {
	case o.event == "" && !r.JournalFrom.IsZero() && e.Time.Before(r.JournalFrom.Add(near)):
		return SuspectOutside, "the journals begin at " + r.JournalFrom.UTC().Format(time.RFC3339)
	case o.event == "" && e.Time.After(r.JournalTo):
		// A gateway that is not asked writes nothing, so this is forged, or the
		// journal is an old copy; the first must not look like the second.
		return SuspectUnknown, "no decision has this id; a journal ends before, at " + r.JournalTo.UTC().Format(time.RFC3339)
	case o.event == "":
		return SuspectUnknown, "no decision has this id"
	case o.event != ExchangeAllowed:
		return SuspectNotAllowed, "the decision is " + string(o.event)
	case o.role != e.Role:
		return SuspectOtherRole, "the decision is for " + cmp.Or(o.role, "no role")
	case o.handle == "" && o.failed != "":
		return SuspectUnconfirmed, "the exchange failed: " + o.failed
	case o.handle == "":
		return SuspectUnconfirmed, "the journal holds no outcome"
	case o.handle != e.AccessKey:
		// A retry whose first answer was lost looks the same, and is rare.
		return SuspectOtherKey, "the decision's credential is " + o.handle
	case e.Time.Before(o.at.Add(-near)) || e.Time.After(o.at.Add(near)):
		return SuspectOtherTime, "the decision is of " + o.at.UTC().Format(time.RFC3339)
	}
	return "", ""
}

package audit_test

import (
	"bytes"
	"compress/gzip"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"strings"
	"testing"
	"testing/fstest"
	"time"

	"github.com/google/go-cmp/cmp"

	"cambio/audit"
)

const (
	ourIssuer = "https://id.acme.example"
	deployARN = "arn:aws:iam::111122223333:role/payments-deploy"
	decisionA = "0198c2f0-5b1e-7c3a-9d4e-2f6a8b0c1d2e"
	decisionB = "0198c2f0-5b1e-7c3a-9d4e-2f6a8b0c1d2f"
)

func day(at string) time.Time {
	t, err := time.Parse(time.RFC3339, "2027-03-01T"+at+"Z")
	if err != nil {
		panic(err)
	}
	return t
}

// trailEvent is one event in the form of CloudTrail's documentation; the
// replacements change it.
func trailEvent(id string, changes ...string) string {
	return strings.NewReplacer(changes...).Replace(`{
  "eventVersion": "1.08",
  "userIdentity": {
    "type": "WebIdentityUser",
    "principalId": "arn:aws:iam::111122223333:oidc-provider/id.acme.example:sts.amazonaws.com:spiffe://id.acme.example/github/9919/41881900",
    "userName": "spiffe://id.acme.example/github/9919/41881900",
    "identityProvider": "arn:aws:iam::111122223333:oidc-provider/id.acme.example"
  },
  "eventTime": "2027-03-01T12:00:01Z", "eventSource": "sts.amazonaws.com", "eventName": "AssumeRoleWithWebIdentity",
  "awsRegion": "eu-central-1", "sourceIPAddress": "192.0.2.10", "userAgent": "aws-sdk-go-v2/1.47.7",
  "requestParameters": {"roleArn": "` + deployARN + `", "roleSessionName": "` + decisionA + `", "durationSeconds": 900},
  "responseElements": {
    "credentials": {"accessKeyId": "ASIAEXAMPLE00000000A", "sessionToken": "not-a-token", "expiration": "Mar 1, 2027, 12:15:01 PM"},
    "subjectFromWebIdentityToken": "spiffe://id.acme.example/github/9919/41881900",
    "assumedRoleUser": {"assumedRoleId": "AROAEXAMPLE:` + decisionA + `", "arn": "arn:aws:sts::111122223333:assumed-role/payments-deploy/` + decisionA + `"},
    "provider": "arn:aws:iam::111122223333:oidc-provider/id.acme.example", "audience": "sts.amazonaws.com"
  },
  "requestID": "b0c1", "eventID": "` + id + `", "readOnly": true, "eventType": "AwsApiCall", "managementEvent": true, "recipientAccountId": "111122223333"
}`)
}

func batch(events ...string) string { return `{"Records": [` + strings.Join(events, ",") + `]}` }

func readTrail(r io.Reader) ([]audit.AssumedRole, error) {
	var out []audit.AssumedRole
	for e, err := range audit.ReadCloudTrail(r) {
		if err != nil {
			return out, err
		}
		out = append(out, e)
	}
	return out, nil
}

func TestReadCloudTrail(t *testing.T) {
	want := audit.AssumedRole{
		EventID: "e1", Time: day("12:00:01"), Provider: "id.acme.example", Subject: "spiffe://id.acme.example/github/9919/41881900",
		Session: decisionA, Role: deployARN, AccessKey: "ASIAEXAMPLE00000000A", Address: "192.0.2.10",
	}
	refused := want
	refused.AccessKey, refused.Error = "", "AccessDenied"
	failed := trailEvent("e1", `"responseElements": {`, `"errorCode": "AccessDenied", "responseElements": null, "unused": {`)
	one := strings.ReplaceAll(trailEvent("e1"), "\n", " ")
	var packed bytes.Buffer
	z := gzip.NewWriter(&packed)
	if _, err := z.Write([]byte(batch(trailEvent("e1")))); err != nil {
		t.Fatal(err)
	}
	if err := z.Close(); err != nil {
		t.Fatal(err)
	}
	for name, c := range map[string]struct {
		text string
		want []audit.AssumedRole
	}{
		"batch":            {batch(trailEvent("e1")), []audit.AssumedRole{want}},
		"two batches":      {batch(trailEvent("e1")) + "\n" + batch(trailEvent("e1")), []audit.AssumedRole{want, want}},
		"lines":            {one + "\n" + one + "\n", []audit.AssumedRole{want, want}},
		"gzip":             {packed.String(), []audit.AssumedRole{want}},
		"refused":          {batch(failed), []audit.AssumedRole{refused}},
		"other event":      {batch(trailEvent("e1", "AssumeRoleWithWebIdentity", "AssumeRole"), trailEvent("e1")), []audit.AssumedRole{want}},
		"other service":    {batch(trailEvent("e1", "sts.amazonaws.com\", \"eventName", "s3.amazonaws.com\", \"eventName")), nil},
		"bare host":        {batch(trailEvent("e1", `"identityProvider": "arn:aws:iam::111122223333:oidc-provider/`, `"identityProvider": "`)), []audit.AssumedRole{want}},
		"by the answer":    {batch(trailEvent("e1", `"identityProvider"`, `"identityprovider"`)), []audit.AssumedRole{want}},
		"by the principal": {batch(trailEvent("e1", `"identityProvider"`, `"x"`, `"provider"`, `"y"`)), []audit.AssumedRole{want}},
		"empty batch":      {`{"Records": []}`, nil},
		"empty":            {"", nil},
	} {
		got, err := readTrail(strings.NewReader(c.text))
		if err != nil {
			t.Errorf("%s: %v", name, err)
		}
		if diff := cmp.Diff(c.want, got); diff != "" {
			t.Errorf("%s (-want +got)\n%s", name, diff)
		}
	}
}

func TestReadCloudTrailRefuses(t *testing.T) {
	huge := trailEvent("e1", `"readOnly": true`, `"padding": "`+strings.Repeat("x", 2<<20)+`"`)
	for name, text := range map[string]string{
		"a list":          `[]`,
		"no JSON":         `time,event`,
		"another object":  `{"Events": []}`,
		"Records no list": `{"Records": {}}`,
		"null record":     `{"Records": [null]}`,
		"cut":             batch(trailEvent("e1"))[:900],
		"cut batch":       `{"Records": [` + trailEvent("e1"),
		"no time":         batch(trailEvent("e1", "2027-03-01T12:00:01Z", "yesterday")),
		"both":            `{"Records": [], "eventName": "AssumeRoleWithWebIdentity"}`,
		"huge event":      batch(huge),
		"huge line":       huge,
		"bad gzip":        "\x1f\x8b\x00",
	} {
		if _, err := readTrail(strings.NewReader(text)); !errors.Is(err, audit.ErrCloudTrail) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// A reader that fails is no end of the file: what it did not give may be forged.
func TestReadCloudTrailTellsOfTheReader(t *testing.T) {
	broken := errors.New("broken")
	whole := batch(trailEvent("e1"))
	_, err := readTrail(io.MultiReader(strings.NewReader(whole[:len(whole)-1]), readerFunc(func([]byte) (int, error) { return 0, broken })))
	if !errors.Is(err, broken) {
		t.Error(err)
	}
}

type readerFunc func([]byte) (int, error)

func (f readerFunc) Read(p []byte) (int, error) { return f(p) }

// journalOf writes records as a journal of one segment; seq begins at first.
func journalOf(t testing.TB, first int64, records ...audit.Record) fs.FS {
	t.Helper()
	var b bytes.Buffer
	for i, r := range records {
		r.ID, r.Seq, r.Replica, r.Prev = fmt.Sprint("r", i), first+int64(i), "gw-0", strings.Repeat("0", 64)
		line, err := audit.AppendLine(nil, &r)
		if err != nil {
			t.Fatal(err)
		}
		b.Write(append(line, '\n'))
	}
	return fstest.MapFS{"00000001.jsonl": &fstest.MapFile{Data: b.Bytes()}}
}

func allowedRole(decision string) audit.Record {
	return audit.Record{Time: day("12:00:00"), Event: audit.ExchangeAllowed, Decision: decision, Target: "aws-prod", Resource: deployARN}
}

func mintedRole(decision, key string) audit.Record {
	return audit.Record{Time: day("12:00:02"), Event: audit.ExchangeMinted, Decision: decision, Target: "aws-prod", Handle: key}
}

func reconcile(t testing.TB, events string, journals ...fs.FS) audit.Reconciliation {
	t.Helper()
	r, err := audit.Reconcile(ourIssuer, audit.ReadCloudTrail(strings.NewReader(events)), journals...)
	if err != nil {
		t.Fatal(err)
	}
	return r
}

func TestReconcile(t *testing.T) {
	const key = "ASIAEXAMPLE00000000A"
	good := journalOf(t, 1, allowedRole(decisionA), mintedRole(decisionA, key))
	change := func(c func(*audit.Record)) audit.Record {
		r := allowedRole(decisionA)
		c(&r)
		return r
	}
	for name, c := range map[string]struct {
		event   []string // replacements in the event
		journal fs.FS    // nil: the good one
		want    audit.SuspectKind
	}{
		"honest":     {},
		"forged":     {event: []string{`"roleSessionName": "` + decisionA, `"roleSessionName": "forged`}, want: audit.SuspectUnknown},
		"no session": {event: []string{`"roleSessionName"`, `"x"`}, want: audit.SuspectUnknown},
		"after the journal": {
			event: []string{`"roleSessionName": "` + decisionA, `"roleSessionName": "forged`, "12:00:01Z", "23:00:00Z"}, want: audit.SuspectUnknown,
		},
		"older than the journal": {
			event:   []string{`"roleSessionName": "` + decisionA, `"roleSessionName": "older`, "12:00:01Z", "11:00:00Z"},
			journal: journalOf(t, 7, allowedRole(decisionA)), want: audit.SuspectOutside,
		},
		"other role": {event: []string{`"roleArn": "` + deployARN, `"roleArn": "arn:aws:iam::111122223333:role/admin`}, want: audit.SuspectOtherRole},
		"other key":  {event: []string{key, "ASIAEXAMPLE00000000B"}, want: audit.SuspectOtherKey},
		"other time": {event: []string{"12:00:01Z", "12:10:01Z"}, want: audit.SuspectOtherTime},
		"too early":  {event: []string{"12:00:01Z", "11:49:59Z"}, want: audit.SuspectOtherTime},
		"denied": {
			journal: journalOf(t, 1, change(func(r *audit.Record) { r.Event, r.Reason = audit.ExchangeDenied, "stopped" })), want: audit.SuspectNotAllowed,
		},
		"dry run":    {journal: journalOf(t, 1, change(func(r *audit.Record) { r.Event = audit.ExchangeDryRun })), want: audit.SuspectNotAllowed},
		"no outcome": {journal: journalOf(t, 1, allowedRole(decisionA)), want: audit.SuspectUnconfirmed},
		"failed": {
			journal: journalOf(t, 1, allowedRole(decisionA), change(func(r *audit.Record) { r.Event, r.Reason = audit.ExchangeFailed, "target-unavailable" })),
			want:    audit.SuspectUnconfirmed,
		},
		"a shadow trust beside it": {
			journal: journalOf(t, 1, change(func(r *audit.Record) { r.Event = audit.ExchangeDryRun }), allowedRole(decisionA), mintedRole(decisionA, key)),
		},
	} {
		journal := c.journal
		if journal == nil {
			journal = good
		}
		got := reconcile(t, batch(trailEvent("e1", c.event...)), journal)
		kind := audit.SuspectKind("")
		if len(got.Suspects) == 1 {
			kind = got.Suspects[0].Kind
		}
		if kind != c.want || got.Events != 1 || got.Known+got.Suspected != 1 || (got.Known == 1) != (c.want == "") {
			t.Errorf("%s: %+v, want %q", name, got, c.want)
		}
	}
}

func TestReconcileCounts(t *testing.T) {
	const key = "ASIAEXAMPLE00000000A"
	events := batch(
		trailEvent("e1"), trailEvent("e1"), // delivered twice
		trailEvent("e2", "id.acme.example", "token.actions.githubusercontent.com"),
		trailEvent("e3", `"responseElements": {`, `"errorCode": "AccessDenied", "responseElements": null, "x": {`),
		trailEvent("e4", `"responseElements": {`, `"errorCode": "AccessDenied", "responseElements": null, "x": {`, `"roleSessionName": "`+decisionA, `"roleSessionName": "tried`),
		trailEvent("e5", "12:00:01Z", "12:00:09Z"),
	)
	unshown := allowedRole(decisionB)
	unshown.Time = day("12:00:05")
	late := allowedRole("later")
	late.Time = day("13:00:00")
	got := reconcile(t, events,
		journalOf(t, 1, allowedRole(decisionA), mintedRole(decisionA, key)),
		journalOf(t, 1, unshown, mintedRole(decisionB, "ASIAEXAMPLE00000000C"), late, mintedRole("later", "ASIAEXAMPLE00000000D")))
	want := audit.Reconciliation{
		Events: 2, Known: 2, Failed: 2, FailedBy: map[string]int64{"AccessDenied": 2}, FailedOther: 1, Others: 1,
		From: day("12:00:01"), To: day("12:00:09"), Unshown: []string{decisionB}, UnshownCount: 1,
		Replicas: []string{"gw-0"}, Records: 6, JournalTo: day("12:00:02"),
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("(-want +got)\n%s", diff)
	}
}

// TestReconcileOfNothing: without an event of ours nothing was compared; one that
// AWS refused is one.
func TestReconcileOfNothing(t *testing.T) {
	good := journalOf(t, 1, allowedRole(decisionA))
	for events, want := range map[string]bool{
		"":      false,
		batch(): false,
		batch(trailEvent("e1", "id.acme.example", "other.acme.example")): false,
		batch(trailEvent("e1")): true,
		batch(trailEvent("e1", `"responseElements": {`, `"errorCode": "AccessDenied", "responseElements": null, "x": {`)): true,
	} {
		if got := reconcile(t, events, good); got.Compared() != want {
			t.Errorf("%s: %+v", events, got)
		}
	}
}

func TestReconcileRefuses(t *testing.T) {
	good := journalOf(t, 1, allowedRole(decisionA))
	events := func() io.Reader { return strings.NewReader(batch(trailEvent("e1"))) }
	for name, c := range map[string]struct {
		issuer   string
		events   io.Reader
		journals []fs.FS
	}{
		"no issuer":      {"", events(), []fs.FS{good}},
		"no journal":     {ourIssuer, events(), nil},
		"empty journal":  {ourIssuer, events(), []fs.FS{good, fstest.MapFS{}}},
		"broken journal": {ourIssuer, events(), []fs.FS{fstest.MapFS{"00000001.jsonl": &fstest.MapFile{Data: []byte("{}\n")}}}},
		"broken events":  {ourIssuer, strings.NewReader("{}"), []fs.FS{good}},
	} {
		if _, err := audit.Reconcile(c.issuer, audit.ReadCloudTrail(c.events), c.journals...); err == nil {
			t.Errorf("%s is taken", name)
		}
	}
}

// FuzzReadCloudTrail holds that no text makes the reader panic, hold more than
// it may, or give an event without a time.
func FuzzReadCloudTrail(f *testing.F) {
	f.Add([]byte(batch(trailEvent("e1"))))
	f.Add([]byte(trailEvent("e1") + "\n" + trailEvent("e2")))
	f.Add([]byte(`{"Records":[{"eventName":"AssumeRoleWithWebIdentity","eventSource":"sts.amazonaws.com","eventTime":"2027-03-01T12:00:01Z","userIdentity":null,"requestParameters":[]}]}`))
	f.Add([]byte("\x1f\x8b\x08\x00"))
	f.Fuzz(func(t *testing.T, text []byte) {
		for e, err := range audit.ReadCloudTrail(bytes.NewReader(text)) {
			if err != nil {
				if e != (audit.AssumedRole{}) {
					t.Fatal("an error and an event")
				}
				continue
			}
			if e.Time.IsZero() && !bytes.Contains(text, []byte("0001-01-01")) || len(e.Session) > 2<<10 {
				t.Fatalf("%+v", e)
			}
		}
	})
}

func TestLook(t *testing.T) {
	s := newSetup(t)
	j, _ := s.open(t)
	c, err := audit.Look(os.DirFS(s.Dir))
	if err != nil || c.Segments != 1 || c.Newest != "00000001.jsonl" || c.Head == "" || c.Ended {
		t.Errorf("while it is written: %+v, %v", c, err)
	}
	if err := j.Close(); err != nil {
		t.Fatal(err)
	}
	c, err = audit.Look(os.DirFS(s.Dir))
	if err != nil || !c.Ended || c.Bytes == 0 {
		t.Errorf("after its end: %+v, %v", c, err)
	}
	report, err := audit.Verify(os.DirFS(s.Dir), audit.Options{Since: c.Head})
	if err != nil || len(report.Problems) > 0 {
		t.Errorf("from its head: %v, %v", report.Problems, err)
	}
	if c, err := audit.Look(fstest.MapFS{}); err != nil || c != (audit.Condition{}) {
		t.Errorf("an empty folder: %+v, %v", c, err)
	}
	cutShort := fstest.MapFS{"00000001.jsonl": &fstest.MapFile{Data: []byte(`{"id`)}}
	if c, err := audit.Look(cutShort); err != nil || c.Ended || c.Head != "" {
		t.Errorf("a torn segment: %+v, %v", c, err)
	}
}

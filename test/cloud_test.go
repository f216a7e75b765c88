package test

import (
	"bytes"
	"context"
	"encoding/json"
	"os"
	"reflect"
	"strings"
	"sync"
	"testing"
	"time"

	"cambio/audit"
	"cambio/standin"
	"cambio/test/rig"
)

// syncedDisk keeps what a journal has made durable: what was written and synced.
type syncedDisk struct {
	mu     sync.Mutex
	synced bytes.Buffer
}

func (d *syncedDisk) open(path string) (audit.File, error) {
	f, err := os.OpenFile(path, os.O_WRONLY|os.O_CREATE|os.O_EXCL|os.O_APPEND, 0o600)
	if err != nil {
		return nil, err
	}
	return &syncedFile{File: f, disk: d}, nil
}

// events are the durable records of a decision, by event.
func (d *syncedDisk) events(decision string) (out []audit.Record) {
	d.mu.Lock()
	defer d.mu.Unlock()
	for line := range strings.Lines(d.synced.String()) {
		var r audit.Record
		if json.Unmarshal([]byte(line), &r) == nil && r.Decision == decision {
			out = append(out, r)
		}
	}
	return out
}

type syncedFile struct {
	*os.File
	disk    *syncedDisk
	pending bytes.Buffer
}

// Write keeps the bytes aside until they are synced.
func (f *syncedFile) Write(p []byte) (int, error) {
	n, err := f.File.Write(p)
	f.pending.Write(p[:n])
	return n, err
}

// Sync makes them durable.
func (f *syncedFile) Sync() error {
	if err := f.File.Sync(); err != nil {
		return err
	}
	f.disk.mu.Lock()
	defer f.disk.mu.Unlock()
	_, err := f.pending.WriteTo(&f.disk.synced)
	return err
}

// TestCloudExchange follows one exchange from the workload's token to the role,
// and looks at each thing that leaves the gateway.
func TestCloudExchange(t *testing.T) {
	t.Parallel()
	disk := &syncedDisk{}
	c := openCloud(t, 1, rig.Setup{Targets: cloudTarget, Trusts: deploys(roleFor("ttl: 30m")), OpenSegment: disk.open})
	// STS asks for our keys while it is called: by then the decision is durable.
	sts, atCall := c.sts[0], make(chan []audit.Record, 1)
	second := "444455556666"
	sts.AddOIDC(standin.OIDCProvider{Account: second, URL: "https://gw.test", Audiences: []string{"sts.amazonaws.com"}})
	sts.AddOIDC(standin.OIDCProvider{Account: awsAccount, URL: "https://other.test", Audiences: []string{"sts.amazonaws.com"}})
	c.control()
	sts.Fail(standin.STSFault{Edit: func(a *standin.STSAnswer) {
		_, decision, _ := strings.Cut(a.RoleID, ":")
		atCall <- disk.events(decision)
	}})
	a := c.assume(c.Token(nil))
	durable := disk.events(a.Decision) // before the answer is used
	if a.Status != 200 {
		t.Fatalf("%d %s", a.Status, a.Raw)
	}
	if before := <-atCall; len(before) != 1 || before[0].Event != audit.ExchangeAllowed || before[0].Reason != "" {
		t.Errorf("durable when STS was called: %+v", before)
	}
	got := last(t, sts).Issued
	if len(durable) != 2 || durable[1].Event != audit.ExchangeMinted {
		t.Fatalf("durable when the answer came: %+v", durable)
	}
	allowed, minted := durable[0], durable[1]
	if allowed.Handle != last(t, sts).Claims["jti"] || allowed.Resource != awsRole || allowed.Target != "aws-prod" || allowed.TTL != 1800 || allowed.Expires.Sub(allowed.Time).Round(time.Minute) != 30*time.Minute {
		t.Errorf("allowed: %+v", allowed)
	}
	if minted.Handle != got.AccessKeyID || minted.Resource != awsRole || minted.Target != "aws-prod" || !minted.Expires.Equal(got.Expires) || minted.Trust != "deploy" || minted.Workload != cloudWorkload {
		t.Errorf("minted: %+v", minted)
	}
	if want := "arn:aws:sts::111122223333:assumed-role/payments-deploy/" + a.Decision; got.ARN != want {
		t.Errorf("the session is %s, want %s", got.ARN, want)
	}
	assertionOf(t, c, a, last(t, sts))
	shape(t, a, got)

	for name, form := range map[string][]string{
		"the role named":   {"resource", awsRole},
		"the type named":   {"requested_token_type", awsType},
		"the trust named":  {"trust", "deploy"},
		"an identity type": {"subject_token_type", idTokenType},
	} {
		if a := c.assume(c.Token(nil), form...); a.Status != 200 || a.Text("issued_token_type") != awsType {
			t.Errorf("%s: %d %s", name, a.Status, a.Raw)
		}
		<-atCall
	}
	sts.Heal()
	before := len(sts.Requests())
	for _, kind := range []string{rig.JWTType, accessType} {
		c.Deny(c.assume(c.Token(nil), "requested_token_type", kind), "token-type")
		if a := c.Post(form(c.Rig, "requested_token_type", kind)); a.Status != 200 || a.Text("issued_token_type") != kind {
			t.Errorf("%s of a jwt target: %d %s", kind, a.Status, a.Raw)
		}
	}
	c.Deny(c.Post(form(c.Rig, "requested_token_type", awsType)), "token-type")
	told(t, c.assume(c.Token(nil), "requested_token_type", refreshType), 400, "invalid_request", "requested_token_type")

	// A rehearsal asks nobody and uses nothing up.
	token := c.Token(nil)
	a = c.assume(token, "dry_run", "true", "ttl", "1200")
	if a.Status != 200 || len(a.Body) != 4 || a.Body["dry_run"] != true || a.Body["would_allow"] != true || a.Body["expires_in"] != 1200.0 || a.Text("decision_id") != a.Decision {
		t.Errorf("dry run: %d %s", a.Status, a.Raw)
	}
	if records := c.Records(a.Decision); len(records) != 1 || records[0].Event != audit.ExchangeDryRun || records[0].Handle != "" {
		t.Errorf("dry run: %+v", records)
	}
	if n := len(sts.Requests()) - before; n != 0 {
		t.Errorf("%d calls of STS for what issues nothing", n)
	}
	if a := c.assume(token); a.Status != 200 {
		t.Errorf("after a dry run: %d %s", a.Status, a.Raw)
	}
	c.control()
	c.Stop()
	verifyJournal(t, c.Rig)
}

// shape fails the test unless the answer is the contract's, with this session.
func shape(t *testing.T, a rig.Answer, s standin.STSSession) {
	t.Helper()
	want := map[string]any{
		"Version": 1.0, "AccessKeyId": s.AccessKeyID, "SecretAccessKey": s.SecretKey, "SessionToken": s.SessionToken,
		"Expiration": s.Expires.UTC().Format(time.RFC3339),
	}
	var text map[string]any
	if err := json.Unmarshal([]byte(a.Text("access_token")), &text); err != nil || !reflect.DeepEqual(text, want) || !reflect.DeepEqual(a.Body["credentials"], any(want)) {
		t.Errorf("credentials %v, as text %s, want %v", a.Body["credentials"], a.Text("access_token"), want)
	}
	seconds, _ := a.Body["expires_in"].(float64)
	if len(a.Body) != 6 || a.Text("issued_token_type") != awsType || a.Text("token_type") != "N_A" || a.Text("decision_id") != a.Decision || seconds < 1790 || seconds > 1800 {
		t.Errorf("answer %v", a.Body)
	}
	if a.Header.Get("Cache-Control") != "no-store" || a.Header.Get("Content-Type") != "application/json" || strings.Contains(a.Raw, "null") {
		t.Errorf("headers %v of %s", a.Header, a.Raw)
	}
}

// TestCloudUnfit: a claim that makes a tag which AWS would refuse is refused
// before AWS is asked, and the record names the tag.
func TestCloudUnfit(t *testing.T) {
	t.Parallel()
	c := openCloud(t, 1, rig.Setup{Targets: cloudTarget, Trusts: deploys(roleFor(`ttl: 30m, tags: {workflow: "${claims.workflow}", team: pay}, source_identity: "${claims.actor}"`))})
	ask := func(workflow, actor any) rig.Answer {
		return c.assume(c.Token(map[string]any{"workflow": workflow, "actor": actor}))
	}
	if a := ask(strings.Repeat("x", 256), "octocat"); a.Status != 200 || c.sts[0].Requests()[0].Issued.Tags["workflow"] == "" || c.sts[0].Requests()[0].Issued.SourceID != "octocat" {
		t.Fatalf("%d %s", a.Status, a.Raw)
	}
	for _, row := range []struct {
		name            string
		workflow, actor any
		field           string
	}{
		{"too long", strings.Repeat("x", 257), "octocat", "tags.workflow"},
		{"another alphabet", "a<b>", "octocat", "tags.workflow"},
		{"an actor of one letter", "ci", "o", "source_identity"},
		{"an actor with a space", "ci", "octo cat", "source_identity"},
	} {
		a := ask(row.workflow, row.actor)
		c.Deny(a, "grant-unfit")
		records := c.Records(a.Decision)
		if text, _ := records[0].Claims["error"].(string); !strings.Contains(text, row.field) {
			t.Errorf("%s: the record says %q, which does not name %s", row.name, text, row.field)
		}
	}
	c.Deny(ask(nil, "octocat"), "claim-missing")
	if n := len(c.sts[0].Requests()); n != 1 {
		t.Errorf("STS was called %d times", n)
	}
	if a := ask("ci", "octocat"); a.Status != 200 {
		t.Errorf("%d %s", a.Status, a.Raw)
	}
}

// TestCloudSubject: a role can admit a trust in place of a workload.
func TestCloudSubject(t *testing.T) {
	t.Parallel()
	c := openCloud(t, 1, rig.Setup{
		Targets: cloudTarget + "\n" + strings.NewReplacer("aws-prod", "aws-trust", "max_ttl: 1h", "subject: trust").Replace(cloudTarget),
		Trusts:  deploys(roleFor("ttl: 30m"), `{to: aws-trust, resource: "`+awsRole+`"}`),
	})
	c.control()
	// The role admits the workload only, and AWS says no: nothing was issued.
	token := c.Token(nil)
	a := c.assume(token, "audience", "aws-trust")
	c.Unavailable(a, "mint-failed")
	records := c.Records(a.Decision)
	if end := records[len(records)-1]; end.Replay == nil || end.Replay.Outcome != "released" || !strings.Contains(end.Claims["error"].(string), "AccessDenied") {
		t.Errorf("%+v", end)
	}
	c.role(awsRole, "spiffe://gw.test/trust/deploy", c.sts[0])
	if a := c.assume(token, "audience", "aws-trust"); a.Status != 200 || last(t, c.sts[0]).Claims["sub"] != "spiffe://gw.test/trust/deploy" {
		t.Errorf("%d %s: %v", a.Status, a.Raw, last(t, c.sts[0]).Claims)
	}
	c.Unavailable(c.assume(c.Token(nil)), "mint-failed")
	c.Control()
}

// TestCloudStalled: a cloud that does not answer takes its own places and no
// others, and the one who finds none is told at once.
func TestCloudStalled(t *testing.T) {
	t.Parallel()
	const places = 64
	c := openCloud(t, 2, rig.Setup{
		Targets: cloudTarget + "\n" + strings.NewReplacer("aws-prod", "aws-stalled", "STS0", "STS1").Replace(cloudTarget),
		Trusts:  deploys(roleFor("ttl: 30m"), `{to: aws-stalled, resource: "`+awsRole+`"}`),
	})
	c.control()
	stalled := c.sts[1]
	stalled.Fail(standin.STSFault{Fault: standin.Fault{Hang: true}})
	answers := make([]rig.Answer, places)
	var wg sync.WaitGroup
	for i := range answers {
		token := c.Token(nil)
		wg.Go(func() { answers[i] = c.assume(token, "audience", "aws-stalled") })
	}
	rig.Eventually(t, "all places taken", func() bool { return len(stalled.Requests()) == places })
	begin := time.Now()
	a := c.assume(c.Token(nil), "audience", "aws-stalled")
	c.Unavailable(a, "target-busy")
	records := c.Records(a.Decision)
	if end := records[len(records)-1]; a.Header.Get("Retry-After") != "1" || end.Event != audit.ExchangeFailed || end.Replay == nil || end.Replay.Outcome != "released" {
		t.Errorf("Retry-After %s, %+v", a.Header.Get("Retry-After"), end)
	}
	for range 5 {
		c.control()
	}
	if took := time.Since(begin); took > 5*time.Second {
		t.Errorf("beside a stalled target: %s", took)
	}
	if n := len(stalled.Requests()); n != places {
		t.Errorf("%d calls of the stalled target", n)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
	defer cancel()
	if err := stalled.Close(); err != nil {
		t.Error(err)
	}
	done := make(chan struct{})
	go func() { wg.Wait(); close(done) }()
	select {
	case <-done:
	case <-ctx.Done():
		t.Fatal("callers of the stalled target still wait")
	}
	for _, a := range answers {
		c.Unavailable(a, "mint-failed")
	}
	c.control()
}

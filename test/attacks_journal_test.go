package test

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"maps"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"cambio/audit"
	"cambio/audit/audittest"
	"cambio/test/rig"
)

// journalAttacks are the cases on the journal, and on what is told to whom.
func journalAttacks() map[string]func(*testing.T) {
	return map[string]func(*testing.T){
		"AUD-01": failingDisk, "AUD-02": recordFields, "AUD-06": refusalFlood,
		"LEAK-01": canaries, "LEAK-02": errorBodies, "LEAK-06": tokensInURLs,
	}
}

// failingDisk is AUD-01.
func failingDisk(t *testing.T) {
	for name, fault := range map[string]func(d *audittest.Faulty, broken bool){
		"fsync fails":          func(d *audittest.Faulty, b bool) { d.FailSync(all(b)) },
		"the disk is full":     func(d *audittest.Faulty, b bool) { d.FailWrite(all(b), 0) },
		"full within a line":   func(d *audittest.Faulty, b bool) { d.FailWrite(all(b), 77) },
		"read-only after that": func(d *audittest.Faulty, b bool) { d.FailOpen(all(b)); d.FailSync(all(b)) },
		"not permitted": func(d *audittest.Faulty, b bool) {
			d.FailOpen(all(b))
			if b {
				d.FailWrite(1, 0)
			}
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			disk := &audittest.Faulty{}
			r := rig.New(t, rig.Setup{OpenSegment: disk.Open})
			r.Control()
			fault(disk, true)
			token := r.Token(nil)
			r.Unavailable(r.Exchange(token))
			r.Unavailable(r.Exchange(token))
			if a := r.Get(r.AdminURL, "/readyz"); a.Status != 503 || a.Body["ready"] != false {
				t.Errorf("readyz: %d %s", a.Status, a.Raw)
			}
			if a := r.Get(r.AdminURL, "/healthz"); a.Status != 200 {
				t.Errorf("healthz: %d %s", a.Status, a.Raw)
			}
			// Not even a refusal or a rehearsal goes unrecorded.
			r.Unavailable(r.Exchange(r.Token(map[string]any{"ref": "refs/heads/x", "sub": "custom"})))
			dry := form(r, "dry_run", "true")
			r.Unavailable(r.Post(dry))
			if a := r.Get(r.URL, "/keys"); a.Status != 200 {
				t.Errorf("/keys: %d", a.Status)
			}
			if !strings.Contains(r.Get(r.AdminURL, "/metrics").Raw, "cambio_journal_failures_total") {
				t.Error("no metric")
			}
			fault(disk, false)
			rig.Eventually(t, "recovery by itself", func() bool { return r.Get(r.AdminURL, "/readyz").Status == 200 })
			r.Control()
			if a := r.Exchange(token); a.Status != 200 {
				t.Errorf("the token that got nothing: %d %s", a.Status, a.Raw)
			}
			r.Refused(r.Exchange(token), 400, "invalid_request", usedSentence, "replayed")
			r.Stop()
			if n := len(events(t, r, audit.ExchangeMinted)); n != 3 {
				t.Errorf("%d minted, want the 3 that were answered", n)
			}
			if o := run(t, nil, "audit", "verify", r.JournalDir()); o.code != 0 {
				t.Errorf("audit verify: exit %d\n%s%s", o.code, o.stdout, o.stderr)
			}
		})
	}
	t.Run("fsync fails once", func(t *testing.T) {
		t.Parallel()
		disk := &audittest.Faulty{}
		r := rig.New(t, rig.Setup{OpenSegment: disk.Open})
		for range 3 {
			r.Control()
			disk.FailSync(1)
			token := r.Token(nil)
			r.Unavailable(r.Exchange(token))
			rig.Eventually(t, "recovery by itself", func() bool { return r.Get(r.AdminURL, "/readyz").Status == 200 })
			if a := r.Exchange(token); a.Status != 200 {
				t.Errorf("the token that got nothing: %d %s", a.Status, a.Raw)
			}
		}
		r.Control()
	})
	t.Run("power loss", func(t *testing.T) {
		t.Parallel()
		disk := &audittest.PowerLoss{}
		r := rig.New(t, rig.Setup{OpenSegment: disk.Open})
		var decisions []string
		for range 5 {
			a := r.Exchange(r.Token(nil))
			if a.Status != 200 {
				t.Fatal(a.Raw)
			}
			decisions = append(decisions, a.Decision)
		}
		if err := disk.Crash(0); err != nil {
			t.Fatal(err)
		}
		for _, d := range decisions {
			records, err := audit.Find(os.DirFS(r.JournalDir()), d)
			if err != nil || len(records) == 0 || records[0].Event != audit.ExchangeAllowed || records[0].Handle == "" {
				t.Errorf("a credential left and its decision %s did not survive: %v %v", d, records, err)
			}
		}
		r.Unavailable(r.Exchange(r.Token(nil)))
	})
}

// all is how many operations fail.
func all(broken bool) int {
	if broken {
		return -1
	}
	return 0
}

// recordCase is one request, and what its record must hold.
type recordCase struct {
	name   string
	form   url.Values
	status int
	event  audit.Event
	reason string
	fields string // beside the common ones, in alphabetical order
}

// What each kind of record has, beside id, seq, time, replica, event and prev.
const (
	fieldsUnproven = "address decision reason target token_sha256"
	fieldsKnown    = "address decision provider reason subject target token_sha256 workload"
	fieldsAllowed  = "address claims decision expires handle policy_sha256 provider replay scope subject target token_sha256 trust trust_sha256 ttl workload"
	fieldsJudged   = "address claims decision policy_sha256 provider reason subject target token_sha256 workload"
)

func recordCases(r *rig.Rig) []recordCase {
	denied := func(name string, claims map[string]any, reason, fields string) recordCase {
		return recordCase{name, rig.Form(r.Token(claims)), 400, audit.ExchangeDenied, reason, fields}
	}
	with := func(c recordCase, pairs ...string) recordCase {
		for i := 0; i < len(pairs); i += 2 {
			c.form.Set(pairs[i], pairs[i+1])
		}
		return c
	}
	good := r.Token(nil)
	broken := func(token string) url.Values { return rig.Form(token[:len(token)-8] + "AAAAAAAA") }
	used := r.Token(nil)
	now := r.Clock.Now().Unix()
	x := map[string]any{"ref": "refs/heads/x", "sub": "custom"}
	return []recordCase{
		{"allowed", rig.Form(good), 200, audit.ExchangeAllowed, "", fieldsAllowed},
		{"to be used again", rig.Form(used), 200, audit.ExchangeAllowed, "", fieldsAllowed},
		{"replayed", rig.Form(used), 400, audit.ExchangeDenied, "replayed", "address claims decision policy_sha256 provider reason scope subject target token_sha256 trust trust_sha256 ttl workload"},
		with(recordCase{"dry run", rig.Form(r.Token(nil)), 200, audit.ExchangeDryRun, "", "address claims decision policy_sha256 provider scope subject target token_sha256 trust trust_sha256 ttl workload"}, "dry_run", "true"),
		with(recordCase{"refused dry run", rig.Form(r.Token(x)), 400, audit.ExchangeDryRun, "condition-false", fieldsJudged + " trust trust_sha256"}, "dry_run", "true"),
		{"bad signature", broken(r.Token(nil)), 400, audit.ExchangeDenied, "signature-invalid", "address decision provider reason target token_sha256"},
		denied("issuer unknown", map[string]any{"iss": "https://nobody.test"}, "issuer-unknown", fieldsUnproven),
		denied("audience", map[string]any{"aud": "other"}, "aud-mismatch", fieldsKnown),
		denied("expired", map[string]any{"exp": now - 100, "iat": now - 400}, "expired", fieldsKnown),
		denied("not yet", map[string]any{"nbf": now + 100}, "not-yet-valid", fieldsKnown),
		denied("iat ahead", map[string]any{"iat": now + 100}, "iat-future", fieldsKnown),
		denied("no iat", map[string]any{"iat": nil}, "iat-missing", fieldsKnown),
		denied("too old", map[string]any{"iat": now - 7200}, "too-old", fieldsKnown),
		denied("too long", map[string]any{"exp": now + 90000}, "token-too-long-lived", fieldsKnown),
		denied("condition", x, "condition-false", fieldsJudged+" trust trust_sha256"),
		denied("event", map[string]any{"event_name": "pull_request"}, "event-not-named", fieldsJudged+" trust trust_sha256"),
		denied("guardrail", map[string]any{"actor": "mallory"}, "guardrail", fieldsJudged+" trust trust_sha256"),
		denied("sub and ids", map[string]any{"repository_id": "9"}, "condition-false", fieldsKnown),
		with(denied("target", nil, "target-not-granted", fieldsJudged+" trust trust_sha256"), "audience", "nobody"),
		with(denied("resource", nil, "resource-not-granted", fieldsJudged+" resource trust trust_sha256"), "resource", "urn:x:y"),
		with(denied("scope", nil, "scope-not-granted", fieldsJudged+" scope trust trust_sha256"), "scope", "admin"),
		with(denied("trust", nil, "no-matching-trust", fieldsJudged), "trust", "nobody"),
		with(denied("ttl asked", x, "condition-false", fieldsJudged+" trust trust_sha256 ttl"), "ttl", "60"),
	}
}

const recordGuardrail = `guardrail: no-mallory
owner: a@acme.test
purpose: forbid one
from: [iss1]
forbid: claims.?actor.orValue("") == "mallory"
`

func recordFields(t *testing.T) {
	r := rig.New(t, rig.Setup{Trusts: map[string]string{"tr1.yaml": rig.TR1, "tr2.yaml": rig.TR2, "g.yaml": recordGuardrail}})
	r.Control()
	decisions := map[string]recordCase{}
	var tokens []string
	for _, c := range recordCases(r) {
		a := r.Post(c.form)
		if a.Status != c.status {
			t.Errorf("%s: %d %s", c.name, a.Status, a.Raw)
		}
		if a.Decision == "" || decisions[a.Decision].form != nil {
			t.Fatalf("%s: decision %q", c.name, a.Decision)
		}
		decisions[a.Decision] = c
		tokens = append(tokens, c.form.Get("subject_token"))
		if minted := a.Text("access_token"); minted != "" {
			tokens = append(tokens, minted)
			_, claims := jwtParts(t, minted)
			for _, rec := range r.Records(a.Decision) {
				if rec.Handle != claims["jti"] {
					t.Errorf("%s: recorded handle %s, jti %v", c.name, rec.Handle, claims["jti"])
				}
			}
		}
	}
	r.Control()
	r.Stop()
	lines := chain(t, r.JournalDir())
	seen := map[string]int{}
	for _, line := range lines {
		var rec map[string]any
		if err := json.Unmarshal(line, &rec); err != nil {
			t.Fatal(err)
		}
		for _, name := range []string{"id", "seq", "time", "replica", "event", "prev"} {
			if rec[name] == nil {
				t.Errorf("no %s in %s", name, line)
			}
			delete(rec, name)
		}
		decision, _ := rec["decision"].(string)
		c, ok := decisions[decision]
		if !ok {
			continue
		}
		var full audit.Record
		if err := json.Unmarshal(line, &full); err != nil {
			t.Fatal(err)
		}
		if seen[decision]++; full.Event == audit.ExchangeMinted {
			if got := strings.Join(slices.Sorted(maps.Keys(rec)), " "); got != "decision expires handle provider target trust workload" {
				t.Errorf("%s: minted with %s", c.name, got)
			}
			continue
		}
		compareRecord(t, c, full, rec)
	}
	for d, c := range decisions {
		want := 1
		if c.event == audit.ExchangeAllowed {
			want = 2
		}
		if seen[d] != want {
			t.Errorf("%s: %d records, want %d", c.name, seen[d], want)
		}
	}
	for _, token := range tokens {
		parts := strings.Split(token, ".")
		for _, secret := range []string{token, parts[1], parts[2]} {
			if bytes.Contains(bytes.Join(lines, nil), []byte(secret)) {
				t.Errorf("the journal holds a token or a part of one: %s", secret)
			}
		}
	}
	showRecords(t, r, decisions)
}

func compareRecord(t *testing.T, c recordCase, full audit.Record, rec map[string]any) {
	t.Helper()
	want := strings.Fields(c.fields)
	slices.Sort(want)
	if got := slices.Sorted(maps.Keys(rec)); !slices.Equal(got, want) {
		t.Errorf("%s: fields\n%v, want\n%v", c.name, got, want)
	}
	sum := sha256.Sum256([]byte(c.form.Get("subject_token")))
	if full.Event != c.event || full.Reason != c.reason || full.TokenSHA256 != hex.EncodeToString(sum[:]) || full.Target != c.form.Get("audience") || full.Address != "127.0.0.1" {
		t.Errorf("%s: record %+v", c.name, full)
	}
	workload := "spiffe://gw.test/iss1/1/2"
	if c.name == "sub and ids" {
		workload = "spiffe://gw.test/iss1/1/9" // as the ids say, that the sub contradicts
	}
	if full.Workload != "" && full.Workload != workload || full.Provider != "" && full.Provider != "iss1" {
		t.Errorf("%s: record %+v", c.name, full)
	}
	if c.event == audit.ExchangeAllowed && (full.Scope != "read" || full.TTL <= 0 || full.TTL > 900 || full.Trust != "tr1" || full.Replay.Decision != full.Decision) {
		t.Errorf("%s: record %+v", c.name, full)
	}
}

// chain reads all lines and computes the chain anew.
func chain(t *testing.T, dir string) [][]byte {
	t.Helper()
	segments, err := filepath.Glob(filepath.Join(dir, "*.jsonl"))
	if err != nil || len(segments) == 0 {
		t.Fatal("no segments", err)
	}
	var lines [][]byte
	prev, seq := strings.Repeat("0", 64), int64(0)
	for _, s := range segments {
		b, err := os.ReadFile(s)
		if err != nil {
			t.Fatal(err)
		}
		for line := range bytes.Lines(b) {
			line = bytes.TrimSuffix(line, []byte("\n"))
			var rec struct {
				Prev string    `json:"prev"`
				Seq  int64     `json:"seq"`
				Time time.Time `json:"time"`
			}
			if err := json.Unmarshal(line, &rec); err != nil || bytes.ContainsAny(line, "\r\n") {
				t.Fatalf("%v: %s", err, line)
			}
			if rec.Prev != prev || rec.Seq != seq+1 || rec.Time.Location() != time.UTC {
				t.Fatalf("after seq %d with hash %s comes %s", seq, prev, line)
			}
			sum := sha256.Sum256(line)
			prev, seq = hex.EncodeToString(sum[:]), rec.Seq
			lines = append(lines, bytes.Clone(line))
		}
	}
	return lines
}

// showRecords lets the program find decisions by the id of the answer.
func showRecords(t *testing.T, r *rig.Rig, decisions map[string]recordCase) {
	t.Helper()
	n := 0
	for d, c := range decisions {
		if n++; n > 5 {
			break
		}
		o := run(t, nil, "audit", "show", d, "--config", filepath.Join(r.Dir, "cambio.yaml"))
		if o.code != 0 || !strings.Contains(o.stdout, d) || !strings.Contains(o.stdout, string(c.event)) || !strings.Contains(o.stdout, c.reason) {
			t.Errorf("audit show %s (%s): exit %d\n%s%s", d, c.name, o.code, o.stdout, o.stderr)
		}
	}
	if o := run(t, nil, "audit", "verify", r.JournalDir()); o.code != 0 {
		t.Errorf("audit verify: exit %d\n%s%s", o.code, o.stdout, o.stderr)
	}
}

// refusalFlood is AUD-06.
func refusalFlood(t *testing.T) {
	r := rig.New(t, rig.Setup{Limits: "{per_address: 50/s, per_workload: 10/s}", Server: "trusted_proxies: [127.0.0.0/8]"})
	from := func(address string, f url.Values) rig.Answer {
		return r.Do(request(r, "POST", "", f.Encode(), "Content-Type", formMedia, "X-Forwarded-For", address))
	}
	control := func(address string) {
		t.Helper()
		rig.Eventually(t, "an honest answer", func() bool { return from(address, rig.Form(r.Token(nil))).Status == 200 })
	}
	control("198.51.100.1")
	bad := rig.Form(r.Token(map[string]any{"iss": "https://nobody.test"}))
	var mu sync.Mutex
	counts, retry := map[int]int{}, true
	var wg sync.WaitGroup
	begin := time.Now()
	for range 8 {
		wg.Go(func() {
			for range 250 {
				a := from("203.0.113.9", bad)
				mu.Lock()
				counts[a.Status]++
				retry = retry && (a.Status != 429 || a.Header.Get("Retry-After") == "1" && a.Text("error") == "temporarily_unavailable" && a.Decision != "")
				mu.Unlock()
			}
		})
	}
	wg.Wait()
	most := 100 + int(50*time.Since(begin).Seconds()) + 10
	if counts[400] < 100 || counts[400] > most || counts[400]+counts[429] != 2000 || !retry {
		t.Errorf("answers %v, want at most %d refusals, the others 429 with Retry-After", counts, most)
	}
	control("198.51.100.2") // another address is served meanwhile
	// One workload: ten a second, and what is limited burns nothing.
	var limited []string
	allowed := 2
	for i := range 60 {
		token := r.Token(nil)
		switch a := from(fmt.Sprintf("198.51.100.%d", 10+i), rig.Form(token)); a.Status {
		case 200:
			allowed++
		case 429:
			limited = append(limited, token)
		default:
			t.Errorf("%d %s", a.Status, a.Raw)
		}
	}
	if len(limited) == 0 {
		t.Fatal("the workload's rate does not hold")
	}
	rig.Eventually(t, "the limited token's turn", func() bool { return from("198.51.100.99", rig.Form(limited[0])).Status == 200 })
	allowed++
	r.Stop()
	countsAddUp(t, r, map[string]int{"issuer-unknown": counts[400]}, allowed)
	unlimited := floodWithoutLimits(t)
	t.Logf("%d refusals summarised", unlimited)
}

// floodWithoutLimits refuses many for two reasons among honest requests.
func floodWithoutLimits(t *testing.T) int {
	t.Helper()
	r := rig.New(t, rig.Setup{})
	bad := []url.Values{rig.Form(r.Token(map[string]any{"iss": "https://nobody.test"})), rig.Form(r.Token(map[string]any{"ref": "refs/heads/x", "sub": "custom"}))}
	const workers, each = 4, 400
	var wg sync.WaitGroup
	for w := range workers {
		wg.Go(func() {
			for i := range each {
				if a := r.Post(bad[w%2]); a.Status != 400 {
					t.Errorf("%d %s", a.Status, a.Raw)
				}
				if i%8 == 0 {
					if a := r.Exchange(r.Token(nil)); a.Status != 200 {
						t.Errorf("%d %s", a.Status, a.Raw)
					}
				}
			}
		})
	}
	wg.Wait()
	r.Stop()
	countsAddUp(t, r, map[string]int{"issuer-unknown": workers / 2 * each, "condition-false": workers / 2 * each}, workers*each/8)
	return workers * each
}

// countsAddUp compares lines and summaries with what was answered.
func countsAddUp(t *testing.T, r *rig.Rig, refused map[string]int, allowed int) {
	t.Helper()
	lines, summed, perMinute := map[string]int{}, map[string]int{}, map[string]int{}
	granted, minted := 0, 0
	for rec, err := range audit.Read(os.DirFS(r.JournalDir())) {
		if err != nil {
			t.Fatal(err)
		}
		switch rec.Event { //nolint:exhaustive // the others are not counted here
		case audit.ExchangeDenied:
			lines[rec.Reason]++
			perMinute[rec.Reason+rec.Time.Format(" 15:04")]++
		case audit.ExchangeSummary:
			if rec.Decision != "" || rec.Count <= 0 {
				t.Errorf("summary %+v", rec)
			}
			summed[rec.Reason] += int(rec.Count)
		case audit.ExchangeAllowed:
			granted++
		case audit.ExchangeMinted:
			minted++
		}
	}
	for reason, n := range refused {
		if lines[reason]+summed[reason] != n || summed[reason] == 0 && n > 250 {
			t.Errorf("%s: %d lines and %d summed, want %d", reason, lines[reason], summed[reason], n)
		}
	}
	if len(lines) != len(refused) {
		t.Errorf("reasons %v", lines)
	}
	for minute, n := range perMinute {
		if n > 100 {
			t.Errorf("%s: %d full lines", minute, n)
		}
	}
	if granted != allowed || minted != allowed {
		t.Errorf("%d allowed and %d minted on the record, want %d of each", granted, minted, allowed)
	}
}

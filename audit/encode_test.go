package audit_test

import (
	"bytes"
	"encoding/json"
	"errors"
	"math"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"cambio/audit"
)

// full is a record with every field.
func full() audit.Record {
	at := time.Date(2026, 9, 1, 12, 0, 0, 123456789, time.UTC)
	return audit.Record{
		ID: "01990000-0000-7000-8000-000000000001", Seq: 7, Time: at, Replica: "gw-0", Event: audit.ExchangeAllowed,
		Decision: "01990000-0000-7000-8000-000000000002", Reason: "none", Provider: "github",
		Workload: "spiffe://id.acme.example/github/9919/41881900", Subject: "repo:acme/payments:ref:refs/heads/main",
		Trust: "payments-deploy", TrustSHA256: strings.Repeat("a", 64), PolicySHA256: strings.Repeat("b", 64),
		Target: "aws-prod", Resource: "arn:aws:iam::111122223333:role/payments-deploy", Scope: "a b", TTL: 900,
		TokenSHA256: strings.Repeat("c", 64),
		Replay: &audit.Replay{
			Use:     audit.Use{Key: strings.Repeat("d", 43), Decision: "x", Members: []string{"aws-prod r", "b"}, Closed: true, Until: at.Add(time.Hour)},
			Outcome: "burnt", Remembered: []audit.Use{{Key: "k", Until: at}, {Key: "l", Members: []string{"m"}}},
		},
		Address: "192.0.2.1", Handle: "jti", Expires: at.Add(time.Minute), Count: 3, Prev: strings.Repeat("0", 64),
		Claims: map[string]any{
			"repository": "acme/payments", "run_number": json.Number("18446744073709551616"), "list": []any{"a", true, nil, int64(3), 2.5},
			"nested": map[string]any{"b": "<&>\u2028\x00\"\\\n\t\r", "a": json.Number("1e9")},
		},
	}
}

// TestLineIsWhatEncodingJSONWrites compares the two writers.
func TestLineIsWhatEncodingJSONWrites(t *testing.T) {
	t.Parallel()
	records := map[string]audit.Record{
		"full": full(), "empty": {}, "an empty replay": {Replay: &audit.Replay{}},
		"only remembered": {Replay: &audit.Replay{Remembered: []audit.Use{{Key: "k"}}}},
		"only outcome":    {Replay: &audit.Replay{Outcome: "released"}},
		"negative":        {TTL: -1, Seq: -5},
	}
	for name, r := range records {
		line, err := audit.AppendLine(nil, &r)
		if err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		var want bytes.Buffer
		e := json.NewEncoder(&want)
		e.SetEscapeHTML(false)
		if err := e.Encode(r); err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(strings.TrimSuffix(want.String(), "\n"), string(line)); diff != "" {
			t.Errorf("%s: %s", name, diff)
		}
		if _, err := audit.ParseLine(line); err != nil {
			t.Errorf("%s: read back: %v", name, err)
		}
	}
}

// TestNumbersStayWhatTheyAre: a token with 5.0 is not one with 5 to a rule, and must
// not become one for whoever judges the record again.
func TestNumbersStayWhatTheyAre(t *testing.T) {
	t.Parallel()
	for in, want := range map[float64]string{5: "5.0", -3: "-3.0", 0: "0.0", 2.5: "2.5", 1e6: "1e+06", 1 << 62: "4.611686018427388e+18"} {
		line, err := audit.AppendLine(nil, &audit.Record{Claims: map[string]any{"n": in}})
		if err != nil {
			t.Fatal(err)
		}
		r, err := audit.ParseLine(line)
		if err != nil || r.Claims["n"] != json.Number(want) {
			t.Errorf("%v is read back as %v: %v", in, r.Claims["n"], err)
		}
	}
}

func TestLineCutsAndHides(t *testing.T) {
	t.Parallel()
	long := strings.Repeat("é", 600) // 1,200 bytes; the cut must not split one
	deep := any("bottom")
	for range 40 {
		deep = []any{deep}
	}
	r := audit.Record{
		Subject: long, Reason: "\xff\xfe", Expires: time.Date(300_000, 1, 1, 0, 0, 0, 0, time.UTC),
		Claims: map[string]any{
			"long": long, "deep": deep, "bytes": []byte("CANARY"), "struct": struct{ S string }{"CANARY"}, "pointer": new(int),
			"nan": math.NaN(), "number": json.Number("CANARY"), "huge": json.Number(strings.Repeat("9", 65)), "error": errors.New("CANARY"),
			"map": map[string]any{strings.Repeat("k", 2000): 1}, "strings": []string{long},
		},
	}
	line, err := audit.AppendLine(nil, &r)
	if err != nil {
		t.Fatal(err)
	}
	if bytes.Contains(line, []byte("CANARY")) || bytes.Contains(line, []byte("Q0FOQVJZ")) {
		t.Errorf("a value of a foreign type was written: %s", line)
	}
	back, err := audit.ParseLine(line)
	if err != nil {
		t.Fatalf("%v: %s", err, line)
	}
	if want := strings.Repeat("é", 512); back.Subject != want || back.Claims["long"] != want {
		t.Errorf("cut to %d and %v bytes", len(back.Subject), back.Claims["long"])
	}
	if back.Reason != "\ufffd\ufffd" || back.Expires.Year() != 9999 {
		t.Errorf("reason %q, expires %s", back.Reason, back.Expires)
	}
	// A public key is not cut: it must verify.
	r = audit.Record{Event: audit.KeyPublished, Claims: map[string]any{"n": strings.Repeat("n", 1366)}}
	if line, err = audit.AppendLine(nil, &r); err != nil || !bytes.Contains(line, []byte(strings.Repeat("n", 1366))) {
		t.Errorf("a key was cut, %v", err)
	}
}

func TestLineRefusesWhatMustNotBeCut(t *testing.T) {
	t.Parallel()
	large := make(map[string]any)
	for i := range 300 {
		large[strings.Repeat("k", i+1)] = strings.Repeat("v", 1024)
	}
	for name, r := range map[string]audit.Record{
		"member":   {Replay: &audit.Replay{Use: audit.Use{Members: []string{strings.Repeat("m", 4097)}}}},
		"key":      {Replay: &audit.Replay{Use: audit.Use{Key: strings.Repeat("m", 4097)}}},
		"decision": {Replay: &audit.Replay{Remembered: []audit.Use{{Decision: strings.Repeat("m", 4097)}}}},
		"claims":   {Claims: large},
	} {
		if line, err := audit.AppendLine(nil, &r); line != nil || !errors.Is(err, audit.ErrTooLarge) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func TestParseLineRefuses(t *testing.T) {
	t.Parallel()
	r := full()
	valid, err := audit.AppendLine(nil, &r)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := audit.ParseLine(valid); err != nil {
		t.Fatal(err)
	}
	for name, change := range map[string][2]string{
		"an unknown member":        {`"ttl":900`, `"ttl":900,"x":1`},
		"a member twice":           {`"ttl":900`, `"ttl":900,"ttl":900`},
		"a member in upper case":   {`"ttl"`, `"TTL"`},
		"another order":            {`"ttl":900,"token_sha256":"` + r.TokenSHA256 + `"`, `"token_sha256":"` + r.TokenSHA256 + `","ttl":900`},
		"white space":              {`"ttl":900`, `"ttl": 900`},
		"a needless escape":        {`"github"`, `"\u0067ithub"`},
		"an empty member":          {`"ttl":900`, `"ttl":900,"scope":""`},
		"a claim twice":            {`"repository":`, `"repository":"other","repository":`},
		"another time zone":        {`123456789Z`, `123456789+00:00`},
		"text behind the object":   {`"prev":"` + r.Prev + `"}`, `"prev":"` + r.Prev + `"}{}`},
		"an object without an end": {`"prev":"` + r.Prev + `"}`, `"prev":"` + r.Prev + `"`},
		"a raw control character":  {`github`, "git\x01hub"},
	} {
		line := strings.Replace(string(valid), change[0], change[1], 1)
		if line == string(valid) {
			t.Errorf("%s: nothing was changed", name)
		}
		if got, err := audit.ParseLine([]byte(line)); err == nil || !cmp.Equal(got, audit.Record{}) {
			t.Errorf("%s was taken", name)
		}
	}
	if _, err := audit.ParseLine(bytes.Repeat([]byte(" "), 1<<20+1)); err == nil {
		t.Error("a line above the cap was taken")
	}
}

func FuzzLine(f *testing.F) {
	r := full()
	valid, err := audit.AppendLine(nil, &r)
	if err != nil {
		f.Fatal(err)
	}
	f.Add(valid)
	f.Add([]byte(`{"id":"","seq":0,"time":"0001-01-01T00:00:00Z","replica":"","event":"","replay":{},"prev":""}`))
	f.Add([]byte(`{"id":"","seq":0,"time":"0001-01-01T00:00:00Z","replica":"","event":"","claims":{"a":[{"b":1e400}]},"prev":""}`))
	f.Fuzz(func(t *testing.T, line []byte) {
		r, err := audit.ParseLine(line)
		if err != nil {
			if !cmp.Equal(r, audit.Record{}) {
				t.Fatal("an error and a record")
			}
			return
		}
		again, err := audit.AppendLine(nil, &r)
		if err != nil || !bytes.Equal(again, line) {
			t.Fatalf("%v\n%s\n%s", err, line, again)
		}
	})
}

// FuzzRecord holds that whatever a caller puts in a record, its line can be read
// back: a line that cannot would stop the next start.
func FuzzRecord(f *testing.F) {
	f.Add("reason", "subject", "claim", `{"a":[1,2.5,"x",null,{"b":"c"}]}`, int64(1), int64(1788264000))
	f.Add("\xff", "\u2028\x00", strings.Repeat("é", 600), `{"":[]}`, int64(-1), int64(1)<<60)
	f.Fuzz(func(t *testing.T, reason, subject, claim, claims string, n, unix int64) {
		r := audit.Record{Reason: reason, Subject: subject, TTL: n, Expires: time.Unix(unix, n), Event: audit.Event(claim)}
		d := json.NewDecoder(strings.NewReader(claims))
		d.UseNumber()
		if d.Decode(&r.Claims) != nil {
			r.Claims = nil
		}
		if len(claims)%2 == 0 && r.Claims != nil {
			r.Claims[claim] = claim
		}
		line, err := audit.AppendLine(nil, &r)
		if errors.Is(err, audit.ErrTooLarge) {
			return
		}
		if err != nil {
			t.Fatal(err)
		}
		if _, err := audit.ParseLine(line); err != nil {
			t.Fatalf("%v: %s", err, line)
		}
	})
}

func BenchmarkAppendLine(b *testing.B) {
	r := full()
	r.Claims = map[string]any{"repository": "acme/payments", "ref": "refs/heads/main", "run_id": "1234567"}
	buf := make([]byte, 0, 4096)
	b.ReportAllocs()
	for b.Loop() {
		if _, err := audit.AppendLine(buf, &r); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkParseLine(b *testing.B) {
	r := full()
	line, err := audit.AppendLine(nil, &r)
	if err != nil {
		b.Fatal(err)
	}
	b.ReportAllocs()
	for b.Loop() {
		if _, err := audit.ParseLine(line); err != nil {
			b.Fatal(err)
		}
	}
}

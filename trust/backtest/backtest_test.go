package backtest_test

import (
	"encoding/json"
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"cambio/trust"
	"cambio/trust/backtest"
)

func at() time.Time { return time.Date(2027, 3, 1, 8, 0, 0, 0, time.UTC) }

func world() trust.World {
	text := trust.Claim{Type: trust.StringClaim, Always: true}
	api := trust.TargetType{Name: "api", MaxTTL: time.Hour, Fields: map[string]trust.Field{
		"resource": {Type: trust.StringField, Narrows: trust.Equal}, "scopes": {Type: trust.StringsField, Narrows: trust.Subset},
		"ttl": {Type: trust.DurationField, Narrows: trust.Max}, "claims": {Type: trust.ClaimsField, Narrows: trust.Opaque},
	}}
	return trust.World{
		Providers: map[string]trust.Provider{"ci": {
			TokenUse: trust.Once, Journal: []string{"id", "ref", "environment"},
			Platform: trust.Platform{Name: "forge", Anchors: []string{"id"}, Claims: map[string]trust.Claim{
				"id": text, "ref": text, "sub": text, "iss": text, "environment": {Type: trust.StringClaim}, "actor": {Type: trust.StringClaim},
			}},
		}},
		Targets: map[string]trust.Target{"api": {Type: api, MaxTTL: time.Hour}},
	}
}

const base = "name: t\nowner: o\npurpose: p\nfrom: ci\nmatch: {id: \"1\", ref: main}\ngrants: [{to: api, scopes: [read, list], ttl: 20m}]\n"

func compile(tb testing.TB, docs ...string) *trust.Policy {
	tb.Helper()
	var sources []trust.Source
	for i, d := range docs {
		sources = append(sources, trust.Source{Name: fmt.Sprintf("%d.yaml", i), Data: []byte(d)})
	}
	p, findings := trust.Compile(world(), sources, at())
	if findings.HasErrors() {
		tb.Fatal(findings)
	}
	return p
}

// edit changes a piece of the base document, which must be there.
func edit(tb testing.TB, pairs ...string) string {
	tb.Helper()
	doc := base
	for i := 0; i < len(pairs); i += 2 {
		if !strings.Contains(doc, pairs[i]) {
			tb.Fatalf("no %q", pairs[i])
		}
		doc = strings.Replace(doc, pairs[i], pairs[i+1], 1)
	}
	return doc
}

func allowed() backtest.Record {
	return backtest.Record{
		Decision: "d", Time: at(), Allowed: true, Provider: "ci", Workload: "w", Subject: "s", Trust: "t", TrustSHA256: "old", Target: "api",
		Scopes: []string{"read", "list"}, TTL: 20 * time.Minute, Address: netip.MustParseAddr("10.0.0.1"), NonceKnown: true,
		Claims: map[string]any{"id": "1", "ref": "main"},
	}
}

func TestJudge(t *testing.T) {
	t.Parallel()
	other := "name: u\nowner: o\npurpose: p\nfrom: ci\nmatch: {id: \"1\"}\ngrants: [{to: api, scopes: [read, list], ttl: 20m}]\n"
	guard := func(cel string) string {
		return "guardrail: g\nowner: o\npurpose: p\nfrom: [ci]\nforbid: '" + cel + "'\n"
	}
	same := func(*backtest.Record) {}
	denied := func(reason trust.Reason) func(*backtest.Record) {
		return func(r *backtest.Record) {
			r.Allowed, r.Reason, r.NonceKnown, r.TTL = false, reason, false, 0
			r.Claims["ref"] = "dev"
		}
	}
	sha := func(doc string) string { return compile(t, doc).All()[0].SHA256 }
	for name, c := range map[string]struct {
		docs   []string
		change func(*backtest.Record)
		want   backtest.Kind
		more   string // the line, or the claims that it depends on
	}{
		"kept":                                 {[]string{base}, same, backtest.Kept, ""},
		"lost by match":                        {[]string{edit(t, "ref: main", "ref: dev")}, same, backtest.Lost, "match.ref"},
		"lost by when":                         {[]string{edit(t, "grants", "when: ['claims.ref != \"main\"']\ngrants")}, same, backtest.Lost, "when[0]"},
		"lost by network":                      {[]string{edit(t, "grants", "access: {networks: [192.168.0.0/16]}\ngrants")}, same, backtest.Lost, "access.networks"},
		"lost by hours":                        {[]string{edit(t, "grants", "access: {hours: \"Mon-Fri 09:00-10:00 UTC\"}\ngrants")}, same, backtest.Lost, "access.hours"},
		"expired then":                         {[]string{edit(t, "from", "expires: 2027-02-01\nfrom")}, same, backtest.Lost, "expires"},
		"expires later":                        {[]string{edit(t, "from", "expires: 2027-03-02\nfrom")}, same, backtest.Kept, ""},
		"gone":                                 {nil, same, backtest.Lost, "trust"},
		"on trial":                             {[]string{edit(t, "from", "mode: shadow\nfrom")}, same, backtest.Lost, "mode"},
		"guardrail":                            {[]string{base, guard(`claims.ref == "main"`)}, same, backtest.Lost, "guardrail g"},
		"shorter":                              {[]string{edit(t, "20m", "10m")}, same, backtest.Narrowed, ""},
		"fewer scopes":                         {[]string{edit(t, "[read, list]", "[read]")}, same, backtest.Narrowed, ""},
		"other scopes":                         {[]string{edit(t, "[read, list]", "[write]")}, same, backtest.Narrowed, ""},
		"ambiguous":                            {[]string{base, other}, same, backtest.Ambiguous, ""},
		"two others":                           {[]string{other, edit(t, "name: t", "name: v")}, same, backtest.Lost, "ambiguous"},
		"moved":                                {[]string{other}, same, backtest.Kept, ""},
		"gained":                               {[]string{edit(t, "ref: main", "ref: dev")}, denied(trust.ReasonConditionFalse), backtest.Gained, ""},
		"denied":                               {[]string{base}, denied(trust.ReasonConditionFalse), backtest.Denied, ""},
		"stopped":                              {[]string{base}, denied(trust.ReasonStopped), backtest.Elsewhere, ""},
		"replayed":                             {[]string{base}, denied(trust.ReasonReplayed), backtest.Elsewhere, ""},
		"no token":                             {[]string{base}, func(r *backtest.Record) { denied(trust.ReasonSignature)(r); r.Claims = nil }, backtest.Unproven, ""},
		"no claims":                            {[]string{base}, func(r *backtest.Record) { r.Claims = nil }, backtest.Unproven, ""},
		"shadow":                               {[]string{base}, func(r *backtest.Record) { r.Shadow = true }, backtest.OnTrial, ""},
		"not recorded":                         {[]string{edit(t, "ref: main", "ref: main, actor: mona")}, same, backtest.Undecided, "actor"},
		"not recorded, and it does not matter": {[]string{edit(t, "ref: main", "ref: dev, actor: mona")}, same, backtest.Lost, "match.ref"},
		"recorded as absent":                   {[]string{edit(t, "ref: main", "ref: main, environment: prod")}, same, backtest.Lost, "match.environment"},
		"another list":                         {[]string{edit(t, "ref: main", "environment: prod")}, func(r *backtest.Record) { delete(r.Claims, "ref") }, backtest.Undecided, "environment"},
		"this document":                        {[]string{edit(t, "ref: main", "actor: mona")}, func(r *backtest.Record) { r.TrustSHA256 = sha(edit(t, "ref: main", "actor: mona")) }, backtest.Kept, ""},
		"guarded by actor":                     {[]string{base, guard(`claims.?actor.orValue("") == "x"`)}, same, backtest.Undecided, "actor"},
		"this policy": {[]string{base, guard(`claims.?actor.orValue("") == "x"`)}, func(r *backtest.Record) {
			r.PolicySHA256 = compile(t, base, guard(`claims.?actor.orValue("") == "x"`)).SHA256()
		}, backtest.Kept, ""},
		"cut":                 {[]string{edit(t, "ref: main", `ref: {glob: "m*"}`)}, func(r *backtest.Record) { r.Claims["ref"] = strings.Repeat("m", 1024) }, backtest.Undecided, "ref"},
		"scopes that are cut": {[]string{base}, func(r *backtest.Record) { r.Scopes = []string{"read", strings.Repeat("x", 1016)} }, backtest.Undecided, "scope"},
		"nonce":               {[]string{edit(t, "from", "require_nonce: true\nfrom")}, denied(trust.ReasonConditionFalse), backtest.Denied, ""},
		"nonce not known":     {[]string{edit(t, "from", "require_nonce: true\nfrom", "ref: main", "ref: dev")}, denied(trust.ReasonConditionFalse), backtest.Undecided, "nonce"},
		"issuer":              {[]string{edit(t, "grants", "when: ['claims.iss == \"https://ci.test\"', 'identity.subject == \"s\"']\ngrants")}, same, backtest.Kept, ""},
		"times":               {[]string{edit(t, "grants", "when: ['identity.expires_at > request.time']\ngrants")}, same, backtest.Undecided, "identity.expires_at"},
		"claims handed on":    {[]string{edit(t, "ttl: 20m", `ttl: 20m, claims: {by: "${claims.actor}"}`)}, same, backtest.Undecided, "actor"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			r := allowed()
			c.change(&r)
			o := backtest.NewJudge(compile(t, c.docs...), backtest.Options{Issuers: map[string]string{"ci": "https://ci.test"}}).Judge(&r)
			more := o.Line
			if o.Kind == backtest.Undecided {
				more = strings.Join(o.Hinges, " ")
			}
			if o.Kind != c.want || more != c.more {
				t.Errorf("%s %q, want %s %q (%s %s)", o.Kind, more, c.want, c.more, o.Decision.Reason, o.Decision.Detail)
			}
		})
	}
}

// TestOrder holds that the report does not depend on who judged what, and when.
func TestOrder(t *testing.T) {
	t.Parallel()
	p := compile(t, edit(t, "ref: main", "ref: dev"), "name: s\nowner: o\npurpose: p\nmode: shadow\nfrom: ci\nmatch: {id: \"1\"}\ngrants: [{to: api, scopes: [read, list]}]\n")
	var records []backtest.Record
	for i := range 100 {
		r := allowed()
		r.Decision, r.Time = fmt.Sprintf("d%02d", i), at().Add(time.Duration(i%7)*time.Minute)
		if i%3 == 0 {
			r.Allowed, r.Reason = false, trust.ReasonConditionFalse
			r.Claims["ref"] = []string{"dev", "x"}[i%2]
		}
		if i%10 == 9 {
			r.Shadow, r.Trust = true, "s"
		}
		records = append(records, r)
	}
	report := func(workers int, records []backtest.Record) string {
		b := backtest.New(p, backtest.Options{}, 2)
		var all []*backtest.Worker
		for range workers {
			all = append(all, b.Worker())
		}
		for i := range records {
			all[i%workers].Add(&records[i])
		}
		all[0].Summary(5)
		out, err := json.Marshal(b.Report())
		if err != nil {
			t.Fatal(err)
		}
		return string(out)
	}
	want := report(1, records)
	backwards := slices.Clone(records)
	slices.Reverse(backwards)
	for _, workers := range []int{1, 2, 5} {
		if diff := cmp.Diff(want, report(workers, backwards)); diff != "" {
			t.Error(diff)
		}
	}
	if !strings.Contains(want, `"summarised":5`) || !strings.Contains(want, `"also_allowed":`) {
		t.Error(want)
	}
}

func TestText(t *testing.T) {
	t.Parallel()
	p := compile(t, edit(t, "ref: main", "ref: dev"))
	b := backtest.New(p, backtest.Options{}, 1)
	w := b.Worker()
	for range 3 {
		r := allowed()
		r.Workload = "w\x1b[2J"
		w.Add(&r)
	}
	text := b.Report().Text()
	for _, want := range []string{"  allow to deny          3\n", "  t: match.ref: 3\n", "and 2 more", `expected "dev", found "main"`, `"w\x1b[2J"`} {
		if !strings.Contains(text, want) {
			t.Errorf("no %q in\n%s", want, text)
		}
	}
	if strings.Contains(text, "\x1b") {
		t.Error("what a journal says moves the cursor")
	}
	if r := (backtest.Report{}); r.Flips() != 0 || !strings.Contains(r.Text(), "No decision") {
		t.Error(r.Text())
	}
}

// FuzzJudge holds that any recorded claim is judged, and that what is decided with
// a claim left out is what is decided with it.
func FuzzJudge(f *testing.F) {
	f.Add("main", "prod", "mona")
	f.Add("", "", "")
	f.Add("(unsupported)", strings.Repeat("x", 1024), "\x00")
	p := compile(f, edit(f, "ref: main", `ref: {glob: "m*"}`, "grants", "when: ['claims.?environment.orValue(\"\") != \"prod\" || claims.actor == \"mona\"']\ngrants"))
	f.Fuzz(func(t *testing.T, ref, environment, actor string) {
		r := allowed()
		r.Claims["ref"], r.Claims["environment"] = ref, environment
		j := backtest.NewJudge(p, backtest.Options{})
		without := j.Judge(&r)
		r.Claims["actor"] = actor
		with := j.Judge(&r)
		if without.Kind != backtest.Undecided && with.Kind != without.Kind && with.Kind != backtest.Undecided {
			t.Fatalf("%s without the actor, %s with it", without.Kind, with.Kind)
		}
	})
}

func BenchmarkJudge(b *testing.B) {
	j := backtest.NewJudge(compile(b, base), backtest.Options{})
	r := allowed()
	for b.Loop() {
		if o := j.Judge(&r); o.Kind != backtest.Kept {
			b.Fatal(o.Kind)
		}
	}
}

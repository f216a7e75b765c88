package diff_test

import (
	"context"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"cambio/trust"
	"cambio/trust/diff"
	"cambio/trust/prove"
)

// now is a Wednesday.
func now() time.Time { return time.Date(2026, 11, 25, 10, 0, 0, 0, time.UTC) }

func world() trust.World {
	text := trust.Claim{Type: trust.StringClaim}
	provider := trust.Provider{
		TokenUse: trust.OncePerGrant,
		Platform: trust.Platform{
			Name: "forge", Anchors: []string{"repository_id", "owner_id"},
			Claims: map[string]trust.Claim{
				"repository_id": text, "owner_id": text, "ref": text, "environment": text, "runner": text, "attempt": {Type: trust.IntClaim},
				"event": {Type: trust.StringClaim, Values: []string{"push", "pull_request"}, Always: true},
			},
			Guarded: map[string][]string{"event": {"pull_request"}},
			Sample:  map[string]any{"repository_id": "7", "owner_id": "8", "ref": "refs/heads/main", "event": "push", "runner": "hosted"},
		},
	}
	api := trust.TargetType{Name: "api", MaxTTL: time.Hour, Fields: map[string]trust.Field{
		"resource": {Type: trust.StringField, Narrows: trust.Equal}, "scopes": {Type: trust.StringsField, Narrows: trust.Subset},
		"ttl": {Type: trust.DurationField, Narrows: trust.Max}, "claims": {Type: trust.ClaimsField, Narrows: trust.Opaque},
		"policy": {Type: trust.DocumentField, Narrows: trust.Opaque}, "tags": {Type: trust.TemplatesField, Narrows: trust.Opaque},
	}}
	return trust.World{
		Providers: map[string]trust.Provider{"ci": provider, "other": provider},
		Targets:   map[string]trust.Target{"a": {Type: api, MaxTTL: time.Hour}, "b": {Type: api, MaxTTL: time.Hour}},
	}
}

// base is a valid policy; each test changes one thing.
const base = `name: main
owner: team@acme.test
purpose: main of app
from: ci
match:
  owner_id: "1"
  repository_id: "2"
  ref: [refs/heads/main]
when:
  - claims.runner == "hosted"
grants:
  - {to: a, resource: r/1, scopes: [read, list], ttl: 15m}
---
name: other
owner: team@acme.test
purpose: another repository
from: ci
match: {repository_id: "3"}
grants: [{to: b}]
---
guardrail: no-dev
owner: security@acme.test
purpose: dev reaches nothing
from: [ci]
forbid: claims.?ref.orValue("") == "refs/heads/dev"
`

func policy(tb testing.TB, text string) *trust.Policy {
	tb.Helper()
	var sources []trust.Source
	for i, doc := range strings.Split(text, "---\n") {
		sources = append(sources, trust.Source{Name: string(rune('a'+i)) + ".yaml", Data: []byte(doc)})
	}
	p, findings := trust.Compile(world(), sources, now())
	if p == nil {
		tb.Fatalf("the documents do not load:\n%v\n%s", findings, text)
	}
	return p
}

func edit(tb testing.TB, pairs ...string) string {
	tb.Helper()
	doc := base
	for i := 0; i < len(pairs); i += 2 {
		if !strings.Contains(doc, pairs[i]) {
			tb.Fatalf("the base has no %q", pairs[i])
		}
		doc = strings.Replace(doc, pairs[i], pairs[i+1], 1)
	}
	return doc
}

func compare(tb testing.TB, before, after string) diff.Report {
	tb.Helper()
	r, err := diff.Compare(tb.Context(), policy(tb, before), policy(tb, after), diff.Options{Now: now()})
	if err != nil {
		tb.Fatal(err)
	}
	return r
}

const added = "name: new\nowner: team@acme.test\npurpose: p\nfrom: ci\nmatch: {repository_id: \"9\"}\ngrants: [{to: b, ttl: 5m}]\n"

func guardrail(name, forbid string) string {
	return "guardrail: " + name + "\nowner: security@acme.test\npurpose: p\nfrom: [ci]\nforbid: " + forbid + "\n"
}

const otherTrust = "name: other\nowner: team@acme.test\npurpose: another repository\nfrom: ci\nmatch: {repository_id: \"3\"}\ngrants: [{to: b}]\n---\n"

// TestEdits makes one edit each and reads what is said of it: the effect, and a
// line of each item.
func TestEdits(t *testing.T) {
	t.Parallel()
	const head = "from: ci\nmatch:\n"
	for name, c := range map[string]struct {
		edit   []string
		effect diff.Effect
		want   []string // lines with their signs, in order
	}{
		"a value more": {
			[]string{"[refs/heads/main]", `[refs/heads/main, {glob: "refs/tags/v*"}]`},
			diff.Grows,
			[]string{"+ ci with owner_id 1, repository_id 2 and ref like refs/tags/v* may get a r/1 (scopes read and list) for up to 15m"},
		},
		"another value": {
			[]string{"[refs/heads/main]", "[refs/heads/next]"},
			diff.Both,
			[]string{
				"+ ci with owner_id 1, repository_id 2 and ref refs/heads/next may get a r/1 (scopes read and list) for up to 15m",
				"- ci with owner_id 1, repository_id 2 and ref refs/heads/main may no longer get a r/1 (scopes read and list) for up to 15m",
			},
		},
		"a value within a glob": {
			[]string{"[refs/heads/main]", `{glob: "refs/heads/*"}`},
			diff.Grows,
			[]string{
				"+ ci with owner_id 1, repository_id 2 and ref like refs/heads/* may get a r/1 (scopes read and list) for up to 15m",
				"= ci with owner_id 1, repository_id 2 and ref refs/heads/main still may get a r/1 (scopes read and list) for up to 15m",
			},
		},
		"two values":           {[]string{"[refs/heads/main]", "[refs/heads/next]", `repository_id: "2"`, `repository_id: "4"`}, diff.Both, []string{"+ ci with owner_id 1, repository_id 4 and ref refs/heads/next may get a r/1 (scopes read and list) for up to 15m", "- ci with owner_id 1, repository_id 2 and ref refs/heads/main may no longer get a r/1 (scopes read and list) for up to 15m"}},
		"the order of values":  {[]string{"[refs/heads/main]", "refs/heads/main"}, diff.None, nil},
		"a line more":          {[]string{"  ref: [refs/heads/main]", "  ref: [refs/heads/main]\n  environment: production"}, diff.Shrinks, []string{"~ now needs environment production"}},
		"a line less":          {[]string{"  ref: [refs/heads/main]\n", ""}, diff.Grows, []string{"~ no longer needs ref refs/heads/main"}},
		"an event that counts": {[]string{`{repository_id: "3"}`, `{repository_id: "3", event: pull_request}`}, diff.Both, []string{"~ now needs event pull_request"}},
		"a condition reworded": {[]string{`  - claims.runner == "hosted"`, `  - '"hosted" == claims.runner'`}, diff.None, []string{`~ now needs "hosted" == claims.runner`, `~ no longer needs claims.runner == "hosted"`, "= no change of access: all tokens are decided as before"}},
		"a condition wider":    {[]string{`claims.runner == "hosted"`, `claims.runner.startsWith("host")`}, diff.Grows, []string{`~ now needs claims.runner.startsWith("host")`, `~ no longer needs claims.runner == "hosted"`}},
		"a condition outside":  {[]string{`claims.runner == "hosted"`, `claims.runner == "hosted" || claims.attempt * claims.attempt == 49`}, diff.Undecided, nil},
		"networks":             {[]string{"grants:", "access: {networks: [10.0.0.0/8]}\ngrants:"}, diff.Shrinks, []string{"~ now only from 10.0.0.0/8"}},
		"hours":                {[]string{"grants:", "access: {hours: \"Mon-Fri 07:00-19:00 UTC\"}\ngrants:"}, diff.Shrinks, []string{"~ now only Mon-Fri 07:00-19:00 UTC"}},
		"all hours":            {[]string{"grants:", "access: {hours: \"Mon-Sun 00:00-24:00 UTC\"}\ngrants:"}, diff.None, []string{"~ now only Mon-Sun 00:00-24:00 UTC", "= no change of access: all tokens are decided as before"}},
		"an end":               {[]string{head, "from: ci\nexpires: 2027-03-31\nmatch:\n"}, diff.Shrinks, []string{"~ now ends on 2027-03-31"}},
		"an end that is past":  {[]string{head, "from: ci\nexpires: 2026-11-24\nmatch:\n"}, diff.Shrinks, []string{`- ci with owner_id 1, repository_id 2 and ref refs/heads/main may no longer get a r/1 (scopes read and list) for up to 15m; needs claims.runner == "hosted"; now it has expired`}},
		"on trial":             {[]string{head, "from: ci\nmode: shadow\nmatch:\n"}, diff.Shrinks, []string{`- ci with owner_id 1, repository_id 2 and ref refs/heads/main may no longer get a r/1 (scopes read and list) for up to 15m; needs claims.runner == "hosted"; now it is in mode shadow`}},
		"used once":            {[]string{head, "from: ci\ntoken_use: once\nmatch:\n"}, diff.Shrinks, []string{"~ a token serves once instead of once for each target and resource"}},
		"a nonce":              {[]string{head, "from: ci\nrequire_nonce: true\nmatch:\n"}, diff.Shrinks, []string{"~ now needs a nonce of ours in the token"}},
		"no hints":             {[]string{head, "from: ci\nhints: false\nmatch:\n"}, diff.None, []string{"= a refused caller is no longer told which claim failed"}},
		"a longer life":        {[]string{"ttl: 15m", "ttl: 1h"}, diff.Grows, []string{"~ a r/1: lives up to 1h instead of 15m"}},
		"a shorter life":       {[]string{"ttl: 15m", "ttl: 5m"}, diff.Shrinks, []string{"~ a r/1: lives up to 5m instead of 15m"}},
		"a scope more":         {[]string{"[read, list]", "[read, list, write]"}, diff.Grows, []string{"~ a r/1: scope write added"}},
		"scopes less":          {[]string{"[read, list]", "[write]"}, diff.Both, []string{"~ a r/1: scope write added", "~ a r/1: scopes read and list removed"}},
		"another resource":     {[]string{"resource: r/1", "resource: r/2"}, diff.Both, []string{"+ ci with owner_id 1, repository_id 2 and ref refs/heads/main may get a r/2 (scopes read and list) for up to 15m", "- ci with owner_id 1, repository_id 2 and ref refs/heads/main may no longer get a r/1 (scopes read and list) for up to 15m"}},
		"a policy":             {[]string{"ttl: 15m}", "ttl: 15m, policy: {A: b}}"}, diff.Undecided, []string{`~ a r/1: policy is now "{\"A\":\"b\"}"`, "? what a target makes of its own fields and of claims, it alone knows"}},
		"a tag":                {[]string{"ttl: 15m}", `ttl: 15m, tags: {ref: "${claims.ref}"}}`}, diff.Undecided, []string{"~ a r/1: tags.ref is now ${claims.ref}", "? what a target makes of its own fields and of claims, it alone knows"}},
		"a claim":              {[]string{"ttl: 15m}", `ttl: 15m, claims: {ref: "${claims.ref}"}}`}, diff.Undecided, nil},
		"another name":         {[]string{"name: main", "name: renamed"}, diff.None, []string{"= was named main: stops, requests that name the trust and targets that are shown its name must follow"}},
		"another owner":        {[]string{"team@acme.test", "ops@acme.test", "main of app", "main"}, diff.None, []string{"= the owner is ops@acme.test instead of team@acme.test", "= the purpose is written anew"}},
		"another provider":     {[]string{"from: ci\nmatch: {", "from: other\nmatch: {"}, diff.Both, []string{"- ci with repository_id 3 may no longer get b for up to 15m", "+ other with repository_id 3 may get b for up to 15m"}},
		"a trust more":         {[]string{"---\nguardrail", "---\n" + added + "---\nguardrail"}, diff.Grows, []string{"+ ci with repository_id 9 may get b for up to 5m"}},
		"a trust on trial":     {[]string{"---\nguardrail", "---\nmode: shadow\n" + added + "---\nguardrail"}, diff.None, []string{"= would let ci with repository_id 9 get b for up to 5m; it is in mode shadow, and allows nothing"}},
		"a trust less":         {[]string{otherTrust, ""}, diff.Shrinks, []string{"- ci with repository_id 3 may no longer get b for up to 15m"}},
		"the same access": {
			[]string{"---\nguardrail", "---\n" + strings.Replace(added, `"9"`, `"3"`, 1) + "---\nguardrail"},
			diff.Shrinks,
			[]string{"= ci with repository_id 3 may get b for up to 5m, as before", "~ requests for b that name no trust can fit trust other too, and are then refused as ambiguous"},
		},
		"the same without its policy": {
			[]string{"ttl: 15m}\n", "ttl: 15m}\n---\n" + `name: twin
owner: o
purpose: p
from: ci
match: {owner_id: "1", repository_id: "2", ref: refs/heads/main}
when: ['claims.runner == "hosted"']
grants: [{to: a, resource: r/1, scopes: [read, list], ttl: 15m, claims: {x: y}}]
`}, diff.Undecided, nil,
		},
		"a guardrail more":    {[]string{"---\nguardrail: no-dev", "---\n" + guardrail("no-three", `claims.repository_id == "3"`) + "---\nguardrail: no-dev"}, diff.Shrinks, []string{`- forbids to ci: claims.repository_id == "3"`}},
		"a guardrail of none": {[]string{"---\nguardrail: no-dev", "---\n" + guardrail("no-nine", `claims.repository_id == "9"`) + "---\nguardrail: no-dev"}, diff.None, []string{`- forbids to ci: claims.repository_id == "9"`, "= no change of access: what trusts allow that did not change is decided as before"}},
		"a guardrail less":    {[]string{base[strings.LastIndex(base, "---\n"):], ""}, diff.Grows, []string{`+ no longer forbids to ci: claims.?ref.orValue("") == "refs/heads/dev"`}},
		"another guardrail":   {[]string{`heads/dev"`, `heads/main"`}, diff.Both, nil},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			r := compare(t, base, edit(t, c.edit...))
			if r.Effect != c.effect {
				t.Errorf("effect %s, want %s\n%s", r.Effect, c.effect, r.Text())
			}
			var got []string
			for line := range strings.Lines(r.Text()) {
				if text, ok := strings.CutPrefix(strings.TrimSuffix(line, "\n"), "  "); ok && !strings.HasPrefix(text, " ") {
					got = append(got, text)
				}
			}
			if d := cmp.Diff(c.want, got); d != "" && c.want != nil {
				t.Error(d)
			}
			if c.want == nil && c.effect == diff.None && len(r.Items) > 0 {
				t.Error(r.Text())
			}
			if back := compare(t, edit(t, c.edit...), base); back.Effect != turned(c.effect) && name != "the same access" {
				t.Errorf("the way back: effect %s, want %s\n%s", back.Effect, turned(c.effect), back.Text())
			}
			confirmed(t, r, policy(t, base), policy(t, edit(t, c.edit...)))
		})
	}
}

// turned is the effect of the way back.
func turned(e diff.Effect) diff.Effect {
	switch e {
	case diff.Grows:
		return diff.Shrinks
	case diff.Shrinks:
		return diff.Grows
	case diff.None, diff.Both, diff.Undecided:
	}
	return e
}

// confirmed asks both policies about each example.
func confirmed(tb testing.TB, r diff.Report, before, after *trust.Policy) {
	tb.Helper()
	for _, i := range r.Items {
		for _, c := range []struct {
			example *prove.Example
			in, out *trust.Policy
		}{{i.Gained, after, before}, {i.Lost, before, after}} {
			if c.example == nil {
				continue
			}
			e := *c.example
			ask := e.Request
			ask.Trust, ask.Resource, ask.Scopes, ask.TTL = "", e.Grant.Resource, e.Grant.Scopes, e.Grant.TTL
			if !allows(c.in, e.Identity, ask, e.At) || allows(c.out, e.Identity, ask, e.At) {
				tb.Errorf("%s %s: the example shows nothing: %+v", i.Kind, i.Name, e)
			}
		}
		if i.Gained != nil && !i.Effect.MayGrow() || i.Lost != nil && i.Effect == diff.Grows {
			tb.Errorf("%s %s: effect %s, and examples %v %v", i.Kind, i.Name, i.Effect, i.Gained, i.Lost)
		}
	}
}

// allows reports whether the policy gives all that is asked for to a request that
// may name any trust.
func allows(p *trust.Policy, id trust.Identity, ask trust.Request, at time.Time) bool {
	for _, name := range p.Names() {
		ask.Trust = name
		if d := p.Decide(id, ask, trust.StopSet{}, at); d.Allow && d.Grant.TTL >= ask.TTL {
			return true
		}
	}
	return false
}

// TestNothing: what is only written otherwise is one line.
func TestNothing(t *testing.T) {
	t.Parallel()
	docs := strings.Split(base, "---\n")
	for name, after := range map[string]string{
		"the same": base, "moved": docs[2] + "---\n" + docs[1] + "---\n" + docs[0],
		"reformatted": "# a comment\n" + strings.Replace(base, `{repository_id: "3"}`, "\n  repository_id: '3'", 1),
		"with tests":  strings.Replace(base, "grants: [{to: b}]", "grants: [{to: b}]\ntests: [{name: x, claims: {}, ask: {to: b}, expect: allow}]", 1),
	} {
		r := compare(t, base, after)
		if len(r.Items) != 0 || r.Effect != diff.None || r.Text() != "No change of access." || r.Markdown() != "No change of access.\n" {
			t.Errorf("%s: %s", name, r.Text())
		}
	}
}

// TestSettings: what documents do not see may still change who signs.
func TestSettings(t *testing.T) {
	t.Parallel()
	o := diff.Options{Now: now(), Settings: []diff.Setting{
		{Kind: diff.KindProvider, Name: "ci", Field: "issuer", Before: "https://a", After: "https://b"},
		{Kind: diff.KindTarget, Name: "b", Field: "audience", After: "x"},
	}}
	r, err := diff.Compare(t.Context(), policy(t, base), policy(t, base), o)
	if err != nil || r.Effect != diff.Undecided || len(r.Items) != 2 {
		t.Fatalf("%v %+v", err, r)
	}
	for i, want := range []string{"issuer is https://b instead of https://a", "audience is now x"} {
		if got := r.Items[i].Lines[0].Text; got != want {
			t.Errorf("%q, want %q", got, want)
		}
	}
	if r.Items[0].Why != "2 trusts hang on it" || r.Items[1].Why != "1 trust hangs on it" {
		t.Error(r.Text())
	}
}

// TestCancelled: a cancelled context leaves nothing out, and proves nothing.
func TestCancelled(t *testing.T) {
	t.Parallel()
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	after := edit(t, "---\nguardrail: no-dev", "---\n"+guardrail("no-three", `claims.repository_id == "3"`)+"---\nguardrail: no-dev", "ttl: 15m", "ttl: 1h")
	r, err := diff.Compare(ctx, policy(t, base), policy(t, after), diff.Options{Now: now()})
	if err != nil || r.Effect != diff.Undecided || len(r.Items) != 2 {
		t.Errorf("%v %s", err, r.Text())
	}
}

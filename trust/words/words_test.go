package words_test

import (
	"strings"
	"testing"
	"time"
	"unicode"

	"cambio/trust"
	"cambio/trust/words"
)

func world() trust.World {
	text := trust.Claim{Type: trust.StringClaim}
	name := text
	name.PinnedBy = "repository_id"
	return trust.World{
		Providers: map[string]trust.Provider{"ci": {
			TokenUse: trust.Once,
			Platform: trust.Platform{
				Name: "forge", Anchors: []string{"repository_id"},
				Claims: map[string]trust.Claim{"repository_id": text, "repository": name, "ref": text, "protected": {Type: trust.BoolClaim}},
			},
		}},
		Targets: map[string]trust.Target{"t1": {MaxTTL: time.Hour, Type: trust.TargetType{Name: "api", MaxTTL: time.Hour, Fields: map[string]trust.Field{
			"resource": {Type: trust.StringField, Narrows: trust.Equal}, "scopes": {Type: trust.StringsField, Narrows: trust.Subset}, "ttl": {Type: trust.DurationField, Narrows: trust.Max},
		}}}},
	}
}

func compile(tb testing.TB, body string) trust.Trust {
	tb.Helper()
	doc := "name: tr1\nowner: team@acme.test\npurpose: p\nfrom: ci\n" + body
	p, findings := trust.Compile(world(), []trust.Source{{Name: "a.yaml", Data: []byte(doc)}}, time.Date(2026, 11, 25, 10, 0, 0, 0, time.UTC))
	if p == nil {
		tb.Fatal(findings)
	}
	return p.All()[0]
}

func TestWorkloads(t *testing.T) {
	t.Parallel()
	for match, want := range map[string]string{
		`{repository_id: "2"}`:                                                                 "ci with repository_id 2",
		`{repository_id: "2", repository: acme/app}`:                                           "ci with repository_id 2 (repository acme/app)",
		`{repository: [acme/app, acme/web], repository_id: ["2", "3"]}`:                        "ci with repository acme/app or acme/web and repository_id 2 or 3",
		`{repository_id: "2", ref: {glob: "refs/tags/v*"}}`:                                    "ci with repository_id 2 and ref like refs/tags/v*",
		`{repository_id: "2", ref: [refs/heads/main, {glob: "refs/tags/*"}], protected: true}`: "ci with repository_id 2, ref refs/heads/main or like refs/tags/* and protected true",
		`{repository_id: "2", ref: "a star * and ` + "`tick`" + `"}`:                           "ci with repository_id 2 and ref \"a star * and `tick`\"",
	} {
		if got := words.Workloads(compile(t, "match: "+match+"\ngrants: [{to: t1}]\n")); got != want {
			t.Errorf("%s:\n got %s\nwant %s", match, got, want)
		}
	}
}

func TestTermsAndGrants(t *testing.T) {
	t.Parallel()
	tr := compile(t, `match: {repository_id: "2"}
when: ['claims.ref == "a"']
access: {networks: [10.0.0.0/8, "fd00::/8"], hours: "Mon-Fri 07:00-19:00 Europe/Zurich"}
expires: 2027-03-31
require_nonce: true
grants: [{to: t1, resource: "urn:a b", scopes: [read, list], ttl: 90s}, {to: t1, ttl: 1h}]
`)
	want := `needs claims.ref == "a"|only from 10.0.0.0/8 or fd00::/8|only Mon-Fri 07:00-19:00 Europe/Zurich|until 2027-03-31|with a nonce of ours`
	if got := strings.Join(words.Terms(tr), "|"); got != want {
		t.Errorf("terms\n got %s\nwant %s", got, want)
	}
	want = `t1 "urn:a b" (scopes read and list) for up to 90s and t1 for up to 1h`
	if got := words.Grants(tr.Grants); got != want {
		t.Errorf("grants\n got %s\nwant %s", got, want)
	}
}

// FuzzOneLine: whatever a text holds, it stays one line that a terminal prints.
func FuzzOneLine(f *testing.F) {
	for _, s := range []string{"main", "a\nb", "\x1b[31m", "\u202eevil", "``` \n# x", "\xff", strings.Repeat("ü", 400)} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		for _, got := range []string{words.One(s), words.Plain(s, ""), words.Plain(s, " *"), words.Token(map[string]any{s: []any{s, int64(1)}, "n": map[string]any{s: s}})} {
			for _, r := range got {
				if !unicode.IsGraphic(r) {
					t.Fatalf("%q is shown as %q", s, got)
				}
			}
		}
		if len(words.One(s)) > 400 {
			t.Errorf("%d bytes", len(words.One(s)))
		}
	})
}

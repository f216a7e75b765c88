package diff_test

import (
	"fmt"
	"net/netip"
	"strings"
	"testing"
	"time"

	"cambio/trust"
	"cambio/trust/diff"
)

// die is a reproducible source of choices (xorshift).
type die uint64

func (d *die) intN(n int) int {
	*d ^= *d << 13
	*d ^= *d >> 7
	*d ^= *d << 17
	return int(uint64(*d) % uint64(n))
}

// drawn is a small policy of pieces that have much in common, so that one covers
// another often enough.
func drawn(r *die) string {
	pick := func(options ...string) string { return options[r.intN(len(options))] }
	var docs []string
	for i := range 1 + r.intN(3) {
		var b strings.Builder
		fmt.Fprintf(&b, "name: t%d\nowner: o\npurpose: p\nfrom: ci\n", i)
		b.WriteString(pick("", "", "", "mode: shadow\n", "expires: 2026-11-27\n"))
		fmt.Fprintf(&b, "match:\n  repository_id: %s\n", pick(`"1"`, `"1"`, `"2"`, `["1", "2"]`))
		b.WriteString(pick("", "  ref: a\n", "  ref: {glob: \"a*\"}\n", "  ref: [a, b]\n", "  ref: [ab, {glob: \"a/*\"}]\n"))
		b.WriteString(pick("", "", "  event: pull_request\n", "  event: [push, pull_request]\n"))
		b.WriteString(pick("", "", "when: ['claims.ref.startsWith(\"a\")']\n", "when: ['claims.?ref.orValue(\"b\") == \"b\"']\n", "when: ['request.ttl <= duration(\"5m\")']\n", "when: ['!(\"write\" in request.scopes)']\n"))
		b.WriteString(pick("", "", "access: {networks: [10.0.0.0/8]}\n", "access: {networks: [10.1.0.0/16]}\n", "access: {hours: \"Wed 09:00-11:00 UTC\"}\n"))
		fmt.Fprintf(&b, "grants:\n  - {to: a, resource: r/1, scopes: [%s], ttl: %s}\n", pick("read", "read, write"), pick("5m", "10m"))
		b.WriteString(pick("", "", "  - {to: b}\n"))
		docs = append(docs, b.String())
	}
	docs = append(docs, pick("", "", guardrail("g", `claims.?ref.orValue("") == "a"`), guardrail("g", `request.to == "b" && claims.event == "pull_request"`), guardrail("g", `'"write" in request.scopes'`)))
	return strings.TrimSuffix(strings.Join(docs, "---\n"), "---\n")
}

// question is one token, one instant and what is asked for.
type question struct {
	id  trust.Identity
	ask trust.Request
	at  time.Time
}

// questions are the neighbours of all that the pieces name.
func questions() []question {
	var out []question
	for _, repository := range []string{"1", "2", "3"} {
		for _, ref := range []string{"", "a", "b", "ab", "a/b", "c"} {
			for _, event := range []string{"push", "pull_request"} {
				claims := map[string]any{"repository_id": repository, "ref": ref, "event": event}
				if ref == "" {
					delete(claims, "ref")
				}
				for _, address := range []string{"10.1.2.3", "10.2.2.3", "192.0.2.1"} {
					for _, at := range []time.Time{now(), now().Add(2 * time.Hour), now().AddDate(0, 0, 7)} {
						id := trust.Identity{Provider: "ci", Issuer: "https://ci.test", Audience: "a", IssuedAt: at, ExpiresAt: at.Add(5 * time.Minute), Claims: claims, Nonce: true}
						from := netip.MustParseAddr(address)
						for _, scopes := range [][]string{{"read"}, {"write"}, {"read", "write"}} {
							for _, ttl := range []time.Duration{time.Minute, 5 * time.Minute, 10 * time.Minute} {
								out = append(out, question{id, trust.Request{Target: "a", Resource: "r/1", Scopes: scopes, TTL: ttl, Address: from}, at})
							}
						}
						out = append(out, question{id, trust.Request{Target: "b", TTL: time.Minute, Address: from}, at})
					}
				}
			}
		}
	}
	return out
}

// TestAgreesWithDecisions: a comparison says that access grows, or that this is
// not decided, whenever a token is allowed something that it was not; and where it
// says so, its example is such a token. The same of what is lost.
func TestAgreesWithDecisions(t *testing.T) {
	t.Parallel()
	const rounds = 60
	seed := die(20261122)
	r := &seed
	all := questions()
	seen := map[diff.Effect]int{}
	for range rounds {
		oldText, newText := drawn(r), drawn(r)
		if r.intN(3) == 0 { // a small change of it
			newText = strings.Replace(oldText, "ttl: 5m", "ttl: 10m", 1)
		}
		before, after := policy(t, oldText), policy(t, newText)
		report := compare(t, oldText, newText)
		seen[report.Effect]++
		confirmed(t, report, before, after)
		for i := r.intN(7); i < len(all) && !t.Failed(); i += 7 {
			q := all[i]
			was, is := allows(before, q.id, q.ask, q.at), allows(after, q.id, q.ask, q.at)
			if is && !was && !report.Effect.MayGrow() || was && !is && report.Effect != diff.Shrinks && report.Effect != diff.Both && report.Effect != diff.Undecided {
				t.Errorf("effect %s, but it was %t and is %t for %+v\n%s\nbefore\n%s\nafter\n%s", report.Effect, was, is, q, report.Text(), oldText, newText)
			}
		}
		if t.Failed() {
			return
		}
	}
	t.Log(seen)
	for _, e := range []diff.Effect{diff.None, diff.Grows, diff.Shrinks, diff.Both} {
		if seen[e] < 2 {
			t.Errorf("%s came %d times in %d", e, seen[e], rounds)
		}
	}
	if seen[diff.Undecided] > rounds/4 {
		t.Errorf("%d of %d are not decided", seen[diff.Undecided], rounds)
	}
}

package prove_test

import (
	"fmt"
	"maps"
	"net/netip"
	"slices"
	"strconv"
	"strings"
	"time"

	"cambio/trust"
)

// drawing makes random policies, and tokens and requests next to what they say.
type drawing struct{ state *uint64 }

func draws(seed, of uint64) drawing {
	state := seed*1_000_003 + of
	return drawing{&state}
}

// IntN gives the same numbers for the same seed (SplitMix64).
func (d drawing) IntN(n int) int {
	*d.state += 0x9e3779b97f4a7c15
	z := *d.state
	z = (z ^ z>>30) * 0xbf58476d1ce4e5b9
	z = (z ^ z>>27) * 0x94d049bb133111eb
	return int((z ^ z>>31) >> 1 % uint64(n))
}

func pick[T any](d drawing, of ...T) T { return of[d.IntN(len(of))] }

func (d drawing) chance(percent int) bool { return d.IntN(100) < percent }

// words are the texts that policies are made of, by claim.
func words() map[string][]string {
	return map[string][]string{
		"ref":         {"refs/heads/main", "refs/heads/", "refs/tags/v1", "refs/heads/release/1", "main"},
		"repository":  {"acme/app", "acme/", "Acme/App", "acme/api", "evil/app"},
		"environment": {"prod", "dev", "prod-eu", ""},
		"actor":       {"mona", "bot[ci]", "m"},
		"event_name":  {"push", "pull_request", "workflow_dispatch"},
		"workflow":    {"deploy", "test", "mona"},
		"ref_type":    {"branch", "tag"},
		"sub":         {"repo:acme/app", "repo:acme/app:ref:refs/heads/main", "acme/app"},
		"groups":      {"dev", "ops", "team-a", "team-b"},
	}
}

func (d drawing) textClaim() string {
	return pick(d, "ref", "repository", "environment", "actor", "event_name", "workflow", "ref_type", "sub")
}

// condition is one atom, or several put together.
func (d drawing) condition(depth int) string {
	if depth > 0 && d.chance(45) {
		a, b := d.condition(depth-1), d.condition(depth-1)
		switch d.IntN(5) {
		case 0, 1:
			return "(" + a + " && " + b + ")"
		case 2, 3:
			return "(" + a + " || " + b + ")"
		}
		return "(" + d.condition(0) + " ? " + a + " : " + b + ")"
	}
	if d.chance(15) {
		return "!(" + d.atom() + ")"
	}
	return d.atom()
}

func (d drawing) atom() string {
	claim := d.textClaim()
	w := func() string { return strconv.Quote(pick(d, words()[claim]...)) }
	c := "claims." + claim
	n, op := d.IntN(4), pick(d, "<", "<=", ">", ">=", "==", "!=")
	group := strconv.Quote(pick(d, words()["groups"]...))
	minutes := fmt.Sprintf(`duration("%dm")`, pick(d, 1, 5, 10, 15, 20))
	switch d.IntN(44) {
	case 0, 1, 2:
		return c + " == " + w()
	case 3:
		return c + " != " + w()
	case 4, 5:
		return c + " in [" + w() + ", " + w() + "]"
	case 6, 7:
		return c + ".startsWith(" + w() + ")"
	case 8:
		return c + ".endsWith(" + w() + ")"
	case 9:
		return c + ".contains(" + w() + ")"
	case 10:
		return c + `.matches("` + pick(d, `refs/(heads|tags)/.*`, `[a-z]+`, `acme/a.*`, `.*app`, `.{0,4}`) + `")`
	case 11:
		return "size(" + c + ") " + op + " " + strconv.Itoa(pick(d, 0, 3, 4, 8))
	case 12:
		return c + ".lowerAscii() == " + w()
	case 13:
		return "has(" + c + ")"
	case 14:
		return "claims.?" + claim + ".orValue(" + w() + ") " + pick(d, "==", "!=") + " " + w()
	case 15:
		return strconv.Quote(claim) + " in claims"
	case 16:
		return c + " == claims." + d.textClaim()
	case 17:
		return "claims.attempt " + op + " " + strconv.Itoa(n)
	case 18:
		return "claims.attempt + 1 " + op + " " + strconv.Itoa(n)
	case 19:
		return "claims.protected"
	case 20:
		return "claims.score " + op + " " + pick(d, "0.5", "1.0", "0.0")
	case 21:
		return group + " in claims.groups"
	case 22:
		return "claims.groups.exists(g, g.startsWith(" + strconv.Quote(pick(d, "team-", "d", "ops")) + ") && g != " + group + ")"
	case 23:
		return "claims.groups.all(g, g in [" + group + ", \"dev\"])"
	case 24:
		return "claims.groups.size() " + op + " " + strconv.Itoa(n)
	case 25:
		return "claims.labels.env == " + strconv.Quote(pick(d, "prod", "dev"))
	case 26:
		return "claims.?labels.?env.orValue(\"none\") " + pick(d, "==", "!=") + " " + strconv.Quote(pick(d, "prod", "none"))
	case 27:
		return "claims.labels.env == " + strconv.Itoa(n)
	case 28:
		return "sets.contains(claims.groups, [" + group + "])"
	case 29:
		return "sets.intersects(claims.groups, [" + group + ", \"ops\"])"
	case 30:
		return strconv.Quote(pick(d, "read", "write", "admin")) + " in request.scopes"
	case 31:
		return "request.scopes.all(s, s != " + strconv.Quote(pick(d, "read", "write")) + ")"
	case 32:
		return "grant.scopes.size() " + op + " " + strconv.Itoa(n)
	case 33, 34:
		return pick(d, "grant.ttl ", "request.ttl ") + op + " " + minutes
	case 35:
		return "request.address" + pick(d, `.startsWith("10.")`, ` == "10.1.2.3"`, ` == ""`, `.startsWith("10.1.")`)
	case 36:
		return "request.time.getHours(" + pick(d, "", `"Europe/Zurich"`) + ") " + op + " " + strconv.Itoa(pick(d, 8, 12, 18))
	case 37:
		return "request.time.getDayOfWeek() in [1, 2, 3]"
	case 38:
		return "request.to " + pick(d, "==", "!=") + " " + strconv.Quote(pick(d, "t1", "t2"))
	case 39:
		return `claims.sub.split(":")[` + strconv.Itoa(pick(d, 0, 1, 2)) + `] == ` + strconv.Quote(pick(d, "repo", "acme/app", "ref"))
	case 40:
		return "identity.expires_at - identity.issued_at " + op + " " + minutes
	case 41:
		return "identity.subject == claims.sub || claims.exp < claims.iat"
	case 42:
		return "claims.groups.filter(g, g.startsWith(\"team-\")).size() " + pick(d, "> 0", "== 0")
	}
	return c + `.substring(0, 4) == "` + pick(d, "refs", "acme", "main") + `"`
}

// documents are one or two trusts, at times a guardrail, and one invariant. Half
// of the time the invariant follows from what all trusts say, or almost does.
func (d drawing) documents() []string {
	var docs []string
	shared, lines, kind, rule := "", "", pick(d, "never", "always"), d.condition(2)
	switch n := d.IntN(100); {
	case n < 8:
		lines = "access: {networks: [10.1.0.0/16]}\n"
		kind, rule = "always", `request.address.startsWith("10.1.") || `+d.atom()
	case n < 16:
		lines = "  ref: {glob: \"refs/heads/*\"}\n"
		kind, rule = "never", `claims.ref.matches("refs/heads/.*/.*")`
	case n < 60:
		shared = d.condition(1)
		switch d.IntN(4) {
		case 0:
			kind, rule = "always", shared
		case 1:
			kind, rule = "always", shared+" || "+d.atom()
		case 2:
			kind, rule = "never", "!("+shared+") && "+d.atom()
		case 3:
			docs = append(docs, guardrail(shared))
			kind, rule, shared = "never", shared+pick(d, "", " && "+d.atom()), ""
		}
	}
	for i := range 1 + d.IntN(2) {
		docs = append(docs, d.trust("tr"+strconv.Itoa(i), shared, lines))
	}
	if len(docs) < 3 && d.chance(30) && !strings.HasPrefix(docs[0], "guardrail") {
		docs = append(docs, guardrail(d.condition(1)))
	}
	return append(docs, invariant(kind, rule))
}

func (d drawing) trust(name, shared, lines string) string {
	var b strings.Builder
	fmt.Fprintf(&b, "name: %s\nowner: o\npurpose: p\nfrom: ci\nmatch:\n  repository_id: %q\n", name, strconv.Itoa(1+d.IntN(2)))
	for _, claim := range []string{"ref", "repository", "event_name", "environment", "ref_type"} {
		w := func() string { return pick(d, words()[claim]...) }
		if claim == "ref" && strings.HasPrefix(lines, "  ref") {
			b.WriteString(lines)
			continue
		}
		switch d.IntN(5) {
		case 0:
			fmt.Fprintf(&b, "  %s: %q\n", claim, w())
		case 1:
			fmt.Fprintf(&b, "  %s: [%q, %q]\n", claim, w(), w())
		case 2:
			if claim == "ref" || claim == "repository" {
				fmt.Fprintf(&b, "  %s: {glob: %q}\n", claim, pick(d, "refs/heads/*", "refs/*/v*", "acme/*", "*"))
			}
		}
	}
	var when []string
	if shared != "" {
		when = append(when, shared)
	}
	for range d.IntN(3) {
		when = append(when, d.condition(1))
	}
	for i, c := range when {
		if i == 0 {
			b.WriteString("when:\n")
		}
		fmt.Fprintf(&b, "  - '%s'\n", c)
	}
	if d.chance(15) {
		b.WriteString("expires: 2026-12-01\n")
	}
	if strings.HasPrefix(lines, "access") {
		b.WriteString(lines)
	} else if d.chance(20) {
		fmt.Fprintf(&b, "access: {%s}\n", pick(d, "networks: [10.1.0.0/16]", `hours: "Mon-Fri 08:00-18:00 Europe/Zurich"`))
	}
	b.WriteString("grants:\n")
	fmt.Fprintf(&b, "  - {to: t1, scopes: %s, ttl: %s}\n", pick(d, "[read]", "[read, write]", "[read, write, admin]"), pick(d, "5m", "15m", "20m"))
	if d.chance(40) {
		b.WriteString("  - {to: t2, resource: r2, ttl: 10m}\n")
	}
	return b.String()
}

// near is a text, or one next to it.
func (d drawing) near(s string) string {
	switch d.IntN(9) {
	case 0:
		return s + "x"
	case 1:
		return "x" + s
	case 2:
		if s != "" {
			return s[:len(s)-1]
		}
	case 3:
		return strings.ToUpper(s)
	case 4:
		if s != "" {
			i := d.IntN(len(s))
			return s[:i] + string(s[i]^1) + s[i+1:]
		}
	case 5:
		return s + "/x"
	}
	return s
}

// token is one that the table allows; those that lie near the trust are likely.
func (d drawing) token(t trust.Trust) (trust.Identity, trust.Request, time.Time) {
	at := now().Add(time.Duration(d.IntN(14*24*60)) * time.Minute)
	claims := map[string]any{
		"iss": "https://ci.test", "aud": "https://id.test", "repository_id": "1", "repository_owner_id": "8", "head_ref": "",
		"runner_environment": "hosted", "repository": "acme/app",
	}
	for claim, of := range words() {
		switch {
		case claim == "groups":
			if d.chance(80) {
				list := []any{}
				for range d.IntN(4) {
					list = append(list, d.near(pick(d, of...)))
				}
				claims[claim] = list
			}
		case claim == "ref_type":
			claims[claim] = pick(d, of...)
		case claim == "sub" || claim == "ref" || claim == "repository" || claim == "event_name" || d.chance(75):
			claims[claim] = d.near(pick(d, of...))
		}
	}
	if claims["sub"] == "" {
		claims["sub"] = "x"
	}
	for claim, of := range map[string][]any{
		"attempt": {int64(-1), int64(0), int64(1), int64(2), int64(3), int64(4), int64(1<<63 - 1)}, "protected": {true, false},
		"score":  {0.0, 0.5, 0.4999, 1.0, int64(1)},
		"labels": {map[string]any{"env": "prod"}, map[string]any{"env": "dev"}, map[string]any{"env": int64(1)}, map[string]any{}, map[string]any{"env": nil}, map[string]any{"env": 2.0}},
	} {
		if d.chance(75) {
			claims[claim] = pick(d, of...)
		}
	}
	for _, line := range t.Match {
		if d.chance(96) {
			w := pick(d, line.Want...)
			v := w.Value
			if s, ok := v.(string); ok && w.Glob {
				v = strings.ReplaceAll(s, "*", pick(d, "", "x", "main", "v1", "a/b"))
			}
			line.Claim.Set(claims, v)
		}
	}
	iat := at.Unix() + int64(pick(d, 0, -1, -60, 30))
	exp := at.Unix() + int64(pick(d, 0, 60, 300, 600, 899, 900))
	claims["iat"], claims["exp"] = iat, exp
	text := func(name string) string { s, _ := claims[name].(string); return s }
	id := trust.Identity{
		Provider: "ci", Subject: text("sub"), Issuer: text("iss"), Audience: text("aud"), Claims: claims, Nonce: true,
		Workload: "spiffe://id.test/ci/" + text("repository_owner_id") + "/" + text("repository_id"),
		IssuedAt: time.Unix(iat, 0).UTC(), ExpiresAt: time.Unix(exp, 0).UTC(),
	}
	g := pick(d, t.Grants...)
	req := trust.Request{Target: g.Target, Resource: g.Resource, Trust: t.Name}
	for _, s := range g.Scopes {
		if d.chance(50) {
			req.Scopes = append(req.Scopes, s)
		}
	}
	if d.chance(70) {
		req.Address = netip.MustParseAddr(pick(d, "10.1.2.3", "10.2.0.1", "192.0.2.1", "::1", "10.1.255.255"))
	}
	return id, req, at
}

// lives are all lifetimes next to what policies compare with, long ones first.
func lives(most time.Duration) []time.Duration {
	near := map[time.Duration]bool{most: true, time.Second: true}
	for _, m := range []int{1, 5, 10, 15, 20} {
		for _, s := range []int{-1, 0, 1} {
			if d := time.Duration(60*m+s) * time.Second; d < most {
				near[d] = true
			}
		}
	}
	out := slices.Sorted(maps.Keys(near))
	slices.Reverse(out)
	return out
}

package prove_test

import (
	"net/netip"
	"strconv"
	"strings"
	"testing"
	"time"

	"cambio/trust"
	"cambio/trust/prove"
)

// pool are texts at the corners: of Unicode, of patterns and of parts.
func pool() []string {
	return []string{"a", "b", "ab", "A", "aB", "", "a:b", "a/b", "a:b:a", "K", "\u212a", "k", "👍", "é", "É", "a\nb", "refs/heads/main", "repo:acme/app", "x", "1", "true", "a.b", "ſ", "s"}
}

// q is a literal.
func (d drawing) q() string { return strconv.Quote(pick(d, pool()...)) }

func texts() []string {
	return []string{"repository", "ref", "actor", "environment", "workflow", "sub", "ref_type", "runner_environment", "event_name", "head_ref"}
}

// inLoop are the loop variables that can be named.
type inLoop struct{ strs []string }

// str is a text that is made in up to n steps; what follows are the other types.
func (d drawing) str(n int, s inLoop) string {
	if len(s.strs) > 0 && d.chance(50) {
		v := pick(d, s.strs...)
		if n > 0 && d.chance(30) {
			return v + pick(d, ".lowerAscii()", ".upperAscii()")
		}
		return v
	}
	if n <= 0 {
		if d.chance(50) {
			return d.q()
		}
		return "claims." + pick(d, texts()...)
	}
	switch d.IntN(20) {
	case 0, 1, 2, 3:
		return "claims." + pick(d, texts()...)
	case 4:
		return d.q()
	case 5:
		return d.str(n-1, s) + ".lowerAscii()"
	case 6:
		return d.str(n-1, s) + ".upperAscii()"
	case 7:
		return "(" + d.str(n-1, s) + " + " + d.str(n-1, s) + ")"
	case 8:
		return d.str(n-1, s) + ".split(" + pick(d, `":"`, `"/"`, `"a"`, `""`, `"."`) + ")[" + pick(d, "0", "1", "2") + "]"
	case 9:
		return d.str(n-1, s) + ".substring(0, " + pick(d, "1", "2", "3") + ")"
	case 10:
		return d.str(n-1, s) + ".charAt(" + pick(d, "0", "1") + ")"
	case 11, 12:
		return d.opt(n-1, s) + ".orValue(" + d.str(n-1, s) + ")"
	case 13:
		return "(" + d.cond(n-1, s) + " ? " + d.str(n-1, s) + " : " + d.str(n-1, s) + ")"
	case 14:
		return pick(d, "request.address", "request.to", "request.resource", "identity.subject", "identity.issuer", "identity.audience", "identity.workload", "identity.provider", "grant.resource")
	case 15:
		return "string(" + pick(d, d.str(n-1, s), d.num(n-1, s)) + ")"
	case 16:
		return d.str(n-1, s) + ".replace(" + d.q() + ", " + d.q() + ")"
	case 17:
		return d.list(n-1, s) + "[" + pick(d, "0", "1") + "]"
	case 18:
		return d.opt(n-1, s) + ".value()"
	}
	return d.str(n-1, s) + ".trim()"
}

func (d drawing) opt(n int, s inLoop) string {
	switch d.IntN(8) {
	case 0, 1, 2:
		return "claims.?" + pick(d, texts()...)
	case 3:
		return "optional.of(" + d.str(n-1, s) + ")"
	case 4:
		return "claims.?" + pick(d, texts()...) + ".or(claims.?" + pick(d, texts()...) + ")"
	case 5:
		return "claims.?" + pick(d, texts()...) + ".optMap(v, " + d.str(n-1, inLoop{append(s.strs[:len(s.strs):len(s.strs)], "v")}) + ")"
	case 6:
		return "optional.none()"
	}
	return "claims.?environment"
}

func (d drawing) dyn(n int) string {
	switch d.IntN(14) {
	case 0, 1, 2:
		return "claims.labels." + pick(d, "env", "n", "zz")
	case 3:
		return `claims["labels"]["env"]`
	case 4:
		return "claims.labels.env.inner"
	case 5:
		return "claims.?labels.?env.orValue(" + pick(d, `"a"`, "1", "true") + ")"
	case 6:
		return "claims.?labels.?env.?inner.orValue(" + pick(d, `"a"`, "1", "true") + ")"
	case 7:
		return `request[` + `["to", "resource", "address", "zz", "scopes"][` + pick(d, "0", "1", "2", "3", "4") + `]]`
	case 8:
		return `grant.claims.` + pick(d, "repo", "c", "zz", "act", "num", "flag")
	case 9:
		return `grant.claims.?` + pick(d, "repo", "c", "zz", "act", "num", "flag") + `.orValue("a")`
	case 10:
		return `dyn(` + d.num(n-1, inLoop{}) + ")"
	case 11:
		return `claims[?"labels"][?"env"].orValue(1.0)`
	case 12:
		return `request.?` + pick(d, "resource", "address", "to") + `.orValue("a")`
	}
	return "claims.labels.env"
}

func (d drawing) num(n int, s inLoop) string {
	if n <= 0 {
		return pick(d, "0", "1", "2", "claims.attempt", "9223372036854775807", "-1")
	}
	switch d.IntN(16) {
	case 0, 1, 2, 3:
		return "claims.attempt"
	case 4:
		return pick(d, "-9223372036854775808", "9223372036854775807", "0", "1", "2", "3", "9007199254740993")
	case 5:
		return "(" + d.num(n-1, s) + " + " + d.num(n-1, s) + ")"
	case 6:
		return "(" + d.num(n-1, s) + " - " + d.num(n-1, s) + ")"
	case 7, 8:
		return "size(" + d.str(n-1, s) + ")"
	case 9, 10:
		return "size(" + d.list(n-1, s) + ")"
	case 11:
		return "(" + d.num(n-1, s) + pick(d, " * ", " / ", " % ") + d.num(n-1, s) + ")"
	case 12:
		return "(" + d.cond(n-1, s) + " ? " + d.num(n-1, s) + " : " + d.num(n-1, s) + ")"
	case 13:
		return pick(d, "claims.exp", "claims.iat", "int(request.time)", "(claims.exp - claims.iat)", "int(identity.issued_at)")
	case 14:
		return pick(d, d.instant(), "request.time") + "." + pick(d, "getHours", "getMinutes", "getDayOfWeek", "getDate", "getFullYear", "getMonth", "getDayOfYear") + pick(d, "()", `("Europe/Zurich")`, `("America/New_York")`, `("+01:30")`)
	}
	return "int(" + pick(d, d.str(n-1, s), "double("+d.num(n-1, s)+")", "claims.score") + ")"
}

func (d drawing) instant() string {
	return pick(d, "request.time", "identity.issued_at", "identity.expires_at", `timestamp("2026-11-25T12:00:00Z")`, "(request.time + duration(\"1h\"))", "(identity.expires_at - grant.ttl)", "timestamp(claims.iat)", "timestamp(claims.exp)", `timestamp("9999-12-31T23:59:59Z")`, `timestamp("0001-01-01T00:00:00Z")`)
}

func (d drawing) dur() string {
	return pick(d, "grant.ttl", "request.ttl", `duration("5m")`, `duration("10m")`, `duration("15m")`, `duration("1s")`, "(identity.expires_at - identity.issued_at)", "(request.time - identity.issued_at)", `(grant.ttl + duration("5m"))`, `(grant.ttl - request.ttl)`, `duration("1.5s")`, `(request.time - request.time)`)
}

func (d drawing) list(n int, s inLoop) string {
	if n <= 0 {
		return pick(d, "claims.groups", `["a", "b"]`, "request.scopes")
	}
	v := "v" + strconv.Itoa(len(s.strs))
	in := inLoop{append(s.strs[:len(s.strs):len(s.strs)], v)}
	switch d.IntN(14) {
	case 0, 1, 2, 3:
		return "claims.groups"
	case 4, 5:
		return pick(d, "request.scopes", "grant.scopes")
	case 6:
		return "[" + d.q() + ", " + d.str(n-1, s) + "]"
	case 7:
		return d.list(n-1, s) + ".filter(" + v + ", " + d.cond(n-1, in) + ")"
	case 8:
		return d.list(n-1, s) + ".map(" + v + ", " + d.str(n-1, in) + ")"
	case 9:
		return d.list(n-1, s) + ".map(" + v + ", " + d.cond(n-1, in) + ", " + v + ".lowerAscii())"
	case 10:
		return d.str(n-1, s) + `.split(":")`
	case 11:
		return "claims.?groups.orValue([" + d.q() + "])"
	case 12:
		return "[" + d.q() + "]"
	}
	return "[]"
}

func (d drawing) cond(n int, s inLoop) string {
	cmp := pick(d, "==", "!=", "<", "<=", ">", ">=", "==", "!=")
	v := "w" + strconv.Itoa(len(s.strs))
	in := inLoop{append(s.strs[:len(s.strs):len(s.strs)], v)}
	if n <= 0 {
		switch d.IntN(4) {
		case 0:
			return "has(claims." + pick(d, append(texts(), "groups", "labels", "attempt", "protected", "score")...) + ")"
		case 1:
			return "claims.protected"
		}
		return d.str(0, s) + " == " + d.q()
	}
	switch d.IntN(40) {
	case 0, 1, 2, 3:
		return "(" + d.cond(n-1, s) + " && " + d.cond(n-1, s) + ")"
	case 4, 5, 6, 7:
		return "(" + d.cond(n-1, s) + " || " + d.cond(n-1, s) + ")"
	case 8:
		return "!(" + d.cond(n-1, s) + ")"
	case 9:
		return "(" + d.cond(n-1, s) + " ? " + d.cond(n-1, s) + " : " + d.cond(n-1, s) + ")"
	case 10, 11, 12:
		return d.str(n-1, s) + " " + pick(d, "==", "!=") + " " + d.str(n-1, s)
	case 13:
		return d.str(n-1, s) + " " + cmp + " " + d.str(n-1, s)
	case 14, 15, 16:
		return d.str(n-1, s) + pick(d, ".startsWith(", ".endsWith(", ".contains(") + d.q() + ")"
	case 17, 18:
		return d.str(n-1, s) + `.matches("` + pick(d, `a.*`, `(?i)k`, `(?i)s`, `[^a]`, `\\w+`, `a|b`, `(?s).*`, `.*`, `(?m)a$.*`, `\\bA\\b`, `a?b?`, `\\pL`, `[[:ascii:]]*`, `(?U)a+`, `^a$`, `(a)(b)?`, `a{1,2}`, `\\x{212a}`, ``) + `")`
	case 19, 20:
		return d.num(n-1, s) + " " + cmp + " " + d.num(n-1, s)
	case 21:
		return d.str(n-1, s) + " in " + d.list(n-1, s)
	case 22, 23:
		return d.list(n-1, s) + pick(d, ".exists(", ".all(", ".exists_one(") + v + ", " + d.cond(n-1, in) + ")"
	case 24:
		return pick(d, "sets.contains(", "sets.intersects(", "sets.equivalent(") + d.list(n-1, s) + ", " + d.list(n-1, s) + ")"
	case 25:
		return "has(claims." + pick(d, append(texts(), "groups", "labels", "attempt", "protected", "score", "labels.env", "labels.env.inner", "labels.n")...) + ")"
	case 26:
		return pick(d, `"env"`, `"actor"`, `"labels"`, `"to"`, `"zz"`, `"resource"`, `"repo"`) + " in " + pick(d, "claims", "request", "grant", "identity", "claims.labels", "grant.claims")
	case 27:
		return d.dyn(n) + " " + pick(d, "==", "!=") + " " + pick(d, d.str(n-1, s), d.num(n-1, s), "claims.score", "true", "null", "1.0", "1u", d.dyn(n))
	case 28:
		return d.dyn(n) + " " + cmp + " " + pick(d, d.num(n-1, s), "1.0", d.q(), "0.5")
	case 29:
		return "claims.score " + cmp + " " + pick(d, "0.0", "0.5", "1.0", "-1.0", "double(claims.attempt)", "1e300")
	case 30:
		return d.instant() + " " + cmp + " " + d.instant()
	case 31:
		return d.dur() + " " + cmp + " " + d.dur()
	case 32:
		return d.opt(n-1, s) + ".hasValue()"
	case 33:
		return d.opt(n-1, s) + " " + pick(d, "==", "!=") + " " + d.opt(n-1, s)
	case 34:
		return d.dyn(n) + " in " + pick(d, "[1, 2]", `["a", "b"]`, "[1.0, 0.5]", "claims.groups", `["a", claims.actor]`)
	case 35:
		return pick(d, "claims.?labels.?env.hasValue()", "claims.?labels.?env.?inner.hasValue()", "request.?resource.hasValue()", "request.?address.hasValue()", "grant.claims.?repo.hasValue()", "has(request.resource)", "has(request.address)", "has(grant.claims.repo)", "has(grant.claims.act)", "has(claims.labels.env.inner)", `["actor", "zz"].exists(k, k in claims)`, `["env", "zz"].all(k, k in claims.labels)`, `["labels"].all(k, has(claims[k].env))`)
	case 36:
		return "(" + d.dyn(n) + " || " + d.cond(n-1, s) + ")"
	case 37:
		return "(" + d.cond(n-1, s) + " && " + d.dyn(n) + ")"
	case 38:
		return d.list(n-1, s) + " " + pick(d, "==", "!=") + " " + d.list(n-1, s)
	}
	return "claims.protected"
}

// wild is a token with the same corners.
func (d drawing) wild(t trust.Trust) (trust.Identity, trust.Request, time.Time) {
	id, req, at := d.token(t)
	for _, n := range texts() {
		if n == "ref_type" || n == "runner_environment" {
			continue
		}
		always := n == "repository" || n == "ref" || n == "sub" || n == "head_ref" || n == "event_name"
		if d.chance(60) {
			id.Claims[n] = pick(d, pool()...)
			if d.chance(15) {
				id.Claims[n] = pick(d, pool()...) + pick(d, pool()...)
			}
		} else if !always && d.chance(40) {
			delete(id.Claims, n)
		}
	}
	id.Claims["runner_environment"] = pick(d, "hosted", "own")
	if id.Claims["sub"] == "" {
		id.Claims["sub"] = "x"
	}
	if d.chance(60) {
		l := []any{}
		for range d.IntN(4) {
			l = append(l, pick(d, pool()...))
		}
		id.Claims["groups"] = l
	}
	if d.chance(70) {
		m := map[string]any{}
		for _, k := range []string{"env", "n", "zz"} {
			if d.chance(60) {
				m[k] = pick[any](d, "a", "b", int64(1), int64(0), 1.0, 0.5, true, false, nil, map[string]any{"inner": "a"}, map[string]any{}, []any{"a"}, []any{}, int64(2), "x", map[string]any{"inner": int64(1)})
			}
		}
		id.Claims["labels"] = m
	}
	if d.chance(60) {
		id.Claims["attempt"] = pick[any](d, int64(0), int64(1), int64(2), int64(3), int64(-1), int64(1<<63-1), int64(-1<<63), int64(1<<53), int64(1<<53+1))
	}
	if d.chance(50) {
		id.Claims["score"] = pick[any](d, 0.0, 0.5, 1.0, -1.0, int64(1), 1e300)
	}
	for _, line := range t.Match {
		w := pick(d, line.Want...)
		v := w.Value
		if s, ok := v.(string); ok && w.Glob {
			v = strings.ReplaceAll(s, "*", pick(d, "", "x", "main", "a", "k", "👍"))
		}
		line.Claim.Set(id.Claims, v)
	}
	id.Subject, _ = id.Claims["sub"].(string)
	if d.chance(20) {
		at = at.Add(time.Duration(d.IntN(400*24*60)) * time.Minute)
		iat := at.Unix() + int64(pick(d, 0, -1, -60, 30))
		exp := at.Unix() + int64(pick(d, 0, 60, 300, 900, 3600))
		id.Claims["iat"], id.Claims["exp"] = iat, exp
		id.IssuedAt, id.ExpiresAt = time.Unix(iat, 0).UTC(), time.Unix(exp, 0).UTC()
	}
	if d.chance(10) {
		req.Address = netip.Addr{}
	}
	return id, req, at
}

// TestWild holds the prover against CEL and decisions over conditions of every
// shape: errors that are absorbed, optionals, members of any type, folded letters,
// computed names, times and lists.
func TestWild(t *testing.T) {
	t.Parallel()
	const policies, tries = 60, 60
	count := map[prove.Verdict]int{}
	for seed := range uint64(policies) {
		d := draws(seed, 77)
		n := 1 + d.IntN(3)
		when, rule, kind := d.cond(n, inLoop{}), d.cond(n, inLoop{}), "always"
		switch d.IntN(6) {
		case 0:
			rule = when + " || " + rule
		case 1:
			kind, rule = "never", "!("+when+") && "+rule
		case 2:
			kind, rule, when = "never", "("+when+") && "+rule, ""
		case 3:
			rule = pick(d, "("+when+") || !("+when+")", "!("+when+") || ("+rule+")", when)
		}
		lines := pick(d, "", "  ref: a\n", "  actor: [a, \"K\"]\n", "  ref: {glob: \"*\"}\n", "  environment: \"\"\n", "  attempt: 1\n", "  repository: [a, b, {glob: \"a*\"}]\n")
		if when != "" {
			lines += "when:\n  - '" + when + "'\n"
		}
		docs := []string{base(lines + pick(d, toT1,
			"grants:\n  - {to: t1, scopes: [a, b], ttl: 15m, claims: {repo: \"${claims.repository}\", c: \"a\", act: \"x-${claims.actor}\", num: \"${claims.attempt}\", flag: true}}\n",
			"grants:\n  - {to: t2, resource: a, ttl: 10m}\n")), invariant(kind, rule)}
		p, _ := trust.Compile(world(), []trust.Source{{Name: "a.yaml", Data: []byte(docs[0])}, {Name: "b.yaml", Data: []byte(docs[1])}}, now())
		if p == nil {
			continue // too expensive, or of types that do not fit
		}
		pr, err := prove.New(p, now())
		if err != nil {
			t.Fatal(err)
		}
		r, tr := pr.Invariants(t.Context())[0], p.All()[0]
		facts := pr.Facts(tr)
		count[r.Verdict]++
		if e := r.Example; r.Verdict == prove.Broken && !violated(t, p, decide, e.Identity, longest(e.Request), e.At) {
			t.Fatalf("seed %d: the example %v breaks nothing\n%s", seed, e.Identity.Claims, strings.Join(docs, "---\n"))
		}
		for range tries {
			id, req, at := d.wild(tr)
			switch {
			case r.Verdict == prove.Holds && violated(t, p, decide, id, req, at):
				t.Fatalf("seed %d: it holds, but %v %+v at %s breaks it\n%s", seed, id.Claims, req, at, strings.Join(docs, "---\n"))
			case facts.Never == prove.Yes && p.Explain(id, req, trust.StopSet{}, at).Candidates > 0:
				t.Fatalf("seed %d: it never matches, but %v %+v at %s does\n%s", seed, id.Claims, req, at, strings.Join(docs, "---\n"))
			}
		}
	}
	t.Logf("verdicts: %v", count)
	for _, v := range []prove.Verdict{prove.Holds, prove.Broken} {
		if 5*count[v] < policies {
			t.Errorf("only %d of %d cases are %s", count[v], policies, v)
		}
	}
}

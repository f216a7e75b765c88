package trust_test

import (
	"fmt"
	"net/netip"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"go.yaml.in/yaml/v4"

	"cambio/trust"
)

// edited is a document with the changes written into it, as a person would.
func edited(t *testing.T, document string, changes []trust.Change) string {
	t.Helper()
	doc := parsed(t, document)
	child := func(key string) map[string]any {
		m, ok := doc[key].(map[string]any)
		if !ok {
			t.Fatalf("no map %s in\n%s", key, document)
		}
		return m
	}
	list := func(key string) []any { l, _ := doc[key].([]any); return l }
	var dropped []int
	for _, c := range changes {
		written := map[string]any{}
		if c.Write != "" {
			written = parsed(t, map[bool]string{true: "item:\n"}[strings.HasPrefix(c.Write, "- ")]+c.Write)
		}
		switch section, rest, _ := strings.Cut(c.Field, "."); {
		case section == "match" && c.Write == "":
			delete(child("match"), rest)
		case section == "match" || section == "access":
			for k, v := range written[section].(map[string]any) {
				child(section)[k] = v
			}
		case section == "mode" || section == "expires":
			doc[section] = written[section]
		case strings.HasPrefix(section, "when["):
			at, err := strconv.Atoi(strings.Trim(section, "when[]"))
			if err != nil {
				t.Fatal(err)
			}
			if c.Write == "" {
				dropped = append(dropped, at)
				continue
			}
			list("when")[at] = written["item"].([]any)[0]
		case section == "grants":
			doc["grants"] = append(list("grants"), written["item"].([]any)[0])
		case strings.HasPrefix(section, "grants["):
			at, err := strconv.Atoi(strings.Trim(section, "grants[]"))
			if err != nil {
				t.Fatal(err)
			}
			list("grants")[at].(map[string]any)["scopes"] = written["scopes"]
		default:
			t.Fatalf("a change of %q", c.Field)
		}
	}
	slices.Sort(dropped)
	for _, at := range slices.Backward(dropped) {
		doc["when"] = slices.Delete(list("when"), at, at+1)
	}
	if len(list("when")) == 0 {
		delete(doc, "when")
	}
	out, err := yaml.Marshal(doc)
	if err != nil {
		t.Fatal(err)
	}
	return quotedDay.ReplaceAllString(string(out), "expires: $1")
}

var quotedDay = regexp.MustCompile(`(?m)^expires: "?([0-9-]{10})[^\n]*`)

func parsed(t *testing.T, document string) map[string]any {
	t.Helper()
	var doc map[string]any
	if err := yaml.Unmarshal([]byte(document), &doc); err != nil {
		t.Fatalf("%v\n%s", err, document)
	}
	return doc
}

// allowedBy compiles the documents with one of them edited, and reports whether
// the request is allowed.
func allowedBy(t *testing.T, docs []string, near trust.Near, id trust.Identity, req trust.Request) (bool, string) {
	t.Helper()
	docs = slices.Clone(docs)
	for i, d := range docs {
		if strings.HasPrefix(d, "name: "+near.Trust+"\n") {
			docs[i] = edited(t, d, near.Edit)
		}
	}
	text := strings.Join(docs, "---\n")
	p, findings := trust.Compile(world(), sources(docs...), now())
	if p == nil {
		return false, fmt.Sprintf("%v\n%s", findings, text)
	}
	d := p.Decide(id, req, trust.StopSet{}, now())
	return d.Allow && d.Trust == near.Trust, fmt.Sprintf("%+v\n%s", d, text)
}

// TestNear is a table of denials: what the owner reads, which edit is proposed and
// allows the request once it is written, and what the caller reads.
func TestNear(t *testing.T) {
	t.Parallel()
	ask := trust.Request{Target: "t1", Address: netip.MustParseAddr("192.0.2.1")}
	with := func(f func(*trust.Request)) trust.Request { r := ask; f(&r); return r }
	shut := func(what string) []string { return []string{edit(t, "grants:", "access: {"+what+"}\ngrants:")} }
	when := func(c string) []string {
		return []string{edit(t, "grants:", "when:\n  - '"+strings.ReplaceAll(c, "'", "''")+"'\ngrants:")}
	}
	claims := func(name string, v any) map[string]any { return map[string]any{name: v} }
	const guard = "guardrail: g1\nowner: o\npurpose: p\nforbid: "
	for name, c := range map[string]struct {
		docs   []string
		claims map[string]any
		req    trust.Request
		stops  trust.StopSet
		reason trust.Reason
		line   string // of the nearest trust
		edit   string // what is to be written, or done
		none   string // why there is no edit
		hint   string
	}{
		"another ref": {
			claims: claims("ref", "refs/heads/dev"), req: ask, reason: trust.ReasonConditionFalse,
			line: `FAIL match.ref: expected "refs/heads/main", found "refs/heads/dev"`, edit: `ref: ["refs/heads/main", "refs/heads/dev"]`,
			hint: "The claim ref is not one that the trust takes.",
		},
		"another anchor": {
			claims: claims("repository_id", "3"), req: ask, reason: trust.ReasonConditionFalse,
			line: `FAIL match.repository_id`, edit: `repository_id: ["2", "3"]`,
		},
		"one of two anchors": {
			claims: claims("repository_owner_id", "9"), req: ask, reason: trust.ReasonConditionFalse,
			line: `FAIL match.repository_owner_id`, edit: `repository_owner_id: ["1", "9"]`,
		},
		"no such claim": {
			docs: []string{edit(t, "  ref:", "  environment: prod\n  ref:")}, req: ask, reason: trust.ReasonConditionFalse,
			line: `found no such claim`, edit: "take the line out",
			hint: "The token lacks the claim environment, which the trust asks for.",
		},
		"no anchor": {
			claims: map[string]any{"repository_id": nil, "repository_owner_id": nil}, req: ask, reason: trust.ReasonConditionFalse,
			line: `FAIL match.repository_id`, none: "it would pin no anchor any more",
		},
		"another type": {
			claims: claims("ref", int64(1)), req: ask, reason: trust.ReasonConditionFalse,
			line: "found 1", none: "the token's ref is of another type", hint: "The claim ref is not one that the trust takes.",
		},
		"a hostile value": {
			claims: claims("ref", "x\x1b[2J\u202e"), req: ask, reason: trust.ReasonConditionFalse,
			line: `found "x\x1b[2J\u202e"`, none: "characters that no document may hold", hint: "The claim ref is not one that the trust takes.",
		},
		"two claims": {
			claims: map[string]any{"ref": "x", "event_name": "pull_request"}, req: ask, reason: trust.ReasonConditionFalse,
			line: "FAIL match.ref", edit: `event_name: "pull_request"`, hint: "The claims ref and event_name are not ones that the trust takes.",
		},
		"a pull request": {
			claims: claims("event_name", "pull_request"), req: ask, reason: trust.ReasonEventNotNamed,
			line: "FAIL match.event_name", edit: "match:\n  event_name: \"pull_request\"", hint: "The claim event_name is not one that the trust takes.",
		},
		"equal to another": {
			docs: when(`claims.workflow == "deploy"`), claims: claims("workflow", "it's"), req: ask, reason: trust.ReasonConditionFalse,
			line: "FAIL when[0]", edit: `- 'claims.workflow in ["deploy", "it''s"]'`,
		},
		"in a list, among others": {
			docs: when(`claims.attempt in [7, 8] && (claims.actor == "x" || claims.actor == "mona")`), req: ask, reason: trust.ReasonConditionFalse,
			line: "FAIL when[0]", edit: `- 'claims.attempt in [7, 8, 1] && (claims.actor == "x" || claims.actor == "mona")'`,
		},
		"a condition that cannot be widened": {
			docs: when(`claims.workflow.startsWith("x")`), claims: claims("workflow", "y"), req: ask, reason: trust.ReasonConditionFalse,
			line: "FAIL when[0]", edit: "rewrite it",
		},
		"a condition over a claim that is not there": {
			docs: when(`claims.environment == "prod"`), req: ask, reason: trust.ReasonCELError,
			line: "FAIL when[0]", edit: "rewrite it",
		},
		"a condition over the request": {
			docs: when(`request.ttl < duration("1m")`), req: ask, reason: trust.ReasonConditionFalse,
			line: "FAIL when[0]", edit: "rewrite it",
		},
		"a condition over the identity": {
			docs: when(`identity.subject == "x"`), req: ask, reason: trust.ReasonConditionFalse,
			line: "FAIL when[0]", edit: "rewrite it",
		},
		"a condition over all claims": {
			docs: when(`size(claims) > 99`), req: ask, reason: trust.ReasonConditionFalse,
			line: "FAIL when[0]", edit: "rewrite it",
		},
		"another network": {
			docs: shut("networks: [10.0.0.0/8]"), req: ask, reason: trust.ReasonNetwork,
			line: "FAIL access.networks", edit: `networks: ["10.0.0.0/8", "192.0.2.1/32"]`,
		},
		"an unknown address": {
			docs: shut("networks: [10.0.0.0/8]"), req: trust.Request{Target: "t1"}, reason: trust.ReasonNetwork,
			line: "an unknown address", none: "the caller's address is not known",
		},
		"another hour": {
			docs: shut(`hours: "Mon-Fri 14:00-15:00 Europe/Zurich"`), req: ask, reason: trust.ReasonHours,
			line: "FAIL access.hours", edit: `"Wed 11:00-12:00 Europe/Zurich"`,
		},
		"expired": {
			docs: []string{edit(t, "from:", "expires: 2026-11-24\nfrom:")}, req: ask, reason: trust.ReasonTrustExpired,
			line: "FAIL expires", edit: "expires: 2026-11-25",
		},
		"expired, and another ref": {
			docs: []string{edit(t, "from:", "expires: 2026-11-24\nfrom:")}, claims: claims("ref", "x"), req: ask, reason: trust.ReasonConditionFalse,
			line: "FAIL expires", edit: "expires: 2026-11-25",
		},
		"on trial": {
			docs: []string{edit(t, "from:", "mode: shadow\nfrom:")}, req: ask, reason: trust.ReasonShadowOnly,
			line: "ok   match.ref", edit: "mode: enforce",
		},
		"on trial, and another ref": {
			docs: []string{edit(t, "from:", "mode: shadow\nfrom:")}, claims: claims("ref", "x"), req: ask, reason: trust.ReasonConditionFalse,
			line: "FAIL match.ref", edit: "mode: enforce",
		},
		"silent": {
			docs: []string{edit(t, "from:", "hints: false\nfrom:")}, claims: claims("ref", "x"), req: ask, reason: trust.ReasonConditionFalse,
			line: "FAIL match.ref", edit: `ref: ["refs/heads/main", "x"]`,
		},
		"another target": {
			req: with(func(r *trust.Request) { r.Target = "t2" }), reason: trust.ReasonTargetNotGranted,
			line: "FAIL grants", edit: "- to: t2",
		},
		"a target that is not there": {
			req: with(func(r *trust.Request) { r.Target = "t9\x1b[2J" }), reason: trust.ReasonTargetNotGranted,
			line: `found to "t9\x1b[2J"`, none: "the configuration has no such target",
		},
		"a target that needs a resource": {
			req: with(func(r *trust.Request) { r.Target = "cloud" }), reason: trust.ReasonTargetNotGranted,
			line: "FAIL grants", none: "a grant at cloud needs resource",
		},
		"another resource": {
			req: with(func(r *trust.Request) { r.Resource = "x:y" }), reason: trust.ReasonResourceNotGrant,
			line: "FAIL grants", edit: `resource: "x:y"`,
		},
		"another scope": {
			req: with(func(r *trust.Request) { r.Scopes = []string{"read", "write"} }), reason: trust.ReasonScopeNotGranted,
			line: "FAIL grants", edit: `scopes: ["read", "list", "write"]`,
		},
		"a malformed scope": {
			req: with(func(r *trust.Request) { r.Scopes = []string{`re"ad`} }), reason: trust.ReasonScopeMalformed,
			line: "FAIL grants", none: "a scope that is asked for is malformed",
		},
		"two that fit": {
			docs: []string{base, edit(t, "name: tr1", "name: tr3")}, req: ask, reason: trust.ReasonAmbiguousTrust,
			line: "ok   match.ref", none: "more than one grant fits",
		},
		"a trust of another name": {
			docs: []string{base, other}, claims: claims("ref", "x"), req: with(func(r *trust.Request) { r.Trust = "tr9" }), reason: trust.ReasonNoMatchingTrust,
			line: "FAIL match.ref", none: "the request asks for another trust by name", hint: "The claim ref is not one that the trust takes.",
		},
		"a trust by its name": {
			docs: []string{base, other}, claims: claims("ref", "x"), req: with(func(r *trust.Request) { r.Trust = "tr1" }), reason: trust.ReasonConditionFalse,
			line: "FAIL match.ref", edit: `ref: ["refs/heads/main", "x"]`, hint: "The claim ref is not one that the trust takes.",
		},
		"a guardrail": {
			docs: []string{base, guard + `request.to == "t1"`}, req: ask, reason: trust.ReasonGuardrail,
			line: "ok   match.ref", none: "the guardrail g1 forbids it",
		},
		"a guardrail behind another ref": {
			docs: []string{base, guard + `request.to == "t1"`}, claims: claims("ref", "x"), req: ask, reason: trust.ReasonConditionFalse,
			line: "FAIL match.ref", none: "the guardrail g1 forbids it", hint: "The claim ref is not one that the trust takes.",
		},
		"a stop": {
			req: ask, stops: trust.NewStopSet(1, []trust.Stop{{Kind: trust.StopTrust, What: "tr1"}}), reason: trust.ReasonStopped,
			line: "ok   match.ref", none: "a stop of the trust is in force",
		},
		"a claim that the grant hands on": {
			docs: []string{edit(t, "ttl: 15m", `claims: {env: "${claims.environment}"}`)}, req: ask, reason: trust.ReasonClaimMissing,
			line: "ok   grants", none: "the grant hands on a claim that the token lacks",
		},
		"a nonce": {
			docs: []string{edit(t, "from:", "require_nonce: true\nfrom:")}, req: ask, reason: trust.ReasonNonceRequired,
			line: "ok   grants", none: "a nonce of ours",
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			if c.docs == nil {
				c.docs = []string{base}
			}
			p := compile(t, c.docs...)
			id := token(c.claims)
			e := p.ExplainNear(id, c.req, c.stops, now())
			d := p.Decide(id, c.req, c.stops, now())
			if e.Reason != c.reason || d.Reason != c.reason {
				t.Fatalf("decided %s, explained %s", d.Reason, e.Reason)
			}
			if hint := p.Hint(id, c.req, d, now()); hint != c.hint {
				t.Errorf("hint %q, want %q", hint, c.hint)
			}
			text := e.String()
			if first, _, _ := strings.Cut(text, "\n"); first != "deny "+string(c.reason) || !strings.Contains(text, c.line) {
				t.Errorf("no %q in\n%s", c.line, text)
			}
			if strings.ContainsAny(text, "\x1b\u202e") {
				t.Errorf("a terminal would obey: %q", text)
			}
			near := e.Near[0]
			if near.Trust != e.Trust || (len(near.Edit) == 0) != (c.edit == "") || !strings.Contains(near.NoEdit, c.none) || (near.NoEdit == "") != (c.none == "") {
				t.Fatalf("edit %+v, none %q", near.Edit, near.NoEdit)
			}
			var proposed strings.Builder
			for _, change := range near.Edit {
				proposed.WriteString(change.Do + "\n" + change.Write + "\n")
			}
			if !strings.Contains(proposed.String(), c.edit) {
				t.Errorf("no %q in\n%s", c.edit, proposed.String())
			}
			if len(near.Edit) > 0 {
				if ok, why := allowedBy(t, c.docs, near, id, c.req); !ok {
					t.Errorf("written, it does not allow: %s", why)
				}
			}
		})
	}
}

// TestNearestFirst holds the order: by name, by proven anchors, by target, in
// force, by the lines that fail; and that there are three at most.
func TestNearestFirst(t *testing.T) {
	t.Parallel()
	doc := func(name, more, match, to string) string {
		return "name: " + name + "\nowner: o\npurpose: p\nfrom: ci\n" + more + "match: {" + match + "}\ngrants: [{to: " + to + "}]\n"
	}
	const mine, theirs = `repository_id: "2"`, `repository_id: "3"`
	p := compile(
		t,
		doc("a-theirs", "", theirs, "t1"),
		doc("b-elsewhere", "", mine+", ref: x", "t2"),
		doc("c-trial", "mode: shadow\n", mine+", ref: x", "t1"),
		doc("d-two", "", mine+", ref: x, environment: y", "t1"),
		doc("e-one", "", mine+", ref: x", "t1"),
	)
	order := func(req trust.Request) []string {
		var names []string
		for _, n := range p.ExplainNear(token(nil), req, trust.StopSet{}, now()).Near {
			names = append(names, n.Trust)
		}
		return names
	}
	if got, want := order(trust.Request{Target: "t1"}), []string{"e-one", "d-two", "c-trial"}; !slices.Equal(got, want) {
		t.Errorf("%v, want %v", got, want)
	}
	if got := order(trust.Request{Target: "t1", Trust: "a-theirs"}); got[0] != "a-theirs" || len(got) != 3 {
		t.Errorf("by name: %v", got)
	}
	if got := order(trust.Request{Target: "t2"}); got[0] != "b-elsewhere" {
		t.Errorf("by target: %v", got)
	}
}

// TestEditsAllow holds, for many random worlds, that an edit which is proposed
// allows the request once a person has written it into the document, and that a
// hint names no value.
func TestEditsAllow(t *testing.T) {
	t.Parallel()
	r := &dice{state: 3}
	pick := func(options ...string) string { return options[r.IntN(len(options))] }
	edits, none, hints := 0, 0, 0
	for range 50 {
		var docs []string
		for i := range 1 + r.IntN(3) {
			docs = append(docs, randomTrust(i, pick))
		}
		if r.IntN(4) == 0 {
			docs = append(docs, "guardrail: g\nowner: o\npurpose: p\nforbid: '"+pick(`request.to == "t2"`, `request.ttl > duration("12m")`)+"'\n")
		}
		p := compile(t, docs...)
		for range 3 {
			id := token(map[string]any{
				"ref": pick("refs/heads/main", "refs/tags/v1"), "event_name": pick("push", "push", "pull_request"),
				"repository_id": pick("2", "2", "3", "4"), "attempt": int64(1 + r.IntN(2)),
			})
			req := trust.Request{
				Target: pick("t1", "t1", "t2", "t9"), Resource: pick("", "", "a:b"), Trust: pick("", "", "", "tr0"),
				TTL: time.Duration(r.IntN(2)) * 5 * time.Minute, Scopes: trust.ParseScope(pick("", "", "read", "write")),
				Address: netip.MustParseAddr(pick("10.0.0.1", "192.0.2.1")),
			}
			d := p.Decide(id, req, trust.StopSet{}, now())
			e := p.ExplainNear(id, req, trust.StopSet{}, now())
			if e.Allow != d.Allow || e.Reason != d.Reason {
				t.Fatalf("decided %+v, explained %+v", d, e)
			}
			hint := p.Hint(id, req, d, now())
			if hint != "" {
				hints++
			}
			for _, secret := range []string{"refs/", "tr0", "tr1", "tr2", "push", `"`, "10.0", "t1", "t2"} {
				if strings.Contains(hint, secret) {
					t.Fatalf("the hint tells %q: %s", secret, hint)
				}
			}
			for _, near := range e.Near {
				if len(near.Edit) == 0 {
					none++
					if near.NoEdit == "" {
						t.Fatalf("neither an edit nor why not: %s", e)
					}
					continue
				}
				edits++
				if ok, why := allowedBy(t, docs, near, id, req); !ok {
					t.Fatalf("%+v\n%+v does not allow: %s", req, near.Edit, why)
				}
			}
		}
	}
	if edits < 100 || none < 30 || hints < 20 {
		t.Errorf("%d edits, %d without, %d hints: not the worlds that were meant", edits, none, hints)
	}
}

// randomTrust is a document over the claims of the test's tokens.
func randomTrust(i int, pick func(...string) string) string {
	lines := []string{
		fmt.Sprintf("name: tr%d", i), "owner: o", "purpose: p", "from: ci", pick("mode: enforce", "mode: enforce", "mode: shadow"),
		"match: {" + pick(`repository_id: "2"`, `repository_id: ["2", "3"]`, `repository_owner_id: "1"`) +
			pick("", ", ref: refs/heads/main", `, ref: {glob: "refs/*/main"}`, `, event_name: [push, workflow_dispatch]`, ", environment: x", ", protected: false") + "}",
		"grants: [" + pick("{to: t1}", "{to: t1, scopes: [read]}", "{to: t2}", `{to: t1, resource: "a:b"}, {to: t1, resource: "a:c"}`, `{to: t1, claims: {e: "${claims.environment}"}}`) + "]",
	}
	if condition := pick("", `claims.attempt == 1`, `claims.ref in ["refs/heads/main"] && claims.attempt != 7`, `claims.environment == "x"`, `request.to == "t1"`, `request.ttl < duration("10m")`, `grant.resource != "a:b"`); condition != "" {
		lines = append(lines, "when: ['"+condition+"']")
	}
	if access := pick("", "", `hours: "Mon-Fri 09:00-11:00 UTC"`, `hours: "Mon-Fri 11:00-12:00 UTC"`, "networks: [10.0.0.0/8]"); access != "" {
		lines = append(lines, "access: {"+access+"}")
	}
	if day := pick("", "", "2026-11-24", "2026-11-25"); day != "" {
		lines = append(lines, "expires: "+day)
	}
	if pick("", "", "silent") != "" {
		lines = append(lines, "hints: false")
	}
	return strings.Join(lines, "\n") + "\n"
}

// TestExplainPartly holds that a line over what was not recorded says so, that
// there is no verdict where it depends on that, and no edit that rests on it.
func TestExplainPartly(t *testing.T) {
	t.Parallel()
	const guard = "guardrail: g1\nowner: o\npurpose: p\nfrom: [ci]\nforbid: "
	known := trust.Partly{Nonce: true, Claim: func(c trust.ClaimRef) bool { return c.Shown() != "actor" && c.Shown() != "event_name" }}
	hidden := func(changes map[string]any) trust.Identity {
		id := token(changes)
		delete(id.Claims, "actor")
		delete(id.Claims, "event_name")
		return id
	}
	for name, c := range map[string]struct {
		docs   []string
		claims map[string]any
		hinges string
		line   string
		none   string
		edit   string
	}{
		"a line of match": {
			docs: []string{edit(t, "  ref:", "  actor: mona\n  ref:")}, hinges: "actor event_name",
			line: `?    match.actor: expected "mona", found not recorded`, none: "not all that it reads was recorded",
		},
		"a line that fails beside": {
			docs: []string{edit(t, "  ref:", "  actor: mona\n  ref:")}, claims: map[string]any{"ref": "x"},
			line: `?    match.actor`, none: "not all that it reads was recorded",
		},
		"a condition": {
			docs: []string{edit(t, "grants:", "when: ['claims.actor == \"mona\"']\ngrants:", "  ref:", "  event_name: push\n  ref:")}, hinges: "actor event_name",
			line: `?    when[0]`, none: "not all that it reads was recorded",
		},
		"a guarded event":     {docs: []string{base}, hinges: "event_name", line: "?    match.event_name"},
		"a guarded event, no": {docs: []string{base}, claims: map[string]any{"ref": "x"}, line: "?    match.event_name", none: "not all that it reads was recorded"},
		"a condition that does not need it": {
			docs:   []string{edit(t, "grants:", "when: ['claims.attempt == 2 && claims.actor == \"mona\"']\ngrants:", "  ref:", "  event_name: [push, pull_request]\n  ref:")},
			line:   "FAIL when[0]",
			hinges: "",
			none:   "not all that it reads was recorded",
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			p := compile(t, c.docs...)
			e, hinges := p.ExplainPartly(hidden(c.claims), trust.Request{Target: "t1"}, known, now())
			if got := strings.Join(hinges, " "); got != c.hinges {
				t.Errorf("depends on %q, want %q", got, c.hinges)
			}
			if text := e.String(); !strings.Contains(text, c.line) {
				t.Errorf("no %q in\n%s", c.line, text)
			}
			if c.none != "" && (len(e.Near) == 0 || !strings.Contains(e.Near[0].NoEdit, c.none)) {
				t.Errorf("%+v", e.Near)
			}
		})
	}
	// What forbids by a claim that is not recorded is not said to forbid.
	p := compile(t, edit(t, "  ref:", "  event_name: [push, pull_request]\n  ref:"), guard+`claims.actor == "evil"`)
	id := token(map[string]any{"ref": "x", "event_name": "push", "actor": nil})
	e, hinges := p.ExplainPartly(id, trust.Request{Target: "t1"}, trust.Partly{Nonce: true, Claim: func(c trust.ClaimRef) bool { return c.Shown() != "actor" }}, now())
	if len(hinges) > 0 || e.Allow || !strings.Contains(e.Near[0].NoEdit, "rests on what was not recorded") {
		t.Errorf("%v %+v", hinges, e.Near)
	}
}

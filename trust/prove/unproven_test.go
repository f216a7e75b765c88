package prove_test

import (
	"errors"
	"maps"
	"net/netip"
	"strings"
	"testing"
	"time"

	"cambio/trust"
	"cambio/trust/prove"
)

// breaker is a token and a request that fit base, with these changes.
func breaker(over map[string]any, change func(*trust.Request)) (trust.Identity, trust.Request, time.Time) {
	at := now().Add(time.Hour)
	claims := map[string]any{
		"iss": "https://ci.test", "sub": "repo:acme/app", "repository_id": "2", "repository_owner_id": "1", "head_ref": "",
		"runner_environment": "hosted", "repository": "acme/app", "ref": "refs/heads/main", "ref_type": "branch", "event_name": "push",
		"iat": at.Unix(), "exp": at.Unix() + 300,
	}
	maps.Copy(claims, over)
	sub, _ := claims["sub"].(string)
	id := trust.Identity{
		Provider: "ci", Subject: sub, Issuer: "https://ci.test", Audience: "https://id.test", Claims: claims,
		Workload: "spiffe://id.test/ci/1/2", IssuedAt: at, ExpiresAt: at.Add(300 * time.Second),
	}
	req := trust.Request{Target: "t1", Trust: "tr1", Address: netip.MustParseAddr("10.1.2.3")}
	if change != nil {
		change(&req)
	}
	return id, req, at
}

// TestNotProven holds corners of CEL where an invariant looks as if it held: the
// token beside each breaks it.
func TestNotProven(t *testing.T) {
	t.Parallel()
	const branch = `claims.ref_type == "branch"` // of every breaker
	dots := strings.Repeat(".", 3000)
	labels := func(env any) map[string]any { return map[string]any{"labels": map[string]any{"env": env}} }
	for name, c := range map[string]struct {
		when, kind, rule string
		claims           map[string]any
		change           func(*trust.Request)
	}{
		"no such field":                {kind: "always", rule: `"foo" in request`},
		"a grant has no time":          {kind: "always", rule: `"time" in grant`},
		"a field by a computed name":   {kind: "always", rule: `["foo"].exists(k, request[?k].hasValue())`},
		"no resource":                  {kind: "always", rule: `request.?resource.hasValue()`},
		"no resource to fall back on":  {kind: "always", rule: `request.?resource.orValue("none") == ""`},
		"no resource by its name":      {kind: "always", rule: `["resource"].all(k, request[k] == "")`},
		"no address":                   {kind: "always", rule: `request.?address.hasValue()`, change: func(r *trust.Request) { r.Address = netip.Addr{} }},
		"a map in a map":               {when: `has(claims.labels.env) && !claims.?labels.?env.?b.hasValue()`, kind: "never", rule: branch, claims: labels(map[string]any{"c": "x"})},
		"an optional of a map":         {when: `claims.?labels.optMap(v, v.?env.?x.hasValue()).orValue(false) == false && has(claims.labels.env)`, kind: "never", rule: branch, claims: labels(map[string]any{})},
		"an integer beyond 53 bits":    {kind: "always", rule: `!has(claims.attempt) || int(double(claims.attempt)) == claims.attempt`, claims: map[string]any{"attempt": int64(1<<53 + 1)}},
		"the least integer":            {kind: "always", rule: `!has(claims.attempt) || claims.attempt > 100 || claims.attempt + -9223372036854775808 < 0`, claims: map[string]any{"attempt": int64(-1)}},
		"a long part":                  {when: `claims.sub.split(":")[0] == "` + dots + `"`, kind: "never", rule: branch, claims: map[string]any{"sub": dots}},
		"two parts that are shown one": {when: `claims.repository.replace("^(?:a)$", "x") == "acme/app"`, kind: "always", rule: `claims.repository.replace("a", "x") == "acme/app"`},
		"a lifetime by a computed name": {
			when: `["tt"].all(k, request[k + "l"] <= duration("5m"))`, kind: "never", rule: branch, change: func(r *trust.Request) { r.TTL = 5 * time.Minute },
		},
		"a list that is compared": {kind: "always", rule: `dyn([1]) < dyn([2]) || claims.ref_type == "tag"`},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			when := ""
			if c.when != "" {
				when = "when:\n  - '" + c.when + "'\n"
			}
			docs := []string{base(when + toT1), invariant(c.kind, c.rule)}
			id, req, at := breaker(c.claims, c.change)
			if !violated(t, compile(t, docs...), decide, id, req, at) {
				t.Fatal("the token breaks nothing")
			}
			if r := proveAll(t, docs...)[0]; r.Verdict == prove.Holds {
				t.Error("it holds")
			}
		})
	}
}

// TestGivenUp holds conditions that are within all bounds of loading, and whose
// ways multiply beyond any bound: the answer is that there is none.
func TestGivenUp(t *testing.T) {
	t.Parallel()
	var clocks []string
	for _, n := range []string{"0", "1", "2", "3", "4", "5", "6", "7", "8", "9", "10", "11"} {
		clocks = append(clocks, `(identity.issued_at.getMinutes() == `+n+` || identity.expires_at.getMinutes() == 1`+n+` || request.time.getMinutes() == 2`+n+`)`)
	}
	for name, when := range map[string]string{
		"claims in a row":           `claims.repository + claims.ref + claims.actor + claims.workflow + claims.environment + claims.sub == "` + strings.Repeat("a", 200) + `"`,
		"clocks that hang together": strings.Join(clocks, " && "),
	} {
		r := proveAll(t, base("when:\n  - '"+when+"'\n"+toT1), invariant("never", `claims.ref == "a"`))[0]
		if r.Verdict != prove.Undecided {
			t.Errorf("%s: %s", name, r.Verdict)
		}
	}
	r := proveAll(t, base("when: ['claims.groups.size() > 60000']\n"+toT1), invariant("never", `claims.ref == "a"`))[0]
	if r.Verdict != prove.Broken || len(r.Example.Claims["groups"].([]any)) <= 60000 {
		t.Errorf("a long list: %s", r.Verdict)
	}
}

// TestRefusedTokens holds that what a verifier refuses beside the table breaks
// nothing: a token without a workload id, and one that it does not take.
func TestRefusedTokens(t *testing.T) {
	t.Parallel()
	w := world()
	own := w.Providers["own"]
	own.WorkloadID = func(claims map[string]any) (string, error) {
		env, _ := claims["env"].(string)
		if env == "" {
			return "", errors.New("no env")
		}
		return "spiffe://id.test/own/" + env, nil
	}
	w.Providers["own"] = own
	document := strings.NewReplacer("from: ci", "from: own", `repository_id: "2"`, "project: x", `  repository_owner_id: "1"`+"\n", "").Replace(base(toT1))
	for name, c := range map[string]struct {
		rule  string
		takes func(string, map[string]any, time.Time) error
		want  prove.Verdict
	}{
		"a claim of the workload id is missing": {rule: `!has(claims.env)`, want: prove.Holds},
		"it is empty":                           {rule: `claims.env == ""`, want: prove.Holds},
		"another claim":                         {rule: `claims.level == 1`, want: prove.Broken},
		"a claim that is not taken": {rule: `has(claims.level) && claims.level == 1`, want: prove.Undecided, takes: func(_ string, claims map[string]any, _ time.Time) error {
			if claims["level"] == int64(1) {
				return errors.New("level is 1")
			}
			return nil
		}},
	} {
		rule := strings.Replace(invariant("never", c.rule), "from: [ci]", "from: [own]", 1)
		p, findings := trust.Compile(w, []trust.Source{{Name: "a.yaml", Data: []byte(document)}, {Name: "b.yaml", Data: []byte(rule)}}, now())
		if p == nil {
			t.Fatal(findings)
		}
		pr, err := prove.New(p, now())
		if err != nil {
			t.Fatal(err)
		}
		if c.takes != nil {
			pr.Takes(c.takes)
		}
		if r := pr.Invariants(t.Context())[0]; r.Verdict != c.want {
			t.Errorf("%s: %s %s", name, r.Verdict, r.Reason)
		}
	}
}

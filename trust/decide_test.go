package trust_test

import (
	"net/netip"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"cambio/trust"
)

const other = `name: tr2
owner: team@acme.test
purpose: production
from: ci
match: {repository_id: "2", repository_owner_id: "1", ref: refs/heads/main, environment: production}
grants: [{to: t2, scopes: [admin]}]
`

func TestDecide(t *testing.T) {
	t.Parallel()
	ok := verdict{}
	identity := func(r trust.Reason) verdict { return verdict{r, trust.BlameIdentity} }
	target := func(r trust.Reason) verdict { return verdict{r, trust.BlameTarget} }
	scope := func(r trust.Reason) verdict { return verdict{r, trust.BlameScope} }
	for name, c := range map[string]struct {
		docs   []string
		claims map[string]any
		req    trust.Request
		want   verdict
	}{
		"control":               {req: trust.Request{Target: "t1"}, want: ok},
		"empty scope":           {req: trust.Request{Target: "t1", Scopes: []string{}}, want: ok},
		"narrower scope":        {req: trust.Request{Target: "t1", Scopes: []string{"list"}}, want: ok},
		"named":                 {req: trust.Request{Target: "t1", Trust: "tr1"}, want: ok},
		"wider scope":           {req: trust.Request{Target: "t1", Scopes: []string{"read", "write"}}, want: scope(trust.ReasonScopeNotGranted)},
		"malformed scope":       {req: trust.Request{Target: "t1", Scopes: []string{"re\"ad"}}, want: scope(trust.ReasonScopeMalformed)},
		"empty scope token":     {req: trust.Request{Target: "t1", Scopes: trust.ParseScope("read ")}, want: scope(trust.ReasonScopeMalformed)},
		"scope of a stranger":   {claims: map[string]any{"ref": "x"}, req: trust.Request{Target: "t1", Scopes: []string{"x"}}, want: identity(trust.ReasonConditionFalse)},
		"target not granted":    {req: trust.Request{Target: "t2"}, want: target(trust.ReasonTargetNotGranted)},
		"no such target":        {req: trust.Request{Target: "nobody"}, want: target(trust.ReasonTargetNotGranted)},
		"no such resource":      {req: trust.Request{Target: "t1", Resource: "x:y"}, want: target(trust.ReasonResourceNotGrant)},
		"another trust's name":  {docs: []string{base, other}, req: trust.Request{Target: "t1", Trust: "tr2"}, want: target(trust.ReasonNoMatchingTrust)},
		"no such trust":         {docs: []string{base, other}, req: trust.Request{Target: "t1", Trust: "tr9"}, want: target(trust.ReasonNoMatchingTrust)},
		"a stranger names one":  {claims: map[string]any{"ref": "x"}, req: trust.Request{Target: "t1", Trust: "tr1"}, want: identity(trust.ReasonConditionFalse)},
		"a stranger names none": {claims: map[string]any{"ref": "x"}, req: trust.Request{Target: "t1", Trust: "tr9"}, want: identity(trust.ReasonNoMatchingTrust)},
		"another ref":           {claims: map[string]any{"ref": "refs/heads/Main"}, req: trust.Request{Target: "t1"}, want: identity(trust.ReasonConditionFalse)},
		"missing claim":         {claims: map[string]any{"ref": nil}, req: trust.Request{Target: "t1"}, want: identity(trust.ReasonConditionFalse)},
		"other type":            {claims: map[string]any{"repository_id": int64(2)}, req: trust.Request{Target: "t1"}, want: identity(trust.ReasonConditionFalse)},
		"list for a scalar":     {claims: map[string]any{"repository_id": []any{"2"}}, req: trust.Request{Target: "t1"}, want: identity(trust.ReasonConditionFalse)},
		"pull request":          {claims: map[string]any{"event_name": "pull_request"}, req: trust.Request{Target: "t1"}, want: identity(trust.ReasonEventNotNamed)},
		"pull request, named": {
			docs:   []string{edit(t, "  ref:", "  event_name: [push, pull_request]\n  ref:")},
			claims: map[string]any{"event_name": "pull_request"}, req: trust.Request{Target: "t1"}, want: ok,
		},
		"pull request, by glob": {
			docs:   []string{edit(t, "  ref:", "  event_name: {glob: \"pull*\"}\n  ref:")},
			claims: map[string]any{"event_name": "pull_request"}, req: trust.Request{Target: "t1"}, want: identity(trust.ReasonEventNotNamed),
		},
		"two trusts": {
			docs: []string{base, edit(t, "name: tr1", "name: tr3")}, req: trust.Request{Target: "t1"}, want: identity(trust.ReasonAmbiguousTrust),
		},
		"two trusts, one named": {
			docs: []string{base, edit(t, "name: tr1", "name: tr3")}, req: trust.Request{Target: "t1", Trust: "tr3"}, want: ok,
		},
		"two trusts, one named, narrower": {
			docs: []string{base, edit(t, "name: tr1", "name: tr3", "read, list", "write")},
			req:  trust.Request{Target: "t1", Trust: "tr1", Scopes: []string{"write"}}, want: scope(trust.ReasonScopeNotGranted),
		},
		"two resources, none asked": {
			docs: []string{edit(t, "  - {to: t1", "  - {to: t1, resource: \"x:a\"}\n  - {to: t1")},
			req:  trust.Request{Target: "t1"}, want: identity(trust.ReasonAmbiguousTrust),
		},
		"two resources, one asked": {
			docs: []string{edit(t, "  - {to: t1", "  - {to: t1, resource: \"x:a\"}\n  - {to: t1")},
			req:  trust.Request{Target: "t1", Resource: "x:a"}, want: ok,
		},
		"shadow alone": {
			docs: []string{edit(t, "from:", "mode: shadow\nfrom:")}, req: trust.Request{Target: "t1"}, want: identity(trust.ReasonShadowOnly),
		},
		"shadow beside": {
			docs: []string{base, edit(t, "name: tr1", "name: tr3\nmode: shadow")}, req: trust.Request{Target: "t1"}, want: ok,
		},
		"expired":       {docs: []string{edit(t, "from:", "expires: 2026-11-24\nfrom:")}, req: trust.Request{Target: "t1"}, want: identity(trust.ReasonTrustExpired)},
		"expires today": {docs: []string{edit(t, "from:", "expires: 2026-11-25\nfrom:")}, req: trust.Request{Target: "t1"}, want: ok},
		"expired for another": {
			docs: []string{edit(t, "from:", "expires: 2026-11-24\nfrom:")}, claims: map[string]any{"ref": "x"},
			req: trust.Request{Target: "t1"}, want: identity(trust.ReasonConditionFalse),
		},
		"claim of the grant missing": {
			docs: []string{edit(t, "ttl: 15m", "claims: {env: \"${claims.environment}\"}")}, req: trust.Request{Target: "t1"}, want: identity(trust.ReasonClaimMissing),
		},
		"network unknown": {
			docs: []string{edit(t, "grants:", "access: {networks: [10.0.0.0/8]}\ngrants:")}, req: trust.Request{Target: "t1"}, want: identity(trust.ReasonNetwork),
		},
		"network mapped": {
			docs: []string{edit(t, "grants:", "access: {networks: [10.0.0.0/8]}\ngrants:")},
			req:  trust.Request{Target: "t1", Address: netip.MustParseAddr("::ffff:10.1.2.3")}, want: ok,
		},
		"network zoned": {
			docs: []string{edit(t, "grants:", "access: {networks: [\"fe80::/10\"]}\ngrants:")},
			req:  trust.Request{Target: "t1", Address: netip.MustParseAddr("fe80::1%eth0")}, want: identity(trust.ReasonNetwork),
		},
		"hours in":  {docs: []string{edit(t, "grants:", "access: {hours: \"Mon-Fri 11:00-12:00 Europe/Zurich\"}\ngrants:")}, req: trust.Request{Target: "t1"}, want: ok},
		"hours out": {docs: []string{edit(t, "grants:", "access: {hours: \"Mon-Fri 10:00-11:00 Europe/Zurich\"}\ngrants:")}, req: trust.Request{Target: "t1"}, want: identity(trust.ReasonHours)},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			if c.docs == nil {
				c.docs = []string{base}
			}
			p := compile(t, c.docs...)
			if got := judge(p, token(c.claims), c.req); got != c.want {
				t.Errorf("got %+v, want %+v", got, c.want)
			}
		})
	}
}

func TestDecideOtherProvider(t *testing.T) {
	t.Parallel()
	p := compile(t, base)
	for _, provider := range []string{"own", "k8s", "nobody", ""} {
		id := token(map[string]any{"project": "x"})
		id.Provider = provider
		if got, want := judge(p, id, trust.Request{Target: "t1"}), (verdict{trust.ReasonNoMatchingTrust, trust.BlameIdentity}); got != want {
			t.Errorf("%q: got %+v, want %+v", provider, got, want)
		}
	}
	var none *trust.Policy
	if d := none.Decide(token(nil), trust.Request{Target: "t1"}, trust.StopSet{}, now()); d.Allow {
		t.Error("no policy allows")
	}
	if d := (&trust.Policy{}).Decide(token(nil), trust.Request{Target: "t1"}, trust.StopSet{}, now()); d.Allow {
		t.Error("the zero policy allows")
	}
}

func TestGrantIsNarrowed(t *testing.T) {
	t.Parallel()
	p := compile(t, edit(t, "ttl: 15m", `ttl: 15m, claims: {repo: "${claims.repository}", who: "a ${claims.actor}!", n: 3, try: "${claims.attempt}"}`))
	d := p.Decide(token(nil), trust.Request{Target: "t1", Scopes: []string{"list", "read"}, TTL: 5 * time.Minute}, trust.StopSet{}, now())
	want := trust.Grant{
		Target: "t1", Scopes: []string{"read", "list"}, TTL: 5 * time.Minute,
		Claims: map[string]any{"repo": "acme/app", "who": "a mona!", "n": int64(3), "try": int64(1)},
	}
	if diff := cmp.Diff(want, d.Grant); diff != "" {
		t.Errorf("grant (-want +got):\n%s", diff)
	}
	wantClaims := map[string]any{"repository_id": "2", "repository_owner_id": "1", "ref": "refs/heads/main"}
	if diff := cmp.Diff(wantClaims, d.Claims); diff != "" {
		t.Errorf("claims (-want +got):\n%s", diff)
	}
	if d.TokenUse != trust.OncePerGrant || d.Mark || d.PolicySHA256 != p.SHA256() || len(d.TrustSHA256) != 64 {
		t.Errorf("got %+v", d)
	}
	d.Grant.Scopes[0] = "root" // a caller's change must not reach the policy
	again := p.Decide(token(nil), trust.Request{Target: "t1", TTL: time.Hour}, trust.StopSet{}, now())
	if diff := cmp.Diff([]string{"read", "list"}, again.Grant.Scopes); diff != "" || again.Grant.TTL != 15*time.Minute {
		t.Errorf("a change of a decision reached the policy: %+v", again.Grant)
	}
}

func TestTTL(t *testing.T) {
	t.Parallel()
	p := compile(t,
		edit(t, "  - {to: t1, scopes: [read, list], ttl: 15m}", "  - {to: t2}\n  - {to: cloud, resource: \"arn:a\", ttl: 20m}\n  - {to: t1, ttl: 1h}"))
	for _, c := range []struct {
		target    string
		ask, want time.Duration
	}{
		{"t2", 0, 10 * time.Minute},
		{"t2", time.Hour, 10 * time.Minute},
		{"t1", 0, time.Hour},
		{"t1", time.Second, time.Second},
		{"cloud", 0, 20 * time.Minute},
		{"cloud", time.Minute, 15 * time.Minute},
		{"cloud", time.Hour, 20 * time.Minute},
	} {
		d := p.Decide(token(nil), trust.Request{Target: c.target, TTL: c.ask}, trust.StopSet{}, now())
		if !d.Allow || d.Grant.TTL != c.want {
			t.Errorf("%s asked %v: got %v (%v), want %v", c.target, c.ask, d.Grant.TTL, d.Reason, c.want)
		}
	}
}

func TestTokenUse(t *testing.T) {
	t.Parallel()
	k8s := edit(t, "from: ci", "from: k8s", "  repository_id: \"2\"\n  repository_owner_id: \"1\"\n  ref: refs/heads/main", "  namespace: a\n  service_account: b")
	tight := edit(t, "name: tr1", "name: tr2\ntoken_use: once", "from: ci", "from: k8s",
		"  repository_id: \"2\"\n  repository_owner_id: \"1\"\n  ref: refs/heads/main", "  namespace: z\n  service_account: b")
	id := trust.Identity{Provider: "k8s", Claims: map[string]any{"cluster.io": map[string]any{
		"namespace": "a", "serviceaccount": map[string]any{"name": "b"},
	}}}
	loose := compile(t, k8s).Decide(id, trust.Request{Target: "t1"}, trust.StopSet{}, now())
	if !loose.Allow || loose.TokenUse != trust.UntilExpiry || loose.Mark {
		t.Errorf("alone: %+v", loose)
	}
	beside := compile(t, k8s, tight).Decide(id, trust.Request{Target: "t1"}, trust.StopSet{}, now())
	if !beside.Allow || beside.TokenUse != trust.UntilExpiry || !beside.Mark {
		t.Errorf("beside a tighter one: %+v", beside)
	}
	id.Claims = map[string]any{"cluster.io": map[string]any{"namespace": "z", "serviceaccount": map[string]any{"name": "b"}}}
	own := compile(t, k8s, tight).Decide(id, trust.Request{Target: "t1"}, trust.StopSet{}, now())
	if !own.Allow || own.TokenUse != trust.Once || own.Mark {
		t.Errorf("the tighter one: %+v", own)
	}
	// A flat claim of an alias's name must not choose the namespace.
	id.Claims["namespace"] = "a"
	if d := compile(t, k8s).Decide(id, trust.Request{Target: "t1"}, trust.StopSet{}, now()); d.Allow {
		t.Error("a flat claim stood in for the nested one")
	}
}

func TestStopsAndGuardrails(t *testing.T) {
	t.Parallel()
	guard := "guardrail: g1\nowner: sec@acme.test\npurpose: none at night\nforbid: "
	twin := edit(t, "name: tr1", "name: tr3")
	ask := trust.Request{Target: "t1"}
	stop := func(kind trust.StopKind, what string) trust.StopSet {
		return trust.NewStopSet(4, []trust.Stop{{ID: "s", Kind: kind, What: what, Added: now()}})
	}
	for name, c := range map[string]struct {
		docs  []string
		stops trust.StopSet
		req   trust.Request
		want  verdict
	}{
		"workload":         {[]string{base}, stop(trust.StopWorkload, "spiffe://gw.test/ci/1/2"), ask, verdict{trust.ReasonStopped, trust.BlameIdentity}},
		"trust":            {[]string{base}, stop(trust.StopTrust, "tr1"), ask, verdict{trust.ReasonStopped, trust.BlameIdentity}},
		"provider":         {[]string{base}, stop(trust.StopProvider, "ci"), ask, verdict{trust.ReasonStopped, trust.BlameIdentity}},
		"target":           {[]string{base}, stop(trust.StopTarget, "t1"), ask, verdict{trust.ReasonStopped, trust.BlameTarget}},
		"another target":   {[]string{base}, stop(trust.StopTarget, "t2"), ask, verdict{}},
		"one of two":       {[]string{base, twin}, stop(trust.StopTrust, "tr1"), ask, verdict{trust.ReasonAmbiguousTrust, trust.BlameIdentity}},
		"forbidden":        {[]string{base, guard + `request.to == "t1"`}, trust.StopSet{}, ask, verdict{trust.ReasonGuardrail, trust.BlameIdentity}},
		"forbids one of 2": {[]string{base, twin, guard + `identity.provider == "ci"`}, trust.StopSet{}, ask, verdict{trust.ReasonAmbiguousTrust, trust.BlameIdentity}},
		"not forbidden":    {[]string{base, guard + `request.to == "t2"`}, trust.StopSet{}, ask, verdict{}},
		"other provider":   {[]string{base, guard + "'true'\nfrom: [k8s]"}, trust.StopSet{}, ask, verdict{}},
		"own provider":     {[]string{base, guard + "'true'\nfrom: [ci]"}, trust.StopSet{}, ask, verdict{trust.ReasonGuardrail, trust.BlameIdentity}},
		"not evaluated":    {[]string{base, guard + "claims.environment == \"x\"\nfrom: [ci]"}, trust.StopSet{}, ask, verdict{trust.ReasonGuardrail, trust.BlameIdentity}},
		"left out ttl": {
			[]string{base, guard + `request.ttl > duration("10m")`}, trust.StopSet{}, ask, verdict{trust.ReasonGuardrail, trust.BlameIdentity},
		},
		"narrowed ttl": {
			[]string{base, guard + `grant.ttl > duration("10m") || request.ttl > duration("10m")`},
			trust.StopSet{},
			trust.Request{Target: "t1", TTL: 10 * time.Minute},
			verdict{},
		},
		"left out scopes": {
			[]string{base, guard + `'"list" in request.scopes'`}, trust.StopSet{}, ask, verdict{trust.ReasonGuardrail, trust.BlameIdentity},
		},
		"narrowed scopes": {
			[]string{base, guard + `'"list" in request.scopes || "list" in grant.scopes'`},
			trust.StopSet{},
			trust.Request{Target: "t1", Scopes: []string{"read"}},
			verdict{},
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			d := compile(t, c.docs...).Decide(token(nil), c.req, c.stops, now())
			if got := (verdict{d.Reason, d.Blame}); got != c.want || d.StopVersion != c.stops.Version() {
				t.Errorf("got %+v, want %+v", got, c.want)
			}
		})
	}
}

package trust_test

import (
	"fmt"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"cambio/trust"
	"cambio/trust/strictyaml"
)

// ids are the ids of the errors of a compilation, once each, in order.
func ids(findings strictyaml.Findings, severity strictyaml.Severity) []string {
	var out []string
	for _, f := range findings {
		if f.Severity == severity && (len(out) == 0 || out[len(out)-1] != f.ID) {
			out = append(out, f.ID)
		}
	}
	return out
}

func TestCompileRefuses(t *testing.T) {
	t.Parallel()
	const match = "match:\n  repository_id: \"2\"\n  repository_owner_id: \"1\"\n  ref: refs/heads/main\n"
	guard := "guardrail: g\nowner: o\npurpose: p\nforbid: "
	for name, c := range map[string]struct {
		docs []string
		want string // the ids, separated by spaces
	}{
		"no match":                 {[]string{edit(t, match, "")}, "trust-too-broad"},
		"empty match":              {[]string{edit(t, match, "match: {}\n")}, "trust-too-broad"},
		"only when true":           {[]string{edit(t, match, "when: [\"true\"]\n")}, "trust-too-broad"},
		"only negative":            {[]string{edit(t, match, "when: ['claims.iss != \"\"']\n")}, "trust-too-broad"},
		"only repository":          {[]string{edit(t, match, "match: {repository: acme/app}\n")}, "trust-too-broad"},
		"only ref":                 {[]string{edit(t, match, "match: {ref: refs/heads/main}\n")}, "trust-too-broad"},
		"glob anchor":              {[]string{edit(t, match, "match: {repository_id: {glob: \"2*\"}}\n")}, "trust-too-broad"},
		"list with a glob":         {[]string{edit(t, match, "match: {repository_id: [\"2\", {glob: \"3*\"}]}\n")}, "trust-too-broad"},
		"empty list anchor":        {[]string{edit(t, match, "match: {repository_id: []}\n")}, "trust-too-broad empty-list"},
		"empty anchor":             {[]string{edit(t, match, "match: {repository_id: \"\"}\n")}, "trust-too-broad"},
		"anchor as number":         {[]string{edit(t, "\"2\"", "2", "  repository_owner_id: \"1\"\n", "")}, "type-mismatch"},
		"unknown claim":            {[]string{edit(t, "  ref:", "  reff:")}, "unknown-claim"},
		"list claim":               {[]string{edit(t, "  ref: refs/heads/main", "  groups: dev")}, "list-claim"},
		"fraction":                 {[]string{edit(t, "  ref: refs/heads/main", "  score: 1.5")}, "type-mismatch"},
		"null":                     {[]string{edit(t, "  ref: refs/heads/main", "  ref:")}, "type-mismatch"},
		"empty list":               {[]string{edit(t, "refs/heads/main", "[]")}, "empty-list"},
		"glob **":                  {[]string{edit(t, "refs/heads/main", "{glob: \"a**\"}")}, "glob-invalid"},
		"glob ?":                   {[]string{edit(t, "refs/heads/main", "{glob: \"a?\"}")}, "glob-invalid"},
		"glob [":                   {[]string{edit(t, "refs/heads/main", "{glob: \"a[b]\"}")}, "glob-invalid"},
		"glob {":                   {[]string{edit(t, "refs/heads/main", "{glob: \"a{b}\"}")}, "glob-invalid"},
		"glob \\":                  {[]string{edit(t, "refs/heads/main", "{glob: 'a\\b'}")}, "glob-invalid"},
		"glob of an int":           {[]string{edit(t, "  ref: refs/heads/main", "  attempt: {glob: \"1*\"}")}, "type-mismatch"},
		"unknown provider":         {[]string{edit(t, "from: ci", "from: cii")}, "unknown-provider"},
		"unknown target":           {[]string{edit(t, "to: t1", "to: t9")}, "unknown-target"},
		"unknown field":            {[]string{edit(t, "owner:", "approved: true\nowner:")}, "unknown-field"},
		"case of a field":          {[]string{edit(t, "grants:", "Grants:")}, "unknown-field"},
		"owner misspelt":           {[]string{edit(t, "owner:", "ownr:")}, "unknown-field"},
		"another field misspelt":   {[]string{edit(t, "owner: team@acme.test\n", "", "purpose:", "prupose:")}, "owner-missing unknown-field"},
		"resource misspelt":        {[]string{edit(t, "{to: t1, scopes: [read, list], ttl: 15m}", "{to: cloud, resorce: \"a:b\"}")}, "unknown-field"},
		"field of a grant":         {[]string{edit(t, "ttl: 15m", "max_ttl: 15m")}, "unknown-field"},
		"no owner":                 {[]string{edit(t, "owner: team@acme.test\n", "")}, "owner-missing"},
		"empty owner":              {[]string{edit(t, "team@acme.test", "\" \"")}, "owner-missing"},
		"null owner":               {[]string{edit(t, " team@acme.test", "")}, "owner-missing"},
		"no purpose":               {[]string{edit(t, "purpose: main of app reads t1\n", "")}, "required"},
		"no name":                  {[]string{edit(t, "name: tr1\n", "")}, "required"},
		"bad name":                 {[]string{edit(t, "tr1", "Tr1")}, "invalid-value"},
		"one name twice":           {[]string{base, base}, "duplicate-name"},
		"one guardrail twice":      {[]string{guard + "'false'", guard + "'false'"}, "duplicate-name"},
		"looser use":               {[]string{edit(t, "from:", "token_use: until-expiry\nfrom:")}, "token-use-looser"},
		"no such use":              {[]string{edit(t, "from:", "token_use: never\nfrom:")}, "invalid-value"},
		"no such mode":             {[]string{edit(t, "from:", "mode: Shadow\nfrom:")}, "invalid-value"},
		"invariant of nothing":     {[]string{"invariant: i\nowner: o\npurpose: p\nfrom: [ci]\n"}, "required"},
		"invariant of both":        {[]string{"invariant: i\nowner: o\npurpose: p\nnever: 'true'\nalways: 'true'\n"}, trust.FindingInvalid},
		"two invariants":           {[]string{"invariant: i\nowner: o\npurpose: p\nnever: 'true'\n", "invariant: i\nowner: o\npurpose: q\nnever: 'true'\n"}, trust.FindingDuplicateName},
		"ttl above max":            {[]string{edit(t, "15m", "61m")}, "ttl-above-max"},
		"ttl below min":            {[]string{edit(t, "{to: t1, scopes: [read, list], ttl: 15m}", "{to: cloud, resource: \"a:b\", ttl: 5m}")}, "ttl-below-min"},
		"ttl of two parts":         {[]string{edit(t, "15m", "1h30m")}, "duration"},
		"ttl without unit":         {[]string{edit(t, "15m", "900")}, "duration"},
		"ttl zero":                 {[]string{edit(t, "15m", "0s")}, "invalid-value"},
		"required field":           {[]string{edit(t, "{to: t1, scopes: [read, list], ttl: 15m}", "{to: cloud}")}, "required"},
		"ambiguous grants":         {[]string{edit(t, "  - {to: t1", "  - {to: t1}\n  - {to: t1")}, "ambiguous-grants"},
		"ambiguous resources":      {[]string{edit(t, "  - {to: t1", "  - {to: t1, resource: \"a:b\"}\n  - {to: t1, resource: \"a:b\"")}, "ambiguous-grants"},
		"reserved claim":           {[]string{edit(t, "ttl: 15m", "claims: {sub: root}")}, "reserved-claim"},
		"reserved in capitals":     {[]string{edit(t, "ttl: 15m", "claims: {SUB: root}")}, "reserved-claim"},
		"reserved with a space":    {[]string{edit(t, "ttl: 15m", "claims: {\"sub \": root}")}, "reserved-claim"},
		"template claim":           {[]string{edit(t, "ttl: 15m", "claims: {r: \"${claims.repo}\"}")}, "unknown-claim"},
		"template of an int":       {[]string{edit(t, "ttl: 15m", "claims: {r: \"n${claims.attempt}\"}")}, "type-mismatch"},
		"template of env":          {[]string{edit(t, "ttl: 15m", "claims: {r: \"${env.HOME}\"}")}, "invalid-value"},
		"template not closed":      {[]string{edit(t, "ttl: 15m", "claims: {r: \"${claims.ref\"}")}, "invalid-value"},
		"empty scopes":             {[]string{edit(t, "[read, list]", "[]")}, "empty-list"},
		"scope with a space":       {[]string{edit(t, "[read, list]", "[\"a b\"]")}, "scope-malformed"},
		"scope twice":              {[]string{edit(t, "[read, list]", "[a, a]")}, "invalid-value"},
		"no grants":                {[]string{edit(t, "grants:\n  - {to: t1, scopes: [read, list], ttl: 15m}", "grants: []")}, "empty-list"},
		"network with host bits":   {[]string{edit(t, "grants:", "access: {networks: [10.0.0.1/8]}\ngrants:")}, "network-invalid"},
		"network mapped":           {[]string{edit(t, "grants:", "access: {networks: [\"::ffff:10.0.0.0/104\"]}\ngrants:")}, "network-invalid"},
		"no networks":              {[]string{edit(t, "grants:", "access: {networks: []}\ngrants:")}, "empty-list"},
		"no access":                {[]string{edit(t, "grants:", "access: {}\ngrants:")}, "invalid-value"},
		"hours without zone":       {[]string{edit(t, "grants:", "access: {hours: \"Mon 07:00-19:00\"}\ngrants:")}, "hours-invalid"},
		"when not bool":            {[]string{edit(t, "grants:", "when: [claims.ref]\ngrants:")}, "cel-not-bool"},
		"when dyn":                 {[]string{edit(t, "grants:", "when: ['claims.labels.env']\ngrants:")}, "cel-not-bool"},
		"when types":               {[]string{edit(t, "grants:", "when: ['claims.ref == 1']\ngrants:")}, "type-mismatch"},
		"when index types":         {[]string{edit(t, "grants:", "when: ['claims[\"ref\"] == 1']\ngrants:")}, "type-mismatch"},
		"when unknown claim":       {[]string{edit(t, "grants:", "when: ['claims.reff == \"x\"']\ngrants:")}, "unknown-claim"},
		"when unknown index":       {[]string{edit(t, "grants:", "when: ['claims[\"reff\"] == \"x\"']\ngrants:")}, "unknown-claim"},
		"when unknown has":         {[]string{edit(t, "grants:", "when: ['has(claims.reff)']\ngrants:")}, "unknown-claim"},
		"when unknown in":          {[]string{edit(t, "grants:", "when: ['\"reff\" in claims']\ngrants:")}, "unknown-claim"},
		"when unknown optional":    {[]string{edit(t, "grants:", "when: ['claims.?reff.hasValue()']\ngrants:")}, "unknown-claim"},
		"when unknown opt index":   {[]string{edit(t, "grants:", "when: ['claims[?\"a.b\"].hasValue()']\ngrants:")}, "unknown-claim"},
		"when unknown variable":    {[]string{edit(t, "grants:", "when: ['claim.ref == \"x\"']\ngrants:")}, "unknown-name"},
		"when unknown field":       {[]string{edit(t, "grants:", "when: ['request.target == \"x\"']\ngrants:")}, "unknown-name"},
		"when a clock":             {[]string{edit(t, "grants:", "when: ['now() > request.time']\ngrants:")}, "unknown-name"},
		"when a message":           {[]string{edit(t, "grants:", "when: ['google.protobuf.Duration{seconds: 1} == request.ttl']\ngrants:")}, "cel-syntax"},
		"when a dynamic pattern":   {[]string{edit(t, "grants:", "when: ['claims.ref.matches(claims.actor)']\ngrants:")}, "cel-pattern"},
		"when a broken pattern":    {[]string{edit(t, "grants:", "when: ['claims.ref.matches(\"a)|(?:b\")']\ngrants:")}, "cel-pattern"},
		"when a quoting pattern":   {[]string{edit(t, "grants:", "when: ['claims.ref.matches(\"\\\\Qabc\")']\ngrants:")}, "cel-pattern"},
		"when a long pattern":      {[]string{edit(t, "grants:", "when: ['claims.ref.matches(\""+strings.Repeat("a", 257)+"\")']\ngrants:")}, "cel-too-expensive"},
		"when a huge pattern":      {[]string{edit(t, "grants:", "when: ['claims.ref.matches(\""+strings.Repeat("a", 3000)+"\")']\ngrants:")}, "cel-too-expensive"},
		"when a counted pattern":   {[]string{edit(t, "grants:", "when: ['claims.ref.matches(\"((a{30}){30}){2}\")']\ngrants:")}, "cel-pattern"},
		"when too long":            {[]string{edit(t, "grants:", "when: ['claims.ref == \""+strings.Repeat("a", 5000)+"\"']\ngrants:")}, "cel-too-expensive"},
		"when 100 kB":              {[]string{edit(t, "grants:", "when: ['claims.ref == \""+strings.Repeat("a", 100_000)+"\"']\ngrants:")}, "cel-too-expensive"},
		"when parentheses":         {[]string{edit(t, "grants:", "when: ['"+strings.Repeat("(", 2000)+"true"+strings.Repeat(")", 2000)+"']\ngrants:")}, "cel-too-expensive"},
		"when nested deep":         {[]string{edit(t, "grants:", "when: ['"+strings.Repeat("!(", 40)+"true"+strings.Repeat(")", 40)+"']\ngrants:")}, "cel-too-expensive"},
		"when loops":               {[]string{edit(t, "grants:", "when: ['claims.groups.all(a, claims.groups.all(b, claims.groups.all(c, claims.groups.all(d, a + b + c + d != \"\"))))']\ngrants:")}, "cel-too-expensive"},
		"when loops of claims":     {[]string{edit(t, "grants:", "when: ['claims.all(a, claims.all(b, claims.all(c, claims.all(d, a != b))))']\ngrants:")}, "cel-too-expensive"},
		"when doubling":            {[]string{edit(t, "grants:", "when: ['[claims.ref + claims.ref].all(a, [a + a + a + a + a + a + a + a].all(b, (b + b + b + b + b + b + b + b + b + b + b + b).contains(b + b)))']\ngrants:")}, "cel-too-expensive"},
		"when a shadowed variable": {[]string{edit(t, "grants:", "when: ['[{\"ref\": \"x\"}].all(claims, claims.ref == \"x\")']\ngrants:")}, "cel-syntax"},
		"when empty":               {[]string{edit(t, "grants:", "when: [\"\"]\ngrants:")}, "cel-syntax"},
		"when two expressions":     {[]string{edit(t, "grants:", "when: ['true; true']\ngrants:")}, "cel-syntax"},
		"when a text":              {[]string{edit(t, "grants:", "when: claims.ref\ngrants:")}, "wrong-type"},
		"guardrail without rule":   {[]string{"guardrail: g\nowner: o\npurpose: p\n"}, "required"},
		"guardrail with mode":      {[]string{guard + "'false'\nmode: shadow"}, "unknown-field"},
		"guardrail without owner":  {[]string{"guardrail: g\npurpose: p\nforbid: 'false'\n"}, "owner-missing"},
		"guardrail of all":         {[]string{guard + "claims.ref == \"x\""}, "unknown-claim"},
		"guardrail of none":        {[]string{guard + "'false'\nfrom: []"}, "empty-list"},
		"guardrail of unknown":     {[]string{guard + "'false'\nfrom: [x]"}, "unknown-provider"},
		"test without ask":         {[]string{base + "tests: [{name: a, expect: allow}]\n"}, "required"},
		"test of unknown claim":    {[]string{base + "tests: [{name: a, claims: {x: \"1\"}, ask: {to: t1}, expect: allow}]\n"}, "unknown-claim"},
		"test of a wrong type":     {[]string{base + "tests: [{name: a, claims: {ref: 1}, ask: {to: t1}, expect: allow}]\n"}, "type-mismatch"},
		"match is a list":          {[]string{edit(t, match, "match: [a]\n")}, "wrong-type"},
		"glob without a text":      {[]string{edit(t, "refs/heads/main", "{glob: 1}")}, "wrong-type"},
		"glob misspelt":            {[]string{edit(t, "refs/heads/main", "{globs: a}")}, "unknown-field"},
		"glob empty":               {[]string{edit(t, "refs/heads/main", "{glob: \"\"}")}, "glob-invalid"},
		"one claim by two names":   {[]string{edit(t, "  ref:", "  /ref: x\n  ref:")}, "invalid-value"},
		"long purpose":             {[]string{edit(t, "main of", strings.Repeat("a", 2000))}, "invalid-value"},
		"empty purpose":            {[]string{edit(t, "main of app reads t1", "\"\"")}, "invalid-value"},
		"mode as a list":           {[]string{edit(t, "from:", "mode: [shadow]\nfrom:")}, "wrong-type"},
		"a claim that is a list":   {[]string{edit(t, "ttl: 15m", "claims: {x: [1]}")}, "wrong-type"},
		"claims as a list":         {[]string{edit(t, "ttl: 15m", "claims: [x]")}, "wrong-type"},
		"two providers, one twice": {[]string{guard + "'false'\nfrom: [ci, ci]"}, "invalid-value"},
		"not a map":                {[]string{"- a\n"}, "yaml-root"},
		"empty":                    {[]string{""}, "yaml-empty"},
		"all at once":              {[]string{edit(t, "from: ci", "from: cii", "15m", "2h"), edit(t, "tr1", "tr2", "owner: team@acme.test\n", "")}, "unknown-provider ttl-above-max owner-missing"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			p, findings := trust.Compile(world(), sources(c.docs...), now())
			if p != nil {
				t.Error("there is a policy")
			}
			if got := strings.Join(ids(findings, strictyaml.Error), " "); got != c.want {
				t.Errorf("got %s, want %s\n%v", got, c.want, findings)
			}
			for _, f := range findings {
				if f.File == "" || f.Line < 1 || f.Column < 1 || f.Message == "" {
					t.Errorf("a finding without its place: %+v", f)
				}
			}
		})
	}
}

func TestCompileWarns(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		doc  string
		want []string
	}{
		"control":     {base, nil},
		"owner alone": {edit(t, "  repository_id: \"2\"\n", ""), []string{trust.FindingSharedIdentity}},
		"odd value":   {edit(t, "  ref:", "  event_name: pushed\n  ref:"), []string{trust.FindingUnknownValue}},
		"expired":     {edit(t, "from:", "expires: 2026-11-24\nfrom:"), []string{trust.FindingExpired}},
		"star":        {edit(t, "ref: refs/heads/main", "ref: \"refs/heads/*\""), []string{trust.FindingStarIsLiteral}},
		"star, item":  {edit(t, "ref: refs/heads/main", "ref: [a, {glob: \"b*\"}, \"*\"]"), []string{trust.FindingStarIsLiteral}},
		"star, glob":  {edit(t, "ref: refs/heads/main", "ref: {glob: \"refs/heads/*\"}"), nil},
		"star, bool":  {edit(t, "ref: refs/heads/main", "protected: true"), nil},
		"soon":        {edit(t, "from:", "expires: 2026-12-20\nfrom:"), []string{trust.FindingExpiresSoon}},
		"quoted date": {edit(t, "from:", "expires: \"2027-12-20\"\nfrom:"), nil},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			p, findings := trust.Compile(world(), sources(c.doc), now())
			if p == nil {
				t.Fatalf("it does not load: %v", findings)
			}
			if diff := cmp.Diff(c.want, ids(findings, strictyaml.Warning)); diff != "" {
				t.Errorf("warnings (-want +got):\n%s", diff)
			}
		})
	}
}

// TestUnknownProviderHidesNothing holds that a misspelt from: leaves only what
// its claims would tell for later.
func TestUnknownProviderHidesNothing(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		doc  string
		want string // after unknown-provider
	}{
		"control":             {base, ""},
		"any claim and type":  {edit(t, "  ref: refs/heads/main", "  nothing: 1\n  other: true"), ""},
		"nothing to match":    {edit(t, "match:\n  repository_id: \"2\"\n  repository_owner_id: \"1\"\n  ref: refs/heads/main\n", "match: {}\n"), "trust-too-broad"},
		"a null":              {edit(t, " refs/heads/main", ""), "wrong-type"},
		"an ambiguous value":  {edit(t, "refs/heads/main", "0755"), "wrong-type"},
		"an empty list":       {edit(t, "refs/heads/main", "[]"), "empty-list"},
		"a list in a list":    {edit(t, "refs/heads/main", "[[a]]"), "wrong-type"},
		"a glob of two stars": {edit(t, "refs/heads/main", "{glob: \"a**\"}"), "glob-invalid"},
		"a glob in a list":    {edit(t, "refs/heads/main", "[a, {glob: \"a?\"}]"), "glob-invalid"},
		"a condition":         {withCondition(t, `claims.nothing == 1 && claims.other.startsWith("x") && "a" in claims.?b.orValue([])`), ""},
		"claims in a loop":    {withCondition(t, `claims.nothing.exists(x, x == claims["a.b"]) && has(claims.c)`), ""},
		"no CEL":              {withCondition(t, `claims.ref = "x"`), "cel-syntax"},
		"an unknown name":     {withCondition(t, `claim.ref == "x"`), "unknown-name"},
		"an unknown field":    {withCondition(t, `request.target == "x"`), "unknown-name"},
		"a computed pattern":  {withCondition(t, `claims.ref.matches(claims.actor)`), "cel-pattern"},
		"a grant":             {edit(t, "15m", "2h"), "ttl-above-max"},
		"all of it": {
			strings.Replace(withCondition(t, "true ="), "refs/heads/main", "{globs: a}", 1) + "tests: [{name: a, ask: {to: t1}}]\n",
			"unknown-field cel-syntax required",
		},
	} {
		doc := strings.Replace(c.doc, "from: ci", "from: cii", 1)
		_, findings := trust.Compile(world(), sources(doc), now())
		if got, want := strings.Join(ids(findings, strictyaml.Error), " "), strings.TrimSpace("unknown-provider "+c.want); got != want {
			t.Errorf("%s: got %s, want %s\n%v", name, got, want, findings)
		}
	}
	_, findings := trust.Compile(world(), sources("guardrail: g\nowner: o\npurpose: p\nfrom: [cii]\nforbid: 'claims.x == \"y\" &&'\n"), now())
	if got := strings.Join(ids(findings, strictyaml.Error), " "); got != "unknown-provider cel-syntax" {
		t.Errorf("a guardrail: %v", findings)
	}
}

func TestPlaceOfACondition(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		doc          string
		line, column int
		fix          string
	}{
		{edit(t, "grants:", "when:\n  - claims.reff == \"x\"\ngrants:"), 10, 11, "did you mean claims.ref?"},
		{edit(t, "grants:", "when:\n  - claims.ref == 1\ngrants:"), 10, 16, "compare with a value of the same type"},
		{edit(t, "grants:", "when:\n  - |\n    true &&\n    claims.actr == \"x\"\ngrants:"), 12, 11, "did you mean claims.actor?"},
	} {
		_, findings := trust.Compile(world(), sources(c.doc), now())
		if len(findings) != 1 {
			t.Fatalf("got %v", findings)
		}
		f := findings[0]
		if f.Line != c.line || f.Column != c.column || f.Fix != c.fix {
			t.Errorf("got %d:%d fix %q, want %d:%d fix %q: %v", f.Line, f.Column, f.Fix, c.line, c.column, c.fix, f)
		}
	}
}

func TestPolicyHash(t *testing.T) {
	t.Parallel()
	first := compile(t, base).SHA256()
	if len(first) != 64 || first != compile(t, base).SHA256() {
		t.Errorf("the hash is not stable: %s", first)
	}
	seen := map[string]string{first: "base"}
	note := func(what string, p *trust.Policy, findings strictyaml.Findings) {
		t.Helper()
		if p == nil {
			t.Fatalf("%s: %v", what, findings)
		}
		if other, ok := seen[p.SHA256()]; ok {
			t.Errorf("%s and %s have one hash", what, other)
		}
		seen[p.SHA256()] = what
	}
	p, f := trust.Compile(world(), sources(edit(t, "main of", "a comment of")), now())
	note("another byte", p, f)
	p, f = trust.Compile(world(), []trust.Source{{Name: "z.yaml", Data: []byte(base)}}, now())
	if p == nil || p.SHA256() != first {
		t.Errorf("the file's name is part of the hash: %v", f)
	}
	p, f = trust.Compile(world(), nil, now())
	note("nothing", p, f)
	w := world()
	target := w.Targets["t1"]
	target.Audience = "api://other"
	w.Targets["t1"] = target
	p, f = trust.Compile(w, sources(base), now())
	note("another audience", p, f)
	w = world()
	provider := w.Providers["own"]
	provider.TokenUse = trust.UntilExpiry
	w.Providers["own"] = provider
	p, f = trust.Compile(w, sources(base), now())
	note("another provider", p, f)
}

func TestWorldIsChecked(t *testing.T) {
	t.Parallel()
	for name, breakIt := range map[string]func(*trust.World){
		"no token use": func(w *trust.World) { w.Providers["x"] = trust.Provider{Platform: forge()} },
		"an anchor that is no claim": func(w *trust.World) {
			w.Providers["x"] = trust.Provider{TokenUse: trust.Once, Anchors: []string{"nothing"}}
		},
		"a field that narrows otherwise": func(w *trust.World) {
			w.Targets["x"] = trust.Target{Type: trust.TargetType{Fields: map[string]trust.Field{"scopes": {Type: trust.StringsField, Narrows: trust.Opaque}}}}
		},
		"an unknown field": func(w *trust.World) {
			w.Targets["x"] = trust.Target{Type: trust.TargetType{Fields: map[string]trust.Field{"power": {Type: trust.StringField, Narrows: trust.Equal}}}}
		},
	} {
		w := world()
		breakIt(&w)
		if p, findings := trust.Compile(w, nil, now()); p != nil || !findings.HasErrors() {
			t.Errorf("%s: loads", name)
		}
	}
}

func TestManyFilesAtOnce(t *testing.T) {
	t.Parallel()
	var docs []trust.Source
	for i := range 200 {
		docs = append(docs, trust.Source{Name: fmt.Sprintf("%03d.yaml", i), Data: []byte(edit(t, "tr1", fmt.Sprintf("tr%d", i), "to: t1", "to: t9"))})
	}
	_, findings := trust.Compile(world(), docs, now())
	if len(findings) != 200 || findings[0].File != "000.yaml" || findings[199].File != "199.yaml" {
		t.Errorf("got %d findings, want 200 in the order of the files", len(findings))
	}
}

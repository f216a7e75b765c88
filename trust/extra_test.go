package trust_test

import (
	"fmt"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"cambio/trust"
	"cambio/trust/strictyaml"
)

// vaultType is a target type with fields of its own.
func vaultType() trust.TargetType {
	return trust.TargetType{
		Name: "vault", MinTTL: 15 * time.Minute, MaxTTL: 12 * time.Hour,
		Fields: map[string]trust.Field{
			"resource": {Type: trust.StringField, Narrows: trust.Equal, Required: true, Pattern: regexp.MustCompile(`^role/[a-z]+$`), Example: "role/deploy"},
			"ttl":      {Type: trust.DurationField, Narrows: trust.Max},
			"policy":   {Type: trust.DocumentField, Narrows: trust.Opaque},
			"arns":     {Type: trust.StringsField, Narrows: trust.Opaque},
			"tags":     {Type: trust.TemplatesField, Narrows: trust.Opaque},
			"source":   {Type: trust.TemplateField, Narrows: trust.Opaque},
		},
		Misfit: func(g trust.Grant) (string, string) {
			tags, _ := g.Extra["tags"].(map[string]string)
			for k, v := range tags {
				if len(v) > 20 {
					return "tags." + k, fmt.Sprintf("%d characters, at most 20", len(v))
				}
			}
			return "", ""
		},
	}
}

func vaultDoc(grant string) trust.Source {
	head, _, _ := strings.Cut(base, "grants:")
	return trust.Source{Name: "tr1.yaml", Data: []byte(head + "grants:\n  - {to: vault, " + grant + "}\n")}
}

func compileVault(grant string) (*trust.Policy, strictyaml.Findings) {
	w := world()
	w.Targets["vault"] = trust.Target{Type: vaultType(), MaxTTL: time.Hour}
	return trust.Compile(w, []trust.Source{vaultDoc(grant)}, now())
}

func TestOwnFieldsOfATargetType(t *testing.T) {
	t.Parallel()
	const role = "resource: role/deploy, "
	for name, c := range map[string]struct {
		grant  string
		claims map[string]any
		want   map[string]any
		reason trust.Reason
	}{
		"none":             {grant: "resource: role/deploy"},
		"a document":       {grant: role + `policy: {Version: "2012-10-17", Statement: [{Effect: Deny, N: 1}]}`, want: map[string]any{"policy": `{"Statement":[{"Effect":"Deny","N":1}],"Version":"2012-10-17"}`}},
		"not escaped":      {grant: role + `policy: {A: "<&>"}`, want: map[string]any{"policy": `{"A":"<&>"}`}},
		"a list":           {grant: role + "arns: [a, b]", want: map[string]any{"arns": []string{"a", "b"}}},
		"an empty list":    {grant: role + "arns: []"},
		"templates":        {grant: role + `tags: {repo: "r:${claims.repository}", team: a}`, want: map[string]any{"tags": map[string]string{"repo": "r:acme/app", "team": "a"}}},
		"a template":       {grant: role + `source: "${claims.actor}"`, want: map[string]any{"source": "mona"}},
		"a missing claim":  {grant: role + `tags: {env: "${claims.environment}"}`, reason: trust.ReasonClaimMissing},
		"missing, single":  {grant: role + `source: "${claims.actor}"`, claims: map[string]any{"actor": nil}, reason: trust.ReasonClaimMissing},
		"another type":     {grant: role + `source: "${claims.actor}"`, claims: map[string]any{"actor": int64(1)}, reason: trust.ReasonClaimMissing},
		"a value too long": {grant: role + `tags: {repo: "${claims.repository}"}`, claims: map[string]any{"repository": "acme/a-very-long-name-of-a-repository"}, reason: trust.ReasonGrantUnfit},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			p, findings := compileVault(c.grant)
			if findings.HasErrors() {
				t.Fatal(findings)
			}
			d := p.Decide(token(c.claims), trust.Request{Target: "vault"}, trust.StopSet{}, now())
			if d.Reason != c.reason || d.Allow != (c.reason == "") {
				t.Fatalf("reason %q (%s), want %q", d.Reason, d.Detail, c.reason)
			}
			if diff := cmp.Diff(c.want, d.Grant.Extra); d.Allow && diff != "" {
				t.Error(diff)
			}
		})
	}
}

func TestOwnFieldsThatAreRefused(t *testing.T) {
	t.Parallel()
	const role = "resource: role/deploy, "
	for name, c := range map[string]struct{ grant, want string }{
		"no resource":             {"ttl: 15m", "required"},
		"another resource":        {"resource: role/Deploy", "resource-invalid"},
		"a field of another":      {role + "scopes: [a]", "unknown-field"},
		"an unquoted date":        {role + "policy: {Version: 2012-10-17}", "wrong-type"},
		"a policy as text":        {role + `policy: "{}"`, "wrong-type"},
		"a tag as a number":       {role + "tags: {n: 1}", "wrong-type"},
		"no tag":                  {role + "tags: {}", "invalid-value"},
		"an unknown claim":        {role + `tags: {x: "${claims.nobody}"}`, "unknown-claim"},
		"a claim that is no text": {role + `source: "${claims.attempt}"`, "type-mismatch"},
		"a literal too long":      {role + "tags: {x: 123456789a123456789a1}", "grant-unfit"},
		"below the minimum":       {role + "ttl: 14m", "ttl-below-min"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			_, findings := compileVault(c.grant)
			if got := strings.Join(ids(findings, strictyaml.Error), " "); got != c.want {
				t.Errorf("findings %q, want %q\n%v", got, c.want, findings)
			}
		})
	}
}

// TestRequiredNonce: a trust that wants a nonce refuses a token without one, and
// nothing else changes.
func TestRequiredNonce(t *testing.T) {
	t.Parallel()
	p := compile(t, edit(t, "from:", "require_nonce: true\nfrom:"))
	id := token(nil)
	if got := judge(p, id, trust.Request{Target: "t1"}); got.Reason != trust.ReasonNonceRequired {
		t.Errorf("without a nonce: %+v", got)
	}
	id.Nonce = true
	if got := judge(p, id, trust.Request{Target: "t1"}); got.Reason != "" {
		t.Errorf("with a nonce: %+v", got)
	}
	id.Nonce = false
	if got := judge(compile(t, edit(t, "from:", "require_nonce: false\nfrom:")), id, trust.Request{Target: "t1"}); got.Reason != "" {
		t.Errorf("require_nonce: false: %+v", got)
	}
}
